//! Command `cargo xtask reproduce`.

use netboot_loaders::base::plural::{all, choose, count};
use std::collections::BTreeSet;
use std::fmt::Write as _;

use camino::{Utf8Path, Utf8PathBuf};
use netboot_loaders::base::fs::{self, Lock};
use netboot_loaders::base::paths::{Cache, is_linked_list};
use netboot_loaders::base::process::{Command, find_program};
use netboot_loaders::base::progress::Progress;
use netboot_loaders::build::plan::Plan;
use netboot_loaders::build::reference_builds::{self, RecognisedBuild, ReferenceBuild, recognise};
use netboot_loaders::build_loaders::{self, Config};
use netboot_loaders::config::sites::Options;
use netboot_loaders::loader::target::Loader;
use netboot_loaders::printable::{MAX_LISTED, in_thousands, listed_names, listed_of, printable};
use netboot_loaders::reproduce::bytes::{ByteDifference, MAX_LOADER};
use netboot_loaders::reproduce::published::PublishedTree;
use netboot_loaders::reproduce::rebuild::RebuildContext;
use netboot_loaders::reproduce::report::{BuildTime, LoaderDifference, ReproduceReport, ReproduceVerdict};
use netboot_loaders::reproduce::variation::{Capabilities, Variation};
use netboot_loaders::toolchain::cross::CrossCompiler;
use netboot_loaders::toolchain::{install_lines, needs};
use netboot_loaders::{clean, reproduce};
use serde_json::json;

use super::install;
use crate::cli::Reproduce;
use crate::exit::Failure;
use crate::host::Host;
use crate::program::PUBLISHED;
use netboot_loaders::base::diagnostic::{Class, Diagnostic, Flag, Page};

/// Number of loaders whose differences are explained; `--message-format json` has 1,000.
const EXPLAINED: usize = 4;
/// Maximum length of a leaked text that is printed, in characters.
const SHOWN: usize = 120;

pub(super) fn run(args: &Reproduce, host: &Host<'_>) -> Result<(), Failure> {
    let mut config = Config::read(&host.project, &Options::from(&args.config), host.ui)?;
    if args.install_deps {
        install::missing(&needs::build(&config.build_scope()), host)?;
        install::missing(&needs::variations(), host)?;
    }
    let capabilities = Capabilities::find(&host.path, host.ui);
    if host.ui.cancelled() {
        // The output of interrupted programs is meaningless.
        return Err(Failure::new(Class::Interrupted, "interrupted"));
    }
    if args.list {
        list(&capabilities, host);
        return Ok(());
    }
    if args.diffoscope && find_program("diffoscope", &host.path).is_none() {
        return Err(
            Failure::new(Class::MissingTool, "found no `diffoscope`").help("install it, or leave `--diffoscope` out")
        );
    }
    let variations = requested(args, &capabilities, host)?;
    if args.all_loaders {
        config.sites = config.sites.with_loaders(&buildable(host));
    }
    let cache = host.cache()?;
    let references = std::mem::take(&mut config.references);
    let plan = config.plan(&host.path, &cache, host.ui)?;
    netboot_loaders::build::check_cache(&cache).map_err(build_loaders::Error::from)?;
    let report = compare(args, host, &cache, &plan, (&capabilities, &variations))?;
    if let (Some(name), ReproduceVerdict::Same) = (&args.record, report.verdict) {
        record(name, &plan, &report, host)?;
    }
    conclude(args, &recognise(&plan, &report.manifest.files, &references), &report, host)
}

/// Returns the loaders that the compilers of this host can build, and warns about the others.
fn buildable(host: &Host<'_>) -> Vec<Loader> {
    let lacking = |loader: &Loader| CrossCompiler::of(loader.platform().arch()).filter(|it| !it.is_in(&host.path));
    let (buildable, others): (Vec<Loader>, Vec<Loader>) =
        Loader::ALL.into_iter().filter(|loader| !loader.is_kernel()).partition(|loader| lacking(loader).is_none());
    let mut compilers: Vec<&CrossCompiler> = others.iter().filter_map(lacking).collect();
    compilers.dedup();
    for compiler in compilers {
        let names = others.iter().filter(|loader| lacking(loader) == Some(compiler)).map(|it| it.as_str());
        let left_out = listed_names(&names.collect::<Vec<_>>());
        let warning =
            Diagnostic::new(format!("{left_out} are left out: found no `{}gcc`", compiler.prefix(&host.path)));
        let needs = compiler.needs();
        host.ui.warn(
            install_lines(&needs.iter().collect::<Vec<_>>(), &host.path).into_iter().fold(warning, Diagnostic::help),
        );
    }
    buildable
}

