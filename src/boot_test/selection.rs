//! Selection of test cases for the loaders of a tree.

use std::collections::BTreeMap;
use std::sync::Arc;

use camino::Utf8Path;

use super::case::{Aim, BootSource, Case, EnrolledKeys, Fault, Intent, NicModel, NicSetup, Refusal, case};
use super::entry::TestedEntry;
use super::expected_console::steps;
use super::loaders::{LoaderFile, Program};
use crate::loader::target::Platform;
use crate::toolchain::needs;

/// Selection of test cases.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Only these loaders, by path or file name.
    pub loaders: Vec<String>,
    /// Only these sites.
    pub sites: Vec<String>,
    /// Only these cases.
    pub cases: Vec<String>,
    /// Number of sites to boot if none is named; `None` for all.
    pub sample: Option<usize>,
    /// Whether iPXE loaders are also booted in machines with two network cards.
    pub two_cards: bool,
    /// Whether UEFI itself also fetches iPXE loaders over HTTP.
    pub http_boot: bool,
    /// Model of the machines' network cards.
    pub nic: NicModel,
}

impl Selection {
    /// Returns the names in this selection that match none of `loaders` and of the `cases` selected from them.
    pub fn unknown<'s>(&'s self, loaders: &'s [LoaderFile], cases: &'s [Case]) -> impl Iterator<Item = &'s String> {
        let loader = |name: &&String| !loaders.iter().any(|loader| is_called(loader, name));
        let site = |name: &&String| !loaders.iter().any(|loader| loader.site.as_ref() == Some(*name));
        let case = |name: &&String| !cases.iter().any(|case| case.is_called(name));
        let loaders = self.loaders.iter().filter(loader);
        loaders.chain(self.sites.iter().filter(site)).chain(self.cases.iter().filter(case))
    }
}

/// Checks whether `name` is the path or the file name of `loader`.
fn is_called(loader: &LoaderFile, name: &str) -> bool {
    loader.path == name || loader.path.file_name() == Some(name)
}

/// Returns the cases of `loaders` and `entries` that match `selection`.
#[must_use]
pub fn cases(
    loaders: &[LoaderFile],
    entries: &[Arc<TestedEntry>],
    intent: &Intent,
    selection: &Selection,
) -> Vec<Case> {
    let named = |loader: &&LoaderFile| {
        selection.loaders.is_empty() || selection.loaders.iter().any(|name| is_called(loader, name))
    };
    let chosen: Vec<&LoaderFile> = loaders.iter().filter(named).collect();
    let sampled = sample(&chosen, selection);
    let in_sites = |loader: &&&LoaderFile| match &loader.site {
        None => selection.sites.is_empty(),
        Some(site) => sampled.contains(site),
    };
    let mut chosen: Vec<&LoaderFile> = chosen.iter().filter(in_sites).copied().collect();
    let mut cases: Vec<Case> = chosen.iter().flat_map(|loader| boots(loader, intent)).collect();
    // What follows is about the network boot.
    chosen.retain(|loader| loader.medium.is_none());
    for loader in representatives(&chosen) {
        cases.extend(faults(loader, intent));
    }
    for loader in signed_ones(&chosen) {
        cases.extend(with_secure_boot(loader, intent));
    }
    cases.extend(entries.iter().filter_map(|entry| boot_of(entry, &chosen, intent)));
    if selection.http_boot {
        cases.extend(chosen.iter().filter_map(|loader| http_boot(loader, intent)));
    }
    if selection.two_cards {
        cases.extend(chosen.iter().flat_map(|loader| boots_with_two_cards(loader, intent)));
    }
    if !selection.cases.is_empty() {
        cases.retain(|case| selection.cases.iter().any(|name| case.is_called(name)));
    }
    for case in &mut cases {
        case.nic = selection.nic;
    }
    cases
}

/// Returns the sites to boot: the named ones, or a few at even distances.
fn sample(loaders: &[&LoaderFile], selection: &Selection) -> Vec<String> {
    if !selection.sites.is_empty() {
        return selection.sites.clone();
    }
    let mut sites: Vec<&String> = loaders.iter().filter_map(|loader| loader.site.as_ref()).collect();
    sites.dedup();
    // A named path or case is included, even if the sample would leave it out.
    let named = !selection.cases.is_empty() || selection.loaders.iter().any(|name| name.contains('/'));
    let sample = selection.sample.filter(|_| !named);
    let count = sample.unwrap_or(sites.len()).min(sites.len());
    (0..count).map(|i| sites[i * sites.len() / count].clone()).collect()
}

