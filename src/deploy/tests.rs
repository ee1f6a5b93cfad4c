//! Deployments to a target in memory, with the connection cut at every moment.

use super::record::{DeployRecord, Deployed};
use super::remote_state::RemoteState;
use super::samples::{CaselessRemote, MemoryRemote, PIECE, manifest, tree};
use super::sftp::failure::SshFailure;
use super::sftp::ssh::Ssh;
use super::*;
use crate::base::diagnostic::told;
use crate::base::process::ProgramEnvironment;
use crate::base::progress::Silent;
use crate::digest::Content;
use crate::tree::manifest::Manifest;

const RECORD: &str = "netboot-loaders-deployed.json";

fn ssh() -> Ssh {
    Ssh { program: "ssh".into(), config: None, options: Vec::new(), env: ProgramEnvironment::default() }
}

/// Makes one attempt at `remote`, with the `session` that an earlier attempt has left.
fn attempt(
    tree: &CheckedTree,
    remote: &mut dyn Remote,
    options: DeployOptions,
    session: &mut Option<Session>,
) -> Result<DeployPlan, Error> {
    let target = "sftp://admin@router/tftp".parse().unwrap();
    let request = DeployRequest { target: &target, ssh: &ssh(), lock: None, options, attempts: 1, dry_run: false };
    let deployment = Deployment { upload_set: UploadSet::of(tree.again()), request: &request, progress: &Silent };
    deployment.at(remote, session).map(|(plan, _)| plan)
}

/// Makes a deployment with one attempt.
fn deploy(tree: &CheckedTree, remote: &mut dyn Remote, options: DeployOptions) -> Result<DeployPlan, Error> {
    attempt(tree, remote, options, &mut None)
}

const OLD: [(&str, &str); 4] =
    [("ipxe.efi", "old loader"), ("ipxe.pxe", "the same"), ("racks/a/ipxe.efi", "old site"), ("racks/gone/x", "gone")];
/// Loader that is too long for one piece.
const LONG: &str = "a new loader, which is a good deal longer than the one before, and has to be sent in several pieces, each \
                    of which can be the last that gets through before the connection is cut again";
const NEW: [(&str, &str); 4] =
    [("ipxe.efi", LONG), ("ipxe.pxe", "the same"), ("racks/a/ipxe.efi", "new site"), ("racks/b/y", "more")];
const PRUNE: DeployOptions = DeployOptions { read_all: false, prune: true, replace: false };

/// Asserts that each file is complete, with its old or new content, and that the files of others are untouched.
fn assert_whole(remote: &MemoryRemote, moment: usize) {
    for (path, _) in OLD.iter().chain(&NEW) {
        let allowed = [&OLD[..], &NEW[..]].concat();
        let content = remote.text(path);
        let whole = allowed.iter().any(|(name, content)| name == path && remote.text(path) == Some(content));
        let before = OLD.iter().find(|(name, _)| name == path);
        let vanished = content.is_none() && before.is_none_or(|_| path.starts_with("racks/gone"));
        assert!(whole || vanished, "at moment {moment}, {path} is {content:?}");
    }
    assert_eq!(remote.text("mine.txt"), Some("mine"));
    assert_eq!(remote.text("racks/a/ipxe.efi.mine.partial"), Some("mine too"));
    let told = Manifest::parse(remote.text(paths::MANIFEST).unwrap().as_bytes()).unwrap();
    for file in &told.files {
        assert!(remote.files.contains_key(&file.path), "at moment {moment}, the manifest names {}", file.path);
    }
}

fn published(tree: &CheckedTree) -> MemoryRemote {
    let mut remote = MemoryRemote::with(&[("mine.txt", "mine"), ("racks/a/ipxe.efi.mine.partial", "mine too")]);
    deploy(tree, &mut remote, DeployOptions::default()).unwrap();
    remote
}

