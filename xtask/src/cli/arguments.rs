//! The arguments of each command.

use camino::Utf8PathBuf;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use netboot_loaders::base::url::Url;
use netboot_loaders::boot_test::dhcp::Daemon;
use netboot_loaders::config::sites::Options;
use netboot_loaders::deploy::target::local_path;
use netboot_loaders::fetch::git;
use netboot_loaders::reproduce::variation::Variation;
use netboot_script::address::FetchAddress;

/// Where inputs may come from.
#[derive(Args, Clone, Default)]
pub struct OriginArgs {
    /// Opens no socket: uses the cache and the files that are named
    #[arg(long)]
    pub offline: bool,
    /// A git URL or a local path to take iPXE from instead of the pinned address
    #[arg(long, value_name = "URL", value_parser = origin)]
    pub ipxe_url: Option<String>,
    /// A path or URL of the syslinux release, .zip or .tar.xz, instead of the pinned addresses
    #[arg(long, value_name = "FILE", value_parser = origin)]
    pub syslinux_archive: Option<String>,
    /// A source bundle, as bundle-sources writes it, to take everything from
    #[arg(long, value_name = "FILE", value_parser = local_path)]
    pub sources_from: Option<Utf8PathBuf>,
}

/// What is chosen besides what sites.toml says.
#[derive(Args, Clone, Default)]
pub struct ConfigArgs {
    /// An inventory of more sites: a CSV file, or a folder of *.toml; may be given more than once
    #[arg(long = "sites", value_name = "PATH", help_heading = "Choices", value_parser = local_path)]
    pub inventories: Vec<Utf8PathBuf>,
    /// Gives a script that is too long for its slot a larger one, which takes a link of its own
    #[arg(long, help_heading = "Choices")]
    pub relink: bool,
}

impl From<&ConfigArgs> for Options {
    fn from(args: &ConfigArgs) -> Self {
        Self { inventories: args.inventories.clone(), relink: args.relink }
    }
}

/// `build-loaders`.
#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct BuildLoaders {
    #[command(flatten)]
    pub origins: OriginArgs,
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Where the tree goes [default: dist/tftp]
    #[arg(long, value_name = "DIR", value_parser = local_path)]
    pub out: Option<Utf8PathBuf>,
    /// Writes the tarball beside the tree, too
    #[arg(long)]
    pub archive: bool,
    /// Writes a page about the tree beside it, index.html, with recipes where embed-scripts/network.toml is filled in
    #[arg(long)]
    pub index: bool,
    /// Removes files that somebody has put into the old tree
    #[arg(long)]
    pub replace: bool,
    /// Accepts what is linked into the loaders now, as vendor/linked-objects
    #[arg(long)]
    pub update_baseline: bool,
    /// Prints what would be done, and does nothing
    #[arg(long)]
    pub plan: bool,
    /// Installs missing tools first, as root or through sudo
    #[arg(long)]
    pub install_deps: bool,
    #[command(flatten)]
    pub make: MakeArgs,
}

/// `bundle-bases`.
#[derive(Args)]
pub struct BundleBases {
    #[command(flatten)]
    pub origins: OriginArgs,
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Where the bundle goes [default: dist/netboot-loaders-VERSION-bases.tar.gz]
    #[arg(long, value_name = "FILE", value_parser = local_path)]
    pub out: Option<Utf8PathBuf>,
    /// Installs missing tools first, as root or through sudo
    #[arg(long)]
    pub install_deps: bool,
    #[command(flatten)]
    pub make: MakeArgs,
}

/// How make runs; none of it changes a byte of a loader.
#[derive(Args, Clone)]
pub struct MakeArgs {
    /// How many jobs make runs at once [default: the number of processors]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// Calls the compiler through a launcher, as ccache
    #[arg(long, value_name = "PROGRAM", value_parser = name)]
    pub launcher: Option<String>,
    /// Lets compiler warnings pass
    #[arg(long)]
    pub no_werror: bool,
}

