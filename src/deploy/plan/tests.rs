//! Tests of plans, without a target.

use super::*;
use crate::base::diagnostic::told;
use crate::deploy::remote_state::published;
use crate::deploy::samples::manifest;
use crate::tree::limits::MAX_FILE;

const EARLIER: DeployOptions = DeployOptions { read_all: false, prune: false, replace: false };

fn wanted(files: &[(&str, &str)]) -> Vec<UploadFile> {
    files
        .iter()
        .map(|(path, text)| UploadFile { path: (*path).into(), content: Content::of(text.as_bytes()) })
        .collect()
}

fn file(text: &str, modified: u64) -> Found {
    Found { kind: FoundKind::File, size: text.len() as u64, modified: Some(modified), mode: None }
}

fn folder() -> Found {
    Found { kind: FoundKind::Folder, size: 0, modified: None, mode: None }
}

fn scan(found: &[(&str, Found)]) -> Scan {
    let found = found.iter().map(|(path, found)| ((*path).into(), *found)).collect();
    Scan { there: true, found, ..Scan::default() }
}

/// Returns a record of files that were deployed at time 7.
fn record(files: &[(&str, &str)]) -> DeployRecord {
    let mut record = DeployRecord::default();
    for (path, text) in files {
        let content = Content::of(text.as_bytes());
        record.files.insert((*path).into(), Deployed { content, modified: Some(7), next: None });
    }
    record
}

#[test]
fn a_plan_says_what_it_is() {
    let wanted = wanted(&[("a.efi", "new"), ("b.efi", "longer"), ("c.efi", "same"), ("racks/x/a.efi", "site")]);
    let remote_state = RemoteState::new(
        None,
        record(&[("b.efi", "before"), ("c.efi", "same"), ("old.efi", "old"), ("mine.efi", "ours")]),
    );
    let partial = paths::partial_of("a.efi".into(), &wanted[0].content.sha256);
    let stale = paths::partial_of("old.efi".into(), &Content::of(b"old").sha256);
    let scan = scan(&[
        (partial.as_str(), file("n", 9)),
        (stale.as_str(), file("o", 9)),
        ("b.efi", file("before", 7)),
        ("c.efi", file("same", 7)),
        ("old.efi", file("old", 7)),
        ("mine.efi", file("mine", 8)),
        ("racks", folder()),
    ]);
    let view = |options| Planner { wanted: &wanted, remote_state: &remote_state, scan: &scan, options };
    assert_eq!(view(EARLIER).to_read(), []);
    let plan = view(EARLIER).plan().unwrap();
    assert_eq!(
        plan.to_string(),
        format!(
            "folder     racks/x\n\
             send       a.efi (3 B, 1 B of it there)\n\
             replace    b.efi (6 B)\n\
             unchanged  c.efi (4 B)\n\
             send       racks/x/a.efi (4 B)\n\
             clean up   {stale}\n\
             obsolete   mine.efi (stays: nobody asked to prune)\n\
             obsolete   old.efi (stays: nobody asked to prune)\n\
             2 to send, 1 to replace, 1 unchanged: 12 B\n"
        )
    );
    let prune = DeployOptions { prune: true, ..EARLIER };
    // Its time has changed, but not its size.
    assert_eq!(view(prune).to_read(), [("mine.efi".into(), file("mine", 8))]);
    let text = view(prune).plan().unwrap().to_string();
    assert!(
        text.contains("\nprune      old.efi\nchanged    mine.efi (stays: it is not what was put there)\n"),
        "{text}"
    );
    let all = DeployOptions { read_all: true, ..EARLIER };
    let names: Vec<_> = view(all).to_read().into_iter().map(|(path, _)| path).collect();
    assert_eq!(names, ["b.efi", "c.efi"]);
}

#[test]
fn what_is_looked_at_is_what_may_be_ours() {
    let wanted = wanted(&[("racks/x/a.efi", "new")]);
    let remote_state = RemoteState::new(None, record(&[("b.efi", "old")]));
    let partial = |path: &str, text: &str| paths::partial_of(path.into(), &Content::of(text.as_bytes()).sha256);
    let looked: Vec<_> = interest(&wanted, &remote_state).into_iter().collect();
    let mut due: Vec<Utf8PathBuf> = ["b.efi", "racks", "racks/x", "racks/x/a.efi"].map(Utf8PathBuf::from).into();
    due.extend([partial("b.efi", "old"), partial("racks/x/a.efi", "new"), paths::partial_record()]);
    due.sort();
    assert_eq!(looked, due);
}

#[test]
fn a_manifest_that_leads_elsewhere_is_not_followed() {
    let hostile = manifest(&[("../etc/passwd", "root"), ("/etc/shadow", "x"), ("racks/./a", "y"), ("fine.efi", "z")]);
    let remote_state = RemoteState::new(Some(published(hostile.to_json().as_bytes())), DeployRecord::default());
    let names: BTreeSet<&str> = remote_state.all().map(|(path, _)| path.as_str()).collect();
    assert_eq!(names.into_iter().collect::<Vec<_>>(), [paths::SHA256SUMS, "fine.efi", paths::MANIFEST]);
    let hostile =
        record(&[("../etc/passwd", "root"), ("/etc/shadow", "x"), ("racks//a", "y"), ("", "x"), ("fine", "z")]);
    let remote_state = RemoteState::new(None, hostile);
    assert_eq!(remote_state.record.files.keys().collect::<Vec<_>>(), ["fine"]);
}

