//! Signs loaders for Secure Boot, by a program that alone reads the private key.
//!
//! Each signature is checked before anything is published: it must be the only one, hold, be made with the key of the
//! configured certificate, and cover the loader as it was stamped.

use camino::{Utf8Path, Utf8PathBuf};

use crate::base::diagnostic::{Class, Diagnose, Diagnosis};
use crate::base::fs;
use crate::base::paths::{self, Cache};
use crate::base::process::{self, Command, ProgramEnvironment, find_program};
use crate::base::progress::Progress;
use crate::config::secure_boot::{PLACEHOLDERS, SecureBoot, SigningMethod};
use crate::digest::Sha256Digest;
use crate::loader::signature::{Signature, Signatures};
use crate::loader::smallest_application::application;
use crate::toolchain::need::Need;
use crate::toolchain::{self, needs};
use crate::tree::manifest::SignerEntry;

/// Errors from signing a loader.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program that signs is missing.
    #[error(transparent)]
    Toolchain(#[from] toolchain::Error),
    /// The signing command is missing.
    #[error("found no program `{0}`, which `sign-command` names")]
    NoCommand(String),
    /// A file is not taken for a secret.
    #[error(transparent)]
    Secret(#[from] fs::SecretFlaw),
    /// A secret is in a folder that gets published.
    #[error("`{path}` is in `{tree}`, which gets published")]
    InTree {
        /// The key, or the file with its passphrase.
        path: Utf8PathBuf,
        /// The tree.
        tree: Utf8PathBuf,
    },
    /// The signer failed.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// The passphrase is wrong, or there is none.
    #[error("the key `{key}` is none in PEM, or cannot be read with {}", passphrase.as_ref().map_or("no passphrase".to_owned(), |it| format!("the passphrase in `{it}`")))]
    Passphrase {
        /// The key.
        key: Utf8PathBuf,
        /// The file with its passphrase.
        passphrase: Option<Utf8PathBuf>,
    },
    /// The key belongs to no certificate.
    #[error("the key `{0}` is of none of the certificates in `certificate`")]
    OtherKey(Utf8PathBuf),
    /// The signer succeeded, but its output is not the signed loader.
    #[error("`{program}` has signed, but {problem}")]
    Refused {
        /// The program.
        program: String,
        /// What is wrong with its output.
        problem: String,
    },
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Toolchain(error) => error.diagnosis(),
            Self::NoCommand(program) => Class::MissingTool
                .about(program)
                .help("install it, or correct `sign-command` in embed-scripts/sites.toml"),
            Self::OtherKey(path) => {
                Class::BadInput.about(path).help("correct `key` or `certificate` in embed-scripts/sites.toml")
            }
            Self::Secret(error) => error.diagnosis(),
            Self::InTree { path, .. } => {
                Class::BadInput.about(path).help("move it, and have another key made: that one may be known to others")
            }
            Self::Process(error) => error.diagnosis(),
            Self::Passphrase { key, .. } => Class::BadInput.about(key).help(
                "name a file whose only line is the passphrase, as `passphrase-file` in embed-scripts/sites.toml",
            ),
            Self::Refused { program, .. } => Class::BadInput
                .about(program)
                .help("correct `key`, `certificate` or `sign-command` in embed-scripts/sites.toml"),
            Self::Fs(error) => error.diagnosis(),
        }
    }
}

/// Signer of loaders.
#[derive(Debug)]
pub struct Signer {
    /// The command, with [`PLACEHOLDERS`] among its arguments.
    command: Command,
    identity: Sha256Digest,
    /// Certificate whose key must have signed.
    entry: SignerEntry,
    method: SigningMethod,
    /// Folder for files that the program reads and writes, and its own folder with the certificates.
    folders: (Utf8PathBuf, fs::Temporary),
}

/// What a signer works with.
pub struct Workplace<'a> {
    /// The tree to publish.
    pub tree: &'a Utf8Path,
    /// Folders with programs, like `PATH`.
    pub path: &'a str,
    /// Environment of a signing command of the user's own.
    pub environment: ProgramEnvironment,
    /// Time of signatures, in seconds since 1970.
    pub epoch: u64,
    /// The cache.
    pub cache: &'a Cache,
}

