//! Subnets, address ranges, MAC addresses and web addresses as written in `network.toml`.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use ipnet::Ipv4Net;
use netboot_script::address::{self, FetchAddress, Purpose, Scheme};
use serde::{Serialize, Serializer};

use crate::base::secrets;

/// Parses an IPv4 network: its first address and a prefix length of 8 to 30 bits.
///
/// # Errors
///
/// Returns a message that says what was found and what was wanted.
pub fn subnet(text: &str) -> Result<Ipv4Net, String> {
    let net: Option<Ipv4Net> = text.parse().ok();
    let net = net
        .filter(|net| (8..=30).contains(&net.prefix_len()))
        .ok_or_else(|| format!("found `{text}`, wanted a network with a prefix of 8 to 30 bits"))?;
    if net.addr() != net.network() {
        return Err(format!("found `{text}`, an address in a network, wanted the network: `{}`", net.trunc()));
    }
    if net.addr().octets()[0] == 0 || net.addr().octets()[0] >= 224 {
        return Err(format!("found `{text}`, in which no machine has an address"));
    }
    Ok(net)
}

/// Checks whether a machine in `subnet` can have `address`.
#[must_use]
pub fn has_host(subnet: &Ipv4Net, address: Ipv4Addr) -> bool {
    subnet.contains(&address) && ![subnet.network(), subnet.broadcast()].contains(&address)
}

/// An inclusive range of IPv4 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    /// The first address.
    pub first: Ipv4Addr,
    /// The last address.
    pub last: Ipv4Addr,
}

impl Range {
    /// Checks whether `address` is in the range.
    #[must_use]
    pub fn contains(self, address: Ipv4Addr) -> bool {
        (self.first..=self.last).contains(&address)
    }

    /// Returns the number of addresses.
    #[must_use]
    pub fn size(self) -> u32 {
        self.last.to_bits() - self.first.to_bits() + 1
    }

    /// Returns the parts of the range that remain without `taken`.
    #[must_use]
    pub fn without(self, taken: impl IntoIterator<Item = Ipv4Addr>) -> Vec<Self> {
        let mut taken: Vec<Ipv4Addr> = taken.into_iter().filter(|address| self.contains(*address)).collect();
        taken.sort_unstable();
        let (mut left, mut next) = (Vec::new(), u64::from(self.first.to_bits()));
        let ends = taken.into_iter().map(|address| u64::from(address.to_bits()));
        for end in ends.chain([u64::from(self.last.to_bits()) + 1]) {
            let address = |bits: u64| u32::try_from(bits).ok().map(Ipv4Addr::from_bits);
            if let (true, Some(first), Some(last)) = (next < end, address(next), end.checked_sub(1).and_then(address)) {
                left.push(Self { first, last });
            }
            next = end + 1;
        }
        left
    }
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (first, last) = text.split_once('-')?;
            let (first, last): (Ipv4Addr, Ipv4Addr) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            (first <= last).then_some(Self { first, last })
        };
        parse().ok_or_else(|| format!("found `{text}`, wanted the first and the last address"))
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// The MAC address of a network card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac([u8; 6]);

impl Mac {
    /// Creates an address from its bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }

    /// Returns the six bytes as hexadecimal digits without separators.
    #[must_use]
    pub fn hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Accepts `00:50:56:00:01:01`, `0:50:56:0:1:1`, `00-50-56-00-01-01`, `0050.5600.0101` and `005056000101`.
impl FromStr for Mac {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = |separator, width| {
            let parts: Vec<&str> = text.split(separator).collect();
            let fine = |part: &&str| (1..=width).contains(&part.len());
            let padded = parts.iter().map(|part| format!("{part:0>width$}")).collect::<String>();
            (parts.len() == 12 / width && parts.iter().all(fine)).then_some(padded)
        };
        let digits = if text.contains(['-', ':']) {
            bytes(if text.contains(':') { ':' } else { '-' }, 2)
        } else if text.contains('.') {
            bytes('.', 4)
        } else {
            bytes('\n', 12).filter(|digits| digits == text)
        };
        let number = digits
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u64::from_str_radix(&digits, 16).ok());
        let Some(number) = number else {
            return Err(format!("found `{text}`, wanted the six bytes of a network card's address"));
        };
        let [_, _, bytes @ ..] = number.to_be_bytes();
        if bytes[0] & 1 == 1 || bytes == [0; 6] {
            return Err(format!("found `{text}`, which no network card can have"));
        }
        Ok(Self(bytes))
    }
}

