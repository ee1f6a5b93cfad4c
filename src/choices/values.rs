//! What may be put into a script in place of a variable, so that data never becomes code.
//!
//! iPXE splits a line into words at blanks, before it computes `${settings}`. The words `||`, `&&` and `;` end a
//! command, `#` at the start of a word begins a comment, a backslash at the end joins the next line, and a word that
//! begins with `-` is an option until the first one that does not (`src/core/exec.c`, `src/core/getopt.c` and
//! `src/image/script.c` of iPXE v2.0.0). There are no quotes, so what cannot be put is refused.

use super::{address, rules};
use crate::quote::is_control;

/// What a template has put into a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inserted {
    /// The text.
    pub text: String,
    /// Whether the template says that it may be several words.
    pub several: bool,
}

/// A value that would not be one in the script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misuse {
    /// The value.
    pub text: String,
    /// What was found and what was wanted.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

/// Finds a character that moves the terminal, or ends the line: a message and a remedy.
fn check(value: &str) -> Result<(), (String, String)> {
    let Some(c) = value.chars().find(|c| is_control(*c)) else { return Ok(()) };
    let name = if c == '\n' || c == '\r' { "a line break" } else { "a control character" };
    let message = format!("found `{}`, with {name}, wanted one line of text", address::shown(value));
    Err((message, "take it out: a variable cannot have more than one line, nor tabs".into()))
}

/// Marks a dash that begins a word of a value. Unicode has no character here.
const MARK: char = '\u{fdd0}';

/// `value` with a mark before each of its words that begins with a dash.
#[must_use]
pub fn marked(value: &str) -> String {
    let (mut text, mut begins) = (String::with_capacity(value.len()), true);
    for c in value.chars() {
        if begins && c == '-' {
            text.push(MARK);
        }
        text.push(c);
        begins = c.is_ascii_whitespace();
    }
    text
}

/// Whether a word of `value` begins with a dash.
#[must_use]
pub fn may_be_option(value: &str) -> bool {
    value.split_ascii_whitespace().any(|word| word.starts_with('-'))
}

/// Finds the values of all that was `inserted` into the script `text` that would be code there. `marks` is the same
/// script with [`marked`] values.
#[must_use]
pub fn misuses(text: &str, marks: &str, inserted: &[Inserted]) -> Vec<Misuse> {
    let misuse = |it: &Inserted| {
        let found = |(message, remedy)| Misuse { text: it.text.clone(), message, remedy };
        fault(text, marks, it).map(found)
    };
    inserted.iter().filter_map(misuse).collect()
}

fn fault(script: &str, marks: &str, it: &Inserted) -> Option<(String, String)> {
    // Most values are one word, which begins and ends as words do.
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"|&;".contains(&byte);
    if it.text.bytes().all(plain) && !it.text.starts_with(['#', '-']) && !it.text.ends_with('\\') {
        return None;
    }
    if let Err(fault) = check(&it.text) {
        return Some(fault);
    }
    let value = it.text.as_str();
    let shown = address::shown(value);
    let words: Vec<&str> = value.split_ascii_whitespace().collect();
    let in_script = "write what is code into the script itself, between `{% if %}` where not every site has it";
    // At the ends of the value, the script or another value may make an operator of it.
    let glued = |index: usize| {
        index == 0 && !value.starts_with(|c: char| c.is_ascii_whitespace())
            || index + 1 == words.len() && !value.ends_with(|c: char| c.is_ascii_whitespace())
    };
    let operator = |(index, word): &(usize, &&str)| {
        ["||", "&&", ";"].contains(*word) || glued(*index) && word.chars().all(|c| "|&;".contains(c))
    };
    if let Some((_, word)) = words.iter().enumerate().find(operator) {
        return Some((format!("found `{shown}`, where iPXE would end a command at `{word}`"), in_script.into()));
    }
    let comments = |word: &str| word.starts_with('#') && begins_word(script, word);
    if let Some(word) = words.iter().find(|word| comments(word)) {
        return Some((format!("found `{shown}`, where iPXE would begin a comment at `{word}`"), in_script.into()));
    }
    if value.ends_with('\\') && ends_line(script, value) {
        let remedy = "write it without the last backslash, or something after it in the script";
        return Some((format!("found `{shown}`, whose backslash would join the next line"), remedy.into()));
    }
    let is_option = |word: &&&str| word.starts_with('-') && commands(marks).any(|command| is_option(&command, word));
    if words.iter().any(|word| is_option(&word)) {
        return Some((format!("found `{shown}`, which iPXE would take for an option"), in_script.into()));
    }
    let several = value.contains(|c: char| c.is_ascii_whitespace());
    if several
        && !it.several
        && !words.is_empty()
        && commands(script).any(|command| !shows(&command) && has(&command, &words))
    {
        let remedy = if value.contains("://") {
            "take the blanks out, or write each as %20"
        } else {
            "take the blanks out, or write `{{ name | line }}` in the script, which lets a variable be several words"
        };
        return Some((format!("found `{shown}`, wanted one word"), remedy.into()));
    }
    None
}

/// The commands of `script`, each as its words.
fn commands(script: &str) -> impl Iterator<Item = Vec<String>> {
    rules::logical_lines(script).flat_map(|(_, line)| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let commands = rules::commands(&words).map(|words| words.iter().map(|word| (*word).to_owned()).collect());
        commands.collect::<Vec<Vec<String>>>()
    })
}

fn begins_word(script: &str, start: &str) -> bool {
    script.split_ascii_whitespace().any(|word| word.starts_with(start))
}

