//! Programs and headers that this tool needs, their purpose, and the packages that provide them.

use std::collections::BTreeSet;

use super::cross::{self, CrossCompiler, OLDEST_GCC};
use super::need::{Need, Probe};
use crate::loader::medium::Medium;
use crate::loader::target::{Arch, Platform};

/// Prefix of the host's own programs.
const OWN: &[&str] = &[""];

const GCC: Need = Need {
    name: "gcc",
    purpose: "compiles iPXE and its build tools",
    packages: ["gcc", "gcc", "gcc", "gcc", "gcc"],
    test: Probe::Gcc { oldest: OLDEST_GCC, machine: std::env::consts::ARCH, prefixes: OWN },
};
const BINUTILS: Need = Need {
    name: "binutils",
    purpose: "assembles and links the loaders",
    packages: ["binutils"; 5],
    test: Probe::Programs { prefixes: OWN, names: cross::BINUTILS },
};
const MAKE: Need = Need {
    name: "make",
    purpose: "runs iPXE's build",
    packages: ["make"; 5],
    test: Probe::Program("make", &["--version"], "GNU Make"),
};
const PERL: Need = Need {
    name: "perl",
    purpose: "runs iPXE's build scripts",
    packages: ["perl", "perl-interpreter perl-Getopt-Long", "perl", "perl", "perl"],
    test: Probe::Program(
        "perl",
        &["-e", "use strict; use warnings; use Getopt::Long; print qq(perl $^V\\n)"],
        "perl v",
    ),
};
const AWK: Need = Need {
    name: "awk",
    purpose: "is called by iPXE's build",
    packages: ["mawk", "gawk", "gawk", "gawk", "gawk"],
    test: Probe::Program("awk", &["BEGIN { print \"works\" }"], "works"),
};
const SED: Need = Need {
    name: "sed",
    purpose: "is called by iPXE's build",
    packages: ["sed"; 5],
    test: Probe::Program("sed", &["--version"], "sed"),
};
const COREUTILS: Need = Need {
    name: "coreutils",
    purpose: "computes build ids and checksums",
    packages: ["coreutils"; 5],
    test: Probe::Programs {
        prefixes: OWN,
        names: &["sort", "cksum", "cut", "printf", "sha256sum", "touch", "truncate"],
    },
};
const LIBC: Need = Need {
    name: "libc headers",
    purpose: "let iPXE's build tools compile",
    packages: ["libc6-dev", "glibc-devel", "glibc", "glibc-devel", "musl-dev"],
    test: Probe::Compiles {
        code: "#include <elf.h>\n#include <stdio.h>\n#include <sys/mman.h>\n#ifdef __GLIBC__\n#define L \"glibc\"\n#else\n#define __GLIBC__ 0\n#define __GLIBC_MINOR__ 0\n#define L \"another libc\"\n#endif\nint main(void) { printf(\"%s %d.%d\\n\", L, __GLIBC__, __GLIBC_MINOR__); return 0; }\n",
        libraries: &[],
        header: "elf.h",
    },
};
const LZMA: Need = Need {
    name: "liblzma",
    purpose: "packs BIOS loaders, through iPXE's zbin",
    packages: ["liblzma-dev", "xz-devel", "xz", "xz-devel", "xz-dev"],
    test: Probe::Compiles {
        code: "#include <lzma.h>\n#include <stdio.h>\nint main(void) { puts(lzma_version_string()); return 0; }\n",
        libraries: &["-llzma"],
        header: "lzma.h",
    },
};
/// Program that reads certificates, makes keys, and signs.
pub const OPENSSL: Need = Need {
    name: "openssl",
    purpose: "reads the certificates under `trust`",
    packages: ["openssl"; 5],
    test: Probe::Program("openssl", &["version"], "SSL"),
};
/// Program that writes CDs.
const XORRISO: Need = Need {
    name: "xorriso",
    purpose: "writes CDs, through iPXE's genfsimg",
    packages: ["xorriso", "xorriso", "libisoburn", "xorriso", "xorriso"],
    test: Probe::Linked { names: &["xorriso", "xorrisofs"], libraries: &["libisofs.", "libisoburn.", "libburn."] },
};
/// Programs that write FAT file systems.
const MTOOLS: Need = Need {
    name: "mtools",
    purpose: "writes FAT file systems, through iPXE's genfsimg",
    packages: ["mtools"; 5],
    test: Probe::Programs { prefixes: OWN, names: &["mtools", "mformat", "mmd", "mcopy", "mattrib"] },
};
/// Program that makes a disk bootable.
const SYSLINUX: Need = Need {
    name: "syslinux installer",
    purpose: "lets a BIOS start a USB stick, through iPXE's genfsimg",
    packages: ["syslinux", "syslinux", "syslinux", "syslinux", "syslinux"],
    test: Probe::Program("syslinux", &["--version"], "syslinux"),
};

