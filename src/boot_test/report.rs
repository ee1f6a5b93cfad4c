//! What a boot test came to, as JSON, as a page, and as the evidence of each case.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use camino::{Utf8Path, Utf8PathBuf};
use minijinja::{AutoEscape, Environment};
use serde::Serialize;
use serde_json::{Value, json};

use super::case::{Case, Firmware};
use super::kit::Part;
use super::machine;
use super::phase::Phase;
use super::steps::expectation;
use super::watch::Verdict;
use crate::fs;
use crate::paths;

/// The version of `report.json`'s form.
pub const SCHEMA_VERSION: u32 = 1;

/// How many of the last lines of a console are shown where a case failed.
const LAST_LINES: usize = 12;

/// All cases.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The tree or tarball.
    pub subject: Utf8PathBuf,
    /// The SHA-256 of its manifest: what exactly was booted.
    pub manifest_sha256: String,
    /// What machines and servers were made of.
    pub kit: Vec<Part>,
    /// How many cases ran side by side.
    pub jobs: usize,
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
    pub outcome: Outcome,
    /// Why not; or why it did not run.
    pub reason: Option<String>,
    /// From the machine's start to the verdict.
    pub milliseconds: u64,
    /// How much processor time the machine took.
    pub processor_milliseconds: u64,
    /// When which phase was reached, since the case began.
    pub phases: Vec<Reached>,
    /// The last lines of the console, where it failed.
    pub last_lines: Vec<String>,
    /// Its evidence: a folder beside the report.
    pub evidence: Option<Utf8PathBuf>,
    /// The picture of its screen, as base64; only for the page.
    #[serde(skip)]
    pub picture: Option<String>,
    /// Why there is no picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_picture: Option<String>,
    /// What the console said; only for the page.
    #[serde(skip)]
    pub console: String,
    /// What the servers logged; only for the page.
    #[serde(skip)]
    pub log: String,
}

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// As expected.
    Passed,
    /// Not as expected.
    Failed,
    /// It did not run.
    Skipped,
}

