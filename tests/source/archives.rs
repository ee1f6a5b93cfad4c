//! Release archives that are damaged, hostile or not the pinned ones: each gets its own message, and none of their
//! content enters the cache.

use std::io::{Read, Write};

use netboot_loaders::base::diagnostic::told;
use netboot_loaders::base::http::NetworkAccess;
use netboot_loaders::digest::Sha256Digest;
use netboot_loaders::fetch::syslinux;
use zip::write::SimpleFileOptions;

use netboot_fixtures::release::{
    CORE, LIBRARY, README, TarBuilder, ZipWriter, assert_taken, content, fetch_as, files, pin, tar_header, tar_xz,
    tar_xz_with, xz, zip, zip_with,
};
use netboot_fixtures::scratch::{Scratch, noise};

netboot_fixtures::tests! {
    both_formats_are_read,
    members_may_stand_below_one_leading_folder,
    what_is_no_archive,
    a_truncated_zip,
    a_truncated_tar_xz,
    flipped_bits,
    xz_that_asks_for_all_the_memory,
    paths_that_leave_the_archive,
    a_link_in_the_place_of_a_member,
    a_folder_in_the_place_of_a_member,
    a_member_that_is_larger_than_its_pin,
    an_archive_that_is_too_large_as_a_whole,
    a_name_of_endless_length,
    a_table_of_contents_that_takes_long_to_read,
    more_members_than_any_release_has,
    names_that_forge_a_message,
    two_members_of_one_name,
    a_member_is_not_there,
    a_member_that_is_not_the_pinned_one,
}

fn fetch(scratch: &Scratch, path: &str) -> Result<(), syslinux::Error> {
    fetch_as(scratch, &pin(&[]), &NetworkAccess::Offline, Some(path))
}

/// Returns the error message for an unusable archive, with its path replaced by `PATH`.
#[track_caller]
fn refused(archive: &[u8]) -> String {
    let scratch = Scratch::new();
    // The format is detected from the content, not from the name.
    let path = scratch.write("release", archive);
    let error = fetch(&scratch, path.as_str()).unwrap_err();
    scratch.assert_empty();
    assert_eq!(std::fs::read(&path).unwrap(), archive, "a file that was given is not ours to change");
    told(&error).replace(path.as_str(), "PATH")
}

fn damaged(reason: &str) -> String {
    format!("`PATH` is damaged: {reason}\nhint: download it again")
}

fn hostile(reason: &str) -> String {
    format!(
        "`PATH` is refused: {reason}, which no honest release has\n\
         hint: find out where this file came from; do not use it"
    )
}

/// Returns the release with one more file, in both formats.
fn with(path: &str, content: &[u8]) -> [Vec<u8>; 2] {
    let mut files = files();
    files.retain(|(name, _)| name != path);
    files.push((path.into(), content.to_vec()));
    [zip(&files), tar_xz_of(&files)]
}

/// Same as [`tar_xz`], but accepts names that the crate refuses to write.
fn tar_xz_of(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    tar_xz_with(|tar| files.iter().for_each(|(path, content)| put(tar, path, content)))
}

fn put(tar: &mut TarBuilder, path: &str, content: &[u8]) {
    let mut header = tar_header(content.len() as u64);
    let name = &mut header.as_old_mut().name;
    name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_cksum();
    tar.append(&header, content).unwrap();
}

fn put_release(tar: &mut TarBuilder) {
    for (path, content) in files() {
        put(tar, &path, &content);
    }
}

fn zip_release(zip: &mut ZipWriter) {
    for (path, content) in files() {
        zip.start_file(path, SimpleFileOptions::default()).unwrap();
        zip.write_all(&content).unwrap();
    }
}

/// Replaces `from`, which must occur `times` times, with `to`.
fn patch(archive: &mut [u8], from: &[u8], to: &[u8], times: usize) {
    assert_eq!(from.len(), to.len());
    let places: Vec<_> = memchr::memmem::find_iter(archive, from).collect();
    assert_eq!(places.len(), times);
    for place in places {
        archive[place..place + to.len()].copy_from_slice(to);
    }
}

