//! Reads parts of a file on a server, where the server has it by parts: each request is for one block, and no block is
//! fetched twice.
//!
//! No digest covers a part of a file. What is read this way needs a proof of its own.

use std::collections::BTreeMap;
use std::io::Read;

use super::download::{self, DownloadFailure, DownloadUrl, classify, validator};
use crate::base::http::{self, HttpClient, Response};
use crate::base::plural::{count, size};
use crate::base::progress::{Progress, Task, TaskKind, pause};
use crate::printable::printable;

/// Size of a block in bytes.
const BLOCK: u64 = 256 << 10;
/// Maximum number of blocks of a file that are fetched, 16 MiB in all. They stay in memory.
const MAX_BLOCKS: usize = 64;

/// Errors from reading parts of a file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server does not have the file by parts.
    #[error("`{url}` is not to be had by parts: {found}")]
    Unsupported {
        /// The address.
        url: String,
        /// What the server sent.
        found: String,
    },
    /// More of the file is wanted than makes sense.
    #[error("`{url}`: found {MAX_BLOCKS} parts that do not suffice, wanted at most that")]
    TooMany {
        /// The address.
        url: String,
    },
    /// A part could not be downloaded.
    #[error(transparent)]
    Download(#[from] download::Error),
}

/// A file on a server, by parts.
pub struct RangeReader<'a> {
    http: &'a HttpClient,
    address: DownloadUrl<'a>,
    /// Size of the file; the first response tells it.
    size: Option<u64>,
    /// What the first response says about the state of the file.
    validator: Option<String>,
    blocks: BTreeMap<u64, Vec<u8>>,
    task: Task<'a>,
}

/// Failure of a request: final, or for an attempt.
enum Failed {
    Unsupported(String),
    Attempt(DownloadFailure),
}

impl Failed {
    fn passing(reason: impl Into<String>) -> Self {
        Self::Attempt(DownloadFailure::passing(reason))
    }
}