fn assert_complete(remote: &MemoryRemote) {
    let mut names: Vec<&str> = NEW.iter().map(|(path, _)| *path).collect();
    names.extend([paths::SHA256SUMS, paths::MANIFEST, RECORD, "mine.txt", "racks/a/ipxe.efi.mine.partial"]);
    names.sort_unstable();
    assert_eq!(remote.names(), names);
    for (path, content) in NEW {
        assert_eq!(remote.text(path), Some(content), "{path}");
    }
    assert_eq!(remote.text(paths::MANIFEST), Some(manifest(&NEW).to_json().as_str()));
    assert!(!remote.folders.contains(Utf8Path::new("racks/gone")));
}

#[test]
fn what_is_cut_at_any_moment_is_whole_and_the_next_run_ends_it() {
    let ((_a, old), (_b, new)) = (tree(&OLD), tree(&NEW));
    let start = published(&old);
    let mut cuts = 0;
    for moment in 0.. {
        let mut remote = MemoryRemote { patience: Some(moment), ..start.clone() };
        let result = deploy(&new, &mut remote, PRUNE);
        assert_whole(&remote, moment);
        if result.is_ok() {
            break;
        }
        cuts += 1;
        remote.patience = None;
        deploy(&new, &mut remote, PRUNE).unwrap();
        assert_complete(&remote);
        // Another run finds nothing to do, and reads only the manifest and the record.
        let before = remote.clone();
        let plan = deploy(&new, &mut remote, PRUNE).unwrap();
        assert_eq!(plan.under_way().count(), 0, "{plan}");
        assert_eq!((remote.written, &remote.files), (before.written, &before.files));
        let told = [remote.text(paths::MANIFEST), remote.text(RECORD)].map(|text| text.unwrap().len() as u64);
        assert_eq!(remote.read - before.read, told[0] + told[1]);
    }
    assert!(cuts > 80, "{cuts} moments");
}

#[test]
fn a_file_whose_name_changes_in_case_only_is_the_same_where_case_does_not_count() {
    let (_a, old) = tree(&[("Fed.ipxe", "a"), ("racks/A1/x", "one"), ("racks/A1/y", "two"), ("racks/B/z", "gone")]);
    let (_b, new) = tree(&[("fed.ipxe", "a"), ("racks/a1/x", "one"), ("racks/a1/y", "new")]);
    let mut caseless = CaselessRemote(MemoryRemote::with(&[]));
    deploy(&old, &mut caseless, DeployOptions::default()).unwrap();
    for options in [PRUNE, PRUNE, DeployOptions::default()] {
        let plan = deploy(&new, &mut caseless, options).unwrap();
        assert_eq!((plan.strangers.len(), plan.obsolete.len()), (0, 0));
        let found = ["racks/a1/x", "racks/a1/y", "fed.ipxe", "racks/b/z"].map(|path| caseless.0.text(path));
        assert_eq!(found, [Some("one"), Some("new"), Some("a"), None]);
    }
    assert!(!caseless.0.text(RECORD).unwrap().contains("A1"));
    // What an earlier version has recorded of such a file is put right, too.
    let both = caseless.0.text(RECORD).unwrap().replace("\"racks/a1/x\"", "\"racks/A1/x\"");
    caseless.0.files.get_mut(Utf8Path::new(RECORD)).unwrap().0 = both.into_bytes();
    deploy(&new, &mut caseless, PRUNE).unwrap();
    assert_eq!(caseless.0.text("racks/a1/x"), Some("one"));
    // Elsewhere they are two files.
    let mut remote = MemoryRemote::with(&[]);
    deploy(&old, &mut remote, DeployOptions::default()).unwrap();
    assert_eq!(deploy(&new, &mut remote, PRUNE).unwrap().prune.len(), 4);
    assert_eq!((remote.text("racks/A1/x"), remote.text("racks/a1/x")), (None, Some("one")));
}

#[test]
fn all_names_of_a_file_in_other_cases_become_the_wanted_one() {
    let content = Content::of(b"x");
    let deployed = Deployed { content, modified: None, next: None };
    let mut record = DeployRecord::default();
    record.files = ["A/x", "a/X", "b"].map(|path| (Utf8PathBuf::from(path), deployed)).into();
    let mut state = RemoteState::new(None, record);
    let renamed = state.in_other_case(&[UploadFile { path: "a/x".into(), content }]);
    state.rename(renamed);
    assert_eq!(state.record.files.into_keys().collect::<Vec<_>>(), ["a/x", "b"]);
}

