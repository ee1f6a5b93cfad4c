//! DHCP and TFTP for a machine. dnsmasq always serves TFTP; it also answers DHCP unless another [`Daemon`] is under
//! test.

mod daemon;
pub mod dnsmasq;
mod error;
mod offer;

use camino::{Utf8Path, Utf8PathBuf};
use rustix::process::Signal;

pub use self::error::{Error, NotConfiguration};
pub use self::offer::{DeadServices, Offer, SERVED};
use super::daemon::Daemon;

use super::boot_event::EventSink;
use super::network::{DhcpSetup, TestNetwork};
use super::server;
use super::tools::ServerTools;
use crate::base::fs;
use crate::base::process::{Command, Running};

/// Running DHCP and TFTP servers; they end when dropped.
pub struct DhcpServer {
    dnsmasq: Running,
    options: Utf8PathBuf,
    _others: Vec<Running>,
}

impl DhcpServer {
    /// Starts the servers, with programs from `tools`, in the network namespace of this thread. They work in `folder`,
    /// and serve the files below [`SERVED`] there. Events in their logs go to `sink`.
    ///
    /// # Errors
    ///
    /// [`Error`] if a server cannot be started. If one ends later, `sink` receives an event.
    pub fn start(
        tools: &ServerTools,
        network: &TestNetwork,
        offer: &Offer,
        folder: &Utf8Path,
        sink: &EventSink,
    ) -> Result<Self, Error> {
        let options = folder.join(dnsmasq::OPTIONS);
        fs::write_atomic(&options, dnsmasq::options_text(offer.root_path.as_deref()).as_bytes())?;
        let configuration = dnsmasq::configuration(network, offer)?;
        fs::write_atomic(&folder.join(dnsmasq::CONFIGURATION), configuration.as_bytes())?;
        let mut others = Vec::new();
        match &network.dhcp {
            DhcpSetup::Own => {}
            DhcpSetup::Given(Daemon::Dnsmasq, text) => fs::write_atomic(&folder.join(dnsmasq::GIVEN), text.as_bytes())?,
            DhcpSetup::Given(daemon, text) => {
                let command = daemon.prepare(&tools.dhcp, text, folder)?;
                others.push(server::start(daemon.as_str(), command, folder, daemon.parser(), sink)?);
            }
        }
        let dnsmasq = |configuration: &str| {
            let command = Command::new("answer DHCP and TFTP", tools.dnsmasq.as_str());
            let command = command.args([format!("--conf-file={configuration}")]);
            server::start("dnsmasq", command, folder, dnsmasq::parse, sink)
        };
        if let Some(root_path) = &offer.second_nic_root_path {
            let configuration = dnsmasq::second(network, root_path.as_deref());
            fs::write_atomic(&folder.join(dnsmasq::SECOND), configuration.as_bytes())?;
            others.push(dnsmasq(dnsmasq::SECOND)?);
        }
        Ok(Self { dnsmasq: dnsmasq(dnsmasq::CONFIGURATION)?, options, _others: others })
    }

    /// Sends option 17 from now on.
    ///
    /// # Errors
    ///
    /// [`fs::Error`] if the file with the option cannot be written.
    pub fn offer_root_path(&self, url: &str) -> Result<(), fs::Error> {
        fs::write_atomic(&self.options, dnsmasq::options_text(Some(url)).as_bytes())?;
        self.dnsmasq.signal(Signal::HUP);
        Ok(())
    }
}
