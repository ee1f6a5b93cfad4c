//! Arguments of each command.

use camino::Utf8PathBuf;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use netboot_loaders::base::url::Url;
use netboot_loaders::boot_test::case::NicModel;
use netboot_loaders::boot_test::daemon::{Daemon, WebServer};
use netboot_loaders::config::sites::Options;
use netboot_loaders::deploy::target::local_path;
use netboot_loaders::fetch::git;
use netboot_loaders::reproduce::variation::Variation;
use netboot_script::address::FetchAddress;

/// Origins that inputs may come from.
#[derive(Args, Clone, Default)]
pub struct OriginArgs {
    /// Open no socket: use only the cache and the given files
    #[arg(long)]
    pub offline: bool,
    /// Git URL or local path of iPXE, instead of the pinned address
    #[arg(long, value_name = "URL", value_parser = origin)]
    pub ipxe_url: Option<String>,
    /// Path or URL of the syslinux release, .zip or .tar.xz, instead of the pinned addresses
    #[arg(long, value_name = "FILE", value_parser = origin)]
    pub syslinux_archive: Option<String>,
    /// Folder with the files of iPXE's signed set, or their archive, instead of the pinned addresses
    #[arg(long, value_name = "PATH", value_parser = local_path)]
    pub secure_boot_set: Option<Utf8PathBuf>,
    /// Source bundle, written by bundle-sources, to take everything from
    #[arg(long, value_name = "FILE", value_parser = local_path)]
    pub sources_from: Option<Utf8PathBuf>,
}

/// Parses a day as in `2040-01-31`.
fn date(text: &str) -> Result<(i16, i8, i8), String> {
    let parts: Vec<&str> = text.split('-').collect();
    let day = match parts[..] {
        [year, month, day] => year.parse().ok().zip(month.parse().ok()).zip(day.parse().ok()),
        _ => None,
    };
    let day = day.map(|((year, month), day)| (year, month, day));
    let is_day = |(year, month, day): &(i16, i8, i8)| {
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days = match month {
            2 => 28 + i8::from(is_leap),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        (1980..=9999).contains(year) && (1..=12).contains(month) && (1..=days).contains(day)
    };
    day.filter(|day| is_day(day) && !text.contains('+'))
        .ok_or_else(|| "wanted a day from 1980 on, as in 2040-01-31".to_owned())
}

/// Configuration in addition to sites.toml.
#[derive(Args, Clone, Default)]
pub struct ConfigArgs {
    /// Inventory of more sites: a CSV file, or a folder of *.toml; repeatable
    #[arg(long = "sites", value_name = "PATH", help_heading = "Configuration", value_parser = local_path)]
    pub inventories: Vec<Utf8PathBuf>,
    /// Give a script that is too long for its slot a larger one, which needs a separate link
    #[arg(long, help_heading = "Configuration")]
    pub relink: bool,
}

impl From<&ConfigArgs> for Options {
    fn from(args: &ConfigArgs) -> Self {
        Self { inventories: args.inventories.clone(), relink: args.relink }
    }
}

/// Arguments of `build-loaders`.
#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct BuildLoaders {
    #[command(flatten)]
    pub origins: OriginArgs,
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Folder for the tree [default: dist/tftp]
    #[arg(long, value_name = "DIR", value_parser = local_path)]
    pub out: Option<Utf8PathBuf>,
    /// Also write the tarball beside the tree
    #[arg(long)]
    pub archive: bool,
    /// Write a page about the tree beside it, index.html, with recipes if embed-scripts/network.toml is filled in
    #[arg(long)]
    pub index: bool,
    /// Remove files that others have put into the old tree
    #[arg(long)]
    pub replace: bool,
    /// Accept the objects that are linked now as the new baseline in vendor/linked-objects
    #[arg(long)]
    pub update_baseline: bool,
    /// Print what would be done, and do nothing
    #[arg(long)]
    pub plan: bool,
    /// Install missing tools first, as root or through sudo
    #[arg(long)]
    pub install_deps: bool,
    #[command(flatten)]
    pub make: MakeArgs,
}

