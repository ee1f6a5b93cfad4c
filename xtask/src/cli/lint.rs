//! Arguments of `lint`.

use camino::Utf8PathBuf;
use clap::{Args, ValueEnum};
use netboot_loaders::base::url::Url;
use netboot_loaders::deploy::target::local_path;
use netboot_loaders::lint::LintPlace;
use netboot_script::{IpxeRelease, ScriptPlatform};

use super::arguments::{name, web_address};

/// Arguments of `lint`.
#[derive(Args)]
pub struct LintArgs {
    /// Scripts, loaders, folders, trees, or addresses of scripts [default: the scripts of embed-scripts/]
    #[arg(value_name = "SCRIPT", value_parser = place)]
    pub scripts: Vec<String>,
    /// Platform that the scripts are for [default: any, or that of the loader]
    #[arg(long = "for", value_name = "PLATFORM")]
    pub platform: Option<LintPlatform>,
    /// Version of iPXE that the scripts are for
    #[arg(long, value_name = "VERSION", default_value = "2.0.0")]
    pub ipxe: LintRelease,
    /// Configuration of vendor/linked-objects: what its loaders lack is known exactly
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub config: Option<String>,
    /// Fail on warnings, too
    #[arg(long, value_name = "WHAT")]
    pub deny: Option<Denied>,
    /// Also write the findings to this file, as SARIF 2.1.0
    #[arg(long, value_name = "FILE", value_parser = local_path)]
    pub sarif: Option<Utf8PathBuf>,
    /// Open no socket
    #[arg(long)]
    pub offline: bool,
    /// Serve an editor over standard input and output, by the language server protocol
    #[arg(long, conflicts_with_all = ["scripts", "deny", "sarif", "offline"])]
    pub lsp: bool,
}

/// Platform of a script.
#[derive(Clone, Copy, ValueEnum)]
pub enum LintPlatform {
    /// BIOS.
    Bios,
    /// UEFI.
    Efi,
    /// UEFI with Secure Boot.
    SecureBoot,
    /// A process of Linux.
    Linux,
}

impl From<LintPlatform> for ScriptPlatform {
    fn from(platform: LintPlatform) -> Self {
        match platform {
            LintPlatform::Bios => Self::Bios,
            LintPlatform::Efi => Self::Efi,
            LintPlatform::SecureBoot => Self::SecureBoot,
            LintPlatform::Linux => Self::Linux,
        }
    }
}

/// Version of iPXE.
#[derive(Clone, Copy, ValueEnum)]
pub enum LintRelease {
    /// Release 1.21.1.
    #[value(name = "1.21.1")]
    V1_21_1,
    /// Release 2.0.0.
    #[value(name = "2.0.0")]
    V2_0_0,
    /// The newest known commit.
    Master,
}

impl From<LintRelease> for IpxeRelease {
    fn from(release: LintRelease) -> Self {
        match release {
            LintRelease::V1_21_1 => Self::V1_21_1,
            LintRelease::V2_0_0 => Self::V2_0_0,
            LintRelease::Master => Self::Master,
        }
    }
}

/// What makes the command fail besides errors.
#[derive(Clone, Copy, ValueEnum)]
pub enum Denied {
    /// Warnings.
    Warnings,
}

/// Checks the address or the path of a script.
fn place(text: &str) -> Result<String, String> {
    if is_web(text) { web_address(text) } else { local_path(text).map(Utf8PathBuf::into_string) }
}

fn is_web(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

impl LintArgs {
    /// Returns the places that were named.
    pub fn places(&self) -> Vec<LintPlace> {
        let place = |text: &String| {
            if is_web(text) { LintPlace::Web(Url::from(text.as_str())) } else { LintPlace::Path(text.into()) }
        };
        self.scripts.iter().map(place).collect()
    }
}