/// Program that signs loaders.
pub const OSSLSIGNCODE: Need = Need {
    name: "osslsigncode",
    purpose: "signs loaders for Secure Boot",
    packages: ["osslsigncode"; 5],
    test: Probe::Program("osslsigncode", &["--version"], "osslsigncode"),
};

/// Returns the needs of making a `medium`.
fn of_medium(medium: Medium) -> &'static [Need] {
    match medium {
        Medium::Iso => &[XORRISO, MTOOLS],
        Medium::Usb => &[MTOOLS, SYSLINUX],
        Medium::Esp => &[],
    }
}

/// Checks whether the tool `name` writes media, and so does not affect loaders.
pub(super) fn is_for_media(name: &str) -> bool {
    [XORRISO, MTOOLS, SYSLINUX].iter().any(|need| need.name == name)
}

/// Checks whether the tool `name` affects a `medium` made of given loaders.
pub(super) fn affects_medium(name: &str, medium: Medium) -> bool {
    of_medium(medium).iter().any(|need| need.name == name)
}

/// SSH server that receives the tests' deployments.
const SSH_SERVER: Need = Need {
    name: "sshd",
    purpose: "receives the deployments of the tests",
    packages: ["openssh-server", "openssh-server", "openssh", "openssh-server", "openssh-server"],
    test: Probe::File(SSHD),
};

/// Program that checks signatures. Fedora has moved it between packages, so there it is installed by its file path.
pub const GPGV: Need = Need {
    name: "gpgv",
    purpose: "checks signatures for `mirror`",
    packages: ["gpgv", "/usr/bin/gpgv", "gnupg", "gpg2", "gpgv"],
    test: Probe::Program("gpgv", &["--version"], "gpgv (GnuPG)"),
};
/// Program that generates keys and signs with them.
const GPG: Need = Need {
    name: "gpg",
    purpose: "signs what the tests mirror",
    packages: ["gpg", "gnupg2", "gnupg", "gpg2", "gnupg"],
    test: Probe::Program("gpg", &["--version"], "gpg (GnuPG)"),
};

/// What a build needs tools for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildScope {
    /// Whether it embeds certificates.
    pub trust: bool,
    /// The CPUs that it compiles for.
    pub archs: BTreeSet<Arch>,
    /// The boot media that it makes.
    pub media: BTreeSet<Medium>,
}

/// Returns the needs of a build of `scope`.
#[must_use]
pub fn build(scope: &BuildScope) -> Vec<Need> {
    let mut needs = vec![GCC, BINUTILS, MAKE, PERL, AWK, SED, COREUTILS, LIBC, LZMA];
    needs.extend(scope.trust.then_some(OPENSSL));
    let mut cross: Vec<&CrossCompiler> = scope.archs.iter().filter_map(|arch| CrossCompiler::of(*arch)).collect();
    cross.dedup();
    needs.extend(cross.into_iter().flat_map(CrossCompiler::needs));
    for need in scope.media.iter().flat_map(|medium| of_medium(*medium)) {
        if !needs.contains(need) {
            needs.push(*need);
        }
    }
    needs
}

/// Returns the needs of the checks. A check with an unmet need is skipped and reported.
#[must_use]
pub fn check() -> Vec<Need> {
    let mut needs =
        build(&BuildScope { trust: true, archs: [Arch::X86_64, Arch::Arm64].into(), media: Medium::ALL.into() });
    needs.extend(boot_test());
    needs.extend(variations());
    needs.extend([servers(), tree_servers(), deploy()].concat());
    needs.push(SSH_SERVER);
    needs.extend([GPGV, GPG]);
    needs.extend(other_machine(Platform::EfiArm64).into_iter().flatten());
    needs.extend([secure_firmware(Platform::EfiX64), shim(Platform::EfiX64)].into_iter().flatten());
    needs.extend([of_tests(), of_the_book()].concat());
    needs
}

