//! Running programs, which end with this process. Each has its own session, in which there is no terminal to prompt on,
//! unless it is meant to prompt.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::ExitStatus;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use rustix::process::{
    Pid, Resource, Rlimit, Signal, kill_process, kill_process_group, prlimit, set_parent_process_death_signal, setsid,
};

use super::command::{Command, Error, MAX_OUTPUT, Outcome};
use crate::base::diagnostic::boundary;
use crate::base::fs;
use crate::base::progress::Progress;

/// Time that a terminated process group has to end before it is killed.
const GRACE: Duration = Duration::from_millis(700);
/// Time that a program has to end after its output has ended.
const SETTLING: Duration = Duration::from_secs(2);
/// Maximum length of a line of a program that runs to its end, in bytes, as read and as text. A longer line counts as
/// several. Butane writes a file that it embeds as one line.
const MAX_LINE: usize = 1 << 20;
/// The same for a program that is left running, whose lines are log messages.
const MAX_MESSAGE: usize = 16 << 10;
/// Memory that a kept line takes in addition to its text, in bytes.
const OVERHEAD: usize = 64;
/// Maximum number of lines in the queue; the program waits until there is room.
const WAITING: usize = 16;
/// Maximum number of first lines that are kept of a program's messages, and their maximum size together in bytes.
const FIRST: (usize, usize) = (200, 64 << 10);

/// Replacements for a program's standard input and output. By default, input is empty, and output is read as lines,
/// together with standard error.
#[derive(Debug, Default)]
pub struct Streams {
    /// Standard input.
    pub input: Option<OwnedFd>,
    /// Standard output.
    pub output: Option<OwnedFd>,
}

/// A running process group, which is terminated when dropped.
#[derive(Debug)]
pub struct Running {
    reader: Arc<duct::ReaderHandle>,
    own_group: bool,
    ended: bool,
}

impl Command {
    /// Runs the command to its end, passes each line of output (standard output and standard error as one stream) to
    /// `on_line`, and returns all lines.
    ///
    /// # Errors
    ///
    /// [`Error`] if the command cannot be started, fails, takes too long, writes too much or is cancelled. By then, all
    /// processes that it started have been signalled to end.
    pub fn run(&self, progress: &dyn Progress, on_line: &mut dyn FnMut(&str)) -> Result<Vec<String>, Error> {
        let mut lines = Vec::new();
        match follow(self, progress, on_line, &mut lines) {
            Ok(status) if status.success() => Ok(lines),
            Ok(status) => Err(self.failed(Outcome::Failed(status), &lines)),
            Err(outcome) => Err(self.failed(outcome, &lines)),
        }
    }

    /// Starts the command and leaves it running, as for a server or a virtual machine. The deadline does not apply, and
    /// nothing is written to the log.
    ///
    /// # Errors
    ///
    /// [`Error`] if the command cannot be started.
    pub fn start(&self, streams: Streams) -> Result<Running, Error> {
        Running::start(self, streams).map_err(|error| self.failed(Outcome::NotStarted(error), &[]))
    }

    /// Runs the command to its end and returns the lines of output.
    ///
    /// # Errors
    ///
    /// As for [`Command::run`].
    pub fn output(&self, progress: &dyn Progress) -> Result<Vec<String>, Error> {
        self.run(progress, &mut |_| {})
    }
}

