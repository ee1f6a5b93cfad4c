//! The report of many rehearsals, as JSON and as a page like that of a boot test.

use std::time::Duration;

use camino::Utf8Path;
use serde_json::{Value, json};

use super::fault::RehearsalFault;
use super::rehearsal::Rehearsal;
use super::run::Rehearsed;
use crate::base::{fs, paths, secrets};
use crate::boot_test;
use crate::boot_test::report::html;
use crate::boot_test::tools::TestTool;

/// Program that writes the reports; the mark by which a report is recognised.
pub const GENERATOR: &str = "netboot-loaders rehearse";

/// Version of the format of `report.json`.
const SCHEMA_VERSION: u32 = 1;

/// A report of rehearsals.
pub struct RehearsalReport<'a> {
    /// What was rehearsed, and what has happened.
    pub rehearsals: Vec<(&'a Rehearsal<'a>, &'a Rehearsed)>,
    /// The fault, if there was one.
    pub fault: Option<RehearsalFault>,
    /// Tools that the networks consisted of.
    pub tools: &'a [TestTool],
    /// Number of rehearsals that ran in parallel.
    pub jobs: usize,
    /// Total elapsed time.
    pub elapsed: Duration,
}

impl RehearsalReport<'_> {
    /// Checks that a report in `folder` would replace nothing but an older one.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write).
    pub fn check(folder: &Utf8Path) -> Result<(), boot_test::Error> {
        boot_test::check_folder(folder, GENERATOR)
    }

    /// Writes `report.json` and `report.html` into `folder`, in place of an older report.
    ///
    /// # Errors
    ///
    /// [`boot_test::Error::NotAReport`] if the folder contains anything else; [`boot_test::Error::Fs`].
    pub fn write(&self, folder: &Utf8Path) -> Result<(), boot_test::Error> {
        boot_test::clear(folder, GENERATOR)?;
        fs::write_atomic(&paths::report_json(folder), format!("{:#}\n", self.json()).as_bytes())?;
        Ok(fs::write_atomic(&paths::report_html(folder), self.page().as_bytes())?)
    }

    /// Returns the report as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let rehearsals = self.rehearsals.iter().map(|(rehearsal, rehearsed)| {
            json!({
                "name": rehearsal.name,
                "site": rehearsal.site.name,
                "loader": rehearsal.loader,
                "firmware": rehearsal.loader.platform().firmware(),
                "mac": rehearsal.mac.to_string(),
                "end": rehearsed.way.end.to_string(),
                "outcome": outcome(rehearsed),
                "steps": rehearsed.way.steps,
                "milliseconds": milliseconds(rehearsed.elapsed),
                "processor-milliseconds": milliseconds(rehearsed.processor),
            })
        });
        json!({
            "generator": GENERATOR,
            "schema-version": SCHEMA_VERSION,
            "tools": self.tools,
            "fault": self.fault,
            "jobs": self.jobs,
            "milliseconds": milliseconds(self.elapsed),
            "processor-milliseconds": self.processor(),
            "rehearsals": rehearsals.collect::<Vec<_>>(),
        })
    }

    fn processor(&self) -> u64 {
        self.rehearsals.iter().map(|(_, rehearsed)| milliseconds(rehearsed.processor)).sum()
    }

    fn page(&self) -> String {
        let cases: Vec<Value> =
            self.rehearsals.iter().map(|(rehearsal, rehearsed)| card(rehearsal, rehearsed)).collect();
        let count = |wanted: &str| self.rehearsals.iter().filter(|(_, it)| outcome(it) == wanted).count();
        let fault = self.fault.map(|fault| format!(" with {fault}")).unwrap_or_default();
        html::render(&json!({
            "what": "rehearsal",
            "subject": format!("the project's scripts{fault}"),
            "kit": self.tools,
            "jobs": self.jobs,
            "milliseconds": milliseconds(self.elapsed),
            "processor": self.processor(),
            "passed": count("passed"),
            "failed": count("failed"),
            "skipped": 0,
            "phases": [],
            "cases": cases,
        }))
    }
}

fn card(rehearsal: &Rehearsal<'_>, rehearsed: &Rehearsed) -> Value {
    let is_good = rehearsed.way.end.is_good();
    let end = rehearsed.way.end.to_string();
    json!({
        "name": rehearsal.name,
        "firmware": format!("{} as {}", rehearsal.loader.platform().words(), rehearsal.loader),
        "expected": end,
        "outcome": outcome(rehearsed),
        "reason": (!is_good).then_some(end),
        "milliseconds": milliseconds(rehearsed.elapsed),
        "console": format!("{}\n{}", rehearsed.way.timeline(), secrets::shown_text(&rehearsed.console)),
        "log": secrets::shown_text(&rehearsed.log),
    })
}

/// Returns the outcome in the words of a boot test.
fn outcome(rehearsed: &Rehearsed) -> &'static str {
    if rehearsed.way.end.is_good() { "passed" } else { "failed" }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
