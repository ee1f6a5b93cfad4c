//! Where a mirror keeps its sets of images.

use camino::{Utf8Path, Utf8PathBuf};

/// What the images of a set are called: the same in every set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageNames {
    /// The kernel.
    pub kernel: String,
    /// What it begins with.
    pub initramfs: String,
    /// What that goes on with, where it is a file of its own.
    pub rootfs: Option<String>,
}

impl ImageNames {
    /// Those of Fedora `CoreOS`: what people have long called their links to them.
    #[must_use]
    pub fn fedora_coreos(arch: &str) -> Self {
        Self {
            kernel: format!("kernel-{arch}"),
            initramfs: format!("initramfs.{arch}.img"),
            rootfs: Some(format!("rootfs.{arch}.img")),
        }
    }

    /// Those of Flatcar: the publisher's own, which are the same in each release.
    #[must_use]
    pub fn flatcar() -> Self {
        Self {
            kernel: "flatcar_production_pxe.vmlinuz".to_owned(),
            initramfs: "flatcar_production_pxe_image.cpio.gz".to_owned(),
            rootfs: None,
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

/// The variable of iPXE's in which [`MirrorPaths::SCRIPT`] says which set of `product` is in use.
#[must_use]
pub fn version_variable(product: &str) -> String {
    format!("{product}-version")
}

/// The script that says that the set of `version` is in use, for boot scripts to `chain`.
#[must_use]
pub fn version_script(product: &str, version: &str) -> String {
    format!("#!ipxe\nset {} {version}\n", version_variable(product))
}

/// A folder with a folder for each set, and the names that lead to the set in use.
#[derive(Debug, Clone)]
pub struct MirrorPaths(Utf8PathBuf);

impl MirrorPaths {
    /// What a set says of itself, in its folder.
    pub const RECORD: &str = "mirror.json";
    /// The iPXE script that says which set it is, in its folder.
    pub const SCRIPT: &str = "version.ipxe";
    /// The link or folder that is the set in use.
    pub const CURRENT: &str = "current";

    /// The mirror at `root`.
    pub fn new(root: impl Into<Utf8PathBuf>) -> Self {
        Self(root.into())
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Utf8Path {
        &self.0
    }

    /// The set of `version`.
    #[must_use]
    pub fn set(&self, version: &str) -> Utf8PathBuf {
        self.0.join(version)
    }

    /// The set in use.
    #[must_use]
    pub fn current(&self) -> Utf8PathBuf {
        self.0.join(Self::CURRENT)
    }

    /// The image `name` of the set in use, beside the sets.
    #[must_use]
    pub fn stable(&self, name: &str) -> Utf8PathBuf {
        self.0.join(name)
    }

    /// Where that leads, as a link says it.
    #[must_use]
    pub fn stable_target(name: &str) -> Utf8PathBuf {
        Utf8Path::new(Self::CURRENT).join(name)
    }

    /// What is not for those who are served.
    #[must_use]
    pub fn own(&self) -> Utf8PathBuf {
        self.0.join(".netboot-loaders")
    }

    /// Held while the mirror is brought up to date.
    #[must_use]
    pub fn lock(&self) -> Utf8PathBuf {
        self.own().join("lock")
    }

    /// Which sets were in use, the last one last.
    #[must_use]
    pub fn history(&self) -> Utf8PathBuf {
        self.own().join("history")
    }

    /// Where what the publisher says is downloaded to.
    #[must_use]
    pub fn metadata(&self) -> Utf8PathBuf {
        self.own().join("metadata")
    }

    /// Where the keys are that signatures are checked with.
    #[must_use]
    pub fn keys(&self) -> Utf8PathBuf {
        self.own().join("keys")
    }

    /// Sets that are not whole yet.
    #[must_use]
    pub fn unfinished(&self) -> Utf8PathBuf {
        self.own().join("partial")
    }

    /// The set of `version` while it is not whole yet.
    #[must_use]
    pub fn partial(&self, version: &str) -> Utf8PathBuf {
        self.unfinished().join(version)
    }

    /// What is going to be the set in use.
    #[must_use]
    pub fn next(&self) -> Utf8PathBuf {
        self.own().join("next")
    }

    /// The set in use until now, for a moment.
    #[must_use]
    pub fn previous(&self) -> Utf8PathBuf {
        self.own().join("previous")
    }

    /// Sets that others of the same version replace, for a moment.
    #[must_use]
    pub fn replaced(&self) -> Utf8PathBuf {
        self.own().join("replaced")
    }

    /// What is being removed.
    #[must_use]
    pub fn trash(&self) -> Utf8PathBuf {
        self.own().join("trash")
    }

    /// What the file system can do is tried with this.
    #[must_use]
    pub fn probe(&self) -> Utf8PathBuf {
        self.own().join("probe")
    }
}
