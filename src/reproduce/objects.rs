//! Differences between the objects of two build trees. A loader does not contain debug information, but it contains a
//! checksum of all objects. If only that checksum differs, the objects show the reason.

use camino::Utf8Path;
use serde::Serialize;

use super::bytes;
use crate::base::fs;

/// Maximum number of objects to list.
const NAMED: usize = 5;

/// Differences between the objects of two builds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Objects {
    /// Total number of objects.
    pub total: usize,
    /// Number of objects that differ.
    pub differing: usize,
    /// The first of those, by name.
    pub first: Vec<String>,
    /// Paths and names that only one side's version of the first differing object contains: here, there.
    pub leaks: (Vec<String>, Vec<String>),
}

/// Compares the objects in two folders. Returns `None` if none differs. `names` are names of this host.
///
/// # Errors
///
/// [`fs::Error`] if a file cannot be read. An object that is missing in the second folder counts as different.
pub fn compare(here: &Utf8Path, there: &Utf8Path, names: &[String]) -> Result<Option<Objects>, fs::Error> {
    let objects = fs::walk(here)?.into_iter().map(|(path, _)| path).filter(|path| path.extension() == Some("o"));
    let (mut total, mut differing) = (0, Vec::new());
    for object in objects {
        total += 1;
        let ours = fs::read(&here.join(&object))?;
        let theirs = fs::read_if_exists(&there.join(&object))?.unwrap_or_default();
        if ours != theirs {
            differing.push((object, ours, theirs));
        }
    }
    let Some((_, ours, theirs)) = differing.first() else { return Ok(None) };
    let leaks = bytes::leaks(&bytes::printable(ours), &bytes::printable(theirs), names);
    let first = differing.iter().take(NAMED).map(|(name, ..)| name.to_string()).collect();
    Ok(Some(Objects { total, differing: differing.len(), first, leaks }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_that_differ_are_named_with_what_leaked() {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        for (path, text) in [
            ("a/same.o", "the same"),
            ("b/same.o", "the same"),
            ("a/main.o", "compiled in /home/me/tree, else the same"),
            ("b/main.o", "compiled in ., else the same"),
            ("a/only.o", "x"),
            ("a/other.txt", "no object"),
        ] {
            fs::write_atomic(&root.join(path), text.as_bytes()).unwrap();
        }
        let objects = compare(&root.join("a"), &root.join("b"), &[]).unwrap().unwrap();
        assert_eq!((objects.total, objects.differing), (3, 2));
        assert_eq!(objects.first, ["main.o", "only.o"]);
        assert_eq!(objects.leaks.0, ["compiled in /home/me/tree, else the same"]);
        assert_eq!(compare(&root.join("a"), &root.join("a"), &[]).unwrap(), None);
    }
}