/// Arguments of `bundle-bases`.
#[derive(Args)]
pub struct BundleBases {
    #[command(flatten)]
    pub origins: OriginArgs,
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Path of the bundle [default: dist/netboot-loaders-VERSION-bases.tar.gz]
    #[arg(long, value_name = "FILE", value_parser = local_path)]
    pub out: Option<Utf8PathBuf>,
    /// Install missing tools first, as root or through sudo
    #[arg(long)]
    pub install_deps: bool,
    #[command(flatten)]
    pub make: MakeArgs,
}

/// Settings for make; none of them changes a byte of a loader.
#[derive(Args, Clone)]
pub struct MakeArgs {
    /// Number of parallel jobs of make [default: the number of processors]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// Call the compiler through a launcher such as ccache
    #[arg(long, value_name = "PROGRAM", value_parser = name)]
    pub launcher: Option<String>,
    /// Do not treat compiler warnings as errors
    #[arg(long)]
    pub no_werror: bool,
}

/// Arguments of `reproduce`.
#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct Reproduce {
    /// Tree, tarball or manifest.json to compare with, or its address
    #[arg(long, value_name = "RELEASE")]
    pub against: Option<String>,
    /// Vary only this, as named by --list; repeatable
    #[arg(long, value_name = "NAME", help_heading = "Variations")]
    pub vary: Vec<Variation>,
    /// Do not vary this; repeatable
    #[arg(long, value_name = "NAME", help_heading = "Variations", conflicts_with = "vary")]
    pub without: Vec<Variation>,
    /// Vary nothing
    #[arg(long, help_heading = "Variations", conflicts_with_all = ["vary", "without"])]
    pub plain: bool,
    /// List what can be varied, and build nothing
    #[arg(long, help_heading = "Variations")]
    pub list: bool,
    /// Build all loaders that there are compilers for, for the root of the tree, and no sites
    #[arg(long, conflicts_with = "against")]
    pub all_loaders: bool,
    /// Record the digests of this toolchain in vendor/toolchains.toml under this name
    #[arg(long, value_name = "NAME", requires = "all_loaders", conflicts_with_all = ["plain", "against"], value_parser = name)]
    pub record: Option<String>,
    /// Run diffoscope on the files that differ
    #[arg(long)]
    pub diffoscope: bool,
    /// Fail if a requested variation is not possible here
    #[arg(long)]
    pub require_real: bool,
    /// Keep the build trees for inspection
    #[arg(long)]
    pub keep: bool,
    /// Install missing tools first, as root or through sudo
    #[arg(long)]
    pub install_deps: bool,
    #[command(flatten)]
    pub config: ConfigArgs,
    #[command(flatten)]
    pub origins: OriginArgs,
    #[command(flatten)]
    pub make: MakeArgs,
}

/// Arguments of `release`.
#[derive(Args)]
pub struct ReleaseArgs {
    /// Write the files, and publish nothing
    #[arg(long, conflicts_with = "files")]
    pub dry_run: bool,
    /// Publish the files in this folder, after verifying their checksums
    #[arg(long, value_name = "DIR", conflicts_with = "out", value_parser = local_path)]
    pub files: Option<Utf8PathBuf>,
    /// Tag of the release, which must be v followed by the version
    #[arg(long, value_name = "TAG", value_parser = name)]
    pub tag: Option<String>,
    /// Folder for the files [default: dist/release]
    #[arg(long, value_name = "DIR", value_parser = local_path)]
    pub out: Option<Utf8PathBuf>,
    /// Remove files that others have put into the old tree
    #[arg(long)]
    pub replace: bool,
    /// Install missing tools first, as root or through sudo
    #[arg(long)]
    pub install_deps: bool,
    #[command(flatten)]
    pub origins: OriginArgs,
    #[command(flatten)]
    pub make: MakeArgs,
}

/// Arguments of `inspect`.
#[derive(Args)]
pub struct Inspect {
    /// Loader to describe
    #[arg(value_parser = local_path)]
    pub loader: Utf8PathBuf,
    /// Tree or manifest to look the loader up in [default: the trees that contain the loader, and dist/tftp]
    #[arg(long, value_name = "PATH", value_parser = local_path)]
    pub manifest: Option<Utf8PathBuf>,
}

