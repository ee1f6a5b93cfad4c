//! The files of a repository, looked at before libgit2 reads them: it waits for a pipe, and keeps what it reads.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};

use crate::fs::{self, EntryKind};
use crate::printable::printable;

/// What libgit2 reads in the folder of a repository, beside `refs` and `objects`.
const FILES: [&str; 8] =
    ["HEAD", "commondir", "config", "config.worktree", "gitdir", "info/grafts", "packed-refs", "shallow"];
/// The most bytes of a configuration; git writes 100 bytes and some more for each branch.
const MAX_CONFIG: u64 = 256 << 10;
/// The most bytes of any other file but a pack.
const MAX_FILE: u64 = 16 << 20;
/// The most bytes of a list of objects: that of a pack with as many as a server may send has 16 MB.
const MAX_LIST: u64 = 64 << 20;
/// The most repositories that one may take objects from.
const MAX_FOLDERS: usize = 10;

/// Checks the files of the repository that the path means, be it bare or not, and those of the repositories that it
/// takes objects from. Where there is none, that is for libgit2 to say.
///
/// # Errors
///
/// What is odd.
pub(super) fn check(path: &Utf8Path) -> Result<(), String> {
    let own = path.join(".git");
    let own = if own.symlink_metadata().is_ok() { own } else { path.to_owned() };
    let linked = if own.is_dir() { None } else { line(&own)?.filter(|line| line.starts_with("gitdir:")) };
    let folder = linked.map_or(own, |line| path.join(line["gitdir:".len()..].trim()));
    if !folder.is_dir() {
        return Ok(());
    }
    let mut objects = BTreeSet::new();
    let common = line(&folder.join("commondir"))?.map(|common| folder.join(common));
    for folder in std::iter::once(&folder).chain(&common) {
        check_folder(folder)?;
        objects.insert(folder.join("objects"));
    }
    check_objects(objects)
}

/// The first line of a small file, where there is one.
fn line(path: &Utf8Path) -> Result<Option<String>, String> {
    Ok(text(path, 4096)?.map(|text| text.lines().next().unwrap_or_default().to_owned()))
}

fn text(path: &Utf8Path, most: u64) -> Result<Option<String>, String> {
    match fs::read_at_most(path, most) {
        Ok(content) => Ok(Some(String::from_utf8_lossy(&content).into_owned())),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(words(&error)),
    }
}

fn words(error: &fs::Error) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    // Its hint is for those who gave the file.
    format!("{}{}", error.to_string().lines().next().unwrap_or_default(), cause.unwrap_or_default())
}

fn check_folder(folder: &Utf8Path) -> Result<(), String> {
    for name in FILES {
        let most = if name.starts_with("config") { MAX_CONFIG } else { MAX_FILE };
        let path = folder.join(name);
        if let Ok(found) = path.symlink_metadata() {
            check_file(folder, Utf8Path::new(name), found.is_file(), most)?;
        }
        let includes = |text: String| text.to_ascii_lowercase().contains("[include");
        if name.starts_with("config") && text(&path, most)?.is_some_and(includes) {
            return Err(format!("its `{name}` includes other files; make a copy without with `git clone --bare`"));
        }
    }
    below(folder, "refs", |_| MAX_FILE)
}

/// Checks all folders of objects that these lead to.
fn check_objects(mut waiting: BTreeSet<Utf8PathBuf>) -> Result<(), String> {
    let mut checked = BTreeSet::new();
    while let Some(objects) = waiting.pop_first() {
        if checked.len() >= MAX_FOLDERS {
            return Err(format!("it takes objects from more than {MAX_FOLDERS} folders"));
        }
        let (folder, name) = (objects.parent().unwrap_or(&objects), objects.file_name().unwrap_or_default());
        below(folder, name, |path| if path.extension() == Some("pack") { u64::MAX } else { MAX_LIST })?;
        let alternates = text(&objects.join("info/alternates"), MAX_CONFIG)?.unwrap_or_default();
        let others = alternates.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        checked.insert(objects.clone());
        waiting.extend(others.map(|other| objects.join(other)).filter(|other| !checked.contains(other)));
    }
    Ok(())
}

/// Checks all files below the folder `name` of `folder`, where there is one.
fn below(folder: &Utf8Path, name: &str, most: impl Fn(&Utf8Path) -> u64) -> Result<(), String> {
    let root = folder.join(name);
    if !root.is_dir() {
        return Ok(());
    }
    for (path, kind) in fs::walk(&root).map_err(|error| words(&error))? {
        check_file(folder, &Utf8Path::new(name).join(&path), kind == EntryKind::File, most(&path))?;
    }
    Ok(())
}

fn check_file(folder: &Utf8Path, path: &Utf8Path, is_file: bool, most: u64) -> Result<(), String> {
    let shown = printable(path.as_str());
    if !is_file {
        return Err(format!("`{shown}` is no regular file"));
    }
    match folder.join(path).symlink_metadata().map_or(0, |found| found.len()) {
        size if size > most => Err(format!("`{shown}` has {size} bytes, wanted {most} at most")),
        _ => Ok(()),
    }
}
