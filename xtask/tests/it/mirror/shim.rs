//! `mirror --shim`: the shim of a release is kept with its images, and held to its signer and to the kernel. OpenSSL and
//! osslsigncode make keys and signatures; if they are not installed, the tests that need them report that they were
//! skipped.

use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use camino::{Utf8Path, Utf8PathBuf};
use netboot_fixtures::live_cd::{EfiPartition, iso, shim};
use netboot_fixtures::mirror::{IMAGES, METADATA, MirrorProject, content, metadata, path};
use netboot_fixtures::project::CliOutput;
use netboot_fixtures::says;
use netboot_fixtures::skip::program;
use netboot_loaders::digest::{Sha256Digest, Sha512Digest};
use netboot_loaders::loader::signature_list::{OWNER, signature_list};
use netboot_loaders::loader::smallest_application::application;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::signatures;

netboot_fixtures::tests! {
    the_shim_comes_by_parts_of_the_cd_and_is_kept,
    a_set_gets_its_shim_later_and_keeps_it,
    a_server_without_parts_gives_the_whole_cd,
    a_server_that_does_not_keep_to_parts_is_found_out,
    a_cd_without_a_shim_is_told,
    a_cd_of_other_programs_is_read,
    an_interrupt_ends_the_reading_of_parts,
    where_signatures_are_checked_the_whole_cd_is,
    a_shim_for_another_kernel_is_refused,
    another_certificate_in_the_shim_is_warned_of,
    a_machine_with_64_bit_arm_has_a_shim_of_its_own,
    flatcar_keeps_its_shim_and_shows_its_certificate,
    the_shim_and_kernel_of_debian_belong_together,
    a_shim_is_asked_for_where_there_is_one,
}

const SHIM: &str = "shim-x86_64.efi";
const X86_64: u16 = 0x8664;
const OWN_PATH: &str = "EFI/fedora/shimx64.efi";
/// Bytes of the CD behind the partition; nobody needs them.
const REST: usize = 3 << 20;

/// Authorities and signers, in a folder of their own.
struct Authorities(Utf8PathBuf);

impl Authorities {
    /// Makes `microsoft`, `vendor` and `other`, each a signer with an authority above it.
    fn make(mirror: &MirrorProject) -> Result<Self, String> {
        program("osslsigncode").and(program("openssl"))?;
        let all = Self(mirror.root.join("authorities"));
        std::fs::create_dir(&all.0).unwrap();
        for (name, authority, signer) in [
            ("microsoft", "Microsoft UEFI CA 2023", "Microsoft Windows UEFI Driver Publisher"),
            ("vendor", "Example Secure Boot CA", "kernel-signer"),
            ("other", "Other Secure Boot CA", "other-signer"),
        ] {
            all.run(&format!(
                "openssl req -x509 -newkey rsa:2048 -nodes -days 9000 -subj '/CN={authority}' -keyout ca.key -out ca.pem
                 openssl req -newkey rsa:2048 -nodes -subj '/CN={signer}' -keyout {name}.key -out leaf.csr
                 openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 9000 -out {name}.pem
                 openssl x509 -in ca.pem -outform DER -out {name}.der"
            ));
        }
        Ok(all)
    }

    fn run(&self, script: &str) {
        let output = Command::new("sh").args(["-ec", script]).current_dir(&self.0).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Returns the certificate of the authority above `name` (DER).
    fn certificate(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.0.join(format!("{name}.der"))).unwrap()
    }

    fn signed(&self, name: &str, application: &[u8]) -> Vec<u8> {
        std::fs::write(self.0.join("plain"), application).unwrap();
        self.run(&format!(
            "rm -f signed; osslsigncode sign -certs {name}.pem -key {name}.key -h sha256 -in plain -out signed"
        ));
        std::fs::read(self.0.join("signed")).unwrap()
    }

    /// Returns a shim that Microsoft has signed and that trusts `vendor`, and a kernel that `vendor` has signed.
    fn pair(&self) -> (Vec<u8>, Vec<u8>) {
        let shim = self.signed("microsoft", &shim(X86_64, &self.certificate("vendor")));
        (shim, self.signed("vendor", &application()))
    }
}

fn cd_path(version: &str) -> String {
    path(version, "iso.x86_64.iso")
}

