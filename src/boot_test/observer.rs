//! Observer of a boot: what has happened so far, what must be done next, and the verdict. It does nothing itself, so
//! all of it can be tested without a machine.

use std::collections::VecDeque;
use std::time::Duration;

use camino::Utf8PathBuf;

use super::boot_event::{BootEvent, WebRequest, WebServerRole};
use super::case::{Aim, BootSource, Case, Destination, Fault, Refusal};
use super::expected_console::{ConsoleStep, DENIED, FIRMWARE, FROM_DISK, NOT_LOADED, steps};
use super::guest_check;
use super::phase::Phase;
use super::qmp::Stop;
use super::scenario::Scenario;
use super::userland::REACHED;
use crate::base::paths;

/// An action that is due now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reaction {
    /// Send option 17 from now on.
    OfferRootPath,
    /// Type a key.
    Type(u8),
    /// End the case.
    Done(Verdict),
}

/// Verdict on a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The outcome is as expected.
    Passed,
    /// The outcome is not as expected; contains the reason.
    Failed(String),
}

/// Console messages of a crash, and what they mean.
const CRASHES: [(&str, &str); 4] = [
    ("Kernel panic - not syncing", "the kernel panicked"),
    ("!!!! X64 Exception", "the firmware caught a processor exception"),
    ("Installation failed", "the loader could not unpack itself"),
    ("Failed to load ldlinux", "the loader did not get its second part"),
];

/// Console messages of a loader that runs: the first one that it prints, and its name.
const RUNS: [&str; 2] = ["initialising devices", "Open Source Network Boot Firmware"];

/// End of the URL that iPXE asks for first, where it came from over HTTP.
const AUTOEXEC: &str = "/autoexec.ipxe";

/// What was observed of a case so far.
pub struct Observer<'c> {
    case: &'c Case,
    scenario: &'c Scenario,
    nonce: &'c str,
    /// Phases that were reached, and when.
    pub phases: Vec<(Phase, Duration)>,
    /// All console output.
    pub console: String,
    /// The same without line breaks, which also occur where a line is wider than the screen.
    heard: String,
    /// Offset in `heard` up to which it matches the steps.
    searched: usize,
    /// Offset in the console of a crash message, and what it means.
    crash: Option<(usize, &'static str)>,
    /// Offset in the console of a message that the firmware has continued.
    given_back: Option<usize>,
    steps: VecDeque<ConsoleStep>,
    missing: Vec<Utf8PathBuf>,
    /// Whether the loader itself has requested an address.
    alive: bool,
    /// How and when the machine stopped. Its last output may arrive after that.
    stopped: Option<(Stop, Duration)>,
}

impl<'c> Observer<'c> {
    /// Creates an observer of `case` in `scenario`; `nonce` is what userland must print.
    #[must_use]
    pub fn new(case: &'c Case, scenario: &'c Scenario, nonce: &'c str) -> Self {
        Self {
            case,
            scenario,
            nonce,
            phases: Vec::new(),
            console: String::new(),
            heard: String::new(),
            searched: 0,
            crash: None,
            given_back: None,
            steps: steps(case),
            missing: Vec::new(),
            alive: false,
            stopped: None,
        }
    }

    /// Checks whether the loader runs, or is about to: a loader from a medium is the first that asks for an address.
    fn has_loader(&self) -> bool {
        self.has(if self.case.is_from_medium() { Phase::Address } else { Phase::Loader })
    }

    /// Checks whether `phase` was reached.
    #[must_use]
    pub fn has(&self, phase: Phase) -> bool {
        self.phases.iter().any(|(reached, _)| *reached == phase)
    }

    fn reach(&mut self, phase: Phase, at: Duration) -> bool {
        let new = !self.has(phase);
        if new {
            self.phases.push((phase, at));
        }
        new
    }

    /// Records the event `what`, which happened `at` this time after the start, and returns what to do.
    pub fn see(&mut self, at: Duration, what: &BootEvent) -> Vec<Reaction> {
        let mut reactions = Vec::new();
        let verdict = match what {
            BootEvent::Leased(_) => {
                self.reach(Phase::Address, at);
                self.alive |= self.has_loader();
                None
            }
            BootEvent::Sent(path) => self.sent(path, at, &mut reactions),
            BootEvent::Refused(line) => Some(failed(format!(
                "the TFTP server may not read a file of the tree: `{line}`\nas for any TFTP server, it needs the mode a+rX"
            ))),
            BootEvent::NotInTree(path) => {
                self.missing.push(path.clone());
                None
            }
            BootEvent::Asked(request) => self.on_request(request, at),
            BootEvent::ConsoleOutput(text) => self.on_console(text, at),
            BootEvent::Stopped(stop) => {
                self.stopped = Some((*stop, at));
                None
            }
            BootEvent::Gone { program, words } => Some(failed(format!("{program} exited unexpectedly: {words}"))),
        };
        let verdict = verdict.or_else(|| self.trespass(what));
        let verdict = verdict.or_else(|| self.arrived()).or_else(|| self.step(what, &mut reactions));
        reactions.extend(verdict.map(Reaction::Done));
        reactions
    }

