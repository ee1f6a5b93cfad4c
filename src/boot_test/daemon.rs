//! DHCP servers whose configurations can be tried.

use std::fmt;
use std::str::FromStr;

use crate::serve::server_config::ServerKind;

/// A DHCP server whose configuration can be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Daemon {
    /// dnsmasq.
    Dnsmasq,
    /// dnsmasq beside another server, which gives addresses and nothing else.
    DnsmasqProxy,
    /// ISC Kea.
    Kea,
    /// ISC dhcpd.
    IscDhcpd,
}

/// No such server can be tried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no DHCP server `{0}` to be tried")]
pub struct UnknownDaemon(String);

impl Daemon {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Dnsmasq, Self::DnsmasqProxy, Self::Kea, Self::IscDhcpd];

    /// Its name, which is that of its recipe.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dnsmasq => "dnsmasq",
            Self::DnsmasqProxy => "dnsmasq-proxy",
            Self::Kea => "kea",
            Self::IscDhcpd => "isc-dhcpd",
        }
    }

    /// Its program, by the name of what a boot test needs.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::Dnsmasq | Self::DnsmasqProxy => "dnsmasq",
            Self::Kea | Self::IscDhcpd => self.as_str(),
        }
    }

    /// Its recipe.
    #[must_use]
    pub fn recipe(self) -> ServerKind {
        match self {
            Self::Dnsmasq => ServerKind::Dnsmasq,
            Self::DnsmasqProxy => ServerKind::DnsmasqProxy,
            Self::Kea => ServerKind::Kea,
            Self::IscDhcpd => ServerKind::IscDhcpd,
        }
    }
}

impl FromStr for Daemon {
    type Err = UnknownDaemon;

    fn from_str(name: &str) -> Result<Self, UnknownDaemon> {
        Self::ALL.into_iter().find(|daemon| daemon.as_str() == name).ok_or_else(|| UnknownDaemon(name.to_owned()))
    }
}

impl fmt::Display for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
