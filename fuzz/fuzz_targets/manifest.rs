//! Fuzzes the parser of manifests: a parsed manifest must be written back unchanged.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netboot_loaders::tree::manifest::Manifest;

fuzz_target!(|data: &[u8]| {
    if let Ok(manifest) = Manifest::parse(data) {
        let json = manifest.to_json();
        let again = Manifest::parse(json.as_bytes()).expect("what was written can be read");
        assert_eq!(again.to_json(), json);
    }
});
