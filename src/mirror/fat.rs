//! Reads a file of a FAT file system: with 12, 16 or 32 bits, and with long names.
//!
//! Source: "Microsoft Extensible Firmware Initiative FAT32 File System Specification" (2000). A file is a chain of
//! clusters, in which a table has the number of the next one for each. A chain that does not end is refused.

use std::collections::BTreeSet;

use super::byte_source::{ByteSource, MediumError, bytes, u16_at, u32_at};

/// Maximum size of a directory in bytes; one of an EFI partition has less than 16,384.
const MAX_DIRECTORY: usize = 256 << 10;
/// Size of an entry of a directory in bytes.
const ENTRY: usize = 32;
/// Attribute of a directory.
const DIRECTORY: u8 = 0x10;

/// Where the parts of a file system are, in bytes.
struct Geometry {
    /// Number of bits of an entry of the table.
    bits: u8,
    table: u64,
    /// Offset of cluster 2, the first.
    data: u64,
    cluster: usize,
    /// Number of clusters, counted from 2.
    end: u32,
    root: Root,
}

/// The root directory.
enum Root {
    /// Offset and size.
    Fixed(u64, usize),
    /// First cluster.
    Chain(u32),
}

/// An entry of a directory.
struct FatEntry {
    first: u32,
    size: usize,
    is_directory: bool,
}

/// Returns the content of the first of `paths` that is a file in the file system `source`, of at most `limit` bytes;
/// `None` if there is none of them. Upper and lower case are the same.
///
/// # Errors
///
/// [`MediumError`] if this is no such file system, or it contradicts itself.
pub fn read_first<S: ByteSource>(
    source: &mut S,
    paths: &[[&str; 3]],
    limit: usize,
) -> Result<Option<Vec<u8>>, MediumError<S::Error>> {
    let geometry = Geometry::read(&bytes(source, 0, 512)?).ok_or_else(|| MediumError::malformed("no FAT"))?;
    for path in paths {
        if let Some(file) = geometry.find(source, path)? {
            return geometry.content(source, &file, limit).map(Some);
        }
    }
    Ok(None)
}

impl Geometry {
    fn read(boot: &[u8]) -> Option<Self> {
        let [sector, reserved, entries] = [11, 14, 17].map(|at| u64::from(u16_at(boot, at)));
        let [per_cluster, tables] = [13, 16].map(|at| u64::from(boot[at]));
        let is_32 = u16_at(boot, 22) == 0;
        let table = if is_32 { u64::from(u32_at(boot, 36)) } else { u64::from(u16_at(boot, 22)) };
        let total = match u16_at(boot, 19) {
            0 => u64::from(u32_at(boot, 32)),
            total => u64::from(total),
        };
        let fine = boot[510..] == [0x55, 0xaa]
            && matches!(sector, 512 | 1024 | 2048 | 4096)
            && per_cluster.is_power_of_two()
            && [reserved, tables, table].iter().all(|number| *number > 0);
        if !fine {
            return None;
        }
        let root = (entries * ENTRY as u64).next_multiple_of(sector);
        let front = (reserved + tables * table) * sector;
        let cluster = sector * per_cluster;
        let clusters = (total * sector).checked_sub(front + root)? / cluster;
        let bits = match clusters {
            _ if is_32 => 32,
            0..4085 => 12,
            _ => 16,
        };
        let end = u32::try_from(clusters).ok()?.checked_add(2)?;
        let root_size = usize::try_from(root).ok()?;
        Some(Self {
            bits,
            table: reserved * sector,
            data: front + root,
            cluster: usize::try_from(cluster).ok()?,
            end,
            root: if is_32 { Root::Chain(u32_at(boot, 44)) } else { Root::Fixed(front, root_size) },
        })
    }

    fn find<S: ByteSource>(&self, source: &mut S, path: &[&str]) -> Result<Option<FatEntry>, MediumError<S::Error>> {
        let mut folder = match self.root {
            Root::Fixed(_, size) if size > MAX_DIRECTORY => {
                return Err(MediumError::malformed(format!("a directory of {size} bytes")));
            }
            Root::Fixed(start, size) => bytes(source, start, size)?,
            Root::Chain(first) => self.folder(source, first)?,
        };
        for (depth, name) in path.iter().enumerate() {
            let is_last = depth + 1 == path.len();
            let Some(found) = find_in(&folder, name).filter(|found| found.is_directory != is_last) else {
                return Ok(None);
            };
            if is_last {
                return Ok(Some(found));
            }
            folder = self.folder(source, found.first)?;
        }
        Ok(None)
    }

