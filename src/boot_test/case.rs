//! The cases: which loader, in which machine, in front of which servers, and what has to come of it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use camino::Utf8Path;
use serde::Serialize;

use super::network::{Dhcp, Network};
use super::subject::{LoaderFile, Program, Target};
use crate::choices::script::Script;
use crate::choices::sites::Sites;
use crate::digest::Sha256Digest;
use crate::tree::header::Arch;

/// A case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Its name: the loader's path, and what is special about it.
    pub name: String,
    /// The loader.
    pub loader: LoaderFile,
    /// The machine's firmware.
    pub firmware: Firmware,
    /// What has to come of it.
    pub aim: Aim,
    /// Where the loader is to go.
    pub destination: Destination,
}

/// The firmware of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Firmware {
    /// `SeaBIOS`, and the boot ROM of the network card.
    Bios,
    /// OVMF, with its own PXE.
    Uefi,
}

impl fmt::Display for Firmware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bios => "BIOS",
            Self::Uefi => "UEFI",
        })
    }
}

/// What has to come of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aim {
    /// Linux runs, and switches off.
    Userland,
    /// syslinux.efi asks the TFTP server's address, whatever address it was told.
    WrongServer,
    /// Something is missing, and the loader does what it is known to do then.
    Fault(Fault),
}

/// What is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// DHCP sends no option 17.
    NoRootPath,
    /// The web server does not have the script.
    NoScript,
    /// Nothing listens at the web server.
    NoWebServer,
}

impl Fault {
    const ALL: [Self; 3] = [Self::NoRootPath, Self::NoScript, Self::NoWebServer];

    fn name(self) -> &'static str {
        match self {
            Self::NoRootPath => "no-option-17",
            Self::NoScript => "no-script",
            Self::NoWebServer => "no-web-server",
        }
    }
}

impl Aim {
    /// In words, what is expected.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Userland => "boots Linux over HTTP",
            Self::WrongServer => "asks the TFTP server's address for a kernel on another web server (Debian #907805)",
            Self::Fault(Fault::NoRootPath) => "DHCP sends no option 17",
            Self::Fault(Fault::NoScript) => "the web server does not have the script",
            Self::Fault(Fault::NoWebServer) => "the web server is down",
        }
    }
}

/// Where an iPXE loader is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Where DHCP option 17 says: so it is unless the script's variables name an address.
    pub root_path: bool,
    /// Or to one of these addresses.
    pub addresses: Vec<String>,
}

/// What loaders are meant to do, as a project says.
#[derive(Debug, Clone, Default)]
pub struct Intent {
    /// The project's scripts, by the digest of their slot.
    pub scripts: BTreeMap<Sha256Digest, Arc<Script>>,
    /// Addresses that any loader may go to.
    pub addresses: Vec<String>,
}

impl Intent {
    /// What a project's choices mean; `addresses` are given besides.
    #[must_use]
    pub fn new(sites: &Sites, addresses: Vec<String>) -> Self {
        let scripts = sites.sites.iter().map(|site| (site.script.digest(), Arc::clone(&site.script)));
        Self { scripts: scripts.collect(), addresses }
    }

    fn destination(&self, slot: &Sha256Digest) -> Destination {
        let mut addresses = self.scripts.get(slot).map(|script| script.addresses.clone()).unwrap_or_default();
        let root_path = addresses.is_empty();
        addresses.extend(self.addresses.iter().cloned());
        Destination { root_path, addresses }
    }
}

/// Which cases.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Only these loaders, by path or file name.
    pub loaders: Vec<String>,
    /// Only these sites.
    pub sites: Vec<String>,
    /// Only these cases.
    pub cases: Vec<String>,
    /// How many sites are booted when none is named; all of them where `None`.
    pub sample: Option<usize>,
}

/// The cases of `loaders`, by `selection`.
#[must_use]
pub fn cases(loaders: &[LoaderFile], intent: &Intent, selection: &Selection) -> Vec<Case> {
    let named = |loader: &&LoaderFile| {
        let name = loader.path.file_name().unwrap_or_default();
        let wanted = |wanted: &String| loader.path == wanted.as_str() || name == wanted;
        selection.loaders.is_empty() || selection.loaders.iter().any(wanted)
    };
    let chosen: Vec<&LoaderFile> = loaders.iter().filter(named).collect();
    let sampled = sample(&chosen, selection);
    let in_sites = |loader: &&&LoaderFile| match &loader.site {
        None => selection.sites.is_empty(),
        Some(site) => sampled.contains(site),
    };
    let chosen: Vec<&LoaderFile> = chosen.iter().filter(in_sites).copied().collect();
    let mut cases: Vec<Case> = chosen.iter().flat_map(|loader| boots(loader, intent)).collect();
    for loader in representatives(&chosen) {
        cases.extend(faults(loader, intent));
    }
    if !selection.cases.is_empty() {
        cases.retain(|case| {
            let special = case.name.split_once(':').map(|(_, special)| special);
            selection.cases.iter().any(|wanted| *wanted == case.name || Some(wanted.as_str()) == special)
        });
    }
    cases
}

