//! File types, identified by their first bytes rather than by name.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::target::{Arch, Loader, Platform};

/// A file type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// An EFI application (PE32+ or PE32).
    EfiApplication,
    /// An iPXE network boot program for BIOS.
    IpxeNbp,
    /// A PXELINUX network boot program for BIOS.
    PxelinuxNbp,
    /// A syslinux module (ELF).
    SyslinuxModule,
    /// A Linux kernel for x86, or a loader in its form.
    LinuxKernel,
    /// An image of a CD (ISO 9660).
    IsoImage,
    /// An image of a disk, with a boot sector.
    DiskImage,
    /// A zip archive.
    ZipArchive,
    /// A text.
    Text,
    /// Data that is identified only by its digest.
    Data,
}

impl FileKind {
    /// Checks whether it is that of a boot medium.
    #[must_use]
    pub fn is_medium(self) -> bool {
        matches!(self, Self::IsoImage | Self::DiskImage | Self::ZipArchive)
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EfiApplication => "an EFI application",
            Self::IpxeNbp => "an iPXE network boot program",
            Self::PxelinuxNbp => "a PXELINUX network boot program",
            Self::SyslinuxModule => "a syslinux module",
            Self::LinuxKernel => "a Linux kernel",
            Self::IsoImage => "an image of a CD",
            Self::DiskImage => "an image of a disk",
            Self::ZipArchive => "a zip archive",
            Self::Text => "a text",
            Self::Data => "data",
        })
    }
}

/// Error for a file of the wrong type.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("it is {found}, wanted {wanted}")]
pub struct Mismatch {
    found: String,
    wanted: String,
}

impl Mismatch {
    /// Creates the error for a file that is `found`, as [`describe`] words it, instead of `kind` for `arch`.
    #[must_use]
    pub fn new(found: String, kind: FileKind, arch: Option<Arch>) -> Self {
        Self { found, wanted: arch.map_or(kind.to_string(), |arch| format!("{kind} for {arch}")) }
    }
}

/// Identifies the type of `content` and its CPU architecture, if it has one. Returns `None` for unknown content.
#[must_use]
pub fn identify(content: &[u8]) -> Option<(FileKind, Option<Arch>)> {
    match content {
        [b'M', b'Z', ..] => portable_executable(content).map(|arch| (FileKind::EfiApplication, Some(arch))),
        // A far jump to 07c0:xxxx, the register size of the build, then the magic number; before iPXE 2.0.0, the first
        // instructions, which save all registers: `pushfl`, `pushal`.
        [0xea, _, _, 0xc0, 0x07, 0x32 | 0x64, 0xae, 0x18, ..]
        | [0xea, 5, 0, 0xc0, 0x07, 0x66, 0x9c, 0x66, 0x60, ..] => Some((FileKind::IpxeNbp, Some(Arch::I386))),
        // A far jump to 0000:7cxx, then PXELINUX's magic number.
        [0xea, _, 0x7c, 0, 0, 0x90, 0x90, 0x90, 0xac, 0xc8, 0x83, 0x29, ..] => {
            Some((FileKind::PxelinuxNbp, Some(Arch::I386)))
        }
        [0x7f, b'E', b'L', b'F', ..] => elf_arch(content).map(|arch| (FileKind::SyslinuxModule, Some(arch))),
        [b'P', b'K', 3, 4, ..] => Some((FileKind::ZipArchive, None)),
        image if has(image, 0x8001, b"CD001") => Some((FileKind::IsoImage, None)),
        kernel if has(kernel, 0x202, b"HdrS") => Some((FileKind::LinuxKernel, Some(Arch::I386))),
        // A jump over the parameters of a file system or syslinux's master boot record, and the mark of a boot sector.
        [0xeb, _, 0x90, ..] | [0x33, 0xc0, 0xfa, ..] if has(content, 510, &[0x55, 0xaa]) => {
            Some((FileKind::DiskImage, None))
        }
        [b'<', ..] | [] => None,
        text if std::str::from_utf8(text).is_ok_and(|text| !text.contains('\0')) => Some((FileKind::Text, None)),
        _ => None,
    }
}

/// Checks whether `content` has `part` at `offset`.
fn has(content: &[u8], offset: usize, part: &[u8]) -> bool {
    content.get(offset..).is_some_and(|rest| rest.starts_with(part))
}

fn u16_at(content: &[u8], offset: usize) -> Option<u16> {
    content.get(offset..offset + 2).map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]]))
}

/// Returns the CPU of an EFI application from its PE signature, machine field, and subsystem 10.
fn portable_executable(content: &[u8]) -> Option<Arch> {
    let offset = content.get(0x3c..0x40).map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))?;
    let offset = usize::try_from(offset).ok().filter(|offset| *offset < content.len())?;
    if content.get(offset..offset + 4)? != b"PE\0\0" || u16_at(content, offset + 0x5c)? != 10 {
        return None;
    }
    match u16_at(content, offset + 4)? {
        0x014c => Some(Arch::I386),
        0x8664 => Some(Arch::X86_64),
        0xaa64 => Some(Arch::Arm64),
        0x01c2 => Some(Arch::Arm32),
        0x5064 => Some(Arch::Riscv64),
        0x6264 => Some(Arch::Loong64),
        _ => None,
    }
}

