//! Command `cargo xtask rehearse`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use camino::{Utf8Path, Utf8PathBuf};
use netboot_loaders::base::diagnostic::{Class, Diagnostic};
use netboot_loaders::base::fs;
use netboot_loaders::base::parallel::detached_on_cancel;
use netboot_loaders::base::paths::is_partial;
use netboot_loaders::base::paths::report_html;
use netboot_loaders::base::plural::count;
use netboot_loaders::base::progress::Progress as _;
use netboot_loaders::boot_test::namespace::Namespace;
use netboot_loaders::boot_test::network::{MAC, TestNetwork};
use netboot_loaders::boot_test::tools::{self, ServerTools, TestTool};
use netboot_loaders::build::plan::{Plan, Stamped};
use netboot_loaders::build_loaders::{self, Config};
use netboot_loaders::config::network::{self, NetworkConfig, NetworkHost};
use netboot_loaders::config::sites::{Options, Sites};
use netboot_loaders::loader::target::{Loader, Platform};
use netboot_loaders::printable::printable;
use netboot_loaders::rehearse::program::Programs;
use netboot_loaders::rehearse::report::RehearsalReport;
use netboot_loaders::rehearse::run::Rehearsed;
use netboot_loaders::rehearse::served::{GivenAnswer, ServedTree};
use netboot_loaders::rehearse::{self, Rehearsal, RehearsalRequest};
use netboot_loaders::stamp::slot::SlotSize;
use netboot_loaders::toolchain::needs;
use netboot_script::{NoScript, fetched_addresses};
use serde_json::json;

use super::boot_test::tls;
use super::install;
use crate::cli::RehearseArgs;
use crate::cli::rehearse::RECORD;
use crate::exit::Failure;
use crate::host::{Host, absolute, processors, temporary_folder};
use crate::program::PUBLISHED;

/// Number of failures to show.
const FAILURES: usize = 20;

/// Interval at which changes of the project are noticed.
const WATCH: Duration = Duration::from_millis(300);

pub(super) fn run(args: &RehearseArgs, host: &Host<'_>) -> Result<(), Failure> {
    let mut namespace = None;
    if !args.watch {
        return rehearse(args, &mut namespace, host).and_then(|done| verdict(args, &done));
    }
    let mut last: Option<String> = None;
    loop {
        let seen = state(args, host);
        match rehearse(args, &mut namespace, host) {
            Ok(done) => {
                let way = &done.done[0].way;
                let difference = last.as_ref().and_then(|last| way.difference(last));
                let text = match (&last, difference) {
                    (None, _) => String::new(),
                    (Some(_), None) => "the way is the same as before\n".to_owned(),
                    (Some(_), Some(difference)) => format!("what has changed since the last run:\n{difference}"),
                };
                host.ui.answer(&text, json!({ "difference": text }));
                last = Some(way.record());
            }
            Err(failure) if failure.class() == Class::Interrupted => return Err(failure),
            // The next change may mend it.
            Err(failure) => drop(host.ui.fail(&failure)),
        }
        host.ui.print("waiting for a change; Ctrl-C ends\n");
        while state(args, host) == seen {
            if host.ui.cancelled() {
                return Err(rehearse::Error::Cancelled.into());
            }
            std::thread::sleep(WATCH);
        }
    }
}

/// Finished rehearsals.
struct Done {
    names: Vec<String>,
    done: Vec<Rehearsed>,
}

