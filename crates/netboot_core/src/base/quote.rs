//! Quoting of values in other languages: scripts, unit files, crontabs and configurations of servers.
//!
//! Every value that this tool puts into such a text goes through [`Language::quote`], so that it is read as one value
//! and never as code. A value that the language cannot express is refused.

use crate::base::process;
use crate::printable::{is_harmful, printable};

/// A language that values are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// One word of a shell.
    Shell,
    /// One word of the command in a line of a crontab, where a percent sign would end the command.
    Cron,
    /// The program of a command in a unit file, such as that of `ExecStart=`: the one word without variables.
    UnitProgram,
    /// An argument of such a command.
    UnitArgument,
    /// The value of a setting in a `.network` file of systemd: `SendOption=` and `BootFilename=` support no specifiers.
    NetworkValue,
    /// A string in double quotes, as JSON, ISC dhcpd, dnsmasq and nginx read it.
    DoubleQuoted,
    /// The text between two commas in a line of dnsmasq.
    Dnsmasq,
    /// A string of the `RouterOS` console.
    Routeros(RouterosVersion),
    /// No quotes at all: text that is one value in every language.
    Bare,
}

/// Version of the `RouterOS` console, which reads scripts as if they were typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouterosVersion {
    /// Version 6, which treats a question mark as a request for help.
    V6,
    /// Version 7.
    V7,
}

/// A value that a language cannot express.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found `{}`, wanted {wanted}", printable(found))]
pub struct Unquotable {
    /// The value.
    pub found: String,
    /// Description of the values that the language can express.
    pub wanted: &'static str,
}

