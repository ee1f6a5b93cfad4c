//! Proxies: supported kinds, messages about broken ones, and hosts that bypass them.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use netboot_fixtures::project::{CliOutput, Project};
use netboot_fixtures::server::TestServer;

netboot_fixtures::tests! {
    socks_proxies_work,
    a_proxy_that_is_down_is_named_with_its_variable,
    a_proxy_that_talks_nonsense_is_named_with_what_it_says,
    a_proxy_that_refuses_for_good_is_asked_once,
    what_is_no_proxy_is_refused_without_its_password,
    hosts_go_without_a_proxy_by_name_and_subnet,
}

const VARIABLES: [&str; 6] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"];

/// Returns a web server with the archive of `project`.
fn archive(project: &Project) -> TestServer {
    let archive = project.read("syslinux.zip");
    TestServer::start(move |_, answer| answer.whole("200 OK", &[], &archive))
}

/// Fetches syslinux from `server` and iPXE from a folder, with `environment`.
fn fetch(project: &Project, server: &TestServer, environment: &[(&str, &str)]) -> CliOutput {
    let (ipxe, archive) = (project.path("ipxe"), server.url("/syslinux.zip"));
    run(project, &["fetch", "--ipxe-url", ipxe.as_str(), "--syslinux-archive", &archive], environment)
}

fn run(project: &Project, arguments: &[&str], environment: &[(&str, &str)]) -> CliOutput {
    let mut command = project.command(arguments);
    for variable in VARIABLES {
        command.env_remove(variable);
    }
    CliOutput::from(command.envs(environment.iter().copied()).output().unwrap())
}

/// A SOCKS proxy for all versions, which runs as long as the test program.
struct Socks {
    address: String,
    connections: Arc<AtomicUsize>,
    /// User and password of the last connection.
    user: Arc<Mutex<String>>,
}

impl Socks {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (connections, user) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<String>>::default());
        let (seen, heard) = (Arc::clone(&connections), Arc::clone(&user));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (seen, heard) = (Arc::clone(&seen), Arc::clone(&heard));
                std::thread::spawn(move || {
                    let mut client = stream.unwrap();
                    let server = handshake(&mut client, &heard).unwrap();
                    seen.fetch_add(1, Ordering::SeqCst);
                    let (mut up, mut down) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                    std::thread::spawn(move || std::io::copy(&mut up, &mut { server }));
                    let _ = std::io::copy(&mut down, &mut client);
                    let _ = client.shutdown(std::net::Shutdown::Both);
                });
            }
        });
        Self { address, connections, user }
    }
}

fn take(client: &mut TcpStream, count: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; count];
    client.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn text(client: &mut TcpStream) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    loop {
        match take(client, 1)?[0] {
            0 => return Ok(String::from_utf8(bytes).unwrap()),
            byte => bytes.push(byte),
        }
    }
}

/// Performs the handshake that the client asks for, and returns the connection to the server.
fn handshake(client: &mut TcpStream, user: &Mutex<String>) -> std::io::Result<TcpStream> {
    if take(client, 1)?[0] == 4 {
        let head = take(client, 7)?;
        let port = u16::from_be_bytes([head[1], head[2]]);
        let ip = [head[3], head[4], head[5], head[6]];
        text(client)?;
        let host = if ip[..3] == [0; 3] { text(client)? } else { std::net::Ipv4Addr::from(ip).to_string() };
        let server = TcpStream::connect((host, port))?;
        client.write_all(&[0, 90, 0, 0, 0, 0, 0, 0])?;
        return Ok(server);
    }
    let count = take(client, 1)?[0];
    let with_user = take(client, count.into())?.contains(&2);
    client.write_all(&[5, if with_user { 2 } else { 0 }])?;
    if with_user {
        take(client, 1)?;
        let mut word = || {
            let length = take(client, 1)?[0];
            take(client, length.into())
        };
        let (name, password) = (word()?, word()?);
        *user.lock().unwrap() = format!("{}:{}", String::from_utf8_lossy(&name), String::from_utf8_lossy(&password));
        client.write_all(&[1, 0])?;
    }
    let head = take(client, 4)?;
    let host = match head[3] {
        1 => std::net::Ipv4Addr::from(<[u8; 4]>::try_from(take(client, 4)?).unwrap()).to_string(),
        _ => {
            let length = take(client, 1)?[0];
            String::from_utf8(take(client, length.into())?).unwrap()
        }
    };
    let port = take(client, 2)?;
    let server = TcpStream::connect((host, u16::from_be_bytes([port[0], port[1]])))?;
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
    Ok(server)
}

