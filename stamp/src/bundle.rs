//! A bundle: bases in one `.tar.gz`, everything that a server needs to give each machine its own loader.
//!
//! The first entry is `bases.json`: the schema version, the iPXE version and commit, and the configuration and record
//! of each base. The parts of the bases follow in the same order, and nothing else. This module defines the format and
//! reads it. To write a bundle, pack [`Bundle::files`].

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::base::{self, Base, BaseKind, BaseRecord};
use crate::digest::CommitId;
use crate::printable::{is_plain_json, printable};
use crate::slot::SlotSize;
use crate::tarball::{self, Limits, Refusal, TarEntries, Tarball};

/// Schema version of bundles.
const SCHEMA_VERSION: u32 = 1;

/// Name of the first entry, the table of contents.
const INDEX: &str = "bases.json";

/// Limits for a bundle. An image has one or two million bytes. All content stays in memory, and a server holds one more
/// loader for each connection.
const LIMITS: Limits = Limits { entries: 10_000, extension: 0, entry: 4 << 20, total: 192 << 20 };

/// Maximum size of [`INDEX`], in bytes.
const MAX_INDEX: u64 = 4 << 20;

/// Errors from opening a bundle.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened.
    #[error("cannot open `{}`", printable(&path.to_string_lossy()))]
    Open {
        /// Path of the file.
        path: PathBuf,
        /// Cause.
        #[source]
        error: io::Error,
    },
    /// The file is not a bundle.
    #[error("`{}` is not a bundle of bases: {flaw}", printable(&path.to_string_lossy()))]
    NotABundle {
        /// Path of the file.
        path: PathBuf,
        /// Defect of the file.
        flaw: BundleFlaw,
    },
}

/// Defects of a bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleFlaw {
    /// The file is not a `.tar.gz`, or is truncated.
    #[error("it cannot be unpacked: {0}")]
    Archive(#[from] tarball::Error),
    /// The index is malformed.
    #[error("its `{INDEX}` cannot be read: {}", printable(&.0.to_string()))]
    Index(serde_json::Error),
    /// The bundle has another schema version.
    #[error("its form is version {0}, wanted {SCHEMA_VERSION}")]
    SchemaHeader(u32),
    /// The index contains names that cannot be printed safely.
    #[error("its `{INDEX}` has characters in it that are not to be seen")]
    Unprintable,
    /// The index is not sorted, or lists a base twice.
    #[error(
        "its `{INDEX}` has {} twice, or not in its place",
        printable(.0)
    )]
    Order(String),
    /// An entry is not the expected one.
    #[error("found {found}, wanted {wanted}")]
    Entry {
        /// Entry that was found.
        found: String,
        /// Expected entry.
        wanted: String,
    },
    /// A base does not match its record.
    #[error(transparent)]
    Base(#[from] base::Error),
}

/// The iPXE version that bases were built from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct IpxeIdentity {
    /// Version number.
    pub version: String,
    /// Commit of the source.
    pub commit: CommitId,
}

/// Bases built from one iPXE commit.
#[derive(Debug, Clone)]
pub struct Bundle {
    ipxe: IpxeIdentity,
    bases: BTreeMap<BaseKey, Base>,
}

/// Key of a base; its order is that of the bases in a bundle.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct BaseKey {
    configuration: String,
    loader: String,
    slot: SlotSize,
}

/// Content of `bases.json`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Index {
    schema_version: u32,
    ipxe: IpxeIdentity,
    bases: Vec<IndexEntry>,
}

/// The part of `bases.json` that all schema versions have in common.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct SchemaHeader {
    schema_version: u32,
}

/// A base in `bases.json`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct IndexEntry {
    configuration: String,
    record: BaseRecord,
}

impl Bundle {
    /// Creates a bundle of `bases`, each with the name of its configuration. The combination of configuration, loader
    /// and slot size is unique; later duplicates replace earlier ones.
    pub fn new(ipxe: IpxeIdentity, bases: impl IntoIterator<Item = (String, Base)>) -> Self {
        let bases = bases.into_iter().map(|(configuration, base)| (BaseKey::of(configuration, base.record()), base));
        Self { ipxe, bases: bases.collect() }
    }

