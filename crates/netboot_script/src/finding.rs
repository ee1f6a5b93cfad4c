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