fn socks_proxies_work() {
    let socks = Socks::start();
    for (number, scheme) in ["socks4", "socks4a", "socks5", "socks5h", "socks"].into_iter().enumerate() {
        let project = Project::new();
        let server = archive(&project);
        fetch(&project, &server, &[("all_proxy", &format!("{scheme}://{}", socks.address))]).success();
        assert_eq!(socks.connections.load(Ordering::SeqCst), number + 1, "{scheme}");
    }
    let project = Project::new();
    let server = archive(&project);
    fetch(&project, &server, &[("ALL_PROXY", &format!("socks5h://me:s%3Acret@{}", socks.address))]).success();
    assert_eq!(*socks.user.lock().unwrap(), "me:s:cret");
}

/// Returns the error of a git fetch with `environment`, with the address replaced by `URL`.
fn refused(environment: &[(&str, &str)]) -> String {
    let (project, url) = (Project::new(), "http://192.0.2.1/ipxe.git");
    run(&project, &["fetch", "--ipxe-url", url], environment).error(5).replace(url, "URL")
}

fn a_proxy_that_is_down_is_named_with_its_variable() {
    let long = format!("http://me:secret@{}.invalid:3128", "a".repeat(64));
    for (variable, proxy, reason) in [
        ("https_proxy", "http://me:secret@127.0.0.1:1", "it refuses the connection"),
        ("ALL_PROXY", "socks5h://me:secret@127.0.0.1:1", "it refuses the connection"),
        ("all_proxy", "socks4://127.0.0.1:1", "it refuses the connection"),
        ("HTTPS_PROXY", &long, "the host name cannot be resolved"),
    ] {
        assert_eq!(
            refused(&[(variable, proxy)]),
            format!(
                "cannot fetch from `URL`: the proxy `{}` in `{variable}`: {reason}\n\
                 hint: check `{variable}`, or name the host in `no_proxy`\nhint: or name a mirror or a local clone with `--ipxe-url`\n\
                 help: cargo xtask help closed-network\n",
                proxy.replace("me:secret@", "")
            )
        );
    }
}

/// Starts a proxy that sends `piece` to each client `times` times and hangs up. It runs as long as the test program.
fn babbling(piece: &'static [u8], times: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1 << 12]);
            let _ = (0..times).try_for_each(|_| stream.write_all(piece));
            // The client reads what it needs and hangs up first.
            let _ = stream
                .shutdown(std::net::Shutdown::Write)
                .and_then(|()| std::io::copy(&mut stream, &mut std::io::sink()));
        }
    });
    address
}

fn a_proxy_that_refuses_for_good_is_asked_once() {
    let project = Project::new();
    let ipxe = project.path("ipxe");
    for (scheme, piece, reason) in [
        ("http", &b"HTTP/1.1 405 Method Not Allowed\r\n\r\n"[..], "found `HTTP/1.1 405 Method Not Allowed`"),
        ("http", b"HTTP/1.1 501 Not Implemented\r\n\r\n", "found `HTTP/1.1 501 Not Implemented`"),
        ("https", b"HTTP/1.1 400 Bad Request\r\n\r\n", "what it sends is not TLS"),
    ] {
        let proxy = format!("{scheme}://{}", babbling(piece, 1));
        let options = ["fetch", "--ipxe-url", ipxe.as_str(), "--syslinux-archive", "https://192.0.2.1/a.zip"];
        let error = run(&project, &options, &[("https_proxy", &proxy)]).error(5);
        assert!(error.contains(reason) && !error.contains(" attempts"), "{error}");
    }
}

