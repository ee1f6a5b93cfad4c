//! Fuzzes the reader of `network.toml`.
#![no_main]

mod shared;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use netboot_loaders::config::network::NetworkConfig;
use netboot_loaders::config::sites::{Options, Sites};
use shared::Scene;

static SCENE: LazyLock<(Scene, Sites)> = LazyLock::new(|| {
    let scene = Scene::new();
    let sites = Sites::read(&scene.project, &scene.pins, &Options::default()).unwrap();
    (scene, sites)
});

fuzz_target!(|data: &[u8]| {
    let (scene, sites) = &*SCENE;
    std::fs::write(scene.project.network(), data).unwrap();
    if let Err(error) = NetworkConfig::read(&scene.project.network(), sites) {
        assert!(!error.to_string().is_empty());
    }
});
