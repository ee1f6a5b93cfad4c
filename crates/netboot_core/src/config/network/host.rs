//! The machines of `network.toml`.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::Ipv4Addr;

use super::address::{Mac, WebAddress};
use super::fields::{SubnetRules, boot};
use crate::base::diagnostic::Location;
use crate::config::site::Site;
use crate::config::toml::{Located, Table};
use crate::loader::target::Platform;

/// A known machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkHost {
    /// The name, a DNS label.
    pub name: String,
    /// The MAC address.
    pub mac: Mac,
    /// The fixed IPv4 address, if any.
    pub ip: Option<Ipv4Addr>,
    /// The firmware.
    pub platform: Platform,
    /// The site whose loader the machine gets; `None` for the root of the tree.
    pub site: Option<String>,
    /// The host name (option 12).
    pub hostname: String,
    /// The boot script (option 17), if it differs from the network's.
    pub boot: Option<WebAddress>,
}

/// Reads the hosts of `table`.
pub(super) fn read(
    table: &Table<'_>,
    subnet_rules: &SubnetRules<'_>,
    base: Option<&WebAddress>,
    sites: &[Site],
) -> Vec<NetworkHost> {
    let known: HashMap<&str, &Site> = sites.iter().filter_map(|site| Some((site.name.as_deref()?, site))).collect();
    let (mut names, mut macs, mut ips) = (Taken::new("name"), Taken::new("network card"), Taken::new("address"));
    table.list("host", |host| {
        let name = host.parsed("name", "name the machine with one label of DNS", label);
        let name = host.require("name", name, "name the machine");
        let mac = host.parsed("mac", "write it as in \"52:54:00:12:34:56\"", str::parse::<Mac>);
        let mac = host.require("mac", mac, "say which address its network card has");
        let ip = own_address(host, subnet_rules);
        let choose = format!("choose from {}", Platform::ALL.map(|it| format!("\"{}\"", it.firmware())).join(", "));
        let platform = host.parsed("firmware", &choose, firmware);
        let platform = host.require("firmware", platform, &choose);
        let site = host.string("site");
        if let (Some(site), Some(platform)) = (&site, &platform) {
            check_site(host, site, platform.value, &known);
        }
        let hostname = host.parsed("hostname", "write it as in DNS", hostname);
        let boot = boot(host, base);
        let called = name.as_ref().map(|at| at.value.clone()).unwrap_or_default();
        names.check(
            host,
            name.as_ref().map(|at| Located { value: at.value.to_ascii_lowercase(), location: at.location.clone() }),
            &called,
        );
        macs.check(host, mac.clone(), &called);
        ips.check(host, ip.clone(), &called);
        let name = name?.value;
        Some(NetworkHost {
            mac: mac?.value,
            ip: ip.map(|at| at.value),
            platform: platform?.value,
            site: site.map(|at| at.value),
            hostname: hostname.map_or_else(|| name.clone(), |at| at.value),
            boot,
            name,
        })
    })
}

/// Reads the address `ip` of a machine, which must not be a server's.
fn own_address(host: &Table<'_>, subnet_rules: &SubnetRules<'_>) -> Option<Located<Ipv4Addr>> {
    let ip = SubnetRules { table: host, subnet: subnet_rules.subnet, servers: Vec::new() }.address("ip")?;
    if let Some((name, address)) = subnet_rules.servers.iter().find(|(_, address)| *address == ip.value) {
        host.report(ip.location.finding(format!("found {address}, the address of {name}"), "choose another address"));
    }
    Some(ip)
}

/// Values that must be unique among hosts.
struct Taken<T> {
    what: &'static str,
    by: HashMap<T, (String, Location)>,
}

impl<T: Eq + Hash> Taken<T> {
    fn new(what: &'static str) -> Self {
        Self { what, by: HashMap::new() }
    }

    /// Reports a value of the host `called` that another host already has.
    fn check(&mut self, table: &Table<'_>, found: Option<Located<T>>, called: &str) {
        let Some(Located { value, location }) = found else { return };
        if let Some((other, at)) = self.by.get(&value) {
            let message = format!("`{called}` has the {} of `{other}`, at line {}", self.what, at.line);
            table.report(location.finding(message, "give each machine its own, or remove one of them"));
        } else {
            self.by.insert(value, (called.to_owned(), location));
        }
    }
}

fn check_site(table: &Table<'_>, at: &Located<String>, platform: Platform, known: &HashMap<&str, &Site>) {
    let (message, remedy) = match known.get(at.value.as_str()) {
        Some(site) if site.serves(platform) => return,
        Some(_) => (
            format!("the site `{}` has no loader for {platform}", at.value),
            "give the site such a loader in sites.toml",
        ),
        None => (
            format!("there is no site `{}`", at.value),
            "name a site of sites.toml or of its inventories, or leave `site` out",
        ),
    };
    table.report(at.location.finding(message, remedy));
}

fn firmware(text: &str) -> Result<Platform, String> {
    let found = Platform::ALL.into_iter().find(|platform| platform.firmware() == text);
    found.ok_or_else(|| format!("found the firmware `{text}`, wanted the name of one"))
}

fn is_label(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    (1..=63).contains(&text.len()) && text.chars().all(plain) && !text.starts_with('-') && !text.ends_with('-')
}

fn label(text: &str) -> Result<String, String> {
    if !is_label(text) {
        return Err(format!(
            "found the name `{text}`, wanted 1 to 63 letters, digits or `-`, with no `-` first or last"
        ));
    }
    // Next to a MAC address, dnsmasq recognises a host name only by its form.
    let number = text.strip_suffix(['s', 'S', 'm', 'M', 'h', 'H', 'd', 'D', 'w', 'W']).unwrap_or(text);
    if ["ignore", "infinite"].contains(&text) || (!number.is_empty() && number.bytes().all(|c| c.is_ascii_digit())) {
        return Err(format!("found the name `{text}`, which dnsmasq takes for a lease time, or for a command"));
    }
    Ok(text.to_owned())
}

/// Maximum length of a host name, including its domain, on Linux.
const LONGEST_HOSTNAME: usize = 64;

fn hostname(text: &str) -> Result<String, String> {
    if text.len() > LONGEST_HOSTNAME {
        let length = text.len();
        return Err(format!(
            "found a host name of {length} letters, wanted at most {LONGEST_HOSTNAME}, which Linux has"
        ));
    }
    if text.split('.').all(is_label) {
        return Ok(text.to_owned());
    }
    Err(format!("found the host name `{text}`, wanted a name as in DNS"))
}
