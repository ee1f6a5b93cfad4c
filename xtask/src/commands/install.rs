//! Installs missing tools with the system's package manager, on request only.

use netboot_loaders::base::process::find_program;
use netboot_loaders::base::progress::Progress;
use netboot_loaders::boot_test::tools::search_path;
use netboot_loaders::build_loaders;
use netboot_loaders::toolchain::install_lines;
use netboot_loaders::toolchain::need::{Need, Probe};
use netboot_loaders::toolchain::packages::Manager;
use netboot_loaders::toolchain::probe::ProbeStatus;
use xshell::{Shell, cmd};

use crate::exit::Failure;
use crate::host::Host;
use crate::program::name;
use netboot_loaders::base::diagnostic::Class;

/// Installs the tools in `needs` that are missing.
pub(super) fn missing(needs: &[Need], host: &Host<'_>) -> Result<(), Failure> {
    let cache = host.cache()?;
    let mut unmet: Vec<&Need> = Vec::new();
    for need in needs {
        let status = need.probe(&search_path(&host.path), &cache, host.ui).map_err(build_loaders::Error::from)?;
        let Some(complaint) = status.complaint() else { continue };
        if matches!((need.test, status), (Probe::Kernel(..), ProbeStatus::Unfit { .. })) {
            // There is a kernel, and another package would not help.
            return Err(Failure::new(Class::MissingTool, format!("`{}` ({}): {complaint}", need.name, need.purpose)));
        }
        unmet.push(need);
    }
    if unmet.is_empty() {
        return Ok(());
    }
    let Some(manager) = Manager::detect(&host.path) else {
        let text = "found no package manager, wanted apt-get, dnf, pacman, zypper or apk";
        let help = format!("run `{} doctor` and install by hand what it names", name());
        return Err(Failure::new(Class::MissingTool, text).help(help));
    };
    let by_hand = |text: String| {
        install_lines(&unmet, &host.path).into_iter().fold(Failure::new(Class::MissingTool, text), Failure::help)
    };
    let Some(root) = Root::find(host)? else {
        return Err(by_hand("cannot install without root, and found no sudo".to_owned()));
    };
    for words in manager.install_commands(&unmet) {
        let done = root.run(&words)?;
        if host.ui.cancelled() {
            return Err(Failure::new(Class::Interrupted, "interrupted"));
        }
        if !done {
            return Err(by_hand(format!("`{}` failed", root.shown(&words))));
        }
    }
    Ok(())
}

/// Access to root's rights, directly or through sudo.
pub(super) struct Root {
    shell: Shell,
    sudo: bool,
}

impl Root {
    /// Finds out how this process gets root's rights; `None` if it cannot.
    pub(super) fn find(host: &Host<'_>) -> Result<Option<Self>, Failure> {
        let shell = Shell::new().map_err(|error| shell_failed(&error))?;
        let root = is_root(&shell)?;
        let found = root || find_program("sudo", &host.path).is_some();
        Ok(found.then_some(Self { shell, sudo: !root }))
    }

    /// Checks whether this process already has root's rights.
    pub(super) fn is_held(&self) -> bool {
        !self.sudo
    }

    /// Runs a program on the terminal, since it may have to ask, and returns whether it succeeded.
    pub(super) fn run(&self, words: &[String]) -> Result<bool, Failure> {
        let mut words = self.sudo.then_some("sudo").into_iter().chain(words.iter().map(String::as_str));
        let program = words.next().unwrap_or_default();
        let shell = &self.shell;
        let command = cmd!(shell, "{program} {words...}").env("DEBIAN_FRONTEND", "noninteractive");
        let mut command = std::process::Command::from(command);
        // Standard output is reserved for this program's own results.
        Ok(command.stdout(std::io::stderr()).status()?.success())
    }

    /// Returns the program that [`Self::run`] starts.
    fn shown<'w>(&self, words: &'w [String]) -> &'w str {
        if self.sudo { "sudo" } else { words.first().map_or("", String::as_str) }
    }
}

fn shell_failed(error: &xshell::Error) -> Failure {
    Failure::of(error, Class::Failure.into())
}

fn is_root(shell: &Shell) -> Result<bool, Failure> {
    Ok(cmd!(shell, "id -u").quiet().read().map_err(|error| shell_failed(&error))? == "0")
}
