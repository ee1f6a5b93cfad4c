//! Rebuild and compare, with a stand-in for iPXE: what is identical, what differs, and why.

pub mod variations;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use camino::Utf8PathBuf;
use netboot_fixtures::project::{CliOutput, Project, rewrite_manifest};
use netboot_fixtures::skip;
use netboot_loaders::reproduce::variation::Variation;

netboot_fixtures::tests! {
    inputs,
    flipped_byte,
    foreign_files,
    ; slow:
    long_lists,
    other_verdicts,
    recording,
    diffoscope,
    large_files,
    outside,
    unsteady,
    two_builds,
    releases,
    tools,
    choosing,
}

/// Returns a project with cached sources, a tree and a tarball.
fn published() -> Project {
    let project = Project::new();
    project.build(&["--archive"]).success();
    project
}

fn reproduce(project: &Project, more: &[&str]) -> CliOutput {
    project.run([&["reproduce", "--offline"], more].concat())
}

fn tarball(project: &Project) -> Utf8PathBuf {
    project.path(&format!("dist/netboot-loaders-{}-tftp.tar.gz", env!("CARGO_PKG_VERSION")))
}

fn two_builds() {
    let project = published();
    let ran = reproduce(&project, &[]).warned();
    assert!(
        ran.stdout.contains("reproduced: all 3 loaders are those of the build with nothing varied, byte for byte\n"),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("\n2 builds\n"), "{}", ran.stdout);
    let varied = Variation::ALL.into_iter().filter(|variation| skip::variation(*variation).is_ok());
    let varied = varied.map(Variation::as_str).collect::<Vec<_>>().join(", ");
    assert!(ran.stdout.contains(&format!(" s  varied {varied}\n")), "{}", ran.stdout);
    // No files are left, and the tree is unchanged.
    assert!(!project.path("cache/reproduce").exists());
    assert!(!project.path("dist/reproduce").exists());
    project.run(["verify"]).success();
}

fn releases() {
    let project = published();
    let (tree, manifest) = (project.tree(), project.path("dist/tftp/manifest.json"));
    for release in [&tree, &tarball(&project), &manifest] {
        let ran = reproduce(&project, &["--against", release.as_str()]).warned();
        let wanted = format!("reproduced: all 10 files are those of {release}, byte for byte\n");
        assert!(ran.stdout.contains(&wanted), "{}", ran.stdout);
        assert!(
            ran.stdout.contains("  and the manifest is the same, so the whole tree is\none build\n"),
            "{}",
            ran.stdout
        );
    }
    // Loaders with the same content are named after the first of them, whichever tool writes the manifest.
    let sites = String::from_utf8(project.read("embed-scripts/sites.toml")).unwrap();
    project.sites(&format!("{sites}[site.a]\n[site.b]\n"));
    project.build(&["--archive"]).success();
    let ran = reproduce(&project, &["--against", tree.as_str()]).success();
    assert!(ran.stdout.contains("  and the manifest is the same, so the whole tree is\n"), "{}", ran.stdout);
    let content = std::fs::read(tarball(&project)).unwrap();
    let address = serve(content);
    project.run(["reproduce", "--against", &address]).success();
    let error = reproduce(&project, &["--against", &address]).error(5);
    assert!(error.starts_with(&format!("cannot download `{address}`: this run is offline\n")), "{error}");
    let error = reproduce(&project, &["--against", "/nowhere"]).error(5);
    assert!(error.starts_with("there is no `/nowhere`\nhint: "), "{error}");
}

/// Serves `content` over HTTP. Returns its address.
fn serve(content: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/release.tar.gz", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", content.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&content));
        }
    });
    address
}

