//! The report as an HTML page: all cases at a glance, with screenshots.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use camino::Utf8Path;
use serde_json::{Value, json};

use super::json::{BootReport, CaseOutcome, CaseReport, to_seconds};
use crate::base::secrets;
use crate::base::{fs, paths};
use crate::boot_test::phase::Phase;
use crate::html_page;

impl BootReport {
    /// Writes `report.json` and `report.html` into `folder`.
    ///
    /// # Errors
    ///
    /// [`fs::Error`] if a file cannot be written.
    pub fn write(&self, folder: &Utf8Path) -> Result<(), fs::Error> {
        let json = format!("{:#}\n", serde_json::json!(self));
        fs::write_atomic(&paths::report_json(folder), json.as_bytes())?;
        fs::write_atomic(&paths::report_html(folder), page(self).as_bytes())
    }
}

/// Returns the report as a self-contained page.
#[must_use]
pub fn page(report: &BootReport) -> String {
    let cases: Vec<_> = report.cases.iter().map(|case| card(report, case)).collect();
    let count = |outcome| report.of(outcome).count();
    render(&json!({
            "what": "boot test",
            "subject": report.subject,
            "manifest": report.manifest_sha256,
            "kit": report.tools,
            "jobs": report.jobs,
            "milliseconds": report.milliseconds,
            "processor": report.processor_milliseconds,
            "passed": count(CaseOutcome::Passed),
            "failed": count(CaseOutcome::Failed),
            "skipped": count(CaseOutcome::Skipped),
            "phases": Phase::ALL.map(|phase| json!({ "name": phase, "words": phase.words() })),
            "cases": cases,
    }))
}

/// Returns the page with the `facts` of a report.
pub(crate) fn render(facts: &Value) -> String {
    let mut environment = html_page::environment();
    environment.add_filter("seconds", |milliseconds: u64| format!("{:.1}", to_seconds(milliseconds)));
    let facts = minijinja::Value::from(minijinja::value::Serde(facts));
    // The template is part of this program, and tests render it.
    let page = environment.render_str(include_str!("report.html"), facts);
    page.unwrap_or_else(|error| format!("<pre>the report has no page: {error}</pre>"))
}

/// Returns a case for the page. The length of its bars is relative to the longest case, which takes the full width.
fn card(report: &BootReport, case: &CaseReport) -> Value {
    let longest = report.cases.iter().map(|case| case.milliseconds).max().unwrap_or(0).max(1);
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
        "firmware": case.platform.words(),
        "sha256": case.sha256,
        "secure_boot": case.secure_boot,
        "expected": case.expected,
        "outcome": case.outcome,
        "reason": case.reason,
        "milliseconds": case.milliseconds,
        "earlier": case.earlier,
        "picture": case.picture.as_ref().map(|bytes| STANDARD.encode(bytes)),
        "no_picture": case.no_picture,
        "bars": bars,
        "console": secrets::shown_text(&case.console),
        "log": secrets::shown_text(&case.log),
    })
}
