//! Arguments of `mirror`.

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

/// Publishers that `mirror` supports.
#[derive(Subcommand)]
pub enum MirrorCommand {
    /// Mirrors Fedora CoreOS: kernel, initramfs and rootfs
    FedoraCoreos {
        /// Stream: stable, testing or next
        #[arg(long, value_name = "NAME", default_value = "stable")]
        stream: Stream,
        /// Architecture: x86_64, aarch64, ppc64le or s390x
        #[arg(long, value_name = "NAME", default_value = "x86_64")]
        arch: CoreosArch,
        /// Address of the stream metadata [default: Fedora's]
        #[arg(long, value_name = "URL", value_parser = WebAddressParser)]
        stream_url: Option<Url>,
        #[command(flatten)]
        args: MirrorArgs,
    },
    /// Mirrors Flatcar: kernel and initramfs, which contains the rest
    Flatcar {
        /// Channel: stable, beta or alpha
        #[arg(long, value_name = "NAME", default_value = "stable")]
        channel: Channel,
        /// Architecture: amd64 or arm64
        #[arg(long, value_name = "NAME", default_value = "amd64")]
        arch: FlatcarArch,
        #[command(flatten)]
        args: MirrorArgs,
    },
}

/// Options of every mirror.
#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct MirrorArgs {
    /// Folder of this mirror
    #[arg(long, value_name = "DIR", value_parser = local_path)]
    pub dest: Utf8PathBuf,
    /// Number of sets to keep, including the one in use
    #[arg(long, value_name = "N", default_value = "4")]
    pub keep: Keep,
    /// How to present the set in use: auto, symbolic, hard or copy
    #[arg(long, value_name = "HOW", default_value = "auto")]
    pub links: Links,
    /// Recompute the digests of the current set if it is already there
    #[arg(long)]
    pub check: bool,
    /// Accept the publisher's current version even if it is older than the one in use
    #[arg(long)]
    pub allow_older: bool,
    /// Keep the release's shim, too, with which machines with Secure Boot start the kernel
    #[arg(long)]
    pub shim: bool,
    /// Accept only images that are signed with a key named in vendor/pins.toml
    #[arg(long)]
    pub verify_signatures: bool,
    /// File with the keys [default: the address in vendor/pins.toml]
    #[arg(long, value_name = "FILE", requires = "verify_signatures", value_parser = local_path)]
    pub keys: Option<Utf8PathBuf>,
    /// Server with the same paths as the publisher's, to use instead
    #[arg(long, value_name = "URL", value_parser = WebAddressParser)]
    pub base_url: Option<Url>,
    /// Exit code if something has changed; it must not be the code of a failure
    #[arg(long, value_name = "CODE", value_parser = exit::of_success)]
    pub exit_code_on_update: Option<u8>,
    /// Print a daily job for systemd, cron or synology, and do nothing
    #[arg(long, value_name = "FOR")]
    pub print_schedule: Option<Scheduler>,
}
