//! `cargo xtask test`: the fast hermetic tests. Also runs cargo's tests and parses their output for `check`.

use std::time::{Duration, Instant};

use camino::Utf8Path;
use netboot_loaders::base::fs::Temporary;
use netboot_loaders::base::process::Command;
use netboot_loaders::base::{paths, plural};
use serde_json::json;

use super::check::{cargo_command, succeeds, tested};
use crate::cli::{CheckPart, TestArgs};
use crate::exit::Failure;
use crate::host::Host;
use crate::program::name;
use netboot_loaders::base::diagnostic::Class;

/// Variable that makes tests print their measurements and durations.
const TIMINGS: &str = "NETBOOT_LOADERS_TEST_TIMINGS";

/// File system in memory. On disk, creating and removing small files takes a third of the time of the tests.
const IN_MEMORY: &str = "/dev/shm";

/// Memory that must be free before the tests write there, in bytes; they need a third of that.
const ROOM: u64 = 12 << 30;

/// Reason that a test gives if it is left to `check --full`.
const LEFT: &str = "left to `check --full`";

pub(super) fn run(args: &TestArgs, host: &Host<'_>) -> Result<(), Failure> {
    // The example has a server of its own, and its tests wait for that server.
    let tested = tested(CheckPart::Test).iter().copied().filter(|word| *word != "--examples");
    let mut arguments: Vec<&str> = ["test", "--workspace"].into_iter().chain(tested).collect();
    arguments.extend(["--no-fail-fast", "--"]);
    if let Some(filter) = &args.filter {
        // A user who names tests wants to run them, even slow ones.
        arguments.extend([filter.as_str(), "--include-ignored"]);
    }
    let tests = Tests::run(cargo_command(&arguments, host), host)?;
    tests.report_skipped(host);
    if tests.failed > 0 || !tests.ended_well {
        return Err(Failure::new(Class::Check, "tests failed").help("see what cargo says above"));
    }
    if let (0, 0, Some(filter)) = (tests.passed, tests.skipped.len(), &args.filter) {
        let text = format!("no hermetic test has `{filter}` in its name");
        return Err(Failure::new(Class::BadInput, text).help(format!("run all others with `{} check`", name())));
    }
    let left = match tests.left {
        0 => String::new(),
        left => format!(", {} left to `{} check`", plural::count(left, "slow test"), name()),
    };
    let line = format!("test: {} passed, {} skipped{left}\n", tests.passed, tests.skipped.len());
    host.ui.result(&line, json!({ "passed": tests.passed, "skipped": tests.skipped, "left": tests.left }));
    Ok(())
}

/// Results of the tests.
#[derive(Default)]
pub(super) struct Tests {
    pub passed: u64,
    pub failed: u64,
    /// Names of the skipped tests, with the reasons.
    pub skipped: Vec<String>,
    /// Number of tests that were left out because they are slow.
    pub left: usize,
    pub ended_well: bool,
    /// Duration of each test file, and of each test that prints its own.
    pub took: Vec<(Duration, String)>,
    /// Test file that is running.
    running: Option<String>,
}

impl Tests {
    /// Runs `command` and passes on its output.
    pub(super) fn run(command: Command, host: &Host<'_>) -> Result<Self, Failure> {
        let mut tests = Self::default();
        let started = Instant::now();
        host.ui.print(&format!("== tests: cargo {}\n", command.args.join(" ")));
        let mut command = command.env(TIMINGS, "1");
        // The folder exists until the tests have ended.
        let chosen = command.env.names().any(|name| name == "TMPDIR");
        let memory = if chosen { None } else { in_memory() };
        if let Some(folder) = &memory {
            command = command.env("TMPDIR", folder.path().as_str());
        }
        tests.ended_well = succeeds(&command, host.ui, &mut |line| {
            if tests.running.is_none() && line.trim_start().starts_with("Running ") {
                tests.took.push((started.elapsed(), "building the tests".to_owned()));
            }
            if !tests.count(line) {
                host.ui.print(&format!("{line}\n"));
            }
        })?;
        Ok(tests)
    }

