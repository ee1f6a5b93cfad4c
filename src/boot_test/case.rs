//! Test cases: a loader, a machine, its servers, and the expected outcome.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::entry::TestedEntry;
use super::loaders::{LoaderFile, Program};
use crate::base::closed_set::closed_set;
use crate::config::boot_entry::BootEntry;
use crate::config::script::Script;
use crate::config::sites::Sites;
use crate::digest::Sha256Digest;
use crate::loader::medium::Medium;
use crate::loader::target::Platform;

/// A test case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Name: the loader's path, with `:VARIANT` appended for everything but the plain boot.
    pub name: String,
    /// The loader.
    pub loader: LoaderFile,
    /// Where the firmware gets the loader from.
    pub boot_source: BootSource,
    /// The machine's network cards.
    pub nics: NicSetup,
    /// The model of its cards.
    pub nic: NicModel,
    /// Keys in its firmware, if the machine has Secure Boot: where the loader is signed.
    pub secure_boot: Option<EnrolledKeys>,
    /// Expected outcome.
    pub aim: Aim,
    /// Where the loader is expected to go.
    pub destination: Destination,
    /// Boot entry whose script is served there; the boot test's own script if `None`.
    pub entry: Option<Arc<TestedEntry>>,
}

/// Where firmware gets a loader from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootSource {
    /// PXE: over TFTP.
    Pxe,
    /// UEFI HTTP Boot: over HTTP, from a URL that DHCP sends.
    Http,
    /// A boot medium in the machine.
    Medium(Medium),
}

impl BootSource {
    /// Variant in the name of a case with HTTP Boot.
    pub const HTTP: &str = "http-boot";

    /// Describes it, as a suffix to [`Aim::words`].
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Pxe => "",
            Self::Http => ", and the firmware itself fetches the loader over HTTP",
            Self::Medium(Medium::Iso) => ", and the firmware loads from a CD",
            Self::Medium(_) => ", and the firmware loads from a USB stick",
        }
    }
}

closed_set! {
    /// A model of network card that QEMU emulates.
    pub enum NicModel {
        /// Virtio.
        Virtio = "virtio",
        /// Intel 82540EM.
        E1000 = "e1000",
        /// Intel 82574L.
        E1000e = "e1000e",
        /// Intel 82576, since QEMU 8.0.
        Igb = "igb",
        /// Realtek RTL8139.
        Rtl8139 = "rtl8139",
        /// VMware VMXNET3.
        Vmxnet3 = "vmxnet3",
    }
}

impl Default for NicModel {
    /// Returns the model that is fastest, and that every firmware of QEMU's has a driver for.
    fn default() -> Self {
        Self::Virtio
    }
}

impl NicModel {
    /// Returns the name of QEMU's device.
    #[must_use]
    pub fn device(self) -> &'static str {
        if self == Self::Virtio { "virtio-net-pci" } else { self.as_str() }
    }

    /// Describes it, as a suffix to [`Aim::words`].
    #[must_use]
    pub fn words(self) -> String {
        if self == Self::Virtio { String::new() } else { format!(", on a card of the model {self}") }
    }
}

/// Network cards of a machine.
///
/// The card that the loader comes from is in the network of the servers. A second card is in another network, whose
/// DHCP server leases addresses and offers no loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NicSetup {
    /// One card.
    Single,
    /// Two cards. The loader comes from the first one, which also gets option 17.
    RootPathOnFirst,
    /// Two cards. The loader comes from the second one, which also gets option 17.
    RootPathOnSecond,
    /// Two cards. The loader comes from the first one; only the network of the second one has option 17.
    RootPathOnOther,
}

impl NicSetup {
    /// All setups with a second card.
    pub const TWO: [Self; 3] = [Self::RootPathOnFirst, Self::RootPathOnSecond, Self::RootPathOnOther];