/// Builds what is needed, rehearses, and shows what has happened.
fn rehearse(args: &RehearseArgs, namespace: &mut Option<Namespace>, host: &Host<'_>) -> Result<Done, Failure> {
    check_files(args, host)?;
    let config = Config::read(&host.project, &Options::from(&args.config), host.ui)?;
    let (needs, sites) = (config.needs(), config.sites.clone());
    let described = described(args, &sites, host)?;
    if args.install_deps {
        let tls = tls(args.tls_certificate.as_deref(), args.tls_key.as_deref())?;
        let servers = tools::servers(&TestNetwork { tls, ..TestNetwork::default() });
        install::missing(&[needs, needs::test_network(), servers].concat(), host)?;
    }
    let cache = host.cache()?;
    let plan = config.plan(&host.path, &cache, host.ui)?;
    let rehearsals = rehearsals(args, &plan, (&sites, described.as_ref()), host)?;
    let network = rehearsals.first().map(|first| first.network.clone()).unwrap_or_default();
    let found = ServerTools::find(&host.path, &network, &cache, host.ui).map_err(build_loaders::Error::from)?;
    let (origins, settings) = (host.origins(&args.origins)?, host.settings(&args.make)?);
    let loaders = plan.loaders().map(|(_, loader)| loader);
    let wanted: BTreeSet<_> = rehearsals.iter().map(|it| (it.site.name.clone(), it.loader)).collect();
    let loaders = loaders.filter(|it| wanted.contains(&(it.site.name.clone(), it.loader)));
    let context = host.context(&plan, &cache, &origins, &settings);
    let programs = Programs::build(&context, loaders).map_err(rehearse::Error::from)?;
    let own: BTreeSet<&Utf8Path> = rehearsals.iter().map(|it| &*it.path).collect();
    let tree = ServedTree::new(&plan, &own, sites.boot.clone());
    // From here on, this process has a network of its own and no access to any other.
    let namespace = match namespace {
        Some(namespace) => namespace,
        None => namespace.insert(Namespace::enter()?),
    };
    let request = RehearsalRequest {
        tools: &found.0,
        programs: &programs,
        tree: &tree,
        keys: &args.keys,
        settings: args.settings.clone(),
        answers: &args.answers,
        fault: args.fault,
        deadline: Duration::from_secs(args.deadline),
        jobs: args.make.jobs.map_or_else(processors, usize::from),
        scratch: &temporary_folder()?,
    };
    let started = Instant::now();
    let done = rehearse::run_all(&rehearsals, &request, namespace, host.ui)?;
    show(args, (&rehearsals, &done), &found.1, (started.elapsed(), request.jobs), host)?;
    Ok(Done { names: rehearsals.into_iter().map(|rehearsal| rehearsal.name).collect(), done })
}

/// Checks what was given for the options that name files, so that nobody waits for a build in vain.
fn check_files(args: &RehearseArgs, host: &Host<'_>) -> Result<(), Failure> {
    if let Some(file) = &args.expect {
        record(file)?;
    }
    for answer in &args.answers {
        check_answer(answer)?;
    }
    if args.all || args.report.is_some() {
        RehearsalReport::check(&report_folder(args, host)?)?;
    }
    Ok(())
}

/// Reads the way that a script took earlier.
fn record(file: &Utf8Path) -> Result<String, Failure> {
    let Some(content) = fs::read_text_if_exists(file)? else {
        let name = printable(file);
        let text = format!("there is no `{name}`, wanted a way that `--record` has written");
        return Err(Failure::new(Class::BadInput, text).help(format!("write it with `--record {name}`")));
    };
    Ok(String::from_utf8_lossy(&content).into_owned())
}

fn check_answer(answer: &GivenAnswer) -> Result<(), Failure> {
    let Some(path) = answer.path() else { return Ok(()) };
    let (name, url) = (printable(path), &answer.url);
    let wants_folder = url.ends_with('/');
    let (text, help) = match path.metadata() {
        Ok(found) if !found.is_dir() && !found.is_file() => (
            format!("`{name}` is a device, a FIFO or a socket, wanted a file for `{url}`"),
            "give a regular file, or stand-in, 404, slow or reset".to_owned(),
        ),
        Ok(found) if found.is_dir() && !wants_folder => (
            format!("`{name}` is a folder, wanted a file for `{url}`"),
            format!("end the address of a folder with a slash: `--answer {url}/={name}`"),
        ),
        Ok(found) if !found.is_dir() && wants_folder => (
            format!("`{name}` is a file, wanted a folder for `{url}`"),
            format!("end the address of a file without a slash: `--answer {url}NAME={name}`"),
        ),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => (
            format!("there is no `{name}`, wanted a {} for `{url}`", if wants_folder { "folder" } else { "file" }),
            "give an existing path, or stand-in, 404, slow or reset".to_owned(),
        ),
        Ok(_) | Err(_) => return Ok(()),
    };
    Err(Failure::new(Class::BadInput, text).help(help))
}

