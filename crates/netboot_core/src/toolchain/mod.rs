//! The programs and headers that this tool needs on the host: which ones, whether they are present, and their identity.

pub mod cross;
pub mod need;
pub mod needs;
pub mod packages;
pub mod probe;
mod tool;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use self::need::Need;
use self::packages::Manager;
use self::probe::ProbeStatus;
pub use self::tool::{Error, Tool};
use crate::base::fs;
use crate::base::paths::Cache;
use crate::base::progress::Progress;
use crate::digest::Sha256Digest;
use crate::loader::medium::Medium;
use crate::loader::target::Arch;

/// The tools that a build uses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Toolchain {
    /// The `PATH` that they were found in.
    path: String,
    /// The tools in the order of [`needs::build`].
    pub tools: Vec<Tool>,
}

impl Toolchain {
    /// Finds the tools for `needs` in `path`, a list of folders like `PATH`. Uses a record in the cache if no file has
    /// changed since.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] lists everything that is missing or unsuitable.
    pub fn find(needs: &[Need], path: &str, cache: &Cache, progress: &dyn Progress) -> Result<Self, Error> {
        if let Some(known) = Self::recall(needs, path, cache) {
            return Ok(known);
        }
        let found = Self { path: path.into(), tools: look(needs, path, cache, progress)? };
        fs::write_atomic(&found.record(cache), serde_json::json!(found).to_string().as_bytes())?;
        Ok(found)
    }

    /// Returns the path of the toolchain's record in `cache`.
    #[must_use]
    pub fn record(&self, cache: &Cache) -> Utf8PathBuf {
        cache.toolchain_record(&record_key(self.tools.iter().map(|tool| tool.name.as_str()), &self.path))
    }

    fn recall(needs: &[Need], path: &str, cache: &Cache) -> Option<Self> {
        let record = cache.toolchain_record(&record_key(needs.iter().map(|need| need.name), path));
        let known: Self = serde_json::from_slice(&fs::read_if_exists(&record).ok()??).ok()?;
        let same_names = known.tools.iter().map(|tool| tool.name.as_str()).eq(needs.iter().map(|need| need.name));
        let unchanged = |tool: &Tool| tool.files.iter().all(|file| file.is_as_it_was(path));
        let valid = known.path == path && same_names && known.tools.iter().all(unchanged);
        valid.then_some(known).inspect(|_| fs::touch(&record))
    }

    /// Returns the tools that affect a `medium` made of given loaders.
    pub fn of_medium(&self, medium: Medium) -> impl Iterator<Item = &Tool> {
        self.tools.iter().filter(move |tool| needs::affects_medium(&tool.name, medium))
    }

    /// Returns the folders in which the tools were found, a list like `PATH`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the tools that affect loaders for `arch`. The tool that only reads certificates counts only with `trust`.
    pub fn relevant(&self, arch: Arch, trust: bool) -> impl Iterator<Item = &Tool> {
        let counts = move |tool: &&Tool| {
            cross::affects(&tool.name, arch)
                && (trust || tool.name != needs::OPENSSL.name)
                && !needs::is_for_media(&tool.name)
        };
        self.tools.iter().filter(counts)
    }

    /// Returns a digest of the versions and contents of the [relevant](Self::relevant) tools of a build for `arch` without
    /// certificates. It is independent of their paths.
    #[must_use]
    pub fn digest(&self, arch: Arch) -> Sha256Digest {
        let lines: String = self.relevant(arch, false).map(Tool::lines).collect();
        Sha256Digest::of(lines.as_bytes())
    }
}

/// Searches `path` for everything in `needs`, and returns the tools in that order.
///
/// # Errors
///
/// [`Error::Missing`] lists everything that is missing or unsuitable; [`Error::Cancelled`] if the user asked to stop;
/// the others report a problem with the cache.
pub fn look(needs: &[Need], path: &str, cache: &Cache, progress: &dyn Progress) -> Result<Vec<Tool>, Error> {
    let mut tools = Vec::new();
    let (mut missing, mut unmet) = (Vec::new(), Vec::new());
    for need in needs {
        let status = need.probe(path, cache, progress)?;
        if let Some(complaint) = status.complaint() {
            missing.push(format!("`{}` ({}): {complaint}", need.name, need.purpose));
            unmet.push(need);
        }
        if let ProbeStatus::Found(tool) = status {
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

/// Format version of a record. Increase it whenever tools report more or other properties.
const FORM: u32 = 2;

/// Returns the key of a record: each list of needs, by name, and each `PATH` has its own record.
fn record_key<'n>(needs: impl Iterator<Item = &'n str>, path: &str) -> Sha256Digest {
    let names = needs.collect::<Vec<_>>().join("\n");
    Sha256Digest::of(format!("{FORM}\n{path}\n{names}").as_bytes())
}

/// Returns remedies that install `needs`: one for the system that `path` belongs to, or one for each known system if
/// that cannot be detected.
#[must_use]
pub fn install_lines(needs: &[&Need], path: &str) -> Vec<String> {
    let line = |manager: Manager| format!("install it with `{}`", manager.install_line(needs));
    Manager::detect(path).map_or_else(|| Manager::ALL.map(line).to_vec(), |manager| vec![line(manager)])
}
