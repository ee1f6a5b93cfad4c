//! Finds a file on a CD: ISO 9660 without extensions.
//!
//! Source: ECMA-119 (1987). A directory is a sequence of records, none of which crosses the end of a sector.

use super::byte_source::{ByteSource, MediumError, bytes, u16_at, u32_at};

/// Size of a sector in bytes.
const SECTOR: usize = 2048;
/// Number of the first volume descriptor's sector.
const FIRST: u64 = 16;
/// Maximum number of volume descriptors that are read; a CD has three or four.
const MAX_DESCRIPTORS: u64 = 16;
/// Maximum size of a directory in bytes; that of a CD of Fedora has 2048.
const MAX_DIRECTORY: u32 = 256 << 10;

/// A file or a directory on a CD: offset and size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IsoExtent {
    /// Offset on the CD.
    pub start: u64,
    /// Size.
    pub size: u32,
    is_directory: bool,
}

/// Finds the file at `path` on the CD `source`; upper and lower case are the same.
///
/// # Errors
///
/// [`MediumError`] if this is no CD, or it has no such file.
pub fn find<S: ByteSource>(source: &mut S, path: &[&str]) -> Result<IsoExtent, MediumError<S::Error>> {
    let mut at = root(source)?;
    for (depth, name) in path.iter().enumerate() {
        let missing = || MediumError::malformed(format!("no `{}`", path[..=depth].join("/")));
        at = find_in(source, at, name)?.ok_or_else(missing)?;
        if at.is_directory == (depth + 1 == path.len()) {
            return Err(missing());
        }
    }
    if at.start.checked_add(u64::from(at.size)).is_none_or(|end| end > source.size()) {
        return Err(MediumError::malformed(format!("`{}` behind its end", path.join("/"))));
    }
    Ok(at)
}

/// Returns the root directory.
fn root<S: ByteSource>(source: &mut S) -> Result<IsoExtent, MediumError<S::Error>> {
    for sector in FIRST..FIRST + MAX_DESCRIPTORS {
        let descriptor = bytes(source, sector * SECTOR as u64, SECTOR)?;
        if &descriptor[1..6] != b"CD001" {
            return Err(MediumError::malformed("no CD"));
        }
        match descriptor[0] {
            1 if usize::from(u16_at(&descriptor, 128)) != SECTOR => break,
            1 => return record(&descriptor[156..190]).ok_or_else(|| MediumError::malformed("no root directory")),
            255 => break,
            _ => {}
        }
    }
    Err(MediumError::malformed("no volume with sectors of 2048 bytes"))
}

/// Returns what the directory `folder` has as `name`.
fn find_in<S: ByteSource>(
    source: &mut S,
    folder: IsoExtent,
    name: &str,
) -> Result<Option<IsoExtent>, MediumError<S::Error>> {
    if folder.size > MAX_DIRECTORY {
        return Err(MediumError::malformed(format!("a directory of {} bytes", folder.size)));
    }
    let records = bytes(source, folder.start, folder.size as usize)?;
    for sector in records.chunks(SECTOR) {
        let mut rest = sector;
        // The end of a sector is filled with zeros.
        while let Some(length) = rest.first().map(|length| usize::from(*length)).filter(|length| *length > 0) {
            let broken = || MediumError::malformed("a broken directory");
            let entry = rest.get(..length).filter(|entry| entry.len() > 33).ok_or_else(broken)?;
            let found = entry.get(33..33 + usize::from(entry[32])).ok_or_else(broken)?;
            if is_name(found, name) {
                return record(entry).map(Some).ok_or_else(|| MediumError::malformed("a file in several parts"));
            }
            rest = &rest[length..];
        }
    }
    Ok(None)
}

/// Checks whether `found`, which has a version and perhaps an empty extension, is `name`.
fn is_name(found: &[u8], name: &str) -> bool {
    let plain = found.split(|byte| *byte == b';').next().unwrap_or_default();
    plain.strip_suffix(b".").unwrap_or(plain).eq_ignore_ascii_case(name.as_bytes())
}

/// Returns the extent in the directory record `entry`, unless it is one of several, or interleaved.
fn record(entry: &[u8]) -> Option<IsoExtent> {
    const DIRECTORY: u8 = 2;
    const MORE_FOLLOW: u8 = 0x80;
    let (flags, interleave) = (entry[25], u16_at(entry, 26));
    let start = u64::from(u32_at(entry, 2)) * SECTOR as u64;
    (flags & MORE_FOLLOW == 0 && interleave == 0).then(|| IsoExtent {
        start,
        size: u32_at(entry, 10),
        is_directory: flags & DIRECTORY != 0,
    })
}

#[cfg(test)]
mod tests {
    use netboot_fixtures::live_cd::iso;
    use proptest::prelude::*;

    use super::*;

    fn found(cd: &[u8], path: &[&str]) -> Result<Vec<u8>, String> {
        let extent = find(&mut &*cd, path).map_err(|error| match error {
            MediumError::Malformed(found) => found,
            MediumError::Source(error) => match error {},
        })?;
        let start = usize::try_from(extent.start).unwrap();
        Ok(cd[start..start + extent.size as usize].to_vec())
    }

    #[test]
    fn a_file_is_found_whatever_its_case() {
        let cd = iso(b"partition", 5000);
        assert_eq!(found(&cd, &["images", "efiboot.img"]).unwrap(), b"partition");
        for (path, missing) in [
            (&["images", "other.img"][..], "no `images/other.img`"),
            (&["other", "efiboot.img"], "no `other`"),
            (&["images"], "no `images`"),
            (&["images", "efiboot.img", "x"], "no `images/efiboot.img`"),
        ] {
            assert_eq!(found(&cd, path).unwrap_err(), missing);
        }
    }

    #[test]
    fn a_cd_that_contradicts_itself_is_refused() {
        let refused = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut cd = iso(b"partition", 0);
            change(&mut cd);
            found(&cd, &["images", "efiboot.img"]).unwrap_err()
        };
        let (volume, root) = (16 * SECTOR, 18 * SECTOR);
        assert_eq!(refused(&|cd| cd.truncate(17 * SECTOR - 1)), "a place behind its end");
        assert_eq!(refused(&|cd| cd[volume + 1] = b'X'), "no CD");
        assert_eq!(refused(&|cd| cd[volume] = 2), "no volume with sectors of 2048 bytes");
        assert_eq!(refused(&|cd| cd[volume + 129] = 4), "no volume with sectors of 2048 bytes");
        assert_eq!(refused(&|cd| cd[volume + 156 + 13] = 1), "a directory of 16779264 bytes");
        assert_eq!(refused(&|cd| cd[volume + 156 + 5] = 0xff), "a place behind its end");
        assert_eq!(refused(&|cd| cd[root] = 1), "a broken directory");
        assert_eq!(refused(&|cd| cd[root + 32] = 255), "a broken directory");
        assert_eq!(refused(&|cd| cd[19 * SECTOR + 68 + 25] = 0x80), "a file in several parts");
        assert_eq!(refused(&|cd| cd.truncate(cd.len() - 1)), "`images/efiboot.img` behind its end");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(at in 0x8000_usize..0xa000, value: u8) {
            let mut cd = iso(b"partition", 0);
            cd[at] = value;
            let _ = find(&mut &cd[..], &["images", "efiboot.img"]);
        }
    }
}
