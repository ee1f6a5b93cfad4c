//! Results of comparing builds.

use camino::Utf8PathBuf;
use serde::Serialize;

use super::bytes::ByteDifference;
use super::cause::Cause;
use super::objects::Objects;
use crate::digest::Sha256Digest;
use crate::loader::linked_objects::Drift;
use crate::printable::{MAX_LISTED, shortened};
use crate::tree::manifest::Manifest;

/// Verdict of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReproduceVerdict {
    /// All bytes are identical.
    Same,
    /// Bytes differ, and so do the tools.
    ToolchainDiffers,
    /// Bytes differ although the tools are the same.
    BytesDiffer,
}

/// Result of a run.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ReproduceReport {
    /// Verdict of the comparison.
    pub verdict: ReproduceVerdict,
    /// Release that the build was compared with, if any.
    pub against: Option<String>,
    /// Who has signed the loaders of the release, if they are signed. What is compared of them is then what is signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// Builds in order of execution.
    pub builds: Vec<BuildTime>,
    /// Compared files: all loaders, or all files of the tree if compared with a release.
    pub files: Vec<Compared>,
    /// Whether the manifest, and therefore the whole tree, is identical. Only with a release.
    pub manifest_same: Option<bool>,
    /// Variations that change bytes.
    pub culprits: Vec<String>,
    /// Variations that change bytes here, while the difference from the release has another reason.
    pub besides: Vec<String>,
    /// Whether builds differ without any variation, so that no variation can be identified as the reason.
    pub unsteady: bool,
    /// The first causes: inputs that differ from those of the release. Only with a release.
    pub causes: Vec<Cause>,
    /// Total number of causes.
    pub causes_total: usize,
    /// The first 1,000 loaders that differ.
    pub differences: Vec<LoaderDifference>,
    /// Manifest of the tree that was built here.
    #[serde(skip)]
    pub manifest: Manifest,
}

/// A build and its duration.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct BuildTime {
    /// Variations of the build.
    pub variations: Vec<String>,
    /// Duration in seconds.
    pub seconds: f64,
}

/// A file on both sides.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Compared {
    /// Path in the tree.
    pub path: Utf8PathBuf,
    /// Digest of the file built here; `None` if it is not part of the configuration.
    pub found: Option<Sha256Digest>,
    /// Digest of the file on the other side; `None` if it does not exist there.
    pub wanted: Option<Sha256Digest>,
}

/// Differences of a loader.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LoaderDifference {
    /// Path in the tree.
    pub path: Utf8PathBuf,
    /// Byte differences; `None` if only the digest of the other side is known.
    pub bytes: Option<ByteDifference>,
    /// Objects that are linked into the loader on one side only.
    pub linked: Option<LinkedDrift>,
    /// Reason why the other side's list of linked objects could not be read, if there is one.
    pub unread: Option<String>,
    /// Differences between the objects, if both build trees are available.
    pub objects: Option<Objects>,
    /// Paths of both versions for further analysis: here, there.
    #[serde(skip)]
    pub files: Option<(Utf8PathBuf, Utf8PathBuf)>,
}

/// Lines of the lists of linked objects that only one of two loaders has.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LinkedDrift {
    /// Lines that only the other side has: the first 20.
    pub lost: Vec<String>,
    /// Lines that only this side has: the first 20.
    pub gained: Vec<String>,
    /// Total numbers of lines: lost, gained.
    pub totals: (usize, usize),
}

impl LinkedDrift {
    /// Shortens `drift` for a report.
    #[must_use]
    pub fn of(drift: &Drift) -> Self {
        let first = |lines: &[String]| lines.iter().take(MAX_LISTED).map(|line| shortened(line)).collect();
        let Drift { lost, gained } = drift;
        Self { lost: first(lost), gained: first(gained), totals: (lost.len(), gained.len()) }
    }
}

impl Compared {
    /// Checks whether both sides have the same file.
    #[must_use]
    pub fn same(&self) -> bool {
        self.found.is_some() && self.found == self.wanted
    }
}
