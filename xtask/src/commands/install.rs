//! Installs missing tools with the system's package manager, on request only.

use netboot_loaders::base::process::find_program;
use netboot_loaders::base::progress::Progress;
use netboot_loaders::boot_test::tools::search_path;
use netboot_loaders::build_loaders;
use netboot_loaders::toolchain::install_lines;
use netboot_loaders::toolchain::needs::{Need, Probe};
use netboot_loaders::toolchain::packages::Manager;
use netboot_loaders::toolchain::probe::ProbeStatus;
use xshell::{Shell, cmd};

use crate::exit::{Failure, INTERRUPTED, MISSING_TOOL};
use crate::host::Host;

/// Installs those of `needs` that are not met.
pub(super) fn missing(needs: &[Need], host: &Host<'_>) -> Result<(), Failure> {
    let cache = host.cache()?;
    let mut unmet: Vec<&Need> = Vec::new();
    for need in needs {
        let status = need.probe(&search_path(&host.path), &cache, host.ui).map_err(build_loaders::Error::from)?;
        let Some(complaint) = status.complaint() else { continue };
        if matches!((need.test, status), (Probe::Kernel(..), ProbeStatus::Unfit { .. })) {
            // There is one, and another package would not help.
            return Err(Failure::new(MISSING_TOOL, &format!("`{}` ({}): {complaint}", need.name, need.purpose)));
        }
        unmet.push(need);
    }
    if unmet.is_empty() {
        return Ok(());
    }
    let Some(manager) = Manager::detect(&host.path) else {
        return Err(Failure::new(
            MISSING_TOOL,
            "found no package manager, wanted apt-get, dnf, pacman, zypper or apk\nhint: run `cargo xtask doctor` and install by hand what it names",
        ));
    };
    let lines = || install_lines(&unmet, &host.path);
    let Some(root) = Root::find(host)? else {
        let text = format!("cannot install without root, and found no sudo\nhint: as root, {}", lines());
        return Err(Failure::new(MISSING_TOOL, &text));
    };
    for words in manager.install_commands(&unmet) {
        let done = root.run(&words)?;
        if host.ui.cancelled() {
            return Err(Failure::new(INTERRUPTED, "interrupted"));
        }
        if !done {
            let text = format!("`{}` failed\nhint: {}", root.shown(&words), lines());
            return Err(Failure::new(MISSING_TOOL, &text));
        }
    }
    Ok(())
}

/// How this process gets root's rights.
pub(super) struct Root {
    shell: Shell,
    sudo: bool,
}

impl Root {
    /// `None` where it does not.
    pub(super) fn find(host: &Host<'_>) -> Result<Option<Self>, Failure> {
        let shell = Shell::new()?;
        let root = is_root(&shell)?;
        let found = root || find_program("sudo", &host.path).is_some();
        Ok(found.then_some(Self { shell, sudo: !root }))
    }

    /// Whether this process has them already.
    pub(super) fn is_held(&self) -> bool {
        !self.sudo
    }

    /// Runs a program on the terminal, since it may have to ask, and says whether it succeeded.
    pub(super) fn run(&self, words: &[String]) -> Result<bool, Failure> {
        let mut words = self.sudo.then_some("sudo").into_iter().chain(words.iter().map(String::as_str));
        let program = words.next().unwrap_or_default();
        let shell = &self.shell;
        let command = cmd!(shell, "{program} {words...}").env("DEBIAN_FRONTEND", "noninteractive");
        let mut command = std::process::Command::from(command);
        // Standard output belongs to this program's own results.
        Ok(command.stdout(std::io::stderr()).status()?.success())
    }

    /// The program that [`Self::run`] starts.
    fn shown<'w>(&self, words: &'w [String]) -> &'w str {
        if self.sudo { "sudo" } else { words.first().map_or("", String::as_str) }
    }
}

fn is_root(shell: &Shell) -> Result<bool, Failure> {
    Ok(cmd!(shell, "id -u").quiet().read()? == "0")
}
