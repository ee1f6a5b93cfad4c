//! Reads named members out of a possibly hostile release archive, `.zip` or `.tar.xz`. Nothing is unpacked to disk,
//! sizes are limited, and an archive with features that no honest release has is refused.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use camino::{Utf8Path, Utf8PathBuf};

use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Flag};
use crate::base::fs;
use crate::base::progress::{Interruptible, Progress};
use crate::base::tarball::{self, Limits, TarEntryKind};
use crate::printable::printable;
use crate::stamp::tarball::Tarball;

/// Maximum size of an archive's unpacked content, in bytes; syslinux 6.03 has 60 MB.
const MAX_UNPACKED: u64 = 512 << 20;
/// Maximum number of members in an archive; syslinux 6.03 has 2,300.
const MAX_MEMBERS: u64 = 20_000;
/// Maximum size of an archive in bytes; those of syslinux 6.03 have 7 to 12 MB.
pub(super) const MAX_ARCHIVE: u64 = 64 << 20;
/// Limits for a .tar. It may use GNU tar's extension for long names.
const LIMITS: Limits =
    Limits { entries: MAX_MEMBERS, extension: tarball::EXTENSION, entry: u64::MAX, total: MAX_UNPACKED };
/// Maximum memory for xz, in bytes.
const XZ_MEMORY: u64 = 128 << 20;

/// Errors from reading an archive.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is in neither format.
    #[error("`{path}` is {found}, wanted a .zip or .tar.xz archive")]
    Format {
        /// The archive.
        path: Utf8PathBuf,
        /// A description of the content.
        found: &'static str,
    },
    /// The archive is truncated or otherwise damaged.
    #[error("`{path}` is damaged: {reason}")]
    Damaged {
        /// The archive.
        path: Utf8PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The archive has a feature that no honest release has.
    #[error("`{path}` is refused: {reason}, which no honest release has")]
    Hostile {
        /// The archive.
        path: Utf8PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A member is missing.
    #[error("`{path}` has no member `{member}`")]
    Missing {
        /// The archive.
        path: Utf8PathBuf,
        /// The member's pinned path.
        member: Utf8PathBuf,
    },
    /// The user asked to stop.
    #[error("interrupted")]
    Cancelled,
    /// The archive cannot be read.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Format { path, .. } => {
                Class::Mismatch.about(path).help("check where it came from").help(Flag::SyslinuxArchive)
            }
            Self::Damaged { path, .. } => Class::Mismatch.about(path).help("download it again"),
            Self::Hostile { path, .. } => {
                Class::Mismatch.about(path).help("find out where this file came from; do not use it")
            }
            Self::Missing { path, .. } => Class::Mismatch.about(path).help(Flag::SyslinuxArchive),
            Self::Cancelled => Class::Interrupted.into(),
            Self::Fs(error) => error.diagnosis(),
        }
    }
}

/// The wanted members: path and maximum size in bytes. In the archive, a member may be below one leading folder, as in
/// `syslinux-6.03/bios/core/lpxelinux.0`.
pub type WantedMembers = BTreeMap<Utf8PathBuf, u64>;

/// Content of each member, by path.
pub type Contents = BTreeMap<Utf8PathBuf, Vec<u8>>;

/// Refuses the archive at `path` if it is larger than any release.
///
/// # Errors
///
/// [`Error::Hostile`] if it is; [`Error::Fs`] if its size cannot be read.
pub fn check_size(path: &Utf8Path) -> Result<(), Error> {
    let size = fs::open(path)?.metadata().map_err(|error| fs::Error::new("read", path, error))?.len();
    if size <= MAX_ARCHIVE {
        return Ok(());
    }
    Err(Error::Hostile { path: path.into(), reason: format!("it has {size} bytes, more than {MAX_ARCHIVE}") })
}

/// Maximum size of a .zip's table of contents, in bytes; that of syslinux has 34 kB.
const MAX_TABLE: u64 = 4 << 20;

