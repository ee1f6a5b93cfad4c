//! Mirrors of images that boot over a network: what a publisher calls current, as a whole set, here.
//!
//! # What a boot script may count on
//!
//! ```text
//! DEST/44.20260707.3.1/            a set: kernel, initramfs and rootfs of one release
//!     kernel-x86_64
//!     initramfs.x86_64.img
//!     rootfs.x86_64.img
//!     version.ipxe                 an iPXE script: set fedora-coreos-version 44.20260707.3.1
//!     mirror.json                  where each came from, its size and its digest
//! DEST/current -> 44.20260707.3.1  the set in use
//! DEST/kernel-x86_64 -> current/kernel-x86_64, and so on
//! ```
//!
//! A set is never changed: it appears whole, under its version, and goes as a whole. `current` is one name, and
//! changes as one step, and so do all names that lead through it.
//!
//! Still, who fetches a kernel just before that step and the rest just after it has images of two releases. So a
//! boot script reads `DEST/current/version.ipxe` once (`chain` it: it sets the variable `NAME-version` and comes
//! back), and then takes everything from `DEST/${NAME-version}/`. That set stays for as long as it takes: the set
//! in use and the one before it are never removed.
//!
//! Where the file system has no symbolic links, `current` is a folder with hard links or copies, and the names beside
//! it do not exist. What a boot script counts on is the same.

pub mod names;
pub mod set;

pub mod metadata;

pub mod fedora_coreos;
pub mod flatcar;

pub mod record;
pub mod signature;
pub mod transfer;

pub mod display;
pub mod shelf;

pub mod schedule;

use camino::Utf8PathBuf;
use serde::Serialize;

use self::display::{Display, Links};
use self::metadata::Reader;
use self::record::{Identity, Record};
use self::set::{Image, Set, Version};
use self::shelf::{Keep, Shelf};
use self::signature::Trust;
use self::transfer::Transfer;
use crate::fs::served;
use crate::paths::MirrorPaths;
use crate::paths::mirror::{ImageNames, version_variable};
use crate::progress::{Event, Kind, Progress, Task};
use crate::source::http::Http;

/// Why a mirror is not up to date; what is served is as it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody can tell what is current.
    #[error(transparent)]
    Metadata(#[from] metadata::Error),
    /// What the publisher calls current is older than what is in use.
    #[error(
        "the publisher of `{identity}` calls {found} current, which is older than {in_use}, the version in use; that stays\nhint: ask again later, since a server may be behind or replay what was current once; to go back, use `--allow-older`"
    )]
    Older {
        /// What it is a mirror of.
        identity: Box<Identity>,
        /// What the publisher calls current.
        found: Version,
        /// What is in use.
        in_use: Version,
    },
    /// The current set cannot be brought in.
    #[error(transparent)]
    Transfer(#[from] transfer::Error),
    /// The folder cannot be used.
    #[error(transparent)]
    Shelf(#[from] shelf::Error),
}

impl From<crate::fs::Error> for Error {
    fn from(error: crate::fs::Error) -> Self {
        Self::Shelf(error.into())
    }
}

/// What is mirrored, and from where.
#[derive(Debug, Clone)]
pub enum Upstream {
    /// Fedora CoreOS.
    FedoraCoreos(fedora_coreos::Origin),
    /// Flatcar.
    Flatcar(flatcar::Origin),
}

impl Upstream {
    /// The name of the product: in records, in pins and in the variable of a boot script.
    #[must_use]
    pub fn product(&self) -> &'static str {
        match self {
            Self::FedoraCoreos(_) => "fedora-coreos",
            Self::Flatcar(_) => "flatcar",
        }
    }

    /// What it is a mirror of.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let (stream, arch) = match self {
            Self::FedoraCoreos(origin) => (origin.stream.as_str(), origin.arch.as_str()),
            Self::Flatcar(origin) => (origin.channel.as_str(), origin.arch.as_str()),
        };
        Identity { mirror: self.product().to_owned(), stream: stream.to_owned(), arch: arch.to_owned() }
    }

    /// What its images are called in every set.
    fn names(&self) -> ImageNames {
        match self {
            Self::FedoraCoreos(origin) => origin.names(),
            Self::Flatcar(_) => ImageNames::flatcar(),
        }
    }

    fn read(&self, reader: &Reader<'_>) -> Result<Set, metadata::Error> {
        let set = match self {
            Self::FedoraCoreos(origin) => origin.read(reader),
            Self::Flatcar(origin) => origin.read(reader),
        };
        set.and_then(metadata::check_distinct)
    }
}

/// The script that says that the set of `version` is in use, for boot scripts to `chain`.
#[must_use]
pub fn version_script(product: &str, version: &str) -> String {
    format!("#!ipxe\nset {} {version}\n", version_variable(product))
}

/// What is asked for.
#[derive(Debug)]
pub struct Request {
    /// What is mirrored, and from where.
    pub upstream: Upstream,
    /// The folder.
    pub dest: Utf8PathBuf,
    /// How many sets are kept.
    pub keep: Keep,
    /// How the set in use is shown.
    pub links: Links,
    /// Whether the digests of a set that is there are computed again; sizes are always compared.
    pub thorough: bool,
    /// What signatures are checked with, where they are to be checked.
    pub trust: Option<Trust>,
    /// Whether a version comes into use that is older than the one in use.
    pub allow_older: bool,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// What it is a mirror of.
    #[serde(flatten)]
    pub identity: Identity,
    /// The version in use now.
    pub version: Version,
    /// The version that was in use before.
    pub previous: Option<Version>,
    /// Whether anything that is served is another than before.
    pub changed: bool,
    /// Whether the version is older than the one that was in use before.
    pub older: bool,
    /// The versions whose sets were removed.
    pub removed: Vec<Version>,
}

