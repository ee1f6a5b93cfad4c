//! Parses scripts as iPXE does: lines, labels, commands, words and operators, each with its bytes in the text.
//!
//! iPXE reads a line up to its line feed, joins lines that end in a backslash, takes a label from the start, and splits
//! the rest into words at whitespace. `||`, `&&` and `;` are operators as words of their own, and a word that begins
//! with `#` begins a comment. There is no quoting. Settings are expanded afterwards, so that their values never become
//! several words (`src/image/script.c` and `src/core/exec.c` of iPXE v2.0.0).

mod expansion;
mod line_ends;
mod scan;
mod template;

use std::borrow::Cow;

pub use self::expansion::{Expansion, expansions};
pub use self::line_ends::keep_line_ends;
pub use self::template::{PartKind, TemplatePart};

/// A range of bytes in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte after the last one.
    pub end: usize,
}

/// Whether a text can contain parts for a template engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Templates {
    /// It is read as it is.
    #[default]
    None,
    /// Delimiters of templates are opaque.
    Opaque,
}

/// A parsed script.
#[derive(Debug)]
pub struct ParsedScript<'t> {
    /// The text.
    pub text: &'t str,
    /// How it was read.
    pub templates: Templates,
    /// The lines that are not empty, after iPXE has joined continued ones.
    pub lines: Vec<ScriptLine<'t>>,
    /// The parts for a template engine.
    pub parts: Vec<TemplatePart>,
    /// The start of a part that is never closed.
    pub unclosed: Option<usize>,
    /// Whether the last line ends in a backslash.
    pub dangling: Option<Span>,
    /// The position of each line feed.
    breaks: Vec<usize>,
}

/// A line of a script.
#[derive(Debug, Clone)]
pub struct ScriptLine<'t> {
    /// The number of its first line in the text, counted from 1.
    pub number: usize,
    /// Its bytes, without the line break.
    pub span: Span,
    /// The name of its label, without the colon.
    pub label: Option<ScriptWord<'t>>,
    /// Its commands. After an operator at the end of the line follows an empty one.
    pub commands: Vec<ScriptCommand<'t>>,
    /// The comment at its end.
    pub comment: Option<Span>,
    /// The number of words, with those of the comment.
    pub words: usize,
    /// The number of template statements before it. Lines with the same number are there together, or not at all.
    pub branch: usize,
    /// Whether a template statement is in it.
    pub conditional: bool,
    /// Whether it can become any other lines.
    pub unknown: bool,
}

/// A command with its words.
#[derive(Debug, Clone, Default)]
pub struct ScriptCommand<'t> {
    /// The words, of which the first is the name. Empty before and after operators that have no command there.
    pub words: Vec<ScriptWord<'t>>,
    /// The operator that follows.
    pub operator: Option<(Operator, Span)>,
}

/// A word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptWord<'t> {
    /// Its bytes in the text.
    pub span: Span,
    /// Its text, without parts of a template that become nothing.
    pub text: Cow<'t, str>,
    /// Whether a template engine decides about it, at least in part.
    pub template: bool,
    /// Whether it has a setting that iPXE expands.
    pub expands: bool,
}

/// An operator between commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `||`: the next command runs if this one failed.
    Or,
    /// `&&`: the next command runs if this one succeeded.
    And,
    /// `;`: the next command runs in any case.
    Then,
}

impl Operator {
    /// Returns the operator that `word` is.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        match word {
            "||" => Some(Self::Or),
            "&&" => Some(Self::And),
            ";" => Some(Self::Then),
            _ => None,
        }
    }
}

impl<'t> ScriptWord<'t> {
    /// Returns a word that stands in no script.
    pub(crate) fn plain(text: &'t str) -> Self {
        Self { span: Span::default(), text: Cow::Borrowed(text), template: false, expands: false }
    }

    /// Checks whether the word is the same in every run.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        !self.template && !self.expands
    }
}

