//! A publisher on the loopback, with the paths and the metadata of the real one and small images; and a mirror
//! of it in a temporary folder.

#![allow(dead_code, reason = "every test file uses another part of this")]

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use netboot_loaders::digest::Sha256Digest;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::support::Ran;

#[path = "../../../tests/support/server.rs"]
pub mod server;

use server::{Answer, Request, Server};

/// The images: what the publisher calls them after `live-`, what they are called here, their size.
pub const IMAGES: [(&str, &str, usize); 3] = [
    ("kernel.x86_64", "kernel-x86_64", 20_000),
    ("initramfs.x86_64.img", "initramfs.x86_64.img", 40_000),
    ("rootfs.x86_64.img", "rootfs.x86_64.img", 150_000),
];

/// The address that the real metadata has.
const BASE: &str = "https://builds.coreos.fedoraproject.org";

pub const METADATA: &str = "/streams/stable.json";

/// What of a request is answered in another way than by the file: true where that was done.
type Hook = dyn Fn(&Request, &mut Answer) -> bool + Send + Sync;

#[derive(Default)]
struct Offer {
    files: Mutex<BTreeMap<String, Vec<u8>>>,
    hook: Mutex<Option<Arc<Hook>>>,
}

/// The publisher.
pub struct Publisher {
    offer: Arc<Offer>,
    pub server: Server,
}

/// The content of an image: every line says what it is.
pub fn content(version: &str, name: &str, size: usize) -> Vec<u8> {
    let line = format!("{name} of {version}\n");
    line.bytes().cycle().take(size).collect()
}

/// Where an image of `version` is.
pub fn path(version: &str, name: &str) -> String {
    format!("/prod/streams/stable/builds/{version}/x86_64/fedora-coreos-{version}-live-{name}")
}

/// The metadata of the stream when `version` is current, in the form of the real one.
pub fn metadata(version: &str) -> Value {
    let files = IMAGES.map(|(name, _, size)| {
        let location = format!("{BASE}{}", path(version, name));
        let sha256 = Sha256Digest::of(&content(version, name, size));
        let key = name.split('.').next().unwrap().to_owned();
        (key, json!({ "location": location, "signature": format!("{location}.sig"), "sha256": sha256 }))
    });
    json!({
        "stream": "stable",
        "metadata": { "last-modified": "2026-07-21T16:02:33Z", "generator": "fedora-coreos-stream-generator v0.2.8" },
        "architectures": { "x86_64": {
            "artifacts": {
                "aws": { "release": version, "formats": { "vmdk.xz": { "disk": { "location": "x", "sha256": "y" } } } },
                "metal": { "release": version, "formats": {
                    "4k.raw.xz": { "disk": { "location": "x", "sha256": "y", "uncompressed-sha256": "z" } },
                    "pxe": BTreeMap::from(files),
                } },
            },
            "images": { "aws": { "regions": {} } },
        } },
    })
}

impl Publisher {
    pub fn new() -> Self {
        let offer = Arc::<Offer>::default();
        let shared = Arc::clone(&offer);
        let server = Server::start(move |request, answer| {
            let hook = shared.hook.lock().unwrap().clone();
            if !hook.is_some_and(|hook| hook(request, answer)) {
                let file = shared.files.lock().unwrap().get(&request.path).cloned();
                serve(file, request, answer);
            }
        });
        Self { offer, server }
    }

    /// Offers the file `path`.
    pub fn offer(&self, path: &str, content: impl Into<Vec<u8>>) {
        self.offer.files.lock().unwrap().insert(path.to_owned(), content.into());
    }

    /// Offers the images of `version`, and calls that current.
    pub fn release(&self, version: &str) {
        for (name, _, size) in IMAGES {
            self.offer(&path(version, name), content(version, name, size));
        }
        self.offer(METADATA, metadata(version).to_string());
    }

    /// Offers nothing of `version` any more.
    pub fn withdraw(&self, version: &str) {
        self.offer.files.lock().unwrap().retain(|path, _| !path.contains(version));
    }

    /// Has `hook` answer what it wants to answer.
    pub fn hook(&self, hook: impl Fn(&Request, &mut Answer) -> bool + Send + Sync + 'static) {
        *self.offer.hook.lock().unwrap() = Some(Arc::new(hook));
    }

    /// Answers everything honestly again.
    pub fn unhook(&self) {
        *self.offer.hook.lock().unwrap() = None;
    }

    /// Sends each image in ten pieces, with a pause after each.
    pub fn slow(&self, pause: Duration) {
        let shared = Arc::downgrade(&self.offer);
        self.hook(move |request, answer| {
            let file = shared.upgrade().and_then(|offer| offer.files.lock().unwrap().get(&request.path).cloned());
            let Some(file) = file.filter(|_| request.path.contains("-live-")) else { return false };
            let start = head(&file, request, answer);
            for piece in file[start..].chunks(file.len().div_ceil(10)) {
                answer.bytes(piece);
                std::thread::sleep(pause);
            }
            true
        });
    }

    /// The file at `path`, as it is offered.
    pub fn file(&self, path: &str) -> Vec<u8> {
        self.offer.files.lock().unwrap()[path].clone()
    }
}

