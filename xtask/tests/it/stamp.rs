//! Many sites: each loader is stamped once, and again only if something has changed.

use netboot_fixtures::harness::xtask;
use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use netboot_fixtures::project::{CliOutput, Project, rewrite_manifest};
use netboot_fixtures::skip;
use netboot_loaders::tree::manifest::Manifest;
use serde_json::Value;

netboot_fixtures::tests! {
    only_what_has_changed_is_stamped_again,
    what_is_the_same_is_stored_once_and_packed_in_full,
    what_stands_in_the_way_of_a_new_tree_is_removed_and_nothing_behind_a_link,
    a_killed_exchange_leaves_nothing_of_the_old_tree_to_the_next,
    where_another_liblzma_packs_ipxes_own_program_does_it,
    a_script_that_does_not_fit_gets_a_larger_slot_where_that_is_asked_for,
    a_loader_that_cannot_be_stamped_is_named,
    ; slow:
    loaders_of_another_base_are_not_used_again,
    a_base_that_was_tampered_with_is_built_again,
    stamped_loaders_are_what_make_gives,
    a_killed_run_leaves_the_old_tree_and_its_work_to_the_next,
    a_disk_that_is_full_at_some_site_leaves_the_old_tree_and_the_work_so_far,
}

/// Returns a project with `count` sites, each with its own address.
fn with_sites(count: usize) -> Project {
    let project = Project::new();
    project.write("embed-scripts/url.ipxe", "#!ipxe\nchain {{ boot_url }}\n");
    project.sites(
        "[default]\nloaders = [\"ipxe.pxe\", \"ipxe.efi\"]\nscript = \"url.ipxe\"\nvars = { boot_url = \"http://192.0.2.1/\" }\n\
         [inventory.racks]\nfrom = \"racks.csv\"\n",
    );
    project.write("embed-scripts/racks.csv", &racks(0..count));
    project
}

fn racks(numbers: impl IntoIterator<Item = usize>) -> String {
    let mut csv = "name,boot_url\n".to_owned();
    for number in numbers {
        writeln!(csv, "rack-{number:04},http://192.0.2.1/{number}").unwrap();
    }
    csv
}

/// Builds, and returns the counts of the result: loaders stamped, kept, and hard links.
#[track_caller]
fn numbers(project: &Project) -> [u64; 3] {
    let arguments = project.build_arguments(&["--message-format", "json"]);
    let ran = project.run(arguments.iter().map(String::as_str).collect::<Vec<_>>()).success();
    let result: Value = serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap();
    ["loaders-stamped", "loaders-kept", "hard-links"].map(|key| result[key].as_u64().unwrap())
}

fn manifest(project: &Project) -> Manifest {
    Manifest::parse(&project.read("dist/tftp/manifest.json")).unwrap()
}

