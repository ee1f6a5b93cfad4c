//! The only module that starts programs.
//!
//! Every command runs with exactly the environment that it names, in a process group of its own (but for
//! one that has to ask on the terminal), with a deadline; it ends when this process ends, and its output can be
//! kept in a log file.

mod running;

use crate::plural::count;
use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

pub use self::running::{Running, Streams};
use crate::fs;
use crate::progress::Progress;

/// How many of the last lines of output an error shows.
const TAIL_LINES: usize = 15;
/// The most output of a command that is kept, in bytes of memory. A make that compiles everything has a few MB.
const MAX_OUTPUT: usize = 64 << 20;

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

    /// Runs to the end, handing each line of output (standard output and standard error as one
    /// stream) to `on_line`, and returns all of them.
    ///
    /// # Errors
    ///
    /// [`Error`] where it cannot be started, fails, takes too long or is cancelled. All that it
    /// started has been told to end by then.
    pub fn run(&self, progress: &dyn Progress, on_line: &mut dyn FnMut(&str)) -> Result<Vec<String>, Error> {
        let mut lines = Vec::new();
        match running::follow(self, progress, on_line, &mut lines) {
            Ok(status) if status.success() => Ok(lines),
            Ok(status) => Err(self.failed(Outcome::Failed(status), &lines)),
            Err(outcome) => Err(self.failed(outcome, &lines)),
        }
    }

    /// Starts it and leaves it running: a server, a machine. The deadline does not count, and nothing
    /// goes to the log.
    ///
    /// # Errors
    ///
    /// [`Error`] where it cannot be started.
    pub fn start(&self, streams: Streams) -> Result<Running, Error> {
        Running::start(self, streams).map_err(|error| self.failed(Outcome::NotStarted(error), &[]))
    }

    fn failed(&self, outcome: Outcome, lines: &[String]) -> Error {
        let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].to_vec();
        Error { command: Box::new(self.clone()), outcome, tail }
    }

    /// Runs to the end and returns the lines of output.
    ///
    /// # Errors
    ///
    /// As [`Command::run`].
    pub fn output(&self, progress: &dyn Progress) -> Result<Vec<String>, Error> {
        self.run(progress, &mut |_| {})
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
enum Outcome {
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

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.outcome {
            Outcome::NotStarted(error) => Some(error),
            Outcome::Log(error) => Some(error),
            Outcome::Failed(_) | Outcome::TooLong | Outcome::TooMuch | Outcome::Cancelled => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::progress::{Event, Silent};

    fn shell(script: &str) -> Command {
        Command::new("try", "sh").args(["-c", script]).env("PATH", "/usr/bin:/bin")
    }

    #[test]
    fn a_command_shows_what_to_paste() {
        let mut command = shell("echo $A").env("A", "it's");
        command.dir = Some("/tmp/x y".into());
        assert_eq!(command.to_string(), r"cd '/tmp/x y' && env -i PATH=/usr/bin:/bin A='it'\''s' sh -c 'echo $A'");
    }

    #[test]
    fn output_is_one_stream_and_the_environment_is_what_was_said() {
        let lines = shell("echo a; echo b >&2; env | grep -c HOME; true").output(&Silent).unwrap();
        assert_eq!(lines, ["a", "b", "0"]);
    }

    #[test]
    fn a_failure_tells_all() {
        let error = shell("echo last words; exit 3").output(&Silent).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot try: `sh` ended with exit code 3\n  | last words\n  command: env -i PATH=/usr/bin:/bin sh -c 'echo last words; exit 3'"
        );
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = Command::new("try", "/nowhere/make").output(&Silent).unwrap_err();
        assert_eq!(error.to_string(), "cannot try: `/nowhere/make` did not start\n  command: env -i /nowhere/make");
    }

    #[test]
    fn a_deadline_ends_the_whole_group() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        let mut command = shell(&format!("sleep 1000 & echo $! > {}; wait", pid.display()));
        command.deadline = Duration::from_millis(300);
        let error = command.output(&Silent).unwrap_err();
        assert!(error.to_string().contains("took longer than 0 seconds and was ended"), "{error}");
        assert_ends(&pid);
    }

    #[test]
    fn a_command_that_writes_without_end_is_ended() {
        for (script, last) in [("yes", "y"), ("cat /dev/zero | tr '\\0' x", "x")] {
            let error = shell(script).output(&Silent).unwrap_err();
            let text = error.to_string();
            assert!(text.starts_with("cannot try: `sh` wrote more than 64 MiB and was ended\n"), "{}", &text[..99]);
            assert!(error.tail.iter().all(|line| line.starts_with(last) && line.len() <= 1 << 20), "{last}");
        }
    }

    #[test]
    fn cancelling_ends_the_whole_group() {
        struct Now;
        impl Progress for Now {
            fn report(&self, _: &Event) {}
            fn cancelled(&self) -> bool {
                true
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        let error = shell(&format!("sleep 1000 & echo $! > {}; echo; wait", pid.display())).output(&Now).unwrap_err();
        assert!(error.to_string().starts_with("cannot try: `sh` was interrupted"), "{error}");
        if pid.exists() {
            assert_ends(&pid);
        }
    }

    /// The grandchild whose number is in `file` is gone, or goes within seconds.
    fn assert_ends(file: &std::path::Path) {
        let number = std::fs::read_to_string(file).unwrap();
        let stat = format!("/proc/{}/stat", number.trim());
        let gone = || std::fs::read_to_string(&stat).map_or(true, |text| text.contains(") Z "));
        let patience = Instant::now();
        while !gone() {
            assert!(patience.elapsed() < Duration::from_secs(10), "process {number} is still there");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
