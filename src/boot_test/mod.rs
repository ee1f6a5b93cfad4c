//! Boot test of what is shipped. Each loader of a tree or tarball boots in a machine of its own, against real servers,
//! without root and without a network.
//!
//! [`loaders`] lists what there is to boot, [`selection`] selects the [`case`]s, and [`scenario`] defines what the
//! servers provide in a case. [`run_case`] runs a case: [`namespace`] creates its network, [`dhcp`] and [`web`] serve,
//! [`machine`] boots, and [`observer`] derives the verdict from the events in [`boot_event`]: the [`phase`]s of a boot,
//! or the [`expected_console`] of a failure. [`report`] stores the results.
//!
//! Signed loaders boot in machines with Secure Boot: [`secure_tools`] finds their firmware, [`secure_boot`] enrols keys
//! in their [`variable_store`], and changes what has to be refused.

pub mod boot_event;
pub mod case;
pub mod console;
pub mod daemon;
pub mod dhcp;
pub mod drivers;
pub mod entry;
pub mod expected_console;
pub mod guest_check;
pub mod guest_image;
pub mod loaders;
pub mod machine;
pub mod namespace;
pub mod network;
pub mod observer;
pub mod phase;
pub mod qmp;
pub mod report;
pub mod request;
pub mod run_case;
#[cfg(test)]
mod samples;
pub mod scenario;
pub mod secure_boot;
pub mod secure_tools;
pub mod selection;
pub mod server;
pub mod tools;
pub mod userland;
pub mod variable_store;
pub mod web;

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use camino::Utf8Path;

use self::case::{Case, Intent, NicModel};
use self::namespace::Namespace;
use self::report::json::{Attempt, BootReport, CaseOutcome, CaseReport, GENERATOR, SCHEMA_VERSION};
pub use self::request::BootTestRequest;
use self::run_case::Environment;
use self::selection::{Selection, cases};
use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Flag, Subcommand};
use crate::base::progress::Progress;
use crate::base::{fs, paths};
use crate::loader::target::Platform;
use crate::tree::open::{self, CheckedTree};

/// Folder with the files of the tree that the cases need.
const SERVED_TREE: &str = "tree";

