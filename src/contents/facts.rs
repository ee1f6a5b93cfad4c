//! What the bytes of an iPXE loader tell by themselves.

use super::image::{self, Stretch};

/// What a loader says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// iPXE's version, with the commit where that was built in.
    pub version: Option<String>,
    /// The embedded script, without the padding of its slot.
    pub script: Option<String>,
}

impl Facts {
    /// Looks into `loader`; a BIOS loader is unpacked for that.
    #[must_use]
    pub fn of(loader: &[u8]) -> Self {
        let stretches = image::stretches(loader);
        let first = |look: fn(&Stretch) -> Option<String>| stretches.iter().find_map(look);
        Self { version: first(version), script: first(script) }
    }
}

/// The first version that ends a string: `1.2.3`, `1.2.3+` or `1.2.3 (g12ab)`. One with a commit is
/// surely iPXE's, and goes first.
fn version(stretch: &Stretch) -> Option<String> {
    let strings = stretch.content.split(|byte| *byte == 0).map(printable_end).filter(|text| text.len() >= 5);
    let versions: Vec<&str> = strings.filter_map(version_end).collect();
    let with_commit = versions.iter().find(|text| text.ends_with(')'));
    with_commit.or(versions.first()).map(|text| (*text).to_owned())
}

/// The printable characters that a string ends with.
fn printable_end(bytes: &[u8]) -> &str {
    let start = bytes.iter().rposition(|byte| !(0x20..0x7f).contains(byte)).map_or(0, |at| at + 1);
    std::str::from_utf8(&bytes[start..]).unwrap_or_default()
}

/// The version that `text` ends with.
fn version_end(text: &str) -> Option<&str> {
    let starts = text.char_indices().filter(|(at, c)| {
        let before = text[..*at].chars().next_back();
        c.is_ascii_digit() && before.is_none_or(|before| !before.is_ascii_digit() && before != '.')
    });
    starts.map(|(at, _)| &text[at..]).find(|text| is_version(text))
}

fn is_version(text: &str) -> bool {
    let (number, commit) = text.split_once(' ').map_or((text, None), |(number, commit)| (number, Some(commit)));
    let number = number.strip_suffix('+').unwrap_or(number);
    let parts: Vec<&str> = number.split('.').collect();
    let digits = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let commit_like = |commit: &str| {
        let id = commit.strip_prefix("(g").and_then(|id| id.strip_suffix(')'));
        id.is_some_and(|id| id.len() >= 4 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    parts.len() == 3 && parts.iter().all(digits) && commit.is_none_or(commit_like)
}

/// The first text that begins as a script does.
fn script(stretch: &Stretch) -> Option<String> {
    let mut texts = memchr::memmem::find_iter(&stretch.content, b"#!ipxe").filter_map(|start| {
        let bytes = stretch.content.get(start..)?;
        // What follows the slot need not be a text.
        let end = bytes.iter().position(|byte| *byte < 0x20 && !b"\t\n\r".contains(byte)).unwrap_or(bytes.len());
        let chunk = bytes[..end].utf8_chunks().next()?.valid();
        let text = if chunk.len() == end { chunk } else { &chunk[..=chunk.rfind('\n')?] };
        text.contains('\n').then(|| text.trim_end_matches('\n').to_owned() + "\n")
    });
    texts.next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contents::packed::tests::pack;

    const CONTENT: &[u8] =
        b"\0#!gpxe\0#!ipxe\0prompt\0iPXE\0\x07x1.2.3 (g12798)\0\x003.2.1.0.0\x001.0.0\0#!ipxe\nshell\n\n\n\n\xff\0rest\n";

    #[test]
    fn version_and_script_are_read_packed_and_unpacked() {
        let wanted = Facts { version: Some("1.2.3 (g12798)".into()), script: Some("#!ipxe\nshell\n".into()) };
        assert_eq!(Facts::of(CONTENT), wanted);
        assert_eq!(Facts::of(&[&b"prefix"[..], &pack(CONTENT)].concat()), wanted);
        assert_eq!(Facts::of(b"something"), Facts::default());
    }

    #[test]
    fn what_looks_like_a_version() {
        for text in ["1.2.3", "1.21.1+", "2.0.0 (g12798)"] {
            assert!(is_version(text), "{text}");
        }
        for text in ["1.2", "1.2.3.4", "1..3", "2.0.0 (12798)", "2.0.0 (gxyz1)", "a.b.c"] {
            assert!(!is_version(text), "{text}");
        }
    }
}
