//! Boot entries: real loaders, a real DHCP server and a real web server configured by their recipes, and the tree's
//! own scripts. Only the operating systems are stand-ins: their userland prints the settings that the real one would
//! use.

use netboot_fixtures::project::CliOutput;
use netboot_fixtures::real::{Real, sources};
use netboot_fixtures::skip;

netboot_fixtures::tests! {
    with sources;
    the_whole_way,
    another_host_name,
    each_kind,
}

const NETWORK: &str = r#"
subnet = "192.168.88.0/24"
tftp-server = "192.168.88.1"
http-url = "http://192.168.88.10/tftp"
ranges = ["192.168.88.100-192.168.88.199"]
gateway = "192.168.88.254"
boot = "fedora-coreos.ipxe"

[[host]]
name = "k8s-master-01"
mac = "52-54-00-12-34-56"
ip = "192.168.88.21"
firmware = "uefi"
hostname = "k8s-master-01.example.net"
"#;

const SITES: &str = r#"
[default]
loaders = ["ipxe.efi", "ipxe.pxe"]
script = "robust.ipxe"

[boot.fedora-coreos]
kind = "fedora-coreos"
mirror = "http://192.168.88.10/tftp/fedora-coreos"
ignition = "http://192.168.88.10/tftp/config.ign"
arguments = "console=tty1"

[boot.flatcar]
kind = "flatcar"
mirror = "http://10.1.2.3/flatcar"
ignition = "http://10.1.2.4/config.ign"

[boot.rescue]
kind = "linux"
kernel = "http://boot.example.net:8080/vmlinuz"
initrd = ["http://boot.example.net:8080/initrd.img", "http://boot.example.net/more.img"]
arguments = "quiet root_url=http://boot.example.net:8081/root.img"
"#;

/// Builds the tree, and runs its boot test in the network of [`NETWORK`].
fn boot(real: &Real, arguments: &[&str]) -> CliOutput {
    real.sites(SITES);
    real.build(&[]);
    let network = real.project.join("embed-scripts/network.toml");
    std::fs::write(&network, NETWORK).unwrap();
    let arguments = [&["boot-test", "--attempts", "1"], arguments].concat();
    let arguments: Vec<&str> =
        arguments.into_iter().map(|word| if word == "NETWORK" { network.as_str() } else { word }).collect();
    CliOutput::from(real.command(&arguments).output().unwrap())
}

fn evidence(real: &Real, case: &str, file: &str) -> String {
    std::fs::read_to_string(real.project.join("dist/boot-test/cases").join(case).join(file)).unwrap()
}

fn the_whole_way(real: &Real) -> Result<(), String> {
    skip::machines()?;
    skip::program("nginx")?;
    let case = "ipxe.efi:boot-fedora-coreos";
    let said =
        boot(real, &["--network", "NETWORK", "--dhcp", "dnsmasq", "--http", "nginx", "--case", case]).success().stdout;
    assert!(said.contains("boot-test: 1 passed, 0 failed, 0 skipped"), "{said}");
    let console = evidence(real, "ipxe.efi-boot-fedora-coreos", "console.txt");
    let base = "http://192.168.88.10/tftp";
    let set = format!("{base}/fedora-coreos/0.boot-test");
    for line in [
        format!("net0: loading {base}/fedora-coreos.ipxe"),
        format!(
            "netboot-loaders: command line: kernel-x86_64 initrd=main coreos.live.rootfs_url={set}/rootfs.x86_64.img \
             ignition.firstboot ignition.platform.id=metal ignition.config.url={base}/config.ign console=tty1\n"
        ),
        "netboot-loaders: host name: k8s-master-01.example.net\n".to_owned(),
        format!("netboot-loaders: fetched: {base}/config.ign "),
    ] {
        assert!(console.contains(&line), "{line} is not in:\n{console}");
    }
    // Each of them was served by nginx.
    let log = evidence(real, "ipxe.efi-boot-fedora-coreos", "servers.log");
    for file in [
        "fedora-coreos.ipxe",
        "fedora-coreos/current/version.ipxe",
        "fedora-coreos/0.boot-test/kernel-x86_64",
        "fedora-coreos/0.boot-test/initramfs.x86_64.img",
        "fedora-coreos/0.boot-test/rootfs.x86_64.img",
        "config.ign",
    ] {
        let line = format!("192.168.88.10:80 GET 192.168.88.10 /tftp/{file} 200 ");
        assert!(log.contains(&line), "{line} is not in:\n{log}");
    }
    Ok(())
}

fn another_host_name(real: &Real) -> Result<(), String> {
    skip::machines()?;
    skip::program("nginx")?;
    let sites = real.project.join("embed-scripts/network.toml");
    std::fs::write(&sites, NETWORK).unwrap();
    let recipe = CliOutput::from(real.command(&["recipe", "dnsmasq"]).output().unwrap()).warned().stdout;
    let wrong = real.project.join("wrong.conf");
    std::fs::write(&wrong, recipe.replace("k8s-master-01.example.net", "k8s-worker-01.example.net")).unwrap();
    let given = ["--network", "NETWORK", "--dhcp", "dnsmasq", "--dhcp-config", wrong.as_str()];
    let ran =
        boot(real, &[&given[..], &["--case", "ipxe.efi:boot-fedora-coreos"]].concat()).printed("FAILED ").failure(10);
    let wanted =
        "userland got the host name `k8s-worker-01.example.net`, wanted `k8s-master-01.example.net` (DHCP option 12)";
    assert!(ran.contains(wanted), "{ran}");
    Ok(())
}

fn each_kind(real: &Real) -> Result<(), String> {
    skip::machines()?;
    skip::program("nginx")?;
    let cases = ["ipxe.pxe:boot-fedora-coreos", "ipxe.efi:boot-flatcar", "ipxe.efi:boot-rescue"];
    let arguments: Vec<&str> = cases.iter().flat_map(|case| ["--case", case]).collect();
    let said = boot(real, &arguments).success().stdout;
    assert!(said.contains("boot-test: 3 passed, 0 failed, 0 skipped"), "{said}");
    Ok(())
}
