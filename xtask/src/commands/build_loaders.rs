//! Command `cargo xtask build-loaders`.

use netboot_loaders::base::plural::count;
use netboot_loaders::base::process::quoted;
use std::fmt::Write as _;
use std::time::{Instant, SystemTime};

use netboot_loaders::base::fs;
use netboot_loaders::base::parallel::detached_on_cancel;
use netboot_loaders::base::paths::{index_of, is_linked_list};
use netboot_loaders::base::progress::Progress as _;
use netboot_loaders::build_loaders::{BuildOutcome, BuildRequest, Config, Error, build_loaders};
use netboot_loaders::config::network::{self, NetworkConfig};
use netboot_loaders::config::sites::{Options, Sites};
use netboot_loaders::publish::exchange::Published;
use netboot_loaders::serve::boot_order::BootOrder;
use netboot_loaders::serve::boot_policy::BootPolicy;
use netboot_loaders::serve::index_page::Index;
use netboot_loaders::serve::server_config::ServerKind;
use netboot_loaders::serve::{index_page, server_config};
use netboot_loaders::tree::manifest::ManifestEntry;
use serde_json::{Value, json};

use super::install;
use crate::cli::BuildLoaders;
use crate::exit::Failure;
use crate::host::{Host, absolute};
use crate::program::{PUBLISHED, name};
use crate::ui::size;

pub(super) fn run(args: &BuildLoaders, host: &Host<'_>) -> Result<(), Failure> {
    let started = Instant::now();
    let config = Config::read(&host.project, &Options::from(&args.config), host.ui)?;
    config.sites.ended_certificates(SystemTime::now()).into_iter().for_each(|warning| host.ui.warn(warning));
    if args.install_deps {
        install::missing(&config.needs(), host)?;
    }
    let secure_boot = config.sites.secure_boot.clone();
    let cache = host.cache()?;
    let recipes = if args.index { recipes(&config.sites, host)? } else { Vec::new() };
    let order = BootOrder::new(&config.sites);
    let references = config.references.clone();
    let plan = config.plan(&host.path, &cache, host.ui)?;
    if args.plan {
        host.ui.answer(&plan.to_string(), json!({ "plan": plan.to_string() }));
        return Ok(());
    }
    let tree = args.out.as_deref().map_or_else(|| Ok(host.project.default_tree()), absolute)?;
    let origins = host.origins(&args.origins)?;
    let settings = host.settings(&args.make)?;
    let signer = host.signer(secure_boot.as_ref(), plan.inputs.pins.ipxe.epoch, &tree, &cache)?;
    let request = BuildRequest {
        project: &host.project,
        tree: &tree,
        pack: args.archive,
        replace: args.replace,
        update_baseline: args.update_baseline,
        references: &references,
        signer: signer.as_ref(),
    };
    let outcome = build_loaders(&host.context(&plan, &cache, &origins, &settings), &request)?;
    if args.index {
        write_index(&outcome, &order, &recipes, host)?;
    }
    let seconds = started.elapsed().as_secs_f64();
    let is_default = args.out.is_none();
    host.ui.result(&summary(&outcome, seconds, (args.index, is_default)), object(&outcome, seconds));
    Ok(())
}