fn inputs() {
    let project = published();
    let release = tarball(&project);
    let against = |project: &Project| reproduce(project, &["--against", release.as_str(), "--plain"]).error(12);
    let script = project.read("embed-scripts/boot.ipxe");
    project.write("embed-scripts/boot.ipxe", "#!ipxe\ndhcp && chain ${filename}\n");
    let error = against(&project);
    assert!(error.starts_with(&format!("3 of 10 files differ from {release}\n")), "{error}");
    assert!(error.contains("  the script in `ipxe.efi`: found boot.ipxe (slot "), "{error}");
    assert!(error.contains("dhcp && chain ${filen"), "{error}");
    assert!(
        error.contains("wanted #!ipxe\\ndhcp && chain ${root-path") || error.contains("dhcp && chain ${root-"),
        "{error}"
    );
    let (here, there) = (project.path("dist/reproduce/here/ipxe.efi"), project.path("dist/reproduce/there/ipxe.efi"));
    assert!(error.contains(&format!("  both versions: {here}, {there}\n")), "{error}");
    assert!(std::fs::read(there).unwrap() == project.read("dist/tftp/ipxe.efi"));
    std::fs::write(project.path("embed-scripts/boot.ipxe"), script).unwrap();
    // A configuration with the same name and another content.
    let sites = "[default]\nloaders = [\"ipxe.efi\"]\nscript = \"boot.ipxe\"\nconfig = \"own\"\n";
    project.sites(sites);
    project.config("own", "#define A\n");
    project.build(&["--archive", "--replace"]).success();
    project.config("own", "#define B /* drop */\n");
    let error = against(&project);
    assert!(error.contains("  the header `general.h` of the configuration `own`: found "), "{error}");
    assert!(error.contains("  not linked here: feature D\n  not linked here: protocol net/d_proto\n"), "{error}");
    project.config("own", "#define A\n");
    project.write("vendor/patches/a.patch", "diff --git a/src/core.c b/src/core.c\n--- a/src/core.c\n+++ b/src/core.c\n@@ -1 +1 @@\n-int main(void) { return 0; }\n+int main(void) { return 1; }\n");
    let error = against(&project);
    assert!(error.contains("  the patch `a.patch`: found "), "{error}");
    // Only digests of the other side are available.
    let manifest = project.path("dist/tftp/manifest.json");
    let error = reproduce(&project, &["--against", manifest.as_str(), "--plain"]).error(12);
    assert!(
        error.contains("  the patch `a.patch`: found ")
            && error.contains("  only the digest of the other one is known"),
        "{error}"
    );
}

/// Creates a folder with a `make` that runs `script`. Returns a `PATH` that begins with it.
fn make_of_its_own(project: &Project, script: &str) -> String {
    let file = project.path("tools/make");
    project.write("tools/make", &format!("#!/bin/sh\n{script}\n"));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{}", project.path("tools"), std::env::var("PATH").unwrap())
}

fn tools() {
    let project = Project::new();
    let path = make_of_its_own(&project, "unset SOURCE_DATE_EPOCH\nexec /usr/bin/make \"$@\"");
    let arguments = project.build_arguments(&["--archive"]);
    let mut command = project.command(arguments.iter().map(String::as_str).collect::<Vec<_>>());
    CliOutput::from(command.env("PATH", path).output().unwrap()).success();
    let error = reproduce(&project, &["--against", tarball(&project).as_str()]).error(11);
    // The tool first, then where the bytes differ.
    let lines: Vec<&str> = error.lines().collect();
    assert!(lines[0].starts_with("3 of 10 files differ from "), "{error}");
    assert!(lines[1].starts_with("  `make`: found "), "{error}");
    assert!(error.contains("hint: rebuild with the toolchain of the release"), "{error}");
    // Other tools that give the same bytes are not an error, but are reported.
    let path = make_of_its_own(&project, "exec /usr/bin/make \"$@\"");
    project.build(&["--archive"]).success();
    let mut command = project.command(["reproduce", "--offline", "--plain", "--against", tarball(&project).as_str()]);
    let ran = CliOutput::from(command.env("PATH", path).output().unwrap()).success();
    assert!(ran.stdout.contains("  although this differs: `make`: found "), "{}", ran.stdout);
}

fn foreign_files() {
    let project = published();
    let tree = project.tree();
    // A file that is not a loader.
    let mut content = project.read("dist/tftp/lpxelinux.0");
    content.extend(b"more");
    std::fs::write(project.path("dist/tftp/lpxelinux.0"), content).unwrap();
    rewrite_manifest(&tree);
    let error = reproduce(&project, &["--plain", "--against", tree.as_str()]).error(12);
    assert!(error.starts_with(&format!("1 of 10 files differs from {tree}\n`lpxelinux.0`: found ")), "{error}");
    // One loader fewer here, and one more.
    project.build(&["--archive"]).success();
    project.sites("[default]\nloaders = [\"ipxe.efi\", \"snponly.efi\"]\nscript = \"boot.ipxe\"\n[syslinux]\nmembers = [\"lpxelinux.0\", \"ldlinux.c32\", \"syslinux.efi\", \"ldlinux.e64\"]\n");
    let error = reproduce(&project, &["--plain", "--against", tarball(&project).as_str()]).error(12);
    assert!(
        error.contains("  `snponly.efi`: found bin-x86_64-efi/snponly.efi, wanted no such loader in the release\n"),
        "{error}"
    );
    assert!(
        error.contains("  `ipxe.pxe`: found no such loader in the configuration, wanted bin/ipxe.pxe\n"),
        "{error}"
    );
}

