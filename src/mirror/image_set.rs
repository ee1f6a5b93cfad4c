//! Sets of matching images: their roles, addresses and digests.
//!
//! A value of [`ImageSet`] is validated: its names are safe as file names, and its digests are well-formed.

use std::cmp::Ordering;
use std::fmt;
use std::io::BufReader;
use std::str::FromStr;

use camino::Utf8Path;
use serde::{Deserialize, Serialize};

use crate::base::fs;
use crate::base::progress::{Interruptible, Progress};
use crate::base::url::Url;
use crate::digest::{Sha256Digest, Sha512Digest};

/// Version of a set. It begins with a digit and contains only ASCII letters, digits, `.` and `-`, so it is usable as a
/// folder name and cannot collide with other names in a mirror.
///
/// Versions are ordered numerically, component by component: 4593.9.0 comes before 4593.10.0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ImageVersion(String);

impl ImageVersion {
    /// Returns the components between dots and dashes as comparison keys. Numbers sort after words, and by their number
    /// of digits first.
    fn parts(&self) -> impl Iterator<Item = (bool, usize, &str)> {
        self.0.split(['.', '-']).map(|part| {
            if part.bytes().all(|byte| byte.is_ascii_digit()) {
                let digits = part.trim_start_matches('0');
                (true, digits.len(), digits)
            } else {
                (false, 0, part)
            }
        })
    }
}

impl Ord for ImageVersion {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(other.parts()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for ImageVersion {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Error from parsing a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found `{0}`, wanted a version as in `44.20260707.3.1`")]
pub struct BadVersion(String);

impl ImageVersion {
    /// Returns the version as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ImageVersion {
    type Err = BadVersion;

    fn from_str(text: &str) -> Result<Self, BadVersion> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        let fine = text.starts_with(|c: char| c.is_ascii_digit()) && text.len() <= 64 && text.chars().all(plain);
        if fine { Ok(Self(text.to_owned())) } else { Err(BadVersion(text.to_owned())) }
    }
}

impl TryFrom<String> for ImageVersion {
    type Error = BadVersion;

    fn try_from(text: String) -> Result<Self, BadVersion> {
        text.parse()
    }
}

impl From<ImageVersion> for String {
    fn from(version: ImageVersion) -> Self {
        version.0
    }
}

impl fmt::Display for ImageVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Role of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageRole {
    /// Kernel.
    Kernel,
    /// Initial RAM file system, which the kernel starts with.
    Initramfs,
    /// Root file system, which the initramfs continues with.
    Rootfs,
    /// Loader that makes firmware with Secure Boot start the kernel.
    Shim,
}

/// Digest, in the algorithm that the publisher uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Digest {
    /// SHA-256 digest.
    Sha256(Sha256Digest),
    /// SHA-512 digest.
    Sha512(Sha512Digest),
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(digest) => write!(f, "SHA-256 {digest}"),
            Self::Sha512(digest) => write!(f, "SHA-512 {digest}"),
        }
    }
}

impl Digest {
    /// Computes a digest of the file at `path` with the same algorithm. Returns it with the file's size in bytes.
    ///
    /// # Errors
    ///
    /// [`fs::Error`] if the file cannot be read, or if `progress` is cancelled.
    pub fn same_of(&self, path: &Utf8Path, progress: &dyn Progress) -> Result<(Self, u64), fs::Error> {
        let mut reader = BufReader::with_capacity(1 << 18, Interruptible::new(fs::open(path)?, progress));
        let read = match self {
            Self::Sha256(_) => Sha256Digest::of_reader(&mut reader).map(|(digest, size)| (Self::Sha256(digest), size)),
            Self::Sha512(_) => Sha512Digest::of_reader(&mut reader).map(|(digest, size)| (Self::Sha512(digest), size)),
        };
        read.map_err(|error| fs::Error::new("read", path, error))
    }
}

/// An image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Role of the image.
    pub part: ImageRole,
    /// File name, the same in every set.
    pub name: String,
    /// Download address.
    pub url: Url,
    /// Expected digest.
    pub digest: Digest,
    /// Address of the detached signature, if the publisher lists one.
    pub signature: Option<Url>,
}

/// Images of one release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSet {
    /// Version of the release.
    pub version: ImageVersion,
    /// Images of the set.
    pub images: Vec<Image>,
    /// The live CD of the release, if the shim has to be taken out of it: its address, digest and signature, with the
    /// name that the shim gets.
    pub iso: Option<Image>,
}

impl ImageSet {
    /// Checks whether the publisher lists the digest of a shim.
    #[must_use]
    pub fn lists_shim(&self) -> bool {
        self.images.iter().any(|image| image.part == ImageRole::Shim)
    }

    /// Checks whether the set has a shim.
    #[must_use]
    pub fn has_shim(&self) -> bool {
        self.iso.is_some() || self.lists_shim()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_the_order_of_their_numbers() {
        let sorted = [
            "4",
            "4.0",
            "44.1.2",
            "44.1.10",
            "44.20251231.3.2",
            "44.20260707.2.0",
            "44.20260707.3.0",
            "44.20260707.3.1",
            "44.20260707.10.1",
            "45.1.1.1",
            "4593.1.0",
            "4593.2.5",
            "4593.2.10",
            "4600.0.0",
            "99999999999999999999999999.1",
            "100000000000000000000000000.0",
        ];
        let versions: Vec<ImageVersion> = sorted.iter().map(|text| text.parse().unwrap()).collect();
        assert!(versions.is_sorted_by(|one, other| one < other));
    }

    #[test]
    fn a_version_is_the_name_of_a_folder_and_of_nothing_else() {
        for fine in ["44.20260707.3.1", "4593.2.5", "1-rc1"] {
            assert_eq!(fine.parse::<ImageVersion>().unwrap().as_str(), fine);
        }
        for bad in
            ["", ".", "..", "current", ".netboot-loaders", "1/..", "44 1", "44\n", "v44", "4\u{660}", &"4".repeat(65)]
        {
            let error = bad.parse::<ImageVersion>().unwrap_err().to_string();
            assert_eq!(error, format!("found `{bad}`, wanted a version as in `44.20260707.3.1`"));
        }
    }
}
