//! The way that a script takes: its commands, what it asks servers for, the keys that it gets, and where it ends.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use serde::Serialize;
use similar::TextDiff;

use super::event::{FetchedImage, ProgramEvent};
use super::keys;
use super::open_command::OpenCommand;
use crate::base::plural::count;
use crate::base::secrets;
use crate::boot_test::boot_event::{BootEvent, SinkMessage, TimedEvent};
use crate::printable::single_line;

/// Maximum number of commands; a script that goes on is ended.
const MAX_COMMANDS: usize = 10_000;
/// Number of times that a script may take the same way from a jump to the same jump. The shipped scripts try ten times.
const MAX_CIRCLES: usize = 12;
/// DHCP options that scripts and people look at.
const OPTIONS: [u8; 9] = [3, 6, 12, 15, 17, 42, 66, 67, 175];
/// iPXE's errors of a `prompt` that nobody answers, and of one that is answered by another key.
const TIMED_OUT: &str = "Connection timed out";
const CANCELED: &str = "Operation canceled";
/// End of the line that iPXE prints in place of a command that it does not have.
const NOT_FOUND: &str = ": command not found";
/// Line that iPXE prints if a command has no image to execute. The command succeeds all the same.
const NOTHING_SELECTED: &str = "No image selected";
/// Maximum number of levels that steps are indented by.
const MAX_INDENTATION: usize = 12;
/// Maximum number of characters of a step.
const WIDTH: usize = 16 << 10;
/// Maximum size of all steps in bytes; a script that goes on is ended.
const MAX_SIZE: usize = 1 << 20;
/// Where a way ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RehearsalEnd {
    /// The loader boots an image with this name.
    Boots(String),
    /// The loader boots itself, and the way begins anew.
    LoadsItself,
    /// The loader starts a disk, by this command.
    Disk(String),
    /// The script ends, and the loader returns to the firmware.
    Returns,
    /// The script fails, and the loader returns to the firmware.
    Fails,
    /// The script opens a shell.
    Shell,
    /// The script restarts the machine.
    Restarts,
    /// The script switches the machine off.
    PowersOff,
    /// The script waits for a key without end, in this command.
    Waits(String),
    /// The script goes round in circles, through this command.
    Circles(String),
    /// The script has run as many commands as a rehearsal may have.
    TooManyCommands,
    /// The way is as large as a rehearsal's may be.
    TooLarge,
    /// The rehearsal took longer than this number of seconds.
    TooLong(u64),
    /// iPXE itself has crashed, in this way.
    Crashes(String),
}

impl RehearsalEnd {
    /// Checks whether a machine would run something then: what was booted, what is on the disk, or what the firmware
    /// tries next.
    #[must_use]
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Boots(_) | Self::Disk(_) | Self::Returns)
    }
}

impl fmt::Display for RehearsalEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boots(name) => write!(f, "boots {}", single_line(name)),
            Self::LoadsItself => f.write_str("loads itself again"),
            Self::Disk(command) => write!(f, "starts a disk: {}", single_line(command)),
            Self::Returns => f.write_str("returns to the firmware"),
            Self::Fails => f.write_str("fails, and returns to the firmware"),
            Self::Shell => f.write_str("opens a shell"),
            Self::Restarts => f.write_str("restarts the machine"),
            Self::PowersOff => f.write_str("switches the machine off"),
            Self::Waits(command) => write!(f, "waits for a key without end: {}", single_line(command)),
            Self::Circles(command) => write!(f, "goes round in circles: {}", single_line(command)),
            Self::TooManyCommands => write!(f, "does not end within {}", count(MAX_COMMANDS, "command")),
            Self::TooLarge => write!(f, "does not end within {} KiB of steps", MAX_SIZE >> 10),
            Self::TooLong(seconds) => write!(f, "does not end within {seconds} s"),
            Self::Crashes(how) => write!(f, "crashes iPXE: {}", single_line(how)),
        }
    }
}

