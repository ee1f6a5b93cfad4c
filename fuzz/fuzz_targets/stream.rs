//! Fuzzes the parsers of stream metadata of Fedora CoreOS and channel metadata of Flatcar.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netboot_loaders::mirror::fedora_coreos::FedoraCoreosSource;
use netboot_loaders::mirror::flatcar;
use netboot_loaders::mirror::streams::{CoreosArch, Stream};

fuzz_target!(|text: &str| {
    let (stream, arch) = (Stream::Stable, CoreosArch::X86_64);
    let origin = FedoraCoreosSource { stream, arch, stream_url: None, base_url: None, shim: true };
    match origin.parse("URL", text) {
        Ok(set) => assert!(set.images.len() == 3 && set.images.iter().all(|image| !image.name.contains('/'))),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let _ = flatcar::version("URL", text);
    let _ = flatcar::digest("URL", "flatcar_production_pxe.vmlinuz", text);
});