#[test]
fn what_a_run_that_nobody_ended_has_left_is_known_to_the_next() {
    let ((_a, old), (_b, new)) = (tree(&OLD), tree(&NEW));
    let start = published(&old);
    let names = start.names();
    for moment in 0.. {
        let mut remote = MemoryRemote { patience: Some(moment), ..start.clone() };
        let result = deploy(&new, &mut remote, DeployOptions::default());
        remote.patience = None;
        // The user has decided to keep the old tree.
        deploy(&old, &mut remote, PRUNE).unwrap();
        assert_eq!(remote.names(), names, "at moment {moment}");
        assert_eq!(remote.folders, start.folders, "at moment {moment}");
        for (path, content) in OLD {
            assert_eq!(remote.text(path), Some(content), "at moment {moment}, {path}");
        }
        if result.is_ok() {
            break;
        }
    }
}

#[test]
fn a_run_that_is_cut_again_and_again_gets_through() {
    let ((_a, old), (_b, new)) = (tree(&OLD), tree(&NEW));
    let start = published(&old);
    // Enough to scan the target and send one piece.
    for patience in 12..60 {
        let mut remote = start.clone();
        // The manifest and the record are read once at the beginning, which takes longer.
        let mut session = Some(Session::of(&mut remote, &Silent).unwrap());
        let (mut reached, mut barren, read) = (0, 0, remote.read);
        loop {
            remote.patience = Some(patience);
            let result = attempt(&new, &mut remote, PRUNE, &mut session);
            remote.patience = None;
            assert_whole(&remote, patience);
            if result.is_ok() {
                break;
            }
            let now = session.as_ref().unwrap().reached;
            barren = if now > reached { 0 } else { barren + 1 };
            assert!(barren < 5, "{patience} moments at a time, stuck at {now}: {:?}", session.unwrap().at);
            reached = now.max(reached);
        }
        assert_complete(&remote);
        let session = session.unwrap();
        let done = [session.count(FileAction::Send), session.count(FileAction::Replace), session.pruned.len()];
        assert_eq!(done, [1, 4, 1]);
        let sent: u64 = ["ipxe.efi", "racks/a/ipxe.efi", "racks/b/y", paths::SHA256SUMS, paths::MANIFEST]
            .map(|path| remote.text(path).unwrap().len() as u64)
            .iter()
            .sum();
        // Each byte was read back once, and nothing was read that had not been sent.
        assert_eq!(remote.read - read, sent);
        assert!(session.bytes <= sent, "{} bytes were acknowledged, {sent} were to be sent", session.bytes);
    }
}

#[test]
fn of_two_that_deploy_in_the_same_second_one_is_told() {
    let other = NEW.map(|(path, content)| (path, content.replace(['e', 'o'], "_")));
    let other = other.each_ref().map(|(path, content)| (*path, content.as_str()));
    let ((_a, old), (_b, one), (_c, two)) = (tree(&OLD), tree(&NEW), tree(&other));
    let start = MemoryRemote { hasty: true, ..published(&old) };
    let replace = DeployOptions { replace: true, ..DeployOptions::default() };
    let (mut told, mut whole) = (0, 0);
    for moment in 0.. {
        let (mut remote, mut session) = (MemoryRemote { patience: Some(moment), ..start.clone() }, None);
        if attempt(&one, &mut remote, replace, &mut session).is_ok() {
            break;
        }
        remote.patience = None;
        // The other machine finishes while this one has lost its connection.
        let others = deploy(&two, &mut remote, DeployOptions::default());
        match attempt(&one, &mut remote, replace, &mut session) {
            Ok(_) => {
                whole += 1;
                for (path, content) in NEW {
                    assert_eq!(remote.text(path), Some(content), "at moment {moment}: {path}");
                }
            }
            Err(error) => {
                told += 1;
                assert!(matches!(error, Error::ConcurrentDeploy(_)) && others.is_ok(), "at moment {moment}: {error}");
                // The next deployment trusts neither record.
                for tree in [&one, &two] {
                    let mut remote = remote.clone();
                    deploy(tree, &mut remote, replace).unwrap();
                    for path in NEW.map(|(path, _)| path).iter().chain(&[paths::SHA256SUMS, paths::MANIFEST]) {
                        let wanted = std::fs::read_to_string(tree.root.join(path)).unwrap();
                        assert_eq!(remote.text(path), Some(&*wanted), "after moment {moment}: {path}");
                    }
                }
            }
        }
    }
    assert!(told > 40 && whole > 0, "{told} of them were told, {whole} got through");
}