fn stamped_loaders_are_what_make_gives() {
    let project = with_sites(7);
    project.build(&[]).success();
    let ask = |more: &[&str]| {
        let [url, archive] = [project.path("ipxe"), project.path("syslinux.zip")];
        let mut arguments = vec!["verify", "--against-make", "--offline", "--ipxe-url", url.as_str()];
        arguments.extend(["--syslinux-archive", archive.as_str()]);
        arguments.extend(more);
        project.run(&arguments)
    };
    let ran = ask(&["--sample", "100"]).success();
    assert!(ran.stdout.contains(": 16 loaders of 8 of 8 sites (seed "), "{}", ran.stdout);
    assert!(ran.stdout.ends_with(") are what make gives, byte for byte\n"), "{}", ran.stdout);
    let ran = ask(&["--sample", "3", "--seed", "5"]).success();
    assert!(ran.stdout.contains(": 6 loaders of 3 of 8 sites (seed 5) are"), "{}", ran.stdout);
    // A loader that differs from make's output, in a tree that looks as if it was built so.
    let path = project.tree().join("sites/rack-0003/ipxe.efi");
    let made = std::fs::read(&path).unwrap();
    let mut loader = made.clone();
    let last = loader.len() - 5;
    loader[last] ^= 1;
    std::fs::write(&path, &loader).unwrap();
    // "found" is the content of the tree, and "wanted" the expected one, as in plain `verify`.
    let [good, bad] = [&made, &loader].map(|content| content[last - 2..][..5].escape_ascii().to_string());
    let error = project.run(["verify"]).error(8);
    let digests = [&loader, &made].map(|content| netboot_loaders::digest::Sha256Digest::of(content).to_string());
    assert!(error.contains(&format!("found {} (", digests[0])), "{error}");
    assert!(error.contains(&format!("wanted {} (", digests[1])), "{error}");
    rewrite_manifest(&project.tree());
    let error = ask(&["--sample", "8", "--seed", "1"]).error(12);
    assert!(
        error.starts_with(
            "of 16 loaders of 8 of 8 sites (seed 1), 1 differs from what make builds\n`sites/rack-0003/ipxe.efi`\n  1 of "
        ),
        "{error}"
    );
    let line = |side: &str| error.lines().find(|line| line.starts_with(&format!("    {side} "))).unwrap().to_owned();
    assert!(line("found").contains(&bad) && line("wanted").contains(&good), "{error}");
    let tree = project.tree();
    assert!(
        error.ends_with(&format!(
            "\nthe manifest names the same tools and inputs as make has here, so it was changed after the build\n\
             hint: serve nothing of `{tree}`: build it again with `cargo xtask build-loaders`, and find out who wrote there\n\
             hint: or ask about the same loaders again with `--seed 1`\n\
             help: cargo xtask help verify-and-inspect\n"
        )),
        "{error}"
    );
    // The same if the manifest names another compiler or other flags, which may be the cause.
    let manifest = std::fs::read_to_string(tree.join("manifest.json")).unwrap();
    let edited = |edit: &dyn Fn(&mut serde_json::Value)| {
        let mut value: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        edit(&mut value);
        std::fs::write(tree.join("manifest.json"), value.to_string()).unwrap();
        rewrite_manifest(&tree);
    };
    edited(&|manifest| manifest["toolchain"][0]["package"] = "gcc 1.2-3".into());
    let error = ask(&["--sample", "8", "--seed", "1"]).error(11);
    assert!(error.contains("\nthe tree was built with other tools, which may be the reason; "), "{error}");
    assert!(error.contains(": found gcc 1.2-3, wanted "), "{error}");
    assert!(
        error.contains("\nhint: compare again with the tools that found names: what differs then was changed\n"),
        "{error}"
    );
    edited(&|manifest| manifest["ipxe"]["source-date-epoch"] = 7.into());
    let error = ask(&["--sample", "8", "--seed", "1"]).error(12);
    assert!(error.contains("\nthe tree was built from other inputs, which may be the reason; "), "{error}");
    assert!(error.contains("\n  the epoch: found 7, wanted 1700000000\n"), "{error}");
    let ran = ask(&["--sample", "8", "--message-format", "json"]);
    let events: Vec<serde_json::Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let details = events.iter().find(|event| event["event"] == "result").unwrap();
    assert_eq!(details["differences"].as_array().unwrap().len(), 1);
    assert_eq!(details["causes"][0]["subject"], "the epoch");
    // A configuration with fewer loaders than the tree, or with others.
    project.write("embed-scripts/racks.csv", &racks(0..2));
    let ran = ask(&[]).warned();
    assert!(
        ran.stderr.contains("has 10 loaders that the configuration does not have, and nobody asks make"),
        "{}",
        ran.stderr
    );
    project.write("embed-scripts/racks.csv", &racks(1..8));
    let error = ask(&["--sample", "8"]).error(3);
    assert_eq!(
        error,
        "`sites/rack-0007/ipxe.efi` is in the configuration and not in the tree\n\
         hint: build the tree with `cargo xtask build-loaders`\n"
    );
}

fn only_what_has_changed_is_stamped_again() {
    let project = with_sites(10);
    assert_eq!(numbers(&project), [22, 0, 0]);
    assert_eq!(numbers(&project), [0, 22, 0]);
    // One changed, one removed, one new.
    let csv =
        racks((0..10).filter(|number| *number != 4)).replace("0002,http://192.0.2.1/2", "0002,http://192.0.2.1/x");
    project.write("embed-scripts/racks.csv", &format!("{csv}new,http://192.0.2.1/new\n"));
    assert_eq!(numbers(&project), [4, 18, 0]);
    assert!(!project.tree().join("sites/rack-0004").exists());
    assert!(String::from_utf8_lossy(&project.read("dist/tftp/sites/rack-0002/ipxe.efi")).contains("192.0.2.1/x\n"));
    project.run(["verify"]).success();
    let after = project.snapshot();
    // The same from scratch.
    std::fs::remove_dir_all(project.path("dist")).unwrap();
    assert_eq!(numbers(&project), [22, 0, 0]);
    assert!(project.snapshot() == after);
    // A file changed in the tree is stamped again, and nothing else.
    std::fs::write(project.tree().join("sites/rack-0001/ipxe.pxe"), b"changed").unwrap();
    assert_eq!(numbers(&project), [1, 21, 0]);
    assert!(project.snapshot() == after);
}

