//! Error responses from download servers: which of them are retried, and when the next address is tried.

use netboot_loaders::base::diagnostic::told;
use netboot_loaders::base::http::NetworkAccess;
use netboot_loaders::config::pins::SyslinuxPin;
use netboot_loaders::digest::Sha256Digest;

use netboot_fixtures::git::{self, UpstreamRepo};
use netboot_fixtures::release::{self, CORE, assert_taken, fetch, fetch_as, pin};
use netboot_fixtures::scratch::{Scratch, online};
use netboot_fixtures::server::TestServer;

netboot_fixtures::tests! {
    a_page_that_says_not_found,
    a_page_in_the_place_of_the_archive,
    a_server_that_stays_busy,
    a_circle_of_redirects,
    a_redirect_to_a_server_that_is_down,
    an_address_that_is_not_of_the_web,
    a_redirect_to_a_place_without_end_is_shown_in_short,
    an_address_of_the_web_that_begins_wrongly_is_not_asked,
    a_server_that_is_busy_for_a_moment,
    honest_redirects_are_followed,
    the_second_address_is_asked_when_the_first_fails,
    a_mismatch_at_the_first_address_is_not_covered_up_by_the_second,
    the_pinned_digest_of_the_archive_itself_counts,
    an_address_that_was_given_takes_the_place_of_the_pinned_ones,
    offline_means_that_no_connection_is_made,
    a_full_cache_asks_nobody,
}

const PAGE: &[u8] = b"\n<!DOCTYPE html><html><body>Please log in</body></html>";

fn archive() -> Vec<u8> {
    release::zip(&release::files())
}

/// A rebuilt release: its members differ from the pinned ones.
fn rebuilt() -> Vec<u8> {
    let mut files = release::files();
    files[1].1[0] ^= 1;
    release::zip(&files)
}

fn rebuilt_core() -> Sha256Digest {
    let mut core = release::content(CORE);
    core[0] ^= 1;
    Sha256Digest::of(&core)
}

/// Server whose reply depends on the file name: `good`, `gone`, `page`, `busy`, `rebuilt`.
fn mirror() -> TestServer {
    TestServer::start(|request, answer| match request.path.as_str() {
        "/good/s.zip" | "/good/s.zip?raw=1" => answer.whole("200 OK", &[], &archive()),
        "/gone/s.zip" => answer.whole("404 Not Found", &["Content-Type: text/html"], PAGE),
        "/page/s.zip" => answer.whole("200 OK", &["Content-Type: text/html"], PAGE),
        "/busy/s.zip" => answer.whole("503 Service Unavailable", &["Content-Type: text/html"], PAGE),
        "/rebuilt/s.zip" => answer.whole("200 OK", &[], &rebuilt()),
        "/moved/s.zip" => answer.whole("302 Found", &["Location: /moved/again"], PAGE),
        "/moved/again" => answer.whole("301 Moved Permanently", &["Location: ../good/s.zip"], b""),
        "/circle/s.zip" => answer.whole("302 Found", &["Location: /circle/t.zip"], b""),
        "/circle/t.zip" => answer.whole("302 Found", &["Location: /circle/s.zip"], b""),
        "/astray/s.zip" => answer.whole("302 Found", &["Location: ftp://127.0.0.1/s.zip"], b""),
        // Nothing listens there.
        "/dead/s.zip" => answer.whole("302 Found", &["Location: http://me:secret@127.0.0.1:1/s.zip?token=secret"], b""),
        "/local/s.zip" => answer.whole("302 Found", &["Location: file:///etc/passwd"], b""),
        "/secret/s.zip" => answer.whole("302 Found", &["Location: ftp://me:secret@127.0.0.1/s.zip?token=secret"], b""),
        other => match other.strip_prefix("/on/").map(|number| number.parse::<u32>().unwrap()) {
            Some(number) => answer.whole("302 Found", &[&format!("Location: /on/{}", number + 1)], b""),
            None => panic!("nobody asks for `{other}`"),
        },
    })
}

fn urls(server: &TestServer, paths: &[&str]) -> Vec<String> {
    paths.iter().map(|path| server.url(path)).collect()
}

/// Fetches from one address of the mirror, expects a failure, and checks that it leaves no files behind. Returns the
/// message, with the address replaced by `URL`, and the requested paths.
#[track_caller]
fn refused(path: &str) -> (String, Vec<String>) {
    let (server, scratch) = (mirror(), Scratch::new());
    let error = fetch(&scratch, &urls(&server, &[path]), &online()).unwrap_err();
    scratch.assert_empty();
    (told(&error).replace(&server.url(path), "URL"), server.paths())
}

fn a_page_that_says_not_found() {
    let (error, asked) = refused("/gone/s.zip");
    assert_eq!(
        error,
        "cannot download `URL`: found status 404 Not Found, wanted 200\n\
         hint: check the address\nhint: or With(SyslinuxArchive)"
    );
    assert_eq!(asked, ["/gone/s.zip"]);
}

