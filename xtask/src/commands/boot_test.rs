//! Command `cargo xtask boot-test`.

use netboot_loaders::base::plural::count;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use netboot_loaders::base::fs;
use netboot_loaders::base::parallel::detached_on_cancel;
use netboot_loaders::base::paths::report_html;
use netboot_loaders::base::progress::{Muted, Progress};
use netboot_loaders::boot_test::case::{BootSource, Case, Intent};
use netboot_loaders::boot_test::daemon::{Daemon, WebServer};
use netboot_loaders::boot_test::expected_console::expectation;
use netboot_loaders::boot_test::loaders;
use netboot_loaders::boot_test::machine::Accelerator;
use netboot_loaders::boot_test::namespace::Namespace;
use netboot_loaders::boot_test::network::{DhcpSetup, HttpSetup, MAC, TestNetwork, Tls};
use netboot_loaders::boot_test::phase::Phase;
use netboot_loaders::boot_test::report::json::{BootReport, CaseOutcome, CaseReport, first_line, to_seconds};
use netboot_loaders::boot_test::secure_tools::SecureMachines;
use netboot_loaders::boot_test::selection::Selection;
use netboot_loaders::boot_test::tools::{self, GuestImages, TestTools};
use netboot_loaders::boot_test::web::nginx::SERVED;
use netboot_loaders::boot_test::{self, BootTestRequest};
use netboot_loaders::build_loaders::{self, Config};
use netboot_loaders::config::network;
use netboot_loaders::config::sites::{Options, Sites};
use netboot_loaders::loader::target::Platform;
use netboot_loaders::printable::printable;
use netboot_loaders::serve::boot_policy::BootPolicy;
use netboot_loaders::serve::server_config;
use netboot_loaders::serve::server_config::ServerKind;
use netboot_loaders::toolchain::needs;
use netboot_loaders::tree::open::CheckedTree;
use serde_json::json;

use super::{guests, install};
use crate::cli::BootTest;
use crate::exit::Failure;
use crate::host::{Host, absolute, processors, temporary_folder};
use crate::program::PUBLISHED;
use netboot_loaders::base::diagnostic::{Class, Diagnose, Diagnostic, Flag, Page};

pub(super) fn run(args: &BootTest, host: &Host<'_>) -> Result<(), Failure> {
    let path = host.tree(args.path.as_deref())?;
    let config = Config::read(&host.project, &Options::from(&args.config), &Muted(host.ui));
    let intent = intent(&config, args, host);
    let selection = Selection {
        loaders: args.loaders.clone(),
        sites: args.sites.clone(),
        cases: args.cases.clone(),
        sample: Some(args.sample),
        two_cards: args.cards > 1,
        nic: args.nic,
        http_boot: args.http_boot || args.cases.iter().any(|case| case.ends_with(BootSource::HTTP)),
    };
    let mut network = match &args.network {
        None => TestNetwork::default(),
        Some(file) => described(file, args, &config?.sites, host)?,
    };
    network.tls = tls(args.tls_certificate.as_deref(), args.tls_key.as_deref())?;
    if args.install_deps {
        install::missing(&[needs::boot_test(), tools::servers(&network)].concat(), host)?;
    }
    let scratch = temporary_folder()?;
    let tree = CheckedTree::open(&path, &scratch, host.ui)?;
    if let Some(warning) = loaders::skipped(&tree) {
        host.ui.warn(warning);
    }
    let cases = boot_test::plan(&tree, &intent, &selection)?;
    if args.list {
        list(&cases, &network, host);
        return Ok(());
    }
    let tools = tools_for(&cases, args, &network, host)?;
    let secure = secure_machines(&cases, args, &tools, host)?;
    // From here on, this process has a network of its own and no access to any other.
    let namespace = Namespace::enter()?;
    let report = args.report.as_deref().map_or_else(|| Ok(host.project.default_report()), absolute)?;
    let request = BootTestRequest {
        tools: &tools,
        secure: &secure,
        network,
        selection: &selection,
        intent: &intent,
        jobs: args.jobs.map_or_else(processors, usize::from),
        accelerator: if args.kvm { Accelerator::Kvm } else { Accelerator::Tcg },
        deadline: Duration::from_secs(args.deadline),
        attempts: args.attempts,
        processors: processors(),
        append: &args.append,
        clock: args.clock,
        report: &report,
        scratch: &scratch,
    };
    let done = boot_test::run(&tree, &request, &namespace, host.ui)?;
    warn_of_sites(&tree, &selection, args.sample, host);
    let page = report_html(&report);
    host.ui.result(&format!("{}report: {page}\n", table(&done)), json!({ "report": page, "boot-test": done }));
    verdict(&done, &report, args.require_real)
}

