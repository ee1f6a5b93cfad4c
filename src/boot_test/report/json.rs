//! The report of a boot test as JSON, with the evidence of each case.

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Serialize, Serializer};

use crate::base::{fs, paths};
use crate::boot_test::case::Case;
use crate::boot_test::expected_console::expectation;
use crate::boot_test::machine;
use crate::boot_test::observer::Verdict;
use crate::boot_test::phase::Phase;
use crate::boot_test::tools::TestTool;
use crate::loader::target::Platform;

/// Program that writes reports; the mark by which a report is recognised.
pub const GENERATOR: &str = "netboot-loaders boot-test";

/// Version of the format of `report.json`.
pub const SCHEMA_VERSION: u32 = 1;

/// Number of console lines that the report contains of a failed case.
const LAST_LINES: usize = 12;

/// Report on all cases.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct BootReport {
    /// [`GENERATOR`].
    pub generator: String,
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The tree or tarball.
    pub subject: Utf8PathBuf,
    /// SHA-256 of its manifest, which identifies what was booted.
    pub manifest_sha256: String,
    /// Tools that the machines and servers consist of.
    pub tools: Vec<TestTool>,
    /// The day that the machines' clocks started with; the host's time if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<String>,
    /// Number of cases that ran in parallel.
    pub jobs: usize,
    /// Number of processors.
    pub processors: usize,
    /// Total elapsed time.
    pub milliseconds: u64,
    /// Total processor time of the machines.
    pub processor_milliseconds: u64,
    /// The cases, in the order of the tree.
    pub cases: Vec<CaseReport>,
}

/// Report on a case.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct CaseReport {
    /// Its name.
    pub name: String,
    /// The loader's path in the tree.
    pub loader: Utf8PathBuf,
    /// The loader's SHA-256.
    pub sha256: String,
    /// Owning site; `None` for the root of the tree.
    pub site: Option<String>,
    /// The machine's platform, named by its firmware.
    #[serde(rename = "firmware", serialize_with = "as_firmware")]
    pub platform: Platform,
    /// Whether the machine had Secure Boot on. Where Linux was to boot, userland has reported that.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub secure_boot: bool,
    /// Description of the expected outcome.
    pub expected: String,
    /// Actual outcome.
    pub outcome: CaseOutcome,
    /// Why it failed, or did not run.
    pub reason: Option<String>,
    /// Earlier attempts, which failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Attempt>,
    /// Time from the machine's start to the verdict.
    pub milliseconds: u64,
    /// Processor time of the machine.
    pub processor_milliseconds: u64,
    /// Phases that were reached, and when since the start of the case.
    pub phases: Vec<ReachedPhases>,
    /// Last lines of the console if the case failed.
    pub last_lines: Vec<String>,
    /// Folder with its evidence, beside the report.
    pub evidence: Option<Utf8PathBuf>,
    /// Screenshot, as PNG.
    #[serde(skip)]
    pub picture: Option<Vec<u8>>,
    /// Raw bytes of the serial console.
    #[serde(skip)]
    pub serial: Vec<u8>,
    /// Why there is no screenshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_picture: Option<String>,
    /// Console output as text.
    #[serde(skip)]
    pub console: String,
    /// Logs of the servers.
    #[serde(skip)]
    pub log: String,
}

/// A failed attempt that was followed by another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Attempt {
    /// Why it failed.
    pub reason: String,
    /// Folder with its evidence, beside the report.
    pub evidence: Option<Utf8PathBuf>,
}

impl Attempt {
    /// Returns the attempt that `report` describes.
    #[must_use]
    pub fn of(report: &CaseReport) -> Self {
        Self { reason: report.reason.clone().unwrap_or_default(), evidence: report.evidence.clone() }
    }
}

/// Outcome of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CaseOutcome {
    /// As expected.
    Passed,
    /// Not as expected.
    Failed,
    /// The case did not run.
    Skipped,
}

/// A phase and when it was reached.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ReachedPhases {
    /// The phase.
    pub phase: Phase,
    /// Time since the start of the case.
    pub milliseconds: u64,
}

