//! `clean` removes what is unused and keeps what is needed, in use or foreign, whatever else runs at the same time.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use camino::{Utf8Path, Utf8PathBuf};
use netboot_fixtures::limits;
use netboot_fixtures::project::{CliOutput, Project};
use netboot_fixtures::{shows, skip};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

netboot_fixtures::tests! {
    what_this_project_needs_stays_and_what_nobody_uses_goes,
    what_another_project_has_used_lately_stays,
    bases_of_an_inventory_are_needed_where_it_is_named,
    what_this_tool_did_not_make_is_left_alone_and_named,
    nothing_is_removed_from_a_folder_that_others_have_files_in,
    a_look_makes_nothing,
    what_killed_runs_have_left_goes,
    what_a_killed_deployment_and_a_killed_rebuild_have_left_goes,
    what_a_process_has_locked_outside_the_cache_stays,
    what_a_run_left_a_moment_ago_stays_for_an_hour,
    where_choices_cannot_be_read_what_may_be_needed_stays,
    what_cannot_be_removed_is_named_and_the_rest_goes,
    ; slow:
    after_killed_builds_and_killed_cleans_the_next_ones_succeed,
    a_clean_waits_for_builds_and_builds_wait_for_a_clean,
    a_clean_that_is_interrupted_is_finished_by_the_next_one,
    a_crowded_cache_is_refused_within_limits,
}

/// Sixty-four hexadecimal digits, like a digest.
const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// Returns a project that was built with one configuration and then with another.
fn used() -> Project {
    let project = Project::cold();
    project.config("old", "/* old */\n");
    sites(&project, "old");
    project.build(&[]).success();
    project.config("new", "/* new */\n");
    sites(&project, "new");
    project.build(&[]).success();
    project
}

fn sites(project: &Project, config: &str) {
    project.sites(&format!(
        "[default]\nloaders = [\"ipxe.pxe\", \"ipxe.efi\"]\nscript = \"boot.ipxe\"\nconfig = \"{config}\"\n\
         [syslinux]\nmembers = [\"lpxelinux.0\", \"ldlinux.c32\", \"syslinux.efi\", \"ldlinux.e64\"]\n"
    ));
}

/// Sets the age of everything at `path` to `days` days.
fn age(path: &Utf8Path, days: u64) {
    let then = SystemTime::now() - Duration::from_secs(days * 24 * 60 * 60);
    if path.is_dir() && !path.is_symlink() {
        for entry in path.read_dir_utf8().unwrap() {
            age(entry.unwrap().path(), days);
        }
    }
    if !path.is_symlink() {
        File::open(path).unwrap().set_modified(then).unwrap();
    }
}

/// Returns the command `clean`, with its own folder for temporary files.
fn command(project: &Project, more: &[&str]) -> Command {
    let temporary = project.path("tmp");
    std::fs::create_dir_all(&temporary).unwrap();
    let mut command = project.command([&["clean"], more].concat());
    command.env("TMPDIR", temporary);
    command
}

fn clean(project: &Project, more: &[&str]) -> CliOutput {
    CliOutput::from(command(project, more).output().unwrap())
}

/// Returns the JSON result of a run.
fn object(project: &Project, more: &[&str]) -> Value {
    let ran = clean(project, &[&["--message-format", "json"], more].concat()).success();
    serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap()
}

fn names(folder: &Utf8Path) -> Vec<String> {
    let paths = netboot_loaders::base::fs::entries(folder).unwrap();
    paths.iter().map(|path| path.file_name().unwrap().to_owned()).collect()
}

fn number(object: &Value, kind: &str, fate: &str) -> usize {
    let items = object["items"].as_array().unwrap();
    items.iter().filter(|item| item["kind"] == kind && item["fate"] == fate).count()
}

/// Runs `build-loaders` from the cache alone, which must contain everything it needs. Returns the JSON result.
fn build_offline(project: &Project) -> Value {
    let ran = project.run(["build-loaders", "--offline", "--message-format", "json"]).success();
    serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap()
}

