//! The examples of the rules: each rule finds its failing example and accepts its passing one.

use netboot_script::{LintTarget, ParsedScript, Rule, Severity, Templates, lint};

/// Returns the rules that find something in `text`, with their lines.
fn found(text: &str) -> Vec<(Rule, Severity, usize)> {
    let script = ParsedScript::parse(text, Templates::Opaque);
    let findings = lint(&script, &LintTarget::default()).findings;
    findings.iter().map(|finding| (finding.rule, finding.severity, finding.line)).collect()
}

#[test]
fn every_rule_finds_its_failing_example_and_accepts_its_passing_one() {
    for rule in Rule::ALL {
        let text = rule.text();
        let failing = found(text.failing);
        assert!(failing.iter().any(|(found, ..)| found == rule), "{rule}: {failing:?}");
        let worst = failing.iter().map(|(_, severity, _)| *severity).min();
        assert!(worst >= Some(text.severity), "{rule}: {failing:?}");
        let passing = found(text.passing);
        let others: Vec<_> = passing.iter().filter(|(_, severity, _)| *severity < Severity::Note).collect();
        assert!(others.is_empty() && passing.iter().all(|(found, ..)| found != rule), "{rule}: {passing:?}");
    }
}
