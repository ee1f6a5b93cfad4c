//! `update`: sets the pins to the requested version, and changes only their values.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use git2::build::TreeUpdateBuilder;
use git2::{FileMode, ObjectType, Oid, Repository, Signature, Time};
use netboot_fixtures::project::{CliOutput, Project, STAND_IN};
use netboot_fixtures::{limits, says, shows};
use netboot_loaders::config::pins::Pins;
use sha1::{Digest, Sha1};

netboot_fixtures::tests! {
    the_newest_release_is_pinned_and_builds,
    a_tag_a_branch_or_a_commit_is_pinned_when_asked_for,
    a_pin_goes_back_only_when_told_to,
    a_tag_of_something_else_than_a_commit_is_not_pinned,
    what_is_not_there_is_not_pinned,
    an_abbreviated_commit_is_what_git_takes_it_for,
    an_ambiguous_commit_is_refused_and_each_that_is_meant_is_named,
    what_others_write_is_shown_without_harm,
    a_dry_run_and_pins_with_findings_write_nothing,
    what_makes_one_wonder_is_said,
    a_repository_of_this_machine_with_odd_files_is_not_opened,
    merges_of_a_thousand_parents_are_not_walked,
    syslinux_is_pinned_as_the_archive_has_it,
    ; slow:
    a_long_history_with_many_branches_takes_one_walk_and_can_be_left,
    a_repository_of_this_machine_with_large_objects_is_not_read,
    a_history_longer_than_anybody_compares_is_refused,
}

const PINS: &str = "vendor/pins.toml";
const MAIN: &str = "refs/heads/main";

/// A project with commits after its pin: v0.0.2, a pre-release, a branch that continues, and another one.
struct Fixture {
    project: Project,
    repository: Repository,
    pinned: Oid,
    fixed: Oid,
    candidate: Oid,
    tip: Oid,
}

impl Fixture {
    fn new() -> Self {
        let project = Project::new();
        let repository = Repository::open(project.path("ipxe")).unwrap();
        let pinned = repository.refname_to_id(MAIN).unwrap();
        let mut fixture = Self { project, repository, pinned, fixed: pinned, candidate: pinned, tip: pinned };
        fixture.tag("v0.0.1", pinned);
        fixture.fixed = fixture.commit(MAIN, pinned, "[dhcp] Fix CVE-2099-0001\x1b[31m in options", "0 0 1 +");
        let release = fixture.commit(MAIN, fixture.fixed, "[release] Release version 0.0.2", "0 0 2");
        let object = fixture.repository.find_object(release, None).unwrap();
        fixture.repository.tag("v0.0.2", &object, &author(), "with an object of its own", false).unwrap();
        drop(object);
        fixture.candidate = fixture.commit(MAIN, release, "[release] Candidate", "0 1 0 -rc1");
        fixture.tag("v0.1.0-rc1", fixture.candidate);
        fixture.tip = fixture.commit(MAIN, fixture.candidate, "[tls] Add a cipher", "0 1 0 +");
        fixture.commit("refs/heads/side", pinned, "[nfs] Fix heap overflow", "0 0 1 +");
        let pins =
            fixture.pins().replace("ref =", "  # what leads there\nref =").replace("\nurls", "  # at the end\nurls");
        fixture.project.write(PINS, &pins);
        fixture
    }

    /// Commits a Makefile that declares `version`: three numbers and what follows.
    fn commit(&self, branch: &str, parent: Oid, subject: &str, version: &str) -> Oid {
        let repository = &self.repository;
        let parent = repository.find_commit(parent).unwrap();
        let keys = ["VERSION_MAJOR", "VERSION_MINOR", "VERSION_PATCH", "EXTRAVERSION"];
        let lines = keys.iter().zip(version.split(' ').chain([""])).map(|(key, value)| format!("{key}\t:= {value}\n"));
        let stock = std::fs::read_to_string(format!("{STAND_IN}/src/Makefile")).unwrap();
        let blob = repository.blob((lines.collect::<String>() + &stock).as_bytes()).unwrap();
        let mut update = TreeUpdateBuilder::new();
        update.upsert("src/Makefile", blob, FileMode::Blob);
        let tree = update.create_updated(repository, &parent.tree().unwrap()).unwrap();
        let tree = repository.find_tree(tree).unwrap();
        let commit = repository.commit(None, &author(), &author(), subject, &tree, &[&parent]).unwrap();
        repository.reference(branch, commit, true, "made").unwrap();
        commit
    }

