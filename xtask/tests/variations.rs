//! Each variation of a rebuild catches a build that depends on it, and is named then.

mod support;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Trial};
use netboot_loaders::reproduce::variation::Variation;
use support::{Project, Ran, lacking};

fn main() -> ExitCode {
    let trials = LEAKS.map(|(variation, leak)| {
        let name = format!("what_depends_on_{variation}_is_found_and_blamed_on_it");
        Trial::ignorable_test(name, move || match missing(variation) {
            None => {
                leaking(variation, leak);
                Ok(Completion::Completed)
            }
            Some(reason) => Ok(Completion::ignored_with(reason)),
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit_code()
}

/// Why this cannot be tried here.
fn missing(variation: Variation) -> Option<String> {
    // A folder's order shows the order of writing on a file system in memory.
    let memory = variation != Variation::FileOrder || std::path::Path::new("/dev/shm").is_dir();
    lacking(variation).or_else(|| (!memory).then(|| "there is no /dev/shm".to_owned()))
}

/// What a build can do to depend on something that is varied: a line of a recipe whose output goes into an
/// object.
const LEAKS: [(Variation, &str); 12] = [
    (Variation::Path, "pwd"),
    (Variation::Clock, "date +%Y"),
    (Variation::TimeZone, "date +%Z"),
    (Variation::Locale, "echo $$$$LC_ALL"),
    (Variation::Umask, "umask"),
    (Variation::User, "id -un; echo $$$$HOME"),
    (Variation::Hostname, "uname -n"),
    (Variation::Jobs, "echo $$(filter -j%,$$(MAKEFLAGS))"),
    (Variation::Environment, "echo \"$$$$NOISE\""),
    (Variation::FileOrder, "ls -U config hci net"),
    (Variation::TemporaryFolder, "basename $$$$TMPDIR"),
    (Variation::CompilerCache, "echo $$(CC)"),
];

/// A build that depends on what is varied gives a difference, and that variation is named.
fn leaking(variation: Variation, leak: &str) {
    let project = Project::new();
    project.edit_makefile(|text| text.replace("cat core.c $(LOCAL)", &format!("{leak}; cat core.c $(LOCAL)")));
    project.build(&[]).success();
    let memory = tempfile::tempdir_in(if variation == Variation::FileOrder { "/dev/shm" } else { "/tmp" }).unwrap();
    let cache = memory.path().to_str().unwrap();
    let sources = project.path("ipxe");
    let mut command = project.command(&["reproduce", "--offline", "--ipxe-url", sources.as_str()]);
    let error = Ran::from(command.args(["--cache-dir", cache]).output().unwrap()).error(12);
    assert!(error.starts_with("3 of 3 loaders differ from the build with nothing varied\n"), "{error}");
    assert!(error.contains(&format!("\nthe variation makes the difference: {variation}\n")), "{error}");
    assert!(error.contains(" of 9 objects differ: a.o, "), "{error}");
    let text = match variation {
        Variation::Path => "another-and-much-longer-path",
        Variation::Hostname => "another-host",
        Variation::User => "/home/somebody-else",
        _ => return,
    };
    assert!(error.lines().any(|line| line.starts_with("  leaked, found: ") && line.contains(text)), "{error}");
}