/// Builds and compares, in a folder of the cache that is locked meanwhile.
fn compare(
    args: &Reproduce,
    host: &Host<'_>,
    cache: &Cache,
    plan: &Plan,
    (capabilities, variations): (&Capabilities, &BTreeSet<Variation>),
) -> Result<ReproduceReport, Failure> {
    let Some(_lock) = Lock::acquire(&cache.lock("reproduce"), host.ui)? else {
        return Err(Failure::new(Class::Interrupted, "interrupted while waiting for another rebuild"));
    };
    let scratch = cache.reproduce();
    let tagged = clean::is_tagged(cache)?;
    let own = |path: &Utf8PathBuf| tagged && path.file_name().is_some_and(Cache::is_of_rebuild);
    let others = fs::entries(&scratch)?.into_iter().find(|path| !own(path));
    if let Some(other) = others {
        let text =
            format!("`{}` is not of a rebuild, and rebuilds remove all that is in that folder", printable(&other));
        return Err(Failure::new(Class::Failure, text).help("move it away").help(Flag::CacheDir));
    }
    fs::remove_dir_all_with(&scratch, host.ui).ok_or_else(Failure::interrupted)??;
    fs::create_dir_all(&scratch)?;
    let (origins, settings) = (host.origins(&args.origins)?, host.settings(&args.make)?);
    let files = plan.files().count();
    let open = |position: &str| PublishedTree::open(&position.into(), files, &origins.network, &scratch, host.ui);
    let against = args.against.as_deref().map(open);
    let against = against.transpose().map_err(reproduce::Error::from)?;
    let context =
        RebuildContext { build: host.context(plan, cache, &origins, &settings), capabilities, scratch: &scratch };
    let report = reproduce::reproduce(&context, variations, against.as_ref(), &host.project.default_evidence());
    if args.keep {
        host.ui.print(&format!("the build trees are in {scratch}\n"));
        return Ok(report?);
    }
    // After an interrupt, the next rebuild or `clean` removes what is left.
    let removed = fs::remove_dir_all_with(&scratch, host.ui);
    let report = report?;
    if let Some(Err(error)) = removed {
        host.ui.warn(Diagnostic::new(error.to_string()));
    }
    Ok(report)
}

/// Returns the requested variations; warns about those that are not possible here.
fn requested(args: &Reproduce, capabilities: &Capabilities, host: &Host<'_>) -> Result<BTreeSet<Variation>, Failure> {
    let all: Vec<Variation> = match (args.plain, args.vary.is_empty()) {
        (true, _) => Vec::new(),
        (false, true) => Variation::ALL.into_iter().filter(|variation| !args.without.contains(variation)).collect(),
        (false, false) => args.vary.clone(),
    };
    let mut variations = BTreeSet::new();
    for variation in all {
        match capabilities.lacking(variation) {
            None => drop(variations.insert(variation)),
            Some((reason, hint)) if args.require_real => {
                return Err(Failure::new(Class::Check, format!("cannot vary `{variation}`: {reason}"))
                    .help(hint)
                    .help(format!("leave it out with `--without {variation}`")));
            }
            Some((reason, hint)) => {
                host.ui.warn(Diagnostic::new(format!("`{variation}` is not varied: {reason}")).help(hint));
            }
        }
    }
    Ok(variations)
}

fn list(capabilities: &Capabilities, host: &Host<'_>) {
    let line = |variation: Variation| {
        let lacking =
            capabilities.lacking(variation).map(|(reason, _)| format!("; not here: {reason}")).unwrap_or_default();
        format!("{:<18}{}{lacking}\n", variation.as_str(), variation.description())
    };
    let objects = Variation::ALL.map(|variation| {
        json!({ "name": variation.as_str(), "description": variation.description(), "lacking": capabilities.lacking(variation).map(|(reason, _)| reason) })
    });
    host.ui.answer(&Variation::ALL.map(line).concat(), json!({ "variations": objects }));
}

fn record(name: &str, plan: &Plan, report: &ReproduceReport, host: &Host<'_>) -> Result<(), Failure> {
    let builds = ReferenceBuild::of(name, plan, &report.manifest.files);
    if builds.is_empty() {
        let text = "found no loader in the root of the tree that is built in the default configuration and without patches, wanted one to record";
        return Err(Failure::new(Class::Failure, text));
    }
    reference_builds::record(&host.project, builds, &PUBLISHED).map_err(build_loaders::Error::from)?;
    host.ui.print(&format!("recorded as `{name}` in {}\n", host.project.toolchains()));
    Ok(())
}

