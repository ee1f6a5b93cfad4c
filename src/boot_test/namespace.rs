//! Private networks without root: a user namespace for the process (root needs none), and a network namespace for each
//! case.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use camino::Utf8Path;
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};

use super::network::TestNetwork;
use crate::base::diagnostic::{Class, Diagnose, Diagnosis};
use crate::base::fs;
use crate::base::process::{self, Command};
use crate::base::progress::Progress;

/// Interface that machines are connected to.
pub const INTERFACE: &str = "tap0";

/// Interface that the second card of a machine is connected to.
pub const SECOND_INTERFACE: &str = "tap1";

/// File with the commands for `ip`.
const COMMANDS: &str = "network";

/// Time limit for threads that are about to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// Proof that this process may create networks, and has left its original network.
#[derive(Debug)]
pub struct Namespace(());

/// Errors from creating a private network.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel does not permit it.
    #[error("cannot create the user namespace of the test network: {reason}")]
    Forbidden {
        /// Message of the kernel.
        reason: String,
        /// How to permit it.
        remedy: &'static str,
    },
    /// The device for virtual network cards is not available.
    #[error("cannot use `/dev/net/tun`: {0}")]
    NoTun(std::io::Error),
    /// The network cannot be set up.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// A file cannot be written.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Forbidden { remedy, .. } => Class::Failure.help(format!("allow it with {remedy}")),
            Self::NoTun(_) => Class::Failure
                .about("/dev/net/tun")
                .help("as root, `modprobe tun` and `chmod 0666 /dev/net/tun`; in a container, add that device"),
            Self::Process(error) => error.diagnosis(),
            Self::Fs(error) => error.diagnosis(),
        }
    }
}

impl Namespace {
    /// Moves this process into a user namespace in which it is root and may create networks. Files that it creates
    /// still belong to the user outside. A process that already runs as root only leaves its network.
    ///
    /// # Errors
    ///
    /// [`Error::Forbidden`] if the kernel does not permit it, for example because other threads are running;
    /// [`Error::NoTun`] if virtual network cards are not available.
    pub fn enter() -> Result<Self, Error> {
        if rustix::process::getuid().is_root() && unshare(CloneFlags::CLONE_NEWNET).is_ok() {
            // Root needs no user namespace, and would lose its access to other users' files in one.
            return usable().map(|()| Self(()));
        }
        let (user, group) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let started = Instant::now();
        loop {
            match unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET) {
                Ok(()) => break,
                // The kernel refuses while there is a second thread, and one may be about to end.
                Err(Errno::EINVAL) if started.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(5)),
                Err(error) => return Err(forbidden(error)),
            }
        }
        let process = Utf8Path::new("/proc/self");
        // The kernel requires this before an unprivileged process can map a group.
        write(&process.join("setgroups"), "deny")?;
        write(&process.join("uid_map"), &format!("0 {user} 1"))?;
        write(&process.join("gid_map"), &format!("0 {group} 1"))?;
        usable().map(|()| Self(()))
    }

    /// Moves this thread into a network namespace of its own. It contains only `network`, whose servers also have the
    /// addresses `more`, and the network of a second card if `two_cards` is set. Threads and programs that this thread
    /// starts from now on are in it as well; it vanishes with the last of them. `ip` is the program of that name, which
    /// reads its commands from a file in `folder`.
    ///
    /// # Errors
    ///
    /// [`Error`] if the kernel or `ip` refuses.
    pub fn network(
        &self,
        (ip, folder): (&Utf8Path, &Utf8Path),
        network: &TestNetwork,
        (more, two_cards): (&[Ipv4Addr], bool),
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        unshare(CloneFlags::CLONE_NEWNET).map_err(forbidden)?;
        let commands = folder.join(COMMANDS);
        fs::write_atomic(&commands, (setup(network, more, two_cards).join("\n") + "\n").as_bytes())?;
        Command::new("set up the test network", ip.as_str()).args(["-batch", commands.as_str()]).output(progress)?;
        Ok(())
    }
}

