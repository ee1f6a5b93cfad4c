//! The beginning of a file, by which iPXE takes it for a script or not.

use std::fmt;

use crate::syntax::is_space;

/// What scripts begin with; the second one is the name that iPXE had before 2010. Source: `script_probe()` in
/// `src/image/script.c` of iPXE v2.0.0.
pub const MAGICS: [&str; 2] = ["#!ipxe", "#!gpxe"];

/// Byte order mark of UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Why iPXE runs none of the commands of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoScript {
    /// A byte order mark is before the first line.
    ByteOrderMark,
    /// A blank or an empty line is before the first line.
    Blank,
    /// Nothing separates this beginning from what follows, or nothing follows.
    NotSeparated(&'static str),
    /// After this beginning, the line goes on behind the carriage return at this byte.
    CarriageReturn(&'static str, usize),
    /// It begins otherwise.
    Other,
}

impl NoScript {
    /// Returns the reason why iPXE runs none of the commands in `content`; `None` if it runs them.
    #[must_use]
    pub fn of(content: &[u8]) -> Option<Self> {
        let magic = |text: &[u8]| MAGICS.into_iter().find(|magic| text.starts_with(magic.as_bytes()));
        let Some(magic) = magic(content) else {
            let is_before = |byte: &u8| is_space(*byte) || MARK.contains(byte);
            let start = content.iter().take_while(|byte| is_before(byte)).count();
            return Some(match magic(&content[start..]) {
                _ if content.starts_with(MARK) => Self::ByteOrderMark,
                Some(_) => Self::Blank,
                None => Self::Other,
            });
        };
        let rest = &content[magic.len()..];
        if !rest.first().is_some_and(|byte| is_space(*byte)) {
            return Some(Self::NotSeparated(magic));
        }
        let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
        lone_return(line).map(|at| Self::CarriageReturn(magic, magic.len() + at))
    }

    /// Returns what to do about it.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::ByteOrderMark | Self::Blank | Self::Other => "make `#!ipxe` the first line",
            Self::NotSeparated(_) => "write a line break after it",
            Self::CarriageReturn(..) => "save the file with line feeds as line ends",
        }
    }
}

impl fmt::Display for NoScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let then = "so iPXE would not take it for a script";
        match self {
            Self::ByteOrderMark => write!(f, "begins with a byte order mark before `#!ipxe`, {then}"),
            Self::Blank => write!(f, "begins with a blank or an empty line before `#!ipxe`, {then}"),
            Self::NotSeparated(magic) => write!(f, "has no line break after `{magic}`, {then}"),
            Self::CarriageReturn(magic, _) => {
                write!(f, "has only a carriage return after `{magic}`, so iPXE takes what follows for a comment")
            }
            Self::Other => write!(f, "does not begin with `#!ipxe`, {then}"),
        }
    }
}

/// Returns the first carriage return in `line`, which has no line feed, after which something follows: iPXE takes it for
/// a blank.
pub(crate) fn lone_return(line: &[u8]) -> Option<usize> {
    let end = line.iter().rposition(|byte| !is_space(*byte))?;
    memchr::memchr(b'\r', &line[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_begins_as_ipxe_wants_it() {
        for script in
            ["#!ipxe\n", "#!gpxe\n", "#!ipxe \n", "#!ipxe\r\nshell\r\n", "#!ipxe\t#", "#!gpxe\x0b", "#!ipxe\r\r\n"]
        {
            assert_eq!(NoScript::of(script.as_bytes()), None, "{script:?}");
        }
        for (text, problem) in [
            ("", NoScript::Other),
            ("shell\n", NoScript::Other),
            ("#!IPXE\n", NoScript::Other),
            ("#!ipxe", NoScript::NotSeparated("#!ipxe")),
            ("#!gpxeshell\n", NoScript::NotSeparated("#!gpxe")),
            ("\n#!gpxe\n", NoScript::Blank),
            ("\u{feff}#!ipxe\n", NoScript::ByteOrderMark),
            ("#!ipxe\recho x\rshell\r", NoScript::CarriageReturn("#!ipxe", 6)),
            ("#!ipxe # a\rshell\n", NoScript::CarriageReturn("#!ipxe", 10)),
        ] {
            assert_eq!(NoScript::of(text.as_bytes()), Some(problem), "{text:?}");
        }
    }
}
