//! Downloads over connections that break, stall or send wrong data: they are resumed where that is safe and restarted
//! where it is not. A failed download leaves nothing in the cache that could be taken for a pinned file.

use std::sync::mpsc;
use std::time::Duration;

use netboot_loaders::base::diagnostic::told;
use netboot_loaders::base::http::{HttpClient, MinThroughput, NetworkAccess, TransferLimits};
use netboot_loaders::base::progress::{Event, Silent};
use netboot_loaders::base::url::Url;
use netboot_loaders::fetch::download::{self, download};
use netboot_loaders::fetch::syslinux;
use netboot_loaders::reproduce::published::PublishedTree;

use netboot_fixtures::drip::{BODIES, Drip, HEADS, PROXIES};
use netboot_fixtures::git::{self, UpstreamRepo};
use netboot_fixtures::release::{self, assert_taken, fetch};
use netboot_fixtures::scratch::{Listener, Scratch, at, http, http_with, noise, online};
use netboot_fixtures::server::{Responder, ServedRequest, TestServer};

netboot_fixtures::tests! {
    a_cut_connection_is_resumed,
    a_cut_piece_of_a_chunked_body_is_resumed,
    nothing_is_resumed_that_the_server_cannot_tell_apart,
    a_file_that_changed_meanwhile_is_begun_again,
    the_validator_of_another_file_is_forgotten,
    the_wrong_rest_of_a_file_is_not_appended,
    what_arrived_before_the_last_attempt_failed_is_resumed_by_the_next_run,
    a_server_that_closes_without_a_word,
    a_server_that_is_not_there,
    more_bytes_are_announced_than_sent,
    fewer_bytes_are_announced_than_sent,
    a_file_is_not_read_beyond_the_cap,
    a_file_of_just_the_size_of_the_cap_is_accepted,
    a_release_to_compare_with_is_no_larger_than_its_files,
    a_head_that_drips_is_given_up,
    an_answer_with_an_endless_head_is_refused,
    a_file_that_comes_encoded_is_refused_at_once,
    a_password_in_the_address_is_sent_and_not_shown,
    a_password_does_not_go_to_another_server,
    ; slow:
    a_server_that_falls_silent_is_given_up,
    a_server_that_drips_is_given_up,
    nothing_can_be_dripped_in_the_place_of_a_body,
    nothing_can_be_dripped_in_the_place_of_an_answer,
    a_proxy_that_drips_is_given_up_and_named,
}

const PATH: &str = "/release/syslinux-6.03.zip";
const CUT: usize = 30_000;

fn archive() -> Vec<u8> {
    release::zip(&release::files())
}

/// Sends the head of the whole archive, and closes the connection after `count` bytes.
fn cut_after(count: usize, answer: &mut Responder, headers: &[&str]) {
    let archive = archive();
    let length = format!("Content-Length: {}", archive.len());
    answer.head("200 OK", &[&[length.as_str()], headers].concat());
    answer.bytes(&archive[..count]);
}

/// Sends the archive from `start` on, but only `count` bytes of it.
fn rest(start: usize, count: usize, answer: &mut Responder) {
    let archive = archive();
    let range = format!("Content-Range: bytes {start}-{}/{}", archive.len() - 1, archive.len());
    answer.head("206 Partial Content", &[&range, &format!("Content-Length: {}", archive.len() - start)]);
    answer.bytes(&archive[start..archive.len().min(start.saturating_add(count))]);
}

/// Server that supports resuming and cuts its first reply, which has the header `validator`.
fn cut_once(validator: &'static str) -> TestServer {
    TestServer::start(move |request, answer| match request.resumes_at() {
        None if request.number == 0 => cut_after(CUT, answer, &[validator]),
        None => answer.whole("200 OK", &[], &archive()),
        Some(start) => rest(start, usize::MAX, answer),
    })
}

fn fetch_from(server: &TestServer, scratch: &Scratch) -> Result<(), syslinux::Error> {
    fetch(scratch, &[server.url(PATH)], &online())
}

/// Returns the kept part of the failed download.
fn kept(scratch: &Scratch) -> Vec<u8> {
    let partial = scratch.cached().into_iter().find(|path| path.ends_with(".partial")).unwrap();
    std::fs::read(scratch.cache.root().join(partial)).unwrap()
}

