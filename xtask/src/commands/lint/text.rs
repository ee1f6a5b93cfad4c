//! Findings as lines for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use netboot_loaders::base::diagnostic::{Page, Subcommand, Wording as _};
use netboot_loaders::base::plural::count;
use netboot_loaders::base::secrets;
use netboot_loaders::base::url::without_credentials_in;
use netboot_loaders::lint::LintedScript;
use netboot_loaders::printable::single_line;
use netboot_script::syntax::Span;
use netboot_script::{Finding, ParsedScript, Rule, Severity, Templates};

use super::message;
use crate::program::SHOWN;

/// Maximum number of findings to show; nobody fixes more at once.
const MAX_SHOWN: usize = 200;

/// Maximum width of a line of a script, in characters.
const WIDTH: usize = 100;

/// Number of characters before and after a word from which a line is shown.
const NEAR: usize = 4096;

/// Number of lines to name in which a note is repeated.
const MAX_LINES: usize = 10;

/// Returns the findings of all `scripts`, with a line that counts them.
pub(super) fn report(scripts: &[LintedScript]) -> String {
    let mut out = String::new();
    let mut shown = 0;
    let mut more = 0;
    for script in scripts {
        // The text was parsed before; its lines and columns do not depend on templates.
        let parsed = ParsedScript::parse(&script.text, Templates::None);
        for (finding, again) in grouped(&script.findings) {
            if shown == MAX_SHOWN {
                more += 1 + again.len();
                continue;
            }
            shown += 1;
            describe(script, &parsed, finding, &again, &mut out);
        }
    }
    if more > 0 {
        let _ = writeln!(out, "and {}\n", count(more, "more finding"));
    }
    if shown > 0 {
        let _ = writeln!(out, "all rules: `{}`", SHOWN.command(&Subcommand::Read(Page::Lint)));
    }
    let of = |severity| scripts.iter().map(|script| script.count(severity)).sum::<usize>();
    let counts = Severity::ALL.map(|severity| count(of(severity), severity.as_str()));
    let _ = writeln!(out, "{}: {}", count(scripts.len(), "script"), counts.join(", "));
    out
}

/// Returns the findings in order, each with the lines of later notes of the same rule, which say nothing new.
fn grouped(findings: &[Finding]) -> Vec<(&Finding, Vec<usize>)> {
    let mut notes: BTreeMap<Rule, usize> = BTreeMap::new();
    let mut out: Vec<(&Finding, Vec<usize>)> = Vec::new();
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

fn describe(script: &LintedScript, parsed: &ParsedScript<'_>, finding: &Finding, again: &[usize], out: &mut String) {
    let Finding { rule, severity, line, column, .. } = finding;
    let name = single_line(&script.name);
    let _ = writeln!(out, "{name}:{line}:{column}: {severity}[{rule}]: {}", single_line(&message(finding)));
    let (text, mark) = marked(parsed, finding);
    if !text.trim().is_empty() {
        let _ = writeln!(out, "    {text}\n    {mark}");
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

/// Returns the line of a finding, and a line that marks the word at fault. Shortens long lines and hides passwords in URLs;
/// both are empty if the line has another secret.
fn marked(parsed: &ParsedScript<'_>, finding: &Finding) -> (String, String) {
    let line = parsed.line_text(finding.line);
    if !secrets::find(without_credentials_in(line).as_bytes()).is_empty() {
        return (String::new(), String::new());
    }
    let shown = |text: &str| single_line(&without_credentials_in(&text.replace('\t', " ")));
    let Span { start: from, end } = finding.span;
    let line_start = parsed.text.get(..from).and_then(|text| text.rfind('\n')).map_or(0, |end| end + 1);
    let start = (from - line_start).min(line.len());
    let first = parsed.text.get(from..end).unwrap_or_default().lines().next().unwrap_or_default();
    let end = (start + first.len()).min(line.len());
    let end = if line.is_char_boundary(end) { end } else { line.len() };
    let (before, after) = near(line, start, end);
    let (before, word, after) = (shown(before), shown(&line[start..end]), shown(after));
    let width = |text: &str| text.chars().count();
    // The word stays in sight, with as much before it as there is room for.
    let word: String = word.chars().take(WIDTH).collect();
    let room = WIDTH - width(&word);
    let skipped = width(&before).saturating_sub(room / 2);
    let mut before: String = before.chars().skip(skipped).collect();
    if skipped > 0 {
        before = format!("...{before}");
    }
    let rest: String = after.chars().take(room.saturating_sub(width(&before))).collect();
    let cut = if width(&rest) < width(&after) { "..." } else { "" };
    let mark = format!("{}{}", " ".repeat(width(&before)), "^".repeat(width(&word).max(1)));
    (format!("{before}{word}{rest}{cut}"), mark)
}

/// Returns what is before and after the bytes from `start` to `end` of `line`. Of a long line, these are whole words: in a
/// part of an address, a password would not be found.
fn near(line: &str, start: usize, end: usize) -> (&str, &str) {
    let (before, after) = (&line[..start], &line[end..]);
    let before = match before.char_indices().rev().nth(NEAR) {
        Some((at, _)) => before[at..].find(' ').map_or("", |blank| &before[at + blank..]),
        None => before,
    };
    let after = match after.char_indices().nth(NEAR) {
        Some((at, _)) => after[..at].rfind(' ').map_or("", |blank| &after[..blank]),
        None => after,
    };
    (before, after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_shown_around_the_word_in_whole_words() {
        let many = "ab ".repeat(NEAR);
        let line = format!("{many}http://user:{}@host x {many}y", "p".repeat(NEAR));
        let at = line.find(" x ").unwrap() + 1;
        let (before, after) = near(&line, at, at + 1);
        assert_eq!((before, after.starts_with(" ab ab "), after.len() <= NEAR), (" ", true, true));
        assert_eq!(near("a b c", 2, 3), ("a ", " c"));
    }
}
