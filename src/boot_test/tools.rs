//! Tools that machines and their network consist of. All of them come from the distribution.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;

use super::daemon::WebServer;
use super::guest_image;
use super::network::{DhcpSetup, HttpSetup, TestNetwork};
use crate::base::fs;
use crate::base::paths::Cache;
use crate::base::progress::Progress;
use crate::loader::file_kind::{describe, elf_arch};
use crate::loader::target::{Arch, Platform};
use crate::toolchain::need::Need;
use crate::toolchain::needs;
use crate::toolchain::{self, Tool};

/// Folders where distributions install programs for root; a user's `PATH` may lack them.
const ROOTS_PROGRAMS: &str = ":/usr/local/sbin:/usr/sbin:/sbin";

/// Tools of one kind of machine, and what it boots.
#[derive(Debug, Clone)]
pub struct MachineTools {
    /// QEMU for the machine's CPU.
    pub qemu: Utf8PathBuf,
    /// The UEFI's code; machines with BIOS do not use it.
    pub firmware: Utf8PathBuf,
    /// The UEFI's variables in their initial state.
    pub variables: Utf8PathBuf,
    /// A Linux kernel.
    pub kernel: Utf8PathBuf,
    /// The folder of the kernel's modules, if it is not where the distribution installs them.
    pub modules: Option<Utf8PathBuf>,
    /// A static busybox.
    pub busybox: Utf8PathBuf,
}

/// Tools that are installed and can run.
#[derive(Debug, Clone)]
pub struct TestTools {
    /// Tools of each kind of machine, or what they lack. A PC's are complete.
    machines: BTreeMap<Platform, Result<MachineTools, String>>,
    /// Tools of the network.
    pub servers: ServerTools,
    /// Version of each tool.
    pub versions: Vec<TestTool>,
}

/// Tools that a test network consists of.
#[derive(Debug, Clone)]
pub struct ServerTools {
    /// `dnsmasq`.
    pub dnsmasq: Utf8PathBuf,
    /// The DHCP server, if it is another one.
    pub dhcp: Utf8PathBuf,
    /// `nginx`, if it is needed.
    pub nginx: Utf8PathBuf,
    /// `caddy`, if it is needed.
    pub caddy: Utf8PathBuf,
    /// `ip`.
    pub ip: Utf8PathBuf,
}

impl ServerTools {
    /// Finds the tools in `path`, a list of folders as in `PATH`, with the servers that `network` needs. Also returns the
    /// version of each.
    ///
    /// # Errors
    ///
    /// [`toolchain::Error::Missing`] lists everything that is missing, and how to install it.
    pub fn find(
        path: &str,
        network: &TestNetwork,
        cache: &Cache,
        progress: &dyn Progress,
    ) -> Result<(Self, Vec<TestTool>), toolchain::Error> {
        let needs = [needs::test_network(), servers(network)].concat();
        let tools = toolchain::look(&needs, &search_path(path), cache, progress)?;
        Ok((Self::of(&tools, network), tools.iter().map(TestTool::from).collect()))
    }

    /// Returns those of `tools` that `network` consists of.
    fn of(tools: &[Tool], network: &TestNetwork) -> Self {
        let file = |name: &str| file(tools, name);
        Self {
            dnsmasq: file("dnsmasq"),
            dhcp: file(dhcp(network)),
            nginx: file(needs::NGINX),
            caddy: file(WebServer::Caddy.as_str()),
            ip: file("ip"),
        }
    }
}

/// Returns the path of the tool `name`; empty if it is not among `tools`.
fn file(tools: &[Tool], name: &str) -> Utf8PathBuf {
    tools.iter().find(|tool| tool.name == name).map(|tool| tool.file().to_owned()).unwrap_or_default()
}

/// A tool, for reports.
#[derive(Debug, Clone, Serialize)]
pub struct TestTool {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The SHA-256 of its file.
    pub sha256: String,
}

impl From<&Tool> for TestTool {
    fn from(tool: &Tool) -> Self {
        Self { name: tool.name.clone(), version: tool.version.clone(), sha256: tool.sha256.to_string() }
    }
}

/// Returns `path`, a list of folders as in `PATH`, with the folders of programs for root appended.
#[must_use]
pub fn search_path(path: &str) -> String {
    format!("{path}{ROOTS_PROGRAMS}")
}

/// Kernels and userlands that were given, by the CPU that they are for. The distribution's are used otherwise, which
/// exist for a PC only.
#[derive(Debug, Clone, Default)]
pub struct GuestImages {
    kernels: BTreeMap<Arch, Utf8PathBuf>,
    programs: BTreeMap<Arch, Utf8PathBuf>,
}

