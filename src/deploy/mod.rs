//! Deployment of a tree to the target that serves it: a folder, or an SFTP server.
//!
//! Each attempt scans the target, plans, and executes the plan. After a lost connection, the next attempt continues
//! with what is already at the target. A file gets its final name only after it was read back. Files that this tool did
//! not deploy are never replaced or removed unless the user asks for it.

mod apply;
mod error;
pub mod folder;
pub mod plan;
pub mod record;
pub mod remote;
pub mod remote_state;
#[cfg(test)]
pub(crate) mod samples;
mod scan;
mod session;
pub mod sftp;
pub mod target;
#[cfg(test)]
mod tests;
pub mod upload_set;

use crate::base::diagnostic::Diagnostic;
use crate::base::plural::count;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use self::apply::Apply;
pub use self::error::Error;
use self::folder::Folder;
use self::plan::{DeployOptions, DeployPlan, FileAction, Planner};
use self::remote::{Found, FoundKind, Remote};
use self::session::Session;
use self::sftp::Sftp;
use self::sftp::failure::{SshCause, quoted};
use self::sftp::ssh::{self, Ssh};
use self::target::DeployTarget;
use self::upload_set::{UploadFile, UploadSet};
use crate::base::fs::{self, Lock};
use crate::base::paths;
use crate::base::progress::{Progress, Task, TaskKind, pause};
use crate::printable::listed_names;
use crate::tree::enclosing::below_no_tree;
use crate::tree::interfering_files::InterferingFile;
use crate::tree::open::CheckedTree;

/// Delay before the first reconnection; it doubles each time.
const PAUSE: Duration = Duration::from_millis(250);
/// Number of delays after which they no longer grow.
const MAX_BACKOFF_DOUBLINGS: u32 = 7;

/// Number of bytes that count as progress between two lost connections.
const MIN_PROGRESS: u64 = 16 << 10;

/// Maximum number of warnings about files of others.
const MAX_FOREIGN_WARNINGS: usize = 20;

/// Parameters of a deployment.
#[derive(Debug)]
pub struct DeployRequest<'a> {
    /// Target.
    pub target: &'a DeployTarget,
    /// How to run ssh for a server.
    pub ssh: &'a Ssh,
    /// Lock file for this user's deployments to the target. A folder has a lock of its own, which holds for all users.
    pub lock: Option<Utf8PathBuf>,
    /// Options of the plan.
    pub options: DeployOptions,
    /// Number of consecutive lost connections without progress after which the deployment fails.
    pub attempts: u32,
    /// Whether to plan only and change nothing.
    pub dry_run: bool,
}

/// Result of a deployment, or after a dry run, its expected result.
#[derive(Debug)]
pub struct DeployOutcome {
    /// Plan of the last attempt.
    pub plan: DeployPlan,
    /// After a dry run, the reason why a deployment would refuse to start.
    pub refusal: Option<Error>,
    /// Number of listed files that were sent to paths without a file.
    pub sent: usize,
    /// Number of listed files that replaced others.
    pub replaced: usize,
    /// Number of removed files.
    pub pruned: usize,
    /// Number of bytes sent.
    pub bytes: u64,
    /// Number of reconnections.
    pub reconnected: u32,
}

/// Deploys `tree` to the target of `request`.
///
/// # Errors
///
/// [`Error`]. After any error, each file at the target is complete, and either the old or the new one.
pub fn run(tree: CheckedTree, request: &DeployRequest<'_>, progress: &dyn Progress) -> Result<DeployOutcome, Error> {
    if let DeployTarget::Folder(folder) = request.target {
        ensure_disjoint(folder, &tree.root)?;
        below_no_tree(folder)?;
    }
    let paths: BTreeSet<&Utf8Path> = tree.manifest.files.iter().map(|file| &*file.path).collect();
    if remote_state::are_too_long(paths.into_iter()) {
        return Err(Error::TooLong(tree.name.clone()));
    }
    let _lock = lock(request, progress)?;
    let deployment = Deployment { upload_set: UploadSet::of(tree), request, progress };
    let mut session = None;
    let (mut all_losses, mut reconnected) = (Losses::default(), 0);
    loop {
        let error = match deployment.attempt(&mut session) {
            Ok((plan, refusal)) => {
                let session = session.unwrap_or_default();
                let (sent, replaced) =
                    (session.count_listed(FileAction::Send), session.count_listed(FileAction::Replace));
                let (pruned, bytes) = (session.pruned.len(), session.bytes);
                return Ok(DeployOutcome { plan, refusal, sent, replaced, pruned, bytes, reconnected });
            }
            Err(_) if progress.cancelled() => return Err(Error::Cancelled),
            Err(error) if !is_transient(&error, session.is_some()) => return Err(error),
            Err(error) => error,
        };
        let reached = session.as_ref().map_or(0, |session| session.reached);
        let losses = all_losses.count(reached);
        let at = session.as_ref().map(Session::interrupted_transfer).unwrap_or_default();
        if losses >= request.attempts {
            return Err(deployment.retries_exhausted(error, at, losses));
        }
        reconnected += 1;
        deployment.wait(losses, &at);
    }
}