/// Prints six bytes of two digits each, separated by colons, which every server accepts.
impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.map(|byte| format!("{byte:02x}")).join(":"))
    }
}

impl Serialize for Mac {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A web address that fits into a DHCP option and into any server's configuration without quoting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct WebAddress(String);

impl WebAddress {
    /// Maximum length of a DHCP option, in bytes.
    const LIMIT: usize = 255;

    /// Returns the whole address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the part between `http://` or `https://` and the path.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.0.split(['/', '?']).nth(2).unwrap_or_default()
    }

    /// Returns the server's name or address.
    #[must_use]
    pub fn host(&self) -> &str {
        self.authority().split(':').next().unwrap_or_default()
    }

    /// Checks whether the server is given by name, so that machines need DNS.
    #[must_use]
    pub fn is_named(&self) -> bool {
        self.host().parse::<Ipv4Addr>().is_err()
    }

    /// Returns the port, if given.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.authority().split_once(':')?.1.parse().ok()
    }

    /// Returns the part from the first slash after the server on; empty if there is none.
    #[must_use]
    pub fn path(&self) -> &str {
        let rest = self.0.split_once("://").map_or("", |(_, rest)| rest);
        rest.find('/').map_or("", |start| &rest[start..])
    }

    /// Checks whether the address uses TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.0.starts_with("https:")
    }

    /// Returns the address of `path` below this one.
    ///
    /// # Errors
    ///
    /// Fails like [`WebAddress::from_str`].
    pub fn join(&self, path: &str) -> Result<Self, String> {
        format!("{self}/{path}").parse()
    }
}