/// Sets the unpacked size of a .zip member, in its local header and in the central directory.
fn claim_size(archive: &mut [u8], path: &str, size: u32) {
    let places: Vec<_> = memchr::memmem::find_iter(archive, path.as_bytes()).collect();
    // The name follows a local header of 30 bytes or a central directory header of 46 bytes.
    for (place, (header, offset)) in places.into_iter().zip([(30, 22), (46, 24)]) {
        let field = place - header + offset;
        archive[field..field + 4].copy_from_slice(&size.to_le_bytes());
    }
}

fn both_formats_are_read() {
    for archive in [zip(&files()), tar_xz(&files())] {
        let scratch = Scratch::new();
        let path = scratch.write("downloads/release", &archive);
        fetch(&scratch, path.as_str()).unwrap();
        assert_taken(&scratch, "release", &archive);
    }
}

fn members_may_stand_below_one_leading_folder() {
    for leading in ["syslinux-6.03/", "./", "./syslinux-6.03/"] {
        let files: Vec<_> = files().into_iter().map(|(path, content)| (format!("{leading}{path}"), content)).collect();
        for archive in [zip(&files), tar_xz_of(&files)] {
            let scratch = Scratch::new();
            let path = scratch.write("release", &archive);
            fetch(&scratch, path.as_str()).unwrap();
            assert_taken(&scratch, "release", &archive);
        }
    }
}

fn what_is_no_archive() {
    let hint = "hint: check where it came from\nhint: or With(SyslinuxArchive)";
    for (content, found) in [
        (&b""[..], "empty"),
        (b"\n  \n", "empty"),
        (b"\n<!DOCTYPE html><html>", "an HTML or XML page"),
        (b"<?xml version='1.0'?>", "an HTML or XML page"),
        (b"\x1f\x8b\x08\x00\x00\x00\x00\x00", "gzip data"),
        (b"PK", "something else"),
        (b"\x7fELF and so on", "something else"),
        // A .zip without members.
        (b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "something else"),
    ] {
        assert_eq!(refused(content), format!("`PATH` is {found}, wanted a .zip or .tar.xz archive\n{hint}"));
    }
    let scratch = Scratch::new();
    let error = fetch(&scratch, "nowhere.zip").unwrap_err();
    assert_eq!(
        told(&error),
        "there is no archive `nowhere.zip`\n\
         hint: With(SyslinuxArchive)"
    );
}

fn a_truncated_zip() {
    let archive = zip(&files());
    let expected = damaged("its table of contents, which stands at the end, cannot be read");
    for length in [archive.len() / 2, archive.len() - 1, archive.len() - 30, 30, 4] {
        assert_eq!(refused(&archive[..length]), expected, "{length}");
    }
}

fn a_truncated_tar_xz() {
    let archive = tar_xz(&files());
    for length in [archive.len() / 2, archive.len() - 1, 100, 12, 6] {
        assert_eq!(refused(&archive[..length]), damaged("premature eof"), "{length}");
    }
    // Truncated before compression: between two members, and in the middle of one.
    let mut tar = tar::Builder::new(Vec::new());
    put_release(&mut tar);
    let tar = tar.into_inner().unwrap();
    assert_eq!(refused(&xz(&tar[..10_000])), damaged("unexpected EOF during skip"));
    assert_eq!(refused(&xz(&tar[..1024])), missing(LIBRARY));
}

fn missing(member: &str) -> String {
    format!(
        "`PATH` has no member `{member}`\n\
         hint: With(SyslinuxArchive)"
    )
}

fn flipped_bits() {
    // In the middle of a member's content.
    let mut archive = zip(&files());
    archive[20_000] ^= 1;
    assert_eq!(refused(&archive), damaged("Invalid checksum"));
    let mut archive = tar_xz(&files());
    archive[20_000] ^= 1;
    assert_eq!(refused(&archive), damaged("lzma data error"));
}

