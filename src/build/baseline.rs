//! The baseline: the objects expected in each loader. If a project has one, a loader with fewer or more objects is not
//! published until the user accepts the difference, so that no change of a pin, a patch or a configuration can silently
//! drop a driver or a protocol.

use camino::{Utf8Path, Utf8PathBuf};

use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Subcommand};
use crate::base::fs;
use crate::base::paths::ProjectPaths;
use crate::build::Built;
use crate::build::plan::{Other, Plan};
use crate::loader::linked_objects::{Drift, LinkedObjects};
use crate::loader::target::Loader;

/// Maximum number of lines of a drift in an error.
const SHOWN: usize = 20;

/// Errors from comparing loaders with the baseline.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The linked objects differ from the baseline.
    #[error(
        "the linked objects have changed\n{}",
        drifts.iter().map(Drifted::to_string).collect::<Vec<_>>().join("\n")
    )]
    Drift {
        /// The differences, for each loader.
        drifts: Vec<Drifted>,
    },
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Drift { .. } => Class::Check.help(Subcommand::UpdateBaseline),
            Self::Fs(error) => error.diagnosis(),
        }
    }
}

/// A loader whose linked objects differ from the baseline.
#[derive(Debug)]
pub struct Drifted {
    /// The loader.
    pub loader: Loader,
    /// Name of its configuration.
    pub config: String,
    /// The difference.
    pub drift: Drift,
}

impl std::fmt::Display for Drifted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Drift { lost, gained } = &self.drift;
        write!(f, "`{}` (configuration `{}`) lost {}, gained {}", self.loader, self.config, lost.len(), gained.len())?;
        let lines = lost.iter().map(|line| format!("- {line}")).chain(gained.iter().map(|line| format!("+ {line}")));
        for line in lines.take(SHOWN) {
            write!(f, "\n  {line}")?;
        }
        let more = (lost.len() + gained.len()).saturating_sub(SHOWN);
        if more > 0 { write!(f, "\n  and {more} more") } else { Ok(()) }
    }
}

/// A list in a plan, with its path in the baseline.
struct Listed {
    loader: Loader,
    config: String,
    text: String,
    path: Utf8PathBuf,
}

/// Compares the loaders of `plan`, as built, with the baseline of `project`. Skips a configuration that has no
/// baseline, and returns the paths of lists that a baseline lacks.
///
/// # Errors
///
/// [`Error::Drift`].
pub fn check(plan: &Plan, project: &ProjectPaths, built: &Built) -> Result<Vec<Utf8PathBuf>, Error> {
    let (mut drifts, mut lacking) = (Vec::new(), Vec::new());
    for Listed { loader, config, text, path } in lists(plan, project, built) {
        let Some(before) = fs::read_if_exists(&path)? else {
            if path.parent().is_some_and(Utf8Path::is_dir) {
                lacking.push(path);
            }
            continue;
        };
        let drift = LinkedObjects::parse(&text).since(&LinkedObjects::parse(&String::from_utf8_lossy(&before)));
        if !drift.is_empty() {
            drifts.push(Drifted { loader, config, drift });
        }
    }
    if drifts.is_empty() { Ok(lacking) } else { Err(Error::Drift { drifts }) }
}

/// Makes the objects linked into the loaders of `plan`, as built, the baseline of `project`.
///
/// # Errors
///
/// [`fs::Error`].
pub fn accept(plan: &Plan, project: &ProjectPaths, built: &Built) -> Result<(), fs::Error> {
    lists(plan, project, built).iter().try_for_each(|listed| fs::write_atomic(&listed.path, listed.text.as_bytes()))
}

fn lists(plan: &Plan, project: &ProjectPaths, built: &Built) -> Vec<Listed> {
    let mut lists = Vec::new();
    for (_, other) in plan.others() {
        if let Other::Linked { loader, key, config } = other {
            let (text, path) = (built.base(key).linked.clone(), project.linked(config, loader.as_str()));
            lists.push(Listed { loader: *loader, config: config.clone(), text, path });
        }
    }
    lists
}
