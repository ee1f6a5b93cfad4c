//! A small repository in the place of iPXE's, and git's own HTTP server in front of it.

use std::io::Write;
use std::process::{Command, Stdio};

use camino::{Utf8Path, Utf8PathBuf};
use git2::{ObjectType, Oid, Repository, Signature, Time, Tree};
use netboot_loaders::choices::pins::IpxePin;
use netboot_loaders::paths::Cache;
use netboot_loaders::progress::Silent;
use netboot_loaders::source::Supply;
use netboot_loaders::source::http::Network;
use netboot_loaders::source::ipxe::{self, Patch, Source};

use super::noise;
use super::server::{Answer, Request, Server};

/// When the first commit was made; the second is a day younger.
pub const EPOCH: i64 = 1_700_000_000;
/// The tag that leads to the second commit.
pub const TAG: &str = "refs/tags/v2";

/// A bare repository with two commits. A branch and a lightweight tag lead to the second one.
pub struct Upstream {
    pub path: Utf8PathBuf,
    pub repository: Repository,
    pub first: Oid,
    pub second: Oid,
}

impl Upstream {
    pub fn new(path: &Utf8Path) -> Self {
        let repository = Repository::init_bare(path).unwrap();
        let plain = 0o100_644;
        let firmware = noise(7, 60_000);
        let mut files: Vec<(&str, i32, &[u8])> = vec![
            ("README", plain, b"first\n"),
            ("src/Makefile", plain, b"all:\n\techo all\n"),
            // Sorted bytewise, this stands between the folder `src` and what is in it.
            ("src-notes", plain, b"notes\n"),
            ("src/util/pack.sh", 0o100_755, b"#!/bin/sh\necho pack\n"),
            ("src/firmware.bin", plain, &firmware),
        ];
        let first = commit(&repository, &files, EPOCH, None);
        files[0].2 = b"second\nwith a second line\n";
        let second = commit(&repository, &files, EPOCH + 86_400, Some(first));
        for name in ["refs/heads/master", TAG] {
            repository.reference(name, second, true, "made").unwrap();
        }
        repository.set_head("refs/heads/master").unwrap();
        Self { path: path.into(), repository, first, second }
    }

    /// The pin of the second commit, without an address.
    pub fn pin(&self) -> IpxePin {
        self.pin_of(self.second)
    }

    pub fn pin_of(&self, commit: Oid) -> IpxePin {
        let (tree, content) = ipxe::describe(&self.repository, commit).unwrap();
        IpxePin {
            version: "2.0.0".into(),
            git_ref: TAG.into(),
            urls: Vec::new(),
            commit: commit.to_string().parse().unwrap(),
            tree,
            content,
            epoch: self.repository.find_commit(commit).unwrap().time().seconds().cast_unsigned(),
        }
    }
}

/// Commits files (path, mode, content), which must be all of the tree.
pub fn commit(repository: &Repository, files: &[(&str, i32, &[u8])], epoch: i64, parent: Option<Oid>) -> Oid {
    let mut index = git2::Index::new().unwrap();
    for (path, mode, content) in files {
        let entry = git2::IndexEntry {
            ctime: git2::IndexTime::new(0, 0),
            mtime: git2::IndexTime::new(0, 0),
            dev: 0,
            ino: 0,
            mode: mode.cast_unsigned(),
            uid: 0,
            gid: 0,
            file_size: 0,
            id: repository.blob(content).unwrap(),
            flags: 0,
            flags_extended: 0,
            path: path.as_bytes().to_vec(),
        };
        index.add(&entry).unwrap();
    }
    let tree = index.write_tree_to(repository).unwrap();
    commit_tree(repository, &repository.find_tree(tree).unwrap(), epoch, parent)
}

pub fn commit_tree(repository: &Repository, tree: &Tree<'_>, epoch: i64, parent: Option<Oid>) -> Oid {
    let by = Signature::new("Upstream", "upstream@example.org", &Time::new(epoch, 0)).unwrap();
    let parents: Vec<_> = parent.into_iter().map(|oid| repository.find_commit(oid).unwrap()).collect();
    repository.commit(None, &by, &by, "a change", tree, &parents.iter().collect::<Vec<_>>()).unwrap()
}

