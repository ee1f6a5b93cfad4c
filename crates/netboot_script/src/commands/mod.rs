//! The commands of iPXE, their options, the build options that they need, and the releases that lack some of them.
//!
//! Source of the availability: `src/config/general.h` of iPXE v2.0.0 at the pinned commit. v1.20.1 has the commands of
//! v1.21.1.

mod table;

pub use self::table::COMMANDS;

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
    /// For a process of Linux on x86.
    Linux,
}

/// The availability of a command or protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Availability {
    /// Available in every build.
    Always,
    /// Available if the build defines this macro, which EFI and Linux builds do by default and BIOS builds do not.
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
            Self::X86Only(name) => (name, matches!(kind, BuildKind::Bios | BuildKind::EfiX86 | BuildKind::Linux)),
            Self::OtherThanX86(name) => (name, matches!(kind, BuildKind::EfiArm64 | BuildKind::EfiOther)),
            Self::Arm64Only(name) => (name, kind == BuildKind::EfiArm64),
        };
        (!has).then_some(name)
    }

    /// Returns the availability in `release` of what has this availability in 2.0.0.
    #[must_use]
    pub fn in_release(self, release: IpxeRelease) -> Self {
        match self {
            Self::EfiOnly(name) if release == IpxeRelease::V1_21_1 && !OF_EFI_IN_1_21_1.contains(&name) => {
                Self::OnRequest(name)
            }
            availability => availability,
        }
    }
}

/// The macros that builds of 1.21.1 for UEFI define by default, among those that builds of 2.0.0 define. Source:
/// `src/config/general.h` and `src/config/defaults/efi.h` of v1.21.1.
const OF_EFI_IN_1_21_1: [&str; 2] = ["DOWNLOAD_PROTO_FILE", "NET_PROTO_IPV6"];

/// The prefix of addresses that need a protocol which BIOS builds leave out.
pub const HTTPS: &str = "https://";

/// A release of iPXE, or its newest known commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum IpxeRelease {
    /// Release 1.21.1.
    V1_21_1,
    /// Release 2.0.0.
    #[default]
    V2_0_0,
    /// The branch `master` at 0ab2277c4.
    Master,
}

impl IpxeRelease {
    /// All releases, from the oldest on.
    pub const ALL: [Self; 3] = [Self::V1_21_1, Self::V2_0_0, Self::Master];

    /// Returns the version as people write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1_21_1 => "1.21.1",
            Self::V2_0_0 => "2.0.0",
            Self::Master => "master",
        }
    }
}

/// A command of iPXE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandSpec {
    /// The name.
    pub name: &'static str,
    /// The builds that have it.
    pub availability: Availability,
    /// The release that introduced it; 1.21.1 for older ones.
    pub since: IpxeRelease,
    /// The minimum number of words besides options.
    pub min: usize,
    /// The maximum number of words besides options.
    pub max: usize,
    /// The options.
    pub options: &'static [OptionSpec],
    /// What it does, as the end of the sentence "it ...".
    pub summary: &'static str,
}

/// An option of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionSpec {
    /// The long name.
    pub long: &'static str,
    /// The short name.
    pub short: char,
    /// The kind of its value.
    pub value: OptionValue,
    /// The release that introduced it; 1.21.1 for older ones.
    pub since: IpxeRelease,
}

/// The kind of an option's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionValue {
    /// No value.
    Flag,
    /// A word.
    Text,
    /// A whole number.
    Number,
    /// A time in milliseconds.
    Milliseconds,
    /// A key: one character, or a number.
    Key,
}

impl CommandSpec {
    /// Finds the command called `name` in any known version of iPXE.
    #[must_use]
    pub fn of(name: &str) -> Option<&'static Self> {
        COMMANDS.binary_search_by(|command| command.name.cmp(name)).ok().map(|index| &COMMANDS[index])
    }

    /// Returns the availability in `release`.
    #[must_use]
    pub fn availability_in(&self, release: IpxeRelease) -> Availability {
        // 1.21.1 defines the macro of `reboot` by default, and not that of `poweroff`.
        match self.name {
            "poweroff" if release == IpxeRelease::V1_21_1 => Availability::OnRequest("POWEROFF_CMD"),
            _ => self.availability.in_release(release),
        }
    }
}

