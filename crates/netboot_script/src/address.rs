//! Addresses (URLs) in any file that a user writes: errors in their syntax, and the features that they need in a
//! loader.
//!
//! This module knows no file and no key; the caller adds the location of a value.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::commands::{Availability, HTTPS};

/// A well-formed address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchAddress<'t> {
    /// The scheme without the colon; `None` if iPXE computes it, or if the address is relative.
    pub scheme: Option<&'t str>,
    /// The server's name or address; `None` if there is none, or if iPXE computes it.
    pub host: Option<&'t str>,
    /// The port, if given.
    pub port: Option<u16>,
}

/// A URL scheme of iPXE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scheme {
    /// The name of the scheme, without the colon.
    pub name: &'static str,
    /// The builds that support it.
    pub availability: Availability,
    /// The use of its addresses.
    pub purpose: Purpose,
}

/// The use of a scheme's addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Files and disks.
    Files,
    /// Disks, for `sanboot` and `sanhook`.
    Disks,
}

/// The schemes of iPXE v2.0.0, from its `uri_opener` tables and `src/config/general.h` at the pinned commit.
const SCHEMES: [Scheme; 14] = {
    const fn files(name: &'static str, availability: Availability) -> Scheme {
        Scheme { name, availability, purpose: Purpose::Files }
    }
    const fn disks(name: &'static str, availability: Availability) -> Scheme {
        Scheme { name, availability, purpose: Purpose::Disks }
    }
    [
        files("http", Availability::Always),
        files("https", Availability::EfiOnly("DOWNLOAD_PROTO_HTTPS")),
        files("tftp", Availability::Always),
        files("tftm", Availability::Always),
        files("mtftp", Availability::Always),
        files("ftp", Availability::OnRequest("DOWNLOAD_PROTO_FTP")),
        files("nfs", Availability::OnRequest("DOWNLOAD_PROTO_NFS")),
        files("x-slam", Availability::OnRequest("DOWNLOAD_PROTO_SLAM")),
        files("file", Availability::EfiOnly("DOWNLOAD_PROTO_FILE")),
        disks("iscsi", Availability::Always),
        disks("aoe", Availability::Always),
        disks("fcp", Availability::OnRequest("NET_PROTO_FCOE")),
        disks("ib_srp", Availability::Always),
        disks("usb", Availability::Always),
    ]
};

/// The availability of IPv6 addresses.
pub const IPV6: Availability = Availability::EfiOnly("NET_PROTO_IPV6");

impl<'t> FetchAddress<'t> {
    /// Parses `text`, which can contain `${settings}` that iPXE expands.
    ///
    /// # Errors
    ///
    /// Returns what was wanted instead, as the end of a sentence.
    pub fn parse(text: &'t str) -> Result<Self, String> {
        if let Some(c) = text.chars().find(|c| !c.is_ascii_graphic()) {
            return Err(without(c));
        }
        let (scheme, rest) = split_scheme(text);
        let Some(scheme) = scheme else { return Ok(Self { scheme, host: None, port: None }) };
        let Some(rest) = rest.strip_prefix("//") else {
            if Scheme::of(scheme).is_none_or(|scheme| scheme.purpose == Purpose::Files && scheme.name != "file") {
                return Err(format!("`{scheme}://` and the name of a server"));
            }
            return Ok(Self { scheme: Some(scheme), host: None, port: None });
        };
        // The syntax of names in a path is up to the server; an address of a local file has no server.
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if rest.rsplit_once("${").is_some_and(|(_, setting)| !setting.contains('}')) {
            return Err("a `}` after the name of each setting in `${`".to_owned());
        }
        if authority.contains("${") || scheme.eq_ignore_ascii_case("file") {
            return Ok(Self { scheme: Some(scheme), host: None, port: None });
        }
        let server = authority.rsplit_once('@').map_or(authority, |(_, server)| server);
        let (host, port) = split_port(server)?;
        check_host(host)?;
        // Servers and iPXE take other spellings, such as `+80` and `080`, for different numbers.
        let plain = |port: &str| port.bytes().all(|digit| digit.is_ascii_digit()) && !port.starts_with('0');
        let number = |port: &str| port.parse::<u16>().ok().filter(|_| plain(port));
        let port = match port.map(number) {
            Some(None) => return Err("a port from 1 to 65535".to_owned()),
            Some(port) => port,
            None => None,
        };
        Ok(Self { scheme: Some(scheme), host: Some(host), port })
    }

    /// Checks whether a machine that fetches from the address would ask itself, nobody, or everybody.
    #[must_use]
    pub fn leads_nowhere(&self) -> bool {
        self.host.is_some_and(leads_nowhere)
    }

