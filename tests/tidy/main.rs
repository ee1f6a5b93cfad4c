//! Invariants of ARCHITECTURE.md that the compiler cannot check, checked against the source text. Functions that the
//! library must not call are in `clippy.toml`; crates that it must not depend on are absent from its `Cargo.toml`.

mod layers;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Returns the Rust files below a folder of the repository, as paths relative to the repository, with their text.
fn sources(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty());
    found
}

/// Returns the text without comments and without its unit tests, which come last.
fn code(text: &str) -> String {
    let shipped = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = shipped.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Source folders of the library: its lower layers, its stages, and the crates it consists of.
const LIBRARY: [&str; 4] = ["crates/netboot_core/src", "src", "crates/netboot_script/src", "stamp/src"];

/// Checks that no file of the library except `allowed` contains any of `words`.
#[track_caller]
fn only(allowed: &[&str], words: &[&str]) {
    for (name, text) in LIBRARY.into_iter().flat_map(sources) {
        if !allowed.contains(&name.as_str()) {
            for word in words {
                assert!(!code(&text).contains(word), "{name} has `{word}`, which belongs in {allowed:?}");
            }
        }
    }
}

#[test]
fn only_process_starts_programs() {
    only(&["crates/netboot_core/src/base/process/running.rs"], &["duct::", "process::Stdio", ".spawn()", "pre_exec"]);
}

#[test]
fn only_the_source_modules_touch_the_network() {
    // Web servers are accessed with one HTTP client; `git://`, which is not HTTP, uses its own connection.
    let of_fetch = ["git.rs", "git_fetch.rs", "git_stream.rs", "transport.rs", "download.rs"];
    let allowed = of_fetch.map(|name| format!("src/fetch/{name}"));
    let resetting = "src/boot_test/web/resetting.rs";
    let allowed = [
        "crates/netboot_core/src/base/http.rs",
        "crates/netboot_core/src/base/connector.rs",
        "crates/netboot_core/src/base/tls.rs",
        resetting,
    ]
    .into_iter()
    .chain(allowed.iter().map(String::as_str));
    let allowed: Vec<&str> = allowed.collect();
    only(&allowed, &["ureq", "TcpStream", "UdpSocket", "ToSocketAddrs", "FetchOptions", "remote_anonymous"]);
    // Boot tests listen on sockets in their own network namespace, which only one module creates.
    only(&["src/boot_test/web/own.rs", resetting], &["TcpListener", "rustix::net", "tiny_http"]);
    only(&["src/boot_test/namespace.rs"], &["unshare("]);
    // The two modules that use the client cannot create one themselves.
    only(&["crates/netboot_core/src/base/http.rs"], &["config_builder", "ureq::agent", "ureq::get"]);
}

#[test]
fn only_update_writes_pins() {
    only(&["crates/netboot_core/src/config/mod.rs", "src/update/mod.rs"], &["pins_writer"]);
}

#[test]
fn only_paths_spells_the_names_of_the_project_the_cache_and_the_tree() {
    let names = [
        "\"vendor",
        "\"embed-scripts",
        "\"dist",
        "\"sites/",
        "manifest.json\"",
        "\"SHA256SUMS",
        "pxelinux.cfg",
        ".tftp.",
    ];
    for (name, text) in LIBRARY.into_iter().take(2).flat_map(sources) {
        // Messages may name files; code must not.
        let code: Vec<String> =
            code(&text).lines().filter(|line| !line.contains("#[error(")).map(str::to_owned).collect();
        if !name.starts_with("crates/netboot_core/src/base/paths") {
            for word in names {
                assert!(!code.iter().any(|line| line.contains(word)), "{name} spells {word}");
            }
        }
    }
}

#[test]
fn the_library_spells_no_command_line_of_the_program() {
    // Options of other programs: docker, git, and iPXE.
    let others = |name: &str| {
        ["src/boot_test/namespace.rs", "src/fetch/git_tree.rs"].contains(&name)
            || name.starts_with("crates/netboot_script/")
    };
    for (name, text) in LIBRARY.into_iter().take(3).flat_map(sources) {
        if name.ends_with("/tests.rs") {
            continue;
        }
        let code = code(&text);
        assert!(!code.contains("cargo xtask"), "{name} calls the program");
        assert!(others(&name) || !code.contains("`--"), "{name} spells an option");
        assert!(name.ends_with("base/diagnostic.rs") || !code.contains("hint: "), "{name} words a remedy");
    }
}

#[test]
fn unsafe_code_stands_in_few_places_and_says_why() {
    let allowed = [
        ("crates/netboot_core/src/base/process/running.rs", 1),
        ("src/fetch/transport.rs", 1),
        ("stamp/src/lzma.rs", 5),
    ];
    for (name, text) in LIBRARY.into_iter().chain(["xtask/src"]).flat_map(sources) {
        let allowed = allowed.iter().find(|(allowed, _)| *allowed == name).map_or(0, |(_, blocks)| *blocks);
        let blocks = code(&text).matches("unsafe {").count();
        assert_eq!(blocks, allowed, "{name}");
        let implemented = code(&text).matches("unsafe impl").count();
        assert_eq!(text.matches("// SAFETY:").count(), blocks + implemented, "{name}");
    }
}

#[test]
fn files_are_short_and_say_what_they_own() {
    let vague = ["util.rs", "utils.rs", "helpers.rs", "common.rs", "misc.rs", "imp.rs"];
    for folder in ["src", "crates", "stamp", "xtask", "tests"] {
        for (name, text) in sources(folder) {
            assert!(text.starts_with("//! "), "{name} does not begin with `//!`");
            assert!(text.lines().count() <= 800, "{name} has {} lines", text.lines().count());
            assert!(!vague.iter().any(|vague| name.ends_with(&format!("/{vague}"))), "{name} says nothing");
        }
    }
}

#[test]
fn functions_are_short() {
    for (name, text) in LIBRARY.into_iter().chain(["xtask/src"]).flat_map(sources) {
        let text = code(&text);
        let lines: Vec<&str> = text.lines().collect();
        for (start, line) in lines.iter().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let head = line.trim_start();
            let is_function =
                ["fn ", "pub fn ", "pub(super) fn ", "pub(crate) fn "].iter().any(|word| head.starts_with(word));
            if is_function && !line.ends_with(';') {
                let close = format!("{}}}", " ".repeat(indent));
                let length = lines[start..].iter().position(|line| *line == close).unwrap_or(0) + 1;
                assert!(length <= 60, "{name}: `{head}` has {length} lines");
            }
        }
    }
}