#[test]
fn files_become_readable_for_others_where_the_place_lets_them() {
    let (_guard, new) = tree(&NEW);
    let mut remote = MemoryRemote { sets_modes: true, ..MemoryRemote::with(&[]) };
    deploy(&new, &mut remote, DeployOptions::default()).unwrap();
    remote.modes.insert("ipxe.efi".into(), 0o100_660);
    let plan = deploy(&new, &mut remote, DeployOptions::default()).unwrap();
    assert_eq!((plan.unreadable.len(), remote.modes[Utf8Path::new("ipxe.efi")]), (1, 0o664));
    // If the target refuses a mode, or the connection is lost meanwhile, no more modes are tried, and the rest is done.
    for (sets_modes, patience) in [(false, None), (true, Some(4))] {
        let mut session = None;
        remote.modes.insert("ipxe.efi".into(), 0o600);
        remote.modes.insert("ipxe.pxe".into(), 0o600);
        (remote.sets_modes, remote.patience) = (sets_modes, None);
        session.replace(Session::of(&mut remote, &Silent).unwrap());
        remote.patience = patience;
        let result = attempt(&new, &mut remote, DeployOptions::default(), &mut session);
        assert_eq!(result.is_err(), patience.is_some());
        remote.patience = None;
        attempt(&new, &mut remote, DeployOptions::default(), &mut session).unwrap();
        let session = session.unwrap();
        assert!(session.refuses_modes && session.unreadable.is_some());
        assert_eq!(remote.modes[Utf8Path::new("ipxe.pxe")], 0o600);
    }
}

#[test]
fn files_of_others_stay_where_nobody_asks_for_more() {
    let (_guard, new) = tree(&NEW);
    let mine = [("ipxe.efi", "mine!"), ("ipxe.pxe", "the same"), ("racks/b/y", "mine")];
    let mut remote = MemoryRemote::with(&mine);
    let error = deploy(&new, &mut remote, DeployOptions::default()).unwrap_err();
    assert_eq!(
        told(&error),
        "`sftp://admin@router/tftp` has files that somebody else put there or changed, and deploying would replace them: \
         `ipxe.efi`, `racks/b/y`\nhint: move them away\nhint: or With(Replace)"
    );
    assert_eq!(remote.names(), ["ipxe.efi", "ipxe.pxe", "racks/b/y"]);
    let plan = deploy(&new, &mut remote, DeployOptions { replace: true, ..DeployOptions::default() }).unwrap();
    assert_eq!(plan.strangers, ["ipxe.efi", "racks/b/y"]);
    assert_eq!(remote.text("ipxe.efi"), Some(LONG));
    // A file that somebody has changed since belongs to them, too.
    remote.files.get_mut(Utf8Path::new("ipxe.pxe")).unwrap().0 = b"changed!".to_vec();
    remote.files.get_mut(Utf8Path::new("ipxe.pxe")).unwrap().1 += 100;
    let error = deploy(&new, &mut remote, DeployOptions::default()).unwrap_err();
    assert!(error.to_string().contains("would replace them: `ipxe.pxe`"), "{error}");
}