/// Returns the commands for `ip`, one per item.
#[must_use]
pub fn setup(network: &TestNetwork, more: &[Ipv4Addr], two_cards: bool) -> Vec<String> {
    let TestNetwork { server, web, prefix, .. } = network;
    let mut lines = vec!["link set lo up".to_owned(), format!("tuntap add mode tap name {INTERFACE}")];
    for address in [server, web].into_iter().chain(more) {
        lines.push(format!("address add {address}/{prefix} dev {INTERFACE}"));
    }
    lines.push(format!("link set {INTERFACE} up"));
    let mut others = vec![format!("{}/{prefix}", network.base()), "255.255.255.255".to_owned()];
    if two_cards {
        let second = format!("{}/24", network.second_server());
        lines.push(format!("tuntap add mode tap name {SECOND_INTERFACE}"));
        lines.push(format!("address add {second} dev {SECOND_INTERFACE}"));
        lines.push(format!("link set {SECOND_INTERFACE} up"));
        others.push(second.replace(".1/", ".0/"));
    }
    // Every other address belongs to this namespace: a loader that goes to an unexpected address is noticed, and no
    // packet gets out. This is a default route in the `local` table, which the kernel consults first; `throw` routes
    // exclude what that table must not handle, so the kernel finds it in the `main` table. Adding any rule makes the
    // kernel keep the two tables apart.
    lines.push("rule add pref 100 lookup main".to_owned());
    for other in others {
        lines.push(format!("route add throw {other} table local"));
    }
    lines.push("route add local default dev lo table local".to_owned());
    lines
}

/// Checks that virtual network cards are available.
///
/// # Errors
///
/// [`Error::NoTun`] if they are not.
pub fn usable() -> Result<(), Error> {
    let tun = std::fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun");
    tun.map(drop).map_err(Error::NoTun)
}

fn forbidden(error: Errno) -> Error {
    let remedy = match error {
        Errno::ENOSPC => "`sudo sysctl user.max_user_namespaces=10000`",
        _ => {
            "`sudo sysctl kernel.unprivileged_userns_clone=1` (Debian), \
             `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0` (Ubuntu), \
             or in a container with `--security-opt seccomp=unconfined`"
        }
    };
    Error::Forbidden { reason: std::io::Error::from(error).to_string(), remedy }
}

fn write(file: &Utf8Path, text: &str) -> Result<(), Error> {
    std::fs::write(file, text).map_err(|error| Error::Forbidden {
        reason: format!("writing `{file}`: {error}"),
        remedy: "`sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0` (Ubuntu)",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::diagnostic::told;

    #[test]
    fn all_addresses_lead_into_the_namespace() {
        assert_eq!(
            setup(&TestNetwork::default(), &[], false),
            [
                "link set lo up",
                "tuntap add mode tap name tap0",
                "address add 192.0.2.1/24 dev tap0",
                "address add 192.0.2.2/24 dev tap0",
                "link set tap0 up",
                "rule add pref 100 lookup main",
                "route add throw 192.0.2.0/24 table local",
                "route add throw 255.255.255.255 table local",
                "route add local default dev lo table local",
            ]
        );
    }

    #[test]
    fn a_second_card_has_a_network_of_its_own() {
        let lines = setup(&TestNetwork::default(), &[], true).join("\n");
        let wanted = "tuntap add mode tap name tap1\naddress add 203.0.113.1/24 dev tap1\nlink set tap1 up\n";
        assert!(lines.contains(wanted) && lines.contains("\nroute add throw 203.0.113.0/24 table local\n"), "{lines}");
        let same = TestNetwork { server: [203, 0, 113, 9].into(), ..TestNetwork::default() };
        assert!(setup(&same, &[], true).contains(&"address add 198.18.0.1/24 dev tap1".to_owned()));
    }

    #[test]
    fn a_kernel_that_forbids_it_is_told_how_to_allow_it() {
        let text = told(&forbidden(Errno::EPERM));
        assert!(text.starts_with("cannot create the user namespace of the test network"), "{text}");
        assert!(
            text.contains("\nhint: allow it with `sudo sysctl kernel.unprivileged_userns_clone=1` (Debian)"),
            "{text}"
        );
        assert!(told(&forbidden(Errno::ENOSPC)).contains("user.max_user_namespaces"));
    }
}