    /// Reads the bundle at `path`.
    ///
    /// # Errors
    ///
    /// [`Error`] if the file cannot be opened or is not a bundle.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let mut file = File::open(path).map_err(|error| Error::Open { path: path.to_owned(), error })?;
        Self::read(&mut file).map_err(|flaw| Error::NotABundle { path: path.to_owned(), flaw })
    }

    /// Reads an untrusted bundle into memory, within limits, and compares each part with its record.
    ///
    /// # Errors
    ///
    /// [`BundleFlaw`] if the bundle is malformed, too large, or differs from its records.
    pub fn read(bundle: &mut dyn Read) -> Result<Self, BundleFlaw> {
        let mut tarball = Tarball::gzip(BufReader::new(bundle), LIMITS);
        let mut parts = Parts { entries: tarball.entries()? };
        let Index { ipxe, bases: listed, .. } = Index::parse(&parts.next(INDEX, MAX_INDEX)?)?;
        let mut bases = BTreeMap::new();
        for IndexEntry { configuration, record } in listed {
            let position = BaseKey::of(configuration, &record);
            if bases.last_key_value().is_some_and(|(last, _)| *last >= position) {
                return Err(BundleFlaw::Order(position.file(IMAGE)));
            }
            let image = parts.next(&position.file(IMAGE), LIMITS.entry)?;
            let zinfo = match record.kind {
                BaseKind::Efi { .. } => Vec::new(),
                BaseKind::Bios { .. } => parts.next(&position.file(ZINFO), LIMITS.entry)?,
            };
            bases.insert(position, Base::open(record, image, zinfo)?);
        }
        parts.end()?;
        tarball.finish_file()?;
        Ok(Self { ipxe, bases })
    }

    /// Returns the iPXE version that the bases were built from.
    #[must_use]
    pub fn ipxe(&self) -> &IpxeIdentity {
        &self.ipxe
    }

    /// Returns all bases with the names of their configurations, sorted by configuration, loader and slot size.
    pub fn bases(&self) -> impl Iterator<Item = (&str, &Base)> {
        self.bases.iter().map(|(position, base)| (position.configuration.as_str(), base))
    }

    /// Returns the base of `loader` in `configuration`; if there are several, the one with the smallest slot.
    #[must_use]
    pub fn base(&self, configuration: &str, loader: &str) -> Option<&Base> {
        let mut bases = self.bases();
        let found = bases.find(|(its, base)| *its == configuration && base.record().loader == loader);
        found.map(|(_, base)| base)
    }

    /// Checks that [`Self::read`] accepts the bundle; larger bundles must not be written.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if the bundle exceeds a limit of [`Self::read`].
    pub fn check_size(&self) -> Result<(), Refusal> {
        let (mut entries, mut total) = (0, 0);
        for (path, content) in self.files() {
            let most = if path == INDEX { MAX_INDEX } else { LIMITS.entry };
            let found = content.len() as u64;
            (entries, total) = (entries + 1, total + found);
            if found > most {
                return Err(Refusal::Entry { path, found, most });
            } else if entries > LIMITS.entries {
                return Err(Refusal::Entries(LIMITS.entries));
            } else if total > LIMITS.total {
                return Err(Refusal::Total(LIMITS.total));
            }
        }
        Ok(())
    }

    /// Returns every file of the bundle with its name, in the order that [`Self::read`] expects. The same bases always
    /// give the same bytes.
    pub fn files(&self) -> impl Iterator<Item = (String, Cow<'_, [u8]>)> {
        let index = std::iter::once((INDEX.to_owned(), Cow::Owned(Index::of(self).to_json())));
        index.chain(self.bases.iter().flat_map(|(position, base)| {
            let zinfo =
                matches!(base.record().kind, BaseKind::Bios { .. }).then(|| (position.file(ZINFO), base.zinfo()));
            let parts = std::iter::once((position.file(IMAGE), base.image())).chain(zinfo);
            parts.map(|(name, content)| (name, Cow::Borrowed(content)))
        }))
    }
}

/// Part of a base that scripts are written into.
const IMAGE: &str = "image";
/// Packing instructions of a BIOS loader.
const ZINFO: &str = "zinfo";

impl BaseKey {
    fn of(configuration: String, record: &BaseRecord) -> Self {
        Self { configuration, loader: record.loader.clone(), slot: record.slot_size() }
    }

    /// Returns the name of the entry for `part` in a bundle.
    fn file(&self, part: &str) -> String {
        let Self { configuration, loader, slot } = self;
        format!("{configuration}/{loader}/{slot}/{part}")
    }
}

impl Index {
    fn of(bundle: &Bundle) -> Self {
        let listed = |(configuration, base): (&str, &Base)| IndexEntry {
            configuration: configuration.to_owned(),
            record: base.record().clone(),
        };
        Self { schema_version: SCHEMA_VERSION, ipxe: bundle.ipxe.clone(), bases: bundle.bases().map(listed).collect() }
    }

    fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).expect("an index has nothing that JSON has not");
        json.push(b'\n');
        json
    }

    fn parse(json: &[u8]) -> Result<Self, BundleFlaw> {
        if !is_plain_json(json) {
            return Err(BundleFlaw::Unprintable);
        }
        let SchemaHeader { schema_version } = serde_json::from_slice(json).map_err(BundleFlaw::Index)?;
        if schema_version != SCHEMA_VERSION {
            return Err(BundleFlaw::SchemaHeader(schema_version));
        }
        serde_json::from_slice(json).map_err(BundleFlaw::Index)
    }
}

/// The unread entries of a bundle.
struct Parts<'a, R: Read> {
    entries: TarEntries<'a, R>,
}

impl<R: Read> Parts<'_, R> {
    /// Returns the content of the next entry, which must be named `name` and have at most `most` bytes.
    fn next(&mut self, name: &str, most: u64) -> Result<Vec<u8>, BundleFlaw> {
        let called = |found: String| BundleFlaw::Entry { found, wanted: format!("`{}`", printable(name)) };
        let mut entry = self.entries.next()?.ok_or_else(|| called("nothing".into()))?;
        if entry.path != name || entry.kind != tarball::TarEntryKind::File {
            return Err(called(format!("`{}`", printable(&entry.path))));
        }
        if entry.size > most {
            let refusal = Refusal::Entry { path: entry.path, found: entry.size, most };
            return Err(tarball::Error::from(refusal).into());
        }
        Ok(entry.content()?)
    }

    /// Checks that no entry follows.
    fn end(mut self) -> Result<(), BundleFlaw> {
        match self.entries.next()? {
            None => Ok(()),
            Some(entry) => {
                let found = format!("`{}`", printable(&entry.path));
                Err(BundleFlaw::Entry { found, wanted: "nothing".into() })
            }
        }
    }
}

#[cfg(test)]
mod tests;
