//! Record of a deployment: the deployed files, and the modification times that the target reported for them. It is
//! stored at the target, next to these files.
//!
//! A file is recorded before it is sent, so that a later run recognises everything that was sent, even after a lost
//! connection. A missing record does no harm: files are read back instead.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use crate::digest::{Content, Hasher, Sha256Digest};
use crate::tree::limits::MAX_FILES;
use crate::tree::manifest::{GENERATOR, map};

/// Number of bytes at the beginning of a record that identify it.
pub const HEAD: usize = 140;

/// Version of the record's format.
const SCHEMA_VERSION: u32 = 1;

/// Files that were deployed to a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DeployRecord {
    schema_version: u32,
    generator: String,
    /// Identifier of the deployment, which tells this record from earlier and later ones.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub run: Option<Sha256Digest>,
    /// Recorded files.
    #[serde(deserialize_with = "map::<MAX_FILES, _, _, _>")]
    pub files: BTreeMap<Utf8PathBuf, Deployed>,
}

/// File that was deployed, or was about to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployed {
    /// Content.
    #[serde(flatten)]
    pub content: Content,
    /// Modification time by the target's clock, if known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub modified: Option<u64>,
    /// Content that was about to replace it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next: Option<Content>,
}

impl Deployed {
    /// Returns the content of the file, and the content that was about to replace it.
    pub fn contents(&self) -> impl Iterator<Item = Content> + use<> {
        [Some(self.content), self.next].into_iter().flatten()
    }
}

impl Default for DeployRecord {
    fn default() -> Self {
        Self { schema_version: SCHEMA_VERSION, generator: GENERATOR.to_owned(), run: None, files: BTreeMap::new() }
    }
}

impl DeployRecord {
    /// Parses a record. Returns an empty record if `json` is not a record, or has another version.
    #[must_use]
    pub fn parse(json: &[u8]) -> Self {
        let record = serde_json::from_slice(json).unwrap_or_else(|_| Self::default());
        if record.schema_version == SCHEMA_VERSION && record.generator == GENERATOR { record } else { Self::default() }
    }

    /// Gives the record a new identifier, so that even its [`HEAD`] differs from that of the record written before.
    pub fn begin(&mut self) {
        let before = self.run.map(|run| run.to_string()).unwrap_or_default();
        self.run = Some(Sha256Digest::of(format!("{before} {}", self.digest()).as_bytes()));
    }

    /// Forgets the times that do not prove a file's content, and returns whether there were any. If a file was changed
    /// at `time` (in seconds) or later, another file of the same size that replaced it within the same second looks the
    /// same. So does a replacement of the same size that was about to be sent, since an earlier deployment may have
    /// sent it.
    pub fn forget_racy_times(&mut self, time: u64) -> bool {
        let is_doubtful = |deployed: &&mut Deployed| {
            let looks_the_same = deployed.next.is_some_and(|next| next.size == deployed.content.size);
            deployed.modified.is_some_and(|modified| modified >= time || looks_the_same)
        };
        self.files.values_mut().filter(is_doubtful).map(|deployed| deployed.modified = None).count() > 0
    }

    /// Returns a digest of all recorded files, which identifies the record.
    ///
    /// # Panics
    ///
    /// Never: the keys are strings, and a hasher accepts all data.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        let mut hasher = Hasher::default();
        serde_json::to_writer(&mut hasher, &self.files).expect("the keys are strings");
        hasher.finish()
    }

    /// Returns the record as JSON.
    ///
    /// # Panics
    ///
    /// Never: the keys are strings.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("the keys are strings");
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use netboot_fixtures::property::{one_in, text};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_record_comes_back_and_nonsense_says_nothing() {
        let mut record = DeployRecord::default();
        let content = Content::of(b"loader");
        record.files.insert("sites/a/ipxe.efi".into(), Deployed { content, modified: Some(1_700_000_000), next: None });
        record.files.insert("ipxe.efi".into(), Deployed { content, modified: None, next: Some(Content::of(b"next")) });
        let json = record.to_json();
        assert_eq!(DeployRecord::parse(json.as_bytes()), record);
        for nonsense in [
            "",
            "<html>",
            &json[..json.len() / 2],
            &json.replace("\"schema-version\": 1", "\"schema-version\": 2"),
            &json.replace("netboot_loaders", "another"),
        ] {
            assert_eq!(DeployRecord::parse(nonsense.as_bytes()), DeployRecord::default(), "{nonsense}");
        }
        assert_eq!(DeployRecord::parse(json.as_bytes()).digest(), record.digest());
        assert_ne!(DeployRecord::default().digest(), record.digest());
    }

    #[test]
    fn a_time_is_believed_where_nothing_else_can_look_the_same() {
        let content = Content::of(b"12345678");
        let is = |modified, next: Option<&str>| Deployed {
            content,
            modified: Some(modified),
            next: next.map(|text| Content::of(text.as_bytes())),
        };
        let all = [("a", is(6, None)), ("b", is(6, Some("123"))), ("c", is(7, None)), ("d", is(6, Some("87654321")))];
        let files = all.iter().map(|(path, deployed)| (Utf8PathBuf::from(*path), *deployed)).collect();
        let mut record = DeployRecord { files, ..DeployRecord::default() };
        assert!(record.forget_racy_times(7));
        let believed: Vec<_> =
            record.files.iter().filter(|(_, it)| it.modified.is_some()).map(|(path, _)| path).collect();
        assert_eq!(believed, ["a", "b"]);
        assert!(!record.forget_racy_times(7));
    }

    fn content() -> impl Strategy<Value = Content> {
        any::<(u8, u64)>().prop_map(|(seed, size)| Content { sha256: Sha256Digest::of(&[seed]), size })
    }

    proptest! {
        #![proptest_config(one_in(4))]

        #[test]
        fn a_record_is_read_back_whole_or_says_nothing(
            files in prop::collection::btree_map(
                text().prop_map(Utf8PathBuf::from),
                (content(), any::<Option<u64>>(), prop::option::of(content())),
                0..4,
            ),
            begun in any::<bool>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let deployed = |(content, modified, next)| Deployed { content, modified, next };
            let files = files.into_iter().map(|(path, it)| (path, deployed(it))).collect();
            let mut record = DeployRecord { files, ..DeployRecord::default() };
            if begun {
                record.begin();
            }
            let json = record.to_json();
            prop_assert_eq!(&DeployRecord::parse(json.as_bytes()), &record);
            // Anywhere but at the line break at the end.
            let cut = cut.index(json.len() - 1);
            prop_assert_eq!(DeployRecord::parse(&json.as_bytes()[..cut]), DeployRecord::default());
        }
    }
}
