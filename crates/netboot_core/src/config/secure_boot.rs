//! The table `[secure-boot]` of `sites.toml`: UEFI loaders are built for Secure Boot, and signed; or the tree gets iPXE's
//! official signed set.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::SystemTime;

use camino::{Utf8Path, Utf8PathBuf};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::assets::Assets;
use super::ipxe_config::{Sbat, SecureBuild};
use super::signed_set::{FILES, SetName, SetPlace};
use super::site::Site;
use super::site_table::safe_path;
use super::toml::{Located, Table};
use super::trust;
use crate::base::diagnostic::{Diagnostic, Location};
use crate::base::paths;
use crate::loader::signature::SigningCertificate;
use crate::loader::target::Platform;
use crate::printable::printable;

/// Version of iPXE since which it can be built for Secure Boot.
const SINCE: &str = "2.0.0";

/// Words of a signing command that stand for the loader to sign and for the file to write.
pub const PLACEHOLDERS: [&str; 2] = ["{input}", "{output}"];

/// Maximum number of words of a signing command.
const MAX_WORDS: usize = 100;

/// Maximum length of the name in an SBAT line.
const MAX_SBAT_NAME: usize = 63;

/// Keys about loaders that are built and signed here.
const OWN: [&str; 6] = ["certificate", "sbat-name", "sbat-generation", "key", "passphrase-file", "sign-command"];

/// Reads `table`: how own loaders get signed, and where the official set is, if the tree has it.
pub(super) fn read(table: &Table<'_>, assets: &Assets<'_>) -> (Option<SecureBoot>, Option<Located<SetPlace>>) {
    let set = signed_set(table, assets);
    let own = !["set", "place"].iter().any(|key| table.has(key)) || OWN.iter().any(|key| table.has(key));
    (own.then(|| SecureBoot::read(table, assets)).flatten(), set)
}

/// Parses a name of a closed set.
fn known<T: FromStr<Err = String>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|wanted| format!("found `{}`, {wanted}", printable(text)))
}

/// Returns where the official set is, located at the key that decides it.
fn signed_set(table: &Table<'_>, assets: &Assets<'_>) -> Option<Located<SetPlace>> {
    let set = table.parsed("set", "write set = \"ipxe\"", known::<SetName>);
    let place = table.parsed("place", "write \"folder\" or \"root\", or leave it out", known::<SetPlace>);
    if let Some(place) = place.as_ref().filter(|_| !table.has("set")) {
        table.report(place.location.finding("is for a `set`, and there is none", "add set = \"ipxe\", or remove it"));
    }
    let set = set?;
    if assets.signed_set().is_none() {
        let remedy = "copy the table [secure-boot-set] from this tool's own vendor/pins.toml";
        table.report(set.location.finding("names a set that vendor/pins.toml does not pin", remedy));
        return None;
    }
    Some(place.unwrap_or(Located { value: SetPlace::Folder, location: set.location }))
}

/// Returns the error of a set that would be confused with the loaders of `sites`: both have the same names, or loaders
/// would fetch the set's script, and kernels would get it as a part of their initrd.
pub(super) fn conflict<'s>(set: &Located<SetPlace>, mut sites: impl Iterator<Item = &'s Site>) -> Option<Diagnostic> {
    if set.value == SetPlace::Folder {
        return None;
    }
    let efi = |site: &'s Site| Some((site, *site.loaders.iter().find(|it| it.platform() != Platform::Bios)?));
    let (site, loader) = sites.find_map(efi)?;
    let of = site.name.as_ref().map_or("of `[default]`".to_owned(), |name| format!("of the site `{name}`"));
    let message = if FILES.iter().any(|(name, _)| *name == loader.as_str()) {
        format!("`{loader}` is a file of the set, and the loader `{loader}` {of} has the same place")
    } else {
        format!("the loader `{loader}` {of} would fetch the set's `{}`, which is not its script", paths::AUTOEXEC)
    };
    Some(set.location.finding(message, "set place = \"folder\", or take the loaders for UEFI out of `loaders`"))
}

/// How loaders get signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecureBoot {
    /// How loaders are built for it.
    pub build: SecureBuild,
    /// The signer's certificate, then others, such as that of its issuer.
    pub certificates: Vec<SigningCertificate>,
    /// The same certificates in PEM.
    pub pem: Vec<u8>,
    /// What signs.
    pub method: SigningMethod,
    /// Where it is configured.
    pub location: Location,
}

