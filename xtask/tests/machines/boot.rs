//! Real machines boot the distribution's syslinux loaders over real DHCP, TFTP and HTTP. Failures are reported and
//! leave no process running. If machines or user namespaces are not available, every test here reports that it was
//! skipped, and why.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use camino::Utf8Path;
use netboot_fixtures::project::{CliOutput, Project, installed, rewrite_manifest};
use netboot_fixtures::skip;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

netboot_fixtures::tests! {
    with project;
    boots,
    second_part,
    panics,
    without_dnsmasq,
    changed,
    secure,
    foreign,
    interrupted,
}

/// Returns a project with a tree and a tarball of the distribution's syslinux loaders, or the reason why they cannot
/// boot.
fn project() -> Result<Project, String> {
    let members = installed()?;
    skip::machines()?;
    let project = Project::with(&members);
    project.sites("[default]\nloaders = []\n[syslinux]\nmembers = [\"lpxelinux.0\", \"ldlinux.c32\", \"syslinux.efi\", \"ldlinux.e64\"]\n");
    project.build(&["--archive"]).success();
    Ok(project)
}

fn boot(project: &Project, arguments: &[&str]) -> CliOutput {
    project.run([&["boot-test"], arguments].concat())
}

fn report(project: &Project) -> Value {
    serde_json::from_slice(&project.read("dist/boot-test/report.json")).unwrap()
}

fn boots(project: &Project) {
    let tarball = project.path(&format!("dist/netboot-loaders-{}-tftp.tar.gz", env!("CARGO_PKG_VERSION")));
    let ran = boot(project, &[tarball.as_str()]).success();
    assert!(ran.stdout.contains("boot-test: 3 passed, 0 failed, 0 skipped"), "{}", ran.stdout);
    let report = report(project);
    assert_eq!(report["subject"], tarball.as_str());
    let names = ["lpxelinux.0", "syslinux.efi", "syslinux.efi:another-web-server"];
    for (case, name) in report["cases"].as_array().unwrap().iter().zip(names) {
        assert_eq!((&case["name"], &case["outcome"]), (&name.into(), &"passed".into()), "{case:#}");
        let phases: Vec<&str> =
            case["phases"].as_array().unwrap().iter().map(|phase| phase["phase"].as_str().unwrap()).collect();
        let whole = ["address", "loader", "script", "kernel", "initrd", "userland", "off"];
        assert_eq!(phases, if name.contains(':') { &whole[..3] } else { &whole[..] }, "{name}");
        let folder = format!("dist/boot-test/{}", case["evidence"].as_str().unwrap());
        assert!(project.read(&format!("{folder}/screen.png")).starts_with(b"\x89PNG\r\n"), "{name}");
        let log = String::from_utf8(project.read(&format!("{folder}/servers.log"))).unwrap();
        assert!(["DHCPACK(", "sent /", "GET http://192.0.2."].iter().all(|word| log.contains(word)), "{log}");
    }
    let console = String::from_utf8(project.read("dist/boot-test/cases/lpxelinux.0/console.txt")).unwrap();
    // lpxelinux.0 gets its kernel from another address than the TFTP server's.
    for words in ["Loading http://192.0.2.2/vmlinuz", "Linux version ", "netboot-loaders: userland "] {
        assert!(console.contains(words), "{words} is not in:\n{console}");
    }
    let page = String::from_utf8(project.read("dist/boot-test/report.html")).unwrap();
    assert_eq!(page.matches("<img class=\"screen\"").count(), 3);
}

fn second_part(project: &Project) {
    std::fs::remove_file(project.tree().join("ldlinux.c32")).unwrap();
    rewrite_manifest(&project.tree());
    let error =
        boot(project, &["--loader", "lpxelinux.0", "--attempts", "1"]).printed("FAILED   lpxelinux.0 ").error(10);
    let wanted = "it asked for `ldlinux.c32` over TFTP, which is not in the tree\n";
    assert!(error.contains("Failed to load ldlinux") && error.contains(wanted), "{error}");
}

fn panics(project: &Project) {
    let ran = boot(project, &["--case", "syslinux.efi", "--append", "rdinit=/nowhere"]);
    // The second attempt fails, too, and the first one is reported as well.
    assert!(ran.stdout.contains("\nTRIED AGAIN: syslinux.efi: the kernel panicked: "), "{}", ran.stdout);
    let error = ran.printed("FAILED   syslinux.efi ").error(10);
    assert!(error.contains("`syslinux.efi`: the kernel panicked: `"), "{error}");
    assert!(error.contains("Kernel panic - not syncing"), "{error}");
    let report = report(project);
    assert_eq!(report["cases"][0]["outcome"], "failed");
    let first = report["cases"][0]["earlier"][0]["evidence"].as_str().unwrap();
    assert!(!project.read(&format!("dist/boot-test/{first}/console.txt")).is_empty());
}

