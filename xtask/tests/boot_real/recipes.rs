//! DHCP servers: with the distribution's syslinux loaders, and with iPXE wherever the pinned sources can be had.

use libtest_mimic::Trial;

use crate::real_support::{Real, sources};
use crate::support::{self, Project, Ran, installed};
use crate::trial;

/// The servers: their names, and their programs.
const SERVERS: [(&str, &str); 3] = [("dnsmasq", "dnsmasq"), ("kea", "kea-dhcp4"), ("isc-dhcpd", "dhcpd")];

const NETWORK: &str = r#"
subnet = "192.0.2.0/24"
tftp-server = "192.0.2.1"
http-url = "http://192.0.2.2/tftp"
ranges = ["192.0.2.100-192.0.2.119"]
boot = "machines.ipxe"
"#;

/// The machine of the boot test, as one that is known. Its name is one that recipes have for something else.
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

/// The tests.
pub fn trials() -> impl Iterator<Item = Trial> {
    let beside = trial("bios_and_uefi_boot_beside_a_server_that_only_gives_addresses".to_owned(), || {
        beside_another(sources()?);
        Ok(())
    });
    with_each_server().chain([beside])
}

fn with_each_server() -> impl Iterator<Item = Trial> {
    SERVERS.into_iter().flat_map(|(server, program)| {
        let name = |what: &str| format!("{what}_with_the_recipe_of_{}", server.replace('-', "_"));
        let with_syslinux = trial(name("bios_and_uefi_boot_syslinux"), move || {
            support::program(program)?;
            let members = installed().map_err(|missing| format!("{missing} is not installed"))?;
            syslinux(server, &members);
            Ok(())
        });
        let with_ipxe = trial(name("bios_and_uefi_boot_ipxe_and_a_known_machine_gets_its_own"), move || {
            support::program(program)?;
            ipxe(server, sources()?);
            Ok(())
        });
        [with_syslinux, with_ipxe]
    })
}

fn syslinux(server: &str, members: &[support::Member]) {
    let project = Project::with(members);
    project.sites("[default]\nloaders = []\n[syslinux]\nmembers = [\"lpxelinux.0\", \"ldlinux.c32\", \"syslinux.efi\", \"ldlinux.e64\"]\n");
    project.build(&[]).success();
    project.write("embed-scripts/network.toml", NETWORK);
    let network = project.path("embed-scripts/network.toml");
    let ran = project.run(&["boot-test", "--network", network.as_str(), "--dhcp", server]).success();
    assert!(ran.stdout.contains("boot-test: 3 passed, 0 failed, 0 skipped"), "{}", ran.stdout);
}

fn ipxe(server: &str, real: &Real) {
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
        Ran::from(real.command(&arguments).output().unwrap()).success().stdout
    };
    // The card of the machine with BIOS has iPXE for a boot ROM, which must not hear of option 17.
    std::fs::write(&network, NETWORK).unwrap();
    let said = boot(&["--case", "ipxe.pxe", "--case", "ipxe.efi"]);
    assert!(said.contains("boot-test: 2 passed, 0 failed, 0 skipped"), "{said}");
    std::fs::write(&network, format!("{NETWORK}{HOST}")).unwrap();
    let said = boot(&["--case", "sites/rack-1/snponly.efi"]);
    assert!(said.contains("boot-test: 1 passed, 0 failed, 0 skipped"), "{said}");
    let console = real.project.join("dist/boot-test/cases/sites-rack-1-snponly.efi/console.txt");
    let console = std::fs::read_to_string(console).unwrap().replace('\n', "");
    assert!(console.contains("I am known.example.net at 192.0.2.77"), "{console}");
    assert!(console.contains("http://192.0.2.10:8080/known.ipxe"), "{console}");
}

/// Before 2.91, dnsmasq cannot send option 17 there, so the loaders have their address with them.
fn beside_another(real: &Real) {
    real.sites(
        "[default]\nloaders = [\"ipxe.pxe\", \"ipxe.efi\"]\nscript = \"url.ipxe\"\n\
         vars = { boot_url = \"http://192.0.2.2/tftp/machines.ipxe\" }\n",
    );
    real.build(&[]);
    let network = real.project.join("embed-scripts/network.toml");
    std::fs::write(&network, NETWORK.replace("boot = \"machines.ipxe\"\n", "")).unwrap();
    let arguments = ["boot-test", "--network", network.as_str(), "--dhcp", "dnsmasq-proxy"];
    let cases = ["--case", "ipxe.pxe", "--case", "ipxe.efi"];
    let said = Ran::from(real.command(&[&arguments[..], &cases].concat()).output().unwrap()).success().stdout;
    assert!(said.contains("boot-test: 2 passed, 0 failed, 0 skipped"), "{said}");
}
