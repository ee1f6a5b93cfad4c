//! iPXE source from a local repository: fetched by commit, checked against the pin, patched and exported.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use camino::Utf8Path;
use git2::Oid;
use netboot_loaders::base::diagnostic::told;
use netboot_loaders::base::http::NetworkAccess;
use netboot_loaders::base::progress::Silent;
use netboot_loaders::digest::Sha256Digest;
use netboot_loaders::fetch::InputSource;
use netboot_loaders::fetch::ipxe::{self, Order, Patch};

use netboot_fixtures::git::{EPOCH, UpstreamRepo, assert_fetched, commit, commit_tree, fetch, has, open, rogue_tree};
use netboot_fixtures::scratch::{Scratch, files_below, noise, online};

netboot_fixtures::tests! {
    a_local_path_and_a_file_url,
    a_working_copy_will_do,
    only_the_commit_is_copied,
    a_mirror_without_the_commit,
    a_path_that_is_no_repository,
    a_clone_of_another_kind_says_what_helps,
    a_cache_that_is_no_repository,
    another_tree_than_pinned,
    another_content_than_pinned,
    every_file_is_written_as_it_is_in_git,
    the_content_digest_can_be_computed_with_other_tools,
    trees_that_no_honest_source_has,
    patches_apply_in_the_order_of_their_names,
    patches_that_cannot_be_applied,
    offline_without_the_commit,
    offline_a_local_path_will_do,
    ; slow:
    trees_that_unfold_to_more_than_any_source_has,
}

fn scratch() -> (Scratch, UpstreamRepo) {
    let scratch = Scratch::new();
    let upstream = UpstreamRepo::new(&scratch.path("ipxe.git"));
    (scratch, upstream)
}

fn a_local_path_and_a_file_url() {
    for scheme in ["", "file://"] {
        let (scratch, upstream) = scratch();
        let pin = upstream.pin();
        fetch(&pin, &scratch.cache, &online(), &format!("{scheme}{}", upstream.path)).unwrap();
        assert_fetched(&pin, &scratch.cache);
    }
}

fn a_working_copy_will_do() {
    let (scratch, upstream) = scratch();
    let copy = scratch.path("copy");
    git2::Repository::clone(upstream.path.as_str(), &copy).unwrap();
    // Uncommitted changes are ignored.
    scratch.write("copy/README", b"changed\n");
    let pin = upstream.pin();
    fetch(&pin, &scratch.cache, &online(), copy.as_str()).unwrap();
    assert_fetched(&pin, &scratch.cache);
}

fn only_the_commit_is_copied() {
    let (scratch, upstream) = scratch();
    for (commit, shallow) in [(upstream.second, 1), (upstream.first, 2)] {
        let pin = upstream.pin_of(commit);
        fetch(&pin, &scratch.cache, &online(), upstream.path.as_str()).unwrap();
        assert_fetched(&pin, &scratch.cache);
        assert_eq!(has(&scratch.cache, upstream.first), commit == upstream.first);
        // Without this list, git would report the cache as damaged.
        let list = std::fs::read_to_string(scratch.cache.ipxe_git().join("shallow")).unwrap();
        assert_eq!(list.lines().count(), shallow, "{list}");
    }
}

fn a_mirror_without_the_commit() {
    let (scratch, upstream) = scratch();
    let mut pin = upstream.pin();
    pin.commit = "12798ec29aa8a64d8675c4378b99f5fe28447afb".parse().unwrap();
    let error = fetch(&pin, &scratch.cache, &online(), upstream.path.as_str()).unwrap_err();
    assert_eq!(
        error,
        format!(
            "`{}` does not have the pinned commit 12798ec29aa8a64d8675c4378b99f5fe28447afb\n\
             hint: bring the mirror up to date with `git fetch`, tags included\nhint: or With(IpxeUrl)",
            upstream.path
        )
    );
}

