//! `mirror`: a set is complete before it is used, comes into use in one step, and is removed as a whole. Concurrent
//! readers never get images of two releases.

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use netboot_fixtures::mirror::{self, IMAGES, METADATA, MirrorProject, content, path};
use netboot_fixtures::project::CliOutput;
use netboot_fixtures::shows;
use netboot_loaders::base::http::{HttpClient, TransferLimits};
use netboot_loaders::base::progress::{Event, Progress, TaskKind};
use netboot_loaders::mirror::current::Links;
use netboot_loaders::mirror::streams::{CoreosArch, Stream};
use netboot_loaders::mirror::{MirrorRequest, Publisher, fedora_coreos};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

netboot_fixtures::tests! {
    a_set_comes_into_use_as_a_whole_and_nothing_is_done_twice,
    every_server_may_read_a_set_whatever_the_umask,
    the_last_sets_stay_and_the_one_in_use_always,
    a_killed_download_goes_on_where_it_was,
    an_interrupt_after_the_last_download_lets_nothing_else_into_use,
    two_mirrors_at_once_take_turns,
    without_links_the_set_in_use_is_a_folder,
    a_damaged_set_is_noticed_and_only_what_is_wrong_is_fetched_again,
    an_older_release_is_not_taken_for_a_newer_one,
    a_release_that_is_replaced_by_an_older_one_on_the_way_is_not_taken,
    another_stream_is_another_mirror_also_where_older_is_allowed,
    ; slow:
    whoever_reads_while_sets_change_gets_one_whole_set,
    kill_9_at_fifty_moments_leaves_a_whole_set_and_the_next_run_goes_on,
}

fn a_set_comes_into_use_as_a_whole_and_nothing_is_done_twice() {
    let mirror = MirrorProject::new();
    mirror.publisher.release("44.1.3.1");
    shows!(mirror, &["--quiet", "--exit-code-on-update", "255"], @r#"
    exit code 255, stdout:
    {"mirror":"fedora-coreos","stream":"stable","arch":"x86_64","version":"44.1.3.1","previous":null,"changed":true,"older":false,"removed":[]}
    "#);
    mirror.assert_served("44.1.3.1");
    let names = ["44.1.3.1", "current", "initramfs.x86_64.img", "kernel-x86_64", "rootfs.x86_64.img"];
    assert_eq!(mirror.names(), names);
    assert_eq!(mirror.own(), ["history", "lock"]);
    for (name, target) in [("current", "44.1.3.1"), ("kernel-x86_64", "current/kernel-x86_64")] {
        assert_eq!(mirror.path(name).read_link_utf8().unwrap(), target);
    }
    let record: Value = serde_json::from_slice(&std::fs::read(mirror.path("current/mirror.json")).unwrap()).unwrap();
    assert_eq!(record["of"], json!({ "mirror": "fedora-coreos", "stream": "stable", "arch": "x86_64" }));
    assert_eq!((&record["version"], &record["signed-by"]), (&"44.1.3.1".into(), &json!([])));
    let rootfs = &record["files"][2];
    assert_eq!((&rootfs["part"], &rootfs["size"]), (&"rootfs".into(), &150_000.into()));
    assert_eq!(rootfs["url"], mirror.publisher.server.url(&path("44.1.3.1", "rootfs.x86_64.img")));

    let asked = mirror.publisher.server.paths().len();
    let ran = mirror.run(&["--exit-code-on-update", "255"]).success();
    let outcome: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&outcome["previous"], &outcome["changed"]), (&"44.1.3.1".into(), &false.into()));
    assert_eq!(mirror.publisher.server.paths()[asked..], [METADATA]);

    mirror.publisher.release("44.1.3.2");
    let outcome = mirror.update(&[]);
    assert_eq!((&outcome["version"], &outcome["previous"]), (&"44.1.3.2".into(), &"44.1.3.1".into()));
    mirror.assert_served("44.1.3.2");
    assert!(mirror.path("44.1.3.1/rootfs.x86_64.img").is_file());
}

