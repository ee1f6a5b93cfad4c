//! State that one attempt leaves for the next: the known state of the target, the actions done, and the progress.

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

/// State that attempts share.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// Known state of the target. While files are sent, its record is ahead of the one at the target.
    pub(super) remote_state: RemoteState,
    /// Digest of the record at the target; `None` if the record must be written in any case.
    pub(super) stored: Option<Sha256Digest>,
    /// Possible heads of the record at the target, unless another deployment has written one; an empty head stands for
    /// no record.
    pub(super) heads: Vec<Vec<u8>>,
    /// Digests of files that were read, with the attributes that the files had then.
    pub(super) read: BTreeMap<Utf8PathBuf, (Found, Sha256Digest)>,
    /// Bytes of each temporary file that were read back and match.
    pub(super) verified: BTreeMap<Utf8PathBuf, usize>,
    /// Transfer in progress.
    pub(super) at: Option<InTransfer>,
    /// Files that were renamed, or were about to be when the connection was lost. After a successful attempt all of
    /// them are.
    pub(super) named: BTreeMap<Utf8PathBuf, FileAction>,
    /// Files that were removed, or were about to be.
    pub(super) pruned: BTreeSet<Utf8PathBuf>,
    /// Number of bytes sent.
    pub(super) bytes: u64,
    /// Whether the target refuses to set permission bits. It is also true during such a request, so that a server that
    /// crashes on one does not get another.
    pub(super) refuses_modes: bool,
    /// First file that other users cannot read.
    pub(super) unreadable: Option<Utf8PathBuf>,
    /// Total progress, in bytes that need not be sent or read again.
    pub(super) reached: u64,
}

/// File that is being sent, read or read back.
#[derive(Debug, Clone)]
pub(super) struct InTransfer {
    pub(super) path: Utf8PathBuf,
    pub(super) what: &'static str,
    pub(super) done: u64,
    pub(super) size: u64,
}

impl Session {
    /// Reads what earlier deployments have left at the target.
    pub(super) fn of(remote: &mut dyn Remote, progress: &dyn Progress) -> Result<Self, remote::Error> {
        let (head, found) = record_head(remote)?;
        let mut remote_state = RemoteState::read(remote, progress)?;
        let written = found.and_then(|found| found.modified);
        let forgot = written.is_some_and(|written| remote_state.record.forget_racy_times(written));
        // If times were forgotten, the record must be written again after those files are read; the next run trusts it.
        let stored = (!forgot).then(|| remote_state.record.digest());
        Ok(Self { stored, remote_state, heads: vec![head], ..Self::default() })
    }

    /// Checks that no other deployment has written a record since this one read or wrote its own. Another machine may
    /// have changed files without changing sizes and times; of two concurrent deployments, the later one reports it.
    pub(super) fn record_is_unchanged(&self, remote: &mut dyn Remote) -> Result<bool, remote::Error> {
        Ok(self.heads.contains(&record_head(remote)?.0))
    }

    /// Returns the result of `work` on the known state. The user can cancel it, and the known state is then lost.
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

    /// Adds `bytes` that need not be sent or read again.
    pub(super) fn advance(&mut self, bytes: u64) {
        self.reached += bytes;
        if let Some(at) = &mut self.at {
            at.done += bytes;
        }
    }

    /// Sets the progress to what the scan found: a lost connection may have sent more than was acknowledged, or less.
    pub(super) fn reach(&mut self, plan: &DeployPlan) {
        let read: u64 = self.read.values().map(|(found, _)| found.size).sum();
        let verified: u64 = self.verified.values().map(|count| *count as u64).sum();
        self.reached = plan.reached() + read + verified;
    }

    /// Returns the number of listed files that were deployed with the action `step`.
    pub(super) fn count_listed(&self, step: FileAction) -> usize {
        self.named.iter().filter(|(path, done)| **done == step && !paths::is_tree_record(path)).count()
    }

    /// Returns the number of files that were deployed with the action `step`, including the tree's own records.
    #[cfg(test)]
    pub(super) fn count(&self, step: FileAction) -> usize {
        self.named.values().filter(|done| **done == step).count()
    }

    /// Returns a phrase that says which transfer a lost connection interrupted.
    pub(super) fn interrupted_transfer(&self) -> String {
        self.at.as_ref().map_or_else(String::new, |InTransfer { path, what, done, size }| {
            let (path, size) = (printable(path), count(*size, "byte"));
            format!(" when {done} of {size} of `{path}` {} {what}", choose(*done, "was", "were"))
        })
    }
}

/// Returns the head of the target's record and the attributes of its file, or an empty head if there is none.
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
