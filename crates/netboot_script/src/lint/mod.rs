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

use crate::arguments::Arguments;
use crate::commands::{Availability, CommandSpec};
use crate::finding::Finding;
use crate::rule::Rule;
use crate::syntax::{ParsedScript, ScriptCommand, ScriptLine, Span};
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
    linter.flow();
    linter.images();
    linter.settings();
    linter.out.findings.sort_by_key(|finding| (finding.span.start, finding.rule, finding.span.end));
    linter.out.findings.dedup_by(|one, other| (one.rule, one.span) == (other.rule, other.span));
    linter.allow();
    linter.out
}

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
}

struct Linter<'s, 't> {
    script: &'s ParsedScript<'t>,
    target: &'s LintTarget,
    /// All commands that iPXE has, in order.
    known: Vec<KnownCommand<'s, 't>>,
    /// The lines of each label, by their indexes.
    labels: HashMap<&'s str, Vec<usize>>,
    /// The words that the script compares with, has in menus, or sets.
    set: BTreeSet<&'s str>,
    /// The constant beginnings of names that the script computes and sets.
    set_prefixes: Vec<&'s str>,
    /// Whether some text of the script is not known.
    unknown: bool,
    /// Whether a jump or a label is computed.
    computed: bool,
    out: LintReport,
}

impl<'s, 't> Linter<'s, 't> {
    fn new(script: &'s ParsedScript<'t>, target: &'s LintTarget) -> Self {
        let mut linter = Self {
            script,
            target,
            known: Vec::new(),
            labels: HashMap::new(),
            set: BTreeSet::new(),
            set_prefixes: Vec::new(),
            unknown: script.unclosed.is_some() || script.lines.iter().any(|line| line.unknown),
            computed: false,
            out: LintReport::default(),
        };
        for (index, line) in script.lines.iter().enumerate() {
            if let Some(label) = &line.label {
                linter.labels.entry(&label.text).or_default().push(index);
                linter.computed |= label.template;
            }
            for (at, command) in line.commands.iter().enumerate() {
                let Some(name) = command.name() else {
                    linter.computed |= !command.words.is_empty();
                    continue;
                };
                if let Some(spec) = CommandSpec::of(name) {
                    let arguments = Arguments::read(spec, command.arguments());
                    linter.computed |= name == "goto" && arguments.positional.iter().any(|word| !word.is_plain());
                    linter.known.push(KnownCommand { line: index, index: at, command, name, spec, arguments });
                }
            }
        }
        linter
    }

    /// Reports a finding of `rule` in `span`, with the severity of most of its findings.
    fn report(
        &mut self,
        rule: Rule,
        span: Span,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> &mut Finding {
        let (line, column) = self.script.position(span.start);
        let (message, remedy, severity) = (message.into(), remedy.into(), rule.severity());
        self.out.findings.push(Finding { rule, severity, span, line, column, message, remedy, word: None });
        let last = self.out.findings.len() - 1;
        &mut self.out.findings[last]
    }

    fn line(&self, index: usize) -> &'s ScriptLine<'t> {
        &self.script.lines[index]
    }

    /// Checks whether the script decides by the platform what it does.
    fn asks_for_platform(&self) -> bool {
        ["${platform", "${buildarch", "builtin/platform"].iter().any(|word| self.script.text.contains(word))
    }
}

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
