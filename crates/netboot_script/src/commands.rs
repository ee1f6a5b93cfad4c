//! The commands of iPXE v2.0.0, the build options that they need, and the releases that lack some of them.
//!
//! Source: `src/config/general.h` and the `COMMAND()` lines of iPXE v2.0.0 at the pinned commit; the `struct command`
//! entries of v1.21.1 and v1.20.1.

/// A kind of build, as far as builds differ in what they have by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildKind {
    /// For BIOS.
    Bios,
    /// For UEFI on x86, 32 or 64 bits.
    EfiX86,
    /// For UEFI on 64-bit ARM.
    EfiArm64,
    /// For UEFI on another CPU.
    EfiOther,
}

/// The availability of a command or protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Availability {
    /// Available in every build.
    Always,
    /// Available if the build defines this macro, which EFI builds do by default and BIOS builds do not.
    EfiOnly(&'static str),
    /// Available if the build defines this macro, which no build does by default.
    OnRequest(&'static str),
    /// Available in builds for x86, which define this macro by default; builds for other CPUs do not compile with it.
    X86Only(&'static str),
    /// Available if the build defines this macro, which builds for CPUs other than x86 do by default.
    OtherThanX86(&'static str),
    /// Available if the build defines this macro, which builds for 64-bit ARM do by default.
    Arm64Only(&'static str),
}

impl Availability {
    /// Returns the macro that a build of `kind` lacks by default, if any.
    #[must_use]
    pub fn missing(self, kind: BuildKind) -> Option<&'static str> {
        let (name, has) = match self {
            Self::Always => return None,
            Self::EfiOnly(name) => (name, kind != BuildKind::Bios),
            Self::OnRequest(name) => (name, false),
            Self::X86Only(name) => (name, matches!(kind, BuildKind::Bios | BuildKind::EfiX86)),
            Self::OtherThanX86(name) => (name, matches!(kind, BuildKind::EfiArm64 | BuildKind::EfiOther)),
            Self::Arm64Only(name) => (name, kind == BuildKind::EfiArm64),
        };
        (!has).then_some(name)
    }
}

/// The prefix of addresses that need a protocol which BIOS builds leave out.
pub const HTTPS: &str = "https://";

/// The commands (and one protocol) that depend on a macro which not every build defines.
const CONDITIONAL: &[(&str, Availability)] = &[
    ("certfree", Availability::EfiOnly("CERT_CMD")),
    ("certstat", Availability::EfiOnly("CERT_CMD")),
    ("certstore", Availability::EfiOnly("CERT_CMD")),
    ("colour", Availability::EfiOnly("CONSOLE_CMD")),
    ("console", Availability::EfiOnly("CONSOLE_CMD")),
    ("cpair", Availability::EfiOnly("CONSOLE_CMD")),
    ("md5sum", Availability::EfiOnly("DIGEST_CMD")),
    ("ntp", Availability::EfiOnly("NTP_CMD")),
    ("param", Availability::EfiOnly("PARAM_CMD")),
    ("params", Availability::EfiOnly("PARAM_CMD")),
    ("pciscan", Availability::EfiOnly("PCI_CMD")),
    ("sha1sum", Availability::EfiOnly("DIGEST_CMD")),
    ("sha224sum", Availability::EfiOnly("DIGEST_CMD")),
    ("sha256sum", Availability::EfiOnly("DIGEST_CMD")),
    ("sha384sum", Availability::EfiOnly("DIGEST_CMD")),
    ("sha512sum", Availability::EfiOnly("DIGEST_CMD")),
    ("usbscan", Availability::EfiOnly("USB_CMD")),
    ("vcreate", Availability::EfiOnly("VLAN_CMD")),
    ("vdestroy", Availability::EfiOnly("VLAN_CMD")),
    (HTTPS, Availability::EfiOnly("DOWNLOAD_PROTO_HTTPS")),
    // Linked together with the Fibre Channel protocol, which no driver brings in.
    ("fcels", Availability::OnRequest("NET_PROTO_FCOE")),
    ("fcstat", Availability::OnRequest("NET_PROTO_FCOE")),
    ("cpuid", Availability::X86Only("CPUID_CMD")),
    // For CPUs that describe their hardware in a device tree.
    ("fdt", Availability::OtherThanX86("FDT_CMD")),
    ("gdbstub", Availability::OnRequest("GDBSERIAL")),
    ("imgdecrypt", Availability::OnRequest("IMAGE_CRYPT_CMD")),
    // Linked together with a compressed image type.
    ("imgextract", Availability::Arm64Only("IMAGE_GZIP")),
    ("imgmem", Availability::OnRequest("IMAGE_MEM_CMD")),
    ("imgtrust", Availability::OnRequest("IMAGE_TRUST_CMD")),
    ("imgverify", Availability::OnRequest("IMAGE_TRUST_CMD")),
    ("ipstat", Availability::OnRequest("IPSTAT_CMD")),
    ("lotest", Availability::OnRequest("LOTEST_CMD")),
    ("md4sum", Availability::OnRequest("CRYPTO_DIGEST_MD4")),
    ("nslookup", Availability::OnRequest("NSLOOKUP_CMD")),
    ("nstat", Availability::OnRequest("NEIGHBOUR_CMD")),
    ("ping", Availability::OnRequest("PING_CMD")),
    ("profstat", Availability::OnRequest("PROFSTAT_CMD")),
    ("startpxe", Availability::OnRequest("PXE_CMD")),
    ("stoppxe", Availability::OnRequest("PXE_CMD")),
    ("time", Availability::OnRequest("TIME_CMD")),
];

/// All other commands, sorted.
const ALWAYS: &[&str] = &[
    "autoboot",
    "boot",
    "chain",
    "choose",
    "clear",
    "config",
    "dhcp",
    "echo",
    "exit",
    "form",
    "goto",
    "help",
    "ibstat",
    "ifclose",
    "ifconf",
    "iflinkwait",
    "ifopen",
    "ifstat",
    "imgargs",
    "imgexec",
    "imgfetch",
    "imgfree",
    "imgload",
    "imgselect",
    "imgstat",
    "inc",
    "initrd",
    "iseq",
    "isset",
    "item",
    "iwlist",
    "iwstat",
    "kernel",
    "login",
    "menu",
    "module",
    "poweroff",
    "present",
    "prompt",
    "pxebs",
    "read",
    "reboot",
    "route",
    "sanboot",
    "sanhook",
    "sanunhook",
    "set",
    "shell",
    "shim",
    "show",
    "sleep",
    "sync",
];

/// The commands that v2.0.0 has and v1.21.1 does not, sorted. v1.20.1 and v1.21.1 have the same commands.
const NEW_IN_2_0_0: &[&str] = &[
    "fdt",
    "form",
    "iflinkwait",
    "imgdecrypt",
    "imgextract",
    "imgmem",
    "md4sum",
    "present",
    "sha224sum",
    "sha256sum",
    "sha384sum",
    "sha512sum",
    "shim",
    "usbscan",
];

/// Returns the release that introduced `command`; `None` if 1.20.1 has it, or if iPXE has no such command.
#[must_use]
pub fn since(command: &str) -> Option<&'static str> {
    NEW_IN_2_0_0.binary_search(&command).is_ok().then_some("2.0.0")
}

/// Returns the availability of `command`; `None` if iPXE has no such command.
#[must_use]
pub fn availability(command: &str) -> Option<Availability> {
    if ALWAYS.binary_search(&command).is_ok() {
        return Some(Availability::Always);
    }
    CONDITIONAL.iter().find(|(name, _)| *name == command).map(|(_, availability)| *availability)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bios_build_lacks_what_an_efi_build_has() {
        let console = availability("console").unwrap();
        assert_eq!(console.missing(BuildKind::Bios), Some("CONSOLE_CMD"));
        assert_eq!(console.missing(BuildKind::EfiX86), None);
        assert_eq!(availability("ping").unwrap().missing(BuildKind::EfiX86), Some("PING_CMD"));
        assert_eq!(availability("chain"), Some(Availability::Always));
        assert_eq!(availability("wget"), None);
        assert!(ALWAYS.is_sorted());
    }

    #[test]
    fn a_command_of_2_0_0_alone_has_its_release() {
        assert!(NEW_IN_2_0_0.is_sorted() && NEW_IN_2_0_0.iter().all(|name| availability(name).is_some()));
        assert_eq!((since("iflinkwait"), since("sha256sum")), (Some("2.0.0"), Some("2.0.0")));
        // 1.21.1 has these two of the digest commands.
        assert_eq!((since("md5sum"), since("sha1sum"), since("chain"), since("wget")), (None, None, None, None));
    }

    /// Compares the table with what is linked into the loaders that have all drivers.
    #[test]
    fn the_table_says_what_the_loaders_have() {
        let commands = |loader: &str| {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vendor/linked-objects/default");
            let list = std::fs::read_to_string(format!("{folder}/{loader}.txt")).unwrap();
            let commands = list.lines().filter_map(|line| line.strip_prefix("command ")).map(str::to_owned);
            commands.collect::<std::collections::BTreeSet<_>>()
        };
        let all = || ALWAYS.iter().copied().chain(CONDITIONAL.iter().map(|(name, _)| *name));
        for (loader, kind) in [
            ("ipxe.efi", BuildKind::EfiX86),
            ("ipxe.pxe", BuildKind::Bios),
            ("i386/ipxe.efi", BuildKind::EfiX86),
            ("arm64/ipxe.efi", BuildKind::EfiArm64),
            ("arm32/ipxe.efi", BuildKind::EfiOther),
            ("riscv64/ipxe.efi", BuildKind::EfiOther),
        ] {
            let has = |name: &&str| availability(name).unwrap().missing(kind).is_none() && *name != HTTPS;
            let wanted = all().filter(has).map(str::to_owned).collect();
            assert_eq!(commands(loader), wanted, "{loader}");
        }
    }

    /// The book's page has each command once, in the section and the row of its macro.
    #[test]
    fn the_book_says_the_same() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/src/reference/ipxe-features.md");
        let text = std::fs::read_to_string(page).unwrap();
        let section = |heading: &str| {
            let (_, rest) = text.split_once(&format!("\n## {heading}\n")).unwrap();
            rest.split("\n## ").next().unwrap()
        };
        let always = section("Commands of every build").split("\n\n").find(|part| part.starts_with('`')).unwrap();
        let words: Vec<&str> = always.split_whitespace().map(|word| word.trim_matches('`')).collect();
        assert_eq!(words, ALWAYS);
        let new = section("Commands that are new in 2.0.0").split("\n\n").find(|part| part.starts_with('`')).unwrap();
        let words: Vec<&str> = new.split_whitespace().map(|word| word.trim_matches('`')).collect();
        assert_eq!(words, NEW_IN_2_0_0);
        for (name, availability) in CONDITIONAL.iter().filter(|(name, _)| *name != HTTPS) {
            let (heading, define) = match availability {
                Availability::Always => continue,
                Availability::EfiOnly(define) => ("Commands that BIOS builds lack", define),
                Availability::OnRequest(define) => ("Commands that no build has by default", define),
                Availability::X86Only(define)
                | Availability::OtherThanX86(define)
                | Availability::Arm64Only(define) => ("Commands that depend on the CPU", define),
            };
            let row =
                section(heading).lines().find(|line| line.starts_with('|') && line.contains(&format!("`{name}`")));
            assert!(row.is_some_and(|row| row.contains(&format!("| `{define}` |"))), "{name}: {row:?}");
        }
    }
}
