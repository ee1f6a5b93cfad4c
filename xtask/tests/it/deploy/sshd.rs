//! Deployments to a real sshd: over connections that are cut, without a shell, and without extensions. If sshd is not
//! installed, every test here reports that it was skipped.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime};

use camino::{Utf8Path, Utf8PathBuf};
use netboot_fixtures::project::{CliOutput, Project, rewrite_manifest};
use netboot_fixtures::skip::program;
use netboot_fixtures::sshd::{
    BARE_SFTP, ConnectionFate, Line, Random, SFTP, SshServer, assert_deployed, deploy, deployment, files, grow,
    let_time_pass, project,
};
use netboot_loaders::base::plural::size;
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

netboot_fixtures::tests! {
    with project;
    asked,
    ; slow:
    cuts,
    changes,
    bare,
    two_at_once,
    umask,
    lost,
    killed,
    interrupted,
}

fn two_at_once(project: &Project) {
    let server = SshServer::start(project, "sshd", SFTP);
    let other = Project::new();
    other.write("embed-scripts/boot.ipxe", "#!ipxe\nshell\n");
    other.build(&[]).success();
    grow(&other, 7);
    let (one, two) = (files(&project.tree()), files(&other.tree()));
    let folder = project.path("served/tftp");
    let both = |second: &(dyn Fn() -> CliOutput + Sync)| {
        std::thread::scope(|scope| {
            let second = scope.spawn(second);
            [deploy(project, &server, &folder, &["--prune"]), second.join().unwrap()]
        })
    };
    for _ in 0..3 {
        let tree = other.tree();
        let ran = both(&|| deploy(project, &server, &folder, &["--prune", "--tree", tree.as_str()]));
        for ran in ran {
            ran.success();
        }
        let there = files(&folder);
        assert!(there == one || there == two);
    }
    // Two machines share no lock, but neither reports success when the result is wrong.
    for _ in 0..3 {
        let ran = both(&|| deploy(&other, &server, &folder, &["--prune"]));
        let there = files(&folder);
        assert!(there == one || there == two || ran.iter().any(|ran| ran.code != 0));
        let told = |ran: &CliOutput| ran.code == 0 || ran.code == 1 && ran.stderr.contains("\nhint: ");
        assert!(ran.iter().all(told), "{}\n{}", ran[0].stderr, ran[1].stderr);
        deploy(project, &server, &folder, &["--prune", "--replace"]).success();
        assert_deployed(project, &folder);
    }
}

fn umask(project: &Project) {
    let server = SshServer::start(project, "sshd", "internal-sftp -u 0077");
    let folder = project.path("served/new/tftp");
    let modes = || {
        let mut wrong = Vec::new();
        for path in ["served", "served/new", "served/new/tftp"] {
            wrong.extend(mode_unless(&project.path(path), 0o755));
        }
        for path in files(&folder).keys() {
            wrong.extend(mode_unless(&folder.join(path), 0o644));
            let folders = path.ancestors().skip(1).filter(|path| !path.as_str().is_empty());
            wrong.extend(folders.filter_map(|path| mode_unless(&folder.join(path), 0o755)));
        }
        wrong
    };
    let closed = |path: &Utf8Path| {
        format!(
            "warning: other users cannot read `{path}` at the target, so a server that runs as another user cannot serve it\nhint: "
        )
    };
    std::fs::set_permissions(&project.root, Permissions::from_mode(0o700)).unwrap();
    let ran = deploy(project, &server, &folder, &[]).warned();
    assert_eq!(modes(), Vec::<String>::new());
    assert!(ran.stderr.contains(&closed(&project.root)), "{}", ran.stderr);
    assert_deployed(project, &folder);
    let set = |path: &str, mode| std::fs::set_permissions(folder.join(path), Permissions::from_mode(mode)).unwrap();
    set("ipxe.efi", 0o600);
    set("sites/a", 0o2770);
    let plan = deploy(project, &server, &folder, &["--dry-run"]).warned().stdout;
    assert!(plan.contains("\nmode       ipxe.efi (other users get to read it)\nmode       sites/a ("), "{plan}");
    let ran = deploy(project, &server, &folder, &[]).warned();
    assert!(ran.stdout.contains(" is up to date: all "), "{}", ran.stdout);
    assert_eq!(modes(), [format!("{folder}/sites/a: 2775")], "what a group may do stays");
    set("sites/a", 0o755);
    std::fs::set_permissions(&project.root, Permissions::from_mode(0o755)).unwrap();
    set("", 0o700);
    let ran = deploy(project, &server, &folder, &[]).warned();
    assert!(ran.stderr.contains(&closed(&folder)), "{}", ran.stderr);
    set("", 0o755);
    let ran = deploy(project, &server, &folder, &[]).warned();
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
}

