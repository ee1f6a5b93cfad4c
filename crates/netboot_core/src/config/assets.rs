//! Files that the configuration names: script templates, build configurations and certificates. Each file is read once,
//! however many sites name it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

use netboot_script::Feature;

use super::ipxe_config::{self, IpxeConfig, SecureBuild};
use super::pins::{IpxePin, Pins};
use super::signed_set::SignedSetPin;
use super::site_table::SiteTable;
use super::template::{Common, Template};
use super::toml::{Located, Table};
use super::trust::{self, RefusedCertificate};
use crate::base::diagnostic::{Diagnostic, Location};
use crate::base::fs;
use crate::base::paths::ProjectPaths;
use crate::loader::medium::Medium;
use crate::loader::target::Loader;
use crate::stamp::slot::SlotSize;

/// Everything that makes up a site except its name and its own variables.
pub(super) struct ResolvedSite {
    /// The site's loaders.
    pub loaders: Arc<[Loader]>,
    /// The site's boot media.
    pub media: Arc<[Medium]>,
    /// The template of the embedded script.
    pub template: Arc<Template>,
    /// The build configuration.
    pub config: Arc<IpxeConfig>,
    /// Whether the site has iPXE's signed set.
    pub has_signed_set: bool,
    /// Requested slot size; a longer script may get a larger slot.
    pub slot: SlotSize,
    /// The variables.
    pub vars: Common,
    /// Features already checked against the build configuration.
    pub judged: BTreeSet<Feature>,
}

/// The certificates that a table lists.
type Trust = Arc<[Located<Utf8PathBuf>]>;

/// A list of certificates and the build configuration with them.
type Shared = (Trust, Option<Arc<IpxeConfig>>);

/// All files read so far.
pub(super) struct Assets<'p> {
    project: &'p ProjectPaths,
    /// What media are made with.
    pins: &'p Pins,
    /// How UEFI loaders are built for Secure Boot, if they are.
    pub secure_boot: Option<SecureBuild>,
    /// Whether scripts are for iPXE's signed set, too, so that one is of use without loaders.
    pub has_signed_set: bool,
    templates: BTreeMap<Utf8PathBuf, Arc<Template>>,
    configs: BTreeMap<(String, Vec<Utf8PathBuf>), Arc<IpxeConfig>>,
    /// Build configurations by name and by the address of a certificate list that tables share; `None` for one with
    /// errors.
    shared: BTreeMap<(String, usize), Shared>,
    /// Total size of the scripts, in bytes.
    scripts: usize,
    /// Total size of the certificates of all configurations, in bytes.
    trusted: usize,
}

/// Maximum total size of all scripts in bytes, and maximum number of scripts: each compiled template takes a few
/// kilobytes of memory.
const MAX_SCRIPTS: (usize, usize) = (3 << 20, 2_000);

/// Version of iPXE since which it has the script that makes images.
const GENFSIMG_SINCE: &str = "2.0.0";

/// Maximum size of a certificate file in bytes; a typical one has 2,000.
const MAX_CERTIFICATE: u64 = 64 << 10;

/// Maximum total size of the certificates of all configurations, in bytes.
const MAX_TRUSTED: usize = 8 << 20;

impl<'p> Assets<'p> {
    pub(super) fn new(project: &'p ProjectPaths, pins: &'p Pins) -> Self {
        Self {
            project,
            pins,
            secure_boot: None,
            has_signed_set: false,
            templates: BTreeMap::new(),
            configs: BTreeMap::new(),
            shared: BTreeMap::new(),
            scripts: 0,
            trusted: 0,
        }
    }