/// Arguments of `clean`.
#[derive(Args)]
pub struct Clean {
    /// Print what would be removed, and remove nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Number of days for which files must be unused, if this project does not need them
    #[arg(long, value_name = "DAYS", default_value_t = 14)]
    pub unused_for: u32,
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// Arguments of `doctor`.
#[derive(Args)]
pub struct Doctor {
    /// Work to check the tools for
    #[arg(long = "for", value_name = "WORK", default_value = "build")]
    pub work: DoctorPurpose,
    /// Install missing tools, as root or through sudo
    #[arg(long)]
    pub install_deps: bool,
    /// Allow boot tests without root, through sudo: user namespaces, readable kernels, a tap device
    #[arg(long)]
    pub prepare_host: bool,
}

/// Work that needs the tools.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "kebab-case")]
pub enum DoctorPurpose {
    /// Building loaders.
    Build,
    /// Booting loaders.
    BootTest,
    /// Rebuilding loaders under varied conditions.
    Reproduce,
    /// Checking the signatures of mirrored images.
    Mirror,
    /// Deploying loaders to a server.
    Deploy,
    /// Running this repository's checks.
    Check,
}

/// Arguments of `update`.
#[derive(Args)]
pub struct Update {
    /// Pins to update [default: both]
    #[arg(value_enum)]
    pub what: Option<Input>,
    /// Tag, branch or (abbreviated) commit of iPXE, or version of syslinux [default: iPXE's newest release]
    #[arg(long, value_name = "REF", requires = "what", value_parser = name)]
    pub to: Option<String>,
    /// Print what would change, and change no pin
    #[arg(long)]
    pub dry_run: bool,
    /// Open no socket: use only the given files
    #[arg(long)]
    pub offline: bool,
    /// Git URL or local path to look for iPXE in, instead of the pinned address
    #[arg(long, value_name = "URL", value_parser = origin)]
    pub ipxe_url: Option<String>,
    /// Path or URL of the syslinux release, .zip or .tar.xz, whose files to pin
    #[arg(long, value_name = "FILE", value_parser = origin)]
    pub syslinux_archive: Option<String>,
}

/// Pinned input.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Input {
    /// iPXE's source.
    Ipxe,
    /// The prebuilt syslinux files.
    Syslinux,
}

