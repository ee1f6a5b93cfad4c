//! git's smart protocol over the tool's own HTTP client, so that git brings no second TLS stack.
//!
//! libgit2 knows transports by URL scheme, for the whole process. The client to use is therefore
//! lent per thread: libgit2 opens a transport on the thread that fetches.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::sync::OnceLock;

use git2::transport::{Service, SmartSubtransport, SmartSubtransportStream, Transport};

use super::http::Http;

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
    register();
    LENT.with_borrow_mut(|lent| *lent = Some(http.clone()));
    let _return = Return;
    work()
}

#[expect(
    unsafe_code,
    reason = "git2 marks the registration as unsafe because libgit2 keeps its table of transports unlocked"
)]
fn register() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        for scheme in ["http", "https"] {
            // SAFETY: the table must not change while a transport is being looked up. The first
            // look-up for a URL of another process-wide user of libgit2 could race with this, but
            // this crate is the only user, and all its fetches pass here first; `OnceLock` makes
            // them wait until the registration is done.
            let registered = unsafe {
                git2::transport::register(scheme, |remote| {
                    let http = LENT.with_borrow(Clone::clone).ok_or_else(|| error("no HTTP client was lent"))?;
                    Transport::smart(remote, true, Subtransport { http })
                })
            };
            // Only a scheme that is registered twice is refused, and that cannot happen here.
            debug_assert!(registered.is_ok(), "{scheme} is registered once");
        }
    });
}

fn error(message: &str) -> git2::Error {
    git2::Error::new(git2::ErrorCode::GenericError, git2::ErrorClass::Net, message)
}

struct Subtransport {
    http: Http,
}

impl SmartSubtransport for Subtransport {
    fn action(&self, url: &str, action: Service) -> Result<Box<dyn SmartSubtransportStream>, git2::Error> {
        let request = match action {
            Service::UploadPackLs => Request::Advertisement,
            Service::UploadPack => Request::Pack(Vec::new()),
            Service::ReceivePackLs | Service::ReceivePack => return Err(error("this tool never pushes")),
        };
        Ok(Box::new(Stream { http: self.http.clone(), url: url.trim_end_matches('/').into(), request, answer: None }))
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
    request: Request,
    answer: Option<Box<dyn Read + Send>>,
}

impl Stream {
    fn send(&self) -> io::Result<Box<dyn Read + Send>> {
        let url = &self.url;
        let (response, wanted) = match &self.request {
            Request::Advertisement => (
                self.http.get(&format!("{url}/info/refs?service=git-upload-pack"), &[]),
                "application/x-git-upload-pack-advertisement",
            ),
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
        let response = response.map_err(|error| match error {
            ureq::Error::HostNotFound => io::Error::other("the host name cannot be resolved"),
            other => other.into_io(),
        })?;
        if !response.status().is_success() {
            return Err(io::Error::other(format!("found status {}, wanted 200", response.status())));
        }
        let found = response.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or("nothing");
        if found != wanted {
            return Err(io::Error::other(format!("found `{found}`, wanted `{wanted}`: this is no git repository")));
        }
        Ok(Box::new(response.into_body().into_reader()))
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.answer.is_none() {
            self.answer = Some(self.send()?);
        }
        self.answer.as_mut().map_or(Ok(0), |answer| answer.read(buf))
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
