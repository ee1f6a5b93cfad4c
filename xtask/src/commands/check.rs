//! `cargo xtask check`: format, lints, documentation, workflows, spelling, tests; and what was skipped, and why.

use std::time::{Duration, Instant};

use netboot_loaders::build_loaders::{Choices, fetch};
use netboot_loaders::choices::sites::Options;
use netboot_loaders::process::Command;
use netboot_loaders::progress::Progress;
use netboot_loaders::toolchain::needs;
use serde_json::json;

use super::test::Tests;
use super::{install, linters};
use crate::cli::Check;
use crate::exit::{CHECK, Failure, INTERRUPTED, MISMATCH};
use crate::host::{Host, whole_environment};
use crate::ui::pass_on;

const INTERRUPTED_CHECK: &str = "the check was interrupted";

/// Has tests of whole matrices run, where it is set.
const FULL: &str = "NETBOOT_LOADERS_TEST_FULL";

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
    let mut took = Vec::new();
    for (name, cargo) in STEPS {
        host.ui.say(&format!("== {name}: cargo {}\n", cargo.join(" ")));
        let command = cargo_command(cargo, host).env("RUSTDOCFLAGS", "-D warnings");
        let started = Instant::now();
        if !succeeds(&command, host.ui, &mut pass_on)? {
            failed.push(name);
        }
        took.push((started.elapsed(), name.to_owned()));
    }
    let started = Instant::now();
    let linted = linters::run(args.install_deps, host)?;
    took.push((started.elapsed(), "linters".to_owned()));
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
    host.ui.say("\n");
    tests.report_skipped(host);
    took.append(&mut tests.took);
    if args.timings {
        host.ui.say(&slowest(&took));
    }
    let verdict =
        if failed.is_empty() { "all checks passed\n".to_owned() } else { format!("failed: {}\n", failed.join(", ")) };
    let left = match tests.left {
        0 => String::new(),
        left => format!(", {left} left to `cargo xtask check --full`"),
    };
    let totals =
        format!("check: {} passed, {} failed, {} skipped{left}\n", tests.passed, tests.failed, tests.skipped.len());
    let took: Vec<_> = took.iter().map(|(took, name)| json!({ "name": name, "seconds": took.as_secs_f64() })).collect();
    host.ui.result(
        &format!("{verdict}{totals}"),
        json!({
            "passed": tests.passed, "failed": tests.failed, "skipped": tests.skipped, "left": tests.left,
            "failed-steps": failed, "took": took,
        }),
    );
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(CHECK, &format!("these checks failed: {}", failed.join(", "))))
    }
}

/// Lines about the ten steps and the ten tests that took longest.
fn slowest(took: &[(Duration, String)]) -> String {
    let mut took: Vec<_> = took.iter().collect();
    took.sort_by_key(|(time, _)| std::cmp::Reverse(*time));
    let (tests, steps): (Vec<_>, Vec<_>) = took.into_iter().partition(|(_, name)| name.contains("::"));
    let lines = |what: &str, all: &[&(Duration, String)]| {
        let lines = all.iter().take(10).map(|(took, name)| format!("{:8.1} s  {name}\n", took.as_secs_f64()));
        format!("the slowest {what}:\n{}", lines.collect::<String>())
    };
    format!("{}{}", lines("steps", &steps), lines("tests", &tests))
}

/// Ends the check where the user asked for that.
fn interrupted(host: &Host<'_>) -> Result<(), Failure> {
    if host.ui.cancelled() { Err(Failure::new(INTERRUPTED, INTERRUPTED_CHECK)) } else { Ok(()) }
}

/// Runs all tests, those with the pinned sources wherever these are to be had.
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
    let mut command = cargo_command(&["test", "--workspace", "--no-fail-fast", "--", "--include-ignored"], host)
        .env("NETBOOT_LOADERS_TEST_SOURCES", host.cache()?.root().as_str());
    if let Some(failure) = sources.err() {
        let reason = failure.message.lines().next().unwrap_or_default();
        command = command.env("NETBOOT_LOADERS_TEST_SOURCES_MISSING", reason);
    }
    if args.full {
        command = command.env(FULL, "1");
    }
    Tests::run(command, host)
}

/// Cargo with `arguments`, in the project.
pub(super) fn cargo_command(arguments: &[&str], host: &Host<'_>) -> Command {
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