fn a_path_that_is_no_repository() {
    let (scratch, upstream) = scratch();
    scratch.write("folder/README", b"no repository\n");
    let pin = upstream.pin();
    for (name, reason) in [
        ("folder", "could not find repository at '{}'"),
        ("folder/README", "`{}` is not a folder, wanted a repository"),
        ("nowhere", "failed to resolve path '{}': No such file or directory"),
    ] {
        let path = scratch.path(name);
        let error = fetch(&pin, &scratch.cache, &online(), path.as_str()).unwrap_err();
        assert_eq!(
            error,
            format!(
                "cannot fetch from `{path}`: {}\n\
                 hint: check the address\nhint: or With(IpxeUrl)",
                reason.replace("{}", path.as_str())
            )
        );
    }
    // None of these failures damages the cache.
    fetch(&pin, &scratch.cache, &online(), upstream.path.as_str()).unwrap();
    assert_fetched(&pin, &scratch.cache);
}

fn a_clone_of_another_kind_says_what_helps() {
    let refused = |spoil: &dyn Fn(&Scratch, &UpstreamRepo)| {
        let (scratch, upstream) = scratch();
        let pin = upstream.pin();
        spoil(&scratch, &upstream);
        let error = fetch(&pin, &scratch.cache, &online(), upstream.path.as_str()).unwrap_err();
        error.replace(upstream.path.as_str(), "PATH")
    };
    let error = refused(&|scratch, _| drop(scratch.write("ipxe.git/objects/pack/multi-pack-index", b"")));
    assert_eq!(
        error,
        "cannot fetch from `PATH`: `PATH/objects/pack/multi-pack-index` is an index of several packs, which git does without\n\
         hint: delete it, or make a copy without that with `git clone --bare --no-local`\nhint: or With(IpxeUrl)"
    );
    let error = refused(&|scratch, _| {
        let config = b"[core]\nrepositoryformatversion = 1\nbare = true\n[extensions]\nrefstorage = reftable\n";
        drop(scratch.write("ipxe.git/config", config));
    });
    assert_eq!(
        error,
        "cannot fetch from `PATH`: unsupported extension name extensions.refstorage\n\
         hint: make a copy whose refs are files with `git clone --bare --no-local --ref-format=files`\nhint: or With(IpxeUrl)"
    );
    let lost = std::cell::Cell::new(Oid::ZERO_SHA1);
    let error = refused(&|_, upstream| {
        let repository = git2::Repository::open(&upstream.path).unwrap();
        let commit = Oid::from_bytes(upstream.pin().commit.as_bytes()).unwrap();
        let tree = repository.find_commit(commit).unwrap().tree().unwrap();
        let file = tree.get_path(std::path::Path::new("src/Makefile")).unwrap().id();
        let name = file.to_string();
        std::fs::remove_file(upstream.path.join("objects").join(&name[..2]).join(&name[2..])).unwrap();
        lost.set(file);
    });
    assert_eq!(
        error,
        format!(
            "cannot fetch from `PATH`: {} is not there; in a clone with `--filter`, `git fetch --refetch --no-filter` \
             brings all files\n\
             hint: check the address\nhint: or With(IpxeUrl)",
            lost.get()
        )
    );
}

fn a_cache_that_is_no_repository() {
    let (scratch, upstream) = scratch();
    scratch.write("cache/ipxe.git/README", b"no repository\n");
    let path = scratch.cache.ipxe_git();
    let error = fetch(&upstream.pin(), &scratch.cache, &online(), upstream.path.as_str()).unwrap_err();
    assert_eq!(
        error,
        format!(
            "cannot use the git cache `{path}`: path is not a repository: {path}\n\
             hint: delete that folder: it is fetched again"
        )
    );
}

fn another_tree_than_pinned() {
    let (scratch, upstream) = scratch();
    let mut pin = upstream.pin();
    fetch(&pin, &scratch.cache, &online(), upstream.path.as_str()).unwrap();
    let found = pin.tree;
    pin.tree = upstream.pin_of(upstream.first).tree;
    assert_eq!(
        open(&pin, &scratch.cache, &[]).err().unwrap(),
        format!(
            "iPXE's tree does not match its pin: found {found}, wanted {}\n\
             hint: find out which of them is right before you change the pin",
            pin.tree
        )
    );
}

fn another_content_than_pinned() {
    let (scratch, upstream) = scratch();
    let mut pin = upstream.pin();
    fetch(&pin, &scratch.cache, &online(), upstream.path.as_str()).unwrap();
    let found = pin.content;
    pin.content = Sha256Digest::of(b"another");
    assert_eq!(
        open(&pin, &scratch.cache, &[]).err().unwrap(),
        format!(
            "iPXE's content-sha256 does not match its pin: found {found}, wanted {}\n\
             hint: find out which of them is right before you change the pin",
            pin.content
        )
    );
}