    fn tag(&self, name: &str, commit: Oid) {
        self.repository.reference(&format!("refs/tags/{name}"), commit, true, "made").unwrap();
    }

    fn url(&self) -> Utf8PathBuf {
        self.project.path("ipxe")
    }

    fn update(&self, more: &[&str]) -> CliOutput {
        self.project.run([&["update", "ipxe", "--offline", "--ipxe-url", self.url().as_str()], more].concat())
    }

    fn pins(&self) -> String {
        String::from_utf8(self.project.read(PINS)).unwrap()
    }

    /// Returns the pinned version, ref and commit.
    fn pinned(&self) -> (String, String, String) {
        let pin = Pins::parse(PINS.into(), &self.pins()).unwrap().ipxe;
        (pin.version, pin.git_ref, pin.commit.to_string())
    }

    /// Checks that `update` fails with `code` and `message`, in which `URL` stands for the repository, and changes
    /// nothing.
    #[track_caller]
    fn refuses(&self, more: &[&str], code: i32, message: &str) {
        let before = self.pins();
        assert_eq!(self.update(more).error(code).replace(self.url().as_str(), "URL"), message);
        assert_eq!(self.pins(), before);
    }
}

fn author() -> Signature<'static> {
    Signature::new("Test", "test@example.org", &Time::new(1_710_000_000, 0)).unwrap()
}

fn the_newest_release_is_pinned_and_builds() {
    let fixture = Fixture::new();
    let old = fixture.pins();
    let (commit, url) = (fixture.repository.revparse_single("v0.0.2^{commit}").unwrap().id(), fixture.url());
    let ran = fixture.update(&[]).success();
    assert_eq!(
        ran.stdout,
        format!(
            "iPXE 0.0.1 -> 0.0.2, refs/tags/v0.0.2 of {url}\n  old: {}\n  new: {commit}\n\
             2 commits, 1 of which says something about security:\n  {}  [dhcp] Fix CVE-2099-0001[31m in options\n\
             builds elsewhere take iPXE from https://unreachable.invalid/ipxe.git, which must have this commit, too\n\
             vendor/pins.toml is written: look at it with `git diff`\n\
             next: cargo xtask build-loaders, which compares the linked objects with the baseline\n",
            fixture.pinned,
            &fixture.fixed.to_string()[..9],
        )
    );
    let new = fixture.pins();
    let changed =
        |(old, new): (&str, &str)| (old != new).then(|| new.split(['=', ' ']).next().unwrap_or_default().to_owned());
    let keys: Vec<_> = old.split('\n').zip(new.split('\n')).filter_map(changed).collect();
    assert_eq!(keys, ["version", "ref", "commit", "tree", "content-sha256", "epoch"]);
    assert!(
        new.starts_with(
            "[ipxe]\nversion = \"0.0.2\"\n  # what leads there\nref = \"refs/tags/v0.0.2\"  # at the end\nurls"
        ),
        "{new}"
    );
    assert!(new.contains("\nepoch = 1710000000\n"), "{new}");
    // There is nothing new now.
    let again = fixture.update(&[]).success().stdout;
    assert_eq!(again, format!("iPXE 0.0.2 ({commit}) is up to date with refs/tags/v0.0.2 of {url}\n"));
    assert_eq!(fixture.pins(), new);
    // The archive is in the cache already.
    let archive = fixture.project.path("syslinux.zip");
    fixture.project.run(["build-loaders", "--offline", "--syslinux-archive", archive.as_str()]).success();
}

fn a_tag_a_branch_or_a_commit_is_pinned_when_asked_for() {
    let fixture = Fixture::new();
    let (candidate, tip, fixed) = (fixture.candidate.to_string(), fixture.tip.to_string(), fixture.fixed.to_string());
    for (to, version, git_ref, commit) in [
        ("v0.1.0-rc1", "0.1.0-rc1", "refs/tags/v0.1.0-rc1", &candidate),
        ("main", "0.1.0+", MAIN, &tip),
        (&candidate, "0.1.0-rc1", "refs/tags/v0.1.0-rc1", &candidate),
        (&fixed, "0.0.1+", MAIN, &fixed),
        ("refs/tags/v0.0.1", "0.0.1", "refs/tags/v0.0.1", &fixture.pinned.to_string()),
    ] {
        fixture.update(&["--to", to]).success();
        assert_eq!(fixture.pinned(), (version.into(), git_ref.into(), commit.clone()), "{to}");
        fixture.project.build(&["--plan"]).success();
    }
    fixture.project.build(&[]).success();
}

