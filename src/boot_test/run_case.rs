//! Run of one case, from an empty network to a verdict.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};

use super::boot_event::{EventSink, SinkMessage, TimedEvent};
use super::case::{Case, NicModel, NicSetup};
use super::dhcp::{self, SERVED};
use super::drivers::Drivers;
use super::machine::{self, Machine, MachineSetup};
use super::namespace::{self, Namespace};
use super::observer::{Observer, Reaction, Verdict};
use super::phase::Phase;
use super::report::json::{CaseReport, Evidence};
use super::request::BootTestRequest;
use super::scenario::{Images, Scenario};
use super::secure_boot;
use super::secure_tools::SecureTools;
use super::tools::MachineTools;
use super::userland;
use super::web;
use crate::base::diagnostic::{Class, Diagnose, Diagnosis};
use crate::base::progress::{Progress, Task, TaskKind};
use crate::base::{fs, paths};
use crate::digest::Sha256Digest;
use crate::loader::target::Platform;
use crate::tree::open::CheckedTree;

/// Divisor of the deadline: after that time without any event, a case ends.
const SILENCE: u32 = 5;
/// Time without any event after which a case ends if the console has begun to report a crash.
const LAST_GASP: Duration = Duration::from_secs(3);

/// Data that all cases share.
pub struct Environment<'a> {
    /// The request for the boot test.
    pub request: &'a BootTestRequest<'a>,
    /// Permission to create networks.
    pub namespace: &'a Namespace,
    /// The tree under test: a copy that other users cannot write.
    pub tree: &'a CheckedTree,
    /// Kernel modules for the network card of the machines that boot entries, or why there are none.
    pub guest_drivers: BTreeMap<Platform, Result<Drivers, String>>,
    /// Platforms whose QEMU lacks the model of network card.
    pub without_card: BTreeSet<Platform>,
    /// Folder for sockets, variables and logs; its content does not outlive the run. Its name cannot be guessed, and so
    /// neither can the nonce that userland prints.
    pub scratch: &'a Utf8Path,
    /// Receives progress events.
    pub progress: &'a dyn Progress,
}

impl Environment<'_> {
    /// Checks whether QEMU lacks the network card of the machine of `case`.
    pub fn lacks_card(&self, case: &Case) -> bool {
        case.nic != NicModel::default() && self.without_card.contains(&case.loader.platform)
    }

    /// Returns the kernel modules for a machine that boots an entry, or why there are none. Only an operating system uses
    /// DHCP again, and only entries boot one.
    pub fn drivers(&self, case: &Case) -> Option<&Result<Drivers, String>> {
        case.entry.as_ref()?;
        self.guest_drivers.get(&case.loader.platform)
    }
}

