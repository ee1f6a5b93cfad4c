//! A command as data, and why one did not succeed.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use crate::base::diagnostic::{Class, Diagnose, Diagnosis};
use crate::base::fs;
use crate::base::plural::count;

/// How many of the last lines of output an error shows.
const TAIL_LINES: usize = 15;
/// The most output of a command that is kept, in bytes of memory. A make that compiles everything has a few MB.
pub(super) const MAX_OUTPUT: usize = 64 << 20;

/// A command as data: it can be shown, compared and tested without being run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// What it is run for, as in "compile the BIOS loaders".
    pub purpose: String,
    /// The program, by path or by a name that is looked up in `PATH` of [`Command::env`].
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its whole environment.
    pub env: Vec<(String, String)>,
    /// The folder it runs in; this process's own where `None`.
    pub dir: Option<Utf8PathBuf>,
    /// Where all output goes, besides to the caller.
    pub log: Option<Utf8PathBuf>,
    /// How long it may take.
    pub deadline: Duration,
    /// Whether it may ask on the terminal. It stays in this process's group then, because the terminal stops
    /// whatever of another group reads from it.
    pub asks: bool,
}

impl Command {
    /// A command of `program` with an empty environment, no arguments and a deadline of a minute.
    pub fn new(purpose: impl Into<String>, program: impl Into<String>) -> Self {
        Self {
            purpose: purpose.into(),
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            dir: None,
            log: None,
            deadline: Duration::from_secs(60),
            asks: false,
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// This command as one that came to `outcome`, after these lines of output.
    pub(super) fn failed(&self, outcome: Outcome, lines: &[String]) -> Error {
        let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].to_vec();
        Error { command: Box::new(self.clone()), outcome, tail }
    }
}

impl fmt::Display for Command {
    /// A line to paste into a shell: it does the same thing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(dir) = &self.dir {
            write!(f, "cd {} && ", quoted(dir.as_str()))?;
        }
        write!(f, "env -i")?;
        for (name, value) in &self.env {
            write!(f, " {name}={}", quoted(value))?;
        }
        for word in std::iter::once(&self.program).chain(&self.args) {
            write!(f, " {}", quoted(word))?;
        }
        Ok(())
    }
}

/// `word` as a shell takes it for one word.
#[must_use]
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// The path of `name` as a shell would find it in `path`, a list separated by colons.
#[must_use]
pub fn find_program(name: &str, path: &str) -> Option<Utf8PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    path.split(':').filter(|folder| folder.starts_with('/')).map(|folder| Utf8Path::new(folder).join(name)).find(
        |file| file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0),
    )
}

/// A command that did not succeed.
#[derive(Debug)]
pub struct Error {
    command: Box<Command>,
    outcome: Outcome,
    /// The last lines of its output.
    pub tail: Vec<String>,
}

impl Error {
    /// Whether the program ran to its end, and did not succeed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        matches!(self.outcome, Outcome::Failed(_))
    }

    /// Whether the system did not let this user start the program.
    #[must_use]
    pub fn is_permission_denied(&self) -> bool {
        matches!(&self.outcome, Outcome::NotStarted(error) if error.kind() == std::io::ErrorKind::PermissionDenied)
    }
}

#[derive(Debug)]
pub(super) enum Outcome {
    NotStarted(std::io::Error),
    Failed(ExitStatus),
    TooLong,
    TooMuch,
    Cancelled,
    Log(fs::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let command = &self.command;
        write!(f, "cannot {}: `{}` ", command.purpose, command.program)?;
        match &self.outcome {
            Outcome::NotStarted(_) => write!(f, "did not start")?,
            Outcome::Failed(status) => match (status.code(), status.signal()) {
                (Some(code), _) => write!(f, "ended with exit code {code}")?,
                (None, Some(signal)) => write!(f, "was ended by signal {signal}")?,
                (None, None) => write!(f, "failed")?,
            },
            Outcome::TooLong => {
                write!(f, "took longer than {} and was ended", count(command.deadline.as_secs(), "second"))?;
            }
            Outcome::TooMuch => write!(f, "wrote more than {} MiB and was ended", MAX_OUTPUT >> 20)?,
            Outcome::Cancelled => write!(f, "was interrupted")?,
            Outcome::Log(_) => write!(f, "was ended because its log cannot be kept")?,
        }
        for line in &self.tail {
            write!(f, "\n  | {line}")?;
        }
        write!(f, "\n  command: {command}")?;
        if let Some(log) = &command.log {
            write!(f, "\n  log: {log}")?;
        }
        Ok(())
    }
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        let class = if matches!(self.outcome, Outcome::Cancelled) { Class::Interrupted } else { Class::Failure };
        class.about(&self.command.program)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.outcome {
            Outcome::NotStarted(error) => Some(error),
            Outcome::Log(error) => Some(error),
            Outcome::Failed(_) | Outcome::TooLong | Outcome::TooMuch | Outcome::Cancelled => None,
        }
    }
}
