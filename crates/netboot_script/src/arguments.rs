//! The options and arguments of a command, as iPXE's `getopt_long()` and `reparse_options()` read them.
//!
//! Options come before the first word that is none. `--name value`, `--name=value`, `-n value` and `-nvalue` are the
//! same. A value must not be a word that begins with a hyphen, unless it follows `=` or the short name directly. `--`
//! ends the options (`src/core/getopt.c` and `src/core/parseopt.c` of iPXE v2.0.0).

use crate::commands::{CommandSpec, OptionSpec, OptionValue};
use crate::syntax::{ScriptWord, Span};

/// The words of a command, after its name.
#[derive(Debug)]
pub struct Arguments<'c, 't> {
    /// The options that the command has.
    pub options: Vec<UsedOption<'c>>,
    /// Words that iPXE takes for options and refuses.
    pub problems: Vec<OptionProblem>,
    /// The words that are not options.
    pub positional: &'c [ScriptWord<'t>],
    /// Whether the number of positional words is the same in every run.
    pub counted: bool,
    /// Whether it asks for help, and does nothing else.
    pub help: bool,
}

/// An option with its value.
#[derive(Debug, Clone, Copy)]
pub struct UsedOption<'c> {
    /// The option.
    pub spec: &'static OptionSpec,
    /// The bytes of its name.
    pub span: Span,
    /// Its value, with its bytes.
    pub value: Option<(&'c str, Span)>,
    /// Whether the value is the same in every run.
    pub plain: bool,
}

/// A word that iPXE refuses among the options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionProblem {
    /// The bytes of the word.
    pub span: Span,
    /// The kind of the problem.
    pub kind: OptionProblemKind,
}

/// Why iPXE refuses a word among the options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OptionProblemKind {
    /// The command has no such option.
    Unknown(String),
    /// The option needs a value.
    NoValue(&'static str),
    /// The option takes no value.
    NeedlessValue(&'static str),
}

impl CommandSpec {
    /// Finds the option with the long name `long`.
    #[must_use]
    pub fn option(&self, long: &str) -> Option<&'static OptionSpec> {
        self.options.iter().find(|option| option.long == long)
    }

    /// Checks whether the word after `option`, a word of this command, is its value.
    #[must_use]
    pub fn takes_next(&self, option: &str) -> bool {
        let spec = match option.strip_prefix("--") {
            Some(long) => self.option(long),
            None => match option.strip_prefix('-').map(|letters| letters.chars().collect::<Vec<_>>()).as_deref() {
                Some([short]) => self.options.iter().find(|option| option.short == *short),
                _ => return false,
            },
        };
        spec.map_or_else(|| !option.contains('='), |spec| spec.value != OptionValue::Flag)
    }
}

impl<'c, 't> Arguments<'c, 't> {
    /// Reads `words`, which follow the name of the command `spec`.
    #[must_use]
    pub fn read(spec: &CommandSpec, words: &'c [ScriptWord<'t>]) -> Self {
        let mut arguments =
            Self { options: Vec::new(), problems: Vec::new(), positional: words, counted: true, help: false };
        let mut reader = Reader { spec, words, at: 0 };
        while let Some(word) = reader.words.get(reader.at).filter(|word| word.text.starts_with('-')) {
            reader.at += 1;
            if word.text == "--" {
                break;
            }
            if let Some(long) = word.text.strip_prefix("--") {
                reader.long(word, long, &mut arguments);
            } else {
                reader.short(word, &mut arguments);
            }
        }
        arguments.positional = &words[reader.at.min(words.len())..];
        // A template can put several words, or none, in place of one.
        arguments.counted = !words.iter().any(|word| word.template);
        arguments
    }

    /// Returns the option with the long name `long`.
    #[must_use]
    pub fn option(&self, long: &str) -> Option<&UsedOption<'c>> {
        self.options.iter().find(|option| option.spec.long == long)
    }
}

struct Reader<'s, 'c, 't> {
    spec: &'s CommandSpec,
    words: &'c [ScriptWord<'t>],
    /// The next word.
    at: usize,
}

