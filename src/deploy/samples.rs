//! Trees and a target for unit tests. The target is in memory, and its connection can be cut between any two
//! operations.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use camino::{Utf8Path, Utf8PathBuf};
use tempfile::TempDir;

use super::record::HEAD;
use super::remote::{Error, Found, FoundKind, Remote};
use crate::base::paths;
use crate::digest::{Content, Sha256Digest};
use crate::loader::file_kind::FileKind;
use crate::stamp::digest::CommitId;
use crate::tree::manifest::{GENERATOR, Generator, IpxeEntry, Manifest, ManifestEntry};
use crate::tree::open::CheckedTree;

/// Returns a manifest of files with these contents.
pub fn manifest(files: &[(&str, &str)]) -> Manifest {
    let file = |(path, content): &(&str, &str)| {
        let Content { sha256, size } = Content::of(content.as_bytes());
        let path = Utf8PathBuf::from(*path);
        ManifestEntry {
            path,
            size,
            sha256,
            authenticode_sha256: None,
            kind: FileKind::Data,
            arch: None,
            site: None,
            same_as: None,
            ipxe: None,
            member: None,
            set: None,
        }
    };
    Manifest {
        schema_version: 1,
        generator: Generator { name: GENERATOR.into(), version: "1".into() },
        ipxe: IpxeEntry {
            version: "2.0.0".into(),
            commit: "1".repeat(40).parse::<CommitId>().unwrap(),
            tree: "2".repeat(40).parse().unwrap(),
            content_sha256: Sha256Digest::of(b"content"),
            source_date_epoch: 1,
            patches: Vec::new(),
            embedded_name: "embedded.ipxe".into(),
        },
        syslinux: None,
        toolchain: Vec::new(),
        configurations: Vec::new(),
        secure_boot: None,
        files: files.iter().map(file).collect(),
    }
}

/// Creates a tree of files with these contents; it is removed with the temporary folder.
pub fn tree(files: &[(&str, &str)]) -> (TempDir, CheckedTree) {
    let folder = tempfile::tempdir().unwrap();
    let root = Utf8Path::from_path(folder.path()).unwrap().join("tree");
    let manifest = manifest(files);
    let (json, sums) = (manifest.to_json(), manifest.sha256sums());
    for (path, content) in files.iter().copied().chain([(paths::MANIFEST, json.as_str()), (paths::SHA256SUMS, &sums)]) {
        crate::base::fs::write_atomic(&root.join(path), content.as_bytes()).unwrap();
    }
    let tree = CheckedTree::open(&root, &root, &crate::base::progress::Silent).unwrap();
    (folder, tree)
}

/// Target in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryRemote {
    /// Files, with the modification time of each.
    pub files: BTreeMap<Utf8PathBuf, (Vec<u8>, u64)>,
    /// Folders; the empty path is the target itself.
    pub folders: BTreeSet<Utf8PathBuf>,
    /// Paths that are neither.
    pub links: BTreeSet<Utf8PathBuf>,
    /// Number of moments until the connection is cut; never if `None`. Each operation has a moment before it and one
    /// after it.
    pub patience: Option<usize>,
    /// File in which written bytes are corrupted.
    pub spoils: Option<Utf8PathBuf>,
    /// File that another user replaces as soon as the next rename is done.
    pub taken_over: Option<Utf8PathBuf>,
    /// Permission bits of files, where present.
    pub modes: BTreeMap<Utf8PathBuf, u32>,
    /// Whether the target can set permission bits.
    pub sets_modes: bool,
    /// Whether all changes happen in the same second.
    pub hasty: bool,
    /// Bytes read so far, without reads of a record's head, which only identify it.
    pub read: u64,
    /// Bytes written so far.
    pub written: u64,
    /// Time of the last change.
    pub clock: u64,
}

/// Number of bytes read or written at once.
pub(crate) const PIECE: usize = 60;

impl MemoryRemote {
    /// Creates a target with files of another user.
    pub fn with(files: &[(&str, &str)]) -> Self {
        let mut remote = Self { clock: 1_000, ..Self::default() };
        remote.folders.insert("".into());
        for (path, content) in files {
            remote.clock += 1;
            remote.files.insert((*path).into(), (content.as_bytes().to_vec(), remote.clock));
            remote.folders.extend(Utf8Path::new(path).ancestors().skip(1).map(Utf8Path::to_owned));
        }
        remote
    }

    /// Returns the content of a file.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.files.get(Utf8Path::new(path)).map(|(content, _)| std::str::from_utf8(content).unwrap())
    }

    /// Returns the paths of all files.
    pub fn names(&self) -> Vec<&str> {
        self.files.keys().map(|path| path.as_str()).collect()
    }

    fn moment(&mut self) -> Result<(), Error> {
        if let Some(patience) = &mut self.patience {
            *patience = patience.checked_sub(1).ok_or(Error::Lost { words: vec!["cut".into()] })?;
        }
        Ok(())
    }

    fn done<T>(&mut self, value: T) -> Result<T, Error> {
        self.moment().map(|()| value)
    }
}

impl Remote for MemoryRemote {
    fn is_there(&mut self) -> Result<bool, Error> {
        self.moment()?;
        Ok(self.folders.contains(Utf8Path::new("")))
    }

