//! The frames of the language server protocol: a head with a length, and a message in JSON.
//!
//! What a peer announces takes no memory before it is there, and no more than the limits.

use std::io::{self, BufRead, Read as _, Write};

use netboot_loaders::printable::printable;
use serde_json::Value;

/// Maximum number of bytes of the head of a message.
const MAX_HEAD: u64 = 4 << 10;

/// Maximum number of bytes of a message: a document of the largest size, with escapes for its line breaks and quotes.
pub(super) const MAX_BODY: u64 = 8 << 20;

/// A message from a peer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// Its content.
    Body(Vec<u8>),
    /// It had that many bytes, and was skipped.
    TooLarge(u64),
    /// There are no more messages.
    End,
}

/// Reads the next message.
pub(super) fn read(input: &mut impl BufRead) -> io::Result<Received> {
    let Some(length) = read_head(input)? else { return Ok(Received::End) };
    let mut content = input.take(length);
    if length > MAX_BODY {
        let skipped = io::copy(&mut content, &mut io::sink())?;
        return Ok(if skipped == length { Received::TooLarge(length) } else { Received::End });
    }
    let mut body = Vec::new();
    content.read_to_end(&mut body)?;
    if body.len() as u64 == length { Ok(Received::Body(body)) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Reads the head of a message, and returns the length of the body.
fn read_head(input: &mut impl BufRead) -> io::Result<Option<u64>> {
    let mut input = input.take(MAX_HEAD);
    let (mut length, mut line) = (None, Vec::new());
    loop {
        line.clear();
        input.read_until(b'\n', &mut line)?;
        if line.is_empty() && input.limit() == MAX_HEAD {
            return Ok(None);
        }
        if line.last() != Some(&b'\n') {
            let text = format!("found a message whose head has more than {MAX_HEAD} bytes");
            let ended = input.limit() > 0;
            return Err(if ended { io::ErrorKind::UnexpectedEof.into() } else { io::Error::other(text) });
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if text.is_empty() {
            break;
        }
        let field = text.split_once(':');
        let number = |value: &str| value.trim().parse::<u64>().ok();
        length = match field {
            Some((name, value)) if name.eq_ignore_ascii_case("Content-Length") => Some(number(value)),
            Some(_) => length,
            None => Some(None),
        };
        if length == Some(None) {
            let start: String = text.chars().take(80).collect();
            let text =
                format!("found `{}` in the head of a message, wanted `Content-Length: NUMBER`", printable(&start));
            return Err(io::Error::other(text));
        }
    }
    match length.flatten() {
        Some(length) => Ok(Some(length)),
        None => Err(io::Error::other("found no `Content-Length: NUMBER` in the head of a message")),
    }
}

/// Writes a message.
pub(super) fn write(output: &mut impl Write, message: &Value) -> io::Result<()> {
    let body = message.to_string();
    write!(output, "Content-Length: {}\r\n\r\n{body}", body.len())?;
    output.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_within_limits() {
        let of = |mut text: &[u8]| read(&mut text).map_err(|error| error.to_string());
        assert_eq!(of(b""), Ok(Received::End));
        assert_eq!(of(b"content-length:2\r\nX: y\r\n\r\n{}z"), Ok(Received::Body(b"{}".to_vec())));
        // What is announced need not come.
        for length in ["9000000", "99999999999999", "18446744073709551615"] {
            assert_eq!(of(format!("Content-Length: {length}\r\n\r\n{{}}").as_bytes()), Ok(Received::End));
        }
        let large = [&b"Content-Length: 9000000\r\n\r\n"[..], &vec![b' '; 9_000_000]].concat();
        assert_eq!(of(&large), Ok(Received::TooLarge(9_000_000)));
        for (text, wanted) in [
            (&b"Content-Length: 18446744073709551616\r\n\r\n"[..], "wanted `Content-Length: NUMBER`"),
            (b"Content-Length: -5\r\n\r\n", "found `Content-Length: -5` in"),
            (b"\x1b[2J\r\n\r\n", "found `\\u{1b}[2J` in"),
            (b"X: y\r\n\r\n{}", "found no `Content-Length: NUMBER`"),
            (b"Content-Length: 2\r\n\r\n{", "unexpected end of file"),
            (b"Content-Le", "unexpected end of file"),
            (&[b'x'; 5000], "more than 4096 bytes"),
            (&b"a: b\n".repeat(1000), "more than 4096 bytes"),
        ] {
            assert!(of(text).unwrap_err().contains(wanted), "{wanted}: {:?}", of(text));
        }
    }
}
