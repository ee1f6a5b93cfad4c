//! Command `cargo xtask ignition`.

use camino::Utf8Path;
use netboot_loaders::base::fs;
use netboot_loaders::base::parallel::detached_on_cancel;
use netboot_loaders::base::process::{Command, find_program, quoted};
use netboot_loaders::base::progress::{Muted, Progress};
use netboot_loaders::build_loaders::{self, Config};
use netboot_loaders::config::network::{NetworkConfig, NetworkHost};
use netboot_loaders::config::sites::Options;
use netboot_loaders::printable::listed_names;
use netboot_loaders::serve::ignition;
use serde::de::IgnoredAny;
use serde_json::json;

use crate::cli::Ignition;
use crate::exit::Failure;
use crate::host::{Host, absolute};
use crate::ui::terminal_safe_json;
use netboot_loaders::base::diagnostic::{Class, Diagnostic};

pub(super) fn run(args: &Ignition, host: &Host<'_>) -> Result<(), Failure> {
    let text = match &args.butane {
        Some(file) => butane(file, host)?,
        None => starter(args, host)?,
    };
    let Some(out) = &args.out else {
        host.ui.answer(&terminal_safe_json(&text), json!({ "ignition": text }));
        return Ok(());
    };
    fs::world_readable::create_world_readable_dir_all(out.parent().unwrap_or(out))?;
    fs::write_atomic(out, text.as_bytes())?;
    host.ui.result(&format!("{out}\n"), json!({ "path": out }));
    Ok(())
}

fn starter(args: &Ignition, host: &Host<'_>) -> Result<String, Failure> {
    let config = Config::read(&host.project, &Options::from(&args.config), &Muted(host.ui))?;
    let file = args.network.clone().unwrap_or_else(|| host.project.network());
    let path = file.clone();
    let read = detached_on_cancel(host.ui, move || NetworkConfig::read(&path, &config.sites));
    let network = read.ok_or(build_loaders::Error::Cancelled)??;
    let machine = args.host.as_deref().map(|name| machine(&network, name, &file)).transpose()?;
    let Some(starter) = &network.ignition else {
        let text = format!("there is no table `[ignition]` in `{file}`");
        let help = "write there who may log in, as in ssh-keys = [\"ssh-ed25519 AAAA… name\"]";
        return Err(Failure::new(Class::BadInput, text).help(help));
    };
    if starter.ssh_keys.is_empty() && !starter.autologin {
        let warning = Diagnostic::new("nobody can log in: `ssh-keys` is empty");
        host.ui.warn(warning.help("copy the line of a file like id_ed25519.pub"));
    }
    if starter.autologin {
        let warning = Diagnostic::new("`autologin` lets in whoever sees the console, and as an administrator");
        host.ui.warn(warning.help("take it away once the machine does what it should"));
    }
    Ok(ignition::configuration(starter, machine.map(|machine| machine.hostname.as_str())))
}

fn machine<'n>(network: &'n NetworkConfig, name: &str, file: &Utf8Path) -> Result<&'n NetworkHost, Failure> {
    network.hosts.iter().find(|machine| machine.name == name).ok_or_else(|| {
        let known: Vec<&str> = network.hosts.iter().map(|machine| machine.name.as_str()).collect();
        let help = match &known[..] {
            [] => "add the machine as a table [[host]]".to_owned(),
            known => format!("name one of {}", listed_names(known)),
        };
        Failure::new(Class::BadInput, format!("there is no [[host]] `{name}` in `{file}`")).help(help)
    })
}

/// Converts the Butane file `file` to an Ignition configuration.
fn butane(file: &Utf8Path, host: &Host<'_>) -> Result<String, Failure> {
    let Some(program) = find_program("butane", &host.path) else {
        let text = "found no `butane`, which makes Ignition's configuration of a Butane file";
        let help = "install the package `butane`, or take its program from https://github.com/coreos/butane/releases";
        return Err(Failure::new(Class::MissingTool, text).help(help));
    };
    let file = absolute(file)?;
    // Paths in `local:` and `tree:` are relative to the Butane file.
    let folder = file.parent().unwrap_or(Utf8Path::new("/"));
    let options = ["--strict", "--pretty", "--files-dir", folder.as_str(), file.as_str()];
    let command = Command::new("read the Butane file", program.as_str()).args(options);
    let lines = command.output(host.ui).map_err(|error| {
        if host.ui.cancelled() {
            return Failure::interrupted();
        }
        Failure::from(error).help("change the Butane file: its lines and keys are named above")
    })?;
    let text = lines.join("\n") + "\n";
    // The output also contains any other messages of butane.
    if let Err(error) = serde_json::from_str::<IgnoredAny>(&text) {
        let (program, folder, file) = (quoted(program.as_str()), quoted(folder.as_str()), quoted(file.as_str()));
        let by_hand = format!("{program} --strict --files-dir {folder} {file}");
        let text = format!("`butane` printed something else than JSON: {error}");
        return Err(Failure::new(Class::Failure, text).help(format!("see what `{by_hand}` prints")));
    }
    Ok(text)
}