/// A step of a way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WayStep {
    /// Time since the start of iPXE.
    #[serde(skip)]
    pub at: Duration,
    /// Number of commands that it is within.
    pub depth: usize,
    /// What happens, in one line.
    pub text: String,
}

/// The way that a script takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Way {
    /// The steps.
    pub steps: Vec<WayStep>,
    /// Where it ends.
    pub end: RehearsalEnd,
}

impl Way {
    /// Returns the way as lines for people, with the time of each step in seconds.
    #[must_use]
    pub fn timeline(&self) -> String {
        let mut text = String::new();
        for WayStep { at, depth, text: step } in &self.steps {
            let _ = writeln!(text, "{:7.2}  {}{step}", at.as_secs_f64(), indentation(*depth));
        }
        let _ = writeln!(text, "         {}", self.end);
        text
    }

    /// Returns the way as lines that are the same for each rehearsal of the same script in the same network: without times,
    /// and without the numbers of iPXE's errors, which differ between versions.
    #[must_use]
    pub fn record(&self) -> String {
        let mut text = String::new();
        for WayStep { depth, text: step, .. } in &self.steps {
            let _ = writeln!(text, "{}{}", indentation(*depth), without_number(step));
        }
        let _ = writeln!(text, "{}", self.end);
        text
    }

    /// Compares the way with a `record` of another one, and returns the lines that differ, with those around them. Lines of
    /// the record that begin with `#` are comments.
    #[must_use]
    pub fn difference(&self, record: &str) -> Option<String> {
        let lines = record.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        let wanted: String = lines.map(|line| format!("{}\n", line.trim_end())).collect();
        let found = self.record();
        if wanted == found {
            return None;
        }
        let diff = TextDiff::from_lines(&wanted, &found);
        Some(diff.unified_diff().context_radius(2).missing_newline_hint(false).to_string())
    }
}

/// Returns the blanks before a step.
fn indentation(depth: usize) -> String {
    "  ".repeat(depth.min(MAX_INDENTATION))
}

/// Returns `text` without the address of iPXE's page about an error.
fn without_number(text: &str) -> &str {
    let page = [" (https://ipxe.org/", " (http://ipxe.org/"].iter().find_map(|mark| text.rfind(mark));
    let text = page.filter(|_| text.ends_with(')')).map_or(text, |at| &text[..at]);
    // An error that iPXE has no text for.
    if text.starts_with("failed: Error 0x") { "failed: Error" } else { text }
}

/// A way from one jump to the same jump.
#[derive(Default)]
struct Circle {
    /// Length of the trail at the last jump.
    start: usize,
    /// Hash of the trail up to that.
    way: u64,
    /// How often the way before it was the same.
    times: usize,
}

/// Makes a way of what happens.
#[derive(Default)]
pub struct WayBuilder {
    /// Path of the loader in the tree.
    loader: String,
    steps: Vec<WayStep>,
    /// Commands in progress.
    open: Vec<OpenCommand>,
    /// Number of commands so far.
    commands: usize,
    /// Whether the last one was an `exit` by which the script that the loader has embedded has ended.
    exits: bool,
    /// The condition that has failed last, and the error; nothing if another command has followed.
    unmet: Option<(String, String)>,
    /// Depths and hashes of all steps and quiet commands so far.
    trail: Vec<(usize, u64)>,
    /// Size of all steps so far in bytes.
    size: usize,
    /// The ways from one jump to the same jump.
    circles: HashMap<String, Circle>,
    /// Keys that were taken one after the other.
    keys: Vec<u8>,
    /// The images that would be passed to the kernel.
    images: Vec<FetchedImage>,
    /// The last lease, with the DHCP options beside it.
    lease: Option<(Duration, String)>,
    /// The line that iPXE is printing, up to its first characters.
    printed: String,
}

impl WayBuilder {
    /// Begins the way of a loader with this path in the tree.
    #[must_use]
    pub fn of(loader: String) -> Self {
        Self { loader, ..Self::default() }
    }

