//! The plan: all steps, computed before any of them runs. It is a pure function of pins, configuration, patches and
//! toolchain.

mod display;
mod object_inputs;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

pub use self::object_inputs::ObjectInputs;
use crate::base::paths;
use crate::config::ipxe_config::IpxeConfig;
use crate::config::pins::{MemberPin, Pins};
use crate::config::signed_set::{self, SetPlace, SignedFilePin, SignedSetPin};
use crate::config::sites::{Site, Sites};
use crate::digest::Sha256Digest;
use crate::fetch::ipxe::Patch;
use crate::loader::medium::Medium;
use crate::loader::target::{Loader, Platform};
use crate::stamp::slot::SlotSize;
use crate::toolchain::Toolchain;

/// All steps to build a tree.
#[derive(Debug)]
pub struct Plan {
    /// The builds, sorted by name; each is independent of the others.
    pub builds: Vec<Build>,
    /// Inputs of the plan.
    pub inputs: Inputs,
    /// Loaders in the root of the tree, if it has any.
    root: Option<SiteBases>,
    /// The sites, sorted by folder.
    sites: Vec<SiteBases>,
    /// The other files, sorted bytewise by path.
    others: Vec<(Utf8PathBuf, Other)>,
    /// Where iPXE's signed set is, if the tree has it.
    set_place: Option<SetPlace>,
}

/// Inputs of the plan.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// The pins.
    pub pins: Pins,
    /// The patches, in the order in which they are applied.
    pub patches: Vec<Patch>,
    /// The toolchain.
    pub toolchain: Toolchain,
}

/// One platform in one configuration: it has its own build tree.
#[derive(Debug)]
pub struct Build {
    /// The platform.
    pub platform: Platform,
    /// The configuration.
    pub config: Arc<IpxeConfig>,
    /// Everything that affects the objects.
    pub inputs: ObjectInputs,
    /// Digest of `inputs`: a different key means different objects.
    pub key: Sha256Digest,
    /// Bases to link from the objects, each with its key, by slot size.
    pub bases: BTreeMap<SlotSize, BTreeMap<Loader, Sha256Digest>>,
}

/// A site, with the keys of the bases that its loaders are stamped from.
#[derive(Debug)]
struct SiteBases {
    site: Site,
    bases: Arc<BTreeMap<Loader, Sha256Digest>>,
}

/// A file of the tree.
#[derive(Debug, Clone)]
pub struct PlannedFile<'p> {
    /// Its path in the tree.
    pub path: Utf8PathBuf,
    /// Source of its content.
    pub origin: ContentSource<'p>,
}

/// Source of a file's content.
#[derive(Debug, Clone, Copy)]
pub enum ContentSource<'p> {
    /// A stamped loader.
    Stamped(Stamped<'p>),
    /// A boot medium.
    Medium(PlannedMedium<'p>),
    /// A file of iPXE's signed set, or the script beside it.
    OfSet(PlannedSetFile<'p>),
    /// A file other than an iPXE loader.
    Other(&'p Other),
}

impl<'p> ContentSource<'p> {
    /// Returns the site whose script the file runs, or the root of the tree.
    #[must_use]
    pub fn site(&self) -> Option<&'p Site> {
        match self {
            Self::Stamped(Stamped { site, .. })
            | Self::Medium(PlannedMedium { site, .. })
            | Self::OfSet(PlannedSetFile { site, .. }) => Some(site),
            Self::Other(_) => None,
        }
    }
}

/// A loader with an embedded script.
#[derive(Debug, Clone, Copy)]
pub struct Stamped<'p> {
    /// The loader.
    pub loader: Loader,
    /// The key of its base.
    pub base: Sha256Digest,
    /// Owning site, or the root of the tree.
    pub site: &'p Site,
}

/// A boot medium with loaders that have an embedded script.
#[derive(Debug, Clone, Copy)]
pub struct PlannedMedium<'p> {
    /// The kind of medium.
    pub medium: Medium,
    /// Owning site, or the root of the tree.
    pub site: &'p Site,
    bases: &'p BTreeMap<Loader, Sha256Digest>,
}

impl<'p> PlannedMedium<'p> {
    /// Returns the loaders on it.
    pub fn parts(&self) -> impl Iterator<Item = Stamped<'p>> {
        let Self { medium, site, bases } = *self;
        medium.parts(&site.loaders).into_iter().map(move |loader| Stamped { loader, base: bases[&loader], site })
    }
}

/// A file of iPXE's signed set, or the script beside it.
#[derive(Debug, Clone, Copy)]
pub struct PlannedSetFile<'p> {
    /// The pinned file; `None` for the script.
    pub pin: Option<&'p SignedFilePin>,
    /// The set.
    pub set: &'p SignedSetPin,
    /// Owning site, or the root of the tree.
    pub site: &'p Site,
}

