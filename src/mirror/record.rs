//! What a set says of itself: which mirror it belongs to, and what its images are.

use crate::base::plural::count;
use camino::Utf8Path;
use serde::{Deserialize, Serialize};

use super::image_set::{Digest, ImageRole, ImageSet, ImageVersion};
use crate::base::fs;
use crate::base::paths::MirrorPaths;
use crate::base::progress::Progress;
use crate::config::signers::KeyFingerprint;

/// Who wrote it: how a set is told from a folder of somebody else.
const GENERATOR: &str = "netboot-loaders mirror";

/// What is mirrored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Identity {
    /// The product, as in `fedora-coreos`.
    pub mirror: String,
    /// Its stream or channel.
    pub stream: String,
    /// The processor, as the publisher calls it.
    pub arch: String,
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { mirror, stream, arch } = self;
        write!(f, "{mirror} {stream} {arch}")
    }
}

/// The record of a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct MirrorRecord {
    generator: String,
    /// What it is of.
    #[serde(rename = "of")]
    pub identity: Identity,
    /// The version.
    pub version: ImageVersion,
    /// The images.
    pub files: Vec<RecordedFile>,
    /// The keys that the images' signatures are by; none where nobody asked for signatures.
    pub signed_by: Vec<KeyFingerprint>,
}

/// An image as it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RecordedFile {
    /// What it is for.
    pub part: ImageRole,
    /// Its name in the set.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// What the publisher says that it is, and what it is.
    pub digest: Digest,
    /// Where it came from, as [`crate::base::url::Url`] shows it.
    pub url: String,
}

impl MirrorRecord {
    /// The record of `set`, whose images have `sizes` in the same order.
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

    /// The record in the folder of a set; `None` where there is none, or one that somebody else wrote.
    ///
    /// # Errors
    ///
    /// [`fs::Error`] where it cannot be read.
    pub fn read(folder: &Utf8Path) -> Result<Option<Self>, fs::Error> {
        let text = fs::read_text_if_exists(&folder.join(MirrorPaths::RECORD))?.unwrap_or_default();
        Ok(serde_json::from_slice::<Self>(&text).ok().filter(|record| record.generator == GENERATOR))
    }

    /// The file's content.
    #[must_use]
    pub fn to_json(&self) -> String {
        format!("{:#}\n", serde_json::json!(self))
    }

    /// Whether it is the record of `set`, with signatures by keys that are among `trusted`, where that is asked for.
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

    /// What is wrong with the images in `folder`, in a few words; `None` where they are as recorded. Looks at
    /// their digests where it is to be `thorough`, at their sizes otherwise.
    ///
    /// # Errors
    ///
    /// [`fs::Error`] where an image cannot be read, or where `progress` is cancelled meanwhile.
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
