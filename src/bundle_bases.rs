//! From a project's files to a bundle of bases: for servers that stamp, and have nothing else of this project.

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

/// What bundling came to.
#[derive(Debug)]
pub struct BundleOutcome {
    /// What is in the bundle.
    pub bundle: Bundle,
    /// The bundle's SHA-256.
    pub sha256: Sha256Digest,
    /// The bundle's size in bytes.
    pub size: u64,
    /// How many bases were made; the others were in the cache.
    pub made: usize,
}

/// Makes the bases of a plan, compares what is linked into them with the baseline of `project`, and writes them to `path`. The same bases give the same bytes.
///
/// # Errors
///
/// [`Error`]; what was at `path` before is then as it was.
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
        keys.map(|key| (build.config.unique_name(), built.base(key).base.clone()))
    });
    Bundle::new(ipxe, bases)
}
