//! What the servers of a case provide: addresses, a boot script, a pxelinux configuration, a kernel.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use camino::Utf8PathBuf;

use super::boot_event::WebServerRole;
use super::case::{Aim, BootSource, Case, Destination, Fault, NicModel, NicSetup, Refusal};
use super::daemon::{Daemon, WebServer};
use super::dhcp::{DeadServices, Offer};
use super::entry::TestedEntry;
use super::loaders::Program;
use super::network::{DhcpSetup, HttpSetup, TestNetwork};
use super::secure_boot;
use super::userland;
use super::web::pages::Pages;
use crate::digest::Sha256Digest;
use crate::loader::target::Platform;

/// Kernel arguments of every case: use the serial console, and restart at once after a panic, which ends the machine.
const ARGUMENTS: &str = "console=tty0 console=ttyS0,115200 panic=-1";
/// The same for a machine with an ARM CPU, whose serial port is another one.
const ARGUMENTS_ARM: &str = "console=tty0 console=ttyAMA0 panic=-1";

/// Prefix of the nonce on the kernel's command line.
pub const NONCE_ARGUMENT: &str = "netboot-loaders.case=";

/// What the servers of a case provide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// DHCP offer at the start.
    pub offer: Offer,
    /// Option 17 from the moment when the loader was fetched. A card's boot ROM that is iPXE itself would mistake it
    /// for a disk.
    pub root_path_after_loader: Option<String>,
    /// URL for option 17, whether it is sent or not.
    pub boot_url: String,
    /// Web servers: role, address and port.
    pub servers: Vec<(WebServerRole, Ipv4Addr, u16)>,
    /// Ports on which a server uses TLS, on any address.
    pub tls_ports: Vec<u16>,
    /// Path of the loader in the TFTP folder.
    pub loader_path: Utf8PathBuf,
    /// Where firmware fetches the loader, if that is over HTTP.
    pub loader: Option<ResourceKey>,
    /// Location of shim, for the script's command of the same name.
    pub shim: Option<ResourceKey>,
    /// Where a loader may request the script.
    pub scripts: Vec<ResourceKey>,
    /// The script that is served there.
    pub script: Arc<[u8]>,
    /// Location of the kernel.
    pub kernel: ResourceKey,
    /// Location of the initramfs.
    pub initrd: ResourceKey,
    /// Locations and contents of other files.
    pub extra_files: Vec<(ResourceKey, Vec<u8>)>,
    /// Text that the kernel's command line must contain.
    pub command_line: String,
    /// Whether userland must report that Secure Boot is on.
    pub secure_boot: bool,
    /// URLs that userland must fetch, and the digests of their content.
    pub expected_fetches: Vec<(String, Sha256Digest)>,
    /// Host name that userland must get from DHCP.
    pub hostname: Option<String>,
    /// The content of `pxelinux.cfg/default`.
    pub pxelinux: Option<String>,
}

/// Files that the servers of a case provide.
pub struct Images {
    /// The loader.
    pub loader: Arc<[u8]>,
    /// The kernel.
    pub kernel: Arc<[u8]>,
    /// The initramfs.
    pub initrd: Arc<[u8]>,
    /// Shim, if the case needs it.
    pub shim: Option<Arc<[u8]>>,
}

/// A web server, and a full URL as that server sees it.
pub type ResourceKey = (WebServerRole, String);

