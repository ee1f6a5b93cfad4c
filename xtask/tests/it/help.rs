//! Help for users, and completions for shells.

use std::path::{Path, PathBuf};
use std::process::Command;

use netboot_fixtures::harness::xtask;
use netboot_fixtures::project::{CliOutput, Project};
use netboot_fixtures::{shows, skip};

netboot_fixtures::tests! {
    each_command,
    topics,
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

/// `help` prints pages of the book, and a command's name wins.
fn topics() {
    let project = Project::cold();
    let list = project.run(["help"]).success().stdout;
    let (help, topics) = list.split_once("\nTopics of `cargo xtask help TOPIC`, pages of the book:\n").unwrap();
    assert_eq!(help.trim_end(), project.run(["--help"]).success().stdout.trim_end());
    let topics: Vec<&str> = topics.split_whitespace().collect();
    assert!(topics.contains(&"trust") && topics.contains(&"dhcp-kea") && !topics.contains(&"deploy"), "{topics:?}");
    for topic in topics {
        let page = project.run(["help", topic]).success().stdout;
        assert!(page.starts_with('#') && !page.contains("](") && !page.contains("```"), "{page}");
    }
    assert_eq!(project.run(["help", "deploy"]).success().stdout, project.run(["deploy", "--help"]).success().stdout);
    assert!(project.run(["help", "how-to/deploy"]).success().stdout.starts_with("# Deploy a tree\n"));
    let json = project.run(["help", "trust", "--message-format", "json"]).success().stdout;
    assert!(json.starts_with("{\"event\":\"result\",\"help\":\"# "), "{json}");
    shows!(project, ["help", "option-17"], @"
    exit code 0, stdout:
    ## Option 17 is missing

    If DHCP may lack option 17, use `robust.ipxe`: it says that the option is
    missing, and offers a shell.

    With `root-path.ipxe`, `chain` then gets an empty address, and iPXE 2.0.0 takes
    that for the place that it was itself loaded from. A BIOS loader loads itself
    again and again, without end. Under OVMF, the second iPXE fails with `Could not
    boot: Error 0x7f048287`, and the firmware stops with a processor exception. The
    boot test has a case for it, `:no-option-17`.
    ");
    shows!(project, ["help", "option-171"], @"
    exit code 2, stderr:
    error: found no command and no topic `option-171`
    hint: `cargo xtask help` lists both
    ");
}

fn completions() -> Result<(), String> {
    let bash = skip::program("bash")?;
    let script = Project::cold().run(["completions", "bash"]).success().stdout;
    let status = Command::new(bash).args(["-n", "-c", &script]).status().unwrap();
    assert!(status.success() && script.contains("--ipxe-url"));
    // An alias for cargo's, and an installed program.
    let folder = tempfile::tempdir().unwrap();
    let installed = Command::new(install(folder.path())).args(["completions", "bash"]).output().unwrap();
    // A file that was downloaded a second time.
    let again = folder.path().join("netboot-loaders (1)");
    std::fs::copy(install(folder.path()), &again).unwrap();
    let ran = Command::new(again).args(["completions", "bash"]).output().unwrap();
    let error = "error: shells complete no program of the name 'netboot-loaders (1)'\n\
                 hint: rename it: to letters, digits, `-`, `_` and `.`\n";
    assert_eq!((ran.status.code(), &*String::from_utf8_lossy(&ran.stderr)), (Some(3), error));
    for (name, script) in [("xtask", script), ("netboot-loaders", String::from_utf8(installed.stdout).unwrap())] {
        assert_eq!(completed(&script, &[name, "dep"]), "deploy\n");
        assert_eq!(completed(&script, &[name, "docs", "--ma"]), "--man\n");
        assert_eq!(completed(&script, &[name, "boot-test", "--ne"]), "--network\n");
    }
    Ok(())
}

/// Returns what bash completes the last of `words` to, by the completions in `script`.
fn completed(script: &str, words: &[&str]) -> String {
    let (last, before) = (words.len() - 1, words[words.len() - 2]);
    let (name, word) = (words[0], words[last]);
    let script = format!(
        "{script}\nCOMP_WORDS=({}); COMP_CWORD={last}\n\
         $(complete -p {name} | sed 's/.* -F \\([^ ]*\\) .*/\\1/') {name} {word} {before}; echo \"${{COMPREPLY[*]}}\"",
        words.join(" ")
    );
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Installs the program in `folder` under its own name, and returns its path.
fn install(folder: &Path) -> PathBuf {
    let program = folder.join("netboot-loaders");
    // Another process copies it: a program that this one had open for writing could be busy in a child of another test.
    assert!(Command::new("cp").arg(xtask()).arg(&program).status().unwrap().success());
    program
}

/// A program installed under another name, in a folder without a repository, does not mention cargo.
fn installed() {
    let folder = tempfile::tempdir().unwrap();
    let program = install(folder.path());
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
    let page = run(&["help", "exit-codes"]).success().stdout;
    assert!(page.contains(" of every `netboot-loaders` command"), "{page}");
    assert!(run(&["docs", "--man", "man"]).success().stdout.contains(" man pages in "));
    let mut pages = 0;
    for page in std::fs::read_dir(empty.join("man")).unwrap() {
        let page = page.unwrap();
        let (name, text) = (page.file_name().into_string().unwrap(), std::fs::read_to_string(page.path()).unwrap());
        assert!(name.starts_with("netboot-loaders") && name.ends_with(".1"), "{name}");
        assert!(text.contains("\n.SH SYNOPSIS\n\\fBnetboot\\-loaders") && !text.contains("xtask"), "{name}: {text}");
        pages += 1;
    }
    assert!(pages > 30 && empty.join("man/netboot-loaders-mirror-flatcar.1").is_file(), "{pages}");
    let completions = run(&["completions", "bash"]).success().stdout;
    assert!(completions.contains(" netboot-loaders\n") && !completions.contains("xtask"));
    let arguments = ["mirror", "flatcar", "--dest", "/srv/flatcar", "--print-schedule", "systemd"];
    let schedule = run(&arguments).success().stdout;
    assert!(schedule.contains(&format!("\nExecStart={} --quiet mirror ", program.display())), "{schedule}");
}
