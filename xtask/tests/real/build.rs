//! The real iPXE at its pinned commit and syslinux 6.03, if the pinned inputs are available. Otherwise, every test
//! here reports that it was skipped, and why.

use std::process::Command;
use std::time::{Duration, Instant};

use netboot_fixtures::harness::{full, xtask};
use netboot_fixtures::project::{CliOutput, rewrite_manifest};
use netboot_fixtures::real::{Real, scripted, sources};
use netboot_fixtures::skip;
use netboot_loaders::base::progress::Silent;
use netboot_loaders::digest::Sha256Digest;
use netboot_loaders::fetch::ipxe::Order;

netboot_fixtures::tests! {
    with sources;
    six_loaders,
    second_script,
    stock_make,
    elsewhere,
    configuration,
    booted,
    not_booted,
    killed,
}

const SIX: &str = r#"["ipxe.pxe", "undionly.kpxe", "ipxe-legacy.pxe", "ipxe.efi", "ipxe-legacy.efi", "snponly.efi"]"#;

/// Builds the tree of all six loaders, or takes it from the cache if it was built before.
fn six(real: &Real) -> String {
    real.sites(&format!("[default]\nloaders = {SIX}\nscript = \"root-path.ipxe\"\n[syslinux]\nmembers = [\"lpxelinux.0\", \"ldlinux.c32\", \"syslinux.efi\", \"ldlinux.e64\"]\n"));
    real.build(&[])
}

fn six_loaders(real: &Real) {
    let before = Instant::now();
    print!("{}", six(real));
    println!("cold build of six loaders: {:.1} s", before.elapsed().as_secs_f64());
    let sums =
        Command::new("sha256sum").args(["--strict", "-c", "SHA256SUMS"]).current_dir(real.tree()).output().unwrap();
    assert!(sums.status.success(), "{sums:?}");
    let script = std::fs::read(real.project.join("embed-scripts/root-path.ipxe")).unwrap();
    assert_eq!(script, b"#!ipxe\ndhcp && chain ${root-path}\n");
    for loader in ["ipxe.efi", "ipxe-legacy.efi", "snponly.efi"] {
        let found = real.read(loader).windows(script.len()).filter(|window| *window == script).count();
        assert_eq!(found, 1, "{loader} holds the script verbatim, once");
        let file = Command::new("file").args(["-b", loader]).current_dir(real.tree()).output();
        // Without the program `file`, only the tool's own parser of the header is used.
        if let Ok(file) = file {
            let text = String::from_utf8_lossy(&file.stdout).into_owned();
            let words = ["PE32+ executable", "(EFI application)", "x86-64"];
            assert!(words.iter().all(|word| text.contains(word)), "{loader}: {text}");
        }
    }
}

fn second_script(real: &Real) {
    six(real);
    let before = real.digests();
    assert!(real.build(&["--offline"]).contains(" is up to date, checked in "));
    real.sites(&format!(
        "[default]\nloaders = {SIX}\nscript = \"root-path.ipxe\"\n[site.rack-1]\nscript = \"robust.ipxe\"\nloaders = [\"ipxe.pxe\", \"ipxe.efi\"]\n"
    ));
    let logs = real.logs();
    real.build(&[]);
    assert!(real.logs() == logs, "make ran");
    let after = real.digests();
    assert_eq!(before["ipxe.pxe"], after["ipxe.pxe"]);
    assert_ne!(after["ipxe.pxe"], after["sites/rack-1/ipxe.pxe"]);
    // A larger slot needs a link, and compiles only the object that contains it.
    let sites = std::fs::read_to_string(real.project.join("embed-scripts/sites.toml")).unwrap();
    real.sites(&format!("{sites}slot = 8192\n"));
    real.build(&[]);
    for log in real.logs() {
        let compiled: Vec<&str> =
            log.lines().filter(|line| line.contains("[BUILD]") || line.contains("[DEPS]")).collect();
        assert!(compiled.iter().all(|line| line.ends_with("/embedded.o")), "compiled {compiled:?}");
        assert!(log.contains("[LD]"));
    }
}

