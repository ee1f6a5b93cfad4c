//! A project in memory, for targets that read a folder.

use camino::{Utf8Path, Utf8PathBuf};
use netboot_loaders::base::paths::ProjectPaths;
use netboot_loaders::config::pins::Pins;

/// A project with the files of every checkout.
pub struct Scene {
    pub project: ProjectPaths,
    pub pins: Pins,
}

impl Scene {
    pub fn new() -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let root = Utf8PathBuf::from_path_buf(folder.keep()).unwrap();
        let here = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for folder in ["embed-scripts", "vendor"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
            for entry in here.join(folder).read_dir_utf8().unwrap() {
                let path = entry.unwrap().into_path();
                if path.is_file() {
                    std::fs::copy(&path, root.join(folder).join(path.file_name().unwrap())).unwrap();
                }
            }
        }
        let pins = std::fs::read_to_string(root.join("vendor/pins.toml")).unwrap();
        let pins = Pins::parse("pins.toml".into(), &pins).unwrap();
        Self { project: ProjectPaths::new(root), pins }
    }
}
