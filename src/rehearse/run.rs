//! A single rehearsal, from an empty network to the end of the way.

use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};

use super::event::{NONCE, OutputParser, OutputPart, ProgramEvent};
use super::fault::RehearsalFault;
use super::rehearsal::Rehearsal;
use super::request::{Error, RehearsalRequest};
use super::served::ServedPages;
use super::way::{RehearsalEnd, Way, WayBuilder};
use crate::base::fs;
use crate::base::process::{Command, Running, Streams};
use crate::base::progress::Progress;
use crate::boot_test::boot_event::{BootEvent, EventSink, SinkMessage, TimedEvent};
use crate::boot_test::case::BootSource;
use crate::boot_test::dhcp::{DhcpServer, Offer, SERVED};
use crate::boot_test::namespace::{INTERFACE, Namespace};
use crate::boot_test::web::{Servers, WebSetup};
use crate::digest::Sha256Digest;

/// Interval at which the program's end and the user's wish to stop are noticed.
const POLL: Duration = Duration::from_millis(5);
/// Time after which servers have reported everything that they have done before an event of iPXE.
const SETTLED: Duration = Duration::from_millis(5);
/// Time within which the last output of a program that has ended arrives.
const LAST: Duration = Duration::from_millis(50);
/// Time within which dnsmasq starts; a rehearsal begins without it after that.
const READY: Duration = Duration::from_secs(5);
/// Time within which dnsmasq has logged a transfer that is over.
const TFTP_LOG: Duration = Duration::from_millis(500);
/// Maximum size of the console's text and of the servers' log in bytes; the rest is dropped.
const MAX_EVIDENCE: usize = 64 << 10;
/// Maximum address space of iPXE, in bytes: a machine with as much memory boots the largest images.
const MAX_MEMORY: u64 = 2 << 30;
/// Number of attempts to start a program whose file another thread's child still holds.
const ATTEMPTS: u32 = 100;

/// A finished rehearsal.
#[derive(Debug, Clone)]
pub struct Rehearsed {
    /// The way.
    pub way: Way,
    /// What iPXE has printed.
    pub console: String,
    /// The logs of the servers.
    pub log: String,
    /// Time from the first program's start to the end.
    pub elapsed: Duration,
    /// Processor time of iPXE.
    pub processor: Duration,
    /// Number of keys that iPXE has taken, in bytes.
    pub keys_taken: usize,
}

/// Rehearses in a network of its own, which this thread stays in, and in the empty folder `folder`.
///
/// # Errors
///
/// [`Error`] if the rehearsal cannot take place. How the script fares is no error.
pub(super) fn run(
    rehearsal: &Rehearsal<'_>,
    request: &RehearsalRequest<'_>,
    namespace: &Namespace,
    (folder, tftp): (&Utf8Path, &Utf8Path),
    progress: &dyn Progress,
) -> Result<Rehearsed, Error> {
    let started = Instant::now();
    let Rehearsal { network, loader, site, script, .. } = rehearsal;
    let served = ServedPages::new(rehearsal, request.tree, request.answers, request.fault);
    namespace.network((&request.tools.ip, folder), network, (&served.addresses, false), progress)?;
    fs::symlink(tftp, &folder.join(SERVED))?;
    let program = folder.join("ipxe");
    fs::write_new(&program, &request.programs.stamp(&site.config, loader.platform(), script)?, 0o755)?;
    let (sender, servers) = mpsc::channel();
    let sink = EventSink::new(sender);
    let setup = WebSetup { tools: request.tools, network, servers: &served.servers, tls_ports: &served.tls_ports };
    let _web = Servers::start(&setup, served.pages, folder, (&sink, progress))?;
    let root_path = (request.fault != Some(RehearsalFault::NoRootPath)).then(|| network.boot.clone());
    let offer = Offer {
        loader: loader.as_str().to_owned(),
        boot_source: BootSource::Pxe,
        root_path,
        second_nic_root_path: None,
        dead: request.fault.map(RehearsalFault::dead_services).unwrap_or_default(),
    };
    let _dhcp = DhcpServer::start(request.tools, network, &offer, folder, &sink)?;
    let early = await_dnsmasq(&servers, progress)?;
    let offset = sink.elapsed();
    let (running, input, output) = start(&program, rehearsal, request)?;
    let way = WayBuilder::of(rehearsal.path.to_string());
    let supervisor = Supervisor {
        input,
        servers,
        sink,
        offset,
        running,
        way,
        console: String::new(),
        log: early,
        processor: Duration::ZERO,
        keys_taken: 0,
    };
    supervisor.run(&output, request.deadline, progress, started)
}

