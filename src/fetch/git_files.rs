//! The files of a repository, looked at before libgit2 reads them: it waits for a pipe, and keeps what it reads.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::slice::Iter;

use camino::{Utf8Path, Utf8PathBuf};
use flate2::{Decompress, FlushDecompress};

use super::git_stream::MAX_OBJECTS;
use super::git_tree::MAX_OBJECT;
use crate::base::fs::{self, EntryKind};
use crate::printable::printable;

/// What libgit2 reads in the folder of a repository, beside `refs` and `objects`.
const FILES: [&str; 8] =
    ["HEAD", "commondir", "config", "config.worktree", "gitdir", "info/grafts", "packed-refs", "shallow"];
/// The most bytes of a configuration, in which git writes 100 bytes and some more for each branch, and of a list of
/// commits without parents.
const MAX_CONFIG: u64 = 256 << 10;
/// The most bytes of any other file but a pack.
const MAX_FILE: u64 = 16 << 20;
/// The most bytes of a list of objects: that of a pack with as many as a server may send has 16 MB.
const MAX_LIST: u64 = 64 << 20;
/// The most bytes of a file with a path.
const MAX_LINE: u64 = 4096;
/// The most repositories that one may take objects from.
const MAX_FOLDERS: usize = 10;
/// The most bytes that libgit2 may come to keep of all packs, from which it makes other objects.
const MAX_KEPT: u64 = 128 << 20;
/// What it keeps of a pack at most, and the largest object of those.
const KEPT_OF_PACK: u64 = 16 << 20;
const KEPT_OBJECT: u64 = 1 << 20;

/// The folder of the repository that `path` means: itself, or where its `.git` is or leads. Whether there is one, is for
/// libgit2 to say, which must not look elsewhere.
///
/// # Errors
///
/// What is odd.
pub(super) fn folder(path: &Utf8Path) -> Result<Utf8PathBuf, String> {
    let inside = path.join(".git");
    let own = if inside.symlink_metadata().is_ok() { inside } else { path.to_owned() };
    if own.is_dir() || !(own.exists() || own.is_symlink()) {
        return Ok(own);
    }
    let leads = text(&own, MAX_LINE).ok().flatten();
    let leads = leads.as_deref().and_then(|text| text.strip_prefix("gitdir:")).map(str::trim).filter(|to| is_plain(to));
    let no_folder = |path: &Utf8Path| format!("`{}` is no folder, wanted a repository", printable(path));
    let to = own.parent().unwrap_or(path).join(leads.ok_or_else(|| no_folder(&own))?);
    // libgit2 would follow another file from there.
    if to.symlink_metadata().is_ok() && !to.is_dir() { Err(no_folder(&to)) } else { Ok(to) }
}

/// Checks the files of the repository in `folder`, and those of the repositories that it takes objects from.
///
/// # Errors
///
/// What is odd.
pub(super) fn check(folder: &Utf8Path) -> Result<(), String> {
    match folder.join("HEAD").symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("its `HEAD` cannot be looked at: {error}")),
        Ok(_) => {}
    }
    check_folder(folder)?;
    let mut objects = BTreeSet::from([folder.join("objects")]);
    if let Some(common) = text(&folder.join("commondir"), MAX_LINE)? {
        let common = folder.join(plain(common.strip_suffix('\n').unwrap_or(&common), "commondir")?);
        check_folder(&common)?;
        objects.insert(common.join("objects"));
    }
    check_objects(objects)
}

/// The content of a small file, where there is one.
fn text(path: &Utf8Path, most: u64) -> Result<Option<String>, String> {
    match fs::read_at_most(path, most) {
        Ok(content) => match String::from_utf8(content) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(format!("`{}` is not UTF-8", printable(path))),
        },
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(words(&error)),
    }
}

/// A path in the file `name` that every reader takes for the same one.
fn plain<'t>(text: &'t str, name: &str) -> Result<&'t str, String> {
    if is_plain(text) { Ok(text) } else { Err(format!("`{name}` has `{}`, wanted a path", printable(text))) }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.trim() == text && !text.contains(char::is_control)
}

fn words(error: &fs::Error) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    // Its hint is for those who gave the file.
    format!("{}{}", error.to_string().lines().next().unwrap_or_default(), cause.unwrap_or_default())
}

fn check_folder(folder: &Utf8Path) -> Result<(), String> {
    for name in FILES {
        let most = if ["HEAD", "packed-refs"].contains(&name) { MAX_FILE } else { MAX_CONFIG };
        let path = folder.join(name);
        if let Ok(found) = path.symlink_metadata() {
            check_file(&path, Utf8Path::new(name), found.is_file(), most)?;
        }
        let includes = |text: String| text.to_ascii_lowercase().contains("[include");
        if name.starts_with("config") && text(&path, most)?.is_some_and(includes) {
            return Err(format!("its `{name}` includes other files"));
        }
    }
    below(&folder.join("refs"), "refs", |_| MAX_FILE)
}

