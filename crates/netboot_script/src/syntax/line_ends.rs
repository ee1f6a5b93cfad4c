//! Where the lines of a template of Jinja end: the engine removes the line break after a tag, so that a tag on a line of
//! its own leaves none behind. Where a command stands before the tag, the next one would become a part of it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::Span;
use super::template::body;

/// Maximum number of times that a template is gone through, until what its loops begin with is known.
const MAX_ROUNDS: usize = 8;

/// Returns the template `text`, with a mark in each tag at the end of a line whose line break the engine must not remove:
/// on some way through the conditions, a command stands before it.
///
/// # Errors
///
/// The offset of a tag behind a command that begins a block of several lines, with other text in the line where the block
/// ends: without the block, that would become a part of the command.
pub fn keep_line_ends(text: &str) -> Result<Cow<'_, str>, usize> {
    let tags = jinja_tags(text);
    let mut loops = BTreeMap::new();
    for _ in 1..MAX_ROUNDS {
        let walk = Walk::through(text, &tags, &loops)?;
        if walk.loops == loops {
            break;
        }
        loops = walk.loops;
    }
    let walk = Walk::through(text, &tags, &loops)?;
    let mut out = String::new();
    let mut copied = 0;
    for tag in walk.marked {
        let mark = tags[tag].span.end - 2;
        out += &text[copied..mark];
        out.push('+');
        copied = mark;
    }
    Ok(if copied == 0 { text.into() } else { (out + &text[copied..]).into() })
}

/// What a template has put out of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct OutputLine {
    /// Whether it has anything up to here.
    has_text: bool,
    /// Whether the last character is a backslash.
    has_backslash: bool,
    /// Whether it continues the line before.
    continues: bool,
}

impl OutputLine {
    const TEXT: Self = Self { has_text: true, has_backslash: false, continues: false };

    /// Returns the line after `text`.
    fn after(mut self, text: &str) -> Self {
        // Only the last line and the one before it count.
        let breaks = text.rmatch_indices('\n').nth(1);
        for c in text[breaks.map_or(0, |(at, _)| at)..].chars() {
            self = match c {
                '\n' => Self { continues: self.has_backslash, ..Self::default() },
                '\r' => self,
                _ => Self { has_text: self.has_text || !c.is_whitespace(), has_backslash: c == '\\', ..self },
            };
        }
        self
    }

    /// Checks whether more text would become a part of a command.
    fn is_open(self) -> bool {
        self.has_text || self.continues
    }
}

/// The lines that the ways through the conditions of a template have led to.
type Lines = BTreeSet<OutputLine>;

/// A block that has begun.
struct Block {
    /// The index of its tag.
    tag: usize,
    /// The lines before it.
    before: Lines,
    /// The lines at the ends of its branches so far.
    ends: Lines,
    /// Whether one of its branches is taken in any case.
    is_complete: bool,
}

/// A walk through all ways of a template.
struct Walk<'w> {
    tags: &'w [JinjaTag<'w>],
    /// The lines that the bodies of loops end with, by the indexes of their tags.
    loops: BTreeMap<usize, Lines>,
    here: Lines,
    blocks: Vec<Block>,
    /// The tags that get a mark.
    marked: Vec<usize>,
    /// The start of a block behind a command, some ways through which have ended the line, while this line goes on.
    torn: Option<usize>,
}

