//! HTTP for a machine: servers of the boot test's own, or a program that is configured by its recipe.

pub mod nginx;
pub mod own;

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

/// What servers have, by address as a client would write it: `http://HOST[:PORT]/PATH`.
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
    _program: Option<Running>,
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
        let (mut own, mut program) = (Vec::new(), None);
        match &network.http {
            // A server that is down.
            _ if service.servers.is_empty() => {}
            Http::Own => {
                let pages = Arc::new(pages);
                for (name, address, port) in &service.servers {
                    own.push(Web::start(*name, *address, *port, Arc::clone(&pages), witness.clone())?);
                }
            }
            Http::Nginx(given) => {
                nginx::lay_out(given, &pages, network, folder)?;
                program = Some(nginx::start(request.kit, network, folder, witness)?);
            }
        }
        Ok(Self { _own: own, _program: program })
    }
}

/// The host of the address that the client asked for. A server with one address goes by that, because a
/// client that asks the wrong server says the right name.
fn authority(name: Asked, (address, port): (Ipv4Addr, u16), host: Option<&str>) -> String {
    let port = if port == 80 { String::new() } else { format!(":{port}") };
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
        assert_eq!(authority(Asked::NextServer, here, Some("192.0.2.2")), "192.0.2.1");
        assert_eq!(
            authority(Asked::Elsewhere, ([0, 0, 0, 0].into(), 80), Some("boot.example.org")),
            "boot.example.org"
        );
        let odd = ([0, 0, 0, 0].into(), 8080);
        assert_eq!(authority(Asked::Elsewhere, odd, Some("10.0.0.1:8080")), "10.0.0.1:8080");
        assert_eq!(authority(Asked::Elsewhere, odd, Some("10.0.0.1")), "10.0.0.1:8080");
    }
}
