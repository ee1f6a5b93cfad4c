//! Built loaders in the cache: kept under the key of all that went in, each with the list of what was
//! linked into it, and a record of both. One that does not match its record is not there.

use camino::Utf8Path;
use serde::{Deserialize, Serialize};

use crate::digest::Sha256Digest;
use crate::fs;
use crate::paths::Cache;

/// A file as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// The SHA-256.
    pub sha256: Sha256Digest,
    /// The size in bytes.
    pub size: u64,
}

impl Content {
    /// What describes `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self { sha256: Sha256Digest::of(bytes), size: bytes.len() as u64 }
    }
}

/// What came out of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// The loader.
    pub loader: Content,
    /// The list of what was linked into it.
    pub linked: Content,
}

/// Keeps `loader` under `key`, with the text `linked`.
///
/// # Errors
///
/// [`fs::Error`].
pub fn store(cache: &Cache, key: &Sha256Digest, loader: &[u8], linked: &str) -> Result<Output, fs::Error> {
    let paths = cache.output(key);
    let output = Output { loader: Content::of(loader), linked: Content::of(linked.as_bytes()) };
    fs::write_atomic(&paths.loader(), loader)?;
    fs::write_atomic(&paths.linked(), linked.as_bytes())?;
    fs::write_atomic(&paths.record(), serde_json::json!(output).to_string().as_bytes())?;
    Ok(output)
}

/// The record under `key`, where the files are there and match it.
///
/// # Errors
///
/// [`fs::Error`] where they are there and cannot be read.
pub fn find(cache: &Cache, key: &Sha256Digest) -> Result<Option<Output>, fs::Error> {
    let paths = cache.output(key);
    let Some(record) = fs::read_if_exists(&paths.record())? else { return Ok(None) };
    let Ok(output) = serde_json::from_slice::<Output>(&record) else { return Ok(None) };
    let found = content(&paths.loader())?.zip(content(&paths.linked())?);
    Ok(found.filter(|found| *found == (output.loader, output.linked)).map(|_| output))
}

fn content(path: &Utf8Path) -> Result<Option<Content>, fs::Error> {
    match fs::sha256(path) {
        Ok((sha256, size)) => Ok(Some(Content { sha256, size })),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_does_not_match_its_record_is_not_served() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(camino::Utf8Path::from_path(folder.path()).unwrap());
        let key = Sha256Digest::of(b"key");
        assert_eq!(find(&cache, &key).unwrap(), None);
        let output = store(&cache, &key, b"loader", "linked").unwrap();
        assert_eq!(find(&cache, &key).unwrap(), Some(output));
        std::fs::write(cache.output(&key).loader(), b"lOader").unwrap();
        assert_eq!(find(&cache, &key).unwrap(), None);
        std::fs::remove_file(cache.output(&key).loader()).unwrap();
        assert_eq!(find(&cache, &key).unwrap(), None);
        store(&cache, &key, b"loader", "linked").unwrap();
        std::fs::write(cache.output(&key).linked(), b"linkEd").unwrap();
        assert_eq!(find(&cache, &key).unwrap(), None);
    }
}
