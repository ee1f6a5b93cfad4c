//! Reasons why two builds may differ, according to their manifests: first the tools, then the other inputs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use camino::Utf8Path;
use serde::Serialize;

use crate::digest::Sha256Digest;
use crate::printable::{MAX_LISTED, shortened};
use crate::tree::manifest::{Configuration, IpxeEntry, Manifest, ManifestEntry, ToolEntry};

/// Kind of an input that differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CauseKind {
    /// Build tool.
    Toolchain,
    /// Pin or patch.
    Pin,
    /// Input of make: a variable, the environment, or the name of the embedded script.
    Flag,
    /// Configuration header or trusted certificate.
    Configuration,
    /// Embedded script.
    Script,
    /// Selection of files.
    Choice,
}

/// A difference between the inputs of two builds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Cause {
    /// Kind of the input.
    pub sort: CauseKind,
    /// Description of the input.
    pub subject: String,
    /// Value here.
    pub found: String,
    /// Value on the other side.
    pub wanted: String,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, found, wanted, .. } = self;
        write!(f, "{subject}: found {found}, wanted {wanted}")
    }
}

const NONE: &str = "none";

impl Cause {
    /// Checks whether it is another version of a tool. A tool that one of both builds does not have is for the loaders of
    /// a CPU that the other build has none for.
    #[must_use]
    pub fn is_other_toolchain(&self) -> bool {
        self.sort == CauseKind::Toolchain && self.found != NONE && self.wanted != NONE
    }
}

/// Maximum number of causes to keep. An unrelated release would have very many.
const MAX_CAUSES: usize = 100;

/// Lists the inputs that differ between `found`, the manifest of the build here, and `wanted`, tools first. Returns the
/// first causes, at most `MAX_CAUSES`, and the total number.
#[must_use]
pub fn causes(found: &Manifest, wanted: &Manifest) -> (Vec<Cause>, usize) {
    let mut list = List::default();
    list.toolchain(&found.toolchain, &wanted.toolchain);
    list.pins(found, wanted);
    list.configurations(found, wanted);
    list.files(found, wanted);
    (list.first, list.total)
}

#[derive(Default)]
struct List {
    first: Vec<Cause>,
    total: usize,
}

impl List {
    fn compare(
        &mut self,
        sort: CauseKind,
        subject: impl Into<String>,
        found: impl Into<String>,
        wanted: impl Into<String>,
    ) {
        let (found, wanted) = (found.into(), wanted.into());
        if found != wanted {
            self.add(sort, shortened(&subject.into()), shortened(&found), shortened(&wanted));
        }
    }

    /// Adds a cause with texts that have been shortened.
    fn add(&mut self, sort: CauseKind, subject: String, found: String, wanted: String) {
        self.total += 1;
        if self.first.len() < MAX_CAUSES {
            self.first.push(Cause { sort, subject, found, wanted });
        }
    }

    /// Compares two maps by name. A name that only one of them contains is `none` in the other.
    fn compare_all<V: PartialEq>(
        &mut self,
        sort: CauseKind,
        subject: impl Fn(&str) -> String,
        (found, wanted): (&BTreeMap<&str, V>, &BTreeMap<&str, V>),
        text: impl Fn(&V) -> String,
    ) {
        let names: BTreeSet<&str> = wanted.keys().chain(found.keys()).copied().collect();
        let said = |value: Option<&V>| value.map_or_else(|| NONE.to_owned(), &text);
        for name in names {
            let (found, wanted) = (found.get(name), wanted.get(name));
            if found != wanted {
                self.add(sort, subject(&shortened(name)), said(found), said(wanted));
            }
        }
    }

