//! A tree in the folder that servers serve, beside a secret, and what starts and ends a server.

pub mod http;
pub mod tftp;

use std::fs::File;
use std::os::unix::fs::symlink;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};

use crate::support::Project;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A project whose tree was deployed to a folder, with a kernel there that was mirrored.
pub struct Served {
    project: Project,
    /// The files of the tree.
    pub tree: Vec<(Utf8PathBuf, Vec<u8>)>,
    pub kernel: Vec<u8>,
}

impl Served {
    /// Where the kernel is. `current` is a link, as a mirror makes it.
    pub const KERNEL: &str = "/fedora-coreos/current/kernel-x86_64";

    pub fn new() -> Self {
        let project = Project::new();
        let sites = String::from_utf8(project.read("embed-scripts/sites.toml")).unwrap();
        project.sites(&format!(
            "{sites}[site.rack-1]\nloaders = [\"ipxe.efi\"]\n\
             [boot.rescue]\nkind = \"linux\"\nkernel = \"http://192.0.2.1/kernel\"\n"
        ));
        project.build(&[]).success();
        let folder = project.path("srv/tftp");
        project.run(&["deploy", folder.as_str()]).success();
        let kernel: Vec<u8> = (0..1_000_003_u32).flat_map(u32::to_le_bytes).take(1_000_003).collect();
        std::fs::create_dir_all(folder.join("fedora-coreos/1")).unwrap();
        std::fs::write(folder.join("fedora-coreos/1/kernel-x86_64"), &kernel).unwrap();
        symlink("1", folder.join("fedora-coreos/current")).unwrap();
        project.write("srv/secret", "SECRET");
        Self { tree: project.snapshot(), project, kernel }
    }

    /// The folder `name` beside the tree.
    pub fn folder(&self, name: &str) -> Utf8PathBuf {
        self.project.path(name)
    }

    /// Writes the recipe `kind` for a tree that is at `url`, and returns its folder.
    pub fn recipe(&self, kind: &str, url: &str) -> Utf8PathBuf {
        let folder = self.folder("srv/tftp");
        self.project.write(
            "embed-scripts/network.toml",
            &format!("subnet = \"127.0.0.0/8\"\ntftp-server = \"127.0.0.1\"\nhttp-url = \"{url}\"\ntftp-root = \"{folder}\"\n"),
        );
        let out = self.folder("out");
        self.project.run(&["recipe", kind, "--out", out.as_str()]).success();
        out
    }

    /// Whether the tree is as it was, and nothing new stands in it.
    pub fn is_untouched(&self) -> bool {
        let folder = self.folder("srv/tftp");
        let same = |(path, content): &(Utf8PathBuf, Vec<u8>)| std::fs::read(folder.join(path)).unwrap() == *content;
        self.tree.iter().all(same) && !["new", "sites/new"].iter().any(|path| folder.join(path).exists())
    }
}

/// What has to stand before a command that only root may run, or why there is no way.
pub fn as_root() -> Result<&'static [&'static str], String> {
    let succeeds = |words: &[&str]| {
        let output = Command::new(words[0]).args(&words[1..]).output();
        output.ok().filter(|output| output.status.success())
    };
    if succeeds(&["id", "-u"]).is_some_and(|output| output.stdout == b"0\n") {
        return Ok(&[]);
    }
    // Where that asks for nothing, as on machines that test.
    succeeds(&["sudo", "-n", "true"]).map(|_| &["sudo", "-n"][..]).ok_or_else(|| "only root can start it".to_owned())
}

/// A server. It ends when this is dropped: by its input, where that is a pipe, or by a signal.
pub struct Running {
    child: Child,
    log: Utf8PathBuf,
}

impl Running {
    /// Starts `command`, with its log in `folder`.
    pub fn start(command: &mut Command, folder: &Utf8Path) -> Self {
        let log = folder.join("log");
        let file = File::create(&log).unwrap();
        let child = command.stdout(file.try_clone().unwrap()).stderr(file).current_dir(folder).spawn().unwrap();
        Self { child, log }
    }

    /// Waits until the server answers, as `asked` finds out.
    pub fn answers(&mut self, asked: impl Fn() -> bool) -> bool {
        let started = Instant::now();
        while started.elapsed() < PATIENCE && self.child.try_wait().unwrap().is_none() {
            if asked() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }

    /// What the server said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        match self.child.stdin.take() {
            Some(pipe) => drop(pipe),
            None => drop(self.child.kill()),
        }
        let _ = self.child.wait();
    }
}
