//! Fuzzes the reader of CSV inventories.
#![no_main]

mod shared;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use netboot_loaders::config::sites::{Options, Sites};
use shared::Scene;

static SCENE: LazyLock<Scene> = LazyLock::new(Scene::new);

fuzz_target!(|data: &[u8]| {
    let path = SCENE.project.scripts().join("fuzzed.csv");
    std::fs::write(&path, data).unwrap();
    let options = Options { inventories: vec![path], relink: true };
    if let Err(error) = Sites::read(&SCENE.project, &SCENE.pins, &options) {
        assert!(!error.to_string().is_empty());
    }
});
