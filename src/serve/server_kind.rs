//! Server programs for which there are recipes.

use crate::base::closed_set::closed_set;

closed_set! {
    /// A server program for which there is a recipe.
    pub enum ServerKind {
        /// `MikroTik` `RouterOS` 7: DHCP and TFTP.
        Routeros = "routeros",
        /// `MikroTik` `RouterOS` 6: DHCP and TFTP.
        Routeros6 = "routeros-6",
        /// dnsmasq: DHCP and TFTP.
        Dnsmasq = "dnsmasq",
        /// dnsmasq beside another DHCP server, with TFTP.
        DnsmasqProxy = "dnsmasq-proxy",
        /// ISC Kea: DHCP.
        Kea = "kea",
        /// ISC dhcpd: DHCP.
        IscDhcpd = "isc-dhcpd",
        /// systemd-networkd: DHCP for one kind of firmware.
        SystemdNetworkd = "systemd-networkd",
        /// nginx: HTTP.
        Nginx = "nginx",
        /// nginx on a Synology NAS: HTTP.
        NginxSynology = "nginx-synology",
        /// Caddy: HTTP.
        Caddy = "caddy",
        /// tftpd-hpa: TFTP.
        TftpdHpa = "tftpd-hpa",
    }
}

impl ServerKind {
    /// Checks whether the server tells machines what to load and where to go, which only DHCP does.
    #[must_use]
    pub fn is_dhcp(self) -> bool {
        !matches!(self, Self::Nginx | Self::NginxSynology | Self::Caddy | Self::TftpdHpa)
    }

    /// Checks whether the recipe recognises loaders by their user class.
    #[must_use]
    pub fn matches_user_class(self) -> bool {
        matches!(self, Self::Dnsmasq | Self::DnsmasqProxy | Self::Kea | Self::IscDhcpd)
    }

    /// Returns a description in one line.
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
