//! The HTTP client with the only TLS stack, for both downloads and git.
//!
//! It alone handles redirects, passwords in URLs, the choice of a proxy and the minimum throughput of a server.

use std::io::{self, Read};
use std::net::ToSocketAddrs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use camino::Utf8PathBuf;
use memchr::memmem;
use percent_encoding::percent_decode_str;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use ureq::Timeout;
use ureq::http::header::{AUTHORIZATION, LOCATION};
use ureq::http::{Request, StatusCode};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::unversioned::resolver::DefaultResolver;

use super::connector::{self, RequestProgress, connector};
pub use super::proxy::{NoProxy, Proxy};
pub use super::tls::CertificateFlaw;
use super::tls::{certificate, disagreement, tls_error};
use crate::base::diagnostic::{Class, Diagnose, Diagnosis};
use crate::base::fs;
use crate::base::plural::count;
use crate::base::process::Command;
use crate::base::progress::Progress;
use crate::base::url::Url;
use crate::printable::{printable, printable_bytes};

/// Variable that names the file of certificate authorities, in place of the system's own.
pub const AUTHORITIES: &str = "SSL_CERT_FILE";
/// Maximum size in bytes of that file; Debian's own has 220,000.
const MAX_AUTHORITIES: u64 = 8 << 20;
/// Maximum number of successive redirects that are followed.
const MAX_REDIRECTS: usize = 10;
/// Maximum size of the head of a response, in bytes.
const MAX_HEAD: usize = 64 << 10;
/// Maximum length of a host name, in bytes (RFC 1035), including an optional dot at its end.
const MAX_HOST: usize = 254;

/// Limits of the client's transfers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TransferLimits {
    /// Maximum time to wait for a connection.
    pub connect: Duration,
    /// Maximum time that a server may send nothing in the middle of a response.
    pub idle_timeout: Duration,
    /// Minimum throughput of a server.
    pub min_throughput: MinThroughput,
    /// Maximum number of attempts for a download.
    pub attempts: u32,
    /// Pause before the second attempt; each later one is twice as long.
    pub pause: Duration,
}

/// A minimum throughput: a number of bytes in each window of waiting for them.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct MinThroughput {
    /// Bytes per window.
    pub bytes: u64,
    /// Time over which the bytes are counted; also the time limit for the head of a response.
    pub window: Duration,
}

impl Default for MinThroughput {
    /// Returns 1 kB per second over one minute.
    fn default() -> Self {
        Self { bytes: 60_000, window: Duration::from_secs(60) }
    }
}

impl Default for TransferLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(20),
            idle_timeout: Duration::from_secs(30),
            min_throughput: MinThroughput::default(),
            attempts: 5,
            pause: Duration::from_secs(1),
        }
    }
}

/// Reader that enforces a minimum throughput. Only the time spent reading counts, and only the bytes that are read: a
/// server that sends something else meanwhile still counts as slow.
pub struct ThroughputGuard<R> {
    inner: R,
    min_throughput: MinThroughput,
    bytes: u64,
    waited: Duration,
}

impl<R> ThroughputGuard<R> {
    /// Wraps `inner` to enforce `min_throughput`.
    pub fn new(inner: R, min_throughput: MinThroughput) -> Self {
        Self { inner, min_throughput, bytes: 0, waited: Duration::ZERO }
    }

    fn too_slow(&self) -> io::Error {
        let (found, window) = (count(self.bytes, "byte"), count(self.waited.as_secs(), "second"));
        io::Error::other(format!("the server sends too slowly: {found} in {window}"))
    }
}

impl<R: Read> Read for ThroughputGuard<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let started = Instant::now();
        // A window that already has its bytes may be followed by a whole window without any.
        let spans = if self.bytes < self.min_throughput.bytes { 1 } else { 2 };
        let deadline = started + (self.min_throughput.window * spans).saturating_sub(self.waited);
        let read = connector::until(deadline, || self.inner.read(buffer));
        self.waited += started.elapsed();
        let count = match read {
            Ok(count) => count,
            Err(_) if Instant::now() >= deadline => return Err(self.too_slow()),
            Err(error) => return Err(error),
        };
        self.bytes += count as u64;
        if count > 0 && self.waited >= self.min_throughput.window {
            if self.bytes < self.min_throughput.bytes {
                return Err(self.too_slow());
            }
            (self.bytes, self.waited) = (0, Duration::ZERO);
        }
        Ok(count)
    }
}

