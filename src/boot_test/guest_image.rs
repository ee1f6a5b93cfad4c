//! What machines boot once a loader has done its work: a kernel, and a static busybox as its userland, both for the CPU of
//! the machine.

use std::io::Read;

use camino::Utf8Path;

use crate::base::fs;
use crate::loader::target::Arch;

/// Number of bytes from which a file is identified.
const HEAD: u64 = 1 << 10;

/// Returns the CPU of a kernel image in the format that loaders boot, from its first bytes.
///
/// Sources: "The Linux/x86 Boot Protocol" (`HdrS` at 0x202, `XLF_KERNEL_64` in `xloadflags` at 0x236), and "Booting `AArch64`
/// Linux" (`ARM\x64` at 0x38).
#[must_use]
pub fn kernel_arch(head: &[u8]) -> Option<Arch> {
    if head.get(0x202..0x206)? == b"HdrS" {
        return Some(if head.get(0x236)? & 1 == 1 { Arch::X86_64 } else { Arch::I386 });
    }
    (head.get(0x38..0x3c)? == b"ARM\x64").then_some(Arch::Arm64)
}

/// Reads the first bytes of `file`.
///
/// # Errors
///
/// [`fs::Error`] if it is no regular file or cannot be read.
pub fn head(file: &Utf8Path) -> Result<Vec<u8>, fs::Error> {
    let mut head = Vec::new();
    let read = fs::open(file)?.take(HEAD).read_to_end(&mut head);
    read.map(|_| head).map_err(|error| fs::Error::new("read", file, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loader::file_kind::elf_arch;

    #[test]
    fn the_cpu_of_a_kernel_and_of_a_program_is_in_their_first_bytes() {
        let mut x86 = vec![0; 0x300];
        x86[0x202..0x206].copy_from_slice(b"HdrS");
        assert_eq!(kernel_arch(&x86), Some(Arch::I386));
        x86[0x236] = 0x7f;
        assert_eq!(kernel_arch(&x86), Some(Arch::X86_64));
        let mut arm = vec![0; 0x300];
        arm[0x38..0x3c].copy_from_slice(b"ARM\x64");
        assert_eq!(kernel_arch(&arm), Some(Arch::Arm64));
        assert_eq!(kernel_arch(&[0; 0x300]), None);
        let program = |machine: u8| [b"\x7fELF".as_slice(), &[2; 14], &[machine, 0]].concat();
        assert_eq!(
            [3, 62, 183, 8].map(|machine| elf_arch(&program(machine))),
            [Some(Arch::I386), Some(Arch::X86_64), Some(Arch::Arm64), None]
        );
        assert_eq!(elf_arch(b"\x7fELF"), None);
    }
}