/// Reports the result, and fails if bytes differ.
fn conclude(
    args: &Reproduce,
    recognised: &[RecognisedBuild],
    report: &ReproduceReport,
    host: &Host<'_>,
) -> Result<(), Failure> {
    if report.verdict == ReproduceVerdict::Same {
        host.ui.result_of(&same(recognised, report), report);
        return Ok(());
    }
    let mut text = different(report);
    if args.diffoscope {
        for (here, there) in report.differences.iter().filter_map(|difference| difference.files.as_ref()) {
            // Whether or not diffoscope succeeds, the verdict stands.
            let outcome = diffoscope(here, there, host).unwrap_or_else(|failure| failure.message);
            let _ = writeln!(text, "  diffoscope: {outcome}");
        }
    }
    host.ui.result_of("", report);
    let (class, hint) = match report.verdict {
        ReproduceVerdict::ToolchainDiffers => {
            (Class::OtherToolchain, "rebuild with the toolchain of the release; the list above says what differs")
        }
        _ if !report.culprits.is_empty() || report.unsteady => {
            (Class::OtherBytes, "find out how it gets into the loader: the build must not depend on it")
        }
        _ if !report.causes.is_empty() => {
            (Class::OtherBytes, "rebuild from the inputs of the release: check out its tag, or make the above the same")
        }
        _ if report.differences.iter().all(|difference| difference.files.is_none()) => {
            (Class::OtherBytes, "give the tarball of the release, which tells where they differ")
        }
        _ => (Class::OtherBytes, "look at both versions, or run this again with `--diffoscope`"),
    };
    Err(Failure::new(class, text.trim_end()).help(hint).page(Page::Reproduce))
}

fn same(recognised: &[RecognisedBuild], report: &ReproduceReport) -> String {
    let mut text = format!(
        "reproduced: {} {} of {}, byte for byte\n",
        all(report.files.len(), unit(report)),
        choose(report.files.len(), "is that", "are those"),
        reference(report)
    );
    for loader in report.files.iter().filter(|file| !is_linked_list(&file.path)) {
        let _ =
            writeln!(text, "  {}  {}", loader.found.map(|digest| digest.to_string()).unwrap_or_default(), loader.path);
    }
    if let Some(signer) = &report.signer {
        let _ = writeln!(
            text,
            "  UEFI loaders there are signed by `{signer}`, and what is signed is exactly what these sources give"
        );
    }
    if report.manifest_same == Some(true) {
        text += "  and the manifest is the same, so the whole tree is\n";
    }
    if !report.causes.is_empty() {
        let differing: Vec<_> = report.causes.iter().map(|cause| format!("although this differs: {cause}")).collect();
        let _ = writeln!(text, "{}", listed_of(&differing, report.causes_total));
    }
    for known in recognised.iter().filter(|known| known.different.is_empty()) {
        let _ = writeln!(text, "  the very bytes that {} gives, by vendor/toolchains.toml", known.name);
    }
    text + &times(report)
}

/// Returns the noun for what was compared.
fn unit(report: &ReproduceReport) -> &'static str {
    if report.against.is_some() { "file" } else { "loader" }
}

/// Returns the reference of the comparison.
fn reference(report: &ReproduceReport) -> &str {
    report.against.as_deref().unwrap_or("the build with nothing varied")
}

fn times(report: &ReproduceReport) -> String {
    let line = |build: &BuildTime| {
        let varied = if build.variations.is_empty() { "nothing".to_owned() } else { build.variations.join(", ") };
        format!("  {:.1} s  varied {varied}\n", build.seconds)
    };
    let number = report.builds.len();
    let heading = if number == 1 { "one build\n".to_owned() } else { format!("{number} builds\n") };
    heading + &report.builds.iter().map(line).collect::<String>()
}

fn different(report: &ReproduceReport) -> String {
    let differing = report.files.iter().filter(|file| !file.same()).count();
    let verb = choose(differing, "differs", "differ");
    let mut text =
        format!("{differing} of {} {verb} from {}\n", count(report.files.len(), unit(report)), reference(report));
    if report.unsteady {
        text += "builds differ with nothing varied: no variation can be blamed\n";
    }
    if !report.besides.is_empty() {
        let _ = writeln!(text, "besides, a variation changes bytes here: {}", report.besides.join(", "));
    }
    if !report.culprits.is_empty() {
        let _ = writeln!(text, "the variation makes the difference: {}", report.culprits.join(", "));
    }
    if !report.causes.is_empty() {
        let _ = writeln!(text, "{}", listed_of(&report.causes, report.causes_total));
    }
    for (number, loader) in report.files.iter().filter(|file| !file.same()).take(MAX_LISTED).enumerate() {
        let digest = |digest: Option<netboot_loaders::digest::Sha256Digest>| {
            digest.map_or_else(|| "none".to_owned(), |digest| digest.to_string())
        };
        let _ = writeln!(text, "`{}`: found {}, wanted {}", loader.path, digest(loader.found), digest(loader.wanted));
        // What differs in one loader also differs in the next; a thousand sites need no thousand explanations.
        let difference = report.differences.iter().find(|difference| difference.path == loader.path);
        let both = loader.found.is_some() && loader.wanted.is_some();
        if let Some(difference) = difference.filter(|_| number < EXPLAINED && both) {
            text += &explained(difference);
        }
    }
    if differing > MAX_LISTED {
        let _ = writeln!(text, "and {} more", in_thousands(&(differing - MAX_LISTED).to_string()));
    }
    text + &times(report)
}