/// Returns the folder of the report.
fn report_folder(args: &RehearseArgs, host: &Host<'_>) -> Result<Utf8PathBuf, Failure> {
    args.report.as_deref().map_or_else(|| Ok(host.project.default_rehearsal()), absolute)
}

/// Reads the description of the network; `None` if there is none, and none was asked for.
fn described(args: &RehearseArgs, sites: &Sites, host: &Host<'_>) -> Result<Option<NetworkConfig>, Failure> {
    let (file, known) = (network_file(args, host), sites.clone());
    let read = detached_on_cancel(host.ui, move || NetworkConfig::read(&file, &known));
    match read.ok_or(build_loaders::Error::Cancelled)? {
        Ok(described) => Ok(Some(described)),
        Err(network::Error::Absent(_) | network::Error::Blank(_)) if args.network.is_none() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Returns the file that describes the network.
fn network_file(args: &RehearseArgs, host: &Host<'_>) -> Utf8PathBuf {
    args.network.clone().unwrap_or_else(|| host.project.network())
}

/// Returns what is to be rehearsed.
fn rehearsals<'p>(
    args: &RehearseArgs,
    plan: &'p Plan,
    (sites, described): (&Sites, Option<&NetworkConfig>),
    host: &Host<'_>,
) -> Result<Vec<Rehearsal<'p>>, Failure> {
    let tls = tls(args.tls_certificate.as_deref(), args.tls_key.as_deref())?;
    let script = args.script.as_deref().map(|file| script(file, host)).transpose()?;
    let hosts = described.map_or(&[][..], |described| &described.hosts);
    let rehearsal = |(path, stamped): &(Utf8PathBuf, Stamped<'p>), machine: Option<&NetworkHost>| {
        let mac = machine.map_or(MAC, |machine| machine.mac);
        let network = match described {
            Some(described) => rehearse::network(described, sites, mac, (args.fault, &PUBLISHED))?,
            None => TestNetwork::default(),
        };
        let name = machine.map_or_else(|| path.to_string(), |machine| format!("{}: {path}", machine.name));
        let own = || stamped.site.script().text().as_bytes().into();
        let script = script.clone().unwrap_or_else(own);
        let network = TestNetwork { tls: tls.clone(), ..network };
        let (site, loader, path) = (stamped.site, stamped.loader, path.clone());
        Ok::<_, Failure>(Rehearsal { name, site, loader, path, script, mac, network })
    };
    if args.all {
        return every(plan, hosts)?.into_iter().map(|(loader, machine)| rehearsal(&loader, machine)).collect();
    }
    let machine = args.host.as_deref().map(|name| named(name, hosts, &network_file(args, host))).transpose()?;
    Ok(vec![rehearsal(&loader(args, plan, machine)?, machine)?])
}

/// A loader with its path, and the host that gets it, if that is a known one.
type Choice<'p, 'n> = ((Utf8PathBuf, Stamped<'p>), Option<&'n NetworkHost>);

/// Returns the first loader of each site in `plan` for each firmware, with each host that gets it, or with none.
fn every<'p, 'n>(plan: &'p Plan, hosts: &'n [NetworkHost]) -> Result<Vec<Choice<'p, 'n>>, Failure> {
    let mut known: BTreeMap<(Option<&str>, Platform), Vec<&NetworkHost>> = BTreeMap::new();
    for machine in hosts {
        known.entry((machine.site.as_deref(), machine.platform)).or_default().push(machine);
    }
    let mut seen: BTreeSet<(Option<&str>, Platform)> = BTreeSet::new();
    let mut all = Vec::new();
    for (path, loader) in plan.loaders() {
        let (site, platform) = (loader.site.name.as_deref(), loader.loader.platform());
        if loader.loader.is_kernel() || !seen.insert((site, platform)) {
            continue;
        }
        match known.remove(&(site, platform)) {
            None => all.push(((path, loader), None)),
            Some(hosts) => all.extend(hosts.into_iter().map(|machine| ((path.clone(), loader), Some(machine)))),
        }
    }
    if let Some(machine) = known.into_values().flatten().next() {
        let (name, firmware) = (printable(&machine.name), machine.platform.words());
        let text = format!("the host `{name}` has {firmware}, and its site has no loader for that");
        return Err(Failure::new(Class::BadInput, text).help("add one to `loaders` in sites.toml"));
    }
    if all.is_empty() {
        let text = "there is nothing to rehearse: sites.toml has no loaders";
        return Err(Failure::new(Class::BadInput, text).help("name them as in loaders = [\"ipxe.efi\"]"));
    }
    Ok(all)
}

fn named<'n>(name: &str, hosts: &'n [NetworkHost], file: &Utf8Path) -> Result<&'n NetworkHost, Failure> {
    hosts.iter().find(|machine| machine.name == name).ok_or_else(|| {
        let text = format!("`{}` has no host `{}`", printable(file), printable(name));
        let help = if hosts.is_empty() {
            "describe the network, and the machine in a table [[host]]".to_owned()
        } else {
            format!("choose from {}", listed(hosts.iter().map(|machine| &machine.name)))
        };
        Failure::new(Class::BadInput, text).help(help)
    })
}

