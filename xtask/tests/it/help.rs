//! What the program says of itself: help for people, completions for shells.

use std::process::Command;

use netboot_fixtures::project::Project;
use netboot_fixtures::{shows, skip};

netboot_fixtures::tests! {
    each_command,
    completions,
}

/// The names of the commands that `help` lists.
fn commands(help: &str) -> Vec<&str> {
    let Some((_, list)) = help.split_once("\nCommands:\n") else { return Vec::new() };
    let names = list.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.strip_prefix("  "));
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