    /// Returns the way that ends here.
    #[must_use]
    pub fn end(mut self, at: Duration, end: RehearsalEnd) -> Way {
        self.settle(at);
        if let Some((line, text)) = self.unmet.take().filter(|_| end == RehearsalEnd::Fails) {
            self.push(at, self.depth(), &line);
            self.push(at, self.depth() + 1, &format!("failed: {text}"));
        }
        Way { steps: self.steps, end }
    }

    /// Returns whether the script has ended by `exit`: then a script that fails does so on purpose, as `exit 1` is how it
    /// lets the firmware go on.
    #[must_use]
    pub fn exits(&self) -> bool {
        self.exits
    }

    /// Returns whether a server may have something to say about the innermost command.
    #[must_use]
    pub fn asks_servers(&self) -> bool {
        self.open.last().is_some_and(OpenCommand::asks_servers)
    }

    /// Returns whether the innermost command may have asked a TFTP server, which reports that late, and none has reported
    /// anything.
    #[must_use]
    pub fn awaits_tftp(&self) -> bool {
        self.open.last().is_some_and(OpenCommand::awaits_tftp)
    }

    /// Adds what iPXE reports. Returns the end of the way if that is it.
    pub fn add(&mut self, at: Duration, event: ProgramEvent) -> Option<RehearsalEnd> {
        if let ProgramEvent::Key(byte) = event {
            self.keys.push(byte);
            return None;
        }
        self.settle(at);
        match event {
            ProgramEvent::Command(words) => return self.begin(at, words),
            ProgramEvent::Result { success, text } => self.finish(at, success, &text),
            ProgramEvent::Forever => return Some(RehearsalEnd::Waits(self.innermost())),
            ProgramEvent::Image(image) => self.images.push(image),
            ProgramEvent::Boot(kernel) => {
                let depth = self.depth();
                self.push(at, depth, &format!("kernel {}", described(&kernel)));
                for image in std::mem::take(&mut self.images) {
                    self.push(at, depth, &format!("initrd {}", described(&image)));
                }
                let is_itself = kernel.stand_in.as_ref() == Some(&self.loader);
                return Some(if is_itself { RehearsalEnd::LoadsItself } else { RehearsalEnd::Boots(kernel.name) });
            }
            ProgramEvent::Waiting | ProgramEvent::Key(_) => {}
        }
        None
    }

    /// Adds what iPXE prints, if it is the only report: that there is no such command, or nothing to execute.
    pub fn add_printed(&mut self, at: Duration, text: &str) {
        for piece in text.split_inclusive('\n') {
            if self.printed.len() + piece.len() <= WIDTH {
                self.printed.push_str(piece);
            }
            if piece.ends_with('\n') {
                let line = std::mem::take(&mut self.printed);
                let line = line.trim_end();
                let name = line.strip_suffix(NOT_FOUND);
                let has_nothing = || line == NOTHING_SELECTED && self.open.last().is_some_and(OpenCommand::executes);
                if name.is_some_and(|name| !name.is_empty() && !name.contains(' ')) || has_nothing() {
                    self.settle(at);
                    self.push(at, self.depth(), line);
                }
            }
        }
    }