/// Writes a tree object of one entry without looking at its name, which libgit2 would refuse.
pub fn rogue_tree<'a>(repository: &'a Repository, mode: &str, name: &str, id: Oid) -> Tree<'a> {
    let object = [mode.as_bytes(), b" ", name.as_bytes(), b"\0", id.as_bytes()].concat();
    let oid = repository.odb().unwrap().write(ObjectType::Tree, &object).unwrap();
    repository.find_tree(oid).unwrap()
}

/// Brings the pin into the cache from `url`, and says how that failed.
pub fn fetch(pin: &IpxePin, cache: &Cache, network: &Network, url: &str) -> Result<(), String> {
    ipxe::fetch(pin, cache, &Supply { network, given: Some(&url.into()) }, &Silent).map_err(|error| error.to_string())
}

/// Opens the pin in the cache, and says how that failed.
pub fn open(pin: &IpxePin, cache: &Cache, patches: &[Patch]) -> Result<Source, String> {
    Source::open(pin, cache, patches, &netboot_loaders::progress::Silent).map_err(|error| error.to_string())
}

/// The pin is in the cache as it should be.
#[track_caller]
pub fn assert_fetched(pin: &IpxePin, cache: &Cache) {
    assert_eq!(open(pin, cache, &[]).err(), None);
}

/// Whether `commit` is in the cache.
pub fn has(cache: &Cache, commit: Oid) -> bool {
    Repository::open_bare(cache.ipxe_git()).unwrap().find_commit(commit).is_ok()
}

/// Where git keeps the program that answers for a web server, or why these tests cannot run.
pub fn http_backend() -> Result<(), String> {
    let found = Command::new("git").arg("--exec-path").output().ok().filter(|output| output.status.success());
    let folder = found.ok_or("`git` is not installed")?.stdout;
    let program = Utf8Path::new(String::from_utf8_lossy(&folder).trim()).join("git-http-backend");
    if program.exists() { Ok(()) } else { Err("`git http-backend` is not installed".into()) }
}

/// Serves the repositories below `root` as a web server does that runs `git http-backend`.
pub fn serve(root: Utf8PathBuf) -> Server {
    Server::start(move |request, answer| pass_on(&backend(&root, request), answer))
}

/// What `git http-backend` says to one request.
pub struct Reply {
    pub status: String,
    pub headers: Vec<String>,
    pub body: Vec<u8>,
}

pub fn pass_on(reply: &Reply, answer: &mut Answer) {
    let headers: Vec<_> = reply.headers.iter().map(String::as_str).collect();
    answer.whole(&reply.status, &headers, &reply.body);
}

pub fn backend(root: &Utf8Path, request: &Request) -> Reply {
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let mut child = Command::new("git")
        .arg("http-backend")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .envs([("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_HTTP_EXPORT_ALL", "1")])
        .env("GIT_PROJECT_ROOT", root)
        .envs([("REQUEST_METHOD", request.method.as_str()), ("PATH_INFO", path), ("QUERY_STRING", query)])
        .env("CONTENT_TYPE", request.header("content-type").unwrap_or_default())
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .env("REMOTE_ADDR", "127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // It may refuse without having read what it was sent.
    let _ = child.stdin.take().unwrap().write_all(&request.body);
    let output = child.wait_with_output().unwrap().stdout;
    let end = output.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&output[..end]).into_owned();
    let (status, headers): (Vec<_>, Vec<_>) =
        head.lines().map(str::to_owned).partition(|line| line.starts_with("Status: "));
    let status = status.first().map_or("200 OK", |line| line.trim_start_matches("Status: "));
    Reply { status: status.into(), headers, body: output[end + 4..].to_vec() }
}

/// Lists tests of a file that brings its own harness, so that a test can say that it was skipped.
#[macro_export]
macro_rules! trials {
    ($($name:ident),+ $(,)?) => {
        vec![$(libtest_mimic::Trial::ignorable_test(stringify!($name), || Ok($name()))),+]
    };
}
