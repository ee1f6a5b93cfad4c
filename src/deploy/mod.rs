//! Brings a tree to the place that serves it: a folder, or a server that speaks SFTP.
//!
//! An attempt looks, plans, and does what is planned; where it loses its connection, another one goes on from what is
//! there. A file gets its name once it was read back. Nothing is replaced or removed that this tool did not put there,
//! unless that is asked for.

pub mod folder;
pub mod goods;
mod memory;
pub mod past;
pub mod place;
pub mod plan;
pub mod record;
#[cfg(test)]
pub(crate) mod samples;
pub mod sftp;
mod survey;
pub mod target;
#[cfg(test)]
mod tests;
mod work;

use crate::plural::count;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use self::folder::Folder;
use self::goods::{Goods, Wanted};
use self::memory::Memory;
use self::place::{Found, FoundKind, Place};
use self::plan::{Choices, Obstacle, Plan, Step, View};
use self::sftp::Sftp;
use self::sftp::failure::{Cause, quoted};
use self::sftp::ssh::{self, Ssh};
use self::target::Target;
use self::work::Work;
use crate::fs::{self, Lock};
use crate::paths;
use crate::printable::{listed_names, printable};
use crate::progress::{Event, Kind, Progress, Task, pause};
use crate::tree::checked::{self, CheckedTree};
use crate::tree::enclosing::{InsideTree, outside_trees};
use crate::tree::neighbours::Neighbour;

/// The pause before a connection is made again; each later one is twice as long.
const PAUSE: Duration = Duration::from_millis(250);
/// After so many pauses they do not get longer.
const LONGER_PAUSES: u32 = 7;

/// How many files of others are warned of.
const NEIGHBOURS: usize = 20;

/// What to do.
#[derive(Debug)]
pub struct Request<'a> {
    /// Where to.
    pub target: &'a Target,
    /// How a server is reached.
    pub ssh: &'a Ssh,
    /// A lock file for deployments of this user to the target. A folder has a lock of its own, which holds for all.
    pub lock: Option<Utf8PathBuf>,
    /// How it is decided what is done.
    pub choices: Choices,
    /// How often in a row a connection may be lost without having got any further.
    pub attempts: u32,
    /// Whether it is planned, and nothing done.
    pub dry_run: bool,
}

/// What was done; after a dry run, what would be.
#[derive(Debug)]
pub struct Outcome {
    /// The plan of the last attempt.
    pub plan: Plan,
    /// Why nothing would be done, after a dry run.
    pub refusal: Option<Error>,
    /// Number of listed files that were put where nothing was.
    pub sent: usize,
    /// Number of listed files that replaced others.
    pub replaced: usize,
    /// How many files were removed.
    pub pruned: usize,
    /// How many bytes were sent.
    pub bytes: u64,
    /// How often a connection was made again.
    pub reconnected: u32,
}

