//! Content of the web servers, by URL.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};
use percent_encoding::percent_decode_str;
use rustix::fs::OFlags;

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
    /// Files at URLs, and folders whose files are below a URL that ends with a slash, whatever server has it. They come
    /// before all else.
    files: Vec<(String, Utf8PathBuf)>,
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

    /// Adds the file at `path`, or the files in the folder `path` if `url` ends with a slash. They come before what
    /// [`put`](Self::put) adds. Of two, the one with the longer URL counts.
    pub fn put_path(&mut self, url: impl Into<String>, path: Utf8PathBuf) {
        self.files.push((url.into(), path));
        self.files.sort_by_key(|(url, _)| std::cmp::Reverse(url.len()));
    }

    /// Lets the boot test's own servers answer requests for `url` in a `manner`, or all requests. A URL that ends with a
    /// slash stands for all below it.
    pub fn set_manner(&mut self, url: Option<&str>, manner: Manner) {
        match url {
            Some(url) => drop(self.manners.insert(url.to_owned(), manner)),
            None => self.manner = Some(manner),
        }
    }

    /// Returns the manner in which requests for `url` are answered, if it is not the usual one.
    pub(super) fn manner(&self, url: &str) -> Option<Manner> {
        let below = |(prefix, manner): (&String, &Manner)| {
            (prefix.ends_with('/') && url.starts_with(prefix.as_str())).then_some(*manner)
        };
        self.manners.get(url).copied().or_else(|| self.manners.iter().find_map(below)).or(self.manner)
    }

    /// Returns whether any request is answered by a reset.
    pub(super) fn resets(&self) -> bool {
        self.manner == Some(Manner::Reset) || self.manners.values().any(|manner| *manner == Manner::Reset)
    }

    /// Opens the file that is given for `url`, and returns its size as well.
    pub(super) fn open(&self, url: &str) -> Option<(File, u64)> {
        let plain = url.split(['?', '#']).next().unwrap_or_default();
        self.files.iter().find_map(|(given, path)| {
            if !given.ends_with('/') {
                return if [url, plain].contains(&given.as_str()) { open_file(path) } else { None };
            }
            // Programs that copy web servers keep queries as parts of names.
            [url, plain].into_iter().find_map(|url| {
                let below = percent_decode_str(url.strip_prefix(given.as_str())?).decode_utf8().ok()?;
                let name =
                    if below.is_empty() || below.ends_with('/') { format!("{below}index.html") } else { below.into() };
                let is_plain = Utf8Path::new(&name).components().all(|part| matches!(part, Utf8Component::Normal(_)));
                if is_plain { open_file(&path.join(name)) } else { None }
            })
        })
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

/// Opens a regular file, without waiting for anything else, and returns its size as well.
fn open_file(path: &Utf8Path) -> Option<(File, u64)> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    let metadata = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
    Some((file, metadata.len()))
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
        std::fs::create_dir_all(root.join("www/b")).unwrap();
        for (name, content) in
            [("www/menu.ipxe", "#!ipxe\n"), ("www/q?mac=1", "q"), ("www/b/index.html", "ab"), ("x", "abc")]
        {
            std::fs::write(root.join(name), content).unwrap();
        }
        let mut pages = Pages::default();
        pages.put_path("http://192.0.2.10/a/", root.join("www"));
        pages.put_path("http://192.0.2.10/a/menu.txt", root.join("x"));
        let size = |url: &str| pages.open(&format!("http://192.0.2.10/{url}")).map(|(_, size)| size);
        for (url, found) in [
            ("a/menu.ipxe?mac=1", Some(7)),
            ("a/menu%2Eipxe", Some(7)),
            ("a/q?mac=1", Some(1)),
            ("a/q?mac=2", None),
            ("a/b/", Some(2)),
            ("a/menu.txt", Some(3)),
            ("a/menu.txt?a=b", Some(3)),
            ("a/../x", None),
            ("a/%2e%2e/x", None),
            ("a//x", None),
            ("a/", None),
            ("menu.ipxe", None),
        ] {
            assert_eq!(size(url), found, "{url}");
        }
    }

    #[test]
    fn a_manner_of_a_folder_is_that_of_all_below() {
        let mut pages = Pages::default();
        pages.set_manner(Some("http://a/b/"), Manner::Slow);
        pages.set_manner(Some("http://a/b/c"), Manner::Reset);
        let manner = |url: &str| pages.manner(url);
        assert_eq!(
            (manner("http://a/b/c"), manner("http://a/b/d"), manner("http://a/b")),
            (Some(Manner::Reset), Some(Manner::Slow), None)
        );
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
