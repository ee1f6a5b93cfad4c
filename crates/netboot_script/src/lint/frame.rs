//! Rules about the beginning, the end and the bytes of a script.

use super::Linter;
use crate::beginning::{MAGICS, NoScript, lone_return};
use crate::rule::{Rule, Severity};
use crate::syntax::{PartKind, Span, Templates};

/// Maximum number of words in a line; more can overflow the stack of a BIOS loader.
const MAX_WORDS: usize = 200;

impl Linter<'_, '_> {
    pub(super) fn frame(&mut self) {
        let text = self.script.text;
        if let Some(problem) = self.no_script() {
            let end = memchr::memchr(b'\n', text.as_bytes()).unwrap_or(text.len());
            let span = match problem {
                NoScript::CarriageReturn(_, at) => Span { start: at, end: at + 1 },
                _ => Span { start: 0, end },
            };
            // A file can be a part that another program puts behind a beginning, as templates often are; what iPXE gets
            // is none.
            let part = self.script.templates == Templates::Opaque && !MAGICS.iter().any(|magic| text.contains(magic));
            let severity = match part {
                true if self.script.is_template() => Severity::Note,
                true => Severity::Warning,
                false => Severity::Error,
            };
            self.report(Rule::NotAScript, span, problem.to_string(), problem.remedy()).severity = severity;
        }
        self.returns();
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

    /// Finds carriage returns that end no line, except in the first line, whose end is a matter of its own.
    fn returns(&mut self) {
        let text = self.script.text;
        if memchr::memchr(b'\r', text.as_bytes()).is_none() {
            return;
        }
        let mut start = 0;
        for (index, line) in text.split('\n').enumerate() {
            if let Some(at) = lone_return(line.as_bytes()).filter(|_| index > 0) {
                let span = Span { start: start + at, end: start + at + 1 };
                let message = "is a carriage return alone, which ends no line: what follows is part of this one";
                self.report(Rule::InvisibleCharacter, span, message, "save the file with line feeds as line ends");
            }
            start += line.len() + 1;
        }
    }

    /// Returns why iPXE would not take the text for a script. A template can become one if statements are all that is
    /// before.
    fn no_script(&self) -> Option<NoScript> {
        let text = self.script.text;
        let problem = NoScript::of(text.as_bytes())?;
        let first = self.script.parts.first();
        if first.is_some_and(|part| part.span.start == 0 && part.kind == PartKind::Insertion) {
            return None;
        }
        // Statements can remove the line breaks between them.
        let mut at = 0;
        let mut parts = self.script.parts.iter().peekable();
        while let Some(part) = parts.next_if(|part| text[at..part.span.start].trim().is_empty()) {
            if part.kind == PartKind::Expression || part.kind == PartKind::Insertion {
                return None;
            }
            at = part.span.end;
        }
        // Parts of other files have no first line of their own.
        let begins = at > 0 && (self.unknown || NoScript::of(text[at..].trim_start().as_bytes()).is_none());
        (!begins).then_some(problem)
    }
}
