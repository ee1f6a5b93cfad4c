//! Keys for Secure Boot: an authority, a key for loaders below it, and the files that make a machine's firmware trust them.
//!
//! openssl makes the keys and signs with them; no private key and no passphrase enters this process. A folder of keys is
//! complete or does not exist.

mod error;
mod openssl;

use std::fmt::Write as _;
use std::time::SystemTime;

use camino::{Utf8Path, Utf8PathBuf};

pub use self::error::Error;
pub use self::openssl::Openssl;
use crate::base::diagnostic::{Subcommand, Wording};
use crate::base::fs::{self, Lock, SecretFlaw};
use crate::base::paths::Staging;
use crate::base::process;
use crate::base::progress::Progress;
use crate::config::trust::certificates_as_der;
use crate::loader::signature_list::{OWNER, signature_list};
use crate::loader::signed_variable::{KeyVariable, signed_variable};
use crate::printable::printable;

/// Maximum size in bytes of a file with certificates for `db`.
const MAX_CERTIFICATES: u64 = 1 << 20;
/// Maximum length of the name of an authority. A name in a certificate may have 64 characters, and [`LEAF`] is added.
const MAX_NAME: usize = 56;
/// What the name of a loader's certificate has in addition to that of its authority.
const LEAF: &str = " loaders";
/// Name of an authority that was not made by this tool, and cannot be part of the name of a leaf.
const OTHER_AUTHORITY: &str = "netboot-loaders";

const CA_KEY: &str = "ca.key";
const CA: &str = "ca.pem";
const CA_DER: &str = "ca.der";
const LOADER_KEY: &str = "loader.key";
const LOADER: &str = "loader.pem";
const README: &str = "README.txt";

/// A file in a folder of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyFile {
    /// Its name.
    pub name: &'static str,
    /// Whether nobody else may see it.
    pub secret: bool,
    /// Its purpose.
    pub purpose: &'static str,
}

/// All files of a folder of keys.
pub const FILES: [KeyFile; 12] = [
    KeyFile { name: CA_KEY, secret: true, purpose: "signs certificates for loaders, and changes to PK, KEK and db" },
    KeyFile { name: LOADER_KEY, secret: true, purpose: "signs loaders" },
    KeyFile { name: CA, secret: false, purpose: "certificate of ca.key, for programs" },
    KeyFile { name: CA_DER, secret: false, purpose: "the same, for firmware menus and MokManager" },
    KeyFile { name: LOADER, secret: false, purpose: "certificate of loader.key, then ca.pem" },
    KeyFile { name: "PK.auth", secret: false, purpose: "signed platform key, for Setup Mode" },
    KeyFile { name: "KEK.auth", secret: false, purpose: "signed key exchange key, for Setup Mode" },
    KeyFile { name: "db.auth", secret: false, purpose: "signed list of what may start, for Setup Mode" },
    KeyFile { name: "PK.esl", secret: false, purpose: "PK.auth without its signature" },
    KeyFile { name: "KEK.esl", secret: false, purpose: "KEK.auth without its signature" },
    KeyFile { name: "db.esl", secret: false, purpose: "db.auth without its signature" },
    KeyFile { name: README, secret: false, purpose: "what each file is for, and how to enrol" },
];

/// Parses the name of an authority.
///
/// # Errors
///
/// A message if the name is too long, or would have to be quoted in a configuration of openssl.
pub fn authority_name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || " ._-".contains(c);
    if !text.is_empty() && text.trim() == text && text.len() <= MAX_NAME && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    Err(format!("wanted 1 to {MAX_NAME} letters, digits, dots, hyphens, underscores and blanks"))
}

/// Request for a new folder of keys.
#[derive(Clone, Copy)]
pub struct NewKeys<'r> {
    /// Name of the authority, as [`authority_name`] accepts it.
    pub name: &'r str,
    /// Validity of the loader's certificate in days. That of the authority is twice as long.
    pub days: u32,
    /// Files of further certificates to trust.
    pub further: &'r [Utf8PathBuf],
    /// Time of the contents of variables.
    pub now: SystemTime,
    /// Wording of commands.
    pub wording: &'r dyn Wording,
}

/// Makes a new folder of keys with all [`FILES`] at `folder`, an absolute path.
///
/// # Errors
///
/// [`Error`]. There is then nothing at `folder`.
pub fn create(
    folder: &Utf8Path,
    request: NewKeys<'_>,
    openssl: &Openssl,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let mut further = Vec::new();
    for file in request.further {
        let content = fs::read_at_most(file, MAX_CERTIFICATES)?;
        for certificate in certificates_as_der(&content).ok_or_else(|| Error::NotCertificates(file.clone()))? {
            // A variable has little room.
            if !further.contains(&certificate) {
                further.push(certificate);
            }
        }
    }
    check_vacant(folder)?;
    let Staging { partial, lock, .. } = Staging::of(folder);
    fs::create_dir_all(folder.parent().unwrap_or(folder))?;
    let _lock = Lock::acquire_temporary(&lock, 0o600, true, progress)?.ok_or(Error::Cancelled)?;
    check_vacant(folder)?;
    let staged = StagedFolder::create(&partial)?;
    authority(staged.0, request, openssl, progress)?;
    leaf((request.name, request.days), staged.0, staged.0, openssl, progress)?;
    enrolment(staged.0, (&further, request.now), openssl, progress)?;
    let readme = readme(folder, request, further.len());
    fs::write_new(&staged.0.join(README), readme.as_bytes(), 0o644)?;
    for file in FILES {
        protect(&staged.0.join(file.name), file.secret)?;
    }
    fs::sync_all_of(staged.0, progress)?;
    fs::rename(staged.0, folder)?;
    Ok(())
}

