//! `manifest.json` and `SHA256SUMS`: the content of a tree, and everything that it was made from.
//!
//! Nothing in them varies from one build to the next. So they do not name the archive that contained the syslinux
//! files: any archive with the pinned members will do.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufWriter, Write};
use std::marker::PhantomData;

use camino::Utf8PathBuf;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::limits::MAX_FILES;
use crate::base::paths;
use crate::digest::{CommitId, Content, Hasher, Sha256Digest, TreeId};
use crate::loader::file_kind::FileKind;
use crate::loader::target::{Arch, Loader};
use crate::printable::{is_plain_json, printable};
use crate::stamp::slot::SlotSize;
use crate::toolchain;

/// Program that writes manifests.
pub const GENERATOR: &str = env!("CARGO_PKG_NAME");

/// Version of the manifest's format, which `schemas/manifest-1.schema.json` describes.
pub const SCHEMA_VERSION: u32 = 1;

/// Maximum number of items in every list except that of the files.
const MAX_LIST: usize = 1000;

/// Maximum number of items in the lists of tools and of configurations, including all lists inside. A configuration has
/// about 20.
const MAX_ITEMS: usize = 20_000;

/// The content of `manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Manifest {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Program that wrote the manifest.
    pub generator: Generator,
    /// Source of iPXE.
    pub ipxe: IpxeEntry,
    /// Release of syslinux, if the tree contains any of it.
    pub syslinux: Option<Syslinux>,
    /// The tools of the build.
    #[serde(deserialize_with = "list::<MAX_ITEMS, _, _>")]
    pub toolchain: Vec<ToolEntry>,
    /// The build configurations, by name and digest.
    #[serde(deserialize_with = "list::<MAX_ITEMS, _, _>")]
    pub configurations: Vec<Configuration>,
    /// Who has signed the loaders that are built for Secure Boot, if they are signed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub secure_boot: Option<SignerEntry>,
    /// All files except the manifest itself and `SHA256SUMS`, sorted bytewise by path.
    #[serde(deserialize_with = "list::<MAX_FILES, _, _>")]
    pub files: Vec<ManifestEntry>,
}

/// Signer of loaders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SignerEntry {
    /// Owner of the certificate.
    pub signer: String,
    /// SHA-256 of the certificate.
    pub certificate_sha256: Sha256Digest,
}

/// Program that wrote a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Generator {
    /// Name of the program.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// Source of iPXE.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct IpxeEntry {
    /// The version.
    pub version: String,
    /// The commit.
    pub commit: CommitId,
    /// The commit's tree.
    pub tree: TreeId,
    /// The digest of the tree's content.
    pub content_sha256: Sha256Digest,
    /// `SOURCE_DATE_EPOCH`, in seconds.
    pub source_date_epoch: u64,
    /// The patches, in the order in which they were applied.
    #[serde(deserialize_with = "list::<MAX_LIST, _, _>")]
    pub patches: Vec<PatchEntry>,
    /// Image name of the embedded script.
    pub embedded_name: String,
}

/// A patch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PatchEntry {
    /// Its file name.
    pub name: String,
    /// Its SHA-256.
    pub sha256: Sha256Digest,
}

/// Release of syslinux.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Syslinux {
    /// The version.
    pub version: String,
}

/// A tool of the build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ToolEntry {
    /// Its name.
    pub name: String,
    /// Version that it reports.
    pub version: String,
    /// SHA-256 of the file that determines what it does.
    pub sha256: Sha256Digest,
    /// Package that contains this file, with name and version, if the system knows it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub package: Option<String>,
    /// All files that were inspected, by name: programs, headers, libraries.
    #[serde(default, deserialize_with = "map::<MAX_LIST, _, _, _>")]
    pub files: BTreeMap<String, Sha256Digest>,
}

impl From<&toolchain::Tool> for ToolEntry {
    fn from(tool: &toolchain::Tool) -> Self {
        let toolchain::Tool { name, version, sha256, package, .. } = tool.clone();
        Self { name, version, sha256, package, files: tool.programs() }
    }
}

