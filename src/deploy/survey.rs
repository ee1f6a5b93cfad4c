//! Looks at a place: what stands where, and what is in files that nobody vouches for.

use crate::plural::count;
use std::io::Write;
use std::sync::Arc;

use camino::Utf8PathBuf;

use super::goods::Goods;
use super::memory::{At, Memory};
use super::place::{Error, Place};
use super::plan::{Choices, Survey, View, interest};
use crate::digest::Hasher;
use crate::progress::{Kind, Progress, Task};

/// How many paths a place is asked for at once, which can take as much memory again as they do.
const LOOK_AT_ONCE: usize = 4096;

/// What is found at `place`. Files that were read in an earlier attempt, and look the same, are not read again.
pub(super) fn survey(
    place: &mut dyn Place,
    goods: &Goods,
    memory: &mut Memory,
    choices: Choices,
    progress: &dyn Progress,
) -> Result<Survey, Error> {
    let wanted = Arc::clone(&goods.files);
    let paths = memory.of_past(progress, move |past| interest(&wanted, past))?;
    let there = place.is_there()?;
    let mut survey = Survey { there, read: memory.read.clone(), ..Survey::default() };
    let mut paths = paths.into_iter().filter(|_| there);
    loop {
        let some: Vec<Utf8PathBuf> = paths.by_ref().take(LOOK_AT_ONCE).collect();
        if some.is_empty() {
            break;
        }
        let looked = place.look(&some)?;
        survey.found.extend(some.into_iter().zip(looked).filter_map(|(path, found)| Some((path, found?))));
    }
    let wanted = Arc::clone(&goods.files);
    let (mut survey, to_read) = memory.of_past(progress, move |past| {
        let to_read = View { wanted: &wanted, past, survey: &survey, choices }.to_read();
        (survey, to_read)
    })?;
    let total: u64 = to_read.iter().map(|(_, found)| found.size).sum();
    let label = || match to_read.len() {
        1 => "1 file that is there".to_owned(),
        number => format!("{number} files that are there"),
    };
    let mut task = (total > 0).then(|| Task::start(progress, Kind::Compare, label(), Some(total)));
    for (path, found) in &to_read {
        let mut hasher = Hasher::default();
        memory.at = Some(At { path: path.clone(), what: "read", done: 0, size: found.size });
        place.read(path, 0..found.size, &mut |piece| {
            // A digest takes whatever it is given.
            let _ = hasher.write_all(piece);
            if let (Some(task), Some(at)) = (&mut task, &mut memory.at) {
                task.add(piece.len() as u64);
                at.done += piece.len() as u64;
            }
        })?;
        memory.at = None;
        memory.read.insert(path.clone(), (*found, hasher.finish()));
    }
    if let Some(task) = task {
        task.finish(format!("{} read", count(total, "byte")));
    }
    survey.read.clone_from(&memory.read);
    Ok(survey)
}
