//! The system's OpenSSH client as the transport of SFTP. Keys, agents, `known_hosts` and configuration are the user's
//! own.

use std::error::Error as _;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use camino::Utf8PathBuf;

use super::client::{self, Client};
use super::failure::{SshFailure, quoted};
use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Diagnostic, Flag};
use crate::base::process::{Command, FirstLines, ProgramEnvironment, Running, Streams};
use crate::base::progress::Progress;
use crate::deploy::target::SftpAddress;

/// How long a server may send nothing while a reply is outstanding. Slow flash takes time to sync a file.
const SILENCE: Duration = Duration::from_secs(120);
/// How long to wait for the last output of ssh.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How to start ssh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ssh {
    /// Program.
    pub program: Utf8PathBuf,
    /// Configuration file to use instead of the user's.
    pub config: Option<Utf8PathBuf>,
    /// Options as in `ssh_config`; they take precedence over all others.
    pub options: Vec<String>,
    /// Environment.
    pub env: ProgramEnvironment,
}

impl Ssh {
    /// Returns the command that speaks SFTP with the server of `address` over its standard input and output.
    #[must_use]
    pub fn command(&self, address: &SftpAddress) -> Command {
        let mut words: Vec<String> = Vec::new();
        let mut add = |option: &str, value: &str| words.extend([option.to_owned(), value.to_owned()]);
        if let Some(config) = &self.config {
            add("-F", config.as_str());
        }
        // ssh uses the first value of each option, so the user's options take precedence over these.
        let ours = [
            "ConnectTimeout=20",
            // A link that dies silently is given up after a minute.
            "ServerAliveInterval=15",
            "ServerAliveCountMax=3",
            // The same as sftp sets: settings for interactive use do not apply here.
            "ClearAllForwardings=yes",
            "ForwardAgent=no",
            "ForwardX11=no",
            "PermitLocalCommand=no",
            "RemoteCommand=none",
            "RequestTTY=no",
        ];
        for option in self.options.iter().map(String::as_str).chain(ours) {
            add("-o", option);
        }
        if let Some(port) = address.port() {
            add("-p", &port.to_string());
        }
        if let Some(user) = address.user() {
            add("-l", user);
        }
        words.extend(["-s", "--", address.host(), "sftp"].map(str::to_owned));
        let mut command =
            Command::new(format!("connect with `{}`", address.login()), self.program.as_str()).args(words);
        command.env.clone_from(&self.env);
        // ssh may ask for a passphrase or a password, or to confirm a host key.
        command.asks = true;
        command
    }

    /// Returns the command with which the user can try the same connection, and be asked about its host key.
    #[must_use]
    pub fn by_hand(&self, address: &SftpAddress) -> String {
        let asks = |option: &&String| {
            let name = option_name(option);
            !["BatchMode", "StrictHostKeyChecking"].iter().any(|silent| name.eq_ignore_ascii_case(silent))
        };
        let options = self.options.iter().filter(asks).flat_map(|option| ["-o".to_owned(), option.clone()]);
        let config = self.config.iter().flat_map(|config| ["-F".to_owned(), config.to_string()]);
        let port = address.port().into_iter().flat_map(|port| ["-p".to_owned(), port.to_string()]);
        let words: Vec<String> = config.chain(options).chain(port).chain([address.login()]).collect();
        let command = Command::new(String::new(), "ssh").args(words).to_string();
        // Users have their own environment.
        command.strip_prefix("env -i ").map(str::to_owned).unwrap_or(command)
    }

    /// Returns the name of the server in `known_hosts`, as far as the address and the options tell it.
    fn known_as(&self, address: &SftpAddress) -> String {
        let value = |name: &str| {
            let mut given = self.options.iter().filter(|option| option_name(option).eq_ignore_ascii_case(name));
            let value = given.next().map(|option| &option[option_name(option).len()..]);
            value.map(|value| value.trim_start_matches([' ', '\t', '=']).trim_end())
        };
        if let Some(alias) = value("HostKeyAlias") {
            return alias.to_owned();
        }
        let port = value("Port").and_then(|port| port.parse().ok()).or(address.port());
        address.known_as(port)
    }
}

/// Returns the name of an option in the notation of `ssh_config`: `Port=22`, or `Port 22`.
fn option_name(option: &str) -> &str {
    option.trim_start().split([' ', '\t', '=']).next().unwrap_or_default()
}

/// Errors from connecting to a server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// ssh ended before the server sent its greeting.
    #[error(transparent)]
    Failed(#[from] Box<SshFailure>),
    /// The server sends something other than SFTP.
    #[error("`{host}` sends something else than SFTP: found `{found}`")]
    NotSftp {
        /// Server.
        host: String,
        /// Beginning of what it sends.
        found: String,
        /// The command with which the user can try the connection.
        by_hand: String,
    },
    /// The program cannot be started. (Its command is not shown: it names all variables of the environment.)
    #[error("cannot start `{program}`: {reason}")]
    NotStarted {
        /// Program.
        program: Utf8PathBuf,
        /// Error message of the operating system.
        reason: String,
    },
    /// The operating system refused.
    #[error("cannot talk to `ssh`: {0}")]
    Io(std::io::Error),
    /// The user interrupted the connection.
    #[error("interrupted")]
    Cancelled,
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Failed(failure) => failure.diagnosis(),
            Self::NotSftp { host, by_hand, .. } => Class::Unavailable.about(host).help(format!(
                "a login script that prints something can be the cause: see what `{by_hand} true` prints"
            )),
            Self::NotStarted { program, .. } => Class::MissingTool.about(program).help(Flag::Ssh),
            Self::Io(_) => Class::Unavailable.into(),
            Self::Cancelled => Class::Interrupted.into(),
        }
    }
}