fn what_is_the_same_is_stored_once_and_packed_in_full() {
    let project = with_sites(0);
    project.write(
        "embed-scripts/racks.csv",
        "name,boot_url\na,http://192.0.2.1/same\nb,http://192.0.2.1/other\nc,http://192.0.2.1/same\nd,\n",
    );
    assert_eq!(numbers(&project), [6, 0, 4]);
    assert_eq!(numbers(&project), [0, 6, 4]);
    let inode = |path: &str| std::fs::metadata(project.tree().join(path)).unwrap().ino();
    assert_eq!(inode("sites/a/ipxe.efi"), inode("sites/c/ipxe.efi"));
    assert_eq!(inode("ipxe.pxe"), inode("sites/d/ipxe.pxe"));
    assert!(inode("sites/a/ipxe.efi") != inode("sites/b/ipxe.efi"));
    let manifest = manifest(&project);
    let same: Vec<(&str, &str)> =
        manifest.files.iter().filter_map(|file| Some((file.path.as_str(), file.same_as.as_ref()?.as_str()))).collect();
    let wanted = ["ipxe.efi", "ipxe.pxe"].map(|loader| (format!("sites/c/{loader}"), format!("sites/a/{loader}")));
    let wanted = wanted.into_iter().chain(["ipxe.efi", "ipxe.pxe"].map(|it| (format!("sites/d/{it}"), it.to_owned())));
    assert_eq!(same, wanted.collect::<Vec<_>>().iter().map(|(a, b)| (a.as_str(), b.as_str())).collect::<Vec<_>>());
    project.build(&["--archive"]).success();
    let out = project.path("unpacked");
    std::fs::create_dir(&out).unwrap();
    let archive = project.path("dist/netboot-loaders-0.1.0-tftp.tar.gz");
    let untar = Command::new("tar").args(["-xzf", archive.as_str(), "-C", out.as_str()]).status().unwrap();
    assert!(untar.success());
    for file in netboot_loaders::base::fs::walk(&out).unwrap() {
        assert_eq!(std::fs::metadata(out.join(&file.0)).unwrap().nlink(), 1, "{}", file.0);
    }
    project.run(["verify", archive.as_str()]).success();
    project.run(["verify", out.as_str()]).success();
}

