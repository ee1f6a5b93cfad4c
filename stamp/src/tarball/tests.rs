//! Tests of the reader: it reads what legitimate programs write, and refuses everything harmful.

use std::io::Write;

use netboot_fixtures::property::one_in;
use proptest::prelude::*;
use tar::{Builder, Header};

use super::*;

const LIMITS: Limits = Limits { entries: 100, extension: EXTENSION, entry: 1 << 20, total: 4 << 20 };

/// Returns an entry with `content`, even if its header is inconsistent.
fn entry(kind: u8, path: &[u8], size: u64, content: &[u8]) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::new(kind));
    header.as_old_mut().name[..path.len()].copy_from_slice(path);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    let padding = content.len().next_multiple_of(512) - content.len();
    [header.as_bytes(), content, &vec![0; padding]].concat()
}

fn file(path: &str, content: &[u8]) -> Vec<u8> {
    entry(b'0', path.as_bytes(), content.len() as u64, content)
}

/// Returns a record of a PAX header.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
    let mut length = rest.len();
    while format!("{length}").len() + rest.len() != length {
        length += 1;
    }
    [length.to_string().as_bytes(), &rest].concat()
}

fn pax(kind: u8, records: &[u8]) -> Vec<u8> {
    entry(kind, b"PaxHeaders/x", records.len() as u64, records)
}

/// Returns the paths, kinds and contents of the entries of a stream.
fn read_within(stream: &mut dyn Read, limits: Limits) -> Result<Vec<(String, TarEntryKind, Vec<u8>)>, Error> {
    let mut tarball = Tarball::new(stream, limits);
    let (mut entries, mut found) = (tarball.entries()?, Vec::new());
    while let Some(mut entry) = entries.next()? {
        let content = entry.content()?;
        found.push((entry.path, entry.kind, content));
    }
    tarball.finish()?;
    Ok(found)
}

fn read(parts: &[Vec<u8>]) -> Result<Vec<(String, TarEntryKind, Vec<u8>)>, Error> {
    read_within(&mut &parts.concat()[..], LIMITS)
}

#[track_caller]
fn refused(parts: &[Vec<u8>]) -> String {
    match read(parts) {
        Err(Error::Refused(refusal)) => refusal.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn long_names_of_gnu_and_pax_are_read() {
    let long = format!("{}/ipxe.efi", "a".repeat(200));
    let mut gnu = Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_size(3);
    header.set_mode(0o644);
    gnu.append_data(&mut header, &long, &b"abc"[..]).unwrap();
    let gnu = gnu.into_inner().unwrap();
    let records = [record("mtime", b"1.5"), record("SCHILY.xattr.x", b"a\n\n7 b"), record("path", long.as_bytes())];
    let pax = [pax(b'g', &record("comment", b"x")), pax(b'x', &records.concat()), file("short", b"abc")].concat();
    for stream in [gnu, pax] {
        assert_eq!(read(&[stream]).unwrap(), [(long.clone(), TarEntryKind::File, b"abc".to_vec())]);
    }
    let found = read(&[
        entry(b'5', b"folder/", 0, b""),
        entry(b'K', b"././@LongLink", 300, &[b'x'; 300]),
        entry(b'2', b"link", 0, b""),
        file("a", b"1"),
    ]);
    let kinds: Vec<TarEntryKind> = found.unwrap().into_iter().map(|(_, kind, _)| kind).collect();
    assert_eq!(kinds, [TarEntryKind::Folder, TarEntryKind::Other, TarEntryKind::File]);
}

#[test]
fn what_a_header_announces_is_not_read_where_it_is_too_much() {
    // Nothing follows these headers, so reading further would hit the end of the file.
    for kind in *b"LKxg" {
        assert_eq!(
            refused(&[entry(kind, b"././@LongLink", 10 << 30, b"")]),
            "it has an extension header of 10737418240 bytes, wanted 8192 at most"
        );
    }
    let large = entry(b'0', b"a", 2 << 20, b"");
    assert_eq!(refused(&[large]), "its entry `a` has 2097152 bytes, wanted 1048576 at most");
    let million = vec![0; 1 << 20];
    let parts: Vec<_> = (0..5).map(|i| file(&i.to_string(), &million)).collect();
    assert_eq!(refused(&parts), "it unpacks to more than 4194304 bytes");
    // A size that is negative, or needs more than 63 bits.
    for first in [0xff, 0x80] {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.as_old_mut().name[0] = b'a';
        header.as_old_mut().size = [first; 12];
        header.set_cksum();
        assert!(read(&[header.as_bytes().to_vec()]).is_err());
    }
    let sparse = entry(b'S', b"a", 512, &[0; 512]);
    assert_eq!(refused(&[sparse]), "its entry `a` is a sparse file");
}

#[test]
fn entries_without_content_are_counted() {
    struct Endless(Vec<u8>, usize);
    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let mut rest = &self.0[self.1..];
            let length = rest.read(buffer)?;
            self.1 = (self.1 + length) % self.0.len();
            Ok(length)
        }
    }
    for kind in *b"0x5" {
        let mut endless = Endless(entry(kind, b"a", 0, b""), 0);
        let error = read_within(&mut endless, LIMITS).unwrap_err();
        assert_eq!(error.to_string(), "it has more than 100 entries");
    }
}

