//! `embed-scripts/sites.toml`: which loaders, with which scripts, for which sites.

use std::collections::BTreeMap;
use std::sync::Arc;

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::ipxe_config::{self, IpxeConfig};
use super::loader::{Loader, UnknownLoader};
use super::pins::{MemberPin, SyslinuxPin};
use super::reader::{At, Document, Finding, Findings, Place, Table};
use super::script::{self, Script};
use crate::fs;
use crate::paths::Project;
use crate::tree::header::{Kind, describe, identify};

/// All choices.
#[derive(Debug, Clone)]
pub struct Sites {
    /// The root of the tree first, then the sites in the order of the file.
    pub sites: Vec<Site>,
    /// The syslinux files for the root of the tree.
    pub members: Vec<MemberPin>,
    /// The content of `pxelinux.cfg/default`, where asked for.
    pub pxelinux_config: Option<Vec<u8>>,
    /// What a person should know although it is no error, in the form of error messages.
    pub warnings: Vec<String>,
}

/// Loaders with one script and one configuration.
#[derive(Debug, Clone)]
pub struct Site {
    /// The name: a folder below `sites/`; the root of the tree where `None`.
    pub name: Option<String>,
    /// Which loaders.
    pub loaders: Vec<Loader>,
    /// What they run.
    pub script: Arc<Script>,
    /// How they are built.
    pub config: Arc<IpxeConfig>,
}

impl Sites {
    /// These choices without sites, and with all loaders in the root of the tree.
    #[must_use]
    pub fn with_all_loaders(mut self) -> Self {
        self.sites.retain(|site| site.name.is_none());
        for site in &mut self.sites {
            site.loaders = Loader::ALL.to_vec();
        }
        self
    }

    /// Reads the project's choices, with every file that they name. `syslinux` says which
    /// syslinux files there are to choose from.
    ///
    /// # Errors
    ///
    /// [`Error`]: all that is wrong with them.
    pub fn read(project: &Project, syslinux: &SyslinuxPin) -> Result<Self, Error> {
        let file = project.sites();
        let text = String::from_utf8(fs::read(&file)?).map_err(|_| Error::NotUtf8(relative(project, &file)))?;
        let document = Document::new(&relative(project, &file), &text);
        Ok(document.read(|root| {
            Some(Reader { project, configs: BTreeMap::new(), warnings: Vec::new() }.sites(root, syslinux))
        })?)
    }
}

/// Why the choices cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What is wrong with them.
    #[error(transparent)]
    Findings(#[from] Findings),
    /// The file is no text.
    #[error("`{0}` is not UTF-8\nhint: save the file as UTF-8")]
    NotUtf8(Utf8PathBuf),
    /// The file cannot be read.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

/// What a table says; the rest comes from `[default]`.
#[derive(Clone, Default)]
struct Said {
    loaders: Option<Vec<Loader>>,
    script: Option<At<Utf8PathBuf>>,
    config: Option<At<String>>,
    trust: Option<Vec<At<Utf8PathBuf>>>,
    vars: BTreeMap<String, String>,
}

impl Said {
    fn over(self, base: &Self) -> Self {
        let mut vars = base.vars.clone();
        vars.extend(self.vars);
        Self {
            loaders: self.loaders.or_else(|| base.loaders.clone()),
            script: self.script.or_else(|| base.script.clone()),
            config: self.config.or_else(|| base.config.clone()),
            trust: self.trust.or_else(|| base.trust.clone()),
            vars,
        }
    }
}

struct Reader<'p> {
    project: &'p Project,
    configs: BTreeMap<(String, Vec<Utf8PathBuf>), Option<Arc<IpxeConfig>>>,
    warnings: Vec<String>,
}

