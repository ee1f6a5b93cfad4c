//! Rules about labels and the entries of menus.

use std::collections::{BTreeSet, HashSet};

use super::Linter;
use crate::rule::Rule;

/// Maximum number of settings that menus store choices in.
const MAX_CHOICES: usize = 50;

impl<'s> Linter<'s, '_> {
    pub(super) fn labels(&mut self) {
        self.duplicates();
        self.unused();
        self.items_without_labels();
    }

    /// Returns the labels that `goto` names.
    pub(super) fn targets(&self) -> impl Iterator<Item = &'s str> {
        let gotos = self.known.iter().filter(|known| known.name == "goto");
        gotos
            .filter_map(|known| known.arguments.positional.first())
            .filter(|word| word.is_plain())
            .map(|word| &*word.text)
    }

    /// Returns the names of the entries of menus.
    pub(super) fn items(&self) -> impl Iterator<Item = &'s str> {
        let items = self.known.iter().filter(|known| known.name == "item" && known.arguments.option("gap").is_none());
        let names = items.filter_map(|known| known.arguments.positional.first());
        names.filter(|word| word.is_plain()).map(|word| &*word.text)
    }

    fn duplicates(&mut self) {
        let script = self.script;
        let twice: Vec<(&str, usize, usize)> = self
            .labels
            .iter()
            .flat_map(|(name, lines)| lines.windows(2).map(|pair| (*name, pair[0], pair[1])))
            .collect();
        for (name, first, second) in twice {
            let (first, second) = (&script.lines[first], &script.lines[second]);
            // Two branches of a template can have the same label.
            let Some(label) = second.label.as_ref().filter(|label| first.branch == second.branch && !label.template)
            else {
                continue;
            };
            let message = format!("`:{name}` is in line {} already, where `goto` always goes", first.number);
            self.report(Rule::DuplicateLabel, label.span, message, "rename one of them");
        }
    }

    fn unused(&mut self) {
        if self.computed || self.unknown || self.script.is_template() {
            return;
        }
        let targets: HashSet<&str> = self.targets().collect();
        // A jump to no label is likely to mean one that nothing jumps to.
        let lost: Vec<&str> = targets.iter().copied().filter(|target| !self.labels.contains_key(target)).collect();
        let script = self.script;
        for (_, label) in script.labels().filter(|(_, label)| !targets.contains(&*label.text)) {
            let remedy = match self.similar(&label.text, lost.iter().copied()) {
                Some(target) => format!("rename it to `:{target}`"),
                None => "remove it, or jump to it".to_owned(),
            };
            self.report(Rule::UnusedLabel, label.span, format!("nothing jumps to `:{}`", label.text), remedy);
        }
    }

    /// Finds entries of menus whose choice leads to a label that does not exist.
    fn items_without_labels(&mut self) {
        if self.unknown || self.labels.is_empty() || self.script.labels().any(|(_, label)| !label.is_plain()) {
            return;
        }
        let chosen: BTreeSet<&str> = self
            .known
            .iter()
            .filter(|known| known.name == "choose")
            .filter_map(|known| known.arguments.positional.first())
            .map(|word| &*word.text)
            .collect();
        let jumps = |setting: &&str| {
            let target = format!("${{{setting}}}");
            let uses = |known: &&super::KnownCommand<'_, '_>| {
                !super::shows(known.name) && known.command.arguments().iter().any(|word| word.text.contains(&target))
            };
            let jumps = |known: &&super::KnownCommand<'_, '_>| {
                known.name == "goto" && known.arguments.positional.first().is_some_and(|word| word.text == target)
            };
            // Where a jump may fail, what follows can use the choice otherwise.
            let other = self.known.iter().filter(uses).any(|known| !jumps(&known) && known.name != "iseq");
            self.known.iter().filter(jumps).any(|known| !other || !known.handled)
        };
        if chosen.is_empty() || chosen.len() > MAX_CHOICES || !chosen.iter().all(jumps) {
            return;
        }
        // An entry that the script compares with, or that is the start of a name, needs no label.
        let items = self.known.iter().filter(|known| known.name == "item" && known.arguments.option("gap").is_none());
        let names = items.filter_map(|known| known.arguments.positional.first()).filter(|word| word.is_plain());
        let lost: Vec<_> = names
            .filter(|word| !self.labels.contains_key(&*word.text) && !self.asked.contains(&*word.text))
            .cloned()
            .collect();
        for word in lost {
            let message = format!("choosing `{}` jumps to a label that does not exist", word.text);
            let remedy = match self.similar_label(&word.text) {
                Some(label) => format!("write `{label}`, or add the label `:{}`", word.text),
                None => format!("add the label `:{}`", word.text),
            };
            self.report(Rule::ItemWithoutLabel, word.span, message, remedy);
        }
    }
}