/// Publishes `version` with `kernel` and the live CD `cd` as the current release.
fn release(mirror: &MirrorProject, version: &str, kernel: &[u8], cd: &[u8]) {
    mirror.publisher.release(version);
    mirror.publisher.offer(&path(version, "kernel.x86_64"), kernel);
    mirror.publisher.offer(&cd_path(version), cd);
    let mut stream = metadata(version);
    let formats = stream.pointer_mut("/architectures/x86_64/artifacts/metal/formats").unwrap();
    formats["pxe"]["kernel"]["sha256"] = json!(Sha256Digest::of(kernel));
    let location = formats["pxe"]["kernel"]["location"].as_str().unwrap().replace("kernel.x86_64", "iso.x86_64.iso");
    let signature = format!("{location}.sig");
    formats["iso"] =
        json!({ "disk": { "location": location, "signature": signature, "sha256": Sha256Digest::of(cd) } });
    mirror.publisher.offer(METADATA, stream.to_string());
}

fn cd(path: &str, shim: &[u8]) -> Vec<u8> {
    iso(EfiPartition::new(12, path, shim).bytes(), REST)
}

fn record(mirror: &MirrorProject) -> Value {
    serde_json::from_slice(&std::fs::read(mirror.path("current/mirror.json")).unwrap()).unwrap()
}

/// Returns the parts of the CD of `version` that were asked for, `None` for all of it, since the request `from`.
fn asked(mirror: &MirrorProject, version: &str, from: usize) -> Vec<Option<(usize, usize)>> {
    let requests = mirror.publisher.server.requests().into_iter().skip(from);
    requests.filter(|request| request.path == cd_path(version)).map(|request| request.part()).collect()
}

fn the_shim_comes_by_parts_of_the_cd_and_is_kept() -> Result<(), String> {
    let mirror = MirrorProject::new();
    let authorities = Authorities::make(&mirror)?;
    let (shim, kernel) = authorities.pair();
    let cd = cd(OWN_PATH, &shim);
    release(&mirror, "44.1", &kernel, &cd);
    let ran = mirror.run(&["--shim"]).warned();
    let vendor = Sha256Digest::of(&authorities.certificate("vendor"));
    let line = format!(
        "shim: signed by `Microsoft Windows UEFI Driver Publisher`, issued by `Microsoft UEFI CA 2023`; trusts kernels of \
         `CN=Example Secure Boot CA`, SHA-256 {vendor}\n"
    );
    assert!(ran.stdout.contains(&line) && ran.stdout.lines().last().unwrap().starts_with('{'), "{}", ran.stdout);
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
    assert_eq!(std::fs::read(mirror.path(SHIM)).unwrap(), shim);
    assert_eq!(mirror.path(SHIM).read_link_utf8().unwrap(), format!("current/{SHIM}"));
    let parts = asked(&mirror, "44.1", 0);
    let bytes: usize = parts.iter().map(|part| part.map_or(cd.len(), |(first, last)| last + 1 - first)).sum();
    assert!(parts.len() <= 4 && bytes < cd.len() / 2, "{parts:?} of {}", cd.len());
    let record = record(&mirror);
    assert_eq!(record["shim"]["sha256"], json!(Sha256Digest::of(&shim)));
    assert_eq!(record["shim"]["iso"], json!({ "sha256": Sha256Digest::of(&cd) }));
    let trusts = &record["shim"]["trusts"][0];
    assert_eq!((&trusts["subject"], &trusts["sha256"]), (&json!("CN=Example Secure Boot CA"), &json!(vendor)));
    let der = STANDARD.decode(trusts["der"].as_str().unwrap()).unwrap();
    assert_eq!(Sha256Digest::of(&der).to_string(), vendor.to_string());
    assert_eq!((&record["files"][3]["part"], &record["files"][3]["name"]), (&"shim".into(), &SHIM.into()));
    // Nothing is read again, and a damaged shim is.
    let from = mirror.publisher.server.requests().len();
    let outcome: Value = serde_json::from_str(&mirror.run(&["--shim", "--quiet"]).success().stdout).unwrap();
    assert_eq!((&outcome["changed"], &outcome["shim"]), (&false.into(), &record["shim"]));
    assert_eq!(asked(&mirror, "44.1", from), []);
    std::fs::write(mirror.path("44.1").join(SHIM), vec![0; shim.len()]).unwrap();
    let stderr = mirror.run(&["--shim", "--check"]).warned().stderr;
    assert!(stderr.contains(&format!("44.1/{SHIM}` has SHA-256 ")), "{stderr}");
    assert_eq!(std::fs::read(mirror.path(SHIM)).unwrap(), shim);
    let images = mirror.publisher.server.paths().split_off(from);
    assert!(images.iter().all(|path| !path.contains("-live-initramfs")), "{images:?}");
    Ok(())
}

