//! Layout of a mirror and its image sets.

use camino::{Utf8Path, Utf8PathBuf};

/// Names of the images of a set; the same in every set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageNames {
    /// Kernel.
    pub kernel: String,
    /// Initramfs that the kernel starts with.
    pub initramfs: String,
    /// Root file system that the initramfs continues with, if it is a separate file.
    pub rootfs: Option<String>,
    /// Shim that makes firmware with Secure Boot start the kernel, in sets that have one. It is not among the names that
    /// iteration gives, which are those of every set.
    pub shim: String,
}

impl ImageNames {
    /// Returns the names for Fedora `CoreOS`, which users have long given to their links to the images.
    #[must_use]
    pub fn fedora_coreos(arch: &str) -> Self {
        Self {
            kernel: format!("kernel-{arch}"),
            initramfs: format!("initramfs.{arch}.img"),
            rootfs: Some(format!("rootfs.{arch}.img")),
            shim: format!("shim-{arch}.efi"),
        }
    }

    /// Returns the names for Flatcar: those of the publisher, which are the same in each release.
    #[must_use]
    pub fn flatcar() -> Self {
        Self {
            kernel: "flatcar_production_pxe.vmlinuz".to_owned(),
            initramfs: "flatcar_production_pxe_image.cpio.gz".to_owned(),
            rootfs: None,
            shim: "flatcar_production_image.shim".to_owned(),
        }
    }
}

impl IntoIterator for ImageNames {
    type Item = String;
    type IntoIter = std::iter::Flatten<std::array::IntoIter<Option<String>, 3>>;

    fn into_iter(self) -> Self::IntoIter {
        [Some(self.kernel), Some(self.initramfs), self.rootfs].into_iter().flatten()
    }
}

/// Returns the iPXE variable that [`MirrorPaths::SCRIPT`] sets to the version of the set of `product` in use.
#[must_use]
pub fn version_variable(product: &str) -> String {
    format!("{product}-version")
}

/// Returns the script that declares the set of `version` to be in use, for boot scripts to `chain`.
#[must_use]
pub fn version_script(product: &str, version: &str) -> String {
    format!("#!ipxe\nset {} {version}\n", version_variable(product))
}

/// Paths of a mirror: a folder with a subfolder for each set, and the names that lead to the set in use.
#[derive(Debug, Clone)]
pub struct MirrorPaths(Utf8PathBuf);

impl MirrorPaths {
    /// Name of a set's record, in its folder.
    pub const RECORD: &str = "mirror.json";
    /// Name of the iPXE script that declares a set's version, in its folder.
    pub const SCRIPT: &str = "version.ipxe";
    /// Name of the link or folder that is the set in use.
    pub const CURRENT: &str = "current";

    /// Returns the paths of the mirror at `root`.
    pub fn new(root: impl Into<Utf8PathBuf>) -> Self {
        Self(root.into())
    }

    /// Returns the root folder.
    #[must_use]
    pub fn root(&self) -> &Utf8Path {
        &self.0
    }

    /// Returns the folder of the set of `version`.
    #[must_use]
    pub fn set(&self, version: &str) -> Utf8PathBuf {
        self.0.join(version)
    }

    /// Returns the path of the set in use.
    #[must_use]
    pub fn current(&self) -> Utf8PathBuf {
        self.0.join(Self::CURRENT)
    }

    /// Returns the path beside the sets of the image `name` of the set in use.
    #[must_use]
    pub fn stable(&self, name: &str) -> Utf8PathBuf {
        self.0.join(name)
    }

    /// Returns the relative target of the link at [`Self::stable`].
    #[must_use]
    pub fn stable_target(name: &str) -> Utf8PathBuf {
        Utf8Path::new(Self::CURRENT).join(name)
    }

    /// Returns the folder of internal files, which are not for clients.
    #[must_use]
    pub fn own(&self) -> Utf8PathBuf {
        self.0.join(".netboot-loaders")
    }

    /// Returns the lock that is held while the mirror is updated.
    #[must_use]
    pub fn lock(&self) -> Utf8PathBuf {
        self.own().join("lock")
    }

    /// Returns the file that lists the sets that were in use, the most recent one last.
    #[must_use]
    pub fn history(&self) -> Utf8PathBuf {
        self.own().join("history")
    }

    /// Returns the folder that the publisher's metadata is downloaded to.
    #[must_use]
    pub fn metadata(&self) -> Utf8PathBuf {
        self.own().join("metadata")
    }

    /// Returns the folder of the keys that signatures are verified with.
    #[must_use]
    pub fn keys(&self) -> Utf8PathBuf {
        self.own().join("keys")
    }

    /// Returns the folder of incomplete sets.
    #[must_use]
    pub fn unfinished(&self) -> Utf8PathBuf {
        self.own().join("partial")
    }

    /// Returns the folder of the set of `version` while it is incomplete.
    #[must_use]
    pub fn partial(&self, version: &str) -> Utf8PathBuf {
        self.unfinished().join(version)
    }

    /// Returns the path where the next [`Self::current`] is prepared.
    #[must_use]
    pub fn next(&self) -> Utf8PathBuf {
        self.own().join("next")
    }

    /// Returns the short-lived path of the set that was in use until now.
    #[must_use]
    pub fn previous(&self) -> Utf8PathBuf {
        self.own().join("previous")
    }

    /// Returns the folder that briefly holds sets while others of the same version replace them.
    #[must_use]
    pub fn replaced(&self) -> Utf8PathBuf {
        self.own().join("replaced")
    }

    /// Returns the folder of sets that are being removed.
    #[must_use]
    pub fn trash(&self) -> Utf8PathBuf {
        self.own().join("trash")
    }

    /// Returns the path that is used to test what the file system supports.
    #[must_use]
    pub fn probe(&self) -> Utf8PathBuf {
        self.own().join("probe")
    }
}
