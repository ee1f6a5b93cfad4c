//! Compares stamped loaders with loaders that iPXE's make links with the script embedded, for a sample of sites. Both
//! must be identical byte for byte.

use std::collections::HashMap;

use camino::Utf8PathBuf;

use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Subcommand};
use crate::base::paths;
use crate::base::{fs, parallel};
use crate::build::linker::Linker;
use crate::build::make::Goals;
use crate::build::plan::{Build, Plan};
use crate::build::{self, BuildContext};
use crate::config::sites::Site;
use crate::digest::Sha256Digest;
use crate::loader::link_map::LinkMap;
use crate::loader::signature;
use crate::loader::target::Loader;
use crate::reproduce::bytes::{self, ByteDifference};
use crate::reproduce::cause::{self, Cause};
use crate::tree::manifest::{Manifest, ManifestEntry};
use crate::tree::open::{Changed, CheckedTree};

/// Errors from comparing a tree with make.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The tree was not built from this configuration.
    #[error("`{path}` {problem}")]
    ConfigMismatch {
        /// Path of the loader.
        path: Utf8PathBuf,
        /// How the loader differs from the configuration.
        problem: &'static str,
    },
    /// The configuration has no loaders to compare.
    #[error("the configuration has no loader of iPXE")]
    Nothing,
    /// Running make failed.
    #[error(transparent)]
    Build(#[from] build::Error),
    /// The tree changed during the comparison.
    #[error(transparent)]
    Changed(#[from] Changed),
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::ConfigMismatch { path, .. } => Class::BadInput.about(path).help(Subcommand::BuildLoaders),
            Self::Nothing => Class::BadInput.into(),
            Self::Build(error) => error.diagnosis(),
            Self::Changed(error) => error.diagnosis(),
            Self::Fs(error) => error.diagnosis(),
        }
    }
}

/// Result of the comparison.
#[derive(Debug, Default)]
pub struct MakeComparison {
    /// Compared sites; `None` for the root of the tree.
    pub sites: Vec<Option<String>>,
    /// Number of compared loaders.
    pub loaders: usize,
    /// Number of surplus loaders that the tree has and the configuration does not.
    pub unknown: usize,
    /// Loaders that differ: "here" is the tree, "there" is the result of make.
    pub differences: Vec<(Utf8PathBuf, ByteDifference)>,
    /// If some differ: inputs according to the manifest that differ from those that make has here. Only the first are
    /// kept.
    pub causes: Vec<Cause>,
    /// Total number of causes.
    pub causes_total: usize,
}

/// Compares the loaders that `tree` has for `count` sites of the plan, selected by `seed`, with those that make links.
///
/// # Errors
///
/// [`Error`] if a comparison is impossible. Differing bytes are not an error.
pub fn check(context: &BuildContext<'_>, tree: &CheckedTree, count: usize, seed: u64) -> Result<MakeComparison, Error> {
    let plan = context.plan;
    let sample = sample(plan, count, seed);
    if sample.is_empty() {
        return Err(Error::Nothing);
    }
    let of_tree = tree.manifest.files.iter().filter(|file| file.ipxe.is_some() && !file.kind.is_medium()).count();
    let mut comparison = MakeComparison {
        sites: sample.iter().map(|site| site.name.clone()).collect(),
        unknown: of_tree.saturating_sub(plan.loaders().count()),
        ..MakeComparison::default()
    };
    check_sites(tree, plan)?;
    let mut source = context.source();
    for build in &plan.builds {
        let of_build = sample.iter().filter(|site| site.config.digest() == build.config.digest());
        let wanted: Vec<(&Site, Vec<Loader>)> =
            of_build.map(|site| (*site, of_platform(site, build))).filter(|(_, loaders)| !loaders.is_empty()).collect();
        if wanted.is_empty() {
            continue;
        }
        let mut linker = Linker::open(build, context, &mut source)?;
        for (site, loaders) in wanted {
            compare(&mut linker, tree, site, &loaders, &mut comparison)?;
        }
    }
    if !comparison.differences.is_empty() {
        // The list of files is irrelevant to how one of them was made.
        let published = Manifest { files: Vec::new(), ..tree.manifest.clone() };
        (comparison.causes, comparison.causes_total) = cause::causes(&published, &Manifest::head(plan));
    }
    Ok(comparison)
}

/// Selects `count` sites pseudo-randomly, by the digests of `seed` and their names.
fn sample(plan: &Plan, count: usize, seed: u64) -> Vec<&Site> {
    let rank = |site: &Site| Sha256Digest::of(format!("{seed} {:?}", site.name).as_bytes());
    let mut ranked: Vec<(Sha256Digest, &Site)> = plan.sites().map(|site| (rank(site), site)).collect();
    ranked.sort_unstable_by_key(|(rank, _)| *rank);
    ranked.truncate(count);
    ranked.into_iter().map(|(_, site)| site).collect()
}

fn of_platform(site: &Site, build: &Build) -> Vec<Loader> {
    site.loaders.iter().copied().filter(|loader| loader.platform() == build.platform).collect()
}

/// Ensures that the tree contains each loader of the configuration with the configured script.
fn check_sites(tree: &CheckedTree, plan: &Plan) -> Result<(), Error> {
    let slot = |file: &ManifestEntry| Some((file.path.clone(), file.ipxe.as_ref()?.slot_sha256));
    let slots: HashMap<Utf8PathBuf, Sha256Digest> = tree.manifest.files.iter().filter_map(slot).collect();
    for (path, loader) in plan.loaders() {
        let problem = match slots.get(&path) {
            Some(slot) if *slot == loader.site.slot_sha256 => continue,
            Some(_) => "has another script in the tree than the configuration gives it",
            None => "is in the configuration and not in the tree",
        };
        return Err(Error::ConfigMismatch { path, problem });
    }
    Ok(())
}

fn compare(
    linker: &mut Linker<'_>,
    tree: &CheckedTree,
    site: &Site,
    loaders: &[Loader],
    comparison: &mut MakeComparison,
) -> Result<(), Error> {
    let slot = site.script().slot();
    let name = site.name.as_deref().unwrap_or("the root of the tree");
    linker.link(&slot, loaders, Goals::Loaders, &format!("the script of {name}"))?;
    linker.seal()?;
    for loader in loaders {
        let path = paths::loader_in_tree(site.name.as_deref(), loader.as_str());
        let Some(file) = tree.manifest.files.iter().find(|file| file.path == path) else { continue };
        let (made, mut published) = (linker.loader(*loader, &slot)?, tree.read(&path, &file.content())?);
        // That its signature is right was checked when the tree was opened. Other loaders have none.
        let _ = signature::remove_signatures(&mut published);
        comparison.loaders += 1;
        if made != published {
            let map = linker.link_map(*loader)?;
            // The link map is that of the loader linked here.
            let compare = move || bytes::compare(&made, &published, &LinkMap::new(&map), &[]).exchanged();
            let difference =
                parallel::detached_on_cancel(linker.context().progress, compare).ok_or(build::Error::Cancelled)?;
            comparison.differences.push((path, difference));
        }
    }
    Ok(())
}
