//! A site: loaders with one script and one configuration.

use std::sync::Arc;

use camino::Utf8Path;

use super::assets::ResolvedSite;
use super::ipxe_config::IpxeConfig;
use super::script::Script;
use super::template::{Template, Vars};
use crate::digest::Sha256Digest;
use crate::loader::medium::Medium;
use crate::loader::target::{Loader, Platform};
use crate::stamp::slot::{Slot, SlotSize};

/// Loaders with one script and one configuration. There can be a hundred thousand sites, so they share common data, and
/// the script is rendered on demand.
#[derive(Debug, Clone)]
pub struct Site {
    /// Folder name below `sites/`; `None` for the root of the tree.
    pub name: Option<String>,
    /// The site's loaders.
    pub loaders: Arc<[Loader]>,
    /// The site's boot media.
    pub media: Arc<[Medium]>,
    /// The build configuration.
    pub config: Arc<IpxeConfig>,
    /// Whether it has iPXE's signed set.
    pub has_signed_set: bool,
    /// The size of the slot for the script.
    pub slot: SlotSize,
    /// The digest of the slot's content.
    pub slot_sha256: Sha256Digest,
    template: Arc<Template>,
    vars: Vars,
}

impl Site {
    /// Creates a site whose script has been checked and fills `slot`.
    pub(super) fn new(setup: &ResolvedSite, name: Option<&str>, vars: Vars, slot: &Slot) -> Self {
        Self {
            name: name.map(str::to_owned),
            loaders: Arc::clone(&setup.loaders),
            media: Arc::clone(&setup.media),
            config: Arc::clone(&setup.config),
            has_signed_set: setup.has_signed_set,
            slot: slot.size(),
            slot_sha256: slot.digest(),
            template: Arc::clone(&setup.template),
            vars,
        }
    }

    /// Checks whether it has something to boot for `platform`: a loader, or iPXE's signed set.
    #[must_use]
    pub fn serves(&self, platform: Platform) -> bool {
        let has_set = self.has_signed_set && platform == Platform::EfiX64;
        has_set || self.loaders.iter().any(|loader| loader.platform() == platform)
    }

    /// Renders the script that the loaders run.
    #[must_use]
    pub fn script(&self) -> Script {
        Script::render(&self.template, self.name.as_deref(), &self.vars, self.slot)
    }

    /// Returns the template and the variables of the script.
    pub(super) fn parts(&self) -> (&Template, &Vars) {
        (&self.template, &self.vars)
    }

    /// Returns the file that the script is rendered from, as named in `sites.toml`.
    #[must_use]
    pub fn source(&self) -> &Utf8Path {
        &self.template.source
    }

    /// Returns the path of this file as diagnostics show it.
    #[must_use]
    pub fn script_file(&self) -> &Utf8Path {
        &self.template.file
    }
}
