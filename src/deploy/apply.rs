//! Execution of a plan, file by file: each file is sent under a temporary name, read back and renamed.

use crate::base::plural::size;
use camino::{Utf8Path, Utf8PathBuf};

use super::error::Error;
use super::plan::{DeployPlan, PlannedUpload};
use super::record::{Deployed, HEAD};
use super::remote::{Found, FoundKind, Remote};
use super::session::{InTransfer, Session};
use super::upload_set::UploadSet;
use crate::base::paths;
use crate::base::progress::Task;

/// Execution of a plan at a target.
pub(super) struct Apply<'a, 'p> {
    pub(super) remote: &'a mut dyn Remote,
    pub(super) upload_set: &'a UploadSet,
    pub(super) session: &'a mut Session,
    pub(super) task: Task<'p>,
    /// Name of the target in messages.
    pub(super) target: String,
}

impl Apply<'_, '_> {
    /// Executes `plan`, and moves its record into the session.
    pub(super) fn carry_out(mut self, plan: &mut DeployPlan) -> Result<(), Error> {
        // The leftovers were found through the previous record, which is replaced next.
        for leftover in &plan.leftovers {
            self.remote.remove(leftover)?;
        }
        self.session.remote_state.record = std::mem::take(&mut plan.record);
        let (remote, below): (Vec<_>, Vec<_>) = plan.folders.iter().partition(|folder| folder.as_str().is_empty());
        for folder in remote {
            self.remote.make_folder(folder)?;
        }
        // The record is written before the files that it lists: a later run must recognise everything that was sent.
        self.write_record()?;
        for folder in below {
            self.remote.make_folder(folder)?;
        }
        for (path, found) in &plan.unreadable {
            self.make_world_readable(path, path, *found)?;
        }
        for planned in plan.under_way() {
            self.deliver(planned)?;
        }
        let pruned = self.prune(&plan.prune)?;
        for folder in &plan.emptied {
            self.remote.remove_empty_folder(folder)?;
        }
        // Forgotten last: until a folder is removed, these entries are what identifies it.
        for path in pruned.into_iter().chain(&plan.gone) {
            self.session.remote_state.record.files.remove(path);
        }
        self.write_record()?;
        self.task.finish(format!("{} sent", size(self.session.bytes)));
        Ok(())
    }