/// The HTTP client. It trusts the certificates that the system trusts.
#[derive(Debug, Clone)]
pub struct HttpClient {
    direct: ureq::Agent,
    proxied: Option<Box<(Proxy, ureq::Agent)>>,
    /// Limits of transfers.
    pub limits: TransferLimits,
    /// File that the variable [`AUTHORITIES`] names.
    pub authorities: Option<Utf8PathBuf>,
    /// Command that runs `fetch::git_helper::run`; without one, this process contacts git servers itself.
    pub git_helper: Option<Box<Command>>,
}

/// Response to a request.
pub type Response = ureq::http::Response<ureq::Body>;

/// A proxy URL that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("`{variable}`: found `{url}`, wanted the address of a proxy")]
pub struct BadProxy {
    variable: String,
    url: Url,
}

impl Diagnose for BadProxy {
    fn diagnosis(&self) -> Diagnosis {
        Class::BadInput.about(&self.variable).help(
            "write it as `http://host:port`; http, https, socks4, socks4a, socks5 and socks5h are spoken, and special characters in a password are percent-encoded",
        )
    }
}

/// Errors from requests without a response. A response that refuses the request is not an error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The URL is not an HTTP or HTTPS URL.
    #[error("found no address that can be asked, wanted one as in `https://host/path`")]
    Address,
    /// The URL has a malformed beginning.
    #[error("{0}")]
    Misspelled(String),
    /// The host name is too long.
    #[error("found the name of a host with {found} bytes, wanted at most {MAX_HOST}")]
    Host {
        /// Length of the name, in bytes.
        found: usize,
    },
    /// The server redirects in a circle.
    #[error("the server redirects in a circle")]
    Circle,
    /// The server redirects too many times.
    #[error("the server redirects more than {MAX_REDIRECTS} times")]
    Redirects,
    /// A redirect from https to http: anyone on the network path could answer.
    #[error("`{from}` redirects to `{to}`, wanted an address with https")]
    Downgrade {
        /// URL that redirects.
        from: String,
        /// Target of the redirect.
        to: String,
    },
    /// A redirect to something that is not a URL.
    #[error("the server redirects to `{to}`, wanted an address that can be read")]
    Unreadable {
        /// Target of the redirect.
        to: String,
    },
    /// A redirect to a URL that is neither http nor https.
    #[error("the server redirects to `{to}`, wanted an address with http or https")]
    Scheme {
        /// Target of the redirect.
        to: String,
    },
    /// The server's certificate is not trusted or not valid.
    #[error("the certificate of `{host}` is refused: {flaw}")]
    Certificate {
        /// Host name.
        host: String,
        /// Reason for the refusal.
        flaw: CertificateFlaw,
    },
    /// The file of certificate authorities is none, which would look like a fault of each server.
    #[error("{0}")]
    Authorities(String),
    /// There is no version of TLS, or no algorithm, that both sides accept.
    #[error("the server and this tool agree on no TLS 1.2 or 1.3: {0}")]
    Handshake(String),
    /// The proxy cannot be reached, or does not respond as it should.
    #[error("the proxy `{proxy}` in `{variable}`: {reason}")]
    Proxy {
        /// URL of the proxy.
        proxy: String,
        /// Environment variable that names the proxy.
        variable: String,
        /// What is wrong with the proxy.
        reason: Box<str>,
        /// Whether it has refused the request, or its certificate is refused, which another attempt does not change.
        refuses: bool,
    },
    /// The file comes compressed or changed in another way, and its digest would be another.
    #[error("the server sends the file encoded as `{}`, which it was not asked for", printable(.0))]
    Encoded(String),
    /// The connection failed.
    #[error("{0}")]
    Connection(String),
}

impl Error {
    /// Returns the error of a connection that failed after a redirect to `url`, which need not be the server asked first.
    fn after_redirect(self, url: &url::Url) -> Self {
        match self {
            Self::Connection(reason) => {
                Self::Connection(format!("after a redirect to `{}`: {reason}", shown(url.as_str())))
            }
            other => other,
        }
    }

    /// Checks whether another attempt may succeed.
    #[must_use]
    pub fn passes(&self) -> bool {
        matches!(self, Self::Connection(_) | Self::Proxy { refuses: false, .. })
    }

