//! Comments that silence a rule for a line.

use super::Linter;
use crate::rule::{Rule, Severity};
use crate::syntax::Span;

/// The beginning of such a comment, after its `#`.
const MARK: &str = "lint:";

/// A comment that silences a rule.
struct Allow {
    span: Span,
    /// The lines that it is for.
    lines: (usize, usize),
    rule: Rule,
    used: bool,
}

impl Linter<'_, '_> {
    /// Removes findings that a comment silences, and reports comments that are wrong or silence nothing.
    pub(super) fn allow(&mut self) {
        if memchr::memmem::find(self.script.text.as_bytes(), MARK.as_bytes()).is_none() {
            return;
        }
        let mut allows = Vec::new();
        for (index, line) in self.script.lines.iter().enumerate() {
            let Some(span) = line.comment else { continue };
            let text = self.script.text[span.start..span.end].trim_start_matches('#').trim();
            let Some(rest) = text.strip_prefix(MARK) else { continue };
            let alone = line.commands.is_empty() && line.label.is_none();
            // The last of several such lines is followed by the one that they are for.
            let next = self.script.lines[index..].iter().find(|line| !line.commands.is_empty() || line.label.is_some());
            let of = if alone { next } else { Some(line) };
            let last = of.map_or(line.number, |line| self.script.position(line.span.end).0);
            match rule(rest) {
                Ok(rule) => {
                    let lines = (of.map_or(line.number, |line| line.number), last);
                    allows.push(Allow { span, lines, rule, used: false });
                }
                Err(message) => {
                    let remedy = "write `# lint: allow RULE reason`";
                    self.report(Rule::LintComment, span, message, remedy);
                }
            }
        }
        self.out.findings.retain(|finding| {
            let found = allows
                .iter_mut()
                .find(|allow| allow.rule == finding.rule && (allow.lines.0..=allow.lines.1).contains(&finding.line));
            found.is_none_or(|allow| {
                allow.used = true;
                false
            })
        });
        for Allow { span, rule, .. } in allows.into_iter().filter(|allow| !allow.used) {
            let message = format!("`{rule}` finds nothing here");
            self.report(Rule::LintComment, span, message, "remove the comment").severity = Severity::Warning;
        }
        self.out.findings.sort_by_key(|finding| (finding.span.start, finding.rule, finding.span.end));
    }
}

/// Returns the rule that a comment silences.
fn rule(text: &str) -> Result<Rule, String> {
    let mut words = text.split_whitespace();
    if words.next() != Some("allow") {
        return Err("found no `allow` after `lint:`".to_owned());
    }
    let Some(name) = words.next() else { return Err("found no rule after `allow`".to_owned()) };
    let Some(rule) = Rule::of(name) else { return Err(format!("`{name}` is no rule")) };
    if words.next().is_none() {
        return Err(format!("found no reason after `{name}`"));
    }
    Ok(rule)
}
