//! Ctrl-C ends a fetch promptly, even while a server is silent.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use netboot_loaders::base::diagnostic::told;
use netboot_loaders::base::http::{HttpClient, MinThroughput, NetworkAccess, TransferLimits};
use netboot_loaders::base::paths::Cache;
use netboot_loaders::base::progress::{Event, Progress};
use netboot_loaders::fetch::{InputSource, ipxe, syslinux};

use netboot_fixtures::drip::{BODIES, HEADS, PROXIES};
use netboot_fixtures::git::UpstreamRepo;
use netboot_fixtures::release::pin;
use netboot_fixtures::scratch::{Listener, Scratch, http, noise, online};
use netboot_fixtures::server::TestServer;

netboot_fixtures::tests! {
    in_the_middle_of_a_body,
    before_the_first_byte,
    in_the_pause_between_two_attempts,
    while_git_waits_for_an_answer,
    a_panic_of_the_work_is_not_swallowed_by_the_watch_over_it,
    work_that_is_done_is_not_held_up_by_the_watch_over_it,
    ; slow:
    while_a_server_or_a_proxy_drips,
}

/// Well below the client's own timeouts, and well above what a busy machine needs.
const PROMPT: Duration = Duration::from_secs(20);

fn fetch(server: &TestServer, cache: &Cache, listener: &Listener) -> String {
    let pin = pin(&[server.url("/s.zip"), server.url("/second.zip")]);
    let started = Instant::now();
    let error = syslinux::fetch(&pin, &pin.members, cache, &InputSource { network: &online(), given: None }, listener)
        .unwrap_err();
    assert!(started.elapsed() < PROMPT, "it took {:?}", started.elapsed());
    told(&error)
}

fn in_the_middle_of_a_body() {
    // Without a length, the client cannot tell a connection that it closed itself from the end of the file.
    for head in ["Content-Length: 60000", "Transfer-Encoding: chunked", "Server: old"] {
        let server = TestServer::start(move |_, answer| {
            answer.head("200 OK", &[head, "ETag: \"v1\""]);
            let piece = noise(3, 20_000);
            if head.contains("chunked") {
                answer.chunk(&piece)
            } else {
                answer.bytes(&piece)
            };
            answer.stall();
        });
        let scratch = Scratch::new();
        let error = fetch(&server, &scratch.cache, &Listener::cancelling());
        assert_eq!(error, format!("cannot download `{}`: interrupted", server.url("/s.zip")));
        // There is no retry, and the next address is not tried.
        assert_eq!(server.paths(), ["/s.zip"]);
        scratch.assert_nothing_taken();
        // The part received so far is kept for the next run.
        let kept = scratch.cached();
        assert_eq!(kept.len(), 2, "{kept:?}");
        assert!(kept[1].ends_with(".partial.validator"), "{kept:?}");
    }
}

fn before_the_first_byte() {
    let listener = Arc::new(Listener::default());
    let cancels = Arc::clone(&listener);
    let server = TestServer::start(move |_, answer| {
        cancels.cancelled.store(true, Ordering::SeqCst);
        answer.stall();
    });
    let scratch = Scratch::new();
    let error = fetch(&server, &scratch.cache, &listener);
    assert_eq!(error, format!("cannot download `{}`: interrupted", server.url("/s.zip")));
    assert_eq!(server.paths(), ["/s.zip"]);
    scratch.assert_empty();
}

fn in_the_pause_between_two_attempts() {
    /// Cancels after enough polls that the first attempt must be over.
    #[derive(Default)]
    struct Later(AtomicU32);
    impl Progress for Later {
        fn report(&self, _: &Event) {}
        fn cancelled(&self) -> bool {
            self.0.fetch_add(1, Ordering::SeqCst) > 8
        }
    }
    let server = TestServer::start(|_, answer| answer.whole("503 Service Unavailable", &[], b""));
    let pause = Duration::from_secs(60);
    let limits = TransferLimits {
        connect: pause,
        idle_timeout: pause,
        min_throughput: MinThroughput::default(),
        attempts: 3,
        pause,
    };
    let network = NetworkAccess::Online(HttpClient::new(None, limits).unwrap());
    let (scratch, pin) = (Scratch::new(), pin(&[server.url("/s.zip")]));
    let started = Instant::now();
    let error = syslinux::fetch(
        &pin,
        &pin.members,
        &scratch.cache,
        &InputSource { network: &network, given: None },
        &Later::default(),
    )
    .unwrap_err();
    assert!(started.elapsed() < PROMPT, "it took {:?}", started.elapsed());
    assert_eq!(told(&error), format!("cannot download `{}`: interrupted", server.url("/s.zip")));
    scratch.assert_empty();
}