    /// Checks whether this network may be the problem: its proxy, or its own certificate authority.
    #[must_use]
    pub fn is_of_network(&self) -> bool {
        match self {
            Self::Certificate { flaw, .. } => flaw.is_of_store(),
            Self::Proxy { .. } => true,
            _ => false,
        }
    }

    /// Returns the remedy, unless it is to check the URL.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::Certificate { flaw, .. } if flaw.is_of_store() => Some(
                "if it is right, add the authority that signed it to the system's certificates, or name a file of certificates in `SSL_CERT_FILE`".into(),
            ),
            Self::Certificate { flaw: CertificateFlaw::Authority, .. } => Some(
                "give the server a certificate that the authority has issued, with `basicConstraints = CA:FALSE`".into(),
            ),
            Self::Authorities(_) => Some(format!("correct `{AUTHORITIES}`, or unset it")),
            Self::Encoded(_) => Some("have the server, or the cache before it, send the file as it is".into()),
            Self::Handshake(_) => Some("check the address, and which versions of TLS the server accepts".into()),
            Self::Certificate { .. } => Some("check the address and the clock of this machine".into()),
            Self::Proxy { variable, reason, .. } if reason.contains(" 407") => {
                Some(format!("give user and password in `{variable}`, as in `http://user:password@host:port`"))
            }
            Self::Proxy { variable, reason, .. } if reason.starts_with(REFUSED_CERTIFICATE) => {
                Some(format!("check `{variable}`, or name a file of certificates with the proxy's authority in `{AUTHORITIES}`"))
            }
            Self::Proxy { variable, .. } => Some(format!("check `{variable}`, or name the host in `no_proxy`")),
            Self::Downgrade { .. } => {
                Some("do not trust what comes from there: name an address that stays with https".into())
            }
            _ => None,
        }
    }
}

impl HttpClient {
    /// Creates a client that uses `proxy`, if there is one.
    ///
    /// # Errors
    ///
    /// [`BadProxy`] if the proxy's URL cannot be parsed.
    pub fn new(proxy: Option<&Proxy>, limits: TransferLimits) -> Result<Self, BadProxy> {
        let agent = |proxy: Option<ureq::Proxy>| {
            let proxied = proxy.is_some();
            let config = ureq::Agent::config_builder()
                .http_status_as_error(false)
                .max_redirects(0)
                .max_response_header_size(MAX_HEAD)
                .timeout_connect(Some(limits.connect))
                .timeout_send_request(Some(limits.min_throughput.window))
                .timeout_recv_response(Some(limits.min_throughput.window))
                .timeout_per_read(Some(limits.idle_timeout))
                .timeout_per_write(Some(limits.idle_timeout))
                .user_agent(concat!("netboot-loaders/", env!("CARGO_PKG_VERSION")))
                .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
                .proxy(proxy);
            ureq::Agent::with_parts(config.build(), connector(proxied), DefaultResolver::default())
        };
        let bad = |proxy: &Proxy| BadProxy { variable: proxy.variable.clone(), url: proxy.url.clone() };
        let through = |proxy: &Proxy| {
            let known = ureq::Proxy::new(proxy.url.expose()).map_err(|_| bad(proxy))?;
            // `ureq` reads `http://user:pass/word@host` as the host `user`.
            let text = proxy.url.expose();
            let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
            if proxy.url.misspelled().is_some()
                || proxy.url.is_ambiguous()
                || !url::Url::parse(&with_scheme).is_ok_and(|url| url.has_host())
            {
                return Err(bad(proxy));
            }
            Ok(Box::new((proxy.clone(), agent(Some(known)))))
        };
        Ok(Self {
            proxied: proxy.map(through).transpose()?,
            direct: agent(None),
            limits,
            authorities: None,
            git_helper: None,
        })
    }

