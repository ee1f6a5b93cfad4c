//! The boot test's own web servers, which report requests and answer from a list of pages.

use std::io;
use std::net::{SocketAddrV4, TcpListener};
use std::sync::Arc;

use rustix::net::{AddressFamily, SocketType, sockopt};
use tiny_http::{Method, Response, Server};

use super::pages::{ListenAddress, Pages};
use crate::boot_test::boot_event::{BootEvent, EventSink, WebRequest};

/// A web server; it ends when dropped.
pub struct OwnWebServer {
    server: Arc<Server>,
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
        let server = Arc::new(Server::from_listener(listener, None).map_err(io::Error::other)?);
        let accepting = Arc::clone(&server);
        std::thread::spawn(move || {
            for request in accepting.incoming_requests() {
                let (pages, sink) = (Arc::clone(&pages), sink.clone());
                // A machine that is switched off during a request leaves it behind; nothing waits for it.
                std::thread::spawn(move || answer(bound, request, &pages, &sink));
            }
        });
        Ok(Self { server })
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
    let readable = matches!(request.method(), Method::Get | Method::Head);
    let content = pages.get(bound.name, &url).filter(|_| readable).cloned();
    let client = request.remote_addr().map(|address| address.ip().to_string()).unwrap_or_default();
    let line = format!("web server {}:{}: {client} {} {url}", bound.address, bound.port, request.method());
    let (status, content) = content.map_or((404, Arc::from(&b"not found\n"[..])), |content| (200, content));
    let bytes = content.len();
    let response = Response::new(status.into(), Vec::new(), io::Cursor::new(content), Some(bytes), None);
    // A client may abort the transfer, for example because its machine was switched off.
    let _ = request.respond(response.with_chunked_threshold(usize::MAX));
    let line = format!("{line}: {status}, {bytes} bytes");
    if head && status == 200 {
        // A HEAD request asks about a file, and does not fetch it.
        sink.log(line);
    } else {
        let asked = WebRequest { server: bound.name, url, status };
        sink.record(BootEvent::Asked(asked), Some(line));
    }
}
