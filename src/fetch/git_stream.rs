//! Limits on what a git server may send, and the `git://` transport.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use percent_encoding::percent_decode_str;

use crate::base::http::{MinThroughput, ThroughputGuard, TransferLimits};

/// Maximum number of objects from a server; iPXE has 85,000 with its whole history.
pub(super) const MAX_OBJECTS: usize = 500_000;

/// Maximum number of refs that a server may list; iPXE's own server has 600.
pub(super) const MAX_REFS: usize = 10_000;
/// Maximum size of the list of refs in bytes.
pub(super) const MAX_LIST: u64 = 16 << 20;
/// Maximum size of everything after the list, in bytes; iPXE with its whole history takes 80 MB.
pub(super) const MAX_PACK: u64 = 1 << 30;
/// Maximum number of packets after the list that are not part of a pack: acknowledgements and messages for the user.
const MAX_LINES: usize = 10_000;
/// Prefix of errors about a server that exceeds a limit; such a server is not asked again.
pub(super) const LIMIT_EXCEEDED: &str = "the server sends too much";
/// The port of `git://`.
const PORT: u16 = 9418;
/// Interval at which a waiting connection checks for cancellation.
const CANCEL_POLL: Duration = Duration::from_millis(100);

/// Returns the minimum throughput for a pack: a server that must first build the pack sends almost nothing meanwhile.
pub(super) fn pack_pace(min_throughput: MinThroughput) -> MinThroughput {
    MinThroughput { bytes: min_throughput.bytes * 5, window: min_throughput.window * 5 }
}

/// Reads what a server sends in git's protocol, a list of refs first, and fails if it exceeds the limits.
pub(super) struct LimitedPktReader<R> {
    inner: R,
    bytes: u64,
    phase: Phase,
    /// Incomplete length of a packet, and the number of bytes to come of the current packet.
    length_prefix: Vec<u8>,
    packet_remaining: usize,
    /// Whether the next byte is the first one of a packet.
    at_packet_start: bool,
    /// Number of packets in this phase that count towards a limit.
    packets: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The list of refs, with the number of flush packets to come.
    List(u8),
    /// Packets after the list; those that belong to a pack begin with the byte 1.
    Rest,
    /// A pack that is not split into packets.
    Pack,
}

impl<R> LimitedPktReader<R> {
    /// Reads a list of refs that ends with the last of `flushes` flush packets, and everything after it.
    pub(super) fn list(inner: R, flushes: u8) -> Self {
        Self { phase: Phase::List(flushes), ..Self::rest(inner) }
    }

    /// Reads everything that follows a list of refs.
    pub(super) fn rest(inner: R) -> Self {
        Self {
            inner,
            bytes: 0,
            phase: Phase::Rest,
            length_prefix: Vec::new(),
            packet_remaining: 0,
            at_packet_start: false,
            packets: 0,
        }
    }

    fn account(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        while self.phase != Phase::Pack
            && let Some(first) = bytes.first()
        {
            if std::mem::take(&mut self.at_packet_start) && self.phase == Phase::Rest && *first == 1 {
                self.packets -= 1;
            }
            let skipped = bytes.len().min(self.packet_remaining);
            (self.packet_remaining, bytes) = (self.packet_remaining - skipped, &bytes[skipped..]);
            let taken = bytes.len().min(4 - self.length_prefix.len());
            self.length_prefix.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if self.length_prefix.len() == 4 {
                self.begin_packet(bytes.len() as u64);
                self.check_packets()?;
            }
        }
        let (limit, what) = match self.phase {
            Phase::List(_) => (MAX_LIST, "a list of refs of"),
            Phase::Rest | Phase::Pack => (MAX_PACK, "a pack of"),
        };
        if self.bytes > limit {
            return Err(io::Error::other(format!("{LIMIT_EXCEEDED}: {what} more than {limit} bytes")));
        }
        Ok(())
    }

    /// Starts a packet whose length was read completely; `more` is the number of bytes available after the length.
    fn begin_packet(&mut self, more: u64) {
        // Something other than a length is not a valid list, which libgit2 reports.
        let length =
            std::str::from_utf8(&self.length_prefix).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
        self.length_prefix.clear();
        self.packet_remaining = length.unwrap_or_default().saturating_sub(4);
        self.at_packet_start = self.packet_remaining > 0;
        self.packets += 1;
        match (self.phase, length) {
            (Phase::List(1), Some(0)) => (self.phase, self.packets, self.bytes) = (Phase::Rest, 0, more),
            (Phase::List(flushes), Some(0)) => self.phase = Phase::List(flushes - 1),
            (Phase::Rest, None) => self.phase = Phase::Pack,
            _ => {}
        }
    }

    fn check_packets(&self) -> io::Result<()> {
        let words = match self.phase {
            Phase::List(_) if self.packets > MAX_REFS => format!("more than {MAX_REFS} refs"),
            // One more, because the packet of a pack is counted before its first byte is known.
            Phase::Rest if self.packets > MAX_LINES + 1 => format!("more than {MAX_LINES} lines beside a pack"),
            _ => return Ok(()),
        };
        Err(io::Error::other(format!("{LIMIT_EXCEEDED}: {words}")))
    }
}

impl<R: Read> Read for LimitedPktReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let account = self.inner.read(buffer)?;
        self.account(&buffer[..account])?;
        Ok(account)
    }
}