impl Reader<'_> {
    fn sites(mut self, root: &Table<'_>, syslinux: &SyslinuxPin) -> Sites {
        let base = root.table("default", |table| Some(said(table)));
        let base = root.require("default", base, "add the table [default] with `loaders` and `script`");
        let (base, default_place) = base.map_or((Said::default(), root.place()), |at| (at.value, at.place));
        let default = self.site(root, None, &default_place, base.clone());
        let mut names: BTreeMap<String, String> = BTreeMap::new();
        let sites = root.tables("site", |name, table| {
            let own = said(table);
            table.accept(site_name(&name.value, &name.place))?;
            if let Some(other) = names.insert(name.value.to_lowercase(), name.value.clone()) {
                table.report(name.place.finding(
                    format!("differs from the site `{other}` only in case, and some TFTP servers ignore case"),
                    "rename one of them",
                ));
            }
            self.site(table, Some(&name.value), &name.place, own.over(&base))
        });
        let (members, pxelinux_config) = root
            .table("syslinux", |table| Some(self.syslinux(table, syslinux)))
            .map_or((Vec::new(), None), |at| at.value);
        let sites: Vec<Site> = default.into_iter().chain(sites).collect();
        self.warnings.sort();
        self.warnings.dedup();
        Sites { sites, members, pxelinux_config, warnings: self.warnings }
    }

    fn site(&mut self, table: &Table<'_>, name: Option<&str>, place: &Place, said: Said) -> Option<Site> {
        let missing = |key: &str, remedy: &str| {
            let key = if place.key.is_empty() { format!("default.{key}") } else { format!("{}.{key}", place.key) };
            table.report(Place { key, ..place.clone() }.finding("is missing", remedy));
        };
        if said.loaders.as_ref().is_some_and(Vec::is_empty) {
            // No loader, no script: what is missing here may come from the sites.
            return None;
        }
        if said.loaders.is_none() {
            missing("loaders", "list the loaders, or none with []");
        }
        if said.script.is_none() {
            missing("script", "name a script in embed-scripts");
        }
        let config = self.config(table, said.config.as_ref(), said.trust.as_deref().unwrap_or_default());
        let script = self.script(table, name, said.script.as_ref()?, &said.vars);
        let (loaders, script, config) = (said.loaders?, script?, config?);
        self.warn(&script, &loaders, &config);
        Some(Site { name: name.map(str::to_owned), loaders, script: Arc::new(script), config })
    }

    fn script(
        &self,
        table: &Table<'_>,
        site: Option<&str>,
        at: &At<Utf8PathBuf>,
        vars: &BTreeMap<String, String>,
    ) -> Option<Script> {
        let path = self.project.scripts().join(&at.value);
        let content = self.content(table, at, "script")?;
        let mut vars = vars.clone();
        if vars.contains_key("site") {
            table.report(
                at.place.finding(
                    "`vars.site` is the site's name and cannot be set",
                    "choose another name for the variable",
                ),
            );
        }
        vars.insert("site".into(), site.unwrap_or("default").into());
        let rendered = Script::render(&at.value, &relative(self.project, &path), &content, &vars);
        rendered.map_err(|findings| findings.into_iter().for_each(|finding| table.report(finding))).ok()
    }

    fn config(
        &mut self,
        table: &Table<'_>,
        name: Option<&At<String>>,
        trust: &[At<Utf8PathBuf>],
    ) -> Option<Arc<IpxeConfig>> {
        let named = name.map_or(ipxe_config::DEFAULT, |at| &at.value);
        let key = (named.to_owned(), trust.iter().map(|at| at.value.clone()).collect::<Vec<_>>());
        if let Some(known) = self.configs.get(&key) {
            return known.clone();
        }
        let config = self.read_config(table, named, name, trust).map(Arc::new);
        self.configs.insert(key, config.clone());
        config
    }

    fn read_config(
        &self,
        table: &Table<'_>,
        named: &str,
        name: Option<&At<String>>,
        trust: &[At<Utf8PathBuf>],
    ) -> Option<IpxeConfig> {
        let place = name.map_or_else(|| table.place(), |at| at.place.clone());
        let read = IpxeConfig::read(&self.project.ipxe_configs(), named);
        let config = table.accept(read.map_err(|error| {
            place.finding(error.to_string(), "add its headers under vendor/ipxe-config, or name another one")
        }));
        let trust: Vec<Option<(String, Vec<u8>)>> = trust.iter().map(|at| self.certificate(table, at)).collect();
        let mut config = config?;
        config.trust = trust.into_iter().collect::<Option<_>>()?;
        Some(config)
    }

    fn certificate(&self, table: &Table<'_>, at: &At<Utf8PathBuf>) -> Option<(String, Vec<u8>)> {
        let content = self.content(table, at, "certificate")?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&content).collect();
        let (problem, remedy) = match found {
            Ok(found) if found.len() == 1 => return Some((at.value.to_string(), content)),
            // iPXE would take the first one only.
            Ok(found) if found.len() > 1 => {
                (format!("holds {} certificates", found.len()), "put each into a file of its own")
            }
            _ => ("is not a PEM certificate".into(), "convert it with `openssl x509`"),
        };
        table.report(at.place.finding(format!("`{}` {problem}", at.value), remedy));
        None
    }

    fn syslinux(&self, table: &Table<'_>, pinned: &SyslinuxPin) -> (Vec<MemberPin>, Option<Vec<u8>>) {
        let names = table.require("members", table.strings("members"), "list the files, or leave [syslinux] out");
        let mut members = Vec::new();
        for name in names.map(|at| at.value).unwrap_or_default() {
            let member = pinned.members.iter().find(|member| member.name == name.value).cloned();
            let known = pinned.members.iter().map(|member| format!("`{}`", member.name)).collect::<Vec<_>>().join(", ");
            if members.iter().any(|other: &MemberPin| other.name == name.value) {
                table.report(name.place.finding(format!("lists `{}` twice", name.value), "remove one of them"));
            }
            members.extend(table.accept(member.ok_or_else(|| {
                name.place
                    .finding(format!("`{}` is not pinned", name.value), format!("pinned in vendor/pins.toml: {known}"))
            })));
        }
        for (loader, companion) in
            [("lpxelinux.0", "ldlinux.c32"), ("pxelinux.0", "ldlinux.c32"), ("syslinux.efi", "ldlinux.e64")]
        {
            let has = |name| members.iter().any(|member: &MemberPin| member.name == name);
            if has(loader) && !has(companion) {
                table.report(table.place().finding(
                    format!("`{loader}` cannot start without `{companion}`"),
                    format!("add `{companion}` to members"),
                ));
            }
        }
        let config = safe_path(table, "pxelinux-config").and_then(|at| self.pxelinux_config(table, &at));
        (members, config)
    }

    fn pxelinux_config(&self, table: &Table<'_>, at: &At<Utf8PathBuf>) -> Option<Vec<u8>> {
        let content = self.content(table, at, "pxelinux configuration")?;
        if identify(&content) == Some((Kind::Text, None)) {
            return Some(content);
        }
        let message = format!("`{}` is {}, wanted a text", at.value, describe(&content));
        table.report(at.place.finding(message, "save it as UTF-8"));
        None
    }

    fn content(&self, table: &Table<'_>, at: &At<Utf8PathBuf>, what: &str) -> Option<Vec<u8>> {
        let read = fs::read(&self.project.scripts().join(&at.value));
        table.accept(read.map_err(|error| {
            let message = if error.is_not_found() {
                format!("there is no {what} `{}` in embed-scripts", at.value)
            } else {
                error.to_string()
            };
            at.place.finding(message, "create the file, or name another one")
        }))
    }

    fn warn(&mut self, script: &Script, loaders: &[Loader], config: &IpxeConfig) {
        let file = relative(self.project, &self.project.scripts().join(&script.source));
        for platform in super::loader::Platform::ALL {
            if loaders.iter().any(|loader| loader.platform() == platform) {
                let needs = script.needs(platform).into_iter();
                let lacking = needs.filter(|(_, _, name)| !config.defines(name));
                self.warnings.extend(
                    lacking.map(|(line, command, name)| script::lacking(&file, line, &command, name, platform)),
                );
            }
        }
    }
}

