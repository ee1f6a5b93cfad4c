//! Secure Boot: real signed loaders in machines with keys of their own, and with Microsoft's, shim and a MOK.

use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use netboot_fixtures::project::CliOutput;
use netboot_fixtures::real::{Real, sources};
use netboot_fixtures::skip;
use netboot_loaders::base::fs;
use netboot_loaders::digest::Sha256Digest;
use serde_json::Value;

netboot_fixtures::tests! {
    with sources;
    x64,
    ; full:
    arm64,
    i386,
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
    let (fetching, reason) = ("Fetching Netboot Image grubx64.efi\n", "Verification failed: (0x1A) Security Violation");
    assert!(shim.split_once(fetching).is_some_and(|(_, rest)| rest.contains(reason)), "{shim}");
    Ok(())
}

fn arm64(real: &Real) -> Result<(), String> {
    for name in ["qemu-system-aarch64", "aarch64-linux-gnu-gcc", "apt-get"] {
        skip::program(name)?;
    }
    boots(real, "arm64/ipxe.efi", &[&[""][..], &REFUSALS].concat(), &["--install-deps"])
}

fn i386(real: &Real) -> Result<(), String> {
    skip::program("apt-get")?;
    boots(real, "i386/ipxe.efi", &[&[""][..], &REFUSALS].concat(), &["--install-deps"])
}

/// Runs `cases` of a signed `loader`, which have to pass, and checks that the report says that Secure Boot was on.
fn boots(real: &Real, loader: &str, cases: &[&str], more: &[&str]) -> Result<(), String> {
    skip::machines()?;
    let tree = signed_tree(real, loader)?;
    let special = |case: &&str| if case.is_empty() { loader.to_owned() } else { format!("{loader}:{case}") };
    let names: Vec<String> = cases.iter().map(special).collect();
    let mut arguments = [&["boot-test", tree.as_str()], more].concat();
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

/// Builds a tree with `loader`, and returns the path of the same tree with a signature of a leaf key, which has the
/// certificate of its authority with it.
fn signed_tree(real: &Real, loader: &str) -> Result<Utf8PathBuf, String> {
    skip::program("osslsigncode")?;
    skip::program("openssl")?;
    real.sites(&format!("[default]\nloaders = [\"{loader}\"]\nscript = \"root-path.ipxe\"\n"));
    real.build(&[]);
    let list = |arguments: &[&str]| CliOutput::from(real.command(arguments).output().unwrap()).warned().stdout;
    let unsigned = list(&["boot-test", "--list"]);
    assert!(!unsigned.contains("Secure Boot") && !unsigned.contains(":tampered"), "{unsigned}");
    let tree = real.project.join("signed");
    if tree.exists() {
        std::fs::remove_dir_all(&tree).unwrap();
    }
    for (path, _) in fs::walk(&real.tree()).unwrap() {
        fs::write_atomic(&tree.join(&path), &real.read(path.as_str())).unwrap();
    }
    let file = tree.join(loader);
    let before = fs::sha256(&file).unwrap();
    sign(&real.project, &file);
    record(&tree, before, fs::sha256(&file).unwrap());
    let signed = list(&["boot-test", tree.as_str(), "--list"]);
    assert!(signed.contains("with Secure Boot on") && signed.contains(":tampered"), "{signed}");
    Ok(tree)
}

/// Signs the loader at `path`, with keys in `folder`.
fn sign(folder: &Utf8Path, path: &Utf8Path) {
    let script = "set -e
        [ -f leaf.pem ] || {
            openssl req -x509 -newkey rsa:2048 -nodes -days 9000 -subj '/CN=Loader CA' -keyout ca.key -out ca.pem
            openssl req -newkey rsa:2048 -nodes -subj /CN=Loaders -keyout leaf.key -out leaf.csr
            openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 9000 -out leaf.pem
        }
        osslsigncode sign -h sha256 -time 1772812135 -certs leaf.pem -ac ca.pem -key leaf.key -in \"$1\" -out signed.efi
        cat signed.efi > \"$1\"
        rm signed.efi";
    let output = Command::new("sh").args(["-c", script, "sh", path.as_str()]).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Writes the new digest and size of a loader into the records of `tree`.
fn record(tree: &Utf8Path, old: (Sha256Digest, u64), new: (Sha256Digest, u64)) {
    let path = tree.join("manifest.json");
    let manifest = std::fs::read_to_string(&path).unwrap().replace(&old.0.to_string(), &new.0.to_string());
    let size = |size: u64| format!("\"size\": {size},");
    std::fs::write(&path, manifest.replace(&size(old.1), &size(new.1))).unwrap();
    let sums = tree.join("SHA256SUMS");
    let line = |line: &str| {
        let (_, name) = line.split_once("  ").unwrap();
        format!("{}  {name}\n", fs::sha256(&tree.join(name)).unwrap().0)
    };
    let lines: String = std::fs::read_to_string(&sums).unwrap().lines().map(line).collect();
    std::fs::write(&sums, lines).unwrap();
}