/// Finds the tools for `cases`, and installs them on request. Warns about machines that cannot be tried.
fn tools_for(cases: &[Case], args: &BootTest, network: &TestNetwork, host: &Host<'_>) -> Result<TestTools, Failure> {
    let platforms: BTreeSet<Platform> = cases.iter().map(|case| case.loader.platform).collect();
    let files = |files: &[Utf8PathBuf]| files.iter().map(|file| absolute(file)).collect::<Result<Vec<_>, _>>();
    let images = GuestImages::of(&files(&args.kernels)?, &files(&args.userlands)?);
    let images = images.map_err(|problem| Failure::new(Class::BadInput, problem))?;
    if let Some((file, arch)) = images.unneeded(&platforms) {
        let text = format!("`{}` is for {arch}, and no machine of these cases has such a CPU", printable(file));
        return Err(Failure::new(Class::BadInput, text).help("leave it out, or choose other cases"));
    }
    if args.install_deps {
        let others = platforms.iter().filter_map(|platform| needs::other_machine(*platform));
        install::missing(&others.flatten().collect::<Vec<_>>(), host)?;
        for platform in platforms.iter().filter(|platform| needs::other_machine(**platform).is_some()) {
            if !images.are_complete(platform.arch()) {
                guests::unpack(platform.arch(), &host.cache()?, host)?;
            }
        }
    }
    let tools = TestTools::find(&host.path, (&platforms, &images), network, &host.cache()?, host.ui);
    let tools = tools.map_err(build_loaders::Error::from)?;
    for platform in platforms.iter().filter(|platform| needs::other_machine(**platform).is_some()) {
        if let Err(lacking) = tools.machine(*platform) {
            let warning = Diagnostic::new(format!("machines with {} cannot be tried: {lacking}", platform.words()));
            host.ui.warn(
                warning.help(Flag::InstallDeps).help("name a kernel and a userland with `--kernel` and `--userland`"),
            );
        }
    }
    Ok(tools)
}

/// Finds what the `cases` with Secure Boot need, and installs it on request. What is lacking is said where a case is
/// skipped.
fn secure_machines(
    cases: &[Case],
    args: &BootTest,
    tools: &TestTools,
    host: &Host<'_>,
) -> Result<SecureMachines, Failure> {
    let secure = cases.iter().filter(|case| case.secure_boot.is_some());
    let platforms: BTreeSet<Platform> = secure.map(|case| case.loader.platform).collect();
    if args.install_deps {
        let firmware = platforms.iter().filter_map(|platform| needs::secure_firmware(*platform));
        let shim = cases.iter().filter(|case| case.needs_shim()).find_map(|case| needs::shim(case.loader.platform));
        install::missing(&firmware.chain(shim).collect::<Vec<_>>(), host)?;
    }
    let found = SecureMachines::find(&host.path, &platforms, tools, &host.cache()?, host.ui);
    Ok(found.map_err(build_loaders::Error::from)?)
}

