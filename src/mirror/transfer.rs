//! Transfers a set next to the existing ones: downloads it, verifies its digests and signatures, and syncs it to disk
//! before it becomes visible.
//!
//! Independent of which set is in use.

use std::io::Read;

use camino::{Utf8Path, Utf8PathBuf};

use super::image_set::{Digest, Image, ImageRole, ImageSet};
use super::record::{Identity, MirrorRecord};
use super::shim::{self, KernelTrust, MAX_ISO, MAX_KERNEL, MAX_SHIM, RemoteIso, ShimCheck};
use super::signature::{self, MAX_KEYS, Trust, keyring};
use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Diagnostic, Flag, Help};
use crate::base::fs::{self, world_readable};
use crate::base::http::HttpClient;
use crate::base::paths::MirrorPaths;
use crate::base::paths::mirror::version_script;
use crate::base::progress::Progress;
use crate::base::url::Url;
use crate::config::signers::KeyFingerprint;
use crate::digest::Sha256Digest;
use crate::fetch::download::{self, DownloadUrl, download};
use crate::fetch::ranges::{self, RangeReader};
use crate::loader::target::Arch;

/// Maximum size of a signature, in bytes. A signature is about 1 kB.
const MAX_SIGNATURE: u64 = 64 << 10;

/// Returns the maximum size of an image, in bytes. Publishers do not state sizes. Kernels are about 20 MB (Flatcar's
/// contains more), the largest initramfs is 500 MB, and the largest rootfs 1 GB.
fn max_image(part: ImageRole) -> u64 {
    match part {
        ImageRole::Kernel => 256 << 20,
        ImageRole::Initramfs => 2 << 30,
        ImageRole::Rootfs => 4 << 30,
        ImageRole::Shim => MAX_SHIM as u64,
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
    /// The shim is missing, or is not the one for the kernel.
    #[error(transparent)]
    Shim(#[from] shim::Error),
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
            Self::Shim(error) => error.diagnosis(),
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
            Self::Download(error) | Self::Shim(shim::Error::Ranges(ranges::Error::Download(error))) => {
                matches!(error, download::Error::Status { .. })
            }
            Self::Signature(_) | Self::Shim(_) | Self::Fs(_) => false,
        }
    }
}

/// Key pins with `gpgv`, and the keyring that signatures are checked against.
type Keys<'k> = (&'k Trust, &'k Utf8Path);

/// Transfer of image sets into a mirror.
pub(super) struct Transfer<'a> {
    pub(super) http: &'a HttpClient,
    pub(super) paths: &'a MirrorPaths,
    pub(super) identity: &'a Identity,
    /// Key pins and `gpgv` for checking signatures; `None` if signatures are not checked.
    pub(super) trust: Option<&'a Trust>,
    /// CPU of the images, as UEFI machines have it.
    pub(super) arch: Option<Arch>,
    pub(super) progress: &'a dyn Progress,
}

