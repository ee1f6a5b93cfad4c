//! What the servers of a case have: addresses, a boot script, a pxelinux configuration, a kernel.

use std::net::Ipv4Addr;
use std::sync::Arc;

use super::case::{Aim, Case, Destination, Fault, Firmware};
use super::dhcp::Offer;
use super::happening::Asked;
use super::network::Network;
use super::subject::Program;
use super::web::Pages;

/// What the kernel is told in every case: to talk to the serial port, and to end where it panics.
const ARGUMENTS: &str = "console=tty0 console=ttyS0,115200 panic=-1";

/// What stands before the nonce on the kernel's command line.
pub const MARK: &str = "netboot-loaders.case=";

/// What the servers of a case have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// What DHCP offers to begin with.
    pub offer: Offer,
    /// Option 17 from the moment on when the loader was fetched. A card's boot ROM that is iPXE itself
    /// would take it for a disk.
    pub later: Option<String>,
    /// Where option 17 leads, whether it is sent or not.
    pub boot: String,
    /// The web servers: which, its address, its port.
    pub servers: Vec<(Asked, Ipv4Addr, u16)>,
    /// Where the script may be asked for, and at which server.
    pub scripts: Vec<(Asked, String)>,
    /// Where the kernel is.
    pub kernel: (Asked, String),
    /// Where the initramfs is.
    pub initrd: (Asked, String),
    /// The kernel's arguments.
    pub arguments: String,
    /// The content of `pxelinux.cfg/default`.
    pub pxelinux: Option<String>,
}

impl Service {
    /// What `case` needs in `network`; `append` are more arguments for the kernel.
    #[must_use]
    pub fn new(case: &Case, network: &Network, nonce: &str, append: &str) -> Self {
        // syslinux.efi can only reach the TFTP server's address. All others have to reach another one.
        let near = case.loader.program == Program::Syslinux && case.firmware == Firmware::Uefi;
        let (place, address) = match case.aim {
            Aim::Userland if near => (Asked::NextServer, network.server),
            _ => (Asked::Other, network.web),
        };
        let at = |name: &str| (place, format!("http://{address}/{name}"));
        let Destination { root_path, addresses } = &case.destination;
        let mut scripts: Vec<_> = addresses.iter().map(|url| located(url, network)).collect();
        scripts.extend(root_path.then(|| located(&network.boot, network)));
        let offered = *root_path && case.aim != Aim::Fault(Fault::NoRootPath);
        let root_path = offered.then(|| network.boot.clone());
        let (early, later) = match case.firmware {
            Firmware::Bios => (None, root_path),
            Firmware::Uefi => (root_path, None),
        };
        let arguments = [ARGUMENTS, &format!("{MARK}{nonce}"), append].join(" ").trim_end().to_owned();
        let (kernel, initrd) = (at("vmlinuz"), at("initrd.img"));
        let pxelinux = (case.loader.program == Program::Syslinux).then(|| {
            format!("DEFAULT linux\nLABEL linux\n  KERNEL {}\n  INITRD {}\n  APPEND {arguments}\n", kernel.1, initrd.1)
        });
        let servers = if case.aim == Aim::Fault(Fault::NoWebServer) { Vec::new() } else { servers(network, &scripts) };
        let offer = Offer { loader: case.loader.path.clone(), root_path: early };
        let boot = network.boot.clone();
        Self { offer, later, boot, servers, scripts, kernel, initrd, arguments, pxelinux }
    }

    /// The pages of the web servers.
    #[must_use]
    pub fn pages(&self, case: &Case, kernel: &Arc<[u8]>, initrd: &Arc<[u8]>) -> Pages {
        let mut pages = Pages::default();
        for ((server, url), content) in [(&self.kernel, kernel), (&self.initrd, initrd)] {
            pages.put(*server, url, Arc::clone(content));
        }
        if case.aim != Aim::Fault(Fault::NoScript) {
            for (server, url) in &self.scripts {
                pages.put(*server, url, Arc::from(self.script().as_bytes()));
            }
        }
        pages
    }

    /// The addresses in `network` that scripts are expected at, beyond the servers' own.
    #[must_use]
    pub fn addresses(&self, network: &Network) -> Vec<Ipv4Addr> {
        let hosts = self.scripts.iter().filter_map(|(_, url)| authority(url).0.parse().ok());
        let mut found: Vec<Ipv4Addr> = hosts.filter(|address| network.contains(*address)).collect();
        found.retain(|address| ![network.server, network.web].contains(address));
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The script that loaders chain to.
    fn script(&self) -> String {
        let (kernel, initrd) = (&self.kernel.1, &self.initrd.1);
        // Whatever was loaded before would become a part of the initrd.
        format!("#!ipxe\nimgfree\nkernel {kernel} initrd=initrd.img {}\ninitrd {initrd}\nboot\n", self.arguments)
    }
}

/// Which server stands at `url`, and the address as that server will see it.
fn located(url: &str, network: &Network) -> (Asked, String) {
    let (host, port) = authority(url);
    let server = match host.parse::<Ipv4Addr>() {
        Ok(address) if address == network.server && port == 80 => Asked::NextServer,
        Ok(address) if address == network.web && port == 80 => Asked::Other,
        _ => Asked::Elsewhere,
    };
    let path = url.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, path)| path);
    let shown = if port == 80 { String::new() } else { format!(":{port}") };
    (server, format!("http://{host}{shown}/{path}"))
}

