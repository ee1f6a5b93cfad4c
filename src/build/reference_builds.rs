//! `vendor/toolchains.toml`: which bytes known toolchains give. Whoever has one of them can be told that
//! what was built here are the very bytes that were built there, and be warned where they are not.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use camino::Utf8PathBuf;

use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Diagnostics, Subcommand, Wording};
use crate::base::fs;
use crate::base::paths::ProjectPaths;
use crate::build::plan::{Plan, Stamped};
use crate::config::ipxe_config::DEFAULT;
use crate::config::toml::{Table, TomlFile};
use crate::digest::{BadDigest, CommitId, Sha256Digest};
use crate::loader::target::Loader;
use crate::tree::manifest::ManifestEntry;

/// What one toolchain gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceBuild {
    /// What people call it, as in `Debian 12`.
    pub name: String,
    /// The digest of its tools, by which it is known again.
    pub digest: Sha256Digest,
    /// Its packages, for people.
    pub packages: Vec<String>,
    /// The commit that it built, without patches and in the default configuration.
    pub commit: CommitId,
    /// The digest of the slot that it embedded.
    pub slot: Sha256Digest,
    /// What came out.
    pub loaders: BTreeMap<Loader, Sha256Digest>,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is wrong.
    #[error(transparent)]
    Findings(#[from] Diagnostics),
    /// It cannot be read.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Findings(findings) => findings.diagnosis(),
            Self::Fs(error) => Diagnosis { class: Class::BadInput, ..error.diagnosis() },
        }
    }
}

const HEX: &str = "copy the whole digest, never type it";

impl ReferenceBuild {
    /// Reads the known toolchains of `project`; none where it has no such file.
    ///
    /// # Errors
    ///
    /// [`Error`]: all that is wrong with the file.
    pub fn read_all(project: &ProjectPaths) -> Result<Vec<Self>, Error> {
        let file = project.toolchains();
        let Some(text) = fs::read_text_if_exists(&file)? else { return Ok(Vec::new()) };
        let name = file.strip_prefix(project.root()).unwrap_or(&file);
        let text = String::from_utf8_lossy(&text);
        Ok(TomlFile::new(name, &text).read(|root| Some(root.list("toolchain", Self::read)))?)
    }

    fn read(table: &Table<'_>) -> Option<Self> {
        let name = table.require("name", table.string("name"), "set it")?;
        let packages = table.strings("packages").map(|list| list.value).unwrap_or_default();
        let digest = table.require("digest", table.parsed("digest", HEX, str::parse), "set it");
        let commit = table.require("commit", table.parsed("commit", HEX, str::parse), "set it");
        let slot = table.require("slot-sha256", table.parsed("slot-sha256", HEX, str::parse), "set it");
        let loaders = table.table("loaders", |loaders| {
            let mut known = BTreeMap::new();
            for (name, digest) in loaders.all_strings(1_000, "loaders") {
                let loader = Loader::named(&name).map_err(|(message, remedy)| digest.location.finding(message, remedy));
                let sha256 =
                    digest.value.parse().map_err(|error: BadDigest| digest.location.finding(error.to_string(), HEX));
                if let Some((loader, sha256)) = loaders.accept(loader).zip(loaders.accept(sha256)) {
                    known.insert(loader, sha256);
                }
            }
            Some(known)
        });
        Some(Self {
            name: name.value,
            digest: digest?.value,
            packages: packages.into_iter().map(|at| at.value).collect(),
            commit: commit?.value,
            slot: slot?.value,
            loaders: table.require("loaders", loaders, "add the table")?.value,
        })
    }

    /// What the files in the root of the tree of `plan` tell of its toolchain, under the name `name`. `None` where it has no loader
    /// in the root of the tree that is built in the default configuration and without patches.
    #[must_use]
    pub fn of(name: &str, plan: &Plan, root: &[ManifestEntry]) -> Option<Self> {
        let loaders = plain_loaders(plan, root);
        let slot = loaders.first()?.slot;
        let same_slot = loaders.iter().filter(|plain| plain.slot == slot);
        let toolchain = &plan.inputs.toolchain;
        Some(Self {
            name: name.to_owned(),
            digest: toolchain.digest(false),
            packages: toolchain.tools.iter().filter_map(|tool| tool.package.clone()).collect(),
            commit: plan.inputs.pins.ipxe.commit,
            slot,
            loaders: same_slot.map(|plain| (plain.loader, plain.sha256)).collect(),
        })
    }

