//! Rules about single words: operators in words, quotes, comments, characters, and settings that are written wrong.

use super::{KnownCommand, Linter, shows};
use crate::commands::CommandSpec;
use crate::rule::{Rule, Severity};
use crate::settings::TYPES;
use crate::syntax::{Expansion, ScriptCommand, ScriptLine, ScriptWord, Span, expansions};

impl<'s, 't> Linter<'s, 't> {
    /// Runs the rules about the words of `line`.
    pub(super) fn words_of(&mut self, line: &'s ScriptLine<'t>) {
        for command in &line.commands {
            for word in &command.words {
                self.characters(word);
                self.expansions_of(word);
            }
            self.glued(command);
        }
        self.comment(line);
    }

    fn glued(&mut self, command: &ScriptCommand<'_>) {
        let text = command.name().is_some_and(shows);
        for (at, word) in command.words.iter().enumerate() {
            // Half an operator is none.
            if !has_sign(&word.text) {
                continue;
            }
            let half = matches!(&*word.text, "|" | "&");
            if !half && !is_glued(&word.text) {
                continue;
            }
            // Text can end in such signs, but a command follows only where one was meant to.
            let next = command.words.get(at + 1).is_some_and(|next| CommandSpec::of(&next.text).is_some());
            let before = word.text.trim_start_matches(['&', '|']);
            let next = next || before.len() < word.text.len() && CommandSpec::of(before).is_some();
            let whole = word.text.contains("&&") || word.text.contains("||");
            if !next && (half || text || !whole) || text && !half && !whole {
                continue;
            }
            let operator = ["&&", "||"].into_iter().find(|operator| word.text.contains(operator)).unwrap_or(";");
            let (message, remedy) = if half {
                let operator = word.text.repeat(2);
                (format!("`{}` is no operator, but an argument", word.text), format!("write `{operator}`"))
            } else {
                let word = &word.text;
                let message = format!(
                    "`{word}` is one word to iPXE, which takes `{operator}` for an operator only between spaces"
                );
                (message, format!("write spaces around `{operator}`"))
            };
            let finding = self.report(Rule::GluedOperator, word.span, message, remedy);
            finding.word = Some(word.text.clone().into_owned());
        }
    }

    fn comment(&mut self, line: &ScriptLine<'_>) {
        let Some(span) = line.comment.filter(|_| !line.commands.is_empty()) else { return };
        let text = &self.script.text[span.start..span.end];
        let last = line.commands.last().and_then(ScriptCommand::name).unwrap_or_default();
        let cut = text.as_bytes().get(1).is_some_and(|byte| !byte.is_ascii_whitespace() && *byte != b'#');
        let operator = text.split_ascii_whitespace().find(|word| ["||", "&&"].contains(word));
        let first = text.split_ascii_whitespace().next().unwrap_or_default();
        let number = text.as_bytes().get(1).is_some_and(|byte| byte.is_ascii_digit() || *byte == b'$');
        // A word after a gap is a comment that was meant to be one.
        let meant = self.script.text[..span.start].ends_with(['\t']) || self.script.text[..span.start].ends_with("  ");
        let meant = meant && text.as_bytes().get(1).is_some_and(u8::is_ascii_alphabetic);
        if cut && !meant && (shows(last) || last == "set" && number) {
            let message = format!("`{first}` begins a comment: the rest of the line is ignored");
            self.report(
                Rule::CommentInsideLine,
                span,
                message,
                "join the `#` with the word before it, or leave it out",
            );
        } else if let Some(operator) = operator {
            let message = format!("`{operator}` is part of the comment that begins at `{first}`");
            self.report(Rule::CommentInsideLine, span, message, "write the comment on a line of its own");
        }
    }