/// Returns what the tests that type the book's commands need in addition.
fn of_the_book() -> Vec<Need> {
    vec![
        Need {
            name: "curl",
            purpose: "fetches what the book's commands serve",
            packages: ["curl"; 5],
            test: Probe::Program("curl", &["--version"], "curl "),
        },
        Need {
            name: "procps",
            purpose: "ends the servers of the book's commands",
            packages: ["procps", "procps-ng", "procps-ng", "procps", "procps"],
            test: Probe::Program("pkill", &["--version"], "pkill from"),
        },
    ]
}

/// Returns the needs of tests alone.
fn of_tests() -> Vec<Need> {
    vec![
        Need {
            name: "git",
            purpose: "serves test repositories over HTTP",
            packages: ["git", "git", "git", "git", "git git-daemon"],
            test: Probe::Program("git", &["--version"], "git version"),
        },
        OSSLSIGNCODE,
        Need {
            name: "sbsign",
            purpose: "signs loaders of the tests in another way",
            packages: ["sbsigntool", "sbsigntools", "sbsigntools", "sbsigntools", "sbsigntool"],
            test: Probe::Program("sbsign", &["--version"], "sbsign"),
        },
        Need {
            name: "file",
            purpose: "tells what a loader is, independently of this tool",
            packages: ["file"; 5],
            test: Probe::Program("file", &["--version"], "file-"),
        },
        Need {
            name: "syslinux",
            purpose: "gives the tests real syslinux loaders",
            packages: [
                "pxelinux syslinux-common syslinux-efi",
                "syslinux syslinux-nonlinux syslinux-efi64",
                "syslinux",
                "syslinux",
                "syslinux",
            ],
            test: Probe::File(DISTRIBUTION_SYSLINUX),
        },
        Need {
            name: "bindfs",
            purpose: "is a file system that cannot exchange folders",
            // Arch and Alpine do not package it.
            packages: ["bindfs", "bindfs", "", "bindfs", ""],
            test: Probe::Program("bindfs", &["--version"], "bindfs"),
        },
        Need {
            name: "python",
            purpose: "installs the linters of the workflows",
            packages: ["python3 python3-venv", "python3", "python", "python3", "python3"],
            // Debian has the module that creates virtual environments in a separate package.
            test: Probe::Program(
                "python3",
                &["-c", "import ensurepip, sys, venv; print('Python', sys.version.split()[0])"],
                "Python",
            ),
        },
    ]
}

/// Returns the needs of some variations of a rebuild; without them, those variations are skipped.
#[must_use]
pub fn variations() -> Vec<Need> {
    vec![
        Need {
            name: "libfaketime",
            purpose: "shows a rebuild another time of day",
            packages: ["faketime", "libfaketime", "libfaketime", "libfaketime", "libfaketime"],
            test: Probe::File(LIBFAKETIME),
        },
        Need {
            name: "ccache",
            purpose: "is the compiler cache of a rebuild",
            packages: ["ccache"; 5],
            test: Probe::Program("ccache", &["--version"], "ccache version"),
        },
    ]
}

/// Returns the needs of a deployment to a server.
#[must_use]
pub fn deploy() -> Vec<Need> {
    vec![Need {
        name: "ssh",
        purpose: "carries a deployment to a server",
        packages: ["openssh-client", "openssh-clients", "openssh", "openssh-clients", "openssh-client-default"],
        test: Probe::Program("ssh", &["-V"], "OpenSSH"),
    }]
}

/// Paths of the SSH server in distributions.
pub const SSHD: &[&str] = &["/usr/sbin/sshd", "/usr/bin/sshd"];

/// Paths of libfaketime in Debian, Fedora, openSUSE, Arch and Alpine.
pub const LIBFAKETIME: &[&str] = &[
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib64/faketime/libfaketime.so.1",
    "/usr/lib64/libfaketime.so.1",
    "/usr/lib/faketime/libfaketime.so.1",
];

