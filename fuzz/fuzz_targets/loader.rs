//! Fuzzes the inspection of loaders: their kind, and their packed content.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netboot_loaders::loader::facts::LoaderFacts;
use netboot_loaders::loader::file_kind;
use netboot_loaders::loader::{image, packed};

fuzz_target!(|data: &[u8]| {
    let _ = file_kind::identify(data);
    let _ = file_kind::describe(data);
    let _ = image::regions(data);
    let _ = packed::unpack(data);
    let _ = LoaderFacts::of(data);
});