fn a_pin_goes_back_only_when_told_to() {
    let fixture = Fixture::new();
    fixture.update(&["--to", "main"]).success();
    let older = "the newest release of `URL` is `v0.0.2`, and the pinned 0.1.0+ is newer\n\
                 hint: run the command with `--to v0.0.2`\nhint: or name what to pin with `--to`\n";
    fixture.refuses(&[], 1, older);
    // Grafts and shallow lists of a repository are ignored: they claim that the old release came after the pin, or
    // has no parent.
    let release = fixture.repository.revparse_single("v0.0.2^{commit}").unwrap().id();
    for (name, text) in [("info/grafts", format!("{release} {}\n", fixture.tip)), ("shallow", format!("{release}\n"))] {
        let name = format!("ipxe/.git/{name}");
        fixture.project.write(&name, &text);
        fixture.refuses(&[], 1, older);
        std::fs::remove_file(fixture.project.path(&name)).unwrap();
    }
    let back = fixture.update(&["--to", "v0.0.1"]).success().stdout;
    assert!(back.contains("\n4 fewer commits, 1 of which says something about security:\n"), "{back}");
    fixture.update(&["--to", "v0.0.2"]).success();
    let aside = fixture.update(&["--to", "side"]).success().stdout;
    let wanted = format!(
        "\nthe histories diverge since {}: 2 commits of the old pin are not in the new one\n",
        &fixture.pinned.to_string()[..9]
    );
    assert!(
        aside.contains("\n1 commit, 1 of which says something about security:\n") && aside.contains(&wanted),
        "{aside}"
    );
}

fn a_tag_of_something_else_than_a_commit_is_not_pinned() {
    let fixture = Fixture::new();
    let repository = &fixture.repository;
    let tree = repository.find_commit(fixture.tip).unwrap().tree_id();
    let file = repository.blob(b"notes").unwrap();
    for (name, id) in [("v0.8.0", tree), ("v0.9.0", file)] {
        repository.reference(&format!("refs/tags/{name}"), id, false, "test").unwrap();
    }
    let object = repository.find_object(file, None).unwrap();
    repository.tag("v0.9.1", &object, &author(), "a key", false).unwrap();
    drop(object);
    for name in ["v0.8.0", "v0.9.0", "v0.9.1"] {
        let message = format!(
            "`refs/tags/{name}` of `URL` leads to a tree or a file, wanted a commit\nhint: name what to pin with `--to`\n"
        );
        fixture.refuses(&["--to", name], 5, &message);
    }
    // The newest release is the newest that is a commit.
    fixture.update(&[]).success();
    assert_eq!(fixture.pinned().1, "refs/tags/v0.0.2");
    fixture.project.build(&["--plan"]).success();
}

