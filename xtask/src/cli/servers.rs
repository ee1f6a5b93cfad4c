//! Arguments of the commands for servers and for the machines that boot.

use camino::Utf8PathBuf;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use netboot_loaders::deploy::target::local_path;
use netboot_loaders::serve::server_config::ServerKind;

use super::ConfigArgs;

/// Arguments of `recipe`.
#[derive(Args)]
pub struct Recipe {
    /// Server to configure; without it, the servers are listed
    #[arg(value_parser = PossibleValuesParser::new(ServerKind::ALL.map(ServerKind::as_str)).try_map(|name| name.parse::<ServerKind>()))]
    pub kind: Option<ServerKind>,
    /// Write all files of the recipe to this folder, instead of printing the configuration
    #[arg(long, value_name = "DIR", value_parser = local_path)]
    pub out: Option<Utf8PathBuf>,
    /// Print what undoes the configuration, if that needs more than removing a file
    #[arg(long, conflicts_with = "out", requires = "kind")]
    pub undo: bool,
    /// Description of the network [default: embed-scripts/network.toml]
    #[arg(long, value_name = "FILE", value_parser = local_path)]
    pub network: Option<Utf8PathBuf>,
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// Arguments of `ignition`.
#[derive(Args)]
pub struct Ignition {
    /// Host in network.toml whose host name to set
    #[arg(long, value_name = "NAME", conflicts_with = "butane", value_parser = super::arguments::name)]
    pub host: Option<String>,
    /// Write the configuration to this file, instead of printing it
    #[arg(long, value_name = "FILE", value_parser = local_path)]
    pub out: Option<Utf8PathBuf>,
    /// Butane file to convert to an Ignition configuration with butane
    #[arg(long, value_name = "FILE", conflicts_with = "network", value_parser = local_path)]
    pub butane: Option<Utf8PathBuf>,
    /// Description of the network [default: embed-scripts/network.toml]
    #[arg(long, value_name = "FILE", value_parser = local_path)]
    pub network: Option<Utf8PathBuf>,
    #[command(flatten)]
    pub config: ConfigArgs,
}