fn every_file_is_written_as_it_is_in_git() {
    let (scratch, upstream) = scratch();
    let pin = upstream.pin();
    fetch(&pin, &scratch.cache, &online(), upstream.path.as_str()).unwrap();
    let folder = scratch.path("tree");
    open(&pin, &scratch.cache, &[])
        .unwrap()
        .export(&folder, (pin.epoch, Order::Sorted), "iPXE\'s source", &Silent)
        .unwrap();
    let files = files_below(&folder);
    assert_eq!(files, ["README", "src-notes", "src/Makefile", "src/firmware.bin", "src/util/pack.sh"]);
    for file in files {
        let metadata = folder.join(&file).metadata().unwrap();
        let mode = if file == "src/util/pack.sh" { 0o755 } else { 0o644 };
        assert_eq!(metadata.permissions().mode() & 0o7777, mode, "{file}");
        assert_eq!(metadata.modified().unwrap(), UNIX_EPOCH + Duration::from_secs(pin.epoch), "{file}");
    }
    assert_eq!(std::fs::read(folder.join("README")).unwrap(), b"second\nwith a second line\n");
    assert_eq!(pin.epoch, EPOCH.cast_unsigned() + 86_400);
}

/// Runs a shell command in `folder`, or returns the name of a required tool in `needs` that is not installed.
fn shell(folder: &Utf8Path, line: &str, needs: &[&str]) -> Result<String, String> {
    for tool in needs {
        let found = Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !found.is_ok_and(|status| status.success()) {
            return Err(format!("`{tool}` is not installed"));
        }
    }
    let output = Command::new("sh").args(["-c", line]).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout).unwrap())
}

fn the_content_digest_can_be_computed_with_other_tools() -> Result<(), String> {
    let (scratch, upstream) = scratch();
    let folder = scratch.path("archive");
    std::fs::create_dir(&folder).unwrap();
    // The command in vendor/README.md.
    let line = format!(
        "git --git-dir='{}' archive {} | tar -x\n\
         find . -type f -printf '%P\\n' | LC_ALL=C sort | tr '\\n' '\\0' | xargs -0 sha256sum | sha256sum",
        upstream.path, upstream.second
    );
    match shell(&folder, &line, &["git", "sha256sum"]) {
        Ok(printed) => assert_eq!(printed, format!("{}  -\n", upstream.pin().content)),
        Err(reason) => return Err(reason),
    }
    Ok(())
}