/// Errors that leave a case without a verdict.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The network cannot be created.
    #[error(transparent)]
    Namespace(#[from] namespace::Error),
    /// The DHCP server cannot be started.
    #[error(transparent)]
    Dhcp(#[from] dhcp::Error),
    /// The web server cannot be started.
    #[error(transparent)]
    Web(#[from] web::Error),
    /// The machine cannot be started.
    #[error(transparent)]
    Machine(#[from] machine::Error),
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// A machine with Secure Boot cannot be prepared.
    #[error(transparent)]
    SecureBoot(#[from] secure_boot::Error),
    /// There is no machine for the case, for this reason.
    #[error("{0}")]
    NoMachine(String),
    /// The user asked to stop.
    #[error("the boot test was interrupted")]
    Cancelled,
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Namespace(error) => error.diagnosis(),
            Self::Dhcp(error) => error.diagnosis(),
            Self::Web(error) => error.diagnosis(),
            Self::Machine(error) => error.diagnosis(),
            Self::Fs(error) => error.diagnosis(),
            Self::SecureBoot(error) => error.diagnosis(),
            Self::NoMachine(_) => Class::MissingTool.into(),
            Self::Cancelled => Class::Interrupted.into(),
        }
    }
}

/// Runs `case` in a network of its own, which this thread stays in, and in a new folder `name`.
///
/// # Errors
///
/// [`Error`] if no verdict is possible.
pub fn run(case: &Case, name: &str, environment: &Environment<'_>) -> Result<CaseReport, Error> {
    let folder = environment.scratch.join(name);
    let (tools, secure) = tools_of(case, environment.request).map_err(Error::NoMachine)?;
    let nonce = Sha256Digest::of(folder.as_str().as_bytes()).short();
    let network = &environment.request.network;
    let scenario = Scenario::new(case, network, &nonce, environment.request.append);
    let loader = fs::read(&environment.tree.root.join(&case.loader.path))?;
    write_files(case, &scenario, &folder, tools, environment)?;
    secure.map_or(Ok(()), |secure| write_secure_files(case, &folder, &loader, secure))?;
    let mut task = Task::start(
        environment.progress,
        TaskKind::Boot,
        format!("{} in {}", case.name, case.loader.platform.words()),
        Some(Phase::ALL.len() as u64),
    );
    let addresses = scenario.addresses(network);
    let two_cards = case.nics != NicSetup::Single;
    environment.namespace.network(
        (&environment.request.tools.servers.ip, &folder),
        network,
        (&addresses, two_cards),
        environment.progress,
    )?;
    let (sender, notes) = mpsc::channel();
    let sink = EventSink::new(sender);
    let guest_drivers = environment.drivers(case).and_then(|drivers| drivers.as_ref().ok());
    let initrd = userland::initramfs(&tools.busybox, &nonce, guest_drivers, scenario.secure_boot)?.into();
    let images = images(case, loader, initrd, (tools, secure))?;
    let resources = scenario.resources(case, images);
    let servers = &environment.request.tools.servers;
    let setup = web::WebSetup { tools: servers, network, servers: &scenario.servers, tls_ports: &scenario.tls_ports };
    let _web = web::Servers::start(&setup, resources, &folder, (&sink, environment.progress))?;
    let dhcp = dhcp::DhcpServer::start(servers, network, &scenario.offer, &folder, &sink)?;
    let started = Instant::now();
    let Case { boot_source, nics, nic, .. } = *case;
    let secure_boot = secure.is_some();
    let setup = MachineSetup {
        platform: case.loader.platform,
        nics,
        nic,
        boot_source,
        secure_boot,
        clock: environment.request.clock,
    };
    let machine = Machine::start(setup, tools, environment.request.accelerator, &folder, &sink)?;
    let mut run =
        Run { watch: Observer::new(case, &scenario, &nonce), scenario: &scenario, dhcp, machine, log: String::new() };
    let verdict = run.supervise(&notes, &mut task, environment)?;
    let elapsed = started.elapsed();
    // Without a screenshot, the report says why there is none.
    let picture = run.machine.picture().err().map(|error| error.to_string());
    let processor = run.machine.processor_time();
    let Run { watch, log, .. } = run;
    let evidence = Evidence { folder: &folder, console: watch.console, log, no_picture: picture };
    let report = CaseReport::new(case, &verdict, &watch.phases, (elapsed, processor), evidence);
    task.finish(report.summary());
    Ok(report)
}

/// Returns the tools of the machine of `case`, and with Secure Boot what it needs for that.
fn tools_of<'r>(
    case: &Case,
    request: &'r BootTestRequest<'_>,
) -> Result<(&'r MachineTools, Option<&'r SecureTools>), String> {
    let platform = case.loader.platform;
    if case.secure_boot.is_none() {
        return Ok((request.tools.machine(platform)?, None));
    }
    let secure = request.secure.machine(platform)?;
    Ok((&secure.machine, Some(secure)))
}

/// Returns what the servers of `case` provide.
fn images(
    case: &Case,
    loader: Vec<u8>,
    initrd: Arc<[u8]>,
    (tools, secure): (&MachineTools, Option<&SecureTools>),
) -> Result<Images, Error> {
    let kernel = match secure {
        Some(secure) => secure_boot::kernel(case, secure)?,
        None => fs::read(&tools.kernel)?.into(),
    };
    let shim = secure.filter(|_| case.needs_shim()).and_then(|secure| secure.shim.as_ref().ok());
    let shim = shim.map(|path| fs::read(path)).transpose()?.map(Arc::from);
    Ok(Images { loader: loader.into(), kernel, initrd, shim })
}

/// Enrols keys in the machine, and adds the files to its TFTP folder that are not in the tree.
fn write_secure_files(case: &Case, folder: &Utf8Path, loader: &[u8], tools: &SecureTools) -> Result<(), Error> {
    let Some(keys) = case.secure_boot else { return Ok(()) };
    fs::write_atomic(&folder.join(machine::VARIABLES), &secure_boot::variables(case, keys, tools)?)?;
    for (path, content) in secure_boot::files(case, loader, tools)? {
        fs::write_atomic(&folder.join(SERVED).join(path), &content)?;
    }
    Ok(())
}

/// Creates the machine's folder, and a TFTP folder that contains the tree with the case's own pxelinux configuration.
fn write_files(
    case: &Case,
    scenario: &Scenario,
    folder: &Utf8Path,
    tools: &MachineTools,
    environment: &Environment<'_>,
) -> Result<(), fs::Error> {
    machine::prepare(folder, tools)?;
    if case.is_from_medium() {
        fs::symlink(&environment.tree.root.join(&case.loader.path), &folder.join(machine::MEDIUM))?;
    }
    let served = folder.join(SERVED);
    fs::create_dir_all(&served)?;
    let own: Option<Utf8PathBuf> = scenario.pxelinux.as_ref().map(|_| served.join(paths::PXELINUX_DEFAULT));
    for (name, target) in environment.tree.top()? {
        let shadowed = secure_boot::has_own(case, &name)
            || own.as_ref().is_some_and(|own| own.parent() == Some(served.join(&name).as_path()));
        if !shadowed {
            fs::symlink(&target, &served.join(name))?;
        }
    }
    if let (Some(own), Some(text)) = (own, &scenario.pxelinux) {
        fs::write_atomic(&own, text.as_bytes())?;
    }
    Ok(())
}

/// A running case.
struct Run<'c> {
    watch: Observer<'c>,
    scenario: &'c Scenario,
    dhcp: dhcp::DhcpServer,
    machine: Machine,
    log: String,
}

