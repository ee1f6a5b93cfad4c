//! Detection of published trees and releases, by the mark in their manifests.

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;

use super::manifest::GENERATOR;
use crate::base::diagnostic::{Class, Diagnose, Diagnosis};
use crate::base::{fs, paths};
use crate::printable::printable;

/// Error for a path in a published tree or a release, whose verification fails if anything is added there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is {}, and whatever is put there breaks its verification", printable(path), self.relation())]
pub struct InsideTree {
    path: Utf8PathBuf,
    /// The tree; `None` if it is at the path itself.
    above: Option<Utf8PathBuf>,
}

impl InsideTree {
    fn relation(&self) -> String {
        match &self.above {
            Some(tree) => format!("inside the published tree or release `{}`", printable(tree)),
            None => "a published tree or release".to_owned(),
        }
    }
}

impl Diagnose for InsideTree {
    fn diagnosis(&self) -> Diagnosis {
        Class::Failure.about(&self.path).help("choose a folder outside of it")
    }
}

/// Fields of a manifest of any version.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Mark {
    generator: Name,
    #[serde(rename = "schema-version")]
    _schema_version: u32,
}

#[derive(Deserialize)]
struct Name {
    name: String,
}

/// Checks whether the folder has a manifest that this tool wrote.
pub(crate) fn is_ours(folder: &Utf8Path) -> bool {
    let text = fs::read_if_exists(&folder.join(paths::MANIFEST)).ok().flatten().unwrap_or_default();
    serde_json::from_slice(&text).is_ok_and(|Mark { generator, .. }| generator.name == GENERATOR)
}

/// Checks that neither `path` nor a folder above it is a published tree or a release. The target of a deployment does
/// not count: other files are expected there.
///
/// # Errors
///
/// [`InsideTree`] if one of them is.
pub fn outside_trees(path: &Utf8Path) -> Result<(), InsideTree> {
    outside(path, 0)
}

/// Like [`outside_trees`], for a path whose own tree or release is replaced as a whole.
///
/// # Errors
///
/// [`InsideTree`] if a folder above `path` is a tree or a release.
pub fn below_no_tree(path: &Utf8Path) -> Result<(), InsideTree> {
    outside(path, 1)
}

/// Checks the folders above `path`, and `path` itself, except for the first `skipped` of them.
fn outside(path: &Utf8Path, skipped: usize) -> Result<(), InsideTree> {
    let real = |above: &Utf8Path| Some(above.canonicalize_utf8().ok()?.join(path.strip_prefix(above).ok()?));
    let real = path.ancestors().find_map(real).unwrap_or_else(|| path.to_owned());
    let published = |folder: &&Utf8Path| is_ours(folder) && !folder.join(paths::DEPLOYED).exists();
    match real.ancestors().skip(skipped).find(published) {
        Some(tree) => {
            let above = Some(tree).filter(|tree| *tree != real).map(ToOwned::to_owned);
            Err(InsideTree { path: path.to_owned(), above })
        }
        None => Ok(()),
    }
}
