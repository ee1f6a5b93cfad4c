//! Errors and warnings as data: class, subject, location and remedies. The program that shows them phrases the remedies
//! and assigns exit codes: [`Help`] refers to options and commands without spelling them.

use std::fmt;

use camino::Utf8PathBuf;

use super::closed_set::closed_set;
use crate::base::url::without_credentials_in;
use crate::printable::{printable, single_line};

/// Maximum number of findings to keep; fewer are shown.
pub(crate) const MAX_FINDINGS: usize = 1000;

/// Maximum number of findings or warnings to show; the others are counted. Nobody fixes more at once.
const MAX_SHOWN: usize = 50;

/// Maximum number of bytes of a key to keep. Keys can be as long as their file, and each value has its own.
const MAX_KEY: usize = 255;

/// Number of bytes to keep at the beginning of a message, which contains what was found, and at its end, which contains
/// what was wanted.
const KEPT: (usize, usize) = (1_500, 500);

closed_set! {
    /// Class of an error: the kind of problem, independent of the command.
    pub enum Class {
        /// A file operation or something else failed.
        Failure = "failure",
        /// The command line is wrong.
        Usage = "usage",
        /// A file of the configuration or the pins is wrong.
        BadInput = "bad-input",
        /// A tool is missing.
        MissingTool = "missing-tool",
        /// An input or a server is unavailable.
        Unavailable = "unavailable",
        /// An input differs from its pin.
        Mismatch = "mismatch",
        /// The build failed.
        Build = "build",
        /// A tree differs from its manifest.
        DamagedTree = "damaged-tree",
        /// A check failed.
        Check = "check",
        /// A loader did not boot.
        NotBooted = "not-booted",
        /// A rebuild with other tools gives different bytes.
        OtherToolchain = "other-toolchain",
        /// A rebuild with the same tools gives different bytes.
        OtherBytes = "other-bytes",
        /// The user interrupted the command.
        Interrupted = "interrupted",
    }
}

/// Command that a remedy or a published text refers to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subcommand {
    /// Builds the tree.
    BuildLoaders,
    /// Builds the tree and packs its tarball.
    PackTarball,
    /// Accepts the currently linked objects as the baseline.
    UpdateBaseline,
    /// Builds from the named source bundle, without a network.
    BuildFromBundle(String),
    /// Fills the cache.
    Fetch,
    /// Writes a source bundle.
    BundleSources,
    /// Reports what is missing on this machine.
    Doctor,
    /// Installs what is missing on this machine.
    InstallDeps,
    /// Gives this machine the permissions that boot tests need.
    PrepareHost,
    /// Compares the named tree or tarball with its manifest.
    Verify(String),
    /// Boots the loaders of the named tree or tarball.
    BootTest(String),
    /// Lists the test cases of a boot test.
    ListCases,
    /// Rebuilds in a different environment.
    Reproduce,
    /// Rebuilds and compares the result with the named tree or tarball.
    ReproduceAgainst(String),
    /// Records the digests of a toolchain.
    RecordToolchain,
    /// Writes the files of a release.
    Release,
    /// Writes the named recipe to a folder.
    Recipe(String),
    /// Deploys a tree.
    Deploy,
    /// Makes a new key for loaders in the named folder of keys.
    RenewLoaderKey(String),
    /// Prints a page of the book.
    Read(Page),
}

closed_set! {
    /// Page of the book that explains an error, by its topic. Only errors whose page says more than their remedies
    /// name one.
    pub enum Page {
        /// Reading the evidence of a boot test.
        BootTest = "how-to/boot-test",
        /// Inputs without a network, proxies, and certificates for downloads.
        ClosedNetwork = "closed-network",
        /// Files in the way of a deployment.
        Deploy = "how-to/deploy",
        /// Rules for iPXE scripts.
        Lint = "reference/lint",
        /// Versions of a mirror.
        Mirror = "how-to/mirror",
        /// Inputs that differ from their pins.
        PinsAndTrust = "pins-and-trust",
        /// Rebuilds that differ.
        Reproduce = "how-to/reproduce",
        /// Trees that differ from their manifests, or from what make builds.
        VerifyAndInspect = "verify-and-inspect",
    }
}

