//! The arguments of `bench`.

use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use netboot_loaders::deploy::target::local_path;
use netboot_loaders::loader::target::Loader;

use super::OriginArgs;

/// What is asked of every measurement.
#[derive(Args)]
pub struct Measure {
    /// How often everything is measured: in each round, all that is compared runs once
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..))]
    pub pairs: u8,
    /// The file that the numbers go to [default: dist/bench.json]
    #[arg(long, value_name = "FILE", value_parser = local_path)]
    pub json: Option<Utf8PathBuf>,
    /// A folder for source trees and published trees [default: target/bench]
    #[arg(long, value_name = "DIR", value_parser = local_path)]
    pub scratch: Option<Utf8PathBuf>,
    #[command(flatten)]
    pub origins: OriginArgs,
}

/// `bench`.
#[derive(Subcommand)]
pub enum Bench {
    /// A cold build of three loaders, against stock make in a fresh source tree
    Cold(Measure),
    /// Nothing to do, and another script for three loaders, against make in a tree that is built
    Warm(Measure),
    /// Many sites, against incremental make and against iPXE's own packer for each
    #[command(after_help = "Room needed: 1.7 MB for each site with three loaders. Incremental make and iPXE's
packer run for a few sites only, and are extrapolated.

Examples:
  cargo xtask bench sites                            1,000 sites
  cargo xtask bench sites --linear                   1,000 sites, then 10,000: 17 GB
  cargo xtask bench sites --count 50 --pairs 1 --make-sites 3")]
    Sites(BenchSites),
    /// A file of 86 MB through loaders in virtual machines, over HTTP against TFTP
    Transfer(Measure),
    /// Prints what was measured as a table in Markdown
    Table {
        /// The file with the numbers [default: dist/bench.json]
        #[arg(value_parser = local_path)]
        json: Option<Utf8PathBuf>,
    },
}

/// `bench sites`.
#[derive(Args)]
pub struct BenchSites {
    /// How many sites
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=99_999))]
    pub count: u32,
    /// The loaders of each site
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "ipxe.pxe,undionly.kpxe,ipxe.efi")]
    pub loaders: Vec<Loader>,
    /// For how many sites make and iPXE's packer run
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub make_sites: u32,
    /// Measures ten times as many sites, too
    #[arg(long)]
    pub linear: bool,
    #[command(flatten)]
    pub measure: Measure,
}
