//! File systems that are full, read-only, or cannot exchange folders: the served tree stays, and the next run
//! continues. The tests create them in a mount namespace; if the kernel does not permit one for this user, they
//! report that.

use netboot_fixtures::harness::xtask;
use netboot_fixtures::skip;
use std::collections::BTreeMap;
use std::io::Read;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use camino::{Utf8Path, Utf8PathBuf};
use netboot_fixtures::mirror::{METADATA, MirrorProject};
use netboot_fixtures::project::{CliOutput, Project};
use netboot_fixtures::server::{ServedRequest, TestServer};
use serde_json::{Value, json};

netboot_fixtures::tests! {
    mirror,
    read_only,
    full,
    full_temporary,
    full_temporary_with_an_output,
    read_only_cache,
    without_exchange,
    mounted_again,
    ; slow:
    cache,
}

/// Name of the deployment record.
const RECORD: &str = "netboot-loaders-deployed.json";

/// Returns the address of git's own server for the repository at `path`. It runs as long as the test program.
fn git_server(path: &Utf8Path) -> Result<String, String> {
    skip::program("git")?;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("git://{}/ipxe.git", listener.local_addr().unwrap());
    let path = path.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut length = [0; 4];
            stream.read_exact(&mut length).unwrap();
            let length = usize::from_str_radix(std::str::from_utf8(&length).unwrap(), 16).unwrap();
            stream.read_exact(&mut vec![0; length - 4]).unwrap();
            let mut command = Command::new("git");
            command.args(["-c", "uploadpack.allowAnySHA1InWant=true", "-c", "safe.directory=*", "upload-pack"]);
            command.arg(&path).stdin(OwnedFd::from(stream.try_clone().unwrap())).stdout(OwnedFd::from(stream));
            let mut child = command.stderr(Stdio::null()).spawn().unwrap();
            std::thread::spawn(move || child.wait());
        }
    });
    Ok(url)
}

/// The cache on a disk that becomes full at some point: before there is a repository, within a pack or a download, or
/// while the source is written.
fn cache() -> Result<(), String> {
    skip::mount_namespaces()?;
    let project = Project::new();
    // Incompressible data, so that there is no space for a pack of it.
    let mut seed = 7_u32;
    let mut noise = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'!' + (seed >> 24) as u8 % 90)
    };
    project.write("ipxe/src/noise", &(0..400_000).map(|_| noise()).collect::<String>());
    project.edit_makefile(|makefile| format!("{makefile}\n"));
    let archive = project.read("syslinux.zip");
    let server = TestServer::start(move |_, answer| answer.whole("200 OK", &[], &archive));
    let cache = project.path("cache");
    std::fs::create_dir_all(&cache).unwrap();
    let (local, bundle, url) = (project.path("ipxe"), project.path("bundle.tar.gz"), server.url("/syslinux.zip"));
    let other = project.path("other");
    let origins = ["--ipxe-url", local.as_str(), "--syslinux-archive", &url, "--cache-dir", other.as_str()];
    project.run([&["bundle-sources", "--out", bundle.as_str()], &origins[..]].concat()).success();
    for (option, url) in [
        ("--ipxe-url", git_server(&local)?),
        ("--ipxe-url", local.into_string()),
        ("--sources-from", bundle.into_string()),
    ] {
        let archive = server.url("/syslinux.zip");
        let origins = ["--syslinux-archive", &archive];
        let of_web = if option == "--ipxe-url" { &origins[..] } else { &[] };
        let fetch = [&["fetch", option, &url], of_web].concat();
        let mut full = 0;
        for kilobytes in (8..2000).step_by(28) {
            let command = project.command(&fetch);
            let mut unshare = Command::new("unshare");
            let script = format!("mount -t tmpfs -o size={kilobytes}k none {cache}; exec \"$@\"");
            unshare.args(["-rm", "sh", "-ec", &script, "sh"]).arg(command.get_program()).args(command.get_args());
            let ran = CliOutput::from(unshare.env("no_proxy", "*").output().unwrap());
            if ran.code == 0 {
                break;
            }
            let error = ran.error(1);
            assert!(error.contains("No space left on device"), "{kilobytes} kB, {url}: {error}");
            assert!(
                error.contains(&format!("hint: free space on the file system of `{cache}")),
                "{kilobytes} kB: {error}"
            );
            assert!(error.contains("choose another cache folder with `--cache-dir`"), "{kilobytes} kB: {error}");
            full += 1;
        }
        assert!((10..60).contains(&full), "{full}");
    }
    Ok(())
}