fn a_set_gets_its_shim_later_and_keeps_it() -> Result<(), String> {
    for links in ["symbolic", "copy"] {
        let mirror = MirrorProject::new();
        let (shim, kernel) = Authorities::make(&mirror)?.pair();
        release(&mirror, "44.1", &kernel, &cd("EFI/BOOT/BOOTX64.EFI", &shim));
        mirror.update(&["--links", links]);
        assert!(!mirror.path("current").join(SHIM).exists());
        let from = mirror.publisher.server.requests().len();
        let outcome: Value =
            serde_json::from_str(&mirror.run(&["--links", links, "--shim", "--quiet"]).success().stdout).unwrap();
        assert_eq!(outcome["changed"], true);
        assert_eq!(std::fs::read(mirror.path("current").join(SHIM)).unwrap(), shim);
        let images = mirror.publisher.server.paths().split_off(from);
        assert!(images.iter().all(|path| path == METADATA || *path == cd_path("44.1")), "{images:?}");
        // Who does not ask for it does not lose it.
        let outcome = mirror.run(&["--links", links, "--quiet", "--check"]).success().stdout;
        assert!(outcome.contains("\"changed\":false"), "{outcome}");
        assert!(mirror.path("current").join(SHIM).is_file());
        release(&mirror, "44.2", &kernel, b"none");
        let stderr = mirror.run(&["--links", links]).warned().stderr;
        assert!(
            stderr.contains(
                "warning: 44.2 has no shim, and the set that was in use before has one\nhint: keep the shim of each release with `--shim`\n"
            ),
            "{stderr}"
        );
    }
    Ok(())
}

fn a_server_without_parts_gives_the_whole_cd() -> Result<(), String> {
    let mirror = MirrorProject::new();
    let (shim, kernel) = Authorities::make(&mirror)?.pair();
    let cd = cd(OWN_PATH, &shim);
    release(&mirror, "44.1", &kernel, &cd);
    let whole = |cd: Vec<u8>| {
        mirror.publisher.hook(move |request, answer| {
            let is_cd = request.path == cd_path("44.1");
            if is_cd {
                answer.whole("200 OK", &[], &cd);
            }
            is_cd
        });
    };
    // Only the digest proves a whole CD.
    let mut changed = cd.clone();
    *changed.last_mut().unwrap() ^= 1;
    whole(changed);
    let error = mirror.run(&["--shim", "--quiet"]).failure(6);
    assert!(error.contains("iso.x86_64.iso` differs from what its publisher announces: found SHA-256 "), "{error}");
    assert!(!mirror.path("current").exists());
    whole(cd);
    let stderr = mirror.run(&["--shim"]).warned().stderr;
    let warning = format!(
        "warning: the whole `{}` is downloaded for the shim in it: found status 200 OK, wanted 206\n",
        mirror.publisher.server.url(&cd_path("44.1"))
    );
    assert!(stderr.contains(&warning), "{stderr}");
    assert_eq!(std::fs::read(mirror.path(SHIM)).unwrap(), shim);
    let names: Vec<_> = mirror.path("44.1").read_dir_utf8().unwrap().map(|it| it.unwrap().path().to_owned()).collect();
    assert_eq!(names.len(), 6, "{names:?}");
    Ok(())
}