impl<'a> RangeReader<'a> {
    /// Opens the file at `address`, of at most `limit` bytes, and reads its first block.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn open(
        http: &'a HttpClient,
        address: DownloadUrl<'a>,
        limit: u64,
        progress: &'a dyn Progress,
    ) -> Result<Self, Error> {
        let task = Task::start(progress, TaskKind::Download, format!("parts of {}", address.url), None);
        let mut file = Self { http, address, size: None, validator: None, blocks: BTreeMap::new(), task };
        file.fetch(0)?;
        if file.size() > limit {
            return Err(download::Error::TooLarge { url: file.url(), limit }.into());
        }
        Ok(file)
    }

    /// Returns the size of the file in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size.unwrap_or_default()
    }

    /// Fills `buffer` with the bytes of the file from `offset` on, all of which exist.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let (mut at, mut rest) = (offset, buffer);
        while !rest.is_empty() {
            let index = at / BLOCK;
            if !self.blocks.contains_key(&index) {
                self.fetch(index)?;
            }
            let skipped = usize::try_from(at % BLOCK).unwrap_or(usize::MAX);
            let block = self.blocks.get(&index).and_then(|block| block.get(skipped..)).unwrap_or_default();
            let taken = block.len().min(rest.len());
            if taken == 0 {
                return Err(self.unsupported("it ends before its end".to_owned()));
            }
            let (now, later) = rest.split_at_mut(taken);
            now.copy_from_slice(&block[..taken]);
            (at, rest) = (at + taken as u64, later);
        }
        Ok(())
    }

    /// Reports that all parts that are needed have been read.
    pub fn finish(self) {
        let detail = format!("{} in {}", size(self.task.done()), count(self.blocks.len() as u64, "part"));
        self.task.finish(detail);
    }

    fn url(&self) -> String {
        self.address.url.to_string()
    }

    fn unsupported(&self, found: String) -> Error {
        Error::Unsupported { url: self.url(), found }
    }

    /// Fetches the block `index`, in several attempts.
    fn fetch(&mut self, index: u64) -> Result<(), Error> {
        if self.blocks.len() == MAX_BLOCKS {
            return Err(Error::TooMany { url: self.url() });
        }
        let progress = self.task.progress();
        let cancelled = || Error::from(download::Error::Cancelled { url: self.address.url.to_string() });
        let mut reason = http::Error::Connection(String::new());
        for attempt in 0..self.http.limits.attempts {
            if attempt > 0 {
                pause(self.http.limits.pause * 2_u32.pow(attempt - 1), progress);
            }
            if progress.cancelled() {
                return Err(cancelled());
            }
            let result = self.http.interruptible(progress, || self.request(index));
            match result {
                _ if progress.cancelled() => return Err(cancelled()),
                Ok((block, size, validator)) => {
                    self.task.add(block.len() as u64);
                    self.blocks.insert(index, block);
                    (self.size, self.validator) = (Some(size), validator);
                    return Ok(());
                }
                Err(Failed::Unsupported(found)) => return Err(self.unsupported(found)),
                Err(Failed::Attempt(DownloadFailure::Final(error))) => return Err(error.into()),
                Err(Failed::Attempt(DownloadFailure::Passing(why))) => reason = why,
            }
        }
        let (url, attempts, remedy) = (self.url(), self.http.limits.attempts, Box::new(self.address.remedy.clone()));
        Err(download::Error::Connection { url, reason, attempts, resumes: false, remedy }.into())
    }

    /// Requests the block `index` once. Returns it with the size and the state of the file.
    fn request(&self, index: u64) -> Result<(Vec<u8>, u64, Option<String>), Failed> {
        let start = index * BLOCK;
        let last = start + BLOCK.min(self.size.map_or(BLOCK, |size| size.saturating_sub(start).max(1))) - 1;
        let mut headers = vec![("Range", format!("bytes={start}-{last}"))];
        headers.extend(self.validator.iter().map(|validator| ("If-Range", validator.clone())));
        let progress = self.task.progress();
        let asked = self.http.get_unless(self.address.url, &headers, &|| progress.cancelled());
        let (response, _) = asked.map_err(|error| Failed::Attempt(classify(&self.address, error)))?;
        self.check_status(&response)?;
        if response.headers().get("content-encoding").is_some() {
            return Err(Failed::Unsupported("a part comes encoded".into()));
        }
        let (size, state) = (content_range(&response, start, last)?, validator(&response));
        if self.size.is_some_and(|known| known != size) || (self.size.is_some() && state != self.validator) {
            return Err(Failed::Unsupported("the file changes meanwhile".into()));
        }
        let wanted = last.min(size - 1) + 1 - start;
        let mut block = Vec::new();
        // Everything but a whole block is a broken transfer; one byte more tells that it is longer.
        let read = self.http.body(response).take(wanted + 1).read_to_end(&mut block);
        if let Err(error) = read {
            return Err(Failed::passing(format!("the transfer stopped ({})", http::reason(&error.into()))));
        }
        match (block.len() as u64).cmp(&wanted) {
            std::cmp::Ordering::Equal => Ok((block, size, state)),
            std::cmp::Ordering::Less => Err(Failed::passing("the transfer stopped before the end of the part")),
            std::cmp::Ordering::Greater => Err(Failed::Unsupported("a part is longer than it should be".into())),
        }
    }

    fn check_status(&self, response: &Response) -> Result<(), Failed> {
        let (status, url) = (response.status(), self.url());
        match status.as_u16() {
            206 => Ok(()),
            // A server, or a proxy before it, that does not send parts may send the whole.
            200 | 400 | 403 | 405 | 406 | 416 | 501 => {
                Err(Failed::Unsupported(format!("found status {status}, wanted 206")))
            }
            429 | 500.. => Err(Failed::passing(format!("found status {status}"))),
            _ => {
                let remedy = Box::new(self.address.remedy.clone());
                Err(Failed::Attempt(DownloadFailure::Final(download::Error::Status { url, status, remedy })))
            }
        }
    }
}

/// Returns the size of the file of which `response` says that it has the bytes from `start` to `last`, or to the end of
/// the file if that comes first.
fn content_range(response: &Response, start: u64, last: u64) -> Result<u64, Failed> {
    let text = response.headers().get("content-range").map(|value| String::from_utf8_lossy(value.as_bytes()));
    let text = text.unwrap_or_default();
    let read = || {
        let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
        let (from, to) = range.split_once('-')?;
        let [from, to, size] = [from, to, size].map(|number| number.parse::<u64>().ok());
        let size = size.filter(|size| *size > start)?;
        (from? == start && to? == last.min(size - 1)).then_some(size)
    };
    read().ok_or_else(|| {
        let found: String = text.chars().take(80).collect();
        Failed::Unsupported(format!("found the range `{}`, wanted `bytes {start}-{last}`", printable(&found)))
    })
}
