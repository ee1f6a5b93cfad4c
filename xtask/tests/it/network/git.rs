//! Malicious git servers, over `git://` and HTTP: how much memory a fetch uses, and how soon Ctrl-C ends it.

#![allow(clippy::cast_possible_truncation, reason = "lengths are cut into groups of seven bits")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::ZlibEncoder;
use sha1::{Digest, Sha1};

use netboot_fixtures::limits;
use netboot_fixtures::project::{CliOutput, Project};
use netboot_fixtures::server::TestServer;

netboot_fixtures::tests! {
    a_list_of_refs_without_end,
    what_is_not_gits_protocol_is_told_as_that,
    refs_with_endless_names,
    a_commit_with_parents_without_number,
    merges_of_more_parents_than_anybody_walks,
    a_ref_that_would_be_a_folder_in_a_folder,
    lines_without_end_in_the_place_of_a_pack,
    ctrl_c_ends_a_fetch_whose_process_was_stopped,
    a_lower_limit_of_the_system_is_kept_and_is_no_fault_of_the_server,
    ctrl_c_ends_a_fetch_in_every_phase,
    ; slow:
    a_small_pack_that_unpacks_to_gigabytes,
    an_object_that_nobody_can_look_at,
    ctrl_c_ends_a_fetch_that_cannot_connect,
}

/// Behaviour of one connection. It gets the stream and a flag that is set when the test is over.
type Behaviour = dyn Fn(&mut TcpStream, &AtomicBool) -> std::io::Result<()> + Send + Sync;

/// A `git://` server that runs as long as the test program.
struct GitServer {
    url: String,
    /// Whether a connection has got as far as it can.
    begun: Arc<AtomicBool>,
}

impl GitServer {
    fn start(behaviour: impl Fn(&mut TcpStream, &AtomicBool) -> std::io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("git://{}/ipxe.git", listener.local_addr().unwrap());
        let (behaviour, begun) = (Arc::<Box<Behaviour>>::new(Box::new(behaviour)), Arc::<AtomicBool>::default());
        let seen = Arc::clone(&begun);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (behaviour, seen) = (Arc::clone(&behaviour), Arc::clone(&seen));
                std::thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    let _ = stream.read(&mut [0; 1024]);
                    let _ = behaviour(&mut stream, &seen);
                });
            }
        });
        Self { url, begun }
    }
}

fn packet(content: &[u8]) -> Vec<u8> {
    [format!("{:04x}", content.len() + 4).as_bytes(), content].concat()
}

const CAPABILITIES: &str = "multi_ack ofs-delta side-band-64k shallow allow-tip-sha1-in-want";

/// Returns the line of the ref number `number`.
fn line(number: usize) -> Vec<u8> {
    let capabilities = if number == 0 { format!("\0{CAPABILITIES}\n") } else { "\n".into() };
    packet(format!("{:040x} refs/heads/b{number}{capabilities}", number + 1).as_bytes())
}

/// Returns the error of a fetch from `url`, within the memory limit.
#[track_caller]
fn refused(url: &str) -> String {
    let project = Project::new();
    let error = project.run_within_limits(&["fetch", "--ipxe-url", url]).error(5);
    // Nothing of the received data is left.
    let left = Project::files_of(&project.path("cache/ipxe.git"));
    assert!(!left.iter().any(|(path, _)| path.as_str().contains("pack_")), "{left:?}");
    error
}

fn failed(url: &str, reason: &str) -> String {
    format!(
        "cannot fetch from `{url}`: {reason}\n\
         hint: check the address\nhint: or name a mirror or a local clone with `--ipxe-url`\n"
    )
}