fn boots(loader: &LoaderFile, intent: &Intent) -> Vec<Case> {
    let special = loader.medium.map_or("", |_| loader.platform.firmware());
    let mut cases = vec![case(loader, special, Aim::Userland, intent)];
    if loader.program == Program::Syslinux && loader.platform == Platform::EfiX64 {
        cases.push(case(loader, "another-web-server", Aim::WrongServer, intent));
    }
    cases
}

/// Returns the case of `loader` with HTTP Boot, if it is in the root of the tree and for UEFI. Other DHCP options than the
/// loader's address do not depend on how the firmware fetches it.
fn http_boot(loader: &LoaderFile, intent: &Intent) -> Option<Case> {
    let applies = loader.site.is_none() && loader.platform != Platform::Bios && loader.program != Program::Syslinux;
    applies.then(|| Case { boot_source: BootSource::Http, ..case(loader, BootSource::HTTP, Aim::Userland, intent) })
}

/// Returns the cases of `loader` in machines with two cards. A loader that goes to a fixed address needs no option 17
/// from another card.
fn boots_with_two_cards(loader: &LoaderFile, intent: &Intent) -> Vec<Case> {
    if loader.program == Program::Syslinux {
        return Vec::new();
    }
    let cases = NicSetup::TWO.map(|nics| Case { nics, ..case(loader, nics.name(), Aim::Userland, intent) });
    cases.into_iter().filter(|case| case.nics != NicSetup::RootPathOnOther || case.destination.root_path).collect()
}

/// Returns the case of `entry`, with a loader in the root of the tree that follows option 17, if there is one.
fn boot_of(entry: &Arc<TestedEntry>, loaders: &[&LoaderFile], intent: &Intent) -> Option<Case> {
    let ours = |loader: &&&LoaderFile| {
        loader.platform == entry.platform && loader.site.is_none() && loader.program != Program::Syslinux
    };
    let special = format!("boot-{}", entry.name);
    let mut cases = loaders.iter().filter(ours).map(|loader| case(loader, &special, Aim::Userland, intent));
    let case = cases.find(|case| case.destination.root_path)?;
    Some(Case { entry: Some(Arc::clone(entry)), ..case })
}

/// Returns one iPXE loader per script: preferably one for UEFI, which starts faster, and among those `ipxe.efi`, which
/// most people use.
fn representatives<'l>(loaders: &[&'l LoaderFile]) -> Vec<&'l LoaderFile> {
    let rank = |loader: &LoaderFile| {
        let platform = Platform::ALL.iter().rev().position(|platform| *platform == loader.platform);
        (loader.platform != Platform::EfiX64, platform, loader.path.file_name() != Some("ipxe.efi"))
    };
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

/// Returns one signed loader for each platform: preferably one in the root of the tree, and among those `ipxe.efi`.
fn signed_ones<'l>(loaders: &[&'l LoaderFile]) -> Vec<&'l LoaderFile> {
    let rank = |loader: &LoaderFile| (loader.site.is_some(), loader.path.file_name() != Some("ipxe.efi"));
    let mut found: BTreeMap<Platform, &LoaderFile> = BTreeMap::new();
    for loader in loaders.iter().filter(|loader| loader.signer.is_some()) {
        let known = found.entry(loader.platform).or_insert(loader);
        if rank(loader) < rank(known) {
            *known = loader;
        }
    }
    found.into_values().collect()
}

/// Returns the cases that try Secure Boot itself, with a signed loader.
fn with_secure_boot(loader: &LoaderFile, intent: &Intent) -> Vec<Case> {
    let keys = |refusal| match refusal {
        Refusal::NoMok => EnrolledKeys::Microsoft,
        Refusal::Tampered | Refusal::Unsigned | Refusal::UnsignedKernel => EnrolledKeys::Own,
    };
    let shim = case(loader, EnrolledKeys::SHIM, Aim::Userland, intent);
    let shim = Case { secure_boot: Some(EnrolledKeys::MicrosoftAndMok), ..shim };
    let refused = |refusal: Refusal| {
        let case = case(loader, refusal.as_str(), Aim::Refused(refusal), intent);
        Case { secure_boot: Some(keys(refusal)), ..case }
    };
    let [tampered, unsigned, kernel, no_mok] = Refusal::ALL.map(refused);
    let mut cases = vec![tampered, unsigned, kernel];
    if needs::shim(loader.platform).is_some() {
        cases.extend([shim, no_mok]);
    }
    cases
}

