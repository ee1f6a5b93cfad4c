//! Fuzzes the reader of syslinux archives (.zip or .tar.xz).
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use camino::Utf8PathBuf;
use libfuzzer_sys::fuzz_target;
use netboot_loaders::base::progress::Silent;
use netboot_loaders::fetch::archive;

static FILE: LazyLock<Utf8PathBuf> = LazyLock::new(|| {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    Utf8PathBuf::from_path_buf(folder.keep()).unwrap().join("archive")
});

fuzz_target!(|data: &[u8]| {
    std::fs::write(&*FILE, data).unwrap();
    let wanted = BTreeMap::from([("bios/core/lpxelinux.0".into(), 100_000), ("README".into(), 1000)]);
    if let Ok(members) = archive::read_members(&FILE, &wanted, &Silent) {
        assert_eq!(members.len(), 2);
    }
});
