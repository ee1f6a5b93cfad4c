//! DHCP and TFTP for a machine. TFTP is always dnsmasq's, and so is DHCP, unless another [`Daemon`] is to be tried.

pub mod daemon;
pub mod dnsmasq;

use camino::{Utf8Path, Utf8PathBuf};
use rustix::process::Signal;

pub use self::daemon::Daemon;

use super::happening::Witness;
use super::kit::Kit;
use super::network::{Dhcp, Network};
use super::server;
use crate::fs;
use crate::process::{self, Command, Running};
use crate::quote::Refused;

/// The folder that TFTP serves, in the folder that the server works in. All its paths are relative to that, or go
/// through the kernel's name for it: no character in a path can then have a meaning of its own in the
/// configuration or the log.
pub const SERVED: &str = "tftp";

/// What machines are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Option 67, a path in the TFTP folder.
    pub loader: Utf8PathBuf,
    /// Option 17 from the beginning.
    pub root_path: Option<String>,
    /// Option 17 in the network of a second card, where the machine has one.
    pub second_card: Option<Option<String>>,
}

/// DHCP and TFTP servers at work; they end when dropped.
pub struct Server {
    dnsmasq: Running,
    options: Utf8PathBuf,
    _others: Vec<Running>,
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does not start.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// The configuration that was given is not one.
    #[error(transparent)]
    Configuration(#[from] daemon::NotConfiguration),
    /// The loader has a name that no configuration can hold.
    #[error("the tree has a loader that no DHCP server can offer: {0}\nhint: build the tree anew")]
    Name(#[from] Refused),
    /// A file cannot be written.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Server {
    /// Starts servers, with programs from `kit`, in the network that this thread is in. They work in `folder`,
    /// and serve what is below [`SERVED`] there. What their logs say goes to `witness`.
    ///
    /// # Errors
    ///
    /// [`Error`] where one cannot be started; where it ends later, `witness` hears of it.
    pub fn start(
        kit: &Kit,
        network: &Network,
        offer: &Offer,
        folder: &Utf8Path,
        witness: &Witness,
    ) -> Result<Self, Error> {
        let options = folder.join(dnsmasq::OPTIONS);
        fs::write_atomic(&options, dnsmasq::options_text(offer.root_path.as_deref()).as_bytes())?;
        let configuration = dnsmasq::configuration(network, offer)?;
        fs::write_atomic(&folder.join(dnsmasq::CONFIGURATION), configuration.as_bytes())?;
        let mut others = Vec::new();
        match &network.dhcp {
            Dhcp::Own => {}
            Dhcp::Given(Daemon::Dnsmasq, text) => fs::write_atomic(&folder.join(dnsmasq::GIVEN), text.as_bytes())?,
            Dhcp::Given(daemon, text) => {
                let command = daemon.prepare(&kit.dhcp, text, folder)?;
                others.push(server::start(daemon.as_str(), command, folder, daemon.parser(), witness)?);
            }
        }
        let dnsmasq = |configuration: &str| {
            let command = Command::new("answer DHCP and TFTP", kit.dnsmasq.as_str());
            let command = command.args([format!("--conf-file={configuration}")]);
            server::start("dnsmasq", command, folder, dnsmasq::parse, witness)
        };
        if let Some(root_path) = &offer.second_card {
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
    /// [`fs::Error`] where that cannot be written.
    pub fn offer_root_path(&self, url: &str) -> Result<(), fs::Error> {
        fs::write_atomic(&self.options, dnsmasq::options_text(Some(url)).as_bytes())?;
        self.dnsmasq.signal(Signal::HUP);
        Ok(())
    }
}
