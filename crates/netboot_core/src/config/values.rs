//! Checks of the values that replace variables in a script, so that data never becomes code.
//!
//! iPXE splits a line into words at whitespace before it expands `${settings}`. The words `||`, `&&` and `;` end a
//! command, `#` at the start of a word begins a comment, a backslash at the end joins the next line, and every word
//! that begins with `-` is an option until the first word that does not (`src/core/exec.c`, `src/core/getopt.c` and
//! `src/image/script.c` of iPXE v2.0.0). iPXE has no quoting, so a value that cannot be inserted is refused.

use std::collections::BTreeSet;

use netboot_script::CommandSpec;
use netboot_script::syntax::{ParsedScript, Templates};

use crate::base::quote::is_control;
use crate::base::secrets;

/// A text that a template has inserted into a script.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Inserted {
    /// The text.
    pub text: String,
    /// Whether the template allows several words.
    pub several: bool,
}

/// A value that would act as code in the script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misuse {
    /// The value.
    pub text: String,
    /// The message: what was found and what was wanted.
    pub message: String,
    /// The suggested remedy.
    pub remedy: String,
}

/// Checks that `value` has no control characters, which could end the line or control the terminal. Returns a message
/// and a remedy otherwise.
fn check(value: &str) -> Result<(), (String, String)> {
    let Some(c) = value.chars().find(|c| is_control(*c)) else { return Ok(()) };
    let name = if c == '\n' || c == '\r' { "a line break" } else { "a control character" };
    let message = format!("found `{}`, with {name}, wanted one line of text", secrets::shown(value));
    Err((message, "remove it: a variable cannot have more than one line, nor tabs".into()))
}

/// Marks a dash or a colon that begins a word of a value. Unicode assigns no character to this code point or to the
/// next two.
const MARK: char = '\u{fdd0}';

/// Marks the start of a value that begins with whitespace.
const BEGIN: char = '\u{fdd1}';

/// Marks the end of a value that ends with whitespace.
const END: char = '\u{fdd2}';

/// Returns `value` with a mark before each word that begins with a dash or a colon, and at each end that is whitespace.
#[must_use]
pub fn marked(value: &str) -> String {
    let blank = |c: Option<char>| c.is_some_and(|c| c.is_ascii_whitespace());
    let (mut text, mut begins) = (String::with_capacity(value.len()), true);
    text.extend(blank(value.chars().next()).then_some(BEGIN));
    for c in value.chars() {
        if begins && matches!(c, '-' | ':') {
            text.push(MARK);
        }
        text.push(c);
        begins = c.is_ascii_whitespace();
    }
    text.extend(blank(value.chars().next_back()).then_some(END));
    text
}

/// Checks whether [`marked`] marks anything in `value`.
#[must_use]
pub fn has_marks(value: &str) -> bool {
    let blank = |c: char| c.is_ascii_whitespace();
    value.starts_with(blank)
        || value.ends_with(blank)
        || value.split_ascii_whitespace().any(|word| word.starts_with(['-', ':']))
}

/// Finds the values in `inserted` that would act as code in the script `text`. `marks` is the same script rendered with
/// [`marked`] values.
#[must_use]
pub fn misuses(text: &str, marks: &str, inserted: &[Inserted]) -> Vec<Misuse> {
    let plain = |it: &&Inserted| !is_plain(&it.text);
    let mut strange = inserted.iter().filter(plain).peekable();
    if strange.peek().is_none() {
        return Vec::new();
    }
    let parts = Parts::of(text, marks);
    let misuse = |it: &Inserted| {
        let found = |(message, remedy)| Misuse { text: it.text.clone(), message, remedy };
        fault(&parts, it).or_else(|| joined(&parts, &it.text)).map(found)
    };
    strange.filter_map(misuse).collect()
}

/// Checks whether `value` is a single word without special characters, as most values are.
fn is_plain(value: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"|&;".contains(&byte);
    value.bytes().all(plain) && !value.starts_with(['#', '-', ':']) && !value.ends_with('\\')
}

/// A script, parsed once for all its values.
struct Parts<'t> {
    script: &'t str,
    marks: &'t str,
    /// The commands as lists of words.
    commands: Vec<Vec<String>>,
    /// Options that values contribute to, each as the rest of its word from the mark on.
    options: BTreeSet<String>,
    /// The lines that begin with a label.
    labels: Vec<&'t str>,
    /// The marked lines that begin with a label from a value.
    own_labels: Vec<String>,
}