    /// Prints which tests were skipped, and why.
    pub(super) fn report_skipped(&self, host: &Host<'_>) {
        let lines: String = self.skipped.iter().map(|line| format!("SKIPPED: {line}\n")).collect();
        host.ui.print(&lines);
    }

    /// Counts the results in an output line of a test runner. Returns whether the line contains nothing else.
    fn count(&mut self, line: &str) -> bool {
        if let Some(totals) = line.strip_prefix("test result: ") {
            let number = |what: &str| {
                let before = totals.split(what).next()?;
                before.trim_end().rsplit(' ').next()?.parse::<u64>().ok()
            };
            self.passed += number("passed").unwrap_or(0);
            self.failed += number("failed").unwrap_or(0);
            let took = totals.rsplit_once("finished in ").and_then(|(_, took)| seconds(took));
            self.took.extend(took.zip(self.running.clone()));
        } else if let Some((name, reason)) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ignored"))
        {
            // Rust's own harness prints `, reason`; libtest-mimic prints ` (reason)`.
            match reason.trim_start_matches([',', ' ', '(']).trim_end_matches(')') {
                "" | LEFT => self.left += 1,
                reason => self.skipped.push(format!("{}: {reason}", name.trim())),
            }
        } else if let Some(rest) = line.trim_start().strip_prefix("Running ") {
            // `tests/it/main.rs (target/debug/deps/it-0123456789abcdef)`
            let program = rest.rsplit('/').next().unwrap_or(rest);
            let name = program.rsplit_once('-').map_or(program, |(name, _)| name);
            let unit = if rest.starts_with("unittests ") { " (unit tests)" } else { "" };
            self.running = Some(format!("tests: {name}{unit}"));
        } else if let Some((took, name)) = line.strip_prefix("took ").and_then(|rest| rest.split_once(": ")) {
            self.took.extend(seconds(took).map(|took| (took, name.to_owned())));
            return true;
        }
        false
    }
}

/// Creates a folder in memory for the files of the tests, if there is room.
fn in_memory() -> Option<Temporary> {
    let folder = rustix::fs::statvfs(IN_MEMORY).ok()?;
    let known = std::fs::read_to_string("/proc/meminfo").ok()?;
    let free = known.lines().find_map(|line| line.strip_prefix("MemAvailable:")?.strip_suffix("kB"))?;
    let free = free.trim().parse::<u64>().ok()? * 1024;
    if free.min(folder.f_bavail * folder.f_frsize) < ROOM {
        return None;
    }
    Temporary::create(Utf8Path::new(IN_MEMORY), paths::TEMPORARY).ok()
}

/// Parses a duration such as `17.32s` or `17.32 s`.
fn seconds(text: &str) -> Option<Duration> {
    let number = text.trim().trim_end_matches('s').trim_end().parse().ok()?;
    Duration::try_from_secs_f64(number).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Tests;

    #[test]
    fn the_runner_is_read_right() {
        let mut tests = Tests::default();
        for line in [
            "     Running unittests src/lib.rs (target/debug/deps/netboot_stamp-efe1019bcc68d62f)",
            "test a ... ok",
            "test slow ... ignored",
            "test matrix ... ignored (left to `check --full`)",
            "test real ... ignored (no source)",
            "test result: FAILED. 12 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "     Running tests/it/main.rs (target/debug/deps/it-efe1019bcc68d62f)",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 2.50s",
        ] {
            assert!(!tests.count(line));
        }
        assert!(tests.count("took 1.50 s: deploy::sshd::cuts"));
        assert_eq!((tests.passed, tests.failed, tests.left), (15, 1, 2));
        assert_eq!(tests.skipped, ["real: no source"]);
        let took = [(10, "tests: netboot_stamp (unit tests)"), (2500, "tests: it"), (1500, "deploy::sshd::cuts")];
        assert_eq!(tests.took, took.map(|(took, name)| (Duration::from_millis(took), name.to_owned())));
    }
}
