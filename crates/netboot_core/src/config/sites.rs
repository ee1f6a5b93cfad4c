//! `embed-scripts/sites.toml`: which sites get which loaders with which scripts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use camino::Utf8PathBuf;

use netboot_script::Feature;

use super::assets::Assets;
use super::boot_entry::{self, BootEntries, BootEntry};
use super::inventory::Inventory;
use super::pins::{MemberPin, Pins};
use super::reading::Reading;
use super::script;
use super::secure_boot::{self, SecureBoot};
use super::signed_set::SetPlace;
pub use super::site::Site;
use super::site_set::{self, SiteOrigin, SiteSet};
use super::site_table::{SiteTable, check_name, safe_path};
use super::syslinux;
use super::template::Vars;
use super::tftp_server::tftp_server;
use super::toml::{Located, Table, TomlFile};
use super::trust;
use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Diagnostic, Diagnostics, Location, first_warnings};
use crate::base::fs;
use crate::base::paths::{self, ProjectPaths};
use crate::base::secrets::{self, SecretKind};
use crate::loader::target::{Arch, Loader, Platform};

/// The complete site configuration.
#[derive(Debug, Clone)]
pub struct Sites {
    /// The loaders in the root of the tree, if any.
    pub default: Option<Site>,
    /// The sites, in the bytewise order of their loaders' paths in a tree.
    pub sites: Vec<Site>,
    /// The syslinux files for the root of the tree.
    pub members: Vec<MemberPin>,
    /// The boot entries.
    pub boot: Vec<BootEntry>,
    /// How UEFI loaders get signed, if they do.
    pub secure_boot: Option<SecureBoot>,
    /// Where iPXE's signed set is in the root of the tree and in the folders of the sites, if they have it.
    pub signed_set: Option<SetPlace>,
    /// The content of `pxelinux.cfg/default`, if requested.
    pub pxelinux_config: Option<Vec<u8>>,
    /// Warnings for the user.
    pub warnings: Vec<Diagnostic>,
}

/// Options from outside the file.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Additional inventories, each a CSV file or a folder of TOML files.
    pub inventories: Vec<Utf8PathBuf>,
    /// Whether a script that is too long for its slot gets a larger one.
    pub relink: bool,
}

impl Sites {
    /// Iterates over the root of the tree and all sites.
    pub fn iter(&self) -> impl Iterator<Item = &Site> {
        self.default.iter().chain(&self.sites)
    }

    /// Returns warnings about certificates of trusted authorities and of the signer that ended before `now`.
    #[must_use]
    pub fn ended_certificates(&self, now: SystemTime) -> Vec<Diagnostic> {
        let trusted = self.iter().flat_map(|site| &site.config.trust);
        let files: BTreeMap<&str, &[u8]> = trusted.map(|(name, content)| (name.as_str(), content.as_slice())).collect();
        let warning = |(name, content): (&str, &[u8])| {
            let day = trust::ended(content, now)?;
            let message =
                format!("the certificate in `{name}` was valid until {day}, and iPXE trusts none that has ended");
            Some(Diagnostic::new(message).help("name the one that has taken its place in `trust`"))
        };
        let signers = self.secure_boot.iter().flat_map(|it| it.ended_certificates(now));
        first_warnings(files.into_iter().filter_map(warning).chain(signers).collect())
    }

    /// Returns this configuration without sites, boot media and signed set, and with `loaders` in the root of the tree.
    #[must_use]
    pub fn with_loaders(mut self, loaders: &[Loader]) -> Self {
        self.sites.clear();
        self.signed_set = None;
        if let Some(site) = &mut self.default {
            (site.loaders, site.media, site.has_signed_set) = (loaders.into(), [].into(), false);
        }
        self
    }

