//! The command line.

mod arguments;
mod bench;
mod deploy;
mod mirror;
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
pub use self::mirror::{MirrorArgs, MirrorCommand};
pub use self::servers::*;
use crate::{exit, program};

/// Builds, checks and publishes TFTP trees of iPXE and syslinux loaders from pinned inputs.
#[derive(Parser)]
#[command(name = "xtask", bin_name = "cargo xtask", version, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: XtaskCommand,
}

/// The command line of this process.
pub fn parse() -> Result<Cli, clap::Error> {
    let mut matches = command().try_get_matches()?;
    Cli::from_arg_matches_mut(&mut matches)
}

/// The command line with its help, in which the program has the name that a person calls it by.
pub fn command() -> clap::Command {
    let command = Cli::command().after_help(exit::help());
    if program::is_alias() {
        command
    } else {
        renamed(command, program::name()).bin_name(program::name()).display_name(program::name())
    }
}

/// `command` and all below it, whose help calls the program `name`.
fn renamed(mut command: clap::Command, name: &str) -> clap::Command {
    let called = |text: &StyledStr| {
        let text = text.ansi().to_string().replace("cargo xtask", name);
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

/// What is wrong with the command line, without passwords of addresses that it has, and with characters escaped that
/// are not seen.
pub fn presentable(error: clap::Error) -> clap::Error {
    let error = without_secrets(error);
    let message = error.render().to_string();
    let shown = harmless(&message);
    if shown == message { error } else { clap::Error::raw(error.kind(), shown.trim_start_matches("error: ")) }
}

/// What is wrong with the command line, without passwords of addresses that it has.
fn without_secrets(mut error: clap::Error) -> clap::Error {
    const SAID: [ContextKind; 4] =
        [ContextKind::InvalidArg, ContextKind::InvalidSubcommand, ContextKind::InvalidValue, ContextKind::TrailingArg];
    for kind in SAID {
        let Some(ContextValue::String(text)) = error.get(kind) else { continue };
        let url = Url::from(text.as_str());
        // A user of a server that is deployed to is no secret.
        let target = text.strip_prefix("sftp://").unwrap_or(text);
        let is_user = |(user, rest): (&str, &str)| !user.contains([':', '/', '%']) && !rest.contains('@');
        let is_user = target.split_once('@').is_some_and(is_user);
        if is_user || !url.has_secret() {
            continue;
        }
        error.insert(kind, ContextValue::String(url.to_string()));
        // What is proposed instead has the same words in it.
        let message = error.render().to_string();
        let hidden = url.hide_in(&message);
        if hidden != message {
            return clap::Error::raw(error.kind(), hidden.trim_start_matches("error: "));
        }
    }
    error
}

/// What every command understands.
#[derive(Args)]
pub struct Global {
    /// Says nothing but errors
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub quiet: bool,
    /// How to say what happens: for people, or one JSON object a line
    #[arg(long, global = true, help_heading = "Global options", value_name = "FORMAT", default_value = "human")]
    pub message_format: MessageFormat,
    /// Where sources, build trees and built loaders are kept [default: the user's cache folder]
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
    /// The folder with vendor/ and embed-scripts/ [default: this repository]
    #[arg(long, global = true, help_heading = "Global options", value_name = "DIR", value_parser = local_path)]
    pub project: Option<Utf8PathBuf>,
}

/// How to say what happens.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MessageFormat {
    /// Bars on a terminal, plain lines elsewhere.
    Human,
    /// One JSON object a line, on standard output.
    Json,
}

/// The commands.
#[derive(Subcommand)]
pub enum XtaskCommand {
    /// Builds the loaders and publishes the tree
    #[command(after_help = "Examples:
  cargo xtask build-loaders --install-deps           on a fresh machine
  cargo xtask build-loaders --archive                the tree and its tarball
  cargo xtask build-loaders --plan                   what would be done
  cargo xtask build-loaders --ipxe-url ../ipxe.git --syslinux-archive syslinux-6.03.zip
  cargo xtask build-loaders --offline                from the cache alone")]
    BuildLoaders(BuildLoaders),
    /// Fills the cache with everything that is pinned
    #[command(after_help = "Examples:
  cargo xtask fetch
  cargo xtask fetch --ipxe-url https://git.example.net/mirrors/ipxe.git")]
    Fetch(OriginArgs),
    /// Writes all that the loaders are made from as one tarball
    #[command(after_help = "The bundle is what the licences of the loaders ask to be offered with them, and all that
a build needs where there is no network.

Examples:
  cargo xtask bundle-sources
  cargo xtask build-loaders --offline --sources-from netboot-loaders-0.1.0-sources.tar.gz")]
    BundleSources {
        /// Where the bundle goes [default: dist/netboot-loaders-VERSION-sources.tar.gz]
        #[arg(long, value_name = "FILE", value_parser = local_path)]
        out: Option<Utf8PathBuf>,
        #[command(flatten)]
        origins: OriginArgs,
    },
    /// Writes the bases that loaders are stamped from as one tarball
    #[command(
        after_help = "A server that has the bundle gives each machine a loader of its own, without make or iPXE's source:
see stamp/examples/stamp_server.rs. The bundle has a base for each configuration, loader and size of slot that
sites.toml and the inventories ask for; the sites themselves are not in it.

Examples:
  cargo xtask bundle-bases
  cargo xtask bundle-bases --offline --out bases.tar.gz"
    )]
    BundleBases(BundleBases),
    /// Moves the pins to newer inputs, and says what that brings
    #[command(
        after_help = "No build does this by itself. The pins are written as a whole or not at all; their comments
