//! Transfers a set next to the existing ones: downloads it, verifies its digests and signatures, and syncs it to disk
//! before it becomes visible.
//!
//! Independent of which set is in use.

use std::io::Read;

use camino::{Utf8Path, Utf8PathBuf};

use super::image_set::{Digest, Image, ImageRole, ImageSet};
use super::record::{Identity, MirrorRecord};
use super::signature::{self, Trust, keyring};
use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Flag, Help};
use crate::base::fs::{self, world_readable};
use crate::base::http::HttpClient;
use crate::base::paths::MirrorPaths;
use crate::base::paths::mirror::version_script;
use crate::base::progress::Progress;
use crate::base::url::Url;
use crate::config::signers::KeyFingerprint;
use crate::fetch::download::{self, DownloadUrl, download};

/// Maximum size of a key file, in bytes. Fedora's is 30 kB.
const MAX_KEYS: u64 = 4 << 20;
/// Maximum size of a signature, in bytes. A signature is about 1 kB.
const MAX_SIGNATURE: u64 = 64 << 10;

/// Returns the maximum size of an image, in bytes. Publishers do not state sizes. Kernels are about 20 MB (Flatcar's
/// contains more), the largest initramfs is 500 MB, and the largest rootfs 1 GB.
fn max_image(part: ImageRole) -> u64 {
    match part {
        ImageRole::Kernel => 256 << 20,
        ImageRole::Initramfs => 2 << 30,
        ImageRole::Rootfs => 4 << 30,
    }
}

/// Errors from transferring a set. The existing sets stay unchanged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The digest of an image differs from the one that the publisher lists.
    #[error(
        "`{url}` differs from what its publisher announces: found {found}{}, wanted {wanted}",
        if *page { " (an HTML or XML page)" } else { "" }
    )]
    Mismatch {
        /// Address of the image.
        url: String,
        /// Actual digest.
        found: Box<Digest>,
        /// Whether the file is an HTML or XML page.
        page: bool,
        /// Expected digest.
        wanted: Box<Digest>,
    },
    /// The download failed.
    #[error(transparent)]
    Download(#[from] download::Error),
    /// A signature is missing or invalid.
    #[error(transparent)]
    Signature(#[from] signature::Error),
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Mismatch { url, .. } => Class::Mismatch.about(url).help(Help::Again).help(Flag::BaseUrl),
            Self::Download(error) => error.diagnosis(),
            Self::Signature(error) => error.diagnosis(),
            Self::Fs(error) => error.diagnosis(),
        }
    }
}

impl Error {
    /// Checks whether the publisher may have replaced the set since its metadata was read.
    #[must_use]
    pub fn may_be_outdated(&self) -> bool {
        match self {
            Self::Mismatch { .. } | Self::Signature(signature::Error::Bad { .. }) => true,
            Self::Download(error) => matches!(error, download::Error::Status { .. }),
            Self::Signature(_) | Self::Fs(_) => false,
        }
    }
}

/// Transfer of image sets into a mirror.
pub(super) struct Transfer<'a> {
    pub(super) http: &'a HttpClient,
    pub(super) paths: &'a MirrorPaths,
    pub(super) identity: &'a Identity,
    /// Key pins and `gpgv` for checking signatures; `None` if signatures are not checked.
    pub(super) trust: Option<&'a Trust>,
    pub(super) progress: &'a dyn Progress,
}