fn mirror() -> Result<(), String> {
    skip::mount_namespaces()?;
    let mirror = MirrorProject::new();
    mirror.publisher.release("44.2");
    mirror.publisher.offer("/second.json", mirror.publisher.file(METADATA));
    mirror.publisher.release("44.1");
    let (dest, second) = (mirror.dest(), mirror.publisher.server.url("/second.json"));
    std::fs::create_dir(&dest).unwrap();
    // Space for one set of 210 kB, but not for two; more after a failure.
    let script = format!(
        "mount -t tmpfs -o size=320k none {dest}; \"$@\" >&2; if \"$@\" --stream-url {second}; then exit 99; fi\n\
         cat {dest}/current/version.ipxe; du -b {dest}/.netboot-loaders/partial/44.2/*.part | cut -f1\n\
         mount -o remount,size=2m {dest}; \"$@\" --stream-url {second}; cat {dest}/current/version.ipxe"
    );
    let command = mirror.command(&[]);
    let mut unshare = Command::new("unshare");
    unshare.args(["-rm", "sh", "-ec", &script, "sh"]).arg(command.get_program()).args(command.get_args());
    for proxy in ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        unshare.env_remove(proxy);
    }
    let ran = CliOutput::from(unshare.output().unwrap()).success();
    let part = format!("{dest}/.netboot-loaders/partial/44.2/rootfs.x86_64.img.part");
    let folder = format!("{dest}/.netboot-loaders/partial/44.2");
    assert!(
        ran.stderr.contains(&format!(
            "error: cannot write `{part}`\n  caused by: No space left on device (os error 28)\n\
             hint: free space on the file system of `{folder}`\nhint: or choose another folder with `--dest`\n"
        )),
        "{}",
        ran.stderr
    );
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines[..2], ["#!ipxe", "set fedora-coreos-version 44.1"], "{}", ran.stdout);
    let arrived: usize = lines[2].parse().unwrap();
    let outcome: Value = serde_json::from_str(lines[3]).unwrap();
    assert_eq!((&outcome["previous"], &outcome["changed"]), (&"44.1".into(), &json!(true)));
    assert_eq!(lines[4..], ["#!ipxe", "set fedora-coreos-version 44.2"]);
    let resumed = mirror.publisher.server.requests().iter().filter_map(ServedRequest::resumes_at).max();
    assert_eq!(resumed, Some(arrived));
    Ok(())
}

/// Returns a project whose tree was deployed to a folder and has changed since, the folder, and the files in it.
fn deployed() -> (Project, Utf8PathBuf, BTreeMap<Utf8PathBuf, Vec<u8>>) {
    let project = Project::new();
    project.build(&[]).success();
    let folder = project.path("srv/tftp");
    project.run(["deploy", folder.as_str()]).success();
    let old = files(&folder);
    project.write("embed-scripts/boot.ipxe", "#!ipxe\nshell\n");
    project.build(&[]).success();
    (project, folder, old)
}

fn files(folder: &Utf8Path) -> BTreeMap<Utf8PathBuf, Vec<u8>> {
    Project::files_of(folder).into_iter().filter(|(path, _)| path != RECORD).collect()
}

/// Deploys to `folder` after `prepare`, a shell script with its own mount namespace, has changed the file systems.
fn in_namespace(project: &Project, folder: &Utf8Path, prepare: &str) -> CliOutput {
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-ec", &format!("{prepare}; exec \"$@\""), "sh", xtask()]);
    command.args(["--project", project.root.as_str(), "deploy", folder.as_str()]);
    CliOutput::from(command.output().unwrap())
}

fn read_only() -> Result<(), String> {
    skip::mount_namespaces()?;
    let (project, folder, old) = deployed();
    let read_only = format!("mount --bind {folder} {folder}; mount -o remount,bind,ro {folder}");
    assert_eq!(
        in_namespace(&project, &folder, &read_only).error(1),
        format!(
            "cannot write `{folder}/{RECORD}.partial`: Read-only file system (os error 30)\n\
             hint: let this user write there, or choose another folder\n"
        )
    );
    assert!(files(&folder) == old);
    Ok(())
}