/// A build configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Configuration {
    /// Its name.
    pub name: String,
    /// Digest that identifies it, including its trusted certificates.
    pub sha256: Sha256Digest,
    /// Variables that make was called with; `<tree>` stands for the path of the source.
    #[serde(deserialize_with = "list::<MAX_LIST, _, _>")]
    pub make: Vec<String>,
    /// Environment that make was called with.
    #[serde(deserialize_with = "list::<MAX_LIST, _, _>")]
    pub environment: Vec<String>,
    /// The headers, by name.
    #[serde(deserialize_with = "map::<MAX_LIST, _, _, _>")]
    pub headers: BTreeMap<String, Sha256Digest>,
    /// The trusted certificates, by name.
    #[serde(deserialize_with = "map::<MAX_LIST, _, _, _>")]
    pub trust: BTreeMap<String, Sha256Digest>,
    /// For loaders that are built for Secure Boot: component and generation of their own line in the SBAT section,
    /// separated by a comma.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sbat: Option<String>,
}

/// A file of the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ManifestEntry {
    /// Its path in the tree.
    pub path: Utf8PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256.
    pub sha256: Sha256Digest,
    /// SHA-256 by Authenticode of a loader that is built for Secure Boot: of everything that a signature covers. It is the
    /// same with and without signatures.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub authenticode_sha256: Option<Sha256Digest>,
    /// File kind, according to its content.
    pub kind: FileKind,
    /// CPU that it runs on, according to its content.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub arch: Option<Arch>,
    /// Owning site; `None` for the root of the tree.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub site: Option<String>,
    /// First file with the same content, of which this is a hard link in the tree.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub same_as: Option<Utf8PathBuf>,
    /// Origin of an iPXE loader.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ipxe: Option<Embedded>,
    /// Path in the archive of a syslinux file.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub member: Option<Utf8PathBuf>,
    /// Name and version of the signed set that the file was downloaded with.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub set: Option<String>,
}

/// Origin of an iPXE loader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Embedded {
    /// Make target; for a boot medium, those of its loaders, separated by spaces.
    pub target: String,
    /// Digest of the configuration, as in `configurations`.
    pub configuration: Sha256Digest,
    /// The file that the script was rendered from.
    pub script: Utf8PathBuf,
    /// The size of the slot for the embedded script, in bytes.
    pub slot_size: SlotSize,
    /// The SHA-256 of the slot's content: the script, padded with newlines.
    pub slot_sha256: Sha256Digest,
}

impl Embedded {
    /// Returns the loader, or those on a boot medium. Leaves out make targets that this version does not know.
    pub fn loaders(&self) -> impl Iterator<Item = Loader> {
        self.target.split(' ').filter_map(Loader::of_target)
    }

    /// Returns the path in the tree of the list of what is linked into the loader, whose configuration is called
    /// `configuration`.
    #[must_use]
    pub fn linked_list(&self, configuration: &str) -> Option<Utf8PathBuf> {
        let loader = Loader::of_target(&self.target)?;
        let folder = if self.target == loader.target() { "" } else { paths::LINKED_FOR_SECURE_BOOT };
        Some(paths::linked_in_tree(&format!("{configuration}{folder}"), loader.as_str()))
    }
}

