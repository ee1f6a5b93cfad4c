//! Command `cargo xtask doctor`.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use netboot_loaders::base::progress::Muted;
use netboot_loaders::boot_test::namespace::{self, Namespace};
use netboot_loaders::boot_test::tools::search_path;
use netboot_loaders::build_loaders::{self, Config};
use netboot_loaders::config::sites::Options;
use netboot_loaders::loader::target::Platform;
use netboot_loaders::toolchain::install_lines;
use netboot_loaders::toolchain::need::Need;
use netboot_loaders::toolchain::needs;
use netboot_loaders::toolchain::probe::ProbeStatus;
use serde_json::json;

use super::{install, prepare};
use crate::cli::{Doctor, DoctorPurpose};
use crate::exit::Failure;
use crate::host::Host;
use crate::program::name;
use netboot_loaders::base::diagnostic::Class;

pub(super) fn run(args: &Doctor, host: &Host<'_>) -> Result<(), Failure> {
    let needs = needs_of(args.work, host);
    let path = search_path(&host.path);
    let prepared = || if args.prepare_host { prepare::run(host) } else { Ok(()) };
    prepared()?;
    if args.install_deps {
        install::missing(&needs, host)?;
        // For a kernel that was just installed.
        prepared()?;
    }
    let cache = host.cache()?;
    let statuses = needs.iter().map(|need| need.probe(&path, &cache, host.ui)).collect::<Result<Vec<ProbeStatus>, _>>();
    let statuses = statuses.map_err(build_loaders::Error::from)?;
    let unmet: Vec<&Need> =
        needs.iter().zip(&statuses).filter(|(_, status)| status.complaint().is_some()).map(|(need, _)| need).collect();
    let mut rows: Vec<Row> = needs.iter().zip(&statuses).map(Row::of_need).collect();
    // Besides tools, boot tests need the system's permission. This process does no other work afterwards.
    let system = if args.work == DoctorPurpose::BootTest { Namespace::enter().map(drop) } else { Ok(()) };
    if args.work == DoctorPurpose::BootTest {
        rows.extend(Row::of_system(&system));
    }
    let tools: Vec<_> = rows
        .iter()
        .map(|row| json!({ "name": row.name, "purpose": row.purpose, "found": row.found, "ok": row.ok }))
        .collect();
    let outcome = if rows.iter().all(|row| row.ok) { next(args.work) } else { String::new() };
    host.ui.result(&format!("{}{outcome}", table(&rows)), json!({ "tools": tools }));
    if unmet.is_empty() {
        return Ok(system?);
    }
    let names: Vec<String> = unmet.iter().map(|need| format!("`{}`", need.name)).collect();
    let text = format!("found no usable {}", names.join(", "));
    let install = format!(
        "run `{} doctor{} --install-deps`",
        name(),
        match args.work {
            DoctorPurpose::Build => "",
            DoctorPurpose::BootTest => " --for boot-test",
            DoctorPurpose::Reproduce => " --for reproduce",
            DoctorPurpose::Mirror => " --for mirror",
            DoctorPurpose::Deploy => " --for deploy",
            DoctorPurpose::Check => " --for check",
        },
    );
    let lines = install_lines(&unmet, &host.path).into_iter().chain([install]);
    Err(lines.fold(Failure::new(Class::MissingTool, text), Failure::help))
}

/// Returns the needs of `work` in this project.
fn needs_of(work: DoctorPurpose, host: &Host<'_>) -> Vec<Need> {
    // The configuration decides for which CPUs loaders are compiled, whether certificates are embedded, and what signs; if
    // it cannot be read, the host's own compiler will do.
    let config = Config::read(&host.project, &Options::default(), &Muted(host.ui)).ok();
    let scope = config.as_ref().map(Config::build_scope).unwrap_or_default();
    match work {
        DoctorPurpose::Build => config.map_or_else(|| needs::build(&scope), |config| config.needs()),
        DoctorPurpose::BootTest => {
            let platforms: BTreeSet<Platform> = config.iter().flat_map(Config::platforms).collect();
            let others = platforms.into_iter().filter_map(needs::other_machine).flatten();
            needs::boot_test().into_iter().chain(others.filter(|need| need.name != "qemu")).collect()
        }
        DoctorPurpose::Reproduce => [needs::build(&scope), needs::variations()].concat(),
        DoctorPurpose::Mirror => vec![needs::GPGV],
        DoctorPurpose::Deploy => needs::deploy(),
        DoctorPurpose::Check => needs::check(),
    }
}