#[test]
fn a_manifest_of_something_else_is_nobody_s_business() {
    let (_guard, new) = tree(&NEW);
    for (text, reason) in [
        ("[]", "invalid length 0, expected a manifest at line 1 column 2"),
        (
            &manifest(&NEW).to_json().replace("\"netboot_loaders\"", "\"another\""),
            "found the generator `another`, wanted `netboot_loaders`",
        ),
    ] {
        let mut remote = MemoryRemote::with(&[(paths::MANIFEST, text)]);
        let error = deploy(&new, &mut remote, PRUNE).unwrap_err();
        assert_eq!(
            told(&error),
            format!(
                "the `manifest.json` in `sftp://admin@router/tftp` was not written by this tool: {reason}\n\
                 hint: choose another folder\nhint: or With(Replace)"
            )
        );
        assert_eq!(remote.names(), [paths::MANIFEST]);
        deploy(&new, &mut remote, DeployOptions { replace: true, ..PRUNE }).unwrap();
        assert_eq!(remote.text(paths::MANIFEST), Some(manifest(&NEW).to_json().as_str()));
    }
}

#[test]
fn what_was_pruned_is_what_was_put_there_and_nothing_else() {
    let ((_a, old), (_b, new)) = (tree(&OLD), tree(&NEW));
    let mut remote = published(&old);
    let plan = deploy(&new, &mut remote, DeployOptions::default()).unwrap();
    assert_eq!((plan.obsolete.len(), remote.text("racks/gone/x")), (1, Some("gone")));
    // The manifest no longer lists it, but the record does.
    let mut changed = remote.clone();
    let plan = deploy(&new, &mut remote, PRUNE).unwrap();
    assert_eq!((plan.prune.len(), remote.text("racks/gone/x")), (1, None));
    assert_complete(&remote);
    changed.files.get_mut(Utf8Path::new("racks/gone/x")).unwrap().0 = b"mine".to_vec();
    changed.files.get_mut(Utf8Path::new("racks/gone/x")).unwrap().1 += 1;
    let plan = deploy(&new, &mut changed, PRUNE).unwrap();
    assert_eq!((plan.changed.len(), changed.text("racks/gone/x")), (1, Some("mine")));
    // Nothing is removed through a link, either.
    let mut linked = published(&old);
    linked.links.insert("racks/gone".into());
    let plan = deploy(&new, &mut linked, PRUNE).unwrap();
    assert_eq!((plan.changed.len(), linked.text("racks/gone/x")), (1, Some("gone")));
}

#[test]
fn what_does_not_read_back_as_it_was_sent_gets_no_name() {
    let ((_a, old), (_b, new)) = (tree(&OLD), tree(&NEW));
    let mut remote = published(&old);
    let partial = paths::partial_of("ipxe.efi".into(), &crate::digest::Sha256Digest::of(LONG.as_bytes()));
    remote.spoils = Some(partial.clone());
    let error = deploy(&new, &mut remote, PRUNE).unwrap_err();
    assert_eq!(
        told(&error),
        "`ipxe.efi` differed twice when it was read back\n\
         hint: check the storage of `sftp://admin@router/tftp`; what has that name there is as it was"
    );
    assert_eq!((remote.text("ipxe.efi"), remote.files.contains_key(&partial)), (Some("old loader"), false));
    // A temporary file that is not the beginning of its file is sent again from the start.
    remote.spoils = None;
    remote.files.insert(partial.clone(), (b"else".to_vec(), 1));
    deploy(&new, &mut remote, PRUNE).unwrap();
    assert_complete(&remote);
}

#[test]
fn only_a_connection_that_comes_back_is_waited_for() {
    let DeployTarget::Sftp(address) = "sftp://admin@router/tftp".parse().unwrap() else { panic!("no address") };
    let refusal = |words: &str| {
        let failure = SshFailure::diagnose(&address, String::new(), String::new(), vec![words.to_owned()]);
        Error::Remote(remote::Error::Connect(Box::new(failure).into()))
    };
    let refused = || refusal("ssh: connect to host router port 22: Connection refused");
    assert!(is_transient(&Error::Remote(remote::Error::Lost { words: vec![] }), false));
    assert!(is_transient(&refusal("kex_exchange_identification: read: Connection reset by peer"), false));
    assert!(is_transient(&refused(), true) && !is_transient(&refused(), false));
    assert!(!is_transient(&refusal("admin@router: Permission denied (publickey)."), true));
}