fn full() -> Result<(), String> {
    skip::mount_namespaces()?;
    let (project, folder, old) = deployed();
    let keep = project.path("keep");
    let full = format!(
        "cp -r {folder} {keep}; mount -t tmpfs -o size=1m none {folder}; cp -r {keep}/. {folder}; \
         cat /dev/zero >{folder}/filler 2>/dev/null || truncate -s -4k {folder}/filler; \
         set -- sh -c '\"$@\"; code=$?; rm {folder}/filler; cp -r {folder} {keep}.after; exit $code' sh \"$@\""
    );
    let error = in_namespace(&project, &folder, &full).error(1);
    assert!(error.starts_with(&format!("cannot write `{folder}/")), "{error}");
    assert!(
        error.ends_with(
            ": No space left on device (os error 28)\n\
             hint: free space there, and run the command again: it resumes where it stopped\n"
        ),
        "{error}"
    );
    let new = files(&project.tree());
    for (path, content) in files(&project.path("keep.after")) {
        let whole = old.get(&path) == Some(&content) || new.get(&path) == Some(&content);
        assert!(whole || path.as_str().ends_with(".partial"), "{path}");
    }
    project.run(["deploy", folder.as_str()]).success();
    assert!(files(&folder) == files(&project.tree()));
    Ok(())
}

fn full_temporary() -> Result<(), String> {
    skip::mount_namespaces()?;
    let project = Project::new();
    project.build(&["--archive"]).success();
    let tarball = project.path(&format!("dist/netboot-loaders-{}-tftp.tar.gz", env!("CARGO_PKG_VERSION")));
    let (folder, scratch) = (project.path("srv/tftp"), project.path("scratch"));
    std::fs::create_dir(&scratch).unwrap();
    for (command, arguments) in [
        ("deploy", vec![folder.as_str(), "--tree", tarball.as_str()]),
        ("verify", vec!["--against-make", tarball.as_str()]),
    ] {
        let script = format!("mount -t tmpfs -o size=16k none {scratch}; export TMPDIR={scratch}; exec \"$@\"");
        let mut unshare = Command::new("unshare");
        unshare.args(["-rm", "sh", "-ec", &script, "sh", xtask()]);
        unshare.args(["--project", project.root.as_str(), "--cache-dir", project.path("cache").as_str(), command]);
        let error = CliOutput::from(unshare.args(arguments).output().unwrap()).error(1);
        assert!(error.starts_with(&format!("cannot write `{scratch}/")), "{error}");
        let hint = format!(
            "\nhint: free space on the file system of `{scratch}`\nhint: or choose another folder with the variable `TMPDIR`\n"
        );
        assert!(
            error.contains("`\n  caused by: No space left on device (os error 28)") && error.ends_with(&hint),
            "{error}"
        );
        assert_eq!(error.matches("No space left").count(), 1, "{error}");
    }
    assert!(!folder.exists());
    Ok(())
}

/// What a run has for itself alone is temporary, even if an output is in the same folder.
fn full_temporary_with_an_output() -> Result<(), String> {
    skip::mount_namespaces()?;
    let project = Project::new();
    let scratch = project.path("scratch");
    std::fs::create_dir(&scratch).unwrap();
    let server = TestServer::start(|_, answer| answer.whole("200 OK", &[], "#".repeat(20_000).as_bytes()));
    let script = format!("mount -t tmpfs -o size=4k none {scratch}; export TMPDIR={scratch}; exec \"$@\"");
    let command = project.command(["lint", "--sarif", scratch.join("sarif").as_str(), &server.url("/x.ipxe")]);
    let mut unshare = Command::new("unshare");
    unshare.args(["-rm", "sh", "-ec", &script, "sh"]).arg(command.get_program()).args(command.get_args());
    let error = CliOutput::from(unshare.env("no_proxy", "*").output().unwrap()).error(1);
    let hint = format!(
        "\nhint: free space on the file system of `{scratch}`\nhint: or choose another folder with the variable `TMPDIR`\n"
    );
    assert!(error.starts_with(&format!("cannot write `{scratch}/netboot-loaders-run-")), "{error}");
    assert!(error.ends_with(&hint), "{error}");
    Ok(())
}