    /// Resolves the complete settings `site_table` at `location` and reads all files that they name. Returns `None` if
    /// there are no loaders and no signed set with a script, or if there are errors.
    pub(super) fn setup(
        &mut self,
        table: &Table<'_>,
        location: &Location,
        mut site_table: SiteTable,
    ) -> Option<ResolvedSite> {
        let missing = |key: &str, remedy: &str| {
            let key = if location.key.is_empty() { key.to_owned() } else { format!("{}.{key}", location.key) };
            table.report(Location { key, ..location.clone() }.finding("is missing", remedy));
        };
        if site_table.loaders.as_ref().is_some_and(|loaders| loaders.is_empty()) {
            // Without loaders no script is needed; the sites can still set what is missing here.
            let own = |media: &Located<Arc<[Medium]>>| media.location.key == format!("{}.media", location.key);
            if let Some(media) = site_table.media.take().filter(|media| own(media) && location.key != "default")
                && let Some(medium) = media.value.first()
            {
                let message = format!("`{medium}` is for the machines that `loaders` are for, and there are none");
                table.report(media.location.finding(message, "list loaders, or leave `media` out"));
            }
            if !self.has_signed_set || site_table.script.is_none() {
                return None;
            }
        }
        if site_table.loaders.is_none() {
            missing("loaders", "list the loaders, or none with []");
        }
        if site_table.script.is_none() {
            missing("script", "name a script in embed-scripts");
        }
        let config = self.shared(table, site_table.config.as_ref(), site_table.trust.as_ref());
        let template = self.template(table, site_table.script.as_ref()?);
        let slot = site_table.slot.unwrap_or(SlotSize::DEFAULT);
        let (loaders, template, config) = (site_table.loaders?, template?, config?);
        let media =
            site_table.media.map_or_else(|| Arc::from([]), |media| self.media(table, media, &loaders, location));
        Some(ResolvedSite {
            loaders,
            media,
            template,
            config,
            has_signed_set: self.has_signed_set,
            slot,
            vars: site_table.vars,
            judged: BTreeSet::new(),
        })
    }

    /// Returns the `media`, after checking that they can be made for the machines that boot `loaders`.
    /// `of` is where they belong, which can inherit them.
    fn media(
        &self,
        table: &Table<'_>,
        media: Located<Arc<[Medium]>>,
        loaders: &[Loader],
        of: &Location,
    ) -> Arc<[Medium]> {
        let Located { value: media, location } = media;
        for medium in &*media {
            if medium.parts(loaders).is_empty() {
                let message = format!("`{medium}` is for UEFI, and the loaders of `{}` have none for it", of.key);
                let remedy = "add a loader for UEFI there, as in `ipxe.efi`, or give it `media` without this one";
                table.report(location.finding(message, remedy));
            }
            if *medium != Medium::Esp && self.pins.ipxe.precedes(GENFSIMG_SINCE) {
                let version = &self.pins.ipxe.version;
                let message = format!(
                    "`{medium}` is made by iPXE's genfsimg, which is new in iPXE {GENFSIMG_SINCE}, and the pin is {version}"
                );
                table.report(location.finding(message, format!("pin iPXE {GENFSIMG_SINCE} or later, or leave it out")));
            }
            let pinned = |name: &&&str| self.pins.syslinux.members.iter().any(|member| member.name == **name);
            for name in medium.members().iter().filter(|name| !pinned(name)) {
                let message = format!("`{medium}` is made with `{name}`, which is not pinned");
                table.report(location.finding(message, "add it to vendor/pins.toml, as [[syslinux.member]]"));
            }
        }
        media
    }

