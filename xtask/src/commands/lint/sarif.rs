//! Findings as SARIF 2.1.0, which code hosts and editors read.

use netboot_loaders::lint::{LintFinding, LintedScript};
use netboot_script::{Rule, Severity};
use serde_json::{Value, json};

use crate::ui::terminal_safe_json;

/// Returns the findings of all `scripts`.
pub(super) fn report(scripts: &[LintedScript]) -> String {
    let rules = Rule::ALL.iter().copied().map(rule).collect::<Vec<_>>();
    let results = scripts.iter().flat_map(|script| script.findings.iter().map(move |finding| result(script, finding)));
    let results = results.collect::<Vec<_>>();
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "netboot-loaders",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    terminal_safe_json(&format!("{log:#}\n"))
}

fn level(severity: Severity) -> &'static str {
    severity.as_str()
}

fn rule(rule: Rule) -> Value {
    let text = rule.text();
    json!({
        "id": text.id,
        "shortDescription": { "text": text.title },
        "fullDescription": { "text": text.why },
        "help": { "text": text.remedy },
        "defaultConfiguration": { "level": level(text.severity) },
    })
}

fn result(script: &LintedScript, finding: &LintFinding) -> Value {
    let (end_line, end_column) = finding.end;
    let name = script.name.trim_end_matches(" (embedded script)");
    json!({
        "ruleId": finding.rule.id(),
        "ruleIndex": Rule::ALL.iter().position(|rule| *rule == finding.rule),
        "level": level(finding.severity),
        "message": { "text": format!("{}; {}", finding.message, finding.remedy) },
        "locations": [{ "physicalLocation": {
            "artifactLocation": { "uri": uri(name) },
            "region": {
                "startLine": finding.line,
                "startColumn": finding.column,
                "endLine": end_line,
                "endColumn": end_column,
            },
        } }],
    })
}

/// Returns a path or an address as a reference of a URI.
fn uri(name: &str) -> String {
    if name.contains("://") {
        return name.to_owned();
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let path = name.bytes().fold(String::new(), |mut out, byte| {
        if plain(byte) {
            out.push(char::from(byte));
        } else {
            out += &format!("%{byte:02X}");
        }
        out
    });
    if path.starts_with('/') { format!("file://{path}") } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_references() {
        assert_eq!(uri("a b/ä.ipxe"), "a%20b/%C3%A4.ipxe");
        assert_eq!(uri("/a.ipxe"), "file:///a.ipxe");
        assert_eq!(uri("http://h/a"), "http://h/a");
    }
}
