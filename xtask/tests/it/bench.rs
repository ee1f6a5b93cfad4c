//! `bench` empties no folder that it did not make.

use netboot_fixtures::project::Project;
use netboot_fixtures::shows;

netboot_fixtures::tests! {
    a_scratch_folder_of_others_is_left_alone,
}

fn a_scratch_folder_of_others_is_left_alone() {
    let project = Project::cold();
    project.write("mine/cold-stock/thesis", "mine").write("mine/lock", "");
    let scratch = project.path("mine");
    shows!(project, ["bench", "cold", "--offline", "--scratch", scratch.as_str()], @"
    exit code 1, stderr:
    error: `PROJECT/mine` is not empty, and no scratch folder of `bench`
    hint: move that away
    hint: or choose another folder with `--scratch`
    ");
    assert_eq!(project.read("mine/cold-stock/thesis"), b"mine");
    assert_eq!(std::fs::read_dir(&scratch).unwrap().count(), 2);
}