    /// Returns the variant in the name of a case; empty for a single card.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Single => "",
            Self::RootPathOnFirst => "first-card",
            Self::RootPathOnSecond => "second-card",
            Self::RootPathOnOther => "another-card",
        }
    }

    /// Describes where option 17 comes from, as a suffix to [`Aim::words`].
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Single => "",
            Self::RootPathOnFirst => ", with option 17 on the first of two cards",
            Self::RootPathOnSecond => ", with option 17 on the second of two cards",
            Self::RootPathOnOther => ", with option 17 on another card than the loader's",
        }
    }
}

/// Keys in the firmware of a machine with Secure Boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnrolledKeys {
    /// Those of the loader and the kernel.
    Own,
    /// Microsoft's, and that of the loader among the keys of the machine's owner (MOK), which only shim knows.
    MicrosoftAndMok,
    /// Microsoft's alone.
    Microsoft,
}

impl EnrolledKeys {
    /// Variant in the name of a case in which shim starts the loader.
    pub const SHIM: &str = "shim";

    /// Checks whether the firmware trusts shim, and shim starts the loader.
    #[must_use]
    pub fn need_shim(self) -> bool {
        self != Self::Own
    }

    /// Describes them, as a suffix to [`Aim::words`].
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Own => ", with Secure Boot on",
            Self::MicrosoftAndMok => ", with Secure Boot on: shim starts the loader, whose key is a MOK",
            Self::Microsoft => ", with Secure Boot on: shim starts the loader",
        }
    }
}

/// Expected outcome of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aim {
    /// Linux reaches userland and powers the machine off.
    Userland,
    /// `syslinux.efi` contacts the TFTP server's address, whatever address its configuration names.
    WrongServer,
    /// Something is missing, and the loader reacts to that in a known way.
    Fault(Fault),
    /// Secure Boot refuses to start something.
    Refused(Refusal),
}

closed_set! {
    /// Fault that a case simulates.
    pub enum Fault {
        /// DHCP sends no option 17.
        NoRootPath = "no-option-17",
        /// The web server does not have the script.
        NoScript = "no-script",
        /// No web server listens.
        NoWebServer = "no-web-server",
    }
}

closed_set! {
    /// What Secure Boot refuses to start.
    pub enum Refusal {
        /// A loader of which one byte was changed.
        Tampered = "tampered",
        /// A loader without its signature.
        Unsigned = "unsigned",
        /// A kernel without a signature.
        UnsignedKernel = "unsigned-kernel",
        /// A loader whose key shim does not know.
        NoMok = "shim-no-mok",
    }
}

impl Aim {
    /// Describes the expected outcome.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Userland => "boots Linux over HTTP",
            Self::WrongServer => "asks the TFTP server's address for a kernel on another web server (Debian #907805)",
            Self::Fault(Fault::NoRootPath) => "DHCP sends no option 17",
            Self::Fault(Fault::NoScript) => "the web server does not have the script",
            Self::Fault(Fault::NoWebServer) => "the web server is down",
            Self::Refused(Refusal::Tampered) => "one byte of the loader was changed: the firmware refuses it",
            Self::Refused(Refusal::Unsigned) => "the loader has lost its signature: the firmware refuses it",
            Self::Refused(Refusal::UnsignedKernel) => "the kernel has no signature: the loader cannot start it",
            Self::Refused(Refusal::NoMok) => "shim does not know the loader's key, and refuses it",
        }
    }
}

/// Where an iPXE loader is expected to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Whether the loader follows DHCP option 17. True unless the script's variables name an address.
    pub root_path: bool,
    /// URLs that the loader may go to instead.
    pub addresses: Vec<String>,
}

/// What the loaders of a project are expected to do, according to its configuration.
#[derive(Debug, Clone, Default)]
pub struct Intent {
    /// The project's scripts by owning site; `None` for the root of the tree.
    pub sites: BTreeMap<Option<String>, Arc<Script>>,
    /// The same scripts by the digest of their slot.
    pub scripts: BTreeMap<Sha256Digest, Arc<Script>>,
    /// URLs that any loader may go to.
    pub addresses: Vec<String>,
    /// Boot entries of the project.
    pub entries: Vec<BootEntry>,
}

