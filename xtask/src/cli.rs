//! Command line of the program.

mod arguments;
mod bench;
mod deploy;
mod lint;
mod mirror;
pub mod rehearse;
mod secure_boot;
mod servers;

use camino::Utf8PathBuf;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue};
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use netboot_loaders::base::diagnostic::Flag;
use netboot_loaders::base::url::Url;
use netboot_loaders::deploy::target::local_path;
use netboot_loaders::printable::harmless;

pub use self::arguments::*;
pub use self::bench::{Bench, BenchSites, Measure};
pub use self::deploy::Deploy;
pub use self::lint::LintArgs;
pub use self::mirror::{MirrorArgs, MirrorCommand};
pub use self::rehearse::RehearseArgs;
pub use self::secure_boot::{Keys, SecureBootCommand, Sign};
pub use self::servers::*;
use crate::{exit, program};

/// Builds, checks and publishes TFTP trees of iPXE and syslinux loaders from pinned inputs.
#[derive(Parser)]
#[command(name = "xtask", bin_name = "cargo xtask", version, max_term_width = 80, disable_help_subcommand = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: XtaskCommand,
}

/// Parses the command line of this process.
pub fn parse() -> Result<Cli, clap::Error> {
    let mut matches = command().try_get_matches()?;
    Cli::from_arg_matches_mut(&mut matches)
}

/// Returns the command line with its help, in which the program has the name that the user calls it by.
pub fn command() -> clap::Command {
    if program::is_alias() {
        published()
    } else {
        renamed(published(), program::name()).bin_name(program::name()).display_name(program::name())
    }
}

/// Returns the definition for published texts, which do not depend on how the program was called.
pub fn published() -> clap::Command {
    Cli::command().after_help(exit::help())
}

/// Renames the program to `name` in the help of `command` and of all its subcommands.
fn renamed(mut command: clap::Command, name: &str) -> clap::Command {
    let called = |text: &StyledStr| {
        let text = text.ansi().to_string().replace("alias xtask='cargo xtask'; ", "").replace("cargo xtask", name);
        text.replace("[default: this repository]", "[default: the current folder]")
    };
    if let Some(text) = command.get_about().map(called) {
        command = command.about(text);
    }
    if let Some(text) = command.get_after_help().map(called) {
        command = command.after_help(text);
    }
    command
        .mut_args(|argument| match argument.get_help().map(called) {
            Some(text) => argument.help(text),
            None => argument,
        })
        .mut_subcommands(|command| renamed(command, name))
}

/// Returns the error in the command line without passwords of addresses in it, and with invisible characters escaped.
pub fn presentable(error: clap::Error) -> clap::Error {
    let error = without_secrets(error);
    let message = error.render().to_string();
    let shown = harmless(&message);
    if shown == message { error } else { clap::Error::raw(error.kind(), shown.trim_start_matches("error: ")) }
}

/// Returns the error in the command line without passwords of addresses in it.
fn without_secrets(mut error: clap::Error) -> clap::Error {
    const SAID: [ContextKind; 4] =
        [ContextKind::InvalidArg, ContextKind::InvalidSubcommand, ContextKind::InvalidValue, ContextKind::TrailingArg];
    for kind in SAID {
        let Some(ContextValue::String(text)) = error.get(kind) else { continue };
        let url = Url::from(text.as_str());
        // The user name on a deployment server is no secret.
        let target = text.strip_prefix("sftp://").unwrap_or(text);
        let is_user = |(user, rest): (&str, &str)| !user.contains([':', '/', '%']) && !rest.contains('@');
        let is_user = target.split_once('@').is_some_and(is_user);
        if is_user || !url.has_secret() {
            continue;
        }
        error.insert(kind, ContextValue::String(url.to_string()));
        // Suggestions in the message contain the same text.
        let message = error.render().to_string();
        let hidden = url.hide_in(&message);
        if hidden != message {
            return clap::Error::raw(error.kind(), hidden.trim_start_matches("error: "));
        }
    }
    error
}