fn a_server_that_does_not_keep_to_parts_is_found_out() -> Result<(), String> {
    let mirror = MirrorProject::new();
    let (shim, kernel) = Authorities::make(&mirror)?.pair();
    let cd = cd(OWN_PATH, &shim);
    release(&mirror, "44.1", &kernel, &cd);
    for (range, wanted) in [
        ("bytes 1-262144/4000000", "found the range `bytes 1-262144/4000000`, wanted `bytes 0-262143`"),
        ("bytes 0-262143/*", "found the range `bytes 0-262143/*`, wanted `bytes 0-262143`"),
        ("bytes 0-9/10", "a part is longer than it should be"),
        ("", "found the range ``, wanted `bytes 0-262143`"),
    ] {
        let file = cd.clone();
        mirror.publisher.hook(move |request, answer| {
            let is_part = request.path == cd_path("44.1") && request.part().is_some();
            if is_part {
                answer.whole("206 Partial Content", &[&format!("Content-Range: {range}")], &file[..262_144]);
            }
            is_part
        });
        let stderr = mirror.run(&["--shim", "--check"]).warned().stderr;
        assert!(stderr.contains(&format!(" is downloaded for the shim in it: {wanted}\n")), "{stderr}");
        assert_eq!(std::fs::read(mirror.path(SHIM)).unwrap(), shim);
        std::fs::remove_dir_all(mirror.dest()).unwrap();
    }
    // Too short, each time.
    mirror.publisher.hook(move |request, answer| {
        let is_part = request.path == cd_path("44.1") && request.part().is_some();
        if is_part {
            let range = "Content-Range: bytes 0-262143/4000000";
            answer.head("206 Partial Content", &["Content-Length: 262144", range]);
            answer.bytes(&[0; 1000]);
        }
        is_part
    });
    let error = mirror.run(&["--shim", "--quiet"]).failure(5);
    assert!(error.contains("the transfer stopped (the server closed the connection), after 5 attempts"), "{error}");
    Ok(())
}

fn a_cd_without_a_shim_is_told() {
    let mirror = MirrorProject::new();
    let said = |cd: &[u8]| {
        release(&mirror, "44.1", b"kernel", cd);
        let error = mirror.run(&["--shim", "--quiet"]).failure(5);
        let text = error.split_once("iso.x86_64.iso`: ").unwrap().1.lines().next().unwrap().to_owned();
        text.strip_suffix(", wanted `EFI/BOOT/BOOTX64.EFI` or `EFI/fedora/shimx64.efi` in `images/efiboot.img`")
            .unwrap()
            .to_owned()
    };
    let partition = EfiPartition::new(12, "EFI/debian/shimx64.efi", b"x");
    let mut other = iso(partition.bytes(), 0);
    assert_eq!(said(&other), "found neither that nor another shim");
    let at = other.windows(7).position(|bytes| bytes == b"EFIBOOT").unwrap();
    other[at] = b'X';
    assert_eq!(said(&other), "found no `images/efiboot.img`");
    assert_eq!(said(&vec![0; 1 << 20]), "found no CD");
    assert_eq!(said(&iso(&[0; 9000], 0)), "found no FAT");
    let mut cyclic = EfiPartition::new(16, OWN_PATH, &content("44.1", "shim", 5000));
    cyclic.link(5, 9);
    assert_eq!(said(&iso(cyclic.bytes(), 0)), "found a chain of clusters that runs in a circle");
    assert!(!mirror.path("current").exists());
}

/// Makes the CD with the programs that distributions make theirs with.
fn a_cd_of_other_programs_is_read() -> Result<(), String> {
    program("xorriso").and(program("mformat")).and(program("mcopy"))?;
    let mirror = MirrorProject::new();
    let authorities = Authorities::make(&mirror)?;
    let (shim, kernel) = authorities.pair();
    std::fs::write(authorities.0.join("shimx64.efi"), &shim).unwrap();
    for (run, options) in ["-f 1440", "-T 20000 -h 16 -s 32", "-T 80000 -h 16 -s 32 -F"].into_iter().enumerate() {
        authorities.run(&format!(
            "rm -rf cd cd.iso; mkdir -p cd/images; mformat -C -i cd/images/efiboot.img {options} ::
             mmd -i cd/images/efiboot.img ::/EFI ::/EFI/fedora
             mcopy -i cd/images/efiboot.img ca.pem ::/EFI/fedora/a-file-with-a-long-name.pem
             mcopy -i cd/images/efiboot.img shimx64.efi ::/EFI/fedora/
             xorriso -as mkisofs -quiet -R -J -o cd.iso cd"
        ));
        let version = format!("44.{run}");
        release(&mirror, &version, &kernel, &std::fs::read(authorities.0.join("cd.iso")).unwrap());
        mirror.run(&["--shim"]).success();
        assert_eq!(std::fs::read(mirror.path(SHIM)).unwrap(), shim);
        assert!(asked(&mirror, &version, 0).iter().all(Option::is_some));
    }
    Ok(())
}

