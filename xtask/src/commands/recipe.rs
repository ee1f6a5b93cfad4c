//! Command `cargo xtask recipe`.

use std::fmt::Write as _;

use netboot_loaders::base::parallel::detached_on_cancel;
use netboot_loaders::base::progress::Progress;
use netboot_loaders::build_loaders::{self, Config};
use netboot_loaders::config::network::{self, NetworkConfig};
use netboot_loaders::config::sites::Options;
use netboot_loaders::serve::boot_policy::BootPolicy;
use netboot_loaders::serve::server_config::{ConfigFile, ServerKind, save, write};
use serde_json::json;

use crate::cli::Recipe;
use crate::exit::Failure;
use crate::host::Host;
use crate::program::PUBLISHED;
use netboot_loaders::base::diagnostic::{Class, Diagnostic};

pub(super) fn run(args: &Recipe, host: &Host<'_>) -> Result<(), Failure> {
    let Some(kind) = args.kind else {
        list(host);
        return Ok(());
    };
    let config = Config::read(&host.project, &Options::from(&args.config), host.ui)?;
    let file = args.network.clone().unwrap_or_else(|| host.project.network());
    // Recipes for thousands of machines take seconds.
    let written = detached_on_cancel(host.ui, move || {
        let network = NetworkConfig::read(&file, &config.sites)?;
        let policy = BootPolicy::new(&network, &config.sites);
        let warnings: Vec<Diagnostic> = network.warnings.iter().cloned().chain(policy.warnings(kind)).collect();
        Ok::<_, network::Error>((warnings, write(kind, &policy, &PUBLISHED)))
    });
    let (warnings, files) = written.ok_or(build_loaders::Error::Cancelled)??;
    for warning in warnings {
        host.ui.warn(warning);
    }
    if let Some(folder) = &args.out {
        let written = save(&files, folder)?;
        let lines: String = written.iter().map(|path| format!("{path}\n")).collect();
        host.ui.result(&lines, json!({ "recipe": kind.as_str(), "files": written }));
        return Ok(());
    }
    let ConfigFile { name, text } = if args.undo { undo(kind, &files)? } else { &files[0] };
    host.ui.answer(text, json!({ "recipe": kind.as_str(), "file": name, "text": text }));
    Ok(())
}

fn undo(kind: ServerKind, files: &[ConfigFile]) -> Result<&ConfigFile, Failure> {
    files.get(1).ok_or_else(|| {
        Failure::new(Class::BadInput, format!("the recipe `{kind}` needs no undo of its own"))
            .help("read in its first lines how it is taken back")
    })
}

fn list(host: &Host<'_>) {
    let width = ServerKind::ALL.iter().map(|kind| kind.as_str().len()).max().unwrap_or(0);
    let mut text = String::new();
    for kind in ServerKind::ALL {
        let _ = writeln!(text, "{:<width$}  {}", kind.as_str(), kind.words());
    }
    let recipes = ServerKind::ALL.map(|kind| json!({ "name": kind.as_str(), "is": kind.words() }));
    host.ui.answer(&text, json!({ "recipes": recipes }));
}
