//! What comparing came to.

use camino::Utf8PathBuf;
use serde::Serialize;

use super::bytes::ByteDifference;
use super::cause::Cause;
use super::objects::Objects;
use crate::digest::Sha256Digest;
use crate::loader::linked_objects::Drift;
use crate::printable::{MAX_LISTED, shortened};
use crate::tree::manifest::Manifest;

/// What comparing came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReproduceVerdict {
    /// Every byte is the same.
    Same,
    /// Bytes differ, and so do the tools.
    ToolchainDiffers,
    /// Bytes differ, with the same tools.
    BytesDiffer,
}

/// What a run came to.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ReproduceReport {
    /// The verdict.
    pub verdict: ReproduceVerdict,
    /// What was compared with, if it was a release.
    pub against: Option<String>,
    /// The builds, in their order.
    pub builds: Vec<BuildTime>,
    /// What was compared: all loaders, and with a release all files of the tree.
    pub files: Vec<Compared>,
    /// Whether the manifest, and with it the whole tree, is the same; only with a release.
    pub manifest_same: Option<bool>,
    /// The variations that change bytes.
    pub culprits: Vec<String>,
    /// The variations that change bytes here, where the difference to the release is another one.
    pub besides: Vec<String>,
    /// Whether builds differ with nothing varied, so that no variation can be blamed.
    pub unsteady: bool,
    /// What is different about what went in, the first of it; only with a release.
    pub causes: Vec<Cause>,
    /// How many causes there are.
    pub causes_total: usize,
    /// The loaders that differ, the first 1,000 of them.
    pub differences: Vec<LoaderDifference>,
    /// What was built here, as the manifest of a tree.
    #[serde(skip)]
    pub manifest: Manifest,
}

/// A build, and how long it took.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct BuildTime {
    /// What was varied.
    pub variations: Vec<String>,
    /// How many seconds it took.
    pub seconds: f64,
}

/// A file on both sides.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Compared {
    /// Its path in the tree.
    pub path: Utf8PathBuf,
    /// What was built here; none where it is not among the choices.
    pub found: Option<Sha256Digest>,
    /// What it is compared with; none where it is not there.
    pub wanted: Option<Sha256Digest>,
}

/// How a loader differs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LoaderDifference {
    /// Its path in the tree.
    pub path: Utf8PathBuf,
    /// The bytes; none where only a digest is known of the other side.
    pub bytes: Option<ByteDifference>,
    /// What is linked into it here and not there, and the other way round.
    pub linked: Option<LinkedDrift>,
    /// Why the other side's list of what is linked was not read, where it is there.
    pub unread: Option<String>,
    /// The objects, where both build trees are here.
    pub objects: Option<Objects>,
    /// Both versions, for whoever wants to look further: here, there.
    #[serde(skip)]
    pub files: Option<(Utf8PathBuf, Utf8PathBuf)>,
}

/// What is linked into one of two loaders only, by lines.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LinkedDrift {
    /// In that of the other side, the first 20 of them.
    pub lost: Vec<String>,
    /// In that of this side, the first 20 of them.
    pub gained: Vec<String>,
    /// How many they are: lost, gained.
    pub totals: (usize, usize),
}

impl LinkedDrift {
    /// What is told of `drift`.
    #[must_use]
    pub fn of(drift: &Drift) -> Self {
        let first = |lines: &[String]| lines.iter().take(MAX_LISTED).map(|line| shortened(line)).collect();
        let Drift { lost, gained } = drift;
        Self { lost: first(lost), gained: first(gained), totals: (lost.len(), gained.len()) }
    }
}

impl Compared {
    /// Whether both are the same.
    #[must_use]
    pub fn same(&self) -> bool {
        self.found.is_some() && self.found == self.wanted
    }
}