/// Host and port of a web address.
fn authority(url: &str) -> (&str, u16) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    match authority.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().unwrap_or(80)),
        None => (authority, 80),
    }
}

fn servers(network: &Network, scripts: &[(Asked, String)]) -> Vec<(Asked, Ipv4Addr, u16)> {
    let mut servers = vec![(Asked::NextServer, network.server, 80), (Asked::Other, network.web, 80)];
    let mut ports: Vec<u16> = scripts.iter().map(|(_, url)| authority(url).1).chain([80]).collect();
    ports.sort_unstable();
    ports.dedup();
    servers.extend(ports.into_iter().map(|port| (Asked::Elsewhere, Ipv4Addr::UNSPECIFIED, port)));
    servers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot_test::samples::{ipxe, syslinux};

    fn service(case: &Case) -> Service {
        Service::new(case, &Network::default(), "n0", "")
    }

    #[test]
    fn a_boot_rom_that_is_ipxe_does_not_hear_of_option_17() {
        let bios = service(&ipxe("ipxe.pxe", Aim::Userland));
        assert_eq!((bios.offer.root_path, bios.later.as_deref()), (None, Some("http://192.0.2.2/boot.ipxe")));
        let uefi = service(&ipxe("ipxe.efi", Aim::Userland));
        assert_eq!((uefi.offer.root_path.as_deref(), uefi.later), (Some("http://192.0.2.2/boot.ipxe"), None));
        let without = service(&ipxe("ipxe.efi", Aim::Fault(Fault::NoRootPath)));
        assert_eq!((without.offer.root_path, without.later), (None, None));
    }

    #[test]
    fn only_syslinux_for_uefi_has_its_web_server_near() {
        let kernel = |case: &Case| service(case).kernel;
        assert_eq!(kernel(&syslinux("lpxelinux.0", Aim::Userland)).1, "http://192.0.2.2/vmlinuz");
        assert_eq!(kernel(&syslinux("syslinux.efi", Aim::Userland)).1, "http://192.0.2.1/vmlinuz");
        assert_eq!(kernel(&syslinux("syslinux.efi", Aim::WrongServer)).1, "http://192.0.2.2/vmlinuz");
        let pxelinux = service(&syslinux("lpxelinux.0", Aim::Userland)).pxelinux.unwrap();
        assert!(pxelinux.contains("\n  APPEND console=tty0 console=ttyS0,115200 panic=-1 netboot-loaders.case=n0\n"));
    }

    #[test]
    fn a_given_address_is_served_wherever_it_is() {
        let mut case = ipxe("sites/a/ipxe.efi", Aim::Userland);
        let addresses = vec!["http://boot.example.org:8080/a.ipxe".into()];
        case.destination = Destination { root_path: false, addresses };
        let service = service(&case);
        assert_eq!(service.scripts, [(Asked::Elsewhere, "http://boot.example.org:8080/a.ipxe".to_owned())]);
        assert!(service.servers.contains(&(Asked::Elsewhere, Ipv4Addr::UNSPECIFIED, 8080)));
        assert_eq!(located("http://192.0.2.2", &Network::default()), (Asked::Other, "http://192.0.2.2/".to_owned()));
    }

    #[test]
    fn the_script_first_drops_what_was_loaded_before_it() {
        let script = service(&ipxe("ipxe.efi", Aim::Userland)).script();
        assert_eq!(
            script,
            "#!ipxe\nimgfree\nkernel http://192.0.2.2/vmlinuz initrd=initrd.img console=tty0 console=ttyS0,115200 \
             panic=-1 netboot-loaders.case=n0\ninitrd http://192.0.2.2/initrd.img\nboot\n"
        );
    }

    #[test]
    fn an_expected_address_in_the_network_becomes_the_servers_own() {
        let mut case = ipxe("sites/a/ipxe.efi", Aim::Userland);
        case.destination.addresses =
            ["http://192.0.2.10/a", "http://192.0.2.2/b", "http://10.0.0.1/c"].map(Into::into).into();
        assert_eq!(service(&case).addresses(&Network::default()), [Ipv4Addr::new(192, 0, 2, 10)]);
    }

    #[test]
    fn a_server_that_is_down_does_not_listen() {
        assert!(service(&ipxe("ipxe.efi", Aim::Fault(Fault::NoWebServer))).servers.is_empty());
    }
}