    fn sent(&mut self, path: &Utf8PathBuf, at: Duration, reactions: &mut Vec<Reaction>) -> Option<Verdict> {
        if self.case.is_from_medium() && !self.has(Phase::Script) {
            return Some(failed(format!("the machine fetched `{path}` over TFTP, so it did not boot from the medium")));
        }
        if path == paths::PXELINUX_DEFAULT {
            self.reach(Phase::Script, at);
        }
        if *path != self.scenario.loader_path {
            return None;
        }
        if self.reach(Phase::Loader, at) {
            reactions.extend(self.scenario.root_path_after_loader.is_some().then_some(Reaction::OfferRootPath));
        } else if self.alive && self.case.aim == Aim::Userland && !self.has(Phase::Script) {
            return Some(failed("the loader fetched itself again instead of a boot script"));
        }
        None
    }

    fn on_request(&mut self, request: &WebRequest, at: Duration) -> Option<Verdict> {
        let address = (request.server, request.url.clone());
        if self.case.aim == Aim::WrongServer {
            return self.wrong_server(&address);
        }
        let over_http = self.case.boot_source == BootSource::Http;
        if over_http && request.status == 200 && self.scenario.loader.as_ref() == Some(&address) {
            self.reach(Phase::Loader, at);
            return None;
        }
        if !self.has_loader() {
            // Without HTTP Boot, the request came from a boot ROM, not from the loader.
            return over_http.then(|| {
                let wanted = &self.scenario.offer.loader;
                failed(format!("the firmware asked for `{}`, wanted `{wanted}`", request.url))
            });
        }
        if over_http && request.url.ends_with(AUTOEXEC) {
            return None;
        }
        if request.status != 200 {
            let wanted = if self.has(Phase::Script) {
                format!("`{}`", self.scenario.kernel.1)
            } else {
                let urls: Vec<String> = self.scenario.scripts.iter().map(|(_, url)| format!("`{url}`")).collect();
                urls.join(" or ")
            };
            let source = match (&self.case.destination, self.has(Phase::Script)) {
                (_, true) => "",
                (Destination { root_path: true, .. }, _) => " (DHCP option 17)",
                _ => " (the script's variables)",
            };
            return (self.case.aim == Aim::Userland).then(|| {
                failed(format!(
                    "the loader asked for `{0}`, wanted {wanted}{source}\nif it is meant to go there, name that address as one that loaders chain to",
                    request.url
                ))
            });
        }
        let phases = [
            (Phase::Script, self.scenario.scripts.contains(&address)),
            (Phase::Kernel, self.scenario.kernel == address),
            (Phase::Initrd, self.scenario.initrd == address),
        ];
        for (phase, here) in phases {
            if here {
                self.reach(phase, at);
            }
        }
        None
    }

    /// Returns the verdict if a request to `address` decides a case whose kernel is on another web server.
    fn wrong_server(&self, address: &(WebServerRole, String)) -> Option<Verdict> {
        let (_, url) = &self.scenario.kernel;
        if *address == self.scenario.kernel {
            let text = format!(
                "`{url}` was asked for at its own address: the bug is mended here, and the book's warning is out of date"
            );
            return Some(failed(text));
        }
        let path = url.rsplit('/').next().unwrap_or_default();
        (address.0 == WebServerRole::NextServer && address.1.ends_with(path)).then_some(Verdict::Passed)
    }

