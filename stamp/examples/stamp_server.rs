//! A server that holds one bundle of bases and stamps each loader on request: `/SITE/LOADER` is the loader with a
//! script for that site.
//!
//! ```sh
//! cargo xtask bundle-bases --out bases.tar.gz
//! cargo run --release -p netboot_stamp --example stamp_server -- bases.tar.gz --url 'http://192.0.2.10/{site}.ipxe'
//! curl -O http://127.0.0.1:8080/rack-1/ipxe.efi
//! ```
//!
//! The server answers one request per connection, and 64 connections at a time; others wait in the kernel. It closes a
//! connection when the client sends or reads nothing for ten seconds, or takes two minutes in total. Until then, the
//! connection holds a loader of up to 4 MiB, so 64 connections take 256 MiB in addition to the bundle. Put the server
//! behind a reverse proxy if you cannot trust clients that far.
//!
//! With `--sign-command`, each UEFI loader is signed before it is sent, as many at a time as there are processors.

#![allow(clippy::disallowed_methods, reason = "a program is no part of the library")]

use std::error::Error;
use std::io::{self, Read, Write, stdout};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::{available_parallelism, scope, sleep};
use std::time::{Duration, Instant};

use netboot_stamp::bundle::Bundle;
use netboot_stamp::slot::Slot;
use netboot_stamp::stamper::{self, Stamper};

const USAGE: &str = "wanted stamp_server BUNDLE [--listen ADDRESS:PORT] [--configuration NAME] \
     [--template FILE | --url URL] [--sign-command 'PROGRAM … {input} … {output}']";

/// Number of connections served at a time, each by its own thread.
const CONNECTIONS: usize = 64;

/// Maximum size of a request, in bytes.
const MAX_REQUEST: usize = 8 << 10;

/// Time limits for a client.
#[derive(Clone, Copy)]
struct Patience {
    /// Maximum time without sending or reading anything.
    stalled: Duration,
    /// Maximum time for the whole request.
    request: Duration,
    /// Maximum time for the whole response.
    response: Duration,
}

const PATIENCE: Patience =
    Patience { stalled: Duration::from_secs(10), request: Duration::from_secs(10), response: Duration::from_secs(120) };

/// Default script of a loader; `{{ site }}` is replaced by the name of the site.
const TEMPLATE: &str = "#!ipxe\necho {{ site }}\ndhcp && chain ${root-path}\n";

fn main() {
    if let Err(error) = serve() {
        eprintln!("error: {error}");
        std::process::exit(1);
    }
}

fn serve() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut arguments = std::env::args().skip(1);
    let path = PathBuf::from(arguments.next().filter(|argument| !argument.starts_with('-')).ok_or(USAGE)?);
    let (mut address, mut configuration, mut template, mut signer) =
        ("127.0.0.1:8080".to_owned(), "default".to_owned(), TEMPLATE.to_owned(), None);
    while let Some(option) = arguments.next() {
        let value = arguments.next().ok_or(USAGE)?;
        match option.as_str() {
            "--listen" => address = value,
            "--configuration" => configuration = value,
            "--template" => {
                template =
                    std::fs::read_to_string(&value).map_err(|error| format!("cannot read `{value}`: {error}"))?;
            }
            "--url" => template = format!("#!ipxe\ndhcp && chain {}\n", value.replace("{site}", "{{ site }}")),
            "--sign-command" => signer = Some(Signer::parse(&value).ok_or(USAGE)?),
            _ => return Err(USAGE.into()),
        }
    }
    let bundle = Bundle::open(&path)?;
    check(&bundle, &configuration, &template)?;
    let count = available_parallelism()?.get();
    let stampers = Pool::new(stampers(&bundle, count)?);
    let stock = Stock { bundle, configuration, template, signer, stampers, signing: Pool::new(vec![(); count]) };
    let listener = TcpListener::bind(address)?;
    match writeln!(stdout(), "listening on http://{}", listener.local_addr()?) {
        // The parent process does not read the output.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        written => written.map_err(|error| format!("cannot write to standard output: {error}"))?,
    }
    scope(|threads| {
        for _ in 0..CONNECTIONS {
            threads.spawn(|| accept(&listener, &stock, PATIENCE));
        }
    });
    Err("the server accepts no more connections".into())
}

