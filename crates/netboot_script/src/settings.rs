//! The settings that iPXE has by itself, and the types of settings.
//!
//! Source: the `__setting` and `__setting_type` entries of iPXE v2.0.0, those that only v1.21.1 lacks, and those of
//! master at 0ab2277c4.

use crate::commands::IpxeRelease;
use IpxeRelease::{Master, V2_0_0};

/// A setting that iPXE has by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettingSpec {
    /// The name.
    pub name: &'static str,
    /// What it is.
    pub description: &'static str,
    /// The release that introduced it; 1.21.1 for older ones.
    pub since: IpxeRelease,
}

/// All settings, sorted.
pub const SETTINGS: &[SettingSpec] = &[
    setting("active-scan", "Actively scan for wireless networks"),
    setting("asset", "Asset tag"),
    setting("board-serial", "Base board serial"),
    setting("buildarch", "Build architecture"),
    setting("busid", "Bus ID"),
    setting("busloc", "Bus location"),
    setting("bustype", "Bus type"),
    setting("cert", "Certificate"),
    setting("chip", "Chip"),
    setting("cpumodel", "CPU model"),
    setting("cpuvendor", "CPU vendor"),
    setting("crosscert", "Cross-signed certificate source"),
    newer("cwduri", V2_0_0, "Current working directory URI"),
    newer("cwuri", V2_0_0, "Current working URI"),
    setting("dhcp-server", "DHCP server"),
    newer("dmesg", Master, "Ring buffer"),
    setting("dns", "DNS server"),
    setting("dns6", "DNS server"),
    setting("dnssl", "DNS search list"),
    setting("domain", "DNS domain"),
    setting("errno", "Last error"),
    setting("filename", "Boot filename"),
    setting("gateway", "Default gateway"),
    setting("gateway6", "IPv6 gateway"),
    setting("gid", "Group ID"),
    setting("hostname", "Host name"),
    setting("hwaddr", "Hardware address"),
    setting("ifname", "Interface name"),
    setting("initiator-iqn", "iSCSI initiator name"),
    setting("ip", "IP address"),
    setting("ip6", "IPv6 address"),
    setting("keep-san", "Preserve SAN connection"),
    setting("key", "Wireless encryption key"),
    newer("keymap", V2_0_0, "Keyboard map"),
    setting("len6", "IPv6 prefix length"),
    newer("linktype", V2_0_0, "Link-layer type"),
    setting("mac", "MAC address"),
    setting("manufacturer", "Manufacturer"),
    setting("memsize", "Memory size (in MB)"),
    setting("mtu", "MTU"),
    setting("netmask", "Subnet mask"),
    setting("next-server", "TFTP server"),
    newer("ntp", V2_0_0, "NTP server"),
    setting("password", "Password"),
    setting("peerdist", "PeerDist enabled"),
    setting("peerhost", "PeerDist hosted cache"),
    setting("platform", "Platform"),
    setting("priority", "Settings priority"),
    setting("privkey", "Private key"),
    setting("product", "Product name"),
    setting("reverse-password", "Reverse password"),
    setting("reverse-username", "Reverse user name"),
    setting("root-path", "SAN root path"),
    setting("san-drive", "SAN drive number"),
    setting("san-filename", "SAN filename"),
    setting("san-retries", "SAN retry count"),
    setting("scriptlet", "Boot scriptlet"),
    setting("serial", "Serial number"),
    setting("skip-san-boot", "Do not boot from SAN device"),
    setting("ssid", "Wireless SSID"),
    setting("static-routes", "Static routes"),
    setting("syslog", "Syslog server"),
    setting("syslog6", "Syslog server"),
    setting("syslogs", "Encrypted syslog server"),
    newer("sysmac", V2_0_0, "System MAC"),
    setting("trust", "Trusted root certificate fingerprints"),
    setting("uid", "User ID"),
    setting("unixtime", "Seconds since the Epoch"),
    setting("user-class", "DHCP user class"),
    setting("username", "User name"),
    setting("uuid", "UUID"),
    setting("vendor-class", "DHCP vendor class"),
    setting("version", "Version"),
    setting("vram", "Video RAM"),
];