    /// Returns the server's address if it is an IPv6 address.
    #[must_use]
    pub fn ipv6(&self) -> Option<&'t str> {
        self.host.filter(|host| host.starts_with('['))
    }
}

impl Scheme {
    /// Finds the scheme called `name`, ignoring case like iPXE.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        SCHEMES.into_iter().find(|scheme| scheme.name.eq_ignore_ascii_case(name))
    }

    /// Returns the prefix of the scheme's addresses.
    #[must_use]
    pub fn prefix(self) -> String {
        format!("{}:{}", self.name, if self.purpose == Purpose::Files { "//" } else { "" })
    }

    /// Returns the common schemes for files, as words.
    #[must_use]
    pub fn known() -> String {
        format!("`http://`, `{HTTPS}` or `tftp://`")
    }
}

/// Checks whether `host` is the machine that asks, no machine, or all of them.
#[must_use]
pub fn leads_nowhere(host: &str) -> bool {
    let nowhere = |address: Ipv4Addr| address.is_loopback() || matches!(address.octets()[0], 0 | 224..);
    let nowhere_6 = |address: Ipv6Addr| address.is_loopback() || address.is_unspecified() || address.is_multicast();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(nowhere) || bare.parse().is_ok_and(nowhere_6)
}

/// Splits `text` into its scheme and the part after the colon; returns all of `text` if it has no scheme.
#[must_use]
pub fn split_scheme(text: &str) -> (Option<&str>, &str) {
    // iPXE accepts these characters, and no digits.
    let letter = |c: char| c.is_ascii_alphabetic() || "-_".contains(c);
    match text.split_once(':') {
        Some((scheme, rest)) if !scheme.is_empty() && scheme.chars().all(letter) => (Some(scheme), rest),
        _ => (None, text),
    }
}

/// Checks whether `text`, which has no scheme, begins with a server rather than a folder.
#[must_use]
pub fn lacks_scheme(text: &str) -> bool {
    let first = text.split('/').next().unwrap_or_default();
    let (host, port) = first.split_once(':').map_or((first, None), |(host, port)| (host, Some(port)));
    let numbered = port.is_some_and(|port| !port.is_empty() && port.bytes().all(|digit| digit.is_ascii_digit()));
    text.starts_with("//") || host.parse::<Ipv4Addr>().is_ok() || (numbered && !host.is_empty())
}

/// Returns the words for an address without `c`, with the name of an invisible or special character.
fn without(c: char) -> String {
    let name = match c {
        ' ' => ", a space: write it as `%20`",
        '\u{a0}' | '\u{202f}' => ", a no-break space, as programs for tables and texts write it",
        '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{ad}' => ", which nobody sees",
        c if c.is_control() => ", a control character",
        _ => "; letters beyond ASCII are written as in `%C3%A9`, in the name of a server as in `xn--caf-dma`",
    };
    format!("an address without `{}`{name}", c.escape_default())
}

fn split_port(server: &str) -> Result<(&str, Option<&str>), String> {
    if let Some(end) = server.starts_with('[').then(|| server.find(']')).flatten() {
        let (host, rest) = server.split_at(end + 1);
        return match rest.strip_prefix(':') {
            _ if rest.is_empty() => Ok((host, None)),
            Some(port) => Ok((host, Some(port))),
            None => Err("a port, or nothing, after the `]` of an IPv6 address".to_owned()),
        };
    }
    match server.split_once(':') {
        Some((_, rest)) if rest.contains(':') => {
            Err("an IPv6 address in brackets, as in `http://[2001:db8::1]/`".into())
        }
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((server, None)),
    }
}

