//! Rules about the name, the options and the arguments of a command.

use super::settings::MAX_PREFIXES;
use super::words::is_glued;
use super::{Feature, KnownCommand, Linter, shows};
use crate::arguments::{OptionProblem, OptionProblemKind, UsedOption, number};
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
        if let Some(word) = no_number(known) {
            let message = format!("`{}` is no number, so `{name}` fails", word.text);
            self.report(Rule::WrongArguments, word.span, message, "write a whole number");
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
            let numeric = matches!(option.spec.value, OptionValue::Number | OptionValue::Milliseconds);
            if numeric && !can_be_number(value) {
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
        if !is_miscounted(known) {
            return;
        }
        let found = arguments.positional.len();
        let wanted = match (spec.min, spec.max) {
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
        let Some(word) = self.lost_target(known) else { return };
        let label = &*word.text;
        let message = format!("jumps to the label `{label}`, which does not exist");
        let bare = label.strip_prefix(':').filter(|bare| self.labels.contains_key(bare));
        let remedy = match bare.or_else(|| self.similar_label(label)) {
            Some(other) => format!("write `goto {other}`, or add the label as `:name` on a line of its own"),
            None => "add the label as `:name` on a line of its own".to_owned(),
        };
        self.report(Rule::MissingLabel, word.span, message, remedy);
    }

    /// Returns the target of a `goto` if there is no such label.
    pub(super) fn lost_target(&self, known: &KnownCommand<'s, 't>) -> Option<&'s ScriptWord<'t>> {
        let word = known.arguments.positional.first().filter(|word| known.name == "goto" && word.is_plain())?;
        let label = &*word.text;
        let is_there = self.labels.contains_key(label) || self.unknown || self.could_be_label(label);
        (!is_there).then_some(word)
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

/// Commands and the indexes of those of their words that have to be numbers. Source: the calls of `parse_integer()` below
/// `src/hci/commands` of iPXE v2.0.0.
const NUMBERS: [(&str, &[usize]); 8] = [
    ("colour", &[0]),
    ("cpair", &[0]),
    ("cpuid", &[0]),
    ("exit", &[0]),
    ("imgmem", &[0, 1]),
    ("inc", &[1]),
    ("pxebs", &[1]),
    ("sleep", &[0]),
];

/// Returns the words of a command that have to be numbers.
pub(super) fn numeric_words<'s, 't>(known: &KnownCommand<'s, 't>) -> impl Iterator<Item = &'s ScriptWord<'t>> {
    let indexes = NUMBERS.iter().find(|(name, _)| *name == known.name).map_or(&[][..], |(_, indexes)| indexes);
    indexes.iter().filter_map(|index| known.arguments.positional.get(*index))
}

/// Returns a word that has to be a number and cannot be one.
pub(super) fn no_number<'s, 't>(known: &KnownCommand<'s, 't>) -> Option<&'s ScriptWord<'t>> {
    let is_wrong = |word: &&ScriptWord<'_>| {
        !word.template && if word.is_plain() { number(&word.text).is_none() } else { !can_be_number(&word.text) }
    };
    numeric_words(known).find(is_wrong)
}

/// Checks whether a command has more or fewer words than it takes.
pub(super) fn is_miscounted(known: &KnownCommand<'_, '_>) -> bool {
    let KnownCommand { name, spec, arguments, .. } = known;
    // `help` and `time` do not read their words as others do.
    let is_counted = arguments.counted && !matches!(*name, "help" | "time");
    is_counted && !(spec.min..=spec.max).contains(&arguments.positional.len())
}

/// Checks whether `text` can be a number, whatever the settings in it are: what does not begin as one is none.
fn can_be_number(text: &str) -> bool {
    let start = text.split(['$', '{', '<']).next().unwrap_or_default();
    number(&format!("{start}0")).is_some()
}
