//! Reads untrusted tarballs: entry by entry, in pieces, within limits.
//!
//! No announced size is read into memory, except extension headers (long names of GNU and PAX), which are small or
//! refused. Sparse files are refused, and so is a size in an extension header: readers disagree on what follows these.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;
use tar::{Archive, EntryType};

use crate::printable::{printable, printable_bytes};

/// Maximum length of the padding after the last entry, in bytes.
const MAX_PADDING: u64 = 1 << 20;

/// Maximum total length of all paths, in bytes: a program that compares tarballs keeps them in memory.
const MAX_PATHS: u64 = 32 << 20;

/// Limits for a tarball.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Maximum number of entries of any kind, including folders and extension headers.
    pub entries: u64,
    /// Maximum size of an extension header in bytes, and thus of a long path; 0 allows only plain ustar.
    pub extension: u64,
    /// Maximum size of one entry, in bytes.
    pub entry: u64,
    /// Maximum size of all entries together, in bytes.
    pub total: u64,
}

/// Maximum size of an extension header in bytes, where they are allowed: enough for a path and a few attributes.
pub const EXTENSION: u64 = 8 << 10;

/// Errors from reading a tarball.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The tarball is truncated, is another kind of file, or cannot be read.
    #[error("{}", printable(&.0.to_string()))]
    Read(#[from] io::Error),
    /// The tarball has something that no legitimate tarball of its kind has.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Reasons why a tarball is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Too many entries.
    #[error("it has more than {0} entries")]
    Entries(u64),
    /// An entry is too large.
    #[error("its entry `{}` has {found} bytes, wanted {most} at most", printable(path))]
    Entry {
        /// Path of the entry.
        path: String,
        /// Size in the header, in bytes.
        found: u64,
        /// Limit in bytes.
        most: u64,
    },
    /// All entries together are too large.
    #[error("it unpacks to more than {0} bytes")]
    Total(u64),
    /// The paths of all entries together are too long.
    #[error("the paths of its entries have more than {0} bytes")]
    Paths(u64),
    /// An extension header is too large.
    #[error("it has an extension header of {found} bytes, wanted {most} at most")]
    Extension {
        /// Size in the header, in bytes.
        found: u64,
        /// Limit in bytes.
        most: u64,
    },
    /// An extension header where none is allowed.
    #[error("it has an extension header of GNU or PAX, wanted plain ustar")]
    NotPlain,
    /// An extension header that is malformed, or changes more than a name.
    #[error("it has an extension header that {0}")]
    BadExtension(&'static str),
    /// A sparse file.
    #[error("its entry `{}` is a sparse file", printable(.0))]
    Sparse(String),
    /// A path that is not UTF-8.
    #[error("the path of its entry `{}` is not UTF-8", printable_bytes(.0))]
    NotUtf8(Vec<u8>),
    /// Data after the end of the tarball.
    #[error("something follows the end of the tarball")]
    Trailing,
}

/// Kinds of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TarEntryKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A link, a device, or anything else.
    Other,
}

/// A tarball that is being read from the uncompressed stream `R`.
pub struct Tarball<R: Read> {
    archive: Archive<R>,
    limits: Limits,
}

impl<R: Read> Tarball<R> {
    /// Starts reading `stream`.
    pub fn new(stream: R, limits: Limits) -> Self {
        Self { archive: Archive::new(stream), limits }
    }

