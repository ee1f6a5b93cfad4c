//! A project in a temporary folder, around a stand-in for iPXE, and a way to run the program on it.

#![allow(dead_code, reason = "every test file uses another part of this")]

pub mod limits;

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Child, Command, ExitCode, Output, Stdio};

use camino::{Utf8Path, Utf8PathBuf};
use git2::{IndexAddOption, Repository, Signature, Time};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use netboot_loaders::digest::Sha256Digest;
use netboot_loaders::reproduce::variation::Variation;
use netboot_loaders::source::ipxe::describe;
use netboot_loaders::tree::manifest::Manifest;
use tempfile::TempDir;

/// The stand-in for iPXE's source.
pub const STAND_IN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/ipxe");

/// A project with its own cache, away from everything else.
pub struct Project {
    folder: TempDir,
    pub root: Utf8PathBuf,
}

/// What a run came to.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Project {
    /// Two BIOS loaders and one EFI loader, the four syslinux files, sources beside the project.
    pub fn new() -> Self {
        Self::with(&stand_in_members())
    }

    /// The same with other syslinux files: name in the tree, path in the archive, content.
    pub fn with(members: &[Member]) -> Self {
        let folder = tempfile::Builder::new().prefix("netboot-").tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap().canonicalize_utf8().unwrap();
        let project = Self { folder, root };
        project.write_archive(members);
        project.write_pins(&project.commit_stand_in(), members);
        project.write("embed-scripts/boot.ipxe", "#!ipxe\ndhcp && chain ${root-path}\n");
        project.sites(
            "[default]\nloaders = [\"ipxe.pxe\", \"ipxe.efi\", \"undionly.kpxe\"]\nscript = \"boot.ipxe\"\n\
             [syslinux]\nmembers = [\"lpxelinux.0\", \"ldlinux.c32\", \"syslinux.efi\", \"ldlinux.e64\"]\n",
        );
        project
    }

    pub fn path(&self, relative: &str) -> Utf8PathBuf {
        self.root.join(relative)
    }

    pub fn tree(&self) -> Utf8PathBuf {
        self.path("dist/tftp")
    }

    pub fn write(&self, relative: &str, content: &str) {
        let path = self.path(relative);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub fn read(&self, relative: &str) -> Vec<u8> {
        std::fs::read(self.path(relative)).unwrap()
    }

    pub fn sites(&self, text: &str) {
        self.write("embed-scripts/sites.toml", text);
    }

    /// The program, with `arguments`, on this project and its cache.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(["--project", self.root.as_str(), "--cache-dir", self.path("cache").as_str()]);
        command.args(arguments).stdin(Stdio::null()).env_remove("CARGO_MANIFEST_DIR");
        command
    }

    /// As [`Self::run`], of which no input may take more memory than [`limits::MEMORY`].
    #[track_caller]
    pub fn run_within_limits(&self, arguments: &[&str]) -> Ran {
        limits::measure(&mut self.command(arguments)).bounded().into()
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.command(arguments).output().unwrap())
    }

    /// `build-loaders` from the sources beside the project.
    pub fn build_arguments<'a>(&self, more: &[&'a str]) -> Vec<String> {
        let mut arguments = vec!["build-loaders".to_owned(), "--offline".into()];
        arguments.extend(["--ipxe-url".into(), self.path("ipxe").into_string()]);
        arguments.extend(["--syslinux-archive".into(), self.path("syslinux.zip").into_string()]);
        arguments.extend(more.iter().map(|argument: &&'a str| (*argument).to_owned()));
        arguments
    }

    pub fn build(&self, more: &[&str]) -> Ran {
        let arguments = self.build_arguments(more);
        self.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    pub fn start_build(&self) -> Child {
        let arguments = self.build_arguments(&[]);
        let mut command = self.command(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Everything that stands in the tree, with its content.
    pub fn snapshot(&self) -> Vec<(Utf8PathBuf, Vec<u8>)> {
        Self::files_of(&self.tree())
    }

    /// Everything that stands in a folder, with its content.
    pub fn files_of(folder: &Utf8Path) -> Vec<(Utf8PathBuf, Vec<u8>)> {
        let files = netboot_loaders::fs::walk(folder).unwrap();
        files.into_iter().map(|(path, _)| (path.clone(), std::fs::read(folder.join(path)).unwrap())).collect()
    }

    /// Changes the stand-in's Makefile, and pins that.
    pub fn edit_makefile(&self, edit: impl FnOnce(String) -> String) {
        let makefile = String::from_utf8(self.read("ipxe/src/Makefile")).unwrap();
        let edited = edit(makefile.clone());
        assert!(edited != makefile, "the edit changes nothing");
        self.write("ipxe/src/Makefile", &edited);
        let pins = String::from_utf8(self.read("vendor/pins.toml")).unwrap();
        let (_, syslinux) = pins.split_once("[syslinux]").unwrap();
        self.write("vendor/pins.toml", &format!("{}[syslinux]{syslinux}", self.commit()));
    }

    /// Turns the configuration NAME's general.h into `content`.
    pub fn config(&self, name: &str, content: &str) {
        self.write(&format!("vendor/ipxe-config/{name}/general.h"), content);
    }

    fn commit_stand_in(&self) -> String {
        copy_folder(Utf8Path::new(STAND_IN), &self.path("ipxe"));
        self.commit()
    }

    /// Commits the stand-in as it is now, and returns its pin.
    fn commit(&self) -> String {
        let repository = Repository::init(self.path("ipxe")).unwrap();
        let mut index = repository.index().unwrap();
        index.add_all(["."], IndexAddOption::DEFAULT, None).unwrap();
        let tree = repository.find_tree(index.write_tree().unwrap()).unwrap();
        let author = Signature::new("Test", "test@example.org", &Time::new(1_700_000_000, 0)).unwrap();
        let parent = repository.find_reference("refs/heads/main").ok().map(|head| head.peel_to_commit().unwrap());
        let parents: Vec<_> = parent.iter().collect();
        let commit = repository.commit(Some("refs/heads/main"), &author, &author, "stand-in", &tree, &parents).unwrap();
        let (id, content) = describe(&repository, commit).unwrap();
        format!(
            "[ipxe]\nversion = \"0.0.1\"\nref = \"refs/heads/main\"\nurls = [\"https://unreachable.invalid/ipxe.git\"]\n\
             commit = \"{commit}\"\ntree = \"{id}\"\ncontent-sha256 = \"{content}\"\nepoch = 1700000000\n"
        )
    }

    fn write_pins(&self, ipxe: &str, members: &[Member]) {
        let mut pins = format!(
            "{ipxe}[syslinux]\nversion = \"6.03\"\n[[syslinux.archive]]\nurl = \"https://unreachable.invalid/syslinux.zip\"\n"
        );
        for (name, path, content) in members {
            let (sha256, size) = (Sha256Digest::of(content), content.len());
            write!(
                pins,
                "[[syslinux.member]]\nname = \"{name}\"\npath = \"{path}\"\nsha256 = \"{sha256}\"\nsize = {size}\n"
            )
            .unwrap();
        }
        self.write("vendor/pins.toml", &pins);
    }

    fn write_archive(&self, members: &[Member]) {
        let mut archive = zip::ZipWriter::new(std::fs::File::create(self.path("syslinux.zip")).unwrap());
        for (_, path, content) in members {
            archive.start_file(*path, zip::write::SimpleFileOptions::default()).unwrap();
            archive.write_all(content).unwrap();
        }
        archive.finish().unwrap();
    }
}

/// A syslinux file: its name in the tree, its path in the archive, its content.
pub type Member = (&'static str, &'static str, Vec<u8>);

/// Where the four files stand in syslinux's release.
pub const MEMBERS: [(&str, &str); 4] = [
    ("lpxelinux.0", "bios/core/lpxelinux.0"),
    ("ldlinux.c32", "bios/com32/elflink/ldlinux/ldlinux.c32"),
    ("syslinux.efi", "efi64/efi/syslinux.efi"),
    ("ldlinux.e64", "efi64/com32/elflink/ldlinux/ldlinux.e64"),
];

/// Where distributions put the four files: Debian, Fedora, Arch.
const PLACES: [[&str; 3]; 4] = [
    ["/usr/lib/PXELINUX/lpxelinux.0", "/usr/share/syslinux/lpxelinux.0", "/usr/lib/syslinux/bios/lpxelinux.0"],
    [
        "/usr/lib/syslinux/modules/bios/ldlinux.c32",
        "/usr/share/syslinux/ldlinux.c32",
        "/usr/lib/syslinux/bios/ldlinux.c32",
    ],
    [
        "/usr/lib/SYSLINUX.EFI/efi64/syslinux.efi",
        "/usr/share/syslinux/efi64/syslinux.efi",
        "/usr/lib/syslinux/efi64/syslinux.efi",
    ],
    [
        "/usr/lib/syslinux/modules/efi64/ldlinux.e64",
        "/usr/share/syslinux/efi64/ldlinux.e64",
        "/usr/lib/syslinux/efi64/ldlinux.e64",
    ],
];

/// The four files as the distribution has them, or the one that is missing.
pub fn installed() -> Result<Vec<Member>, &'static str> {
    let find = |((name, path), places): ((&'static str, &'static str), [&str; 3])| {
        let file = places.into_iter().map(Utf8Path::new).find(|place| place.is_file()).ok_or(name)?;
        Ok((name, path, std::fs::read(file).unwrap()))
    };
    MEMBERS.into_iter().zip(PLACES).map(find).collect()
}

/// Files that begin like syslinux's own.
fn stand_in_members() -> Vec<Member> {
    let nbp = [&[0xea, 0x24, 0x7c, 0, 0, 0x90, 0x90, 0x90, 0xac, 0xc8, 0x83, 0x29][..], b"lpxelinux"].concat();
    let mut efi = vec![0; 256];
    efi[..2].copy_from_slice(b"MZ");
    efi[0x3c] = 0x80;
    efi[0x80..0x86].copy_from_slice(b"PE\0\0\x64\x86");
    efi[0xdc] = 10;
    let contents = [nbp, elf(1, 3), efi, elf(2, 62)];
    MEMBERS.into_iter().zip(contents).map(|((name, path), content)| (name, path, content)).collect()
}

/// The head of an ELF file of `class` for `machine`.
fn elf(class: u8, machine: u8) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[..5].copy_from_slice(&[0x7f, b'E', b'L', b'F', class]);
    bytes[18] = machine;
    bytes
}

fn copy_folder(from: &Utf8Path, to: &Utf8Path) {
    for (path, _) in netboot_loaders::fs::walk(from).unwrap() {
        let target = to.join(&path);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(from.join(path), target).unwrap();
    }
}

/// A test, which says why it cannot run here.
pub type Test = fn() -> Result<(), String>;

/// Runs `tests`, those that cannot run as ignored ones.
pub fn run(tests: &[(&str, Test)]) -> ExitCode {
    let trial = |(name, test): &(&str, Test)| {
        let test = *test;
        Trial::ignorable_test(*name, move || -> Result<Completion, Failed> {
            Ok(test().map_or_else(Completion::ignored_with, |()| Completion::Completed))
        })
    };
    libtest_mimic::run(&Arguments::from_args(), tests.iter().map(trial).collect()).exit_code()
}

/// The program `name`, in whichever folder distributions have it, or that it is not installed.
pub fn program(name: &str) -> Result<Utf8PathBuf, String> {
    let path = format!("{}:/usr/local/sbin:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let found = path.split(':').map(|folder| Utf8Path::new(folder).join(name)).find(|file| file.is_file());
    found.ok_or_else(|| format!("{name} is not installed"))
}

/// Whether machines can be booted here, or why not; `doctor` also tries to make a network.
pub fn machines() -> Result<(), String> {
    let doctor = Command::new(env!("CARGO_BIN_EXE_xtask")).args(["--quiet", "doctor", "--for", "boot-test"]).output();
    let doctor = Ran::from(doctor.map_err(|error| error.to_string())?);
    if doctor.code != 0 {
        return Err(doctor.stderr.lines().next().unwrap_or("`doctor` failed").trim_start_matches("error: ").to_owned());
    }
    Ok(())
}

/// Why a rebuild cannot vary something here.
pub fn lacking(variation: Variation) -> Option<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["--message-format", "json", "--project", concat!(env!("CARGO_MANIFEST_DIR"), "/..")])
        .args(["reproduce", "--list"])
        .output()
        .unwrap();
    let object: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let listed = object["variations"].as_array().unwrap().iter().find(|it| it["name"] == variation.as_str()).unwrap();
    listed["lacking"].as_str().map(str::to_owned)
}

/// Makes the manifest and the checksums of the tree at `root` say what is there, as if it had been
/// built so.
pub fn forge(root: &Utf8Path) {
    let mut manifest: Manifest = serde_json::from_slice(&std::fs::read(root.join("manifest.json")).unwrap()).unwrap();
    manifest.files.retain(|file| root.join(&file.path).exists());
    for file in &mut manifest.files {
        (file.sha256, file.size) = netboot_loaders::fs::sha256(&root.join(&file.path)).unwrap();
    }
    std::fs::write(root.join("manifest.json"), manifest.to_json()).unwrap();
    std::fs::write(root.join("SHA256SUMS"), manifest.sha256sums()).unwrap();
}

impl Ran {
    /// This run, which has to have succeeded.
    #[track_caller]
    pub fn success(self) -> Self {
        assert_eq!(self.code, 0, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// The standard error of this run, which has to have failed with `code`.
    #[track_caller]
    pub fn failure(self, code: i32) -> String {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self.stderr
    }

    /// The error message of this run: what follows `error:` on standard error.
    #[track_caller]
    pub fn error(self, code: i32) -> String {
        let stderr = self.failure(code);
        let (_, error) = stderr.split_once("error: ").unwrap_or_else(|| panic!("no error in:\n{stderr}"));
        error.to_owned()
    }
}

impl From<limits::Measured> for Ran {
    fn from(measured: limits::Measured) -> Self {
        let limits::Measured { status, stdout, stderr, .. } = measured;
        Self { code: status.code().unwrap_or(-1), stdout, stderr }
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}
