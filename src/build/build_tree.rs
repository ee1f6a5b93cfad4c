//! A build tree: exported source, objects, and a seal that identifies intact files.
//!
//! A tree outlives the process, so that a second script needs no compilation. The seal has the digest of every file at
//! the end of the first successful make. Before make runs again, every file that differs from the seal is removed,
//! whatever the cause: a killed make, a full disk, a curious user.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::context::{BuildContext, Error};
use super::make::trust_file;
use crate::base::fs::{self, EntryKind, Lock};
use crate::base::paths::WorkPaths;
use crate::build::plan::{Build, ObjectInputs};
use crate::config::ipxe_config::{IpxeConfig, Sbat};
use crate::config::script::IMAGE_NAME;
use crate::digest::Sha256Digest;
use crate::fetch::ipxe::{Order, Source};
use crate::fetch::origins::LazySource;
use crate::loader::target::Platform;
use crate::stamp::slot::Slot;

/// The folder of iPXE's configuration headers, relative to the tree.
const CONFIG: &str = "src/config";

/// Header with the names of a product.
const BRANDING: &str = "branding.h";

/// A build tree, locked against other processes.
pub struct BuildTree {
    paths: WorkPaths,
    key: Sha256Digest,
    inputs: ObjectInputs,
    sealed: bool,
    _lock: Lock,
}

/// Content of a tree when it was sealed.
#[derive(Serialize, Deserialize)]
struct Seal {
    key: Sha256Digest,
    /// What the key is the digest of.
    inputs: ObjectInputs,
    /// Files that were exported or written before make ran.
    sources: BTreeMap<Utf8PathBuf, Sha256Digest>,
    /// Files that make wrote.
    objects: BTreeMap<Utf8PathBuf, Sha256Digest>,
}

impl BuildTree {
    /// Opens the tree of `build`, after waiting until no other process uses it. Creates it anew if there is none, if
    /// its key differs, or if its source has changed; `source` is used only then. Returns `None` if cancelled.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn open(build: &Build, context: &BuildContext<'_>, source: &mut LazySource<'_>) -> Result<Option<Self>, Error> {
        let name = build.name();
        let Some(lock) = Lock::acquire(&context.cache.lock(&name), context.progress)? else { return Ok(None) };
        let (paths, inputs) = (context.cache.work(&name), build.inputs.clone());
        let mut tree = Self { paths, key: build.key, inputs, sealed: false, _lock: lock };
        let unusable = tree.restore()?;
        tree.sealed = unusable.is_none();
        fs::touch(&tree.paths.seal());
        if let Some(reason) = unusable {
            let source = source.open()?;
            tree.create(build, &source, &format!("iPXE's source for {name}: {reason}"), context)?;
        }
        fs::remove_dir_all(&tree.paths.temporary())?;
        let usual = tree.paths.temporary();
        fs::create_dir_all(context.settings.environment.temporary.as_ref().unwrap_or(&usual))?;
        Ok(Some(tree))
    }

    /// Returns the paths of the tree's parts.
    #[must_use]
    pub fn paths(&self) -> &WorkPaths {
        &self.paths
    }

    /// Returns whether the objects are compiled.
    #[must_use]
    pub fn is_compiled(&self) -> bool {
        self.sealed
    }

    /// Removes files that differ from the seal. Returns the reason why the tree as a whole cannot be used, if there is
    /// one.
    fn restore(&self) -> Result<Option<String>, Error> {
        let Some(text) = fs::read_if_exists(&self.paths.seal())? else {
            let reason =
                if self.paths.root().exists() { "the last build was not finished" } else { "not in the cache" };
            return Ok(Some(reason.to_owned()));
        };
        let Ok(seal) = serde_json::from_slice::<Seal>(&text) else {
            return Ok(Some("the cache has no record of the last build that can be read".to_owned()));
        };
        if seal.key != self.key {
            let changes = self.inputs.changes_since(&seal.inputs);
            let known =
                if changes.is_empty() { "the cache was written by another version".to_owned() } else { changes };
            return Ok(Some(known));
        }
        let changed = || Ok(Some("a source file in the cache was changed".to_owned()));
        let tree = self.paths.tree();
        let mut sources = 0;
        for (path, kind) in fs::walk(&tree)? {
            let file = tree.join(&path);
            let intact = |digest: &Sha256Digest| {
                kind == EntryKind::File && fs::sha256(&file).is_ok_and(|(found, _)| found == *digest)
            };
            match (seal.sources.get(&path), seal.objects.get(&path)) {
                (Some(digest), _) if intact(digest) => sources += 1,
                (Some(_), _) => return changed(),
                (None, Some(digest)) if intact(digest) => {}
                (None, _) => fs::remove_file(&file)?,
            }
        }
        if sources == seal.sources.len() { Ok(None) } else { changed() }
    }

    /// Creates the tree anew; the progress is reported under `label`.
    fn create(&self, build: &Build, source: &Source, label: &str, context: &BuildContext<'_>) -> Result<(), Error> {
        fs::remove_file(&self.paths.seal())?;
        fs::remove_dir_all_with(self.paths.root(), context.progress).ok_or(Error::Cancelled)??;
        let tree = self.paths.tree();
        let order = if context.settings.environment.reverse_file_order { Order::Reversed } else { Order::Sorted };
        source.export(&tree, (context.pin().epoch, order), label, context.progress)?;
        configure(&build.config, build.platform, &self.paths)
    }

    /// Writes the content of `slot` to the file that make embeds, newer than everything made before, and removes the
    /// old object.
    ///
    /// # Errors
    ///
    /// [`fs::Error`].
    pub fn embed(&self, slot: &Slot, embedded_object: &Utf8Path) -> Result<(), fs::Error> {
        fs::remove_file(&self.paths.src().join(embedded_object))?;
        let path = self.paths.src().join(IMAGE_NAME);
        fs::remove_file(&path)?;
        fs::write_new(&path, slot.bytes(), 0o644)
    }

    /// Seals the tree after its first successful make.
    ///
    /// # Errors
    ///
    /// [`fs::Error`].
    pub fn seal(&mut self, exported: &[Utf8PathBuf]) -> Result<(), fs::Error> {
        let tree = self.paths.tree();
        let (key, inputs) = (self.key, self.inputs.clone());
        let mut seal = Seal { key, inputs, sources: BTreeMap::new(), objects: BTreeMap::new() };
        for (path, _) in fs::walk(&tree)? {
            let (digest, _) = fs::sha256(&tree.join(&path))?;
            let source = exported.binary_search_by(|other| other.as_str().cmp(path.as_str())).is_ok();
            if source { &mut seal.sources } else { &mut seal.objects }.insert(path, digest);
        }
        fs::write_atomic(&self.paths.seal(), serde_json::json!(seal).to_string().as_bytes())?;
        self.sealed = true;
        Ok(())
    }
}

