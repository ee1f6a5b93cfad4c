//! Bases in the cache. Each is stored under the key of all its inputs, with the list of its linked objects and a record
//! of all its files. A base that does not match its record counts as missing.

use camino::Utf8Path;
use serde::{Deserialize, Serialize};

use crate::base::fs;
use crate::base::paths::{BasePaths, Cache};
use crate::digest::{Content, Sha256Digest};
use crate::stamp::base::{Base, BaseKind, BaseRecord};

/// A base as built.
#[derive(Debug, Clone)]
pub struct BuiltBase {
    /// The base that is stamped.
    pub base: Base,
    /// Digest of the base's record, which identifies the base.
    pub digest: Sha256Digest,
    /// List of the objects linked into it.
    pub linked: String,
    /// The script of its iPXE that makes boot media, if it has one.
    pub genfsimg: Option<String>,
    /// Paths of its parts in the cache; `zbin` exists only for a BIOS loader.
    pub paths: BasePaths,
}

impl BuiltBase {
    fn new(base: Base, linked: String, genfsimg: Option<String>, paths: BasePaths) -> Self {
        let digest = Sha256Digest::of(serde_json::json!(base.record()).to_string().as_bytes());
        Self { base, digest, linked, genfsimg, paths }
    }
}

/// The cache's record of a base.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Kept {
    base: BaseRecord,
    linked: Content,
    /// The program that packs a BIOS loader.
    zbin: Option<Content>,
    /// The script that makes boot media.
    genfsimg: Option<Content>,
}

/// Files that a base is stored with.
#[derive(Debug, Clone, Default)]
pub struct Companions {
    /// List of the objects linked into it.
    pub linked: String,
    /// The program that packs a BIOS loader.
    pub zbin: Option<Vec<u8>>,
    /// The script that makes boot media, if this iPXE has one.
    pub genfsimg: Option<String>,
}

/// Stores `base` under `key`, with its `companions`.
///
/// # Errors
///
/// [`fs::Error`].
pub fn store(cache: &Cache, key: &Sha256Digest, base: Base, companions: Companions) -> Result<BuiltBase, fs::Error> {
    let Companions { linked, zbin, genfsimg } = companions;
    let paths = cache.base(key);
    let kept = Kept {
        base: base.record().clone(),
        linked: Content::of(linked.as_bytes()),
        zbin: zbin.as_deref().map(Content::of),
        genfsimg: genfsimg.as_ref().map(|text| Content::of(text.as_bytes())),
    };
    fs::write_atomic(&paths.image(), base.image())?;
    fs::write_atomic(&paths.zinfo(), base.zinfo())?;
    fs::write_atomic(&paths.linked(), linked.as_bytes())?;
    if let Some(zbin) = zbin {
        fs::write_atomic(&paths.zbin(), &zbin)?;
        fs::set_mode(&paths.zbin(), 0o755)?;
    }
    if let Some(genfsimg) = &genfsimg {
        fs::write_atomic(&paths.genfsimg(), genfsimg.as_bytes())?;
    }
    fs::write_atomic(&paths.record(), serde_json::json!(kept).to_string().as_bytes())?;
    Ok(BuiltBase::new(base, linked, genfsimg, paths))
}

/// Returns the base under `key`, if all its parts exist and match its record.
///
/// # Errors
///
/// [`fs::Error`] if a part exists and cannot be read.
pub fn find(cache: &Cache, key: &Sha256Digest) -> Result<Option<BuiltBase>, fs::Error> {
    let paths = cache.base(key);
    let Some(record) = fs::read_if_exists(&paths.record())? else { return Ok(None) };
    let Ok(Kept { base, linked, zbin, genfsimg }) = serde_json::from_slice(&record) else { return Ok(None) };
    let as_recorded = |path: &Utf8Path, wanted: Content| -> Result<Option<Vec<u8>>, fs::Error> {
        Ok(fs::read_if_exists(path)?.filter(|bytes| Content::of(bytes) == wanted))
    };
    let Some(text) = as_recorded(&paths.linked(), linked)? else { return Ok(None) };
    if let Some(zbin) = zbin
        && as_recorded(&paths.zbin(), zbin)?.is_none()
    {
        return Ok(None);
    }
    let genfsimg = match genfsimg {
        None => None,
        Some(wanted) => match as_recorded(&paths.genfsimg(), wanted)?.map(String::from_utf8) {
            Some(Ok(text)) => Some(text),
            _ => return Ok(None),
        },
    };
    let Some(image) = as_recorded(&paths.image(), base.image)? else { return Ok(None) };
    let zinfo = match base.kind {
        BaseKind::Efi { .. } => Vec::new(),
        BaseKind::Bios { zinfo, .. } => as_recorded(&paths.zinfo(), zinfo)?.unwrap_or_default(),
    };
    let Ok(base) = Base::open(base, image, zinfo) else { return Ok(None) };
    fs::touch(&paths.record());
    Ok(Some(BuiltBase::new(base, String::from_utf8_lossy(&text).into_owned(), genfsimg, paths)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::slot::{Slot, SlotSize};

    #[test]
    fn an_entry_that_does_not_match_its_record_is_not_served() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(camino::Utf8Path::from_path(folder.path()).unwrap());
        let key = Sha256Digest::of(b"key");
        assert!(find(&cache, &key).unwrap().is_none());
        let image = Slot::sentinel(SlotSize::DEFAULT).bytes().to_vec();
        let zinfo = [&b"COPY"[..], &[0; 4], &[0, 16, 0, 0], &[1, 0, 0, 0]].concat();
        let base = Base::capture_bios("x.pxe", image.clone(), zinfo, &image, SlotSize::DEFAULT).unwrap();
        let companions =
            Companions { linked: "linked".into(), zbin: Some(b"zbin".into()), genfsimg: Some("genfsimg".into()) };
        let keep = || store(&cache, &key, base.clone(), companions.clone()).unwrap();
        let paths = keep().paths;
        let found = find(&cache, &key).unwrap().unwrap();
        assert_eq!((found.base.record(), found.linked.as_str()), (base.record(), "linked"));
        let parts = [paths.image(), paths.zinfo(), paths.zbin(), paths.genfsimg(), paths.linked(), paths.record()];
        for part in parts {
            keep();
            std::fs::write(&part, b"changed").unwrap();
            assert!(find(&cache, &key).unwrap().is_none(), "{part}");
            std::fs::remove_file(&part).unwrap();
            assert!(find(&cache, &key).unwrap().is_none(), "{part}");
        }
    }
}