impl Intent {
    /// Derives the intent from a project's configuration; `addresses` are additional URLs that any loader may go to.
    #[must_use]
    pub fn new(sites: &Sites, addresses: Vec<String>) -> Self {
        let mut intent = Self { addresses, entries: sites.boot.clone(), ..Self::default() };
        for site in sites.iter() {
            let script = intent.scripts.entry(site.slot_sha256).or_insert_with(|| Arc::new(site.script()));
            intent.sites.insert(site.name.clone(), Arc::clone(script));
        }
        intent
    }

    /// Returns where a loader of `site` is expected to go. If the project knows the script in its `slot`, the script of
    /// the loader's own site decides: the loader may contain the script of another site by mistake.
    fn destination(&self, site: Option<&str>, slot: &Sha256Digest) -> Destination {
        let of_site = self.sites.get(&site.map(str::to_owned));
        let known = self.scripts.get(slot).map(|script| of_site.unwrap_or(script));
        let mut addresses = known.map(|script| script.addresses.clone()).unwrap_or_default();
        let root_path = addresses.is_empty();
        addresses.extend(self.addresses.iter().cloned());
        Destination { root_path, addresses }
    }
}

pub(super) fn case(loader: &LoaderFile, special: &str, aim: Aim, intent: &Intent) -> Case {
    let name = if special.is_empty() { loader.path.to_string() } else { format!("{}:{special}", loader.path) };
    let (mut loader, site) = (loader.clone(), loader.site.clone());
    let destination = match &mut loader.program {
        Program::Ipxe { slot, script, .. } => {
            // The script in a packed loader is not readable, but the project may know it.
            let known = || intent.scripts.get(slot).map(|script| script.text().to_owned());
            *script = script.take().or_else(known);
            intent.destination(site.as_deref(), slot)
        }
        Program::Syslinux => Destination { root_path: false, addresses: Vec::new() },
    };
    let boot_source = loader.medium.map_or(BootSource::Pxe, BootSource::Medium);
    let (nics, nic) = (NicSetup::Single, NicModel::default());
    let secure_boot = loader.signer.as_ref().map(|_| EnrolledKeys::Own);
    Case { name, loader, boot_source, nics, nic, secure_boot, aim, destination, entry: None }
}