impl PlannedSetFile<'_> {
    /// Returns the script, if that is what the file is.
    #[must_use]
    pub fn script(&self) -> Option<String> {
        self.pin.is_none().then(|| signed_set::autoexec(self.site.script().text()))
    }
}

/// A file other than an iPXE loader.
#[derive(Debug, Clone)]
pub enum Other {
    /// The list of objects linked into a loader, which is the same for each script.
    Linked {
        /// The loader.
        loader: Loader,
        /// Key of one of the bases that the list describes.
        key: Sha256Digest,
        /// Name of the configuration.
        config: String,
    },
    /// A pinned syslinux file.
    Member(MemberPin),
    /// A text from the project.
    Text(Vec<u8>),
}

impl Build {
    /// Returns the name of the build and of its build tree. A changed configuration keeps its name, so that its new
    /// build replaces the previous one.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}-{}", self.platform, self.config.unique_name(self.platform))
    }
}

impl Plan {
    /// Computes the plan.
    #[must_use]
    pub fn new(inputs: Inputs, sites: Sites) -> Self {
        let Sites { default, sites, members, boot, pxelinux_config, signed_set: set_place, .. } = sites;
        let mut resolver = BaseResolver { inputs: &inputs, builds: BTreeMap::new(), known: BTreeMap::new() };
        let mut bind = |site| SiteBases { bases: resolver.bases(&site), site };
        let (root, sites) = (default.map(&mut bind), sites.into_iter().map(&mut bind).collect());
        let mut builds: Vec<Build> = resolver.builds.into_values().collect();
        builds.sort_by_key(Build::name);
        let mut others = linked(&builds);
        others.extend(members.into_iter().map(|member| (member.name.clone().into(), Other::Member(member))));
        others.extend(boot.iter().map(|entry| (entry.file().into(), Other::Text(entry.script().into_bytes()))));
        others.extend(pxelinux_config.map(|text| (paths::PXELINUX_DEFAULT.into(), Other::Text(text))));
        others.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
        Self { builds, inputs, root, sites, others, set_place }
    }

    /// Returns all files of the tree, sorted bytewise by path.
    pub fn files(&self) -> impl Iterator<Item = PlannedFile<'_>> {
        let others = self
            .others
            .iter()
            .map(|(path, other)| PlannedFile { path: path.clone(), origin: ContentSource::Other(other) });
        let mut own: Vec<PlannedFile<'_>> =
            self.root.iter().flat_map(|root| root.files(self.set())).chain(others).collect();
        own.sort_by(|a, b| a.path.as_str().cmp(b.path.as_str()));
        // The files of all sites are contiguous, in the order of the sites.
        let first_site = self.sites.first().and_then(|site| site.files(self.set()).next());
        let behind =
            own.split_off(own.partition_point(|file| {
                first_site.as_ref().is_none_or(|first| file.path.as_str() < first.path.as_str())
            }));
        own.into_iter().chain(self.sites.iter().flat_map(|site| site.files(self.set()))).chain(behind)
    }

    /// Returns the iPXE loaders among the files, sorted bytewise by path.
    pub fn loaders(&self) -> impl Iterator<Item = (Utf8PathBuf, Stamped<'_>)> {
        self.files().filter_map(|PlannedFile { path, origin }| match origin {
            ContentSource::Stamped(loader) => Some((path, loader)),
            ContentSource::Medium(_) | ContentSource::OfSet(_) | ContentSource::Other(_) => None,
        })
    }

    /// Returns iPXE's signed set and where it is, if the tree has it.
    fn set(&self) -> Option<(&SignedSetPin, SetPlace)> {
        self.inputs.pins.signed_set.as_ref().zip(self.set_place)
    }

    /// Returns the pinned syslinux files that the tree has, or that its boot media are made with.
    #[must_use]
    pub fn members(&self) -> Vec<MemberPin> {
        let of_tree = self
            .others
            .iter()
            .filter_map(|(_, other)| if let Other::Member(member) = other { Some(member) } else { None });
        let media: BTreeSet<Medium> = self.sites().flat_map(|site| site.media.iter().copied()).collect();
        let mut members: Vec<MemberPin> = of_tree.cloned().collect();
        for member in media.into_iter().flat_map(|medium| self.members_of(medium)) {
            if !members.contains(member) {
                members.push(member.clone());
            }
        }
        members
    }

    /// Returns the pinned syslinux files that a `medium` is made with.
    pub fn members_of(&self, medium: Medium) -> impl Iterator<Item = &MemberPin> {
        let pinned = self.inputs.pins.syslinux.members.iter();
        pinned.filter(move |member| medium.members().contains(&&*member.name))
    }

    /// Returns the files other than iPXE loaders, sorted bytewise by path.
    pub fn others(&self) -> impl Iterator<Item = (&Utf8Path, &Other)> {
        self.others.iter().map(|(path, other)| (path.as_path(), other))
    }

    /// Returns all sites, the root of the tree first.
    pub fn sites(&self) -> impl Iterator<Item = &Site> {
        self.root.iter().chain(&self.sites).map(|site_bases| &site_bases.site)
    }

    /// Returns the number of files.
    #[must_use]
    pub fn len(&self) -> usize {
        let of_set = self.set().map_or(0, |_| signed_set::FILES.len() + 1);
        self.others.len() + self.sites().map(|site| site.loaders.len() + site.media.len() + of_set).sum::<usize>()
    }

    /// Returns whether there are no files.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl SiteBases {
    /// Returns the loaders, the boot media and the files of the signed `set`, sorted bytewise by path.
    fn files<'p>(&'p self, set: Option<(&'p SignedSetPin, SetPlace)>) -> impl Iterator<Item = PlannedFile<'p>> {
        let Self { site, bases } = self;
        let loader = |loader: &Loader| {
            (loader.as_str().into(), ContentSource::Stamped(Stamped { loader: *loader, base: bases[loader], site }))
        };
        let medium = |medium: &Medium| {
            (medium.file_name().into(), ContentSource::Medium(PlannedMedium { medium: *medium, site, bases }))
        };
        let of_set = set.into_iter().flat_map(|(set, place)| {
            let pinned = signed_set::FILES.iter().filter_map(|(name, pinned)| Some((*name, Some(set.file(pinned)?))));
            let all = pinned.chain([(paths::AUTOEXEC, None)]);
            all.map(move |(name, pin)| (place.path(name), ContentSource::OfSet(PlannedSetFile { pin, set, site })))
        });
        let own = site.loaders.iter().map(loader).chain(site.media.iter().map(medium));
        let mut files: Vec<(Utf8PathBuf, _)> = own.chain(of_set).collect();
        files.sort_unstable_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
        files.into_iter().map(|(name, origin)| PlannedFile {
            path: paths::loader_in_tree(site.name.as_deref(), name.as_str()),
            origin,
        })
    }
}

