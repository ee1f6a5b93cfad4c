//! Tests with boots as sequences of events.

use std::net::Ipv4Addr;

use super::*;
use crate::boot_test::case::EnrolledKeys;
use crate::boot_test::expected_console::expectation;
use crate::boot_test::loaders::Program;
use crate::boot_test::network::TestNetwork;
use crate::boot_test::samples::{ipxe, signed, syslinux};
use crate::boot_test::scenario::NONCE_ARGUMENT;
use crate::loader::medium::Medium;

const NONCE: &str = "0123456789ab";

fn leased() -> BootEvent {
    BootEvent::Leased(Ipv4Addr::new(192, 0, 2, 100))
}

fn sent(path: &str) -> BootEvent {
    BootEvent::Sent(path.into())
}

fn console_output(text: &str) -> BootEvent {
    BootEvent::ConsoleOutput(text.to_owned())
}

fn asked(server: WebServerRole, url: &str, status: u16) -> BootEvent {
    BootEvent::Asked(WebRequest { server, url: url.into(), status })
}

/// Returns all reactions to `happenings` in `case`, one second apart, and the phases that were reached.
fn watch(case: &Case, happenings: &[BootEvent]) -> (Vec<Reaction>, Vec<Phase>) {
    let scenario = Scenario::new(case, &TestNetwork::default(), NONCE, "");
    let mut watch = Observer::new(case, &scenario, NONCE);
    let seconds = (1..).map(Duration::from_secs);
    let reactions = seconds.zip(happenings).flat_map(|(at, what)| watch.see(at, what)).collect();
    (reactions, watch.phases.iter().map(|(phase, _)| *phase).collect())
}

/// Returns the reason why `case` fails if nothing more happens after `happenings`.
#[track_caller]
fn at_last(case: &Case, happenings: &[BootEvent]) -> String {
    let scenario = Scenario::new(case, &TestNetwork::default(), NONCE, "");
    let mut watch = Observer::new(case, &scenario, NONCE);
    for what in happenings {
        assert_eq!(watch.see(Duration::ZERO, what), []);
    }
    assert!(watch.is_lost(), "it is known that nothing more comes");
    match watch.given_up("nothing happened for 3 seconds") {
        Verdict::Failed(reason) => reason,
        Verdict::Passed => panic!("passed"),
    }
}

#[track_caller]
fn fails(case: &Case, happenings: &[BootEvent], wanted: &str) {
    let (reactions, _) = watch(case, happenings);
    match reactions.as_slice() {
        [.., Reaction::Done(Verdict::Failed(reason))] => assert!(reason.contains(wanted), "{reason}"),
        other => panic!("{other:?}"),
    }
}

fn until_kernel(loader: &str) -> Vec<BootEvent> {
    vec![
        leased(),
        sent(loader),
        leased(),
        asked(WebServerRole::Other, "http://192.0.2.2/boot.ipxe", 200),
        asked(WebServerRole::Other, "http://192.0.2.2/vmlinuz", 200),
        asked(WebServerRole::Other, "http://192.0.2.2/initrd.img", 200),
    ]
}

fn userland(arguments: &str) -> Vec<BootEvent> {
    vec![
        console_output("[    2.0] Run /init as init process\nnetboot-loaders: user"),
        console_output(&format!("land {NONCE}\nnetboot-loaders: command line: {arguments}\n")),
        BootEvent::Stopped(Stop::PoweredOff),
    ]
}

#[test]
fn a_boot_passes_with_the_nonce_and_a_power_off() {
    let case = ipxe("ipxe.efi", Aim::Userland);
    let whole = [until_kernel("ipxe.efi"), userland(&format!("quiet {NONCE_ARGUMENT}{NONCE}"))].concat();
    let (reactions, phases) = watch(&case, &whole);
    assert_eq!(reactions, [Reaction::Done(Verdict::Passed)]);
    assert_eq!(phases, Phase::ALL);
}

