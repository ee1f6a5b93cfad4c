//! Loaders for other CPUs than a PC's: machines with these CPUs boot them.

use camino::Utf8Path;
use netboot_fixtures::project::CliOutput;
use netboot_fixtures::real::{Real, sources};
use netboot_fixtures::skip;

netboot_fixtures::tests! {
    with sources;
    arm64,
    ; full:
    i386,
}

fn arm64(real: &Real) -> Result<(), String> {
    for name in ["qemu-system-aarch64", "aarch64-linux-gnu-gcc"] {
        skip::program(name)?;
    }
    boots(real, "arm64", "/usr/share/AAVMF/AAVMF_CODE.fd", "5 passed, 0 failed, 0 skipped")
}

fn i386(real: &Real) -> Result<(), String> {
    boots(real, "i386", "/usr/share/OVMF/OVMF32_CODE_4M.secboot.fd", "5 passed, 0 failed, 0 skipped")
}

/// Builds `snponly.efi` for the CPU called `arch`, and boots it: to userland, with each fault, and with a boot entry that
/// has a system for this CPU among others. The kernel and the
/// userland come from the distribution's packages, and nothing is installed.
fn boots(real: &Real, arch: &str, firmware: &str, wanted: &str) -> Result<(), String> {
    skip::machines()?;
    skip::program("apt-get")?;
    if !Utf8Path::new(firmware).is_file() {
        return Err(format!("there is no {firmware}"));
    }
    let installed = || std::fs::read("/var/lib/dpkg/status").unwrap();
    let before = installed();
    let entry = "[boot.a]\nkind = \"linux\"\nkernel = \"http://192.0.2.9/k\"\ninitrd = [\"http://192.0.2.9/i\"]\n\
                 [boot.a.arm64]\nkernel = \"http://192.0.2.9/arm64/k\"\ninitrd = [\"http://192.0.2.9/arm64/i\"]\n\
                 [boot.a.i386]\nkernel = \"http://192.0.2.9/i386/k\"\ninitrd = [\"http://192.0.2.9/i386/i\"]\n";
    real.sites(&format!("[default]\nloaders = [\"{arch}/snponly.efi\"]\nscript = \"robust.ipxe\"\n{entry}"));
    real.build(&[]);
    let ran = CliOutput::from(real.command(&["boot-test", "--install-deps"]).output().unwrap());
    if ran.stderr.contains("error: cannot fetch the list of packages")
        || ran.stderr.contains("error: cannot download a ker")
    {
        return Err("the distribution's packages are not to be had".to_owned());
    }
    let ran = ran.warned();
    assert!(ran.stdout.contains(&format!("boot-test: {wanted}")), "{}", ran.stdout);
    assert!(installed() == before, "a package was installed");
    // A kernel of a CPU that no case needs, and what is no kernel.
    let error = CliOutput::from(real.command(&["boot-test", "--kernel", "/bin/sh"]).output().unwrap()).error(3);
    assert!(error.starts_with("`/bin/sh` is "), "{error}");
    assert!(error.contains(", wanted a Linux kernel for x86 or 64-bit ARM, not compressed\n"), "{error}");
    Ok(())
}