    /// Reads the project's configuration and every file that it names. `pins` lists the available syslinux files, and has
    /// the version of iPXE that runs the scripts.
    ///
    /// # Errors
    ///
    /// [`Error`] with all errors in the configuration.
    pub fn read(project: &ProjectPaths, pins: &Pins, options: &Options) -> Result<Self, Error> {
        let path = project.sites();
        let server = tftp_server(&project.network())?;
        let site_set = SiteSet::new(options.relink, pins.ipxe.clone());
        let inventories = BTreeSet::new();
        let mut reading = Reading { assets: Assets::new(project, pins), site_set, inventories, bytes: 0 };
        let file = reading.assets.relative(&path);
        let text = String::from_utf8(fs::read_text(&path)?).map_err(|_| Error::NotUtf8(file.clone()))?;
        Ok(TomlFile::new(&file, &text).read(|root| {
            let secure_boot = root.table("secure-boot", |table| Some(secure_boot::read(table, &reading.assets)));
            let (secure_boot, signed_set) = secure_boot.map_or((None, None), |at| at.value);
            reading.assets.has_signed_set = signed_set.is_some();
            reading.site_set.has_signed_set = signed_set.is_some();
            reading.assets.secure_boot = secure_boot.as_ref().map(|it| it.build.clone());
            let default = reading.all(root, &options.inventories);
            let (members, pxelinux_config) = root
                .table("syslinux", |table| Some(syslinux::read(table, &pins.syslinux, &reading.assets)))
                .map_or((Vec::new(), None), |at| at.value);
            let BootEntries { mut boot, secure, secrets, warnings: of_entries } = boot_entry::read(root);
            let (sites, mut warnings) = reading.site_set.finish(root);
            warnings.extend(of_entries);
            let loaders = default.iter().chain(&sites).flat_map(|site| site.loaders.iter());
            let platforms =
                loaders.map(|loader| loader.platform()).chain(signed_set.as_ref().map(|_| Platform::EfiX64));
            let platforms: BTreeSet<Platform> = platforms.collect();
            let conflict = |set| secure_boot::conflict(set, default.iter().chain(&sites));
            if let Some(conflict) = signed_set.as_ref().and_then(conflict) {
                root.report(conflict);
            }
            warnings.extend(boot.iter_mut().filter_map(|entry| entry.meet(&platforms)));
            warnings.extend(secure_boot.iter().flat_map(|it| it.unsigned(&platforms)));
            warnings.extend(site_set::unused_addresses(default.iter().chain(&sites)));
            let lacking = lacking_https(default.iter().chain(&sites));
            warnings.extend(secure.iter().flat_map(|(location, arch)| https_warnings(location, *arch, &lacking)));
            let mut pxelinux_config = pxelinux_config;
            if pxelinux_config.is_none() && !members.is_empty() {
                pxelinux_config = boot_entry::pxelinux_configuration(&boot).map(String::into_bytes);
                let efi = members.iter().any(|member| member.name == "syslinux.efi");
                warnings.extend(boot_entry::warning(&boot, server).filter(|_| efi));
                warnings.extend(secure.iter().filter_map(boot_entry::without_https));
                warnings.extend(boot_entry::with_variables(&boot));
            }
            warnings.extend(published(root, &boot, &secrets, pxelinux_config.as_deref()));
            let warnings = first_warnings(warnings);
            let signed_set = signed_set.map(|at| at.value);
            Some(Self { default, sites, members, boot, secure_boot, signed_set, pxelinux_config, warnings })
        })?)
    }
}

/// Returns warnings about secrets in the files of the root of the tree. Those that are in values of boot entries are in
/// `written`; diagnostics name others by the paths of the files in the tree. Private keys are errors and go to `table`.
fn published(
    table: &Table<'_>,
    boot: &[BootEntry],
    written: &[(Location, SecretKind)],
    pxelinux_config: Option<&[u8]>,
) -> Vec<Diagnostic> {
    let scripts = boot.iter().map(|entry| (entry.file(), entry.script().into_bytes()));
    let config = pxelinux_config.map(|text| (paths::PXELINUX_DEFAULT.to_owned(), text.to_vec()));
    let mut warnings = Vec::new();
    for (location, kind) in written {
        if *kind == SecretKind::PrivateKey {
            table.report(location.finding("has a private key, and gets published", "remove it"));
        } else {
            warnings.push(kind.warning(location));
        }
    }
    for (file, text) in scripts.chain(config) {
        for secret in secrets::find(&text).into_iter().filter(|secret| !is_written(&file, secret.kind, written)) {
            if secret.kind == SecretKind::PrivateKey {
                let location = Location { file: file.clone().into(), line: secret.line, key: String::new() };
                table.report(location.finding("has a private key, and gets published", "remove it"));
            } else {
                warnings.push(secret.warning(&file));
            }
        }
    }
    warnings
}

/// Checks whether a secret in the generated `file` is `written` in a value of a boot entry that becomes a part of it.
fn is_written(file: &str, kind: SecretKind, written: &[(Location, SecretKind)]) -> bool {
    let entry = format!("boot.{}.", file.strip_suffix(".ipxe").unwrap_or_default());
    written.iter().any(|(location, found)| {
        *found == kind && (file == paths::PXELINUX_DEFAULT || location.key.starts_with(&entry))
    })
}

/// Returns the macros, by platform, that the loaders of `sites` lack for https.
fn lacking_https<'s>(sites: impl Iterator<Item = &'s Site>) -> BTreeSet<(Platform, &'static str)> {
    let https = Feature::https(0);
    sites.flat_map(|site| site.config.lacks(&https, &site.loaders).collect::<Vec<_>>()).collect()
}

