//! Detached OpenPGP signatures, verified by GnuPG's `gpgv` against pinned keys.
//!
//! Debian and Fedora verify their own releases with `gpgv`. Only its status lines, which are intended for programs, are
//! evaluated. Its messages for humans have no effect.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use camino::{Utf8Path, Utf8PathBuf};

use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Flag, Help};
use crate::base::fs;
use crate::base::process::{self, Command, find_program};
use crate::base::progress::Progress;
use crate::config::signers::{KeyFingerprint, SignerPin};
use crate::toolchain::{install_lines, needs};

/// Time limit for `gpgv`, which reads an image of up to 4 GiB, possibly on a slow machine.
const DEADLINE: Duration = Duration::from_secs(600);
/// Maximum number of signatures per file. Publishers use one, or two during a key rollover.
const MAX_SIGNATURES: usize = 16;
/// Maximum number of status lines to keep. Each signature produces about ten.
const MAX_STATUS: usize = 1000;
/// Maximum size of a key file, in bytes. Fedora's is 30 kB.
pub(super) const MAX_KEYS: u64 = 4 << 20;

/// Errors from verifying a signature.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `gpgv` is not installed. Contains the installation commands.
    #[error("found no `gpgv`, which checks signatures")]
    NoGpgv(Vec<String>),
    /// No key is pinned for the product.
    #[error("`vendor/pins.toml` does not say whose signatures count for `{0}`")]
    NotPinned(&'static str),
    /// The key file cannot be read.
    #[error(transparent)]
    KeysUnreadable(fs::Error),
    /// The key file contains no keys.
    #[error("`{file}` has no OpenPGP keys")]
    NoKeys {
        /// Path or address of the key file.
        file: String,
    },
    /// The publisher offers no signature.
    #[error("there is no signature of `{0}`")]
    None(String),
    /// The signature is not by a pinned key, or not of this file.
    #[error("the signature of `{name}` is not accepted: {reason}")]
    Bad {
        /// Name of the image.
        name: String,
        /// Reason for the rejection.
        reason: String,
    },
    /// Running `gpgv` failed.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::NoGpgv(install) => {
                let help = install.iter().map(|line| Help::from(line.as_str()));
                let help = help.chain([Help::Without(Flag::VerifySignatures)]).collect();
                Diagnosis { help, ..Class::MissingTool.about("gpgv") }
            }
            Self::NotPinned(publisher) => {
                Class::BadInput.about(publisher).help(format!("add the table [signers.{publisher}]"))
            }
            Self::KeysUnreadable(error) => error.diagnosis().help(Flag::Keys),
            Self::NoKeys { file } => Class::BadInput.about(file).help(Flag::Keys),
            Self::None(name) => Class::Unavailable.about(name).help(Help::Without(Flag::VerifySignatures)),
            Self::Bad { name, .. } => Class::Mismatch
                .about(name)
                .help("do not use these images; vendor/README.md says how the pinned keys were found"),
            Self::Process(error) => error.diagnosis(),
            Self::Fs(error) => error.diagnosis(),
        }
    }
}

/// Program and keys for verifying signatures.
#[derive(Debug, Clone)]
pub struct Trust {
    /// Path of `gpgv`.
    gpgv: Utf8PathBuf,
    /// Pinned keys.
    pub pin: SignerPin,
    /// Content of the key file, in the format that [`keyring`] returns; `None` to download the keys from the address in
    /// the pin.
    pub(super) keys: Option<Vec<u8>>,
}

impl Trust {
    /// Creates the verifier for `product`: finds `gpgv` in `path`, a list of folders in the format of `PATH`, and the
    /// pin in `pins`. Reads the key file `keys`, if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::NoGpgv`] if `gpgv` is missing; [`Error::NotPinned`] if `pins` has no entry for `product`;
    /// [`Error::KeysUnreadable`] and [`Error::NoKeys`] if `keys` is no file with keys.
    pub fn new(
        product: &'static str,
        pins: &[SignerPin],
        keys: Option<Utf8PathBuf>,
        path: &str,
    ) -> Result<Self, Error> {
        let pin = pins.iter().find(|pin| pin.name == product).ok_or(Error::NotPinned(product))?.clone();
        let gpgv = find_program("gpgv", path).ok_or_else(|| Error::NoGpgv(install_lines(&[&needs::GPGV], path)))?;
        let read = |file: Utf8PathBuf| {
            let content = fs::read_at_most(&file, MAX_KEYS).map_err(Error::KeysUnreadable)?;
            keyring(&content).ok_or_else(|| Error::NoKeys { file: file.into_string() })
        };
        Ok(Self { gpgv, pin, keys: keys.map(read).transpose()? })
    }

