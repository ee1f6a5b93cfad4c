//! Exit codes, and failures as the program reports them.

use std::error::Error;
use std::fmt::Write;

use camino::Utf8PathBuf;
use netboot_loaders::base::diagnostic::{Class, Diagnose, Diagnosis, Diagnostics, Help, Page};
use netboot_loaders::base::fs::unwritable;

/// Exit code of each class, with its description in `--help`.
const TABLE: [(Class, u8, &str); Class::ALL.len()] = [
    (Class::Failure, 1, "a file operation or something else failed"),
    (Class::Usage, 2, "the command line is wrong"),
    (Class::BadInput, 3, "a file of the configuration or the pins is wrong"),
    (Class::MissingTool, 4, "a tool is missing"),
    (Class::Unavailable, 5, "an input or a server is unavailable"),
    (Class::Mismatch, 6, "an input differs from its pin"),
    (Class::Build, 7, "the build failed"),
    (Class::DamagedTree, 8, "a tree differs from its manifest"),
    (Class::Check, 9, "a check failed"),
    (Class::NotBooted, 10, "a loader did not boot"),
    (Class::OtherToolchain, 11, "a rebuild with other tools gives other bytes"),
    (Class::OtherBytes, 12, "a rebuild with the same tools gives other bytes"),
    (Class::Interrupted, 130, "interrupted"),
];

/// Exit code of cargo if it cannot compile the program, and of the program if it panics.
const CARGO: u8 = 101;

/// Returns the exit code of `class`.
pub fn code(class: Class) -> u8 {
    TABLE.iter().find(|(of, ..)| *of == class).map_or(1, |(_, code, _)| *code)
}

/// Returns the section of `--help` about exit codes.
pub fn help() -> String {
    TABLE.iter().fold("Exit codes:\n  0    done".to_owned(), |mut text, (_, code, words)| {
        let _ = write!(text, "\n  {code:<4} {words}");
        text
    })
}

/// Parses an exit code that marks a particular kind of success: 0, or a code that no failure has.
pub fn of_success(text: &str) -> Result<u8, String> {
    match text.parse::<u8>() {
        Err(_) => Err("wanted a number from 0 to 255".into()),
        Ok(number) if number == CARGO || TABLE.iter().any(|(_, code, _)| *code == number) => {
            Err(format!("{number} says that a command failed; 255 does not"))
        }
        Ok(number) => Ok(number),
    }
}

/// Failure of a command, ready for display.
#[derive(Debug)]
pub struct Failure {
    /// Message with its causes; if there are findings, the text of [`Diagnosis::findings`] is shown instead.
    pub message: String,
    /// Class, subject, remedies and findings.
    pub diagnosis: Box<Diagnosis>,
    /// Path that cannot be written, and whether its file system is full.
    pub unwritable: Option<(Utf8PathBuf, bool)>,
}

impl Failure {
    /// Creates a failure with a message of this program.
    pub fn new(class: Class, message: impl Into<String>) -> Self {
        Self { message: message.into(), diagnosis: Box::new(class.into()), unwritable: None }
    }

    /// Creates the failure of a command that the user has interrupted.
    pub fn interrupted() -> Self {
        Self::new(Class::Interrupted, "interrupted")
    }

    /// Adds a remedy.
    pub fn help(mut self, help: impl Into<Help>) -> Self {
        self.diagnosis.help.push(help.into());
        self
    }

    /// Sets the page that explains the failure.
    pub fn page(mut self, page: Page) -> Self {
        self.diagnosis.page = Some(page);
        self
    }

    /// Creates a failure with the text of `error` and all its causes.
    pub fn of(error: &(dyn Error + 'static), diagnosis: Diagnosis) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            message += &format!("\n  caused by: {error}");
            cause = error.source();
        }
        let unwritable = unwritable(error).map(|found| (found.path.clone(), found.full));
        Self { message, diagnosis: Box::new(diagnosis), unwritable }
    }

    /// Returns the class.
    pub fn class(&self) -> Class {
        self.diagnosis.class
    }

