//! How much a git server may send, and what comes over `git://`.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use percent_encoding::percent_decode_str;

use super::http::{Pace, Paced, Patience};

/// The most refs that a server may list; iPXE's own has 600.
pub(super) const MAX_REFS: usize = 10_000;
/// The most bytes that the list may have.
pub(super) const MAX_LIST: u64 = 16 << 20;
/// The most bytes that a server may send besides; iPXE with its whole history takes 80 MB.
pub(super) const MAX_PACK: u64 = 1 << 30;
/// What is said of a server that goes beyond a limit begins so: it is not asked again.
pub(super) const TOO_MUCH: &str = "the server sends too much";
/// The port of `git://`.
const PORT: u16 = 9418;
/// How often a waiting connection looks whether it should end.
const LOOK: Duration = Duration::from_millis(100);

/// How slow a pack may be: a server that has to make it first sends next to nothing meanwhile.
pub(super) fn pack_pace(pace: Pace) -> Pace {
    Pace { bytes: pace.bytes * 5, span: pace.span * 5 }
}

/// Reads what a server sends in git's protocol, a list of refs first, and refuses too much of it.
pub(super) struct Limited<R> {
    inner: R,
    bytes: u64,
    phase: Phase,
}

enum Phase {
    /// The list of refs: as many flushes are to come, each packet has this much left, and a head that is not whole.
    List {
        flushes: u8,
        refs: usize,
        left: usize,
        head: Vec<u8>,
    },
    Rest,
}

impl<R> Limited<R> {
    /// A list of refs that ends with the last of so many flushes, and whatever follows.
    pub(super) fn list(inner: R, flushes: u8) -> Self {
        Self { inner, bytes: 0, phase: Phase::List { flushes, refs: 0, left: 0, head: Vec::new() } }
    }

    /// What follows a list of refs.
    pub(super) fn rest(inner: R) -> Self {
        Self { inner, bytes: 0, phase: Phase::Rest }
    }

    fn count(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        while let Phase::List { flushes, refs, left, head } = &mut self.phase
            && !bytes.is_empty()
        {
            let skipped = bytes.len().min(*left);
            (*left, bytes) = (*left - skipped, &bytes[skipped..]);
            let taken = bytes.len().min(4 - head.len());
            head.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if head.len() < 4 {
                continue;
            }
            // What is no length is no list, which is for others to say.
            let length = std::str::from_utf8(head).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
            head.clear();
            *left = length.unwrap_or_default().saturating_sub(4);
            *refs += 1;
            *flushes -= u8::from(length == Some(0));
            if *refs > MAX_REFS {
                return Err(io::Error::other(format!("{TOO_MUCH}: more than {MAX_REFS} refs")));
            }
            if *flushes == 0 {
                (self.phase, self.bytes) = (Phase::Rest, bytes.len() as u64);
            }
        }
        let (limit, what) = match self.phase {
            Phase::List { .. } => (MAX_LIST, "a list of refs of"),
            Phase::Rest => (MAX_PACK, "a pack of"),
        };
        if self.bytes > limit {
            return Err(io::Error::other(format!("{TOO_MUCH}: {what} more than {limit} bytes")));
        }
        Ok(())
    }
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.count(&buffer[..count])?;
        Ok(count)
    }
}

/// A connection to a git server over `git://`.
pub(super) struct GitConnection {
    reader: Limited<Paced<Waiting>>,
    writer: TcpStream,
}