    fn toolchain(&mut self, found: &[ToolEntry], wanted: &[ToolEntry]) {
        let (ours, theirs) = (by_name(found), by_name(wanted));
        let extra = found.iter().filter(|tool| !theirs.contains_key(&*tool.name));
        for ToolEntry { name, .. } in wanted.iter().chain(extra) {
            let (here, there) = (ours.get(&**name).copied(), theirs.get(&**name).copied());
            let text = |tool: Option<&ToolEntry>, other: Option<&ToolEntry>| {
                tool.map_or_else(|| NONE.to_owned(), |tool| described(tool, other))
            };
            let (found, wanted) = (text(here, there), text(there, here));
            if here.map(release) != there.map(release) || found != wanted {
                self.add(CauseKind::Toolchain, format!("`{}`", shortened(name)), found, wanted);
            }
        }
    }

    fn pins(&mut self, found: &Manifest, wanted: &Manifest) {
        let (here, there) = (&found.ipxe, &wanted.ipxe);
        self.compare(CauseKind::Pin, "iPXE's commit", here.commit.to_string(), there.commit.to_string());
        self.compare(CauseKind::Pin, "iPXE's tree", here.tree.to_string(), there.tree.to_string());
        self.compare(
            CauseKind::Pin,
            "iPXE's content",
            here.content_sha256.to_string(),
            there.content_sha256.to_string(),
        );
        let epoch = |epoch: u64| epoch.to_string();
        self.compare(CauseKind::Pin, "the epoch", epoch(here.source_date_epoch), epoch(there.source_date_epoch));
        let subject = |name: &str| format!("the patch `{name}`");
        self.compare_all(CauseKind::Pin, subject, (&patches(here), &patches(there)), ToString::to_string);
        let syslinux =
            |manifest: &Manifest| manifest.syslinux.as_ref().map_or(NONE.to_owned(), |it| it.version.clone());
        self.compare(CauseKind::Pin, "syslinux", syslinux(found), syslinux(wanted));
        self.compare(CauseKind::Flag, "the embedded name", here.embedded_name.as_str(), there.embedded_name.as_str());
    }

    fn configurations(&mut self, found: &Manifest, wanted: &Manifest) {
        for there in &wanted.configurations {
            let same = |here: &&Configuration| {
                here.sha256 == there.sha256 && here.make == there.make && here.sbat == there.sbat
            };
            if found.configurations.iter().any(|here| same(&here) && here.environment == there.environment) {
                continue;
            }
            let named = |here: &&Configuration| here.name == there.name && here.sbat.is_some() == there.sbat.is_some();
            let Some(here) = found.configurations.iter().find(named) else {
                self.compare(
                    CauseKind::Configuration,
                    format!("the configuration `{}`", there.name),
                    NONE,
                    there.sha256.to_string(),
                );
                continue;
            };
            let name = &there.name;
            for (here, there) in [(&here.make, &there.make), (&here.environment, &there.environment)] {
                let (here, there) = (assignments(here), assignments(there));
                self.compare_all(
                    CauseKind::Flag,
                    |flag| format!("`{flag}` of make"),
                    (&here, &there),
                    |value| match *value {
                        "" => "nothing".to_owned(),
                        value => format!("`{}`", shortened(value)),
                    },
                );
            }
            let sbat = |of: &Configuration| of.sbat.clone().unwrap_or_default();
            self.compare(CauseKind::Configuration, format!("the SBAT line of `{name}`"), sbat(here), sbat(there));
            for (what, here, there) in
                [("header", &here.headers, &there.headers), ("certificate", &here.trust, &there.trust)]
            {
                let name = shortened(name);
                let subject = |file: &str| format!("the {what} `{file}` of the configuration `{name}`");
                self.compare_all(
                    CauseKind::Configuration,
                    subject,
                    (&borrowed(here), &borrowed(there)),
                    ToString::to_string,
                );
            }
        }
    }

