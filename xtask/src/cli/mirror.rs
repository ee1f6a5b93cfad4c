//! The arguments of `mirror`.

use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use netboot_loaders::deploy::target::local_path;
use netboot_loaders::mirror::current::Links;
use netboot_loaders::mirror::schedule::Scheduler;
use netboot_loaders::mirror::store::Keep;
use netboot_loaders::mirror::streams::{Channel, CoreosArch, FlatcarArch, Stream};

use netboot_loaders::base::url::Url;

use super::arguments::WebAddressParser;
use crate::exit;

/// `mirror`.
#[derive(Subcommand)]
pub enum MirrorCommand {
    /// Fedora CoreOS: kernel, initramfs and rootfs
    FedoraCoreos {
        /// The stream: stable, testing or next
        #[arg(long, value_name = "NAME", default_value = "stable")]
        stream: Stream,
        /// The processor: x86_64, aarch64, ppc64le or s390x
        #[arg(long, value_name = "NAME", default_value = "x86_64")]
        arch: CoreosArch,
        /// The address of the metadata of the stream [default: Fedora's]
        #[arg(long, value_name = "URL", value_parser = WebAddressParser)]
        stream_url: Option<Url>,
        #[command(flatten)]
        args: MirrorArgs,
    },
    /// Flatcar: kernel and initramfs, which has the rest in it
    Flatcar {
        /// The channel: stable, beta or alpha
        #[arg(long, value_name = "NAME", default_value = "stable")]
        channel: Channel,
        /// The processor: amd64 or arm64
        #[arg(long, value_name = "NAME", default_value = "amd64")]
        arch: FlatcarArch,
        #[command(flatten)]
        args: MirrorArgs,
    },
}

/// What every mirror understands.
#[derive(Args)]
pub struct MirrorArgs {
    /// The folder of this mirror
    #[arg(long, value_name = "DIR", value_parser = local_path)]
    pub dest: Utf8PathBuf,
    /// How many sets are kept, the one in use among them
    #[arg(long, value_name = "N", default_value = "4")]
    pub keep: Keep,
    /// How the set in use is shown: auto, symbolic, hard or copy
    #[arg(long, value_name = "HOW", default_value = "auto")]
    pub links: Links,
    /// Computes the digests of the current set again, where it is there already
    #[arg(long)]
    pub check: bool,
    /// Takes what the publisher calls current also where it is older than the version in use
    #[arg(long)]
    pub allow_older: bool,
    /// Brings in only what is signed with a key that vendor/pins.toml names
    #[arg(long)]
    pub verify_signatures: bool,
    /// The file with the keys [default: the address in vendor/pins.toml]
    #[arg(long, value_name = "FILE", requires = "verify_signatures", value_parser = local_path)]
    pub keys: Option<Utf8PathBuf>,
    /// A server with the publisher's paths, instead of the publisher's own
    #[arg(long, value_name = "URL", value_parser = WebAddressParser)]
    pub base_url: Option<Url>,
    /// The exit code where something has changed; no code that says that the command failed
    #[arg(long, value_name = "CODE", value_parser = exit::of_success)]
    pub exit_code_on_update: Option<u8>,
    /// Prints what runs this once a day, and does nothing: for systemd, cron or synology
    #[arg(long, value_name = "FOR")]
    pub print_schedule: Option<Scheduler>,
}
