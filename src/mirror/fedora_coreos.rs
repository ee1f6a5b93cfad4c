//! Fedora CoreOS: the metadata of a stream lists the current release with the addresses and digests of its images.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::image_set::{Digest, Image, ImageRole, ImageSet, ImageVersion};
use super::metadata::{Error, MAX_STREAM, Reader, file_name};
use super::streams::{CoreosArch, Stream};
use crate::base::paths::mirror::ImageNames;
use crate::base::url::Url;

/// Base address of Fedora's publications.
const BASE: &str = "https://builds.coreos.fedoraproject.org";

/// Stream and architecture of Fedora CoreOS to mirror, and their source.
#[derive(Debug, Clone)]
pub struct FedoraCoreosSource {
    /// Stream.
    pub stream: Stream,
    /// Architecture.
    pub arch: CoreosArch,
    /// Address of the metadata; `None` for Fedora's own.
    pub stream_url: Option<Url>,
    /// Replacement for the base of Fedora's addresses.
    pub base_url: Option<Url>,
    /// Whether the set has the shim of the release.
    pub shim: bool,
}

impl FedoraCoreosSource {
    /// Returns the file names of the images, which are the same in every set.
    pub(super) fn names(&self) -> ImageNames {
        ImageNames::fedora_coreos(self.arch.as_str())
    }

    /// Downloads and parses the metadata. Returns the current set.
    pub(super) fn read(&self, reader: &Reader<'_>) -> Result<ImageSet, Error> {
        let url = match &self.stream_url {
            Some(url) => url.clone(),
            None => self.relocated(&format!("{BASE}/streams/{}.json", self.stream)),
        };
        let text = reader.text(&url, "the metadata of a stream of Fedora CoreOS", MAX_STREAM)?;
        self.parse(&url.to_string(), &text)
    }

    /// Returns the set that the metadata `text` lists as current. `url` is its address, for error messages.
    ///
    /// # Errors
    ///
    /// [`Error`] if the metadata lacks a key or contains an unusable value.
    pub fn parse(&self, url: &str, text: &str) -> Result<ImageSet, Error> {
        let raw = serde_json::from_str(text).map_err(|error| Error::Other {
            url: url.to_owned(),
            found: format!("no such metadata ({error})"),
            wanted: "the metadata of a stream of Fedora CoreOS",
        })?;
        Checker { origin: self, url }.set(raw)
    }

    /// Returns `address` with Fedora's base replaced by `base_url`. An address on another server stays as it is.
    fn relocated(&self, address: &str) -> Url {
        match (&self.base_url, address.strip_prefix(BASE)) {
            (Some(base), Some(rest)) if rest.starts_with('/') => base.join(rest),
            _ => address.into(),
        }
    }
}

#[derive(Deserialize)]
struct RawStream {
    stream: Option<String>,
    architectures: Option<BTreeMap<String, RawArchitecture>>,
}

#[derive(Deserialize)]
struct RawArchitecture {
    artifacts: Option<RawArtifacts>,
}

#[derive(Deserialize)]
struct RawArtifacts {
    metal: Option<RawMetal>,
}

#[derive(Deserialize)]
struct RawMetal {
    release: Option<String>,
    formats: Option<RawFormats>,
}

#[derive(Deserialize)]
struct RawFormats {
    iso: Option<RawIso>,
    pxe: Option<RawPxe>,
}

#[derive(Deserialize)]
struct RawIso {
    disk: Option<RawFile>,
}

#[derive(Deserialize)]
struct RawPxe {
    kernel: Option<RawFile>,
    initramfs: Option<RawFile>,
    rootfs: Option<RawFile>,
}

#[derive(Deserialize)]
struct RawFile {
    location: Option<String>,
    signature: Option<String>,
    sha256: Option<String>,
}

/// Validates parsed metadata.
struct Checker<'a> {
    origin: &'a FedoraCoreosSource,
    url: &'a str,
}

