//! Scripts with their findings: what is kept of many scripts, so that all of them can be reported.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use netboot_script::syntax::Span;
use netboot_script::{Finding, ParsedScript, Rule, Severity};

use super::excerpt::{FindingTexts, LineExcerpt};
use super::request::{Error, MAX_SCRIPTS};
use crate::base::diagnostic::Diagnostic;
use crate::base::plural::count;
use crate::base::url::without_credentials;
use crate::digest::Sha256Digest;
use crate::printable::printable;

/// Maximum number of findings in one run that are reported one by one, and of the bytes of their texts; all are counted.
const MAX_FINDINGS: (usize, usize) = (10_000, 4 << 20);

/// Maximum number of findings in one run that have an excerpt; nobody reads more.
const MAX_EXCERPTS: usize = 400;

/// All scripts of a run.
#[derive(Debug, Default)]
pub struct LintedScripts {
    /// The scripts, in the order in which they were found.
    pub scripts: Vec<LintedScript>,
    /// The number of findings that are counted, but not reported one by one.
    pub left_out: usize,
    /// Why some scripts are not checked, beside others that are.
    pub unchecked: Vec<Error>,
    /// The number of scripts that were found, with those that are the same as another one.
    found: usize,
    /// The number of bytes of all names.
    names: usize,
    /// The number of findings that are kept, and of bytes of their texts.
    kept: (usize, usize),
    /// The number of excerpts that are kept.
    excerpts: usize,
    /// The first script with each text.
    first: HashMap<Sha256Digest, usize>,
}

/// A script with its findings.
#[derive(Debug)]
pub struct LintedScript {
    /// Its name, as messages show it.
    pub name: String,
    /// Whether it was in a loader.
    pub embedded: bool,
    /// The findings in the order of the text.
    pub findings: Vec<LintFinding>,
    /// The number of findings of each severity, with those that are not kept.
    counts: BTreeMap<Severity, usize>,
    /// Whether some findings are not kept.
    cut: bool,
    /// Whether it has more findings of a rule than are counted.
    has_more: bool,
}

/// A finding as it is reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LintFinding {
    /// The rule.
    pub rule: Rule,
    /// The severity.
    pub severity: Severity,
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
    /// The line and the column after the last character.
    pub end: (usize, usize),
    /// The complete message, without passwords.
    pub message: String,
    /// What to do.
    pub remedy: String,
    /// The line of the finding, if it can be shown, and there are not many findings before it.
    pub excerpt: Option<LineExcerpt>,
    /// The bytes at fault.
    span: Span,
}

impl LintFinding {
    /// Prepares `findings` of the script `parsed` for a report, with at most `left` excerpts.
    pub(super) fn all(findings: Vec<Finding>, parsed: &ParsedScript<'_>, mut left: usize) -> Vec<Self> {
        let mut texts = FindingTexts::of(parsed);
        let mut notes = BTreeSet::new();
        let prepare = |finding: Finding| {
            // Of notes that say the same, only the first is shown with its line.
            let shown = left > 0 && (finding.severity < Severity::Note || notes.insert(finding.rule));
            left -= usize::from(shown);
            let Span { start, end } = finding.span;
            // Counting goes on from the start of the finding: a line can be as long as the script.
            let end = match parsed.text.get(start..end) {
                Some(text) if !text.contains('\n') => (finding.line, finding.column + text.chars().count()),
                _ => parsed.position(end),
            };
            let (message, excerpt) = (texts.message(&finding), if shown { texts.cut(&finding) } else { None });
            let remedy = texts.remedy(&finding);
            let Finding { rule, severity, span, line, column, .. } = finding;
            Self { rule, severity, line, column, end, message, remedy, excerpt, span }
        };
        findings.into_iter().map(prepare).collect()
    }

    /// The order of findings in a script.
    fn key(&self) -> (usize, Rule) {
        (self.span.start, self.rule)
    }

    fn is_same(&self, other: &Self) -> bool {
        let lacks = self.rule == Rule::MissingFeature;
        (self.rule, self.span) == (other.rule, other.span) && (!lacks || self.message == other.message)
    }

    /// The number of bytes of its texts.
    fn bytes(&self) -> usize {
        self.message.len() + self.remedy.len() + self.excerpt.as_ref().map_or(0, |excerpt| excerpt.text.len())
    }
}