/// Returns the path and its permission bits, unless they are `wanted`.
fn mode_unless(path: &Utf8Path, wanted: u32) -> Option<String> {
    let mode = path.metadata().unwrap().permissions().mode() & 0o7777;
    (mode != wanted).then(|| format!("{path}: {mode:o}"))
}

fn cuts(project: &Project) {
    let server = SshServer::start(project, "sshd", SFTP);
    let folder = project.path("served/tftp");
    deploy(project, &server, &folder, &[]).success();
    let_time_pass(&folder);
    let old = files(&folder);
    grow(project, 2);
    let new = files(&project.tree());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let given = std::env::var("NETBOOT_LOADERS_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or(u64::from(now.subsec_nanos()) + 1);
    println!("the cuts are those of NETBOOT_LOADERS_TEST_SEED={seed}");
    let mut random = Random(seed);
    // Some cuts come while the connection is being made; in total, less passes than must be transferred in any case.
    let size: usize =
        new.iter().filter(|(path, content)| old.get(*path) != Some(content)).map(|(_, it)| it.len()).sum();
    let longest = 2 * size as u64 / 20;
    let limits = (0..20).map(|number| if number % 4 == 0 { 6_000 } else { longest });
    let fates: Vec<ConnectionFate> = limits.map(|limit| ConnectionFate::CutAfter(1 + random.below(limit))).collect();
    let line = Line::to(server.port, fates.clone());
    let done = AtomicBool::new(false);
    let (ran, looks) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| watch(&folder, &old, &new, &done));
        let more = ["--attempts", "20", "--message-format", "json"];
        let ran = CliOutput::from(deployment(project, &server, line.port, &folder, &more).output().unwrap());
        done.store(true, Ordering::SeqCst);
        (ran, watch.join().unwrap())
    });
    let result: serde_json::Value = serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(ran.code, 0, "seed {seed}, {fates:?}: {result}");
    assert_eq!((line.met(), result["reconnected"].as_u64()), (20, Some(20)), "seed {seed}: {result}");
    assert_deployed(project, &folder);
    assert!(looks > 0);
    let ran = project.run(["verify", folder.as_str()]).success();
    assert!(ran.stdout.contains(" files are as in the manifest, and nothing else is there\n"), "{}", ran.stdout);
    // More data arrived than strictly needed: some was in flight when a connection was cut.
    let again = deploy(project, &server, &folder, &[]).success();
    assert!(again.stdout.contains(" is up to date: all "), "{}", again.stdout);
}