impl<'c, 't> Reader<'_, 'c, 't> {
    fn long(&mut self, word: &'c ScriptWord<'t>, long: &'c str, out: &mut Arguments<'c, 't>) {
        let (name, inline) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (long, None),
        };
        if name == "help" {
            out.help = true;
            return;
        }
        let Some(spec) = self.spec.option(name) else {
            // A name that is computed can be that of any option.
            if word.is_plain() || inline.is_some() && !name.contains("${") && !name.contains("{{") {
                let kind = OptionProblemKind::Unknown(format!("--{name}"));
                out.problems.push(OptionProblem { span: word.span, kind });
            }
            return;
        };
        let span = Span { start: word.span.start, end: (word.span.start + 2 + name.len()).min(word.span.end) };
        match (spec.value, inline) {
            (OptionValue::Flag, Some(_)) => {
                let kind = OptionProblemKind::NeedlessValue(spec.long);
                out.problems.push(OptionProblem { span: word.span, kind });
            }
            (OptionValue::Flag, None) => out.options.push(UsedOption { spec, span, value: None, plain: true }),
            (_, Some(value)) => {
                let value = Some((value, Span { start: (span.end + 1).min(word.span.end), end: word.span.end }));
                out.options.push(UsedOption { spec, span, value, plain: word.is_plain() });
            }
            (_, None) => self.next_value(word, span, spec, out),
        }
    }

    /// Takes the next word as the value of the option `spec`.
    fn next_value(
        &mut self,
        word: &'c ScriptWord<'t>,
        span: Span,
        spec: &'static OptionSpec,
        out: &mut Arguments<'c, 't>,
    ) {
        match self.words.get(self.at).filter(|next| !next.text.starts_with('-')) {
            Some(next) => {
                self.at += 1;
                let value = Some((&*next.text, next.span));
                out.options.push(UsedOption { spec, span, value, plain: next.is_plain() });
            }
            None => {
                let kind = OptionProblemKind::NoValue(spec.long);
                out.problems.push(OptionProblem { span: word.span, kind });
            }
        }
    }

    fn short(&mut self, word: &'c ScriptWord<'t>, out: &mut Arguments<'c, 't>) {
        let letters = &word.text[1..];
        if !word.is_plain() && letters.starts_with(['$', '{', '<']) {
            return;
        }
        for (at, letter) in letters.char_indices() {
            if letter == 'h' {
                out.help = true;
                return;
            }
            let Some(spec) = self.spec.options.iter().find(|option| option.short == letter) else {
                let kind = OptionProblemKind::Unknown(format!("-{letter}"));
                out.problems.push(OptionProblem { span: word.span, kind });
                return;
            };
            let span = word.span;
            if spec.value == OptionValue::Flag {
                out.options.push(UsedOption { spec, span, value: None, plain: true });
                continue;
            }
            let rest = &letters[at + letter.len_utf8()..];
            if rest.is_empty() {
                self.next_value(word, span, spec, out);
            } else {
                let start = word.span.start + 1 + at + letter.len_utf8();
                let value = Some((rest, Span { start: start.min(word.span.end), end: word.span.end }));
                out.options.push(UsedOption { spec, span, value, plain: word.is_plain() });
            }
            return;
        }
        if letters.is_empty() {
            out.problems.push(OptionProblem { span: word.span, kind: OptionProblemKind::Unknown("-".to_owned()) });
        }
    }
}

/// Parses a number as `strtoul()` does: decimal, hexadecimal after `0x`, or octal after `0`.
pub(crate) fn number(text: &str) -> Option<u64> {
    let text = text.trim_start_matches(|c: char| c.is_ascii_whitespace());
    let digits = text.strip_prefix('-').or_else(|| text.strip_prefix('+')).unwrap_or(text);
    let (digits, radix) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if digits.len() > 1 && digits.starts_with('0') => (&digits[1..], 8),
        None => (digits, 10),
    };
    // No digits at all after a sign or `0x` are zero, and what is too large is a number all the same.
    let is_number = !text.is_empty() && digits.chars().all(|digit| digit.is_digit(radix));
    is_number.then(|| if digits.is_empty() { 0 } else { u64::from_str_radix(digits, radix).unwrap_or(u64::MAX) })
}

