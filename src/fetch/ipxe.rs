//! iPXE's source at the pinned commit: fetched, verified, patched, and exported.

use std::path::Path;

use camino::{Utf8Path, Utf8PathBuf};
use git2::{Oid, Repository};

use super::git_tree::{self, TreeFile};
use super::{InputSource, git};
use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Diagnostic, Flag, Page, Subcommand};
use crate::base::fs;
use crate::base::http::NetworkAccess;
use crate::base::parallel::detached_on_cancel;
use crate::base::paths::Cache;
use crate::base::progress::{Progress, Task, TaskKind};
use crate::config::pins::IpxePin;
use crate::digest::{Sha256Digest, TreeId};
use crate::printable::printable;

/// Errors from fetching or opening iPXE's source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The git operation failed.
    #[error(transparent)]
    Git(#[from] git::Error),
    /// The run is offline, and the commit is not in the cache.
    #[error("iPXE's pinned commit {commit} is not in the cache `{cache}`, and this run is offline")]
    Offline {
        /// The commit.
        commit: String,
        /// Path of the bare repository.
        cache: Utf8PathBuf,
    },
    /// The source does not match its pin.
    #[error("iPXE's {what} does not match its pin: found {found}, wanted {wanted}")]
    Mismatch {
        /// Key of the pin.
        what: &'static str,
        /// The value found.
        found: String,
        /// The value in `vendor/pins.toml`.
        wanted: String,
    },
    /// A patch does not apply.
    #[error("the patch `{}` does not apply: {reason}", printable(name))]
    Patch {
        /// File name of the patch.
        name: String,
        /// libgit2's message.
        reason: String,
    },
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// The user asked to stop.
    #[error("interrupted")]
    Cancelled,
}

impl Error {
    /// Returns the error as a warning, for a caller that continues without the source.
    #[must_use]
    pub fn warning(&self) -> Diagnostic {
        Diagnostic { help: self.diagnosis().help, ..Diagnostic::new(self.to_string()) }
    }
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Git(error) => error.diagnosis(),
            Self::Offline { .. } => Class::Unavailable
                .about("iPXE")
                .help(Subcommand::Fetch)
                .help(Flag::IpxeUrl)
                .help(Flag::SourcesFrom)
                .page(Page::ClosedNetwork),
            Self::Mismatch { .. } => Class::Mismatch
                .about("iPXE")
                .help("find out which of them is right before you change the pin")
                .page(Page::PinsAndTrust),
            Self::Patch { name, .. } => Class::BadInput
                .about(name)
                .help("bring it up to date with the pinned commit, or remove it from vendor/patches"),
            Self::Fs(error) => error.diagnosis(),
            Self::Cancelled => Class::Interrupted.into(),
        }
    }
}

/// A change to iPXE's source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// File name of the patch.
    pub name: String,
    /// The output of `git diff` or `git format-patch`.
    pub content: Vec<u8>,
}

impl Patch {
    /// Reads the patches in `folder`, sorted by name; returns none if the folder does not exist.
    ///
    /// # Errors
    ///
    /// [`fs::Error`].
    pub fn read_all(folder: &Utf8Path) -> Result<Vec<Self>, fs::Error> {
        if !folder.is_dir() {
            return Ok(Vec::new());
        }
        let files = fs::walk(folder)?.into_iter().filter(|(path, _)| path.extension() == Some("patch"));
        files.map(|(path, _)| Ok(Self { content: fs::read(&folder.join(&path))?, name: path.into_string() })).collect()
    }
}

/// iPXE's source as pinned, with patches: verified, and ready for export.
pub struct Source {
    repository: Repository,
    path: Utf8PathBuf,
    tree: Oid,
}

/// Order in which files are written; on some file systems, a folder lists its files in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Sorted bytewise by path.
    Sorted,
    /// The reverse order.
    Reversed,
}