fn xz_that_asks_for_all_the_memory() {
    let mut archive = tar_xz(&files());
    // Block header of the first block: its size, flags, the filter, the size of its properties, and the dictionary
    // size (40 means 4 GiB). A checksum ends it.
    let header = 12..12 + (usize::from(archive[12]) + 1) * 4;
    assert_eq!(archive[14..16], [0x21, 1]);
    archive[16] = 40;
    let mut checksum = flate2::Crc::new();
    checksum.update(&archive[header.start..header.end - 4]);
    archive[header.end - 4..header.end].copy_from_slice(&checksum.sum().to_le_bytes());
    assert_eq!(refused(&archive), hostile("xz needs more than 134217728 bytes of memory for it"));
}

fn paths_that_leave_the_archive() {
    for path in ["../x", "a/../../x", "/etc/passwd", "..\\x", "C:\\x", "bios/../bios/core/lpxelinux.0"] {
        for archive in with(path, b"escaped") {
            assert_eq!(refused(&archive), hostile(&format!("its member `{path}` leaves the archive")));
        }
    }
    // Harmless names that look suspicious.
    for archive in with("...", b"odd").into_iter().chain(with("..x/y..", b"odd")) {
        let scratch = Scratch::new();
        let path = scratch.write("release", &archive);
        fetch(&scratch, path.as_str()).unwrap();
    }
}

fn a_link_in_the_place_of_a_member() {
    let expected = hostile("its member `bios/core/lpxelinux.0` is a link or a device");
    let mut rest = files();
    rest.retain(|(path, _)| path != CORE);
    let archive = zip_with(|zip| zip.add_symlink(CORE, "/etc/passwd", SimpleFileOptions::default()).unwrap());
    assert_eq!(refused(&archive), expected);
    for kind in [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Char, tar::EntryType::Fifo] {
        let archive = tar_xz_with(|tar| {
            let mut header = tar_header(0);
            header.set_entry_type(kind);
            tar.append_link(&mut header, CORE, "/etc/passwd").unwrap();
        });
        assert_eq!(refused(&archive), expected, "{kind:?}");
    }
    // A link outside the pinned members is ignored.
    let archive = tar_xz_with(|tar| {
        put_release(tar);
        let mut header = tar_header(0);
        header.set_entry_type(tar::EntryType::Symlink);
        tar.append_link(&mut header, "bios/link", "/etc/passwd").unwrap();
    });
    let scratch = Scratch::new();
    let path = scratch.write("release", &archive);
    fetch(&scratch, path.as_str()).unwrap();
}

fn a_folder_in_the_place_of_a_member() {
    let archive = zip_with(|zip| zip.add_directory(CORE, SimpleFileOptions::default()).unwrap());
    assert_eq!(refused(&archive), missing(LIBRARY));
}

fn a_member_that_is_larger_than_its_pin() {
    let expected = hostile("its member `bios/core/lpxelinux.0` is larger than the 40000 bytes that are pinned");
    let bomb = vec![0; 16 << 20];
    for archive in with(CORE, &bomb) {
        assert!(archive.len() < 200_000, "{}", archive.len());
        assert_eq!(refused(&archive), expected);
    }
    // A single changed byte is detected, and so is a size that differs from the declared one.
    for archive in with(CORE, &noise(1, 40_001)) {
        assert_eq!(refused(&archive), expected);
    }
    let [mut archive, _] = with(CORE, &bomb);
    claim_size(&mut archive, CORE, 40_000);
    assert_eq!(refused(&archive), damaged("File is larger than its declared uncompressed size"));
}

