//! Firmware with Secure Boot, shim, and the keys that have signed the kernel. All of them come from the distribution.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use super::case::{Aim, Case};
use super::tools::{MachineTools, TestTool, TestTools, search_path, variables};
use super::variable_store::VariableStore;
use crate::base::fs;
use crate::base::paths::Cache;
use crate::base::progress::Progress;
use crate::loader::signature::Signatures;
use crate::loader::target::Platform;
use crate::toolchain::need::Need;
use crate::toolchain::needs;
use crate::toolchain::{self, Tool};

/// What machines with Secure Boot need.
#[derive(Debug, Clone)]
pub struct SecureTools {
    /// Tools of the machine: its UEFI has Secure Boot. Its variables have no keys, or have Microsoft's: those for arm64
    /// without keys are not formatted.
    pub machine: MachineTools,
    /// The variables with Microsoft's keys, or why there are none.
    pub microsoft: Result<Utf8PathBuf, String>,
    /// A shim that Microsoft has signed, or why there is none.
    pub shim: Result<Utf8PathBuf, String>,
    /// Certificates (DER) of those who have signed the kernel, or why there are none.
    pub kernel: Result<Vec<Vec<u8>>, String>,
}

/// Machines with Secure Boot by platform, and what they lack.
#[derive(Debug, Clone, Default)]
pub struct SecureMachines {
    machines: BTreeMap<Platform, Result<SecureTools, String>>,
    /// Version of each tool.
    pub versions: Vec<TestTool>,
}

impl SecureMachines {
    /// Finds what machines of `platforms` need in addition to `tools` in `path`, a list of folders as in `PATH`.
    ///
    /// # Errors
    ///
    /// [`toolchain::Error`] if the user asked to stop, or the cache cannot be used; machines may lack something.
    pub fn find(
        path: &str,
        platforms: &BTreeSet<Platform>,
        tools: &TestTools,
        cache: &Cache,
        progress: &dyn Progress,
    ) -> Result<Self, toolchain::Error> {
        let path = &search_path(path);
        let mut found = Self::default();
        for platform in platforms {
            let mut find = |need: Option<Need>| {
                let tool = one(need, *platform, path, cache, progress)?;
                found.versions.extend(tool.iter().map(TestTool::from));
                Ok::<_, toolchain::Error>(tool.map(|tool| tool.file().to_owned()))
            };
            let (firmware, shim) = (find(needs::secure_firmware(*platform))?, find(needs::shim(*platform))?);
            let machine = tools.machine(*platform).cloned();
            let machine = machine.and_then(|machine| SecureTools::new(machine, firmware?, shim));
            found.machines.insert(*platform, machine);
        }
        Ok(found)
    }

    /// Returns the tools of machines of `platform`.
    ///
    /// # Errors
    ///
    /// What is lacking for such machines.
    pub fn machine(&self, platform: Platform) -> Result<&SecureTools, String> {
        let none = || format!("there is no {} with Secure Boot", platform.words());
        self.machines.get(&platform).ok_or_else(none)?.as_ref().map_err(Clone::clone)
    }

    /// Returns why no machine here can run `case`, which needs Secure Boot.
    #[must_use]
    pub fn obstacle(&self, case: &Case) -> Option<String> {
        let tools = match self.machine(case.loader.platform) {
            Ok(tools) => tools,
            Err(lacking) => return Some(lacking),
        };
        let shim = case.needs_shim().then(|| tools.shim.as_ref().err().or(tools.microsoft.as_ref().err())).flatten();
        let boots = case.aim == Aim::Userland;
        shim.or_else(|| tools.kernel.as_ref().err().filter(|_| boots)).cloned()
    }
}

/// Finds a tool for machines of `platform`, or returns what is lacking.
fn one(
    need: Option<Need>,
    platform: Platform,
    path: &str,
    cache: &Cache,
    progress: &dyn Progress,
) -> Result<Result<Tool, String>, toolchain::Error> {
    let Some(need) = need else { return Ok(Err(format!("there is none for {}", platform.words()))) };
    match toolchain::look(&[need], path, cache, progress) {
        Ok(mut tools) => Ok(Ok(tools.swap_remove(0))),
        Err(toolchain::Error::Missing { missing, install }) => {
            Ok(Err(format!("found no usable {}: {}", missing.join(", "), install.join(", or "))))
        }
        Err(error) => Err(error),
    }
}

impl SecureTools {
    /// Completes what was found: `machine` is the same machine without Secure Boot.
    fn new(machine: MachineTools, firmware: Utf8PathBuf, shim: Result<Utf8PathBuf, String>) -> Result<Self, String> {
        let variables = variables(&firmware);
        let store = fs::read(&variables).map_err(|error| error.to_string())?;
        VariableStore::open(store).map_err(|error| format!("`{variables}`: {error}"))?;
        let microsoft = microsoft(&firmware).find(|path| path.is_file());
        let microsoft = microsoft.ok_or_else(|| format!("no variables with Microsoft's keys are beside `{firmware}`"));
        let kernel = signers(&machine.kernel);
        Ok(Self { machine: MachineTools { firmware, variables, ..machine }, microsoft, shim, kernel })
    }
}

