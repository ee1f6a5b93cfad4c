//! Deployments into a local folder, and what a deployment refuses before it starts.

use netboot_fixtures::harness::xtask;
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use netboot_fixtures::limits;
use netboot_fixtures::project::{CliOutput, Project};
use netboot_fixtures::{says, shows, warns};
use serde_json::Value;

netboot_fixtures::tests! {
    what_others_cannot_read_is_repaired_or_named,
    a_folder_gets_the_tree_and_verifies_as_one,
    what_is_gone_from_the_tree_is_pruned_on_request_and_nothing_else_is,
    what_others_put_there_stays,
    what_is_no_target_or_no_tree_is_said_before_anything_is_done,
    deployments_of_two_trees_at_once_take_turns,
    only_who_can_write_a_place_can_hold_its_lock,
    another_file_in_the_place_of_the_lock_is_named_and_left_alone,
    nobody_else_may_write_what_is_served_whatever_the_umask,
    a_neighbour_that_changes_a_boot_is_warned_of,
    a_share_or_an_address_does_not_become_a_folder_of_that_name,
    nothing_is_put_into_a_published_tree,
    only_a_tree_replaces_a_published_tree,
    a_spoiled_tree_gets_the_hint_that_restores_it,
    files_of_others_are_named_up_to_twenty,
}

const RECORD: &str = "netboot-loaders-deployed.json";

/// Returns a project with a tree in which two loaders are one file.
fn built() -> Project {
    let project = Project::new();
    let sites = String::from_utf8(project.read("embed-scripts/sites.toml")).unwrap();
    project.sites(&format!("{sites}[site.a]\nloaders = [\"ipxe.efi\"]\n"));
    project.build(&["--archive"]).success();
    project
}

fn files(folder: &Utf8Path) -> BTreeMap<Utf8PathBuf, Vec<u8>> {
    Project::files_of(folder).into_iter().filter(|(path, _)| path != RECORD).collect()
}

