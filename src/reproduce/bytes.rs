//! Differences between two loaders: section, nearest symbol, content on both sides, and traces of this host or another
//! one.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use crate::loader::image::{self, ImageRegion};
use crate::loader::link_map::LinkMap;
use crate::printable::shortened;

/// Number of context bytes to show before and after the first difference.
const AROUND: usize = 24;
/// Maximum number of texts to list that only one side contains.
const MOST: usize = 5;
/// Maximum size of a loader to analyse, in bytes. The largest loaders are about 1 MB.
pub const MAX_LOADER: usize = 4 << 20;
/// Variable in which an EFI loader stores a checksum of everything linked into it.
const BUILD_ID: &str = "build_id";

/// Differences between two loaders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ByteDifference {
    /// Sizes in bytes: here, there.
    pub sizes: (usize, usize),
    /// Offset of the first byte that differs.
    pub offset: usize,
    /// Number of bytes that differ, up to the shorter length.
    pub count: usize,
    /// Position of the first difference, in the unpacked content of a BIOS loader.
    #[serde(rename = "place")]
    pub position: Option<BytePosition>,
    /// Content around the first difference, with unprintable bytes escaped: here, there.
    pub context: (String, String),
    /// Whether only the build ID differs, a checksum of everything linked.
    pub only_build_id: bool,
    /// Paths and names that only one side contains: here, there.
    pub leaks: (Vec<String>, Vec<String>),
    /// Examples of other texts that only one side contains: here, there.
    pub texts: (Vec<String>, Vec<String>),
}

impl ByteDifference {
    /// Returns the differences with the sides swapped.
    #[must_use]
    pub fn exchanged(mut self) -> Self {
        std::mem::swap(&mut self.sizes.0, &mut self.sizes.1);
        for (here, there) in [&mut self.leaks, &mut self.texts] {
            std::mem::swap(here, there);
        }
        std::mem::swap(&mut self.context.0, &mut self.context.1);
        self
    }
}

/// Position of a byte in a loader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct BytePosition {
    /// Name of the section.
    pub section: String,
    /// Offset in the section.
    pub offset: usize,
    /// Whether the loader contains the section packed, so that one byte changes all that follow.
    pub packed: bool,
    /// Preceding symbol, and the distance from it in bytes.
    pub symbol: Option<(String, u64)>,
}

impl fmt::Display for BytePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "in {} at {:#x}", self.section, self.offset)?;
        if self.packed {
            write!(f, " (unpacked)")?;
        }
        match &self.symbol {
            Some((name, 0)) => write!(f, ", `{name}`"),
            Some((name, distance)) => write!(f, ", `{name}` + {distance:#x}"),
            None => Ok(()),
        }
    }
}

/// Compares two loaders that differ. `map` is the link map of the first; `names` are names of this host that must not
/// appear in a loader. If one of them has more than [`MAX_LOADER`] bytes, only determines the first difference.
#[must_use]
pub fn compare(here: &[u8], there: &[u8], map: &LinkMap<'_>, names: &[String]) -> ByteDifference {
    let (offset, count) = differing(here, there);
    let too_large = here.len().max(there.len()) > MAX_LOADER;
    let (ours, theirs) =
        if too_large { (Vec::new(), Vec::new()) } else { (image::regions(here), image::regions(there)) };
    let located = locate(&ours, &theirs);
    let position = located.map(|(ours, _, at)| {
        let address = map.start(&ours.name).map(|start| start + at as u64);
        let symbol = address.and_then(|address| map.nearest(&ours.name, address));
        let symbol = symbol.map(|(symbol, distance)| (symbol.name, distance));
        BytePosition { section: ours.name.clone(), offset: at, packed: ours.packed, symbol }
    });
    let context = match located {
        Some((ours, theirs, at)) => (around(&ours.content, at), around(&theirs.content, at)),
        None => (around(here, offset), around(there, offset)),
    };
    let in_build_id =
        position.as_ref().is_some_and(|position| position.symbol.as_ref().is_some_and(|it| it.0 == BUILD_ID));
    let leaks = leaks(&strings(&ours), &strings(&theirs), names);
    let only_build_id = in_build_id && count <= 4 && here.len() == there.len();
    let texts = only(&whole_texts(&ours), &whole_texts(&theirs), |text| !is_leak(text, names));
    ByteDifference { sizes: (here.len(), there.len()), offset, count, position, context, only_build_id, leaks, texts }
}