/// Waits until dnsmasq answers, for iPXE's clock does not wait for it, and returns its first messages.
fn await_dnsmasq(servers: &Receiver<SinkMessage>, progress: &dyn Progress) -> Result<String, Error> {
    let (started, mut log) = (Instant::now(), String::new());
    while started.elapsed() < READY {
        if progress.cancelled() {
            return Err(Error::Cancelled);
        }
        match servers.recv_timeout(POLL) {
            Ok(SinkMessage::Log(at, line)) => {
                keep(&mut log, &format!("{:8.3} {line}\n", at.as_secs_f64()));
                // It has bound its sockets by then.
                if line.contains("dnsmasq") && line.contains(": started, version ") {
                    break;
                }
            }
            Ok(SinkMessage::Moment(TimedEvent { what: BootEvent::Gone { program, words }, .. })) => {
                return Err(Error::ServerGone { program, words });
            }
            Ok(SinkMessage::Moment(_)) | Err(_) => {}
        }
    }
    Ok(log)
}

/// Byte after which iPXE goes on after a report.
const ACK: u8 = 0xff;

/// Starts iPXE, and returns its standard input and the parts of its output as they arrive.
fn start(
    program: &Utf8Path,
    rehearsal: &Rehearsal<'_>,
    request: &RehearsalRequest<'_>,
) -> Result<(Running, PipeWriter, Receiver<Vec<OutputPart>>), Error> {
    let command = Command::new("rehearse", program.as_str()).args(arguments(rehearsal, &request.settings));
    // The name of the folder is random.
    let nonce: String = Sha256Digest::of(program.as_str().as_bytes()).to_string().chars().take(NONCE).collect();
    let mut attempt = 0;
    loop {
        attempt += 1;
        let (input, mut keys) = io::pipe().map_err(Error::Pipe)?;
        let (reader, output) = io::pipe().map_err(Error::Pipe)?;
        // A pipe has room for more keys than a command line.
        keys.write_all(&[nonce.as_bytes(), request.keys.bytes()].concat()).map_err(Error::Pipe)?;
        let streams = Streams { input: Some(OwnedFd::from(input)), output: Some(OwnedFd::from(output)) };
        match command.start(streams) {
            Ok(running) => {
                running.limit_memory(MAX_MEMORY);
                return Ok((running, keys, read(reader, OutputParser::new(nonce))));
            }
            Err(error) if error.is_busy() && attempt < ATTEMPTS => std::thread::sleep(POLL),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Returns iPXE's arguments: its network card with the settings of that, and other settings.
fn arguments(rehearsal: &Rehearsal<'_>, settings: &[(String, String)]) -> Vec<String> {
    let mut card = format!("tap,if={INTERFACE},mac={}", rehearsal.mac);
    let mut others = Vec::new();
    for (name, value) in settings {
        match name.strip_prefix("net0/") {
            Some(name) => card += &format!(",{name}={value}"),
            None => others.push(format!("{name}={value}")),
        }
    }
    let mut arguments = vec!["--net".to_owned(), card];
    if !others.is_empty() {
        arguments.extend(["--settings".to_owned(), others.join(",")]);
    }
    arguments
}

/// Reads the output in a separate thread.
fn read(mut output: PipeReader, mut parser: OutputParser) -> Receiver<Vec<OutputPart>> {
    // The program waits while nobody takes what it has printed.
    let (sender, receiver) = mpsc::sync_channel(16);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = output.read(&mut buffer) {
            if sender.send(parser.feed(&buffer[..length])).is_err() {
                break;
            }
        }
    });
    receiver
}

/// Observes a rehearsal.
struct Supervisor {
    /// iPXE's standard input.
    input: PipeWriter,
    servers: Receiver<SinkMessage>,
    sink: EventSink,
    /// When iPXE started, by the clock of `sink`.
    offset: Duration,
    running: Running,
    way: WayBuilder,
    console: String,
    log: String,
    processor: Duration,
    keys_taken: usize,
}

impl Supervisor {
    fn run(
        mut self,
        output: &Receiver<Vec<OutputPart>>,
        deadline: Duration,
        progress: &dyn Progress,
        started: Instant,
    ) -> Result<Rehearsed, Error> {
        let watched = Instant::now();
        let end = loop {
            self.drain(Duration::ZERO)?;
            let received = output.recv_timeout(POLL);
            if let Some(processor) = self.running.processor_time() {
                self.processor = processor;
            }
            let ended = match received {
                Ok(parts) => self.take(parts)?,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => self.ended(output)?,
            };
            if let Some(end) = ended {
                break end;
            }
            if progress.cancelled() {
                return Err(Error::Cancelled);
            }
            if watched.elapsed() > deadline {
                break RehearsalEnd::TooLong(deadline.as_secs());
            }
        };
        self.drain(SETTLED)?;
        let at = self.now();
        let Self { way, console, log, processor, keys_taken, .. } = self;
        Ok(Rehearsed { way: way.end(at, end), console, log, elapsed: started.elapsed(), processor, keys_taken })
    }

    fn now(&self) -> Duration {
        self.sink.elapsed().saturating_sub(self.offset)
    }

    fn take(&mut self, parts: Vec<OutputPart>) -> Result<Option<RehearsalEnd>, Error> {
        for part in parts {
            match part {
                OutputPart::Text(text) => {
                    keep(&mut self.console, &text);
                    let at = self.now();
                    self.way.add_printed(at, &text);
                }
                OutputPart::Event(event) => {
                    let is_fast = matches!(event, ProgramEvent::Key(_) | ProgramEvent::Waiting);
                    if !is_fast {
                        self.hear_servers()?;
                    }
                    self.keys_taken += usize::from(matches!(event, ProgramEvent::Key(_)));
                    let at = self.now();
                    if let Some(end) = self.way.add(at, event) {
                        return Ok(Some(end));
                    }
                    // If iPXE has ended, that is noticed later.
                    let _ = self.input.write_all(&[ACK]);
                }
            }
        }
        Ok(None)
    }

    /// Takes what servers have to say about the command in progress, before the next event of iPXE.
    fn hear_servers(&mut self) -> Result<(), Error> {
        // What a web server does is reported before iPXE hears of it.
        self.drain(Duration::ZERO)?;
        if self.way.asks_servers() {
            self.drain(SETTLED)?;
        }
        let waiting = Instant::now();
        while self.way.awaits_tftp() && waiting.elapsed() < TFTP_LOG {
            self.drain(SETTLED)?;
        }
        Ok(())
    }

    /// Takes what servers have reported, until they are silent for a time of `patience`.
    fn drain(&mut self, patience: Duration) -> Result<(), Error> {
        while let Ok(mut message) = self.servers.recv_timeout(patience) {
            let (at, line) = match &mut message {
                SinkMessage::Moment(TimedEvent { what: BootEvent::Gone { program, words }, .. }) => {
                    return Err(Error::ServerGone { program, words: std::mem::take(words) });
                }
                SinkMessage::Moment(TimedEvent { at, line, .. }) => (at, line.clone()),
                SinkMessage::Log(at, line) => (at, Some(line.clone())),
            };
            *at = at.saturating_sub(self.offset);
            if let Some(line) = line {
                let line = format!("{:8.3} {line}\n", at.as_secs_f64());
                keep(&mut self.log, &line);
            }
            self.way.add_of_server(&message);
        }
        Ok(())
    }

    /// Returns the end of the way if iPXE has ended by itself, after the rest of its output.
    fn ended(&mut self, output: &Receiver<Vec<OutputPart>>) -> Result<Option<RehearsalEnd>, Error> {
        let Some(status) = self.running.status() else { return Ok(None) };
        while let Ok(parts) = output.recv_timeout(LAST) {
            if let Some(end) = self.take(parts)? {
                return Ok(Some(end));
            }
        }
        Ok(Some(match status.code() {
            Some(0) => RehearsalEnd::Returns,
            Some(_) if self.way.exits() => RehearsalEnd::Returns,
            Some(_) => RehearsalEnd::Fails,
            None => RehearsalEnd::Crashes(status.to_string()),
        }))
    }
}

/// Appends `more` to `text`, as far as there is room.
fn keep(text: &mut String, more: &str) {
    if text.len() + more.len() <= MAX_EVIDENCE {
        text.push_str(more);
    }
}

/// Returns the path of a folder for the rehearsal number `number`.
pub(super) fn folder(scratch: &Utf8Path, number: usize) -> Utf8PathBuf {
    scratch.join(format!("rehearsal-{number}"))
}