/// The sites to boot: those that are named, or a few at even distances.
fn sample(loaders: &[&LoaderFile], selection: &Selection) -> Vec<String> {
    if !selection.sites.is_empty() {
        return selection.sites.clone();
    }
    let mut sites: Vec<&String> = loaders.iter().filter_map(|loader| loader.site.as_ref()).collect();
    sites.dedup();
    let count = selection.sample.unwrap_or(sites.len()).min(sites.len());
    (0..count).map(|i| sites[i * sites.len() / count].clone()).collect()
}

fn case(loader: &LoaderFile, special: &str, aim: Aim, intent: &Intent) -> Case {
    let name = if special.is_empty() { loader.path.to_string() } else { format!("{}:{special}", loader.path) };
    let firmware = if loader.target == Target::Bios { Firmware::Bios } else { Firmware::Uefi };
    let mut loader = loader.clone();
    let destination = match &mut loader.program {
        Program::Ipxe { slot, script, .. } => {
            // A packed loader does not show its script, but the project may know it.
            let known = || intent.scripts.get(slot).map(|script| script.text().to_owned());
            *script = script.take().or_else(known);
            intent.destination(slot)
        }
        Program::Syslinux => Destination { root_path: false, addresses: Vec::new() },
    };
    Case { name, loader, firmware, aim, destination }
}

fn boots(loader: &LoaderFile, intent: &Intent) -> Vec<Case> {
    let mut cases = vec![case(loader, "", Aim::Userland, intent)];
    if loader.program == Program::Syslinux && loader.target == Target::Uefi(Arch::X86_64) {
        cases.push(case(loader, "another-web-server", Aim::WrongServer, intent));
    }
    cases
}

/// One iPXE loader of each script: one for UEFI where there is one, since that starts faster, and best of
/// all the one that most people use.
fn representatives<'l>(loaders: &[&'l LoaderFile]) -> Vec<&'l LoaderFile> {
    let rank = |loader: &LoaderFile| (loader.target == Target::Bios, loader.path.file_name() != Some("ipxe.efi"));
    let mut found: BTreeMap<&Utf8Path, &LoaderFile> = BTreeMap::new();
    for loader in loaders {
        if let Program::Ipxe { source, .. } = &loader.program {
            let known = found.entry(source).or_insert(loader);
            if rank(loader) < rank(known) {
                *known = loader;
            }
        }
    }
    // In the order of the tree.
    loaders.iter().filter(|loader| found.values().any(|known| known.path == loader.path)).copied().collect()
}

fn faults(loader: &LoaderFile, intent: &Intent) -> Vec<Case> {
    let faults = Fault::ALL.map(|fault| case(loader, fault.name(), Aim::Fault(fault), intent));
    // A script that goes to a fixed address does not care about option 17.
    let applies = |case: &Case| case.aim != Aim::Fault(Fault::NoRootPath) || case.destination.root_path;
    faults.into_iter().filter(applies).filter(|case| !super::steps::steps(case).is_empty()).collect()
}

impl Case {
    /// Why no machine here can run it.
    #[must_use]
    pub fn obstacle(&self, network: &Network) -> Option<String> {
        if self.aim == Aim::Fault(Fault::NoRootPath) && network.dhcp != Dhcp::Own {
            return Some("the DHCP configuration that was given decides about option 17".into());
        }
        if let Target::Uefi(arch) = self.loader.target
            && arch != Arch::X86_64
        {
            return Some(format!("there is no machine with UEFI for {arch}"));
        }
        if self.loader.program == Program::Syslinux
            && self.firmware == Firmware::Bios
            && self.loader.path.file_name() != Some("lpxelinux.0")
        {
            return Some("it speaks no HTTP, and the kernel is on a web server".into());
        }
        if let Some(address) = self.destination.addresses.iter().find(|address| address.contains("${")) {
            return Some(format!("`{address}` is an address that only the machine itself can complete"));
        }
        let secure = self.destination.addresses.iter().find(|address| address.starts_with("https:"))?;
        Some(format!("`{secure}` has a certificate of its own, which nothing here can stand in for"))
    }

    /// The script that the loader has embedded, where it can be read.
    #[must_use]
    pub fn script(&self) -> Option<&str> {
        if let Program::Ipxe { script, .. } = &self.loader.program { script.as_deref() } else { None }
    }