fn what_is_not_there_is_not_pinned() {
    let fixture = Fixture::new();
    fixture.refuses(
        &["--to", "v9"],
        5,
        "`URL` has no tag, branch or commit `v9`\n\
         hint: name what to pin with `--to`\nhint: or run the command with `--to v0.0.2`\n",
    );
    let loose = fixture.commit("refs/other/loose", fixture.tip, "[x] Loose", "0 1 0 +").to_string();
    for commit in [&loose, &"7".repeat(40)] {
        fixture.refuses(
            &["--to", commit],
            5,
            &format!(
                "no tag and no branch of `URL` leads to the commit {commit}\n\
                 hint: name a mirror or a local clone with `--ipxe-url`\nhint: or make a branch there that leads to it\n"
            ),
        );
    }
    for tag in ["v0.0.1", "v0.0.2"] {
        fixture.repository.tag_delete(tag).unwrap();
    }
    fixture.refuses(&[], 5, "`URL` has no tag of a release, as in `v2.0.0`\nhint: name what to pin with `--to`\n");
    shows!(fixture.project, ["update", "ipxe", "--offline"], @"
    exit code 5, stderr:
    error: cannot look for updates at `https://unreachable.invalid/ipxe.git`: this run is offline
    hint: name a mirror or a local clone with `--ipxe-url`
    ");
    // A commit that cannot be built.
    let link = fixture.repository.blob(b"target").unwrap();
    let mut update = TreeUpdateBuilder::new();
    let tip = fixture.repository.find_commit(fixture.tip).unwrap();
    let tree = update.upsert("link", link, FileMode::Link).create_updated(&fixture.repository, &tip.tree().unwrap());
    let tree = fixture.repository.find_tree(tree.unwrap()).unwrap();
    let commit = fixture.repository.commit(Some("refs/heads/links"), &author(), &author(), "x", &tree, &[]).unwrap();
    fixture.refuses(
        &["--to", "links"],
        1,
        &format!(
            "the commit {commit} cannot be pinned: `link` has mode 120000, wanted a plain file\n\
             hint: name what to pin with `--to`\n"
        ),
    );
}

fn an_abbreviated_commit_is_what_git_takes_it_for() {
    let fixture = Fixture::new();
    let (fixed, candidate) = (fixture.fixed.to_string(), fixture.candidate.to_string());
    let tag = fixture.repository.refname_to_id("refs/tags/v0.0.2").unwrap().to_string();
    let release = fixture.repository.revparse_single("v0.0.2^{commit}").unwrap().id().to_string();
    let described = format!("v0.0.1-1-g{}", &fixed[..9]);
    for (to, git_ref, commit) in [
        (&fixed[..9], MAIN, &fixed),
        (&fixed.to_uppercase()[..12], MAIN, &fixed),
        (&fixed.to_uppercase(), MAIN, &fixed),
        (&described, MAIN, &fixed),
        (&candidate[..39], "refs/tags/v0.1.0-rc1", &candidate),
        // A tag object stands for its commit.
        (&tag[..10], "refs/tags/v0.0.2", &release),
    ] {
        fixture.update(&["--to", to]).success();
        let (_, pinned_ref, pinned) = fixture.pinned();
        assert_eq!((pinned_ref.as_str(), &pinned), (git_ref, commit), "{to}");
    }
    // Git takes the ref, whose name anyone who can push chooses. Four digits are the minimum.
    let named = format!("refs/tags/{}", &candidate[..7]);
    fixture.tag(&candidate[..7], fixture.fixed);
    fixture.refuses(
        &["--to", &candidate[..7]],
        5,
        &format!(
            "`{}` is ambiguous: it is `{named}` of `URL`, and the beginning of\n  {candidate}  {}\n\
             hint: give more digits of the commit\nhint: or run the command with `--to {named}`\n",
            &candidate[..7],
            fixture.repository.find_commit(fixture.candidate).unwrap().summary().unwrap().unwrap(),
        ),
    );
    fixture.update(&["--to", &named]).warned();
    assert_eq!(fixture.pinned().2, fixed);
    // The tag of a commit may be the abbreviation of that commit.
    fixture.tag(&candidate[..8], fixture.candidate);
    fixture.update(&["--to", &candidate[..8]]).warned();
    assert_eq!(fixture.pinned().2, candidate);
    let loose = fixture.commit("refs/other/loose", fixture.tip, "[x] Loose", "0 1 0 +").to_string();
    for (to, message) in [
        (&fixed[..3], format!("`URL` has no tag, branch or commit `{}`\n", &fixed[..3])),
        (&loose[..12], format!("no tag and no branch of `URL` leads to the commit {loose}\n")),
    ] {
        let error = fixture.update(&["--to", to]).error(5).replace(fixture.url().as_str(), "URL");
        assert!(error.starts_with(&message), "{error}");
    }
}

fn an_ambiguous_commit_is_refused_and_each_that_is_meant_is_named() {
    let fixture = Fixture::new();
    let repository = &fixture.repository;
    let tree = repository.find_commit(fixture.tip).unwrap().tree().unwrap();
    let mut seen = std::collections::HashMap::from([(fixture.tip.to_string()[..4].to_owned(), fixture.tip)]);
    let mut parent = fixture.tip;
    // Two of a few hundred commits have the same first four digits.
    let (digits, mut both) = loop {
        let parents = [&repository.find_commit(parent).unwrap()];
        let subject = format!("[x] Number {}\x1b[31m", seen.len());
        parent = repository.commit(None, &author(), &author(), &subject, &tree, &parents).unwrap();
        let digits = parent.to_string()[..4].to_owned();
        if let Some(other) = seen.insert(digits.clone(), parent) {
            break (digits, [other, parent]);
        }
    };
    repository.reference("refs/heads/long", parent, true, "made").unwrap();
    both.sort_unstable();
    let described = both.map(|commit| {
        let commit = repository.find_commit(commit).unwrap();
        format!("{}  {}", commit.id(), commit.summary().unwrap().unwrap().replace('\x1b', ""))
    });
    fixture.refuses(
        &["--to", &digits],
        5,
        &format!(
            "`{digits}` is ambiguous: 2 commits of `URL` begin with it\n  {}\n  {}\nhint: give more digits of the commit\n",
            described[0], described[1]
        ),
    );
    fixture.update(&["--to", &parent.to_string()[..12]]).success();
    assert_eq!(fixture.pinned().2, parent.to_string());
    // A tag of that name decides nothing.
    fixture.tag(&digits, fixture.fixed);
    fixture.refuses(
        &["--to", &digits],
        5,
        &format!(
            "`{digits}` is ambiguous: it is `refs/tags/{digits}` of `URL`, and the beginning of\n  {}\n  {}\n\
             hint: give more digits of the commit\nhint: or run the command with `--to refs/tags/{digits}`\n",
            described[0], described[1]
        ),
    );
}

/// Adds `commits` commits one after the other, as a branch, each with the subject `subject`. Every `nth` commit has
/// its own branch.
fn add_history(fixture: &Fixture, commits: usize, nth: usize, subject: &str) -> Oid {
    let mut git = Command::new("git");
    let git = git.arg("-C").arg(fixture.url()).args(["fast-import", "--quiet"]).stdin(Stdio::piped());
    let mut git = git.spawn().unwrap();
    let mut input = BufWriter::new(git.stdin.take().unwrap());
    for number in 0..commits {
        let from = if number == 0 { format!("from {}\n", fixture.tip) } else { String::new() };
        let author = format!("committer Test <test@example.org> {} +0000", 1_710_000_000 + number);
        let subject = format!("{subject} {number}");
        write!(input, "commit refs/heads/long\n{author}\ndata {}\n{subject}\n{from}\n", subject.len()).unwrap();
        if number % nth == 0 {
            write!(input, "reset refs/heads/side-{number}\nfrom refs/heads/long\n\n").unwrap();
        }
    }
    drop(input);
    assert!(git.wait().unwrap().success());
    fixture.repository.refname_to_id("refs/heads/long").unwrap()
}

fn arguments_of<'a>(url: &'a str, to: &'a str) -> [&'a str; 7] {
    ["update", "ipxe", "--offline", "--ipxe-url", url, "--to", to]
}