    fn on_console(&mut self, text: &str, at: Duration) -> Option<Verdict> {
        // Search only the new text, and as much before it as the longest message.
        let (fresh, heard) = (tail(&self.console), tail(&self.heard));
        self.console.push_str(text);
        self.heard.extend(text.chars().filter(|c| *c != '\n'));
        if self.heard[heard..].contains(&format!("{REACHED}{}", self.nonce)) {
            self.reach(Phase::Userland, at);
        }
        let find = |sign: &str| self.console[fresh..].find(sign).map(|start| fresh + start);
        let crash = CRASHES.iter().find_map(|(sign, words)| Some((find(sign)?, *words)));
        // A BIOS says the same of the stick that is to be tested.
        let of_medium = |sign: &str| self.case.is_from_medium() && sign == FROM_DISK;
        let given_back = FIRMWARE.iter().filter(|sign| !of_medium(sign)).find_map(|sign| find(sign));
        self.crash = self.crash.or(crash);
        self.given_back = self.given_back.or(given_back);
        if self.case.aim == Aim::Fault(Fault::NoRootPath) {
            // OVMF does not survive an iPXE that was started by an iPXE, and that is not under test.
            return None;
        }
        if let Some((start, words)) = self.crash.filter(|(start, _)| self.is_whole(*start)) {
            return Some(failed(self.crash_words(start, words)));
        }
        let start = self.given_back.filter(|start| self.is_whole(*start) && self.has_loader())?;
        matches!(self.case.aim, Aim::Userland | Aim::WrongServer).then(|| {
            let (line, lacking) = (self.line_at(start), self.not_in_tree());
            failed(format!("the loader gave up, and the firmware went on: `{line}`{lacking}"))
        })
    }

    /// Checks whether the console line at `start` is complete.
    fn is_whole(&self, start: usize) -> bool {
        self.console[start..].contains('\n')
    }

    fn crash_words(&self, start: usize, words: &str) -> String {
        format!("{words}: `{}`{}", self.line_at(start), self.not_in_tree())
    }