    fn folder<S: ByteSource>(&self, source: &mut S, first: u32) -> Result<Vec<u8>, MediumError<S::Error>> {
        let chain = self.chain(source, first, MAX_DIRECTORY)?;
        self.clusters(source, &chain)
    }

    fn content<S: ByteSource>(
        &self,
        source: &mut S,
        file: &FatEntry,
        limit: usize,
    ) -> Result<Vec<u8>, MediumError<S::Error>> {
        if file.size > limit {
            return Err(MediumError::malformed(format!("a file of {} bytes", file.size)));
        }
        let chain = if file.size == 0 { Vec::new() } else { self.chain(source, file.first, file.size)? };
        let mut content = self.clusters(source, &chain)?;
        if content.len() < file.size {
            return Err(MediumError::malformed("a chain of clusters that is shorter than its file"));
        }
        content.truncate(file.size);
        Ok(content)
    }

    /// Returns the clusters of the chain that begins with `first`, which has place for `size` bytes and no more than
    /// that.
    fn chain<S: ByteSource>(&self, source: &mut S, first: u32, size: usize) -> Result<Vec<u32>, MediumError<S::Error>> {
        let (mut chain, mut seen, mut at) = (Vec::new(), BTreeSet::new(), first);
        loop {
            if !(2..self.end).contains(&at) {
                return Err(MediumError::malformed("a chain of clusters that leads out of it"));
            }
            if !seen.insert(at) {
                return Err(MediumError::malformed("a chain of clusters that runs in a circle"));
            }
            if chain.len() == size.div_ceil(self.cluster) {
                return Err(MediumError::malformed("a chain of clusters that is too long"));
            }
            chain.push(at);
            match self.next(source, at)? {
                Some(next) => at = next,
                None => return Ok(chain),
            }
        }
    }

    /// Returns the cluster after `cluster`; `None` after the last.
    fn next<S: ByteSource>(&self, source: &mut S, cluster: u32) -> Result<Option<u32>, MediumError<S::Error>> {
        let at = u64::from(cluster);
        let (next, end) = match self.bits {
            12 => {
                let pair = u32::from(u16_at(&bytes(source, self.table + at + at / 2, 2)?, 0));
                (if at % 2 == 1 { pair >> 4 } else { pair & 0xfff }, 0xff8)
            }
            16 => (u32::from(u16_at(&bytes(source, self.table + 2 * at, 2)?, 0)), 0xfff8),
            _ => (u32_at(&bytes(source, self.table + 4 * at, 4)?, 0) & 0x0fff_ffff, 0x0fff_fff8),
        };
        Ok((next < end).then_some(next))
    }

    fn clusters<S: ByteSource>(&self, source: &mut S, chain: &[u32]) -> Result<Vec<u8>, MediumError<S::Error>> {
        let mut content = Vec::with_capacity(chain.len() * self.cluster);
        for cluster in chain {
            let at = self.data + u64::from(cluster - 2) * self.cluster as u64;
            content.extend(bytes(source, at, self.cluster)?);
        }
        Ok(content)
    }
}

/// Returns what the directory `folder` has as `name`.
fn find_in(folder: &[u8], name: &str) -> Option<FatEntry> {
    const REMOVED: u8 = 0xe5;
    const LABEL: u8 = 8;
    const LONG_NAME: u8 = 0x0f;
    let mut long = Vec::new();
    for entry in folder.chunks_exact(ENTRY) {
        match (entry[0], entry[11]) {
            (0, _) => break,
            (REMOVED, _) => long.clear(),
            (_, LONG_NAME) => long.push(entry),
            (_, attributes) if attributes & LABEL != 0 => long.clear(),
            (_, attributes) => {
                let is_wanted = |found: String| found.eq_ignore_ascii_case(name);
                if is_wanted(short_name(entry)) || long_name(&long, entry).is_some_and(is_wanted) {
                    let first = u32::from(u16_at(entry, 20)) << 16 | u32::from(u16_at(entry, 26));
                    let size = u32_at(entry, 28) as usize;
                    return Some(FatEntry { first, size, is_directory: attributes & DIRECTORY != 0 });
                }
                long.clear();
            }
        }
    }
    None
}