/// Consecutive lost connections without progress.
#[derive(Debug, Default)]
struct Losses {
    number: u32,
    /// Bytes that were reached at the last progress.
    best: u64,
}

impl Losses {
    /// Counts a connection that was lost when `reached` bytes need not be sent or read again, and returns the number. A
    /// server can claim to have got one more byte each time, which is no progress.
    fn count(&mut self, reached: u64) -> u32 {
        let is_progress = reached >= self.best.saturating_add(MIN_PROGRESS);
        *self = if is_progress { Self { number: 1, best: reached } } else { Self { number: self.number + 1, ..*self } };
        self.number
    }
}

/// Waits for other deployments to the same target on this machine. Deployments from other machines are detected by the
/// changes that they make.
fn lock(request: &DeployRequest<'_>, progress: &dyn Progress) -> Result<Option<Lock>, Error> {
    let lock = match (request.target, &request.lock) {
        (DeployTarget::Folder(folder), _) => {
            // The lock file is in the folder itself, where only users who can deploy there can create files. Any user
            // can lock a folder or file that they can read, so other users cannot read this one.
            if !request.dry_run {
                // If the folder cannot be created, the deployment reports it.
                let _ = fs::world_readable::create_world_readable_dir_all(folder);
            }
            let shared = folder.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o020 != 0);
            let mode = if shared { 0o660 } else { 0o600 };
            match Lock::acquire_temporary(&folder.join(paths::DEPLOYING), mode, !request.dry_run, progress) {
                Ok(lock) => lock,
                // Another file of that name would let several deployments run at once.
                Err(error) if error.is_not_regular() => return Err(Error::Lock(error)),
                // A user who cannot write there does no harm without a lock.
                Err(_) => return Ok(None),
            }
        }
        (DeployTarget::Sftp(_), Some(path)) => Lock::acquire(path, progress).map_err(Error::Lock)?,
        (DeployTarget::Sftp(_), None) => return Ok(None),
    };
    lock.map(Some).ok_or(Error::Cancelled)
}

/// Checks that `folder` is not in the tree: deploying there would change the tree.
fn ensure_disjoint(folder: &Utf8Path, tree: &Utf8Path) -> Result<(), Error> {
    let real = folder.ancestors().find_map(|above| above.canonicalize_utf8().ok());
    if real.is_some_and(|real| real.starts_with(tree)) { Err(Error::TargetIsTree(folder.to_owned())) } else { Ok(()) }
}

/// Checks whether another attempt can succeed; `known` is whether an earlier one has reached the target.
fn is_transient(error: &Error, known: bool) -> bool {
    match error {
        Error::Remote(remote::Error::Lost { .. }) => true,
        Error::Remote(remote::Error::Connect(ssh::Error::Failed(failure))) => match failure.cause {
            SshCause::Dropped => true,
            SshCause::Unreachable => known,
            SshCause::OtherHostKey
            | SshCause::UnknownHostKey
            | SshCause::Denied
            | SshCause::NoSftp
            | SshCause::RevokedHostKey
            | SshCause::Other => false,
        },
        _ => false,
    }
}

struct Deployment<'a> {
    upload_set: UploadSet,
    request: &'a DeployRequest<'a>,
    progress: &'a dyn Progress,
}