    /// Checks whether the machine has stopped, or the console has begun to report a crash.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.stopped.is_some() || (self.case.aim != Aim::Fault(Fault::NoRootPath) && self.crash.is_some())
    }

    /// Returns the verdict once Linux has printed everything and powered the machine off.
    fn arrived(&mut self) -> Option<Verdict> {
        let (Stop::PoweredOff, at) = self.stopped? else { return None };
        if self.case.aim != Aim::Userland || !self.has(Phase::Userland) {
            return None;
        }
        if let Some(flaw) = guest_check::flaw(&self.console, self.scenario)? {
            return Some(failed(flaw));
        }
        // Something else may have booted Linux, which is not what is under test.
        let (before, _) = Phase::ALL.split_at(Phase::Userland as usize);
        let unseen = |phase: &&Phase| self.case.is_from_medium() && **phase == Phase::Loader;
        let skipped = before.iter().find(|phase| !self.has(**phase) && !unseen(phase));
        if let Some(phase) = skipped {
            return Some(failed(format!("userland was reached, and it was not seen that {}", phase.words())));
        }
        if !self.phases.is_sorted_by_key(|(phase, _)| *phase) {
            return Some(failed("userland was reached, but not on the way that was to be tested"));
        }
        self.reach(Phase::Off, at);
        Some(Verdict::Passed)
    }

    /// Returns the verdict if `what` shows that something runs which Secure Boot has to refuse.
    fn trespass(&self, what: &BootEvent) -> Option<Verdict> {
        let Aim::Refused(refusal) = self.case.aim else { return None };
        let reason = if refusal == Refusal::UnsignedKernel {
            let runs = self.has(Phase::Userland) || self.console.contains("Linux version ");
            runs.then_some("Secure Boot started a kernel without a signature")
        } else {
            // The firmware itself asks no web server.
            let runs = matches!(what, BootEvent::Asked(_)) || RUNS.iter().any(|sign| self.heard.contains(sign));
            runs.then_some(match refusal {
                Refusal::Tampered => "Secure Boot started a loader with a byte changed",
                Refusal::Unsigned => "Secure Boot started a loader without its signature",
                _ => "shim started a loader whose key it does not know",
            })
        };
        reason.map(failed)
    }

    /// Checks whether what is to be refused was fetched.
    fn can_be_refused(&self) -> bool {
        match self.case.aim {
            Aim::Refused(Refusal::UnsignedKernel) => self.has(Phase::Initrd),
            Aim::Refused(_) => self.has(Phase::Loader),
            _ => true,
        }
    }

    /// Processes the steps that are due.
    fn step(&mut self, what: &BootEvent, reactions: &mut Vec<Reaction>) -> Option<Verdict> {
        if self.steps.is_empty() || !self.can_be_refused() {
            return None;
        }
        while let Some(step) = self.steps.front() {
            let fresh = &self.heard[self.searched..];
            let end = |text: &str| fresh.find(text).map(|start| start + text.len());
            let done = match step {
                ConsoleStep::Says(text) => end(text),
                ConsoleStep::SaysRootPath => end(&self.scenario.boot_url),
                ConsoleStep::GivesBack => FIRMWARE.iter().find_map(|sign| end(sign)),
                ConsoleStep::Denies => denial(fresh),
                ConsoleStep::LoadsItself => {
                    let again = matches!(what, BootEvent::Sent(path) if *path == self.scenario.loader_path);
                    (again && self.alive).then_some(0)
                }
                ConsoleStep::Type(key) => {
                    reactions.push(Reaction::Type(*key));
                    Some(0)
                }
            };
            self.searched += done?;
            self.steps.pop_front();
        }
        Some(Verdict::Passed)
    }

    /// Returns the verdict of a case that ended because of `what` ("nothing happened for 60 seconds").
    #[must_use]
    pub fn given_up(&self, what: &str) -> Verdict {
        if let Some((start, words)) = self.crash {
            return failed(self.crash_words(start, words));
        }
        if let Some((stop, _)) = self.stopped {
            let when = if self.case.aim == Aim::Userland { "before userland was reached" } else { "by itself" };
            return failed(format!("the machine {} {when}{}", stop_words(stop), self.not_in_tree()));
        }
        let expected = match self.steps.front() {
            Some(ConsoleStep::Says(text)) => format!("; waited for the console to say `{text}`"),
            Some(ConsoleStep::SaysRootPath) => format!("; waited for the console to say `{}`", self.scenario.boot_url),
            Some(ConsoleStep::GivesBack) => "; waited for the firmware to go on".to_owned(),
            Some(ConsoleStep::Denies) => "; waited for the firmware to refuse the loader".to_owned(),
            Some(ConsoleStep::LoadsItself) => "; waited for the loader to fetch itself".to_owned(),
            Some(ConsoleStep::Type(_)) | None => String::new(),
        };
        let last = self.phases.iter().max_by_key(|(phase, _)| *phase);
        let reached = match last {
            Some((Phase::Loader, _)) if !self.alive => "the loader was fetched, and did nothing that could be seen",
            Some((phase, _)) => phase.words(),
            None if self.case.is_from_medium() => "no loader on the medium got as far as DHCP",
            None => "the firmware did not get as far as DHCP",
        };
        failed(format!("{what}: {reached}{expected}{}", self.not_in_tree()))
    }

    /// Returns the console line that contains the offset `start`.
    fn line_at(&self, start: usize) -> &str {
        let from = self.console[..start].rfind('\n').map_or(0, |end| end + 1);
        self.console[from..].lines().next().unwrap_or_default().trim()
    }

    /// Returns a note on a file that the loader needed and the tree lacks; empty if there is none.
    fn not_in_tree(&self) -> String {
        let needed = |path: &&Utf8PathBuf| path.file_stem() == Some("ldlinux") || **path == self.scenario.loader_path;
        let mut names: Vec<&str> = self.missing.iter().filter(needed).filter_map(|path| path.file_name()).collect();
        names.dedup();
        match names.first() {
            Some(name) => format!("; it asked for `{name}` over TFTP, which is not in the tree"),
            None => String::new(),
        }
    }

    /// Returns how many phases were reached, of how many.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        (self.phases.len() as u64, Phase::ALL.len() as u64)
    }
}

/// Returns the end of a message that the firmware does not allow what it has loaded.
fn denial(console: &str) -> Option<usize> {
    console.match_indices(NOT_LOADED).find_map(|(start, sign)| {
        let start = start + sign.len();
        let message = console[start..].split("BdsDxe: ").next().unwrap_or_default();
        Some(start + message.find(DENIED)? + DENIED.len())
    })
}

/// Returns the last offset in `text` from which the longest message could begin.
fn tail(text: &str) -> usize {
    const LONGEST_SIGN: usize = 80;
    let start = text.len().saturating_sub(LONGEST_SIGN);
    (0..=start).rev().find(|start| text.is_char_boundary(*start)).unwrap_or(0)
}

fn failed(reason: impl Into<String>) -> Verdict {
    Verdict::Failed(reason.into())
}

fn stop_words(stop: Stop) -> &'static str {
    match stop {
        Stop::PoweredOff => "switched itself off",
        Stop::Reset => "reset itself",
        Stop::Ended => "was ended from outside",
    }
}

#[cfg(test)]
mod tests;
