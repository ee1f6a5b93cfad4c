//! The target of a published tree: what else may be there, and what it looks like afterwards.

use netboot_fixtures::harness::xtask;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use netboot_fixtures::project::{CliOutput, Project};
use netboot_fixtures::snapshot::redacted;
use netboot_fixtures::{same, shows};

netboot_fixtures::tests! {
    what_is_no_tree_is_told_from_a_tree_that_is_not_whole,
    ssh_addresses_are_refused_and_not_taken_for_paths,
    nothing_is_written_over_a_device_the_choices_or_the_cache,
    an_output_replaces_neither_a_link_nor_the_file_of_somebody_else,
    only_a_tree_of_this_tool_is_replaced,
    what_somebody_put_into_a_tree_stays_unless_it_is_given_up,
    a_link_to_a_tree_is_followed,
    every_server_may_read_the_tree_whatever_the_umask,
    a_tarball_that_is_cut_or_goes_on_is_no_tarball,
    another_compiler_in_the_path_is_noticed,
    a_cache_behind_a_link_is_the_same_cache,
    a_refusal_leaves_nothing_and_no_lock_is_waited_for_that_is_none,
}

fn what_is_no_tree_is_told_from_a_tree_that_is_not_whole() {
    let project = Project::new();
    project.write("page.tar.gz", "<html>404</html>");
    project.write("folder/file", "");
    shows!(project, ["verify", project.path("page.tar.gz").as_str()], @"
    exit code 8, stderr:
    error: `PROJECT/page.tar.gz` is neither a tree nor the tarball of one: invalid gzip header
    hint: build the tree with `cargo xtask build-loaders`
    ");
    shows!(project, ["verify", project.path("folder").as_str()], @"
    exit code 8, stderr:
    error: `PROJECT/folder` has no manifest.json
    hint: build the tree with `cargo xtask build-loaders`
    ");
    shows!(project, ["verify"], @"
    exit code 8, stderr:
    error: there is no tree `PROJECT/dist/tftp`
    hint: build the tree with `cargo xtask build-loaders`
    ");
}

fn ssh_addresses_are_refused_and_not_taken_for_paths() {
    let project = Project::new();
    for url in ["git@git.example.net:ipxe.git", "ssh://git@git.example.net/ipxe.git"] {
        let archive = project.path("syslinux.zip");
        let ran = project.run(["build-loaders", "--ipxe-url", url, "--syslinux-archive", archive.as_str()]);
        assert_eq!(
            ran.error(5),
            format!(
                "cannot fetch from `{}`: ssh addresses are not supported\n\
                 hint: check the address\nhint: or name a mirror or a local clone with `--ipxe-url`\n",
                url.replace("git@", "")
            )
        );
    }
}

fn nothing_is_written_over_a_device_the_choices_or_the_cache() {
    let project = Project::new();
    project.build(&[]).success();
    let pins = project.read("vendor/pins.toml");
    let socket = project.path("socket");
    let _listening = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for (command, out, found) in [
        ("bundle-sources", "vendor/pins.toml", "/vendor` holds inputs of the build or the cache"),
        ("ignition", "embed-scripts/sites.toml", "/embed-scripts` holds inputs of the build or the cache"),
        ("build-loaders", "cache/tree", "/cache` holds inputs of the build or the cache"),
        ("build-loaders", "embed-scripts/new/tree", "/embed-scripts` holds inputs of the build or the cache"),
        ("bundle-sources", "socket", "found a device, a FIFO or a socket"),
        ("ignition", "/dev/null", "found a device, a FIFO or a socket"),
    ] {
        let out = project.path(out);
        let error = project.run([command, "--out", out.as_str()]).error(1);
        assert!(error.starts_with(&format!("cannot write to `{out}`: ")) && error.contains(found), "{error}");
    }
    for target in ["vendor", "embed-scripts/new", "cache/blobs", "cache/new"] {
        let target = project.path(target);
        let error = project.run(["deploy", "--replace", target.as_str()]).error(1);
        let wanted = format!("cannot write to `{target}`: `{}", project.root);
        assert!(error.starts_with(&wanted) && error.contains("` holds inputs of the build or the cache"), "{error}");
    }
    assert!(!project.path("embed-scripts/new").exists() && !project.path("cache/new").exists());
    assert_eq!(project.read("vendor/pins.toml"), pins);
    assert!(socket.exists() && !project.path("cache/tree").exists());
}

fn an_output_replaces_neither_a_link_nor_the_file_of_somebody_else() {
    let project = Project::new();
    project.write("target", "precious").write("theirs", "precious").write("folder/file", "precious");
    project.write("json", "{\n  \"name\": \"precious\"\n}\n");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(b"precious").unwrap();
    std::fs::write(project.path("theirs.tar.gz"), gzip.finish().unwrap()).unwrap();
    // As code hosts pack a project.
    project.write("netboot-loaders-main/README.md", "precious");
    let mut tar = std::process::Command::new("tar");
    tar.args(["-czf", "archive.tar.gz", "netboot-loaders-main"]).current_dir(&project.root);
    assert!(tar.status().unwrap().success());
    symlink("target", project.path("link")).unwrap();
    symlink("/proc/self/fd/1", project.path("stream")).unwrap();
    for (command, option) in
        [("lint", "--sarif"), ("rehearse", "--record"), ("bundle-sources", "--out"), ("ignition", "--out")]
    {
        for (name, found, remedy) in [
            ("link", "a symbolic link to `target`", "name the file itself"),
            ("stream", "a symbolic link to `/proc/self/fd/1`", "name the file itself"),
            ("theirs", "a file that this command has not written", "name another file, or remove this one"),
            ("json", "a file that this command has not written", "name another file, or remove this one"),
            ("theirs.tar.gz", "a file that this command has not written", "name another file, or remove this one"),
            ("archive.tar.gz", "a file that this command has not written", "name another file, or remove this one"),
            ("folder", "a folder, wanted the path of a file", "name a file in it"),
            ("folder/..", "a folder, wanted the path of a file", "name a file in it"),
            ("new/", "a slash at its end, wanted the path of a file", "leave the slash out"),
        ] {
            let out = project.path(name);
            let stdout = tempfile::tempfile().unwrap();
            let mut run = project.command([command, option, out.as_str()]);
            let error = CliOutput::from(run.stdout(stdout.try_clone().unwrap()).output().unwrap()).error(1);
            assert_eq!(error, format!("cannot write to `{out}`: found {found}\nhint: {remedy}\n"), "{command}");
            assert_eq!(stdout.metadata().unwrap().len(), 0);
        }
    }
    for file in ["target", "theirs", "folder/file"] {
        assert_eq!(project.read(file), b"precious");
    }
    assert_eq!(Project::files_of(&project.path("folder")).len(), 1);
    assert!(!project.path("new").exists());
    assert_eq!(project.path("link").read_link_utf8().unwrap(), "target");
    assert_eq!(project.path("stream").read_link_utf8().unwrap(), "/proc/self/fd/1");
    // An empty file and the command's own earlier output are replaced.
    let (ipxe, archive) = (project.path("ipxe"), project.path("syslinux.zip"));
    let origins = ["--ipxe-url", ipxe.as_str(), "--syslinux-archive", archive.as_str()];
    for (arguments, beginning) in [
        (&["lint", "--offline", "--sarif"][..], &b"{"[..]),
        (&[&["bundle-sources", "--offline"], &origins[..], &["--out"]].concat(), b"\x1f\x8b"),
    ] {
        let out = project.write("own", "").path("own");
        for _ in 0..2 {
            project.run([arguments, &[out.as_str()]].concat()).success();
            assert!(project.read("own").starts_with(beginning), "{arguments:?}");
        }
    }
}

fn only_a_tree_of_this_tool_is_replaced() {
    let project = Project::new();
    project.write("dist/tftp/manifest.json", "{ \"name\": \"a web application\" }");
    shows!(project.write("dist/tftp/src/app.js", "precious"), project.build_arguments(&[]), @"
    exit code 1, stderr:
    error: `PROJECT/dist/tftp` is not a tree of this tool: it has no manifest
    hint: choose another folder with `--out`
    hint: or move that one away
    ");
    assert_eq!(project.read("dist/tftp/src/app.js"), b"precious");
}

fn what_somebody_put_into_a_tree_stays_unless_it_is_given_up() {
    let project = Project::new();
    project.build(&[]).success();
    symlink("ipxe.efi", project.tree().join("boot.efi")).unwrap();
    shows!(project, project.build_arguments(&[]), @"
    exit code 1, stderr:
    error: `PROJECT/dist/tftp` has files that this tool did not put there, and publishing would remove them: `boot.efi`
    hint: move them away
    hint: or replace what is there with `--replace`
    ");
    let manifest = String::from_utf8(project.read("dist/tftp/manifest.json")).unwrap();
    project.write("dist/tftp/manifest.json", &manifest.replace("\"files\"", "\"later-key\": 1, \"files\""));
    let error = project.build(&[]).error(1);
    assert!(
        error.contains("cannot be read: unknown field `later-key`") && error.contains("with `--replace`\n"),
        "{error}"
    );
    assert!(project.tree().join("boot.efi").is_symlink());
    project.build(&["--replace"]).success();
    assert!(!project.tree().join("boot.efi").exists());
    project.run(["verify"]).success();
}

fn a_link_to_a_tree_is_followed() {
    let project = Project::new();
    std::fs::create_dir_all(project.path("srv/tftp")).unwrap();
    std::fs::create_dir_all(project.path("dist")).unwrap();
    symlink(project.path("srv/tftp"), project.tree()).unwrap();
    project.build(&[]).success();
    project.write("embed-scripts/boot.ipxe", "#!ipxe\nshell\n");
    project.build(&[]).success();
    assert!(project.tree().is_symlink());
    assert!(String::from_utf8_lossy(&project.read("srv/tftp/ipxe.efi")).contains("shell"));
    std::fs::remove_dir_all(project.path("srv")).unwrap();
    shows!(project, project.build_arguments(&[]), @r"
    exit code 1, stderr:
    error: cannot follow the link `PROJECT/dist/tftp`
      caused by: No such file or directory (os error 2)
    ");
}

fn every_server_may_read_the_tree_whatever_the_umask() {
    let project = Project::new();
    project.sites("[default]\nloaders = []\n[site.a]\nscript = \"boot.ipxe\"\nloaders = [\"ipxe.pxe\"]\n");
    let arguments = project.build_arguments(&["--archive", "--index", "--out", project.path("new/dist/tftp").as_str()]);
    let tree = project.path("new/dist/tftp");
    let mut command = Command::new("sh");
    command.args(["-c", "umask 077; exec \"$@\"", "sh", xtask(), "--project", project.root.as_str()]);
    command.args(["--cache-dir", project.path("cache").as_str()]).args(arguments);
    CliOutput::from(command.output().unwrap()).success();
    let archive = format!("../netboot-loaders-{}-tftp.tar.gz", env!("CARGO_PKG_VERSION"));
    let wanted = [
        ("../..", 0o755),
        ("..", 0o755),
        ("../index.html", 0o644),
        (&archive, 0o644),
        ("", 0o755),
        ("sites", 0o755),
        ("sites/a", 0o755),
        ("sites/a/ipxe.pxe", 0o644),
        ("SHA256SUMS", 0o644),
    ];
    let assert_modes = || {
        for (path, mode) in wanted {
            let found = tree.join(path).metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(found, mode, "{path}");
        }
    };
    assert_modes();
    // A later run repairs changed files, even if there is nothing else to do.
    for path in ["", "sites", "sites/a/ipxe.pxe"] {
        std::fs::set_permissions(tree.join(path), std::fs::Permissions::from_mode(0o700)).unwrap();
    }
    let said = project.run(["verify", tree.as_str()]).warned().stderr;
    assert!(said.starts_with(&format!("warning: other users cannot read `{tree}`, so ")), "{said}");
    let ran = CliOutput::from(command.output().unwrap()).success();
    assert!(ran.stdout.contains(" is up to date"), "{}", ran.stdout);
    std::fs::set_permissions(tree.join("sites/a/ipxe.pxe"), std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_modes();
    assert_eq!(project.run(["verify", tree.as_str()]).success().stderr, "");
}

fn a_tarball_that_is_cut_or_goes_on_is_no_tarball() {
    let project = Project::new();
    // Leftovers of a killed run are removed, but only those that are certainly the tool's own.
    for name in [".partial-aB3xYz", ".partial-mine", "partial"] {
        project.write(&format!("dist/{name}"), "left");
    }
    let ran = project.build(&["--archive", "--index"]).success();
    let page = String::from_utf8(project.read("dist/index.html")).unwrap();
    redacted(&project.root, || same!(page, "index.html"));
    let left = [".partial-aB3xYz", ".partial-mine", "partial"].map(|name| project.path("dist").join(name).exists());
    assert_eq!(left, [false, true, true]);
    let path = project.path(&format!("dist/netboot-loaders-{}-tftp.tar.gz", env!("CARGO_PKG_VERSION")));
    assert!(ran.stdout.contains(path.as_str()));
    let whole = std::fs::read(&path).unwrap();
    let mut spoiled = whole.clone();
    let crc = spoiled.len() - 6;
    spoiled[crc] ^= 1;
    for bytes in [&whole[..whole.len() - 1], &whole[..whole.len() / 2], &spoiled, &[&whole[..], b"more"].concat()] {
        std::fs::write(&path, bytes).unwrap();
        let error = project.run(["verify", path.as_str()]).error(8);
        assert!(error.contains("` is neither a tree nor the tarball of one: "), "{error}");
    }
    project.write("embed-scripts/boot.ipxe", "#!ipxe\nshell\n");
    let stderr = project.build(&[]).warned().stderr;
    assert!(
        stderr.contains(&format!(
            "warning: `{path}` is the tarball of an earlier tree\nhint: pack a new one with `--archive`"
        )),
        "{stderr}"
    );
}

fn another_compiler_in_the_path_is_noticed() {
    let project = Project::new();
    project.build(&[]).success();
    let tools = project.path("tools");
    std::fs::create_dir(&tools).unwrap();
    let path = format!("{tools}:/usr/bin:/bin");
    let build = |project: &Project| {
        let arguments = project.build_arguments(&[]);
        let mut command = project.command(arguments.iter().map(String::as_str).collect::<Vec<_>>());
        CliOutput::from(command.env("PATH", &path).output().unwrap()).success().stdout
    };
    assert!(build(&project).contains(" is up to date"));
    let wrapper = "#!/bin/sh\n# another compiler\nexec /usr/bin/gcc \"$@\"\n";
    std::fs::write(tools.join("gcc"), wrapper).unwrap();
    std::fs::set_permissions(tools.join("gcc"), std::fs::Permissions::from_mode(0o755)).unwrap();
    // The new compiler gives the same bases, so the existing loaders are kept.
    assert!(build(&project).contains("3 bases made, 0 loaders stamped, 3 kept"));
}

fn a_cache_behind_a_link_is_the_same_cache() {
    let project = Project::new();
    project.build(&[]).success();
    symlink(project.path("cache"), project.path("link")).unwrap();
    let mut command = Command::new(xtask());
    command.args([
        "--project",
        project.root.as_str(),
        "--cache-dir",
        project.path("link").as_str(),
        "build-loaders",
        "--offline",
    ]);
    project.write("embed-scripts/boot.ipxe", "#!ipxe\nshell\n");
    CliOutput::from(command.output().unwrap()).success();
    let log = netboot_loaders::base::fs::walk(&project.path("cache/trees")).unwrap();
    assert!(!log.is_empty());
    project.write("embed-scripts/boot.ipxe", "#!ipxe\nwget\n");
    project.config("c", "#error stop\n");
    project.sites("[default]\nloaders = [\"ipxe.pxe\"]\nscript = \"b.ipxe\"\nconfig = \"c\"\n");
    project.write("embed-scripts/b.ipxe", "#!ipxe\nshell\n");
    let error = CliOutput::from(command.output().unwrap()).error(7);
    assert!(error.contains(&format!("-ffile-prefix-map={}/trees/", project.path("cache"))), "{error}");
}

fn a_refusal_leaves_nothing_and_no_lock_is_waited_for_that_is_none() {
    let project = Project::new();
    for out in ["vendor", "embed-scripts"] {
        project.build(&["--out", project.path(out).as_str()]).error(1);
        assert!(!project.path(&format!(".{out}.lock")).exists());
    }
    std::fs::create_dir_all(project.path("new/release")).unwrap();
    std::fs::write(project.path("new/release/mine"), "mine").unwrap();
    project.build(&["--out", project.path("new/release").as_str()]).error(1);
    assert_eq!(std::fs::read_dir(project.path("new")).unwrap().count(), 1);
    let lock = project.path("dist/.tftp.lock");
    std::fs::create_dir_all(project.path("dist")).unwrap();
    assert!(Command::new("mkfifo").arg(&lock).status().unwrap().success());
    shows!(project, project.build_arguments(&[]), @r"
    exit code 1, stderr:
    error: cannot open `PROJECT/dist/.tftp.lock`
      caused by: found a FIFO, wanted a regular file
    hint: move it away
    ");
    std::fs::remove_file(&lock).unwrap();
    symlink("/dev/null", &lock).unwrap();
    shows!(project, project.build_arguments(&[]), @r"
    exit code 1, stderr:
    error: cannot open `PROJECT/dist/.tftp.lock`
      caused by: found a symbolic link, wanted a regular file
    hint: move it away
    ");
    std::fs::remove_file(&lock).unwrap();
    // The file beside the lock is opened, too.
    let journal = project.path("dist/.tftp.journal");
    assert!(Command::new("mkfifo").arg(&journal).status().unwrap().success());
    shows!(project, project.build_arguments(&["--quiet"]), @r"
    exit code 1, stderr:
    error: cannot open `PROJECT/dist/.tftp.journal`
      caused by: found a FIFO, wanted a regular file
    hint: move it away
    ");
    std::fs::remove_file(&journal).unwrap();
    project.build(&[]).success();
    std::fs::remove_file(project.tree().join("manifest.json")).unwrap();
    assert!(Command::new("mkfifo").arg(project.tree().join("manifest.json")).status().unwrap().success());
    shows!(project, project.build_arguments(&[]), @"
    exit code 1, stderr:
    error: `PROJECT/dist/tftp` is not a tree of this tool: it has no manifest
    hint: choose another folder with `--out`
    hint: or move that one away
    ");
}