/// What signs a loader. The private key is read by another program alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SigningMethod {
    /// `osslsigncode` with a key in a file.
    Key {
        /// Absolute path of the key, in PEM.
        key: Utf8PathBuf,
        /// Absolute path of the file with its passphrase.
        passphrase: Option<Utf8PathBuf>,
    },
    /// A command with [`PLACEHOLDERS`] among its words.
    Command(Vec<String>),
}

impl SecureBoot {
    /// Returns a warning for each certificate that ended before `now`. Most firmware takes a signature all the same.
    #[must_use]
    pub fn ended_certificates(&self, now: SystemTime) -> Vec<Diagnostic> {
        let ended = self.certificates.iter().filter(|it| it.not_after < now);
        let warning = |it: &SigningCertificate| {
            let (subject, day) = (printable(&it.subject), trust::day(it.not_after));
            let message = format!("the certificate of `{subject}`, which signs loaders, was valid until {day}");
            Diagnostic::new(message)
                .help("have another one made; machines need no new enrolment if its issuer is enrolled")
        };
        ended.map(warning).collect()
    }

    /// Returns warnings about loaders for `platforms` that stay without a signature.
    pub(super) fn unsigned(&self, platforms: &BTreeSet<Platform>) -> Vec<Diagnostic> {
        let unsigned = |it: &&Platform| **it != Platform::Bios && !self.build.covers(**it);
        let warning = |platform: &Platform| {
            let message = format!(
                "loaders for {} stay without a signature: the pinned iPXE has no build for Secure Boot there",
                platform.arch()
            );
            self.location.finding(message, "switch Secure Boot off on these machines")
        };
        platforms.iter().filter(unsigned).map(warning).collect()
    }

    /// Reads `table`.
    fn read(table: &Table<'_>, assets: &Assets<'_>) -> Option<Self> {
        let pin = assets.pin();
        if pin.precedes(SINCE) {
            let message = format!("found iPXE {}, which cannot be built for Secure Boot", pin.version);
            table.report(table.location().finding(message, format!("pin iPXE {SINCE} or later")));
        }
        let sbat = sbat(table);
        let named = safe_path(table, "certificate");
        let remedy = "copy the signer's certificate into embed-scripts, and name it";
        let named = table.require("certificate", named, remedy);
        let certificates = named.and_then(|at| certificates(table, &at, assets));
        let method = method(table, assets.root());
        let (sbat, (certificates, pem), method) = (sbat?, certificates?, method?);
        let build = SecureBuild { sbat, arm64: pin.can_have_unknown_commands() };
        Some(Self { build, certificates, pem, method, location: table.location() })
    }
}

fn sbat(table: &Table<'_>) -> Option<Sbat> {
    let remedy = "name who builds the loaders, as in sbat-name = \"example\": what gets revoked is called by it";
    let name = table.require("sbat-name", table.string("sbat-name"), remedy);
    let name = name.and_then(|Located { value, location }| {
        let fine = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if fine && (1..=MAX_SBAT_NAME).contains(&value.len()) {
            return Some(value);
        }
        let message = format!("found `{value}`, wanted 1 to {MAX_SBAT_NAME} letters, digits, `.`, `_` or `-`");
        table.report(location.finding(message, "shorten it to such a name"));
        None
    });
    let generation = table.unsigned("sbat-generation").map_or(Some(1), |Located { value, location }| {
        let generation = u32::try_from(value).ok().filter(|it| (1..=i32::MAX.unsigned_abs()).contains(it));
        let message = format!("found {value}, wanted a generation from 1");
        table.accept(generation.ok_or_else(|| location.finding(message, "begin with 1, and count up")))
    });
    Some(Sbat { name: name?, generation: generation? })
}