/// Checks all folders of objects that these lead to.
fn check_objects(mut waiting: BTreeSet<Utf8PathBuf>) -> Result<(), String> {
    let (mut checked, mut packs) = (BTreeSet::new(), Packs::default());
    while let Some(objects) = waiting.pop_first() {
        if checked.len() >= MAX_FOLDERS {
            return Err(format!("it takes objects from more than {MAX_FOLDERS} folders"));
        }
        let name = objects.file_name().unwrap_or("objects");
        below(&objects, name, |path| if path.as_str().strip_suffix(".pack").is_some() { u64::MAX } else { MAX_LIST })?;
        for path in fs::entries(&objects.join("pack")).map_err(|error| words(&error))? {
            if let Some(pack) = path.as_str().strip_suffix(".idx") {
                packs.check(&path, format!("{pack}.pack").as_str().into())?;
            } else if path.file_name() == Some("multi-pack-index") {
                // It has other places of the objects than the indexes.
                return Err(format!("`{}` is an index of several packs, which git does without", printable(&path)));
            }
        }
        checked.insert(objects.clone());
        let alternates = text(&objects.join("info/alternates"), MAX_CONFIG)?.unwrap_or_default();
        if alternates.contains('\r') {
            return Err("`objects/info/alternates` has a carriage return".into());
        }
        for line in alternates.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let other = objects.join(plain(line, "objects/info/alternates")?);
            // libgit2 begins with the folder of this process there, git with the repository's.
            if !line.starts_with(['/', '.']) {
                return Err(format!(
                    "`objects/info/alternates` has `{line}`, wanted a path that begins with `/` or `.`"
                ));
            }
            if !checked.contains(&other) {
                waiting.insert(other);
            }
        }
    }
    Ok(())
}

/// Checks all files below `root`, which messages call `name`, where there is such a folder.
fn below(root: &Utf8Path, name: &str, most: impl Fn(&Utf8Path) -> u64) -> Result<(), String> {
    if !root.is_dir() {
        return Ok(());
    }
    for (path, kind) in fs::walk(root).map_err(|error| words(&error))? {
        check_file(&root.join(&path), &Utf8Path::new(name).join(&path), kind == EntryKind::File, most(&path))?;
    }
    Ok(())
}

fn check_file(path: &Utf8Path, name: &Utf8Path, is_file: bool, most: u64) -> Result<(), String> {
    let shown = printable(name.as_str());
    if !is_file {
        return Err(format!("`{shown}` is no regular file"));
    }
    match path.symlink_metadata().map_or(0, |found| found.len()) {
        size if size > most => Err(format!("`{shown}` has {size} bytes, wanted {most} at most")),
        _ => Ok(()),
    }
}

/// What the packs that were checked come to.
#[derive(Default)]
struct Packs {
    objects: usize,
    /// How much of them libgit2 keeps at most, to make other objects of it, in bytes.
    kept: u64,
}

impl Packs {
    /// Checks all objects that `index` lists in `pack`, whether or not they are found by their names: how large they are
    /// and become, and that each difference is one to an object that is listed. libgit2 unpacks whatever it needs for
    /// another.
    fn check(&mut self, index: &Utf8Path, pack: &Utf8Path) -> Result<(), String> {
        let Ok(pack) = fs::open(pack) else { return Ok(()) };
        let shown = printable(index);
        let list = fs::read_at_most(index, MAX_LIST).map_err(|error| words(&error))?;
        let list = List::of(&list).ok_or_else(|| format!("`{shown}` is no index of version 2"))?;
        self.objects += list.names.len();
        if self.objects > MAX_OBJECTS {
            return Err(format!("it has more than {MAX_OBJECTS} objects"));
        }
        let mut offsets = list.offsets.clone();
        offsets.sort_unstable();
        let mut inflater = Decompress::new(true);
        let (mut sizes, mut is_base) = (Vec::new(), vec![false; offsets.len()]);
        for offset in &offsets {
            let mut head = [0; 1024];
            let count = pack.read_at(&mut head, *offset).unwrap_or(0);
            let Some(entry) = Entry::read(&head[..count], *offset, &mut inflater) else {
                return Err(format!("`{shown}` lists an object that cannot be read"));
            };
            if entry.size > MAX_OBJECT as u64 {
                return Err(format!("`{shown}` lists an object of {} bytes, wanted {MAX_OBJECT} at most", entry.size));
            }
            let base = match entry.base {
                Some(Base::At(offset)) => Some(Some(offset)),
                Some(Base::Named(name)) => Some(list.names.binary_search(&name).ok().map(|at| list.offsets[at])),
                None => None,
            };
            if let Some(offset) = base {
                let Some(at) = offset.and_then(|offset| offsets.binary_search(&offset).ok()) else {
                    return Err(format!("`{shown}` lacks an object that another one is a difference to"));
                };
                is_base[at] = true;
            }
            sizes.push(entry.size.min(KEPT_OBJECT));
        }
        let kept = sizes.iter().zip(is_base).filter(|(_, is_base)| *is_base).map(|(size, _)| size);
        self.kept += kept.sum::<u64>().min(KEPT_OF_PACK);
        if self.kept > MAX_KEPT {
            return Err(format!("its packs need more than {MAX_KEPT} bytes of memory; `git repack -ad` helps"));
        }
        Ok(())
    }
}