impl Signer {
    /// Returns what `config` needs on this machine.
    pub fn needs(config: &SecureBoot) -> Option<Need> {
        matches!(config.method, SigningMethod::Key { .. }).then_some(needs::OSSLSIGNCODE)
    }

    /// Prepares to sign as `config` says, and signs a small application to see that all of it fits together.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn prepare(config: &SecureBoot, workplace: Workplace<'_>, progress: &dyn Progress) -> Result<Self, Error> {
        let Workplace { tree, path, environment, epoch, cache } = workplace;
        let folder = cache.stamping();
        let own = fs::Temporary::create(&folder, Cache::PACK)?;
        let certificates = own.path().join("certificates.pem");
        fs::write_new(&certificates, &config.pem, 0o644)?;
        let (program, args, environment) = match &config.method {
            SigningMethod::Key { key, passphrase } => {
                for secret in passphrase.iter().chain([key]) {
                    check_secret(secret, tree)?;
                }
                passphrase.as_deref().map_or(Ok(()), fs::check_passphrase)?;
                let found = toolchain::look(&[needs::OSSLSIGNCODE], path, cache, progress)?;
                let program = found.first().map(|tool| tool.file().to_string()).unwrap_or_default();
                let fixed = ["sign", "-h", "sha256", "-in", PLACEHOLDERS[0], "-out", PLACEHOLDERS[1], "-time"];
                let mut args = fixed.map(str::to_owned).to_vec();
                args.extend([epoch.to_string(), "-certs".into(), certificates.to_string()]);
                args.extend(["-key".into(), key.to_string()]);
                args.extend(passphrase.iter().flat_map(|file| ["-readpass".into(), file.to_string()]));
                (program, args, ProgramEnvironment::default())
            }
            SigningMethod::Command(words) => {
                let name = words.first().cloned().unwrap_or_default();
                let found = if name.starts_with('/') { Some(name.clone().into()) } else { find_program(&name, path) };
                let program = found.filter(|file| file.is_file()).ok_or(Error::NoCommand(name))?;
                (program.into_string(), words[1..].to_vec(), environment)
            }
        };
        let mut command = Command::new("sign a loader", program.clone()).args(args.clone());
        command.env = environment;
        command = command.env("PATH", path).env("LC_ALL", "C").env("TZ", "UTC");
        command = command.env("SOURCE_DATE_EPOCH", epoch.to_string());
        let parts = [fs::sha256(Utf8Path::new(&program))?.0.to_string(), epoch.to_string()];
        let fixed = args.into_iter().filter(|word| *word != certificates.as_str());
        let parts: Vec<String> = parts.into_iter().chain(fixed).collect();
        let identity = [&config.pem[..], parts.join("\0").as_bytes()].concat();
        let own_certificate = config.certificates.first();
        let entry = own_certificate
            .map_or_else(|| (String::new(), Sha256Digest::of(b"")), |it| (it.subject.clone(), it.sha256));
        let signer = Self {
            command,
            identity: Sha256Digest::of(&identity),
            entry: SignerEntry { signer: entry.0, certificate_sha256: entry.1 },
            method: config.method.clone(),
            folders: (folder, own),
        };
        signer.sign(application(), progress)?;
        Ok(signer)
    }

    /// Returns the digest of everything that the signature of given bytes depends on, except the key itself.
    #[must_use]
    pub fn identity(&self) -> Sha256Digest {
        self.identity
    }

    /// Returns the signer as a manifest names it.
    #[must_use]
    pub fn entry(&self) -> SignerEntry {
        self.entry.clone()
    }

    /// Returns `content`, an EFI application without signatures, with one.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn sign(&self, content: Vec<u8>, progress: &dyn Progress) -> Result<Vec<u8>, Error> {
        let scratch = fs::Temporary::create(&self.folders.0, Cache::PACK)?;
        let [input, output] = ["unsigned.efi", "signed.efi"].map(|name| scratch.path().join(name));
        let refused = |problem: String| Error::Refused { program: self.command.program.clone(), problem };
        let wanted = Signatures::of(&content).map_err(refused)?.digest;
        fs::write_new(&input, &content, 0o644)?;
        let limit = content.len() as u64 + MAX_SIGNATURE;
        // A kernel has more than a hundred megabytes, and the signed one comes as well.
        drop(content);
        let mut command = self.command.clone();
        for word in &mut command.args {
            *word = word.replace(PLACEHOLDERS[0], input.as_str()).replace(PLACEHOLDERS[1], output.as_str());
        }
        command.output(progress).map_err(|error| self.explained(error))?;
        let signed = match fs::read_at_most(&output, limit) {
            Err(error) if error.is_not_found() => return Err(refused("it wrote nothing".into())),
            Err(_) => return Err(refused(format!("what it wrote is no plain file of at most {limit} bytes"))),
            Ok(signed) => signed,
        };
        self.check(wanted, &signed).map_err(refused)?;
        Ok(signed)
    }

    /// Checks that `signed` has one signature, which holds, is this signer's and covers what has the digest `wanted`.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn check(&self, wanted: Sha256Digest, signed: &[u8]) -> Result<(), String> {
        let Signatures { digest, signatures, .. } = Signatures::of(signed)?;
        if digest != wanted {
            return Err("what it has signed is not the loader".into());
        }
        let signature = match signatures.as_slice() {
            [Ok(signature)] => signature,
            [Err(problem)] => return Err(format!("its signature does not hold: {problem}")),
            other => return Err(format!("found {} signatures, wanted one", other.len())),
        };
        let Signature { chain } = signature;
        let by = chain.first().ok_or("nobody has signed")?;
        if by.sha256 == self.entry.certificate_sha256 {
            return Ok(());
        }
        Err(format!("with the key of `{}`, wanted that of the first certificate in `certificate`", by.subject))
    }

    /// Tells a wrong passphrase from other failures.
    fn explained(&self, error: process::Error) -> Error {
        let asks = ["pass phrase", "password", "bad decrypt"];
        let about = |line: &String| asks.iter().any(|word| line.contains(word));
        match &self.method {
            SigningMethod::Key { key, passphrase } if error.has_failed() && error.tail.iter().any(about) => {
                Error::Passphrase { key: key.clone(), passphrase: passphrase.clone() }
            }
            SigningMethod::Key { key, .. } if error.tail.iter().any(|line| line.contains("key values mismatch")) => {
                Error::OtherKey(key.clone())
            }
            _ => error.into(),
        }
    }
}