fn every_server_may_read_a_set_whatever_the_umask() {
    let mirror = MirrorProject::new();
    mirror.publisher.release("44.1.3.1");
    for links in ["symbolic", "copy"] {
        let command = mirror.command(&["--links", links]);
        let mut shell = Command::new("sh");
        shell.args(["-c", "umask 077; exec \"$@\"", "sh"]).arg(command.get_program()).args(command.get_args());
        for proxy in ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
            shell.env_remove(proxy);
        }
        CliOutput::from(shell.output().unwrap()).success();
        for (name, mode) in [
            ("", 0o755),
            ("current/", 0o755),
            ("44.1.3.1", 0o755),
            ("44.1.3.1/rootfs.x86_64.img", 0o644),
            ("44.1.3.1/version.ipxe", 0o644),
            ("current/mirror.json", 0o644),
        ] {
            assert_eq!(mirror.path(name).metadata().unwrap().permissions().mode() & 0o777, mode, "{name}");
        }
        // The folder itself may have existed before, with its own permissions.
        std::fs::set_permissions(mirror.dest(), std::fs::Permissions::from_mode(0o2770)).unwrap();
        let stderr = CliOutput::from(shell.output().unwrap()).warned().stderr;
        let warning = format!("warning: other users cannot read `{}`, so a server ", mirror.dest());
        assert!(stderr.contains(&warning), "{stderr}");
        assert_eq!(mirror.dest().metadata().unwrap().permissions().mode() & 0o7777, 0o2770);
        std::fs::set_permissions(mirror.dest(), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}

fn the_last_sets_stay_and_the_one_in_use_always() {
    let mirror = MirrorProject::new();
    let versions = |mirror: &MirrorProject| -> Vec<String> {
        mirror.names().into_iter().filter(|name| name.starts_with("44")).collect()
    };
    for number in 1..=4 {
        mirror.publisher.release(&format!("44.{number}"));
        mirror.update(&["--keep", "3"]);
    }
    assert_eq!(versions(&mirror), ["44.2", "44.3", "44.4"]);
    // Back to an older release: its set still exists, and is the latest in use from now on.
    mirror.publisher.release("44.2");
    mirror.publisher.withdraw("live");
    let outcome = mirror.update(&["--keep", "3", "--allow-older"]);
    assert_eq!((&outcome["version"], &outcome["removed"]), (&"44.2".into(), &json!([])));
    assert_eq!((&outcome["previous"], &outcome["older"]), (&"44.4".into(), &true.into()));
    mirror.assert_served("44.2");
    // Not 44.3, although its number is higher: 44.4 was the previous one.
    let outcome = mirror.update(&["--keep", "2"]);
    assert_eq!((&outcome["changed"], &outcome["removed"]), (&false.into(), &json!(["44.3"])));
    assert_eq!(versions(&mirror), ["44.2", "44.4"]);
    // A set that a killed run published but did not bring into use is removed in favour of sets that were in use.
    std::fs::write(mirror.path(".netboot-loaders/history"), "44.4\n44.2\n44.5\n").unwrap();
    let folder = mirror.path("44.5");
    std::fs::create_dir(&folder).unwrap();
    let record = std::fs::read_to_string(mirror.path("44.2/mirror.json")).unwrap().replace("44.2", "44.5");
    std::fs::write(folder.join("mirror.json"), record).unwrap();
    mirror.publisher.release("44.6");
    assert_eq!(mirror.update(&["--keep", "2"])["removed"], json!(["44.4", "44.5"]));
    assert_eq!(versions(&mirror), ["44.2", "44.6"]);
}

fn a_killed_download_goes_on_where_it_was() {
    let mirror = MirrorProject::of("44.1");
    mirror.publisher.release("44.2");
    let rootfs = path("44.2", "rootfs.x86_64.img");
    let whole = mirror.publisher.file(&rootfs);
    let stalled = rootfs.clone();
    mirror.publisher.hook(move |request, answer| {
        let stalls = request.path == stalled;
        if stalls {
            mirror::head(&whole, request, answer);
            answer.bytes(&whole[..100_000]);
            answer.stall();
        }
        stalls
    });
    let mut child = mirror.start(&[]);
    let part = mirror.path(".netboot-loaders/partial/44.2/rootfs.x86_64.img.part");
    let limits = Instant::now();
    while part.metadata().map_or(0, |metadata| metadata.len()) < 100_000 {
        assert!(limits.elapsed() < Duration::from_secs(30), "the download did not begin");
        std::thread::sleep(Duration::from_millis(5));
    }
    kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
    child.wait().unwrap();
    mirror.assert_served("44.1");

    mirror.publisher.unhook();
    let asked = mirror.publisher.server.requests().len();
    mirror.update(&[]);
    mirror.assert_served("44.2");
    let requests = &mirror.publisher.server.requests()[asked..];
    let images: Vec<_> = requests.iter().filter(|request| request.path.contains("-live-")).collect();
    assert_eq!(images.len(), 1, "kernel and initramfs are there already: {images:?}");
    assert_eq!((images[0].path.as_str(), images[0].resumes_at()), (rootfs.as_str(), Some(100_000)));
}

/// Sets the flag when dropped, even if a test fails, so that threads waiting for it end.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs twelve updates, with these kinds of links in turn, while another thread reads with `read`: it sees each
/// version and nothing else.
fn change_while_somebody_reads(ways: [&str; 3], read: impl Fn(&MirrorProject) -> Option<String> + Sync) {
    let mirror = MirrorProject::of("44.0");
    let (done, reads) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = BTreeSet::new();
            while !done.load(Ordering::Relaxed) {
                if let Some(version) = read(&mirror) {
                    seen.insert(version);
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            }
            seen
        });
        let end = Done(&done);
        for number in 1..=12 {
            mirror.publisher.release(&format!("44.{number}"));
            mirror.update(&["--keep", "50", "--links", ways[number % 3]]);
            let before = reads.load(Ordering::Relaxed);
            while reads.load(Ordering::Relaxed) < before + 2 && !reader.is_finished() {
                std::thread::yield_now();
            }
        }
        drop(end);
        let seen = reader.join().unwrap();
        assert_eq!(seen.len(), 13, "{seen:?}");
    });
}

