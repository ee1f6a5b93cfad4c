//! Rules about the names of settings.

use std::collections::{BTreeSet, HashMap};

use super::{KnownCommand, Linter};
use crate::rule::Rule;
use crate::settings::{SETTINGS, is_known};
use crate::syntax::Span;

/// Maximum number of beginnings of computed names.
pub(super) const MAX_PREFIXES: usize = 100;

impl<'s> Linter<'s, '_> {
    pub(super) fn settings(&mut self) {
        let known = std::mem::take(&mut self.known);
        // The entries of a form are settings; those of a menu are what its choice can be.
        let form = known.iter().any(|command| matches!(command.name, "form" | "present"));
        for command in known.iter().filter(|command| form || command.name != "item") {
            self.setting_that(command);
        }
        self.known = known;
        self.counted_texts();
        // A script that computes that many names can have set any.
        if self.unknown || self.set_prefixes.len() > MAX_PREFIXES {
            return;
        }
        let mut told = BTreeSet::new();
        let set = std::mem::take(&mut self.set);
        for (it, span) in std::mem::take(&mut self.used) {
            let name = it.name;
            if set.contains(name) || self.set_prefixes.iter().any(|prefix| name.starts_with(prefix)) {
                continue;
            }
            if is_known(it.block, name) {
                self.newer_setting(name, span);
                continue;
            }
            let all = SETTINGS.iter().map(|setting| setting.name).chain(set.iter().copied());
            if let Some(other) = self.similar(name, all) {
                let message = format!("`{name}` is set nowhere, and looks like `{other}`");
                self.report(Rule::MisspeltSetting, span, message, format!("write `${{{other}}}`"));
            } else if told.insert(name) {
                let message = format!("`{name}` is set nowhere in this script, so another one has to set it");
                self.report(Rule::UnsetSetting, span, message, "set it, or check it with `isset`");
            }
        }
    }

    /// Finds settings that the script sets as text and counts as numbers.
    fn counted_texts(&mut self) {
        let first = |it: &KnownCommand<'s, '_>| it.arguments.positional.first().filter(|word| word.is_plain());
        let (mut texts, mut others) = (HashMap::new(), BTreeSet::new());
        for it in &self.known {
            let Some(word) = first(it) else { continue };
            match (it.name, word.text.split_once(':')) {
                ("set", None) if it.arguments.positional.len() > 1 => {
                    texts.entry(&*word.text).or_insert_with(|| self.line(it.line).number);
                }
                ("clear", None) => drop(others.insert(&*word.text)),
                ("set" | "inc", Some((name, _))) => drop(others.insert(name)),
                _ => {}
            }
        }
        // Settings that iPXE knows have a type, whoever sets them.
        let is_text = |name: &str| !others.contains(name) && !is_known(None, name) && !name.contains('/');
        let counting = self.known.iter().filter(|it| it.name == "inc").filter_map(first);
        let counted: Vec<_> = counting
            .filter_map(|word| Some((word.span, &*word.text, *texts.get(&*word.text).filter(|_| is_text(&word.text))?)))
            .collect();
        for (span, name, line) in counted {
            let message = format!("`{name}` is text since line {line}, so `inc` fails");
            self.report(Rule::SettingType, span, message, format!("write `set {name}:int32` there"));
        }
    }

    /// Reports that the version of iPXE lacks the setting.
    fn newer_setting(&mut self, name: &str, span: Span) {
        let since = crate::settings::of(name).map(|setting| setting.since);
        if let Some(since) = since.filter(|since| *since > self.target.ipxe) {
            let message = self.newer(&format!("the setting `{name}`"), since, "it is empty");
            self.report(Rule::VersionDifference, span, message, "use a newer iPXE, or do without it");
        }
    }

    /// Records the setting that a command sets.
    fn setting_that(&mut self, known: &KnownCommand<'s, '_>) {
        let first = match known.name {
            "set" | "read" | "choose" | "inc" | "clear" | "nslookup" | "pciscan" | "usbscan" | "imgset" | "item" => {
                known.arguments.positional.first().map(|word| (&*word.text, word.span, word.template))
            }
            _ => known.arguments.option("set").and_then(|option| {
                option.value.map(|(value, span)| (value, span, !option.plain && value.contains("{{")))
            }),
        };
        let Some((text, span, template)) = first else { return };
        let name = text.rsplit('/').next().unwrap_or_default();
        let (name, kind) = name.split_once(':').map_or((name, None), |(name, kind)| (name, Some(kind)));
        if let Some(start) = name.find(['$', '{', '<']) {
            self.set_prefixes.insert(&name[..start]);
            return;
        }
        if template {
            self.set_prefixes.insert("");
        }
        self.set.insert(name);
        if let Some(kind) = kind.filter(|_| known.name != "item") {
            self.setting_type(kind, span);
        }
    }
}