/// Returns the first offset at which two files differ, and the number of bytes that differ up to the shorter length.
fn differing(here: &[u8], there: &[u8]) -> (usize, usize) {
    let mut offsets = here.iter().zip(there).enumerate().filter(|(_, (a, b))| a != b).map(|(offset, _)| offset);
    match offsets.next() {
        Some(first) => (first, 1 + offsets.count()),
        None => (here.len().min(there.len()), 0),
    }
}

/// Returns the first section that differs, from both sides, and the offset of the first difference in it.
fn locate<'s>(ours: &'s [ImageRegion], theirs: &'s [ImageRegion]) -> Option<(&'s ImageRegion, &'s ImageRegion, usize)> {
    let pairs = ours.iter().zip(theirs).filter(|(ours, theirs)| ours.name == theirs.name);
    let mut different = pairs.filter(|(ours, theirs)| ours.content != theirs.content);
    // The content of the headers follows from the sections, so sections are more informative.
    let first = different.find(|(ours, _)| ours.name.starts_with('.'));
    let (ours, theirs) = first?;
    Some((ours, theirs, differing(&ours.content, &theirs.content).0))
}

/// Returns the escaped bytes around `offset`.
fn around(content: &[u8], offset: usize) -> String {
    let start = offset.saturating_sub(AROUND).min(content.len());
    let end = (offset + AROUND).min(content.len());
    content[start..end].escape_ascii().to_string()
}

/// Returns all runs of at least six printable characters.
fn strings(regions: &[ImageRegion]) -> BTreeSet<&str> {
    regions.iter().flat_map(|region| runs(&region.content)).collect()
}

/// Returns all runs of at least six printable characters in `content`.
pub(super) fn printable(content: &[u8]) -> BTreeSet<&str> {
    runs(content).collect()
}

fn runs(content: &[u8]) -> impl Iterator<Item = &str> {
    let runs = content.split(|byte| !(0x20..0x7f).contains(byte)).filter(|run| run.len() >= 6);
    runs.filter_map(|run| std::str::from_utf8(run).ok())
}

/// Returns all texts of at least five printable characters between zero bytes.
fn whole_texts(regions: &[ImageRegion]) -> BTreeSet<&str> {
    let pieces = regions.iter().flat_map(|region| region.content.split(|byte| *byte == 0));
    let whole = pieces.filter(|piece| piece.len() >= 5 && piece.iter().all(|byte| (0x20..0x7f).contains(byte)));
    whole.filter_map(|piece| std::str::from_utf8(piece).ok()).collect()
}

/// Returns the texts that only one side contains and that look like a path or contain one of `names`.
pub(super) fn leaks(here: &BTreeSet<&str>, there: &BTreeSet<&str>, names: &[String]) -> (Vec<String>, Vec<String>) {
    only(here, there, |text| is_leak(text, names))
}

/// Returns the first few `wanted` texts that only one side contains. Long texts are shortened.
fn only(here: &BTreeSet<&str>, there: &BTreeSet<&str>, wanted: impl Fn(&str) -> bool) -> (Vec<String>, Vec<String>) {
    let side = |a: &BTreeSet<&str>, b: &BTreeSet<&str>| {
        a.difference(b).filter(|text| wanted(text)).take(MOST).map(|text| shortened(text)).collect::<Vec<_>>()
    };
    (side(here, there), side(there, here))
}

fn is_leak(text: &str, names: &[String]) -> bool {
    looks_like_a_path(text) || names.iter().any(|name| text.contains(name.as_str()))
}