fn check_host(host: &str) -> Result<(), String> {
    if let Some(inside) = host.strip_prefix('[') {
        // A zone, the network card that reaches the address, can follow.
        let address = inside.trim_end_matches(']').split('%').next().unwrap_or_default();
        return match address.parse::<Ipv6Addr>() {
            Ok(_) => Ok(()),
            Err(_) => Err("an IPv6 address between the brackets".to_owned()),
        };
    }
    let label = |label: &str| {
        let plain = label.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        plain && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    if host.is_empty() || host.len() > 253 || !host.strip_suffix('.').unwrap_or(host).split('.').all(label) {
        return Err("an address with a server's name, as in `http://192.0.2.10/tftp`".to_owned());
    }
    let numbers = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if numbers && host.parse::<Ipv4Addr>().is_err() {
        return Err("four numbers up to 255 in an IPv4 address".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_every_kind_are_read() {
        let read = |text| FetchAddress::parse(text).unwrap();
        let http = read("http://user:pw@192.0.2.10:8080/a/${net0/mac:hexhyp}.ipxe?x=y#z");
        assert_eq!((http.scheme, http.host, http.port), (Some("http"), Some("192.0.2.10"), Some(8080)));
        let v6 = read("HTTPS://[2001:db8::1]:8443/a");
        assert_eq!((v6.ipv6(), v6.port), (Some("[2001:db8::1]"), Some(8443)));
        assert_eq!(read("http://[fe80::1%net0]/").ipv6(), Some("[fe80::1%net0]"));
        for text in [
            "${root-path}",
            "${base}/a",
            "http://${next-server}:${port}/a",
            "menu.ipxe",
            "/a/b",
            "tftp://boot_1.example.net./a",
            "iscsi:192.0.2.1::::iqn.2001-04.net.example:disk",
            "aoe:e0.1",
            "file:/efi/boot.efi",
            "file:///efi/boot.efi",
            "x-slam://239.0.0.1:10000/",
        ] {
            read(text);
        }
    }

    #[test]
    fn what_is_wrong_with_an_address_is_named() {
        for (text, wanted) in [
            (
                "http://192.0.2.1/a\u{a0}",
                "an address without `\\u{a0}`, a no-break space, as programs for tables and texts write it",
            ),
            ("http://192.0.2.1/a b", "an address without ` `, a space: write it as `%20`"),
            ("http://192.0.2.1/a\t", "an address without `\\t`, a control character"),
            ("http://192.0.2.1/\u{200b}", "an address without `\\u{200b}`, which nobody sees"),
            (
                "http://192.0.2.1/é",
                "an address without `\\u{e9}`; letters beyond ASCII are written as in `%C3%A9`, in the name of a server as in `xn--caf-dma`",
            ),
            ("http:/192.0.2.1/a", "`http://` and the name of a server"),
            ("http:\\\\192.0.2.1\\a", "`http://` and the name of a server"),
            ("htp:/a", "`htp://` and the name of a server"),
            ("http:///a", "an address with a server's name, as in `http://192.0.2.10/tftp`"),
            ("http://a../", "an address with a server's name, as in `http://192.0.2.10/tftp`"),
            ("http://a..b/", "an address with a server's name, as in `http://192.0.2.10/tftp`"),
            ("http://-a/", "an address with a server's name, as in `http://192.0.2.10/tftp`"),
            ("http://192.0.2.300/a", "four numbers up to 255 in an IPv4 address"),
            ("http://192.0.2/a", "four numbers up to 255 in an IPv4 address"),
            ("http://${next-server/a", "a `}` after the name of each setting in `${`"),
            ("http://a/${net0/mac", "a `}` after the name of each setting in `${`"),
            ("http://a:0/", "a port from 1 to 65535"),
            ("http://a:65536/", "a port from 1 to 65535"),
            ("http://a:+80/", "a port from 1 to 65535"),
            ("http://a:080/", "a port from 1 to 65535"),
            ("http://a:/", "a port from 1 to 65535"),
            ("http://2001:db8::1/", "an IPv6 address in brackets, as in `http://[2001:db8::1]/`"),
            ("http://[2001:db8::1/", "an IPv6 address in brackets, as in `http://[2001:db8::1]/`"),
            ("http://[2001:db8::g]/", "an IPv6 address between the brackets"),
            ("http://[2001:db8::1]8/", "a port, or nothing, after the `]` of an IPv6 address"),
        ] {
            assert_eq!(FetchAddress::parse(text).unwrap_err(), wanted, "{text}");
        }
    }

    #[test]
    fn a_machine_reaches_no_server_at_its_own_address() {
        for host in [
            "127.0.0.1",
            "127.0.0.53:80",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "LocalHost:80",
            "[::1]",
            "[ff02::1]",
        ] {
            assert!(FetchAddress::parse(&format!("http://{host}/a")).unwrap().leads_nowhere(), "{host}");
        }
        for host in ["192.0.2.1", "localhost.example.net", "[2001:db8::1]"] {
            assert!(!FetchAddress::parse(&format!("http://{host}/a")).unwrap().leads_nowhere(), "{host}");
        }
    }

    #[test]
    fn a_server_without_a_scheme_is_told_from_a_path() {
        for text in ["192.0.2.1/a", "192.0.2.1", "boot:8080/a", "//boot/a"] {
            assert!(lacks_scheme(text), "{text}");
        }
        for text in ["menu.ipxe", "scripts.d/menu.ipxe", "/a", "${base}/a", "kernel"] {
            assert!(!lacks_scheme(text), "{text}");
        }
    }
}