/// Arguments of `boot-test`.
#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct BootTest {
    /// Tree or tarball [default: dist/tftp]
    #[arg(value_parser = local_path)]
    pub path: Option<Utf8PathBuf>,
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Boot only this loader, by path or file name; repeatable
    #[arg(long = "loader", value_name = "NAME", help_heading = "Cases", value_parser = name)]
    pub loaders: Vec<String>,
    /// Boot only loaders of this site; repeatable
    #[arg(long = "site", value_name = "NAME", help_heading = "Cases", value_parser = name)]
    pub sites: Vec<String>,
    /// Run only this case, as named by --list; repeatable
    #[arg(long = "case", value_name = "NAME", help_heading = "Cases", value_parser = name)]
    pub cases: Vec<String>,
    /// Number of sites whose loaders are booted if no site is named
    #[arg(long, value_name = "N", default_value_t = 4, help_heading = "Cases")]
    pub sample: usize,
    /// Number of network cards per machine; with 2, iPXE loaders are also booted from each of two cards
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2), help_heading = "Cases")]
    pub cards: u8,
    /// Model of the machines' network cards
    #[arg(long, value_name = "MODEL", default_value = NicModel::default().as_str(), help_heading = "Cases")]
    #[arg(value_parser = PossibleValuesParser::new(NicModel::ALL.map(NicModel::as_str)).try_map(|name| name.parse::<NicModel>()))]
    pub nic: NicModel,
    /// Also have UEFI itself fetch each iPXE loader in the root of the tree over HTTP (HTTP Boot)
    #[arg(long, help_heading = "Cases")]
    pub http_boot: bool,
    /// List the cases, and boot nothing
    #[arg(long)]
    pub list: bool,
    /// Address that loaders may boot from, besides DHCP option 17 and the project's own variables; repeatable
    #[arg(long = "chain-to", value_name = "URL", value_parser = web_address)]
    pub chain_to: Vec<String>,
    /// Network to boot in, described as in embed-scripts/network.toml [default: the boot test's own]
    #[arg(long, value_name = "FILE", value_parser = local_path)]
    pub network: Option<Utf8PathBuf>,
    /// DHCP server, configured by its recipe for the network
    #[arg(long, value_name = "SERVER", requires = "network")]
    #[arg(value_parser = PossibleValuesParser::new(Daemon::ALL.map(Daemon::as_str)).try_map(|name| name.parse::<Daemon>()))]
    pub dhcp: Option<Daemon>,
    /// Your own configuration of that server, instead of the recipe
    #[arg(long, value_name = "FILE", requires = "dhcp", value_parser = local_path)]
    pub dhcp_config: Option<Utf8PathBuf>,
    /// Web server, configured by its recipe for the network
    #[arg(long, value_name = "SERVER", requires = "network")]
    #[arg(value_parser = PossibleValuesParser::new(WebServer::ALL.map(WebServer::as_str)).try_map(|name| name.parse::<WebServer>()))]
    pub http: Option<WebServer>,
    /// Certificate of web servers with https addresses, and the rest of the chain that they send (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key", value_parser = local_path)]
    pub tls_certificate: Option<Utf8PathBuf>,
    /// Private key of that certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_certificate", value_parser = local_path)]
    pub tls_key: Option<Utf8PathBuf>,
    /// Boot this kernel instead of the distribution's; repeatable, once for each CPU
    #[arg(long = "kernel", value_name = "FILE", value_parser = local_path)]
    pub kernels: Vec<Utf8PathBuf>,
    /// Boot into this static busybox instead of the distribution's; repeatable, once for each CPU
    #[arg(long = "userland", value_name = "FILE", value_parser = local_path)]
    pub userlands: Vec<Utf8PathBuf>,
    /// Additional kernel arguments
    #[arg(long, value_name = "ARGUMENTS", default_value = "", hide_default_value = true, allow_hyphen_values = true)]
    pub append: String,
    /// Day that the machines' clocks start with, as in `2040-01-31` [default: today]
    #[arg(long, value_name = "DATE", value_parser = date)]
    pub clock: Option<(i16, i8, i8)>,
    /// Number of cases to run in parallel [default: the number of processors]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// Time limit per case, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(10..))]
    pub deadline: u64,
    /// Maximum number of attempts per case; the report lists all attempts
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=9))]
    pub attempts: u32,
    /// Let the machines use the kernel's virtualisation, which misbehaves if this machine is virtual itself
    #[arg(long)]
    pub kvm: bool,
    /// Folder for the report [default: dist/boot-test]
    #[arg(long, value_name = "DIR", value_parser = local_path)]
    pub report: Option<Utf8PathBuf>,
    /// Fail if a case has to be skipped
    #[arg(long)]
    pub require_real: bool,
    /// Install missing tools first, as root or through sudo
    #[arg(long)]
    pub install_deps: bool,
}

/// Parses the address or path of an input. A relative path must not look like an address with a password.
fn origin(text: &str) -> Result<String, String> {
    let is_below = git::local_path(text).is_some() && !text.starts_with(['/', '.']) && !text.starts_with("file:");
    if is_below && local_path(text).is_err() && Url::from(text).has_secret() {
        return Err("found an address without `://`, wanted a whole one, or a path of this machine".into());
    }
    Ok(text.to_owned())
}

/// Parses a name. An address, which may contain a password, is rejected before a message shows it as an unknown name.
pub(super) fn name(text: &str) -> Result<String, String> {
    if Url::from(text).has_secret() { Err("found an address, wanted a name".into()) } else { Ok(text.to_owned()) }
}

pub(super) fn web_address(text: &str) -> Result<String, String> {
    let known = ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme) && text.len() > scheme.len());
    if !known {
        return Err("wanted an address that begins with http:// or https://".into());
    }
    let address = FetchAddress::parse(text).map_err(|wanted| format!("wanted {wanted}"))?;
    if address.host.is_none() {
        return Err("wanted an address with a server's name".into());
    }
    Ok(text.to_owned())
}