/// Returns the CPU of an ELF program or module, from its first bytes.
#[must_use]
pub fn elf_arch(content: &[u8]) -> Option<Arch> {
    if !content.starts_with(b"\x7fELF") {
        return None;
    }
    match u16_at(content, 18)? {
        3 => Some(Arch::I386),
        62 => Some(Arch::X86_64),
        183 => Some(Arch::Arm64),
        _ => None,
    }
}

/// Describes the type of `content` in words.
#[must_use]
pub fn describe(content: &[u8]) -> String {
    match identify(content) {
        Some((kind, Some(arch))) => format!("{kind} for {arch}"),
        Some((kind, None)) => kind.to_string(),
        None if content.is_empty() => "an empty file".into(),
        None if content.trim_ascii_start().starts_with(b"<") => "an HTML or XML page".into(),
        None => "an unrecognised file".into(),
    }
}

/// Returns the expected type of `loader`.
#[must_use]
pub fn loader_kind(loader: Loader) -> (FileKind, Arch) {
    let platform = loader.platform();
    let kind = match platform {
        Platform::Bios if loader.is_kernel() => FileKind::LinuxKernel,
        Platform::Bios => FileKind::IpxeNbp,
        _ => FileKind::EfiApplication,
    };
    (kind, platform.arch())
}

/// Returns the expected type of a syslinux file called `name`. Names without a meaning for syslinux are data.
#[must_use]
pub fn member_kind(name: &str) -> (FileKind, Option<Arch>) {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("0") => (FileKind::PxelinuxNbp, Some(Arch::I386)),
        Some("c32" | "e32") => (FileKind::SyslinuxModule, Some(Arch::I386)),
        Some("e64") => (FileKind::SyslinuxModule, Some(Arch::X86_64)),
        Some("efi") if name.contains("32") => (FileKind::EfiApplication, Some(Arch::I386)),
        Some("efi") => (FileKind::EfiApplication, Some(Arch::X86_64)),
        _ => (FileKind::Data, None),
    }
}

/// Checks that `content` is of `kind`, and for `arch` if given.
///
/// # Errors
///
/// [`Mismatch`] if it is not.
pub fn check(content: &[u8], kind: FileKind, arch: Option<Arch>) -> Result<(), Mismatch> {
    if kind == FileKind::Data || identify(content) == Some((kind, arch)) {
        return Ok(());
    }
    Err(Mismatch::new(describe(content), kind, arch))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn efi(machine: u16, subsystem: u16) -> Vec<u8> {
        let mut bytes = vec![0; 256];
        bytes[..2].copy_from_slice(b"MZ");
        bytes[0x3c] = 0x80;
        bytes[0x80..0x84].copy_from_slice(b"PE\0\0");
        bytes[0x84..0x86].copy_from_slice(&machine.to_le_bytes());
        bytes[0xdc..0xde].copy_from_slice(&subsystem.to_le_bytes());
        bytes
    }

    #[test]
    fn what_a_file_is_is_read_from_its_bytes() {
        assert_eq!(identify(&efi(0x8664, 10)), Some((FileKind::EfiApplication, Some(Arch::X86_64))));
        assert_eq!(identify(&efi(0x8664, 3)), None);
        assert_eq!(identify(&[0xea, 8, 0, 0xc0, 7, 0x32, 0xae, 0x18, 0]), Some((FileKind::IpxeNbp, Some(Arch::I386))));
        let old = [0xea, 5, 0, 0xc0, 7, 0x66, 0x9c, 0x66, 0x60, 0x0f, 0xa8];
        assert_eq!(identify(&old), Some((FileKind::IpxeNbp, Some(Arch::I386))));
        assert_eq!(identify(b"DEFAULT x\n"), Some((FileKind::Text, None)));
        assert_eq!(identify(b"PK\x03\x04"), Some((FileKind::ZipArchive, None)));
        let with = |offset: usize, part: &[u8]| {
            let mut bytes = vec![0; 0x9000];
            bytes[offset..offset + part.len()].copy_from_slice(part);
            bytes
        };
        assert_eq!(identify(&with(0x8001, b"CD001")), Some((FileKind::IsoImage, None)));
        assert_eq!(identify(&with(0x202, b"HdrS")), Some((FileKind::LinuxKernel, Some(Arch::I386))));
        for start in [[0xeb, 0x58, 0x90], [0x33, 0xc0, 0xfa]] {
            let mut sector = with(510, &[0x55, 0xaa]);
            sector[..3].copy_from_slice(&start);
            assert_eq!(identify(&sector), Some((FileKind::DiskImage, None)));
            sector[511] = 0;
            assert_eq!(identify(&sector), None);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (content, found) in [
            (&b"<!DOCTYPE html>"[..], "an HTML or XML page"),
            (b"", "an empty file"),
            (&efi(0xaa64, 10), "an EFI application for arm64"),
            (b"MZ\0\0", "an unrecognised file"),
        ] {
            let (kind, arch) = loader_kind(Loader::IpxeEfi);
            let error = check(content, kind, Some(arch)).unwrap_err();
            assert_eq!(error.to_string(), format!("it is {found}, wanted an EFI application for x86-64"));
        }
    }
}
