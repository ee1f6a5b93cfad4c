//! Tests of the client with a server in memory that has the quirks of real servers.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::client::{Client, Error};
use super::rename_over;
use super::wire::{Extensions, SftpRequest, SftpStatus, code};
use crate::base::progress::{Event, Progress, Silent};

/// Quirks of a server.
#[derive(Debug, Clone, Default)]
struct Whims {
    /// Maximum number of a file's bytes that it sends at once.
    short: Option<usize>,
    /// Whether it answers every second request before the first.
    disorder: bool,
    /// Maximum size of a file in bytes.
    room: Option<usize>,
    /// Whether a rename replaces an existing file.
    gives_way: bool,
    /// Whether it never sends the beginning of a file. The length of the file `asked` is then the number of read
    /// requests.
    holds_back: bool,
    /// Delay before each byte of a reply.
    drips: Option<Duration>,
    /// Number of characters of the message in each status.
    wordy: usize,
    /// Number of requests after which it no longer answers.
    falls_silent: Option<usize>,
}

/// Paths with their contents.
type Files = BTreeMap<String, Vec<u8>>;

/// Serves `files` until the client hangs up; returns the files at that time.
fn serve(mut stream: UnixStream, mut files: Files, whims: &Whims) -> Files {
    let mut greeting = [0; 9];
    stream.read_exact(&mut greeting).unwrap();
    assert_eq!(greeting, [0, 0, 0, 5, 1, 0, 0, 0, 3]);
    stream.write_all(&[0, 0, 0, 5, 2, 0, 0, 0, 3]).unwrap();
    let (mut held, mut count): (Option<Vec<u8>>, usize) = (None, 0);
    loop {
        let mut length = [0; 4];
        stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        match stream.read(&mut length[..1]) {
            Ok(1) => {}
            // The client sends nothing more before it gets the reply that was held back.
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                if let Some(reply) = held.take() {
                    stream.write_all(&reply).unwrap();
                }
                continue;
            }
            _ => return files,
        }
        stream.set_read_timeout(None).unwrap();
        stream.read_exact(&mut length[1..]).unwrap();
        let mut packet = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut packet).unwrap();
        count += 1;
        if whims.falls_silent.is_some_and(|limit| count > limit) {
            continue;
        }
        let reply = reply(&packet, &mut files, whims);
        if whims.holds_back && reply[4] == 103 && files["asked"].len() == 1 {
            continue;
        }
        if whims.disorder && held.is_none() {
            held = Some(reply);
            continue;
        }
        if let Some(pause) = whims.drips {
            let drip = |byte: &u8| {
                std::thread::sleep(pause);
                stream.write_all(&[*byte])
            };
            if reply.iter().try_for_each(drip).is_err() {
                return files;
            }
            continue;
        }
        let sent = stream.write_all(&reply).and_then(|()| stream.write_all(&held.take().unwrap_or_default()));
        if sent.is_err() {
            return files;
        }
    }
}

/// Parser of a packet.
struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    fn number(&mut self) -> u32 {
        u32::from_be_bytes(self.take(4).try_into().unwrap())
    }

    fn offset(&mut self) -> usize {
        usize::try_from(u64::from_be_bytes(self.take(8).try_into().unwrap())).unwrap()
    }

    fn bytes(&mut self) -> &'a [u8] {
        let length = self.number() as usize;
        self.take(length)
    }

    fn text(&mut self) -> String {
        String::from_utf8(self.bytes().to_vec()).unwrap()
    }
}

fn packet(kind: u8, id: u32, rest: &[u8]) -> Vec<u8> {
    let length = u32::try_from(5 + rest.len()).unwrap();
    [&length.to_be_bytes()[..], &[kind], &id.to_be_bytes(), rest].concat()
}

