//! Rehearsals: a site's script runs in real iPXE, within a second, without a machine.
//!
//! [`program`] builds iPXE for Linux and stamps the script of a [`rehearsal`] into it. [`run`] gives it a network of its
//! own, in which [`served`] decides what servers have, and a [`fault`] what they lack; [`keys`] answer its prompts. iPXE
//! reports what it does as an [`event`], and all events together make the [`way`]. [`report`] stores the ways of many
//! rehearsals.

pub mod event;
pub mod fault;
pub mod keys;
mod open_command;
pub mod program;
pub mod rehearsal;
pub mod report;
pub mod request;
pub mod run;
pub mod served;
pub mod way;

use self::fault::RehearsalFault;
pub use self::rehearsal::Rehearsal;
pub use self::request::{Error, RehearsalRequest};
use self::run::Rehearsed;
use crate::base::diagnostic::Wording;
use crate::base::parallel::in_order;
use crate::base::plural::count;
use crate::base::progress::{Progress, Task, TaskKind};
use crate::base::{fs, paths};
use crate::boot_test::daemon::Daemon;
use crate::boot_test::namespace::Namespace;
use crate::boot_test::network::{DhcpSetup, HttpSetup, TestNetwork, Unfit};
use crate::config::network::{Mac, NetworkConfig};
use crate::config::sites::Sites;
use crate::serve::boot_policy::BootPolicy;
use crate::serve::server_config::{self, ServerKind};

/// Returns the network that a machine with the MAC address `mac` is in: as `described`, with the DHCP server that the
/// recipe of the tree configures.
///
/// # Errors
///
/// [`Unfit`] if the description leaves out what a test needs.
pub fn network(
    described: &NetworkConfig,
    sites: &Sites,
    mac: Mac,
    (fault, wording): (Option<RehearsalFault>, &dyn Wording),
) -> Result<TestNetwork, Unfit> {
    let mut told = described.clone();
    if fault == Some(RehearsalFault::NoRootPath) {
        told.boot = None;
        told.hosts.iter_mut().for_each(|host| host.boot = None);
    }
    let policy = BootPolicy::new(&told, sites);
    let recipe = server_config::write(ServerKind::Dnsmasq, &policy, wording).swap_remove(0).text;
    TestNetwork::new(described, mac, DhcpSetup::Given(Daemon::Dnsmasq, recipe), HttpSetup::Own)
}

/// Runs `rehearsals`, and returns what has happened in each, in their order.
///
/// # Errors
///
/// The [`Error`] of the first rehearsal that cannot take place; the others are then ended.
pub fn run_all(
    rehearsals: &[Rehearsal<'_>],
    request: &RehearsalRequest<'_>,
    namespace: &Namespace,
    progress: &dyn Progress,
) -> Result<Vec<Rehearsed>, Error> {
    let guard = fs::Temporary::create(request.scratch, paths::TEMPORARY)?;
    let scratch = guard.path();
    let tftp = scratch.join("tree");
    request.tree.write(&tftp)?;
    let total = rehearsals.len() as u64;
    let mut task = Task::start(progress, TaskKind::Rehearse, "rehearsals", Some(total));
    let mut done = Vec::new();
    let work = |(): &mut (), (number, rehearsal)| {
        let folder = run::folder(scratch, number);
        fs::create_dir_all(&folder)?;
        let rehearsed = run::run(rehearsal, request, namespace, (&folder, &tftp), progress)?;
        fs::remove_dir_all(&folder)?;
        Ok::<_, Error>(rehearsed)
    };
    in_order(rehearsals.iter().enumerate(), request.jobs.min(rehearsals.len()), work, |rehearsed| {
        done.push(rehearsed);
        task.set(done.len() as u64, Some(total));
        Ok(())
    })?;
    task.finish(count(rehearsals.len(), "script"));
    Ok(done)
}
