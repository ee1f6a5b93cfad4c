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

pub mod image_set;
pub mod streams;

pub mod metadata;

mod error;
pub mod fedora_coreos;
pub mod flatcar;

pub mod record;
pub mod signature;
pub mod transfer;

pub mod current;
pub mod store;

pub mod schedule;

use camino::Utf8PathBuf;
use serde::Serialize;

use self::current::{CurrentSet, Links};
use self::image_set::{Image, ImageSet, ImageVersion};
use self::metadata::Reader;
use self::record::{Identity, MirrorRecord};
use self::signature::Trust;
use self::store::{Keep, MirrorStore};
use self::transfer::Transfer;
use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Diagnostic, Flag, Help};
use crate::base::fs::world_readable;
use crate::base::http::HttpClient;
use crate::base::paths::MirrorPaths;
use crate::base::paths::mirror::ImageNames;
use crate::base::progress::{Progress, Task, TaskKind};

/// Why a mirror is not up to date; what is served is as it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody can tell what is current.
    #[error(transparent)]
    Metadata(#[from] metadata::Error),
    /// What the publisher calls current is older than what is in use.
    #[error(
        "the publisher of `{identity}` calls {found} current, which is older than {in_use}, the version in use, which stays in use"
    )]
    Older {
        /// What it is a mirror of.
        identity: Box<Identity>,
        /// What the publisher calls current.
        found: ImageVersion,
        /// What is in use.
        in_use: ImageVersion,
    },
    /// The current set cannot be brought in.
    #[error(transparent)]
    Transfer(#[from] transfer::Error),
    /// The folder cannot be used.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Metadata(error) => error.diagnosis(),
            Self::Older { identity, .. } => Class::Mismatch
                .about(identity)
                .help("ask again later, since a server may be behind or replay what was current once")
                .help(Flag::AllowOlder),
            Self::Transfer(error) => error.diagnosis(),
            Self::Store(error) => error.diagnosis(),
        }
    }
}

impl From<crate::base::fs::Error> for Error {
    fn from(error: crate::base::fs::Error) -> Self {
        Self::Store(error.into())
    }
}

/// What is mirrored, and from where.
#[derive(Debug, Clone)]
pub enum Publisher {
    /// Fedora CoreOS.
    FedoraCoreos(fedora_coreos::FedoraCoreosSource),
    /// Flatcar.
    Flatcar(flatcar::FlatcarSource),
}

impl Publisher {
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

    fn read(&self, reader: &Reader<'_>) -> Result<ImageSet, metadata::Error> {
        let image_set = match self {
            Self::FedoraCoreos(origin) => origin.read(reader),
            Self::Flatcar(origin) => origin.read(reader),
        };
        image_set.and_then(metadata::check_distinct)
    }
}

/// What is asked for.
#[derive(Debug)]
pub struct MirrorRequest {
    /// What is mirrored, and from where.
    pub upstream: Publisher,
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
pub struct MirrorOutcome {
    /// What it is a mirror of.
    #[serde(flatten)]
    pub identity: Identity,
    /// The version in use now.
    pub version: ImageVersion,
    /// The version that was in use before.
    pub previous: Option<ImageVersion>,
    /// Whether anything that is served is another than before.
    pub changed: bool,
    /// Whether the version is older than the one that was in use before.
    pub older: bool,
    /// The versions whose sets were removed.
    pub removed: Vec<ImageVersion>,
}

/// Brings a mirror up to date. One that is so already costs asking the publisher.
///
/// # Errors
///
/// [`Error`]; what has arrived is used again by the next run.
pub fn mirror(request: &MirrorRequest, http: &HttpClient, progress: &dyn Progress) -> Result<MirrorOutcome, Error> {
    let identity = request.upstream.identity();
    let store = MirrorStore::acquire(&request.dest, &identity, progress)?;
    let current = CurrentSet::choose(request.links, &store.paths, request.upstream.names())?;
    let previous = store.in_use()?;
    let run = Run { request, http, store: &store, identity: &identity, in_use: previous.as_ref(), progress };
    let (record, brought) = run.current()?;
    let switched = store.bring_into_use(&record, current, request.thorough)?;
    // From here on the mirror is up to date, and nothing may say otherwise.
    let mut removed = Vec::new();
    if let Err(error) = store.retain(request.keep, &mut removed) {
        progress.warn(Diagnostic::new(format!("old sets are still there: {error}")));
    }
    if brought {
        run.warn_of_newer(&record);
    }
    let served = [store.paths.current().join(MirrorPaths::SCRIPT)];
    let root = &request.dest;
    let served = served.iter().filter_map(|path| path.strip_prefix(root).ok());
    if let Some(path) = world_readable::first_unreadable(root, served) {
        progress.warn(world_readable::unreadable_warning(&path));
    }
    let older = run.is_older(&record.version);
    let (version, changed) = (record.version, brought || switched);
    Ok(MirrorOutcome { identity: identity.clone(), version, previous: previous.clone(), changed, older, removed })
}

/// A run under way.
struct Run<'a> {
    request: &'a MirrorRequest,
    http: &'a HttpClient,
    store: &'a MirrorStore<'a>,
    identity: &'a Identity,
    in_use: Option<&'a ImageVersion>,
    progress: &'a dyn Progress,
}