closed_set! {
    /// Option of the command that failed or warned, under this library's own name.
    pub enum Flag {
        /// Accepts a version that is older than the one in use.
        AllowOlder = "allow-older",
        /// Architecture of the images.
        Arch = "arch",
        /// Packs the tree's tarball.
        Archive = "archive",
        /// Server of a distribution.
        BaseUrl = "base-url",
        /// Cache folder.
        CacheDir = "cache-dir",
        /// Folder of a mirror.
        Dest = "dest",
        /// Installs what is missing.
        InstallDeps = "install-deps",
        /// iPXE repository.
        IpxeUrl = "ipxe-url",
        /// File of results.
        Json = "json",
        /// OpenPGP keys of a publisher.
        Keys = "keys",
        /// Makes only a new key for loaders.
        Leaf = "leaf",
        /// Kind of the links from short names to images.
        Links = "links",
        /// Folder of man pages.
        Man = "man",
        /// Ignores compiler warnings.
        NoWerror = "no-werror",
        /// Folder or file to write.
        Out = "out",
        /// File of the passphrase of keys.
        PassphraseFile = "passphrase-file",
        /// File of a recorded way.
        Record = "record",
        /// Links loaders with larger slots.
        Relink = "relink",
        /// Replaces files of others.
        Replace = "replace",
        /// Folder of a report.
        Report = "report",
        /// Folder of measurements.
        Scratch = "scratch",
        /// File of findings.
        Sarif = "sarif",
        /// iPXE's signed set.
        SecureBootSet = "secure-boot-set",
        /// Keeps the shim of a mirrored release.
        Shim = "shim",
        /// Source bundle.
        SourcesFrom = "sources-from",
        /// SSH client.
        Ssh = "ssh",
        /// Key of the SSH client.
        SshIdentity = "ssh-identity",
        /// syslinux archive.
        SyslinuxArchive = "syslinux-archive",
        /// Version to pin.
        To = "to",
        /// Checks the publisher's signatures.
        VerifySignatures = "verify-signatures",
    }
}

/// Remedy: the next thing to do. Several remedies of one diagnostic are alternatives.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Help {
    /// Action outside of this program, as an imperative sentence.
    Fix(String),
    /// Runs the same command again.
    Again,
    /// Runs the same command again, which resumes where it stopped.
    Resume,
    /// Runs the same command with an option.
    With(Flag),
    /// Runs the same command with an option that has this value.
    WithValue(Flag, String),
    /// Runs the same command without an option.
    Without(Flag),
    /// Runs another command.
    Run(Subcommand),
}

impl From<&str> for Help {
    fn from(text: &str) -> Self {
        Self::Fix(text.to_owned())
    }
}

impl From<String> for Help {
    fn from(text: String) -> Self {
        Self::Fix(text)
    }
}

impl From<Flag> for Help {
    fn from(flag: Flag) -> Self {
        Self::With(flag)
    }
}

impl From<Subcommand> for Help {
    fn from(command: Subcommand) -> Self {
        Self::Run(command)
    }
}

/// Phrasing of remedies and commands, with the program's own name and spelling of options.
pub trait Wording: Sync {
    /// Returns a command line, such as `cargo xtask verify dist/tftp`.
    fn command(&self, command: &Subcommand) -> String;

    /// Returns an imperative sentence without a full stop.
    fn help(&self, help: &Help) -> String;
}

/// Position in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// File, as shown to the user.
    pub file: Utf8PathBuf,
    /// Line, counted from 1; 0 for the whole file.
    pub line: usize,
    /// Full key, such as `site.rack-1.loaders`; empty for none.
    pub key: String,
}

/// Formats the location as the beginning of a message: the file, and if present, the line and the key.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", printable(&self.file))?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if self.key.is_empty() { Ok(()) } else { write!(f, ": `{}`", printable(&self.key)) }
    }
}

impl Location {
    /// Creates a location for `line` of `file`.
    pub fn line(file: impl Into<Utf8PathBuf>, line: usize) -> Self {
        Self { file: file.into(), line, key: String::new() }
    }

    /// Creates a finding at this location; `message` contains what was found and what was wanted. Shortens text from
    /// files, escapes its control characters and hides credentials in addresses.
    pub fn finding(&self, message: impl Into<String>, help: impl Into<Help>) -> Diagnostic {
        let help = match help.into() {
            Help::Fix(text) => Help::Fix(single_line(&shortened(text))),
            help => help,
        };
        let key = short_key(&without_credentials_in(&self.key));
        let message = single_line(&shortened(without_credentials_in(&message.into())));
        Diagnostic { location: Some(Self { key, ..self.clone() }), message, help: vec![help] }
    }
}

/// Warning, or finding in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    /// Location, for a finding in a file.
    pub location: Option<Location>,
    /// Subject, what was found and what was wanted.
    pub message: String,
    /// Remedies.
    pub help: Vec<Help>,
}

impl Diagnostic {
    /// Creates a diagnostic without a location and without a remedy.
    pub fn new(message: impl Into<String>) -> Self {
        Self { location: None, message: message.into(), help: Vec::new() }
    }

    /// Adds another remedy.
    #[must_use]
    pub fn help(mut self, help: impl Into<Help>) -> Self {
        self.help.push(help.into());
        self
    }
}

