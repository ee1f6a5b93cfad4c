//! Known reactions of a loader to a fault, step by step.

use std::collections::VecDeque;

use super::case::{Aim, Case, Destination, EnrolledKeys, Fault, Refusal};

/// A step that must happen in a case that does not reach userland.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsoleStep {
    /// The console prints this text.
    Says(String),
    /// The console prints the URL from option 17.
    SaysRootPath,
    /// The firmware refuses to start what it has loaded.
    Denies,
    /// The loader fetches itself.
    LoadsItself,
    /// The firmware regains control of the machine.
    GivesBack,
    /// The boot test types this key.
    Type(u8),
}

/// Messages of the firmware when a loader has given up and the firmware continues with something else.
pub const FIRMWARE: [&str; 4] = ["BdsDxe: failed to start", "BdsDxe: failed to load", "No bootable device.", FROM_DISK];
/// Message of a UEFI that has loaded something and does not start it.
pub const NOT_LOADED: &str = FIRMWARE[1];
/// Reason in the same line if Secure Boot does not allow it.
pub const DENIED: &str = ": Access Denied";
/// Message of a BIOS that starts what is on a disk.
pub const FROM_DISK: &str = "Booting from Hard Disk";

/// Returns the steps that must happen in `case`, in order; empty if they are not known.
#[must_use]
pub fn steps(case: &Case) -> VecDeque<ConsoleStep> {
    if let Aim::Refused(refusal) = case.aim {
        return refused(refusal);
    }
    let (Aim::Fault(fault), Some(script)) = (case.aim, case.script()) else { return VecDeque::new() };
    let Destination { root_path, addresses } = &case.destination;
    let goal = if *root_path && script.contains("${root-path}") {
        ConsoleStep::SaysRootPath
    } else if let Some(address) = addresses.iter().find(|address| script.contains(address.as_str())) {
        ConsoleStep::Says(address.clone())
    } else {
        // The loader does not go where it should, and another case reports that.
        return VecDeque::new();
    };
    let says = |text: &str| ConsoleStep::Says(text.to_owned());
    // Ctrl-B interrupts its pauses, as in the scripts that come with this tool.
    let patient = script.contains("--key 0x02");
    let plain = !["prompt", "menu", "goto", "shell"].iter().any(|word| script.contains(word));
    let shell = [says("Ctrl-B"), ConsoleStep::Type(0x02), says("iPXE>")];
    let error = match fault {
        Fault::NoRootPath if !script.contains("${root-path}") => return VecDeque::new(),
        Fault::NoRootPath if looks_for_root_path(script) => {
            // A script that checks each card for option 17 reports that it is missing, and checks all cards again.
            let missing = "option 17";
            let again = script.contains("/root-path}") && script.contains(missing);
            return match (patient, again) {
                (true, true) => [says(missing)].into_iter().chain(shell).collect(),
                (true, false) => [says("iPXE>")].into(),
                (false, _) => VecDeque::new(),
            };
        }
        // `chain` without a URL chains to where iPXE itself came from.
        Fault::NoRootPath => return [ConsoleStep::LoadsItself].into(),
        Fault::NoScript => "Not found (https://ipxe.org/",
        Fault::NoWebServer => "Connection reset (https://ipxe.org/",
    };
    let attempt = [goal, says(error)];
    let mut steps: VecDeque<ConsoleStep> = attempt.clone().into();
    if patient {
        steps.extend(attempt.into_iter().chain(shell));
    } else if plain {
        steps.push_back(ConsoleStep::GivesBack);
    }
    steps
}

/// Returns the steps of a refusal by Secure Boot.
fn refused(refusal: Refusal) -> VecDeque<ConsoleStep> {
    let says = |text: &str| ConsoleStep::Says(text.to_owned());
    match refusal {
        Refusal::Tampered | Refusal::Unsigned => [ConsoleStep::Denies].into(),
        // 0x7f is iPXE's number for errors of the firmware, and 0x8f that of EFI_ACCESS_DENIED. Between them stands the
        // place in iPXE's source, which differs between versions.
        Refusal::UnsignedKernel => [says("Could not boot: Error 0x7f"), says("8f (https://ipxe.org/7f")].into(),
        Refusal::NoMok => {
            [says("Fetching Netboot Image"), says("Verification failed: (0x1A) Security Violation")].into()
        }
    }
}

/// Checks whether `script` tests that DHCP has sent option 17.
fn looks_for_root_path(script: &str) -> bool {
    script.lines().any(|line| line.starts_with("isset ") && line.contains("root-path}"))
}

/// Describes the expected outcome of `case`.
#[must_use]
pub fn expectation(case: &Case) -> String {
    let secure = case.secure_boot.map_or("", EnrolledKeys::words);
    if let Some(entry) = &case.entry {
        return format!("boots what stands in for `{}`, by the tree's script{secure}", entry.name);
    }
    let Aim::Fault(_) = case.aim else {
        let (how, cards, model) = (case.boot_source.words(), case.nics.words(), case.nic.words());
        let secure = if matches!(case.aim, Aim::Refused(_)) { "" } else { secure };
        return format!("{}{how}{cards}{model}{secure}", case.aim.words());
    };
    let steps = steps(case);
    let has = |step: &ConsoleStep| steps.contains(step);
    let reaction = if has(&ConsoleStep::LoadsItself) {
        "it loads itself again"
    } else if has(&ConsoleStep::GivesBack) {
        "it says so, and the firmware goes on"
    } else if has(&ConsoleStep::Type(0x02)) {
        "it says so, tries again, and offers a shell"
    } else if steps.len() == 1 {
        "it offers a shell"
    } else {
        "it says so"
    };
    format!("{}: {reaction}", case.aim.words())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot_test::loaders::Program;
    use crate::boot_test::samples::ipxe;

    /// Returns the expected steps of `script` without option 17.
    fn without_option_17(script: &str) -> Vec<ConsoleStep> {
        let mut case = ipxe("ipxe.efi", Aim::Fault(Fault::NoRootPath));
        if let Program::Ipxe { script: known, .. } = &mut case.loader.program {
            *known = Some(script.to_owned());
        }
        steps(&case).into()
    }

    #[test]
    fn a_script_that_asks_each_card_tries_again_and_an_older_one_gives_up_at_once() {
        let says = |text: &str| ConsoleStep::Says(text.into());
        let shell = [says("Ctrl-B"), ConsoleStep::Type(0x02), says("iPXE>")];
        let robust = include_str!("../../embed-scripts/robust.ipxe");
        assert_eq!(without_option_17(robust), [&[says("option 17")], &shell[..]].concat());
        let older = "#!ipxe\ndhcp\nisset ${root-path} && chain ${root-path} ||\nprompt --key 0x02 again ||\nshell\n";
        assert_eq!(without_option_17(older), [says("iPXE>")]);
        // The menu waits for the user.
        assert_eq!(without_option_17(include_str!("../../embed-scripts/menu.ipxe")), []);
        assert_eq!(without_option_17("#!ipxe\ndhcp && chain ${root-path}\n"), [ConsoleStep::LoadsItself]);
    }
}