impl GuestImages {
    /// Reads what `kernels` and `userlands`, which must be static busyboxes, are for.
    ///
    /// # Errors
    ///
    /// The reason why a file cannot be used.
    pub fn of(kernels: &[Utf8PathBuf], userlands: &[Utf8PathBuf]) -> Result<Self, String> {
        let mut images = Self::default();
        for kernel in kernels {
            let head = guest_image::head(kernel).map_err(|error| error.to_string())?;
            let arch = guest_image::kernel_arch(&head).ok_or_else(|| {
                format!(
                    "`{kernel}` is {}, wanted a Linux kernel for x86 or 64-bit ARM, not compressed",
                    describe(&head)
                )
            })?;
            if let Some(other) = images.kernels.insert(arch, kernel.clone()) {
                return Err(format!("`{other}` and `{kernel}` are both kernels for {arch}, wanted one"));
            }
        }
        for userland in userlands {
            let head = guest_image::head(userland).map_err(|error| error.to_string())?;
            let arch = elf_arch(&head);
            let arch = arch.ok_or_else(|| format!("`{userland}` is {}, wanted a static busybox", describe(&head)))?;
            if let Some(other) = images.programs.insert(arch, userland.clone()) {
                return Err(format!("`{other}` and `{userland}` are both for {arch}, wanted one"));
            }
        }
        Ok(images)
    }

    /// Returns a file for a CPU that no machine of `platforms` has, and that CPU.
    #[must_use]
    pub fn unneeded(&self, platforms: &BTreeSet<Platform>) -> Option<(&Utf8Path, Arch)> {
        let needed = |arch: Arch| platforms.iter().any(|platform| platform.kernel_arch() == arch);
        let files = self.kernels.iter().chain(&self.programs);
        files.map(|(arch, file)| (file.as_path(), *arch)).find(|(_, arch)| !needed(*arch))
    }

    /// Checks whether a kernel and a userland for `arch` were given.
    #[must_use]
    pub fn are_complete(&self, arch: Arch) -> bool {
        self.kernels.contains_key(&arch) && self.programs.contains_key(&arch)
    }

    /// Describes the files for a report.
    fn versions(&self) -> Result<Vec<TestTool>, fs::Error> {
        let given = [("kernel", &self.kernels), ("userland", &self.programs)];
        let files = given.into_iter().flat_map(|(name, files)| files.values().map(move |file| (name, file)));
        let version = |(name, file): (&str, &Utf8PathBuf)| {
            let sha256 = fs::sha256(file)?.0.to_string();
            Ok(TestTool { name: name.into(), version: file.to_string(), sha256 })
        };
        files.map(version).collect()
    }
}

/// Checks whether machines of `platform` are those of a PC, with the distribution's own kernel.
fn is_pc(platform: Platform) -> bool {
    matches!(platform, Platform::Bios | Platform::EfiX64)
}

impl TestTools {
    /// Finds the tools in `path`, a list of folders as in `PATH`, for machines of `platforms`, including the servers that
    /// `network` needs. `images` take the place of the distribution's.
    ///
    /// # Errors
    ///
    /// [`toolchain::Error::Missing`] lists everything that is missing for a PC, and how to install it. Machines with
    /// other CPUs may lack something.
    pub fn find(
        path: &str,
        (platforms, images): (&BTreeSet<Platform>, &GuestImages),
        network: &TestNetwork,
        cache: &Cache,
        progress: &dyn Progress,
    ) -> Result<Self, toolchain::Error> {
        let path = &search_path(path);
        let kernel = images.kernels.get(&Arch::X86_64);
        let busybox = images.programs.get(&Arch::X86_64);
        let mut needs = needs::boot_test();
        needs.extend(servers(network));
        let given = [("kernel", kernel), ("busybox", busybox)];
        needs.retain(|need| !given.iter().any(|(name, file)| *name == need.name && file.is_some()));
        let tools = toolchain::look(&needs, path, cache, progress)?;
        let file = |name: &str| file(&tools, name);
        let firmware = file("ovmf");
        let pc = MachineTools {
            qemu: file("qemu"),
            variables: variables(&firmware),
            firmware,
            kernel: kernel.cloned().unwrap_or_else(|| file("kernel")),
            modules: None,
            busybox: busybox.cloned().unwrap_or_else(|| file("busybox")),
        };
        let mut versions: Vec<TestTool> = tools.iter().map(TestTool::from).collect();
        let mut machines = BTreeMap::new();
        for platform in platforms {
            let machine = if is_pc(*platform) {
                Ok(pc.clone())
            } else {
                let found = other_machine(*platform, images, path, cache, progress)?;
                found.map(|(machine, tools)| {
                    versions.extend(tools.iter().map(TestTool::from));
                    machine
                })
            };
            machines.insert(*platform, machine);
        }
        versions.extend(images.versions()?);
        Ok(Self { machines, servers: ServerTools::of(&tools, network), versions })
    }

    /// Returns the tools of machines of `platform`.
    ///
    /// # Errors
    ///
    /// What is lacking for such machines.
    pub fn machine(&self, platform: Platform) -> Result<&MachineTools, String> {
        let none = || format!("there is no machine with {}", platform.words());
        self.machines.get(&platform).ok_or_else(none)?.as_ref().map_err(Clone::clone)
    }
}