    fn characters(&mut self, word: &ScriptWord<'_>) {
        if word.text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return;
        }
        let found = word.text.chars().find_map(|c| Some((c, flaw_of(c)?)));
        let dash = word.text.chars().next().filter(|c| matches!(c, '\u{2010}'..='\u{2015}' | '\u{2212}'));
        let dash = dash.filter(|_| word.text.chars().nth(1).is_some_and(char::is_alphabetic));
        if let Some((c, name)) = found.or(dash.map(|c| (c, "a dash, and not the hyphen of an option"))) {
            let message = format!("`{}` contains `{}`, {name}", word.text.escape_debug(), c.escape_unicode());
            self.report(Rule::InvisibleCharacter, word.span, message, "type the characters again");
        }
    }

    fn expansions_of(&mut self, word: &'s ScriptWord<'t>) {
        if !word.expands || word.template {
            return;
        }
        let (found, open) = expansions(&word.text);
        if open.is_some() {
            let message = format!("`{}` has no `}}` after `${{`, and iPXE leaves it as it is", word.text);
            self.report(Rule::UnclosedSetting, word.span, message, "close it, without blanks inside");
        }
        for kind in found.iter().filter(|it| !it.nested).filter_map(|it| it.kind) {
            self.setting_type(kind, word.span);
        }
        let plain = |it: &Expansion<'_>| !(it.name.is_empty() || it.nested && it.name.contains(['$', '{']));
        self.used.extend(found.into_iter().filter(plain).map(|it| (it, word.span)));
    }

    /// Checks the type of a setting.
    pub(super) fn setting_type(&mut self, kind: &str, span: Span) {
        if TYPES.contains(&kind) || kind.contains(['$', '{', '<']) {
            let since = crate::settings::since_of_type(kind);
            if since > self.target.ipxe {
                let message = self.newer(&format!("the type `{kind}`"), since, "the setting is always empty");
                self.report(Rule::VersionDifference, span, message, "use another type, such as `uuid`");
            }
            return;
        }
        let message = format!("`{kind}` is no type of a setting, so the setting is always empty");
        let remedy =
            match crate::settings::similar(kind, TYPES).or_else(|| TYPES.into_iter().find(|it| kind.starts_with(it))) {
                Some(other) => format!("write `:{other}`"),
                None => "use a type such as `string`, `hexhyp` or `ipv4`".to_owned(),
            };
        self.report(Rule::SettingType, span, message, remedy);
    }

    /// Checks quotes, which iPXE does not know.
    pub(super) fn quotes(&mut self, known: &KnownCommand<'_, '_>) {
        let name = known.name;
        let words = known.arguments.positional;
        let quoted = |word: &&ScriptWord<'_>| word.text.starts_with(['"', '\'']) || word.text.ends_with('"');
        let values = known.arguments.options.iter().filter_map(|option| option.value);
        let value = values.into_iter().find(|(value, _)| value.starts_with(['"', '\'']));
        let (word, message) = match name {
            "isset" => (words.iter().find(quoted), "is never empty with its quotes, so `isset` always succeeds"),
            "iseq" if words.iter().filter(quoted).count() == 1 => {
                (words.iter().find(quoted), "keeps its quotes, so it never equals a word without them")
            }
            "iseq" => (None, ""),
            "set" | "param" => {
                // Quotes inside a text are as likely to be wanted.
                let whole = words.last().is_some_and(|word| words.len() > 1 && word.text.ends_with(['"', '\'']));
                (words.get(1).filter(quoted).filter(|_| whole), "keeps its quotes in the value")
            }
            _ if shows(name) => {
                let text = if name == "item" && words.len() > 1 { &words[1..] } else { words };
                let whole = text.last().is_some_and(|word| word.text.len() > 1 && word.text.ends_with('"'));
                (text.first().filter(|word| whole && word.text.starts_with('"')), "is shown with its quotes")
            }
            // The kernel reads quotes among its arguments.
            _ => (words.first().filter(quoted), "keeps its quotes"),
        };
        let severity = if shows(name) { Severity::Note } else { Severity::Warning };
        if let Some((value, span)) = value {
            self.report(Rule::Quotes, span, format!("`{value}` keeps its quotes"), "leave the quotes out");
        } else if let Some(word) = word {
            let message = format!("`{}` {message}", word.text);
            self.report(Rule::Quotes, word.span, message, "leave the quotes out").severity = severity;
        }
    }
}

/// Checks whether `word` contains a sign that operators consist of.
fn has_sign(word: &str) -> bool {
    memchr::memchr3(b'&', b'|', b';', word.as_bytes()).is_some()
}

/// Checks whether `word` contains an operator, which iPXE treats as part of the word.
pub(super) fn is_glued(word: &str) -> bool {
    if !has_sign(word) {
        return false;
    }
    let inside = ["&&", "||"].iter().any(|operator| word.contains(operator));
    // Addresses and kernel arguments can contain operators in the middle.
    let value = word.contains("://") || word.contains('=');
    let operators = |c: char| "&|".contains(c);
    let ends = word.ends_with("&&") || word.ends_with("||") || word.starts_with("&&") || word.starts_with("||");
    let more = !word.chars().all(operators);
    more && (ends || (inside && !value) || (word.ends_with(';') && !value))
}

/// Describes a character that people take for another one, or do not see; `None` for any other. Escape sequences are the
/// only use of a control character.
fn flaw_of(c: char) -> Option<&'static str> {
    match c {
        '\t' | '\u{1b}' => None,
        '\u{2028}' | '\u{2029}' | '\u{85}' => Some("a line break that iPXE does not know"),
        c if c.is_control() => Some("a control character"),
        c if c.is_whitespace() && !c.is_ascii() => Some("a space that iPXE does not know"),
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            Some("a character that changes the direction of the text")
        }
        '\u{ad}'
        | '\u{34f}'
        | '\u{115f}'
        | '\u{1160}'
        | '\u{17b4}'
        | '\u{17b5}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200d}'
        | '\u{2060}'..='\u{2065}'
        | '\u{206a}'..='\u{206f}'
        | '\u{2800}'
        | '\u{3164}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}' => Some("an invisible character"),
        '\u{201c}' | '\u{201d}' | '\u{2018}' | '\u{2019}' | '\u{201e}' => Some("a typographic quote"),
        _ => None,
    }
}