/// Returns the `Range` and `If-Range` headers of a request.
fn resumed(request: &ServedRequest) -> (Option<&str>, Option<&str>) {
    (request.header("range"), request.header("if-range"))
}

fn a_cut_connection_is_resumed() {
    for (header, validator) in
        [("ETag: \"v1\"", "\"v1\""), ("Last-Modified: Mon, 06 Oct 2014 16:29:00 GMT", "Mon, 06 Oct 2014 16:29:00 GMT")]
    {
        let (server, scratch) = (cut_once(header), Scratch::new());
        fetch_from(&server, &scratch).unwrap();
        let requests = server.requests();
        assert_eq!(requests.len(), 2);
        assert_eq!(resumed(&requests[0]), (None, None));
        assert_eq!(resumed(&requests[1]), (Some("bytes=30000-"), Some(validator)));
        assert_taken(&scratch, "syslinux-6.03.zip", &archive());
    }
}

fn a_cut_piece_of_a_chunked_body_is_resumed() {
    let server = TestServer::start(|request, answer| match request.resumes_at() {
        None => {
            answer.head("200 OK", &["Transfer-Encoding: chunked", "ETag: \"v1\""]);
            answer.chunk(&archive()[..CUT]);
        }
        Some(start) => rest(start, usize::MAX, answer),
    });
    let scratch = Scratch::new();
    fetch_from(&server, &scratch).unwrap();
    assert_eq!(resumed(&server.requests()[1]), (Some("bytes=30000-"), Some("\"v1\"")));
    assert_taken(&scratch, "syslinux-6.03.zip", &archive());
}

fn nothing_is_resumed_that_the_server_cannot_tell_apart() {
    // Without a validator, or with a weak one, the rest could belong to another file.
    for header in ["Server: old", "ETag: W/\"v1\""] {
        let (server, scratch) = (cut_once(header), Scratch::new());
        fetch_from(&server, &scratch).unwrap();
        let requests = server.requests();
        assert_eq!(requests.len(), 2, "{header}");
        assert_eq!(resumed(&requests[1]), (None, None), "{header}");
        assert_taken(&scratch, "syslinux-6.03.zip", &archive());
    }
}

fn a_file_that_changed_meanwhile_is_begun_again() {
    let server = TestServer::start(|request, answer| match request.number {
        // The beginning of another file, longer than the first part of the right one.
        0 => {
            answer.head("200 OK", &["Content-Length: 70000", "ETag: \"old\""]);
            answer.bytes(&noise(9, 65_000));
        }
        1 => cut_after(CUT, answer, &["ETag: \"new\""]),
        _ => rest(request.resumes_at().unwrap(), usize::MAX, answer),
    });
    let scratch = Scratch::new();
    fetch_from(&server, &scratch).unwrap();
    let requests = server.requests();
    assert_eq!(resumed(&requests[1]), (Some("bytes=65000-"), Some("\"old\"")));
    assert_eq!(resumed(&requests[2]), (Some("bytes=30000-"), Some("\"new\"")));
    assert_eq!(requests.len(), 3);
    assert_taken(&scratch, "syslinux-6.03.zip", &archive());
}

fn the_validator_of_another_file_is_forgotten() {
    let server = TestServer::start(|request, answer| match request.number {
        0 => cut_after(CUT, answer, &["ETag: \"old\""]),
        // Another file, with no validator to identify it.
        1 => cut_after(CUT, answer, &[]),
        _ => answer.whole("200 OK", &[], &archive()),
    });
    let scratch = Scratch::new();
    fetch_from(&server, &scratch).unwrap();
    assert_eq!(resumed(&server.requests()[1]), (Some("bytes=30000-"), Some("\"old\"")));
    assert_eq!(resumed(&server.requests()[2]), (None, None));
    assert_taken(&scratch, "syslinux-6.03.zip", &archive());
}

fn the_wrong_rest_of_a_file_is_not_appended() {
    for range in ["Content-Range: bytes 20000-60000/60001", "Content-Range: bytes */60001", "Server: old"] {
        let server = TestServer::start(move |request, answer| match request.number {
            0 => cut_after(CUT, answer, &["ETag: \"v1\""]),
            1 => answer.whole("206 Partial Content", &[range], &archive()[20_000..]),
            _ => answer.whole("200 OK", &[], &archive()),
        });
        let scratch = Scratch::new();
        fetch_from(&server, &scratch).unwrap();
        assert_eq!(resumed(&server.requests()[2]), (None, None), "{range}");
        assert_taken(&scratch, "syslinux-6.03.zip", &archive());
    }
}

