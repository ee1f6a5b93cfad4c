//! Loaders of sites as machines get them: what their scripts do with option 17, and what is wrong between these scripts
//! and `boot` of a network.

use std::collections::{BTreeSet, HashMap, HashSet};

use netboot_script::Feature;
use serde::Serialize;

use super::loader_script::{IPXE, LoaderScript};
use crate::base::diagnostic::{Diagnostic, Location};
use crate::config::network::{NetworkConfig, NetworkHost, WebAddress};
use crate::config::script;
use crate::config::sites::{Site, Sites};
use crate::loader::target::Platform;

/// Answer to a loader whose script follows option 17.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct SecondStage {
    /// User class of the loader; `None` if recipes cannot match it.
    pub class: Option<String>,
    /// Whether every server can tell the class from that of a boot ROM. dnsmasq also matches a part of a class.
    pub own_class: bool,
    /// Value of option 17.
    pub boot: WebAddress,
}

impl SecondStage {
    /// Determines the answer to the loaders of `choice`. `boot` is the value of option 17.
    pub(super) fn of(choice: Option<&SiteLoaders<'_>>, boot: Option<&WebAddress>) -> Option<Self> {
        let class = choice.filter(|choice| choice.script.follows())?.script.class.clone();
        let own_class = class.as_ref().is_none_or(|class| !IPXE.contains(class));
        Some(Self { class, own_class, boot: boot?.clone() })
    }
}

/// A site whose loaders a machine can get.
#[derive(Debug)]
pub(super) struct SiteLoaders<'s> {
    /// The site.
    pub site: &'s Site,
    /// The script of its loaders.
    pub script: LoaderScript,
}

impl<'s> SiteLoaders<'s> {
    pub(super) fn new(site: &'s Site) -> Self {
        Self { site, script: LoaderScript::read(site.script().text()) }
    }
}

/// The loaders that the machines of a network can get.
#[derive(Debug)]
pub(super) struct LoadersOfSites<'s> {
    /// Those in the root of the tree.
    pub default: Option<SiteLoaders<'s>>,
    /// Those of the sites that hosts name, by name.
    pub named: HashMap<&'s str, SiteLoaders<'s>>,
}

/// Warnings about `boot` of a network and the scripts of its loaders.
#[derive(Debug)]
pub(super) struct SecondStageNotes {
    /// About addresses that nothing follows, or that are missing.
    pub of_boot: Vec<Diagnostic>,
    /// About user classes that recipes cannot match.
    pub of_class: BTreeSet<Diagnostic>,
    /// About HTTPS addresses for loaders without support for HTTPS.
    pub lacking: BTreeSet<Diagnostic>,
}

impl<'s> LoadersOfSites<'s> {
    pub(super) fn new(network: &NetworkConfig, sites: &'s Sites) -> Self {
        let wanted: HashSet<&str> = network.hosts.iter().filter_map(|host| host.site.as_deref()).collect();
        let named = sites.sites.iter().filter_map(|site| Some((site.name.as_deref()?, site)));
        Self {
            default: sites.default.as_ref().map(SiteLoaders::new),
            named: named
                .filter(|(name, _)| wanted.contains(name))
                .map(|(name, site)| (name, SiteLoaders::new(site)))
                .collect(),
        }
    }

    /// Returns the loaders that `host` gets.
    fn of_host(&self, host: &NetworkHost) -> Option<&SiteLoaders<'s>> {
        host.site.as_deref().map_or(self.default.as_ref(), |name| self.named.get(name))
    }

    /// Returns what is wrong between `network` and the scripts.
    pub(super) fn notes(&self, network: &NetworkConfig) -> SecondStageNotes {
        let all = self.default.iter().chain(self.named.values()).filter(|choice| choice.script.follows());
        let of_class =
            |choice: &SiteLoaders<'_>| choice.script.class_warnings(choice.site.script_file()).collect::<Vec<_>>();
        SecondStageNotes {
            of_boot: self.of_boot(network),
            of_class: all.flat_map(of_class).collect(),
            lacking: self.lacking(network),
        }
    }

    /// Returns warnings about addresses in `network` that nothing follows or that are missing, and about scripts that
    /// take them for disks.
    fn of_boot(&self, network: &NetworkConfig) -> Vec<Diagnostic> {
        let follows = |choice: Option<&SiteLoaders<'_>>| choice.is_some_and(|choice| choice.script.follows());
        let common = |host: &&NetworkHost| host.boot.is_none() && host.site.is_some();
        let asks = follows(self.default.as_ref())
            || network.hosts.iter().filter(common).any(|host| follows(self.of_host(host)));
        let help = "let the script say `chain ${root-path}` after `dhcp`, as robust.ipxe does, or remove `boot`";
        let mut warnings = Vec::new();
        match (&network.boot, asks) {
            (None, true) => warnings.push(
                Diagnostic::new(
                    "`boot` is missing in network.toml, and the script of the loaders goes where option 17 says",
                )
                .help("name the iPXE script that machines go to, as in boot = \"fedora-coreos.ipxe\""),
            ),
            (Some(_), false) => warnings.push(
                Diagnostic::new(
                    "`boot` is set in network.toml, and no script of the loaders goes where option 17 says",
                )
                .help(help),
            ),
            _ => {}
        }
        let unheard = network.hosts.iter().filter(|host| host.boot.is_some() && !follows(self.of_host(host)));
        warnings.extend(unheard.map(|host| {
            let message = format!(
                "`boot` of the host `{}` counts for nothing: the script of its loader does not go where option 17 says",
                host.name
            );
            Diagnostic::new(message).help(help)
        }));
        let all = self.default.iter().chain(self.named.values());
        let disks: BTreeSet<_> =
            all.filter_map(|choice| choice.script.disk_warning(choice.site.script_file())).collect();
        warnings.extend(disks);
        warnings
    }

    /// Returns warnings about HTTPS addresses in `network` that go to loaders without support for HTTPS.
    fn lacking(&self, network: &NetworkConfig) -> BTreeSet<Diagnostic> {
        let https = Feature::https(0);
        let lacking =
            |choice: Option<&SiteLoaders<'_>>, platform: Option<Platform>, boot: Option<&WebAddress>, key: &str| {
                let location = Location { file: "network.toml".into(), line: 0, key: key.to_owned() };
                let choice = choice.filter(|choice| boot.is_some_and(WebAddress::is_secure) && choice.script.follows());
                let lacks: Vec<_> = choice
                    .map(|SiteLoaders { site, .. }| site.config.lacks(&https, &site.loaders).collect())
                    .unwrap_or_default();
                let of_machine =
                    lacks.into_iter().filter(|(lacking, _)| platform.is_none_or(|platform| platform == *lacking));
                let site = choice.and_then(|choice| choice.site.name.as_ref());
                let warning = |(platform, name): (Platform, &str)| {
                    let mut warning = script::lacking(&https, &location, name, platform);
                    warning.message.extend(site.map(|site| format!(" (site `{site}`)")));
                    warning
                };
                of_machine.map(warning).collect::<Vec<_>>()
            };
        let mut warnings = lacking(self.default.as_ref(), None, network.boot.as_ref(), "boot");
        for host in network.hosts.iter().filter(|host| host.boot.is_some() || host.site.is_some()) {
            let key = host.boot.as_ref().map_or_else(|| "boot".to_owned(), |_| format!("host.{}.boot", host.name));
            let boot = host.boot.as_ref().or(network.boot.as_ref());
            warnings.extend(lacking(self.of_host(host), Some(host.platform), boot, &key));
        }
        warnings.into_iter().collect()
    }
}
