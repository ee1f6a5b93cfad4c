//! Errors from starting web servers.

use std::io;

use crate::base::diagnostic::{Class, Diagnose, Diagnosis};
use crate::base::{fs, process};

/// Errors from starting the web servers.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port is not available.
    #[error("cannot serve HTTP in the test network: {0}")]
    Listen(#[from] io::Error),
    /// The program does not start.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// The program has read its configuration as something else.
    #[error("found no web server in Caddy's configuration, as Caddy reads it: {0}")]
    NotConfiguration(String),
    /// A file cannot be written.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Listen(_) | Self::NotConfiguration(_) => Class::Failure.into(),
            Self::Process(error) => error.diagnosis(),
            Self::Fs(error) => error.diagnosis(),
        }
    }
}
