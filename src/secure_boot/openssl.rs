//! The program openssl, which reads and writes private keys in place of this process.

use camino::{Utf8Path, Utf8PathBuf};

use super::error::Error;
use crate::base::fs;
use crate::base::process::{self, Command, find_program};
use crate::base::progress::Progress;
use crate::toolchain::{install_lines, needs};

/// Maximum size in bytes of a signature.
const MAX_SIGNATURE: u64 = 1 << 20;

/// Configuration of openssl for requests and certificates, instead of the system's own.
const CONFIG: &str = "\
[req]
distinguished_name = name
prompt = no

[name]
commonName = NAME

[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
subjectKeyIdentifier = hash

[loader]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = codeSigning
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
";

/// Writes the configuration for a certificate of this name, and returns its path.
pub(super) fn config(folder: &Utf8Path, name: &str) -> Result<Utf8PathBuf, Error> {
    let path = folder.join("openssl.cnf");
    fs::write_new(&path, CONFIG.replace("NAME", name).as_bytes(), 0o600)?;
    Ok(path)
}

/// The program, and the file of the passphrase for all keys. It reads that file itself.
#[derive(Debug, Clone)]
pub struct Openssl {
    program: Utf8PathBuf,
    passphrase: Option<Utf8PathBuf>,
}

impl Openssl {
    /// Finds openssl in `path`, a list of folders in the format of `PATH`. `passphrase` is the absolute path of a file
    /// whose only line protects the keys.
    ///
    /// # Errors
    ///
    /// [`Error`] if openssl is missing, or if there is no passphrase in the file.
    pub fn find(path: &str, passphrase: Option<Utf8PathBuf>) -> Result<Self, Error> {
        if let Some(file) = &passphrase {
            fs::check_passphrase(file)?;
        }
        let program = find_program("openssl", path);
        let program = program.ok_or_else(|| Error::NoOpenssl(install_lines(&[&needs::OPENSSL], path)))?;
        Ok(Self { program, passphrase })
    }

    /// Returns the words that name the source of the passphrase after an option. Without one, openssl must not ask for it.
    fn source(&self) -> String {
        self.passphrase.as_ref().map_or_else(|| "pass:".to_owned(), |file| format!("file:{file}"))
    }

    /// Runs openssl in `folder` and returns its output. On a full disk, it leaves an empty file or none, and may succeed.
    pub(super) fn run(
        &self,
        folder: &Utf8Path,
        purpose: &str,
        words: impl IntoIterator<Item = impl Into<String>>,
        progress: &dyn Progress,
    ) -> Result<Vec<String>, Error> {
        let command = Command::new(purpose, self.program.as_str()).env("LC_ALL", "C");
        let words: Vec<String> = words.into_iter().map(Into::into).collect();
        let written = words.iter().skip_while(|word| *word != "-out").nth(1).map(|name| folder.join(name));
        let command = Command { dir: Some(folder.to_owned()), ..command.args(words) };
        let output = command.output(progress);
        let Some(file) = written else { return Ok(output?) };
        let is_empty = file.metadata().is_ok_and(|metadata| metadata.len() == 0);
        if is_empty || output.as_ref().is_err_and(process::Error::has_failed) {
            fs::check_room(folder, 0)?;
        }
        let output = output?;
        if is_empty { Err(Error::Unexpected("file with anything in it")) } else { Ok(output) }
    }

    /// Runs openssl with the passphrase of the key that it reads.
    pub(super) fn run_with_key<'w>(
        &self,
        folder: &Utf8Path,
        purpose: &str,
        words: impl IntoIterator<Item = &'w str>,
        progress: &dyn Progress,
    ) -> Result<Vec<String>, Error> {
        let words = words.into_iter().map(str::to_owned);
        self.run(folder, purpose, words.chain(["-passin".to_owned(), self.source()]), progress)
    }

    /// Makes a key at `path`, which openssl creates for this user alone. Firmware checks signatures of RSA with 2048 bits
    /// and SHA-256 everywhere, and others in places.
    pub(super) fn new_key(&self, path: &Utf8Path, progress: &dyn Progress) -> Result<(), Error> {
        let folder = path.parent().unwrap_or(path);
        let words = ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", path.as_str()];
        let source = self.source();
        let locked = ["-aes-256-cbc", "-pass", source.as_str()].into_iter().filter(|_| self.passphrase.is_some());
        self.run(folder, "make a key", words.into_iter().chain(locked), progress)?;
        Ok(())
    }

    /// Makes a request for a certificate, or a certificate, as `options` say.
    pub(super) fn request(
        &self,
        folder: &Utf8Path,
        config: &Utf8Path,
        options: &[&str],
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let words = ["req", "-new", "-sha256", "-batch", "-config", config.as_str()];
        self.run_with_key(folder, "make a certificate", words.into_iter().chain(options.iter().copied()), progress)?;
        Ok(())
    }

    /// Returns the detached PKCS #7 signature of `content` without signed attributes, in DER.
    pub(super) fn sign(
        &self,
        folder: &Utf8Path,
        (certificate, key): (&str, &str),
        content: &[u8],
        progress: &dyn Progress,
    ) -> Result<Vec<u8>, Error> {
        const CONTENT: &str = "content";
        const SIGNATURE: &str = "signature";
        fs::write_new(&folder.join(CONTENT), content, 0o600)?;
        let form = ["smime", "-sign", "-binary", "-noattr", "-md", "sha256", "-outform", "DER"];
        let files = ["-signer", certificate, "-inkey", key, "-in", CONTENT, "-out", SIGNATURE];
        self.run_with_key(folder, "sign a variable", form.into_iter().chain(files), progress)?;
        let signature = fs::read_at_most(&folder.join(SIGNATURE), MAX_SIGNATURE)?;
        fs::remove_file(&folder.join(SIGNATURE))?;
        fs::remove_file(&folder.join(CONTENT))?;
        Ok(signature)
    }

    /// Checks that the passphrase opens the key at `path`, or that it needs none.
    pub(super) fn check_key(&self, path: &Utf8Path, progress: &dyn Progress) -> Result<(), Error> {
        let folder = path.parent().unwrap_or(path);
        let read = self.run_with_key(folder, "read a key", ["pkey", "-noout", "-in", path.as_str()], progress);
        match read {
            Err(Error::Process(error)) if error.has_failed() => {
                Err(Error::Locked { key: path.to_owned(), passphrase: self.passphrase.clone() })
            }
            read => read.map(drop),
        }
    }

    /// Returns the rest of the line that begins with `label`, after blanks, in the description of the certificate at `path`.
    pub(super) fn property(
        &self,
        path: &Utf8Path,
        label: &str,
        progress: &dyn Progress,
    ) -> Result<Option<String>, Error> {
        let folder = path.parent().unwrap_or(path);
        let words = ["x509", "-noout", "-serial", "-subject", "-nameopt", "multiline", "-in", path.as_str()];
        let lines = self.run(folder, "read a certificate", words, progress)?;
        Ok(lines.iter().find_map(|line| line.trim_start().strip_prefix(label)).map(str::to_owned))
    }
}
