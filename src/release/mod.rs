//! Files of a release: the deployed tree, its sources, the book, and the attestations of its origin. The same inputs
//! give the same bytes.
pub mod attest;
mod cyclonedx;
pub mod provenance;
pub mod sbom;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::BufReader;

use camino::{Utf8Path, Utf8PathBuf};

use self::provenance::ProvenanceSubject;
use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Flag, Subcommand, Wording};
use crate::base::fs::{self, EntryKind, Lock};
use crate::base::paths::{self, ProjectPaths, ReleaseNames, Staging};
use crate::base::plural::count;
use crate::base::progress::{Interruptible, Progress};
use crate::base::tarball::Packer;
use crate::digest::Sha256Digest;
use crate::fetch::source_bundle::{self, BundleInputs};
use crate::printable::{MAX_LISTED, listed, printable};
use crate::tree::manifest::Manifest;
use crate::tree::verify::{self, verify};

/// Maximum size of a `SHA256SUMS` file, in bytes. That of a release is 1 kB.
const MAX_SUMS: u64 = 64 << 10;

/// Errors from writing or checking a release.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Bundling the sources failed.
    #[error(transparent)]
    Bundle(#[from] source_bundle::Error),
    /// The folder of the release contains other files.
    #[error("`{}` is not a release: it contains `{}`", printable(folder), printable(path))]
    Occupied {
        /// Folder of the release.
        folder: Utf8PathBuf,
        /// Path in the folder that does not belong to a release.
        path: Utf8PathBuf,
    },
    /// A mount point cannot be exchanged.
    #[error("`{}` is a mount point, and a release is published by exchanging folders", printable(.0))]
    MountPoint(Utf8PathBuf),
    /// Files differ from the checksums.
    #[error("the release `{}` differs from its SHA256SUMS\n{}", printable(folder), listed(differences))]
    Different {
        /// Folder of the release.
        folder: Utf8PathBuf,
        /// Descriptions of the differences.
        differences: Vec<String>,
    },
    /// The tarball of the release is unreadable.
    #[error(transparent)]
    Verify(#[from] verify::Error),
    /// The user cancelled the run.
    #[error("interrupted; the old release, if any, is as it was")]
    Cancelled,
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Bundle(error) => error.diagnosis(),
            Self::Occupied { folder, .. } => Class::Failure.about(folder).help(Flag::Out).help("move that away"),
            Self::MountPoint(folder) => Class::Failure.about(folder).help("name a folder in it"),
            Self::Different { folder, .. } => Class::DamagedTree.about(folder).help(Subcommand::Release),
            Self::Verify(error) => Diagnosis { class: Class::DamagedTree, ..error.diagnosis() },
            Self::Cancelled => Class::Interrupted.into(),
            Self::Fs(error) => error.diagnosis(),
        }
    }
}

/// A release in a folder.
#[derive(Debug, PartialEq, Eq)]
pub struct Release {
    /// Folder of the release.
    pub folder: Utf8PathBuf,
    /// Files by name, with SHA-256 and size in bytes. They include `SHA256SUMS`.
    pub files: BTreeMap<String, (Sha256Digest, u64)>,
}

/// Inputs of a release.
#[derive(Clone, Copy)]
pub struct ReleaseInputs<'a> {
    /// Inputs of the bundle of sources.
    pub sources: BundleInputs<'a>,
    /// Manifest of the tree.
    pub manifest: &'a Manifest,
    /// Path of the tree's tarball, with its SHA-256.
    pub packed: (&'a Utf8Path, Sha256Digest),
    /// Folder of the rendered book.
    pub book: &'a Utf8Path,
}

/// Writes the release of `inputs` into `folder` atomically. Replaces an existing release.
///
/// # Errors
///
/// [`Error`]. The old release then stays unchanged.
pub fn write(
    inputs: ReleaseInputs<'_>,
    folder: &Utf8Path,
    wording: &dyn Wording,
    progress: &dyn Progress,
) -> Result<Release, Error> {
    check_place(folder, progress)?;
    let Staging { partial, previous, lock, .. } = Staging::of(folder);
    fs::world_readable::create_world_readable_dir_all(folder.parent().unwrap_or(Utf8Path::new(".")))?;
    let _lock = Lock::acquire_temporary(&lock, 0o644, true, progress)?.ok_or(Error::Cancelled)?;
    fs::restore(folder, &previous)?;
    check_place(folder, progress)?;
    fs::remove_dir_all(&partial)?;
    let written = fill(inputs, &partial, wording, progress);
    let replaced = written.and_then(|()| Ok(fs::replace(&partial, folder, &previous)?));
    if let Err(error) = replaced {
        // No later run goes on with it.
        let _ = fs::remove_dir_all(&partial);
        return Err(error);
    }
    check(folder, progress)
}

