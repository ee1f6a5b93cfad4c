//! Target of a deployment: a folder on this machine, or on an SFTP server.

use std::fmt;
use std::str::FromStr;

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};

use crate::base::url::Url;

/// Target of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeployTarget {
    /// Folder on this machine.
    Folder(Utf8PathBuf),
    /// Folder on a server.
    Sftp(SftpAddress),
}

/// Folder on an SFTP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SftpAddress {
    user: Option<String>,
    host: String,
    port: Option<u16>,
    /// Path in the server's notation: absolute, or relative to the folder in which a session starts; empty for that
    /// folder.
    path: String,
}

/// Errors from parsing a target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    /// The target is this machine's root folder.
    #[error("`/` is the root folder of this machine, wanted a folder in it")]
    Root,
    /// The text is empty.
    #[error("wanted `sftp://user@host/path` or a folder")]
    Empty,
    /// The scheme is not `sftp`.
    #[error(
        "found the scheme `{0}`, wanted `sftp://user@host/path` or a folder{share}",
        share = if is_share(.0) { ": mount the share, and give its mount point" } else { "" }
    )]
    Scheme(String),
    /// The text is a misspelled address.
    #[error("found an address without `://`, wanted `sftp://user@host/path` or a folder")]
    Address,
    /// The text is a share or folder in Windows notation.
    #[error("{}", foreign_path(.0))]
    ForeignPath(String),
    /// The text begins with `~`.
    #[error(
        "found a path that begins with `~`, which only a shell expands, wanted it as in `$HOME/tftp`; a name that \
         begins in that way is written `./~`"
    )]
    Home,
    /// The text is `-`.
    #[error("found `-`, wanted the path of a file or a folder, not a stream; a file of that name is written `./-`")]
    Stream,
    /// The text is in the notation of scp.
    #[error(
        "wanted `sftp://{}/{}`; for a folder of that name, write `./{}`",
        host,
        of_scp(path),
        format_args!("{host}:{path}")
    )]
    ScpStyle {
        /// Text before the colon.
        host: String,
        /// Text after the colon.
        path: String,
    },
    /// The address contains a password.
    #[error("found a password, wanted none: `ssh` uses keys, or asks for it")]
    Password,
    /// The user name is not valid.
    #[error("found the user `{0}`, wanted a name without spaces that does not begin with `-`")]
    User(String),
    /// The host is not valid.
    #[error("found the host `{0}`, wanted a name, an IPv4 address, or an IPv6 address in brackets")]
    Host(String),
    /// The port is not valid.
    #[error("found the port `{0}`, wanted a number from 1 to 65535")]
    Port(String),
    /// The address has no path.
    #[error(
        "found no path, wanted one as in `sftp://user@host/tftp`; `/` alone is the root, `/~` where a login begins"
    )]
    NoPath,
    /// A part of the address cannot be decoded.
    #[error("found `{0}` in the address, wanted characters, or `%` with the two digits of one")]
    Escape(String),
}

/// Checks whether a scheme is one of shares that a system mounts.
/// Returns the path of an address for `path` in the notation of scp, in which a path without a slash begins in the login's
/// folder.
fn of_scp(path: &str) -> String {
    match path.strip_prefix('/') {
        Some(below) => below.trim_start_matches('/').to_owned(),
        None if path.is_empty() || path.starts_with('~') => path.to_owned(),
        None => format!("~/{path}"),
    }
}

fn is_share(scheme: &str) -> bool {
    ["smb", "cifs", "nfs", "afp"].iter().any(|share| scheme.eq_ignore_ascii_case(share))
}