/// Checks that there are loaders of `configuration`, and that a script from `template` fits into each.
fn check(bundle: &Bundle, configuration: &str, template: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
    // Templates of other systems end their lines with a carriage return, which iPXE takes.
    if template.lines().next().is_none_or(|line| line.trim_end() != "#!ipxe") {
        return Err("the template does not begin with the line `#!ipxe`".into());
    }
    let longest = template.replace("{{ site }}", &"x".repeat(MAX_SITE));
    let mut found = false;
    for (_, any) in bundle.bases().filter(|(its, _)| *its == configuration) {
        let loader = &any.record().loader;
        let base = bundle.base(configuration, loader).unwrap_or(any);
        Slot::fill(longest.as_bytes(), base.slot_size()).map_err(|error| format!("{loader}: {error}"))?;
        found = true;
    }
    if found { Ok(()) } else { Err(format!("the bundle has no loaders of the configuration `{configuration}`").into()) }
}

/// Maximum length of the name of a site, in bytes.
const MAX_SITE: usize = 63;

/// Serves one connection after the other.
fn accept(listener: &TcpListener, stock: &Stock, patience: Patience) {
    loop {
        match listener.accept() {
            // A client that disconnects or is too slow is not an error of the server.
            Ok((connection, _)) => drop(stock.serve(&connection, patience)),
            // For example, too many files are open.
            Err(_) => sleep(Duration::from_millis(100)),
        }
    }
}

/// Creates `count` stampers, one for each thread, with all bases prepared.
fn stampers(bundle: &Bundle, count: usize) -> Result<Vec<Stamper>, stamper::Error> {
    let prepared = || {
        let mut stamper = Stamper::new();
        bundle.bases().try_for_each(|(_, base)| stamper.prepare(base))?;
        Ok(stamper)
    };
    scope(|threads| {
        let threads: Vec<_> = (0..count).map(|_| threads.spawn(prepared)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
    })
}

/// Values that many threads share in turn: more threads wait for clients than can compute at the same time.
struct Pool<T> {
    free: Mutex<Vec<T>>,
    returned: Condvar,
}

impl<T> Pool<T> {
    fn new(values: Vec<T>) -> Self {
        Self { free: Mutex::new(values), returned: Condvar::new() }
    }

    /// Runs `work` with one of the values, and returns its result.
    fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.returned.wait_while(free, |free| free.is_empty());
        let mut value = waited.unwrap_or_else(PoisonError::into_inner).pop().expect("one is free");
        let result = work(&mut value);
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(value);
        self.returned.notify_one();
        result
    }
}

/// State shared by all threads.
struct Stock {
    bundle: Bundle,
    configuration: String,
    template: String,
    signer: Option<Signer>,
    stampers: Pool<Stamper>,
    /// As many as may be signed at a time.
    signing: Pool<()>,
}

/// A command that signs UEFI loaders for Secure Boot.
struct Signer {
    /// The program and its arguments; `{input}` and `{output}` stand for the file to sign and for the one to write.
    words: Vec<String>,
    /// Maximum time for a loader.
    patience: Duration,
}

impl Signer {
    /// Parses words that are separated by blanks.
    fn parse(command: &str) -> Option<Self> {
        let words: Vec<String> = command.split_ascii_whitespace().map(str::to_owned).collect();
        let has = |part: &str| words.iter().skip(1).any(|word| word.contains(part));
        (has("{input}") && has("{output}")).then_some(Self { words, patience: Duration::from_secs(30) })
    }