fn what_arrived_before_the_last_attempt_failed_is_resumed_by_the_next_run() {
    let server = TestServer::start(|request, answer| match (request.number, request.resumes_at()) {
        (0, None) => cut_after(10_000, answer, &["ETag: \"v1\""]),
        (1 | 2, Some(start)) => rest(start, 10_000, answer),
        (3, Some(start)) => rest(start, usize::MAX, answer),
        _ => answer.whole("400 Bad Request", &[], b""),
    });
    let scratch = Scratch::new();
    let error = fetch_from(&server, &scratch).unwrap_err();
    assert_eq!(
        told(&error),
        format!(
            "cannot download `{}`: the transfer stopped after 30000 bytes (the server closed the connection), after 3 attempts\n\
             hint: Resume\nhint: or With(SyslinuxArchive)",
            server.url(PATH)
        )
    );
    scratch.assert_nothing_taken();
    assert!(kept(&scratch) == archive()[..30_000]);

    fetch_from(&server, &scratch).unwrap();
    assert_eq!(resumed(&server.requests()[3]), (Some("bytes=30000-"), Some("\"v1\"")));
    assert_taken(&scratch, "syslinux-6.03.zip", &archive());
}

fn a_server_that_closes_without_a_word() {
    let server = TestServer::start(|_, _| {});
    let scratch = Scratch::new();
    let error = fetch_from(&server, &scratch).unwrap_err();
    assert_eq!(
        told(&error),
        format!(
            "cannot download `{}`: the server closed the connection, after 3 attempts\n\
             hint: Again\nhint: or With(SyslinuxArchive)",
            server.url(PATH)
        )
    );
    assert_eq!(server.requests().len(), 3);
    scratch.assert_empty();
}

fn a_server_that_is_not_there() {
    // A host name label of more than 63 characters is refused before any lookup.
    let long = format!("http://{}.invalid/s.zip", "a".repeat(64));
    for (url, reason) in [
        // Nothing listens on port 1.
        ("http://127.0.0.1:1/s.zip", "the server refuses the connection"),
        (&long, "the host name cannot be resolved"),
    ] {
        let scratch = Scratch::new();
        let error = fetch(&scratch, &[url.into()], &online()).unwrap_err();
        assert_eq!(
            told(&error),
            format!(
                "cannot download `{url}`: {reason}, after 3 attempts\n\
                 hint: Again\nhint: or With(SyslinuxArchive)"
            )
        );
        scratch.assert_empty();
    }
}

fn more_bytes_are_announced_than_sent() {
    let server = TestServer::start(|request, answer| match request.resumes_at() {
        None => {
            answer.head("200 OK", &[&format!("Content-Length: {}", archive().len() + 10), "ETag: \"v1\""]);
            answer.bytes(&archive());
        }
        Some(_) => answer.whole("416 Range Not Satisfiable", &[], b""),
    });
    let scratch = Scratch::new();
    let error = fetch_from(&server, &scratch).unwrap_err();
    assert_eq!(
        told(&error),
        format!(
            "cannot download `{}`: the transfer stopped after {} bytes (the server closed the connection), after 3 attempts\n\
             hint: Resume\nhint: or With(SyslinuxArchive)",
            server.url(PATH),
            archive().len()
        )
    );
    let starts: Vec<_> = server.requests().iter().map(ServedRequest::resumes_at).collect();
    assert_eq!(starts, [None, Some(archive().len()), None]);
    scratch.assert_nothing_taken();
}

fn fewer_bytes_are_announced_than_sent() {
    let server = TestServer::start(|_, answer| {
        answer.head("200 OK", &["Content-Length: 30000"]);
        answer.bytes(&archive());
    });
    let scratch = Scratch::new();
    let error = fetch_from(&server, &scratch).unwrap_err();
    assert_eq!(
        told(&error),
        format!(
            "`{}` is damaged: its table of contents, which stands at the end, cannot be read\nhint: download it again",
            server.url(PATH)
        )
    );
    scratch.assert_empty();
}

