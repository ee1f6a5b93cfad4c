//! Downloads one file: capped in size, resumed where the server allows it, tried again after
//! faults that may pass.

use crate::base::plural::count;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};

use camino::{Utf8Path, Utf8PathBuf};
use ureq::http::StatusCode;

use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Help};
use crate::base::fs;
use crate::base::http::{self, HttpClient, Response};
use crate::base::progress::{Progress, Task, TaskKind, pause};
use crate::base::url::Url;

/// How many bytes are written before they have to be on the disk.
const FLUSHED: u64 = 16 << 20;

/// Where a file is downloaded from.
#[derive(Debug, Clone)]
pub struct DownloadUrl<'a> {
    /// Its address.
    pub url: &'a Url,
    /// The remedy where the address does not help.
    pub remedy: Help,
}

/// Why a download failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server refused.
    #[error("cannot download `{url}`: found status {status}, wanted 200")]
    Status {
        /// The address.
        url: String,
        /// The answer.
        status: StatusCode,
        /// As in [`DownloadUrl`].
        remedy: Box<Help>,
    },
    /// The file is larger than it can honestly be.
    #[error("cannot download `{url}`: found more than {limit} bytes, wanted at most that")]
    TooLarge {
        /// The address.
        url: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// No answer can be had from there.
    #[error("cannot download `{url}`: {cause}")]
    Refused {
        /// The address.
        url: String,
        /// Why.
        cause: http::Error,
        /// As in [`DownloadUrl`].
        remedy: Box<Help>,
    },
    /// The connection failed, again and again.
    #[error("cannot download `{url}`: {reason}, after {}", count(*attempts, "attempt"))]
    Connection {
        /// The address.
        url: String,
        /// What went wrong last.
        reason: http::Error,
        /// How often it was tried.
        attempts: u32,
        /// As in [`DownloadUrl`].
        remedy: Box<Help>,
    },
    /// The user asked to stop.
    #[error("cannot download `{url}`: interrupted")]
    Cancelled {
        /// The address.
        url: String,
    },
    /// A file cannot be written.
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
                Class::Unavailable.about(url).help(check).help((**remedy).clone())
            }
            Self::Connection { url, reason, remedy, .. } => Class::Unavailable
                .about(url)
                .help(reason.remedy().map_or(Help::Resume, Help::Fix))
                .help((**remedy).clone()),
            Self::Cancelled { url } => Class::Interrupted.about(url),
            Self::Fs(error) => error.diagnosis(),
        }
    }
}

/// What one attempt came to, where it did not succeed.
enum Attempt {
    Final(Error),
    Passing(http::Error),
}

impl Attempt {
    fn passing(reason: impl Into<String>) -> Self {
        Self::Passing(http::Error::Connection(reason.into()))
    }
}

impl From<fs::Error> for Attempt {
    fn from(error: fs::Error) -> Self {
        Self::Final(error.into())
    }
}

/// Downloads the file at `address` into the file `partial`, which keeps what has arrived when this fails.
/// `limit` is the largest size in bytes that is accepted.
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
            // Even a success is none then: where a server does not tell the length, breaking the
            // connection off looks like the end of the file.
            _ if progress.cancelled() => return Err(Error::Cancelled { url: url.to_string() }),
            Ok(bytes) => {
                fs::remove_file(&validator_file(partial))?;
                task.finish(count(bytes, "byte"));
                return Ok(());
            }
            Err(Attempt::Final(error)) => {
                if matches!(error, Error::TooLarge { .. }) {
                    forget(partial)?;
                }
                return Err(error);
            }
            Err(Attempt::Passing(why)) => reason = why,
        }
    }
    Err(Error::Connection {
        url: url.to_string(),
        reason,
        attempts: http.limits.attempts,
        remedy: Box::new(remedy.clone()),
    })
}

fn attempt_once(
    http: &HttpClient,
    address: &DownloadUrl<'_>,
    partial: &Utf8Path,
    limit: u64,
    task: &mut Task<'_>,
) -> Result<u64, Attempt> {
    let url = address.url;
    let have = resumable(partial)?;
    let headers = match &have {
        Some((length, validator)) => vec![("Range", format!("bytes={length}-")), ("If-Range", validator.clone())],
        None => Vec::new(),
    };
    let (response, _) =
        http.get_unless(url, &headers, &|| task.cancelled()).map_err(|error| classify(address, error))?;
    let too_large = || Attempt::Final(Error::TooLarge { url: url.to_string(), limit });
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
                return Err(Attempt::passing(format!("the transfer stopped after {} ({reason})", count(done, "byte"))));
            }
        };
        done += count as u64;
        if done > limit {
            return Err(too_large());
        }
        let written = file.write_all(&buffer[..count]).and_then(|()| {
            // So that little is left to wait for at the end, when nobody can be asked whether to stop.
            if done / FLUSHED > (done - count as u64) / FLUSHED { file.sync_data() } else { Ok(()) }
        });
        written.map_err(|error| fs::Error::new("write", partial, error))?;
        task.set(done, total);
    }
    Ok(done)
}

/// The file to write the answer to, and how much of it is there already; `have` is what was asked
/// to be resumed.
fn open(
    response: &Response,
    DownloadUrl { url, remedy }: &DownloadUrl<'_>,
    partial: &Utf8Path,
    have: Option<u64>,
) -> Result<(File, u64), Attempt> {
    match (response.status(), have) {
        (StatusCode::PARTIAL_CONTENT, Some(length)) if starts_at(response) == Some(length) => {
            let file = OpenOptions::new().append(true).open(partial);
            Ok((file.map_err(|error| fs::Error::new("open", partial, error))?, length))
        }
        (StatusCode::PARTIAL_CONTENT, Some(_)) => {
            forget(partial)?;
            Err(Attempt::passing("the server sent another part of the file than it was asked for"))
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
            Err(Attempt::passing("the server does not have the rest of the file"))
        }
        (status, _) if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            Err(Attempt::passing(format!("found status {status}")))
        }
        (status, _) => {
            Err(Attempt::Final(Error::Status { url: url.to_string(), status, remedy: Box::new(remedy.clone()) }))
        }
    }
}

fn classify(DownloadUrl { url, remedy }: &DownloadUrl<'_>, error: http::Error) -> Attempt {
    if error.passes() {
        return Attempt::Passing(error);
    }
    Attempt::Final(Error::Refused { url: url.to_string(), cause: error, remedy: Box::new(remedy.clone()) })
}

fn validator_file(partial: &Utf8Path) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{partial}.validator"))
}

/// Removes what has arrived: no later attempt can make use of it.
fn forget(partial: &Utf8Path) -> Result<(), fs::Error> {
    fs::remove_file(partial)?;
    fs::remove_file(&validator_file(partial))
}

/// The place of an answer's first byte in the file, where it says so.
fn starts_at(response: &Response) -> Option<u64> {
    let range = response.headers().get("content-range")?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok()
}

/// What lets a server tell whether its file is still the one that was begun. Weak ones do not.
fn validator(response: &Response) -> Option<String> {
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    header("etag").filter(|etag| !etag.starts_with("W/")).or_else(|| header("last-modified"))
}

fn resumable(partial: &Utf8Path) -> Result<Option<(u64, String)>, fs::Error> {
    let Some(validator) = fs::read_if_exists(&validator_file(partial))? else { return Ok(None) };
    let length = partial.metadata().map_or(0, |metadata| metadata.len());
    Ok(String::from_utf8(validator).ok().filter(|_| length > 0).map(|validator| (length, validator)))
}
