//! Servers whose configuration can be tested.

use crate::base::closed_set::closed_set;
use crate::serve::server_config::ServerKind;

closed_set! {
    /// A DHCP server whose configuration can be tested.
    pub enum Daemon {
        /// dnsmasq.
        Dnsmasq = "dnsmasq",
        /// dnsmasq beside another server, which leases addresses and does nothing else.
        DnsmasqProxy = "dnsmasq-proxy",
        /// ISC Kea.
        Kea = "kea",
        /// ISC dhcpd.
        IscDhcpd = "isc-dhcpd",
    }
}

closed_set! {
    /// A web server whose configuration can be tested.
    pub enum WebServer {
        /// nginx.
        Nginx = "nginx",
        /// Caddy.
        Caddy = "caddy",
    }
}

impl WebServer {
    /// Returns its recipe.
    #[must_use]
    pub fn recipe(self) -> ServerKind {
        match self {
            Self::Nginx => ServerKind::Nginx,
            Self::Caddy => ServerKind::Caddy,
        }
    }
}

impl Daemon {
    /// Returns the name of its program among the tools of a boot test.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::Dnsmasq | Self::DnsmasqProxy => "dnsmasq",
            Self::Kea | Self::IscDhcpd => self.as_str(),
        }
    }

    /// Returns its recipe.
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
