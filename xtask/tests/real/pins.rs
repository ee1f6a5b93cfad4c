//! Other versions of iPXE than the pinned one: what knows iPXE knows them, too.

use std::process::Command;

use netboot_fixtures::harness::xtask;
use netboot_fixtures::project::CliOutput;
use netboot_fixtures::real::{Real, sources};
use netboot_fixtures::skip;

netboot_fixtures::tests! {
    with sources;
    ; full:
    v1_21_1,
    master,
}

/// Many stay with this release because of their keyboards. gcc 12 and later have warnings for it.
fn v1_21_1(real: &Real) -> Result<(), String> {
    builds_and_boots(real, "988d2c13", &["--no-werror"], &["ipxe.pxe", "undionly.kpxe", "ipxe.efi"], "esp")
}

fn master(real: &Real) -> Result<(), String> {
    let cases = ["ipxe.pxe", "undionly.kpxe", "ipxe.efi", "ipxe.iso:bios", "ipxe.iso:uefi"];
    builds_and_boots(real, "0ab2277c4", &[], &cases, "iso")
}

/// Pins the commit `to`, and builds the default loaders and a `medium`, compares with make, and boots the `cases`. The pinned source has no other
/// commit, so a repository with all of them has to be named.
fn builds_and_boots(real: &Real, to: &str, options: &[&str], cases: &[&str], medium: &str) -> Result<(), String> {
    const VARIABLE: &str = "NETBOOT_LOADERS_TEST_IPXE";
    let url =
        std::env::var(VARIABLE).map_err(|_| format!("{VARIABLE} names no repository of iPXE with other versions"))?;
    skip::machines()?;
    let folder = tempfile::tempdir().unwrap();
    let root = camino::Utf8Path::from_path(folder.path()).unwrap();
    let copied = Command::new("cp").args(["-r", real.project.as_str(), root.join("project").as_str()]).status();
    assert!(copied.unwrap().success());
    // `robust.ipxe` has a command that 1.21.1 does not know.
    std::fs::write(
        root.join("project/embed-scripts/sites.toml"),
        format!(
            "[default]\nloaders = [\"ipxe.pxe\", \"undionly.kpxe\", \"ipxe.efi\"]\nscript = \"root-path.ipxe\"\n\
             media = [\"{medium}\"]\n[site.a]\nloaders = [\"snponly.efi\"]\nmedia = []\n"
        ),
    )
    .unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(xtask());
        command.args(["--project", root.join("project").as_str(), "--cache-dir", root.join("cache").as_str()]);
        CliOutput::from(command.args(arguments).output().unwrap())
    };
    run(&["update", "ipxe", "--to", to, "--ipxe-url", &url]).warned();
    let archive = real.archive();
    let build = ["build-loaders", "--ipxe-url", &url, "--syslinux-archive", &archive, "--update-baseline"];
    run(&[&build, options].concat()).warned();
    let compared = run(&[&["verify", "--against-make", "--sample", "8", "--ipxe-url", &url], options].concat());
    let said = compared.success().stdout;
    assert!(said.contains("4 loaders"), "{said}");
    let named: Vec<&str> = cases.iter().flat_map(|case| ["--case", case]).collect();
    let said = run(&[&["boot-test"], &named[..]].concat()).warned().stdout;
    assert!(said.contains(&format!("boot-test: {} passed, 0 failed, 0 skipped", cases.len())), "{said}");
    Ok(())
}
