//! The HTTP client: the only TLS stack, for downloads and for git alike.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;
use std::time::Duration;

use ureq::Timeout;

use ureq::tls::{RootCerts, TlsConfig};

use crate::progress::Progress;

/// A proxy, as the environment of the caller names it.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// As in `http://user:password@proxy:3128`.
    pub url: String,
    /// Hosts to reach without it: names separated by commas.
    pub except: String,
}

/// How patient the client is.
#[derive(Debug, Clone)]
pub struct Patience {
    /// How long to wait for a connection.
    pub connect: Duration,
    /// How long a server may say nothing in the middle of an answer.
    pub silence: Duration,
    /// How often a download is tried.
    pub attempts: u32,
    /// The pause before the second attempt; each later one is twice as long.
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(20),
            silence: Duration::from_secs(30),
            attempts: 5,
            pause: Duration::from_secs(1),
        }
    }
}

/// The client. Trusts the certificates that the system trusts.
#[derive(Debug, Clone)]
pub struct Http {
    agent: ureq::Agent,
    /// How patient it is.
    pub patience: Patience,
}

/// What the client gets back.
pub type Response = ureq::http::Response<ureq::Body>;

/// A proxy address that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("found `{0}`, wanted the address of a proxy\nhint: write it as `http://host:port`")]
pub struct BadProxy(String);

impl Http {
    /// A client.
    ///
    /// # Errors
    ///
    /// [`BadProxy`] where the proxy's address cannot be read.
    pub fn new(proxy: Option<&Proxy>, patience: Patience) -> Result<Self, BadProxy> {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(patience.connect))
            .timeout_per_read(Some(patience.silence))
            .timeout_per_write(Some(patience.silence))
            .user_agent(concat!("netboot-loaders/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
            .proxy(proxy.map(through).transpose()?)
            .build();
        Ok(Self { agent: config.into(), patience })
    }

    /// Asks for `url`, with `headers`.
    ///
    /// # Errors
    ///
    /// Where no answer came. An answer of refusal is an answer.
    pub fn get(&self, url: &str, headers: &[(&str, String)]) -> Result<Response, ureq::Error> {
        headers.iter().fold(self.agent.get(url), |request, (name, value)| request.header(*name, value)).call()
    }

    /// Sends `body` to `url`, with `headers`.
    ///
    /// # Errors
    ///
    /// As [`Http::get`].
    pub fn post(&self, url: &str, headers: &[(&str, String)], body: &[u8]) -> Result<Response, ureq::Error> {
        headers.iter().fold(self.agent.post(url), |request, (name, value)| request.header(*name, value)).send(body)
    }

    /// Does `work`, and breaks off whatever transfer it waits for when `progress` is cancelled.
    pub fn interruptible<T>(&self, progress: &dyn Progress, work: impl FnOnce() -> T) -> T {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let watch = scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    if progress.cancelled() {
                        return self.agent.clone().shutdown();
                    }
                    std::thread::park_timeout(Duration::from_millis(100));
                }
            });
            // Dropped also when the work panics: the scope does not end before the watch does.
            let _end = EndOfWork { done: &done, watch: watch.thread() };
            work()
        })
    }
}

struct EndOfWork<'a> {
    done: &'a AtomicBool,
    watch: &'a Thread,
}

impl Drop for EndOfWork<'_> {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        self.watch.unpark();
    }
}

const HOST_NOT_FOUND: &str = "the host name cannot be resolved";

/// Why no answer came, or not all of it. The same fault has the same words at whichever moment it
/// strikes: a connection that the other side closed is reported in many ways.
pub(super) fn reason(error: &ureq::Error) -> String {
    let known = match error {
        ureq::Error::HostNotFound => HOST_NOT_FOUND,
        ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => "the server cannot be reached in time",
        ureq::Error::Timeout(_) => "the server fell silent",
        ureq::Error::Io(error) => match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => "the server closed the connection",
            io::ErrorKind::ConnectionRefused => "the server refuses the connection",
            // A failed look-up has no kind of its own, and the rest of its text depends on the system.
            _ if error.to_string().starts_with("failed to lookup address information") => HOST_NOT_FOUND,
            _ => return error.to_string(),
        },
        other => return other.to_string(),
    };
    known.into()
}

fn through(proxy: &Proxy) -> Result<ureq::Proxy, BadProxy> {
    let bad = |_| BadProxy(proxy.url.clone());
    let plain = ureq::Proxy::new(&proxy.url).map_err(bad)?;
    let mut builder = ureq::Proxy::builder(plain.protocol()).host(plain.host()).port(plain.port());
    if let Some(user) = plain.username() {
        builder = builder.username(user);
    }
    if let Some(password) = plain.password() {
        builder = builder.password(password);
    }
    for host in proxy.except.split(',').map(str::trim).filter(|host| !host.is_empty()) {
        builder = builder.no_proxy(host);
    }
    builder.build().map_err(bad)
}

/// Whether the network may be used, and with what.
#[derive(Debug, Clone)]
pub enum Network {
    /// No socket is ever opened: there is nothing to open one with.
    Offline,
    /// Through this client.
    Online(Http),
}
