//! Command `cargo xtask bundle-sources`.

use camino::Utf8Path;
use netboot_loaders::base::process::quoted;
use netboot_loaders::build_loaders::{self, Config, fetch};
use netboot_loaders::config::sites::Options;
use netboot_loaders::fetch::source_bundle::{self, BundleInputs};
use serde_json::json;

use crate::cli::OriginArgs;
use crate::exit::Failure;
use crate::host::{Host, absolute};
use crate::program::{PUBLISHED, name};
use crate::ui::size;

pub(super) fn run(out: Option<&Utf8Path>, origins: &OriginArgs, host: &Host<'_>) -> Result<(), Failure> {
    let pins = Config::read(&host.project, &Options::default(), host.ui)?.pins;
    let cache = host.cache()?;
    fetch(&pins, &cache, &host.origins(origins)?, host.ui)?;
    let path = out.map_or_else(|| Ok(host.project.default_bundle(env!("CARGO_PKG_VERSION"))), absolute)?;
    let (sha256, bytes) = source_bundle::write(
        BundleInputs { project: &host.project, pins: &pins, cache: &cache },
        &path,
        &PUBLISHED,
        host.ui,
    )
    .map_err(build_loaders::Error::from)?;
    host.ui.result(
        &format!(
            "{sha256}  {}  {path}\nnext: offer it wherever the loaders are offered; `{} build-loaders --offline --sources-from {}` builds from it\n",
            size(bytes),
            name(),
            quoted(path.as_str())
        ),
        json!({ "path": path, "sha256": sha256, "size": bytes }),
    );
    Ok(())
}
