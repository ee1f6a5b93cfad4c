//! All that is to be done, computed before anything is done: a pure function of pins, choices,
//! patches and toolchain.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use camino::Utf8PathBuf;

use crate::build::make;
use crate::choices::ipxe_config::IpxeConfig;
use crate::choices::loader::{Loader, Platform};
use crate::choices::pins::{MemberPin, Pins};
use crate::choices::script::Script;
use crate::choices::sites::Sites;
use crate::digest::Sha256Digest;
use crate::known_toolchains::KnownToolchain;
use crate::paths;
use crate::source::ipxe::Patch;
use crate::toolchain::Toolchain;

/// All that is to be done for a tree.
#[derive(Debug)]
pub struct Plan {
    /// The builds, in the order of their names; each is independent of the others.
    pub builds: Vec<Build>,
    /// The files of the tree, sorted bytewise by path.
    pub files: Vec<PlannedFile>,
    /// What goes in.
    pub inputs: Inputs,
}

/// What goes in.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// The pins.
    pub pins: Pins,
    /// The patches, in the order in which they are applied.
    pub patches: Vec<Patch>,
    /// The toolchain.
    pub toolchain: Toolchain,
    /// What known toolchains give; decides about nothing.
    pub known: Vec<KnownToolchain>,
}

/// One platform in one configuration: a build tree of its own.
#[derive(Debug)]
pub struct Build {
    /// The platform.
    pub platform: Platform,
    /// The configuration.
    pub config: Arc<IpxeConfig>,
    /// Identifies all that decides about the objects. Another key, other objects.
    pub key: Sha256Digest,
    /// What is linked from the objects: for each script, loaders.
    pub images: Vec<Image>,
}

/// Loaders with one script.
#[derive(Debug)]
pub struct Image {
    /// The script.
    pub script: Arc<Script>,
    /// The loaders, each with the key of its output.
    pub loaders: BTreeMap<Loader, Sha256Digest>,
}