    /// Adds what a server reports.
    pub fn add_of_server(&mut self, message: &SinkMessage) {
        match message {
            SinkMessage::Moment(TimedEvent { at, what, line }) => match what {
                BootEvent::Leased(address) => self.lease = Some((*at, format!("DHCP: address {address}"))),
                BootEvent::Asked(request) => {
                    let line = line.as_deref().unwrap_or_default();
                    let (asked, answer) = line.rsplit_once(": ").unwrap_or_default();
                    let method =
                        asked.strip_suffix(&request.url).and_then(|asked| asked.split_ascii_whitespace().last());
                    let answer = if request.status == 404 { "404" } else { answer };
                    self.push_of_server(*at, &format!("{} {}: {answer}", method.unwrap_or("GET"), request.url));
                }
                BootEvent::Sent(path) => self.push_of_server(*at, &format!("TFTP {path}: sent")),
                BootEvent::NotInTree(path) => self.push_of_server(*at, &format!("TFTP {path}: not found")),
                BootEvent::Refused(text) => self.push_of_server(*at, &format!("TFTP: {text}")),
                BootEvent::ConsoleOutput(_) | BootEvent::Stopped(_) | BootEvent::Gone { .. } => {}
            },
            SinkMessage::Log(_, line) => {
                if let (Some((_, text)), Some(option)) = (&mut self.lease, sent_option(line)) {
                    let _ = write!(text, ", {option}");
                }
            }
        }
    }

    fn push_of_server(&mut self, at: Duration, text: &str) {
        self.settle(at);
        if let Some(command) = self.open.last_mut() {
            command.is_served = true;
        }
        self.push(at, self.depth(), text);
    }

    /// Returns the number of steps that the next step is within.
    fn depth(&self) -> usize {
        self.open.iter().filter(|command| command.is_shown()).count()
    }

    fn begin(&mut self, at: Duration, words: Vec<String>) -> Option<RehearsalEnd> {
        let command = OpenCommand::new(words);
        let (depth, line, name) = (self.depth(), command.line(), command.name().to_owned());
        if command.is_shown() {
            self.push(at, depth, &line);
        } else {
            self.trail(depth, &line);
        }
        self.commands += usize::from(command.is_counted());
        self.exits = false;
        self.unmet = None;
        let is_refused = command.is_refused();
        self.open.push(command);
        if matches!(name.as_str(), "goto" | "chain") && self.circle(&line) > MAX_CIRCLES {
            return Some(RehearsalEnd::Circles(line));
        }
        match name.as_str() {
            _ if self.commands >= MAX_COMMANDS => Some(RehearsalEnd::TooManyCommands),
            _ if self.size > MAX_SIZE => Some(RehearsalEnd::TooLarge),
            // What iPXE refuses leads nowhere; it says so itself.
            _ if is_refused => None,
            "shell" => Some(RehearsalEnd::Shell),
            "reboot" => Some(RehearsalEnd::Restarts),
            "poweroff" => Some(RehearsalEnd::PowersOff),
            "sanboot" => Some(RehearsalEnd::Disk(line)),
            _ => None,
        }
    }

    /// Returns how often the script has taken the same way back to the jump `line`, which is the last step.
    fn circle(&mut self, line: &str) -> usize {
        let here = Circle { start: self.trail.len(), ..Circle::default() };
        let Circle { start, way, times } = self.circles.entry(line.to_owned()).or_insert(here);
        let mut hasher = DefaultHasher::new();
        // A script that loads itself gets deeper with each round.
        let round = &self.trail[*start..];
        let outer = round.first().map_or(0, |(depth, _)| *depth);
        for (depth, step) in round {
            (depth.saturating_sub(outer), step).hash(&mut hasher);
        }
        let found = hasher.finish();
        *times = if *way == found { *times + 1 } else { 0 };
        (*start, *way) = (self.trail.len(), found);
        *times
    }

    fn finish(&mut self, at: Duration, success: bool, text: &str) {
        let Some(command) = self.open.pop() else { return };
        let (depth, name) = (self.depth(), command.name());
        self.exits |= success && name == "exit" && depth == 0;
        if !success && command.is_condition() {
            self.unmet = Some((command.line(), text.to_owned()));
        } else if !success && name == "prompt" && text.starts_with(TIMED_OUT) {
            self.push(at, depth + 1, "no key was pressed");
        } else if !success && name == "prompt" && text.starts_with(CANCELED) {
            self.push(at, depth + 1, "another key was pressed");
        } else if !success {
            if !command.is_shown() {
                self.push(at, depth, &command.line());
            }
            self.push(at, depth + 1, &format!("failed: {text}"));
        } else if !text.is_empty() && name == "choose" {
            self.push(at, depth + 1, &format!("chosen: {text}"));
        } else if !text.is_empty() && name == "read" {
            self.push(at, depth + 1, &format!("typed: {text}"));
        }
    }

