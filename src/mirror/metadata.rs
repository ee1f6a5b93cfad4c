//! Release metadata of a publisher: retrieval, and errors in its content.
//!
//! Independent of any particular publisher.

use camino::Utf8PathBuf;

use super::image_set::{Digest, Image, ImageSet};
use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Flag};
use crate::base::fs;
use crate::base::http::HttpClient;
use crate::base::progress::Progress;
use crate::base::secrets;
use crate::base::url::Url;
use crate::fetch::download::{self, DownloadUrl, download};
use crate::printable::single_line;

/// Maximum size of a stream's metadata, in bytes. The metadata of a Fedora CoreOS stream is about 300 kB.
pub(super) const MAX_STREAM: u64 = 2 << 20;
/// Maximum size of a list of versions or digests, in bytes. Flatcar's lists are about 1 kB.
pub(super) const MAX_LIST: u64 = 1 << 20;

/// Errors from reading a publisher's metadata.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The response has an unexpected format.
    #[error("`{url}` is {}, wanted {wanted}", one_line(found))]
    Other {
        /// Address of the metadata.
        url: String,
        /// What the response is.
        found: String,
        /// Expected content.
        wanted: &'static str,
    },
    /// A key is missing.
    #[error("`{url}` does not have `{key}`")]
    Missing {
        /// Address of the metadata.
        url: String,
        /// Missing key.
        key: String,
    },
    /// A value is unusable.
    #[error("`{url}`: `{key}`: {}", one_line(reason))]
    Unfit {
        /// Address of the metadata.
        url: String,
        /// Key of the value.
        key: String,
        /// Reason for rejecting the value.
        reason: String,
    },
    /// Two images are the same file.
    #[error("`{first}` and `{second}`: found the same digest for both, {digest}, wanted two images")]
    Same {
        /// Address of the first image.
        first: String,
        /// Address of the second image.
        second: String,
        /// Digest of both images.
        digest: Box<Digest>,
    },
    /// The metadata has no images for the requested architecture.
    #[error("`{url}` has nothing for `{arch}`, only for {}", one_line(&present.join(", ")))]
    NoArch {
        /// Address of the metadata.
        url: String,
        /// Requested architecture.
        arch: String,
        /// Available architectures, each in backticks.
        present: Vec<String>,
    },
    /// The download failed.
    #[error(transparent)]
    Download(#[from] download::Error),
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Other { url, .. } => Class::Unavailable
                .about(url)
                .help("open that address in a browser: a proxy or a login page may answer in its place"),
            Self::Missing { url, .. } | Self::Unfit { url, .. } | Self::Same { first: url, .. } => {
                Class::Unavailable.about(url).help("try again later").help(Flag::BaseUrl)
            }
            Self::NoArch { url, .. } => Class::Unavailable.about(url).help(Flag::Arch),
            Self::Download(error) => error.diagnosis(),
            Self::Fs(error) => error.diagnosis(),
        }
    }
}

/// Maximum number of characters shown from a server's response.
const SHOWN: usize = 400;

/// Returns `text` as a single line, shortened to [`SHOWN`] characters. Parts of it come from the publisher's server and
/// are not this tool's words.
fn one_line(text: &str) -> String {
    single_line(&text.chars().take(SHOWN).collect::<String>())
}

/// Client for a publisher's server.
pub(super) struct Reader<'a> {
    pub(super) http: &'a HttpClient,
    /// Folder for downloads.
    pub(super) folder: Utf8PathBuf,
    pub(super) progress: &'a dyn Progress,
}

impl Reader<'_> {
    /// Downloads the text at `url`, of at most `limit` bytes. `wanted` describes the expected content in error
    /// messages.
    pub(super) fn text(&self, url: &Url, wanted: &'static str, limit: u64) -> Result<String, Error> {
        let other = |found: &str| Error::Other { url: url.to_string(), found: found.to_owned(), wanted };
        // A killed run may have left a file from an earlier time or another address.
        fs::remove_dir_all(&self.folder)?;
        let file = self.folder.join("text");
        download(self.http, &DownloadUrl { url, remedy: Flag::BaseUrl.into() }, &file, limit, self.progress)?;
        let content = fs::read(&file)?;
        fs::remove_dir_all(&self.folder)?;
        match content.trim_ascii_start().first() {
            None => Err(other("empty")),
            Some(b'<') => Err(other("an HTML or XML page")),
            Some(_) => String::from_utf8(content).map_err(|_| other("no text")),
        }
    }
}

