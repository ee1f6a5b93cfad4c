//! `cargo xtask bench cold`: from sources to loaders.

use std::collections::BTreeMap;
use std::time::Instant;

use netboot_loaders::build_loaders::{Choices, Origins, Request, build_loaders, fetch};
use netboot_loaders::choices::sites::Options;
use netboot_loaders::fs;
use netboot_loaders::paths::Cache;
use netboot_loaders::progress::Silent;
use netboot_loaders::source::http::Network;

use super::record::{Name, Row};
use super::stock::Stock;
use super::{LOADERS, Setting};
use crate::cli::MakeArgs;
use crate::exit::Failure;

/// A cold build of the default loaders, sources cached, against stock make in a fresh export.
pub(super) fn run(setting: &Setting<'_>) -> Result<(), Failure> {
    let times = setting.compare_cold(
        "a cold build",
        &mut [("build-loaders", &mut || product(setting)), ("stock make", &mut || stock(setting))],
    )?;
    let row = Row::timed("a cold build of three loaders, sources cached", &times[0], "stock make", &times[1]);
    setting.keep(Name::Cold, vec![row], BTreeMap::new())
}

/// Stock make; a person's clone is there already, so only make is measured.
fn stock(setting: &Setting<'_>) -> Result<f64, Failure> {
    let stock = Stock::fresh(setting.room("cold-stock")?, setting)?;
    let script = setting.host.project.scripts().join("root-path.ipxe");
    let seconds = stock.make(&script, &LOADERS)?;
    setting.room("cold-stock")?;
    Ok(seconds)
}

/// The product, with a cache that has the sources and nothing else.
fn product(setting: &Setting<'_>) -> Result<f64, Failure> {
    let host = setting.host;
    let root = setting.room("cold-product")?;
    let cache = Cache::new(root.join("cache"));
    let pins = &setting.inputs.pins;
    // Filling the new cache is not measured.
    let near = Origins {
        network: Network::Offline,
        ipxe_url: Some(setting.cache.ipxe_git().into_string().into()),
        syslinux_archive: None,
        bundle: None,
    };
    for member in &pins.syslinux.members {
        let content = fs::read(&setting.cache.blob(&member.sha256))?;
        fs::write_atomic(&cache.blob(&member.sha256), &content)?;
    }
    fetch(pins, &cache, &near, &Silent)?;
    let settings = host.settings(&MakeArgs { jobs: None, launcher: None, no_werror: false })?;
    let started = Instant::now();
    let plan = Choices::read(&host.project, &Options::default(), &Silent)?.plan(&host.path, &cache, &Silent)?;
    let tree = root.join("tree");
    let request = Request {
        project: &host.project,
        cache: &cache,
        origins: &near,
        settings: &settings,
        tree: &tree,
        pack: false,
        replace: false,
        update_baseline: false,
    };
    build_loaders(&plan, &request, host.ui)?;
    let seconds = started.elapsed().as_secs_f64();
    setting.room("cold-product")?;
    Ok(seconds)
}
