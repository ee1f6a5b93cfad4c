//! The modules with which a kernel can use the network card of a machine: the kernel's own, from where its
//! distribution has them.

use std::collections::BTreeSet;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

use crate::base::fs;
use crate::base::process::{self, Command};
use crate::base::progress::Progress;

/// Where modules are, in a folder with the name of the kernel's version.
const MODULES: &str = "/lib/modules";
/// What the card needs: the bus that it is on, and the card.
const WANTED: [&str; 2] = ["virtio_pci", "virtio_net"];
/// How modules are compressed, and what takes that away.
const PACKERS: [(&str, &str); 3] = [("xz", "xz"), ("zst", "zstd"), ("gz", "gzip")];

/// Modules to be loaded one after the other: names of files and contents.
pub type Drivers = Arc<[(String, Vec<u8>)]>;

/// Why there are no modules.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file says no version.
    #[error("the kernel says no version, by which its modules could be found")]
    NoVersion,
    /// They are not installed, or not the ones.
    #[error("`{folder}` has no module `{name}` for the machine's network card")]
    Missing {
        /// Where the modules of the kernel would be.
        folder: Utf8PathBuf,
        /// The module.
        name: &'static str,
    },
    /// A module cannot be read.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// A module cannot be unpacked.
    #[error(transparent)]
    Process(#[from] process::Error),
}

/// The modules for `kernel`, a whole file. What is compressed is unpacked in `scratch`.
///
/// # Errors
///
/// [`Error`] where they are not to be had.
pub fn drivers(kernel: &[u8], scratch: &Utf8Path, progress: &dyn Progress) -> Result<Drivers, Error> {
    let folder = Utf8Path::new(MODULES).join(version(kernel).ok_or(Error::NoVersion)?);
    let text = |name: &str| -> Result<String, fs::Error> {
        let content = fs::read_if_exists(&folder.join(name))?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&content).into_owned())
    };
    let (dependencies, builtin) = (text("modules.dep")?, text("modules.builtin")?);
    let mut paths: Vec<&str> = Vec::new();
    for name in WANTED {
        if builtin.lines().any(|path| stem(path) == name) {
            continue;
        }
        let found = chain(&dependencies, name).ok_or_else(|| Error::Missing { folder: folder.clone(), name })?;
        paths.extend(found);
    }
    let mut seen = BTreeSet::new();
    paths.retain(|path| seen.insert(*path));
    let modules = paths.into_iter().map(|path| module(&folder.join(path), scratch, progress));
    modules.collect::<Result<Vec<_>, _>>().map(Into::into)
}

/// The version of a kernel in the form in which loaders take it ("The Linux/x86 Boot Protocol": `kernel_version`).
fn version(kernel: &[u8]) -> Option<&str> {
    let offset = kernel.get(0x20e..0x210)?;
    let start = usize::from(u16::from_le_bytes(offset.try_into().ok()?)) + 0x200;
    let text = kernel.get(start..)?.split(|byte| *byte == 0 || *byte == b' ').next()?;
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._+-~".contains(byte);
    let fine = kernel.get(0x202..0x206)? == b"HdrS" && text.first()?.is_ascii_digit() && text.iter().all(plain);
    std::str::from_utf8(text).ok().filter(|_| fine)
}

/// The module `name` with all that it needs before it, by the text of `modules.dep`.
fn chain<'d>(dependencies: &'d str, name: &str) -> Option<impl Iterator<Item = &'d str>> {
    let (path, needs) =
        dependencies.lines().filter_map(|line| line.split_once(':')).find(|(path, _)| stem(path) == name)?;
    // What is named last is needed first.
    Some(needs.split_ascii_whitespace().rev().chain([path]))
}

/// The name of a module by its path.
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