/// Returns the first of the names, and the number of the others.
fn listed(names: impl Iterator<Item = impl std::fmt::Display>) -> String {
    /// Number of names to show.
    const SHOWN: usize = 20;
    let mut names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    let more = names.len().saturating_sub(SHOWN);
    names.truncate(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    names.join(", ") + &more
}

/// Finds the loader to rehearse.
fn loader<'p>(
    args: &RehearseArgs,
    plan: &'p Plan,
    machine: Option<&NetworkHost>,
) -> Result<(Utf8PathBuf, Stamped<'p>), Failure> {
    let site = args.site.as_deref().or_else(|| machine.and_then(|machine| machine.site.as_deref()));
    let loader = args.loader.as_deref().map(Loader::named).transpose();
    let loader = loader.map_err(|(text, help)| Failure::new(Class::BadInput, text).help(help))?;
    let all: Vec<_> = plan.loaders().filter(|(_, it)| !it.loader.is_kernel()).collect();
    let mut of_site: Vec<_> = all.iter().filter(|(_, it)| it.site.name.as_deref() == site).cloned().collect();
    if of_site.is_empty() {
        return Err(no_site(site, all.iter().filter_map(|(_, it)| it.site.name.as_deref())));
    }
    let subject = site.map_or("the root of the tree".to_owned(), |site| format!("the site `{}`", printable(site)));
    of_site.retain(|(_, it)| machine.is_none_or(|machine| machine.platform == it.loader.platform()));
    if let (true, Some(machine)) = (of_site.is_empty(), machine) {
        let text = format!("{subject} has no loader for `{}`, which has {}", machine.name, machine.platform.words());
        return Err(Failure::new(Class::BadInput, text).help("add one to its `loaders` in sites.toml"));
    }
    let found = of_site.iter().find(|(_, it)| loader.is_none_or(|loader| loader == it.loader));
    found.cloned().ok_or_else(|| {
        let name = args.loader.as_deref().unwrap_or_default();
        let of = machine.map(|machine| format!(" for `{}`", machine.name)).unwrap_or_default();
        let text = format!("{subject} has no loader `{}`{of}", printable(name));
        Failure::new(Class::BadInput, text)
            .help(format!("choose from {}", listed(of_site.iter().map(|(_, it)| it.loader))))
    })
}

/// Says that `site` has no loaders, and which sites do.
fn no_site<'n>(site: Option<&str>, others: impl Iterator<Item = &'n str>) -> Failure {
    let others: BTreeSet<&str> = others.collect();
    let text = match site {
        Some(site) => format!("sites.toml has no site `{}` with iPXE loaders", printable(site)),
        None => "the root of the tree has no iPXE loaders".to_owned(),
    };
    let help = match (others.is_empty(), site) {
        (false, Some(_)) => format!("choose from {}", listed(others.iter())),
        (false, None) => format!("name a site with `--site`: {}", listed(others.iter())),
        (true, Some(_)) => "leave out `--site`: only the root of the tree has some".to_owned(),
        (true, None) => "name some as `loaders` in sites.toml".to_owned(),
    };
    Failure::new(Class::BadInput, text).help(help)
}

