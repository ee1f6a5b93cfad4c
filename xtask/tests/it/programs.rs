//! Programs that a build needs and this machine lacks: each is named with its purpose and its packages, before anything is
//! fetched.

use std::os::unix::fs::{PermissionsExt, symlink};

use camino::{Utf8Path, Utf8PathBuf};
use netboot_fixtures::project::{CliOutput, Project};
use netboot_fixtures::{says, skip};

netboot_fixtures::tests! {
    a_medium_names_the_programs_that_it_needs,
    a_missing_tool_is_named_before_anything_is_fetched,
    a_missing_cross_compiler_is_named_with_its_packages,
}

/// Creates a folder of the host's programs without the `hidden` ones and without those that install packages.
fn programs_without(project: &Project, hidden: &[&str]) -> Utf8PathBuf {
    let tools = project.path("tools");
    std::fs::create_dir(&tools).unwrap();
    for folder in ["/usr/bin", "/bin"] {
        for entry in std::fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let manager = ["apt-get", "dnf", "pacman", "zypper", "apk"].contains(&name.as_str());
            if !manager && !hidden.contains(&name.as_str()) && !tools.join(&name).exists() {
                symlink(Utf8Path::new(folder).join(&name), tools.join(&name)).unwrap();
            }
        }
    }
    tools
}

fn a_medium_names_the_programs_that_it_needs() {
    let project = Project::new();
    let members = ["isolinux.bin", "mbr.bin"].map(|name| {
        let sha256 = "0".repeat(64);
        format!("[[syslinux.member]]\nname = \"{name}\"\npath = \"{name}\"\nsha256 = \"{sha256}\"\nsize = 1\n")
    });
    let pins = String::from_utf8(project.read("vendor/pins.toml")).unwrap().replace("\"0.0.1\"", "\"2.0.0\"");
    project.write("vendor/pins.toml", &format!("{pins}\n{}", members.concat()));
    project.sites(
        "[default]\nloaders = [\"ipxe.efi\"]\nscript = \"boot.ipxe\"\n[site.a]\nmedia = [\"usb\", \"esp\", \"iso\"]\n",
    );
    let tools = programs_without(&project, &["xorrisofs", "mtools", "mformat", "mmd", "mcopy", "mattrib", "syslinux"]);
    let arguments = project.build_arguments(&[]);
    let mut command = project.command(arguments.iter().map(String::as_str).collect::<Vec<_>>());
    says!(project, CliOutput::from(command.env("PATH", tools.as_str()).output().unwrap()), @"
    exit code 4, stderr:
    error: found no usable `xorriso` (writes CDs, through iPXE's genfsimg): not found
    found no usable `mtools` (writes FAT file systems, through iPXE's genfsimg): not found
    found no usable `syslinux installer` (lets a BIOS start a USB stick, through iPXE's genfsimg): not found
    hint: install it with `sudo apt-get update && sudo apt-get install -y --no-install-recommends mtools syslinux xorriso`
    hint: or install it with `sudo dnf install -y mtools syslinux xorriso`
    hint: or install it with `sudo pacman -Syu --needed --noconfirm libisoburn mtools syslinux`
    hint: or install it with `sudo zypper --non-interactive install mtools syslinux xorriso`
    hint: or install it with `sudo apk add mtools syslinux xorriso`
    hint: or run the command with `--install-deps`, which installs it
    ");
}

fn a_missing_tool_is_named_before_anything_is_fetched() {
    let project = Project::new();
    let tools = programs_without(&project, &["make", "perl"]);
    let old = tools.join("perl");
    std::fs::write(&old, "#!/bin/sh\necho this is perl 4\n").unwrap();
    std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o755)).unwrap();
    let arguments = project.build_arguments(&[]);
    let mut command = project.command(arguments.iter().map(String::as_str).collect::<Vec<_>>());
    says!(project, CliOutput::from(command.env("PATH", tools.as_str()).output().unwrap()), @"
    exit code 4, stderr:
    error: found no usable `make` (runs iPXE's build): not found
    found no usable `perl` (runs iPXE's build scripts): found this is perl 4, wanted perl v
    hint: install it with `sudo apt-get update && sudo apt-get install -y --no-install-recommends make perl`
    hint: or install it with `sudo dnf install -y make perl-Getopt-Long perl-interpreter`
    hint: or install it with `sudo pacman -Syu --needed --noconfirm make perl`
    hint: or install it with `sudo zypper --non-interactive install make perl`
    hint: or install it with `sudo apk add make perl`
    hint: or run the command with `--install-deps`, which installs it
    ");
    assert!(!project.path("cache/ipxe.git").exists() && !project.path("cache/blobs").exists());
}

fn a_missing_cross_compiler_is_named_with_its_packages() {
    let project = Project::new();
    project.sites("[default]\nloaders = [\"loong64/ipxe.efi\"]\nscript = \"boot.ipxe\"\n");
    if skip::program("loongarch64-linux-gnu-gcc").is_ok() {
        return;
    }
    let error = project.build(&[]).error(4);
    let wanted = "found no usable `loong64 gcc` (compiles iPXE for loong64): not found\n\
                  found no usable `loong64 binutils` (links loaders for loong64): not found\n";
    assert!(error.starts_with(wanted), "{error}");
}
