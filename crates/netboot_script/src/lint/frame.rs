//! Rules about the beginning, the end and the bytes of a script.

use super::Linter;
use crate::rule::{Rule, Severity};
use crate::syntax::{PartKind, Span, Templates};

/// Maximum number of words in a line; more can overflow the stack of a BIOS loader.
const MAX_WORDS: usize = 200;

impl Linter<'_, '_> {
    pub(super) fn frame(&mut self) {
        let text = self.script.text;
        if !self.begins_as_script() {
            let end = memchr::memchr(b'\n', text.as_bytes()).unwrap_or(text.len());
            let found = match text.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}') {
                _ if text.starts_with('\u{feff}') => {
                    "begins with a byte order mark before `#!ipxe`, so iPXE would not take it for a script"
                }
                rest if rest.len() < text.len() && rest.starts_with("#!ipxe") => {
                    "begins with a blank or an empty line before `#!ipxe`, so iPXE would not take it for a script"
                }
                _ => "does not begin with `#!ipxe`, so iPXE would not take it for a script",
            };
            // A file can be a part that another program puts behind a beginning, as templates often are; what iPXE gets
            // is none.
            let part = self.script.templates == Templates::Opaque && !text.contains("#!ipxe");
            let severity = match part {
                true if self.script.is_template() => Severity::Note,
                true => Severity::Warning,
                false => Severity::Error,
            };
            let span = Span { start: 0, end };
            self.report(Rule::NotAScript, span, found, "make `#!ipxe` the first line").severity = severity;
        }
        if let Some(start) = memchr::memchr(0, text.as_bytes()) {
            self.report(Rule::NulByte, Span { start, end: start + 1 }, "contains a NUL byte", "remove it");
        }
        if let Some(span) = self.script.dangling {
            let remedy = "finish the command or remove the backslash";
            self.report(
                Rule::TrailingBackslash,
                span,
                "ends in a backslash, which iPXE refuses in a script that it loads",
                remedy,
            );
        }
        if let Some(start) = self.script.unclosed {
            let open = &text[start..start + 2];
            let message = format!("`{open}` begins a part of a template that is never closed");
            self.report(Rule::UnclosedTemplate, Span { start, end: start + 2 }, message, "close it");
        }
        for line in &self.script.lines {
            if line.words > MAX_WORDS {
                let message = format!("has more than {MAX_WORDS} words, which can overflow a BIOS loader's stack");
                self.report(Rule::TooManyWords, line.span, message, "split the line");
            }
        }
    }

    /// Checks whether iPXE takes the text for a script. A template can become one if statements are all that is before.
    fn begins_as_script(&self) -> bool {
        let begins = |text: &str| {
            let rest = text.strip_prefix("#!ipxe").or_else(|| text.strip_prefix("#!gpxe"));
            rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_whitespace() || c == '\u{b}'))
        };
        let text = self.script.text;
        let first = self.script.parts.first();
        if begins(text) || first.is_some_and(|part| part.span.start == 0 && part.kind == PartKind::Insertion) {
            return true;
        }
        // Statements can remove the line breaks between them.
        let mut at = 0;
        let mut parts = self.script.parts.iter().peekable();
        while let Some(part) = parts.next_if(|part| text[at..part.span.start].trim().is_empty()) {
            if part.kind == PartKind::Expression || part.kind == PartKind::Insertion {
                return true;
            }
            at = part.span.end;
        }
        // Parts of other files have no first line of their own.
        at > 0 && (begins(text[at..].trim_start()) || self.unknown)
    }
}