fn an_archive_that_is_too_large_as_a_whole() {
    let expected = hostile("it unpacks to more than 536870912 bytes");
    // Files that are not pinned are not unpacked, but they count towards the limits.
    let mut archive = zip(&files());
    claim_size(&mut archive, README, 600 << 20);
    assert_eq!(refused(&archive), expected);
    let archive = tar_xz_with(|tar| {
        for _ in 0..3 {
            let mut header = tar_header(200 << 20);
            header.set_path(README).unwrap();
            header.set_cksum();
            tar.append(&header, &b""[..]).unwrap();
        }
    });
    // The declared size is wrong: the data ends before the second header.
    assert_eq!(refused(&archive), damaged("unexpected EOF during skip"));
    let archive = tar_xz_with(|tar| {
        let mut header = tar_header(600 << 20);
        header.set_path(README).unwrap();
        header.set_cksum();
        tar.append(&header, &b""[..]).unwrap();
    });
    assert_eq!(refused(&archive), expected);
}

fn a_name_of_endless_length() {
    let release = |kind, note: &[u8], length: u64| {
        tar_xz_with(|tar| {
            let mut header = tar_header(length);
            header.set_entry_type(kind);
            header.set_path("././@LongLink").unwrap();
            header.set_cksum();
            tar.append(&header, note.chain(std::io::repeat(b'x')).take(length)).unwrap();
            put_release(tar);
        })
    };
    for kind in [
        tar::EntryType::GNULongName,
        tar::EntryType::GNULongLink,
        tar::EntryType::XHeader,
        tar::EntryType::XGlobalHeader,
    ] {
        let expected = hostile("it has an extension header of 8193 bytes, wanted 8192 at most");
        assert_eq!(refused(&release(kind, b"", 8193)), expected, "{kind:?}");
    }
    let malformed = hostile("it has an extension header that cannot be understood");
    assert_eq!(refused(&release(tar::EntryType::XHeader, b"", 100)), malformed);
    // A long name, and the commit comment as `git archive` writes it.
    let note = b"52 comment=12798ec29aa8a64d8675c4378b99f5fe28447afb\n";
    let archive = tar_xz_with(|tar| {
        let mut header = tar_header(note.len() as u64);
        header.set_entry_type(tar::EntryType::XGlobalHeader);
        header.set_path("pax_global_header").unwrap();
        header.set_cksum();
        tar.append(&header, &note[..]).unwrap();
        tar.append_data(&mut tar_header(3), "a".repeat(3000), &b"abc"[..]).unwrap();
        put_release(tar);
    });
    let scratch = Scratch::new();
    let path = scratch.write("release", &archive);
    fetch(&scratch, path.as_str()).unwrap();
}

fn a_table_of_contents_that_takes_long_to_read() {
    let options = SimpleFileOptions::default();
    let archive = zip_with(zip_release);
    let at = archive.windows(4).rposition(|bytes| bytes == b"PK\x05\x06").unwrap();
    // A reader would try every end record that it finds, with everything before it.
    assert_eq!(refused(&[&archive[..], &archive[at..]].concat()), hostile("it has more than one end"));
    let long = |zip: &mut ZipWriter| {
        (0..200).for_each(|n| zip.start_file(format!("{n}{}", "x".repeat(60_000)), options).unwrap());
    };
    assert_eq!(refused(&zip_with(long)), hostile("its table of contents has more than 4194304 bytes"));
    // If the table of contents is not where the end record says, a reader searches the whole file for it, or takes
    // the archive for zip64.
    let changed = |field: usize, value: u32| {
        let mut archive = archive.clone();
        archive[at + field..at + field + 4].copy_from_slice(&value.to_le_bytes());
        refused(&archive)
    };
    let elsewhere = hostile("its table of contents does not stand right before its end");
    for start in [0, u32::MAX] {
        assert_eq!(changed(16, start), elsewhere);
    }
    assert_eq!(changed(12, u32::MAX), hostile("its table of contents has more than 4194304 bytes"));
    // A zip64 end record that other readers search for across the maximum length of a comment, plus a margin.
    let larger = [&archive[..at], b"PK\x06\x07", &[0; 16], &archive[at..], &vec![0; 65_550]].concat();
    assert_eq!(refused(&larger), hostile("it has more than 20000 entries"));
}

