//! The files of a release, with a stand-in for iPXE: complete, reproducible, and verified before they are published.

use std::fs::File;
use std::process::Command;

use netboot_fixtures::limits;
use netboot_fixtures::project::{CliOutput, Project};
use netboot_fixtures::says;
use netboot_loaders::digest::Sha256Digest;
use serde_json::Value;

netboot_fixtures::tests! {
    only_a_whole_release_with_the_right_tag_becomes_a_draft,
    what_is_no_release_is_not_replaced,
    secrets_in_what_a_release_publishes_are_found,
    without_the_pinned_mdbook_nothing_is_built,
    a_folder_of_files_is_looked_at_within_limits,
    ; slow:
    a_release_has_all_files_and_is_the_same_every_time,
}

/// Sixty-four hexadecimal digits, like a digest.
const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn release(project: &Project, more: &[&str]) -> CliOutput {
    let (ipxe, archive) = (project.path("ipxe"), project.path("syslinux.zip"));
    let origins = ["--offline", "--ipxe-url", ipxe.as_str(), "--syslinux-archive", archive.as_str()];
    let mut command = project.command([&["release"], more, &origins[..]].concat());
    CliOutput::from(command.env("PATH", project.path_with_tools()).output().unwrap())
}

/// Returns a project with a book.
fn with_book() -> Project {
    let project = Project::new();
    project.add_book("index.html#top");
    project
}

/// Returns the files of a folder, by name.
fn files(project: &Project, folder: &str) -> Vec<(String, Vec<u8>)> {
    let folder = project.path(folder);
    let files = netboot_loaders::base::fs::walk(&folder).unwrap();
    files.into_iter().map(|(path, _)| (path.to_string(), std::fs::read(folder.join(path)).unwrap())).collect()
}

fn a_release_has_all_files_and_is_the_same_every_time() {
    let project = with_book();
    project.write("CHANGELOG.md", "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- Everything.\n");
    let ran = release(&project, &["--dry-run"]).success();
    assert!(ran.stdout.ends_with("nothing is published\n"), "{}", ran.stdout);
    let first = files(&project, "dist/release");
    let names: Vec<&str> = first.iter().map(|(name, _)| name.as_str()).collect();
    let name = |suffix: &str| format!("netboot-loaders-{VERSION}-{suffix}");
    let mut wanted = vec!["SHA256SUMS".to_owned(), "manifest.json".to_owned()];
    wanted.push(name("book.tar.gz"));
    wanted.extend(["notes.md", "provenance.intoto.json", "sbom.cdx.json"].map(name));
    wanted.extend(["sources.tar.gz", "sources.tar.gz.sha256", "tftp.tar.gz", "tftp.tar.gz.sha256"].map(name));
    assert_eq!(names, wanted);
    let notes = String::from_utf8(project.read(&format!("dist/release/{}", name("notes.md")))).unwrap();
    assert!(notes.starts_with("### Added\n\n- Everything.\n\n## Files\n\niPXE 0.0.1 at commit `"), "{notes}");
    assert!(notes.contains(&format!("| `{}` | ipxe.efi |\n", Sha256Digest::of(&project.read("dist/tftp/ipxe.efi")))));
    let mut sums = Command::new("sha256sum");
    sums.args(["--strict", "-c", "SHA256SUMS"]).current_dir(project.path("dist/release"));
    assert!(sums.output().unwrap().status.success());
    // The book is in a folder of its own.
    let mut list = Command::new("tar");
    list.args(["-tzf", project.path(&format!("dist/release/{}", name("book.tar.gz"))).as_str()]);
    let listed = String::from_utf8(list.output().unwrap().stdout).unwrap();
    assert_eq!(listed, format!("{0}/images/a.svg\n{0}/index.html\n{0}/toc.html\n", name("book")));
    // Once more, and with an empty cache in another folder.
    release(&project, &["--dry-run"]).success();
    assert!(files(&project, "dist/release") == first);
    std::fs::remove_dir_all(project.path("cache")).unwrap();
    let out = project.path("elsewhere/release");
    release(&project, &["--dry-run", "--out", out.as_str()]).success();
    assert!(files(&project, "elsewhere/release") == first);
    // The provenance covers the tarballs, too.
    let text = project.read(&format!("dist/release/{}", name("provenance.intoto.json")));
    let statement: Value = serde_json::from_slice(&text).unwrap();
    let subjects: Vec<&str> =
        statement["subject"].as_array().unwrap().iter().map(|subject| subject["name"].as_str().unwrap()).collect();
    assert!(subjects.contains(&name("tftp.tar.gz").as_str()) && subjects.contains(&name("sources.tar.gz").as_str()));
    // The packed tree equals the built one.
    project.run(["verify", project.path(&format!("dist/release/{}", name("tftp.tar.gz"))).as_str()]).success();
}