fn what_this_project_needs_stays_and_what_nobody_uses_goes() {
    let project = used();
    age(&project.path("cache"), 20);
    let before = (Project::files_of(&project.path("cache")), project.snapshot());
    let ran = clean(&project, &["--dry-run"]).success();
    assert_eq!(ran.stderr, "");
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert!(lines[0].starts_with("would be removed: ") && lines[0].ends_with("iB"), "{}", ran.stdout);
    assert!(lines[1].starts_with("  2 bases ") && lines[2].starts_with("  2 build trees "), "{}", ran.stdout);
    assert!(ran.stdout.contains("\nkept: 2 bases, 2 build trees, 5 sources, 2 records ("), "{}", ran.stdout);
    let options = format!("--project {} --cache-dir {}", project.root, project.path("cache"));
    let next = |ran: &CliOutput| {
        ran.stdout.split_once("\nnothing is removed because of --dry-run\nnext: ").unwrap().1.to_owned()
    };
    assert_eq!(next(&ran), format!("cargo xtask {options} clean\n"));
    project.write("rack's list.csv", "name\na\n");
    let sheet = project.path("rack's list.csv");
    let ran = clean(&project, &["--unused-for", "0", "--dry-run", "--sites", sheet.as_str()]).success();
    let quoted = format!("'{}/rack'\\''s list.csv'", project.root);
    assert_eq!(next(&ran), format!("cargo xtask {options} clean --unused-for 0 --sites {quoted}\n"));
    assert!((Project::files_of(&project.path("cache")), project.snapshot()) == before);

    let said = object(&project, &[]);
    assert_eq!((number(&said, "base", "unused"), number(&said, "base", "needed")), (2, 2));
    assert_eq!((&said["dry-run"], &said["failed"]), (&false.into(), &serde_json::json!([])));
    assert!(said["removed"].as_u64().unwrap() >= 4 && said["removed-bytes"].as_u64().unwrap() > 10_000, "{said}");
    assert_eq!(names(&project.path("cache/trees")), ["bios-new", "efi-x64-new"]);
    assert_eq!(names(&project.path("cache/bases")).len(), 2);
    assert!(!names(&project.path("cache")).iter().any(|name| name.starts_with("removal-")));
    // No network, no other sources, and no bases to build.
    assert_eq!(build_offline(&project)["bases-made"], 0);
    project.write("embed-scripts/boot.ipxe", "#!ipxe\nshell\n");
    assert_eq!(build_offline(&project)["bases-made"], 0);
    // Whatever was removed can be rebuilt without a network.
    sites(&project, "old");
    assert_eq!(build_offline(&project)["bases-made"], 2);
    project.run(["verify"]).success();
}

fn what_another_project_has_used_lately_stays() {
    let project = used();
    let said = object(&project, &[]);
    assert_eq!((number(&said, "base", "recent"), number(&said, "build-tree", "recent")), (2, 2));
    assert_eq!((&said["removed"], number(&said, "base", "unused")), (&0.into(), 0));
    // The time of last use counts, not the creation time: the other project builds again from the cache.
    age(&project.path("cache"), 20);
    sites(&project, "old");
    assert_eq!(build_offline(&project)["bases-made"], 0);
    sites(&project, "new");
    let ran = clean(&project, &[]).success();
    assert!(
        ran.stdout.contains("used in the last 14 days, perhaps by another project (`--unused-for 0` removes "),
        "{}",
        ran.stdout
    );
    assert_eq!(names(&project.path("cache/bases")).len(), 4);
    let ran = clean(&project, &["--unused-for", "0"]).success();
    assert!(ran.stdout.starts_with("removed: "), "{}", ran.stdout);
    assert_eq!(names(&project.path("cache/bases")).len(), 2);
    assert!(clean(&project, &["--unused-for", "0"]).success().stdout.starts_with("nothing to remove\n"));
    assert_eq!(build_offline(&project)["bases-made"], 0);
}