#[test]
fn a_connection_that_is_lost_for_good_says_at_which_byte() {
    let (_guard, new) = tree(&NEW);
    let target = "sftp://admin@router/tftp".parse().unwrap();
    let request = DeployRequest {
        target: &target,
        ssh: &ssh(),
        lock: None,
        options: DeployOptions::default(),
        attempts: 3,
        dry_run: false,
    };
    let deployment = Deployment { upload_set: UploadSet::of(new), request: &request, progress: &Silent };
    let at = session::InTransfer { path: "ipxe.efi".into(), what: "sent", done: 182_000, size: 364_000 };
    let at = Session { at: Some(at), ..Session::default() }.interrupted_transfer();
    let lost = Error::Remote(remote::Error::Lost { words: vec!["client_loop: send disconnect: Broken pipe".into()] });
    assert_eq!(
        told(&deployment.retries_exhausted(lost, at, 3)),
        "the connection to `admin@router` was lost 3 times in a row, at last when 182000 of 364000 bytes of `ipxe.efi` \
         were sent\n  | client_loop: send disconnect: Broken pipe\nhint: Resume"
    );
}

#[test]
fn what_somebody_takes_over_while_files_are_sent_is_not_pruned() {
    let ((_a, old), (_b, new)) = (tree(&OLD), tree(&NEW));
    let mut remote = published(&old);
    remote.taken_over = Some("racks/gone/x".into());
    let mut session = None;
    attempt(&new, &mut remote, PRUNE, &mut session).unwrap();
    assert_eq!((remote.text("racks/gone/x"), session.unwrap().pruned.len()), (Some("mine"), 0));
    let plan = deploy(&new, &mut remote, PRUNE).unwrap();
    assert_eq!((plan.changed, remote.text("racks/gone/x")), (vec!["racks/gone/x".into()], Some("mine")));
}

#[test]
fn what_somebody_changes_while_files_are_sent_is_noticed_at_the_end() {
    let ((_a, old), (_b, new)) = (tree(&OLD), tree(&NEW));
    let mut remote = published(&old);
    // It needs no sending, so nothing but the last look at all files can notice this.
    remote.taken_over = Some("ipxe.pxe".into());
    let error = deploy(&new, &mut remote, DeployOptions::default()).unwrap_err();
    assert!(matches!(error, Error::ConcurrentDeploy(_)), "{error}");
    assert_eq!(remote.text("ipxe.pxe"), Some("mine"));
}

#[test]
fn a_file_that_was_read_before_a_cut_is_not_read_again() {
    let (_guard, new) = tree(&NEW);
    let mut remote = published(&new);
    let options = DeployOptions { read_all: true, ..DeployOptions::default() };
    let mut session = Some(Session::of(&mut remote, &Silent).unwrap());
    let before = remote.read;
    // Enough for what is asked of the remote and for the longest file, not for all of them.
    let patience = 20 + manifest(&NEW).to_json().len() / PIECE;
    let mut cuts = 0;
    for _ in 0..40 {
        remote.patience = Some(patience);
        let result = attempt(&new, &mut remote, options, &mut session);
        remote.patience = None;
        if result.is_ok() {
            break;
        }
        cuts += 1;
    }
    assert!(cuts > 0);
    let plan = attempt(&new, &mut remote, options, &mut session).unwrap();
    assert_eq!(plan.under_way().count(), 0, "{plan}");
    let once: u64 = plan.files.iter().map(|planned| planned.wanted.content.size).sum();
    assert!(remote.read - before < 2 * once, "{} bytes were read, {once} are there", remote.read - before);
}

#[test]
fn a_server_that_gets_a_byte_at_a_time_makes_no_progress() {
    let mut losses = Losses::default();
    let numbers: Vec<u32> = (1..=5).map(|reached| losses.count(reached)).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    assert_eq!([MIN_PROGRESS, MIN_PROGRESS + 5, 3 * MIN_PROGRESS].map(|reached| losses.count(reached)), [1, 2, 1]);
}
