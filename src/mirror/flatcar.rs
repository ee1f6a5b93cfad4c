//! Flatcar: `version.txt` of a channel names the current release. Beside each of its images is a file with digests, of
//! which only SHA-512 is of cryptographic value.
//!
//! All images come from the folder of that release. The folder `current` only serves to find out its version: when
//! there is a new release, its files are replaced one by one.

use super::image_set::{Digest, Image, ImageRole, ImageSet, ImageVersion};
use super::metadata::{Error, MAX_LIST, Reader};
use super::streams::{Channel, FlatcarArch};
use crate::base::paths::mirror::ImageNames;
use crate::base::url::Url;
use crate::digest::Sha512Digest;

/// Channel and architecture of Flatcar to mirror, and their source.
#[derive(Debug, Clone)]
pub struct FlatcarSource {
    /// Channel.
    pub channel: Channel,
    /// Architecture.
    pub arch: FlatcarArch,
    /// Replacement for the base of the publisher's addresses.
    pub base_url: Option<Url>,
    /// Whether the set has the shim of the release.
    pub shim: bool,
}

impl FlatcarSource {
    /// Downloads the metadata of the current release. Returns its set.
    pub(super) fn read(&self, reader: &Reader<'_>) -> Result<ImageSet, Error> {
        let base = match &self.base_url {
            Some(base) => base.clone(),
            None => format!("https://{}.release.flatcar-linux.net", self.channel).into(),
        };
        let base = base.join(&format!("/{}-usr", self.arch));
        let url = base.join("/current/version.txt");
        let version = version(&url.to_string(), &reader.text(&url, "the version of a channel of Flatcar", MAX_LIST)?)?;
        let names = ImageNames::flatcar();
        let shim = self.shim.then(|| (ImageRole::Shim, names.shim.clone()));
        let names = [ImageRole::Kernel, ImageRole::Initramfs].into_iter().zip(names).chain(shim);
        let images = names.map(|(part, name)| {
            let link = |suffix: &str| base.join(&format!("/{version}/{name}{suffix}"));
            let digests = link(".DIGESTS");
            let digest = digest(&digests.to_string(), &name, &reader.text(&digests, "a list of digests", MAX_LIST)?)?;
            let (url, signature) = (link(""), Some(link(".sig")));
            Ok(Image { part, name, url, digest, signature })
        });
        let images = images.collect::<Result<_, Error>>()?;
        Ok(ImageSet { version, images, iso: None })
    }
}

/// Returns the version in the text of a `version.txt`, which consists of shell variable assignments.
///
/// # Errors
///
/// [`Error`] if it contains no usable version.
pub fn version(url: &str, text: &str) -> Result<ImageVersion, Error> {
    const KEY: &str = "FLATCAR_VERSION";
    let value = text.lines().find_map(|line| line.trim().strip_prefix(KEY)?.strip_prefix('='));
    let value = value.ok_or_else(|| Error::Missing { url: url.to_owned(), key: KEY.to_owned() })?;
    let version = value.trim_matches('"').parse::<ImageVersion>();
    version.map_err(|error| Error::Unfit { url: url.to_owned(), key: KEY.to_owned(), reason: error.to_string() })
}

/// Returns the SHA-512 digest of `name` in the text of a `.DIGESTS` file. The file has a heading for each algorithm,
/// followed by lines in the format of `sha512sum`.
///
/// # Errors
///
/// [`Error`] if it contains no usable digest.
pub fn digest(url: &str, name: &str, text: &str) -> Result<Digest, Error> {
    let key = format!("SHA512 {name}");
    let mut lines = text.lines().skip_while(|line| line.trim() != "# SHA512 HASH").skip(1);
    let line = lines.find(|line| line.split_whitespace().nth(1) == Some(name));
    let line = line.ok_or_else(|| Error::Missing { url: url.to_owned(), key: key.clone() })?;
    let digest = line.split_whitespace().next().unwrap_or_default().parse::<Sha512Digest>();
    digest.map(Digest::Sha512).map_err(|error| Error::Unfit { url: url.to_owned(), key, reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::diagnostic::told;

    #[test]
    fn the_version_is_read_with_and_without_quotes() {
        let version = |text| version("URL", text).map(|version| version.to_string()).map_err(|error| told(&error));
        assert_eq!(version("FLATCAR_BUILD=1\nFLATCAR_VERSION_ID=9\nFLATCAR_VERSION=4593.2.5\n").unwrap(), "4593.2.5");
        assert_eq!(version("FLATCAR_VERSION=\"4593.2.5\"\r\n").unwrap(), "4593.2.5");
        let hint = "\nhint: try again later\nhint: or With(BaseUrl)";
        assert_eq!(version("COREOS_VERSION=1\n").unwrap_err(), format!("`URL` does not have `FLATCAR_VERSION`{hint}"));
        assert_eq!(
            version("FLATCAR_VERSION=../x\n").unwrap_err(),
            format!("`URL`: `FLATCAR_VERSION`: found `../x`, wanted a version as in `44.20260707.3.1`{hint}")
        );
    }

    #[test]
    fn only_sha_512_counts_and_only_that_of_the_file() {
        let (good, name) = ("f".repeat(128), "flatcar_production_pxe.vmlinuz");
        let text = format!(
            "# MD5 HASH\n{}  {name}\n# SHA1 HASH\n{}  {name}\n# SHA512 HASH\n{}  other\n{good}  {name}\n",
            "0".repeat(32),
            "1".repeat(40),
            "2".repeat(128)
        );
        let read = |text: &str| digest("URL", name, text).map_err(|error| told(&error));
        assert_eq!(read(&text).unwrap(), Digest::Sha512(good.parse().unwrap()));
        let hint = "\nhint: try again later\nhint: or With(BaseUrl)";
        let cut = text.replace(&format!("{good}  {name}"), "");
        assert_eq!(read(&cut).unwrap_err(), format!("`URL` does not have `SHA512 {name}`{hint}"));
        let short = text.replace(&good, "ff");
        assert_eq!(
            read(&short).unwrap_err(),
            format!("`URL`: `SHA512 {name}`: found `ff`, wanted 128 lowercase hexadecimal digits{hint}")
        );
    }
}