/// Appends a line for each of `numbers` to a file of the tree, piece by piece.
fn append(project: &Project, path: &str, numbers: std::ops::Range<usize>, line: impl Fn(usize) -> String) {
    let file = std::fs::OpenOptions::new().append(true).open(project.tree().join(path)).unwrap();
    let mut file = std::io::BufWriter::new(file);
    numbers.for_each(|number| file.write_all(line(number).as_bytes()).unwrap());
    file.flush().unwrap();
}

fn large_files() {
    let project = published();
    let (tree, list) = (project.tree(), "linked-objects/default/ipxe.efi.txt");
    append(&project, "ipxe.efi", 0..5_000_000, |number| format!("{number:07}\0"));
    append(&project, list, 0..2_500_000, |number| format!("object {number:07}\n"));
    rewrite_manifest(&tree);
    let size = std::fs::metadata(tree.join("ipxe.efi")).unwrap().len();
    let error = project.run_within_limits(&["reproduce", "--offline", "--plain", "--against", tree.as_str()]).error(12);
    for line in [
        format!(" bytes, wanted {size}, the first difference is at "),
        "  they are not looked into: wanted loaders of at most 4194304 bytes\n".to_owned(),
        format!("  what is linked into the other one is not compared: cannot read `{tree}/{list}`: it has "),
    ] {
        assert!(error.contains(&line), "{error}");
    }
    // The output of make is compared with them in the same way.
    let error = project.run_within_limits(&["verify", "--offline", "--against-make"]).error(12);
    assert!(error.contains("  they are not looked into: wanted loaders of at most 4194304 bytes\n"), "{error}");
}

fn long_lists() {
    let project = published();
    let tree = project.tree();
    append(&project, "ipxe.efi", 0..5, |number| format!("{number}{}\0", "x".repeat(100_000)));
    append(&project, "linked-objects/default/ipxe.efi.txt", 0..1000, |number| format!("object {number:04}\n"));
    rewrite_manifest(&tree);
    let arguments = ["reproduce", "--offline", "--plain", "--against"];
    let error = project.run([&arguments[..], &[tree.as_str()]].concat()).error(12);
    assert!(error.contains("  not linked here: object 0019\n  and 980 more\n  both versions: "), "{error}");
    assert!(error.len() < 10_000, "{} bytes", error.len());
    let mut manifest: netboot_loaders::tree::manifest::Manifest =
        serde_json::from_slice(&project.read("dist/tftp/manifest.json")).unwrap();
    let loader = manifest.files.iter().find(|file| file.path == "ipxe.efi").unwrap().clone();
    manifest.toolchain[0].version = "v".repeat(1 << 20);
    manifest.toolchain[0].package = None;
    for number in 0..500 {
        let path = format!("zz/{number:03}.efi").into();
        manifest.files.push(netboot_loaders::tree::manifest::ManifestEntry { path, ..loader.clone() });
    }
    project.write("m.json", &manifest.to_json());
    let json = |release: &str| {
        let arguments = [&["--message-format", "json"], &arguments[..], &[release]].concat();
        let output = project.run(&arguments).stdout;
        let line = output.lines().find(|line| line.contains("\"event\":\"result\"")).unwrap().to_owned();
        (line.len(), serde_json::from_str::<serde_json::Value>(&line).unwrap())
    };
    let (length, result) = json(tree.as_str());
    assert!(length < 10_000, "{length} bytes");
    let difference = &result["differences"][0];
    assert_eq!(difference["linked"]["totals"], serde_json::json!([1000, 0]));
    assert_eq!(difference["linked"]["lost"].as_array().unwrap().len(), 20);
    let (length, result) = json(project.path("m.json").as_str());
    assert!(length < 200_000, "{length} bytes");
    assert_eq!((result["causes"].as_array().unwrap().len(), &result["causes-total"]), (100, &501.into()));
    assert_eq!(result["causes"][0]["wanted"], format!("{}… (1048576 bytes)", "v".repeat(200)));
}

