//! The record of a deployment, which anybody may have written at the place.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netboot_loaders::deploy::record::DeployRecord;

fuzz_target!(|json: &[u8]| {
    let record = DeployRecord::parse(json);
    assert_eq!(DeployRecord::parse(record.to_json().as_bytes()), record);
});