    /// Verifies that `signature` is a signature of the file `image` by a pinned key. Returns the fingerprint of that
    /// key. `keyring` contains the keys in the format that [`keyring`] returns.
    ///
    /// # Errors
    ///
    /// [`Error::Bad`] if the signature is rejected; other variants if `gpgv` fails or a file cannot be read.
    pub fn check(
        &self,
        image: &Utf8Path,
        signature: &Utf8Path,
        keyring: &Utf8Path,
        progress: &dyn Progress,
    ) -> Result<KeyFingerprint, Error> {
        let bad = |reason| Error::Bad { name: image.file_name().unwrap_or_default().to_owned(), reason };
        check_packets(&fs::read(signature)?).map_err(bad)?;
        let command = self.command(image, signature, keyring);
        let mut lines = Vec::new();
        let outcome = command.run(progress, &mut |line| {
            let status = line.strip_prefix("[GNUPG:] ").filter(|_| lines.len() < MAX_STATUS);
            lines.extend(status.map(str::to_owned));
        });
        let status: Vec<Vec<&str>> = lines.iter().map(|line| line.split(' ').collect()).collect();
        let content = match outcome {
            Ok(_) => true,
            Err(error) if progress.cancelled() || status.is_empty() => return Err(error.into()),
            Err(_) => false,
        };
        self.judge(&status, content).map_err(bad)
    }

    fn command(&self, image: &Utf8Path, signature: &Utf8Path, keyring: &Utf8Path) -> Command {
        let purpose = format!("check the signature of `{image}`");
        let mut command = Command::new(purpose, self.gpgv.as_str());
        command.deadline = DEADLINE;
        // Replaces the user's GnuPG folder, because the user's own keys must not count.
        let home = keyring.parent().unwrap_or(keyring);
        command.env("LC_ALL", "C").args(["--status-fd", "1", "--homedir", home.as_str()]).args([
            "--keyring",
            keyring.as_str(),
            signature.as_str(),
            image.as_str(),
        ])
    }

    /// Evaluates the status lines, split into words. `content` is whether `gpgv` exited successfully.
    fn judge(&self, status: &[Vec<&str>], content: bool) -> Result<KeyFingerprint, String> {
        let line = |keyword: &str| status.iter().find(|words| words.first() == Some(&keyword));
        let signers = if content { good_signers(status) } else { Vec::new() };
        let pinned = self.pin.fingerprints.iter().find(|pinned| signers.contains(&pinned.to_string().as_str()));
        if let Some(signer) = signers.first() {
            return pinned.cloned().ok_or_else(|| format!("it was made with the key {signer}, which is not pinned"));
        }
        let told = [
            ("BADSIG", "the file is not the one that was signed"),
            ("REVKEYSIG", "its key was revoked"),
            ("EXPKEYSIG", "its key has expired"),
            ("EXPSIG", "it has expired"),
        ];
        let known = told.iter().find(|(keyword, _)| line(keyword).is_some()).map(|(_, reason)| (*reason).to_owned());
        let stranger = || {
            let key = line("NO_PUBKEY")?.get(1)?;
            Some(format!("it was made with the key {key}, which is not among the keys"))
        };
        Err(known.or_else(stranger).unwrap_or_else(|| "it is not a signature of a file".into()))
    }
}

/// Rejects `content` unless it is a plain sequence of signatures with explicit lengths. `gpgv` unpacks any other packet
/// without a limit on memory or time.
fn check_packets(content: &[u8]) -> Result<(), String> {
    const SIGNATURE: u8 = 2;
    let (mut rest, mut signatures) = (content, 0);
    let found = loop {
        match split_packet(rest) {
            Some((SIGNATURE, after)) => (rest, signatures) = (after, signatures + 1),
            Some((other, _)) => break format!("an OpenPGP packet of type {other}"),
            None if !rest.is_empty() => break "something else than an OpenPGP packet with its length".to_owned(),
            None if signatures == 0 => break "an empty file".to_owned(),
            None if signatures <= MAX_SIGNATURES => return Ok(()),
            None => break format!("{signatures} signatures"),
        }
    };
    Err(format!("found {found}, wanted 1 to {MAX_SIGNATURES} binary OpenPGP signatures"))
}

/// Splits the first OpenPGP packet off `bytes` (RFC 4880, section 4.2). Returns its type and the remaining bytes.
/// Returns `None` if the packet is incomplete, in parts, or of indeterminate length.
fn split_packet(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let number = |bytes: &[u8]| bytes.iter().fold(0_usize, |number, byte| number << 8 | usize::from(*byte));
    let old_width = [1, 2, 4].get(usize::from(tag & 3)).copied();
    let (kind, width, length) = match (tag >> 6, rest) {
        (2, _) => (tag >> 2 & 15, old_width?, number(rest.get(..old_width?)?)),
        (3, [length @ 0..=191, ..]) => (tag & 63, 1, usize::from(*length)),
        (3, [high @ 192..=223, low, ..]) => (tag & 63, 2, (number(&[*high - 192, *low])) + 192),
        (3, [255, length @ ..]) => (tag & 63, 5, number(length.get(..4)?)),
        _ => return None,
    };
    Some((kind, rest.get(width..)?.get(length..)?))
}

