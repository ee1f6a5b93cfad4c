//! Kernel modules for the network card of a machine. They belong to the kernel that the machine boots, and come from
//! where its distribution installs them.

use std::collections::BTreeSet;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

use crate::base::fs;
use crate::base::process::{self, Command};
use crate::base::progress::Progress;

/// Folder of all modules, with a subfolder per kernel version.
const MODULES: &str = "/lib/modules";
/// Modules that the card needs: for its bus, and for the card itself.
const WANTED: [&str; 2] = ["virtio_pci", "virtio_net"];
/// File name extensions of compressed modules, and the programs that decompress them.
const PACKERS: [(&str, &str); 3] = [("xz", "xz"), ("zst", "zstd"), ("gz", "gzip")];

/// Modules in the order in which they must be loaded: file names and contents.
pub type Drivers = Arc<[(String, Vec<u8>)]>;

/// Errors from finding the modules.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel image contains no version.
    #[error("the kernel says no version, by which its modules could be found")]
    NoVersion,
    /// A module is not installed, or only for another kernel.
    #[error("`{folder}` has no module `{name}` for the machine's network card")]
    Missing {
        /// Folder where the modules of the kernel are expected.
        folder: Utf8PathBuf,
        /// Name of the module.
        name: &'static str,
    },
    /// A module cannot be read.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// A module cannot be decompressed.
    #[error(transparent)]
    Process(#[from] process::Error),
}

/// Returns the folder of the modules of a kernel that is installed here.
///
/// # Errors
///
/// [`Error::NoVersion`] if `kernel`, the content of its image, has no version.
pub fn installed(kernel: &[u8]) -> Result<Utf8PathBuf, Error> {
    Ok(Utf8Path::new(MODULES).join(version(kernel).ok_or(Error::NoVersion)?))
}

/// Returns the modules in `folder`, the modules of one kernel. Decompresses them in `scratch`.
///
/// # Errors
///
/// [`Error`] if the modules are not available.
pub fn drivers(folder: &Utf8Path, scratch: &Utf8Path, progress: &dyn Progress) -> Result<Drivers, Error> {
    let modules = paths(folder)?.into_iter().map(|path| module(&folder.join(path), scratch, progress));
    modules.collect::<Result<Vec<_>, _>>().map(Into::into)
}

/// Names of the files in a folder of modules that say which modules there are, and what they need.
pub const LISTS: [&str; 2] = ["modules.dep", "modules.builtin"];

/// Returns the paths in `folder`, the modules of one kernel, of those that the card needs, in the order in which they
/// must be loaded.
///
/// # Errors
///
/// [`Error`] if one is missing.
pub fn paths(folder: &Utf8Path) -> Result<Vec<String>, Error> {
    let text = |name: &str| -> Result<String, fs::Error> {
        let content = fs::read_if_exists(&folder.join(name))?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&content).into_owned())
    };
    let [dependencies, builtin] = LISTS.map(text);
    let (dependencies, builtin) = (dependencies?, builtin?);
    let mut paths: Vec<&str> = Vec::new();
    for name in WANTED {
        if builtin.lines().any(|path| stem(path) == name) {
            continue;
        }
        let found = chain(&dependencies, name).ok_or_else(|| Error::Missing { folder: folder.to_owned(), name })?;
        paths.extend(found);
    }
    let mut seen = BTreeSet::new();
    paths.retain(|path| seen.insert(*path));
    Ok(paths.into_iter().map(str::to_owned).collect())
}

/// Returns the version of a kernel image in the format that loaders boot ("The Linux/x86 Boot Protocol":
/// `kernel_version`).
fn version(kernel: &[u8]) -> Option<&str> {
    let offset = kernel.get(0x20e..0x210)?;
    let start = usize::from(u16::from_le_bytes(offset.try_into().ok()?)) + 0x200;
    let text = kernel.get(start..)?.split(|byte| *byte == 0 || *byte == b' ').next()?;
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._+-~".contains(byte);
    let fine = kernel.get(0x202..0x206)? == b"HdrS" && text.first()?.is_ascii_digit() && text.iter().all(plain);
    std::str::from_utf8(text).ok().filter(|_| fine)
}

/// Returns the paths of all modules that the module `name` depends on, and then its own, according to `modules.dep`.
fn chain<'d>(dependencies: &'d str, name: &str) -> Option<impl Iterator<Item = &'d str>> {
    let (path, needs) =
        dependencies.lines().filter_map(|line| line.split_once(':')).find(|(path, _)| stem(path) == name)?;
    // The last dependency in the list must be loaded first.
    Some(needs.split_ascii_whitespace().rev().chain([path]))
}

/// Returns the name of a module from its path.
fn stem(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or_default();
    file.split('.').next().unwrap_or_default().replace('-', "_")
}

fn module(path: &Utf8Path, scratch: &Utf8Path, progress: &dyn Progress) -> Result<(String, Vec<u8>), Error> {
    let name = format!("{}.ko", stem(path.as_str()));
    let packer = PACKERS.iter().find(|(ending, _)| path.extension() == Some(ending));
    let Some((ending, program)) = packer else { return Ok((name, fs::read(path)?)) };
    let unpacked = scratch.join(&name);
    let packed = scratch.join(format!("{name}.{ending}"));
    fs::write_atomic(&packed, &fs::read(path)?)?;
    Command::new("unpack a module of the kernel", *program).args(["-d", "-f", packed.as_str()]).output(progress)?;
    Ok((name, fs::read(&unpacked)?))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::base::progress::Silent;

    #[test]
    fn a_kernel_says_its_version() {
        let mut kernel = vec![0; 0x400];
        kernel[0x202..0x206].copy_from_slice(b"HdrS");
        kernel[0x20e..0x210].copy_from_slice(&0x100_u16.to_le_bytes());
        kernel[0x300..0x31b].copy_from_slice(b"6.1.0-56-cloud-amd64 (a@b)\0");
        assert_eq!(version(&kernel), Some("6.1.0-56-cloud-amd64"));
        kernel[0x300..0x306].copy_from_slice(b"../../");
        assert_eq!((version(&kernel), version(b"MZ")), (None, None));
    }

    #[test]
    fn what_is_compressed_is_unpacked() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let packed = folder.join("virtio-net.ko.gz");
        let mut encoder =
            flate2::write::GzEncoder::new(std::fs::File::create(&packed).unwrap(), flate2::Compression::fast());
        encoder.write_all(b"module").unwrap();
        encoder.finish().unwrap();
        let scratch = folder.join("scratch");
        let (name, content) = module(&packed, &scratch, &Silent).unwrap();
        assert_eq!((name.as_str(), content.as_slice()), ("virtio_net.ko", &b"module"[..]));
        assert!(packed.exists(), "the distribution's own file stays");
    }

    #[test]
    fn what_a_module_needs_comes_before_it() {
        let text = "kernel/a/virtio-net.ko.xz: kernel/b/net_failover.ko.xz kernel/c/failover.ko.xz\nkernel/c/failover.ko.xz:\n";
        let found: Vec<&str> = chain(text, "virtio_net").unwrap().collect();
        assert_eq!(found, ["kernel/c/failover.ko.xz", "kernel/b/net_failover.ko.xz", "kernel/a/virtio-net.ko.xz"]);
        assert!(chain(text, "virtio_pci").is_none());
    }
}
