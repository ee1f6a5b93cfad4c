//! Compilers for CPUs other than the host's: which one a loader needs, where it is found, and its packages.

use super::need::{Need, Probe};
use crate::base::process::find_program;
use crate::loader::target::Arch;

/// Oldest version of GCC that builds: `-ffile-prefix-map`, which keeps the build path out of the loaders, requires it.
pub(super) const OLDEST_GCC: u32 = 8;

/// Programs of binutils that a build calls.
pub(super) const BINUTILS: &[&str] = &["ld", "as", "ar", "objcopy", "objdump", "ranlib", "nm"];

/// A cross compiler, which is GCC and binutils for another CPU.
#[derive(Debug, PartialEq, Eq)]
pub struct CrossCompiler {
    /// The CPU that it compiles for.
    arch: Arch,
    /// Prefixes that distributions give its programs, as in `aarch64-linux-gnu-gcc`; the first that exists is used.
    prefixes: &'static [&'static str],
    /// The two needs.
    needs: [Need; 2],
}

/// Returns the need for GCC called `name`, in `packages`, whose machine is `machine`.
const fn gcc(
    name: &'static str,
    purpose: &'static str,
    packages: [&'static str; 5],
    machine: &'static str,
    prefixes: &'static [&'static str],
) -> Need {
    Need { name, purpose, packages, test: Probe::Gcc { oldest: OLDEST_GCC, machine, prefixes } }
}

/// Returns the need for binutils called `name`, in `packages`.
const fn binutils(
    name: &'static str,
    purpose: &'static str,
    packages: [&'static str; 5],
    prefixes: &'static [&'static str],
) -> Need {
    Need { name, purpose, packages, test: Probe::Programs { prefixes, names: BINUTILS } }
}

const X86_64: &[&str] = &["x86_64-linux-gnu-", "x86_64-suse-linux-"];
const ARM64: &[&str] = &["aarch64-linux-gnu-", "aarch64-suse-linux-", "aarch64-none-elf-"];
const ARM32: &[&str] = &["arm-linux-gnueabi-", "arm-linux-gnu-", "arm-suse-linux-gnueabi-", "arm-none-eabi-"];
const RISCV64: &[&str] = &["riscv64-linux-gnu-", "riscv64-suse-linux-"];
const LOONG64: &[&str] = &["loongarch64-linux-gnu-"];

/// The cross compilers. A distribution without a package for one has an empty name here.
static ALL: [CrossCompiler; 5] = [
    CrossCompiler {
        arch: Arch::X86_64,
        prefixes: X86_64,
        needs: [
            gcc(
                "x86-64 gcc",
                "compiles iPXE for x86",
                ["gcc-x86-64-linux-gnu", "gcc-x86_64-linux-gnu", "", "cross-x86_64-gcc14", ""],
                "x86_64",
                X86_64,
            ),
            binutils(
                "x86-64 binutils",
                "links loaders for x86",
                ["binutils-x86-64-linux-gnu", "binutils-x86_64-linux-gnu", "", "cross-x86_64-binutils", ""],
                X86_64,
            ),
        ],
    },
    CrossCompiler {
        arch: Arch::Arm64,
        prefixes: ARM64,
        needs: [
            gcc(
                "arm64 gcc",
                "compiles iPXE for arm64",
                [
                    "gcc-aarch64-linux-gnu",
                    "gcc-aarch64-linux-gnu",
                    "aarch64-linux-gnu-gcc",
                    "cross-aarch64-gcc14",
                    "gcc-aarch64-none-elf",
                ],
                "aarch64",
                ARM64,
            ),
            binutils(
                "arm64 binutils",
                "links loaders for arm64",
                [
                    "binutils-aarch64-linux-gnu",
                    "binutils-aarch64-linux-gnu",
                    "aarch64-linux-gnu-binutils",
                    "cross-aarch64-binutils",
                    "binutils-aarch64-none-elf",
                ],
                ARM64,
            ),
        ],
    },
    CrossCompiler {
        arch: Arch::Arm32,
        prefixes: ARM32,
        needs: [
            gcc(
                "arm32 gcc",
                "compiles iPXE for arm32",
                [
                    "gcc-arm-linux-gnueabi",
                    "gcc-arm-linux-gnu",
                    "arm-none-eabi-gcc",
                    "cross-arm-none-gcc14",
                    "gcc-arm-none-eabi",
                ],
                "arm",
                ARM32,
            ),
            binutils(
                "arm32 binutils",
                "links loaders for arm32",
                [
                    "binutils-arm-linux-gnueabi",
                    "binutils-arm-linux-gnu",
                    "arm-none-eabi-binutils",
                    "cross-arm-binutils",
                    "binutils-arm-none-eabi",
                ],
                ARM32,
            ),
        ],
    },
    CrossCompiler {
        arch: Arch::Riscv64,
        prefixes: RISCV64,
        needs: [
            gcc(
                "riscv64 gcc",
                "compiles iPXE for riscv64",
                ["gcc-riscv64-linux-gnu", "gcc-riscv64-linux-gnu", "riscv64-linux-gnu-gcc", "cross-riscv64-gcc14", ""],
                "riscv64",
                RISCV64,
            ),
            binutils(
                "riscv64 binutils",
                "links loaders for riscv64",
                [
                    "binutils-riscv64-linux-gnu",
                    "binutils-riscv64-linux-gnu",
                    "riscv64-linux-gnu-binutils",
                    "cross-riscv64-binutils",
                    "",
                ],
                RISCV64,
            ),
        ],
    },
    CrossCompiler {
        arch: Arch::Loong64,
        prefixes: LOONG64,
        needs: [
            gcc(
                "loong64 gcc",
                "compiles iPXE for loong64",
                ["gcc-loongarch64-linux-gnu", "gcc-loongarch64-linux-gnu", "", "", ""],
                "loongarch64",
                LOONG64,
            ),
            binutils(
                "loong64 binutils",
                "links loaders for loong64",
                ["binutils-loongarch64-linux-gnu", "binutils-loongarch64-linux-gnu", "", "", ""],
                LOONG64,
            ),
        ],
    },
];