/// Returns the lists of objects linked into the loaders of `builds`: one for each loader and configuration.
fn linked(builds: &[Build]) -> Vec<(Utf8PathBuf, Other)> {
    let mut lists = BTreeMap::new();
    for build in builds {
        for (loader, key) in build.bases.values().flatten() {
            let config = build.config.list_folder(build.platform);
            let path = paths::linked_in_tree(&config, loader.as_str());
            lists.entry(path).or_insert(Other::Linked { loader: *loader, key: *key, config });
        }
    }
    lists.into_iter().collect()
}

/// Computes which bases are needed.
struct BaseResolver<'i> {
    inputs: &'i Inputs,
    builds: BTreeMap<(Sha256Digest, Platform), Build>,
    /// Results for previous sites, by the properties that determine them.
    known: BTreeMap<BaseGroup, Arc<BTreeMap<Loader, Sha256Digest>>>,
}

/// Properties that determine which bases a site needs: the address of its configuration in memory, the size of its
/// slots, and its loaders with those on its boot media.
type BaseGroup = (usize, SlotSize, BTreeSet<Loader>);

impl BaseResolver<'_> {
    /// Returns the keys of the bases that `site` needs.
    fn bases(&mut self, site: &Site) -> Arc<BTreeMap<Loader, Sha256Digest>> {
        let on_media = site.media.iter().flat_map(|medium| medium.parts(&site.loaders));
        let loaders: BTreeSet<Loader> = site.loaders.iter().copied().chain(on_media).collect();
        let group = (Arc::as_ptr(&site.config) as usize, site.slot, loaders.clone());
        if let Some(known) = self.known.get(&group) {
            return Arc::clone(known);
        }
        let config = site.config.digest();
        let keys = loaders.into_iter().map(|loader| {
            let platform = loader.platform();
            let build = self.builds.entry((config, platform)).or_insert_with(|| {
                let Inputs { pins, patches, toolchain } = self.inputs;
                let inputs = ObjectInputs::of((&pins.ipxe, patches, toolchain), &site.config, platform);
                let (key, config) = (inputs.digest(), Arc::clone(&site.config));
                Build { platform, config, inputs, key, bases: BTreeMap::new() }
            });
            let key = base_key(build.key, site.slot, loader);
            build.bases.entry(site.slot).or_default().insert(loader, key);
            (loader, key)
        });
        let bases = Arc::new(keys.collect());
        self.known.insert(group, Arc::clone(&bases));
        bases
    }
}

/// Version of the cached form of a base. Raise it whenever that changes, or the content of a base's slot does.
const BASE: u32 = 2;