fn a_page_in_the_place_of_the_archive() {
    let (error, asked) = refused("/page/s.zip");
    assert_eq!(
        error,
        "`URL` is an HTML or XML page, wanted a .zip or .tar.xz archive\n\
         hint: check where it came from\nhint: or With(SyslinuxArchive)"
    );
    assert_eq!(asked, ["/page/s.zip"]);
}

fn a_server_that_stays_busy() {
    let (error, asked) = refused("/busy/s.zip");
    assert_eq!(
        error,
        "cannot download `URL`: found status 503 Service Unavailable, after 3 attempts\n\
         hint: Again\nhint: or With(SyslinuxArchive)"
    );
    assert_eq!(asked, ["/busy/s.zip"; 3]);
}

fn a_circle_of_redirects() {
    let (error, asked) = refused("/circle/s.zip");
    assert_eq!(
        error,
        "cannot download `URL`: the server redirects in a circle\n\
         hint: check the address\nhint: or With(SyslinuxArchive)"
    );
    // One round through the redirects, without restarting from the first.
    assert_eq!(asked, ["/circle/s.zip", "/circle/t.zip"]);
    let (error, asked) = refused("/on/0");
    assert_eq!(
        error,
        "cannot download `URL`: the server redirects more than 10 times\n\
         hint: check the address\nhint: or With(SyslinuxArchive)"
    );
    assert_eq!(asked.len(), 11);
}

fn a_redirect_to_a_server_that_is_down() {
    let (error, asked) = refused("/dead/s.zip");
    let begin = "cannot download `URL`: after a redirect to `http://127.0.0.1:1/s.zip?...`: ";
    assert!(error.starts_with(begin) && error.contains("refuses the connection"), "{error}");
    assert_eq!(asked, ["/dead/s.zip"; 3]);
}

fn an_address_that_is_not_of_the_web() {
    let scratch = Scratch::new();
    for address in ["ftp://127.0.0.1/s.zip", "http://", "http://mirror of mine/s.zip", "://s.zip"] {
        let error = fetch_as(&scratch, &pin(&[]), &online(), Some(address)).unwrap_err();
        assert_eq!(
            told(&error),
            format!(
                "cannot download `{address}`: found no address that can be asked, wanted one as in `https://host/path`\n\
                 hint: check the address\nhint: or With(SyslinuxArchive)"
            )
        );
        scratch.assert_empty();
    }
    for (path, to) in [
        ("/astray/s.zip", "ftp://127.0.0.1/s.zip"),
        ("/local/s.zip", "file:///etc/passwd"),
        ("/secret/s.zip", "ftp://127.0.0.1/s.zip?..."),
    ] {
        let (error, asked) = refused(path);
        assert_eq!(
            error,
            format!(
                "cannot download `URL`: the server redirects to `{to}`, wanted an address with http or https\n\
                 hint: check the address\nhint: or With(SyslinuxArchive)"
            )
        );
        assert_eq!(asked, [path]);
    }
}

fn a_redirect_to_a_place_without_end_is_shown_in_short() {
    let location = format!("Location: ftp://127.0.0.1/{}", "x".repeat(40_000));
    let server = TestServer::start(move |_, answer| answer.whole("302 Found", &[&location], b""));
    let error = told(&fetch(&Scratch::new(), &[server.url("/s.zip")], &online()).unwrap_err());
    assert!(error.contains("the server redirects to `ftp://127.0.0.1/xxx"), "{error}");
    assert!(error.len() < 1_300 && error.contains("… (40016 bytes)`, wanted an address with http or https"), "{error}");
}

fn an_address_of_the_web_that_begins_wrongly_is_not_asked() {
    for (address, found) in
        [("http:/127.0.0.1:1/s.zip", "http:/"), ("http:127.0.0.1/s.zip", "http:"), ("http//h/s.zip", "http//")]
    {
        let scratch = Scratch::new();
        let error = fetch_as(&scratch, &pin(&[]), &online(), Some(address)).unwrap_err();
        let reason = format!("found `{found}`, wanted `http://`");
        assert_eq!(
            told(&error),
            format!("cannot download `{address}`: {reason}\nhint: check the address\nhint: or With(SyslinuxArchive)")
        );
        let pin = UpstreamRepo::new(&scratch.path("upstream.git")).pin();
        let error = git::fetch(&pin, &scratch.cache, &online(), address).unwrap_err();
        assert!(
            error.starts_with(&format!("cannot fetch from `{address}`: {reason}\nhint: check the address\nhint: or ")),
            "{error}"
        );
    }
}

fn a_server_that_is_busy_for_a_moment() {
    let server = TestServer::start(|request, answer| match request.number {
        0 => answer.whole("503 Service Unavailable", &[], b"busy"),
        1 => answer.whole("429 Too Many Requests", &[], b"busy"),
        _ => answer.whole("200 OK", &[], &archive()),
    });
    let scratch = Scratch::new();
    fetch(&scratch, &[server.url("/s.zip")], &online()).unwrap();
    assert_eq!(server.requests().len(), 3);
    assert_taken(&scratch, "s.zip", &archive());
}

