//! `mirror flatcar`, the units that run a mirror daily, and the JSON output of a mirror.

use netboot_fixtures::harness::xtask;
use std::process::Command;

use netboot_fixtures::mirror::{IMAGES, METADATA, MirrorProject, content, metadata, path};
use netboot_fixtures::project::CliOutput;
use netboot_fixtures::says;
use netboot_loaders::config::boot_entry::{BootEntry, Distribution, System};
use netboot_loaders::digest::Sha512Digest;
use netboot_loaders::loader::target::Platform;
use serde_json::Value;

netboot_fixtures::tests! {
    what_a_boot_entry_asks_for_is_in_the_mirror,
    flatcar_is_mirrored_by_its_versions_and_sha_512,
    the_result_is_said_to_programs_in_each_form,
    what_runs_a_mirror_daily_is_printed_and_does_that,
    what_a_schedule_cannot_hold_is_refused,
}

const KERNEL: (&str, usize) = ("flatcar_production_pxe.vmlinuz", 30_000);
const INITRAMFS: (&str, usize) = ("flatcar_production_pxe_image.cpio.gz", 90_000);

/// Publishes the images of `version`, each with its list of digests, as the current release.
fn release(mirror: &MirrorProject, version: &str) {
    for (name, size) in [KERNEL, INITRAMFS] {
        let image = content(version, name, size);
        let (sha512, _) = Sha512Digest::of_reader(&mut &image[..]).unwrap();
        let digests = format!(
            "# MD5 HASH\n{}  {name}\n# SHA1 HASH\n{}  {name}\n# SHA512 HASH\n{sha512}  {name}\n",
            "0".repeat(32),
            "0".repeat(40)
        );
        mirror.publisher.offer(&format!("/amd64-usr/{version}/{name}"), image);
        mirror.publisher.offer(&format!("/amd64-usr/{version}/{name}.DIGESTS"), digests);
    }
    let text = format!("FLATCAR_BUILD=4593\nFLATCAR_VERSION={version}\nFLATCAR_BUILD_ID=\"2026-08-11-2350\"\n");
    mirror.publisher.offer("/amd64-usr/current/version.txt", text);
}

fn flatcar(mirror: &MirrorProject, more: &[&str]) -> CliOutput {
    CliOutput::from(mirror.product("flatcar", more).output().unwrap())
}

/// Checks that the files of a boot entry exist in `mirror`, which has a set of `version`.
#[track_caller]
fn boots(mirror: &MirrorProject, distribution: Distribution, platform: Platform, version: &str) {
    const AT: &str = "http://192.0.2.2/mirror";
    let arch = platform.arch();
    let (at, arguments) = (AT.parse().unwrap(), String::new());
    let system = System::Live { distribution, arch, mirror: at, ignition: None, arguments, shim: None };
    let entry = BootEntry { name: "a".into(), systems: [(arch, system)].into(), lacking: [].into() };
    let (product, script) = entry.version_script(platform).unwrap();
    for set in [version, "current"] {
        let files = entry.files(platform, set).unwrap();
        let named = files.arguments.split(' ').filter_map(|word| Some(word.split_once('=')?.1.to_owned()));
        for url in files.initrds.into_iter().chain([files.kernel, script.clone()]).chain(named) {
            let path = mirror.path(url.strip_prefix(AT).unwrap().trim_start_matches('/'));
            assert!(path.is_file(), "{url} is not in the mirror");
        }
    }
    let script = std::fs::read_to_string(mirror.path("current/version.ipxe")).unwrap();
    assert_eq!(script, format!("#!ipxe\nset {}-version {version}\n", product.as_str()));
}

fn what_a_boot_entry_asks_for_is_in_the_mirror() {
    let mirror = MirrorProject::new();
    release(&mirror, "4593.2.5");
    flatcar(&mirror, &[]).success();
    boots(&mirror, Distribution::Flatcar, Platform::EfiX64, "4593.2.5");
    let mirror = MirrorProject::of("44.20260707.3.1");
    mirror.run(&[]).success();
    boots(&mirror, Distribution::FedoraCoreos, Platform::EfiX64, "44.20260707.3.1");
    let mirror = MirrorProject::new();
    let of_arm = |text: String| text.replace("x86_64", "aarch64");
    mirror.publisher.offer(METADATA, of_arm(metadata("44.1.0").to_string()));
    for (name, _, size) in IMAGES {
        mirror.publisher.offer(&of_arm(path("44.1.0", name)), content("44.1.0", name, size));
    }
    mirror.run(&["--arch", "aarch64"]).success();
    boots(&mirror, Distribution::FedoraCoreos, Platform::EfiArm64, "44.1.0");
}