    /// Returns `loader` as the command has signed it. What it wrote is sent as it is.
    fn sign(&self, loader: &[u8]) -> io::Result<Vec<u8>> {
        let folder = tempfile::tempdir()?;
        let [input, output] = ["unsigned.efi", "signed.efi"].map(|name| folder.path().join(name));
        std::fs::write(&input, loader)?;
        let file = |word: &String| {
            word.replace("{input}", &input.to_string_lossy()).replace("{output}", &output.to_string_lossy())
        };
        let mut command = Command::new(&self.words[0]);
        let mut signing = command.args(self.words[1..].iter().map(file)).stdin(Stdio::null()).spawn()?;
        let deadline = Instant::now() + self.patience;
        let status = loop {
            match signing.try_wait()? {
                Some(status) => break status,
                None if Instant::now() < deadline => sleep(Duration::from_millis(2)),
                None => {
                    signing.kill()?;
                    break signing.wait()?;
                }
            }
        };
        if !status.success() {
            return Err(io::Error::other(format!("the signer ended with {status}")));
        }
        let written = std::fs::symlink_metadata(&output)?;
        if !written.is_file() || written.len() > loader.len() as u64 + MAX_SIGNATURE {
            return Err(io::Error::other("the signer has written something else than a signed loader"));
        }
        std::fs::read(output)
    }
}

/// Maximum size of a signature that is sent, in bytes; one with a long chain has 10,000.
const MAX_SIGNATURE: u64 = 1 << 20;

impl Stock {
    /// Answers the request of `connection`.
    fn serve(&self, connection: &TcpStream, patience: Patience) -> io::Result<()> {
        // Otherwise, the last bytes of a loader can wait 40 ms for an acknowledgement.
        connection.set_nodelay(true)?;
        let request = read_request(connection, patience)?;
        let mut words = request.lines().next().unwrap_or_default().split(' ');
        let (method, path, version) = (words.next(), words.next(), words.next());
        let http = version.is_some_and(|version| version.starts_with("HTTP/1."));
        let answer = match (method, path) {
            (Some("GET" | "HEAD"), Some(path)) if http => self.loader(path),
            (Some(_), Some(_)) if http => Err((405, "only GET and HEAD are answered".to_owned())),
            _ => Err((400, "the request is not HTTP/1, or has no end within 8 KiB".to_owned())),
        };
        let (status, kind, body) = match answer {
            Ok(loader) => (200, "application/octet-stream", loader),
            Err((status, reason)) => (status, "text/plain; charset=utf-8", (reason + "\n").into_bytes()),
        };
        // Boot ROMs require the length in advance.
        let head = format!(
            "HTTP/1.1 {status} {}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            reason(status),
            body.len()
        );
        write_response(connection, head.as_bytes(), patience)?;
        if method != Some("HEAD") {
            write_response(connection, &body, patience)?;
        }
        connection.shutdown(Shutdown::Write)
    }

    /// Returns the loader at `/SITE/LOADER`, or the status and the text of an error response.
    fn loader(&self, path: &str) -> Result<Vec<u8>, (u16, String)> {
        let names = path.strip_prefix('/').and_then(|path| path.split_once('/'));
        let (site, loader) = names.ok_or_else(|| (404, "wanted /SITE/LOADER".to_owned()))?;
        if !is_site(site) {
            return Err((400, "a site has 1 to 63 of A-Z a-z 0-9 . _ -, and no . or - first".to_owned()));
        }
        let base = self.bundle.base(&self.configuration, loader);
        let base = base.ok_or_else(|| (404, "there is no such loader".to_owned()))?;
        let script = self.template.replace("{{ site }}", site);
        let slot = Slot::fill(script.as_bytes(), base.slot_size()).map_err(|error| (500, error.to_string()))?;
        let stamped = self.stampers.with(|stamper| stamper.stamp(base, &slot));
        let stamped = stamped.map_err(|error| (500, error.to_string()))?;
        match &self.signer {
            // Loaders that are not signed do not wait for the signer.
            Some(signer) if Path::new(loader).extension().is_some_and(|it| it == "efi") => {
                self.signing.with(|()| signer.sign(&stamped)).map_err(|error| {
                    eprintln!("error: {loader} cannot be signed: {error}");
                    (500, "the loader cannot be signed".to_owned())
                })
            }
            _ => Ok(stamped),
        }
    }
}

/// Returns the reason phrase of a status.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        _ => "Internal Server Error",
    }
}

/// Reads a request up to the empty line that ends its head, or up to the size limit.
fn read_request(mut connection: &TcpStream, patience: Patience) -> io::Result<String> {
    let deadline = Instant::now() + patience.request;
    let (mut request, mut buffer) = (Vec::new(), [0; 1024]);
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < MAX_REQUEST {
        connection.set_read_timeout(Some(left(deadline, patience)?))?;
        match connection.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => request.extend_from_slice(&buffer[..count]),
        }
    }
    // A request without its end is treated as empty.
    let whole = request.windows(4).any(|end| end == b"\r\n\r\n");
    Ok(if whole { String::from_utf8(request).unwrap_or_default() } else { String::new() })
}

