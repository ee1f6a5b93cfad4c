//! Requests and replies over a connection, several at a time. Knows neither ssh nor deployments.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::io::{ErrorKind, Read, Write};
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::wire::{self, Attributes, Extensions, Reply, Request, Status, code};
use crate::progress::Progress;

/// How many requests may wait for their replies: enough to keep a long line busy.
const WINDOW: usize = 64;
/// The most of a file in one request. Every server has to take packets of 34,000 bytes.
const PIECE: u32 = 32_768;
/// How much of a file is asked for before all of that has come: a server may answer in any order, and claim any size.
const STRETCH: u64 = 32 << 20;
/// The largest packet that is taken. No reply to these requests comes near it.
const MAX_PACKET: usize = 256 << 10;
/// How often a wait looks whether it has been cancelled.
const TICK: Duration = Duration::from_millis(100);

/// Why a request has no good reply.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Error {
    /// The connection has ended.
    Gone,
    /// The server says nothing any more.
    Silent,
    /// The user asked to stop.
    Cancelled,
    /// What came is not SFTP.
    NotSftp(String),
    /// The server refuses.
    Refused(Status),
}

/// One side of a connection.
pub(super) struct Client<'p> {
    stream: UnixStream,
    progress: &'p dyn Progress,
    /// How long the server may say nothing while it owes a reply.
    silence: Duration,
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
    pub(super) fn greet(stream: UnixStream, silence: Duration, progress: &'p dyn Progress) -> Result<Self, Error> {
        let ready = stream.set_read_timeout(Some(TICK)).and_then(|()| stream.set_write_timeout(Some(TICK)));
        ready.map_err(|_| Error::Gone)?;
        let inbox = Vec::new();
        let mut client =
            Self { stream, progress, silence, inbox, next: 1, piece: PIECE, extensions: Extensions::default() };
        client.write(&wire::init())?;
        let packet = client.packet(None)?;
        match wire::version(&packet) {
            Some((wire::VERSION, extensions)) => Ok(Self { extensions, ..client }),
            Some((other, _)) => Err(Error::NotSftp(format!("version {other}"))),
            None => Err(Error::NotSftp(wire::one_line(&packet))),
        }
    }

    /// Asks for one thing, which has to be done then.
    pub(super) fn ask(&mut self, request: &Request<'_>) -> Result<(), Error> {
        match self.answer(request)? {
            Reply::Status(status) => done(status),
            other => Err(unexpected(&other)),
        }
    }

    /// What stands at a path; nothing does where `None`.
    pub(super) fn stat(&mut self, path: &str) -> Result<Option<Attributes>, Error> {
        attributes(self.answer(&Request::Stat { path })?)
    }

    /// What stands at each of `paths`, links as links.
    pub(super) fn lstat(&mut self, paths: &[String]) -> Result<Vec<Option<Attributes>>, Error> {
        let mut found = vec![None; paths.len()];
        let mut requests = paths.iter().map(|path| Request::Lstat { path });
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
        match self.answer(&Request::Space { path }) {
            Ok(Reply::Extended(answer)) => wire::free_space(&answer),
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
        let handle = self.open(&Request::OpenToWrite { path })?;
        let mut at = offset;
        let mut requests = content.chunks(PIECE as usize).map(|data| {
            let request = Request::Write { handle: &handle, offset: at, data };
            at += data.len() as u64;
            request
        });
        let sizes: Vec<u64> = content.chunks(PIECE as usize).map(|data| data.len() as u64).collect();
        let written = self.exchange(&mut requests, &mut |index, reply| match reply {
            Reply::Status(status) => done(status).map(|()| advanced(sizes[index])),
            other => Err(unexpected(&other)),
        });
        let synced = written
            .and_then(|()| if self.extensions.fsync { self.ask(&Request::Fsync { handle: &handle }) } else { Ok(()) });
        self.close(&handle, synced)
    }

    /// Hands `range` of the file at `path` to `take`, piece after piece. Ends early where the file does.
    pub(super) fn read_file(
        &mut self,
        path: &str,
        range: Range<u64>,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Error> {
        let handle = self.open(&Request::OpenToRead { path })?;
        let mut at = range.start;
        let mut read = Ok(true);
        while matches!(read, Ok(true)) && at < range.end {
            read = self.read_some(&handle, at..range.end.min(at.saturating_add(STRETCH)), &mut |data| {
                at += data.len() as u64;
                take(data);
            });
        }
        self.close(&handle, read.map(drop))
    }

    /// Reads until the end of `range`, or until a piece is shorter than it was asked for. False at the end of the file.
    fn read_some(&mut self, handle: &[u8], range: Range<u64>, take: &mut dyn FnMut(&[u8])) -> Result<bool, Error> {
        let piece = self.piece;
        let pieces = range.clone().step_by(piece as usize).map(|offset| {
            let left = range.end - offset;
            (offset, u32::try_from(left).unwrap_or(piece).min(piece))
        });
        let (mut early, mut next) = (BTreeMap::new(), 0);
        let (mut short, mut ended) = (None, false);
        let lengths: Vec<u32> = pieces.clone().map(|(_, length)| length).collect();
        let enough = Cell::new(false);
        let pieces = pieces.take_while(|_| !enough.get());
        let mut requests = pieces.map(|(offset, length)| Request::Read { handle, offset, length });
        self.exchange(&mut requests, &mut |index, reply| {
            let data = match reply {
                Reply::Data(data) if !data.is_empty() && data.len() <= lengths[index] as usize => data,
                Reply::Status(status) if status.code == code::END_OF_FILE => Vec::new(),
                Reply::Status(status) => return Err(Error::Refused(status)),
                other => return Err(unexpected(&other)),
            };
            early.insert(index, data);
            // Behind a piece that is too short, the others do not fit.
            while let Some(data) = early.remove(&next).filter(|_| short.is_none() && !ended) {
                take(&data);
                ended = data.is_empty();
                short = (!ended && data.len() < lengths[next] as usize).then_some(data.len());
                next += 1;
            }
            enough.set(ended || short.is_some());
            Ok(())
        })?;
        // The last piece may be short because the file is; any other says how much this server sends.
        if let Some(length) = short.filter(|_| next < lengths.len()).and_then(|length| u32::try_from(length).ok()) {
            self.piece = length;
        }
        Ok(!ended)
    }

    fn open(&mut self, request: &Request<'_>) -> Result<Vec<u8>, Error> {
        match self.answer(request)? {
            Reply::Handle(handle) => Ok(handle),
            Reply::Status(status) if status.code != code::OK => Err(Error::Refused(status)),
            other => Err(unexpected(&other)),
        }
    }

    /// Ends a handle, and what was done with it in `result`.
    fn close(&mut self, handle: &[u8], result: Result<(), Error>) -> Result<(), Error> {
        match result {
            Err(Error::Refused(_)) | Ok(()) => result.and(self.ask(&Request::Close { handle })),
            // Nobody is there to be asked.
            Err(other) => Err(other),
        }
    }

    fn answer(&mut self, request: &Request<'_>) -> Result<Reply, Error> {
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
        requests: &mut dyn Iterator<Item = Request<'_>>,
        take: &mut dyn FnMut(usize, Reply) -> Result<(), Error>,
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
            let packet = self.packet(Some(self.silence))?;
            let (id, reply) = wire::reply(&packet).ok_or_else(|| Error::NotSftp(wire::one_line(&packet)))?;
            let index = waiting.remove(&id).ok_or_else(|| unexpected(&reply))?;
            outcome = outcome.and_then(|()| take(index, reply));
        }
    }

    fn write(&mut self, packet: &[u8]) -> Result<(), Error> {
        let mut rest = packet;
        let mut since = Instant::now();
        while !rest.is_empty() {
            if self.progress.cancelled() {
                return Err(Error::Cancelled);
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
        Ok(())
    }

    /// The next packet, without its length. `patience` is how long the server may be silent.
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
        let mut since = Instant::now();
        while self.inbox.len() < count {
            if self.progress.cancelled() {
                return Err(Error::Cancelled);
            }
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(Error::Gone),
                Ok(count) => {
                    self.inbox.extend_from_slice(&piece[..count]);
                    since = Instant::now();
                }
                Err(error) if passes(error.kind()) => {
                    if patience.is_some_and(|patience| since.elapsed() > patience) {
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

fn done(status: Status) -> Result<(), Error> {
    if status.code == code::OK { Ok(()) } else { Err(Error::Refused(status)) }
}

fn attributes(reply: Reply) -> Result<Option<Attributes>, Error> {
    match reply {
        Reply::Attributes(attributes) => Ok(Some(attributes)),
        Reply::Status(status) if status.code == code::NO_SUCH_FILE => Ok(None),
        Reply::Status(status) if status.code != code::OK => Err(Error::Refused(status)),
        other => Err(unexpected(&other)),
    }
}

fn unexpected(reply: &Reply) -> Error {
    let what = match reply {
        Reply::Status(_) => "a status",
        Reply::Handle(_) => "a handle",
        Reply::Data(_) => "data",
        Reply::Attributes(_) => "attributes",
        Reply::Extended(_) => "an extended reply",
    };
    Error::NotSftp(format!("{what} that nobody asked for"))
}
