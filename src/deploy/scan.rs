//! Scan of a target: which files and folders exist, and what is in files whose content is unknown.

use crate::base::plural::size;
use std::io::Write;
use std::sync::Arc;

use camino::Utf8PathBuf;

use super::plan::{DeployOptions, Planner, Scan, interest};
use super::remote::{Error, Remote};
use super::session::{InTransfer, Session};
use super::upload_set::UploadSet;
use crate::base::paths;
use crate::base::progress::{Progress, Task, TaskKind};
use crate::digest::Hasher;

/// Number of paths in one `lstat` call; the results can take as much memory as the paths.
const LOOK_AT_ONCE: usize = 4096;

/// Scans the target. Files that an earlier attempt read and whose attributes are unchanged are not read again.
pub(super) fn scan(
    remote: &mut dyn Remote,
    upload_set: &UploadSet,
    session: &mut Session,
    options: DeployOptions,
    progress: &dyn Progress,
) -> Result<Scan, Error> {
    let wanted = Arc::clone(&upload_set.files);
    let renamed = session.with_remote_state(progress, move |remote_state| remote_state.in_other_case(&wanted))?;
    if !renamed.is_empty() && ignores_case(remote)? {
        session.remote_state.rename(renamed);
    }
    let wanted = Arc::clone(&upload_set.files);
    let paths = session.with_remote_state(progress, move |remote_state| interest(&wanted, remote_state))?;
    let there = remote.is_there()?;
    let mut scan = Scan { there, read: session.read.clone(), ..Scan::default() };
    let mut paths = paths.into_iter().filter(|_| there);
    loop {
        let some: Vec<Utf8PathBuf> = paths.by_ref().take(LOOK_AT_ONCE).collect();
        if some.is_empty() {
            break;
        }
        let looked = remote.lstat(&some)?;
        scan.found.extend(some.into_iter().zip(looked).filter_map(|(path, found)| Some((path, found?))));
    }
    let wanted = Arc::clone(&upload_set.files);
    let (mut scan, to_read) = session.with_remote_state(progress, move |remote_state| {
        let to_read = Planner { wanted: &wanted, remote_state, scan: &scan, options }.to_read();
        (scan, to_read)
    })?;
    let total: u64 = to_read.iter().map(|(_, found)| found.size).sum();
    let label = || match to_read.len() {
        1 => "1 file that is there".to_owned(),
        number => format!("{number} files that are there"),
    };
    let mut task = (total > 0).then(|| Task::start(progress, TaskKind::Compare, label(), Some(total)));
    for (path, found) in &to_read {
        let mut hasher = Hasher::default();
        session.at = Some(InTransfer { path: path.clone(), what: "read", done: 0, size: found.size });
        remote.read(path, 0..found.size, &mut |piece| {
            // A hasher accepts all data.
            let _ = hasher.write_all(piece);
            if let (Some(task), Some(at)) = (&mut task, &mut session.at) {
                task.add(piece.len() as u64);
                at.done += piece.len() as u64;
            }
        })?;
        session.at = None;
        session.read.insert(path.clone(), (*found, hasher.finish()));
    }
    if let Some(task) = task {
        task.finish(format!("{} read", size(total)));
    }
    scan.read.clone_from(&session.read);
    Ok(scan)
}

/// Checks whether the target finds files by names in another case: then both names are those of the same file.
fn ignores_case(remote: &mut dyn Remote) -> Result<bool, Error> {
    // Where something was deployed, one of them is there.
    let names = [paths::DEPLOYED, paths::MANIFEST];
    let cases = names.iter().flat_map(|name| [Utf8PathBuf::from(*name), name.to_uppercase().into()]);
    let found = remote.lstat(&cases.collect::<Vec<_>>())?;
    Ok(found.chunks(2).any(|cases| cases[0].is_some() && cases[0] == cases[1]))
}