fn whoever_reads_while_sets_change_gets_one_whole_set() {
    // With symbolic links, there is always a current set.
    change_while_somebody_reads(["symbolic"; 3], |mirror| Some(mirror.assert_whole()));
    change_while_somebody_reads(["copy", "symbolic", "hard"], MirrorProject::read);
    change_while_somebody_reads(["hard", "copy", "copy"], MirrorProject::read);
}

fn kill_9_at_fifty_moments_leaves_a_whole_set_and_the_next_run_goes_on() {
    let mirror = MirrorProject::of("44.0");
    mirror.publisher.slow(Duration::from_millis(2));
    mirror.publisher.release("44.1000");
    let started = Instant::now();
    mirror.update(&[]);
    let whole = started.elapsed();
    let (done, mut killed) = (AtomicBool::new(false), 0);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                mirror.read();
            }
        });
        let end = Done(&done);
        for number in 1..=50_u32 {
            // Two runs for each release, so that the second one meets the leftovers of the first.
            let version = format!("44.{}", number / 2);
            mirror.publisher.release(&version);
            let links = ["symbolic", "hard", "copy"][number as usize / 2 % 3];
            let mut child = mirror.start(&["--keep", "60", "--links", links, "--allow-older"]);
            std::thread::sleep(whole * (number * 29 % 50) / 46);
            // The process may have ended already; then nothing is killed.
            let _ = kill_process(Pid::from_child(&child), Signal::KILL);
            killed += u32::from(child.wait().unwrap().signal().is_some());
            mirror.assert_whole();
            if number % 10 == 0 {
                mirror.update(&["--keep", "60", "--links", links, "--allow-older"]);
                assert_eq!(mirror.assert_whole(), version);
            }
        }
        drop(end);
        reader.join().unwrap();
    });
    assert!(killed > 0, "each run had ended before it was killed");
    mirror.publisher.unhook();
    mirror.publisher.release("44.99");
    mirror.update(&["--links", "symbolic", "--check"]);
    mirror.assert_served("44.99");
    assert_eq!(mirror.own(), ["history", "lock"]);
    assert_eq!(mirror.names().iter().filter(|name| name.starts_with("44")).count(), 4);
}

