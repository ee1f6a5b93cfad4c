//! Fuzzes the readers of a live CD and of the partition in it, and of the certificates in a shim.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netboot_loaders::loader::vendor_certificate::vendor_certificates;
use netboot_loaders::mirror::{fat, iso9660};

fuzz_target!(|data: &[u8]| {
    if let Ok(extent) = iso9660::find(&mut &*data, &["images", "efiboot.img"]) {
        assert!(extent.start + u64::from(extent.size) <= data.len() as u64);
    }
    let paths = [["EFI", "fedora", "shimx64.efi"], ["EFI", "BOOT", "BOOTX64.EFI"]];
    if let Ok(Some(file)) = fat::read_first(&mut &*data, &paths, 1 << 20) {
        assert!(file.len() <= 1 << 20);
    }
    let _ = vendor_certificates(data);
});