fn faults(loader: &LoaderFile, intent: &Intent) -> Vec<Case> {
    let faults = Fault::ALL.map(|fault| case(loader, fault.as_str(), Aim::Fault(fault), intent));
    // A script that goes to a fixed address does not depend on option 17.
    let applies = |case: &Case| case.aim != Aim::Fault(Fault::NoRootPath) || case.destination.root_path;
    faults.into_iter().filter(applies).filter(|case| !steps(case).is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot_test::samples::entries;
    use crate::boot_test::samples::{ipxe, syslinux};
    use crate::config::script::Script;
    use crate::config::template::Template;
    use crate::loader::medium::Medium;
    use crate::stamp::slot::SlotSize;

    fn tree() -> Vec<LoaderFile> {
        let mut loaders: Vec<LoaderFile> =
            ["ipxe.efi", "ipxe.pxe", "sites/a/ipxe.efi", "sites/b/ipxe.efi", "sites/c/ipxe.efi"]
                .map(|path| ipxe(path, Aim::Userland).loader)
                .into();
        loaders.extend(["lpxelinux.0", "syslinux.efi"].map(|path| syslinux(path, Aim::Userland).loader));
        loaders
    }

    fn names(selection: &Selection) -> Vec<String> {
        cases(&tree(), &[], &Intent::default(), selection).into_iter().map(|case| case.name).collect()
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
    fn secure_boot_is_tried_with_one_signed_loader_of_each_platform() {
        let mut loaders = tree();
        loaders.insert(0, LoaderFile { path: "snponly.efi".into(), ..loaders[0].clone() });
        loaders.push(LoaderFile { path: "arm64.efi".into(), platform: Platform::EfiArm64, ..loaders[0].clone() });
        let sign = |loader: &mut LoaderFile| loader.signer = Some(Arc::from(&b"certificate"[..]));
        loaders.iter_mut().filter(|loader| loader.path.extension() == Some("efi")).for_each(sign);
        let selection = Selection { sample: Some(1), ..Selection::default() };
        let found = cases(&loaders, &[], &Intent::default(), &selection);
        let special: Vec<&str> = found
            .iter()
            .filter(|case| case.needs_shim() || matches!(case.aim, Aim::Refused(_)))
            .map(|case| case.name.as_str())
            .collect();
        // There is no shim for arm64.
        let names = ["tampered", "unsigned", "unsigned-kernel", "shim", "shim-no-mok"];
        let names = |loader: &str, count: usize| -> Vec<String> {
            names[..count].iter().map(|name| format!("{loader}:{name}")).collect()
        };
        assert_eq!(special, [names("ipxe.efi", 5), names("arm64.efi", 3)].concat());
        // All other cases of a signed loader have Secure Boot as well.
        let secure = |case: &&Case| case.secure_boot == Some(EnrolledKeys::Own);
        let names: Vec<&str> = found.iter().filter(secure).map(|case| case.name.as_str()).collect();
        for name in ["snponly.efi", "ipxe.efi", "sites/a/ipxe.efi", "ipxe.efi:no-script"] {
            assert!(names.contains(&name), "{names:?}");
        }
        assert!(!names.contains(&"ipxe.pxe"));
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
    fn what_is_named_is_not_left_out_by_the_sample() {
        let path = "sites/c/ipxe.efi".to_owned();
        let case = Selection { cases: vec![path.clone()], sample: Some(1), ..Selection::default() };
        assert_eq!(names(&case), ["sites/c/ipxe.efi"]);
        let loader = Selection { loaders: vec![path], sample: Some(1), ..Selection::default() };
        assert_eq!(names(&loader)[0], "sites/c/ipxe.efi");
        let typo = Selection { sites: vec!["d".into()], loaders: vec!["ipxe.exe".into()], ..Selection::default() };
        let unknown: Vec<String> = typo.unknown(&tree(), &[]).cloned().collect();
        assert_eq!(unknown, ["ipxe.exe", "d"]);
    }

    #[test]
    fn an_entry_is_booted_by_a_loader_for_each_firmware() {
        let text = "[boot.a]\nkind = \"linux\"\nkernel = \"http://a/k\"\ninitrd = [\"http://a/i\"]\n";
        let tested = [Platform::EfiX64, Platform::Bios]
            .map(|platform| Arc::new(TestedEntry::new(&entries(text)[0], platform, Arc::from(&b"#!ipxe\n"[..]))));
        let found = |intent: &Intent| -> Vec<Case> {
            let selection = Selection { cases: vec!["boot-a".into()], ..Selection::default() };
            cases(&tree(), &tested, intent, &selection)
        };
        let both = found(&Intent::default());
        let names: Vec<&str> = both.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names, ["ipxe.efi:boot-a", "ipxe.pxe:boot-a"]);
        assert!(both.iter().zip(&tested).all(|(case, entry)| case.entry.as_ref() == Some(entry)));
    }

    #[test]
    fn each_ipxe_loader_is_booted_with_two_cards_where_that_is_asked_for() {
        let asked = |case: &str| {
            let cases = vec![case.to_owned()];
            names(&Selection { two_cards: true, cases, ..Selection::default() })
        };
        assert_eq!(asked("second-card")[..2], ["ipxe.efi:second-card", "ipxe.pxe:second-card"]);
        assert_eq!(asked("ipxe.efi:another-card"), ["ipxe.efi:another-card"]);
        assert!(!names(&Selection::default()).iter().any(|name| name.ends_with("-card")));
        let selection = Selection { loaders: vec!["lpxelinux.0".into()], two_cards: true, ..Selection::default() };
        assert_eq!(names(&selection), ["lpxelinux.0"]);
    }

    #[test]
    fn uefi_fetches_each_ipxe_loader_of_the_root_over_http_where_that_is_asked_for() {
        let http = |case: &Case| case.boot_source == BootSource::Http;
        let selection = Selection { http_boot: true, ..Selection::default() };
        let found = cases(&tree(), &[], &Intent::default(), &selection);
        let names: Vec<&str> = found.iter().filter(|case| http(case)).map(|case| case.name.as_str()).collect();
        assert_eq!(names, ["ipxe.efi:http-boot"]);
        assert!(!cases(&tree(), &[], &Intent::default(), &Selection::default()).iter().any(http));
    }

    #[test]
    fn a_medium_is_booted_on_each_of_its_machines_and_meets_no_fault() {
        let on =
            |platform| LoaderFile { platform, medium: Some(Medium::Iso), ..ipxe("ipxe.iso", Aim::Userland).loader };
        let media = [Platform::Bios, Platform::EfiX64, Platform::EfiArm64].map(on);
        let everything = Selection { two_cards: true, http_boot: true, ..Selection::default() };
        let found = cases(&media, &[], &Intent::default(), &everything);
        let names: Vec<&str> = found.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names, ["ipxe.iso:bios", "ipxe.iso:uefi", "ipxe.iso:uefi-arm64"]);
        assert!(found.iter().all(Case::is_from_medium));
    }

    #[test]
    fn a_fixed_address_needs_no_option_17_from_another_card() {
        let template = Template::new("a".into(), "a".into(), b"#!ipxe\nchain {{ boot_url }}\n").unwrap();
        let vars = crate::config::template::Vars::from_iter(&[("boot_url", "http://192.0.2.10/a")]);
        let script = Arc::new(Script::render(&template, None, &vars, SlotSize::DEFAULT));
        let loader = tree().swap_remove(0);
        let Program::Ipxe { slot, .. } = &loader.program else { panic!("{loader:?}") };
        let intent = Intent { scripts: [(*slot, script)].into(), ..Intent::default() };
        let cases: Vec<NicSetup> = boots_with_two_cards(&loader, &intent).iter().map(|case| case.nics).collect();
        assert_eq!(cases, [NicSetup::RootPathOnFirst, NicSetup::RootPathOnSecond]);
    }

    #[test]
    fn loaders_and_cases_can_be_named() {
        let one = Selection { loaders: vec!["lpxelinux.0".into()], ..Selection::default() };
        assert_eq!(names(&one), ["lpxelinux.0"]);
        let case = Selection { cases: vec!["no-script".into()], sample: Some(0), ..Selection::default() };
        assert_eq!(names(&case), ["ipxe.efi:no-script"]);
        assert_eq!(names(&Selection { cases: vec!["gone".into()], ..Selection::default() }), Vec::<String>::new());
    }
}
