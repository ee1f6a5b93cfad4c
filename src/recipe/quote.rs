//! What servers take literally: strings in the languages of their configurations.

/// The console of `RouterOS`, which reads scripts as if they were typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Console {
    /// Version 6, which takes a question mark for a request for help.
    V6,
    /// Version 7.
    V7,
}

impl Console {
    /// `text` as a string of the console.
    #[must_use]
    pub fn string(self, text: &str) -> String {
        let mut string = String::from("\"");
        for c in text.chars() {
            if "\"\\$".contains(c) || (c == '?' && self == Self::V6) {
                string.push('\\');
            }
            string.push(c);
        }
        string + "\""
    }
}

/// `text` as the value of a DHCP option in `RouterOS`: as it is, also where it looks like an address or a number, which
/// `RouterOS` would otherwise send as four bytes or as one.
#[must_use]
pub fn option_value(text: &str) -> String {
    let mark = if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') { "s" } else { "" };
    format!("{mark}'{text}'")
}

/// The regular expression that only a request over TFTP for `path` matches, be it with a slash before it or without.
#[must_use]
pub fn request(path: &str) -> String {
    let mut expression = String::from("^(/|)");
    for c in path.chars() {
        if !c.is_ascii_alphanumeric() && !"/_-".contains(c) {
            expression.push('\\');
        }
        expression.push(c);
    }
    expression + "$"
}

/// `text` in double quotes, with a backslash before what has a meaning there: as JSON, ISC dhcpd, dnsmasq and
/// nginx read it.
#[must_use]
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// `text` in the value of a setting of systemd, where a percent sign begins a specifier.
#[must_use]
pub fn unit(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "%%")
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    /// The text that a string of the console stands for.
    fn typed(string: &str) -> String {
        let mut text = String::new();
        let mut rest = string.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap().chars();
        while let Some(c) = rest.next() {
            match c {
                '\\' => text.push(rest.next().unwrap()),
                '"' | '$' => panic!("`{c}` is not escaped in {string}"),
                _ => text.push(c),
            }
        }
        text
    }

    /// The bytes that a client gets for the value of an option, by the rules of `RouterOS`.
    fn sent(value: &str) -> Vec<u8> {
        let (forced, text) = value.strip_prefix('s').map_or((false, value), |rest| (true, rest));
        let text = text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')).unwrap();
        assert!(!text.contains('\''), "{value}");
        match (text.parse::<Ipv4Addr>(), text.parse::<u8>()) {
            (Ok(address), _) if !forced => address.octets().into(),
            (_, Ok(number)) if !forced => vec![number],
            _ => text.as_bytes().to_vec(),
        }
    }

    #[test]
    fn what_a_client_of_routeros_gets_is_what_was_meant() {
        for console in [Console::V6, Console::V7] {
            for text in [
                "ipxe.efi",
                "192.168.88.1",
                "http://192.168.88.10/a/${net0/mac:hexhyp}.ipxe?a=b&c=%20",
                "sites/rack-1/undionly.kpxe",
                "0x0a",
                "160",
            ] {
                let script = console.string(&option_value(text));
                assert_eq!(sent(&typed(&script)), text.as_bytes(), "{script}");
            }
        }
        // Without the mark, an address would arrive as four bytes, and a number as one.
        assert_eq!((sent("'192.168.88.1'"), sent("'160'")), (vec![192, 168, 88, 1], vec![160]));
        assert_eq!((Console::V6.string("a?"), Console::V7.string("a?")), ("\"a\\?\"".into(), "\"a?\"".into()));
    }

    #[test]
    fn a_request_is_taken_literally() {
        assert_eq!(request("sites/a-b/ipxe.efi"), "^(/|)sites/a-b/ipxe\\.efi$");
        assert_eq!(Console::V7.string(&request("ipxe.efi")), r#""^(/|)ipxe\\.efi\$""#);
    }

    #[test]
    fn quotes_and_percent_signs_keep_their_place() {
        assert_eq!(quoted(r#"a"b\c"#), r#""a\"b\\c""#);
        assert_eq!(unit("http://a/%20"), "http://a/%%20");
    }
}
