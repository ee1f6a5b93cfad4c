//! A client of HTTP that sends what it is given, to the letter.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// A web server on the loopback, and the path below which it has the tree.
pub struct Web {
    port: u16,
    pub path: String,
}

/// What a server answered.
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
}

impl Web {
    /// One that is still to be started, at a port that is free.
    pub fn somewhere(path: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { port, path: path.to_owned() }
    }

    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The address of `path` in the tree.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{}{path}", self.authority(), self.path)
    }

    /// Whether somebody listens.
    pub fn listens(&self) -> bool {
        TcpStream::connect(self.authority()).is_ok()
    }

    /// Gets `path` of the tree.
    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[])
    }

    /// Asks for `path` of the tree.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let path = format!("{}{path}", self.path);
        self.raw(method, if path.is_empty() { "/" } else { &path }, headers)
    }

    /// Asks for `path`, which is sent as it is.
    pub fn raw(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut stream = TcpStream::connect(self.authority()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let host = self.authority();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n");
        // In one piece: a server may have made up its mind after the first line, and hang up.
        stream.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let end = bytes.windows(4).position(|part| part == b"\r\n\r\n").expect("an answer has a head");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head, body: bytes.split_off(end + 4) }
    }

    /// Goes where `answer` leads, which has to be at this server.
    #[track_caller]
    pub fn follow(&self, answer: &Answer) -> Answer {
        assert!((301..=308).contains(&answer.status), "{answer:?}");
        let location = answer.header("location").unwrap();
        let path = location.strip_prefix(&format!("http://{}", self.authority())).unwrap_or(location);
        assert!(path.starts_with('/'), "{location}");
        self.raw("GET", path, &[])
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Whether it says that it is of the type `wanted`.
    pub fn is(&self, wanted: &str) -> bool {
        self.header("content-type").is_some_and(|found| found.split(';').next() == Some(wanted))
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = &self.body[..self.body.len().min(2_000)];
        write!(f, "{}\n\n{}", self.head, String::from_utf8_lossy(shown))
    }
}