/// Reads the certificates in the file `at`, and returns them also as PEM.
fn certificates(
    table: &Table<'_>,
    at: &Located<Utf8PathBuf>,
    assets: &Assets<'_>,
) -> Option<(Vec<SigningCertificate>, Vec<u8>)> {
    let content = assets.content(table, at, "certificate")?;
    let Some(pem) = trust::certificates(&content) else {
        let message = format!("`{}` has something else than certificates in PEM, wanted them alone", at.value);
        let remedy = "put the signer's certificate there, then those that issued it, and the key elsewhere";
        table.report(at.location.finding(message, remedy));
        return None;
    };
    let read = |der: CertificateDer<'_>| SigningCertificate::from_der(&der);
    let found: Option<Vec<_>> = CertificateDer::pem_slice_iter(&pem).map(|der| der.ok().and_then(read)).collect();
    let message = format!("`{}` has a certificate that cannot be read", at.value);
    let found = found.ok_or_else(|| at.location.finding(message, "look at it with `openssl x509`"));
    let found = table.accept(found)?;
    if let Some(key) = found.first().and_then(SigningCertificate::unfit_key) {
        let message =
            format!("`{}` begins with a certificate of {key}, wanted one of RSA with 2048 to 8192 bits", at.value);
        table.report(at.location.finding(message, "have another key made, and a certificate for it"));
        return None;
    }
    Some((found, pem))
}

fn method(table: &Table<'_>, project: &Utf8Path) -> Option<SigningMethod> {
    let key = table.string("key").map(|at| outside(table, at, project));
    let passphrase = table.string("passphrase-file").map(|at| outside(table, at, project));
    let command = table.strings("sign-command");
    match (key, command) {
        (Some(key), None) => Some(SigningMethod::Key {
            key: key?,
            passphrase: match passphrase {
                Some(path) => Some(path?),
                None => None,
            },
        }),
        (None, Some(command)) => {
            if passphrase.is_some() {
                let message = "has a `passphrase-file`, which is for a `key`";
                table.report(table.location().finding(message, "let the command find its passphrase by itself"));
            }
            signing_command(table, command)
        }
        (None, None) => {
            let remedy = "name the signer's private key, as in key = \"/etc/netboot-loaders/loader.key\"";
            table.report(table.location().finding("has neither `key` nor `sign-command`", remedy));
            None
        }
        (Some(_), Some(_)) => {
            table.report(table.location().finding("has both `key` and `sign-command`", "remove one of them"));
            None
        }
    }
}

/// Returns the path of a secret, which must not be among the files that a project publishes.
fn outside(table: &Table<'_>, at: Located<String>, project: &Utf8Path) -> Option<Utf8PathBuf> {
    let Located { value, location } = at;
    let path = Utf8PathBuf::from(&value);
    let plain = path.components().all(|part| !matches!(part.as_str(), ".." | "."));
    if !path.is_absolute() || !plain || value.chars().any(char::is_control) {
        // It can be the secret itself, which no message may show.
        let what = if value.contains("-----BEGIN") { "has the secret itself" } else { "has no absolute path" };
        let message = format!("{what}, wanted the absolute path of a file with it");
        table.report(location.finding(message, "write the path from `/`, without `..`"));
        return None;
    }
    // The folder can be a symbolic link into the project.
    let real = path.canonicalize_utf8().unwrap_or_else(|_| path.clone());
    let root = project.canonicalize_utf8().unwrap_or_else(|_| project.to_owned());
    if real.starts_with(&root) || path.starts_with(project) {
        let message = format!("`{value}` is inside of this project, whose files get published");
        table.report(location.finding(message, "keep it elsewhere, where nobody else can read it"));
        return None;
    }
    Some(path)
}

fn signing_command(table: &Table<'_>, command: Located<Vec<Located<String>>>) -> Option<SigningMethod> {
    let Located { value, location } = command;
    let words: Vec<String> = value.into_iter().map(|word| word.value).collect();
    let program = words.first().map(String::as_str).unwrap_or_default();
    let refuse = |message: String, remedy: &str| {
        table.report(location.finding(message, remedy));
        None
    };
    if words.len() > MAX_WORDS || words.iter().any(|word| word.contains('\0')) {
        return refuse(format!("has {} words, wanted {MAX_WORDS} at most", words.len()), "call a script of your own");
    }
    if program.is_empty() || (program.contains('/') && !program.starts_with('/')) {
        let message = format!("begins with `{program}`, wanted the name of a program or its absolute path");
        return refuse(message, "write the program first, then its arguments");
    }
    for placeholder in PLACEHOLDERS {
        if !words.iter().any(|word| word.contains(placeholder)) {
            let example = r#"as in ["sbsign", "--key", "…", "--cert", "…", "--output", "{output}", "{input}"]"#;
            return refuse(format!("has no `{placeholder}`"), &format!("add it where the command takes it, {example}"));
        }
    }
    Some(SigningMethod::Command(words))
}