type Moment = fn(&Event) -> bool;

/// Cancels at the first event that matches `moment`.
struct CancelledAt {
    moment: Moment,
    cancelled: AtomicBool,
}

impl Progress for CancelledAt {
    fn report(&self, event: &Event) {
        self.cancelled.fetch_or((self.moment)(event), Ordering::SeqCst);
    }

    fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }
}

fn an_interrupt_after_the_last_download_lets_nothing_else_into_use() {
    let moments: [(&str, Moment, bool); 2] = [
        ("before the set is published", |event| matches!(event, Event::Started { kind: TaskKind::Publish, .. }), false),
        (
            "before it comes into use",
            |event| matches!(event, Event::Finished { detail, .. } if detail == "published"),
            true,
        ),
    ];
    for links in [Links::Symbolic, Links::Hard, Links::Copies] {
        let mirror = MirrorProject::of("44.1");
        for (index, (text, moment, published)) in moments.into_iter().enumerate() {
            let version = format!("44.{}", index + 2);
            mirror.publisher.release(&version);
            let origin = fedora_coreos::FedoraCoreosSource {
                stream: Stream::Stable,
                arch: CoreosArch::X86_64,
                stream_url: None,
                base_url: Some(mirror.publisher.server.url("").into()),
                shim: false,
            };
            let request = MirrorRequest {
                upstream: Publisher::FedoraCoreos(origin),
                dest: mirror.dest(),
                keep: "2".parse().unwrap(),
                links,
                thorough: false,
                trust: None,
                allow_older: false,
            };
            let http = HttpClient::new(None, TransferLimits::default()).unwrap();
            let progress = CancelledAt { moment, cancelled: false.into() };
            let error = netboot_loaders::mirror::mirror(&request, &http, &progress).expect_err(text);
            assert_eq!(error.to_string(), "interrupted; the served files are unchanged", "{text}");
            assert_eq!(mirror.path(&version).exists(), published, "{text}");
            mirror.assert_served("44.1");
        }
        mirror.run(&["--links", links.as_str()]).success();
        assert_eq!(mirror.assert_whole(), "44.3");
        assert_eq!(mirror.own(), ["history", "lock"]);
    }
}

fn two_mirrors_at_once_take_turns() {
    let mirror = MirrorProject::of("44.1");
    mirror.publisher.release("44.2");
    mirror.publisher.slow(Duration::from_millis(50));
    let first = mirror.start(&[]);
    let limits = Instant::now();
    while !mirror.publisher.server.paths().iter().any(|path| path.contains("44.2-live-")) {
        assert!(limits.elapsed() < Duration::from_secs(30), "the first one did not begin");
        std::thread::sleep(Duration::from_millis(5));
    }
    let second = mirror.run(&[]).success();
    let lock = mirror.path(".netboot-loaders/lock");
    assert!(second.stderr.contains(&format!("wait for another process to release `{lock}`")), "{}", second.stderr);
    let outcome: Value = serde_json::from_str(&second.stdout).unwrap();
    assert_eq!((&outcome["version"], &outcome["changed"]), (&"44.2".into(), &false.into()));
    let first = CliOutput::from(first.wait_with_output().unwrap()).success();
    assert!(first.stdout.contains("\"changed\":true"), "{}", first.stdout);
    mirror.assert_served("44.2");
}