/// Errors from running a boot test.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The tree cannot be opened.
    #[error(transparent)]
    Tree(#[from] open::Error),
    /// The tree has changed since it was checked.
    #[error(transparent)]
    Changed(#[from] open::Changed),
    /// A case ended without a verdict.
    #[error(transparent)]
    Case(#[from] run_case::Error),
    /// No case matches the selection.
    #[error("found {wanted} as asked for in `{subject}`")]
    NoCase {
        /// The tree.
        subject: camino::Utf8PathBuf,
        /// What was not found.
        wanted: String,
    },
    /// The report would overwrite other files.
    #[error("`{folder}` is not empty, and no report of {kind}")]
    NotAReport {
        /// The folder.
        folder: camino::Utf8PathBuf,
        /// Kind of the report.
        kind: &'static str,
    },
    /// QEMU does not say what it has.
    #[error(transparent)]
    Machine(#[from] machine::Error),
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Tree(error) => error.diagnosis(),
            Self::Changed(error) => error.diagnosis(),
            Self::Case(error) => error.diagnosis(),
            Self::NoCase { subject, .. } => Class::BadInput.about(subject).help(Subcommand::ListCases),
            Self::NotAReport { folder, .. } => Class::Failure.about(folder).help(Flag::Report),
            Self::Machine(error) => error.diagnosis(),
            Self::Fs(error) => error.diagnosis(),
        }
    }
}

/// Returns the selected cases of `tree`.
///
/// # Errors
///
/// [`Error::NoCase`] if there is none, or if `selection` contains an unknown name; [`Error::Changed`] if a loader has
/// changed since the tree was checked.
pub fn plan(tree: &CheckedTree, intent: &Intent, selection: &Selection) -> Result<Vec<Case>, Error> {
    let loaders = loaders::loaders(tree)?;
    let entries = entry::entries(tree, &intent.entries)?;
    let cases = cases(&loaders, &entries, intent, selection);
    let unknown: Vec<String> = selection.unknown(&loaders, &cases).map(|name| format!("`{name}`")).collect();
    if cases.is_empty() || !unknown.is_empty() {
        let wanted = if unknown.is_empty() { "no case".to_owned() } else { format!("no {}", unknown.join(", no ")) };
        return Err(Error::NoCase { subject: tree.name.clone(), wanted });
    }
    Ok(cases)
}

/// Runs the selected cases of `tree`, and writes the report.
///
/// # Errors
///
/// [`Error`] if no report is possible; a failed case is not an error.
pub fn run(
    tree: &CheckedTree,
    request: &BootTestRequest<'_>,
    namespace: &Namespace,
    progress: &dyn Progress,
) -> Result<BootReport, Error> {
    let cases = plan(tree, request.intent, request.selection)?;
    clear(request.report, GENERATOR)?;
    let started = Instant::now();
    let guard = fs::Temporary::create(request.scratch, paths::TEMPORARY)?;
    let scratch = guard.path();
    let with_entries = cases.iter().filter(|case| case.entry.is_some()).map(|case| case.loader.platform);
    let platforms: BTreeSet<Platform> = with_entries.collect();
    let drivers_of = |platform| {
        let machine = request.tools.machine(platform)?;
        let folder = match &machine.modules {
            Some(folder) => Ok(folder.clone()),
            None => fs::read(&machine.kernel).map_err(drivers::Error::from).and_then(|it| drivers::installed(&it)),
        };
        let drivers = folder.and_then(|folder| drivers::drivers(&folder, scratch, progress));
        drivers.map_err(|error| error.to_string())
    };
    let guest_drivers = platforms.into_iter().map(|platform| (platform, drivers_of(platform))).collect();
    let without_card = without_card(&cases, request, progress)?;
    // Servers serve the files that were checked, even if other users write into the tree meanwhile.
    let sites: BTreeSet<&Option<String>> = cases.iter().map(|case| &case.loader.site).collect();
    let served = tree.copy(&scratch.join(SERVED_TREE), |file| file.site.is_none() || sites.contains(&file.site))?;
    let environment = Environment { request, namespace, tree: &served, guest_drivers, without_card, scratch, progress };
    let cases = side_by_side(&cases, &environment)?;
    let report = BootReport {
        generator: GENERATOR.into(),
        schema_version: SCHEMA_VERSION,
        subject: tree.name.clone(),
        manifest_sha256: tree.manifest.content().sha256.to_string(),
        tools: [&request.tools.versions[..], &request.secure.versions].concat(),
        clock: request.clock.map(machine::day),
        jobs: request.jobs,
        processors: request.processors,
        milliseconds: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        processor_milliseconds: cases.iter().map(|case| case.processor_milliseconds).sum(),
        cases,
    };
    report.write(request.report)?;
    Ok(report)
}

/// Returns the platforms of `cases` whose QEMU lacks the model of network card.
fn without_card(
    cases: &[Case],
    request: &BootTestRequest<'_>,
    progress: &dyn Progress,
) -> Result<BTreeSet<Platform>, Error> {
    let of_others = cases.iter().filter(|case| case.nic != NicModel::default());
    let models: BTreeSet<(Platform, NicModel)> = of_others.map(|case| (case.loader.platform, case.nic)).collect();
    let mut lacking = BTreeSet::new();
    for (platform, nic) in models {
        let Ok(machine) = request.tools.machine(platform) else { continue };
        if !machine::has_card(machine, nic, progress).map_err(machine::Error::from)? {
            lacking.insert(platform);
        }
    }
    Ok(lacking)
}

/// Checks that `folder` contains an older report of `generator`, or nothing.
pub(crate) fn check_folder(folder: &Utf8Path, generator: &str) -> Result<(), Error> {
    /// The only part that is read of an older report, which can be large.
    #[derive(serde::Deserialize)]
    struct Mark {
        generator: String,
    }

    let old = fs::read_if_exists(&paths::report_json(folder))?.unwrap_or_default();
    let old = serde_json::from_slice::<Mark>(&old);
    if !old.is_ok_and(|old| old.generator == generator) && !fs::entries(folder)?.is_empty() {
        let kind = if generator == GENERATOR { "a boot test" } else { "rehearsals" };
        return Err(Error::NotAReport { folder: folder.to_owned(), kind });
    }
    Ok(())
}

/// Prepares a folder for a report of `generator`. It must contain an older report of the same, or nothing.
pub(crate) fn clear(folder: &Utf8Path, generator: &str) -> Result<(), Error> {
    fs::create_dir_all(folder)?;
    check_folder(folder, generator)?;
    // An old report must not be mistaken for the report of this run.
    fs::remove_file(&paths::report_html(folder))?;
    fs::remove_dir_all(&paths::evidence(folder))?;
    // The mark identifies the folder as that of a report, even if this run ends before the report is written.
    let mark = format!("{}\n", serde_json::json!({ "generator": generator }));
    Ok(fs::write_atomic(&paths::report_json(folder), mark.as_bytes())?)
}

/// Runs `case` until it passes, at most as often as requested. The last report lists the earlier failures.
fn attempts(case: &Case, number: usize, environment: &Environment<'_>) -> Result<CaseReport, run_case::Error> {
    let mut earlier = Vec::new();
    loop {
        let attempt = earlier.len() + 1;
        let mut report = run_case::run(case, &format!("{number}-{attempt}"), environment)?;
        let again = report.outcome == CaseOutcome::Failed && attempt < environment.request.attempts as usize;
        if !again {
            report.earlier = earlier;
            report.keep(environment.request.report)?;
            return Ok(report);
        }
        report.evidence = paths::evidence_of(&format!("{}:attempt-{attempt}", case.name)).into();
        report.keep(environment.request.report)?;
        earlier.push(Attempt::of(&report));
    }
}

/// Runs the cases in parallel, up to the requested number at a time, the heaviest first. Returns the reports in the
/// order of `cases`.
fn side_by_side(cases: &[Case], environment: &Environment<'_>) -> Result<Vec<CaseReport>, run_case::Error> {
    let mut queue: Vec<(usize, &Case)> = cases.iter().enumerate().collect();
    queue.sort_by_key(|(number, case)| (case.weight(), std::cmp::Reverse(*number)));
    let queue = Mutex::new(queue);
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let work = || {
        let mut done = Vec::new();
        while let Some((number, case)) = next() {
            let machine = || environment.request.tools.machine(case.loader.platform).err();
            let secure = || case.secure_boot.and_then(|_| environment.request.secure.obstacle(case));
            let lacking = || environment.drivers(case)?.as_ref().err().cloned();
            let card =
                || environment.lacks_card(case).then(|| format!("this QEMU has no card of the model {}", case.nic));
            let obstacle = case.obstacle(&environment.request.network).or_else(machine).or_else(secure);
            let obstacle = obstacle.or_else(card).or_else(lacking);
            let report = match obstacle {
                Some(reason) => CaseReport::skipped(case, reason),
                None => attempts(case, number, environment).inspect_err(|_| while next().is_some() {})?,
            };
            done.push((number, report));
        }
        Ok::<_, run_case::Error>(done)
    };
    let mut done = Vec::new();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..environment.request.jobs.clamp(1, cases.len())).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            // A worker that panicked has printed its own message.
            done.extend(worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok::<_, run_case::Error>(())
    })?;
    done.sort_by_key(|(number, _)| *number);
    Ok(done.into_iter().map(|(_, report)| report).collect())
}