    /// How much work it is for a processor, compared with others.
    #[must_use]
    pub fn weight(&self) -> u32 {
        match (self.firmware, self.aim) {
            (Firmware::Bios, Aim::Userland) => 25,
            (Firmware::Bios, _) => 20,
            (Firmware::Uefi, Aim::Userland) => 15,
            (Firmware::Uefi, _) => 10,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot_test::samples::{ipxe, syslinux};

    fn tree() -> Vec<LoaderFile> {
        let mut loaders: Vec<LoaderFile> =
            ["ipxe.efi", "ipxe.pxe", "sites/a/ipxe.efi", "sites/b/ipxe.efi", "sites/c/ipxe.efi"]
                .map(|path| ipxe(path, Aim::Userland).loader)
                .into();
        loaders.extend(["lpxelinux.0", "syslinux.efi"].map(|path| syslinux(path, Aim::Userland).loader));
        loaders
    }

    fn names(selection: &Selection) -> Vec<String> {
        cases(&tree(), &Intent::default(), selection).into_iter().map(|case| case.name).collect()
    }

    #[test]
    fn every_loader_is_booted_and_every_script_meets_its_faults() {
        let names = names(&Selection { sample: Some(0), ..Selection::default() });
        assert_eq!(
            names,
            [
                "ipxe.efi",
                "ipxe.pxe",
                "lpxelinux.0",
                "syslinux.efi",
                "syslinux.efi:another-web-server",
                "ipxe.efi:no-option-17",
                "ipxe.efi:no-script",
                "ipxe.efi:no-web-server",
            ]
        );
    }

    #[test]
    fn sites_are_sampled_or_named() {
        let sites = |selection: &Selection| -> Vec<String> {
            names(selection).into_iter().filter(|name| name.starts_with("sites/") && !name.contains(':')).collect()
        };
        assert_eq!(
            sites(&Selection { sample: Some(2), ..Selection::default() }),
            ["sites/a/ipxe.efi", "sites/b/ipxe.efi"]
        );
        assert_eq!(sites(&Selection::default()).len(), 3);
        let named = Selection { sites: vec!["c".into()], ..Selection::default() };
        assert_eq!(names(&named)[0], "sites/c/ipxe.efi");
    }

    #[test]
    fn loaders_and_cases_can_be_named() {
        let one = Selection { loaders: vec!["lpxelinux.0".into()], ..Selection::default() };
        assert_eq!(names(&one), ["lpxelinux.0"]);
        let case = Selection { cases: vec!["no-script".into()], sample: Some(0), ..Selection::default() };
        assert_eq!(names(&case), ["ipxe.efi:no-script"]);
        assert_eq!(names(&Selection { cases: vec!["gone".into()], ..Selection::default() }), Vec::<String>::new());
    }

    #[test]
    fn what_no_machine_can_run_says_so() {
        let mut arm = ipxe("ipxe.efi", Aim::Userland);
        arm.loader.target = Target::Uefi(Arch::Arm64);
        assert_eq!(arm.obstacle(&Network::default()).unwrap(), "there is no machine with UEFI for arm64");
        let mut secure = ipxe("ipxe.efi", Aim::Userland);
        secure.destination.addresses = vec!["https://192.0.2.10/a".into()];
        assert!(secure.obstacle(&Network::default()).unwrap().starts_with("`https://192.0.2.10/a` has a certificate"));
        assert_eq!(ipxe("ipxe.efi", Aim::Userland).obstacle(&Network::default()), None);
    }

    #[test]
    fn an_address_of_the_script_takes_the_place_of_option_17_and_a_given_one_does_not() {
        let loader = ipxe("ipxe.efi", Aim::Userland).loader;
        let given = Intent { addresses: vec!["http://192.0.2.10/a".into()], ..Intent::default() };
        let found = cases(std::slice::from_ref(&loader), &given, &Selection::default());
        assert!(found.iter().all(|case| case.destination.root_path && case.destination.addresses == given.addresses));
        let Program::Ipxe { slot, .. } = &loader.program else { panic!("{loader:?}") };
        let vars = [("boot_url".to_owned(), "http://192.0.2.10/b".to_owned())].into();
        let template = b"#!ipxe\nchain {{ boot_url }}\n";
        let script = Script::render("a.ipxe".into(), "a.ipxe".into(), template, &vars).unwrap();
        let own = Intent { scripts: [(*slot, Arc::new(script))].into(), ..Intent::default() };
        let found = cases(&[loader], &own, &Selection::default());
        assert_eq!(
            found[0].destination,
            Destination { root_path: false, addresses: vec!["http://192.0.2.10/b".into()] }
        );
        assert!(!found.iter().any(|case| case.aim == Aim::Fault(Fault::NoRootPath)));
    }

    #[test]
    fn with_a_dhcp_configuration_of_somebody_else_option_17_cannot_be_withheld() {
        let case = ipxe("ipxe.efi", Aim::Fault(Fault::NoRootPath));
        let network = Network { dhcp: Dhcp::Dnsmasq("a.conf".into()), ..Network::default() };
        assert!(case.obstacle(&network).is_some() && case.obstacle(&Network::default()).is_none());
    }
}
