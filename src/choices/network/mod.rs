//! `embed-scripts/network.toml`: the network that machines boot in, and which machine boots what. Server recipes are
//! made of it; no loader is.

pub mod address;
mod host;
mod starter;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use camino::{Utf8Path, Utf8PathBuf};

pub use self::address::{Mac, Range, Subnet, WebAddress};
pub use self::host::Host;
pub use self::starter::Starter;

use super::address as url;
use super::reader::{self, At, Document, Findings, Place, Table};
use super::sites::{Site, Sites};
use crate::{fs, secrets};

/// Where a tree is on a server, where nobody says otherwise.
const SERVED: &str = "/srv/tftp";

/// How many bytes the name of a boot file has at most: the field for it in an answer of DHCP has one more.
const LONGEST_FILE: usize = 127;

/// The network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Its addresses.
    pub subnet: Subnet,
    /// The TFTP server: next-server, and option 66.
    pub tftp_server: Ipv4Addr,
    /// The folder that the TFTP server serves, on that server, where it is said.
    tftp_root: Option<Utf8PathBuf>,
    /// Where the tree can be had over HTTP.
    pub http: WebAddress,
    /// The folder that is at that address, on that server.
    pub http_root: Utf8PathBuf,
    /// The addresses that the DHCP server gives to machines that it does not know.
    pub ranges: Vec<Range>,
    /// Option 3.
    pub gateway: Option<Ipv4Addr>,
    /// Option 6.
    pub dns: Vec<Ipv4Addr>,
    /// The DHCP server's interface.
    pub interface: String,
    /// Option 17: the iPXE script that machines go to.
    pub boot: Option<WebAddress>,
    /// The machines that are known.
    pub hosts: Vec<Host>,
    /// What machines are to have when they start for the first time.
    pub ignition: Option<Starter>,
    /// What a person should know who publishes what is made of it.
    pub warnings: Vec<String>,
}

/// Why there is no network.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What is wrong with the file.
    #[error(transparent)]
    Findings(#[from] Findings),
    /// There is no such file.
    #[error(
        "there is no file `{0}`\nhint: it says which addresses servers and machines have; bring back the one that comes with this tool with `git checkout embed-scripts/network.toml`, and change it"
    )]
    Absent(Utf8PathBuf),
    /// It has nothing but comments.
    #[error("`{0}` says nothing yet\nhint: take the `#` away, and write your own addresses")]
    Blank(Utf8PathBuf),
    /// The file cannot be read.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Network {
    /// Reads `file`, whose hosts can be of any of the `sites`.
    ///
    /// # Errors
    ///
    /// [`Error`]: all that is wrong with it.
    pub fn read(file: &Utf8Path, sites: &Sites) -> Result<Self, Error> {
        let content = fs::read_text_if_exists(file)?.ok_or_else(|| Error::Absent(file.to_owned()))?;
        let text = reader::utf8(file, &content)?;
        if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
            return Err(Error::Blank(file.to_owned()));
        }
        let mut network = Document::new(file, text).read(|table| Self::of(table, &sites.sites))?;
        network.warnings = secrets::find(&content).iter().map(|secret| secret.warning(file.as_str())).collect();
        Ok(network)
    }

    /// The folder that the TFTP server serves, on that server.
    #[must_use]
    pub fn tftp_root(&self) -> &Utf8Path {
        self.tftp_root.as_deref().unwrap_or(Utf8Path::new(SERVED))
    }

    /// The same on a router, whose paths begin with no slash.
    #[must_use]
    pub fn router_folder(&self) -> &str {
        self.tftp_root.as_ref().map_or("tftp", |root| root.as_str().trim_start_matches('/'))
    }

    /// What `table` says, whose hosts can be of any of the `sites`.
    pub(crate) fn of(table: &Table<'_>, sites: &[Site]) -> Option<Self> {
        let subnet = table.parsed("subnet", "write it as in \"192.168.88.0/24\"", str::parse::<Subnet>);
        let subnet = table.require("subnet", subnet, "say which network it is, as in subnet = \"192.168.88.0/24\"");
        let mut inside = Inside { table, subnet: subnet.as_ref().map(|at| at.value), servers: Vec::new() };
        let server = inside.address("tftp-server");
        let server = table.require("tftp-server", server, "say which address the TFTP server has");
        let http = web_address(table, "http-url");
        let http =
            table.require("http-url", http, "say where the tree can be had, as in \"http://192.168.88.10/tftp\"");
        let gateway = inside.address("gateway").map(|at| at.value);
        let dns = addresses(table, "dns");
        let web = http.as_ref().and_then(|at| at.value.host().parse().ok());
        let servers = [
            ("the TFTP server", server.as_ref().map(|at| at.value)),
            ("the web server", web),
            ("the gateway", gateway),
        ];
        inside.servers = servers.into_iter().filter_map(|(name, address)| Some((name, address?))).collect();
        let ranges = inside.ranges();
        let tftp_root = folder(table, "tftp-root");
        let http_root = folder(table, "http-root").or_else(|| tftp_root.clone()).unwrap_or_else(|| SERVED.into());
        let interface = table.parsed("interface", "name it as the server does", interface);
        let base = http.map(|at| at.value);
        let boot = boot(table, base.as_ref());
        let hosts = host::read(table, &inside, base.as_ref(), sites);
        let ignition = table.table("ignition", |table| Some(starter::read(table))).map(|at| at.value);
        Some(Self {
            subnet: subnet?.value,
            tftp_server: server?.value,
            tftp_root,
            http: base?,
            http_root,
            ranges,
            gateway,
            dns,
            interface: interface.map_or_else(|| "eth0".to_owned(), |at| at.value),
            boot,
            hosts,
            ignition,
            warnings: Vec::new(),
        })
    }
}