impl Manifest {
    /// Parses the text of a `manifest.json`.
    ///
    /// # Errors
    ///
    /// A message if the text is not a manifest of this version.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        let manifest: Self = parse(json)?;
        check_version(manifest.schema_version).map(|()| manifest)
    }

    /// Checks whether `json` is the text that [`Self::to_json`] returns.
    #[must_use]
    pub fn is_written_as(&self, json: &[u8]) -> bool {
        let mut remaining = Remaining(json);
        self.write(&mut remaining).is_ok() && remaining.0.is_empty()
    }

    /// Writes the text of `manifest.json`, which can be as large as the manifest in memory.
    fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        let mut to = BufWriter::new(to);
        serde_json::to_writer_pretty(&mut to, self)?;
        to.write_all(b"\n")?;
        to.flush()
    }

    /// Returns the digest and the size of `manifest.json`.
    ///
    /// # Panics
    ///
    /// As [`Self::to_json`].
    #[must_use]
    pub fn content(&self) -> Content {
        let mut hasher = Hasher::default();
        self.write(&mut hasher).expect("memory does not fail");
        hasher.content()
    }

    /// Returns the text of `manifest.json`.
    ///
    /// # Panics
    ///
    /// Never: a manifest has string keys only, and writing to memory does not fail.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut json = Vec::new();
        self.write(&mut json).expect("memory does not fail");
        String::from_utf8(json).expect("JSON is UTF-8")
    }

    /// Returns the text of `SHA256SUMS`: all files except itself, sorted bytewise by path.
    #[must_use]
    pub fn sha256sums(&self) -> String {
        let files = self.files.iter().map(|file| (file.path.as_str(), file.sha256));
        sums(files, self.content().sha256).map(|(path, digest)| sum(path, &digest)).collect()
    }

    /// Returns this manifest with other files.
    #[must_use]
    pub fn with_files(&self, files: Vec<ManifestEntry>) -> Self {
        let Self { schema_version, generator, ipxe, syslinux, toolchain, configurations, secure_boot, files: _ } = self;
        Self {
            schema_version: *schema_version,
            generator: generator.clone(),
            ipxe: ipxe.clone(),
            syslinux: syslinux.clone(),
            toolchain: toolchain.clone(),
            configurations: configurations.clone(),
            secure_boot: secure_boot.clone(),
            files,
        }
    }

    /// Returns the digest and the size of `SHA256SUMS`; `manifest` are those of the manifest's own text.
    #[must_use]
    pub fn sums_content(&self, manifest: &Content) -> Content {
        sums_content(self.files.iter().map(|file| (file.path.as_str(), file.sha256)), manifest.sha256)
    }
}

/// Returns the lines of `SHA256SUMS` for `files` and the manifest.
fn sums<'f>(
    files: impl Iterator<Item = (&'f str, Sha256Digest)>,
    manifest: Sha256Digest,
) -> impl Iterator<Item = (&'f str, Sha256Digest)> {
    let mut lines: Vec<(&str, Sha256Digest)> = files.chain([(paths::MANIFEST, manifest)]).collect();
    lines.sort_unstable();
    lines.into_iter()
}

/// Returns the digest and the size of `SHA256SUMS` for `files` and the manifest.
fn sums_content<'f>(files: impl Iterator<Item = (&'f str, Sha256Digest)>, manifest: Sha256Digest) -> Content {
    let mut hasher = Hasher::default();
    for (path, digest) in sums(files, manifest) {
        hasher.write_all(sum(path, &digest).as_bytes()).expect("memory does not fail");
    }
    hasher.content()
}

/// Part of a manifest that identifies the files of a tree; in memory a fifth of the whole.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", expecting = "a manifest")]
pub struct Listing {
    schema_version: u32,
    /// Program that wrote the manifest.
    pub generator: Generator,
    /// The files, as in [`Manifest::files`].
    #[serde(deserialize_with = "list::<MAX_FILES, _, _>")]
    pub files: Vec<ListedEntry>,
}

/// A file in a [`Listing`].
#[derive(Debug, Deserialize)]
#[serde(expecting = "a file of a manifest")]
pub struct ListedEntry {
    /// Its path in the tree.
    pub path: Utf8PathBuf,
    size: u64,
    sha256: Sha256Digest,
}

impl ListedEntry {
    /// Returns the digest and the size of the file.
    #[must_use]
    pub fn content(&self) -> Content {
        Content { sha256: self.sha256, size: self.size }
    }
}

impl Listing {
    /// Parses the text of a `manifest.json`.
    ///
    /// # Errors
    ///
    /// A message if the text is not a manifest of this version.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        let listing: Self = parse(json)?;
        check_version(listing.schema_version).map(|()| listing)
    }

    /// Returns the digest and the size of `SHA256SUMS`; `manifest` are those of the manifest's own text.
    #[must_use]
    pub fn sums_content(&self, manifest: &Content) -> Content {
        sums_content(self.files.iter().map(|file| (file.path.as_str(), file.sha256)), manifest.sha256)
    }
}

