//! Help for users, and completions for shells.

use std::process::Command;

use netboot_fixtures::harness::xtask;
use netboot_fixtures::project::{CliOutput, Project};
use netboot_fixtures::{shows, skip};

netboot_fixtures::tests! {
    each_command,
    completions,
    installed,
}

/// Returns the names of the commands that `help` lists.
fn commands(help: &str) -> Vec<&str> {
    let Some((_, list)) = help.split_once("\nCommands:\n") else { return Vec::new() };
    // Text too long for one line continues in the next one, indented to the text column.
    let names = list.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.strip_prefix("  "));
    let names = names.filter(|line| !line.starts_with(' '));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").collect()
}

fn each_command() {
    let project = Project::cold();
    let mut found = vec![String::new()];
    while let Some(name) = found.pop() {
        let arguments: Vec<&str> = name.split_whitespace().chain(["--help"]).collect();
        let help = project.run(&arguments).success().stdout;
        found.extend(commands(&help).into_iter().map(|command| format!("{name} {command}")));
        shows!(project, &arguments, format!("help{}", name.replace(' ', "-")));
    }
}

fn completions() -> Result<(), String> {
    let bash = skip::program("bash")?;
    let script = Project::cold().run(["completions", "bash"]).success().stdout;
    let status = Command::new(bash).args(["-n", "-c", &script]).status().unwrap();
    assert!(status.success() && script.contains("--ipxe-url"));
    Ok(())
}

/// A program installed under another name, in a folder without a repository, does not mention cargo.
fn installed() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("netboot-loaders");
    std::fs::copy(xtask(), &program).unwrap();
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        // cargo sets this for its own alias, and also where a build script runs this program.
        command.args(arguments).current_dir(&empty).env("CARGO_MANIFEST_DIR", env!("CARGO_MANIFEST_DIR"));
        let ran =
            CliOutput::from(command.env("NETBOOT_LOADERS_CACHE_DIR", folder.path().join("cache")).output().unwrap());
        assert!(!format!("{}{}", ran.stdout, ran.stderr).contains("cargo xtask"), "{arguments:?}: {}", ran.stdout);
        ran
    };
    let mut found = vec![String::new()];
    while let Some(name) = found.pop() {
        let arguments: Vec<&str> = name.split_whitespace().chain(["--help"]).collect();
        let help = run(&arguments).success().stdout;
        assert!(help.contains(&format!("Usage: netboot-loaders{name} ")), "{help}");
        found.extend(commands(&help).into_iter().map(|command| format!("{name} {command}")));
    }
    assert!(run(&["verify", "--help"]).success().stdout.contains("\n  netboot-loaders verify "));
    assert!(run(&["--version"]).success().stdout.starts_with("netboot-loaders "));
    let error = run(&["verify"]).error(8);
    assert!(error.ends_with("hint: build the tree with `netboot-loaders build-loaders`\n"), "{error}");
    let error = run(&["build-loaders"]).error(3);
    let real = empty.canonicalize().unwrap();
    assert!(error.starts_with(&format!("`{}` is not a project folder", real.display())), "{error}");
    let wrong = run(&["build-loaders", "--nonsense"]);
    assert!(wrong.stderr.contains("\nUsage: netboot-loaders build-loaders "), "{}", wrong.stderr);
    let completions = run(&["completions", "bash"]).success().stdout;
    assert!(completions.contains(" netboot-loaders\n") && !completions.contains("xtask"));
    let arguments = ["mirror", "flatcar", "--dest", "/srv/flatcar", "--print-schedule", "systemd"];
    let schedule = run(&arguments).success().stdout;
    assert!(schedule.contains(&format!("\nExecStart={} --quiet mirror ", program.display())), "{schedule}");
}