/// Why a deployment did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The place cannot be had, or refuses.
    #[error(transparent)]
    Place(place::Error),
    /// The connection was lost too often.
    #[error(
        "the connection with `{host}` was lost {times}{at}{words}\nhint: run the command again: it goes on from there"
    )]
    Lost {
        /// The server.
        host: String,
        /// How often.
        times: String,
        /// What was done at the time.
        at: String,
        /// What ssh says.
        words: String,
    },
    /// Files of others are where something is wanted.
    #[error(
        "`{target}` has files that somebody else put there or changed, and deploying would replace them: {files}\nhint: move them away, or deploy with `--replace`"
    )]
    Strangers {
        /// The place.
        target: String,
        /// Which.
        files: String,
    },
    /// There is a manifest of something else.
    #[error(
        "the `{}` in `{target}` is none of this tool's: {reason}\nhint: choose another folder, or deploy with `--replace`, which replaces it",
        paths::MANIFEST
    )]
    ForeignManifest {
        /// The place.
        target: String,
        /// Why.
        reason: String,
    },
    /// Something stands in the way.
    #[error(transparent)]
    Obstacle(#[from] Obstacle),
    /// What is there is not what was sent.
    #[error(
        "`{path}` did not read back as it was sent, twice\nhint: check the storage of `{target}`; what has that name there is as it was"
    )]
    Spoiled {
        /// The file.
        path: Utf8PathBuf,
        /// The place.
        target: String,
    },
    /// The tree has changed meanwhile.
    #[error(transparent)]
    Changed(#[from] checked::Changed),
    /// No later deployment would believe a manifest of such a tree.
    #[error(
        "the paths of `{tree}` have more than {most} bytes with their folders\nhint: give the sites shorter names, or deploy fewer of them",
        tree = printable(.0),
        most = past::MAX_PATHS
    )]
    TooLong(Utf8PathBuf),
    /// The place is the tree.
    #[error("`{0}` is the tree itself, or in it\nhint: choose another folder")]
    Itself(Utf8PathBuf),
    /// The lock file cannot be used.
    #[error(transparent)]
    Lock(fs::Error),
    /// Another deployment takes place at the same time.
    #[error(
        "`{0}` is changed by somebody else at the same time\nhint: run the command again once the other deployment has ended"
    )]
    Interfered(String),
    /// The place is in another published tree.
    #[error(transparent)]
    Inside(#[from] InsideTree),
    /// The user asked to stop.
    #[error("interrupted\nhint: run the command again: it goes on from there")]
    Cancelled,
}

impl From<place::Error> for Error {
    fn from(error: place::Error) -> Self {
        match error {
            place::Error::Cancelled | place::Error::Connect(ssh::Error::Cancelled) => Self::Cancelled,
            other => Self::Place(other),
        }
    }
}

/// Brings `tree` to the place that `request` names.
///
/// # Errors
///
/// [`Error`]. Whatever it is, each file at the place is an old or a new one, and whole.
pub fn run(tree: CheckedTree, request: &Request<'_>, progress: &dyn Progress) -> Result<Outcome, Error> {
    if let Target::Folder(folder) = request.target {
        apart(folder, &tree.root)?;
        outside_trees(folder)?;
    }
    let paths: BTreeSet<&Utf8Path> = tree.manifest.files.iter().map(|file| &*file.path).collect();
    if past::are_too_long(paths.into_iter()) {
        return Err(Error::TooLong(tree.name.clone()));
    }
    let _lock = lock(request, progress)?;
    let deployment = Deployment { goods: Goods::of(tree), request, progress };
    let mut memory = None;
    let (mut losses, mut best, mut reconnected) = (0, 0, 0);
    loop {
        let error = match deployment.attempt(&mut memory) {
            Ok((plan, refusal)) => {
                let memory = memory.unwrap_or_default();
                let (sent, replaced) = (memory.count_listed(Step::Send), memory.count_listed(Step::Replace));
                let (pruned, bytes) = (memory.pruned.len(), memory.bytes);
                return Ok(Outcome { plan, refusal, sent, replaced, pruned, bytes, reconnected });
            }
            Err(_) if progress.cancelled() => return Err(Error::Cancelled),
            Err(error) if !may_pass(&error, memory.is_some()) => return Err(error),
            Err(error) => error,
        };
        let reached = memory.as_ref().map_or(0, |memory| memory.reached);
        losses = if reached > best { 1 } else { losses + 1 };
        best = best.max(reached);
        let at = memory.as_ref().map(Memory::place_of_loss).unwrap_or_default();
        if losses >= request.attempts {
            return Err(deployment.given_up(error, at, losses));
        }
        reconnected += 1;
        deployment.wait(losses, &at);
    }
}

