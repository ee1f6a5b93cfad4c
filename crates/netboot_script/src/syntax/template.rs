//! The parts of a script that a template engine replaces before iPXE reads it: Jinja, Go's `text/template`, and ERB.
//!
//! Only delimiters are parsed. What stands between them is opaque.

use std::borrow::Cow;

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

/// Returns the template `text`, of Jinja, with a mark in each tag that ends a line with anything else: there the engine must
/// not remove the line break, as it does after a tag that is alone on its line, for the next command would become a part
/// of this one.
///
/// # Errors
///
/// The offset of a tag behind a command that begins a block which goes on in the next line: where the block is left out, its
/// line break is, too.
pub fn keep_line_ends(text: &str) -> Result<Cow<'_, str>, usize> {
    let mut out = String::new();
    let (mut copied, mut last, mut line) = (0, 0, OutputLine::default());
    for tag in jinja_tags(text) {
        let Span { start, end } = tag.span;
        line.add(&text[last..start]);
        last = end;
        if tag.name.starts_with("end") && OutputLine::BODIES.contains(&&tag.name[3..]) {
            line.leave_body();
        }
        let is_marked = text[..end - 2].ends_with(['-', '+']);
        let is_last = text[end..].strip_prefix('\r').unwrap_or(&text[end..]).starts_with('\n');
        if line.has_text && is_last && !is_marked {
            if ["if", "for"].contains(&tag.name) {
                return Err(start);
            }
            out += &text[copied..end - 2];
            out.push('+');
            copied = end - 2;
        }
        if tag.has_body {
            line.enter_body();
        }
    }
    Ok(if copied == 0 { text.into() } else { (out + &text[copied..]).into() })
}

/// The line that a template puts out.
#[derive(Default)]
struct OutputLine {
    /// Whether it has anything up to here.
    has_text: bool,
    /// The same where each of the open bodies begins: their texts get to another place.
    outer: Vec<bool>,
}

impl OutputLine {
    /// Statements whose bodies are put out elsewhere.
    const BODIES: [&str; 3] = ["macro", "set", "call"];

    fn add(&mut self, text: &str) {
        let is_text = |text: &str| !text.trim().is_empty();
        match text.rsplit_once('\n') {
            Some((_, line)) => {
                self.has_text = is_text(line);
                self.outer.fill(false);
            }
            None => self.has_text |= is_text(text),
        }
    }

    fn enter_body(&mut self) {
        self.outer.push(self.has_text);
        self.has_text = false;
    }

    fn leave_body(&mut self) {
        self.has_text = self.outer.pop().unwrap_or_default();
    }
}

/// A tag of Jinja that becomes nothing: a statement or a comment.
struct JinjaTag<'t> {
    span: Span,
    /// Its first word; empty for a comment.
    name: &'t str,
    /// Whether what follows is the body of one of [`OutputLine::BODIES`].
    has_body: bool,
}

/// Finds the tags of a template of Jinja, up to one that is never closed. The text of `raw` has none.
fn jinja_tags(text: &str) -> Vec<JinjaTag<'_>> {
    let mut tags = Vec::new();
    let mut at = 0;
    while let Some(found) = text[at..].find('{') {
        let start = at + found;
        let close = match text.as_bytes().get(start + 1) {
            Some(b'{') => "}}",
            Some(b'%') => "%}",
            Some(b'#') => "#}",
            _ => {
                at = start + 1;
                continue;
            }
        };
        let Some(end) = jinja_end(text, start + 2, close) else { break };
        at = end;
        if close == "}}" {
            continue;
        }
        let inside = body(text, Span { start, end });
        let name = if close == "%}" { inside.split(|c: char| !c.is_alphanumeric() && c != '_').next() } else { None };
        let name = name.unwrap_or_default();
        let has_body = OutputLine::BODIES.contains(&name) && (name != "set" || !inside.contains('='));
        tags.push(JinjaTag { span: Span { start, end }, name, has_body });
        if name == "raw" {
            let Some(last) = end_of_raw(text, end) else { break };
            at = last.end;
            tags.push(JinjaTag { span: last, name: "endraw", has_body: false });
        }
    }
    tags
}

