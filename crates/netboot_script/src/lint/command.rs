//! Rules about the name, the options and the arguments of a command.

use super::settings::MAX_PREFIXES;
use super::words::is_glued;
use super::{Feature, KnownCommand, Linter, shows};
use crate::arguments::{OptionProblem, OptionProblemKind, UsedOption};
use crate::commands::{Availability, COMMANDS, CommandSpec, IpxeRelease, OptionValue};
use crate::rule::{Rule, Severity};
use crate::syntax::{ScriptWord, Span};

/// The shortest plausible time in milliseconds, the shortest in which a person can answer, and the longest in seconds.
const SHORTEST: u64 = 100;
const SHORTEST_FOR_PEOPLE: u64 = 400;
const LONGEST: u64 = 1000;

impl<'s, 't> Linter<'s, 't> {
    /// Runs the rules about single lines and commands.
    pub(super) fn each_line(&mut self) {
        let script = self.script;
        for line in &script.lines {
            self.words_of(line);
        }
        for (word, conditional) in std::mem::take(&mut self.strange) {
            self.unknown_command(word, conditional);
        }
        let known = std::mem::take(&mut self.known);
        for command in &known {
            self.known_command(command);
        }
        self.known = known;
    }

    fn unknown_command(&mut self, word: &ScriptWord<'_>, conditional: bool) {
        let name = &*word.text;
        // In a template, a word can stand where another line ended.
        let severity = if conditional { Severity::Warning } else { Severity::Error };
        let names = COMMANDS.iter().map(|command| command.name);
        let lower = name.to_ascii_lowercase();
        let colon = name.strip_suffix(':').filter(|label| !label.is_empty());
        let remedy = match self.similar(name, names).or_else(|| CommandSpec::of(&lower).map(|spec| spec.name)) {
            Some(other) => format!("write `{other}`, or see https://ipxe.org/cmd for the commands"),
            None if colon.is_some() => format!("write `:{}` for a label", colon.unwrap_or_default()),
            None => "see https://ipxe.org/cmd for the commands".to_owned(),
        };
        let message = format!("`{name}` is not a command of iPXE");
        let finding = self.report(Rule::UnknownCommand, word.span, message, remedy);
        finding.severity = severity;
        finding.word = Some(name.to_owned());
    }

    fn known_command(&mut self, known: &KnownCommand<'s, 't>) {
        let KnownCommand { name, spec, arguments, .. } = known;
        let line = self.line(known.line);
        let first = &known.command.words[0];
        self.availability(known);
        if spec.since > self.target.ipxe {
            self.version(known, first.span);
        }
        self.feature(line.number, name, spec.availability);
        // `help` does not read its words.
        if *name != "help" {
            for problem in &arguments.problems {
                self.option_problem(known, problem);
            }
        }
        for option in &arguments.options {
            self.option(name, option);
        }
        if arguments.problems.is_empty() && !arguments.help {
            self.count(known);
        }
        self.target_of_goto(known);
        self.late_options(known);
        self.commands_as_arguments(known);
        if let ("sleep", [word]) = (*name, arguments.positional)
            && word.text.parse::<u64>().is_ok_and(|seconds| seconds >= LONGEST)
        {
            let message = format!("`sleep {}` waits for that many seconds, not milliseconds", word.text);
            self.report(Rule::TimeUnit, word.span, message, "write seconds");
        }
        self.fetched(known);
        self.quotes(known);
    }

    /// Reports that the version of iPXE lacks the command.
    fn version(&mut self, known: &KnownCommand<'s, 't>, span: Span) {
        let message = self.newer(&format!("`{}`", known.name), known.spec.since, "the command would fail");
        let severity = Rule::VersionDifference.severity();
        let remedy = "use a newer iPXE, or do without it";
        let finding = self.report(Rule::VersionDifference, span, message, remedy);
        finding.severity = severity;
        finding.word = (known.spec.since == IpxeRelease::Master).then(|| known.name.to_owned());
    }

    /// Returns a message about `what` is new in a later version, and `then` happens in that of the script.
    pub(super) fn newer(&self, what: &str, since: IpxeRelease, then: &str) -> String {
        let since = match since {
            IpxeRelease::Master => "after iPXE 2.0.0".to_owned(),
            since => format!("in iPXE {}", since.as_str()),
        };
        format!("{what} is new {since}, and the script is for {}: {then}", self.target.ipxe.as_str())
    }

