//! One file a command.

mod bench;
mod boot_test;
mod build_loaders;
mod bundle_bases;
mod bundle_sources;
mod check;
mod clean;
mod deploy;
mod doctor;
mod fetch;
mod ignition;
mod inspect;
mod install;
mod linters;
mod mirror;
mod prepare;
mod recipe;
mod release;
mod reproduce;
mod update;
mod verify;

use std::process::ExitCode;

use clap::CommandFactory;
use netboot_loaders::tree::enclosing::outside_trees;

use crate::cli::{Cli, Command};
use crate::exit::Failure;
use crate::host::{Host, absolute};
use crate::ui::out;

/// Runs `command`, and gives the exit code of its success.
pub fn run(command: Command, host: &Host<'_>) -> Result<ExitCode, Failure> {
    if let Some((_, Some(path))) = command.output() {
        outside_trees(&absolute(&path)?)?;
    }
    let done = match command {
        Command::BuildLoaders(args) => build_loaders::run(&args, host),
        Command::Fetch(args) => fetch::run(&args, host),
        Command::BundleSources { out, origins } => bundle_sources::run(out.as_deref(), &origins, host),
        Command::BundleBases(args) => bundle_bases::run(&args, host),
        Command::Update(args) => update::run(args, host),
        Command::Mirror { what } => return mirror::run(&what, host),
        Command::Clean(args) => clean::run(&args, host),
        Command::Doctor(args) => doctor::run(&args, host),
        Command::Verify(args) => verify::run(&args, host),
        Command::Inspect(args) => inspect::run(&args, host),
        Command::Ignition(args) => ignition::run(&args, host),
        Command::Recipe(args) => recipe::run(&args, host),
        Command::Release(args) => release::run(&args, host),
        Command::Reproduce(args) => reproduce::run(&args, host),
        Command::BootTest(args) => boot_test::run(&args, host),
        Command::Deploy(args) => deploy::run(&args, host),
        Command::Check(args) => check::run(&args, host),
        Command::Bench { what } => bench::run(&what, host),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "xtask", &mut script);
            out(&String::from_utf8_lossy(&script));
            Ok(())
        }
    };
    done.map(|()| ExitCode::SUCCESS)
}
