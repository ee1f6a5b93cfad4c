//! Finds the tool's files and decides which ones to remove.

use std::collections::{BTreeSet, HashSet};
use std::fs::{DirEntry, FileType};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use super::items::{CacheItemKind, CacheScan, CleanRequest, Error, Fate, Item, MAX_ENTRIES, MAX_PATHS};
use crate::base::fs::{self, Lock};
use crate::base::paths::{self, BasePaths, CachePart, ProgramPaths, Staging, WorkPaths};
use crate::digest::Sha256Digest;
use crate::rehearse::program;

/// Minimum time without changes before something outside the cache counts as the remains of a killed run, if no lock
/// decides that.
const MIN_IDLE: Duration = Duration::from_secs(60 * 60);

/// Limit for the listings of all folders together. A cache that has been in use for years has a few hundred entries.
const LISTING_LIMIT: ListingBudget = ListingBudget { entries: MAX_ENTRIES, bytes: MAX_PATHS };

/// Finds the tool's files and decides which ones to remove. Changes nothing.
///
/// # Errors
///
/// [`Error`] if the run is cancelled, a folder cannot be listed, or there are too many entries.
pub fn scan(request: &CleanRequest<'_>) -> Result<CacheScan, Error> {
    scan_within(request, LISTING_LIMIT)
}

/// Does the work of [`scan`], within `budget` for the listings.
fn scan_within(request: &CleanRequest<'_>, budget: ListingBudget) -> Result<CacheScan, Error> {
    let mut scanner = Scanner { request, budget, scan: CacheScan::default() };
    if !request.shared {
        scanner.cache()?;
    }
    scanner.dist()?;
    for folder in request.project.vendor_and_config_dirs() {
        scanner.partial_files(&folder)?;
    }
    scanner.temporary()?;
    let mut scan = scanner.scan;
    scan.items.sort_by(|a, b| a.path.cmp(&b.path));
    scan.foreign.sort();
    Ok(scan)
}

/// Returns the path of the record of what is in the cache under a key.
type RecordPath = fn(&paths::Cache, &Sha256Digest) -> Utf8PathBuf;

/// An entry of a folder.
struct Entry {
    path: Utf8PathBuf,
    name: String,
    kind: FileType,
}

/// Remaining budget for listings.
struct ListingBudget {
    entries: usize,
    bytes: usize,
}

struct Scanner<'a> {
    request: &'a CleanRequest<'a>,
    budget: ListingBudget,
    scan: CacheScan,
}

