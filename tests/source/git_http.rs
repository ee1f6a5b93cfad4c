//! Git's smart protocol over this tool's own HTTP client, against git's own server.

use netboot_loaders::base::http::NetworkAccess;
use netboot_loaders::base::progress::Silent;
use netboot_loaders::config::pins::IpxePin;
use netboot_loaders::fetch::{InputSource, git, ipxe};

use netboot_fixtures::git::{TAG, UpstreamRepo, assert_fetched, backend, fetch, has, http_backend, pass_on, serve};
use netboot_fixtures::scratch::{Scratch, online};
use netboot_fixtures::server::TestServer;

netboot_fixtures::tests! {
    a_commit_by_its_id,
    a_commit_by_its_tag,
    a_commit_that_only_the_history_leads_to,
    a_commit_that_the_server_does_not_have,
    a_second_pin_in_the_same_cache,
    a_repository_that_has_moved,
    all_branches_and_tags_with_their_history,
    two_fetches_at_once,
    the_second_address_is_asked_when_the_first_fails,
    a_pack_that_is_cut_off,
    a_server_without_the_repository,
    a_page_in_the_place_of_a_repository,
    a_server_that_closes_without_a_word,
}

const LIST: &str = "/ipxe.git/info/refs?service=git-upload-pack";
const PACK: &str = "/ipxe.git/git-upload-pack";

/// Returns a folder, a repository below it, and git's server for it, or the reason why git's server is not available.
fn served(any_commit: bool) -> Result<(Scratch, UpstreamRepo, TestServer), String> {
    http_backend()?;
    let scratch = Scratch::new();
    let upstream = UpstreamRepo::new(&scratch.path("ipxe.git"));
    upstream.repository.config().unwrap().set_bool("uploadpack.allowAnySHA1InWant", any_commit).unwrap();
    let server = serve(scratch.path(""));
    Ok((scratch, upstream, server))
}

/// Returns the message of a failed fetch, which must contain the address.
#[track_caller]
fn refused(scratch: &Scratch, pin: &IpxePin, url: &str) -> String {
    let error = fetch(pin, &scratch.cache, &online(), url).unwrap_err();
    error.replace(url, "URL")
}

fn failed(reason: &str) -> String {
    format!(
        "cannot fetch from `URL`: {reason}\n\
         hint: check the address\nhint: or With(IpxeUrl)"
    )
}

fn a_commit_by_its_id() -> Result<(), String> {
    let (_folder, upstream, server) = served(true)?;
    // The first commit is not the tip of a ref, so it is available without its history only by its own name.
    for commit in [upstream.first, upstream.second] {
        let scratch = Scratch::new();
        let pin = upstream.pin_of(commit);
        fetch(&pin, &scratch.cache, &online(), &server.url("/ipxe.git")).unwrap();
        assert_fetched(&pin, &scratch.cache);
        assert_eq!(has(&scratch.cache, upstream.first), commit == upstream.first);
    }
    assert_eq!(server.paths(), [LIST, PACK, PACK, LIST, PACK, PACK]);
    Ok(())
}

fn a_commit_by_its_tag() -> Result<(), String> {
    let (scratch, upstream, server) = served(false)?;
    let pin = upstream.pin();
    // A trailing slash makes no difference.
    fetch(&pin, &scratch.cache, &online(), &server.url("/ipxe.git/")).unwrap();
    assert_fetched(&pin, &scratch.cache);
    assert!(!has(&scratch.cache, upstream.first), "the parent came with it");
    assert_eq!(server.paths(), [LIST, LIST, PACK, PACK]);
    Ok(())
}

fn a_commit_that_only_the_history_leads_to() -> Result<(), String> {
    // The ref points to another commit, or does not exist.
    for git_ref in [TAG, "refs/tags/v1"] {
        let (scratch, upstream, server) = served(false)?;
        let mut pin = upstream.pin_of(upstream.first);
        pin.git_ref = git_ref.into();
        fetch(&pin, &scratch.cache, &online(), &server.url("/ipxe.git")).unwrap();
        assert_fetched(&pin, &scratch.cache);
        // No ref in the cache claims that the tag is the pin.
        let cache = git2::Repository::open_bare(scratch.cache.ipxe_git()).unwrap();
        let named = cache.find_reference(&format!("refs/pins/{}", pin.commit)).ok().and_then(|name| name.target());
        assert!(named.is_none_or(|oid| oid == upstream.first), "{named:?}");
    }
    Ok(())
}