impl<'t> ScriptCommand<'t> {
    /// Returns the name if it is the same in every run.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.words.first().filter(|word| word.is_plain()).map(|word| &*word.text)
    }

    /// Returns the words after the name.
    #[must_use]
    pub fn arguments(&self) -> &[ScriptWord<'t>] {
        self.words.get(1..).unwrap_or_default()
    }

    /// Returns the bytes from the first to the last word.
    #[must_use]
    pub fn span(&self) -> Span {
        let start = self.words.first().or(self.words.last()).map_or(0, |word| word.span.start);
        Span { start, end: self.words.last().map_or(start, |word| word.span.end) }
    }
}

impl<'t> ParsedScript<'t> {
    /// Parses `text`.
    #[must_use]
    pub fn parse(text: &'t str, templates: Templates) -> Self {
        let opaque = templates == Templates::Opaque && template::is_template(text);
        let (parts, unclosed) = if opaque { template::parts(text) } else { (Vec::new(), None) };
        let breaks = memchr::memchr_iter(b'\n', text.as_bytes()).collect();
        let mut script = Self { text, templates, lines: Vec::new(), parts, unclosed, dangling: None, breaks };
        scan::lines(&mut script);
        script
    }

    /// Returns the number of the line that contains the byte `at`, and the column in characters, both counted from 1.
    #[must_use]
    pub fn position(&self, at: usize) -> (usize, usize) {
        let line = self.breaks.partition_point(|end| *end < at);
        let start = line.checked_sub(1).map_or(0, |before| self.breaks[before] + 1);
        (line + 1, self.text.get(start..at).map_or(at - start, |text| text.chars().count()) + 1)
    }

    /// Returns the text of the line `number`, counted from 1, without its line break.
    #[must_use]
    pub fn line_text(&self, number: usize) -> &'t str {
        let index = number.saturating_sub(1);
        let start = index.checked_sub(1).map_or(Some(0), |before| self.breaks.get(before).map(|end| end + 1));
        let Some(start) = start else { return "" };
        let end = self.breaks.get(index).copied().unwrap_or(self.text.len());
        self.text[start..end].trim_end_matches('\r')
    }

    /// Returns the text of `line` as iPXE joins it.
    #[must_use]
    pub fn logical_text(&self, line: &ScriptLine<'_>) -> Cow<'t, str> {
        let text = &self.text[line.span.start..line.span.end];
        if !text.contains('\n') {
            return Cow::Borrowed(text);
        }
        let pieces = text.split('\n').map(|piece| {
            let piece = piece.strip_suffix('\r').unwrap_or(piece);
            piece.strip_suffix('\\').unwrap_or(piece)
        });
        Cow::Owned(pieces.collect())
    }

    /// Checks whether the text is a template.
    #[must_use]
    pub fn is_template(&self) -> bool {
        !self.parts.is_empty()
    }

    /// Returns all commands that have words, each with its line.
    pub fn commands(&self) -> impl Iterator<Item = (&ScriptLine<'t>, &ScriptCommand<'t>)> {
        self.lines.iter().flat_map(|line| {
            line.commands.iter().filter(|command| !command.words.is_empty()).map(move |command| (line, command))
        })
    }

    /// Returns the labels, each with its line.
    pub fn labels(&self) -> impl Iterator<Item = (&ScriptLine<'t>, &ScriptWord<'t>)> {
        self.lines.iter().filter_map(|line| Some((line, line.label.as_ref()?)))
    }
}

/// Counts the words of `text`, with those of comments: what it takes to parse a script grows with them.
#[must_use]
pub fn count_words(text: &str) -> usize {
    text.as_bytes().split(|byte| is_space(*byte)).filter(|word| !word.is_empty()).count()
}

/// Checks whether iPXE takes `byte` for whitespace.
#[must_use]
pub const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

#[cfg(test)]
mod tests;