/// Options of every command.
#[derive(Args)]
pub struct Global {
    /// Print nothing but errors and requested output
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub quiet: bool,
    /// Output format: text for people, or one JSON object per line
    #[arg(long, global = true, help_heading = "Global options", value_name = "FORMAT", default_value = "human")]
    pub message_format: MessageFormat,
    /// Folder for sources, build trees and built loaders [default: the user's cache folder]
    #[arg(
        long,
        global = true,
        help_heading = "Global options",
        value_name = "DIR",
        env = "NETBOOT_LOADERS_CACHE_DIR",
        value_parser = local_path,
        hide_env_values = true
    )]
    pub cache_dir: Option<Utf8PathBuf>,
    /// Folder that contains vendor/ and embed-scripts/ [default: this repository]
    #[arg(long, global = true, help_heading = "Global options", value_name = "DIR", value_parser = local_path)]
    pub project: Option<Utf8PathBuf>,
}

/// Output format.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MessageFormat {
    /// Progress bars on a terminal, plain lines elsewhere.
    Human,
    /// One JSON object per line, on standard output.
    Json,
}

/// Commands of the program.
#[derive(Subcommand)]
pub enum XtaskCommand {
    /// Builds the loaders and publishes the tree
    #[command(after_help = "Examples:
  cargo xtask build-loaders --install-deps           on a fresh machine
  cargo xtask build-loaders --archive                the tree and its tarball
  cargo xtask build-loaders --plan                   prints the plan only
  cargo xtask build-loaders --ipxe-url ../ipxe.git --syslinux-archive syslinux-6.03.zip
  cargo xtask build-loaders --offline                from the cache only")]
    BuildLoaders(BuildLoaders),
    /// Fetches all pinned inputs into the cache
    #[command(after_help = "Examples:
  cargo xtask fetch
  cargo xtask fetch --ipxe-url https://git.example.net/mirrors/ipxe.git")]
    Fetch(OriginArgs),
    /// Packs all sources of the loaders into one tarball
    #[command(after_help = "The bundle contains the sources that the licences of the loaders require you to
offer with them, and everything that a build without network access needs.

Examples:
  cargo xtask bundle-sources
  cargo xtask build-loaders --offline --sources-from netboot-loaders-0.1.0-sources.tar.gz")]
    BundleSources {
        /// Path of the bundle [default: dist/netboot-loaders-VERSION-sources.tar.gz]
        #[arg(long, value_name = "FILE", value_parser = local_path)]
        out: Option<Utf8PathBuf>,
        #[command(flatten)]
        origins: OriginArgs,
    },
    /// Packs the bases that loaders are stamped from into one tarball
    #[command(after_help = "With the bundle, a server can stamp a loader for each machine without make or
iPXE's source: see stamp/examples/stamp_server.rs. The bundle has a base for
each configuration, loader and slot size that sites.toml and the inventories
use; the sites themselves are not included.

Examples:
  cargo xtask bundle-bases
  cargo xtask bundle-bases --offline --out bases.tar.gz")]
    BundleBases(BundleBases),
    /// Moves the pins to newer inputs and reports what changes
    #[command(after_help = "Builds never do this on their own. The pins are written completely or not at
all; their comments are kept. The new inputs are in the cache afterwards.

Examples:
  cargo xtask update                                 iPXE's newest release
  cargo xtask update ipxe --to master --dry-run      new commits on master
  cargo xtask update ipxe --ipxe-url ../ipxe --to 0ab2277c40f1de56c736b9e7db7ee23d52509ec5
  cargo xtask update syslinux --syslinux-archive syslinux-6.03.zip")]
    Update(Update),
    /// Mirrors a publisher's current images as complete sets
    #[command(after_help = "The last line on standard output is a JSON object with the fields mirror,
stream, arch, version, previous, changed, older and removed. Run the command
once a day; --print-schedule prints a job for that.

Examples:
  cargo xtask mirror fedora-coreos --dest /srv/www/fedora-coreos
  cargo xtask mirror flatcar --channel beta --dest /srv/www/flatcar --verify-signatures
  cargo xtask mirror fedora-coreos --dest /srv/www/fedora-coreos --print-schedule systemd")]
    Mirror {
        #[command(subcommand)]
        what: MirrorCommand,
    },
    /// Removes unused files from the cache, and leftovers of killed runs
    #[command(after_help = "Files that this project needs are kept, and so are recently used files: other
projects may share the cache. Files that this tool did not create are left alone
and listed.

Examples:
  cargo xtask clean --dry-run                        what would be removed
  cargo xtask clean
  cargo xtask clean --unused-for 0                   all that is not needed here
  cargo xtask clean --sites racks.csv                keeps bases of its sites")]
    Clean(Clean),
    /// Reports which tools are installed, which are missing, and how to install them
    #[command(after_help = "Examples:
  cargo xtask doctor
  cargo xtask doctor --for check --install-deps
  cargo xtask doctor --for mirror                      for --verify-signatures
  cargo xtask doctor --for boot-test --prepare-host    on Ubuntu 24.04")]
    Doctor(Doctor),
    /// Verifies a tree or tarball against its own manifest and checksums
    #[command(after_help = "Examples:
  cargo xtask verify                                 dist/tftp
  cargo xtask verify netboot-loaders-0.1.0-tftp.tar.gz
  cargo xtask verify --against-make --sample 20      20 sites against make")]
    Verify(Verify),
    /// Describes a loader: version, drivers, embedded script, and whether a manifest lists it
    #[command(after_help = "Examples:
  cargo xtask inspect dist/tftp/ipxe.efi
  cargo xtask inspect /srv/tftp/undionly.kpxe --manifest dist/tftp")]
    Inspect(Inspect),
    /// Finds mistakes in iPXE scripts: in files, folders, loaders and trees, and on web servers
    #[command(after_help = "Templates of Jinja, Go and ERB are read as they are. The comment
`# lint: allow RULE reason` silences a rule for its line, or for the next one.

Examples:
  cargo xtask lint                                   embed-scripts/
  cargo xtask lint boot.ipxe menus/ --deny warnings
  cargo xtask lint --for bios --config https http://192.0.2.10/menu.ipxe
  cargo xtask lint dist/tftp --sarif lint.sarif      what loaders have embedded
  cargo xtask lint --lsp                             for an editor")]
    Lint(LintArgs),
    /// Runs a site's script in real iPXE, within a second, and shows the way that it takes
    #[command(after_help = "Servers have the tree, stand-ins for what boot entries boot, and what --answer
says. DHCP answers as the recipe of dnsmasq for embed-scripts/network.toml.

Examples:
  cargo xtask rehearse                               the root of the tree
  cargo xtask rehearse --site rack-1 --loader undionly.kpxe
  cargo xtask rehearse --host k8s-master-01 --keys \"down enter\"
  cargo xtask rehearse --script menu.ipxe --answer http://192.0.2.10/=/srv/www
  cargo xtask rehearse --fault web-down              in front of a dead server
  cargo xtask rehearse --record way.txt              then: --expect way.txt
  cargo xtask rehearse --all                         every site")]
    Rehearse(RehearseArgs),
    /// Boots the loaders of a tree or tarball in virtual machines and reports which ones pass
    #[command(after_help = "Examples:
  cargo xtask boot-test --install-deps               on a fresh machine
  cargo xtask boot-test --loader ipxe.efi            one loader of dist/tftp
  cargo xtask boot-test netboot-loaders-0.1.0-tftp.tar.gz
  cargo xtask boot-test --site rack-1 --jobs 1
  cargo xtask boot-test --list                       which cases would run")]
    BootTest(BootTest),
    /// Writes the configuration of a DHCP, TFTP or HTTP server for this tree
    #[command(after_help = "The configuration is generated from embed-scripts/network.toml and the loaders
in sites.toml.

Examples:
  cargo xtask recipe                                 lists the servers
  cargo xtask recipe routeros                        prints it
  cargo xtask recipe dnsmasq --out dist/recipes      writes all its files
  cargo xtask recipe routeros --undo                 prints how to undo it")]
    Recipe(Recipe),
    /// Writes a starter configuration for Ignition, which provisions a machine
    #[command(after_help = "The configuration is generated from the table [ignition] in
embed-scripts/network.toml.

Examples:
  cargo xtask ignition                               prints it
  cargo xtask ignition --host k8s-master-01 --out dist/k8s-master-01.ign
  cargo xtask ignition --butane machine.bu           converts a Butane file")]
    Ignition(Ignition),
    /// Makes keys for Secure Boot
    SecureBoot {
        #[command(subcommand)]
        what: SecureBootCommand,
    },
    /// Deploys a tree or tarball to the folder or server that machines boot from
    #[command(after_help = "Only changed files are sent. Each file is read back before it replaces the old
one. Files that others put there are kept.

Examples:
  cargo xtask deploy --dry-run sftp://admin@192.168.88.1/tftp    the plan only
  cargo xtask deploy sftp://admin@192.168.88.1/tftp              to a router
  cargo xtask deploy --prune sftp://nas/~/tftp                   in home folder
  cargo xtask deploy /srv/tftp --tree netboot-loaders-0.1.0-tftp.tar.gz")]
    Deploy(Deploy),
    /// Rebuilds everything under varied conditions and compares every byte
    #[command(after_help = "Exit code 0 means that every byte is the same, 11 that the tools differ, 12 that
bytes differ.

Examples:
  cargo xtask reproduce                              two builds, one varied
  cargo xtask reproduce --against netboot-loaders-0.1.0-tftp.tar.gz
  cargo xtask reproduce --against https://example.net/manifest.json
  cargo xtask reproduce --vary path --vary clock
  cargo xtask reproduce --list                       lists what can be varied")]
    Reproduce(Reproduce),
    /// Writes all files of a release and creates a draft release
    #[command(after_help = "Without --dry-run, GitHub's program `gh` uploads the files as a draft release of
the repository.

Examples:
  cargo xtask release --dry-run                      only files in dist/release
  cargo xtask release --files dist/release --tag v0.1.0")]
    Release(ReleaseArgs),
    /// Runs the fast tests that need neither virtual machines nor pinned sources
    #[command(after_help = "Examples:
  cargo xtask test                                   after each change
  cargo xtask test deploy::                          all tests of `deploy`")]
    Test(TestArgs),
    /// Runs all checks of this repository: format, lints, workflows, tests
    #[command(after_help = "Examples:
  cargo xtask check --install-deps                   on a fresh machine
  cargo xtask check lint docs                        without tests
  cargo xtask check --full --timings                 whole matrices and timings
  cargo xtask check --require-real                   fails on anything skipped")]
    Check(Check),
    /// Measures this tool against what users do without it, pair by pair in one run
    #[command(after_help = "Each measurement replaces its own section of dist/bench.json and keeps the
others. Other work on the machine distorts the results.

Examples:
  cargo xtask bench warm
  cargo xtask bench sites --count 1000 --linear
  cargo xtask bench table                            all results for the book")]
    Bench {
        #[command(subcommand)]
        what: Bench,
    },
    /// Fuzzes the parsers of untrusted input with libFuzzer
    #[command(after_help = "The targets are in fuzz/fuzz_targets, small inputs in fuzz/seeds. Inputs that
make a target fail are stored in fuzz/artifacts.

Examples:
  cargo xtask fuzz --seconds 0                       builds all targets
  cargo xtask fuzz --install-deps                    runs each for a minute
  cargo xtask fuzz tarball archive --seconds 600")]
    Fuzz(Fuzz),
    /// Renders the book and checks its links, or writes man pages
    #[command(after_help = "The book is in docs/src; mdBook is pinned in .github/linters.txt.

Examples:
  cargo xtask docs --install-deps                    installs mdBook first
  cargo xtask docs --serve                           shows the book in a browser
  cargo xtask docs --man dist/man")]
    Docs(DocsArgs),
    /// Prints a shell completion script
    #[command(after_help = "Examples:
  alias xtask='cargo xtask'; source <(cargo xtask completions bash)")]
    Completions {
        /// Shell that runs the script
        shell: clap_complete::Shell,
    },
    /// Prints help about a command, or a page of the book about a topic
    #[command(after_help = "Examples:
  cargo xtask help                                   lists commands and topics
  cargo xtask help deploy                            the same as deploy --help
  cargo xtask help option-17                         what if DHCP does not send it")]
    Help {
        /// Command with its subcommand, or topic
        #[arg(value_parser = arguments::name)]
        names: Vec<String>,
    },
}