/// Brings a mirror up to date. One that is so already costs asking the publisher.
///
/// # Errors
///
/// [`Error`]; what has arrived is used again by the next run.
pub fn mirror(request: &Request, http: &Http, progress: &dyn Progress) -> Result<Outcome, Error> {
    let identity = request.upstream.identity();
    let shelf = Shelf::take(&request.dest, &identity, progress)?;
    let display = Display::choose(request.links, &shelf.paths, request.upstream.names())?;
    let previous = shelf.in_use()?;
    let run = Run { request, http, shelf: &shelf, identity: &identity, in_use: previous.as_ref(), progress };
    let (record, brought) = run.current()?;
    let switched = shelf.bring_into_use(&record, display, request.thorough)?;
    // From here on the mirror is up to date, and nothing may say otherwise.
    let mut removed = Vec::new();
    if let Err(error) = shelf.retain(request.keep, &mut removed) {
        progress.report(&Event::Warning { message: format!("old sets are still there: {error}") });
    }
    if brought {
        run.tell_of_newer(&record);
    }
    let served = [shelf.paths.current().join(MirrorPaths::SCRIPT)];
    let root = &request.dest;
    let served = served.iter().filter_map(|path| path.strip_prefix(root).ok());
    if let Some(path) = served::first_unreadable(root, served) {
        progress.report(&Event::Warning { message: served::unreadable_warning(&path) });
    }
    let older = run.is_older(&record.version);
    let (version, changed) = (record.version, brought || switched);
    Ok(Outcome { identity: identity.clone(), version, previous: previous.clone(), changed, older, removed })
}

/// A run under way.
struct Run<'a> {
    request: &'a Request,
    http: &'a Http,
    shelf: &'a Shelf<'a>,
    identity: &'a Identity,
    in_use: Option<&'a Version>,
    progress: &'a dyn Progress,
}

impl Run<'_> {
    /// Whether `version` is older than the one that was in use when the run began.
    fn is_older(&self, version: &Version) -> bool {
        self.in_use.is_some_and(|in_use| version < in_use)
    }

    /// Refuses what is older than the version in use, where nobody asked for that.
    fn check_age(&self, version: &Version) -> Result<(), Error> {
        match self.in_use {
            Some(in_use) if version < in_use && !self.request.allow_older => Err(Error::Older {
                identity: Box::new(self.identity.clone()),
                found: version.clone(),
                in_use: in_use.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// Says so where the publisher has given a version that stands here other images: publishers do not do that.
    fn warn_of_replaced(&self, set: &Set) -> Result<(), Error> {
        let Some(record) = self.shelf.recorded(&set.version)? else { return Ok(()) };
        let changed = |image: &&Image| {
            let recorded = record.files.iter().find(|file| file.name == image.name);
            recorded.is_some_and(|file| file.digest != image.digest)
        };
        for image in set.images.iter().filter(changed) {
            let message = format!(
                "`{}` of {} is another image than before, under the same version: {}\nhint: find out why: a release is never changed; `--verify-signatures` tells whether it is its publisher's",
                image.name, set.version, image.digest
            );
            self.progress.report(&Event::Warning { message });
        }
        Ok(())
    }

    fn read(&self) -> Result<Set, metadata::Error> {
        let folder = self.shelf.paths.metadata();
        self.request.upstream.read(&Reader { http: self.http, folder, progress: self.progress })
    }

    /// The record of the set that is current, which stands here whole; and whether it was brought in now.
    fn current(&self) -> Result<(Record, bool), Error> {
        let set = self.read()?;
        self.have(&set).or_else(|error| {
            // A set that was withdrawn or replaced while it was under way is no fault, if there is another now.
            let outdated = matches!(&error, Error::Transfer(error) if error.may_be_outdated());
            let newer = outdated.then(|| self.read().ok()).flatten().filter(|newer| *newer != set);
            let Some(newer) = newer else { return Err(error) };
            let message = format!("{} was replaced by {} while it was brought in", set.version, newer.version);
            self.progress.report(&Event::Warning { message });
            self.have(&newer)
        })
    }

    /// The record of `set`, which is brought in unless it stands here whole; and whether it was.
    fn have(&self, set: &Set) -> Result<(Record, bool), Error> {
        let Request { trust, thorough, .. } = self.request;
        self.check_age(&set.version)?;
        let trusted = trust.as_ref().map(|trust| trust.pin.fingerprints.as_slice());
        if let Some(record) = self.shelf.find(set, trusted, *thorough)? {
            return Ok((record, false));
        }
        self.warn_of_replaced(set)?;
        let transfer = Transfer {
            http: self.http,
            paths: &self.shelf.paths,
            identity: self.identity,
            trust: trust.as_ref(),
            progress: self.progress,
        };
        let (folder, record) = transfer.bring(set)?;
        let task = Task::start(self.progress, Kind::Publish, self.shelf.paths.set(set.version.as_str()), None);
        self.shelf.publish(&folder, &set.version)?;
        task.finish("published");
        Ok((record, true))
    }

    /// Says so where the publisher has moved on since. What has come is whole all the same, and newer than what was
    /// served; to begin again at once could go on for ever with a server that gives now this answer, now that one.
    fn tell_of_newer(&self, record: &Record) {
        if let Ok(newer) = self.read()
            && !record.is_of(&newer, None)
        {
            let message = format!(
                "{} is current by now, and {} is in use\nhint: run the command again, or let the next run do it",
                newer.version, record.version
            );
            self.progress.report(&Event::Warning { message });
        }
    }
}
