//! The network that a case lives in: who has which address.

use std::net::Ipv4Addr;

use camino::{Utf8Path, Utf8PathBuf};

use crate::choices::reader::{At, Document, Findings, Table};
use crate::fs;

/// Addresses, and who answers DHCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// The machine's next-server: DHCP, TFTP, and a web server.
    pub server: Ipv4Addr,
    /// The length of the network's prefix in bits.
    pub prefix: u8,
    /// A second web server, on an address that is not the TFTP server's.
    pub web: Ipv4Addr,
    /// The first and the last address for machines.
    pub range: (Ipv4Addr, Ipv4Addr),
    /// What answers DHCP.
    pub dhcp: Dhcp,
}

/// What answers DHCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dhcp {
    /// dnsmasq, with a configuration of the boot test's own.
    Own,
    /// dnsmasq, with this configuration: it is what is tested. Interface, logs and TFTP folder are the
    /// boot test's all the same.
    Dnsmasq(Utf8PathBuf),
}

impl Default for Network {
    /// Addresses that are set aside for documentation.
    fn default() -> Self {
        Self {
            server: Ipv4Addr::new(192, 0, 2, 1),
            prefix: 24,
            web: Ipv4Addr::new(192, 0, 2, 2),
            range: (Ipv4Addr::new(192, 0, 2, 100), Ipv4Addr::new(192, 0, 2, 119)),
            dhcp: Dhcp::Own,
        }
    }
}

/// Why a description of a network cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What is wrong with it.
    #[error(transparent)]
    Findings(#[from] Findings),
    /// The file cannot be read.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Network {
    /// Reads a description: `server` with its prefix, `web`, `first`, `last`, and `dnsmasq`, the
    /// name of a file beside it. What it does not say is as in [`Network::default`].
    ///
    /// # Errors
    ///
    /// [`Error`]: all that is wrong with it.
    pub fn read(file: &Utf8Path) -> Result<Self, Error> {
        let text = String::from_utf8_lossy(&fs::read(file)?).into_owned();
        let folder = file.parent().unwrap_or(Utf8Path::new("."));
        Ok(Document::new(file, &text).read(|table| Some(network(table, folder)))?)
    }

    /// The network's first address, which names it.
    #[must_use]
    pub fn base(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.server.to_bits() & self.mask())
    }

    /// Whether `address` is in the network.
    #[must_use]
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        address.to_bits() & self.mask() == self.base().to_bits()
    }

    fn mask(&self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0)
    }
}

fn network(table: &Table<'_>, folder: &Utf8Path) -> Network {
    let mut network = Network::default();
    if let Some(At { value: (server, prefix), .. }) =
        table.parsed("server", "write it as in \"192.0.2.1/24\"", prefixed)
    {
        (network.server, network.prefix) = (server, prefix);
    }
    let address = |key: &str| table.parsed(key, "write an IPv4 address", str::parse::<Ipv4Addr>);
    let given = [address("web"), address("first"), address("last")];
    for (place, given) in [&mut network.web, &mut network.range.0, &mut network.range.1].into_iter().zip(&given) {
        if let Some(at) = given {
            *place = at.value;
        }
    }
    check(&network, &given, table);
    if let Some(at) = table.string("dnsmasq") {
        let file = folder.join(&at.value);
        if !file.is_file() {
            table.report(at.place.finding(format!("there is no file `{file}`"), "name a configuration of dnsmasq"));
        }
        network.dhcp = Dhcp::Dnsmasq(file);
    }
    network
}

/// Reports addresses that do not go together; `given` are those of `web`, `first` and `last`.
fn check(network: &Network, given: &[Option<At<Ipv4Addr>>; 3], table: &Table<'_>) {
    let values = [network.web, network.range.0, network.range.1];
    for ((key, value), given) in ["web", "first", "last"].into_iter().zip(values).zip(given) {
        let place = given.as_ref().map_or_else(|| table.place(), |at| at.place.clone());
        if !network.contains(value) {
            let message = format!("`{key}` is {value}, which is outside of {}/{}", network.server, network.prefix);
            table.report(place.finding(message, "choose an address in the network of `server`"));
        } else if value == network.server || (key != "web" && value == network.web) {
            let message = format!("`{key}` is {value}, which is a server's own address");
            table.report(place.finding(message, "choose another address"));
        }
    }
    if network.range.0 > network.range.1 {
        table.report(table.place().finding("`first` comes after `last`", "exchange them"));
    }
}

fn prefixed(text: &str) -> Result<(Ipv4Addr, u8), String> {
    let parse = || {
        let (address, prefix) = text.split_once('/')?;
        Some((address.parse().ok()?, prefix.parse().ok().filter(|prefix| (8..=30).contains(prefix))?))
    };
    parse().ok_or_else(|| format!("found `{text}`, wanted an IPv4 address and a prefix of 8 to 30 bits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Network, Error> {
        let folder = tempfile::tempdir().unwrap();
        let file = Utf8Path::from_path(folder.path()).unwrap().join("network.toml");
        std::fs::write(&file, text).unwrap();
        std::fs::write(file.with_file_name("dnsmasq.conf"), "").unwrap();
        Network::read(&file)
    }

    #[test]
    fn what_is_not_said_is_as_by_default() {
        assert_eq!(read("").unwrap(), Network::default());
        let network = read("server = \"192.168.88.1/24\"\nweb = \"192.168.88.10\"\nfirst = \"192.168.88.20\"\nlast = \"192.168.88.21\"\ndnsmasq = \"dnsmasq.conf\"\n").unwrap();
        assert_eq!((network.server, network.web), ([192, 168, 88, 1].into(), [192, 168, 88, 10].into()));
        assert!(matches!(network.dhcp, Dhcp::Dnsmasq(file) if file.ends_with("dnsmasq.conf")));
    }

    #[test]
    fn what_is_not_said_has_to_fit_all_the_same() {
        let text = read("server = \"10.0.0.1/24\"\n").unwrap_err().to_string();
        assert_eq!(text.matches(", which is outside of 10.0.0.1/24").count(), 3, "{text}");
        let text = read("web = \"192.0.2.1\"\n").unwrap_err().to_string();
        assert!(text.contains("`web` is 192.0.2.1, which is a server's own address"), "{text}");
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let error = read("server = \"10.0.0.1\"\nweb = \"10.0.0.2\"\nfirst = \"x\"\ndnsmasq = \"gone\"\nlease = 1\n")
            .unwrap_err();
        let text = error.to_string();
        for part in [
            "`server`: found `10.0.0.1`",
            "`web`: `web` is 10.0.0.2, which is outside of 192.0.2.1/24",
            "`first`: ",
            "`dnsmasq`: there is no file",
            "`lease`: ",
        ] {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
    }
}