/// Formats the location and the message.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.location {
            Some(location) => write!(f, "{location}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// All findings in files, ordered by file and line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// Returns the findings to show.
    pub fn shown(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter().take(MAX_SHOWN)
    }

    /// Returns a line that counts the findings that are not shown, if there are any.
    #[must_use]
    pub fn more(&self) -> Option<String> {
        match self.0.len().saturating_sub(MAX_SHOWN) {
            0 => None,
            1 => Some("and one more finding".to_owned()),
            // Above this number, further findings may have been dropped.
            _ if self.0.len() > MAX_FINDINGS => Some("and many more findings".to_owned()),
            more => Some(format!("and {more} more findings")),
        }
    }

    /// Returns the findings with their remedies, as phrased by `wording`.
    #[must_use]
    pub fn words(&self, wording: &dyn Wording) -> String {
        let finding = |finding: &Diagnostic| {
            let remedies = remedies(&finding.help, wording).map(|help| format!("\n  hint: {help}"));
            format!("{finding}{}", remedies.collect::<String>())
        };
        self.shown().map(finding).chain(self.more()).collect::<Vec<_>>().join("\n")
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.shown().map(ToString::to_string).chain(self.more());
        f.write_str(&lines.collect::<Vec<_>>().join("\n"))
    }
}

/// Returns the text of each of `help`; the second and later ones begin with "or".
pub fn remedies(help: &[Help], wording: &dyn Wording) -> impl Iterator<Item = String> {
    help.iter()
        .enumerate()
        .map(|(i, help)| if i == 0 { wording.help(help) } else { format!("or {}", wording.help(help)) })
}

/// Returns the `warnings` to show, followed by one that counts the others.
#[must_use]
pub fn first_warnings(mut warnings: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let more = warnings.len().saturating_sub(MAX_SHOWN);
    warnings.truncate(MAX_SHOWN);
    let counted = match more {
        0 => None,
        1 => Some("there is one more warning".to_owned()),
        more if more >= MAX_FINDINGS - MAX_SHOWN => Some("there are many more warnings".to_owned()),
        more => Some(format!("there are {more} more warnings")),
    };
    warnings.extend(counted.map(Diagnostic::new));
    warnings
}

/// Meaning of an error for the program that shows it; its message is the error's `Display`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// Class.
    pub class: Class,
    /// File, address, loader or server that the error is about.
    pub subject: Option<String>,
    /// Remedies.
    pub help: Vec<Help>,
    /// Page of the book that explains the error.
    pub page: Option<Page>,
    /// Findings, for an error about files of the project.
    pub findings: Option<Diagnostics>,
}

impl From<Class> for Diagnosis {
    fn from(class: Class) -> Self {
        Self { class, subject: None, help: Vec::new(), page: None, findings: None }
    }
}

impl Class {
    /// Creates a diagnosis of this class about `subject`.
    pub fn about(self, subject: impl fmt::Display) -> Diagnosis {
        Diagnosis { subject: Some(printable(&subject.to_string()).to_string()), ..self.into() }
    }

    /// Creates a diagnosis of this class with a remedy.
    pub fn help(self, help: impl Into<Help>) -> Diagnosis {
        Diagnosis::from(self).help(help)
    }
}

impl Diagnosis {
    /// Adds another remedy.
    #[must_use]
    pub fn help(mut self, help: impl Into<Help>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Sets the page that explains the error.
    #[must_use]
    pub fn page(mut self, page: impl Into<Option<Page>>) -> Self {
        self.page = page.into();
        self
    }

    /// Adds a remedy that comes first.
    #[must_use]
    pub fn help_first(mut self, help: impl Into<Help>) -> Self {
        self.help.insert(0, help.into());
        self
    }
}

/// Error that has a class and remedies.
pub trait Diagnose: std::error::Error + 'static {
    /// Returns the class, the subject and the remedies.
    fn diagnosis(&self) -> Diagnosis;
}

impl Diagnose for Diagnostics {
    fn diagnosis(&self) -> Diagnosis {
        Diagnosis { findings: Some(self.clone()), ..Class::BadInput.into() }
    }
}

/// Diagnosis of an operation whose path is unknown.
impl Diagnose for std::io::Error {
    fn diagnosis(&self) -> Diagnosis {
        Class::Failure.into()
    }
}

impl Diagnose for serde_json::Error {
    fn diagnosis(&self) -> Diagnosis {
        Class::Failure.into()
    }
}

impl<E: Diagnose> Diagnose for Box<E> {
    fn diagnosis(&self) -> Diagnosis {
        (**self).diagnosis()
    }
}

