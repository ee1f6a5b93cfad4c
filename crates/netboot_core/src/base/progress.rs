//! How the library tells what it does, and how it is told to stop.
//!
//! The library never prints: it reports [`Event`]s, and whoever called it renders them.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::diagnostic::Diagnostic;

/// Receives events, and can ask for an early end. Called from several threads.
pub trait Progress: Sync {
    /// Takes note of `event`.
    fn report(&self, event: &Event);

    /// Reports a warning.
    fn warn(&self, warning: Diagnostic) {
        self.report(&Event::Warning(warning));
    }

    /// Whether the work should stop. Long stages ask at least every 200 milliseconds.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Hears nothing and never cancels.
pub struct Silent;

impl Progress for Silent {
    fn report(&self, _: &Event) {}
}

/// Hears nothing, and cancels when another one does.
pub struct Muted<'p>(pub &'p dyn Progress);

impl Progress for Muted<'_> {
    fn report(&self, _: &Event) {}

    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}

/// A stream that fails once the work should stop.
pub struct Interruptible<'p, R> {
    inner: R,
    progress: &'p dyn Progress,
}

impl<'p, R> Interruptible<'p, R> {
    /// Reads `inner` until `progress` is cancelled.
    pub fn new(inner: R, progress: &'p dyn Progress) -> Self {
        Self { inner, progress }
    }
}

impl<R: Read> Read for Interruptible<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.progress.cancelled() { Err(io::Error::other("interrupted")) } else { self.inner.read(buffer) }
    }
}

impl<R: Seek> Seek for Interruptible<'_, R> {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.inner.seek(position)
    }
}

/// Waits for `length`, or until `progress` is cancelled.
pub fn pause(length: Duration, progress: &dyn Progress) {
    let started = Instant::now();
    while started.elapsed() < length && !progress.cancelled() {
        std::thread::sleep(length.saturating_sub(started.elapsed()).min(Duration::from_millis(100)));
    }
}

/// Something that happened. Serialised, each is one line of `--message-format json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A task began.
    Started {
        /// Identifies the task in later events; unique within the process.
        task: u64,
        /// What sort of task.
        kind: TaskKind,
        /// What it works on, for a person.
        label: String,
        /// How many units there are, where that is known.
        total: Option<u64>,
    },
    /// A task came further.
    Advanced {
        /// As in [`Event::Started`].
        task: u64,
        /// Units done so far.
        done: u64,
        /// How many units there are, where that is known.
        total: Option<u64>,
    },
    /// A task ended well.
    Finished {
        /// As in [`Event::Started`].
        task: u64,
        /// The outcome in a few words.
        detail: String,
    },
    /// A task ended without success; the error that is returned says why.
    Abandoned {
        /// As in [`Event::Started`].
        task: u64,
    },
    /// Something that a person should know although the work goes on. Whoever shows it words its remedies.
    #[serde(skip)]
    Warning(Diagnostic),
}

/// The sorts of task, each with its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskKind {
    /// Waiting for another process; no unit.
    Wait,
    /// Fetching from a git repository; objects.
    Clone,
    /// Downloading over HTTP; bytes.
    Download,
    /// Writing a source tree; files.
    Export,
    /// Running make; objects compiled.
    Make,
    /// Linking a loader with another script; loaders.
    Link,
    /// Publishing the tree; files.
    Publish,
    /// Packing a tarball; files.
    Pack,
    /// Building everything once more; no unit.
    Rebuild,
    /// Booting a machine; phases.
    Boot,
    /// Reading back what is at a place; bytes.
    Compare,
    /// Putting files at a place; bytes.
    Deploy,
}

/// A task under way. Dropped before [`Task::finish`], it reports [`Event::Abandoned`].
pub struct Task<'p> {
    progress: &'p dyn Progress,
    id: u64,
    done: u64,
    total: Option<u64>,
    finished: bool,
}

impl<'p> Task<'p> {
    /// Starts a task of `kind`; `total` is its number of units, where known.
    pub fn start(progress: &'p dyn Progress, kind: TaskKind, label: impl Into<String>, total: Option<u64>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        progress.report(&Event::Started { task: id, kind, label: label.into(), total });
        Self { progress, id, done: 0, total, finished: false }
    }

    /// What it reports to.
    #[must_use]
    pub fn progress(&self) -> &'p dyn Progress {
        self.progress
    }

    /// Sets how many units are done. Says nothing when that changes nothing.
    pub fn set(&mut self, done: u64, total: Option<u64>) {
        if (done, total) != (self.done, self.total) {
            (self.done, self.total) = (done, total);
            self.progress.report(&Event::Advanced { task: self.id, done, total });
        }
    }

    /// One unit more is done.
    pub fn advance(&mut self) {
        self.add(1);
    }

    /// So many units more are done.
    pub fn add(&mut self, units: u64) {
        self.set(self.done + units, self.total);
    }

    /// Whether the work should stop.
    #[must_use]
    pub fn cancelled(&self) -> bool {
        self.progress.cancelled()
    }

    /// Units done so far.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.done
    }

    /// Ends the task well.
    pub fn finish(mut self, detail: impl Into<String>) {
        self.finished = true;
        self.progress.report(&Event::Finished { task: self.id, detail: detail.into() });
    }
}

impl Drop for Task<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.progress.report(&Event::Abandoned { task: self.id });
        }
    }
}