fn while_git_waits_for_an_answer() {
    let listener = Arc::new(Listener::default());
    let cancels = Arc::clone(&listener);
    let server = TestServer::start(move |_, answer| {
        cancels.cancelled.store(true, Ordering::SeqCst);
        answer.stall();
    });
    let scratch = Scratch::new();
    let mut pin = UpstreamRepo::new(&scratch.path("upstream.git")).pin();
    pin.urls = vec![server.url("/ipxe.git").into(), server.url("/second.git").into()];
    let started = Instant::now();
    let error =
        ipxe::fetch(&pin, &scratch.cache, &InputSource { network: &online(), given: None }, &*listener).unwrap_err();
    assert!(started.elapsed() < PROMPT, "it took {:?}", started.elapsed());
    assert_eq!(told(&error), format!("cannot fetch from `{}`: interrupted", server.url("/ipxe.git")));
    assert_eq!(server.paths(), ["/ipxe.git/info/refs?service=git-upload-pack"]);
}

fn while_a_server_or_a_proxy_drips() {
    for drip in BODIES.into_iter().chain(HEADS).chain(PROXIES) {
        // The client's own limits would end the flood immediately, and the others long after `PROMPT`.
        if drip.name.starts_with("a flood of interim") {
            continue;
        }
        let (url, http) = drip.listen(3 * PROMPT);
        let (scratch, network) = (Scratch::new(), NetworkAccess::Online(http));
        let mut git = UpstreamRepo::new(&scratch.path("upstream.git")).pin();
        git.urls = vec![url.as_str().into()];
        let files = pin(std::slice::from_ref(&url));
        let source = InputSource { network: &network, given: None };
        let (url, cache) = (&url, &scratch.cache);
        assert_prompt(drip.name, |listener| {
            let error = syslinux::fetch(&files, &files.members, cache, &source, listener).unwrap_err();
            assert_eq!(told(&error), format!("cannot download `{url}`: interrupted"), "{}", drip.name);
        });
        // Cancelling shut the client down, so a new one is needed.
        let (url, http) = drip.listen(3 * PROMPT);
        let network = NetworkAccess::Online(http);
        let source = InputSource { network: &network, given: Some(&url.as_str().into()) };
        assert_prompt(drip.name, |listener| {
            let error = ipxe::fetch(&git, cache, &source, listener).unwrap_err();
            assert_eq!(told(&error), format!("cannot fetch from `{url}`: interrupted"), "{}", drip.name);
        });
    }
}

/// Runs `work` and cancels it once it has had time to reach the point where it waits.
fn assert_prompt(name: &str, work: impl FnOnce(&Listener)) {
    let listener = Listener::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(300));
            listener.cancelled.store(true, Ordering::SeqCst);
        });
        let started = Instant::now();
        work(&listener);
        assert!(started.elapsed() < PROMPT, "{name}: it took {:?}", started.elapsed());
    });
}

fn a_panic_of_the_work_is_not_swallowed_by_the_watch_over_it() {
    let (done, waits) = mpsc::channel();
    std::thread::spawn(move || {
        let result = std::panic::catch_unwind(|| http().interruptible(&Listener::default(), || panic!("on purpose")));
        done.send(result.is_err()).unwrap();
    });
    assert_eq!(waits.recv_timeout(PROMPT), Ok(true));
}

fn work_that_is_done_is_not_held_up_by_the_watch_over_it() {
    /// Signals when it is polled; the watcher polls it before going to sleep.
    struct Asked(mpsc::SyncSender<()>);
    impl Progress for Asked {
        fn report(&self, _: &Event) {}
        fn cancelled(&self) -> bool {
            let _ = self.0.try_send(());
            false
        }
    }
    let (asked, waits) = mpsc::sync_channel(1);
    let (http, asked, started) = (http(), Asked(asked), Instant::now());
    // Each sleep lasts a tenth of a second: more than half a minute in total.
    for _ in 0..400 {
        http.interruptible(&asked, || waits.recv().unwrap());
    }
    assert!(started.elapsed() < PROMPT, "it took {:?}", started.elapsed());
}
