//! Fuzzes the parser of iPXE's link maps.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netboot_loaders::loader::link_map::LinkMap;
use netboot_loaders::loader::linked_objects::LinkedObjects;

fuzz_target!(|text: &str| {
    let map = LinkMap::new(text);
    let _ = map.objects();
    let start = map.start(".text").unwrap_or_default();
    let _ = map.nearest(".text", start);
    let _ = map.address("_start");
    let _ = LinkedObjects::parse(text);
});
