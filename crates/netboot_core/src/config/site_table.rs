//! The settings of a table for one or many sites: loaders, script, configuration, slot and variables.

use std::collections::BTreeMap;
use std::sync::Arc;

use camino::{Utf8Component, Utf8PathBuf};

use super::template::{self, Common};
use super::toml::{Located, Table};
use crate::base::diagnostic::{Diagnostic, Location};
use crate::loader::medium::Medium;
use crate::loader::target::Loader;
use crate::printable::printable;
use crate::stamp::slot::SlotSize;

/// Maximum number of variables in a table; an inventory can have as many columns.
const MAX_VARS: usize = 1_000;

/// Maximum number of certificates in a table.
const MAX_TRUST: usize = 256;

/// The settings of one table; absent ones come from a base table.
#[derive(Clone, Default)]
pub(super) struct SiteTable {
    /// The loaders.
    pub loaders: Option<Arc<[Loader]>>,
    /// The boot media.
    pub media: Option<Located<Arc<[Medium]>>>,
    /// The file of the script's template.
    pub script: Option<Located<Utf8PathBuf>>,
    /// The name of the build configuration.
    pub config: Option<Located<String>>,
    /// The files of trusted certificates.
    pub trust: Option<Arc<[Located<Utf8PathBuf>]>>,
    /// The slot size.
    pub slot: Option<SlotSize>,
    /// The variables.
    pub vars: Common,
}

impl SiteTable {
    /// Reads the settings of `table`.
    pub(super) fn read(table: &Table<'_>) -> Self {
        let trust = table.strings("trust").map(|Located { value, location }| {
            if value.len() > MAX_TRUST {
                let message = format!("has {} certificates, wanted {MAX_TRUST} at most", value.len());
                table.report(location.finding(message, "list those alone that the loaders need"));
            }
            value.into_iter().take(MAX_TRUST).filter_map(|at| checked_path(table, at)).collect()
        });
        let slot = table.unsigned("slot").and_then(|Located { value, location }| {
            let size = SlotSize::try_from(usize::try_from(value).unwrap_or(usize::MAX));
            table.accept(
                size.map_err(|error| location.finding(error.to_string(), "choose such a size, as in slot = 8192")),
            )
        });
        Self {
            loaders: loaders(table),
            media: media(table),
            script: safe_path(table, "script"),
            config: table.string("config"),
            trust,
            slot,
            vars: Common::of(vars(table)),
        }
    }

    /// Returns these settings, with absent ones taken from `base`.
    pub(super) fn over(self, base: &Self) -> Self {
        Self {
            loaders: self.loaders.or_else(|| base.loaders.clone()),
            media: self.media.or_else(|| base.media.clone()),
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
        let loader = Loader::named(&name.value).map_err(|(message, remedy)| name.location.finding(message, remedy));
        let Some(loader) = table.accept(loader) else { continue };
        if loaders.contains(&loader) {
            table.report(name.location.finding(format!("lists `{loader}` twice"), "remove one of them"));
        }
        loaders.push(loader);
    }
    Some(loaders.into())
}

fn media(table: &Table<'_>) -> Option<Located<Arc<[Medium]>>> {
    let list = table.strings("media")?;
    let mut media = Vec::new();
    for Located { value: name, location } in list.value {
        let medium = name.parse::<Medium>().map_err(|_| {
            let known = Medium::ALL.map(|medium| format!("`{medium}`")).join(", ");
            let message = format!("found `{}`, wanted a kind of boot medium", printable(&name));
            location.finding(message, format!("choose from {known}"))
        });
        let Some(medium) = table.accept(medium) else { continue };
        if media.contains(&medium) {
            table.report(location.finding(format!("lists `{medium}` twice"), "remove one of them"));
        }
        media.push(medium);
    }
    Some(Located { value: media.into(), location: list.location })
}

fn vars(table: &Table<'_>) -> BTreeMap<String, Located<String>> {
    let vars = table.table("vars", |vars| Some(vars.all_strings(MAX_VARS, "variables")));
    let mut found = BTreeMap::new();
    for (name, Located { value, location }) in vars.map(|at| at.value).unwrap_or_default() {
        let checked = template::check_name(&name).and_then(|()| template::check_value(&value));
        table.accept(checked.map_err(|(message, remedy)| location.finding(message, remedy)));
        found.insert(name, Located { value, location });
    }
    found
}

/// Reads the path below `key`, which must stay inside `embed-scripts/`.
pub(super) fn safe_path(table: &Table<'_>, key: &str) -> Option<Located<Utf8PathBuf>> {
    checked_path(table, table.string(key)?)
}

fn checked_path(table: &Table<'_>, at: Located<String>) -> Option<Located<Utf8PathBuf>> {
    let path = Utf8PathBuf::from(&at.value);
    if path.components().all(|part| matches!(part, Utf8Component::Normal(_))) && !at.value.is_empty() {
        return Some(Located { value: path, location: at.location });
    }
    table.report(at.location.finding(
        format!("found `{}`, wanted a path inside embed-scripts", at.value),
        "copy the file into embed-scripts and name it without `..`",
    ));
    None
}

/// Checks `name` with the rules for site names; it is the name of a `what` and becomes `part`.
pub(super) fn check_name_of(
    what: &str,
    part: &str,
    name: &str,
    location: impl FnOnce() -> Location,
) -> Result<(), Diagnostic> {
    let fine = name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    let plain = fine && !name.starts_with(['.', '-']) && (1..=63).contains(&name.len()) && !name.ends_with('.');
    if plain && !is_device(name) {
        return Ok(());
    }
    let wanted = if plain {
        "a name that is no device's on Windows"
    } else {
        "1 to 63 letters, digits, `-`, `_` or `.`, not starting with `.` or `-`, not ending with `.`"
    };
    Err(location().finding(
        format!("found the {what} name `{}`, wanted {wanted}", printable(name)),
        format!("rename the {what}: its name becomes {part}"),
    ))
}

/// Checks the name of a site. It becomes a folder, so it must be valid on every file system and in every URL.
pub(super) fn check_name(name: &str, location: impl FnOnce() -> Location) -> Result<(), Diagnostic> {
    check_name_of("site", "a folder of the tree", name, location)
}

/// Checks whether Windows treats a file of that name as a device, whatever follows the first dot.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let port = ["com", "lpt"].iter().find_map(|port| stem.strip_prefix(port));
    ["con", "prn", "aux", "nul"].contains(&stem.as_str())
        || port.is_some_and(|number| number.len() == 1 && number.bytes().all(|digit| (b'1'..=b'9').contains(&digit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_be_a_folder_on_every_file_system() {
        let check = |name: &str| check_name(name, || Location { file: "f".into(), line: 1, key: String::new() });
        for good in ["a", "rack-1", "X_y.z", "console", "com", "com10", "lpt0", &"a".repeat(63)] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["", "a.", ".a", "-a", "a b", "é", &"a".repeat(64)] {
            assert!(check(bad).unwrap_err().message.contains("wanted 1 to 63 letters"), "{bad}");
        }
        for device in ["con", "NUL.efi", "Com1", "lpt9.x.y"] {
            assert!(check(device).unwrap_err().message.contains("wanted a name that is no device's"), "{device}");
        }
    }
}
