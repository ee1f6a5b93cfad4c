//! Tests of bundles: written bundles can be read back, and everything else is refused.

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

use super::*;
use crate::slot::Slot;

/// Returns a minimal BIOS base.
fn base(loader: &str, size: SlotSize) -> Base {
    let image = [b"loader ", Slot::sentinel(size).bytes()].concat();
    let length = u32::try_from(image.len()).unwrap();
    let zinfo = [&b"COPY"[..], &[0; 4], &length.to_le_bytes(), &[1, 0, 0, 0]].concat();
    Base::capture_bios(loader, image.clone(), zinfo, &image, size).unwrap()
}

/// Returns a minimal EFI base.
fn efi(loader: &str) -> Base {
    efi_of(loader, &[])
}

/// Returns an EFI base whose image ends with `rest`.
fn efi_of(loader: &str, rest: &[u8]) -> Base {
    let sentinel = Slot::sentinel(SlotSize::DEFAULT);
    let linked = sentinel.bytes();
    let id = crate::build_id::read(&mut &linked[..], linked).unwrap().id;
    let image = [linked, &id.to_le_bytes(), rest].concat();
    let addresses = base::Addresses { slot: 0, build_id: 4096 };
    Base::capture_efi(loader, image, SlotSize::DEFAULT, addresses, &mut &linked[..]).unwrap().unwrap()
}

fn bundle() -> Bundle {
    let ipxe = IpxeIdentity { version: "2.0.0".into(), commit: "7".repeat(40).parse().unwrap() };
    let large = SlotSize::try_from(8192).unwrap();
    let bases = [base("b.pxe", large), base("b.pxe", SlotSize::DEFAULT), efi("a.efi")];
    let bases = bases.map(|base| ("default".to_owned(), base));
    Bundle::new(ipxe, bases.into_iter().chain([("https".to_owned(), efi("a.efi"))]))
}

type Files = Vec<(String, Vec<u8>)>;

fn files() -> Files {
    bundle().files().map(|(name, content)| (name, content.into_owned())).collect()
}

fn add(builder: &mut Builder<GzEncoder<Vec<u8>>>, kind: EntryType, name: &str, content: &[u8]) {
    let mut header = Header::new_ustar();
    header.set_path(name).unwrap();
    header.set_size(content.len() as u64);
    header.set_entry_type(kind);
    header.set_cksum();
    builder.append(&header, content).unwrap();
}

fn pack(files: &Files) -> Vec<u8> {
    let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, content) in files {
        add(&mut builder, EntryType::Regular, name, content);
    }
    builder.into_inner().unwrap().finish().unwrap()
}

/// Returns the message for a bundle whose files were changed by `edit`.
fn flaw(edit: impl FnOnce(&mut Files)) -> String {
    let mut files = files();
    edit(&mut files);
    let error = Bundle::read(&mut &pack(&files)[..]).unwrap_err().to_string();
    error.lines().next().unwrap_or_default().to_owned()
}

/// Returns the message for a bundle whose index was changed by `edit`.
fn index_flaw(edit: impl FnOnce(&mut serde_json::Value)) -> String {
    flaw(|files| {
        let mut index = serde_json::from_slice(&files[0].1).unwrap();
        edit(&mut index);
        files[0].1 = index.to_string().into_bytes();
    })
}

#[test]
fn what_is_bundled_comes_back() {
    let names: Vec<String> = files().into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [
            "bases.json",
            "default/a.efi/4096/image",
            "default/b.pxe/4096/image",
            "default/b.pxe/4096/zinfo",
            "default/b.pxe/8192/image",
            "default/b.pxe/8192/zinfo",
            "https/a.efi/4096/image",
        ]
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle.tar.gz");
    std::fs::write(&path, pack(&files())).unwrap();
    let read = Bundle::open(&path).unwrap();
    assert_eq!(read.ipxe(), bundle().ipxe());
    assert!(read.files().eq(bundle().files()));
    let sizes = |loader| read.base("default", loader).map(|base| base.slot_size().bytes());
    assert_eq!([sizes("a.efi"), sizes("b.pxe"), sizes("c.pxe")], [Some(4096), Some(4096), None]);
    assert_eq!(read.bases().filter(|(configuration, _)| *configuration == "https").count(), 1);
    let base = read.base("default", "b.pxe").unwrap();
    let slot = Slot::fill(b"#!ipxe\nshell\n", base.slot_size()).unwrap();
    assert_eq!(base.stamp(&slot).unwrap(), [b"loader ", slot.bytes()].concat());
}

#[test]
fn no_part_is_other_than_recorded() {
    let changed = |what| format!("the base of `b.pxe` differs from its record: {what} has changed");
    assert_eq!(flaw(|files| files[2].1[3] ^= 1), changed("its image"));
    assert_eq!(flaw(|files| files[2].1.truncate(7)), changed("its image"));
    assert_eq!(flaw(|files| files[3].1[12] = 2), changed("its list of instructions"));
    assert_eq!(flaw(|files| files[3].1[0] = b'X'), "`b.pxe` cannot be stamped: there is no instruction `XOPY`");
    let outside = index_flaw(|index| index["bases"][1]["record"]["slot-offset"] = 8.into());
    assert_eq!(outside, changed("its image"));
}

