//! The files of a repository, looked at before libgit2 reads them: it waits for a pipe, and keeps what it reads.

use std::collections::BTreeSet;
use std::os::unix::fs::FileExt;

use camino::{Utf8Path, Utf8PathBuf};

use crate::fs::{self, EntryKind};
use crate::printable::printable;

/// What libgit2 reads in the folder of a repository, beside `refs` and `objects`.
const FILES: [&str; 8] =
    ["HEAD", "commondir", "config", "config.worktree", "gitdir", "info/grafts", "packed-refs", "shallow"];
/// The most bytes of a configuration; git writes 100 bytes and some more for each branch.
const MAX_CONFIG: u64 = 256 << 10;
/// The most bytes of any other file but a pack.
const MAX_FILE: u64 = 16 << 20;
/// The most bytes of a list of objects: that of a pack with as many as a server may send has 16 MB.
const MAX_LIST: u64 = 64 << 20;
/// The most repositories that one may take objects from.
const MAX_FOLDERS: usize = 10;

/// What helps against files that git itself does not copy.
const COPY: &str = "make a copy without with `git clone --bare --no-local`";

/// Checks the files of the repository that the path means, be it bare or not, and those of the repositories that it
/// takes objects from. Where there is none, that is for libgit2 to say.
///
/// # Errors
///
/// What is odd.
pub(super) fn check(path: &Utf8Path) -> Result<(), String> {
    let own = path.join(".git");
    let own = if own.symlink_metadata().is_ok() { own } else { path.to_owned() };
    let linked = if own.is_dir() { None } else { line(&own)?.filter(|line| line.starts_with("gitdir:")) };
    let folder = linked.map_or(own, |line| path.join(line["gitdir:".len()..].trim()));
    if !folder.is_dir() {
        return Ok(());
    }
    let mut objects = BTreeSet::new();
    let common = line(&folder.join("commondir"))?.map(|common| folder.join(common));
    for folder in std::iter::once(&folder).chain(&common) {
        check_folder(folder)?;
        objects.insert(folder.join("objects"));
    }
    check_objects(objects)
}

/// The first line of a small file, where there is one.
fn line(path: &Utf8Path) -> Result<Option<String>, String> {
    Ok(text(path, 4096)?.map(|text| text.lines().next().unwrap_or_default().to_owned()))
}

fn text(path: &Utf8Path, most: u64) -> Result<Option<String>, String> {
    match fs::read_at_most(path, most) {
        Ok(content) => Ok(Some(String::from_utf8_lossy(&content).into_owned())),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(words(&error)),
    }
}

fn words(error: &fs::Error) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    // Its hint is for those who gave the file.
    format!("{}{}", error.to_string().lines().next().unwrap_or_default(), cause.unwrap_or_default())
}

fn check_folder(folder: &Utf8Path) -> Result<(), String> {
    for name in FILES {
        let most = if name.starts_with("config") { MAX_CONFIG } else { MAX_FILE };
        let path = folder.join(name);
        if let Ok(found) = path.symlink_metadata() {
            check_file(folder, Utf8Path::new(name), found.is_file(), most)?;
        }
        let includes = |text: String| text.to_ascii_lowercase().contains("[include");
        if name.starts_with("config") && text(&path, most)?.is_some_and(includes) {
            return Err(format!("its `{name}` includes other files; {COPY}"));
        }
    }
    below(folder, "refs", |_| MAX_FILE)
}

/// Checks all folders of objects that these lead to.
fn check_objects(mut waiting: BTreeSet<Utf8PathBuf>) -> Result<(), String> {
    let mut checked = BTreeSet::new();
    while let Some(objects) = waiting.pop_first() {
        if checked.len() >= MAX_FOLDERS {
            return Err(format!("it takes objects from more than {MAX_FOLDERS} folders"));
        }
        let (folder, name) = (objects.parent().unwrap_or(&objects), objects.file_name().unwrap_or_default());
        below(folder, name, |path| if path.extension() == Some("pack") { u64::MAX } else { MAX_LIST })?;
        for path in fs::entries(&objects.join("pack")).map_err(|error| words(&error))? {
            match path.extension() {
                Some("idx") => check_pack(&path)?,
                // It has other places of the objects than the indexes.
                None if path.file_name() == Some("multi-pack-index") => {
                    return Err(format!("`{}` is an index of several packs; {COPY}", printable(&path)));
                }
                _ => {}
            }
        }
        let alternates = text(&objects.join("info/alternates"), MAX_CONFIG)?.unwrap_or_default();
        let others = alternates.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        checked.insert(objects.clone());
        waiting.extend(others.map(|other| objects.join(other)).filter(|other| !checked.contains(other)));
    }
    Ok(())
}

/// Checks all files below the folder `name` of `folder`, where there is one.
fn below(folder: &Utf8Path, name: &str, most: impl Fn(&Utf8Path) -> u64) -> Result<(), String> {
    let root = folder.join(name);
    if !root.is_dir() {
        return Ok(());
    }
    for (path, kind) in fs::walk(&root).map_err(|error| words(&error))? {
        check_file(folder, &Utf8Path::new(name).join(&path), kind == EntryKind::File, most(&path))?;
    }
    Ok(())
}