impl Scenario {
    /// Creates the scenario that `case` needs in `network`; `append` are additional kernel arguments.
    #[must_use]
    pub fn new(case: &Case, network: &TestNetwork, nonce: &str, append: &str) -> Self {
        let served = match &case.entry {
            Some(entry) => ServedFiles::of_entry(entry, network, nonce),
            None => ServedFiles::own(case, network, nonce, append),
        };
        let Destination { root_path, addresses } = &case.destination;
        let boot_url = case.entry.as_ref().map_or_else(|| network.boot.clone(), |entry| entry.url(network));
        let mut scripts: Vec<ResourceKey> = addresses.iter().map(|url| located(url, network)).collect();
        scripts.extend(root_path.then(|| located(&boot_url, network)));
        let offered = *root_path && case.aim != Aim::Fault(Fault::NoRootPath);
        let root_path = offered.then(|| boot_url.clone());
        let (root_path, second_nic_root_path) = match case.nics {
            NicSetup::Single => (root_path, None),
            NicSetup::RootPathOnFirst | NicSetup::RootPathOnSecond => (root_path, Some(None)),
            NicSetup::RootPathOnOther => (None, Some(root_path)),
        };
        // A card's boot ROM in BIOS can be iPXE itself, which must not get option 17.
        let rom = case.loader.platform == Platform::Bios && !case.is_from_medium();
        let (early, root_path_after_loader) = if rom { (None, root_path) } else { (root_path, None) };
        let loader_url =
            (case.boot_source == BootSource::Http).then(|| format!("{}/{}", network.tree, case.loader.path));
        let loader = loader_url.as_ref().map(|url| located(url, network));
        let (offered, loader_path) = secure_boot::offered(case);
        let offer = Offer {
            loader: loader_url.unwrap_or_else(|| offered.into_string()),
            boot_source: case.boot_source,
            root_path: early,
            second_nic_root_path,
            dead: DeadServices::default(),
        };
        let ServedFiles { kernel, initrd, shim, script, extra_files, command_line, expected_fetches, pxelinux } =
            served;
        let mut scenario = Self {
            offer,
            root_path_after_loader,
            boot_url,
            servers: Vec::new(),
            tls_ports: Vec::new(),
            loader_path,
            loader,
            shim,
            scripts,
            script,
            kernel,
            initrd,
            extra_files,
            command_line,
            secure_boot: case.secure_boot.is_some(),
            expected_fetches,
            hostname: network.hostname.clone().filter(|_| case.entry.is_some()),
            pxelinux,
        };
        if case.aim != Aim::Fault(Fault::NoWebServer) {
            scenario.servers = servers(network, scenario.urls());
            scenario.tls_ports = tls_ports(scenario.urls());
        }
        scenario
    }

    /// Returns the pages of the web servers, which provide `images`.
    #[must_use]
    pub fn resources(&self, case: &Case, images: Images) -> Pages {
        let mut resources = Pages::default();
        let extra_files = self.extra_files.iter().map(|(path, content)| (path, Arc::from(content.as_slice())));
        let loader = self.loader.as_ref().map(|path| (path, images.loader));
        let shim = self.shim.as_ref().zip(images.shim);
        let images = [(&self.kernel, images.kernel), (&self.initrd, images.initrd)];
        for ((server, url), content) in images.into_iter().chain(loader).chain(shim).chain(extra_files) {
            resources.put(*server, url, content);
        }
        if case.aim != Aim::Fault(Fault::NoScript) {
            for (server, url) in &self.scripts {
                resources.put(*server, url, Arc::clone(&self.script));
            }
        }
        resources
    }

    /// Returns all URLs that are served.
    pub fn urls(&self) -> impl Iterator<Item = &str> {
        let extra_files = self.extra_files.iter().map(|(path, _)| path);
        let keys = self
            .scripts
            .iter()
            .chain(&self.loader)
            .chain(&self.shim)
            .chain([&self.kernel, &self.initrd])
            .chain(extra_files);
        keys.map(|(_, url)| url.as_str())
    }

    /// Returns the addresses in `network` that must be served in addition to the servers' own.
    #[must_use]
    pub fn addresses(&self, network: &TestNetwork) -> Vec<Ipv4Addr> {
        addresses(network, self.urls())
    }
}