/// Returns all recipes; none if `network.toml` is missing or not filled in.
fn recipes(sites: &Sites, host: &Host<'_>) -> Result<Vec<(ServerKind, Vec<server_config::ConfigFile>)>, Failure> {
    let (file, sites) = (host.project.network(), sites.clone());
    let written = detached_on_cancel(host.ui, move || {
        let network = NetworkConfig::read(&file, &sites)?;
        let policy = BootPolicy::new(&network, &sites);
        let write = |kind| (kind, index_page::fit(kind, server_config::write(kind, &policy, &PUBLISHED), &PUBLISHED));
        let recipes = ServerKind::ALL.into_iter().map(write).collect();
        Ok(([network.warnings.clone(), policy.missing_scripts()].concat(), recipes))
    });
    match written.ok_or(Error::Cancelled)? {
        Ok((warnings, recipes)) => {
            for warning in warnings {
                host.ui.warn(warning);
            }
            Ok(recipes)
        }
        Err(network::Error::Absent(_) | network::Error::Blank(_)) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// Writes the index page of the tree.
fn write_index(
    outcome: &BuildOutcome,
    order: &BootOrder,
    recipes: &[(ServerKind, Vec<server_config::ConfigFile>)],
    host: &Host<'_>,
) -> Result<(), Failure> {
    let BuildOutcome { tree, published, .. } = outcome;
    let page = index_page::page(&Index {
        version: env!("CARGO_PKG_VERSION"),
        tree: tree.file_name().unwrap_or_default(),
        root: &published.root,
        order,
        sited: published.files - published.root.len(),
        recipes,
    });
    if host.ui.cancelled() {
        return Err(Error::Cancelled.into());
    }
    Ok(fs::write_atomic(&index_of(tree), page.as_bytes())?)
}

/// Describes the result; `is_default` tells whether the tree is where the next commands look for it.
fn summary(outcome: &BuildOutcome, seconds: f64, (with_page, is_default): (bool, bool)) -> String {
    let BuildOutcome { tree, published, made, .. } = outcome;
    let Published { new, files, bytes, stamped, kept, same, root } = published;
    let mut text = if *new {
        format!("built {tree} in {seconds:.1} s: ")
    } else {
        format!("{tree} is up to date, checked in {seconds:.1} s: ")
    };
    let _ = write!(
        text,
        "{}, {}; {} made, {} stamped, {kept} kept",
        count(*files, "file"),
        size(*bytes),
        count(*made, "base"),
        count(*stamped, "loader")
    );
    if *same > 0 {
        let _ = write!(text, ", {} to others", count(*same, "hard link"));
    }
    text.push('\n');
    // The files of sites, of which there can be thousands, are counted instead of listed.
    let (lists, named): (Vec<&ManifestEntry>, Vec<&ManifestEntry>) =
        root.iter().partition(|file| is_linked_list(&file.path));
    for file in named {
        // As sha256sum has it, so that a terminal of 80 columns shows it whole.
        let _ = writeln!(text, "{}  {}", file.sha256, file.path);
    }
    let sited = files - root.len();
    if sited > 0 {
        let _ = writeln!(text, "and {} for sites below sites/", count(sited, "file"));
    }
    let _ = writeln!(text, "and {} of linked objects below linked-objects/", count(lists.len(), "list"));
    for known in outcome.recognised.iter().filter(|known| known.different.is_empty()) {
        let paths = known.same.iter().map(|path| path.as_str()).collect::<Vec<_>>().join(", ");
        let _ = writeln!(text, "{paths}: match the reference build for {}", known.name);
    }
    if let Some((path, digest, bytes)) = &outcome.archive {
        let _ = writeln!(text, "{digest}  {path} ({})", size(*bytes));
    }
    if with_page {
        let _ = writeln!(text, "page: {}", index_of(tree));
    }
    let (test, deploy) = if is_default {
        (String::new(), String::new())
    } else {
        let tree = quoted(outcome.tree.as_str());
        (format!(" {tree}"), format!(" --tree {tree}"))
    };
    let _ = writeln!(text, "next: `{name} boot-test{test}`, then `{name} deploy{deploy} TARGET`", name = name());
    text
}

fn object(outcome: &BuildOutcome, seconds: f64) -> Value {
    let Published { new, files, bytes, stamped, kept, same, root } = &outcome.published;
    json!({
        "tree": outcome.tree,
        "published": new,
        "bases-made": outcome.made,
        "loaders-stamped": stamped,
        "loaders-kept": kept,
        "hard-links": same,
        "seconds": seconds,
        "files": files,
        "bytes": bytes,
        "root": root,
        "archive": outcome.archive.as_ref().map(|(path, sha256, bytes)| json!({ "path": path, "sha256": sha256, "size": bytes })),
    })
}