fn more_members_than_any_release_has() {
    let expected = hostile("it has more than 20000 entries");
    let archive = tar_xz_with(|tar| (0..=20_000).for_each(|number| put(tar, &number.to_string(), b"")));
    assert_eq!(refused(&archive), expected);
    let options = SimpleFileOptions::default();
    let archive = zip_with(|zip| (0..=20_000).for_each(|n| zip.start_file(n.to_string(), options).unwrap()));
    assert_eq!(refused(&archive), expected);
    let scratch = Scratch::new();
    let path = scratch.write("release", b"PK\x03\x04");
    std::fs::File::options().write(true).open(&path).unwrap().set_len(40 << 30).unwrap();
    let error = told(&fetch(&scratch, path.as_str()).unwrap_err()).replace(path.as_str(), "PATH");
    assert_eq!(error, hostile("it has 42949672960 bytes, more than 67108864"));
}

fn names_that_forge_a_message() {
    for path in ["../x\nhint: run \u{1b}[2J", "../\u{202e}cod"] {
        for archive in with(path, b"") {
            let name = path.replace('\n', "\\n").replace('\u{1b}', "\\u{1b}").replace('\u{202e}', "\\u{202e}");
            assert_eq!(refused(&archive), hostile(&format!("its member `{name}` leaves the archive")));
        }
    }
}

fn two_members_of_one_name() {
    // The crate refuses to write duplicate names, so one is written under another name of the same length.
    let archive = |first: &str, second: &str, written: &str| {
        let mut archive = zip_with(|zip| {
            zip.start_file(first, SimpleFileOptions::default()).unwrap();
            zip.write_all(&content(CORE)).unwrap();
            zip_release(zip);
            zip.start_file(written, SimpleFileOptions::default()).unwrap();
        });
        patch(&mut archive, written.as_bytes(), second.as_bytes(), 2);
        archive
    };
    let twice = archive("other", CORE, "bios/core/lpxelinux.1");
    assert_eq!(refused(&twice), hostile("it has two members of one name"));
    // Duplicates are refused for files that are not pinned, too.
    let twice = archive("other", "other", "OTHER");
    assert_eq!(refused(&twice), hostile("it has two members of one name"));

    let expected = hostile("it has the member `bios/core/lpxelinux.0` twice");
    let archive = tar_xz_with(|tar| {
        put_release(tar);
        put(tar, CORE, &content(CORE));
    });
    assert_eq!(refused(&archive), expected);
    // Two names for the same pinned path are duplicates.
    for path in ["syslinux-6.03/bios/core/lpxelinux.0", "evil/bios/core/lpxelinux.0"] {
        for archive in with(path, &content(CORE)) {
            assert_eq!(refused(&archive), expected);
        }
    }
}

fn a_member_is_not_there() {
    let mut files = files();
    files.retain(|(path, _)| path != LIBRARY);
    for archive in [zip(&files), tar_xz(&files)] {
        assert_eq!(refused(&archive), missing(LIBRARY));
    }
    // A file below two leading folders is at another path.
    files.push((format!("a/b/{LIBRARY}"), content(LIBRARY)));
    for archive in [zip(&files), tar_xz(&files)] {
        assert_eq!(refused(&archive), missing(LIBRARY));
    }
}

fn a_member_that_is_not_the_pinned_one() {
    let mut other = content(LIBRARY);
    other[0] ^= 1;
    for content_found in [other.as_slice(), &other[..100], b""] {
        for archive in with(LIBRARY, content_found) {
            assert_eq!(
                refused(&archive),
                format!(
                    "`{LIBRARY}` in `PATH` does not match its pin: found SHA-256 {}, wanted {}\n\
                     hint: do not just change the pin: this is a rebuild or another release",
                    Sha256Digest::of(content_found),
                    Sha256Digest::of(&content(LIBRARY))
                )
            );
        }
    }
}
