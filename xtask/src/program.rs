//! Name of this program, and its wording of remedies and commands.

use std::env;
use std::path::Path;
use std::sync::OnceLock;

use netboot_loaders::base::diagnostic::{Flag, Help, Subcommand, Wording};
use netboot_loaders::base::process::quoted;
use netboot_loaders::printable::is_harmful;

/// Name of the program through cargo's alias, and in texts that are published or deployed.
const ALIAS: &str = "cargo xtask";
/// Name of the program file that the alias runs.
const FILE: &str = "xtask";

/// Returns the name by which the user calls this program: cargo's alias, or the name under which it was installed.
pub fn name() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| of_path(env::args_os().next().map(|path| path.to_string_lossy().into_owned()).as_deref()))
}

/// Checks whether this program was called through cargo's alias.
pub fn is_alias() -> bool {
    name() == ALIAS
}

fn of_path(path: Option<&str>) -> String {
    let file = path.and_then(|path| Path::new(path).file_name()?.to_str());
    match file {
        None | Some(FILE) => ALIAS.to_owned(),
        // A name that could control the terminal is never shown.
        Some(file) if file.chars().any(is_harmful) => ALIAS.to_owned(),
        Some(file) => quoted(file),
    }
}

/// Wording of the messages of this run.
pub static SHOWN: Words = Words(None);
/// Wording of published texts, which does not depend on how this program was called.
pub static PUBLISHED: Words = Words(Some(ALIAS));

/// Wording of remedies and commands for a program of that name; `None` stands for [`name`].
pub struct Words(Option<&'static str>);

impl Words {
    fn name(&self) -> &'static str {
        self.0.unwrap_or_else(name)
    }
}

impl Wording for Words {
    fn command(&self, command: &Subcommand) -> String {
        use Subcommand as C;
        let arguments = match command {
            C::BuildLoaders => "build-loaders".to_owned(),
            C::PackTarball => "build-loaders --archive".to_owned(),
            C::UpdateBaseline => "build-loaders --update-baseline".to_owned(),
            C::BuildFromBundle(bundle) => format!("build-loaders --offline --sources-from {bundle}"),
            C::Fetch => "fetch".to_owned(),
            C::BundleSources => "bundle-sources".to_owned(),
            C::Doctor => "doctor".to_owned(),
            C::InstallDeps => "doctor --install-deps".to_owned(),
            C::PrepareHost => "doctor --for boot-test --prepare-host".to_owned(),
            C::Verify(tree) => format!("verify {tree}"),
            C::BootTest(tree) => format!("boot-test {tree}"),
            C::ListCases => "boot-test --list".to_owned(),
            C::Reproduce => "reproduce".to_owned(),
            C::ReproduceAgainst(tree) => format!("reproduce --against {tree}"),
            C::RecordToolchain => "reproduce --all-loaders --record NAME".to_owned(),
            C::Release => "release --dry-run".to_owned(),
            C::Recipe(server) => format!("recipe {server} --out FOLDER"),
            C::Deploy => "deploy".to_owned(),
            C::RenewLoaderKey(folder) => format!("secure-boot keys --leaf --out {folder}"),
            C::Read(page) => format!("help {page}"),
        };
        format!("{} {arguments}", self.name())
    }

    fn help(&self, help: &Help) -> String {
        match help {
            Help::Fix(text) => text.clone(),
            Help::Again => "run the command again".to_owned(),
            Help::Resume => "run the command again: it resumes where it stopped".to_owned(),
            Help::With(flag) => with(*flag).to_owned(),
            Help::WithValue(flag, value) => format!("run the command with `{} {}`", option(*flag), quoted(value)),
            Help::Without(flag) => format!("leave `{}` out", option(*flag)),
            Help::Run(command) => run(command, &self.command(command)),
        }
    }
}

/// Returns the option as the user types it.
fn option(flag: Flag) -> String {
    match flag {
        Flag::SshIdentity => "--ssh-option IdentityFile=FILE".to_owned(),
        flag => format!("--{}", flag.as_str()),
    }
}