/// Returns the digest that identifies a base.
fn base_key(objects: Sha256Digest, slot: SlotSize, loader: Loader) -> Sha256Digest {
    Sha256Digest::of(format!("base {BASE}\n{objects}\n{slot}\n{}\n", loader.target()).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::paths::ProjectPaths;
    use crate::base::progress::Silent;
    use crate::build_loaders::Config;
    use crate::config::sites::Options;

    fn shipped() -> Config {
        Config::read(&ProjectPaths::new(env!("CARGO_MANIFEST_DIR")), &Options::default(), &Silent).unwrap()
    }

    fn plan(config: Config, toolchain: Toolchain) -> Plan {
        Plan::new(Inputs { pins: config.pins, patches: config.patches, toolchain }, config.sites)
    }

    #[test]
    fn the_plan_of_the_shipped_default() {
        let plan = plan(shipped(), Toolchain::default());
        let pin = &plan.inputs.pins.ipxe;
        let text = plan.to_string().replace(&pin.commit.to_string(), "<commit>");
        assert_eq!(
            text.replace(&format!("iPXE {} ", pin.version), "iPXE <version> "),
            "\
iPXE <version> at commit <commit>
build bios-default (configuration `default`)
  make AUTO_DEPS= GITVERSION=<commit> EMBED=embedded.ipxe EXTRA_CFLAGS=-ffile-prefix-map=<tree>=.
  link bases of ipxe.pxe, undionly.kpxe, with a slot of 4096 bytes
build efi-x64-default (configuration `default`)
  make AUTO_DEPS= GITVERSION=<commit> EMBED=embedded.ipxe EXTRA_CFLAGS=-ffile-prefix-map=<tree>=.
  link bases of ipxe.efi, with a slot of 4096 bytes
tree
  ipxe.efi = ipxe.efi with root-path.ipxe (slot 5b825324bef3), configuration `default`
  ipxe.pxe = ipxe.pxe with root-path.ipxe (slot 5b825324bef3), configuration `default`
  ldlinux.c32 = bios/com32/elflink/ldlinux/ldlinux.c32 of syslinux 6.03
  ldlinux.e64 = efi64/com32/elflink/ldlinux/ldlinux.e64 of syslinux 6.03
  linked-objects/default/ipxe.efi.txt = what is linked into ipxe.efi, configuration `default`
  linked-objects/default/ipxe.pxe.txt = what is linked into ipxe.pxe, configuration `default`
  linked-objects/default/undionly.kpxe.txt = what is linked into undionly.kpxe, configuration `default`
  lpxelinux.0 = bios/core/lpxelinux.0 of syslinux 6.03
  syslinux.efi = efi64/efi/syslinux.efi of syslinux 6.03
  undionly.kpxe = undionly.kpxe with root-path.ipxe (slot 5b825324bef3), configuration `default`
"
        );
    }

    #[test]
    fn files_come_sorted_by_path_whatever_sites_there_are() {
        for names in [&["a"][..], &["a-b", "a", "a.b", "b"], &[]] {
            let mut config = shipped();
            let root = config.sites.default.clone().unwrap();
            let named = |name: &&str| {
                let mut site = root.clone();
                site.name = Some((*name).to_owned());
                site
            };
            let mut sites: Vec<Site> = names.iter().map(named).collect();
            sites.sort_by_key(|site| format!("{}/", site.name.as_deref().unwrap_or_default()));
            config.sites.sites = sites;
            let plan = plan(config, Toolchain::default());
            let paths: Vec<Utf8PathBuf> = plan.files().map(|file| file.path).collect();
            assert!(paths.is_sorted_by(|a, b| a.as_str() < b.as_str()), "{paths:?}");
            assert_eq!((paths.len(), plan.loaders().count()), (plan.len(), 3 + 3 * names.len()));
        }
    }

    #[test]
    fn whatever_goes_in_decides_about_the_keys() {
        let keys = |plan: &Plan| plan.builds.iter().map(|build| build.key).collect::<Vec<_>>();
        let base = keys(&plan(shipped(), Toolchain::default()));
        assert_eq!(base, keys(&plan(shipped(), Toolchain::default())));
        let mut changed = Vec::new();
        let mut config = shipped();
        config.pins.ipxe.epoch += 1;
        changed.push(plan(config, Toolchain::default()));
        let mut config = shipped();
        config.patches.push(Patch { name: "x".into(), content: Vec::new() });
        changed.push(plan(config, Toolchain::default()));
        let mut changed_config = shipped();
        let site = changed_config.sites.default.as_mut().unwrap();
        let config = Arc::make_mut(&mut site.config);
        config.headers.insert("general.h".into(), Vec::new());
        changed.push(plan(changed_config, Toolchain::default()));
        for plan in changed {
            assert!(keys(&plan).iter().all(|key| !base.contains(key)), "{plan}");
        }
    }
}
