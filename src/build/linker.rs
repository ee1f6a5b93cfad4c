//! Runs iPXE's make in a build tree, to embed a slot and link loaders. The first run compiles; later runs only link.

use camino::{Utf8Path, Utf8PathBuf};

use super::build_tree::BuildTree;
use super::context::{BuildContext, Error};
use super::diagnose;
use super::make::{self, Goals, Make};
use crate::base::fs;
use crate::base::paths::WorkPaths;
use crate::base::process::Command;
use crate::base::progress::{Progress, Task, TaskKind};
use crate::build::plan::Build;
use crate::fetch::origins::LazySource;
use crate::loader::file_kind;
use crate::loader::target::Loader;
use crate::stamp::slot::Slot;

/// What the progress of make counts.
pub(crate) enum MakeUnits {
    /// Loaders that are linked: this many.
    Loaders(u64),
    /// Objects that are compiled: those in this list, relative to the folder in which make runs, which make writes first.
    Objects(Utf8PathBuf),
}

/// Runs make with `command` in the tree at `work`. The progress is reported under `label`.
pub(crate) fn run_make(
    command: &Command,
    work: &WorkPaths,
    (label, units): (&str, &MakeUnits),
    progress: &dyn Progress,
) -> Result<(), Error> {
    let (kind, counted, done, mut total) = match units {
        MakeUnits::Loaders(count) => (TaskKind::Link, "  [FINISH] ", "linked", Some(*count)),
        MakeUnits::Objects(_) => (TaskKind::Make, "  [BUILD] ", "made", None),
    };
    let mut task = Task::start(progress, kind, label, total);
    let run = command.run(progress, &mut |line| {
        if line.starts_with(counted) {
            if let (MakeUnits::Objects(list), None) = (units, total) {
                let list = std::fs::read_to_string(work.src().join(list));
                total = list.ok().map(|text| text.split_ascii_whitespace().count() as u64);
            }
            task.set(task.done() + 1, total);
        }
    });
    if let Err(process) = run {
        if progress.cancelled() {
            return Err(Error::Cancelled);
        }
        return Err(Error::Make { known: diagnose::of_log(&work.log()).map(Box::new), process });
    }
    task.finish(done);
    Ok(())
}

/// Links the loaders of one build, with one slot after another.
pub struct Linker<'a> {
    build: &'a Build,
    tree: BuildTree,
    context: BuildContext<'a>,
    /// Files that existed before make ran, in a tree that is not sealed yet.
    exported: Vec<Utf8PathBuf>,
}

impl<'a> Linker<'a> {
    /// Opens the build tree of `build`; `source` is used only if the tree must be created.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn open(build: &'a Build, context: &BuildContext<'a>, source: &mut LazySource<'_>) -> Result<Self, Error> {
        let tree = BuildTree::open(build, context, source)?.ok_or(Error::Cancelled)?;
        Ok(Self::new(build, tree, *context))
    }

    /// Creates a linker with an open tree.
    pub(super) fn new(build: &'a Build, tree: BuildTree, context: BuildContext<'a>) -> Self {
        Self { build, tree, context, exported: Vec::new() }
    }

    /// Returns the folder in which make runs.
    #[must_use]
    pub fn src(&self) -> Utf8PathBuf {
        self.tree.paths().src()
    }

    /// Returns the path of the log, with all output of the last make.
    #[must_use]
    pub fn log(&self) -> Utf8PathBuf {
        self.tree.paths().log()
    }

    /// Returns the context of the build.
    #[must_use]
    pub fn context(&self) -> &BuildContext<'a> {
        &self.context
    }

    /// Runs make once, for `loaders` with `slot`; `name` names the slot in progress messages.
    ///
    /// # Errors
    ///
    /// [`Error::Make`].
    pub fn link(&mut self, slot: &Slot, loaders: &[Loader], goals: Goals, name: &str) -> Result<(), Error> {
        let Some(first) = loaders.first() else { return Ok(()) };
        let paths = self.tree.paths().clone();
        let compiled = self.tree.is_compiled();
        if !compiled {
            // Before the slot exists: it changes from make to make, so the seal must not cover it.
            self.exported = fs::walk(&paths.tree())?.into_iter().map(|(path, _)| path).collect();
        }
        self.tree.embed(slot, &make::embedded_object(&self.build.config, *first))?;
        let BuildContext { settings, progress, .. } = self.context;
        let command =
            Make { pin: self.context.pin(), config: &self.build.config, settings }.command(&paths, loaders, goals);
        let names = loaders.iter().map(|loader| loader.as_str()).collect::<Vec<_>>().join(", ");
        let units = if compiled {
            MakeUnits::Loaders(loaders.len() as u64)
        } else {
            MakeUnits::Objects(make::object_list(&self.build.config, *first))
        };
        run_make(&command, &paths, (&format!("{names} with {name}"), &units), progress)
    }

    /// Seals the tree, if it has just been compiled. Temporary files must be removed first.
    ///
    /// # Errors
    ///
    /// [`fs::Error`].
    pub fn seal(&mut self) -> Result<(), fs::Error> {
        if self.tree.is_compiled() { Ok(()) } else { self.tree.seal(&self.exported) }
    }

    /// Returns the loader that make built, after checking that it is one and that it contains `slot`.
    ///
    /// # Errors
    ///
    /// [`Error::Unexpected`] if it is not.
    pub fn loader(&self, loader: Loader, slot: &Slot) -> Result<Vec<u8>, Error> {
        let src = self.src();
        let content = fs::read(&src.join(self.build.config.target(loader)))?;
        let (kind, arch) = file_kind::loader_kind(loader);
        file_kind::check(&content, kind, Some(arch)).map_err(|error| self.unexpected(loader, error.to_string()))?;
        let object = make::embedded_object(&self.build.config, loader);
        let embedded = fs::read(&src.join(&object))?;
        let mut holders: Vec<(&Utf8Path, &[u8])> = vec![(&object, &embedded)];
        if loader.platform().holds_script_verbatim() {
            holders.push((Utf8Path::new(loader.as_str()), &content));
        }
        for (name, bytes) in holders {
            let count = memchr::memmem::find_iter(bytes, slot.bytes()).count();
            if count != 1 {
                return Err(self.unexpected(
                    loader,
                    format!("`{name}` holds its script {}, wanted once", crate::base::plural::count(count, "time")),
                ));
            }
        }
        Ok(content)
    }

    /// Returns the linker's map of `loader`.
    ///
    /// # Errors
    ///
    /// [`fs::Error`].
    pub fn link_map(&self, loader: Loader) -> Result<String, fs::Error> {
        let map = fs::read(&self.src().join(make::link_map(&self.build.config, loader)))?;
        Ok(String::from_utf8_lossy(&map).into_owned())
    }

    pub(super) fn unexpected(&self, loader: Loader, problem: String) -> Error {
        Error::Unexpected { target: self.build.config.target(loader), problem, log: self.log() }
    }
}
