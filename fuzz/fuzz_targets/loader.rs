//! A loader: what kind it is, and what is packed in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netboot_loaders::contents::facts::Facts;
use netboot_loaders::contents::{image, packed};
use netboot_loaders::tree::header;

fuzz_target!(|data: &[u8]| {
    let _ = header::identify(data);
    let _ = header::describe(data);
    let _ = image::stretches(data);
    let _ = packed::unpack(data);
    let _ = Facts::of(data);
});
