//! The linter: runs all rules over a script.

mod allow;
mod command;
mod fetch;
mod flow;
mod frame;
mod graph;
mod images;
mod labels;
mod settings;
mod words;

use std::collections::{BTreeSet, HashMap};

pub use self::fetch::fetched_addresses;

use crate::arguments::Arguments;
use crate::commands::{Availability, CommandSpec};
use crate::finding::{Finding, shortened};
use crate::rule::Rule;
use crate::settings::similar;
use crate::syntax::{Expansion, Operator, ParsedScript, ScriptCommand, ScriptLine, ScriptWord, Span};
use crate::target::LintTarget;

/// A command or protocol that not every build, or not every release of iPXE, supports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Feature {
    /// The line that uses it, counted from 1.
    pub line: usize,
    /// The command, or the prefix of an address.
    pub name: String,
    /// The builds that support it.
    pub availability: Availability,
}

/// What the linter says about a script.
#[derive(Debug, Default)]
pub struct LintReport {
    /// The findings in the order of the text.
    pub findings: Vec<Finding>,
    /// Whether there are more of a rule than are listed.
    pub has_more: bool,
    /// The features that the script needs in a build.
    pub features: Vec<Feature>,
    /// The addresses that commands fetch from, each with its line.
    pub addresses: Vec<(usize, String)>,
}

/// Runs all rules over `script`, which has to work with `target`.
#[must_use]
pub fn lint(script: &ParsedScript<'_>, target: &LintTarget) -> LintReport {
    let mut linter = Linter::new(script, target);
    linter.frame();
    linter.each_line();
    linter.labels();
    let dead = linter.flow();
    linter.images();
    linter.settings();
    linter.forget(&dead);
    linter.place();
    linter.allow();
    linter.out
}

/// Maximum number of findings of a rule in a script; nobody reads more.
const MAX_FINDINGS: usize = 1000;

/// Number of names that may be compared to find one that is meant.
const MAX_COMPARED: usize = 20_000;

/// A command with what is known about it.
struct KnownCommand<'s, 't> {
    /// The index of its line.
    line: usize,
    /// Its index in the line.
    index: usize,
    command: &'s ScriptCommand<'t>,
    /// The name, if it is the same in every run.
    name: &'s str,
    spec: &'static CommandSpec,
    arguments: Arguments<'s, 't>,
    /// Whether something in the line runs after it has failed.
    handled: bool,
    /// Whether something in the line runs only if it succeeds.
    followed: bool,
}

/// What a script asks before it acts.
#[derive(Clone, Copy, Default)]
struct Questions {
    /// Whether it decides by the platform what it does.
    platform: bool,
    /// Whether it checks what DHCP sends as the name of a file.
    filename: bool,
    /// Whether it checks what DHCP sends as the root path.
    root_path: bool,
}

struct Linter<'s, 't> {
    script: &'s ParsedScript<'t>,
    target: &'s LintTarget,
    /// All commands that iPXE has, in order.
    known: Vec<KnownCommand<'s, 't>>,
    /// The names of commands that iPXE does not have, each with whether its line is conditional.
    strange: Vec<(&'s ScriptWord<'t>, bool)>,
    /// The lines of each label, by their indexes.
    labels: HashMap<&'s str, Vec<usize>>,
    /// The names of the settings that the script sets.
    set: BTreeSet<&'s str>,
    /// The constant beginnings of names that the script computes and sets.
    set_prefixes: BTreeSet<&'s str>,
    /// Whether some text of the script is not known.
    unknown: bool,
    /// Whether a jump or a label is computed.
    computed: bool,
    /// The constant beginnings of labels that a template makes.
    label_prefixes: BTreeSet<&'s str>,
    /// The settings that the script uses, in order, each with its word.
    used: Vec<(Expansion<'s>, Span)>,
    /// The words that the script compares or checks.
    asked: BTreeSet<&'s str>,
    questions: Questions,
    /// The number of names that may still be compared.
    comparisons: usize,
    /// A finding that is one too many.
    surplus: Option<Finding>,
    /// The number of findings of each rule.
    counts: [usize; Rule::ALL.len()],
    out: LintReport,
}

impl<'s, 't> Linter<'s, 't> {
    fn new(script: &'s ParsedScript<'t>, target: &'s LintTarget) -> Self {
        let mut linter = Self {
            script,
            target,
            known: Vec::new(),
            strange: Vec::new(),
            labels: HashMap::new(),
            set: BTreeSet::new(),
            set_prefixes: BTreeSet::new(),
            unknown: script.unclosed.is_some() || script.lines.iter().any(|line| line.unknown),
            computed: false,
            label_prefixes: BTreeSet::new(),
            used: Vec::new(),
            asked: BTreeSet::new(),
            questions: Questions::default(),
            comparisons: MAX_COMPARED,
            surplus: None,
            counts: [0; Rule::ALL.len()],
            out: LintReport::default(),
        };
        for (index, line) in script.lines.iter().enumerate() {
            if let Some(label) = &line.label {
                linter.labels.entry(&label.text).or_default().push(index);
                linter.computed |= label.template;
                if label.template {
                    linter.label_prefixes.insert(label.text.split(['{', '<']).next().unwrap_or_default());
                }
            }
            linter.commands_of(index, line);
        }
        let asks = |name: &str| {
            let ends = [format!("{name}}}"), format!("{name}:")];
            linter.asked.iter().any(|word| ends.iter().any(|end| word.contains(end)))
        };
        let contains = |word: &&str| memchr::memmem::find(script.text.as_bytes(), word.as_bytes()).is_some();
        let platform = PLATFORM.iter().any(contains);
        linter.questions = Questions { platform, filename: asks("filename"), root_path: asks("root-path") };
        linter
    }

