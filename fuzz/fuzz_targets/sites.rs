//! Fuzzes the reader of `sites.toml`.
#![no_main]

mod shared;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use netboot_loaders::config::sites::{Options, Sites};
use shared::Scene;

static SCENE: LazyLock<Scene> = LazyLock::new(Scene::new);

fuzz_target!(|data: &[u8]| {
    std::fs::write(SCENE.project.sites(), data).unwrap();
    if let Err(error) = Sites::read(&SCENE.project, &SCENE.pins, &Options::default()) {
        assert!(!error.to_string().is_empty());
    }
});