fn said(table: &Table<'_>) -> Said {
    let loaders = table.strings("loaders").map(|list| {
        let mut loaders = Vec::new();
        for name in list.value {
            let loader: Result<Loader, _> = name.value.parse();
            let loader = loader.map_err(|error| name.place.finding(error.to_string(), UnknownLoader::remedy()));
            let Some(loader) = table.accept(loader) else { continue };
            if loaders.contains(&loader) {
                table.report(name.place.finding(format!("lists `{loader}` twice"), "remove one of them"));
            }
            loaders.push(loader);
        }
        loaders
    });
    let trust = table.strings("trust").map(|list| {
        let paths = list.value.into_iter().filter_map(|at| checked_path(table, at));
        paths.collect()
    });
    let vars = table.table("vars", |vars| Some(vars.all_strings()));
    let vars = vars.map(|at| at.value).unwrap_or_default();
    Said {
        loaders,
        script: safe_path(table, "script"),
        config: table.string("config"),
        trust,
        vars: vars.into_iter().map(|(name, at)| (name, at.value)).collect(),
    }
}

fn safe_path(table: &Table<'_>, key: &str) -> Option<At<Utf8PathBuf>> {
    checked_path(table, table.string(key)?)
}

fn checked_path(table: &Table<'_>, at: At<String>) -> Option<At<Utf8PathBuf>> {
    let path = Utf8PathBuf::from(&at.value);
    if path.components().all(|part| matches!(part, Utf8Component::Normal(_))) && !at.value.is_empty() {
        return Some(At { value: path, place: at.place });
    }
    table.report(at.place.finding(
        format!("found `{}`, wanted a path inside embed-scripts", at.value),
        "copy the file into embed-scripts and name it without `..`",
    ));
    None
}

