//! Built loaders in the cache: kept under the key of all that went in, with a record of what came
//! out. One that does not match its record is not there.

use serde::{Deserialize, Serialize};

use crate::digest::Sha256Digest;
use crate::fs;
use crate::paths::Cache;

/// What came out of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// The SHA-256.
    pub sha256: Sha256Digest,
    /// The size in bytes.
    pub size: u64,
}

/// Keeps `content` under `key`.
///
/// # Errors
///
/// [`fs::Error`].
pub fn store(cache: &Cache, key: &Sha256Digest, content: &[u8]) -> Result<Output, fs::Error> {
    let paths = cache.output(key);
    let output = Output { sha256: Sha256Digest::of(content), size: content.len() as u64 };
    fs::write_atomic(&paths.loader(), content)?;
    fs::write_atomic(&paths.record(), serde_json::json!(output).to_string().as_bytes())?;
    Ok(output)
}

/// The record under `key`, where the content is there and matches it.
///
/// # Errors
///
/// [`fs::Error`] where it is there and cannot be read.
pub fn find(cache: &Cache, key: &Sha256Digest) -> Result<Option<Output>, fs::Error> {
    let paths = cache.output(key);
    let Some(record) = fs::read_if_exists(&paths.record())? else { return Ok(None) };
    let Ok(output) = serde_json::from_slice::<Output>(&record) else { return Ok(None) };
    match fs::sha256(&paths.loader()) {
        Ok((sha256, size)) => Ok(Some(output).filter(|output| *output == Output { sha256, size })),
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
        let output = store(&cache, &key, b"loader").unwrap();
        assert_eq!(find(&cache, &key).unwrap(), Some(output));
        std::fs::write(cache.output(&key).loader(), b"lOader").unwrap();
        assert_eq!(find(&cache, &key).unwrap(), None);
        std::fs::remove_file(cache.output(&key).loader()).unwrap();
        assert_eq!(find(&cache, &key).unwrap(), None);
    }
}
