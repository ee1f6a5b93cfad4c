//! Keys for prompts and menus, as people name them.

use std::fmt;
use std::str::FromStr;

/// Byte that leaves the command in progress alone; see `vendor/rehearsal/rehearse.c`.
const LEAVE_ALONE: u8 = 0xfe;
/// Byte that ends an escape sequence, so that the next key is no part of it.
const PAUSE: u8 = 0xfd;

/// Names of keys, and the bytes that a terminal sends for them.
const NAMED: [(&str, &[u8]); 23] = [
    ("up", b"\x1b[A"),
    ("down", b"\x1b[B"),
    ("right", b"\x1b[C"),
    ("left", b"\x1b[D"),
    ("home", b"\x1b[H"),
    ("end", b"\x1b[F"),
    ("page-up", b"\x1b[5~"),
    ("page-down", b"\x1b[6~"),
    ("delete", b"\x1b[3~"),
    ("enter", b"\r"),
    ("esc", &[0x1b, PAUSE]),
    ("tab", b"\t"),
    ("space", b" "),
    ("backspace", b"\x08"),
    ("f5", b"\x1b[15~"),
    ("f6", b"\x1b[17~"),
    ("f7", b"\x1b[18~"),
    ("f8", b"\x1b[19~"),
    ("f9", b"\x1b[20~"),
    ("f10", b"\x1b[21~"),
    ("f11", b"\x1b[23~"),
    ("f12", b"\x1b[24~"),
    ("wait", &[LEAVE_ALONE]),
];

/// Prefix of a text that is typed letter by letter.
const TYPE: &str = "type:";

/// Keys in the order in which they are pressed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PressedKeys {
    names: Vec<String>,
    bytes: Vec<u8>,
}

impl PressedKeys {
    /// Returns the bytes that a terminal would send.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the number of bytes that iPXE reports when it takes them.
    #[must_use]
    pub fn reported(&self) -> usize {
        self.bytes.iter().filter(|byte| **byte < PAUSE).count()
    }
}

impl fmt::Display for PressedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names.join(" "))
    }
}

impl FromStr for PressedKeys {
    type Err = String;

    /// Parses names of keys, separated by blanks: `down down enter`.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut keys = Self::default();
        for name in text.split_ascii_whitespace() {
            let bytes = bytes(name).ok_or_else(|| {
                let all: Vec<&str> = NAMED.iter().map(|(name, _)| *name).collect();
                format!(
                    "found `{name}`, wanted a single character, `ctrl-x`, `{TYPE}WORD`, or one of {}",
                    all.join(", ")
                )
            })?;
            keys.names.push(name.to_owned());
            keys.bytes.extend(bytes);
        }
        Ok(keys)
    }
}

fn bytes(name: &str) -> Option<Vec<u8>> {
    let visible = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if let Some((_, bytes)) = NAMED.iter().find(|(known, _)| *known == name) {
        return Some(bytes.to_vec());
    }
    if let Some(text) = name.strip_prefix(TYPE) {
        return visible(text).then(|| text.as_bytes().to_vec());
    }
    match (name.strip_prefix("ctrl-").map(str::as_bytes), name.as_bytes()) {
        (Some([letter]), _) if letter.is_ascii_lowercase() => Some(vec![letter & 0x1f]),
        (None, [_]) if visible(name) => Some(name.as_bytes().to_vec()),
        _ => None,
    }
}

/// Returns the names of the keys that `bytes` stand for.
#[must_use]
pub fn names_of(mut bytes: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    while let Some(first) = bytes.first() {
        let known = NAMED.iter().filter(|(_, sequence)| bytes.starts_with(sequence));
        let (name, length) = match known.max_by_key(|(_, sequence)| sequence.len()) {
            Some((name, sequence)) => ((*name).to_owned(), sequence.len()),
            None if *first == 0x1b => ("esc".to_owned(), 1),
            None if (1..=26).contains(first) => (format!("ctrl-{}", char::from(first + b'a' - 1)), 1),
            None => (char::from(*first).to_string(), 1),
        };
        names.push(name);
        bytes = &bytes[length..];
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_named_as_people_name_them() {
        let bytes = |text: &str| text.parse::<PressedKeys>().map(|keys| keys.bytes);
        assert_eq!(bytes("down enter").unwrap(), b"\x1b[B\r");
        assert_eq!(bytes(" wait  x ctrl-c type:secret ").unwrap(), b"\xfex\x03secret");
        assert_eq!(bytes("").unwrap(), b"");
        for wrong in ["entr", "ctrl-", "ctrl-C", "type:", "é", "ctrl-ab"] {
            let error = bytes(wrong).unwrap_err();
            assert!(error.starts_with(&format!("found `{wrong}`, wanted a single character, ")), "{error}");
        }
        assert_eq!(
            names_of(b"\r\x02\x1b[Bx \x1b[3~\x03\x1b"),
            ["enter", "ctrl-b", "down", "x", "space", "delete", "ctrl-c", "esc"]
        );
    }
}