#[test]
fn every_folder_of_the_repository_is_explained() {
    let architecture = include_str!("../../ARCHITECTURE.md");
    for folder in [
        "src/",
        "crates/",
        "stamp/",
        "xtask/",
        "fixtures/",
        "embed-scripts/",
        "vendor/",
        "schemas/",
        "docs/",
        "tests/",
        "fuzz/",
        ".github/",
    ] {
        assert!(architecture.contains(&format!("`{folder}")), "ARCHITECTURE.md does not say what {folder} is");
    }
}

/// Links within the repository lead to files and headings. The book's own links are checked where it is rendered.
#[test]
fn links_of_the_repository_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut checked = 0;
    for page in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "vendor/README.md", "fuzz/README.md"]
    {
        let text = std::fs::read_to_string(root.join(page)).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0)) {
            if link.contains(':') {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { root.join(page) } else { root.join(page).parent().unwrap().join(path) };
            assert!(target.exists(), "{page}: `{link}` leads to no file");
            if !anchor.is_empty() {
                let text = std::fs::read_to_string(&target).unwrap();
                let found = text.lines().filter(|line| line.starts_with('#')).any(|line| self::anchor(line) == anchor);
                assert!(found, "{page}: `{link}` leads to no heading");
            }
            checked += 1;
        }
    }
    assert!(checked > 40, "only {checked} links");
}

/// Returns the anchor of a heading, as GitHub and mdBook form it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Crates that a command of cargo compiles, each with its features in every form in which it is compiled.
#[expect(clippy::disallowed_methods, reason = "what tests start need not end with Ctrl-C")]
fn compiled(arguments: &[&str]) -> BTreeMap<String, BTreeSet<String>> {
    let tree = ["tree", "--locked", "--offline", "--prefix", "none", "--format", "{p}|{f}|"];
    let mut cargo = Command::new(env!("CARGO"));
    let output = cargo.args(tree).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut all = BTreeMap::<_, BTreeSet<_>>::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        // An empty line stands between two crates of the workspace.
        let mut parts = line.split('|').map(str::to_owned);
        if let (Some(name), Some(features)) = (parts.next(), parts.next()) {
            all.entry(name).or_default().insert(features);
        }
    }
    all
}

#[test]
fn the_tests_compile_nothing_again_that_the_program_has_compiled() {
    let program = compiled(&["--package", "xtask", "--edges", "normal,build"]);
    let tests = compiled(&["--workspace", "--edges", "normal,build,dev"]);
    assert!(program.len() > 100, "cargo lists {} crates", program.len());
    for (name, features) in &program {
        let missing: Vec<_> = features.difference(&tests[name]).collect();
        assert!(
            missing.is_empty(),
            "the program has {name} with the features {missing:?}, the tests with {:?}: name what the tests have in \
             `xtask/Cargo.toml`",
            tests[name]
        );
    }
}