fn trees_that_unfold_to_more_than_any_source_has() {
    let (_scratch, upstream) = scratch();
    let repository = &upstream.repository;
    let describe = |tree: Oid| {
        let commit = commit_tree(repository, &repository.find_tree(tree).unwrap(), EPOCH, None);
        ipxe::describe(repository, commit).unwrap_err().message().to_owned()
    };
    // Twelve levels of ten folders each, stored as one small tree per level.
    let mut floor = rogue_tree(repository, "100644", "x", repository.blob(b"x").unwrap()).id();
    for _ in 0..12 {
        let mut builder = repository.treebuilder(None).unwrap();
        for name in 0..10 {
            builder.insert(name.to_string(), floor, 0o040_000).unwrap();
        }
        floor = builder.write().unwrap();
    }
    let unfolds = "it has more than 50000 files, or one with a path of more than 4096 bytes";
    assert_eq!(describe(floor), unfolds);
    // The same without files: folders only.
    let mut empty = repository.treebuilder(None).unwrap().write().unwrap();
    for _ in 0..30 {
        let mut builder = repository.treebuilder(None).unwrap();
        for name in ["a", "b"] {
            builder.insert(name, empty, 0o040_000).unwrap();
        }
        empty = builder.write().unwrap();
    }
    assert_eq!(describe(empty), unfolds);
    // A deeply nested folder with long names.
    let mut deep = repository.treebuilder(None).unwrap().write().unwrap();
    for _ in 0..40 {
        deep = rogue_tree(repository, "40000", &"d".repeat(200), deep).id();
    }
    assert_eq!(describe(deep), unfolds);
    let nested = |levels: usize| {
        let file = rogue_tree(repository, "100644", "f", repository.blob(b"x").unwrap()).id();
        (0..levels).fold(file, |inner, _| rogue_tree(repository, "40000", "d", inner).id())
    };
    assert_eq!(describe(nested(33)), "it has more than 32 folders within each other");
    ipxe::describe(repository, commit_tree(repository, &repository.find_tree(nested(32)).unwrap(), EPOCH, None))
        .unwrap();
    // Folders with long names, and one that is not read.
    let many = |count: usize, length: usize| {
        let mut builder = repository.treebuilder(None).unwrap();
        for name in 0..count {
            builder.insert(format!("{name:0length$}"), repository.blob(b"x").unwrap(), 0o100_644).unwrap();
        }
        builder.write().unwrap()
    };
    let (mut long, large) = (many(250, 3_000), many(4_600, 200));
    for _ in 0..3 {
        let mut builder = repository.treebuilder(None).unwrap();
        (0..4).for_each(|name| builder.insert(name.to_string(), long, 0o040_000).map(drop).unwrap());
        long = builder.write().unwrap();
    }
    assert_eq!(describe(long), "its paths have more than 16777216 bytes");
    let size = repository.odb().unwrap().read_header(large).unwrap().0;
    assert_eq!(describe(large), format!("its folder {large} has {size} bytes, wanted 1048576 at most"));
    let large = repository.blob(&noise(1, 1 << 20)).unwrap();
    let mut builder = repository.treebuilder(None).unwrap();
    for name in 0..300 {
        builder.insert(name.to_string(), large, 0o100_644).unwrap();
    }
    assert_eq!(describe(builder.write().unwrap()), "its files have more than 268435456 bytes");
    let larger = repository.blob(&vec![0; (8 << 20) + 1]).unwrap();
    let tree = rogue_tree(repository, "100644", "x", larger).id();
    assert_eq!(describe(tree), format!("an object of 8388609 bytes, {larger}, wanted 8388608 at most"));
}

fn trees_that_no_honest_source_has() {
    let (_scratch, upstream) = scratch();
    let repository = &upstream.repository;
    let plain = repository.blob(b"escaped\n").unwrap();
    let inner = rogue_tree(repository, "100644", "x", plain).id();
    for (tree, message) in [
        (rogue_tree(repository, "40000", "..", inner), "`..` is not the name of a file or folder"),
        (rogue_tree(repository, "40000", ".", inner), "`.` is not the name of a file or folder"),
        (rogue_tree(repository, "40000", "a/..", inner), "`a/..` is not the name of a file or folder"),
        (rogue_tree(repository, "100644", "..", plain), "`..` is not the name of a file or folder"),
        (rogue_tree(repository, "100644", "../x", plain), "`../x` is not the name of a file or folder"),
        (rogue_tree(repository, "120000", "link", plain), "`link` has mode 120000, wanted a plain file"),
        (rogue_tree(repository, "160000", "module", upstream.first), "`module` has mode 160000, wanted a plain file"),
    ] {
        let commit = commit_tree(repository, &tree, EPOCH, None);
        assert_eq!(ipxe::describe(repository, commit).unwrap_err().message(), message);
    }
    // Names that are unusual but valid.
    let odd = commit(repository, &[("...", 0o100_644, b""), ("..x/ y", 0o100_644, b"")], EPOCH, None);
    ipxe::describe(repository, odd).unwrap();
}

const FIRST_LINE: &[u8] = b"diff --git a/README b/README\n--- a/README\n+++ b/README\n@@ -1,2 +1,2 @@\n-second\n+patched\n with a second line\n";
const AGAIN: &[u8] = b"From 1234\nSubject: as format-patch writes it\n\ndiff --git a/README b/README\n--- a/README\n+++ b/README\n@@ -1,2 +1,2 @@\n-patched\n+patched again\n with a second line\n";
const NEW_FILE: &[u8] = b"diff --git a/src/new.sh b/src/new.sh\nnew file mode 100755\n--- /dev/null\n+++ b/src/new.sh\n@@ -0,0 +1 @@\n+new\n";

