//! The programs and headers that the work needs: which, whether they are there, and what they are.

pub mod needs;
pub mod packages;
pub mod probe;

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use self::needs::Need;
use self::packages::Manager;
use self::probe::Status;
use crate::digest::Sha256Digest;
use crate::fs;
use crate::paths::Cache;
use crate::process::find_program;
use crate::progress::Progress;

/// A program or library that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// Its name, as in `gcc`.
    pub name: String,
    /// What it says of its version.
    pub version: String,
    /// The SHA-256 of the file that decides what it does: a compiler's own, not its driver's.
    pub sha256: Sha256Digest,
    /// The package that this file came with, by name and version, where the system can tell.
    pub package: Option<String>,
    /// The files that were looked at, so that a change of any of them is noticed.
    files: Vec<Fingerprint>,
}

/// A file as it was when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Fingerprint {
    path: Utf8PathBuf,
    /// Whether it was found by its name in `PATH`, where another one may come to stand before it.
    looked_up: bool,
    sha256: Sha256Digest,
    size: u64,
    modified: i64,
    modified_nanos: i64,
    inode: u64,
}

impl Tool {
    /// All files that were looked at, by name, each with its SHA-256.
    #[must_use]
    pub fn programs(&self) -> BTreeMap<String, Sha256Digest> {
        let name = |file: &Fingerprint| file.path.file_name().unwrap_or_default().to_owned();
        self.files.iter().map(|file| (name(file), file.sha256)).collect()
    }

    /// The file that decides what it does.
    #[must_use]
    pub fn file(&self) -> &Utf8Path {
        self.files.first().map_or(Utf8Path::new(""), |file| &file.path)
    }
}

impl Fingerprint {
    fn of(path: &Utf8Path, search: &str) -> Option<Self> {
        Some(Self { sha256: fs::sha256(path).ok()?.0, ..Self::glance(path, search)? })
    }

    /// The same without a look at the content.
    fn glance(path: &Utf8Path, search: &str) -> Option<Self> {
        let metadata = path.metadata().ok()?;
        Some(Self {
            path: path.to_owned(),
            looked_up: find_program(path.file_name()?, search).as_deref() == Some(path),
            sha256: Sha256Digest::of(b""),
            size: metadata.len(),
            modified: metadata.mtime(),
            modified_nanos: metadata.mtime_nsec(),
            inode: metadata.ino(),
        })
    }
}

/// All tools that a build uses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Toolchain {
    /// The `PATH` that they were looked up in.
    path: String,
    /// In the order of [`needs::build`].
    pub tools: Vec<Tool>,
}

impl Toolchain {
    /// Finds what `needs` names in `path`, a list of folders as in `PATH`. What the cache knows
    /// is used where no file has changed since.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] names all that is missing or unfit.
    pub fn find(needs: &[Need], path: &str, cache: &Cache, progress: &dyn Progress) -> Result<Self, Error> {
        if let Some(known) = Self::recall(needs, path, cache) {
            return Ok(known);
        }
        let found = Self { path: path.into(), tools: look(needs, path, cache, progress)? };
        fs::write_atomic(&found.record(cache), serde_json::json!(found).to_string().as_bytes())?;
        Ok(found)
    }

    /// Where `cache` keeps it.
    #[must_use]
    pub fn record(&self, cache: &Cache) -> Utf8PathBuf {
        cache.toolchain_record(&record_key(self.tools.iter().map(|tool| tool.name.as_str()), &self.path))
    }

    fn recall(needs: &[Need], path: &str, cache: &Cache) -> Option<Self> {
        let record = cache.toolchain_record(&record_key(needs.iter().map(|need| need.name), path));
        let known: Self = serde_json::from_slice(&fs::read_if_exists(&record).ok()??).ok()?;
        let same_names = known.tools.iter().map(|tool| tool.name.as_str()).eq(needs.iter().map(|need| need.name));
        let same = |file: &Fingerprint| {
            let now = Fingerprint::glance(&file.path, path)?;
            Some(Fingerprint { sha256: file.sha256, ..now } == *file)
        };
        let unchanged = |tool: &Tool| tool.files.iter().all(|file| same(file).unwrap_or(false));
        let valid = known.path == path && same_names && known.tools.iter().all(unchanged);
        valid.then_some(known).inspect(|_| fs::touch(&record))
    }