fn read_only_cache() -> Result<(), String> {
    skip::mount_namespaces()?;
    let project = Project::new();
    project.build(&[]).success();
    let cache = project.path("cache");
    let script = format!("mount --bind {cache} {cache}; mount -o remount,bind,ro {cache}; exec \"$@\"");
    let run = |arguments: &[&str]| {
        let mut unshare = Command::new("unshare");
        unshare.args(["-rm", "sh", "-ec", &script, "sh", xtask()]);
        unshare.args(["--project", project.root.as_str(), "--cache-dir", cache.as_str()]);
        CliOutput::from(unshare.args(arguments).output().unwrap())
    };
    let out = project.path("other/tftp");
    let build = project.build_arguments(&["--out", out.as_str()]);
    let build: Vec<&str> = build.iter().map(AsRef::as_ref).collect();
    // If nothing is missing, nothing is written.
    for arguments in [&build[..], &["fetch", "--offline"], &["fetch"]] {
        run(arguments).success();
    }
    let mut blobs = std::fs::read_dir(cache.join("blobs")).unwrap();
    std::fs::remove_file(blobs.next().unwrap().unwrap().path()).unwrap();
    for arguments in [&build[..], &["fetch", "--offline"]] {
        let error = run(arguments).error(1);
        assert!(error.contains("\n  caused by: Read-only file system (os error 30)\nhint: make `"), "{error}");
        assert!(error.ends_with(" writable\nhint: or choose another cache folder with `--cache-dir`\n"), "{error}");
    }
    Ok(())
}

/// Like SSHFS: one folder replaces another with two renames.
/// A folder of the same file system that is mounted once more cannot be exchanged either.
fn mounted_again() -> Result<(), String> {
    skip::mount_namespaces()?;
    let project = Project::new();
    project.add_book("index.html");
    let (behind, out) = (project.path("behind"), project.path("out/r"));
    for folder in [&behind, &out] {
        std::fs::create_dir_all(folder).unwrap();
    }
    for (what, name) in [("build-loaders", "tree"), ("release", "release")] {
        let mut arguments = project.build_arguments(&["--out", out.as_str()]);
        arguments[0] = what.into();
        arguments.extend((what == "release").then(|| "--dry-run".into()));
        let command = project.command(&arguments);
        let mut unshare = Command::new("unshare");
        let script = format!("mount --bind {behind} {out}; exec \"$@\"");
        unshare.args(["-rm", "sh", "-ec", &script, "sh"]).arg(command.get_program()).args(command.get_args());
        let error = CliOutput::from(unshare.env("PATH", project.path_with_tools()).output().unwrap()).error(1);
        let wanted = format!("`{out}` is a mount point, and a {name} is published by exchanging folders\n");
        assert!(error.contains(&wanted), "{error}");
        let left: Vec<_> = std::fs::read_dir(project.path("out")).unwrap().map(|it| it.unwrap().file_name()).collect();
        assert!(!left.iter().any(|name| name.to_string_lossy().contains("partial")), "{left:?}");
    }
    Ok(())
}

fn without_exchange() -> Result<(), String> {
    let bindfs = skip::program("bindfs")?;
    skip::mount_namespaces()?;
    let project = Project::new();
    project.add_book("index.html");
    let (behind, dist) = (project.path("behind"), project.path("dist"));
    for folder in [&behind, &dist] {
        std::fs::create_dir(folder).unwrap();
    }
    // When the first process of that namespace ends, the file system ends, too.
    let script = format!(
        "{bindfs} {behind} {dist}; mkdir {dist}/a {dist}/b\n\
         perl -e 'exit(syscall(316, -100, $ARGV[0], -100, $ARGV[1], 2) == 0)' {dist}/a {dist}/b\n\
         rmdir {dist}/a {dist}/b; \"$@\""
    );
    let run = |arguments: &[String]| {
        let command = project.command(arguments);
        let mut unshare = Command::new("unshare");
        unshare.args(["-rmpf", "--kill-child", "sh", "-ec", &script, "sh"]).arg(command.get_program());
        unshare.env("PATH", project.path_with_tools());
        CliOutput::from(unshare.args(command.get_args()).output().unwrap()).warned()
    };
    let release = |folder: &str| {
        let mut arguments = project.build_arguments(&["--dry-run", "--out", dist.join(folder).as_str()]);
        arguments[0] = "release".into();
        arguments
    };
    let mut digests = Vec::new();
    for script in ["#!ipxe\ndhcp\n", "#!ipxe\nshell\n"] {
        project.write("embed-scripts/boot.ipxe", script);
        run(&project.build_arguments(&[]));
        run(&release("release"));
        let tree = files(&behind.join("tftp"));
        run(&["verify".into()]);
        let released = files(&behind.join("release"));
        let manifest = Utf8Path::new("manifest.json");
        assert_eq!(tree[manifest], released[manifest]);
        digests.push((tree, released));
    }
    assert!(digests[0].0 != digests[1].0 && digests[0].1 != digests[1].1);
    let left = std::fs::read_dir(&behind).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let odd: Vec<String> = left.filter(|name| name.ends_with("previous") || name.ends_with("partial")).collect();
    assert_eq!(odd, [""; 0]);
    Ok(())
}
