//! Peak memory of a run on hostile input, and how soon a run ends once it is interrupted.
//!
//! Knows no project: whoever has a [`Command`] can measure it.

use std::io::Read;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use camino::Utf8Path;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use wait4::Wait4;

/// The most resident memory that a command may use on any input, in bytes.
pub const MEMORY: u64 = 256 << 20;

/// How long a run may take before it is taken for one that never ends.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long an interrupted run may go on. One second is promised; other tests run at the same time.
const AFTER_INTERRUPT: Duration = Duration::from_secs(5);

/// The most that is kept of one output of a run, in bytes.
const KEPT: u64 = 4 << 20;

/// A run, and what it took.
#[derive(Debug)]
pub struct Measured {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    /// The largest resident memory of the process, or of one of its children that it waited for, in bytes.
    ///
    /// A new process inherits the resident memory that this one has when it starts it, so this is never less
    /// than that. Tests that measure write their hostile files piece by piece.
    pub peak: u64,
    pub took: Duration,
}

impl Measured {
    /// This run, which must have stayed below [`MEMORY`].
    #[track_caller]
    pub fn bounded(self) -> Self {
        let Self { peak, took, stderr, .. } = &self;
        println!("peak memory {} MiB, {:.1} s", peak >> 20, took.as_secs_f64());
        assert!(*peak < MEMORY, "peak memory {} MiB, stderr:\n{stderr}", peak >> 20);
        self
    }
}

/// Runs `command` to its end, which must come within two minutes.
#[track_caller]
pub fn measure(command: &mut Command) -> Measured {
    Running::start(command).end(PATIENCE)
}

/// Runs `command` until `begun`, which gets its process ID, returns true; interrupts it, and checks that it ends with
/// exit code 130 at once.
#[track_caller]
pub fn interrupt(command: &mut Command, mut begun: impl FnMut(u32) -> bool) -> Measured {
    let running = Running::start(command);
    while !begun(running.child.id()) {
        assert!(running.started.elapsed() < PATIENCE, "what was waited for does not begin");
        thread::sleep(Duration::from_millis(10));
    }
    kill_process(running.pid(), Signal::INT).expect("the run has ended before it was interrupted");
    let interrupted = Instant::now();
    let measured = running.end(AFTER_INTERRUPT);
    assert_eq!(measured.status.code(), Some(130), "stderr:\n{}", measured.stderr);
    println!("ended {:.2} s after the interrupt", interrupted.elapsed().as_secs_f64());
    measured
}

/// Puts a pipe, which nobody ever writes to, in the place of a file.
pub fn pipe(path: &Utf8Path) {
    let _ = std::fs::remove_file(path);
    let mode = rustix::fs::Mode::from_raw_mode(0o644);
    rustix::fs::mknodat(rustix::fs::CWD, path.as_std_path(), rustix::fs::FileType::Fifo, mode, 0).unwrap();
}

/// Whether the process `pid` has read more than `bytes` of `file`, which it has open.
pub fn has_read(pid: u32, file: &Utf8Path, bytes: u64) -> bool {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().filter_map(Result::ok);
    let position = |entry: std::fs::DirEntry| {
        let same = std::fs::read_link(entry.path()).ok()? == file.as_std_path();
        let number = entry.file_name().into_string().ok().filter(|_| same)?;
        let info = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).ok()?;
        info.lines().find_map(|line| line.strip_prefix("pos:")?.trim().parse::<u64>().ok())
    };
    open.filter_map(position).any(|position| position > bytes)
}

struct Running {
    child: Child,
    outputs: [thread::JoinHandle<String>; 2],
    started: Instant,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        // Makes the kernel forget the peak of this process, which a new one inherits.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.process_group(0).spawn().unwrap();
        let outputs = [read(child.stdout.take().unwrap()), read(child.stderr.take().unwrap())];
        Self { child, outputs, started: Instant::now() }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Waits for the end of the run; kills it and all its children where that takes more than `patience`.
    #[track_caller]
    fn end(mut self, patience: Duration) -> Measured {
        let (group, (ended, ending)) = (self.pid(), mpsc::channel::<()>());
        let watchdog = thread::spawn(move || {
            let late = ending.recv_timeout(patience) == Err(RecvTimeoutError::Timeout);
            if late {
                let _ = kill_process_group(group, Signal::KILL);
            }
            late
        });
        let used = self.child.wait4().unwrap();
        drop(ended);
        let late = watchdog.join().unwrap();
        let [stdout, stderr] = self.outputs.map(|output| output.join().unwrap());
        assert!(!late, "still running after {patience:?}, stderr:\n{stderr}");
        let took = self.started.elapsed();
        Measured { status: used.status, stdout, stderr, peak: used.rusage.maxrss, took }
    }
}

/// Reads an output to its end, and keeps the beginning.
fn read(mut output: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut kept = Vec::new();
        output.by_ref().take(KEPT).read_to_end(&mut kept).unwrap();
        std::io::copy(&mut output, &mut std::io::sink()).unwrap();
        String::from_utf8_lossy(&kept).into_owned()
    })
}