/// Returns the primary key fingerprints of the good signatures in `status`, in order.
fn good_signers<'s>(status: &[Vec<&'s str>]) -> Vec<&'s str> {
    let (mut signers, mut good) = (Vec::new(), false);
    for words in status {
        match words.first().copied().unwrap_or_default() {
            "GOODSIG" => good = true,
            "NEWSIG" | "BADSIG" | "ERRSIG" | "EXPSIG" | "EXPKEYSIG" | "REVKEYSIG" => good = false,
            // The last word is the fingerprint of the primary key, even if a subkey made the signature.
            "VALIDSIG" if good => signers.extend(words.last()),
            _ => {}
        }
    }
    signers
}

const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const END: &str = "-----END PGP PUBLIC KEY BLOCK-----";

/// Converts the keys in `content` to the binary format that `gpgv` reads. `gpgv` does not support ASCII armor, in which
/// most publishers offer their keys. Returns `None` if there are no keys.
pub fn keyring(content: &[u8]) -> Option<Vec<u8>> {
    let armored = std::str::from_utf8(content).ok();
    let Some(text) = armored else { return is_keyring(content).then(|| content.to_vec()) };
    let mut keys = Vec::new();
    for block in text.split(BEGIN).skip(1) {
        let (block, _) = block.split_once(END)?;
        // The headers follow the rest of the first line and end with an empty line. A checksum, which begins with `=`,
        // ends the block.
        let body = block.lines().skip(1).map(str::trim).skip_while(|line| !line.is_empty());
        let body: String = body.take_while(|line| !line.starts_with('=')).collect();
        keys.extend(BASE64_STANDARD.decode(body).ok()?);
    }
    is_keyring(&keys).then_some(keys)
}