fn ends_line(script: &str, end: &str) -> bool {
    script.lines().any(|line| line.ends_with(end))
}

/// Whether `command` shows its words to a person, so that it does not matter how many they are.
fn shows(command: &[String]) -> bool {
    command.first().is_some_and(|name| rules::shows(name))
}

/// Whether `words` stand in `command` one after another, with whatever the script has right before and after them.
fn has(command: &[String], words: &[&str]) -> bool {
    command.windows(words.len()).any(|window| {
        let last = words.len() - 1;
        window.iter().zip(words).enumerate().all(|(index, (found, word))| match index {
            0 => found.ends_with(word),
            index if index == last => found.starts_with(word),
            _ => found == word,
        })
    })
}

/// Whether `start`, the beginning of a marked value, is or continues the dashes that begin an option of `command`, be
/// they of the script or of another value. Nothing before it ends the options.
fn is_option(command: &[String], start: &str) -> bool {
    let start = format!("{MARK}{start}");
    let words: Vec<String> = command.iter().map(|word| word.replace(MARK, "")).collect();
    command.iter().enumerate().skip(1).any(|(index, word)| {
        let before = &words[1..index];
        let free = before.iter().enumerate().any(|(place, word)| {
            // The word after an option may be its value.
            let is_value = place > 0 && before[place - 1].starts_with('-') && !rules::is_flag(&before[place - 1]);
            word == "--" || !(is_value || word.starts_with('-'))
        });
        let dashes = word.find(|c| c != '-' && c != MARK).unwrap_or(word.len());
        let begins = word.match_indices(&start).any(|(at, _)| at < dashes);
        begins && !free
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with putting `value` where `script` has `@`.
    fn told(script: &str, value: &str, several: bool) -> String {
        let inserted = [Inserted { text: value.into(), several }];
        let text = |value: &str| format!("#!ipxe\n{}\n", script.replace('@', value));
        let misuses = misuses(&text(value), &text(&marked(value)), &inserted);
        misuses.iter().map(|misuse| misuse.message.as_str()).collect()
    }

    #[test]
    fn what_would_be_code_is_refused_wherever_it_stands() {
        for script in ["chain @", "echo @", "kernel x @ y", "set x a@b", "# @"] {
            for value in ["x ||\nchain http://198.51.100.1/ ||\n#", "\u{1b}[2J", "a\tb", "a\u{85}"] {
                assert!(told(script, value, true).ends_with("wanted one line of text"), "{script} {value:?}");
            }
            for value in ["||", "a || shell", "a && b", "; b", "|", "a |", "& b"] {
                assert!(told(script, value, true).contains("would end a command at"), "{script} {value:?}");
            }
        }
        assert_eq!(told("chain @", "a #b", true), "found `a #b`, where iPXE would begin a comment at `#b`");
        assert_eq!(told("echo hello @", "a\\", false), "found `a\\\\`, whose backslash would join the next line");
    }

    #[test]
    fn values_as_people_have_them_are_taken() {
        for (script, value) in [
            ("chain @", "http://192.0.2.1/${net0/mac:hexhyp}.ipxe?a=b&c=d;e#f"),
            ("chain http://192.0.2.1/@", "#part"),
            ("chain http://192.0.2.1/node@.ipxe", "-a"),
            ("chain x@ y", "a\\"),
            ("echo Welcome to @!", "rack 1, row 2"),
            ("item --gap -- @", "- choose -"),
            ("menu @", "you&me: it's ok"),
            ("menu @", "Research & Development | left | right"),
            ("kernel http://192.0.2.1/k @", "-s"),
            ("initrd --name main -- @", "-x"),
            ("chain --autofree --timeout=5 http://192.0.2.1/k @", "-s"),
            ("chain x # @", "two words"),
        ] {
            assert_eq!(told(script, value, false), "", "{script} {value}");
        }
        assert_eq!(told("kernel x @", "console=ttyS0 -- -s", true), "");
    }

    #[test]
    fn a_variable_is_one_word_unless_its_template_says_otherwise() {
        assert_eq!(told("kernel x @", "console=ttyS0 quiet", false), "found `console=ttyS0 quiet`, wanted one word");
        assert_eq!(told("chain @/x && exit ||", "http://a /b", false), "found `http://a /b`, wanted one word");
        assert_eq!(told("echo to @\nchain @", "a ", false), "found `a `, wanted one word");
        assert!(told("chain --name @ x", "a --replace http://b", true).ends_with("for an option"));
        for script in ["chain @ ||", "chain --autofree @", "initrd --name main @", "echo @"] {
            assert_eq!(told(script, "--replace", false), "found `--replace`, which iPXE would take for an option");
        }
        // What another value, or the script, begins or goes on with; also where the script has the same option elsewhere.
        for (script, value) in [
            ("chain @replace http://192.0.2.1/x", "--"),
            ("chain @-replace http://192.0.2.1/x", "-"),
            ("chain -@ http://192.0.2.1/x", "-replace"),
            ("chain --autofree @timeout=5 x", "--"),
            ("chain @eplace x", "--r"),
            ("chain --replace x || chain @replace x", "--"),
            ("# --replace\nchain @-replace x", "-"),
        ] {
            let found = format!("found `{value}`, which iPXE would take for an option");
            assert_eq!(told(script, value, false), found, "{script}");
        }
        assert_eq!(told("chain --timeout=@ x", "-5", false), "");
        assert_eq!(told("chain --autofree --name x http://192.0.2.1/@", "-", false), "");
    }
}
