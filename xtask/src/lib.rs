//! Command line program `cargo xtask`. The library does all the work; this crate reads the command line and the
//! environment, renders progress, and chooses the exit code.
//!
//! It is a library crate so that cargo compiles it while it still generates code for the other library.

#![warn(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod cli;
mod commands;
mod exit;
mod host;
mod program;
mod ui;

use std::process::ExitCode;

use netboot_loaders::fetch::git_helper;

/// Runs the program with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|first| first == host::GIT_HELPER) {
        git_helper::run(&mut std::io::stdin(), &mut std::io::stdout());
        return ExitCode::SUCCESS;
    }
    // Before parsing, since the message about a wrong command line shows arguments verbatim.
    if let Err(failure) = host::check_process() {
        return ui::Ui::new(false, cli::MessageFormat::Human).fail(&failure);
    }
    let cli = match cli::parse() {
        Ok(cli) => cli,
        Err(error) => return ui::usage(&cli::presentable(error)),
    };
    let ui = ui::Ui::new(cli.global.quiet, cli.global.message_format);
    let result = host::Host::new(&cli.global, &ui).and_then(|host| {
        let outputs = cli.command.outputs();
        commands::run(cli.command, &host).map_err(|failure| host.with_storage_hint(failure, &outputs))
    });
    match result {
        Ok(code) => ui.end(code),
        Err(failure) => ui.fail(&failure),
    }
}
