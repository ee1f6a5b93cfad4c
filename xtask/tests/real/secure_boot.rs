//! Secure Boot: real signed loaders in machines with keys of their own, and with Microsoft's, shim and a MOK.

use netboot_fixtures::project::CliOutput;
use netboot_fixtures::real::{Real, sources};
use netboot_fixtures::skip;
use serde_json::Value;

netboot_fixtures::tests! {
    with sources;
    x64,
}

/// What Secure Boot must refuse in machines with keys of their own.
const REFUSALS: [&str; 3] = ["tampered", "unsigned", "unsigned-kernel"];

fn x64(real: &Real) -> Result<(), String> {
    let cases = [&[""][..], &REFUSALS, &["shim", "shim-no-mok"]].concat();
    boots(real, "ipxe.efi", &cases, &[])?;
    let console = |case: &str| {
        let file = real.project.join(format!("dist/boot-test/cases/ipxe.efi{case}/console.txt"));
        std::fs::read_to_string(file).unwrap()
    };
    for case in ["", "-shim"] {
        assert!(console(case).contains("\nnetboot-loaders: Secure Boot: on\n"), "{}", console(case));
    }
    // What people see, to the letter.
    for case in ["-tampered", "-unsigned"] {
        let console = console(case);
        let refused = |line: &str| line.starts_with("BdsDxe: failed to load ") && line.ends_with(": Access Denied");
        assert!(console.lines().any(refused), "{console}");
    }
    let kernel = console("-unsigned-kernel");
    assert!(kernel.contains("Could not boot: Error 0x7f04818f (https://ipxe.org/7f"), "{kernel}");
    let shim = console("-shim-no-mok");
    let (fetching, reason) =
        ("Fetching Netboot Image boot-test/grubx64.efi\n", "Verification failed: (0x1A) Security Violation");
    assert!(shim.split_once(fetching).is_some_and(|(_, rest)| rest.contains(reason)), "{shim}");
    // Firmware does not look at the dates of certificates: this day is after the end of each one in the chain.
    boots(real, "ipxe.efi", &["", "shim"], &["--clock", "2090-01-31"])?;
    let report = std::fs::read(real.project.join("dist/boot-test/report.json")).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&report).unwrap()["clock"], "2090-01-31");
    Ok(())
}

/// Runs `cases` of a signed `loader`, which have to pass, and checks that the report says that Secure Boot was on.
fn boots(real: &Real, loader: &str, cases: &[&str], more: &[&str]) -> Result<(), String> {
    skip::machines()?;
    signed_tree(real, loader)?;
    let special = |case: &&str| if case.is_empty() { loader.to_owned() } else { format!("{loader}:{case}") };
    let names: Vec<String> = cases.iter().map(special).collect();
    let mut arguments = [&["boot-test"], more].concat();
    arguments.extend(names.iter().flat_map(|name| ["--case", name]));
    let ran = CliOutput::from(real.command(&arguments).output().unwrap()).warned();
    // A host may lack shim, a signed kernel, or firmware with Secure Boot.
    if let Some(skipped) = ran.stdout.lines().find_map(|line| line.strip_prefix("SKIPPED: ")) {
        return Err(skipped.to_owned());
    }
    assert!(ran.stdout.contains(&format!("boot-test: {} passed, 0 failed", cases.len())), "{}", ran.stdout);
    let report = std::fs::read(real.project.join("dist/boot-test/report.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    let secure: Vec<&Value> = report["cases"].as_array().unwrap().iter().map(|case| &case["secure-boot"]).collect();
    assert!(secure.len() == cases.len() && secure.iter().all(|state| **state == true), "{report}");
    Ok(())
}

/// Builds a tree with a signed `loader`, which has the certificate of its authority with it.
fn signed_tree(real: &Real, loader: &str) -> Result<(), String> {
    let sites = format!("[default]\nloaders = [\"{loader}\"]\nscript = \"root-path.ipxe\"\n");
    let list = || CliOutput::from(real.command(&["boot-test", "--list"]).output().unwrap()).warned().stdout;
    let secure_boot = real.secure_boot()?;
    real.sites(&sites);
    real.build(&[]);
    let unsigned = list();
    assert!(!unsigned.contains("Secure Boot") && !unsigned.contains(":tampered"), "{unsigned}");
    real.sites(&format!("{sites}{secure_boot}"));
    real.build(&[]);
    let signed = list();
    assert!(signed.contains("with Secure Boot on") && signed.contains(":tampered"), "{signed}");
    Ok(())
}