/// Downloads at most 1,000 bytes. Returns the error message and the files that are left.
fn capped(server: &TestServer) -> (String, Vec<String>) {
    let scratch = Scratch::new();
    let partial = scratch.path("cache/partial");
    let listener = Listener::default();
    let error = download(&http(), &at(&server.url(PATH).into()), &partial, 1_000, &listener).unwrap_err();
    assert!(matches!(error, download::Error::TooLarge { .. }), "{error}");
    for event in listener.events.lock().unwrap().iter() {
        assert!(!matches!(event, Event::Advanced { done: 1_001.., .. }), "{event:?}");
    }
    (told(&error), scratch.cached())
}

fn a_file_is_not_read_beyond_the_cap() {
    type Behaviour = fn(&ServedRequest, &mut Responder);
    let behaviours: [(&str, Behaviour, usize); 4] = [
        // Stalls after the head: a client that reads on would hang.
        (
            "announced",
            |_, answer| {
                answer.head("200 OK", &["Content-Length: 1001"]);
                answer.stall();
            },
            1,
        ),
        (
            "endless",
            |_, answer| {
                answer.head("200 OK", &["Transfer-Encoding: chunked"]);
                while answer.chunk(&[b'x'; 300]) {}
            },
            1,
        ),
        (
            "without a length",
            |_, answer| {
                answer.head("200 OK", &[]);
                while answer.bytes(&[b'x'; 300]) {}
            },
            1,
        ),
        (
            "announced when resumed",
            |request, answer| match request.resumes_at() {
                None => {
                    answer.head("200 OK", &["Content-Length: 900", "ETag: \"v1\""]);
                    answer.bytes(&[b'x'; 600]);
                }
                Some(start) => {
                    let range = format!("Content-Range: bytes {start}-899/900");
                    answer.head("206 Partial Content", &[&range, "Content-Length: 18446744073709551615"]);
                    answer.stall();
                }
            },
            2,
        ),
    ];
    for (name, behaviour, requests) in behaviours {
        let server = TestServer::start(behaviour);
        let (error, left) = capped(&server);
        assert_eq!(
            error,
            format!(
                "cannot download `{}`: found more than 1000 bytes, wanted at most that\n\
                 hint: check the address: this cannot be the file that is wanted",
                server.url(PATH)
            ),
            "{name}"
        );
        // Such a file can never become the right one, so it is neither retried nor kept.
        assert_eq!(server.requests().len(), requests, "{name}");
        assert_eq!(left, <[String; 0]>::default(), "{name}");
    }
}

fn a_file_of_just_the_size_of_the_cap_is_accepted() {
    let server = TestServer::start(|_, answer| {
        answer.head("200 OK", &["Transfer-Encoding: chunked"]);
        answer.chunk(&[b'x'; 1_000]);
        answer.chunk(&[]);
    });
    let scratch = Scratch::new();
    let partial = scratch.path("file");
    download(&http(), &at(&server.url(PATH).into()), &partial, 1_000, &Silent).unwrap();
    assert_eq!(std::fs::read(&partial).unwrap(), [b'x'; 1_000]);
}

fn a_server_that_falls_silent_is_given_up() {
    type Behaviour = fn(&ServedRequest, &mut Responder);
    let behaviours: [(Behaviour, &str); 3] = [
        (|_, answer| answer.stall(), "the server fell silent"),
        (
            |_, answer| {
                answer.bytes(b"HTTP/1.1 200 OK\r\nContent-");
                answer.stall();
            },
            "the server fell silent",
        ),
        (
            |_, answer| {
                cut_after(CUT, answer, &[]);
                answer.stall();
            },
            "the transfer stopped after 30000 bytes (the server fell silent)",
        ),
    ];
    let check = |behaviour: Behaviour, reason: &str| {
        let (server, scratch) = (TestServer::start(behaviour), Scratch::new());
        let network = NetworkAccess::Online(http_with(Duration::from_secs(1), 2));
        let error = fetch(&scratch, &[server.url(PATH)], &network).unwrap_err();
        assert_eq!(
            told(&error),
            format!(
                "cannot download `{}`: {reason}, after 2 attempts\n\
                 hint: Again\nhint: or With(SyslinuxArchive)",
                server.url(PATH)
            )
        );
        assert_eq!(server.requests().len(), 2);
        scratch.assert_nothing_taken();
    };
    // In parallel, because they only wait.
    std::thread::scope(|scope| {
        for (behaviour, reason) in behaviours {
            scope.spawn(move || check(behaviour, reason));
        }
    });
}

