//! Fuzzes the parser of `pins.toml`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netboot_loaders::config::pins::Pins;

fuzz_target!(|text: &str| {
    if let Err(findings) = Pins::parse("pins.toml".into(), text) {
        assert!(!findings.to_string().is_empty());
    }
});
