//! Builds a plan's bases into the cache; a base is a loader to stamp scripts into.

pub mod baseline;
pub mod bases;
pub(crate) mod build_tree;
mod context;
mod diagnose;
pub mod linker;
pub mod make;
pub mod plan;
pub mod reference_builds;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use self::bases::{BuiltBase, Companions};
use self::build_tree::BuildTree;
pub use self::context::{BuildContext, Error};
use self::linker::Linker;
use self::make::Goals;
use crate::base::fs;
use crate::base::paths::Cache;
use crate::base::progress::{Event, Progress};
use crate::build::plan::{Build, Plan};
use crate::digest::Sha256Digest;
use crate::fetch::origins::LazySource;
use crate::loader::link_map::LinkMap;
use crate::loader::linked_objects::{LinkedObjects, Sources};
use crate::loader::target::{Loader, Platform};
use crate::stamp::base::{Addresses, Base};
use crate::stamp::slot::{Slot, SlotSize};

/// Number of concurrent builds, each with all jobs, so that their serial parts overlap.
const SIDE_BY_SIDE: usize = 2;

/// The bases of a plan, by their keys.
#[derive(Debug, Default)]
pub struct Built {
    bases: BTreeMap<Sha256Digest, BuiltBase>,
    /// Number of bases that were built; all others came from the cache.
    pub made: usize,
}

impl Built {
    /// Returns the base under `key`.
    ///
    /// # Panics
    ///
    /// If `key` is not a key of the plan that was built.
    #[must_use]
    pub fn base(&self, key: &Sha256Digest) -> &BuiltBase {
        &self.bases[key]
    }
}

/// Checks that make can work in `cache`, before anything is fetched into it.
///
/// # Errors
///
/// [`Error::UnusablePath`].
pub fn check_cache(cache: &Cache) -> Result<(), Error> {
    let special = |c: char| c.is_whitespace() || "\"'$#:,;&|<>()`\\".contains(c);
    if cache.root().as_str().contains(special) { Err(Error::UnusablePath(cache.root().to_owned())) } else { Ok(()) }
}

/// Returns the bases of `plan` that are in the cache, and the builds with the missing ones.
///
/// # Errors
///
/// [`fs::Error`] if the cache cannot be read.
pub fn recall(plan: &Plan, cache: &Cache) -> Result<(Built, Vec<Build>), fs::Error> {
    let mut built = Built::default();
    let mut missing = Vec::new();
    for build in &plan.builds {
        let mut bases: BTreeMap<SlotSize, BTreeMap<Loader, Sha256Digest>> = BTreeMap::new();
        for (size, keys) in &build.bases {
            for (loader, key) in keys {
                match bases::find(cache, key)? {
                    Some(base) => drop(built.bases.insert(*key, base)),
                    None => drop(bases.entry(*size).or_default().insert(*loader, *key)),
                }
            }
        }
        if !bases.is_empty() {
            let Build { platform, config, inputs, key, .. } = build;
            let (config, inputs) = (config.clone(), inputs.clone());
            missing.push(Build { platform: *platform, config, inputs, key: *key, bases });
        }
    }
    Ok((built, missing))
}

/// Builds the bases of the plan of `context` that its cache lacks. Fetches iPXE's source if a build needs it and it is
/// missing.
///
/// # Errors
///
/// [`Error`].
pub fn make(context: &BuildContext<'_>) -> Result<Built, Error> {
    let (mut built, missing) = recall(context.plan, context.cache)?;
    run(&missing, &mut built, context, &mut context.source())?;
    Ok(built)
}

/// Builds the bases of `missing` and adds them to `built`. Uses `source` only if a build tree must be created.
///
/// # Errors
///
/// [`Error`] of the first build that fails; all other builds are then cancelled.
pub fn run(
    missing: &[Build],
    built: &mut Built,
    context: &BuildContext<'_>,
    source: &mut LazySource<'_>,
) -> Result<(), Error> {
    let mut trees = Vec::new();
    for build in missing {
        trees.push((build, BuildTree::open(build, context, source)?.ok_or(Error::Cancelled)?));
    }
    let failed = AtomicBool::new(false);
    let joint = Joint { progress: context.progress, failed: &failed };
    let context = BuildContext { progress: &joint, ..*context };
    let queue = Mutex::new(trees.into_iter());
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE.min(missing.len()) {
            scope.spawn(|| {
                loop {
                    // A separate statement, so that the queue is not locked while a build runs.
                    let next = lock(&queue).next();
                    let Some((build, tree)) = next else { break };
                    let result = Maker { build, linker: Linker::new(build, tree, context) }.make();
                    let bad = result.is_err();
                    // The result comes before the flag, so that failures caused by the flag come later in the list.
                    lock(&results).push(result);
                    failed.fetch_or(bad, Ordering::Relaxed);
                    if failed.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
        }
    });
    // The first failure caused the others; report its error.
    for result in results.into_inner().unwrap_or_else(PoisonError::into_inner) {
        let bases = result?;
        built.made += bases.len();
        built.bases.extend(bases);
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Progress of builds that are cancelled together if one of them fails.
struct Joint<'a> {
    progress: &'a dyn Progress,
    failed: &'a AtomicBool,
}

impl Progress for Joint<'_> {
    fn report(&self, event: &Event) {
        self.progress.report(event);
    }

    fn cancelled(&self) -> bool {
        self.failed.load(Ordering::Relaxed) || self.progress.cancelled()
    }
}

/// Symbol of a checksum over everything that is linked. BIOS loaders have none.
const BUILD_ID: &str = "build_id";

/// Builds all bases of one build.
struct Maker<'a> {
    build: &'a Build,
    linker: Linker<'a>,
}