fn bases_of_an_inventory_are_needed_where_it_is_named() {
    let project = Project::cold();
    project.config("racks", "/* racks */\n");
    project.write("racks/a.toml", "script = \"boot.ipxe\"\nconfig = \"racks\"\nloaders = [\"ipxe.efi\"]\n");
    let inventory = project.path("racks");
    project.build(&["--sites", inventory.as_str()]).success();
    let said = object(&project, &["--dry-run", "--unused-for", "0", "--sites", inventory.as_str()]);
    assert_eq!(number(&said, "base", "unused"), 0, "{said}");
    let said = object(&project, &["--dry-run", "--unused-for", "0"]);
    assert_eq!((number(&said, "base", "unused"), number(&said, "build-tree", "unused")), (1, 1), "{said}");
}

fn what_this_tool_did_not_make_is_left_alone_and_named() {
    let project = used();
    let outside = project.path("outside");
    project.write("outside/precious", "photographs");
    let foreign = [
        "cache/notes.txt",
        "cache/bases/README",
        "cache/trees/mine/thesis.tex",
        "cache/blobs/picture.png",
        "cache/downloads/film.mkv",
        "cache/stamping/letter",
        "cache/syslinux-notes",
        "cache/locksmith/key",
        "cache/reproduce/thesis.tex",
        "cache/import-pictures/picture.png",
        "cache/probe-results.csv",
        "cache/downloads/film.partial",
        "cache/stamping/pack-lunch",
        "cache/stamping/.tmpl",
        "cache/trash/2024-holiday/picture.png",
        "dist/other/file",
        "tmp/netboot-loaders.txt",
        "tmp/tree-abc123/file",
    ];
    for path in foreign {
        project.write(path, "precious");
    }
    // A base that contains a foreign file is not removed.
    let base = format!("cache/bases/{KEY}");
    project.write(&format!("{base}/record.json"), "{}");
    project.write(&format!("{base}/letter"), "precious");
    let links = [
        format!("cache/bases/{}", KEY.replace('0', "f")),
        "cache/trees/linked".into(),
        "cache/downloads/linked.partial".into(),
        "cache/probe-abc123".into(),
        "cache/stamping/pack-abc123".into(),
        "dist/.other.partial".into(),
        "tmp/netboot-loaders-run-abc123".into(),
    ];
    for link in &links {
        symlink(&outside, project.path(link)).unwrap();
    }
    let latin = project.path("cache").as_std_path().join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    std::fs::write(&latin, "precious").unwrap();
    project.write("cache/reproduce/build-1/base", "x");
    std::fs::copy(&latin, project.path("cache/reproduce").as_std_path().join(latin.file_name().unwrap())).unwrap();
    for path in foreign.iter().map(|path| project.path(path)) {
        age(&path, 100);
    }
    let said = object(&project, &["--unused-for", "0"]);
    assert_eq!(number(&said, "base", "unused"), 2);
    for path in foreign {
        assert_eq!(project.read(path), b"precious", "{path}");
    }
    assert_eq!(project.read(&format!("{base}/letter")), b"precious");
    assert!(links.iter().all(|link| project.path(link).is_symlink()) && latin.exists());
    assert_eq!(Project::files_of(&outside).len(), 1);
    let named: Vec<&str> = said["foreign"].as_array().unwrap().iter().map(|path| path.as_str().unwrap()).collect();
    for path in [
        "cache/notes.txt",
        "cache/trees/mine",
        "cache/reproduce/thesis.tex",
        "cache/reproduce/caf\u{fffd}",
        "cache/locksmith",
        base.as_str(),
    ] {
        assert!(named.contains(&project.path(path).as_str()), "{path} is not in {named:?}");
    }
    assert!(!project.path("cache/reproduce/build-1").exists());
    // A rebuild does not remove it, either.
    let error = project.run(["reproduce", "--plain", "--offline"]).failure(1);
    assert_eq!(project.read("cache/reproduce/thesis.tex"), b"precious");
    assert!(error.starts_with("error: cannot list `") && error.contains("/cache/reproduce`\n"), "{error}");
    std::fs::remove_file(project.path("cache/reproduce").as_std_path().join(latin.file_name().unwrap())).unwrap();
    shows!(project, ["reproduce", "--plain", "--offline"], @"
    exit code 1, stderr:
    error: `PROJECT/cache/reproduce/thesis.tex` is not of a rebuild, and rebuilds remove all that is in that folder
    hint: move it away
    hint: or choose another cache folder with `--cache-dir`
    ");
    let ran = clean(&project, &[]).success();
    let line = format!("\nleft alone: `{}`, which this tool did not make\n", project.path("cache/notes.txt"));
    assert!(ran.stdout.contains(&line) && ran.stdout.contains("caf\u{fffd}"), "{}", ran.stdout);
}

fn nothing_is_removed_from_a_folder_that_others_have_files_in() {
    let project = Project::cold();
    let others = ["cache/reproduce/published/thesis.tex", "cache/removal-aBc123/x", "cache/stamping/.partial-aBc123"];
    for path in others {
        project.write(path, "precious");
    }
    std::fs::create_dir_all(project.path("cache/trees/oak")).unwrap();
    project.build(&[]).success();
    age(&project.path("cache"), 100);
    shows!(project, ["reproduce", "--plain", "--offline"], @"
    exit code 1, stderr:
    error: `PROJECT/cache/reproduce/published` is not of a rebuild, and rebuilds remove all that is in that folder
    hint: move it away
    hint: or choose another cache folder with `--cache-dir`
    ");
    for command in [&["--dry-run"][..], &["--unused-for", "0"]] {
        let ran = clean(&project, command).warned();
        assert!(ran.stdout.starts_with("nothing to remove\n"), "{}", ran.stdout);
        assert_eq!(
            ran.stderr,
            format!(
                "warning: nothing is removed from `{}`: it was not empty when this tool began to use it, so that others \
                 may have files in it\n\
                 hint: choose an empty folder with `--cache-dir`, and remove by hand what is in this one\n",
                project.path("cache").canonicalize_utf8().unwrap()
            )
        );
    }
    assert!(others.iter().all(|path| project.read(path) == b"precious") && project.path("cache/trees/oak").exists());
    // A symbolic link does not count as `CACHEDIR.TAG`.
    project.write("marked/x", "");
    let marked = project.path("marked");
    symlink("/dev/null", marked.join("CACHEDIR.TAG")).unwrap();
    assert!(clean(&project, &["--cache-dir", marked.as_str()]).warned().stderr.starts_with("warning: nothing is "));
}

fn a_look_makes_nothing() {
    let project = Project::cold();
    for folder in ["absent", "empty"] {
        let folder = project.path(folder);
        if folder.ends_with("empty") {
            std::fs::create_dir(&folder).unwrap();
        }
        for more in [&["--dry-run"][..], &[]] {
            let ran = clean(&project, &[&["--cache-dir", folder.as_str()], more].concat()).warned();
            assert!(ran.stdout.starts_with("nothing to remove\n"), "{}", ran.stdout);
        }
        assert!(folder.ends_with("empty") == folder.exists());
        assert_eq!(names(&folder), [] as [&str; 0]);
    }
    // A new file system contains `lost+found`.
    project.write("empty/lost+found/x", "");
    let empty = project.path("empty");
    project.run(["build-loaders", "--plan", "--cache-dir", empty.as_str()]).success();
    assert!(names(&empty).contains(&"CACHEDIR.TAG".to_owned()));
}

fn what_killed_runs_have_left_goes() {
    let project = used();
    project.run(["verify"]).success();
    let leftovers = [
        "cache/probe-abc123/probe.c",
        "cache/import-aBc123/HEAD",
        "cache/ipxe.partial/HEAD",
        "cache/downloads/0123456789ab.partial",
        "cache/downloads/0123456789ab.partial.validator",
        "cache/stamping/pack-abc123/image",
        "cache/reproduce/usual/trees/bios-default/tree/src/Makefile",
        "cache/removal-aBc123/tree/src/Makefile",
        "cache/blobs/.partial-aBc123",
        "cache/bases/.partial-aBc123",
        "cache/ipxe.git/objects/pack/pack_git2_a1b2c3d4",
        "cache/ipxe.git/refs/pins/abc.lock",
        "cache/ipxe.git/shallow.lock",
        "dist/.tftp.partial/ipxe.efi",
        "dist/.tftp.next-journal",
        "dist/.tftp.previous/ipxe.efi",
        "dist/.partial-aBc123",
        "dist/.release.partial/SHA256SUMS",
        "vendor/.partial-aBc123",
        "tmp/netboot-loaders-run-aBc123/root/ipxe.efi",
    ];
    for path in leftovers {
        project.write(path, "x");
    }
    // Foreign folders, whatever their names; and a change deep inside a folder.
    let own =
        ["tmp/netboot-loaders-github/file", "tmp/netboot-loaders-run-aBc12/file", "tmp/netboot-loaders-run-dEf456/a/b"];
    for path in own {
        project.write(path, "precious");
        let path = project.path(path);
        age(path.ancestors().find(|above| above.parent().unwrap().ends_with("tmp")).unwrap(), 1);
    }
    project.write("tmp/netboot-loaders-run-dEf456/a/b", "changed in place");
    // Outside the cache, recent files that are not locked may be in use.
    let young =
        ["dist/.partial-aBc123", "dist/.release.partial", "vendor/.partial-aBc123", "tmp/netboot-loaders-run-aBc123"];
    clean(&project, &["--unused-for", "0"]).success();
    for path in leftovers {
        assert_eq!(project.path(path).exists(), young.iter().any(|young| path.starts_with(young)), "{path}");
    }
    for path in young {
        age(&project.path(path), 1);
    }
    let said = object(&project, &[]);
    assert_eq!(said["removed"], 4, "{said}");
    assert!(leftovers.iter().all(|path| !project.path(path).exists()));
    assert!(own.iter().all(|path| project.path(path).exists()));
    assert_eq!(names(&project.path("dist")), [".tftp.journal", ".tftp.lock", "tftp"]);
    assert_eq!(build_offline(&project)["bases-made"], 0);
    project.run(["verify"]).success();
    // If the tree is missing, the previous tree is the only copy.
    std::fs::rename(project.tree(), project.path("dist/.tftp.previous")).unwrap();
    age(&project.path("dist"), 20);
    clean(&project, &["--unused-for", "0"]).success();
    assert!(project.path("dist/.tftp.previous/ipxe.efi").exists());
    build_offline(&project);
    project.run(["verify"]).success();
}

/// Changes the configured loaders and objects.
fn change(project: &Project, number: u32) {
    project.write("embed-scripts/boot.ipxe", &format!("#!ipxe\necho {number}\nshell\n"));
    project.config("new", &format!("/* slow {number} */\n"));
}

fn after_killed_builds_and_killed_cleans_the_next_ones_succeed() {
    let project = used();
    let started = Instant::now();
    change(&project, 0);
    project.build(&[]).success();
    let whole = started.elapsed();
    for number in 1..=8_u32 {
        change(&project, number);
        let mut build = project.start_build();
        std::thread::sleep(whole * (number * 5 % 8) / 8);
        let _ = kill_process(Pid::from_child(&build), Signal::KILL);
        build.wait().unwrap();
        let mut killed = start(&project, &["--unused-for", "0"]);
        std::thread::sleep(Duration::from_millis(u64::from(number * 7 % 12) * 4));
        let _ = kill_process(Pid::from_child(&killed), Signal::KILL);
        killed.wait().unwrap();
        project.run(["verify"]).success();
        clean(&project, &["--unused-for", "0"]).success();
        let known = "CACHEDIR.TAG bases blobs ipxe.git locks stamping syslinux-6.03.json toolchains trees";
        let is_known = |name: &String| known.split(' ').any(|known| known == name);
        let strange: Vec<_> = names(&project.path("cache")).into_iter().filter(|name| !is_known(name)).collect();
        assert_eq!(strange, Vec::<String>::new());
        assert!(!project.path("dist/.tftp.partial").exists());
    }
    build_offline(&project);
    project.run(["verify"]).success();
    assert!(String::from_utf8_lossy(&project.read("dist/tftp/ipxe.efi")).contains("echo 8\n"));
}

fn start(project: &Project, more: &[&str]) -> Child {
    command(project, more).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn a_clean_waits_for_builds_and_builds_wait_for_a_clean() {
    let project = used();
    for number in 1..=3 {
        change(&project, number);
        let builds = [project.start_build(), project.start_build()];
        let cleans = [start(&project, &["--unused-for", "0"]), start(&project, &["--unused-for", "0"])];
        let ran = project.build(&[]).success();
        assert!(ran.stdout.contains("built ") || ran.stdout.contains("is up to date"), "{}", ran.stdout);
        for mut build in builds {
            assert!(build.wait().unwrap().success());
        }
        for clean in cleans {
            CliOutput::from(clean.wait_with_output().unwrap()).success();
        }
        project.run(["verify"]).success();
    }
    // While another process uses the cache, nothing is removed, and Ctrl-C ends the wait.
    let lock = File::options().append(true).open(project.path("cache/locks/use")).unwrap();
    lock.lock_shared().unwrap();
    project.write("cache/probe-abc123/probe.c", "x");
    assert!(clean(&project, &["--dry-run"]).success().stdout.contains("/cache/probe-abc123\n"));
    let path = project.path("cache/locks/use");
    let mut waiting = start(&project, &[]);
    until_it_waits(&mut waiting, &path);
    kill_process(Pid::from_child(&waiting), Signal::INT).unwrap();
    assert_eq!(waiting.wait().unwrap().code(), Some(130));
    assert!(project.path("cache/probe-abc123").exists());
    // Processes that only use the cache do not wait for each other.
    assert_eq!(build_offline(&project)["bases-made"], 0);
    drop(lock);
    clean(&project, &[]).success();
    assert!(!project.path("cache/probe-abc123").exists());
    // No process starts using the cache while files are being removed from it.
    let lock = File::options().append(true).open(&path).unwrap();
    lock.lock().unwrap();
    let mut build = project.command(["build-loaders", "--offline"]);
    let mut build = build.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    until_it_waits(&mut build, &path);
    drop(lock);
    assert!(build.wait().unwrap().success());
}

/// Waits until `child` reports that it waits for the lock at `path`.
#[track_caller]
fn until_it_waits(child: &mut Child, path: &Utf8Path) {
    let wanted = format!("wait for another process to release `{path}`");
    let said = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let lines: Vec<String> = said.take_while(|line| !line.contains(&wanted)).collect();
    assert!(child.try_wait().unwrap().is_none(), "it ended without waiting: {lines:?}");
}

fn a_clean_that_is_interrupted_is_finished_by_the_next_one() {
    let project = used();
    // Enough files that removing them takes a while.
    for folder in 0..60 {
        for file in 0..100 {
            project.write(&format!("cache/reproduce/build-{folder}/{file}"), "x");
        }
    }
    let mut interrupted = 0;
    for delay in [2, 5, 10, 20, 40, 80] {
        let mut running = start(&project, &["--unused-for", "0"]);
        std::thread::sleep(Duration::from_millis(delay));
        let _ = kill_process(Pid::from_child(&running), Signal::INT);
        let ended = Instant::now();
        let code = running.wait().unwrap().code();
        assert!(ended.elapsed() < Duration::from_secs(5));
        interrupted += u32::from(code == Some(130));
        assert_eq!(build_offline(&project)["bases-made"], 0);
    }
    assert!(interrupted > 0);
    clean(&project, &["--unused-for", "0"]).success();
    assert!(!names(&project.path("cache")).iter().any(|name| name == "reproduce" || name.starts_with("removal-")));
}

fn what_a_killed_deployment_and_a_killed_rebuild_have_left_goes() {
    let project = used();
    project.build(&["--archive"]).success();
    let archive = project.path("dist/netboot-loaders-0.1.0-tftp.tar.gz");
    let temporary = project.path("tmp");
    std::fs::create_dir_all(&temporary).unwrap();
    let url = project.path("ipxe");
    let kill_when = |arguments: &[&str], there: &dyn Fn() -> bool| {
        let mut command = project.command(arguments);
        command.env("TMPDIR", &temporary).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let patience = Instant::now();
        while !there() {
            assert!(patience.elapsed() < Duration::from_secs(30), "{arguments:?} did not begin");
            std::thread::sleep(Duration::from_millis(1));
        }
        // The process is running, so the files that it uses stay.
        let left = names(&temporary);
        clean(&project, &["--dry-run"]).success();
        assert!(left.iter().all(|name| temporary.join(name).exists()) || child.try_wait().unwrap().is_some());
        let _ = kill_process(Pid::from_child(&child), Signal::KILL);
        child.wait().unwrap();
    };
    let stop = project.path("stop");
    let target = format!("sftp://nobody@localhost{}", project.path("srv"));
    project.write("bin/ssh", &format!("#!/bin/sh\ntouch {stop}\nexec sleep 30\n"));
    let ssh = project.path("bin/ssh");
    std::fs::set_permissions(&ssh, std::fs::Permissions::from_mode(0o755)).unwrap();
    kill_when(&["deploy", "--tree", archive.as_str(), "--ssh", ssh.as_str(), &target], &|| stop.exists());
    assert!(names(&temporary).iter().any(|name| name.starts_with("netboot-loaders-run-")), "{:?}", names(&temporary));
    let rebuilt = || project.path("cache/reproduce/usual").exists();
    kill_when(&["reproduce", "--plain", "--offline", "--ipxe-url", url.as_str()], &rebuilt);
    assert!(rebuilt());
    age(&temporary, 1);
    clean(&project, &["--unused-for", "0"]).success();
    assert_eq!(names(&temporary), Vec::<String>::new());
    assert!(!project.path("cache/reproduce").exists());
}

fn what_a_process_has_locked_outside_the_cache_stays() {
    let project = used();
    project.write("dist/.tftp.partial/ipxe.efi", "x");
    project.write("tmp/netboot-loaders-run-aBc123/ipxe.efi", "x");
    age(&project.path("tmp"), 20);
    age(&project.path("dist"), 20);
    let locks = ["dist/.tftp.lock", "tmp/netboot-loaders-run-aBc123"].map(|path| {
        let file = File::open(project.path(path)).unwrap();
        file.lock().unwrap();
        file
    });
    let ran = clean(&project, &[]).success();
    assert!(ran.stdout.contains("\nkept: 2 leftovers (") && ran.stdout.contains("): in use by a process\n"));
    assert!(project.path("dist/.tftp.partial").exists() && project.path("tmp/netboot-loaders-run-aBc123").exists());
    drop(locks);
    clean(&project, &[]).success();
    assert!(!project.path("dist/.tftp.partial").exists() && !project.path("tmp/netboot-loaders-run-aBc123").exists());
}

fn what_a_run_left_a_moment_ago_stays_for_an_hour() {
    let project = used();
    project.write("tmp/netboot-loaders-run-abCD12/ipxe.efi", "x");
    project.write("dist/.tftp.partial/ipxe.efi", "x");
    std::fs::remove_file(project.path("dist/.tftp.lock")).unwrap();
    project.write("dist/.partial-abCD12", "x");
    let ran = clean(&project, &["--unused-for", "0"]).success();
    let (_, line) = ran.stdout.split_once("\nkept: 3 leftovers (").unwrap();
    let why = "): changed within the last hour: a run may be writing it; run this again later\n";
    assert!(line.split_once("iB").unwrap().1.starts_with(why), "{}", ran.stdout);
    assert!(!ran.stdout.contains("used in the last"), "{}", ran.stdout);
    assert_eq!(number(&object(&project, &[]), "leftover", "changing"), 3);
    age(&project.path("tmp"), 1);
    age(&project.path("dist"), 1);
    assert!(clean(&project, &["--unused-for", "0"]).success().stdout.contains("  3 leftovers "));
}

fn a_crowded_cache_is_refused_within_limits() {
    let project = Project::cold();
    project.build(&[]).success();
    let blobs = project.path("cache/blobs");
    for number in 0..50_000 {
        File::create(blobs.join(format!("{number:0>200}"))).unwrap();
    }
    let refused = limits::measure(&mut command(&project, &["--dry-run"])).assert_memory_limit();
    assert!(refused.stderr.contains("/cache/blobs` has too many entries: wanted 50000 entries"), "{}", refused.stderr);
    // The maximum number of entries: JSON output lists all of them, text output a few.
    for number in 0..100 {
        std::fs::remove_file(blobs.join(format!("{number:0>200}"))).unwrap();
    }
    let all = limits::measure(&mut command(&project, &["--dry-run", "--message-format", "json"])).assert_memory_limit();
    assert!(all.status.success() && all.stdout.len() > 1 << 20, "{}", all.stderr);
    let ran = clean(&project, &["--dry-run"]);
    assert!(ran.stdout.contains("\nleft alone: 49880 more\n"), "{}", ran.stdout);
}

fn where_choices_cannot_be_read_what_may_be_needed_stays() {
    let project = used();
    project.write("cache/probe-abc123/probe.c", "x");
    project.sites("[default]\nscript = \"boot.ipxe\"\n");
    let ran = clean(&project, &["--unused-for", "0"]).warned();
    assert!(
        ran.stderr.starts_with(
            "warning: all bases and build trees stay, since it cannot be told which of them this project needs: \
             embed-scripts/sites.toml:1: `default.loaders`: is missing\n"
        ),
        "{}",
        ran.stderr
    );
    assert_eq!((names(&project.path("cache/bases")).len(), names(&project.path("cache/trees")).len()), (4, 4));
    assert!(!project.path("cache/probe-abc123").exists());
    std::fs::remove_file(project.path("vendor/pins.toml")).unwrap();
    let ran = clean(&project, &["--unused-for", "0"]).warned();
    assert!(ran.stderr.starts_with("warning: all sources, bases and build trees stay, "), "{}", ran.stderr);
    assert_eq!(names(&project.path("cache/blobs")).len(), 4);
}

fn what_cannot_be_removed_is_named_and_the_rest_goes() -> Result<(), String> {
    skip::mount_namespaces()?;
    let project = used();
    age(&project.path("cache"), 20);
    // Read-only folders can be removed.
    for folder in ["cache/trees/bios-old/tree/src", "cache/trees/bios-old"] {
        std::fs::set_permissions(project.path(folder), std::fs::Permissions::from_mode(0o555)).unwrap();
    }
    let stuck: Utf8PathBuf = project.path("cache/trees/efi-x64-old");
    let inner = command(&project, &[]);
    let mut outer = Command::new("unshare");
    let script = format!("mount --bind {stuck} {stuck}; exec \"$@\"");
    outer.args(["-rm", "sh", "-ec", &script, "sh"]).arg(inner.get_program()).args(inner.get_args());
    let ran = CliOutput::from(outer.env("TMPDIR", project.path("tmp")).output().unwrap());
    assert!(ran.stdout.contains("  2 bases ") && ran.stdout.contains("  1 build tree "), "{}", ran.stdout);
    let error = ran.printed("removed: ").error(1);
    assert!(error.starts_with(&format!("cannot remove `{stuck}`\n  caused by: ")), "{error}");
    assert_eq!(names(&project.path("cache/trees")), ["bios-new", "efi-x64-new", "efi-x64-old"]);
    clean(&project, &[]).success();
    assert!(!stuck.exists());
    Ok(())
}
