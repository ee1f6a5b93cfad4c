//! The record of a deployment, which anybody may have written at the place.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netboot_loaders::deploy::record::Record;

fuzz_target!(|json: &[u8]| {
    let record = Record::parse(json);
    assert_eq!(Record::parse(record.to_json().as_bytes()), record);
});
