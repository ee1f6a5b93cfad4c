//! Files and folders that this user may not read or enter: they are there, and the remedy is about the right that lacks.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::process::Command;

use camino::Utf8Path;
use netboot_fixtures::project::{CliOutput, Project};
use netboot_fixtures::skip;

netboot_fixtures::tests! {
    what_cannot_be_read_is_there_and_the_right_that_lacks_is_named,
}

/// Runs the program without root's right to read and enter everything.
fn run(project: &Project, arguments: &[&str]) -> Result<CliOutput, String> {
    let setpriv = skip::program("setpriv")?;
    let command = project.command(arguments);
    let mut bound = Command::new("sh");
    let set = format!(
        "test $(id -u) = 0 || exec \"$@\"; exec {setpriv} --bounding-set=-dac_override,-dac_read_search \"$@\""
    );
    bound.args(["-c", &set, "sh"]).arg(command.get_program()).args(command.get_args());
    Ok(CliOutput::from(bound.env_remove("CARGO_MANIFEST_DIR").output().unwrap()))
}

/// Returns `text` with the word `SHA256` in place of the digest that names a file.
fn redacted(text: &str) -> String {
    let Some((before, rest)) = text.split_once("/cache/blobs/") else { return text.to_owned() };
    let after = rest.trim_start_matches(|character: char| character.is_ascii_hexdigit());
    format!("{before}/cache/blobs/SHA256{after}")
}

/// Calls `run` while nobody has a right to `path`.
fn barred<T>(path: &Utf8Path, run: impl FnOnce() -> T) -> T {
    let mode = path.metadata().unwrap().mode();
    let set = |mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    set(0);
    let done = run();
    set(mode);
    done
}

fn what_cannot_be_read_is_there_and_the_right_that_lacks_is_named() -> Result<(), String> {
    // An empty cache gets a tag.
    let project = Project::cold();
    project.build(&[]).success();
    let folder = project.path("srv");
    let build = project.build_arguments(&[]);
    let build: Vec<&str> = build.iter().map(String::as_str).collect();
    let tag = "cache/CACHEDIR.TAG";
    let (tree, script) = (project.tree(), project.path("embed-scripts/boot.ipxe"));
    for (barrier, arguments, unreadable) in [
        ("embed-scripts/boot.ipxe", &["lint", "--offline"][..], "embed-scripts/boot.ipxe"),
        ("embed-scripts", &["lint", "--offline", script.as_str()], "embed-scripts/boot.ipxe"),
        ("dist/tftp/ipxe.efi", &["lint", "--offline", tree.as_str()], "dist/tftp/ipxe.efi"),
        ("dist/tftp/ipxe.efi", &["verify"], "dist/tftp/ipxe.efi"),
        ("dist", &["verify"], "dist/tftp"),
        ("dist/tftp", &["verify"], "dist/tftp/manifest.json"),
        ("dist", &["deploy", folder.as_str()], "dist/tftp"),
        ("dist/tftp", &build, "dist/tftp/manifest.json"),
        ("dist/tftp/manifest.json", &build, "dist/tftp/manifest.json"),
        ("vendor", &build, "vendor/pins.toml"),
        ("cache/blobs", &build, "cache/blobs/SHA256"),
        (tag, &["clean"], tag),
    ] {
        let error = barred(&project.path(barrier), || run(&project, arguments))?.error(1);
        let (barrier, unreadable) = (project.path(barrier), project.path(unreadable));
        let remedy = if barrier == unreadable {
            format!("make `{barrier}` readable for this user")
        } else {
            format!("let this user enter the folder `{barrier}`")
        };
        let wanted =
            format!("cannot read `{unreadable}`\n  caused by: Permission denied (os error 13)\nhint: {remedy}\n");
        assert_eq!(redacted(&error), wanted, "{arguments:?}");
    }
    project.run(["verify"]).success();
    Ok(())
}