    /// Returns the pinned iPXE.
    pub(super) fn pin(&self) -> &'p IpxePin {
        &self.pins.ipxe
    }

    /// Returns the pinned signed set, if there is one.
    pub(super) fn signed_set(&self) -> Option<&'p SignedSetPin> {
        self.pins.signed_set.as_ref()
    }

    /// Returns the project's folder.
    pub(super) fn root(&self) -> &'p Utf8Path {
        self.project.root()
    }

    /// Returns the path of a file or folder as diagnostics show it.
    pub(super) fn relative(&self, path: &Utf8Path) -> Utf8PathBuf {
        path.strip_prefix(self.project.root()).unwrap_or(path).to_owned()
    }

    /// Returns the path of a file or folder that the configuration names.
    pub(super) fn path(&self, named: &Utf8Path) -> Utf8PathBuf {
        self.project.scripts().join(named)
    }

    /// Reads a file that the configuration names; `what` describes the file in diagnostics.
    pub(super) fn content(&self, table: &Table<'_>, at: &Located<Utf8PathBuf>, what: &str) -> Option<Vec<u8>> {
        let read = fs::read_text(&self.path(&at.value));
        let remedy = "name a regular file that you can read, and that is not larger";
        table.accept(read.map_err(|error| unreadable(at, what, &error, remedy)))
    }

    fn template(&mut self, table: &Table<'_>, at: &Located<Utf8PathBuf>) -> Option<Arc<Template>> {
        if let Some(known) = self.templates.get(&at.value) {
            return Some(Arc::clone(known));
        }
        let content = self.content(table, at, "script")?;
        let (bytes, count) = MAX_SCRIPTS;
        if self.scripts + content.len() > bytes || self.templates.len() == count {
            let message = format!("makes more than {count} scripts, or {bytes} bytes of all scripts together");
            table.report(at.location.finding(message, "let sites share a script, and tell them apart by variables"));
            return None;
        }
        self.scripts += content.len();
        let file = self.relative(&self.path(&at.value));
        let template = table.accept(Template::new(&at.value, &file, &content)).map(Arc::new)?;
        self.templates.insert(at.value.clone(), Arc::clone(&template));
        Some(template)
    }

    /// Returns the configuration `name` with the certificates `trust`. Tables that inherit the list from the same table
    /// share one result.
    fn shared(
        &mut self,
        table: &Table<'_>,
        name: Option<&Located<String>>,
        trust: Option<&Trust>,
    ) -> Option<Arc<IpxeConfig>> {
        let Some(trust) = trust else { return self.config(table, name, &[]) };
        let named = name.map(|at| at.value.clone()).unwrap_or_default();
        // The map keeps the list alive, so no other list can get its address.
        let key = (named, trust.as_ptr().addr());
        if let Some((_, known)) = self.shared.get(&key) {
            return known.clone();
        }
        let config = self.config(table, name, trust);
        self.shared.insert(key, (Arc::clone(trust), config.clone()));
        config
    }

    fn config(
        &mut self,
        table: &Table<'_>,
        name: Option<&Located<String>>,
        trust: &[Located<Utf8PathBuf>],
    ) -> Option<Arc<IpxeConfig>> {
        let named = name.map_or(ipxe_config::DEFAULT, |at| &at.value);
        let key = (named.to_owned(), trust.iter().map(|at| at.value.clone()).collect::<Vec<_>>());
        if let Some(known) = self.configs.get(&key) {
            return Some(Arc::clone(known));
        }
        let location = name.map_or_else(|| table.location(), |at| at.location.clone());
        let read = IpxeConfig::read(&self.project.ipxe_configs(), named);
        let config = table.accept(read.map_err(|error| {
            location.finding(error.to_string(), "add its headers under vendor/ipxe-config, or name another one")
        }));
        let trust: Vec<Option<(String, Vec<u8>)>> = trust.iter().map(|at| self.certificate(table, at)).collect();
        let bytes: usize = trust.iter().flatten().map(|(_, certificate)| certificate.len()).sum();
        if self.trusted + bytes > MAX_TRUSTED {
            let message =
                format!("makes more than {MAX_TRUSTED} bytes of the certificates of all configurations together");
            table.report(location.finding(message, "let sites trust the same certificates, or fewer"));
            return None;
        }
        self.trusted += bytes;
        let trust = trust.into_iter().collect::<Option<_>>()?;
        let config = Arc::new(IpxeConfig { trust, secure_boot: self.secure_boot.clone(), ..config? });
        self.configs.insert(key, Arc::clone(&config));
        Some(config)
    }

    fn certificate(&self, table: &Table<'_>, at: &Located<Utf8PathBuf>) -> Option<(String, Vec<u8>)> {
        let read = fs::read_at_most(&self.path(&at.value), MAX_CERTIFICATE);
        let remedy = "put each certificate into a regular file of its own: one alone is smaller";
        let content = table.accept(read.map_err(|error| unreadable(at, "certificate", &error, remedy)))?;
        let RefusedCertificate { line, message, remedy } = match trust::certificate(&content) {
            Ok(certificate) => return Some((at.value.to_string(), certificate)),
            Err(refused) => refused,
        };
        table.report(if line > 0 {
            Location { file: self.relative(&self.path(&at.value)), line, key: String::new() }.finding(message, remedy)
        } else {
            at.location.finding(format!("`{}` {message}", at.value), remedy)
        });
        None
    }
}
/// Returns the diagnostic for an unreadable file at `at`; `what` describes the file, and `remedy` applies if it exists.
fn unreadable(at: &Located<Utf8PathBuf>, what: &str, error: &fs::Error, remedy: &str) -> Diagnostic {
    if error.is_not_found() {
        let message = format!("there is no {what} `{}` in embed-scripts", at.value);
        return at.location.finding(message, "create the file, or name another one");
    }
    at.location.finding(error.reason(), remedy)
}