fn parse<'t, T: Deserialize<'t>>(json: &'t [u8]) -> Result<T, String> {
    if !is_plain_json(json) {
        return Err("found a text with invisible characters, wanted names and versions".into());
    }
    serde_json::from_slice(json).map_err(|error| {
        // A later version can have fields that this one does not know.
        let later = serde_json::from_slice::<Version>(json).map_or(Ok(()), |it| check_version(it.schema_version));
        later.err().unwrap_or_else(|| printable(&error.to_string()).to_string())
    })
}

/// The part of a manifest that every version has.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Version {
    schema_version: u32,
}

fn check_version(found: u32) -> Result<(), String> {
    if found == SCHEMA_VERSION { Ok(()) } else { Err(format!("found schema version {found}, wanted {SCHEMA_VERSION}")) }
}

/// Rest of a text; everything that is written must be the beginning of it.
struct Remaining<'t>(&'t [u8]);

impl Write for Remaining<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.strip_prefix(bytes).ok_or(io::ErrorKind::InvalidData)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An item of a list.
trait Item {
    /// Returns how many items it counts for: itself, and the items of the lists in it.
    fn items(&self) -> usize {
        1
    }
}

impl Item for String {}
impl Item for PatchEntry {}
impl Item for ManifestEntry {}
impl Item for ListedEntry {}

impl Item for ToolEntry {
    fn items(&self) -> usize {
        1 + self.files.len()
    }
}

impl Item for Configuration {
    fn items(&self) -> usize {
        1 + self.make.len() + self.environment.len() + self.headers.len() + self.trust.len()
    }
}

/// Deserializes a list of at most `MOST` items. In memory, an item can be many times as large as in the text.
fn list<'de, const MOST: usize, D: Deserializer<'de>, T: Deserialize<'de> + Item>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    struct Items<T, const MOST: usize>(PhantomData<T>);

    impl<'de, T: Deserialize<'de> + Item, const MOST: usize> Visitor<'de> for Items<T, MOST> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {MOST} items")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
            let (mut items, mut count) = (Vec::new(), 0);
            while let Some(item) = seq.next_element::<T>()? {
                count += item.items();
                if count > MOST {
                    return Err(de::Error::invalid_length(count, &self));
                }
                items.push(item);
            }
            Ok(items)
        }
    }

    deserializer.deserialize_seq(Items::<T, MOST>(PhantomData))
}

/// Deserializes a map of at most `MOST` items, for the same reason as [`list`].
pub(crate) fn map<'de, const MOST: usize, D, K, V>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
where
    D: Deserializer<'de>,
    K: Deserialize<'de> + Ord,
    V: Deserialize<'de>,
{
    struct Items<K, V, const MOST: usize>(PhantomData<(K, V)>);

    impl<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>, const MOST: usize> Visitor<'de> for Items<K, V, MOST> {
        type Value = BTreeMap<K, V>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a map of at most {MOST} items")
        }

        fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<BTreeMap<K, V>, A::Error> {
            let mut items = BTreeMap::new();
            while let Some((key, value)) = map.next_entry()? {
                if items.len() == MOST {
                    return Err(de::Error::invalid_length(MOST + 1, &self));
                }
                items.insert(key, value);
            }
            Ok(items)
        }
    }

    deserializer.deserialize_map(Items::<K, V, MOST>(PhantomData))
}

/// Returns a line of `SHA256SUMS`.
#[must_use]
pub fn sum(path: &str, digest: &Sha256Digest) -> String {
    format!("{digest}  {path}\n")
}

/// Writer of a `manifest.json` file by file, with the same text as for the whole manifest.
pub struct Writer<W: Write> {
    to: W,
    any: bool,
}

