//! What is in a loader: the lists in a tree, the baseline that holds them, and `inspect`.

mod support;

use netboot_loaders::digest::Sha256Digest;
use serde_json::Value;
use support::Project;

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

#[test]
fn a_tree_lists_what_is_linked_into_its_loaders() {
    let project = Project::new();
    project.build(&[]).success();
    let list = String::from_utf8(project.read("dist/tftp/linked-objects/default/ipxe.efi.txt")).unwrap();
    assert_eq!(list, LIST);
}

#[test]
fn what_is_not_as_in_the_baseline_is_not_published_until_it_is_accepted() {
    let project = Project::new();
    project.config("small", "/* drop */\n");
    let sites = "[default]\nloaders = [\"ipxe.pxe\", \"ipxe.efi\"]\nscript = \"boot.ipxe\"\nconfig = \"small\"\n";
    project.sites(sites);
    // No baseline, no complaint; and nothing is written unasked.
    project.build(&[]).success();
    assert!(!project.path("vendor/linked-objects").exists());
    project.build(&["--update-baseline"]).success();
    let before = project.snapshot();
    project.config("small", "/* everything */\n");
    let error = project.build(&[]).error(9);
    assert_eq!(
        error,
        "what is linked has changed\n\
         `ipxe.efi` (configuration `small`) lost 0, gained 2\n  + feature D\n  + protocol net/d_proto\n\
         `ipxe.pxe` (configuration `small`) lost 0, gained 2\n  + feature D\n  + protocol net/d_proto\n\
         hint: if that is wanted, accept it with `cargo xtask build-loaders --update-baseline` and commit the change of vendor/linked-objects\n"
    );
    assert_eq!(project.snapshot(), before);
    project.build(&["--update-baseline"]).success();
    assert!(!project.build(&[]).success().stderr.contains("warning: "));
    // A list that is gone is missed.
    let list = project.path("vendor/linked-objects/small/ipxe.pxe.txt");
    let content = std::fs::read(&list).unwrap();
    std::fs::remove_file(&list).unwrap();
    let stderr = project.build(&[]).success().stderr;
    assert!(
        stderr.contains(&format!("warning: the baseline has no `{list}`, so nothing is compared with it\n")),
        "{stderr}"
    );
    std::fs::write(&list, content).unwrap();
    project.config("small", "/* drop */\n");
    let error = project.build(&[]).error(9);
    assert!(error.contains("`ipxe.efi` (configuration `small`) lost 2, gained 0\n  - feature D\n"), "{error}");
}

#[test]
fn a_loader_tells_what_it_is() {
    let project = Project::new();
    project.build(&[]).success();
    let path = project.path("dist/tftp/ipxe.pxe");
    let ran = project.run(&["inspect", path.as_str()]).success();
    let sha256 = Sha256Digest::of(&project.read("dist/tftp/ipxe.pxe"));
    for line in [
        "  kind       an iPXE network boot program for i386\n".to_owned(),
        format!("  sha256     {sha256}\n"),
        format!(
            "  manifest   ipxe.pxe in {}/manifest.json, bin/ipxe.pxe with boot.ipxe, configuration `default`\n",
            project.tree()
        ),
        "  features   1: D\n".to_owned(),
        "  drivers    1: net/f\n".to_owned(),
        "embedded script\n  | #!ipxe\n  | dhcp && chain ${root-path}\n".to_owned(),
    ] {
        assert!(ran.stdout.contains(&line), "{line} is not in:\n{}", ran.stdout);
    }
    let ran = project.run(&["--message-format", "json", "inspect", path.as_str()]).success();
    let object: Value = serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(object["contents"]["commands"], serde_json::json!(["e"]));
    assert_eq!(object["sha256"], sha256.to_string());
}

#[test]
fn a_loader_that_nobody_knows_is_told_by_its_bytes_alone() {
    let project = Project::new();
    project.build(&[]).success();
    let content = project.read("dist/tftp/ipxe.efi");
    std::fs::write(project.path("other.efi"), [&content[..], b"2.0.0 (g12798)\0"].concat()).unwrap();
    let other = project.path("other.efi");
    let ran = project.run(&["inspect", other.as_str()]).success();
    assert!(ran.stdout.contains("  version    iPXE 2.0.0 (g12798)\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("  manifest   no manifest that was looked at knows these bytes\n"), "{}", ran.stdout);
    project.write("page.efi", "<html>not found</html>\n");
    let page = project.path("page.efi");
    let error = project.run(&["inspect", page.as_str()]).error(8);
    assert!(error.starts_with(&format!("`{page}` is nothing known, wanted a loader\nhint: ")), "{error}");
}