/// Answers DHCP, TFTP and DNS in a test network.
const DNSMASQ: Need = Need {
    name: "dnsmasq",
    purpose: "answers its DHCP and TFTP",
    packages: ["dnsmasq-base", "dnsmasq", "dnsmasq", "dnsmasq", "dnsmasq"],
    test: Probe::Program("dnsmasq", &["--version"], "Dnsmasq version"),
};

/// Sets up a test network.
const IP: Need = Need {
    name: "ip",
    purpose: "sets up its network",
    packages: ["iproute2", "iproute", "iproute2", "iproute2", "iproute2"],
    test: Probe::Program("ip", &["-V"], "iproute2"),
};

/// Returns the needs of a network for tests.
#[must_use]
pub fn test_network() -> Vec<Need> {
    vec![DNSMASQ, IP]
}

/// QEMU for the machines of a PC.
const QEMU: Need = Need {
    name: "qemu",
    purpose: "is the machine that boots",
    packages: ["qemu-system-x86", "qemu-system-x86-core", "qemu-system-x86", "qemu-x86", "qemu-system-x86_64"],
    test: Probe::Program("qemu-system-x86_64", &["--version"], "QEMU emulator"),
};

/// Returns the needs of a boot test with the machine of `platform`, which no PC's distribution has by default: QEMU, and
/// the firmware under the name `NAME firmware`. `None` if there is no such machine.
#[must_use]
pub fn other_machine(platform: Platform) -> Option<[Need; 2]> {
    match platform {
        Platform::EfiArm64 => Some([
            Need {
                name: "qemu for arm64",
                purpose: "is the machine that boots loaders for arm64",
                packages: [
                    "qemu-system-arm",
                    "qemu-system-aarch64-core",
                    "qemu-system-aarch64",
                    "qemu-arm",
                    "qemu-system-aarch64",
                ],
                test: Probe::Program("qemu-system-aarch64", &["--version"], "QEMU emulator"),
            },
            Need {
                name: "firmware for arm64",
                purpose: "is the UEFI of that machine",
                packages: ["qemu-efi-aarch64", "edk2-aarch64", "edk2-aarch64", "qemu-uefi-aarch64", "aavmf"],
                test: Probe::File(&[
                    "/usr/share/AAVMF/AAVMF_CODE.fd",
                    "/usr/share/edk2/aarch64/QEMU_CODE.fd",
                    "/usr/share/qemu/aavmf-aarch64-code.bin",
                ]),
            },
        ]),
        Platform::EfiIa32 => Some([
            QEMU,
            Need {
                name: "firmware for i386",
                purpose: "is the UEFI of machines that boot loaders for i386",
                packages: ["ovmf-ia32", "edk2-ovmf-ia32", "edk2-ovmf", "", ""],
                test: Probe::File(&[
                    "/usr/share/OVMF/OVMF32_CODE_4M.secboot.fd",
                    "/usr/share/edk2/ovmf-ia32/OVMF_CODE.secboot.fd",
                    "/usr/share/edk2/ia32/OVMF_CODE.secboot.4m.fd",
                ]),
            },
        ]),
        _ => None,
    }
}

/// Returns the needs of a boot test with a PC's machines.
#[must_use]
pub fn boot_test() -> Vec<Need> {
    vec![
        QEMU,
        Need {
            name: "ovmf",
            purpose: "is the UEFI of that machine",
            packages: ["ovmf", "edk2-ovmf", "edk2-ovmf", "qemu-ovmf-x86_64", "ovmf"],
            test: Probe::File(&[
                "/usr/share/OVMF/OVMF_CODE_4M.fd",
                "/usr/share/OVMF/OVMF_CODE.fd",
                "/usr/share/edk2/ovmf/OVMF_CODE.fd",
                "/usr/share/edk2/x64/OVMF_CODE.4m.fd",
                "/usr/share/qemu/ovmf-x86_64-code.bin",
            ]),
        },
        DNSMASQ,
        IP,
        Need {
            name: "kernel",
            purpose: "is what it boots",
            packages: ["linux-image-cloud-amd64", "kernel-core", "linux", "kernel-default", "linux-virt"],
            test: Probe::Kernel(&["/boot", "/usr/lib/modules"], "vmlinuz"),
        },
        Need {
            name: "busybox",
            purpose: "is the userland that it boots into",
            packages: ["busybox-static", "busybox", "busybox", "busybox-static", "busybox-static"],
            test: Probe::Static(&["busybox", "busybox.static", "busybox-static"]),
        },
    ]
}

