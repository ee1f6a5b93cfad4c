//! Exit codes, and which failure gets which.

use std::error::Error;

use camino::Utf8PathBuf;
use netboot_loaders::base::fs::unwritable;
use netboot_loaders::build::{self, baseline};
use netboot_loaders::config::{self, pins};
use netboot_loaders::fetch::{archive, download, git, ipxe, source_bundle, syslinux};
use netboot_loaders::mirror::{self, metadata, signature, store, transfer};
use netboot_loaders::publish::exchange;
use netboot_loaders::tree::{self, open};
use netboot_loaders::{boot_test, build_loaders, clean, deploy, release, reproduce, toolchain, update};

/// What `--help` says of them.
pub const HELP: &str = "\
Exit codes:
  0    done
  1    a file operation or something else failed
  2    the command line is wrong
  3    a file of choices or pins is wrong
  4    a tool is missing
  5    an input cannot be had, or a server not be reached
  6    an input is not what is pinned
  7    the build failed
  8    a tree is not what its manifest says
  9    a check failed
  10   a loader did not boot
  11   a rebuild gives other bytes, with other tools
  12   a rebuild gives other bytes, with the same tools
  130  interrupted";

/// Something else failed.
pub const FAILURE: u8 = 1;
/// The command line is wrong.
pub const USAGE: u8 = 2;
/// A file of choices or pins is wrong.
pub const BAD_INPUT: u8 = 3;
/// A tool is missing.
pub const MISSING_TOOL: u8 = 4;
/// An input cannot be had, or a server not be reached.
pub const UNAVAILABLE: u8 = 5;
/// An input is not what is pinned.
pub const MISMATCH: u8 = 6;
/// The build failed.
pub const BUILD: u8 = 7;
/// A tree is not what its manifest says.
pub const DIFFERENT: u8 = 8;
/// A check failed.
pub const CHECK: u8 = 9;
/// A loader did not boot.
pub const NOT_BOOTED: u8 = 10;
/// A rebuild gives other bytes, with other tools.
pub const OTHER_TOOLCHAIN: u8 = 11;
/// A rebuild gives other bytes, with the same tools.
pub const OTHER_BYTES: u8 = 12;
/// Interrupted.
pub const INTERRUPTED: u8 = 130;

/// The codes of commands that failed.
const TAKEN: std::ops::RangeInclusive<u8> = FAILURE..=OTHER_BYTES;
/// What cargo ends with where it cannot compile the program, and the program where it panics.
const CARGO: u8 = 101;

/// An exit code for a success that is to be told from others: 0, or one that no failure has.
pub fn of_success(text: &str) -> Result<u8, String> {
    match text.parse::<u8>() {
        Err(_) => Err("wanted a number from 0 to 255".into()),
        Ok(code) if TAKEN.contains(&code) || [CARGO, INTERRUPTED].contains(&code) => {
            Err(format!("{code} says that a command failed; 255 does not"))
        }
        Ok(code) => Ok(code),
    }
}

/// Why a command failed, ready to be shown.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// The message without hints, with its causes.
    pub message: String,
    /// What to do, one remedy each.
    pub hints: Vec<String>,
    /// The path that cannot be written, and whether its file system is full.
    pub unwritable: Option<(Utf8PathBuf, bool)>,
}

impl Failure {
    /// A failure with `code`; lines of `text` that start with `hint:` are its hints.
    pub fn new(code: u8, text: &str) -> Self {
        let (hints, message): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with("hint: "));
        let hints = hints.iter().map(|line| line.trim_start_matches("hint: ").to_owned()).collect();
        Self { code, message: message.join("\n"), hints, unwritable: None }
    }

    /// A failure with `code` and the text of `error` and all its causes.
    pub fn of(code: u8, error: &(dyn Error + 'static)) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text += &format!("\n  caused by: {error}");
            cause = error.source();
        }
        let unwritable = unwritable(error).map(|found| (found.path.clone(), found.full));
        Self { unwritable, ..Self::new(code, &text) }
    }
}

impl From<build_loaders::Error> for Failure {
    fn from(error: build_loaders::Error) -> Self {
        Self::of(build_code(&error), &error)
    }
}

