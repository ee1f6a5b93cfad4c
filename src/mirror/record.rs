//! Record of a set: the mirror it belongs to, and its images.

use crate::base::plural::count;
use camino::Utf8Path;
use serde::{Deserialize, Serialize};

use super::image_set::{Digest, Image, ImageRole, ImageSet, ImageVersion};
use crate::base::fs;
use crate::base::paths::MirrorPaths;
use crate::base::progress::Progress;
use crate::config::signers::KeyFingerprint;
use crate::digest::Sha256Digest;
use crate::loader::signature::common_name;
use crate::printable::printable;

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
    /// The shim among the images, if the set has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shim: Option<ShimRecord>,
}

/// A shim: who has signed it, and which kernels it starts where Secure Boot is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ShimRecord {
    /// SHA-256 of the file.
    pub sha256: Sha256Digest,
    /// Digest, as the publisher lists it, of the live CD that the shim was taken out of; `None` if the publisher offers
    /// the shim itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iso: Option<Digest>,
    /// Signers whose signatures hold.
    pub signed_by: Vec<ShimSigner>,
    /// Certificates in it: it starts kernels that they, or signers that they have issued, have signed.
    pub trusts: Vec<VendorCertificate>,
}

impl std::fmt::Display for ShimRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |names: &mut dyn Iterator<Item = String>| names.collect::<Vec<_>>().join(" and ");
        match list(&mut self.signed_by.iter().map(ToString::to_string)) {
            signers if signers.is_empty() => write!(f, "not signed")?,
            signers => write!(f, "signed by {signers}")?,
        }
        write!(f, "; trusts kernels of {}", list(&mut self.trusts.iter().map(ToString::to_string)))
    }
}

/// Certificate that made a signature of a shim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ShimSigner {
    /// Its owner.
    pub subject: String,
    /// Who issued it.
    pub issuer: String,
}

impl std::fmt::Display for ShimSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let short = |name: &str| printable(common_name(name).unwrap_or(name)).to_string();
        write!(f, "`{}`, issued by `{}`", short(&self.subject), short(&self.issuer))
    }
}

/// Certificate in a shim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct VendorCertificate {
    /// Its owner.
    pub subject: String,
    /// SHA-256 of the certificate.
    pub sha256: Sha256Digest,
    /// The certificate itself (DER, in Base64), as firmware and `MokManager` enrol it.
    #[serde(default)]
    pub der: String,
}

impl std::fmt::Display for VendorCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}`, SHA-256 {}", printable(&self.subject), self.sha256)
    }
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
            shim: None,
        }
    }

    /// Adds the shim, of `size` bytes, whose record is `shim`. If it was taken out of a live CD, `iso` is that CD.
    #[must_use]
    pub fn with_shim(mut self, iso: Option<&Image>, size: u64, shim: ShimRecord) -> Self {
        self.files.extend(iso.map(|iso| RecordedFile {
            part: ImageRole::Shim,
            name: iso.name.clone(),
            size,
            digest: Digest::Sha256(shim.sha256),
            url: iso.url.to_string(),
        }));
        self.shim = Some(ShimRecord { iso: iso.map(|iso| iso.digest), ..shim });
        self
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
    /// keys. A shim that `image_set` does not ask for does no harm.
    #[must_use]
    pub fn is_of(&self, image_set: &ImageSet, trusted: Option<&[KeyFingerprint]>) -> bool {
        let is_asked = |file: &&RecordedFile| file.part != ImageRole::Shim || image_set.lists_shim();
        let recorded = self.files.iter().filter(is_asked).map(|file| (file.name.as_str(), file.digest));
        let asked = image_set.images.iter().map(|image| (image.name.as_str(), image.digest));
        let iso = self.shim.as_ref().and_then(|shim| shim.iso);
        self.version == image_set.version
            && recorded.eq(asked)
            && (!image_set.lists_shim() || self.shim.is_some())
            && image_set.iso.as_ref().is_none_or(|asked| iso == Some(asked.digest))
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
