//! HTTPS with a private certificate authority: real loaders that trust it, and nginx with a certificate that it
//! issued.

use std::process::Command;

use camino::Utf8Path;

use netboot_fixtures::harness::full;
use netboot_fixtures::project::CliOutput;
use netboot_fixtures::real::{Real, sources};
use netboot_fixtures::skip;

netboot_fixtures::tests! {
    with sources;
    trusted,
    not_trusted,
    rehearsed,
}

const SITES: &str = r#"
[default]
loaders = LOADERS
script = "robust.ipxe"
config = "https"
trust = ["other.pem", "ca.pem"]

[site.secure]
script = "url.ipxe"
vars = { boot_url = "https://192.0.2.2/boot.ipxe" }

[boot.rescue]
kind = "linux"
kernel = "https://192.0.2.2/rescue/vmlinuz"
initrd = ["https://boot.example.org:8443/rescue/initrd.img", "http://192.0.2.2/more.img"]
arguments = "quiet"
"#;

/// Extensions of the certificate for the web servers of a boot test.
const EXTENSIONS: &str = "subjectAltName=IP:192.0.2.2,DNS:boot.example.org\nextendedKeyUsage=serverAuth\n";

fn openssl(folder: &Utf8Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Creates an authority in `embed-scripts` and a server certificate `NAME-server.pem` issued by it, without the
/// authority's own certificate.
fn authority(real: &Real, name: &str) {
    let folder = real.project.join("embed-scripts");
    openssl(
        &folder,
        &format!("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={name} -keyout {name}.key -out {name}.pem"),
    );
    openssl(
        &folder,
        &format!("req -newkey rsa:2048 -nodes -subj /CN=server -keyout {name}-server.key -out {name}.csr"),
    );
    std::fs::write(folder.join("extensions"), EXTENSIONS).unwrap();
    openssl(
        &folder,
        &format!(
            "x509 -req -in {name}.csr -CA {name}.pem -CAkey {name}.key -CAcreateserial -days 2 -extfile extensions -out {name}-server.pem"
        ),
    );
}

/// Boots `cases` with servers that use the certificate `name`.
fn boot(real: &Real, name: &str, cases: &[&str]) -> CliOutput {
    let (certificate, key) = prepared(real, name);
    real.build(&[]);
    let mut arguments = vec!["boot-test", "--attempts", "1", "--tls-certificate", &certificate, "--tls-key", &key];
    arguments.extend(cases.iter().flat_map(|case| ["--case", case]));
    CliOutput::from(real.command(&arguments).output().unwrap())
}

/// Writes the configuration of the sites, and returns the certificate `name` of a server, and its key.
fn prepared(real: &Real, name: &str) -> (String, String) {
    let first = real.project.join("embed-scripts/ca.pem");
    // Another test may have left its own `ca.pem`.
    if !real.project.join("embed-scripts/stranger.pem").exists() {
        for name in ["ca", "other", "stranger"] {
            authority(real, name);
        }
        // make concatenates the files: one without a trailing newline must not run into the next one.
        let text = std::fs::read_to_string(&first).unwrap();
        std::fs::write(&first, text.trim_end()).unwrap();
    }
    let loaders = if full() { r#"["ipxe.efi", "ipxe.pxe"]"# } else { r#"["ipxe.efi"]"# };
    real.sites(&SITES.replace("LOADERS", loaders));
    let file = |ending: &str| real.project.join(format!("embed-scripts/{name}-server.{ending}")).into_string();
    (file("pem"), file("key"))
}

/// A rehearsal trusts what the site's loaders trust.
fn rehearsed(real: &Real) -> Result<(), String> {
    skip::networks()?;
    skip::program("nginx")?;
    skip::program("openssl")?;
    let run = |name: &str| {
        let (certificate, key) = prepared(real, name);
        let script = real.project.join("answer.ipxe");
        std::fs::write(&script, "#!ipxe\nexit\n").unwrap();
        let answer = format!("https://192.0.2.2/boot.ipxe={script}");
        let site = ["rehearse", "--site", "secure", "--loader", "ipxe.efi", "--answer", &answer];
        let tls = ["--tls-certificate", &certificate, "--tls-key", &key, "--record", "way.txt"];
        let source = real.sources.ipxe_git();
        let from = ["--offline", "--ipxe-url", source.as_str()];
        let mut command = real.command(&[&site[..], &tls, &from, Real::compiled_once()].concat());
        command.current_dir(&real.project).output().unwrap();
        std::fs::read_to_string(real.project.join("way.txt")).unwrap()
    };
    let way = run("ca");
    assert!(
        way.contains("GET https://192.0.2.2/boot.ipxe: 200, ") && way.ends_with("\nreturns to the firmware\n"),
        "{way}"
    );
    let way = run("stranger");
    assert!(way.contains("failed: Permission denied\n") && !way.contains("GET https:"), "{way}");
    Ok(())
}

/// For one platform, or for both.
fn trusted(real: &Real) -> Result<(), String> {
    skip::machines()?;
    skip::program("nginx")?;
    skip::program("openssl")?;
    let cases = ["sites/secure/ipxe.efi", "ipxe.efi:boot-rescue", "sites/secure/ipxe.pxe", "ipxe.pxe:boot-rescue"];
    let cases = if full() { &cases[..] } else { &cases[..2] };
    let ran = boot(real, "ca", cases).success();
    assert!(ran.stdout.contains(&format!("boot-test: {} passed, 0 failed, 0 skipped", cases.len())), "{}", ran.stdout);
    let last = if full() { "sites-secure-ipxe.pxe" } else { "sites-secure-ipxe.efi" };
    let log = real.project.join(format!("dist/boot-test/cases/{last}/servers.log"));
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains(" GET https://192.0.2.2/boot.ipxe: 200, "), "{log}");
    Ok(())
}

fn not_trusted(real: &Real) -> Result<(), String> {
    skip::machines()?;
    skip::program("nginx")?;
    skip::program("openssl")?;
    let error = boot(real, "stranger", &["sites/secure/ipxe.efi"]).printed("FAILED ").error(10);
    // iPXE looks for a cross-signed certificate that leads to one that it trusts.
    assert!(error.contains("the loader asked for `http://ca.ipxe.org/auto/"), "{error}");
    Ok(())
}
