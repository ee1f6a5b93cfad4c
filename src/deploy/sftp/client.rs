//! Requests and replies over a connection, several at a time. Knows neither ssh nor deployments.

use std::collections::{BTreeMap, HashMap};
use std::io::{ErrorKind, Read, Write};
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::wire::{self, Attributes, Extensions, SftpReply, SftpRequest, SftpStatus, code};
use crate::base::plural::count;
use crate::base::progress::Progress;

/// How many requests may wait for their replies: enough to keep a long line busy.
const WINDOW: usize = 64;
/// The most of a file in one request. Every server has to take packets of 34,000 bytes.
const PIECE: u32 = 32_768;
/// The largest packet that is taken. No reply to these requests comes near it.
const MAX_PACKET: usize = 256 << 10;
/// The least that a server sends of a file at once, but for its end: no memory and no time is enough for single bytes.
const LEAST_PIECE: u32 = 1024;
/// How many bytes make up for a second of waiting, as each reply does: the least speed of a server.
const BYTES_A_SECOND: u32 = 1000;
/// By how many times the length of silence a server may fall behind that.
const RESERVE: u32 = 5;
/// How often a wait looks whether it has been cancelled.
const CANCEL_POLL: Duration = Duration::from_millis(100);

/// Why a request has no good reply.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Error {
    /// The connection has ended.
    Gone,
    /// The server says nothing any more.
    Silent,
    /// The server says something now and then, and would go on like that for ever.
    Slow,
    /// The user asked to stop.
    Cancelled,
    /// What came is not SFTP.
    NotSftp(String),
    /// The server refuses.
    Refused(SftpStatus),
}

/// Takes a piece of a file, of which so many bytes were asked for.
type Take<'t> = dyn FnMut(&[u8], usize) -> Result<(), Error> + 't;

/// One side of a connection.
pub(super) struct Client<'p> {
    stream: UnixStream,
    progress: &'p dyn Progress,
    /// How long the server may say nothing while it owes a reply.
    silence: Duration,
    /// How long it has let this side wait, without the time that its replies were worth.
    behind: Duration,
    /// What has come and was not taken yet.
    inbox: Vec<u8>,
    /// The number of the next request.
    next: u32,
    /// How much of a file a reply has at most: servers may send less than they were asked for.
    piece: u32,
    /// What the server can do besides.
    pub(super) extensions: Extensions,
}

impl<'p> Client<'p> {
    /// Waits for the server's greeting over `stream`, however long a person takes to log in.
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

    /// Asks for one thing, which has to be done then.
    pub(super) fn ask(&mut self, request: &SftpRequest<'_>) -> Result<(), Error> {
        match self.answer(request)? {
            SftpReply::Status(status) => done(status),
            other => Err(unexpected(&other)),
        }
    }

    /// What stands at a path; nothing does where `None`.
    pub(super) fn stat(&mut self, path: &str) -> Result<Option<Attributes>, Error> {
        attributes(self.answer(&SftpRequest::Stat { path })?)
    }

    /// What stands at each of `paths`, links as links.
    pub(super) fn lstat(&mut self, paths: &[String]) -> Result<Vec<Option<Attributes>>, Error> {
        let mut found = vec![None; paths.len()];
        let mut requests = paths.iter().map(|path| SftpRequest::Lstat { path });
        self.exchange(&mut requests, &mut |index, reply| {
            found[index] = attributes(reply)?;
            Ok(())
        })?;
        Ok(found)
    }

    /// How many bytes there is room for at `path`, where the server can tell.
    pub(super) fn space(&mut self, path: &str) -> Option<u64> {
        if !self.extensions.space {
            return None;
        }
        match self.answer(&SftpRequest::Space { path }) {
            Ok(SftpReply::Extended(answer)) => wire::free_space(&answer),
            _ => None,
        }
    }

    /// Puts `content` into the file at `path`, from `offset` on, and hears `advanced` of each piece that the server
    /// has. The file is made where it does not exist.
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

    /// Hands `range` of the file at `path` to `take`, piece after piece. Ends early where the file does.
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

    /// Reads the first pieces of `range`, as many as may wait for their replies; or up to one that is shorter than it was
    /// asked for. Returns false at the end of the file.
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
            // Behind a piece that is too short, the others do not fit.
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

    /// Ends a handle, and what was done with it in `result`.
    fn close(&mut self, handle: &[u8], result: Result<(), Error>) -> Result<(), Error> {
        match result {
            Err(Error::Refused(_)) | Ok(()) => result.and(self.ask(&SftpRequest::Close { handle })),
            // Nobody is there to be asked.
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

    /// Sends all of `requests`, and hands each reply to `take` as it comes, with the number of its request. After the
    /// first that `take` refuses nothing is sent any more, and what is still to come is waited for.
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

    /// Counts the time since `since`, for which there came a reply of `bytes` or a request of that size was taken.
    fn has_waited(&mut self, since: Instant, bytes: usize) -> Result<(), Error> {
        // The usual length of silence is two minutes.
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
                Err(error) if passes(error.kind()) => {}
                Err(_) => return Err(Error::Gone),
            }
        }
        self.has_waited(begun, packet.len())
    }

    /// The next packet, without its length. `patience` is how long the server may be silent; a packet that it has begun
    /// has to be whole within the usual time.
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
        let mut piece = vec![0; 64 << 10];
        let mut last = Instant::now();
        let mut begun = (!self.inbox.is_empty()).then_some(last);
        while self.inbox.len() < count {
            if self.progress.cancelled() {
                return Err(Error::Cancelled);
            }
            if begun.is_some_and(|begun| begun.elapsed() > self.silence) {
                return Err(if last.elapsed() > self.silence / 2 { Error::Silent } else { Error::Slow });
            }
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(Error::Gone),
                Ok(count) => {
                    self.inbox.extend_from_slice(&piece[..count]);
                    last = Instant::now();
                    begun.get_or_insert(last);
                }
                Err(error) if passes(error.kind()) => {
                    if begun.is_none() && patience.is_some_and(|patience| last.elapsed() > patience) {
                        return Err(Error::Silent);
                    }
                }
                Err(_) => return Err(Error::Gone),
            }
        }
        Ok(())
    }
}

/// Whether waiting on is all that is to be done.
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
