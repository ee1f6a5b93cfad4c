//! Faults that a rehearsal can have.

use crate::base::closed_set::closed_set;
use crate::boot_test::dhcp::DeadServices;
use crate::boot_test::web::pages::Manner;

closed_set! {
    /// A fault of the network or of a server.
    pub enum RehearsalFault {
        /// DHCP does not answer.
        NoDhcp = "no-dhcp",
        /// DHCP sends no option 17.
        NoRootPath = "no-root-path",
        /// Names are not resolved.
        NoDns = "no-dns",
        /// No web server listens.
        WebDown = "web-down",
        /// Web servers answer with 404.
        NotFound = "web-404",
        /// Web servers take seconds for each file.
        WebSlow = "web-slow",
        /// Web servers close the connection without an answer.
        WebReset = "web-reset",
        /// No answer over TFTP arrives.
        TftpLoss = "tftp-loss",
    }
}

impl RehearsalFault {
    /// Returns the services that do not answer.
    #[must_use]
    pub fn dead_services(self) -> DeadServices {
        DeadServices { dhcp: self == Self::NoDhcp, dns: self == Self::NoDns, tftp: self == Self::TftpLoss }
    }

    /// Returns the manner in which web servers answer, if it is not the usual one.
    #[must_use]
    pub fn manner(self) -> Option<Manner> {
        match self {
            Self::NotFound => Some(Manner::NotFound),
            Self::WebSlow => Some(Manner::Slow),
            Self::WebReset => Some(Manner::Reset),
            Self::NoDhcp | Self::NoRootPath | Self::NoDns | Self::WebDown | Self::TftpLoss => None,
        }
    }
}