    /// Requests `url` with `headers` and follows redirects. Also returns the URL that responded.
    ///
    /// # Errors
    ///
    /// [`Error`] if there is no response.
    pub fn get(&self, url: &Url, headers: &[(&str, String)]) -> Result<(Response, Url), Error> {
        let mut now = to_request_url(url)?;
        let mut user = remove_user(&mut now);
        let mut seen = vec![now.clone()];
        loop {
            let response = self.send(&now, user.as_deref(), headers, None);
            let response = response.map_err(|error| if seen.len() > 1 { error.after_redirect(&now) } else { error })?;
            let Some(location) = redirect(&response) else {
                return Ok((response, with_user(&now, url, &seen[0])));
            };
            let mut next = now.join(&location).map_err(|_| Error::Unreadable { to: shown(&location) })?;
            check_redirect(&now, &next)?;
            let own = remove_user(&mut next);
            // A password is sent only to the server that it was given for.
            user = own.or(user.filter(|_| now.origin() == next.origin()));
            if seen.contains(&next) {
                return Err(Error::Circle);
            }
            if seen.len() > MAX_REDIRECTS {
                return Err(Error::Redirects);
            }
            seen.push(next.clone());
            now = next;
        }
    }

    /// Like [`HttpClient::get`], but gives up at once when `cancelled`. A name lookup or a connection that is not yet
    /// established cannot be aborted, so the thread that waits for it is abandoned until it times out.
    ///
    /// # Errors
    ///
    /// As for [`HttpClient::get`].
    pub fn get_unless(
        &self,
        url: &Url,
        headers: &[(&'static str, String)],
        cancelled: &dyn Fn() -> bool,
    ) -> Result<(Response, Url), Error> {
        let (http, url, headers) = (self.clone(), url.clone(), headers.to_vec());
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || drop(sender.send(http.get(&url, &headers))));
        loop {
            match receiver.recv_timeout(Duration::from_millis(100)) {
                Ok(answer) => return answer,
                Err(RecvTimeoutError::Timeout) if !cancelled() => {}
                Err(_) => {
                    self.shutdown();
                    return Err(Error::Connection("interrupted".into()));
                }
            }
        }
    }

    /// Sends `body` to `url` with `headers`. A redirect is a response like any other.
    ///
    /// # Errors
    ///
    /// As for [`HttpClient::get`].
    pub fn post(&self, url: &Url, headers: &[(&str, String)], body: &[u8]) -> Result<Response, Error> {
        let mut url = to_request_url(url)?;
        let user = remove_user(&mut url);
        self.send(&url, user.as_deref(), headers, Some(body))
    }

    fn send(
        &self,
        url: &url::Url,
        user: Option<&str>,
        headers: &[(&str, String)],
        body: Option<&[u8]>,
    ) -> Result<Response, Error> {
        let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default());
        if host.len() > MAX_HOST {
            return Err(Error::Host { found: host.len() });
        }
        if url.scheme() == "https" {
            self.check_authorities()?;
        }
        let proxied = self.proxied.as_deref().filter(|(proxy, _)| !proxy.except.matches(host, port));
        let agent = proxied.map_or(&self.direct, |(_, agent)| agent);
        let mut request = Request::builder().uri(url.as_str());
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        if let Some(user) = user {
            request = request.header(AUTHORIZATION, user);
        }
        let send = || match body {
            None => request.method("GET").body(()).map_err(ureq::Error::from).and_then(|request| agent.run(request)),
            Some(body) => {
                request.method("POST").body(body).map_err(ureq::Error::from).and_then(|request| agent.run(request))
            }
        };
        let (sent, reached) = connector::exchange(self.limits.connect, send);
        let proxy = proxied.map(|(proxy, _)| proxy).filter(|_| !reached.server);
        sent.map_err(|error| failure(&error, host, proxy.map(|proxy| (proxy, reached))))
    }

    /// Checks the file of certificate authorities, if one is named.
    ///
    /// # Errors
    ///
    /// [`Error::Authorities`].
    pub fn check_authorities(&self) -> Result<(), Error> {
        let Some(file) = &self.authorities else { return Ok(()) };
        let found = match fs::read_at_most(file, MAX_AUTHORITIES) {
            Ok(content) => {
                let begun = memmem::find_iter(&content, b"-----BEGIN CERTIFICATE-----").count();
                let whole = CertificateDer::pem_slice_iter(&content).flatten().count();
                match (begun, whole) {
                    (0, _) => "no certificate in it",
                    // Behind a byte order mark or blanks, programs find no beginning.
                    _ if whole < begun => "a certificate in it that is not whole, or does not begin its line",
                    _ => return Ok(()),
                }
            }
            Err(error) if error.is_not_found() => "no such file",
            Err(error) => return Err(Error::Authorities(format!("`{AUTHORITIES}`: {}", error.reason()))),
        };
        let file = printable(file);
        Err(Error::Authorities(format!("`{AUTHORITIES}` names `{file}`: found {found}, wanted certificates in PEM")))
    }

