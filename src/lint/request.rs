//! What to lint, and why that may fail.

use camino::{Utf8Path, Utf8PathBuf};
use netboot_script::LintTarget;

use super::contents::LintBuild;
use crate::base::diagnostic::{Class, Diagnose, Diagnosis};
use crate::base::fs::{self, MAX_TEXT};
use crate::base::http::NetworkAccess;
use crate::base::plural::count;
use crate::base::url::Url;
use crate::fetch::download;
use crate::printable::printable;

/// Maximum number of words in a script, with those of its comments. The largest scripts in use have a tenth of them.
pub const MAX_WORDS: usize = 100_000;

/// Maximum number of scripts in one run, and of bytes of their names: as many as a tree has sites, with several for each.
pub(super) const MAX_SCRIPTS: (usize, usize) = (50_000, 4 << 20);

/// Where scripts are.
#[derive(Debug, Clone)]
pub enum LintPlace {
    /// A script, a loader, a folder or a tree.
    Path(Utf8PathBuf),
    /// A script on a web server.
    Web(Url),
}

/// What to lint.
pub struct LintRequest<'a> {
    /// Where the scripts are.
    pub places: Vec<LintPlace>,
    /// What they have to work with, as far as their loaders do not say it.
    pub target: LintTarget,
    /// Builds that scripts which are in no loader are checked against; none for what builds usually have.
    pub builds: Vec<LintBuild>,
    /// Access to web servers.
    pub network: &'a NetworkAccess,
    /// A folder for temporary files.
    pub scratch: &'a Utf8Path,
}

/// Errors from finding scripts.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such file.
    #[error("there is no `{}`", printable(.0))]
    NotThere(Utf8PathBuf),
    /// The file is no text.
    #[error("`{name}` is {found}, wanted an iPXE script, a template of one, or an iPXE loader")]
    Binary {
        /// Its name.
        name: String,
        /// What it is.
        found: String,
    },
    /// The file is larger than any script.
    #[error("`{}` has more than {MAX_TEXT} bytes, wanted a script of at most that", printable(.0))]
    TooLarge(Utf8PathBuf),
    /// The loader has no script.
    #[error("`{}` has no embedded script", printable(.0))]
    NoScript(Utf8PathBuf),
    /// The folder has no scripts.
    #[error("found no script in `{}`, but {}", printable(folder), others_of(*files, *links, *special))]
    NoneIn {
        /// The folder.
        folder: Utf8PathBuf,
        /// The number of files that are no scripts.
        files: usize,
        /// The number of symbolic links, which are not followed.
        links: usize,
        /// The number of pipes, devices and sockets.
        special: usize,
    },
    /// The script has more words than any script in use.
    #[error("`{}` has more than {MAX_WORDS} words, wanted a script of at most that", printable(.0))]
    TooManyWords(String),
    /// There are more scripts than any project has.
    #[error("found more than {} scripts, or {} bytes of their names, wanted at most that", MAX_SCRIPTS.0, MAX_SCRIPTS.1)]
    TooMany,
    /// The script must be downloaded, but the run is offline.
    #[error("cannot download `{0}`: this run is offline")]
    Offline(String),
    /// The download failed.
    #[error(transparent)]
    Download(#[from] download::Error),
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// The user asked to stop.
    #[error("interrupted")]
    Cancelled,
}

fn others_of(files: usize, links: usize, special: usize) -> String {
    let mut text = count(files, "other file");
    if special > 0 {
        text += &format!(", {}", count(special, "special file"));
    }
    match links {
        0 => text,
        links => format!("{text} and {}, which are not followed", count(links, "symbolic link")),
    }
}

impl Error {
    /// Checks whether it is about one script, beside which others can be checked.
    pub(super) fn is_of_script(&self) -> bool {
        matches!(self, Self::Binary { .. } | Self::TooLarge(_) | Self::NoScript(_) | Self::TooManyWords(_))
    }
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        let about = |class: Class, subject: &dyn std::fmt::Display, help: &str| class.about(subject).help(help);
        match self {
            Self::NotThere(path) => {
                about(Class::BadInput, path, "give a script, a folder, a tree, a loader or an address")
            }
            Self::Binary { name, .. } => about(Class::BadInput, name, "give the script itself"),
            Self::TooLarge(path) => about(Class::BadInput, path, "split it, and load its parts with `chain`"),
            Self::NoScript(path) => about(Class::BadInput, path, "give the script, such as its `autoexec.ipxe`"),
            Self::NoneIn { folder, .. } => {
                about(Class::BadInput, folder, "give the folder that the scripts are in, or name each script")
            }
            Self::TooManyWords(name) => about(Class::BadInput, name, "split it, and load its parts with `chain`"),
            Self::TooMany => Class::BadInput.help("name fewer folders"),
            Self::Offline(name) => about(Class::Unavailable, name, "download it, and give the file"),
            Self::Download(error) => error.diagnosis(),
            Self::Fs(error) => error.diagnosis(),
            Self::Cancelled => Class::Interrupted.into(),
        }
    }
}