    pub(super) fn feature(&mut self, line: usize, name: &str, availability: Availability) {
        if availability != Availability::Always || crate::commands::since(name).is_some() {
            self.out.features.push(Feature { line, name: name.to_owned(), availability });
        }
    }

    fn option_problem(&mut self, known: &KnownCommand<'_, '_>, OptionProblem { span, kind }: &OptionProblem) {
        let name = known.name;
        match kind {
            OptionProblemKind::Unknown(option) => {
                let long = known.spec.options.iter().map(|option| option.long);
                let remedy = match self.similar(option.trim_start_matches('-'), long) {
                    Some(other) => format!("write `--{other}`"),
                    None if shows(name) => "write `--` before text that begins with a hyphen".to_owned(),
                    None => format!("see https://ipxe.org/cmd/{name} for its options"),
                };
                let message = format!("`{name}` has no option `{option}`, so it fails");
                self.report(Rule::UnknownOption, *span, message, remedy);
            }
            OptionProblemKind::NoValue(option) => {
                let message = format!("`--{option}` of `{name}` has no value, so the command fails");
                self.report(Rule::OptionWithoutValue, *span, message, format!("write `--{option} VALUE`"));
            }
            OptionProblemKind::NeedlessValue(option) => {
                let message = format!("`--{option}` of `{name}` takes no value, so the command fails");
                self.report(Rule::OptionWithoutValue, *span, message, format!("write `--{option}`"));
            }
        }
    }

    fn option(&mut self, name: &str, option: &UsedOption<'_>) {
        let long = option.spec.long;
        if option.spec.since > self.target.ipxe {
            let message = self.newer(&format!("`--{long}` of `{name}`"), option.spec.since, "the command would fail");
            self.report(Rule::VersionDifference, option.span, message, "use a newer iPXE, or do without it");
        }
        let Some((value, span)) = option.value else { return };
        if !option.plain {
            // What does not begin as a number is none, whatever a setting in it is.
            let start = value.split(['$', '{', '<']).next().unwrap_or_default();
            let numeric = matches!(option.spec.value, OptionValue::Number | OptionValue::Milliseconds);
            if numeric && number(&format!("{start}0")).is_none() {
                let message = format!("`--{long} {value}` has no number, so `{name}` fails");
                self.report(Rule::OptionWithoutValue, span, message, "write a whole number");
            }
            return;
        }
        let number = number(value);
        match option.spec.value {
            OptionValue::Flag | OptionValue::Text => {}
            OptionValue::Key if value.len() == 1 || number.is_some() => {}
            OptionValue::Number if number.is_some() => {}
            OptionValue::Milliseconds if number.is_some() => {
                let asks = matches!(name, "choose" | "present" | "prompt" | "read");
                let shortest = if asks { SHORTEST_FOR_PEOPLE } else { SHORTEST };
                if number.is_some_and(|time| (1..shortest).contains(&time)) {
                    let message = format!("`--{long} {value}` is {value} milliseconds, hardly more than an instant");
                    let seconds = number.unwrap_or_default() * 1000;
                    self.report(Rule::TimeUnit, span, message, format!("write `--{long} {seconds}` for seconds"));
                }
            }
            _ => {
                let message = format!("`--{long} {value}` has no number, so `{name}` fails");
                self.report(Rule::OptionWithoutValue, span, message, "write a whole number");
            }
        }
    }

    /// Checks the number of words.
    fn count(&mut self, known: &KnownCommand<'_, '_>) {
        let KnownCommand { name, spec, arguments, command, .. } = known;
        // `help` and `time` do not read their words as others do.
        if !arguments.counted || matches!(*name, "help" | "time") {
            return;
        }
        let found = arguments.positional.len();
        let wanted = match (spec.min, spec.max) {
            (min, max) if (min..=max).contains(&found) => return,
            (0, 0) => "none".to_owned(),
            (min, max) if min == max => min.to_string(),
            (min, usize::MAX) => format!("at least {min}"),
            (min, max) => format!("{min} to {max}"),
        };
        let words = if found == 1 { "1 argument" } else { &format!("{found} arguments") };
        let span = match arguments.positional {
            [] => command.words[0].span,
            [first, ..] => Span { start: first.span.start, end: command.span().end },
        };
        let message = format!("`{name}` has {words}, wanted {wanted}, so it fails");
        self.report(Rule::WrongArguments, span, message, format!("see https://ipxe.org/cmd/{name}"));
    }