/// Returns where loaders should boot from, as far as the project defines it.
fn intent(config: &Result<Config, build_loaders::Error>, args: &BootTest, host: &Host<'_>) -> Intent {
    match config {
        Ok(config) => Intent::new(&config.sites, args.chain_to.clone()),
        Err(error) => {
            let message = format!("the project does not define where loaders boot from\n{error}");
            host.ui.warn(Diagnostic { help: error.diagnosis().help, ..Diagnostic::new(message) });
            Intent { addresses: args.chain_to.clone(), ..Intent::default() }
        }
    }
}

/// Returns the certificate and the key of web servers that use TLS.
pub(super) fn tls(certificate: Option<&Utf8Path>, key: Option<&Utf8Path>) -> Result<Option<Tls>, Failure> {
    let (Some(certificate), Some(key)) = (certificate, key) else { return Ok(None) };
    let text = |file: &Utf8Path| fs::read(file).map(|content| String::from_utf8_lossy(&content).into_owned());
    Ok(Some(Tls { certificate: text(certificate)?, key: text(key)? }))
}

/// Returns the network described in `file`, with the requested servers.
fn described(file: &Utf8Path, args: &BootTest, sites: &Sites, host: &Host<'_>) -> Result<TestNetwork, Failure> {
    let (place, known) = (file.to_owned(), sites.clone());
    let read = detached_on_cancel(host.ui, move || network::NetworkConfig::read(&place, &known));
    let mut described = read.ok_or(build_loaders::Error::Cancelled)??;
    described.http_root = SERVED.into();
    let policy = BootPolicy::new(&described, sites);
    let of_recipe = |kind| server_config::write(kind, &policy, &PUBLISHED).swap_remove(0).text;
    let http = match args.http {
        Some(server) => HttpSetup::Given(server, of_recipe(server.recipe())),
        None => HttpSetup::Own,
    };
    let dhcp = match (args.dhcp, &args.dhcp_config) {
        (None, _) => DhcpSetup::Own,
        (Some(daemon), None) => DhcpSetup::Given(daemon, of_recipe(daemon.recipe())),
        (Some(daemon), Some(file)) => {
            DhcpSetup::Given(daemon, String::from_utf8_lossy(&fs::read_text(file)?).into_owned())
        }
    };
    let warnings = if args.dhcp.is_some() || args.http.is_some() {
        let of_web = args.http.map_or(ServerKind::Nginx, WebServer::recipe);
        policy.warnings(args.dhcp.map_or(of_web, Daemon::recipe))
    } else {
        policy.missing_scripts()
    };
    for warning in warnings {
        host.ui.warn(warning);
    }
    let mut network = TestNetwork::new(&described, MAC, dhcp, http)?;
    if args.dhcp.is_some() && args.dhcp_config.is_none() {
        let chosen = policy.chosen(MAC).into_iter();
        network.chosen = chosen.collect();
    }
    Ok(network)
}

fn list(cases: &[Case], network: &TestNetwork, host: &Host<'_>) {
    let mut text = String::new();
    let width = cases.iter().map(|case| case.name.len()).max().unwrap_or(0);
    for case in cases {
        let note = case.obstacle(network).map(|reason| format!(" (skipped: {reason})")).unwrap_or_default();
        let (name, expectation) =
            (format!("{:<width$} {}", case.name, case.loader.platform.words()), expectation(case));
        let line = format!("{name}  {expectation}{note}");
        let fits = line.chars().count() <= 80;
        let _ = if fits { writeln!(text, "{line}") } else { writeln!(text, "{name}\n    {expectation}{note}") };
    }
    let objects: Vec<_> = cases
        .iter()
        .map(|case| {
            let (loader, firmware) = (&case.loader.path, case.loader.platform.firmware());
            let mut object = json!({ "name": case.name, "loader": loader, "firmware": firmware });
            if case.secure_boot.is_some() {
                object["secure-boot"] = true.into();
            }
            object
        })
        .collect();
    host.ui.answer(&text, json!({ "cases": objects }));
}

