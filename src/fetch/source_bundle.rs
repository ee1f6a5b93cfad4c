//! The source bundle: everything that loaders are made from, in one tarball. The licences require it to be offered with
//! the loaders, and a build without network needs nothing else.
//!
//! The bundle contains iPXE's files at the pinned commit as they are in git, the commit itself, the pinned syslinux
//! files, iPXE's signed set if the project uses it, and the project's own pins and configuration. Whatever is read back
//! from it is compared with the pins, like input from any other source.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use git2::{Index, IndexEntry, IndexTime, ObjectType, Oid};

use super::ipxe::Source;
use super::{git, ipxe, signed_set, syslinux};
use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Diagnostic, Subcommand, Wording};
use crate::base::parallel::detached_on_cancel;
use crate::base::paths::{Cache, ProjectPaths};
use crate::base::progress::{Interruptible, Progress, Task, TaskKind};
use crate::base::tarball::{self, EXTENSION, Limits, Packer};
use crate::base::{fs, secrets};
use crate::config::pins::{IpxePin, MemberPin, Pins};
use crate::config::signed_set::SignedFilePin;
use crate::config::trust;
use crate::digest::Sha256Digest;
use crate::printable::printable;

/// The folder of iPXE's files in a bundle.
const IPXE: &str = "ipxe";
/// The file with the pinned commit, as git stores it.
const COMMIT: &str = "ipxe.commit";
/// The folder of the syslinux files, by their paths in the release.
const SYSLINUX: &str = "syslinux";
/// The folder of iPXE's signed set, by the names in its releases.
const SIGNED_SET: &str = "signed-set";
/// The folder of the project's pins and configuration.
const PROJECT: &str = "project";
/// The introduction for the user.
const README: &str = "README";

/// Limits for a bundle. iPXE has 3,000 files, the largest of 1 MB.
const LIMITS: Limits = Limits { entries: 50_000, extension: EXTENSION, entry: 16 << 20, total: 512 << 20 };

/// Maximum number of components in a path of iPXE's; the longest has seven.
const MAX_PARTS: usize = 32;
/// Maximum number of folders for iPXE's files; there are 213.
const MAX_FOLDERS: usize = 2_000;

/// Errors from writing or reading a source bundle.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Opening the iPXE source failed.
    #[error(transparent)]
    Ipxe(#[from] ipxe::Error),
    /// The git cache is damaged.
    #[error(transparent)]
    Git(#[from] git::Error),
    /// A syslinux file is not in the cache.
    #[error("`{0}` of syslinux is not in the cache")]
    NoMember(String),
    /// A file of iPXE's signed set is not in the cache.
    #[error("`{0}` of the signed set is not in the cache")]
    NoFileOfSet(String),
    /// A file of iPXE's signed set does not match its pin.
    #[error(transparent)]
    SignedSet(#[from] signed_set::Error),
    /// The file is not a source bundle.
    #[error("`{}` cannot be read as a source bundle: {reason}", printable(path))]
    NotABundle {
        /// Path of the file.
        path: Utf8PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The user asked to stop.
    #[error("interrupted")]
    Cancelled,
    /// The bundle does not match a pin.
    #[error("`{path}` does not have {what} as pinned: found {found}, wanted {wanted}")]
    Mismatch {
        /// Path of the bundle.
        path: Utf8PathBuf,
        /// The input.
        what: String,
        /// The value found.
        found: String,
        /// The pinned value.
        wanted: String,
    },
    /// A private key would be published.
    #[error(
        "`{shown}`:{1} has a private key, and source bundles are published",
        shown = printable(.0)
    )]
    PrivateKey(Utf8PathBuf, usize),
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Ipxe(error) => error.diagnosis(),
            Self::Git(error) => error.diagnosis(),
            Self::SignedSet(error) => error.diagnosis(),
            Self::NoMember(name) | Self::NoFileOfSet(name) => Class::Unavailable.about(name).help(Subcommand::Fetch),
            Self::NotABundle { path, .. } => Class::Mismatch.about(path).help(Subcommand::BundleSources),
            Self::Cancelled => Class::Interrupted.into(),
            Self::Mismatch { path, .. } => {
                Class::Mismatch.about(path).help("take the bundle of the same release, or a project with its pins")
            }
            Self::PrivateKey(path, _) => {
                Class::BadInput.about(path).help("move the key out of the folders of the pins and the configuration")
            }
            Self::Fs(error) => error.diagnosis(),
        }
    }
}