fn flatcar_is_mirrored_by_its_versions_and_sha_512() {
    let mirror = MirrorProject::new();
    for version in ["4593.2.4", "4593.2.5"] {
        release(&mirror, version);
        let outcome: Value = serde_json::from_str(&flatcar(&mirror, &[]).success().stdout).unwrap();
        assert_eq!((&outcome["mirror"], &outcome["version"]), (&"flatcar".into(), &version.into()));
        assert_eq!(outcome["changed"], true);
        for (name, size) in [KERNEL, INITRAMFS] {
            assert_eq!(std::fs::read(mirror.path(name)).unwrap(), content(version, name, size));
        }
        let script = std::fs::read_to_string(mirror.path("current/version.ipxe")).unwrap();
        assert_eq!(script, format!("#!ipxe\nset flatcar-version {version}\n"));
    }
    assert!(flatcar(&mirror, &["--check"]).success().stdout.contains("\"changed\":false"));
    // Nothing is downloaded from a folder whose content changes.
    let paths = mirror.publisher.server.paths();
    assert!(paths.iter().all(|path| !path.contains("/current/") || path.ends_with("/version.txt")), "{paths:?}");

    release(&mirror, "4593.2.6");
    mirror.publisher.offer("/amd64-usr/4593.2.6/flatcar_production_pxe.vmlinuz", "another");
    let error = flatcar(&mirror, &[]).error(6);
    assert!(
        error.contains("flatcar_production_pxe.vmlinuz` differs from what its publisher announces: found SHA-512 "),
        "{error}"
    );
    mirror.publisher.offer("/amd64-usr/current/version.txt", "<html></html>");
    says!(mirror, flatcar(&mirror, &["--quiet"]), @"
    exit code 5, stderr:
    error: `http://127.0.0.1:PORT/amd64-usr/current/version.txt` is an HTML or XML page, wanted the version of a channel of Flatcar
    hint: open that address in a browser: a proxy or a login page may answer in its place
    ");
    assert_eq!(
        std::fs::read_to_string(mirror.path("current/version.ipxe")).unwrap(),
        "#!ipxe\nset flatcar-version 4593.2.5\n"
    );
}

fn the_result_is_said_to_programs_in_each_form() {
    let mirror = MirrorProject::new();
    mirror.publisher.release("44.1");
    let ran = mirror.run(&["--quiet"]).success();
    assert_eq!(ran.stderr, "");
    assert!(ran.stdout.starts_with("{\"mirror\":\"fedora-coreos\",") && ran.stdout.lines().count() == 1);
    mirror.publisher.release("44.2");
    let ran = mirror.run(&["--message-format", "json"]).success();
    assert_eq!(ran.stderr, "");
    let events: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(events.iter().any(|event| event["event"] == "started" && event["kind"] == "download"));
    let advanced = events.iter().filter(|event| event["event"] == "advanced" && event["done"] == 150_000);
    assert_eq!(advanced.count(), 1, "progress says how much of the rootfs has come");
    let last = events.last().unwrap();
    assert_eq!((&last["event"], &last["version"], &last["changed"]), (&"result".into(), &"44.2".into(), &true.into()));
    mirror.publisher.withdraw(METADATA);
    let ran = mirror.run(&["--message-format", "json", "--exit-code-on-update", "255"]);
    let last: Value = serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap();
    assert_eq!((ran.code, &last["event"], &last["exit-code"]), (5, &"error".into(), &5.into()));
}

fn what_runs_a_mirror_daily_is_printed_and_does_that() {
    let mirror = MirrorProject::new();
    mirror.publisher.release("44.1");
    assert!(!mirror.dest().exists());
    let run = |command: &str| {
        let mut shell = Command::new("sh");
        for proxy in ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
            shell.env_remove(proxy);
        }
        CliOutput::from(shell.args(["-c", command]).current_dir("/").output().unwrap())
    };
    let (_, line) = mirror.scheduled("cron", &["--keep", "3"]);
    assert!(!mirror.dest().exists(), "nothing is done");
    let command = line.strip_prefix("17 4 * * * ").unwrap();
    let ran = run(command).success();
    assert!(ran.stdout.contains("\"changed\":true"), "{}", ran.stdout);
    // If nothing has changed, there is no output for cron to mail.
    let ran = run(command);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));

    mirror.publisher.release("44.2");
    let (_, command) = mirror.scheduled("synology", &[]);
    assert!(command.ends_with(" --exit-code-on-update 255"), "{command}");
    assert_eq!(run(&command).code, 255);
    assert_eq!(run(&command).code, 0);
    mirror.assert_served("44.2");
}

fn what_a_schedule_cannot_hold_is_refused() {
    let run = |more: &[&str]| {
        let mut command = Command::new(xtask());
        CliOutput::from(command.args(["mirror", "flatcar"]).args(more).output().unwrap())
    };
    for scheduler in ["systemd", "cron", "synology"] {
        assert_eq!(
            run(&["--print-schedule", scheduler, "--dest", "/srv/a\u{200c}b"]).error(3),
            format!(
                "found `/srv/a\\u{{200c}}b`, wanted a value without characters that are invisible or change the direction \
                 of text, for {scheduler}\nhint: choose another path or address\n"
            )
        );
        for [option, value] in [
            ["--dest", "/srv/a\nExecStartPost=/bin/sh"],
            ["--dest", "/srv/\u{202e}a"],
            ["--base-url", "http://a/\n* * * * * sh"],
        ] {
            let error = run(&["--print-schedule", scheduler, "--dest", "/srv/a", option, value]).error(2);
            assert!(error.starts_with("the argument `") && error.lines().count() == 2, "{error}");
        }
    }
}