/// Returns the next step if nothing is missing.
fn next(work: DoctorPurpose) -> String {
    let command = match work {
        DoctorPurpose::BootTest => "boot-test",
        DoctorPurpose::Reproduce => "reproduce",
        DoctorPurpose::Deploy => "deploy --dry-run TARGET",
        DoctorPurpose::Build => "build-loaders",
        DoctorPurpose::Mirror => "mirror",
        DoctorPurpose::Check => "check",
    };
    format!("everything is there\nnext: {} {command}\n", name())
}

/// Row of the table.
struct Row {
    name: &'static str,
    purpose: &'static str,
    found: String,
    ok: bool,
}

impl Row {
    fn of_need((need, status): (&Need, &ProbeStatus)) -> Self {
        let complaint = status.complaint();
        let ok = complaint.is_none();
        let found = match status {
            ProbeStatus::Found(tool) => tool.version.clone(),
            _ => complaint.unwrap_or_default(),
        };
        Self { name: need.name, purpose: need.purpose, found, ok }
    }

    /// Returns what a boot test needs from the system. `entered` is the result of entering its own network namespace.
    fn of_system(entered: &Result<(), namespace::Error>) -> [Self; 2] {
        let apart = !matches!(entered, Err(namespace::Error::Forbidden { .. }));
        let tun = if apart { entered.is_ok() } else { namespace::usable().is_ok() };
        let found = |ok, verb: &str| format!("{} be {verb}", if ok { "can" } else { "cannot" });
        [
            Self { name: "namespaces", purpose: "keep its network apart", found: found(apart, "made"), ok: apart },
            Self { name: "/dev/net/tun", purpose: "carries its network cards", found: found(tun, "used"), ok: tun },
        ]
    }
}

/// Renders each row as one line, or as two lines if it is wider than 80 columns.
fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    for Row { name, purpose, found, ok } in rows {
        let mark = if *ok { "ok" } else { "MISSING" };
        let line = format!("{mark:<8} {name:<14} {purpose}");
        let both = format!("{line}: {found}");
        let fits = both.chars().count() <= 80;
        let _ = if fits { writeln!(text, "{both}") } else { writeln!(text, "{line}\n{:<24}{found}", "") };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_is_too_long_takes_two_lines() {
        let long = "Dnsmasq version 2.90  Copyright (c) 2000-2024 Simon Kelley".to_owned();
        let row = |found: String, ok| Row { name: "dnsmasq", purpose: "answers", found, ok };
        let text = table(&[row(long, true), row("é".to_owned(), false)]);
        let wanted = "ok       dnsmasq        answers\n                        Dnsmasq version 2.90  Copyright (c) 2000-2024 \
                      Simon Kelley\nMISSING  dnsmasq        answers: é\n";
        assert_eq!(text, wanted);
    }

    #[test]
    fn what_the_system_allows_has_lines_of_its_own() {
        let rendered = |entered| table(&Row::of_system(&entered));
        let both = "ok       namespaces     keep its network apart: can be made\n\
                    ok       /dev/net/tun   carries its network cards: can be used\n";
        assert_eq!(rendered(Ok(())), both);
        let without = rendered(Err(namespace::Error::NoTun(std::io::ErrorKind::NotFound.into())));
        assert!(
            without.starts_with("ok       namespaces ")
                && without.contains("\nMISSING  /dev/net/tun   carries its network cards: cannot be used")
        );
        let forbidden = namespace::Error::Forbidden { reason: "x".into(), remedy: "y" };
        assert!(rendered(Err(forbidden)).starts_with("MISSING  namespaces     keep its network apart: cannot be made"));
    }
}
