//! The whole way, from a project's files to a published tree. Each step takes what the step before
//! returned.

use std::rc::Rc;

use camino::{Utf8Path, Utf8PathBuf};

use crate::baseline;
use crate::build::{self, Built, Workshop, make::Settings};
use crate::choices::pins::{IpxePin, MemberPin, Pins, SyslinuxPin};
use crate::choices::reader::Findings;
use crate::choices::sites::{self, Options, Sites};
use crate::digest::Sha256Digest;
use crate::fs::{self, Lock, unwritable};
use crate::known_toolchains::{self, KnownToolchain, Recognised};
use crate::parallel::leaving;
use crate::paths::{self, Cache, Project};
use crate::plan::{Inputs, Other, Plan};
use crate::progress::{Event, Progress};
use crate::source::Supply;
use crate::source::bundle;
use crate::source::http::Network;
use crate::source::ipxe::{self, Patch, Source};
use crate::source::syslinux;
use crate::stamp::tarball::Refusal;
use crate::stamping::{self, Stock};
use crate::tarball;
use crate::toolchain::{self, Toolchain, needs};
use crate::tree::publish::{self, Place, Published};
use crate::url::Url;

/// Why there is no tree.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The pins or choices are wrong.
    #[error(transparent)]
    Findings(#[from] Findings),
    /// What is said of known toolchains is wrong.
    #[error(transparent)]
    KnownToolchains(#[from] known_toolchains::Error),
    /// The choices cannot be read.
    #[error(transparent)]
    Sites(#[from] sites::Error),
    /// A tool is missing.
    #[error(transparent)]
    Toolchain(#[from] toolchain::Error),
    /// iPXE's source is not to be had.
    #[error(transparent)]
    Ipxe(#[from] ipxe::Error),
    /// The syslinux files are not to be had.
    #[error(transparent)]
    Syslinux(#[from] syslinux::Error),
    /// The source bundle does not have what is pinned.
    #[error(transparent)]
    Bundle(#[from] bundle::Error),
    /// The build failed.
    #[error(transparent)]
    Build(#[from] build::Error),
    /// Something else is linked than the baseline says.
    #[error(transparent)]
    Baseline(#[from] baseline::Error),
    /// A loader could not be stamped.
    #[error(transparent)]
    Stamping(#[from] stamping::Error),
    /// Publishing failed.
    #[error(transparent)]
    Publish(#[from] publish::Error),
    /// A bundle of bases would be larger than whoever stamps reads.
    #[error(
        "a bundle of all these bases is too large to be read: {0}\nhint: bundle fewer loaders, sizes of slots or configurations at once"
    )]
    TooLarge(Refusal),
    /// The user asked to stop.
    #[error("interrupted")]
    Cancelled,
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

/// Errors from bringing iPXE's source into the cache.
///
/// The conversions below name every variant, so that one that is added can't be taken for another.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The source cannot be had, or is not what was pinned.
    #[error(transparent)]
    Ipxe(#[from] ipxe::Error),
    /// The source bundle does not have what is pinned.
    #[error(transparent)]
    Bundle(#[from] bundle::Error),
    /// The user asked to stop.
    #[error("interrupted")]
    Cancelled,
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl From<FetchError> for Error {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Ipxe(error) => Self::Ipxe(error),
            FetchError::Bundle(error) => Self::Bundle(error),
            FetchError::Cancelled => Self::Cancelled,
            FetchError::Fs(error) => Self::Fs(error),
        }
    }
}

impl From<FetchError> for build::Error {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Ipxe(error) => Self::Source(error),
            FetchError::Bundle(error) => Self::Bundle(error),
            FetchError::Cancelled => Self::Cancelled,
            FetchError::Fs(error) => Self::Fs(error),
        }
    }
}

/// Where pinned inputs may come from.
#[derive(Debug, Clone)]
pub struct Origins {
    /// The network.
    pub network: Network,
    /// A git URL or path instead of the pin's, for iPXE.
    pub ipxe_url: Option<Url>,
    /// A path or address instead of the pin's, for the syslinux archive.
    pub syslinux_archive: Option<Url>,
    /// A source bundle that has everything.
    pub bundle: Option<Utf8PathBuf>,
}

/// What goes in, read and checked.
pub struct Choices {
    /// The pins.
    pub pins: Pins,
    /// The choices.
    pub sites: Sites,
    /// The patches.
    pub patches: Vec<Patch>,
    /// What known toolchains give.
    pub known: Vec<KnownToolchain>,
}

impl Choices {
    /// Reads a project, with `options` besides what it says.
    ///
    /// # Errors
    ///
    /// [`Error`]: all findings of the file that is wrong; [`Error::Cancelled`].
    pub fn read(project: &Project, options: &Options, progress: &dyn Progress) -> Result<Self, Error> {
        let file = project.pins();
        let text = fs::read_text(&file)?;
        let name = file.strip_prefix(project.root()).unwrap_or(&file);
        let pins = Pins::read(name, &text)?;
        // A hundred thousand sites take seconds.
        let (place, syslinux, options) = (project.clone(), pins.syslinux.clone(), options.clone());
        let read = leaving(progress, move || Sites::read(&place, &syslinux, &options));
        let sites = read.ok_or(Error::Cancelled)??;
        for message in &sites.warnings {
            progress.report(&Event::Warning { message: message.clone() });
        }
        let known = KnownToolchain::read_all(project)?;
        Ok(Self { pins, sites, patches: Patch::read_all(&project.patches())?, known })
    }

    /// Finds the toolchain for them in `path`, a list of folders as in `PATH`, and plans.
    ///
    /// # Errors
    ///
    /// [`Error::Toolchain`] where a tool is missing; [`Error::Cancelled`].
    pub fn plan(self, path: &str, cache: &Cache, progress: &dyn Progress) -> Result<Plan, Error> {
        let toolchain = Toolchain::find(&needs::build(self.has_trust()), path, cache, progress)?;
        let Self { pins, sites, patches, known } = self;
        let inputs = Inputs { pins, patches, toolchain, known };
        leaving(progress, move || Plan::new(inputs, sites)).ok_or(Error::Cancelled)
    }

    /// Whether any site embeds certificates.
    #[must_use]
    pub fn has_trust(&self) -> bool {
        self.sites.iter().any(|site| !site.config.trust.is_empty())
    }
}

impl Origins {
    fn ipxe(&self) -> Supply<'_> {
        Supply { network: &self.network, given: self.ipxe_url.as_ref() }
    }

    /// Brings what the cache lacks out of the bundle, where there is one.
    fn unpack(&self, pins: &Pins, cache: &Cache, progress: &dyn Progress) -> Result<(), FetchError> {
        let Some(bundle) = &self.bundle else { return Ok(()) };
        let _lock = Lock::acquire(&cache.lock("fetch"), progress)?.ok_or(FetchError::Cancelled)?;
        Ok(bundle::read(bundle, pins, cache, progress)?)
    }

    fn syslinux(&self) -> Supply<'_> {
        Supply { network: &self.network, given: self.syslinux_archive.as_ref() }
    }
}

/// Brings everything that is pinned into the cache.
///
/// # Errors
///
/// [`Error::Ipxe`] or [`Error::Syslinux`] where something is not to be had.
pub fn fetch(pins: &Pins, cache: &Cache, origins: &Origins, progress: &dyn Progress) -> Result<(), Error> {
    origins.unpack(pins, cache, progress)?;
    fetch_ipxe(&pins.ipxe, cache, origins, progress)?;
    // Opening it compares tree and content with the pin.
    Source::open(&pins.ipxe, cache, &[], progress)?;
    fetch_syslinux(&pins.syslinux, &pins.syslinux.members, cache, origins, progress)
}

/// Keeps others from filling the cache meanwhile; `None` where it cannot be written, and nothing is missing either.
fn fetching(
    cache: &Cache,
    is_full: impl FnOnce() -> bool,
    progress: &dyn Progress,
) -> Result<Option<Lock>, FetchError> {
    match Lock::acquire(&cache.lock("fetch"), progress) {
        Ok(lock) => lock.ok_or(FetchError::Cancelled).map(Some),
        Err(error) if unwritable(&error).is_some() && is_full() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn fetch_ipxe(pin: &IpxePin, cache: &Cache, origins: &Origins, progress: &dyn Progress) -> Result<(), FetchError> {
    let _lock = fetching(cache, || Source::open(pin, cache, &[], progress).is_ok(), progress)?;
    Ok(ipxe::fetch(pin, cache, &origins.ipxe(), progress)?)
}

fn fetch_syslinux(
    pin: &SyslinuxPin,
    members: &[MemberPin],
    cache: &Cache,
    origins: &Origins,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let is_full = || members.iter().all(|member| matches!(syslinux::cached(cache, member), Ok(Some(_))));
    let _lock = fetching(cache, is_full, progress)?;
    Ok(syslinux::fetch(pin, members, cache, &origins.syslinux(), progress)?)
}

/// What building came to.
#[derive(Debug)]
pub struct Outcome {
    /// The tree.
    pub tree: Utf8PathBuf,
    /// What is in it, and whether it is new.
    pub published: Published,
    /// How the loaders compare with what known toolchains give.
    pub recognised: Vec<Recognised>,
    /// How many bases were made; the others were in the cache.
    pub made: usize,
    /// The tarball, where asked for, with its SHA-256 and its size in bytes.
    pub archive: Option<(Utf8PathBuf, Sha256Digest, u64)>,
}

/// What to do with a plan, and with what.
pub struct Request<'a> {
    /// Whose baseline is compared with.
    pub project: &'a Project,
    /// The cache.
    pub cache: &'a Cache,
    /// Where inputs may come from.
    pub origins: &'a Origins,
    /// How make runs.
    pub settings: &'a Settings,
    /// Where the tree goes.
    pub tree: &'a Utf8Path,
    /// Whether to write the tarball, too.
    pub pack: bool,
    /// Whether files that somebody has put into the old tree may go.
    pub replace: bool,
    /// Whether what is linked now becomes the baseline.
    pub update_baseline: bool,
}

/// Makes the bases of `plan` in `workshop`, as far as that does not have them. iPXE's source is taken from
/// the cache `sources`, and brought there first from `origins`.
///
/// # Errors
///
/// [`Error`].
pub fn make(plan: &Plan, sources: &Cache, origins: &Origins, workshop: &Workshop<'_>) -> Result<Built, Error> {
    let (mut built, missing) = build::recall(plan, workshop.cache)?;
    build::run(&missing, &mut built, workshop, &mut source(plan, sources, origins, workshop))?;
    Ok(built)
}

/// iPXE's source for `plan`, fetched and checked when it is asked for first.
pub fn source<'a>(
    plan: &'a Plan,
    sources: &'a Cache,
    origins: &'a Origins,
    workshop: &'a Workshop<'_>,
) -> impl FnMut() -> Result<Rc<Source>, build::Error> + use<'a> {
    // Checking every file of the source takes a second: once is enough for all build trees.
    let mut opened: Option<Rc<Source>> = None;
    move || {
        if let Some(source) = &opened {
            return Ok(Rc::clone(source));
        }
        origins.unpack(&plan.inputs.pins, sources, workshop.progress)?;
        fetch_ipxe(workshop.pin, sources, origins, workshop.progress)?;
        let source = Rc::new(Source::open(workshop.pin, sources, &plan.inputs.patches, workshop.progress)?);
        opened = Some(Rc::clone(&source));
        Ok(source)
    }
}

/// Builds what `plan` asks for, and publishes it.
///
/// # Errors
///
/// [`Error`]; the old tree is then as it was.
pub fn build_loaders(plan: &Plan, request: &Request<'_>, progress: &dyn Progress) -> Result<Outcome, Error> {
    let Request { cache, origins, settings, pack, .. } = *request;
    let tree = &fs::resolve(request.tree)?;
    build::check_cache(cache)?;
    let mut place = Place::take(tree, progress)?;
    place.check_foreign(request.replace, progress)?;
    let pins = &plan.inputs.pins;
    let members =
        plan.others().filter_map(|(_, other)| if let Other::Member(member) = other { Some(member) } else { None });
    let members: Vec<MemberPin> = members.cloned().collect();
    origins.unpack(pins, cache, progress)?;
    fetch_syslinux(&pins.syslinux, &members, cache, origins, progress)?;
    let workshop = Workshop { pin: &pins.ipxe, cache, settings, progress };
    let built = make(plan, cache, origins, &workshop)?;
    if request.update_baseline {
        baseline::accept(plan, request.project, &built)?;
    } else {
        check_baseline(plan, request.project, &built, progress)?;
    }
    let published = place.publish(&Stock::new(plan, &built, cache, settings.jobs, progress))?;
    let path = paths::archive_of(tree, env!("CARGO_PKG_VERSION"));
    let archive = if pack {
        let (sha256, size) = tarball::pack(tree, pins.ipxe.epoch, &path, progress)?;
        Some((path, sha256, size))
    } else {
        if published.new && path.exists() {
            let message = format!(
                "`{path}` is the tarball of an earlier tree\nhint: write it anew with `--archive`, or remove it"
            );
            progress.report(&Event::Warning { message });
        }
        None
    };
    let recognised = known_toolchains::recognise(plan, &published.root);
    warn_of_strangers(&recognised, progress);
    Ok(Outcome { tree: tree.to_owned(), published, recognised, made: built.made, archive })
}

/// Makes sure that nothing else is linked than the baseline of `project` says, and tells what it does not say.
///
/// # Errors
///
/// [`baseline::Error`].
pub fn check_baseline(
    plan: &Plan,
    project: &Project,
    built: &Built,
    progress: &dyn Progress,
) -> Result<(), baseline::Error> {
    for list in baseline::check(plan, project, built)? {
        let message = format!(
            "the baseline has no `{list}`, so nothing is compared with it\nhint: write it with `cargo xtask build-loaders --update-baseline`"
        );
        progress.report(&Event::Warning { message });
    }
    Ok(())
}

/// Says where a known toolchain has given other bytes than it should.
fn warn_of_strangers(recognised: &[Recognised], progress: &dyn Progress) {
    for known in recognised.iter().filter(|known| known.used && !known.different.is_empty()) {
        let paths = known.different.iter().map(|path| format!("`{path}`")).collect::<Vec<_>>().join(", ");
        let message = format!(
            "{paths} should be other bytes with this very toolchain, by vendor/toolchains.toml\nhint: find out why with `cargo xtask reproduce`"
        );
        progress.report(&Event::Warning { message });
    }
}