impl Maker<'_> {
    fn make(mut self) -> Result<Vec<(Sha256Digest, BuiltBase)>, Error> {
        let mut bases = Vec::new();
        let genfsimg = fs::read_if_exists(&self.linker.src().join(make::GENFSIMG))?;
        let genfsimg = genfsimg.and_then(|text| String::from_utf8(text).ok());
        let sources = Sources::read(&self.linker.src(), self.build.platform)?;
        for (size, keys) in &self.build.bases {
            let loaders: Vec<Loader> = keys.keys().copied().collect();
            let slot = Slot::sentinel(*size);
            self.linker.link(&slot, &loaders, Goals::Bases, "an empty slot")?;
            for (loader, key) in keys {
                let content = self.linker.loader(*loader, &slot)?;
                let base = self.capture(*loader, content, *size)?;
                let linked = self.linked(*loader, &sources)?;
                let zbin = if loader.platform() == Platform::Bios { Some(self.zbin()?) } else { None };
                let companions = Companions { linked, zbin, genfsimg: genfsimg.clone() };
                bases.push((*key, bases::store(self.linker.context().cache, key, base, companions)?));
            }
            self.linker.seal()?;
        }
        Ok(bases)
    }

    /// Captures the base of `loader`, whose file has `content`, from make's output.
    fn capture(&self, loader: Loader, content: Vec<u8>, size: SlotSize) -> Result<Base, Error> {
        let (src, config) = (self.linker.src(), &self.build.config);
        let no_base = |error| {
            let log = self.linker.log();
            Error::NoBase { known: diagnose::of_log(&log).map(Box::new), error: Box::new(error), log }
        };
        let path = src.join(make::linked(config, loader));
        let map = self.linker.link_map(loader)?;
        let map = LinkMap::new(&map);
        if loader.platform() == Platform::Bios {
            if map.address(BUILD_ID).is_some() {
                return Err(self.linker.unexpected(loader, "a BIOS loader with a build id cannot be stamped".into()));
            }
            let (image, zinfo) =
                (fs::read(&src.join(make::image(config, loader)))?, fs::read(&src.join(make::zinfo(config, loader)))?);
            fs::remove_file(&path)?;
            return Base::capture_bios(loader.as_str(), image, zinfo, &content, size).map_err(no_base);
        }
        let address = |symbol| {
            let problem = format!("the linker says nothing of `{symbol}`");
            map.address(symbol).ok_or_else(|| self.linker.unexpected(loader, problem))
        };
        let addresses = Addresses { slot: address("embedded_image_1_data")?, build_id: address(BUILD_ID)? };
        let captured = Base::capture_efi(loader.as_str(), content, size, addresses, &mut fs::open(&path)?)
            .map_err(|error| fs::Error::new("read", &path, error))?
            .map_err(no_base)?;
        // The file has everything that was linked, and is no longer needed.
        fs::remove_file(&path)?;
        Ok(captured)
    }

    /// Returns the program that packs BIOS loaders.
    fn zbin(&self) -> Result<Vec<u8>, fs::Error> {
        let [first, second] = make::ZBIN.map(|name| self.linker.src().join(name));
        match fs::read_if_exists(&first)? {
            Some(zbin) => Ok(zbin),
            None => fs::read(&second),
        }
    }

    /// Returns the list of objects that make linked into `loader`.
    fn linked(&self, loader: Loader, sources: &Sources) -> Result<String, Error> {
        let linked = LinkedObjects::of(&LinkMap::new(&self.linker.link_map(loader)?), sources)?;
        Ok(linked.to_text(&format!("Linked into {loader} in the configuration `{}`.", self.build.config.name)))
    }
}