/// Returns the remedy that uses the option.
fn with(flag: Flag) -> &'static str {
    match flag {
        Flag::AllowOlder => "go back to the older version with `--allow-older`",
        Flag::Arch => "choose one of these with `--arch`",
        Flag::Archive => "pack a new one with `--archive`",
        Flag::BaseUrl => "name another server with `--base-url`",
        Flag::CacheDir => "choose another cache folder with `--cache-dir`",
        Flag::Dest => "choose another folder with `--dest`",
        Flag::InstallDeps => "run the command with `--install-deps`, which installs it",
        Flag::IpxeUrl => "name a mirror or a local clone with `--ipxe-url`",
        Flag::Json => "choose another file with `--json`",
        Flag::Keys => "give the file that the publisher offers with `--keys`",
        Flag::Leaf => "make a new key for loaders with `--leaf`",
        Flag::Links => "choose another kind of link with `--links`",
        Flag::Man => "choose another folder with `--man`",
        Flag::NoWerror => "ignore warnings of the compiler with `--no-werror`: no byte of the loaders changes",
        Flag::Out => "choose another folder with `--out`",
        Flag::PassphraseFile => "name the file of its passphrase with `--passphrase-file`",
        Flag::Record => "choose another file with `--record`",
        Flag::Relink => "link loaders with a slot that is large enough with `--relink`",
        Flag::Replace => "replace what is there with `--replace`",
        Flag::Report => "choose another folder with `--report`",
        Flag::Sarif => "choose another file with `--sarif`",
        Flag::Scratch => "choose another folder with `--scratch`",
        Flag::SecureBootSet => "give its files, or their archive, with `--secure-boot-set`",
        Flag::Shim => "keep the shim of each release with `--shim`",
        Flag::SourcesFrom => "give a source bundle with `--sources-from`",
        Flag::Ssh => "name OpenSSH's client with `--ssh`",
        Flag::SshIdentity => "name a key with `--ssh-option IdentityFile=FILE`",
        Flag::SyslinuxArchive => "give the release archive with `--syslinux-archive`",
        Flag::To => "name what to pin with `--to`",
        Flag::VerifySignatures => "check the publisher's signatures with `--verify-signatures`",
    }
}

/// Returns the remedy that uses the command, whose command line is `line`.
fn run(command: &Subcommand, line: &str) -> String {
    use Subcommand as C;
    match command {
        C::BuildLoaders | C::BuildFromBundle(_) => format!("build the tree with `{line}`"),
        C::PackTarball => format!("pack it again with `{line}`"),
        C::UpdateBaseline => format!("accept what is linked with `{line}`, and commit vendor/linked-objects"),
        C::Fetch => format!("run `{line}` where there is a network"),
        C::BundleSources => format!("give a file that `{line}` wrote"),
        C::Doctor => format!("see what is missing with `{line}`"),
        C::InstallDeps => format!("install it with `{line}`"),
        C::PrepareHost => format!("allow it with `{line}`"),
        C::Verify(_) => format!("verify it with `{line}`"),
        C::BootTest(_) => format!("boot it with `{line}`"),
        C::ListCases => format!("list all cases with `{line}`"),
        C::Reproduce | C::ReproduceAgainst(_) => format!("find out why with `{line}`"),
        C::RecordToolchain => format!("record it with `{line}`"),
        C::Release | C::Recipe(_) => format!("write it again with `{line}`"),
        C::Deploy => format!("deploy the tree again with `{line}`"),
        C::RenewLoaderKey(_) => format!("make a new key for loaders there with `{line}`"),
        C::Read(_) => format!("read `{line}`"),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use netboot_loaders::base::diagnostic::Page;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn an_installed_program_has_the_name_of_its_file() {
        for (path, name) in [
            (Some("target/debug/xtask"), "cargo xtask"),
            (None, "cargo xtask"),
            (Some("/usr/local/bin/netboot-loaders"), "netboot-loaders"),
            (Some("nl"), "nl"),
            (Some("/opt/my loaders"), "'my loaders'"),
            (Some("x\u{1b}[2J"), "cargo xtask"),
        ] {
            assert_eq!(of_path(path), name);
        }
        let verify = Subcommand::Verify("t.tar.gz".into());
        assert_eq!(PUBLISHED.command(&verify), "cargo xtask verify t.tar.gz");
        assert_eq!(Words(Some("netboot-loaders")).command(&verify), "netboot-loaders verify t.tar.gz");
    }

    #[test]
    fn commands_and_options_that_remedies_name_exist() {
        let s = String::new;
        let commands = [
            Subcommand::BuildLoaders,
            Subcommand::PackTarball,
            Subcommand::UpdateBaseline,
            Subcommand::BuildFromBundle("x".into()),
            Subcommand::Fetch,
            Subcommand::BundleSources,
            Subcommand::Doctor,
            Subcommand::InstallDeps,
            Subcommand::PrepareHost,
            Subcommand::Verify(s()),
            Subcommand::BootTest(s()),
            Subcommand::ListCases,
            Subcommand::Reproduce,
            Subcommand::ReproduceAgainst("x".into()),
            Subcommand::RecordToolchain,
            Subcommand::Release,
            Subcommand::Recipe("kea".into()),
            Subcommand::RenewLoaderKey("keys".into()),
        ];
        for command in commands.into_iter().chain(Page::ALL.map(Subcommand::Read)) {
            let line = PUBLISHED.command(&command);
            let words = line.strip_prefix(ALIAS).unwrap().split_whitespace();
            let read = Cli::command().try_get_matches_from(std::iter::once(FILE).chain(words));
            assert!(read.is_ok(), "{line}: {read:?}");
        }
        let all = Cli::command();
        for flag in Flag::ALL {
            let option = option(flag);
            let long = option.trim_start_matches("--").split(' ').next().unwrap();
            assert!(has(&all, long), "{long}");
            assert!(with(flag).contains(&option), "{long}");
        }
    }

    fn has(command: &clap::Command, long: &str) -> bool {
        command.get_arguments().any(|argument| argument.get_long() == Some(long))
            || command.get_subcommands().any(|command| has(command, long))
    }
}
