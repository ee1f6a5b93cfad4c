//! The sites as they are read: each script is checked, names are compared with each other, and what is wrong with
//! many sites is told once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

use super::material::Setup;
use super::reader::{At, Finding, MAX_FINDINGS, Place, Table, shortened};
use super::rules::{self, Feature, Flaw};
use super::script::{BadValue, Flaws, Script};
use super::sites::Site;
use super::template::{self, Template, Vars};
use crate::printable::printable;
use crate::stamp::slot::{SlotSize, TooLong};

/// All sites so far, and what is to be said of them.
pub(super) struct Roster {
    /// Whether a script that is too long gets a larger slot.
    relink: bool,
    sites: Vec<Site>,
    /// The names of all sites, also of those with which something is wrong.
    names: Vec<(String, Origin)>,
    /// How many sites were rendered from a template.
    uses: BTreeMap<Utf8PathBuf, usize>,
    /// What is wrong with scripts, by the template.
    flaws: BTreeMap<(Utf8PathBuf, Flaw), Affected>,
    /// The longest script that is too long, by template and slot.
    too_long: BTreeMap<(Utf8PathBuf, SlotSize), (usize, TooLong, Affected)>,
    /// What is wrong with variables, each where it is set.
    values: BTreeSet<Finding>,
    warnings: BTreeSet<String>,
}

/// Where a site comes from.
#[derive(Clone)]
pub(super) struct Origin {
    /// The file, as a person would name it.
    pub file: Arc<Utf8Path>,
    /// The line, counted from 1.
    pub line: usize,
}

/// The sites that something is wrong with.
struct Affected {
    /// One of them, with its place.
    example: String,
    count: usize,
}

impl Roster {
    pub(super) fn new(relink: bool) -> Self {
        Self {
            relink,
            sites: Vec::new(),
            names: Vec::new(),
            uses: BTreeMap::new(),
            flaws: BTreeMap::new(),
            too_long: BTreeMap::new(),
            values: BTreeSet::new(),
            warnings: BTreeSet::new(),
        }
    }

    /// Adds the site `name` with `vars`, where its script is right.
    pub(super) fn add(&mut self, setup: &mut Setup, name: &str, origin: &Origin, vars: Vars) {
        let site = self.check(setup, Some(name), origin, vars);
        self.sites.extend(site);
    }

    /// Says that there is a site `name`, whatever may be wrong with it.
    pub(super) fn name(&mut self, name: String, origin: Origin) {
        self.names.push((name, origin));
    }

    /// The site `name`, or the root of the tree, where its script is right.
    pub(super) fn check(&mut self, setup: &mut Setup, name: Option<&str>, origin: &Origin, vars: Vars) -> Option<Site> {
        *self.uses.entry(setup.template.file.clone()).or_default() += 1;
        match Script::check(&setup.template, name, &vars, setup.slot, self.relink) {
            Ok((script, review)) => {
                let file = &setup.template.file;
                review.glued.iter().for_each(|(line, word)| self.warn(rules::glued(file, *line, word)));
                review.secrets.iter().for_each(|secret| self.warn(secret.warning(file.as_str())));
                self.warn_of_features(setup, review.features);
                self.warn_of_columns(&setup.template, &vars, origin);
                let slot = script.slot();
                Some(Site::new(setup, name, vars, &slot))
            }
            Err(mut flaws) => {
                for value in std::mem::take(&mut flaws.values) {
                    if self.values.len() <= MAX_FINDINGS {
                        self.values.extend(blame(value, &vars, origin));
                    }
                }
                self.complain(&setup.template.file, flaws, || {
                    format!("for the site `{}` at {}:{}", name.unwrap_or("default"), origin.file, origin.line)
                });
                None
            }
        }
    }

