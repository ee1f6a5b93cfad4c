//! The line of a finding, as far as people have to see it.

use std::collections::BTreeSet;

use netboot_script::syntax::Span;
use netboot_script::{Finding, ParsedScript};

use crate::base::diagnostic::shortened;
use crate::base::secrets::{self, Secret, SecretKind};
use crate::base::url::without_credentials_in;
use crate::printable::single_line;

/// Maximum width of a line of a script, in characters.
const WIDTH: usize = 100;

/// Number of characters before and after a word from which a line is shown.
const NEAR: usize = 4096;

/// A part of a line of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineExcerpt {
    /// The text. A long line is shortened, and passwords in URLs are hidden.
    pub text: String,
    /// The number of characters before the word at fault.
    pub before: usize,
    /// The number of characters of the word.
    pub width: usize,
}

/// Words the findings of a script, and cuts excerpts out of it. No secret of the script is shown.
#[derive(Debug)]
pub struct FindingTexts<'s, 't> {
    parsed: &'s ParsedScript<'t>,
    /// The numbers of the lines with a secret that is not in a URL.
    secrets: BTreeSet<usize>,
}

impl<'s, 't> FindingTexts<'s, 't> {
    /// Prepares the texts of findings in `parsed`.
    #[must_use]
    pub fn of(parsed: &'s ParsedScript<'t>) -> Self {
        Self { parsed, secrets: lines_with_secrets(parsed) }
    }

    /// Returns the excerpt for `finding`, unless the line is empty, or has a secret that is not in a URL.
    pub(super) fn cut(&mut self, finding: &Finding) -> Option<LineExcerpt> {
        let line = self.parsed.line_text(finding.line);
        let excerpt = (!self.has_secret(finding.line)).then(|| marked(self.parsed, line, finding));
        excerpt.filter(|excerpt| !excerpt.text.trim().is_empty())
    }

    /// Returns the complete message of `finding`, shortened if a word in it is long. Words of a line with a secret that is
    /// not in a URL are left out.
    pub fn message(&mut self, finding: &Finding) -> String {
        let message = without_credentials_in(&finding.text(secrets::shown));
        shortened(if self.has_secret(finding.line) { without_words(&message) } else { message })
    }

    /// Returns the remedy of `finding`, in the same way.
    pub fn remedy(&mut self, finding: &Finding) -> String {
        if self.has_secret(finding.line) { without_words(&finding.remedy) } else { finding.remedy.clone() }
    }

    /// Checks whether the line `number` has a secret that is not in a URL.
    fn has_secret(&self, number: usize) -> bool {
        self.secrets.contains(&number)
    }
}

/// Returns the numbers of the lines of `parsed` with a secret that is not in a URL, and with a part of a private key.
fn lines_with_secrets(parsed: &ParsedScript<'_>) -> BTreeSet<usize> {
    let text = without_credentials_in(parsed.text);
    let all: Vec<&str> = text.lines().collect();
    let ends: Vec<usize> = (0..all.len()).filter(|line| all[*line].contains("-----END")).collect();
    let (mut lines, mut done) = (BTreeSet::new(), 0);
    for Secret { line, kind } in secrets::find(text.as_bytes()) {
        lines.insert(line);
        // Many keys can begin within one.
        if kind == SecretKind::PrivateKey && line >= done {
            // Without its end, it ends before the first line that no key has.
            let is_other = |line: &&str| line.contains(' ') && !line.contains(':');
            let end = ends.get(ends.partition_point(|end| end + 1 < line));
            let rest = all.get(line..).unwrap_or_default();
            let count =
                end.map_or_else(|| rest.iter().take_while(|line| !is_other(line)).count(), |end| end + 1 - line);
            done = line + count;
            lines.extend(line..=done);
        }
    }
    for line in parsed.lines.iter().filter(|line| parsed.text[line.span.start..line.span.end].contains('\n')) {
        if !secrets::find(without_credentials_in(&parsed.logical_text(line)).as_bytes()).is_empty() {
            let breaks = parsed.text[line.span.start..line.span.end].matches('\n').count();
            lines.extend(line.number..=line.number + breaks);
        }
    }
    lines
}

/// Returns `message` with `...` in place of what it quotes in backticks.
fn without_words(message: &str) -> String {
    let parts = message.split('`').enumerate().map(|(index, part)| if index % 2 == 0 { part } else { "..." });
    parts.collect::<Vec<_>>().join("`")
}

fn marked(parsed: &ParsedScript<'_>, line: &str, finding: &Finding) -> LineExcerpt {
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
    let text = format!("{before}{word}{rest}{cut}");
    LineExcerpt { text, before: width(&before), width: width(&word).max(1) }
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
