//! Passwords and tokens in addresses are used for the request, but neither stored nor shown.

use camino::Utf8Path;

use netboot_fixtures::mirror::{METADATA, MirrorProject};
use netboot_fixtures::project::{CliOutput, Project};
use netboot_fixtures::server::TestServer;

netboot_fixtures::tests! {
    a_mirror_keeps_the_password_of_its_server,
    a_token_in_a_query_is_used_and_not_shown,
    a_schedule_with_a_password_is_warned_of,
    no_spelling_of_an_address_on_the_command_line_shows_its_password,
    the_password_of_a_git_server_or_an_archive_stays_out_of_cache_and_messages,
    a_failed_program_does_not_show_the_environment,
}

/// Checks that neither the files below `folder` nor the output of the run contain `SECRET`.
#[track_caller]
fn assert_kept(ran: &CliOutput, folder: &Utf8Path) {
    for text in [&ran.stdout, &ran.stderr] {
        assert!(!text.contains("SECRET"), "{text}");
    }
    for (path, _) in netboot_loaders::base::fs::walk(folder).unwrap_or_default() {
        // A symbolic link to a folder has no content.
        let content = std::fs::read(folder.join(&path)).unwrap_or_default();
        assert!(!content.windows(6).any(|word| word == b"SECRET"), "{path}");
        assert!(!path.as_str().contains("SECRET"), "{path}");
    }
}

/// Runs `mirror` from `base` instead of its publisher.
fn mirror_from(mirror: &MirrorProject, base: &str, more: &[&str]) -> CliOutput {
    let (plain, publisher) = (mirror.command(more), mirror.publisher.server.url(""));
    let mut command = std::process::Command::new(plain.get_program());
    command.args(plain.get_args().map(|word| if word == publisher.as_str() { base.as_ref() } else { word }));
    CliOutput::from(command.env("no_proxy", "*").output().unwrap())
}

fn with_user(url: &str) -> String {
    url.replace("http://", "http://me:SECRET@")
}

fn a_mirror_keeps_the_password_of_its_server() {
    for format in ["human", "json"] {
        let mirror = MirrorProject::new();
        mirror.publisher.release("44.1");
        mirror.publisher.hook(|request, answer| {
            let known = request.header("authorization") == Some("Basic bWU6U0VDUkVU");
            if !known {
                answer.whole("401 Unauthorized", &[], b"");
            }
            !known
        });
        let base = with_user(&mirror.publisher.server.url(""));
        let stream = with_user(&mirror.publisher.server.url(METADATA));
        let ran = mirror_from(&mirror, &base, &["--stream-url", &stream, "--message-format", format]).success();
        assert_kept(&ran, &mirror.dest());
        mirror.assert_served("44.1");
        let record = std::fs::read_to_string(mirror.dest().join("44.1/mirror.json")).unwrap();
        assert!(record.contains(&format!("\"url\": \"{}/prod/", mirror.publisher.server.url(""))), "{record}");
        // The same if it fails.
        mirror.publisher.withdraw("44.1");
        mirror.publisher.release("44.2");
        mirror.publisher.hook(|request, answer| {
            let is_image = request.path.contains("rootfs");
            if is_image {
                answer.whole("404 Not Found", &[], b"");
            }
            is_image
        });
        let ran = mirror_from(&mirror, &base, &["--stream-url", &stream, "--message-format", format]);
        assert_eq!(ran.code, 5);
        assert_kept(&ran, &mirror.dest());
    }
}

fn a_token_in_a_query_is_used_and_not_shown() {
    let mirror = MirrorProject::new();
    mirror.publisher.release("44.1");
    let stream = format!("{}?token=SECRET", mirror.publisher.server.url(METADATA));
    let path = format!("{METADATA}?token=SECRET");
    mirror.publisher.offer(&path, mirror.publisher.file(METADATA));
    let ran = mirror.run(&["--stream-url", &stream]).success();
    assert_kept(&ran, &mirror.dest());
    assert!(mirror.publisher.server.paths().contains(&path));
}

fn a_schedule_with_a_password_is_warned_of() {
    let mirror = MirrorProject::new();
    let ran = mirror_from(&mirror, "http://me:SECRET@nas", &["--print-schedule", "cron"]).warned();
    assert!(ran.stdout.contains("http://me:SECRET@nas"), "{}", ran.stdout);
    assert!(
        ran.stderr.contains(
            "warning: `--base-url http://nas` has a password or a token, and the schedule shows it to whoever can read it\n\
             hint: keep the file that it goes to readable for root alone, as with `chmod 600`\n"
        ),
        "{}",
        ran.stderr
    );
    let ran = mirror_from(&mirror, "htp://me:SECRET@nas", &[]);
    assert_eq!(ran.code, 2);
    assert_kept(&ran, &mirror.dest());
    assert!(
        ran.stderr.contains("invalid value 'htp://nas' for '--base-url <URL>': wanted an address"),
        "{}",
        ran.stderr
    );
}

