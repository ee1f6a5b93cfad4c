//! A bundle: bases as one `.tar.gz`, all that a server needs which gives each machine a loader of its own.
//!
//! The first entry is `bases.json`: its form, which iPXE, and for each base its configuration and its record. Then
//! come the parts of the bases in the same order, and nothing else. This says what is in a bundle and reads it.
//! Whoever writes one packs [`Bundle::files`].

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

/// The version of the form of bundles.
const SCHEMA_VERSION: u32 = 1;

/// The first entry: what is in a bundle.
const INDEX: &str = "bases.json";

/// What a bundle may have. Images have one or two million bytes; all that is read stays in memory, and a server has a
/// loader besides for each connection.
const LIMITS: Limits = Limits { entries: 10_000, extension: 0, entry: 4 << 20, total: 192 << 20 };

/// The most bytes of [`INDEX`].
const MAX_INDEX: u64 = 4 << 20;

/// Why a file gives no bundle.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be opened.
    #[error("cannot open `{}`", printable(&path.to_string_lossy()))]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// It is none.
    #[error("`{}` is no bundle of bases: {flaw}", printable(&path.to_string_lossy()))]
    NotABundle {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        flaw: BundleFlaw,
    },
}

/// What is wrong with a bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleFlaw {
    /// It is no `.tar.gz`, or not a whole one.
    #[error("it cannot be unpacked: {0}")]
    Archive(#[from] tarball::Error),
    /// Its index cannot be understood.
    #[error("its `{INDEX}` cannot be read: {}", printable(&.0.to_string()))]
    Index(serde_json::Error),
    /// It is of another version.
    #[error("its form is version {0}, wanted {SCHEMA_VERSION}")]
    SchemaHeader(u32),
    /// Its index has names that cannot be shown.
    #[error("its `{INDEX}` has characters in it that are not to be seen")]
    Unprintable,
    /// Its index is not sorted, or has a base twice.
    #[error(
        "its `{INDEX}` has {} twice, or not in its place",
        printable(.0)
    )]
    Order(String),
    /// Another file is where one should be.
    #[error("found {found}, wanted {wanted}")]
    Entry {
        /// What is there.
        found: String,
        /// What should be.
        wanted: String,
    },
    /// A base is not what its record says.
    #[error(transparent)]
    Base(#[from] base::Error),
}

/// Which iPXE bases are of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct IpxeIdentity {
    /// The version.
    pub version: String,
    /// The commit.
    pub commit: CommitId,
}

/// Bases of one iPXE.
#[derive(Debug, Clone)]
pub struct Bundle {
    ipxe: IpxeIdentity,
    bases: BTreeMap<BaseKey, Base>,
}

/// Which base: sorted as they are in a bundle.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct BaseKey {
    configuration: String,
    loader: String,
    slot: SlotSize,
}

/// The content of `bases.json`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Index {
    schema_version: u32,
    ipxe: IpxeIdentity,
    bases: Vec<IndexEntry>,
}

/// All of `bases.json` that every version has.
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
    /// A bundle of `bases`, each with the name of its configuration. There is one for each configuration, loader
    /// and size of the slot.
    pub fn new(ipxe: IpxeIdentity, bases: impl IntoIterator<Item = (String, Base)>) -> Self {
        let bases = bases.into_iter().map(|(configuration, base)| (BaseKey::of(configuration, base.record()), base));
        Self { ipxe, bases: bases.collect() }
    }

    /// Reads the bundle at `path`.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let mut file = File::open(path).map_err(|error| Error::Open { path: path.to_owned(), error })?;
        Self::read(&mut file).map_err(|flaw| Error::NotABundle { path: path.to_owned(), flaw })
    }

    /// Reads a bundle, whoever made it: into memory, with a limit on it, and with each part compared with its
    /// record.
    ///
    /// # Errors
    ///
    /// [`BundleFlaw`].
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

    /// Which iPXE its bases are of.
    #[must_use]
    pub fn ipxe(&self) -> &IpxeIdentity {
        &self.ipxe
    }

    /// All bases, each with the name of its configuration, sorted by that, by loader, and by the size of the slot.
    pub fn bases(&self) -> impl Iterator<Item = (&str, &Base)> {
        self.bases.iter().map(|(position, base)| (position.configuration.as_str(), base))
    }

    /// The base of `loader` in `configuration`; where there are more, the one with the smallest slot.
    #[must_use]
    pub fn base(&self, configuration: &str, loader: &str) -> Option<&Base> {
        let mut bases = self.bases();
        let found = bases.find(|(its, base)| *its == configuration && base.record().loader == loader);
        found.map(|(_, base)| base)
    }

    /// Checks that [`Self::read`] takes the bundle: larger ones must not be written.
    ///
    /// # Errors
    ///
    /// [`Refusal`] where it has more than that reads.
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

    /// Every file of the bundle, by its name, in the order that [`Self::read`] wants. The same bases give the same
    /// bytes.
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

/// The part of a base that a script is put into.
const IMAGE: &str = "image";
/// How the image of a BIOS loader is packed.
const ZINFO: &str = "zinfo";

impl BaseKey {
    fn of(configuration: String, record: &BaseRecord) -> Self {
        Self { configuration, loader: record.loader.clone(), slot: record.slot_size() }
    }

    /// What the file with `part` is called in a bundle.
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

/// The entries of a bundle that was not read yet.
struct Parts<'a, R: Read> {
    entries: TarEntries<'a, R>,
}

impl<R: Read> Parts<'_, R> {
    /// The content of the next one, which has to be called `name` and have at most so many bytes.
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

    /// Makes sure that none follows.
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