/// Explains how a loader differs, as far as that is known.
fn explained(difference: &LoaderDifference) -> String {
    let mut text = match &difference.bytes {
        Some(bytes) => located(bytes),
        None => "  only the digest of the other one is known; its tarball would tell where they differ\n".to_owned(),
    };
    if let Some(linked) = &difference.linked {
        for (what, lines, total) in
            [("not linked here", &linked.lost, linked.totals.0), ("linked only here", &linked.gained, linked.totals.1)]
        {
            let lines: Vec<String> = lines.iter().map(|line| format!("{what}: {line}")).collect();
            if !lines.is_empty() {
                let _ = writeln!(text, "{}", listed_of(&lines, total));
            }
        }
    }
    if let Some(reason) = &difference.unread {
        let _ = writeln!(text, "  what is linked into the other one is not compared: {reason}");
    }
    if let Some(objects) = &difference.objects {
        let _ = writeln!(
            text,
            "  {} of {} {}: {}{}",
            objects.differing,
            count(objects.total, "object"),
            choose(objects.differing, "differs", "differ"),
            objects.first.join(", "),
            if objects.differing > objects.first.len() { ", …" } else { "" }
        );
        let told = difference.bytes.as_ref().is_some_and(|bytes| bytes.leaks != (Vec::new(), Vec::new()));
        if !told {
            text += &sides("leaked", &objects.leaks);
        }
    }
    if let Some((here, there)) = &difference.files {
        let _ = writeln!(text, "  both versions: {here}, {there}");
    }
    text
}

/// Describes where two loaders differ, for people.
pub(super) fn located(bytes: &ByteDifference) -> String {
    let mut text = String::new();
    let position = bytes.position.as_ref().map(|position| format!(", {position}")).unwrap_or_default();
    let how_much = match bytes.sizes {
        (here, there) if here == there => {
            let verb = choose(bytes.count, "differs", "differ");
            format!("{} of {} {verb}", bytes.count, count(here, "byte"))
        }
        (here, there) => format!("found {}, wanted {there}", count(here, "byte")),
    };
    let _ = writeln!(text, "  {how_much}, the first difference is at {:#x}{position}", bytes.offset);
    if bytes.sizes.0.max(bytes.sizes.1) > MAX_LOADER {
        let _ = writeln!(text, "  they are not looked into: wanted loaders of at most {}", count(MAX_LOADER, "byte"));
    }
    if bytes.only_build_id {
        text += "  nothing else differs but iPXE's build id, a checksum over all objects: they differ in what is not loaded, as debug information with a path\n";
    }
    let _ = writeln!(text, "    found  {}\n    wanted {}", bytes.context.0, bytes.context.1);
    text + &sides("leaked", &bytes.leaks) + &sides("text", &bytes.texts)
}

/// Lists the texts that only one side has.
fn sides(what: &str, (here, there): &(Vec<String>, Vec<String>)) -> String {
    let line = |side: &str, text: &String| {
        let more = if text.chars().count() > SHOWN { "…" } else { "" };
        format!("  {what}, {side}: {}{more}\n", text.chars().take(SHOWN).collect::<String>())
    };
    let lines = here.iter().map(|text| line("found", text)).chain(there.iter().map(|text| line("wanted", text)));
    lines.collect()
}

/// Compares two files with diffoscope. Returns the path of its report.
fn diffoscope(here: &Utf8Path, there: &Utf8Path, host: &Host<'_>) -> Result<String, Failure> {
    let out = here.with_added_extension("diffoscope.txt");
    // Exit code 1 means that they differ, which is already known.
    let script = "diffoscope --text \"$1\" \"$2\" \"$3\"; test $? -le 1";
    let command = Command::new("compare with diffoscope", "sh");
    let mut command = command.args(["-c", script, "sh", out.as_str(), there.as_str(), here.as_str()]);
    command.deadline = std::time::Duration::from_secs(600);
    command.env("PATH", host.path.as_str()).env("LC_ALL", "C.UTF-8").output(host.ui)?;
    Ok(out.into_string())
}