/// Rejects a set that lists the same file for two of its parts: both would match their digest and have a good
/// signature.
pub(super) fn check_distinct(image_set: ImageSet) -> Result<ImageSet, Error> {
    for (index, Image { url, digest, .. }) in image_set.images.iter().enumerate() {
        if let Some(other) = image_set.images[..index].iter().find(|other| other.digest == *digest) {
            let (first, second) = (other.url.to_string(), url.to_string());
            return Err(Error::Same { first, second, digest: Box::new(*digest) });
        }
    }
    Ok(image_set)
}

/// Maximum length of an address in the metadata, in bytes. Fedora's are about 150 bytes long.
const MAX_ADDRESS: usize = 2048;
/// Maximum length of a file name, in bytes.
const MAX_NAME: usize = 255;

/// Returns the file name in `location` if that is a safe address: that of a file with a plain name, without a query and
/// without `..`.
pub(super) fn file_name(location: &str) -> Result<&str, String> {
    if location.len() > MAX_ADDRESS {
        return Err(format!("found an address of {} bytes, wanted at most {MAX_ADDRESS}", location.len()));
    }
    let bad = || {
        Err(format!(
            "found `{}`, wanted the address of a file, as in `https://host/path/file`",
            secrets::shown(location)
        ))
    };
    let Some(path) = ["https://", "http://"].iter().find_map(|scheme| location.strip_prefix(scheme)) else {
        return bad();
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~+:/".contains(c);
    let segments = || path.split('/');
    let name = segments().next_back().unwrap_or_default();
    let fine = path.chars().all(plain)
        && segments().count() > 1
        && segments().all(|segment| !matches!(segment, "" | "." | ".."))
        && name.starts_with(|c: char| c.is_ascii_alphanumeric());
    match name.len() {
        _ if !fine => bad(),
        found if found > MAX_NAME => Err(format!("found a file name of {found} bytes, wanted at most {MAX_NAME}")),
        _ => Ok(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_the_address_of_a_plain_file() {
        let name = "fedora-coreos-1.2-live-rootfs.x86_64.img";
        assert_eq!(file_name(&format!("https://x.org/a/{name}")).unwrap(), name);
        assert_eq!(file_name("http://nas:8080/f").unwrap(), "f");
        let refused = |location: &str| file_name(location).unwrap_err();
        for secret in ["http://user:s3cret@host/f", "https://host/f?token=s3cret"] {
            assert!(!refused(secret).contains("s3cret"), "{}", refused(secret));
        }
        for bad in [
            "",
            "file:///etc/passwd",
            "https://",
            "https://host",
            "https://host/",
            "https://host/a/../b",
            "https://host//f",
            "https://host/f?x=1",
            "https://host/f#x",
            "https://host/%2e%2e/f",
            "https://host/.f",
            "https://host/a b",
            "/relative/f",
            "https://host/f\n",
            "HTTPS://host/f",
        ] {
            assert!(file_name(bad).is_err(), "{bad}");
        }
    }
    #[test]
    fn the_length_of_a_location_is_bounded() {
        let of = |folder: usize, name: usize| format!("https://x/{}/{}", "a".repeat(folder), "b".repeat(name));
        assert_eq!(file_name(&of(2048 - 12, 1)).unwrap(), "b");
        assert_eq!(file_name(&of(1, 255)).unwrap().len(), 255);
        let refused = |location: String| file_name(&location).unwrap_err();
        assert_eq!(refused(of(2048 - 11, 1)), "found an address of 2049 bytes, wanted at most 2048");
        assert_eq!(refused("?".repeat(1_900_000)), "found an address of 1900000 bytes, wanted at most 2048");
        assert_eq!(refused(of(1, 256)), "found a file name of 256 bytes, wanted at most 255");
    }
}
