//! Tools that machines and their network consist of. All of them come from the distribution.

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;

use super::network::{DhcpSetup, HttpSetup, TestNetwork};
use crate::base::fs;
use crate::base::paths::Cache;
use crate::base::progress::Progress;
use crate::toolchain::needs::{self, Need};
use crate::toolchain::{self, Tool};

/// Folders where distributions install programs for root; a user's `PATH` may lack them.
const ROOTS_PROGRAMS: &str = ":/usr/local/sbin:/usr/sbin:/sbin";

/// Tools that are installed and can run.
#[derive(Debug, Clone)]
pub struct TestTools {
    /// `qemu-system-x86_64`.
    pub qemu: Utf8PathBuf,
    /// OVMF's code.
    pub firmware: Utf8PathBuf,
    /// OVMF's variables in their initial state.
    pub variables: Utf8PathBuf,
    /// `dnsmasq`.
    pub dnsmasq: Utf8PathBuf,
    /// The DHCP server, if it is another one.
    pub dhcp: Utf8PathBuf,
    /// `nginx`, if it is needed.
    pub nginx: Utf8PathBuf,
    /// `ip`.
    pub ip: Utf8PathBuf,
    /// A Linux kernel.
    pub kernel: Utf8PathBuf,
    /// A static busybox.
    pub busybox: Utf8PathBuf,
    /// Version of each tool.
    pub versions: Vec<TestTool>,
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

/// Returns `path`, a list of folders as in `PATH`, with the folders of programs for root appended.
#[must_use]
pub fn search_path(path: &str) -> String {
    format!("{path}{ROOTS_PROGRAMS}")
}

impl TestTools {
    /// Finds the tools in `path`, a list of folders as in `PATH`, including the servers that `network` needs. Uses
    /// `kernel` if it is given.
    ///
    /// # Errors
    ///
    /// [`toolchain::Error::Missing`] lists everything that is missing, and how to install it.
    pub fn find(
        path: &str,
        network: &TestNetwork,
        kernel: Option<&Utf8Path>,
        cache: &Cache,
        progress: &dyn Progress,
    ) -> Result<Self, toolchain::Error> {
        let mut needs = needs::boot_test();
        needs.extend(servers(network));
        needs.retain(|need| kernel.is_none() || need.name != "kernel");
        let tools = toolchain::look(&needs, &search_path(path), cache, progress)?;
        let file = |name: &str| {
            let tool = tools.iter().find(|tool| tool.name == name);
            tool.map(|tool| tool.file().to_owned()).unwrap_or_default()
        };
        let firmware = file("ovmf");
        let part = |tool: &Tool| TestTool {
            name: tool.name.clone(),
            version: tool.version.clone(),
            sha256: tool.sha256.to_string(),
        };
        let mut versions: Vec<TestTool> = tools.iter().map(part).collect();
        if let Some(kernel) = kernel {
            let sha256 = fs::sha256(kernel)?.0.to_string();
            versions.push(TestTool { name: "kernel".into(), version: kernel.to_string(), sha256 });
        }
        Ok(Self {
            qemu: file("qemu"),
            variables: variables(&firmware),
            firmware,
            dnsmasq: file("dnsmasq"),
            dhcp: file(dhcp(network)),
            nginx: file(needs::NGINX),
            ip: file("ip"),
            kernel: kernel.map_or_else(|| file("kernel"), ToOwned::to_owned),
            busybox: file("busybox"),
            versions,
        })
    }
}

/// Returns the name of the DHCP server in `network`.
fn dhcp(network: &TestNetwork) -> &'static str {
    if let DhcpSetup::Given(daemon, _) = &network.dhcp { daemon.program() } else { "dnsmasq" }
}

/// Returns what `network` needs in addition to what every boot test needs.
pub fn servers(network: &TestNetwork) -> Vec<Need> {
    let nginx = matches!(network.http, HttpSetup::Nginx(_)) || network.tls.is_some();
    let mut needs = needs::servers();
    needs.retain(|need| need.name == dhcp(network) || (nginx && need.name == needs::NGINX));
    needs
}

/// Returns the variables that belong to OVMF's code, a file beside it.
fn variables(code: &Utf8Path) -> Utf8PathBuf {
    let name = code.file_name().unwrap_or_default();
    code.with_file_name(name.replace("CODE", "VARS").replace("-code", "-vars"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_stand_beside_the_code() {
        for (code, vars) in [
            ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
            ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
            ("/usr/share/qemu/ovmf-x86_64-code.bin", "/usr/share/qemu/ovmf-x86_64-vars.bin"),
        ] {
            assert_eq!(variables(Utf8Path::new(code)), vars);
        }
    }
}