impl Case {
    /// Returns why no machine here can run the case.
    #[must_use]
    pub fn obstacle(&self, network: &TestNetwork) -> Option<String> {
        let withheld = self.aim == Aim::Fault(Fault::NoRootPath) || self.nics == NicSetup::RootPathOnOther;
        if withheld && network.dhcp != DhcpSetup::Own {
            return Some("the DHCP configuration that was given decides about option 17".into());
        }
        let replaced = matches!(self.aim, Aim::Refused(Refusal::Tampered | Refusal::Unsigned));
        if (replaced || self.needs_shim()) && network.dhcp != DhcpSetup::Own {
            return Some("the DHCP configuration that was given decides about the loader".into());
        }
        if self.nics == NicSetup::RootPathOnOther
            && let Some(name @ ("undionly.kpxe" | "snponly.efi")) = self.loader.path.file_name()
        {
            return Some(format!("`{name}` drives only the card that it came from"));
        }
        if self.boot_source == BootSource::Http {
            if matches!(network.dhcp, DhcpSetup::Given(Daemon::DnsmasqProxy, _)) {
                return Some("a DHCP server beside another one cannot answer HTTP Boot".into());
            }
            if is_tls(&network.tree) {
                return Some(format!("the firmware would have to trust the certificate of `{}`", network.tree));
            }
        }
        let platform = self.loader.platform;
        if self.nic != NicModel::Virtio {
            if !matches!(platform, Platform::Bios | Platform::EfiX64) {
                return Some(format!("{} has a driver for virtio cards only", platform.words()));
            }
            if self.entry.is_some() {
                return Some("the system that stands in has a driver for virtio cards only".into());
            }
        }
        let is_chosen = self.is_from_medium() || network.chosen.is_empty();
        if !is_chosen && !network.chosen.contains(&(platform, self.loader.path.clone())) {
            let chosen = network.chosen.iter().find(|(chosen, _)| *chosen == platform);
            let chosen = chosen.map_or("no loader".to_owned(), |(_, path)| format!("`{path}`"));
            return Some(format!("DHCP gives machines with {} {chosen}", platform.words()));
        }
        if matches!(platform, Platform::EfiArm32 | Platform::EfiRiscv64 | Platform::EfiLoong64) {
            return Some(format!("there is no machine with {}", platform.words()));
        }
        if self.loader.program == Program::Syslinux
            && platform == Platform::Bios
            && self.loader.path.file_name() != Some("lpxelinux.0")
        {
            return Some("it speaks no HTTP, and the kernel is on a web server".into());
        }
        if let Some(address) = self.destination.addresses.iter().find(|address| address.contains("${")) {
            return Some(format!("`{address}` is an address that only the machine itself can complete"));
        }
        self.entry.as_ref().and_then(|entry| entry.obstacle(network)).or_else(|| self.not_served(network))
    }

    /// Returns why the web servers of `network` cannot provide what the case needs.
    fn not_served(&self, network: &TestNetwork) -> Option<String> {
        let scenario = Scenario::new(self, network, "", "");
        if let Some(url) = scenario.urls().find(|url| url.starts_with("https:")) {
            if network.tls.is_none() {
                return Some(format!("`{url}` needs a certificate that the loader trusts, and none was given"));
            }
            if matches!(network.http, HttpSetup::Given(..)) {
                return Some(format!("`{url}` is https, and the recipe that is tried is for http"));
            }
        }
        let HttpSetup::Given(server, _) = &network.http else { return None };
        let asks_tftp_server = self.loader.program == Program::Syslinux && self.loader.platform != Platform::Bios;
        if asks_tftp_server && *server == WebServer::Caddy {
            return Some("it asks for the TFTP server's address, and Caddy answers to its own name only".into());
        }
        let outside_tree = scenario.urls().find(|url| network.below_tree(url).is_none())?;
        Some(format!("`{outside_tree}` is not below `{}`, and {server} has nothing else", network.tree))
    }
}

/// Files to boot, and their locations.
struct ServedFiles {
    kernel: ResourceKey,
    initrd: ResourceKey,
    shim: Option<ResourceKey>,
    script: Arc<[u8]>,
    extra_files: Vec<(ResourceKey, Vec<u8>)>,
    command_line: String,
    expected_fetches: Vec<(String, Sha256Digest)>,
    pxelinux: Option<String>,
}

impl ServedFiles {
    /// Returns the boot test's own files: a kernel, and a script that boots it.
    fn own(case: &Case, network: &TestNetwork, nonce: &str, append: &str) -> Self {
        // `syslinux.efi` can only reach the TFTP server's address. All other loaders must reach another one.
        let tftp_server_only = case.loader.program == Program::Syslinux && case.loader.platform != Platform::Bios;
        let address = if tftp_server_only && case.aim == Aim::Userland { network.server } else { network.web };
        // Caddy answers to the name in its configuration only.
        let at = |name: &str| match network.http {
            HttpSetup::Given(WebServer::Caddy, _) => located(&format!("{}/{name}", network.tree), network),
            _ => located(&network.url(address, name), network),
        };
        let (kernel, initrd) = (at("vmlinuz"), at("initrd.img"));
        let shim = case.needs_shim().then(|| at(secure_boot::SHIM));
        let command_line = format!("{NONCE_ARGUMENT}{nonce}");
        let own = if case.loader.platform == Platform::EfiArm64 { ARGUMENTS_ARM } else { ARGUMENTS };
        let arguments = [own, &command_line, append].join(" ").trim_end().to_owned();
        let pxelinux = (case.loader.program == Program::Syslinux).then(|| {
            format!("DEFAULT linux\nLABEL linux\n  LINUX {}\n  INITRD {}\n  APPEND {arguments}\n", kernel.1, initrd.1)
        });
        // Anything that was loaded before would become a part of the initrd.
        let its_shim = shim.as_ref().map(|(_, url)| format!("shim {url}\n")).unwrap_or_default();
        let script = format!(
            "#!ipxe\nimgfree\n{its_shim}kernel {} initrd=initrd.img {arguments}\ninitrd {}\nboot\n",
            kernel.1, initrd.1
        );
        let (script, extra_files, expected_fetches) = (Arc::from(script.into_bytes()), Vec::new(), Vec::new());
        Self { kernel, initrd, shim, script, extra_files, command_line, expected_fetches, pxelinux }
    }

