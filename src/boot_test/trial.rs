//! One case, from an empty network to a verdict.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};

use super::Request;
use super::case::{Cards, Case};
use super::dhcp::{self, SERVED};
use super::drivers::Drivers;
use super::happening::{Moment, Note, Witness};
use super::machine::{self, Machine};
use super::namespace::{self, Namespace};
use super::phase::Phase;
use super::report::{CaseReport, Evidence};
use super::service::Service;
use super::userland;
use super::watch::{Reaction, Verdict, Watch};
use super::web;
use crate::digest::Sha256Digest;
use crate::fs;
use crate::paths;
use crate::progress::{Kind, Progress, Task};
use crate::tree::checked::CheckedTree;

/// After this part of the deadline without a word from anybody, nothing more is to come.
const SILENCE: u32 = 5;
/// The same after the beginning of a line that says that all is lost.
const LAST_GASP: Duration = Duration::from_secs(3);

/// What all cases share.
pub struct Lab<'a> {
    /// What was asked for.
    pub request: &'a Request<'a>,
    /// The permission to make networks.
    pub namespace: &'a Namespace,
    /// What is tested: a copy that nobody else can write.
    pub tree: &'a CheckedTree,
    /// The kernel.
    pub kernel: Arc<[u8]>,
    /// Its modules for the network card, or why there are none.
    pub drivers: Result<Drivers, String>,
    /// A folder for sockets, variables and logs; nothing in it outlives the run. Its name is nobody's
    /// guess, and so is what userland has to say.
    pub scratch: &'a Utf8Path,
    /// Who hears of it.
    pub progress: &'a dyn Progress,
}