const fn setting(name: &'static str, description: &'static str) -> SettingSpec {
    newer(name, IpxeRelease::V1_21_1, description)
}

const fn newer(name: &'static str, since: IpxeRelease, description: &'static str) -> SettingSpec {
    SettingSpec { name, description, since }
}

/// Finds the setting `name`, if it is one of the table.
#[must_use]
pub fn of(name: &str) -> Option<&'static SettingSpec> {
    SETTINGS.binary_search_by(|it| it.name.cmp(name)).ok().map(|index| &SETTINGS[index])
}

/// Returns the release that introduced the type `kind` of settings.
#[must_use]
pub fn since_of_type(kind: &str) -> IpxeRelease {
    if kind == "guid" { IpxeRelease::V2_0_0 } else { IpxeRelease::V1_21_1 }
}

/// The types of settings.
pub const TYPES: [&str; 18] = [
    "string",
    "uristring",
    "ipv4",
    "ipv6",
    "int8",
    "int16",
    "int32",
    "uint8",
    "uint16",
    "uint32",
    "hex",
    "hexhyp",
    "hexraw",
    "base64",
    "uuid",
    "guid",
    "busdevfn",
    "dnssl",
];

/// Blocks whose settings have names that are not in the table: registers, bytes of tables, and variables.
const OPEN_BLOCKS: [&str; 8] = ["acpi", "cpuid", "efi", "memmap", "pci", "smbios", "usb", "vmware"];

/// Checks whether iPXE has the setting `name`, in the block `block` if there is one.
#[must_use]
pub fn is_known(block: Option<&str>, name: &str) -> bool {
    block.is_some_and(is_open) || is_tag(name) || of(name).is_some()
}

/// Checks whether `block` has other settings than DHCP options and those of the table.
fn is_open(block: &str) -> bool {
    OPEN_BLOCKS.contains(&block) || block.rsplit('.').next() == Some("lldp")
}

/// Checks whether the setting `name` in the block `block` is the DHCP option `code`, whose own name is `option`.
#[must_use]
pub fn is_option(block: Option<&str>, name: &str, code: u32, option: &str) -> bool {
    !block.is_some_and(is_open) && (name == option || tag(name) == Some(code))
}

/// Returns the number that `name` stands for, as `parse_setting_tag` in `src/core/settings.c` does: parts of one byte
/// each, in decimal, octal or hexadecimal digits.
fn tag(name: &str) -> Option<u32> {
    name.split('.').try_fold(0_u32, |tag, part| {
        let number = match (part.strip_prefix("0x"), part.strip_prefix('0')) {
            (Some(digits), _) => u32::from_str_radix(digits, 16),
            (None, Some(digits)) if !digits.is_empty() => u32::from_str_radix(digits, 8),
            _ => part.parse(),
        };
        Some(tag << 8 | number.ok()?)
    })
}

/// Checks whether `name` is the number of a DHCP option, such as `175.189` or `0xaf`.
fn is_tag(name: &str) -> bool {
    let number = |part: &str| {
        let digits = part.strip_prefix("0x").unwrap_or(part);
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) && part.as_bytes()[0].is_ascii_digit()
    };
    !name.is_empty() && name.split('.').all(number)
}

/// Length of the longest name that is compared with others; nobody writes longer ones by hand.
const MAX_NAME: usize = 64;

/// Returns the name among `names` that is most like `name`, if it is like it enough for a slip of the keyboard.
#[must_use]
pub fn similar<'n>(name: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let most = match name.len() {
        0..=3 => return None,
        4..=9 => 1,
        10..=MAX_NAME => 2,
        _ => return None,
    };
    let letters = letters_of(name);
    let mut found: Option<(usize, &str)> = None;
    for other in names {
        // Fast checks first, because a script can have thousands of names: each slip changes at most two letters.
        if other.len().abs_diff(name.len()) > most
            || (letters_of(other) ^ letters).count_ones() as usize > 2 * most
            || only_digits_differ(name, other)
        {
            continue;
        }
        let distance = distance(name, other);
        if (1..=most).contains(&distance) && found.is_none_or(|best| (distance, other) < best) {
            found = Some((distance, other));
        }
    }
    found.map(|(_, other)| other)
}

