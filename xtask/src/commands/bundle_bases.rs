//! Command `cargo xtask bundle-bases`.

use netboot_loaders::base::plural::count;
use netboot_loaders::base::process::quoted;
use std::fmt::Write as _;

use camino::Utf8Path;
use netboot_loaders::build_loaders::Config;
use netboot_loaders::bundle_bases::{BundleOutcome, bundle_bases};
use netboot_loaders::config::sites::Options;
use netboot_loaders::stamp::bundle::IpxeIdentity;
use netboot_loaders::toolchain::needs;
use serde_json::{Value, json};

use super::install;
use crate::cli::BundleBases;
use crate::exit::Failure;
use crate::host::{Host, absolute};
use crate::ui::size;

pub(super) fn run(args: &BundleBases, host: &Host<'_>) -> Result<(), Failure> {
    let config = Config::read(&host.project, &Options::from(&args.config), host.ui)?;
    if args.install_deps {
        install::missing(&needs::build(&config.build_scope()), host)?;
    }
    let cache = host.cache()?;
    let plan = config.plan(&host.path, &cache, host.ui)?;
    let out = || Ok(host.project.default_bases(env!("CARGO_PKG_VERSION")));
    let path = args.out.as_deref().map_or_else(out, absolute)?;
    let (origins, settings) = (host.origins(&args.origins)?, host.settings(&args.make)?);
    let context = host.context(&plan, &cache, &origins, &settings);
    let outcome = bundle_bases(&context, &host.project, &path)?;
    host.ui.result(&summary(&path, &outcome), object(&path, &outcome));
    Ok(())
}

fn summary(path: &Utf8Path, outcome: &BundleOutcome) -> String {
    let BundleOutcome { bundle, sha256, size: bytes, made } = outcome;
    let IpxeIdentity { version, commit } = bundle.ipxe();
    let mut text = format!(
        "{sha256}  {}  {path}\niPXE {version} at commit {commit}; {} made\n",
        size(*bytes),
        count(*made, "base")
    );
    for (configuration, base) in bundle.bases() {
        let (loader, slot) = (&base.record().loader, base.slot_size());
        let _ = writeln!(text, "  {loader}, configuration `{configuration}`, with a slot of {slot} bytes");
    }
    let _ = writeln!(
        text,
        "next: `cargo run --release -p netboot_stamp --example stamp_server -- {}` stamps each loader when it is asked for",
        quoted(path.as_str())
    );
    text
}

fn object(path: &Utf8Path, outcome: &BundleOutcome) -> Value {
    let BundleOutcome { bundle, sha256, size, made } = outcome;
    let bases = bundle.bases().map(|(configuration, base)| {
        json!({ "configuration": configuration, "loader": base.record().loader, "slot": base.slot_size() })
    });
    json!({
        "path": path,
        "sha256": sha256,
        "size": size,
        "ipxe": bundle.ipxe(),
        "bases-made": made,
        "bases": bases.collect::<Vec<_>>(),
    })
}