impl From<reproduce::Error> for Failure {
    fn from(error: reproduce::Error) -> Self {
        use reproduce::{Error as E, published::Error as P, rebuild::Error as R};
        let code = match &error {
            E::Build { error, .. } => match &**error {
                R::Build(error) => make_code(error),
                R::Cancelled => INTERRUPTED,
                R::Stamping(_) | R::Fs(_) => FAILURE,
            },
            E::Published(P::Download(download::Error::Fs(_)) | P::Fs(_)) | E::Fs(_) => FAILURE,
            E::Published(P::NotThere(_) | P::Offline(_) | P::Download(_)) => UNAVAILABLE,
            E::Published(P::Tree(error)) => checked_code(error),
            E::Published(P::NotAManifest { .. }) => DIFFERENT,
        };
        Self::of(code, &error)
    }
}

impl From<release::Error> for Failure {
    fn from(error: release::Error) -> Self {
        use release::Error as E;
        let code = match &error {
            E::Bundle(error) => bundle_code(error),
            E::Different { .. } | E::Verify(_) => DIFFERENT,
            E::Occupied { .. } | E::Fs(_) => FAILURE,
            E::Cancelled => INTERRUPTED,
        };
        Self::of(code, &error)
    }
}

fn build_code(error: &build_loaders::Error) -> u8 {
    use build_loaders::Error as E;
    match error {
        E::Pins(error) => pins_code(error),
        E::Sites(_) | E::TooLarge(_) | E::KnownToolchains(_) => BAD_INPUT,
        E::Toolchain(toolchain::Error::Missing { .. }) => MISSING_TOOL,
        E::Ipxe(error) => ipxe_code(error),
        E::Syslinux(error) => syslinux_code(error),
        E::Bundle(error) => bundle_code(error),
        E::Build(error) => make_code(error),
        E::Publish(exchange::Error::Cancelled) | E::Toolchain(toolchain::Error::Cancelled) | E::Cancelled => {
            INTERRUPTED
        }
        E::Baseline(baseline::Error::Drift { .. }) => CHECK,
        E::Baseline(_) | E::Stamping(_) | E::Publish(_) | E::Toolchain(_) | E::Fs(_) => FAILURE,
    }
}

fn pins_code(error: &pins::Error) -> u8 {
    match error {
        pins::Error::Findings(_) => BAD_INPUT,
        pins::Error::Fs(_) => FAILURE,
    }
}

fn make_code(error: &build::Error) -> u8 {
    use build::Error as E;
    match error {
        E::UnknownHeader { .. } => BAD_INPUT,
        E::Source(error) => ipxe_code(error),
        E::Bundle(error) => bundle_code(error),
        E::Cancelled => INTERRUPTED,
        E::Make { .. } | E::Unexpected { .. } | E::NoBase { .. } => BUILD,
        E::UnusablePath(_) | E::Fs(_) => FAILURE,
    }
}

impl From<clean::Error> for Failure {
    fn from(error: clean::Error) -> Self {
        use clean::Error as E;
        let code = match &error {
            E::Cancelled => INTERRUPTED,
            E::TooMuch(_) | E::Fs(_) => FAILURE,
        };
        Self::of(code, &error)
    }
}

impl From<update::Error> for Failure {
    fn from(error: update::Error) -> Self {
        use update::Error as E;
        let code = match &error {
            E::Pins(_) | E::NoArchive | E::BadVersion(_) => BAD_INPUT,
            E::Offline(_) | E::NoRelease(_) | E::UnknownRef { .. } | E::UnknownCommit { .. } | E::Ambiguous { .. } => {
                UNAVAILABLE
            }
            E::Git(error) => git_code(error),
            E::Ipxe(error) => ipxe_code(error),
            E::Syslinux(error) => syslinux_code(error),
            E::Cancelled => INTERRUPTED,
            E::History { .. } | E::Older { .. } | E::Unfit { .. } | E::Fs(_) => FAILURE,
        };
        Self::of(code, &error)
    }
}

