//! A tree as one tarball, the same bytes every time: sorted, ustar, one time, one owner, fixed
//! modes, gzip without name and time.

use std::fs::File;
use std::io::{self, BufRead, Read, Write};

use camino::{Utf8Path, Utf8PathBuf};
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

use crate::digest::Sha256Digest;
use crate::fs::{self, EntryKind};

/// The most that may stand between the last entry and the end of a tarball, in bytes.
const MAX_PADDING: u64 = 1 << 20;

/// Packs the tree at `tree` into the `.tar.gz` at `path`, whole or not at all; `epoch` (seconds) is
/// every file's time. Returns the tarball's SHA-256 and its size in bytes.
///
/// # Errors
///
/// [`fs::Error`] where the tree cannot be read or the tarball not be written.
pub fn pack(tree: &Utf8Path, epoch: u64, path: &Utf8Path) -> Result<(Sha256Digest, u64), fs::Error> {
    let failed = |error| fs::Error::new("write", path, error);
    let folder = path.parent().unwrap_or(Utf8Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".partial-").tempfile_in(folder).map_err(failed)?;
    let compressor = GzBuilder::new().mtime(0).operating_system(255).write(file.as_file_mut(), Compression::best());
    let mut builder = Builder::new(compressor);
    for (member, kind) in fs::walk(tree)? {
        if kind == EntryKind::File {
            let content = fs::read(&tree.join(&member))?;
            append(&mut builder, &member, &content, epoch).map_err(failed)?;
        }
    }
    builder.into_inner().and_then(GzEncoder::finish).map_err(failed)?;
    fs::publish_file(file, path)?;
    fs::sha256(path)
}

fn append<W: Write>(builder: &mut Builder<W>, path: &Utf8Path, content: &[u8], epoch: u64) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_path(path)?;
    header.set_size(content.len() as u64);
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(epoch);
    header.set_cksum();
    builder.append(&header, content)
}

/// Hands each entry of a `.tar.gz` to `visit`: its path, whether it is a regular file, and its
/// content.
///
/// # Errors
///
/// What reading the tarball gives.
pub fn visit(
    tarball: File,
    visit: &mut dyn FnMut(Utf8PathBuf, bool, &mut dyn Read) -> io::Result<()>,
) -> io::Result<()> {
    let mut archive = tar::Archive::new(GzDecoder::new(io::BufReader::new(tarball)));
    for entry in archive.entries()? {
        let mut entry = entry?;
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            continue;
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let path = Utf8PathBuf::from(path.strip_prefix("./").unwrap_or(&path));
        visit(path, kind.is_file(), &mut entry)?;
    }
    // The checksum of the whole stands behind the last entry, and nothing may stand behind that.
    let mut decoder = archive.into_inner();
    io::copy(&mut decoder.by_ref().take(MAX_PADDING), &mut io::sink())?;
    let mut rest = decoder.into_inner();
    if rest.fill_buf()?.is_empty() { Ok(()) } else { Err(io::Error::other("something follows the end of the tarball")) }
}