/// Reads a script that takes the place of a site's.
fn script(file: &Utf8Path, host: &Host<'_>) -> Result<Arc<[u8]>, Failure> {
    let Some(content) = fs::read_text_if_exists(file)? else {
        let text = format!("there is no `{}`, wanted an iPXE script", printable(file));
        return Err(Failure::new(Class::BadInput, text).help("give another path for `--script`"));
    };
    let (found, wanted) = (content.len(), SlotSize::MAX.bytes());
    if found >= wanted {
        let text = format!("`{}` has {found} bytes, wanted fewer than {wanted}", printable(file));
        return Err(Failure::new(Class::BadInput, text).help("no loader has room for it; let a short script load it"));
    }
    if let Some(problem) = NoScript::of(&content) {
        let text = format!("`{}` {problem}", printable(file));
        return Err(Failure::new(Class::BadInput, text).help(problem.remedy()));
    }
    if ["{{", "{%"].iter().any(|mark| content.windows(2).any(|found| found == mark.as_bytes())) {
        let text =
            format!("`{}` is a template, and runs here as it is, without the variables of a site", printable(file));
        let help = "name it as a site's `script` in sites.toml, and rehearse the site with `--site`";
        host.ui.warn(Diagnostic::new(text).help(help));
    }
    Ok(content.into())
}