    /// Returns the files of `entry`: its script is the tree's own, everything else is a stand-in.
    fn of_entry(entry: &TestedEntry, network: &TestNetwork, nonce: &str) -> Self {
        let at = |url: &str| located(url, network);
        let files = entry.files.clone().unwrap_or_default();
        let mut initrds = files.initrds.iter().map(|url| at(url));
        let initrd = initrds.next().unwrap_or_else(|| at(""));
        let mut extra_files: Vec<_> = initrds.map(|path| (path, userland::nothing())).collect();
        extra_files.extend(entry.version.iter().map(|(url, text)| (at(url), text.clone().into_bytes())));
        let mut expected_fetches = Vec::new();
        for url in entry.for_userland() {
            let content = format!("{url} for {nonce}\n").into_bytes();
            expected_fetches.push((url.to_owned(), Sha256Digest::of(&content)));
            extra_files.push((at(url), content));
        }
        let (script, command_line) = (Arc::clone(&entry.script.1), files.arguments);
        let (kernel, shim, pxelinux) = (at(&files.kernel), None, None);
        Self { kernel, initrd, shim, script, extra_files, command_line, expected_fetches, pxelinux }
    }
}

/// Returns the server that serves `url`, and the URL as that server sees it.
pub(crate) fn located(url: &str, network: &TestNetwork) -> (WebServerRole, String) {
    let ((host, port), tls) = (authority(url), is_tls(url));
    let server = match host.parse::<Ipv4Addr>() {
        _ if tls => WebServerRole::Elsewhere,
        Ok(address) if address == network.server && port == network.port => WebServerRole::NextServer,
        Ok(address) if address == network.web && port == network.port => WebServerRole::Other,
        _ => WebServerRole::Elsewhere,
    };
    let path = url.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, path)| path);
    let (scheme, usual) = if tls { ("https", 443) } else { ("http", 80) };
    let shown = if port == usual { String::new() } else { format!(":{port}") };
    (server, format!("{scheme}://{host}{shown}/{path}"))
}

/// Checks whether `url` uses TLS.
fn is_tls(url: &str) -> bool {
    url.starts_with("https://")
}

/// Returns the host and the port of a URL.
fn authority(url: &str) -> (&str, u16) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let usual = if is_tls(url) { 443 } else { 80 };
    match authority.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().unwrap_or(usual)),
        None => (authority, usual),
    }
}

/// Returns the addresses in `network` that must be served for `urls` in addition to the servers' own.
pub(crate) fn addresses<'u>(network: &TestNetwork, urls: impl Iterator<Item = &'u str>) -> Vec<Ipv4Addr> {
    let hosts = urls.filter_map(|url| authority(url).0.parse().ok());
    let mut found: BTreeSet<Ipv4Addr> = hosts.filter(|address| network.contains(*address)).collect();
    found.extend(&network.neighbours);
    found.retain(|address| ![network.server, network.web].contains(address));
    found.into_iter().collect()
}

/// Returns the ports on which `urls` need TLS.
pub(crate) fn tls_ports<'u>(urls: impl Iterator<Item = &'u str>) -> Vec<u16> {
    let ports: BTreeSet<u16> = urls.filter(|url| is_tls(url)).map(|url| authority(url).1).collect();
    ports.into_iter().collect()
}