    /// Returns the body of a response as a reader that enforces the minimum throughput.
    pub fn body(&self, response: Response) -> impl Read + Send + use<> {
        ThroughputGuard::new(response.into_body().into_reader(), self.limits.min_throughput)
    }

    /// Returns the proxy that the client uses.
    pub fn proxy(&self) -> Option<&Proxy> {
        self.proxied.as_deref().map(|(proxy, _)| proxy)
    }

    /// Runs `work`, and aborts the transfer that it waits for when `progress` is cancelled.
    pub fn interruptible<T>(&self, progress: &dyn Progress, work: impl FnOnce() -> T) -> T {
        with_cancel_hook(progress, || self.shutdown(), work)
    }

    /// Aborts all transfers.
    fn shutdown(&self) {
        self.direct.clone().shutdown();
        if let Some((_, agent)) = self.proxied.as_deref() {
            agent.clone().shutdown();
        }
    }
}

/// Runs `work`, and calls `end` from another thread when `progress` is cancelled.
pub fn with_cancel_hook<T>(progress: &dyn Progress, end: impl FnOnce() + Send, work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                if progress.cancelled() {
                    return end();
                }
                std::thread::park_timeout(Duration::from_millis(100));
            }
        });
        // Dropped even if the work panics: the scope does not end before the watch thread does.
        let _end = EndOfWork { done: &done, watch: watch.thread() };
        work()
    })
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

/// Parses `url` as a URL that can be requested.
fn to_request_url(url: &Url) -> Result<url::Url, Error> {
    // The URL standard makes browsers accept some of these, and the URL shown would differ from the URL requested.
    url.misspelled().map_or(Ok(()), |wrong| Err(Error::Misspelled(wrong)))?;
    web_address(url.expose()).ok_or(Error::Address)
}