fn a_list_of_refs_without_end() {
    let server = GitServer::start(|stream, _| {
        for number in 0.. {
            stream.write_all(&line(number))?;
        }
        Ok(())
    });
    assert_eq!(refused(&server.url), failed(&server.url, "the server sends too much: more than 10000 refs"));

    let service = packet(b"# service=git-upload-pack\n");
    let web = TestServer::start(move |_, answer| {
        answer.head("200 OK", &["Content-Type: application/x-git-upload-pack-advertisement"]);
        answer.bytes(&[&service[..], b"0000"].concat());
        let mut number = 0;
        while answer.bytes(&line(number)) {
            number += 1;
        }
    });
    let url = web.url("/ipxe.git");
    assert_eq!(refused(&url), failed(&url, "the server sends too much: more than 10000 refs"));
}

fn what_is_not_gits_protocol_is_told_as_that() {
    let of_sha256 =
        [&packet(format!("{:064x} refs/heads/main\0object-format=sha256 side-band-64k\n", 1).as_bytes())[..], b"0000"];
    for (sent, reason) in [
        (b"0001".to_vec(), "what the server sends is not git's protocol"),
        (b"0003".to_vec(), "what the server sends is not git's protocol"),
        (b"zzzz".to_vec(), "bad packet length"),
        (b"0005".to_vec(), "could not read refs from remote repository"),
        (of_sha256.concat(), "unknown remote object format 'sha256'"),
    ] {
        let server = GitServer::start(move |stream, _| stream.write_all(&sent));
        assert_eq!(refused(&server.url), failed(&server.url, reason));
    }
}

fn refs_with_endless_names() {
    let server = GitServer::start(|stream, _| {
        let long = packet(format!("{:040x} refs/heads/{}\n", 1, "x".repeat(60_000)).as_bytes());
        stream.write_all(&line(0))?;
        loop {
            stream.write_all(&long)?;
        }
    });
    let reason = "the server sends too much: a list of refs of more than 16777216 bytes";
    assert_eq!(refused(&server.url), failed(&server.url, reason));
}

/// Returns an object of a pack: its header and its compressed content.
fn object(kind: u8, reference: &[u8], size: usize, content: &mut dyn Read) -> Vec<u8> {
    let (mut bytes, mut byte, mut rest) = (Vec::new(), (kind << 4) | (size & 15) as u8, size >> 4);
    while rest > 0 {
        bytes.push(byte | 0x80);
        (byte, rest) = ((rest & 0x7f) as u8, rest >> 7);
    }
    bytes.push(byte);
    bytes.extend(reference);
    let mut encoder = ZlibEncoder::new(bytes, Compression::best());
    std::io::copy(content, &mut encoder).unwrap();
    encoder.finish().unwrap()
}

/// Encodes the distance back to the base of an object, as packs do.
fn distance(distance: usize) -> Vec<u8> {
    let (mut bytes, mut rest) = (vec![(distance & 0x7f) as u8], distance >> 7);
    while rest > 0 {
        rest -= 1;
        bytes.insert(0, 0x80 | (rest & 0x7f) as u8);
        rest >>= 7;
    }
    bytes
}

/// Encodes a size, as deltas do.
fn size(mut size: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while size > 0x7f {
        bytes.push((size & 0x7f) as u8 | 0x80);
        size >>= 7;
    }
    bytes.push(size as u8);
    bytes
}

fn pack(count: u32, objects: &[u8]) -> Vec<u8> {
    let mut pack = [b"PACK\0\0\0\x02", &count.to_be_bytes()[..], objects].concat();
    let sum = Sha1::digest(&pack);
    pack.extend_from_slice(&sum);
    pack
}

/// Starts a server that offers `commit` and sends `pack` for it.
fn sends(commit: String, pack: Vec<u8>) -> GitServer {
    sends_for("refs/heads/main", commit, pack)
}

