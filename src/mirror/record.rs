//! Record of a set: the mirror it belongs to, and its images.

use crate::base::plural::count;
use camino::Utf8Path;
use serde::{Deserialize, Serialize};

use super::image_set::{Digest, ImageRole, ImageSet, ImageVersion};
use crate::base::fs;
use crate::base::paths::MirrorPaths;
use crate::base::progress::Progress;
use crate::config::signers::KeyFingerprint;

/// Generator name in records. It distinguishes a set from a folder that another program created.
const GENERATOR: &str = "netboot-loaders mirror";

/// Identity of a mirror.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Identity {
    /// Product name, as in `fedora-coreos`.
    pub mirror: String,
    /// Stream or channel.
    pub stream: String,
    /// Architecture, in the publisher's spelling.
    pub arch: String,
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { mirror, stream, arch } = self;
        write!(f, "{mirror} {stream} {arch}")
    }
}

/// Record of a set (`mirror.json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct MirrorRecord {
    generator: String,
    /// Identity of the mirror that the set belongs to.
    #[serde(rename = "of")]
    pub identity: Identity,
    /// Version of the set.
    pub version: ImageVersion,
    /// Images of the set.
    pub files: Vec<RecordedFile>,
    /// Keys that made the images' signatures; empty if the run did not check signatures.
    pub signed_by: Vec<KeyFingerprint>,
}

/// An image as downloaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RecordedFile {
    /// Role of the image.
    pub part: ImageRole,
    /// File name in the set.
    pub name: String,
    /// Size in bytes.
    pub size: u64,
    /// Digest of the file, which equals the one that the publisher lists.
    pub digest: Digest,
    /// Address of the download, as displayed by [`crate::base::url::Url`].
    pub url: String,
}

impl MirrorRecord {
    /// Creates the record of `image_set`. `sizes` lists the sizes of its images in the same order.
    #[must_use]
    pub fn new(identity: &Identity, image_set: &ImageSet, sizes: &[u64], signed_by: Vec<KeyFingerprint>) -> Self {
        let files = image_set.images.iter().zip(sizes).map(|(image, size)| RecordedFile {
            part: image.part,
            name: image.name.clone(),
            size: *size,
            digest: image.digest,
            url: image.url.to_string(),
        });
        Self {
            generator: GENERATOR.into(),
            identity: identity.clone(),
            version: image_set.version.clone(),
            files: files.collect(),
            signed_by,
        }
    }

    /// Reads the record in the folder of a set. Returns `None` if there is none, or if another program wrote it.
    ///
    /// # Errors
    ///
    /// [`fs::Error`] if the file cannot be read.
    pub fn read(folder: &Utf8Path) -> Result<Option<Self>, fs::Error> {
        let text = fs::read_text_if_exists(&folder.join(MirrorPaths::RECORD))?.unwrap_or_default();
        Ok(serde_json::from_slice::<Self>(&text).ok().filter(|record| record.generator == GENERATOR))
    }

    /// Returns the content of `mirror.json`.
    #[must_use]
    pub fn to_json(&self) -> String {
        format!("{:#}\n", serde_json::json!(self))
    }

    /// Checks whether this is the record of `image_set`. If `trusted` is given, all its signatures must be by `trusted`
    /// keys.
    #[must_use]
    pub fn is_of(&self, image_set: &ImageSet, trusted: Option<&[KeyFingerprint]>) -> bool {
        let as_recorded = |file: &RecordedFile| (file.name.clone(), file.digest);
        self.version == image_set.version
            && self
                .files
                .iter()
                .map(as_recorded)
                .eq(image_set.images.iter().map(|image| (image.name.clone(), image.digest)))
            && trusted.is_none_or(|trusted| {
                !self.signed_by.is_empty() && self.signed_by.iter().all(|signer| trusted.contains(signer))
            })
    }

    /// Describes the first image in `folder` that differs from the record; `None` if all match. Compares sizes, and
    /// also digests if `thorough` is set.
    ///
    /// # Errors
    ///
    /// [`fs::Error`] if an image cannot be read, or if `progress` is cancelled.
    pub fn damage(
        &self,
        folder: &Utf8Path,
        thorough: bool,
        progress: &dyn Progress,
    ) -> Result<Option<String>, fs::Error> {
        for file in &self.files {
            let path = folder.join(&file.name);
            match path.metadata() {
                Err(_) => return Ok(Some(format!("`{path}` is gone"))),
                Ok(metadata) if metadata.len() != file.size => {
                    return Ok(Some(format!("`{path}` has {}, wanted {}", count(metadata.len(), "byte"), file.size)));
                }
                Ok(_) => {}
            }
            if thorough {
                let (found, _) = file.digest.same_of(&path, progress)?;
                if found != file.digest {
                    return Ok(Some(format!("`{path}` has {found}, wanted {}", file.digest)));
                }
            }
        }
        Ok(None)
    }
}