impl<'w> Walk<'w> {
    /// Walks through `text`, whose loops end with the lines `loops`.
    fn through(text: &str, tags: &'w [JinjaTag<'w>], loops: &BTreeMap<usize, Lines>) -> Result<Self, usize> {
        let here = Lines::from([OutputLine::default()]);
        let mut walk = Self { tags, loops: BTreeMap::new(), here, blocks: Vec::new(), marked: Vec::new(), torn: None };
        let mut from = 0;
        for (index, tag) in tags.iter().enumerate() {
            let data = &text[from..tag.span.start];
            walk.put_out(if text[tag.span.start + 2..].starts_with('-') { data.trim_end() } else { data })?;
            if tag.name == "{{" {
                // Any text.
                walk.put_out("x")?;
            }
            walk.enter(index, loops.get(&index));
            from = tag.span.end;
            let rest = &text[from..];
            if text[..from - 2].ends_with('-') {
                from = text.len() - rest.trim_start().len();
            } else if let Some(next) = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix('\n')) {
                if walk.keeps_line_break(index, text[..from - 2].ends_with('+')) {
                    walk.put_out("\n")?;
                }
                from = text.len() - next.len();
            }
        }
        walk.put_out(&text[from..])?;
        Ok(walk)
    }

    /// Takes `text` on all ways.
    fn put_out(&mut self, text: &str) -> Result<(), usize> {
        let line = text.split('\n').next().unwrap_or_default();
        if let Some(start) = self.torn.filter(|_| !line.trim().is_empty()) {
            return Err(start);
        }
        if line.len() < text.len() {
            self.torn = None;
        }
        self.here = self.here.iter().map(|here| here.after(text)).collect();
        Ok(())
    }

    /// Takes the tag `index`, on whose ways a loop ends with the lines `again`.
    fn enter(&mut self, index: usize, again: Option<&Lines>) {
        let tag = &self.tags[index];
        match tag.name {
            "if" => self.begin(index, self.here.clone()),
            "for" => self.begin(index, self.here.iter().chain(again.into_iter().flatten()).copied().collect()),
            "elif" | "else" => self.branch(tag.name == "else"),
            "endif" | "endfor" => self.leave(),
            _ if tag.has_body => self.begin(index, Lines::from([OutputLine::default()])),
            "endmacro" | "endset" | "endcall" | "endfilter" => {
                let before = self.blocks.pop().map(|block| block.before);
                self.here = before.unwrap_or_default();
                if ["endcall", "endfilter"].contains(&tag.name) {
                    // A macro, or a filter, puts out anything.
                    self.here.insert(OutputLine::TEXT);
                }
            }
            _ => {}
        }
    }

    /// Begins a block with the lines `here`.
    fn begin(&mut self, tag: usize, here: Lines) {
        let before = std::mem::replace(&mut self.here, here);
        self.blocks.push(Block { tag, before, ends: Lines::new(), is_complete: false });
    }

    fn branch(&mut self, is_else: bool) {
        if let Some(block) = self.blocks.last_mut() {
            block.ends.append(&mut self.here);
            block.is_complete |= is_else;
            self.here.clone_from(&block.before);
            if is_else {
                self.loops.insert(block.tag, block.ends.clone());
            }
        }
    }

    fn leave(&mut self) {
        let Some(Block { tag, before, mut ends, is_complete }) = self.blocks.pop() else { return };
        ends.append(&mut self.here);
        if self.tags[tag].name == "for" {
            self.loops.entry(tag).or_insert_with(|| ends.clone());
        } else {
            self.loops.remove(&tag);
        }
        let is_behind_command = before.iter().any(|line| line.is_open());
        if !is_complete {
            ends.extend(before);
        }
        self.here = ends;
        if is_behind_command && self.is_torn() {
            self.torn = Some(self.tags[tag].span.start);
        }
    }

    /// Checks whether more text would become a part of a command on some ways only.
    fn is_torn(&self) -> bool {
        let is_open = |line: &OutputLine| line.is_open();
        self.here.iter().any(is_open) && !self.here.iter().all(is_open)
    }

    /// Checks whether the line break after the tag `index` stays, and marks the tag if it has no mark for that.
    fn keeps_line_break(&mut self, index: usize, has_mark: bool) -> bool {
        let keeps = has_mark || self.tags[index].name == "{{";
        let needs = self.is_torn() || self.here.iter().any(|line| line.has_text);
        if needs && !keeps {
            self.marked.push(index);
        }
        needs || keeps
    }
}

/// A tag of Jinja.
struct JinjaTag<'t> {
    span: Span,
    /// Its first word; empty for a comment, and `{{` for an expression.
    name: &'t str,
    /// Whether what follows is a text that gets to another place.
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
        let inside = body(text, Span { start, end });
        let name = match close {
            "}}" => "{{",
            "%}" => inside.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default(),
            _ => "",
        };
        // Behind the names that are assigned to, an equals sign; one in a filter of a body does not count.
        let is_name = |c: char| c.is_alphanumeric() || c.is_whitespace() || "_.,()".contains(c);
        let is_assigned = inside.trim_start_matches("set").trim_start_matches(is_name).starts_with('=');
        let has_body = ["macro", "call", "filter"].contains(&name) || name == "set" && !is_assigned;
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