/// Returns a key, cut if it is too long to be kept for each value.
pub(crate) fn short_key(key: &str) -> String {
    if key.len() <= MAX_KEY { key.to_owned() } else { format!("{}…", &key[..boundary(key, MAX_KEY)]) }
}

/// Returns `text`, without its middle if a name or value makes it too long to be kept a thousand times.
#[must_use]
pub fn shortened(text: String) -> String {
    let (begin, end) = KEPT;
    if text.len() <= begin + end {
        return text;
    }
    let (head, tail) = (&text[..boundary(&text, begin)], &text[boundary(&text, text.len() - end)..]);
    format!("{head}… ({} bytes) …{tail}", text.len())
}

/// Returns the last character boundary of `text` that is not after `at`.
pub(crate) fn boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default()
}

/// Wording for tests: the text of remedies outside of this program, and the names of options and commands.
#[doc(hidden)]
pub struct PlainWording;

impl Wording for PlainWording {
    fn command(&self, command: &Subcommand) -> String {
        format!("{command:?}")
    }

    fn help(&self, help: &Help) -> String {
        match help {
            Help::Fix(text) => text.clone(),
            help => format!("{help:?}"),
        }
    }
}

/// Returns the message of `error` and its remedies, for tests.
#[doc(hidden)]
pub fn told(error: &dyn Diagnose) -> String {
    let Diagnosis { help, findings, .. } = error.diagnosis();
    let text = findings.map_or_else(|| error.to_string(), |findings| findings.words(&PlainWording));
    let remedies = remedies(&help, &PlainWording).map(|help| format!("\nhint: {help}"));
    text + &remedies.collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_that_was_made_many_times_is_told_fifty_times() {
        let findings = |count| Diagnostics((1..=count).map(finding).collect());
        assert_eq!(findings(50).words(&PlainWording).lines().count(), 100);
        assert!(findings(51).words(&PlainWording).ends_with("\nf:50: no\n  hint: yes\nand one more finding"));
        assert!(findings(51).to_string().ends_with("\nf:50: no\nand one more finding"));
        assert!(findings(100_000).to_string().ends_with("\nf:50: no\nand many more findings"));
        assert!(findings(1_000).to_string().ends_with("\nand 950 more findings"));
        assert_eq!(Diagnostics(vec![finding(0)]).words(&PlainWording), "f: no\n  hint: yes");
    }

    #[test]
    fn of_many_warnings_fifty_are_told() {
        let warnings = |count| first_warnings(vec![Diagnostic::new("w"); count]);
        let last = |count| warnings(count).pop().unwrap().to_string();
        assert_eq!(warnings(1_000).len(), 51);
        assert_eq!(last(50), "w");
        assert_eq!(last(51), "there is one more warning");
        assert_eq!(last(999), "there are 949 more warnings");
        assert_eq!(last(1_001), "there are many more warnings");
    }

    #[test]
    fn an_address_where_none_is_wanted_is_told_without_its_password() {
        let location = Location { file: "f".into(), line: 1, key: "site.http://u:s3cret@h".into() };
        let shown = |message: &str| location.finding(message, "no").to_string();
        assert_eq!(
            shown("found `http://u:s3cret@h/a` and `x=ftp://u:s3cret@h/b c`, wanted a name"),
            "f:1: `site.http://…@h`: found `http://…@h/a` and `x=ftp://…@h/b c`, wanted a name"
        );
        assert!(!shown("there is no script `u//v:s3cret@h`").contains("s3cret"));
        for plain in ["found `me@h`, wanted `//`", "found `http://…@h/a`", "found `a//b`"] {
            assert!(shown(plain).contains(plain));
        }
    }

    #[test]
    fn names_and_values_of_any_length_are_kept_in_part() {
        let location = Location { file: "f".into(), line: 1, key: "ä".repeat(1_000_000) };
        let finding = location.finding(format!("found `{}`, wanted a name", "€".repeat(1_000_000)), "x".repeat(2_000));
        assert_eq!(finding.location.unwrap().key, format!("{}…", "ä".repeat(127)));
        assert!(finding.message.starts_with("found `€€") && finding.message.ends_with("€€`, wanted a name"));
        assert!(finding.message.contains("€… (3000023 bytes) …€"), "{}", finding.message);
        assert!(finding.message.len() < 2_100);
        assert_eq!(finding.help, ["x".repeat(2_000).as_str().into()]);
    }

    #[test]
    fn what_a_file_says_forges_no_remedy() {
        let finding = Location::line("f", 1).finding("found `x\n  hint: run y`", "write `a\nhint: z`");
        let shown = Diagnostics(vec![finding]).words(&PlainWording);
        assert_eq!(shown.lines().count(), 2, "{shown}");
    }

    fn finding(line: usize) -> Diagnostic {
        Location::line("f", line).finding("no", "yes")
    }
}