fn an_interrupt_ends_the_reading_of_parts() {
    let mirror = MirrorProject::new();
    release(&mirror, "44.1", b"kernel", &iso(&[0; 9000], 0));
    mirror.publisher.hook(|request, answer| {
        let is_cd = request.path == cd_path("44.1");
        if is_cd {
            answer.head("206 Partial Content", &["Content-Length: 59000", "Content-Range: bytes 0-58999/59000"]);
            answer.bytes(b"a few bytes");
            answer.stall();
        }
        is_cd
    });
    let child = mirror.start(&["--shim"]);
    while asked(&mirror, "44.1", 0).is_empty() {
        std::thread::sleep(Duration::from_millis(20));
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let ran = CliOutput::from(child.wait_with_output().unwrap());
    assert_eq!(ran.code, 130, "{ran}");
    assert!(!mirror.path("current").exists());
}

fn where_signatures_are_checked_the_whole_cd_is() -> Result<(), String> {
    signatures::gnupg()?;
    let (mirror, signer, keys) = signatures::with_keys(true);
    let (shim, kernel) = Authorities::make(&mirror)?.pair();
    let cd = cd(OWN_PATH, &shim);
    signer.release(&mirror, "44.1");
    release(&mirror, "44.1", &kernel, &cd);
    for (path, file) in [(path("44.1", "kernel.x86_64"), &kernel), (cd_path("44.1"), &cd)] {
        mirror.publisher.offer(&format!("{path}.sig"), signer.sign(file));
    }
    mirror.run(&["--shim"]).success();
    let options = ["--shim", "--verify-signatures", "--keys", keys.as_str()];
    let from = mirror.publisher.server.requests().len();
    mirror.run(&options).success();
    assert_eq!(asked(&mirror, "44.1", from), [None]);
    assert_eq!(std::fs::read(mirror.path(SHIM)).unwrap(), shim);
    assert_eq!(record(&mirror)["signed-by"], json!([signer.fingerprint()]));
    let names: Vec<_> = mirror.path("44.1").read_dir_utf8().unwrap().map(|it| it.unwrap().path().to_owned()).collect();
    assert!(names.len() == 9 && names.iter().all(|name| !name.as_str().contains(".iso")), "{names:?}");
    let from = mirror.publisher.server.requests().len();
    assert!(mirror.run(&options).success().stdout.contains("\"changed\":false"));
    assert_eq!(asked(&mirror, "44.1", from), []);
    // A CD that somebody else has signed.
    mirror.publisher.offer(&format!("{}.sig", cd_path("44.1")), signer.sign(b"another"));
    std::fs::remove_dir_all(mirror.dest()).unwrap();
    let error = mirror.run(&options).error(6);
    assert!(error.contains("the file is not the one that was signed"), "{error}");
    assert!(!mirror.path("current").exists());
    Ok(())
}

fn a_shim_for_another_kernel_is_refused() -> Result<(), String> {
    let mirror = MirrorProject::new();
    let authorities = Authorities::make(&mirror)?;
    let (good, kernel) = authorities.pair();
    let trusting = |machine, name| shim(machine, &authorities.certificate(name));
    let mut broken = good.clone();
    broken[0x900] ^= 1;
    let mut run = 0;
    let mut refused = |shim: &[u8], kernel: &[u8]| {
        run += 1;
        release(&mirror, &format!("44.{run}"), kernel, &cd(OWN_PATH, shim));
        let error = mirror.run(&["--shim", "--quiet"]).failure(6);
        assert!(!mirror.path("current").exists());
        error.split_once("` is refused: ").unwrap().1.lines().next().unwrap().to_owned()
    };
    let microsoft = "wanted one by `Microsoft Corporation UEFI CA 2011` or `Microsoft UEFI CA 2023`";
    // The decisive one: signed as it should be, but the kernel is another's.
    assert_eq!(
        refused(&authorities.signed("microsoft", &trusting(X86_64, "other")), &kernel),
        "found a kernel that is signed by `kernel-signer`, issued by `Example Secure Boot CA`, wanted one whose signer was \
         issued by `CN=Other Secure Boot CA`"
    );
    assert_eq!(
        refused(&good, &application()),
        "found a kernel without a signature that holds (it has none), wanted one whose signer was issued by \
         `CN=Example Secure Boot CA`"
    );
    assert_eq!(
        refused(&broken, &kernel),
        format!("found no signature that holds (it was made of other bytes), {microsoft}")
    );
    assert_eq!(
        refused(&trusting(X86_64, "vendor"), &kernel),
        format!("found no signature that holds (it has none), {microsoft}")
    );
    assert_eq!(
        refused(&authorities.signed("other", &trusting(X86_64, "vendor")), &kernel),
        format!("found a signature by `other-signer`, issued by `Other Secure Boot CA`, {microsoft}")
    );
    let arm = authorities.signed("microsoft", &trusting(0xaa64, "vendor"));
    assert_eq!(refused(&arm, &kernel), "found an EFI application for arm64, wanted an EFI application for x86-64");
    assert_eq!(
        refused(&authorities.signed("microsoft", &application()), &kernel),
        "found a file that is no shim (it has no section `.vendor_cert`), wanted a shim with its certificate"
    );
    release(&mirror, "44.9", &kernel, &cd(OWN_PATH, &broken));
    says!(mirror, mirror.run(&["--shim", "--quiet"]), @"
    exit code 6, stderr:
    error: the shim of `http://127.0.0.1:PORT/prod/streams/stable/builds/44.9/x86_64/fedora-coreos-44.9-live-iso.x86_64.iso` is refused: found no signature that holds (it was made of other bytes), wanted one by `Microsoft Corporation UEFI CA 2011` or `Microsoft UEFI CA 2023`
    hint: try again later: the server may have files of two releases
    hint: or name another server with `--base-url`
    hint: or leave `--shim` out
    help: cargo xtask help how-to/mirror
    ");
    Ok(())
}

fn another_certificate_in_the_shim_is_warned_of() -> Result<(), String> {
    let mirror = MirrorProject::new();
    let authorities = Authorities::make(&mirror)?;
    let (shim_of_vendor, kernel) = authorities.pair();
    release(&mirror, "44.1", &kernel, &cd(OWN_PATH, &shim_of_vendor));
    mirror.run(&["--shim"]).warned();
    // Another CD with the same shim.
    release(&mirror, "44.2", &kernel, &cd("EFI/BOOT/BOOTX64.EFI", &shim_of_vendor));
    let stderr = mirror.run(&["--shim"]).warned().stderr;
    assert!(!stderr.contains("warning"), "{stderr}");
    let (other, kernel) = (authorities.certificate("other"), authorities.signed("other", &application()));
    let shim_of_other = authorities.signed("microsoft", &shim(X86_64, &other));
    release(&mirror, "44.3", &kernel, &cd(OWN_PATH, &shim_of_other));
    let stderr = mirror.run(&["--shim"]).warned().stderr;
    let (before, now) = (Sha256Digest::of(&authorities.certificate("vendor")), Sha256Digest::of(&other));
    let warning = format!(
        "warning: the shim of 44.3 trusts kernels of `CN=Other Secure Boot CA`, SHA-256 {now}, and the one before those of \
         `CN=Example Secure Boot CA`, SHA-256 {before}\nhint: find out whether the publisher has announced it\n"
    );
    assert!(stderr.contains(&warning), "{stderr}");
    // A run that was cut off before it brought the set into use, and a set without a shim in between, hide nothing.
    let current = mirror.path("current");
    let back_to = |version: &str| {
        std::fs::remove_file(&current).unwrap();
        std::os::unix::fs::symlink(version, &current).unwrap();
    };
    back_to("44.2");
    let stderr = mirror.run(&["--shim"]).warned().stderr;
    assert!(stderr.contains(&warning), "{stderr}");
    std::fs::remove_dir_all(mirror.path("44.3")).unwrap();
    back_to("44.2");
    let stderr = mirror.run(&[]).warned().stderr;
    assert!(stderr.contains("warning: 44.3 has no shim, and the set that was in use before has one\n"), "{stderr}");
    let stderr = mirror.run(&["--shim"]).warned().stderr;
    assert!(stderr.contains(&warning), "{stderr}");
    // A list of several, as newer shims have it; the kernel is by the second.
    let list = signature_list(OWNER, &[&authorities.certificate("vendor"), &other]);
    release(&mirror, "44.4", &kernel, &cd(OWN_PATH, &authorities.signed("microsoft", &shim(X86_64, &list))));
    let ran = mirror.run(&["--shim"]).warned();
    assert!(
        ran.stderr.contains(&format!("SHA-256 {before} and `CN=Other Secure Boot CA`, SHA-256 {now}, and the one")),
        "{ran}"
    );
    Ok(())
}

fn a_machine_with_64_bit_arm_has_a_shim_of_its_own() -> Result<(), String> {
    let mirror = MirrorProject::new();
    let authorities = Authorities::make(&mirror)?;
    let shim = authorities.signed("microsoft", &shim(0xaa64, &authorities.certificate("vendor")));
    let cd = cd("EFI/fedora/shimaa64.efi", &shim);
    release(&mirror, "44.1", &authorities.signed("vendor", &application()), &cd);
    let of_arm = |text: &str| text.replace("x86_64", "aarch64");
    let stream = String::from_utf8(mirror.publisher.file(METADATA)).unwrap();
    mirror.publisher.offer(METADATA, of_arm(&stream));
    let images = IMAGES.iter().map(|(name, ..)| path("44.1", name));
    for path in images.chain([cd_path("44.1")]) {
        mirror.publisher.offer(&of_arm(&path), mirror.publisher.file(&path));
    }
    mirror.run(&["--shim", "--arch", "aarch64"]).success();
    assert_eq!(std::fs::read(mirror.path("shim-aarch64.efi")).unwrap(), shim);
    Ok(())
}

/// Publishes `kernel`, `shim` and an initramfs as the current release of Flatcar.
fn flatcar_release(mirror: &MirrorProject, version: &str, kernel: &[u8], shim: &[u8]) {
    let initramfs = content(version, "initramfs", 5000);
    for (name, image) in [
        ("flatcar_production_pxe.vmlinuz", kernel),
        ("flatcar_production_pxe_image.cpio.gz", &initramfs),
        ("flatcar_production_image.shim", shim),
    ] {
        let (sha512, _) = Sha512Digest::of_reader(&mut &image[..]).unwrap();
        mirror.publisher.offer(&format!("/amd64-usr/{version}/{name}"), image);
        let digests = format!("# SHA512 HASH\n{sha512}  {name}\n");
        mirror.publisher.offer(&format!("/amd64-usr/{version}/{name}.DIGESTS"), digests);
    }
    mirror.publisher.offer("/amd64-usr/current/version.txt", format!("FLATCAR_VERSION={version}\n"));
}

fn flatcar_keeps_its_shim_and_shows_its_certificate() -> Result<(), String> {
    let mirror = MirrorProject::new();
    let authorities = Authorities::make(&mirror)?;
    let run = |more: &[&str]| CliOutput::from(mirror.product("flatcar", more).output().unwrap());
    let shim_of = |name: &str| shim(X86_64, &authorities.certificate(name));
    let kernel = authorities.signed("vendor", &application());
    flatcar_release(&mirror, "4593.2.4", &kernel, &shim_of("vendor"));
    run(&[]).success();
    assert!(!mirror.path("current/flatcar_production_image.shim").exists());
    let vendor = Sha256Digest::of(&authorities.certificate("vendor"));
    let ran = run(&["--shim"]).warned();
    let line = format!("shim: not signed; trusts kernels of `CN=Example Secure Boot CA`, SHA-256 {vendor}\n");
    assert!(ran.stdout.contains(&line), "{}", ran.stdout);
    assert_eq!(std::fs::read(mirror.path("flatcar_production_image.shim")).unwrap(), shim_of("vendor"));
    assert!(run(&["--shim", "--check"]).warned().stdout.contains("\"changed\":false"));
    // Users have enrolled the certificate that goes away.
    let kernel = authorities.signed("other", &application());
    flatcar_release(&mirror, "4593.2.5", &kernel, &authorities.signed("other", &shim_of("other")));
    let other = Sha256Digest::of(&authorities.certificate("other"));
    let ran = run(&["--shim"]).warned();
    let warning = format!(
        "warning: the shim of 4593.2.5 trusts kernels of `CN=Other Secure Boot CA`, SHA-256 {other}, and the one before those \
         of `CN=Example Secure Boot CA`, SHA-256 {vendor}\nhint: find out whether the publisher has announced it, and enrol \
         the new certificate before machines boot this release\n"
    );
    assert!(ran.stderr.contains(&warning), "{}", ran.stderr);
    assert!(
        ran.stdout.contains("shim: signed by `other-signer`, issued by `Other Secure Boot CA`; trusts "),
        "{}",
        ran.stdout
    );
    flatcar_release(&mirror, "4593.2.6", &application(), &shim_of("other"));
    let stderr = run(&["--shim"]).warned().stderr;
    assert!(
        stderr.contains(
            "warning: `flatcar_production_pxe.vmlinuz` of 4593.2.6 has no signature that holds, so no shim starts it"
        ),
        "{stderr}"
    );
    flatcar_release(&mirror, "4593.2.7", &kernel, &shim_of("vendor"));
    let error = run(&["--shim", "--quiet"]).failure(6);
    assert!(error.contains("is refused: found a kernel that is signed by `other-signer`, issued by "), "{error}");
    flatcar_release(&mirror, "4593.2.8", &kernel, &shim_of("other"));
    mirror.publisher.offer("/amd64-usr/4593.2.8/flatcar_production_image.shim", "another");
    let error = run(&["--shim", "--quiet"]).failure(6);
    assert!(error.contains("flatcar_production_image.shim` differs from what its publisher announces"), "{error}");
    Ok(())
}

fn the_shim_and_kernel_of_debian_belong_together() -> Result<(), String> {
    let shim = std::fs::read("/usr/lib/shim/shimx64.efi.signed").map_err(|_| "shim-signed is not installed")?;
    let kernels = Utf8Path::new("/boot").read_dir_utf8().map_err(|error| error.to_string())?;
    let kernels = kernels.filter_map(|entry| Some(entry.ok()?.path().to_owned()));
    let is_kernel = |path: &Utf8PathBuf| path.file_name().is_some_and(|name| name.starts_with("vmlinuz-"));
    let signed = |path: Utf8PathBuf| {
        let kernel = std::fs::read(path).ok()?;
        String::from_utf8_lossy(&kernel[kernel.len() - 4096..]).contains("Debian Secure Boot").then_some(kernel)
    };
    let kernel = kernels.filter(is_kernel).find_map(signed).ok_or("there is no kernel that Debian has signed")?;
    let mirror = MirrorProject::new();
    release(&mirror, "44.1", &kernel, &cd(OWN_PATH, &shim));
    let said = mirror.run(&["--shim"]).warned().stdout;
    assert!(
        said.contains("issued by `Microsoft Corporation UEFI CA 2011`") || said.contains("UEFI CA 2023`"),
        "{said}"
    );
    assert!(said.contains("; trusts kernels of `CN=Debian Secure Boot CA`, SHA-256 "), "{said}");
    assert_eq!(std::fs::read(mirror.path(SHIM)).unwrap(), shim);
    // The same shim does not start the kernel of another.
    let authorities = Authorities::make(&mirror)?;
    release(&mirror, "44.2", &authorities.signed("vendor", &application()), &cd(OWN_PATH, &shim));
    let error = mirror.run(&["--shim", "--quiet"]).failure(6);
    assert!(error.contains("wanted one whose signer was issued by `CN=Debian Secure Boot CA`"), "{error}");
    Ok(())
}

fn a_shim_is_asked_for_where_there_is_one() {
    let mirror = MirrorProject::new();
    for arch in ["ppc64le", "s390x"] {
        let error = mirror.run(&["--shim", "--arch", arch]).failure(3);
        assert_eq!(
            error,
            format!(
                "error: `{arch}`: found an architecture without UEFI, wanted `x86_64` or `aarch64` for a shim\n\
                 hint: leave `--shim` out\nhint: or choose one of these with `--arch`\n"
            )
        );
    }
    assert!(!mirror.dest().exists());
    let (text, _) = mirror.scheduled("systemd", &["--shim"]);
    assert!(text.contains(" --links auto --base-url ") && text.contains(" --shim\n"), "{text}");
    // The metadata of a mirror of netboot files alone.
    mirror.publisher.release("44.1");
    let error = mirror.run(&["--shim", "--quiet"]).failure(5);
    assert!(error.contains("does not have `architectures.x86_64.artifacts.metal.formats.iso`"), "{error}");
    assert_eq!(IMAGES.len(), 3);
}