    /// As an entry of the file.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut text =
            format!("[[toolchain]]\nname = {}\ndigest = \"{}\"\npackages = [\n", quoted(&self.name), self.digest);
        for package in &self.packages {
            let _ = writeln!(text, "    {},", quoted(package));
        }
        let _ =
            write!(text, "]\ncommit = \"{}\"\nslot-sha256 = \"{}\"\n\n[toolchain.loaders]\n", self.commit, self.slot);
        for (loader, sha256) in &self.loaders {
            let _ = writeln!(text, "\"{loader}\" = \"{sha256}\"");
        }
        text
    }
}

/// A text as TOML has it, which is as JSON has it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// What the file begins with.
fn heading(wording: &dyn Wording) -> String {
    format!(
        "\
# Which bytes known toolchains give: iPXE at the pinned commit, without patches, in the default
# configuration, with the script whose slot has the digest `slot-sha256`. Each entry was measured on such a
# system; `{}` writes one.
",
        wording.command(&Subcommand::RecordToolchain)
    )
}

/// Writes `known` into the file of `project`, in the place of an entry of the same name. `wording` is that of texts for
/// others.
///
/// # Errors
///
/// [`Error`]; the file is then as it was.
pub fn record(project: &ProjectPaths, known: ReferenceBuild, wording: &dyn Wording) -> Result<(), Error> {
    let mut entries = ReferenceBuild::read_all(project)?;
    entries.retain(|entry| entry.name != known.name);
    entries.push(known);
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let text: String = entries.iter().map(|entry| format!("\n{}", entry.to_toml())).collect();
    Ok(fs::write_atomic(&project.toolchains(), format!("{}{text}", heading(wording)).as_bytes())?)
}

/// How what was built compares with what a known toolchain gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecognisedBuild {
    /// The name of the known toolchain.
    pub name: String,
    /// Whether it is the one that was used here.
    pub used: bool,
    /// The files that are the same.
    pub same: Vec<Utf8PathBuf>,
    /// The files that are not.
    pub different: Vec<Utf8PathBuf>,
}

/// Compares the files in the root of the tree of `plan` with each of `references` that built the same.
#[must_use]
pub fn recognise(plan: &Plan, root: &[ManifestEntry], references: &[ReferenceBuild]) -> Vec<RecognisedBuild> {
    let digest = plan.inputs.toolchain.digest(false);
    let loaders = plain_loaders(plan, root);
    let mut recognised = Vec::new();
    for known in references.iter().filter(|known| known.commit == plan.inputs.pins.ipxe.commit) {
        let (mut same, mut different) = (Vec::new(), Vec::new());
        for plain in loaders.iter().filter(|plain| plain.slot == known.slot) {
            let Some(sha256) = known.loaders.get(&plain.loader) else { continue };
            let equal = plain.sha256 == *sha256;
            if equal { &mut same } else { &mut different }.push(plain.path.clone());
        }
        if !(same.is_empty() && different.is_empty()) {
            recognised.push(RecognisedBuild {
                name: known.name.clone(),
                used: known.digest == digest,
                same,
                different,
            });
        }
    }
    recognised
}

/// A loader in the root of the tree that nothing of the project but its script decides about.
struct Plain {
    path: Utf8PathBuf,
    loader: Loader,
    slot: Sha256Digest,
    sha256: Sha256Digest,
}

fn plain_loaders(plan: &Plan, root: &[ManifestEntry]) -> Vec<Plain> {
    if !plan.inputs.patches.is_empty() {
        return Vec::new();
    }
    let in_root = plan.loaders().filter(|(_, Stamped { site, .. })| site.name.is_none());
    let plain = in_root.filter(|(_, Stamped { site, .. })| site.config.name == DEFAULT && site.config.trust.is_empty());
    let found = plain.filter_map(|(path, Stamped { loader, site, .. })| {
        let sha256 = root.iter().find(|file| file.path == path)?.sha256;
        Some(Plain { path, loader, slot: site.slot_sha256, sha256 })
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::diagnostic::PlainWording;

    #[test]
    fn what_is_shipped_can_be_read_and_is_written_the_same() {
        let project = ProjectPaths::new(env!("CARGO_MANIFEST_DIR"));
        let known = ReferenceBuild::read_all(&project).unwrap();
        assert!(known.len() >= 2);
        for toolchain in &known {
            assert_eq!(toolchain.loaders.len(), Loader::ALL.len(), "{}", toolchain.name);
        }
        let entries: String = known.iter().map(|known| format!("\n{}", known.to_toml())).collect();
        let shipped = std::fs::read_to_string(project.toolchains()).unwrap();
        let heading =
            heading(&PlainWording).replace("RecordToolchain", "cargo xtask reproduce --all-loaders --record NAME");
        assert_eq!(shipped, heading + &entries);
    }
}
