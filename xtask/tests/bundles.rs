//! The source bundle: the same bytes every time, and all that a build without a network needs.

mod support;

use std::process::Command;

use support::{Project, Ran};

fn bundle(project: &Project, out: &str) -> Vec<u8> {
    let path = project.path(out);
    let (ipxe, archive) = (project.path("ipxe"), project.path("syslinux.zip"));
    let origins = ["--ipxe-url", ipxe.as_str(), "--syslinux-archive", archive.as_str()];
    project.run(&[&["bundle-sources", "--offline", "--out", path.as_str()], &origins[..]].concat()).success();
    project.read(out)
}

/// Builds into the folder `again` from the bundle alone, with an empty cache.
fn build_from_bundle(project: &Project) -> Ran {
    std::fs::remove_dir_all(project.path("cache")).unwrap();
    let (file, out) = (project.path("bundle.tar.gz"), project.path("again"));
    project.run(&["build-loaders", "--offline", "--sources-from", file.as_str(), "--out", out.as_str()])
}

#[test]
fn a_bundle_is_the_same_every_time_and_is_all_that_a_build_needs() {
    let project = Project::new();
    project.build(&[]).success();
    let first = bundle(&project, "bundle.tar.gz");
    assert!(first == bundle(&project, "another/name.tar.gz"));
    // Neither the repository nor the archive is to be had any more.
    std::fs::rename(project.path("ipxe"), project.path("moved")).unwrap();
    std::fs::remove_file(project.path("syslinux.zip")).unwrap();
    build_from_bundle(&project).success();
    for (path, content) in project.snapshot() {
        assert!(content == project.read(&format!("again/{path}")), "{path}");
    }
}

#[test]
fn a_bundle_has_source_commit_members_and_choices() {
    let project = Project::new();
    bundle(&project, "bundle.tar.gz");
    let listed = Command::new("tar").args(["-tvzf", project.path("bundle.tar.gz").as_str()]).output().unwrap();
    let text = String::from_utf8(listed.stdout).unwrap();
    let root = format!("netboot-loaders-{}-sources", env!("CARGO_PKG_VERSION"));
    for path in [
        "README",
        "ipxe.commit",
        "ipxe/src/Makefile",
        "syslinux/bios/core/lpxelinux.0",
        "project/vendor/pins.toml",
        "project/embed-scripts/boot.ipxe",
        "project/embed-scripts/sites.toml",
    ] {
        assert!(text.contains(&format!(" {root}/{path}\n")), "{path} is not in:\n{text}");
    }
    // One owner and one time.
    assert!(text.lines().all(|line| line.contains(" 0/0 ") && line.contains("2023-11-14")), "{text}");
}

#[test]
fn what_is_not_as_pinned_does_not_get_in() {
    let project = Project::new();
    bundle(&project, "bundle.tar.gz");
    let file = project.path("bundle.tar.gz");
    let pins = String::from_utf8(project.read("vendor/pins.toml")).unwrap();
    // Pins of another source.
    let commit = pins.lines().find_map(|line| line.strip_prefix("commit = \"")).unwrap().trim_end_matches('"');
    project.write("vendor/pins.toml", &pins.replace(commit, &"7".repeat(40)));
    let error = build_from_bundle(&project).error(6);
    let wanted = format!("`{file}` does not have iPXE's commit as pinned: found {commit}, wanted {}\n", "7".repeat(40));
    assert!(error.starts_with(&wanted), "{error}");
    // Pins of another syslinux.
    let member = pins.lines().rev().find_map(|line| line.strip_prefix("sha256 = \"")).unwrap().trim_end_matches('"');
    project.write("vendor/pins.toml", &pins.replace(member, &"0".repeat(64)));
    let error = build_from_bundle(&project).error(6);
    assert!(error.contains("does not have `ldlinux.e64` of syslinux 6.03 as pinned: found "), "{error}");
    assert!(!project.path("again").exists());
    // Half of a file.
    project.write("vendor/pins.toml", &pins);
    let content = project.read("bundle.tar.gz");
    std::fs::write(&file, &content[..content.len() / 2]).unwrap();
    let error = build_from_bundle(&project).error(6);
    assert!(error.starts_with(&format!("`{file}` cannot be read as a source bundle: ")), "{error}");
}