impl LintedScripts {
    /// Adds the script `name`, whose text has the digest `text`. The scripts of loaders that have the same text are one: they
    /// have the same findings, except for what a build lacks.
    pub(super) fn add(
        &mut self,
        name: &str,
        text: Sha256Digest,
        embedded: bool,
        (findings, has_more): (Vec<LintFinding>, bool),
    ) -> Result<(), Error> {
        self.found += 1;
        let known = self.first.get(&text).copied().filter(|_| embedded);
        let index = known.unwrap_or(self.scripts.len());
        if known.is_none() {
            let name = without_credentials(name);
            self.names += name.len();
            self.first.insert(text, index);
            let counts = BTreeMap::new();
            self.scripts.push(LintedScript { name, embedded, findings: Vec::new(), counts, cut: false, has_more });
        }
        if self.found > MAX_SCRIPTS.0 || self.names > MAX_SCRIPTS.1 {
            return Err(Error::TooMany);
        }
        let script = &mut self.scripts[index];
        script.has_more |= has_more;
        let before = script.findings.len();
        for finding in findings {
            if known.is_some() && script.has(&finding, before) {
                continue;
            }
            *script.counts.entry(finding.severity).or_default() += 1;
            let (count, bytes) = (self.kept.0 + 1, self.kept.1 + finding.bytes());
            if script.cut || count > MAX_FINDINGS.0 || bytes > MAX_FINDINGS.1 {
                script.cut = true;
                self.left_out += 1;
                continue;
            }
            self.kept = (count, bytes);
            self.excerpts += usize::from(finding.excerpt.is_some());
            script.findings.push(finding);
        }
        script.findings.sort_by_key(LintFinding::key);
        Ok(())
    }

    /// Returns how many more excerpts are shown.
    pub(super) fn excerpts_left(&self) -> usize {
        MAX_EXCERPTS.saturating_sub(self.excerpts)
    }

    /// Returns warnings if some findings are only counted, or not even that, and if some scripts are not checked.
    pub(super) fn warnings(&self) -> Vec<Diagnostic> {
        let (most, bytes) = MAX_FINDINGS;
        let text = format!("found more than {most} findings, or {bytes} bytes of them: the others are only counted");
        let left_out = (self.left_out > 0).then(|| Diagnostic::new(text).help("lint fewer scripts at once"));
        let has_more = self.scripts.iter().find(|script| script.has_more).map(|script| {
            let text = format!("`{}` has more findings of one rule than are counted", printable(&script.name));
            Diagnostic::new(text).help("correct the others, and lint it again")
        });
        let others = self.unchecked.len().saturating_sub(1);
        let unchecked = (others > 0).then(|| {
            let text = format!("cannot check {} either", count(others, "other script"));
            Diagnostic::new(text).help("name each script to see why")
        });
        left_out.into_iter().chain(has_more).chain(unchecked).collect()
    }

    /// Returns the number of findings of this `severity`.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.scripts.iter().filter_map(|script| script.counts.get(&severity)).sum()
    }
}

impl LintedScript {
    /// Checks whether `finding` is the same as one of the first `count`. Where some are not kept, it is likely to be.
    fn has(&self, finding: &LintFinding, count: usize) -> bool {
        let before = &self.findings[..count];
        let first = before.partition_point(|other| other.key() < finding.key());
        let same = before[first..].iter().take_while(|other| other.key() == finding.key());
        self.cut || same.into_iter().any(|other| other.is_same(finding))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netboot_script::{LintTarget, Templates, lint};

    fn findings(text: &str) -> Vec<LintFinding> {
        let parsed = ParsedScript::parse(text, Templates::None);
        LintFinding::all(lint(&parsed, &LintTarget::default()).findings, &parsed, MAX_EXCERPTS)
    }

    #[test]
    fn the_same_script_in_several_loaders_is_one() {
        let mut all = LintedScripts::default();
        let text = "#!ipxe\nwget x\nimgfech y\n";
        let digest = Sha256Digest::of(text.as_bytes());
        for (name, embedded) in [("a", true), ("b", true), ("c", false), ("d", true)] {
            all.add(name, digest, embedded, (findings(text), false)).unwrap();
        }
        let names: Vec<_> = all.scripts.iter().map(|script| &*script.name).collect();
        assert_eq!((names, all.count(Severity::Error), all.left_out), (vec!["a", "c"], 4, 0));
        // What a build lacks is added in its place.
        let mut more = findings(text);
        more[0].rule = Rule::MissingFeature;
        all.add("e", digest, true, (vec![more[0].clone()], false)).unwrap();
        all.add("f", digest, true, (vec![more[0].clone()], false)).unwrap();
        let added = &all.scripts[1].findings;
        assert_eq!((added.len(), added[1].rule), (findings(text).len() + 1, Rule::MissingFeature));
    }

    #[test]
    fn what_is_kept_of_many_scripts_has_a_limit() {
        let mut all = LintedScripts::default();
        for number in 0..30 {
            let text = format!("#!ipxe\n# {number}\n{}", "wget x\n".repeat(999));
            all.add("x", Sha256Digest::of(text.as_bytes()), false, (findings(&text), false)).unwrap();
        }
        let kept: usize = all.scripts.iter().map(|script| script.findings.len()).sum();
        let counted: usize = Severity::ALL.map(|severity| all.count(severity)).iter().sum();
        assert_eq!((kept, kept + all.left_out), (MAX_FINDINGS.0, counted));
        let excerpts = all.scripts[0].findings.iter().filter(|finding| finding.excerpt.is_some());
        assert_eq!((excerpts.count(), all.count(Severity::Error)), (MAX_EXCERPTS, 30 * 999));
        let long = "x".repeat(1 << 19);
        for number in 0..9_u8 {
            let added = all.add(&long, Sha256Digest::of(&[number]), false, (Vec::new(), false));
            assert_eq!(added.is_err(), number >= 7, "{number}");
        }
    }
}
