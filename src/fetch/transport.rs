//! Implements git's smart protocol over the tool's own HTTP client, so that git adds no second TLS stack.
//!
//! libgit2 registers transports by URL scheme for the whole process. Each thread therefore lends its client to libgit2,
//! which opens a transport on the thread that fetches.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use git2::ConfigLevel;
use git2::transport::{Service, SmartSubtransport, SmartSubtransportStream, Transport};

use super::git_stream::{GitConnection, LimitedPktReader, pack_pace};
use crate::base::http::{self, HttpClient, ThroughputGuard, with_cancel_hook};
use crate::base::progress::Progress;
use crate::base::url::Url;
use crate::printable::printable;

/// State that a fetch lends to the transports that libgit2 opens for it.
#[derive(Clone)]
struct TransportContext {
    http: HttpClient,
    cancelled: Arc<AtomicBool>,
    /// Reason why there was no response: libgit2 keeps only its text.
    cause: Arc<Mutex<Option<http::Error>>>,
}

thread_local! {
    static CURRENT: RefCell<Option<TransportContext>> = const { RefCell::new(None) };
}

/// Runs `work`, in which libgit2 reaches `http`, `https` and `git` URLs with `http`. Aborts the current transfer when
/// `progress` is cancelled. If a server did not respond, the second value is the reason.
pub(super) fn with_http<T>(
    http: &HttpClient,
    progress: &dyn Progress,
    work: impl FnOnce() -> T,
) -> (T, Option<http::Error>) {
    struct ResetOnDrop;
    impl Drop for ResetOnDrop {
        fn drop(&mut self) {
            CURRENT.with_borrow_mut(|current| *current = None);
        }
    }
    init_libgit2();
    let context = TransportContext { http: http.clone(), cancelled: Arc::default(), cause: Arc::default() };
    CURRENT.with_borrow_mut(|current| *current = Some(context.clone()));
    let _return = ResetOnDrop;
    let end = || context.cancelled.store(true, Ordering::Relaxed);
    let done = with_cancel_hook(progress, end, || http.interruptible(progress, work));
    let cause = context.cause.lock().unwrap_or_else(PoisonError::into_inner).take();
    (done, cause)
}

/// Number of bytes of a pack that libgit2 maps at a time, and in all.
const MWINDOW_SIZE: usize = 8 << 20;
const MWINDOW_MAPPED_LIMIT: usize = 64 << 20;
/// Number of bytes that libgit2 caches of the objects it has read.
const CACHE: isize = 32 << 20;

/// Sets up libgit2, once for the process: this module's transports, memory limits, and no configuration files, which
/// could redirect a fetch. Disables the check of a repository's owner: nothing in a repository is executed, and
/// whatever is read from it is compared with the pins.
#[expect(
    unsafe_code,
    reason = "git2 marks these as unsafe because libgit2 keeps its settings and its table of transports unlocked"
)]
pub(super) fn init_libgit2() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        let current = || CURRENT.with_borrow(Clone::clone).ok_or_else(|| error("no HTTP client was lent"));
        let web = move |remote: &git2::Remote<'_>| {
            Transport::smart(remote, true, WebTransport { context: current()?, redirected: Arc::default() })
        };
        let daemon =
            move |remote: &git2::Remote<'_>| Transport::smart(remote, false, GitTransport { context: current()? });
        let levels = [ConfigLevel::ProgramData, ConfigLevel::System, ConfigLevel::XDG, ConfigLevel::Global];
        // SAFETY: Settings and table must not change while libgit2 is in use elsewhere. This crate is its only user in
        // the process, every use begins with opening the cache, which calls this function first, and `OnceLock` makes
        // all other threads wait until it is done.
        let prepared = unsafe {
            levels
                .into_iter()
                .try_for_each(|level| git2::opts::set_search_path(level, ""))
                .and_then(|()| git2::opts::set_verify_owner_validation(false))
                .and_then(|()| git2::opts::set_mwindow_size(MWINDOW_SIZE))
                .and_then(|()| git2::opts::set_mwindow_mapped_limit(MWINDOW_MAPPED_LIMIT))
                .and_then(|()| git2::opts::set_cache_max_size(CACHE))
                .and_then(|()| git2::transport::register("http", web))
                .and_then(|()| git2::transport::register("https", web))
                .and_then(|()| git2::transport::register("git", daemon))
        };
        // Only an unknown setting or a scheme registered twice is refused.
        debug_assert!(prepared.is_ok(), "libgit2 takes its settings: {prepared:?}");
    });
}

fn error(message: &str) -> git2::Error {
    git2::Error::new(git2::ErrorCode::GenericError, git2::ErrorClass::Net, message)
}