    fn target_of_goto(&mut self, known: &KnownCommand<'_, '_>) {
        let Some(word) = known.arguments.positional.first().filter(|word| known.name == "goto" && word.is_plain())
        else {
            return;
        };
        let label = &*word.text;
        if self.labels.contains_key(label) || self.unknown || self.could_be_label(label) {
            return;
        }
        let message = format!("jumps to the label `{label}`, which does not exist");
        let bare = label.strip_prefix(':').filter(|bare| self.labels.contains_key(bare));
        let remedy = match bare.or_else(|| self.similar_label(label)) {
            Some(other) => format!("write `goto {other}`, or add the label as `:name` on a line of its own"),
            None => "add the label as `:name` on a line of its own".to_owned(),
        };
        self.report(Rule::MissingLabel, word.span, message, remedy);
    }

    /// Checks whether a label that a template makes could be `label`.
    fn could_be_label(&self, label: &str) -> bool {
        // Templates that make that many labels can make any.
        self.label_prefixes.len() > MAX_PREFIXES || self.label_prefixes.iter().any(|prefix| label.starts_with(prefix))
    }

    fn late_options(&mut self, known: &KnownCommand<'_, '_>) {
        let mut options = known.arguments.positional.iter().skip(1).filter_map(|word| {
            let long = word.text.strip_prefix("--")?.split('=').next()?;
            Some((word, known.spec.option(long)?))
        });
        if let Some((word, option)) = options.next() {
            let name = known.name;
            let message = format!("`--{}` is no option here, but an argument: options come first", option.long);
            self.report(Rule::LateOption, word.span, message, format!("write it directly after `{name}`"));
        }
    }

    /// Finds commands that no operator separates from the command before them.
    fn commands_as_arguments(&mut self, known: &KnownCommand<'_, '_>) {
        let words = known.arguments.positional;
        let name = known.name;
        let takes_images = matches!(name, "boot" | "chain" | "imgexec" | "initrd" | "kernel" | "sanboot" | "sanhook");
        let takes_devices =
            matches!(name, "dhcp" | "ifconf" | "ifopen" | "ifclose" | "iflinkwait" | "ifstat" | "imgfree" | "imgstat");
        let jumps = words.len() > 1 && words[words.len() - 2].text == "goto";
        if !takes_images && !takes_devices && !jumps {
            return;
        }
        for (at, word) in words.iter().enumerate().filter(|(_, word)| word.is_plain()) {
            let text = &*word.text;
            let Some(spec) = CommandSpec::of(text) else { continue };
            // An operator that is part of the word before is a finding of its own.
            if at > 0 && (is_glued(&words[at - 1].text) || matches!(&*words[at - 1].text, "|" | "&")) {
                return;
            }
            let jumps = text == "goto" && words.get(at + 1).is_some_and(|next| self.labels.contains_key(&*next.text));
            let last = at + 1 == words.len();
            let starts =
                matches!(text, "chain" | "dhcp" | "echo" | "goto" | "imgfree" | "iseq" | "isset" | "prompt" | "set");
            let leaves = matches!(text, "goto" | "exit" | "shell" | "reboot" | "poweroff");
            let found = jumps && at + 2 == words.len()
                || match name {
                    _ if takes_devices => true,
                    "boot" | "chain" | "imgexec" | "sanboot" | "sanhook" if at > 0 && leaves => last || jumps,
                    "boot" | "chain" | "imgexec" | "initrd" | "kernel" => at == 1 && starts,
                    _ => false,
                };
            if found {
                let message = format!("`{text}` is an argument of `{name}` here, and no command");
                let remedy = format!("write `||`, `&&` or `;` before `{}`", spec.name);
                self.report(Rule::CommandAsArgument, word.span, message, remedy);
                return;
            }
        }
    }
}

/// Parses a number as `strtoul()` does: decimal, hexadecimal after `0x`, or octal after `0`.
fn number(text: &str) -> Option<u64> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_c_reads_them() {
        assert_eq!([number("0x10"), number("010"), number("0"), number("-1")], [Some(16), Some(8), Some(0), Some(1)]);
        assert_eq!([number("0x"), number("-"), number(&"9".repeat(30))], [Some(0), Some(0), Some(u64::MAX)]);
        assert_eq!([number(""), number("5s"), number("09"), number("0xg")], [None; 4]);
    }
}