/// Returns the paths of variables with Microsoft's keys that belong to a UEFI's code, a file beside it.
fn microsoft(code: &Utf8Path) -> impl Iterator<Item = Utf8PathBuf> {
    let name = code.file_name().unwrap_or_default();
    // Debian, Fedora, openSUSE.
    let names = [
        name.replace("CODE", "VARS").replace(".secboot", ".ms"),
        name.replace("CODE", "VARS"),
        name.replace("-code", "-ms-vars"),
    ];
    names.into_iter().filter(move |other| other != name).map(|name| code.with_file_name(name))
}

/// Returns the certificates of those who have signed the kernel at `path`.
fn signers(path: &Utf8Path) -> Result<Vec<Vec<u8>>, String> {
    let content = fs::read(path).map_err(|error| error.to_string())?;
    let signatures =
        Signatures::of(&content).map_err(|reason| format!("the kernel `{path}` is not signed: {reason}"))?;
    let valid = signatures.signatures.into_iter().filter_map(Result::ok);
    let certificates: Vec<Vec<u8>> =
        valid.filter_map(|signature| Some(signature.chain.into_iter().next()?.der)).collect();
    if certificates.is_empty() {
        return Err(format!("the kernel `{path}` has no valid signature, which Secure Boot wants"));
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot_test::case::{EnrolledKeys, Refusal};
    use crate::boot_test::samples::signed;

    #[test]
    fn what_is_lacking_stops_only_the_cases_that_need_it() {
        let machine = MachineTools {
            qemu: "qemu".into(),
            firmware: "CODE.secboot.fd".into(),
            variables: "VARS.fd".into(),
            kernel: "vmlinuz".into(),
            modules: None,
            busybox: "busybox".into(),
        };
        let lacking = |what: &str| Err(what.to_owned());
        let kernel = Err("no signed kernel".to_owned());
        let tools = SecureTools { machine, microsoft: lacking("no keys"), shim: lacking("no shim"), kernel };
        let machines = [(Platform::EfiX64, Ok(tools)), (Platform::EfiIa32, Err("no firmware".to_owned()))].into();
        let mut found = SecureMachines { machines, versions: Vec::new() };
        let obstacle = |found: &SecureMachines, keys, aim| found.obstacle(&signed("ipxe.efi", keys, aim));
        let (own, mok) = (EnrolledKeys::Own, EnrolledKeys::MicrosoftAndMok);
        assert_eq!(obstacle(&found, own, Aim::Userland).as_deref(), Some("no signed kernel"));
        for refusal in [Refusal::Tampered, Refusal::Unsigned, Refusal::UnsignedKernel] {
            assert_eq!(obstacle(&found, own, Aim::Refused(refusal)), None);
        }
        let no_mok = Aim::Refused(Refusal::NoMok);
        assert_eq!(obstacle(&found, EnrolledKeys::Microsoft, no_mok).as_deref(), Some("no shim"));
        assert_eq!(obstacle(&found, mok, Aim::Userland).as_deref(), Some("no shim"));
        let tools = found.machines.get_mut(&Platform::EfiX64).unwrap().as_mut().unwrap();
        tools.shim = Ok("shimx64.efi".into());
        assert_eq!(obstacle(&found, mok, Aim::Userland).as_deref(), Some("no keys"));
        let other = |platform| {
            let mut case = signed("ipxe.efi", own, Aim::Userland);
            case.loader.platform = platform;
            found.obstacle(&case).unwrap()
        };
        assert_eq!(other(Platform::EfiIa32), "no firmware");
        assert_eq!(other(Platform::EfiArm64), "there is no UEFI for arm64 with Secure Boot");
    }

    #[test]
    fn variables_with_keys_stand_beside_the_code() {
        for (code, wanted) in [
            ("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd"),
            ("/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd", "/usr/share/edk2/ovmf/OVMF_VARS.secboot.fd"),
            ("/usr/share/qemu/ovmf-x86_64-smm-code.bin", "/usr/share/qemu/ovmf-x86_64-smm-ms-vars.bin"),
        ] {
            let found: Vec<Utf8PathBuf> = microsoft(Utf8Path::new(code)).collect();
            assert!(found.iter().any(|path| path == wanted), "{found:?}");
            assert!(!found.iter().any(|path| path == code), "the code itself is none");
        }
    }

    #[test]
    fn a_kernel_without_a_signature_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let kernel = Utf8Path::from_path(folder.path()).unwrap().join("vmlinuz");
        std::fs::write(&kernel, crate::loader::smallest_application::application()).unwrap();
        let reason = format!("the kernel `{kernel}` has no valid signature, which Secure Boot wants");
        assert_eq!(signers(&kernel), Err(reason));
        std::fs::write(&kernel, b"MZ").unwrap();
        assert!(signers(&kernel).unwrap_err().ends_with(" is not signed: its headers lead out of the file"));
    }
}