/// Connection that speaks SFTP; it ends when dropped.
pub(super) struct Connection<'p> {
    pub(super) client: Client<'p>,
    stderr: FirstLines,
    stream: UnixStream,
    _running: Running,
}

impl<'p> Connection<'p> {
    /// Connects to the server of `address`.
    pub(super) fn open(ssh: &Ssh, address: &SftpAddress, progress: &'p dyn Progress) -> Result<Self, Error> {
        let (stream, its) = UnixStream::pair().map_err(Error::Io)?;
        let streams = Streams {
            input: Some(OwnedFd::from(its.try_clone().map_err(Error::Io)?)),
            output: Some(OwnedFd::from(its)),
        };
        let running = ssh.command(address).start(streams).map_err(|error| {
            let reason = error.source().map_or_else(String::new, ToString::to_string);
            Error::NotStarted { program: ssh.program.clone(), reason }
        })?;
        // A server can make ssh print any number of messages.
        let stderr = running.first_lines();
        match Client::handshake(stream.try_clone().map_err(Error::Io)?, SILENCE, progress) {
            Ok(client) => {
                let words = stderr.so_far();
                if !words.is_empty() {
                    progress.warn(Diagnostic::new(format!("`ssh` says{}", quoted(&words))));
                }
                Ok(Self { client, stderr, stream, _running: running })
            }
            Err(client::Error::Cancelled) => Err(Error::Cancelled),
            Err(client::Error::NotSftp(found)) => {
                Err(Error::NotSftp { host: address.host().to_owned(), found, by_hand: ssh.by_hand(address) })
            }
            Err(client::Error::Gone | client::Error::Silent | client::Error::Slow | client::Error::Refused(_)) => {
                let (by_hand, known_as) = (ssh.by_hand(address), ssh.known_as(address));
                let words = stderr.until_the_end(LAST_WORDS);
                Err(Box::new(SshFailure::diagnose(address, by_hand, known_as, words)).into())
            }
        }
    }

    /// Returns the output of ssh about a lost connection.
    pub(super) fn last_words(&self) -> Vec<String> {
        // If only this side has given up, this ends ssh.
        let _ = self.stream.shutdown(Shutdown::Both);
        self.stderr.until_the_end(LAST_WORDS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deploy::target::DeployTarget;

    fn address(text: &str) -> SftpAddress {
        match text.parse() {
            Ok(DeployTarget::Sftp(address)) => address,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_person_s_options_go_first_and_an_address_is_no_option() {
        let ssh = Ssh {
            program: "ssh".into(),
            config: Some("my config".into()),
            options: vec!["IdentityFile=k".into()],
            env: ProgramEnvironment::inherited([("HOME".into(), "/home/a".into())]),
        };
        let command = ssh.command(&address("sftp://admin@router:2222/tftp"));
        assert_eq!(
            command.to_string(),
            "env -i HOME=\"$HOME\" ssh -F 'my config' -o IdentityFile=k -o ConnectTimeout=20 -o ServerAliveInterval=15 \
             -o ServerAliveCountMax=3 -o ClearAllForwardings=yes -o ForwardAgent=no -o ForwardX11=no \
             -o PermitLocalCommand=no -o RemoteCommand=none -o RequestTTY=no -p 2222 -l admin -s -- router sftp"
        );
        assert!(command.asks);
    }

    #[test]
    fn hints_name_the_connection_that_the_options_make() {
        let ssh = |options: &[&str]| Ssh {
            program: "ssh".into(),
            config: None,
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            env: ProgramEnvironment::inherited([]),
        };
        let plain = address("sftp://admin@router/tftp");
        for options in [["Port=2222", "BatchMode=yes"], ["port 2222", "stricthostkeychecking yes"]] {
            let option = if options[0].contains('=') { "Port=2222" } else { "'port 2222'" };
            assert_eq!(ssh(&options).by_hand(&plain), format!("ssh -o {option} admin@router"));
            assert_eq!(ssh(&options).known_as(&plain), "[router]:2222");
        }
        let other = address("sftp://admin@router:2200/tftp");
        // The first value counts, and ssh gets the options first.
        assert_eq!(ssh(&["Port=2222", "Port=1"]).known_as(&other), "[router]:2222");
        assert_eq!(ssh(&["HostKeyAlias=mine", "Port=2222"]).known_as(&other), "mine");
        assert_eq!((&*ssh(&[]).known_as(&other), &*ssh(&["Port=22"]).known_as(&other)), ("[router]:2200", "router"));
        let ssh = Ssh { config: Some("my config".into()), ..ssh(&[]) };
        assert_eq!(ssh.by_hand(&other), "ssh -F 'my config' -p 2200 admin@router");
    }
}