/// Same as [`sends`], for a ref called `name`.
fn sends_for(name: &'static str, commit: String, pack: Vec<u8>) -> GitServer {
    GitServer::start(move |stream, begun| {
        stream.write_all(&packet(format!("{commit} {name}\0{CAPABILITIES}\n").as_bytes()))?;
        stream.write_all(b"0000")?;
        let (mut asked, mut deepened) = (Vec::new(), false);
        while !asked.ends_with(b"0009done\n") {
            let mut piece = [0; 4096];
            let count = stream.read(&mut piece)?;
            asked.extend_from_slice(&piece[..count]);
            if count == 0 {
                return Ok(());
            }
            if !deepened && asked.windows(6).any(|word| word == b"deepen") {
                deepened = true;
                stream.write_all(b"0000")?;
            }
        }
        stream.write_all(&packet(b"NAK\n"))?;
        for piece in pack.chunks(60_000) {
            stream.write_all(&packet(&[b"\x01", piece].concat()))?;
        }
        begun.store(true, Ordering::SeqCst);
        // Without the end of the pack, the client waits for more.
        stream.write_all(b"0000")?;
        std::io::copy(stream, &mut std::io::sink()).map(drop)
    })
}

/// Returns the commit that the project pins.
fn pinned(project: &Project) -> String {
    let pins = String::from_utf8(project.read("vendor/pins.toml")).unwrap();
    let (_, rest) = pins.split_once("commit = \"").unwrap();
    rest[..40].to_owned()
}

/// More than a fetch may use.
const LARGE: usize = 256 << 20;

/// Returns a pack with a blob of 16 MiB and `count` deltas to it that all give the same result.
fn equal_differences(count: u32) -> Vec<u8> {
    const LENGTH: usize = 16 << 20;
    const COPIED: usize = 0x00ff_ff00;
    let mut objects = object(3, &[], LENGTH, &mut std::io::repeat(b'a').take(LENGTH as u64));
    let mut difference = [size(LENGTH), size(COPIED + 1)].concat();
    // Copy `COPIED` bytes from offset 0, and add one.
    difference.extend([0x80 | 0x60, 0xff, 0xff, 1, b'x']);
    for _ in 0..count {
        let base = distance(objects.len());
        objects.extend(object(6, &base, difference.len(), &mut &difference[..]));
    }
    pack(count + 1, &objects)
}

fn a_small_pack_that_unpacks_to_gigabytes() {
    let too_much = "what the server sends takes more than 192 MiB of memory";
    let large = object(3, &[], LARGE, &mut std::io::repeat(b'a').take(LARGE as u64));
    let small = [size(LARGE), size(1), vec![1, b'x']].concat();
    let difference = object(6, &distance(large.len()), small.len(), &mut &small[..]);
    for (pack, reason) in [
        (equal_differences(400), too_much.to_owned()),
        (pack(2, &[large, difference].concat()), too_much.to_owned()),
        (pack(5_000_000, b""), "the server sends too much: more than 500000 objects".to_owned()),
    ] {
        let server = sends(pinned(&Project::new()), pack);
        assert_eq!(refused(&server.url), failed(&server.url, &reason));
    }
}

fn an_object_that_nobody_can_look_at() {
    // A commit of 256 MiB in a pack of 256 kB.
    let text = format!(
        "tree {}\nauthor a <a> 0 +0000\ncommitter a <a> 0 +0000\n\n",
        "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
    );
    let content = || text.as_bytes().chain(std::io::repeat(b'a')).take(LARGE as u64);
    let mut hash = Sha1::new();
    hash.update(format!("commit {LARGE}\0"));
    let (mut reader, mut piece) = (content(), vec![0; 1 << 16]);
    loop {
        let count = reader.read(&mut piece).unwrap();
        if count == 0 {
            break;
        }
        hash.update(&piece[..count]);
    }
    let commit: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let server = sends(commit.clone(), pack(1, &object(1, &[], LARGE, &mut content())));
    let project = Project::new();
    let error = project.run_within_limits(&["update", "ipxe", "--to", "main", "--ipxe-url", &server.url]).error(5);
    let reason = format!("the server sends too much: an object of {LARGE} bytes, {commit}, wanted 65536 at most");
    assert_eq!(error, failed(&server.url, &reason));
    // The whole pack had arrived, and would interfere with the next server.
    let packs = project.path("cache/ipxe-history.git/objects/pack");
    assert_eq!(Project::files_of(&packs), []);
}