impl Transfer<'_> {
    /// Transfers `image_set`. Reuses what an earlier run left of it, and the intact images of a damaged set of the same
    /// version. Returns the folder with the complete set, which has been synced to disk, and its record.
    pub(super) fn bring(&self, image_set: &ImageSet) -> Result<(Utf8PathBuf, MirrorRecord), Error> {
        let folder = self.paths.partial(image_set.version.as_str());
        self.forget_others(&folder)?;
        fs::create_dir_all(&folder)?;
        // Keys that cannot be had are told before hours of downloads.
        let keyring = self.trust.map(|trust| self.keyring(trust)).transpose()?;
        let keys = self.trust.zip(keyring.as_deref());
        let old = self.paths.set(image_set.version.as_str());
        let images = image_set.images.iter().map(|image| self.image(image, &folder, &old));
        let sizes = images.collect::<Result<Vec<u64>, Error>>()?;
        let signed_by = keys.map(|keys| self.signers(keys, image_set, &folder)).transpose()?.unwrap_or_default();
        let record = MirrorRecord::new(self.identity, image_set, &sizes, signed_by);
        let record = self.with_shim(record, image_set, keys, &folder)?;
        fs::remove_dir_all(&self.paths.keys())?;
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
        let size = self.check_digest(image, &part)?;
        fs::set_mode(&part, 0o644)?;
        fs::rename(&part, &file)?;
        Ok(size)
    }

    /// Compares the file at `path` with the digest of `image`, and removes it if it differs. Returns its size in bytes.
    fn check_digest(&self, image: &Image, path: &Utf8Path) -> Result<u64, Error> {
        let (found, size) = image.digest.same_of(path, self.progress)?;
        if found == image.digest {
            return Ok(size);
        }
        let page = is_page(path)?;
        // No later attempt can use this file.
        fs::remove_file(path)?;
        let (found, wanted) = (Box::new(found), Box::new(image.digest));
        Err(Error::Mismatch { url: image.url.to_string(), found, page, wanted })
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
    fn signers(&self, keys: Keys<'_>, image_set: &ImageSet, folder: &Utf8Path) -> Result<Vec<KeyFingerprint>, Error> {
        let mut signers = Vec::new();
        for image in &image_set.images {
            let signer = self.signer(keys, image, &folder.join(&image.name))?;
            if !signers.contains(&signer) {
                signers.push(signer);
            }
        }
        Ok(signers)
    }

    /// Checks the signature of `image`, which is the file at `path`, and stores it beside the file. Returns the signing
    /// key.
    fn signer(&self, (trust, keyring): Keys<'_>, image: &Image, path: &Utf8Path) -> Result<KeyFingerprint, Error> {
        let url = image.signature.as_ref().ok_or_else(|| signature::Error::None(image.url.to_string()))?;
        let signature = Utf8PathBuf::from(signature_of(path.as_str()));
        fs::remove_file(&signature)?;
        self.download(url, &signature, MAX_SIGNATURE)?;
        fs::set_mode(&signature, 0o644)?;
        Ok(trust.check(path, &signature, keyring, self.progress)?)
    }

    /// Adds the shim to `record` if `image_set` has one, and to `folder` if it has to be taken out of a live CD.
    fn with_shim(
        &self,
        mut record: MirrorRecord,
        image_set: &ImageSet,
        keys: Option<Keys<'_>>,
        folder: &Utf8Path,
    ) -> Result<MirrorRecord, Error> {
        let of = |part| image_set.images.iter().find(|image| image.part == part);
        let (listed, iso) = (of(ImageRole::Shim), image_set.iso.as_ref());
        let source = listed.or(iso).zip(of(ImageRole::Kernel)).zip(self.arch);
        let Some(((source, kernel), arch)) = source else { return Ok(record) };
        let (url, file) = (source.url.to_string(), folder.join(&source.name));
        let content = match iso.map(|iso| self.shim_of_iso(iso, image_set, (arch, keys), folder)).transpose()? {
            Some((content, signer)) => {
                record.signed_by.extend(signer.filter(|signer| !record.signed_by.contains(signer)));
                fs::write_anew(&file, &content)?;
                fs::set_mode(&file, 0o644)?;
                content
            }
            None => fs::read_at_most(&file, MAX_SHIM as u64)?,
        };
        let bytes = fs::read_at_most(&folder.join(&kernel.name), MAX_KERNEL)?;
        let check = ShimCheck { url: &url, shim: &content, kernel: &bytes, arch, is_listed: listed.is_some() };
        let (shim, trust) = check.check()?;
        if trust == KernelTrust::Unsigned {
            let (name, version) = (&kernel.name, &record.version);
            let message = format!(
                "`{name}` of {version} has no signature that holds, so no shim starts it where Secure Boot is on"
            );
            self.progress.warn(Diagnostic::new(message).help("boot it with Secure Boot off"));
        }
        Ok(record.with_shim(iso, content.len() as u64, shim))
    }

    /// Returns the shim for `arch` in the live CD `iso`: that of the set which is already there, or by parts of the CD,
    /// or out of the whole CD in `folder`, then with the key that has signed the CD, if signatures are checked.
    fn shim_of_iso(
        &self,
        iso: &Image,
        image_set: &ImageSet,
        (arch, keys): (Arch, Option<Keys<'_>>),
        folder: &Utf8Path,
    ) -> Result<(Vec<u8>, Option<KeyFingerprint>), Error> {
        if let Some(content) = self.shim_there(iso, image_set)? {
            return Ok((content, None));
        }
        let url = iso.url.to_string();
        // The publisher's signature is one of the whole CD.
        if keys.is_none() {
            match self.shim_by_parts(iso, arch) {
                Err(shim::Error::Ranges(ranges::Error::Unsupported { found, .. })) => {
                    let message = format!("the whole `{url}` is downloaded for the shim in it: {found}");
                    let warning = Diagnostic::new(message).help("name a server that sends parts of files");
                    self.progress.warn(warning.help(Flag::BaseUrl));
                }
                read => return Ok((read?, None)),
            }
        }
        let whole = folder.join(format!("{}.iso", iso.name));
        self.download(&iso.url, &whole, MAX_ISO)?;
        self.check_digest(iso, &whole)?;
        let signer = keys.map(|keys| self.signer(keys, iso, &whole)).transpose()?;
        let content = shim::of_file(&whole, arch, &url, self.progress);
        fs::remove_file(&whole)?;
        Ok((content?, signer))
    }

    /// Returns the shim of the set of `image_set` that is already there, if it came from the same CD and is intact.
    fn shim_there(&self, iso: &Image, image_set: &ImageSet) -> Result<Option<Vec<u8>>, Error> {
        let folder = self.paths.set(image_set.version.as_str());
        let trusted = self.trust.map(|trust| trust.pin.fingerprints.as_slice());
        let record = MirrorRecord::read(&folder)?.filter(|record| record.is_of(image_set, trusted));
        let Some(shim) = record.and_then(|record| record.shim) else { return Ok(None) };
        let content = fs::read_at_most(&folder.join(&iso.name), MAX_SHIM as u64).ok();
        Ok(content.filter(|content| Sha256Digest::of(content) == shim.sha256))
    }

    fn shim_by_parts(&self, iso: &Image, arch: Arch) -> Result<Vec<u8>, shim::Error> {
        let address = DownloadUrl { url: &iso.url, remedy: Flag::BaseUrl.into() };
        let reader = RangeReader::open(self.http, address, MAX_ISO, self.progress)?;
        RemoteIso(reader).shim(arch, &iso.url.to_string())
    }

    /// Creates the keyring that signatures are checked against.
    fn keyring(&self, trust: &Trust) -> Result<Utf8PathBuf, Error> {
        let folder = self.paths.keys();
        fs::remove_dir_all(&folder)?;
        fs::create_dir_all(&folder)?;
        let file = folder.join("keyring");
        if let Some(keys) = &trust.keys {
            fs::write_anew(&file, keys)?;
            return Ok(file);
        }
        let download = folder.join("download");
        let url = Url::from(trust.pin.keys.as_str());
        self.download(&url, &download, MAX_KEYS)?;
        let keys = keyring(&fs::read(&download)?).ok_or_else(|| signature::Error::NoKeys { file: url.to_string() })?;
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
        names.extend(image_set.iso.iter().map(|iso| iso.name.clone()));
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
