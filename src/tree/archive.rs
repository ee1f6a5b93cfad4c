//! A tree as one tarball, the same bytes every time: sorted, ustar, one time, one owner, fixed
//! modes, gzip without name and time.

use std::fs::File;
use std::io::{self, Read, Write};

use camino::{Utf8Path, Utf8PathBuf};
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

use crate::fs::{self, EntryKind};

/// Packs the tree at `tree` into the bytes of a `.tar.gz`; `epoch` (seconds) is every file's time.
///
/// # Errors
///
/// [`fs::Error`] where the tree cannot be read.
pub fn pack(tree: &Utf8Path, epoch: u64) -> Result<Vec<u8>, fs::Error> {
    let compressor = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::best());
    let mut builder = Builder::new(compressor);
    for (path, kind) in fs::walk(tree)? {
        if kind == EntryKind::File {
            let content = fs::read(&tree.join(&path))?;
            append(&mut builder, &path, &content, epoch).map_err(|error| fs::Error::new("pack", path, error))?;
        }
    }
    let finish = || builder.into_inner()?.finish();
    finish().map_err(|error| fs::Error::new("pack", tree, error))
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
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(io::BufReader::new(tarball)));
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
    Ok(())
}