/// Returns a commit that names the same parent `parents` times.
fn wide_commit(parents: usize) -> (String, Vec<u8>) {
    let tree = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n";
    let parent = format!("parent {:040x}\n", 7).repeat(parents);
    let text = format!("{tree}{parent}author a <a> 0 +0000\ncommitter a <a> 0 +0000\n\n");
    let hash = Sha1::digest(format!("commit {}\0{text}", text.len()));
    (hash.iter().map(|byte| format!("{byte:02x}")).collect(), text.into_bytes())
}

fn a_commit_with_parents_without_number() {
    let (commit, text) = wide_commit(100_000);
    let server = sends(commit.clone(), pack(1, &object(1, &[], text.len(), &mut &text[..])));
    let project = Project::new();
    let error = project.run_within_limits(&["update", "ipxe", "--to", "main", "--ipxe-url", &server.url]).error(5);
    let reason =
        format!("the server sends too much: an object of {} bytes, {commit}, wanted 65536 at most", text.len());
    assert_eq!(error, failed(&server.url, &reason));
}

fn merges_of_more_parents_than_anybody_walks() {
    let (commit, text) = wide_commit(1_000);
    let other = |number: u32| {
        let text = [&text[..], format!("{number}").as_bytes()].concat();
        object(1, &[], text.len(), &mut &text[..])
    };
    let objects = [object(1, &[], text.len(), &mut &text[..]), (0..17).flat_map(other).collect()].concat();
    let server = sends(commit, pack(18, &objects));
    let project = Project::new();
    let error = project.run_within_limits(&["update", "ipxe", "--to", "main", "--ipxe-url", &server.url]).error(5);
    let reason = "the server sends too much: merges with more than 16384 parents";
    assert_eq!(error, failed(&server.url, reason));
}

fn a_ref_that_would_be_a_folder_in_a_folder() {
    // In the cache's own layout, such a ref could no longer be listed.
    const DEEP: &str = "refs/heads/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a";
    let (commit, text) = wide_commit(0);
    let packed = pack(1, &object(1, &[], text.len(), &mut &text[..]));
    let server = sends_for(DEEP, commit.clone(), packed.clone());
    let project = Project::new();
    let update = |url: &str| project.run(["update", "ipxe", "--to", &commit, "--ipxe-url", url]);
    let reason = "the server sends too much: a ref of more than 16 parts";
    assert_eq!(update(&server.url).error(5), failed(&server.url, reason));
    let server = sends_for(&DEEP[..DEEP.len() - 2], commit.clone(), packed);
    update(&server.url).success();
}

fn lines_without_end_in_the_place_of_a_pack() {
    let (commit, _) = wide_commit(0);
    for line in [packet(b"NAK\n"), packet(b"\x02Counting objects\n")] {
        let listed = packet(format!("{commit} refs/heads/main\0{CAPABILITIES}\n").as_bytes());
        let server = GitServer::start(move |stream, _| {
            stream.write_all(&[&listed[..], b"0000"].concat())?;
            let _ = stream.read(&mut [0; 4096])?;
            loop {
                stream.write_all(&line.repeat(1_000))?;
            }
        });
        let project = Project::new();
        let update = ["update", "ipxe", "--to", "main", "--ipxe-url", &server.url];
        let reason = "the server sends too much: more than 10000 lines beside a pack";
        assert_eq!(project.run_within_limits(&update).error(5), failed(&server.url, reason));
    }
}

