//! HTTP for a machine: the boot test's own servers, or a program that is configured by its recipe.

pub mod caddy;
mod error;
pub mod nginx;
pub mod own;
pub mod pages;
mod resetting;
pub mod tls;

use std::net::Ipv4Addr;
use std::sync::Arc;

use camino::Utf8Path;

pub use self::error::Error;
use self::own::OwnWebServer;
use self::pages::{ListenAddress, Pages};
use super::boot_event::{EventSink, WebServerRole};
use super::daemon::WebServer;
use super::network::{HttpSetup, TestNetwork};
use super::tools::ServerTools;
use crate::base::process::Running;
use crate::base::progress::Progress;

/// What web servers a network has.
pub struct WebSetup<'a> {
    /// The programs that they may be.
    pub tools: &'a ServerTools,
    /// The network.
    pub network: &'a TestNetwork,
    /// Role, address and port of each; none if the server is down.
    pub servers: &'a [(WebServerRole, Ipv4Addr, u16)],
    /// Ports on which a server uses TLS, on any address.
    pub tls_ports: &'a [u16],
}

/// Running web servers; they end when dropped.
pub struct Servers {
    _own: Vec<OwnWebServer>,
    _programs: Vec<Running>,
}

impl Servers {
    /// Starts the servers of `setup` in the network namespace of this thread. They serve `pages`, and report requests to
    /// `sink`. Programs work in `folder`.
    ///
    /// # Errors
    ///
    /// [`Error`] if a server cannot be started. If a program ends later, `sink` receives an event.
    pub fn start(
        setup: &WebSetup<'_>,
        pages: Pages,
        folder: &Utf8Path,
        (sink, progress): (&EventSink, &dyn Progress),
    ) -> Result<Self, Error> {
        let WebSetup { tools, network, servers, tls_ports } = *setup;
        let (mut own, mut programs) = (Vec::new(), Vec::new());
        match &network.http {
            // The server is down.
            _ if servers.is_empty() => {}
            HttpSetup::Own => {
                let pages = Arc::new(pages);
                for (name, address, port) in servers {
                    let bound = ListenAddress { name: *name, address: *address, port: *port, tls: false };
                    own.push(OwnWebServer::start(bound, Arc::clone(&pages), sink.clone())?);
                }
                if let Some(tls) = network.tls.as_ref().filter(|_| !tls_ports.is_empty()) {
                    for port in tls_ports {
                        let bound = ListenAddress {
                            name: WebServerRole::Elsewhere,
                            address: Ipv4Addr::LOCALHOST,
                            port: *port,
                            tls: true,
                        };
                        own.push(OwnWebServer::start(bound, Arc::clone(&pages), sink.clone())?);
                    }
                    tls::write_config(tls, tls_ports, folder)?;
                    programs.push(tls::start(tools, folder, sink)?);
                }
            }
            HttpSetup::Given(WebServer::Nginx, text) => {
                nginx::write_config(text, &pages, network, folder)?;
                programs.push(nginx::start(tools, network, folder, sink)?);
            }
            HttpSetup::Given(WebServer::Caddy, text) => {
                programs.push(caddy::start(text, &pages, (tools, network), folder, (sink, progress))?);
            }
        }
        Ok(Self { _own: own, _programs: programs })
    }
}