    /// Returns the findings, if the failure is about files of the project.
    pub fn findings(&self) -> Option<&Diagnostics> {
        self.diagnosis.findings.as_ref()
    }
}

impl<E: Diagnose> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::of(&error, error.diagnosis())
    }
}

#[cfg(test)]
mod tests {
    use netboot_loaders::build::{self, baseline};
    use netboot_loaders::fetch::origins::FetchError;
    use netboot_loaders::fetch::{ipxe, source_bundle, syslinux};
    use netboot_loaders::tree::verify;
    use netboot_loaders::{build_loaders, toolchain};

    use super::*;

    #[test]
    fn each_class_has_a_code_of_its_own() {
        let mut codes = Class::ALL.map(code).to_vec();
        assert_eq!(TABLE.map(|(class, ..)| class), Class::ALL);
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Class::ALL.len());
    }

    #[test]
    fn the_book_has_each_code() {
        let page = include_str!("../../docs/src/reference/exit-codes.md");
        for (class, code, words) in TABLE {
            let row = format!("| {code} | `{}` | {words}", class.as_str());
            assert_eq!(page.lines().filter(|line| line.starts_with(&row)).count(), 1, "{row}");
        }
    }

    /// The others are of this program alone: wrong command lines, machines that do not boot, rebuilds that differ.
    #[test]
    fn the_library_gives_each_of_its_classes() {
        let interrupted = build_loaders::Error::Cancelled;
        let errors: [(&dyn Diagnose, Class); 9] = [
            (&std::io::Error::from(std::io::ErrorKind::NotFound), Class::Failure),
            (&Diagnostics(Vec::new()), Class::BadInput),
            (&toolchain::Error::Missing { missing: Vec::new(), install: Vec::new() }, Class::MissingTool),
            (&FetchError::Bundle(source_bundle::Error::NoMember("x".into())), Class::Unavailable),
            (&syslinux::Error::SizeMismatch { member: "x".into(), found: 1, wanted: 2 }, Class::Mismatch),
            (&build::Error::Unexpected { target: "x".into(), problem: "y".into(), log: "z".into() }, Class::Build),
            (&verify::Error::NoManifest("x".into()), Class::DamagedTree),
            (&baseline::Error::Drift { drifts: Vec::new() }, Class::Check),
            (&interrupted, Class::Interrupted),
        ];
        for (error, class) in errors {
            assert_eq!(error.diagnosis().class, class, "{error}");
        }
    }

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
    fn an_error_of_a_fetch_has_the_same_class_within_a_build_and_alone() {
        use build_loaders::Error;
        let full = || netboot_loaders::base::fs::Error::new("read", "/x", std::io::ErrorKind::StorageFull.into());
        let mismatch = || ipxe::Error::Mismatch { what: "tree", found: String::new(), wanted: String::new() };
        let errors: [(&dyn Fn() -> FetchError, Class); 4] = [
            (&|| FetchError::Ipxe(mismatch()), Class::Mismatch),
            (&|| FetchError::Bundle(source_bundle::Error::NoMember("x".into())), Class::Unavailable),
            (&|| FetchError::Fs(full()), Class::Failure),
            (&|| FetchError::Cancelled, Class::Interrupted),
        ];
        for (error, class) in errors {
            let (alone, within) = (Error::from(error()), Error::Build(error().into()));
            assert_eq!((alone.diagnosis().class, within.diagnosis().class), (class, class), "{alone}");
        }
    }

    #[test]
    fn causes_are_told_and_remedies_stand_apart() {
        let io = std::io::Error::from(std::io::ErrorKind::NotADirectory);
        let failure = Failure::from(netboot_loaders::base::fs::Error::new("create", "x", io));
        assert!(failure.message.starts_with("cannot create `x`\n  caused by: "), "{}", failure.message);
        assert_eq!((failure.diagnosis.help.len(), failure.diagnosis.subject.as_deref()), (1, Some("x")));
    }
}
