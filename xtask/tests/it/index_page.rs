//! The index page of a tree in a real browser, at phone and desktop widths. Without Chromium or Chrome, the test
//! reports that it was skipped.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use netboot_fixtures::project::Project;
use netboot_fixtures::server::{Responder, ServedRequest, TestServer};
use netboot_fixtures::skip::program;
use serde_json::Value;

netboot_fixtures::tests! {
    with Browser::find;
    ; slow:
    full,
    bare,
    file,
}

/// Program names of Chromium: Google's build, whose sandbox works everywhere, the upstream name, and that of some
/// distributions.
const NAMES: [&str; 4] = ["google-chrome", "google-chrome-stable", "chromium", "chromium-browser"];

/// Time limit for a browser run.
const PATIENCE: Duration = Duration::from_secs(120);

/// Widths of a phone and a desktop, in pixels.
const WIDTHS: [u64; 2] = [390, 1100];

/// Folder of the tree, with characters that are special in URLs and in HTML.
const TREE: &str = "100% <i>tftp & \"#1\"?_which_is_a_rather_long_name_of_a_folder_with_a_tree";

/// Name of a script with characters that are special in HTML.
const SCRIPT: &str = "it's <i>a & b_which_is_a_rather_long_name_of_a_script_for_loaders.ipxe";

/// A network with many of the settings that recipes can have, and with characters that are special in HTML.
const NETWORK: &str = r#"
subnet = "192.168.88.0/24"
tftp-server = "192.168.88.1"
http-url = "http://192.168.88.10/tftp"
ranges = ["192.168.88.100-192.168.88.199"]
gateway = "192.168.88.1"
dns = ["192.168.88.1", "9.9.9.9"]
boot = "http://192.168.88.11:8080/boot/${net0/mac:hexhyp}.ipxe?a=b&lt=c&amp=d"

[[host]]
name = "k8s-master-01"
mac = "00:50:56:00:01:01"
ip = "192.168.88.21"
firmware = "bios"
hostname = "k8s-master-01.a-rather-long-name-of-a-department.example.net"

[[host]]
name = "worker"
mac = "00:50:56:00:01:02"
firmware = "uefi"
site = "rack-1"
"#;

/// Path to Chromium or Chrome.
struct Browser(Utf8PathBuf);

impl Browser {
    fn find() -> Result<Self, String> {
        // A snap, or a script that stands for one, has its own temporary folder and cannot read pages in this one.
        let snap = |file: &Utf8PathBuf| {
            let content = || std::fs::read(file).unwrap_or_default();
            let script = || content().starts_with(b"#!") && String::from_utf8_lossy(&content()).contains("/snap/bin");
            file.canonicalize_utf8().is_ok_and(|file| file.file_name() == Some("snap")) || script()
        };
        let found = NAMES.iter().filter_map(|name| program(name).ok()).find(|file| !snap(file));
        found.map(Self).ok_or_else(|| "neither Chromium nor Chrome is installed, or only as a snap".to_owned())
    }