fn a_proxy_that_talks_nonsense_is_named_with_what_it_says() {
    let check = "check `https_proxy`, or name the host in `no_proxy`";
    let user = "give user and password in `https_proxy`, as in `http://user:password@host:port`";
    let long = format!("found an answer that is not HTTP, `{}…`, wanted the status 200", "x".repeat(80));
    let of_socks = "what it sends is not an answer of a SOCKS proxy (invalid response version)";
    let nonsense: [(&str, &'static [u8], usize, &str, &str); 9] = [
        (
            "http",
            b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
            1,
            "found `HTTP/1.1 407 Proxy Authentication Required`, wanted the status 200",
            user,
        ),
        (
            "http",
            b"HTTP/1.1 407\r\nbroken",
            1,
            "found `HTTP/1.1 407` without a whole head, wanted the status 200",
            user,
        ),
        (
            "http",
            b"HTTP/1.1 200 OK\r\n",
            1,
            "found `HTTP/1.1 200 OK` without a whole head, wanted the status 200",
            check,
        ),
        (
            "http",
            b"HTTP/1.1 200 OK\r\nX: x",
            100_000,
            "found `HTTP/1.1 200 OK` without a whole head, wanted the status 200",
            check,
        ),
        (
            "http",
            b"\x1b[2Jhello\n",
            1,
            "found an answer that is not HTTP, `\\u{1b}[2Jhello`, wanted the status 200",
            check,
        ),
        ("http", &[b'x'; 100], 2_000, &long, check),
        ("http", b"", 1, "it closed the connection without an answer", check),
        ("socks5h", b"HTTP/1.1 400 Bad Request\r\n\r\n", 1, of_socks, check),
        ("socks4a", b"HTTP/1.1 400 Bad Request\r\n\r\n", 1, of_socks, check),
    ];
    for (scheme, piece, times, reason, hint) in nonsense {
        let address = babbling(piece, times);
        assert_eq!(
            refused(&[("https_proxy", &format!("{scheme}://me:secret@{address}"))]),
            format!(
                "cannot fetch from `URL`: the proxy `{scheme}://{address}` in `https_proxy`: {reason}\n\
                 hint: {hint}\nhint: or name a mirror or a local clone with `--ipxe-url`\n\
                 help: cargo xtask help closed-network\n"
            )
        );
    }
}

fn what_is_no_proxy_is_refused_without_its_password() {
    let project = Project::new();
    for (proxy, shown) in [
        ("ftp://me:secret@proxy:21", "ftp://proxy:21"),
        ("socks6://proxy", "socks6://proxy"),
        ("http://", "http://"),
        ("http://me:secret@", "http://"),
        ("http://me:sec ret@proxy:3128", "http://proxy:3128"),
        ("http://me:sec/ret@proxy:3128", "http://…@proxy:3128"),
        ("http://me:12345/secret@proxy:3128", "http://…@proxy:3128"),
        ("http:/me:secret@proxy:3128", "http:/proxy:3128"),
        ("http//me:secret@proxy:3128", "http//proxy:3128"),
        ("//me:secret@proxy:3128", "//proxy:3128"),
        ("http://me:secret@proxy:port", "http://proxy:port"),
        ("me:secret@proxy:99999", "proxy:99999"),
    ] {
        assert_eq!(
            run(&project, &["fetch"], &[("https_proxy", proxy)]).error(3),
            format!(
                "`https_proxy`: found `{shown}`, wanted the address of a proxy\n\
                 hint: write it as `http://host:port`; http, https, socks4, socks4a, socks5 and socks5h are spoken, and \
                 special characters in a password are percent-encoded\n"
            )
        );
    }
}

fn hosts_go_without_a_proxy_by_name_and_subnet() {
    let dead = ("https_proxy", "http://127.0.0.1:1");
    for (variable, list) in [("no_proxy", "127.0.0.0/8"), ("NO_PROXY", "example.org, 127.0.0.1"), ("no_proxy", "*")] {
        let project = Project::new();
        let server = archive(&project);
        let ran = fetch(&project, &server, &[dead, (variable, list)]).success();
        assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
    }
    let project = Project::new();
    let server = archive(&project);
    let ran = fetch(&project, &server, &[dead, ("no_proxy", "127.0.0.0/8,10.*,http://me:secret@x/")]).warned();
    for entry in ["10.*", "http://x/"] {
        let warning = format!(
            "warning: `no_proxy` has `{entry}`, which is ignored: it is neither a name nor an IP address nor a subnet\n\
             hint: write it as in `example.org`, `192.0.2.7`, `10.0.0.0/8`, `fd00::/8` or `*`\n"
        );
        assert!(ran.stderr.contains(&warning), "{}", ran.stderr);
    }
}
