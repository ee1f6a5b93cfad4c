//! A real sshd on the loopback, with a key of its own and no shell, and a line to it that can be cut.

#![allow(dead_code, reason = "every test file uses another part of this")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use netboot_loaders::toolchain::needs::SSHD;

use crate::support::{Project, Ran, forge};

/// The name by which the server's key is known, whatever port it is reached by.
pub const ALIAS: &str = "netboot-test";

/// The only command of a server that speaks SFTP and nothing else.
pub const SFTP: &str = "internal-sftp";
/// The same without anything that is not in version 3 of the protocol.
pub const BARE_SFTP: &str =
    "internal-sftp -P posix-rename,fsync,statvfs,fstatvfs,hardlink,lsetstat,limits,expand-path,copy-data";

/// A test: its name, why it cannot run here, and what it does with a project that has a tree of some megabytes.
pub type Test = (&'static str, fn() -> Option<String>, fn(&Project));

/// Runs `tests`.
pub fn run(tests: &[Test]) -> ExitCode {
    let trial = |&(name, lacking, test): &Test| {
        Trial::ignorable_test(name, move || -> Result<Completion, Failed> {
            match lacking() {
                None => {
                    test(&project());
                    Ok(Completion::Completed)
                }
                Some(reason) => Ok(Completion::ignored_with(reason)),
            }
        })
    };
    libtest_mimic::run(&Arguments::from_args(), tests.iter().map(trial).collect()).exit_code()
}

/// The program.
fn sshd() -> Option<&'static Utf8Path> {
    SSHD.iter().map(Utf8Path::new).find(|path| path.is_file())
}

/// Why no server can be started here.
pub fn lacking() -> Option<String> {
    sshd().is_none().then(|| "sshd is not installed".to_owned())
}

/// A server; it ends when dropped.
pub struct Server {
    child: Child,
    folder: Utf8PathBuf,
    pub user: String,
    pub port: u16,
}

