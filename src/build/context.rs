//! Context of a build, and errors from building bases.

use camino::Utf8PathBuf;

use super::diagnose::KnownFailure;
use super::make::Settings;
use super::plan::Plan;
use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Flag, Help};
use crate::base::paths::Cache;
use crate::base::progress::Progress;
use crate::base::{fs, process};
use crate::config::pins::IpxePin;
use crate::fetch::origins::{FetchError, LazySource, Origins};
use crate::fetch::{ipxe, source_bundle};
use crate::printable::printable;
use crate::stamp::base;

/// Everything a build needs: plan, sources, cache, and settings.
#[derive(Clone, Copy)]
pub struct BuildContext<'a> {
    /// The plan to build.
    pub plan: &'a Plan,
    /// The cache for the sources.
    pub sources: &'a Cache,
    /// Sources of the inputs.
    pub origins: &'a Origins,
    /// The cache for build trees and bases; usually the same one.
    pub cache: &'a Cache,
    /// Settings for make.
    pub settings: &'a Settings,
    /// Receives progress events.
    pub progress: &'a dyn Progress,
}

impl<'a> BuildContext<'a> {
    /// Returns the pin of iPXE.
    #[must_use]
    pub fn pin(&self) -> &'a IpxePin {
        &self.plan.inputs.pins.ipxe
    }

    /// Returns the iPXE source with the patches of the plan.
    #[must_use]
    pub fn source(&self) -> LazySource<'a> {
        let inputs = &self.plan.inputs;
        LazySource::new(&inputs.pins, &inputs.patches, self.sources, self.origins, self.progress)
    }
}

/// Errors from building loaders.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Make failed.
    #[error("{}{process}", finding(known.as_deref()))]
    Make {
        /// The known failure, if it is recognised.
        known: Option<Box<KnownFailure>>,
        /// The failure of the process.
        process: process::Error,
    },
    /// Make succeeded, but its output is not as expected.
    #[error("`{target}` was made, but {problem}")]
    Unexpected {
        /// Name of the loader as a make target.
        target: String,
        /// The problem.
        problem: String,
        /// Path of the log.
        log: Utf8PathBuf,
    },
    /// Make's output cannot be used as a base.
    #[error(
        "{}{error}",
        finding(known.as_deref())
    )]
    NoBase {
        /// The known failure, if it is recognised.
        known: Option<Box<KnownFailure>>,
        /// The cause.
        error: Box<base::Error>,
        /// Path of the log.
        log: Utf8PathBuf,
    },
    /// iPXE's makefile cannot handle the path.
    #[error("cannot build in `{0}`: iPXE's makefile cannot handle spaces and special characters in paths")]
    UnusablePath(Utf8PathBuf),
    /// A configuration has a header that iPXE does not read.
    #[error(
        "the configuration `{}` has the header `{}`, and iPXE has no such header in src/config",
        printable(config),
        printable(header)
    )]
    UnknownHeader {
        /// The header.
        header: String,
        /// The configuration.
        config: String,
    },
    /// The user asked to stop.
    #[error("the build was interrupted")]
    Cancelled,
    /// The iPXE source is not available.
    #[error(transparent)]
    Source(#[from] ipxe::Error),
    /// The source bundle does not match the pins.
    #[error(transparent)]
    Bundle(#[from] source_bundle::Error),
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Make { known, .. } => Diagnosis { help: known_help(known.as_deref()), ..Class::Build.into() },
            Self::Unexpected { target, log, .. } => Class::Build.about(target).help(format!(
                "see {log}; if a compiler launcher is used, build without it: it may have served another script's object"
            )),
            Self::NoBase { known, log, .. } => {
                let help = format!(
                    "see {log}; a patch or a configuration may keep iPXE from embedding scripts as it usually does"
                );
                Diagnosis { help: known_help(known.as_deref()), ..Class::Build.into() }.help(help)
            }
            Self::UnusablePath(path) => Class::Failure.about(path).help(Flag::CacheDir),
            Self::UnknownHeader { config, .. } => Class::BadInput
                .about(config)
                .help("put the settings into the header that has them in iPXE, as in `general.h`"),
            Self::Cancelled => Class::Interrupted.into(),
            Self::Source(error) => error.diagnosis(),
            Self::Bundle(error) => error.diagnosis(),
            Self::Fs(error) => error.diagnosis(),
        }
    }
}

impl From<FetchError> for Error {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Ipxe(error) => Self::Source(error),
            FetchError::Bundle(error) => Self::Bundle(error),
            FetchError::Cancelled => Self::Cancelled,
            FetchError::Fs(error) => Self::Fs(error),
        }
    }
}

fn finding(known: Option<&KnownFailure>) -> String {
    known.map(|known| format!("{}\n", known.finding)).unwrap_or_default()
}

fn known_help(known: Option<&KnownFailure>) -> Vec<Help> {
    known.map(|known| known.help.clone()).unwrap_or_default()
}