#[test]
fn a_nonce_alone_is_not_enough() {
    let case = ipxe("ipxe.efi", Aim::Userland);
    let mut reset = [until_kernel("ipxe.efi"), userland(&format!("{NONCE_ARGUMENT}{NONCE}"))].concat();
    *reset.last_mut().unwrap() = BootEvent::Stopped(Stop::Reset);
    assert_eq!(at_last(&case, &reset), "the machine reset itself before userland was reached");
    fails(&case, &[until_kernel("ipxe.efi"), userland("quiet")].concat(), "wanted `netboot-loaders.case=0123456789ab`");
    let silent = [until_kernel("ipxe.efi"), vec![BootEvent::Stopped(Stop::PoweredOff)]].concat();
    assert_eq!(at_last(&case, &silent), "the machine switched itself off before userland was reached");
}

#[test]
fn last_words_may_be_heard_after_the_power_is_off() {
    let case = ipxe("ipxe.efi", Aim::Userland);
    let mut late = [until_kernel("ipxe.efi"), userland(&format!("{NONCE_ARGUMENT}{NONCE}"))].concat();
    let off = late.pop().unwrap();
    late.insert(late.len() - 1, off);
    let (reactions, phases) = watch(&case, &late);
    assert_eq!(reactions, [Reaction::Done(Verdict::Passed)]);
    assert_eq!(phases, Phase::ALL);
}

#[test]
fn option_17_comes_once_a_bios_has_fetched_the_loader() {
    let happenings = [leased(), sent("ipxe.pxe"), sent("ipxe.pxe")];
    let (reactions, _) = watch(&ipxe("ipxe.pxe", Aim::Userland), &happenings);
    assert_eq!(reactions, [Reaction::OfferRootPath]);
    let (reactions, _) = watch(&ipxe("ipxe.efi", Aim::Userland), &[leased(), sent("ipxe.efi")]);
    assert_eq!(reactions, []);
}

#[test]
fn whoever_goes_elsewhere_is_told_from_where_to_where() {
    let elsewhere = asked(WebServerRole::Elsewhere, "http://10.0.0.1/evil.ipxe", 404);
    let happenings = [leased(), sent("ipxe.efi"), leased(), elsewhere];
    fails(
        &ipxe("ipxe.efi", Aim::Userland),
        &happenings,
        "the loader asked for `http://10.0.0.1/evil.ipxe`, wanted `http://192.0.2.2/boot.ipxe` (DHCP option 17)\nif it is meant to go there, ",
    );
}

#[test]
fn what_the_console_says_last_is_the_reason() {
    let case = ipxe("ipxe.efi", Aim::Userland);
    let panic = console_output("[ 1.0] Kernel panic - not syncing: VFS: no root\n");
    fails(
        &case,
        &[until_kernel("ipxe.efi"), vec![panic]].concat(),
        "the kernel panicked: `[ 1.0] Kernel panic - not syncing: VFS: no root`",
    );
    let gone = console_output("BdsDxe: failed to start Boot0001: Not Found\n");
    fails(
        &case,
        &[leased(), sent("ipxe.efi"), gone.clone()],
        "the loader gave up, and the firmware went on: `BdsDxe: failed",
    );
    // Messages of the firmware before the loader was fetched do not count.
    assert_eq!(watch(&case, &[leased(), gone]).0, []);
}

#[test]
fn a_missing_second_part_is_named() {
    let happenings = [
        leased(),
        sent("lpxelinux.0"),
        BootEvent::NotInTree("ldlinux.c32".into()),
        BootEvent::NotInTree("boot/isolinux/ldlinux.c32".into()),
        console_output("\nFailed to load ldlinux"),
        console_output(".c32\n"),
    ];
    fails(
        &syslinux("lpxelinux.0", Aim::Userland),
        &happenings,
        "`Failed to load ldlinux.c32`; it asked for `ldlinux.c32` over TFTP, which is not in the tree",
    );
}

#[test]
fn the_bug_of_syslinux_is_pinned_in_both_directions() {
    let case = syslinux("syslinux.efi", Aim::WrongServer);
    let (reactions, _) = watch(&case, &[asked(WebServerRole::NextServer, "http://192.0.2.1/vmlinuz", 404)]);
    assert_eq!(reactions, [Reaction::Done(Verdict::Passed)]);
    fails(&case, &[asked(WebServerRole::Other, "http://192.0.2.2/vmlinuz", 200)], "the bug is mended here");
}