/// Returns what was found in place of a path in Windows notation, and what to give instead.
fn foreign_path(text: &str) -> String {
    let plain = text.replace('\\', "/");
    let parts: Vec<&str> = plain.split('/').filter(|part| !part.is_empty()).collect();
    match &parts[..] {
        [host, share @ ..] if plain.starts_with("//") => {
            let share = share.join("/");
            let local = if text.starts_with('/') {
                format!("; for a folder of this machine, write `/{host}/{share}`")
            } else {
                String::new()
            };
            format!(
                "found the path of a share on `{host}`: mount the share and give its mount point, or write `sftp://{host}/{share}`{local}"
            )
        }
        _ => "found a path of Windows: give the path that this system has for it, as `/mnt/c/tftp`".to_owned(),
    }
}

/// Parses the path of a folder or file on this machine. Rejects addresses and paths of other systems, which would
/// otherwise become folders of that name.
///
/// # Errors
///
/// A message with what was found, and what to give instead.
pub fn local_path(text: &str) -> Result<Utf8PathBuf, String> {
    match text.parse() {
        Ok(DeployTarget::Folder(path)) => Ok(path),
        Err(BadTarget::Root) => Ok(text.into()),
        Err(error @ (BadTarget::ForeignPath(_) | BadTarget::Home | BadTarget::Stream))
            if !Url::from(text).has_secret() =>
        {
            Err(error.to_string())
        }
        Err(BadTarget::Empty) => Err("found nothing, wanted the path of a file or a folder".to_owned()),
        Ok(_) | Err(_) => Err("found an address, wanted a path of this machine: mount a share and give its \
            mount point; `deploy` brings a tree to a server that speaks SFTP. A name with a colon is written `./NAME`"
            .to_owned()),
    }
}

/// Checks whether the absolute path `text` leads to the root folder, by its names.
fn is_root(text: &str) -> bool {
    let depth = Utf8Path::new(text).components().fold(0_usize, |depth, part| match part {
        Utf8Component::Normal(_) => depth + 1,
        Utf8Component::ParentDir => depth.saturating_sub(1),
        _ => depth,
    });
    text.starts_with('/') && depth == 0
}

/// Checks whether `text`, which could be a path, is an address without its colon, or contains a user and a password.
fn is_address(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let lacks_colon = ["http", "https", "sftp", "ssh", "ftp", "git"]
        .iter()
        .any(|scheme| lower.strip_prefix(scheme).is_some_and(|rest| rest.starts_with("//") || rest.starts_with("%3a")));
    let first = text.trim_start_matches('/').split('/').next().unwrap_or_default();
    lacks_colon || Url::from(first).has_secret() || (!text.starts_with(['/', '.']) && Url::from(text).has_secret())
}

impl FromStr for DeployTarget {
    type Err = BadTarget;

    fn from_str(text: &str) -> Result<Self, BadTarget> {
        if let Some((scheme, rest)) = text.split_once("://") {
            return if scheme.eq_ignore_ascii_case("sftp") {
                rest.parse().map(Self::Sftp)
            } else {
                Err(BadTarget::Scheme(scheme.to_owned()))
            };
        }
        let drive = |(drive, rest): (&str, &str)| drive.len() == 1 && rest.starts_with(['\\', '/']);
        match text.split_once(':') {
            _ if text.starts_with("\\\\") || text.starts_with("//") => Err(BadTarget::ForeignPath(text.to_owned())),
            Some(split) if drive(split) => Err(BadTarget::ForeignPath(text.to_owned())),
            _ if text.is_empty() => Err(BadTarget::Empty),
            _ if text == "-" => Err(BadTarget::Stream),
            _ if text.starts_with('~') => Err(BadTarget::Home),
            _ if is_root(text) => Err(BadTarget::Root),
            // Not a host, but a user and a password before one.
            Some((user, rest))
                if !user.contains(['/', '@']) && rest.split_once(':').is_some_and(|(it, _)| it.contains('@')) =>
            {
                Err(BadTarget::Password)
            }
            Some((host, path)) if !host.is_empty() && !host.contains('/') => {
                Err(BadTarget::ScpStyle { host: host.to_owned(), path: path.to_owned() })
            }
            _ if is_address(text) => Err(BadTarget::Address),
            _ => Ok(Self::Folder(text.into())),
        }
    }
}