impl Server {
    /// Serves, with `command` as all that a login can do. Everything that it needs is in the project's folder `name`.
    pub fn start(project: &Project, name: &str, command: &str) -> Self {
        let folder = project.path(name);
        std::fs::create_dir_all(&folder).unwrap();
        for key in ["host", "user", "other"] {
            let path = folder.join(key);
            let arguments = ["-q", "-t", "ed25519", "-N", "", "-C", key, "-f", path.as_str()];
            assert!(Command::new("ssh-keygen").args(arguments).status().unwrap().success());
        }
        std::fs::copy(folder.join("user.pub"), folder.join("authorized")).unwrap();
        let user = text(Command::new("id").arg("-un"));
        if user == "root" {
            // Root's sshd wants this folder, which the system's own start makes.
            std::fs::create_dir_all("/run/sshd").unwrap();
        }
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut server =
                Self { child: spawn(&folder, port, command), folder: folder.clone(), user: user.clone(), port };
            if server.answers() {
                server.write_client_config("host", "user");
                return server;
            }
        }
        panic!("sshd does not start: {}", std::fs::read_to_string(folder.join("log")).unwrap());
    }

    fn answers(&mut self) -> bool {
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(20) && self.child.try_wait().unwrap().is_none() {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// Writes the configuration of a client that knows the server by the key `known`, and has the key `own`.
    pub fn write_client_config(&self, known: &str, own: &str) {
        let folder = &self.folder;
        let key = match known {
            "" => String::new(),
            known => format!("{ALIAS} {}", std::fs::read_to_string(folder.join(format!("{known}.pub"))).unwrap()),
        };
        std::fs::write(folder.join("known_hosts"), key).unwrap();
        let config = format!(
            "HostKeyAlias {ALIAS}\nUserKnownHostsFile {folder}/known_hosts\nGlobalKnownHostsFile /dev/null\n\
             StrictHostKeyChecking yes\nIdentityFile {folder}/{own}\nIdentitiesOnly yes\nIdentityAgent none\nBatchMode yes\n"
        );
        std::fs::write(self.client_config(), config).unwrap();
    }

    pub fn client_config(&self) -> Utf8PathBuf {
        self.folder.join("client_config")
    }

    /// The address of a folder, by a port that leads to this server.
    pub fn address(&self, port: u16, folder: &Utf8Path) -> String {
        format!("sftp://{}@127.0.0.1:{port}{folder}", self.user)
    }

    /// Ends; returns the port, at which nobody is then.
    pub fn stop(&mut self) -> u16 {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.port
    }
}

fn spawn(folder: &Utf8Path, port: u16, command: &str) -> Child {
    let config = format!(
        "ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host\nPidFile none\nStrictModes no\n\
         AuthorizedKeysFile {folder}/authorized\nAuthenticationMethods publickey\nPermitRootLogin yes\n\
         UsePAM no\nMaxStartups 100\nLogLevel VERBOSE\n{}\n",
        match command {
            "" => String::new(),
            command => format!("Subsystem sftp {SFTP}\nForceCommand {command}"),
        }
    );
    std::fs::write(folder.join("sshd_config"), config).unwrap();
    std::fs::set_permissions(folder.join("host"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let log = std::fs::File::create(folder.join("log")).unwrap();
    // It is called by its whole path, because it starts itself again for each client.
    let words = [sshd().unwrap().to_string(), "-D".into(), "-e".into(), "-f".into(), format!("{folder}/sshd_config")];
    let own_mounts = Command::new("unshare").args(["-m", "true"]).output().is_ok_and(|output| output.status.success());
    let mut sshd = if own_mounts {
        // Containers lock root's account, and sshd minds that. For this process alone it is not locked.
        std::fs::write(folder.join("shadow"), "root:*:19000:0:99999:7:::\n").unwrap();
        let script = format!("mount --bind {folder}/shadow /etc/shadow; exec \"$@\"");
        let mut unshare = Command::new("unshare");
        unshare.args(["-m", "sh", "-ec", &script, "sh"]);
        unshare
    } else {
        Command::new("env")
    };
    sshd.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn text(command: &mut Command) -> String {
    String::from_utf8(command.output().unwrap().stdout).unwrap().trim().to_owned()
}

/// A project with a tree of some megabytes.
fn project() -> Project {
    let project = Project::new();
    let sites = String::from_utf8(project.read("embed-scripts/sites.toml")).unwrap();
    project.sites(&format!("{sites}[site.a]\nloaders = [\"ipxe.efi\"]\n[site.b]\nloaders = [\"ipxe.efi\"]\n"));
    project.build(&[]).success();
    grow(&project, 1);
    project
}

/// Adds noise to each loader of the tree; other noise for another `seed`.
pub fn grow(project: &Project, seed: u64) {
    for (index, (path, mut content)) in project.snapshot().into_iter().enumerate() {
        if matches!(path.extension(), Some("pxe" | "kpxe" | "efi" | "0")) {
            content.truncate(4_000);
            let mut random = Random(seed * 1_000 + index as u64);
            content.extend(std::iter::repeat_with(|| random.next().to_le_bytes()).take(45_000).flatten());
            std::fs::write(project.tree().join(path), content).unwrap();
        }
    }
    forge(&project.tree());
}

/// xorshift64*
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 11) % limit
    }
}

/// The command that deploys to `folder`, over the port of a server or of a line to it.
pub fn deployment(project: &Project, server: &Server, port: u16, folder: &Utf8Path, more: &[&str]) -> Command {
    let (address, config) = (server.address(port, folder), server.client_config());
    project.command(&[&["deploy", &address, "--ssh-config", config.as_str()], more].concat())
}

pub fn deploy(project: &Project, server: &Server, folder: &Utf8Path, more: &[&str]) -> Ran {
    Ran::from(deployment(project, server, server.port, folder, more).output().unwrap())
}

/// The files of a folder, without what a deployment writes down there.
pub fn files(folder: &Utf8Path) -> BTreeMap<Utf8PathBuf, Vec<u8>> {
    let files = Project::files_of(folder).into_iter();
    files.filter(|(path, _)| path != "netboot-loaders-deployed.json").collect()
}

/// Makes the record at a place one that was written a second after all files, whose times are believed.
pub fn let_time_pass(folder: &Utf8Path) {
    let record = std::fs::File::options().append(true).open(folder.join("netboot-loaders-deployed.json")).unwrap();
    record.set_modified(record.metadata().unwrap().modified().unwrap() + Duration::from_secs(1)).unwrap();
}

#[track_caller]
pub fn assert_deployed(project: &Project, folder: &Utf8Path) {
    let (there, wanted) = (files(folder), files(&project.tree()));
    let paths: BTreeSet<_> = there.keys().chain(wanted.keys()).collect();
    let others: Vec<_> = paths.into_iter().filter(|path| there.get(*path) != wanted.get(*path)).collect();
    assert!(others.is_empty(), "{others:?}");
}

/// What a line does with a connection.
#[derive(Debug, Clone, Copy)]
pub enum Fate {
    /// It is cut after so many bytes, in both directions together.
    CutAfter(u64),
    /// Nothing gets through any more after so many bytes, and nobody is told.
    DeadAfter(u64),
}

/// A line to a server. Each connection has a fate of its own; those after the last have none.
pub struct Line {
    pub port: u16,
    state: Arc<State>,
}

struct State {
    fates: Mutex<VecDeque<Fate>>,
    met: AtomicUsize,
    passed: AtomicUsize,
    stop: AtomicBool,
}

impl Line {
    pub fn to(server: u16, fates: impl IntoIterator<Item = Fate>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            fates: Mutex::new(fates.into_iter().collect()),
            met: AtomicUsize::new(0),
            passed: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if shared.stop.load(Ordering::SeqCst) {
                    return;
                }
                connect(&client.unwrap(), server, &shared);
            }
        });
        Self { port, state }
    }

    /// How many connections have met their fate.
    pub fn met(&self) -> usize {
        self.state.met.load(Ordering::SeqCst)
    }

    /// How many bytes have got through.
    pub fn passed(&self) -> usize {
        self.state.passed.load(Ordering::SeqCst)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for a connection.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn connect(client: &TcpStream, server: u16, state: &Arc<State>) {
    let fate = state.fates.lock().unwrap().pop_front();
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { return };
    let limit = match fate {
        Some(Fate::CutAfter(bytes) | Fate::DeadAfter(bytes)) => i64::try_from(bytes).unwrap(),
        None => i64::MAX,
    };
    let left = Arc::new(AtomicI64::new(limit));
    for (from, to) in [(client, &server), (&server, client)] {
        let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        let (left, state) = (Arc::clone(&left), Arc::clone(state));
        std::thread::spawn(move || pass(from, to, fate, &left, &state));
    }
}

/// Passes bytes on until their fate is met or one side hangs up.
fn pass(mut from: TcpStream, mut to: TcpStream, fate: Option<Fate>, left: &AtomicI64, state: &State) {
    let mut piece = [0; 4096];
    loop {
        let count = match from.read(&mut piece) {
            Ok(count) if count > 0 => count,
            _ => break,
        };
        let length = i64::try_from(count).unwrap();
        let before = left.fetch_sub(length, Ordering::SeqCst);
        let through = usize::try_from(before.clamp(0, length)).unwrap();
        if to.write_all(&piece[..through]).is_err() {
            break;
        }
        state.passed.fetch_add(through, Ordering::SeqCst);
        if before <= length {
            // One of the two directions is the first to notice.
            if before > 0 {
                state.met.fetch_add(1, Ordering::SeqCst);
            }
            if !matches!(fate, Some(Fate::DeadAfter(_))) {
                break;
            }
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
