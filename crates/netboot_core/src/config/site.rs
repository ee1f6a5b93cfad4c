//! A site: loaders with one script and one configuration.

use std::sync::Arc;

use camino::Utf8Path;

use super::assets::ResolvedSite;
use super::ipxe_config::IpxeConfig;
use super::script::Script;
use super::template::{Template, Vars};
use crate::digest::Sha256Digest;
use crate::loader::target::Loader;
use crate::stamp::slot::{Slot, SlotSize};

/// Loaders with one script and one configuration. There may be a hundred thousand: what sites have in common they
/// share, and the script is rendered when it is asked for.
#[derive(Debug, Clone)]
pub struct Site {
    /// The name: a folder below `sites/`; the root of the tree where `None`.
    pub name: Option<String>,
    /// Which loaders.
    pub loaders: Arc<[Loader]>,
    /// How they are built.
    pub config: Arc<IpxeConfig>,
    /// How large the slot of their script is.
    pub slot: SlotSize,
    /// The digest of the slot's content.
    pub slot_sha256: Sha256Digest,
    template: Arc<Template>,
    vars: Vars,
}

impl Site {
    /// A site whose script was found to be right, and fills `slot`.
    pub(super) fn new(setup: &ResolvedSite, name: Option<&str>, vars: Vars, slot: &Slot) -> Self {
        Self {
            name: name.map(str::to_owned),
            loaders: Arc::clone(&setup.loaders),
            config: Arc::clone(&setup.config),
            slot: slot.size(),
            slot_sha256: slot.digest(),
            template: Arc::clone(&setup.template),
            vars,
        }
    }

    /// What the loaders run.
    #[must_use]
    pub fn script(&self) -> Script {
        Script::render(&self.template, self.name.as_deref(), &self.vars, self.slot)
    }

    /// What the script is rendered from.
    pub(super) fn parts(&self) -> (&Template, &Vars) {
        (&self.template, &self.vars)
    }

    /// The file that the script is rendered from, as named in `sites.toml`.
    #[must_use]
    pub fn source(&self) -> &Utf8Path {
        &self.template.source
    }
}
