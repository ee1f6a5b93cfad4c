//! Where and how bases are made, and why they could not be.

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

/// What is made, from what, where and how.
#[derive(Clone, Copy)]
pub struct BuildContext<'a> {
    /// What is made.
    pub plan: &'a Plan,
    /// Where the sources are kept.
    pub sources: &'a Cache,
    /// Where they may come from.
    pub origins: &'a Origins,
    /// Where build trees and bases are kept; most often the same cache.
    pub cache: &'a Cache,
    /// How make runs.
    pub settings: &'a Settings,
    /// Who hears of it.
    pub progress: &'a dyn Progress,
}

impl<'a> BuildContext<'a> {
    /// Which iPXE.
    #[must_use]
    pub fn pin(&self) -> &'a IpxePin {
        &self.plan.inputs.pins.ipxe
    }

    /// Its source, with the patches of the plan.
    #[must_use]
    pub fn source(&self) -> LazySource<'a> {
        let inputs = &self.plan.inputs;
        LazySource::new(&inputs.pins, &inputs.patches, self.sources, self.origins, self.progress)
    }
}

/// Why loaders could not be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Make failed.
    #[error("{}{process}", finding(known.as_deref()))]
    Make {
        /// What is known about this failure.
        known: Option<Box<KnownFailure>>,
        /// The failure itself.
        process: process::Error,
    },
    /// Make succeeded, and what it made is not what was asked for.
    #[error("`{target}` was made, but {problem}")]
    Unexpected {
        /// What make calls the loader.
        target: String,
        /// What is wrong with it.
        problem: String,
        /// The log.
        log: Utf8PathBuf,
    },
    /// What make made cannot be stamped.
    #[error(
        "{}{error}",
        finding(known.as_deref())
    )]
    NoBase {
        /// What is known about this failure.
        known: Option<Box<KnownFailure>>,
        /// Why.
        error: Box<base::Error>,
        /// The log.
        log: Utf8PathBuf,
    },
    /// iPXE's make cannot work there.
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
    /// The source is not to be had.
    #[error(transparent)]
    Source(#[from] ipxe::Error),
    /// The source bundle does not have what is pinned.
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