fn without_links_the_set_in_use_is_a_folder() {
    for (links, same) in [("hard", true), ("copy", false)] {
        let mirror = MirrorProject::new();
        mirror.publisher.release("44.1");
        mirror.update(&["--links", links]);
        mirror.publisher.release("44.2");
        mirror.update(&["--links", links]);
        assert_eq!(mirror.assert_whole(), "44.2");
        assert_eq!(mirror.names(), ["44.1", "44.2", "current"]);
        for (upstream, name, size) in IMAGES {
            let (one, other) = (mirror.path("current").join(name), mirror.path("44.2").join(name));
            assert_eq!(std::fs::read(&one).unwrap(), content("44.2", upstream, size));
            assert_eq!(one.metadata().unwrap().ino() == other.metadata().unwrap().ino(), same, "{links}");
        }
        // The files in use are checked, too.
        std::fs::write(mirror.path("current/kernel-x86_64"), "short").unwrap();
        assert_eq!(mirror.update(&["--links", links])["changed"], true);
        assert_eq!(std::fs::read(mirror.path("current/kernel-x86_64")).unwrap().len(), 20_000);
        assert_eq!(mirror.update(&["--links", links])["changed"], false);
        // Once links are available, the folder becomes one.
        assert_eq!(mirror.update(&[])["changed"], true);
        mirror.assert_served("44.2");
        assert!(mirror.path("current").is_symlink());
    }
}

fn a_damaged_set_is_noticed_and_only_what_is_wrong_is_fetched_again() {
    let mirror = MirrorProject::of("44.1");
    let kernel = mirror.path("44.1/kernel-x86_64");
    let asked = mirror.publisher.server.paths().len();
    std::fs::write(&kernel, "short").unwrap();
    let ran = mirror.run(&[]).warned();
    assert!(ran.stdout.contains("\"previous\":\"44.1\",\"changed\":true"), "{}", ran.stdout);
    assert!(
        ran.stderr.contains(&format!(
            "warning: `{kernel}` has 5 bytes, wanted 20000; the set is downloaded again\n\
             hint: check the disk if this happens again\n"
        )),
        "{}",
        ran.stderr
    );
    mirror.assert_served("44.1");
    let images = |asked: usize| {
        let paths = mirror.publisher.server.paths()[asked..].to_vec();
        paths.into_iter().filter(|path| path.contains("-live-")).collect::<Vec<_>>()
    };
    assert_eq!(images(asked), [path("44.1", "kernel.x86_64")]);

    // A change that keeps the size is noticed only by `--check`.
    let mut spoiled = content("44.1", "kernel.x86_64", 20_000);
    spoiled[7] ^= 1;
    std::fs::write(&kernel, &spoiled).unwrap();
    assert_eq!(mirror.update(&[])["changed"], false);
    assert_eq!(mirror.update(&["--check"])["changed"], true);
    mirror.assert_served("44.1");
    assert_eq!(mirror.update(&["--check"])["changed"], false);

    // The same version with other content is another set.
    let rootfs = path("44.1", "rootfs.x86_64.img");
    mirror.publisher.offer(&rootfs, "other bytes");
    let mut metadata = mirror::metadata("44.1");
    let place = "/architectures/x86_64/artifacts/metal/formats/pxe/rootfs/sha256";
    *metadata.pointer_mut(place).unwrap() = json!(netboot_loaders::digest::Sha256Digest::of(b"other bytes"));
    mirror.publisher.offer(METADATA, metadata.to_string());
    let ran = mirror.run(&[]).warned();
    assert!(ran.stdout.contains("\"changed\":true,\"older\":false"), "{}", ran.stdout);
    let warning = format!(
        "warning: `rootfs.x86_64.img` of 44.1 is another image than before, under the same version: SHA-256 {}\n\
         hint: find out why: a release is never changed\n\
         hint: or check the publisher's signatures with `--verify-signatures`\n",
        netboot_loaders::digest::Sha256Digest::of(b"other bytes")
    );
    assert!(ran.stderr.contains(&warning), "{}", ran.stderr);
    assert_eq!(std::fs::read(mirror.path("rootfs.x86_64.img")).unwrap(), b"other bytes");
}