/// A phase and when it was reached.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Reached {
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
    pub console: &'a str,
    /// What the servers logged.
    pub log: &'a str,
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
        evidence: &Evidence<'_>,
    ) -> Self {
        let reason = if let Verdict::Failed(reason) = verdict { Some(reason.clone()) } else { None };
        let picture = std::fs::read(evidence.folder.join(machine::PICTURE)).ok();
        Self {
            outcome: if reason.is_some() { Outcome::Failed } else { Outcome::Passed },
            last_lines: if reason.is_some() { last_lines(evidence.console) } else { Vec::new() },
            reason,
            milliseconds: milliseconds(clock),
            processor_milliseconds: milliseconds(processor),
            phases: phases
                .iter()
                .map(|(phase, at)| Reached { phase: *phase, milliseconds: milliseconds(*at) })
                .collect(),
            evidence: Some(paths::evidence_of(&case.name)),
            picture: picture.map(|bytes| STANDARD.encode(bytes)),
            no_picture: evidence.no_picture.clone(),
            console: evidence.console.to_owned(),
            log: evidence.log.to_owned(),
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
            outcome: Outcome::Skipped,
            reason: Some(reason),
            milliseconds: 0,
            processor_milliseconds: 0,
            phases: Vec::new(),
            last_lines: Vec::new(),
            evidence: None,
            picture: None,
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
    pub fn keep(&self, evidence: &Evidence<'_>, report: &Utf8Path) -> Result<(), fs::Error> {
        let Some(folder) = self.evidence.as_ref().map(|folder| report.join(folder)) else { return Ok(()) };
        let text = |name: &str, text: &str| fs::write_atomic(&folder.join(name), text.as_bytes());
        text("console.txt", evidence.console)?;
        text("servers.log", evidence.log)?;
        for name in [machine::SERIAL, machine::PICTURE] {
            if let Some(content) = fs::read_if_exists(&evidence.folder.join(name))? {
                fs::write_atomic(&folder.join(name), &content)?;
            }
        }
        Ok(())
    }

    /// In a few words how it ended.
    #[must_use]
    pub fn summary(&self) -> String {
        match (&self.outcome, &self.reason) {
            (Outcome::Failed, Some(reason)) => format!("FAILED: {}", reason.lines().next().unwrap_or_default()),
            _ => self.expected.clone(),
        }
    }

    /// When `phase` was reached.
    #[must_use]
    pub fn reached(&self, phase: Phase) -> Option<u64> {
        self.phases.iter().find(|reached| reached.phase == phase).map(|reached| reached.milliseconds)
    }
}

impl Report {
    /// The cases that ended so.
    pub fn of(&self, outcome: Outcome) -> impl Iterator<Item = &CaseReport> {
        self.cases.iter().filter(move |case| case.outcome == outcome)
    }

    /// The shortest time that these cases could take with this many side by side: what the machines need
    /// of processors, or the longest case.
    #[must_use]
    pub fn bound_milliseconds(&self) -> u64 {
        let longest = self.cases.iter().map(|case| case.milliseconds).max().unwrap_or(0);
        longest.max(self.processor_milliseconds / self.jobs.max(1) as u64)
    }

    /// Writes `report.json` and `report.html` into `folder`.
    ///
    /// # Errors
    ///
    /// [`fs::Error`].
    pub fn write(&self, folder: &Utf8Path) -> Result<(), fs::Error> {
        let json = format!("{:#}\n", serde_json::json!(self));
        fs::write_atomic(&paths::report_json(folder), json.as_bytes())?;
        fs::write_atomic(&paths::report_html(folder), self.page().as_bytes())
    }

    /// The page, which needs nothing beside it.
    fn page(&self) -> String {
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|_| AutoEscape::Html);
        environment.add_filter("seconds", |milliseconds: u64| format!("{:.1}", to_seconds(milliseconds)));
        let cases: Vec<_> = self.cases.iter().map(|case| self.card(case)).collect();
        let count = |outcome| self.of(outcome).count();
        let page = environment.render_str(
            include_str!("report.html"),
            minijinja::Value::from(minijinja::value::Serde(json!({
                "subject": self.subject,
                "manifest": self.manifest_sha256,
                "kit": self.kit,
                "jobs": self.jobs,
                "milliseconds": self.milliseconds,
                "processor": self.processor_milliseconds,
                "passed": count(Outcome::Passed),
                "failed": count(Outcome::Failed),
                "skipped": count(Outcome::Skipped),
                "cases": cases,
            }))),
        );
        // The template is part of this program, and a test renders it.
        page.unwrap_or_else(|error| format!("<pre>the report has no page: {error}</pre>"))
    }

    /// A case for the page; its bars are as long as the longest case is to all of the width.
    fn card(&self, case: &CaseReport) -> Value {
        let longest = self.cases.iter().map(|case| case.milliseconds).max().unwrap_or(0).max(1);
        let mut before = 0;
        let bars: Vec<_> = case
            .phases
            .iter()
            .map(|reached| {
                let took = reached.milliseconds.saturating_sub(before);
                before = reached.milliseconds;
                let percent = to_seconds(took) * 100.0 / to_seconds(longest);
                json!({ "phase": reached.phase, "at": reached.milliseconds, "took": took, "percent": percent })
            })
            .collect();
        json!({
            "name": case.name,
            "id": paths::evidence_of(&case.name).file_name(),
            "firmware": case.firmware.to_string(),
            "sha256": case.sha256,
            "expected": case.expected,
            "outcome": case.outcome,
            "reason": case.reason,
            "milliseconds": case.milliseconds,
            "picture": case.picture,
            "no_picture": case.no_picture,
            "bars": bars,
            "console": case.console,
            "log": case.log,
        })
    }
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
    use super::*;
    use crate::boot_test::case::Aim;
    use crate::boot_test::samples::ipxe;

    fn report() -> Report {
        let case = ipxe("ipxe.efi", Aim::Userland);
        let evidence = Evidence {
            folder: Utf8Path::new("/nowhere"),
            console: "first\n\nlast words\n",
            log: "0.1 <DHCP>\n",
            no_picture: Some("QEMU is too old".into()),
        };
        let times = (Duration::from_secs(20), Duration::from_secs(12));
        let phases = [(Phase::Address, Duration::from_millis(1500)), (Phase::Loader, Duration::from_secs(3))];
        let failed =
            CaseReport::new(&case, &Verdict::Failed("it <broke>\nhint: mend it".into()), &phases, times, &evidence);
        let passed = CaseReport::new(&case, &Verdict::Passed, &phases, times, &evidence);
        Report {
            schema_version: SCHEMA_VERSION,
            subject: "dist/tftp".into(),
            manifest_sha256: "0".repeat(64),
            kit: Vec::new(),
            jobs: 2,
            milliseconds: 21_000,
            processor_milliseconds: 50_000,
            cases: vec![failed, passed, CaseReport::skipped(&case, "no machine".into())],
        }
    }

    #[test]
    fn the_page_shows_every_case_and_escapes_what_machines_say() {
        let page = report().page();
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