impl Checker<'_> {
    fn set(&self, raw: RawStream) -> Result<ImageSet, Error> {
        let wanted = self.origin.stream.as_str();
        let stream = self.need(raw.stream, "stream")?;
        if stream != wanted {
            return Err(self.unfit("stream", format!("found `{stream}`, wanted `{wanted}`")));
        }
        let arch = self.origin.arch.as_str();
        let mut all = self.need(raw.architectures, "architectures")?;
        let Some(architecture) = all.remove(arch) else {
            let present = all.keys().map(|name| format!("`{name}`")).collect();
            return Err(Error::NoArch { url: self.url.to_owned(), arch: arch.to_owned(), present });
        };
        let at = format!("architectures.{arch}.artifacts");
        let artifacts = self.need(architecture.artifacts, &at)?;
        let metal = self.need(artifacts.metal, &format!("{at}.metal"))?;
        let release = self.need(metal.release, &format!("{at}.metal.release"))?;
        let version = release.parse::<ImageVersion>();
        let version = version.map_err(|error| self.unfit(&format!("{at}.metal.release"), error.to_string()))?;
        let formats = self.need(metal.formats, &format!("{at}.metal.formats"))?;
        let iso = self.origin.shim.then(|| {
            let at = format!("{at}.metal.formats.iso");
            let RawIso { disk } = self.need(formats.iso, &at)?;
            self.image((ImageRole::Shim, self.origin.names().shim), disk, &format!("{at}.disk"), &version)
        });
        let at = format!("{at}.metal.formats.pxe");
        let RawPxe { kernel, initramfs, rootfs } = self.need(formats.pxe, &at)?;
        let parts = [
            (ImageRole::Kernel, "kernel", kernel),
            (ImageRole::Initramfs, "initramfs", initramfs),
            (ImageRole::Rootfs, "rootfs", rootfs),
        ];
        let images = parts
            .into_iter()
            .zip(self.origin.names())
            .map(|((part, key, raw), name)| self.image((part, name), raw, &format!("{at}.{key}"), &version));
        let images = images.collect::<Result<_, _>>()?;
        Ok(ImageSet { version, images, iso: iso.transpose()? })
    }

    fn image(
        &self,
        (part, name): (ImageRole, String),
        raw: Option<RawFile>,
        at: &str,
        version: &ImageVersion,
    ) -> Result<Image, Error> {
        let raw = self.need(raw, at)?;
        let location = self.need(raw.location, &format!("{at}.location"))?;
        let file = file_name(&location).map_err(|reason| self.unfit(&format!("{at}.location"), reason))?;
        // A file of another release does not belong to the set, even if its digest matches.
        if !file.split('-').any(|part| part == version.as_str()) {
            let reason = format!("found `{file}`, wanted a file of the release {version}");
            return Err(self.unfit(&format!("{at}.location"), reason));
        }
        let sha256 = self.need(raw.sha256, &format!("{at}.sha256"))?;
        let digest = sha256.parse().map(Digest::Sha256);
        let digest = digest.map_err(|error| self.unfit(&format!("{at}.sha256"), error.to_string()))?;
        let signature = raw.signature.map(|signature| match file_name(&signature) {
            Ok(_) => Ok(self.origin.relocated(&signature)),
            Err(reason) => Err(self.unfit(&format!("{at}.signature"), reason)),
        });
        let (url, signature) = (self.origin.relocated(&location), signature.transpose()?);
        Ok(Image { part, name, url, digest, signature })
    }

    fn need<T>(&self, value: Option<T>, key: &str) -> Result<T, Error> {
        value.ok_or_else(|| Error::Missing { url: self.url.to_owned(), key: key.to_owned() })
    }

    fn unfit(&self, key: &str, reason: String) -> Error {
        Error::Unfit { url: self.url.to_owned(), key: key.to_owned(), reason }
    }
}

#[cfg(test)]
mod tests {
    use crate::base::diagnostic::told;
    use serde_json::{Value, json};

    use super::*;

    fn origin(base_url: Option<&str>) -> FedoraCoreosSource {
        FedoraCoreosSource {
            stream: Stream::Stable,
            arch: CoreosArch::X86_64,
            stream_url: None,
            base_url: base_url.map(Url::from),
            shim: false,
        }
    }

    /// Returns metadata in the format of Fedora's, with additional keys that the parser ignores.
    fn metadata() -> Value {
        let file = |name: &str, digit: &str| {
            let location =
                format!("{BASE}/prod/streams/stable/builds/44.1.3.1/x86_64/fedora-coreos-44.1.3.1-live-{name}");
            json!({ "location": location, "signature": format!("{location}.sig"), "sha256": digit.repeat(64) })
        };
        json!({
            "stream": "stable",
            "metadata": { "last-modified": "2026-07-21T00:00:00Z", "generator": "fedora-coreos-stream-generator" },
            "architectures": { "aarch64": {}, "x86_64": { "images": {}, "artifacts": { "aws": 1, "metal": {
                "release": "44.1.3.1",
                "formats": { "iso": { "disk": {} }, "pxe": {
                    "kernel": file("kernel.x86_64", "a"),
                    "initramfs": file("initramfs.x86_64.img", "b"),
                    "rootfs": file("rootfs.x86_64.img", "c"),
                } }
            } } } }
        })
    }

    fn read(origin: &FedoraCoreosSource, metadata: &Value) -> Result<ImageSet, String> {
        origin.parse("URL", &metadata.to_string()).map_err(|error| told(&error))
    }

    const PXE: &str = "/architectures/x86_64/artifacts/metal/formats/pxe";

