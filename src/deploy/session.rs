//! What one attempt leaves for the next: what was there before, what was done, and how far it came.

use crate::base::plural::{choose, count};
use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8PathBuf;

use super::plan::{DeployPlan, FileAction};
use super::record::HEAD;
use super::remote::{self, Found, FoundKind, Remote};
use super::remote_state::RemoteState;
use crate::base::progress::Progress;
use crate::base::{parallel, paths};
use crate::digest::Sha256Digest;
use crate::printable::printable;

/// What is remembered.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// What is known of the place. Its record is ahead of the one there while files are sent.
    pub(super) remote_state: RemoteState,
    /// The digest of the record that is at the place; `None` where another one has to be written in any case.
    pub(super) stored: Option<Sha256Digest>,
    /// How the record at the place may begin, if nobody else has written one; nothing where there is none.
    pub(super) heads: Vec<Vec<u8>>,
    /// What was read back, and what the files looked like then.
    pub(super) read: BTreeMap<Utf8PathBuf, (Found, Sha256Digest)>,
    /// How much of each temporary file has been found to be as it was sent.
    pub(super) verified: BTreeMap<Utf8PathBuf, usize>,
    /// What is being sent.
    pub(super) at: Option<InTransfer>,
    /// The files that got their names, or were about to when a connection was lost. At the end all of them have.
    pub(super) named: BTreeMap<Utf8PathBuf, FileAction>,
    /// The files that were removed, or were about to be.
    pub(super) pruned: BTreeSet<Utf8PathBuf>,
    /// How many bytes were sent.
    pub(super) bytes: u64,
    /// Whether the place refuses to set permission bits. Also true while it is asked to: a server that falls over that
    /// is not asked again.
    pub(super) refuses_modes: bool,
    /// The first file that other users cannot read.
    pub(super) unreadable: Option<Utf8PathBuf>,
    /// How far all of it has come, in bytes that need not be sent or read again.
    pub(super) reached: u64,
}

/// A file that is being sent, or read back.
#[derive(Debug, Clone)]
pub(super) struct InTransfer {
    pub(super) path: Utf8PathBuf,
    pub(super) what: &'static str,
    pub(super) done: u64,
    pub(super) size: u64,
}

impl Session {
    /// What `place` says of the time before.
    pub(super) fn of(remote: &mut dyn Remote, progress: &dyn Progress) -> Result<Self, remote::Error> {
        let (head, found) = record_head(remote)?;
        let mut remote_state = RemoteState::read(remote, progress)?;
        let written = found.and_then(|found| found.modified);
        let forgot = written.is_some_and(|written| remote_state.record.forget_racy_times(written));
        // One that is written after those files were read is believed the next time.
        let stored = (!forgot).then(|| remote_state.record.digest());
        Ok(Self { stored, remote_state, heads: vec![head], ..Self::default() })
    }

    /// Whether no other deployment has written a record since this one looked or wrote its own. Another machine may have
    /// changed files without a trace in sizes and times; of two, the one that comes here later is told.
    pub(super) fn record_is_unchanged(&self, remote: &mut dyn Remote) -> Result<bool, remote::Error> {
        Ok(self.heads.contains(&record_head(remote)?.0))
    }

    /// What `work` makes of the time before; it can be left where the user asks to stop, and nothing is remembered then.
    pub(super) fn with_remote_state<T: Send + 'static>(
        &mut self,
        progress: &dyn Progress,
        work: impl FnOnce(&RemoteState) -> T + Send + 'static,
    ) -> Result<T, remote::Error> {
        let remote_state = std::mem::take(&mut self.remote_state);
        let done = parallel::detached_on_cancel(progress, move || (work(&remote_state), remote_state));
        let (done, remote_state) = done.ok_or(remote::Error::Cancelled)?;
        self.remote_state = remote_state;
        Ok(done)
    }

    /// Takes note of `bytes` that need not be sent or read again.
    pub(super) fn advance(&mut self, bytes: u64) {
        self.reached += bytes;
        if let Some(at) = &mut self.at {
            at.done += bytes;
        }
    }

    /// Takes note of what was found: the connection that was lost may have brought more than was known, or less.
    pub(super) fn reach(&mut self, plan: &DeployPlan) {
        let read: u64 = self.read.values().map(|(found, _)| found.size).sum();
        let verified: u64 = self.verified.values().map(|count| *count as u64).sum();
        self.reached = plan.reached() + read + verified;
    }

    /// Number of listed files that were put there by `step`.
    pub(super) fn count_listed(&self, step: FileAction) -> usize {
        self.named.iter().filter(|(path, done)| **done == step && !paths::is_tree_record(path)).count()
    }

    /// How many files were put there by `step`, the tree's records among them.
    #[cfg(test)]
    pub(super) fn count(&self, step: FileAction) -> usize {
        self.named.values().filter(|done| **done == step).count()
    }

    /// Where a connection was lost, in words.
    pub(super) fn interrupted_transfer(&self) -> String {
        self.at.as_ref().map_or_else(String::new, |InTransfer { path, what, done, size }| {
            let (path, size) = (printable(path), count(*size, "byte"));
            format!(" when {done} of {size} of `{path}` {} {what}", choose(*done, "was", "were"))
        })
    }
}

/// The beginning of the record at `place`, and the file; nothing where there is none.
fn record_head(remote: &mut dyn Remote) -> Result<(Vec<u8>, Option<Found>), remote::Error> {
    let path = Utf8PathBuf::from(paths::DEPLOYED);
    let found = remote.lstat(std::slice::from_ref(&path))?.pop().flatten();
    let found = found.filter(|found| found.kind == FoundKind::File);
    let mut head = Vec::new();
    if let Some(found) = found {
        remote.read(&path, 0..found.size.min(HEAD as u64), &mut |piece| head.extend_from_slice(piece))?;
    }
    Ok((head, found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_a_server_has_in_its_record_begins_no_line() {
        let at = InTransfer { path: "x\nhint: forged".into(), what: "read", done: 0, size: 7 };
        let session = Session { at: Some(at), ..Session::default() };
        assert_eq!(session.interrupted_transfer(), " when 0 of 7 bytes of `x\\nhint: forged` were read");
    }
}
