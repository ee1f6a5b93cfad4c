//! Wire format of SFTP version 3, according to draft-ietf-secsh-filexfer-02 and OpenSSH's extensions: encodes requests
//! and decodes replies. It is independent of the connection.

use crate::base::fs::world_readable::{FILE_MODE, FOLDER_MODE};
use crate::printable::single_line;

/// Protocol version. `RouterOS` and OpenSSH support no other.
pub(super) const VERSION: u32 = 3;

/// Request. Paths are in the server's notation.
#[derive(Debug, Clone, Copy)]
pub(super) enum SftpRequest<'a> {
    /// Opens an existing file for reading.
    OpenToRead { path: &'a str },
    /// Opens a file for writing; creates it if it does not exist.
    OpenToWrite { path: &'a str },
    /// Closes a handle.
    Close { handle: &'a [u8] },
    /// Reads a piece of a file.
    Read { handle: &'a [u8], offset: u64, length: u32 },
    /// Writes a piece of a file.
    Write { handle: &'a [u8], offset: u64, data: &'a [u8] },
    /// Gets the attributes of a path; does not follow links.
    Lstat { path: &'a str },
    /// Gets the attributes of a path; follows links.
    Stat { path: &'a str },
    /// Removes a file.
    Remove { path: &'a str },
    /// Creates a folder.
    MakeFolder { path: &'a str },
    /// Removes a folder, which must be empty.
    RemoveFolder { path: &'a str },
    /// Renames a file. Whether an existing file is replaced depends on the server.
    Rename { from: &'a str, to: &'a str },
    /// Renames a file; atomically replaces an existing file.
    PosixRename { from: &'a str, to: &'a str },
    /// Sets permission bits.
    SetMode { path: &'a str, mode: u32 },
    /// Syncs written data to disk.
    Fsync { handle: &'a [u8] },
    /// Gets the free space.
    Space { path: &'a str },
}

/// Reply of the server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SftpReply {
    /// Status reply.
    Status(SftpStatus),
    /// Handle.
    Handle(Vec<u8>),
    /// Piece of a file.
    Data(Vec<u8>),
    /// Attributes of a path.
    Attributes(Attributes),
    /// Reply to an extended request.
    Extended(Vec<u8>),
}

/// Result of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SftpStatus {
    /// One of [`code`], or a code of a later version of the protocol.
    pub code: u32,
    /// Message of the server.
    pub message: String,
}

/// Codes of a [`SftpStatus`].
pub(super) mod code {
    pub const OK: u32 = 0;
    pub const END_OF_FILE: u32 = 1;
    pub const NO_SUCH_FILE: u32 = 2;
    pub const PERMISSION_DENIED: u32 = 3;
    pub const FAILURE: u32 = 4;
    pub const UNSUPPORTED: u32 = 8;
    /// From later versions; some servers send it all the same.
    pub const FILE_EXISTS: u32 = 11;
}

/// Attributes of a file, as far as the server reports them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    /// Size in bytes.
    pub size: Option<u64>,
    /// File type and permission bits.
    pub mode: Option<u32>,
    /// Modification time in seconds.
    pub modified: Option<u32>,
}

/// Extensions that are used if the server advertises them. A server that does not is never sent such a request:
/// `RouterOS` does not recover from a request that it does not know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Extensions {
    /// [`SftpRequest::PosixRename`].
    pub posix_rename: bool,
    /// [`SftpRequest::Fsync`].
    pub fsync: bool,
    /// [`SftpRequest::Space`].
    pub space: bool,
}

const POSIX_RENAME: &[u8] = b"posix-rename@openssh.com";
const FSYNC: &[u8] = b"fsync@openssh.com";
const STATVFS: &[u8] = b"statvfs@openssh.com";

/// Flags of an open request: read, write, create.
const READ: u32 = 0x01;
const WRITE: u32 = 0x02;
const CREATE: u32 = 0x08;

/// Flags that say which attributes follow.
const SIZE: u32 = 0x01;
const OWNERS: u32 = 0x02;
const PERMISSIONS: u32 = 0x04;
const TIMES: u32 = 0x08;

/// Returns the first packet of a client.
pub(super) fn init() -> Vec<u8> {
    Packet::bare(1).number(VERSION).finish()
}

impl SftpRequest<'_> {
    /// Encodes the request; its reply has the same `id`.
    pub(super) fn packet(&self, id: u32) -> Vec<u8> {
        let packet = |kind| Packet::bare(kind).number(id);
        let extended = |name| packet(200).bytes(name);
        match *self {
            Self::OpenToRead { path } => packet(3).text(path).number(READ).number(0),
            // Never truncated: an existing file begins with the same content, or is removed before.
            Self::OpenToWrite { path } => {
                packet(3).text(path).number(WRITE | CREATE).number(PERMISSIONS).number(FILE_MODE)
            }
            Self::Close { handle } => packet(4).bytes(handle),
            Self::Read { handle, offset, length } => packet(5).bytes(handle).offset(offset).number(length),
            Self::Write { handle, offset, data } => packet(6).bytes(handle).offset(offset).bytes(data),
            Self::Lstat { path } => packet(7).text(path),
            Self::SetMode { path, mode } => packet(9).text(path).number(PERMISSIONS).number(mode),
            Self::Remove { path } => packet(13).text(path),
            Self::MakeFolder { path } => packet(14).text(path).number(PERMISSIONS).number(FOLDER_MODE),
            Self::RemoveFolder { path } => packet(15).text(path),
            Self::Stat { path } => packet(17).text(path),
            Self::Rename { from, to } => packet(18).text(from).text(to),
            Self::PosixRename { from, to } => extended(POSIX_RENAME).text(from).text(to),
            Self::Fsync { handle } => extended(FSYNC).bytes(handle),
            Self::Space { path } => extended(STATVFS).text(path),
        }
        .finish()
    }
}

/// Packet under construction.
struct Packet(Vec<u8>);

impl Packet {
    fn bare(kind: u8) -> Self {
        Self(vec![0, 0, 0, 0, kind])
    }

    fn number(mut self, number: u32) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    fn offset(mut self, offset: u64) -> Self {
        self.0.extend_from_slice(&offset.to_be_bytes());
        self
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self = self.number(length(bytes));
        self.0.extend_from_slice(bytes);
        self
    }

    fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    fn finish(mut self) -> Vec<u8> {
        let length = length(&self.0[4..]);
        self.0[..4].copy_from_slice(&length.to_be_bytes());
        self.0
    }
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("a piece of a file and a path are far below 4 GiB")
}

/// Decoder of a packet's fields; methods return `None` if the packet is too short.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn number(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    fn offset(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_be_bytes)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(usize::try_from(length).ok()?)
    }

    fn attributes(&mut self) -> Option<Attributes> {
        let flags = self.number()?;
        let mut found = Attributes::default();
        if flags & SIZE != 0 {
            found.size = Some(self.offset()?);
        }
        if flags & OWNERS != 0 {
            self.take(8)?;
        }
        if flags & PERMISSIONS != 0 {
            found.mode = Some(self.number()?);
        }
        if flags & TIMES != 0 {
            let _accessed = self.number()?;
            found.modified = Some(self.number()?);
        }
        Some(found)
    }
}

/// Decodes the first packet of a server: its version and extensions. Returns `None` if it is something else.
pub(super) fn version(packet: &[u8]) -> Option<(u32, Extensions)> {
    let mut fields = Fields(packet);
    if fields.byte()? != 2 {
        return None;
    }
    let version = fields.number()?;
    let mut extensions = Extensions::default();
    while let Some((name, data)) = fields.bytes().and_then(|name| Some((name, fields.bytes()?))) {
        match (name, data) {
            (POSIX_RENAME, b"1") => extensions.posix_rename = true,
            (FSYNC, b"1") => extensions.fsync = true,
            (STATVFS, b"2") => extensions.space = true,
            _ => {}
        }
    }
    Some((version, extensions))
}

/// Decodes a reply, and the identifier of its request. Returns `None` if it is no reply.
pub(super) fn reply(packet: &[u8]) -> Option<(u32, SftpReply)> {
    let mut fields = Fields(packet);
    let (kind, id) = (fields.byte()?, fields.number()?);
    let reply = match kind {
        101 => {
            let code = fields.number()?;
            // Old servers send only the code.
            let message = one_line(fields.bytes().unwrap_or_default());
            SftpReply::Status(SftpStatus { code, message })
        }
        102 => SftpReply::Handle(fields.bytes()?.to_vec()),
        103 => SftpReply::Data(fields.bytes()?.to_vec()),
        105 => SftpReply::Attributes(fields.attributes()?),
        201 => SftpReply::Extended(fields.0.to_vec()),
        _ => return None,
    };
    Some((id, reply))
}

/// Maximum number of bytes of a server's text to show.
const SHOWN: usize = 200;

/// Returns the beginning of a server's text as one line, so that nothing in it can pass for a message of this tool.
pub(super) fn one_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]);
    single_line(text.lines().next().unwrap_or_default())
}

/// Returns the number of bytes that a user can still write, from the reply to [`SftpRequest::Space`].
pub(super) fn free_space(answer: &[u8]) -> Option<u64> {
    let mut fields = Fields(answer);
    let _block = fields.offset()?;
    let unit = fields.offset()?;
    fields.take(2 * 8)?;
    unit.checked_mul(fields.offset()?)
}

#[cfg(test)]
mod tests {
    use netboot_fixtures::property::one_in;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn requests_are_as_the_draft_has_them() {
        assert_eq!(init(), [0, 0, 0, 5, 1, 0, 0, 0, 3]);
        let open = SftpRequest::OpenToWrite { path: "a" }.packet(7);
        assert_eq!(
            open,
            [&[0, 0, 0, 22, 3, 0, 0, 0, 7, 0, 0, 0, 1, b'a', 0, 0, 0, 10][..], &[0, 0, 0, 4, 0, 0, 1, 164]].concat()
        );
        let write = SftpRequest::Write { handle: b"h", offset: 258, data: b"xy" }.packet(1);
        assert_eq!(
            write,
            [&[0, 0, 0, 24, 6, 0, 0, 0, 1, 0, 0, 0, 1, b'h'][..], &[0, 0, 0, 0, 0, 0, 1, 2], &[0, 0, 0, 2, b'x', b'y']]
                .concat()
        );
        let mode = SftpRequest::SetMode { path: "a", mode: 0o644 }.packet(3);
        assert_eq!(mode, [&[0, 0, 0, 18, 9, 0, 0, 0, 3, 0, 0, 0, 1, b'a'][..], &[0, 0, 0, 4, 0, 0, 1, 164]].concat());
        let rename = SftpRequest::PosixRename { from: "a", to: "b" }.packet(2);
        assert_eq!(rename.len(), 4 + 5 + 4 + POSIX_RENAME.len() + 5 + 5);
        assert_eq!(rename[4], 200);
    }

    #[test]
    fn extensions_count_in_the_version_that_is_known() {
        let greeting = |pairs: &[(&[u8], &str)]| {
            let packet = Packet::bare(2).number(3);
            pairs.iter().fold(packet, |packet, (name, data)| packet.bytes(name).text(data)).finish()[4..].to_vec()
        };
        assert_eq!(version(&greeting(&[])), Some((3, Extensions::default())));
        let all = greeting(&[(b"limits@openssh.com", "1"), (POSIX_RENAME, "1"), (STATVFS, "2"), (FSYNC, "1")]);
        assert_eq!(version(&all), Some((3, Extensions { posix_rename: true, fsync: true, space: true })));
        assert_eq!(version(&greeting(&[(POSIX_RENAME, "2")])), Some((3, Extensions::default())));
        assert_eq!(version(b"Last login: yesterday"), None);
    }

    #[test]
    fn replies_are_read_and_what_is_none_is_not() {
        let status = [101, 0, 0, 0, 9, 0, 0, 0, 3, 0, 0, 0, 2, b'n', b'o', 0, 0, 0, 0];
        let refused = SftpStatus { code: code::PERMISSION_DENIED, message: "no".into() };
        assert_eq!(reply(&status), Some((9, SftpReply::Status(refused))));
        let terse = SftpStatus { code: code::OK, message: String::new() };
        let lines = SftpRequest::MakeFolder { path: "no room\nhint: pay first" }.packet(3)[9..].to_vec();
        let status_of = |text: &[u8]| reply(&[&[101, 0, 0, 0, 9, 0, 0, 0, 4][..], text].concat());
        let refused = SftpStatus { code: code::FAILURE, message: "no room".into() };
        assert_eq!(status_of(&lines), Some((9, SftpReply::Status(refused))), "a hint is this tool's own");
        assert_eq!(reply(&status[..5]), None);
        assert_eq!(reply(&[101, 0, 0, 0, 9, 0, 0, 0, 0]), Some((9, SftpReply::Status(terse))));
        let times = [105, 0, 0, 0, 1, 0, 0, 0, 15, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let attributes = [&times[..], &[0, 0, 0x81, 0xa4, 0, 0, 0, 1, 0, 0, 0, 2]].concat();
        let wanted = Attributes { size: Some(256), mode: Some(0o100_644), modified: Some(2) };
        assert_eq!(reply(&attributes), Some((1, SftpReply::Attributes(wanted))));
        assert_eq!(reply(&attributes[..attributes.len() - 1]), None);
        assert_eq!(reply(&[103, 0, 0, 0, 1, 255, 255, 255, 255, 0]), None);
        assert_eq!(reply(&[99, 0, 0, 0, 1]), None);
    }

    #[test]
    fn room_is_that_of_a_user_and_not_of_root() {
        let numbers: [u64; 6] = [4096, 1024, 1000, 500, 20, 0];
        let answer: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
        assert_eq!(free_space(&answer), Some(20 * 1024));
        assert_eq!(free_space(&answer[..30]), None);
    }

    fn attributes_packet(found: &Attributes, owners: bool) -> Packet {
        let flag = |is: bool, bit| if is { bit } else { 0 };
        let flags = flag(found.size.is_some(), SIZE)
            | flag(owners, OWNERS)
            | flag(found.mode.is_some(), PERMISSIONS)
            | flag(found.modified.is_some(), TIMES);
        let mut packet = Packet::bare(105).number(7).number(flags);
        packet = found.size.into_iter().fold(packet, Packet::offset);
        packet = if owners { packet.number(1).number(2) } else { packet };
        packet = found.mode.into_iter().fold(packet, Packet::number);
        found.modified.into_iter().fold(packet, |packet, time| packet.number(3).number(time))
    }

    proptest! {
        #![proptest_config(one_in(1))]

        #[test]
        fn what_a_server_says_is_read_back_and_what_is_cut_is_none(
            (size, mode, modified, owners) in any::<(Option<u64>, Option<u32>, Option<u32>, bool)>(),
            bytes in prop::collection::vec(any::<u8>(), 0..40),
            cut in any::<prop::sample::Index>(),
        ) {
            let found = Attributes { size, mode, modified };
            for (packet, wanted) in [
                (attributes_packet(&found, owners), SftpReply::Attributes(found)),
                (Packet::bare(102).number(7).bytes(&bytes), SftpReply::Handle(bytes.clone())),
                (Packet::bare(103).number(7).bytes(&bytes), SftpReply::Data(bytes.clone())),
            ] {
                let packet = &packet.finish()[4..];
                prop_assert_eq!(reply(packet), Some((7, wanted)));
                prop_assert_eq!(reply(&packet[..cut.index(packet.len())]), None);
            }
            let status = Packet::bare(101).number(7).number(code::FAILURE).bytes(&bytes).finish();
            let Some((7, SftpReply::Status(replied))) = reply(&status[4..]) else { panic!("{bytes:?}") };
            prop_assert!(!replied.message.contains(crate::printable::is_harmful), "{}", replied.message);
        }

        #[test]
        fn whatever_bytes_come_no_more_is_taken_of_them(
            kind in prop_oneof![Just(2), 101..=105_u8, Just(201), any::<u8>()],
            bytes in prop::collection::vec(prop_oneof![Just(0), Just(1), Just(0xff), any::<u8>()], 0..64),
        ) {
            let packet = [&[kind][..], &bytes].concat();
            let _ = (version(&packet), free_space(&packet));
            if let Some((_, SftpReply::Handle(taken) | SftpReply::Data(taken) | SftpReply::Extended(taken))) = reply(&packet) {
                prop_assert!(packet.windows(taken.len().max(1)).any(|part| part == taken) || taken.is_empty());
            }
        }
    }
}
