//! The programs and headers that the work needs: which, whether they are there, and what they are.

pub mod needs;
pub mod packages;
pub mod probe;
mod tool;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use self::needs::Need;
use self::packages::Manager;
use self::probe::ProbeStatus;
pub use self::tool::{Error, Tool};
use crate::base::fs;
use crate::base::paths::Cache;
use crate::base::progress::Progress;
use crate::digest::Sha256Digest;

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
        let unchanged = |tool: &Tool| tool.files.iter().all(|file| file.is_as_it_was(path));
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

/// The version of the form of a record. Raise it whenever a tool tells more or other things of itself.
const FORM: u32 = 2;

/// What a record is about: other needs, by their names, or another `PATH` have another record.
fn record_key<'n>(needs: impl Iterator<Item = &'n str>, path: &str) -> Sha256Digest {
    let names = needs.collect::<Vec<_>>().join("\n");
    Sha256Digest::of(format!("{FORM}\n{path}\n{names}").as_bytes())
}

/// The remedies that install what `needs` names: one on the system that `path` shows, or one for each known system where
/// that cannot be told.
#[must_use]
pub fn install_lines(needs: &[&Need], path: &str) -> Vec<String> {
    let line = |manager: Manager| format!("install it with `{}`", manager.install_line(needs));
    Manager::detect(path).map_or_else(|| Manager::ALL.map(line).to_vec(), |manager| vec![line(manager)])
}