impl FromStr for SftpAddress {
    type Err = BadTarget;

    /// Parses the part after `sftp://`.
    fn from_str(text: &str) -> Result<Self, BadTarget> {
        let (authority, path) = text.split_once('/').ok_or(BadTarget::NoPath)?;
        let (user, remote) = match authority.rsplit_once('@') {
            Some((user, remote)) => (Some(decoded(user)?), remote),
            None => (None, authority),
        };
        if let Some(user) = &user {
            if user.contains(':') {
                return Err(BadTarget::Password);
            }
            if user.is_empty() || user.starts_with('-') || user.contains(char::is_whitespace) {
                return Err(BadTarget::User(user.clone()));
            }
        }
        let (host, port) = host_and_port(remote)?;
        let mut parts: Vec<String> = path.split('/').map(decoded).collect::<Result<_, _>>()?;
        parts.retain(|part| !part.is_empty());
        // A session starts in `~`, and the server resolves relative paths against that folder.
        let path = match parts.first() {
            Some(first) if first == "~" => parts[1..].join("/"),
            _ => format!("/{}", parts.join("/")),
        };
        Ok(Self { user, host, port, path })
    }
}

fn host_and_port(text: &str) -> Result<(String, Option<u16>), BadTarget> {
    let bad_host = || BadTarget::Host(text.to_owned());
    let (host, rest) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']').ok_or_else(bad_host)?,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port = match rest.strip_prefix(':') {
        Some(port) => Some(port.parse().ok().filter(|port| *port > 0).ok_or_else(|| BadTarget::Port(port.to_owned()))?),
        None if rest.is_empty() => None,
        None => return Err(bad_host()),
    };
    // An IPv6 address can have a zone, whose `%` is written as `%25` in a URL.
    let host = if text.starts_with('[') { decoded(host)? } else { host.to_owned() };
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c) || text.starts_with('[') && ":%".contains(c);
    if host.is_empty() || host.starts_with('-') || !host.chars().all(fits) {
        return Err(bad_host());
    }
    Ok((host, port))
}

/// Decodes `%20` and the like in `text`.
fn decoded(text: &str) -> Result<String, BadTarget> {
    let bad = || BadTarget::Escape(text.to_owned());
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        let digits = after.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        bytes.push(digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).ok_or_else(bad)?);
        rest = &after[2..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    let decoded = String::from_utf8(bytes).map_err(|_| bad())?;
    if decoded.contains(char::is_control) { Err(bad()) } else { Ok(decoded) }
}

impl SftpAddress {
    /// Returns the name or the address of the server.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the user; if `None`, ssh's configuration decides.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Returns the port; if `None`, ssh's configuration decides.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Returns the path in the server's notation.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the user and the host, in the notation of `ssh`.
    #[must_use]
    pub fn login(&self) -> String {
        self.user.as_ref().map_or_else(|| self.host.clone(), |user| format!("{user}@{}", self.host))
    }

    /// Returns the name in `known_hosts` of the server that answers on `port`; `None` for the usual one.
    #[must_use]
    pub fn known_as(&self, port: Option<u16>) -> String {
        match port {
            None | Some(22) => self.host.clone(),
            Some(port) => format!("[{}]:{port}", self.host),
        }
    }
}

impl fmt::Display for DeployTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => path.fmt(f),
            Self::Sftp(address) => address.fmt(f),
        }
    }
}