/// Checks whether iPXE refuses a command because of its words, which are those after expansion, the name first.
#[must_use]
pub fn is_refused(words: &[String]) -> bool {
    let Some((name, words)) = words.split_first() else { return false };
    let Some(spec) = CommandSpec::of(name) else { return false };
    let words: Vec<ScriptWord<'_>> = words.iter().map(|word| ScriptWord::plain(word)).collect();
    let Arguments { options, problems, positional, help, .. } = Arguments::read(spec, &words);
    let is_no_number = |option: &UsedOption<'_>| {
        let is_numeric = matches!(option.spec.value, OptionValue::Number | OptionValue::Milliseconds);
        is_numeric && option.value.is_some_and(|(value, _)| number(value).is_none())
    };
    let is_counted = (spec.min..=spec.max).contains(&positional.len());
    help || !problems.is_empty() || !is_counted || options.iter().any(is_no_number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::{ParsedScript, Templates};

    /// Describes the arguments of the only command in `text`.
    fn of(text: &str) -> (Vec<String>, Vec<OptionProblemKind>, Vec<String>) {
        let script = ParsedScript::parse(text, Templates::Opaque);
        let (_, command) = script.commands().next().unwrap();
        let spec = CommandSpec::of(command.name().unwrap()).unwrap();
        let arguments = Arguments::read(spec, command.arguments());
        let options = arguments.options.iter().map(|option| {
            let value = option.value.map(|(value, span)| {
                assert_eq!(value, &text[span.start..span.end]);
                format!("={value}")
            });
            format!("{}{}", option.spec.long, value.unwrap_or_default())
        });
        let positional = arguments.positional.iter().map(|word| word.text.to_string());
        let problems = arguments.problems.iter().map(|problem| problem.kind.clone());
        (options.collect(), problems.collect(), positional.collect())
    }

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn options_are_read_as_getopt_reads_them() {
        for (text, options, positional) in [
            (
                "chain --autofree --name a http://b c --replace",
                &["autofree", "name=a"][..],
                &["http://b", "c", "--replace"][..],
            ),
            ("prompt --timeout=5000 -k0x02 text", &["timeout=5000", "key=0x02"], &["text"]),
            ("chain -ar -n a b", &["autofree", "replace", "name=a"], &["b"]),
            ("item --gap -- --- x", &["gap"], &["---", "x"]),
            ("echo -n -- -x", &["n"], &["-x"]),
            ("dhcp ${x} --timeout 5", &[], &["${x}", "--timeout", "5"]),
            ("inc x -1", &[], &["x", "-1"]),
        ] {
            assert_eq!(of(text), (strings(options), vec![], strings(positional)), "{text}");
        }
    }

    #[test]
    fn numbers_are_read_as_c_reads_them() {
        assert_eq!([number("0x10"), number("010"), number("0"), number("-1")], [Some(16), Some(8), Some(0), Some(1)]);
        assert_eq!([number("0x"), number("-"), number(&"9".repeat(30))], [Some(0), Some(0), Some(u64::MAX)]);
        assert_eq!([number(""), number("5s"), number("09"), number("0xg")], [None; 4]);
    }

    #[test]
    fn a_command_is_refused_because_of_its_words() {
        let refused = |line: &str| is_refused(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        for line in
            ["sanboot --no-such-option", "shell x", "reboot --help", "poweroff now", "sanboot --drive abc", "goto"]
        {
            assert!(refused(line), "{line}");
        }
        for line in ["sanboot --drive 0x80", "sanboot iscsi:a iscsi:b", "shell", "reboot --warm", "nothing x"] {
            assert!(!refused(line), "{line}");
        }
    }

    #[test]
    fn what_getopt_refuses_is_found() {
        use OptionProblemKind::{NeedlessValue, NoValue, Unknown};
        for (text, problem) in [
            ("echo ---", Unknown("---".into())),
            ("echo -", Unknown("-".into())),
            ("dhcp --timeou 5", Unknown("--timeou".into())),
            ("echo -v x", Unknown("-v".into())),
            ("chain --autofree=1 x", NeedlessValue("autofree")),
            ("chain --name --replace x", NoValue("name")),
            ("prompt --timeout", NoValue("timeout")),
        ] {
            assert_eq!(of(text).1, [problem], "{text}");
        }
        assert_eq!(of("echo --${x}").1, []);
        assert_eq!(of("chain --{{ x }} -{{ y }} z").1, []);
    }
}
