//! Digests and object names as validated types: a value of one of these types has been checked, a plain string has not.
//!
//! This module knows nothing of files, pins or stages.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256, Sha512};

/// Error from parsing a digest or an object name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found `{found}`, wanted {digits} lowercase hexadecimal digits")]
pub struct BadDigest {
    found: String,
    digits: usize,
}

fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], BadDigest> {
    let error = || BadDigest { found: text.to_owned(), digits: 2 * N };
    if text.len() != 2 * N || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(error());
    }
    let mut bytes = [0; N];
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| error())?;
    }
    Ok(bytes)
}

macro_rules! hex_type {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// Returns the raw bytes.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadDigest;

            fn from_str(text: &str) -> Result<Self, BadDigest> {
                parse_hex(text).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadDigest;

            fn try_from(text: String) -> Result<Self, BadDigest> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

hex_type!(
    /// A SHA-256 digest, written as 64 lowercase hexadecimal digits.
    Sha256Digest,
    32
);
hex_type!(
    /// A SHA-512 digest, written as 128 lowercase hexadecimal digits.
    Sha512Digest,
    64
);
hex_type!(
    /// The name of a git commit, written as 40 lowercase hexadecimal digits.
    CommitId,
    20
);
hex_type!(
    /// The name of a git tree, written as 40 lowercase hexadecimal digits.
    TreeId,
    20
);

impl Sha256Digest {
    /// Returns the digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Returns the digest of everything that `reader` yields, and its length in bytes.
    ///
    /// # Errors
    ///
    /// Any error from `reader`.
    pub fn of_reader(reader: &mut dyn Read) -> io::Result<(Self, u64)> {
        let mut hasher = Hasher::default();
        let length = io::copy(reader, &mut hasher)?;
        Ok((hasher.finish(), length))
    }

    /// Returns the first 12 digits: enough to name a folder, not enough to verify a file.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

impl Sha512Digest {
    /// Returns the digest of everything that `reader` yields, and its length in bytes.
    ///
    /// # Errors
    ///
    /// Any error from `reader`.
    pub fn of_reader(reader: &mut dyn Read) -> io::Result<(Self, u64)> {
        let (mut hash, mut length, mut buffer) = (Sha512::new(), 0, [0; 1 << 14]);
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok((Self(hash.finalize().into()), length)),
                Ok(count) => {
                    hash.update(&buffer[..count]);
                    length += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Expected content of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Content {
    /// SHA-256 digest.
    pub sha256: Sha256Digest,
    /// Size in bytes.
    pub size: u64,
}

impl Content {
    /// Returns the digest and size of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self { sha256: Sha256Digest::of(bytes), size: bytes.len() as u64 }
    }
}

/// An incremental SHA-256, as a [`Write`].
#[derive(Default)]
pub struct Hasher {
    hash: Sha256,
    size: u64,
}

impl Hasher {
    /// Returns the digest of everything written so far.
    #[must_use]
    pub fn finish(self) -> Sha256Digest {
        self.content().sha256
    }

    /// Returns the digest and the size of everything written so far.
    #[must_use]
    pub fn content(self) -> Content {
        Content { sha256: Sha256Digest(self.hash.finalize().into()), size: self.size }
    }
}

impl Write for Hasher {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.hash.update(buf);
        self.size += buf.len() as u64;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_digests() {
        assert_eq!(
            Sha256Digest::of(b"abc").to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        let (digest, length) = Sha512Digest::of_reader(&mut &b"abc"[..]).unwrap();
        assert_eq!(
            (digest.to_string().as_str(), length),
            (
                "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                 2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
                3
            )
        );
    }

    #[test]
    fn only_full_length_lowercase_hex_is_a_name() {
        let name = "12798ec29aa8a64d8675c4378b99f5fe28447afb";
        assert_eq!(name.parse::<CommitId>().unwrap().to_string(), name);
        for bad in ["", "12798", &name.to_uppercase(), &format!("{}g", &name[1..]), "é".repeat(20).as_str()] {
            let error = bad.parse::<CommitId>().unwrap_err().to_string();
            assert_eq!(error, format!("found `{bad}`, wanted 40 lowercase hexadecimal digits"));
        }
    }
}
