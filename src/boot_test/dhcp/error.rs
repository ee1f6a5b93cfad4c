//! Errors from starting the DHCP servers.

use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Subcommand};
use crate::base::quote::Unquotable;
use crate::base::{fs, process};

/// Error for a given text that is not a Kea configuration.
#[derive(Debug, thiserror::Error)]
#[error("the configuration of Kea is no JSON with `Dhcp4`: {0}")]
pub struct NotConfiguration(pub(super) String);

impl Diagnose for NotConfiguration {
    fn diagnosis(&self) -> Diagnosis {
        Class::Failure.help("find the mistake with `kea-dhcp4 -t FILE`")
    }
}

/// Errors from starting the DHCP servers.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server does not start.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// The given configuration is invalid.
    #[error(transparent)]
    Configuration(#[from] NotConfiguration),
    /// The loader's name cannot be written into a configuration.
    #[error("the tree has a loader that no DHCP server can offer: {0}")]
    Name(#[from] Unquotable),
    /// A file cannot be written.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Process(error) => error.diagnosis(),
            Self::Configuration(error) => error.diagnosis(),
            Self::Name(_) => Class::Failure.help(Subcommand::BuildLoaders),
            Self::Fs(error) => error.diagnosis(),
        }
    }
}