/// Writes the files of a release into the new folder `partial`.
fn fill(
    inputs: ReleaseInputs<'_>,
    partial: &Utf8Path,
    wording: &dyn Wording,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let ReleaseInputs { sources: bundled, manifest, packed, book } = inputs;
    let names = ReleaseNames::new(env!("CARGO_PKG_VERSION"));
    fs::world_readable::create_world_readable_dir_all(partial)?;
    let (archive, tarball) = packed;
    // The tarball of a tree with a thousand sites is a gigabyte in size.
    fs::copy(archive, &partial.join(&names.tarball), progress)?;
    fs::sync_all_of(partial, progress)?;
    // Programs and styles of the book's own: most of those in the rendered one are mdBook's.
    let own = bundled.project.book();
    for (file, _) in listing(&own, progress)? {
        if file.extension().is_some_and(|kind| ["css", "js"].contains(&kind)) {
            source_bundle::publishable(&file, fs::read(&own.join(&file))?, progress)?;
        }
    }
    for (page, _) in listing(book, progress)? {
        // What scripts should not have is shown on the first; the second has all pages once more.
        let is_known = ["reference/lint.html", "print.html"].contains(&page.as_str());
        if !is_known && page.extension().is_some_and(|kind| ["html", "svg"].contains(&kind)) {
            source_bundle::publishable(&page, fs::read(&book.join(&page))?, progress)?;
        }
    }
    let (sources, _) = source_bundle::write(bundled, &partial.join(&names.sources), wording, progress)?;
    pack_book(book, manifest.ipxe.source_date_epoch, &partial.join(&names.book), progress)?;
    let mut texts = derived(manifest, &names, tarball, sources);
    let notes = notes(bundled.project, manifest, &names, wording)?;
    source_bundle::publishable(Utf8Path::new(&names.notes), notes.clone().into_bytes(), progress)?;
    texts.push((names.notes.clone(), notes));
    for (name, text) in &texts {
        fs::write_new(&partial.join(name), text.as_bytes(), 0o644)?;
    }
    let written = digests(partial, &listing(partial, progress)?, progress)?;
    let sums: String = written.iter().map(|(name, (digest, _))| format!("{digest}  {name}\n")).collect();
    fs::write_new(&partial.join(paths::SHA256SUMS), sums.as_bytes(), 0o644)?;
    if progress.cancelled() {
        return Err(Error::Cancelled);
    }
    Ok(())
}

/// Packs the rendered book at `book` into the tarball at `path`, in a folder of the tarball's name; `epoch` as in
/// [`Packer::create`].
fn pack_book(book: &Utf8Path, epoch: u64, path: &Utf8Path, progress: &dyn Progress) -> Result<(), Error> {
    let name = path.file_name().unwrap_or_default();
    let root = Utf8Path::new(name.trim_end_matches(".tar.gz"));
    let pack = || {
        let mut packer = Packer::create(path, epoch, progress)?;
        for (file, _) in fs::walk_with(book, progress)? {
            packer.add(&root.join(&file), 0o644, &fs::read(&book.join(file))?)?;
        }
        packer.publish()
    };
    pack().map(|_| ()).map_err(|error| interrupted(error, progress))
}

/// Ensures that `folder` contains only files of a release, so that nothing else is replaced.
fn check_place(folder: &Utf8Path, progress: &dyn Progress) -> Result<(), Error> {
    if fs::is_mount_point(folder) {
        return Err(Error::MountPoint(folder.to_owned()));
    }
    if folder.exists() {
        let foreign = |(path, _): &(Utf8PathBuf, EntryKind)| !ReleaseNames::is_any(path.as_str());
        if let Some((path, _)) = listing(folder, progress)?.into_iter().find(foreign) {
            return Err(Error::Occupied { folder: folder.to_owned(), path });
        }
    }
    Ok(())
}

