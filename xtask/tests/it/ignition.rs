//! Starter configurations for Ignition, validated against the published schema.

use std::os::unix::fs::PermissionsExt;

use netboot_fixtures::limits;
use netboot_fixtures::project::{CliOutput, Project};
use netboot_fixtures::{says, shows};
use serde_json::Value;

netboot_fixtures::tests! {
    a_starter_is_what_the_schema_takes,
    a_starter_is_written_where_it_is_asked_for,
    a_host_can_be_of_a_site_of_an_inventory_elsewhere,
    what_is_wrong_with_a_starter_is_said,
    what_a_machine_would_refuse_is_refused_with_its_line,
    a_butane_file_goes_through_butane,
    json_keeps_its_meaning_where_characters_are_escaped,
    files_that_a_butane_file_names_are_looked_for_beside_it,
    an_interrupt_is_no_mistake_in_a_butane_file,
    what_butane_says_of_a_wrong_file_is_said_and_nothing_is_written,
    without_butane_the_package_is_named,
}

const NETWORK: &str = "subnet = \"192.168.88.0/24\"\ntftp-server = \"192.168.88.1\"\nhttp-url = \"http://192.168.88.10/tftp\"\n\
    [[host]]\nname = \"master\"\nmac = \"00:50:56:00:01:01\"\nfirmware = \"uefi\"\nhostname = \"master.example.net\"\n";

/// A public key with no owner.
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f you@example.net";

fn project(ignition: &str) -> Project {
    let project = Project::new();
    project.write("embed-scripts/network.toml", &format!("{NETWORK}[ignition]\n{ignition}"));
    project
}

/// Validates `config` against the published schema. Returns the errors.
fn check(config: &Value) -> Vec<String> {
    let schema: Value =
        serde_json::from_str(include_str!("../../../fixtures/schemas/ignition-3.3.schema.json")).unwrap();
    let validator = netboot_fixtures::jsonschema::validator_for(&schema).unwrap();
    validator.iter_errors(config).map(|error| error.to_string()).collect()
}

fn a_starter_is_what_the_schema_takes() {
    let all =
        format!("ssh-keys = [\"{KEY}\"]\ntime-zone = \"Europe/Moscow\"\nconsole-log-level = 4\nautologin = true\n");
    for ignition in ["", &all] {
        let project = project(ignition);
        let ran = project.run(["ignition", "--host", "master"]).warned();
        let config: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(check(&config), Vec::<String>::new(), "{config:#}");
        assert_eq!(config["storage"]["files"][0]["contents"]["source"], "data:,master.example.net%0A");
        let warning = if ignition.is_empty() {
            "warning: nobody can log in: `ssh-keys` is empty\n"
        } else {
            "warning: `autologin` lets in whoever sees the console"
        };
        assert!(ran.stderr.starts_with(warning), "{}", ran.stderr);
    }
    // The schema does reject invalid configurations.
    assert!(!check(&serde_json::json!({ "ignition": { "version": 3 } })).is_empty());
}

fn a_host_can_be_of_a_site_of_an_inventory_elsewhere() {
    let project = project("");
    let network = NETWORK.replace("hostname", "site = \"rack-1\"\nhostname");
    project.write("embed-scripts/network.toml", &format!("{network}[ignition]\nssh-keys = [\"{KEY}\"]\n"));
    project.write("embed-scripts/root-path.ipxe", "#!ipxe\ndhcp && chain ${root-path}\n");
    project.sites("[default]\nloaders = [\"ipxe.efi\"]\nscript = \"root-path.ipxe\"\n");
    project.write("elsewhere/racks.csv", "name\nrack-1\n");
    let error = project.run(["ignition", "--host", "master"]).error(3);
    assert!(error.contains("rack-1"), "{error}");
    let racks = project.path("elsewhere/racks.csv");
    let ran = project.run(["ignition", "--host", "master", "--sites", racks.as_str()]).success();
    assert!(ran.stdout.contains("master.example.net"), "{}", ran.stdout);
}

