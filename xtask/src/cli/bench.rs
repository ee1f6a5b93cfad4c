//! Arguments of `bench`.

use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use netboot_loaders::deploy::target::local_path;
use netboot_loaders::loader::target::Loader;

use super::OriginArgs;

/// Options of every measurement.
#[derive(Args)]
pub struct Measure {
    /// Number of rounds; in each round, everything that is compared runs once
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..))]
    pub pairs: u8,
    /// File for the results [default: dist/bench.json]
    #[arg(long, value_name = "FILE", value_parser = local_path)]
    pub json: Option<Utf8PathBuf>,
    /// Folder for source trees and published trees [default: target/bench]
    #[arg(long, value_name = "DIR", value_parser = local_path)]
    pub scratch: Option<Utf8PathBuf>,
    #[command(flatten)]
    pub origins: OriginArgs,
}

/// Measurements of `bench`.
#[derive(Subcommand)]
pub enum Bench {
    /// Measures a cold build of three loaders, against stock make in a fresh source tree
    Cold(Measure),
    /// Measures three loaders with nothing to do and with a new script, against make in a built tree
    Warm(Measure),
    /// Measures many sites, against incremental make and against iPXE's own packer for each
    #[command(after_help = "Each site with three loaders needs 1.7 MB. Incremental make and iPXE's packer
run for a few sites only, and their times are extrapolated.

Examples:
  cargo xtask bench sites                            1,000 sites
  cargo xtask bench sites --linear                   1,000 and 10,000: 17 GB
  cargo xtask bench sites --count 50 --pairs 1 --make-sites 3")]
    Sites(BenchSites),
    /// Measures loading a file of 86 MB in virtual machines, over HTTP against TFTP
    Transfer(Measure),
    /// Prints the results as a Markdown table
    Table {
        /// File with the results [default: dist/bench.json]
        #[arg(value_parser = local_path)]
        json: Option<Utf8PathBuf>,
    },
}

impl Bench {
    /// Returns the options of the measurement; `None` for the command that prints results.
    pub fn measure(&self) -> Option<&Measure> {
        match self {
            Self::Cold(measure) | Self::Warm(measure) | Self::Transfer(measure) => Some(measure),
            Self::Sites(args) => Some(&args.measure),
            Self::Table { .. } => None,
        }
    }
}

/// Arguments of `bench sites`.
#[derive(Args)]
pub struct BenchSites {
    /// Number of sites
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=99_999))]
    pub count: u32,
    /// Loaders of each site
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "ipxe.pxe,undionly.kpxe,ipxe.efi")]
    pub loaders: Vec<Loader>,
    /// Number of sites that make and iPXE's packer build
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub make_sites: u32,
    /// Also measure ten times as many sites
    #[arg(long)]
    pub linear: bool,
    #[command(flatten)]
    pub measure: Measure,
}
