//! The arguments of the commands for what is around a tree: servers, and the machines that boot.

use camino::Utf8PathBuf;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use netboot_loaders::deploy::target::local_path;
use netboot_loaders::serve::server_config::ServerKind;

use super::ConfigArgs;

/// `recipe`.
#[derive(Args)]
pub struct Recipe {
    /// For which server; without it, the servers are listed
    #[arg(value_parser = PossibleValuesParser::new(ServerKind::ALL.map(ServerKind::as_str)).try_map(|name| name.parse::<ServerKind>()))]
    pub kind: Option<ServerKind>,
    /// Writes all files of the recipe into this folder, instead of printing the configuration
    #[arg(long, value_name = "DIR", value_parser = local_path)]
    pub out: Option<Utf8PathBuf>,
    /// Prints what takes the configuration back, where that is more than removing a file
    #[arg(long, conflicts_with = "out", requires = "kind")]
    pub undo: bool,
    /// The description of the network [default: embed-scripts/network.toml]
    #[arg(long, value_name = "FILE", value_parser = local_path)]
    pub network: Option<Utf8PathBuf>,
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// `ignition`.
#[derive(Args)]
pub struct Ignition {
    /// For this host of network.toml: it gets its host name
    #[arg(long, value_name = "NAME", conflicts_with = "butane", value_parser = super::arguments::name)]
    pub host: Option<String>,
    /// Writes the configuration into this file, instead of printing it
    #[arg(long, value_name = "FILE", value_parser = local_path)]
    pub out: Option<Utf8PathBuf>,
    /// A file of Butane's, to be made into Ignition's by butane itself
    #[arg(long, value_name = "FILE", conflicts_with = "network", value_parser = local_path)]
    pub butane: Option<Utf8PathBuf>,
    /// The description of the network [default: embed-scripts/network.toml]
    #[arg(long, value_name = "FILE", value_parser = local_path)]
    pub network: Option<Utf8PathBuf>,
}
