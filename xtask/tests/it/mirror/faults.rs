//! Messages of `mirror` about bad input, word for word. The set in use continues to be served.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use netboot_fixtures::mirror::{self, METADATA, MirrorProject, content, metadata, path};
use netboot_fixtures::project::CliOutput;
use netboot_fixtures::{says, shows};
use netboot_loaders::digest::Sha256Digest;

netboot_fixtures::tests! {
    metadata_that_is_none,
    metadata_is_read_up_to_two_mebibytes,
    metadata_that_lacks_something_or_has_something_wrong,
    one_image_for_two_parts,
    an_address_without_end_is_neither_shown_nor_tried_again,
    images_that_are_not_what_the_metadata_says,
    a_set_that_is_withdrawn_while_it_comes_gives_way_to_the_next_one,
    a_set_that_came_whole_is_used_although_there_is_a_newer_one_by_now,
    nothing_of_somebody_else_is_replaced,
    each_mirror_has_a_folder_of_its_own,
    what_the_command_line_cannot_mean,
    what_killed_runs_have_left_is_repaired_or_removed,
}

const TRY: &str = "hint: try again later\nhint: or name another server with `--base-url`\n";

/// Runs a mirror whose set in use is 44.1, and checks that it fails and changes nothing.
#[track_caller]
fn fails(mirror: &MirrorProject, more: &[&str]) -> CliOutput {
    let before = mirror.names();
    let ran = mirror.run(&[&["--quiet"], more].concat());
    assert_eq!(ran.stdout, "");
    mirror.assert_served("44.1");
    assert_eq!(mirror.names(), before);
    ran
}