/// Option that names a file or folder that a command writes.
pub struct Output {
    pub flag: Flag,
    /// Path given for it; `None` for the default.
    pub path: Option<Utf8PathBuf>,
    pub kind: OutputKind,
}

/// What a command writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputKind {
    /// A tree or a release, which replaces the one at the path.
    Tree,
    /// Files in a folder, or a file that replaces nothing.
    Place,
    /// A text with this beginning, which replaces a file that is empty or begins in the same way.
    Text(&'static str),
    /// A tarball whose first entry has a path with this beginning and this part, which replaces a file that is empty or
    /// another of its kind.
    Tarball(&'static str, &'static str),
}

/// Beginnings of the JSON files that commands write.
const IGNITION: &str = "{\n  \"ignition\": {";
const SARIF: &str = "{\n  \"$schema\": \"https://json.schemastore.org/sarif-";
const BENCH: &str = "{\n  \"schema-version\": ";

impl XtaskCommand {
    /// Returns the options that name the outputs of this command.
    pub fn outputs(&self) -> Vec<Output> {
        let output = |flag, path: &Option<Utf8PathBuf>, kind| Output { flag, path: path.clone(), kind };
        let of = |flag, path| output(flag, path, OutputKind::Place);
        let text = |flag, path, beginning| output(flag, path, OutputKind::Text(beginning));
        let tarball = |path, beginning, part| output(Flag::Out, path, OutputKind::Tarball(beginning, part));
        match self {
            Self::BuildLoaders(args) => vec![output(Flag::Out, &args.out, OutputKind::Tree)],
            Self::Release(args) => vec![output(Flag::Out, &args.out, OutputKind::Tree)],
            Self::BundleSources { out, .. } => vec![tarball(out, "netboot-loaders-", "-sources/")],
            Self::BundleBases(args) => vec![tarball(&args.out, "bases.json", "")],
            Self::Recipe(args) => vec![of(Flag::Out, &args.out)],
            Self::Ignition(args) => vec![text(Flag::Out, &args.out, IGNITION)],
            Self::Docs(args) if args.man.is_some() => vec![of(Flag::Man, &args.man)],
            Self::Docs(args) => vec![of(Flag::Out, &args.out)],
            Self::BootTest(args) => vec![of(Flag::Report, &args.report)],
            Self::Lint(args) => vec![text(Flag::Sarif, &args.sarif, SARIF)],
            Self::Rehearse(args) => {
                vec![of(Flag::Report, &args.report), text(Flag::Record, &args.record, rehearse::RECORD)]
            }
            Self::Mirror { what: MirrorCommand::FedoraCoreos { args, .. } | MirrorCommand::Flatcar { args, .. } } => {
                vec![of(Flag::Dest, &Some(args.dest.clone()))]
            }
            Self::SecureBoot {
                what: SecureBootCommand::Keys(Keys { out, .. }) | SecureBootCommand::Sign(Sign { out, .. }),
            } => {
                vec![of(Flag::Out, &Some(out.clone()))]
            }
            Self::Bench { what } => {
                let measured =
                    what.measure().map(|args| [of(Flag::Scratch, &args.scratch), text(Flag::Json, &args.json, BENCH)]);
                measured.into_iter().flatten().collect()
            }
            Self::Fetch(_)
            | Self::Update(_)
            | Self::Clean(_)
            | Self::Doctor(_)
            | Self::Verify(_)
            | Self::Inspect(_)
            | Self::Deploy(_)
            | Self::Reproduce(_)
            | Self::Test(_)
            | Self::Check(_)
            | Self::Fuzz(_)
            | Self::Completions { .. }
            | Self::Help { .. } => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::any::TypeId;

    use clap::{Arg, CommandFactory as _};
    use netboot_loaders::deploy::target::DeployTarget;
    use netboot_loaders::fetch::git;

    use super::*;

    /// Addresses with a password, valid and invalid.
    const ADDRESSES: [&str; 16] = [
        "https://u:S3CRET@h/x",
        "https:/u:S3CRET@h/x",
        "https//u:S3CRET@h/x",
        "https%3A//u:S3CRET@h/x",
        "https://u%3AS3CRET%40h/x",
        "https%3a%2f%2fu%3aS3CRET%40h/x",
        "sftp://u:S3CRET@h/x",
        "sftp://u%3aS3CRET@h/x",
        "sftp//u:S3CRET@h/x",
        "sftp:u:S3CRET@h/x",
        "//u:S3CRET@h/x",
        "/u:S3CRET@h/x",
        "u:S3CRET@h/x",
        "u%3AS3CRET@h/x",
        "u:12/S3CRET@h/x",
        "git@h:S3CRET@x",
    ];
    /// Arguments that take addresses and texts, which are parsed later.
    const TEXTS: [&str; 9] = [
        "scripts",
        "ipxe_url",
        "syslinux_archive",
        "against",
        "append",
        "ssh_options",
        "chain_to",
        "base_url",
        "stream_url",
    ];

    /// Returns all command lines that give `address` to one argument of `command`, with the argument's name.
    fn lines(command: &clap::Command, words: &[String], address: &str) -> Vec<(String, Vec<String>)> {
        let mut all: Vec<_> = command
            .get_subcommands()
            .flat_map(|inner| lines(inner, &[words, &[inner.get_name().to_owned()]].concat(), address))
            .collect();
        if command.get_subcommands().next().is_none() {
            let taking = || command.get_arguments().filter(|arg| arg.get_action().takes_values());
            all.extend(taking().map(|arg| {
                let others = taking().filter(|other| other.is_required_set() && other.get_id() != arg.get_id());
                let others: Vec<String> = others.flat_map(|other| option(other, "other")).collect();
                (arg.get_id().to_string(), [words, &option(arg, address), &others].concat())
            }));
        }
        all
    }

    fn option(arg: &Arg, address: &str) -> Vec<String> {
        arg.get_long().map_or_else(|| vec![address.to_owned()], |long| vec![format!("--{long}"), address.to_owned()])
    }

    /// Arguments that take the path of an input, by name. The target of `deploy` is checked by the library, and the
    /// cache folder where it is opened.
    const INPUTS: [&str; 28] = [
        "butane",
        "cache_dir",
        "db",
        "dhcp_config",
        "expect",
        "file",
        "files",
        "inventories",
        "json",
        "kernels",
        "keys",
        "loader",
        "manifest",
        "network",
        "passphrase_file",
        "path",
        "project",
        "script",
        "secure_boot_set",
        "signer",
        "sources_from",
        "ssh",
        "ssh_config",
        "target",
        "tls_certificate",
        "tls_key",
        "tree",
        "userlands",
    ];

    /// Each output is checked before the command runs; see `commands::run`.
    #[test]
    fn each_path_is_that_of_an_input_or_of_an_output() {
        let mut command = Cli::command();
        command.build();
        let mut outputs = 0;
        for (name, words) in lines(&command, &["xtask".to_owned()], "/a/path") {
            let argument =
                words[1..].iter().try_fold(&command, |command, word| command.find_subcommand(word).ok_or(command));
            let leaf = argument.unwrap_or_else(|leaf| leaf);
            let argument = leaf.get_arguments().find(|argument| argument.get_id() == &*name).unwrap();
            let kind = argument.get_value_parser().type_id();
            if kind != TypeId::of::<Utf8PathBuf>() && kind != TypeId::of::<DeployTarget>() {
                continue;
            }
            let is_option = argument.get_long().is_some();
            if INPUTS.contains(&&*name) && !(name == "json" && is_option) {
                continue;
            }
            let read = Cli::try_parse_from(&words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
            let found = read.command.outputs();
            let given = |output: &Output| {
                output.path.as_deref() == Some("/a/path".into())
                    && words.contains(&format!("--{}", output.flag.as_str()))
            };
            assert!(found.iter().any(given), "`{}` is neither in INPUTS nor one of `outputs()`", words.join(" "));
            outputs += 1;
        }
        assert!(outputs >= 18, "{outputs}");
    }

    #[test]
    fn no_argument_shows_the_password_of_an_address() {
        let mut command = Cli::command();
        command.build();
        let mut count = 0;
        for address in ADDRESSES {
            for (name, words) in lines(&command, &["xtask".to_owned()], address) {
                count += 1;
                match Cli::try_parse_from(&words).map_err(presentable) {
                    Ok(_) => {
                        assert!(TEXTS.contains(&name.as_str()), "{words:?}");
                        // A value that is parsed as a path is shown.
                        let is_path = git::local_path(address).is_some_and(|path| !path.is_absolute());
                        assert!(!["ipxe_url", "syslinux_archive"].contains(&name.as_str()) || !is_path, "{words:?}");
                    }
                    Err(error) => assert!(!error.to_string().contains("S3CRET"), "{words:?}\n{error}"),
                }
            }
        }
        assert!(count > 60 * ADDRESSES.len(), "{count}");
    }
}
