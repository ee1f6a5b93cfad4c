//! The sites while they are read, from `sites.toml` and from inventories.

use std::collections::BTreeSet;

use camino::Utf8PathBuf;

use super::assets::Assets;
use super::site_set::{SiteOrigin, SiteSet};
use super::site_table::SiteTable;
use super::template::Vars;
use super::toml::Table;
use crate::base::diagnostic::Location;

/// The choices while they are read.
pub(super) struct Reading<'p> {
    /// What they name.
    pub assets: Assets<'p>,
    /// The sites.
    pub site_set: SiteSet,
    /// The inventories that were named so far.
    pub inventories: BTreeSet<Utf8PathBuf>,
    /// How many bytes they had in all.
    pub bytes: u64,
}

impl Reading<'_> {
    /// Reads the site `name`, of which all is `site_table`, at `location`; where its name was refused, only what it names.
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
