//! How rehearsals are run, and why they may not take place.

use std::io;
use std::time::Duration;

use camino::Utf8Path;

use super::fault::RehearsalFault;
use super::keys::PressedKeys;
use super::program::{self, Programs};
use super::served::{GivenAnswer, ServedTree};
use crate::base::diagnostic::{Class, Diagnose, Diagnosis};
use crate::base::{fs, process};
use crate::boot_test::tools::ServerTools;
use crate::boot_test::{dhcp, namespace, web};

/// Errors that keep a rehearsal from taking place.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// iPXE for Linux cannot be built, or the script does not fit into it.
    #[error(transparent)]
    Program(#[from] program::Error),
    /// The network cannot be created.
    #[error(transparent)]
    Namespace(#[from] namespace::Error),
    /// The DHCP server cannot be started.
    #[error(transparent)]
    Dhcp(#[from] dhcp::Error),
    /// The web servers cannot be started.
    #[error(transparent)]
    Web(#[from] web::Error),
    /// A server has ended.
    #[error("{program} has ended during the rehearsal\n{words}")]
    ServerGone {
        /// The program.
        program: &'static str,
        /// Its last messages.
        words: String,
    },
    /// iPXE cannot be started.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// There is no pipe for iPXE's input or output.
    #[error("cannot connect to iPXE: {0}")]
    Pipe(io::Error),
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// The user asked to stop.
    #[error("the rehearsal was interrupted")]
    Cancelled,
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Program(error) => error.diagnosis(),
            Self::Namespace(error) => error.diagnosis(),
            Self::Dhcp(error) => error.diagnosis(),
            Self::Web(error) => error.diagnosis(),
            Self::ServerGone { .. } => Class::Failure.help("look at the configuration of the network"),
            Self::Process(error) => error.diagnosis(),
            Self::Pipe(_) => Class::Failure.into(),
            Self::Fs(error) => error.diagnosis(),
            Self::Cancelled => Class::Interrupted.into(),
        }
    }
}

/// How rehearsals are run.
pub struct RehearsalRequest<'a> {
    /// Tools for the network.
    pub tools: &'a ServerTools,
    /// iPXE for Linux.
    pub programs: &'a Programs,
    /// The files of the tree.
    pub tree: &'a ServedTree,
    /// Keys for prompts and menus.
    pub keys: &'a PressedKeys,
    /// iPXE's settings from the start, by name; those that begin with `net0/` are settings of the card. Neither names nor
    /// values contain commas.
    pub settings: Vec<(String, String)>,
    /// What web servers answer in addition to the tree.
    pub answers: &'a [GivenAnswer],
    /// The fault, if there is one.
    pub fault: Option<RehearsalFault>,
    /// Time limit for a rehearsal.
    pub deadline: Duration,
    /// Number of rehearsals that run in parallel.
    pub jobs: usize,
    /// Folder for temporary files.
    pub scratch: &'a Utf8Path,
}
