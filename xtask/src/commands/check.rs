//! `cargo xtask check`: format, lints, documentation, workflows, spelling and tests, with the reason for each skip.

use std::time::{Duration, Instant};

use netboot_loaders::base::process::Command;
use netboot_loaders::base::progress::Progress;
use netboot_loaders::build_loaders::{Config, fetch};
use netboot_loaders::config::sites::Options;
use netboot_loaders::toolchain::needs;
use serde_json::json;

use super::linters::Linted;
use super::test::Tests;
use super::{docs, install, linters};
use crate::cli::{Check, CheckPart};
use crate::exit::Failure;
use crate::host::{Host, environment_for_cargo};
use crate::program::name;
use crate::ui::pass_on;
use netboot_loaders::base::diagnostic::Class;

/// Variable that makes tests run whole matrices.
const FULL: &str = "NETBOOT_LOADERS_TEST_FULL";

/// Steps that cargo runs: the part they belong to, their names, and cargo's arguments.
const STEPS: [(CheckPart, &str, &[&str]); 3] = [
    (CheckPart::Lint, "format", &["fmt", "--all", "--check"]),
    (CheckPart::Lint, "lints", &["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]),
    (CheckPart::Docs, "documentation", &["doc", "--workspace", "--no-deps", "--document-private-items", "--quiet"]),
];

/// A check by pinned programs, which are installed first if that is wanted.
type PinnedCheck = fn(bool, &Host<'_>) -> Result<Linted, Failure>;

/// Returns the arguments that select the tests of a part.
pub(super) fn tested(part: CheckPart) -> &'static [&'static str] {
    match part {
        CheckPart::Lint | CheckPart::Docs | CheckPart::Msrv => &[],
        CheckPart::Test => &["--lib", "--bins", "--examples", "--test", "source", "--test", "tidy", "--test", "it"],
        CheckPart::Machines => &["--test", "machines"],
        CheckPart::Real => &["--test", "real"],
    }
}

/// Results of the steps.
#[derive(Default)]
struct Checked {
    failed: Vec<&'static str>,
    took: Vec<(Duration, String)>,
    tests: Tests,
}

impl Checked {
    /// Runs a step, which returns whether it passed.
    fn step(&mut self, name: &'static str, step: impl FnOnce() -> Result<bool, Failure>) -> Result<(), Failure> {
        let started = Instant::now();
        if !step()? {
            self.failed.push(name);
        }
        self.took.push((started.elapsed(), name.to_owned()));
        Ok(())
    }
}

pub(super) fn run(args: &Check, host: &Host<'_>) -> Result<(), Failure> {
    if args.install_deps {
        install::missing(&needs::check(), host)?;
    }
    let wanted =
        |part: CheckPart| if args.parts.is_empty() { part != CheckPart::Msrv } else { args.parts.contains(&part) };
    let mut checked = Checked::default();
    for (_, name, cargo) in STEPS.into_iter().filter(|(part, ..)| wanted(*part)) {
        host.ui.print(&format!("== {name}: cargo {}\n", cargo.join(" ")));
        let command = cargo_command(cargo, host).env("RUSTDOCFLAGS", "-D warnings");
        checked.step(name, || succeeds(&command, host.ui, &mut pass_on))?;
    }
    if wanted(CheckPart::Msrv) {
        checked.step("the oldest Rust", || oldest_rust(host))?;
    }
    let mut skipped = Vec::new();
    let pinned: [(CheckPart, &str, PinnedCheck); 2] =
        [(CheckPart::Lint, "linters", linters::run), (CheckPart::Docs, "book", docs::check)];
    for (_, name, lint) in pinned.into_iter().filter(|(part, ..)| wanted(*part)) {
        let started = Instant::now();
        let linted = lint(args.install_deps, host)?;
        checked.took.push((started.elapsed(), name.to_owned()));
        checked.failed.extend(&linted.failed);
        skipped.extend(linted.skipped);
    }
    interrupted(host)?;
    let parts: Vec<CheckPart> =
        [CheckPart::Test, CheckPart::Machines, CheckPart::Real].into_iter().filter(|part| wanted(*part)).collect();
    if !parts.is_empty() {
        checked.tests = tests(args, &parts, host)?;
        if checked.tests.failed > 0 || !checked.tests.ended_well {
            checked.failed.push("tests");
        }
    }
    checked.tests.skipped.extend(skipped);
    if args.require_real && !checked.tests.skipped.is_empty() {
        checked.failed.push("what was skipped");
    }
    report(checked, args, host)
}

/// Reports the results of the steps.
fn report(checked: Checked, args: &Check, host: &Host<'_>) -> Result<(), Failure> {
    let Checked { failed, mut took, mut tests } = checked;
    host.ui.print("\n");
    tests.report_skipped(host);
    took.append(&mut tests.took);
    if args.timings {
        host.ui.print(&slowest(&took));
    }
    let verdict =
        if failed.is_empty() { "all checks passed\n".to_owned() } else { format!("failed: {}\n", failed.join(", ")) };
    let left = match tests.left {
        0 => String::new(),
        left => format!(", {left} left to `{} check --full`", name()),
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
        Err(Failure::new(Class::Check, format!("these checks failed: {}", failed.join(", "))))
    }
}

/// Compiles everything with the oldest supported Rust, in a target folder of its own: cargo's usual folder contains the
/// output of the usual toolchain.
fn oldest_rust(host: &Host<'_>) -> Result<bool, Failure> {
    let version = format!("+{}", env!("CARGO_PKG_RUST_VERSION"));
    let arguments = [&version, "check", "--workspace", "--all-targets", "--locked", "--target-dir", "target/msrv"];
    host.ui.print(&format!("== the oldest Rust: cargo {}\n", arguments.join(" ")));
    succeeds(&cargo_command(&arguments, host), host.ui, &mut pass_on)
}

/// Lists the ten steps and the ten tests that took longest.
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

/// Fails if the user has interrupted the check.
fn interrupted(host: &Host<'_>) -> Result<(), Failure> {
    if host.ui.cancelled() { Err(Failure::interrupted()) } else { Ok(()) }
}

/// Runs the tests of `parts`; those that need the pinned sources run only if these are available.
fn tests(args: &Check, parts: &[CheckPart], host: &Host<'_>) -> Result<Tests, Failure> {
    let missing = if parts.contains(&CheckPart::Real) { fetched(args, host)? } else { None };
    interrupted(host)?;
    let mut arguments = vec!["test", "--workspace", "--no-fail-fast"];
    if !args.parts.is_empty() {
        arguments.extend(parts.iter().flat_map(|part| tested(*part)));
    }
    arguments.extend(["--", "--include-ignored"]);
    let mut command =
        cargo_command(&arguments, host).env("NETBOOT_LOADERS_TEST_SOURCES", host.cache()?.root().as_str());
    if let Some(reason) = missing {
        command = command.env("NETBOOT_LOADERS_TEST_SOURCES_MISSING", reason);
    }
    if args.full {
        command = command.env(FULL, "1");
    }
    Tests::run(command, host)
}

/// Fetches the pinned sources into the cache. Returns the reason if they are not available.
fn fetched(args: &Check, host: &Host<'_>) -> Result<Option<String>, Failure> {
    let sources = Config::read(&host.project, &Options::default(), host.ui)
        .map_err(Failure::from)
        .and_then(|config| Ok(fetch(&config.pins, &host.cache()?, &host.origins(&args.origins)?, host.ui)?));
    match sources {
        Ok(()) => Ok(None),
        // An input that differs from its pin is a failure; one that is not available is a reason to skip.
        Err(failure) if failure.class() == Class::Mismatch => Err(failure),
        Err(failure) => Ok(Some(failure.message.lines().next().unwrap_or_default().to_owned())),
    }
}

/// Returns cargo with `arguments`, run in the project.
pub(super) fn cargo_command(arguments: &[&str], host: &Host<'_>) -> Command {
    let command = Command::new("check the project", "cargo").args(arguments.iter().copied());
    Command {
        env: environment_for_cargo(),
        dir: Some(host.project.root().to_owned()),
        deadline: Duration::MAX,
        ..command
    }
}

/// Runs `command` to its end and returns whether it succeeded.
pub(super) fn succeeds(
    command: &Command,
    progress: &dyn Progress,
    on_line: &mut dyn FnMut(&str),
) -> Result<bool, Failure> {
    match command.run(progress, on_line) {
        Ok(_) => Ok(true),
        Err(_) if progress.cancelled() => Err(Failure::interrupted()),
        Err(error) if error.has_failed() => Ok(false),
        Err(error) => Err(error.into()),
    }
}