impl<W: Write> Writer<W> {
    /// Writes `head`, which must not have files yet.
    ///
    /// # Errors
    ///
    /// The error from writing to `to`.
    pub fn new(head: &Manifest, mut to: W) -> io::Result<Self> {
        debug_assert!(head.files.is_empty(), "a manifest's head");
        let text = serde_json::to_string_pretty(head)?;
        // The files come last, in a list that is still empty.
        to.write_all(text.trim_end_matches("]\n}").as_bytes())?;
        Ok(Self { to, any: false })
    }

    /// Adds a file. Files must be added sorted bytewise by path.
    ///
    /// # Errors
    ///
    /// The error from writing.
    pub fn add(&mut self, file: &ManifestEntry) -> io::Result<()> {
        let text = serde_json::to_string_pretty(file)?;
        self.to.write_all(if self.any { b",\n    " } else { b"\n    " })?;
        self.any = true;
        self.to.write_all(text.replace('\n', "\n    ").as_bytes())
    }

    /// Completes the text, and returns what it was written to.
    ///
    /// # Errors
    ///
    /// The error from writing.
    pub fn finish(mut self) -> io::Result<W> {
        self.to.write_all(if self.any { b"\n  ]\n}\n" } else { b"]\n}\n" })?;
        Ok(self.to)
    }
}

impl ManifestEntry {
    /// Returns the expected digest and size of the file.
    #[must_use]
    pub fn content(&self) -> Content {
        Content { sha256: self.sha256, size: self.size }
    }
}

#[cfg(test)]
mod tests {
    use netboot_fixtures::property::one_in;
    use proptest::prelude::*;

    use super::*;
    use crate::printable::is_harmful;

    /// Generates a name or a path that a manifest may contain.
    fn name() -> impl Strategy<Value = String> {
        let c = prop_oneof![any::<char>(), prop::sample::select(vec![' ', '\\', '"', '/', '*', '&', '<', 'é'])];
        let c = c.prop_filter("is refused", |c| !is_harmful(*c));
        prop::collection::vec(c, 1..8).prop_map(|chars| chars.into_iter().collect())
    }

    fn digest() -> impl Strategy<Value = Sha256Digest> {
        any::<u8>().prop_map(|seed| Sha256Digest::of(&[seed]))
    }

    fn file() -> impl Strategy<Value = ManifestEntry> {
        let kind = prop::sample::select(vec![
            (FileKind::Text, None),
            (FileKind::IpxeNbp, Some(Arch::I386)),
            (FileKind::EfiApplication, Some(Arch::X86_64)),
        ]);
        let ipxe = (name(), digest(), name(), digest()).prop_map(|(target, configuration, script, slot_sha256)| {
            Embedded { target, configuration, script: script.into(), slot_size: SlotSize::DEFAULT, slot_sha256 }
        });
        let names = || prop::option::of(name());
        let options = (names(), names(), names(), names());
        let digests = (digest(), prop::option::of(digest()));
        (name(), any::<u64>(), digests, kind, options, prop::option::of(ipxe)).prop_map(
            |(path, size, (sha256, authenticode_sha256), (kind, arch), (site, same_as, member, set), ipxe)| {
                ManifestEntry {
                    path: path.into(),
                    size,
                    sha256,
                    authenticode_sha256,
                    kind,
                    arch,
                    site,
                    same_as: same_as.map(Into::into),
                    ipxe,
                    member: member.map(Into::into),
                    set,
                }
            },
        )
    }