/// Suffix of a repository's address for listing its refs.
const ADVERTISEMENT: &str = "/info/refs?service=git-upload-pack";

/// git over `git://`: one connection for everything.
struct GitTransport {
    context: TransportContext,
}

impl SmartSubtransport for GitTransport {
    fn action(&self, url: &str, action: Service) -> Result<Box<dyn SmartSubtransportStream>, git2::Error> {
        if action != Service::UploadPackLs {
            return Err(error("this tool never pushes"));
        }
        let connection = GitConnection::open(url, &self.context.http.limits, &self.context.cancelled);
        Ok(Box::new(connection.map_err(|failure| error(&http::reason(&failure.into())))?))
    }

    fn close(&self) -> Result<(), git2::Error> {
        Ok(())
    }
}

/// git over HTTP: one request and response at a time.
struct WebTransport {
    context: TransportContext,
    /// The repository's actual address, after a redirect.
    redirected: Arc<Mutex<Option<Url>>>,
}

impl SmartSubtransport for WebTransport {
    fn action(&self, url: &str, action: Service) -> Result<Box<dyn SmartSubtransportStream>, git2::Error> {
        let request = match action {
            Service::UploadPackLs => Request::Advertisement,
            Service::UploadPack => Request::Pack(Vec::new()),
            Service::ReceivePackLs | Service::ReceivePack => return Err(error("this tool never pushes")),
        };
        let (context, redirected) = (self.context.clone(), Arc::clone(&self.redirected));
        Ok(Box::new(Stream { context, url: url.trim_end_matches('/').into(), redirected, request, answer: None }))
    }

    fn close(&self) -> Result<(), git2::Error> {
        Ok(())
    }
}

enum Request {
    Advertisement,
    /// The body, as written so far.
    Pack(Vec<u8>),
}

/// One request and its response; the request is sent when the response is first read.
struct Stream {
    context: TransportContext,
    url: Url,
    redirected: Arc<Mutex<Option<Url>>>,
    request: Request,
    answer: Option<Box<dyn Read + Send>>,
}

impl Stream {
    fn send(&self) -> io::Result<Box<dyn Read + Send>> {
        let mut redirected = self.redirected.lock().unwrap_or_else(PoisonError::into_inner);
        let (url, http) = (redirected.as_ref().unwrap_or(&self.url), &self.context.http);
        let (answer, wanted) = match &self.request {
            Request::Advertisement => {
                let list = Url::from(format!("{}{ADVERTISEMENT}", url.expose()));
                (http.get(&list, &[]), "application/x-git-upload-pack-advertisement")
            }
            Request::Pack(body) => {
                let headers = [
                    ("Content-Type", "application/x-git-upload-pack-request".into()),
                    ("Accept", "application/x-git-upload-pack-result".into()),
                ];
                let answer = http.post(&url.join("/git-upload-pack"), &headers, body);
                (answer.map(|answer| (answer, url.clone())), "application/x-git-upload-pack-result")
            }
        };
        let (response, final_url) = answer.map_err(|cause| {
            let error = io::Error::other(cause.to_string());
            *self.context.cause.lock().unwrap_or_else(PoisonError::into_inner) = Some(cause);
            error
        })?;
        if !response.status().is_success() {
            return Err(io::Error::other(format!("found status {}, wanted 200", response.status())));
        }
        let found = response.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or("nothing");
        if found.split(';').next().is_none_or(|kind| kind.trim() != wanted) {
            let found = printable(found);
            return Err(io::Error::other(format!("found `{found}`, wanted `{wanted}`: this is not a git repository")));
        }
        let body = response.into_body().into_reader();
        let min_throughput = http.limits.min_throughput;
        // Only the request for the list of refs can be redirected, so that the next request must use the new address
        // at once; git does the same.
        if let Request::Advertisement = self.request {
            *redirected = final_url.expose().strip_suffix(ADVERTISEMENT).map(Url::from);
            return Ok(Box::new(LimitedPktReader::list(ThroughputGuard::new(body, min_throughput), 2)));
        }
        Ok(Box::new(LimitedPktReader::rest(ThroughputGuard::new(body, pack_pace(min_throughput)))))
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.answer.is_none() {
            self.answer = Some(self.send()?);
        }
        let read = self.answer.as_mut().map_or(Ok(0), |answer| answer.read(buf));
        read.map_err(|error| io::Error::other(http::reason(&error.into())))
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match &mut self.request {
            Request::Pack(body) => body.write(buf),
            Request::Advertisement => Err(io::Error::other("an advertisement is only read")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
