//! Mirrors of network boot images: local copies of the complete image set that a publisher lists as current.
//!
//! # What boot scripts can rely on
//!
//! ```text
//! DEST/44.20260707.3.1/            a set: kernel, initramfs and rootfs of one release
//!     kernel-x86_64
//!     initramfs.x86_64.img
//!     rootfs.x86_64.img
//!     shim-x86_64.efi              if it is asked for: what makes firmware with Secure Boot start the kernel
//!     version.ipxe                 an iPXE script: set fedora-coreos-version 44.20260707.3.1
//!     mirror.json                  where each came from, its size and its digest
//! DEST/current -> 44.20260707.3.1  the set in use
//! DEST/kernel-x86_64 -> current/kernel-x86_64, and so on
//! ```
//!
//! A set never changes: it appears complete, in a folder named after its version, and is removed as a whole. `current`
//! is a single name. It changes atomically, and so do all names that resolve through it.
//!
//! A client that fetches the kernel just before that change and the other images just after it still ends up with
//! images of two releases. A boot script therefore reads `DEST/current/version.ipxe` once (`chain` it: it sets the
//! variable `NAME-version` and returns) and then fetches everything from `DEST/${NAME-version}/`. That set remains
//! available long enough: the set in use and the one before it are never removed.
//!
//! If the file system does not support symbolic links, `current` is a folder with hard links or copies, and the names
//! beside it do not exist. The guarantees for boot scripts stay the same.

pub mod image_set;
pub mod streams;

pub mod metadata;

mod error;
pub mod fedora_coreos;
pub mod flatcar;

pub mod byte_source;
pub mod fat;
pub mod iso9660;

pub mod record;
pub mod shim;
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
use self::record::{Identity, MirrorRecord, ShimRecord};
use self::signature::Trust;
use self::store::{Keep, MirrorStore};
use self::streams::{CoreosArch, FlatcarArch};
use self::transfer::Transfer;
use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Diagnostic, Flag, Help, Page};
use crate::base::fs::world_readable;
use crate::base::http::HttpClient;
use crate::base::paths::MirrorPaths;
use crate::base::paths::mirror::ImageNames;
use crate::base::progress::{Progress, Task, TaskKind};
use crate::loader::target::Arch;