fn no_spelling_of_an_address_on_the_command_line_shows_its_password() {
    let project = Project::new();
    let addresses = [
        "http:/me:SECRET@h/f",
        "http//me:SECRET@h/f",
        "//me:SECRET@h/f",
        "me:SECRET@h/f",
        "file://me:SECRET@h",
        "http:///me:SECRET@h/f",
        "file:///f?token=SECRET",
    ];
    let mirror = project.path("mirror");
    let commands: [&[&str]; 8] = [
        &["mirror", "flatcar", "--dest", mirror.as_str(), "--base-url"],
        &["mirror", "fedora-coreos", "--dest", mirror.as_str(), "--stream-url"],
        &["fetch", "--offline", "--ipxe-url"],
        &["fetch", "--offline", "--syslinux-archive"],
        &["update", "ipxe", "--offline", "--ipxe-url"],
        &["reproduce", "--offline", "--against"],
        &["deploy"],
        // A command that takes no address.
        &["fetch"],
    ];
    for address in addresses {
        for command in commands {
            let ran = project.run([command, &[address]].concat());
            assert_ne!(ran.code, 0, "{}", ran.stdout);
            assert_kept(&ran, &project.path("cache"));
        }
    }
    let ran = project.run(["deploy", "me@h:/SECRET"]);
    assert!(ran.stderr.contains("`sftp://me@h/SECRET`"), "{}", ran.stderr);
}

fn the_password_of_a_git_server_or_an_archive_stays_out_of_cache_and_messages() {
    let project = Project::new();
    let archive = project.read("syslinux.zip");
    let server = TestServer::start(move |request, answer| match request.path.as_str() {
        "/syslinux.zip?token=SECRET" => answer.whole("200 OK", &[], &archive),
        _ => answer.whole("404 Not Found", &[], b""),
    });
    let git = with_user(&server.url("/ipxe.git"));
    for format in ["human", "json"] {
        let ran = project.run(["fetch", "--ipxe-url", &git, "--message-format", format]);
        assert_eq!(ran.code, 5);
        assert_kept(&ran, &project.path("cache"));
        let ran = project.run(["update", "ipxe", "--ipxe-url", &git, "--message-format", format]);
        assert_eq!(ran.code, 5);
        assert_kept(&ran, &project.path("cache"));
    }
    assert!(server.requests().iter().all(|request| request.header("authorization") == Some("Basic bWU6U0VDUkVU")));
    let (ipxe, url) = (project.path("ipxe"), with_user(&server.url("/syslinux.zip?token=SECRET")));
    let ran = project.run(["fetch", "--ipxe-url", ipxe.as_str(), "--syslinux-archive", &url]).success();
    assert_kept(&ran, &project.path("cache"));
    let ran = project.run(["reproduce", "--against", &with_user(&server.url("/gone.tar.gz?token=SECRET"))]);
    assert_eq!(ran.code, 5, "{}", ran.stderr);
    assert_kept(&ran, &project.path("cache"));
}

/// Errors of programs name inherited variables without their values.
fn a_failed_program_does_not_show_the_environment() {
    let project = Project::new();
    let secrets = ["GH_TOKEN", "HTTPS_PROXY", "CCACHE_REMOTE_STORAGE", "SCCACHE_REDIS_PASSWORD", "AWS_SESSION_TOKEN"];
    let run = |arguments: &[String], shown: &[&str]| {
        for format in ["human", "json"] {
            let mut command = project.command(arguments);
            command.args(["--message-format", format]).envs(secrets.map(|name| (name, "http://me:SECRET@h")));
            let ran =
                CliOutput::from(command.env("PATH", project.path_with_tools()).env("TZ", "SECRET").output().unwrap());
            assert_ne!(ran.code, 0);
            assert_kept(&ran, &project.path("cache"));
            for name in shown {
                let escaped = format!("{name}=\\\"${name}\\\"");
                let name = if format == "json" { escaped } else { format!("{name}=\"${name}\"") };
                assert!(ran.stderr.contains(&name) || ran.stdout.contains(&name), "{}{}", ran.stdout, ran.stderr);
            }
        }
    };
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    // make
    project.add_tool("ccache", "exit 3\n");
    project.add_tool("make", "case \"$*\" in *--version*) exec /usr/bin/make \"$@\";; esac\nexit 2\n");
    run(&project.build_arguments(&["--launcher", "ccache"]), &secrets[2..4]);
    std::fs::remove_file(project.path("tools/make")).unwrap();
    // gh
    let origins = project.build_arguments(&[]);
    project.add_book("#top");
    let release = [&words(&["release", "--dry-run"])[..], &origins[1..]].concat();
    let built = project.command(&release).env("PATH", project.path_with_tools()).output().unwrap();
    CliOutput::from(built).success();
    project.add_tool("gh", "echo 'HTTP 403' >&2; exit 1\n");
    run(&words(&["release", "--files", project.path("dist/release").as_str()]), &secrets[..2]);
    // cargo, with the whole environment
    project.add_tool("cargo", "head -c 70000000 /dev/zero | tr '\\0' y\n");
    run(&words(&["test", "x"]), &secrets);
}
