//! Sample cases for unit tests.

use super::case::{Aim, BootSource, Case, Destination, EnrolledKeys, NicModel, NicSetup};
use super::loaders::{LoaderFile, Program};
use crate::config::boot_entry::{self, BootEntry};
use crate::config::toml::TomlFile;
use crate::digest::Sha256Digest;
use crate::loader::target::Platform;

/// Script of the loaders of [`ipxe`].
pub const SCRIPT: &str = "#!ipxe\ndhcp && chain ${root-path}\n";

/// Stands in for the certificate of the loaders of [`signed`].
pub const CERTIFICATE: &[u8; 11] = b"certificate";

fn case(path: &str, aim: Aim, program: Program) -> Case {
    let efi = path.rsplit('.').next() == Some("efi");
    let platform = if efi { Platform::EfiX64 } else { Platform::Bios };
    let site = path.split('/').rev().nth(1).map(str::to_owned);
    let loader = LoaderFile {
        path: path.into(),
        sha256: Sha256Digest::of(path.as_bytes()),
        site,
        platform,
        medium: None,
        program,
        signer: None,
    };
    Case {
        name: path.into(),
        loader,
        boot_source: BootSource::Pxe,
        nics: NicSetup::Single,
        nic: NicModel::default(),
        secure_boot: None,
        aim,
        destination: Destination { root_path: true, addresses: Vec::new() },
        entry: None,
    }
}

/// Returns a case of an iPXE loader that follows option 17.
pub fn ipxe(path: &str, aim: Aim) -> Case {
    let slot = Sha256Digest::of(b"slot");
    case(path, aim, Program::Ipxe { slot, source: "root-path.ipxe".into(), script: Some(SCRIPT.into()) })
}

/// Returns a case of a signed iPXE loader, in a machine with Secure Boot and these `keys`.
pub fn signed(path: &str, keys: EnrolledKeys, aim: Aim) -> Case {
    let mut case = ipxe(path, aim);
    case.loader.signer = Some(CERTIFICATE.as_slice().into());
    Case { secure_boot: Some(keys), ..case }
}

/// Returns a case of a syslinux loader.
pub fn syslinux(path: &str, aim: Aim) -> Case {
    case(path, aim, Program::Syslinux)
}

/// Returns the boot entries of `text`, which must be valid.
pub(super) fn entries(text: &str) -> Vec<BootEntry> {
    TomlFile::new("sites.toml".into(), text).read(|root| Some(boot_entry::read(root).boot)).unwrap()
}
