//! Arguments of `deploy`.

use camino::Utf8PathBuf;
use clap::Args;
use netboot_loaders::deploy::target::{DeployTarget, local_path};

/// Arguments of `deploy`.
#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct Deploy {
    /// Destination: `sftp://user@host/path`, or a folder on this machine
    pub target: DeployTarget,
    /// Tree or tarball [default: dist/tftp]
    #[arg(long, value_name = "PATH", value_parser = local_path)]
    pub tree: Option<Utf8PathBuf>,
    /// Print what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Remove files of earlier deployments that are not in this tree
    #[arg(long)]
    pub prune: bool,
    /// Replace files that others put there
    #[arg(long)]
    pub replace: bool,
    /// Read every file back to detect changes, instead of comparing size and time
    #[arg(long)]
    pub read_all: bool,
    /// Give up after this many lost connections in a row without progress
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub attempts: u32,
    /// Option for ssh, such as `Port=2222` or `IdentityFile=key`; repeatable
    #[arg(long = "ssh-option", value_name = "KEY=VALUE", help_heading = "Connection", value_parser = ssh_option)]
    pub ssh_options: Vec<String>,
    /// Configuration file for ssh, instead of the user's
    #[arg(long, value_name = "FILE", help_heading = "Connection", value_parser = local_path)]
    pub ssh_config: Option<Utf8PathBuf>,
    /// Program to run instead of ssh, with the same arguments
    #[arg(long, value_name = "PROGRAM", help_heading = "Connection", value_parser = local_path)]
    pub ssh: Option<Utf8PathBuf>,
    /// Install ssh first if it is missing, as root or through sudo
    #[arg(long)]
    pub install_deps: bool,
}

fn ssh_option(text: &str) -> Result<String, String> {
    let known = text.split_once('=').is_some_and(|(key, _)| !key.is_empty());
    if known { Ok(text.to_owned()) } else { Err("wanted KEY=VALUE, as in `IdentityFile=key`".into()) }
}
