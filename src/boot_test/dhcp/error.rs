//! Why no DHCP server runs.

use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Subcommand};
use crate::base::quote::Unquotable;
use crate::base::{fs, process};

/// Something was given that is no configuration of Kea's.
#[derive(Debug, thiserror::Error)]
#[error("the configuration of Kea is no JSON with `Dhcp4`: {0}")]
pub struct NotConfiguration(pub(super) String);

impl Diagnose for NotConfiguration {
    fn diagnosis(&self) -> Diagnosis {
        Class::Failure.help("find the mistake with `kea-dhcp4 -t FILE`")
    }
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does not start.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// The configuration that was given is not one.
    #[error(transparent)]
    Configuration(#[from] NotConfiguration),
    /// The loader has a name that no configuration can hold.
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
