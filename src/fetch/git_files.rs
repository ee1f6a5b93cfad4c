//! Checks a repository's files before libgit2 reads them, because libgit2 blocks on pipes and keeps what it reads in
//! memory.

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

/// Files that libgit2 reads in the folder of a repository, in addition to `refs` and `objects`.
const FILES: [&str; 8] =
    ["HEAD", "commondir", "config", "config.worktree", "gitdir", "info/grafts", "packed-refs", "shallow"];
/// Maximum size in bytes of a configuration, in which git writes little more than 100 bytes for each branch, and of a
/// list of commits without parents.
const MAX_CONFIG: u64 = 256 << 10;
/// Maximum size in bytes of any other file, except packs.
const MAX_FILE: u64 = 16 << 20;
/// Maximum size in bytes of an object list: that of a pack with as many objects as a server may send has 16 MB.
const MAX_LIST: u64 = 64 << 20;
/// Maximum size in bytes of a file that contains a path.
const MAX_LINE: u64 = 4096;
/// Maximum number of repositories to take objects from.
const MAX_FOLDERS: usize = 10;
/// Maximum number of bytes that libgit2 may keep of all packs as delta bases.
const MAX_KEPT: u64 = 128 << 20;
/// Maximum number of bytes that libgit2 keeps of one pack, and of one object in it.
const KEPT_OF_PACK: u64 = 16 << 20;
const KEPT_OBJECT: u64 = 1 << 20;

/// Returns the folder of the repository at `path`: `path` itself, or its `.git` folder, or the folder to which its
/// `.git` file points. Does not check that the folder is a repository: libgit2 does that, and must not search
/// elsewhere.
///
/// # Errors
///
/// A description of what is wrong.
pub(super) fn folder(path: &Utf8Path) -> Result<Utf8PathBuf, String> {
    let inside = path.join(".git");
    let own = if inside.symlink_metadata().is_ok() { inside } else { path.to_owned() };
    if own.is_dir() || !(own.exists() || own.is_symlink()) {
        return Ok(own);
    }
    let leads = text(&own, MAX_LINE).ok().flatten();
    let leads = leads.as_deref().and_then(|text| text.strip_prefix("gitdir:")).map(str::trim).filter(|to| is_plain(to));
    let no_folder = |path: &Utf8Path| format!("`{}` is not a folder, wanted a repository", printable(path));
    let to = own.parent().unwrap_or(path).join(leads.ok_or_else(|| no_folder(&own))?);
    // libgit2 would follow another `.git` file from there.
    if to.symlink_metadata().is_ok() && !to.is_dir() { Err(no_folder(&to)) } else { Ok(to) }
}

/// Checks the files of the repository in `folder`, and those of the repositories that it takes objects from.
///
/// # Errors
///
/// A description of what is wrong.
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

/// Returns the content of a small file, or `None` if there is none.
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

/// Checks that `text`, from the file `name`, is a path that every reader interprets in the same way.
fn plain<'t>(text: &'t str, name: &str) -> Result<&'t str, String> {
    if is_plain(text) { Ok(text) } else { Err(format!("`{name}` has `{}`, wanted a path", printable(text))) }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.trim() == text && !text.contains(char::is_control)
}

fn words(error: &fs::Error) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    // The error's hint is for the user who passed the file.
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

/// Checks all object folders in `waiting`, and those to which their alternates lead.
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
                // It can give other offsets of the objects than the indexes do.
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
            // libgit2 resolves such a path against the working directory of this process, git against the repository.
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

/// Checks all files below `root`, if it is a folder. Messages call it `name`.
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
        return Err(format!("`{shown}` is not a regular file"));
    }
    match path.symlink_metadata().map_or(0, |found| found.len()) {
        size if size > most => Err(format!("`{shown}` has {size} bytes, wanted {most} at most")),
        _ => Ok(()),
    }
}

/// Totals over the packs checked so far.
#[derive(Default)]
struct Packs {
    objects: usize,
    /// Maximum number of bytes that libgit2 keeps of them as delta bases.
    kept: u64,
}

