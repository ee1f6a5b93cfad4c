//! `vendor/toolchains.toml`: reference builds of known toolchains. A user with one of these toolchains learns that a
//! build has the same bytes as the reference build, or gets a warning that it does not.

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

/// Loaders built by one known toolchain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceBuild {
    /// Name for the user, as in `Debian 12`.
    pub name: String,
    /// Digest of the toolchain's tools, which identifies it.
    pub digest: Sha256Digest,
    /// Packages of the toolchain, for information.
    pub packages: Vec<String>,
    /// The commit it built, without patches and in the default configuration.
    pub commit: CommitId,
    /// Digest of the embedded slot.
    pub slot: Sha256Digest,
    /// Digests of the loaders.
    pub loaders: BTreeMap<Loader, Sha256Digest>,
}

/// Errors from reading the file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is invalid.
    #[error(transparent)]
    Findings(#[from] Diagnostics),
    /// The file cannot be read.
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
    /// Reads the reference builds of `project`; returns none if it has no such file.
    ///
    /// # Errors
    ///
    /// [`Error`] with everything that is wrong with the file.
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

    /// Creates reference builds called `name` from the toolchain of `plan` and the files in the root of its tree: one for
    /// each compiler. Empty if no loader in the root is built in the default configuration and without patches.
    #[must_use]
    pub fn of(name: &str, plan: &Plan, root: &[ManifestEntry]) -> Vec<Self> {
        let toolchain = &plan.inputs.toolchain;
        let mut builds: Vec<Self> = Vec::new();
        for Plain { loader, slot, sha256, .. } in plain_loaders(plan, root) {
            let arch = loader.platform().arch();
            let digest = toolchain.digest(arch);
            if let Some(build) = builds.iter_mut().find(|build| build.digest == digest) {
                if build.slot == slot {
                    build.loaders.insert(loader, sha256);
                }
                continue;
            }
            builds.push(Self {
                name: name.to_owned(),
                digest,
                packages: toolchain.relevant(arch, false).filter_map(|tool| tool.package.clone()).collect(),
                commit: plan.inputs.pins.ipxe.commit,
                slot,
                loaders: [(loader, sha256)].into(),
            });
        }
        builds
    }

    /// Renders the reference build as an entry of the file.
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

/// Quotes a string for TOML; JSON's notation is valid there.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Returns the header comment of the file.
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

/// Writes `builds` into the file of `project`, and replaces entries that have the same name and one of their loaders.
/// `wording` renders the command in the header comment.
///
/// # Errors
///
/// [`Error`]; the file is then unchanged.
pub fn record(project: &ProjectPaths, builds: Vec<ReferenceBuild>, wording: &dyn Wording) -> Result<(), Error> {
    let mut entries = ReferenceBuild::read_all(project)?;
    let replaces = |new: &ReferenceBuild, old: &ReferenceBuild| {
        new.name == old.name && old.loaders.keys().any(|loader| new.loaders.contains_key(loader))
    };
    entries.retain(|old| !builds.iter().any(|new| replaces(new, old)));
    entries.extend(builds);
    entries.sort_by(|a, b| (&a.name, a.loaders.keys().next()).cmp(&(&b.name, b.loaders.keys().next())));
    let text: String = entries.iter().map(|entry| format!("\n{}", entry.to_toml())).collect();
    Ok(fs::write_atomic(&project.toolchains(), format!("{}{text}", heading(wording)).as_bytes())?)
}

/// Comparison of a build with a reference build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecognisedBuild {
    /// Name of the known toolchain.
    pub name: String,
    /// Whether that toolchain was used for this build.
    pub used: bool,
    /// Files with the same bytes.
    pub same: Vec<Utf8PathBuf>,
    /// Files with other bytes.
    pub different: Vec<Utf8PathBuf>,
}

/// Compares the files in the root of the tree of `plan` with each of `references` that has the same commit and slot.
#[must_use]
pub fn recognise(plan: &Plan, root: &[ManifestEntry], references: &[ReferenceBuild]) -> Vec<RecognisedBuild> {
    let loaders = plain_loaders(plan, root);
    let mut recognised: Vec<RecognisedBuild> = Vec::new();
    for known in references.iter().filter(|known| known.commit == plan.inputs.pins.ipxe.commit) {
        let (mut same, mut different) = (Vec::new(), Vec::new());
        for plain in loaders.iter().filter(|plain| plain.slot == known.slot) {
            let Some(sha256) = known.loaders.get(&plain.loader) else { continue };
            let equal = plain.sha256 == *sha256;
            if equal { &mut same } else { &mut different }.push(plain.path.clone());
        }
        let Some(arch) = known.loaders.keys().next().map(|loader| loader.platform().arch()) else { continue };
        let used = known.digest == plan.inputs.toolchain.digest(arch);
        if same.is_empty() && different.is_empty() {
            continue;
        }
        // Each compiler of a system has an entry of its own.
        match recognised.iter_mut().find(|build| build.name == known.name && build.used == used) {
            Some(build) => {
                build.same.append(&mut same);
                build.different.append(&mut different);
            }
            None => recognised.push(RecognisedBuild { name: known.name.clone(), used, same, different }),
        }
    }
    recognised
}

/// A loader in the root of the tree whose bytes depend on nothing of the project except its script.
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
    let plain = in_root.filter(|(_, Stamped { loader, site, .. })| {
        site.config.name == DEFAULT && site.config.trust.is_empty() && site.config.sbat(loader.platform()).is_none()
    });
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
    use crate::loader::target::Platform;

    #[test]
    fn what_is_shipped_can_be_read_and_is_written_the_same() {
        let project = ProjectPaths::new(env!("CARGO_MANIFEST_DIR"));
        let known = ReferenceBuild::read_all(&project).unwrap();
        assert!(known.len() >= 2);
        let recorded = |name: &str, loader: &Loader| {
            known.iter().any(|entry| entry.name == name && entry.loaders.contains_key(loader))
        };
        for loader in Loader::ALL.into_iter().filter(|loader| !loader.is_kernel()) {
            match loader.platform() {
                // Debian 12 has no compiler for it.
                Platform::EfiLoong64 => continue,
                Platform::Bios | Platform::EfiX64 => assert!(recorded("Debian 13", &loader), "{loader}"),
                _ => {}
            }
            assert!(recorded("Debian 12", &loader), "{loader}");
        }
        let entries: String = known.iter().map(|known| format!("\n{}", known.to_toml())).collect();
        let shipped = std::fs::read_to_string(project.toolchains()).unwrap();
        let heading =
            heading(&PlainWording).replace("RecordToolchain", "cargo xtask reproduce --all-loaders --record NAME");
        assert_eq!(shipped, heading + &entries);
    }
}