/// Finds the tools of a machine of `platform` that is no PC's, or what is lacking.
fn other_machine(
    platform: Platform,
    images: &GuestImages,
    path: &str,
    cache: &Cache,
    progress: &dyn Progress,
) -> Result<Result<(MachineTools, Vec<Tool>), String>, toolchain::Error> {
    let Some(needs) = needs::other_machine(platform) else {
        return Ok(Err(format!("there is no machine with {}", platform.words())));
    };
    let arch = platform.kernel_arch();
    let guest = cache.guest(&arch.to_string());
    let kept = |file: Utf8PathBuf| guest.exist().then_some(file);
    let kernel = images.kernels.get(&arch).cloned();
    let modules = kernel.is_none().then(|| guest.modules());
    let kernel = kernel.or_else(|| kept(guest.kernel()));
    let busybox = images.programs.get(&arch).cloned().or_else(|| kept(guest.busybox()));
    let (kernel, busybox) = match (kernel, busybox) {
        (Some(kernel), Some(busybox)) => (kernel, busybox),
        (None, None) => {
            return Ok(Err(format!("no kernel and no userland for {arch} were named, and none are in the cache")));
        }
        (None, Some(_)) => return Ok(Err(format!("no kernel for {arch} was named, and none is in the cache"))),
        (Some(_), None) => return Ok(Err(format!("no userland for {arch} was named, and none is in the cache"))),
    };
    let tools = match toolchain::look(&needs, path, cache, progress) {
        Ok(tools) => tools,
        Err(toolchain::Error::Missing { missing, install }) => {
            return Ok(Err(format!("found no usable {}: {}", missing.join(", "), install.join(", or "))));
        }
        Err(error) => return Err(error),
    };
    let [qemu, firmware] = [&tools[0], &tools[1]].map(|tool| tool.file().to_owned());
    let variables = variables(&firmware);
    let machine = MachineTools { qemu, firmware, variables, kernel, modules, busybox };
    Ok(Ok((machine, tools)))
}

/// Returns the name of the DHCP server in `network`.
fn dhcp(network: &TestNetwork) -> &'static str {
    if let DhcpSetup::Given(daemon, _) = &network.dhcp { daemon.program() } else { "dnsmasq" }
}

/// Returns what `network` needs in addition to what every boot test needs.
pub fn servers(network: &TestNetwork) -> Vec<Need> {
    let mut names = vec![dhcp(network)];
    if let HttpSetup::Given(server, _) = &network.http {
        names.push(server.as_str());
    }
    // It also answers for https.
    names.extend(network.tls.is_some().then_some(needs::NGINX));
    let mut needs = needs::servers();
    needs.retain(|need| names.contains(&need.name));
    needs
}

/// Returns the variables that belong to a UEFI's code, a file beside it; those without keys for Secure Boot.
pub(super) fn variables(code: &Utf8Path) -> Utf8PathBuf {
    let name = code.file_name().unwrap_or_default();
    code.with_file_name(name.replace("CODE", "VARS").replace("-code", "-vars").replace(".secboot", ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cpu_has_its_own_kernel_and_userland() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8]| {
            let path = Utf8Path::from_path(folder.path()).unwrap().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        let mut arm = vec![0; 0x300];
        arm[0x38..0x3c].copy_from_slice(b"ARM\x64");
        let (kernel, other) = (file("a", &arm), file("b", &arm));
        let busybox = file("busybox", &[b"\x7fELF".as_slice(), &[2; 14], &[183, 0]].concat());
        let images = GuestImages::of(std::slice::from_ref(&kernel), std::slice::from_ref(&busybox)).unwrap();
        assert!(images.are_complete(Arch::Arm64) && !images.are_complete(Arch::X86_64));
        assert_eq!(images.unneeded(&[Platform::EfiArm64].into()), None);
        assert_eq!(images.unneeded(&[Platform::Bios].into()), Some((kernel.as_path(), Arch::Arm64)));
        let twice = GuestImages::of(&[kernel.clone(), other.clone()], &[]).unwrap_err();
        assert_eq!(twice, format!("`{kernel}` and `{other}` are both kernels for arm64, wanted one"));
        let text = file("text", b"#!/bin/sh\n");
        let wanted = "wanted a Linux kernel for x86 or 64-bit ARM, not compressed";
        assert_eq!(
            GuestImages::of(std::slice::from_ref(&text), &[]).unwrap_err(),
            format!("`{text}` is a text, {wanted}")
        );
    }

    #[test]
    fn variables_stand_beside_the_code() {
        for (code, vars) in [
            ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
            ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
            ("/usr/share/qemu/ovmf-x86_64-code.bin", "/usr/share/qemu/ovmf-x86_64-vars.bin"),
            ("/usr/share/OVMF/OVMF32_CODE_4M.secboot.fd", "/usr/share/OVMF/OVMF32_VARS_4M.fd"),
            ("/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"),
            ("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
            ("/usr/share/edk2/x64/OVMF_CODE.secboot.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
        ] {
            assert_eq!(variables(Utf8Path::new(code)), vars);
        }
    }
}