/// Parser for the address of a web server. Its errors show no password.
#[derive(Clone)]
pub(super) struct WebAddressParser;

impl TypedValueParser for WebAddressParser {
    type Value = Url;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<Url, clap::Error> {
        let text = value.to_string_lossy();
        web_address(&text).map(Url::from).map_err(|reason| {
            let name = argument.map(ToString::to_string).unwrap_or_default();
            let shown = Url::from(text.into_owned());
            let message = format!("invalid value '{shown}' for '{name}': {reason}\n");
            clap::Error::raw(clap::error::ErrorKind::ValueValidation, message).with_cmd(command)
        })
    }
}

/// Arguments of `check`.
#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct Check {
    /// Parts to run [default: all but msrv]
    #[arg(value_enum, value_name = "PART")]
    pub parts: Vec<CheckPart>,
    /// Install the tools for the checks first, as root or through sudo
    #[arg(long)]
    pub install_deps: bool,
    /// Fail if a test or a linter has to be skipped
    #[arg(long)]
    pub require_real: bool,
    /// Also run whole matrices: every network card, DHCP server and configuration
    #[arg(long)]
    pub full: bool,
    /// List the ten steps and the ten tests that took longest
    #[arg(long)]
    pub timings: bool,
    #[command(flatten)]
    pub origins: OriginArgs,
}

/// Part of `check`.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CheckPart {
    /// Format, clippy, and the linters for workflows and spelling.
    Lint,
    /// Documentation of all crates.
    Docs,
    /// Compilation with the oldest supported Rust, which rustup installs.
    Msrv,
    /// Tests that need neither virtual machines nor pinned sources.
    Test,
    /// Tests that boot the distribution's packages.
    Machines,
    /// Tests that need the pinned sources.
    Real,
}

/// Arguments of `test`.
#[derive(Args)]
pub struct TestArgs {
    /// Run only tests whose names contain this, including slow ones
    #[arg(value_parser = name)]
    pub filter: Option<String>,
}

/// Arguments of `fuzz`.
#[derive(Args)]
pub struct Fuzz {
    /// Targets to run [default: all]
    #[arg(value_parser = name)]
    pub targets: Vec<String>,
    /// Duration of each target, in seconds; 0 only builds them
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub seconds: u32,
    /// Install cargo-fuzz first
    #[arg(long)]
    pub install_deps: bool,
}

/// Arguments of `verify`.
#[derive(Args)]
pub struct Verify {
    /// Tree or tarball [default: dist/tftp]
    #[arg(value_parser = local_path)]
    pub path: Option<Utf8PathBuf>,
    /// Certificate that all UEFI loaders must be signed with, or that must have issued the signer's: PEM or DER
    #[arg(long, value_name = "FILE", value_parser = local_path)]
    pub signer: Option<Utf8PathBuf>,
    /// Link loaders with the scripts of some sites through iPXE's make, and compare whole files
    #[arg(long, conflicts_with = "signer")]
    pub against_make: bool,
    /// Number of sites to compare, including the root of the tree
    #[arg(long, value_name = "N", default_value_t = 10, requires = "against_make",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub sample: u32,
    /// Seed of an earlier run, to pick the same sites [default: different ones each time]
    #[arg(long, value_name = "NUMBER", requires = "against_make")]
    pub seed: Option<u64>,
    #[command(flatten)]
    pub config: ConfigArgs,
    #[command(flatten)]
    pub origins: OriginArgs,
    #[command(flatten)]
    pub make: MakeArgs,
}

/// Arguments of `docs`.
#[derive(Args)]
pub struct DocsArgs {
    /// Folder for the rendered book [default: dist/book]
    #[arg(long, value_name = "DIR", value_parser = local_path)]
    pub out: Option<Utf8PathBuf>,
    /// Install mdBook first, below target/
    #[arg(long)]
    pub install_deps: bool,
    /// Serve the book on this machine and open it in a browser
    #[arg(long, conflicts_with = "out")]
    pub serve: bool,
    /// Write a man page of each command into this folder, and nothing else
    #[arg(long, value_name = "DIR", value_parser = local_path, conflicts_with_all = ["out", "serve", "install_deps"])]
    pub man: Option<Utf8PathBuf>,
}
