//! Deployment to a folder on an SFTP server. The server needs no shell: `RouterOS` has only SFTP.
//!
//! Every request is in version 3 of the protocol, as OpenSSH's own `sftp` sends it. Only advertised extensions are
//! used.

mod client;
pub mod failure;
pub mod ssh;
#[cfg(test)]
mod tests;
mod wire;

use crate::base::plural::count;
use std::ops::Range;

use camino::{Utf8Path, Utf8PathBuf};

use self::client::Client;
use self::ssh::{Connection, Ssh};
use self::wire::{Attributes, SftpRequest, SftpStatus, code};
use super::remote::{Error, Found, FoundKind, Remote, RemoteReason, RemoteSubject};
use super::target::SftpAddress;
use crate::base::progress::Progress;

/// Parses a packet as every kind of reply, for fuzzing.
#[cfg(fuzzing)]
pub fn read_answer(packet: &[u8]) {
    let _ = (wire::version(packet), wire::reply(packet), wire::free_space(packet));
}

/// Mask of the file type in a mode, and its values.
const KIND: u32 = 0o170_000;
const FOLDER: u32 = 0o040_000;
const PLAIN: u32 = 0o100_000;

/// Folder on an SFTP server, over an open connection.
pub struct Sftp<'p> {
    connection: Connection<'p>,
    address: SftpAddress,
}

impl<'p> Sftp<'p> {
    /// Connects to the server of `address`.
    ///
    /// # Errors
    ///
    /// [`ssh::Error`] if ssh fails, or the server does not speak SFTP.
    pub fn open(ssh: &Ssh, address: &SftpAddress, progress: &'p dyn Progress) -> Result<Self, ssh::Error> {
        Ok(Self { connection: Connection::open(ssh, address, progress)?, address: address.clone() })
    }

    /// Returns a path in the server's notation.
    fn at(&self, path: &Utf8Path) -> String {
        match (self.address.path().trim_end_matches('/'), path.as_str()) {
            ("", "") if self.address.path().is_empty() => ".".to_owned(),
            ("", "") => "/".to_owned(),
            (root, "") => root.to_owned(),
            ("", path) if self.address.path().is_empty() => path.to_owned(),
            (root, path) => format!("{root}/{path}"),
        }
    }

    /// Converts the error of a request that was to do `action` to the path `there`.
    fn explain<T>(&mut self, action: &'static str, there: &str, result: Result<T, client::Error>) -> Result<T, Error> {
        result.map_err(|error| match error {
            client::Error::Gone => Error::Lost { words: self.connection.last_words() },
            client::Error::Silent => {
                let mut words = self.connection.last_words();
                words.push("the server has said nothing for two minutes".to_owned());
                Error::Lost { words }
            }
            client::Error::Slow => Error::Slow(self.address.login()),
            client::Error::Cancelled => Error::Cancelled,
            client::Error::NotSftp(found) => Error::NotSftp { host: self.address.host().to_owned(), found },
            client::Error::Refused(status) => self.refused(action, there, &status),
        })
    }

    fn refused(&self, action: &'static str, there: &str, status: &SftpStatus) -> Error {
        let (reason, plain) = match status.code {
            code::NO_SUCH_FILE => (RemoteReason::Missing, "no such file"),
            code::PERMISSION_DENIED => (RemoteReason::Denied, "permission denied"),
            code::UNSUPPORTED => (RemoteReason::Unsupported, "the server cannot do that"),
            _ => (RemoteReason::Unknown, "failure"),
        };
        let detail = match status.message.as_str() {
            message if message.is_empty() || message.eq_ignore_ascii_case(plain) => plain.to_owned(),
            message => format!("{plain} ({message})"),
        };
        let subject = RemoteSubject { path: there.to_owned(), host: Some(self.address.login()) };
        Error::Refused { action, subject, reason, detail }
    }