fn serve(file: Option<Vec<u8>>, request: &Request, answer: &mut Answer) {
    match file {
        Some(file) => {
            let start = head(&file, request, answer);
            answer.bytes(&file[start..]);
        }
        None => answer.whole("404 Not Found", &["Content-Type: text/html"], b"<html>no such file</html>"),
    }
}

/// Sends the head of an answer with `file`, and gives where it begins: not at 0 where the client goes on with the
/// same file.
pub fn head(file: &[u8], request: &Request, answer: &mut Answer) -> usize {
    let etag = format!("\"{}\"", Sha256Digest::of(file).short());
    let start = request.resumes_at().filter(|_| request.header("if-range") == Some(&etag)).unwrap_or(0);
    let (tag, length) = (format!("ETag: {etag}"), format!("Content-Length: {}", file.len() - start));
    if start == 0 {
        answer.head("200 OK", &[&tag, &length]);
    } else {
        let range = format!("Content-Range: bytes {start}-{}/{}", file.len() - 1, file.len());
        answer.head("206 Partial Content", &[&tag, &length, &range]);
    }
    start
}

/// A mirror of a publisher.
pub struct Mirror {
    _folder: TempDir,
    /// A folder around the mirror's own.
    pub root: Utf8PathBuf,
    pub publisher: Publisher,
}

impl Mirror {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("mirror-").tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap().canonicalize_utf8().unwrap();
        Self { _folder: folder, root, publisher: Publisher::new() }
    }

    /// The same, with the set of `version` in use.
    pub fn of(version: &str) -> Self {
        let mirror = Self::new();
        mirror.publisher.release(version);
        mirror.run(&[]).success();
        mirror
    }

    pub fn dest(&self) -> Utf8PathBuf {
        self.root.join("fedora-coreos")
    }

    pub fn path(&self, name: &str) -> Utf8PathBuf {
        self.dest().join(name)
    }

    /// `mirror PRODUCT`, with the publisher's server and `more`.
    pub fn product(&self, product: &str, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(["--project", self.root.as_str(), "mirror", product, "--dest", self.dest().as_str()]);
        command.args(["--base-url", &self.publisher.server.url("")]).args(more);
        for proxy in ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env_remove(proxy);
        }
        command.stdin(Stdio::null());
        command
    }

    pub fn command(&self, more: &[&str]) -> Command {
        self.product("fedora-coreos", more)
    }

    pub fn run(&self, more: &[&str]) -> Ran {
        Ran::from(self.command(more).output().unwrap())
    }

    /// What is printed for `scheduler`, and the command at the end of that, as a shell runs it.
    pub fn scheduled(&self, scheduler: &str, more: &[&str]) -> (String, String) {
        let ran = self.run(&[&["--print-schedule", scheduler], more].concat()).success();
        let last = ran.stdout.lines().last().unwrap().to_owned();
        (ran.stdout, last)
    }

    pub fn start(&self, more: &[&str]) -> Child {
        self.command(more).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// What a run says, which has to have succeeded.
    #[track_caller]
    pub fn update(&self, more: &[&str]) -> Value {
        serde_json::from_str(&self.run(more).success().stdout).unwrap()
    }

    /// What stands in the mirror's folder, but for what is the mirror's own.
    pub fn names(&self) -> Vec<String> {
        let names = netboot_loaders::fs::entries(&self.dest()).unwrap().into_iter();
        names.map(|path| path.file_name().unwrap().to_owned()).filter(|name| name != ".netboot-loaders").collect()
    }

    /// What is the mirror's own.
    pub fn own(&self) -> Vec<String> {
        let names = netboot_loaders::fs::entries(&self.path(".netboot-loaders")).unwrap().into_iter();
        names.map(|path| path.file_name().unwrap().to_owned()).collect()
    }

    /// The version that a boot script reads, if there is one.
    pub fn version(&self) -> Option<String> {
        let script = std::fs::read_to_string(self.path("current/version.ipxe")).ok()?;
        let version = script.strip_prefix("#!ipxe\nset fedora-coreos-version ").unwrap().strip_suffix('\n').unwrap();
        Some(version.to_owned())
    }

    /// Reads what a boot script reads, which has to be one whole set, and gives its version. None where nothing is
    /// found at first: a folder in the place of a link may be removed while somebody looks into it.
    #[track_caller]
    pub fn read(&self) -> Option<String> {
        let version = self.version()?;
        for (upstream, name, size) in IMAGES {
            let found = std::fs::read(self.path(&version).join(name)).unwrap();
            assert!(found == content(&version, upstream, size), "{name} is not of {version}");
        }
        Some(version)
    }

    /// The same, while nothing changes.
    #[track_caller]
    pub fn assert_whole(&self) -> String {
        self.read().expect("a set is in use")
    }

    /// The same through the names beside the sets, while nothing changes.
    #[track_caller]
    pub fn assert_served(&self, version: &str) {
        assert_eq!(self.assert_whole(), version);
        for (upstream, name, size) in IMAGES {
            assert!(std::fs::read(self.path(name)).unwrap() == content(version, upstream, size), "{name}");
        }
    }
}
