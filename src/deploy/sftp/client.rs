//! SFTP client that pipelines requests over a connection. It is independent of ssh and deployments.

use std::collections::{BTreeMap, HashMap};
use std::io::{ErrorKind, Read, Write};
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::wire::{self, Attributes, Extensions, SftpReply, SftpRequest, SftpStatus, code};
use crate::base::plural::count;
use crate::base::progress::Progress;

/// Maximum number of outstanding requests: enough to fill a link with a high latency.
const WINDOW: usize = 64;
/// Maximum number of a file's bytes in one request. Every server must accept packets of 34,000 bytes.
const PIECE: u32 = 32_768;
/// Maximum size of a received packet. No reply to these requests comes near it.
const MAX_PACKET: usize = 256 << 10;
/// Minimum number of bytes that a server must send at once, except at the end of a file: single bytes would take too
/// much memory and time.
const LEAST_PIECE: u32 = 1024;
/// Number of bytes that count for one second of waiting, as each reply does: the minimum speed of a server.
const BYTES_A_SECOND: u32 = 1000;
/// How far a server may fall behind that speed, as a multiple of the silence limit.
const RESERVE: u32 = 5;
/// Number of bytes that are received at once.
const PIECES: usize = 64 << 10;
/// Interval at which a wait checks for cancellation.
const CANCEL_POLL: Duration = Duration::from_millis(100);

/// Errors from a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Error {
    /// The connection has ended.
    Gone,
    /// The server no longer sends anything.
    Silent,
    /// The server sends something now and then, but would never finish.
    Slow,
    /// The user interrupted the request.
    Cancelled,
    /// The server sent something other than SFTP.
    NotSftp(String),
    /// The server refused.
    Refused(SftpStatus),
}

/// Callback that takes a piece of a file, and the number of bytes that were requested.
type Take<'t> = dyn FnMut(&[u8], usize) -> Result<(), Error> + 't;

/// Client side of a connection.
pub(super) struct Client<'p> {
    stream: UnixStream,
    progress: &'p dyn Progress,
    /// Silence limit: how long the server may send nothing while a reply is outstanding.
    silence: Duration,
    /// Time spent waiting for the server, less the time that its replies count for.
    behind: Duration,
    /// Received bytes that are not processed yet.
    inbox: Vec<u8>,
    /// Identifier of the next request.
    next: u32,
    /// Maximum number of a file's bytes in one reply: servers may send less than was requested.
    piece: u32,
    /// Extensions that the server advertises.
    pub(super) extensions: Extensions,
}

impl<'p> Client<'p> {
    /// Exchanges versions with the server over `stream`. Waits without a limit, since a user may have to log in.
    pub(super) fn handshake(stream: UnixStream, silence: Duration, progress: &'p dyn Progress) -> Result<Self, Error> {
        let ready =
            stream.set_read_timeout(Some(CANCEL_POLL)).and_then(|()| stream.set_write_timeout(Some(CANCEL_POLL)));
        ready.map_err(|_| Error::Gone)?;
        let (inbox, behind) = (Vec::new(), Duration::ZERO);
        let mut client =
            Self { stream, progress, silence, behind, inbox, next: 1, piece: PIECE, extensions: Extensions::default() };
        client.write(&wire::init())?;
        let packet = match client.packet(None) {
            Err(Error::Slow) => return Err(Error::NotSftp(wire::one_line(&client.inbox))),
            packet => packet?,
        };
        match wire::version(&packet) {
            Some((wire::VERSION, extensions)) => Ok(Self { extensions, ..client }),
            Some((other, _)) => Err(Error::NotSftp(format!("version {other}"))),
            None => Err(Error::NotSftp(wire::one_line(&packet))),
        }
    }

    /// Sends a request that has a status as its reply. Any status but OK is an error.
    pub(super) fn ask(&mut self, request: &SftpRequest<'_>) -> Result<(), Error> {
        match self.answer(request)? {
            SftpReply::Status(status) => done(status),
            other => Err(unexpected(&other)),
        }
    }

