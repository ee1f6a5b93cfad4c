//! A small release in the place of syslinux's: its members, its pin, its archives.

use std::io::{Cursor, Write};

use netboot_loaders::choices::pins::{ArchivePin, MemberPin, SyslinuxPin};
use netboot_loaders::digest::Sha256Digest;
use netboot_loaders::progress::Silent;
use netboot_loaders::source::Supply;
use netboot_loaders::source::http::Network;
use netboot_loaders::source::syslinux::{self, Error};

use super::{Scratch, noise};

/// The first member's path: most tests do their harm to this one.
pub const CORE: &str = "bios/core/lpxelinux.0";
/// The second member's path.
pub const LIBRARY: &str = "bios/com32/elflink/ldlinux/ldlinux.c32";
/// A file of the release that nobody wants.
pub const README: &str = "README";

/// The release's files, by path.
pub fn files() -> Vec<(String, Vec<u8>)> {
    vec![
        (README.into(), b"A boot loader for the Linux operating system\n".to_vec()),
        (CORE.into(), noise(1, 40_000)),
        (LIBRARY.into(), noise(2, 20_000)),
    ]
}

/// The content of a file of the release.
pub fn content(path: &str) -> Vec<u8> {
    files().into_iter().find(|(name, _)| name == path).unwrap().1
}

/// The pin of the release, to be had at `urls`.
pub fn pin(urls: &[String]) -> SyslinuxPin {
    let member = |path: &str| MemberPin {
        name: path.rsplit('/').next().unwrap().into(),
        path: path.into(),
        sha256: Sha256Digest::of(&content(path)),
        size: content(path).len() as u64,
    };
    let archives = urls.iter().map(|url| ArchivePin { url: url.as_str().into(), sha256: None }).collect();
    SyslinuxPin { version: "6.03".into(), archives, members: vec![member(CORE), member(LIBRARY)] }
}

/// Brings the members into the cache of `scratch` as `pin` says, with the archive `given`.
pub fn fetch_as(scratch: &Scratch, pin: &SyslinuxPin, network: &Network, given: Option<&str>) -> Result<(), Error> {
    syslinux::fetch(
        pin,
        &pin.members,
        &scratch.cache,
        &Supply { network, given: given.map(Into::into).as_ref() },
        &Silent,
    )
}

/// Brings the members into the cache of `scratch` from `urls`.
pub fn fetch(scratch: &Scratch, urls: &[String], network: &Network) -> Result<(), Error> {
    fetch_as(scratch, &pin(urls), network, None)
}

/// All members are in the cache and are what was pinned, and nothing else is left.
#[track_caller]
pub fn assert_taken(scratch: &Scratch, archive: &str, bytes: &[u8]) {
    let pin = pin(&[]);
    for member in &pin.members {
        let found = syslinux::cached(&scratch.cache, member).unwrap();
        assert!(found == Some(content(member.path.as_str())), "`{}` is not in the cache as pinned", member.name);
    }
    let record = syslinux::archive_record(&scratch.cache, &pin.version).unwrap();
    assert_eq!((record.name.as_str(), record.sha256), (archive, Sha256Digest::of(bytes)));
    assert_eq!(scratch.cached().len(), 3, "{:?}", scratch.cached());
}

/// A .zip of files, as an honest packer makes it.
pub fn zip(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    zip_with(|zip| {
        for (path, content) in files {
            zip.start_file(path, zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(content).unwrap();
        }
    })
}

pub type ZipWriter = zip::ZipWriter<Cursor<Vec<u8>>>;

/// A .zip of what `fill` puts into it.
pub fn zip_with(fill: impl FnOnce(&mut ZipWriter)) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    fill(&mut zip);
    zip.finish().unwrap().into_inner()
}

/// A .tar.xz of files, as an honest packer makes it.
pub fn tar_xz(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    tar_xz_with(|tar| {
        for (path, content) in files {
            let mut header = tar_header(content.len() as u64);
            tar.append_data(&mut header, path, content.as_slice()).unwrap();
        }
    })
}

pub type TarBuilder = tar::Builder<Vec<u8>>;

/// A .tar.xz of what `fill` puts into it.
pub fn tar_xz_with(fill: impl FnOnce(&mut TarBuilder)) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    fill(&mut tar);
    xz(&tar.into_inner().unwrap())
}

/// The header of a plain file whose name is still to be set.
pub fn tar_header(size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    header
}

pub fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
