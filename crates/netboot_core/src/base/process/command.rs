//! Commands as data, and errors from running them.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use super::environment::ProgramEnvironment;
use super::shell_word::quoted;
use crate::base::diagnostic::{Class, Diagnose, Diagnosis, boundary};
use crate::base::fs;
use crate::base::plural::count;

/// Maximum number of lines at the end of the output that an error shows, and their maximum size together in bytes.
const TAIL: (usize, usize) = (15, 64 << 10);
/// Maximum output of a command that is kept in memory, in bytes. A make that compiles everything prints a few MB.
pub(super) const MAX_OUTPUT: usize = 64 << 20;

/// A command as data: it can be shown, compared and tested without being run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Purpose, as in "compile the BIOS loaders".
    pub purpose: String,
    /// Path of the program, or a name that is looked up in the `PATH` of [`Command::env`].
    pub program: String,
    /// Arguments.
    pub args: Vec<String>,
    /// Complete environment.
    pub env: ProgramEnvironment,
    /// Working directory; `None` for that of this process.
    pub dir: Option<Utf8PathBuf>,
    /// Log file that receives all output, in addition to the caller.
    pub log: Option<Utf8PathBuf>,
    /// Maximum run time.
    pub deadline: Duration,
    /// Whether the command may prompt on the terminal. It then stays in the process group of this process, because the
    /// terminal stops processes of other groups that read from it.
    pub asks: bool,
}

impl Command {
    /// Creates a command for `program` with an empty environment, no arguments and a deadline of one minute.
    pub fn new(purpose: impl Into<String>, program: impl Into<String>) -> Self {
        Self {
            purpose: purpose.into(),
            program: program.into(),
            args: Vec::new(),
            env: ProgramEnvironment::default(),
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

    /// Sets an environment variable to a value that error messages may show.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.set(name, value);
        self
    }

    /// Returns the error for this command after `outcome` and these lines of output.
    pub(super) fn failed(&self, outcome: Outcome, lines: &[String]) -> Error {
        let (most, mut room) = TAIL;
        let mut tail = Vec::new();
        for line in lines.iter().rev().take(most) {
            if room == 0 {
                break;
            }
            let shown = &line[..boundary(line, room)];
            room -= shown.len();
            tail.insert(0, shown.to_owned());
        }
        Error { command: Box::new(self.clone()), outcome, tail }
    }
}

impl fmt::Display for Command {
    /// Formats a line that can be pasted into a shell and does the same thing in the environment of this process. Values
    /// of inherited variables are not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(dir) = &self.dir {
            write!(f, "cd {} && ", quoted(dir.as_str()))?;
        }
        write!(f, "env -i{}", self.env)?;
        for word in std::iter::once(&self.program).chain(&self.args) {
            write!(f, " {}", quoted(word))?;
        }
        Ok(())
    }
}

/// Returns the path of the program `name` as a shell finds it in `path`, a list separated by colons.
#[must_use]
pub fn find_program(name: &str, path: &str) -> Option<Utf8PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    path.split(':').filter(|folder| folder.starts_with('/')).map(|folder| Utf8Path::new(folder).join(name)).find(
        |file| file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0),
    )
}

/// Error from running a command.
#[derive(Debug)]
pub struct Error {
    command: Box<Command>,
    outcome: Outcome,
    /// Last lines of the output.
    pub tail: Vec<String>,
}

impl Error {
    /// Checks whether the program ran to its end but did not succeed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        matches!(self.outcome, Outcome::Failed(_))
    }

    /// Checks whether the system denied this user the permission to start the program.
    #[must_use]
    pub fn is_permission_denied(&self) -> bool {
        matches!(&self.outcome, Outcome::NotStarted(error) if error.kind() == std::io::ErrorKind::PermissionDenied)
    }

    /// Checks whether the program's file is still open for writing. A child that another thread has just started inherits
    /// a file that this process writes, until it runs its own program.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        matches!(&self.outcome, Outcome::NotStarted(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy)
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