    fn files(&mut self, found: &Manifest, wanted: &Manifest) {
        let (ours, theirs) = (by_path(found), by_path(wanted));
        let (our_names, their_names) = (by_digest(found), by_digest(wanted));
        let extra = found.files.iter().filter(|file| !theirs.contains_key(file.path.as_str()));
        for here in extra.filter(|file| file.ipxe.is_some()) {
            self.compare(CauseKind::Choice, format!("`{}`", here.path), target(here), "no such loader in the release");
        }
        for there in wanted.files.iter().filter(|file| file.ipxe.is_some()) {
            let Some(here) = ours.get(there.path.as_str()) else {
                self.compare(
                    CauseKind::Choice,
                    format!("`{}`", there.path),
                    "no such loader in the configuration",
                    target(there),
                );
                continue;
            };
            let (Some(ours), Some(theirs)) = (&here.ipxe, &there.ipxe) else { continue };
            // A different configuration of the same name is compared header by header.
            let name =
                |names: &HashMap<Sha256Digest, &str>, digest| format!("`{}`", names.get(&digest).unwrap_or(&NONE));
            self.compare(
                CauseKind::Configuration,
                format!("the configuration of `{}`", there.path),
                name(&our_names, ours.configuration),
                name(&their_names, theirs.configuration),
            );
            self.compare(CauseKind::Choice, format!("the target of `{}`", there.path), target(here), target(there));
            if ours.slot_sha256 != theirs.slot_sha256 {
                let script = |script: &Utf8Path, slot| format!("{} (slot {slot})", shortened(script.as_str()));
                let (found, wanted) =
                    (script(&ours.script, ours.slot_sha256), script(&theirs.script, theirs.slot_sha256));
                self.add(CauseKind::Script, format!("the script in `{}`", there.path), found, wanted);
            }
        }
    }
}

fn by_path(manifest: &Manifest) -> HashMap<&str, &ManifestEntry> {
    manifest.files.iter().map(|file| (file.path.as_str(), file)).collect()
}

/// Maps names to tools. If several have the same name, the first counts.
fn by_name(tools: &[ToolEntry]) -> HashMap<&str, &ToolEntry> {
    tools.iter().rev().map(|tool| (&*tool.name, tool)).collect()
}

/// Maps digests to names of configurations. If several have the same digest, the first counts.
fn by_digest(manifest: &Manifest) -> HashMap<Sha256Digest, &str> {
    manifest.configurations.iter().rev().map(|configuration| (configuration.sha256, &*configuration.name)).collect()
}

fn target(file: &ManifestEntry) -> String {
    file.ipxe.as_ref().map_or_else(|| NONE.to_owned(), |ipxe| ipxe.target.clone())
}

fn patches(ipxe: &IpxeEntry) -> BTreeMap<&str, Sha256Digest> {
    ipxe.patches.iter().map(|patch| (patch.name.as_str(), patch.sha256)).collect()
}

fn borrowed(map: &BTreeMap<String, Sha256Digest>) -> BTreeMap<&str, Sha256Digest> {
    map.iter().map(|(name, digest)| (name.as_str(), *digest)).collect()
}

/// Parses words such as `NAME=value` into a map.
fn assignments(words: &[String]) -> BTreeMap<&str, &str> {
    words.iter().map(|word| word.split_once('=').unwrap_or((word, ""))).collect()
}

/// Returns the package of a tool if it is known, otherwise its version text.
fn release(tool: &ToolEntry) -> &str {
    tool.package.as_ref().unwrap_or(&tool.version)
}

/// Describes a tool by its package if it is known, otherwise by its version text, and by the digests of the programs
/// that differ from those of `other`.
fn described(tool: &ToolEntry, other: Option<&ToolEntry>) -> String {
    let name = shortened(release(tool));
    let same = |name: &String, digest: &Sha256Digest| other.is_none_or(|other| other.files.get(name) == Some(digest));
    let programs = tool.files.iter().filter(|(name, digest)| !same(name, digest));
    let described = |(name, digest): (&String, &Sha256Digest)| format!("{} {}", shortened(name), digest.short());
    let mut digests: Vec<String> = programs.take(MAX_LISTED).map(described).collect();
    if digests.is_empty() && other.is_some_and(|other| other.sha256 != tool.sha256) {
        digests.push(tool.sha256.short());
    }
    if digests.is_empty() { name } else { format!("{name} ({})", digests.join(", ")) }
}

#[cfg(test)]
mod tests;
