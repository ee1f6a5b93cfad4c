//! Network of a case: which server has which address.

use std::net::Ipv4Addr;

use camino::Utf8PathBuf;
use ipnet::Ipv4Net;

use super::daemon::{Daemon, WebServer};
use crate::base::diagnostic::{Class, Diagnose, Diagnosis};
use crate::config::network::{self, Mac};
use crate::loader::target::Platform;

/// MAC address that QEMU gives to the first network card of a machine.
pub const MAC: Mac = Mac::new([0x52, 0x54, 0x00, 0x12, 0x34, 0x56]);

/// Addresses and servers of a test network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestNetwork {
    /// The machine's next-server: DHCP, TFTP, and a web server.
    pub server: Ipv4Addr,
    /// Length of the network's prefix in bits.
    pub prefix: u8,
    /// A second web server, on an address that is not the TFTP server's.
    pub web: Ipv4Addr,
    /// First and last address for machines.
    pub range: (Ipv4Addr, Ipv4Addr),
    /// The gateway and the name servers, if they are other machines: the boot test stands in for them.
    pub neighbours: Vec<Ipv4Addr>,
    /// URL of the tree over HTTP, without a trailing slash.
    pub tree: String,
    /// Port in that URL.
    pub port: u16,
    /// Path in that URL, with its leading slash.
    pub path: String,
    /// URL that option 17 contains.
    pub boot: String,
    /// Host name that DHCP must send to the machine, if it is known.
    pub hostname: Option<String>,
    /// DHCP server.
    pub dhcp: DhcpSetup,
    /// HTTP server.
    pub http: HttpSetup,
    /// Certificate and key for TLS, if there are any.
    pub tls: Option<Tls>,
    /// Loader that DHCP offers to each platform, if it is known.
    pub chosen: Vec<(Platform, Utf8PathBuf)>,
}

/// Certificate and private key of a server, as PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The certificate, and the rest of the chain that the server sends.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

/// DHCP server of a test network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DhcpSetup {
    /// dnsmasq, with the boot test's own configuration.
    Own,
    /// This server with this configuration, which is under test. The boot test still decides about the interface, the
    /// logs and the TFTP folder.
    Given(Daemon, String),
}

/// HTTP server of a test network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpSetup {
    /// The boot test's own servers.
    Own,
    /// This server with this configuration, which is under test. It serves the folder
    /// [`SERVED`](super::web::nginx::SERVED).
    Given(WebServer, String),
}

impl Default for TestNetwork {
    /// Returns a network with addresses that are reserved for documentation.
    fn default() -> Self {
        Self {
            server: Ipv4Addr::new(192, 0, 2, 1),
            prefix: 24,
            web: Ipv4Addr::new(192, 0, 2, 2),
            range: (Ipv4Addr::new(192, 0, 2, 100), Ipv4Addr::new(192, 0, 2, 119)),
            neighbours: Vec::new(),
            tree: "http://192.0.2.2".into(),
            port: 80,
            path: String::new(),
            boot: "http://192.0.2.2/boot.ipxe".into(),
            hostname: None,
            dhcp: DhcpSetup::Own,
            http: HttpSetup::Own,
            tls: None,
            chosen: Vec::new(),
        }
    }
}

/// Reasons why a network cannot be set up for a boot test.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// There is no address for machines.
    #[error("`ranges` is empty, and a machine under test needs an address")]
    NoRange,
    /// There is no free address for the second web server.
    #[error("all addresses of {0} are taken, and a test needs one for its second web server")]
    Full(Ipv4Net),
}

impl Diagnose for Unfit {
    fn diagnosis(&self) -> Diagnosis {
        Class::BadInput.help(match self {
            Self::NoRange => "write which addresses machines get, as in ranges = [\"192.168.88.100-192.168.88.199\"]",
            Self::Full(_) => "leave one address out of `ranges`",
        })
    }
}

impl TestNetwork {
    /// Creates the network that the user described, for a machine with the MAC address `mac`, with `dhcp` and `http` as its
    /// servers. The second web server has the address of `http-url` if that is a free address of the network.
    ///
    /// # Errors
    ///
    /// [`Unfit`] if the description names no range of addresses, or leaves no address free.
    pub fn new(described: &network::NetworkConfig, mac: Mac, dhcp: DhcpSetup, http: HttpSetup) -> Result<Self, Unfit> {
        let network::NetworkConfig { subnet, tftp_server, ranges, .. } = described;
        let range = ranges.first().ok_or(Unfit::NoRange)?;
        let taken = |address: &Ipv4Addr| {
            address == tftp_server
                || ranges.iter().any(|range| range.contains(*address))
                || described.hosts.iter().any(|host| host.ip == Some(*address))
        };
        let named = described.http.host().parse().ok().filter(|address| subnet.contains(address) && !taken(address));
        let mut hosts = subnet.hosts();
        let web = named.or_else(|| hosts.find(|address| !taken(address))).ok_or(Unfit::Full(*subnet))?;
        let machine = described.hosts.iter().find(|host| host.mac == mac);
        let boot = machine.and_then(|host| host.boot.as_ref()).or(described.boot.as_ref());
        let tree = &described.http;
        let boot = boot.map_or_else(|| format!("{tree}/boot.ipxe"), ToString::to_string);
        let mut neighbours: Vec<Ipv4Addr> =
            described.gateway.into_iter().chain(described.dns.iter().copied()).collect();
        neighbours.retain(|address| subnet.contains(address) && ![*tftp_server, web].contains(address));
        // Only a configuration under test knows machines.
        let told = machine.filter(|_| dhcp != DhcpSetup::Own).map(|host| host.hostname.clone());
        Ok(Self {
            server: *tftp_server,
            prefix: subnet.prefix_len(),
            web,
            range: (range.first, range.last),
            neighbours,
            tree: tree.to_string(),
            port: tree.port().unwrap_or(80),
            path: tree.path().to_owned(),
            boot,
            hostname: told,
            dhcp,
            http,
            tls: None,
            chosen: Vec::new(),
        })
    }