/// Parses `text` as an HTTP or HTTPS URL with a host.
fn web_address(text: &str) -> Option<url::Url> {
    let url = url::Url::parse(text).ok()?;
    (matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(url)
}

/// Removes the user and the password from `url`. Returns the header value that contains them.
fn remove_user(url: &mut url::Url) -> Option<String> {
    let user = percent_decode_str(url.username()).collect::<Vec<u8>>();
    let password = url.password().map(|password| percent_decode_str(password).collect::<Vec<u8>>());
    // Both fail only for URLs without a host.
    let _ = (url.set_username(""), url.set_password(None));
    if user.is_empty() && password.is_none() {
        return None;
    }
    let both = [&user[..], b":", &password.unwrap_or_default()[..]].concat();
    Some(format!("Basic {}", BASE64_STANDARD.encode(both)))
}

/// Returns `now`, with the user and the password of `given` if it is still the server of `first`.
fn with_user(now: &url::Url, given: &Url, first: &url::Url) -> Url {
    let mut now = now.clone();
    if let Some(given) = web_address(given.expose()).filter(|_| now.origin() == first.origin()) {
        let _ = (now.set_username(given.username()), now.set_password(given.password()));
    }
    Url::from(String::from(now))
}

/// Returns the target of a redirect; `None` for any other response.
fn redirect(response: &Response) -> Option<String> {
    use StatusCode as S;
    let codes = [S::MOVED_PERMANENTLY, S::FOUND, S::SEE_OTHER, S::TEMPORARY_REDIRECT, S::PERMANENT_REDIRECT];
    let location = response.headers().get(LOCATION).filter(|_| codes.contains(&response.status()))?;
    Some(String::from_utf8_lossy(location.as_bytes()).into_owned())
}

/// Formats a URL that a server chose, for a message.
fn shown(location: &str) -> String {
    printable(&Url::from(location).to_string()).to_string()
}

fn check_redirect(now: &url::Url, next: &url::Url) -> Result<(), Error> {
    if !matches!(next.scheme(), "http" | "https") {
        return Err(Error::Scheme { to: shown(next.as_str()) });
    }
    if now.scheme() == "https" && next.scheme() == "http" {
        return Err(Error::Downgrade { from: shown(now.as_str()), to: shown(next.as_str()) });
    }
    Ok(())
}

const HOST_NOT_FOUND: &str = "the host name cannot be resolved";

/// Returns the reason why `host` did not respond. If there was no connection to it, `way` is the proxy, if any, and how
/// far the request got.
fn failure(error: &ureq::Error, host: &str, way: Option<(&Proxy, RequestProgress)>) -> Error {
    if matches!(error, ureq::Error::BadUri(_)) || (way.is_none() && matches!(error, ureq::Error::Http(_))) {
        return Error::Address;
    }
    let of_proxy = |proxy: &Proxy, reason: String, refuses| {
        let (proxy, variable) = (proxy.url.to_string(), proxy.variable.clone());
        Error::Proxy { proxy, variable, reason: reason.into(), refuses }
    };
    if let Some(flaw) = tls_error(error).and_then(certificate) {
        return match way {
            Some((proxy, _)) => of_proxy(proxy, format!("{REFUSED_CERTIFICATE}{flaw}"), true),
            None => Error::Certificate { host: host.to_owned(), flaw },
        };
    }
    if let Some(reason) = tls_error(error).and_then(disagreement).filter(|_| way.is_none()) {
        return Error::Handshake(reason);
    }
    match way.filter(|(proxy, _)| is_of_proxy(error, proxy)) {
        Some((proxy, reached)) => {
            // Encrypted data is of no use in a message.
            let is_clear = !proxy.url.expose().starts_with("https:");
            let reason = proxy_reason(error, if is_clear { &reached.received } else { &[] }, &proxy.url);
            let refuses = is_refusal(error) || tls_error(error).and_then(disagreement).is_some();
            of_proxy(proxy, reason, refuses)
        }
        None => Error::Connection(reason(error)),
    }
}

/// Beginning of the reason why a proxy is not used.
const REFUSED_CERTIFICATE: &str = "its certificate is refused: ";

/// Checks whether `error` concerns the connection to `proxy`, rather than the name of a host behind it.
fn is_of_proxy(error: &ureq::Error, proxy: &Proxy) -> bool {
    let is_unknown = match error {
        ureq::Error::HostNotFound | ureq::Error::Timeout(Timeout::Resolve) => true,
        ureq::Error::Io(_) => reason(error) == HOST_NOT_FOUND,
        _ => false,
    };
    if !is_unknown {
        return true;
    }
    // Some proxies need an IP address, so the name that cannot be resolved here may be that of the host.
    ureq::Proxy::new(proxy.url.expose())
        .is_ok_and(|known| !known.resolve_target() || (known.host(), known.port()).to_socket_addrs().is_err())
}

/// Checks whether a proxy has answered with a status that it would repeat: it refuses the user, the host or the method.
fn is_refusal(error: &ureq::Error) -> bool {
    let ureq::Error::ConnectProxyFailed(text) = error else { return false };
    let status = text.split_once("responded ").and_then(|(_, status)| status.get(..3)?.parse::<u16>().ok());
    let passes = [408, 425, 429, 500, 502, 503, 504];
    status.is_some_and(|status| (300..600).contains(&status) && !passes.contains(&status))
}

/// Maximum length of a proxy's response in a message, in characters.
const SHOWN: usize = 80;

/// Describes what is wrong with the proxy at `url`, from which `received` came before `error`. Parts of the password
/// that the proxy repeats are omitted.
fn proxy_reason(error: &ureq::Error, received: &[u8], url: &Url) -> String {
    if received.is_empty() {
        return match error {
            // The client keeps nothing of the proxy's response.
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                let wanted =
                    if url.expose().starts_with("socks") { "not an answer of a SOCKS proxy" } else { "not TLS" };
                format!("what it sends is {wanted} ({error})")
            }
            ureq::Error::Timeout(Timeout::Connect) => "there is no connection through it in time".into(),
            ureq::Error::ConnectProxyFailed(_) => "it closed the connection without an answer".into(),
            _ => reason(error).replace("the server ", "it "),
        };
    }
    let line = received.split(|byte| matches!(byte, b'\r' | b'\n')).find(|line| !line.is_empty()).unwrap_or_default();
    let line = url.hide_in(&printable_bytes(line).to_string());
    let (shown, more) = line.char_indices().nth(SHOWN).map_or((&line[..], ""), |(end, _)| (&line[..end], "…"));
    let wanted = "wanted the status 200";
    match error {
        ureq::Error::ConnectProxyFailed(text) if text.contains("responded") => {
            format!("found `{shown}{more}`, {wanted}")
        }
        ureq::Error::Timeout(_) => format!("found no whole answer in time, only `{shown}{more}`, {wanted}"),
        _ if line.starts_with("HTTP/1.") => format!("found `{shown}{more}` without a whole head, {wanted}"),
        _ => format!("found an answer that is not HTTP, `{shown}{more}`, {wanted}"),
    }
}

