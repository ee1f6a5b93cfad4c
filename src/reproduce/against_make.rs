//! Has iPXE's make embed the scripts of some sites and link their loaders, and compares whole files
//! with those of a tree. What is stamped has to be what make gives, byte for byte.

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
use crate::loader::target::Loader;
use crate::reproduce::bytes::{self, ByteDifference};
use crate::reproduce::cause::{self, Cause};
use crate::tree::manifest::{Manifest, ManifestEntry};
use crate::tree::open::{Changed, CheckedTree};

/// Why nothing could be compared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The tree is not one of this configuration.
    #[error("`{path}` {problem}")]
    ConfigMismatch {
        /// The loader.
        path: Utf8PathBuf,
        /// How it differs from the configuration.
        problem: &'static str,
    },
    /// There is nothing to compare.
    #[error("the configuration has no loader of iPXE")]
    Nothing,
    /// Make failed.
    #[error(transparent)]
    Build(#[from] build::Error),
    /// The tree is not what it was.
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

/// What the comparison came to.
#[derive(Debug, Default)]
pub struct MakeComparison {
    /// The sites that were looked at; the root of the tree is `None`.
    pub sites: Vec<Option<String>>,
    /// How many loaders were compared.
    pub loaders: usize,
    /// How many loaders the tree has that the configuration does not have.
    pub unknown: usize,
    /// Those that differ, and how: here is what is in the tree, there what make gives.
    pub differences: Vec<(Utf8PathBuf, ByteDifference)>,
    /// Where some differ: what the manifest says that they were made of, where that is not what make has here.
    pub causes: Vec<Cause>,
    /// How many of these there are; only the first are kept.
    pub causes_total: usize,
}

/// Compares the loaders that `tree` has for `count` sites of the plan, which `seed` picks, with those that make gives.
///
/// # Errors
///
/// [`Error`]; that bytes differ is none.
pub fn check(context: &BuildContext<'_>, tree: &CheckedTree, count: usize, seed: u64) -> Result<MakeComparison, Error> {
    let plan = context.plan;
    let sample = sample(plan, count, seed);
    if sample.is_empty() {
        return Err(Error::Nothing);
    }
    let of_tree = tree.manifest.files.iter().filter(|file| file.ipxe.is_some()).count();
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
        // Which files there are says nothing about how one of them was made.
        let published = Manifest { files: Vec::new(), ..tree.manifest.clone() };
        (comparison.causes, comparison.causes_total) = cause::causes(&published, &Manifest::head(plan));
    }
    Ok(comparison)
}

/// So many sites, as the digests of `seed` with their names have it.
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

/// Makes sure that the tree has each loader of the configuration, with the script that it gives it.
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
        let (made, published) = (linker.loader(*loader, &slot)?, tree.read(&path, &file.content())?);
        comparison.loaders += 1;
        if made != published {
            let map = linker.link_map(*loader)?;
            // The map is that of the loader that was made here.
            let compare = move || bytes::compare(&made, &published, &LinkMap::new(&map), &[]).exchanged();
            let difference =
                parallel::detached_on_cancel(linker.context().progress, compare).ok_or(build::Error::Cancelled)?;
            comparison.differences.push((path, difference));
        }
    }
    Ok(())
}