/// Returns the files that can be derived from the manifest and the digests, by name.
fn derived(
    manifest: &Manifest,
    names: &ReleaseNames,
    tarball: Sha256Digest,
    sources: Sha256Digest,
) -> Vec<(String, String)> {
    let packed = [(&names.tarball, tarball), (&names.sources, sources)];
    let mut subjects = ProvenanceSubject::of_tree(manifest);
    subjects.extend(packed.map(|(name, sha256)| ProvenanceSubject { name: name.clone(), sha256 }));
    let mut texts = vec![
        (paths::MANIFEST.to_owned(), manifest.to_json()),
        (names.sbom.clone(), sbom::cyclonedx(manifest)),
        (names.provenance.clone(), provenance::statement(manifest, &subjects)),
    ];
    texts.extend(packed.map(|(name, sha256)| (names.sha256(name), format!("{sha256}  {name}\n"))));
    texts
}

/// Checks that the release in `folder` is complete, that its files match the checksums, and that all its files describe
/// the same tree.
///
/// # Errors
///
/// [`Error::Different`] lists all differences.
pub fn check(folder: &Utf8Path, progress: &dyn Progress) -> Result<Release, Error> {
    let names = ReleaseNames::new(env!("CARGO_PKG_VERSION"));
    let different = |differences| Error::Different { folder: folder.to_owned(), differences };
    let found = listing(folder, progress)?;
    let foreign = foreign(&found, &names);
    if !foreign.is_empty() {
        return Err(different(foreign));
    }
    let text = fs::read_at_most(&folder.join(paths::SHA256SUMS), MAX_SUMS)?;
    let mut files = digests(folder, &found, progress)?;
    let sums = files.remove(paths::SHA256SUMS);
    let text = String::from_utf8_lossy(&text);
    let wanted: BTreeMap<&str, &str> =
        text.lines().filter_map(|line| line.split_once("  ")).map(|(digest, name)| (name, digest)).collect();
    let mut differences = Vec::new();
    for (name, digest) in &wanted {
        match files.get(*name) {
            Some((found, _)) if found.to_string() == **digest => {}
            Some((found, _)) => differences.push(format!(
                "`{}` has changed: found {found}, wanted {}",
                printable(name),
                printable(digest)
            )),
            None => differences.push(format!("`{}` is missing", printable(name))),
        }
    }
    let extra = files.keys().filter(|name| !wanted.contains_key(name.as_str()));
    differences.extend(extra.map(|name| format!("`{}` is not in SHA256SUMS", printable(name))));
    let lacking = names.all().into_iter().filter(|name| *name != paths::SHA256SUMS && !files.contains_key(name));
    differences.extend(lacking.map(|name| format!("`{name}` is missing, and a release has it")));
    if differences.is_empty() {
        let report = verify(&folder.join(&names.tarball), progress)?;
        differences.extend(report.differences.iter().map(ToString::to_string));
        for (name, text) in derived(&report.manifest, &names, files[&names.tarball].0, files[&names.sources].0) {
            if fs::read(&folder.join(&name))? != text.as_bytes() {
                differences.push(format!("`{name}` is not about the tarball beside it"));
            }
        }
    }
    if !differences.is_empty() {
        return Err(different(differences));
    }
    files.extend(sums.map(|sums| (paths::SHA256SUMS.to_owned(), sums)));
    Ok(Release { folder: folder.to_owned(), files })
}

/// Returns the entries of `folder`, recursively and without folders.
fn listing(folder: &Utf8Path, progress: &dyn Progress) -> Result<Vec<(Utf8PathBuf, EntryKind)>, Error> {
    fs::walk_with(folder, progress).map_err(|error| interrupted(error, progress))
}

/// Describes the files of `found` that do not belong to a release with `names`: the first ones, and the number of
/// others.
fn foreign(found: &[(Utf8PathBuf, EntryKind)], names: &ReleaseNames) -> Vec<String> {
    let known = names.all();
    let is_foreign = |name: &&str| !known.iter().any(|known| known == name);
    let mut foreign = files(found).map(|path| path.as_str()).filter(is_foreign);
    let first = foreign.by_ref().take(MAX_LISTED - 1);
    let mut named: Vec<String> = first.map(|name| format!("not a file of a release: `{}`", printable(name))).collect();
    let more = foreign.count();
    named.extend((more > 0).then(|| format!("not a file of a release: {}", count(more, "other"))));
    named
}

fn files(found: &[(Utf8PathBuf, EntryKind)]) -> impl Iterator<Item = &Utf8PathBuf> {
    found.iter().filter(|(_, kind)| *kind == EntryKind::File).map(|(path, _)| path)
}

