//! Fuzzes the reader of tarballs, uncompressed and as .tar.gz.
#![no_main]

use std::io::Read;

use libfuzzer_sys::fuzz_target;
use netboot_stamp::tarball::{Limits, Tarball};

const LIMITS: Limits = Limits { entries: 100, extension: 8 << 10, entry: 1 << 16, total: 1 << 20 };

fn read<R: Read>(mut tarball: Tarball<R>) {
    let Ok(mut entries) = tarball.entries() else { return };
    let mut total = 0;
    while let Ok(Some(mut entry)) = entries.next() {
        let mut content = Vec::new();
        if entry.read_to_end(&mut content).is_err() {
            return;
        }
        total += content.len();
        assert!(content.len() <= 1 << 16 && total <= 1 << 20);
    }
}

fuzz_target!(|data: &[u8]| {
    read(Tarball::new(data, LIMITS));
    read(Tarball::gzip(data, LIMITS));
});
