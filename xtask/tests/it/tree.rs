//! From a project to a tree, with a stand-in for iPXE: building, caching, publishing and verifying.

use netboot_fixtures::harness::xtask;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use netboot_fixtures::project::{CliOutput, Project};
use netboot_fixtures::shows;
use netboot_loaders::loader::file_kind::FileKind;
use netboot_loaders::loader::target::Arch;
use netboot_loaders::tree::manifest::Manifest;
use serde_json::Value;

netboot_fixtures::tests! {
    a_project_becomes_a_tree_that_checks_itself,
    the_manifest_is_as_its_schema_says,
    nothing_to_do_touches_nothing,
    a_second_script_needs_neither_compiler_nor_linker,
    a_larger_slot_is_only_linked,
    the_reason_for_compiling_everything_again_is_told,
    what_was_changed_behind_the_tools_back_is_made_again,
    the_same_inputs_give_the_same_bytes_anywhere,
    the_tarball_is_the_tree_and_nothing_that_varies,
    verify_names_every_difference,
    a_manifest_that_lies_about_kinds_or_its_order_is_refused,
    a_site_that_is_gone_is_gone_from_the_tree,
    a_folder_that_is_no_project_is_told_as_that,
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

fn a_project_becomes_a_tree_that_checks_itself() {
    let project = Project::new();
    project.write("embed-scripts/menu.cfg", "DEFAULT x\n");
    project.sites(
        "[default]\nloaders = [\"ipxe.pxe\", \"ipxe.efi\"]\nscript = \"boot.ipxe\"\n\
         [syslinux]\nmembers = [\"lpxelinux.0\", \"ldlinux.c32\"]\npxelinux-config = \"menu.cfg\"\n\
         [site.rack-1]\nloaders = [\"snponly.efi\"]\n",
    );
    shows!(project, project.build_arguments(&["--plan"]), "plan");
    let ran = project.build(&[]).success();
    assert!(ran.stdout.starts_with(&format!("built {} in ", project.tree())), "{}", ran.stdout);
    let files: Vec<String> = project.snapshot().into_iter().map(|(path, _)| path.into_string()).collect();
    assert_eq!(
        files,
        [
            "SHA256SUMS",
            "ipxe.efi",
            "ipxe.pxe",
            "ldlinux.c32",
            "linked-objects/default/ipxe.efi.txt",
            "linked-objects/default/ipxe.pxe.txt",
            "linked-objects/default/snponly.efi.txt",
            "lpxelinux.0",
            "manifest.json",
            "pxelinux.cfg/default",
            "sites/rack-1/snponly.efi"
        ]
    );
    let sums = Command::new("sha256sum").args(["--strict", "-c", "SHA256SUMS"]).current_dir(project.tree()).output();
    assert!(sums.unwrap().status.success());
    assert_eq!(project.read("dist/tftp/pxelinux.cfg/default"), b"DEFAULT x\n");
    let mut slot = b"#!ipxe\ndhcp && chain ${root-path}\n".to_vec();
    slot.resize(4096, b'\n');
    let loader = project.read("dist/tftp/sites/rack-1/snponly.efi");
    assert_eq!(loader.windows(slot.len()).filter(|window| *window == slot).count(), 1);
    shows!(project, ["verify"], @r"
    exit code 0, stdout:
    PROJECT/dist/tftp: all 9 files are as in the manifest, and nothing else is there
    ");
}

fn the_manifest_is_as_its_schema_says() {
    let project = Project::new();
    project.config("extra", "#define X\n");
    project.write("embed-scripts/ca.pem", include_str!("../../../fixtures/ca.pem"));
    project.write("vendor/patches/0001-why.patch", "diff --git a/src/core.c b/src/core.c\n--- a/src/core.c\n+++ b/src/core.c\n@@ -1 +1 @@\n-int main(void) { return 0; }\n+int main(void) { return 1; }\n");
    project.sites(
        "[default]\nloaders = [\"ipxe.pxe\"]\nscript = \"boot.ipxe\"\n[syslinux]\nmembers = [\"lpxelinux.0\", \"ldlinux.c32\"]\n\
         [site.a]\nconfig = \"extra\"\ntrust = [\"ca.pem\"]\n",
    );
    project.build(&[]).success();
    let schema =
        json(&std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../schemas/manifest-1.schema.json")).unwrap());
    let validator = netboot_fixtures::jsonschema::validator_for(&schema).unwrap();
    let manifest = json(&project.read("dist/tftp/manifest.json"));
    let errors: Vec<String> = validator.iter_errors(&manifest).map(|error| error.to_string()).collect();
    assert_eq!(errors, [""; 0]);
    assert_eq!(manifest["ipxe"]["patches"][0]["name"], "0001-why.patch");
    assert_eq!(manifest["configurations"].as_array().unwrap().len(), 2);
    let mut spoiled = manifest.clone();
    spoiled["files"][0]["sha256"] = "short".into();
    assert!(!validator.is_valid(&spoiled));
    let object = String::from_utf8_lossy(&project.read("dist/tftp/sites/a/ipxe.pxe")).into_owned();
    assert!(object.contains("return 1;") && object.contains("#define X") && object.contains("BEGIN CERTIFICATE"));
}

fn nothing_to_do_touches_nothing() {
    let project = Project::new();
    project.build(&["--archive"]).success();
    let before = project.tree().join("ipxe.efi").metadata().unwrap().modified().unwrap();
    std::fs::remove_dir_all(project.path("cache/trees")).unwrap();
    std::fs::remove_dir_all(project.path("cache/ipxe.git")).unwrap();
    let ran = project.run(["build-loaders", "--offline"]).success();
    assert!(ran.stdout.starts_with(&format!("{} is up to date, checked in ", project.tree())), "{}", ran.stdout);
    assert_eq!(project.tree().join("ipxe.efi").metadata().unwrap().modified().unwrap(), before);
}

/// Returns the events of kind `kind` that a build started.
fn started(ran: &CliOutput, kind: &str) -> usize {
    let events = ran.stdout.lines().map(|line| json(line.as_bytes()));
    events.filter(|event| event["event"] == "started" && event["kind"] == kind).count()
}

fn a_second_script_needs_neither_compiler_nor_linker() {
    let project = Project::new();
    let first = project.build(&["--message-format", "json"]).success();
    assert_eq!((started(&first, "make"), started(&first, "link")), (2, 0));
    project.write("embed-scripts/boot.ipxe", "#!ipxe\nshell\n");
    let second = project.build(&["--message-format", "json"]).success();
    assert_eq!((started(&second, "make"), started(&second, "link")), (0, 0));
    let loader = String::from_utf8_lossy(&project.read("dist/tftp/ipxe.efi")).into_owned();
    assert!(loader.contains("#!ipxe\nshell\n\n") && !loader.contains("root-path"));
}

fn the_reason_for_compiling_everything_again_is_told() {
    let project = Project::new();
    project.sites("[default]\nloaders = [\"ipxe.pxe\"]\nscript = \"boot.ipxe\"\nconfig = \"mine\"\n");
    project.config("mine", "#define A\n");
    let build = || {
        let mut command = project.command(project.build_arguments(&[]));
        let ran = CliOutput::from(command.env("PATH", project.path_with_tools()).output().unwrap()).success();
        let export = ran.stderr.lines().find_map(|line| line.trim_start().strip_prefix("export iPXE's source for "));
        export.map(|reason| reason.strip_prefix("bios-mine: ").unwrap().to_owned())
    };
    assert_eq!(build().as_deref(), Some("not in the cache"));
    assert_eq!(build(), None);
    project.config("mine", "#define B\n");
    assert_eq!(build().as_deref(), Some("configuration changed: general.h"));
    let old = pinned(&project);
    project.edit_makefile(|text| text + "# changed\n");
    assert_eq!(build(), Some(format!("pin changed: {old} -> {}", pinned(&project))));
    // Bytes behind the end of a program change nothing that it does.
    let sed = std::fs::read(netboot_fixtures::skip::program("sed").unwrap()).unwrap();
    project.write("tools/sed", "");
    std::fs::write(project.path("tools/sed"), [&sed[..], b"\n"].concat()).unwrap();
    std::fs::set_permissions(project.path("tools/sed"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let reason = build().unwrap();
    assert!(reason.starts_with("toolchain changed: sed"), "{reason}");
    let (bases, tree) = (project.path("cache/bases"), project.path("cache/trees/bios-mine"));
    std::fs::remove_dir_all(&bases).unwrap();
    std::fs::write(tree.join("tree/src/Makefile"), "").unwrap();
    assert_eq!(build().as_deref(), Some("a source file in the cache was changed"));
    std::fs::remove_dir_all(&bases).unwrap();
    std::fs::remove_file(tree.join("seal.json")).unwrap();
    assert_eq!(build().as_deref(), Some("the last build was not finished"));
}

/// Returns the pinned commit.
fn pinned(project: &Project) -> String {
    let pins = String::from_utf8(project.read("vendor/pins.toml")).unwrap();
    let commit = pins.lines().find_map(|line| line.strip_prefix("commit = \""));
    commit.unwrap().trim_end_matches('"').to_owned()
}

fn a_larger_slot_is_only_linked() {
    let project = Project::new();
    project.build(&[]).success();
    let sites = String::from_utf8(project.read("embed-scripts/sites.toml")).unwrap();
    project.sites(&sites.replace("script =", "slot = 8192\nscript ="));
    let ran = project.build(&["--message-format", "json"]).success();
    assert_eq!((started(&ran, "make"), started(&ran, "link")), (0, 2));
    for entry in std::fs::read_dir(project.path("cache/trees")).unwrap() {
        let log = std::fs::read_to_string(entry.unwrap().path().join("make.log")).unwrap();
        assert!(log.contains("[FINISH]") && !log.contains("[BUILD]"), "{log}");
    }
}

fn what_was_changed_behind_the_tools_back_is_made_again() {
    let project = Project::new();
    project.build(&[]).success();
    let before = project.snapshot();
    let spoil = |pattern: &str| {
        let files = netboot_loaders::base::fs::walk(&project.path("cache")).unwrap();
        let file = files.into_iter().find(|(path, _)| path.as_str().contains(pattern)).unwrap().0;
        std::fs::write(project.path("cache").join(file), "spoiled").unwrap();
    };
    spoil("/image");
    std::fs::write(project.tree().join("ipxe.pxe"), "spoiled").unwrap();
    spoil("src/bin/c.o");
    spoil("src/bin-x86_64-efi/c.o");
    spoil("blobs/");
    let ran = project.build(&[]).success();
    assert!(ran.stdout.contains("1 base made, 1 loader stamped, 2 kept"), "{}", ran.stdout);
    assert_eq!(project.snapshot(), before);
    // Removing a changed source file does not repair it: the build tree is created again.
    spoil("src/core.c");
    spoil("/image");
    project.build(&[]).success();
    assert_eq!(project.snapshot(), before);
}

fn the_same_inputs_give_the_same_bytes_anywhere() {
    let (one, other) = (Project::new(), Project::new());
    one.build(&["--archive", "--jobs", "1"]).success();
    let arguments = other.build_arguments(&["--archive", "--jobs", "7"]);
    let script = "umask 077; cd /; exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", xtask(), "--project", other.root.as_str()]);
    command
        .args(["--cache-dir", other.path("cache").as_str()])
        .args(arguments)
        .env("TZ", "Asia/Tokyo")
        .env("LC_ALL", "C.UTF-8");
    CliOutput::from(command.output().unwrap()).success();
    assert_eq!(one.snapshot(), other.snapshot());
    let archive = format!("dist/netboot-loaders-{}-tftp.tar.gz", env!("CARGO_PKG_VERSION"));
    assert_eq!(one.read(&archive), other.read(&archive));
}

fn the_tarball_is_the_tree_and_nothing_that_varies() {
    let project = Project::new();
    let ran = project.build(&["--archive"]).success();
    let archive = project.path(&format!("dist/netboot-loaders-{}-tftp.tar.gz", env!("CARGO_PKG_VERSION")));
    assert!(ran.stdout.contains(archive.as_str()));
    let list =
        Command::new("tar").args(["--numeric-owner", "-tvzf", archive.as_str()]).env("TZ", "UTC").output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    for line in list.lines() {
        assert!(line.starts_with("-rw-r--r-- 0/0 ") && line.contains(" 2023-11-14 22:13 "), "{line}");
    }
    let names: Vec<&str> = list.lines().map(|line| line.rsplit(' ').next().unwrap()).collect();
    assert_eq!(names, project.snapshot().iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>());
    assert_eq!(std::fs::read(&archive).unwrap()[3..10], [0, 0, 0, 0, 0, 2, 255], "gzip without name and time");
    project.run(["verify", archive.as_str()]).success();
}

fn verify_names_every_difference() {
    let project = Project::new();
    project.build(&["--archive"]).success();
    let tree = project.tree();
    std::fs::remove_file(tree.join("ldlinux.c32")).unwrap();
    std::fs::write(tree.join("autoexec.ipxe"), "#!ipxe\n").unwrap();
    std::fs::write(tree.join("undionly.kpxe"), "<html>404</html>").unwrap();
    std::fs::remove_file(tree.join("ldlinux.e64")).unwrap();
    symlink("lpxelinux.0", tree.join("ldlinux.e64")).unwrap();
    std::fs::write(tree.join("SHA256SUMS"), "").unwrap();
    let error = project.run(["verify"]).error(8);
    let manifest = json(&project.read("dist/tftp/manifest.json"));
    let wanted = manifest["files"].as_array().unwrap().iter().find(|file| file["path"] == "undionly.kpxe").unwrap();
    let found = netboot_loaders::digest::Sha256Digest::of(b"<html>404</html>");
    assert_eq!(
        error,
        format!(
            "`{tree}` differs from its manifest\n  `ldlinux.c32` is missing\n  `ldlinux.e64` is missing\n  \
             `autoexec.ipxe` is not in the manifest\n  `ldlinux.e64` is a link or a device, wanted a plain file\n  \
             `undionly.kpxe` has changed: found {found} (16 bytes), wanted {} ({} bytes)\n  \
             `SHA256SUMS` does not say what the manifest says\nhint: build the tree with `cargo xtask build-loaders`\nhelp: cargo xtask help verify-and-inspect\n",
            wanted["sha256"].as_str().unwrap(),
            wanted["size"]
        )
    );
    shows!(project, project.build_arguments(&[]), @"
    exit code 1, stderr:
    error: `PROJECT/dist/tftp` has files that this tool did not put there, and publishing would remove them: `autoexec.ipxe`, `ldlinux.e64`
    hint: move them away
    hint: or replace what is there with `--replace`
    ");
    let again = project.build(&["--replace"]).warned();
    assert!(again.stdout.starts_with("built "), "a tree that is not whole is published anew");
    project.run(["verify"]).success();
}

fn a_manifest_that_lies_about_kinds_or_its_order_is_refused() {
    let project = Project::new();
    project.build(&[]).success();
    let honest = Manifest::parse(&project.read("dist/tftp/manifest.json")).unwrap();
    let refused = |lie: &dyn Fn(&mut Manifest), said: &str| {
        let mut manifest = honest.clone();
        lie(&mut manifest);
        project.write("dist/tftp/manifest.json", &manifest.to_json());
        project.write("dist/tftp/SHA256SUMS", &manifest.sha256sums());
        let error = project.run(["verify"]).error(8);
        assert!(
            error.starts_with(&format!("`{}` differs from its manifest\n  {said}\nhint: ", project.tree())),
            "{error}"
        );
    };
    let kind = |path: &'static str, kind: FileKind, arch: Option<Arch>| {
        move |manifest: &mut Manifest| {
            let file = manifest.files.iter_mut().find(|file| file.path == path).unwrap();
            (file.kind, file.arch) = (kind, arch);
        }
    };
    let efi = "`ipxe.efi` is not what the manifest says: it is an EFI application for x86-64, wanted";
    refused(&kind("ipxe.efi", FileKind::Text, None), &format!("{efi} a text"));
    refused(
        &kind("ipxe.efi", FileKind::IpxeNbp, Some(Arch::I386)),
        &format!("{efi} an iPXE network boot program for i386"),
    );
    refused(
        &kind("ipxe.efi", FileKind::EfiApplication, Some(Arch::I386)),
        &format!("{efi} an EFI application for i386"),
    );
    let nbp = "is not what the manifest says: it is an iPXE network boot program for i386, wanted";
    let lie = kind("undionly.kpxe", FileKind::EfiApplication, Some(Arch::I386));
    refused(&lie, &format!("`undionly.kpxe` {nbp} an EFI application for i386"));
    // Without its origin, too, and as a file of syslinux.
    let as_data = |member: Option<&'static str>| {
        move |manifest: &mut Manifest| {
            let file = manifest.files.iter_mut().find(|file| file.path == "ipxe.efi").unwrap();
            (file.kind, file.arch, file.ipxe) = (FileKind::Data, None, None);
            file.member = member.map(Into::into);
        }
    };
    refused(&as_data(None), &format!("{efi} data"));
    refused(&as_data(Some("efi64/ipxe.efi")), &format!("{efi} data"));
    let twice = |manifest: &mut Manifest| {
        let at = manifest.files.iter().position(|file| file.path == "ipxe.efi").unwrap();
        manifest.files.insert(at, manifest.files[at].clone());
    };
    refused(&twice, "`ipxe.efi` is in the manifest more than once");
    let last = honest.files.len() - 1;
    let (a, b) = (&honest.files[last - 1].path, &honest.files[last].path);
    let said = format!("the manifest is not sorted by path: found `{b}` before `{a}`");
    refused(&|manifest: &mut Manifest| manifest.files.swap(last - 1, last), &said);
    project.write("dist/tftp/manifest.json", &honest.to_json());
    project.write("dist/tftp/SHA256SUMS", &honest.sha256sums());
    project.run(["verify"]).success();
}

fn a_site_that_is_gone_is_gone_from_the_tree() {
    let project = Project::new();
    let base = "[default]\nloaders = []\nscript = \"boot.ipxe\"\n";
    project.sites(&format!("{base}[site.a]\nloaders = [\"ipxe.pxe\"]\n[site.b]\nloaders = [\"ipxe.pxe\"]\n"));
    project.build(&[]).success();
    assert_eq!(project.read("dist/tftp/sites/a/ipxe.pxe"), project.read("dist/tftp/sites/b/ipxe.pxe"));
    project.sites(&format!("{base}[site.b]\nloaders = [\"ipxe.pxe\"]\n"));
    project.build(&[]).success();
    assert!(!project.tree().join("sites/a").exists() && project.tree().join("sites/b/ipxe.pxe").exists());
}

fn a_folder_that_is_no_project_is_told_as_that() {
    let project = Project::new();
    std::fs::remove_file(project.path("vendor/pins.toml")).unwrap();
    let commands: [&[&str]; 6] = [
        &["build-loaders", "--plan"],
        &["fetch"],
        &["recipe", "dnsmasq"],
        &["ignition"],
        &["update"],
        &["release", "--dry-run"],
    ];
    for command in commands {
        assert_eq!(
            project.run(command).error(3),
            format!(
                "`{}` is not a project folder: it has no `vendor/pins.toml`\n\
                 hint: give the one that has `vendor/` and `embed-scripts/` with `--project`\n",
                project.root
            ),
            "{command:?}"
        );
    }
}
