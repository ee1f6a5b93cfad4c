//! The pinned signers: keys whose signatures are accepted for releases that are not pinned themselves, because they
//! are mirrored as they appear.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::toml::Table;

/// The accepted signing keys of one product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignerPin {
    /// The product.
    pub name: String,
    /// The address of the publisher's keys. The fingerprints decide which of them are accepted.
    pub keys: String,
    /// The fingerprints of the primary keys.
    pub fingerprints: Vec<KeyFingerprint>,
}

/// The fingerprint of a version 4 OpenPGP key: 40 uppercase hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct KeyFingerprint(String);

/// Error for a text that is not a fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found `{0}`, wanted 40 uppercase hexadecimal digits")]
pub struct BadFingerprint(String);

impl FromStr for KeyFingerprint {
    type Err = BadFingerprint;

    fn from_str(text: &str) -> Result<Self, BadFingerprint> {
        let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'A'..=b'F');
        let fine = text.len() == 40 && text.bytes().all(hex);
        if fine { Ok(Self(text.to_owned())) } else { Err(BadFingerprint(text.to_owned())) }
    }
}

impl TryFrom<String> for KeyFingerprint {
    type Error = BadFingerprint;

    fn try_from(text: String) -> Result<Self, BadFingerprint> {
        text.parse()
    }
}

impl From<KeyFingerprint> for String {
    fn from(fingerprint: KeyFingerprint) -> Self {
        fingerprint.0
    }
}

impl fmt::Display for KeyFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads the tables `[signers.NAME]`, if any.
pub(super) fn read(root: &Table<'_>) -> Vec<SignerPin> {
    root.tables("signers", |name, table| {
        let keys = table.require("keys", table.string("keys"), "set it to the address of the publisher's keys");
        let listed =
            table.require("fingerprints", table.strings("fingerprints"), "list the fingerprints of the primary keys");
        let listed = listed?;
        if listed.value.is_empty() {
            table.report(listed.location.finding("is empty", "list the fingerprints of the primary keys"));
        }
        let parsed = listed.value.into_iter().filter_map(|at| {
            let fingerprint = at.value.parse();
            let remedy = "copy the whole fingerprint, without spaces";
            table.accept(fingerprint.map_err(|error: BadFingerprint| at.location.finding(error.to_string(), remedy)))
        });
        let fingerprints = parsed.collect();
        Some(SignerPin { name: name.value.clone(), keys: keys?.value, fingerprints })
    })
}

#[cfg(test)]
mod tests {
    use super::super::toml::TomlFile;
    use super::*;
    use crate::base::diagnostic::told;

    #[test]
    fn every_bad_signer_is_told() {
        let text = "[signers.a]\nkeys = \"https://x/k\"\nfingerprints = [\n\"c6e7f081cf80e13146676e88829b606631645531\",\n\
                    \"C6E7F081CF80E13146676E88829B606631645531\"]\n[signers.b]\nfingerprints = []\n[signers.c]\nkeys = 1\nkey = 2\n";
        let error = TomlFile::new("p.toml".into(), text).read(|root| Some(read(root))).unwrap_err();
        assert_eq!(
            told(&error),
            "p.toml:4: `signers.a.fingerprints`: found `c6e7f081cf80e13146676e88829b606631645531`, wanted 40 uppercase \
             hexadecimal digits\n  hint: copy the whole fingerprint, without spaces\n\
             p.toml:6: `signers.b.keys`: is missing\n  hint: set it to the address of the publisher's keys\n\
             p.toml:7: `signers.b.fingerprints`: is empty\n  hint: list the fingerprints of the primary keys\n\
             p.toml:8: `signers.c.fingerprints`: is missing\n  hint: list the fingerprints of the primary keys\n\
             p.toml:9: `signers.c.keys`: found integer, wanted a string\n  hint: write a string\n\
             p.toml:10: `signers.c.key`: is not a key that is known here\n  hint: known here: `fingerprints`, `keys`"
        );
    }
}
