//! The parts of a script that a template engine replaces before iPXE reads it: Jinja, Go's `text/template`, and ERB.
//!
//! Only delimiters are parsed. What stands between them is opaque.

use super::Span;

/// A part of a script that a template engine replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TemplatePart {
    /// Its bytes, with the delimiters.
    pub span: Span,
    /// The kind of the part.
    pub kind: PartKind,
    /// Whether it removes whitespace before it.
    pub trims_before: bool,
    /// Whether it removes whitespace after it.
    pub trims_after: bool,
}

/// The kind of a part of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartKind {
    /// Becomes text.
    Expression,
    /// Becomes nothing; decides whether and how often other parts are there.
    Statement,
    /// Becomes the text of another template, which can contain anything.
    Insertion,
    /// Becomes nothing.
    Comment,
}

/// The opening and closing delimiters.
const DELIMITERS: [(&str, &str); 4] = [("{{", "}}"), ("{%", "%}"), ("{#", "#}"), ("<%", "%>")];

/// Checks whether `text` has delimiters of a template.
pub(super) fn is_template(text: &str) -> bool {
    ["{{", "{%", "<%", "{# "].iter().any(|open| memchr::memmem::find(text.as_bytes(), open.as_bytes()).is_some())
}

/// Finds all parts of the template `text`, in order. The second value is the start of a part that is never closed.
pub(super) fn parts(text: &str) -> (Vec<TemplatePart>, Option<usize>) {
    let mut parts = Vec::new();
    let mut from = 0;
    let mut has_raw = true;
    while let Some((start, open, close)) = next_open(text, from) {
        let inside = start + open.len();
        let Some(length) = text[inside..].find(close) else { return (parts, Some(start)) };
        let mut end = inside + length + close.len();
        // Three closing braces can be those of a part, and one of the script.
        let part = part(text, Span { start, end }, open);
        if has_raw && part.kind == PartKind::Statement && body(text, part.span).starts_with("raw") {
            let raw = text[end..].find("endraw");
            has_raw = raw.is_some();
            end += raw.unwrap_or_default();
            let length = text[end..].find(close).filter(|_| has_raw);
            end += length.map_or(0, |length| length + close.len());
        }
        parts.push(TemplatePart { span: Span { start, end }, ..part });
        from = end;
    }
    (parts, None)
}

/// Finds the first opening delimiter at or after `from`. Returns its position, and both delimiters.
fn next_open(text: &str, from: usize) -> Option<(usize, &'static str, &'static str)> {
    let bytes = text.as_bytes();
    let mut at = from;
    loop {
        at += memchr::memchr2(b'{', b'<', bytes.get(at..)?)?;
        // `${{{ name }}}` is a setting whose name is an expression.
        let nested = bytes[at] == b'{' && at > 0 && bytes[at - 1] == b'$' && bytes.get(at + 2) == Some(&b'{');
        // `{#` begins a comment of Jinja, whose templates have other delimiters, too.
        let found = DELIMITERS.iter().find(|(open, _)| bytes[at..].starts_with(open.as_bytes()));
        if let Some((open, close)) = found.filter(|_| !nested) {
            return Some((at, open, close));
        }
        at += 1;
    }
}

/// Returns the text between the delimiters of a part, without signs that belong to them.
pub(super) fn body(text: &str, span: Span) -> &str {
    let inside = &text[span.start + 2..span.end - 2];
    inside.trim_start_matches(['-', '+', '=']).trim_end_matches(['-', '+']).trim()
}

/// Describes the part in `span` that begins with the delimiter `open`.
fn part(text: &str, span: Span, open: &str) -> TemplatePart {
    let inside = &text[span.start + 2..span.end - 2];
    let word = body(text, span).split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
    let kind = match open {
        "{#" => PartKind::Comment,
        "{{" if inside.trim_start_matches('-').trim_start().starts_with("/*") => PartKind::Comment,
        "<%" if inside.starts_with('#') => PartKind::Comment,
        "<%" if inside.starts_with('=') && body(text, span).starts_with("snippet") => PartKind::Insertion,
        "<%" if inside.starts_with('=') => PartKind::Expression,
        "{{" => match word {
            "template" | "block" | "include" | "define" => PartKind::Insertion,
            "if" | "else" | "end" | "range" | "with" | "break" | "continue" => PartKind::Statement,
            _ if body(text, span).starts_with('$') && inside.contains(":=") => PartKind::Statement,
            _ => PartKind::Expression,
        },
        _ => match word {
            "include" | "extends" | "block" | "import" | "from" | "call" => PartKind::Insertion,
            _ => PartKind::Statement,
        },
    };
    TemplatePart { span, kind, trims_before: inside.starts_with('-'), trims_after: inside.ends_with('-') }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<(&str, PartKind)> {
        let (parts, unclosed) = parts(text);
        assert_eq!(unclosed, None, "{text}");
        parts.iter().map(|part| (&text[part.span.start..part.span.end], part.kind)).collect()
    }

    #[test]
    fn the_parts_of_each_engine_are_found() {
        use PartKind::{Comment, Expression, Insertion, Statement};
        assert_eq!(
            kinds("{% if a %}{{ b }}{# c #}{%- include 'd' -%}"),
            [
                ("{% if a %}", Statement),
                ("{{ b }}", Expression),
                ("{# c #}", Comment),
                ("{%- include 'd' -%}", Insertion)
            ]
        );
        assert_eq!(
            kinds("{{- if .A }}{{ .B }}{{/* c */}}{{ template \"d\" }}{{ $e := 1 }}{{ end -}}"),
            [
                ("{{- if .A }}", Statement),
                ("{{ .B }}", Expression),
                ("{{/* c */}}", Comment),
                ("{{ template \"d\" }}", Insertion),
                ("{{ $e := 1 }}", Statement),
                ("{{ end -}}", Statement)
            ]
        );
        assert_eq!(
            kinds("<%# a -%><%= b %><% if c %>"),
            [("<%# a -%>", Comment), ("<%= b %>", Expression), ("<% if c %>", Statement)]
        );
        assert_eq!(kinds("${{{ a }}}"), [("{{ a }}", Expression)]);
        assert_eq!(kinds("{% raw %}{{ a {% endraw %}b"), [("{% raw %}{{ a {% endraw %}", Statement)]);
    }

    #[test]
    fn a_part_that_is_never_closed_is_found() {
        for (text, at) in [("ab {{ c }", 3), ("{{ a }}{% b", 7), ("{{", 0), ("<% x >", 0)] {
            assert_eq!(parts(text).1, Some(at), "{text}");
        }
        assert!(!is_template("${a} {b} <c>"));
    }
}