/// Evidence of a case.
pub struct Evidence<'a> {
    /// The machine's folder, with the serial console and the screenshot.
    pub folder: &'a Utf8Path,
    /// Console output as text.
    pub console: String,
    /// Logs of the servers.
    pub log: String,
    /// Why there is no screenshot.
    pub no_picture: Option<String>,
}

impl CaseReport {
    /// Creates the report of `case`, with its elapsed and its processor time.
    #[must_use]
    pub fn new(
        case: &Case,
        verdict: &Verdict,
        phases: &[(Phase, Duration)],
        (clock, processor): (Duration, Duration),
        evidence: Evidence<'_>,
    ) -> Self {
        let reason = if let Verdict::Failed(reason) = verdict { Some(reason.clone()) } else { None };
        let read = |name: &str| std::fs::read(evidence.folder.join(name)).ok();
        Self {
            outcome: if reason.is_some() { CaseOutcome::Failed } else { CaseOutcome::Passed },
            last_lines: if reason.is_some() { last_lines(&evidence.console) } else { Vec::new() },
            reason,
            milliseconds: milliseconds(clock),
            processor_milliseconds: milliseconds(processor),
            phases: phases
                .iter()
                .map(|(phase, at)| ReachedPhases { phase: *phase, milliseconds: milliseconds(*at) })
                .collect(),
            evidence: Some(paths::evidence_of(&case.name)),
            picture: read(machine::PICTURE),
            serial: read(machine::SERIAL).unwrap_or_default(),
            no_picture: evidence.no_picture,
            console: evidence.console,
            log: evidence.log,
            ..Self::skipped(case, String::new())
        }
    }

    /// Creates the report of a case that cannot run, with the reason.
    #[must_use]
    pub fn skipped(case: &Case, reason: String) -> Self {
        Self {
            name: case.name.clone(),
            loader: case.loader.path.clone(),
            sha256: case.loader.sha256.to_string(),
            site: case.loader.site.clone(),
            platform: case.loader.platform,
            secure_boot: case.secure_boot.is_some(),
            expected: expectation(case),
            outcome: CaseOutcome::Skipped,
            reason: Some(reason),
            milliseconds: 0,
            processor_milliseconds: 0,
            phases: Vec::new(),
            last_lines: Vec::new(),
            evidence: None,
            earlier: Vec::new(),
            picture: None,
            serial: Vec::new(),
            no_picture: None,
            console: String::new(),
            log: String::new(),
        }
    }

    /// Writes the evidence below the folder `report`.
    ///
    /// # Errors
    ///
    /// [`fs::Error`] if a file cannot be written.
    pub fn keep(&self, report: &Utf8Path) -> Result<(), fs::Error> {
        let Some(folder) = self.evidence.as_ref().map(|folder| report.join(folder)) else { return Ok(()) };
        let write = |name: &str, content: &[u8]| fs::write_atomic(&folder.join(name), content);
        write("console.txt", self.console.as_bytes())?;
        write("servers.log", self.log.as_bytes())?;
        write(machine::SERIAL, &self.serial)?;
        self.picture.as_ref().map_or(Ok(()), |picture| write(machine::PICTURE, picture))
    }

    /// Describes the outcome in a few words.
    #[must_use]
    pub fn summary(&self) -> String {
        match (&self.outcome, &self.reason) {
            (CaseOutcome::Failed, Some(reason)) => format!("FAILED: {}", first_line(reason)),
            _ => self.expected.clone(),
        }
    }

    /// Returns when `phase` was reached, in milliseconds since the start of the case.
    #[must_use]
    pub fn reached(&self, phase: Phase) -> Option<u64> {
        self.phases.iter().find(|reached| reached.phase == phase).map(|reached| reached.milliseconds)
    }
}

impl BootReport {
    /// Returns the cases with this outcome.
    pub fn of(&self, outcome: CaseOutcome) -> impl Iterator<Item = &CaseReport> {
        self.cases.iter().filter(move |case| case.outcome == outcome)
    }