fn patches_apply_in_the_order_of_their_names() {
    let (scratch, upstream) = scratch();
    let pin = upstream.pin();
    fetch(&pin, &scratch.cache, &online(), upstream.path.as_str()).unwrap();
    for (name, content) in
        [("02-again.patch", AGAIN), ("01-line.patch", FIRST_LINE), ("03-new.patch", NEW_FILE), ("README.md", b"why")]
    {
        scratch.write(&format!("patches/{name}"), content);
    }
    let patches = Patch::read_all(&scratch.path("patches")).unwrap();
    let names: Vec<_> = patches.iter().map(|patch| patch.name.as_str()).collect();
    assert_eq!(names, ["01-line.patch", "02-again.patch", "03-new.patch"]);

    let folder = scratch.path("tree");
    open(&pin, &scratch.cache, &patches)
        .unwrap()
        .export(&folder, (pin.epoch, Order::Sorted), "iPXE\'s source", &Silent)
        .unwrap();
    assert_eq!(std::fs::read(folder.join("README")).unwrap(), b"patched again\nwith a second line\n");
    assert_eq!(folder.join("src/new.sh").metadata().unwrap().permissions().mode() & 0o777, 0o755);

    assert_eq!(Patch::read_all(&scratch.path("nowhere")).unwrap(), []);
}

fn patches_that_cannot_be_applied() {
    let (scratch, upstream) = scratch();
    let pin = upstream.pin();
    fetch(&pin, &scratch.cache, &online(), upstream.path.as_str()).unwrap();
    let outside = "it names a path outside the tree";
    let cases: &[(&[u8], &str)] = &[
        (AGAIN, "hunk at line 1 did not apply"),
        (b"", "it is not what `git diff` or `git format-patch` writes"),
        (b"--- a/README\n+++ b/README\n@@ -1 +1 @@\n-a\n+b\n", "it is not what `git diff` or `git format-patch` writes"),
        (b"diff --git a/../x b/../x\n--- a/../x\n+++ b/../x\n@@ -1 +1 @@\n-a\n+b\n", outside),
        (
            b"diff --git a/src/../../x b/src/../../x\nnew file mode 100644\n--- /dev/null\n+++ b/src/../../x\n@@ -0,0 +1 @@\n+b\n",
            outside,
        ),
        (
            b"diff --git a/link b/link\nnew file mode 120000\n--- /dev/null\n+++ b/link\n@@ -0,0 +1 @@\n+/etc/passwd\n\\ No newline at end of file\n",
            "`link` has mode 120000, wanted a plain file",
        ),
    ];
    for (content, reason) in cases {
        let patch = Patch { name: "01.patch".into(), content: content.to_vec() };
        assert_eq!(
            open(&pin, &scratch.cache, &[patch]).err().unwrap(),
            format!(
                "the patch `01.patch` does not apply: {reason}\n\
                 hint: bring it up to date with the pinned commit, or remove it from vendor/patches"
            )
        );
    }
}

fn offline_without_the_commit() {
    let (scratch, upstream) = scratch();
    let mut pin = upstream.pin();
    pin.urls = vec!["http://127.0.0.1:1/ipxe.git".into()];
    let message = format!(
        "iPXE's pinned commit {} is not in the cache `{}`, and this run is offline\n\
         hint: Run(Fetch)\nhint: or With(IpxeUrl)\nhint: or With(SourcesFrom)",
        pin.commit,
        scratch.cache.ipxe_git()
    );
    let error =
        ipxe::fetch(&pin, &scratch.cache, &InputSource { network: &NetworkAccess::Offline, given: None }, &Silent)
            .unwrap_err();
    assert_eq!(told(&error), message);
    let given = fetch(&pin, &scratch.cache, &NetworkAccess::Offline, "https://mirror.example/ipxe.git");
    assert_eq!(given, Err(message));

    // The cache is enough.
    fetch(&pin, &scratch.cache, &online(), upstream.path.as_str()).unwrap();
    ipxe::fetch(&pin, &scratch.cache, &InputSource { network: &NetworkAccess::Offline, given: None }, &Silent).unwrap();
}

fn offline_a_local_path_will_do() {
    for scheme in ["", "file://"] {
        let (scratch, upstream) = scratch();
        let pin = upstream.pin();
        fetch(&pin, &scratch.cache, &NetworkAccess::Offline, &format!("{scheme}{}", upstream.path)).unwrap();
        assert_fetched(&pin, &scratch.cache);
    }
}
