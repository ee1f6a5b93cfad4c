//! Failures of ssh: the cause with a remedy, and the output of ssh.

use std::fmt;

use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Flag, Help};
use crate::deploy::target::SftpAddress;
use crate::printable::printable;

/// Failed connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshFailure {
    /// Cause.
    pub cause: SshCause,
    address: SftpAddress,
    /// The command with which the user can try the connection.
    by_hand: String,
    /// The server's name in `known_hosts`.
    known_as: String,
    words: Vec<String>,
}

/// Cause of a failed connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SshCause {
    /// The server's host key, or the authority that certifies it, was revoked.
    RevokedHostKey,
    /// The server's host key differs from the known one.
    OtherHostKey,
    /// The server's host key is unknown, and nobody has accepted it.
    UnknownHostKey,
    /// The server rejects the login.
    Denied,
    /// The server does not answer.
    Unreachable,
    /// The server has no SFTP, or not for this user.
    NoSftp,
    /// The connection ended while it was being made. It may come back.
    Dropped,
    /// Any other cause.
    Other,
}

/// Output of ssh for each cause. The first match counts, since ssh may print more afterwards.
const SIGNS: [(SshCause, &[&str]); 7] = [
    // A key can be revoked by `@revoked` in `known_hosts`, or by the option `RevokedHostKeys`.
    (SshCause::RevokedHostKey, &["REVOKED HOST KEY DETECTED", "is marked as revoked", "revoked by file"]),
    (SshCause::OtherHostKey, &["HOST IDENTIFICATION HAS CHANGED"]),
    (SshCause::UnknownHostKey, &["Host key verification failed"]),
    (SshCause::NoSftp, &["subsystem request failed"]),
    (SshCause::Denied, &["Permission denied", "Too many authentication failures"]),
    (SshCause::Unreachable, &["Could not resolve hostname", "connect to host"]),
    (
        SshCause::Dropped,
        &[
            "Connection reset",
            "Connection closed",
            "closed by remote host",
            "exchange_identification",
            "timed out",
            "Timeout, server",
            "Broken pipe",
        ],
    ),
];

impl SshFailure {
    /// Returns the failure of an ssh that ended before the server at `address` sent its greeting, judging by its
    /// output. The user can try the connection with the command `by_hand`. The server should be `known_as` this, unless
    /// ssh itself says otherwise.
    #[must_use]
    pub fn diagnose(address: &SftpAddress, by_hand: String, known_as: String, words: Vec<String>) -> Self {
        // ssh puts a frame of these characters around important warnings.
        let words: Vec<String> = words.into_iter().filter(|line| line.chars().any(|c| !"@ \t".contains(c))).collect();
        let stderr = |sign: &&str| words.iter().any(|line| line.contains(sign));
        let cause = SIGNS.iter().find(|(_, signs)| signs.iter().any(stderr)).map(|(cause, _)| *cause);
        let cause = cause.unwrap_or(if words.is_empty() { SshCause::Dropped } else { SshCause::Other });
        let known_as = words.iter().find_map(|line| known_name(line)).map_or(known_as, str::to_owned);
        Self { cause, address: address.clone(), by_hand, known_as, words }
    }
}

/// Returns the name in `known_hosts` of a server whose key has changed, from a line of ssh.
fn known_name(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("ost key for ")?;
    let (name, _) = rest.split_once(" has changed and you have requested strict checking")?;
    let fits = |c: char| c.is_ascii_alphanumeric() || "[]:.-_%".contains(c);
    Some(name).filter(|name| !name.starts_with('-') && name.chars().all(fits))
}

impl fmt::Display for SshFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (login, host) = (self.address.login(), self.address.host());
        match self.cause {
            SshCause::RevokedHostKey => write!(f, "the host key of `{host}` was revoked")?,
            SshCause::OtherHostKey => write!(f, "the host key of `{host}` is not the one that is known")?,
            SshCause::UnknownHostKey => {
                write!(f, "the host key of `{host}` is not known, and nobody has accepted it")?;
            }
            SshCause::Denied => write!(f, "`{login}` cannot log in")?,
            SshCause::Unreachable => write!(f, "`{host}` cannot be reached")?,
            SshCause::NoSftp => write!(f, "`{login}` has no SFTP on the server")?,
            SshCause::Dropped => write!(f, "`{host}` ended the connection")?,
            SshCause::Other => write!(f, "`ssh` does not connect with `{host}`")?,
        }
        f.write_str(&quoted(&self.words))
    }
}

impl std::error::Error for SshFailure {}