fn metadata_that_is_none() {
    let mirror = MirrorProject::of("44.1");
    let mut all = String::new();
    let mut run = || all += &fails(&mirror, &[]).to_string();
    for content in [
        &b"<!DOCTYPE html><html>Please log in</html>"[..],
        b"\n ",
        b"{ \"stream\": ",
        b"{ \"stream\": 5 }",
        b"\xff\xfe",
    ] {
        mirror.publisher.offer(METADATA, content);
        run();
    }
    mirror.publisher.withdraw("streams");
    run();
    says!(mirror, all, @"
    exit code 5, stderr:
    error: `http://127.0.0.1:PORT/streams/stable.json` is an HTML or XML page, wanted the metadata of a stream of Fedora CoreOS
    hint: open that address in a browser: a proxy or a login page may answer in its place
    exit code 5, stderr:
    error: `http://127.0.0.1:PORT/streams/stable.json` is empty, wanted the metadata of a stream of Fedora CoreOS
    hint: open that address in a browser: a proxy or a login page may answer in its place
    exit code 5, stderr:
    error: `http://127.0.0.1:PORT/streams/stable.json` is no such metadata (EOF while parsing a value at line 1 column 12), wanted the metadata of a stream of Fedora CoreOS
    hint: open that address in a browser: a proxy or a login page may answer in its place
    exit code 5, stderr:
    error: `http://127.0.0.1:PORT/streams/stable.json` is no such metadata (invalid type: integer `5`, expected a string at line 1 column 13), wanted the metadata of a stream of Fedora CoreOS
    hint: open that address in a browser: a proxy or a login page may answer in its place
    exit code 5, stderr:
    error: `http://127.0.0.1:PORT/streams/stable.json` is no text, wanted the metadata of a stream of Fedora CoreOS
    hint: open that address in a browser: a proxy or a login page may answer in its place
    exit code 5, stderr:
    error: cannot download `http://127.0.0.1:PORT/streams/stable.json`: found status 404 Not Found, wanted 200
    hint: check the address
    hint: or name another server with `--base-url`
    ");
}

fn metadata_is_read_up_to_two_mebibytes() {
    let mirror = MirrorProject::of("44.1");
    let padded = |size: usize| {
        let text = metadata("44.1").to_string();
        format!("{text}{}", " ".repeat(size - text.len()))
    };
    mirror.publisher.offer(METADATA, padded((2 << 20) + 1));
    says!(mirror, fails(&mirror, &[]), @r"
    exit code 5, stderr:
    error: cannot download `http://127.0.0.1:PORT/streams/stable.json`: found more than 2097152 bytes, wanted at most that
    hint: check the address: this cannot be the file that is wanted
    ");
    mirror.publisher.offer(METADATA, padded(2 << 20));
    mirror.update(&[]);
    mirror.assert_served("44.1");
}

fn metadata_that_lacks_something_or_has_something_wrong() {
    let mirror = MirrorProject::of("44.1");
    let pxe = "architectures.x86_64.artifacts.metal.formats.pxe";
    let mut lacking = metadata("44.2");
    lacking.pointer_mut(&format!("/{}", pxe.replace('.', "/"))).unwrap().as_object_mut().unwrap().remove("rootfs");
    mirror.publisher.offer(METADATA, lacking.to_string());
    says!(mirror, fails(&mirror, &[]), @"
    exit code 5, stderr:
    error: `http://127.0.0.1:PORT/streams/stable.json` does not have `architectures.x86_64.artifacts.metal.formats.pxe.rootfs`
    hint: try again later
    hint: or name another server with `--base-url`
    ");

    let mut mixed = metadata("44.2");
    let kernel = format!("/{}/kernel", pxe.replace('.', "/"));
    *mixed.pointer_mut(&kernel).unwrap() = metadata("44.1").pointer(&kernel).unwrap().clone();
    mirror.publisher.offer(METADATA, mixed.to_string());
    says!(mirror, fails(&mirror, &[]), @"
    exit code 5, stderr:
    error: `http://127.0.0.1:PORT/streams/stable.json`: `architectures.x86_64.artifacts.metal.formats.pxe.kernel.location`: found `fedora-coreos-44.1-live-kernel.x86_64`, wanted a file of the release 44.2
    hint: try again later
    hint: or name another server with `--base-url`
    ");

    mirror.publisher.release("44.1");
    let other = MirrorProject::new();
    other.publisher.offer("/streams/testing.json", mirror.publisher.file(METADATA));
    shows!(other, &["--quiet", "--stream", "testing"], @"
    exit code 5, stderr:
    error: `http://127.0.0.1:PORT/streams/testing.json`: `stream`: found `stable`, wanted `testing`
    hint: try again later
    hint: or name another server with `--base-url`
    ");
    shows!(other, &["--quiet", "--arch", "aarch64", "--stream-url", &mirror.publisher.server.url(METADATA)], @r"
    exit code 5, stderr:
    error: `http://127.0.0.1:PORT/streams/stable.json` has nothing for `aarch64`, only for `x86_64`
    hint: choose one of these with `--arch`
    ");
}

fn one_image_for_two_parts() {
    let mirror = MirrorProject::of("44.1");
    let mut metadata = metadata("44.2");
    let pxe = "/architectures/x86_64/artifacts/metal/formats/pxe";
    let digest = metadata.pointer(&format!("{pxe}/initramfs/sha256")).unwrap().clone();
    *metadata.pointer_mut(&format!("{pxe}/rootfs/sha256")).unwrap() = digest.clone();
    mirror.publisher.release("44.2");
    mirror.publisher.offer(METADATA, metadata.to_string());
    let url = |name| mirror.publisher.server.url(&path("44.2", name));
    let message = format!(
        "`{}` and `{}`: found the same digest for both, SHA-256 {}, wanted two images\n{TRY}",
        url("initramfs.x86_64.img"),
        url("rootfs.x86_64.img"),
        digest.as_str().unwrap()
    );
    assert_eq!(fails(&mirror, &[]).error(5), message);
}

fn an_address_without_end_is_neither_shown_nor_tried_again() {
    let mirror = MirrorProject::of("44.1");
    let url = mirror.publisher.server.url(METADATA);
    let mut metadata = metadata("44.2");
    let key = "architectures.x86_64.artifacts.metal.formats.pxe.kernel.location";
    let long = mirror.publisher.server.url(&"a".repeat(1_900_000));
    *metadata.pointer_mut(&format!("/{}", key.replace('.', "/"))).unwrap() = long.as_str().into();
    mirror.publisher.offer(METADATA, metadata.to_string());
    let found = long.len();
    let message = format!("`{url}`: `{key}`: found an address of {found} bytes, wanted at most 2048\n{TRY}");
    assert_eq!(fails(&mirror, &[]).error(5), message);

    let asked = mirror.publisher.server.paths().len();
    let place = format!("Location: http://{}/x", "a".repeat(60_000));
    mirror.publisher.hook(move |_, answer| {
        answer.head("302 Found", &[&place, "Content-Length: 0"]);
        true
    });
    says!(mirror, fails(&mirror, &[]), @"
    exit code 5, stderr:
    error: cannot download `http://127.0.0.1:PORT/streams/stable.json`: found the name of a host with 60000 bytes, wanted at most 254
    hint: check the address
    hint: or name another server with `--base-url`
    ");
    assert_eq!(mirror.publisher.server.paths().len(), asked + 1);
}

fn images_that_are_not_what_the_metadata_says() {
    let mirror = MirrorProject::of("44.1");
    mirror.publisher.release("44.2");
    let rootfs = path("44.2", "rootfs.x86_64.img");
    let wanted = Sha256Digest::of(&content("44.2", "rootfs.x86_64.img", 150_000));
    for (bytes, page) in [(&b"other bytes"[..], ""), (b"\n<html>404</html>", " (an HTML or XML page)")] {
        mirror.publisher.offer(&rootfs, bytes);
        let message = format!(
            "`{}` differs from what its publisher announces: found SHA-256 {}{page}, wanted SHA-256 {wanted}\n\
             hint: run the command again\nhint: or name another server with `--base-url`\n",
            mirror.publisher.server.url(&rootfs),
            Sha256Digest::of(bytes)
        );
        assert_eq!(fails(&mirror, &[]).error(6), message);
    }
    mirror.publisher.withdraw(&rootfs);
    let message = format!(
        "cannot download `{}`: found status 404 Not Found, wanted 200\n\
         hint: check the address\nhint: or name another server with `--base-url`\n",
        mirror.publisher.server.url(&rootfs)
    );
    assert_eq!(fails(&mirror, &[]).error(5), message);
    mirror.publisher.release("44.2");
    mirror.update(&[]);
    mirror.assert_served("44.2");
}

/// The publisher releases 44.3 as soon as the first image of 44.2 is requested. `withdraw` decides whether 44.2 is
/// removed then.
fn moves_on(mirror: &MirrorProject, withdraw: bool) {
    mirror.publisher.release("44.2");
    let newer = metadata("44.3").to_string();
    for (name, _, size) in mirror::IMAGES {
        mirror.publisher.offer(&path("44.3", name), content("44.3", name, size));
    }
    let moved = Arc::<AtomicBool>::default();
    mirror.publisher.hook(move |request, answer| {
        if request.path.contains("44.2-live-kernel") {
            moved.store(true, Ordering::SeqCst);
        }
        let moved = moved.load(Ordering::SeqCst);
        if moved && request.path == METADATA {
            answer.whole("200 OK", &[], newer.as_bytes());
            return true;
        }
        if moved && withdraw && request.path.contains("44.2-live-rootfs") {
            answer.whole("404 Not Found", &[], b"");
            return true;
        }
        false
    });
}

fn a_set_that_is_withdrawn_while_it_comes_gives_way_to_the_next_one() {
    let mirror = MirrorProject::of("44.1");
    moves_on(&mirror, true);
    let ran = mirror.run(&[]).warned();
    mirror.assert_served("44.3");
    assert!(
        ran.stderr.contains("warning: 44.2 was replaced by 44.3 while it was being downloaded\n"),
        "{}",
        ran.stderr
    );
    assert!(!mirror.path("44.2").exists() && mirror.own() == ["history", "lock"]);
}

fn a_set_that_came_whole_is_used_although_there_is_a_newer_one_by_now() {
    let mirror = MirrorProject::of("44.1");
    moves_on(&mirror, false);
    let ran = mirror.run(&[]).warned();
    mirror.assert_served("44.2");
    assert!(
        ran.stderr.contains(
            "warning: 44.3 is current by now, and 44.2 is in use\n\
             hint: run the command again\nhint: or let the next run do it\n"
        ),
        "{}",
        ran.stderr
    );
    mirror.update(&[]);
    mirror.assert_served("44.3");
}

fn nothing_of_somebody_else_is_replaced() {
    let mirror = MirrorProject::new();
    mirror.publisher.release("44.1");
    for name in [".netboot-loaders", "current", "kernel-x86_64", "44.1"] {
        for folder in [true, false] {
            let path = mirror.path(name);
            std::fs::create_dir_all(mirror.dest()).unwrap();
            if folder {
                std::fs::create_dir(&path).unwrap();
                std::fs::write(path.join("precious"), "photographs").unwrap();
            } else {
                std::os::unix::fs::symlink("elsewhere", &path).unwrap();
            }
            assert_eq!(
                mirror.run(&[]).error(1),
                format!(
                    "`{path}` is in the way: this tool did not put it there\n\
                     hint: move it away\nhint: or choose another folder with `--dest`\n"
                )
            );
            if folder {
                assert_eq!(std::fs::read(path.join("precious")).unwrap(), b"photographs");
                std::fs::remove_dir_all(&path).unwrap();
            } else {
                assert_eq!(path.read_link_utf8().unwrap(), "elsewhere");
                std::fs::remove_file(&path).unwrap();
            }
        }
    }
    mirror.update(&[]);
    // Other files, such as an Ignition configuration, may be beside the sets.
    std::fs::write(mirror.path("config.ign"), "{}").unwrap();
    mirror.publisher.release("44.2");
    mirror.update(&[]);
    assert_eq!(std::fs::read(mirror.path("config.ign")).unwrap(), b"{}");
}

fn each_mirror_has_a_folder_of_its_own() {
    let mirror = MirrorProject::of("44.1");
    says!(mirror, fails(&mirror, &["--stream", "testing"]), @"
    exit code 1, stderr:
    error: `PROJECT/fedora-coreos` is the mirror of `fedora-coreos stable x86_64`, wanted `fedora-coreos testing x86_64`
    hint: choose another folder with `--dest`
    ");
}

fn what_the_command_line_cannot_mean() {
    let mirror = MirrorProject::of("44.1");
    shows!(mirror, &["--keep", "1"], @r"
    exit code 2, stderr:
    error: invalid value '1' for '--keep <N>': wanted at least 2: a machine that boots while the set changes goes on with the one before

    For more information, try '--help'.
    ");
    shows!(mirror, &["--stream", "rawhide"], @r"
    exit code 2, stderr:
    error: invalid value 'rawhide' for '--stream <NAME>': wanted one of stable, testing, next

    For more information, try '--help'.
    ");
    shows!(mirror, &["--exit-code-on-update", "5"], @r"
    exit code 2, stderr:
    error: invalid value '5' for '--exit-code-on-update <CODE>': 5 says that a command failed; 255 does not

    For more information, try '--help'.
    ");
    shows!(mirror, &["--links", "soft"], @r"
    exit code 2, stderr:
    error: invalid value 'soft' for '--links <HOW>': wanted one of auto, symbolic, hard, copy

    For more information, try '--help'.
    ");
    shows!(mirror, &["--keys", "file"], @r"
    exit code 2, stderr:
    error: the following required arguments were not provided:
      --verify-signatures

    Usage: cargo xtask mirror fedora-coreos --dest <DIR> --verify-signatures --base-url <URL> --keys <FILE>

    For more information, try '--help'.
    ");
}

fn what_killed_runs_have_left_is_repaired_or_removed() {
    let mirror = MirrorProject::of("44.1");
    // The state between the two renames on a file system that cannot exchange folders.
    for (from, to) in [("current", ".netboot-loaders/previous"), ("44.1", ".netboot-loaders/replaced/44.1")] {
        std::fs::create_dir_all(mirror.path(to).parent().unwrap()).unwrap();
        std::fs::rename(mirror.path(from), mirror.path(to)).unwrap();
        assert_eq!(mirror.update(&[])["changed"], false, "{from}");
        mirror.assert_served("44.1");
    }
    for remains in
        ["next/x", "trash/44.0/x", "metadata/text", "keys/keyring", "replaced/44.1/x", "previous/x", ".partial-x"]
    {
        let path = mirror.path(".netboot-loaders").join(remains);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }
    // Nothing is written through a symbolic link placed there by another user.
    let elsewhere = mirror.root.join("elsewhere");
    std::fs::create_dir_all(&elsewhere).unwrap();
    std::fs::create_dir_all(mirror.path(".netboot-loaders/partial")).unwrap();
    std::os::unix::fs::symlink(&elsewhere, mirror.path(".netboot-loaders/partial/44.2")).unwrap();
    mirror.publisher.release("44.2");
    mirror.update(&[]);
    mirror.assert_served("44.2");
    assert_eq!(mirror.own(), ["history", "lock"]);
    assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0);
}