fn counted(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

/// Returns the reply to a request. A handle is the path of its file.
fn reply(request: &[u8], files: &mut Files, whims: &Whims) -> Vec<u8> {
    let mut parts = Parts(request);
    let (kind, id) = (parts.take(1)[0], parts.number());
    let message = counted(&vec![b'x'; whims.wordy]);
    let status = |code: u32| packet(101, id, &[&code.to_be_bytes()[..], &message, &counted(b"")].concat());
    let path = parts.text();
    match kind {
        3 if parts.number() & 2 != 0 => {
            files.entry(path.clone()).or_default();
            packet(102, id, &counted(path.as_bytes()))
        }
        3 if files.contains_key(&path) => packet(102, id, &counted(path.as_bytes())),
        4 => status(code::OK),
        5 => {
            let (offset, length) = (parts.offset(), parts.number() as usize);
            if whims.holds_back {
                files.entry("asked".into()).or_default().push(0);
            }
            let content = &files[&path];
            match content.len().saturating_sub(offset).min(length).min(whims.short.unwrap_or(length)) {
                0 => status(code::END_OF_FILE),
                count => packet(103, id, &counted(&content[offset..offset + count])),
            }
        }
        6 => {
            let (offset, data) = (parts.offset(), parts.bytes());
            if whims.room.is_some_and(|room| offset + data.len() > room) {
                return status(code::FAILURE);
            }
            let content = files.get_mut(&path).unwrap();
            content.resize(content.len().max(offset + data.len()), 0);
            content[offset..offset + data.len()].copy_from_slice(data);
            status(code::OK)
        }
        7 | 17 if files.contains_key(&path) => {
            let size = files[&path].len() as u64;
            packet(105, id, &[&1_u32.to_be_bytes()[..], &size.to_be_bytes()].concat())
        }
        13 if files.remove(&path).is_some() => status(code::OK),
        18 => {
            let new = parts.text();
            if !files.contains_key(&path) || files.contains_key(&new) && !whims.gives_way {
                return status(code::FAILURE);
            }
            let content = files.remove(&path).unwrap();
            files.insert(new, content);
            status(code::OK)
        }
        200 => status(code::UNSUPPORTED),
        _ => status(code::NO_SUCH_FILE),
    }
}

/// Runs `work` with a server that has these quirks, and returns its result and the server's files.
fn with<T>(whims: &Whims, files: Files, work: impl FnOnce(&mut Client<'_>) -> T) -> (T, Files) {
    let (mine, its) = UnixStream::pair().unwrap();
    std::thread::scope(|scope| {
        let server = scope.spawn(move || serve(its, files, whims));
        let soon = whims.falls_silent.is_some() || whims.holds_back || whims.drips.is_some();
        let patience = if soon { 200 } else { 60_000 };
        let mut client = Client::handshake(mine, Duration::from_millis(patience), &Silent).unwrap();
        let result = work(&mut client);
        drop(client);
        (result, server.join().unwrap())
    })
}

/// Returns content that does not repeat.
fn noise(length: usize) -> Vec<u8> {
    (0..u32::try_from(length).unwrap()).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()
}

fn read(client: &mut Client<'_>, path: &str, range: std::ops::Range<u64>) -> Result<Vec<u8>, Error> {
    let mut content = Vec::new();
    client.read_file(path, range, &mut |piece| content.extend_from_slice(piece)).map(|()| content)
}

#[test]
fn a_file_comes_and_goes_whole_whatever_a_server_makes_of_it() {
    let content = noise(3_000_000);
    for whims in [
        Whims::default(),
        Whims { disorder: true, ..Whims::default() },
        Whims { short: Some(1_024), ..Whims::default() },
        Whims { short: Some(20_000), disorder: true, ..Whims::default() },
    ] {
        let (back, files) = with(&whims, Files::new(), |client| {
            let mut acknowledged = 0;
            client.write_file("a", &content[..1_000_000], 0, &mut |count| acknowledged += count).unwrap();
            client.write_file("a", &content[1_000_000..], 1_000_000, &mut |count| acknowledged += count).unwrap();
            assert_eq!(acknowledged, 3_000_000);
            let back = read(client, "a", 0..3_000_000).unwrap();
            assert_eq!(read(client, "a", 2_999_990..3_000_100).unwrap(), content[2_999_990..], "the end is the end");
            back
        });
        assert!(back == content && files["a"] == content, "{whims:?}");
    }
}

#[test]
fn a_server_with_long_answers_and_the_client_do_not_wait_for_each_other() {
    // More than the connection holds on its way back.
    let whims = Whims { wordy: 30_000, ..Whims::default() };
    let ((), files) = with(&whims, Files::new(), |client| {
        client.write_file("a", &noise(1_500_000), 0, &mut |_| {}).unwrap();
        let paths: Vec<String> = (0..60).map(|number| "b".repeat(5_000 + number)).collect();
        assert_eq!(client.lstat(&paths).unwrap(), vec![None; 60]);
    });
    assert_eq!(files["a"].len(), 1_500_000);
}

#[test]
fn a_refusal_ends_the_file_and_not_the_connection() {
    let whims = Whims { room: Some(100_000), ..Whims::default() };
    let ((), files) = with(&whims, Files::new(), |client| {
        let mut acknowledged = 0;
        let written = client.write_file("a", &noise(3_000_000), 0, &mut |count| acknowledged += count);
        let refused = Error::Refused(SftpStatus { code: code::FAILURE, message: String::new() });
        assert_eq!((written, acknowledged), (Err(refused), 3 * 32_768));
        // Replies that were still outstanding are not mixed up with later ones.
        assert_eq!(client.stat("a").unwrap().unwrap().size, Some(3 * 32_768));
        assert_eq!(client.stat("b").unwrap(), None);
        // A server that does not advertise the extension is not asked.
        assert_eq!((client.extensions, client.space("a")), (Extensions::default(), None));
        let missing = Error::Refused(SftpStatus { code: code::NO_SUCH_FILE, message: String::new() });
        assert_eq!(read(client, "b", 0..10), Err(missing));
    });
    assert_eq!(files["a"].len(), 3 * 32_768);
}

#[test]
fn many_paths_are_looked_at_in_their_order() {
    let files: Files = (0..500).step_by(3).map(|number| (format!("f{number}"), vec![0; number])).collect();
    let paths: Vec<String> = (0..500).map(|number| format!("f{number}")).collect();
    let whims = Whims { disorder: true, ..Whims::default() };
    let (found, _) = with(&whims, files, |client| client.lstat(&paths).unwrap());
    for (number, found) in found.iter().enumerate() {
        assert_eq!(found.map(|found| found.size), (number % 3 == 0).then_some(Some(number as u64)));
    }
}

#[test]
fn a_file_takes_the_place_of_another_with_every_server() {
    for gives_way in [true, false] {
        let files = Files::from([("old".into(), b"old".to_vec()), ("new".into(), b"new".to_vec())]);
        let whims = Whims { gives_way, ..Whims::default() };
        let ((), files) = with(&whims, files, |client| {
            rename_over(client, "new", "old").unwrap();
            rename_over(client, "old", "elsewhere").unwrap();
        });
        assert_eq!(files, Files::from([("elsewhere".into(), b"new".to_vec())]));
    }
}

#[test]
fn a_file_does_not_give_way_to_one_that_is_gone() {
    let files = Files::from([("old".into(), b"old".to_vec())]);
    let (renamed, left) = with(&Whims::default(), files.clone(), |client| rename_over(client, "new", "old"));
    let refused = Error::Refused(SftpStatus { code: code::FAILURE, message: String::new() });
    assert_eq!((renamed, left), (Err(refused), files));
}

#[test]
fn a_server_that_claims_any_size_takes_no_memory() {
    let content = noise(100_000);
    let files = Files::from([("a".into(), content.clone())]);
    let (back, _) = with(&Whims::default(), files, |client| read(client, "a", 0..u64::MAX));
    assert!(back.unwrap() == content);
}

#[test]
fn what_is_asked_for_behind_a_missing_piece_is_bounded() {
    let files = Files::from([("a".into(), noise(10_000_000))]);
    let whims = Whims { holds_back: true, ..Whims::default() };
    let (back, files) = with(&whims, files, |client| read(client, "a", 0..10_000_000));
    assert_eq!((back, files["asked"].len()), (Err(Error::Silent), 64));
}

#[test]
fn single_bytes_are_refused_unless_they_are_the_last() {
    let content = noise(100_000);
    let files = Files::from([("a".into(), content.clone()), ("b".into(), vec![7])]);
    let whims = Whims { short: Some(1), ..Whims::default() };
    let ((), _) = with(&whims, files.clone(), |client| {
        let refused = Error::NotSftp("a piece of 1 byte, wanted 1024 at least".into());
        assert_eq!(read(client, "a", 0..100_000), Err(refused));
        // The connection still works.
        assert_eq!(read(client, "b", 0..10), Ok(vec![7]));
        assert_eq!(read(client, "a", 99_999..100_000).unwrap(), content[99_999..]);
    });
    // The piece size divides neither a request nor the file evenly.
    let content = noise(33 << 20);
    let whims = Whims { short: Some(1_025), ..Whims::default() };
    let (back, _) = with(&whims, Files::from([("a".into(), content.clone())]), |client| read(client, "a", 0..u64::MAX));
    assert!(back.unwrap() == content);
}

#[test]
fn a_server_that_drips_is_given_up() {
    // Within one reply, or over several.
    for (milliseconds, most) in [(20, 0), (4, 40)] {
        let whims = Whims { drips: Some(Duration::from_millis(milliseconds)), ..Whims::default() };
        let (answers, _) = with(&whims, Files::new(), |client| {
            (0..).find_map(|count| client.stat("a").err().map(|error| (count, error))).unwrap()
        });
        assert!(answers.0 <= most && answers.1 == Error::Slow, "{answers:?}");
    }
}

#[test]
fn who_says_nothing_any_more_or_something_else_is_told_apart() {
    let whims = Whims { falls_silent: Some(1), ..Whims::default() };
    let ((), _) = with(&whims, Files::new(), |client| {
        assert_eq!(client.stat("a"), Ok(None));
        assert_eq!(client.stat("a"), Err(Error::Silent));
    });
    let greet = |greeting: &[u8]| {
        let (mine, mut its) = UnixStream::pair().unwrap();
        its.write_all(greeting).unwrap();
        its.shutdown(std::net::Shutdown::Write).unwrap();
        Client::handshake(mine, Duration::from_secs(1), &Silent).err()
    };
    let other = |text: &str| Some(Error::NotSftp(text.into()));
    assert_eq!(greet(b"This account is not available.\n"), other("This account is not available."));
    assert_eq!(greet(&[0, 0, 0, 5, 2, 0, 0, 0, 2]), other("version 2"));
    assert_eq!(greet(b"\0\0\0\x05hello"), other("hello"));
    assert_eq!(greet(b"\0\0\0\x05\x02\0"), Some(Error::Gone));
    assert_eq!(greet(b""), Some(Error::Gone));
}

#[test]
fn a_person_who_waits_for_a_login_can_stop_waiting() {
    #[derive(Default)]
    struct Impatient(AtomicBool);
    impl Progress for Impatient {
        fn report(&self, _: &Event) {}
        fn cancelled(&self) -> bool {
            self.0.swap(true, Ordering::SeqCst)
        }
    }
    let (mine, _its) = UnixStream::pair().unwrap();
    let impatient = Impatient::default();
    assert_eq!(Client::handshake(mine, Duration::from_secs(1), &impatient).err(), Some(Error::Cancelled));
}

#[test]
fn a_reply_to_no_request_is_not_taken_for_one() {
    let (mine, mut its) = UnixStream::pair().unwrap();
    its.write_all(&[0, 0, 0, 5, 2, 0, 0, 0, 3]).unwrap();
    its.write_all(&packet(101, 77, &0_u32.to_be_bytes())).unwrap();
    let mut client = Client::handshake(mine, Duration::from_secs(1), &Silent).unwrap();
    let error = client.ask(&SftpRequest::Remove { path: "a" });
    assert_eq!(error, Err(Error::NotSftp("a status that nobody asked for".into())));
}