    /// Records the commands of a line.
    fn commands_of(&mut self, index: usize, line: &'s ScriptLine<'t>) {
        let (mut handled, mut followed) = (false, false);
        let first = self.known.len();
        for (at, command) in line.commands.iter().enumerate().rev() {
            handled |= matches!(command.operator, Some((Operator::Or | Operator::Then, _)));
            followed |= matches!(command.operator, Some((Operator::And, _)));
            let Some(name) = command.name() else {
                self.computed |= !command.words.is_empty();
                continue;
            };
            let Some(spec) = CommandSpec::of(name) else {
                self.strange.push((&command.words[0], line.conditional));
                continue;
            };
            let arguments = Arguments::read(spec, command.arguments());
            self.computed |= name == "goto" && arguments.positional.iter().any(|word| !word.is_plain());
            if asks(name) {
                self.asked.extend(arguments.positional.iter().map(|word| &*word.text));
            }
            self.known.push(KnownCommand { line: index, index: at, command, name, spec, arguments, handled, followed });
        }
        self.known[first..].reverse();
    }

    /// Reports a finding of `rule` in `span`, with the severity of most of its findings.
    fn report(
        &mut self,
        rule: Rule,
        span: Span,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> &mut Finding {
        let (message, remedy) = (shortened(message.into()), shortened(remedy.into()));
        let severity = rule.severity();
        let finding = Finding { rule, severity, span, line: 0, column: 0, message, remedy, word: None };
        self.counts[rule as usize] += 1;
        if self.counts[rule as usize] > MAX_FINDINGS {
            self.out.has_more = true;
            return self.surplus.insert(finding);
        }
        self.out.findings.push(finding);
        let last = self.out.findings.len() - 1;
        &mut self.out.findings[last]
    }

    fn line(&self, index: usize) -> &'s ScriptLine<'t> {
        &self.script.lines[index]
    }

    /// Sorts the findings, drops what is there twice, and fills in lines and columns.
    fn place(&mut self) {
        let findings = &mut self.out.findings;
        findings.sort_by_key(|finding| (finding.span.start, finding.rule, finding.span.end));
        // One word can lack several things.
        findings.dedup_by(|one, other| (one.rule, one.span, &one.message) == (other.rule, other.span, &other.message));
        let (mut at, mut line, mut column) = (0, 1, 1);
        for finding in findings {
            // Counting goes on from the last finding: a line can be as long as the script.
            let start = finding.span.start;
            let text = self.script.text.get(at..start).unwrap_or_default();
            line += memchr::memchr_iter(b'\n', text.as_bytes()).count();
            column = match memchr::memrchr(b'\n', text.as_bytes()) {
                Some(end) => text[end + 1..].chars().count() + 1,
                None => column + text.chars().count(),
            };
            at = start;
            (finding.line, finding.column) = (line, column);
        }
    }

    /// Returns the label that `name` is a slip of, unless too many were compared already.
    fn similar_label(&mut self, name: &str) -> Option<&'s str> {
        let labels = std::mem::take(&mut self.labels);
        let found = self.similar(name, labels.keys().copied());
        self.labels = labels;
        found
    }

    /// Returns the name among `names` that `name` is a slip of, unless too many were compared already.
    fn similar<'n>(&mut self, name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
        let most = self.comparisons;
        let mut count = 0;
        let found = similar(name, names.take(most).inspect(|_| count += 1));
        self.comparisons -= count;
        found
    }
}

/// Words that ask for the platform.
const PLATFORM: [&str; 3] = ["${platform", "${buildarch", "builtin/platform"];

/// Checks whether the command `name` prints its words.
#[must_use]
pub fn shows(name: &str) -> bool {
    matches!(name, "echo" | "prompt" | "item" | "menu" | "form")
}

/// Checks whether the command `name` starts something that usually does not come back.
fn boots(name: &str) -> bool {
    matches!(name, "boot" | "chain" | "imgexec" | "sanboot" | "autoboot")
}

/// Checks whether the command `name` fetches an image.
fn fetches(name: &str) -> bool {
    matches!(name, "kernel" | "initrd" | "module" | "imgfetch" | "imgload" | "imgselect" | "imgverify" | "imgextract")
}

/// Checks whether the command `name` answers a question by succeeding or failing.
fn asks(name: &str) -> bool {
    matches!(name, "isset" | "iseq" | "cpuid")
}