impl FromStr for WebAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = |wanted: &str| Err(format!("found `{}`, wanted {wanted}", secrets::shown(text)));
        let beginning = "an address that begins with http:// or https://";
        match address::split_scheme(text).0 {
            Some("http" | "https") => {}
            Some(other) if Scheme::of(other).is_some_and(|scheme| scheme.purpose == Purpose::Disks) => {
                return found(&format!("{beginning}: a disk is for `sanboot` in a script of your own"));
            }
            _ => return found(beginning),
        }
        let address = match FetchAddress::parse(text) {
            Ok(address) => address,
            Err(wanted) => return found(&wanted),
        };
        if address.host.and_then(|host| host.parse().ok()).is_some_and(|host: Ipv4Addr| host.is_multicast()) {
            return found("the address of one server");
        }
        // Characters that are special to some server: quotes, separators, starts of comments.
        if let Some(c) = text.chars().find(|c| "\"'`\\,;#<>|^".contains(*c)) {
            return found(&format!("an address without `{c}`"));
        }
        if text.len() > Self::LIMIT {
            return found(&format!("at most {} bytes, which a DHCP option has", Self::LIMIT));
        }
        if address.ipv6().is_some() {
            return found("the server's name, or its IPv4 address: IPv6 is not supported here");
        }
        let Some(host) = address.host else {
            return found("an address with a server's name, as in `http://192.0.2.10/tftp`");
        };
        if !text[address.scheme.map_or(0, str::len) + "://".len()..].starts_with(host) {
            return found("an address without a user's name: whoever asks for a loader could read it");
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

impl fmt::Display for WebAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use netboot_fixtures::property::one_in;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cards_address_has_five_spellings() {
        for text in [
            "00:50:56:00:01:0A",
            "0:50:56:0:1:a",
            "00-50-56-00-01-0a",
            "0050.5600.010A",
            "00505600010a",
            "0-50-56-0-1-A",
        ] {
            let mac: Mac = text.parse().unwrap();
            assert_eq!((mac.to_string().as_str(), mac.hex().as_str()), ("00:50:56:00:01:0a", "00505600010a"), "{text}");
        }
        for text in [
            "",
            "00:50:56:00:01",
            "00:50:56:00:01:0a:0b",
            "0:50:56:0:1:g",
            "000:50:56:0:1:1",
            "5056000101",
            "00:50-56:0:1:1",
            "::::::",
        ] {
            assert_eq!(
                text.parse::<Mac>().unwrap_err(),
                format!("found `{text}`, wanted the six bytes of a network card's address")
            );
        }
        for text in ["01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00"] {
            assert!(text.parse::<Mac>().unwrap_err().ends_with("which no network card can have"), "{text}");
        }
    }

    #[test]
    fn a_subnet_is_named_by_its_first_address() {
        let net = subnet("192.168.88.0/24").unwrap();
        assert_eq!((net.netmask().octets(), net.broadcast().octets()), ([255, 255, 255, 0], [192, 168, 88, 255]));
        assert!(has_host(&net, [192, 168, 88, 1].into()));
        for outside in [net.network(), net.broadcast(), [192, 168, 89, 1].into()] {
            assert!(!has_host(&net, outside), "{outside}");
        }
        assert_eq!(
            subnet("192.168.88.1/24").unwrap_err(),
            "found `192.168.88.1/24`, an address in a network, wanted the network: `192.168.88.0/24`"
        );
        for text in ["10.0.0.0", "10.0.0.0/31", "10.0.0.0/7", "x/24", "10.0.0.0/+8", "10.0.0.0/24/24", " 10.0.0.0/8"] {
            assert!(subnet(text).unwrap_err().ends_with("wanted a network with a prefix of 8 to 30 bits"), "{text}");
        }
    }

    #[test]
    fn a_range_can_leave_addresses_out() {
        let range: Range = "10.0.0.10 - 10.0.0.20".parse().unwrap();
        let left = |taken: &[u8]| {
            let left = range.without(taken.iter().map(|last| Ipv4Addr::new(10, 0, 0, *last)));
            left.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!((left(&[]).as_str(), range.size()), ("10.0.0.10-10.0.0.20", 11));
        assert_eq!(left(&[15, 10, 9, 20]), "10.0.0.11-10.0.0.14 10.0.0.16-10.0.0.19");
        assert_eq!(left(&(10..=20).collect::<Vec<_>>()), "");
        let all: Range = "0.0.0.0-255.255.255.255".parse().unwrap();
        assert_eq!(all.without([Ipv4Addr::BROADCAST]), ["0.0.0.0-255.255.255.254".parse().unwrap()]);
        assert!("10.0.0.20-10.0.0.10".parse::<Range>().is_err() && "10.0.0.1".parse::<Range>().is_err());
    }

    #[test]
    fn a_web_address_needs_no_quotes_anywhere() {
        let base: WebAddress = "http://192.0.2.10:8080/tftp/".parse().unwrap();
        assert_eq!(
            (base.as_str(), base.host(), base.port(), base.path()),
            ("http://192.0.2.10:8080/tftp", "192.0.2.10", Some(8080), "/tftp")
        );
        assert_eq!(base.join("a.ipxe").unwrap().as_str(), "http://192.0.2.10:8080/tftp/a.ipxe");
        let plain: WebAddress = "https://boot.example.net".parse().unwrap();
        assert_eq!((plain.path(), plain.port(), plain.is_secure()), ("", None, true));
        assert!("http://a/${net0/mac:hexhyp}.ipxe".parse::<WebAddress>().is_ok());
        for (text, wanted) in [
            ("tftp://a/b", "an address that begins with http:// or https://"),
            ("http://a/b c", "an address without ` `, a space: write it as `%20`"),
            ("http://a/\"", "an address without `\"`"),
            ("http://a/b,c", "an address without `,`"),
            ("http:///b", "an address with a server's name, as in `http://192.0.2.10/tftp`"),
            ("http://a:0/b", "a port from 1 to 65535"),
            (
                "http://192.0.2.1/b\u{a0}",
                "an address without `\\u{a0}`, a no-break space, as programs for tables and texts write it",
            ),
            ("http://${next-server}/b", "an address with a server's name, as in `http://192.0.2.10/tftp`"),
            ("http://user:pw@a/b", "an address without a user's name: whoever asks for a loader could read it"),
            ("http://[2001:db8::1]/b", "the server's name, or its IPv4 address: IPv6 is not supported here"),
            (
                "iscsi:192.0.2.1::::iqn.x",
                "an address that begins with http:// or https://: a disk is for `sanboot` in a script of your own",
            ),
        ] {
            let error = text.parse::<WebAddress>().unwrap_err();
            assert!(error.ends_with(&format!("wanted {wanted}")), "{error}");
        }
        assert!(
            format!("http://a/{}", "x".repeat(250)).parse::<WebAddress>().unwrap_err().contains("at most 255 bytes")
        );
    }

    proptest! {
        #![proptest_config(one_in(1))]

        #[test]
        fn every_spelling_of_a_cards_address_is_the_same_address(
            mut bytes in any::<[u8; 6]>(),
            upper in any::<bool>(),
        ) {
            bytes[0] &= 0xfe;
            prop_assume!(bytes != [0; 6]);
            let (mac, hex) = (Mac::new(bytes), Mac::new(bytes).hex());
            let short = |separator| bytes.map(|byte| format!("{byte:x}")).join(separator);
            let spellings = [
                mac.to_string(), mac.to_string().replace(':', "-"), short(":"), short("-"),
                format!("{}.{}.{}", &hex[..4], &hex[4..8], &hex[8..]), hex,
            ];
            for text in spellings {
                let text = if upper { text.to_uppercase() } else { text };
                prop_assert_eq!(text.parse(), Ok(mac), "{}", text);
            }
        }

        #[test]
        fn subnets_and_ranges_are_read_back(
            // No machine has an address in the first and the last networks.
            (one, other) in (0x0100_0000..0xe000_0000_u32, any::<u32>()), prefix in 8..=30_u8,
            taken in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let net = Ipv4Net::new_assert(Ipv4Addr::from_bits(one), prefix).trunc();
            prop_assert_eq!(subnet(&net.to_string()), Ok(net));
            prop_assert!(net.contains(&Ipv4Addr::from_bits(one)) && net.contains(&net.broadcast()));
            let range = |one: u32, other: u32| Range { first: Ipv4Addr::from_bits(one.min(other)), last: Ipv4Addr::from_bits(one.max(other)) };
            prop_assert_eq!(range(one, other).to_string().parse(), Ok(range(one, other)));
            // The remaining and the taken addresses together make up the whole range.
            let whole = range(one, one.saturating_add(other % 20));
            let taken: Vec<Ipv4Addr> = taken
                .iter()
                .map(|index| Ipv4Addr::from_bits(whole.first.to_bits() + u32::try_from(index.index(whole.size() as usize)).unwrap()))
                .collect();
            let left = whole.without(taken.iter().copied());
            for bits in whole.first.to_bits()..=whole.last.to_bits() {
                let address = Ipv4Addr::from_bits(bits);
                let count = left.iter().filter(|range| range.contains(address)).count();
                prop_assert_eq!(count, usize::from(!taken.contains(&address)), "{}", address);
            }
        }

        #[test]
        fn a_character_that_is_no_digit_is_refused(
            bytes in any::<[u8; 6]>(), odd in "[g+ é\\x00]", first in any::<bool>(), at in any::<prop::sample::Index>(),
        ) {
            let mut text = Mac::new(bytes).to_string();
            let at = if first { 0 } else { at.index(text.len()) };
            text.replace_range(at..=at, &odd);
            prop_assert!(text.parse::<Mac>().is_err(), "{}", text);
            let _ = (subnet(&text), text.parse::<Range>());
        }
    }
}
