//! Properties of an iPXE loader that its bytes alone reveal.

use memchr::memmem;
use netboot_script::MAGICS;

use super::image::{self, ImageRegion};
use crate::base::fs::MAX_TEXT;

/// Names in every iPXE: in its banner, which can be changed, in the addresses of its errors, and in its scripts.
const NAMES: [&[u8]; 4] = [b"iPXE", b"ipxe.org", b"#!ipxe", b"#!gpxe"];

/// The version and the script of a loader.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoaderFacts {
    /// iPXE's version, including the commit if it was built in.
    pub version: Option<String>,
    /// The embedded script, without the padding of its slot.
    pub script: Option<String>,
}

impl LoaderFacts {
    /// Examines `loader`, unpacking it if it is a BIOS loader.
    #[must_use]
    pub fn of(loader: &[u8]) -> Self {
        let mut regions = image::regions(loader);
        // Any program can end a text with three numbers, but only iPXE tells its name.
        regions.retain(|region| NAMES.iter().any(|name| memmem::find(&region.content, name).is_some()));
        let first = |look: fn(&ImageRegion) -> Option<String>| regions.iter().find_map(look);
        Self { version: first(version), script: first(script) }
    }
}

/// Finds the first version at the end of a string: `1.2.3`, `1.2.3+` or `1.2.3 (g12ab)`. A version with a commit is
/// certain to be iPXE's and takes precedence.
fn version(region: &ImageRegion) -> Option<String> {
    let mut versions = region.content.split(|byte| *byte == 0).map(printable_end).filter_map(version_end);
    let first = versions.next()?;
    let with_commit = std::iter::once(first).chain(versions).find(|text| text.ends_with(')'));
    Some(with_commit.unwrap_or(first).to_owned())
}

/// Returns the printable characters at the end of a string.
fn printable_end(bytes: &[u8]) -> &str {
    let start = bytes.iter().rposition(|byte| !(0x20..0x7f).contains(byte)).map_or(0, |at| at + 1);
    std::str::from_utf8(&bytes[start..]).unwrap_or_default()
}

/// Returns the version at the end of `text`. Parsing starts from the end, so the length of the text does not matter.
fn version_end(text: &str) -> Option<&str> {
    let number = match text.strip_suffix(')') {
        Some(text) => {
            let rest = text.trim_end_matches(|c: char| c.is_ascii_hexdigit());
            if text.len() - rest.len() < 4 { None } else { rest.strip_suffix(" (g") }
        }
        None => Some(text),
    }?;
    let number = number.strip_suffix('+').unwrap_or(number);
    let start = number.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.').len();
    let mut parts = number[start..].split('.');
    let has_three = parts.by_ref().take(3).filter(|part| !part.is_empty()).count() == 3 && parts.next().is_none();
    has_three.then_some(&text[start..])
}

/// Finds the first text that begins like a script.
fn script(region: &ImageRegion) -> Option<String> {
    let is_end = |byte: &u8| *byte < 0x20 && !b"\t\n\r".contains(byte);
    let mut texts = region.content.split(is_end).flat_map(<[u8]>::utf8_chunks);
    texts.find_map(|chunk| {
        let text = chunk.valid();
        let text = &text[MAGICS.iter().filter_map(|magic| text.find(magic)).min()?..];
        // The data after the slot can be binary.
        let text = if chunk.invalid().is_empty() { text } else { &text[..=text.rfind('\n')?] };
        let is_script = text.contains('\n') && text.len() as u64 <= MAX_TEXT;
        is_script.then(|| text.trim_end_matches('\n').to_owned() + "\n")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use netboot_fixtures::packed::pack;

    const CONTENT: &[u8] =
        b"\0#!gpxe\0#!ipxe\0prompt\0iPXE\0\x07x1.2.3 (g12798)\0\x003.2.1.0.0\x001.0.0\0#!ipxe\nshell\n\n\n\n\xff\0rest\n";

    #[test]
    fn version_and_script_are_read_packed_and_unpacked() {
        let wanted = LoaderFacts { version: Some("1.2.3 (g12798)".into()), script: Some("#!ipxe\nshell\n".into()) };
        assert_eq!(LoaderFacts::of(CONTENT), wanted);
        assert_eq!(LoaderFacts::of(&[&b"prefix"[..], &pack(CONTENT)].concat()), wanted);
        assert_eq!(LoaderFacts::of(b"something"), LoaderFacts::default());
        assert_eq!(LoaderFacts::of(b"Linux\0version 6.6.0\0"), LoaderFacts::default());
        let older = LoaderFacts::of(b"\0#!gpxe\0#!ipxe\0#!gpxe\nshell\n\n\0");
        assert_eq!(older.script.unwrap(), "#!gpxe\nshell\n");
    }

    #[test]
    fn what_looks_like_a_version() {
        for text in ["1.2.3", "1.21.1+", "2.0.0 (g12798)"] {
            assert_eq!(version_end(text), Some(text));
            assert_eq!(version_end(&format!("iPXE v{text}")), Some(text));
        }
        for text in
            ["", "1.2", "1.2.3.4", ".2.3", "1..3", "1.2.", "2.0.0 (12798)", "2.0.0 (gxyz1)", "2.0.0 (g12)", "a.b.c"]
        {
            assert_eq!(version_end(text), None, "{text}");
        }
    }
}