/// Returns a warning about the https address at `location`, from which machines with `arch` fetch, for each macro that their
/// loaders are `lacking`.
fn https_warnings(
    location: &Location,
    arch: Arch,
    lacking: &BTreeSet<(Platform, &'static str)>,
) -> BTreeSet<Diagnostic> {
    let https = Feature::https(location.line);
    let there = lacking.iter().filter(|(platform, _)| platform.kernel_arch() == arch);
    there.map(|(platform, name)| script::lacking(&https, location, name, *platform)).collect()
}

/// Errors from reading the site configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Errors in the content of the files.
    #[error(transparent)]
    Findings(#[from] Diagnostics),
    /// The file is not UTF-8.
    #[error("`{0}` is not UTF-8")]
    NotUtf8(Utf8PathBuf),
    /// The file cannot be read.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Findings(findings) => findings.diagnosis(),
            Self::NotUtf8(file) => Class::BadInput.about(file).help("save the file as UTF-8"),
            Self::Fs(error) => Diagnosis { class: Class::BadInput, ..error.diagnosis() },
        }
    }
}

impl Reading<'_> {
    /// Reads the sites of `root` and of all inventories, and returns the loaders for the root of the tree.
    fn all(&mut self, root: &Table<'_>, inventories: &[Utf8PathBuf]) -> Option<Site> {
        let base = root.table("default", |table| Some(SiteTable::read(table)));
        let base = root.require("default", base, "add the table [default] with `loaders` and `script`");
        let nowhere =
            || Located { value: SiteTable::default(), location: Location { key: "default".into(), ..root.location() } };
        let Located { value: base, location } = base.unwrap_or_else(nowhere);
        let default = self.assets.setup(root, &location, base.clone()).and_then(|mut setup| {
            let vars = Vars::from(setup.vars.clone());
            self.site_set.check(&mut setup, None, &SiteOrigin::from(&location), vars)
        });
        root.tables("site", |name, table| {
            let named = table.accept(check_name(&name.value, || name.location.clone()));
            let site_table = SiteTable::read(table).over(&base);
            self.site(table, named.map(|()| name.value.as_str()), &name.location, site_table);
            Some(())
        });
        root.tables("inventory", |name, table| {
            let from = table.require("from", safe_path(table, "from"), "name a CSV file, or a folder of *.toml");
            let site_table = SiteTable::read(table).over(&base);
            let from = from?;
            let path = self.assets.path(&from.value);
            let file = self.assets.relative(&path);
            Inventory { path: &path, file, asked: &from.location, site_table, location: &name.location }
                .read(table, self);
            Some(())
        });
        for path in inventories {
            let asked = Location { file: path.clone(), line: 0, key: String::new() };
            Inventory { path, file: path.clone(), asked: &asked, site_table: base.clone(), location: &location }
                .read(root, self);
        }
        default
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ipxe_config::IpxeConfig;
    use crate::config::script::{Script, ScriptRules};
    use crate::config::template::Template;
    use crate::stamp::slot::SlotSize;
    use netboot_script::Availability;

    #[test]
    fn every_shipped_script_is_one_that_ipxe_takes() {
        let project = ProjectPaths::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
        let mut count = 0;
        for (path, _) in fs::walk(&project.scripts()).unwrap() {
            if path.extension() == Some("ipxe") {
                let template = Template::new(&path, &path, &fs::read(&project.scripts().join(&path)).unwrap()).unwrap();
                let rules = ScriptRules { size: SlotSize::DEFAULT, grow: false, unknown_commands: false };
                for vars in [&[][..], &[("boot_url", "http://192.0.2.10/boot.ipxe")]] {
                    let vars = vars.iter().collect();
                    match Script::check(&template, Some("rack-1"), &vars, rules) {
                        Ok((_, notes)) => {
                            let always = notes.features.iter().all(|it| it.availability == Availability::Always);
                            assert!(always && notes.warnings.is_empty(), "{path}: in a default build");
                        }
                        Err(flaws) => assert!(path == "url.ipxe" && vars.common.is_empty(), "{path}: {flaws:?}"),
                    }
                }
                count += 1;
            }
        }
        assert_eq!(count, 4);
    }

    #[test]
    fn every_shipped_configuration_can_be_read() {
        let configs = ProjectPaths::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).ipxe_configs();
        for name in ["https", "diagnostics", "serial", "full"] {
            assert!(!IpxeConfig::read(&configs, name).unwrap().headers.is_empty(), "{name}");
        }
        assert!(IpxeConfig::read(&configs, "full").unwrap().defines("PING_CMD"));
    }
}