/// Shows what has happened, and writes what was asked for.
fn show(
    args: &RehearseArgs,
    (rehearsals, done): (&[Rehearsal<'_>], &[Rehearsed]),
    tools: &[TestTool],
    (elapsed, jobs): (Duration, usize),
    host: &Host<'_>,
) -> Result<(), Failure> {
    let report =
        RehearsalReport { rehearsals: rehearsals.iter().zip(done).collect(), fault: args.fault, tools, jobs, elapsed };
    let folder = report_folder(args, host)?;
    if args.all || args.report.is_some() {
        report.write(&folder)?;
    }
    if args.all {
        let page = report_html(&folder);
        let text = format!("{}report: {page}\n", table(&report));
        host.ui.result(&text, json!({ "report": page, "rehearsal": report.json() }));
        for warning in warnings(args, done) {
            host.ui.warn(warning);
        }
        return Ok(());
    }
    let (rehearsal, rehearsed) = (&rehearsals[0], &done[0]);
    let firmware = rehearsal.loader.platform().words();
    let fault = args.fault.map(|fault| format!(", with {fault}")).unwrap_or_default();
    let mut text = format!("{} in {firmware}{fault}\n{}", rehearsal.name, rehearsed.way.timeline());
    if args.report.is_some() {
        let _ = writeln!(text, "report: {}", report_html(&folder));
    }
    host.ui.answer(&text, report.json());
    if let Some(file) = &args.record {
        fs::write_atomic(&absolute(file)?, format!("{RECORD}{}", rehearsed.way.record()).as_bytes())?;
    }
    for warning in warnings(args, done) {
        host.ui.warn(warning);
    }
    Ok(())
}

/// Returns what a person may have meant otherwise.
fn warnings(args: &RehearseArgs, done: &[Rehearsed]) -> Vec<Diagnostic> {
    let mut warnings: Vec<Diagnostic> = unanswered(args, done).filter(|_| args.fault.is_none()).into_iter().collect();
    let (keys, taken) = (args.keys.reported(), done.iter().map(|it| it.keys_taken).max().unwrap_or(0));
    if taken < keys {
        let message = format!("the script has not taken all keys of `{}`", args.keys);
        warnings.push(Diagnostic::new(message).help("see where they should go, or leave them out"));
    }
    let mut fetched = done.iter().flat_map(|it| &it.way.steps).flat_map(|step| fetched_addresses(&step.text));
    if args.tls_certificate.is_none() && fetched.any(|address| address.starts_with("https://")) {
        let message = "web servers have no certificate, so none answers at https addresses";
        warnings.push(Diagnostic::new(message).help("name one with `--tls-certificate` and its key with `--tls-key`"));
    }
    warnings
}

/// Warns of addresses that nothing is known of.
fn unanswered(args: &RehearseArgs, done: &[Rehearsed]) -> Option<Diagnostic> {
    let is_meant = |url: &&str| args.answers.iter().any(|answer| answer.url == **url && answer.path().is_none());
    let steps = done.iter().flat_map(|it| &it.way.steps);
    let urls = steps.filter_map(|step| step.text.strip_prefix("GET ")?.strip_suffix(": 404"));
    let urls: BTreeSet<&str> = urls.filter(|url| !is_meant(url)).collect();
    let first = urls.iter().next()?;
    let message = match urls.len() {
        1 => format!("found nothing for `{first}`, which the script asks for"),
        number => format!("found nothing for {number} addresses that the script asks for, such as `{first}`"),
    };
    Some(Diagnostic::new(message).help(format!("say what is there with `--answer {first}=FILE`, or `=stand-in`")))
}

/// Returns a line for each end, with the rehearsals that came to it.
fn table(report: &RehearsalReport<'_>) -> String {
    /// Number of names to show.
    const SHOWN: usize = 5;
    let mut ends: BTreeMap<(bool, String), Vec<&str>> = BTreeMap::new();
    for (rehearsal, rehearsed) in &report.rehearsals {
        let end = &rehearsed.way.end;
        ends.entry((end.is_good(), end.to_string())).or_default().push(&rehearsal.name);
    }
    let mut text = String::new();
    for ((is_good, end), names) in &ends {
        let word = if *is_good { "ok" } else { "FAILED" };
        let more = if names.len() > SHOWN { format!(" and {} more", names.len() - SHOWN) } else { String::new() };
        let shown = names[..names.len().min(SHOWN)].join(", ");
        let _ = writeln!(text, "{word:<8} {}: {end}: {shown}{more}", names.len());
    }
    let seconds = report.elapsed.as_secs_f64();
    let total = report.rehearsals.len();
    let _ = writeln!(text, "rehearse: {} in {seconds:.1} s, {} side by side", count(total, "rehearsal"), report.jobs);
    text
}

/// Fails if a machine would not run anything, or if the way is another one than recorded.
fn verdict(args: &RehearseArgs, Done { names, done }: &Done) -> Result<(), Failure> {
    if let Some(file) = &args.expect {
        return match done[0].way.difference(&record(file)?) {
            None => Ok(()),
            Some(difference) => {
                let text = format!(
                    "the script takes another way than `{}` records\n{}",
                    printable(file),
                    difference.trim_end()
                );
                Err(Failure::new(Class::Check, text)
                    .help("correct the script, or write the record anew with `--record`"))
            }
        };
    }
    // Where something is broken, it is for a person to say what is good.
    if args.fault.is_some() {
        return Ok(());
    }
    let failed: Vec<String> = names
        .iter()
        .zip(done)
        .filter(|(_, it)| !it.way.end.is_good())
        .map(|(name, it)| format!("\n`{}` {}", printable(name), it.way.end))
        .collect();
    if failed.is_empty() {
        return Ok(());
    }
    let mut text = format!("{} would boot nothing", count(failed.len(), "script"));
    text += &failed[..failed.len().min(FAILURES)].concat();
    if failed.len() > FAILURES {
        let _ = write!(text, "\nand {} more", failed.len() - FAILURES);
    }
    Err(Failure::new(Class::NotBooted, text)
        .help("if that is meant, record the way with `--record`, and compare with `--expect`"))
}

/// Returns the last change of each file that a rehearsal depends on.
fn state(args: &RehearseArgs, host: &Host<'_>) -> BTreeMap<Utf8PathBuf, SystemTime> {
    let answers = args.answers.iter().filter_map(|answer| answer.path());
    let given = args.script.as_deref().into_iter().chain(args.network.as_deref()).chain(answers);
    let folders = host.project.vendor_and_config_dirs();
    // What a rehearsal writes is no change.
    let own = [args.record.as_deref(), args.report.as_deref()].map(|path| path.and_then(|path| absolute(path).ok()));
    let is_own = |file: &Utf8Path| {
        let file = absolute(file).unwrap_or_default();
        file.file_name().is_some_and(is_partial) || own.iter().flatten().any(|own| file.starts_with(own))
    };
    let mut state = BTreeMap::new();
    for path in folders.iter().map(Utf8PathBuf::as_path).chain(given) {
        let below = fs::walk(path).unwrap_or_default().into_iter().map(|(inner, _)| path.join(inner));
        for file in below.chain([path.to_owned()]) {
            let metadata = file.metadata().ok().filter(|metadata| metadata.is_file() && !is_own(&file));
            if let Some(changed) = metadata.and_then(|metadata| metadata.modified().ok()) {
                state.insert(file, changed);
            }
        }
    }
    state
}
