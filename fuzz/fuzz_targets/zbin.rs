//! Fuzzes the instructions for packing a BIOS loader, together with an image.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netboot_stamp::zbin;

fuzz_target!(|data: (&[u8], &[u8])| {
    let (list, image) = data;
    let Ok(instructions) = zbin::parse(list) else { return };
    let packed = zbin::assemble::<zbin::Error>(image, &instructions, &mut |_| Ok(vec![7; 100]));
    if let Ok(packed) = packed {
        assert!(packed.len() <= 64 << 20);
    }
});