    /// Returns the attributes of a path, or `None` if nothing is there. Follows links.
    pub(super) fn stat(&mut self, path: &str) -> Result<Option<Attributes>, Error> {
        attributes(self.answer(&SftpRequest::Stat { path })?)
    }

    /// Returns the attributes of each of `paths`, or `None` if nothing is there. Does not follow links.
    pub(super) fn lstat(&mut self, paths: &[String]) -> Result<Vec<Option<Attributes>>, Error> {
        let mut found = vec![None; paths.len()];
        let mut requests = paths.iter().map(|path| SftpRequest::Lstat { path });
        self.exchange(&mut requests, &mut |index, reply| {
            found[index] = attributes(reply)?;
            Ok(())
        })?;
        Ok(found)
    }

    /// Returns the free space at `path` in bytes, if the server supports the request.
    pub(super) fn space(&mut self, path: &str) -> Option<u64> {
        if !self.extensions.space {
            return None;
        }
        match self.answer(&SftpRequest::Space { path }) {
            Ok(SftpReply::Extended(answer)) => wire::free_space(&answer),
            _ => None,
        }
    }

    /// Writes `content` to the file at `path` from `offset` on, and calls `advanced` with the size of each piece that
    /// the server acknowledges. Creates the file if it does not exist.
    pub(super) fn write_file(
        &mut self,
        path: &str,
        content: &[u8],
        offset: u64,
        advanced: &mut dyn FnMut(u64),
    ) -> Result<(), Error> {
        let handle = self.open(&SftpRequest::OpenToWrite { path })?;
        let mut at = offset;
        let mut requests = content.chunks(PIECE as usize).map(|data| {
            let request = SftpRequest::Write { handle: &handle, offset: at, data };
            at += data.len() as u64;
            request
        });
        let sizes: Vec<u64> = content.chunks(PIECE as usize).map(|data| data.len() as u64).collect();
        let written = self.exchange(&mut requests, &mut |index, reply| match reply {
            SftpReply::Status(status) => done(status).map(|()| advanced(sizes[index])),
            other => Err(unexpected(&other)),
        });
        let synced = written.and_then(|()| {
            if self.extensions.fsync { self.ask(&SftpRequest::Fsync { handle: &handle }) } else { Ok(()) }
        });
        self.close(&handle, synced)
    }

