//! The boot test's own web servers, which report requests and answer from a list of pages.

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, sockopt};
use tiny_http::{Method, Response, Server};

use super::pages::{ListenAddress, Manner, Pages};
use super::resetting::ResettingServer;
use crate::boot_test::boot_event::{BootEvent, EventSink, WebRequest};

/// Number of pieces in which a slow server sends a file, and its pause before each.
const SLOWLY: (usize, Duration) = (4, Duration::from_millis(250));

/// A web server; it ends when dropped.
pub struct OwnWebServer {
    server: Arc<Server>,
    _in_front: Option<ResettingServer>,
}

impl Drop for OwnWebServer {
    fn drop(&mut self) {
        self.server.unblock();
    }
}

impl OwnWebServer {
    /// Starts a server that listens on `bound`. Of two servers on one port, the one with the more specific address gets
    /// the requests. Answers with the content of `pages` for that server, and with 404 otherwise.
    ///
    /// # Errors
    ///
    /// The error from the operating system if the server cannot listen.
    pub fn start(bound: ListenAddress, pages: Arc<Pages>, sink: EventSink) -> io::Result<Self> {
        let listener = listen(SocketAddrV4::new(bound.address, bound.port))?;
        if !pages.resets() {
            return Self::on(listener, bound, (pages, sink), None);
        }
        // The server cannot close a connection by itself, so it is behind one that can.
        let behind = listen(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
        let address = behind.local_addr()?;
        let (of_server, for_server) = (Arc::clone(&pages), sink.clone());
        let in_front = ResettingServer::start(listener, address, move |method, host, path| {
            let url = format!("{}{path}", bound.origin(host));
            let resets = pages.manner(&url) == Some(Manner::Reset);
            if resets {
                let line = format!("web server {}:{}: {method} {url}: reset", bound.address, bound.port);
                sink.record(BootEvent::Asked(WebRequest { server: bound.name, url, status: 0 }), Some(line));
            }
            resets
        })?;
        Self::on(behind, bound, (of_server, for_server), Some(in_front))
    }

    fn on(
        listener: TcpListener,
        bound: ListenAddress,
        (pages, sink): (Arc<Pages>, EventSink),
        in_front: Option<ResettingServer>,
    ) -> io::Result<Self> {
        let server = Arc::new(Server::from_listener(listener, None).map_err(io::Error::other)?);
        let accepting = Arc::clone(&server);
        std::thread::spawn(move || {
            for request in accepting.incoming_requests() {
                let (pages, sink) = (Arc::clone(&pages), sink.clone());
                // A machine that is switched off during a request leaves it behind; nothing waits for it.
                std::thread::spawn(move || answer(bound, request, &pages, &sink));
            }
        });
        Ok(Self { server, _in_front: in_front })
    }
}

/// Returns a listening socket that can share its port with a socket for all addresses.
fn listen(address: SocketAddrV4) -> io::Result<TcpListener> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, 64)?;
    Ok(socket.into())
}

fn answer(bound: ListenAddress, request: tiny_http::Request, pages: &Pages, sink: &EventSink) {
    let host = request.headers().iter().find(|header| header.field.equiv("Host")).map(|header| header.value.as_str());
    let url = format!("{}{}", bound.origin(host), request.url());
    let head = *request.method() == Method::Head;
    let readable = matches!(request.method(), Method::Get | Method::Head | Method::Post);
    let manner = pages.manner(&url);
    let client = request.remote_addr().map(|address| address.ip().to_string()).unwrap_or_default();
    let line = format!("web server {}:{}: {client} {} {url}", bound.address, bound.port, request.method());
    let (status, content, bytes) = content(bound, &url, pages)
        .filter(|_| readable && manner != Some(Manner::NotFound))
        .map_or_else(not_found, |(content, bytes)| (200, content, bytes));
    let content = if manner == Some(Manner::Slow) { Box::new(Slow::new(content, bytes)) } else { content };
    let line = format!("{line}: {status}, {bytes} bytes");
    let response = Response::new(status.into(), Vec::new(), content, Some(bytes), None);
    // Recorded before the answer, and so before whatever the client does with it.
    if head && status == 200 {
        // A HEAD request asks about a file, and does not fetch it.
        sink.log(line);
    } else {
        let asked = WebRequest { server: bound.name, url, status };
        sink.record(BootEvent::Asked(asked), Some(line));
    }
    // A client may abort the transfer, for example because its machine was switched off.
    let _ = request.respond(response.with_chunked_threshold(usize::MAX));
}

/// Content of a response.
type Content = Box<dyn Read + Send>;

/// Returns the content at `url`, with its size.
fn content(bound: ListenAddress, url: &str, pages: &Pages) -> Option<(Content, usize)> {
    if let Some((file, size)) = pages.open(url) {
        return Some((Box::new(file.take(size)), usize::try_from(size).ok()?));
    }
    let content = pages.get(bound.name, url)?;
    Some((Box::new(io::Cursor::new(Arc::clone(content))), content.len()))
}

fn not_found() -> (u16, Content, usize) {
    let text = b"not found\n";
    (404, Box::new(&text[..]), text.len())
}

/// Content that arrives slowly.
struct Slow {
    content: Content,
    piece: usize,
}

impl Slow {
    fn new(content: Content, bytes: usize) -> Self {
        Self { content, piece: bytes.div_ceil(SLOWLY.0).max(1) }
    }
}

impl Read for Slow {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        std::thread::sleep(SLOWLY.1);
        let length = buffer.len().min(self.piece);
        self.content.read(&mut buffer[..length])
    }
}