    /// All sites, sorted by their folders, with the warnings. What is wrong with them is reported to `table`.
    pub(super) fn finish(mut self, table: &Table<'_>) -> (Vec<Site>, Vec<String>) {
        for finding in self.flawed().chain(self.oversized()).chain(collisions(&self.names)) {
            table.report(finding);
        }
        for finding in std::mem::take(&mut self.values) {
            table.report(finding);
        }
        // With the `/` that follows the name in a path: `a/` comes after `a-b/`.
        self.sites.sort_by_cached_key(|site| format!("{}/", site.name.as_deref().unwrap_or_default()));
        (self.sites, self.warnings.into_iter().collect())
    }

    fn complain(&mut self, file: &Utf8Path, flaws: Flaws, example: impl Fn() -> String) {
        let first = || Affected { example: example(), count: 0 };
        for flaw in flaws.flaws {
            let key = (file.to_owned(), flaw.shortened());
            if let Some(affected) = self.flaws.get_mut(&key) {
                affected.count += 1;
            } else if self.flaws.len() <= MAX_FINDINGS {
                self.flaws.insert(key, Affected { count: 1, ..first() });
            }
        }
        if let Some(too_long) = flaws.too_long {
            let key = (file.to_owned(), too_long.slot);
            let (line, longest, affected) =
                self.too_long.entry(key).or_insert_with(|| (flaws.last_line, too_long, first()));
            affected.count += 1;
            if too_long.needed > longest.needed {
                (*line, *longest, affected.example) = (flaws.last_line, too_long, example());
            }
        }
    }

    fn warn(&mut self, warning: String) {
        if self.warnings.len() <= MAX_FINDINGS {
            self.warnings.insert(shortened(warning));
        }
    }

    fn warn_of_features(&mut self, setup: &mut Setup, features: Vec<Feature>) {
        for feature in features {
            if setup.judged.contains(&feature) {
                continue;
            }
            let place = format!("{}:{}", setup.template.file, feature.line);
            for (platform, name) in feature.lacks(&setup.loaders, &setup.config) {
                self.warn(feature.lacking(&place, name, platform));
            }
            setup.judged.insert(feature);
        }
    }

    /// Warns of the addresses in the row `vars` at `origin` that `template` does not use.
    fn warn_of_columns(&mut self, template: &Template, vars: &Vars, origin: &Origin) {
        let said = vars.columns.iter().zip(&*vars.row).filter(|(_, value)| value.is_some());
        for (column, _) in said.filter(|(column, _)| template::is_address(column) && !template.uses(column)) {
            self.warn(unused(&Place { file: (*origin.file).to_owned(), line: 0, key: column.clone() }));
        }
    }

    fn flawed(&self) -> impl Iterator<Item = Finding> {
        self.flaws.iter().map(|((file, flaw), affected)| {
            // What is wrong for every site is wrong with the template.
            let sites = if flaw.of_site || affected.count < self.uses[file] { affected.words() } else { String::new() };
            let place = Place { file: file.clone(), line: flaw.line, key: String::new() };
            place.finding(format!("{}{sites}", flaw.message), flaw.remedy.as_str())
        })
    }

    fn oversized(&self) -> impl Iterator<Item = Finding> {
        self.too_long.iter().map(|((file, slot), (line, TooLong { needed, .. }, affected))| {
            let sites = if self.uses[file] > 1 { affected.words() } else { String::new() };
            let place = Place { file: file.clone(), line: *line, key: String::new() };
            match SlotSize::for_bytes(*needed) {
                Some(fitting) => place.finding(
                    format!("is {needed} bytes, {} more than the slot of {slot}{sites}", needed - slot.bytes()),
                    format!("set `slot = {fitting}`, or build with `--relink`, which gives such a script a larger slot by itself"),
                ),
                None => place.finding(
                    format!("is {needed} bytes, {} more than the largest slot of {}{sites}", needed - SlotSize::MAX.bytes(), SlotSize::MAX),
                    "shorten it: put the long part on a web server and `chain` to it",
                ),
            }
        })
    }
}

