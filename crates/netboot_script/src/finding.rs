//! What the linter finds.

use crate::rule::{Rule, Severity};
use crate::syntax::Span;

/// A finding in a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule.
    pub rule: Rule,
    /// The severity.
    pub severity: Severity,
    /// The bytes at fault.
    pub span: Span,
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
    /// What was found, and what iPXE does with it. For [`Rule::BadAddress`], the text after "found `...`, ".
    pub message: String,
    /// What to do.
    pub remedy: String,
    /// The word at fault, if it is an address, a command that iPXE does not have, or an operator in a word.
    pub word: Option<String>,
}

/// Number of bytes to keep at the beginning and at the end of a text: a word of a script can be as long as the script.
const KEPT: (usize, usize) = (1_500, 500);

/// Returns `text`, without its middle if it is too long to be kept a thousand times. Of a word with an `@`, which can be an
/// address with a password, nothing is kept where it would be cut: a part of it is not recognised as an address.
pub(crate) fn shortened(text: String) -> String {
    let (begin, end) = KEPT;
    if text.len() <= begin + end {
        return text;
    }
    let boundary = |at: usize| (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    let (mut begin, mut end) = (boundary(begin), boundary(text.len() - end));
    let in_word = |c: char| !c.is_whitespace() && c != '`' && c != '"';
    let word = |at: usize| {
        let (before, after) = text.split_at(at);
        (before.trim_end_matches(in_word).len(), text.len() - after.trim_start_matches(in_word).len())
    };
    let is_address = |(start, stop): (usize, usize)| text[start..stop].contains(['@', '%']);
    let (first, last) = (word(begin), word(end));
    begin = if is_address(first) { first.0 } else { begin };
    end = if is_address(last) { last.1 } else { end };
    format!("{}… ({} bytes) …{}", &text[..begin], text.len(), &text[end..])
}

impl Finding {
    /// Returns the complete message. `show` formats an address, because it can contain a password.
    pub fn text(&self, show: impl FnOnce(&str) -> String) -> String {
        match &self.word {
            Some(address) if self.rule == Rule::BadAddress => format!("found `{}`, {}", show(address), self.message),
            _ => self.message.clone(),
        }
    }

    /// Returns the name of the command that iPXE does not have, if that is the finding.
    #[must_use]
    pub fn unknown_command(&self) -> Option<&str> {
        self.word.as_deref().filter(|_| self.rule == Rule::UnknownCommand)
    }

    /// Returns the address, if it is at fault.
    #[must_use]
    pub fn address(&self) -> Option<&str> {
        self.word.as_deref().filter(|_| self.rule == Rule::BadAddress)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_loses_its_middle_and_no_part_of_a_password_is_left() {
        let long = |of: &str| format!("`{}` names no image", of.repeat(100_000));
        for of in ["x", "é", "x "] {
            let text = shortened(long(of));
            assert!(text.len() < 2_100 && text.starts_with(&format!("`{of}")), "{text}");
            assert!(text.ends_with("names no image") && text.contains("… ("), "{text}");
        }
        let password = "p".repeat(3_000);
        for address in [format!("http://user:{password}@host/a"), format!("user:{password}%40host")] {
            let text = shortened(format!("`{address}` is no address"));
            assert!(!text.contains("pp") && text.ends_with("` is no address"), "{text}");
            assert!(!shortened(format!("found {address}")).contains("pp"));
        }
        assert_eq!(shortened("x".repeat(2_000)), "x".repeat(2_000));
    }
}
