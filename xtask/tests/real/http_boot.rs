//! UEFI HTTP Boot: the firmware itself fetches the loader, as real DHCP and web servers tell it by their recipes.

use netboot_fixtures::project::CliOutput;
use netboot_fixtures::real::{Real, sources};
use netboot_fixtures::recipe::BOOT_NETWORK;
use netboot_fixtures::skip;

netboot_fixtures::tests! {
    with sources;
    dnsmasq_and_nginx,
    ; full:
    kea_and_caddy,
    isc_dhcpd_and_caddy,
    arm64,
}

fn dnsmasq_and_nginx(real: &Real) -> Result<(), String> {
    boots(real, &["ipxe.efi"], [("dnsmasq", "dnsmasq"), ("nginx", "nginx")])
}

fn kea_and_caddy(real: &Real) -> Result<(), String> {
    boots(real, &["ipxe.efi"], [("kea", "kea-dhcp4"), ("caddy", "caddy")])
}

fn isc_dhcpd_and_caddy(real: &Real) -> Result<(), String> {
    boots(real, &["snponly.efi"], [("isc-dhcpd", "dhcpd"), ("caddy", "caddy")])
}

fn arm64(real: &Real) -> Result<(), String> {
    for name in ["qemu-system-aarch64", "aarch64-linux-gnu-gcc", "apt-get"] {
        skip::program(name)?;
    }
    boots(real, &["arm64/ipxe.efi", "arm64/snponly.efi"], [("kea", "kea-dhcp4"), ("nginx", "nginx")])
}

/// Boots `loaders` to userland, with the recipes of a DHCP and of a web server, each named with its program. DHCP names one
/// loader for each platform.
fn boots(real: &Real, loaders: &[&str], [dhcp, http]: [(&str, &str); 2]) -> Result<(), String> {
    skip::machines()?;
    for (_, program) in [dhcp, http] {
        skip::program(program)?;
    }
    real.sites(&format!("[default]\nloaders = {loaders:?}\nscript = \"robust.ipxe\"\n"));
    real.build(&[]);
    let network = real.project.join("embed-scripts/network.toml");
    std::fs::write(&network, BOOT_NETWORK).unwrap();
    let servers = ["--network", network.as_str(), "--dhcp", dhcp.0, "--http", http.0];
    // The kernel of another CPU is unpacked, and nothing is installed.
    let unpack: &[&str] = if loaders[0].contains('/') { &["--install-deps"] } else { &[] };
    let arguments = [&["boot-test", "--case", "http-boot"], &servers[..], unpack].concat();
    let said = CliOutput::from(real.command(&arguments).output().unwrap()).warned().stdout;
    let skipped = loaders.len() - 1;
    assert!(said.contains(&format!("boot-test: 1 passed, 0 failed, {skipped} skipped")), "{said}");
    assert!(said.contains(&format!("ok       {}:http-boot", loaders[0])), "{said}");
    let folder = format!("dist/boot-test/cases/{}-http-boot", loaders[0].replace('/', "-"));
    let log = std::fs::read_to_string(real.project.join(folder).join("servers.log")).unwrap();
    for method in ["HEAD", "GET"] {
        assert!(log.lines().any(|line| line.contains(method) && line.contains(loaders[0])), "{method}: {log}");
    }
    assert!(!log.contains("]: sent "), "{log}");
    Ok(())
}
