//! Fields that several tables of `network.toml` share, and consistency checks between them.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use camino::Utf8PathBuf;
use ipnet::Ipv4Net;
use netboot_script::address::{lacks_scheme, split_scheme};

use super::address::{Range, WebAddress, has_host};
use crate::base::diagnostic::Location;
use crate::base::secrets;
use crate::config::toml::{Located, Table};

/// Maximum length of a boot file name in bytes: the field in a DHCP reply has one byte more.
pub const LONGEST_FILE: usize = 127;

/// Constraints on the addresses in `table`.
pub(super) struct SubnetRules<'t> {
    pub(super) table: &'t Table<'t>,
    /// The subnet that must contain the addresses, if it is known.
    pub(super) subnet: Option<Ipv4Net>,
    /// Servers, by description and address, whose addresses machines cannot have.
    pub(super) servers: Vec<(&'static str, Ipv4Addr)>,
}

impl SubnetRules<'_> {
    /// Reads the address `key` of a machine in the subnet.
    pub(super) fn address(&self, key: &str) -> Option<Located<Ipv4Addr>> {
        let at = self.table.parsed(key, "write an IPv4 address", parse_address)?;
        self.check(at.value, &at.location);
        Some(at)
    }

    /// Reports an `address` that no machine in the subnet can have.
    pub(super) fn check(&self, address: Ipv4Addr, location: &Location) {
        if let Some(subnet) = self.subnet.filter(|subnet| !has_host(subnet, address)) {
            let message = if subnet.contains(&address) {
                format!("found {address}, which is the first or the last address of {subnet}")
            } else {
                format!("found {address}, which is outside of {subnet}")
            };
            self.table.report(location.finding(message, format!("choose an address of a machine in {subnet}")));
        }
    }

    pub(super) fn ranges(&self) -> Vec<Range> {
        let mut ranges: BTreeSet<Range> = BTreeSet::new();
        for Located { value, location } in self.table.strings("ranges").map(|at| at.value).unwrap_or_default() {
            let range: Result<Range, String> = value.parse();
            let remedy = "write it as in \"192.168.88.100-192.168.88.199\"";
            let Some(range) = self.table.accept(range.map_err(|error| location.finding(error, remedy))) else {
                continue;
            };
            self.check(range.first, &location);
            if range.last != range.first {
                self.check(range.last, &location);
            }
            if let Some((name, address)) = self.servers.iter().find(|(_, address)| range.contains(*address)) {
                let message = format!("{range} has {address}, the address of {name}");
                self.table.report(location.finding(message, "leave the addresses of servers out of all ranges"));
            }
            // The accepted ranges do not overlap, so only the last one that begins before this one ends can overlap it.
            let before = ranges.range(..=Range { first: range.last, last: Ipv4Addr::BROADCAST }).next_back();
            if let Some(other) = before.filter(|other| range.first <= other.last) {
                let message = format!("{range} has addresses of {other}");
                self.table.report(location.finding(message, "let ranges have no address in common"));
            } else {
                ranges.insert(range);
            }
        }
        ranges.into_iter().collect()
    }
}

pub(super) fn parse_address(text: &str) -> Result<Ipv4Addr, String> {
    text.parse().map_err(|_| format!("found `{text}`, wanted an IPv4 address"))
}

/// Maximum number of servers in a list. Firmware need not take answers with more than 312 bytes of options.
const MAX_SERVERS: usize = 32;

/// Reads the addresses of servers below `key`, which need not be in the `subnet` of the machines.
pub(super) fn addresses(table: &Table<'_>, key: &str, subnet: Option<Ipv4Net>) -> Vec<Ipv4Addr> {
    let mut list = table.strings(key).map(|at| at.value).unwrap_or_default();
    if let Some(first) = list.get(MAX_SERVERS) {
        let message = format!(
            "found {} addresses, wanted at most {MAX_SERVERS}: an answer of DHCP has to hold them beside all else",
            list.len()
        );
        table.accept::<()>(Err(first.location.finding(message, "leave out all but the nearest ones")));
        list.clear();
    }
    let address = |text: &str| {
        let address = parse_address(text)?;
        let nowhere = address.is_loopback() || address.octets()[0] == 0 || address.octets()[0] >= 224;
        if nowhere || subnet.is_some_and(|subnet| subnet.contains(&address) && !has_host(&subnet, address)) {
            return Err(format!("found {address}, which machines reach no server at"));
        }
        Ok(address)
    };
    let parse = |Located { value, location }: Located<String>| {
        table.accept(address(&value).map_err(|error| location.finding(error, "write IPv4 addresses of servers")))
    };
    list.into_iter().filter_map(parse).collect()
}

