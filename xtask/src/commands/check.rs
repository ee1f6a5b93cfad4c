//! `cargo xtask check`: format, lints, documentation, workflows, spelling, tests; and what was skipped, and why.

use std::time::Duration;

use netboot_loaders::build_loaders::{Choices, fetch};
use netboot_loaders::choices::sites::Options;
use netboot_loaders::process::Command;
use netboot_loaders::progress::Progress;
use netboot_loaders::toolchain::needs;
use serde_json::json;

use super::{install, linters};
use crate::cli::Check;
use crate::exit::{CHECK, Failure, INTERRUPTED, MISMATCH};
use crate::host::{Host, whole_environment};
use crate::ui::pass_on;

const INTERRUPTED_CHECK: &str = "the check was interrupted";

/// A step: its name, and the arguments of cargo.
const STEPS: [(&str, &[&str]); 3] = [
    ("format", &["fmt", "--all", "--check"]),
    ("lints", &["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]),
    ("documentation", &["doc", "--workspace", "--no-deps", "--document-private-items", "--quiet"]),
];

pub(super) fn run(args: &Check, host: &Host<'_>) -> Result<(), Failure> {
    if args.install_deps {
        install::missing(&needs::check(false), host)?;
    }
    let mut failed: Vec<&str> = Vec::new();
    for (name, cargo) in STEPS {
        host.ui.say(&format!("== {name}: cargo {}\n", cargo.join(" ")));
        let command = cargo_command(cargo, host).env("RUSTDOCFLAGS", "-D warnings");
        if !succeeds(&command, host.ui, &mut pass_on)? {
            failed.push(name);
        }
    }
    let linted = linters::run(args.install_deps, host)?;
    interrupted(host)?;
    failed.extend(&linted.failed);
    let mut tests = tests(args, host)?;
    if tests.failed > 0 || !tests.ended_well {
        failed.push("tests");
    }
    tests.skipped.extend(linted.skipped);
    if args.require_real && !tests.skipped.is_empty() {
        failed.push("what was skipped");
    }
    let skipped: String = tests.skipped.iter().map(|line| format!("SKIPPED: {line}\n")).collect();
    let totals = format!("check: {} passed, {} failed, {} skipped\n", tests.passed, tests.failed, tests.skipped.len());
    let verdict =
        if failed.is_empty() { "all checks passed\n".to_owned() } else { format!("failed: {}\n", failed.join(", ")) };
    host.ui.result(
        &format!("\n{skipped}{verdict}{totals}"),
        json!({ "passed": tests.passed, "failed": tests.failed, "skipped": tests.skipped, "failed-steps": failed }),
    );
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(CHECK, &format!("these checks failed: {}", failed.join(", "))))
    }
}

/// Ends the check where the user asked for that.
fn interrupted(host: &Host<'_>) -> Result<(), Failure> {
    if host.ui.cancelled() { Err(Failure::new(INTERRUPTED, INTERRUPTED_CHECK)) } else { Ok(()) }
}

/// What the tests came to.
#[derive(Default)]
struct Tests {
    passed: u64,
    failed: u64,
    skipped: Vec<String>,
    ended_well: bool,
}

fn tests(args: &Check, host: &Host<'_>) -> Result<Tests, Failure> {
    let sources = Choices::read(&host.project, &Options::default(), host.ui)
        .map_err(Failure::from)
        .and_then(|choices| Ok(fetch(&choices.pins, &host.cache()?, &host.origins(&args.origins)?, host.ui)?));
    // What is not as pinned is a failure; what is not to be had is a reason to skip.
    let sources = match sources {
        Err(failure) if failure.code == MISMATCH => return Err(failure),
        other => other,
    };
    interrupted(host)?;
    let reason = sources.err().map(|failure| failure.message.lines().next().unwrap_or_default().to_owned());
    host.ui.say("== tests: cargo test --workspace\n");
    let mut command = cargo_command(&["test", "--workspace", "--no-fail-fast"], host)
        .env("NETBOOT_LOADERS_TEST_SOURCES", host.cache()?.root().as_str());
    if let Some(reason) = reason {
        command = command.env("NETBOOT_LOADERS_TEST_SOURCES_MISSING", reason);
    }
    let mut tests = Tests::default();
    tests.ended_well = succeeds(&command, host.ui, &mut |line| {
        host.ui.say(&format!("{line}\n"));
        tests.count(line);
    })?;
    Ok(tests)
}

/// Cargo with `arguments`, in the project.
fn cargo_command(arguments: &[&str], host: &Host<'_>) -> Command {
    let command = Command::new("check the project", "cargo").args(arguments.iter().copied());
    Command { env: whole_environment(), dir: Some(host.project.root().to_owned()), deadline: Duration::MAX, ..command }
}

/// Runs `command` to its end, and tells whether it succeeded.
pub(super) fn succeeds(
    command: &Command,
    progress: &dyn Progress,
    on_line: &mut dyn FnMut(&str),
) -> Result<bool, Failure> {
    match command.run(progress, on_line) {
        Ok(_) => Ok(true),
        Err(_) if progress.cancelled() => Err(Failure::new(INTERRUPTED, INTERRUPTED_CHECK)),
        Err(error) if error.has_failed() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

impl Tests {
    /// Counts what a line of a test runner says.
    fn count(&mut self, line: &str) {
        if let Some(totals) = line.strip_prefix("test result: ") {
            let number = |what: &str| {
                let before = totals.split(what).next()?;
                before.trim_end().rsplit(' ').next()?.parse::<u64>().ok()
            };
            self.passed += number("passed").unwrap_or(0);
            self.failed += number("failed").unwrap_or(0);
        } else if let Some((name, reason)) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ignored"))
        {
            self.skipped.push(format!("{}: {}", name.trim(), reason.trim_start_matches([',', ' '])));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Tests;

    #[test]
    fn the_runner_is_read_right() {
        let mut tests = Tests::default();
        for line in [
            "test a ... ok",
            "test real ... ignored, no source",
            "test result: FAILED. 12 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        ] {
            tests.count(line);
        }
        assert_eq!((tests.passed, tests.failed), (15, 1));
        assert_eq!(tests.skipped, ["real: no source"]);
    }
}