impl Run<'_> {
    /// Whether `version` is older than the one that was in use when the run began.
    fn is_older(&self, version: &ImageVersion) -> bool {
        self.in_use.is_some_and(|in_use| version < in_use)
    }

    /// Refuses what is older than the version in use, where nobody asked for that.
    fn check_age(&self, version: &ImageVersion) -> Result<(), Error> {
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
    fn warn_of_replaced(&self, image_set: &ImageSet) -> Result<(), Error> {
        let Some(record) = self.store.recorded(&image_set.version)? else { return Ok(()) };
        let changed = |image: &&Image| {
            let recorded = record.files.iter().find(|file| file.name == image.name);
            recorded.is_some_and(|file| file.digest != image.digest)
        };
        for image in image_set.images.iter().filter(changed) {
            let message = format!(
                "`{}` of {} is another image than before, under the same version: {}",
                image.name, image_set.version, image.digest
            );
            let help = "find out why: a release is never changed";
            self.progress.warn(Diagnostic::new(message).help(help).help(Flag::VerifySignatures));
        }
        Ok(())
    }

    fn read(&self) -> Result<ImageSet, metadata::Error> {
        let folder = self.store.paths.metadata();
        self.request.upstream.read(&Reader { http: self.http, folder, progress: self.progress })
    }

    /// The record of the set that is current, which stands here whole; and whether it was brought in now.
    fn current(&self) -> Result<(MirrorRecord, bool), Error> {
        let image_set = self.read()?;
        self.have(&image_set).or_else(|error| {
            // A set that was withdrawn or replaced while it was under way is no fault, if there is another now.
            let outdated = matches!(&error, Error::Transfer(error) if error.may_be_outdated());
            let newer = outdated.then(|| self.read().ok()).flatten().filter(|newer| *newer != image_set);
            let Some(newer) = newer else { return Err(error) };
            let message = format!("{} was replaced by {} while it was brought in", image_set.version, newer.version);
            self.progress.warn(Diagnostic::new(message));
            self.have(&newer)
        })
    }

    /// The record of `set`, which is brought in unless it stands here whole; and whether it was.
    fn have(&self, image_set: &ImageSet) -> Result<(MirrorRecord, bool), Error> {
        let MirrorRequest { trust, thorough, .. } = self.request;
        self.check_age(&image_set.version)?;
        let trusted = trust.as_ref().map(|trust| trust.pin.fingerprints.as_slice());
        if let Some(record) = self.store.find(image_set, trusted, *thorough)? {
            return Ok((record, false));
        }
        self.warn_of_replaced(image_set)?;
        let transfer = Transfer {
            http: self.http,
            paths: &self.store.paths,
            identity: self.identity,
            trust: trust.as_ref(),
            progress: self.progress,
        };
        let (folder, record) = transfer.bring(image_set)?;
        let task =
            Task::start(self.progress, TaskKind::Publish, self.store.paths.set(image_set.version.as_str()), None);
        self.store.publish(&folder, &image_set.version)?;
        task.finish("published");
        Ok((record, true))
    }

    /// Says so where the publisher has moved on since. What has come is whole all the same, and newer than what was
    /// served; to begin again at once could go on for ever with a server that gives now this answer, now that one.
    fn warn_of_newer(&self, record: &MirrorRecord) {
        if let Ok(newer) = self.read()
            && !record.is_of(&newer, None)
        {
            let message = format!("{} is current by now, and {} is in use", newer.version, record.version);
            self.progress.warn(Diagnostic::new(message).help(Help::Again).help("let the next run do it"));
        }
    }
}
