//! What can be seen from outside while a machine boots.

use std::net::Ipv4Addr;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;

use super::qmp::Stop;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BootEvent {
    /// A client got an address.
    Leased(Ipv4Addr),
    /// A file went out over TFTP, whole.
    Sent(Utf8PathBuf),
    /// A file was asked for over TFTP, and there is none.
    NotInTree(Utf8PathBuf),
    /// The TFTP server may not read a file; what it says.
    Refused(String),
    /// A request over HTTP was answered.
    Asked(WebRequest),
    /// The console said more; any part of a line.
    ConsoleOutput(String),
    /// The machine stopped.
    Stopped(Stop),
    /// A program that had to go on ended; its last words.
    Gone {
        /// Which.
        program: &'static str,
        /// Its last words.
        words: String,
    },
}

/// A request over HTTP, and what it got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebRequest {
    /// Which server was asked.
    pub server: WebServerRole,
    /// The address as the client has it.
    pub url: String,
    /// The status of the answer.
    pub status: u16,
}

/// Which web server was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WebServerRole {
    /// The one on the TFTP server's address.
    NextServer,
    /// The one on another address.
    Other,
    /// Whichever stands for the rest of the world.
    Elsewhere,
}

/// When what happened, since the case began.
#[derive(Debug, Clone)]
pub struct TimedEvent {
    /// When.
    pub at: Duration,
    /// What.
    pub what: BootEvent,
    /// The line of a server's log that says so, where there is one.
    pub line: Option<String>,
}

/// Where the servers and the machine tell what happens.
#[derive(Clone)]
pub struct EventSink {
    started: Instant,
    moments: Sender<SinkMessage>,
}

/// What a witness hands on.
pub enum SinkMessage {
    /// Something happened.
    Moment(TimedEvent),
    /// A server's log has a line more, which says nothing of its own.
    Log(Duration, String),
}

impl EventSink {
    /// A witness whose time begins now.
    #[must_use]
    pub fn new(moments: Sender<SinkMessage>) -> Self {
        Self { started: Instant::now(), moments }
    }

    /// Since the beginning.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Takes note of `what`. Whether anybody still listens.
    pub fn record(&self, what: BootEvent, line: Option<String>) -> bool {
        self.moments.send(SinkMessage::Moment(TimedEvent { at: self.elapsed(), what, line })).is_ok()
    }

    /// Takes note of a line that only the log needs. Whether anybody still listens.
    pub fn log(&self, line: String) -> bool {
        self.moments.send(SinkMessage::Log(self.elapsed(), line)).is_ok()
    }
}
