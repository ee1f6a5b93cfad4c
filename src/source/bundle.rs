//! The source bundle: all that loaders are made from, in one tarball. It is what their licences ask to be
//! offered with them, and all that a build needs where there is no network.
//!
//! The bundle has iPXE's files at the pinned commit as they are in git, the commit itself, the pinned
//! syslinux files, and the project's own facts and choices. What is read back from it is compared with
//! the pins, as if it came from anywhere else.

use std::collections::BTreeMap;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use git2::{Index, IndexEntry, IndexTime, ObjectType, Oid};

use super::ipxe::Source;
use super::{git, ipxe, syslinux};
use crate::choices::pins::{IpxePin, MemberPin, Pins};
use crate::choices::trust;
use crate::digest::Sha256Digest;
use crate::fs::{self, EntryKind};
use crate::paths::{Cache, Project};
use crate::printable::printable;
use crate::progress::{Event, Interruptible, Kind, Progress, Task};
use crate::secrets;
use crate::tarball::{self, EXTENSION, Limits, Packer};

/// The folder of iPXE's files in a bundle.
const IPXE: &str = "ipxe";
/// The pinned commit as git keeps it.
const COMMIT: &str = "ipxe.commit";
/// The folder of the syslinux files, by their paths in the release.
const SYSLINUX: &str = "syslinux";
/// The folder of the project's facts and choices.
const PROJECT: &str = "project";
/// What a person reads first.
const README: &str = "README";

/// What a bundle may have. iPXE has 3,000 files, of which the largest has 1 MB.
const LIMITS: Limits = Limits { entries: 50_000, extension: EXTENSION, entry: 16 << 20, total: 512 << 20 };

/// Why there is no bundle, or nothing to be had from one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// iPXE's source is not to be had.
    #[error(transparent)]
    Ipxe(#[from] ipxe::Error),
    /// The git cache is damaged.
    #[error(transparent)]
    Git(#[from] git::Error),
    /// A syslinux file is not in the cache.
    #[error("`{0}` of syslinux is not in the cache\nhint: run `cargo xtask fetch`")]
    NoMember(String),
    /// It is no tarball.
    #[error(
        "`{}` cannot be read as a source bundle: {reason}\nhint: give a file that `cargo xtask bundle-sources` wrote",
        printable(path)
    )]
    NotABundle {
        /// The file.
        path: Utf8PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The user asked to stop.
    #[error("interrupted")]
    Cancelled,
    /// It does not have what is pinned.
    #[error(
        "`{path}` does not have {what} as pinned: found {found}, wanted {wanted}\nhint: take the bundle of the same release, or a project with its pins"
    )]
    Mismatch {
        /// The file.
        path: Utf8PathBuf,
        /// Which input.
        what: String,
        /// What was found.
        found: String,
        /// What the pin says.
        wanted: String,
    },
    /// A private key would get published.
    #[error(
        "`{shown}`:{1} has a private key, and a source bundle is for everybody\nhint: move the key out of the folders of choices and facts",
        shown = printable(.0)
    )]
    PrivateKey(Utf8PathBuf, usize),
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

/// Writes the bundle of `project`, whose inputs are in `cache`, to `path`; returns its SHA-256 and its size in
/// bytes. The same pins and choices give the same bytes.
///
/// # Errors
///
/// [`Error`]; what was at `path` before is then as it was.
pub fn write(
    project: &Project,
    pins: &Pins,
    cache: &Cache,
    path: &Utf8Path,
    progress: &dyn Progress,
) -> Result<(Sha256Digest, u64), Error> {
    let files = collect(project, pins, cache, progress)?;
    let root = Utf8PathBuf::from(format!("netboot-loaders-{}-sources", env!("CARGO_PKG_VERSION")));
    fs::served::create_served_dir_all(path.parent().unwrap_or(Utf8Path::new(".")))?;
    let mut task = Task::start(progress, Kind::Pack, path.as_str(), Some(files.len() as u64));
    let mut packer = Packer::create(path, pins.ipxe.epoch)?;
    for (name, (mode, content)) in &files {
        packer.add(&root.join(name), *mode, content)?;
        task.advance();
    }
    let done = packer.publish()?;
    task.finish("packed");
    Ok(done)
}