/// Returns the architecture of this host.
#[must_use]
pub fn host() -> Arch {
    match std::env::consts::ARCH {
        "x86" => Arch::I386,
        "aarch64" => Arch::Arm64,
        "arm" => Arch::Arm32,
        "riscv64" => Arch::Riscv64,
        "loongarch64" => Arch::Loong64,
        _ => Arch::X86_64,
    }
}

impl CrossCompiler {
    /// Returns the cross compiler that compiles for `target` on `host`; `None` if the host's own compiler does. One
    /// compiler serves both kinds of x86.
    #[must_use]
    pub fn between(host: Arch, target: Arch) -> Option<&'static Self> {
        let family = |arch| if arch == Arch::I386 { Arch::X86_64 } else { arch };
        ALL.iter().find(|cross| cross.arch == family(target) && cross.arch != family(host))
    }

    /// Returns the cross compiler that compiles for `target` on this host.
    #[must_use]
    pub fn of(target: Arch) -> Option<&'static Self> {
        Self::between(host(), target)
    }

    /// Returns what it consists of.
    #[must_use]
    pub fn needs(&self) -> [Need; 2] {
        self.needs
    }

    /// Checks whether it is in `path`, a list of folders like `PATH`.
    #[must_use]
    pub fn is_in(&self, path: &str) -> bool {
        prefix(self.prefixes, "gcc", path).is_some()
    }

    /// Returns the prefix of its programs in `path`, a list of folders like `PATH`; the usual one if there are none.
    #[must_use]
    pub fn prefix(&self, path: &str) -> &'static str {
        prefix(self.prefixes, "gcc", path).unwrap_or(self.prefixes[0])
    }
}

/// Returns the first of `prefixes` with which `path` has the program `name`.
pub(super) fn prefix(prefixes: &'static [&'static str], name: &str, path: &str) -> Option<&'static str> {
    prefixes.iter().copied().find(|prefix| find_program(&format!("{prefix}{name}"), path).is_some())
}

/// Checks whether the tool called `name` affects loaders for `arch` on this host. Of the cross compilers, only the one
/// for that CPU does.
pub(super) fn affects(name: &str, arch: Arch) -> bool {
    let mut owners = ALL.iter().filter(|cross| cross.needs.iter().any(|need| need.name == name));
    owners.next().is_none_or(|owner| CrossCompiler::of(arch) == Some(owner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiler_follows_from_host_and_target() {
        let needed = |host, target| CrossCompiler::between(host, target).map(|cross| cross.prefixes[0]);
        let (x64, i386, arm64) = (Arch::X86_64, Arch::I386, Arch::Arm64);
        assert_eq!([needed(x64, x64), needed(x64, i386), needed(i386, x64)], [None; 3]);
        assert_eq!(needed(x64, arm64), Some("aarch64-linux-gnu-"));
        assert_eq!(needed(x64, Arch::Arm32), Some("arm-linux-gnueabi-"));
        assert_eq!(needed(x64, Arch::Riscv64), Some("riscv64-linux-gnu-"));
        assert_eq!(needed(x64, Arch::Loong64), Some("loongarch64-linux-gnu-"));
        assert_eq!(needed(arm64, arm64), None);
        assert_eq!([needed(arm64, x64), needed(arm64, i386)], [Some("x86_64-linux-gnu-"); 2]);
        assert_eq!(needed(arm64, Arch::Arm32), Some("arm-linux-gnueabi-"));
    }

    #[test]
    fn a_compiler_for_another_cpu_does_not_count() {
        let other = if host() == Arch::Arm64 { Arch::Riscv64 } else { Arch::Arm64 };
        let [gcc, binutils] = CrossCompiler::of(other).unwrap().needs();
        for tool in [gcc.name, binutils.name] {
            assert!(affects(tool, other) && !affects(tool, host()), "{tool}");
        }
        assert!(affects("perl", other) && affects("perl", host()));
    }
}