/// A connection to a git server over `git://`.
pub(super) struct GitConnection {
    reader: LimitedPktReader<ThroughputGuard<Waiting>>,
    writer: TcpStream,
}

impl GitConnection {
    /// Connects to the server of `url`, and requests the refs of its repository. Reading from the connection ends soon
    /// after `cancelled` is set.
    pub(super) fn open(url: &str, limits: &TransferLimits, cancelled: &Arc<AtomicBool>) -> io::Result<Self> {
        let url = url::Url::parse(url).map_err(io::Error::other)?;
        let host = url.host_str().ok_or_else(|| io::Error::other("found no host"))?;
        let port = url.port().unwrap_or(PORT);
        let mut writer = connect(host.trim_matches(['[', ']']), port, limits.connect)?;
        writer.set_read_timeout(Some(CANCEL_POLL))?;
        writer.set_write_timeout(Some(limits.idle_timeout))?;
        let path = percent_decode_str(url.path()).collect::<Vec<u8>>();
        let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let request = [b"git-upload-pack ", &path[..], b"\0host=", host.as_bytes(), b"\0"].concat();
        writer.write_all(format!("{:04x}", request.len() + 4).as_bytes())?;
        writer.write_all(&request)?;
        let (stream, cancelled) = (writer.try_clone()?, Arc::clone(cancelled));
        let waiting = Waiting { stream, idle_timeout: limits.idle_timeout, cancelled };
        Ok(Self {
            reader: LimitedPktReader::list(ThroughputGuard::new(waiting, pack_pace(limits.min_throughput)), 1),
            writer,
        })
    }
}

fn connect(host: &str, port: u16, limits: Duration) -> io::Result<TcpStream> {
    let mut result = Err(io::Error::from(io::ErrorKind::HostUnreachable));
    for address in (host, port).to_socket_addrs()? {
        result = TcpStream::connect_timeout(&address, limits);
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

/// Waits for bytes until the read is cancelled.
struct Waiting {
    stream: TcpStream,
    idle_timeout: Duration,
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
                    if started.elapsed() > self.idle_timeout {
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
    use netboot_fixtures::property::one_in;
    use proptest::prelude::*;

    use super::*;

    fn packet(text: &str) -> Vec<u8> {
        format!("{:04x}{text}", text.len() + 4).into_bytes()
    }

    fn read(bytes: &[u8], flushes: u8) -> Result<usize, String> {
        let mut limited = LimitedPktReader::list(bytes, flushes);
        // In chunks that do not align with packets.
        let (mut piece, mut sum) = ([0; 1021], 0);
        loop {
            match limited.read(&mut piece) {
                Ok(0) => return Ok(sum),
                Ok(account) => sum += account,
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
        // Packets after the list are not refs.
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
    fn lines_beside_a_pack_are_counted() {
        let error = "the server sends too much: more than 10000 lines beside a pack";
        let list = [&packet(&format!("{} refs/heads/x\n", "0".repeat(40)))[..], b"0000"].concat();
        for line in [&packet("NAK\n")[..], &packet("\u{2}Counting\n"), b"0000", b"0004"] {
            let most = line.repeat(MAX_LINES);
            let pack = packet("\u{1}pack").repeat(2 * MAX_LINES);
            let sent = [&list[..], &most, &pack].concat();
            assert_eq!(read(&sent, 1), Ok(sent.len()));
            assert_eq!(read(&[&list[..], &most, &pack, line, line].concat(), 1), Err(error.into()));
        }
        // A pack that is not split into packets.
        let sent = [&list[..], &packet("NAK\n"), b"PACK", &b"0000".repeat(2 * MAX_LINES)].concat();
        assert_eq!(read(&sent, 1), Ok(sent.len()));
    }

    #[test]
    fn what_follows_the_list_has_a_limit_of_its_own() {
        let mut limited = LimitedPktReader::rest(io::repeat(b'x'));
        let mut piece = vec![0; 1 << 20];
        let error = loop {
            if let Err(error) = limited.read(&mut piece) {
                break error.to_string();
            }
        };
        assert_eq!(error, "the server sends too much: a pack of more than 1073741824 bytes");
    }

    proptest! {
        #![proptest_config(one_in(1))]

        #[test]
        fn a_list_passes_byte_for_byte_in_whatever_chunks_it_comes(
            lines in prop::collection::vec(prop_oneof![6 => "[ -~]{0,60}".prop_map(Some), 1 => Just(None)], 0..12),
            junk in prop::collection::vec(any::<u8>(), 0..20), flushes in 1..=2_u8, size in 1..40_usize,
        ) {
            let list: Vec<u8> = lines.iter()
                .flat_map(|line| line.as_deref().map_or(b"0000".to_vec(), packet))
                .chain(junk)
                .collect();
            let mut limited = LimitedPktReader::list(&list[..], flushes);
            let (mut piece, mut got) = (vec![0; size], Vec::new());
            while let Ok(account) = limited.read(&mut piece) && account > 0 {
                got.extend_from_slice(&piece[..account]);
            }
            prop_assert_eq!(&got, &list);
            let mut whole = LimitedPktReader::list(&b""[..], flushes);
            whole.account(&list).unwrap();
            let state = |it: &LimitedPktReader<&[u8]>| (it.bytes, it.packet_remaining, it.packets, it.at_packet_start, it.length_prefix.clone());
            prop_assert!(limited.phase == whole.phase && state(&limited) == state(&whole));
        }
    }
}
