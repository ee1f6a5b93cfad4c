//! Escapes untrusted names and texts in messages, so that they cannot control a terminal, start a new line, or hide.
//!
//! Every name from an archive, a manifest, a folder or a server passes through [`printable`] when it enters a message.
//! [`harmless`] is for whole messages, just before they are printed.

use std::fmt::{self, Write as _};

/// Maximum number of characters of a name that a message shows.
const MAX_SHOWN: usize = 1000;

/// Maximum number of characters that [`shortened`] keeps.
const MAX_KEPT: usize = 200;

/// Maximum number of lines of a list that a message shows.
pub const MAX_LISTED: usize = 20;

/// An untrusted name or text, escaped for use within one line: see [`printable`].
#[derive(Debug, Clone, Copy)]
pub struct Printable<'a>(&'a [u8]);

/// Escapes an untrusted `name` for display: control characters, line breaks, characters that change the direction of
/// text or have no width, and bytes that are not UTF-8 are shown in the form `\u{202e}` or `\x{ff}`. A name of more
/// than 1,000 characters is truncated.
pub fn printable<T: AsRef<str> + ?Sized>(name: &T) -> Printable<'_> {
    Printable(name.as_ref().as_bytes())
}

/// Escapes a name like [`printable`], but accepts bytes that may not be UTF-8.
#[must_use]
pub fn printable_bytes(name: &[u8]) -> Printable<'_> {
    Printable(name)
}

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = 0;
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                if shown == MAX_SHOWN {
                    return write!(f, "… ({} bytes)", self.0.len());
                }
                shown += 1;
                if is_harmful(character) {
                    write!(f, "{}", escape(character))?;
                } else {
                    f.write_char(character)?;
                }
            }
            for byte in chunk.invalid() {
                shown += 1;
                write!(f, "\\x{{{byte:02x}}}")?;
            }
        }
        Ok(())
    }
}

/// Escapes a text like [`printable`], without a limit on its length.
#[must_use]
pub fn single_line(text: &str) -> String {
    escaped(text, |_| false)
}

/// Checks whether the strings of a JSON text are free of characters that a message would have to escape. The names and
/// versions that programs write contain none.
#[must_use]
pub fn is_plain_json(json: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(json) else { return false };
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        let escaped = if character == '\\' { characters.next() } else { None };
        // `\u` could encode any of them, and no expected text needs it.
        if escaped.is_some_and(|escaped| !matches!(escaped, '"' | '\\' | '/'))
            || (is_harmful(character) && !matches!(character, '\n' | '\r' | '\t'))
        {
            return false;
        }
    }
    true
}

/// Escapes everything in a message of several lines that could control a terminal or hide, except line breaks and tabs.
#[must_use]
pub fn harmless(message: &str) -> String {
    escaped(message, |character| matches!(character, '\n' | '\t'))
}

fn escaped(text: &str, keep: impl Fn(char) -> bool) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if is_harmful(character) && !keep(character) {
            safe += &escape(character);
        } else {
            safe.push(character);
        }
    }
    safe
}

fn escape(character: char) -> String {
    match character {
        '\n' | '\r' | '\t' => character.escape_default().to_string(),
        _ => character.escape_unicode().to_string(),
    }
}

/// Checks whether a character controls a terminal, breaks a line, changes its direction, or is invisible.
#[must_use]
pub fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(character,
            // Line and paragraph separators.
            '\u{2028}' | '\u{2029}'
            // Text direction.
            | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // Characters without width.
            | '\u{ad}' | '\u{180e}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
            // Invisible fillers and blanks that count as letters, and invisible vowels and joiners.
            | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}')
}

/// Returns the first 200 characters of a text, followed by its length in bytes if it is longer.
#[must_use]
pub fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_KEPT) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}

/// Formats a list for a message, one item a line, indented by two spaces. Items beyond the first 20 are only counted.
pub fn listed<T: fmt::Display>(items: &[T]) -> String {
    listed_of(items, items.len())
}

/// Formats a list like [`listed`], where `items` is only the beginning of a list of `total` items.
pub fn listed_of<T: fmt::Display>(items: &[T], total: usize) -> String {
    let shown: Vec<String> = items.iter().take(MAX_LISTED).map(|item| format!("  {item}")).collect();
    let more = total.saturating_sub(shown.len());
    let rest = (more > 0).then(|| format!("  and {} more", grouped(more)));
    shown.into_iter().chain(rest).collect::<Vec<_>>().join("\n")
}

/// Formats names in backticks on one line. Names beyond the first 20 are only counted.
pub fn listed_names<T: AsRef<str>>(names: &[T]) -> String {
    let shown: Vec<String> = names.iter().take(MAX_LISTED).map(|name| format!("`{}`", printable(name))).collect();
    let text = shown.join(", ");
    if names.len() > shown.len() { format!("{text} and {} more", grouped(names.len() - shown.len())) } else { text }
}

fn grouped(number: usize) -> String {
    in_thousands(&number.to_string())
}