    /// Creates a folder that other users can read: the server applies its umask to the requested mode.
    fn make_world_readable(&mut self, there: &str) -> Result<(), client::Error> {
        if let Err(error) = self.connection.client.ask(&SftpRequest::MakeFolder { path: there }) {
            // Another deployment may have created it meanwhile.
            let made = matches!(error, client::Error::Refused(_)) && self.connection.client.stat(there)?.is_some();
            return if made { Ok(()) } else { Err(error) };
        }
        // The folder exists, even if the server refuses the rest.
        match self.connection.client.stat(there) {
            Ok(Some(attributes)) if !found(attributes).is_world_readable() => {
                self.set_mode(there, found(attributes).world_readable_mode()).map(drop)
            }
            Ok(_) | Err(client::Error::Refused(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Sets the permission bits. Returns false if the server refuses.
    fn set_mode(&mut self, there: &str, mode: u32) -> Result<bool, client::Error> {
        match self.connection.client.ask(&SftpRequest::SetMode { path: there, mode }) {
            Err(client::Error::Refused(_)) => Ok(false),
            asked => asked.map(|()| true),
        }
    }

    /// Returns the same error, or one that reports a full disk, for which the protocol has no code.
    fn or_full(&mut self, error: Error, wanted: u64) -> Error {
        match error {
            Error::Refused { action, subject, reason: RemoteReason::Unknown, detail } => {
                let room = self.connection.client.space(&self.at("".into()));
                match room.filter(|room| *room < wanted) {
                    Some(room) => {
                        let detail = format!("found room for {}, wanted {wanted}", count(room, "byte"));
                        Error::Refused { action, subject, reason: RemoteReason::Full, detail }
                    }
                    None => Error::Refused { action, subject, reason: RemoteReason::Unknown, detail },
                }
            }
            other => other,
        }
    }
}

impl Remote for Sftp<'_> {
    fn is_there(&mut self) -> Result<bool, Error> {
        let root = self.at("".into());
        let found = self.connection.client.stat(&root);
        match self.explain("look at", &root, found)? {
            None => Ok(false),
            Some(attributes) if attributes.mode.is_none() || kind(attributes) == FoundKind::Folder => Ok(true),
            Some(_) => {
                let status = SftpStatus { code: code::FAILURE, message: String::new() };
                let detail = "found something else, wanted a folder".to_owned();
                Err(match self.refused("use", &root, &status) {
                    Error::Refused { action, subject, .. } => {
                        Error::Refused { action, subject, reason: RemoteReason::Obstacle, detail }
                    }
                    other => other,
                })
            }
        }
    }

    fn lstat(&mut self, paths: &[Utf8PathBuf]) -> Result<Vec<Option<Found>>, Error> {
        let there: Vec<String> = paths.iter().map(|path| self.at(path)).collect();
        let answers = self.connection.client.lstat(&there);
        let root = self.at("".into());
        let answers = self.explain("look into", &root, answers)?;
        Ok(answers.into_iter().map(|answer| answer.map(found)).collect())
    }

    fn read(&mut self, path: &Utf8Path, range: Range<u64>, take: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        let there = self.at(path);
        let read = self.connection.client.read_file(&there, range, take);
        self.explain("read", &there, read)
    }

    fn write(&mut self, path: &Utf8Path, data: &[u8], offset: u64, done: &mut dyn FnMut(u64)) -> Result<(), Error> {
        let there = self.at(path);
        let mut left = data.len() as u64;
        let written = self.connection.client.write_file(&there, data, offset, &mut |count| {
            left -= count;
            done(count);
        });
        self.explain("write", &there, written).map_err(|error| self.or_full(error, left))
    }

    fn rename(&mut self, from: &Utf8Path, to: &Utf8Path) -> Result<(), Error> {
        let (old, new) = (self.at(from), self.at(to));
        let client = &mut self.connection.client;
        let renamed = if client.extensions.posix_rename {
            client.ask(&SftpRequest::PosixRename { from: &old, to: &new })
        } else {
            rename_over(client, &old, &new)
        };
        self.explain("replace", &new, renamed)
    }

    fn remove(&mut self, path: &Utf8Path) -> Result<(), Error> {
        let there = self.at(path);
        let removed = match self.connection.client.ask(&SftpRequest::Remove { path: &there }) {
            Err(client::Error::Refused(status)) if status.code == code::NO_SUCH_FILE => Ok(()),
            other => other,
        };
        self.explain("remove", &there, removed)
    }

    fn make_folder(&mut self, path: &Utf8Path) -> Result<(), Error> {
        let there = self.at(path);
        // The folders above the target itself may be missing, too.
        for folder in above(&there).filter(|_| path.as_str().is_empty()) {
            let made = match self.connection.client.stat(folder) {
                Ok(None) => self.make_world_readable(folder),
                other => other.map(drop),
            };
            self.explain("make the folder", folder, made)?;
        }
        let made = self.make_world_readable(&there);
        self.explain("make the folder", &there, made)
    }

    fn make_world_readable(&mut self, path: &Utf8Path, found: Found) -> Result<bool, Error> {
        let there = self.at(path);
        let served = self.set_mode(&there, found.world_readable_mode());
        self.explain("set the mode of", &there, served)
    }

    fn first_closed(&mut self) -> Result<Option<String>, Error> {
        let root = self.at("".into());
        for folder in above(&root).chain([root.as_str()]) {
            let found = match self.connection.client.stat(folder) {
                Err(client::Error::Refused(_)) => continue,
                other => self.explain("look at", folder, other)?.map(found),
            };
            if found.is_some_and(|found| found.kind == FoundKind::Folder && !found.is_world_readable()) {
                return Ok(Some(folder.to_owned()));
            }
        }
        Ok(None)
    }

    fn remove_empty_folder(&mut self, path: &Utf8Path) -> Result<(), Error> {
        let there = self.at(path);
        let removed = match self.connection.client.ask(&SftpRequest::RemoveFolder { path: &there }) {
            // The folder is not empty, or is gone. The protocol has no code for the former.
            Err(client::Error::Refused(_)) => Ok(()),
            other => other,
        };
        self.explain("remove the folder", &there, removed)
    }
}

/// Renames a file on a server that does not advertise a rename that replaces files. Some servers replace the old file
/// all the same; on others it must be removed first, and there is no file for a moment.
fn rename_over(client: &mut Client<'_>, old: &str, new: &str) -> Result<(), client::Error> {
    let request = SftpRequest::Rename { from: old, to: new };
    match client.ask(&request) {
        Err(client::Error::Refused(status)) if [code::FAILURE, code::FILE_EXISTS].contains(&status.code) => {
            // If there is no file to rename, for example because another deployment has renamed it, nothing must be
            // removed.
            if client.stat(new)?.is_none() || client.stat(old)?.is_none() {
                return Err(client::Error::Refused(status));
            }
            client.ask(&SftpRequest::Remove { path: new })?;
            client.ask(&request)
        }
        other => other,
    }
}

/// Returns the folders above a path in the server's notation, outermost first.
fn above(there: &str) -> impl Iterator<Item = &str> {
    there.match_indices('/').map(|(end, _)| &there[..end]).filter(|folder| !folder.is_empty())
}

fn found(attributes: Attributes) -> Found {
    let modified = attributes.modified.map(u64::from);
    Found { kind: kind(attributes), size: attributes.size.unwrap_or(0), modified, mode: attributes.mode }
}

/// Returns the kind; a regular file if the server does not report a type.
fn kind(attributes: Attributes) -> FoundKind {
    match attributes.mode.map(|mode| mode & KIND) {
        Some(FOLDER) => FoundKind::Folder,
        Some(PLAIN | 0) | None => FoundKind::File,
        Some(_) => FoundKind::Other,
    }
}
