//! Fetches from git servers in a separate process.
//!
//! libgit2 parses the data of a possibly hostile server in C, takes as much memory as the data demands, and checks for
//! cancellation only now and then. A separate process has a memory limit that the kernel enforces, and can be killed at
//! any moment. The program that uses this library names the command
//! ([`HttpClient::git_helper`](crate::base::http::HttpClient::git_helper)), which calls [`run`]. The process reads the
//! job from its standard input, and writes lines of JSON.

use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use git2::Repository;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

use super::git_fetch::{Fetcher, GitFailure, GitWant, TOO_MUCH_MEMORY, packs, remove_new_packs};
use super::git_stream::LIMIT_EXCEEDED;
use crate::base::fs;
use crate::base::http::{HttpClient, NoProxy, Proxy, TransferLimits};
use crate::base::process::{Command, Running, Streams};
use crate::base::progress::{Event, Progress, Silent, Task, TaskKind};
use crate::base::url::Url;

/// Memory limit of the process for data, in bytes.
const MEMORY: u64 = 192 << 20;
/// Time limit after everything is received: to resolve deltas, and to write refs.
const INDEXING: Duration = Duration::from_secs(600);
/// Limit of processor time in seconds. iPXE with its whole history takes ten.
const PROCESSOR: u64 = 900;
/// Interval between progress reports.
const PULSE: Duration = Duration::from_millis(100);

/// A job for the process: what to fetch, and how.
#[derive(Serialize, Deserialize)]
pub(super) struct GitJob {
    repository: Utf8PathBuf,
    url: String,
    wanted: GitWant,
    /// URL, environment variable, and hosts to reach without the proxy.
    proxy: Option<(String, String, String)>,
    limits: TransferLimits,
}

/// A line of the process's output.
#[derive(Serialize, Deserialize)]
enum Line {
    Progress { done: u64, total: Option<u64> },
    Done { head: Option<String> },
    Failed(GitFailure),
}

impl GitJob {
    pub(super) fn new(repository: &Repository, url: &Url, http: &HttpClient, wanted: &GitWant) -> Self {
        let whole =
            |proxy: &Proxy| (proxy.url.expose().to_owned(), proxy.variable.clone(), proxy.except.as_str().to_owned());
        Self {
            repository: repository.path().to_string_lossy().into_owned().into(),
            url: url.expose().to_owned(),
            wanted: wanted.clone(),
            proxy: http.proxy().map(whole),
            limits: http.limits.clone(),
        }
    }
}

/// Runs `program` with `job`. Returns the default branch.
pub(super) fn ask(
    program: &Command,
    job: &GitJob,
    task: &mut Task<'_>,
    progress: &dyn Progress,
) -> Result<Option<String>, GitFailure> {
    remove_leftovers(&job.repository, "refs");
    let before = packs(&job.repository);
    let answer = follow(program, job, task, progress);
    if answer.is_err() {
        // Incompletely checked objects must not affect the fetch from the next server.
        remove_new_packs(&job.repository, &before);
        // Only these, because a server can have so many branches that looking at each would delay cancellation.
        remove_leftovers(&job.repository, "refs/pins");
    }
    answer
}

fn follow(
    program: &Command,
    job: &GitJob,
    task: &mut Task<'_>,
    progress: &dyn Progress,
) -> Result<Option<String>, GitFailure> {
    let broken = |error: &dyn std::fmt::Display| GitFailure::from(format!("cannot start the process for it: {error}"));
    let (input, mut writer) = io::pipe().map_err(|error| broken(&error))?;
    let streams = Streams { input: Some(input.into()), output: None };
    let mut running = program.start(streams).map_err(|_| broken(&program.program))?;
    let receiver = running.lines();
    // A process that ends at once reports the reason itself.
    let _ = serde_json::to_writer(&mut writer, job).map(|()| drop(writer));
    let answer = listen(&mut running, &receiver, task, progress);
    if answer.is_err() {
        // The process has nothing to clean up, and a stopped one could not do so.
        running.signal(Signal::KILL);
    }
    answer
}

/// Reads the process's output up to the final answer.
fn listen(
    running: &mut Running,
    receiver: &Receiver<String>,
    task: &mut Task<'_>,
    progress: &dyn Progress,
) -> Result<Option<String>, GitFailure> {
    let mut indexing: Option<Instant> = None;
    loop {
        if progress.cancelled() {
            return Err(GitFailure::from("interrupted".to_owned()));
        }
        if indexing.is_some_and(|since| since.elapsed() > INDEXING) {
            return Err(GitFailure::from(format!(
                "what the server sent takes more than {} s to index",
                INDEXING.as_secs()
            )));
        }
        match receiver.recv_timeout(PULSE) {
            Ok(line) => match serde_json::from_str(&line) {
                Ok(Line::Progress { done, total }) => {
                    task.set(done, total);
                    let received = total.is_some_and(|total| total > 0 && done >= total);
                    indexing = indexing.filter(|_| received).or_else(|| received.then(Instant::now));
                }
                Ok(Line::Done { head }) => return Ok(head),
                Ok(Line::Failed(failure)) => return Err(failure),
                // The last message of a crashing process.
                Err(_) => {}
            },
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(GitFailure::from(last_word(running.settled())));
            }
        }
    }
}

/// Returns the reason of a process that ended without an answer. A process that runs out of memory aborts.
fn last_word(status: Option<ExitStatus>) -> String {
    const BY_OTHERS: [Option<i32>; 4] = [Some(1), Some(2), Some(9), Some(15)];
    match status.and_then(|status| status.signal()) {
        signal if BY_OTHERS.contains(&signal) => "the process for it was ended by somebody else".to_owned(),
        signal if signal == Some(Signal::XCPU.as_raw()) => {
            format!("{LIMIT_EXCEEDED}: it takes all the processor time that there is for it")
        }
        _ => TOO_MUCH_MEMORY.to_owned(),
    }
}