    /// Returns the URL of the tree's file `name` on the server at `address`.
    #[must_use]
    pub fn url(&self, address: Ipv4Addr, name: &str) -> String {
        let port = if self.port == 80 { String::new() } else { format!(":{}", self.port) };
        format!("http://{address}{port}{}/{name}", self.path)
    }

    /// Returns the path in the tree's folder of the file at `url`, on any server; `None` if `url` is not below the
    /// tree.
    #[must_use]
    pub fn below_tree<'u>(&self, url: &'u str) -> Option<&'u str> {
        let (authority, path) = url.strip_prefix("http://")?.split_once('/')?;
        let port = authority.split_once(':').map_or(Some(80), |(_, port)| port.parse().ok())?;
        let prefix = self.path.strip_prefix('/').unwrap_or_default();
        let rest = if prefix.is_empty() { path } else { path.strip_prefix(prefix)?.strip_prefix('/')? };
        let plain = |part: &str| !["", ".", ".."].contains(&part) && !part.contains(['?', '%', '#']);
        (port == self.port && rest.split('/').all(plain)).then_some(rest)
    }

    /// Returns the address of the DHCP server in the network of a machine's second card, which has a prefix of 24 bits.
    /// That network is reserved for documentation or for benchmarks.
    #[must_use]
    pub fn second_server(&self) -> Ipv4Addr {
        let candidates = [Ipv4Addr::new(203, 0, 113, 1), Ipv4Addr::new(198, 18, 0, 1)];
        candidates.into_iter().find(|address| !self.contains(*address)).unwrap_or(candidates[0])
    }

    /// Returns the network address, which is the first address of the network.
    #[must_use]
    pub fn base(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.server.to_bits() & self.mask())
    }

    /// Checks whether `address` is in the network.
    #[must_use]
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        address.to_bits() & self.mask() == self.base().to_bits()
    }

    fn mask(&self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::network::NetworkConfig;
    use crate::config::toml::TomlFile;

    fn described(more: &str) -> Result<TestNetwork, Unfit> {
        let text = format!("subnet = \"192.168.88.0/24\"\ntftp-server = \"192.168.88.1\"\n{more}");
        let described =
            TomlFile::new("network.toml".into(), &text).read(|table| NetworkConfig::of(table, &[])).unwrap();
        TestNetwork::new(&described, MAC, DhcpSetup::Own, HttpSetup::Own)
    }

    #[test]
    fn a_described_network_is_stood_up_as_it_is() {
        let network = described(
            "http-url = \"http://192.168.88.10/tftp\"\nranges = [\"192.168.88.20-192.168.88.21\"]\nboot = \"a.ipxe\"\n",
        )
        .unwrap();
        assert_eq!((network.server, network.web), ([192, 168, 88, 1].into(), [192, 168, 88, 10].into()));
        assert_eq!((network.base(), network.prefix), ([192, 168, 88, 0].into(), 24));
        assert_eq!(
            (network.range.1, network.boot.as_str()),
            ([192, 168, 88, 21].into(), "http://192.168.88.10/tftp/a.ipxe")
        );
    }

    #[test]
    fn the_second_web_server_is_on_an_address_of_its_own() {
        let web = |http: &str| {
            described(&format!("http-url = \"http://{http}\"\nranges = [\"192.168.88.2-192.168.88.99\"]\n"))
                .unwrap()
                .web
        };
        for http in ["192.168.88.1/tftp", "boot.example.net", "10.0.0.1"] {
            assert_eq!(web(http), Ipv4Addr::new(192, 168, 88, 100), "{http}");
        }
    }

    #[test]
    fn what_is_below_the_tree_is_known_by_port_and_path() {
        let network = described(
            "http-url = \"http://boot.example.net:8080/a/b\"\nranges = [\"192.168.88.20-192.168.88.21\"]\n\
             gateway = \"192.168.88.254\"\ndns = [\"192.168.88.1\", \"192.0.2.53\"]\n",
        )
        .unwrap();
        assert_eq!(network.url([192, 168, 88, 2].into(), "vmlinuz"), "http://192.168.88.2:8080/a/b/vmlinuz");
        for (url, path) in [
            ("http://boot.example.net:8080/a/b/c/d", Some("c/d")),
            ("http://192.168.88.2:8080/a/b/c", Some("c")),
            ("http://192.168.88.2/a/b/c", None),
            ("http://192.168.88.2:8080/a/bc", None),
            ("http://192.168.88.2:8080/a/b/../c", None),
            ("https://192.168.88.2:8080/a/b/c", None),
        ] {
            assert_eq!(network.below_tree(url), path, "{url}");
        }
        assert_eq!(TestNetwork::default().below_tree("http://192.0.2.2/vmlinuz"), Some("vmlinuz"));
        // In this network, only the gateway is another machine.
        assert_eq!(network.neighbours, [Ipv4Addr::new(192, 168, 88, 254)]);
    }

    #[test]
    fn a_network_without_addresses_for_machines_is_refused() {
        assert_eq!(described("http-url = \"http://192.168.88.10\"\n"), Err(Unfit::NoRange));
    }
}