/// Describes why there is no response, or only a part of one. The same fault gets the same words whenever it occurs: a
/// connection that the peer closed is reported in many ways.
pub fn reason(error: &ureq::Error) -> String {
    let known = match error {
        ureq::Error::HostNotFound => HOST_NOT_FOUND,
        ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => "the server cannot be reached in time",
        ureq::Error::Timeout(Timeout::RecvResponse) => "the server sends no whole answer in time",
        ureq::Error::Timeout(_) => "the server fell silent",
        ureq::Error::LargeResponseHeader(_, limit) => {
            return format!("the head of the answer has more than {limit} bytes");
        }
        ureq::Error::Protocol(error) if error.to_string().contains("too many headers") => {
            "the head of the answer has too many lines"
        }
        ureq::Error::Io(error) => match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => "the server closed the connection",
            io::ErrorKind::ConnectionRefused => "the server refuses the connection",
            io::ErrorKind::InvalidData if error.to_string().contains("InvalidContentType") => {
                "the server does not speak TLS there; an address with http:// may be meant"
            }
            // A failed lookup has no error kind of its own, and the rest of its text depends on the system.
            _ if error.to_string().starts_with("failed to lookup address information") => HOST_NOT_FOUND,
            _ => return error.to_string(),
        },
        other => return other.to_string(),
    };
    known.into()
}

/// Whether the network may be used, and with which client.
#[derive(Debug, Clone)]
pub enum NetworkAccess {
    /// No network. No socket is ever opened, because there is no client to open one.
    Offline,
    /// Access through this client.
    Online(HttpClient),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_beyond_ascii_is_looked_up_as_dns_has_it() {
        for (name, host) in [
            ("BÜCHER.example", "xn--bcher-kva.example"),
            ("faß.example", "xn--fa-hia.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("مثال.example", "xn--mgbh0fb.example"),
        ] {
            assert_eq!(url::Url::parse(&format!("http://{name}/a")).unwrap().host_str(), Some(host));
        }
    }

    #[test]
    fn what_a_proxy_repeats_of_a_password_is_left_out() {
        let received = [&b"HTTP/1.0 407 no me:s3cret, Basic bWU6czNjcmV0 "[..], &[b'x'; 100]].concat();
        let error = ureq::Error::ConnectProxyFailed("responded with 407".into());
        let reason = proxy_reason(&error, &received, &"http://me:s3cret@proxy:3128".into());
        let shown = format!("HTTP/1.0 407 no …, Basic … {}", "x".repeat(53));
        assert_eq!(reason, format!("found `{shown}…`, wanted the status 200"));
    }

    #[test]
    fn a_proxy_that_refuses_is_not_asked_again() {
        let proxy =
            Proxy { url: "http://proxy:3128".into(), variable: "https_proxy".into(), except: NoProxy::default() };
        for (status, passes) in [(407, false), (403, false), (302, false), (503, true), (429, true)] {
            let error = ureq::Error::ConnectProxyFailed(format!("proxy server responded {status}/{status}"));
            let progress = RequestProgress { server: false, received: b"HTTP/1.1 4".to_vec() };
            assert_eq!(failure(&error, "host", Some((&proxy, progress))).passes(), passes, "{status}");
        }
    }

    #[test]
    fn what_a_proxy_sends_is_measured_by_the_scheme_of_its_address() {
        let error = ureq::Error::Io(io::Error::new(io::ErrorKind::InvalidData, "corrupt"));
        for (url, wanted) in [
            ("socks5://proxy:1080", "what it sends is not an answer of a SOCKS proxy (corrupt)"),
            ("https://proxy:3128", "what it sends is not TLS (corrupt)"),
        ] {
            assert_eq!(proxy_reason(&error, b"", &url.into()), wanted);
        }
    }
}
