//! Builds a bundle of bases from a project's files, for servers that stamp and have no other part of the project.

use camino::Utf8Path;

use crate::base::fs;
use crate::base::paths::ProjectPaths;
use crate::base::progress::{Task, TaskKind};
use crate::base::tarball::Packer;
use crate::build::plan::Plan;
use crate::build::{self, BuildContext, Built};
use crate::build_loaders::{self, Error};
use crate::digest::Sha256Digest;
use crate::stamp::bundle::{Bundle, IpxeIdentity};

/// Result of [`bundle_bases`].
#[derive(Debug)]
pub struct BundleOutcome {
    /// The bundle's content.
    pub bundle: Bundle,
    /// The bundle's SHA-256.
    pub sha256: Sha256Digest,
    /// The bundle's size in bytes.
    pub size: u64,
    /// Number of bases that were built; all others came from the cache.
    pub made: usize,
}

/// Builds the bases of a plan, compares their linked objects with the baseline of `project`, and writes them to `path`.
///
/// The same bases give the same bytes.
///
/// # Errors
///
/// [`Error`]; an existing file at `path` is then unchanged.
pub fn bundle_bases(
    context: &BuildContext<'_>,
    project: &ProjectPaths,
    path: &Utf8Path,
) -> Result<BundleOutcome, Error> {
    let BuildContext { plan, cache, progress, .. } = *context;
    build::check_cache(cache)?;
    let built = build::make(context)?;
    build_loaders::check_baseline(plan, project, &built, progress)?;
    let bundle = bundle(plan, &built);
    bundle.check_size().map_err(Error::TooLarge)?;
    fs::world_readable::create_world_readable_dir_all(path.parent().unwrap_or(Utf8Path::new(".")))?;
    let task = Task::start(progress, TaskKind::Pack, path.as_str(), None);
    let mut packer = Packer::create(path, plan.inputs.pins.ipxe.epoch, progress)?;
    for (name, content) in bundle.files() {
        packer.add(Utf8Path::new(&name), 0o644, &content)?;
    }
    let (sha256, size) = packer.publish()?;
    task.finish("packed");
    Ok(BundleOutcome { bundle, sha256, size, made: built.made })
}

fn bundle(plan: &Plan, built: &Built) -> Bundle {
    let pin = &plan.inputs.pins.ipxe;
    let ipxe = IpxeIdentity { version: pin.version.clone(), commit: pin.commit };
    let bases = plan.builds.iter().flat_map(|build| {
        let keys = build.bases.values().flat_map(|keys| keys.values());
        keys.map(|key| (build.config.unique_name(build.platform), built.base(key).base.clone()))
    });
    Bundle::new(ipxe, bases)
}
