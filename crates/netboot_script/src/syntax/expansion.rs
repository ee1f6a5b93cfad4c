//! The `${settings}` in a word.

use super::Span;

/// A setting that iPXE replaces by its value, such as `${net0/mac:hexhyp}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expansion<'t> {
    /// Its bytes, relative to the word, with `${` and `}`.
    pub span: Span,
    /// The block of settings, such as `net0`.
    pub block: Option<&'t str>,
    /// The name.
    pub name: &'t str,
    /// The type, such as `hexhyp`.
    pub kind: Option<&'t str>,
    /// Whether another expansion is part of it.
    pub nested: bool,
}

/// Number of nested expansions that are described; nobody writes more.
const MAX_DEPTH: usize = 8;

/// Returns the expansions in `word`, the inner ones before those that contain them. `Err` is the start of one that is
/// never closed, which iPXE leaves as it is.
#[must_use]
pub fn expansions(word: &str) -> (Vec<Expansion<'_>>, Option<usize>) {
    let bytes = word.as_bytes();
    let (mut open, mut found): (Vec<(usize, bool)>, _) = (Vec::new(), Vec::new());
    let mut at = 0;
    while let Some(length) = memchr::memchr2(b'$', b'}', &bytes[at..]) {
        at += length;
        if bytes[at] == b'$' && bytes.get(at + 1) == Some(&b'{') {
            if let Some((_, nested)) = open.last_mut() {
                *nested = true;
            }
            open.push((at, false));
            at += 2;
            continue;
        }
        if bytes[at] == b'}'
            && let Some((start, nested)) = open.pop()
            && open.len() < MAX_DEPTH
        {
            found.push(read(word, Span { start, end: at + 1 }, nested));
        }
        at += 1;
    }
    (found, open.first().map(|(start, _)| *start))
}

/// Splits the name of the expansion in `span`, as `parse_setting_name` in `src/core/settings.c` does.
fn read(word: &str, span: Span, nested: bool) -> Expansion<'_> {
    let inside = &word[span.start + 2..span.end - 1];
    // A slash or a colon inside another expansion belongs to that one.
    let outside = |wanted: u8| {
        if !nested {
            return memchr::memchr(wanted, inside.as_bytes());
        }
        let mut depth = 0_usize;
        inside.bytes().enumerate().find_map(|(at, c)| {
            match c {
                b'{' => depth += 1,
                b'}' => depth = depth.saturating_sub(1),
                c if c == wanted && depth == 0 => return Some(at),
                _ => {}
            }
            None
        })
    };
    let (block, rest) = match outside(b'/') {
        Some(at) => (Some(&inside[..at]), at + 1),
        None => (None, 0),
    };
    let (name, kind) = match outside(b':').filter(|at| *at >= rest) {
        Some(at) => (&inside[rest..at], Some(&inside[at + 1..])),
        None => (&inside[rest..], None),
    };
    Expansion { span, block, name, kind, nested }
}