/// Returns the end of the tag whose inside begins at `from`: behind the first `close` outside of strings, which comments do
/// not have.
fn jinja_end(text: &str, from: usize, close: &str) -> Option<usize> {
    if close == "#}" {
        return text[from..].find(close).map(|length| from + length + 2);
    }
    let bytes = text.as_bytes();
    let (mut at, mut quote) = (from, None);
    while let Some(&byte) = bytes.get(at) {
        match quote {
            None if bytes[at..].starts_with(close.as_bytes()) => return Some(at + 2),
            None if byte == b'"' || byte == b'\'' => quote = Some(byte),
            Some(_) if byte == b'\\' => at += 1,
            Some(open) if byte == open => quote = None,
            _ => {}
        }
        at += 1;
    }
    None
}

/// Returns the tag `{% endraw %}` at or after `from`.
fn end_of_raw(text: &str, from: usize) -> Option<Span> {
    let opens = text[from..].match_indices("{%").map(|(at, _)| from + at);
    opens.into_iter().find_map(|start| {
        let end = start + text[start..].find("%}")? + 2;
        (body(text, Span { start, end }) == "endraw").then_some(Span { start, end })
    })
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
fn body(text: &str, span: Span) -> &str {
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
    fn a_tag_at_the_end_of_a_command_does_not_take_the_line_break() {
        for (text, wanted) in [
            ("a {% if b %}c{% endif %}\nd", "a {% if b %}c{% endif +%}\nd"),
            ("a {# b #}\r\nc", "a {# b +#}\r\nc"),
            ("{{ a }}{% set b = 1 %}\nc {% x %}\n", "{{ a }}{% set b = 1 +%}\nc {% x +%}\n"),
            ("a {% if b %}c{% else %}\nd{% endif %}\n", "a {% if b %}c{% else +%}\nd{% endif +%}\n"),
            ("a {% set b =\n 1 %}\nc", "a {% set b =\n 1 +%}\nc"),
            ("a{% raw %}\nb{% endraw %}\nc", "a{% raw +%}\nb{% endraw +%}\nc"),
            ("a <% {% if b %}c{% endif %}\nd", "a <% {% if b %}c{% endif +%}\nd"),
            ("a {% set b = '{% %}' %}\nc", "a {% set b = '{% %}' +%}\nc"),
            ("a {% set b = \"\\\"%}\" %}\nc", "a {% set b = \"\\\"%}\" +%}\nc"),
            ("a {% macro m(x) %}b{% endmacro %}\nc", "a {% macro m(x) %}b{% endmacro +%}\nc"),
            (
                "{% macro m(x) %}\na {% if x %}b{% endif %}\nc{% endmacro %}\nd",
                "{% macro m(x) %}\na {% if x %}b{% endif +%}\nc{% endmacro %}\nd",
            ),
            ("{{ '%}' }} {% x %}\n", "{{ '%}' }} {% x +%}\n"),
        ] {
            assert_eq!(keep_line_ends(text).unwrap(), wanted);
        }
        for text in [
            "{% if a %}\nb\n{% endif %}\nc",
            "  {% if a %} {% set b = 1 %}\n  {# c #}\r\nd",
            "a {% if b -%}\nc{% endif +%}\n",
            "a {{ b }}\n",
            "a {% if b %} c\n",
            "{% raw %}\nb\n{% endraw %}\n",
            "a {% b",
            "{% macro m(x) %}echo {{ x }}{% endmacro %}\na",
            "{% set b %}http://192.0.2.9/a{% endset %}\n#!ipxe",
            "{% set b %}\na\n{% endset %}\nc",
            "#!ipxe\n{% if a %\nb\n{% endif %}\nc",
            "{% raw %}{% if %}{% endraw %} b\n",
            "é{%é%}é{#",
            "{%%}",
            "{%{%%}\n",
        ] {
            assert_eq!(keep_line_ends(text).unwrap(), text);
        }
    }

    #[test]
    fn a_block_that_begins_behind_a_command_and_takes_its_line_break_along_is_found() {
        for (text, at) in [("a {% if b %}\nc\n{% endif %}\nd", 2), ("a\nb {% for c in d %}\nc{% endfor %}\n", 4)] {
            assert_eq!(keep_line_ends(text), Err(at));
        }
        assert!(keep_line_ends("a {% if b +%}\nc\n{% endif %}\nd").is_ok());
    }

    #[test]
    fn a_part_that_is_never_closed_is_found() {
        for (text, at) in [("ab {{ c }", 3), ("{{ a }}{% b", 7), ("{{", 0), ("<% x >", 0)] {
            assert_eq!(parts(text).1, Some(at), "{text}");
        }
        assert!(!is_template("${a} {b} <c>"));
    }
}
