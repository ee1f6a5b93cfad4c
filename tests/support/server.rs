//! An HTTP/1.1 server on the loopback. Each test scripts what it answers, byte by byte where need
//! be, and can look at what it was asked.
//!
//! Each connection serves one request, and says so, because a connection that is used again makes
//! what the client sees depend on when it looks.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Long enough that no test waits for it; it ends what would otherwise hang for ever.
const GUARD: Duration = Duration::from_secs(40);

#[derive(Debug, Clone)]
pub struct Request {
    /// Which request it is, counted from 0.
    pub number: usize,
    pub method: String,
    /// With the query, where there is one.
    pub path: String,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The first byte that the client does not have yet, where it resumes.
    pub fn resumes_at(&self) -> Option<usize> {
        let range = self.header("range")?;
        Some(range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap())
    }

    fn read(stream: &TcpStream) -> Option<Self> {
        let mut reader = BufReader::new(stream);
        let mut line = || {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|&count| count > 0)?;
            Some(line.trim_end().to_owned())
        };
        let first = line()?;
        let mut words = first.split(' ').map(str::to_owned);
        let (method, path) = (words.next()?, words.next()?);
        let mut headers = Vec::new();
        loop {
            let line = line()?;
            match line.split_once(':') {
                Some((name, value)) => headers.push((name.to_owned(), value.trim().to_owned())),
                None => break,
            }
        }
        let mut request = Self { number: 0, method, path, headers, body: Vec::new() };
        let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
        request.body = vec![0; length];
        reader.read_exact(&mut request.body).ok()?;
        Some(request)
    }
}

/// What a handler writes its answer to. A client that has gone away is no fault of the test.
pub struct Answer {
    stream: TcpStream,
}

impl Answer {
    /// Writes status line and headers, as in `head("200 OK", &["Content-Length: 3"])`.
    pub fn head(&mut self, status: &str, headers: &[&str]) {
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        self.bytes(format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n").as_bytes());
    }

    /// Writes bytes. False when the client does not want more.
    pub fn bytes(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Writes one piece of a body that is `Transfer-Encoding: chunked`. An empty one ends it.
    pub fn chunk(&mut self, bytes: &[u8]) -> bool {
        self.bytes(format!("{:x}\r\n", bytes.len()).as_bytes()) && self.bytes(bytes) && self.bytes(b"\r\n")
    }

    /// Writes an honest answer.
    pub fn whole(&mut self, status: &str, headers: &[&str], body: &[u8]) {
        let length = format!("Content-Length: {}", body.len());
        self.head(status, &[&[length.as_str()], headers].concat());
        self.bytes(body);
    }

    /// Says no more, and waits until the client hangs up.
    pub fn stall(&mut self) {
        let _ = self.stream.read(&mut [0]);
    }
}

type Handler = dyn Fn(&Request, &mut Answer) + Send + Sync;

/// Listens until it is dropped.
pub struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    connections: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    listening: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(handler: impl Fn(&Request, &mut Answer) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, stop) = (Arc::<Mutex<Vec<Request>>>::default(), Arc::<AtomicBool>::default());
        let connections = Arc::<AtomicUsize>::default();
        let (seen, opened, stopped) = (Arc::clone(&requests), Arc::clone(&connections), Arc::clone(&stop));
        let handler: Arc<Handler> = Arc::new(handler);
        let listening = std::thread::spawn(move || {
            let mut serving = Vec::new();
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                opened.fetch_add(1, Ordering::SeqCst);
                let (handler, seen) = (Arc::clone(&handler), Arc::clone(&seen));
                serving.push(std::thread::spawn(move || serve(stream.unwrap(), &seen, &*handler)));
            }
            for thread in serving {
                thread.join().expect("no handler panics");
            }
        });
        Self { address, requests, connections, stop, listening: Some(listening) }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// All requests so far, in the order in which they came.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// The paths of all requests so far.
    pub fn paths(&self) -> Vec<String> {
        self.requests().into_iter().map(|request| request.path).collect()
    }

    /// How many connections were made so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn serve(stream: TcpStream, seen: &Mutex<Vec<Request>>, handler: &Handler) {
    stream.set_read_timeout(Some(GUARD)).unwrap();
    stream.set_write_timeout(Some(GUARD)).unwrap();
    let Some(mut request) = Request::read(&stream) else { return };
    {
        let mut seen = seen.lock().unwrap();
        request.number = seen.len();
        seen.push(request.clone());
    }
    handler(&request, &mut Answer { stream });
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for a connection.
        let _ = TcpStream::connect(self.address);
        let result = self.listening.take().map_or(Ok(()), JoinHandle::join);
        if !std::thread::panicking() {
            result.expect("no handler panics");
        }
    }
}
