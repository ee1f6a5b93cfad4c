//! Installs missing tools with the system's package manager, on request only.

use netboot_loaders::process::find_program;
use netboot_loaders::progress::Silent;
use netboot_loaders::toolchain::needs::Need;
use netboot_loaders::toolchain::packages::Manager;
use xshell::{Shell, cmd};

use crate::exit::{Failure, MISSING_TOOL};
use crate::host::Host;

/// Installs those of `needs` that are not met.
pub(super) fn missing(needs: &[Need], host: &Host<'_>) -> Result<(), Failure> {
    let unmet: Vec<&Need> =
        needs.iter().filter(|need| need.probe(&host.path, &host.cache, &Silent).complaint().is_some()).collect();
    if unmet.is_empty() {
        return Ok(());
    }
    let Some(manager) = Manager::detect(&host.path) else {
        return Err(Failure::new(
            MISSING_TOOL,
            "found no package manager, wanted apt-get, dnf, pacman, zypper or apk\nhint: run `cargo xtask doctor` and install by hand what it names",
        ));
    };
    let shell = Shell::new()?;
    // The package manager talks to the terminal itself: it may have to ask.
    let prefix = if is_root(&shell)? || find_program("sudo", &host.path).is_none() { None } else { Some("sudo") };
    for words in manager.install_commands(&unmet) {
        let mut words = prefix.map(str::to_owned).into_iter().chain(words);
        let program = words.next().unwrap_or_default();
        cmd!(shell, "{program} {words...}").env("DEBIAN_FRONTEND", "noninteractive").run()?;
    }
    Ok(())
}

fn is_root(shell: &Shell) -> Result<bool, Failure> {
    Ok(cmd!(shell, "id -u").quiet().read()? == "0")
}
