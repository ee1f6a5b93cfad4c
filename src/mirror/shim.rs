//! The shim of a release: taken out of the release's live CD, and held to its signer and to the kernel that it has to start.
//!
//! A shim that comes by parts of a CD is not covered by the digest of the CD. What proves it is that firmware will check
//! its signature, by Microsoft, and that the certificate in it has issued the signer of the kernel in the same set, whose
//! digest the publisher lists. An older shim of the same vendor passes, too: what it lacks, SBAT has to revoke.

use std::fs::File;
use std::os::unix::fs::FileExt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use camino::{Utf8Path, Utf8PathBuf};

use super::byte_source::{ByteSource, MediumError, Window};
use super::record::{ShimRecord, ShimSigner, VendorCertificate};
use super::{fat, iso9660};
use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Flag, Help, Page};
use crate::base::fs;
use crate::base::progress::Progress;
use crate::digest::Sha256Digest;
use crate::fetch::ranges::{self, RangeReader};
use crate::loader::file_kind::{self, FileKind};
use crate::loader::signature::{Signature, Signatures, SigningCertificate, common_name};
use crate::loader::target::Arch;
use crate::loader::vendor_certificate::vendor_certificates;
use crate::printable::printable;

/// Maximum size of a shim in bytes; Fedora's has about 1,000,000.
pub(super) const MAX_SHIM: usize = 8 << 20;
/// Maximum size of a live CD in bytes; Fedora's have about 1,000,000,000.
pub(super) const MAX_ISO: u64 = 4 << 30;
/// Maximum size of a kernel whose signature is read, in bytes.
pub(super) const MAX_KERNEL: u64 = 192 << 20;

/// Maximum number of characters of a name that are kept.
const MAX_NAME: usize = 400;

/// Microsoft's authorities whose signatures make firmware start a shim.
const MICROSOFT: [&str; 2] = ["Microsoft Corporation UEFI CA 2011", "Microsoft UEFI CA 2023"];
/// Image of the EFI system partition on a live CD.
const EFI_IMAGE: [&str; 2] = ["images", "efiboot.img"];

/// Errors from a shim.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The live CD has no shim that can be read.
    #[error("cannot take the shim out of `{url}`: found {}, wanted {wanted} in `{}`", printable(found), EFI_IMAGE.join("/"))]
    Missing {
        /// Address of the CD.
        url: String,
        /// What was found.
        found: String,
        /// The paths at which the shim may be.
        wanted: String,
    },
    /// The shim is not the one for the kernel.
    #[error("the shim of `{url}` is refused: found {}, wanted {}", printable(found), printable(wanted))]
    Refused {
        /// Address of the file that it is or was in.
        url: String,
        /// What was found.
        found: String,
        /// What was wanted.
        wanted: String,
    },
    /// The CD cannot be read by parts.
    #[error(transparent)]
    Ranges(#[from] ranges::Error),
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        let (class, url) = match self {
            Self::Missing { url, .. } | Self::Ranges(ranges::Error::TooMany { url }) => (Class::Unavailable, url),
            Self::Refused { url, .. } | Self::Ranges(ranges::Error::Unsupported { url, .. }) => (Class::Mismatch, url),
            Self::Ranges(ranges::Error::Download(error)) => return error.diagnosis(),
            Self::Fs(error) => return error.diagnosis(),
        };
        class
            .about(url)
            .help("try again later: the server may have files of two releases")
            .help(Flag::BaseUrl)
            .help(Help::Without(Flag::Shim))
            .page(Page::Mirror)
    }
}