fn secrets_in_what_a_release_publishes_are_found() {
    let project = with_book();
    project.write("CHANGELOG.md", "# Changelog\n\n## [Unreleased]\n\n- http://root:hunter22@192.0.2.1/\n");
    let warned = release(&project, &["--dry-run"]);
    let wanted = "notes.md:1: an address with a password gets published";
    assert!(warned.code == 0 && warned.stderr.contains(wanted), "{warned}");
    project.write("docs/own.js", "/*\n-----BEGIN PRIVATE KEY-----\n*/\n");
    let error = release(&project, &["--dry-run"]).error(3);
    assert!(error.contains("`own.js`:2 has a private key"), "{error}");
    std::fs::remove_file(project.path("docs/own.js")).unwrap();
    // As a page that includes a file has it.
    project.add_slow_book("index.html#top", "echo '<p>-----BEGIN RSA PRIVATE KEY-----' > \"$2/page.html\"");
    let error = release(&project, &["--dry-run"]).error(3);
    assert!(error.contains("`page.html`:1 has a private key"), "{error}");
    // Nothing is left of it.
    let left: Vec<_> = std::fs::read_dir(project.path("dist")).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".release")), "{left:?}");
}

fn only_a_whole_release_with_the_right_tag_becomes_a_draft() {
    let project = with_book();
    release(&project, &["--dry-run"]).success();
    project.add_tool(
        "gh",
        "for word; do echo \"$word\"; done > said\necho \"$GH_TOKEN\" >> said\necho https://example.net/draft\n",
    );
    let folder = project.path("dist/release");
    let publish = |more: &[&str]| {
        let mut command = project.command([&["release", "--files", folder.as_str()], more].concat());
        CliOutput::from(command.env("PATH", project.path_with_tools()).env("GH_TOKEN", "secret").output().unwrap())
    };
    says!(project, publish(&["--tag", "v9.9.9"]), @r"
    exit code 3, stderr:
    error: the tag is `v9.9.9`, wanted `vVERSION`
    hint: set the version in Cargo.toml, or push the tag of the version
    ");
    assert!(!project.path("said").exists());
    let ran = publish(&["--tag", &format!("v{VERSION}")]).success();
    assert!(ran.stdout.contains("and a draft at https://example.net/draft\n"), "{}", ran.stdout);
    let said = String::from_utf8(project.read("said")).unwrap();
    let words: Vec<&str> = said.lines().collect();
    let notes = folder.join(format!("netboot-loaders-{VERSION}-notes.md"));
    assert_eq!(words[..6], ["release", "create", &format!("v{VERSION}"), "--draft", "--verify-tag", "--title"]);
    assert_eq!(words[7..9], ["--notes-file", notes.as_str()]);
    assert_eq!(words.len(), 9 + 9 + 1);
    assert_eq!(words[18], "secret");
    std::fs::remove_file(project.path("said")).unwrap();
    // A release that differs from its checksums is not published.
    project.write("dist/release/more.txt", "more\n");
    says!(project, publish(&[]), @"
    exit code 8, stderr:
    error: the release `PROJECT/dist/release` differs from its SHA256SUMS
      not a file of a release: `more.txt`
    hint: write it again with `cargo xtask release --dry-run`
    ");
    std::fs::remove_file(folder.join("more.txt")).unwrap();
    let absent = format!("{}\n{KEY}  more.txt\n", String::from_utf8(project.read("dist/release/SHA256SUMS")).unwrap());
    project.write("dist/release/SHA256SUMS", &absent);
    says!(project, publish(&[]), @"
    exit code 8, stderr:
    error: the release `PROJECT/dist/release` differs from its SHA256SUMS
      `more.txt` is missing
    hint: write it again with `cargo xtask release --dry-run`
    ");
    release(&project, &["--dry-run"]).success();
    project.write("dist/release/manifest.json", "{}\n");
    says!(project, publish(&[]), @"
    exit code 8, stderr:
    error: the release `PROJECT/dist/release` differs from its SHA256SUMS
      `manifest.json` has changed: found SHA256, wanted SHA256
    hint: write it again with `cargo xtask release --dry-run`
    ");
    // A release without its sources is refused, whatever its checksums say; and so is one whose parts do not belong
    // together.
    release(&project, &["--dry-run"]).success();
    let sums = String::from_utf8(project.read("dist/release/SHA256SUMS")).unwrap();
    let sources = format!("netboot-loaders-{VERSION}-sources.tar.gz");
    std::fs::remove_file(folder.join(&sources)).unwrap();
    let without: String =
        sums.lines().filter(|line| !line.ends_with(&sources)).map(|line| format!("{line}\n")).collect();
    project.write("dist/release/SHA256SUMS", &without);
    says!(project, publish(&[]), @"
    exit code 8, stderr:
    error: the release `PROJECT/dist/release` differs from its SHA256SUMS
      `netboot-loaders-VERSION-sources.tar.gz` is missing, and a release has it
    hint: write it again with `cargo xtask release --dry-run`
    ");
    release(&project, &["--dry-run"]).success();
    let bill = format!("netboot-loaders-{VERSION}-sbom.cdx.json");
    let old = Sha256Digest::of(&project.read(&format!("dist/release/{bill}"))).to_string();
    project.write(&format!("dist/release/{bill}"), "{}\n");
    project.write("dist/release/SHA256SUMS", &sums.replace(&old, &Sha256Digest::of(b"{}\n").to_string()));
    says!(project, publish(&[]), @"
    exit code 8, stderr:
    error: the release `PROJECT/dist/release` differs from its SHA256SUMS
      `netboot-loaders-VERSION-sbom.cdx.json` is not about the tarball beside it
    hint: write it again with `cargo xtask release --dry-run`
    ");
    assert!(!project.path("said").exists());
}

fn without_the_pinned_mdbook_nothing_is_built() {
    let project = with_book();
    project.add_tool("mdbook", "echo 'mdbook v0.4.52'\n");
    says!(project, release(&project, &["--dry-run"]), @"
    exit code 4, stderr:
    error: found `mdbook v0.4.52`, wanted `mdbook v0.0.1`
    hint: run the command with `--install-deps`, which installs it
    ");
    std::fs::remove_file(project.path("tools/mdbook")).unwrap();
    let without = |arguments: &[&str]| {
        CliOutput::from(project.command(arguments).env("PATH", project.path("tools")).output().unwrap())
    };
    says!(project, without(&["release", "--dry-run"]), @"
    exit code 4, stderr:
    error: found no `mdbook`, which renders the book
    hint: run the command with `--install-deps`, which installs it
    ");
    without(&["release"]).error(4);
    assert!(!project.path("dist").exists() && !project.path("cache/ipxe").exists());
    // A book with a broken link is found before the build, too.
    project.add_book("index.html#gone");
    release(&project, &["--dry-run"]).error(9);
    assert!(!project.tree().exists() && !project.path("dist/release").exists());
}

fn what_is_no_release_is_not_replaced() {
    let project = with_book();
    project.write("dist/release/mine.txt", "mine\n");
    says!(project, release(&project, &["--dry-run", "--quiet"]), @"
    exit code 1, stderr:
    error: `PROJECT/dist/release` is not a release: it contains `mine.txt`
    hint: choose another folder with `--out`
    hint: or move that away
    ");
    assert_eq!(project.read("dist/release/mine.txt"), b"mine\n");
    // Neither a tree nor a folder of downloads with their checksums is a release.
    let before = project.snapshot();
    let tree = project.tree();
    release(&project, &["--dry-run", "--out", tree.as_str()]).error(1);
    assert!(project.snapshot() == before);
    project.write("downloads/SHA256SUMS", "x\n");
    project.write("downloads/photos/a", "a\n");
    let downloads = project.path("downloads");
    says!(project, release(&project, &["--dry-run", "--quiet", "--out", downloads.as_str()]), @"
    exit code 1, stderr:
    error: `PROJECT/downloads` is not a release: it contains `photos/a`
    hint: choose another folder with `--out`
    hint: or move that away
    ");
}

fn a_folder_of_files_is_looked_at_within_limits() {
    const LARGE: u64 = 60 << 30;
    let project = Project::new();
    let folder = project.path("files");
    std::fs::create_dir(&folder).unwrap();
    let sparse = |name: &str| File::create(folder.join(name)).unwrap().set_len(LARGE).unwrap();
    let check = ["release", "--files", folder.as_str()];
    let sources = format!("netboot-loaders-{VERSION}-sources.tar.gz");
    sparse(&sources);
    sparse("SHA256SUMS");
    let error = project.run_within_limits(&check).error(1);
    assert!(
        error.contains("/files/SHA256SUMS`\n  caused by: it has 64424509440 bytes, wanted 65536 at most"),
        "{error}"
    );
    project.write("files/SHA256SUMS", &format!("{KEY}  {sources}\n"));
    let hashes = |pid| limits::has_read(pid, &folder.join(&sources), 0);
    let measured = limits::interrupt(&mut project.command(check), hashes).assert_memory_limit();
    assert!(measured.stderr.contains("error: interrupted"), "{}", measured.stderr);
    // Files that do not belong to a release are not even read.
    (0..30).for_each(|number| sparse(&format!("x\nhint: {number}")));
    sparse(&format!("netboot-loaders-{VERSION}-more.tar.gz"));
    let error = project.run_within_limits(&check).error(8);
    assert!(error.contains("\n  not a file of a release: `x\\nhint: 10`\n"), "{error}");
    assert!(error.contains("\n  not a file of a release: 12 others\nhint: "), "{error}");
    assert_eq!((error.matches("not a file").count(), error.matches("\nhint: ").count()), (20, 1), "{error}");
}
