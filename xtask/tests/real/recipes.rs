//! DHCP servers configured by their recipes, serving machines that boot iPXE.

use netboot_fixtures::project::CliOutput;
use netboot_fixtures::real::{Real, sources};
use netboot_fixtures::recipe::BOOT_NETWORK;
use netboot_fixtures::skip;

netboot_fixtures::tests! {
    with sources;
    dnsmasq,
    beside_another,
    ; full:
    kea,
    isc_dhcpd,
}

/// The machine of the boot test, as a known host. Recipes use its name for something else, too.
const HOST: &str = r#"
[[host]]
name = "loader"
mac = "5254.0012.3456"
ip = "192.0.2.77"
firmware = "uefi"
site = "rack-1"
hostname = "known.example.net"
boot = "http://192.0.2.10:8080/known.ipxe"
"#;

fn dnsmasq(real: &Real) -> Result<(), String> {
    boots(real, "dnsmasq", "dnsmasq")
}

fn kea(real: &Real) -> Result<(), String> {
    boots(real, "kea", "kea-dhcp4")
}

fn isc_dhcpd(real: &Real) -> Result<(), String> {
    boots(real, "isc-dhcpd", "dhcpd")
}

/// With the recipe of `server`, whose program is `program`, a known machine gets its own script, and others get that
/// of the network.
fn boots(real: &Real, server: &str, program: &str) -> Result<(), String> {
    skip::program(program)?;
    skip::machines()?;
    let scripts = real.project.join("embed-scripts");
    let own = "#!ipxe\nset user-class netboot-loaders\ndhcp\necho I am ${hostname} at ${ip}\nchain ${root-path}\n";
    std::fs::write(scripts.join("own.ipxe"), own).unwrap();
    real.sites(
        "[default]\nloaders = [\"ipxe.pxe\", \"ipxe.efi\"]\nscript = \"robust.ipxe\"\n\
         [site.rack-1]\nscript = \"own.ipxe\"\nloaders = [\"snponly.efi\"]\n",
    );
    real.build(&[]);
    let network = scripts.join("network.toml");
    let boot = |cases: &[&str]| {
        let arguments = [&["boot-test", "--network", network.as_str(), "--dhcp", server], cases].concat();
        CliOutput::from(real.command(&arguments).output().unwrap()).warned().stdout
    };
    // The card of the BIOS machine has iPXE as its boot ROM, which must not get option 17.
    std::fs::write(&network, BOOT_NETWORK).unwrap();
    let said = boot(&["--case", "ipxe.pxe", "--case", "ipxe.efi"]);
    assert!(said.contains("boot-test: 2 passed, 0 failed, 0 skipped"), "{said}");
    std::fs::write(&network, format!("{BOOT_NETWORK}{HOST}")).unwrap();
    let said = boot(&["--case", "sites/rack-1/snponly.efi"]);
    assert!(said.contains("boot-test: 1 passed, 0 failed, 0 skipped"), "{said}");
    let console = real.project.join("dist/boot-test/cases/sites-rack-1-snponly.efi/console.txt");
    let console = std::fs::read_to_string(console).unwrap().replace('\n', "");
    assert!(console.contains("I am known.example.net at 192.0.2.77"), "{console}");
    assert!(console.contains("http://192.0.2.10:8080/known.ipxe"), "{console}");
    Ok(())
}

/// Before 2.91, dnsmasq cannot send option 17 as a proxy, so the loaders contain their address.
fn beside_another(real: &Real) -> Result<(), String> {
    skip::machines()?;
    real.sites(
        "[default]\nloaders = [\"ipxe.pxe\", \"ipxe.efi\"]\nscript = \"url.ipxe\"\n\
         vars = { boot_url = \"http://192.0.2.2/tftp/machines.ipxe\" }\n",
    );
    real.build(&[]);
    let network = real.project.join("embed-scripts/network.toml");
    std::fs::write(&network, BOOT_NETWORK.replace("boot = \"machines.ipxe\"\n", "")).unwrap();
    let arguments = ["boot-test", "--network", network.as_str(), "--dhcp", "dnsmasq-proxy"];
    let cases = ["--case", "ipxe.pxe", "--case", "ipxe.efi"];
    let said = CliOutput::from(real.command(&[&arguments[..], &cases].concat()).output().unwrap()).warned().stdout;
    assert!(said.contains("boot-test: 2 passed, 0 failed, 0 skipped"), "{said}");
    Ok(())
}
