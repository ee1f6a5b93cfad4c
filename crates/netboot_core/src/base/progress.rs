//! Progress reports and cancellation.
//!
//! The library never prints: it reports [`Event`]s, and the caller renders them.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::diagnostic::Diagnostic;

/// Receives progress events and can request cancellation. Called from several threads.
pub trait Progress: Sync {
    /// Receives `event`.
    fn report(&self, event: &Event);

    /// Reports a warning.
    fn warn(&self, warning: Diagnostic) {
        self.report(&Event::Warning(warning));
    }

    /// Checks whether the work should stop. Long stages check this at least every 200 milliseconds.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Discards all events and never cancels.
pub struct Silent;

impl Progress for Silent {
    fn report(&self, _: &Event) {}
}

/// Discards all events, and cancels when the wrapped [`Progress`] does.
pub struct Muted<'p>(pub &'p dyn Progress);

impl Progress for Muted<'_> {
    fn report(&self, _: &Event) {}

    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}

/// A stream whose reads fail once the work should stop.
pub struct Interruptible<'p, R> {
    inner: R,
    progress: &'p dyn Progress,
}

impl<'p, R> Interruptible<'p, R> {
    /// Wraps `inner`, which can be read until `progress` is cancelled.
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

/// A progress event. Serialised, each event is one line of `--message-format json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A task began.
    Started {
        /// ID of the task in later events; unique within the process.
        task: u64,
        /// Kind of task.
        kind: TaskKind,
        /// Subject of the task, in words for the user.
        label: String,
        /// Total number of units, if known.
        total: Option<u64>,
    },
    /// A task advanced.
    Advanced {
        /// As in [`Event::Started`].
        task: u64,
        /// Number of units done so far.
        done: u64,
        /// Total number of units, if known.
        total: Option<u64>,
    },
    /// A task succeeded.
    Finished {
        /// As in [`Event::Started`].
        task: u64,
        /// Outcome in a few words.
        detail: String,
    },
    /// A task ended without success; the returned error gives the reason.
    Abandoned {
        /// As in [`Event::Started`].
        task: u64,
    },
    /// A condition that the user should know about although the work continues. The program words its remedies.
    #[serde(skip)]
    Warning(Diagnostic),
}

/// Kinds of task, each with its unit.
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
    /// Building everything again; no unit.
    Rebuild,
    /// Booting a machine; phases.
    Boot,
    /// Rehearsing scripts; rehearsals.
    Rehearse,
    /// Reading back the files at a deployment target; bytes.
    Compare,
    /// Uploading files to a deployment target; bytes.
    Deploy,
}

/// A running task. If dropped before [`Task::finish`], it reports [`Event::Abandoned`].
pub struct Task<'p> {
    progress: &'p dyn Progress,
    id: u64,
    done: u64,
    total: Option<u64>,
    finished: bool,
}

impl<'p> Task<'p> {
    /// Starts a task of `kind`; `total` is its number of units, if known.
    pub fn start(progress: &'p dyn Progress, kind: TaskKind, label: impl Into<String>, total: Option<u64>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        progress.report(&Event::Started { task: id, kind, label: label.into(), total });
        Self { progress, id, done: 0, total, finished: false }
    }

    /// Returns the receiver of the task's events.
    #[must_use]
    pub fn progress(&self) -> &'p dyn Progress {
        self.progress
    }

    /// Sets the number of units done and the total. Reports nothing if neither changes.
    pub fn set(&mut self, done: u64, total: Option<u64>) {
        if (done, total) != (self.done, self.total) {
            (self.done, self.total) = (done, total);
            self.progress.report(&Event::Advanced { task: self.id, done, total });
        }
    }

    /// Adds one unit to those done.
    pub fn advance(&mut self) {
        self.add(1);
    }

    /// Adds `units` to those done.
    pub fn add(&mut self, units: u64) {
        self.set(self.done + units, self.total);
    }

    /// Checks whether the work should stop.
    #[must_use]
    pub fn cancelled(&self) -> bool {
        self.progress.cancelled()
    }

    /// Returns the number of units done so far.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.done
    }

    /// Ends the task successfully.
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
