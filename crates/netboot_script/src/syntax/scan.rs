//! Splits a text into lines, and lines into words.

use std::borrow::Cow;

use super::{Operator, ParsedScript, PartKind, ScriptCommand, ScriptLine, ScriptWord, Span, TemplatePart, is_space};

/// Maximum number of blanks that a part of a template removes.
const MAX_BLANK: usize = 1024;

/// Fills in the lines of `script`, whose parts are known.
pub(super) fn lines(script: &mut ParsedScript<'_>) {
    let mut scanner = Scanner { text: script.text, parts: &script.parts, part: 0, branch: 0 };
    let (mut lines, mut at, mut dangling) = (Vec::new(), 0, None);
    let mut segments = Vec::new();
    let mut number = 1;
    loop {
        segments.clear();
        let first = number;
        loop {
            let end = scanner.line_end(at, &script.breaks[number - 1..]);
            number += script.breaks[number - 1..].iter().take_while(|stop| **stop < end).count();
            let stripped = script.text[at..end].strip_suffix('\r').map_or(end, |text| at + text.len());
            // An empty line leaves a second backslash before it at the end of what was read.
            let joined = match segments.last_mut() {
                Some(Span { start, end }) if at == stripped && script.text[*start..*end].ends_with('\\') => {
                    *end -= 1;
                    true
                }
                _ => script.text[at..stripped].ends_with('\\'),
            };
            segments.push(Span { start: at, end: if joined { at.max(stripped - 1) } else { stripped } });
            let last = end >= script.text.len();
            if joined && end + 1 >= script.text.len() {
                dangling = Some(Span { start: stripped - 1, end: stripped });
            }
            at = end + 1;
            number += usize::from(!last);
            if !joined || last {
                break;
            }
        }
        // Empty lines say nothing, and a text can consist of them.
        let line = scanner.line(first, &segments);
        if line.words > 0 || line.conditional {
            lines.push(line);
        }
        if at > script.text.len() {
            break;
        }
    }
    script.dangling = dangling;
    script.lines = lines;
}

struct Scanner<'s, 't> {
    text: &'t str,
    parts: &'s [TemplatePart],
    /// The next part.
    part: usize,
    /// The number of statements so far.
    branch: usize,
}

/// A word that is being read.
struct Building {
    span: Span,
    /// The pieces that remain, if they are not simply those of the span.
    pieces: Vec<Span>,
    template: bool,
    /// Whether there is a statement in the word.
    statement: bool,
}

impl<'t> Scanner<'_, 't> {
    /// Returns the end of the line that begins at `at`: the first of `breaks` that no part of a template removes.
    fn line_end(&self, at: usize, breaks: &[usize]) -> usize {
        if self.parts.is_empty() {
            return breaks.first().copied().unwrap_or(self.text.len());
        }
        let ends = breaks.iter().copied().find(|end| *end >= at && !self.is_removed(*end));
        ends.unwrap_or(self.text.len())
    }

    /// Checks whether a part of the template contains or removes the line break at `at`.
    fn is_removed(&self, at: usize) -> bool {
        let next = self.parts.partition_point(|part| part.span.start <= at);
        let blank = |span: Span| {
            span.end - span.start <= MAX_BLANK
                && self.text.as_bytes()[span.start..span.end].iter().all(|byte| is_space(*byte))
        };
        let before = next.checked_sub(1).map(|index| self.parts[index]);
        let after = self.parts.get(next);
        before
            .is_some_and(|part| part.span.end > at || part.trims_after && blank(Span { start: part.span.end, end: at }))
            || after.is_some_and(|part| part.trims_before && blank(Span { start: at, end: part.span.start }))
    }

    /// Reads the line that consists of `segments`.
    fn line(&mut self, number: usize, segments: &[Span]) -> ScriptLine<'t> {
        let span = Span { start: segments[0].start, end: segments[segments.len() - 1].end };
        let branch = self.branch;
        let first = self.part;
        let mut words = self.words(segments);
        let own = &self.parts[first..self.part];
        let conditional = own.iter().any(|part| matches!(part.kind, PartKind::Statement | PartKind::Insertion));
        let unknown = own.iter().any(|part| part.kind == PartKind::Insertion)
            || matches!(&words[..], [word] if word.template && (word.text.starts_with("{{") || word.text.starts_with("<%")));
        let count = words.len();
        let label = words.first().is_some_and(|word| word.text.starts_with(':')).then(|| words.remove(0));
        let label = label.map(|word| ScriptWord {
            text: match word.text {
                Cow::Borrowed(text) => Cow::Borrowed(&text[1..]),
                Cow::Owned(text) => Cow::Owned(text[1..].to_owned()),
            },
            ..word
        });
        let mut line = ScriptLine {
            number,
            span,
            label,
            commands: Vec::new(),
            comment: None,
            words: count,
            branch,
            conditional,
            unknown,
        };
        split(words, &mut line);
        line
    }

    /// Reads the words of `segments`.
    fn words(&mut self, segments: &[Span]) -> Vec<ScriptWord<'t>> {
        let next_part = self.parts.get(self.part).map_or(usize::MAX, |part| part.span.start);
        if let [segment] = segments
            && next_part >= segment.end
        {
            return plain_words(self.text, *segment);
        }
        let bytes = self.text.as_bytes();
        let mut words = Vec::new();
        let mut word: Option<Building> = None;
        for segment in segments {
            let mut at = segment.start;
            while at < segment.end {
                if let Some(part) = self.parts.get(self.part).filter(|part| part.span.start <= at) {
                    let end = part.span.end.min(segment.end).max(at);
                    self.part += 1;
                    self.branch += usize::from(matches!(part.kind, PartKind::Statement | PartKind::Insertion));
                    let building = word.get_or_insert_with(|| Building::new(at));
                    building.part(Span { start: at, end }, part.kind);
                    at = end;
                    continue;
                }
                if is_space(bytes[at]) {
                    words.extend(word.take().and_then(|word| word.finish(self.text)));
                    at += 1;
                    continue;
                }
                let stop = self.parts.get(self.part).map_or(segment.end, |part| part.span.start.min(segment.end));
                let end = bytes[at..stop].iter().position(|byte| is_space(*byte)).map_or(stop, |length| at + length);
                word.get_or_insert_with(|| Building::new(at)).piece(Span { start: at, end });
                at = end;
            }
        }
        words.extend(word.take().and_then(|word| word.finish(self.text)));
        words
    }
}

