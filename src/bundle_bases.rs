//! From a project's files to a bundle of bases: for servers that stamp, and have nothing else of this project.

use camino::Utf8Path;

use crate::build::{self, Built, Workshop};
use crate::build_loaders::{self, Error, Origins};
use crate::digest::Sha256Digest;
use crate::fs;
use crate::paths::Project;
use crate::plan::Plan;
use crate::progress::{Kind, Task};
use crate::stamp::bundle::{Bundle, Ipxe};
use crate::tarball::Packer;

/// What bundling came to.
#[derive(Debug)]
pub struct Outcome {
    /// What is in the bundle.
    pub bundle: Bundle,
    /// The bundle's SHA-256.
    pub sha256: Sha256Digest,
    /// The bundle's size in bytes.
    pub size: u64,
    /// How many bases were made; the others were in the cache.
    pub made: usize,
}

/// Makes the bases of `plan` in `workshop`, compares what is linked into them with the baseline of `project`, and
/// writes them to `path`. The same bases give the same bytes.
///
/// # Errors
///
/// [`Error`]; what was at `path` before is then as it was.
pub fn bundle_bases(
    plan: &Plan,
    project: &Project,
    origins: &Origins,
    workshop: &Workshop<'_>,
    path: &Utf8Path,
) -> Result<Outcome, Error> {
    let Workshop { cache, progress, .. } = *workshop;
    build::check_cache(cache)?;
    let built = build_loaders::make(plan, cache, origins, workshop)?;
    build_loaders::check_baseline(plan, project, &built, progress)?;
    let bundle = bundle(plan, &built);
    bundle.check_size().map_err(Error::TooLarge)?;
    fs::served::create_served_dir_all(path.parent().unwrap_or(Utf8Path::new(".")))?;
    let task = Task::start(progress, Kind::Pack, path.as_str(), None);
    let mut packer = Packer::create(path, plan.inputs.pins.ipxe.epoch, progress)?;
    for (name, content) in bundle.files() {
        packer.add(Utf8Path::new(&name), 0o644, &content)?;
    }
    let (sha256, size) = packer.publish()?;
    task.finish("packed");
    Ok(Outcome { bundle, sha256, size, made: built.made })
}

fn bundle(plan: &Plan, built: &Built) -> Bundle {
    let pin = &plan.inputs.pins.ipxe;
    let ipxe = Ipxe { version: pin.version.clone(), commit: pin.commit };
    let bases = plan.builds.iter().flat_map(|build| {
        let keys = build.bases.values().flat_map(|keys| keys.values());
        keys.map(|key| (build.config.unique_name(), built.base(key).base.clone()))
    });
    Bundle::new(ipxe, bases)
}
