//! Proxies, and the hosts that are reached without one.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::base::url::Url;

/// A proxy from the caller's environment.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// URL, as in `http://user:password@proxy:3128`.
    pub url: Url,
    /// Environment variable that names the proxy.
    pub variable: String,
    /// Hosts that are reached without the proxy.
    pub except: NoProxy,
}

/// The hosts that are reached without a proxy: the value of `no_proxy`.
///
/// Entries are separated by commas or blanks: a domain name (which includes its subdomains, as in curl; a leading dot
/// or `*.` changes nothing), an IP address, a subnet as in `10.0.0.0/8` or `fd00::/8`, or `*`. All except subnets and
/// `*` can have a port. Addresses are compared literally: no name is resolved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NoProxy {
    text: String,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Everything,
    Domain(String, Option<u16>),
    Subnet(IpNet, Option<u16>),
}

impl NoProxy {
    /// Parses the value of the variable. Also returns the invalid entries.
    #[must_use]
    pub fn parse(text: &str) -> (Self, Vec<String>) {
        let (mut entries, mut unknown) = (Vec::new(), Vec::new());
        for word in text.split([',', ' ', '\t']).filter(|word| !word.is_empty()) {
            match Entry::parse(word) {
                Some(entry) => entries.push(entry),
                None => unknown.push(word.to_owned()),
            }
        }
        (Self { text: text.to_owned(), entries }, unknown)
    }

    /// Returns the value of the variable as it was read.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Checks whether `host`, a name or an IP address, is reached without the proxy on `port`.
    #[must_use]
    pub fn matches(&self, host: &str, port: u16) -> bool {
        let host = host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
        let address = host.parse::<IpAddr>().ok();
        self.entries.iter().any(|entry| match (entry, address) {
            (Entry::Everything, _) => true,
            (Entry::Subnet(net, only), Some(address)) => {
                only.is_none_or(|only| only == port) && net.contains(&address.to_canonical())
            }
            (Entry::Domain(domain, only), None) => {
                let below =
                    host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
                only.is_none_or(|only| only == port) && below
            }
            _ => false,
        })
    }
}

impl Entry {
    fn parse(word: &str) -> Option<Self> {
        if word == "*" {
            return Some(Self::Everything);
        }
        if let Ok(net) = word.parse::<IpNet>() {
            // Hosts are compared in their canonical form.
            let is_mapped = net.prefix_len() >= 96 && net.addr().to_canonical().is_ipv4() && net.addr().is_ipv6();
            let mapped = is_mapped.then(|| IpNet::new(net.addr().to_canonical(), net.prefix_len() - 96).ok()).flatten();
            return Some(Self::Subnet(mapped.unwrap_or(net), None));
        }
        // An IPv6 address contains colons itself.
        let (host, port) = match word.rsplit_once(':') {
            Some((host, port)) if host.ends_with(']') || !host.contains(':') => (host, Some(port.parse().ok()?)),
            _ => (word, None),
        };
        if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Some(Self::Subnet(address.to_canonical().into(), port));
        }
        let domain = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
        let domain = domain.trim_start_matches('.').trim_end_matches('.').to_ascii_lowercase();
        let plain = |label: &str| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        // A name of digits alone is meant as an address or as a part of one.
        let is_number = domain.split('.').all(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
        (domain.split('.').all(plain) && !is_number).then_some(Self::Domain(domain, port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_entries_match_hosts_and_ports() {
        for (text, host, port, expected) in [
            ("example.org", "example.org", 443, true),
            ("example.org", "EXAMPLE.org.", 443, true),
            ("Example.ORG", "a.b.example.org", 443, true),
            ("example.org", "notexample.org", 443, false),
            ("example.org", "example.org.evil.net", 443, false),
            (".example.org", "example.org", 443, true),
            (".example.org", "a.example.org", 443, true),
            ("*.example.org", "a.example.org", 443, true),
            ("a, b c", "c", 80, true),
            ("*", "anything", 80, true),
            ("*", "2001:db8::1", 80, true),
            ("host:8080", "host", 8080, true),
            ("host:8080", "host", 80, false),
            ("127.0.0.0/8", "127.1.2.3", 80, true),
            ("::ffff:127.0.0.1", "127.0.0.1", 80, true),
            ("[::ffff:127.0.0.1]:80", "127.0.0.1", 80, true),
            ("::ffff:127.0.0.0/104", "127.1.2.3", 80, true),
            ("::ffff:127.0.0.0/104", "128.1.2.3", 80, false),
            ("127.0.0.0/8", "128.0.0.1", 80, false),
            ("127.0.0.0/8", "localhost", 80, false),
            ("10.0.0.0/8,192.168.0.0/16", "192.168.7.7", 80, true),
            ("fd00::/8", "[fd12::1]", 80, true),
            ("fd00::/8", "fe80::1", 80, false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", 80, true),
            ("192.0.2.1", "192.0.2.1", 80, true),
            ("192.0.2.1:8080", "192.0.2.1", 80, false),
            ("[2001:db8::1]:8080", "[2001:db8::1]", 8080, true),
            ("2001:db8::1", "[2001:db8::1]", 443, true),
            ("", "host", 80, false),
        ] {
            let (rules, unknown) = NoProxy::parse(text);
            assert_eq!(unknown, <[String; 0]>::default(), "{text}");
            assert_eq!(rules.matches(host, port), expected, "{text}: {host}:{port}");
        }
    }

    #[test]
    fn no_proxy_entries_that_are_none_are_told() {
        let text = "10.0.0.0/33,a..b,10.*,ho*st,http://host/,host:http,192.168.,host,[::1";
        let (rules, unknown) = NoProxy::parse(text);
        assert_eq!(unknown, ["10.0.0.0/33", "a..b", "10.*", "ho*st", "http://host/", "host:http", "192.168."]);
        assert!(rules.matches("host", 80) && !rules.matches("10.0.0.1", 80));
    }
}