#[test]
fn what_nobody_deploys_is_nothing_that_this_tool_did() {
    let mut large = record(&[("fine", "1"), ("large", "2"), ("next", "3")]);
    let content = Content { size: MAX_FILE + 1, ..Content::of(b"4") };
    large.files.get_mut(Utf8Path::new("large")).unwrap().content = content;
    large.files.get_mut(Utf8Path::new("next")).unwrap().next = Some(content);
    assert_eq!(RemoteState::new(None, large).record.files.keys().collect::<Vec<_>>(), ["fine"]);
    let names: Vec<String> =
        (0..3_300).map(|i| format!("{}{i:0247}", format!("{}/", "a".repeat(250)).repeat(15))).collect();
    let long: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    assert_eq!(RemoteState::new(None, record(&long)).record, DeployRecord::default());
    assert_eq!(RemoteState::new(None, record(&long[..1000])).record.files.len(), 1000);
    assert_eq!(
        published(manifest(&long).to_json().as_bytes()).unwrap_err(),
        "found paths of more than 12582912 bytes with their folders, wanted those of a tree"
    );
    // Folders count as well, but only once.
    let above = format!("/{}", "a".repeat(40)).repeat(7);
    let deep = |folder: &str| (0..10_000).map(|i| format!("{folder}{above}/{i:05}")).collect::<Vec<_>>();
    let apart: Vec<String> = deep("").into_iter().map(|path| format!("{}{path}", &path[path.len() - 5..])).collect();
    for (paths, known) in [(deep("x"), 10_000), (apart, 0)] {
        let paths: Vec<(&str, &str)> = paths.iter().map(|path| (path.as_str(), "x")).collect();
        assert_eq!(RemoteState::new(None, record(&paths)).record.files.len(), known);
    }
    // The manifest takes precedence over the record.
    let remote_state =
        RemoteState::new(Some(published(manifest(&long[..1_800]).to_json().as_bytes())), record(&long[1_500..]));
    assert_eq!((remote_state.record.files.len(), remote_state.all().count()), (0, 1_802));
}

#[test]
fn what_is_no_file_stands_in_the_way() {
    let wanted = wanted(&[("racks/x/a.efi", "new")]);
    let remote_state = RemoteState::default();
    let link = Found { kind: FoundKind::Other, ..folder() };
    for (found, error) in [
        (("racks/x/a.efi", folder()), "`racks/x/a.efi` is a folder there, wanted a plain file"),
        (("racks/x", link), "`racks/x` is a link or a device there, wanted a folder"),
        (("racks", file("text", 1)), "`racks` is a file there, wanted a folder"),
    ] {
        let scan = scan(&[found]);
        let view = Planner { wanted: &wanted, remote_state: &remote_state, scan: &scan, options: EARLIER };
        let hint = "\nhint: move it away, or choose another folder";
        assert_eq!(told(&view.plan().unwrap_err()), format!("{error}{hint}"));
    }
}

#[test]
fn a_place_that_tells_no_times_is_read() {
    let wanted = wanted(&[("a.efi", "new"), ("b.efi", "other")]);
    let remote_state = RemoteState::new(None, record(&[("a.efi", "new")]));
    let timeless = |text| Found { modified: None, ..file(text, 0) };
    let mut scan = scan(&[("a.efi", timeless("new")), ("b.efi", timeless("some"))]);
    let view = Planner { wanted: &wanted, remote_state: &remote_state, scan: &scan, options: EARLIER };
    // No known content has this size, so the file must belong to somebody else.
    assert_eq!(view.to_read(), [("a.efi".into(), timeless("new"))]);
    scan.read.insert("a.efi".into(), (timeless("new"), Content::of(b"new").sha256));
    let view = Planner { wanted: &wanted, remote_state: &remote_state, scan: &scan, options: EARLIER };
    assert_eq!(view.to_read(), []);
    let plan = view.plan().unwrap();
    assert_eq!((plan.files[0].step, plan.strangers), (FileAction::Unchanged, vec!["b.efi".into()]));
}

#[test]
fn folders_go_where_nothing_wanted_is_below_them() {
    let wanted = wanted(&[("racks/x/a.efi", "new")]);
    let remote_state = RemoteState::new(None, record(&[("racks/x/old.efi", "1"), ("racks/y/z/old.efi", "2")]));
    let scan = scan(&[
        ("racks", folder()),
        ("racks/x", folder()),
        ("racks/y", folder()),
        ("racks/y/z", folder()),
        ("racks/x/old.efi", file("1", 7)),
        ("racks/y/z/old.efi", file("2", 7)),
    ]);
    let view = Planner {
        wanted: &wanted,
        remote_state: &remote_state,
        scan: &scan,
        options: DeployOptions { prune: true, ..EARLIER },
    };
    let plan = view.plan().unwrap();
    assert_eq!(plan.prune, ["racks/x/old.efi", "racks/y/z/old.efi"]);
    assert_eq!(plan.emptied, ["racks/y/z", "racks/y"]);
}