fn check_file(folder: &Utf8Path, path: &Utf8Path, is_file: bool, most: u64) -> Result<(), String> {
    let shown = printable(path.as_str());
    if !is_file {
        return Err(format!("`{shown}` is no regular file"));
    }
    match folder.join(path).symlink_metadata().map_or(0, |found| found.len()) {
        size if size > most => Err(format!("`{shown}` has {size} bytes, wanted {most} at most")),
        _ => Ok(()),
    }
}

/// Checks that the differences in the pack of `index` are such to objects that it lists: libgit2 unpacks any other as
/// well, and no limit on what is listed counts for that.
fn check_pack(index: &Utf8Path) -> Result<(), String> {
    let Ok(pack) = fs::open(&index.with_extension("pack")) else { return Ok(()) };
    let list = fs::read_at_most(index, MAX_LIST).map_err(|error| words(&error))?;
    let mut offsets =
        offsets(&list).ok_or_else(|| format!("`{}` is no index of version 2; {COPY}", printable(index)))?;
    offsets.sort_unstable();
    for offset in &offsets {
        let mut head = [0; 32];
        let count = pack.read_at(&mut head, *offset).unwrap_or(0);
        if base(&head[..count], *offset).is_some_and(|base| offsets.binary_search(&base).is_err()) {
            let shown = printable(index);
            return Err(format!("`{shown}` lacks an object that another one is a difference to; {COPY}"));
        }
    }
    Ok(())
}

/// Where the objects of a pack are, as its index has it: a head, 256 counts, and for each object its name, a checksum
/// and its place, or where behind all these a large one stands.
fn offsets(index: &[u8]) -> Option<Vec<u64>> {
    let number = |at: usize| Some(u32::from_be_bytes(index.get(at..at.checked_add(4)?)?.try_into().ok()?));
    let count = number(8 + 255 * 4).filter(|_| index.starts_with(b"\xfftOc\0\0\0\x02"))? as usize;
    let table = 8 + 256 * 4 + count.checked_mul(24)?;
    // Nobody allocates for what is not there.
    index.get(..table + count * 4)?;
    let place = |object: usize| {
        let place = number(table + object * 4)?;
        let Some(large) = place.checked_sub(1 << 31) else { return Some(u64::from(place)) };
        let at = table + count * 4 + large as usize * 8;
        Some(u64::from(number(at)?) << 32 | u64::from(number(at + 4)?))
    };
    (0..count).map(place).collect()
}

/// Where the object at `offset` that begins with `head` has its base, where it is a difference to one that is named
/// by its place; somewhere outside, where that cannot be read.
fn base(head: &[u8], offset: u64) -> Option<u64> {
    const OUTSIDE: u64 = u64::MAX;
    let first = head.first()?;
    if first >> 4 & 7 != 6 {
        return None;
    }
    let size = head.iter().take_while(|byte| **byte & 0x80 != 0).count() + 1;
    let (mut distance, mut rest) = (0_u64, head.iter().skip(size));
    loop {
        let Some(byte) = rest.next() else { return Some(OUTSIDE) };
        distance |= u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some(offset.checked_sub(distance).unwrap_or(OUTSIDE));
        }
        distance = distance.wrapping_add(1) << 7;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An index that says where objects are, as far as that is read.
    fn index(offsets: &[u64]) -> Vec<u8> {
        let count = u32::try_from(offsets.len()).unwrap();
        let mut bytes = [&b"\xfftOc\0\0\0\x02"[..], &[0; 255 * 4], &count.to_be_bytes()].concat();
        bytes.resize(bytes.len() + offsets.len() * 24, 0);
        // As git has those beyond two gigabytes.
        let large = |object: usize| (1 << 31 | u32::try_from(object).unwrap()).to_be_bytes();
        bytes.extend((0..offsets.len()).flat_map(large));
        bytes.extend(offsets.iter().flat_map(|offset| offset.to_be_bytes()));
        bytes
    }

    #[test]
    fn a_difference_to_what_the_index_lacks_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap().join("pack-1.idx");
        let mut pack = vec![0; 400];
        pack[12] = 0x30;
        // Differences to what stands 28 bytes, and 300 bytes before them.
        pack[40..42].copy_from_slice(&[0x65, 28]);
        pack[312..316].copy_from_slice(&[0xe5, 0x01, 0x81, 0x2c]);
        std::fs::write(path.with_extension("pack"), pack).unwrap();
        let check = |list: &[u8]| {
            std::fs::write(&path, list).unwrap();
            check_pack(&path).map_err(|error| error.replace(path.as_str(), "INDEX"))
        };
        assert_eq!(check(&index(&[312, 12, 40])), Ok(()));
        let lacks = format!("`INDEX` lacks an object that another one is a difference to; {COPY}");
        for offsets in [&[40][..], &[312], &[312, 40, 13]] {
            assert_eq!(check(&index(offsets)), Err(lacks.clone()), "{offsets:?}");
        }
        for cut in [0, 7, 1031, 1100] {
            assert_eq!(check(&index(&[12, 40])[..cut]), Err(format!("`INDEX` is no index of version 2; {COPY}")));
        }
    }
}
