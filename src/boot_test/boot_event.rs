//! Events that are visible from outside while a machine boots.

use std::net::Ipv4Addr;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;

use super::qmp::Stop;

/// An event during a boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BootEvent {
    /// The DHCP server leased an address to a client.
    Leased(Ipv4Addr),
    /// The TFTP server sent a complete file.
    Sent(Utf8PathBuf),
    /// A client requested a file over TFTP that does not exist.
    NotInTree(Utf8PathBuf),
    /// The TFTP server has no permission to read a file; contains the server's message.
    Refused(String),
    /// A web server answered an HTTP request.
    Asked(WebRequest),
    /// Console output; can be any part of a line.
    ConsoleOutput(String),
    /// The machine stopped.
    Stopped(Stop),
    /// A program that must keep running ended by itself.
    Gone {
        /// Name of the program.
        program: &'static str,
        /// End of its output.
        words: String,
    },
}

/// An HTTP request and the status of its response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebRequest {
    /// Server that received the request.
    pub server: WebServerRole,
    /// Requested URL, from the client's point of view.
    pub url: String,
    /// HTTP status of the response.
    pub status: u16,
}

/// Role of a web server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WebServerRole {
    /// The server on the TFTP server's address.
    NextServer,
    /// The server on an address that is not the TFTP server's.
    Other,
    /// The catch-all server, which stands in for all other hosts.
    Elsewhere,
}

/// An event and its time.
#[derive(Debug, Clone)]
pub struct TimedEvent {
    /// Time since the start of the case.
    pub at: Duration,
    /// The event.
    pub what: BootEvent,
    /// Server log line that reports the event, if there is one.
    pub line: Option<String>,
}

/// Sender through which the servers and the machine report events.
#[derive(Clone)]
pub struct EventSink {
    started: Instant,
    moments: Sender<SinkMessage>,
}

/// Message from an [`EventSink`].
pub enum SinkMessage {
    /// An event.
    Moment(TimedEvent),
    /// Time and text of a server log line that reports no event.
    Log(Duration, String),
}

impl EventSink {
    /// Creates a sink whose clock starts now.
    #[must_use]
    pub fn new(moments: Sender<SinkMessage>) -> Self {
        Self { started: Instant::now(), moments }
    }

    /// Returns the time since the sink was created.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Records `what`, with the log line that reports it. Returns whether the receiver still exists.
    pub fn record(&self, what: BootEvent, line: Option<String>) -> bool {
        self.moments.send(SinkMessage::Moment(TimedEvent { at: self.elapsed(), what, line })).is_ok()
    }

    /// Records a line for the log only. Returns whether the receiver still exists.
    pub fn log(&self, line: String) -> bool {
        self.moments.send(SinkMessage::Log(self.elapsed(), line)).is_ok()
    }
}
