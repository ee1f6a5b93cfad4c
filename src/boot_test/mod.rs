//! Boots what is to be shipped: each loader of a tree or tarball, in a machine of its own, in front of
//! real servers, without root and without a network.
//!
//! [`subject`] says what there is to boot, [`case`] what is tried with it, [`service`] what servers have
//! in that case. [`trial`] runs a case: [`namespace`] gives it a network, [`dhcp`] and [`web`] serve,
//! [`machine`] boots, and [`watch`] draws the verdict from what [`happening`] has seen: the [`phase`]s of a
//! boot, or the [`steps`] of a failure. [`report`] keeps all of it.

pub mod case;
pub mod console;
pub mod dhcp;
pub mod happening;
pub mod kit;
pub mod machine;
pub mod namespace;
pub mod network;
pub mod phase;
pub mod qmp;
pub mod report;
#[cfg(test)]
mod samples;
pub mod service;
pub mod steps;
pub mod subject;
pub mod trial;
pub mod userland;
pub mod watch;
pub mod web;

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use camino::Utf8Path;

use self::case::{Case, Intent, Selection, cases};
use self::kit::Kit;
use self::machine::Accelerator;
use self::namespace::Namespace;
use self::network::Network;
use self::report::{CaseReport, Report};
use self::subject::Subject;
use self::trial::Lab;
use crate::digest::Sha256Digest;
use crate::fs;
use crate::paths;
use crate::progress::Progress;

/// What to boot, and how.
pub struct Request<'a> {
    /// What machines and servers are made of.
    pub kit: &'a Kit,
    /// The addresses.
    pub network: Network,
    /// Which cases.
    pub selection: &'a Selection,
    /// Where loaders are meant to go.
    pub intent: &'a Intent,
    /// How many cases run side by side.
    pub jobs: usize,
    /// How the processors of the machines are made.
    pub accelerator: Accelerator,
    /// How long a case may take.
    pub deadline: Duration,
    /// More arguments for the kernel.
    pub append: &'a str,
    /// The folder that the report goes to.
    pub report: &'a Utf8Path,
    /// A folder for temporary files.
    pub scratch: &'a Utf8Path,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nothing to boot.
    #[error(transparent)]
    Subject(#[from] subject::Error),
    /// A case has no verdict.
    #[error(transparent)]
    Trial(#[from] trial::Error),
    /// No case is as asked for.
    #[error("found no case as asked for in `{subject}`\nhint: `cargo xtask boot-test --list` names all cases")]
    NoCase {
        /// The tree.
        subject: camino::Utf8PathBuf,
    },
    /// The report would overwrite something else.
    #[error("`{0}` is not empty, and no report of a boot test\nhint: name another folder with `--report`")]
    NotAReport(camino::Utf8PathBuf),
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

/// The cases of `subject` that are asked for.
///
/// # Errors
///
/// [`Error::NoCase`] where there is none, or [`Error::Fs`] where a loader cannot be read.
pub fn plan(subject: &Subject, intent: &Intent, selection: &Selection) -> Result<Vec<Case>, Error> {
    let cases = cases(&subject.loaders()?, intent, selection);
    if cases.is_empty() { Err(Error::NoCase { subject: subject.name.clone() }) } else { Ok(cases) }
}

/// Runs all cases of `subject`, and writes the report.
///
/// # Errors
///
/// [`Error`] where there can be no report; a case that failed is no error.
pub fn run(
    subject: &Subject,
    request: &Request<'_>,
    namespace: &Namespace,
    progress: &dyn Progress,
) -> Result<Report, Error> {
    let cases = plan(subject, request.intent, request.selection)?;
    clear(request.report)?;
    let started = Instant::now();
    let failed = |error| fs::Error::new("make a folder in", request.scratch, error);
    let guard = tempfile::Builder::new().prefix("boot-").tempdir_in(request.scratch).map_err(failed)?;
    let scratch = Utf8Path::from_path(guard.path()).unwrap_or(request.scratch);
    let kernel = fs::read(&request.kit.kernel)?.into();
    let lab = Lab { request, namespace, subject, kernel, scratch, progress };
    let cases = side_by_side(&cases, &lab)?;
    let report = Report {
        schema_version: report::SCHEMA_VERSION,
        subject: subject.name.clone(),
        manifest_sha256: Sha256Digest::of(subject.manifest.to_json().as_bytes()).to_string(),
        kit: request.kit.versions.clone(),
        jobs: request.jobs,
        milliseconds: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        processor_milliseconds: cases.iter().map(|case| case.processor_milliseconds).sum(),
        cases,
    };
    report.write(request.report)?;
    Ok(report)
}

/// Makes room for a report where an older one is, or nothing.
fn clear(folder: &Utf8Path) -> Result<(), Error> {
    fs::create_dir_all(folder)?;
    if !fs::walk(folder)?.is_empty() && !paths::report_json(folder).is_file() {
        return Err(Error::NotAReport(folder.to_owned()));
    }
    // An old report must not stand there as if it were of this run.
    fs::remove_file(&paths::report_html(folder))?;
    fs::remove_dir_all(&paths::evidence(folder))?;
    // The mark by which the folder is known again, whatever happens until the report is written.
    Ok(fs::write_atomic(&paths::report_json(folder), b"{}\n")?)
}

/// Runs the cases, as many at a time as asked for, those with the most work first. The result is in the
/// order of `cases`.
fn side_by_side(cases: &[Case], lab: &Lab<'_>) -> Result<Vec<CaseReport>, trial::Error> {
    let mut queue: Vec<(usize, &Case)> = cases.iter().enumerate().collect();
    queue.sort_by_key(|(number, case)| (case.weight(), std::cmp::Reverse(*number)));
    let queue = Mutex::new(queue);
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let work = || {
        let mut done = Vec::new();
        while let Some((number, case)) = next() {
            let report = match case.obstacle(&lab.request.network) {
                Some(reason) => CaseReport::skipped(case, reason),
                None => trial::run(case, number, lab).inspect_err(|_| while next().is_some() {})?,
            };
            done.push((number, report));
        }
        Ok::<_, trial::Error>(done)
    };
    let mut done = Vec::new();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..lab.request.jobs.max(1)).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            // A worker that panicked has said so on its own.
            done.extend(worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok::<_, trial::Error>(())
    })?;
    done.sort_by_key(|(number, _)| *number);
    Ok(done.into_iter().map(|(_, report)| report).collect())
}