/// Returns the digests and sizes of the files among `found`, by name.
fn digests(
    folder: &Utf8Path,
    found: &[(Utf8PathBuf, EntryKind)],
    progress: &dyn Progress,
) -> Result<BTreeMap<String, (Sha256Digest, u64)>, Error> {
    let digest = |path: &Utf8Path| {
        let mut reader = BufReader::with_capacity(1 << 18, Interruptible::new(fs::open(path)?, progress));
        Sha256Digest::of_reader(&mut reader).map_err(|error| fs::Error::new("read", path, error))
    };
    let digested = |name: &Utf8PathBuf| Ok((name.to_string(), digest(&folder.join(name))?));
    let digested: Result<_, fs::Error> = files(found).map(digested).collect();
    digested.map_err(|error| interrupted(error, progress))
}

/// Converts an error that may be due to cancellation by the user.
fn interrupted(error: fs::Error, progress: &dyn Progress) -> Error {
    if progress.cancelled() { Error::Cancelled } else { error.into() }
}

/// Returns the release notes: the changes, the digests of the loaders, and how to verify them.
fn notes(
    project: &ProjectPaths,
    manifest: &Manifest,
    names: &ReleaseNames,
    wording: &dyn Wording,
) -> Result<String, fs::Error> {
    let version = env!("CARGO_PKG_VERSION");
    let log = fs::read_if_exists(&project.changelog())?.unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let mut text = changes(&log, version).or_else(|| changes(&log, "Unreleased")).unwrap_or_default();
    let ipxe = &manifest.ipxe;
    let _ = write!(text, "\n## Files\n\niPXE {} at commit `{}`", ipxe.version, ipxe.commit);
    if let Some(syslinux) = &manifest.syslinux {
        let _ = write!(text, ", syslinux {}", syslinux.version);
    }
    text += ".\n\n| SHA-256 | file |\n| --- | --- |\n";
    for file in manifest.files.iter().filter(|file| !paths::is_linked_list(&file.path)) {
        let _ = writeln!(text, "| `{}` | {} |", file.sha256, file.path);
    }
    let (tarball, sources, book) = (&names.tarball, &names.sources, &names.book);
    let _ = write!(
        text,
        "\n## Checking\n\n```sh\nsha256sum -c {}\n```\n\nIn a checkout of the tag `v{version}`:\n\n```sh\n{}\n{}\n{}\n```\n\n\
         The last one builds everything again and compares every byte. `gh attestation verify {tarball} --repo OWNER/REPO` says which workflow has built it. \
         `{sources}` has all that the loaders are made from, as their licences ask; `{}` builds from it \
         without a network. `{book}` is the manual of this version: unpack it, and open `index.html`.\n",
        names.sha256(tarball),
        wording.command(&Subcommand::Verify(tarball.clone())),
        wording.command(&Subcommand::BootTest(tarball.clone())),
        wording.command(&Subcommand::ReproduceAgainst(tarball.clone())),
        wording.command(&Subcommand::BuildFromBundle(sources.clone())),
    );
    Ok(text.trim_start().to_owned())
}

/// Returns the section of a changelog under the heading `version`.
fn changes(log: &str, version: &str) -> Option<String> {
    let mut lines = log.lines().skip_while(|line| !line.starts_with(&format!("## [{version}]")));
    lines.next()?;
    let section: Vec<&str> = lines.take_while(|line| !line.starts_with("## ") && !line.starts_with('[')).collect();
    Some(format!("{}\n", section.join("\n").trim()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::secrets;

    #[test]
    fn changes_are_those_of_the_version() {
        let log = "# Changelog\n\n## [Unreleased]\n\nSoon.\n\n## [1.0.0] - today\n\n### Added\n\n- All.\n\n## [0.9.0]\n\nOld.\n\n[1.0.0]: x\n";
        assert_eq!(changes(log, "1.0.0").unwrap(), "### Added\n\n- All.\n");
        assert_eq!(changes(log, "0.9.0").unwrap(), "Old.\n");
        assert_eq!(changes(log, "2.0.0"), None);
    }

    #[test]
    fn the_book_has_nothing_that_a_release_warns_of() {
        let project = ProjectPaths::new(Utf8Path::new(env!("CARGO_MANIFEST_DIR")));
        let pages = project.book();
        let found = |(page, _): (Utf8PathBuf, _)| (secrets::find(&fs::read(&pages.join(&page)).unwrap()), page);
        let found: Vec<_> = fs::walk(&pages).unwrap().into_iter().map(found).collect();
        let found: Vec<_> = found.iter().filter(|(found, _)| !found.is_empty()).map(|(_, page)| page).collect();
        assert_eq!(found, ["src/reference/lint.md"]);
        assert_eq!(secrets::find(&fs::read(&project.changelog()).unwrap()), []);
    }
}