/// Returns a set of the letters in `name`, a bit for each of their lowest five bits.
fn letters_of(name: &str) -> u32 {
    let mut letters = 0;
    for byte in name.as_bytes() {
        letters |= 1 << (byte & 31);
    }
    letters
}

/// Checks whether two names differ in digits alone, as those of a numbered set do.
fn only_digits_differ(one: &str, other: &str) -> bool {
    let letters = |text: &'_ str| text.bytes().filter(|byte| !byte.is_ascii_digit()).collect::<Vec<u8>>();
    one.bytes().chain(other.bytes()).any(|byte| byte.is_ascii_digit()) && letters(one) == letters(other)
}

/// Returns the number of letters to insert, remove, replace, or swap with their neighbour. Names of other lengths, and those
/// longer than [`MAX_NAME`] where they differ, count as very different.
pub(crate) fn distance(one: &str, other: &str) -> usize {
    const ROOM: usize = MAX_NAME + 4;
    let (mut one, mut other) = (one.as_bytes(), other.as_bytes());
    while let ([a, rest_of_one @ ..], [b, rest_of_other @ ..]) = (one, other)
        && a == b
    {
        (one, other) = (rest_of_one, rest_of_other);
    }
    while let ([rest_of_one @ .., a], [rest_of_other @ .., b]) = (one, other)
        && a == b
    {
        (one, other) = (rest_of_one, rest_of_other);
    }
    if one.is_empty() || other.is_empty() || one.len().max(other.len()) >= ROOM {
        return one.len().max(other.len());
    }
    let (mut before, mut last, mut row) = ([0; ROOM], [0; ROOM], [0; ROOM]);
    for (j, cost) in last.iter_mut().enumerate() {
        *cost = j;
    }
    for (i, a) in one.iter().enumerate() {
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let mut cost = (last[j] + usize::from(a != b)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && one[i - 1] == *b && other[j - 1] == *a {
                cost = cost.min(before[j - 1] + 1);
            }
            row[j + 1] = cost;
        }
        (before, last, row) = (last, row, before);
    }
    last[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_ipxe_are_known() {
        assert!(SETTINGS.is_sorted_by_key(|setting| setting.name));
        for (block, name) in [
            (None, "next-server"),
            (Some("net0"), "mac"),
            (Some("net0.dhcp"), "175.189"),
            (None, "17"),
            (Some("smbios"), "1.4.0"),
            (Some("pci"), "0.0.0"),
            (Some("efi"), "Boot0000"),
            (None, "0xaf"),
        ] {
            assert!(is_known(block, name), "{name}");
        }
        for name in ["", "next", "base-url", "1x"] {
            assert!(!is_known(None, name), "{name}");
        }
    }

    #[test]
    fn an_option_has_a_name_and_a_number() {
        let is = |block, name| is_option(block, name, 17, "root-path");
        for name in ["root-path", "17", "0x11", "021", "0.17"] {
            assert!(is(None, name) && is(Some("net0"), name) && is(Some("net0.dhcp"), name), "{name}");
        }
        for name in ["root-pat", "177", "17.1", "0x17", "", "1.", "-17"] {
            assert!(!is(None, name), "{name}");
        }
        assert!(!is(Some("smbios"), "17") && !is(Some("net0.lldp"), "17"));
    }

    #[test]
    fn names_that_are_alike_are_found() {
        let of = |name| similar(name, SETTINGS.iter().map(|setting| setting.name));
        assert_eq!(of("next-sever"), Some("next-server"));
        assert_eq!(of("next_server"), Some("next-server"));
        assert_eq!(of("hotsname"), Some("hostname"));
        assert_eq!(of("platformx"), Some("platform"));
        assert_eq!([of("mav"), of("ip4"), of("menu"), of("hostnames-of-all")], [None; 4]);
        assert_eq!(similar("disk2", ["disk1"]), None);
        assert_eq!(similar("abcdefg", ["abcdfg", "abcdefgh", "abdcefg"]), Some("abcdefgh"));
        assert_eq!([distance("abc", "abc"), distance("abc", "acb"), distance("kitten", "sitting")], [0, 1, 3]);
        assert_eq!([distance("ab", "a"), distance("", "abc"), distance("a", &"b".repeat(100))], [1, 3, 100]);
    }
}