/// Returns the name in `entry`: eight characters, and three after the dot, filled with spaces.
fn short_name(entry: &[u8]) -> String {
    let part = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    let (name, extension) = (part(&entry[..8]), part(&entry[8..11]));
    if extension.is_empty() { name } else { format!("{name}.{extension}") }
}

/// Returns the name in `parts`, the entries before `entry`, the last part first, if they belong to it.
fn long_name(parts: &[&[u8]], entry: &[u8]) -> Option<String> {
    let checksum = entry[..11].iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
    let count = parts.len();
    let mut name = Vec::new();
    for (index, part) in parts.iter().rev().enumerate() {
        let last = if index + 1 == count { 0x40 } else { 0 };
        if usize::from(part[0]) != index + 1 + last || part[13] != checksum {
            return None;
        }
        let characters = [1..11, 14..26, 28..32].into_iter().flat_map(|range| part[range].chunks_exact(2));
        name.extend(characters.map(|character| u16_at(character, 0)));
    }
    let end = name.iter().position(|character| *character == 0).unwrap_or(name.len());
    (count > 0).then(|| String::from_utf16_lossy(&name[..end]))
}

#[cfg(test)]
mod tests {
    use netboot_fixtures::live_cd::EfiPartition;
    use proptest::prelude::*;

    use super::*;

    const PATHS: [[&str; 3]; 2] = [["EFI", "fedora", "shimx64.efi"], ["EFI", "BOOT", "BOOTX64.EFI"]];

    fn content(size: usize) -> Vec<u8> {
        (0..size).map(|index| u8::try_from(index / 7 % 251).unwrap()).collect()
    }

    fn read(partition: &EfiPartition) -> Result<Option<Vec<u8>>, String> {
        read_first(&mut partition.bytes(), &PATHS, 20_000).map_err(|error| match error {
            MediumError::Malformed(found) => found,
            MediumError::Source(error) => match error {},
        })
    }

    #[test]
    fn a_file_is_read_from_each_kind_by_its_short_or_long_name() {
        for bits in [12, 16, 32] {
            for path in ["EFI/fedora/shimx64.efi", "EFI/BOOT/BOOTX64.EFI", "efi/boot/bootx64.efi"] {
                for size in [0, 1, 512, 513, 20_000] {
                    let content = content(size);
                    assert_eq!(
                        read(&EfiPartition::new(bits, path, &content)),
                        Ok(Some(content)),
                        "{bits} {path} {size}"
                    );
                }
            }
            assert_eq!(read(&EfiPartition::new(bits, "EFI/debian/shimx64.efi", b"x")), Ok(None));
            assert_eq!(read(&EfiPartition::new(bits, "EFI/fedora/shimx64.efi/x", b"x")), Ok(None));
        }
    }

    #[test]
    fn what_does_not_end_is_refused() {
        for bits in [12, 16, 32] {
            let partition = || EfiPartition::new(bits, "EFI/BOOT/BOOTX64.EFI", &content(2000));
            // The file has the clusters 5, 4, 3 and 2; then come its directory, that above, and perhaps the root.
            let linked = |from, to| {
                let mut partition = partition();
                partition.link(from, to);
                read(&partition).unwrap_err()
            };
            assert_eq!(linked(4, 5), "a chain of clusters that runs in a circle");
            assert_eq!(linked(4, 4), "a chain of clusters that runs in a circle");
            assert_eq!(linked(6, 6), "a chain of clusters that runs in a circle");
            assert_eq!(linked(2, 9), "a chain of clusters that is too long");
            assert_eq!(linked(4, 0x0fff_ffff), "a chain of clusters that is shorter than its file");
            assert_eq!(linked(4, 0), "a chain of clusters that leads out of it");
            assert_eq!(linked(4, 1), "a chain of clusters that leads out of it");
        }
        let large = EfiPartition::new(16, "EFI/BOOT/BOOTX64.EFI", &content(20_001));
        assert_eq!(read(&large).unwrap_err(), "a file of 20001 bytes");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(at in 0_usize..0x9000, value: u8, boot in 11_usize..64, other: u8, bits in 0_usize..3) {
            let partition = EfiPartition::new([12, 16, 32][bits], "EFI/fedora/shimx64.efi", &content(3000));
            let mut bytes = partition.bytes().to_vec();
            (bytes[at], bytes[boot]) = (value, other);
            let _ = read_first(&mut &bytes[..], &PATHS, 20_000);
        }
    }
}