/// Returns why the table of contents of a .zip must not be read; `None` if it can be.
///
/// The only table accepted is one that stands where the single end record says: for any other, a reader searches the
/// whole file. An end record of the larger (Zip64) form, which archives with 65,535 or more members need, is preceded
/// by a locator, and is refused.
fn refusal_of_table(file: &mut File) -> io::Result<Option<String>> {
    const LOCATOR: usize = 20;
    // More than the 64 KiB of a comment, before which readers look for the end record.
    const TAIL: u64 = 128 << 10;
    let length = file.seek(SeekFrom::End(0))?;
    let begin = length - length.min(TAIL);
    file.seek(SeekFrom::Start(begin))?;
    let mut end = Vec::new();
    file.take(TAIL).read_to_end(&mut end)?;
    let records: Vec<usize> = memchr::memmem::find_iter(&end, b"PK\x05\x06").take(2).collect();
    let reason = match records[..] {
        // The `zip` crate itself rejects a file without an end record.
        [] => None,
        [at] => {
            let field = |from: usize, bytes: usize| {
                let bytes = end.get(at + from..at + from + bytes)?;
                Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
            };
            let (members, size, start) = (field(10, 2), field(12, 4), field(16, 4));
            let locator = at.checked_sub(LOCATOR);
            let is_larger = locator.map_or(begin > 0, |locator| end[locator..].starts_with(b"PK\x06\x07"));
            if is_larger || members.is_some_and(|members| members > MAX_MEMBERS) {
                Some(format!("it has more than {MAX_MEMBERS} entries"))
            } else if size.is_some_and(|size| size > MAX_TABLE) {
                Some(format!("its table of contents has more than {MAX_TABLE} bytes"))
            } else if size.zip(start).is_some_and(|(size, start)| start + size != begin + at as u64) {
                Some("its table of contents does not stand right before its end".into())
            } else {
                None
            }
        }
        _ => Some("it has more than one end".into()),
    };
    file.rewind()?;
    Ok(reason)
}

/// Reads the members `wanted` from the archive at `path`.
///
/// # Errors
///
/// [`Error`]. A member whose size differs from the wanted size is an error only if it is larger; the digest detects the
/// rest.
pub fn read_members(path: &Utf8Path, wanted: &WantedMembers, progress: &dyn Progress) -> Result<Contents, Error> {
    let mut file = fs::open(path)?;
    let mut magic = [0; 6];
    let length = read_up_to(&mut file, &mut magic).map_err(|error| fs::Error::new("read", path, error))?;
    file.rewind().map_err(|error| fs::Error::new("read", path, error))?;
    let mut collector = Collector { path, wanted, found: BTreeMap::new(), unpacked: 0 };
    let read = match &magic[..length] {
        [b'P', b'K', 3, 4, ..] => collector.zip(file, progress),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => collector.tar_xz(Interruptible::new(file, progress)),
        start => return Err(Error::Format { path: path.into(), found: describe(start) }),
    };
    read.map_err(|error| if progress.cancelled() { Error::Cancelled } else { error })?;
    let missing = wanted.keys().find(|member| !collector.found.contains_key(*member));
    match missing {
        Some(member) => Err(Error::Missing { path: path.into(), member: member.clone() }),
        None => Ok(collector.found),
    }
}

fn read_up_to(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match reader.read(&mut buffer[length..])? {
            0 => break,
            count => length += count,
        }
    }
    Ok(length)
}

fn describe(start: &[u8]) -> &'static str {
    match start.trim_ascii_start() {
        [] => "empty",
        [b'<', ..] => "an HTML or XML page",
        [0x1f, 0x8b, ..] => "gzip data",
        _ => "something else",
    }
}

struct Collector<'a> {
    path: &'a Utf8Path,
    wanted: &'a WantedMembers,
    found: Contents,
    unpacked: u64,
}

