//! A project with the repository's own pins, and a cache with the pinned sources.

#![allow(dead_code, reason = "every test file uses another part of this")]

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::OnceLock;

use camino::{Utf8Path, Utf8PathBuf};
use netboot_loaders::choices::pins::{IpxePin, Pins};
use netboot_loaders::paths::Cache;
use netboot_loaders::progress::Silent;
use netboot_loaders::source::ipxe::Source;
use netboot_loaders::stamp::slot::{Slot, SlotSize};
use netboot_loaders::{fs, source};
use tempfile::TempDir;

/// The repository.
const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A project of the real thing.
pub struct Real {
    folder: TempDir,
    pub project: Utf8PathBuf,
    pub cache: Utf8PathBuf,
    pub sources: Cache,
    pins: Pins,
}

static REAL: OnceLock<Result<Real, String>> = OnceLock::new();

/// Removes what the tests have built; nothing does that for a static.
pub fn clean_up() {
    if let Some(Ok(real)) = REAL.get() {
        std::fs::remove_dir_all(real.folder.path()).unwrap();
    }
}

/// The real thing, or why it is not to be had here.
pub fn sources() -> Result<&'static Real, String> {
    REAL.get_or_init(Real::new).as_ref().map_err(Clone::clone)
}

/// The script in its slot, as the tool pads it.
pub fn scripted(script: &str) -> Vec<u8> {
    Slot::fill(script.as_bytes(), SlotSize::DEFAULT).unwrap().bytes().to_vec()
}

impl Real {
    fn new() -> Result<Self, String> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        if let Some(reason) = variable("NETBOOT_LOADERS_TEST_SOURCES_MISSING") {
            return Err(format!("the pinned sources are not to be had: {reason}"));
        }
        let user = variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| format!("{home}/.cache")));
        let user = user.map(|folder| format!("{folder}/netboot-loaders"));
        let folder = variable("NETBOOT_LOADERS_TEST_SOURCES").or(user).ok_or("there is no cache folder")?;
        let sources = Cache::new(folder);
        let text = std::fs::read_to_string(Utf8Path::new(REPOSITORY).join("vendor/pins.toml"))
            .map_err(|error| error.to_string())?;
        let pins = Pins::parse("vendor/pins.toml".into(), &text).map_err(|error| error.to_string())?;
        if !sources.ipxe_git().exists() {
            return Err(format!("iPXE's pinned commit is not in {}: run `cargo xtask fetch`", sources.root()));
        }
        Source::open(&pins.ipxe, &sources, &[], &Silent).map_err(|error| error.to_string())?;
        for member in &pins.syslinux.members {
            let found = source::syslinux::cached(&sources, member).map_err(|error| error.to_string())?;
            found.ok_or_else(|| format!("{} is not in {}: run `cargo xtask fetch`", member.name, sources.root()))?;
        }
        let guard = tempfile::Builder::new().prefix("netboot-real-").tempdir().map_err(|error| error.to_string())?;
        let root = Utf8Path::from_path(guard.path()).ok_or("the temporary folder is not UTF-8")?.to_owned();
        let real = Self { folder: guard, project: root.join("project"), cache: root.join("cache"), sources, pins };
        for folder in ["vendor", "embed-scripts"] {
            let from = Utf8Path::new(REPOSITORY).join(folder);
            for (path, _) in fs::walk(&from).map_err(|error| error.to_string())? {
                fs::write_atomic(&real.project.join(folder).join(&path), &fs::read(&from.join(&path)).unwrap())
                    .unwrap();
            }
        }
        Ok(real)
    }

    pub fn pin(&self) -> &IpxePin {
        &self.pins.ipxe
    }

    pub fn source(&self) -> Source {
        Source::open(&self.pins.ipxe, &self.sources, &[], &Silent).unwrap()
    }

    pub fn tree(&self) -> Utf8PathBuf {
        self.project.join("dist/tftp")
    }

    pub fn read(&self, file: &str) -> Vec<u8> {
        std::fs::read(self.tree().join(file)).unwrap()
    }

    pub fn sites(&self, text: &str) {
        std::fs::write(self.project.join("embed-scripts/sites.toml"), text).unwrap();
    }

    /// A zip of the pinned syslinux files, as `--syslinux-archive` takes it.
    pub fn archive(&self) -> String {
        use std::io::Write;
        let path = self.cache.with_file_name("syslinux.zip");
        let mut archive = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
        for member in &self.pins.syslinux.members {
            archive.start_file(member.path.as_str(), zip::write::SimpleFileOptions::default()).unwrap();
            archive.write_all(&source::syslinux::cached(&self.sources, member).unwrap().unwrap()).unwrap();
        }
        archive.finish().unwrap();
        path.into_string()
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(["--project", self.project.as_str(), "--cache-dir", self.cache.as_str()]).args(arguments);
        command
    }

    /// Brings the pinned sources into the cache of this project.
    pub fn fetch(&self) {
        let archive = self.archive();
        let mut command = self.command(&["fetch", "--offline", "--ipxe-url", self.sources.ipxe_git().as_str()]);
        let output = command.args(["--syslinux-archive", &archive]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Builds from the pinned sources, and returns what was said.
    pub fn build(&self, more: &[&str]) -> String {
        let archive = self.archive();
        let mut command = self.command(&["build-loaders", "--offline", "--ipxe-url", self.sources.ipxe_git().as_str()]);
        let more = more.iter().filter(|argument| **argument != "--offline");
        let output = command.args(["--syslinux-archive", &archive]).args(more).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn verify(&self) {
        let output = self.command(&["verify"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// The SHA-256 of every file of the tree.
    pub fn digests(&self) -> BTreeMap<String, String> {
        let files = fs::walk(&self.tree()).unwrap().into_iter();
        files.map(|(path, _)| (path.to_string(), fs::sha256(&self.tree().join(&path)).unwrap().0.to_string())).collect()
    }

    /// What the last make of each build tree said.
    pub fn logs(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.cache.join("trees")).unwrap();
        entries.map(|entry| std::fs::read_to_string(entry.unwrap().path().join("make.log")).unwrap()).collect()
    }
}
