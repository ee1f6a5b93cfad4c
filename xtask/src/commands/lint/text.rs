//! Findings as lines for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use netboot_loaders::base::diagnostic::{Page, Subcommand, Wording as _};
use netboot_loaders::base::plural::count;
use netboot_loaders::lint::{LintFinding, LintedScript, LintedScripts};
use netboot_loaders::printable::single_line;
use netboot_script::{Rule, Severity};

use crate::program::SHOWN;

/// Maximum number of findings to show; nobody fixes more at once.
const MAX_SHOWN: usize = 200;

/// Number of lines to name in which a note is repeated.
const MAX_LINES: usize = 10;

/// Returns the findings of all scripts, with a line that counts them.
pub(super) fn report(linted: &LintedScripts) -> String {
    let mut out = String::new();
    let mut shown = 0;
    let mut more = linted.left_out;
    for script in &linted.scripts {
        for (finding, again) in grouped(&script.findings) {
            if shown == MAX_SHOWN {
                more += 1 + again.len();
                continue;
            }
            shown += 1;
            describe(script, finding, &again, &mut out);
        }
    }
    if more > 0 {
        let _ = writeln!(out, "and {}\n", count(more, "more finding"));
    }
    if shown > 0 {
        let _ = writeln!(out, "all rules: `{}`", SHOWN.command(&Subcommand::Read(Page::Lint)));
    }
    let counts = Severity::ALL.map(|severity| count(linted.count(severity), severity.as_str()));
    let _ = writeln!(out, "{}: {}", count(linted.scripts.len(), "script"), counts.join(", "));
    out
}

/// Returns the findings in order, each with the lines of later notes of the same rule, which say nothing new.
fn grouped(findings: &[LintFinding]) -> Vec<(&LintFinding, Vec<usize>)> {
    let mut notes: BTreeMap<Rule, usize> = BTreeMap::new();
    let mut out: Vec<(&LintFinding, Vec<usize>)> = Vec::new();
    for finding in findings {
        match notes.get(&finding.rule).copied().filter(|_| finding.severity == Severity::Note) {
            Some(index) => out[index].1.push(finding.line),
            None => {
                if finding.severity == Severity::Note {
                    notes.insert(finding.rule, out.len());
                }
                out.push((finding, Vec::new()));
            }
        }
    }
    out
}

fn describe(script: &LintedScript, finding: &LintFinding, again: &[usize], out: &mut String) {
    let LintFinding { rule, severity, line, column, .. } = finding;
    let name = single_line(&script.name);
    let _ = writeln!(out, "{name}:{line}:{column}: {severity}[{rule}]: {}", single_line(&finding.message));
    if let Some(excerpt) = &finding.excerpt {
        let mark = format!("{}{}", " ".repeat(excerpt.before), "^".repeat(excerpt.width));
        let _ = writeln!(out, "    {}\n    {mark}", excerpt.text);
    }
    let _ = writeln!(out, "  hint: {}", single_line(&finding.remedy));
    if !again.is_empty() {
        let lines: Vec<String> = again.iter().take(MAX_LINES).map(ToString::to_string).collect();
        let more = if again.len() > MAX_LINES {
            format!(" and {}", count(again.len() - MAX_LINES, "more line"))
        } else {
            String::new()
        };
        let _ = writeln!(out, "  also in lines {}{more}", lines.join(", "));
    }
    out.push('\n');
}