impl From<mirror::Error> for Failure {
    fn from(error: mirror::Error) -> Self {
        use download::Error as D;
        use metadata::Error as M;
        use mirror::Error as E;
        use transfer::Error as T;
        let code = match &error {
            E::Store(store::Error::Cancelled) => INTERRUPTED,
            E::Metadata(M::Download(D::Fs(_)) | M::Fs(_))
            | E::Transfer(T::Download(D::Fs(_)) | T::Fs(_))
            | E::Store(_) => FAILURE,
            E::Metadata(_) | E::Transfer(T::Download(_)) => UNAVAILABLE,
            E::Older { .. } | E::Transfer(T::Mismatch { .. }) => MISMATCH,
            E::Transfer(T::Signature(error)) => signature_code(error),
        };
        Self::of(code, &error)
    }
}

impl From<deploy::Error> for Failure {
    fn from(error: deploy::Error) -> Self {
        use deploy::{Error as E, remote, sftp::ssh};
        let code = match &error {
            E::Remote(remote::Error::Connect(ssh::Error::NotStarted { .. })) => MISSING_TOOL,
            E::Remote(remote::Error::Connect(ssh::Error::Cancelled) | remote::Error::Cancelled) | E::Cancelled => {
                INTERRUPTED
            }
            E::Remote(
                remote::Error::Connect(_)
                | remote::Error::Lost { .. }
                | remote::Error::NotSftp { .. }
                | remote::Error::Slow(_),
            )
            | E::Lost { .. } => UNAVAILABLE,
            E::ReadBackMismatch { .. } => DIFFERENT,
            E::Remote(remote::Error::Refused { .. })
            | E::UnmanagedFiles { .. }
            | E::ForeignManifest { .. }
            | E::Obstacle(_)
            | E::Changed(_)
            | E::Inside(_)
            | E::ConcurrentDeploy(_)
            | E::Lock(_)
            | E::TooLong(_)
            | E::TargetIsTree(_) => FAILURE,
        };
        Self::of(code, &error)
    }
}

impl From<signature::Error> for Failure {
    fn from(error: signature::Error) -> Self {
        Self::of(signature_code(&error), &error)
    }
}

fn signature_code(error: &signature::Error) -> u8 {
    use signature::Error as E;
    match error {
        E::NoGpgv(_) => MISSING_TOOL,
        E::NotPinned(_) | E::NoKeys { .. } => BAD_INPUT,
        E::None(_) => UNAVAILABLE,
        E::Bad { .. } => MISMATCH,
        E::Process(_) | E::Fs(_) => FAILURE,
    }
}

impl From<boot_test::Error> for Failure {
    fn from(error: boot_test::Error) -> Self {
        use boot_test::{Error as E, run_case};
        let code = match &error {
            E::Tree(error) => checked_code(error),
            E::NoCase { .. } => BAD_INPUT,
            E::Case(run_case::Error::Cancelled) => INTERRUPTED,
            E::Changed(_) | E::Case(_) | E::NotAReport(_) | E::Fs(_) => FAILURE,
        };
        Self::of(code, &error)
    }
}

impl From<open::Error> for Failure {
    fn from(error: open::Error) -> Self {
        Self::of(checked_code(&error), &error)
    }
}

fn checked_code(error: &open::Error) -> u8 {
    use open::Error as E;
    match error {
        E::Verify(tree::verify::Error::Fs(_)) | E::Fs(_) | E::Unpack { .. } => FAILURE,
        E::Verify(_) | E::Different { .. } | E::Changed(_) | E::Tarball(_) => DIFFERENT,
    }
}

fn ipxe_code(error: &ipxe::Error) -> u8 {
    match error {
        ipxe::Error::Git(error) => git_code(error),
        ipxe::Error::Offline { .. } => UNAVAILABLE,
        ipxe::Error::Mismatch { .. } => MISMATCH,
        ipxe::Error::Patch { .. } => BAD_INPUT,
        ipxe::Error::Fs(_) => FAILURE,
        ipxe::Error::Cancelled => INTERRUPTED,
    }
}