/// Returns the need of machines of `platform` with Secure Boot: a UEFI that has it. `None` if there is no such machine.
#[must_use]
pub fn secure_firmware(platform: Platform) -> Option<Need> {
    let (name, packages, paths): (_, _, &'static [&'static str]) = match platform {
        Platform::EfiX64 => (
            "ovmf with Secure Boot",
            ["ovmf", "edk2-ovmf", "edk2-ovmf", "qemu-ovmf-x86_64", "ovmf"],
            &[
                "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd",
                "/usr/share/OVMF/OVMF_CODE.secboot.fd",
                "/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd",
                "/usr/share/edk2/x64/OVMF_CODE.secboot.4m.fd",
                "/usr/share/qemu/ovmf-x86_64-smm-code.bin",
            ],
        ),
        // Debian's has Secure Boot, of which this name tells.
        Platform::EfiArm64 => (
            "firmware for arm64 with Secure Boot",
            ["qemu-efi-aarch64", "", "", "", ""],
            &["/usr/share/AAVMF/AAVMF_CODE.ms.fd"],
        ),
        _ => return None,
    };
    let purpose = "refuses loaders without a trusted signature";
    Some(Need { name, purpose, packages, test: Probe::File(paths) })
}

/// Returns the need of machines of `platform` whose firmware trusts Microsoft's keys only; `None` if a PC's distribution
/// has no such program.
#[must_use]
pub fn shim(platform: Platform) -> Option<Need> {
    let need = Need {
        name: "shim",
        purpose: "is signed by Microsoft, and starts signed loaders",
        packages: ["shim-signed", "shim-x64", "", "", ""],
        test: Probe::File(&["/usr/lib/shim/shimx64.efi.signed", "/boot/efi/EFI/fedora/shimx64.efi"]),
    };
    (platform == Platform::EfiX64).then_some(need)
}

/// The name of the need for nginx.
pub const NGINX: &str = "nginx";

/// Returns the servers that a boot test can use besides its own.
#[must_use]
pub fn servers() -> Vec<Need> {
    vec![
        Need {
            name: "kea",
            purpose: "answers DHCP as its recipe says",
            packages: ["kea-dhcp4-server", "kea", "kea", "kea", "kea-dhcp4"],
            test: Probe::Program("kea-dhcp4", &["-v"], "."),
        },
        Need {
            name: "isc-dhcpd",
            purpose: "answers DHCP as its recipe says",
            packages: ["isc-dhcp-server", "dhcp-server", "dhcp", "dhcp-server", "dhcp-server-vanilla"],
            test: Probe::Program("dhcpd", &["--version"], "isc-dhcpd"),
        },
        Need {
            name: NGINX,
            purpose: "serves HTTP as its recipe says",
            packages: ["nginx"; 5],
            test: Probe::Program("nginx", &["-v"], "nginx version"),
        },
        Need {
            name: "caddy",
            purpose: "serves HTTP as its recipe says",
            packages: ["caddy"; 5],
            // Without a home folder, its first line of output is about that instead.
            test: Probe::File(&["/usr/bin/caddy", "/usr/sbin/caddy"]),
        },
    ]
}

/// Returns further servers with a recipe, which serve a tree in tests.
fn tree_servers() -> Vec<Need> {
    vec![Need {
        name: "tftpd-hpa",
        purpose: "serves a tree over TFTP as its recipe says",
        packages: ["tftpd-hpa", "tftp-server", "tftp-hpa", "tftp", "tftp-hpa"],
        test: Probe::Program("in.tftpd", &["-V"], "tftp-hpa"),
    }]
}

/// Paths of `lpxelinux.0` in Debian, Fedora and Arch.
pub const DISTRIBUTION_SYSLINUX: &[&str] =
    &["/usr/lib/PXELINUX/lpxelinux.0", "/usr/share/syslinux/lpxelinux.0", "/usr/lib/syslinux/bios/lpxelinux.0"];