/// Warnings of the addresses in `vars` of tables that the script of none of their `sites` uses.
pub(super) fn unused_addresses<'s>(sites: impl Iterator<Item = &'s Site>) -> Vec<String> {
    let mut uses = BTreeMap::new();
    for (template, vars) in sites.map(Site::parts) {
        for (name, at) in vars.common.tables().filter(|(name, _)| template::is_address(name)) {
            // Tables of many sites share their variables.
            let (_, used) = uses.entry(std::ptr::from_ref(at)).or_insert((at, false));
            *used |= template.uses(name);
        }
    }
    let mut found: Vec<&At<String>> = uses.into_values().filter(|(_, used)| !used).map(|(at, _)| at).collect();
    found.sort_unstable_by_key(|at| (&at.place.file, at.place.line, &at.place.key));
    found.truncate(MAX_FINDINGS);
    found.into_iter().map(|at| unused(&at.place)).collect()
}

/// What a person should know of the address at `place`.
fn unused(place: &Place) -> String {
    shortened(format!(
        "{place}: no script uses this address, so no loader goes there\n\
         hint: name a script that does, as in `script = \"url.ipxe\"`, in the table of the sites or in `[default]`"
    ))
}

/// What is wrong with the variable of `value`, in the row at `origin` or where `vars` have it from.
fn blame(value: BadValue, vars: &Vars, origin: &Origin) -> Option<Finding> {
    let BadValue { variable, message, remedy } = value;
    if vars.is_of_row(&variable) {
        let place = Place { file: (*origin.file).to_owned(), line: origin.line, key: variable };
        return Some(place.finding(message, remedy));
    }
    vars.common.get(&variable).map(|at| at.place.finding(message, remedy))
}

impl Affected {
    fn words(&self) -> String {
        match self.count - 1 {
            0 => format!(", {}", self.example),
            1 => format!(", {} and another one", self.example),
            others => format!(", {} and {others} others", self.example),
        }
    }
}

/// Names that are there twice, or that some TFTP servers would take for each other.
fn collisions(names: &[(String, Origin)]) -> Vec<Finding> {
    let mut order: Vec<(String, usize)> =
        names.iter().enumerate().map(|(index, (name, _))| (name.to_ascii_lowercase(), index)).collect();
    order.sort_unstable();
    let same = order.chunk_by(|(one, _), (other, _)| one == other);
    let pairs = same.flat_map(|same| same[1..].iter().map(|(_, index)| (&names[same[0].1], &names[*index])));
    let finding = |((first, at), (name, origin)): (&(String, Origin), &(String, Origin))| {
        let place = Place { file: (*origin.file).to_owned(), line: origin.line, key: String::new() };
        let Origin { file, line } = at;
        if first == name {
            let message = format!("`{name}` is the name of a site already, at {file}:{line}");
            return place.finding(message, "rename or remove one of them");
        }
        place.finding(
            format!("`{name}` differs from the site `{first}`, at {file}:{line}, only in case, and some TFTP servers ignore case"),
            "rename one of them",
        )
    };
    pairs.map(finding).collect()
}

impl From<&Place> for Origin {
    fn from(place: &Place) -> Self {
        Self { file: place.file.as_path().into(), line: place.line }
    }
}

/// A site's name becomes a folder, so it must be one on every file system and in every URL.
pub(super) fn check_name(name: &str, place: impl FnOnce() -> Place) -> Result<(), Finding> {
    check_name_of("site", "a folder of the tree", name, place)
}

/// Checks `name` in the same way where it is the name of a `what`, which becomes `part`.
pub(super) fn check_name_of(what: &str, part: &str, name: &str, place: impl FnOnce() -> Place) -> Result<(), Finding> {
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
    Err(place().finding(
        format!("found the {what} name `{}`, wanted {wanted}", printable(name)),
        format!("rename the {what}: its name becomes {part}"),
    ))
}

/// Whether Windows takes a file of that name for a device, whatever follows its first dot.
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
        let check = |name: &str| check_name(name, || Place { file: "f".into(), line: 1, key: String::new() });
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
