//! Sources of pinned inputs, and lazy access to iPXE's source for a build.

use std::rc::Rc;

use camino::Utf8PathBuf;

use super::InputSource;
use super::ipxe::{self, Patch, Source};
use super::signed_set::SetSource;
use super::source_bundle;
use crate::base::diagnostic::{Class, Diagnose, Diagnosis};
use crate::base::fs::{self, Lock, unwritable};
use crate::base::http::NetworkAccess;
use crate::base::paths::Cache;
use crate::base::progress::Progress;
use crate::base::url::Url;
use crate::config::pins::{IpxePin, Pins};

/// Sources of pinned inputs.
#[derive(Debug, Clone)]
pub struct Origins {
    /// The network, or offline.
    pub network: NetworkAccess,
    /// A git URL or path that replaces the pin's, for iPXE.
    pub ipxe_url: Option<Url>,
    /// A path or address that replaces the pin's, for the syslinux archive.
    pub syslinux_archive: Option<Url>,
    /// A folder or an archive that replaces the pin's addresses, for iPXE's signed set.
    pub signed_set: Option<Utf8PathBuf>,
    /// A source bundle that contains all inputs.
    pub bundle: Option<Utf8PathBuf>,
}

impl Origins {
    /// Returns the source of iPXE.
    #[must_use]
    pub fn ipxe(&self) -> InputSource<'_> {
        InputSource { network: &self.network, given: self.ipxe_url.as_ref() }
    }

    /// Copies the inputs that the cache lacks from the bundle, if there is one.
    ///
    /// # Errors
    ///
    /// [`FetchError`].
    pub fn unpack(&self, pins: &Pins, cache: &Cache, progress: &dyn Progress) -> Result<(), FetchError> {
        let Some(bundle) = &self.bundle else { return Ok(()) };
        let _lock = Lock::acquire(&cache.lock("fetch"), progress)?.ok_or(FetchError::Cancelled)?;
        Ok(source_bundle::read(bundle, pins, cache, progress)?)
    }

    /// Returns the source of the syslinux archive.
    #[must_use]
    pub fn syslinux(&self) -> InputSource<'_> {
        InputSource { network: &self.network, given: self.syslinux_archive.as_ref() }
    }

    /// Returns the source of iPXE's signed set.
    #[must_use]
    pub fn signed_set(&self) -> SetSource<'_> {
        SetSource { network: &self.network, given: self.signed_set.as_deref() }
    }
}

/// Errors from bringing iPXE's source into the cache.
///
/// Conversions name every variant explicitly, so that a new one cannot be mistaken for another.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The iPXE source is not available, or does not match its pin.
    #[error(transparent)]
    Ipxe(#[from] ipxe::Error),
    /// The source bundle does not match the pins.
    #[error(transparent)]
    Bundle(#[from] source_bundle::Error),
    /// The user asked to stop.
    #[error("interrupted")]
    Cancelled,
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Diagnose for FetchError {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Ipxe(error) => error.diagnosis(),
            Self::Bundle(error) => error.diagnosis(),
            Self::Cancelled => Class::Interrupted.into(),
            Self::Fs(error) => error.diagnosis(),
        }
    }
}

/// Locks the cache against other fetches. Returns `None` if the cache is not writable and nothing is missing.
///
/// # Errors
///
/// [`FetchError`].
pub fn lock_for_fetch(
    cache: &Cache,
    is_complete: impl FnOnce() -> bool,
    progress: &dyn Progress,
) -> Result<Option<Lock>, FetchError> {
    match Lock::acquire(&cache.lock("fetch"), progress) {
        Ok(lock) => lock.ok_or(FetchError::Cancelled).map(Some),
        Err(error) if unwritable(&error).is_some() && is_complete() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Fetches the pinned iPXE source into the cache.
///
/// # Errors
///
/// [`FetchError`].
pub fn fetch_ipxe(pin: &IpxePin, cache: &Cache, origins: &Origins, progress: &dyn Progress) -> Result<(), FetchError> {
    let _lock = lock_for_fetch(cache, || Source::open(pin, cache, &[], progress).is_ok(), progress)?;
    Ok(ipxe::fetch(pin, cache, &origins.ipxe(), progress)?)
}

/// iPXE's source, fetched and checked on first use. Checking all its files takes a second, so that all build trees
/// share one check.
pub struct LazySource<'a> {
    pins: &'a Pins,
    patches: &'a [Patch],
    sources: &'a Cache,
    origins: &'a Origins,
    progress: &'a dyn Progress,
    opened: Option<Rc<Source>>,
}

impl<'a> LazySource<'a> {
    /// Creates the source that `pins` name, with `patches`, in the cache `sources`; it is fetched from `origins`.
    #[must_use]
    pub fn new(
        pins: &'a Pins,
        patches: &'a [Patch],
        sources: &'a Cache,
        origins: &'a Origins,
        progress: &'a dyn Progress,
    ) -> Self {
        Self { pins, patches, sources, origins, progress, opened: None }
    }

    /// Returns the source, and fetches and checks it first if necessary.
    ///
    /// # Errors
    ///
    /// [`FetchError`].
    pub fn open(&mut self) -> Result<Rc<Source>, FetchError> {
        if let Some(source) = &self.opened {
            return Ok(Rc::clone(source));
        }
        let Self { pins, patches, sources, origins, progress, .. } = *self;
        origins.unpack(pins, sources, progress)?;
        fetch_ipxe(&pins.ipxe, sources, origins, progress)?;
        let source = Rc::new(Source::open(&pins.ipxe, sources, patches, progress)?);
        self.opened = Some(Rc::clone(&source));
        Ok(source)
    }
}
