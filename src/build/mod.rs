//! Turns a plan's builds into loaders in the cache.

mod diagnose;
pub mod make;
pub mod outputs;
mod work;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};

use self::make::{Make, Settings};
use self::outputs::Output;
use self::work::WorkTree;
use crate::choices::loader::Loader;
use crate::choices::pins::IpxePin;
use crate::contents::link_map::LinkMap;
use crate::contents::linked::{Linked, Sources};
use crate::digest::Sha256Digest;
use crate::fs;
use crate::paths::Cache;
use crate::plan::{Build, Image, Plan};
use crate::process;
use crate::progress::{Event, Kind, Progress, Task};
use crate::source::ipxe::{self, Source};
use crate::tree::header;

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
    /// iPXE's make cannot work there.
    #[error(
        "cannot build in `{0}`: iPXE's make cannot stand spaces and special characters in a path\nhint: choose another folder with `--cache-dir`"
    )]
    UnusablePath(Utf8PathBuf),
    /// A configuration has a header that iPXE does not read.
    #[error(
        "the configuration `{config}` has the header `{header}`, and iPXE has no such header in src/config\nhint: put the settings into the header that has them in iPXE, as in `general.h`"
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
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

fn diagnosed(known: Option<&(String, &'static str)>) -> String {
    known.map(|(finding, remedy)| format!("{finding}\nhint: {remedy}\n")).unwrap_or_default()
}

/// The built loaders of a plan, by the keys of their outputs.
#[derive(Debug, Clone, Default)]
pub struct Built {
    outputs: BTreeMap<Sha256Digest, Output>,
    /// How many had to be made; the others were in the cache.
    pub made: usize,
}

impl Built {
    /// The output under `key`.
    ///
    /// # Panics
    ///
    /// Where `key` is not of the plan that was built.
    #[must_use]
    pub fn output(&self, key: &Sha256Digest) -> Output {
        self.outputs[key]
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

/// The loaders of `plan` that are in the cache, and the builds with those that are not.
///
/// # Errors
///
/// [`fs::Error`] where the cache cannot be read.
pub fn recall(plan: &Plan, cache: &Cache) -> Result<(Built, Vec<Build>), fs::Error> {
    let mut built = Built::default();
    let mut missing = Vec::new();
    for build in &plan.builds {
        let mut images = Vec::new();
        for image in &build.images {
            let mut loaders = BTreeMap::new();
            for (loader, key) in &image.loaders {
                match outputs::find(cache, key)? {
                    Some(output) => drop(built.outputs.insert(*key, output)),
                    None => drop(loaders.insert(*loader, *key)),
                }
            }
            if !loaders.is_empty() {
                images.push(Image { script: image.script.clone(), loaders });
            }
        }
        if !images.is_empty() {
            missing.push(Build { images, config: build.config.clone(), ..*build });
        }
    }
    Ok((built, missing))
}

/// Where and how loaders are made.
#[derive(Clone, Copy)]
pub struct Workshop<'a> {
    /// Which iPXE.
    pub pin: &'a IpxePin,
    /// Where build trees and built loaders are kept.
    pub cache: &'a Cache,
    /// How make runs.
    pub settings: &'a Settings,
    /// Who hears of it.
    pub progress: &'a dyn Progress,
}

/// Makes the loaders of `missing` and adds them to `built`. `source` is asked where a build tree
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
                    let result = Maker { build, tree, workshop }.make();
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
        let outputs = result?;
        built.made += outputs.len();
        built.outputs.extend(outputs);
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

/// Makes all images of one build.
struct Maker<'a> {
    build: &'a Build,
    tree: WorkTree,
    workshop: Workshop<'a>,
}

impl Maker<'_> {
    fn make(mut self) -> Result<Vec<(Sha256Digest, Output)>, Error> {
        let mut outputs = Vec::new();
        let sources = Sources::read(&self.tree.paths().src(), self.build.platform)?;
        for image in &self.build.images {
            let loaders: Vec<Loader> = image.loaders.keys().copied().collect();
            self.link(image, &loaders)?;
            for (loader, key) in &image.loaders {
                let content = self.take(image, *loader)?;
                let linked = self.linked(*loader, &sources)?;
                outputs.push((*key, outputs::store(self.workshop.cache, key, &content, &linked)?));
            }
        }
        Ok(outputs)
    }

    /// The list of what make has linked into `loader`.
    fn linked(&self, loader: Loader, sources: &Sources) -> Result<String, Error> {
        let map = fs::read(&self.tree.paths().src().join(make::link_map(loader)))?;
        let linked = Linked::of(&LinkMap::new(&String::from_utf8_lossy(&map)), sources)?;
        Ok(linked.to_text(&format!("Linked into {loader} in the configuration `{}`.", self.build.config.name)))
    }

    /// Runs make once: for the first script of a fresh tree it compiles, else it only links.
    fn link(&mut self, image: &Image, loaders: &[Loader]) -> Result<(), Error> {
        let Some(first) = loaders.first() else { return Ok(()) };
        let paths = self.tree.paths().clone();
        let compiled = self.tree.is_compiled();
        // Before the script is there: it changes from make to make, so the seal must not cover it.
        let exported =
            if compiled { Vec::new() } else { fs::walk(&paths.tree())?.into_iter().map(|(path, _)| path).collect() };
        self.tree.embed(&image.script, &make::embedded_object(*first))?;
        let Workshop { pin, settings, progress, .. } = self.workshop;
        let command = Make { pin, config: &self.build.config, settings }.command(&paths, loaders);
        let kind = if compiled { Kind::Link } else { Kind::Make };
        let names = loaders.iter().map(|loader| loader.as_str()).collect::<Vec<_>>().join(", ");
        let total = compiled.then_some(loaders.len() as u64);
        let mut task = Task::start(progress, kind, format!("{names} with {}", image.script.source), total);
        let counted = if compiled { "  [FINISH] " } else { "  [BUILD] " };
        let list = paths.src().join(make::object_list(*first));
        let mut objects = None;
        let run = command.run(progress, &mut |line| {
            if line.starts_with(counted) {
                if !compiled && objects.is_none() {
                    objects =
                        std::fs::read_to_string(&list).ok().map(|text| text.split_ascii_whitespace().count() as u64);
                }
                task.set(task.done() + 1, total.or(objects));
            }
        });
        if let Err(process) = run {
            if progress.cancelled() {
                return Err(Error::Cancelled);
            }
            let log = fs::read(&paths.log()).unwrap_or_default();
            let lines: Vec<String> = String::from_utf8_lossy(&log).lines().map(str::to_owned).collect();
            return Err(Error::Make { known: diagnose::known(&lines), process });
        }
        task.finish(if compiled { "linked" } else { "made" });
        if !compiled {
            self.tree.seal(&exported)?;
        }
        Ok(())
    }

    /// The loader that make made, once it is known to be what was asked for.
    fn take(&self, image: &Image, loader: Loader) -> Result<Vec<u8>, Error> {
        let src = self.tree.paths().src();
        let unexpected =
            |problem: String| Error::Unexpected { target: loader.target(), problem, log: self.tree.paths().log() };
        let content = fs::read(&src.join(loader.target()))?;
        let (kind, arch) = header::loader_kind(loader);
        header::check(&content, kind, Some(arch)).map_err(|error| unexpected(error.to_string()))?;
        let slot = image.script.padded();
        let mut holders: Vec<(&Utf8Path, Vec<u8>)> = Vec::new();
        let object = make::embedded_object(loader);
        holders.push((&object, fs::read(&src.join(&object))?));
        if loader.platform().holds_script_verbatim() {
            holders.push((Utf8Path::new(loader.as_str()), content.clone()));
        }
        for (name, bytes) in &holders {
            let count = memchr::memmem::find_iter(bytes, &slot).count();
            if count != 1 {
                return Err(unexpected(format!("`{name}` holds its script {count} times, wanted once")));
            }
        }
        Ok(content)
    }
}
