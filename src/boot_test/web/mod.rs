//! HTTP for a machine: servers of the boot test's own, or a program that is configured by its recipe.

pub mod nginx;
pub mod own;
pub mod tls;

use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use camino::Utf8Path;

use self::own::Web;
use super::Request;
use super::happening::{Asked, Witness};
use super::network::Http;
use super::service::Service;
use crate::fs;
use crate::process::{self, Running};

/// What servers have, by address as a client would write it: `http[s]://HOST[:PORT]/PATH`.
#[derive(Debug, Clone, Default)]
pub struct Pages(HashMap<(Asked, String), Arc<[u8]>>);

impl Pages {
    /// Puts `content` at `url` of `server`.
    pub fn put(&mut self, server: Asked, url: impl Into<String>, content: Arc<[u8]>) {
        self.0.insert((server, url.into()), content);
    }

    /// What is at `url` of `server`.
    fn get(&self, server: Asked, url: &str) -> Option<&Arc<[u8]>> {
        self.0.get(&(server, url.to_owned()))
    }

    /// All of it: address and content.
    fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|((_, url), content)| (url.as_str(), &**content))
    }
}

/// Web servers at work; they end when dropped.
pub struct Servers {
    _own: Vec<Web>,
    _programs: Vec<Running>,
}

/// Why there is no web server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port cannot be had.
    #[error("cannot serve HTTP in the test network: {0}")]
    Listen(#[from] io::Error),
    /// The program does not start.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// A file cannot be written.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Servers {
    /// Starts the servers of `service`, as `request` wants them, in the network that this thread is in: they have
    /// `pages`, and tell `witness` what they are asked for. A program works in `folder`.
    ///
    /// # Errors
    ///
    /// [`Error`] where one cannot be started; where a program ends later, `witness` hears of it.
    pub fn start(
        request: &Request<'_>,
        service: &Service,
        pages: Pages,
        folder: &Utf8Path,
        witness: &Witness,
    ) -> Result<Self, Error> {
        let network = &request.network;
        let (mut own, mut programs) = (Vec::new(), Vec::new());
        match &network.http {
            // A server that is down.
            _ if service.servers.is_empty() => {}
            Http::Own => {
                let pages = Arc::new(pages);
                for (name, address, port) in &service.servers {
                    let bound = Bound { name: *name, address: *address, port: *port, tls: false };
                    own.push(Web::start(bound, Arc::clone(&pages), witness.clone())?);
                }
                if let Some(tls) = network.tls.as_ref().filter(|_| !service.tls_ports.is_empty()) {
                    for port in &service.tls_ports {
                        let bound =
                            Bound { name: Asked::Elsewhere, address: Ipv4Addr::LOCALHOST, port: *port, tls: true };
                        own.push(Web::start(bound, Arc::clone(&pages), witness.clone())?);
                    }
                    tls::lay_out(tls, &service.tls_ports, folder)?;
                    programs.push(tls::start(request.kit, folder, witness)?);
                }
            }
            Http::Nginx(given) => {
                nginx::lay_out(given, &pages, network, folder)?;
                programs.push(nginx::start(request.kit, network, folder, witness)?);
            }
        }
        Ok(Self { _own: own, _programs: programs })
    }
}

/// Where a server of the boot test's own listens, and for whom.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    /// Which server it is.
    pub name: Asked,
    /// The address that it listens at.
    pub address: Ipv4Addr,
    /// The port.
    pub port: u16,
    /// Whether its clients speak TLS, with something before it.
    pub tls: bool,
}

impl Bound {
    /// Scheme and authority of the address that a client asked for, whose header `Host` is `host`.
    fn origin(self, host: Option<&str>) -> String {
        let (scheme, usual) = if self.tls { ("https", 443) } else { ("http", 80) };
        format!("{scheme}://{}", authority(self.name, (self.address, self.port), usual, host))
    }
}

/// The host of the address that the client asked for, with the port where it is not the `usual` one. A server with one
/// address goes by that, because a client that asks the wrong server says the right name.
fn authority(name: Asked, (address, port): (Ipv4Addr, u16), usual: u16, host: Option<&str>) -> String {
    let port = if port == usual { String::new() } else { format!(":{port}") };
    let own = format!("{address}{port}");
    if name == Asked::Elsewhere {
        let host = host.map(|host| host.split_once(':').map_or(host, |(host, _)| host));
        host.map_or(own, |host| format!("{host}{port}"))
    } else {
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_with_one_address_goes_by_that() {
        let here = ([192, 0, 2, 1].into(), 80);
        assert_eq!(authority(Asked::NextServer, here, 80, Some("192.0.2.2")), "192.0.2.1");
        assert_eq!(
            authority(Asked::Elsewhere, ([0, 0, 0, 0].into(), 80), 80, Some("boot.example.org")),
            "boot.example.org"
        );
        let odd = ([0, 0, 0, 0].into(), 8080);
        assert_eq!(authority(Asked::Elsewhere, odd, 80, Some("10.0.0.1:8080")), "10.0.0.1:8080");
        assert_eq!(authority(Asked::Elsewhere, odd, 80, Some("10.0.0.1")), "10.0.0.1:8080");
    }

    #[test]
    fn what_came_over_tls_is_an_address_with_https() {
        let origin = |port, host| {
            Bound { name: Asked::Elsewhere, address: Ipv4Addr::LOCALHOST, port, tls: true }.origin(Some(host))
        };
        assert_eq!(origin(443, "192.0.2.2"), "https://192.0.2.2");
        assert_eq!(origin(8443, "boot.example.org:8443"), "https://boot.example.org:8443");
    }
}