/// How an object is stored in a pack.
struct Entry {
    /// Its size, or that of its difference where that is larger.
    size: u64,
    /// What it is a difference to, where it is one.
    base: Option<Base>,
}

/// How a difference says what it is one to.
enum Base {
    At(u64),
    Named([u8; 20]),
}

impl Entry {
    /// The entry at `offset`, which begins with `head`.
    fn read(head: &[u8], offset: u64, inflater: &mut Decompress) -> Option<Self> {
        let mut rest = head.iter();
        let first = *rest.next()?;
        let size = u64::from(first & 0xf) | if first & 0x80 == 0 { 0 } else { number(&mut rest, 4)? };
        let base = match first >> 4 & 7 {
            6 => Base::At(offset.checked_sub(distance(&mut rest)?)?),
            7 => {
                let name = rest.as_slice().first_chunk::<20>()?;
                rest.nth(19)?;
                Base::Named(*name)
            }
            _ => return Some(Self { size, base: None }),
        };
        // A difference begins with the sizes of its base and of what it becomes.
        let mut sizes = [0; 20];
        inflater.reset(true);
        inflater.decompress(rest.as_slice(), &mut sizes, FlushDecompress::None).ok()?;
        let mut sizes = sizes[..usize::try_from(inflater.total_out()).ok()?].iter();
        let becomes = number(&mut sizes, 0).and_then(|_| number(&mut sizes, 0))?;
        Some(Self { size: size.max(becomes), base: Some(base) })
    }
}

/// A number whose bytes have seven bits each, the lowest first, and one that says whether another follows; it is
/// shifted to the left by so many bits. No number that does not fit is one of an honest pack.
fn number(bytes: &mut Iter<'_, u8>, mut shift: u32) -> Option<u64> {
    let mut number = 0;
    loop {
        let byte = *bytes.next()?;
        number |= u64::from(byte & 0x7f).checked_shl(shift).filter(|part| part >> shift == u64::from(byte & 0x7f))?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
        shift += 7;
    }
}

/// How far before a difference its base is.
fn distance(bytes: &mut Iter<'_, u8>) -> Option<u64> {
    let mut distance = 0_u64;
    loop {
        let byte = *bytes.next()?;
        distance |= u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some(distance);
        }
        distance = (distance + 1).checked_mul(128)?;
    }
}

/// What an index says of a pack: a head, 256 counts, and for each object its name, a checksum and its place, or where
/// behind all these a large one stands.
struct List<'i> {
    /// In the order of the bytes, each once: whoever looks a name up finds the same object.
    names: &'i [[u8; 20]],
    offsets: Vec<u64>,
}