fn a_killed_run_leaves_the_old_tree_and_its_work_to_the_next() {
    let project = with_sites(3);
    project.build(&[]).success();
    let before = project.snapshot();
    project.write("embed-scripts/racks.csv", &racks(0..1500));
    let mut used_again = 0;
    for killed in 0..4 {
        let arguments = project.build_arguments(&[]);
        let mut command = project.command(arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let partial = project.path("dist/.tftp.partial/sites");
        // Wait until it has stamped a new loader.
        let wanted = 200 + 250 * killed;
        while !partial.join(format!("rack-{wanted:04}/ipxe.pxe")).exists() && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        if project.read("dist/tftp/manifest.json").len() > 100_000 {
            break;
        }
        used_again += 1;
        assert!(project.snapshot() == before, "the old tree has changed");
        project.run(["verify"]).success();
    }
    assert!(used_again > 0, "every run was done before it was killed");
    let [stamped, kept, _] = numbers(&project);
    assert!(kept > 200 && stamped + kept == 3002, "{stamped} stamped, {kept} kept");
    let after = project.snapshot();
    project.run(["verify"]).success();
    std::fs::remove_dir_all(project.path("dist")).unwrap();
    assert_eq!(numbers(&project), [3002, 0, 0]);
    assert!(project.snapshot() == after);
}

fn what_stands_in_the_way_of_a_new_tree_is_removed_and_nothing_behind_a_link() {
    let project = with_sites(3);
    project.build(&[]).success();
    let elsewhere = project.path("elsewhere");
    project.write("elsewhere/sites/rack-0001/ipxe.efi", "somebody's");
    project.write("elsewhere/ipxe.efi", "somebody's");
    let theirs = Project::files_of(&elsewhere);
    let partial = project.path("dist/.tftp.partial");
    let link = |to: &camino::Utf8Path, at: &camino::Utf8Path| std::os::unix::fs::symlink(to, at).unwrap();
    let prepare: [&dyn Fn(); 5] = [
        &|| link(&elsewhere, &partial),
        &|| {
            std::fs::create_dir(&partial).unwrap();
            link(&elsewhere.join("sites"), &partial.join("sites"));
        },
        &|| {
            std::fs::create_dir_all(partial.join("sites/rack-0001")).unwrap();
            link(&elsewhere.join("ipxe.efi"), &partial.join("sites/rack-0001/ipxe.efi"));
        },
        &|| std::fs::create_dir_all(partial.join("sites/rack-0001/ipxe.efi/folder")).unwrap(),
        &|| {
            std::fs::create_dir(&partial).unwrap();
            std::fs::write(partial.join("sites"), "a file").unwrap();
        },
    ];
    for (number, prepare) in prepare.iter().enumerate() {
        prepare();
        project.write("embed-scripts/racks.csv", &racks(0..3).replace("/1\n", &format!("/new-{number}\n")));
        project.build(&[]).success();
        project.run(["verify"]).success();
        assert_eq!(manifest(&project).files.len(), 10, "{number}");
        assert!(Project::files_of(&elsewhere) == theirs, "{number}");
        assert!(partial.symlink_metadata().is_err(), "{number}");
    }
}

fn a_killed_exchange_leaves_nothing_of_the_old_tree_to_the_next() {
    let project = with_sites(3);
    project.build(&[]).success();
    // The old tree, part of which the user moved to another disk, is in the path of a new one.
    let kept = project.path("kept");
    std::fs::rename(project.tree().join("sites"), &kept).unwrap();
    std::os::unix::fs::symlink(&kept, project.tree().join("sites")).unwrap();
    let before = Project::files_of(&kept);
    std::fs::rename(project.tree(), project.path("dist/.tftp.partial")).unwrap();
    project.write("embed-scripts/racks.csv", &racks(1..5));
    project.build(&[]).success();
    project.run(["verify"]).success();
    assert!(Project::files_of(&kept) == before, "what is behind the link has changed");
}

fn loaders_of_another_base_are_not_used_again() {
    let project = with_sites(2);
    // A build that gives different BIOS loaders each time, for the same keys.
    project
        .edit_makefile(|text| text.replace("echo $*; cat $<; }", "echo $*; cat $<; od -An -N8 -tx8 /dev/urandom; }"));
    project.build(&[]).success();
    let before = project.read("dist/tftp/sites/rack-0001/ipxe.pxe");
    assert_eq!(numbers(&project), [0, 6, 0]);
    std::fs::remove_dir_all(project.path("cache")).unwrap();
    project.write("embed-scripts/racks.csv", &racks(0..3));
    assert_eq!(numbers(&project), [5, 3, 0]);
    assert!(project.read("dist/tftp/sites/rack-0001/ipxe.pxe") != before);
    let end = |path: &str| project.read(path).rsplit(|byte| *byte == b'\n').nth(1).unwrap().to_vec();
    assert_eq!(end("dist/tftp/sites/rack-0000/ipxe.pxe"), end("dist/tftp/sites/rack-0002/ipxe.pxe"));
}

fn a_disk_that_is_full_at_some_site_leaves_the_old_tree_and_the_work_so_far() -> Result<(), String> {
    skip::mount_namespaces()?;
    let project = with_sites(3);
    project.build(&[]).success();
    project.write("embed-scripts/racks.csv", &racks(0..700));
    let (dist, keep) = (project.path("dist"), project.path("keep"));
    // Each loader takes 8 KiB: there is space for half of them, and then for all.
    let script = format!(
        "cp -r {dist} {keep}; mount -t tmpfs -o size=6m none {dist}; cp -r {keep}/. {dist}; \
         if \"$@\" >{keep}/error 2>&1; then exit 99; fi; cp -r {dist}/tftp {keep}/after; \
         mount -o remount,size=100m {dist}; \"$@\"; cp -r {dist}/tftp {keep}/whole"
    );
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-ec", &script, "sh", xtask(), "--message-format", "json"]);
    command.args(["--project", project.root.as_str(), "--cache-dir", project.path("cache").as_str()]);
    let ran = CliOutput::from(command.args(project.build_arguments(&[])).output().unwrap()).success();
    let error = String::from_utf8(project.read("keep/error")).unwrap();
    assert!(error.contains("No space left on device"), "{error}");
    assert!(error.contains("free space on the file system of `"), "{error}");
    let tree = |name: &str| Project::files_of(&project.path(name));
    assert!(tree("keep/tftp") == tree("keep/after"), "the old tree has changed");
    let result: Value = serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap();
    let (stamped, kept) = (result["loaders-stamped"].as_u64().unwrap(), result["loaders-kept"].as_u64().unwrap());
    assert!(kept > 100 && stamped + kept == 1402, "{stamped} stamped, {kept} kept");
    project.run(["verify", project.path("keep/whole").as_str()]).success();
    Ok(())
}

fn a_base_that_was_tampered_with_is_built_again() {
    let project = with_sites(2);
    project.build(&[]).success();
    let before = project.snapshot();
    for file in netboot_loaders::base::fs::walk(&project.path("cache/bases")).unwrap() {
        std::fs::remove_dir_all(project.path("dist")).unwrap();
        let path = project.path("cache/bases").join(file.0);
        let mut content = std::fs::read(&path).unwrap();
        content.push(b'!');
        std::fs::write(&path, content).unwrap();
        let arguments = project.build_arguments(&["--message-format", "json"]);
        let ran = project.run(arguments.iter().map(String::as_str).collect::<Vec<_>>()).success();
        let result: Value = serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap();
        // An EFI base has no zinfo, so the content of that file does not matter.
        assert!(result["bases-made"] == 1 || path.file_name() == Some("zinfo"), "{path}: {result}");
        assert!(project.snapshot() == before, "{path}");
    }
}

fn where_another_liblzma_packs_ipxes_own_program_does_it() {
    let project = with_sites(3);
    project.config("other", "/* foreign */\n");
    project.sites(
        "[default]\nloaders = [\"ipxe.pxe\", \"undionly.kpxe\"]\nscript = \"url.ipxe\"\nconfig = \"other\"\n\
         vars = { boot_url = \"http://192.0.2.1/\" }\n[inventory.racks]\nfrom = \"racks.csv\"\n",
    );
    let ran = project.build(&[]).warned();
    let warnings: Vec<&str> =
        ran.stderr.lines().filter(|line| line.contains("is packed by iPXE's own program")).collect();
    assert_eq!(warnings.len(), 1, "{}", ran.stderr);
    for site in ["sites/rack-0001/ipxe.pxe", "sites/rack-0002/undionly.kpxe", "ipxe.pxe"] {
        let loader = project.read(&format!("dist/tftp/{site}"));
        assert!(loader.ends_with(b"foreign\n"), "{site}");
    }
    assert!(
        String::from_utf8_lossy(&project.read("dist/tftp/sites/rack-0001/ipxe.pxe"))
            .contains("chain http://192.0.2.1/1\n")
    );
}

fn a_script_that_does_not_fit_gets_a_larger_slot_where_that_is_asked_for() {
    let project = Project::new();
    let long = format!("#!ipxe\n{}shell\n", "# a line\n".repeat(600));
    project.write("embed-scripts/long.ipxe", &long);
    let site = "[default]\nloaders = [\"ipxe.pxe\", \"ipxe.efi\"]\nscript = \"boot.ipxe\"\n[site.far]\nscript = \"long.ipxe\"\n";
    project.sites(site);
    let error = project.build(&[]).error(3);
    assert!(error.contains("is 5413 bytes, 1317 more than the slot of 4096"), "{error}");
    assert!(error.contains("slot = 8192") && error.contains("--relink"), "{error}");
    project.build(&["--relink"]).success();
    let relinked = project.snapshot();
    project.sites(&format!("{site}slot = 8192\n"));
    project.build(&[]).success();
    assert!(project.snapshot() == relinked);
    let sizes: Vec<(String, usize)> = manifest(&project)
        .files
        .iter()
        .filter_map(|file| Some((file.path.to_string(), file.ipxe.as_ref()?.slot_size.bytes())))
        .collect();
    let wanted = [("ipxe.efi", 4096), ("ipxe.pxe", 4096), ("sites/far/ipxe.efi", 8192), ("sites/far/ipxe.pxe", 8192)];
    assert_eq!(sizes, wanted.map(|(path, size)| (path.to_owned(), size)));
    assert!(String::from_utf8_lossy(&project.read("dist/tftp/sites/far/ipxe.efi")).contains(&long));
}

fn a_loader_that_cannot_be_stamped_is_named() {
    let project = with_sites(1);
    project.edit_makefile(|text| text.replace("cat $<; cat $<.id", "cat $<; echo more; cat $<.id"));
    let error = project.build(&[]).error(7);
    assert!(error.starts_with("`ipxe.efi` cannot be stamped: its build id is "), "{error}");
    assert!(error.contains("\nhint: see "), "{error}");
    project.edit_makefile(|text| text.replace("embedded_image_1_data", "embedded_image_7_data"));
    let error = project.build(&[]).error(7);
    assert!(error.contains("the linker says nothing of `embedded_image_1_data`"), "{error}");
}