    #[test]
    fn names_addresses_and_digests_are_those_of_the_metadata() {
        let image_set = read(&origin(None), &metadata()).unwrap();
        assert_eq!(image_set.version.as_str(), "44.1.3.1");
        let names: Vec<_> = image_set.images.iter().map(|image| image.name.as_str()).collect();
        assert_eq!(names, ["kernel-x86_64", "initramfs.x86_64.img", "rootfs.x86_64.img"]);
        let rootfs = &image_set.images[2];
        assert_eq!(rootfs.digest, Digest::Sha256("c".repeat(64).parse().unwrap()));
        assert_eq!(
            Some(rootfs.url.expose()),
            metadata().pointer(&format!("{PXE}/rootfs/location")).and_then(Value::as_str)
        );
        assert_eq!(rootfs.signature, Some(format!("{}.sig", rootfs.url).into()));
    }

    #[test]
    fn another_server_has_the_same_paths() {
        let image_set = read(&origin(Some("http://nas/mirror/")), &metadata()).unwrap();
        let expected =
            "http://nas/mirror/prod/streams/stable/builds/44.1.3.1/x86_64/fedora-coreos-44.1.3.1-live-kernel.x86_64";
        assert_eq!(image_set.images[0].url, expected.into());
        assert_eq!(image_set.images[0].signature, Some(format!("{expected}.sig").into()));
        let mut moved = metadata();
        for elsewhere in ["https://cdn/44.1.3.1-kernel", &format!("{BASE}.example.net/44.1.3.1-kernel")] {
            *moved.pointer_mut(&format!("{PXE}/kernel/location")).unwrap() = json!(elsewhere);
            assert_eq!(read(&origin(Some("http://nas")), &moved).unwrap().images[0].url, elsewhere.into());
        }
    }

    #[test]
    fn what_is_missing_is_named_with_its_place() {
        for pointer in [
            "/stream",
            "/architectures",
            "/architectures/x86_64/artifacts",
            "/architectures/x86_64/artifacts/metal",
            "/architectures/x86_64/artifacts/metal/release",
            "/architectures/x86_64/artifacts/metal/formats",
            PXE,
            &format!("{PXE}/kernel"),
            &format!("{PXE}/initramfs/location"),
            &format!("{PXE}/rootfs/sha256"),
        ] {
            let mut metadata = metadata();
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            metadata.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key).unwrap();
            let key = pointer[1..].replace('/', ".");
            assert_eq!(
                read(&origin(None), &metadata).unwrap_err(),
                format!("`URL` does not have `{key}`\nhint: try again later\nhint: or With(BaseUrl)")
            );
        }
        let mut unsigned = metadata();
        unsigned.pointer_mut(&format!("{PXE}/kernel")).unwrap().as_object_mut().unwrap().remove("signature");
        assert_eq!(read(&origin(None), &unsigned).unwrap().images[0].signature, None);
    }

    #[test]
    fn what_cannot_be_used_is_named_with_its_place() {
        for (pointer, value, reason) in [
            ("/stream", "next", "found `next`, wanted `stable`"),
            (
                "/architectures/x86_64/artifacts/metal/release",
                "..",
                "found `..`, wanted a version as in `44.20260707.3.1`",
            ),
            (
                "/architectures/x86_64/artifacts/metal/release",
                "4\nhint: trust me\u{1b}",
                "found `4\\nhint: trust me\\u{1b}`, wanted a version as in `44.20260707.3.1`",
            ),
            (
                &format!("{PXE}/rootfs/location"),
                "https://x/44.1.3.1/../../etc/passwd",
                "found `https://x/44.1.3.1/../../etc/passwd`, wanted the address of a file, as in `https://host/path/file`",
            ),
            (
                &format!("{PXE}/rootfs/location"),
                "https://x/44.1.3.0/fedora-coreos-44.1.3.0-live-rootfs.x86_64.img",
                "found `fedora-coreos-44.1.3.0-live-rootfs.x86_64.img`, wanted a file of the release 44.1.3.1",
            ),
            (&format!("{PXE}/kernel/sha256"), "c0ffee", "found `c0ffee`, wanted 64 lowercase hexadecimal digits"),
            (
                &format!("{PXE}/kernel/signature"),
                "ftp://x/f",
                "found `ftp://x/f`, wanted the address of a file, as in `https://host/path/file`",
            ),
        ] {
            let mut metadata = metadata();
            *metadata.pointer_mut(pointer).unwrap() = json!(value);
            let key = pointer[1..].replace('/', ".");
            assert_eq!(
                read(&origin(None), &metadata).unwrap_err(),
                format!("`URL`: `{key}`: {reason}\nhint: try again later\nhint: or With(BaseUrl)")
            );
        }
        let mut endless = metadata();
        endless["stream"] = json!("x".repeat(1 << 20));
        assert!(read(&origin(None), &endless).unwrap_err().len() < 600);
        let mut metadata = metadata();
        metadata["architectures"].as_object_mut().unwrap().remove("x86_64");
        assert_eq!(
            read(&origin(None), &metadata).unwrap_err(),
            "`URL` has nothing for `x86_64`, only for `aarch64`\nhint: With(Arch)"
        );
    }
}
