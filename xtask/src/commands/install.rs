//! Installs missing tools with the system's package manager, on request only.

use netboot_loaders::boot_test::kit::search_path;
use netboot_loaders::process::find_program;
use netboot_loaders::progress::Silent;
use netboot_loaders::toolchain::install_lines;
use netboot_loaders::toolchain::needs::{Need, Test};
use netboot_loaders::toolchain::packages::Manager;
use netboot_loaders::toolchain::probe::Status;
use xshell::{Shell, cmd};

use crate::exit::{Failure, MISSING_TOOL};
use crate::host::Host;

/// Installs those of `needs` that are not met.
pub(super) fn missing(needs: &[Need], host: &Host<'_>) -> Result<(), Failure> {
    let cache = host.cache()?;
    let mut unmet: Vec<&Need> = Vec::new();
    for need in needs {
        let status = need.probe(&search_path(&host.path), &cache, &Silent);
        let Some(complaint) = status.complaint() else { continue };
        if matches!((need.test, status), (Test::Kernel(..), Status::Unfit { .. })) {
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
    let shell = Shell::new()?;
    // The package manager talks to the terminal itself: it may have to ask.
    let sudo = find_program("sudo", &host.path).is_some();
    let prefix = match (is_root(&shell)?, sudo) {
        (true, _) => None,
        (false, true) => Some("sudo"),
        (false, false) => {
            let text = format!(
                "cannot install without root, and found no sudo\nhint: as root, {}",
                install_lines(&unmet, &host.path)
            );
            return Err(Failure::new(MISSING_TOOL, &text));
        }
    };
    for words in manager.install_commands(&unmet) {
        let mut words = prefix.map(str::to_owned).into_iter().chain(words);
        let program = words.next().unwrap_or_default();
        let command = cmd!(shell, "{program} {words...}").env("DEBIAN_FRONTEND", "noninteractive");
        let mut command = std::process::Command::from(command);
        // Standard output belongs to this program's own results.
        let status = command.stdout(std::io::stderr()).status()?;
        if !status.success() {
            let text = format!("`{program}` failed\nhint: {}", install_lines(&unmet, &host.path));
            return Err(Failure::new(MISSING_TOOL, &text));
        }
    }
    Ok(())
}

fn is_root(shell: &Shell) -> Result<bool, Failure> {
    Ok(cmd!(shell, "id -u").quiet().read()? == "0")
}