/// Checks whether a text contains an absolute path of at least two names. The path of a web address does not count.
fn looks_like_a_path(text: &str) -> bool {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && !"/._+~-".contains(c));
    words.into_iter().any(|word| {
        let mut names = word.strip_prefix('/').unwrap_or_default().split('/');
        let mut is_name = || names.next().is_some_and(|name| name.chars().any(|c| c.is_ascii_alphanumeric()));
        is_name() && is_name()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use netboot_fixtures::packed::pack;

    const MAP: &str = "\n.textdata 0x00000000 0xebfc4 load address 0x1800\n\
                       00000010 l       .textdata\t00000000 .hidden some_text\n\
                       00000000 g     F .textdata\t00000008 main\n";

    fn loader(text: &[u8]) -> Vec<u8> {
        let mut content = vec![0; 16];
        content.extend(text);
        [b"prefix\0\0".to_vec(), pack(&[1; 40]), pack(&[2; 40]), pack(&[3; 40]), pack(&content)].concat()
    }

    #[test]
    fn a_difference_is_found_unpacked_with_symbol_and_context() {
        let (here, there) = (loader(b"built in /home/me/ipxe!\0"), loader(b"built in /srv/you/ipx!\0\0"));
        let difference = compare(&here, &there, &LinkMap::new(MAP), &[]);
        assert!(difference.count > 1);
        assert_eq!(difference.position.unwrap().to_string(), "in .textdata at 0x1a (unpacked), `some_text` + 0xa");
        assert!(difference.context.0.ends_with("built in /home/me/ipxe!\\x00"), "{}", difference.context.0);
        assert_eq!(difference.leaks.0, ["built in /home/me/ipxe!"]);
        assert_eq!(difference.leaks.1, ["built in /srv/you/ipx!"]);
        assert!(!difference.only_build_id);
    }

    #[test]
    fn names_of_this_host_are_leaks_wherever_they_stand() {
        let (here, there) = (loader(b"by me@build-7.example\0"), loader(b"by me@elsewhere.exam\0\0"));
        let names = ["build-7".to_owned()];
        let difference = compare(&here, &there, &LinkMap::new(MAP), &names);
        assert_eq!(difference.leaks, (vec!["by me@build-7.example".to_owned()], vec![]));
        assert_eq!(difference.texts, (vec![], vec!["by me@elsewhere.exam".to_owned()]));
    }

    #[test]
    fn a_file_that_is_cut_short_differs_where_it_ends() {
        let difference = compare(b"abc", b"abcdef", &LinkMap::new(""), &[]);
        assert_eq!((difference.offset, difference.count, difference.sizes), (3, 0, (3, 6)));
        assert_eq!(difference.context, ("abc".into(), "abcdef".into()));
        assert_eq!(difference.position, None);
    }

    #[test]
    fn a_loader_that_is_too_large_is_not_looked_into() {
        let text = b"\0built in /home/me/ipxe\0";
        let larger = [vec![0; MAX_LOADER - text.len() + 1], text.to_vec()].concat();
        let compare = |here: &[u8], there: &[u8]| compare(here, there, &LinkMap::new(""), &[]);
        for (here, there) in [(&larger[..], &b"abc"[..]), (b"abc", &larger)] {
            let difference = compare(here, there);
            assert_eq!((difference.offset, difference.sizes), (0, (here.len(), there.len())));
            assert_eq!((difference.leaks, difference.texts), Default::default());
        }
        assert_eq!(compare(&larger[1..], b"abc").leaks.0, ["built in /home/me/ipxe"]);
    }

    #[test]
    fn long_texts_are_cut() {
        let text = format!("/home/me/{}", "x".repeat(1 << 20));
        let difference = compare(text.as_bytes(), b"abc", &LinkMap::new(""), &[]);
        assert_eq!(difference.leaks.0, [format!("{}… (1048585 bytes)", &text[..200])]);
        let difference = compare("y".repeat(1000).as_bytes(), b"abc", &LinkMap::new(""), &[]);
        assert_eq!(difference.texts.0, [format!("{}… (1000 bytes)", "y".repeat(200))]);
    }

    #[test]
    fn what_looks_like_a_path() {
        for text in ["/home/me/tree", "map=/build/ipxe=.", "in /a/b.c:3", "(/x/y)"] {
            assert!(looks_like_a_path(text), "{text}");
        }
        for text in ["http://192.0.2.1/a/b", "text/html", "/boot.ipxe", "%s/%s/%s", "a // b", "/./..", "net/tcp/http"] {
            assert!(!looks_like_a_path(text), "{text}");
        }
    }
}