/// Inputs of a bundle: a project, its pins, and the cache that holds the pinned files.
#[derive(Debug, Clone, Copy)]
pub struct BundleInputs<'a> {
    /// The project.
    pub project: &'a ProjectPaths,
    /// Its pins.
    pub pins: &'a Pins,
    /// The cache.
    pub cache: &'a Cache,
}

/// Writes the bundle of `inputs` to `path`, and returns its SHA-256 and its size in bytes. The same pins and
/// configuration give the same bytes. `wording` renders the command in the README.
///
/// # Errors
///
/// [`Error`]; an existing file at `path` is then unchanged.
pub fn write(
    inputs: BundleInputs<'_>,
    path: &Utf8Path,
    wording: &dyn Wording,
    progress: &dyn Progress,
) -> Result<(Sha256Digest, u64), Error> {
    let BundleInputs { project, pins, cache } = inputs;
    let mut files = collect(project, pins, cache, progress)?;
    files.insert(README.into(), (0o644, readme(pins, wording).into_bytes()));
    let root = Utf8PathBuf::from(format!("netboot-loaders-{}-sources", env!("CARGO_PKG_VERSION")));
    fs::world_readable::create_world_readable_dir_all(path.parent().unwrap_or(Utf8Path::new(".")))?;
    let mut task = Task::start(progress, TaskKind::Pack, path.as_str(), Some(files.len() as u64));
    let mut packer = Packer::create(path, pins.ipxe.epoch, progress)?;
    for (name, (mode, content)) in &files {
        packer.add(&root.join(name), *mode, content)?;
        task.advance();
    }
    let done = packer.publish()?;
    task.finish("packed");
    Ok(done)
}

/// Returns all files of a bundle by their paths in it, with their permission bits.
fn collect(
    project: &ProjectPaths,
    pins: &Pins,
    cache: &Cache,
    progress: &dyn Progress,
) -> Result<BTreeMap<Utf8PathBuf, (u32, Vec<u8>)>, Error> {
    let mut files = BTreeMap::new();
    // The unmodified upstream source; patches are separate files in the bundle.
    let source = Source::open(&pins.ipxe, cache, &[], progress)?;
    source.each_file(|path, mode, content| {
        files.insert(Utf8Path::new(IPXE).join(path), (mode, content.to_vec()));
        Ok(())
    })?;
    files.insert(COMMIT.into(), (0o644, source.commit(&pins.ipxe)?));
    for member in &pins.syslinux.members {
        let content = syslinux::cached(cache, member)?.ok_or_else(|| Error::NoMember(member.name.clone()))?;
        files.insert(Utf8Path::new(SYSLINUX).join(&member.path), (0o644, content));
    }
    for file in pins.signed_set.iter().flat_map(|set| &set.files) {
        let content = signed_set::cached(cache, file)?.ok_or_else(|| Error::NoFileOfSet(file.name.clone()))?;
        files.insert(Utf8Path::new(SIGNED_SET).join(&file.name), (0o644, content));
    }
    for folder in project.vendor_and_config_dirs() {
        for (path, kind) in fs::walk(&folder)? {
            let file = folder.join(&path);
            // A link counts as the file it points to, as in a build, which cannot use a dangling link either.
            let Some(content) = fs::read_if_exists(&file)? else { continue };
            let name = folder.strip_prefix(project.root()).unwrap_or(&folder).join(path);
            if kind == fs::EntryKind::Other
                && let Some(diagnostic) = leads_outside(&name, &file, project.root())
            {
                progress.warn(diagnostic);
            }
            let content = publishable(&name, content, progress)?;
            files.insert(Utf8Path::new(PROJECT).join(name), (0o644, content));
        }
    }
    Ok(files)
}

/// Returns the warning about the link `file`, called `name`, if it leads to a file outside of the project at `root`.
fn leads_outside(name: &Utf8Path, file: &Utf8Path, root: &Utf8Path) -> Option<Diagnostic> {
    let (target, root) = (file.canonicalize_utf8().ok()?, root.canonicalize_utf8().ok()?);
    (!target.starts_with(root)).then(|| {
        let message = format!("`{}` leads to `{}`, whose content gets published", printable(name), printable(&target));
        Diagnostic::new(message).help("copy the file to the link's place if that is meant, or remove the link")
    })
}

/// Maximum number of columns of a table that are looked at: as many as an inventory can have.
const MAX_COLUMNS: usize = 1000;