/// `reproduce`.
#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct Reproduce {
    /// A tree, a tarball, a manifest.json, or the address of one, to compare with
    #[arg(long, value_name = "RELEASE")]
    pub against: Option<String>,
    /// Varies only this, as --list names it; may be given more than once
    #[arg(long, value_name = "NAME", help_heading = "What is varied")]
    pub vary: Vec<Variation>,
    /// Does not vary this; may be given more than once
    #[arg(long, value_name = "NAME", help_heading = "What is varied", conflicts_with = "vary")]
    pub without: Vec<Variation>,
    /// Varies nothing
    #[arg(long, help_heading = "What is varied", conflicts_with_all = ["vary", "without"])]
    pub plain: bool,
    /// Names what can be varied, and builds nothing
    #[arg(long, help_heading = "What is varied")]
    pub list: bool,
    /// Builds all loaders for the root of the tree, and no sites
    #[arg(long, conflicts_with = "against")]
    pub all_loaders: bool,
    /// Writes what this toolchain gives into vendor/toolchains.toml, under this name
    #[arg(long, value_name = "NAME", requires = "all_loaders", conflicts_with_all = ["plain", "against"], value_parser = name)]
    pub record: Option<String>,
    /// Hands what differs to diffoscope
    #[arg(long)]
    pub diffoscope: bool,
    /// Fails where something that was asked for cannot be varied here
    #[arg(long)]
    pub require_real: bool,
    /// Keeps the build trees, for a look at them
    #[arg(long)]
    pub keep: bool,
    /// Installs what is missing first, as root or through sudo
    #[arg(long)]
    pub install_deps: bool,
    #[command(flatten)]
    pub config: ConfigArgs,
    #[command(flatten)]
    pub origins: OriginArgs,
    #[command(flatten)]
    pub make: MakeArgs,
}

/// `release`.
#[derive(Args)]
pub struct ReleaseArgs {
    /// Writes the files, and publishes nothing
    #[arg(long, conflicts_with = "files")]
    pub dry_run: bool,
    /// Publishes these files, once they are found to be as their checksums say
    #[arg(long, value_name = "DIR", conflicts_with = "out", value_parser = local_path)]
    pub files: Option<Utf8PathBuf>,
    /// The tag of the release, which has to be v and the version
    #[arg(long, value_name = "TAG", value_parser = name)]
    pub tag: Option<String>,
    /// Where the files go [default: dist/release]
    #[arg(long, value_name = "DIR", value_parser = local_path)]
    pub out: Option<Utf8PathBuf>,
    /// Removes files that somebody has put into the old tree
    #[arg(long)]
    pub replace: bool,
    /// Installs missing tools first, as root or through sudo
    #[arg(long)]
    pub install_deps: bool,
    #[command(flatten)]
    pub origins: OriginArgs,
    #[command(flatten)]
    pub make: MakeArgs,
}

/// `inspect`.
#[derive(Args)]
pub struct Inspect {
    /// The loader
    #[arg(value_parser = local_path)]
    pub loader: Utf8PathBuf,
    /// A tree or a manifest to ask [default: the trees that the loader is in, and dist/tftp]
    #[arg(long, value_name = "PATH", value_parser = local_path)]
    pub manifest: Option<Utf8PathBuf>,
}

