//! Each variation of a rebuild detects a build that depends on it, and is named as the cause.

use netboot_fixtures::harness::TestCase;
use netboot_fixtures::project::{CliOutput, Project};
use netboot_fixtures::skip;
use netboot_loaders::reproduce::variation::Variation;

/// One test per variation: a dependency on it is detected and attributed to it.
pub fn tests() -> Vec<TestCase> {
    let test = |(variation, leak): (Variation, &'static str)| {
        TestCase::new(module_path!(), variation.as_str(), move || {
            possible(variation)?;
            leaking(variation, leak);
            Ok(())
        })
        .slow()
    };
    LEAKS.map(test).into()
}

/// Checks whether the variation is available here.
fn possible(variation: Variation) -> Result<(), String> {
    // On a file system in memory, the order of a folder is the order of writing.
    if variation == Variation::FileOrder && !std::path::Path::new("/dev/shm").is_dir() {
        return Err("there is no /dev/shm".to_owned());
    }
    skip::variation(variation)
}

/// Ways for a build to depend on a variation: a line of a make recipe whose output goes into an object.
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

/// A build that depends on `variation` gives a difference, and that variation is named.
fn leaking(variation: Variation, leak: &str) {
    let project = Project::new();
    project.edit_makefile(|text| text.replace("cat core.c $(LOCAL)", &format!("{leak}; cat core.c $(LOCAL)")));
    project.build(&[]).success();
    let memory = tempfile::tempdir_in(if variation == Variation::FileOrder { "/dev/shm" } else { "/tmp" }).unwrap();
    let cache = memory.path().to_str().unwrap();
    let sources = project.path("ipxe");
    let mut command = project.command(["reproduce", "--offline", "--ipxe-url", sources.as_str()]);
    let error = CliOutput::from(command.args(["--cache-dir", cache]).output().unwrap()).error(12);
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