impl<'i> List<'i> {
    fn of(index: &'i [u8]) -> Option<Self> {
        let number = |at: usize| Some(u32::from_be_bytes(index.get(at..at.checked_add(4)?)?.try_into().ok()?));
        let count = number(8 + 255 * 4).filter(|_| index.starts_with(b"\xfftOc\0\0\0\x02"))? as usize;
        let first = 8 + 256 * 4;
        let names = index.get(first..first + count.checked_mul(20)?)?.as_chunks().0;
        let table = first + count * 24;
        // Nobody allocates for what is not there.
        index.get(..table + count * 4)?;
        let offset = |object: usize| {
            let offset = number(table + object * 4)?;
            let Some(large) = offset.checked_sub(1 << 31) else { return Some(u64::from(offset)) };
            let at = table + count * 4 + large as usize * 8;
            Some(u64::from(number(at)?) << 32 | u64::from(number(at + 4)?))
        };
        let offsets = (0..count).map(offset).collect::<Option<_>>()?;
        names.is_sorted_by(|one, next| one < next).then_some(Self { names, offsets })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;

    use super::*;

    /// An index that says where objects are, as far as that is read.
    fn index(offsets: &[u64]) -> Vec<u8> {
        let count = u32::try_from(offsets.len()).unwrap();
        let mut bytes = [&b"\xfftOc\0\0\0\x02"[..], &[0; 255 * 4], &count.to_be_bytes()].concat();
        // The names are in their order: twenty times 1, twenty times 2.
        bytes.extend((1..=count).flat_map(|object| [u8::try_from(object).unwrap(); 20]));
        bytes.resize(bytes.len() + offsets.len() * 4, 0);
        // As git has those beyond two gigabytes.
        let large = |object: usize| (1 << 31 | u32::try_from(object).unwrap()).to_be_bytes();
        bytes.extend((0..offsets.len()).flat_map(large));
        bytes.extend(offsets.iter().flat_map(|offset| offset.to_be_bytes()));
        bytes
    }

    /// An object as a pack has it: its kind, its size as is said, what stands between, and its content.
    fn object(kind: u8, mut size: u64, between: &[u8], content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind << 4 | u8::try_from(size & 0xf).unwrap()];
        size >>= 4;
        while size > 0 {
            *bytes.last_mut().unwrap() |= 0x80;
            bytes.push(u8::try_from(size & 0x7f).unwrap());
            size >>= 7;
        }
        let mut packed = ZlibEncoder::new([&bytes, between].concat(), Compression::fast());
        packed.write_all(content).unwrap();
        packed.finish().unwrap()
    }

