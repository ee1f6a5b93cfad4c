//! `cargo xtask doctor`

use std::fmt::Write as _;

use netboot_loaders::boot_test::kit::search_path;
use netboot_loaders::boot_test::namespace::Namespace;
use netboot_loaders::build_loaders::{self, Choices};
use netboot_loaders::choices::sites::Options;
use netboot_loaders::progress::Muted;
use netboot_loaders::toolchain::install_lines;
use netboot_loaders::toolchain::needs::{self, Need};
use netboot_loaders::toolchain::probe::Status;
use serde_json::json;

use super::{install, prepare};
use crate::cli::{Doctor, Work};
use crate::exit::{Failure, MISSING_TOOL};
use crate::host::Host;

pub(super) fn run(args: &Doctor, host: &Host<'_>) -> Result<(), Failure> {
    // Whether certificates are embedded is known only once the choices can be read.
    let trust =
        Choices::read(&host.project, &Options::default(), &Muted(host.ui)).is_ok_and(|choices| choices.has_trust());
    let needs = match args.work {
        Work::Build => needs::build(trust),
        Work::BootTest => needs::boot_test(),
        Work::Reproduce => [needs::build(trust), needs::variations()].concat(),
        Work::Mirror => vec![needs::GPGV],
        Work::Deploy => needs::deploy(),
        Work::Check => needs::check(trust),
    };
    let path = search_path(&host.path);
    let prepared = || if args.prepare_host { prepare::run(host) } else { Ok(()) };
    prepared()?;
    if args.install_deps {
        install::missing(&needs, host)?;
        // For a kernel that has just come.
        prepared()?;
    }
    let cache = host.cache()?;
    let statuses = needs.iter().map(|need| need.probe(&path, &cache, host.ui)).collect::<Result<Vec<Status>, _>>();
    let statuses = statuses.map_err(build_loaders::Error::from)?;
    let unmet: Vec<&Need> =
        needs.iter().zip(&statuses).filter(|(_, status)| status.complaint().is_some()).map(|(need, _)| need).collect();
    let tools: Vec<_> = needs
        .iter()
        .zip(&statuses)
        .map(|(need, status)| json!({ "name": need.name, "purpose": need.purpose, "found": status_text(status), "ok": status.complaint().is_none() }))
        .collect();
    let next = match args.work {
        Work::BootTest => "all tools are there\nnext: cargo xtask boot-test\n",
        Work::Reproduce => "all tools are there\nnext: cargo xtask reproduce\n",
        Work::Deploy => "all tools are there\nnext: cargo xtask deploy --dry-run TARGET\n",
        Work::Build => "everything is there\nnext: cargo xtask build-loaders\n",
        Work::Mirror => "everything is there\nnext: cargo xtask mirror\n",
        Work::Check => "everything is there\nnext: cargo xtask check\n",
    };
    let outcome = if unmet.is_empty() { next } else { "" };
    host.ui.result(&format!("{}{outcome}", table(&needs, &statuses)), json!({ "tools": tools }));
    if unmet.is_empty() {
        // All that is left is what the system has to allow; this process has nothing to do afterwards.
        return if args.work == Work::BootTest { Ok(Namespace::enter().map(drop)?) } else { Ok(()) };
    }
    let names: Vec<String> = unmet.iter().map(|need| format!("`{}`", need.name)).collect();
    let text = format!(
        "found no usable {}\nhint: {}\nhint: or run `cargo xtask doctor{} --install-deps`",
        names.join(", "),
        install_lines(&unmet, &host.path),
        match args.work {
            Work::Build => "",
            Work::BootTest => " --for boot-test",
            Work::Reproduce => " --for reproduce",
            Work::Mirror => " --for mirror",
            Work::Deploy => " --for deploy",
            Work::Check => " --for check",
        },
    );
    Err(Failure::new(MISSING_TOOL, &text))
}

fn table(needs: &[Need], statuses: &[Status]) -> String {
    let mut text = String::new();
    for (need, status) in needs.iter().zip(statuses) {
        let mark = if status.complaint().is_none() { "ok" } else { "MISSING" };
        let _ = writeln!(text, "{mark:<8} {:<14} {:<52} {}", need.name, status_text(status), need.purpose);
    }
    text
}

fn status_text(status: &Status) -> String {
    match status {
        Status::Found(tool) => tool.version.clone(),
        other => other.complaint().unwrap_or_default(),
    }
}