/// Checks that there is nothing at `folder`, or an empty folder.
fn check_vacant(folder: &Utf8Path) -> Result<(), Error> {
    let Ok(found) = folder.symlink_metadata() else { return Ok(()) };
    if !found.is_dir() || fs::is_mount_point(folder) {
        return Err(Error::NotAFolder(folder.to_owned()));
    }
    if fs::entries(folder)?.is_empty() {
        return Ok(());
    }
    Err(Error::Occupied { folder: folder.to_owned(), has_keys: folder.join(CA_KEY).exists() })
}

/// A hidden folder for this user alone, which is removed if it is still there when the value is dropped.
struct StagedFolder<'p>(&'p Utf8Path);

impl<'p> StagedFolder<'p> {
    /// Creates the folder at `path`, in place of one that a killed process has left.
    fn create(path: &'p Utf8Path) -> Result<Self, Error> {
        fs::remove_dir_all(path)?;
        // Whoever may write beside it could otherwise have made it meanwhile, with files that openssl writes keys into.
        fs::create_private_dir(path)?;
        Ok(Self(path))
    }
}

impl Drop for StagedFolder<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.0);
    }
}

/// Sets the mode of a new file, and checks that it counts.
fn protect(path: &Utf8Path, secret: bool) -> Result<(), Error> {
    // On a file system without modes, the mount decides who can read.
    let set = fs::set_mode(path, if secret { 0o600 } else { 0o644 });
    match fs::check_secret(path) {
        Err(SecretFlaw::Exposed { .. }) if secret => Err(Error::NoModes(path.to_owned())),
        Err(error) if secret => Err(error.into()),
        _ => Ok(set?),
    }
}

/// Makes the authority's key and certificate.
fn authority(folder: &Utf8Path, request: NewKeys<'_>, openssl: &Openssl, progress: &dyn Progress) -> Result<(), Error> {
    openssl.new_key(&folder.join(CA_KEY), progress)?;
    let config = openssl::config(folder, request.name)?;
    let days = request.days.saturating_mul(2).to_string();
    let options = ["-x509", "-extensions", "authority", "-days", &days, "-key", CA_KEY, "-out", CA];
    openssl.request(folder, &config, &options, progress)?;
    openssl.run(folder, "convert a certificate", ["x509", "-in", CA, "-outform", "DER", "-out", CA_DER], progress)?;
    fs::remove_file(&config)?;
    Ok(())
}

/// Makes a loader's key and certificate in `folder`, for the authority of this name in the folder `authority`; valid for
/// `days`.
fn leaf(
    (name, days): (&str, u32),
    authority: &Utf8Path,
    folder: &Utf8Path,
    openssl: &Openssl,
    progress: &dyn Progress,
) -> Result<(), Error> {
    const REQUEST: &str = "request.pem";
    const SERIAL: &str = "serial.txt";
    openssl.new_key(&folder.join(LOADER_KEY), progress)?;
    let config = openssl::config(folder, &format!("{name}{LEAF}"))?;
    openssl.request(folder, &config, &["-key", LOADER_KEY, "-out", REQUEST], progress)?;
    let (ca, ca_key, days) = (authority.join(CA), authority.join(CA_KEY), days.to_string());
    let certified = ["-req", "-sha256", "-in", REQUEST, "-CA", ca.as_str(), "-CAkey", ca_key.as_str()];
    let extended = ["-days", &days, "-extfile", config.as_str(), "-extensions", "loader", "-out", LOADER];
    let words = [&["x509"], &certified[..], &["-CAcreateserial", "-CAserial", SERIAL], &extended].concat();
    openssl.run_with_key(folder, "certify a loader's key", words, progress)?;
    // The signature of a loader has to bring along the certificates that lead to a trusted one.
    let chain = [fs::read_text(&folder.join(LOADER))?, fs::read_text(&ca)?].concat();
    for used in [LOADER, REQUEST, SERIAL] {
        fs::remove_file(&folder.join(used))?;
    }
    fs::remove_file(&config)?;
    fs::write_new(&folder.join(LOADER), &chain, 0o644)?;
    Ok(())
}

