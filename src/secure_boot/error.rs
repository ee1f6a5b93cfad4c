//! Errors from making keys.

use camino::Utf8PathBuf;

use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Flag, Help, Subcommand};
use crate::base::{fs, process};

/// Errors from making keys.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `openssl` is not installed. Contains the installation commands.
    #[error("found no `openssl`, which makes keys and certificates")]
    NoOpenssl(Vec<String>),
    /// There is something at the path already.
    #[error("`{folder}` is not empty, and keys are never replaced")]
    Occupied {
        /// The folder.
        folder: Utf8PathBuf,
        /// Whether it contains keys of this tool.
        has_keys: bool,
    },
    /// The path is that of a file, a link or a mount point.
    #[error("`{0}` is a file, a link or a mount point, wanted the path of a new folder")]
    NotAFolder(Utf8PathBuf),
    /// The folder has no authority.
    #[error("`{folder}` has no `{missing}`, wanted a folder of keys")]
    NoKeys {
        /// The folder.
        folder: Utf8PathBuf,
        /// Name of the missing file.
        missing: &'static str,
    },
    /// A key cannot be read with the passphrase, or without one.
    #[error("`{key}` cannot be read {}", match .passphrase {
        Some(file) => format!("with the passphrase in `{file}`"),
        None => "without a passphrase".to_owned(),
    })]
    Locked {
        /// The key.
        key: Utf8PathBuf,
        /// File of the passphrase.
        passphrase: Option<Utf8PathBuf>,
    },
    /// The file is not a certificate.
    #[error("`{0}` has something else than certificates, wanted certificates as PEM, or one as DER")]
    NotCertificates(Utf8PathBuf),
    /// Other users can read a new key.
    #[error("other users can read what is written to `{0}`: its file system keeps no modes")]
    NoModes(Utf8PathBuf),
    /// Openssl printed or wrote something unexpected.
    #[error("openssl gave no {0}")]
    Unexpected(&'static str),
    /// The user has interrupted the command.
    #[error("interrupted")]
    Cancelled,
    /// A file is not taken for a secret.
    #[error(transparent)]
    Secret(#[from] fs::SecretFlaw),
    /// Running openssl failed.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::NoOpenssl(install) => {
                let help = install.iter().map(|line| Help::from(line.as_str())).collect();
                Diagnosis { help, ..Class::MissingTool.about("openssl") }
            }
            Self::Occupied { folder, has_keys } => {
                let renew = has_keys.then(|| Subcommand::RenewLoaderKey(process::quoted(folder.as_str())).into());
                let help = [Some(Flag::Out.into()), renew].into_iter().flatten().collect();
                Diagnosis { help, ..Class::Failure.about(folder) }
            }
            Self::NotAFolder(path) => Class::Failure.about(path).help(Flag::Out),
            Self::NoKeys { folder, .. } => Class::Failure.about(folder).help(Flag::Out).help(Help::Without(Flag::Leaf)),
            Self::Locked { key, .. } => Class::Failure.about(key).help(Flag::PassphraseFile),
            Self::NotCertificates(file) => Class::BadInput.about(file).help("convert it with `openssl x509`; the mark `BEGIN CERTIFICATE` begins its line, without a byte order mark before it"),
            Self::NoModes(file) => Class::Failure.about(file).help(Flag::Out),
            Self::Unexpected(_) => Class::Failure.about("openssl").help("see what `openssl version` prints"),
            Self::Cancelled => Class::Interrupted.into(),
            Self::Secret(error) => error.diagnosis(),
            Self::Process(error) => error.diagnosis(),
            Self::Fs(error) => error.diagnosis(),
        }
    }
}