/// All files of a bundle, by their paths in it, with their permission bits.
fn collect(
    project: &Project,
    pins: &Pins,
    cache: &Cache,
    progress: &dyn Progress,
) -> Result<BTreeMap<Utf8PathBuf, (u32, Vec<u8>)>, Error> {
    let mut files = BTreeMap::new();
    // As it is upstream: the patches stand beside it.
    let source = Source::open(&pins.ipxe, cache, &[])?;
    source.each_file(|path, mode, content| {
        files.insert(Utf8Path::new(IPXE).join(path), (mode, content.to_vec()));
        Ok(())
    })?;
    files.insert(COMMIT.into(), (0o644, source.commit(&pins.ipxe)?));
    for member in &pins.syslinux.members {
        let content = syslinux::cached(cache, member)?.ok_or_else(|| Error::NoMember(member.name.clone()))?;
        files.insert(Utf8Path::new(SYSLINUX).join(&member.path), (0o644, content));
    }
    for folder in project.facts_and_choices() {
        for (path, kind) in fs::walk(&folder)? {
            if kind == EntryKind::File {
                let content = fs::read(&folder.join(&path))?;
                let name = folder.strip_prefix(project.root()).unwrap_or(&folder).join(path);
                let content = publishable(&name, content, progress)?;
                files.insert(Utf8Path::new(PROJECT).join(name), (0o644, content));
            }
        }
    }
    files.insert(README.into(), (0o644, readme(pins).into_bytes()));
    Ok(files)
}

/// The `content` of the project's file `name` as everybody may have it: of a file of certificates, these alone.
fn publishable(name: &Utf8Path, content: Vec<u8>, progress: &dyn Progress) -> Result<Vec<u8>, Error> {
    for secret in secrets::find(&content) {
        if secret.kind == secrets::Kind::PrivateKey {
            return Err(Error::PrivateKey(name.to_owned(), secret.line));
        }
        progress.report(&Event::Warning { message: secret.warning(name.as_str()) });
    }
    let extension = name.extension().unwrap_or_default();
    if ["p12", "pfx", "jks"].contains(&extension) {
        let message = format!(
            "`{name}` may hold a private key, and gets published\nhint: move it out of the folders of choices and facts"
        );
        progress.report(&Event::Warning { message });
    }
    let certificates = ["pem", "crt", "cer"].contains(&extension).then(|| trust::certificates(&content)).flatten();
    Ok(certificates.unwrap_or(content))
}

fn readme(pins: &Pins) -> String {
    let (ipxe, syslinux) = (&pins.ipxe, &pins.syslinux);
    let archives: String = syslinux
        .archives
        .iter()
        .map(|archive| {
            let digest = archive.sha256.map(|digest| format!("\n    SHA-256 {digest}")).unwrap_or_default();
            format!("  {}{digest}\n", archive.url)
        })
        .collect();
    format!(
        "The source of the loaders that netboot-loaders {} builds from these pins.\n\n\
         {IPXE}/        iPXE {} at commit {},\n             without changes; patches are in {PROJECT}/vendor/patches\n\
         {COMMIT}  that commit, as git keeps it\n\
         {SYSLINUX}/    the syslinux {} files, as they were released. Their source is in the release:\n{archives}\
         {PROJECT}/     pins, patches, build configurations, scripts\n\n\
         In a project with the same pins, without any network:\n\n\
         \x20 cargo xtask build-loaders --offline --sources-from BUNDLE\n",
        env!("CARGO_PKG_VERSION"),
        ipxe.version,
        ipxe.commit,
        syslinux.version,
    )
}

/// Brings what `pins` name out of the bundle at `path` into `cache`; nothing is read where it is there
/// already.
///
/// # Errors
///
/// [`Error::Mismatch`] where the bundle has something else.
pub fn read(path: &Utf8Path, pins: &Pins, cache: &Cache, progress: &dyn Progress) -> Result<(), Error> {
    let needed = Needed::of(pins, cache)?;
    if needed.ipxe.is_none() && needed.members.is_empty() {
        return Ok(());
    }
    let task = Task::start(progress, Kind::Export, format!("sources out of {path}"), None);
    needed.take(path, pins, cache, progress)?;
    task.finish("in the cache");
    Ok(())
}

