//! The complete pipeline, from a project's files to a published tree. Each step takes what the previous step returned.

use camino::{Utf8Path, Utf8PathBuf};

use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Diagnostic, Flag, Subcommand};
use crate::base::parallel::detached_on_cancel;
use crate::base::paths::{self, Cache, ProjectPaths};
use crate::base::plural::choose;
use crate::base::progress::Progress;
use crate::base::{fs, tarball};
use crate::build::plan::{Inputs, Plan};
use crate::build::reference_builds::{self, RecognisedBuild, ReferenceBuild};
use crate::build::{self, BuildContext, Built, baseline};
use crate::config::pins::{self, MemberPin, Pins, SyslinuxPin};
use crate::config::sites::{self, Options, Sites};
use crate::digest::Sha256Digest;
use crate::fetch::ipxe::{self, Patch, Source};
use crate::fetch::origins::{FetchError, Origins, fetch_ipxe, lock_for_fetch};
use crate::fetch::{signed_set, source_bundle, syslinux};
use crate::loader::target::Platform;
use crate::publish::exchange::{self, PublishTarget, Published};
use crate::publish::signer::Signer;
use crate::publish::tree_contents::{self, TreeContents};
use crate::stamp::tarball::Refusal;
use crate::toolchain::need::Need;
use crate::toolchain::needs::{self, BuildScope};
use crate::toolchain::{self, Toolchain};

