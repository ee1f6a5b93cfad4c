//! `cargo xtask bench`: the product against what people do without it, pair by pair in one run.

use std::time::{Duration, Instant};

use camino::Utf8Path;
use netboot_loaders::build_loaders::{Choices, Origins, Request, build_loaders, fetch};
use netboot_loaders::choices::sites::Options;
use netboot_loaders::paths::Cache;
use netboot_loaders::process::Command;
use netboot_loaders::progress::Silent;
use netboot_loaders::source::http::Network;
use netboot_loaders::source::ipxe::{Order, Source};
use serde_json::json;

use crate::cli::{MakeArgs, OriginArgs};
use crate::exit::Failure;
use crate::host::Host;

const TARGETS: [&str; 3] = ["bin/ipxe.pxe", "bin/undionly.kpxe", "bin-x86_64-efi/ipxe.efi"];

/// A cold build of the default loaders, sources cached, against stock make in a fresh export.
pub(super) fn cold(pairs: u8, origins: &OriginArgs, host: &Host<'_>) -> Result<(), Failure> {
    let choices = Choices::read(&host.project, &Options::default(), host.ui)?;
    let cache = host.cache()?;
    fetch(&choices.pins, &cache, &Host::origins(origins)?, host.ui)?;
    let mut times = Vec::new();
    for pair in 1..=pairs {
        // Which goes first changes from pair to pair, so that a machine that slows down is fair.
        let (stock, product) = if pair % 2 == 1 {
            let stock = stock(host)?;
            (stock, product(host)?)
        } else {
            let product = product(host)?;
            (stock(host)?, product)
        };
        host.ui.say(&format!(
            "pair {pair}: stock make {:.1} s, build-loaders {:.1} s, ratio {:.2}\n",
            stock.as_secs_f64(),
            product.as_secs_f64(),
            ratio(stock, product)
        ));
        times.push((stock, product));
    }
    let stock = median(times.iter().map(|(stock, _)| stock.as_secs_f64()).collect());
    let product = median(times.iter().map(|(_, product)| product.as_secs_f64()).collect());
    let ratio = median(times.iter().map(|(stock, product)| ratio(*stock, *product)).collect());
    host.ui.result(
        &format!("median of {pairs}: stock make {stock:.1} s, build-loaders {product:.1} s, ratio {ratio:.2}\n"),
        json!({ "bench": "cold", "pairs": pairs, "stock-seconds": stock, "product-seconds": product, "ratio": ratio }),
    );
    Ok(())
}

fn ratio(stock: Duration, product: Duration) -> f64 {
    product.as_secs_f64() / stock.as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}

/// What a person types: `make -jN` for the three targets, with the script embedded.
fn stock(host: &Host<'_>) -> Result<Duration, Failure> {
    let folder = tempfile::tempdir()?;
    let root = Utf8Path::from_path(folder.path()).unwrap_or(Utf8Path::new("/tmp"));
    let pin = Choices::read(&host.project, &Options::default(), &Silent)?.pins.ipxe;
    let source = Source::open(&pin, &host.cache()?, &[]).map_err(netboot_loaders::build_loaders::Error::from)?;
    source
        .export(&root.join("ipxe"), pin.epoch, Order::Sorted, &Silent)
        .map_err(netboot_loaders::build_loaders::Error::from)?;
    // A person's clone is there already; only make is measured.
    let started = Instant::now();
    let script = host.project.scripts().join("root-path.ipxe");
    let jobs = host.settings(&MakeArgs { jobs: None, launcher: None, no_werror: false })?.jobs;
    let mut make = Command::new("make the loaders with stock arguments", "make")
        .args([format!("-j{jobs}"), format!("EMBED={script}")])
        .args(TARGETS)
        .env("PATH", host.path.as_str());
    make.dir = Some(root.join("ipxe/src"));
    make.deadline = Duration::from_secs(3600);
    make.output(host.ui)?;
    Ok(started.elapsed())
}

/// The product, with a cache that has the sources and nothing else.
fn product(host: &Host<'_>) -> Result<Duration, Failure> {
    let folder = tempfile::tempdir()?;
    let root = Utf8Path::from_path(folder.path()).unwrap_or(Utf8Path::new("/tmp"));
    let cache = Cache::new(root.join("cache"));
    let choices = Choices::read(&host.project, &Options::default(), &Silent)?;
    let path = |path: camino::Utf8PathBuf| Some(path.into_string());
    // Filling the new cache is not measured.
    let near = Origins {
        network: Network::Offline,
        ipxe_url: path(host.cache()?.ipxe_git()),
        syslinux_archive: None,
        bundle: None,
    };
    for member in &choices.pins.syslinux.members {
        let content = netboot_loaders::fs::read(&host.cache()?.blob(&member.sha256))?;
        netboot_loaders::fs::write_atomic(&cache.blob(&member.sha256), &content)?;
    }
    fetch(&choices.pins, &cache, &near, &Silent)?;
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
    Ok(started.elapsed())
}
