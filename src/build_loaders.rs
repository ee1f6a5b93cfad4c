//! The whole way, from a project's files to a published tree. Each step takes what the step before
//! returned.

use camino::{Utf8Path, Utf8PathBuf};

use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Diagnostic, Flag, Subcommand};
use crate::base::parallel::detached_on_cancel;
use crate::base::paths::{self, Cache, ProjectPaths};
use crate::base::progress::Progress;
use crate::base::{fs, tarball};
use crate::build::plan::{Inputs, Other, Plan};
use crate::build::reference_builds::{self, RecognisedBuild, ReferenceBuild};
use crate::build::{self, BuildContext, Built, baseline};
use crate::config::pins::{self, MemberPin, Pins, SyslinuxPin};
use crate::config::sites::{self, Options, Sites};
use crate::digest::Sha256Digest;
use crate::fetch::ipxe::{self, Patch, Source};
use crate::fetch::origins::{FetchError, Origins, fetch_ipxe, lock_for_fetch};
use crate::fetch::{source_bundle, syslinux};
use crate::publish::exchange::{self, PublishTarget, Published};
use crate::publish::tree_contents::{self, TreeContents};
use crate::stamp::tarball::Refusal;
use crate::toolchain::{self, Toolchain, needs};

/// Why there is no tree.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The pins cannot be used.
    #[error(transparent)]
    Pins(#[from] pins::Error),
    /// What is said of known toolchains is wrong.
    #[error(transparent)]
    KnownToolchains(#[from] reference_builds::Error),
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
    Bundle(#[from] source_bundle::Error),
    /// The build failed.
    #[error(transparent)]
    Build(#[from] build::Error),
    /// Something else is linked than the baseline says.
    #[error(transparent)]
    Baseline(#[from] baseline::Error),
    /// A loader could not be stamped.
    #[error(transparent)]
    Stamping(#[from] tree_contents::Error),
    /// Publishing failed.
    #[error(transparent)]
    Publish(#[from] exchange::Error),
    /// A bundle of bases would be larger than whoever stamps reads.
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

/// What goes in, read and checked.
pub struct Config {
    /// The pins.
    pub pins: Pins,
    /// The choices.
    pub sites: Sites,
    /// The patches.
    pub patches: Vec<Patch>,
    /// What known toolchains give. It does not affect the plan.
    pub references: Vec<ReferenceBuild>,
}

impl Config {
    /// Reads a project, with `options` besides what it says.
    ///
    /// # Errors
    ///
    /// [`Error`]: all findings of the file that is wrong; [`Error::Cancelled`].
    pub fn read(project: &ProjectPaths, options: &Options, progress: &dyn Progress) -> Result<Self, Error> {
        let pins = Pins::read(project)?;
        // A hundred thousand sites take seconds.
        let (paths, syslinux, options) = (project.clone(), pins.syslinux.clone(), options.clone());
        let read = detached_on_cancel(progress, move || Sites::read(&paths, &syslinux, &options));
        let sites = read.ok_or(Error::Cancelled)??;
        sites.warnings.iter().for_each(|warning| progress.warn(warning.clone()));
        let references = ReferenceBuild::read_all(project)?;
        Ok(Self { pins, sites, patches: Patch::read_all(&project.patches())?, references })
    }

    /// Finds the toolchain for them in `path`, a list of folders as in `PATH`, and plans.
    ///
    /// # Errors
    ///
    /// [`Error::Toolchain`] where a tool is missing; [`Error::Cancelled`].
    pub fn plan(self, path: &str, cache: &Cache, progress: &dyn Progress) -> Result<Plan, Error> {
        let toolchain = Toolchain::find(&needs::build(self.has_trust()), path, cache, progress)?;
        let Self { pins, sites, patches, .. } = self;
        let inputs = Inputs { pins, patches, toolchain };
        detached_on_cancel(progress, move || Plan::new(inputs, sites)).ok_or(Error::Cancelled)
    }

    /// Whether any site embeds certificates.
    #[must_use]
    pub fn has_trust(&self) -> bool {
        self.sites.iter().any(|site| !site.config.trust.is_empty())
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

/// What building came to.
#[derive(Debug)]
pub struct BuildOutcome {
    /// The tree.
    pub tree: Utf8PathBuf,
    /// What is in it, and whether it is new.
    pub published: Published,
    /// How the loaders compare with what known toolchains give.
    pub recognised: Vec<RecognisedBuild>,
    /// How many bases were made; the others were in the cache.
    pub made: usize,
    /// The tarball, where asked for, with its SHA-256 and its size in bytes.
    pub archive: Option<(Utf8PathBuf, Sha256Digest, u64)>,
}

/// What becomes of loaders that are built.
pub struct BuildRequest<'a> {
    /// Whose baseline is compared with.
    pub project: &'a ProjectPaths,
    /// Where the tree goes.
    pub tree: &'a Utf8Path,
    /// Whether to write the tarball, too.
    pub pack: bool,
    /// Whether files that somebody has put into the old tree may go.
    pub replace: bool,
    /// Whether what is linked now becomes the baseline.
    pub update_baseline: bool,
    /// What known toolchains give, to compare with.
    pub references: &'a [ReferenceBuild],
}

/// Builds what the plan of `context` asks for, and publishes it.
///
/// # Errors
///
/// [`Error`]; the old tree is then as it was.
pub fn build_loaders(context: &BuildContext<'_>, request: &BuildRequest<'_>) -> Result<BuildOutcome, Error> {
    let BuildContext { plan, cache, settings, progress, .. } = *context;
    let tree = &fs::resolve(request.tree)?;
    build::check_cache(cache)?;
    let mut target = PublishTarget::acquire(tree, progress)?;
    target.check_foreign(request.replace, progress)?;
    let pins = &plan.inputs.pins;
    let members =
        plan.others().filter_map(|(_, other)| if let Other::Member(member) = other { Some(member) } else { None });
    let members: Vec<MemberPin> = members.cloned().collect();
    context.origins.unpack(pins, context.sources, progress)?;
    fetch_syslinux(&pins.syslinux, &members, context.sources, context.origins, progress)?;
    let built = build::make(context)?;
    if request.update_baseline {
        baseline::accept(plan, request.project, &built)?;
    } else {
        check_baseline(plan, request.project, &built, progress)?;
    }
    let published = target.publish(&TreeContents::new(plan, &built, context.sources, settings.jobs, progress))?;
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

/// Makes sure that nothing else is linked than the baseline of `project` says, and tells what it does not say.
///
/// # Errors
///
/// [`baseline::Error`].
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

/// Says where a known toolchain has given other bytes than it should.
fn warn_of_mismatches(recognised: &[RecognisedBuild], progress: &dyn Progress) {
    for known in recognised.iter().filter(|known| known.used && !known.different.is_empty()) {
        let paths = known.different.iter().map(|path| format!("`{path}`")).collect::<Vec<_>>().join(", ");
        let message = format!(
            "{paths} should differ from this, by the reference build of this toolchain in vendor/toolchains.toml"
        );
        progress.warn(Diagnostic::new(message).help(Subcommand::Reproduce));
    }
}