/// Waits for other deployments to the same target on this machine. Those of other machines are noticed by what they
/// change.
fn lock(request: &Request<'_>, progress: &dyn Progress) -> Result<Option<Lock>, Error> {
    let lock = match (request.target, &request.lock) {
        (Target::Folder(folder), _) => {
            // In the folder itself, where only those can make a file who can deploy there. Any user can lock a folder
            // or a file that they can read, so nobody else can read this one.
            if !request.dry_run {
                // Where it cannot be made, the deployment says so.
                let _ = fs::served::create_served_dir_all(folder);
            }
            let shared = folder.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o020 != 0);
            let mode = if shared { 0o660 } else { 0o600 };
            match Lock::acquire_temporary(&folder.join(paths::DEPLOYING), mode, !request.dry_run, progress) {
                Ok(lock) => lock,
                // Who cannot write there does no harm without a lock.
                Err(_) => return Ok(None),
            }
        }
        (Target::Sftp(_), Some(path)) => Lock::acquire(path, progress).map_err(Error::Lock)?,
        (Target::Sftp(_), None) => return Ok(None),
    };
    lock.map(Some).ok_or(Error::Cancelled)
}

/// Makes sure that `folder` is not in the tree: whatever is put there would change that.
fn apart(folder: &Utf8Path, tree: &Utf8Path) -> Result<(), Error> {
    let real = folder.ancestors().find_map(|above| above.canonicalize_utf8().ok());
    if real.is_some_and(|real| real.starts_with(tree)) { Err(Error::Itself(folder.to_owned())) } else { Ok(()) }
}

/// Whether another attempt can do better; `known` says whether an earlier one has got through to the place.
fn may_pass(error: &Error, known: bool) -> bool {
    match error {
        Error::Place(place::Error::Lost { .. }) => true,
        Error::Place(place::Error::Connect(ssh::Error::Failed(failure))) => match failure.cause {
            Cause::Dropped => true,
            Cause::Unreachable => known,
            Cause::OtherHostKey | Cause::UnknownHostKey | Cause::Denied | Cause::NoSftp | Cause::Other => false,
        },
        _ => false,
    }
}

struct Deployment<'a> {
    goods: Goods,
    request: &'a Request<'a>,
    progress: &'a dyn Progress,
}

