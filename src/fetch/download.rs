//! Downloads one file: limits its size, resumes it if the server supports that, and retries after temporary failures.

use crate::base::plural::{count, size};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};

use camino::{Utf8Path, Utf8PathBuf};
use ureq::http::StatusCode;

use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Help, Page};
use crate::base::fs;
use crate::base::http::{self, HttpClient, Response};
use crate::base::progress::{Progress, Task, TaskKind, pause};
use crate::base::url::Url;

/// Number of bytes to write between syncs to disk.
const FLUSHED: u64 = 16 << 20;

/// Address of a file to download.
#[derive(Debug, Clone)]
pub struct DownloadUrl<'a> {
    /// The address.
    pub url: &'a Url,
    /// Remedy if the address does not work.
    pub remedy: Help,
}

/// Errors from downloading a file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server returned an error status.
    #[error("cannot download `{url}`: found status {status}, wanted 200")]
    Status {
        /// The address.
        url: String,
        /// The response status.
        status: StatusCode,
        /// As in [`DownloadUrl`].
        remedy: Box<Help>,
    },
    /// The file is larger than any honest file of its kind.
    #[error("cannot download `{url}`: found more than {limit} bytes, wanted at most that")]
    TooLarge {
        /// The address.
        url: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The request failed in a way that another attempt cannot fix.
    #[error("cannot download `{url}`: {cause}")]
    Refused {
        /// The address.
        url: String,
        /// The cause.
        cause: http::Error,
        /// As in [`DownloadUrl`].
        remedy: Box<Help>,
    },
    /// The connection failed in every attempt.
    #[error("cannot download `{url}`: {reason}, after {}", count(*attempts, "attempt"))]
    Connection {
        /// The address.
        url: String,
        /// Cause of the last failure.
        reason: http::Error,
        /// Number of attempts.
        attempts: u32,
        /// Whether another run resumes the download.
        resumes: bool,
        /// As in [`DownloadUrl`].
        remedy: Box<Help>,
    },
    /// The user asked to stop.
    #[error("cannot download `{url}`: interrupted")]
    Cancelled {
        /// The address.
        url: String,
    },
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Status { url, remedy, .. } => {
                Class::Unavailable.about(url).help("check the address").help((**remedy).clone())
            }
            Self::TooLarge { url, .. } => {
                Class::Unavailable.about(url).help("check the address: this cannot be the file that is wanted")
            }
            Self::Refused { url, cause, remedy } => {
                let check = cause.remedy().map_or("check the address".into(), Help::Fix);
                Class::Unavailable
                    .about(url)
                    .help(check)
                    .help((**remedy).clone())
                    .page(cause.is_of_network().then_some(Page::ClosedNetwork))
            }
            Self::Connection { url, reason, remedy, resumes, .. } => Class::Unavailable
                .about(url)
                .help(reason.remedy().map_or(if *resumes { Help::Resume } else { Help::Again }, Help::Fix))
                .help((**remedy).clone())
                .page(reason.is_of_network().then_some(Page::ClosedNetwork)),
            Self::Cancelled { url } => Class::Interrupted.about(url),
            Self::Fs(error) => error.diagnosis(),
        }
    }
}

/// Failure of one attempt.
pub(super) enum DownloadFailure {
    Final(Error),
    Passing(http::Error),
}

impl DownloadFailure {
    pub(super) fn passing(reason: impl Into<String>) -> Self {
        Self::Passing(http::Error::Connection(reason.into()))
    }
}

impl From<fs::Error> for DownloadFailure {
    fn from(error: fs::Error) -> Self {
        Self::Final(error.into())
    }
}

/// Downloads the file at `address` into the file `partial`. On failure, `partial` keeps the data received so far.
/// `limit` is the largest accepted size in bytes.
///
/// # Errors
///
/// [`Error`].
pub fn download(
    http: &HttpClient,
    address: &DownloadUrl<'_>,
    partial: &Utf8Path,
    limit: u64,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let DownloadUrl { url, remedy } = address;
    fs::create_dir_all(partial.parent().unwrap_or(Utf8Path::new(".")))?;
    let mut task = Task::start(progress, TaskKind::Download, url.to_string(), None);
    let mut reason = http::Error::Connection(String::new());
    for attempt in 0..http.limits.attempts {
        if attempt > 0 {
            pause(http.limits.pause * 2_u32.pow(attempt - 1), progress);
        }
        if progress.cancelled() {
            return Err(Error::Cancelled { url: url.to_string() });
        }
        let result = http.interruptible(progress, || attempt_once(http, address, partial, limit, &mut task));
        match result {
            // A success does not count after a cancel: if the server does not send the length, breaking off the
            // connection looks like the end of the file.
            _ if progress.cancelled() => return Err(Error::Cancelled { url: url.to_string() }),
            Ok(bytes) => {
                fs::remove_file(&validator_file(partial))?;
                task.finish(size(bytes));
                return Ok(());
            }
            Err(DownloadFailure::Final(error)) => {
                if matches!(error, Error::TooLarge { .. }) {
                    forget(partial)?;
                }
                return Err(error);
            }
            Err(DownloadFailure::Passing(why)) => reason = why,
        }
    }
    Err(Error::Connection {
        url: url.to_string(),
        reason,
        attempts: http.limits.attempts,
        resumes: resumable(partial)?.is_some(),
        remedy: Box::new(remedy.clone()),
    })
}

