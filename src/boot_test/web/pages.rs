//! Content of the web servers, by URL.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::boot_test::boot_event::WebServerRole;

/// Content of the servers, by URL as a client writes it: `http[s]://HOST[:PORT]/PATH`.
#[derive(Debug, Clone, Default)]
pub struct Pages(HashMap<(WebServerRole, String), Arc<[u8]>>);

impl Pages {
    /// Adds `content` at `url` of `server`.
    pub fn put(&mut self, server: WebServerRole, url: impl Into<String>, content: Arc<[u8]>) {
        self.0.insert((server, url.into()), content);
    }

    /// Returns the content at `url` of `server`.
    pub(in crate::boot_test) fn get(&self, server: WebServerRole, url: &str) -> Option<&Arc<[u8]>> {
        self.0.get(&(server, url.to_owned()))
    }

    /// Returns all URLs with their contents.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|((_, url), content)| (url.as_str(), &**content))
    }
}

/// Where one of the boot test's own servers listens, and in which role.
#[derive(Debug, Clone, Copy)]
pub struct ListenAddress {
    /// Role of the server.
    pub name: WebServerRole,
    /// Address that it listens on.
    pub address: Ipv4Addr,
    /// The port.
    pub port: u16,
    /// Whether its clients use TLS, which a proxy in front of it terminates.
    pub tls: bool,
}

impl ListenAddress {
    /// Returns the scheme and the authority of a requested URL; `host` is the client's `Host` header.
    pub(super) fn origin(self, host: Option<&str>) -> String {
        let (scheme, usual) = if self.tls { ("https", 443) } else { ("http", 80) };
        format!("{scheme}://{}", authority(self.name, (self.address, self.port), usual, host))
    }
}

/// Returns the host of a requested URL, with the port if it is not the `usual` one. For a server with a single address,
/// that is this address: a client that contacts the wrong server sends the right name.
pub(super) fn authority(
    name: WebServerRole,
    (address, port): (Ipv4Addr, u16),
    usual: u16,
    host: Option<&str>,
) -> String {
    let port = if port == usual { String::new() } else { format!(":{port}") };
    let own = format!("{address}{port}");
    if name == WebServerRole::Elsewhere {
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
        assert_eq!(authority(WebServerRole::NextServer, here, 80, Some("192.0.2.2")), "192.0.2.1");
        assert_eq!(
            authority(WebServerRole::Elsewhere, ([0, 0, 0, 0].into(), 80), 80, Some("boot.example.org")),
            "boot.example.org"
        );
        let odd = ([0, 0, 0, 0].into(), 8080);
        assert_eq!(authority(WebServerRole::Elsewhere, odd, 80, Some("10.0.0.1:8080")), "10.0.0.1:8080");
        assert_eq!(authority(WebServerRole::Elsewhere, odd, 80, Some("10.0.0.1")), "10.0.0.1:8080");
    }

    #[test]
    fn what_came_over_tls_is_an_address_with_https() {
        let origin = |port, host| {
            ListenAddress { name: WebServerRole::Elsewhere, address: Ipv4Addr::LOCALHOST, port, tls: true }
                .origin(Some(host))
        };
        assert_eq!(origin(443, "192.0.2.2"), "https://192.0.2.2");
        assert_eq!(origin(8443, "boot.example.org:8443"), "https://boot.example.org:8443");
    }
}