    /// Returns the page at `url` as HTML, after its scripts have run.
    fn dump(&self, project: &Project, url: &str) -> String {
        let mut command = Command::new(&self.0);
        command.args(["--headless=new", "--dump-dom", "--virtual-time-budget=60000"]);
        // Only loopback addresses are reachable, whatever the browser tries to send to its vendor.
        command.args(["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--disable-background-networking"]);
        command.args(["--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--no-default-browser-check"]);
        command.arg(format!("--user-data-dir={}", project.path("browser")));
        let user = Command::new("id").arg("-u").output().unwrap();
        // Chromium's sandbox does not work for root.
        command.args((user.stdout == b"0\n").then_some("--no-sandbox"));
        let (page, log) = (project.path("page.html"), project.path("browser.log"));
        command.stdin(Stdio::null()).stdout(std::fs::File::create(&page).unwrap());
        let mut child = command.arg(url).stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
        let started = Instant::now();
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break Some(status),
                None if started.elapsed() > PATIENCE => {
                    child.kill().and_then(|()| child.wait()).unwrap();
                    break None;
                }
                None => std::thread::sleep(Duration::from_millis(50)),
            }
        };
        let log = std::fs::read_to_string(log).unwrap();
        assert!(status.is_some_and(|status| status.success()), "{status:?}: {log}");
        std::fs::read_to_string(page).unwrap()
    }

    /// Measures the page of the tree in `dist/TREE` at each of [`WIDTHS`].
    fn measure(&self, project: &Project) -> Vec<Value> {
        let widths = format!("{WIDTHS:?}");
        let page = include_str!("measure.html").replace("PAGE", "'/dist/index.html'").replace("WIDTHS", &widths);
        let dist = project.path("dist");
        let server = TestServer::start(move |request: &ServedRequest, answer: &mut Responder| {
            let path = decoded(&request.path);
            let file = path.strip_prefix("/dist/").map(|path| dist.join(path));
            match (request.path.as_str(), file) {
                ("/measure", _) => answer.whole("200 OK", &["Content-Type: text/html"], page.as_bytes()),
                (_, Some(file)) if file.is_dir() => answer.whole("200 OK", &["Content-Type: text/html"], b"a list"),
                (_, Some(file)) if file.is_file() => {
                    let html = if file.extension() == Some("html") { "text/html" } else { "application/octet-stream" };
                    answer.whole("200 OK", &[&format!("Content-Type: {html}")], &std::fs::read(file).unwrap());
                }
                _ => answer.whole("404 Not Found", &[], b""),
            }
        });
        let dumped = self.dump(project, &server.url("/measure"));
        let (_, rest) = dumped.split_once("<pre id=\"measured\">").unwrap();
        let text = rest.split_once("</pre>").unwrap().0;
        let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&nbsp;", "\u{a0}").replace("&amp;", "&");

        let found: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {dumped}"));
        assert_eq!(found["errors"], Value::Array(Vec::new()));
        let measured = found["measured"].as_array().unwrap().clone();
        assert_eq!(measured.iter().map(|it| it["width"].as_u64().unwrap()).collect::<Vec<_>>(), WIDTHS);
        measured
    }
}

/// Returns a path without its query, percent-decoded.
fn decoded(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.split('?').next().unwrap_or_default().bytes();
    while let Some(byte) = rest.next() {
        let mut digit = || char::from(rest.next().unwrap_or_default()).to_digit(16).unwrap_or_default();
        bytes.push(if byte == b'%' { u8::try_from(digit() * 16 + digit()).unwrap() } else { byte });
    }
    String::from_utf8(bytes).unwrap()
}

/// Returns a project whose tree has an index page.
fn built(network: Option<&str>) -> Project {
    let project = Project::new();
    let mut sites = String::from_utf8(project.read("embed-scripts/sites.toml")).unwrap();
    sites += "[boot.\"a-rather-long-name-of-a-boot-entry-with-all-it-can-have.x_1\"]\nkind = \"linux\"\nkernel = \"http://192.0.2.1/k?a=b&c\"\n";
    for site in ["rack-1", "rack-2", "X_y.z"] {
        sites += &format!("[site.\"{site}\"]\nloaders = [\"ipxe.efi\", \"snponly.efi\"]\n");
    }
    project.write(
        &format!("embed-scripts/{SCRIPT}"),
        "#!ipxe\nset user-class netboot-loaders\ndhcp && chain ${root-path}\n",
    );
    project.sites(&sites.replacen("boot.ipxe", SCRIPT, 1));
    if let Some(network) = network {
        project.write("embed-scripts/network.toml", network);
    }
    project.build(&["--index", "--out", project.path("dist").join(TREE).as_str()]).warned();
    project
}