fn a_release_to_compare_with_is_no_larger_than_its_files() {
    let server = TestServer::start(|_, answer| {
        answer.head("200 OK", &["Content-Length: 4294967296"]);
        answer.stall();
    });
    for (path, files, limit) in [
        ("/netboot-loaders-tftp.tar.gz", 7, (64 << 20) + 7 * (4 << 20)),
        ("/netboot-loaders-tftp.tar.gz", 100, (64 << 20) + 100 * (4 << 20)),
        ("/manifest.json?raw=1", 100, 32 << 20),
    ] {
        let (scratch, url) = (Scratch::new(), Url::from(server.url(path)));
        let error = PublishedTree::open(&url, files, &online(), &scratch.path("scratch"), &Silent).unwrap_err();
        assert_eq!(
            told(&error),
            format!(
                "cannot download `{url}`: found more than {limit} bytes, wanted at most that\n\
                 hint: check the address: this cannot be the file that is wanted"
            )
        );
    }
}

fn a_server_that_drips_is_given_up() {
    // Each pause is shorter than the idle timeout.
    let server = TestServer::start(|_, answer| {
        answer.head("200 OK", &["Content-Length: 60000"]);
        while answer.bytes(b"x") {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let mut http = http_with(Duration::from_secs(60), 2);
    http.limits.min_throughput = MinThroughput { bytes: 1_000, window: Duration::from_secs(1) };
    let scratch = Scratch::new();
    let error = told(&fetch(&scratch, &[server.url(PATH)], &NetworkAccess::Online(http)).unwrap_err());
    let start = format!("cannot download `{}`: the transfer stopped after ", server.url(PATH));
    assert!(error.starts_with(&start), "{error}");
    assert!(error.contains(" bytes (the server sends too slowly: ") && error.contains(" bytes in 1 second"), "{error}");
    assert!(error.ends_with("hint: Again\nhint: or With(SyslinuxArchive)"));
    assert_eq!(server.requests().len(), 2);
}

/// Returns the messages of a failed download and a failed git fetch from `drip`, with one attempt each.
fn dripped(drip: Drip) -> [String; 2] {
    let long = Duration::from_secs(60);
    let (url, http) = drip.listen(Duration::from_secs(1));
    let (sender, receiver) = mpsc::channel();
    let place = Url::from(url.as_str());
    std::thread::spawn(move || {
        let (scratch, silent) = (Scratch::new(), Silent);
        let partial = scratch.path("partial");
        let file = download(&http, &at(&place), &partial, 1_000_000, &silent).map_err(|error| told(&error));
        let pin = UpstreamRepo::new(&scratch.path("upstream.git")).pin();
        let git = git::fetch(&pin, &scratch.cache, &NetworkAccess::Online(http), place.expose());
        sender.send([file.unwrap_err(), git.unwrap_err()])
    });
    let errors = receiver.recv_timeout(long).unwrap_or_else(|_| panic!("{}: still waiting", drip.name));
    errors.map(|error| error.replace(&url, "URL"))
}

/// Checks the failure messages of each of `drips`. Runs them in parallel, because they only wait.
fn each_dripped(drips: &[Drip], check: impl Fn(&Drip, &str) -> bool + Sync) {
    std::thread::scope(|scope| {
        for &drip in drips {
            let check = &check;
            scope.spawn(move || {
                for error in dripped(drip) {
                    assert!(check(&drip, &error), "{}: {error}", drip.name);
                }
            });
        }
    });
}

fn nothing_can_be_dripped_in_the_place_of_a_body() {
    each_dripped(&BODIES, |_, error| error.contains("the server sends too slowly: "));
}

fn nothing_can_be_dripped_in_the_place_of_an_answer() {
    each_dripped(&HEADS, |drip, error| error.contains(&format!(" `URL`: {}", drip.reason)));
}

fn a_proxy_that_drips_is_given_up_and_named() {
    each_dripped(&PROXIES, |drip, error| {
        error.contains(" `URL`: the proxy `") && error.contains(&format!("` in `https_proxy`: {}", drip.reason))
    });
}

fn a_head_that_drips_is_given_up() {
    let server = TestServer::start(|_, answer| {
        answer.bytes(b"HTTP/1.1 200 OK\r\nX: ");
        while answer.bytes(b"x") {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let (connect, idle_timeout, pause) = (Duration::from_secs(60), Duration::from_secs(60), Duration::from_millis(1));
    let min_throughput = MinThroughput { bytes: 1_000, window: Duration::from_secs(1) };
    let http =
        HttpClient::new(None, TransferLimits { connect, idle_timeout, min_throughput, attempts: 1, pause }).unwrap();
    let error = told(&fetch(&Scratch::new(), &[server.url(PATH)], &NetworkAccess::Online(http)).unwrap_err());
    assert!(
        error.starts_with(&format!("cannot download `{}`: the server sends no whole answer in time", server.url(PATH))),
        "{error}"
    );
}

fn an_answer_with_an_endless_head_is_refused() {
    type Behaviour = fn(&ServedRequest, &mut Responder);
    let behaviours: [Behaviour; 2] = [
        |_, answer| {
            answer.bytes(b"HTTP/1.1 200 OK\r\nX: ");
            while answer.bytes(&[b'x'; 1 << 13]) {}
        },
        |_, answer| {
            answer.bytes(b"HTTP/1.1 200 OK\r\n");
            while answer.bytes(b"X: x\r\n") {}
        },
    ];
    for behaviour in behaviours {
        let (server, scratch) = (TestServer::start(behaviour), Scratch::new());
        let error = told(&fetch_from(&server, &scratch).unwrap_err());
        assert!(
            error.starts_with(&format!("cannot download `{}`: the head of the answer has ", server.url(PATH))),
            "{error}"
        );
        scratch.assert_empty();
    }
}

/// A cache on the way may compress what it passes on.
fn a_file_that_comes_encoded_is_refused_at_once() {
    let server = TestServer::start(|_, answer| answer.whole("200 OK", &["Content-Encoding: gzip"], &archive()));
    let scratch = Scratch::new();
    let error = told(&fetch_from(&server, &scratch).unwrap_err());
    let wanted = "the server sends the file encoded as `gzip`, which it was not asked for\nhint: have the server, or the cache \
                  before it, send the file as it is\n";
    assert!(error.starts_with(&format!("cannot download `{}`: {wanted}", server.url(PATH))), "{error}");
    assert_eq!(server.requests().len(), 1);
    scratch.assert_empty();
    let server = TestServer::start(|_, answer| answer.whole("200 OK", &["Content-Encoding: identity"], &archive()));
    fetch_from(&server, &Scratch::new()).unwrap();
}

/// Returns an address of `server` with a user and a password.
fn secret(server: &TestServer, path: &str) -> String {
    server.url(path).replace("http://", "http://us%20er:s%3Acret@")
}

fn a_password_in_the_address_is_sent_and_not_shown() {
    let server = TestServer::start(|request, answer| match request.path.as_str() {
        // "us er:s:cret"
        _ if request.header("authorization") != Some("Basic dXMgZXI6czpjcmV0") => {
            answer.whole("401 Unauthorized", &["WWW-Authenticate: Basic"], b"");
        }
        "/release/moved.zip" => answer.whole("302 Found", &[&format!("Location: {PATH}")], b""),
        PATH => answer.whole("200 OK", &[], &archive()),
        _ => answer.whole("404 Not Found", &[], b""),
    });
    for path in [PATH, "/release/moved.zip"] {
        let scratch = Scratch::new();
        fetch(&scratch, &[secret(&server, path)], &online()).unwrap();
        assert_taken(&scratch, path.trim_start_matches("/release/"), &archive());
    }
    let error = fetch(&Scratch::new(), &[secret(&server, "/gone")], &online()).unwrap_err();
    assert_eq!(
        told(&error),
        format!(
            "cannot download `{}`: found status 404 Not Found, wanted 200\n\
             hint: check the address\nhint: or With(SyslinuxArchive)",
            server.url("/gone")
        )
    );
}

fn a_password_does_not_go_to_another_server() {
    let other = TestServer::start(|_, answer| answer.whole("200 OK", &[], &archive()));
    let target = other.url(PATH);
    // If the redirect target has its own password, that one is used there.
    for (place, sent) in [(target.clone(), None), (target.replace("http://", "http://a:b@"), Some("Basic YTpi"))] {
        let place = format!("Location: {place}");
        let server = TestServer::start(move |_, answer| answer.whole("302 Found", &[&place], b""));
        fetch(&Scratch::new(), &[secret(&server, PATH)], &online()).unwrap();
        assert_eq!(server.requests()[0].header("authorization"), Some("Basic dXMgZXI6czpjcmV0"));
        assert_eq!(other.requests().last().unwrap().header("authorization"), sent);
    }
}