/// Why a case has no verdict.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no network.
    #[error(transparent)]
    Namespace(#[from] namespace::Error),
    /// There is no DHCP server.
    #[error(transparent)]
    Dhcp(#[from] dhcp::Error),
    /// There is no web server.
    #[error(transparent)]
    Web(#[from] web::Error),
    /// There is no machine.
    #[error(transparent)]
    Machine(#[from] machine::Error),
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// The user asked to stop.
    #[error("the boot test was interrupted")]
    Cancelled,
}

/// Runs `case` in a network of its own, which this thread stays in, and in a new folder `name`.
///
/// # Errors
///
/// [`Error`] where there can be no verdict.
pub fn run(case: &Case, name: &str, lab: &Lab<'_>) -> Result<CaseReport, Error> {
    let folder = lab.scratch.join(name);
    let nonce = Sha256Digest::of(folder.as_str().as_bytes()).short();
    let network = &lab.request.network;
    let service = Service::new(case, network, &nonce, lab.request.append);
    lay_out(&service, &folder, lab)?;
    let mut task = Task::start(
        lab.progress,
        Kind::Boot,
        format!("{} in {}", case.name, case.firmware),
        Some(Phase::ALL.len() as u64),
    );
    let addresses = service.addresses(network);
    let two_cards = case.cards != Cards::One;
    lab.namespace.network(&lab.request.kit.ip, network, (&addresses, two_cards), lab.progress)?;
    let (sender, notes) = mpsc::channel();
    let witness = Witness::new(sender);
    // Only an operating system asks DHCP again, and that is what an entry boots.
    let drivers = case.entry.as_ref().and(lab.drivers.as_ref().ok());
    let initrd = Arc::from(userland::initramfs(&lab.request.kit.busybox, &nonce, drivers)?);
    let pages = service.pages(case, &lab.kernel, &initrd);
    let _web = web::Servers::start(lab.request, &service, pages, &folder, &witness)?;
    let dhcp = dhcp::Server::start(lab.request.kit, network, &service.offer, &folder, &witness)?;
    let started = Instant::now();
    let machine =
        Machine::start((case.firmware, case.cards), lab.request.kit, lab.request.accelerator, &folder, &witness)?;
    let mut run =
        Run { watch: Watch::new(case, &service, &nonce), service: &service, dhcp, machine, log: String::new() };
    let verdict = run.attend(&notes, &mut task, lab)?;
    let elapsed = started.elapsed();
    // What cannot be photographed is told in words.
    let picture = run.machine.picture().err().map(|error| error.to_string());
    let processor = run.machine.processor_time();
    let Run { watch, log, .. } = run;
    let evidence = Evidence { folder: &folder, console: watch.console, log, no_picture: picture };
    let report = CaseReport::new(case, &verdict, &watch.phases, (elapsed, processor), evidence);
    task.finish(report.summary());
    Ok(report)
}

/// Makes the machine's folder, and a TFTP folder that shows the tree, with a pxelinux configuration of the
/// case's own.
fn lay_out(service: &Service, folder: &Utf8Path, lab: &Lab<'_>) -> Result<(), fs::Error> {
    machine::prepare(folder, lab.request.kit)?;
    let served = folder.join(SERVED);
    fs::create_dir_all(&served)?;
    let own: Option<Utf8PathBuf> = service.pxelinux.as_ref().map(|_| served.join(paths::PXELINUX_DEFAULT));
    for (name, target) in lab.tree.top()? {
        let shadowed = own.as_ref().is_some_and(|own| own.parent() == Some(served.join(&name).as_path()));
        if !shadowed {
            fs::symlink(&target, &served.join(name))?;
        }
    }
    if let (Some(own), Some(text)) = (own, &service.pxelinux) {
        fs::write_atomic(&own, text.as_bytes())?;
    }
    Ok(())
}

/// A case under way.
struct Run<'c> {
    watch: Watch<'c>,
    service: &'c Service,
    dhcp: dhcp::Server,
    machine: Machine,
    log: String,
}

impl Run<'_> {
    /// Watches until there is a verdict.
    fn attend(&mut self, notes: &Receiver<Note>, task: &mut Task<'_>, lab: &Lab<'_>) -> Result<Verdict, Error> {
        let started = Instant::now();
        let mut heard = Instant::now();
        loop {
            match notes.recv_timeout(Duration::from_millis(100)) {
                Ok(note) => {
                    heard = Instant::now();
                    if let Some(verdict) = self.note(note)? {
                        return Ok(verdict);
                    }
                    let (done, total) = self.watch.progress();
                    task.set(done, Some(total));
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            if lab.progress.cancelled() {
                return Err(Error::Cancelled);
            }
            let silence = if self.watch.is_lost() { LAST_GASP } else { lab.request.deadline / SILENCE };
            if heard.elapsed() > silence {
                return Ok(self.watch.given_up(&format!("nothing happened for {} seconds", silence.as_secs())));
            }
            if started.elapsed() > lab.request.deadline {
                let seconds = lab.request.deadline.as_secs();
                return Ok(self.watch.given_up(&format!("it was not done after {seconds} seconds")));
            }
        }
    }

    fn note(&mut self, note: Note) -> Result<Option<Verdict>, Error> {
        let Moment { at, what, line } = match note {
            Note::Moment(moment) => moment,
            Note::Log(at, line) => {
                self.write(at, &line);
                return Ok(None);
            }
        };
        if let Some(line) = line {
            self.write(at, &line);
        }
        for reaction in self.watch.see(at, &what) {
            match reaction {
                Reaction::OfferRootPath => {
                    if let Some(url) = &self.service.later {
                        self.dhcp.offer_root_path(url)?;
                        self.write(at, &format!("boot test: DHCP sends option 17 from now on: {url}"));
                    }
                }
                Reaction::Type(key) => {
                    // Where the machine is gone, that is told by another way.
                    let typed = self.machine.press(key).map_or("could not be", |()| "was");
                    self.write(at, &format!("boot test: key {key:#04x} {typed} typed"));
                }
                Reaction::Done(verdict) => return Ok(Some(verdict)),
            }
        }
        Ok(None)
    }

    fn write(&mut self, at: Duration, line: &str) {
        self.log += &format!("{:8.3} {line}\n", at.as_secs_f64());
    }
}