impl Collector<'_> {
    fn damaged(&self, reason: &dyn std::fmt::Display) -> Error {
        Error::Damaged { path: self.path.into(), reason: printable(&reason.to_string()).to_string() }
    }

    fn hostile(&self, reason: String) -> Error {
        Error::Hostile { path: self.path.into(), reason }
    }

    fn zip(&mut self, mut file: File, progress: &dyn Progress) -> Result<(), Error> {
        let unreadable = |error| match error {
            zip::result::ZipError::Io(error) => self.damaged(&error),
            // The crate's own messages contain names of its types.
            _ => self.damaged(&"its table of contents, which stands at the end, cannot be read"),
        };
        // The crate reads the table of contents into memory.
        if let Some(reason) = refusal_of_table(&mut file).map_err(|error| self.damaged(&error))? {
            return Err(self.hostile(reason));
        }
        let mut archive =
            zip::ZipArchive::new(BufReader::new(Interruptible::new(file, progress))).map_err(unreadable)?;
        if archive.has_duplicate_names() {
            return Err(self.hostile("it has two members of one name".into()));
        }
        for index in 0..archive.len() {
            let mut entry = archive.by_index(index).map_err(|error| self.damaged(&error))?;
            let name = String::from_utf8_lossy(entry.name_raw()).into_owned();
            let kind = match (entry.is_file() && !entry.is_symlink(), entry.is_dir()) {
                (true, _) => TarEntryKind::File,
                (false, true) => TarEntryKind::Folder,
                (false, false) => TarEntryKind::Other,
            };
            let size = entry.size();
            self.entry(&name, kind, size, &mut entry)?;
        }
        Ok(())
    }

    fn tar_xz(&mut self, file: impl Read) -> Result<(), Error> {
        let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, 0).map_err(|error| self.damaged(&error))?;
        let mut tarball = Tarball::new(liblzma::bufread::XzDecoder::new_stream(BufReader::new(file), stream), LIMITS);
        let mut entries = tarball.entries().map_err(|error| self.tar(&error))?;
        while let Some(mut entry) = entries.next().map_err(|error| self.tar(&error))? {
            let (name, kind, size) = (std::mem::take(&mut entry.path), entry.kind, entry.size);
            self.entry(&name, kind, size, &mut entry)?;
        }
        // Also verifies xz's own checksums, which follow the last member.
        tarball.finish().map_err(|error| self.tar(&error))?;
        Ok(())
    }

    fn tar(&self, error: &tarball::Error) -> Error {
        match error {
            tarball::Error::Read(error) => match error.get_ref().and_then(|error| error.downcast_ref()) {
                Some(liblzma::stream::Error::MemLimit) => {
                    self.hostile(format!("xz needs more than {XZ_MEMORY} bytes of memory for it"))
                }
                _ => self.damaged(error),
            },
            tarball::Error::Refused(refusal) => self.hostile(refusal.to_string()),
        }
    }

    fn entry(&mut self, name: &str, kind: TarEntryKind, size: u64, content: &mut dyn Read) -> Result<(), Error> {
        let path = Utf8Path::new(name);
        let escapes = path
            .components()
            .any(|part| matches!(part, camino::Utf8Component::ParentDir | camino::Utf8Component::RootDir));
        if escapes || name.contains(['\0', '\\']) {
            return Err(self.hostile(format!("its member `{}` leaves the archive", printable(name))));
        }
        self.unpacked = self.unpacked.saturating_add(size);
        if self.unpacked > MAX_UNPACKED {
            return Err(self.hostile(format!("it unpacks to more than {MAX_UNPACKED} bytes")));
        }
        let plain: Utf8PathBuf = path.components().filter(|part| *part != camino::Utf8Component::CurDir).collect();
        let Some((member, limit)) = self.member(&plain) else { return Ok(()) };
        if kind == TarEntryKind::Folder {
            return Ok(());
        }
        if kind == TarEntryKind::Other {
            return Err(self.hostile(format!("its member `{}` is a link or a device", printable(name))));
        }
        let mut bytes = Vec::new();
        content.take(limit + 1).read_to_end(&mut bytes).map_err(|error| self.damaged(&error))?;
        if bytes.len() as u64 > limit {
            let name = printable(name);
            return Err(self.hostile(format!("its member `{name}` is larger than the {limit} bytes that are pinned")));
        }
        if self.found.insert(member.clone(), bytes).is_some() {
            return Err(self.hostile(format!("it has the member `{member}` twice")));
        }
        Ok(())
    }

    fn member(&self, path: &Utf8Path) -> Option<(Utf8PathBuf, u64)> {
        let below: Utf8PathBuf = path.components().skip(1).collect();
        [path, below.as_path()]
            .into_iter()
            .find_map(|path| self.wanted.get_key_value(path))
            .map(|(path, size)| (path.clone(), *size))
    }
}