/// `clean`.
#[derive(Args)]
pub struct Clean {
    /// Says what would be removed, and removes nothing
    #[arg(long)]
    pub dry_run: bool,
    /// For how many days something must be unused, where this project does not need it
    #[arg(long, value_name = "DAYS", default_value_t = 14)]
    pub unused_for: u32,
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// `doctor`.
#[derive(Args)]
pub struct Doctor {
    /// For which work
    #[arg(long = "for", value_name = "WORK", default_value = "build")]
    pub work: DoctorPurpose,
    /// Installs what is missing, as root or through sudo
    #[arg(long)]
    pub install_deps: bool,
    /// Lets boot tests run without root, through sudo: user namespaces, readable kernels, a tap device
    #[arg(long)]
    pub prepare_host: bool,
}

/// What tools are needed for.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "kebab-case")]
pub enum DoctorPurpose {
    /// Building loaders.
    Build,
    /// Booting them.
    BootTest,
    /// Building them again under other conditions.
    Reproduce,
    /// Checking the signatures of what is mirrored.
    Mirror,
    /// Bringing them to a server.
    Deploy,
    /// Running this repository's checks.
    Check,
}

/// `update`.
#[derive(Args)]
pub struct Update {
    /// Which pins [default: both]
    #[arg(value_enum)]
    pub what: Option<Input>,
    /// A tag, a branch or a commit of iPXE, which may be abbreviated, or a version of syslinux [default: iPXE's newest release]
    #[arg(long, value_name = "REF", requires = "what", value_parser = name)]
    pub to: Option<String>,
    /// Says what would change, and changes no pin
    #[arg(long)]
    pub dry_run: bool,
    /// Opens no socket: uses the files that are named
    #[arg(long)]
    pub offline: bool,
    /// A git URL or a local path to look for iPXE in instead of the pinned address
    #[arg(long, value_name = "URL", value_parser = origin)]
    pub ipxe_url: Option<String>,
    /// A path or URL of the syslinux release, .zip or .tar.xz, to pin the files of
    #[arg(long, value_name = "FILE", value_parser = origin)]
    pub syslinux_archive: Option<String>,
}

/// What is pinned.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Input {
    /// iPXE's source.
    Ipxe,
    /// The prebuilt syslinux files.
    Syslinux,
}

/// A web server that a boot test can try.
#[derive(Clone, Copy, ValueEnum)]
pub enum WebServer {
    /// nginx.
    Nginx,
}

/// `boot-test`.
#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct BootTest {
    /// The tree or the tarball [default: dist/tftp]
    #[arg(value_parser = local_path)]
    pub path: Option<Utf8PathBuf>,
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Boots only this loader, by path or file name; may be given more than once
    #[arg(long = "loader", value_name = "NAME", help_heading = "Which cases", value_parser = name)]
    pub loaders: Vec<String>,
    /// Boots only loaders of this site; may be given more than once
    #[arg(long = "site", value_name = "NAME", help_heading = "Which cases", value_parser = name)]
    pub sites: Vec<String>,
    /// Runs only this case, as --list names it; may be given more than once
    #[arg(long = "case", value_name = "NAME", help_heading = "Which cases", value_parser = name)]
    pub cases: Vec<String>,
    /// Of how many sites loaders are booted where none is named
    #[arg(long, value_name = "N", default_value_t = 4, help_heading = "Which cases")]
    pub sample: usize,
    /// How many network cards machines have; with 2, iPXE loaders are booted on either of two cards as well
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2), help_heading = "Which cases")]
    pub cards: u8,
    /// Names the cases, and boots nothing
    #[arg(long)]
    pub list: bool,
    /// An address that loaders may go to besides DHCP option 17 and the project's own variables
    #[arg(long = "chain-to", value_name = "URL", value_parser = web_address)]
    pub chain_to: Vec<String>,
    /// The network to boot in, described as in embed-scripts/network.toml [default: one of the boot test's own]
    #[arg(long, value_name = "FILE", value_parser = local_path)]
    pub network: Option<Utf8PathBuf>,
    /// The DHCP server, configured by its recipe for the network
    #[arg(long, value_name = "SERVER", requires = "network")]
    #[arg(value_parser = PossibleValuesParser::new(Daemon::ALL.map(Daemon::as_str)).try_map(|name| name.parse::<Daemon>()))]
    pub dhcp: Option<Daemon>,
    /// A configuration of yours for that server, instead of the recipe
    #[arg(long, value_name = "FILE", requires = "dhcp", value_parser = local_path)]
    pub dhcp_config: Option<Utf8PathBuf>,
    /// The web server, configured by its recipe for the network
    #[arg(long, value_name = "SERVER", requires = "network")]
    pub http: Option<WebServer>,
    /// The certificate of web servers with https addresses, and whatever else of its chain they send (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key", value_parser = local_path)]
    pub tls_certificate: Option<Utf8PathBuf>,
    /// The private key of that certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_certificate", value_parser = local_path)]
    pub tls_key: Option<Utf8PathBuf>,
    /// Boots this kernel instead of the distribution's
    #[arg(long, value_name = "FILE", value_parser = local_path)]
    pub kernel: Option<Utf8PathBuf>,
    /// More arguments for the kernel
    #[arg(long, value_name = "ARGUMENTS", default_value = "", hide_default_value = true, allow_hyphen_values = true)]
    pub append: String,
    /// How many cases run side by side [default: the number of processors]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// How many seconds a case may take
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(10..))]
    pub deadline: u64,
    /// How often a case is tried until it passes; the report tells of all attempts
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=9))]
    pub attempts: u32,
    /// Lets the machines use the kernel's virtualisation, which misbehaves where this machine is virtual
    #[arg(long)]
    pub kvm: bool,
    /// Where the report goes [default: dist/boot-test]
    #[arg(long, value_name = "DIR", value_parser = local_path)]
    pub report: Option<Utf8PathBuf>,
    /// Fails where a case has to be skipped
    #[arg(long)]
    pub require_real: bool,
    /// Installs what is missing first, as root or through sudo
    #[arg(long)]
    pub install_deps: bool,
}

