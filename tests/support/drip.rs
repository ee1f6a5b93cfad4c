//! Servers and proxies that are never silent, and never done.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use netboot_loaders::source::http::{Http, NoProxy, Pace, Patience, Proxy};

/// How something is sent for ever.
#[derive(Debug, Clone, Copy)]
pub struct Drip {
    pub name: &'static str,
    /// What is said of it before a body comes.
    pub reason: &'static str,
    /// The scheme of the address to ask.
    scheme: &'static str,
    /// The scheme of the proxy's address, where a proxy sends it.
    pub proxy: Option<&'static str>,
    start: &'static [u8],
    piece: &'static [u8],
    pause: Duration,
}

const SLOW: Duration = Duration::from_millis(20);

const fn server(name: &'static str, start: &'static [u8], piece: &'static [u8], pause: Duration) -> Drip {
    Drip { name, reason: "", scheme: "http", proxy: None, start, piece, pause }
}

const fn proxy(scheme: &'static str, start: &'static [u8], piece: &'static [u8], reason: &'static str) -> Drip {
    Drip { name: scheme, reason, scheme: "http", proxy: Some(scheme), start, piece, pause: SLOW }
}

/// A record of TLS with most of its 16 kB to come, which begins as the server's first message does.
const TLS: &[u8] = b"\x16\x03\x03\x40\x00\x02\x00\x3f\xf0";

/// A body of a list of refs, or whatever is asked for.
macro_rules! body {
    ($start:literal) => {
        concat!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\n",
            "Transfer-Encoding: chunked\r\n\r\n",
            $start
        )
        .as_bytes()
    };
}

/// After the head of an answer.
pub const BODIES: [Drip; 4] = [
    server("chunk extension", body!("1;"), b"x", SLOW),
    server("trailers", body!("1\r\n0\r\n0\r\n"), b"a: b\r\n", SLOW),
    server("a flood of trailers", body!("1\r\n0\r\n0\r\n"), b"a: b\r\n", Duration::ZERO),
    server("small chunks", body!("4\r\nfff0\r\n"), b"1\r\nx\r\n", SLOW),
];

/// Before the head of an answer ends.
pub const HEADS: [Drip; 4] = [
    Drip {
        reason: "the server sends no whole answer in time",
        ..server("head", b"HTTP/1.1 200 OK\r\nX: ", b"x", SLOW)
    },
    Drip {
        reason: "the server sends no whole answer in time",
        ..server("interim answers", b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", SLOW)
    },
    Drip {
        reason: "the head of the answer has more than ",
        ..server("a flood of interim answers", b"", b"HTTP/1.1 100 Continue\r\n\r\n", Duration::ZERO)
    },
    Drip { scheme: "https", reason: "the server cannot be reached in time", ..server("TLS", TLS, b"\x03", SLOW) },
];

/// Before there is a connection to the server.
pub const PROXIES: [Drip; 4] = [
    proxy(
        "http",
        b"HTTP/1.1 200 OK\r\nX: ",
        b"x",
        "found no whole answer in time, only `HTTP/1.1 200 OK`, wanted the status 200",
    ),
    // A method, then a success with the name of a host, of 255 bytes.
    proxy("socks5h", b"\x05\x00\x05\x00\x00\x03\xff", b"x", "there is no connection through it in time"),
    proxy("socks4a", b"\x00", b"", "there is no connection through it in time"),
    proxy("https", TLS, b"\x03", "there is no connection through it in time"),
];

impl Drip {
    /// Begins to listen, for as long as the test program runs. Gives the address to ask, and a client that waits for
    /// `short` to connect, to be answered, and for 1,000 bytes, but for a minute where nothing comes at all.
    pub fn listen(&self, short: Duration) -> (String, Http) {
        let pace = Pace { bytes: 1_000, span: short };
        let (silence, pause) = (Duration::from_secs(60), Duration::from_millis(1));
        let patience = Patience { connect: short, silence, pace, attempts: 1, pause };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let drip = *self;
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                std::thread::spawn(move || drip.send(stream.unwrap()));
            }
        });
        let proxy = self.proxy.map(|scheme| Proxy {
            url: format!("{scheme}://{address}").into(),
            variable: "https_proxy".into(),
            except: NoProxy::default(),
        });
        let url = self.url(address);
        (url, Http::new(proxy.as_ref(), patience).unwrap())
    }

    fn url(&self, address: SocketAddr) -> String {
        // Nobody goes there past the proxy.
        let host = self.proxy.map_or_else(|| address.to_string(), |_| "192.0.2.1".into());
        format!("{}://{host}/release/s.zip", self.scheme)
    }

    fn send(&self, mut stream: TcpStream) {
        let _ = stream.read(&mut [0; 1 << 12]).and_then(|_| stream.write_all(self.start));
        while stream.write_all(self.piece).is_ok() {
            std::thread::sleep(self.pause);
        }
    }
}