impl Run<'_> {
    /// Observes the case until there is a verdict.
    fn supervise(
        &mut self,
        notes: &Receiver<SinkMessage>,
        task: &mut Task<'_>,
        environment: &Environment<'_>,
    ) -> Result<Verdict, Error> {
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
            if environment.progress.cancelled() {
                return Err(Error::Cancelled);
            }
            let silence = if self.watch.is_lost() { LAST_GASP } else { environment.request.deadline / SILENCE };
            if heard.elapsed() > silence {
                return Ok(self.watch.given_up(&format!("nothing happened for {} seconds", silence.as_secs())));
            }
            if started.elapsed() > environment.request.deadline {
                let seconds = environment.request.deadline.as_secs();
                return Ok(self.watch.given_up(&format!("it was not done after {seconds} seconds")));
            }
        }
    }

    fn note(&mut self, note: SinkMessage) -> Result<Option<Verdict>, Error> {
        let TimedEvent { at, what, line } = match note {
            SinkMessage::Moment(moment) => moment,
            SinkMessage::Log(at, line) => {
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
                    if let Some(url) = &self.scenario.root_path_after_loader {
                        self.dhcp.offer_root_path(url)?;
                        self.write(at, &format!("boot test: DHCP sends option 17 from now on: {url}"));
                    }
                }
                Reaction::Type(key) => {
                    // If the machine is gone, another event reports that.
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