fn honest_redirects_are_followed() {
    let (server, scratch) = (mirror(), Scratch::new());
    fetch(&scratch, &urls(&server, &["/moved/s.zip"]), &online()).unwrap();
    assert_eq!(server.paths(), ["/moved/s.zip", "/moved/again", "/good/s.zip"]);
    assert_taken(&scratch, "s.zip", &archive());
}

fn the_second_address_is_asked_when_the_first_fails() {
    for first in ["/gone/s.zip", "/circle/s.zip", "/busy/s.zip"] {
        let (server, scratch) = (mirror(), Scratch::new());
        fetch(&scratch, &urls(&server, &[first, "/good/s.zip"]), &online()).unwrap();
        assert_eq!(server.paths().last().unwrap(), "/good/s.zip");
        assert_taken(&scratch, "s.zip", &archive());
    }
}

fn a_mismatch_at_the_first_address_is_not_covered_up_by_the_second() {
    let (server, scratch) = (mirror(), Scratch::new());
    let error = fetch(&scratch, &urls(&server, &["/rebuilt/s.zip", "/good/s.zip"]), &online()).unwrap_err();
    assert_eq!(
        told(&error),
        format!(
            "`bios/core/lpxelinux.0` in `s.zip` does not match its pin: found SHA-256 {}, wanted {}\n\
             hint: do not just change the pin: this is a rebuild or another release",
            rebuilt_core(),
            Sha256Digest::of(&release::content(CORE))
        )
    );
    assert_eq!(server.paths(), ["/rebuilt/s.zip"]);
    scratch.assert_empty();
}

fn the_pinned_digest_of_the_archive_itself_counts() {
    let (server, scratch) = (mirror(), Scratch::new());
    let mut pin: SyslinuxPin = pin(&urls(&server, &["/rebuilt/s.zip", "/good/s.zip"]));
    let wanted = Sha256Digest::of(&archive());
    pin.archives[0].sha256 = Some(wanted);
    let error = fetch_as(&scratch, &pin, &online(), None).unwrap_err();
    assert_eq!(
        told(&error),
        format!(
            "`s.zip` does not match its pin: found SHA-256 {}, wanted {wanted}\n\
             hint: find out which of them is right before you change the pin",
            Sha256Digest::of(&rebuilt())
        )
    );
    assert_eq!(server.paths(), ["/rebuilt/s.zip"]);
    scratch.assert_empty();

    pin.archives.remove(0);
    pin.archives[0].sha256 = Some(wanted);
    fetch_as(&scratch, &pin, &online(), None).unwrap();
    assert_taken(&scratch, "s.zip", &archive());
}

fn an_address_that_was_given_takes_the_place_of_the_pinned_ones() {
    let (server, scratch) = (mirror(), Scratch::new());
    let pin = pin(&urls(&server, &["/gone/s.zip"]));
    fetch_as(&scratch, &pin, &online(), Some(&server.url("/good/s.zip?raw=1"))).unwrap();
    assert_eq!(server.paths(), ["/good/s.zip?raw=1"]);
    assert_taken(&scratch, "s.zip", &archive());
}

fn offline_means_that_no_connection_is_made() {
    let (server, scratch) = (mirror(), Scratch::new());
    let good = [server.url("/good/s.zip")];
    let hint = "hint: Run(Fetch)\nhint: or With(SyslinuxArchive)\nhint: or With(SourcesFrom)";
    for given in [None, Some(good[0].as_str())] {
        let error = fetch_as(&scratch, &pin(&good), &NetworkAccess::Offline, given).unwrap_err();
        assert_eq!(
            told(&error),
            format!(
                "`lpxelinux.0`, `ldlinux.c32` of syslinux 6.03 are not in the cache `{}`, and this run is offline\n{hint}",
                scratch.cache.root()
            )
        );
        scratch.assert_empty();
    }

    // A damaged file counts as missing; the other file is not requested again.
    fetch(&scratch, &good, &online()).unwrap();
    let connections = server.connections();
    std::fs::write(scratch.cache.blob(&pin(&[]).members[1].sha256), b"damaged").unwrap();
    let error = fetch(&scratch, &good, &NetworkAccess::Offline).unwrap_err();
    assert_eq!(
        told(&error),
        format!(
            "`ldlinux.c32` of syslinux 6.03 is not in the cache `{}`, and this run is offline\n{hint}",
            scratch.cache.root()
        )
    );
    assert_eq!(server.connections(), connections);

    // A correct cached file is enough.
    fetch(&scratch, &good, &online()).unwrap();
    fetch(&scratch, &good, &NetworkAccess::Offline).unwrap();
    assert_taken(&scratch, "s.zip", &archive());
}

fn a_full_cache_asks_nobody() {
    let (server, scratch) = (mirror(), Scratch::new());
    fetch(&scratch, &urls(&server, &["/good/s.zip"]), &online()).unwrap();
    fetch(&scratch, &urls(&server, &["/gone/s.zip"]), &online()).unwrap();
    assert_eq!(server.paths(), ["/good/s.zip"]);
}
