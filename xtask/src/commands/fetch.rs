//! Command `cargo xtask fetch`.

use netboot_loaders::base::plural::count;
use netboot_loaders::build_loaders::{Config, fetch};
use netboot_loaders::config::sites::Options;
use netboot_loaders::fetch::syslinux::archive_record;
use serde_json::json;

use crate::cli::OriginArgs;
use crate::exit::Failure;
use crate::host::Host;
use crate::program::name;

pub(super) fn run(args: &OriginArgs, host: &Host<'_>) -> Result<(), Failure> {
    let config = Config::read(&host.project, &Options::default(), host.ui)?;
    let cache = host.cache()?;
    fetch(&config.pins, &cache, &host.origins(args)?, host.ui)?;
    let (ipxe, syslinux) = (&config.pins.ipxe, &config.pins.syslinux);
    let seen = archive_record(&cache, &syslinux.version);
    let found =
        seen.as_ref().map(|seen| format!("found in {}, SHA-256 {}\n", seen.name, seen.sha256)).unwrap_or_default();
    host.ui.result(
        &format!(
            "iPXE {} ({}) and {} of syslinux {} are in {}, as pinned\n{found}next: {} build-loaders --offline\n",
            ipxe.version,
            ipxe.commit,
            count(syslinux.members.len(), "file"),
            syslinux.version,
            cache.root(),
            name()
        ),
        json!({ "cache": cache.root(), "ipxe": ipxe.commit, "syslinux": syslinux.version, "syslinux-archive": seen }),
    );
    Ok(())
}