impl Packs {
    /// Checks all objects of `pack` that `index` lists, whether or not a lookup by name finds them: their sizes, stored
    /// and unpacked, and that each delta has a base in the list. libgit2 unpacks any object that it needs for another
    /// one.
    fn check(&mut self, index: &Utf8Path, pack: &Utf8Path) -> Result<(), String> {
        let Ok(pack) = fs::open(pack) else { return Ok(()) };
        let shown = printable(index);
        let list = fs::read_at_most(index, MAX_LIST).map_err(|error| words(&error))?;
        let list = List::of(&list).ok_or_else(|| format!("`{shown}` is not an index of version 2"))?;
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

/// An object as stored in a pack.
struct Entry {
    /// Its size in bytes, or the size of its delta if that is larger.
    size: u64,
    /// Base of the delta, if the object is one.
    base: Option<Base>,
}

/// A delta's reference to its base.
enum Base {
    At(u64),
    Named([u8; 20]),
}

impl Entry {
    /// Reads the entry at `offset`, which begins with `head`.
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
        // A delta begins with the sizes of its base and of its result.
        let mut sizes = [0; 20];
        inflater.reset(true);
        inflater.decompress(rest.as_slice(), &mut sizes, FlushDecompress::None).ok()?;
        let mut sizes = sizes[..usize::try_from(inflater.total_out()).ok()?].iter();
        let becomes = number(&mut sizes, 0).and_then(|_| number(&mut sizes, 0))?;
        Some(Self { size: size.max(becomes), base: Some(base) })
    }
}

/// Reads a number of seven bits per byte, lowest first, whose top bits tell whether another byte follows; the number is
/// shifted left by `shift` bits. Refuses a number that does not fit in 64 bits: no honest pack has one.
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

/// Reads the distance from a delta back to its base, in bytes.
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

/// An index of a pack. The file has a header, 256 counts, and for each object its name, a checksum, and its offset; an
/// offset of 2 GiB or more is in a table after these, and the entry is an index into that table.
struct List<'i> {
    /// Sorted bytewise without duplicates, so that every lookup by name finds the same object.
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
        // Avoids allocating memory for entries that do not exist.
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

    /// Builds an index with the given offsets, as far as it is read.
    fn index(offsets: &[u64]) -> Vec<u8> {
        let count = u32::try_from(offsets.len()).unwrap();
        let mut bytes = [&b"\xfftOc\0\0\0\x02"[..], &[0; 255 * 4], &count.to_be_bytes()].concat();
        // The names are sorted: twenty times 1, twenty times 2.
        bytes.extend((1..=count).flat_map(|object| [u8::try_from(object).unwrap(); 20]));
        bytes.resize(bytes.len() + offsets.len() * 4, 0);
        // As git stores offsets beyond two gigabytes.
        let large = |object: usize| (1 << 31 | u32::try_from(object).unwrap()).to_be_bytes();
        bytes.extend((0..offsets.len()).flat_map(large));
        bytes.extend(offsets.iter().flat_map(|offset| offset.to_be_bytes()));
        bytes
    }

    /// Builds an object as stored in a pack, from its kind, its declared size, the bytes before its content, and its
    /// content.
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
        // 100 bytes of `AAAA…`, and deltas against it by offset and by name.
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
        // A delta by name refers to the first object of the list here.
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
        assert_eq!(check(&twice), Err("`INDEX` is not an index of version 2".to_owned()), "a name that is there twice");
        let mut unknown = index(&[12, 400]);
        unknown[1032] = 0;
        assert_eq!(check(&unknown), Err(lacks.to_owned()), "a base that is not listed");
        for cut in [0, 7, 1031, 1100] {
            assert_eq!(check(&index(&[12, 40])[..cut]), Err("`INDEX` is not an index of version 2".to_owned()));
        }
    }

    #[test]
    fn packs_are_kept_within_memory_all_together() {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap();
        std::fs::create_dir_all(path.join("objects/pack")).unwrap();
        std::fs::write(path.join("HEAD"), "ref: refs/heads/main\n").unwrap();
        // Each pack has a base of one megabyte 16 times, and a delta against each.
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
        // What is beside it has to be nobody's.
        let path = &Utf8Path::from_path(folder.path()).unwrap().join("repository");
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
        // The last component of a path may lead back to a folder that is then checked.
        let other = path.join("other");
        std::fs::create_dir_all(other.join("pack")).unwrap();
        crate::base::fs::symlink("nowhere".into(), &other.join("odd")).unwrap();
        for text in ["./../other", "./../other/pack/..", "./../other/pack/../.", "./../other/pack/..//"] {
            write("objects/info/alternates", text);
            assert!(check(path).unwrap_err().ends_with("/odd` is not a regular file"), "{text:?}");
        }
        write("objects/info/alternates", "");
        // An entry called `.git` takes precedence, whatever it is.
        for text in ["gitdir: x\ny\n", "gitdir:", "x", &"x".repeat(5000)] {
            write(".git", text);
            assert_eq!(
                self::folder(path),
                Err(format!("`{path}/.git` is not a folder, wanted a repository")),
                "{text:?}"
            );
        }
        write(".git", "gitdir: ../x\n");
        assert_eq!(self::folder(path), Ok(path.join("../x")));
        // A file does not lead to another file, either.
        write("sub", "gitdir: ../x\n");
        write(".git", "gitdir: sub\n");
        assert_eq!(self::folder(path), Err(format!("`{path}/sub` is not a folder, wanted a repository")));
        assert!(check(&path.join("sub")).unwrap_err().starts_with("its `HEAD` cannot be looked at: "));
        std::fs::remove_file(path.join(".git")).unwrap();
        std::os::unix::fs::symlink("gone", path.join(".git")).unwrap();
        assert!(self::folder(path).is_err());
        std::fs::remove_file(path.join(".git")).unwrap();
        std::fs::create_dir(path.join(".git")).unwrap();
        assert_eq!(self::folder(path), Ok(path.join(".git")));
    }
}