fn without_dnsmasq(project: &Project) {
    // Hides dnsmasq from this one process, in its own mount namespace.
    let hide = "for folder in /usr/local/sbin /usr/local/bin /usr/sbin /usr/bin /sbin /bin; do \
                if [ -e $folder/dnsmasq ]; then mount --bind /dev/null $folder/dnsmasq; fi; done; exec \"$@\"";
    let inner = project.command(["boot-test"]);
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", hide, "sh"]);
    command.arg(inner.get_program()).args(inner.get_args()).env_remove("CARGO_MANIFEST_DIR").stdin(Stdio::null());
    let error = CliOutput::from(command.output().unwrap()).error(4);
    assert!(error.starts_with("found no usable `dnsmasq` (answers its DHCP and TFTP): "), "{error}");
    assert!(error.contains("\nhint: install it with `sudo ") && error.contains(" dnsmasq"), "{error}");
}

fn changed(project: &Project) {
    let loader = project.tree().join("syslinux.efi");
    let mut content = std::fs::read(&loader).unwrap();
    content[5000] ^= 1;
    std::fs::write(loader, content).unwrap();
    let error = boot(project, &[]).error(8);
    assert!(error.contains("\n  `syslinux.efi` has changed: found "), "{error}");
    assert!(!project.path("dist/boot-test").exists());
}

fn secure(project: &Project) {
    project.write("embed-scripts/url.ipxe", "#!ipxe\ndhcp && chain {{ boot_url }}\n");
    project.sites(
        "[default]\nloaders = [\"ipxe.efi\"]\nscript = \"url.ipxe\"\nvars = { boot_url = \"https://192.0.2.10/a\" }\n",
    );
    project.build(&[]).warned();
    let skipped = "ipxe.efi: `https://192.0.2.10/a` needs a certificate that the loader trusts, and none was given\n";
    let ran = boot(project, &["--case", "ipxe.efi"]).success();
    assert!(ran.stdout.contains(&format!("\nSKIPPED: {skipped}")), "{}", ran.stdout);
    let error = boot(project, &["--case", "ipxe.efi", "--require-real"]).printed("SKIPPED").error(10);
    assert!(error.starts_with("`ipxe.efi` was skipped: `https://"), "{error}");
    let error = boot(project, &["--site", "gone"]).error(3);
    assert!(error.starts_with("found no `gone` as asked for in `"), "{error}");
}

fn foreign(project: &Project) {
    project.write("mine/report.json", "{ \"tool\": \"another\" }\n");
    project.write("mine/cases/2024/notes.txt", "keep me\n");
    let mine = project.path("mine");
    let error = boot(project, &["--report", mine.as_str()]).error(1);
    assert!(error.starts_with(&format!("`{mine}` is not empty, and no report of a boot test\n")), "{error}");
    assert_eq!(project.read("mine/cases/2024/notes.txt"), b"keep me\n");
    assert_eq!(project.read("mine/report.json"), b"{ \"tool\": \"another\" }\n");
}

fn interrupted(project: &Project) {
    for (signal, code) in [(Signal::INT, Some(130)), (Signal::KILL, None)] {
        let scratch = project.path(&format!("scratch-{}", signal.as_raw()));
        std::fs::create_dir(&scratch).unwrap();
        let mut command = project.command(["boot-test", "--jobs", "2"]);
        let mut child = command.env("TMPDIR", &scratch).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Two machines and two DHCP servers.
        wait("machines and servers are there", &mut child, || processes(&scratch) >= 4);
        kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), code);
        wait("machines and servers are gone", &mut child, || processes(&scratch) == 0);
        if code.is_some() {
            assert_eq!(std::fs::read_dir(&scratch).unwrap().count(), 0, "nothing stays below {scratch}");
        }
    }
}

/// Returns the number of processes that work in `folder` or name it.
fn processes(folder: &Utf8Path) -> usize {
    let own = std::process::id().to_string();
    let works_there = |process: &std::path::Path| {
        let command = std::fs::read(process.join("cmdline")).unwrap_or_default();
        let named = String::from_utf8_lossy(&command).contains(folder.as_str());
        named || std::fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder))
    };
    let entries = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    entries.filter(|entry| entry.file_name().to_str() != Some(&own)).filter(|entry| works_there(&entry.path())).count()
}

fn wait(what: &str, child: &mut Child, done: impl Fn() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "waited for a minute until {what}: {:?}",
            child.try_wait()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}
