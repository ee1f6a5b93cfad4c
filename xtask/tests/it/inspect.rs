//! Contents of a loader: the lists in a tree, the baseline that they are compared with, and `inspect`.

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Write as _};
use std::process::Command;

use camino::Utf8Path;
use netboot_fixtures::limits;
use netboot_fixtures::project::Project;
use netboot_fixtures::{shows, skip};
use netboot_loaders::digest::Sha256Digest;
use netboot_loaders::loader::smallest_application::{DIRECTORY, application};
use serde_json::Value;

netboot_fixtures::tests! {
    a_tree_lists_what_is_linked_into_its_loaders,
    what_is_not_as_in_the_baseline_is_not_published_until_it_is_accepted,
    a_loader_tells_what_it_is,
    a_loader_that_nobody_knows_is_told_by_its_bytes_alone,
    a_signed_loader_tells_who_signed_it_and_whether_that_holds,
    ; slow:
    what_is_no_honest_loader_is_looked_at_within_limits,
}

/// Signs an application by two signers, one with a certificate of an authority's, and changes a byte.
fn a_signed_loader_tells_who_signed_it_and_whether_that_holds() {
    let project = Project::new();
    let folder = project.path("signed");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("plain.efi"), application()).unwrap();
    if skip::program("osslsigncode").and(skip::program("openssl")).is_err() {
        return;
    }
    let script = "set -e
        openssl req -x509 -newkey rsa:2048 -nodes -days 9000 -subj '/CN=Loader CA' -keyout ca.key -out ca.pem
        openssl req -newkey rsa:2048 -nodes -subj '/O=Example/CN=Loaders' -keyout a.key -out a.csr
        openssl x509 -req -in a.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 9000 -out a.pem
        sign() { osslsigncode sign -h sha256 -time 1772812135 \"$@\"; }
        sign -certs a.pem -ac ca.pem -key a.key -in plain.efi -out one.efi";
    let output = Command::new("sh").args(["-c", script]).current_dir(&folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let inspect = |name: &str| project.run(["inspect", folder.join(name).as_str()]).success().stdout;
    let covered = |text: &str| text.lines().find(|line| line.starts_with("  covered ")).unwrap().to_owned();
    let (plain, one) = (inspect("plain.efi"), inspect("one.efi"));
    assert!(plain.contains("\n  signed     no\n") && covered(&plain) == covered(&one), "{plain}{one}");
    assert!(one.contains("\n  signed by  CN=Loaders,O=Example, until 20"), "{one}");
    assert!(one.contains("\n  issued by  CN=Loader CA, until 20"), "{one}");
    assert!(one.contains("\n  sbat       ipxe,1,iPXE,ipxe.efi,2.0.0,https://ipxe.org\n"), "{one}");
    let mut bytes = std::fs::read(folder.join("one.efi")).unwrap();
    bytes[0x400] ^= 1;
    std::fs::write(folder.join("changed.efi"), &bytes).unwrap();
    let changed = inspect("changed.efi");
    let wanted = "\n  signed     by a signature that does not hold: it was made of other bytes\n";
    assert!(changed.contains(wanted), "{changed}");
    let end = bytes.len() - 100;
    bytes[0x400] ^= 1;
    bytes[end] ^= 1;
    std::fs::write(folder.join("forged.efi"), &bytes).unwrap();
    let forged = inspect("forged.efi");
    let wanted = "by a signature that does not hold: it was not made with its certificate's key\n";
    assert!(forged.contains(wanted), "{forged}");
    let output = project.run(["--message-format", "json", "inspect", folder.join("one.efi").as_str()]).success().stdout;
    let result: Value = serde_json::from_str(output.lines().last().unwrap()).unwrap();
    let signature = &result["signatures"]["signatures"][0];
    assert_eq!(signature["chain"][0]["subject"], "CN=Loaders,O=Example", "{result}");
    assert!(covered(&one).contains(result["signatures"]["digest"].as_str().unwrap()));
}

const LIST: &str = "\
# Linked into ipxe.efi in the configuration `default`.
command e
driver drivers/net/f
feature D
object a
object b
object c
object d
object e
object embedded
object g
object h
object hci/commands/e_cmd
protocol net/d_proto
";

fn a_tree_lists_what_is_linked_into_its_loaders() {
    let project = Project::new();
    project.build(&[]).success();
    let list = String::from_utf8(project.read("dist/tftp/linked-objects/default/ipxe.efi.txt")).unwrap();
    assert_eq!(list, LIST);
}

fn what_is_not_as_in_the_baseline_is_not_published_until_it_is_accepted() {
    let project = Project::new();
    project.config("small", "/* drop */\n");
    let sites = "[default]\nloaders = [\"ipxe.pxe\", \"ipxe.efi\"]\nscript = \"boot.ipxe\"\nconfig = \"small\"\n";
    project.sites(sites);
    // Without a baseline there is no error, and nothing is written unless requested.
    project.build(&[]).success();
    assert!(!project.path("vendor/linked-objects").exists());
    project.build(&["--update-baseline"]).success();
    let before = project.snapshot();
    project.config("small", "/* everything */\n");
    shows!(project, project.build_arguments(&["--quiet"]), @"
    exit code 9, stderr:
    error: the linked objects have changed
    `ipxe.efi` (configuration `small`) lost 0, gained 2
      + feature D
      + protocol net/d_proto
    `ipxe.pxe` (configuration `small`) lost 0, gained 2
      + feature D
      + protocol net/d_proto
    hint: accept what is linked with `cargo xtask build-loaders --update-baseline`, and commit vendor/linked-objects
    ");
    assert_eq!(project.snapshot(), before);
    project.build(&["--update-baseline"]).success();
    assert!(!project.build(&[]).success().stderr.contains("warning: "));
    // A missing list is reported.
    let list = project.path("vendor/linked-objects/small/ipxe.pxe.txt");
    let content = std::fs::read(&list).unwrap();
    std::fs::remove_file(&list).unwrap();
    let stderr = project.build(&[]).warned().stderr;
    assert!(
        stderr.contains(&format!("warning: the baseline has no `{list}`, so nothing is compared with it\n")),
        "{stderr}"
    );
    std::fs::write(&list, content).unwrap();
    project.config("small", "/* drop */\n");
    let error = project.build(&[]).error(9);
    assert!(error.contains("`ipxe.efi` (configuration `small`) lost 2, gained 0\n  - feature D\n"), "{error}");
}

fn a_loader_tells_what_it_is() {
    let project = Project::new();
    project.build(&[]).success();
    let path = project.path("dist/tftp/ipxe.pxe");
    shows!(project, ["inspect", path.as_str()], @r"
    exit code 0, stdout:
    PROJECT/dist/tftp/ipxe.pxe
      kind       an iPXE network boot program for i386
      size       SIZE
      sha256     SHA256
      version    not found in its bytes
      manifest   ipxe.pxe in PROJECT/dist/tftp/manifest.json, bin/ipxe.pxe with boot.ipxe, configuration `default`
      features   1: D
      commands   1: e
      protocols  1: d_proto
      drivers    1: net/f
    embedded script
      | #!ipxe
      | dhcp && chain ${root-path}
    ");
    let sha256 = Sha256Digest::of(&project.read("dist/tftp/ipxe.pxe"));
    assert!(project.run(["inspect", path.as_str()]).stdout.contains(&format!("  sha256     {sha256}\n")));
    let ran = project.run(["--message-format", "json", "inspect", path.as_str()]).success();
    let object: Value = serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(object["contents"]["commands"], serde_json::json!(["e"]));
    assert_eq!(object["sha256"], sha256.to_string());
}

fn a_loader_that_nobody_knows_is_told_by_its_bytes_alone() {
    let project = Project::new();
    project.build(&[]).success();
    let content = project.read("dist/tftp/ipxe.efi");
    std::fs::write(project.path("other.efi"), [&content[..], b"2.0.0 (g12798)\0"].concat()).unwrap();
    let other = project.path("other.efi");
    shows!(project, ["inspect", other.as_str()], @r"
    exit code 0, stdout:
    PROJECT/other.efi
      kind       an EFI application for x86-64
      size       SIZE
      sha256     SHA256
      version    iPXE 2.0.0 (g12798)
      signed     not known: its optional header is of the unknown type 0x0
      manifest   no manifest that was looked at knows these bytes
      contents   not known: only a tree with this loader has the list of what is linked into it
    embedded script
      | #!ipxe
      | dhcp && chain ${root-path}
    ");
    project.write("broken.json", "{}");
    shows!(project, ["inspect", other.as_str(), "--manifest", project.path("broken.json").as_str()], @r"
    exit code 8, stderr:
    error: `PROJECT/broken.json` is no manifest that can be read: missing field `schema-version` at line 1 column 2
    hint: give a tree or its manifest.json
    ");
    project.write("page.efi", "<html>not found</html>\n");
    let page = project.path("page.efi");
    shows!(project, ["inspect", page.as_str()], @r"
    exit code 8, stderr:
    error: `PROJECT/page.efi` is an unrecognised file, wanted a loader
    hint: give one loader; `cargo xtask verify` takes trees and tarballs
    ");
    shows!(project, ["inspect", "gone.efi"], @r"
    exit code 8, stderr:
    error: there is no loader `gone.efi`
    hint: give the path of one; `cargo xtask build-loaders` builds them
    ");
    let tree = project.path("dist/tftp");
    std::fs::create_dir_all(&tree).unwrap();
    shows!(project, ["inspect", tree.as_str()], @r"
    exit code 8, stderr:
    error: `PROJECT/dist/tftp` is a folder, wanted a loader
    hint: give one loader, as in `PROJECT/dist/tftp/ipxe.efi`; `cargo xtask verify` takes trees and tarballs
    ");
}

/// Writes an EFI application of `size` bytes with `sections` sections, each covering the whole file, filled with
/// `pattern`.
fn efi(path: &Utf8Path, size: u32, sections: u16, pattern: &[u8]) {
    let mut file = vec![0; 0x148 + 40 * usize::from(sections)];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    for (at, bytes) in
        [(0, &b"MZ"[..]), (0x3c, &[0x40]), (0x40, b"PE\0\0\x64\x86"), (0x54, &[0xf0, 0]), (0x58, &[0x0b, 2])]
    {
        put(at, bytes);
    }
    put(0x46, &sections.to_le_bytes());
    put(0x58 + 68, &[10]);
    for index in 0..usize::from(sections) {
        for (number, value) in [(8, size - 1), (16, size - 1), (20, 1)] {
            put(0x148 + 40 * index + number, &value.to_le_bytes());
        }
    }
    let mut out = BufWriter::new(File::create(path).unwrap());
    out.write_all(&file).unwrap();
    let block = pattern.repeat(1 << 16);
    let mut rest = u64::from(size) - file.len() as u64;
    while rest > 0 {
        rest -= io::copy(&mut block.take(rest), &mut out).unwrap();
    }
    out.flush().unwrap();
}

fn what_is_no_honest_loader_is_looked_at_within_limits() {
    let project = Project::new();
    let path = project.path("loader.efi");
    for (size, sections, pattern) in [
        (4 << 20, 65_535, &b"\0"[..]),
        (2 << 20, 96, b"\0"),
        (4 << 20, 1, b"#!ipxe"),
        (4 << 20, 1, b"#!ipxe\xff"),
        (4 << 20, 1, b"#!ipxe\0"),
        (64 << 20, 1, b"#!ipxe\n"),
        (4 << 20, 1, b"1a"),
        (4 << 20, 1, b"1.2."),
        (64 << 20, 1, b"1.2.3\0"),
        (4 << 20, 1, b" (g1234)"),
    ] {
        efi(&path, size, sections, pattern);
        let ran = limits::measure(&mut project.command(["inspect", path.as_str()])).assert_memory_limit();
        assert_eq!(ran.status.code(), Some(0), "{sections} sections with {pattern:?}: {}", ran.stderr);
        assert!(ran.stdout.contains("\n  kind       an EFI application for x86-64\n"), "{}", ran.stdout);
    }
    std::fs::write(&path, signed_with_a_large_set()).unwrap();
    let ran = limits::measure(&mut project.command(["inspect", path.as_str()])).assert_memory_limit();
    assert!(ran.stdout.contains("by a signature that does not hold: it has more than 8192 values\n"), "{}", ran.stdout);
}

/// Returns an application whose signature has a set of 100,000 values, in the order in which sorting them takes longest.
fn signed_with_a_large_set() -> Vec<u8> {
    let element = |tag: u8, content: &[u8]| {
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x84][..], &length, content].concat()
    };
    let algorithm = |number: u32| element(0x30, &element(6, &[&[0x2a][..], &number.to_be_bytes()[1..]].concat()));
    let algorithms: Vec<u8> = (0..50_000).rev().flat_map(|number| algorithm(0x01_0101 + number)).collect();
    let content = element(0x30, &[element(2, &[1]), element(0x31, &algorithms)].concat());
    let signed_data = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2];
    let outer = element(0x30, &[element(6, &signed_data), element(0xa0, &content)].concat());
    let mut entry = [&u32::try_from(outer.len() + 8).unwrap().to_le_bytes()[..], &[0, 2, 2, 0], &outer].concat();
    entry.resize(entry.len().next_multiple_of(8), 0);
    let mut bytes = application();
    let place = [bytes.len(), entry.len()].map(|number| u32::try_from(number).unwrap().to_le_bytes()).concat();
    bytes[DIRECTORY..DIRECTORY + 8].copy_from_slice(&place);
    bytes.extend(entry);
    bytes
}
