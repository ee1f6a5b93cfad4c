//! Where pinned inputs may come from, and iPXE's source as a build asks for it.

use std::rc::Rc;

use camino::Utf8PathBuf;

use super::InputSource;
use super::ipxe::{self, Patch, Source};
use super::source_bundle;
use crate::base::diagnostic::{Class, Diagnose, Diagnosis};
use crate::base::fs::{self, Lock, unwritable};
use crate::base::http::NetworkAccess;
use crate::base::paths::Cache;
use crate::base::progress::Progress;
use crate::base::url::Url;
use crate::config::pins::{IpxePin, Pins};

/// Where pinned inputs may come from.
#[derive(Debug, Clone)]
pub struct Origins {
    /// The network.
    pub network: NetworkAccess,
    /// A git URL or path instead of the pin's, for iPXE.
    pub ipxe_url: Option<Url>,
    /// A path or address instead of the pin's, for the syslinux archive.
    pub syslinux_archive: Option<Url>,
    /// A source bundle that has everything.
    pub bundle: Option<Utf8PathBuf>,
}

impl Origins {
    /// Where iPXE may come from.
    #[must_use]
    pub fn ipxe(&self) -> InputSource<'_> {
        InputSource { network: &self.network, given: self.ipxe_url.as_ref() }
    }

    /// Brings what the cache lacks out of the bundle, where there is one.
    ///
    /// # Errors
    ///
    /// [`FetchError`].
    pub fn unpack(&self, pins: &Pins, cache: &Cache, progress: &dyn Progress) -> Result<(), FetchError> {
        let Some(bundle) = &self.bundle else { return Ok(()) };
        let _lock = Lock::acquire(&cache.lock("fetch"), progress)?.ok_or(FetchError::Cancelled)?;
        Ok(source_bundle::read(bundle, pins, cache, progress)?)
    }

    /// Where the syslinux archive may come from.
    #[must_use]
    pub fn syslinux(&self) -> InputSource<'_> {
        InputSource { network: &self.network, given: self.syslinux_archive.as_ref() }
    }
}

/// Errors from bringing iPXE's source into the cache.
///
/// Whoever converts it names every variant, so that one that is added can't be taken for another.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The source cannot be had, or is not what was pinned.
    #[error(transparent)]
    Ipxe(#[from] ipxe::Error),
    /// The source bundle does not have what is pinned.
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

/// Keeps others from filling the cache meanwhile; `None` where it cannot be written, and nothing is missing either.
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

/// Brings the pinned iPXE into the cache.
///
/// # Errors
///
/// [`FetchError`].
pub fn fetch_ipxe(pin: &IpxePin, cache: &Cache, origins: &Origins, progress: &dyn Progress) -> Result<(), FetchError> {
    let _lock = lock_for_fetch(cache, || Source::open(pin, cache, &[], progress).is_ok(), progress)?;
    Ok(ipxe::fetch(pin, cache, &origins.ipxe(), progress)?)
}

/// iPXE's source, which is fetched and checked when it is asked for first. Checking every file of it takes a second: once is
/// enough for all build trees.
pub struct LazySource<'a> {
    pins: &'a Pins,
    patches: &'a [Patch],
    sources: &'a Cache,
    origins: &'a Origins,
    progress: &'a dyn Progress,
    opened: Option<Rc<Source>>,
}

impl<'a> LazySource<'a> {
    /// The source that `pins` name, with `patches`: from the cache `sources`, where it is brought from `origins`.
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

    /// The source itself.
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