fn a_long_history_with_many_branches_takes_one_walk_and_can_be_left() {
    let fixture = Fixture::new();
    let last = add_history(&fixture, 20_000, 4, "[x] Security");
    let first = fixture.repository.revparse_single("refs/heads/side-0").unwrap().id();
    let url = fixture.url();
    // It is reachable from each of 5,000 branches.
    let ran = fixture.project.run_within_limits(&arguments_of(url.as_str(), &first.to_string()[..12])).success();
    assert!(ran.stdout.contains("5 commits, "), "{}", ran.stdout);
    assert_eq!(fixture.pinned().2, first.to_string());
    let before = fixture.pins();
    for milliseconds in [50, 150] {
        let (begun, soon) = (Instant::now(), Duration::from_millis(milliseconds));
        let to = last.to_string();
        let mut command = fixture.project.command(arguments_of(url.as_str(), &to[..12]));
        // On a busy machine, it takes longer until the program listens to signals.
        let listens = |pid| begun.elapsed() > soon && limits::catches_interrupts(pid);
        let measured = limits::interrupt(&mut command, listens).assert_memory_limit();
        assert!(measured.stderr.ends_with(": interrupted\n"), "{}", measured.stderr);
        assert_eq!(fixture.pins(), before);
    }
    // The number of subjects that are kept is limited.
    let ran = fixture.project.run_within_limits(&arguments_of(url.as_str(), "long")).success();
    assert!(ran.stdout.contains("19999 commits, 19999 of which say something about security:\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("\n  and 19979 more\n"), "{}", ran.stdout);
}

fn what_others_write_is_shown_without_harm() {
    let fixture = Fixture::new();
    let long = format!("[x] Fix CVE-2099-0002 {}", "x".repeat(500));
    let commit = fixture.commit("refs/heads/loud", fixture.tip, &long, "0 1 1");
    // A name that is displayed as another one.
    fixture.repository.reference("refs/tags/v9.0.0\u{200c}", commit, true, "made").unwrap();
    let said = fixture.update(&["--to", "loud"]).success().stdout;
    let subject: String = long.chars().take(200).collect();
    assert!(said.contains(&format!("  {subject}\n")), "{said}");
    assert_eq!(fixture.pinned().1, "refs/heads/loud");
    let error = fixture.update(&["--to", "v9.0.0\u{200c}"]).error(5);
    assert!(error.contains("has no tag, branch or commit `v9.0.0\\u{200c}`\n"), "{error}");
    // A mirror's password is in the pins, and appears nowhere else.
    let pins = fixture.pins().replace("https://unreachable", "https://user:secret@unreachable");
    fixture.project.write(PINS, &pins);
    let said = fixture.update(&["--to", "main"]).success();
    assert!(said.stdout.contains("builds elsewhere take iPXE from https://unreachable.invalid/"), "{}", said.stdout);
    assert!(!said.stdout.contains("secret") && !said.stderr.contains("secret"), "{}", said.stderr);
    assert!(fixture.pins().contains("https://user:secret@unreachable.invalid"), "{}", fixture.pins());
}

fn a_dry_run_and_pins_with_findings_write_nothing() {
    let fixture = Fixture::new();
    let old = fixture.pins();
    let ran = fixture.update(&["--dry-run", "--quiet"]).success();
    assert!(ran.stdout.ends_with("\nnothing is written because of --dry-run\n"), "{}", ran.stdout);
    let ran = fixture.update(&["--dry-run", "--message-format", "json"]).success();
    let said: serde_json::Value = serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap();
    assert_eq!((&said["changed"], &said["written"]), (&true.into(), &false.into()));
    assert_eq!(said["update"]["changes"]["security"][0]["commit"], fixture.fixed.to_string());
    assert_eq!(said["update"]["new"]["version"], "0.0.2");
    assert_eq!(fixture.pins(), old);
    fixture.project.write(PINS, &old.replace("epoch = 1700000000", "epoch = \"soon\""));
    fixture.refuses(
        &[],
        3,
        "vendor/pins.toml:9: `ipxe.epoch`: found string, wanted a whole number from 0\n  hint: write a whole number from 0\n",
    );
}

fn what_makes_one_wonder_is_said() {
    let fixture = Fixture::new();
    // A tag on the wrong commit, and a patch for a file that no longer exists.
    fixture.tag("v0.3.0", fixture.fixed);
    let patch = "diff --git a/gone b/gone\n--- a/gone\n+++ b/gone\n@@ -1 +1 @@\n-x\n+y\n";
    fixture.project.write("vendor/patches/gone.patch", patch);
    let said = fixture.update(&[]).warned().stderr;
    assert!(said.contains("`refs/tags/v0.3.0` is called 0.3.0, and its src/Makefile says 0.0.1+\n"), "{said}");
    assert!(said.contains("the patch `gone.patch` does not apply: "), "{said}");
    // A repository that does not contain the old pin.
    let pins = fixture.pins();
    fixture.project.write(PINS, &pins.replace(&fixture.fixed.to_string(), &"7".repeat(40)));
    let said = fixture.update(&["--to", "main"]).warned().stdout;
    assert!(
        said.contains("\nthat repository does not have the old commit, so nobody can say what came since\n"),
        "{said}"
    );
}

/// Checks that both `update` and `fetch` refuse the repository of `fixture` with `reason`.
#[track_caller]
fn refuses_the_repository(fixture: &Fixture, reason: &str) {
    let (url, cache) = (fixture.url(), fixture.project.path("empty-cache"));
    let given = ["--offline", "--ipxe-url", url.as_str()];
    for command in [&["update", "ipxe"][..], &["fetch", "--cache-dir", cache.as_str()]] {
        let error = fixture.project.run_within_limits(&[command, &given].concat()).error(5);
        assert!(error.starts_with(&format!("cannot fetch from `{url}`: {reason}\nhint: ")), "{command:?}: {error}");
    }
}

fn a_repository_of_this_machine_with_odd_files_is_not_opened() {
    for name in ["HEAD", "config", "packed-refs", "shallow", "refs/heads/main", "objects/pack/pack-1.idx"] {
        let fixture = Fixture::new();
        limits::pipe(&fixture.url().join(".git").join(name));
        refuses_the_repository(&fixture, &format!("`{name}` is not a regular file"));
    }
    let fixture = Fixture::new();
    let folder = fixture.url().join(".git");
    let large = |name: &str, size| File::create(folder.join(name)).unwrap().set_len(size).unwrap();
    large("packed-refs", 1 << 40);
    refuses_the_repository(&fixture, "`packed-refs` has 1099511627776 bytes, wanted 16777216 at most");
    std::fs::remove_file(folder.join("packed-refs")).unwrap();
    large("objects/pack/pack-1.idx", 1 << 40);
    refuses_the_repository(&fixture, "`objects/pack/pack-1.idx` has 1099511627776 bytes, wanted 67108864 at most");
    std::fs::remove_file(folder.join("objects/pack/pack-1.idx")).unwrap();
    let config = std::fs::read_to_string(folder.join("config")).unwrap();
    std::fs::write(folder.join("config"), format!("{config}[Include]\n\tpath = /dev/zero\n")).unwrap();
    refuses_the_repository(&fixture, "its `config` includes other files");
    std::fs::write(folder.join("config"), &config).unwrap();
    // The objects are in another folder or repository.
    let other = fixture.project.path("other");
    std::fs::create_dir_all(&other).unwrap();
    limits::pipe(&other.join("pipe"));
    std::fs::create_dir_all(folder.join("objects/info")).unwrap();
    std::fs::write(folder.join("objects/info/alternates"), format!("{other}\n")).unwrap();
    refuses_the_repository(&fixture, "`other/pipe` is not a regular file");
    std::fs::remove_file(folder.join("objects/info/alternates")).unwrap();
    std::fs::rename(&folder, fixture.project.path("moved")).unwrap();
    limits::pipe(&fixture.project.path("moved/shallow"));
    std::fs::write(&folder, "gitdir: ../moved\n").unwrap();
    refuses_the_repository(&fixture, "`shallow` is not a regular file");
    std::fs::remove_file(fixture.project.path("moved/shallow")).unwrap();
    fixture.update(&[]).success();
}

/// Writes a commit, piece by piece, with `more` bytes after its text.
fn large_commit(fixture: &Fixture, text: &[u8], more: usize) -> Oid {
    let path = fixture.project.path("large");
    let mut packed = ZlibEncoder::new(BufWriter::new(File::create(&path).unwrap()), Compression::fast());
    let (head, mut hash) = (format!("commit {}\0", text.len() + more), Sha1::new());
    let pieces = std::iter::repeat_n(&[b'x'; 1 << 12][..], more >> 12);
    for piece in [head.as_bytes(), text].into_iter().chain(pieces) {
        packed.write_all(piece).unwrap();
        hash.update(piece);
    }
    packed.finish().unwrap().flush().unwrap();
    let name: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let folder = fixture.url().join(".git/objects").join(&name[..2]);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::rename(path, folder.join(&name[2..])).unwrap();
    name.parse().unwrap()
}

fn a_repository_of_this_machine_with_large_objects_is_not_read() {
    // A commit.
    let fixture = Fixture::new();
    let raw = fixture.repository.odb().unwrap().read(fixture.pinned).unwrap().data().to_vec();
    let pin = |commit: Oid| {
        fixture.project.write(PINS, &fixture.pins().replace(&fixture.pinned().2, &commit.to_string()));
        fixture.repository.reference("refs/tags/v9.9.9", commit, true, "made").unwrap();
    };
    let large = large_commit(&fixture, &raw, 300 << 20);
    pin(large);
    let object = format!("an object of {} bytes, {large}, wanted 65536 at most", raw.len() + (300 << 20));
    refuses_the_repository(&fixture, &format!("it has too much: {object}"));
    // Nested folders: each must stay in memory until the innermost has arrived.
    let fixture = Fixture::new();
    let padding: Vec<u8> = (0..120_000).flat_map(|_| [&b"100644 zz\0"[..], &[7; 20]].concat()).collect();
    let write = |kind, text: &[u8]| fixture.repository.odb().unwrap().write(kind, text).unwrap();
    let mut folder = write(ObjectType::Tree, b"");
    for _ in 0..80 {
        folder = write(ObjectType::Tree, &[b"40000 a\0", folder.as_bytes(), &padding[..]].concat());
    }
    let end = b"author a <a> 1700000000 +0000\ncommitter a <a> 1700000000 +0000\n\n";
    let commit = write(ObjectType::Commit, &[format!("tree {folder}\n").as_bytes(), end].concat());
    fixture.repository.reference("refs/tags/v9.9.9", commit, true, "made").unwrap();
    fixture.project.write(PINS, &fixture.pins().replace(&fixture.pinned().2, &commit.to_string()));
    let size = padding.len() + 28;
    let reason = format!("its folder {folder} has {size} bytes, wanted 1048576 at most\n");
    let url = fixture.url();
    let given = ["--offline", "--ipxe-url", url.as_str()];
    let error = fixture.project.run_within_limits(&[&["update", "ipxe"], &given[..]].concat()).error(1);
    assert_eq!(error, format!("the commit {commit} cannot be pinned: {reason}hint: name what to pin with `--to`\n"));
    let cache = fixture.project.path("empty-cache");
    let fetch = ["fetch", "--cache-dir", cache.as_str()];
    let error = fixture.project.run_within_limits(&[&fetch, &given[..]].concat()).error(5);
    assert!(error.starts_with(&format!("cannot fetch from `{url}`: {reason}")), "{error}");
}

fn a_history_longer_than_anybody_compares_is_refused() {
    let fixture = Fixture::new();
    // The maximum, including the existing commits.
    add_history(&fixture, 99_990, 50_000, "x");
    let url = fixture.url();
    let arguments = arguments_of(url.as_str(), "long");
    let ran = fixture.project.run_within_limits(&[&arguments[..], &["--dry-run"]].concat()).success();
    assert!(ran.stdout.contains("\n99994 commits, "), "{}", ran.stdout);
    fixture.repository.find_reference("refs/heads/long").unwrap().delete().unwrap();
    fixture.repository.find_reference("refs/heads/side-0").unwrap().delete().unwrap();
    add_history(&fixture, 10, 50_000, "y");
    let error = fixture.project.run_within_limits(&arguments).error(5);
    let reason = "it has too much: more than 100000 commits\n";
    assert!(error.starts_with(&format!("cannot fetch from `{url}`: {reason}")), "{error}");
}

fn merges_of_a_thousand_parents_are_not_walked() {
    let fixture = Fixture::new();
    let (mut tip, tree) = (fixture.tip, fixture.repository.find_commit(fixture.tip).unwrap().tree_id());
    for _ in 0..17 {
        let parents = format!("parent {tip}\n").repeat(1_000);
        let text = format!("tree {tree}\n{parents}author a <a> 1 +0000\ncommitter a <a> 1 +0000\n\n");
        tip = fixture.repository.odb().unwrap().write(ObjectType::Commit, text.as_bytes()).unwrap();
    }
    fixture.tag("v9.9.9", tip);
    let url = fixture.url();
    let error = fixture.update(&[]).error(5);
    let reason = "it has too much: merges with more than 16384 parents\n";
    assert!(error.starts_with(&format!("cannot fetch from `{url}`: {reason}")), "{error}");
}

fn syslinux_is_pinned_as_the_archive_has_it() {
    let project = Project::new();
    let old = String::from_utf8(project.read(PINS)).unwrap();
    let archive = project.path("syslinux.zip");
    let update = |more: &[&str]| project.run([&["update", "syslinux", "--offline"], more].concat());
    let given = ["--syslinux-archive", archive.as_str()];
    says!(project, update(&[]), @r"
    exit code 0, stdout:
    syslinux 6.03 stays as it is: there has been no release since 6.03, only the pre-release 6.04-pre1
    to pin the files of an archive, give it with `--syslinux-archive`, and its version with `--to`
    ");
    says!(project, update(&["--to", "6.04"]), @"
    exit code 3, stderr:
    error: a syslinux version has no files to pin without its release archive
    hint: give the release archive with `--syslinux-archive`
    ");
    says!(project, update(&[&given[..], &["--to", "../6"]].concat()), @r"
    exit code 3, stderr:
    error: found `../6`, wanted a version of syslinux
    hint: write it as in `6.03`
    ");
    assert_eq!(project.read(PINS), old.as_bytes());
    // Only the digest of the archive is new.
    update(&given).success();
    let new = String::from_utf8(project.read(PINS)).unwrap();
    let (sha256, _) = netboot_loaders::base::fs::sha256(&archive).unwrap();
    let line = format!("syslinux.zip\"\nsha256 = \"{sha256}\"\n");
    assert_eq!(new, old.replace("syslinux.zip\"\n", &line));
    assert!(update(&given).success().stdout.starts_with("syslinux 6.03 is up to date with syslinux.zip, SHA-256 "));
    // Files of another release.
    project.write(PINS, &new.replace("size = 64", "size = 65"));
    let said = update(&[&given[..], &["--to", "6.04"]].concat()).success();
    assert!(said.stdout.contains("\n  lpxelinux.0: as pinned\n  ldlinux.c32: 64 bytes, SHA-256 "), "{}", said.stdout);
    assert_eq!(project.read(PINS), new.replace("6.03", "6.04").as_bytes());
    // A rebuild of the same release.
    project.write(PINS, &new.replace("size = 64", "size = 65"));
    let said = update(&given).warned().stderr;
    assert!(said.contains("syslinux.zip` has other files than are pinned of syslinux 6.03\n"), "{said}");
    project.build(&[]).success();
}
