//! What an editor asks about a place in a script: what can stand there, what stands there, and where a label is.

use std::collections::HashSet;

use crate::commands::{Availability, COMMANDS, CommandSpec, IpxeRelease, OptionSpec, OptionValue};
use crate::settings::{SETTINGS, TYPES};
use crate::syntax::{ParsedScript, ScriptCommand, ScriptWord, Span, Templates, expansions};

/// Maximum number of labels or settings to offer; nobody looks through more.
pub const MAX_COMPLETIONS: usize = 1_000;

/// Something that can stand at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// The text.
    pub text: String,
    /// What it is, in a few words.
    pub detail: String,
    /// The kind.
    pub kind: CompletionKind,
    /// The bytes that it replaces.
    pub replaces: Span,
}

/// The kind of something that can stand at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompletionKind {
    /// A command.
    Command,
    /// An option of a command.
    Option,
    /// A setting.
    Setting,
    /// A type of a setting.
    Type,
    /// A label.
    Label,
}

/// Returns what can stand at the byte `at` of `text`.
#[must_use]
pub fn completions(text: &str, at: usize) -> Vec<Completion> {
    let Some(before) = text.get(..at) else { return Vec::new() };
    let line = &before[before.rfind('\n').map_or(0, |end| end + 1)..];
    let start = line.rfind([' ', '\t']).map_or(0, |blank| blank + 1);
    let word = &line[start..];
    let word_start = at - word.len();
    if let Some(open) = word.rfind("${").filter(|open| !word[*open..].contains('}')) {
        return of_setting(text, &word[open + 2..], at);
    }
    let words: Vec<&str> = line[..start].split_ascii_whitespace().collect();
    let begin = words.iter().rposition(|word| matches!(*word, "||" | "&&" | ";")).map_or(0, |operator| operator + 1);
    let begin = begin + usize::from(begin == 0 && words.first().is_some_and(|word| word.starts_with(':')));
    let replaces = Span { start: word_start, end: at };
    let Some(name) = words.get(begin) else {
        if word.starts_with([':', '#']) {
            return Vec::new();
        }
        return COMMANDS
            .iter()
            .filter(|command| command.name.starts_with(word))
            .map(|it| of_command(it, replaces))
            .collect();
    };
    if word.starts_with('-') {
        let options = CommandSpec::of(name).map(|spec| spec.options).unwrap_or_default();
        let matching = options.iter().filter(|option| format!("--{}", option.long).starts_with(word));
        return matching.map(|option| of_option(option, replaces)).collect();
    }
    match *name {
        "goto" => labels(text, word, replaces),
        "set" | "clear" | "read" | "show" | "inc" if words.len() == begin + 1 => of_setting(text, word, at),
        _ => Vec::new(),
    }
}

fn of_command(command: &CommandSpec, replaces: Span) -> Completion {
    let detail = command.summary.to_owned();
    Completion { text: command.name.to_owned(), detail, kind: CompletionKind::Command, replaces }
}

fn of_option(option: &OptionSpec, replaces: Span) -> Completion {
    let detail = value(option.value).to_owned();
    Completion { text: format!("--{}", option.long), detail, kind: CompletionKind::Option, replaces }
}

fn labels(text: &str, word: &str, replaces: Span) -> Vec<Completion> {
    let script = ParsedScript::parse(text, Templates::Opaque);
    let labels = script.labels().filter(|(_, label)| label.is_plain() && label.text.starts_with(word));
    let label = |(line, label): (&crate::syntax::ScriptLine<'_>, &ScriptWord<'_>)| Completion {
        text: label.text.to_string(),
        detail: format!("line {}", line.number),
        kind: CompletionKind::Label,
        replaces,
    };
    labels.take(MAX_COMPLETIONS).map(label).collect()
}