/// Returns the files in the root of the tree according to SHA256SUMS, without those that describe the others.
fn listed(project: &Project) -> Vec<(String, String)> {
    let sums = String::from_utf8(project.read(&format!("dist/{TREE}/SHA256SUMS"))).unwrap();
    let lines = sums.lines().map(|line| line.split_once("  ").unwrap());
    let elsewhere = ["sites/", "linked-objects/", "manifest.json"];
    let root = lines.filter(|(_, path)| !elsewhere.iter().any(|start| path.starts_with(start)));
    root.map(|(sha256, path)| (path.to_owned(), sha256.to_owned())).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Checks what must hold for each page at each width.
fn assert_readable(project: &Project, measured: &Value) {
    for state in ["closed", "open"] {
        let look = &measured[state];
        let (client, scrolls) = (look["client"].as_f64().unwrap(), look["scrolls"].as_f64().unwrap());
        assert!(
            scrolls <= client && look["right"].as_f64().unwrap() <= client,
            "{state} at {}: {look}",
            measured["width"]
        );
        assert!(look["font"].as_f64().unwrap() >= 12.0, "{look}");
        for target in look["targets"].as_array().unwrap() {
            // A touch target needs 24 pixels according to WCAG 2.2, except for a link within a sentence.
            let least = if target["alone"] == true { 24.0 } else { 12.0 };
            let size = |side: &str| target[side].as_f64().unwrap();
            assert!(size("width") >= least && size("height") >= least, "{target}");
        }
    }
    let files = measured["files"].as_array().unwrap().iter();
    let files: Vec<_> = files.map(|file| (text(&file["path"]), text(&file["sha256"]))).collect();
    assert_eq!(files, listed(project));
    let words: Vec<String> = measured["closed"]["words"].as_array().unwrap().iter().map(text).collect();
    for name in files.iter().flat_map(|(path, sha256)| [path, sha256]) {
        assert!(words.contains(name), "{name} is not to be seen in {words:?}");
    }
    let links = measured["links"].as_array().unwrap();
    assert!(links.len() > files.len() && links.iter().all(|link| link[1] == 200), "{links:?}");
    assert_eq!((measured["scripts"].as_u64(), &measured["loaded"]), (Some(0), &Value::Array(Vec::new())));
}

fn full(browser: &Browser) {
    let project = built(Some(NETWORK));
    let list = project.run(["recipe"]).success().stdout;
    let kinds: Vec<&str> = list.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    for measured in browser.measure(&project) {
        assert_readable(&project, &measured);
        let recipes = measured["recipes"].as_array().unwrap();
        assert_eq!(recipes.iter().map(|recipe| text(&recipe["name"])).collect::<Vec<_>>(), kinds);
        for (recipe, kind) in recipes.iter().zip(&kinds) {
            let printed = project.run(["recipe", kind]).warned().stdout;
            assert_eq!((text(&recipe["files"][0]["text"]), recipe["open"].as_bool()), (printed, Some(true)));
            assert!(recipe["files"][0]["height"].as_u64().unwrap() > 100, "{kind}");
        }
        for name in ["routeros", "routeros-6"] {
            let undo = project.run(["recipe", name, "--undo"]).warned().stdout;
            let recipe = recipes.iter().find(|recipe| recipe["name"] == name).unwrap();
            assert_eq!(text(&recipe["files"][1]["text"]), undo);
        }
        let words: Vec<String> = measured["open"]["words"].as_array().unwrap().iter().map(text).collect();
        for said in [SCRIPT, &format!("{TREE}/"), "6 files of sites are in"] {
            assert!(words.iter().any(|word| word == said), "{said} is not in {words:?}");
        }
    }
}

fn bare(browser: &Browser) {
    let project = built(None);
    for measured in browser.measure(&project) {
        assert_readable(&project, &measured);
        assert_eq!(measured["recipes"], Value::Array(Vec::new()));
        assert!(
            measured["closed"]["words"].as_array().unwrap().iter().any(|word| word == "embed-scripts/network.toml")
        );
    }
}

fn file(browser: &Browser) {
    let project = built(Some(NETWORK));
    let page = browser.dump(&project, &format!("file://{}", project.path("dist/index.html")));
    assert!(page.contains("<title>Network boot loaders</title>"), "{page}");
    for (path, sha256) in listed(&project) {
        assert!(page.contains(&format!("<b>{path}</b>")) && page.contains(&sha256), "{path} is not in {page}");
    }
}