#[test]
fn what_was_not_fetched_on_the_way_did_not_boot() {
    let case = ipxe("ipxe.efi", Aim::Userland);
    let words = userland(&format!("{NONCE_ARGUMENT}{NONCE}"));
    // A boot ROM that is iPXE itself can do all of this without the loader.
    let rom: Vec<BootEvent> = until_kernel("ipxe.efi").into_iter().filter(|what| *what != sent("ipxe.efi")).collect();
    fails(&case, &[rom, words.clone()].concat(), "it was not seen that the loader was fetched");
    let mut early = until_kernel("ipxe.efi");
    early.swap(1, 4);
    fails(&case, &[early, words].concat(), "it was not seen that the boot script was fetched");
}

#[test]
fn what_a_boot_rom_asks_for_is_not_the_loaders_doing() {
    let case = ipxe("ipxe.efi", Aim::Userland);
    let rom = asked(WebServerRole::Other, "http://192.0.2.2/boot.ipxe", 404);
    assert_eq!(watch(&case, &[leased(), rom]).0, []);
}

#[test]
fn only_the_kernel_asked_for_at_the_wrong_address_shows_the_bug() {
    let case = syslinux("syslinux.efi", Aim::WrongServer);
    assert_eq!(watch(&case, &[asked(WebServerRole::NextServer, "http://192.0.2.1/other", 404)]).0, []);
    assert_eq!(watch(&case, &[asked(WebServerRole::Elsewhere, "http://192.0.2.9/vmlinuz", 404)]).0, []);
}

#[test]
fn a_file_that_may_not_be_read_is_told_with_the_remedy() {
    let refused = BootEvent::Refused("cannot access ipxe.efi: Permission denied".into());
    fails(
        &ipxe("ipxe.efi", Aim::Userland),
        &[leased(), refused],
        "Permission denied`\nas for any TFTP server, it needs the mode a+rX",
    );
}

#[test]
fn a_plain_script_says_what_is_wrong_and_gives_the_machine_back() {
    let case = ipxe("ipxe.efi", Aim::Fault(Fault::NoScript));
    let early = console_output("autoexec.ipxe... Not found (https://ipxe.org/2d12618e)\n");
    let late = console_output("http://192.0.2.2/boot.ipxe... Not found (https://ipxe.org/2d0c618e)\n");
    let (reactions, _) = watch(&case, &[early, late, console_output("BdsDxe: failed to start Boot0001")]);
    assert_eq!(reactions, [Reaction::Done(Verdict::Passed)]);
}

#[test]
fn a_patient_script_tries_again_and_offers_a_shell() {
    let mut case = ipxe("ipxe.efi", Aim::Fault(Fault::NoWebServer));
    if let Program::Ipxe { script, .. } = &mut case.loader.program {
        *script = Some(include_str!("../../../embed-scripts/robust.ipxe").to_owned());
    }
    let attempt = console_output(
        "http://192.0.2.2/boot.ipxe... Connection reset (https://ipxe.org/0f0a6095)\nPress Ctrl-B for a shell",
    );
    let (reactions, _) = watch(&case, std::slice::from_ref(&attempt));
    assert_eq!(reactions, [], "once is not enough");
    let (reactions, _) = watch(&case, &[attempt.clone(), attempt, console_output("\niPXE> ")]);
    assert_eq!(reactions, [Reaction::Type(2), Reaction::Done(Verdict::Passed)]);
    assert_eq!(expectation(&case), "the web server is down: it says so, tries again, and offers a shell");
}

#[test]
fn without_option_17_two_lines_of_script_run_in_a_circle() {
    let case = ipxe("ipxe.efi", Aim::Fault(Fault::NoRootPath));
    // The firmware fetches the loader twice, to learn its size.
    let happenings = [leased(), sent("ipxe.efi"), sent("ipxe.efi"), leased(), sent("ipxe.efi")];
    assert_eq!(watch(&case, &happenings).0, [Reaction::Done(Verdict::Passed)]);
    fails(&ipxe("ipxe.efi", Aim::Userland), &happenings, "the loader fetched itself again instead of a boot script");
}

#[test]
fn silence_is_told_with_the_last_thing_that_happened() {
    let case = ipxe("ipxe.efi", Aim::Userland);
    let scenario = Scenario::new(&case, &TestNetwork::default(), NONCE, "");
    let mut watch = Observer::new(&case, &scenario, NONCE);
    let reason = |watch: &Observer<'_>| match watch.given_up("nothing happened for 60 seconds") {
        Verdict::Failed(reason) => reason,
        Verdict::Passed => panic!("passed"),
    };
    assert_eq!(reason(&watch), "nothing happened for 60 seconds: the firmware did not get as far as DHCP");
    watch.see(Duration::ZERO, &leased());
    watch.see(Duration::ZERO, &sent("ipxe.efi"));
    assert!(reason(&watch).ends_with("the loader was fetched, and did nothing that could be seen"));
    watch.see(Duration::ZERO, &leased());
    assert!(reason(&watch).ends_with("60 seconds: the loader was fetched"), "{}", reason(&watch));
}