fn ctrl_c_ends_a_fetch_whose_process_was_stopped() {
    let server = GitServer::start(|stream, begun| {
        begun.store(true, Ordering::SeqCst);
        std::io::copy(stream, &mut std::io::sink()).map(drop)
    });
    let project = Project::new();
    let started = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let mut interrupted = None;
    limits::interrupt(&mut project.command(["fetch", "--ipxe-url", &server.url]), |pid| {
        let children = started(pid);
        let child = children.split_ascii_whitespace().next().and_then(|child| child.parse().ok());
        let begun = server.begun.load(Ordering::SeqCst);
        if let Some(child) = child.filter(|_| begun).and_then(rustix::process::Pid::from_raw) {
            rustix::process::kill_process(child, rustix::process::Signal::STOP).unwrap();
            interrupted = Some(Instant::now());
        }
        interrupted.is_some()
    });
    // The time that a process may take to end after Ctrl-C.
    assert!(interrupted.unwrap().elapsed() < Duration::from_secs(2), "{:?}", interrupted.unwrap().elapsed());
}

fn a_lower_limit_of_the_system_is_kept_and_is_no_fault_of_the_server() {
    let server = GitServer::start(|stream, _| stream.write_all(b"zzzz"));
    for limit in ["ulimit -t 600", "ulimit -d 150000"] {
        let project = Project::new();
        let inner = project.command(["fetch", "--ipxe-url", &server.url]);
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &format!("{limit} && exec \"$0\" \"$@\"")]).arg(inner.get_program()).args(inner.get_args());
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let error = CliOutput::from(command.output().unwrap()).error(5);
        assert_eq!(error, failed(&server.url, "bad packet length"), "{limit}");
    }
}

fn ctrl_c_ends_a_fetch_in_every_phase() {
    let silent = GitServer::start(|stream, begun| {
        begun.store(true, Ordering::SeqCst);
        std::io::copy(stream, &mut std::io::sink()).map(drop)
    });
    let listing = GitServer::start(|stream, begun| {
        for number in 0.. {
            stream.write_all(&line(number))?;
            std::thread::sleep(Duration::from_millis(1));
            begun.store(number > 100, Ordering::SeqCst);
        }
        Ok(())
    });
    let sending = GitServer::start(|stream, begun| {
        stream.write_all(&[&line(0)[..], b"0000"].concat())?;
        let _ = stream.read(&mut [0; 4096])?;
        stream.write_all(&[b"0000", &packet(b"NAK\n")[..]].concat())?;
        loop {
            stream.write_all(&packet(b"\x02Counting objects\n"))?;
            std::thread::sleep(Duration::from_millis(10));
            begun.store(true, Ordering::SeqCst);
        }
    });
    let indexing = sends(pinned(&Project::new()), equal_differences(400));
    for server in [silent, listing, sending, indexing] {
        let project = Project::new();
        let mut command = project.command(["fetch", "--ipxe-url", &server.url]);
        let ended = limits::interrupt(&mut command, |_| server.begun.load(Ordering::SeqCst)).assert_memory_limit();
        assert!(
            ended.stderr.ends_with(&format!("error: cannot fetch from `{}`: interrupted\n", server.url)),
            "{}",
            ended.stderr
        );
        let left = Project::files_of(&project.path("cache/ipxe.git"));
        assert!(!left.iter().any(|(path, _)| path.as_str().contains("pack_")), "{left:?}");
    }
}

fn ctrl_c_ends_a_fetch_that_cannot_connect() {
    // No process accepts connections: once the queue is full, the kernel stops replying.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        queue.push(stream);
    }
    for scheme in ["git", "http", "archive"] {
        let project = Project::new();
        let (folder, url) = (project.path("ipxe").into_string(), format!("{scheme}://{address}/ipxe.git"));
        let archive = format!("http://{address}/syslinux.zip");
        let ipxe = if scheme == "archive" { &folder } else { &url };
        let mut command = project.command(["fetch", "--ipxe-url", ipxe, "--syslinux-archive", &archive]);
        let cache = project.path("cache/ipxe.git/HEAD");
        let started = std::cell::Cell::new(None::<std::time::Instant>);
        limits::interrupt(&mut command, |_| {
            if cache.exists() && started.get().is_none() {
                started.set(Some(std::time::Instant::now()));
            }
            started.get().is_some_and(|started| started.elapsed() > Duration::from_millis(500))
        });
    }
}