    fn lstat(&mut self, paths: &[Utf8PathBuf]) -> Result<Vec<Option<Found>>, Error> {
        self.moment()?;
        let plain = |kind| Found { kind, size: 0, modified: Some(1), mode: None };
        let look = |path: &Utf8PathBuf| {
            let file = self.files.get(path).map(|(content, modified)| Found {
                kind: FoundKind::File,
                size: content.len() as u64,
                modified: Some(if self.hasty { 1 } else { *modified }),
                mode: self.modes.get(path).copied(),
            });
            let folder = self.folders.contains(path).then(|| plain(FoundKind::Folder));
            self.links.contains(path).then(|| plain(FoundKind::Other)).or(file).or(folder)
        };
        Ok(paths.iter().map(look).collect())
    }

    fn read(&mut self, path: &Utf8Path, range: Range<u64>, take: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        let content = self.files[path].0.clone();
        let end = content.len().min(usize::try_from(range.end).unwrap());
        for piece in content[usize::try_from(range.start).unwrap()..end].chunks(PIECE) {
            self.moment()?;
            self.read += if path == paths::DEPLOYED && range.end <= HEAD as u64 { 0 } else { piece.len() as u64 };
            take(piece);
        }
        Ok(())
    }

    fn write(&mut self, path: &Utf8Path, data: &[u8], offset: u64, done: &mut dyn FnMut(u64)) -> Result<(), Error> {
        self.moment()?;
        let folder = path.parent().unwrap();
        assert!(self.folders.contains(folder), "there is no folder for {path}");
        let offset = usize::try_from(offset).unwrap();
        self.clock += 1;
        let (clock, spoils) = (self.clock, self.spoils.as_deref() == Some(path));
        self.files.entry(path.to_owned()).or_default().1 = clock;
        // A partial record is never resumed.
        let size = if *path == paths::partial_record() { data.len() } else { PIECE };
        for (index, piece) in data.chunks(size).enumerate() {
            let file = &mut self.files.get_mut(path).unwrap().0;
            let start = offset + index * size;
            file.resize(file.len().max(start + piece.len()), 0);
            file[start..start + piece.len()].copy_from_slice(piece);
            if spoils {
                file[start] ^= 1;
            }
            self.written += piece.len() as u64;
            self.moment()?;
            done(piece.len() as u64);
        }
        Ok(())
    }

    fn rename(&mut self, from: &Utf8Path, to: &Utf8Path) -> Result<(), Error> {
        self.moment()?;
        let file = self.files.remove(from).unwrap();
        self.files.insert(to.to_owned(), file);
        if let Some(path) = self.taken_over.take() {
            self.clock += 1;
            self.files.insert(path, (b"mine".to_vec(), self.clock));
        }
        self.done(())
    }

    fn remove(&mut self, path: &Utf8Path) -> Result<(), Error> {
        self.moment()?;
        self.files.remove(path);
        self.done(())
    }

    fn make_folder(&mut self, path: &Utf8Path) -> Result<(), Error> {
        self.moment()?;
        assert!(self.folders.insert(path.to_owned()), "{path} is there");
        self.done(())
    }

    fn make_world_readable(&mut self, path: &Utf8Path, found: Found) -> Result<bool, Error> {
        self.moment()?;
        if self.sets_modes {
            self.modes.insert(path.to_owned(), found.world_readable_mode());
        }
        self.done(self.sets_modes)
    }

    fn first_closed(&mut self) -> Result<Option<String>, Error> {
        self.moment()?;
        Ok(None)
    }

    fn remove_empty_folder(&mut self, path: &Utf8Path) -> Result<(), Error> {
        self.moment()?;
        let mut inside = self.files.keys().chain(&self.folders).filter(|other| other.parent() == Some(path));
        if inside.next().is_none() {
            self.folders.remove(path);
        }
        self.done(())
    }
}

/// Target in memory that finds files by names in any case.
pub struct CaselessRemote(pub MemoryRemote);

fn lower(path: &Utf8Path) -> Utf8PathBuf {
    path.as_str().to_lowercase().into()
}

impl Remote for CaselessRemote {
    fn is_there(&mut self) -> Result<bool, Error> {
        self.0.is_there()
    }

    fn lstat(&mut self, paths: &[Utf8PathBuf]) -> Result<Vec<Option<Found>>, Error> {
        self.0.lstat(&paths.iter().map(|path| lower(path)).collect::<Vec<_>>())
    }

    fn read(&mut self, path: &Utf8Path, range: Range<u64>, take: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        self.0.read(&lower(path), range, take)
    }

    fn write(&mut self, path: &Utf8Path, data: &[u8], offset: u64, done: &mut dyn FnMut(u64)) -> Result<(), Error> {
        self.0.write(&lower(path), data, offset, done)
    }

    fn rename(&mut self, from: &Utf8Path, to: &Utf8Path) -> Result<(), Error> {
        self.0.rename(&lower(from), &lower(to))
    }

    fn remove(&mut self, path: &Utf8Path) -> Result<(), Error> {
        self.0.remove(&lower(path))
    }

    fn make_folder(&mut self, path: &Utf8Path) -> Result<(), Error> {
        self.0.make_folder(&lower(path))
    }

    fn make_world_readable(&mut self, path: &Utf8Path, found: Found) -> Result<bool, Error> {
        self.0.make_world_readable(&lower(path), found)
    }

    fn first_closed(&mut self) -> Result<Option<String>, Error> {
        self.0.first_closed()
    }

    fn remove_empty_folder(&mut self, path: &Utf8Path) -> Result<(), Error> {
        self.0.remove_empty_folder(&lower(path))
    }
}