    /// Returns the shortest possible time for these cases: the processor time of the machines, spread over the
    /// processors that run in parallel, or the longest case, whichever is longer.
    #[must_use]
    pub fn bound_milliseconds(&self) -> u64 {
        let longest = self.cases.iter().map(|case| case.milliseconds).max().unwrap_or(0);
        longest.max(self.processor_milliseconds / self.jobs.min(self.processors).max(1) as u64)
    }
}

/// Returns the first line of a reason; the others are hints.
#[must_use]
pub fn first_line(reason: &str) -> &str {
    reason.lines().next().unwrap_or_default()
}

/// Returns the last lines of a console that are not empty.
fn last_lines(console: &str) -> Vec<String> {
    let lines: Vec<&str> = console.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].iter().map(ToString::to_string).collect()
}

/// Serializes a platform by the name of its firmware.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn as_firmware<S: Serializer>(platform: &Platform, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(platform.firmware())
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Converts milliseconds to seconds, for display.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "times of minutes, shown with one digit")]
pub fn to_seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::boot_test::case::Aim;
    use crate::boot_test::report::html::page;
    use crate::boot_test::samples::ipxe;

    fn report() -> BootReport {
        let case = ipxe("ipxe.efi", Aim::Userland);
        let evidence = || Evidence {
            folder: Utf8Path::new("/nowhere"),
            console: "first\n\nlast words\n".into(),
            log: "0.1 <DHCP>\n".into(),
            no_picture: Some("QEMU is too old".into()),
        };
        let times = (Duration::from_secs(20), Duration::from_secs(12));
        let phases = [(Phase::Address, Duration::from_millis(1500)), (Phase::Loader, Duration::from_secs(3))];
        let failed =
            CaseReport::new(&case, &Verdict::Failed("it <broke>\nhint: mend it".into()), &phases, times, evidence());
        let passed = CaseReport::new(&case, &Verdict::Passed, &phases, times, evidence());
        BootReport {
            generator: GENERATOR.into(),
            schema_version: SCHEMA_VERSION,
            subject: "dist/tftp".into(),
            manifest_sha256: "0".repeat(64),
            tools: Vec::new(),
            clock: None,
            jobs: 2,
            processors: 4,
            milliseconds: 21_000,
            processor_milliseconds: 50_000,
            cases: vec![failed, passed, CaseReport::skipped(&case, "no machine".into())],
        }
    }

    #[test]
    fn the_page_shows_every_case_and_escapes_what_machines_say() {
        let page = page(&report());
        assert!(page.contains("<title>boot test: 1 passed, 1 failed, 1 skipped</title>"), "{page}");
        assert!(page.contains("it &lt;broke&gt;") && page.contains("0.1 &lt;DHCP&gt;"), "{page}");
        assert!(page.contains("QEMU is too old") && page.contains("no machine ran"));
        assert!(page.contains("<span class=\"key loader\"></span>loader</td><td>+1.5 s</td><td>3.0 s</td>"), "{page}");
        assert!(page.contains("loader: the loader was fetched. script: ") && !page.contains("<script"), "{page}");
        assert!(!page.contains("the report has no page"));
    }

    #[test]
    fn the_record_has_phases_and_last_lines() {
        let json = json!(report());
        assert_eq!(json["cases"][0]["outcome"], "failed");
        assert_eq!(json["cases"][0]["last-lines"], json!(["first", "last words"]));
        assert_eq!(json["cases"][1]["phases"][1], json!({ "phase": "loader", "milliseconds": 3000 }));
        assert_eq!(json["cases"][1]["last-lines"], json!([]));
        assert_eq!(json["cases"][2]["outcome"], "skipped");
    }

    #[test]
    fn the_bound_is_the_longest_case_or_the_processors() {
        let mut report = report();
        assert_eq!(report.bound_milliseconds(), 25_000);
        report.jobs = 4;
        assert_eq!(report.bound_milliseconds(), 20_000);
    }
}