impl GitConnection {
    /// Connects to the server of `url`, and asks for the refs of its repository. Reading from it ends soon
    /// after `cancelled`.
    pub(super) fn open(url: &str, patience: &Patience, cancelled: &Arc<AtomicBool>) -> io::Result<Self> {
        let url = url::Url::parse(url).map_err(io::Error::other)?;
        let host = url.host_str().ok_or_else(|| io::Error::other("found no host"))?;
        let port = url.port().unwrap_or(PORT);
        let mut writer = connect(host.trim_matches(['[', ']']), port, patience.connect)?;
        writer.set_read_timeout(Some(LOOK))?;
        writer.set_write_timeout(Some(patience.silence))?;
        let path = percent_decode_str(url.path()).collect::<Vec<u8>>();
        let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let request = [b"git-upload-pack ", &path[..], b"\0host=", host.as_bytes(), b"\0"].concat();
        writer.write_all(format!("{:04x}", request.len() + 4).as_bytes())?;
        writer.write_all(&request)?;
        let (stream, cancelled) = (writer.try_clone()?, Arc::clone(cancelled));
        let waiting = Waiting { stream, silence: patience.silence, cancelled };
        Ok(Self { reader: Limited::list(Paced::new(waiting, pack_pace(patience.pace)), 1), writer })
    }
}

fn connect(host: &str, port: u16, patience: Duration) -> io::Result<TcpStream> {
    let mut result = Err(io::Error::from(io::ErrorKind::HostUnreachable));
    for address in (host, port).to_socket_addrs()? {
        result = TcpStream::connect_timeout(&address, patience);
        if result.is_ok() {
            break;
        }
    }
    result
}

impl Read for GitConnection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

impl Write for GitConnection {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.writer.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits for bytes until nobody wants them any more.
struct Waiting {
    stream: TcpStream,
    silence: Duration,
    cancelled: Arc<AtomicBool>,
}

impl Read for Waiting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let started = Instant::now();
        loop {
            if self.cancelled.load(Ordering::Relaxed) {
                return Err(io::Error::other("interrupted"));
            }
            match self.stream.read(buffer) {
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    if started.elapsed() > self.silence {
                        return Err(io::Error::other("the server fell silent"));
                    }
                }
                other => return other,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(text: &str) -> Vec<u8> {
        format!("{:04x}{text}", text.len() + 4).into_bytes()
    }

    fn read(bytes: &[u8], flushes: u8) -> Result<usize, String> {
        let mut limited = Limited::list(bytes, flushes);
        // In pieces that do not care where packets end.
        let (mut piece, mut sum) = ([0; 1021], 0);
        loop {
            match limited.read(&mut piece) {
                Ok(0) => return Ok(sum),
                Ok(count) => sum += count,
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    #[test]
    fn refs_are_counted_up_to_the_flush() {
        let one = packet(&format!("{} refs/heads/x\n", "0".repeat(40)));
        let many = one.repeat(MAX_REFS - 1);
        let list = [&many[..], b"0000"].concat();
        assert_eq!(read(&list, 1), Ok(list.len()));
        // What follows is no ref.
        assert!(read(&[&list[..], &one.repeat(3)].concat(), 1).is_ok());
        assert_eq!(read(&one.repeat(MAX_REFS + 1), 1), Err("the server sends too much: more than 10000 refs".into()));
        let service = [&packet("# service=git-upload-pack\n")[..], b"0000", &many, &one.repeat(3)].concat();
        assert_eq!(read(&service, 2), Err("the server sends too much: more than 10000 refs".into()));
    }

    #[test]
    fn a_list_of_long_names_ends_at_its_size() {
        let long = packet(&format!("{} refs/heads/{}\n", "0".repeat(40), "x".repeat(60_000)));
        let list = long.repeat(300);
        let error = "the server sends too much: a list of refs of more than 16777216 bytes";
        assert_eq!(read(&list, 1), Err(error.into()));
        assert_eq!(
            read(&b"no length at all".repeat(2 << 20), 1).unwrap_err(),
            "the server sends too much: more than 10000 refs"
        );
    }

    #[test]
    fn what_follows_the_list_has_a_limit_of_its_own() {
        let mut limited = Limited::rest(io::repeat(b'x'));
        let mut piece = vec![0; 1 << 20];
        let error = loop {
            if let Err(error) = limited.read(&mut piece) {
                break error.to_string();
            }
        };
        assert_eq!(error, "the server sends too much: a pack of more than 1073741824 bytes");
    }
}