/// Returns the publishable part of `content`, the project's file `name`: for a certificate file, only the certificates.
///
/// Refuses private keys, and warns about other secrets.
///
/// # Errors
///
/// [`Error::PrivateKey`].
pub fn publishable(name: &Utf8Path, content: Vec<u8>, progress: &dyn Progress) -> Result<Vec<u8>, Error> {
    // Of a large file, this takes seconds.
    let search = move || (secrets::find(&content), content);
    let (found, content) = detached_on_cancel(progress, search).ok_or(Error::Cancelled)?;
    for secret in found {
        if secret.kind == secrets::SecretKind::PrivateKey {
            return Err(Error::PrivateKey(name.to_owned(), secret.line));
        }
        progress.warn(secret.warning(name.as_str()));
    }
    let extension = name.extension().unwrap_or_default();
    // A table can have any name but those of the project's other files.
    if !["toml", "ipxe", "h", "patch", "pem", "md"].contains(&extension) {
        // The first row names the columns, and the others have what would stand behind the names.
        let text = String::from_utf8_lossy(&content);
        let row = text.split(['\n', '\r']).find(|row| !row.trim().is_empty()).unwrap_or_default();
        let columns =
            row.split([',', ';', '\t']).take(MAX_COLUMNS).map(|column| column.trim().trim_matches(['"', '\u{feff}']));
        let set: String = columns.map(|column| format!("{column}=Xy9-12ab\n")).collect();
        let kinds: BTreeMap<secrets::SecretKind, secrets::Secret> =
            secrets::find(set.as_bytes()).into_iter().map(|secret| (secret.kind, secret)).collect();
        for secret in kinds.into_values() {
            progress.warn(secrets::Secret { line: 1, ..secret }.warning(name.as_str()));
        }
    }
    if ["p12", "pfx", "jks"].contains(&extension) {
        let message = format!("`{}` may hold a private key, and gets published", printable(name));
        let help = "move it out of the folders of the pins and the configuration";
        progress.warn(Diagnostic::new(message).help(help));
    }
    let certificates = ["pem", "crt", "cer"].contains(&extension).then(|| trust::certificates(&content)).flatten();
    Ok(certificates.unwrap_or(content))
}

fn readme(pins: &Pins, wording: &dyn Wording) -> String {
    let (ipxe, syslinux) = (&pins.ipxe, &pins.syslinux);
    let of_set = pins.signed_set.as_ref().map_or(String::new(), |set| {
        format!(
            "{SIGNED_SET}/  the signed set {set}, as it was released: github.com/ipxe/ipxe and github.com/ipxe/shim\n"
        )
    });
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
         {of_set}{PROJECT}/     pins, patches, build configurations, scripts\n\n\
         In a project with the same pins, without any network:\n\n\
         \x20 {}\n",
        env!("CARGO_PKG_VERSION"),
        ipxe.version,
        ipxe.commit,
        syslinux.version,
        wording.command(&Subcommand::BuildFromBundle("BUNDLE".to_owned())),
    )
}

/// Copies the inputs that `pins` name from the bundle at `path` into `cache`. Does not read the bundle if the cache has
/// them all.
///
/// # Errors
///
/// [`Error::Mismatch`] if the bundle's content differs from a pin.
pub fn read(path: &Utf8Path, pins: &Pins, cache: &Cache, progress: &dyn Progress) -> Result<(), Error> {
    let needed = Needed::of(pins, cache)?;
    if needed.ipxe.is_none() && needed.members.is_empty() && needed.of_set.is_empty() {
        return Ok(());
    }
    let mut task = Task::start(progress, TaskKind::Export, format!("sources out of {path}"), None);
    needed.take(path, pins, cache, &mut task)?;
    task.finish("in the cache");
    Ok(())
}

/// Inputs that the cache lacks.
struct Needed<'p> {
    ipxe: Option<&'p IpxePin>,
    members: Vec<&'p MemberPin>,
    of_set: Vec<&'p SignedFilePin>,
}

impl<'p> Needed<'p> {
    fn of(pins: &'p Pins, cache: &Cache) -> Result<Self, Error> {
        fs::create_dir_all(cache.root())?;
        let repository = git::open(&cache.ipxe_git())?;
        let ipxe = (!git::has(&repository, &pins.ipxe.commit)).then_some(&pins.ipxe);
        let mut of_set = Vec::new();
        for file in pins.signed_set.iter().flat_map(|set| &set.files) {
            if signed_set::cached(cache, file)?.is_none() {
                of_set.push(file);
            }
        }
        Ok(Self { ipxe, members: syslinux::lacking(&pins.syslinux.members, cache)?, of_set })
    }

