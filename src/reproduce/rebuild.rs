//! One build of all loaders of a plan, from scratch, under given variations.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};

use super::variation::{Capabilities, Variation, without_stale_faketime};
use crate::base::diagnostic::{Class, Diagnose, Diagnosis};
use crate::base::fs;
use crate::base::paths::Cache;
use crate::base::progress::{Task, TaskKind};
use crate::build::make;
use crate::build::make::Settings;
use crate::build::plan::{Plan, Stamped};
use crate::build::{self, BuildContext, Built, recall};
use crate::config::ipxe_config::IpxeConfig;
use crate::digest::Sha256Digest;
use crate::loader::target::Loader;
use crate::publish::tree_contents::{self, TreeContents};
use crate::stamp::stamper::Stamper;
use crate::tree::manifest::Manifest;

/// Common parameters of all builds of a run.
pub struct RebuildContext<'a> {
    /// Parameters of a build without variations.
    pub build: BuildContext<'a>,
    /// Tools for the variations.
    pub capabilities: &'a Capabilities,
    /// Empty folder for all files of the run.
    pub scratch: &'a Utf8Path,
}

/// A finished build.
pub struct Rebuild {
    /// Variations of the build.
    pub variations: BTreeSet<Variation>,
    /// Manifest of the resulting tree.
    pub manifest: Manifest,
    built: Built,
    /// Duration of the build.
    pub took: Duration,
    cache: Cache,
}

impl RebuildContext<'_> {
    /// Builds all loaders under `variations`, as build `number` of the run.
    ///
    /// # Errors
    ///
    /// [`Error`] if the build fails.
    pub fn build(&self, number: usize, variations: &BTreeSet<Variation>) -> Result<Rebuild, Error> {
        let names: Vec<&str> = variations.iter().map(|variation| variation.as_str()).collect();
        let label =
            if names.is_empty() { "nothing varied".to_owned() } else { format!("varied: {}", names.join(", ")) };
        let task = Task::start(self.build.progress, TaskKind::Rebuild, label, None);
        // All builds that do not vary the path use the same one. The folder is renamed after each build, so the path is
        // free again.
        let folder = if variations.contains(&Variation::Path) {
            self.scratch.join(Cache::LONGER).join("of-the-build-tree")
        } else {
            self.scratch.join(Cache::USUAL)
        };
        fs::create_dir_all(&folder)?;
        let environment = self.scratch.join(format!("{}{number}", Cache::SETTINGS));
        let settings = self.capabilities.settings(variations, self.build.settings, &environment);
        let (cache, started) = (Cache::new(&folder), Instant::now());
        let context = BuildContext { cache: &cache, settings: &settings, ..self.build };
        let make = || build::make(&context);
        let built = if variations.contains(&Variation::Clock) { without_stale_faketime(make) } else { make() }?;
        let manifest = self.contents(&built, &settings).manifest()?;
        let took = started.elapsed();
        task.finish("built");
        let kept = self.scratch.join(format!("{}{number}", Cache::BUILD));
        fs::rename(&folder, &kept)?;
        let cache = Cache::new(kept);
        let (built, _) = recall(self.build.plan, &cache)?;
        Ok(Rebuild { variations: variations.clone(), manifest, built, took, cache })
    }

    /// Returns the contents of a tree with the bases `built`, made as `settings` say.
    fn contents<'a>(&'a self, built: &'a Built, settings: &'a Settings) -> TreeContents<'a> {
        let BuildContext { plan, sources, progress, .. } = self.build;
        let contents = TreeContents::new(plan, built, sources, settings.jobs, progress);
        contents.in_environment(settings.environment.clone())
    }

    /// Returns the bytes of the loader `planned` from `build`.
    ///
    /// # Errors
    ///
    /// [`Error`] if stamping the loader fails.
    pub fn loader(&self, build: &Rebuild, planned: &PlannedRebuild) -> Result<Vec<u8>, Error> {
        let contents = self.contents(&build.built, self.build.settings);
        let job = contents.jobs().find(|job| job.file.path == planned.path);
        let content = job.map(|job| contents.content(&job, &mut Stamper::new()));
        Ok(content.transpose()?.unwrap_or_default())
    }
}

/// Errors from a rebuild, or from reading one of its loaders.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The build failed.
    #[error(transparent)]
    Build(#[from] build::Error),
    /// Stamping a loader failed.
    #[error(transparent)]
    Stamping(#[from] tree_contents::Error),
    /// The user cancelled the run.
    #[error("interrupted")]
    Cancelled,
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Build(error) => error.diagnosis(),
            Self::Stamping(error) => error.diagnosis(),
            Self::Cancelled => Class::Interrupted.into(),
            Self::Fs(error) => error.diagnosis(),
        }
    }
}

impl Rebuild {
    /// Returns the list of objects linked into the base `key`.
    #[must_use]
    pub fn linked(&self, key: &Sha256Digest) -> &str {
        &self.built.base(key).linked
    }

    /// Returns the link map of the loader `planned`; empty if there is none.
    #[must_use]
    pub fn link_map(&self, planned: &PlannedRebuild) -> String {
        let map = make::link_map(&planned.config, planned.loader);
        let content = fs::read(&self.cache.work(&planned.build).src().join(map)).unwrap_or_default();
        String::from_utf8_lossy(&content).into_owned()
    }

    /// Returns the folder with the objects of the loader `planned`.
    #[must_use]
    pub fn objects(&self, planned: &PlannedRebuild) -> Utf8PathBuf {
        self.cache.work(&planned.build).src().join(planned.config.bin_dir(planned.loader.platform()))
    }
}

/// A loader of a plan.
#[derive(Debug, Clone)]
pub struct PlannedRebuild {
    /// Path in the tree.
    pub path: Utf8PathBuf,
    /// Type of the loader.
    pub loader: Loader,
    /// Its configuration.
    pub config: Arc<IpxeConfig>,
    /// Key of its base.
    pub key: Sha256Digest,
    /// Name of the build that produces it.
    pub build: String,
}

/// Returns all loaders of `plan`, sorted by path.
#[must_use]
pub fn loaders(plan: &Plan) -> Vec<PlannedRebuild> {
    let keys = plan.builds.iter().flat_map(|build| {
        let keys = build.bases.values().flat_map(|loaders| loaders.values());
        keys.map(move |key| (*key, build.name()))
    });
    let builds: BTreeMap<Sha256Digest, String> = keys.collect();
    let planned = plan.loaders().map(|(path, Stamped { loader, base, site })| {
        let build = builds.get(&base).cloned().unwrap_or_default();
        PlannedRebuild { path, loader, config: Arc::clone(&site.config), key: base, build }
    });
    planned.collect()
}
