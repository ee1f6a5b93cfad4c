//! What a table says of a site, or of many: loaders, script, configuration, slot and variables.

use std::collections::BTreeMap;
use std::sync::Arc;

use camino::{Utf8Component, Utf8PathBuf};

use super::loader::{Loader, UnknownLoader};
use super::reader::{At, Table};
use super::template::{self, Common};
use crate::stamp::slot::SlotSize;

/// The most variables of a table, as many as an inventory has columns.
const MAX_VARS: usize = 1_000;

/// The most certificates of a table.
const MAX_TRUST: usize = 256;

/// What a table says; the rest comes from another one.
#[derive(Clone, Default)]
pub(super) struct Said {
    /// Which loaders.
    pub loaders: Option<Arc<[Loader]>>,
    /// The file of the script's template.
    pub script: Option<At<Utf8PathBuf>>,
    /// The name of the configuration.
    pub config: Option<At<String>>,
    /// The files of trusted certificates.
    pub trust: Option<Arc<[At<Utf8PathBuf>]>>,
    /// How large the slot is.
    pub slot: Option<SlotSize>,
    /// The variables.
    pub vars: Common,
}

impl Said {
    /// What `table` says.
    pub(super) fn read(table: &Table<'_>) -> Self {
        let trust = table.strings("trust").map(|At { value, place }| {
            if value.len() > MAX_TRUST {
                let message = format!("has {} certificates, wanted {MAX_TRUST} at most", value.len());
                table.report(place.finding(message, "list those alone that the loaders need"));
            }
            value.into_iter().take(MAX_TRUST).filter_map(|at| checked_path(table, at)).collect()
        });
        let slot = table.unsigned("slot").and_then(|At { value, place }| {
            let size = SlotSize::try_from(usize::try_from(value).unwrap_or(usize::MAX));
            table
                .accept(size.map_err(|error| place.finding(error.to_string(), "choose such a size, as in slot = 8192")))
        });
        Self {
            loaders: loaders(table),
            script: safe_path(table, "script"),
            config: table.string("config"),
            trust,
            slot,
            vars: Common::of(vars(table)),
        }
    }

    /// The same, where it says nothing as `base` says.
    pub(super) fn over(self, base: &Self) -> Self {
        Self {
            loaders: self.loaders.or_else(|| base.loaders.clone()),
            script: self.script.or_else(|| base.script.clone()),
            config: self.config.or_else(|| base.config.clone()),
            trust: self.trust.or_else(|| base.trust.clone()),
            slot: self.slot.or(base.slot),
            vars: self.vars.over(&base.vars),
        }
    }
}

fn loaders(table: &Table<'_>) -> Option<Arc<[Loader]>> {
    let list = table.strings("loaders")?;
    let mut loaders = Vec::new();
    for name in list.value {
        let loader: Result<Loader, _> = name.value.parse();
        let loader = loader.map_err(|error| name.place.finding(error.to_string(), UnknownLoader::remedy()));
        let Some(loader) = table.accept(loader) else { continue };
        if loaders.contains(&loader) {
            table.report(name.place.finding(format!("lists `{loader}` twice"), "remove one of them"));
        }
        loaders.push(loader);
    }
    Some(loaders.into())
}

fn vars(table: &Table<'_>) -> BTreeMap<String, At<String>> {
    let vars = table.table("vars", |vars| Some(vars.all_strings(MAX_VARS, "variables")));
    let mut found = BTreeMap::new();
    for (name, At { value, place }) in vars.map(|at| at.value).unwrap_or_default() {
        let checked = template::check_name(&name).and_then(|()| template::check_value(&value));
        table.accept(checked.map_err(|(message, remedy)| place.finding(message, remedy)));
        found.insert(name, At { value, place });
    }
    found
}

/// The path below `key`, which has to stay inside the folder of the choices.
pub(super) fn safe_path(table: &Table<'_>, key: &str) -> Option<At<Utf8PathBuf>> {
    checked_path(table, table.string(key)?)
}

fn checked_path(table: &Table<'_>, at: At<String>) -> Option<At<Utf8PathBuf>> {
    let path = Utf8PathBuf::from(&at.value);
    if path.components().all(|part| matches!(part, Utf8Component::Normal(_))) && !at.value.is_empty() {
        return Some(At { value: path, place: at.place });
    }
    table.report(at.place.finding(
        format!("found `{}`, wanted a path inside embed-scripts", at.value),
        "copy the file into embed-scripts and name it without `..`",
    ));
    None
}