#[test]
fn an_extension_header_says_nothing_but_names() {
    let extension = |why: &str| format!("it has an extension header that {why}");
    let a = file("a", b"1");
    for (records, why) in [
        (record("size", b"5"), "changes a size"),
        (record("GNU.sparse.realsize", b"1125899906842624"), "announces a sparse file"),
        (b"\n".to_vec(), "cannot be understood"),
        (b"99 path=a\n".to_vec(), "cannot be understood"),
        (b"18446744073709551615 path=a\n".to_vec(), "cannot be understood"),
        (record("path", b""), "has no path"),
        (record("path", b"a\0b"), "has no path"),
        ([record("path", b"a"), record("path", b"b")].concat(), "names an entry a second time"),
    ] {
        assert_eq!(refused(&[pax(b'x', &records), a.clone()]), extension(why));
    }
    assert_eq!(refused(&[pax(b'g', &record("path", b"a")), a.clone()]), extension("names all entries"));
    assert_eq!(refused(&[pax(b'g', &record("size", b"9")), a.clone()]), extension("changes a size"));
    let long = entry(b'L', b"././@LongLink", 2, b"b\0");
    assert_eq!(refused(&[long.clone(), long.clone(), a.clone()]), extension("names an entry a second time"));
    let both = [long.clone(), pax(b'x', &record("path", b"c")), a.clone()];
    assert_eq!(refused(&both), extension("names an entry a second time"));
    assert_eq!(refused(&[a.clone(), long]), extension("describes nothing"));
    assert_eq!(refused(&[entry(b'L', b"x", 3, b"a\0b"), a.clone()]), extension("has no path"));
    let plain = Limits { extension: 0, ..LIMITS };
    let error = read_within(&mut &[pax(b'x', b""), a].concat()[..], plain).unwrap_err();
    assert_eq!(error.to_string(), "it has an extension header of GNU or PAX, wanted plain ustar");
}

#[test]
fn names_that_cannot_be_shown_are_shown() {
    assert_eq!(refused(&[entry(b'0', b"\xff\n", 0, b"")]), "the path of its entry `\\x{ff}\\n` is not UTF-8");
    let named = entry(b'0', "x\nhint: run\u{202e}".as_bytes(), 9 << 20, b"");
    let shown = "its entry `x\\nhint: run\\u{202e}` has 9437184 bytes, wanted 1048576 at most";
    assert_eq!(refused(&[named]), shown);
    // Errors of the `tar` crate contain the entry's name as well.
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..2].copy_from_slice(b"\x1b\n");
    header.as_old_mut().size = *b"not a number";
    header.set_cksum();
    let error = read(&[header.as_bytes().to_vec()]).unwrap_err().to_string();
    assert!(error.contains("\\u{1b}\\n") && !error.contains('\n'), "{error}");
}

#[test]
fn a_tarball_ends_where_it_ends() {
    let pack = |content: &[u8]| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(content).unwrap();
        gzip.finish().unwrap()
    };
    let read = |packed: &[u8]| {
        let mut tarball = Tarball::gzip(packed, LIMITS);
        let mut entries = tarball.entries()?;
        while entries.next()?.is_some() {}
        tarball.finish_file()
    };
    let tar = [file("a", b"1"), vec![0; 10_240]].concat();
    let packed = pack(&tar);
    read(&packed).unwrap();
    let trailing = "something follows the end of the tarball";
    assert_eq!(read(&[&packed[..], b"x"].concat()).unwrap_err().to_string(), trailing);
    let two = [&tar[..], &file("a", b"2"), &[0; 1024]].concat();
    assert_eq!(read(&pack(&two)).unwrap_err().to_string(), trailing);
    let bomb = [tar.clone(), vec![0; 2 << 20]].concat();
    assert_eq!(read(&pack(&bomb)).unwrap_err().to_string(), trailing);
    for length in [packed.len() - 1, packed.len() / 2, 20] {
        assert!(matches!(read(&packed[..length]), Err(Error::Read(_))), "{length}");
    }
}

proptest! {
    #![proptest_config(one_in(4))]

    #[test]
    fn what_the_tar_crate_writes_is_read_back(
        files in prop::collection::vec(("[a-zé ]{1,9}(/[a-z0-9 \\\\]{1,60}){0,4}/x", prop::collection::vec(any::<u8>(), 0..1500)), 0..5),
    ) {
        let mut builder = Builder::new(Vec::new());
        for (path, content) in &files {
            let mut header = Header::new_gnu();
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, path, &content[..]).unwrap();
        }
        let found = read(&[builder.into_inner().unwrap()]).unwrap();
        let found: Vec<_> = found.into_iter().map(|(path, _, content)| (path, content)).collect();
        prop_assert_eq!(found, files);
    }

    #[test]
    fn what_was_changed_stays_within_the_limits(
        (one, other) in (0..2000_usize, 0..2000_usize), value in "[a-z/.\n=0-9]{0,20}",
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        const SMALL: Limits = Limits { entries: 4, extension: 1024, entry: 2000, total: 3000 };
        let parts = [file("a/b", &vec![b'x'; one]), pax(b'x', &record("path", value.as_bytes())), file("c", &vec![b'y'; other]), vec![0; 1024]];
        let mut bytes = parts.concat();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(bytes.len())));
        if let Ok(entries) = read_within(&mut &bytes[..], SMALL) {
            let total: usize = entries.iter().map(|(_, _, content)| content.len()).sum();
            prop_assert!(entries.len() <= 4 && total <= 3000);
        }
    }
}