/// The TFTP server's address, where `file` is there and says it; what is wrong with the file is left to
/// [`Network::read`].
///
/// # Errors
///
/// [`fs::Error`] where it is there, and cannot be read.
pub fn tftp_server(file: &Utf8Path) -> Result<Option<Ipv4Addr>, fs::Error> {
    let content = fs::read_text_if_exists(file)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&content);
    Ok(reader::string_of(&text, "tftp-server").and_then(|address| address.parse().ok()))
}

/// What addresses in `table` have to go together with.
struct Inside<'t> {
    table: &'t Table<'t>,
    /// The subnet that they have to be in, where it is known.
    subnet: Option<Subnet>,
    /// Whose addresses machines cannot have.
    servers: Vec<(&'static str, Ipv4Addr)>,
}

impl Inside<'_> {
    /// The address `key`, of a machine in the subnet.
    fn address(&self, key: &str) -> Option<At<Ipv4Addr>> {
        let at = self.table.parsed(key, "write an IPv4 address", parse_address)?;
        self.check(at.value, &at.place);
        Some(at)
    }

    /// Reports an `address` that no machine in the subnet can have.
    fn check(&self, address: Ipv4Addr, place: &Place) {
        if let Some(subnet) = self.subnet.filter(|subnet| !subnet.has_host(address)) {
            let message = if subnet.contains(address) {
                format!("found {address}, which is the first or the last address of {subnet}")
            } else {
                format!("found {address}, which is outside of {subnet}")
            };
            self.table.report(place.finding(message, format!("choose an address of a machine in {subnet}")));
        }
    }

    fn ranges(&self) -> Vec<Range> {
        let mut ranges: BTreeSet<Range> = BTreeSet::new();
        for At { value, place } in self.table.strings("ranges").map(|at| at.value).unwrap_or_default() {
            let range: Result<Range, String> = value.parse();
            let remedy = "write it as in \"192.168.88.100-192.168.88.199\"";
            let Some(range) = self.table.accept(range.map_err(|error| place.finding(error, remedy))) else { continue };
            self.check(range.first, &place);
            if range.last != range.first {
                self.check(range.last, &place);
            }
            if let Some((name, address)) = self.servers.iter().find(|(_, address)| range.contains(*address)) {
                let message = format!("{range} has {address}, the address of {name}");
                self.table.report(place.finding(message, "leave the addresses of servers out of all ranges"));
            }
            // Those before have no address in common, so that the last one that begins before the end is what to look at.
            let before = ranges.range(..=Range { first: range.last, last: Ipv4Addr::BROADCAST }).next_back();
            if let Some(other) = before.filter(|other| range.first <= other.last) {
                let message = format!("{range} has addresses of {other}");
                self.table.report(place.finding(message, "let ranges have no address in common"));
            } else {
                ranges.insert(range);
            }
        }
        ranges.into_iter().collect()
    }
}

fn parse_address(text: &str) -> Result<Ipv4Addr, String> {
    text.parse().map_err(|_| format!("found `{text}`, wanted an IPv4 address"))
}

fn addresses(table: &Table<'_>, key: &str) -> Vec<Ipv4Addr> {
    let list = table.strings(key).map(|at| at.value).unwrap_or_default();
    let parse = |At { value, place }: At<String>| {
        table.accept(parse_address(&value).map_err(|error| place.finding(error, "write IPv4 addresses")))
    };
    list.into_iter().filter_map(parse).collect()
}

/// The address `key` of a folder, whose path a web server has in its configuration.
fn web_address(table: &Table<'_>, key: &str) -> Option<At<WebAddress>> {
    let parse = |text: &str| {
        let address: WebAddress = text.parse()?;
        if is_plain(address.path()) {
            Ok(address)
        } else {
            Err(format!("found `{}`, wanted a path of {PLAIN}", url::shown(text)))
        }
    };
    table.parsed(key, "write an address that any server and DHCP option can hold", parse)
}

/// What a path can have that stands in the configuration of any server without being quoted.
const PLAIN: &str = "letters, digits, `/`, `.`, `_`, `-`, `@` and `+`";

/// Whether `path` has nothing else, and leads nowhere else.
fn is_plain(path: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-@+".contains(c);
    path.chars().all(plain) && !path.split('/').any(|part| part == "..")
}

/// What `table` says of the script that machines go to: an address, or a path below `base`.
fn boot(table: &Table<'_>, base: Option<&WebAddress>) -> Option<WebAddress> {
    let at = table.string("boot")?;
    let remedy = "name a script below `http-url`, or write its whole address";
    let whole = url::split_scheme(&at.value).0.is_some() || at.value.contains("://");
    let parsed: Result<WebAddress, String> = match base {
        _ if !whole && url::lacks_scheme(&at.value) => Err(format!(
            "found `{}`, wanted http:// before the server, or a path below `http-url`",
            url::shown(&at.value)
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
    table.accept(parsed.map_err(|error| at.place.finding(error, remedy)))
}

/// The absolute path `key`, which can stand in the configuration of any server without being quoted.
fn folder(table: &Table<'_>, key: &str) -> Option<Utf8PathBuf> {
    let parse = |text: &str| {
        let trimmed = text.trim_end_matches('/');
        if text.starts_with('/') && is_plain(text) && !trimmed.is_empty() {
            return Ok(Utf8PathBuf::from(trimmed));
        }
        Err(format!("found `{text}`, wanted an absolute path of {PLAIN}"))
    };
    table.parsed(key, "write it as in \"/srv/tftp\"", parse).map(|at| at.value)
}

fn interface(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-@".contains(c);
    if (1..=15).contains(&text.len()) && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    Err(format!("found `{text}`, wanted the name of a network interface, of at most 15 letters"))
}