    /// Adds `text` to what distinguishes one round of a circle from the next.
    fn trail(&mut self, depth: usize, text: &str) {
        let mut hasher = DefaultHasher::new();
        without_number(text).hash(&mut hasher);
        self.trail.push((depth, hasher.finish()));
    }

    /// Adds what was complete before the next event.
    fn settle(&mut self, at: Duration) {
        let depth = self.depth();
        if let Some((at, text)) = self.lease.take() {
            self.push(at, depth, &text);
        }
        if !self.keys.is_empty() {
            let names = keys::names_of(&std::mem::take(&mut self.keys)).join(" ");
            self.push(at, depth, &format!("keys: {names}"));
        }
    }

    fn innermost(&self) -> String {
        self.open.last().map(OpenCommand::line).unwrap_or_default()
    }

    fn push(&mut self, at: Duration, depth: usize, text: &str) {
        self.trail(depth, text);
        let mut text = single_line(&secrets::shown_line(text));
        if let Some((end, _)) = text.char_indices().nth(WIDTH) {
            text.truncate(end);
            text.push_str("...");
        }
        self.size += text.len();
        if self.size <= MAX_SIZE {
            self.steps.push(WayStep { at, depth, text: text.trim_end().to_owned() });
        }
    }
}

fn described(image: &FetchedImage) -> String {
    let FetchedImage { name, size, command_line, .. } = image;
    format!("{name}, {size} bytes: {command_line}").trim_end_matches([':', ' ']).to_owned()
}