impl Case {
    /// Checks whether `name` is the name of the case or its variant.
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.name == name || self.name.split_once(':').is_some_and(|(_, special)| special == name)
    }

    /// Returns whether the loader comes from a medium and not over the network.
    #[must_use]
    pub fn is_from_medium(&self) -> bool {
        matches!(self.boot_source, BootSource::Medium(_))
    }

    /// Returns whether shim starts the loader.
    #[must_use]
    pub fn needs_shim(&self) -> bool {
        self.secure_boot.is_some_and(EnrolledKeys::need_shim)
    }

    /// Returns the script that is embedded in the loader, if it is readable.
    #[must_use]
    pub fn script(&self) -> Option<&str> {
        if let Program::Ipxe { script, .. } = &self.loader.program { script.as_deref() } else { None }
    }

    /// Returns the processor load of the case, relative to other cases.
    #[must_use]
    pub fn weight(&self) -> u32 {
        let firmware = if self.loader.platform == Platform::Bios { 20 } else { 10 };
        if self.aim == Aim::Userland { firmware + 5 } else { firmware }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot_test::daemon::{Daemon, WebServer};
    use crate::boot_test::network::{DhcpSetup, HttpSetup, TestNetwork, Tls};
    use crate::boot_test::samples::ipxe;
    use crate::boot_test::selection::{Selection, cases};
    use crate::config::template::{Template, Vars};
    use crate::stamp::slot::SlotSize;

    /// Returns a script that chains to `url`.
    fn script(url: &str) -> Arc<Script> {
        let template = Template::new("a.ipxe".into(), "a.ipxe".into(), b"#!ipxe\nchain {{ boot_url }}\n").unwrap();
        let vars = Vars::from_iter(&[("boot_url", url)]);
        Arc::new(Script::render(&template, None, &vars, SlotSize::DEFAULT))
    }

    #[test]
    fn what_no_machine_can_run_says_so() {
        let mut arm = ipxe("ipxe.efi", Aim::Userland);
        arm.loader.platform = Platform::EfiRiscv64;
        assert_eq!(arm.obstacle(&TestNetwork::default()).unwrap(), "there is no machine with UEFI for riscv64");
        let mut secure = ipxe("ipxe.efi", Aim::Userland);
        secure.destination.addresses = vec!["https://192.0.2.10/a".into()];
        let reason = "`https://192.0.2.10/a` needs a certificate that the loader trusts, and none was given";
        assert_eq!(secure.obstacle(&TestNetwork::default()).unwrap(), reason);
        let tls = Some(Tls { certificate: "chain".into(), key: "key".into() });
        assert_eq!(secure.obstacle(&TestNetwork { tls: tls.clone(), ..TestNetwork::default() }), None);
        let nginx =
            TestNetwork { tls, http: HttpSetup::Given(WebServer::Nginx, String::new()), ..TestNetwork::default() };
        assert!(secure.obstacle(&nginx).unwrap().ends_with(" is https, and the recipe that is tried is for http"));
        assert_eq!(ipxe("ipxe.efi", Aim::Userland).obstacle(&TestNetwork::default()), None);
    }

    #[test]
    fn an_address_of_the_script_takes_the_place_of_option_17_and_a_given_one_does_not() {
        let loader = ipxe("ipxe.efi", Aim::Userland).loader;
        let given = Intent { addresses: vec!["http://192.0.2.10/a".into()], ..Intent::default() };
        let found = cases(std::slice::from_ref(&loader), &[], &given, &Selection::default());
        assert!(found.iter().all(|case| case.destination.root_path && case.destination.addresses == given.addresses));
        let Program::Ipxe { slot, .. } = &loader.program else { panic!("{loader:?}") };
        let own = Intent { scripts: [(*slot, script("http://192.0.2.10/b"))].into(), ..Intent::default() };
        let found = cases(&[loader], &[], &own, &Selection::default());
        assert_eq!(
            found[0].destination,
            Destination { root_path: false, addresses: vec!["http://192.0.2.10/b".into()] }
        );
        assert!(!found.iter().any(|case| case.aim == Aim::Fault(Fault::NoRootPath)));
    }

    #[test]
    fn a_loader_that_runs_the_script_of_another_site_is_to_go_where_its_own_site_goes() {
        let (a, b) = (script("http://192.0.2.10/a"), script("http://192.0.2.10/b"));
        let intent = Intent {
            sites: [(Some("a".into()), Arc::clone(&a)), (Some("b".into()), Arc::clone(&b))].into(),
            scripts: [(a.slot().digest(), a), (b.slot().digest(), Arc::clone(&b))].into(),
            ..Intent::default()
        };
        let swapped = intent.destination(Some("a"), &b.slot().digest());
        assert_eq!(swapped.addresses, ["http://192.0.2.10/a"]);
        // For a script that the project does not know, option 17 decides.
        assert!(intent.destination(Some("a"), &Sha256Digest::of(b"other")).root_path);
    }

    #[test]
    fn with_a_dhcp_configuration_of_somebody_else_option_17_cannot_be_withheld() {
        let case = ipxe("ipxe.efi", Aim::Fault(Fault::NoRootPath));
        let network = TestNetwork { dhcp: DhcpSetup::Given(Daemon::Kea, "{}".into()), ..TestNetwork::default() };
        assert!(case.obstacle(&network).is_some() && case.obstacle(&TestNetwork::default()).is_none());
    }

    #[test]
    fn a_loader_that_dhcp_does_not_choose_cannot_be_tried() {
        let network = TestNetwork { chosen: vec![(Platform::EfiX64, "snponly.efi".into())], ..TestNetwork::default() };
        let obstacle = |loader| ipxe(loader, Aim::Userland).obstacle(&network);
        assert_eq!(obstacle("ipxe.efi").unwrap(), "DHCP gives machines with UEFI `snponly.efi`");
        assert_eq!(obstacle("ipxe.pxe").unwrap(), "DHCP gives machines with BIOS no loader");
        assert_eq!(obstacle("snponly.efi"), None);
    }
}
