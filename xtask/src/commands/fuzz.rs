//! `cargo xtask fuzz`: builds the fuzz targets and runs each for a while, starting from its seeds.

use std::time::Duration;

use camino::Utf8PathBuf;
use netboot_loaders::base::fs;
use netboot_loaders::base::process::Command;
use netboot_loaders::printable::listed_names;
use serde_json::json;

use super::check::succeeds;
use crate::cli::Fuzz;
use crate::exit::Failure;
use crate::host::{Host, environment_for_cargo};
use crate::ui::pass_on;
use netboot_loaders::base::diagnostic::{Class, Flag};

/// Version of cargo-fuzz to install.
const VERSION: &str = "0.13.2";

/// Limits for the resident memory of a target and for a single allocation, in MiB. Both are larger than the limits of a
/// command, since the checks of a fuzzed build need memory, too.
const MEMORY: [&str; 2] = ["-rss_limit_mb=1500", "-malloc_limit_mb=300"];

pub(super) fn run(args: &Fuzz, host: &Host<'_>) -> Result<(), Failure> {
    let targets = targets(args, host)?;
    if args.install_deps {
        let install = cargo(&["install", "cargo-fuzz", "--locked", "--version", VERSION], host);
        if !succeeds(&install, host.ui, &mut pass_on)? {
            return Err(
                Failure::new(Class::MissingTool, "cargo-fuzz cannot be installed").help("see what cargo says above")
            );
        }
    }
    if cargo(&["fuzz", "--version"], host).output(host.ui).is_err() {
        return Err(Failure::new(Class::MissingTool, "cargo-fuzz is missing").help(Flag::InstallDeps));
    }
    host.ui.print("== cargo fuzz build\n");
    if !succeeds(&cargo(&["fuzz", "build"], host), host.ui, &mut pass_on)? {
        return Err(Failure::new(Class::Check, "the fuzz targets cannot be built").help("see what cargo says above"));
    }
    // Lines that begin with `#` count the runs.
    let mut told = |line: &str| {
        if !line.starts_with('#') {
            pass_on(line);
        }
    };
    let mut failed = Vec::new();
    for target in targets.iter().filter(|_| args.seconds > 0) {
        host.ui.print(&format!("== {target}, {} s\n", args.seconds));
        if !succeeds(&target_command(target, args.seconds, host)?, host.ui, &mut told)? {
            failed.push(target.clone());
        }
    }
    if !failed.is_empty() {
        let help = "see what happens with `cargo fuzz run TARGET fuzz/artifacts/TARGET/FILE`";
        let text = format!("these targets failed: {}", listed_names(&failed));
        return Err(Failure::new(Class::Check, text).help(help));
    }
    let done = if args.seconds > 0 { "ran without a finding" } else { "are built" };
    let lines = format!("{} targets {done}\n", targets.len());
    host.ui.result(&lines, json!({ "targets": targets, "seconds": args.seconds }));
    Ok(())
}

/// Returns the requested targets, or all of them.
fn targets(args: &Fuzz, host: &Host<'_>) -> Result<Vec<String>, Failure> {
    let files = fs::entries(&host.project.fuzz().join("fuzz_targets"))?;
    let mut all: Vec<String> = files.iter().filter_map(|path| Some(path.file_stem()?.to_owned())).collect();
    all.retain(|name| name != "shared");
    all.sort_unstable();
    if let Some(unknown) = args.targets.iter().find(|target| !all.contains(target)) {
        let text = format!("there is no fuzz target `{unknown}`");
        return Err(Failure::new(Class::BadInput, text).help(format!("choose one of {}", listed_names(&all))));
    }
    Ok(if args.targets.is_empty() { all } else { args.targets.clone() })
}

/// Returns the command that runs `target`, starting from the interesting inputs of earlier runs and from its seeds.
fn target_command(target: &str, seconds: u32, host: &Host<'_>) -> Result<Command, Failure> {
    let folders = ["corpus", "seeds"].map(|folder| host.project.fuzz().join(folder).join(target));
    folders.iter().try_for_each(|folder| fs::create_dir_all(folder))?;
    let seconds = format!("-max_total_time={seconds}");
    let own = ["--", &seconds, "-timeout=10", "-max_len=65536"];
    let words = host.project.fuzz().join(format!("dictionaries/{target}.dict"));
    let words = words.exists().then(|| format!("-dict={words}"));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let [corpus, seeds] = folders.map(Utf8PathBuf::into_string);
    Ok(cargo(&[&["fuzz", "run", target, &corpus, &seeds], &own[..], &MEMORY[..], &words].concat(), host))
}

/// Returns cargo with `arguments`. It accepts flags that otherwise need a nightly compiler.
fn cargo(arguments: &[&str], host: &Host<'_>) -> Command {
    let command = Command::new("fuzz the project", "cargo").args(arguments.iter().copied());
    let command = Command { env: environment_for_cargo(), dir: Some(host.project.root().to_owned()), ..command };
    Command { deadline: Duration::MAX, ..command }.env("RUSTC_BOOTSTRAP", "1")
}
