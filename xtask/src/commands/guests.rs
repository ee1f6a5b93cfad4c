//! Kernels and userlands for machines with other CPUs, from the distribution's packages. They are unpacked into the cache:
//! nothing is installed, and the host's own list of packages stays as it is.

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use netboot_loaders::base::diagnostic::Class;
use netboot_loaders::base::fs::{self, Lock, Temporary};
use netboot_loaders::base::paths::Cache;
use netboot_loaders::base::process::{Command, find_program};
use netboot_loaders::boot_test::drivers;
use netboot_loaders::boot_test::tools::search_path;
use netboot_loaders::loader::target::Arch;

use crate::exit::Failure;
use crate::host::{Host, proxy_environment};

/// Package of the userland.
const BUSYBOX: &str = "busybox-static";

/// Returns Debian's name of `arch`, and the package that depends on the newest kernel there.
fn debian(arch: Arch) -> Option<(&'static str, &'static str)> {
    match arch {
        Arch::I386 => Some(("i386", "linux-image-686")),
        Arch::Arm64 => Some(("arm64", "linux-image-cloud-arm64")),
        _ => None,
    }
}

/// Unpacks a kernel and a userland for `arch` into `cache`, if it has none and the distribution's packages are apt's.
pub(super) fn unpack(arch: Arch, cache: &Cache, host: &Host<'_>) -> Result<(), Failure> {
    let guest = cache.guest(&arch.to_string());
    let Some((name, kernel)) = debian(arch).filter(|_| find_program("apt-get", &host.path).is_some()) else {
        return Ok(());
    };
    let Some(_lock) = Lock::acquire(&cache.lock(&format!("guest-{arch}")), host.ui)? else {
        return Err(Failure::interrupted());
    };
    if guest.exist() {
        return Ok(());
    }
    let folder = Temporary::create(cache.root(), Cache::IMPORT)?;
    let apt = Apt::new(name, folder.path(), host)?;
    // One of several lists can fail, and another have all that is needed.
    let updated = apt.run("fetch the list of packages", &["apt-get", "update"]);
    let depends = apt.run("look for a kernel", &["apt-cache", "depends", "--important", kernel]).unwrap_or_default();
    let mut depends = depends.iter().filter_map(|line| line.trim().strip_prefix("Depends: "));
    let Some(newest) = depends.find(|package| package.starts_with("linux-image-")) else {
        updated?;
        let text = format!("the distribution has no package `{kernel}` for {name}");
        let help = "name a kernel and a userland with `--kernel` and `--userland`";
        return Err(Failure::new(Class::MissingTool, text).help(help));
    };
    apt.run("download a kernel and a userland", &["apt-get", "download", BUSYBOX, newest])?;
    let root = folder.path().join("root");
    for package in packages(folder.path())? {
        apt.run("unpack a package", &["dpkg-deb", "-x", package.as_str(), root.as_str()])?;
    }
    let kernels = fs::entries(&root.join("boot"))?.into_iter();
    let found = kernels.filter(|file| file.file_name().is_some_and(|name| name.starts_with("vmlinuz"))).max();
    let found = found.ok_or_else(|| Failure::new(Class::Failure, format!("the package `{newest}` has no kernel")))?;
    let version = newest.trim_start_matches("linux-image-");
    apt.run("list the modules of a kernel", &["depmod", "-b", root.as_str(), version])?;
    let modules = root.join("lib/modules").join(version);
    let needed = drivers::paths(&modules).map_err(|error| Failure::new(Class::Failure, error.to_string()))?;
    fs::remove_dir_all(&guest.modules())?;
    for path in needed.iter().map(String::as_str).chain(drivers::LISTS) {
        let copy = guest.modules().join(path);
        fs::create_dir_all(copy.parent().unwrap_or(guest.folder()))?;
        fs::write_atomic(&copy, &fs::read(&modules.join(path))?)?;
    }
    fs::write_atomic(&guest.kernel(), &fs::read(&found)?)?;
    fs::write_atomic(&guest.busybox(), &fs::read(&root.join("bin/busybox"))?)?;
    Ok(())
}

/// Returns the packages in `folder`.
fn packages(folder: &Utf8Path) -> Result<Vec<Utf8PathBuf>, Failure> {
    Ok(fs::entries(folder)?.into_iter().filter(|file| file.extension() == Some("deb")).collect())
}

/// Package manager with a list of packages of its own.
struct Apt<'h> {
    folder: Utf8PathBuf,
    host: &'h Host<'h>,
}

impl<'h> Apt<'h> {
    /// Prepares the state of packages for the architecture called `name` in `folder`.
    fn new(name: &str, folder: &Utf8Path, host: &'h Host<'h>) -> Result<Self, Failure> {
        for part in ["lists/partial", "archives/partial"] {
            fs::create_dir_all(&folder.join(part))?;
        }
        fs::write_new(&folder.join("status"), b"", 0o644)?;
        let options = format!(
            "APT::Architecture \"{name}\";\n\
             APT::Architectures {{ \"{name}\"; }};\n\
             APT::Sandbox::User \"root\";\n\
             Debug::NoLocking \"true\";\n\
             Dir::State \"{folder}\";\n\
             Dir::State::status \"{folder}/status\";\n\
             Dir::Cache \"{folder}\";\n"
        );
        fs::write_new(&folder.join("apt.conf"), options.as_bytes(), 0o644)?;
        Ok(Self { folder: folder.to_owned(), host })
    }

    /// Runs a program, and returns its lines.
    fn run(&self, purpose: &str, words: &[&str]) -> Result<Vec<String>, Failure> {
        let program = words.first().copied().unwrap_or_default();
        let mut command = Command::new(purpose, program).args(words.iter().skip(1).copied());
        command.env.extend(proxy_environment());
        let command = command
            .env("PATH", search_path(&self.host.path))
            .env("APT_CONFIG", self.folder.join("apt.conf"))
            .env("LC_ALL", "C");
        let command = Command { dir: Some(self.folder.clone()), deadline: Duration::from_secs(15 * 60), ..command };
        let help = "name a kernel and a userland with `--kernel` and `--userland`";
        command.output(self.host.ui).map_err(|error| Failure::from(error).help(help))
    }
}
