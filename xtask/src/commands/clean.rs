//! Command `cargo xtask clean`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use camino::Utf8Path;
use netboot_loaders::base::fs::{self, Lock};
use netboot_loaders::base::paths::Cache;
use netboot_loaders::base::plural::count;
use netboot_loaders::base::progress::{Muted, Progress};
use netboot_loaders::build::plan::Plan;
use netboot_loaders::build_loaders::Config;
use netboot_loaders::clean::{self, CacheItemKind, CacheScan, CleanRequest, Fate, Item};
use netboot_loaders::config::pins::Pins;
use netboot_loaders::config::sites::Options;
use netboot_loaders::printable::printable;
use serde_json::{Value, json};

use crate::cli::Clean;
use crate::exit::Failure;
use crate::host::{Host, own_command_without, temporary_folder};
use crate::program::name;
use crate::ui::size;
use netboot_loaders::base::diagnostic::{Class, Diagnose, Diagnostic};

/// Maximum number of foreign paths to list; `--message-format json` has all.
const NAMED: usize = 20;
const DAY: u64 = 24 * 60 * 60;

pub(super) fn run(args: &Clean, host: &Host<'_>) -> Result<(), Failure> {
    let folder = host.cache_folder()?;
    let cache = Cache::new(folder.canonicalize_utf8().unwrap_or(folder));
    let exists = fs::exists(cache.root())?;
    let shared = exists && !host.is_users_cache() && !clean::is_tagged(&cache)?;
    if shared {
        host.ui.warn(left_alone(&cache));
    }
    let looked_at = exists && !shared;
    // A dry run does not need to wait.
    let _lock = if args.dry_run || !looked_at { None } else { Some(alone(&cache, host)?) };
    let (pins, plan) = if looked_at { needed(args, &cache, host)? } else { (None, None) };
    let temporary = temporary_folder()?;
    let request = CleanRequest {
        cache: &cache,
        shared,
        project: &host.project,
        temporary: &temporary,
        pins: pins.as_ref(),
        plan: plan.as_ref(),
        unused_for: Duration::from_secs(u64::from(args.unused_for) * DAY),
        now: SystemTime::now(),
        progress: host.ui,
    };
    let scan = clean::scan(&request)?;
    let failed = if args.dry_run { Vec::new() } else { clean::remove(&scan, &cache, host.ui)? };
    let failures: BTreeMap<&Utf8Path, &Item> = failed.iter().map(|(item, _)| (item.path.as_path(), item)).collect();
    let text = text(args, &scan, &failures);
    // The object has every path, and only programs receive it.
    let object = if host.ui.speaks_json() { object(args, &scan, &failures, shared) } else { Value::Null };
    if args.dry_run {
        host.ui.answer(&text, object);
    } else {
        host.ui.result(&text, object);
    }
    let Some((_, first)) = failed.first() else { return Ok(()) };
    let mut failure = Failure::of(first, first.diagnosis());
    if failed.len() > 1 {
        let _ = write!(failure.message, "\nand {} more could not be removed", failed.len() - 1);
    }
    Err(failure)
}

fn left_alone(cache: &Cache) -> Diagnostic {
    Diagnostic::new(format!(
        "nothing is removed from `{}`: it was not empty when this tool began to use it, so that others may have files in it",
        printable(cache.root())
    ))
    .help("choose an empty folder with `--cache-dir`, and remove by hand what is in this one")
}

/// Waits until no other process uses the cache.
fn alone(cache: &Cache, host: &Host<'_>) -> Result<Lock, Failure> {
    let lock = Lock::acquire(&cache.use_lock(), host.ui)?;
    lock.ok_or_else(|| {
        Failure::new(Class::Interrupted, "interrupted while waiting for another process to be done with the cache")
    })
}