    /// Passes `range` of the file at `path` to `take` in pieces. Ends early if the file does.
    pub(super) fn read_file(
        &mut self,
        path: &str,
        range: Range<u64>,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Error> {
        let handle = self.open(&SftpRequest::OpenToRead { path })?;
        let (mut at, mut read, mut tiny) = (range.start, Ok(true), None);
        while matches!(read, Ok(true)) && at < range.end {
            read = self.read_window(&handle, at..range.end, &mut |data, asked| {
                if let Some(length) = tiny.filter(|_| !data.is_empty()) {
                    let found = count(length, "byte");
                    return Err(Error::NotSftp(format!("a piece of {found}, wanted {LEAST_PIECE} at least")));
                }
                at += data.len() as u64;
                tiny = (data.len() < asked && data.len() < LEAST_PIECE as usize).then_some(data.len());
                take(data);
                Ok(())
            });
        }
        self.close(&handle, read.map(drop))
    }

    /// Reads the first pieces of `range`: as many as there can be outstanding requests, or up to the first piece that
    /// is shorter than requested. Returns false at the end of the file.
    fn read_window(&mut self, handle: &[u8], range: Range<u64>, take: &mut Take<'_>) -> Result<bool, Error> {
        let piece = u64::from(self.piece);
        let offset = |index: usize| range.start + index as u64 * piece;
        let length = |index: usize| u32::try_from(piece.min(range.end - offset(index))).unwrap_or(PIECE);
        let mut requests = (0..WINDOW).take_while(|index| offset(*index) < range.end).map(|index| SftpRequest::Read {
            handle,
            offset: offset(index),
            length: length(index),
        });
        // A server may answer in any order.
        let (mut early, mut next, mut short, mut ended) = (BTreeMap::new(), 0, None, false);
        self.exchange(&mut requests, &mut |index, reply| {
            let data = match reply {
                SftpReply::Data(data) if !data.is_empty() && data.len() <= length(index) as usize => data,
                SftpReply::Status(status) if status.code == code::END_OF_FILE => Vec::new(),
                SftpReply::Status(status) => return Err(Error::Refused(status)),
                other => return Err(unexpected(&other)),
            };
            early.insert(index, data);
            // After a piece that is too short, the offsets of the others are wrong.
            while let Some(data) = early.remove(&next).filter(|_| short.is_none() && !ended) {
                let asked = length(next) as usize;
                take(&data, asked)?;
                ended = data.is_empty();
                short = (data.len() < asked).then_some(data.len());
                next += 1;
            }
            Ok(())
        })?;
        // Only the last piece of a file may be short; any other shows how much this server sends at once.
        if let Some(length) =
            short.filter(|_| !ended && offset(next) < range.end).and_then(|length| u32::try_from(length).ok())
        {
            self.piece = length.max(LEAST_PIECE);
        }
        Ok(!ended)
    }

    fn open(&mut self, request: &SftpRequest<'_>) -> Result<Vec<u8>, Error> {
        match self.answer(request)? {
            SftpReply::Handle(handle) => Ok(handle),
            SftpReply::Status(status) if status.code != code::OK => Err(Error::Refused(status)),
            other => Err(unexpected(&other)),
        }
    }

    /// Closes a handle whose operation ended with `result`, and returns the first error.
    fn close(&mut self, handle: &[u8], result: Result<(), Error>) -> Result<(), Error> {
        match result {
            Err(Error::Refused(_)) | Ok(()) => result.and(self.ask(&SftpRequest::Close { handle })),
            // The connection is unusable.
            Err(other) => Err(other),
        }
    }

    fn answer(&mut self, request: &SftpRequest<'_>) -> Result<SftpReply, Error> {
        let mut answer = None;
        self.exchange(&mut std::iter::once(*request), &mut |_, reply| {
            answer = Some(reply);
            Ok(())
        })?;
        answer.ok_or(Error::Gone)
    }

    /// Sends all of `requests`, and passes each reply to `take` as it arrives, with the index of its request. After the
    /// first error of `take`, sends nothing more and waits for the outstanding replies.
    fn exchange(
        &mut self,
        requests: &mut dyn Iterator<Item = SftpRequest<'_>>,
        take: &mut dyn FnMut(usize, SftpReply) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut waiting: HashMap<u32, usize> = HashMap::new();
        let (mut sent, mut outcome) = (0, Ok(()));
        loop {
            while outcome.is_ok() && waiting.len() < WINDOW {
                let Some(request) = requests.next() else { break };
                self.write(&request.packet(self.next))?;
                waiting.insert(self.next, sent);
                self.next = self.next.wrapping_add(1);
                sent += 1;
            }
            if waiting.is_empty() {
                return outcome;
            }
            let since = Instant::now();
            let packet = self.packet(Some(self.silence))?;
            self.has_waited(since, packet.len())?;
            let (id, reply) = wire::reply(&packet).ok_or_else(|| Error::NotSftp(wire::one_line(&packet)))?;
            let index = waiting.remove(&id).ok_or_else(|| unexpected(&reply))?;
            outcome = outcome.and_then(|()| take(index, reply));
        }
    }

    /// Accounts for the time since `since`, in which a reply of `bytes` arrived or a request of that size was sent.
    fn has_waited(&mut self, since: Instant, bytes: usize) -> Result<(), Error> {
        // The usual silence limit is two minutes.
        let second = self.silence / 120;
        let worth = second + second * u32::try_from(bytes).unwrap_or(u32::MAX) / BYTES_A_SECOND;
        self.behind = (self.behind + since.elapsed()).saturating_sub(worth);
        if self.behind > self.silence * RESERVE { Err(Error::Slow) } else { Ok(()) }
    }

    fn write(&mut self, packet: &[u8]) -> Result<(), Error> {
        let mut rest = packet;
        let begun = Instant::now();
        let mut since = begun;
        while !rest.is_empty() {
            if self.progress.cancelled() {
                return Err(Error::Cancelled);
            }
            if begun.elapsed() > self.silence * RESERVE {
                return Err(Error::Slow);
            }
            match self.stream.write(rest) {
                Ok(0) => return Err(Error::Gone),
                Ok(count) => {
                    rest = &rest[count..];
                    since = Instant::now();
                }
                Err(error) if passes(error.kind()) && since.elapsed() > self.silence => return Err(Error::Silent),
                // A server with long answers may itself wait until somebody reads them.
                Err(error) if passes(error.kind()) => {
                    // More than all outstanding replies is not taken.
                    if self.inbox.len() <= WINDOW * MAX_PACKET {
                        self.receive(&mut vec![0; PIECES])?;
                    }
                }
                Err(_) => return Err(Error::Gone),
            }
        }
        self.has_waited(begun, packet.len())
    }

    /// Receives a piece of what arrives into the inbox. Returns whether anything has arrived in time.
    fn receive(&mut self, piece: &mut [u8]) -> Result<bool, Error> {
        match self.stream.read(piece) {
            Ok(0) => Err(Error::Gone),
            Ok(count) => {
                self.inbox.extend_from_slice(&piece[..count]);
                Ok(true)
            }
            Err(error) if passes(error.kind()) => Ok(false),
            Err(_) => Err(Error::Gone),
        }
    }

    /// Returns the next packet without its length. `patience` is how long the server may be silent; once a packet has
    /// begun, it must be complete within the silence limit.
    fn packet(&mut self, patience: Option<Duration>) -> Result<Vec<u8>, Error> {
        self.fill(4, patience)?;
        let length = u32::from_be_bytes([self.inbox[0], self.inbox[1], self.inbox[2], self.inbox[3]]) as usize;
        if length == 0 || length > MAX_PACKET {
            return Err(Error::NotSftp(wire::one_line(&self.inbox)));
        }
        self.fill(4 + length, patience)?;
        let packet = self.inbox[4..4 + length].to_vec();
        self.inbox.drain(..4 + length);
        Ok(packet)
    }

    /// Waits until `count` bytes are in the inbox.
    fn fill(&mut self, count: usize, patience: Option<Duration>) -> Result<(), Error> {
        if self.inbox.len() >= count {
            return Ok(());
        }
        let mut piece = vec![0; PIECES];
        let mut last = Instant::now();
        let mut begun = (!self.inbox.is_empty()).then_some(last);
        while self.inbox.len() < count {
            if self.progress.cancelled() {
                return Err(Error::Cancelled);
            }
            if begun.is_some_and(|begun| begun.elapsed() > self.silence) {
                return Err(if last.elapsed() > self.silence / 2 { Error::Silent } else { Error::Slow });
            }
            if self.receive(&mut piece)? {
                last = Instant::now();
                begun.get_or_insert(last);
            } else if begun.is_none() && patience.is_some_and(|patience| last.elapsed() > patience) {
                return Err(Error::Silent);
            }
        }
        Ok(())
    }
}

/// Checks whether an error is temporary, so that the operation can be tried again.
fn passes(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

fn done(status: SftpStatus) -> Result<(), Error> {
    if status.code == code::OK { Ok(()) } else { Err(Error::Refused(status)) }
}

fn attributes(reply: SftpReply) -> Result<Option<Attributes>, Error> {
    match reply {
        SftpReply::Attributes(attributes) => Ok(Some(attributes)),
        SftpReply::Status(status) if status.code == code::NO_SUCH_FILE => Ok(None),
        SftpReply::Status(status) if status.code != code::OK => Err(Error::Refused(status)),
        other => Err(unexpected(&other)),
    }
}

fn unexpected(reply: &SftpReply) -> Error {
    let what = match reply {
        SftpReply::Status(_) => "a status",
        SftpReply::Handle(_) => "a handle",
        SftpReply::Data(_) => "data",
        SftpReply::Attributes(_) => "attributes",
        SftpReply::Extended(_) => "an extended reply",
    };
    Error::NotSftp(format!("{what} that nobody asked for"))
}