/// The result of `git archive`, `make EMBED=` and one export for each platform, with dependency files and nothing of
/// this tool except the padded script and the pin. For UEFI, whose loaders have a build id, or for both platforms.
fn stock_make(real: &Real) {
    six(real);
    let tools = real.digests();
    let folder = tempfile::tempdir().unwrap();
    let tree = camino::Utf8Path::from_path(folder.path()).unwrap().join("checkout");
    real.source().export(&tree, (1, Order::Sorted), "iPXE\'s source", &Silent).unwrap();
    let script = tree.join("src/embedded.ipxe");
    std::fs::write(&script, scripted("#!ipxe\ndhcp && chain ${root-path}\n")).unwrap();
    let uefi = ["bin-x86_64-efi/ipxe.efi", "bin-x86_64-efi/ipxe-legacy.efi", "bin-x86_64-efi/snponly.efi"];
    let bios = ["bin/ipxe.pxe", "bin/undionly.kpxe", "bin/ipxe-legacy.pxe"];
    let loaders = uefi.into_iter().chain(if full() { &bios[..] } else { &[] }.iter().copied());
    let output = Command::new("make")
        .args(["-j2", &format!("EMBED={script}"), &format!("GITVERSION={}", real.pin().commit)])
        .arg(format!("EXTRA_CFLAGS=-ffile-prefix-map={tree}=."))
        .args(loaders.clone())
        .env("SOURCE_DATE_EPOCH", real.pin().epoch.to_string())
        .current_dir(tree.join("src"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for loader in loaders {
        let made = Sha256Digest::of(&std::fs::read(tree.join("src").join(loader)).unwrap()).to_string();
        assert_eq!(tools[loader.rsplit('/').next().unwrap()], made, "{loader}");
    }
}

/// The loaders of one platform, or all six. Only the full test matrix compiles them again, and without `-Werror`:
/// `reproduce::everything_varied` compiles in another folder, too.
fn elsewhere(real: &Real) {
    // A source bundle always contains syslinux, whatever the tree uses.
    real.fetch();
    if full() {
        six(real);
    } else {
        real.sites("[default]\nloaders = [\"ipxe.efi\", \"snponly.efi\"]\nscript = \"root-path.ipxe\"\n");
        real.build(&[]);
    }
    let compiler = if full() { &["--no-werror"][..] } else { Real::compiled_once() };
    let before = real.digests();
    let folder = tempfile::tempdir().unwrap();
    let other =
        camino::Utf8Path::from_path(folder.path()).unwrap().join("a-much-longer-name-of-a-folder-than-the-other-one");
    let mut command = Command::new("sh");
    command.args(["-c", "umask 077; cd /; exec \"$@\"", "sh"]).arg(xtask());
    command.args(["--project", real.project.as_str(), "--cache-dir", other.join("cache").as_str()]);
    command.args(["build-loaders", "--offline", "--jobs", "3", "--out", other.join("tree").as_str()]);
    // The source bundle is the only input of this second cache.
    let bundle = other.join("bundle.tar.gz");
    let bundled = real.command(&["bundle-sources", "--offline", "--out", bundle.as_str()]).output().unwrap();
    assert!(bundled.status.success(), "{}", String::from_utf8_lossy(&bundled.stderr));
    command.args(["--sources-from", bundle.as_str()]).args(compiler);
    command
        .env("CCACHE_DIR", real.cache.join("ccache"))
        .env("TZ", "Pacific/Kiritimati")
        .env("LC_ALL", "C.UTF-8")
        .env("HOME", "/nowhere")
        .env("SOURCE_DATE_EPOCH", "1");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (name, digest) in before {
        let made = Sha256Digest::of(&std::fs::read(other.join("tree").join(&name)).unwrap()).to_string();
        assert!(name == "SHA256SUMS" || name == "manifest.json" || digest == made, "{name}");
    }
}

/// For one platform, or for both.
fn configuration(real: &Real) {
    let certificate = real.project.join("embed-scripts/ca.pem");
    let openssl = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=test",
            "-keyout",
            "/dev/null",
        ])
        .args(["-out", certificate.as_str()])
        .output()
        .unwrap();
    assert!(openssl.status.success());
    let loaders = if full() { "\"ipxe.pxe\", \"ipxe.efi\"" } else { "\"ipxe.efi\"" };
    real.sites(&format!(
        "[default]\nloaders = [{loaders}]\nscript = \"menu.ipxe\"\nconfig = \"full\"\ntrust = [\"ca.pem\"]\n"
    ));
    print!("{}", real.build(&[]));
    let der = Command::new("openssl").args(["x509", "-outform", "DER", "-in", certificate.as_str()]).output().unwrap();
    let fingerprint = Sha256Digest::of(&der.stdout);
    let loader = real.read("ipxe.efi");
    let holds = |needle: &[u8]| loader.windows(needle.len()).any(|window| window == needle);
    assert!(holds(fingerprint.as_bytes()), "the loader trusts the certificate");
    assert!(holds(&der.stdout), "the loader has the certificate itself, so that servers need not send it");
    assert!(holds(b"nslookup\0") && holds(b"imgverify\0"), "the loader has the commands of the configuration");
}

