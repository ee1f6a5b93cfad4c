//! The state while reading sites from `sites.toml` and from inventories.

use std::collections::BTreeSet;

use camino::Utf8PathBuf;

use super::assets::Assets;
use super::site_set::{SiteOrigin, SiteSet};
use super::site_table::SiteTable;
use super::template::Vars;
use super::toml::Table;
use crate::base::diagnostic::Location;

/// State of reading the configuration.
pub(super) struct Reading<'p> {
    /// Files that the configuration names.
    pub assets: Assets<'p>,
    /// The sites read so far.
    pub site_set: SiteSet,
    /// Canonical paths of the inventories named so far.
    pub inventories: BTreeSet<Utf8PathBuf>,
    /// Total size of the inventories read so far, in bytes.
    pub bytes: u64,
}

impl Reading<'_> {
    /// Reads the site `name` at `location` with all its settings in `site_table`. Without a name (it was refused),
    /// reads only the files that the settings name.
    pub(super) fn site(&mut self, table: &Table<'_>, name: Option<&str>, location: &Location, site_table: SiteTable) {
        let origin = SiteOrigin::from(location);
        let setup = self.assets.setup(table, location, site_table);
        let Some(name) = name else { return };
        if let Some(mut setup) = setup {
            let vars = Vars::from(setup.vars.clone());
            self.site_set.add(&mut setup, name, &origin, vars);
        }
        self.site_set.name(name.to_owned(), origin);
    }
}