/// Returns where the shim for `arch` may be in an EFI system partition, the best place first.
fn places(arch: Arch) -> [[&'static str; 3]; 2] {
    let [own, default] = match arch {
        Arch::Arm64 => ["shimaa64.efi", "BOOTAA64.EFI"],
        _ => ["shimx64.efi", "BOOTX64.EFI"],
    };
    [["EFI", "BOOT", default], ["EFI", "fedora", own]]
}

/// Takes the shim for `arch` out of the live CD `source`.
fn extract<S: ByteSource>(source: &mut S, arch: Arch) -> Result<Vec<u8>, MediumError<S::Error>> {
    let image = iso9660::find(source, &EFI_IMAGE)?;
    let mut partition = Window { source, start: image.start, size: image.size.into() };
    let shim = fat::read_first(&mut partition, &places(arch), MAX_SHIM)?;
    shim.ok_or_else(|| MediumError::malformed("neither that nor another shim"))
}

/// Takes the shim for `arch` out of the live CD at `url`, as [`extract`] does.
fn extracted<S: ByteSource<Error = Error>>(source: &mut S, arch: Arch, url: &str) -> Result<Vec<u8>, Error> {
    extract(source, arch).map_err(|error| match error {
        MediumError::Source(error) => error,
        MediumError::Malformed(found) => {
            let wanted = places(arch).map(|place| format!("`{}`", place.join("/"))).join(" or ");
            Error::Missing { url: url.to_owned(), found, wanted }
        }
    })
}

/// A live CD on a server.
pub(super) struct RemoteIso<'a>(pub(super) RangeReader<'a>);

impl ByteSource for RemoteIso<'_> {
    type Error = Error;

    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        Ok(self.0.read_at(offset, buffer)?)
    }
}

impl RemoteIso<'_> {
    /// Takes the shim for `arch` out of the CD, which is at `url`.
    pub(super) fn shim(mut self, arch: Arch, url: &str) -> Result<Vec<u8>, Error> {
        let shim = extracted(&mut self, arch, url)?;
        self.0.finish();
        Ok(shim)
    }
}

/// A live CD on the disk.
struct LocalIso<'p> {
    file: File,
    path: Utf8PathBuf,
    size: u64,
    progress: &'p dyn Progress,
}

impl ByteSource for LocalIso<'_> {
    type Error = Error;

    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let read = if self.progress.cancelled() {
            Err(std::io::ErrorKind::Interrupted.into())
        } else {
            self.file.read_exact_at(buffer, offset)
        };
        Ok(read.map_err(|error| fs::Error::new("read", &self.path, error))?)
    }
}

/// Takes the shim for `arch` out of the live CD in the file at `path`, which came from `url`.
pub(super) fn of_file(path: &Utf8Path, arch: Arch, url: &str, progress: &dyn Progress) -> Result<Vec<u8>, Error> {
    let file = fs::open(path)?;
    let size = file.metadata().map_err(|error| fs::Error::new("read", path, error))?.len();
    extracted(&mut LocalIso { file, path: path.to_owned(), size, progress }, arch, url)
}

/// A shim, and what it is held to.
pub(super) struct ShimCheck<'a> {
    /// Address of the file that it is or was in.
    pub(super) url: &'a str,
    pub(super) shim: &'a [u8],
    /// Kernel of the same set.
    pub(super) kernel: &'a [u8],
    pub(super) arch: Arch,
    /// Whether the digest of the shim is that which the publisher lists. Otherwise firmware must be able to tell that it
    /// is genuine.
    pub(super) is_listed: bool,
}

/// Whether a shim starts the kernel of its set.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum KernelTrust {
    /// The shim trusts the kernel's signer.
    Trusted,
    /// The kernel is not signed: no shim starts it where Secure Boot is on.
    Unsigned,
}