fn a_commit_that_the_server_does_not_have() -> Result<(), String> {
    for any_commit in [true, false] {
        let (scratch, upstream, server) = served(any_commit)?;
        let mut pin = upstream.pin();
        pin.commit = "12798ec29aa8a64d8675c4378b99f5fe28447afb".parse().unwrap();
        assert_eq!(
            refused(&scratch, &pin, &server.url("/ipxe.git")),
            "`URL` does not have the pinned commit 12798ec29aa8a64d8675c4378b99f5fe28447afb\n\
             hint: bring the mirror up to date with `git fetch`, tags included\nhint: or With(IpxeUrl)"
        );
    }
    Ok(())
}

fn a_second_pin_in_the_same_cache() -> Result<(), String> {
    for any_commit in [true, false] {
        let (scratch, upstream, server) = served(any_commit)?;
        for commit in [upstream.second, upstream.first] {
            let pin = upstream.pin_of(commit);
            fetch(&pin, &scratch.cache, &online(), &server.url("/ipxe.git")).unwrap();
            assert_fetched(&pin, &scratch.cache);
        }
        assert_fetched(&upstream.pin(), &scratch.cache);
    }
    Ok(())
}

fn a_repository_that_has_moved() -> Result<(), String> {
    let (scratch, upstream, _) = served(true)?;
    let root = scratch.path("");
    let server = TestServer::start(move |request, answer| match request.path.strip_prefix("/old") {
        Some(rest) => answer.whole("301 Moved Permanently", &[&format!("Location: {rest}")], b""),
        None => pass_on(&backend(&root, request), answer),
    });
    let pin = upstream.pin();
    fetch(&pin, &scratch.cache, &online(), &server.url("/old/ipxe.git")).unwrap();
    assert_fetched(&pin, &scratch.cache);
    // Requests for packs go straight to the new address.
    assert_eq!(server.paths(), [&format!("/old{LIST}"), LIST, PACK, PACK]);
    Ok(())
}

fn all_branches_and_tags_with_their_history() -> Result<(), String> {
    let (scratch, upstream, server) = served(false)?;
    let url = server.url("/ipxe.git");
    let look = || {
        let NetworkAccess::Online(http) = online() else { unreachable!() };
        git::upstream(&scratch.cache.ipxe_history(), &url.as_str().into(), Some(&http), &Silent).unwrap()
    };
    std::fs::create_dir_all(scratch.cache.root()).unwrap();
    let object = upstream.repository.find_object(upstream.first, None).unwrap();
    let signature = upstream.repository.find_commit(upstream.first).unwrap().author().to_owned();
    let tag = upstream.repository.tag("v1", &object, &signature, "with a message", false).unwrap();
    let found = look();
    assert!(git::has(&found.repository, &upstream.pin_of(upstream.first).commit), "the history is missing");
    assert_eq!(found.head.as_deref(), Some("refs/heads/master"));
    let branch = ("refs/heads/master".to_owned(), upstream.second);
    assert_eq!(found.refs, [branch.clone(), ("refs/tags/v1".into(), tag), (TAG.into(), upstream.second)]);
    // A ref that was deleted on the server is deleted here, and the other objects are not sent again.
    upstream.repository.tag_delete("v1").unwrap();
    upstream.repository.find_reference(TAG).unwrap().delete().unwrap();
    assert_eq!(look().refs, std::slice::from_ref(&branch));
    assert_eq!(server.paths(), [LIST, PACK, LIST]);
    // Each fetch leaves a pack. After many fetches, the whole history is fetched again as one pack.
    let packs = scratch.cache.ipxe_history().join("objects/pack");
    for number in 0..25 {
        std::fs::write(packs.join(format!("pack-{number}.rev")), "").unwrap();
    }
    assert_eq!(look().refs, std::slice::from_ref(&branch));
    assert!(!packs.join("pack-0.rev").exists() && packs.read_dir_utf8().unwrap().count() < 10);
    // A branch takes the name of a folder, and the other way round.
    for name in ["topic", "topic/one", "topic"] {
        let reference = format!("refs/heads/{name}");
        upstream.repository.reference(&reference, upstream.first, true, "made").unwrap();
        assert_eq!(look().refs, [branch.clone(), (reference.clone(), upstream.first)]);
        upstream.repository.find_reference(&reference).unwrap().delete().unwrap();
    }
    Ok(())
}