fn an_older_release_is_not_taken_for_a_newer_one() {
    for (in_use, older) in
        [("45.49.1", "44.1.2"), ("44.20260707.3.10", "44.20260707.3.9"), ("44.20260101.3.1", "44.20251231.3.2")]
    {
        let mirror = MirrorProject::of(in_use);
        let before = netboot_loaders::base::fs::walk(&mirror.dest()).unwrap();
        mirror.publisher.release(older);
        let asked = mirror.publisher.server.paths().len();
        let ran = mirror.run(&["--exit-code-on-update", "255"]);
        assert_eq!(ran.stdout, "");
        assert_eq!(
            ran.error(6),
            format!(
                "the publisher of `fedora-coreos stable x86_64` calls {older} current, which is older than {in_use}, \
                 the version in use, which stays in use\n\
                 hint: ask again later, since a server may be behind or replay what was current once\nhint: or go back to the older version with `--allow-older`\nhelp: cargo xtask help how-to/mirror\n"
            )
        );
        mirror.assert_served(in_use);
        assert_eq!(mirror.publisher.server.paths()[asked..], [METADATA], "no image is fetched");
        assert_eq!(netboot_loaders::base::fs::walk(&mirror.dest()).unwrap(), before);
        let ran = mirror.run(&["--message-format", "json"]);
        let event: Value = serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap();
        assert_eq!((&event["event"], &event["exit-code"]), (&"error".into(), &6.into()));
        // With `--allow-older`, it goes back. That version is then in use, and newer ones are accepted again.
        let outcome = mirror.update(&["--allow-older"]);
        assert_eq!((&outcome["version"], &outcome["previous"]), (&older.into(), &in_use.into()));
        assert_eq!((&outcome["changed"], &outcome["older"]), (&true.into(), &true.into()));
        mirror.assert_served(older);
        let outcome = mirror.update(&[]);
        assert_eq!((&outcome["changed"], &outcome["older"]), (&false.into(), &false.into()));
        mirror.publisher.release(in_use);
        assert_eq!(mirror.update(&["--links", "copy"])["older"], false);
        assert_eq!(mirror.assert_whole(), in_use);
        // Without links, the folder in use records which version it is.
        mirror.publisher.release(older);
        assert!(mirror.run(&["--links", "copy"]).error(6).contains(&format!(" calls {older} current, ")));
    }
}

fn a_release_that_is_replaced_by_an_older_one_on_the_way_is_not_taken() {
    let mirror = MirrorProject::of("44.2");
    mirror.publisher.release("44.1");
    let old = mirror.publisher.file(METADATA);
    mirror.publisher.release("44.3");
    mirror.publisher.withdraw("44.3-live");
    // The first reply is newer and cannot be downloaded; the second one is older.
    let asked = AtomicUsize::new(0);
    mirror.publisher.hook(move |request, answer| {
        let replayed = request.path == METADATA && asked.fetch_add(1, Ordering::Relaxed) > 0;
        if replayed {
            answer.whole("200 OK", &[], &old);
        }
        replayed
    });
    shows!(mirror, &["--quiet"], @"
    exit code 6, stderr:
    error: the publisher of `fedora-coreos stable x86_64` calls 44.1 current, which is older than 44.2, the version in use, which stays in use
    hint: ask again later, since a server may be behind or replay what was current once
    hint: or go back to the older version with `--allow-older`
    help: cargo xtask help how-to/mirror
    ");
    mirror.assert_served("44.2");
}

fn another_stream_is_another_mirror_also_where_older_is_allowed() {
    let mirror = MirrorProject::of("44.2");
    shows!(mirror, &["--quiet", "--stream", "next", "--allow-older"], @"
    exit code 1, stderr:
    error: `PROJECT/fedora-coreos` is the mirror of `fedora-coreos stable x86_64`, wanted `fedora-coreos next x86_64`
    hint: choose another folder with `--dest`
    ");
    mirror.assert_served("44.2");
}