    /// Identifies the toolchain by what its tools say and are, and not by where they are. What only
    /// reads certificates counts for builds with `trust` alone.
    #[must_use]
    pub fn digest(&self, trust: bool) -> Sha256Digest {
        let mut lines = String::new();
        for tool in self.tools.iter().filter(|tool| trust || tool.name != needs::OPENSSL.name) {
            lines += &format!("{} {} {}\n", tool.name, tool.version, tool.sha256);
            lines.extend(tool.files.iter().map(|file| format!("{}\n", file.sha256)));
        }
        Sha256Digest::of(lines.as_bytes())
    }
}

/// Looks for all that `needs` names, in `path`, and returns it in that order.
///
/// # Errors
///
/// [`Error::Missing`] names all that is missing or unfit; [`Error::Cancelled`] where the user asked to stop; the
/// others say what is wrong with the cache.
pub fn look(needs: &[Need], path: &str, cache: &Cache, progress: &dyn Progress) -> Result<Vec<Tool>, Error> {
    let mut tools = Vec::new();
    let (mut missing, mut unmet) = (Vec::new(), Vec::new());
    for need in needs {
        let status = need.probe(path, cache, progress)?;
        if let Some(complaint) = status.complaint() {
            missing.push(format!("`{}` ({}): {complaint}", need.name, need.purpose));
            unmet.push(need);
        }
        if let Status::Found(tool) = status {
            tools.push(*tool);
        }
    }
    if !missing.is_empty() {
        return Err(Error::Missing { missing, install: install_lines(&unmet, path) });
    }
    if let Some(manager) = Manager::detect(path) {
        let owners = manager.owners(&tools.iter().map(Tool::file).collect::<Vec<_>>(), path, progress);
        tools.iter_mut().zip(owners).for_each(|(tool, owner)| tool.package = owner);
    }
    if progress.cancelled() { Err(Error::Cancelled) } else { Ok(tools) }
}

/// The version of the form of a record. Raise it whenever a tool tells more or other things of itself.
const FORM: u32 = 2;

/// What a record is about: other needs, by their names, or another `PATH` have another record.
fn record_key<'n>(needs: impl Iterator<Item = &'n str>, path: &str) -> Sha256Digest {
    let names = needs.collect::<Vec<_>>().join("\n");
    Sha256Digest::of(format!("{FORM}\n{path}\n{names}").as_bytes())
}

/// Why there is no toolchain to work with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something is missing or unfit.
    #[error("found no usable {}\nhint: {install}\nhint: or run this command again with `--install-deps`", missing.join("\nfound no usable "))]
    Missing {
        /// What, for what, and why it will not do.
        missing: Vec<String>,
        /// How to install it.
        install: String,
    },
    /// Programs in the cache cannot be run.
    #[error(
        "the cache `{0}` is on a file system that runs no programs (mounted `noexec`), and builds run their own there\nhint: choose another folder with `--cache-dir`, or mount that file system without `noexec`"
    )]
    NotExecutable(Utf8PathBuf),
    /// The user asked to stop.
    #[error("interrupted")]
    Cancelled,
    /// The cache cannot be used.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

/// The command that installs what `needs` names on the system that `path` shows, or on each known
/// one where that cannot be told.
#[must_use]
pub fn install_lines(needs: &[&Need], path: &str) -> String {
    match Manager::detect(path) {
        Some(manager) => format!("install it with `{}`", manager.install_line(needs)),
        None => {
            Manager::ALL.map(|manager| format!("install it with `{}`", manager.install_line(needs))).join("\nhint: or ")
        }
    }
}