impl fmt::Display for SftpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sftp://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        if self.host.contains(':') {
            write!(f, "[{}]", self.host.replace('%', "%25"))?;
        } else {
            f.write_str(&self.host)?;
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        match self.path.as_str() {
            "" => f.write_str("/~"),
            path if path.starts_with('/') => f.write_str(path),
            path => write!(f, "/~/{path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SftpAddress {
        match text.parse() {
            Ok(DeployTarget::Sftp(address)) => address,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn addresses_are_taken_apart_and_put_together_again() {
        let router = address("sftp://admin@192.168.88.1/tftp");
        assert_eq!((router.user(), router.host(), router.port()), (Some("admin"), "192.168.88.1", None));
        assert_eq!((router.path(), router.login().as_str()), ("/tftp", "admin@192.168.88.1"));
        let other = address("SFTP://[fe80::1%25eth0]:2222//srv//boot%20files/");
        assert_eq!((other.host(), other.port(), other.path()), ("fe80::1%eth0", Some(2222), "/srv/boot files"));
        assert_eq!(other.known_as(other.port()), "[fe80::1%eth0]:2222");
        assert_eq!(other.to_string(), "sftp://[fe80::1%25eth0]:2222/srv/boot files");
        for (text, path) in [
            ("sftp://nas/", "/"),
            ("sftp://nas/~", ""),
            ("sftp://nas/~/tftp", "tftp"),
            ("sftp://a@nas:22/srv/tftp", "/srv/tftp"),
        ] {
            assert_eq!((address(text).path(), address(text).to_string().as_str()), (path, text));
        }
        assert_eq!("./a:b".parse(), Ok(DeployTarget::Folder("./a:b".into())));
        assert_eq!("/srv/tftp".parse(), Ok(DeployTarget::Folder("/srv/tftp".into())));
        for folder in ["./~", "./-", "-/x", "a~", "a/~/b"] {
            assert_eq!(folder.parse(), Ok(DeployTarget::Folder(folder.into())));
            assert_eq!(local_path(folder), Ok(folder.into()));
        }
        for (text, error) in
            [("~", BadTarget::Home), ("~/tftp", BadTarget::Home), ("~u/x", BadTarget::Home), ("-", BadTarget::Stream)]
        {
            assert_eq!(local_path(text), Err(error.to_string()));
            assert_eq!(text.parse::<DeployTarget>(), Err(error));
        }
    }

    #[test]
    fn what_is_no_target_says_what_is_wanted() {
        for (text, error) in [
            ("", "wanted `sftp://user@host/path` or a folder"),
            ("/", "`/` is the root folder of this machine, wanted a folder in it"),
            ("/./tmp/..", "`/` is the root folder of this machine, wanted a folder in it"),
            ("ftp://router/tftp", "found the scheme `ftp`, wanted `sftp://user@host/path` or a folder"),
            (
                "admin@router:/tftp",
                "wanted `sftp://admin@router/tftp`; for a folder of that name, write `./admin@router:/tftp`",
            ),
            (
                "admin@router:srv/tftp",
                "wanted `sftp://admin@router/~/srv/tftp`; for a folder of that name, write `./admin@router:srv/tftp`",
            ),
            ("admin:secret@router:/tftp", "found a password, wanted none: `ssh` uses keys, or asks for it"),
            ("sftp://admin:secret@router/tftp", "found a password, wanted none: `ssh` uses keys, or asks for it"),
            ("sftp://-l@router/", "found the user `-l`, wanted a name without spaces that does not begin with `-`"),
            (
                "sftp://-oProxyCommand=sh/tftp",
                "found the host `-oProxyCommand=sh`, wanted a name, an IPv4 address, or an IPv6 address in brackets",
            ),
            ("sftp:///tftp", "found the host ``, wanted a name, an IPv4 address, or an IPv6 address in brackets"),
            ("sftp://router:ssh/tftp", "found the port `ssh`, wanted a number from 1 to 65535"),
            (
                "sftp://router",
                "found no path, wanted one as in `sftp://user@host/tftp`; `/` alone is the root, `/~` where a login begins",
            ),
            ("sftp://router/a%2", "found `a%2` in the address, wanted characters, or `%` with the two digits of one"),
            ("sftp://router/a%00", "found `a%00` in the address, wanted characters, or `%` with the two digits of one"),
        ] {
            assert_eq!(text.parse::<DeployTarget>().unwrap_err().to_string(), error, "{text}");
        }
    }
}