impl Language {
    /// Quotes `text` as one value.
    ///
    /// # Errors
    ///
    /// [`Unquotable`] if the language cannot express the value. Control characters are refused everywhere: they end
    /// lines and move the output of a terminal. So are characters that hide text or change its direction: they are
    /// shown escaped, and a copy of that would be another value.
    pub fn quote(self, text: &str) -> Result<String, Unquotable> {
        let refuse = |wanted| Err(Unquotable { found: text.to_owned(), wanted });
        if text.contains(is_control) {
            return refuse("a value without control characters and line breaks");
        }
        if text.contains(is_harmful) {
            return refuse("a value without characters that are invisible or change the direction of text");
        }
        match self {
            Self::Bare if text.chars().all(is_bare) => Ok(text.to_owned()),
            Self::Bare => refuse("letters, digits and `/._-@+:`, which need no quotes"),
            Self::Shell => Ok(process::quoted(text)),
            Self::Cron => Ok(cron_word(text)),
            Self::UnitProgram => Ok(unit_word(text)),
            Self::UnitArgument => Ok(unit_word(&text.replace('$', "$$"))),
            // systemd drops blanks at the ends there, and quotes are part of the value.
            Self::NetworkValue if text.trim() != text => refuse("a value without blanks at its ends"),
            Self::NetworkValue => Ok(text.replace('\\', "\\\\")),
            Self::Dnsmasq if text.chars().all(|c| c.is_ascii_graphic() && !",\"'\\#".contains(c)) => {
                Ok(text.to_owned())
            }
            Self::DoubleQuoted | Self::Dnsmasq => {
                Ok(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
            }
            Self::Routeros(console) => Ok(console.string(text)),
        }
    }
}

/// Checks whether `c` ends a line in some language or controls a terminal.
#[must_use]
pub fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Checks whether `c` has no special meaning in any of the languages.
fn is_bare(c: char) -> bool {
    c.is_ascii_alphanumeric() || "/._-@+:".contains(c)
}

/// Quotes `word` so that cron passes it to the shell as one word. In a crontab, a backslash escapes a percent sign, in
/// some crons also a backslash, and in all of them it hides a second backslash from the percent sign after it.
/// Therefore the quotes end and begin again between these.
fn cron_word(word: &str) -> String {
    let quoted = process::quoted(word);
    let mut escaped = String::with_capacity(quoted.len());
    for c in quoted.chars() {
        if matches!(c, '\\' | '%') && escaped.ends_with('\\') {
            escaped += "''";
        }
        escaped += if c == '%' { "\\" } else { "" };
        escaped.push(c);
    }
    escaped
}

/// Quotes `word` so that systemd reads it as one word, without specifiers.
fn unit_word(word: &str) -> String {
    let escaped = word.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
    let plain = escaped.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:=,+@%$".contains(c));
    if plain && !escaped.is_empty() { escaped } else { format!("\"{escaped}\"") }
}

impl RouterosVersion {
    /// Formats `text` as a string of the console.
    fn string(self, text: &str) -> String {
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

/// Formats `text` as the value of a DHCP option in `RouterOS`: it is sent unchanged, even if it looks like an address
/// or a number, which `RouterOS` would otherwise send as four bytes or as one.
#[must_use]
pub fn option_value(text: &str) -> String {
    let mark = if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') { "s" } else { "" };
    format!("{mark}'{text}'")
}

/// Returns a regular expression that matches only a TFTP request for `path`, with or without a leading slash.
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use netboot_fixtures::property::{one_in, text};
    use proptest::prelude::*;

    use super::*;
    use crate::base::progress::Silent;

    /// Returns the text that a string of the console stands for.
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

    /// Returns the bytes that a client receives for the value of an option, according to the rules of `RouterOS`.
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
        for console in [RouterosVersion::V6, RouterosVersion::V7] {
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
        assert_eq!(
            (RouterosVersion::V6.string("a?"), RouterosVersion::V7.string("a?")),
            ("\"a\\?\"".into(), "\"a?\"".into())
        );
    }

    #[test]
    fn a_request_is_taken_literally() {
        assert_eq!(request("sites/a-b/ipxe.efi"), "^(/|)sites/a-b/ipxe\\.efi$");
        assert_eq!(RouterosVersion::V7.string(&request("ipxe.efi")), r#""^(/|)ipxe\\.efi\$""#);
    }

    #[test]
    fn quotes_and_percent_signs_keep_their_place() {
        let quote = |language: Language, text: &str| language.quote(text).unwrap();
        assert_eq!(quote(Language::DoubleQuoted, r#"a"b\c"#), r#""a\"b\\c""#);
        assert_eq!(quote(Language::Dnsmasq, "http://a/${mac}.ipxe"), "http://a/${mac}.ipxe");
        assert_eq!(quote(Language::Dnsmasq, "a,b"), "\"a,b\"");
        assert_eq!(quote(Language::NetworkValue, "http://a/%20\\"), "http://a/%20\\\\");
        assert_eq!(quote(Language::UnitArgument, "a\\\"b"), r#""a\\\"b""#);
        assert_eq!(quote(Language::UnitArgument, "/srv/100%$a"), "/srv/100%%$$a");
        assert_eq!(quote(Language::UnitProgram, "/srv/100%$a"), "/srv/100%%$a");
        assert_eq!(quote(Language::UnitArgument, ";"), "\";\"");
        assert_eq!(quote(Language::Cron, "100% $a"), "'100\\% $a'");
        assert_eq!(quote(Language::Cron, r"C:\\a\%"), r"'C:\''\a\''\%'");
        assert_eq!(quote(Language::Shell, "it's"), r"'it'\''s'");
    }

    #[test]
    fn what_a_language_cannot_hold_is_refused() {
        let languages = [
            Language::Shell,
            Language::Cron,
            Language::UnitProgram,
            Language::UnitArgument,
            Language::NetworkValue,
            Language::DoubleQuoted,
            Language::Routeros(RouterosVersion::V7),
            Language::Dnsmasq,
            Language::Bare,
        ];
        for language in languages {
            for text in [
                "a\nExecStartPost=/bin/sh",
                "a\r",
                "\u{1b}[2J",
                "a\0",
                "\u{85}",
                "a\u{2028}b",
                "a\u{202e}",
                "a\u{200c}",
            ] {
                assert!(language.quote(text).is_err(), "{language:?} {text:?}");
            }
        }
        for text in ["a b", "a,b", "a;b", "$(a)", "a\"", "a{", "é"] {
            assert!(Language::Bare.quote(text).is_err(), "{text}");
        }
        assert!(Language::NetworkValue.quote("a ").is_err());
        assert_eq!(
            Language::Cron.quote("a\nb").unwrap_err().to_string(),
            "found `a\\nb`, wanted a value without control characters and line breaks"
        );
        assert_eq!(
            Language::UnitArgument.quote("/it's/\u{202e}cba").unwrap_err().to_string(),
            "found `/it's/\\u{202e}cba`, wanted a value without characters that are invisible or change the direction of text"
        );
    }

    /// Generates values that every language except [`Language::Bare`] accepts, with characters that are special in some
    /// language.
    fn value() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            3 => r#"[\\"'`$%?;,#{}~!&|<>*()= -]{1,4}"#,
            2 => "[a-z0-9./:@+_-]{1,4}",
            1 => any::<char>().prop_filter("is refused", |c| !is_control(*c) && !is_harmful(*c)).prop_map(String::from),
        ];
        prop::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
    }

    /// Returns the words that a shell reads from `words`.
    fn shell_words(words: &str) -> Vec<String> {
        let script = format!("printf '%s\\n' {words}");
        process::Command::new("try", "sh").args(["-c", &script]).env("PATH", "/usr/bin:/bin").output(&Silent).unwrap()
    }

    /// Returns the command that cron passes to the shell. In some crons (`pairs`), a backslash also escapes a
    /// backslash.
    fn command_of_cron(line: &str, pairs: bool) -> String {
        let (mut command, mut escaped) = (String::new(), false);
        for c in line.chars() {
            if escaped && (c == '%' || pairs && c == '\\') {
                command.pop();
            } else if !escaped {
                assert_ne!(c, '%', "ends the command: {line}");
            }
            command.push(c);
            escaped = !escaped && c == '\\';
        }
        command
    }

    /// Returns the word that systemd reads from `text`, according to `systemd.syntax` and `systemd.service`.
    fn unit_word_read(text: &str, variables: bool) -> String {
        let (quoted, inside) = match text.strip_prefix('"') {
            Some(rest) => (true, rest.strip_suffix('"').unwrap()),
            None => (false, text),
        };
        assert!(quoted || !text.is_empty() && !text.contains([' ', ';', '\'', '"']), "{text}");
        let (mut word, mut rest) = (String::new(), inside.chars());
        while let Some(c) = rest.next() {
            match c {
                '\\' => word.push(rest.next().filter(|c| "\\\"".contains(*c)).unwrap()),
                '%' => word.push(rest.next().filter(|c| *c == '%').unwrap()),
                '$' if variables => word.push(rest.next().filter(|c| *c == '$').unwrap()),
                '"' => panic!("a quote that is not escaped: {text}"),
                _ => word.push(c),
            }
        }
        word
    }

    proptest! {
        #![proptest_config(one_in(1))]

        #[test]
        fn what_is_quoted_is_read_back(text in value()) {
            let quote = |language: Language| language.quote(&text).unwrap();
            prop_assert_eq!(&serde_json::from_str::<String>(&quote(Language::DoubleQuoted)).unwrap(), &text);
            prop_assert_eq!(&unit_word_read(&quote(Language::UnitProgram), false), &text);
            prop_assert_eq!(&unit_word_read(&quote(Language::UnitArgument), true), &text);
            for console in [RouterosVersion::V6, RouterosVersion::V7] {
                prop_assert_eq!(&typed(&quote(Language::Routeros(console))), &text);
            }
            let word = quote(Language::Dnsmasq);
            if word.starts_with('"') {
                prop_assert_eq!(&serde_json::from_str::<String>(&word).unwrap(), &text);
            } else {
                prop_assert!(word == text && !word.contains([',', '"', '#', ' ']));
            }
        }

        #[test]
        fn what_is_refused_has_a_character_that_harms(text in text()) {
            let harms = text.contains(is_control) || text.contains(is_harmful);
            prop_assert_eq!(Language::Shell.quote(&text).is_err(), harms);
        }
    }

    proptest! {
        // Each case starts a shell.
        #![proptest_config(one_in(16))]

        #[test]
        fn what_is_quoted_for_a_shell_is_read_back(texts in prop::collection::vec(value(), 1..50)) {
            let words = |language: Language| texts.iter()
                .map(|text| language.quote(text).unwrap())
                .collect::<Vec<_>>().join(" ");
            prop_assert_eq!(&shell_words(&words(Language::Shell)), &texts);
            for pairs in [false, true] {
                prop_assert_eq!(&shell_words(&command_of_cron(&words(Language::Cron), pairs)), &texts);
            }
        }
    }
}
