//! Inventories: many sites at once, given as the rows of a CSV file or as a folder of TOML files.

mod rows;

use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

use self::rows::Rows;
use super::reading::Reading;
use super::site_set::SiteOrigin;
use super::site_table::{SiteTable, check_name};
use super::template::Vars;
use super::toml::{Table, TomlFile};
use crate::base::diagnostic::Location;
use crate::base::fs;

/// Maximum number of rows in a CSV file.
const MAX_ROWS: usize = 110_000;

/// Remedy for too many sites.
const SPLIT: &str = "split the sites between several projects";

/// An inventory to read.
pub(super) struct Inventory<'a> {
    /// Path of the CSV file or folder.
    pub path: &'a Utf8Path,
    /// Path of the inventory as diagnostics show it.
    pub file: Utf8PathBuf,
    /// Location of the setting that names this inventory.
    pub asked: &'a Location,
    /// Settings that all sites of the inventory share.
    pub site_table: SiteTable,
    /// Location of these settings.
    pub location: &'a Location,
}

impl Inventory<'_> {
    /// Reads the sites of the inventory and reports every error to `table`.
    pub(super) fn read(self, table: &Table<'_>, reading: &mut Reading<'_>) {
        if let Ok(path) = self.path.canonicalize_utf8()
            && !reading.inventories.insert(path)
        {
            let message = format!("the inventory `{}` was named before", self.file);
            return table.report(self.asked.finding(message, "name it once"));
        }
        let read = if self.path.is_dir() {
            self.names().map(|names| self.folder(&names, table, reading))
        } else {
            fs::read_at_most(self.path, fs::MAX_INVENTORY).map(|content| {
                if self.has_room(content.len(), table, reading) {
                    self.csv(&content, table, reading);
                }
            })
        };
        table.accept(read.map_err(|error| {
            let missing = "create it, or name another one: a CSV file, or a folder of *.toml";
            let (message, remedy) = match &error {
                error if error.is_not_found() => (format!("there is no inventory `{}`", self.file), missing),
                error if error.is_too_large() => (error.reason(), SPLIT),
                error => (error.reason(), "name a CSV file, or a folder of *.toml, that can be read"),
            };
            self.asked.finding(message, remedy)
        }));
    }

    /// Checks whether `bytes` more fit into the limit for all inventories together, and reports the first file that
    /// exceeds it.
    fn has_room(&self, bytes: usize, table: &Table<'_>, reading: &mut Reading<'_>) -> bool {
        let before = reading.bytes;
        reading.bytes += bytes as u64;
        if before <= fs::MAX_INVENTORY && reading.bytes > fs::MAX_INVENTORY {
            let message = format!("makes more than {} bytes of all inventories together", fs::MAX_INVENTORY);
            let location = Location { file: self.file.clone(), line: 0, key: String::new() };
            table.report(location.finding(message, SPLIT));
        }
        reading.bytes <= fs::MAX_INVENTORY
    }

    /// Checks whether the sites have no loaders by default.
    fn has_no_loaders(&self) -> bool {
        self.site_table.loaders.as_ref().is_some_and(|loaders| loaders.is_empty())
    }

    fn csv(&self, content: &[u8], table: &Table<'_>, reading: &mut Reading<'_>) {
        if self.has_no_loaders() {
            let location = Location { key: format!("{}.loaders", self.location.key), ..self.location.clone() };
            let message = format!("is empty, so nothing would come of `{}`", self.file);
            table.report(location.finding(message, "list the loaders"));
        }
        let mut setup = reading.assets.setup(table, self.location, self.site_table.clone());
        let rows = match Rows::new(&self.file, content) {
            Ok(rows) => rows,
            Err(findings) => return findings.into_iter().for_each(|finding| table.report(finding)),
        };
        let (columns, file) = (Arc::clone(&rows.columns), Arc::from(self.file.as_path()));
        let mut empty = true;
        for (index, row) in rows.enumerate() {
            empty = false;
            if index == MAX_ROWS {
                let location = Location { file: self.file.clone(), line: 0, key: String::new() };
                let message = format!("has more than {MAX_ROWS} rows, and no tree has room for so many sites");
                return table.report(location.finding(message, SPLIT));
            }
            let Some(row) = table.accept(row) else { continue };
            let location = || Location { file: self.file.clone(), line: row.line, key: "name".into() };
            if table.accept(check_name(&row.name, location)).is_none() {
                continue;
            }
            let origin = SiteOrigin { file: Arc::clone(&file), line: row.line };
            if let Some(setup) = &mut setup {
                let vars = Vars { common: setup.vars.clone(), columns: Arc::clone(&columns), row: row.values };
                reading.site_set.add(setup, &row.name, &origin, vars);
            }
            reading.site_set.name(row.name, origin);
        }
        if empty {
            self.report_empty(table, "has no row below its header");
        }
    }

    /// Returns the names of all entries of the folder, sorted.
    fn names(&self) -> Result<Vec<String>, fs::Error> {
        let entries = fs::entries(self.path)?;
        Ok(entries.iter().filter_map(|entry| entry.file_name()).map(str::to_owned).collect())
    }

    /// Reads each NAME.toml as the site NAME. Other files are ignored as notes, but anything that could be meant as a
    /// site is reported.
    fn folder(&self, names: &[String], table: &Table<'_>, reading: &mut Reading<'_>) {
        let mut empty = true;
        for name in names.iter().filter(|name| !name.starts_with('.')) {
            let whole = Location { file: self.file.join(name), line: 0, key: String::new() };
            match (Utf8Path::new(name).file_stem(), Utf8Path::new(name).extension()) {
                _ if self.path.join(name).is_dir() => table.report(whole.finding(
                    "is a folder, and a folder in an inventory is not read",
                    "make it an inventory of its own, or move it elsewhere",
                )),
                (Some(site), Some("toml")) => {
                    empty = false;
                    self.file(site, &whole, table, reading);
                }
                (_, Some(end)) if end.eq_ignore_ascii_case("toml") => {
                    table.report(whole.finding("is not read: only *.toml is", "rename it"));
                }
                _ => {}
            }
        }
        if empty {
            self.report_empty(table, "has no *.toml");
        }
    }

    /// Reads the file of the site `name`; `whole` is the location of the file.
    fn file(&self, name: &str, whole: &Location, table: &Table<'_>, reading: &mut Reading<'_>) {
        let named = table.accept(check_name(name, || whole.clone()));
        let content = fs::read_text(&self.path.join(format!("{name}.toml")));
        let content = content.map_err(|error| whole.finding(error.reason(), "make it readable, or move it elsewhere"));
        let text = content.and_then(|content| {
            String::from_utf8(content).map_err(|_| whole.finding("is not UTF-8", "save the file as UTF-8"))
        });
        let Some(text) = table.accept(text) else { return };
        // Data read from TOML takes twice as much memory as data read from CSV.
        if !self.has_room(2 * text.len(), table, reading) {
            return;
        }
        let read = TomlFile::new(&whole.file, &text).read(|own| {
            let site_table = SiteTable::read(own);
            if site_table.loaders.is_none() && self.has_no_loaders() {
                let location = Location { key: "loaders".into(), ..own.location() };
                own.report(
                    location.finding("is missing, and none come from elsewhere", "list the loaders, or none with []"),
                );
            }
            reading.site(own, named.map(|()| name), &own.location(), site_table.over(&self.site_table));
            Some(())
        });
        read.err().into_iter().flat_map(|findings| findings.0).for_each(|finding| table.report(finding));
    }

    /// Reports an inventory without sites: publishing a tree that has lost its sites is worse than publishing none.
    fn report_empty(&self, table: &Table<'_>, message: &str) {
        let location = Location { file: self.file.clone(), line: 0, key: String::new() };
        table.report(
            location.finding(
                format!("{message}, so there are no sites in it"),
                "add sites, or do not ask for this inventory",
            ),
        );
    }
}