impl Deployment<'_> {
    /// Looks, plans, and does it, unless it is a dry run.
    fn attempt(&self, memory: &mut Option<Memory>) -> Result<(Plan, Option<Error>), Error> {
        if let Some(memory) = memory {
            memory.at = None;
        }
        match self.request.target {
            Target::Folder(folder) => self.at(&mut Folder::new(folder, self.progress), memory),
            Target::Sftp(address) => {
                let mut place = Sftp::open(self.request.ssh, address, self.progress).map_err(place::Error::Connect)?;
                self.at(&mut place, memory)
            }
        }
    }

    /// The same at a place that can be had.
    fn at(&self, place: &mut dyn Place, memory: &mut Option<Memory>) -> Result<(Plan, Option<Error>), Error> {
        let memory = match memory {
            Some(memory) => memory,
            None => memory.insert(Memory::of(place, self.progress)?),
        };
        let (goods, choices) = (&self.goods, self.request.choices);
        let survey = survey::survey(place, goods, memory, choices, self.progress)?;
        let mut plan = memory.of_past(self.progress, {
            let wanted = Arc::clone(&goods.files);
            move |past| View { wanted: &wanted, past, survey: &survey, choices }.plan()
        })??;
        memory.reach(&plan);
        let refusal = if choices.replace { None } else { self.refusal(&plan, memory) };
        if self.request.dry_run {
            self.warn_of_neighbours(place)?;
            return Ok((plan, refusal));
        }
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        if !plan.is_done(memory.stored) {
            let target = self.request.target.to_string();
            let label = format!("{} to {target}", count(plan.count(Step::Send) + plan.count(Step::Replace), "file"));
            let task = Task::start(self.progress, Kind::Deploy, label, Some(plan.to_send()));
            Work { place, goods, memory, task, target: target.clone() }.carry_out(&mut plan)?;
            self.check_undisturbed(place, memory, target)?;
        }
        if !memory.is_alone(place)? {
            return Err(Error::Interfered(self.request.target.to_string()));
        }
        self.warn_of_neighbours(place)?;
        self.warn_of_unreadable(place, memory)?;
        Ok((plan, None))
    }

    /// Makes sure that all wanted files are still those that were put there: another machine may deploy, too. A file
    /// without a time can only be read again.
    fn check_undisturbed(&self, place: &mut dyn Place, memory: &Memory, target: String) -> Result<(), Error> {
        let paths: Vec<Utf8PathBuf> = self.goods.files.iter().map(|wanted| wanted.path.clone()).collect();
        let undisturbed = |(wanted, found): (&Wanted, Option<Found>)| {
            let vouched = |found: Found| memory.past.vouched(&wanted.path, found) == Some(wanted.content);
            found.is_some_and(|found| found.modified.is_none() || vouched(found))
        };
        let all = self.goods.files.iter().zip(place.look(&paths)?).all(undisturbed);
        if all { Ok(()) } else { Err(Error::Interfered(target)) }
    }

    /// Names files of others that change how the loaders boot.
    fn warn_of_neighbours(&self, place: &mut dyn Place) -> Result<(), Error> {
        let paths = &self.goods.neighbours;
        if paths.is_empty() {
            return Ok(());
        }
        // iPXE takes no notice of an empty one.
        let there = |found: &Option<Found>| found.is_some_and(|found| found.kind != FoundKind::File || found.size > 0);
        for (path, _) in paths.iter().zip(place.look(paths)?).filter(|(_, found)| there(found)).take(NEIGHBOURS) {
            self.progress.report(&Event::Warning { message: Neighbour::autoexec(path.clone()).to_string() });
        }
        Ok(())
    }

    /// Names the first folder or file that the server of the place may be unable to read.
    fn warn_of_unreadable(&self, place: &mut dyn Place, memory: &Memory) -> Result<(), Error> {
        let unreadable = || memory.unreadable.as_ref().map(ToString::to_string);
        if let Some(path) = place.first_closed()?.or_else(unreadable) {
            let message = format!(
                "other users cannot read `{path}` at the place, so a server that runs as another user cannot serve it\n\
                 hint: give them the right, with `chmod` or in the settings of the share"
            );
            self.progress.report(&Event::Warning { message });
        }
        Ok(())
    }

    /// Why the files of others keep `plan` from being done.
    fn refusal(&self, plan: &Plan, memory: &Memory) -> Option<Error> {
        let target = self.request.target.to_string();
        let manifest = plan.strangers.iter().any(|path| path == paths::MANIFEST);
        match &memory.past.foreign {
            _ if plan.strangers.is_empty() => None,
            Some(reason) if manifest => Some(Error::ForeignManifest { target, reason: reason.clone() }),
            _ => {
                let files: Vec<&Utf8PathBuf> = plan.strangers.iter().collect();
                Some(Error::Strangers { target, files: listed_names(&files) })
            }
        }
    }

    /// What is told when no further attempt is made.
    fn given_up(&self, error: Error, at: String, losses: u32) -> Error {
        match (error, self.request.target) {
            (Error::Place(place::Error::Lost { words }), Target::Sftp(address)) => {
                let times = if losses == 1 { "once".to_owned() } else { format!("{losses} times in a row, at last") };
                Error::Lost { host: address.login(), times, at, words: quoted(&words) }
            }
            (other, _) => other,
        }
    }

    /// Waits before the next attempt.
    fn wait(&self, losses: u32, at: &str) {
        let host = match self.request.target {
            Target::Sftp(address) => address.login(),
            Target::Folder(folder) => folder.to_string(),
        };
        let message = format!("the connection with `{host}` was lost{at}; connecting again");
        self.progress.report(&Event::Warning { message });
        pause(PAUSE * 2_u32.pow(losses.min(LONGER_PAUSES) - 1), self.progress);
    }
}
