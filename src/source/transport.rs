//! git's smart protocol over the tool's own HTTP client, so that git brings no second TLS stack.
//!
//! libgit2 knows transports by URL scheme, for the whole process. The client to use is therefore
//! lent per thread: libgit2 opens a transport on the thread that fetches.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, OnceLock};

use git2::ConfigLevel;
use git2::transport::{Service, SmartSubtransport, SmartSubtransportStream, Transport};

use ureq::ResponseExt;

use super::http::{self, Http};
use crate::printable::printable;

thread_local! {
    static LENT: RefCell<Option<Http>> = const { RefCell::new(None) };
}

/// Does `work`, in which git's `http` and `https` URLs are reached through `http`.
pub(super) fn with_http<T>(http: &Http, work: impl FnOnce() -> T) -> T {
    struct Return;
    impl Drop for Return {
        fn drop(&mut self) {
            LENT.with_borrow_mut(|lent| *lent = None);
        }
    }
    prepare();
    LENT.with_borrow_mut(|lent| *lent = Some(http.clone()));
    let _return = Return;
    work()
}

/// What git servers over `git://` may take to connect and to answer, in milliseconds.
const PATIENCE: i32 = 30_000;

/// Sets libgit2 up, once for the process: our transports, timeouts, and nobody's configuration, which
/// could lead a fetch elsewhere. Whose a repository is does not matter either: nothing of it is run,
/// and what is read from it is compared with the pins.
#[expect(
    unsafe_code,
    reason = "git2 marks these as unsafe because libgit2 keeps its settings and its table of transports unlocked"
)]
pub(super) fn prepare() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        let transport = |remote: &git2::Remote<'_>| {
            let http = LENT.with_borrow(Clone::clone).ok_or_else(|| error("no HTTP client was lent"))?;
            Transport::smart(remote, true, Subtransport { http, moved: Arc::default() })
        };
        let levels = [ConfigLevel::ProgramData, ConfigLevel::System, ConfigLevel::XDG, ConfigLevel::Global];
        // SAFETY: settings and table must not change while libgit2 is in use elsewhere. This crate is
        // its only user in the process, every use of it begins with opening the cache, which passes
        // here first, and `OnceLock` makes all others wait until this is done.
        let prepared = unsafe {
            levels
                .into_iter()
                .try_for_each(|level| git2::opts::set_search_path(level, ""))
                .and_then(|()| git2::opts::set_verify_owner_validation(false))
                .and_then(|()| git2::opts::set_server_connect_timeout_in_milliseconds(PATIENCE))
                .and_then(|()| git2::opts::set_server_timeout_in_milliseconds(PATIENCE))
                .and_then(|()| git2::transport::register("http", transport))
                .and_then(|()| git2::transport::register("https", transport))
        };
        // Only an unknown setting or a scheme that is registered twice is refused.
        debug_assert!(prepared.is_ok(), "libgit2 takes its settings: {prepared:?}");
    });
}

fn error(message: &str) -> git2::Error {
    git2::Error::new(git2::ErrorCode::GenericError, git2::ErrorClass::Net, message)
}

/// What follows a repository's address where its refs are listed.
const ADVERTISEMENT: &str = "/info/refs?service=git-upload-pack";

struct Subtransport {
    http: Http,
    /// Where the repository really is, once the server has said so.
    moved: Arc<Mutex<Option<String>>>,
}

impl SmartSubtransport for Subtransport {
    fn action(&self, url: &str, action: Service) -> Result<Box<dyn SmartSubtransportStream>, git2::Error> {
        let request = match action {
            Service::UploadPackLs => Request::Advertisement,
            Service::UploadPack => Request::Pack(Vec::new()),
            Service::ReceivePackLs | Service::ReceivePack => return Err(error("this tool never pushes")),
        };
        let (http, moved) = (self.http.clone(), Arc::clone(&self.moved));
        Ok(Box::new(Stream { http, url: url.trim_end_matches('/').into(), moved, request, answer: None }))
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

/// One request and its answer: the request is sent when the answer is first read.
struct Stream {
    http: Http,
    url: String,
    moved: Arc<Mutex<Option<String>>>,
    request: Request,
    answer: Option<Box<dyn Read + Send>>,
}

impl Stream {
    fn send(&self) -> io::Result<Box<dyn Read + Send>> {
        let mut moved = self.moved.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let url = moved.as_ref().unwrap_or(&self.url);
        let (response, wanted) = match &self.request {
            Request::Advertisement => {
                (self.http.get(&format!("{url}{ADVERTISEMENT}"), &[]), "application/x-git-upload-pack-advertisement")
            }
            Request::Pack(body) => (
                self.http.post(
                    &format!("{url}/git-upload-pack"),
                    &[
                        ("Content-Type", "application/x-git-upload-pack-request".into()),
                        ("Accept", "application/x-git-upload-pack-result".into()),
                    ],
                    body,
                ),
                "application/x-git-upload-pack-result",
            ),
        };
        let response = response.map_err(|error| io::Error::other(http::reason(&error)))?;
        if !response.status().is_success() {
            return Err(io::Error::other(format!("found status {}, wanted 200", response.status())));
        }
        let found = response.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or("nothing");
        if found != wanted {
            let found = printable(found);
            return Err(io::Error::other(format!("found `{found}`, wanted `{wanted}`: this is no git repository")));
        }
        // A redirect changes a request with a body into one without, so that the next request must
        // go to the new address at once; git does the same.
        if let Request::Advertisement = self.request {
            *moved = response.get_uri().to_string().strip_suffix(ADVERTISEMENT).map(str::to_owned);
        }
        Ok(Box::new(response.into_body().into_reader()))
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
