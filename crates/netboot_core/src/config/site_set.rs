//! The set of all sites while they are read. Checks each script, compares names with each other, and reports an error
//! that many sites share only once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

use netboot_script::Feature;
use netboot_script::commands::{self, BuildKind};

use super::assets::ResolvedSite;
use super::pins::IpxePin;
use super::script::{self, BadValue, Flaws, Script, ScriptRules};
use super::site::Site;
use super::template::{self, ScriptFlaw, Template, Vars};
use super::toml::{Located, Table};
use crate::base::diagnostic::{Diagnostic, Flag, Location, MAX_FINDINGS};
use crate::base::secrets;
use crate::stamp::slot::{SlotSize, TooLong};

/// The sites read so far, with their diagnostics.
pub(super) struct SiteSet {
    /// Whether a script that is too long gets a larger slot.
    relink: bool,
    /// Whether iPXE's signed loaders run the scripts, too.
    pub has_signed_set: bool,
    /// The iPXE that runs the scripts.
    pin: IpxePin,
    sites: Vec<Site>,
    /// The names of all sites, including those with errors.
    names: Vec<(String, SiteOrigin)>,
    /// Number of sites per template.
    uses: BTreeMap<Utf8PathBuf, usize>,
    /// Script flaws by template.
    flaws: BTreeMap<(Utf8PathBuf, ScriptFlaw), Affected>,
    /// The longest oversized script by template and slot size, with its last line.
    too_long: BTreeMap<(Utf8PathBuf, SlotSize), (usize, TooLong, Affected)>,
    /// Errors in variables, each at the location that sets the variable.
    values: BTreeSet<Diagnostic>,
    warnings: BTreeSet<Diagnostic>,
}

/// The origin of a site.
#[derive(Clone)]
pub(super) struct SiteOrigin {
    /// The path of the file as diagnostics show it.
    pub file: Arc<Utf8Path>,
    /// The line, counted from 1.
    pub line: usize,
}

/// The sites that a flaw affects.
struct Affected {
    /// One of them, with its location.
    example: String,
    count: usize,
}

impl SiteSet {
    pub(super) fn new(relink: bool, pin: IpxePin) -> Self {
        Self {
            relink,
            has_signed_set: false,
            pin,
            sites: Vec::new(),
            names: Vec::new(),
            uses: BTreeMap::new(),
            flaws: BTreeMap::new(),
            too_long: BTreeMap::new(),
            values: BTreeSet::new(),
            warnings: BTreeSet::new(),
        }
    }

    /// Adds the site `name` with `vars` if its script is valid.
    pub(super) fn add(&mut self, setup: &mut ResolvedSite, name: &str, origin: &SiteOrigin, vars: Vars) {
        let site = self.check(setup, Some(name), origin, vars);
        self.sites.extend(site);
    }

    /// Registers the site name `name`, even if the site has errors.
    pub(super) fn name(&mut self, name: String, origin: SiteOrigin) {
        self.names.push((name, origin));
    }

