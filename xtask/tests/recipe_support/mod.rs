//! A network, and all recipes for it.

#![allow(dead_code, reason = "every test file uses another part of this")]

use camino::Utf8PathBuf;

use crate::support::Project;

/// A network with machines of all sorts.
pub const NETWORK: &str = r#"
subnet = "192.168.88.0/24"
tftp-server = "192.168.88.1"
http-url = "http://192.168.88.10/tftp"
ranges = ["192.168.88.100-192.168.88.199"]
gateway = "192.168.88.1"
dns = ["192.168.88.1", "9.9.9.9"]
boot = "fedora-coreos.ipxe"
interface = "lo"

[[host]]
name = "k8s-master-01"
mac = "00-50-56-00-01-01"
ip = "192.168.88.21"
firmware = "bios"
hostname = "k8s-master-01.acmelabs.spb.ru"

[[host]]
name = "worker"
mac = "0050.5600.0102"
ip = "192.168.88.120"
firmware = "uefi"
site = "rack-1"

[[host]]
name = "lab"
mac = "0:50:56:0:1:3"
firmware = "uefi"
site = "fixed"

[[host]]
name = "storage"
mac = "005056000104"
firmware = "uefi"
boot = "http://192.168.88.11:8080/boot/${net0/mac:hexhyp}.ipxe?a=b"
"#;

/// The choices.
pub const SITES: &str = r#"
[default]
loaders = ["ipxe.pxe", "ipxe.efi", "undionly.kpxe"]
script = "boot.ipxe"
[site.rack-1]
loaders = ["snponly.efi"]
script = "class.ipxe"
[site.fixed]
script = "fixed.ipxe"
"#;

/// The recipes, by their names.
/// All recipes.
pub const KINDS: [&str; 11] = [
    "routeros",
    "routeros-6",
    "dnsmasq",
    "dnsmasq-proxy",
    "kea",
    "isc-dhcpd",
    "systemd-networkd",
    "nginx",
    "nginx-synology",
    "caddy",
    "tftpd-hpa",
];

/// A project with [`NETWORK`] and [`SITES`].
pub fn project() -> Project {
    let project = Project::new();
    project.sites(SITES);
    project.write("embed-scripts/class.ipxe", "#!ipxe\nset user-class netboot-loaders\ndhcp && chain ${root-path}\n");
    project.write("embed-scripts/fixed.ipxe", "#!ipxe\ndhcp && chain http://192.0.2.1/x\n");
    project.write("embed-scripts/network.toml", NETWORK);
    project
}

/// All files of all recipes, by kind and name.
pub fn written(project: &Project) -> Vec<(&'static str, Utf8PathBuf)> {
    let mut files = Vec::new();
    for kind in KINDS {
        let folder = project.path(&format!("out/{kind}"));
        project.run(&["recipe", kind, "--out", folder.as_str()]).success();
        let found = netboot_loaders::fs::walk(&folder).unwrap();
        files.extend(found.into_iter().map(|(path, _)| (kind, folder.join(path))));
    }
    files
}