/// A tarball whose manifest lists everything in it, with paths that lead out of the tree.
fn outside() -> Result<(), String> {
    let mut files = Vec::new();
    let project = published();
    let tree = project.tree();
    let (long, deep) = ("a".repeat(256), format!("{}b", "a/".repeat(65)));
    let no_paths = ["../../outside", "/tmp/netboot-loaders-outside", "a/../b", &long, &deep];
    // A forged deployment record, and a file below another file.
    for path in no_paths.into_iter().chain(["netboot-loaders-deployed.json", "ldlinux.c32/b"]) {
        let text = String::from_utf8(project.read("dist/tftp/manifest.json")).unwrap();
        let mut manifest: netboot_loaders::tree::manifest::Manifest = serde_json::from_str(&text).unwrap();
        manifest.files[0].path = path.into();
        let evil = project.path("evil");
        let _ = std::fs::remove_dir_all(&evil);
        let mut builder = tar_of(&tree, &manifest.files, path);
        builder.push(("manifest.json".to_owned(), manifest.to_json().into_bytes()));
        builder.push(("SHA256SUMS".to_owned(), manifest.sha256sums().into_bytes()));
        let file = project.path(&format!("evil-{}.tar.gz", files.len()));
        write_tarball(&file, &builder);
        files.push((path, file.clone()));
        let error = project.run(["verify", file.as_str()]).error(8);
        assert!(error.contains(&format!("`{path}` is not a path in a tree\n")), "{error}");
        let error = reproduce(&project, &["--plain", "--against", file.as_str()]).error(8);
        assert!(error.contains(&format!("`{path}` is not a path in a tree\n")), "{error}");
    }
    assert!(!std::path::Path::new("/tmp/netboot-loaders-outside").exists());
    skip::machines()?;
    for (path, file) in files {
        let error = project.run(["boot-test", file.as_str()]).error(8);
        assert!(error.contains(&format!("`{path}` is not a path in a tree\n")), "{error}");
    }
    assert!(!std::path::Path::new("/tmp/netboot-loaders-outside").exists());
    Ok(())
}

/// Returns a tarball of the files of a tree. The first of `files` has the content of `ipxe.efi` and the path `first`.
fn tar_of(
    tree: &Utf8PathBuf,
    files: &[netboot_loaders::tree::manifest::ManifestEntry],
    first: &str,
) -> Vec<(String, Vec<u8>)> {
    let content = |path: &str| std::fs::read(tree.join(if path == first { "ipxe.efi" } else { path })).unwrap();
    files.iter().map(|file| (file.path.to_string(), content(file.path.as_str()))).collect()
}

/// Writes a tarball in which every path is stored as it is.
fn write_tarball(file: &Utf8PathBuf, entries: &[(String, Vec<u8>)]) {
    let folder = tempfile::tempdir().unwrap();
    let script = "import sys,tarfile,io\nt=tarfile.open(sys.argv[1],'w:gz')\nfor line in open(sys.argv[2]):\n    path,source=line.rstrip('\\n').split('\\t')\n    data=open(source,'rb').read()\n    info=tarfile.TarInfo(path)\n    info.size=len(data)\n    t.addfile(info,io.BytesIO(data))\nt.close()\n";
    let mut list = String::new();
    for (number, (path, content)) in entries.iter().enumerate() {
        let source = folder.path().join(number.to_string());
        std::fs::write(&source, content).unwrap();
        list += &format!("{path}\t{}\n", source.display());
    }
    let index = folder.path().join("list");
    std::fs::write(&index, list).unwrap();
    let ran = Command::new("python3").args(["-c", script, file.as_str(), index.to_str().unwrap()]).status().unwrap();
    assert!(ran.success());
}