    /// Returns the site `name`, or the root of the tree, if its script is valid.
    pub(super) fn check(
        &mut self,
        setup: &mut ResolvedSite,
        name: Option<&str>,
        origin: &SiteOrigin,
        vars: Vars,
    ) -> Option<Site> {
        *self.uses.entry(setup.template.file.clone()).or_default() += 1;
        let unknown_commands = self.pin.can_have_unknown_commands();
        let rules = ScriptRules { size: setup.slot, grow: self.relink, unknown_commands };
        match Script::check(&setup.template, name, &vars, rules) {
            Ok((script, notes)) => {
                let file = &setup.template.file;
                for warning in notes.warnings {
                    let location = Location::line(file, warning.line);
                    self.warn(location.finding(warning.text(secrets::shown), warning.remedy));
                }
                for (line, command) in &notes.unknown {
                    self.warn(script::unknown(command, &self.pin, &Location::line(file, *line)));
                }
                for (secret, variable) in &notes.secrets {
                    let location = variable.as_ref().and_then(|name| location(name, &vars, origin));
                    self.warn(location.map_or_else(|| secret.warning(file.as_str()), |at| secret.kind.warning(&at)));
                }
                self.warn_of_features(setup, notes.features);
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

    /// Returns all sites, sorted by folder, and the warnings. Reports errors to `table`.
    pub(super) fn finish(mut self, table: &Table<'_>) -> (Vec<Site>, Vec<Diagnostic>) {
        for finding in self.flawed().chain(self.oversized()).chain(collisions(&self.names)) {
            table.report(finding);
        }
        for finding in std::mem::take(&mut self.values) {
            table.report(finding);
        }
        // Includes the `/` that follows the name in a path: `a/` sorts after `a-b/`.
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

    fn warn(&mut self, warning: Diagnostic) {
        if self.warnings.len() <= MAX_FINDINGS {
            self.warnings.insert(warning);
        }
    }

    fn warn_of_features(&mut self, setup: &mut ResolvedSite, features: Vec<Feature>) {
        for feature in features {
            if setup.judged.contains(&feature) {
                continue;
            }
            let location = Location::line(setup.template.file.clone(), feature.line);
            if self.has_signed_set {
                if let Some(name) = feature.availability.missing(BuildKind::EfiX86) {
                    self.warn(script::not_in_signed_set(&feature, &location, name));
                } else if feature.name == commands::HTTPS && !setup.config.trust.is_empty() {
                    self.warn(script::untrusted_by_signed_set(&location));
                }
            }
            if let Some(since) = commands::since(&feature.name).filter(|since| self.pin.precedes(since)) {
                self.warn(script::too_new(&feature.name, since, &self.pin, &location));
            } else {
                for (platform, name) in setup.config.lacks(&feature, &setup.loaders) {
                    self.warn(script::lacking(&feature, &location, name, platform));
                }
            }
            setup.judged.insert(feature);
        }
    }

    /// Warns of addresses in the row `vars` at `origin` that `template` does not use.
    fn warn_of_columns(&mut self, template: &Template, vars: &Vars, origin: &SiteOrigin) {
        let filled = vars.columns.iter().zip(&*vars.row).filter(|(_, value)| value.is_some());
        for (column, _) in filled.filter(|(column, _)| template::is_address(column) && !template.uses(column)) {
            self.warn(unused(&Location { file: (*origin.file).to_owned(), line: 0, key: column.clone() }));
        }
    }

    fn flawed(&self) -> impl Iterator<Item = Diagnostic> {
        self.flaws.iter().map(|((file, flaw), affected)| {
            // A flaw that every site has is a flaw of the template.
            let sites = if flaw.of_site || affected.count < self.uses[file] { affected.words() } else { String::new() };
            let location = Location { file: file.clone(), line: flaw.line, key: String::new() };
            location.finding(format!("{}{sites}", flaw.message), flaw.remedy.as_str())
        })
    }

    fn oversized(&self) -> impl Iterator<Item = Diagnostic> {
        self.too_long.iter().map(|((file, slot), (line, TooLong { needed, .. }, affected))| {
            let sites = if self.uses[file] > 1 { affected.words() } else { String::new() };
            let location = Location { file: file.clone(), line: *line, key: String::new() };
            match SlotSize::for_bytes(*needed) {
                Some(fitting) => location
                    .finding(
                        format!("is {needed} bytes, {} more than the slot of {slot}{sites}", needed - slot.bytes()),
                        format!("set `slot = {fitting}`"),
                    )
                    .help(Flag::Relink),
                None => location.finding(
                    format!(
                        "is {needed} bytes, {} more than the largest slot of {}{sites}",
                        needed - SlotSize::MAX.bytes(),
                        SlotSize::MAX
                    ),
                    "shorten it: put the long part on a web server and `chain` to it",
                ),
            }
        })
    }
}

/// Returns warnings about addresses in the `vars` of tables that no script of their `sites` uses.
pub(super) fn unused_addresses<'s>(sites: impl Iterator<Item = &'s Site>) -> Vec<Diagnostic> {
    let mut uses = BTreeMap::new();
    for (template, vars) in sites.map(Site::parts) {
        for (name, at) in vars.common.tables().filter(|(name, _)| template::is_address(name)) {
            // Tables of many sites share their variables.
            let (_, used) = uses.entry(std::ptr::from_ref(at)).or_insert((at, false));
            *used |= template.uses(name);
        }
    }
    let mut found: Vec<&Located<String>> = uses.into_values().filter(|(_, used)| !used).map(|(at, _)| at).collect();
    found.sort_unstable_by_key(|at| (&at.location.file, at.location.line, &at.location.key));
    found.truncate(MAX_FINDINGS);
    found.into_iter().map(|at| unused(&at.location)).collect()
}

/// Returns the warning about the unused address at `location`.
fn unused(location: &Location) -> Diagnostic {
    location.finding(
        "no script uses this address, so no loader goes there",
        "name a script that does, as in `script = \"url.ipxe\"`, in the table of the sites or in `[default]`",
    )
}

/// Returns the error in the variable of `value`.
fn blame(value: BadValue, vars: &Vars, origin: &SiteOrigin) -> Option<Diagnostic> {
    let BadValue { variable, message, remedy } = value;
    location(&variable, vars, origin).map(|location| location.finding(message, remedy))
}

/// Returns where `variable` is set: at the row `origin`, or at a location in `vars`.
fn location(variable: &str, vars: &Vars, origin: &SiteOrigin) -> Option<Location> {
    if vars.is_of_row(variable) {
        return Some(Location { file: (*origin.file).to_owned(), line: origin.line, key: variable.to_owned() });
    }
    vars.common.get(variable).map(|at| at.location.clone())
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

/// Finds duplicate names, and names that some TFTP servers would not distinguish.
fn collisions(names: &[(String, SiteOrigin)]) -> Vec<Diagnostic> {
    let mut order: Vec<(String, usize)> =
        names.iter().enumerate().map(|(index, (name, _))| (name.to_ascii_lowercase(), index)).collect();
    order.sort_unstable();
    let same = order.chunk_by(|(one, _), (other, _)| one == other);
    let pairs = same.flat_map(|same| same[1..].iter().map(|(_, index)| (&names[same[0].1], &names[*index])));
    let finding = |((first, at), (name, origin)): (&(String, SiteOrigin), &(String, SiteOrigin))| {
        let location = Location { file: (*origin.file).to_owned(), line: origin.line, key: String::new() };
        let SiteOrigin { file, line } = at;
        if first == name {
            let message = format!("`{name}` is the name of a site already, at {file}:{line}");
            return location.finding(message, "rename or remove one of them");
        }
        location.finding(
            format!("`{name}` differs from the site `{first}`, at {file}:{line}, only in case, and some TFTP servers ignore case"),
            "rename one of them",
        )
    };
    pairs.map(finding).collect()
}

impl From<&Location> for SiteOrigin {
    fn from(location: &Location) -> Self {
        Self { file: location.file.as_path().into(), line: location.line }
    }
}
