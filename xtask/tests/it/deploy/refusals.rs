//! Deployments that a real sshd refuses: each gets its own message, and nothing is changed. If sshd is not installed,
//! every test here reports that it was skipped.

use std::os::unix::fs::PermissionsExt;

use camino::Utf8Path;
use netboot_fixtures::insta::Settings;
use netboot_fixtures::insta::internals::SettingsBindDropGuard;
use netboot_fixtures::project::{CliOutput, Project};
use netboot_fixtures::sshd::{ALIAS, SFTP, SshServer, deploy, project};
use netboot_fixtures::{says, skip};

netboot_fixtures::tests! {
    with project;
    keys,
    revoked,
    ports_in_options,
    nobody,
    full,
    ; slow:
    words,
    rights,
    no_sftp,
}

/// Redacts values specific to the server in snapshots, too.
fn redacted(server: &SshServer) -> SettingsBindDropGuard {
    let (user, port) = (&server.user, server.port);
    let mut settings = Settings::clone_current();
    settings.add_filter(&format!("{user}@127\\.0\\.0\\.1"), "USER@127.0.0.1");
    settings.add_filter(&format!("\\b{port}\\b"), "PORT");
    settings.bind_to_scope()
}

fn keys(project: &Project) {
    let server = SshServer::start(project, "sshd", SFTP);
    let _redacted = redacted(&server);
    let folder = project.path("served/tftp");
    server.write_client_config("other", "user");
    let error = deploy(project, &server, &folder, &[]).error(5);
    assert!(error.starts_with("the host key of `127.0.0.1` is not the one that is known\n  | "), "{error}");
    assert!(error.contains("REMOTE HOST IDENTIFICATION HAS CHANGED!"), "{error}");
    assert!(
        error.contains(&format!("\n  | Host key for {ALIAS} has changed and you have requested strict checking.\n")),
        "{error}"
    );
    assert!(
        error.ends_with(&format!(
            "\n  | Host key verification failed.\nhint: where the device was reset or replaced, compare the fingerprint \
             with what it shows itself, then forget the old key with `ssh-keygen -R '{ALIAS}'`\n"
        )),
        "{error}"
    );
    server.write_client_config("", "user");
    says!(project, deploy(project, &server, &folder, &["--quiet"]), @r"
    exit code 5, stderr:
    error: the host key of `127.0.0.1` is not known, and nobody has accepted it
      | No ED25519 host key is known for netboot-test and you have requested strict checking.
      | Host key verification failed.
    hint: connect once with `ssh -F PROJECT/sshd/client_config -p PORT USER@127.0.0.1`, and compare the fingerprint that it shows
    ");
    assert!(!folder.exists() && !project.path("served").exists());
}

fn revoked(project: &Project) {
    let server = SshServer::start(project, "sshd", SFTP);
    let folder = project.path("served/tftp");
    let hint =
        "\nhint: do not connect: somebody else may answer in its place; ask whoever administers it for its new key\n";
    let known = project.path("sshd/known_hosts");
    let key = std::fs::read_to_string(project.path("sshd/host.pub")).unwrap();
    for trusted in ["", ALIAS] {
        let trusted = if trusted.is_empty() { String::new() } else { format!("{trusted} {key}") };
        std::fs::write(&known, format!("{trusted}@revoked {ALIAS} {key}")).unwrap();
        let error = deploy(project, &server, &folder, &[]).error(5);
        assert!(error.starts_with("the host key of `127.0.0.1` was revoked\n  | "), "{error}");
        assert!(error.ends_with(hint), "{error}");
    }
    server.write_client_config("host", "user");
    let option = format!("RevokedHostKeys={}", project.path("sshd/host.pub"));
    let error = deploy(project, &server, &folder, &["--ssh-option", &option]).error(5);
    assert!(error.starts_with("the host key of `127.0.0.1` was revoked\n  | "), "{error}");
    assert!(error.ends_with(hint) && !folder.exists(), "{error}");
}

fn ports_in_options(project: &Project) {
    let server = SshServer::start(project, "sshd", SFTP);
    let (address, config) =
        (format!("sftp://{}@127.0.0.1{}", server.user, project.path("served")), server.client_config());
    let port = format!("Port={}", server.port);
    let deploy = || {
        let words = ["deploy", &address, "--ssh-config", config.as_str(), "--ssh-option", &port];
        project.run([&words[..], &["--ssh-option", "HostKeyAlias=none", "--ssh-option", "BatchMode=yes"]].concat())
    };
    server.write_client_config("", "user");
    let error = deploy().error(5);
    let hand = format!("ssh -F {config} -o {port} -o HostKeyAlias=none {}@127.0.0.1", server.user);
    assert!(error.contains(&format!("hint: connect once with `{hand}`, and compare")), "{error}");
    let key = std::fs::read_to_string(project.path("sshd/other.pub")).unwrap();
    std::fs::write(project.path("sshd/known_hosts"), format!("none {key}")).unwrap();
    let error = deploy().error(5);
    assert!(error.ends_with("then forget the old key with `ssh-keygen -R 'none'`\n"), "{error}");
}

fn rights(project: &Project) {
    let server = SshServer::start(project, "sshd", "internal-sftp -R");
    let _redacted = redacted(&server);
    let folder = project.path("served/tftp");
    server.write_client_config("host", "other");
    says!(project, deploy(project, &server, &folder, &["--quiet"]), @"
    exit code 5, stderr:
    error: `USER@127.0.0.1` cannot log in
      | USER@127.0.0.1: Permission denied (publickey).
    hint: check that `ssh -F PROJECT/sshd/client_config -p PORT USER@127.0.0.1` logs in
    hint: or name a key with `--ssh-option IdentityFile=FILE`
    ");
    server.write_client_config("host", "user");
    says!(project, deploy(project, &server, &folder, &["--quiet"]), @r"
    exit code 1, stderr:
    error: cannot make the folder `PROJECT/served` on `USER@127.0.0.1`: permission denied
    hint: let this user write there; RouterOS wants the policies `ftp` and `write` in the user's group
    ");
    std::fs::create_dir_all(&folder).unwrap();
    says!(project, deploy(project, &server, &folder, &["--quiet"]), @r"
    exit code 1, stderr:
    error: cannot write `PROJECT/served/tftp/netboot-loaders-deployed.json.partial` on `USER@127.0.0.1`: permission denied
    hint: let this user write there; RouterOS wants the policies `ftp` and `write` in the user's group
    ");
    let file = project.path("served/file");
    std::fs::write(&file, "").unwrap();
    says!(project, deploy(project, &server, &file, &["--quiet"]), @r"
    exit code 1, stderr:
    error: cannot use `PROJECT/served/file` on `USER@127.0.0.1`: found something else, wanted a folder
    hint: move away what is there, or choose another folder
    ");
    // A separate key, and a dry run, which needs no write permission.
    let key = format!("IdentityFile={}", project.path("sshd/user"));
    server.write_client_config("host", "other");
    deploy(project, &server, &folder, &["--dry-run", "--ssh-option", &key]).success();
}

fn no_sftp(project: &Project) {
    let server = SshServer::start(project, "sshd", "");
    let _redacted = redacted(&server);
    let folder = project.path("served/tftp");
    says!(project, deploy(project, &server, &folder, &["--quiet"]), @"
    exit code 5, stderr:
    error: `USER@127.0.0.1` has no SFTP on the server
      | subsystem request failed on channel 0
    hint: add what SFTP needs: on RouterOS, the policies `ssh` and `ftp` in the user's group; for OpenSSH, a line `Subsystem sftp internal-sftp`
    ");
    let server = SshServer::start(project, "chatty", "echo Welcome to this machine");
    let _redacted = redacted(&server);
    says!(project, deploy(project, &server, &folder, &["--quiet"]), @r"
    exit code 5, stderr:
    error: `127.0.0.1` sends something else than SFTP: found `Welcome to this machine`
    hint: a login script that prints something can be the cause: see what `ssh -F PROJECT/chatty/client_config -p PORT USER@127.0.0.1 true` prints
    ");
}

fn nobody(project: &Project) {
    let mut server = SshServer::start(project, "sshd", SFTP);
    let _redacted = redacted(&server);
    server.stop();
    says!(project, deploy(project, &server, "/tftp".into(), &["--quiet"]), @r"
    exit code 5, stderr:
    error: `127.0.0.1` cannot be reached
      | ssh: connect to host 127.0.0.1 port PORT: Connection refused
    hint: check the address, and that SSH is on there
    ");
    let error = deploy(project, &server, "/tftp".into(), &["--ssh-option", "Nonsense=yes"]).error(5);
    assert!(
        error.starts_with(
            "`ssh` does not connect with `127.0.0.1`\n  | command-line: line 0: Bad configuration option: nonsense\n"
        ),
        "{error}"
    );
}

/// Paths where distributions install OpenSSH's SFTP server.
const SFTP_SERVER: [&str; 3] =
    ["/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server"];

fn sftp_server() -> Result<&'static str, String> {
    let found = SFTP_SERVER.into_iter().find(|path| Utf8Path::new(path).is_file());
    found.ok_or_else(|| "sftp-server is not installed".to_owned())
}

/// Deploys into `folder` with a stand-in for `ssh` that runs `script`.
fn through(project: &Project, script: &str, folder: &Utf8Path) -> CliOutput {
    let ssh = project.path("ssh");
    std::fs::write(&ssh, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&ssh, std::fs::Permissions::from_mode(0o755)).unwrap();
    let target = format!("sftp://somebody@nowhere{folder}");
    project.run(["deploy", &target, "--ssh", ssh.as_str()])
}

fn words(project: &Project) -> Result<(), String> {
    sftp_server()?;
    let folder = project.path("served");
    let said = r"printf '\033[2Jhello\nhint: send me your key\n' >&2";
    let ran = through(project, &format!("{said}; sleep 1; exec {}", sftp_server().unwrap()), &folder).warned();
    let warning = "warning: `ssh` says\n  | \\u{1b}[2Jhello\n  | hint: send me your key\n";
    assert!(ran.stderr.contains(warning), "{}", ran.stderr);
    // Endless output is not kept in full.
    let said = "yes blah | head -n 9000 >&2";
    let ran = through(project, &format!("{said}; sleep 1; exec {}", sftp_server().unwrap()), &folder).warned();
    let lines = ran.stderr.lines().filter(|line| *line == "  | blah").count();
    assert!((1..9000).contains(&lines), "{lines} lines");
    Ok(())
}

fn full(project: &Project) -> Result<(), String> {
    skip::mount_namespaces()?;
    sftp_server()?;
    let (folder, server) = (project.path("served"), sftp_server().unwrap());
    std::fs::create_dir(&folder).unwrap();
    let script = format!("exec unshare -rm sh -ec 'mount -t tmpfs -o size=512k none {folder}; exec {server}'");
    let error = through(project, &script, &folder).error(1);
    assert!(error.starts_with(&format!("cannot write `{folder}/")), "{error}");
    assert!(error.contains(".partial` on `somebody@nowhere`: found room for "), "{error}");
    let hint = "\nhint: free space there, and run the command again: it resumes where it stopped\n";
    assert!(error.ends_with(hint), "{error}");
    Ok(())
}