/// If builds differ with nothing varied, no variation is blamed.
fn unsteady() {
    let project = Project::new();
    project
        .edit_makefile(|text| text.replace("cat core.c $(LOCAL)", "head -c 16 /dev/urandom | od; cat core.c $(LOCAL)"));
    project.build(&[]).success();
    let error = reproduce(&project, &[]).error(12);
    assert!(error.contains("\nbuilds differ with nothing varied: no variation can be blamed\n"), "{error}");
    assert!(!error.contains("the variation makes the difference"), "{error}");
    // A variation that matters in addition to something else is not reported as the cause.
    let project = Project::new();
    project.edit_makefile(|text| text.replace("cat core.c $(LOCAL)", "basename $$$$TMPDIR; cat core.c $(LOCAL)"));
    project.build(&["--archive"]).success();
    project.write("embed-scripts/boot.ipxe", "#!ipxe\nshell\n");
    let error = reproduce(&project, &["--against", tarball(&project).as_str()]).error(12);
    assert!(error.contains("\nbesides, a variation changes bytes here: temporary-folder\n"), "{error}");
    assert!(error.contains("  the script in `ipxe.efi`: found "), "{error}");
}

fn flipped_byte() {
    let project = published();
    let mut content = project.read("dist/tftp/ipxe.efi");
    let at = content.len() - 20;
    content[at] ^= 1;
    std::fs::write(project.path("dist/tftp/ipxe.efi"), content).unwrap();
    // A release that does not match its own manifest is refused.
    let tree = project.tree();
    let error = reproduce(&project, &["--against", tree.as_str()]).error(8);
    assert!(error.contains("`ipxe.efi` has changed: found "), "{error}");
    rewrite_manifest(&tree);
    let error = reproduce(&project, &["--against", tree.as_str()]).error(12);
    assert!(error.starts_with(&format!("1 of 10 files differs from {tree}\n`ipxe.efi`: found ")), "{error}");
    assert!(
        error.contains(&format!("  1 of {} bytes differs, the first difference is at {at:#x}", at + 20)),
        "{error}"
    );
}

fn other_verdicts() {
    let project = published();
    project.sites("[default]\nloaders = [\"ipxe.efi\"]\nscript = \"boot.ipxe\"\nconfig = \"own\"\n");
    project.config("own", "#error\n");
    let error = reproduce(&project, &[]).error(7);
    assert!(error.contains("ended with exit code 2\n"), "{error}");
    // A failure caused by a variation is reported with its name.
    project.config("own", "");
    project.edit_makefile(|text| text.replace("OBJS := ", "$(if $(NOISE),$(error no noise))\nOBJS := "));
    project.build(&["--archive", "--replace"]).success();
    let error = reproduce(&project, &["--vary", "environment"]).error(7);
    assert!(error.starts_with("the build with variations (environment) failed\n"), "{error}");
    std::fs::remove_dir_all(project.path("cache")).unwrap();
    let error = reproduce(&project, &[]).error(5);
    assert!(error.contains("is not in the cache"), "{error}");
}

fn choosing() {
    let project = published();
    let ran = reproduce(&project, &["--vary", "path", "--vary", "umask"]).success();
    assert!(ran.stdout.contains(" s  varied path, umask\n"), "{}", ran.stdout);
    let ran = reproduce(&project, &["--without", "path", "--without", "clock"]).warned();
    assert!(ran.stdout.contains(" s  varied time-zone, locale, umask, "), "{}", ran.stdout);
    let stderr = reproduce(&project, &["--vary", "weather"]).failure(2);
    assert!(stderr.contains("wanted one of path, clock, "), "{stderr}");
    let list = project.run(["reproduce", "--list"]).success().stdout;
    assert_eq!(list.lines().count(), Variation::ALL.len());
    assert!(list.contains("umask             umask 0077\n"), "{list}");
    // A variation that is not available is reported, and is an error if all are required.
    let tools = project.path("few");
    std::fs::create_dir(&tools).unwrap();
    for entry in std::fs::read_dir("/usr/bin").unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "ccache" {
            std::os::unix::fs::symlink(entry.path(), tools.join(entry.file_name().to_str().unwrap())).unwrap();
        }
    }
    let few = |more: &[&str]| {
        let arguments = [&["reproduce", "--offline", "--vary", "compiler-cache"], more].concat();
        CliOutput::from(project.command(&arguments).env("PATH", tools.as_str()).output().unwrap())
    };
    let ran = few(&[]).success();
    assert!(ran.stderr.contains("`compiler-cache` is not varied: found no ccache"), "{}", ran.stderr);
    let error = few(&["--require-real"]).error(9);
    assert!(error.starts_with("cannot vary `compiler-cache`: found no ccache\nhint: "), "{error}");
}

