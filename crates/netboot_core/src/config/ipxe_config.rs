//! Named build configurations: headers for iPXE's `config/local/`, and trusted certificates.

use std::collections::BTreeMap;

use camino::Utf8Path;
use netboot_script::{BuildKind, Feature};

use crate::base::{fs, paths};
use crate::digest::Sha256Digest;
use crate::loader::target::{Arch, Loader, Platform, SECURE_BOOT};

/// The name of the configuration with iPXE's own defaults.
pub const DEFAULT: &str = "default";

/// A build configuration. Loaders with the same configuration share all their objects.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct IpxeConfig {
    /// The name of the folder below `vendor/ipxe-config/`, or `default`.
    pub name: String,
    /// The content of each `config/local/` header, by file name.
    pub headers: BTreeMap<String, Vec<u8>>,
    /// The content of each trusted root certificate (PEM), by its configured name.
    pub trust: BTreeMap<String, Vec<u8>>,
    /// If UEFI loaders are built for Secure Boot: what their SBAT section says.
    pub secure_boot: Option<SecureBuild>,
}

/// A build for Secure Boot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecureBuild {
    /// What the SBAT section says.
    pub sbat: Sbat,
    /// Whether the pinned iPXE can be built for it on 64-bit ARM, too. In 2.0.0, make refuses `libgcc/implicit.c`, which
    /// lacks the mark that iPXE's commit 63eeb23ad has added.
    pub arm64: bool,
}

impl SecureBuild {
    /// Checks whether loaders for `platform` are built for Secure Boot.
    #[must_use]
    pub fn covers(&self, platform: Platform) -> bool {
        platform == Platform::EfiX64 || (platform == Platform::EfiArm64 && self.arm64)
    }
}

/// The line about this build in a loader's SBAT section, by which Secure Boot can revoke it together with others.
/// Source: iPXE's `config/branding.h`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sbat {
    /// Who builds the loaders; the component is called `ipxe.NAME`.
    pub name: String,
    /// The generation; a revocation names the first one that may still boot.
    pub generation: u32,
}

/// Errors from reading a build configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder does not exist.
    #[error("found no configuration `{0}`, wanted one of {1}")]
    Unknown(String, String),
    /// A folder exists for the built-in configuration `default`, which has none.
    #[error("`default` means iPXE's own settings, and there is a folder of that name")]
    Reserved,
    /// The folder contains a file that is not a header.
    #[error("`{0}` in the configuration `{1}` is not a header")]
    NotAHeader(String, String),
    /// A file cannot be read.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl IpxeConfig {
    /// Returns the platforms for which `loaders` with this configuration lack `feature`, each with the macro to define.
    pub fn lacks(&self, feature: &Feature, loaders: &[Loader]) -> impl Iterator<Item = (Platform, &'static str)> {
        Platform::ALL.into_iter().filter_map(|platform| {
            let kind = match (platform, platform.arch()) {
                (Platform::Bios, _) => BuildKind::Bios,
                (_, Arch::I386 | Arch::X86_64) => BuildKind::EfiX86,
                (_, Arch::Arm64) => BuildKind::EfiArm64,
                _ => BuildKind::EfiOther,
            };
            let name = feature.availability.missing(kind)?;
            let built = loaders.iter().any(|loader| loader.platform() == platform);
            (built && !self.defines(name)).then_some((platform, name))
        })
    }

    /// Returns what the SBAT section of loaders for `platform` says, if they are built for Secure Boot.
    #[must_use]
    pub fn sbat(&self, platform: Platform) -> Option<&Sbat> {
        self.secure_boot.as_ref().filter(|build| build.covers(platform)).map(|build| &build.sbat)
    }

    /// Returns the folder below `src/` that iPXE's makefile uses for the output for `platform`.
    #[must_use]
    pub fn bin_dir(&self, platform: Platform) -> String {
        let suffix = if self.sbat(platform).is_some() { SECURE_BOOT } else { "" };
        format!("{}{suffix}", platform.bin_dir())
    }

    /// Returns the name of the make target of `loader` in iPXE.
    #[must_use]
    pub fn target(&self, loader: Loader) -> String {
        format!("{}/{}", self.bin_dir(loader.platform()), loader.file_name())
    }

    /// Returns a unique name of builds for `platform`: the name itself, or, for a configuration with certificates or for
    /// Secure Boot, the name followed by the digest.
    #[must_use]
    pub fn unique_name(&self, platform: Platform) -> String {
        let suffix = if self.sbat(platform).is_some() { SECURE_BOOT } else { "" };
        if self.trust.is_empty() && suffix.is_empty() {
            return self.name.clone();
        }
        format!("{}{suffix}-{}", self.name, self.digest().short())
    }

    /// Returns the folder of the lists of what is linked into loaders for `platform`.
    #[must_use]
    pub fn list_folder(&self, platform: Platform) -> String {
        let folder = if self.sbat(platform).is_some() { paths::LINKED_FOR_SECURE_BOOT } else { "" };
        format!("{}{folder}", self.name)
    }

    /// Reads the configuration `name` from `folder`, which contains all configurations.
    ///
    /// # Errors
    ///
    /// [`Error`] if the name is unknown, or if the folder has other files than headers or cannot be read.
    pub fn read(folder: &Utf8Path, name: &str) -> Result<Self, Error> {
        let mut config =
            Self { name: name.to_owned(), headers: BTreeMap::new(), trust: BTreeMap::new(), secure_boot: None };
        let own = folder.join(name);
        if name == DEFAULT {
            return if own.exists() { Err(Error::Reserved) } else { Ok(config) };
        }
        // The name becomes part of the path that make runs in.
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) && !name.is_empty();
        if !plain || name.starts_with('.') || !own.is_dir() {
            return Err(Error::Unknown(name.to_owned(), known(folder)));
        }
        for (path, _) in fs::walk(&own)? {
            if path.extension() != Some("h") || path.components().count() != 1 {
                return Err(Error::NotAHeader(path.into_string(), name.to_owned()));
            }
            config.headers.insert(path.to_string(), fs::read_text(&own.join(path))?);
        }
        Ok(config)
    }

    /// Returns the digest of everything that the configuration adds to a build, which excludes its name.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        let mut text = String::new();
        for (what, files) in [("header", &self.headers), ("trust", &self.trust)] {
            for (name, content) in files {
                text += &format!("{what} {name} {}\n", Sha256Digest::of(content));
            }
        }
        let sbat = self.secure_boot.iter().map(|build| &build.sbat);
        text.extend(sbat.map(|Sbat { name, generation }| format!("sbat {name} {generation}\n")));
        Sha256Digest::of(text.as_bytes())
    }

    /// Checks whether a header defines the macro `name`.
    #[must_use]
    pub fn defines(&self, name: &str) -> bool {
        self.headers.values().any(|content| {
            String::from_utf8_lossy(content).lines().any(|line| {
                let mut words = line.split_ascii_whitespace();
                words.next() == Some("#define") && words.next() == Some(name)
            })
        })
    }
}

fn known(folder: &Utf8Path) -> String {
    let mut names = vec![DEFAULT.to_owned()];
    if let Ok(entries) = folder.read_dir_utf8() {
        names.extend(entries.flatten().filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name().to_owned()));
    }
    names.sort();
    names.dedup();
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