fn two_fetches_at_once() -> Result<(), String> {
    let (_scratch, upstream, server) = served(true)?;
    let (pin, url) = (upstream.pin(), server.url("/ipxe.git"));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let scratch = Scratch::new();
                fetch(&pin, &scratch.cache, &online(), &url).unwrap();
                assert_fetched(&pin, &scratch.cache);
            });
        }
    });
    Ok(())
}

fn the_second_address_is_asked_when_the_first_fails() -> Result<(), String> {
    let (scratch, upstream, server) = served(true)?;
    let mut pin = upstream.pin();
    pin.urls = vec![server.url("/nothing.git").into(), server.url("/ipxe.git").into()];
    ipxe::fetch(&pin, &scratch.cache, &InputSource { network: &online(), given: None }, &Silent).unwrap();
    assert_fetched(&pin, &scratch.cache);
    Ok(())
}

fn a_pack_that_is_cut_off() -> Result<(), String> {
    for any_commit in [true, false] {
        let (scratch, upstream, honest) = served(any_commit)?;
        let root = scratch.path("");
        let cutting = TestServer::start(move |request, answer| {
            let reply = backend(&root, request);
            // Shorter bodies are not the pack.
            if reply.body.len() < 30_000 {
                return pass_on(&reply, answer);
            }
            let headers: Vec<_> = reply.headers.iter().map(String::as_str).collect();
            answer.head("200 OK", &[&[&*format!("Content-Length: {}", reply.body.len())], &*headers].concat());
            answer.bytes(&reply.body[..30_000]);
        });
        let pin = upstream.pin();
        let error = refused(&scratch, &pin, &cutting.url("/ipxe.git"));
        assert_eq!(error, failed("the server closed the connection"));

        fetch(&pin, &scratch.cache, &online(), &honest.url("/ipxe.git")).unwrap();
        assert_fetched(&pin, &scratch.cache);
    }
    Ok(())
}

fn a_server_without_the_repository() {
    let scratch = Scratch::new();
    let pin = UpstreamRepo::new(&scratch.path("ipxe.git")).pin();
    let server = TestServer::start(|_, answer| answer.whole("404 Not Found", &["Content-Type: text/html"], b"<html>"));
    let error = refused(&scratch, &pin, &server.url("/ipxe.git"));
    assert_eq!(error, failed("found status 404 Not Found, wanted 200"));
    assert_eq!(server.paths()[0], LIST);
}

fn a_page_in_the_place_of_a_repository() {
    let scratch = Scratch::new();
    let pin = UpstreamRepo::new(&scratch.path("ipxe.git")).pin();
    for (headers, found) in [(&["Content-Type: text/html"][..], "text/html"), (&[], "nothing")] {
        let server = TestServer::start(|_, answer| answer.whole("200 OK", headers, b"<html>"));
        let error = refused(&scratch, &pin, &server.url("/ipxe.git"));
        let wanted = "application/x-git-upload-pack-advertisement";
        assert_eq!(error, failed(&format!("found `{found}`, wanted `{wanted}`: this is not a git repository")));
    }
}

fn a_server_that_closes_without_a_word() {
    let scratch = Scratch::new();
    let pin = UpstreamRepo::new(&scratch.path("ipxe.git")).pin();
    let server = TestServer::start(|_, _| {});
    let error = refused(&scratch, &pin, &server.url("/ipxe.git"));
    assert_eq!(error, failed("the server closed the connection"));
}
