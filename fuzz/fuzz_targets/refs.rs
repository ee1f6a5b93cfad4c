//! Fuzzes the reader of the refs that a git server lists before a pack: it must not pass on more than allowed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netboot_loaders::fetch::read_refs;

fuzz_target!(|data: (u8, &[u8])| {
    let (flushes, sent) = data;
    if let Ok(count) = read_refs(sent, 1 + flushes % 2) {
        assert_eq!(count, sent.len() as u64);
    }
});
