//! The index page of a tree and the page of a boot test's report in a real browser, at phone and desktop widths, light
//! and dark. Without Chromium or Chrome, the test reports that it was skipped.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use netboot_fixtures::project::Project;
use netboot_fixtures::server::{Responder, ServedRequest, TestServer};
use netboot_fixtures::skip::program;
use netboot_loaders::boot_test::phase::Phase;
use netboot_loaders::boot_test::report::html;
use netboot_loaders::boot_test::report::json::{Attempt, BootReport, CaseOutcome, CaseReport, ReachedPhases};
use netboot_loaders::loader::target::Platform;
use serde_json::Value;

netboot_fixtures::tests! {
    with Browser::find;
    ; slow:
    full,
    bare,
    file,
    report,
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
        // Without a user's click, scripts are allowed to copy only by this setting.
        command.arg("--blink-settings=javaScriptCanAccessClipboard=true");
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

    /// Measures a page in `dist` at each of [`WIDTHS`], light and dark.
    fn measure(&self, project: &Project, page: &str) -> Vec<Value> {
        let widths = format!("{WIDTHS:?}");
        let page = include_str!("measure.html").replace("PAGE", &format!("'/dist/{page}'")).replace("WIDTHS", &widths);
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
        let looks = |it: &Value| (it["width"].as_u64().unwrap(), it["scheme"] == "dark", it["dark"] == true);
        let wanted = WIDTHS.into_iter().flat_map(|width| [false, true].map(|dark| (width, dark, dark)));
        assert_eq!(measured.iter().map(looks).collect::<Vec<_>>(), wanted.collect::<Vec<_>>());
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

/// Checks what must hold for each page at each width, with and without its script.
fn assert_readable(measured: &Value) {
    for state in ["closed", "open", "still"] {
        let look = &measured[state];
        let (client, scrolls) = (look["client"].as_f64().unwrap(), look["scrolls"].as_f64().unwrap());
        assert!(
            scrolls <= client && look["right"].as_f64().unwrap() <= client,
            "{state} at {}: {look}",
            measured["width"]
        );
        assert!(look["font"].as_f64().unwrap() >= 12.0, "{look}");
        assert_eq!(look["faint"], Value::Array(Vec::new()), "{} {state}", measured["scheme"]);
        for target in look["targets"].as_array().unwrap() {
            // A touch target needs 24 pixels according to WCAG 2.2, except for a link within a sentence.
            let least = if target["alone"] == true { 24.0 } else { 12.0 };
            let size = |side: &str| target[side].as_f64().unwrap();
            assert!(size("width") >= least && size("height") >= least, "{target}");
        }
    }
    let dark = measured["background"] != "rgb(255, 255, 255)";
    assert_eq!(Some(dark), measured["dark"].as_bool());
    let words = |state: &str| measured[state]["words"].as_array().unwrap().iter().map(text).collect::<Vec<_>>();
    let open: Vec<String> = words("open").into_iter().filter(|word| word != "Copy").collect();
    assert_eq!(words("still"), open);
    assert_eq!(measured["loaded"], Value::Array(Vec::new()));
}

/// Checks what must hold for each index page.
fn assert_complete(project: &Project, measured: &Value) {
    assert_readable(measured);
    let files = measured["files"].as_array().unwrap().iter();
    let files: Vec<_> = files.map(|file| (text(&file["path"]), text(&file["sha256"]))).collect();
    assert_eq!(files, listed(project));
    let words: Vec<String> = measured["closed"]["words"].as_array().unwrap().iter().map(text).collect();
    for name in files.iter().flat_map(|(path, sha256)| [path, sha256]) {
        assert!(words.contains(name), "{name} is not to be seen in {words:?}");
    }
    let links = measured["links"].as_array().unwrap();
    assert!(links.len() > files.len() && links.iter().all(|link| link[1] == 200), "{links:?}");
    let scripts = u64::from(measured["recipes"].as_array().is_some_and(|recipes| !recipes.is_empty()));
    assert_eq!(measured["scripts"].as_u64(), Some(scripts));
}

/// Checks that the buttons copy exactly the recipes in every way that a browser may offer, and say so.
fn assert_copies(measured: &Value) {
    let files: Vec<String> = measured["recipes"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|recipe| recipe["files"].as_array().unwrap())
        .map(|file| text(&file["text"]))
        .collect();
    assert_eq!(measured["buttons"].as_u64(), Some(files.len() as u64));
    let copied = measured["copied"].as_array().unwrap();
    for way in ["allowed", "refused", "insecure", "impossible"] {
        let copies: Vec<_> = copied.iter().filter(|copy| copy["way"] == way).collect();
        assert_eq!(copies.len(), files.len(), "{way}");
        for (copy, file) in copies.into_iter().zip(&files) {
            assert_eq!((&text(&copy["wanted"]), copy["areas"].as_u64()), (file, Some(0)), "{way}");
            assert_eq!(copy["focused"], true, "{copy}");
            if way == "impossible" {
                assert_eq!((copy["said"].as_str(), &copy["copied"]), (Some("Selected, not copied"), &Value::Null));
                assert_eq!(text(&copy["selected"]).trim_end(), file.trim_end());
            } else {
                assert_eq!((copy["said"].as_str(), copy["copied"].as_str()), (Some("Copied"), Some(&**file)), "{way}");
            }
            assert!(text(&copy["label"]).starts_with("Copy "), "{copy}");
        }
    }
}

fn full(browser: &Browser) {
    let project = built(Some(NETWORK));
    let list = project.run(["recipe"]).success().stdout;
    let kinds: Vec<&str> = list.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    for measured in browser.measure(&project, "index.html") {
        assert_complete(&project, &measured);
        assert_copies(&measured);
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
    for measured in browser.measure(&project, "index.html") {
        assert_complete(&project, &measured);
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

/// Returns the report of a case with long names and texts.
fn case(outcome: CaseOutcome, reason: Option<&str>) -> CaseReport {
    let ran = outcome != CaseOutcome::Skipped;
    let phases: &[Phase] = match outcome {
        CaseOutcome::Passed => &Phase::ALL,
        CaseOutcome::Failed => &Phase::ALL[..2],
        CaseOutcome::Skipped => &[],
    };
    let at = |(phase, milliseconds): (&Phase, u64)| ReachedPhases { phase: *phase, milliseconds };
    let name = format!("sites/a-rather-long-name-of-a-site-with-all-it-can-have.x_1/snponly.efi:{TREE}");
    let evidence = "cases/snponly.efi-with-a-rather-long-name-of-a-folder-that-has-no-space-in-it-attempt-1";
    CaseReport {
        loader: "ipxe.efi".into(),
        sha256: "0123456789abcdef".repeat(4),
        site: None,
        platform: Platform::EfiX64,
        secure_boot: true,
        expected: "reaches userland through http://192.0.2.1/a/rather/long/address/without/a/space/boot.ipxe".into(),
        outcome,
        reason: reason.map(ToOwned::to_owned),
        earlier: if ran { vec![Attempt { reason: name.clone(), evidence: Some(evidence.into()) }] } else { Vec::new() },
        milliseconds: if ran { 31_700 } else { 0 },
        processor_milliseconds: 20_000,
        phases: phases.iter().zip((0..).map(|at| 5300 + at * 4100)).map(at).collect(),
        last_lines: Vec::new(),
        evidence: Some(evidence.into()),
        picture: None,
        serial: Vec::new(),
        no_picture: ran.then(|| "QEMU 6.2 writes no PNG".to_owned()),
        console: if ran { format!("<b>iPXE</b> 2.0.0\n{}\n", "0".repeat(300)) } else { String::new() },
        log: if ran { format!("0.1 DHCPDISCOVER\n0.2 GET {}\n", "/a".repeat(150)) } else { String::new() },
        name,
    }
}

fn report(browser: &Browser) {
    let project = Project::new();
    let report = BootReport {
        generator: String::new(),
        schema_version: 1,
        subject: format!("/srv/{TREE}").into(),
        manifest_sha256: "0123456789abcdef".repeat(4),
        tools: Vec::new(),
        clock: None,
        jobs: 2,
        processors: 4,
        milliseconds: 81_000,
        processor_milliseconds: 50_000,
        cases: vec![
            case(CaseOutcome::Passed, None),
            case(CaseOutcome::Failed, Some("it <i>broke</i>\nhint: see `console.txt`")),
            case(CaseOutcome::Skipped, Some("no machine for ARM64")),
        ],
    };
    project.write("dist/report.html", &html::page(&report));
    for measured in browser.measure(&project, "report.html") {
        assert_readable(&measured);
        assert_eq!(measured["scripts"].as_u64(), Some(0));
        let words: Vec<String> = measured["open"]["words"].as_array().unwrap().iter().map(text).collect();
        for phase in Phase::ALL {
            assert!(words.iter().any(|word| word == phase.words()), "{words:?}");
        }
        let console = format!("<b>iPXE</b> 2.0.0\n{}", "0".repeat(300));
        for said in ["1 passed", "1 failed", "1 skipped", "no machine ran", "no machine for ARM64", &console] {
            assert!(words.iter().any(|word| word == said), "{said} is not in {words:?}");
        }
    }
}