    /// Returns the entries in their order; this works only once.
    ///
    /// # Errors
    ///
    /// [`Error`] if entries were read before.
    pub fn entries(&mut self) -> Result<TarEntries<'_, R>, Error> {
        let raw = self.archive.entries()?.raw(true);
        Ok(TarEntries { raw, limits: self.limits, entries: 0, total: 0, paths: 0 })
    }

    /// Reads to the end of the stream, where its checksum is verified.
    ///
    /// # Errors
    ///
    /// [`Error`] if reading fails, or if more than padding follows the last entry.
    pub fn finish(self) -> Result<R, Error> {
        let mut stream = self.archive.into_inner();
        let (mut padding, mut bytes) = (stream.by_ref().take(MAX_PADDING), [0; 4 << 10]);
        loop {
            let count = padding.read(&mut bytes)?;
            if count == 0 {
                break;
            }
            // Some programs go on to another tarball behind the padding.
            if bytes[..count].iter().any(|byte| *byte != 0) {
                return Err(Refusal::Trailing.into());
            }
        }
        if stream.read(&mut [0])? == 0 { Ok(stream) } else { Err(Refusal::Trailing.into()) }
    }
}

impl<B: BufRead> Tarball<GzDecoder<B>> {
    /// Starts reading a `.tar.gz`.
    pub fn gzip(file: B, limits: Limits) -> Self {
        Self::new(GzDecoder::new(file), limits)
    }

    /// Reads to the end of the file, which must end with the tarball.
    ///
    /// # Errors
    ///
    /// As [`Self::finish`], and [`Refusal::Trailing`] if data follows the tarball.
    pub fn finish_file(self) -> Result<(), Error> {
        let mut rest = self.finish()?.into_inner();
        if rest.fill_buf()?.is_empty() { Ok(()) } else { Err(Refusal::Trailing.into()) }
    }
}

/// The unread entries of a [`Tarball`].
pub struct TarEntries<'a, R: Read> {
    raw: tar::Entries<'a, R>,
    limits: Limits,
    entries: u64,
    total: u64,
    paths: u64,
}

/// An entry of a tarball. It is a [`Read`] of its content.
pub struct TarEntry<'a, R: Read> {
    /// Path as written in the tarball.
    pub path: String,
    /// Kind of the entry.
    pub kind: TarEntryKind,
    /// Permission bits.
    pub mode: u32,
    /// Size of the content, in bytes.
    pub size: u64,
    content: tar::Entry<'a, R>,
}

impl<R: Read> Read for TarEntry<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.content.read(buffer)
    }
}

impl<R: Read> TarEntry<'_, R> {
    /// Returns the whole content, which is never larger than the limit of an entry.
    ///
    /// # Errors
    ///
    /// [`Error`] if reading fails or the tarball ends early.
    pub fn content(&mut self) -> Result<Vec<u8>, Error> {
        // The limit of an entry keeps this small, and a growing vector would take twice as much.
        let mut content = Vec::with_capacity(usize::try_from(self.size).unwrap_or(0));
        if self.read_to_end(&mut content)? as u64 == self.size {
            Ok(content)
        } else {
            Err(io::Error::new(io::ErrorKind::UnexpectedEof, "unexpected end of the tarball").into())
        }
    }
}