fn git_code(error: &git::Error) -> u8 {
    match error {
        git::Error::Fetch { .. } | git::Error::NoCommit { .. } => UNAVAILABLE,
        git::Error::Cancelled { .. } => INTERRUPTED,
        git::Error::Cache { .. } | git::Error::Fs(_) => FAILURE,
    }
}

fn bundle_code(error: &source_bundle::Error) -> u8 {
    use source_bundle::Error as E;
    match error {
        E::Ipxe(error) => ipxe_code(error),
        E::NoMember(_) => UNAVAILABLE,
        E::PrivateKey(..) => BAD_INPUT,
        E::NotABundle { .. } | E::Mismatch { .. } => MISMATCH,
        E::Cancelled => INTERRUPTED,
        E::Git(error) => git_code(error),
        E::Fs(_) => FAILURE,
    }
}

fn syslinux_code(error: &syslinux::Error) -> u8 {
    use syslinux::Error as E;
    match error {
        E::Archive(archive::Error::Fs(_)) | E::Download(download::Error::Fs(_)) | E::Fs(_) => FAILURE,
        E::Offline { .. } | E::NoArchive(_) | E::Download(_) => UNAVAILABLE,
        E::ArchiveMismatch { .. } | E::MemberMismatch { .. } | E::SizeMismatch { .. } | E::Archive(_) => MISMATCH,
    }
}

impl From<pins::Error> for Failure {
    fn from(error: pins::Error) -> Self {
        Self::of(pins_code(&error), &error)
    }
}

macro_rules! failure_from {
    ($($error:ty => $code:expr),+ $(,)?) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::of($code, &error)
            }
        }
    )+};
}

failure_from! {
    boot_test::dhcp::Error => FAILURE,
    boot_test::machine::Error => FAILURE,
    boot_test::namespace::Error => FAILURE,
    boot_test::network::Unfit => BAD_INPUT,
    config::network::Error => BAD_INPUT,
    config::toml::Diagnostics => BAD_INPUT,
    netboot_loaders::base::fs::Error => FAILURE,
    netboot_loaders::base::process::Error => FAILURE,
    netboot_loaders::base::http::BadProxy => BAD_INPUT,
    netboot_loaders::tree::enclosing::InsideTree => FAILURE,
    serde_json::Error => FAILURE,
    xshell::Error => FAILURE,
    std::io::Error => FAILURE,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_failure_is_taken_for_a_success() {
        assert_eq!([of_success("0"), of_success("13"), of_success("255")], [Ok(0), Ok(13), Ok(255)]);
        for failure in ["1", "12", "101", "130"] {
            let error = format!("{failure} says that a command failed; 255 does not");
            assert_eq!(of_success(failure).unwrap_err(), error);
        }
        assert_eq!(of_success("256").unwrap_err(), "wanted a number from 0 to 255");
    }

    #[test]
    fn an_error_of_a_fetch_has_the_same_code_within_a_build_and_alone() {
        use build_loaders::Error;
        use netboot_loaders::fetch::origins::FetchError as F;
        let full = || netboot_loaders::base::fs::Error::new("read", "/x", std::io::ErrorKind::StorageFull.into());
        let mismatch = || ipxe::Error::Mismatch { what: "tree", found: String::new(), wanted: String::new() };
        let errors: [(&dyn Fn() -> F, u8); 4] = [
            (&|| F::Ipxe(mismatch()), MISMATCH),
            (&|| F::Bundle(source_bundle::Error::NoMember("x".into())), UNAVAILABLE),
            (&|| F::Fs(full()), FAILURE),
            (&|| F::Cancelled, INTERRUPTED),
        ];
        for (error, code) in errors {
            let (alone, within) = (Error::from(error()), Error::Build(error().into()));
            assert_eq!((build_code(&alone), build_code(&within)), (code, code), "{alone}");
        }
    }

    #[test]
    fn hints_come_last_wherever_they_stood() {
        let failure = Failure::new(1, "cannot read `x`\nhint: look\n  caused by: gone");
        assert_eq!(failure.message, "cannot read `x`\n  caused by: gone");
        assert_eq!(failure.hints, ["look"]);
    }
}