/// Checks whether `content` is a keyring: whole OpenPGP packets, the first of which is a public key, or a keybox of GnuPG.
fn is_keyring(content: &[u8]) -> bool {
    const PUBLIC_KEY: u8 = 6;
    if content.get(8..12) == Some(b"KBXf") {
        return true;
    }
    let first = split_packet(content).is_some_and(|(kind, _)| kind == PUBLIC_KEY);
    let mut rest = content;
    while let Some((_, after)) = split_packet(rest) {
        rest = after;
    }
    first && rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PINNED: &str = "F88CFEDEFF29A5B4D9523864E25D9AED0593B34A";
    const OTHER: &str = "36F612DCF27F7D1A48A835E4DBFCF71C6D9F90A6";

    fn judge(lines: &str, content: bool) -> Result<String, String> {
        let pin = SignerPin { name: "x".into(), keys: String::new(), fingerprints: vec![PINNED.parse().unwrap()] };
        let trust = Trust { gpgv: "gpgv".into(), pin, keys: None };
        let status: Vec<Vec<&str>> = lines.lines().map(|line| line.split(' ').collect()).collect();
        trust.judge(&status, content).map(|signer| signer.to_string())
    }

    fn valid(primary: &str) -> String {
        format!("VALIDSIG {OTHER} 2026-07-21 1784600000 0 4 0 1 10 00 {primary}\n")
    }

    #[test]
    fn a_good_signature_by_a_subkey_of_a_pinned_key_counts() {
        let good = format!("NEWSIG\nGOODSIG E25D9AED0593B34A Buildbot\n{}", valid(PINNED));
        assert_eq!(judge(&good, true).unwrap(), PINNED);
        // An additional signature by another key does no harm.
        let two = format!("NEWSIG\nGOODSIG DBFCF71C6D9F90A6 x\n{}{good}", valid(OTHER));
        assert_eq!(judge(&two, true).unwrap(), PINNED);
    }

    #[test]
    fn nothing_else_counts() {
        let good = "NEWSIG\nGOODSIG E25D9AED0593B34A Buildbot\n";
        for (lines, content, reason) in [
            (format!("{good}{}", valid(OTHER)), true, format!("it was made with the key {OTHER}, which is not pinned")),
            (format!("{good}{}", valid(PINNED)), false, "it is not a signature of a file".into()),
            (good.into(), true, "it is not a signature of a file".into()),
            // The states of two signatures must not be combined.
            (
                format!("NEWSIG\nEXPKEYSIG E25D9AED0593B34A x\n{}{good}{}", valid(PINNED), valid(OTHER)),
                true,
                format!("it was made with the key {OTHER}, which is not pinned"),
            ),
            (valid(PINNED), true, "it is not a signature of a file".into()),
            (format!("EXPKEYSIG E25D9AED0593B34A x\n{}", valid(PINNED)), true, "its key has expired".into()),
            (format!("REVKEYSIG E25D9AED0593B34A x\n{}", valid(PINNED)), true, "its key was revoked".into()),
            (format!("EXPSIG E25D9AED0593B34A x\n{}", valid(PINNED)), true, "it has expired".into()),
            ("BADSIG E25D9AED0593B34A x\n".into(), false, "the file is not the one that was signed".into()),
            (
                "ERRSIG E25D9AED0593B34A 1 10 00 1784600000 9 -\nNO_PUBKEY E25D9AED0593B34A\n".into(),
                false,
                "it was made with the key E25D9AED0593B34A, which is not among the keys".into(),
            ),
            ("NODATA 4\n".into(), false, "it is not a signature of a file".into()),
            (String::new(), true, "it is not a signature of a file".into()),
        ] {
            assert_eq!(judge(&lines, content).unwrap_err(), reason, "{lines}");
        }
    }

    /// Returns a packet of type `kind` with `length` bytes, in the new format.
    fn packet(kind: u8, length: u8) -> Vec<u8> {
        [vec![0xc0 | kind, length], vec![0; length.into()]].concat()
    }

    #[test]
    fn only_a_few_plain_signatures_reach_gpgv() {
        let old = |width: u8, length: &[u8], content: usize| [&[0x88 | width], length, &vec![0; content]].concat();
        let new = |length: &[u8], content: usize| [&[0xc2], length, &vec![0; content]].concat();
        for fine in [
            packet(2, 100),
            packet(2, 0).repeat(16),
            [old(0, &[3], 3), packet(2, 191)].concat(),
            old(1, &[1, 44], 300),
            old(2, &[0, 0, 1, 44], 300),
            new(&[192, 0], 192),
            new(&[193, 44], 492),
            new(&[255, 0, 0, 1, 44], 300),
        ] {
            assert_eq!(check_packets(&fine), Ok(()), "{fine:?}");
        }
        let strange = "something else than an OpenPGP packet with its length";
        for (bad, found) in [
            (vec![], "an empty file"),
            (packet(2, 9).repeat(17), "17 signatures"),
            (packet(8, 20), "an OpenPGP packet of type 8"),
            ([packet(2, 9), packet(8, 20)].concat(), "an OpenPGP packet of type 8"),
            ([vec![0xa0, 20], vec![0; 20]].concat(), "an OpenPGP packet of type 8"),
            // Partial, without a length, truncated, and as text.
            (new(&[224, 0], 400), strange),
            (old(3, &[], 400), strange),
            (vec![0xa3, 1], strange),
            (packet(2, 9)[..10].to_vec(), strange),
            (vec![0xc2, 192], strange),
            (new(&[255, 255, 255, 255, 255], 9), strange),
            (new(&[255, 0, 0], 0), strange),
            (old(1, &[1], 0), strange),
            ([packet(2, 9), b"\n".to_vec()].concat(), strange),
            (b"-----BEGIN PGP SIGNATURE-----\n".to_vec(), strange),
        ] {
            let error = format!("found {found}, wanted 1 to 16 binary OpenPGP signatures");
            assert_eq!(check_packets(&bad), Err(error), "{bad:?}");
        }
    }

    #[test]
    fn keys_are_read_in_both_forms() {
        let block = |body: &str| format!("{BEGIN}\nVersion: x\n\n{body}\n=abcd\n{END}\n");
        let text = format!("Two keys\n{}\r\n{}", block("xgID\nBM0B"), block("Bw=="));
        assert_eq!(keyring(text.as_bytes()).unwrap(), [0xc6, 2, 3, 4, 0xcd, 1, 7]);
        let binary = [packet(6, 100), packet(13, 9), packet(2, 70)].concat();
        assert_eq!(keyring(&binary).as_ref(), Some(&binary));
        let keybox = b"\0\0\0\x20\x01\x01\0\x02KBXf\xff";
        assert_eq!(keyring(keybox).unwrap(), keybox);
        for bad in ["", "<html></html>", BEGIN, &block("?"), &block(""), &block("AQID")] {
            assert_eq!(keyring(bad.as_bytes()), None, "{bad}");
        }
        // Cut off, a signature, and a program.
        for bad in [&binary[..180], &packet(2, 100), b"MZ\xff", b"\x99\x02\x0d\xff"] {
            assert_eq!(keyring(bad), None, "{bad:?}");
        }
    }
}