impl Diagnose for SshFailure {
    fn diagnosis(&self) -> Diagnosis {
        let hand = &self.by_hand;
        let diagnosis = Class::Unavailable.about(self.address.host());
        match self.cause {
            SshCause::RevokedHostKey => diagnosis.help(
                "do not connect: somebody else may answer in its place; ask whoever administers it for its new key",
            ),
            SshCause::OtherHostKey => diagnosis.help(format!(
                "where the device was reset or replaced, compare the fingerprint with what it shows itself, then forget \
                 the old key with `ssh-keygen -R '{}'`",
                self.known_as
            )),
            SshCause::UnknownHostKey => {
                diagnosis.help(format!("connect once with `{hand}`, and compare the fingerprint that it shows"))
            }
            SshCause::Denied => diagnosis.help(format!("check that `{hand}` logs in")).help(Flag::SshIdentity),
            SshCause::Unreachable => diagnosis.help("check the address, and that SSH is on there"),
            SshCause::NoSftp => diagnosis.help(
                "add what SFTP needs: on RouterOS, the policies `ssh` and `ftp` in the user's group; for OpenSSH, a line \
                 `Subsystem sftp internal-sftp`",
            ),
            SshCause::Dropped => diagnosis.help(Help::Again).help(format!("see what `{hand}` says")),
            SshCause::Other => diagnosis.help(format!("see what `{hand}` says")),
        }
    }
}

/// Formats the lines of a program's output as a quotation.
pub(in crate::deploy) fn quoted(words: &[String]) -> String {
    words.iter().map(|line| format!("\n  | {}", printable(line))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::diagnostic::told;
    use crate::deploy::target::DeployTarget;

    #[test]
    fn each_failure_gets_its_name_its_words_and_a_remedy() {
        let Ok(DeployTarget::Sftp(address)) = "sftp://admin@router:2222/tftp".parse() else { panic!("no address") };
        let stderr = |lines: &[&str]| {
            let lines = lines.iter().map(|line| (*line).to_owned()).collect();
            let (hand, known) = ("ssh -p 2222 admin@router".to_owned(), "[router]:2222".to_owned());
            told(&SshFailure::diagnose(&address, hand, known, lines))
        };
        assert_eq!(
            stderr(&[
                "@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@",
                "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @",
                "Host key verification failed.",
            ]),
            "the host key of `router` is not the one that is known\n  \
             | @    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n  | Host key verification failed.\n\
             hint: where the device was reset or replaced, compare the fingerprint with what it shows itself, \
             then forget the old key with `ssh-keygen -R '[router]:2222'`"
        );
        let alias = [
            "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @",
            "Host key for [alias]:22 has changed and you have requested strict checking.",
        ];
        assert!(stderr(&alias).ends_with(" with `ssh-keygen -R '[alias]:22'`"), "{}", stderr(&alias));
        for revoked in ["@       WARNING: REVOKED HOST KEY DETECTED!               @", "Host key x revoked by file y"] {
            assert_eq!(
                stderr(&[revoked, "Host key verification failed."]),
                format!(
                    "the host key of `router` was revoked\n  | {revoked}\n  | Host key verification failed.\n\
                     hint: do not connect: somebody else may answer in its place; ask whoever administers it for its \
                     new key"
                )
            );
        }
        assert_eq!(
            stderr(&[
                "No ED25519 host key is known for router and you have requested strict checking.",
                "Host key verification failed."
            ]),
            "the host key of `router` is not known, and nobody has accepted it\n  \
             | No ED25519 host key is known for router and you have requested strict checking.\n  \
             | Host key verification failed.\n\
             hint: connect once with `ssh -p 2222 admin@router`, and compare the fingerprint that it shows"
        );
        assert_eq!(
            stderr(&["admin@router: Permission denied (publickey)."]),
            "`admin@router` cannot log in\n  | admin@router: Permission denied (publickey).\n\
             hint: check that `ssh -p 2222 admin@router` logs in\nhint: or With(SshIdentity)"
        );
        assert_eq!(
            stderr(&["ssh: connect to host router port 2222: Connection timed out"]),
            "`router` cannot be reached\n  | ssh: connect to host router port 2222: Connection timed out\n\
             hint: check the address, and that SSH is on there"
        );
        assert_eq!(
            stderr(&["subsystem request failed on channel 0"]),
            "`admin@router` has no SFTP on the server\n  | subsystem request failed on channel 0\n\
             hint: add what SFTP needs: on RouterOS, the policies `ssh` and `ftp` in the user's group; for OpenSSH, a line \
             `Subsystem sftp internal-sftp`"
        );
        assert_eq!(
            stderr(&["Connection closed by 192.0.2.1 port 2222"]),
            "`router` ended the connection\n  | Connection closed by 192.0.2.1 port 2222\n\
             hint: Again\nhint: or see what `ssh -p 2222 admin@router` says"
        );
        assert_eq!(
            stderr(&["command-line: line 0: Bad configuration option: x"]),
            "`ssh` does not connect with `router`\n  | command-line: line 0: Bad configuration option: x\n\
             hint: see what `ssh -p 2222 admin@router` says"
        );
    }
}