impl<'t> Parts<'t> {
    fn of(script: &'t str, marks: &'t str) -> Self {
        let words = marks.replace([BEGIN, END], "");
        let own = format!("{MARK}:");
        let parsed = ParsedScript::parse(&words, Templates::None);
        let own_labels = parsed.lines.iter().map(|line| parsed.logical_text(line).trim_start().to_owned());
        Self {
            script,
            marks,
            commands: commands(script).collect(),
            options: commands(&words).flat_map(|command| options(&command)).collect(),
            labels: script.lines().map(str::trim_start).filter(|line| line.starts_with(':')).collect(),
            own_labels: own_labels.filter(|line| line.starts_with(&own)).collect(),
        }
    }

    /// Checks whether the marked `start` of a value is, or continues, the dashes that begin an option. The dashes can
    /// come from the script or from another value.
    fn is_option(&self, start: &str) -> bool {
        let start = format!("{MARK}{start}");
        self.options.range(start.clone()..).next().is_some_and(|option| option.starts_with(&start))
    }
}

fn fault(parts: &Parts<'_>, it: &Inserted) -> Option<(String, String)> {
    if let Err(fault) = check(&it.text) {
        return Some(fault);
    }
    let value = it.text.as_str();
    let shown = secrets::shown(value);
    let words: Vec<&str> = value.split_ascii_whitespace().collect();
    let in_script = "write what is code into the script itself, between `{% if %}` where not every site has it";
    // At either end of the value, adjacent text of the script or of another value can turn a word into an operator.
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
    let comments = |word: &str| word.starts_with('#') && begins_word(parts.script, word);
    if let Some(word) = words.iter().find(|word| comments(word)) {
        return Some((format!("found `{shown}`, where iPXE would begin a comment at `{word}`"), in_script.into()));
    }
    if value.ends_with('\\') && ends_line(parts.script, value) {
        let remedy = "write it without the last backslash, or something after it in the script";
        return Some((format!("found `{shown}`, whose backslash would join the next line"), remedy.into()));
    }
    if words.iter().any(|word| word.starts_with('-') && parts.is_option(word)) {
        return Some((format!("found `{shown}`, which iPXE would take for an option"), in_script.into()));
    }
    let several = value.contains(|c: char| c.is_ascii_whitespace());
    if several
        && !it.several
        && !words.is_empty()
        && parts.commands.iter().any(|command| !shows(command) && has(command, &words))
    {
        let remedy = if value.contains("://") {
            "remove the spaces, or write each as %20"
        } else {
            "remove the spaces, or write `{{ name | line }}` in the script, which lets a variable be several words"
        };
        return Some((format!("found `{shown}`, wanted one word"), remedy.into()));
    }
    None
}

/// Finds code that only the script and `value` together make: words split at whitespace of the value, labels, and
/// commands after labels.
fn joined(parts: &Parts<'_>, value: &str) -> Option<(String, String)> {
    let shown = secrets::shown(value);
    let blank = |c: char| c.is_ascii_whitespace();
    let in_label = |line: &&str| line.match_indices(value).any(|(at, _)| !line[..at].contains(blank));
    if value.contains(blank) && parts.labels.iter().any(in_label) {
        return Some((format!("found `{shown}`, wanted one word"), "remove the spaces".into()));
    }
    if !has_marks(value) {
        return None;
    }
    let (own, marks) = (marked(value), parts.marks);
    let apart = |at: usize| apart(&marks[..at], &own, &marks[at + own.len()..]);
    if let Some(made) = marks.match_indices(&own).find_map(|(at, _)| apart(at)) {
        return Some((format!("found `{shown}`, {made}"), "remove the space at its end".into()));
    }
    let word = own.replace([BEGIN, END], "");
    let word = word.trim_start();
    let labels = value.trim_start().starts_with(':') && parts.own_labels.iter().any(|line| line.starts_with(word));
    let remedy = "write the label into the script itself";
    labels.then(|| (format!("found `{shown}`, which iPXE would take for a label"), remedy.into()))
}