/// Fetches the pinned commit into the cache.
///
/// # Errors
///
/// [`Error`].
pub fn fetch(pin: &IpxePin, cache: &Cache, supply: &InputSource<'_>, progress: &dyn Progress) -> Result<(), Error> {
    let path = cache.ipxe_git();
    fs::create_dir_all(cache.root())?;
    let repository = git::open(&path)?;
    if git::has(&repository, &pin.commit) {
        return Ok(());
    }
    let http = match supply.network {
        NetworkAccess::Online(http) => Some(http),
        NetworkAccess::Offline => None,
    };
    let urls = supply.given.map_or_else(|| pin.urls.clone(), |url| vec![url.clone()]);
    let mut result = Err(Error::Offline { commit: pin.commit.to_string(), cache: path });
    for url in urls.iter().filter(|url| http.is_some() || git::local_path(url.expose()).is_some()) {
        result = git::fetch(&repository, url, http, pin, progress).map_err(Error::from);
        if result.is_ok() || progress.cancelled() {
            break;
        }
    }
    result
}

impl Source {
    /// Opens the pinned commit in the cache, where [`fetch`] has put it, verifies its tree and its content against the
    /// pin, and applies `patches`.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] if the tree or the content differs from the pin; [`Error::Cancelled`].
    pub fn open(pin: &IpxePin, cache: &Cache, patches: &[Patch], progress: &dyn Progress) -> Result<Self, Error> {
        let (pin, path, patches) = (pin.clone(), cache.ipxe_git(), patches.to_vec());
        // An unusually packed repository can take long to unpack.
        detached_on_cancel(progress, move || Self::checked(&pin, path, &patches)).ok_or(Error::Cancelled)?
    }

    fn checked(pin: &IpxePin, path: Utf8PathBuf, patches: &[Patch]) -> Result<Self, Error> {
        let repository = git::open(&path)?;
        let damaged = |error: git2::Error| Error::from(git::cache_error(&path, &error));
        let commit =
            Oid::from_bytes(pin.commit.as_bytes()).and_then(|oid| repository.find_commit(oid)).map_err(damaged)?;
        let tree = commit.tree_id();
        if tree.as_bytes() != pin.tree.as_bytes() {
            return Err(mismatch("tree", &tree, &pin.tree));
        }
        let content = content_digest(&repository, tree).map_err(damaged)?;
        if content != pin.content {
            return Err(mismatch("content-sha256", &content, &pin.content));
        }
        let mut patched = tree;
        for patch in patches {
            patched = apply(&repository, patched, &patch.content)
                .map_err(|error| Error::Patch { name: patch.name.clone(), reason: error.message().to_owned() })?;
        }
        drop(commit);
        Ok(Self { repository, path, tree: patched })
    }

    /// Writes all files below `folder`, which must not exist yet, in the given `order`; all files get the modification
    /// time `epoch` (in seconds). The progress is reported under `label`.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn export(
        &self,
        folder: &Utf8Path,
        (epoch, order): (u64, Order),
        label: &str,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let mut files = self.files()?;
        if order == Order::Reversed {
            files.reverse();
        }
        let mut task = Task::start(progress, TaskKind::Export, label, Some(files.len() as u64));
        let modified = std::time::UNIX_EPOCH + std::time::Duration::from_secs(epoch);
        self.each(files, |path, mode, content| {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap_or(folder))?;
            fs::write_exported(&path, content, mode, modified)?;
            task.advance();
            Ok(())
        })?;
        task.finish("exported");
        Ok(())
    }

    /// Calls `visit` for each file, sorted bytewise by path, with its path, its permission bits, and its content.
    ///
    /// # Errors
    ///
    /// [`Error`], including errors from `visit`.
    pub fn each_file(&self, visit: impl FnMut(&Utf8Path, u32, &[u8]) -> Result<(), fs::Error>) -> Result<(), Error> {
        self.each(self.files()?, visit)
    }

    fn each(
        &self,
        files: Vec<TreeFile>,
        mut visit: impl FnMut(&Utf8Path, u32, &[u8]) -> Result<(), fs::Error>,
    ) -> Result<(), Error> {
        for file in files {
            let blob = self.repository.find_blob(file.oid).map_err(|error| self.damaged(&error))?;
            visit(&file.path, file.mode, blob.content())?;
        }
        Ok(())
    }

    /// Returns the commit of `pin` as git stores it.
    ///
    /// # Errors
    ///
    /// [`Error`] if the commit is missing.
    pub fn commit(&self, pin: &IpxePin) -> Result<Vec<u8>, Error> {
        let read = || {
            self.repository.odb()?.read(Oid::from_bytes(pin.commit.as_bytes())?).map(|object| object.data().to_vec())
        };
        read().map_err(|error| self.damaged(&error))
    }

    fn damaged(&self, error: &git2::Error) -> Error {
        git::cache_error(&self.path, error).into()
    }

    fn files(&self) -> Result<Vec<TreeFile>, Error> {
        let listed = git_tree::list(&self.repository, self.tree).map_err(|error| self.damaged(&error))?;
        Ok(listed.files)
    }
}

