//! Fuzzes the reader of bundles. The target compresses its input itself, so that the fuzzer sees the content.
#![no_main]

use flate2::Compression;
use flate2::read::GzEncoder;
use libfuzzer_sys::fuzz_target;
use netboot_stamp::bundle::Bundle;

fuzz_target!(|tarball: &[u8]| {
    let _ = Bundle::read(&mut GzEncoder::new(tarball, Compression::none()));
});
