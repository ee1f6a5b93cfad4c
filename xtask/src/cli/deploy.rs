//! The arguments of `deploy`.

use camino::Utf8PathBuf;
use clap::Args;
use netboot_loaders::deploy::target::{DeployTarget, local_path};

/// `deploy`.
#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct Deploy {
    /// Where to: `sftp://user@host/path`, or a folder of this machine
    pub target: DeployTarget,
    /// The tree or the tarball [default: dist/tftp]
    #[arg(long, value_name = "PATH", value_parser = local_path)]
    pub tree: Option<Utf8PathBuf>,
    /// Prints what would be done, and does nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Removes what an earlier deployment put there and this tree does not have
    #[arg(long)]
    pub prune: bool,
    /// Replaces files that somebody else put there
    #[arg(long)]
    pub replace: bool,
    /// Reads every file back to see whether it has changed, instead of going by size and time
    #[arg(long)]
    pub read_all: bool,
    /// How often in a row the connection may be lost without having got any further
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub attempts: u32,
    /// An option for ssh, as in `Port=2222` or `IdentityFile=key`; may be given more than once
    #[arg(long = "ssh-option", value_name = "KEY=VALUE", help_heading = "How a server is reached", value_parser = ssh_option)]
    pub ssh_options: Vec<String>,
    /// A configuration file for ssh, instead of the user's
    #[arg(long, value_name = "FILE", help_heading = "How a server is reached", value_parser = local_path)]
    pub ssh_config: Option<Utf8PathBuf>,
    /// Another program than ssh, which understands the same arguments
    #[arg(long, value_name = "PROGRAM", help_heading = "How a server is reached", value_parser = local_path)]
    pub ssh: Option<Utf8PathBuf>,
    /// Installs ssh first where it is missing, as root or through sudo
    #[arg(long)]
    pub install_deps: bool,
}

fn ssh_option(text: &str) -> Result<String, String> {
    let known = text.split_once('=').is_some_and(|(key, _)| !key.is_empty());
    if known { Ok(text.to_owned()) } else { Err("wanted KEY=VALUE, as in `IdentityFile=key`".into()) }
}