#[cfg(test)]
mod tests {
    use super::*;

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
            // Blocks that begin behind a command.
            ("a {% if b %}\nc\n{% endif %}\nd", "a {% if b +%}\nc\n{% endif +%}\nd"),
            ("a {% if b %}c\n{% endif %}\nd", "a {% if b %}c\n{% endif +%}\nd"),
            ("a {% if b %} \nc\n{% endif %}\nd", "a {% if b %} \nc\n{% endif +%}\nd"),
            ("a {% if b %}{# c #}\nd\n{% endif %}\ne", "a {% if b %}{# c +#}\nd\n{% endif +%}\ne"),
            ("a{% if b %}2{% elif c %}\nd\n{% endif %}\ne", "a{% if b %}2{% elif c +%}\nd\n{% endif +%}\ne"),
            ("a{% for n in m %}{{ n }}\n{% endfor %}\nd", "a{% for n in m %}{{ n }}\n{% endfor +%}\nd"),
            ("a{% if b +%}\nc\n{% endif %}\nd", "a{% if b +%}\nc\n{% endif +%}\nd"),
            ("a\n{%- if b %}\n c\n{%- endif %}\nd", "a\n{%- if b +%}\n c\n{%- endif +%}\nd"),
            // Lines that go on in the next one, with the block or without it.
            ("a \\\n{% if b %}\n  c\n{% endif %}\nd", "a \\\n{% if b %}\n  c\n{% endif +%}\nd"),
            ("a \\\r\n{% if b %}\r\n  c\r\n{% endif %}\r\nd", "a \\\r\n{% if b %}\r\n  c\r\n{% endif +%}\r\nd"),
            // Blocks that end a line on some ways only.
            ("{% if a %}b{% else %}\nc\n{% endif %}\nd", "{% if a %}b{% else %}\nc\n{% endif +%}\nd"),
            ("{% for a in b %}\nc{{ a }}{% endfor %}\nd", "{% for a in b +%}\nc{{ a }}{% endfor +%}\nd"),
            (
                "{% filter trim %}\na b\n{% endfilter %}\nc {% filter upper %}\nd\n{% endfilter %}\ne",
                "{% filter trim %}\na b\n{% endfilter +%}\nc {% filter upper %}\nd\n{% endfilter +%}\ne",
            ),
            ("{% call m() %}x{% endcall %}\nd", "{% call m() %}x{% endcall +%}\nd"),
            (
                "a{% set b | replace('a', '=') %}c\n{% endset %}\nd",
                "a{% set b | replace('a', '=') %}c\n{% endset +%}\nd",
            ),
            ("a {{- b -}}\n{% set c = 1 %}\nd", "a {{- b -}}\n{% set c = 1 +%}\nd"),
        ] {
            assert_eq!(keep_line_ends(text).unwrap(), wanted, "{text}");
        }
    }

    #[test]
    fn a_tag_on_a_line_of_its_own_leaves_none() {
        for text in [
            "a \\\n{% if b %}\n  c \\\n{% endif %}\n  d",
            "a\n{% if b %}\n{% if c %}\nd\n{% else %}\ne\n{% endif %}\n{% elif f %}\ng\n{% endif %}\nh",
            "{% for a in b %}\n{% if a %}\nc\n{% endif %}\n{% else %}\nd\n{% endfor %}\ne",
            "set a {% if b %}1\n{% else %}2\n{% endif %}d",
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
            assert_eq!(keep_line_ends(text).unwrap(), text, "{text}");
        }
    }

    #[test]
    fn text_behind_a_block_that_ends_a_command_is_refused() {
        for (text, at) in [
            ("a {% if b %}\nc\n{% endif %}d", 2),
            ("a\nb {% for c in d %}\nc\n{% endfor -%}\n  {{ e }}", 4),
            ("a \\\n{% if b %}\nc\n{% endif %} d", 4),
        ] {
            assert_eq!(keep_line_ends(text), Err(at), "{text}");
        }
        for text in ["a {% if b %}\nc\n{% endif %} \nd", "a {% if b %}c{% endif %}d", "{% if b %}a {% endif %}d"] {
            assert!(keep_line_ends(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn nested_loops_end() {
        let (begin, end) = ("x{% for a in b %}\n".repeat(200), "y{% endfor %}\n".repeat(200));
        let kept = keep_line_ends(&format!("{begin}{end}z")).unwrap().into_owned();
        assert_eq!(kept.matches("+%}").count(), 400);
        assert!(keep_line_ends(&"{% endfor %}{% else %}{% endset %}{% for %}{% if %}\n".repeat(300)).is_ok());
    }
}