/// Reads the address `key` of a folder; its path goes into the configuration of a web server.
pub(super) fn web_address(table: &Table<'_>, key: &str) -> Option<Located<WebAddress>> {
    let parse = |text: &str| {
        let address: WebAddress = text.parse()?;
        let folder = address.as_str().split_once(address.authority()).map_or("", |(_, folder)| folder);
        let wanted = |wanted: &str| Err(format!("found `{}`, wanted a path {wanted}", secrets::shown(text)));
        if is_plain(folder) {
            Ok(address)
        } else if folder.chars().all(is_plain_char) {
            wanted("without empty parts, `.` and `..`")
        } else {
            wanted(&format!("of {PLAIN}"))
        }
    };
    table.parsed(key, "write an address that any server and DHCP option can hold", parse)
}

/// Characters of a path that any server's configuration can hold without quoting.
const PLAIN: &str = "letters, digits, `/`, `.`, `_`, `-`, `@` and `+`";

/// Checks whether `path` has only [`PLAIN`] characters, and no `..`, `.` or empty part that a web server would resolve.
pub(super) fn is_plain(path: &str) -> bool {
    let inner = path.trim_start_matches('/').trim_end_matches('/');
    let resolved = |part: &str| ["", ".", ".."].contains(&part);
    path.chars().all(is_plain_char) && !path.contains("//") && (inner.is_empty() || !inner.split('/').any(resolved))
}

fn is_plain_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "/._-@+".contains(c)
}

/// Reads the address of the boot script: a whole address, or a path below `base`.
pub(super) fn boot(table: &Table<'_>, base: Option<&WebAddress>) -> Option<WebAddress> {
    let at = table.string("boot")?;
    let remedy = "name a script below `http-url`, or write its whole address";
    let whole = split_scheme(&at.value).0.is_some() || at.value.contains("://");
    let parsed: Result<WebAddress, String> = match base {
        _ if at.value.trim_matches('/').is_empty() => Err("is empty".to_owned()),
        _ if !whole && lacks_scheme(&at.value) => Err(format!(
            "found `{}`, wanted http:// before the server, or a path below `http-url`",
            secrets::shown(&at.value)
        )),
        Some(base) if !whole => base.join(at.value.trim_start_matches('/')),
        None if !whole => return None,
        _ => at.value.parse(),
    };
    let parsed = parsed.and_then(|boot| match boot.as_str().len() {
        ..=LONGEST_FILE => Ok(boot),
        length => Err(format!(
            "found an address of {length} bytes, wanted at most {LONGEST_FILE}: it is the name of a boot file, too"
        )),
    });
    table.accept(parsed.map_err(|error| at.location.finding(error, remedy)))
}

/// Maximum length of the path of a folder that a server serves, in bytes: dnsmasq reads lines of 1,025 bytes.
const MAX_FOLDER: usize = 512;

/// Reads the absolute path `key`, which any server's configuration can hold without quoting.
pub(super) fn folder(table: &Table<'_>, key: &str) -> Option<Utf8PathBuf> {
    let parse = |text: &str| {
        let trimmed = text.trim_end_matches('/');
        if text.len() > MAX_FOLDER {
            return Err(format!("found a path of {} bytes, wanted {MAX_FOLDER} at most", text.len()));
        }
        if text.starts_with('/') && is_plain(text) && !trimmed.is_empty() {
            return Ok(Utf8PathBuf::from(trimmed));
        }
        Err(format!("found `{text}`, wanted an absolute path of {PLAIN}"))
    };
    table.parsed(key, "write it as in \"/srv/tftp\"", parse).map(|at| at.value)
}

pub(super) fn interface(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-@".contains(c);
    // Linux knows neither `.` nor `..`, and programs take what begins with `-` for an option.
    let is_name = !text.starts_with('-') && ![".", ".."].contains(&text);
    if is_name && (1..=15).contains(&text.len()) && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "found `{text}`, wanted the name of a network interface: at most 15 letters, digits, `.`, `_`, `-` or `@`, not `-` \
         first"
    ))
}
