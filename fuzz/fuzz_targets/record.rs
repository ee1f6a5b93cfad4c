//! Fuzzes the parser of deployment records, which other users may have written at the target.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netboot_loaders::deploy::record::DeployRecord;

fuzz_target!(|json: &[u8]| {
    let record = DeployRecord::parse(json);
    assert_eq!(DeployRecord::parse(record.to_json().as_bytes()), record);
});
