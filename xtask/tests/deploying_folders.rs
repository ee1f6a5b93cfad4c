//! Deployments into a folder of this machine, and what a deployment refuses before it begins.

mod support;

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;
use support::{Project, Ran};

const RECORD: &str = "netboot-loaders-deployed.json";

/// A project with a tree in which two loaders are one file.
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

fn deploy(project: &Project, folder: &Utf8Path, more: &[&str]) -> Ran {
    project.run(&[&["deploy", folder.as_str()], more].concat())
}

#[test]
fn a_folder_gets_the_tree_and_verifies_as_one() {
    let project = built();
    let folder = project.path("srv/tftp");
    let plan = deploy(&project, &folder, &["--dry-run"]).success();
    assert!(plan.stdout.ends_with(&format!(" bytes\nnothing was done at {folder}\n")), "{}", plan.stdout);
    assert!(!project.path("srv").exists());
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "umask 077; exec \"$@\"",
        "sh",
        env!("CARGO_BIN_EXE_xtask"),
        "--project",
        project.root.as_str(),
    ]);
    let ran = Ran::from(command.args(["deploy", folder.as_str()]).output().unwrap()).success();
    let count = files(&project.tree()).len();
    assert!(ran.stdout.starts_with(&format!("{folder} has all {count} files: {count} sent, ")), "{}", ran.stdout);
    assert!(files(&folder) == files(&project.tree()));
    let verify = || project.run(&["verify", folder.as_str()]);
    assert!(verify().success().stdout.ends_with(" files are as in the manifest, and nothing else is there\n"));
    // What others have beside it is their affair, and is not even read.
    std::os::unix::fs::symlink("/nowhere", folder.join("mirror")).unwrap();
    let said = verify().success().stdout;
    assert!(said.ends_with(" manifest, and nothing is known of 1 more\n"), "{said}");
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
    // A tarball is as good as the tree.
    let other = project.path("other");
    let tarball = project.path(&format!("dist/netboot-loaders-{}-tftp.tar.gz", env!("CARGO_PKG_VERSION")));
    deploy(&project, &other, &["--tree", tarball.as_str()]).success();
    assert!(files(&other) == files(&project.tree()));
}

#[test]
fn what_is_gone_from_the_tree_is_pruned_on_request_and_nothing_else_is() {
    let project = built();
    let folder = project.path("srv/tftp");
    deploy(&project, &folder, &[]).success();
    std::fs::write(folder.join("sites/a/mine.txt"), "mine").unwrap();
    let sites = String::from_utf8(project.read("embed-scripts/sites.toml")).unwrap();
    project.sites(
        &sites.replace("[site.a]\nloaders = [\"ipxe.efi\"]\n", "").replace("\"undionly.kpxe\"", "\"snponly.efi\""),
    );
    project.build(&[]).success();
    let ran = deploy(&project, &folder, &["--message-format", "json"]).success();
    let result: Value = serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap();
    let obsolete = ["linked-objects/default/undionly.kpxe.txt", "sites/a/ipxe.efi", "undionly.kpxe"];
    assert_eq!(result["plan"]["obsolete"], serde_json::json!(obsolete));
    // Somebody has taken one of them over.
    std::fs::write(folder.join("undionly.kpxe"), "mine").unwrap();
    let ran = deploy(&project, &folder, &["--prune"]).success();
    assert!(
        ran.stdout.contains(" 0 sent, 0 replaced, ") && ran.stdout.contains(" 2 pruned; 0 bytes sent"),
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

#[test]
fn what_others_put_there_stays() {
    let project = built();
    let folder = project.path("srv/tftp");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("ipxe.efi"), "by hand").unwrap();
    std::fs::copy(project.tree().join("ipxe.pxe"), folder.join("ipxe.pxe")).unwrap();
    let message = format!(
        "`{folder}` has files that somebody else put there or changed, and deploying would replace them: `ipxe.efi`\n\
         hint: move them away, or deploy with `--replace`\n"
    );
    let plan = deploy(&project, &folder, &["--dry-run"]);
    assert!(plan.stdout.contains("\nunchanged  ipxe.pxe ("), "{}", plan.stdout);
    assert!(plan.stdout.contains(" bytes), which somebody else put there\n"), "{}", plan.stdout);
    assert_eq!(plan.error(1), message);
    assert_eq!(deploy(&project, &folder, &[]).error(1), message);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2);
    std::fs::write(folder.join("manifest.json"), "[]\n").unwrap();
    assert_eq!(
        deploy(&project, &folder, &[]).error(1),
        format!(
            "the `manifest.json` in `{folder}` is none of this tool's: invalid length 0, expected struct Manifest with 7 elements at line 1 column 2\n\
             hint: choose another folder, or deploy with `--replace`, which replaces it\n"
        )
    );
    deploy(&project, &folder, &["--replace"]).success();
    assert!(files(&folder) == files(&project.tree()));
    // A link leads to what is somebody's, too.
    std::fs::rename(folder.join("sites"), project.path("elsewhere")).unwrap();
    symlink(project.path("elsewhere"), folder.join("sites")).unwrap();
    std::fs::remove_file(project.path("elsewhere/a/ipxe.efi")).unwrap();
    assert_eq!(
        deploy(&project, &folder, &[]).error(1),
        "`sites` is a link or a device there, wanted a folder\nhint: move it away, or choose another folder\n"
    );
}

#[test]
fn what_is_no_target_or_no_tree_is_said_before_anything_is_done() {
    let project = built();
    let usage = |target: &str, message: &str| {
        let error = project.run(&["deploy", target]).error(2);
        let wanted = format!("invalid value '{target}' for '<TARGET>': {message}\n");
        assert!(error.starts_with(&wanted), "{error}");
    };
    usage("ftp://router/tftp", "found the scheme `ftp`, wanted `sftp://user@host/path` or a folder");
    usage(
        "admin@router:/tftp",
        "wanted `sftp://admin@router/tftp`; for a folder of that name, write `./admin@router:/tftp`",
    );
    usage("sftp://a:b@router/tftp", "found a password, wanted none: `ssh` uses keys, or asks for it");
    let tree = project.tree();
    for folder in [tree.clone(), tree.join("new")] {
        let error = deploy(&project, &folder, &[]).error(1);
        assert_eq!(error, format!("`{folder}` is the tree itself, or in it\nhint: choose another folder\n"));
    }
    project.run(&["verify"]).success();
    let missing = project.path("nowhere");
    let error = deploy(&project, &project.path("srv"), &["--tree", missing.as_str()]).error(8);
    assert_eq!(error, format!("there is no tree `{missing}`\nhint: look at the path; it is relative to this folder\n"));
    let error = project.run(&["deploy", "sftp://router/tftp", "--ssh", "no-such-ssh"]).error(4);
    assert_eq!(error, "found no program `no-such-ssh`\nhint: name OpenSSH's client, or leave `--ssh` out\n");
    std::fs::write(tree.join("ipxe.efi"), "spoiled").unwrap();
    let error = deploy(&project, &project.path("srv"), &[]).error(8);
    assert!(
        error.starts_with(&format!("`{tree}` is not what its manifest says\n  `ipxe.efi` has changed: ")),
        "{error}"
    );
    assert!(!project.path("srv").exists());
}
