//! Two builds at once, Ctrl-C, and kill -9 at any moment.

use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use netboot_fixtures::project::{CliOutput, Project};
use netboot_fixtures::{limits, skip};
use netboot_fixtures::{says, shows};
use rustix::process::{Pid, Signal, kill_process};

netboot_fixtures::tests! {
    two_builds_at_once_take_turns,
    an_interrupt_ends_what_a_check_has_started,
    an_interrupt_waits_for_no_removal_of_a_rebuild,
    a_kill_between_the_two_renames_is_repaired,
    output_for_programs_is_one_object_a_line_and_quiet_is_quiet,
    ; slow:
    control_c_leaves_no_child_and_the_old_tree,
    kill_9_at_fifty_moments_leaves_the_old_tree_and_a_next_run_succeeds,
    an_interrupt_while_tools_are_probed_is_an_interrupt,
}

/// Returns a project with a slow build and a published tree.
fn slow() -> Project {
    let project = Project::new();
    project.config("slow", "/* slow */\n");
    project.sites("[default]\nloaders = [\"ipxe.pxe\", \"ipxe.efi\"]\nscript = \"boot.ipxe\"\nconfig = \"slow\"\n");
    project.build(&[]).success();
    project
}

/// Changes the configured loaders; with `compile`, also the objects to compile.
fn change(project: &Project, number: usize, compile: bool) {
    project.write("embed-scripts/boot.ipxe", &format!("#!ipxe\necho {number}\nshell\n"));
    if compile {
        project.config("slow", &format!("/* slow {number} */\n"));
    }
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Checks that no process works in the project's folder any more, or that the last one ends soon.
#[track_caller]
fn assert_nothing_runs(project: &Project) {
    let patience = Instant::now();
    loop {
        let working = |entry: std::fs::DirEntry| std::fs::read_link(entry.path().join("cwd")).ok();
        let folders = std::fs::read_dir("/proc").unwrap().filter_map(|entry| working(entry.unwrap()));
        let left: Vec<_> = folders.filter(|folder| folder.starts_with(project.root.as_std_path())).collect();
        if left.is_empty() {
            return;
        }
        assert!(patience.elapsed() < Duration::from_secs(10), "still running in {left:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn two_builds_at_once_take_turns() {
    let project = slow();
    change(&project, 1, true);
    let other = project.start_build();
    let ran = project.build(&[]).success();
    assert!(other.wait_with_output().unwrap().status.success());
    assert!(ran.stdout.contains("built ") || ran.stdout.contains("is up to date"), "{}", ran.stdout);
    project.run(["verify"]).success();
    assert!(String::from_utf8_lossy(&project.read("dist/tftp/ipxe.efi")).contains("echo 1\n"));
}

fn control_c_leaves_no_child_and_the_old_tree() {
    for signal_sent in [Signal::INT, Signal::TERM, Signal::HUP] {
        let project = slow();
        let before = project.snapshot();
        change(&project, 1, true);
        // Objects with their modification times: a new one shows that make is running.
        let objects = || -> std::collections::BTreeSet<_> {
            let work = project.path("cache/trees");
            let files =
                netboot_loaders::base::fs::walk(&work).unwrap_or_default().into_iter().map(|(path, _)| work.join(path));
            let made = |path: camino::Utf8PathBuf| Some((path.metadata().ok()?.modified().ok()?, path));
            files.filter(|path| path.extension() == Some("o")).filter_map(made).collect()
        };
        let before_it = objects();
        let mut child = project.start_build();
        let patience = Instant::now();
        while objects().is_subset(&before_it) {
            assert!(patience.elapsed() < Duration::from_secs(20), "make did not begin");
            std::thread::sleep(Duration::from_millis(5));
        }
        signal(&child, signal_sent);
        assert_eq!(child.wait().unwrap().code(), Some(130), "{signal_sent:?}");
        assert_nothing_runs(&project);
        assert_eq!(project.snapshot(), before);
        assert!(!project.path("dist/.tftp.partial").exists());
        project.build(&[]).success();
    }
}

/// Puts a stand-in for the program `name` first in the `PATH` of `command`. It signals that it has started, and runs
/// for a minute.
fn stand_in(project: &Project, name: &str, command: &mut Command) -> Utf8PathBuf {
    let (folder, begun) = (project.path(&format!("bin-{name}")), project.path(&format!("begun-{name}")));
    std::fs::create_dir_all(&folder).unwrap();
    let _ = std::fs::remove_file(&begun);
    let program = folder.join(name);
    std::fs::write(&program, format!("#!/bin/sh\ntouch '{begun}'\nsleep 60\n")).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    command.env("PATH", format!("{folder}:{}", std::env::var("PATH").unwrap()));
    begun
}

fn an_interrupt_while_tools_are_probed_is_an_interrupt() {
    let project = Project::cold();
    project.build(&[]).success();
    let tree = project.tree();
    for (name, arguments) in [
        ("make", &["build-loaders", "--offline"][..]),
        ("make", &["reproduce", "--plain", "--offline", "--against", tree.as_str()]),
        // A program that determines which variations are available.
        ("locale", &["reproduce", "--list"]),
        ("make", &["doctor"]),
        ("make", &["doctor", "--install-deps"]),
        // A program that only determines which package a tool is from.
        ("dpkg-query", &["build-loaders", "--offline"]),
        ("make", &["clean"]),
        ("qemu-system-x86_64", &["boot-test"]),
        ("ssh", &["deploy", "--dry-run", "sftp://unreachable.invalid/srv/tftp"]),
    ] {
        // Remove the results of earlier probes, which would be reused.
        let _ = std::fs::remove_dir_all(project.path("cache/toolchains"));
        if name == "dpkg-query" && !Utf8Path::new("/usr/bin/apt-get").exists() {
            continue;
        }
        let mut command = project.command(arguments);
        let begun = stand_in(&project, name, &mut command);
        let measured = limits::interrupt(&mut command, |_| begun.exists());
        assert_eq!(measured.stderr, "error: interrupted\n", "{name} of {arguments:?}");
        assert_eq!(measured.stdout, "", "{name} of {arguments:?}");
    }
    // Nothing of it is cached.
    project.run(["doctor"]).success();
}

fn an_interrupt_ends_what_a_check_has_started() {
    let project = Project::new();
    project.write(".github/workflows/ci.yml", "on: push\n");
    project.write(".github/linters.txt", "");
    for name in ["actionlint", "cargo"] {
        let mut command = project.command(["check"]);
        let begun = stand_in(&project, name, &mut command);
        if name == "actionlint" {
            let program = begun.with_file_name("bin-actionlint").join("actionlint");
            let text = std::fs::read_to_string(&program).unwrap();
            std::fs::write(&program, text.replacen('\n', "\ntest \"$1\" = --version && exit\n", 1)).unwrap();
            std::fs::write(program.with_file_name("cargo"), "#!/bin/sh\n").unwrap();
            std::fs::set_permissions(program.with_file_name("cargo"), PermissionsExt::from_mode(0o755)).unwrap();
        }
        let measured = limits::interrupt(&mut command, |_| begun.exists());
        assert_eq!(measured.stderr, "error: interrupted\n", "{name}");
        assert_nothing_runs(&project);
    }
}

fn an_interrupt_waits_for_no_removal_of_a_rebuild() -> Result<(), String> {
    skip::program("gcc")?;
    // An empty cache gets a tag, without which a folder in it could be of somebody else.
    let project = Project::cold();
    project.build(&[]).success();
    // A disk that takes a moment to remove a file.
    let (source, slow) = (project.path("slow.c"), project.path("slow.so"));
    let text = "#define _GNU_SOURCE\n#include <sys/syscall.h>\n#include <unistd.h>\n\
        int unlinkat(int at, const char *path, int flags) { usleep(50000); return syscall(SYS_unlinkat, at, path, flags); }\n";
    std::fs::write(&source, text).unwrap();
    let made = Command::new("gcc").args(["-shared", "-fPIC", "-o", slow.as_str(), source.as_str()]).status().unwrap();
    assert!(made.success());
    let scratch = project.path("cache/reproduce");
    let files = || netboot_loaders::base::fs::walk(&scratch).map_or(0, |found| found.len());
    // The rebuild makes no folder of this name, so nothing is in its way.
    let left = |number: usize| {
        for file in 0..number {
            project.write(&format!("cache/reproduce/build-77/{file}"), "");
        }
    };
    let mut command = project.command(["reproduce", "--plain", "--offline"]);
    command.env("LD_PRELOAD", &slow);
    left(200);
    // While it removes what an earlier run has left.
    let measured = limits::interrupt(&mut command, |_| files() < 198);
    assert_eq!(measured.stderr, "error: interrupted\n");
    assert!(files() > 0);
    // While it builds.
    std::fs::remove_dir_all(&scratch).unwrap();
    let measured = limits::interrupt(&mut command, |_| {
        let begun = files() > 0;
        left(if begun { 200 } else { 0 });
        begun
    });
    assert!(measured.stderr.ends_with("interrupted\n"), "{}", measured.stderr);
    assert!(files() > 0);
    project.run(["clean"]).success();
    assert!(!scratch.exists());
    Ok(())
}

fn kill_9_at_fifty_moments_leaves_the_old_tree_and_a_next_run_succeeds() {
    let project = slow();
    let started = Instant::now();
    change(&project, 0, true);
    project.build(&[]).success();
    let whole = started.elapsed();
    let mut published = 0;
    for number in 1..=50_u32 {
        let before = project.snapshot();
        change(&project, number as usize, number % 2 == 0);
        let mut child = project.start_build();
        // Fifty moments, spread over a little more than a whole build, in scattered order.
        std::thread::sleep(whole * (number * 29 % 50) / 46);
        // The build may have ended already; then nothing is killed.
        let _ = kill_process(Pid::from_child(&child), Signal::KILL);
        child.wait().unwrap();
        let after = project.snapshot();
        project.run(["verify"]).success();
        published += u32::from(after != before);
    }
    assert!(published < 50, "no build was killed in time");
    assert_nothing_runs(&project);
    project.build(&[]).success();
    assert!(String::from_utf8_lossy(&project.read("dist/tftp/ipxe.efi")).contains("echo 50\n"));
    let left: Vec<_> =
        std::fs::read_dir(project.path("dist")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "the tree, its lock and its journal, found {left:?}");
    assert_is_what_a_fresh_build_gives(&project);
}

/// Checks that the resulting tree equals the one that an empty cache gives.
fn assert_is_what_a_fresh_build_gives(project: &Project) {
    let before = project.snapshot();
    std::fs::remove_dir_all(project.path("cache")).unwrap();
    std::fs::remove_dir_all(project.path("dist")).unwrap();
    project.build(&[]).success();
    assert_eq!(project.snapshot(), before);
}

fn a_kill_between_the_two_renames_is_repaired() {
    // On a file system that cannot exchange folders, a kill at the worst moment leaves this.
    let project = slow();
    let before = project.snapshot();
    std::fs::rename(project.tree(), project.path("dist/.tftp.previous")).unwrap();
    std::fs::create_dir(project.path("dist/.tftp.partial")).unwrap();
    std::fs::write(project.path("dist/.tftp.partial/ipxe.pxe"), "half").unwrap();
    change(&project, 1, false);
    project.config("slow", "#error stop\n");
    project.build(&[]).failure(7);
    assert_eq!(project.snapshot(), before);
    project.config("slow", "/* slow */\n");
    project.build(&[]).success();
    project.run(["verify"]).success();
    assert!(!project.path("dist/.tftp.partial").exists());
}

fn output_for_programs_is_one_object_a_line_and_quiet_is_quiet() {
    let project = Project::new();
    project.sites("[default]\nloaders = [\"ipxe.pxe\", \"undionly.kpxe\"]\nscript = \"boot.ipxe\"\n");
    let ran = project.build(&["--message-format", "json"]);
    let (advanced, others): (Vec<&str>, Vec<&str>) =
        ran.stdout.lines().partition(|line| line.contains(r#""event":"advanced""#));
    let objects = advanced.iter().filter(|line| line.contains(r#""total":8"#));
    assert!(objects.count() >= 8, "make tells how many objects of how many");
    says!(project, CliOutput { stdout: others.join("\n") + "\n", ..ran }, "events");
    shows!(project.sites(""), project.build_arguments(&["--message-format", "json"]), @r#"
    exit code 3, stdout:
    {"class":"bad-input","event":"error","exit-code":3,"findings":[{"help":["add the table [default] with `loaders` and `script`"],"location":{"file":"embed-scripts/sites.toml","key":"default","line":1},"message":"is missing"},{"help":["list the loaders, or none with []"],"location":{"file":"embed-scripts/sites.toml","key":"default.loaders","line":1},"message":"is missing"},{"help":["name a script in embed-scripts"],"location":{"file":"embed-scripts/sites.toml","key":"default.script","line":1},"message":"is missing"}],"help":[],"message":"embed-scripts/sites.toml:1: `default`: is missing\nembed-scripts/sites.toml:1: `default.loaders`: is missing\nembed-scripts/sites.toml:1: `default.script`: is missing"}
    "#);
    let project = Project::new();
    shows!(project, project.build_arguments(&["--quiet"]), @"exit code 0");
}
