//! What several test files share: a cache of its own for each test, a client without patience, and
//! a listener that can cancel.

#![allow(dead_code, reason = "no test file uses all of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a test is no part of the library")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use netboot_loaders::paths::Cache;
use netboot_loaders::progress::{Event, Progress};
use netboot_loaders::source::download::Address;
use netboot_loaders::source::http::{Http, Network, Pace, Patience};
use netboot_loaders::url::Url;

pub mod drip;
pub mod git;
pub mod release;
pub mod server;

/// A folder that goes when the test ends, with a cache in it.
pub struct Scratch {
    _guard: tempfile::TempDir,
    root: Utf8PathBuf,
    pub cache: Cache,
}

impl Scratch {
    pub fn new() -> Self {
        let guard = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::from_path_buf(guard.path().canonicalize().unwrap()).unwrap();
        let cache = Cache::new(root.join("cache"));
        Self { _guard: guard, root, cache }
    }

    pub fn path(&self, name: &str) -> Utf8PathBuf {
        self.root.join(name)
    }

    /// Writes a file beside the cache.
    pub fn write(&self, name: &str, content: &[u8]) -> Utf8PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// The files of the cache, as paths in it.
    pub fn cached(&self) -> Vec<String> {
        files_below(self.cache.root()).into_iter().map(|path| path.to_string()).collect()
    }

    /// Neither a verified file nor a record of where it came from is in the cache.
    #[track_caller]
    pub fn assert_nothing_taken(&self) {
        let taken: Vec<_> = self.cached().into_iter().filter(|path| !path.starts_with("downloads/")).collect();
        assert_eq!(taken, <[String; 0]>::default());
    }

    /// Not even a piece of a download is in the cache.
    #[track_caller]
    pub fn assert_empty(&self) {
        assert_eq!(self.cached(), <[String; 0]>::default());
    }
}

/// The files below `folder`, sorted; none where there is no such folder.
pub fn files_below(folder: &Utf8Path) -> Vec<Utf8PathBuf> {
    if !folder.exists() {
        return Vec::new();
    }
    netboot_loaders::fs::walk(folder).unwrap().into_iter().map(|(path, _)| path).collect()
}

/// A client that tries three times with hardly a pause between, and that waits long for a server
/// that says nothing: no test may pass because of a timeout that it did not ask for.
pub fn http() -> Http {
    http_with(Duration::from_secs(60), 3)
}

/// The same, which waits only for `silence`, and tries `attempts` times.
pub fn http_with(silence: Duration, attempts: u32) -> Http {
    let (connect, pause, pace) = (Duration::from_secs(60), Duration::from_millis(1), Pace::default());
    let patience = Patience { connect, silence, pace, attempts, pause };
    Http::new(None, patience).unwrap()
}

/// The address `url`, without a way around it.
pub fn at(url: &Url) -> Address<'_> {
    Address { url, remedy: "do without it" }
}

pub fn online() -> Network {
    Network::Online(http())
}

/// Content in which no piece can be taken for another, and that does not compress.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| step()).collect()
}

/// Keeps all events, and cancels where it was told to.
#[derive(Default)]
pub struct Listener {
    pub events: Mutex<Vec<Event>>,
    /// Whether the work should stop now.
    pub cancelled: AtomicBool,
    /// Whether to stop at the first sign of progress.
    cancels_when_advanced: bool,
}

impl Listener {
    pub fn cancelling() -> Self {
        Self { cancels_when_advanced: true, ..Self::default() }
    }
}

impl Progress for Listener {
    fn report(&self, event: &Event) {
        if self.cancels_when_advanced && matches!(event, Event::Advanced { done: 1.., .. }) {
            self.cancelled.store(true, Ordering::SeqCst);
        }
        self.events.lock().unwrap().push(event.clone());
    }

    fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }
}