impl Building {
    fn new(at: usize) -> Self {
        Self { span: Span { start: at, end: at }, pieces: Vec::new(), template: false, statement: false }
    }

    fn piece(&mut self, piece: Span) {
        match self.pieces.last_mut() {
            Some(last) if last.end == piece.start => last.end = piece.end,
            _ => self.pieces.push(piece),
        }
        self.span.end = piece.end;
    }

    fn part(&mut self, span: Span, kind: PartKind) {
        match kind {
            PartKind::Expression => {
                self.template = true;
                self.piece(span);
            }
            PartKind::Statement | PartKind::Insertion => self.statement = true,
            PartKind::Comment => {}
        }
        self.span.end = self.span.end.max(span.end);
    }

    fn finish(self, text: &str) -> Option<ScriptWord<'_>> {
        let of = |span: &Span| &text[span.start..span.end];
        let word = match &self.pieces[..] {
            [] => return None,
            [piece] => Cow::Borrowed(of(piece)),
            pieces => Cow::Owned(pieces.iter().map(of).collect()),
        };
        // An operator is one, whatever statement adjoins it.
        let template = self.template || self.statement && Operator::of(&word).is_none();
        Some(ScriptWord { span: self.span, expands: expands(&word), text: word, template })
    }
}

/// Reads the words of `segment`, which contains no part of a template, as most lines do not.
fn plain_words(text: &str, segment: Span) -> Vec<ScriptWord<'_>> {
    let bytes = text.as_bytes();
    let mut words = Vec::new();
    let mut at = segment.start;
    while at < segment.end {
        if is_space(bytes[at]) {
            at += 1;
            continue;
        }
        let start = at;
        while at < segment.end && !is_space(bytes[at]) {
            at += 1;
        }
        let word = &text[start..at];
        words.push(ScriptWord {
            span: Span { start, end: at },
            expands: expands(word),
            text: Cow::Borrowed(word),
            template: false,
        });
    }
    words
}

/// Checks whether `word` has the beginning of a setting.
fn expands(word: &str) -> bool {
    memchr::memchr(b'$', word.as_bytes()).is_some() && word.contains("${")
}

/// Splits `words` into the commands and the comment of `line`.
fn split<'t>(mut words: Vec<ScriptWord<'t>>, line: &mut ScriptLine<'t>) {
    if words.is_empty() {
        return;
    }
    // Most lines are a single command.
    let first = |word: &ScriptWord<'_>| matches!(word.text.as_bytes()[0], b'#' | b'|' | b'&' | b';');
    if !words.iter().any(first) {
        words.shrink_to(2);
        line.commands.push(ScriptCommand { words, operator: None });
        return;
    }
    // A script can have hundreds of thousands of lines, so each takes no more room than it needs.
    let operators = words.iter().filter(|word| Operator::of(&word.text).is_some()).count();
    line.commands = Vec::with_capacity(operators + 1);
    let mut command = ScriptCommand::default();
    for word in words {
        if word.text.starts_with('#') {
            line.comment = Some(Span { start: word.span.start, end: line.span.end });
            if command.words.is_empty() && line.commands.is_empty() {
                line.commands = Vec::new();
                return;
            }
            break;
        }
        match Operator::of(&word.text) {
            Some(operator) => {
                command.operator = Some((operator, word.span));
                command.words.shrink_to_fit();
                line.commands.push(std::mem::take(&mut command));
            }
            None => command.words.push(word),
        }
    }
    command.words.shrink_to_fit();
    line.commands.push(command);
}