fn mode(path: &Utf8Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Utf8Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn what_others_cannot_read_is_repaired_or_named() {
    let project = built();
    let share = project.path("srv");
    std::fs::create_dir(&share).unwrap();
    // A share that its group can write, whose new entries inherit the group.
    set_mode(&share, 0o2775);
    let folder = share.join("tftp");
    set_mode(&project.root, 0o700);
    let closed = |path: &Utf8Path| {
        format!(
            "warning: other users cannot read `{path}` at the target, so a server that runs as another user cannot serve it\nhint: "
        )
    };
    let ran = deploy(&project, &folder, &[]).warned();
    assert!(ran.stderr.contains(&closed(&project.root)), "{}", ran.stderr);
    set_mode(&project.root, 0o755);
    assert_eq!((mode(&share), mode(&folder) & 0o2755, mode(&folder.join("sites")) & 0o2755), (0o2775, 0o2755, 0o2755));
    set_mode(&folder.join("ipxe.efi"), 0o660);
    set_mode(&folder.join("sites"), 0o2770);
    warns!(project, ["verify", folder.as_str()], @r"
    warning: other users cannot read `PROJECT/srv/tftp/ipxe.efi`, so a server that runs as another user cannot serve it
    hint: give it the mode `a+r` with chmod, or where a mount decides the modes, in its options
    ");
    assert!(!deploy(&project, &folder, &[]).success().stderr.contains("warning"));
    assert_eq!((mode(&folder.join("ipxe.efi")), mode(&folder.join("sites"))), (0o664, 0o2775));
    set_mode(&folder, 0o2770);
    assert!(deploy(&project, &folder, &[]).warned().stderr.contains(&closed(&folder)));
    warns!(project, ["verify", folder.as_str()], @r"
    warning: other users cannot read `PROJECT/srv/tftp`, so a server that runs as another user cannot serve it
    hint: give it the mode `a+rx` with chmod, or where a mount decides the modes, in its options
    ");
    assert_eq!(mode(&folder), 0o2770, "somebody has decided that");
}

fn deploy(project: &Project, folder: &Utf8Path, more: &[&str]) -> CliOutput {
    project.run([&["deploy", folder.as_str()], more].concat())
}

fn a_folder_gets_the_tree_and_verifies_as_one() {
    let project = built();
    let folder = project.path("srv/tftp");
    let plan = deploy(&project, &folder, &["--dry-run"]).success();
    assert!(plan.stdout.ends_with(&format!(" KiB\nnothing was done at {folder}\n")), "{}", plan.stdout);
    assert!(!project.path("srv").exists());
    let mut command = Command::new("sh");
    command.args(["-c", "umask 077; exec \"$@\"", "sh", xtask(), "--project", project.root.as_str()]);
    let ran = CliOutput::from(command.args(["deploy", folder.as_str()]).output().unwrap()).success();
    for path in ["srv", "srv/tftp", "srv/tftp/sites", "srv/tftp/sites/a"] {
        assert_eq!(mode(&project.path(path)), 0o755, "{path}");
    }
    let count = files(&project.tree()).len() - 2;
    assert!(ran.stdout.starts_with(&format!("{folder} has all {count} files: {count} sent, ")), "{}", ran.stdout);
    assert!(files(&folder) == files(&project.tree()));
    let verify = || project.run(["verify", folder.as_str()]);
    assert!(verify().success().stdout.ends_with(" files are as in the manifest, and nothing else is there\n"));
    // Foreign entries beside the deployed files are ignored and not even read.
    std::os::unix::fs::symlink("/nowhere", folder.join("mirror")).unwrap();
    let said = verify().success().stdout;
    assert!(said.ends_with(" manifest; 1 other file is not of this tree: `mirror`\n"), "{said}");
    std::fs::remove_file(folder.join("mirror")).unwrap();
    for (path, _) in files(&folder) {
        let metadata = folder.join(&path).metadata().unwrap();
        // Servers run as other users, and not every file system has hard links.
        assert_eq!((metadata.permissions().mode() & 0o777, metadata.nlink()), (0o644, 1), "{path}");
    }
    let times = || files(&folder).into_keys().map(|path| folder.join(path).metadata().unwrap().modified().unwrap());
    let before: Vec<_> = times().collect();
    let ran = deploy(&project, &folder, &[]).success();
    assert_eq!(ran.stdout, format!("{folder} is up to date: all {count} files are there\n"));
    assert_eq!(times().collect::<Vec<_>>(), before);
    // A tarball works like the tree.
    let other = project.path("other");
    let tarball = project.path(&format!("dist/netboot-loaders-{}-tftp.tar.gz", env!("CARGO_PKG_VERSION")));
    deploy(&project, &other, &["--tree", tarball.as_str()]).success();
    assert!(files(&other) == files(&project.tree()));
}

fn what_is_gone_from_the_tree_is_pruned_on_request_and_nothing_else_is() {
    let project = built();
    let folder = project.path("srv/tftp");
    deploy(&project, &folder, &[]).success();
    std::fs::write(folder.join("sites/a/mine.txt"), "mine").unwrap();
    let sites = String::from_utf8(project.read("embed-scripts/sites.toml")).unwrap();
    project.sites(
        &sites.replace("[site.a]\nloaders = [\"ipxe.efi\"]\n", "").replace("\"undionly.kpxe\"", "\"snponly.efi\""),
    );
    project.build(&[]).warned();
    let ran = deploy(&project, &folder, &["--message-format", "json"]).success();
    let result: Value = serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap();
    let obsolete = ["linked-objects/default/undionly.kpxe.txt", "sites/a/ipxe.efi", "undionly.kpxe"];
    assert_eq!(result["plan"]["obsolete"], serde_json::json!(obsolete));
    // One of the files was changed by the user.
    std::fs::write(folder.join("undionly.kpxe"), "mine").unwrap();
    let ran = deploy(&project, &folder, &["--prune"]).success();
    assert!(
        ran.stdout.contains(" 0 sent, 0 replaced, ") && ran.stdout.contains(" 2 pruned\n0 B sent"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout.ends_with("\nchanged    undionly.kpxe (stays: it is not what was put there)\n"),
        "{}",
        ran.stdout
    );
    let mut wanted = files(&project.tree());
    wanted.extend(["sites/a/mine.txt", "undionly.kpxe"].map(|path| (path.into(), b"mine".to_vec())));
    assert!(files(&folder) == wanted, "{:?}", files(&folder).into_keys().collect::<Vec<_>>());
}

fn what_others_put_there_stays() {
    let project = built();
    let folder = project.path("srv/tftp");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("ipxe.efi"), "by hand").unwrap();
    std::fs::copy(project.tree().join("ipxe.pxe"), folder.join("ipxe.pxe")).unwrap();
    let plan = deploy(&project, &folder, &["--dry-run"]);
    assert!(plan.stdout.contains("\nunchanged  ipxe.pxe ("), "{}", plan.stdout);
    let message = plan.printed("B), which somebody else put there\n").error(1);
    says!(project, deploy(&project, &folder, &["--quiet"]), @"
    exit code 1, stderr:
    error: `PROJECT/srv/tftp` has files that somebody else put there or changed, and deploying would replace them: `ipxe.efi`
    hint: move them away
    hint: or replace what is there with `--replace`
    help: cargo xtask help how-to/deploy
    ");
    assert_eq!(deploy(&project, &folder, &[]).error(1), message);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2);
    std::fs::write(folder.join("manifest.json"), "[]\n").unwrap();
    says!(project, deploy(&project, &folder, &["--quiet"]), @"
    exit code 1, stderr:
    error: the `manifest.json` in `PROJECT/srv/tftp` was not written by this tool: invalid length 0, expected a manifest at line 1 column 2
    hint: choose another folder
    hint: or replace what is there with `--replace`
    help: cargo xtask help how-to/deploy
    ");
    deploy(&project, &folder, &["--replace"]).success();
    assert!(files(&folder) == files(&project.tree()));
    // A symbolic link can lead to foreign files, too.
    std::fs::rename(folder.join("sites"), project.path("elsewhere")).unwrap();
    symlink(project.path("elsewhere"), folder.join("sites")).unwrap();
    std::fs::remove_file(project.path("elsewhere/a/ipxe.efi")).unwrap();
    says!(project, deploy(&project, &folder, &["--quiet"]), @r"
    exit code 1, stderr:
    error: `sites` is a link or a device there, wanted a folder
    hint: move it away, or choose another folder
    ");
}

fn what_is_no_target_or_no_tree_is_said_before_anything_is_done() {
    let project = built();
    let usage = |target: &str, message: &str| {
        let error = project.run(["deploy", target]).error(2);
        let shown = target.replace("a:b@", "");
        let wanted = format!("invalid value '{shown}' for '<TARGET>': {message}\n");
        assert!(error.starts_with(&wanted), "{error}");
    };
    usage("ftp://router/tftp", "found the scheme `ftp`, wanted `sftp://user@host/path` or a folder");
    usage(
        "admin@router:/tftp",
        "wanted `sftp://admin@router/tftp`; for a folder of that name, write `./admin@router:/tftp`",
    );
    usage(
        "SMB://nas/tftp",
        "found the scheme `SMB`, wanted `sftp://user@host/path` or a folder: mount the share, and give its mount point",
    );
    let share =
        "found the path of a share on `nas`: mount the share and give its mount point, or write `sftp://nas/tftp/a`";
    usage(r"\\nas\tftp\a", share);
    usage(r"\\nas/tftp\a\", share);
    usage("//nas/tftp/a", &format!("{share}; for a folder of this machine, write `/nas/tftp/a`"));
    for drive in [r"C:\tftp", "c:/tftp"] {
        usage(drive, "found a path of Windows: give the path that this system has for it, as `/mnt/c/tftp`");
    }
    usage("sftp://a:b@router/tftp", "found a password, wanted none: `ssh` uses keys, or asks for it");
    let tree = project.tree();
    for folder in [tree.clone(), tree.join("new")] {
        let error = deploy(&project, &folder, &[]).error(1);
        assert_eq!(error, format!("`{folder}` is the tree itself, or in it\nhint: choose another folder\n"));
    }
    project.run(["verify"]).success();
    let missing = project.path("nowhere");
    says!(project, deploy(&project, &project.path("srv"), &["--tree", missing.as_str()]), @"
    exit code 8, stderr:
    error: there is no tree `PROJECT/nowhere`
    hint: check the path; it is relative to the current folder
    ");
    shows!(project, ["deploy", "sftp://router/tftp", "--ssh", "no-such-ssh"], @r"
    exit code 4, stderr:
    error: found no program `no-such-ssh`
    hint: name OpenSSH's client, or leave `--ssh` out
    ");
    std::fs::write(tree.join("ipxe.efi"), "spoiled").unwrap();
    says!(project, deploy(&project, &project.path("srv"), &[]), @"
    exit code 8, stderr:
    error: `PROJECT/dist/tftp` differs from its manifest
      `ipxe.efi` has changed: found SHA256 (SIZE bytes), wanted SHA256 (SIZE bytes)
      `sites/a/ipxe.efi` has changed: found SHA256 (SIZE bytes), wanted SHA256 (SIZE bytes)
    hint: build the tree with `cargo xtask build-loaders`
    help: cargo xtask help verify-and-inspect
    ");
    assert!(!project.path("srv").exists());
}

fn deployments_of_two_trees_at_once_take_turns() {
    let (one, two) = (built(), Project::new());
    two.write("embed-scripts/boot.ipxe", "#!ipxe\nshell\n");
    two.build(&[]).success();
    let place = one.path("srv/new/tftp");
    for round in 0..6 {
        let run = |project: &Project| deploy(project, &place, &["--prune"]);
        let (first, second) = std::thread::scope(|scope| {
            let second = scope.spawn(|| run(&two));
            (run(&one), second.join().unwrap())
        });
        first.success();
        second.success();
        one.run(["verify", place.as_str()]).success();
        let there = files(&place);
        assert!(there == files(&one.tree()) || there == files(&two.tree()), "round {round}");
    }
    assert_eq!(std::fs::read_dir(one.path("srv/new")).unwrap().count(), 1, "no lock is left");
}

fn only_who_can_write_a_place_can_hold_its_lock() {
    let project = built();
    let place = project.path("srv/tftp");
    deploy(&project, &place, &[]).success();
    // Everything that other users can open: folders and files that they can read.
    let open = |path: &Utf8Path| std::fs::File::open(path).unwrap();
    let held: Vec<std::fs::File> =
        [project.path("srv"), place.clone(), place.join("manifest.json"), place.join(RECORD)]
            .map(|path| open(&path))
            .into();
    for file in &held {
        file.lock().unwrap();
    }
    deploy(&project, &place, &["--read-all"]).success();
    let lock = place.join("netboot-loaders-deploying.lock");
    assert!(!lock.exists());
    // A deployment waits for another one, and so does a dry run.
    for (folder_mode, lock_mode) in [(0o755, 0o600), (0o2775, 0o660)] {
        std::fs::set_permissions(&place, PermissionsExt::from_mode(folder_mode)).unwrap();
        std::fs::write(&lock, "").unwrap();
        let held = open(&lock);
        held.lock().unwrap();
        for more in [&["deploy", place.as_str()][..], &["deploy", "--dry-run", place.as_str()]] {
            std::fs::set_permissions(&lock, PermissionsExt::from_mode(0o644)).unwrap();
            let measured = limits::interrupt(&mut project.command(more), |_| mode(&lock) == lock_mode);
            assert!(measured.stderr.contains("error: interrupted\n"), "{}", measured.stderr);
        }
        drop(held);
        deploy(&project, &place, &[]).success();
        assert!(!lock.exists());
    }
    project.run(["verify", place.as_str()]).success();
}

fn another_file_in_the_place_of_the_lock_is_named_and_left_alone() {
    let project = built();
    let (place, other) = (project.path("srv"), project.path("other"));
    let lock = place.join("netboot-loaders-deploying.lock");
    std::fs::create_dir(&place).unwrap();
    set_mode(&place, 0o775);
    std::fs::write(&other, "data").unwrap();
    set_mode(&other, 0o644);
    let link = || std::fs::hard_link(&other, &lock).unwrap();
    let planted: [(&str, &dyn Fn()); 4] = [
        ("a hard link", &link),
        ("a symbolic link", &|| symlink(&other, &lock).unwrap()),
        ("a FIFO", &|| limits::pipe(&lock)),
        ("a folder", &|| std::fs::create_dir(&lock).unwrap()),
    ];
    for (kind, plant) in planted {
        plant();
        for more in [&[][..], &["--dry-run"]] {
            let error = deploy(&project, &place, more).error(1);
            let wanted = format!(
                "cannot open `{lock}`
  caused by: found {kind}, wanted a regular file
hint: move it away
"
            );
            assert_eq!(error, wanted);
            assert!(lock.symlink_metadata().is_ok(), "{kind}");
            assert_eq!((std::fs::read_dir(&place).unwrap().count(), mode(&other)), (1, 0o644), "{kind}");
        }
        let _ = std::fs::remove_file(&lock).or_else(|_| std::fs::remove_dir(&lock));
    }
    deploy(&project, &place, &[]).success();
}

fn nobody_else_may_write_what_is_served_whatever_the_umask() {
    let project = built();
    let (place, tree) = (project.path("srv/new/tftp"), project.path("out/new/tftp"));
    for umask in ["0", "077"] {
        let masked = |command: &Command| {
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("umask {umask}; exec \"$@\""), "sh"]);
            CliOutput::from(shell.arg(command.get_program()).args(command.get_args()).output().unwrap()).success()
        };
        let build = project.build_arguments(&["--out", tree.as_str()]);
        masked(&project.command(build.iter().map(String::as_str).collect::<Vec<_>>()));
        masked(&project.command(["deploy", "--tree", tree.as_str(), place.as_str()]));
        let mut folders = ["srv", "out"].map(|path| project.path(path)).to_vec();
        let mut seen = 0;
        while let Some(folder) = folders.pop() {
            let mode = folder.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o757, 0o755, "{folder} has {mode:o} with umask {umask}");
            for entry in folder.read_dir_utf8().unwrap().map(Result::unwrap) {
                let mode = entry.metadata().unwrap().permissions().mode();
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path().to_owned());
                } else if entry.path().starts_with(&place) || entry.path().starts_with(&tree) {
                    assert_eq!(mode & 0o777, 0o644, "{} has {mode:o} with umask {umask}", entry.path());
                    seen += 1;
                }
            }
        }
        assert!(seen > 10, "{seen}");
        for folder in ["srv", "out"] {
            std::fs::remove_dir_all(project.path(folder)).unwrap();
        }
    }
}

fn a_neighbour_that_changes_a_boot_is_warned_of() {
    let project = built();
    let sites = String::from_utf8(project.read("embed-scripts/sites.toml")).unwrap();
    project.write("embed-scripts/menu", "DEFAULT local\n");
    project.sites(&sites.replace("[syslinux]\n", "[syslinux]\npxelinux-config = \"menu\"\n"));
    project.build(&[]).warned();
    let place = project.path("srv/tftp");
    assert!(!deploy(&project, &place, &[]).success().stderr.contains("autoexec"));
    let autoexec = |path: &str| {
        format!(
            "warning: `{path}` is not of this tree: iPXE downloads it when it starts in UEFI, and kernels that it boots get \
             it as a part of their initrd\nhint: move it away\n"
        )
    };
    // iPXE ignores an empty file, and looks in no folder without an EFI loader.
    std::fs::create_dir(place.join("other")).unwrap();
    for (path, content) in
        [("autoexec.ipxe", "#!ipxe\n"), ("other/autoexec.ipxe", "#!ipxe\n"), ("sites/a/autoexec.ipxe", "")]
    {
        std::fs::write(place.join(path), content).unwrap();
    }
    for more in [&["--dry-run"][..], &[]] {
        let said = deploy(&project, &place, more).warned().stderr;
        assert!(said.contains(&autoexec("autoexec.ipxe")), "{said}");
        assert_eq!(said.matches("autoexec.ipxe").count(), 1, "{said}");
    }
    std::fs::write(place.join("sites/a/autoexec.ipxe"), "#!ipxe\n").unwrap();
    let said = deploy(&project, &place, &[]).warned().stderr;
    assert!(said.contains(&autoexec("autoexec.ipxe")) && said.contains(&autoexec("sites/a/autoexec.ipxe")), "{said}");
    for name in ["01-52-54-00-12-34-56", "C0A80001", "old-default", "graphics.conf"] {
        std::fs::write(place.join("pxelinux.cfg").join(name), "").unwrap();
    }
    warns!(project, ["verify", place.as_str()], @r"
    warning: `autoexec.ipxe` is not of this tree: iPXE downloads it when it starts in UEFI, and kernels that it boots get it as a part of their initrd
    hint: move it away
    warning: `pxelinux.cfg/01-52-54-00-12-34-56` is not of this tree: PXELINUX reads it instead of `pxelinux.cfg/default` on the machines that it is named after
    hint: move it away if these machines should boot as the others do
    warning: `pxelinux.cfg/C0A80001` is not of this tree: PXELINUX reads it instead of `pxelinux.cfg/default` on the machines that it is named after
    hint: move it away if these machines should boot as the others do
    warning: `sites/a/autoexec.ipxe` is not of this tree: iPXE downloads it when it starts in UEFI, and kernels that it boots get it as a part of their initrd
    hint: move it away
    ");
    // In a tree that is not a deployment target, it is also a difference.
    std::fs::write(project.tree().join("autoexec.ipxe"), "#!ipxe\n").unwrap();
    shows!(project, ["verify"], @"
    exit code 8, stderr:
    warning: `autoexec.ipxe` is not of this tree: iPXE downloads it when it starts in UEFI, and kernels that it boots get it as a part of their initrd
    hint: move it away
    error: `PROJECT/dist/tftp` differs from its manifest
      `autoexec.ipxe` is not in the manifest
    hint: build the tree with `cargo xtask build-loaders`
    help: cargo xtask help verify-and-inspect
    ");
}

fn a_share_or_an_address_does_not_become_a_folder_of_that_name() {
    let project = Project::new();
    let address = "found an address, wanted a path of this machine: mount a share and give its mount point; `deploy` \
                   brings a tree to a server that speaks SFTP. A name with a colon is written `./NAME`";
    let share =
        "found the path of a share on `nas`: mount the share and give its mount point, or write `sftp://nas/tftp`";
    let commands: [(&[&str], &str); 6] = [
        (&["build-loaders", "--out"], "--out <DIR>"),
        (&["release", "--dry-run", "--out"], "--out <DIR>"),
        (&["recipe", "dnsmasq", "--out"], "--out <DIR>"),
        (&["bundle-sources", "--out"], "--out <FILE>"),
        (&["mirror", "flatcar", "--dest"], "--dest <DIR>"),
        (&["fetch", "--cache-dir"], "--cache-dir <DIR>"),
    ];
    for (command, option) in commands {
        for (value, message) in
            [(r"\\nas\tftp", share), ("smb://nas/tftp", address), ("sftp://nas/tftp", address), ("nas:/tftp", address)]
        {
            let mut run = std::process::Command::new(xtask());
            run.args(["--project", project.root.as_str()]).args(command).arg(value).current_dir(&project.root);
            let error = CliOutput::from(run.output().unwrap()).error(2);
            let wanted = format!("invalid value '{value}' for '{option}': {message}\n");
            assert!(error.starts_with(&wanted), "{error}\nwanted {wanted}");
        }
    }
    for name in [r"\\nas\tftp", "smb:", "sftp:", "nas:"] {
        assert!(!project.path(name).exists(), "{name}");
    }
}

/// A tree's own folder is no place for other outputs, either.
fn only_a_tree_replaces_a_published_tree() {
    let project = built();
    let (tree, file, folder) = (project.tree(), project.path("dist/tftp/x.json"), project.path("dist/tftp/new"));
    let (tree, inside) = (tree.as_str(), [file.as_str(), folder.as_str()]);
    shows!(project, ["recipe", "kea", "--out", tree], @"
    exit code 1, stderr:
    error: `PROJECT/dist/tftp` is a published tree or release, and whatever is put there breaks its verification
    hint: choose a folder outside of it
    ");
    let outputs: [&[&str]; 12] = [
        &["recipe", "dnsmasq", "--out"],
        &["ignition", "--out"],
        &["docs", "--man"],
        &["docs", "--out"],
        &["bench", "cold", "--json"],
        &["bench", "warm", "--scratch"],
        &["bench", "sites", "--scratch"],
        &["bundle-sources", "--out"],
        &["bundle-bases", "--out"],
        &["boot-test", "--report"],
        &["mirror", "flatcar", "--dest"],
        &["fetch", "--offline", "--cache-dir"],
    ];
    for output in outputs {
        for path in [tree, inside[0], inside[1]] {
            let mut command = std::process::Command::new(xtask());
            command.args(["--project", project.root.as_str()]).args(output).arg(path);
            let error = CliOutput::from(command.output().unwrap()).error(1);
            assert!(error.starts_with(&format!("`{path}` is ")), "{output:?}: {error}");
            assert!(error.contains(", and whatever is put there breaks its verification\n"), "{output:?}: {error}");
        }
    }
    project.run(["verify"]).success();
    // A deployment's folder is for other files, too.
    let place = project.path("srv/tftp");
    deploy(&project, &place, &[]).success();
    project.run(["docs", "--man", place.as_str()]).success();
}

fn nothing_is_put_into_a_published_tree() {
    let project = built();
    project.build(&["--out", project.path("dist/other").as_str()]).warned();
    let (tree, other) = (project.tree(), project.path("dist/other"));
    let folder = tree.join("new/tree");
    shows!(project, project.build_arguments(&["--out", folder.as_str()]), @r"
    exit code 1, stderr:
    error: `PROJECT/dist/tftp/new/tree` is inside the published tree or release `PROJECT/dist/tftp`, and whatever is put there breaks its verification
    hint: choose a folder outside of it
    ");
    // Through a symbolic link, too.
    symlink(&tree, project.path("link")).unwrap();
    let linked = project.path("link/new");
    shows!(project, project.build_arguments(&["--out", linked.as_str()]), @r"
    exit code 1, stderr:
    error: `PROJECT/link/new` is inside the published tree or release `PROJECT/dist/tftp`, and whatever is put there breaks its verification
    hint: choose a folder outside of it
    ");
    let runs: [&[&str]; 4] = [
        &["release", "--dry-run", "--out", folder.as_str()],
        &["mirror", "flatcar", "--dest", folder.as_str()],
        &["recipe", "dnsmasq", "--out", folder.as_str()],
        &["fetch", "--offline", "--cache-dir", folder.as_str()],
    ];
    let refused = project.build(&["--out", folder.as_str()]).error(1);
    for run in runs {
        let mut command = std::process::Command::new(xtask());
        command.args(["--project", project.root.as_str()]).args(run);
        assert_eq!(CliOutput::from(command.output().unwrap()).error(1), refused, "{run:?}");
    }
    let folder = other.join("new");
    says!(project, deploy(&project, &folder, &["--quiet"]), @r"
    exit code 1, stderr:
    error: `PROJECT/dist/other/new` is inside the published tree or release `PROJECT/dist/other`, and whatever is put there breaks its verification
    hint: choose a folder outside of it
    ");
    assert!(!tree.join("new").exists() && !folder.exists());
    project.run(["verify"]).success();
    project.run(["verify", other.as_str()]).success();
    // In a deployment target, users have their own folders.
    let place = project.path("srv/tftp");
    deploy(&project, &place, &[]).success();
    deploy(&project, &place.join("test"), &[]).success();
    project.run(["verify", place.as_str()]).success();
    // A folder that contains trees, or the project itself, is not a tree.
    for folder in ["", "dist", "..", "vendor"] {
        let folder = project.path(folder);
        let error = project.build(&["--out", folder.as_str()]).error(1);
        let occupied = error.contains("` is not a tree of this tool: ") || error.contains(" is a mount point, ");
        assert!(occupied || error.contains("/vendor` holds inputs of the build or the cache"), "{error}");
    }
}

fn a_spoiled_tree_gets_the_hint_that_restores_it() {
    let project = built();
    let (tree, copy, place) = (project.tree(), project.path("copy"), project.path("srv/tftp"));
    deploy(&project, &place, &[]).success();
    let tarball = project.path(&format!("dist/netboot-loaders-{}-tftp.tar.gz", env!("CARGO_PKG_VERSION")));
    assert!(Command::new("cp").args(["-r", tree.as_str(), copy.as_str()]).status().unwrap().success());
    for folder in [&tree, &copy, &place] {
        std::fs::write(folder.join("ipxe.efi"), "spoiled").unwrap();
    }
    // A tarball of the damaged tree.
    let packed = Command::new("tar").args(["-C", copy.as_str(), "-czf", tarball.as_str(), "."]).status().unwrap();
    assert!(packed.success());
    let hints = [
        (&tree, "build the tree with `cargo xtask build-loaders`"),
        (&copy, "copy it again, or go back to the tree that it is a copy of"),
        (&place, "deploy the tree again with `cargo xtask deploy`"),
        (&tarball, "copy or download it again\nhint: or pack it again with `cargo xtask build-loaders --archive`"),
    ];
    for (path, hint) in hints {
        let end = format!("\nhint: {hint}\nhelp: cargo xtask help verify-and-inspect\n");
        let error = project.run(["verify", path.as_str()]).error(8);
        assert!(error.ends_with(&end), "{error}");
        let error = deploy(&project, &project.path("nowhere"), &["--tree", path.as_str()]).error(8);
        assert!(error.ends_with(&end), "{error}");
    }
    assert!(!project.path("nowhere").exists());
}

fn files_of_others_are_named_up_to_twenty() {
    let project = built();
    let place = project.path("srv/tftp");
    deploy(&project, &place, &[]).success();
    for number in 10..33 {
        std::fs::write(place.join(format!("mine-{number}")), "").unwrap();
    }
    let said = project.run(["verify", place.as_str()]).success().stdout;
    let named: Vec<String> = (10..30).map(|number| format!("`mine-{number}`")).collect();
    let end = format!("; 23 other files are not of this tree: {} and 3 more\n", named.join(", "));
    assert!(said.ends_with(&end), "{said}");
    // All commands count the entries of the manifest.
    let count = files(&project.tree()).len() - 2;
    let built = project.build(&[]).success().stdout;
    assert!(built.contains(&format!(" s: {count} files, ")), "{built}");
    let deployed = deploy(&project, &project.path("other"), &[]).success().stdout;
    assert!(deployed.contains(&format!(" has all {count} files: {count} sent, ")), "{deployed}");
    let verified = project.run(["verify"]).success().stdout;
    assert!(verified.contains(&format!(": all {count} files are as in the manifest")), "{verified}");
}