/// Returns the settings, or the types, that can continue `written`, which ends at `at`.
fn of_setting(text: &str, written: &str, at: usize) -> Vec<Completion> {
    if let Some((_, kind)) = written.rsplit_once(':') {
        let replaces = Span { start: at - kind.len(), end: at };
        let matching = TYPES.into_iter().filter(|it| it.starts_with(kind));
        let of = |it: &str| Completion {
            text: it.to_owned(),
            detail: "type of a setting".to_owned(),
            kind: CompletionKind::Type,
            replaces,
        };
        return matching.map(of).collect();
    }
    let name = written.rsplit('/').next().unwrap_or_default();
    let replaces = Span { start: at - name.len(), end: at };
    let mut all: Vec<(String, String)> =
        SETTINGS.iter().map(|setting| (setting.name.to_owned(), setting.description.to_owned())).collect();
    let mut known: HashSet<String> = all.iter().map(|(name, _)| name.clone()).collect();
    for own in own_settings(text, at) {
        if known.insert(own.clone()) {
            all.push((own, "set in this script".to_owned()));
        }
    }
    let matching = all.into_iter().filter(|(text, _)| text.starts_with(name)).take(MAX_COMPLETIONS);
    matching.map(|(text, detail)| Completion { text, detail, kind: CompletionKind::Setting, replaces }).collect()
}

/// Returns the names of the settings that the script sets, except in the word that ends at `at`.
fn own_settings(text: &str, at: usize) -> Vec<String> {
    let script = ParsedScript::parse(text, Templates::Opaque);
    let sets = |command: &ScriptCommand<'_>| {
        command.name().is_some_and(|name| matches!(name, "set" | "read" | "choose" | "inc" | "nslookup"))
    };
    let words = script
        .commands()
        .filter(|(_, command)| sets(command))
        .filter_map(|(_, command)| command.arguments().iter().find(|word| !word.text.starts_with('-')));
    let names = words.filter(|word| word.is_plain() && word.span.end != at).map(|word| {
        let name = word.text.rsplit('/').next().unwrap_or_default();
        name.split(':').next().unwrap_or_default().to_owned()
    });
    names.filter(|name| !name.is_empty()).collect()
}

/// A description of what stands at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hover {
    /// The description, as Markdown.
    pub text: String,
    /// The bytes that it is about.
    pub span: Span,
}

/// Returns a description of the command, the option or the setting at the byte `at` of `script`.
#[must_use]
pub fn hover(script: &ParsedScript<'_>, at: usize) -> Option<Hover> {
    let (command, word) = word_at(script, at)?;
    let spec = command.name().and_then(CommandSpec::of);
    for it in expansions(&word.text).0 {
        let span = Span { start: word.span.start + it.span.start, end: word.span.start + it.span.end };
        let setting = crate::settings::of(it.name);
        if (span.start..span.end).contains(&at)
            && let Some(setting) = setting
        {
            let text = format!("`{}`: {}{}", setting.name, setting.description, new_in(setting.since));
            return Some(Hover { text, span });
        }
    }
    let spec = spec?;
    if word.span == command.words[0].span {
        return Some(Hover { text: described(spec), span: word.span });
    }
    let long = word.text.strip_prefix("--")?.split('=').next()?;
    let option = spec.option(long)?;
    let text = format!("`--{long}` of `{}`: {}{}", spec.name, value(option.value), new_in(option.since));
    Some(Hover { text, span: word.span })
}

fn described(spec: &CommandSpec) -> String {
    let mut text = format!("`{}` {}{}.\n", spec.name, spec.summary, new_in(spec.since));
    if let Some(name) = needs(spec.availability) {
        text += &format!("\nBuilds need `{name}`.\n");
    }
    for option in spec.options {
        text +=
            &format!("\n- `--{}`, `-{}`: {}{}", option.long, option.short, value(option.value), new_in(option.since));
    }
    text + &format!("\n\n<https://ipxe.org/cmd/{}>", spec.name)
}

fn new_in(since: IpxeRelease) -> String {
    match since {
        IpxeRelease::V1_21_1 => String::new(),
        IpxeRelease::V2_0_0 => " (new in 2.0.0)".to_owned(),
        IpxeRelease::Master => " (new after 2.0.0)".to_owned(),
    }
}

fn needs(availability: Availability) -> Option<String> {
    match availability {
        Availability::Always => None,
        Availability::EfiOnly(name) => Some(format!("{name}` for BIOS; those for UEFI have `{name}")),
        Availability::OnRequest(name)
        | Availability::X86Only(name)
        | Availability::OtherThanX86(name)
        | Availability::Arm64Only(name) => Some(name.to_owned()),
    }
}