/// Writes what `config` adds to the source exported to `work`: headers and trusted certificates.
pub(crate) fn configure(config: &IpxeConfig, platform: Platform, work: &WorkPaths) -> Result<(), Error> {
    write_headers(config, platform, &work.tree().join(CONFIG))?;
    for (index, content) in config.trust.values().enumerate() {
        // Make joins the files, and relies on line breaks between certificates.
        let lines = [content.trim_ascii_end(), b"\n"].concat();
        fs::write_new(&work.src().join(trust_file(index)), &lines, 0o644)?;
    }
    Ok(())
}

/// Writes a `local/` header for each header of iPXE in `folder`: that of the configuration, or an empty one. Make
/// creates empty ones only if it has dependency files.
fn write_headers(config: &IpxeConfig, platform: Platform, folder: &Utf8Path) -> Result<(), Error> {
    let headers: Vec<String> = if folder.is_dir() {
        let files = fs::walk(folder)?.into_iter().map(|(path, _)| path);
        let headers = files.filter(|path| path.extension() == Some("h") && path.components().count() == 1);
        headers.map(Utf8PathBuf::into_string).collect()
    } else {
        Vec::new()
    };
    if let Some(unknown) = config.headers.keys().find(|name| !headers.contains(name)) {
        return Err(Error::UnknownHeader { header: unknown.clone(), config: config.name.clone() });
    }
    let local = folder.join("local");
    fs::create_dir_all(&local)?;
    for name in headers {
        let mut content = config.headers.get(&name).cloned().unwrap_or_default();
        if let Some(sbat) = config.sbat(platform).filter(|_| name == BRANDING) {
            content.extend(branding(sbat).into_bytes());
        }
        fs::write_new(&local.join(name), &content, 0o644)?;
    }
    Ok(())
}

/// Returns the lines of [`BRANDING`] for a loader's own line in its SBAT section.
fn branding(Sbat { name, generation }: &Sbat) -> String {
    let define = |of: &str, value: &str| format!("#undef {of}\n#define {of} {value}\n");
    let name = define("PRODUCT_SBAT_NAME", &format!("\"{name}\""));
    format!("\n{name}{}", define("PRODUCT_SBAT_GENERATION", &generation.to_string()))
}