/// Returns the digits of a whole number with commas as thousands separators.
#[must_use]
pub fn in_thousands(digits: &str) -> String {
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use netboot_fixtures::property::{one_in, text};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_stays_on_its_line_and_in_its_order() {
        let shown = |name: &[u8]| printable_bytes(name).to_string();
        assert_eq!(shown("x\nhint: run \u{1b}[2J".as_bytes()), "x\\nhint: run \\u{1b}[2J");
        assert_eq!(shown("cod\u{202e}gpj.exe\u{2066}\u{200f}".as_bytes()), "cod\\u{202e}gpj.exe\\u{2066}\\u{200f}");
        assert_eq!(shown("a\u{200b}\u{feff}\u{2028}\u{9b}1m".as_bytes()), "a\\u{200b}\\u{feff}\\u{2028}\\u{9b}1m");
        assert_eq!(shown(b"\xff\xfe/\xc3\x28"), "\\x{ff}\\x{fe}/\\x{c3}(");
        // Ordinary names in any language stay unchanged.
        for name in ["sites/münchen-1/ipxe.efi", "東京", "عربي", "C:\\x", "a b"] {
            assert_eq!(shown(name.as_bytes()), name);
        }
    }

    #[test]
    fn what_is_not_seen_is_harmful() {
        let fillers = ['\u{34f}', '\u{115f}', '\u{1160}', '\u{17b4}', '\u{17b5}', '\u{2800}', '\u{3164}', '\u{ffa0}'];
        let others =
            ['\u{ad}', '\u{61c}', '\u{180e}', '\u{200b}', '\u{2028}', '\u{2060}', '\u{2064}', '\u{206f}', '\u{feff}'];
        for character in
            fillers.into_iter().chain(others).chain(['\u{fff9}', '\u{e0001}', '\u{e007f}', '\u{202e}', '\n'])
        {
            assert!(is_harmful(character), "{}", character.escape_unicode());
        }
        for character in [
            '\u{34e}', '\u{115e}', '\u{1161}', '\u{17b3}', '\u{17b6}', '\u{2801}', '\u{3163}', '\u{ffa1}', ' ', 'ㅏ',
            '한',
        ] {
            assert!(!is_harmful(character), "{}", character.escape_unicode());
        }
    }

    #[test]
    fn a_long_name_is_cut() {
        let name = "ü".repeat(1 << 20);
        assert_eq!(printable(&name).to_string(), format!("{}… (2097152 bytes)", "ü".repeat(1000)));
        let name = "\u{fc}".repeat(1000);
        assert_eq!(printable(&name).to_string(), name);
    }

    #[test]
    fn json_with_names_that_forge_is_told() {
        for plain in [r#"{"a": "b"}"#, "{\n\t\"a\": \"C:\\\\new \\\"x\\\"\"\r\n}", r#"["münchen"]"#] {
            assert!(is_plain_json(plain.as_bytes()), "{plain}");
        }
        for forged in [r#""a\nhint: run""#, r#""\u202e""#, "\"\u{202e}\"", "\"\u{1b}[2J\"", r#""\\\n""#, r#""\t""#] {
            assert!(!is_plain_json(forged.as_bytes()), "{forged}");
        }
        assert!(!is_plain_json(b"\"\xff\""));
    }

    #[test]
    fn a_message_keeps_its_lines() {
        assert_eq!(single_line("a\tb\n\u{202e}"), "a\\tb\\n\\u{202e}");
        assert_eq!(harmless("a\tb\n\x1b[2J\r\u{9b}1m\u{202e}ü"), "a\tb\n\\u{1b}[2J\\r\\u{9b}1m\\u{202e}ü");
    }

    #[test]
    fn a_list_ends() {
        let items: Vec<usize> = (0..1_000_000).collect();
        let list = listed(&items);
        assert!(list.starts_with("  0\n  1\n"), "{list}");
        assert!(list.ends_with("\n  19\n  and 999,980 more"), "{list}");
        assert_eq!(listed(&items[..2]), "  0\n  1");
        assert_eq!(listed(&items[..20]).lines().count(), 20);
        assert_eq!(listed_names(&["a", "b\n"]), "`a`, `b\\n`");
        assert_eq!(listed_names(&["a"; 23]), format!("{} and 3 more", vec!["`a`"; 20].join(", ")));
    }

    proptest! {
        #![proptest_config(one_in(1))]

        #[test]
        fn nothing_harmful_is_left_and_what_is_safe_stays(
            parts in prop::collection::vec(prop_oneof![
                text().prop_map(String::into_bytes),
                prop::collection::vec(any::<u8>(), 0..4),
            ], 0..30),
        ) {
            let bytes = parts.concat();
            let shown = printable_bytes(&bytes).to_string();
            prop_assert!(!shown.contains(is_harmful), "{:?}", shown);
            prop_assert_eq!(printable(&shown).to_string(), &*shown);
            let text = String::from_utf8_lossy(&bytes);
            let (line, safe) = (single_line(&text), harmless(&text));
            for hidden in ['\u{2069}', '\u{200b}', '\u{1b}'] {
                prop_assert!(![&shown, &line, &safe].into_iter().any(|shown| shown.contains(hidden)));
            }
            prop_assert!(!line.contains(is_harmful));
            prop_assert!(!safe.contains(|c| is_harmful(c) && !matches!(c, '\n' | '\t')));
            prop_assert_eq!((single_line(&line), harmless(&safe)), (line, safe));
            prop_assert_eq!(text.contains(is_harmful), single_line(&text) != text);
        }

        #[test]
        fn plain_json_has_strings_that_are_shown_as_they_are(text in text(), escape in any::<bool>()) {
            let json = serde_json::json!({ &text: [1, text] });
            let written = serde_json::to_string_pretty(&json).unwrap();
            prop_assert_eq!(is_plain_json(written.as_bytes()), !text.contains(is_harmful), "{}", written);
            if let (true, Some(c)) = (escape, text.chars().find(char::is_ascii_alphanumeric)) {
                let written = written.replace(c, &format!("\\u{:04x}", u32::from(c)));
                prop_assert!(!is_plain_json(written.as_bytes()), "{}", written);
            }
        }

        #[test]
        fn thousands_are_parted_and_nothing_is_lost(number in any::<u128>()) {
            let digits = number.to_string();
            let parted = in_thousands(&digits);
            prop_assert!(parted.split(',').skip(1).all(|part| part.len() == 3) && !parted.starts_with(','));
            prop_assert_eq!(parted.replace(',', ""), digits);
        }
    }
}