/// Maximum size of what a signature adds to a file, in bytes: one with a long chain has 10,000.
const MAX_SIGNATURE: u64 = 1 << 20;

/// Checks that nobody but its owner can read `secret`, and that it is not in `tree` or another one.
fn check_secret(secret: &Utf8Path, tree: &Utf8Path) -> Result<(), Error> {
    fs::check_secret(secret)?;
    let real = secret.canonicalize_utf8().unwrap_or_else(|_| secret.to_owned());
    let records = [paths::MANIFEST, paths::DEPLOYED];
    let published = |folder: &&Utf8Path| *folder == tree || records.iter().any(|name| folder.join(name).exists());
    match real.ancestors().skip(1).find(published) {
        Some(folder) => Err(Error::InTree { path: secret.to_owned(), tree: folder.to_owned() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::progress::Silent;

    #[test]
    fn a_signer_that_hangs_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap().to_owned();
        let own = fs::Temporary::create(&folder, Cache::PACK).unwrap();
        // Without a terminal, reading from one fails at once; so it waits for something else.
        let mut command =
            Command::new("sign a loader", "/bin/sh").args(["-c", "sleep 60", "sh", "{input}", "{output}"]);
        command = command.env("PATH", "/usr/bin:/bin");
        command.deadline = Duration::from_millis(300);
        let entry = SignerEntry { signer: "CN=x".into(), certificate_sha256: Sha256Digest::of(b"") };
        let method = SigningMethod::Command(Vec::new());
        let signer = Signer { command, identity: Sha256Digest::of(b""), entry, method, folders: (folder.clone(), own) };
        let error = signer.sign(application(), &Silent).unwrap_err().to_string();
        assert!(error.starts_with("cannot sign a loader: `/bin/sh` took longer than "), "{error}");
        drop(signer);
        assert_eq!(fs::entries(&folder).unwrap().len(), 0);
    }
}