/// What the cache lacks.
struct Needed<'p> {
    ipxe: Option<&'p IpxePin>,
    members: Vec<&'p MemberPin>,
}

impl<'p> Needed<'p> {
    fn of(pins: &'p Pins, cache: &Cache) -> Result<Self, Error> {
        fs::create_dir_all(cache.root())?;
        let repository = git::open(&cache.ipxe_git())?;
        let ipxe = (!git::has(&repository, &pins.ipxe.commit)).then_some(&pins.ipxe);
        Ok(Self { ipxe, members: syslinux::lacking(&pins.syslinux.members, cache)? })
    }

    fn take(&self, path: &Utf8Path, pins: &Pins, cache: &Cache, progress: &dyn Progress) -> Result<(), Error> {
        let repository = git::open(&cache.ipxe_git())?;
        let mut index = Index::new().map_err(|error| git::cache_error(&cache.ipxe_git(), &error))?;
        let (mut commit, mut members) = (Vec::new(), BTreeMap::new());
        let visited = tarball::visit(Interruptible::new(fs::open(path)?, progress), LIMITS, &mut |name, mut entry| {
            if entry.kind != tarball::Kind::File {
                return Ok(());
            }
            let mode = entry.mode;
            match inside(&name) {
                Some((IPXE, file)) if self.ipxe.is_some() => {
                    let oid = repository.blob(&entry.content()?).map_err(io::Error::other)?;
                    index.add(&index_entry(&file, mode, oid)).map_err(io::Error::other)?;
                }
                Some((COMMIT, _)) => commit = entry.content()?,
                Some((SYSLINUX, file)) if self.members.iter().any(|member| member.path == file) => {
                    members.insert(file, entry.content()?);
                }
                _ => {}
            }
            Ok::<(), tarball::Error>(())
        });
        let not_a_bundle =
            |reason: String| Error::NotABundle { path: path.to_owned(), reason: printable(&reason).to_string() };
        visited.map_err(
            |error| {
                if progress.cancelled() { Error::Cancelled } else { not_a_bundle(error.to_string()) }
            },
        )?;
        if let Some(pin) = self.ipxe {
            let failed = |error: git2::Error| not_a_bundle(error.message().to_owned());
            let tree = index.write_tree_to(&repository).map_err(failed)?;
            check(path, "iPXE's tree", &tree, &pin.tree)?;
            let written = repository.odb().and_then(|odb| odb.write(ObjectType::Commit, &commit)).map_err(failed)?;
            check(path, "iPXE's commit", &written, &pin.commit)?;
            git::keep(&repository, &pin.commit).map_err(failed)?;
        }
        for member in &self.members {
            let content = members.get(&member.path).map(Vec::as_slice).unwrap_or_default();
            check(
                path,
                &format!("`{}` of syslinux {}", member.name, pins.syslinux.version),
                &Sha256Digest::of(content),
                &member.sha256,
            )?;
            fs::write_atomic(&cache.blob(&member.sha256), content)?;
        }
        Ok(())
    }
}

/// The folder of a file below the bundle's own, or its name, and its path in that.
fn inside(path: &Utf8Path) -> Option<(&str, Utf8PathBuf)> {
    let mut parts = path.iter().skip(1);
    let folder = parts.next()?;
    Some((folder, parts.collect()))
}

fn index_entry(path: &Utf8Path, mode: u32, id: Oid) -> IndexEntry {
    let mode = if mode & 0o100 == 0 { 0o100_644 } else { 0o100_755 };
    let (ctime, mtime) = (IndexTime::new(0, 0), IndexTime::new(0, 0));
    let path = path.as_str().as_bytes().to_vec();
    IndexEntry {
        ctime,
        mtime,
        dev: 0,
        ino: 0,
        mode,
        uid: 0,
        gid: 0,
        file_size: 0,
        id,
        flags: 0,
        flags_extended: 0,
        path,
    }
}

fn check(
    path: &Utf8Path,
    what: &str,
    found: &dyn std::fmt::Display,
    wanted: &dyn std::fmt::Display,
) -> Result<(), Error> {
    let (found, wanted) = (found.to_string(), wanted.to_string());
    if found == wanted {
        return Ok(());
    }
    Err(Error::Mismatch { path: path.to_owned(), what: what.to_owned(), found, wanted })
}