#[test]
fn every_part_is_there_once_and_nothing_else() {
    let entry = |found: &str, wanted: &str| format!("found {found}, wanted {wanted}");
    let [image, zinfo] = ["`default/b.pxe/4096/image`", "`default/b.pxe/4096/zinfo`"];
    assert_eq!(flaw(Vec::clear), entry("nothing", "`bases.json`"));
    assert_eq!(flaw(|files| drop(files.remove(0))), entry("`default/a.efi/4096/image`", "`bases.json`"));
    assert_eq!(flaw(|files| drop(files.remove(2))), entry(zinfo, image));
    assert_eq!(flaw(|files| drop(files.pop())), entry("nothing", "`https/a.efi/4096/image`"));
    assert_eq!(flaw(|files| files.insert(3, files[2].clone())), entry(image, zinfo));
    assert_eq!(flaw(|files| files.push(("more".into(), Vec::new()))), entry("`more`", "nothing"));
    let twice = index_flaw(|index| index["bases"][2] = index["bases"][1].clone());
    assert_eq!(twice, "its `bases.json` has default/b.pxe/4096/image twice, or not in its place");
    let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    add(&mut builder, EntryType::Symlink, INDEX, &files()[0].1);
    let linked = builder.into_inner().unwrap().finish().unwrap();
    assert!(Bundle::read(&mut &linked[..]).is_err());
}

#[test]
fn what_is_too_large_is_not_read() {
    // The size in the header is enough.
    let mut header = Header::new_ustar();
    header.set_path(INDEX).unwrap();
    header.set_size(MAX_INDEX + 1);
    header.set_cksum();
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    std::io::Write::write_all(&mut packed, header.as_bytes()).unwrap();
    let error = Bundle::read(&mut &packed.finish().unwrap()[..]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "it cannot be unpacked: its entry `bases.json` has 4194305 bytes, wanted 4194304 at most"
    );
    let packed = pack(&files());
    let mut tarball = Tarball::new(GzDecoder::new(&packed[..]), Limits { total: 100, ..LIMITS });
    let mut parts = Parts { entries: tarball.entries().unwrap() };
    let error = parts.next(INDEX, MAX_INDEX).unwrap_err().to_string();
    assert!(error.starts_with("it cannot be unpacked: it unpacks to more than 100 bytes"), "{error}");
}

#[test]
fn what_is_no_bundle_is_told_by_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.tar.gz");
    let error = |content: &[u8]| {
        std::fs::write(&path, content).unwrap();
        Bundle::open(&path).unwrap_err().to_string()
    };
    let begins = format!("`{}` is not a bundle of bases: it cannot be unpacked: ", path.display());
    let packed = pack(&files());
    let mut damaged = packed.clone();
    // The checksum of the whole file.
    let checksum = packed.len() - 8;
    damaged[checksum] ^= 1;
    for content in [&b"#!ipxe\n"[..], b"", &packed[..packed.len() / 2], &packed[..packed.len() - 1], &damaged] {
        let error = error(content);
        assert!(error.starts_with(&begins), "{error}");
    }
    std::fs::remove_file(&path).unwrap();
    let error = Bundle::open(&path).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot open `{}`", path.display()));
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn another_version_is_named_before_anything_else() {
    let other = index_flaw(|index| *index = serde_json::json!({ "schema-version": 2, "bases": "elsewhere" }));
    assert_eq!(other, "its form is version 2, wanted 1");
    let unknown = index_flaw(|index| index["more"] = 1.into());
    assert!(unknown.starts_with("its `bases.json` cannot be read: unknown field `more`"), "{unknown}");
}

#[test]
fn what_nobody_reads_is_not_written() {
    let of = |bytes: usize| {
        let image = [vec![0; bytes], Slot::sentinel(SlotSize::DEFAULT).bytes().to_vec()].concat();
        let length = u32::try_from(image.len()).unwrap();
        let zinfo = [&b"COPY"[..], &[0; 4], &length.to_le_bytes(), &[1, 0, 0, 0]].concat();
        Base::capture_bios("a.pxe", image.clone(), zinfo, &image, SlotSize::DEFAULT).unwrap()
    };
    let bundle = |base: &Base, count: usize| {
        let bases = (0..count).map(|number| (number.to_string(), base.clone()));
        Bundle::new(bundle().ipxe, bases).check_size().map_err(|refusal| refusal.to_string())
    };
    let large = of(3 << 20);
    assert_eq!(bundle(&large, 63), Ok(()));
    assert_eq!(bundle(&large, 64), Err("it unpacks to more than 201326592 bytes".to_owned()));
    let error = bundle(&efi_of("a.efi", &vec![0; 4 << 20]), 1).unwrap_err();
    assert_eq!(error, "its entry `0/a.efi/4096/image` has 4198404 bytes, wanted 4194304 at most");
    let error = bundle(&of(0), 8_000).unwrap_err();
    assert!(error.starts_with("its entry `bases.json` has "), "{error}");
}