fn a_starter_is_written_where_it_is_asked_for() {
    let project = project(&format!("ssh-keys = [\"{KEY}\"]\n"));
    let out = project.path("master.ign");
    shows!(project, ["ignition", "--out", out.as_str()], @r"
    exit code 0, stdout:
    PROJECT/master.ign
    ");
    let config: Value = serde_json::from_slice(&project.read("master.ign")).unwrap();
    assert_eq!(config["passwd"]["users"][0]["sshAuthorizedKeys"][0], KEY);
}

fn what_is_wrong_with_a_starter_is_said() {
    let project = project(
        "ssh-keys = [\"-----BEGIN OPENSSH PRIVATE KEY-----\"]\ntime-zone = \"../etc\"\nconsole-log-level = 9\nautologin = 1\n",
    );
    shows!(project, ["ignition"], @r"
    exit code 3, stderr:
    error: PROJECT/embed-scripts/network.toml:10: `ignition.ssh-keys`: found `-----BEGIN OPENSSH PRIVA`…, wanted a public key as in `ssh-ed25519 AAAA… name`
      hint: copy the line of a file like id_ed25519.pub
    PROJECT/embed-scripts/network.toml:11: `ignition.time-zone`: found the time zone `../etc`, wanted a name of the tz database as in `Europe/Moscow`
      hint: take a name of the tz database, as `timedatectl list-timezones` prints them
    PROJECT/embed-scripts/network.toml:12: `ignition.console-log-level`: found 9, wanted 0 to 8
      hint: 4 shows errors and what is worse, 5 warnings as well
    PROJECT/embed-scripts/network.toml:13: `ignition.autologin`: found integer, wanted true or false
      hint: write true or false
    ");
    let text = format!("{NETWORK}[ignition]\nssh-keys = [\"{KEY}\\u202e\"]\ntime-zone = \"it's\"\n");
    shows!(project.write("embed-scripts/network.toml", &text), ["ignition"], @r"
    exit code 3, stderr:
    error: PROJECT/embed-scripts/network.toml:10: `ignition.ssh-keys`: has `\u{202e}`, wanted one line without characters that are invisible or change the direction of text
      hint: copy the line of a file like id_ed25519.pub
    PROJECT/embed-scripts/network.toml:11: `ignition.time-zone`: found the time zone `it's`, wanted a name of the tz database as in `Europe/Moscow`
      hint: take a name of the tz database, as `timedatectl list-timezones` prints them
    ");
    shows!(project.write("embed-scripts/network.toml", NETWORK), ["ignition"], @r#"
    exit code 3, stderr:
    error: there is no table `[ignition]` in `PROJECT/embed-scripts/network.toml`
    hint: write there who may log in, as in ssh-keys = ["ssh-ed25519 AAAA… name"]
    "#);
    shows!(project, ["ignition", "--host", "slave"], @"
    exit code 3, stderr:
    error: there is no [[host]] `slave` in `PROJECT/embed-scripts/network.toml`
    hint: name one of `master`
    ");
}

fn what_a_machine_would_refuse_is_refused_with_its_line() {
    let other = KEY.replace("you@", "me@").replace(' ', "  ");
    let project = project(&format!("ssh-keys = [\n  \"{KEY}\",\n  \"{other}\",\n]\ntime-zone = \"europe/moscow\"\n"));
    let long = format!("{}.{}", "a".repeat(31), "b".repeat(33));
    let network = String::from_utf8(project.read("embed-scripts/network.toml")).unwrap();
    let text = network.replace("master.example.net", &long);
    shows!(project.write("embed-scripts/network.toml", &text), ["ignition"], @r"
    exit code 3, stderr:
    error: PROJECT/embed-scripts/network.toml:8: `host.hostname`: found a host name of 65 letters, wanted at most 64, which Linux has
      hint: write it as in DNS
    PROJECT/embed-scripts/network.toml:12: `ignition.ssh-keys`: has the key of line 11 again
      hint: remove one of them
    PROJECT/embed-scripts/network.toml:14: `ignition.time-zone`: found the time zone `europe/moscow`, wanted `Europe/Moscow`: case matters
      hint: take a name of the tz database, as `timedatectl list-timezones` prints them
    ");
    project.write(
        "embed-scripts/network.toml",
        &network
            .replace("master.example.net", &long[1..])
            .replace(&other, "")
            .replace(",\n  \"\",", "")
            .replace("europe/moscow", "Europe/Moscow"),
    );
    project.run(["ignition", "--host", "master"]).success();
}

/// Passes `a b.bu` to a stand-in for Butane that runs `script`; without a script, Butane is missing.
fn butane(project: &Project, script: Option<&str>, more: &[&str]) -> CliOutput {
    let folder = project.path("bin");
    std::fs::create_dir_all(&folder).unwrap();
    if let Some(script) = script {
        std::fs::write(folder.join("butane"), format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(folder.join("butane"), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    project.write("a b.bu", "variant: fcos\nversion: 1.4.0\n");
    let mut command = project.command([&["ignition", "--butane", "a b.bu"], more].concat());
    CliOutput::from(command.current_dir(&project.root).env("PATH", folder).output().unwrap())
}

fn a_butane_file_goes_through_butane() {
    let project = project("");
    let script = r#"printf '{\n  "ignition": { "version": "3.3.0" },\n  "args": "%s"\n}\n' "$*""#;
    says!(project, butane(&project, Some(script), &[]), @r#"
    exit code 0, stdout:
    {
      "ignition": { "version": "3.3.0" },
      "args": "--strict --pretty --files-dir PROJECT PROJECT/a b.bu"
    }
    "#);
    let printed = butane(&project, Some(script), &[]).stdout;
    let out = project.path("a.ign");
    says!(project, butane(&project, Some(script), &["--out", out.as_str()]), @r"
    exit code 0, stdout:
    PROJECT/a.ign
    ");
    assert_eq!(project.read("a.ign"), printed.as_bytes());
}

fn json_keeps_its_meaning_where_characters_are_escaped() {
    let project = project("");
    let script = "printf '{\\n\\t\"a\": \"\u{200c}\u{202e}\u{e0041}ü\"\\n}\\n'";
    let ran = butane(&project, Some(script), &[]).success();
    assert_eq!(ran.stdout, "{\n\t\"a\": \"\\u200c\\u202e\\udb40\\udc41ü\"\n}\n");
    let wanted = serde_json::json!({ "a": "\u{200c}\u{202e}\u{e0041}ü" });
    assert_eq!(serde_json::from_str::<Value>(&ran.stdout).unwrap(), wanted);
    // The file contains Butane's output, byte for byte.
    let out = project.path("a.ign");
    butane(&project, Some(script), &["--out", out.as_str()]).success();
    assert_eq!(project.read("a.ign"), "{\n\t\"a\": \"\u{200c}\u{202e}\u{e0041}ü\"\n}\n".as_bytes());
}

fn files_that_a_butane_file_names_are_looked_for_beside_it() {
    let project = project("");
    project.write("machines/one two.bu", "variant: fcos\nversion: 1.4.0\n");
    project.write("machines/motd", "hello");
    // Butane reads files named with `local:` from its `--files-dir`, and refuses `local:` without that option.
    let script = r#"while [ "$1" != --files-dir ]; do shift || exit 9; done; printf '{ "motd": "%s" }\n' "$(/bin/cat "$2/motd")""#;
    butane(&project, Some(script), &[]);
    let (bin, file) = (project.path("bin"), project.path("machines/one two.bu"));
    for (folder, name) in
        [(&project.root, "machines/one two.bu"), (&bin, file.as_str()), (&bin, "../machines/one two.bu")]
    {
        let mut command = project.command(["ignition", "--butane", name]);
        let ran = CliOutput::from(command.current_dir(folder).env("PATH", &bin).output().unwrap()).success();
        assert_eq!(ran.stdout, "{ \"motd\": \"hello\" }\n", "{name}");
    }
}

/// Beginning of a configuration of earlier, which may be replaced.
const OLD: &str = "{\n  \"ignition\": {}\n}\n";

fn an_interrupt_is_no_mistake_in_a_butane_file() {
    let project = project("");
    butane(&project, Some("echo > begun; exec /bin/sleep 60"), &["--help"]);
    let mut command = project.command(["ignition", "--butane", "a b.bu"]);
    command.current_dir(&project.root).env("PATH", project.path("bin"));
    let measured = limits::interrupt(&mut command, |_| project.path("begun").exists());
    assert_eq!(measured.stderr, "error: interrupted\n");
}

fn what_butane_says_of_a_wrong_file_is_said_and_nothing_is_written() {
    let project = project("");
    let out = project.path("a.ign");
    project.write("a.ign", OLD);
    let script = "echo 'Error translating config: error at $.passwd.users.0, line 3 col 7: unused key' >&2; exit 1";
    says!(project, butane(&project, Some(script), &["--out", out.as_str()]), @r"
    exit code 1, stderr:
    error: cannot read the Butane file: `PROJECT/bin/butane` ended with exit code 1
      | Error translating config: error at $.passwd.users.0, line 3 col 7: unused key
      command: env -i PROJECT/bin/butane --strict --pretty --files-dir PROJECT 'PROJECT/a b.bu'
    hint: change the Butane file: its lines and keys are named above
    ");
    // Butane's stderr must not become part of the configuration.
    let script = "echo 'warning at $.storage' >&2; echo '{}'";
    says!(project, butane(&project, Some(script), &["--out", out.as_str()]), @r"
    exit code 1, stderr:
    error: `butane` printed something else than JSON: expected value at line 1 column 1
    hint: see what `PROJECT/bin/butane --strict --files-dir PROJECT 'PROJECT/a b.bu'` prints
    ");
    assert_eq!(project.read("a.ign"), OLD.as_bytes());
}

fn without_butane_the_package_is_named() {
    let project = project("");
    says!(project, butane(&project, None, &[]), @r"
    exit code 4, stderr:
    error: found no `butane`, which makes Ignition's configuration of a Butane file
    hint: install the package `butane`, or take its program from https://github.com/coreos/butane/releases
    ");
}