impl<'a, R: Read> TarEntries<'a, R> {
    /// Returns the next entry, or `None` at the end.
    ///
    /// # Errors
    ///
    /// [`Error`] if reading fails or an entry is refused.
    #[expect(clippy::should_implement_trait, reason = "an iterator would go on after an error")]
    pub fn next(&mut self) -> Result<Option<TarEntry<'a, R>>, Error> {
        let mut long_path = None;
        loop {
            let Some(mut entry) = self.raw.next().transpose()? else {
                return if long_path.is_none() { Ok(None) } else { Err(refuse("describes nothing")) };
            };
            self.entries += 1;
            if self.entries > self.limits.entries {
                return Err(Refusal::Entries(self.limits.entries).into());
            }
            let kind = entry.header().entry_type();
            if kind.is_gnu_longname()
                || kind.is_gnu_longlink()
                || kind.is_pax_local_extensions()
                || kind.is_pax_global_extensions()
            {
                if let Some(path) = self.extension(&mut entry, kind)?
                    && long_path.replace(path).is_some()
                {
                    return Err(refuse("names an entry a second time"));
                }
                continue;
            }
            return self.checked(entry, kind, long_path).map(Some);
        }
    }

    /// Returns the path in an extension header, if it has one.
    fn extension(&self, entry: &mut tar::Entry<'a, R>, kind: EntryType) -> Result<Option<Vec<u8>>, Error> {
        let (found, most) = (entry.size(), self.limits.extension);
        if most == 0 {
            return Err(Refusal::NotPlain.into());
        }
        if found > most {
            return Err(Refusal::Extension { found, most }.into());
        }
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        if kind.is_gnu_longname() {
            content.pop_if(|last| *last == 0);
            let fits = !content.is_empty() && !content.contains(&0);
            return if fits { Ok(Some(content)) } else { Err(refuse("has no path")) };
        }
        if kind.is_gnu_longlink() {
            return Ok(None);
        }
        pax_path(&content, kind.is_pax_global_extensions())
    }

    fn checked(
        &mut self,
        entry: tar::Entry<'a, R>,
        kind: EntryType,
        long_path: Option<Vec<u8>>,
    ) -> Result<TarEntry<'a, R>, Error> {
        let path = long_path.unwrap_or_else(|| entry.path_bytes().into_owned());
        self.paths += path.len() as u64;
        if self.paths > MAX_PATHS {
            return Err(Refusal::Paths(MAX_PATHS).into());
        }
        let path = String::from_utf8(path).map_err(|error| Refusal::NotUtf8(error.into_bytes()))?;
        if kind.is_gnu_sparse() {
            return Err(Refusal::Sparse(path).into());
        }
        let (size, Limits { entry: most, total, .. }) = (entry.size(), self.limits);
        if size > most {
            return Err(Refusal::Entry { path, found: size, most }.into());
        }
        self.total = self.total.saturating_add(size);
        if self.total > total {
            return Err(Refusal::Total(total).into());
        }
        let kind = match (kind.is_file(), kind.is_dir()) {
            (true, _) => TarEntryKind::File,
            (false, true) => TarEntryKind::Folder,
            (false, false) => TarEntryKind::Other,
        };
        // A missing or malformed mode grants nothing, as in other readers of tarballs.
        let mode = entry.header().mode().unwrap_or(0) & 0o777;
        Ok(TarEntry { path, kind, mode, size, content: entry })
    }
}

/// Returns the path in a PAX header, if it has one.
fn pax_path(mut records: &[u8], global: bool) -> Result<Option<Vec<u8>>, Error> {
    let mut path = None;
    while !records.is_empty() {
        let (key, value, rest) = pax_record(records).ok_or_else(|| refuse("cannot be understood"))?;
        match key {
            b"path" if global => return Err(refuse("names all entries")),
            b"path" if path.is_some() => return Err(refuse("names an entry a second time")),
            b"path" if value.is_empty() || value.contains(&0) => return Err(refuse("has no path")),
            b"path" => path = Some(value.to_vec()),
            b"size" => return Err(refuse("changes a size")),
            key if key.starts_with(b"GNU.sparse.") => return Err(refuse("announces a sparse file")),
            _ => {}
        }
        records = rest;
    }
    Ok(path)
}

/// Returns the key and the value of the first record, which has the form `LENGTH KEY=VALUE` and a line break, and the
/// remaining records. A value can contain line breaks, which the `tar` crate does not expect.
fn pax_record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let blank = records.iter().position(|byte| *byte == b' ')?;
    let length = std::str::from_utf8(&records[..blank]).ok()?.parse().ok()?;
    let (record, rest) = records.split_at_checked(length)?;
    let pair = record.get(blank + 1..)?.strip_suffix(b"\n")?;
    let equals = pair.iter().position(|byte| *byte == b'=')?;
    Some((&pair[..equals], &pair[equals + 1..], rest))
}

fn refuse(why: &'static str) -> Error {
    Refusal::BadExtension(why).into()
}

#[cfg(test)]
mod tests;
