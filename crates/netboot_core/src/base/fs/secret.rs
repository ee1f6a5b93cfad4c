//! Files with secrets: keys and passphrases, which other programs read.

use std::io::Read as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};

use camino::{Utf8Path, Utf8PathBuf};

use super::error::{Error, Result};
use super::read::open;
use crate::base::diagnostic::{Class, Diagnose, Diagnosis};

/// Maximum size in bytes of a file with a secret; a key of 16,384 bits has 13,000.
const MAX_SECRET: u64 = 64 << 10;
/// Maximum size in bytes of a passphrase: openssl reads no more.
const MAX_PASSPHRASE: usize = 1023;

/// Reason why a file is not taken for a secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretFlaw {
    /// There is no such file.
    #[error("there is no `{0}`, which signing needs")]
    Missing(Utf8PathBuf),
    /// It is something else than a key or a passphrase.
    #[error("`{0}` is no plain file of at most {MAX_SECRET} bytes, wanted a key or a passphrase")]
    NoFile(Utf8PathBuf),
    /// It belongs to somebody else.
    #[error("`{0}` belongs to another user, who can read it")]
    OtherOwner(Utf8PathBuf),
    /// Other users can read it.
    #[error("`{path}` can be read by others (mode {mode:03o}), wanted its owner alone")]
    Exposed {
        /// The file.
        path: Utf8PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It has no passphrase that all programs read alike.
    #[error("`{path}` has {found}, wanted a single line with a passphrase")]
    NoPassphrase {
        /// The file.
        path: Utf8PathBuf,
        /// What it has instead.
        found: &'static str,
    },
    /// It cannot be looked at.
    #[error(transparent)]
    Fs(#[from] Error),
}

impl Diagnose for SecretFlaw {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Missing(path) | Self::NoFile(path) => {
                Class::BadInput.about(path).help("name the file of a key, or that of its passphrase")
            }
            Self::NoPassphrase { path, .. } => Class::BadInput.about(path).help(format!(
                "write the passphrase alone, with at most {MAX_PASSPHRASE} bytes, and end it with a newline or nothing"
            )),
            Self::OtherOwner(path) => {
                Class::BadInput.about(path).help("have a key of your own made: that one is known to somebody else")
            }
            Self::Exposed { path, .. } => Class::BadInput
                .about(path)
                .help(format!("run `chmod 600 {path}`, and hold what was readable for known")),
            Self::Fs(error) => error.diagnosis(),
        }
    }
}

/// Checks that `path` is a plain file of this user's, which nobody else can read. Does not read it.
///
/// # Errors
///
/// [`SecretFlaw`].
pub fn check_secret(path: &Utf8Path) -> std::result::Result<(), SecretFlaw> {
    let metadata = match path.metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(SecretFlaw::Missing(path.to_owned()));
        }
        metadata => metadata.map_err(|error| Error::new("read", path, error))?,
    };
    if !metadata.is_file() || metadata.len() > MAX_SECRET {
        return Err(SecretFlaw::NoFile(path.to_owned()));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(SecretFlaw::OtherOwner(path.to_owned()));
    }
    match metadata.mode() & 0o777 {
        mode if mode & 0o077 != 0 => Err(SecretFlaw::Exposed { path: path.to_owned(), mode }),
        _ => Ok(()),
    }
}

/// Checks that `path` is a secret, and that it has a passphrase in a single line. Of several lines, openssl takes the first
/// and osslsigncode all; before the end of a line, only one of them takes a carriage return for a part of it.
///
/// # Errors
///
/// [`SecretFlaw`].
pub fn check_passphrase(path: &Utf8Path) -> std::result::Result<(), SecretFlaw> {
    check_secret(path)?;
    let mut content = Vec::new();
    let read = open(path)?.take(MAX_SECRET).read_to_end(&mut content);
    read.map_err(|error| Error::new("read", path, error))?;
    let line = content.strip_suffix(b"\n").unwrap_or(&content);
    let found = match line {
        [] => "an empty line",
        [b'\n', ..] => "an empty first line",
        line if line.contains(&b'\n') => "several lines",
        line if line.contains(&b'\r') => "a carriage return",
        line if line.contains(&0) => "a zero byte",
        // osslsigncode leaves it out, and openssl does not.
        line if line.starts_with(b"\xef\xbb\xbf") => "a byte order mark",
        line if line.len() > MAX_PASSPHRASE => "too many bytes",
        _ => return Ok(()),
    };
    Err(SecretFlaw::NoPassphrase { path: path.to_owned(), found })
}

/// Creates the folder `path`, which must not exist, for this user alone, whatever the umask is.
///
/// # Errors
///
/// [`Error`] if there is something already, or if it cannot be created.
pub fn create_private_dir(path: &Utf8Path) -> Result<()> {
    let created = std::fs::DirBuilder::new().mode(0o700).create(path);
    created.map_err(|error| Error::new("create the folder", path, error))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown};

    use super::*;

    #[test]
    fn a_passphrase_is_one_that_all_programs_read_alike() {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap().join("passphrase");
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let found = |content: &[u8]| {
            std::fs::write(&path, content).unwrap();
            match check_passphrase(&path) {
                Err(SecretFlaw::NoPassphrase { found, .. }) => Some(found),
                other => other.map(|()| None).unwrap(),
            }
        };
        assert_eq!(found(b"secret words"), None);
        assert_eq!(found("sécret wörds\n".as_bytes()), None);
        assert_eq!(found(&[b'x'; MAX_PASSPHRASE]), None);
        assert_eq!(found(b""), Some("an empty line"));
        assert_eq!(found(b"\n"), Some("an empty line"));
        assert_eq!(found(b"\nsecret\n"), Some("an empty first line"));
        assert_eq!(found(b"secret\na note\n"), Some("several lines"));
        assert_eq!(found(b"secret\n\n"), Some("several lines"));
        assert_eq!(found(b"secret\r\n"), Some("a carriage return"));
        assert_eq!(found(b"s\0ecret"), Some("a zero byte"));
        assert_eq!(found(b"\xef\xbb\xbfsecret"), Some("a byte order mark"));
        assert_eq!(found(&[b'x'; MAX_PASSPHRASE + 1]), Some("too many bytes"));
    }

    #[test]
    fn a_secret_belongs_to_its_user_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap().join("key");
        assert!(matches!(check_secret(&path), Err(SecretFlaw::Missing(_))));
        std::fs::write(&path, "secret").unwrap();
        let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o640);
        assert!(matches!(check_secret(&path), Err(SecretFlaw::Exposed { mode: 0o640, .. })));
        mode(0o600);
        assert!(check_secret(&path).is_ok());
        assert!(matches!(check_secret(path.parent().unwrap()), Err(SecretFlaw::NoFile(_))));
        // Only root can give a file away.
        if chown(&path, Some(1), None).is_ok() {
            assert!(matches!(check_secret(&path), Err(SecretFlaw::OtherOwner(_))));
        }
    }
}