    fn manifest() -> impl Strategy<Value = Manifest> {
        let map = || prop::collection::btree_map(name(), digest(), 0..3);
        let list = || prop::collection::vec(name(), 0..3);
        let tool = (name(), name(), digest(), prop::option::of(name()), map())
            .prop_map(|(name, version, sha256, package, files)| ToolEntry { name, version, sha256, package, files });
        let configuration = (name(), digest(), list(), list(), map(), map(), prop::option::of(name())).prop_map(
            |(name, sha256, make, environment, headers, trust, sbat)| Configuration {
                name,
                sha256,
                make,
                environment,
                headers,
                trust,
                sbat,
            },
        );
        let lists = (prop::collection::vec(tool, 0..3), prop::collection::vec(configuration, 0..3));
        let patch = (name(), digest()).prop_map(|(name, sha256)| PatchEntry { name, sha256 });
        let patches = prop::collection::vec(patch, 0..3);
        let files = prop::collection::vec(file(), 0..5);
        let options = (prop::option::of(name()), prop::option::of(name()));
        (name(), any::<u64>(), options, patches, lists, files).prop_map(
            |(text, source_date_epoch, (syslinux, signer), patches, (toolchain, configurations), files)| Manifest {
                schema_version: SCHEMA_VERSION,
                generator: Generator { name: GENERATOR.into(), version: text.clone() },
                ipxe: IpxeEntry {
                    version: text.clone(),
                    commit: "7".repeat(40).parse().unwrap(),
                    tree: "8".repeat(40).parse().unwrap(),
                    content_sha256: Sha256Digest::of(text.as_bytes()),
                    source_date_epoch,
                    patches,
                    embedded_name: text,
                },
                syslinux: syslinux.map(|version| Syslinux { version }),
                toolchain,
                configurations,
                secure_boot: signer
                    .map(|signer| SignerEntry { certificate_sha256: Sha256Digest::of(signer.as_bytes()), signer }),
                files,
            },
        )
    }

    #[test]
    fn a_later_version_is_named_before_what_is_new_in_it() {
        let error = Manifest::parse(b"{ \"schema-version\": 2, \"new\": true }").unwrap_err();
        assert_eq!(error, "found schema version 2, wanted 1");
        assert!(
            Manifest::parse(b"{ \"schema-version\": 1, \"new\": true }").unwrap_err().contains("unknown field `new`")
        );
    }

    proptest! {
        #![proptest_config(one_in(4))]

        #[test]
        fn a_manifest_is_read_back(manifest in manifest()) {
            let json = manifest.to_json();
            prop_assert_eq!(&Manifest::parse(json.as_bytes()), &Ok(manifest.clone()));
            prop_assert!(manifest.is_written_as(json.as_bytes()) && !manifest.is_written_as(&json.as_bytes()[1..]));
            prop_assert_eq!(manifest.content(), Content::of(json.as_bytes()));
            let mut writer = Writer::new(&manifest.with_files(Vec::new()), Vec::new()).unwrap();
            for file in &manifest.files {
                writer.add(file).unwrap();
            }
            prop_assert_eq!(String::from_utf8(writer.finish().unwrap()).unwrap(), json);
        }

        #[test]
        fn sums_name_every_file_and_the_manifest(manifest in manifest()) {
            let sums = manifest.sha256sums();
            // As `sha256sum --check` reads them: no line begins with a backslash, so no name is escaped.
            let mut found: Vec<_> = sums.lines()
                .map(|line| line.split_once("  ").unwrap())
                .map(|(sum, path)| (path, sum.parse().unwrap()))
                .collect();
            prop_assert!(found.is_sorted());
            let mut wanted: Vec<_> = manifest.files.iter().map(|file| (file.path.as_str(), file.sha256)).collect();
            wanted.push((paths::MANIFEST, manifest.content().sha256));
            wanted.sort_unstable();
            found.sort_unstable();
            prop_assert_eq!(found, wanted);
            let listing = Listing::parse(manifest.to_json().as_bytes()).unwrap();
            prop_assert_eq!(listing.sums_content(&manifest.content()), Content::of(sums.as_bytes()));
        }

        #[test]
        fn a_manifest_that_was_changed_is_read_or_refused(
            manifest in manifest(),
            at in any::<prop::sample::Index>(),
            byte in prop_oneof![any::<u8>(), Just(0x7f), Just(b'\\')],
        ) {
            let mut json = manifest.to_json().into_bytes();
            let at = at.index(json.len());
            prop_assert!(at + 1 == json.len() || Manifest::parse(&json[..at]).is_err());
            json[at] = byte;
            if let Ok(read) = Manifest::parse(&json) {
                prop_assert!(is_plain_json(read.to_json().as_bytes()));
                prop_assert_eq!(Manifest::parse(read.to_json().as_bytes()), Ok(read));
            }
        }
    }
}