fn recording() {
    let project = published();
    reproduce(&project, &["--all-loaders", "--record", "This one", "--vary", "path"]).success();
    let text = String::from_utf8(project.read("vendor/toolchains.toml")).unwrap();
    // Each compiler of this system has an entry.
    assert_eq!(text.matches("[[toolchain]]").count(), text.matches("\nname = \"This one\"\n").count());
    for line in [
        "name = \"This one\"\n",
        "\"snponly.efi\" = \"",
        "\"ipxe-legacy.pxe\" = \"",
        "\"i386/ipxe.efi\" = \"",
        "packages = [\n",
    ] {
        assert!(text.contains(line), "{line} is not in:\n{text}");
    }
    let ran = project.build(&[]).success();
    let told = "\nipxe.efi, ipxe.pxe, undionly.kpxe: match the reference build for This one\n";
    assert!(ran.stdout.contains(told), "{}", ran.stdout);
    let path = project.path("dist/tftp/ipxe.efi");
    let ran = project.run(["inspect", path.as_str()]).success();
    assert!(ran.stdout.contains("  toolchain  matches the reference build for This one\n"), "{}", ran.stdout);
    // The same toolchain with other bytes gives a warning.
    let digest = netboot_loaders::digest::Sha256Digest::of(&project.read("dist/tftp/ipxe.efi")).to_string();
    project.write("vendor/toolchains.toml", &text.replace(&digest, &"0".repeat(64)));
    let ran = project.build(&[]).warned();
    assert!(ran.stderr.contains("`ipxe.efi` differs from the reference build of this toolchain"), "{}", ran.stderr);
    assert!(!ran.stdout.contains("reference build"), "{}", ran.stdout);
    // The same applies to the loaders below `sites/` in the tree.
    let plain = String::from_utf8(project.read("embed-scripts/sites.toml")).unwrap();
    project.sites(&format!("{plain}\n[site.rack-1]\n"));
    project.write("vendor/toolchains.toml", &text);
    let ran = project.build(&[]).warned();
    assert!(ran.stdout.contains("\nand 3 files for sites below sites/\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains(told), "{}", ran.stdout);
    let digest = netboot_loaders::digest::Sha256Digest::of(&project.read("dist/tftp/undionly.kpxe")).to_string();
    project.write("vendor/toolchains.toml", &text.replace(&digest, &"0".repeat(64)));
    let ran = project.build(&[]).warned();
    assert!(
        ran.stderr.contains("`undionly.kpxe` differs from the reference build of this toolchain"),
        "{}",
        ran.stderr
    );
    project.sites(&plain);
    // Recording again replaces the entry.
    reproduce(&project, &["--all-loaders", "--record", "This one", "--vary", "umask"]).success();
    assert!(text.as_bytes() == project.read("vendor/toolchains.toml"));
    project.write("vendor/toolchains.toml", "[[toolchain]]\nname = \"x\"\n[toolchain.loaders]\n\"ipxe.iso\" = \"0\"\n");
    let error = project.build(&[]).error(3);
    assert!(error.contains("vendor/toolchains.toml:4: `toolchain.loaders.ipxe.iso`: found `ipxe.iso`, wanted the name of an iPXE loader\n"), "{error}");
}

fn diffoscope() {
    let project = published();
    project.write("embed-scripts/boot.ipxe", "#!ipxe\nshell\n");
    let tool = project.path("tools/diffoscope");
    project.write("tools/diffoscope", "#!/bin/sh\necho \"$3 $4\" > \"$2\"\nexit 1\n");
    std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", project.path("tools"), std::env::var("PATH").unwrap());
    let arguments = ["reproduce", "--offline", "--plain", "--diffoscope", "--against"];
    let mut command = project.command([&arguments[..], &[tarball(&project).as_str()]].concat());
    let error = CliOutput::from(command.env("PATH", path).output().unwrap()).error(12);
    let said = project.path("dist/reproduce/here/ipxe.efi.diffoscope.txt");
    assert!(error.contains(&format!("  diffoscope: {said}\n")), "{error}");
    let (here, there) = (project.path("dist/reproduce/here/ipxe.efi"), project.path("dist/reproduce/there/ipxe.efi"));
    assert_eq!(std::fs::read_to_string(said).unwrap(), format!("{there} {here}\n"));
}