/// A site's name becomes a folder, so it must be one on every file system and in every URL.
fn site_name(name: &str, place: &Place) -> Result<(), Finding> {
    let fine = name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if fine && !name.starts_with(['.', '-']) && (1..=63).contains(&name.len()) && !name.ends_with('.') {
        return Ok(());
    }
    Err(place.finding(
        format!("found the site name `{name}`, wanted 1 to 63 letters, digits, `-`, `_` or `.`, not starting with `.` or `-`"),
        "rename the site: its name becomes a folder of the tree",
    ))
}

fn relative(project: &Project, path: &Utf8Path) -> Utf8PathBuf {
    path.strip_prefix(project.root()).unwrap_or(path).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_script_is_one_that_ipxe_takes() {
        let project = Project::new(env!("CARGO_MANIFEST_DIR"));
        let with_url = [("site", "rack-1"), ("boot_url", "http://192.0.2.10/boot.ipxe")];
        let mut count = 0;
        for (path, _) in fs::walk(&project.scripts()).unwrap() {
            if path.extension() == Some("ipxe") {
                let content = fs::read(&project.scripts().join(&path)).unwrap();
                for vars in [&with_url[..1], &with_url[..]] {
                    let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
                    match Script::render(&path, &path, &content, &vars) {
                        Ok(script) => {
                            for platform in super::super::loader::Platform::ALL {
                                assert_eq!(script.needs(platform).len(), 0, "{path} runs in a default build");
                            }
                        }
                        Err(findings) => assert!(path == "url.ipxe" && vars.len() == 1, "{path}: {findings:?}"),
                    }
                }
                count += 1;
            }
        }
        assert_eq!(count, 4);
    }

    #[test]
    fn every_shipped_configuration_can_be_read() {
        let configs = Project::new(env!("CARGO_MANIFEST_DIR")).ipxe_configs();
        for name in ["https", "diagnostics", "serial", "full"] {
            assert!(!IpxeConfig::read(&configs, name).unwrap().headers.is_empty(), "{name}");
        }
        assert!(IpxeConfig::read(&configs, "full").unwrap().defines("PING_CMD"));
    }
}