/// Runs `command` and reads its output until it ends.
fn follow(
    command: &Command,
    progress: &dyn Progress,
    on_line: &mut dyn FnMut(&str),
    lines: &mut Vec<String>,
) -> Result<ExitStatus, Outcome> {
    let log = |action, error| Outcome::Log(fs::Error::new(action, command.log.clone().unwrap_or_default(), error));
    let create = |path: &Utf8PathBuf| std::fs::File::create(path).map_err(|error| log("create the log", error));
    let mut file = command.log.as_ref().map(create).transpose()?;
    let mut running = Running::start(command, Streams::default()).map_err(Outcome::NotStarted)?;
    let receiver = running.lines();
    let (started, mut size) = (Instant::now(), 0);
    loop {
        match receive(&receiver) {
            Ok(line) => {
                size += line.len() + OVERHEAD;
                if size > MAX_OUTPUT {
                    return Err(Outcome::TooMuch);
                }
                if let Some(file) = &mut file {
                    writeln!(file, "{line}").map_err(|error| log("write the log", error))?;
                }
                on_line(&line);
                lines.push(line);
            }
            Err(RecvTimeoutError::Disconnected) => return running.settled().ok_or(Outcome::Cancelled),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if progress.cancelled() {
            return Err(Outcome::Cancelled);
        }
        if started.elapsed() > command.deadline {
            return Err(Outcome::TooLong);
        }
    }
}

fn receive(lines: &Receiver<String>) -> Result<String, RecvTimeoutError> {
    lines.recv_timeout(Duration::from_millis(100))
}

impl Running {
    /// Starts `command`.
    fn start(command: &Command, streams: Streams) -> io::Result<Self> {
        let own_group = !command.asks;
        let mut expression = duct::cmd(&command.program, &command.args)
            .full_env(command.env.for_program())
            .unchecked()
            .before_spawn(move |command| {
                before_exec(command, own_group);
                Ok(())
            });
        expression = match streams.input {
            Some(input) => expression.stdin_file(input),
            None => expression.stdin_null(),
        };
        if let Some(output) = streams.output {
            expression = expression.stdout_file(output);
        }
        expression = expression.stderr_to_stdout();
        if let Some(dir) = &command.dir {
            expression = expression.dir(dir);
        }
        Ok(Self { reader: Arc::new(expression.reader()?), own_group, ended: false })
    }

    /// Returns the lines of output. The program waits while too many of them are unread.
    #[must_use]
    pub fn lines(&self) -> Receiver<String> {
        let (sender, receiver) = mpsc::sync_channel(WAITING);
        self.read(MAX_LINE, move |line| line.is_some_and(|line| sender.send(line).is_ok()));
        receiver
    }

    /// Passes each line of output to `sink` until that returns `false`, and `None` at the end, in a separate thread. A
    /// long line is passed as several.
    pub fn each_line(&self, sink: impl FnMut(Option<String>) -> bool + Send + 'static) {
        self.read(MAX_MESSAGE, sink);
    }

    /// Returns the first unread lines of output. What does not fit is read and dropped: the program never waits.
    #[must_use]
    pub fn first_lines(&self) -> FirstLines {
        let first = FirstLines::default();
        let shared = Arc::downgrade(&first.shared);
        self.read(MAX_MESSAGE, move |line| {
            let Some(shared) = shared.upgrade() else { return false };
            let mut lines = shared.lock();
            match line {
                Some(line) => lines.add(line),
                None => lines.ended = true,
            }
            shared.more.notify_all();
            true
        });
        first
    }

    /// Reads lines of at most `longest` bytes in a separate thread. The thread is detached on purpose: if a stray
    /// grandchild keeps the pipe open, the thread never ends, and the caller must not wait for it.
    fn read(&self, longest: usize, mut sink: impl FnMut(Option<String>) -> bool + Send + 'static) {
        let reader = Arc::clone(&self.reader);
        std::thread::spawn(move || {
            let mut source = BufReader::new(&*reader);
            let mut line = Vec::new();
            while matches!((&mut source).take(longest as u64).read_until(b'\n', &mut line), Ok(1..)) {
                if !texts(&line, longest).all(|text| sink(Some(text))) {
                    return;
                }
                line.clear();
            }
            sink(None);
        });
    }

    /// Returns the exit status if the program has ended.
    pub fn status(&mut self) -> Option<ExitStatus> {
        let status = self.reader.try_wait().ok()??.status;
        self.ended = true;
        Some(status)
    }

    /// Returns the exit status after the output has ended. Waits up to two seconds for it.
    pub fn settled(&mut self) -> Option<ExitStatus> {
        self.settled_within(SETTLING)
    }

    fn settled_within(&mut self, patience: Duration) -> Option<ExitStatus> {
        let begun = Instant::now();
        while begun.elapsed() < patience {
            if let Some(status) = self.status() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        None
    }

    /// Limits the address space of the program, in bytes. A program that has ended needs no limit.
    pub fn limit_memory(&self, bytes: u64) {
        let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
        for pid in self.pids() {
            let _ = prlimit(Some(pid), Resource::As, limit);
        }
    }

    /// Sends `signal` to the program and to all processes that it started; if it is in the process group of this
    /// process, only to the program.
    pub fn signal(&self, signal: Signal) {
        for pid in self.pids() {
            // A process that has already ended needs no signal.
            let _ = if self.own_group { kill_process_group(pid, signal) } else { kill_process(pid, signal) };
        }
    }

    fn pids(&self) -> impl Iterator<Item = Pid> {
        self.reader.pids().into_iter().filter_map(|pid| i32::try_from(pid).ok().and_then(Pid::from_raw))
    }

    /// Returns the processor time that the program has used so far in all its threads; `None` once it has ended.
    #[must_use]
    pub fn processor_time(&self) -> Option<Duration> {
        let pid = self.pids().next()?.as_raw_pid();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // After the name, which may contain blanks and parentheses: utime and stime are fields 14 and 15.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
        Some(Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second().max(1)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The PID of a process that has ended may belong to another one by now.
        if !self.ended && self.status().is_none() {
            self.signal(Signal::TERM);
            if self.settled_within(GRACE).is_none() {
                self.signal(Signal::KILL);
                let _ = self.settled();
            }
        }
    }
}

/// Decodes a line of at most `longest` bytes. Each byte that is not UTF-8 becomes three, so a line with such bytes is
/// cut before that, and none of its parts exceeds `longest` bytes either.
fn texts(line: &[u8], longest: usize) -> impl Iterator<Item = String> {
    let ends = line.iter().rev().take_while(|byte| b"\r\n".contains(byte)).count();
    let line = &line[..line.len() - ends];
    let length = if std::str::from_utf8(line).is_ok() { longest } else { longest / REPLACEMENT };
    // An empty line has no chunk.
    let empty = line.is_empty().then(String::new);
    empty.into_iter().chain(line.chunks(length).map(|part| String::from_utf8_lossy(part).into_owned()))
}

/// Length of the character that replaces invalid bytes.
const REPLACEMENT: usize = char::REPLACEMENT_CHARACTER.len_utf8();

/// First unread lines of a program's messages, as [`Running::first_lines`] returns them.
#[derive(Debug, Default)]
pub struct FirstLines {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    unread: Mutex<Unread>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Unread {
    lines: VecDeque<String>,
    size: usize,
    ended: bool,
}

impl Unread {
    /// Adds as much of `line` as there is room for.
    fn add(&mut self, mut line: String) {
        let (lines, bytes) = FIRST;
        line.truncate(boundary(&line, bytes - self.size));
        if self.lines.len() < lines && self.size < bytes {
            self.size += line.len();
            self.lines.push_back(line);
        }
    }

    fn take(&mut self) -> Vec<String> {
        self.size = 0;
        std::mem::take(&mut self.lines).into()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Unread> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FirstLines {
    /// Returns the lines so far, which then count as read.
    #[must_use]
    pub fn so_far(&self) -> Vec<String> {
        self.shared.lock().take()
    }

    /// Returns the unread lines up to the end of the output, for which it waits no longer than `patience`.
    #[must_use]
    pub fn until_the_end(&self, patience: Duration) -> Vec<String> {
        let unread = self.shared.lock();
        let waited = self.shared.more.wait_timeout_while(unread, patience, |unread| !unread.ended);
        waited.unwrap_or_else(PoisonError::into_inner).0.take()
    }
}

#[expect(
    unsafe_code,
    reason = "`pre_exec` is the only way to set the parent-death signal, which is the only one that works after kill -9"
)]
/// Lets the program end with this process, and gives it its `own_session`, and thereby its own process group.
fn before_exec(command: &mut std::process::Command, own_session: bool) {
    // SAFETY: between fork and exec, only async-signal-safe calls are allowed. setsid(2) and prctl(2) are, and nothing is
    // allocated: the error is built from the number that they return.
    unsafe {
        command.pre_exec(move || {
            if own_session {
                setsid()?;
            }
            Ok(set_parent_process_death_signal(Some(Signal::TERM))?)
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::base::progress::{Event, Silent};

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
            assert!(error.tail.iter().all(|line| line.starts_with(last)), "{last}");
            let size: usize = error.tail.iter().map(String::len).sum();
            assert!(size > 0 && size <= 64 << 10, "{size}");
        }
    }

    #[test]
    fn no_line_gets_longer_as_text_than_it_may_be() {
        let parts = |line: &[u8]| texts(line, 9).collect::<Vec<_>>();
        assert_eq!(parts(b"a b\r\n"), ["a b"]);
        assert_eq!(parts(b"\n"), [""]);
        assert_eq!(parts("aäöü\n".as_bytes()), ["aäöü"]);
        assert_eq!(parts(b"\xff\xff\xff\xffa"), ["\u{fffd}\u{fffd}\u{fffd}", "\u{fffd}a"]);
    }

    #[test]
    fn of_messages_the_first_are_kept_up_to_a_limit() {
        let first = |script: &str| {
            let running = shell(script).start(Streams::default()).unwrap();
            running.first_lines().until_the_end(Duration::from_secs(60))
        };
        assert_eq!(first("echo a; echo b >&2"), ["a", "b"]);
        assert_eq!(first("yes | head -n 9000"), vec!["y"; 200]);
        let invalid = first("head -c 9000000 /dev/zero | tr '\\0' '\\377'").concat();
        assert!(invalid.len() > (64 << 10) - 3 && invalid.len() <= 64 << 10, "{}", invalid.len());
        // Lines that were read make room for more.
        let mut unread = Unread::default();
        for _ in 0..300 {
            unread.add("a".repeat(1000));
        }
        assert_eq!(unread.take().concat().len(), 64 << 10);
        unread.add("b".to_owned());
        assert_eq!(unread.take(), ["b"]);
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

    /// Asserts that the grandchild whose PID is in `file` has ended or ends within seconds.
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