fn attempt_once(
    http: &HttpClient,
    address: &DownloadUrl<'_>,
    partial: &Utf8Path,
    limit: u64,
    task: &mut Task<'_>,
) -> Result<u64, DownloadFailure> {
    let url = address.url;
    let have = resumable(partial)?;
    let headers = match &have {
        Some((length, validator)) => vec![("Range", format!("bytes={length}-")), ("If-Range", validator.clone())],
        None => Vec::new(),
    };
    let (response, _) =
        http.get_unless(url, &headers, &|| task.cancelled()).map_err(|error| classify(address, error))?;
    if let Some(encoding) = response.headers().get("content-encoding").filter(|it| *it != "identity") {
        let shown = String::from_utf8_lossy(encoding.as_bytes()).chars().take(40).collect();
        return Err(classify(address, http::Error::Encoded(shown)));
    }
    let too_large = || DownloadFailure::Final(Error::TooLarge { url: url.to_string(), limit });
    let (mut file, start) = open(&response, address, partial, have.map(|(length, _)| length))?;
    let total = response.body().content_length().map(|rest| start.saturating_add(rest));
    if total.is_some_and(|total| total > limit) {
        return Err(too_large());
    }
    let mut reader = http.body(response);
    let mut done = start;
    task.set(done, total);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) => {
                let reason = http::reason(&error.into());
                return Err(DownloadFailure::passing(format!(
                    "the transfer stopped after {} ({reason})",
                    count(done, "byte")
                )));
            }
        };
        done += count as u64;
        if done > limit {
            return Err(too_large());
        }
        let written = file.write_all(&buffer[..count]).and_then(|()| {
            // Leaves little to sync at the end, when the user can no longer cancel.
            if done / FLUSHED > (done - count as u64) / FLUSHED { file.sync_data() } else { Ok(()) }
        });
        written.map_err(|error| fs::Error::new("write", partial, error))?;
        task.set(done, total);
    }
    Ok(done)
}

/// Opens the file to write the response to, and returns it with the number of bytes that it already has. `have` is the
/// offset from which the request asked to resume.
fn open(
    response: &Response,
    DownloadUrl { url, remedy }: &DownloadUrl<'_>,
    partial: &Utf8Path,
    have: Option<u64>,
) -> Result<(File, u64), DownloadFailure> {
    match (response.status(), have) {
        (StatusCode::PARTIAL_CONTENT, Some(length)) if starts_at(response) == Some(length) => {
            let file = OpenOptions::new().append(true).open(partial);
            Ok((file.map_err(|error| fs::Error::new("open", partial, error))?, length))
        }
        (StatusCode::PARTIAL_CONTENT, Some(_)) => {
            forget(partial)?;
            Err(DownloadFailure::passing("the server sent another part of the file than it was asked for"))
        }
        (StatusCode::OK, _) => {
            fs::remove_file(&validator_file(partial))?;
            let file = File::create(partial).map_err(|error| fs::Error::new("create", partial, error))?;
            if let Some(validator) = validator(response) {
                fs::write_atomic(&validator_file(partial), validator.as_bytes())?;
            }
            Ok((file, 0))
        }
        (StatusCode::RANGE_NOT_SATISFIABLE, Some(_)) => {
            forget(partial)?;
            Err(DownloadFailure::passing("the server does not have the rest of the file"))
        }
        (status, _) if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            Err(DownloadFailure::passing(format!("found status {status}")))
        }
        (status, _) => Err(DownloadFailure::Final(Error::Status {
            url: url.to_string(),
            status,
            remedy: Box::new(remedy.clone()),
        })),
    }
}

/// Decides whether another attempt may succeed after `error`.
pub(super) fn classify(DownloadUrl { url, remedy }: &DownloadUrl<'_>, error: http::Error) -> DownloadFailure {
    if error.passes() {
        return DownloadFailure::Passing(error);
    }
    DownloadFailure::Final(Error::Refused { url: url.to_string(), cause: error, remedy: Box::new(remedy.clone()) })
}

fn validator_file(partial: &Utf8Path) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{partial}.validator"))
}

/// Removes the data received so far, which no later attempt can use.
fn forget(partial: &Utf8Path) -> Result<(), fs::Error> {
    fs::remove_file(partial)?;
    fs::remove_file(&validator_file(partial))
}

/// Returns the offset of the response's first byte in the file, if `Content-Range` states it.
fn starts_at(response: &Response) -> Option<u64> {
    let range = response.headers().get("content-range")?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok()
}

/// Returns the validator with which a server can tell whether the file has changed since. Weak `ETag`s do not qualify.
pub(super) fn validator(response: &Response) -> Option<String> {
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    header("etag").filter(|etag| !etag.starts_with("W/")).or_else(|| header("last-modified"))
}

fn resumable(partial: &Utf8Path) -> Result<Option<(u64, String)>, fs::Error> {
    let Some(validator) = fs::read_if_exists(&validator_file(partial))? else { return Ok(None) };
    let length = partial.metadata().map_or(0, |metadata| metadata.len());
    Ok(String::from_utf8(validator).ok().filter(|_| length > 0).map(|validator| (length, validator)))
}