    /// Removes those of `paths` that have not changed since the plan was made: sending files takes time. Returns the
    /// removed paths.
    fn prune<'f>(&mut self, paths: &'f [Utf8PathBuf]) -> Result<Vec<&'f Utf8PathBuf>, Error> {
        let mut pruned = Vec::new();
        for (path, now) in paths.iter().zip(self.remote.lstat(paths)?) {
            let read = |now| self.session.read.get(path).is_some_and(|(then, _)| *then == now);
            if now.is_none_or(|now| self.session.remote_state.vouched(path, now).is_some() || read(now)) {
                self.session.pruned.insert(path.clone());
                self.remote.remove(path)?;
                pruned.push(path);
            }
        }
        Ok(pruned)
    }

    /// Sends a file, reads it back and then renames it to its final name.
    fn deliver(&mut self, planned: &PlannedUpload) -> Result<(), Error> {
        let (path, content) = (&planned.wanted.path, self.upload_set.read(&planned.wanted)?);
        let partial = planned.partial_path();
        self.send(path, &partial, &content, planned.partial)?;
        let mut found = self.reads_back(path, &partial, &content)?;
        if found.is_none() {
            // An earlier attempt or another user may have left something under the temporary name.
            self.remote.remove(&partial)?;
            self.send(path, &partial, &content, None)?;
            found = self.reads_back(path, &partial, &content)?;
        }
        let Some(found) = found else {
            self.remote.remove(&partial)?;
            return Err(Error::ReadBackMismatch { path: path.clone(), target: self.target.clone() });
        };
        let deployed = Deployed { content: planned.wanted.content, modified: found.modified, next: None };
        if !found.is_world_readable() {
            self.make_world_readable(path, &partial, found)?;
        }
        self.session.remote_state.in_flight = Some((path.clone(), deployed));
        self.session.read.remove(path);
        self.session.named.entry(path.clone()).or_insert(planned.step);
        self.remote.rename(&partial, path)?;
        self.session.remote_state.in_flight = None;
        self.session.remote_state.record.files.insert(path.clone(), deployed);
        self.session.at = None;
        Ok(())
    }

    /// Makes `found` readable for other users. It is at `there`, and `path` is its present or future name. If the
    /// server refuses once or does not answer, no further modes are set.
    fn make_world_readable(&mut self, path: &Utf8Path, there: &Utf8Path, found: Found) -> Result<(), Error> {
        let refused = std::mem::replace(&mut self.session.refuses_modes, true);
        self.session.refuses_modes = refused || !self.remote.make_world_readable(there, found)?;
        if self.session.refuses_modes {
            self.session.unreadable.get_or_insert_with(|| path.to_owned());
        }
        Ok(())
    }

    /// Sends the part of `content` that is still missing; `there` is the number of bytes already in the temporary file.
    fn send(&mut self, path: &Utf8Path, partial: &Utf8Path, content: &[u8], there: Option<u64>) -> Result<(), Error> {
        let rest = there.and_then(|there| content.get(usize::try_from(there).ok()?..)).unwrap_or(content);
        if there.is_some() && rest.is_empty() {
            return Ok(());
        }
        let from = content.len() - rest.len();
        // Bytes that are sent again have not been read back.
        self.session.verified.entry(partial.to_owned()).and_modify(|verified| *verified = from.min(*verified));
        let (done, size) = (from as u64, content.len() as u64);
        self.session.at = Some(InTransfer { path: path.to_owned(), what: "sent", done, size });
        let (session, task) = (&mut *self.session, &mut self.task);
        Ok(self.remote.write(partial, rest, done, &mut |count| {
            session.advance(count);
            session.bytes += count;
            task.add(count);
        })?)
    }

    /// Returns the attributes of the temporary file if it has the content that was sent. Bytes that an earlier
    /// connection has read back are not read again.
    fn reads_back(&mut self, path: &Utf8Path, partial: &Utf8Path, content: &[u8]) -> Result<Option<Found>, Error> {
        let size = content.len() as u64;
        let found = self.remote.lstat(&[partial.to_owned()])?.pop().flatten();
        let Some(found) = found.filter(|found| found.kind == FoundKind::File && found.size == size) else {
            return Ok(None);
        };
        let mut at = self.session.verified.get(partial).copied().unwrap_or(0);
        let mut same = true;
        self.session.at = Some(InTransfer { path: path.to_owned(), what: "read back", done: at as u64, size });
        let session = &mut *self.session;
        self.remote.read(partial, at as u64..size, &mut |piece| {
            same &= content.get(at..at + piece.len()) == Some(piece);
            at += piece.len();
            if same {
                session.advance(piece.len() as u64);
                session.verified.insert(partial.to_owned(), at);
            }
        })?;
        Ok((same && at == content.len()).then_some(found))
    }

    /// Writes the record if the one at the target differs.
    fn write_record(&mut self) -> Result<(), Error> {
        let digest = Some(self.session.remote_state.record.digest());
        if digest == self.session.stored {
            return Ok(());
        }
        if !self.session.record_is_unchanged(self.remote)? {
            return Err(Error::ConcurrentDeploy(self.target.clone()));
        }
        let (record, partial) = (&mut self.session.remote_state.record, paths::partial_record());
        record.begin();
        let json = record.to_json().into_bytes();
        let head = json[..json.len().min(HEAD)].to_vec();
        // If the connection is lost, it is unknown whether the record was written.
        self.session.heads.push(head.clone());
        self.remote.write(&partial, &json, 0, &mut |_| {})?;
        self.remote.rename(&partial, paths::DEPLOYED.into())?;
        self.session.heads = vec![head];
        self.session.stored = digest;
        Ok(())
    }
}
