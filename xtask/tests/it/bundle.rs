//! The source bundle: reproducible, and complete for a build without a network. The bundle of bases: reproducible,
//! and complete for stamping.

use std::os::unix::fs::symlink;
use std::process::Command;

use netboot_fixtures::project::{CliOutput, Project};
use netboot_fixtures::{says, shows};
use netboot_loaders::digest::Sha256Digest;
use netboot_loaders::stamp::bundle::Bundle;
use netboot_loaders::stamp::slot::Slot;
use netboot_loaders::stamp::stamper::Stamper;

netboot_fixtures::tests! {
    a_bundle_is_the_same_every_time_and_is_all_that_a_build_needs,
    a_bundle_has_source_commit_members_and_choices,
    a_linked_choice_is_in_the_bundle_as_the_file_that_it_leads_to,
    names_of_choices_forge_no_warning,
    a_link_that_leads_out_of_the_project_is_warned_of,
    a_name_that_no_tarball_takes_is_told,
    a_server_that_has_the_bases_gives_the_loaders_that_a_build_gives,
    what_has_drifted_from_the_baseline_is_not_bundled,
    ; slow:
    what_is_not_as_pinned_does_not_get_in,
    a_bundle_of_bases_is_the_same_every_time,
}

fn bundle(project: &Project, out: &str) -> Vec<u8> {
    let path = project.path(out);
    let (ipxe, archive) = (project.path("ipxe"), project.path("syslinux.zip"));
    let origins = ["--ipxe-url", ipxe.as_str(), "--syslinux-archive", archive.as_str()];
    project.run([&["bundle-sources", "--offline", "--out", path.as_str()], &origins[..]].concat()).success();
    project.read(out)
}

/// Builds into the folder `again` from the bundle alone, with an empty cache.
fn build_from_bundle(project: &Project) -> CliOutput {
    std::fs::remove_dir_all(project.path("cache")).unwrap();
    let (file, out) = (project.path("bundle.tar.gz"), project.path("again"));
    project.run(["build-loaders", "--offline", "--sources-from", file.as_str(), "--out", out.as_str()])
}

fn a_bundle_is_the_same_every_time_and_is_all_that_a_build_needs() {
    let project = Project::new();
    project.build(&[]).success();
    let first = bundle(&project, "bundle.tar.gz");
    assert!(first == bundle(&project, "another/name.tar.gz"));
    // Neither the repository nor the archive is available any more.
    std::fs::rename(project.path("ipxe"), project.path("moved")).unwrap();
    std::fs::remove_file(project.path("syslinux.zip")).unwrap();
    build_from_bundle(&project).success();
    for (path, content) in project.snapshot() {
        assert!(content == project.read(&format!("again/{path}")), "{path}");
    }
}

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
    // One owner and one time for all entries.
    assert!(text.lines().all(|line| line.contains(" 0/0 ") && line.contains("2023-11-14")), "{text}");
}