/// A file of the tree.
#[derive(Debug, Clone)]
pub struct PlannedFile {
    /// Its path in the tree.
    pub path: Utf8PathBuf,
    /// The site whose it is; none for the root of the tree.
    pub site: Option<String>,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a file of the tree comes from.
#[derive(Debug, Clone)]
pub enum Origin {
    /// It is built.
    Built {
        /// Which loader.
        loader: Loader,
        /// The key of the output.
        key: Sha256Digest,
        /// What it runs.
        script: Arc<Script>,
        /// How it is built.
        config: Arc<IpxeConfig>,
    },
    /// It is the list of what is linked into a loader; the same for each script.
    Linked {
        /// Which loader.
        loader: Loader,
        /// The key of an output that it is about.
        key: Sha256Digest,
        /// The name of the configuration.
        config: String,
    },
    /// It is a pinned syslinux file.
    Member(MemberPin),
    /// It is a text of the project.
    Text(Vec<u8>),
}

impl Build {
    /// The name of the build and of its build tree. A changed configuration keeps its name, and so
    /// takes the place of what was built of it before.
    #[must_use]
    pub fn name(&self) -> String {
        let name = format!("{}-{}", self.platform, self.config.name);
        if self.config.trust.is_empty() { name } else { format!("{name}-{}", self.config.digest().short()) }
    }
}

impl Plan {
    /// Computes the plan.
    #[must_use]
    pub fn new(inputs: Inputs, sites: &Sites) -> Self {
        let mut builds: BTreeMap<(Sha256Digest, Platform), Builder> = BTreeMap::new();
        let (mut files, mut linked) = (Vec::new(), BTreeMap::new());
        for site in &sites.sites {
            let (config, slot) = (site.config.digest(), site.script.digest());
            for loader in &site.loaders {
                let platform = loader.platform();
                let builder = builds.entry((config, platform)).or_insert_with(|| {
                    let key = objects_key(&inputs, &site.config, platform);
                    let build = Build { platform, config: Arc::clone(&site.config), key, images: Vec::new() };
                    Builder { build, images: BTreeMap::new() }
                });
                let key = builder.add(&site.script, slot, *loader);
                linked.entry((site.config.name.clone(), *loader)).or_insert(key);
                let (script, config) = (Arc::clone(&site.script), Arc::clone(&site.config));
                files.push(PlannedFile {
                    path: paths::loader_in_tree(site.name.as_deref(), loader.as_str()),
                    site: site.name.clone(),
                    origin: Origin::Built { loader: *loader, key, script, config },
                });
            }
        }
        files.extend(linked.into_iter().map(|((config, loader), key)| PlannedFile {
            path: paths::linked_in_tree(&config, loader.as_str()),
            site: None,
            origin: Origin::Linked { loader, key, config },
        }));
        files.extend(sites.members.iter().map(|member| PlannedFile {
            path: member.name.clone().into(),
            site: None,
            origin: Origin::Member(member.clone()),
        }));
        files.extend(sites.pxelinux_config.iter().map(|text| PlannedFile {
            path: paths::PXELINUX_DEFAULT.into(),
            site: None,
            origin: Origin::Text(text.clone()),
        }));
        files.sort_by(|a, b| a.path.as_str().cmp(b.path.as_str()));
        let mut builds: Vec<Build> = builds.into_values().map(|builder| builder.build).collect();
        builds.sort_by_key(Build::name);
        Self { builds, files, inputs }
    }
}

/// A build that images are still added to, with their places by the digests of their slots.
struct Builder {
    build: Build,
    images: BTreeMap<Sha256Digest, usize>,
}

impl Builder {
    /// Adds a loader with `script`, whose slot has the digest `slot`; returns the key of its output.
    fn add(&mut self, script: &Arc<Script>, slot: Sha256Digest, loader: Loader) -> Sha256Digest {
        let images = &mut self.build.images;
        let index = *self.images.entry(slot).or_insert_with(|| {
            images.push(Image { script: Arc::clone(script), loaders: BTreeMap::new() });
            images.len() - 1
        });
        let key =
            Sha256Digest::of(format!("loader {OUTPUT}\n{}\n{slot}\n{}\n", self.build.key, loader.target()).as_bytes());
        images[index].loaders.insert(loader, key);
        key
    }
}

/// The version of what this tool itself does to a source tree before make runs. Raise it whenever
/// that changes, so that nothing made the old way is served.
const RECIPE: u32 = 1;

/// The version of what is kept of a finished loader, as the list of what is linked into it. Raise it
/// whenever that changes.
const OUTPUT: u32 = 2;

/// Identifies all that decides about the objects of a build.
fn objects_key(inputs: &Inputs, config: &IpxeConfig, platform: Platform) -> Sha256Digest {
    let pin = &inputs.pins.ipxe;
    let mut text = format!(
        "objects {RECIPE}\n{}\n{}\n{}\n{}\n{}\n",
        pin.commit,
        pin.content,
        config.digest(),
        platform,
        inputs.toolchain.digest(!config.trust.is_empty()),
    );
    for patch in &inputs.patches {
        text += &format!("patch {} {}\n", patch.name, Sha256Digest::of(&patch.content));
    }
    for argument in make::variables(pin, config).into_iter().chain(make::environment(pin)) {
        text += &format!("{argument}\n");
    }
    Sha256Digest::of(text.as_bytes())
}

impl fmt::Display for Plan {
    /// The plan for a person, one line a step.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pins = &self.inputs.pins;
        writeln!(f, "iPXE {} at commit {}", pins.ipxe.version, pins.ipxe.commit)?;
        for patch in &self.inputs.patches {
            writeln!(f, "  patch {}", patch.name)?;
        }
        for build in &self.builds {
            writeln!(f, "build {} (configuration `{}`)", build.name(), build.config.name)?;
            writeln!(f, "  make {}", make::variables(&pins.ipxe, &build.config).join(" "))?;
            for image in &build.images {
                let loaders: Vec<&str> = image.loaders.keys().map(|loader| loader.as_str()).collect();
                writeln!(
                    f,
                    "  link {} with {} (slot {})",
                    loaders.join(", "),
                    image.script.source,
                    image.script.digest().short()
                )?;
            }
        }
        writeln!(f, "tree")?;
        for file in &self.files {
            match &file.origin {
                Origin::Built { loader, script, config, .. } => {
                    writeln!(f, "  {} = {loader} with {}, configuration `{}`", file.path, script.source, config.name)?;
                }
                Origin::Linked { loader, config, .. } => {
                    writeln!(f, "  {} = what is linked into {loader}, configuration `{config}`", file.path)?;
                }
                Origin::Member(member) => {
                    writeln!(f, "  {} = {} of syslinux {}", file.path, member.path, pins.syslinux.version)?;
                }
                Origin::Text(text) => writeln!(f, "  {} = {} bytes of text", file.path, text.len())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build_loaders::Choices;
    use crate::paths::Project;
    use crate::progress::Silent;

    fn shipped() -> Choices {
        Choices::read(&Project::new(env!("CARGO_MANIFEST_DIR")), &Silent).unwrap()
    }

    fn plan(choices: Choices, toolchain: Toolchain) -> Plan {
        Plan::new(Inputs { pins: choices.pins, patches: choices.patches, toolchain, known: Vec::new() }, &choices.sites)
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
  link ipxe.pxe, undionly.kpxe with root-path.ipxe (slot 5b825324bef3)
build efi-x64-default (configuration `default`)
  make AUTO_DEPS= GITVERSION=<commit> EMBED=embedded.ipxe EXTRA_CFLAGS=-ffile-prefix-map=<tree>=.
  link ipxe.efi with root-path.ipxe (slot 5b825324bef3)
tree
  ipxe.efi = ipxe.efi with root-path.ipxe, configuration `default`
  ipxe.pxe = ipxe.pxe with root-path.ipxe, configuration `default`
  ldlinux.c32 = bios/com32/elflink/ldlinux/ldlinux.c32 of syslinux 6.03
  ldlinux.e64 = efi64/com32/elflink/ldlinux/ldlinux.e64 of syslinux 6.03
  linked-objects/default/ipxe.efi.txt = what is linked into ipxe.efi, configuration `default`
  linked-objects/default/ipxe.pxe.txt = what is linked into ipxe.pxe, configuration `default`
  linked-objects/default/undionly.kpxe.txt = what is linked into undionly.kpxe, configuration `default`
  lpxelinux.0 = bios/core/lpxelinux.0 of syslinux 6.03
  syslinux.efi = efi64/efi/syslinux.efi of syslinux 6.03
  undionly.kpxe = undionly.kpxe with root-path.ipxe, configuration `default`
"
        );
    }

    #[test]
    fn whatever_goes_in_decides_about_the_keys() {
        let keys = |plan: &Plan| plan.builds.iter().map(|build| build.key).collect::<Vec<_>>();
        let base = keys(&plan(shipped(), Toolchain::default()));
        assert_eq!(base, keys(&plan(shipped(), Toolchain::default())));
        let mut changed = Vec::new();
        let mut choices = shipped();
        choices.pins.ipxe.epoch += 1;
        changed.push(plan(choices, Toolchain::default()));
        let mut choices = shipped();
        choices.patches.push(Patch { name: "x".into(), content: Vec::new() });
        changed.push(plan(choices, Toolchain::default()));
        let mut choices = shipped();
        let config = Arc::make_mut(&mut choices.sites.sites[0].config);
        config.headers.insert("general.h".into(), Vec::new());
        changed.push(plan(choices, Toolchain::default()));
        for plan in changed {
            assert!(keys(&plan).iter().all(|key| !base.contains(key)), "{plan}");
        }
    }
}