    #[test]
    fn what_a_pack_has_is_checked_whether_or_not_it_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap();
        let (list, pack) = (path.join(".idx"), path.join(".pack"));
        let most = u64::try_from(MAX_OBJECT).unwrap();
        // 100 bytes of `AAAA…`, and differences to it by place and by name.
        let objects = [
            object(3, 100, &[], &[b'A'; 100]),
            object(6, 5, &[28], &[100, 100, 0x90, 100, 0]),
            object(6, 5, &[0x81, 0x2c], &[100, 100, 0x90, 100, 0]),
            object(7, 5, &[1; 20], &[100, 100, 0x90, 100, 0]),
            object(1, most + 1, &[], b"x"),
            object(7, most + 1, &[1; 20], &[100, 100, 0x90, 100, 0]),
            object(7, 9, &[1; 20], &[100, 0x81, 0x80, 0x80, 4, 0x90, 100, 0]),
            object(7, 9, &[1; 20], &[]),
        ];
        let mut bytes = vec![0; 1000];
        let places: [usize; 8] = [12, 40, 312, 400, 500, 600, 700, 800];
        for (object, at) in objects.iter().zip(places) {
            bytes[at..at + object.len()].copy_from_slice(object);
        }
        std::fs::write(&pack, bytes).unwrap();
        let check = |content: &[u8]| {
            std::fs::write(&list, content).unwrap();
            let mut packs = Packs::default();
            let checked = packs.check(&list, &pack).map(|()| packs.kept);
            checked.map_err(|error| error.replace(list.as_str(), "INDEX"))
        };
        assert_eq!((check(&index(&[12])), check(&index(&[12, 40, 312]))), (Ok(0), Ok(100)));
        // A difference by name is one to the first object of the list here.
        assert_eq!(check(&index(&[312, 12, 40, 400])), Ok(200));
        let lacks = "`INDEX` lacks an object that another one is a difference to";
        let large = format!("`INDEX` lists an object of {} bytes, wanted {most} at most", most + 1);
        let unreadable = "`INDEX` lists an object that cannot be read";
        for (offsets, reason) in [
            (&[40][..], lacks),
            (&[312], lacks),
            (&[312, 40, 13], lacks),
            (&[500], &large),
            (&[12, 600], &large),
            (&[12, 700], &large),
            (&[800], unreadable),
            (&[5000], unreadable),
        ] {
            assert_eq!(check(&index(offsets)), Err(reason.to_owned()), "{offsets:?}");
        }
        let mut twice = index(&[12, 40]);
        twice.copy_within(1032..1052, 1052);
        assert_eq!(check(&twice), Err("`INDEX` is no index of version 2".to_owned()), "a name that is there twice");
        let mut unknown = index(&[12, 400]);
        unknown[1032] = 0;
        assert_eq!(check(&unknown), Err(lacks.to_owned()), "a base that is not listed");
        for cut in [0, 7, 1031, 1100] {
            assert_eq!(check(&index(&[12, 40])[..cut]), Err("`INDEX` is no index of version 2".to_owned()));
        }
    }

    #[test]
    fn packs_are_kept_within_memory_all_together() {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap();
        std::fs::create_dir_all(path.join("objects/pack")).unwrap();
        std::fs::write(path.join("HEAD"), "ref: refs/heads/main\n").unwrap();
        // Each has a base of a megabyte 16 times, and a difference to each.
        let (zeros, size) = (vec![0; 1 << 20], 1 << 20);
        let base = object(3, size, &[], &zeros);
        let (mut pack, mut places) = (vec![0; 12], Vec::new());
        for _ in 0..16 {
            places.push(pack.len() as u64);
            pack.extend(&base);
            let back = u64::try_from(base.len()).unwrap();
            assert!((128..16_512).contains(&back));
            let back = [0x80 | u8::try_from((back - 128) >> 7).unwrap(), u8::try_from(back & 0x7f).unwrap()];
            places.push(pack.len() as u64);
            pack.extend(object(6, 8, &back, &[0x80, 0x80, 0x40, 5, 5, b'1', b'2', b'3', b'4', b'5']));
        }
        for number in 0..8 {
            std::fs::write(path.join(format!("objects/pack/{number}.pack")), &pack).unwrap();
            std::fs::write(path.join(format!("objects/pack/{number}.idx")), index(&places)).unwrap();
        }
        assert_eq!(check(path), Ok(()));
        std::fs::write(path.join("objects/pack/8.pack"), &pack).unwrap();
        std::fs::write(path.join("objects/pack/8.idx"), index(&places)).unwrap();
        let words = "its packs need more than 134217728 bytes of memory; `git repack -ad` helps";
        assert_eq!(check(path), Err(words.to_owned()));
    }

    #[test]
    fn every_reader_takes_a_path_for_the_same_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap();
        let write = |name: &str, text: &str| std::fs::write(path.join(name), text).unwrap();
        std::fs::create_dir_all(path.join("objects/info")).unwrap();
        write("HEAD", "ref: refs/heads/main\n");
        assert_eq!((self::folder(path), check(path)), (Ok(path.to_owned()), Ok(())));
        let odd = [("x \n", "x "), ("x\ny\n", "x\\ny"), ("\n", ""), ("\u{2003}x", "\u{2003}x"), ("x\r\n", "x\\r")];
        for (text, shown) in odd {
            write("commondir", text);
            assert_eq!(check(path), Err(format!("`commondir` has `{shown}`, wanted a path")));
        }
        std::fs::remove_file(path.join("commondir")).unwrap();
        for text in ["#x\r/y\n", "/x \n", "\t/x\n", "x\n"] {
            write("objects/info/alternates", text);
            assert!(check(path).unwrap_err().starts_with("`objects/info/alternates` has "), "{text:?}");
        }
        write("objects/info/alternates", "# of mine\n./info\n");
        assert_eq!(check(path), Ok(()));
        // The last part of a path may lead back to what is checked then.
        let other = path.join("other");
        std::fs::create_dir_all(other.join("pack")).unwrap();
        crate::base::fs::symlink("nowhere".into(), &other.join("odd")).unwrap();
        for text in ["./../other", "./../other/pack/..", "./../other/pack/../.", "./../other/pack/..//"] {
            write("objects/info/alternates", text);
            assert!(check(path).unwrap_err().ends_with("/odd` is no regular file"), "{text:?}");
        }
        write("objects/info/alternates", "");
        // Whatever is called `.git` is what counts.
        for text in ["gitdir: x\ny\n", "gitdir:", "x", &"x".repeat(5000)] {
            write(".git", text);
            assert_eq!(self::folder(path), Err(format!("`{path}/.git` is no folder, wanted a repository")), "{text:?}");
        }
        write(".git", "gitdir: ../x\n");
        assert_eq!(self::folder(path), Ok(path.join("../x")));
        // Nor does a file lead on to another one.
        write("sub", "gitdir: ../x\n");
        write(".git", "gitdir: sub\n");
        assert_eq!(self::folder(path), Err(format!("`{path}/sub` is no folder, wanted a repository")));
        assert!(check(&path.join("sub")).unwrap_err().starts_with("its `HEAD` cannot be looked at: "));
        std::fs::remove_file(path.join(".git")).unwrap();
        std::os::unix::fs::symlink("gone", path.join(".git")).unwrap();
        assert!(self::folder(path).is_err());
        std::fs::remove_file(path.join(".git")).unwrap();
        std::fs::create_dir(path.join(".git")).unwrap();
        assert_eq!(self::folder(path), Ok(path.join(".git")));
    }
}
