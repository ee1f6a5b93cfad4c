//! What a real sshd does to a deployment that is not to be: each gets its message, and nothing is done. Where sshd is
//! not installed, every test here says that it was skipped.

use std::os::unix::fs::PermissionsExt;

use camino::Utf8Path;
use netboot_fixtures::project::{Project, Ran};
use netboot_fixtures::skip;
use netboot_fixtures::sshd::{ALIAS, SFTP, Server, deploy, project};

netboot_fixtures::tests! {
    with project;
    keys,
    nobody,
    full,
    ; slow:
    words,
    rights,
    no_sftp,
}

fn keys(project: &Project) {
    let server = Server::start(project, "sshd", SFTP);
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
             with what it shows itself, then forget the old key with `ssh-keygen -R '[127.0.0.1]:{}'`\n",
            server.port
        )),
        "{error}"
    );
    server.write_client_config("", "user");
    let error = deploy(project, &server, &folder, &[]).error(5);
    assert_eq!(
        error,
        format!(
            "the host key of `127.0.0.1` is not known, and nobody has accepted it\n  \
             | No ED25519 host key is known for {ALIAS} and you have requested strict checking.\n  \
             | Host key verification failed.\n\
             hint: connect once with `ssh -p {} {}@127.0.0.1`, and compare the fingerprint that it shows\n",
            server.port, server.user
        )
    );
    assert!(!folder.exists() && !project.path("served").exists());
}

fn rights(project: &Project) {
    let server = Server::start(project, "sshd", "internal-sftp -R");
    let folder = project.path("served/tftp");
    let (user, port) = (&server.user, server.port);
    server.write_client_config("host", "other");
    assert_eq!(
        deploy(project, &server, &folder, &[]).error(5),
        format!(
            "`{user}@127.0.0.1` cannot log in\n  | {user}@127.0.0.1: Permission denied (publickey).\n\
             hint: see that `ssh -p {port} {user}@127.0.0.1` gets in; a key of its own is named with `--ssh-option IdentityFile=FILE`\n"
        )
    );
    server.write_client_config("host", "user");
    let denied = |action: &str, path: &str| {
        format!(
            "cannot {action} `{path}` on `{user}@127.0.0.1`: permission denied\n\
             hint: let this user write there; RouterOS wants the policies `ftp` and `write` in the user's group\n"
        )
    };
    let error = deploy(project, &server, &folder, &[]).error(1);
    assert_eq!(error, denied("make the folder", project.path("served").as_str()));
    std::fs::create_dir_all(&folder).unwrap();
    let error = deploy(project, &server, &folder, &[]).error(1);
    assert_eq!(error, denied("write", folder.join("netboot-loaders-deployed.json.partial").as_str()));
    // A key of its own, and a plan, need no right to write.
    let key = format!("IdentityFile={}", project.path("sshd/user"));
    server.write_client_config("host", "other");
    deploy(project, &server, &folder, &["--dry-run", "--ssh-option", &key]).success();
}

fn no_sftp(project: &Project) {
    let server = Server::start(project, "sshd", "");
    let folder = project.path("served/tftp");
    assert_eq!(
        deploy(project, &server, &folder, &[]).error(5),
        format!(
            "`{}@127.0.0.1` has no SFTP on the server\n  | subsystem request failed on channel 0\n\
             hint: RouterOS wants the policies `ssh` and `ftp` in the user's group, OpenSSH a line `Subsystem sftp internal-sftp`\n",
            server.user
        )
    );
    let server = Server::start(project, "chatty", "echo Welcome to this machine");
    assert_eq!(
        deploy(project, &server, &folder, &[]).error(5),
        format!(
            "`127.0.0.1` sends something else than SFTP: found `Welcome to this machine`\n\
             hint: a login script that prints something can be the cause: see what `ssh -p {} {}@127.0.0.1 true` prints\n",
            server.port, server.user
        )
    );
}

fn nobody(project: &Project) {
    let mut server = Server::start(project, "sshd", SFTP);
    let port = server.stop();
    let error = deploy(project, &server, "/tftp".into(), &[]).error(5);
    assert_eq!(
        error,
        format!(
            "`127.0.0.1` cannot be reached\n  | ssh: connect to host 127.0.0.1 port {port}: Connection refused\n\
             hint: check the address, and that SSH is on there\n"
        )
    );
    let error = deploy(project, &server, "/tftp".into(), &["--ssh-option", "Nonsense=yes"]).error(5);
    assert!(
        error.starts_with(
            "`ssh` does not connect with `127.0.0.1`\n  | command-line: line 0: Bad configuration option: nonsense\n"
        ),
        "{error}"
    );
}

/// Where distributions put OpenSSH's SFTP server.
const SFTP_SERVER: [&str; 3] =
    ["/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server"];

fn sftp_server() -> Result<&'static str, String> {
    let found = SFTP_SERVER.into_iter().find(|path| Utf8Path::new(path).is_file());
    found.ok_or_else(|| "sftp-server is not installed".to_owned())
}

/// Deploys into `folder` through something that takes ssh's arguments, and does `script`.
fn through(project: &Project, script: &str, folder: &Utf8Path) -> Ran {
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
    let ran = through(project, &format!("{said}; sleep 1; exec {}", sftp_server().unwrap()), &folder).success();
    let warning = "warning: `ssh` says\n  | \\u{1b}[2Jhello\n  | hint: send me your key\n";
    assert!(ran.stderr.contains(warning), "{}", ran.stderr);
    // Nor is all of it kept, where there is no end of it.
    let said = "yes blah | head -n 9000 >&2";
    let ran = through(project, &format!("{said}; sleep 1; exec {}", sftp_server().unwrap()), &folder).success();
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
    let hint = "\nhint: free space there, and run the command again: it goes on from where it was\n";
    assert!(error.ends_with(hint), "{error}");
    Ok(())
}
