//! Turns a plan's builds into bases in the cache: loaders that scripts are stamped into.

pub mod bases;
mod diagnose;
pub mod linker;
pub mod make;
mod work;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use camino::Utf8PathBuf;

use self::bases::BuiltBase;
use self::linker::Linker;
use self::make::{Goals, Settings};
use self::work::WorkTree;
use crate::choices::loader::{Loader, Platform};
use crate::choices::pins::IpxePin;
use crate::contents::link_map::LinkMap;
use crate::contents::linked::{Linked, Sources};
use crate::digest::Sha256Digest;
use crate::fs;
use crate::paths::Cache;
use crate::plan::{Build, Plan};
use crate::printable::printable;
use crate::process;
use crate::progress::{Event, Progress};
use crate::source::bundle;
use crate::source::ipxe::{self, Source};
use crate::stamp::base::{self, Addresses, Base};
use crate::stamp::slot::{Slot, SlotSize};

/// How many builds run side by side, each with all jobs: their serial parts overlap.
const SIDE_BY_SIDE: usize = 2;

/// Why loaders could not be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Make failed.
    #[error("{}{process}", diagnosed(known.as_ref()))]
    Make {
        /// What is known about this failure: the finding and the remedy.
        known: Option<(String, &'static str)>,
        /// The failure itself.
        process: process::Error,
    },
    /// Make succeeded, and what it made is not what was asked for.
    #[error(
        "`{target}` was made, but {problem}\nhint: see {log}; if a compiler launcher is used, build without it: it may have served another script's object"
    )]
    Unexpected {
        /// What make calls the loader.
        target: String,
        /// What is wrong with it.
        problem: String,
        /// The log.
        log: Utf8PathBuf,
    },
    /// What make made cannot be stamped.
    #[error(
        "{}{error}\nhint: see {log}; a patch or a configuration may keep iPXE from embedding scripts as it usually does",
        diagnosed(known.as_ref())
    )]
    NoBase {
        /// What is known about this failure: the finding and the remedy.
        known: Option<(String, &'static str)>,
        /// Why.
        error: Box<base::Error>,
        /// The log.
        log: Utf8PathBuf,
    },
    /// iPXE's make cannot work there.
    #[error(
        "cannot build in `{0}`: iPXE's make cannot stand spaces and special characters in a path\nhint: choose another folder with `--cache-dir`"
    )]
    UnusablePath(Utf8PathBuf),
    /// A configuration has a header that iPXE does not read.
    #[error(
        "the configuration `{}` has the header `{}`, and iPXE has no such header in src/config\nhint: put the settings into the header that has them in iPXE, as in `general.h`",
        printable(config),
        printable(header)
    )]
    UnknownHeader {
        /// The header.
        header: String,
        /// The configuration.
        config: String,
    },
    /// The user asked to stop.
    #[error("the build was interrupted")]
    Cancelled,
    /// The source is not to be had.
    #[error(transparent)]
    Source(#[from] ipxe::Error),
    /// The source bundle does not have what is pinned.
    #[error(transparent)]
    Bundle(#[from] bundle::Error),
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

fn diagnosed(known: Option<&(String, &'static str)>) -> String {
    known.map(|(finding, remedy)| format!("{finding}\nhint: {remedy}\n")).unwrap_or_default()
}

/// The bases of a plan, by their keys.
#[derive(Debug, Default)]
pub struct Built {
    bases: BTreeMap<Sha256Digest, BuiltBase>,
    /// How many had to be made; the others were in the cache.
    pub made: usize,
}

impl Built {
    /// The base under `key`.
    ///
    /// # Panics
    ///
    /// Where `key` is not of the plan that was built.
    #[must_use]
    pub fn base(&self, key: &Sha256Digest) -> &BuiltBase {
        &self.bases[key]
    }
}

/// Makes sure that make can work in `cache`, before anything is fetched into it.
///
/// # Errors
///
/// [`Error::UnusablePath`].
pub fn check_cache(cache: &Cache) -> Result<(), Error> {
    let special = |c: char| c.is_whitespace() || "\"'$#:,;&|<>()`\\".contains(c);
    if cache.root().as_str().contains(special) { Err(Error::UnusablePath(cache.root().to_owned())) } else { Ok(()) }
}

/// The bases of `plan` that are in the cache, and the builds with those that are not.
///
/// # Errors
///
/// [`fs::Error`] where the cache cannot be read.
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
            missing.push(Build { bases, config: build.config.clone(), ..*build });
        }
    }
    Ok((built, missing))
}

