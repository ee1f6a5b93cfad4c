//! Journal of the loaders stamped into a tree, written during the run, so that the next run need not stamp them again
//! after a kill, or when other sites have changed. It is a file next to the tree, with a line for each loader.
//!
//! The journal is only a hint: a loader is reused only if its bytes have the digest in the journal, and its identity
//! shows that it would be made of the same parts now.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read as _, Write};

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::base::fs;
use crate::digest::Sha256Digest;
use crate::publish::description::FileDigests;

/// Maximum length of a line in bytes; the path has less than half of that.
const MAX_LINE: u64 = 4096;

/// Maximum number of known loaders, which is twice the number of loaders in a tree.
const MAX_KNOWN: usize = 220_000;

/// Maximum number of lines, or pieces of lines, to read.
const MAX_LINES: usize = 2 * MAX_KNOWN;

/// Maximum size in bytes of a journal that is continued.
const MAX_JOURNAL: u64 = 256 << 20;

/// A stamped loader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    path: Box<str>,
    identity: Sha256Digest,
    #[serde(flatten)]
    content: FileDigests,
}

/// Records of previously stamped loaders, by path.
#[derive(Debug, Default)]
pub struct KnownStamps(HashMap<Box<str>, (Sha256Digest, FileDigests)>);

impl KnownStamps {
    /// Reads the journal at `path`. Ignores invalid lines, such as a line truncated by a kill.
    ///
    /// # Errors
    ///
    /// [`fs::Error`] if the journal exists and cannot be read.
    pub fn read(path: &Utf8Path) -> Result<Self, fs::Error> {
        let file = match fs::open_regular(path, OpenOptions::new().read(true)) {
            Err(error) if error.is_not_found() => return Ok(Self::default()),
            file => file?,
        };
        let failed = |error| fs::Error::new("read", path, error);
        let (mut file, mut known, mut line) = (BufReader::new(file), HashMap::new(), Vec::new());
        // A piece of a longer line is invalid.
        for _ in 0..MAX_LINES {
            line.clear();
            let read = (&mut file).take(MAX_LINE).read_until(b'\n', &mut line).map_err(failed)?;
            if read == 0 || known.len() == MAX_KNOWN {
                break;
            }
            if let Ok(Line { path, identity, content }) = serde_json::from_slice(&line) {
                known.insert(path, (identity, content));
            }
        }
        Ok(Self(known))
    }

    /// Returns the digests that the loader at `path` had when it was stamped, if it has the same identity.
    #[must_use]
    pub fn content(&self, path: &Utf8Path, identity: Sha256Digest) -> Option<FileDigests> {
        self.0.get(path.as_str()).filter(|(known, _)| *known == identity).map(|(_, content)| *content)
    }
}

/// Writer for the journal of a tree that is being written.
pub struct StampJournal {
    /// Keeps its old content until the new tree has all known loaders: a loader can be in either tree.
    now: Appended,
    next: Appended,
}

impl StampJournal {
    /// Continues the journal at `now`, and starts one at `next` that will replace it.
    ///
    /// # Errors
    ///
    /// [`fs::Error`].
    pub fn open(now: &Utf8Path, next: &Utf8Path) -> Result<Self, fs::Error> {
        fs::remove_file(next)?;
        if now.symlink_metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() > MAX_JOURNAL) {
            fs::remove_file(now)?;
        }
        let mut journal = Self { now: Appended::open(now)?, next: Appended::open(next)? };
        // The last line can be truncated: nothing must be appended to it.
        journal.now.write(b"\n")?;
        Ok(journal)
    }

    /// Adds a loader of the new tree that was just stamped.
    ///
    /// # Errors
    ///
    /// [`fs::Error`].
    pub fn add(&mut self, path: &Utf8Path, identity: Sha256Digest, content: FileDigests) -> Result<(), fs::Error> {
        self.now.add(path, identity, content)?;
        self.keep(path, identity, content)
    }

    /// Adds a loader of the new tree that was reused.
    ///
    /// # Errors
    ///
    /// [`fs::Error`].
    pub fn keep(&mut self, path: &Utf8Path, identity: Sha256Digest, content: FileDigests) -> Result<(), fs::Error> {
        self.next.add(path, identity, content)
    }

    /// Replaces the journal, which drops loaders that are not in the new tree.
    ///
    /// # Errors
    ///
    /// [`fs::Error`].
    pub fn finish(self) -> Result<(), fs::Error> {
        fs::rename(&self.next.path, &self.now.path)
    }
}

struct Appended {
    path: Utf8PathBuf,
    file: File,
}

impl Appended {
    fn open(path: &Utf8Path) -> Result<Self, fs::Error> {
        let file = fs::open_regular(path, OpenOptions::new().create(true).append(true))?;
        Ok(Self { path: path.to_owned(), file })
    }

    fn add(&mut self, path: &Utf8Path, identity: Sha256Digest, content: FileDigests) -> Result<(), fs::Error> {
        let line = Line { path: path.as_str().into(), identity, content };
        self.write(format!("{}\n", serde_json::json!(line)).as_bytes())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), fs::Error> {
        self.file.write_all(bytes).map_err(|error| fs::Error::new("write", &self.path, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Content;

    #[test]
    fn what_a_power_cut_has_made_of_a_journal_is_neither_kept_in_memory_nor_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let now = folder.join("now");
        File::create(&now).unwrap().set_len(MAX_JOURNAL + 1).unwrap();
        assert_eq!(KnownStamps::read(&now).unwrap().0.len(), 0);
        drop(StampJournal::open(&now, &folder.join("next")).unwrap());
        assert_eq!(now.metadata().unwrap().len(), 1);
    }

    #[test]
    fn what_is_written_is_known_and_a_torn_line_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let (now, next) = (folder.join("now"), folder.join("next"));
        assert!(KnownStamps::read(&now).unwrap().0.is_empty());
        let (one, two) = (Sha256Digest::of(b"1"), Sha256Digest::of(b"2"));
        let content = FileDigests::from(Content::of(b"loader"));
        StampJournal::open(&now, &next).unwrap().add("sites/a/ipxe.efi".into(), one, content).unwrap();
        std::fs::write(&now, [&std::fs::read(&now).unwrap()[..], b"{\"path\":\"sites/b"].concat()).unwrap();
        let mut journal = StampJournal::open(&now, &next).unwrap();
        journal.add("sites/c/ipxe.efi".into(), two, content).unwrap();
        let known = KnownStamps::read(&now).unwrap();
        assert_eq!(known.0.len(), 2);
        assert_eq!(known.content("sites/a/ipxe.efi".into(), one), Some(content));
        assert_eq!(known.content("sites/a/ipxe.efi".into(), two), None);
        assert_eq!(known.content("sites/c/ipxe.efi".into(), two), Some(content));
        journal.keep("sites/d/ipxe.efi".into(), one, content).unwrap();
        journal.finish().unwrap();
        let known = KnownStamps::read(&now).unwrap();
        assert_eq!(known.content("sites/a/ipxe.efi".into(), one), None);
        assert_eq!(known.content("sites/c/ipxe.efi".into(), two), Some(content));
        assert_eq!(known.content("sites/d/ipxe.efi".into(), one), Some(content));
    }
}