/// One case of each kind; `machines` tests syslinux.
const KINDS: [&str; 9] = [
    "ipxe.pxe",
    "undionly.kpxe",
    "ipxe.efi",
    "snponly.efi",
    "sites/rack-1/ipxe.pxe",
    "sites/rack-2/ipxe.efi",
    "ipxe.efi:no-option-17",
    "sites/patient/ipxe.efi:no-web-server",
    "sites/rack-2/ipxe.efi:no-script",
];

/// Boots one case of each kind, or all of them.
fn booted(real: &Real) -> Result<(), String> {
    skip::machines()?;
    real.sites(&format!(
        "[default]\nloaders = {SIX}\nscript = \"root-path.ipxe\"\n\
         [syslinux]\nmembers = [\"lpxelinux.0\", \"ldlinux.c32\", \"syslinux.efi\", \"ldlinux.e64\"]\n\
         [site.patient]\nscript = \"robust.ipxe\"\nloaders = [\"ipxe.efi\"]\n\
         [site.rack-1]\nscript = \"url.ipxe\"\nloaders = [\"ipxe.pxe\", \"undionly.kpxe\", \"ipxe-legacy.pxe\"]\n\
         vars = {{ boot_url = \"http://192.0.2.10/racks/1.ipxe\" }}\n\
         [site.rack-2]\nscript = \"url.ipxe\"\nloaders = [\"ipxe.efi\", \"snponly.efi\", \"ipxe-legacy.efi\"]\n\
         vars = {{ boot_url = \"http://boot.example.org/racks/2.ipxe\" }}\n"
    ));
    real.build(&["--archive"]);
    let tarball = format!("netboot-loaders-{}-tftp.tar.gz", env!("CARGO_PKG_VERSION"));
    let tarball = real.tree().with_file_name(tarball);
    // Eight loaders in the root, the bug of syslinux.efi, seven of sites, and three scripts with their faults.
    let (cases, passed) = if full() { (&[][..], 24) } else { (&KINDS[..], KINDS.len()) };
    let cases = cases.iter().flat_map(|case| ["--case", case]);
    let arguments: Vec<&str> = ["boot-test", tarball.as_str()].into_iter().chain(cases).collect();
    let ran = CliOutput::from(real.command(&arguments).output().unwrap()).success();
    println!("{}", ran.stdout);
    assert!(ran.stdout.contains(&format!("boot-test: {passed} passed, 0 failed, 0 skipped")), "{}", ran.stdout);
    let console = |case: &str| {
        let file = real.project.join(format!("dist/boot-test/cases/{case}/console.txt"));
        std::fs::read_to_string(file).unwrap().replace('\n', "")
    };
    let booted = |all: &[&'static str]| if full() { all.to_vec() } else { vec![all[0]] };
    for loader in booted(&["ipxe.pxe", "undionly.kpxe", "ipxe-legacy.pxe"]) {
        assert!(console(&format!("sites-rack-1-{loader}")).contains("http://192.0.2.10/racks/1.ipxe"), "{loader}");
    }
    for loader in booted(&["ipxe.efi", "snponly.efi", "ipxe-legacy.efi"]) {
        assert!(
            console(&format!("sites-rack-2-{loader}")).contains("http://boot.example.org/racks/2.ipxe"),
            "{loader}"
        );
    }
    assert!(console("ipxe.pxe").contains("iPXE 2.0.0"));
    let patient = console("sites-patient-ipxe.efi-no-web-server");
    for words in ["(try 1 of 10)", "Connection reset (https://ipxe.org/", "(try 2 of 10)", "iPXE>"] {
        assert!(patient.contains(words), "{words} is not in:\n{patient}");
    }
    Ok(())
}

fn not_booted(real: &Real) -> Result<(), String> {
    skip::machines()?;
    let elsewhere = "#!ipxe\ndhcp && chain http://198.51.100.7/elsewhere.ipxe\n";
    std::fs::write(real.project.join("embed-scripts/elsewhere.ipxe"), elsewhere).unwrap();
    real.sites("[default]\nloaders = [\"ipxe.pxe\", \"ipxe.efi\"]\nscript = \"elsewhere.ipxe\"\n");
    real.build(&[]);
    let boot = |more: &[&str]| {
        CliOutput::from(real.command(&[&["boot-test", "--attempts", "1"], more].concat()).output().unwrap())
    };
    let error = boot(&["--case", "ipxe.efi"]).printed("FAILED   ipxe.efi ").error(10);
    let wanted = "`ipxe.efi`: the loader asked for `http://198.51.100.7/elsewhere.ipxe`, wanted `http://192.0.2.2/boot.ipxe` (DHCP option 17)\n";
    assert!(error.contains(wanted), "{error}");
    boot(&["--case", "ipxe.efi", "--chain-to", "http://198.51.100.7/elsewhere.ipxe"]).success();
    // The first instruction of `ipxe.efi`, and the middle of the compressed part of `ipxe.pxe`.
    for (loader, offset, wanted) in [
        ("ipxe.efi", entry_point(&real.read("ipxe.efi")), "the firmware caught a processor exception: "),
        ("ipxe.pxe", real.read("ipxe.pxe").len() / 2, "the loader could not unpack itself: "),
    ] {
        let mut content = real.read(loader);
        content[offset] ^= 0xff;
        std::fs::write(real.tree().join(loader), content).unwrap();
        rewrite_manifest(&real.tree());
        let error = boot(&["--case", loader]).printed("FAILED ").error(10);
        assert!(error.contains(&format!("`{loader}`: {wanted}")), "{error}");
    }
    Ok(())
}

/// Returns the file offset of the first instruction of an EFI application.
fn entry_point(content: &[u8]) -> usize {
    let number = |offset: usize, size: usize| {
        content[offset..offset + size].iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
    };
    let header = number(0x3c, 4);
    let (sections, optional, address) = (number(header + 6, 2), number(header + 20, 2), number(header + 40, 4));
    let section = |i: usize| header + 24 + optional + 40 * i;
    let inside = |section: &usize| {
        (number(section + 12, 4)..number(section + 12, 4) + number(section + 8, 4)).contains(&address)
    };
    let section = (0..sections).map(section).find(inside).unwrap();
    address - number(section + 12, 4) + number(section + 20, 4)
}

fn killed(real: &Real) {
    let sites = |number: u32| {
        let script = format!("#!ipxe\necho number {number}\nshell\n");
        std::fs::write(real.project.join("embed-scripts/killed.ipxe"), script).unwrap();
    };
    real.sites("[default]\nloaders = [\"ipxe.pxe\", \"undionly.kpxe\", \"ipxe.efi\"]\nscript = \"killed.ipxe\"\n");
    sites(0);
    real.build(&[]);
    sites(51);
    let started = Instant::now();
    real.build(&[]);
    let whole = started.elapsed().max(Duration::from_secs(1));
    println!("a rebuild with another script takes {:.1} s", whole.as_secs_f64());
    let mut unfinished = 0;
    for number in 1..=50_u32 {
        let before = real.digests();
        sites(number);
        let mut child = real.command(&["build-loaders", "--offline", "--quiet"]).spawn().unwrap();
        std::thread::sleep(whole * (number * 29 % 50) / 46);
        child.kill().unwrap();
        child.wait().unwrap();
        real.verify();
        unfinished += u32::from(real.digests() == before);
    }
    println!("{unfinished} of 50 builds were killed before they had published");
    assert!(unfinished > 0);
    let expected = {
        real.build(&[]);
        real.verify();
        real.digests()
    };
    assert!(String::from_utf8_lossy(&real.read("ipxe.efi")).contains("echo number 50\n"));
    // The objects were kept: a build that reuses none of them gives the same bytes.
    std::fs::remove_dir_all(real.cache.join("trees")).unwrap();
    std::fs::remove_dir_all(real.cache.join("bases")).unwrap();
    real.build(&[]);
    assert_eq!(real.digests(), expected);
}
