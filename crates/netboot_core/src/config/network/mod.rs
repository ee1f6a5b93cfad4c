//! `embed-scripts/network.toml`: the network that machines boot in, and which machine boots what. Server recipes are
//! generated from it; loaders do not depend on it.

pub mod address;
mod fields;
mod host;
mod ignition_settings;

use std::net::Ipv4Addr;

use camino::{Utf8Path, Utf8PathBuf};
use ipnet::Ipv4Net;

use self::address::subnet;
pub use self::address::{Mac, Range, WebAddress};
pub use self::host::NetworkHost;
pub use self::ignition_settings::IgnitionSettings;

pub use self::fields::LONGEST_FILE;
use self::fields::{SubnetRules, addresses, boot, folder, interface, web_address};
use super::sites::{Site, Sites};
use super::toml::{self, Table, TomlFile};
use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Diagnostic, Diagnostics};
use crate::base::{fs, secrets};

/// Default folder of the tree on a server.
const SERVED: &str = "/srv/tftp";

/// The network configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkConfig {
    /// The subnet.
    pub subnet: Ipv4Net,
    /// The TFTP server: next-server and option 66.
    pub tftp_server: Ipv4Addr,
    /// The folder that the TFTP server serves, as a path on that server, if given.
    tftp_root: Option<Utf8PathBuf>,
    /// The address of the tree over HTTP.
    pub http: WebAddress,
    /// The folder at that address, as a path on the web server.
    pub http_root: Utf8PathBuf,
    /// The ranges that the DHCP server assigns to unknown machines.
    pub ranges: Vec<Range>,
    /// The gateway (option 3).
    pub gateway: Option<Ipv4Addr>,
    /// The DNS servers (option 6).
    pub dns: Vec<Ipv4Addr>,
    /// The DHCP server's interface.
    pub interface: String,
    /// The boot script of the machines (option 17).
    pub boot: Option<WebAddress>,
    /// The known machines.
    pub hosts: Vec<NetworkHost>,
    /// Settings that machines get on first boot, if any.
    pub ignition: Option<IgnitionSettings>,
    /// Warnings for users who publish what is generated from the file.
    pub warnings: Vec<Diagnostic>,
}

/// Errors from reading the network configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Errors in the content of the file.
    #[error(transparent)]
    Findings(#[from] Diagnostics),
    /// The file does not exist.
    #[error("there is no `{0}`, which defines the addresses of servers and machines")]
    Absent(Utf8PathBuf),
    /// The file has only comments.
    #[error("`{0}` has no settings yet")]
    Blank(Utf8PathBuf),
    /// The file cannot be read.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Findings(findings) => findings.diagnosis(),
            Self::Absent(file) if file.file_name() != Some("network.toml") => {
                Class::BadInput.about(file).help("give the path of a file that describes the network")
            }
            Self::Absent(file) => Class::BadInput.about(file).help(
                "bring back the one that comes with this tool with `git checkout embed-scripts/network.toml`, and change it",
            ),
            Self::Blank(file) => Class::BadInput.about(file).help("remove the `#` of the lines that you need, and write your own addresses"),
            Self::Fs(error) => Diagnosis { class: Class::BadInput, ..error.diagnosis() },
        }
    }
}

impl NetworkConfig {
    /// Reads `file`, whose hosts can use any of the `sites`.
    ///
    /// # Errors
    ///
    /// [`Error`] with all errors in the file.
    pub fn read(file: &Utf8Path, sites: &Sites) -> Result<Self, Error> {
        let content = fs::read_text_if_exists(file)?.ok_or_else(|| Error::Absent(file.to_owned()))?;
        let text = toml::utf8(file, &content)?;
        if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
            return Err(Error::Blank(file.to_owned()));
        }
        let mut network = TomlFile::new(file, text).read(|table| Self::of(table, &sites.sites))?;
        network.warnings = secrets::find(&content).iter().map(|secret| secret.warning(file.as_str())).collect();
        Ok(network)
    }

    /// Returns the folder that the TFTP server serves, as a path on that server.
    #[must_use]
    pub fn tftp_root(&self) -> &Utf8Path {
        self.tftp_root.as_deref().unwrap_or(Utf8Path::new(SERVED))
    }

    /// Returns the folder that the TFTP server serves if it is a router, whose paths have no leading slash.
    #[must_use]
    pub fn router_folder(&self) -> &str {
        self.tftp_root.as_ref().map_or("tftp", |root| root.as_str().trim_start_matches('/'))
    }

    /// Reads the configuration from `table`, whose hosts can use any of the `sites`.
    pub fn of(table: &Table<'_>, sites: &[Site]) -> Option<Self> {
        let subnet = table.parsed("subnet", "write it as in \"192.168.88.0/24\"", subnet);
        let subnet = table.require("subnet", subnet, "say which network it is, as in subnet = \"192.168.88.0/24\"");
        let mut subnet_rules = SubnetRules { table, subnet: subnet.as_ref().map(|at| at.value), servers: Vec::new() };
        let server = subnet_rules.address("tftp-server");
        let server = table.require("tftp-server", server, "say which address the TFTP server has");
        let http = web_address(table, "http-url");
        let http =
            table.require("http-url", http, "say where the tree can be had, as in \"http://192.168.88.10/tftp\"");
        let gateway = subnet_rules.address("gateway").map(|at| at.value);
        let dns = addresses(table, "dns", subnet_rules.subnet);
        let web = http.as_ref().and_then(|at| at.value.host().parse().ok());
        let servers = [
            ("the TFTP server", server.as_ref().map(|at| at.value)),
            ("the web server", web),
            ("the gateway", gateway),
        ];
        subnet_rules.servers = servers.into_iter().filter_map(|(name, address)| Some((name, address?))).collect();
        let ranges = subnet_rules.ranges();
        let tftp_root = folder(table, "tftp-root");
        let http_root = folder(table, "http-root").or_else(|| tftp_root.clone()).unwrap_or_else(|| SERVED.into());
        let interface = table.parsed("interface", "name it as the server does", interface);
        let base = http.map(|at| at.value);
        let boot = boot(table, base.as_ref());
        let hosts = host::read(table, &subnet_rules, base.as_ref(), sites);
        let ignition = table.table("ignition", |table| Some(ignition_settings::read(table))).map(|at| at.value);
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