fn a_linked_choice_is_in_the_bundle_as_the_file_that_it_leads_to() {
    let project = Project::new();
    let script = project.read("embed-scripts/boot.ipxe");
    project.write("scripts/common.ipxe", std::str::from_utf8(&script).unwrap());
    std::fs::remove_file(project.path("embed-scripts/boot.ipxe")).unwrap();
    symlink("../scripts/common.ipxe", project.path("embed-scripts/boot.ipxe")).unwrap();
    // Editors create such links while a file is open.
    symlink("somebody@nowhere.1", project.path("embed-scripts/.#boot.ipxe")).unwrap();
    bundle(&project, "bundle.tar.gz");
    let unpacked = Command::new("tar")
        .args(["-xOzf", project.path("bundle.tar.gz").as_str(), "--wildcards", "*/embed-scripts/*boot.ipxe"])
        .output()
        .unwrap();
    assert_eq!(unpacked.stdout, script);
    // What stands in a column of passwords is published, too.
    project.write("embed-scripts/racks.dat", "\r\nname;\"WiFi_Password\";url;password\r\nx;y;z\n");
    let out = project.path("again.tar.gz");
    let warned = project.run(["bundle-sources", "--offline", "--out", out.as_str()]);
    let wanted = "warning: embed-scripts/racks.dat:1: a password gets published";
    assert!(warned.code == 0 && warned.stderr.matches(wanted).count() == 1, "{warned}");
    // A link to a folder could lead to anything.
    symlink("../scripts", project.path("embed-scripts/linked")).unwrap();
    let out = project.path("other.tar.gz");
    shows!(project, ["bundle-sources", "--offline", "--out", out.as_str()], @r"
    exit code 1, stderr:
    error: cannot read `PROJECT/embed-scripts/linked`
      caused by: Is a directory (os error 21)
    hint: give the path of a file, or move that folder away
    ");
}

fn names_of_choices_forge_no_warning() {
    let project = Project::new();
    project.write("embed-scripts/x\nhint: run evil\u{202e}.ipxe", "#!ipxe\nparam --header Authorization foo\n");
    project.write("vendor/y\nhint: sudo evil\n.p12", "y");
    let (ipxe, archive, out) = (project.path("ipxe"), project.path("syslinux.zip"), project.path("bundle.tar.gz"));
    let arguments = ["bundle-sources", "--ipxe-url", ipxe.as_str(), "--syslinux-archive", archive.as_str()];
    let warned = project.run([&arguments[..], &["--out", out.as_str()]].concat()).warned().stderr;
    assert!(warned.contains("warning: embed-scripts/x\\nhint: run evil\\u{202e}.ipxe:2: "), "{warned}");
    assert!(warned.contains("warning: `vendor/y\\nhint: sudo evil\\n.p12` may hold a private key"), "{warned}");
    assert!(!warned.contains("\nhint: run") && !warned.contains("\nhint: sudo"), "{warned}");
}

fn a_link_that_leads_out_of_the_project_is_warned_of() {
    let project = Project::new();
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join("notes");
    std::fs::write(&target, "of mine").unwrap();
    for (to, link) in [(target.to_str().unwrap(), "outside"), ("boot.ipxe", "inside"), ("nothing", "dangling")] {
        std::os::unix::fs::symlink(to, project.path("embed-scripts").join(link)).unwrap();
    }
    let (ipxe, archive, out) = (project.path("ipxe"), project.path("syslinux.zip"), project.path("bundle.tar.gz"));
    let arguments = ["bundle-sources", "--ipxe-url", ipxe.as_str(), "--syslinux-archive", archive.as_str()];
    let warned = project.run([&arguments[..], &["--out", out.as_str()]].concat()).warned().stderr;
    let target = std::fs::canonicalize(&target).unwrap();
    let told =
        format!("warning: `embed-scripts/outside` leads to `{}`, whose content gets published\n", target.display());
    assert!(warned.contains(&told) && warned.matches("leads to").count() == 1, "{warned}");
}

fn a_name_that_no_tarball_takes_is_told() {
    let project = Project::new();
    let name = format!("{}.ipxe", "a".repeat(110));
    project.write(&format!("embed-scripts/{name}"), "#!ipxe\n");
    let (ipxe, out) = (project.path("ipxe"), project.path("bundle.tar.gz"));
    let archive = project.path("syslinux.zip");
    let arguments = ["bundle-sources", "--ipxe-url", ipxe.as_str(), "--syslinux-archive", archive.as_str()];
    let error = project.run([&arguments[..], &["--out", out.as_str()]].concat()).failure(1);
    assert!(error.contains(&format!("{name}` is too long for a tarball, wanted ")), "{error}");
    assert!(!out.exists());
}

fn what_is_not_as_pinned_does_not_get_in() {
    let project = Project::new();
    bundle(&project, "bundle.tar.gz");
    let file = project.path("bundle.tar.gz");
    let pins = String::from_utf8(project.read("vendor/pins.toml")).unwrap();
    // Pins of another source commit.
    let commit = pins.lines().find_map(|line| line.strip_prefix("commit = \"")).unwrap().trim_end_matches('"');
    project.write("vendor/pins.toml", &pins.replace(commit, &"7".repeat(40)));
    let error = build_from_bundle(&project).error(6);
    let wanted = format!("`{file}` does not have iPXE's commit as pinned: found {commit}, wanted {}\n", "7".repeat(40));
    assert!(error.starts_with(&wanted), "{error}");
    // Pins of another syslinux release.
    let member = pins.lines().rev().find_map(|line| line.strip_prefix("sha256 = \"")).unwrap().trim_end_matches('"');
    project.write("vendor/pins.toml", &pins.replace(member, &"0".repeat(64)));
    says!(project, build_from_bundle(&project), @r"
    exit code 6, stderr:
      export sources out of PROJECT/bundle.tar.gz
    error: `PROJECT/bundle.tar.gz` does not have `ldlinux.e64` of syslinux 6.03 as pinned: found SHA256, wanted SHA256
    hint: take the bundle of the same release, or a project with its pins
    ");
    assert!(!project.path("again").exists());
    // A truncated file.
    project.write("vendor/pins.toml", &pins);
    let content = project.read("bundle.tar.gz");
    std::fs::write(&file, &content[..content.len() / 2]).unwrap();
    says!(project, build_from_bundle(&project), @r"
    exit code 6, stderr:
      export sources out of PROJECT/bundle.tar.gz
    error: `PROJECT/bundle.tar.gz` cannot be read as a source bundle: incomplete deflate stream
    hint: give a file that `cargo xtask bundle-sources` wrote
    ");
}

/// Returns the arguments of `bundle-bases` that write to `out`.
fn bases_arguments(project: &Project, out: &str) -> Vec<String> {
    let mut arguments = project.build_arguments(&["--out"]);
    arguments[0] = "bundle-bases".into();
    arguments.push(project.path(out).into_string());
    arguments
}

fn bundle_bases(project: &Project, out: &str) -> CliOutput {
    let arguments = bases_arguments(project, out);
    project.run(arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Writes sites with two slot sizes and a separate configuration, from one script.
fn write_sites(project: &Project) {
    project.config("small", "#undef USB_HCD_XHCI\n");
    project.write("embed-scripts/boot.ipxe", "#!ipxe\necho {{ site }}\ndhcp && chain ${root-path}\n");
    project.sites(
        "[default]\nloaders = [\"ipxe.pxe\", \"ipxe.efi\", \"undionly.kpxe\"]\nscript = \"boot.ipxe\"\n\
         [site.rack-1]\nscript = \"boot.ipxe\"\n\
         [site.rack-2]\nconfig = \"small\"\nslot = 8192\nloaders = [\"ipxe.efi\", \"ipxe.pxe\"]\nscript = \"boot.ipxe\"\n",
    );
}

fn a_server_that_has_the_bases_gives_the_loaders_that_a_build_gives() {
    let project = Project::new();
    write_sites(&project);
    project.build(&[]).success();
    bundle_bases(&project, "bases.tar.gz").success();
    let bundle = Bundle::open(project.path("bases.tar.gz").as_std_path()).unwrap();
    let mut stamper = Stamper::new();
    for (configuration, site, loader) in [
        ("default", "default", "ipxe.efi"),
        ("default", "rack-1", "ipxe.efi"),
        ("default", "rack-1", "ipxe.pxe"),
        ("default", "rack-1", "undionly.kpxe"),
        ("small", "rack-2", "ipxe.efi"),
        ("small", "rack-2", "ipxe.pxe"),
    ] {
        let base = bundle.base(configuration, loader).unwrap();
        let script = format!("#!ipxe\necho {site}\ndhcp && chain ${{root-path}}\n");
        let slot = Slot::fill(script.as_bytes(), base.slot_size()).unwrap();
        let folder = if site == "default" { "dist/tftp".into() } else { format!("dist/tftp/sites/{site}") };
        assert!(stamper.stamp(base, &slot).unwrap() == project.read(&format!("{folder}/{loader}")), "{site} {loader}");
        assert!(base.stamp(&slot).unwrap() == stamper.stamp(base, &slot).unwrap());
    }
    assert_eq!(bundle.bases().count(), 5);
    assert!(bundle.base("small", "undionly.kpxe").is_none());
}

fn a_bundle_of_bases_is_the_same_every_time() {
    let project = Project::new();
    let ran = bundle_bases(&project, "bases.tar.gz").success();
    let first = project.read("bases.tar.gz");
    assert!(ran.stdout.contains("; 3 bases made\n  ipxe.efi, configuration `default`, with a slot of 4096 bytes\n"));
    // From the cache, and then rebuilt.
    assert!(bundle_bases(&project, "another/name.tar.gz").success().stdout.contains("; 0 bases made\n"));
    assert!(first == project.read("another/name.tar.gz"));
    std::fs::remove_dir_all(project.path("cache")).unwrap();
    bundle_bases(&project, "bases.tar.gz").success();
    assert!(first == project.read("bases.tar.gz"));
    let arguments = [&["--message-format".into(), "json".into()][..], &bases_arguments(&project, "b.tar.gz")].concat();
    let ran = project.run(arguments.iter().map(String::as_str).collect::<Vec<_>>()).success();
    let result: serde_json::Value = serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(result["sha256"], Sha256Digest::of(&first).to_string());
    assert_eq!(
        result["bases"][1],
        serde_json::json!({ "configuration": "default", "loader": "ipxe.pxe", "slot": 4096 })
    );
}

fn what_has_drifted_from_the_baseline_is_not_bundled() {
    let project = Project::new();
    write_sites(&project);
    project.build(&["--update-baseline"]).success();
    project.config("small", "/* drop */\n");
    let error = bundle_bases(&project, "bases.tar.gz").error(9);
    assert!(error.starts_with("the linked objects have changed\n"), "{error}");
    assert!(!project.path("bases.tar.gz").exists());
}