/// Finds the code that whitespace at the ends of the marked value `own` makes of the adjacent words `before` and
/// `after` it in the script.
fn apart(before: &str, own: &str, after: &str) -> Option<String> {
    let blank = |c: &char| c.is_ascii_whitespace();
    let text = |c: &char| ![MARK, BEGIN, END].contains(c);
    let last: Vec<char> = before.chars().rev().filter(text).take_while(|c| !blank(c)).collect();
    let last: String = last.into_iter().rev().collect();
    let next: String = after.chars().filter(text).take_while(|c| !blank(c)).collect();
    let own_line = before.chars().rev().filter(text).take_while(|c| *c != '\n').all(|c| blank(&c));
    let empty = own.chars().filter(text).all(|c| blank(&c));
    let operator = |word: &str| ["||", "&&", ";"].contains(&word);
    if own.starts_with(BEGIN) && operator(&last) {
        return Some(format!("where iPXE would end a command at `{last}`"));
    }
    match next.as_str() {
        _ if !own.ends_with(END) => None,
        word if operator(word) => Some(format!("where iPXE would end a command at `{word}`")),
        word if word.starts_with('#') => Some(format!("where iPXE would begin a comment at `{word}`")),
        word if word.starts_with(':') && own_line && empty => Some(format!("where iPXE would find the label `{word}`")),
        _ => None,
    }
}

/// Splits `script` into commands as lists of words.
fn commands(script: &str) -> impl Iterator<Item = Vec<String>> {
    let parsed = ParsedScript::parse(script, Templates::None);
    let commands = parsed.lines.into_iter().flat_map(|line| line.commands);
    commands.map(|command| command.words.into_iter().map(|word| word.text.into_owned()).collect())
}

fn begins_word(script: &str, start: &str) -> bool {
    script.split_ascii_whitespace().any(|word| word.starts_with(start))
}

fn ends_line(script: &str, end: &str) -> bool {
    script.lines().any(|line| line.ends_with(end))
}

/// Checks whether `command` prints its words, so that their number does not matter.
fn shows(command: &[String]) -> bool {
    command.first().is_some_and(|name| netboot_script::shows(name))
}

/// Checks whether `words` occur consecutively in `command`, even if script text directly adjoins the first or last
/// word.
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

/// Returns the options of a marked `command` that values contribute to, each from its mark on.
fn options(command: &[String]) -> Vec<String> {
    let spec = command.first().and_then(|name| CommandSpec::of(name));
    let mut options = Vec::new();
    let mut before: Option<String> = None;
    for word in command.iter().skip(1) {
        let dashes = word.find(|c| c != '-' && c != MARK).unwrap_or(word.len());
        let marks = word.match_indices(MARK).filter(|(at, _)| *at < dashes);
        options.extend(marks.map(|(at, _)| word[at..].to_owned()));
        let word = word.replace(MARK, "");
        // The word after an option can be its value.
        let takes_next = |option: &str| spec.map_or(!option.contains('='), |spec| spec.takes_next(option));
        let is_value = before.is_some_and(|before| before.starts_with('-') && takes_next(&before));
        if word == "--" || !(is_value || word.starts_with('-')) {
            break;
        }
        before = Some(word);
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Describes the errors of inserting `value` at the `@` in `script`.
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
    fn what_the_script_and_a_value_make_together_is_refused() {
        for (script, value, made) in [
            ("echo hi@|| shell", "q ", "where iPXE would end a command at `||`"),
            ("echo hi@; shell", "q ", "where iPXE would end a command at `;`"),
            ("echo hi@&& shell", "q ", "where iPXE would end a command at `&&`"),
            ("echo hi@||\nshell", " ", "where iPXE would end a command at `||`"),
            ("echo ||@", " q ", "where iPXE would end a command at `||`"),
            ("echo hi@#foo", "q ", "where iPXE would begin a comment at `#foo`"),
            ("  @:y", " ", "where iPXE would find the label `:y`"),
        ] {
            assert_eq!(told(script, value, true), format!("found `{value}`, {made}"), "{script}");
        }
        for (script, value) in [("@y", ":"), ("@", ":y"), ("  @ shell", " :y"), ("echo\n@@", ":"), ("@", ":")] {
            assert_eq!(told(script, value, false), format!("found `{value}`, which iPXE would take for a label"));
        }
        for script in [":@", "echo x\n  :a@"] {
            assert_eq!(told(script, "y shell", true), "found `y shell`, wanted one word", "{script}");
        }
        for (script, value) in [
            ("echo @ || shell", "q "),
            ("echo hi @", " q"),
            ("echo x@", ":y"),
            ("echo \\\n@", ":y"),
            (":@", "y"),
            ("chain http://a@/", ":80"),
            ("echo hi@|| shell", "q"),
            ("echo an answer@ from", " with option 17"),
            ("echo @- @: x", "q "),
            ("echo x@#foo", "q"),
        ] {
            assert_eq!(told(script, value, false), "", "{script} {value:?}");
        }
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
        // Options that the script or another value begins or continues, even if the script has the same option
        // elsewhere.
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