/// Writes the contents of the firmware's variables, signed by the authority at the time that is given. It is its own
/// platform key and key exchange key; `db` also has `further` certificates.
fn enrolment(
    folder: &Utf8Path,
    (further, now): (&[Vec<u8>], SystemTime),
    openssl: &Openssl,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let own = vec![fs::read_at_most(&folder.join(CA_DER), MAX_CERTIFICATES)?];
    for variable in KeyVariable::ALL {
        let all = if variable == KeyVariable::Trusted { [&own, further].concat() } else { own.clone() };
        let content = signature_list(OWNER, &all);
        let covered = variable.signed_bytes(&content, now).ok_or(Error::Unexpected("time that firmware can store"))?;
        let signature = openssl.sign(folder, (CA, CA_KEY), &covered, progress)?;
        let signed = signed_variable(&content, now, &signature).ok_or(Error::Unexpected("PKCS #7 signature"))?;
        for (ending, bytes) in [("esl", content), ("auth", signed)] {
            fs::write_new(&folder.join(format!("{variable}.{ending}")), &bytes, 0o644)?;
        }
    }
    Ok(())
}

/// Returns the text of the file that explains the others.
fn readme(folder: &Utf8Path, request: NewKeys<'_>, further: usize) -> String {
    let list = |secret: bool| {
        FILES.iter().filter(|file| file.secret == secret).fold(String::new(), |mut text, file| {
            let _ = writeln!(text, "  {:<11} {}", file.name, file.purpose);
            text
        })
    };
    let renew = Subcommand::RenewLoaderKey(process::quoted(printable(folder).to_string().as_str()));
    include_str!("readme.txt")
        .replace("{name}", request.name)
        .replace("{secret}", list(true).trim_end())
        .replace("{public}", list(false).trim_end())
        .replace("{further}", &further.to_string())
        .replace("{renew}", &request.wording.command(&renew))
}

/// Makes a new key for loaders in `folder`, an absolute path, with a certificate that is valid for `days` days and issued by
/// the authority there. Keeps the old ones under their serial number; returns their names.
///
/// # Errors
///
/// [`Error`]. The old ones are then as they were, unless a file cannot be renamed.
pub fn renew_leaf(
    folder: &Utf8Path,
    days: u32,
    openssl: &Openssl,
    progress: &dyn Progress,
) -> Result<Vec<String>, Error> {
    if let Some(missing) = [CA_KEY, CA].into_iter().find(|name| !folder.join(name).is_file()) {
        return Err(Error::NoKeys { folder: folder.to_owned(), missing });
    }
    let Staging { partial, lock, .. } = Staging::of(&folder.join("loader"));
    let _lock = Lock::acquire_temporary(&lock, 0o600, true, progress)?.ok_or(Error::Cancelled)?;
    openssl.check_key(&folder.join(CA_KEY), progress)?;
    let name = openssl.property(&folder.join(CA), "commonName                = ", progress)?;
    let name = name.and_then(|name| authority_name(&name).ok()).unwrap_or_else(|| OTHER_AUTHORITY.to_owned());
    // A killed run may have moved the old ones already.
    let old = folder.join(LOADER);
    let serial = if old.is_file() { openssl.property(&old, "serial=", progress)? } else { None };
    let serial = serial.filter(|serial| serial.bytes().all(|digit| digit.is_ascii_hexdigit()));
    let staged = StagedFolder::create(&partial)?;
    leaf((&name, days), folder, staged.0, openssl, progress)?;
    protect(&staged.0.join(LOADER_KEY), true)?;
    protect(&staged.0.join(LOADER), false)?;
    fs::sync_all_of(staged.0, progress)?;
    let mut kept = Vec::new();
    for (name, ending) in [(LOADER_KEY, "key"), (LOADER, "pem")] {
        let serial = serial.as_deref().unwrap_or("unknown");
        let numbered = (2..).map(|number| format!("loader-{serial}-{number}.{ending}"));
        let mut names = std::iter::once(format!("loader-{serial}.{ending}")).chain(numbered);
        let free = names.find(|old| folder.join(old).symlink_metadata().is_err());
        if let Some(old) = free.filter(|_| folder.join(name).is_file()) {
            fs::rename(&folder.join(name), &folder.join(&old))?;
            kept.push(old);
        }
    }
    for name in [LOADER_KEY, LOADER] {
        fs::rename(&staged.0.join(name), &folder.join(name))?;
    }
    fs::sync_dir(folder)?;
    Ok(kept)
}

/// Paths of the key and the certificate that sign loaders, in a folder of keys.
#[must_use]
pub fn signing_files(folder: &Utf8Path) -> (Utf8PathBuf, Utf8PathBuf) {
    (folder.join(LOADER_KEY), folder.join(LOADER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_needs_no_quotes() {
        for name in ["netboot-loaders", "Example Corp. Secure_Boot 2026", &"a".repeat(56)] {
            assert_eq!(authority_name(name).unwrap(), name);
        }
        for name in ["", " a", "a ", "a=b", "a/b", "$x", "a\nb", "é", &"a".repeat(57)] {
            assert!(authority_name(name).is_err(), "{name:?}");
        }
    }
}