/// Returns the web servers of `network` that `urls` need: role, address and port.
pub(crate) fn servers<'u>(
    network: &TestNetwork,
    urls: impl Iterator<Item = &'u str>,
) -> Vec<(WebServerRole, Ipv4Addr, u16)> {
    let mut servers = vec![
        (WebServerRole::NextServer, network.server, network.port),
        (WebServerRole::Other, network.web, network.port),
    ];
    let open: BTreeSet<u16> =
        urls.filter(|url| !is_tls(url)).map(|url| authority(url).1).chain([80, network.port]).collect();
    servers.extend(open.into_iter().map(|port| (WebServerRole::Elsewhere, Ipv4Addr::UNSPECIFIED, port)));
    servers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot_test::case::EnrolledKeys;
    use crate::boot_test::samples::{ipxe, signed, syslinux};

    fn scenario(case: &Case) -> Scenario {
        Scenario::new(case, &TestNetwork::default(), "n0", "")
    }

    #[test]
    fn a_boot_rom_that_is_ipxe_does_not_hear_of_option_17() {
        let bios = scenario(&ipxe("ipxe.pxe", Aim::Userland));
        assert_eq!(
            (bios.offer.root_path, bios.root_path_after_loader.as_deref()),
            (None, Some("http://192.0.2.2/boot.ipxe"))
        );
        let uefi = scenario(&ipxe("ipxe.efi", Aim::Userland));
        assert_eq!(
            (uefi.offer.root_path.as_deref(), uefi.root_path_after_loader),
            (Some("http://192.0.2.2/boot.ipxe"), None)
        );
        let without = scenario(&ipxe("ipxe.efi", Aim::Fault(Fault::NoRootPath)));
        assert_eq!((without.offer.root_path, without.root_path_after_loader), (None, None));
    }

    #[test]
    fn only_syslinux_for_uefi_has_its_web_server_near() {
        let kernel = |case: &Case| scenario(case).kernel;
        assert_eq!(kernel(&syslinux("lpxelinux.0", Aim::Userland)).1, "http://192.0.2.2/vmlinuz");
        assert_eq!(kernel(&syslinux("syslinux.efi", Aim::Userland)).1, "http://192.0.2.1/vmlinuz");
        assert_eq!(kernel(&syslinux("syslinux.efi", Aim::WrongServer)).1, "http://192.0.2.2/vmlinuz");
        let pxelinux = scenario(&syslinux("lpxelinux.0", Aim::Userland)).pxelinux.unwrap();
        assert!(pxelinux.contains("\n  APPEND console=tty0 console=ttyS0,115200 panic=-1 netboot-loaders.case=n0\n"));
    }

    #[test]
    fn caddy_has_the_kernel_at_the_tree_s_own_address() {
        let caddy = HttpSetup::Given(WebServer::Caddy, String::new());
        let network =
            TestNetwork { tree: "http://192.0.2.1/tftp".into(), path: "/tftp".into(), ..TestNetwork::default() };
        let network = TestNetwork { http: caddy, boot: "http://192.0.2.1/tftp/boot.ipxe".into(), ..network };
        let kernel = Scenario::new(&ipxe("ipxe.efi", Aim::Userland), &network, "n0", "").kernel;
        assert_eq!(kernel, (WebServerRole::NextServer, "http://192.0.2.1/tftp/vmlinuz".to_owned()));
        assert_eq!(ipxe("ipxe.efi", Aim::Userland).obstacle(&network), None);
        assert!(syslinux("syslinux.efi", Aim::Userland).obstacle(&network).is_some());
    }

    #[test]
    fn a_given_address_is_served_wherever_it_is() {
        let mut case = ipxe("sites/a/ipxe.efi", Aim::Userland);
        let addresses = vec!["http://boot.example.org:8080/a.ipxe".into()];
        case.destination = Destination { root_path: false, addresses };
        let scenario = scenario(&case);
        assert_eq!(scenario.scripts, [(WebServerRole::Elsewhere, "http://boot.example.org:8080/a.ipxe".to_owned())]);
        assert!(scenario.servers.contains(&(WebServerRole::Elsewhere, Ipv4Addr::UNSPECIFIED, 8080)));
        assert_eq!(
            located("http://192.0.2.2", &TestNetwork::default()),
            (WebServerRole::Other, "http://192.0.2.2/".to_owned())
        );
    }

    #[test]
    fn the_script_first_drops_what_was_loaded_before_it() {
        let script = scenario(&ipxe("ipxe.efi", Aim::Userland)).script;
        assert_eq!(
            std::str::from_utf8(&script).unwrap(),
            "#!ipxe\nimgfree\nkernel http://192.0.2.2/vmlinuz initrd=initrd.img console=tty0 console=ttyS0,115200 \
             panic=-1 netboot-loaders.case=n0\ninitrd http://192.0.2.2/initrd.img\nboot\n"
        );
    }

    #[test]
    fn shim_comes_first_and_has_the_loader_beside_it() {
        let case = signed("sites/a/ipxe.efi", EnrolledKeys::MicrosoftAndMok, Aim::Userland);
        let shim = scenario(&case);
        assert_eq!(shim.offer.loader, "boot-test/shimx64.efi");
        assert_eq!(shim.loader_path, "boot-test/grubx64.efi");
        let script = std::str::from_utf8(&shim.script).unwrap();
        assert!(script.starts_with("#!ipxe\nimgfree\nshim http://192.0.2.2/shimx64.efi\nkernel "), "{script}");
        let images = Images {
            loader: Arc::from(&b"l"[..]),
            kernel: Arc::from(&b"k"[..]),
            initrd: Arc::from(&b"i"[..]),
            shim: Some(Arc::from(&b"s"[..])),
        };
        let pages = shim.resources(&case, images);
        let page = |name: &str| pages.get(WebServerRole::Other, &format!("http://192.0.2.2/{name}")).cloned().unwrap();
        assert_eq!((&*page("shimx64.efi"), &*page("vmlinuz")), (&b"s"[..], &b"k"[..]));
    }

    #[test]
    fn what_is_refused_takes_the_place_of_the_loader() {
        let offered = |refusal| {
            let scenario = scenario(&signed("sites/a/ipxe.efi", EnrolledKeys::Own, Aim::Refused(refusal)));
            assert!(scenario.secure_boot && scenario.shim.is_none());
            assert_eq!(scenario.offer.loader, scenario.loader_path);
            scenario.offer.loader
        };
        assert_eq!(offered(Refusal::Tampered), "boot-test/ipxe.efi");
        assert_eq!(offered(Refusal::Unsigned), "boot-test/ipxe.efi");
        assert_eq!(offered(Refusal::UnsignedKernel), "sites/a/ipxe.efi");
        let network = TestNetwork { dhcp: DhcpSetup::Given(Daemon::Kea, "{}".into()), ..TestNetwork::default() };
        let obstacle = |keys, aim| signed("ipxe.efi", keys, aim).obstacle(&network);
        let reason = "the DHCP configuration that was given decides about the loader";
        assert_eq!(obstacle(EnrolledKeys::Own, Aim::Refused(Refusal::Unsigned)).unwrap(), reason);
        assert_eq!(obstacle(EnrolledKeys::MicrosoftAndMok, Aim::Userland).unwrap(), reason);
        assert_eq!(obstacle(EnrolledKeys::Own, Aim::Userland), None);
    }

    #[test]
    fn what_comes_over_tls_has_a_server_of_its_own() {
        let mut case = ipxe("sites/a/ipxe.efi", Aim::Userland);
        let addresses = ["https://192.0.2.2/a.ipxe", "https://boot.example.org:8443/b.ipxe"].map(Into::into);
        case.destination = Destination { root_path: false, addresses: addresses.to_vec() };
        let scenario = scenario(&case);
        assert_eq!(scenario.scripts, addresses.map(|url: String| (WebServerRole::Elsewhere, url)));
        assert_eq!(scenario.tls_ports, [443, 8443]);
        assert!(scenario.servers.iter().all(|(_, _, port)| *port == 80), "{:?}", scenario.servers);
    }

    #[test]
    fn another_card_has_what_the_card_of_the_loader_lacks() {
        for loader in ["ipxe.efi", "ipxe.pxe"] {
            let scenario = scenario(&Case { nics: NicSetup::RootPathOnOther, ..ipxe(loader, Aim::Userland) });
            assert_eq!((scenario.offer.root_path, scenario.root_path_after_loader), (None, None), "{loader}");
            assert_eq!(scenario.offer.second_nic_root_path, Some(Some("http://192.0.2.2/boot.ipxe".into())));
        }
        let plain = scenario(&Case { nics: NicSetup::RootPathOnSecond, ..ipxe("ipxe.efi", Aim::Userland) })
            .offer
            .second_nic_root_path;
        assert_eq!(plain, Some(None), "an answer without option 17");
    }

    #[test]
    fn an_expected_address_in_the_network_becomes_the_servers_own() {
        let mut case = ipxe("sites/a/ipxe.efi", Aim::Userland);
        case.destination.addresses =
            ["http://192.0.2.10/a", "http://192.0.2.2/b", "http://10.0.0.1/c"].map(Into::into).into();
        assert_eq!(scenario(&case).addresses(&TestNetwork::default()), [Ipv4Addr::new(192, 0, 2, 10)]);
    }

    #[test]
    fn a_server_that_is_down_does_not_listen() {
        assert!(scenario(&ipxe("ipxe.efi", Aim::Fault(Fault::NoWebServer))).servers.is_empty());
    }
}