/// Errors from updating a mirror. The served files stay unchanged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The publisher's metadata is unavailable or unusable.
    #[error(transparent)]
    Metadata(#[from] metadata::Error),
    /// The version that the publisher lists as current is older than the version in use.
    #[error(
        "the publisher of `{identity}` calls {found} current, which is older than {in_use}, the version in use, which stays in use"
    )]
    Older {
        /// Identity of the mirror.
        identity: Box<Identity>,
        /// Version that the publisher lists as current.
        found: ImageVersion,
        /// Version in use.
        in_use: ImageVersion,
    },
    /// There are no shims for this architecture.
    #[error("`{arch}`: found an architecture without UEFI, wanted `x86_64` or `aarch64` for a shim")]
    NoShim {
        /// Architecture of the mirror.
        arch: &'static str,
    },
    /// Transferring the current set failed.
    #[error(transparent)]
    Transfer(#[from] transfer::Error),
    /// The mirror's folder is unusable.
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
                .help(Flag::AllowOlder)
                .page(Page::Mirror),
            Self::NoShim { arch } => Class::BadInput.about(arch).help(Help::Without(Flag::Shim)).help(Flag::Arch),
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

/// Product to mirror, and its source.
#[derive(Debug, Clone)]
pub enum Publisher {
    /// Fedora CoreOS.
    FedoraCoreos(fedora_coreos::FedoraCoreosSource),
    /// Flatcar.
    Flatcar(flatcar::FlatcarSource),
}

impl Publisher {
    /// Returns the name of the product, as used in records, in pins and in the variable of a boot script.
    #[must_use]
    pub fn product(&self) -> &'static str {
        match self {
            Self::FedoraCoreos(_) => "fedora-coreos",
            Self::Flatcar(_) => "flatcar",
        }
    }

    /// Returns the identity of the mirror.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let (stream, arch) = match self {
            Self::FedoraCoreos(origin) => (origin.stream.as_str(), origin.arch.as_str()),
            Self::Flatcar(origin) => (origin.channel.as_str(), origin.arch.as_str()),
        };
        Identity { mirror: self.product().to_owned(), stream: stream.to_owned(), arch: arch.to_owned() }
    }

    /// Returns the file names of the images, which are the same in every set.
    fn names(&self) -> Vec<String> {
        let (names, shim) = match self {
            Self::FedoraCoreos(origin) => (origin.names(), origin.shim),
            Self::Flatcar(origin) => (ImageNames::flatcar(), origin.shim),
        };
        let shim = shim.then(|| names.shim.clone());
        names.into_iter().chain(shim).collect()
    }

    /// Returns the CPU of the images, as UEFI machines have it; `None` if the machines have no UEFI.
    fn arch(&self) -> Option<Arch> {
        match self {
            Self::FedoraCoreos(origin) => match origin.arch {
                CoreosArch::X86_64 => Some(Arch::X86_64),
                CoreosArch::Aarch64 => Some(Arch::Arm64),
                CoreosArch::Ppc64le | CoreosArch::S390x => None,
            },
            Self::Flatcar(origin) => match origin.arch {
                FlatcarArch::Amd64 => Some(Arch::X86_64),
                FlatcarArch::Arm64 => Some(Arch::Arm64),
            },
        }
    }

    /// Checks that there are shims for the architecture, if one is asked for.
    ///
    /// # Errors
    ///
    /// [`Error::NoShim`] if there are none.
    pub fn check_shim(&self) -> Result<(), Error> {
        match self {
            Self::FedoraCoreos(origin) if origin.shim && self.arch().is_none() => {
                Err(Error::NoShim { arch: origin.arch.as_str() })
            }
            Self::FedoraCoreos(_) | Self::Flatcar(_) => Ok(()),
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

/// Parameters of a mirror run.
#[derive(Debug)]
pub struct MirrorRequest {
    /// Product to mirror, and its source.
    pub upstream: Publisher,
    /// Folder of the mirror.
    pub dest: Utf8PathBuf,
    /// Number of sets to keep.
    pub keep: Keep,
    /// How `current` presents the set in use.
    pub links: Links,
    /// Whether to recompute the digests of a set that is already present. Sizes are always compared.
    pub thorough: bool,
    /// Key pins and `gpgv` for checking signatures; `None` if signatures are not checked.
    pub trust: Option<Trust>,
    /// Whether to accept a version that is older than the one in use.
    pub allow_older: bool,
}

/// Result of a mirror run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MirrorOutcome {
    /// Identity of the mirror.
    #[serde(flatten)]
    pub identity: Identity,
    /// Version now in use.
    pub version: ImageVersion,
    /// Version that was in use before the run.
    pub previous: Option<ImageVersion>,
    /// Whether any served file changed.
    pub changed: bool,
    /// Whether `version` is older than the version that was in use before.
    pub older: bool,
    /// Versions of the sets that the run removed.
    pub removed: Vec<ImageVersion>,
    /// The shim in the set in use, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shim: Option<ShimRecord>,
}

/// Updates a mirror. If it is already up to date, the run only queries the publisher.
///
/// # Errors
///
/// [`Error`]. The next run reuses the files that have already arrived.
pub fn mirror(request: &MirrorRequest, http: &HttpClient, progress: &dyn Progress) -> Result<MirrorOutcome, Error> {
    request.upstream.check_shim()?;
    let identity = request.upstream.identity();
    let store = MirrorStore::acquire(&request.dest, &identity, progress)?;
    let current = CurrentSet::choose(request.links, &store.paths, &request.upstream.names())?;
    let previous = store.in_use()?;
    let run = Run { request, http, store: &store, identity: &identity, in_use: previous.as_ref(), progress };
    let used = previous.as_ref().map(|version| store.recorded(version)).transpose()?.flatten().and_then(|it| it.shim);
    let last = if used.is_some() { used.clone() } else { store.newest_shim()? };
    let (record, brought) = run.current()?;
    let switched = store.bring_into_use(&record, current, request.thorough)?;
    // From here on the mirror is up to date, so a later failure must not be reported as an error.
    let mut removed = Vec::new();
    if let Err(error) = store.retain(request.keep, &mut removed) {
        progress.warn(Diagnostic::new(format!("old sets are still there: {error}")));
    }
    if brought {
        run.warn_of_newer(&record);
    }
    if brought || switched {
        run.warn_of_other_shim(&record, used.is_some(), last.as_ref());
    }
    let served = [store.paths.current().join(MirrorPaths::SCRIPT)];
    let root = &request.dest;
    let served = served.iter().filter_map(|path| path.strip_prefix(root).ok());
    if let Some(path) = world_readable::first_unreadable(root, served) {
        progress.warn(world_readable::unreadable_warning(&path));
    }
    let older = run.is_older(&record.version);
    let (version, shim, changed) = (record.version, record.shim, brought || switched);
    let (identity, previous) = (identity.clone(), previous.clone());
    Ok(MirrorOutcome { identity, version, previous, changed, older, removed, shim })
}

/// State of a run.
struct Run<'a> {
    request: &'a MirrorRequest,
    http: &'a HttpClient,
    store: &'a MirrorStore<'a>,
    identity: &'a Identity,
    in_use: Option<&'a ImageVersion>,
    progress: &'a dyn Progress,
}