impl Deployment<'_> {
    /// Scans the target and plans, and unless this is a dry run, executes the plan.
    fn attempt(&self, session: &mut Option<Session>) -> Result<(DeployPlan, Option<Error>), Error> {
        if let Some(session) = session {
            session.at = None;
        }
        match self.request.target {
            DeployTarget::Folder(folder) => self.at(&mut Folder::new(folder, self.progress), session),
            DeployTarget::Sftp(address) => {
                let mut remote =
                    Sftp::open(self.request.ssh, address, self.progress).map_err(remote::Error::Connect)?;
                self.at(&mut remote, session)
            }
        }
    }

    /// Does the same at an open target.
    fn at(&self, remote: &mut dyn Remote, session: &mut Option<Session>) -> Result<(DeployPlan, Option<Error>), Error> {
        let session = match session {
            Some(session) => session,
            None => session.insert(Session::of(remote, self.progress)?),
        };
        let (upload_set, options) = (&self.upload_set, self.request.options);
        let scan = scan::scan(remote, upload_set, session, options, self.progress)?;
        let mut plan = session.with_remote_state(self.progress, {
            let wanted = Arc::clone(&upload_set.files);
            move |remote_state| Planner { wanted: &wanted, remote_state, scan: &scan, options }.plan()
        })??;
        session.reach(&plan);
        let refusal = if options.replace { None } else { self.refusal(&plan, session) };
        if self.request.dry_run {
            self.warn_of_neighbours(remote)?;
            return Ok((plan, refusal));
        }
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        if !plan.is_done(session.stored) {
            let target = self.request.target.to_string();
            let label = format!(
                "{} to {target}",
                count(plan.count(FileAction::Send) + plan.count(FileAction::Replace), "file")
            );
            let task = Task::start(self.progress, TaskKind::Deploy, label, Some(plan.to_send()));
            Apply { remote, upload_set, session, task, target: target.clone() }.carry_out(&mut plan)?;
            self.check_undisturbed(remote, session, target)?;
        }
        if !session.record_is_unchanged(remote)? {
            return Err(Error::ConcurrentDeploy(self.request.target.to_string()));
        }
        self.warn_of_neighbours(remote)?;
        self.warn_of_unreadable(remote, session)?;
        Ok((plan, None))
    }

    /// Checks that all wanted files are still those that were deployed, since another machine may deploy, too. A file
    /// without a time is not checked: that would mean reading it again.
    fn check_undisturbed(&self, remote: &mut dyn Remote, session: &Session, target: String) -> Result<(), Error> {
        let paths: Vec<Utf8PathBuf> = self.upload_set.files.iter().map(|wanted| wanted.path.clone()).collect();
        let undisturbed = |(wanted, found): (&UploadFile, Option<Found>)| {
            let vouched = |found: Found| session.remote_state.vouched(&wanted.path, found) == Some(wanted.content);
            let fine = |found: Found| found.modified.is_none() || vouched(found);
            found.is_some_and(|found| found.kind == FoundKind::File && fine(found))
        };
        let all = self.upload_set.files.iter().zip(remote.lstat(&paths)?).all(undisturbed);
        if all { Ok(()) } else { Err(Error::ConcurrentDeploy(target)) }
    }

    /// Warns of files of others that change how the loaders boot.
    fn warn_of_neighbours(&self, remote: &mut dyn Remote) -> Result<(), Error> {
        let paths = &self.upload_set.interfering_files;
        if paths.is_empty() {
            return Ok(());
        }
        // iPXE ignores an empty file.
        let there = |found: &Option<Found>| found.is_some_and(|found| found.kind != FoundKind::File || found.size > 0);
        for (path, _) in
            paths.iter().zip(remote.lstat(paths)?).filter(|(_, found)| there(found)).take(MAX_FOREIGN_WARNINGS)
        {
            self.progress.warn(InterferingFile::autoexec(path.clone()).warning());
        }
        Ok(())
    }

    /// Warns of the first folder or file that the target's own server may be unable to read.
    fn warn_of_unreadable(&self, remote: &mut dyn Remote, session: &Session) -> Result<(), Error> {
        let unreadable = || session.unreadable.as_ref().map(ToString::to_string);
        if let Some(path) = remote.first_closed()?.or_else(unreadable) {
            let message = format!(
                "other users cannot read `{path}` at the target, so a server that runs as another user cannot serve it"
            );
            let help = "give them the right, with `chmod` or in the settings of the share";
            self.progress.warn(Diagnostic::new(message).help(help));
        }
        Ok(())
    }

    /// Returns the error if files of others prevent `plan`.
    fn refusal(&self, plan: &DeployPlan, session: &Session) -> Option<Error> {
        let target = self.request.target.to_string();
        let manifest = plan.strangers.iter().any(|path| path == paths::MANIFEST);
        match &session.remote_state.foreign {
            _ if plan.strangers.is_empty() => None,
            Some(reason) if manifest => Some(Error::ForeignManifest { target, reason: reason.clone() }),
            _ => {
                let files: Vec<&Utf8PathBuf> = plan.strangers.iter().collect();
                Some(Error::UnmanagedFiles { target, files: listed_names(&files) })
            }
        }
    }

    /// Returns the error to report when no further attempt is made.
    fn retries_exhausted(&self, error: Error, at: String, losses: u32) -> Error {
        match (error, self.request.target) {
            (Error::Remote(remote::Error::Lost { words }), DeployTarget::Sftp(address)) => {
                let times = if losses == 1 { "once".to_owned() } else { format!("{losses} times in a row, at last") };
                Error::Lost { host: address.login(), times, at, words: quoted(&words) }
            }
            (other, _) => other,
        }
    }

    /// Waits before the next attempt.
    fn wait(&self, losses: u32, at: &str) {
        let host = match self.request.target {
            DeployTarget::Sftp(address) => address.login(),
            DeployTarget::Folder(folder) => folder.to_string(),
        };
        let message = format!("the connection to `{host}` was lost{at}; connecting again");
        self.progress.warn(Diagnostic::new(message));
        pause(PAUSE * 2_u32.pow(losses.min(MAX_BACKOFF_DOUBLINGS) - 1), self.progress);
    }
}