#[test]
fn a_machine_with_a_medium_must_not_fetch_a_loader() {
    let mut case = ipxe("ipxe.usb", Aim::Userland);
    case.boot_source = BootSource::Medium(Medium::Usb);
    let kernel: Vec<BootEvent> =
        until_kernel("x").into_iter().filter(|event| !matches!(event, BootEvent::Sent(_))).collect();
    let firmware = console_output("Booting from Hard Disk...\n");
    let end = userland(&format!("{NONCE_ARGUMENT}{NONCE}"));
    let (reactions, phases) = watch(&case, &[vec![firmware.clone()], kernel, end].concat());
    assert_eq!(reactions, [Reaction::Done(Verdict::Passed)]);
    assert_eq!(phases, [&Phase::ALL[..1], &Phase::ALL[2..]].concat());
    let wanted = "fetched `ipxe.pxe` over TFTP, so it did not boot from the medium";
    fails(&case, &[firmware, leased(), sent("ipxe.pxe")], wanted);
    let off = BootEvent::Stopped(Stop::PoweredOff);
    assert!(at_last(&case, &[off]).contains("switched itself off"));
    fails(&case, &[leased(), console_output("No bootable device.\n")], "the loader gave up");
}

/// Returns a case with Secure Boot that has this outcome.
fn secure(keys: EnrolledKeys, refusal: Refusal) -> Case {
    signed("ipxe.efi", keys, Aim::Refused(refusal))
}

/// What OVMF says of a loader that it may not start, in pieces and in the middle of other messages.
fn denied() -> Vec<BootEvent> {
    vec![
        console_output("BdsDxe: loading Boot0001 \"UEFI PXEv4 (MAC:525400123456)\" from PciRoot(0x0)/Pci(0x3,0x0)\n"),
        console_output("BdsDxe: failed to load Boot0001 \"UEFI PXEv4 (MAC:525400123456)\" from PciRoot(0x0)/Pci(0x3,0"),
        console_output("x0)/MAC(525400123456,0x1)/IPv4(0.0.0.0,0x0,DHCP,0.0.0.0,0.0.0.0,0.0.0.0): Access De"),
        console_output("nied\n\n>>Start PXE over IPv6."),
    ]
}

#[test]
fn the_firmware_refuses_a_loader_that_was_fetched_and_does_not_run() {
    for refusal in [Refusal::Tampered, Refusal::Unsigned] {
        let case = secure(EnrolledKeys::Own, refusal);
        let fetched = vec![leased(), sent("boot-test/ipxe.efi")];
        let (reactions, phases) = watch(&case, &[fetched.clone(), denied()].concat());
        assert_eq!(reactions, [Reaction::Done(Verdict::Passed)]);
        assert_eq!(phases, [Phase::Address, Phase::Loader]);
        // The server's log can be read after the console.
        let (reactions, _) = watch(&case, &[vec![leased()], denied(), vec![sent("boot-test/ipxe.efi")]].concat());
        assert_eq!(reactions, [Reaction::Done(Verdict::Passed)]);
        // The loader of the tree is another one, and so is whatever the firmware does not find.
        assert_eq!(watch(&case, &[vec![leased(), sent("ipxe.efi")], denied()].concat()).0, []);
        let missing = console_output("BdsDxe: failed to load Boot0001 \"UEFI PXEv4\": Not Found\n");
        let later = console_output("BdsDxe: failed to start Boot0002 \"UEFI\": Access Denied\n");
        assert_eq!(watch(&case, &[fetched, vec![missing, later]].concat()).0, []);
    }
}