/// Returns the pins and the plan of the project, as far as they can be read.
fn needed(args: &Clean, cache: &Cache, host: &Host<'_>) -> Result<(Option<Pins>, Option<Plan>), Failure> {
    let pins = Pins::read(&host.project);
    let plan = Config::read(&host.project, &Options::from(&args.config), &Muted(host.ui))
        .map_err(Failure::from)
        .and_then(|config| Ok(config.plan(&host.path, cache, &Muted(host.ui))?));
    if host.ui.cancelled() {
        return Err(Failure::new(Class::Interrupted, "interrupted"));
    }
    if let Err(failure) = &plan {
        let stay = if pins.is_ok() { "bases and build trees" } else { "sources, bases and build trees" };
        let why = failure.message.lines().next().unwrap_or_default();
        let message = format!("all {stay} stay, since it cannot be told which of them this project needs: {why}");
        host.ui.warn(Diagnostic::new(message).help(format!("see what `{} build-loaders --plan` says", name())));
    }
    Ok((pins.ok(), plan.ok()))
}

fn sum<'i>(items: impl Iterator<Item = &'i Item> + Clone) -> (usize, u64) {
    (items.clone().count(), items.map(|item| item.bytes).sum())
}

/// Lists what is removed and what is kept, for people.
fn text(args: &Clean, scan: &CacheScan, failures: &BTreeMap<&Utf8Path, &Item>) -> String {
    let gone = || scan.unused().filter(|item| !failures.contains_key(item.path.as_path()));
    let mut text = String::new();
    for kind in CacheItemKind::ALL {
        let (number, bytes) = sum(gone().filter(|item| item.kind == kind));
        if number > 0 {
            let _ = writeln!(text, "  {:<20} {:>12}", count(number, kind.noun()), size(bytes));
        }
    }
    for leftover in gone().filter(|item| item.kind == CacheItemKind::Leftover).take(NAMED) {
        let _ = writeln!(text, "    {}", printable(&leftover.path));
    }
    let (number, bytes) = sum(gone());
    let done = if args.dry_run { "would be removed" } else { "removed" };
    let heading = match number {
        0 => "nothing to remove\n".to_owned(),
        _ => format!("{done}: {}\n", size(bytes)),
    };
    text.insert_str(0, &heading);
    for (fate, why) in [
        (Fate::Needed, "needed by this project".to_owned()),
        (Fate::Recent, recent(args)),
        (Fate::Changing, "changed within the last hour: a run may be writing it; run this again later".to_owned()),
        (Fate::Busy, "in use by a process".to_owned()),
    ] {
        text += &kept(scan, fate, &why);
    }
    for path in scan.foreign.iter().take(NAMED) {
        let _ = writeln!(text, "left alone: `{}`, which this tool did not make", printable(path));
    }
    let more = scan.foreign.len().saturating_sub(NAMED);
    if more > 0 {
        let _ = writeln!(text, "left alone: {more} more");
    }
    if args.dry_run && number > 0 {
        let next = own_command_without("--dry-run");
        let _ = writeln!(text, "nothing is removed because of --dry-run\nnext: {next}");
    }
    text
}

fn recent(args: &Clean) -> String {
    format!(
        "used in the last {}, perhaps by another project (`--unused-for 0` removes what is in the cache)",
        if args.unused_for == 1 { "day".to_owned() } else { count(args.unused_for, "day") }
    )
}

/// Returns a line about the items that are kept for the reason `fate`.
fn kept(scan: &CacheScan, fate: Fate, why: &str) -> String {
    let items = || scan.items.iter().filter(|item| item.fate == fate);
    let (number, bytes) = sum(items());
    if number == 0 {
        return String::new();
    }
    let kinds = CacheItemKind::ALL.into_iter().filter_map(|kind| {
        let number = items().filter(|item| item.kind == kind).count();
        (number > 0).then(|| count(number, kind.noun()))
    });
    format!("kept: {} ({}): {why}\n", kinds.collect::<Vec<_>>().join(", "), size(bytes))
}

fn object(args: &Clean, scan: &CacheScan, failures: &BTreeMap<&Utf8Path, &Item>, shared: bool) -> Value {
    let (number, bytes) = sum(scan.unused().filter(|item| !failures.contains_key(item.path.as_path())));
    let removed = if args.dry_run { 0 } else { number };
    json!({
        "dry-run": args.dry_run,
        "unused": number,
        "unused-bytes": bytes,
        "removed": removed,
        "removed-bytes": if args.dry_run { 0 } else { bytes },
        "items": scan.items,
        "failed": failures.values().collect::<Vec<_>>(),
        "foreign": scan.foreign,
        "shared": shared,
    })
}