fn mismatch(what: &'static str, found: &dyn std::fmt::Display, wanted: &dyn std::fmt::Display) -> Error {
    Error::Mismatch { what, found: found.to_string(), wanted: wanted.to_string() }
}

/// Returns the tree ID and the content digest of `commit`: the values that a pin of it has.
///
/// # Errors
///
/// libgit2's error if `commit` or a part of it is missing.
pub fn describe(repository: &Repository, commit: Oid) -> Result<(TreeId, Sha256Digest), git2::Error> {
    let tree = repository.find_commit(commit)?.tree_id();
    let id = tree.to_string().parse().map_err(|_| git2::Error::from_str("not a SHA-1 repository"))?;
    Ok((id, content_digest(repository, tree)?))
}

/// Maximum size of all files of a source together, in bytes; iPXE's have 17 MB.
const MAX_BYTES: usize = 256 << 20;

/// Returns the SHA-256 of the text that `sha256sum` prints for all files of the tree, sorted bytewise by path.
fn content_digest(repository: &Repository, tree: Oid) -> Result<Sha256Digest, git2::Error> {
    let (mut list, mut bytes) = (String::new(), 0);
    for file in git_tree::list(repository, tree)?.files {
        bytes += git_tree::header(&repository.odb()?, file.oid)?.0;
        if bytes > MAX_BYTES {
            return Err(git2::Error::from_str(&format!("its files have more than {MAX_BYTES} bytes")));
        }
        let blob = repository.find_blob(file.oid)?;
        list += &format!("{}  {}\n", Sha256Digest::of(blob.content()), file.path);
    }
    Ok(Sha256Digest::of(list.as_bytes()))
}

fn apply(repository: &Repository, tree: Oid, patch: &[u8]) -> Result<Oid, git2::Error> {
    if !patch.starts_with(b"diff --git ") && memchr::memmem::find(patch, b"\ndiff --git ").is_none() {
        return Err(git2::Error::from_str("it is not what `git diff` or `git format-patch` writes"));
    }
    let diff = git2::Diff::from_buffer(patch)?;
    let stays_inside = |path: Option<&Path>| {
        path.is_none_or(|path| path.components().all(|part| matches!(part, std::path::Component::Normal(_))))
    };
    if !diff.deltas().all(|delta| stays_inside(delta.old_file().path()) && stays_inside(delta.new_file().path())) {
        return Err(git2::Error::from_str("it names a path outside the tree"));
    }
    let mut index = repository.apply_to_tree(&repository.find_tree(tree)?, &diff, None)?;
    let patched = index.write_tree_to(repository)?;
    // Refuses links, which a patch can create, too.
    git_tree::list(repository, patched)?;
    Ok(patched)
}