#[test]
fn a_loader_that_runs_was_not_refused() {
    let fetched = [leased(), sent("boot-test/ipxe.efi")];
    let banner = [console_output("iPXE initialising dev"), console_output("ices...ok\n")];
    let named = [console_output("ACME 1.0 -- Open Source Network Boot Firmware")];
    let script = [asked(WebServerRole::Other, "http://192.0.2.2/boot.ipxe", 200)];
    for (refusal, wanted) in [(Refusal::Tampered, "with a byte changed"), (Refusal::Unsigned, "without its signature")]
    {
        let case = secure(EnrolledKeys::Own, refusal);
        for runs in [&banner[..], &named, &script] {
            fails(&case, &[&fetched, runs, &denied()[..0]].concat(), &format!("Secure Boot started a loader {wanted}"));
        }
    }
    let shim = [leased(), sent("boot-test/shimx64.efi"), sent("boot-test/grubx64.efi")];
    let case = secure(EnrolledKeys::Microsoft, Refusal::NoMok);
    fails(&case, &[&shim[..], &banner].concat(), "shim started a loader whose key it does not know");
}

#[test]
fn shim_says_that_it_does_not_know_the_key() {
    let case = secure(EnrolledKeys::Microsoft, Refusal::NoMok);
    let words = console_output(
        "Fetching Netboot Image boot-test/grubx64.efi\n+---+| ERROR |\n| Verification failed: (0x1A) Secu",
    );
    let whole = [leased(), sent("boot-test/shimx64.efi"), sent("boot-test/grubx64.efi"), words.clone()];
    assert_eq!(watch(&case, &whole).0, []);
    let whole = [&whole[..], &[console_output("rity Violation |\n")]].concat();
    assert_eq!(watch(&case, &whole).0, [Reaction::Done(Verdict::Passed)]);
    // Without the loader, shim has refused something else.
    let without: Vec<BootEvent> = whole.into_iter().filter(|what| *what != sent("boot-test/grubx64.efi")).collect();
    assert_eq!(watch(&case, &without).0, []);
}

#[test]
fn a_kernel_without_a_signature_is_fetched_and_not_started() {
    let case = secure(EnrolledKeys::Own, Refusal::UnsignedKernel);
    let error = console_output("Could not boot: Error 0x7f04818f (https://ipxe.org/7f04818f)\n");
    let (reactions, _) = watch(&case, &[until_kernel("ipxe.efi"), vec![error.clone()]].concat());
    assert_eq!(reactions, [Reaction::Done(Verdict::Passed)]);
    assert_eq!(watch(&case, &[leased(), sent("ipxe.efi"), leased(), error]).0, []);
    // EFI_NOT_FOUND is another error.
    let other = console_output("Could not boot: Error 0x7f04818e (https://ipxe.org/7f04818e)\n");
    assert_eq!(watch(&case, &[until_kernel("ipxe.efi"), vec![other]].concat()).0, []);
    let linux = console_output("[    0.000000] Linux version 6.1.0\n");
    fails(&case, &[until_kernel("ipxe.efi"), vec![linux]].concat(), "Secure Boot started a kernel without a signature");
    fails(&case, &[until_kernel("ipxe.efi"), userland("")].concat(), "Secure Boot started a kernel");
}

#[test]
fn a_signed_loader_boots_only_with_secure_boot_on() {
    let case = signed("ipxe.efi", EnrolledKeys::Own, Aim::Userland);
    let userland = |state: &str| {
        let text = format!("netboot-loaders: userland {NONCE}\nnetboot-loaders: Secure Boot: {state}\n");
        let line = format!("netboot-loaders: command line: {NONCE_ARGUMENT}{NONCE}\n");
        vec![console_output(&text), console_output(&line), BootEvent::Stopped(Stop::PoweredOff)]
    };
    let (reactions, _) = watch(&case, &[until_kernel("ipxe.efi"), userland("on")].concat());
    assert_eq!(reactions, [Reaction::Done(Verdict::Passed)]);
    assert_eq!(expectation(&case), "boots Linux over HTTP, with Secure Boot on");
    fails(&case, &[until_kernel("ipxe.efi"), userland("off")].concat(), "says that Secure Boot is `off`, wanted `on`");
    let shim = signed("ipxe.efi", EnrolledKeys::MicrosoftAndMok, Aim::Userland);
    let events = [vec![leased(), sent("boot-test/shimx64.efi")], until_kernel("boot-test/grubx64.efi"), userland("on")];
    assert_eq!(watch(&shim, &events.concat()).0, [Reaction::Done(Verdict::Passed)]);
}