/// Returns the DHCP option in a line of dnsmasq's log, if people look at it.
fn sent_option(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("sent size:")?;
    let (_, rest) = rest.split_once("option:")?;
    let (code, rest) = rest.trim_start().split_once(' ')?;
    let code: u8 = code.parse().ok().filter(|code| OPTIONS.contains(code))?;
    Some(format!("option {code} {}", rest.split_ascii_whitespace().collect::<Vec<_>>().join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot_test::boot_event::{WebRequest, WebServerRole};

    fn command(line: &str) -> ProgramEvent {
        ProgramEvent::Command(line.split(' ').map(str::to_owned).collect())
    }

    fn result(text: &str, success: bool) -> ProgramEvent {
        ProgramEvent::Result { success, text: text.into() }
    }

    fn log(line: &str) -> SinkMessage {
        SinkMessage::Log(Duration::ZERO, line.into())
    }

    fn moment(what: BootEvent, line: &str) -> SinkMessage {
        SinkMessage::Moment(TimedEvent { at: Duration::ZERO, what, line: Some(line.into()) })
    }

    fn asked(url: &str, status: u16, line: &str) -> SinkMessage {
        moment(BootEvent::Asked(WebRequest { server: WebServerRole::Other, url: url.into(), status }), line)
    }

    /// Returns a way with one step of each kind.
    fn way() -> Way {
        let mut builder = WayBuilder::default();
        let at = Duration::from_millis(1234);
        assert_eq!(builder.add(at, command("dhcp")), None);
        assert!(builder.asks_servers());
        builder.add_of_server(&log("dnsmasq-dhcp: 1 sent size: 9 option: 17 root-path  http://old"));
        builder.add_of_server(&moment(BootEvent::Leased([192, 0, 2, 108].into()), ""));
        builder.add_of_server(&log("dnsmasq-dhcp: 1 sent size:  4 option: 51 lease-time  5m"));
        builder.add_of_server(&log("dnsmasq-dhcp: 1 sent size: 18 option: 17 root-path  http://192.0.2.2/x"));
        builder.add(at, result("", true));
        builder.add(at, command("choose target"));
        for byte in b"\x1b[B\r" {
            builder.add(at, ProgramEvent::Key(*byte));
        }
        builder.add(at, result("b", true));
        builder.add(at, command("chain http://u:secret@192.0.2.2/x"));
        builder.add_of_server(&asked("http://192.0.2.2/x", 200, "web server: GET http://192.0.2.2/x: 200, 9 bytes"));
        builder.add(at, command("kernel http://192.0.2.2/k"));
        builder.add_of_server(&asked("http://192.0.2.2/k", 404, "web server: GET: 404, 10 bytes"));
        builder.add(at, result("No such file or directory (https://ipxe.org/2d0c613b)", false));
        builder.add(at, command("boot"));
        let image = |name: &str, command_line: &str| FetchedImage {
            name: name.into(),
            size: 9,
            command_line: command_line.into(),
            stand_in: None,
        };
        builder.add(at, ProgramEvent::Image(image("a.img", "")));
        let end = builder.add(at, ProgramEvent::Boot(image("vmlinuz", "a=b"))).unwrap();
        builder.end(at, end)
    }

    const RECORD: &str = "dhcp
  DHCP: address 192.0.2.108, option 17 root-path http://192.0.2.2/x
choose target
  keys: down enter
  chosen: b
chain http://…@192.0.2.2/x
  GET http://192.0.2.2/x: 200, 9 bytes
  kernel http://192.0.2.2/k
    GET http://192.0.2.2/k: 404
    failed: No such file or directory
  boot
    kernel vmlinuz, 9 bytes: a=b
    initrd a.img, 9 bytes
boots vmlinuz
";

    #[test]
    fn a_way_is_read_from_what_happens() {
        let way = way();
        assert_eq!(way.record(), RECORD);
        assert!(way.timeline().starts_with("   1.23  dhcp\n"), "{}", way.timeline());
        assert!(way.timeline().contains("failed: No such file or directory (https://ipxe.org/2d0c613b)\n"));
        assert!(way.end.is_good());
    }

    #[test]
    fn a_difference_is_shown_with_what_is_around_it() {
        let way = way();
        assert_eq!(way.difference(&format!("# a comment\n\n{RECORD}")), None);
        let other = RECORD.replace("chosen: b", "chosen: c");
        let difference = way.difference(&other).unwrap();
        assert!(difference.contains("\n-  chosen: c\n+  chosen: b\n"), "{difference}");
    }

    #[test]
    fn what_has_no_end_is_ended() {
        let mut builder = WayBuilder::default();
        let mut circle = || {
            builder.add(Duration::ZERO, result("", true));
            builder.add(Duration::ZERO, command("goto again"))
        };
        let rounds = (0..99).position(|_| circle().is_some());
        assert_eq!(rounds, Some(MAX_CIRCLES + 2));
        let mut builder = WayBuilder::default();
        let deeper = (0..99).position(|_| builder.add(Duration::ZERO, command("chain a")).is_some());
        assert_eq!(deeper, Some(MAX_CIRCLES + 2));
        let mut builder = WayBuilder::default();
        let mut counting = |number: usize| {
            builder.add(Duration::ZERO, command(&format!("echo try {number}")));
            builder.add(Duration::ZERO, command("goto again"))
        };
        assert!((0..99).all(|number| counting(number).is_none()), "what changes may come to an end");
        let mut builder = WayBuilder::default();
        let mut counting_silently = |number: usize| {
            builder.add(Duration::ZERO, command(&format!("iseq {number} 99")));
            builder.add(Duration::ZERO, result("", false));
            builder.add(Duration::ZERO, command("goto again"))
        };
        assert!((0..99).all(|number| counting_silently(number).is_none()));
        let mut builder = WayBuilder::default();
        let line = format!("echo {}", "x".repeat(WIDTH - 9));
        let end = (0..99).find_map(|_| builder.add(Duration::ZERO, command(&line)));
        assert_eq!(end, Some(RehearsalEnd::TooLarge));
        let mut builder = WayBuilder::default();
        let end = (0..).find_map(|number| {
            builder.add(Duration::ZERO, ProgramEvent::Key(b'x'));
            builder.add(Duration::ZERO, command(&format!("goto {number}")))
        });
        assert_eq!(end, Some(RehearsalEnd::TooManyCommands));
        let mut builder = WayBuilder::default();
        builder.add(Duration::ZERO, command("prompt"));
        assert_eq!(builder.add(Duration::ZERO, ProgramEvent::Waiting), None);
        assert_eq!(builder.add(Duration::ZERO, ProgramEvent::Forever), Some(RehearsalEnd::Waits("prompt".into())));
    }

    #[test]
    fn quiet_commands_are_steps_if_they_fail() {
        let mut builder = WayBuilder::default();
        for (line, success) in [("set a b", true), ("iseq b c", false), ("imgfree x", false), ("isset x", false)] {
            builder.add(Duration::ZERO, command(line));
            builder.add(Duration::ZERO, result(if success { "" } else { "why" }, success));
        }
        let record = |builder: WayBuilder, end| builder.end(Duration::ZERO, end).record();
        let wanted = "imgfree x\n  failed: why\nisset x\n  failed: why\nfails, and returns to the firmware\n";
        assert_eq!(record(builder, RehearsalEnd::Fails), wanted);
        // A command that nobody has thought of is one of them, and indents nothing.
        let mut builder = WayBuilder::default();
        for event in [command("item a A"), result("", true), command("time dhcp"), command("dhcp"), result("", true)] {
            builder.add(Duration::ZERO, event);
        }
        builder.add(Duration::ZERO, result("why", false));
        let wanted = "dhcp\ntime dhcp\n  failed: why\nfails, and returns to the firmware\n";
        assert_eq!(record(builder, RehearsalEnd::Fails), wanted);
        let mut builder = WayBuilder::default();
        builder.add(Duration::ZERO, command("iseq b c"));
        builder.add(Duration::ZERO, result("why", false));
        builder.add(Duration::ZERO, command("exit"));
        assert_eq!(record(builder, RehearsalEnd::Returns), "exit\nreturns to the firmware\n");
    }

    #[test]
    fn tftp_is_waited_for_where_it_may_be_asked() {
        let awaits = |line: &str| {
            let mut builder = WayBuilder::default();
            builder.add(Duration::ZERO, command(line));
            builder.awaits_tftp()
        };
        assert!(awaits("chain pxelinux.0") && awaits("imgfetch --name x tftp://192.0.2.1/x"));
        assert!(!awaits("chain") && !awaits("kernel http://192.0.2.1/k a=b") && !awaits("echo tftp://a"));
        let mut builder = WayBuilder::default();
        builder.add(Duration::ZERO, command("chain pxelinux.0"));
        builder.add_of_server(&moment(BootEvent::Sent("pxelinux.0".into()), ""));
        assert!(!builder.awaits_tftp());
    }

    #[test]
    fn an_exit_with_a_number_is_no_failure() {
        let mut builder = WayBuilder::default();
        builder.add(Duration::ZERO, command("exit 1"));
        builder.add(Duration::ZERO, result("", true));
        assert!(builder.exits());
        assert_eq!(builder.steps.len(), 1);
        builder.add(Duration::ZERO, command("dhcp"));
        assert!(!builder.exits());
        builder.add(Duration::ZERO, command("exit"));
        builder.add(Duration::ZERO, result("", true));
        builder.add(Duration::ZERO, result("", true));
        assert!(!builder.exits(), "another script has ended");
    }

    #[test]
    fn an_exit_without_a_number_fails() {
        let mut builder = WayBuilder::default();
        builder.add(Duration::ZERO, command("exit nope"));
        builder.add(Duration::ZERO, result("Invalid argument", false));
        assert!(!builder.exits());
        assert_eq!(builder.steps[1].text, "failed: Invalid argument");
    }

    #[test]
    fn a_loader_that_loads_itself_boots_nothing() {
        let end = |stand_in: Option<&str>| {
            let image = FetchedImage {
                name: "ipxe.efi".into(),
                size: 9,
                command_line: String::new(),
                stand_in: stand_in.map(str::to_owned),
            };
            WayBuilder::of("ipxe.efi".into()).add(Duration::ZERO, ProgramEvent::Boot(image)).unwrap()
        };
        assert_eq!(end(Some("ipxe.efi")), RehearsalEnd::LoadsItself);
        assert!(!RehearsalEnd::LoadsItself.is_good());
        for other in [None, Some("undionly.kpxe"), Some("sites/a/ipxe.efi")] {
            assert_eq!(end(other), RehearsalEnd::Boots("ipxe.efi".into()));
        }
    }

    #[test]
    fn a_prompt_fails_for_different_reasons() {
        let steps = |text: &str| {
            let mut builder = WayBuilder::default();
            builder.add(Duration::ZERO, command("prompt"));
            builder.add(Duration::ZERO, result(text, false));
            builder.end(Duration::ZERO, RehearsalEnd::Fails).steps.pop().unwrap().text
        };
        assert_eq!(steps("Connection timed out (https://ipxe.org/4c0a8)"), "no key was pressed");
        assert_eq!(steps("Operation canceled (https://ipxe.org/0b8)"), "another key was pressed");
        assert_eq!(steps("Invalid argument"), "failed: Invalid argument");
    }

    #[test]
    fn a_command_that_does_not_exist_is_a_step() {
        let mut builder = WayBuilder::default();
        for text in ["a: command", " not found\nb c: command not found\n", ": command not found\n"] {
            builder.add_printed(Duration::ZERO, text);
        }
        builder.add_printed(Duration::ZERO, &format!("{}\nd: command not found\n", "x".repeat(2 * WIDTH)));
        let way = builder.end(Duration::ZERO, RehearsalEnd::Fails);
        let record = "a: command not found\nd: command not found\nfails, and returns to the firmware\n";
        assert_eq!(way.record(), record);
    }

    #[test]
    fn a_command_that_has_nothing_to_execute_says_so() {
        let mut builder = WayBuilder::default();
        builder.add(Duration::ZERO, command("boot"));
        builder.add_printed(Duration::ZERO, "No image selected\n");
        builder.add(Duration::ZERO, result("", true));
        builder.add(Duration::ZERO, command("echo No image selected"));
        builder.add_printed(Duration::ZERO, "No image selected\n");
        let record = "boot\n  No image selected\necho No image selected\nreturns to the firmware\n";
        assert_eq!(builder.end(Duration::ZERO, RehearsalEnd::Returns).record(), record);
    }

    #[test]
    fn a_way_is_as_recorded_after_empty_words() {
        let mut builder = WayBuilder::default();
        let end = (0..).find_map(|_| builder.add(Duration::ZERO, command("chain "))).unwrap();
        let way = builder.end(Duration::ZERO, end);
        assert_eq!(way.difference(&way.record()), None);
    }

    #[test]
    fn commands_that_leave_ipxe_are_the_end() {
        for (line, end, is_good) in [
            ("shell", RehearsalEnd::Shell, false),
            ("reboot --warm", RehearsalEnd::Restarts, false),
            ("poweroff", RehearsalEnd::PowersOff, false),
            ("sanboot --drive 0x80", RehearsalEnd::Disk("sanboot --drive 0x80".into()), true),
        ] {
            let found = WayBuilder::default().add(Duration::ZERO, command(line)).unwrap();
            assert_eq!((found.is_good(), found), (is_good, end));
        }
        for line in ["shell x", "reboot --cold", "poweroff now", "sanboot --no-such-option", "sanboot --help"] {
            assert_eq!(WayBuilder::default().add(Duration::ZERO, command(line)), None);
        }
    }
}
