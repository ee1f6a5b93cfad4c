//! Arguments of `rehearse`.

use camino::Utf8PathBuf;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use netboot_loaders::deploy::target::local_path;
use netboot_loaders::rehearse::fault::RehearsalFault;
use netboot_loaders::rehearse::keys::PressedKeys;
use netboot_loaders::rehearse::served::GivenAnswer;

use super::arguments::name;
use super::{ConfigArgs, MakeArgs, OriginArgs};

/// First line of a recorded way.
pub const RECORD: &str =
    "# The way that a script took, as `rehearse --record` wrote it; `rehearse --expect` compares with it.\n";

/// Arguments of `rehearse`.
#[derive(Args)]
pub struct RehearseArgs {
    /// Site whose script is rehearsed [default: that of the host, or the root of the tree]
    #[arg(long, value_name = "NAME", value_parser = name, help_heading = "What is rehearsed")]
    pub site: Option<String>,
    /// Machine of network.toml that runs it [default: one that is not known]
    #[arg(long, value_name = "NAME", value_parser = name, help_heading = "What is rehearsed")]
    pub host: Option<String>,
    /// Loader that is rehearsed, as in sites.toml [default: the first one that the machine can run]
    #[arg(long, value_name = "NAME", value_parser = name, help_heading = "What is rehearsed")]
    pub loader: Option<String>,
    /// Script to run in the place of the site's
    #[arg(long, value_name = "FILE", value_parser = local_path, help_heading = "What is rehearsed")]
    pub script: Option<Utf8PathBuf>,
    /// Rehearse the script of each site in each firmware that it has loaders for, as each of its hosts if there are any
    #[arg(long, conflicts_with_all = ["site", "host", "loader", "script", "record", "expect", "watch"], help_heading = "What is rehearsed")]
    pub all: bool,
    /// Keys for prompts and menus, as in "down down enter"; `wait` lets a prompt end by itself
    #[arg(long, value_name = "KEYS", default_value = "", hide_default_value = true, value_parser = keys)]
    pub keys: PressedKeys,
    /// Setting of iPXE from the start, as in `net0/next-server=192.0.2.1`; repeatable
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = setting)]
    pub settings: Vec<(String, String)>,
    /// What a web server has at an address: a file, a folder (if the address ends with a slash), stand-in, 404, slow or
    /// reset; repeatable
    #[arg(long = "answer", value_name = "URL=ANSWER", value_parser = answer)]
    pub answers: Vec<GivenAnswer>,
    /// Fault of the network or of its servers
    #[arg(long, value_name = "FAULT")]
    #[arg(value_parser = PossibleValuesParser::new(RehearsalFault::ALL.map(RehearsalFault::as_str)).try_map(|name| name.parse::<RehearsalFault>()))]
    pub fault: Option<RehearsalFault>,
    /// Write the way that the script takes to a file
    #[arg(long, value_name = "FILE", value_parser = local_path, help_heading = "Comparison")]
    pub record: Option<Utf8PathBuf>,
    /// Fail unless the script takes the recorded way
    #[arg(long, value_name = "FILE", conflicts_with_all = ["record", "watch"], value_parser = local_path, help_heading = "Comparison")]
    pub expect: Option<Utf8PathBuf>,
    /// Rehearse again after each change of the project or of the script, and show what differs
    #[arg(long, help_heading = "Comparison")]
    pub watch: bool,
    /// Network of the machine, described as in embed-scripts/network.toml [default: that file, if it is filled in]
    #[arg(long, value_name = "FILE", value_parser = local_path)]
    pub network: Option<Utf8PathBuf>,
    /// Certificate of web servers with https addresses, and the rest of the chain that they send (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key", value_parser = local_path)]
    pub tls_certificate: Option<Utf8PathBuf>,
    /// Private key of that certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_certificate", value_parser = local_path)]
    pub tls_key: Option<Utf8PathBuf>,
    /// Folder for a report with a page; with --all, there is always one [default: dist/rehearsal]
    #[arg(long, value_name = "DIR", value_parser = local_path)]
    pub report: Option<Utf8PathBuf>,
    /// Time limit per rehearsal, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    pub deadline: u64,
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

/// Maximum number of bytes of all keys.
const MAX_KEYS: usize = 4096;

fn keys(text: &str) -> Result<PressedKeys, String> {
    let keys: PressedKeys = text.parse()?;
    match keys.bytes().len() {
        found if found > MAX_KEYS => Err(format!("found {found} bytes of keys, wanted {MAX_KEYS} at most")),
        _ => Ok(keys),
    }
}

fn answer(text: &str) -> Result<GivenAnswer, String> {
    text.parse()
}

fn setting(text: &str) -> Result<(String, String), String> {
    const WANTED: &str = "wanted a name, `=` and a value, as in `net0/next-server=192.0.2.1`";
    let (name, value) = text.split_once('=').ok_or(WANTED)?;
    if name.is_empty() {
        return Err(WANTED.into());
    }
    let is_card = matches!(name, "net0/if" | "net0/mac");
    if is_card || name.rsplit_once('/').is_some_and(|(block, _)| block != "net0") {
        return Err(format!("found `{name}`, wanted a setting without a block, or one of net0 other than if and mac"));
    }
    if text.contains([',', '\n']) {
        return Err("found a comma or a line break, which no setting can have from the start".into());
    }
    Ok((name.to_owned(), value.to_owned()))
}