/// Errors from building loaders and publishing them as a tree.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The pins cannot be used.
    #[error(transparent)]
    Pins(#[from] pins::Error),
    /// The reference builds in `vendor/toolchains.toml` are invalid.
    #[error(transparent)]
    KnownToolchains(#[from] reference_builds::Error),
    /// The configuration cannot be read.
    #[error(transparent)]
    Sites(#[from] sites::Error),
    /// A tool is missing.
    #[error(transparent)]
    Toolchain(#[from] toolchain::Error),
    /// Fetching the iPXE source failed.
    #[error(transparent)]
    Ipxe(#[from] ipxe::Error),
    /// Fetching the syslinux files failed.
    #[error(transparent)]
    Syslinux(#[from] syslinux::Error),
    /// Fetching iPXE's signed set failed.
    #[error(transparent)]
    SignedSet(#[from] signed_set::Error),
    /// The source bundle does not match the pins.
    #[error(transparent)]
    Bundle(#[from] source_bundle::Error),
    /// The build failed.
    #[error(transparent)]
    Build(#[from] build::Error),
    /// The linked objects differ from the baseline.
    #[error(transparent)]
    Baseline(#[from] baseline::Error),
    /// A loader could not be stamped.
    #[error(transparent)]
    Stamping(#[from] tree_contents::Error),
    /// Publishing failed.
    #[error(transparent)]
    Publish(#[from] exchange::Error),
    /// The bundle of bases exceeds the size that the stamper reads.
    #[error("a bundle of all these bases is too large to be read: {0}")]
    TooLarge(Refusal),
    /// The user asked to stop.
    #[error("interrupted")]
    Cancelled,
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Pins(error) => error.diagnosis(),
            Self::KnownToolchains(error) => error.diagnosis(),
            Self::Sites(error) => error.diagnosis(),
            Self::Toolchain(error) => error.diagnosis(),
            Self::Ipxe(error) => error.diagnosis(),
            Self::Syslinux(error) => error.diagnosis(),
            Self::SignedSet(error) => error.diagnosis(),
            Self::Bundle(error) => error.diagnosis(),
            Self::Build(error) => error.diagnosis(),
            Self::Baseline(error) => error.diagnosis(),
            Self::Stamping(error) => error.diagnosis(),
            Self::Publish(error) => error.diagnosis(),
            Self::TooLarge(_) => Class::BadInput.help("bundle fewer loaders, sizes of slots or configurations at once"),
            Self::Cancelled => Class::Interrupted.into(),
            Self::Fs(error) => error.diagnosis(),
        }
    }
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

/// A project's inputs, read and checked.
pub struct Config {
    /// The pins.
    pub pins: Pins,
    /// The configuration.
    pub sites: Sites,
    /// The patches.
    pub patches: Vec<Patch>,
    /// Reference builds of known toolchains. They do not affect the plan.
    pub references: Vec<ReferenceBuild>,
}

impl Config {
    /// Reads a project, with `options` in addition to its own configuration.
    ///
    /// # Errors
    ///
    /// [`Error`] with all findings of the file that is wrong; [`Error::Cancelled`].
    pub fn read(project: &ProjectPaths, options: &Options, progress: &dyn Progress) -> Result<Self, Error> {
        let paths = project.clone();
        let pins = detached_on_cancel(progress, move || Pins::read(&paths)).ok_or(Error::Cancelled)??;
        pins.ipxe.warning().into_iter().for_each(|warning| progress.warn(warning));
        // A hundred thousand sites take seconds.
        let (paths, pinned, options) = (project.clone(), pins.clone(), options.clone());
        let read = detached_on_cancel(progress, move || Sites::read(&paths, &pinned, &options));
        let sites = read.ok_or(Error::Cancelled)??;
        // What is pinned and not used is no input.
        let pins = Pins { signed_set: pins.signed_set.filter(|_| sites.signed_set.is_some()), ..pins };
        sites.warnings.iter().for_each(|warning| progress.warn(warning.clone()));
        let paths = project.clone();
        let read = detached_on_cancel(progress, move || ReferenceBuild::read_all(&paths));
        let references = read.ok_or(Error::Cancelled)??;
        Ok(Self { pins, sites, patches: Patch::read_all(&project.patches())?, references })
    }

    /// Finds the required toolchain in `path`, a list of folders like `PATH`, and computes the plan.
    ///
    /// # Errors
    ///
    /// [`Error::Toolchain`] if a tool is missing; [`Error::Cancelled`].
    pub fn plan(self, path: &str, cache: &Cache, progress: &dyn Progress) -> Result<Plan, Error> {
        let toolchain = Toolchain::find(&needs::build(&self.build_scope()), path, cache, progress)?;
        let Self { pins, sites, patches, .. } = self;
        let inputs = Inputs { pins, patches, toolchain };
        detached_on_cancel(progress, move || Plan::new(inputs, sites)).ok_or(Error::Cancelled)
    }

    /// Returns what a build of the sites and the signing of their loaders need.
    #[must_use]
    pub fn needs(&self) -> Vec<Need> {
        let mut needs = needs::build(&self.build_scope());
        needs.extend(self.sites.secure_boot.iter().filter_map(Signer::needs));
        needs
    }

    /// Returns what a build of the sites needs tools for.
    #[must_use]
    pub fn build_scope(&self) -> BuildScope {
        let trust = self.sites.iter().any(|site| !site.config.trust.is_empty());
        let media = self.sites.iter().flat_map(|site| site.media.iter().copied()).collect();
        BuildScope { trust, archs: self.platforms().map(Platform::arch).collect(), media }
    }

    /// Returns the platforms of all loaders, with repetitions.
    pub fn platforms(&self) -> impl Iterator<Item = Platform> {
        self.sites.iter().flat_map(|site| site.loaders.iter()).map(|loader| loader.platform())
    }
}

/// Fetches all pinned inputs into the cache.
///
/// # Errors
///
/// [`Error::Ipxe`], [`Error::Syslinux`] or [`Error::SignedSet`] if an input is not available.
pub fn fetch(pins: &Pins, cache: &Cache, origins: &Origins, progress: &dyn Progress) -> Result<(), Error> {
    origins.unpack(pins, cache, progress)?;
    fetch_ipxe(&pins.ipxe, cache, origins, progress)?;
    // Opening the source compares its tree and content with the pin.
    Source::open(&pins.ipxe, cache, &[], progress)?;
    fetch_syslinux(&pins.syslinux, &pins.syslinux.members, cache, origins, progress)?;
    fetch_signed_set(pins, cache, origins, progress)
}

/// Fetches iPXE's signed set, if `pins` have it.
fn fetch_signed_set(pins: &Pins, cache: &Cache, origins: &Origins, progress: &dyn Progress) -> Result<(), Error> {
    let Some(pin) = &pins.signed_set else { return Ok(()) };
    let is_complete = || pin.files.iter().all(|file| matches!(signed_set::cached(cache, file), Ok(Some(_))));
    let _lock = lock_for_fetch(cache, is_complete, progress)?;
    Ok(signed_set::fetch(pin, cache, &origins.signed_set(), progress)?)
}

fn fetch_syslinux(
    pin: &SyslinuxPin,
    members: &[MemberPin],
    cache: &Cache,
    origins: &Origins,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let is_complete = || members.iter().all(|member| matches!(syslinux::cached(cache, member), Ok(Some(_))));
    let _lock = lock_for_fetch(cache, is_complete, progress)?;
    Ok(syslinux::fetch(pin, members, cache, &origins.syslinux(), progress)?)
}

/// Result of [`build_loaders`].
#[derive(Debug)]
pub struct BuildOutcome {
    /// Path of the tree.
    pub tree: Utf8PathBuf,
    /// The published tree's content, and whether it is new.
    pub published: Published,
    /// Comparison of the loaders with the reference builds.
    pub recognised: Vec<RecognisedBuild>,
    /// Number of bases that were built; all others came from the cache.
    pub made: usize,
    /// The tarball, if requested: path, SHA-256, and size in bytes.
    pub archive: Option<(Utf8PathBuf, Sha256Digest, u64)>,
}

/// Options for publishing the built loaders.
pub struct BuildRequest<'a> {
    /// Project that holds the baseline.
    pub project: &'a ProjectPaths,
    /// Target path of the tree.
    pub tree: &'a Utf8Path,
    /// Whether to write the tarball as well.
    pub pack: bool,
    /// Whether foreign files in the old tree may be removed.
    pub replace: bool,
    /// Whether the objects linked now become the baseline.
    pub update_baseline: bool,
    /// Reference builds to compare with.
    pub references: &'a [ReferenceBuild],
    /// Signs loaders that are built for Secure Boot.
    pub signer: Option<&'a Signer>,
}

/// Builds everything in the plan of `context`, and publishes it.
///
/// # Errors
///
/// [`Error`]; the old tree is then unchanged.
pub fn build_loaders(context: &BuildContext<'_>, request: &BuildRequest<'_>) -> Result<BuildOutcome, Error> {
    let BuildContext { plan, cache, settings, progress, .. } = *context;
    let tree = &fs::resolve(request.tree)?;
    build::check_cache(cache)?;
    let mut target = PublishTarget::acquire(tree, progress)?;
    target.check_foreign(request.replace, progress)?;
    let pins = &plan.inputs.pins;
    let members = plan.members();
    context.origins.unpack(pins, context.sources, progress)?;
    fetch_syslinux(&pins.syslinux, &members, context.sources, context.origins, progress)?;
    fetch_signed_set(pins, context.sources, context.origins, progress)?;
    let built = build::make(context)?;
    if request.update_baseline {
        baseline::accept(plan, request.project, &built)?;
    } else {
        check_baseline(plan, request.project, &built, progress)?;
    }
    let contents = TreeContents::new(plan, &built, context.sources, settings.jobs, progress);
    let published = target.publish(&contents.signed_by(request.signer))?;
    let path = paths::archive_of(tree, env!("CARGO_PKG_VERSION"));
    let archive = if request.pack {
        let (sha256, size) = tarball::pack(tree, pins.ipxe.epoch, &path, progress)?;
        Some((path, sha256, size))
    } else {
        if published.new && path.exists() {
            let warning = Diagnostic::new(format!("`{path}` is the tarball of an earlier tree"));
            progress.warn(warning.help(Flag::Archive).help("remove it"));
        }
        None
    };
    let recognised = reference_builds::recognise(plan, &published.root, request.references);
    warn_of_mismatches(&recognised, progress);
    Ok(BuildOutcome { tree: tree.to_owned(), published, recognised, made: built.made, archive })
}

/// Checks that the linked objects match the baseline of `project`, and warns about lists that the baseline lacks.
///
/// # Errors
///
/// [`baseline::Error`] if a list differs from the baseline or cannot be read.
pub fn check_baseline(
    plan: &Plan,
    project: &ProjectPaths,
    built: &Built,
    progress: &dyn Progress,
) -> Result<(), baseline::Error> {
    for list in baseline::check(plan, project, built)? {
        let warning = Diagnostic::new(format!("the baseline has no `{list}`, so nothing is compared with it"));
        progress.warn(warning.help(Subcommand::UpdateBaseline));
    }
    Ok(())
}

/// Warns if the loaders differ from the reference build of the toolchain in use.
fn warn_of_mismatches(recognised: &[RecognisedBuild], progress: &dyn Progress) {
    for known in recognised.iter().filter(|known| known.used && !known.different.is_empty()) {
        let paths = known.different.iter().map(|path| format!("`{path}`")).collect::<Vec<_>>().join(", ");
        let differ = choose(known.different.len(), "differs", "differ");
        let message = format!("{paths} {differ} from the reference build of this toolchain (vendor/toolchains.toml)");
        progress.warn(Diagnostic::new(message).help(Subcommand::Reproduce));
    }
}
