//! Content of the web servers, by URL.

use std::collections::HashMap;
use std::fs::File;
use std::net::Ipv4Addr;
use std::sync::Arc;

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};

use crate::boot_test::boot_event::WebServerRole;

/// How the boot test's own servers answer, where that is not as usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// With the content, but piece by piece with long pauses.
    Slow,
    /// By resetting the connection.
    Reset,
    /// With 404.
    NotFound,
}

/// Content of the servers, by URL as a client writes it: `http[s]://HOST[:PORT]/PATH`.
#[derive(Debug, Clone, Default)]
pub struct Pages {
    contents: HashMap<(WebServerRole, String), Arc<[u8]>>,
    /// Folders whose files are below a URL, whatever server has it.
    folders: Vec<(String, Utf8PathBuf)>,
    /// Manners of some URLs, whatever server has them.
    manners: HashMap<String, Manner>,
    /// Manner of all other URLs.
    manner: Option<Manner>,
}

impl Pages {
    /// Adds `content` at `url` of `server`.
    pub fn put(&mut self, server: WebServerRole, url: impl Into<String>, content: Arc<[u8]>) {
        self.contents.insert((server, url.into()), content);
    }

    /// Adds the files of `folder` below `url`, which ends with a slash. What [`put`](Self::put) has added comes first.
    pub fn put_folder(&mut self, url: impl Into<String>, folder: Utf8PathBuf) {
        self.folders.push((url.into(), folder));
    }

    /// Lets the boot test's own servers answer requests for `url` in a `manner`, or all requests.
    pub fn set_manner(&mut self, url: Option<&str>, manner: Manner) {
        match url {
            Some(url) => drop(self.manners.insert(url.to_owned(), manner)),
            None => self.manner = Some(manner),
        }
    }

    /// Returns the manner in which requests for `url` are answered, if it is not the usual one.
    pub(super) fn manner(&self, url: &str) -> Option<Manner> {
        self.manners.get(url).copied().or(self.manner)
    }

    /// Returns whether any request is answered by a reset.
    pub(super) fn resets(&self) -> bool {
        self.manner == Some(Manner::Reset) || self.manners.values().any(|manner| *manner == Manner::Reset)
    }

    /// Opens the file at `url` in one of the folders, and returns its size as well.
    pub(super) fn open(&self, url: &str) -> Option<(File, u64)> {
        let below = |(prefix, folder): &(String, Utf8PathBuf)| {
            let path = url.strip_prefix(prefix.as_str())?.split(['?', '#']).next()?;
            let is_plain = Utf8Path::new(path).components().all(|part| matches!(part, Utf8Component::Normal(_)));
            let file = File::open(folder.join(path)).ok().filter(|_| is_plain && !path.is_empty())?;
            let metadata = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
            Some((file, metadata.len()))
        };
        self.folders.iter().find_map(below)
    }

    /// Returns the content at `url` of `server`.
    pub(in crate::boot_test) fn get(&self, server: WebServerRole, url: &str) -> Option<&Arc<[u8]>> {
        self.contents.get(&(server, url.to_owned()))
    }

    /// Returns all URLs with their contents.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.contents.iter().map(|((_, url), content)| (url.as_str(), &**content))
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
    fn files_of_a_folder_are_below_its_address_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        std::fs::create_dir(root.join("www")).unwrap();
        std::fs::write(root.join("www/menu.ipxe"), "#!ipxe\n").unwrap();
        std::fs::write(root.join("secret"), "x").unwrap();
        let mut pages = Pages::default();
        pages.put_folder("http://192.0.2.10/a/", root.join("www"));
        let size = |url: &str| pages.open(url).map(|(_, size)| size);
        assert_eq!(size("http://192.0.2.10/a/menu.ipxe?mac=1"), Some(7));
        for other in ["http://192.0.2.10/a/", "http://192.0.2.10/a/../secret", "http://192.0.2.10/menu.ipxe"] {
            assert_eq!(size(other), None, "{other}");
        }
    }

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