impl ShimCheck<'_> {
    /// Checks the shim. Returns what is recorded of it.
    pub(super) fn check(&self) -> Result<(ShimRecord, KernelTrust), Error> {
        file_kind::check(self.shim, FileKind::EfiApplication, Some(self.arch)).map_err(|_| {
            let wanted = format!("{} for {}", FileKind::EfiApplication, self.arch);
            self.refused(file_kind::describe(self.shim), wanted)
        })?;
        let signatures = self.signatures()?;
        let trusted = vendor_certificates(self.shim).map_err(|reason| {
            self.refused(format!("a file that is no shim ({reason})"), "a shim with its certificate")
        })?;
        let recorded = |it: &SigningCertificate| VendorCertificate {
            subject: short(&it.subject),
            sha256: it.sha256,
            der: STANDARD.encode(&it.der),
        };
        let trusts: Vec<VendorCertificate> = trusted.iter().map(recorded).collect();
        let names: Vec<String> = trusts.iter().map(|it| format!("`{}`", it.subject)).collect();
        let kernel = holding(self.kernel);
        let is_trusted = |it: &Signature| trusted.iter().any(|anchor| it.leads_to_anchor(anchor));
        let trust = match &kernel {
            Ok(kernel) if kernel.iter().any(is_trusted) => KernelTrust::Trusted,
            Ok(kernel) => {
                let found = format!("a kernel that is signed by {}", in_words(&signers(kernel)));
                return Err(self.refused(found, format!("one whose signer was issued by {}", names.join(" or "))));
            }
            Err(_) if self.is_listed => KernelTrust::Unsigned,
            Err(reason) => {
                let found = format!("a kernel without a signature that holds ({reason})");
                return Err(self.refused(found, format!("one whose signer was issued by {}", names.join(" or "))));
            }
        };
        let sha256 = Sha256Digest::of(self.shim);
        Ok((ShimRecord { sha256, iso: None, signed_by: signers(&signatures), trusts }, trust))
    }

    /// Returns the signatures of the shim that hold. One that the publisher does not list must have one by Microsoft.
    fn signatures(&self) -> Result<Vec<Signature>, Error> {
        let microsoft = || format!("one by {}", MICROSOFT.map(|name| format!("`{name}`")).join(" or "));
        match holding(self.shim) {
            Err(_) if self.is_listed => Ok(Vec::new()),
            Err(reason) => Err(self.refused(format!("no signature that holds ({reason})"), microsoft())),
            Ok(signatures) => {
                let chains = || signatures.iter().flat_map(|it| &it.chain);
                let is_microsoft = |name: &str| common_name(name).is_some_and(|name| MICROSOFT.contains(&name));
                if self.is_listed || chains().any(|it| is_microsoft(&it.subject) || is_microsoft(&it.issuer)) {
                    return Ok(signatures);
                }
                let found = format!("a signature by {}", in_words(&signers(&signatures)));
                Err(self.refused(found, microsoft()))
            }
        }
    }

    fn refused(&self, found: impl Into<String>, wanted: impl Into<String>) -> Error {
        Error::Refused { url: self.url.to_owned(), found: found.into(), wanted: wanted.into() }
    }
}

/// Returns the signatures of `content`, an EFI application, that hold, at least one, or why there is none.
fn holding(content: &[u8]) -> Result<Vec<Signature>, String> {
    if !content.starts_with(b"MZ") {
        return Err(format!("it is {}", file_kind::describe(content)));
    }
    let signatures = Signatures::of(content)?.signatures;
    let broken = signatures.iter().find_map(|it| it.as_ref().err()).cloned();
    let holding: Vec<Signature> = signatures.into_iter().flatten().collect();
    if holding.is_empty() { Err(broken.unwrap_or_else(|| "it has none".into())) } else { Ok(holding) }
}

fn signers(signatures: &[Signature]) -> Vec<ShimSigner> {
    let first = signatures.iter().filter_map(|it| it.chain.first());
    first.map(|it| ShimSigner { subject: short(&it.subject), issuer: short(&it.issuer) }).collect()
}

/// Returns a name in a certificate, cut off where no honest one goes on: a record must stay readable.
fn short(name: &str) -> String {
    name.chars().take(MAX_NAME).collect()
}

fn in_words(signers: &[ShimSigner]) -> String {
    let names = signers.iter().map(ToString::to_string);
    names.collect::<Vec<_>>().join(" and ")
}
