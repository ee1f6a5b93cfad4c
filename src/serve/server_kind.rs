//! The servers that there are recipes for.

use std::fmt;
use std::str::FromStr;

/// A server that there is a recipe for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServerKind {
    /// `MikroTik` `RouterOS` 7: DHCP and TFTP.
    Routeros,
    /// `MikroTik` `RouterOS` 6: DHCP and TFTP.
    Routeros6,
    /// dnsmasq: DHCP and TFTP.
    Dnsmasq,
    /// dnsmasq beside another DHCP server, and TFTP.
    DnsmasqProxy,
    /// ISC Kea: DHCP.
    Kea,
    /// ISC dhcpd: DHCP.
    IscDhcpd,
    /// systemd-networkd: DHCP for one kind of firmware.
    SystemdNetworkd,
    /// nginx: HTTP.
    Nginx,
    /// nginx on a Synology NAS: HTTP.
    NginxSynology,
    /// Caddy: HTTP.
    Caddy,
    /// tftpd-hpa: TFTP.
    TftpdHpa,
}

impl ServerKind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Routeros,
        Self::Routeros6,
        Self::Dnsmasq,
        Self::DnsmasqProxy,
        Self::Kea,
        Self::IscDhcpd,
        Self::SystemdNetworkd,
        Self::Nginx,
        Self::NginxSynology,
        Self::Caddy,
        Self::TftpdHpa,
    ];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Routeros => "routeros",
            Self::Routeros6 => "routeros-6",
            Self::Dnsmasq => "dnsmasq",
            Self::DnsmasqProxy => "dnsmasq-proxy",
            Self::Kea => "kea",
            Self::IscDhcpd => "isc-dhcpd",
            Self::SystemdNetworkd => "systemd-networkd",
            Self::Nginx => "nginx",
            Self::NginxSynology => "nginx-synology",
            Self::Caddy => "caddy",
            Self::TftpdHpa => "tftpd-hpa",
        }
    }

    /// Whether it tells machines what to load and where to go.
    #[must_use]
    pub fn is_dhcp(self) -> bool {
        !matches!(self, Self::Nginx | Self::NginxSynology | Self::Caddy | Self::TftpdHpa)
    }

    /// What it is, in one line.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Routeros => "DHCP and TFTP by MikroTik RouterOS 7, and an undo",
            Self::Routeros6 => "the same for RouterOS 6, which cannot tell firmwares apart",
            Self::Dnsmasq => "DHCP and TFTP by dnsmasq",
            Self::DnsmasqProxy => "dnsmasq beside a DHCP server that is not to be changed",
            Self::Kea => "DHCP by Kea",
            Self::IscDhcpd => "DHCP by ISC dhcpd",
            Self::SystemdNetworkd => "DHCP by systemd-networkd, for machines with UEFI",
            Self::Nginx => "HTTP by nginx",
            Self::NginxSynology => "HTTP by the nginx of a Synology NAS",
            Self::Caddy => "HTTP by Caddy",
            Self::TftpdHpa => "TFTP by tftpd-hpa",
        }
    }
}

/// No recipe has that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no recipe `{0}`")]
pub struct UnknownServerKind(String);

impl FromStr for ServerKind {
    type Err = UnknownServerKind;

    fn from_str(name: &str) -> Result<Self, UnknownServerKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name).ok_or_else(|| UnknownServerKind(name.to_owned()))
    }
}

impl fmt::Display for ServerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
