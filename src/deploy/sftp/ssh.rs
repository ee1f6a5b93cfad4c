//! The system's OpenSSH, which carries SFTP: keys, agents, `known_hosts` and configuration are a person's own.

use std::error::Error as _;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver, TrySendError};
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;

use super::client::{self, Client};
use super::failure::{SshFailure, quoted};
use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Diagnostic, Flag};
use crate::base::process::{Command, Running, Streams};
use crate::base::progress::Progress;
use crate::deploy::target::SftpAddress;

/// How long a server may say nothing while it owes a reply. Slow flash takes its time to sync a file.
const SILENCE: Duration = Duration::from_secs(120);
/// How long ssh may take to say its last words.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How ssh is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ssh {
    /// The program.
    pub program: Utf8PathBuf,
    /// A configuration file instead of the user's.
    pub config: Option<Utf8PathBuf>,
    /// Options as in `ssh_config`; they go before all others.
    pub options: Vec<String>,
    /// Its environment.
    pub env: Vec<(String, String)>,
}

impl Ssh {
    /// The command that speaks SFTP with the server of `address` over its standard input and output.
    #[must_use]
    pub fn command(&self, address: &SftpAddress) -> Command {
        let mut words: Vec<String> = Vec::new();
        let mut add = |option: &str, value: &str| words.extend([option.to_owned(), value.to_owned()]);
        if let Some(config) = &self.config {
            add("-F", config.as_str());
        }
        // ssh takes the first value that it is given, so a person's own options win over these.
        let ours = [
            "ConnectTimeout=20",
            // A line that is dead without a word is given up after a minute.
            "ServerAliveInterval=15",
            "ServerAliveCountMax=3",
            // As sftp has it: what a configuration says for interactive use has no place here.
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
        // For a passphrase, a password, or whether a key is right.
        command.asks = true;
        command
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// ssh has ended before the server has greeted.
    #[error(transparent)]
    Failed(#[from] SshFailure),
    /// Something else than SFTP.
    #[error(
        "`{}` sends something else than SFTP: found `{found}`",
        address.host()
    )]
    NotSftp {
        /// The server.
        address: SftpAddress,
        /// How that begins.
        found: String,
    },
    /// The program cannot be started. (Its command is not shown: it has the whole environment.)
    #[error("cannot start `{program}`: {reason}")]
    NotStarted {
        /// The program.
        program: Utf8PathBuf,
        /// What the operating system says.
        reason: String,
    },
    /// The operating system refuses.
    #[error("cannot talk to `ssh`: {0}")]
    Io(std::io::Error),
    /// The user asked to stop.
    #[error("interrupted")]
    Cancelled,
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Failed(failure) => failure.diagnosis(),
            Self::NotSftp { address, .. } => Class::Unavailable.about(address.host()).help(format!(
                "a login script that prints something can be the cause: see what `{} true` prints",
                address.by_hand()
            )),
            Self::NotStarted { program, .. } => Class::MissingTool.about(program).help(Flag::Ssh),
            Self::Io(_) => Class::Unavailable.into(),
            Self::Cancelled => Class::Interrupted.into(),
        }
    }
}

/// How many lines of what ssh says are kept until somebody asks for them: a server can have it say any number.
const LINES: usize = 200;

/// What ssh says besides.
struct SshStderr {
    lines: Receiver<Option<String>>,
    heard: Vec<String>,
}

impl SshStderr {
    fn listen(running: &Running) -> Self {
        let (sender, lines) = mpsc::sync_channel(LINES);
        running.each_line(move |line| !matches!(sender.try_send(line), Err(TrySendError::Disconnected(_))));
        Self { lines, heard: Vec::new() }
    }

    /// What was said so far and was not taken yet.
    fn so_far(&mut self) -> Vec<String> {
        self.heard.extend(self.lines.try_iter().flatten());
        std::mem::take(&mut self.heard)
    }

    /// What there is to say until the end, which does not take long.
    fn until_the_end(&mut self) -> Vec<String> {
        let patience = Instant::now();
        while let Ok(Some(line)) = self.lines.recv_timeout(LAST_WORDS.saturating_sub(patience.elapsed())) {
            self.heard.push(line);
        }
        std::mem::take(&mut self.heard)
    }
}

/// A connection that speaks SFTP; it ends when dropped.
pub(super) struct Connection<'p> {
    pub(super) client: Client<'p>,
    stderr: SshStderr,
    stream: UnixStream,
    _running: Running,
}

impl<'p> Connection<'p> {
    /// Connects with the server of `address`.
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
        let mut stderr = SshStderr::listen(&running);
        match Client::handshake(stream.try_clone().map_err(Error::Io)?, SILENCE, progress) {
            Ok(client) => {
                let words = stderr.so_far();
                if !words.is_empty() {
                    progress.warn(Diagnostic::new(format!("`ssh` says{}", quoted(&words))));
                }
                Ok(Self { client, stderr, stream, _running: running })
            }
            Err(client::Error::Cancelled) => Err(Error::Cancelled),
            Err(client::Error::NotSftp(found)) => Err(Error::NotSftp { address: address.clone(), found }),
            Err(client::Error::Gone | client::Error::Silent | client::Error::Slow | client::Error::Refused(_)) => {
                Err(SshFailure::diagnose(address, stderr.until_the_end()).into())
            }
        }
    }

    /// What ssh has said of a connection that is lost.
    pub(super) fn last_words(&mut self) -> Vec<String> {
        // Where only this side has given up, ssh ends now.
        let _ = self.stream.shutdown(Shutdown::Both);
        self.stderr.until_the_end()
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
            env: vec![("HOME".into(), "/home/a".into())],
        };
        let command = ssh.command(&address("sftp://admin@router:2222/tftp"));
        assert_eq!(
            command.to_string(),
            "env -i HOME=/home/a ssh -F 'my config' -o IdentityFile=k -o ConnectTimeout=20 -o ServerAliveInterval=15 \
             -o ServerAliveCountMax=3 -o ClearAllForwardings=yes -o ForwardAgent=no -o ForwardX11=no \
             -o PermitLocalCommand=no -o RemoteCommand=none -o RequestTTY=no -p 2222 -l admin -s -- router sftp"
        );
        assert!(command.asks);
    }
}
