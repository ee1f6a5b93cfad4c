//! The report of a boot test, as JSON has it, with the evidence of each case.

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;

use crate::base::{fs, paths};
use crate::boot_test::case::{Case, Firmware};
use crate::boot_test::expected_console::expectation;
use crate::boot_test::machine;
use crate::boot_test::observer::Verdict;
use crate::boot_test::phase::Phase;
use crate::boot_test::tools::TestTool;

/// What writes reports, and how a report is known again.
pub const GENERATOR: &str = "netboot-loaders boot-test";

/// The version of `report.json`'s form.
pub const SCHEMA_VERSION: u32 = 1;

/// How many of the last lines of a console are shown where a case failed.
const LAST_LINES: usize = 12;

/// All cases.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct BootReport {
    /// [`GENERATOR`].
    pub generator: String,
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The tree or tarball.
    pub subject: Utf8PathBuf,
    /// The SHA-256 of its manifest: what exactly was booted.
    pub manifest_sha256: String,
    /// What machines and servers were made of.
    pub tools: Vec<TestTool>,
    /// How many cases ran side by side.
    pub jobs: usize,
    /// How many processors there were.
    pub processors: usize,
    /// How long all of it took.
    pub milliseconds: u64,
    /// How much processor time the machines took together.
    pub processor_milliseconds: u64,
    /// The cases, in the order of the tree.
    pub cases: Vec<CaseReport>,
}

/// A case.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct CaseReport {
    /// Its name.
    pub name: String,
    /// The loader's path in the tree.
    pub loader: Utf8PathBuf,
    /// The loader's SHA-256.
    pub sha256: String,
    /// The site whose it is.
    pub site: Option<String>,
    /// The machine's firmware.
    pub firmware: Firmware,
    /// What was expected.
    pub expected: String,
    /// Whether that came.
    pub outcome: CaseOutcome,
    /// Why not; or why it did not run.
    pub reason: Option<String>,
    /// Attempts before this one, which failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Attempt>,
    /// From the machine's start to the verdict.
    pub milliseconds: u64,
    /// How much processor time the machine took.
    pub processor_milliseconds: u64,
    /// When which phase was reached, since the case began.
    pub phases: Vec<ReachedPhases>,
    /// The last lines of the console, where it failed.
    pub last_lines: Vec<String>,
    /// Its evidence: a folder beside the report.
    pub evidence: Option<Utf8PathBuf>,
    /// The picture of its screen, a PNG.
    #[serde(skip)]
    pub picture: Option<Vec<u8>>,
    /// The bytes of its serial console.
    #[serde(skip)]
    pub serial: Vec<u8>,
    /// Why there is no picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_picture: Option<String>,
    /// What the console said.
    #[serde(skip)]
    pub console: String,
    /// What the servers logged.
    #[serde(skip)]
    pub log: String,
}

/// An attempt that failed, before another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Attempt {
    /// Why.
    pub reason: String,
    /// Its evidence: a folder beside the report.
    pub evidence: Option<Utf8PathBuf>,
}

impl Attempt {
    /// What `report` says.
    #[must_use]
    pub fn of(report: &CaseReport) -> Self {
        Self { reason: report.reason.clone().unwrap_or_default(), evidence: report.evidence.clone() }
    }
}

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CaseOutcome {
    /// As expected.
    Passed,
    /// Not as expected.
    Failed,
    /// It did not run.
    Skipped,
}

/// A phase and when it was reached.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ReachedPhases {
    /// The phase.
    pub phase: Phase,
    /// Since the case began.
    pub milliseconds: u64,
}

/// What a case leaves behind.
pub struct Evidence<'a> {
    /// The machine's folder, with the serial console and the picture.
    pub folder: &'a Utf8Path,
    /// What the console said, as text.
    pub console: String,
    /// What the servers logged.
    pub log: String,
    /// Why there is no picture.
    pub no_picture: Option<String>,
}

impl CaseReport {
    /// The report of `case`, which took `times`: on the clock, and of processors.
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

    /// The report of a case that cannot run, and why.
    #[must_use]
    pub fn skipped(case: &Case, reason: String) -> Self {
        Self {
            name: case.name.clone(),
            loader: case.loader.path.clone(),
            sha256: case.loader.sha256.to_string(),
            site: case.loader.site.clone(),
            firmware: case.firmware,
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
    /// [`fs::Error`].
    pub fn keep(&self, report: &Utf8Path) -> Result<(), fs::Error> {
        let Some(folder) = self.evidence.as_ref().map(|folder| report.join(folder)) else { return Ok(()) };
        let write = |name: &str, content: &[u8]| fs::write_atomic(&folder.join(name), content);
        write("console.txt", self.console.as_bytes())?;
        write("servers.log", self.log.as_bytes())?;
        write(machine::SERIAL, &self.serial)?;
        self.picture.as_ref().map_or(Ok(()), |picture| write(machine::PICTURE, picture))
    }

    /// In a few words how it ended.
    #[must_use]
    pub fn summary(&self) -> String {
        match (&self.outcome, &self.reason) {
            (CaseOutcome::Failed, Some(reason)) => format!("FAILED: {}", first_line(reason)),
            _ => self.expected.clone(),
        }
    }

    /// When `phase` was reached.
    #[must_use]
    pub fn reached(&self, phase: Phase) -> Option<u64> {
        self.phases.iter().find(|reached| reached.phase == phase).map(|reached| reached.milliseconds)
    }
}

impl BootReport {
    /// The cases that ended so.
    pub fn of(&self, outcome: CaseOutcome) -> impl Iterator<Item = &CaseReport> {
        self.cases.iter().filter(move |case| case.outcome == outcome)
    }

    /// The shortest time that these cases could take: what the machines need of processors, as many as can be
    /// used side by side, or the longest case.
    #[must_use]
    pub fn bound_milliseconds(&self) -> u64 {
        let longest = self.cases.iter().map(|case| case.milliseconds).max().unwrap_or(0);
        longest.max(self.processor_milliseconds / self.jobs.min(self.processors).max(1) as u64)
    }
}

/// The first line of a reason; the others are hints.
#[must_use]
pub fn first_line(reason: &str) -> &str {
    reason.lines().next().unwrap_or_default()
}

/// The last lines of a console that say anything.
fn last_lines(console: &str) -> Vec<String> {
    let lines: Vec<&str> = console.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].iter().map(ToString::to_string).collect()
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Seconds, for people.
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
        assert!(page.contains("<td>loader</td><td>+1.5 s</td><td>3.0 s</td>"), "{page}");
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