stay. What is new is in the cache afterwards.

Examples:
  cargo xtask update                                 iPXE's newest release
  cargo xtask update ipxe --to master --dry-run      what master has since the pin
  cargo xtask update ipxe --ipxe-url ../ipxe --to 0ab2277c40f1de56c736b9e7db7ee23d52509ec5
  cargo xtask update syslinux --syslinux-archive syslinux-6.03.zip"
    )]
    Update(Update),
    /// Keeps a copy of the images that a publisher calls current, as whole sets
    #[command(
        after_help = "The last line on standard output is one JSON object: mirror, stream, arch, version, previous, changed,
older, removed. Run it once a day; --print-schedule prints what does that.

Examples:
  cargo xtask mirror fedora-coreos --dest /srv/www/fedora-coreos
  cargo xtask mirror flatcar --channel beta --dest /srv/www/flatcar --verify-signatures
  cargo xtask mirror fedora-coreos --dest /srv/www/fedora-coreos --print-schedule systemd"
    )]
    Mirror {
        #[command(subcommand)]
        what: MirrorCommand,
    },
    /// Removes what no build needs any more: from the cache, and what killed runs have left
    #[command(
        after_help = "What this project needs stays, and so does what anybody has used lately: other projects may share the
cache. What this tool did not make is left alone and named.

Examples:
  cargo xtask clean --dry-run                        what would be removed, and how large it is
  cargo xtask clean
  cargo xtask clean --unused-for 0                   all that this project does not need
  cargo xtask clean --sites racks.csv                the sites of that inventory need their bases, too"
    )]
    Clean(Clean),
    /// Says which tools are there, which are missing, and how to install them
    #[command(after_help = "Examples:
  cargo xtask doctor
  cargo xtask doctor --for check --install-deps
  cargo xtask doctor --for mirror                      for --verify-signatures
  cargo xtask doctor --for boot-test --prepare-host    on Ubuntu 24.04")]
    Doctor(Doctor),
    /// Compares a tree or a tarball with its own manifest and checksums
    #[command(after_help = "Examples:
  cargo xtask verify                                 dist/tftp
  cargo xtask verify netboot-loaders-0.1.0-tftp.tar.gz
  cargo xtask verify --against-make --sample 20      has make link the loaders of 20 sites, and compares")]
    Verify(Verify),
    /// Says what a loader is: version, drivers, embedded script, and whether a manifest knows it
    #[command(after_help = "Examples:
  cargo xtask inspect dist/tftp/ipxe.efi
  cargo xtask inspect /srv/tftp/undionly.kpxe --manifest dist/tftp")]
    Inspect(Inspect),
    /// Boots the loaders of a tree or a tarball in virtual machines, and says which got through
    #[command(after_help = "Examples:
  cargo xtask boot-test --install-deps               on a fresh machine
  cargo xtask boot-test --loader ipxe.efi            one loader of dist/tftp
  cargo xtask boot-test netboot-loaders-0.1.0-tftp.tar.gz
  cargo xtask boot-test --site rack-1 --jobs 1
  cargo xtask boot-test --list                       what would be tried")]
    BootTest(BootTest),
    /// Writes the configuration of a DHCP, TFTP or HTTP server for this tree
    #[command(after_help = "It is made of embed-scripts/network.toml, and of the loaders that sites.toml asks for.

Examples:
  cargo xtask recipe                                 which servers there are recipes for
  cargo xtask recipe routeros                        prints it
  cargo xtask recipe dnsmasq --out dist/recipes      writes it, with all that comes with it
  cargo xtask recipe routeros --undo                 prints what takes it back")]
    Recipe(Recipe),
    /// Writes a starter configuration for Ignition, with which a machine sets itself up
    #[command(after_help = "It is made of the table [ignition] of embed-scripts/network.toml.

Examples:
  cargo xtask ignition                               prints it
  cargo xtask ignition --host k8s-master-01 --out dist/k8s-master-01.ign
  cargo xtask ignition --butane machine.bu           has butane make it of a file of yours")]
    Ignition(Ignition),
    /// Brings a tree or a tarball to the folder or the server that machines boot from
    #[command(
        after_help = "Only what has changed is sent. Each file is read back before it takes the place of the old one. What
somebody else put there stays.