impl Run<'_> {
    /// Checks whether `version` is older than the version that was in use when the run began.
    fn is_older(&self, version: &ImageVersion) -> bool {
        self.in_use.is_some_and(|in_use| version < in_use)
    }

    /// Rejects a version older than the one in use, unless the request allows it.
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

    /// Warns if the publisher now lists other images for a version that is already present. Publishers do not do that.
    fn warn_of_replaced(&self, image_set: &ImageSet) -> Result<(), Error> {
        let Some(record) = self.store.recorded(&image_set.version)? else { return Ok(()) };
        let recorded = |image: &Image| {
            if image_set.iso.as_ref() == Some(image) {
                return record.shim.as_ref()?.iso;
            }
            record.files.iter().find(|file| file.name == image.name).map(|file| file.digest)
        };
        let changed = |image: &&Image| recorded(image).is_some_and(|digest| digest != image.digest);
        for image in image_set.images.iter().chain(&image_set.iso).filter(changed) {
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

    /// Ensures that the current set is present and complete. Returns its record, and whether this run transferred it.
    fn current(&self) -> Result<(MirrorRecord, bool), Error> {
        let image_set = self.read()?;
        self.have(&image_set).or_else(|error| {
            // A set that was withdrawn or replaced during the transfer is not an error if a newer set is available.
            let outdated = matches!(&error, Error::Transfer(error) if error.may_be_outdated());
            let newer = outdated.then(|| self.read().ok()).flatten().filter(|newer| *newer != image_set);
            let Some(newer) = newer else { return Err(error) };
            let message =
                format!("{} was replaced by {} while it was being downloaded", image_set.version, newer.version);
            self.progress.warn(Diagnostic::new(message));
            self.have(&newer)
        })
    }

    /// Ensures that `image_set` is present and complete. Returns its record, and whether this run transferred it.
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
            arch: self.request.upstream.arch(),
            progress: self.progress,
        };
        let (folder, record) = transfer.bring(image_set)?;
        let task =
            Task::start(self.progress, TaskKind::Publish, self.store.paths.set(image_set.version.as_str()), None);
        self.store.publish(&folder, &image_set.version)?;
        task.finish("published");
        Ok((record, true))
    }

    /// Warns if the set of `record` has no shim and that which was in use had one, as `had_one` says, or if its shim trusts
    /// other certificates than the `last`: machines that have enrolled one of those do not start the new kernel.
    fn warn_of_other_shim(&self, record: &MirrorRecord, had_one: bool, last: Option<&ShimRecord>) {
        let Some(old) = last else { return };
        let list = |shim: &ShimRecord| shim.trusts.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
        let warning = match &record.shim {
            None if !had_one => return,
            None => {
                let message = format!("{} has no shim, and the set that was in use before has one", record.version);
                Diagnostic::new(message).help(Flag::Shim)
            }
            Some(new) if new.trusts != old.trusts => {
                let (version, found, before) = (&record.version, list(new), list(old));
                let message =
                    format!("the shim of {version} trusts kernels of {found}, and the one before those of {before}");
                let help = match self.request.upstream {
                    Publisher::FedoraCoreos(_) => "find out whether the publisher has announced it",
                    Publisher::Flatcar(_) => {
                        "find out whether the publisher has announced it, and enrol the new certificate before machines boot this release"
                    }
                };
                Diagnostic::new(message).help(help)
            }
            Some(_) => return,
        };
        self.progress.warn(warning);
    }

    /// Warns if the publisher has moved on during the run. The transferred set is nevertheless complete, and newer than
    /// the one served before. Starting over at once might never end with a server that alternates between two answers.
    fn warn_of_newer(&self, record: &MirrorRecord) {
        if let Ok(newer) = self.read()
            && !record.is_of(&newer, None)
        {
            let message = format!("{} is current by now, and {} is in use", newer.version, record.version);
            self.progress.warn(Diagnostic::new(message).help(Help::Again).help("let the next run do it"));
        }
    }
}