/// Checks all files until `done`: each must be complete, and either old or new. Returns the number of checks.
fn watch(
    folder: &Utf8Path,
    old: &BTreeMap<Utf8PathBuf, Vec<u8>>,
    new: &BTreeMap<Utf8PathBuf, Vec<u8>>,
    done: &AtomicBool,
) -> usize {
    let mut looks = 0;
    while !done.load(Ordering::SeqCst) {
        for (path, content) in old {
            let found = std::fs::read(folder.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
            assert!(found == *content || Some(&found) == new.get(path), "{path} is neither the old nor the new one");
            looks += 1;
        }
    }
    looks
}

fn changes(project: &Project) {
    let server = SshServer::start(project, "sshd", SFTP);
    let folder = project.path("served/tftp");
    let address = server.address(server.port, &folder);
    let ran = deploy(project, &server, &folder, &["--dry-run"]).success();
    let count = files(&project.tree()).len() - 2;
    assert!(ran.stdout.starts_with("folder     .\nfolder     linked-objects\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("\nsend       ipxe.pxe ("), "{}", ran.stdout);
    assert!(ran.stdout.ends_with(&format!(" MiB\nnothing was done at {address}\n")), "{}", ran.stdout);
    assert!(
        ran.stdout
            .contains(&format!("\n{count} to send, 0 to replace, 0 unchanged; with SHA256SUMS and manifest.json: ")),
        "{}",
        ran.stdout
    );
    assert!(!folder.exists());
    let ran = deploy(project, &server, &folder, &[]).success();
    let bytes = size(files(&project.tree()).values().map(|content| content.len() as u64).sum());
    assert_eq!(
        ran.stdout,
        format!(
            "{address} has all {count} files: {count} sent, 0 replaced, 0 unchanged, 0 pruned\n{bytes} sent and read back\n"
        )
    );
    assert_deployed(project, &folder);
    let_time_pass(&folder);
    // Foreign files are ignored, whatever their names.
    std::fs::write(folder.join("ipxe.efi.0123456789ab.partial"), "mine").unwrap();
    std::fs::write(folder.join("pxelinux.0"), "mine").unwrap();
    let line = Line::to(server.port, []);
    let ran =
        CliOutput::from(deployment(project, &server, line.port, &folder, &["--prune"]).output().unwrap()).success();
    let there = server.address(line.port, &folder);
    assert_eq!(ran.stdout, format!("{there} is up to date: all {count} files are there\n"));
    assert!(line.passed() < 100_000, "{} bytes to see that nothing has changed", line.passed());
    // One site was removed, and one file has changed.
    let sites = String::from_utf8(project.read("embed-scripts/sites.toml")).unwrap();
    project.sites(&sites.replace("[site.b]\nloaders = [\"ipxe.efi\"]\n", ""));
    let kept = project.read("dist/tftp/ipxe.pxe");
    project.build(&[]).success();
    grow(project, 1);
    std::fs::write(project.tree().join("ipxe.pxe"), [&kept[..], b"more"].concat()).unwrap();
    rewrite_manifest(&project.tree());
    let ran = deploy(project, &server, &folder, &[]).success();
    assert!(ran.stdout.ends_with("\nobsolete   sites/b/ipxe.efi (stays: nobody asked to prune)\n"), "{}", ran.stdout);
    assert!(folder.join("sites/b/ipxe.efi").exists());
    let ran = deploy(project, &server, &folder, &["--prune"]).success();
    assert!(ran.stdout.contains(" 0 sent, 0 replaced, ") && ran.stdout.contains(" 1 pruned\n0 B"), "{}", ran.stdout);
    assert!(!folder.join("sites/b").exists());
    for mine in ["ipxe.efi.0123456789ab.partial", "pxelinux.0"] {
        assert_eq!(std::fs::read(folder.join(mine)).unwrap(), b"mine");
        std::fs::remove_file(folder.join(mine)).unwrap();
    }
    assert_deployed(project, &folder);
    let_time_pass(&folder);
    // A change with the modification time set back is found by reading the content.
    let spoiled = folder.join("ipxe.efi");
    let (time, mut content) = (spoiled.metadata().unwrap().modified().unwrap(), std::fs::read(&spoiled).unwrap());
    content[2_000] ^= 1;
    std::fs::write(&spoiled, content).unwrap();
    std::fs::File::options().append(true).open(&spoiled).unwrap().set_modified(time).unwrap();
    deploy(project, &server, &folder, &[]).success();
    let error = deploy(project, &server, &folder, &["--read-all"]).error(1);
    assert_eq!(
        error,
        format!(
            "`{address}` has files that somebody else put there or changed, and deploying would replace them: `ipxe.efi`\n\
             hint: move them away\nhint: or replace what is there with `--replace`\n\
             help: cargo xtask help how-to/deploy\n"
        )
    );
    deploy(project, &server, &folder, &["--read-all", "--replace"]).success();
    assert_deployed(project, &folder);
}

fn bare(project: &Project) {
    let server = SshServer::start(project, "sshd", BARE_SFTP);
    let folder = project.path("served/tftp");
    deploy(project, &server, &folder, &[]).success();
    assert_deployed(project, &folder);
    grow(project, 2);
    let ran = deploy(project, &server, &folder, &[]).success();
    assert!(ran.stdout.contains(" files: 0 sent, "), "{}", ran.stdout);
    assert_deployed(project, &folder);
}

fn lost(project: &Project) {
    let server = SshServer::start(project, "sshd", SFTP);
    let folder = project.path("served/tftp");
    deploy(project, &server, &folder, &[]).success();
    let_time_pass(&folder);
    let old = files(&folder);
    grow(project, 2);
    let line = Line::to(
        server.port,
        [ConnectionFate::CutAfter(200_000), ConnectionFate::CutAfter(2_000), ConnectionFate::CutAfter(2_000)],
    );
    let ran = CliOutput::from(deployment(project, &server, line.port, &folder, &["--attempts", "3"]).output().unwrap());
    let warning = format!("warning: the connection to `{}@127.0.0.1` was lost when ", server.user);
    assert!(
        ran.stderr.contains(&warning)
            && ran.stderr.contains(" of 364000 bytes of `ipxe.efi` were sent; connecting again\n"),
        "{}",
        ran.stderr
    );
    let error = ran.error(5);
    assert!(error.starts_with("`127.0.0.1` ended the connection\n  | "), "{error}");
    let line = Line::to(server.port, [ConnectionFate::CutAfter(200_000)]);
    let ran = CliOutput::from(deployment(project, &server, line.port, &folder, &["--attempts", "1"]).output().unwrap());
    let error = ran.error(5);
    let user = &server.user;
    assert!(error.starts_with(&format!("the connection to `{user}@127.0.0.1` was lost once when ")), "{error}");
    assert!(error.contains(" of 364000 bytes of `ipxe.efi` were ") && error.contains("\n  | "), "{error}");
    assert!(error.ends_with("\nhint: run the command again: it resumes where it stopped\n"), "{error}");
    for (path, content) in &old {
        assert!(std::fs::read(folder.join(path)).unwrap() == *content, "{path} is the old one");
    }
    let ran = deploy(project, &server, &folder, &["--dry-run"]).success();
    assert!(
        ran.stdout.starts_with("replace    ipxe.efi (355.47 KiB, ") && ran.stdout.contains(" of it there)\n"),
        "{}",
        ran.stdout
    );
    deploy(project, &server, &folder, &[]).success();
    assert_deployed(project, &folder);
}

/// Waits for a condition that holds shortly.
#[track_caller]
fn wait(what: &str, so: impl Fn() -> bool) {
    let started = Instant::now();
    while !so() {
        assert!(started.elapsed() < Duration::from_secs(60), "waited for a minute until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn killed(project: &Project) {
    let server = SshServer::start(project, "sshd", SFTP);
    let folder = project.path("served/tftp");
    deploy(project, &server, &folder, &[]).success();
    // For two files of one size and one second, the record cannot tell which is there, so a deployment sends it
    // again.
    let newest = files(&folder).into_keys().map(|path| folder.join(path).metadata().unwrap().modified().unwrap()).max();
    wait("the next second has begun", || newest.unwrap().elapsed().is_ok_and(|age| age > Duration::from_secs(1)));
    grow(project, 2);
    let line = Line::to(server.port, [ConnectionFate::DeadAfter(900_000)]);
    let mut command = deployment(project, &server, line.port, &folder, &[]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait("the line is dead", || line.met() == 1);
    kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
    child.wait().unwrap();
    let whole = files(&folder);
    let ran = deploy(project, &server, &folder, &["--message-format", "json"]).success();
    let result: serde_json::Value = serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap();
    let plan = &result["plan"];
    let sent: Vec<&str> = ["send", "replace"]
        .iter()
        .flat_map(|what| plan[what].as_array().unwrap())
        .map(|path| path.as_str().unwrap())
        .collect();
    let new = files(&project.tree());
    // The server may have finished another file since the kill: requests sent before it.
    let there: Vec<&Utf8PathBuf> =
        whole.iter().filter(|(path, content)| new.get(*path) == Some(content)).map(|(path, _)| path).collect();
    assert!(!there.is_empty() && !sent.is_empty(), "{result}");
    let again: Vec<_> = there.iter().filter(|path| sent.contains(&path.as_str())).collect();
    assert!(again.is_empty(), "what was there is not sent again, as {again:?} was: {result}");
    assert_deployed(project, &folder);
}

fn interrupted(project: &Project) {
    let server = SshServer::start(project, "sshd", SFTP);
    let folder = project.path("served/tftp");
    // One while ssh connects, one in the middle of a file.
    for fate in [ConnectionFate::DeadAfter(100), ConnectionFate::DeadAfter(300_000)] {
        let line = Line::to(server.port, [fate]);
        let mut command = deployment(project, &server, line.port, &folder, &[]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        wait("the line is dead", || line.met() == 1);
        let started = Instant::now();
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{fate:?}");
        assert!(started.elapsed() < Duration::from_secs(20), "it took {:?}", started.elapsed());
        wait("ssh is gone", || !runs(&server.client_config()));
    }
    deploy(project, &server, &folder, &[]).success();
    assert_deployed(project, &folder);
}

/// Checks whether the command line of a process contains `path`.
fn runs(path: &Utf8Path) -> bool {
    let commands =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok());
    commands.into_iter().any(|command| String::from_utf8_lossy(&command).contains(path.as_str()))
}

fn asked(project: &Project) -> Result<(), String> {
    program("setsid")?;
    let server = SshServer::start(project, "sshd", SFTP);
    let folder = project.path("served/tftp");
    let key = project.path("sshd/user");
    let locked = Command::new("ssh-keygen").args(["-q", "-p", "-P", "", "-N", "secret", "-f", key.as_str()]).status();
    assert!(locked.unwrap().success());
    let mut terminal = std::fs::File::from(openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap());
    grantpt(&terminal).and_then(|()| unlockpt(&terminal)).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
    let other_end = std::fs::File::options().read(true).write(true).open(name).unwrap();
    let deployment = deployment(project, &server, server.port, &folder, &["--ssh-option", "BatchMode=no"]);
    let mut command = Command::new("setsid");
    command.args(["--ctty", "--wait"]).arg(deployment.get_program()).args(deployment.get_args());
    let mut child = command.stdin(other_end).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // `command` holds the other end. No other process may: when the child closes it, the terminal must end.
    drop(command);
    let question = format!("Enter passphrase for key '{key}': ");
    let (sender, heard) = mpsc::channel();
    let mut ears = terminal.try_clone().unwrap();
    std::thread::spawn(move || {
        let mut piece = [0; 256];
        while let Ok(count @ 1..) = ears.read(&mut piece) {
            let _ = sender.send(piece[..count].to_vec());
        }
    });
    let mut said = Vec::new();
    while !String::from_utf8_lossy(&said).contains(&question) {
        let piece = heard.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|_| {
            child.kill().unwrap();
            panic!("nobody was asked: {}", String::from_utf8_lossy(&said))
        });
        said.extend(piece);
    }
    terminal.write_all(b"secret\n").unwrap();
    CliOutput::from(child.wait_with_output().unwrap()).success();
    assert_deployed(project, &folder);
    Ok(())
}