fn value(value: OptionValue) -> &'static str {
    match value {
        OptionValue::Flag => "no value",
        OptionValue::Text => "a word",
        OptionValue::Number => "a number",
        OptionValue::Milliseconds => "a time in milliseconds",
        OptionValue::Key => "a key: one character, or its number",
    }
}

/// Returns the bytes of the label that the word at the byte `at` of `script` names: the target of `goto`, or an entry of a
/// menu.
#[must_use]
pub fn definition(script: &ParsedScript<'_>, at: usize) -> Option<Span> {
    let (command, word) = word_at(script, at)?;
    if !matches!(command.name(), Some("goto" | "item")) || word.span == command.words[0].span {
        return None;
    }
    script.labels().find(|(_, label)| label.text == word.text).map(|(_, label)| label.span)
}

/// Returns the word at the byte `at`, with its command.
fn word_at<'s, 't>(script: &'s ParsedScript<'t>, at: usize) -> Option<(&'s ScriptCommand<'t>, &'s ScriptWord<'t>)> {
    let line = script.lines.iter().find(|line| (line.span.start..=line.span.end).contains(&at))?;
    line.commands.iter().find_map(|command| {
        let word = command.words.iter().find(|word| (word.span.start..=word.span.end).contains(&at))?;
        Some((command, word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the texts that can stand at the `^` in `text`.
    fn at(text: &str) -> Vec<String> {
        let place = text.find('^').unwrap();
        let text = text.replace('^', "");
        completions(&text, place).into_iter().map(|it| it.text).collect()
    }

    #[test]
    fn what_can_stand_at_a_place_is_known() {
        assert_eq!(at("#!ipxe\nimgf^"), ["imgfetch", "imgfree"]);
        assert_eq!(at("dhcp || sanu^"), ["sanunhook"]);
        assert_eq!(at(":a iss^"), ["isset"]);
        assert_eq!(at("chain --a^ x"), ["--autofree"]);
        assert_eq!(at("isset ${x} && choose --^"), ["--menu", "--default", "--timeout", "--retimeout", "--keep"]);
        assert_eq!(at("goto b^\n:boot\n:bar\n:c"), ["boot", "bar"]);
        assert_eq!(at("echo ${net0/ma^"), ["mac", "manufacturer"]);
        assert_eq!(at("echo ${mac:hex^"), ["hex", "hexhyp", "hexraw"]);
        assert_eq!(at("set base-url x\nchain ${bas^"), ["base-url"]);
        assert_eq!(at("set hostn^"), ["hostname"]);
        assert_eq!(at("set x hostn^"), [""; 0]);
        assert_eq!(at("# imgf^"), [""; 0]);
        assert_eq!(completions("ä", 1), []);
    }

    #[test]
    fn what_stands_at_a_place_is_described() {
        let text = "#!ipxe\nconsole --x 5 ${net0/mac}\n:a chain --quiet b";
        let script = ParsedScript::parse(text, Templates::None);
        let of = |word: &str| hover(&script, text.find(word).unwrap()).map(|it| it.text).unwrap_or_default();
        assert!(of("console").starts_with("`console` configures the console.\n\nBuilds need `CONSOLE_CMD` for BIOS; "));
        assert_eq!(of("--x"), "`--x` of `console`: a number");
        assert_eq!(of("${net0/mac}"), "`mac`: MAC address");
        assert_eq!(of("--quiet"), "`--quiet` of `chain`: no value (new after 2.0.0)");
        assert_eq!((of(":a"), of("5"), of("#!ipxe")), (String::new(), String::new(), String::new()));
    }

    #[test]
    fn a_label_is_found_from_where_it_is_named() {
        let text = "#!ipxe\nitem a A\ngoto b\n:a\n:b\n";
        let script = ParsedScript::parse(text, Templates::None);
        let of = |word: &str| definition(&script, text.find(word).unwrap()).map(|span| &text[span.start..span.end]);
        assert_eq!((of("a A"), of("b\n")), (Some(":a"), Some(":b")));
        assert_eq!((of("item"), of("goto"), of("A\n")), (None, None, None));
    }
}