impl Transfer<'_> {
    /// Transfers `image_set`. Reuses what an earlier run left of it, and the intact images of a damaged set of the same
    /// version. Returns the folder with the complete set, which has been synced to disk, and its record.
    pub(super) fn bring(&self, image_set: &ImageSet) -> Result<(Utf8PathBuf, MirrorRecord), Error> {
        let folder = self.paths.partial(image_set.version.as_str());
        self.forget_others(&folder)?;
        fs::create_dir_all(&folder)?;
        let old = self.paths.set(image_set.version.as_str());
        let images = image_set.images.iter().map(|image| self.image(image, &folder, &old));
        let sizes = images.collect::<Result<Vec<u64>, Error>>()?;
        let signed_by =
            self.trust.map(|trust| self.signers(trust, image_set, &folder)).transpose()?.unwrap_or_default();
        let record = MirrorRecord::new(self.identity, image_set, &sizes, signed_by);
        let script = version_script(&self.identity.mirror, image_set.version.as_str());
        fs::write_anew(&folder.join(MirrorPaths::SCRIPT), script.as_bytes())?;
        fs::write_anew(&folder.join(MirrorPaths::RECORD), record.to_json().as_bytes())?;
        self.remove_others(image_set, &folder)?;
        // The web server runs as another user, and the umask may have been 077.
        world_readable::open_to_all(&folder);
        fs::sync_all_of(&folder, self.progress)?;
        Ok((folder, record))
    }

    /// Transfers `image` into `folder`. Returns its size in bytes.
    fn image(&self, image: &Image, folder: &Utf8Path, old: &Utf8Path) -> Result<u64, Error> {
        let file = folder.join(&image.name);
        if let Some(size) = self.right(image, &file)? {
            return Ok(size);
        }
        let old = old.join(&image.name);
        if let Some(size) = self.right(image, &old)? {
            fs::link_or_copy(&old, &file, self.progress)?;
            return Ok(size);
        }
        let part = folder.join(format!("{}.part", image.name));
        self.download(&image.url, &part, max_image(image.part))?;
        let (found, size) = image.digest.same_of(&part, self.progress)?;
        if found != image.digest {
            let page = is_page(&part)?;
            // No later attempt can use this file.
            fs::remove_file(&part)?;
            let (found, wanted) = (Box::new(found), Box::new(image.digest));
            return Err(Error::Mismatch { url: image.url.to_string(), found, page, wanted });
        }
        fs::set_mode(&part, 0o644)?;
        fs::rename(&part, &file)?;
        Ok(size)
    }

    /// Returns the size of the file at `path` if it exists and matches `image`.
    fn right(&self, image: &Image, path: &Utf8Path) -> Result<Option<u64>, Error> {
        if !path.is_file() {
            return Ok(None);
        }
        let (found, size) = image.digest.same_of(path, self.progress)?;
        Ok((found == image.digest).then_some(size))
    }

    fn download(&self, url: &Url, file: &Utf8Path, limit: u64) -> Result<(), Error> {
        Ok(download(self.http, &DownloadUrl { url, remedy: Flag::BaseUrl.into() }, file, limit, self.progress)?)
    }

    /// Checks the signature of each image in `folder` and stores it there. Returns the signing keys without duplicates.
    fn signers(&self, trust: &Trust, image_set: &ImageSet, folder: &Utf8Path) -> Result<Vec<KeyFingerprint>, Error> {
        let keyring = self.keyring(trust)?;
        let mut signers = Vec::new();
        for image in &image_set.images {
            let url = image.signature.as_ref().ok_or_else(|| signature::Error::None(image.url.to_string()))?;
            let signature = folder.join(signature_of(&image.name));
            fs::remove_file(&signature)?;
            self.download(url, &signature, MAX_SIGNATURE)?;
            fs::set_mode(&signature, 0o644)?;
            let signer = trust.check(&folder.join(&image.name), &signature, &keyring, self.progress)?;
            if !signers.contains(&signer) {
                signers.push(signer);
            }
        }
        fs::remove_dir_all(&self.paths.keys())?;
        Ok(signers)
    }

    /// Creates the keyring that signatures are checked against.
    fn keyring(&self, trust: &Trust) -> Result<Utf8PathBuf, Error> {
        let folder = self.paths.keys();
        fs::remove_dir_all(&folder)?;
        fs::create_dir_all(&folder)?;
        let (file, content) = match &trust.keys {
            Some(file) => (file.to_string(), fs::read(file)?),
            None => {
                let file = folder.join("download");
                let url = Url::from(trust.pin.keys.as_str());
                self.download(&url, &file, MAX_KEYS)?;
                (url.to_string(), fs::read(&file)?)
            }
        };
        let keys = keyring(&content).ok_or(signature::Error::NoKeys { file })?;
        let file = folder.join("keyring");
        fs::write_anew(&file, &keys)?;
        Ok(file)
    }

    /// Removes all unfinished sets except the one in `folder`. Removes that one too if it lies behind a link, because
    /// writing through the link would change other files.
    fn forget_others(&self, folder: &Utf8Path) -> Result<(), Error> {
        let unfinished = self.paths.unfinished();
        if !fs::is_plain(&unfinished) {
            fs::remove_dir_all(&unfinished)?;
        }
        for other in fs::entries(&unfinished)? {
            if other != folder {
                fs::remove_dir_all(&other)?;
            }
        }
        Ok(())
    }

    /// Removes files that do not belong to `image_set` from `folder`, such as a signature that is no longer requested.
    fn remove_others(&self, image_set: &ImageSet, folder: &Utf8Path) -> Result<(), Error> {
        let mut names = vec![MirrorPaths::SCRIPT.to_owned(), MirrorPaths::RECORD.to_owned()];
        for image in &image_set.images {
            names.push(image.name.clone());
            names.extend(self.trust.map(|_| signature_of(&image.name)));
        }
        for path in fs::entries(folder)? {
            if !names.iter().any(|name| path.file_name() == Some(name)) {
                fs::remove_dir_all(&path)?;
            }
        }
        Ok(())
    }
}

/// Checks whether the file at `path` is an HTML or XML page.
fn is_page(path: &Utf8Path) -> Result<bool, fs::Error> {
    let mut head = Vec::new();
    fs::open(path)?.take(64).read_to_end(&mut head).map_err(|error| fs::Error::new("read", path, error))?;
    Ok(head.trim_ascii_start().starts_with(b"<"))
}

/// Returns the file name of the signature of the image `name` in a set.
fn signature_of(name: &str) -> String {
    format!("{name}.sig")
}