impl Scanner<'_> {
    /// Returns the entries of `folder`; none if it does not exist or is a link. Names that are not UTF-8 are not this
    /// tool's.
    fn entries(&mut self, folder: &Utf8Path) -> Result<Vec<Entry>, Error> {
        if folder.is_symlink() {
            return Ok(Vec::new());
        }
        let failed = |error| fs::Error::new("list", folder, error);
        let entries = match std::fs::read_dir(folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut found = Vec::new();
        for entry in entries {
            check_cancelled(self.request)?;
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().into_string();
            let path = folder.join(name.as_deref().unwrap_or(&*entry.file_name().to_string_lossy()));
            self.charge(folder, &path)?;
            match name {
                Ok(name) => found.push(Entry { path, name, kind: entry.file_type().map_err(failed)? }),
                Err(_) => self.foreign(&path),
            }
        }
        Ok(found)
    }

    /// Charges the budget for one more entry of `folder`, with the path `path`.
    fn charge(&mut self, folder: &Utf8Path, path: &Utf8Path) -> Result<(), Error> {
        let left = |most: usize, taken| most.checked_sub(taken).ok_or_else(|| Error::TooMuch(folder.to_owned()));
        self.budget = ListingBudget {
            entries: left(self.budget.entries, 1)?,
            bytes: left(self.budget.bytes, path.as_str().len())?,
        };
        Ok(())
    }

    fn foreign(&mut self, path: &Utf8Path) {
        self.scan.foreign.push(path.to_owned());
    }

    fn add(&mut self, kind: CacheItemKind, path: &Utf8Path, fate: Fate) -> Result<(), Error> {
        let bytes = size(path.as_std_path(), self.request, &mut HashSet::new())?;
        self.scan.items.push(Item { kind, path: path.to_owned(), bytes, fate });
        Ok(())
    }

    /// Returns the time since `path` itself was modified; zero if that is unknown.
    fn age(&self, path: &Utf8Path) -> Duration {
        let modified = path.symlink_metadata().and_then(|metadata| metadata.modified()).ok();
        modified.and_then(|modified| self.request.now.duration_since(modified).ok()).unwrap_or_default()
    }

    /// Returns the fate of an item that is `needed` or not. The modification time of `stamp` is the item's last use.
    fn fate(&self, needed: bool, stamp: &Utf8Path) -> Fate {
        match needed {
            true => Fate::Needed,
            false if self.age(stamp) < self.request.unused_for => Fate::Recent,
            false => Fate::Unused,
        }
    }

    fn cache(&mut self) -> Result<(), Error> {
        use CachePart as P;
        let cache = self.request.cache;
        for Entry { path, name, kind } in self.entries(cache.root())? {
            let part = paths::Cache::part(&name);
            match part {
                Some(P::SyslinuxRecord(version)) if kind.is_file() => {
                    let needed = self.request.pins.is_none_or(|pins| pins.syslinux.version == version);
                    self.add(CacheItemKind::Record, &path, self.fate(needed, &path))?;
                }
                Some(P::Leftover) if kind.is_dir() || kind.is_file() => self.leftover(&path, &name)?,
                Some(P::Tag) if kind.is_file() => {}
                _ if !kind.is_dir() => self.foreign(&path),
                Some(P::Ipxe) => {
                    self.git_leftovers(&path)?;
                    self.add(CacheItemKind::Source, &path, Fate::Needed)?;
                }
                Some(P::History) => match self.fate(false, &path) {
                    Fate::Recent => {
                        self.git_leftovers(&path)?;
                        self.add(CacheItemKind::History, &path, Fate::Recent)?;
                    }
                    fate => self.add(CacheItemKind::History, &path, fate)?,
                },
                Some(P::Blobs) => self.blobs(&path)?,
                Some(P::Bases) => self.bases(&path)?,
                Some(P::Programs) => self.programs(&path)?,
                Some(P::Trees) => self.trees(&path)?,
                Some(P::Toolchains) => self.toolchains(&path)?,
                Some(P::Guests) => {
                    for Entry { path, .. } in self.entries(&path)? {
                        self.add(CacheItemKind::Source, &path, self.fate(false, &path))?;
                    }
                }
                Some(P::Scratch) => {
                    for Entry { path, name, kind } in self.entries(&path)? {
                        if !kind.is_symlink() && paths::Cache::is_scratch(&name) {
                            self.add(CacheItemKind::Leftover, &path, Fate::Unused)?;
                        } else {
                            self.foreign(&path);
                        }
                    }
                }
                // A lock file must stay: another process may have opened it and wait for the lock.
                Some(P::Locks) => {}
                Some(P::Leftover | P::SyslinuxRecord(_) | P::Tag) | None => self.foreign(&path),
            }
        }
        Ok(())
    }

    /// Adds something that has no use after the end of its run.
    fn leftover(&mut self, path: &Utf8Path, name: &str) -> Result<(), Error> {
        if self.request.cache.reproduce().file_name() == Some(name) && path.is_dir() {
            return self.rebuild(path);
        }
        self.add(CacheItemKind::Leftover, path, Fate::Unused)
    }

    /// Adds the remains of a rebuild: the whole folder, unless it contains files of the user.
    fn rebuild(&mut self, folder: &Utf8Path) -> Result<(), Error> {
        let known = self.scan.foreign.len();
        let (own, others): (Vec<_>, Vec<_>) =
            self.entries(folder)?.into_iter().partition(|entry| paths::Cache::is_of_rebuild(&entry.name));
        for entry in &others {
            self.foreign(&entry.path);
        }
        if self.scan.foreign.len() == known {
            return self.add(CacheItemKind::Leftover, folder, Fate::Unused);
        }
        for entry in own {
            self.add(CacheItemKind::Leftover, &entry.path, Fate::Unused)?;
        }
        Ok(())
    }

    fn blobs(&mut self, folder: &Utf8Path) -> Result<(), Error> {
        let pins = self.request.pins;
        let members = pins.iter().flat_map(|pins| &pins.syslinux.members).map(|member| member.sha256);
        let of_set = pins.iter().flat_map(|pins| &pins.signed_set).flat_map(|set| &set.files).map(|file| file.sha256);
        let pinned: Option<Vec<Sha256Digest>> = pins.map(|_| members.chain(of_set).collect());
        for Entry { path, name, kind } in self.entries(folder)? {
            match name.parse::<Sha256Digest>() {
                Ok(digest) if kind.is_file() => {
                    let needed = pinned.as_ref().is_none_or(|pinned| pinned.contains(&digest));
                    self.add(CacheItemKind::Source, &path, self.fate(needed, &path))?;
                }
                _ => self.partial_or_foreign(&path, &name, kind)?,
            }
        }
        Ok(())
    }

    fn toolchains(&mut self, folder: &Utf8Path) -> Result<(), Error> {
        let record = self.request.plan.map(|plan| plan.inputs.toolchain.record(self.request.cache));
        for Entry { path, name, kind } in self.entries(folder)? {
            let key = name.strip_suffix(".json").is_some_and(|key| key.bytes().all(|byte| byte.is_ascii_hexdigit()));
            if key && kind.is_file() {
                let needed = record.as_ref().is_none_or(|record| *record == path);
                self.add(CacheItemKind::Record, &path, self.fate(needed, &path))?;
            } else {
                self.partial_or_foreign(&path, &name, kind)?;
            }
        }
        Ok(())
    }

    fn partial_or_foreign(&mut self, path: &Utf8Path, name: &str, kind: FileType) -> Result<(), Error> {
        if kind.is_file() && paths::is_partial(name) {
            return self.add(CacheItemKind::Leftover, path, Fate::Unused);
        }
        self.foreign(path);
        Ok(())
    }

    fn bases(&mut self, folder: &Utf8Path) -> Result<(), Error> {
        let bases = self.request.plan.map(|plan| {
            let keys = plan.builds.iter().flat_map(|build| build.bases.values()).flat_map(|loaders| loaders.values());
            keys.copied().collect::<BTreeSet<Sha256Digest>>()
        });
        let record: RecordPath = |cache, key| cache.base(key).record();
        self.by_key(folder, CacheItemKind::Base, (&BasePaths::NAMES, record), bases.as_ref())
    }

    fn programs(&mut self, folder: &Utf8Path) -> Result<(), Error> {
        let programs = self.request.plan.map(program::keys);
        let record: RecordPath = |cache, key| cache.program(key).record();
        self.by_key(folder, CacheItemKind::Program, (&ProgramPaths::NAMES, record), programs.as_ref())
    }

    /// Adds the folders in `folder` that are called after keys and have only `names`. Each use is recorded at the path
    /// that `record` returns.
    fn by_key(
        &mut self,
        folder: &Utf8Path,
        kind: CacheItemKind,
        (names, record): (&[&str], RecordPath),
        needed: Option<&BTreeSet<Sha256Digest>>,
    ) -> Result<(), Error> {
        for Entry { path, name, kind: file_type } in self.entries(folder)? {
            let key = name.parse::<Sha256Digest>().ok().filter(|_| file_type.is_dir());
            let own = key.is_some() && self.has_only(&path, names)?;
            let Some(key) = key.filter(|_| own) else {
                self.partial_or_foreign(&path, &name, file_type)?;
                continue;
            };
            let needed = needed.is_none_or(|keys| keys.contains(&key));
            let record = record(self.request.cache, &key);
            let stamp = if record.exists() { record } else { path.clone() };
            self.add(kind, &path, self.fate(needed, &stamp))?;
        }
        Ok(())
    }

    fn trees(&mut self, folder: &Utf8Path) -> Result<(), Error> {
        let builds =
            self.request.plan.map(|plan| plan.builds.iter().map(crate::build::plan::Build::name).collect::<Vec<_>>());
        for Entry { path, name, kind } in self.entries(folder)? {
            if !kind.is_dir() || !self.has_only(&path, &WorkPaths::NAMES)? {
                self.partial_or_foreign(&path, &name, kind)?;
                continue;
            }
            let needed = builds.as_ref().is_none_or(|builds| builds.contains(&name));
            let seal = self.request.cache.work(&name).seal();
            let stamp = if seal.exists() { seal } else { path.clone() };
            self.add(CacheItemKind::BuildTree, &path, self.fate(needed, &stamp))?;
        }
        Ok(())
    }

    /// Checks whether `folder` contains only `names` and partially written files. Otherwise it is not this tool's.
    fn has_only(&self, folder: &Utf8Path, names: &[&str]) -> Result<bool, Error> {
        for entry in readable(folder.as_std_path()) {
            check_cancelled(self.request)?;
            let name = entry.file_name();
            let linked = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            if linked || !name.to_str().is_some_and(|name| names.contains(&name) || paths::is_partial(name)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Adds the files that libgit2 was writing to the repository at `path` when it was killed. A remaining lock would
    /// block the next fetch.
    fn git_leftovers(&mut self, path: &Utf8Path) -> Result<(), Error> {
        let mut folders = vec![path.to_owned()];
        while let Some(folder) = folders.pop() {
            let objects = folder.starts_with(path.join("objects"));
            for entry in readable(folder.as_std_path()) {
                check_cancelled(self.request)?;
                // libgit2 only uses UTF-8 names.
                let (Ok(name), Ok(kind)) = (entry.file_name().into_string(), entry.file_type()) else { continue };
                let temporary =
                    if objects { name.contains("_git2_") } else { Utf8Path::new(&name).extension() == Some("lock") };
                if kind.is_dir() || kind.is_file() && temporary {
                    let path = folder.join(name);
                    self.charge(&folder, &path)?;
                    if kind.is_dir() {
                        folders.push(path);
                    } else {
                        self.add(CacheItemKind::Leftover, &path, Fate::Unused)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Adds what killed runs have left beside the trees and releases of the project.
    fn dist(&mut self) -> Result<(), Error> {
        let dist = self.request.project.dist();
        let mut trees = BTreeSet::new();
        for Entry { name, .. } in self.entries(&dist)? {
            trees.extend(Staging::tree_of(&name).map(str::to_owned));
        }
        for tree in trees.iter().map(|name| dist.join(name)) {
            let staging = Staging::of(&tree);
            let locked = staging.lock.symlink_metadata().is_ok_and(|metadata| metadata.is_file());
            // If the attempt to lock fails, another process may hold the lock.
            let lock = locked.then(|| Lock::try_existing(&staging.lock).unwrap_or_default());
            let parts = [&staging.partial, &staging.next_journal, &staging.previous];
            // If the tree is missing, the previous one is all that is left of it. The next build restores it.
            let parts = parts.into_iter().filter(|part| **part != staging.previous || tree.exists());
            for part in parts.filter(|part| part.symlink_metadata().is_ok_and(|metadata| !metadata.is_symlink())) {
                let fate = match &lock {
                    Some(None) => Fate::Busy,
                    Some(Some(_)) => Fate::Unused,
                    None => self.quiet(part)?,
                };
                self.add(CacheItemKind::Leftover, part, fate)?;
            }
            self.scan.locks.extend(lock.flatten());
        }
        self.partial_files(&dist)
    }

    /// Adds the partially written files in `folder`.
    fn partial_files(&mut self, folder: &Utf8Path) -> Result<(), Error> {
        for Entry { path, name, kind } in self.entries(folder)? {
            if kind.is_file() && paths::is_partial(&name) {
                self.add(CacheItemKind::Leftover, &path, self.quiet(&path)?)?;
            }
        }
        Ok(())
    }

    /// Returns the fate of something that is unneeded unless a process is still writing it.
    fn quiet(&self, path: &Utf8Path) -> Result<Fate, Error> {
        Ok(if self.has_changed(path.as_std_path())? { Fate::Changing } else { Fate::Unused })
    }

    /// Checks whether anything in `path` changed within [`MIN_IDLE`].
    fn has_changed(&self, path: &Path) -> Result<bool, Error> {
        check_cancelled(self.request)?;
        let Ok(metadata) = path.symlink_metadata() else { return Ok(false) };
        let modified = metadata.modified().ok();
        let age = modified.and_then(|modified| self.request.now.duration_since(modified).ok()).unwrap_or_default();
        if age < MIN_IDLE || !metadata.is_dir() {
            return Ok(age < MIN_IDLE);
        }
        for entry in readable(path) {
            if self.has_changed(&entry.path())? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Adds this tool's folders among the temporary files of all programs. They are locked while in use.
    fn temporary(&mut self) -> Result<(), Error> {
        let user = rustix::process::getuid().as_raw();
        let folder = self.request.temporary;
        let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
        for entry in entries.flatten() {
            check_cancelled(self.request)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = folder.join(&name);
            let own = |metadata: std::fs::Metadata| metadata.is_dir() && metadata.uid() == user;
            if !paths::is_temporary(&name) || !path.symlink_metadata().is_ok_and(own) {
                continue;
            }
            self.charge(folder, &path)?;
            match Lock::try_existing(&path) {
                Ok(Some(lock)) => {
                    let fate = self.quiet(&path)?;
                    self.add(CacheItemKind::Leftover, &path, fate)?;
                    self.scan.locks.push(lock);
                }
                Ok(None) | Err(_) => self.add(CacheItemKind::Leftover, &path, Fate::Busy)?,
            }
        }
        Ok(())
    }
}

fn check_cancelled(request: &CleanRequest<'_>) -> Result<(), Error> {
    if request.progress.cancelled() { Err(Error::Cancelled) } else { Ok(()) }
}

/// Returns the readable entries of the folder `path`.
fn readable(path: &Path) -> impl Iterator<Item = DirEntry> {
    std::fs::read_dir(path).into_iter().flatten().flatten()
}

/// Returns the disk usage of `path` with all its contents, in bytes. Counts a file with several hard links once, and
/// does not follow symbolic links.
fn size(path: &Path, request: &CleanRequest<'_>, seen: &mut HashSet<(u64, u64)>) -> Result<u64, Error> {
    check_cancelled(request)?;
    let Ok(metadata) = path.symlink_metadata() else { return Ok(0) };
    if metadata.nlink() > 1 && !metadata.is_dir() && !seen.insert((metadata.dev(), metadata.ino())) {
        return Ok(0);
    }
    let mut bytes = metadata.blocks() * 512;
    if metadata.is_dir() {
        for entry in readable(path) {
            bytes += size(&entry.path(), request, seen)?;
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use crate::base::diagnostic::told;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use super::*;
    use crate::base::paths::{Cache, ProjectPaths};
    use crate::base::progress::{Event, Progress, Silent};

    /// Progress that is cancelled after a given number of queries.
    struct After(AtomicU32);

    impl Progress for After {
        fn report(&self, _: &Event) {}

        fn cancelled(&self) -> bool {
            self.0.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_err()
        }
    }

    /// Scans the folders `cache`, `project` and `tmp` below `root`.
    fn scanned(root: &Utf8Path, budget: ListingBudget, progress: &dyn Progress) -> Result<CacheScan, Error> {
        let (cache, project) = (Cache::new(root.join("cache")), ProjectPaths::new(root.join("project")));
        let request = CleanRequest {
            cache: &cache,
            shared: false,
            project: &project,
            temporary: &root.join("tmp"),
            pins: None,
            plan: None,
            unused_for: Duration::ZERO,
            now: root.metadata().unwrap().modified().unwrap() + Duration::from_secs(24 * 60 * 60),
            progress,
        };
        scan_within(&request, budget)
    }

    #[test]
    fn every_folder_can_be_left_while_it_is_looked_through() {
        let digest = "ab".repeat(32);
        for folder in [
            "cache/blobs".to_owned(),
            "cache/ipxe.git/objects".into(),
            format!("cache/bases/{digest}"),
            "cache/reproduce/usual".into(),
            "project/dist/.tftp.partial/sites".into(),
            "tmp".into(),
            "tmp/netboot-loaders-run-abCD12".into(),
        ] {
            let guard = tempfile::tempdir().unwrap();
            let root = Utf8Path::from_path(guard.path()).unwrap();
            std::fs::create_dir_all(root.join(&folder)).unwrap();
            for number in 0..200 {
                std::fs::write(root.join(&folder).join(format!(".partial-{number:06}")), "").unwrap();
            }
            scanned(root, LISTING_LIMIT, &Silent).unwrap();
            let impatient = After(AtomicU32::new(100));
            assert!(matches!(scanned(root, LISTING_LIMIT, &impatient), Err(Error::Cancelled)), "{folder}");
        }
    }

    #[test]
    fn the_fullest_folder_is_named_where_there_is_too_much() {
        let guard = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(guard.path()).unwrap();
        let blobs = root.join("cache/blobs");
        std::fs::create_dir_all(&blobs).unwrap();
        for number in 0..20 {
            std::fs::write(blobs.join(number.to_string()), "").unwrap();
        }
        let within = |entries, bytes| scanned(root, ListingBudget { entries, bytes }, &Silent);
        assert_eq!(within(21, MAX_PATHS).unwrap().foreign.len(), 20);
        for (entries, bytes) in [(20, MAX_PATHS), (21, 20 * blobs.as_str().len())] {
            assert_eq!(
                told(&within(entries, bytes).err().unwrap()),
                format!(
                    "`{blobs}` has too many entries: wanted 50000 entries at most, with paths of 16777216 bytes, in all that is \
                     looked through\nhint: remove by hand what you do not need of it, and run the command again"
                )
            );
        }
    }
}
