//! Network cards: of other models than virtio, and two of them, one of which is on a network with plain DHCP: the scripts of
//! this project find the network that offers something to boot.

use netboot_fixtures::project::CliOutput;
use netboot_fixtures::real::{Real, sources};
use netboot_fixtures::skip;

netboot_fixtures::tests! {
    with sources;
    another_card,
    another_model,
    ; full:
    either_card,
    all_models,
}

const SITES: &str = r#"
[default]
loaders = ["ipxe.pxe", "undionly.kpxe", "ipxe.efi", "snponly.efi"]
script = "robust.ipxe"

[site.fixed]
loaders = ["ipxe.pxe", "ipxe.efi"]
script = "url.ipxe"
vars = { boot_url = "http://192.0.2.2/boot.ipxe" }

[site.menu]
loaders = ["ipxe.efi"]
script = "menu.ipxe"
vars = { boot_url = "http://192.0.2.2/boot.ipxe" }
"#;

/// Loaders that are booted on each model.
const LOADERS: [&str; 4] = ["ipxe.pxe", "undionly.kpxe", "ipxe.efi", "snponly.efi"];

/// Boots `loaders` on cards of the model `nic`. Returns an error if this QEMU has none.
fn boots_on(real: &Real, nic: &str, loaders: &[&str]) -> Result<(), String> {
    skip::machines()?;
    real.sites(SITES);
    real.build(&[]);
    let cases = loaders.iter().flat_map(|case| ["--case", case]);
    let arguments: Vec<&str> = ["boot-test", "--nic", nic].into_iter().chain(cases).collect();
    let stdout = CliOutput::from(real.command(&arguments).output().unwrap()).success().stdout;
    let lacks = format!("SKIPPED: {}: this QEMU has no card of the model {nic}\n", loaders[0]);
    if stdout.contains(&lacks) {
        return Err(format!("this QEMU has no card of the model {nic}"));
    }
    let count = loaders.len();
    assert!(stdout.contains(&format!("boot-test: {count} passed, 0 failed, 0 skipped")), "{nic}: {stdout}");
    Ok(())
}

fn another_model(real: &Real) -> Result<(), String> {
    boots_on(real, "e1000e", &["snponly.efi"])
}

/// Models that this QEMU lacks are named; all others are tried.
fn all_models(real: &Real) -> Result<(), String> {
    skip::machines()?;
    let tried = ["e1000", "e1000e", "igb", "rtl8139", "vmxnet3"].map(|nic| boots_on(real, nic, &LOADERS));
    let lacking: Vec<String> = tried.into_iter().filter_map(Result::err).collect();
    assert!(lacking.len() <= 1, "{lacking:?}");
    println!("{}", lacking.join(", "));
    Ok(())
}

/// Builds the tree, and boots `cases` in machines with two cards.
fn boot(real: &Real, cases: &[&str]) -> String {
    real.sites(SITES);
    real.build(&[]);
    let cases = cases.iter().flat_map(|case| ["--case", case]);
    let arguments: Vec<&str> = ["boot-test", "--cards", "2"].into_iter().chain(cases).collect();
    CliOutput::from(real.command(&arguments).output().unwrap()).success().stdout
}

/// Returns the console output of the machine of `case` after the start of the script.
fn said(real: &Real, case: &str) -> String {
    let file = real.project.join(format!("dist/boot-test/cases/{}/console.txt", case.replace(['/', ':'], "-")));
    let console = std::fs::read_to_string(file).unwrap();
    console.split_once(" -- https://ipxe.org\n").map(|(_, rest)| rest.to_owned()).unwrap_or(console)
}

fn either_card(real: &Real) -> Result<(), String> {
    skip::machines()?;
    let stdout = boot(real, &["first-card", "second-card"]);
    assert!(stdout.contains("boot-test: 14 passed, 0 failed, 0 skipped"), "{stdout}");
    // The card that the loader came from is tried first, and the other one is not tried at all.
    for loader in ["ipxe.pxe", "ipxe.efi"] {
        let console = said(real, &format!("{loader}:second-card"));
        assert!(console.contains("net1: loading http://192.0.2.2/boot.ipxe"), "{console}");
        assert!(!console.contains("net0"), "{console}");
    }
    Ok(())
}

fn another_card(real: &Real) -> Result<(), String> {
    skip::machines()?;
    let cases = ["another-card", "sites/fixed/ipxe.efi:no-script"];
    let stdout = boot(real, &cases);
    assert!(stdout.contains("boot-test: 3 passed, 0 failed, 2 skipped"), "{stdout}");
    for loader in ["undionly.kpxe", "snponly.efi"] {
        let line = format!("SKIPPED: {loader}:another-card: `{loader}` drives only the card that it came from\n");
        assert!(stdout.contains(&line), "{stdout}");
    }
    for loader in ["ipxe.pxe", "ipxe.efi"] {
        let console = said(real, &format!("{loader}:another-card"));
        for line in
            ["net0: DHCP sends no option 17, so there is no place to go", "net1: loading http://192.0.2.2/boot.ipxe"]
        {
            assert!(console.contains(line), "{line} is not in:\n{console}");
        }
    }
    let console = said(real, "sites/fixed/ipxe.efi:no-script");
    let line = "No other card: undionly.kpxe and snponly.efi drive only the one they came from.";
    assert!(console.contains(line), "{console}");
    Ok(())
}