    fn take(&self, path: &Utf8Path, pins: &Pins, cache: &Cache, task: &mut Task<'_>) -> Result<(), Error> {
        let progress = task.progress();
        // Nothing enters the cache before it is verified against its pin.
        let folder = fs::Temporary::create(cache.root(), Cache::IMPORT)?;
        let scratch = git::open(&folder.path().join("git"))?;
        let mut index = Index::new().map_err(|error| git::cache_error(folder.path(), &error))?;
        let (mut commit, mut members, mut folders) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
        let (mut of_set, size) = (BTreeMap::new(), Cell::new(0));
        let visited = tarball::visit(Interruptible::new(fs::open(path)?, progress), LIMITS, &mut |name, mut entry| {
            if entry.kind != tarball::TarEntryKind::File {
                return Ok(());
            }
            let mode = entry.mode;
            match inside(&name) {
                Some((IPXE, file)) if self.ipxe.is_some() => {
                    add_folders(&mut folders, &file).map_err(io::Error::other)?;
                    let content = entry.content()?;
                    size.set(content.len());
                    let oid = scratch.blob(&content).map_err(io::Error::other)?;
                    index.add(&index_entry(&file, mode, oid)).map_err(io::Error::other)?;
                }
                Some((COMMIT, _)) => commit = entry.content()?,
                Some((SYSLINUX, file)) if self.members.iter().any(|member| member.path == file) => {
                    members.insert(file, entry.content()?);
                }
                Some((SIGNED_SET, file)) if self.of_set.iter().any(|pin| pin.name == file) => {
                    of_set.insert(file, entry.content()?);
                }
                _ => {}
            }
            Ok::<(), tarball::Error>(())
        });
        let failed = |reason: &dyn std::fmt::Display| {
            if progress.cancelled() {
                return Error::Cancelled;
            }
            // What is told of a full disk there is not that it is full.
            if let Err(full) = fs::check_room(folder.path(), size.get()) {
                return full.into();
            }
            Error::NotABundle { path: path.to_owned(), reason: printable(&reason.to_string()).to_string() }
        };
        visited.map_err(|error| failed(&error))?;
        if let Some(pin) = self.ipxe {
            let tree = index.write_tree_to(&scratch).map_err(|error| failed(&error.message()))?;
            check(path, "iPXE's tree", &tree, &pin.tree)?;
            let written = scratch.odb().and_then(|odb| odb.write(ObjectType::Commit, &commit));
            check(path, "iPXE's commit", &written.map_err(|error| failed(&error.message()))?, &pin.commit)?;
            let repository = git::open(&cache.ipxe_git())?;
            git::copy(&repository, &scratch, &pin.commit, progress).map_err(|error| {
                if progress.cancelled() {
                    return Error::Cancelled;
                }
                git::cache_error(&cache.ipxe_git(), &error).into()
            })?;
        }
        self.accept((path, pins, cache), &members, &of_set)
    }

    /// Puts the syslinux files and those of the signed set into `cache`, if they match their pins.
    fn accept(
        &self,
        (path, pins, cache): (&Utf8Path, &Pins, &Cache),
        members: &BTreeMap<Utf8PathBuf, Vec<u8>>,
        of_set: &BTreeMap<Utf8PathBuf, Vec<u8>>,
    ) -> Result<(), Error> {
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
        for pin in &self.of_set {
            let content = of_set.get(Utf8Path::new(&pin.name)).map(Vec::as_slice).unwrap_or_default();
            signed_set::accept(pin, content, path.as_str(), cache)?;
        }
        Ok(())
    }
}

/// Adds the folders that contain `file` to `folders`. Refuses more of them than any iPXE source has, because each
/// becomes a git object.
fn add_folders(folders: &mut BTreeSet<Utf8PathBuf>, file: &Utf8Path) -> Result<(), String> {
    if file.components().count() > MAX_PARTS {
        return Err(format!("a path in it has more than {MAX_PARTS} parts"));
    }
    folders.extend(file.ancestors().skip(1).map(Utf8Path::to_owned));
    match folders.len() {
        ..=MAX_FOLDERS => Ok(()),
        _ => Err(format!("it has more than {MAX_FOLDERS} folders")),
    }
}

/// Splits a path in the bundle, below its root folder, into its first component and the rest.
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