/// Reads an address or a path of an input. Where it could only be a path of this folder, it must not look like an address.
fn origin(text: &str) -> Result<String, String> {
    let is_below = git::local_path(text).is_some() && !text.starts_with(['/', '.']) && !text.starts_with("file:");
    if is_below && local_path(text).is_err() && Url::from(text).has_secret() {
        return Err("found an address without `://`, wanted a whole one, or a path of this machine".into());
    }
    Ok(text.to_owned())
}

/// Reads the name of something, where an address could only be shown as an unknown one.
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

/// Reads an address for this program to ask. What it says of a wrong one shows no password.
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

/// `check`.
#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct Check {
    /// Which parts [default: all but msrv]
    #[arg(value_enum, value_name = "PART")]
    pub parts: Vec<CheckPart>,
    /// Installs what the checks need first, as root or through sudo
    #[arg(long)]
    pub install_deps: bool,
    /// Fails where a test or a linter has to be skipped
    #[arg(long)]
    pub require_real: bool,
    /// Runs whole matrices, too: every network card, DHCP server and configuration
    #[arg(long)]
    pub full: bool,
    /// Lists the ten steps and the ten tests that took longest
    #[arg(long)]
    pub timings: bool,
    #[command(flatten)]
    pub origins: OriginArgs,
}

/// A part of `check`.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CheckPart {
    /// Format, clippy, and the linters of workflows and spelling.
    Lint,
    /// The documentation of all crates.
    Docs,
    /// Whether the oldest Rust that is promised compiles it all; rustup brings that.
    Msrv,
    /// The tests that need neither machines nor pinned sources.
    Test,
    /// The tests that boot what the distribution packages.
    Machines,
    /// The tests that need the pinned sources.
    Real,
}

/// `test`.
#[derive(Args)]
pub struct TestArgs {
    /// Only tests with this in their names, slow ones among them
    #[arg(value_parser = name)]
    pub filter: Option<String>,
}

/// `fuzz`.
#[derive(Args)]
pub struct Fuzz {
    /// The targets [default: all]
    #[arg(value_parser = name)]
    pub targets: Vec<String>,
    /// How long each runs; 0 builds them and runs none
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub seconds: u32,
    /// Installs cargo-fuzz first
    #[arg(long)]
    pub install_deps: bool,
}

/// `verify`.
#[derive(Args)]
pub struct Verify {
    /// The tree or the tarball [default: dist/tftp]
    #[arg(value_parser = local_path)]
    pub path: Option<Utf8PathBuf>,
    /// Has iPXE's make link loaders with the scripts of some sites, and compares whole files
    #[arg(long)]
    pub against_make: bool,
    /// How many sites, the root of the tree among them
    #[arg(long, value_name = "N", default_value_t = 10, requires = "against_make",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub sample: u32,
    /// Picks the same sites as an earlier run [default: other ones each time]
    #[arg(long, value_name = "NUMBER", requires = "against_make")]
    pub seed: Option<u64>,
    #[command(flatten)]
    pub config: ConfigArgs,
    #[command(flatten)]
    pub origins: OriginArgs,
    #[command(flatten)]
    pub make: MakeArgs,
}