/// Returns a table with a row per case: its outcome, and when it reached each phase.
fn table(report: &BootReport) -> String {
    let width = report.cases.iter().map(|case| case.name.len()).max().unwrap_or(0);
    let mut text = format!("{:<8} {:<width$} {:<8}", "", "case", "seconds");
    let shown = &Phase::ALL[..6];
    for phase in shown {
        let _ = write!(text, " {:>8}", json!(phase).as_str().unwrap_or_default());
    }
    text.push('\n');
    for case in &report.cases {
        let word = match case.outcome {
            CaseOutcome::Passed => "ok",
            CaseOutcome::Failed => "FAILED",
            CaseOutcome::Skipped => "SKIPPED",
        };
        let _ = write!(text, "{word:<8} {:<width$} {:>7.1} ", case.name, to_seconds(case.milliseconds));
        for phase in shown {
            let reached = case.reached(*phase).map_or("-".to_owned(), |at| format!("{:.1}", to_seconds(at)));
            let _ = write!(text, " {reached:>8}");
        }
        text.push('\n');
    }
    for (case, attempt) in report.cases.iter().flat_map(|case| case.earlier.iter().map(move |attempt| (case, attempt)))
    {
        let _ = writeln!(text, "TRIED AGAIN: {}: {}", case.name, first_line(&attempt.reason));
    }
    for case in report.of(CaseOutcome::Skipped) {
        let _ = writeln!(text, "SKIPPED: {}: {}", case.name, case.reason.as_deref().unwrap_or_default());
    }
    let count = |outcome| report.of(outcome).count();
    let _ = writeln!(
        text,
        "boot-test: {} passed, {} failed, {} skipped, in {:.1} s; {} side by side, which need {:.1} s at least",
        count(CaseOutcome::Passed),
        count(CaseOutcome::Failed),
        count(CaseOutcome::Skipped),
        to_seconds(report.milliseconds),
        report.jobs,
        to_seconds(report.bound_milliseconds()),
    );
    text
}

fn verdict(report: &BootReport, folder: &Utf8Path, require_real: bool) -> Result<(), Failure> {
    let failed: Vec<String> = report.of(CaseOutcome::Failed).map(|case| failure_lines(case, folder)).collect();
    let skipped: Vec<&CaseReport> = report.of(CaseOutcome::Skipped).filter(|_| require_real).collect();
    if failed.is_empty() && skipped.is_empty() {
        return Ok(());
    }
    let mut text = match failed.len() {
        0 => String::new(),
        1 => "a case failed".to_owned(),
        number => format!("{number} cases failed"),
    };
    text += &failed.concat();
    for case in skipped {
        let _ = write!(text, "\n`{}` was skipped: {}", case.name, case.reason.as_deref().unwrap_or_default());
    }
    Err(Failure::new(Class::NotBooted, text.trim_start()).page(Page::BootTest))
}

/// Returns the reason why a case failed, and the last lines of its console.
fn failure_lines(case: &CaseReport, report: &Utf8Path) -> String {
    let console: String = case.last_lines.iter().map(|line| format!("\n  | {line}")).collect();
    let folder =
        case.evidence.as_ref().map(|folder| format!("\n  evidence: {}", report.join(folder))).unwrap_or_default();
    format!("\n`{}`: {}{console}{folder}", case.name, case.reason.as_deref().unwrap_or_default())
}

/// Warns if not all sites were booted.
fn warn_of_sites(tree: &CheckedTree, selection: &Selection, sample: usize, host: &Host<'_>) {
    let mut sites: Vec<&String> = tree.manifest.files.iter().filter_map(|file| file.site.as_ref()).collect();
    sites.dedup();
    let all = selection.sites.is_empty() && selection.cases.is_empty() && selection.loaders.is_empty();
    if all && sites.len() > sample {
        let message = format!("loaders of {sample} of {} were booted", count(sites.len(), "site"));
        let help = format!("name one with `--site`, or take more with `--sample {}`", sites.len());
        host.ui.warn(Diagnostic::new(message).help(help));
    }
}
