//! DHCP servers configured by their recipes, serving machines that boot syslinux.

use netboot_fixtures::project::{Member, Project, installed};
use netboot_fixtures::recipe::BOOT_NETWORK;
use netboot_fixtures::skip;

netboot_fixtures::tests! {
    with installed;
    dnsmasq,
    ; full:
    kea,
    isc_dhcpd,
}

fn dnsmasq(members: &[Member]) -> Result<(), String> {
    boots(members, "dnsmasq", "dnsmasq")
}

fn kea(members: &[Member]) -> Result<(), String> {
    boots(members, "kea", "kea-dhcp4")
}

fn isc_dhcpd(members: &[Member]) -> Result<(), String> {
    boots(members, "isc-dhcpd", "dhcpd")
}

/// Machines boot with the recipe of `server`, whose program is `program`.
fn boots(members: &[Member], server: &str, program: &str) -> Result<(), String> {
    skip::program(program)?;
    skip::machines()?;
    let project = Project::with(members);
    project.sites("[default]\nloaders = []\n[syslinux]\nmembers = [\"lpxelinux.0\", \"ldlinux.c32\", \"syslinux.efi\", \"ldlinux.e64\"]\n");
    project.build(&[]).success();
    project.write("embed-scripts/network.toml", BOOT_NETWORK);
    let network = project.path("embed-scripts/network.toml");
    let ran = project.run(["boot-test", "--network", network.as_str(), "--dhcp", server]).warned();
    assert!(ran.stdout.contains("boot-test: 3 passed, 0 failed, 0 skipped"), "{}", ran.stdout);
    Ok(())
}