Examples:
  cargo xtask deploy --dry-run sftp://admin@192.168.88.1/tftp    what would be done
  cargo xtask deploy sftp://admin@192.168.88.1/tftp              dist/tftp to a router
  cargo xtask deploy --prune sftp://nas/~/tftp                   below the folder where a login begins
  cargo xtask deploy /srv/tftp --tree netboot-loaders-0.1.0-tftp.tar.gz"
    )]
    Deploy(Deploy),
    /// Builds everything again under other conditions, and compares every byte
    #[command(
        after_help = "Exit code 0 says that every byte is the same, 11 that the tools differ, 12 that bytes differ.

Examples:
  cargo xtask reproduce                              two builds, one with everything varied
  cargo xtask reproduce --against netboot-loaders-0.1.0-tftp.tar.gz
  cargo xtask reproduce --against https://example.net/manifest.json
  cargo xtask reproduce --vary path --vary clock
  cargo xtask reproduce --list                       what can be varied"
    )]
    Reproduce(Reproduce),
    /// Writes every file of a release, and makes a draft of it
    #[command(after_help = "Without --dry-run the files become one draft release of the repository, through GitHub's
program `gh`.

Examples:
  cargo xtask release --dry-run                      the files alone, in dist/release
  cargo xtask release --files dist/release --tag v0.1.0")]
    Release(ReleaseArgs),
    /// Runs the tests that need neither machines nor pinned sources, and that are fast
    #[command(after_help = "Examples:
  cargo xtask test                                   after each change
  cargo xtask test deploy::                          all of `deploy`, slow ones among them")]
    Test(TestArgs),
    /// Runs every check of this repository: format, lints, workflows, tests
    #[command(after_help = "Examples:
  cargo xtask check --install-deps                   on a fresh machine
  cargo xtask check lint docs                        without tests
  cargo xtask check --full --timings                 all there is, and what took longest
  cargo xtask check --require-real                   fails where anything has to be skipped")]
    Check(Check),
    /// Measures against what people do without this tool, pair by pair in one run
    #[command(
        after_help = "Each writes its section of dist/bench.json anew, and leaves the others as they are. A machine
that has other work to do measures that.

Examples:
  cargo xtask bench warm
  cargo xtask bench sites --count 1000 --linear
  cargo xtask bench table                            all that was measured, for the README"
    )]
    Bench {
        #[command(subcommand)]
        what: Bench,
    },
    /// Feeds what others may write to what reads it, made up by libFuzzer
    #[command(after_help = "The targets are in fuzz/fuzz_targets, small inputs in fuzz/seeds. What makes a target
fail is left in fuzz/artifacts.

Examples:
  cargo xtask fuzz --seconds 0                       builds all targets
  cargo xtask fuzz --install-deps                    a minute for each
  cargo xtask fuzz tarball archive --seconds 600")]
    Fuzz(Fuzz),
    /// Prints a completion script
    #[command(after_help = "Examples:
  alias xtask='cargo xtask'; source <(cargo xtask completions bash)")]
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
}

impl XtaskCommand {
    /// The option that names where this command writes, and the path that it was given.
    pub fn output(&self) -> Option<(Flag, Option<Utf8PathBuf>)> {
        let (option, path) = match self {
            Self::BuildLoaders(args) => (Flag::Out, &args.out),
            Self::BundleSources { out, .. } => (Flag::Out, out),
            Self::BundleBases(args) => (Flag::Out, &args.out),
            Self::Recipe(args) => (Flag::Out, &args.out),
            Self::Ignition(args) => (Flag::Out, &args.out),
            Self::Release(args) => (Flag::Out, &args.out),
            Self::BootTest(args) => (Flag::Report, &args.report),
            Self::Mirror { what: MirrorCommand::FedoraCoreos { args, .. } | MirrorCommand::Flatcar { args, .. } } => {
                return Some((Flag::Dest, Some(args.dest.clone())));
            }
            _ => return None,
        };
        Some((option, path.clone()))
    }
}

#[cfg(test)]
mod tests {
    use clap::{Arg, CommandFactory as _};
    use netboot_loaders::fetch::git;

    use super::*;

    /// Addresses with a password, right and wrong.
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
    /// What takes addresses and texts, and is read later.
    const TEXTS: [&str; 8] =
        ["ipxe_url", "syslinux_archive", "against", "append", "ssh_options", "chain_to", "base_url", "stream_url"];

    /// All command lines that give `address` to one argument of `command`, with the argument's name.
    fn lines(command: &clap::Command, words: &[String], address: &str) -> Vec<(String, Vec<String>)> {
        let below = command.get_subcommands().filter(|command| command.get_name() != "help");
        let mut all: Vec<_> =
            below.flat_map(|inner| lines(inner, &[words, &[inner.get_name().to_owned()]].concat(), address)).collect();
        if command.get_subcommands().next().is_none() {
            let taking = command.get_arguments().filter(|arg| arg.get_action().takes_values());
            all.extend(taking.map(|arg| (arg.get_id().to_string(), [words, &option(arg, address)].concat())));
        }
        all
    }

    fn option(arg: &Arg, address: &str) -> Vec<String> {
        arg.get_long().map_or_else(|| vec![address.to_owned()], |long| vec![format!("--{long}"), address.to_owned()])
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
                        // What is taken for a path is shown.
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