/// Removes the leftovers of a killed process in `repository`: partial packs, and locks, including those of refs below
/// `refs`. No other process uses the repository meanwhile, because a fetch holds the cache's lock.
fn remove_leftovers(repository: &Utf8Path, refs: &str) {
    let listed = ["", "objects/pack"].map(|folder| fs::entries(&repository.join(folder)).unwrap_or_default());
    let refs = repository.join(refs);
    let walked = fs::walk(&refs).unwrap_or_default().into_iter().map(|(path, _)| refs.join(path));
    for path in listed.into_iter().flatten().chain(walked) {
        let name = path.file_name().unwrap_or_default();
        if name.starts_with("pack_git2_") || path.extension() == Some("lock") {
            let _ = fs::remove_file(&path);
        }
    }
}

/// Runs the job on `input`, and writes lines to `output`: the complete main function of the process.
pub fn run(input: &mut dyn Read, output: &mut (dyn Write + Send)) {
    let output = Pulse { output: Mutex::new((output, None)) };
    let line = match read(input).and_then(|job| fetch(&job, &output)) {
        Ok(head) => Line::Done { head },
        Err(failure) => Line::Failed(failure),
    };
    output.write(&line);
}

fn read(input: &mut dyn Read) -> Result<GitJob, GitFailure> {
    for (resource, most, what) in [(Resource::Data, MEMORY, "memory"), (Resource::Cpu, PROCESSOR, "processor time")] {
        // A limit can be at most the system's hard limit.
        let maximum = getrlimit(resource).maximum;
        let limit = Rlimit { current: Some(maximum.map_or(most, |maximum| maximum.min(most))), maximum };
        setrlimit(resource, limit).map_err(|error| GitFailure::from(format!("cannot limit its {what}: {error}")))?;
    }
    serde_json::from_reader(input).map_err(|error| GitFailure::from(error.to_string()))
}

fn fetch(job: &GitJob, output: &Pulse<'_>) -> Result<Option<String>, GitFailure> {
    super::transport::init_libgit2();
    let repository = Repository::open_bare(&job.repository).map_err(|error| GitFailure::new(&error, None))?;
    let proxy = job.proxy.as_ref().map(|(url, variable, except)| Proxy {
        url: url.as_str().into(),
        variable: variable.clone(),
        except: NoProxy::parse(except).0,
    });
    let http =
        HttpClient::new(proxy.as_ref(), job.limits.clone()).map_err(|error| GitFailure::from(error.to_string()))?;
    let url = Url::from(job.url.as_str());
    let fetcher = Fetcher { repository: &repository, url: &url, http: &http, progress: &Silent };
    fetcher.fetch(&job.wanted, &mut Task::start(output, TaskKind::Clone, "", None))
}

/// Writes lines; limits the rate of progress lines.
struct Pulse<'o> {
    output: Mutex<(&'o mut (dyn Write + Send), Option<Instant>)>,
}

impl Pulse<'_> {
    fn write(&self, line: &Line) {
        let mut output = self.output.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let text = serde_json::to_string(line).unwrap_or_default();
        // A failure means that the parent has exited, in which case the kernel kills this process.
        let _ = writeln!(output.0, "{text}").and_then(|()| output.0.flush());
        output.1 = Some(Instant::now());
    }
}

impl Progress for Pulse<'_> {
    fn report(&self, event: &Event) {
        if let Event::Advanced { done, total, .. } = event {
            let last = self.output.lock().unwrap_or_else(std::sync::PoisonError::into_inner).1;
            if last.is_none_or(|last| last.elapsed() >= PULSE) || Some(*done) == *total {
                self.write(&Line::Progress { done: *done, total: *total });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_checked_to_its_end_does_not_stay() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
        let repository = Repository::init_bare(&folder).unwrap();
        std::fs::write(folder.join("objects/pack/pack-1.pack"), "").unwrap();
        let (http, wanted) =
            (HttpClient::new(None, TransferLimits::default()).unwrap(), GitWant::All { own: "refs/x/".into() });
        let job = GitJob::new(&repository, &"git://h/x".into(), &http, &wanted);
        let ask = |line: &str| {
            let script =
                format!("touch {folder}/objects/pack/pack-2.pack {folder}/objects/pack/pack-2.idx; echo '{line}'");
            let program = Command::new("test", "sh").args(["-c", &script]).env("PATH", "/usr/bin:/bin");
            let answer = super::ask(&program, &job, &mut Task::start(&Silent, TaskKind::Clone, "", None), &Silent);
            (answer.is_ok(), packs(&folder).len())
        };
        assert_eq!(ask(r#"{"Failed":{"reason":"no","check":null,"is_of_cache":false}}"#), (false, 1));
        assert_eq!(ask(""), (false, 1));
        assert_eq!(ask(r#"{"Done":{"head":null}}"#), (true, 3));
    }

    #[test]
    fn a_process_that_was_killed_is_no_fault_of_the_server() {
        assert_eq!(last_word(Some(ExitStatus::from_raw(9))), "the process for it was ended by somebody else");
        let word = last_word(Some(ExitStatus::from_raw(Signal::XCPU.as_raw())));
        assert_eq!(word, "the server sends too much: it takes all the processor time that there is for it");
        for status in [Some(ExitStatus::from_raw(6)), Some(ExitStatus::from_raw(256)), None] {
            assert_eq!(last_word(status), TOO_MUCH_MEMORY);
        }
    }
}