/// Returns the release that introduced `command`; `None` if 1.21.1 has it, or if iPXE 2.0.0 has no such command.
#[must_use]
pub fn since(command: &str) -> Option<&'static str> {
    let since = CommandSpec::of(command)?.since;
    (since == IpxeRelease::V2_0_0).then(|| since.as_str())
}

/// Returns the availability of `command`, or of the protocol [`HTTPS`]; `None` if iPXE 2.0.0 has no such command.
#[must_use]
pub fn availability(command: &str) -> Option<Availability> {
    if command == HTTPS {
        return Some(Availability::EfiOnly("DOWNLOAD_PROTO_HTTPS"));
    }
    CommandSpec::of(command).filter(|spec| spec.since <= IpxeRelease::V2_0_0).map(|spec| spec.availability)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::ScriptPlatform;

    /// The commands of iPXE 2.0.0.
    fn known() -> impl Iterator<Item = &'static CommandSpec> {
        COMMANDS.iter().filter(|command| command.since <= IpxeRelease::V2_0_0)
    }

    #[test]
    fn a_bios_build_lacks_what_an_efi_build_has() {
        let console = availability("console").unwrap();
        assert_eq!(console.missing(BuildKind::Bios), Some("CONSOLE_CMD"));
        assert_eq!(console.missing(BuildKind::EfiX86), None);
        assert_eq!(availability("ping").unwrap().missing(BuildKind::EfiX86), Some("PING_CMD"));
        assert_eq!(availability("chain"), Some(Availability::Always));
        assert_eq!(availability("wget"), None);
        assert!(COMMANDS.is_sorted_by_key(|command| command.name));
    }

    #[test]
    fn a_build_of_1_21_1_has_less_by_default() {
        let of = |name| CommandSpec::of(name).unwrap().availability_in(IpxeRelease::V1_21_1);
        assert_eq!(of("console"), Availability::OnRequest("CONSOLE_CMD"));
        assert_eq!(of("poweroff"), Availability::OnRequest("POWEROFF_CMD"));
        assert_eq!(of("reboot"), Availability::Always);
        assert_eq!(of("cpuid"), Availability::X86Only("CPUID_CMD"));
        let file = Availability::EfiOnly("DOWNLOAD_PROTO_FILE");
        assert_eq!(file.in_release(IpxeRelease::V1_21_1), file);
        assert_eq!(availability("console").unwrap().in_release(IpxeRelease::V2_0_0).missing(BuildKind::EfiX86), None);
    }

    #[test]
    fn a_command_of_2_0_0_alone_has_its_release() {
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
        for (loader, kind, platform) in [
            ("ipxe.efi", BuildKind::EfiX86, ScriptPlatform::Efi),
            ("sb/ipxe.efi", BuildKind::EfiX86, ScriptPlatform::SecureBoot),
            ("ipxe.pxe", BuildKind::Bios, ScriptPlatform::Bios),
            ("tap.linux", BuildKind::Linux, ScriptPlatform::Linux),
            ("i386/ipxe.efi", BuildKind::EfiX86, ScriptPlatform::Efi),
            ("arm64/ipxe.efi", BuildKind::EfiArm64, ScriptPlatform::Efi),
            ("arm32/ipxe.efi", BuildKind::EfiOther, ScriptPlatform::Efi),
            ("riscv64/ipxe.efi", BuildKind::EfiOther, ScriptPlatform::Efi),
        ] {
            let has = |command: &&CommandSpec| {
                command.availability.missing(kind).is_none() && !platform.lacks_driver_of(command.name)
            };
            let wanted = known().filter(has).map(|command| command.name.to_owned()).collect();
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
        let always = known().filter(|command| command.availability == Availability::Always);
        assert_eq!(words, always.map(|command| command.name).collect::<Vec<_>>());
        let new = section("Commands that are new in 2.0.0").split("\n\n").find(|part| part.starts_with('`')).unwrap();
        let words: Vec<&str> = new.split_whitespace().map(|word| word.trim_matches('`')).collect();
        let new = known().filter(|command| command.since == IpxeRelease::V2_0_0);
        assert_eq!(words, new.map(|command| command.name).collect::<Vec<_>>());
        for CommandSpec { name, availability, .. } in known() {
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
