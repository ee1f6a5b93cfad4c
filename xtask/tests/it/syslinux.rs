//! Real syslinux loaders from the distribution: their file kind is recognised, they are copied into a tree, and
//! `verify` reports a changed one.

use netboot_fixtures::project::{Member, Project, installed};
use netboot_loaders::loader::file_kind::{check, member_kind};

netboot_fixtures::tests! {
    with installed;
    headers,
    tree,
}

fn headers(members: &[Member]) {
    for (name, _, content) in members {
        let (kind, arch) = member_kind(name);
        check(content, kind, arch).unwrap();
        for (other, _, _) in members.iter().filter(|(other, _, _)| other != name) {
            let (kind, arch) = member_kind(other);
            assert!(check(content, kind, arch).is_err(), "{name} is no {other}");
        }
    }
}

fn tree(members: &[Member]) {
    let project = Project::with(members);
    project.build(&["--archive"]).success();
    for (name, _, content) in members {
        assert!(project.read(&format!("dist/tftp/{name}")) == *content, "{name}");
    }
    let mut spoiled = members[0].2.clone();
    spoiled[1000] ^= 1;
    std::fs::write(project.tree().join(members[0].0), spoiled).unwrap();
    let error = project.run(["verify"]).error(8);
    assert!(error.contains("\n  `lpxelinux.0` has changed: found "), "{error}");
}