/// Where and how loaders are made.
#[derive(Clone, Copy)]
pub struct Workshop<'a> {
    /// Which iPXE.
    pub pin: &'a IpxePin,
    /// Where build trees and bases are kept.
    pub cache: &'a Cache,
    /// How make runs.
    pub settings: &'a Settings,
    /// Who hears of it.
    pub progress: &'a dyn Progress,
}

/// Makes the bases of `missing` and adds them to `built`. `source` is asked where a build tree
/// has to be made.
///
/// # Errors
///
/// [`Error`] of the first build that fails; the others are ended then.
pub fn run(
    missing: &[Build],
    built: &mut Built,
    workshop: &Workshop<'_>,
    source: &mut dyn FnMut() -> Result<Rc<Source>, Error>,
) -> Result<(), Error> {
    let mut trees = Vec::new();
    for build in missing {
        trees.push((build, WorkTree::open(build, workshop, source)?.ok_or(Error::Cancelled)?));
    }
    let failed = AtomicBool::new(false);
    let joint = Joint { progress: workshop.progress, failed: &failed };
    let workshop = Workshop { progress: &joint, ..*workshop };
    let queue = Mutex::new(trees.into_iter());
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE.min(missing.len()) {
            scope.spawn(|| {
                loop {
                    // A statement of its own: the queue must not stay locked while a build runs.
                    let next = lock(&queue).next();
                    let Some((build, tree)) = next else { break };
                    let result = Maker { build, linker: Linker::new(build, tree, workshop) }.make();
                    let bad = result.is_err();
                    // First the result, then the flag: what fails because of the flag comes later.
                    lock(&results).push(result);
                    failed.fetch_or(bad, Ordering::Relaxed);
                    if failed.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
        }
    });
    // The build that failed first made the others fail; its error is the one to tell.
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

/// Progress of builds that end together.
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

/// The symbol of a checksum over all that was linked. BIOS loaders have none.
const BUILD_ID: &str = "build_id";

/// Makes all bases of one build.
struct Maker<'a> {
    build: &'a Build,
    linker: Linker<'a>,
}

impl Maker<'_> {
    fn make(mut self) -> Result<Vec<(Sha256Digest, BuiltBase)>, Error> {
        let mut bases = Vec::new();
        let sources = Sources::read(&self.linker.src(), self.build.platform)?;
        for (size, keys) in &self.build.bases {
            let loaders: Vec<Loader> = keys.keys().copied().collect();
            let slot = Slot::sentinel(*size);
            self.linker.link(&slot, &loaders, Goals::Bases, "a script to be stamped")?;
            for (loader, key) in keys {
                let content = self.linker.loader(*loader, &slot)?;
                let base = self.capture(*loader, content, *size)?;
                let linked = self.linked(*loader, &sources)?;
                let zbin = if loader.platform() == Platform::Bios { Some(self.zbin()?) } else { None };
                bases.push((*key, bases::store(self.linker.workshop().cache, key, base, linked, zbin.as_deref())?));
            }
            self.linker.seal()?;
        }
        Ok(bases)
    }

    /// The base that make has left of `loader`, whose file has `content`.
    fn capture(&self, loader: Loader, content: Vec<u8>, size: SlotSize) -> Result<Base, Error> {
        let src = self.linker.src();
        let no_base = |error| {
            let log = self.linker.log();
            Error::NoBase { known: diagnose::of_log(&log), error: Box::new(error), log }
        };
        let path = src.join(make::linked(loader));
        let map = self.linker.link_map(loader)?;
        let map = LinkMap::new(&map);
        if loader.platform() == Platform::Bios {
            if map.address(BUILD_ID).is_some() {
                return Err(self.linker.unexpected(loader, "a BIOS loader with a build id cannot be stamped".into()));
            }
            let (image, zinfo) = (fs::read(&src.join(make::image(loader)))?, fs::read(&src.join(make::zinfo(loader)))?);
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
        // It has everything that was linked, and is of no more use.
        fs::remove_file(&path)?;
        Ok(captured)
    }

    /// The program that packs BIOS loaders.
    fn zbin(&self) -> Result<Vec<u8>, fs::Error> {
        let [first, second] = make::ZBIN.map(|name| self.linker.src().join(name));
        match fs::read_if_exists(&first)? {
            Some(zbin) => Ok(zbin),
            None => fs::read(&second),
        }
    }

    /// The list of what make has linked into `loader`.
    fn linked(&self, loader: Loader, sources: &Sources) -> Result<String, Error> {
        let linked = Linked::of(&LinkMap::new(&self.linker.link_map(loader)?), sources)?;
        Ok(linked.to_text(&format!("Linked into {loader} in the configuration `{}`.", self.build.config.name)))
    }
}