fn write_response(mut connection: &TcpStream, mut response: &[u8], patience: Patience) -> io::Result<()> {
    let deadline = Instant::now() + patience.response;
    while !response.is_empty() {
        connection.set_write_timeout(Some(left(deadline, patience)?))?;
        match connection.write(response)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            count => response = &response[count..],
        }
    }
    Ok(())
}

/// Returns how long the client may stay idle; an error if its time is up.
fn left(deadline: Instant, patience: Patience) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now()).min(patience.stalled);
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// Checks whether `name` is a valid site name: it must contain nothing special to a script or a path.
fn is_site(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=MAX_SITE).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with(['.', '-'])
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use netboot_stamp::base::{Addresses, Base};
    use netboot_stamp::build_id;
    use netboot_stamp::bundle::IpxeIdentity;
    use netboot_stamp::slot::SlotSize;

    use super::*;

    /// More than the kernel buffers for a client that does not read; no bundle has such a loader.
    const LARGE: usize = 16 << 20;

    /// Returns a stock with one loader, `x.pxe`, which is an EFI application despite its name.
    fn stock() -> Stock {
        let sentinel = Slot::sentinel(SlotSize::DEFAULT);
        let id = build_id::read(&mut &sentinel.bytes()[..], sentinel.bytes()).unwrap().id;
        let image = [sentinel.bytes(), &id.to_le_bytes(), &vec![0x90; LARGE - 4]].concat();
        let addresses = Addresses { slot: 0, build_id: 4096 };
        let base = Base::capture_efi("x.pxe", image, SlotSize::DEFAULT, addresses, &mut &sentinel.bytes()[..]);
        let base = base.unwrap().unwrap();
        let ipxe = IpxeIdentity { version: "2.0.0".into(), commit: "7".repeat(40).parse().unwrap() };
        let bundle = Bundle::new(ipxe, [("default".to_owned(), base)]);
        let stampers = Pool::new(stampers(&bundle, 1).unwrap());
        Stock {
            bundle,
            configuration: "default".into(),
            template: TEMPLATE.into(),
            signer: None,
            stampers,
            signing: Pool::new(vec![()]),
        }
    }

    #[test]
    fn a_loader_is_sent_as_the_command_has_signed_it_or_not_at_all() {
        assert!(["", "cp", "cp {input}", "{input} {output}"].iter().all(|it| Signer::parse(it).is_none()));
        let sign = |command: &str| {
            let signer = Signer { patience: Duration::from_millis(500), ..Signer::parse(command).unwrap() };
            signer.sign(b"loader").map_err(|error| error.to_string())
        };
        assert_eq!(sign("dd status=none if={input} of={output} bs=1 seek=2"), Ok(b"\0\0loader".to_vec()));
        assert!(sign("true {input} {output}").unwrap_err().contains("No such file"));
        assert!(
            sign("cp {input} {output} --no-such-option").unwrap_err().starts_with("the signer ended with exit status")
        );
        assert!(sign("mkfifo {output} -m {input}").is_err() && sign("ln -s {input} {output}").is_err());
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("slow");
        std::fs::write(&script, "cp $1 $2; exec sleep 60").unwrap();
        let slow = sign(&format!("sh {} {{input}} {{output}}", script.display()));
        assert!(slow.unwrap_err().starts_with("the signer ended with signal: 9"));
    }

    #[test]
    fn a_site_gets_its_own_loader_and_nothing_else_is_there() {
        let stock = stock();
        let loader = stock.loader("/rack-1/x.pxe").unwrap();
        assert!(loader.starts_with(b"#!ipxe\necho rack-1\ndhcp && chain ${root-path}\n\n"));
        let long = format!("/{}/x.pxe", "a".repeat(64));
        for (path, status) in [
            ("/x.pxe", 404),
            ("/a/y.pxe", 404),
            ("/a/b/x.pxe", 404),
            ("//x.pxe", 400),
            ("/../x.pxe", 400),
            ("/a%20b/x.pxe", 400),
            (long.as_str(), 400),
        ] {
            assert_eq!(stock.loader(path).unwrap_err().0, status, "{path}");
        }
    }

    /// Starts a server with three threads on a free port.
    fn server(patience: Patience) -> std::net::SocketAddr {
        let listener: &'static TcpListener = Box::leak(Box::new(TcpListener::bind("127.0.0.1:0").unwrap()));
        let stock: &'static Stock = Box::leak(Box::new(stock()));
        for _ in 0..3 {
            std::thread::spawn(move || accept(listener, stock, patience));
        }
        listener.local_addr().unwrap()
    }

    fn sent(server: std::net::SocketAddr, request: &[u8]) -> TcpStream {
        let mut connection = TcpStream::connect(server).unwrap();
        connection.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        connection.write_all(request).unwrap();
        connection
    }

    /// Returns the server's whole response.
    fn answer(server: std::net::SocketAddr, request: &[u8]) -> Vec<u8> {
        let mut answer = Vec::new();
        BufReader::new(sent(server, request)).read_to_end(&mut answer).unwrap();
        answer
    }

    const GET: &[u8] = b"GET /rack-1/x.pxe HTTP/1.1\r\nHost: a\r\n\r\n";

    #[test]
    fn requests_are_answered_with_a_length() {
        let server = server(PATIENCE);
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\n",
            LARGE + 4096
        );
        let got = answer(server, GET);
        assert!(got.starts_with(head.as_bytes()) && got.ends_with(&[0x90; 4096]));
        let got = answer(server, b"HEAD /rack-1/x.pxe HTTP/1.0\r\n\r\n");
        assert!(got.starts_with(head.as_bytes()) && got.ends_with(b"\r\n\r\n") && got.len() < 1000);
        let endless = vec![b'a'; MAX_REQUEST];
        for (request, status) in [
            (&b"POST /rack-1/x.pxe HTTP/1.1\r\n\r\n"[..], "405 Method Not Allowed"),
            (b"GET /rack-1/y.pxe HTTP/1.1\r\n\r\n", "404 Not Found"),
            (b"GET /../x.pxe HTTP/1.1\r\n\r\n", "400 Bad Request"),
            (b"GET\r\n\r\n", "400 Bad Request"),
            (b"\xff\xfe\r\n\r\n", "400 Bad Request"),
            (b"PRI * HTTP/2.0\r\n\r\n", "400 Bad Request"),
            (&endless, "400 Bad Request"),
        ] {
            let got = answer(server, request);
            assert!(got.starts_with(format!("HTTP/1.1 {status}\r\n").as_bytes()), "{}", String::from_utf8_lossy(&got));
        }
    }

    #[test]
    fn clients_that_stop_do_not_stop_the_server() {
        let second = Duration::from_secs(1);
        let server = server(Patience { stalled: second, request: second, response: 4 * second });
        // More clients of each kind than there are threads: they request and never read, request nothing, and stop in
        // the middle of a request.
        let stopped: Vec<TcpStream> =
            [GET, b"", b"GET /rack-1/x.pxe"].repeat(4).into_iter().map(|it| sent(server, it)).collect();
        let began = Instant::now();
        assert!(answer(server, GET).starts_with(b"HTTP/1.1 200 OK\r\n"));
        assert!(began.elapsed() < 20 * second, "{:?}", began.elapsed());
        drop(stopped);
        // As many clients that send or read one byte now and then.
        for number in 0..6 {
            let mut slow = sent(server, if number % 2 == 0 { GET } else { b"G" });
            std::thread::spawn(move || {
                let again = |slow: &mut TcpStream| {
                    if number % 2 == 0 { slow.read_exact(&mut [0]) } else { slow.write_all(b"x") }
                };
                while again(&mut slow).is_ok() {
                    sleep(Duration::from_millis(100));
                }
            });
        }
        let began = Instant::now();
        assert!(answer(server, GET).starts_with(b"HTTP/1.1 200 OK\r\n"));
        assert!(began.elapsed() < 20 * second, "{:?}", began.elapsed());
    }
}
