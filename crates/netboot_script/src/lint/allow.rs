//! Comments that silence a rule for a line.

use std::collections::HashMap;

use super::Linter;
use crate::rule::{Rule, Severity};
use crate::syntax::Span;

/// The beginning of such a comment, after its `#`.
const MARK: &str = "lint:";

/// A comment that silences a rule.
struct Allow {
    span: Span,
    rule: Rule,
    used: bool,
}

impl Linter<'_, '_> {
    /// Removes findings that a comment silences, and reports comments that are wrong or silence nothing.
    pub(super) fn allow(&mut self) {
        if memchr::memmem::find(self.script.text.as_bytes(), MARK.as_bytes()).is_none() {
            return;
        }
        let mut allows: Vec<Allow> = Vec::new();
        let mut silent = HashMap::new();
        // The last of several such lines is followed by the one that they are for.
        let mut next = None;
        let lines = &self.script.lines;
        for (index, line) in lines.iter().enumerate().rev() {
            let alone = line.commands.is_empty() && line.label.is_none();
            if !alone {
                next = Some(index);
            }
            let Some(span) = line.comment else { continue };
            let text = self.script.text[span.start..span.end].trim_start_matches('#').trim();
            let Some(rest) = text.strip_prefix(MARK) else { continue };
            match rule(rest) {
                Ok(rule) => {
                    silent.insert((rule, next.filter(|_| alone).unwrap_or(index)), allows.len());
                    allows.push(Allow { span, rule, used: false });
                }
                Err(message) => {
                    let remedy = "write `# lint: allow RULE reason`";
                    self.report(Rule::LintComment, span, message, remedy);
                }
            }
        }
        self.out.findings.retain(|finding| {
            let index = lines.partition_point(|line| line.span.start <= finding.span.start).checked_sub(1);
            let index = index.filter(|index| finding.span.start <= lines[*index].span.end);
            let found = index.and_then(|index| silent.get(&(finding.rule, index))).map(|index| &mut allows[*index]);
            found.is_none_or(|allow| {
                allow.used = true;
                false
            })
        });
        for Allow { span, rule, .. } in allows.into_iter().filter(|allow| !allow.used) {
            let message = format!("`{rule}` finds nothing here");
            self.report(Rule::LintComment, span, message, "remove the comment").severity = Severity::Warning;
        }
        self.place();
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
