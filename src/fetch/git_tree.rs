//! Lists the files of an untrusted git tree.

use camino::{Utf8Path, Utf8PathBuf};
use git2::{ErrorCode, ObjectType, Odb, Oid, Repository, TreeEntry};

use crate::printable::{printable, printable_bytes};

/// Maximum number of files in a source; iPXE has 2,800.
const MAX_FILES: usize = 50_000;
/// Maximum length of a path in bytes, which is Linux's limit.
const MAX_PATH: usize = 4096;
/// Maximum length of all paths of files and folders together, in bytes; iPXE's have 120 kB.
const MAX_PATHS: usize = 16 << 20;
/// Maximum depth of folders; iPXE has six.
const MAX_DEPTH: usize = 32;
/// Maximum size of a folder's object in bytes; the largest of iPXE has 6 kB.
const MAX_FOLDER: usize = 1 << 20;
/// Maximum size of any other object in bytes; the largest of iPXE has 3 MB.
pub(super) const MAX_OBJECT: usize = 8 << 20;
/// Maximum size of a commit or a tag in bytes; the largest of iPXE has 5 kB.
const MAX_COMMIT: usize = 64 << 10;

/// A file of a tree.
pub(super) struct TreeFile {
    pub(super) path: Utf8PathBuf,
    pub(super) oid: Oid,
    pub(super) mode: u32,
}

/// Content of a tree.
pub(super) struct Listed {
    /// All files of the tree, sorted bytewise by path.
    pub(super) files: Vec<TreeFile>,
    /// The tree and the trees of its folders, root first; a tree can occur several times.
    pub(super) trees: Vec<Oid>,
}

/// Returns the size and the kind of the object `oid`. Refuses an object larger than any of an honest source: reading it
/// takes as much memory as its size, however small the pack is.
pub(super) fn header(odb: &Odb<'_>, oid: Oid) -> Result<(usize, ObjectType), git2::Error> {
    let (size, kind) = read_header(odb, oid)?;
    let most = if matches!(kind, ObjectType::Commit | ObjectType::Tag) { MAX_COMMIT } else { MAX_OBJECT };
    if size > most {
        return Err(refused(&format!("an object of {size} bytes, {oid}, wanted {most} at most")));
    }
    Ok((size, kind))
}

/// Reads the header of the object `oid`. For a missing object, the error explains that the repository may be a partial
/// clone.
fn read_header(odb: &Odb<'_>, oid: Oid) -> Result<(usize, ObjectType), git2::Error> {
    odb.read_header(oid).map_err(|error| match error.code() {
        ErrorCode::NotFound => refused(&format!(
            "{oid} is not there; in a clone with `--filter`, `git fetch --refetch --no-filter` brings all files"
        )),
        _ => error,
    })
}

/// Lists `tree`. A tree that contains the same subtree many times is small, but the list of its files is not, hence the
/// limits. Each folder's object is released before its subfolders are read.
pub(super) fn list(repository: &Repository, tree: Oid) -> Result<Listed, git2::Error> {
    let odb = repository.odb()?;
    let mut listed = Listed { files: Vec::new(), trees: Vec::new() };
    let (mut visited, mut bytes) = (0, 0);
    let mut waiting = vec![(Utf8PathBuf::new(), tree)];
    while let Some((folder, oid)) = waiting.pop() {
        let (size, _) = read_header(&odb, oid)?;
        if size > MAX_FOLDER {
            return Err(refused(&format!("its folder {oid} has {size} bytes, wanted {MAX_FOLDER} at most")));
        }
        let is_deepest = folder.components().count() >= MAX_DEPTH;
        let read = repository.find_tree(oid)?;
        listed.trees.push(oid);
        for entry in &read {
            visited += 1;
            let length = folder.as_str().len() + 1 + entry.name_bytes().len();
            bytes += length;
            if listed.files.len() >= MAX_FILES || visited > 2 * MAX_FILES || length > MAX_PATH {
                let words =
                    format!("it has more than {MAX_FILES} files, or one with a path of more than {MAX_PATH} bytes");
                return Err(refused(&words));
            }
            if bytes > MAX_PATHS {
                return Err(refused(&format!("its paths have more than {MAX_PATHS} bytes")));
            }
            let path = folder.join(name(&entry)?);
            match entry.filemode() {
                0o040_000 if is_deepest => {
                    return Err(refused(&format!("it has more than {MAX_DEPTH} folders within each other")));
                }
                0o040_000 => waiting.push((path, entry.id())),
                mode => listed.files.push(TreeFile { path, oid: entry.id(), mode: mode.cast_unsigned() & 0o777 }),
            }
        }
    }
    listed.files.sort_unstable_by(|a, b| a.path.as_str().cmp(b.path.as_str()));
    Ok(listed)
}

/// Returns the name of a folder or a plain file. Refuses other kinds, which iPXE does not have, and names that git
/// itself would not write: a folder with such a name would lead elsewhere.
fn name<'e>(entry: &'e TreeEntry<'_>) -> Result<&'e Utf8Path, git2::Error> {
    let Ok(name) = entry.name() else {
        return Err(refused(&format!("`{}` is not UTF-8", printable_bytes(entry.name_bytes()))));
    };
    if name.contains('/') || ["", ".", ".."].contains(&name) {
        return Err(refused(&format!("`{}` is not the name of a file or folder", printable(name))));
    }
    match entry.filemode() {
        0o040_000 | 0o100_644 | 0o100_755 => Ok(name.into()),
        mode => Err(refused(&format!("`{}` has mode {mode:o}, wanted a plain file", printable(name)))),
    }
}

pub(super) fn refused(words: &str) -> git2::Error {
    git2::Error::from_str(words)
}
