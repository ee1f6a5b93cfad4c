//! Loaders that are built for Secure Boot and signed: what is signed, when, by whom, and what cannot sign.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use netboot_fixtures::project::{CliOutput, Project, rewrite_manifest};
use netboot_fixtures::{limits, says, skip};
use netboot_loaders::digest::Sha256Digest;
use netboot_loaders::loader::file_kind::FileKind;
use netboot_loaders::loader::signature::{Signatures, SigningCertificate};
use netboot_loaders::loader::smallest_application::application;
use netboot_loaders::tree::manifest::Manifest;
use tempfile::TempDir;

netboot_fixtures::tests! {
    loaders_are_signed_once_and_a_tree_says_by_whom,
    an_unsigned_rebuild_is_what_was_signed,
    what_cannot_sign_is_told_before_anything_is_built,
    a_command_that_signs_otherwise_is_found_out,
    what_is_wrong_in_the_table_is_told,
    a_kernel_is_signed_like_a_loader,
    a_key_of_another_kind_is_refused_by_its_certificate,
    a_signature_is_no_more_than_it_proves,
    an_ended_certificate_signs_and_is_warned_of,
    only_the_pinned_syslinux_may_be_without_a_signature,
    a_loader_that_is_not_signed_as_the_manifest_says_is_found,
    ; slow:
    a_large_kernel_is_signed_within_limits,
}

/// Keys in a folder of their own, outside of any project.
struct Keys(TempDir);

impl Keys {
    /// Makes an authority, a signer `loader` that it has certified, a key with a passphrase, and another signer.
    fn make() -> Result<Self, String> {
        skip::program("osslsigncode").and(skip::program("openssl"))?;
        let keys = Self(tempfile::Builder::new().prefix("keys-").tempdir().unwrap());
        keys.run(
            "openssl req -x509 -newkey rsa:2048 -nodes -days 9000 -subj '/CN=Loader CA' -keyout ca.key -out ca.pem
             openssl req -x509 -newkey rsa:2048 -nodes -days 9000 -subj /CN=Other -keyout other.key -out other.pem
             openssl req -newkey rsa:2048 -nodes -subj '/CN=Loaders' -keyout loader.key -out loader.csr
             openssl x509 -req -in loader.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 9000 -out leaf.pem
             cat leaf.pem ca.pem > loader.pem
             openssl rsa -aes256 -passout pass:secret -in loader.key -out locked.key
             echo secret > passphrase
             echo other > wrong
             chmod 600 *.key passphrase wrong",
        );
        Ok(keys)
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8Path::from_path(self.0.path()).unwrap().canonicalize_utf8().unwrap().join(name)
    }

    fn run(&self, script: &str) {
        let output = Command::new("sh").args(["-ec", script]).current_dir(self.0.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Returns a project whose loaders are signed as the lines `method` say.
    fn project(&self, loaders: &str, method: &str) -> Project {
        let project = Project::new();
        let pins = String::from_utf8(project.read("vendor/pins.toml")).unwrap();
        project.write("vendor/pins.toml", &pins.replace("\"0.0.1\"", "\"2.0.0\""));
        project.write("embed-scripts/loader.pem", &std::fs::read_to_string(self.path("loader.pem")).unwrap());
        project.sites(&self.sites(loaders, method));
        project
    }

    fn sites(&self, loaders: &str, method: &str) -> String {
        let method = method.replace("KEYS", self.path("").as_str().trim_end_matches('/'));
        format!(
            "[default]\nloaders = [{loaders}]\nscript = \"boot.ipxe\"\n\
             [secure-boot]\ncertificate = \"loader.pem\"\nsbat-name = \"example\"\n{method}\n"
        )
    }
}

const KEY: &str = "key = \"KEYS/loader.key\"";

fn a_kernel_is_signed_like_a_loader() -> Result<(), String> {
    let keys = Keys::make()?;
    let project = keys.project("\"ipxe.efi\"", KEY);
    let sign = |file: &str, out: &str| project.run(["secure-boot", "sign", file, "--out", out]);
    let (kernel, other, out) = (project.path("vmlinuz"), keys.path("other.efi"), project.path("vmlinuz.signed"));
    std::fs::write(&kernel, application()).unwrap();
    keys.run(&format!(
        "osslsigncode sign -h sha256 -certs other.pem -key other.key -in {kernel} -out {other} >/dev/null"
    ));
    let sign_other = || sign(other.as_str(), out.as_str());
    let done = sign_other();
    assert_eq!((done.code, done.stderr.as_str()), (0, ""));
    let by = "vmlinuz.signed: signed by CN=Loaders; 1 signature that it had was taken off\nSHA-256 ";
    assert!(done.stdout.contains(by), "{}", done.stdout);
    let signed = std::fs::read(&out).unwrap();
    let signatures = Signatures::of(&signed).unwrap();
    let chain = &signatures.signatures[0].as_ref().unwrap().chain;
    assert_eq!((signatures.signatures.len(), chain[0].subject.as_str()), (1, "CN=Loaders"));
    assert_eq!(signatures.digest, Signatures::of(&application()).unwrap().digest);
    // Nothing is replaced, and the same program is signed with the same bytes.
    let again = sign_other();
    assert_eq!(again.code, 1);
    assert!(again.stderr.contains("vmlinuz.signed` exists, and nothing is replaced"), "{}", again.stderr);
    let second = project.path("second");
    assert_eq!(sign(kernel.as_str(), second.as_str()).code, 0);
    assert_eq!(std::fs::read(&second).unwrap(), signed);
    project.write("text", "no program");
    let text = sign(project.path("text").as_str(), project.path("third").as_str());
    assert!(text.code != 0 && text.stderr.contains(", wanted an EFI application"), "{}", text.stderr);
    assert!(!project.path("third").exists());
    // A program of Windows is none for UEFI.
    let mut windows = application();
    let pe = u32::from_le_bytes(windows[0x3c..0x40].try_into().unwrap()) as usize;
    windows[pe + 24 + 68] = 3;
    std::fs::write(&kernel, windows).unwrap();
    let windows = sign(kernel.as_str(), project.path("third").as_str());
    assert!(windows.code != 0 && windows.stderr.contains(", wanted an EFI application"), "{}", windows.stderr);
    std::fs::write(&kernel, application()).unwrap();
    project.sites("[default]\nloaders = [\"ipxe.efi\"]\nscript = \"boot.ipxe\"\n");
    let without = sign(kernel.as_str(), project.path("third").as_str());
    assert!(without.code != 0 && without.stderr.contains("names no key of yours"), "{}", without.stderr);
    Ok(())
}

/// A kernel of the largest size: its signed copy must not be in memory beside it.
fn a_large_kernel_is_signed_within_limits() -> Result<(), String> {
    let keys = Keys::make()?;
    let project = keys.project("\"ipxe.efi\"", KEY);
    let (kernel, out) = (project.path("vmlinuz"), project.path("vmlinuz.signed"));
    std::fs::write(&kernel, application()).unwrap();
    let resize = |size| std::fs::File::options().write(true).open(&kernel).unwrap().set_len(size).unwrap();
    let sign =
        || limits::measure(&mut project.command(["secure-boot", "sign", kernel.as_str(), "--out", out.as_str()]));
    resize(192 << 20);
    let signed = sign().assert_memory_limit();
    assert_eq!(signed.status.code(), Some(0), "{}", signed.stderr);
    std::fs::remove_file(&out).unwrap();
    resize((192 << 20) + 8);
    let refused = sign().assert_memory_limit();
    assert!(refused.stderr.contains("it has 201326600 bytes, wanted 201326592 at most"), "{}", refused.stderr);
    assert!(!out.exists());
    Ok(())
}

/// Firmware checks signatures of RSA alone.
fn a_key_of_another_kind_is_refused_by_its_certificate() -> Result<(), String> {
    let keys = Keys::make()?;
    let refused = |make: &str| {
        keys.run(&format!("openssl req -x509 {make} -nodes -days 9 -subj /CN=Odd -keyout odd.key -out odd.pem 2>&1"));
        let project = keys.project("\"ipxe.efi\"", &KEY.replace("loader.key", "odd.key"));
        project.write("embed-scripts/loader.pem", &std::fs::read_to_string(keys.path("odd.pem")).unwrap());
        project.build(&[]).error(3).lines().next().unwrap_or_default().to_owned()
    };
    let start = "embed-scripts/sites.toml:5: `secure-boot.certificate`: `loader.pem` begins with a certificate of ";
    let wanted = ", wanted one of RSA with 2048 to 8192 bits";
    for (make, found) in [
        ("-newkey ec -pkeyopt ec_paramgen_curve:P-256", "a key of the kind 1.2.840.10045.2.1"),
        ("-newkey ed25519", "a key of the kind 1.3.101.112"),
        ("-newkey rsa:1024", "an RSA key of 1024 bits"),
        ("-newkey rsa:2047", "an RSA key of 2047 bits"),
    ] {
        assert_eq!(refused(make), format!("{start}{found}{wanted}"), "{make}");
    }
    Ok(())
}

fn a_signature_is_no_more_than_it_proves() -> Result<(), String> {
    let keys = Keys::make()?;
    std::fs::write(keys.path("app.efi"), application()).unwrap();
    keys.run(
        "openssl req -newkey rsa:2048 -nodes -subj /CN=Rogue -keyout rogue.key -out rogue.csr
         openssl x509 -req -in rogue.csr -CA leaf.pem -CAkey loader.key -CAcreateserial -days 9000 -out rogue.pem
         cat rogue.pem leaf.pem ca.pem > rogue-chain.pem
         sign() { osslsigncode sign -h sha256 -certs $1 -key $2 -in app.efi -out $3 > log; }
         sign loader.pem loader.key loader.efi
         sign rogue-chain.pem rogue.key rogue.efi",
    );
    let read = |name: &str| std::fs::read(keys.path(name)).unwrap();
    let only = |content: &[u8]| Signatures::of(content).unwrap().signatures.remove(0);
    let authority = SigningCertificate::read(&read("ca.pem")).unwrap();
    assert!(only(&read("loader.efi")).unwrap().leads_to(&authority));
    // The key for loaders has certified another key, which it must not: it is no authority.
    let rogue = only(&read("rogue.efi")).unwrap();
    assert_eq!((rogue.chain[0].subject.as_str(), rogue.chain.len()), ("CN=Rogue", 1));
    assert!(!rogue.leads_to(&authority));
    // Bytes after a signature, in its entry of the table, are signed by nobody.
    let mut stuffed = read("loader.efi");
    let number = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let directory = number(&stuffed, 0x3c) as usize + 24 + 112 + 4 * 8;
    let table = number(&stuffed, directory) as usize;
    for at in [directory + 4, table] {
        let longer = (number(&stuffed, at) + 16).to_le_bytes();
        stuffed[at..at + 4].copy_from_slice(&longer);
    }
    stuffed.extend([0; 16]);
    assert_eq!(only(&stuffed).unwrap_err(), "more than padding follows it");
    Ok(())
}

fn an_ended_certificate_signs_and_is_warned_of() -> Result<(), String> {
    let keys = Keys::make()?;
    // Firmware ignores dates, so machines start what it signs.
    keys.run("openssl x509 -req -in loader.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days -1 -out ended.pem");
    let project = keys.project("\"ipxe.efi\"", KEY);
    project.write("embed-scripts/loader.pem", &std::fs::read_to_string(keys.path("ended.pem")).unwrap());
    let signs = "warning: the certificate of `CN=Loaders`, which signs loaders, was valid until ";
    let built = project.build(&[]);
    assert_eq!(built.code, 0, "{}", built.stderr);
    assert!(built.stderr.contains(signs), "{}", built.stderr);
    let verified = project.run(["verify"]);
    let has_signed = "warning: the certificate of `CN=Loaders`, which has signed loaders, was valid until ";
    assert!(verified.code == 0 && verified.stderr.contains(has_signed), "{}", verified.stderr);
    let (loader, out) = (project.tree().join("ipxe.efi"), project.path("again.efi"));
    let signed = project.run(["secure-boot", "sign", loader.as_str(), "--out", out.as_str()]);
    assert!(signed.code == 0 && signed.stderr.contains(signs), "{}", signed.stderr);
    assert_eq!(std::fs::read(&out).unwrap(), std::fs::read(&loader).unwrap());
    Ok(())
}

fn manifest(project: &Project) -> Manifest {
    Manifest::parse(&project.read("dist/tftp/manifest.json")).unwrap()
}

fn loaders_are_signed_once_and_a_tree_says_by_whom() -> Result<(), String> {
    let keys = Keys::make()?;
    let project = keys.project("\"ipxe.pxe\", \"ipxe.efi\", \"ipxe-legacy.efi\"", KEY);
    let stamped = |of: &Project| of.build(&[]).success().stdout;
    assert!(stamped(&project).contains(" 3 loaders stamped, 0 kept"));
    let of = |path: &str| manifest(&project).files.into_iter().find(|file| file.path == path).unwrap();
    assert_eq!(of("ipxe.efi").ipxe.unwrap().target, "bin-x86_64-efi-sb/ipxe.efi");
    assert_eq!(of("ipxe-legacy.efi").ipxe.unwrap().target, "bin-x86_64-efi-sb/ipxe-legacy.efi");
    assert_eq!(of("ipxe.pxe").ipxe.unwrap().target, "bin/ipxe.pxe");
    assert!(of("ipxe.efi").authenticode_sha256.is_some() && of("ipxe.pxe").authenticode_sha256.is_none());
    assert_eq!(manifest(&project).secure_boot.unwrap().signer, "CN=Loaders");
    let lists: Vec<_> =
        manifest(&project).files.into_iter().filter(|file| file.path.starts_with("linked-objects")).collect();
    assert!(lists.iter().any(|list| list.path == "linked-objects/default/sb/ipxe-legacy.efi.txt"), "{lists:?}");
    for signer in ["ca.pem", "leaf.pem"] {
        let verified = project.run(["verify", "--signer", keys.path(signer).as_str()]).success().stdout;
        assert!(verified.contains("\nsigned by CN=Loaders, issued by CN=Loader CA, until "), "{verified}");
    }
    let error = project.run(["verify", "--signer", keys.path("other.pem").as_str()]).error(8);
    assert!(error.contains("` is as in its manifest, but not signed by `CN=Other`\n"), "{error}");
    assert!(error.contains("  `ipxe.efi` is signed by `CN=Loaders`, wanted `CN=Other`\n"), "{error}");
    assert!(stamped(&project).contains(" 0 loaders stamped, 3 kept"));
    let sites = keys.sites("\"ipxe.pxe\", \"ipxe.efi\", \"ipxe-legacy.efi\"", KEY);
    project.sites(&format!("{sites}[site.a]\n"));
    // A site with the same script has the same bytes.
    assert!(stamped(&project).contains(" 0 loaders stamped, 3 kept, 3 hard links to others"));
    // Another certificate for the same key.
    keys.run("openssl x509 -req -in loader.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 99 -out leaf.pem");
    project.write("embed-scripts/loader.pem", &std::fs::read_to_string(keys.path("leaf.pem")).unwrap());
    assert!(stamped(&project).contains(" 2 loaders stamped, 1 kept, "));
    let inspected = project.run(["inspect", project.tree().join("ipxe.efi").as_str()]).success().stdout;
    assert!(inspected.contains("bin-x86_64-efi-sb/ipxe.efi with boot.ipxe"), "{inspected}");
    assert!(inspected.contains("\n  protocols  1: d_proto\n"), "{inspected}");
    Ok(())
}

fn an_unsigned_rebuild_is_what_was_signed() -> Result<(), String> {
    let keys = Keys::make()?;
    let project = keys.project("\"ipxe.pxe\", \"ipxe.efi\"", KEY);
    project.build(&["--archive"]).success();
    let first = project.snapshot();
    // Neither the key nor its program is there any more.
    std::fs::remove_file(keys.path("loader.key")).unwrap();
    let ipxe = project.path("ipxe");
    let reproduce = |against: &str| {
        project.run(["reproduce", "--plain", "--offline", "--ipxe-url", ipxe.as_str(), "--against", against])
    };
    let said = reproduce(project.path("dist/tftp").as_str()).success().stdout;
    assert!(said.contains("UEFI loaders there are signed by `CN=Loaders`"), "{said}");
    assert!(said.contains("what is signed is exactly what these sources give"), "{said}");
    // Of a manifest alone, nobody has seen a signature.
    let said = reproduce(project.path("dist/tftp/manifest.json").as_str()).success().stdout;
    assert!(!said.contains("signed by"), "{said}");
    let mut forged = manifest(&project);
    let bios = forged.files.iter_mut().find(|file| file.path == "ipxe.pxe").unwrap();
    (bios.authenticode_sha256, bios.sha256) = (Some(bios.sha256), Sha256Digest::of(b"another"));
    project.write("forged.json", &forged.to_json());
    let said = reproduce(project.path("forged.json").as_str()).failure(12);
    assert!(said.contains("`ipxe.pxe`: found "), "{said}");
    std::fs::remove_file(project.path("forged.json")).unwrap();
    let made = project.run(["verify", "--against-make", "--offline", "--ipxe-url", ipxe.as_str()]).success().stdout;
    assert!(made.contains("2 loaders of 1 of 1 site"), "{made}");
    project.write("embed-scripts/boot.ipxe", "#!ipxe\nshell\n");
    let said = reproduce(project.path("dist/tftp").as_str()).failure(12);
    assert!(said.contains("the script in `ipxe.efi`"), "{said}");
    assert_eq!(project.snapshot(), first);
    Ok(())
}

fn what_cannot_sign_is_told_before_anything_is_built() -> Result<(), String> {
    let keys = Keys::make()?;
    let said = |method: &str| {
        let project = keys.project("\"ipxe.efi\"", method);
        let ran = project.build(&[]);
        assert!(!project.path("cache/ipxe.git").exists() && !project.tree().exists(), "{}", ran.stderr);
        ran.stderr.replace(keys.path("").as_str().trim_end_matches('/'), "KEYS")
    };
    let all = [
        KEY.replace("loader.key", "gone.key"),
        KEY.replace("loader.key", "other.key"),
        KEY.replace("loader.key", "ca.key"),
        KEY.replace("loader.key", "locked.key"),
        KEY.replace("loader.key", "locked.key\"\npassphrase-file = \"KEYS/wrong"),
    ];
    let project = keys.project("\"ipxe.efi\"", KEY);
    says!(project, all.map(|method| said(&method)).concat(), "keys-that-cannot-sign");
    let set_mode = |mode| std::fs::set_permissions(keys.path("loader.key"), PermissionsExt::from_mode(mode)).unwrap();
    set_mode(0o640);
    let readable = said(KEY);
    set_mode(0o600);
    std::fs::write(keys.path("manifest.json"), "{}").unwrap();
    says!(project, [readable, said(KEY)].concat(), "keys-that-others-know");
    std::fs::remove_file(keys.path("manifest.json")).unwrap();
    let locked = KEY.replace("loader.key", "locked.key\"\npassphrase-file = \"KEYS/passphrase");
    keys.project("\"ipxe.efi\"", &locked).build(&[]).success();
    Ok(())
}

fn a_command_that_signs_otherwise_is_found_out() -> Result<(), String> {
    skip::program("sbsign")?;
    let keys = Keys::make()?;
    let said = |script: &str| {
        let sign = "osslsigncode sign -h sha256 -time 1 -certs KEYS/loader.pem -key KEYS/loader.key -in";
        let other = "sbsign --key KEYS/loader.key --cert KEYS/leaf.pem --output";
        let script = script.replace("SIGN", sign).replace("SB", other);
        let method = format!(r#"sign-command = ["sh", "-ec", '{script}', "sh", "{{input}}", "{{output}}"]"#);
        let ran = keys.project("\"ipxe.efi\"", &method).build(&[]);
        (ran.code, ran.stderr.lines().find(|line| line.starts_with("error: ")).unwrap_or_default().to_owned())
    };
    assert_eq!(said("SIGN $1 -out $2"), (0, String::new()));
    assert_eq!(said("SB $2 $1"), (0, String::new()));
    let refused = |script: &str| {
        let (code, line) = said(script);
        assert_eq!(code, 3, "{line}");
        line
    };
    let all = [
        "true",
        "cp $1 $2",
        "SB $2 $1; SB $2 $2",
        "printf x >> $1; SIGN $1 -out $2",
        "SIGN $1 -out $2; printf 12345678 >> $2",
        "SIGN $1 -out $2; printf x | dd of=$2 bs=1 seek=1500 conv=notrunc",
    ];
    let project = keys.project("\"ipxe.efi\"", KEY);
    says!(project, all.map(refused).join("\n"), "commands-that-sign-otherwise");
    let (code, line) = said("echo no token >&2; exit 1");
    assert_eq!((code, line.as_str()), (1, "error: cannot sign a loader: `/usr/bin/sh` ended with exit code 1"));
    Ok(())
}

fn what_is_wrong_in_the_table_is_told() -> Result<(), String> {
    let keys = Keys::make()?;
    let project = keys.project("\"ipxe.efi\"", "");
    std::fs::copy(keys.path("other.key"), project.path("other.key")).unwrap();
    project.write("embed-scripts/key.pem", &std::fs::read_to_string(keys.path("other.key")).unwrap());
    let own = project.path("other.key");
    let inside = format!("key = \"{own}\"\npassphrase-file = \"pass\"");
    let tables = [
        String::new(),
        "certificate = \"gone.pem\"\nsbat-name = \"a,b\"\nsbat-generation = 0\nkey = \"loader.key\"".to_owned(),
        format!("certificate = \"key.pem\"\nsbat-name = \"a\"\n{inside}"),
        "certificate = \"loader.pem\"\nsbat-name = \"a\"\nkey = \"/k\"\nsign-command = [\"x\"]".to_owned(),
        "certificate = \"loader.pem\"\nsbat-name = \"a\"\nsign-command = [\"./x\", \"{input}\"]".to_owned(),
        "certificate = \"loader.pem\"\nsbat-name = \"a\"\nsign-command = [\"x\", \"{input}\"]".to_owned(),
        "certificate = \"loader.pem\"\nsbat-name = \"a\"\nsign-command = [\"no-such-signer\", \"{input}\", \"{output}\"]"
            .to_owned(),
    ];
    let said = tables.map(|table| {
        project
            .sites(&format!("[default]\nloaders = [\"ipxe.efi\"]\nscript = \"boot.ipxe\"\n[secure-boot]\n{table}\n"));
        let CliOutput { code, stderr, .. } = project.build(&[]);
        format!("{code}: {}", stderr.replace(project.root.as_str(), "PROJECT"))
    });
    says!(project, said.join("\n"), "secure-boot-tables");
    let pins = String::from_utf8(project.read("vendor/pins.toml")).unwrap();
    project.write("vendor/pins.toml", &pins.replace("\"2.0.0\"", "\"1.21.1\""));
    project.sites(&keys.sites("\"ipxe.efi\"", KEY));
    says!(project, project.build(&[]), "too-old-for-secure-boot");
    project.write("vendor/pins.toml", &pins);
    project.sites(&keys.sites("\"ipxe.efi\", \"i386/snponly.efi\"", KEY));
    let warned = project.build(&[]).warned().stderr;
    assert!(
        warned.contains("loaders for i386 stay without a signature: the pinned iPXE has no build for Secure Boot"),
        "{warned}"
    );
    Ok(())
}

fn a_loader_that_is_not_signed_as_the_manifest_says_is_found() -> Result<(), String> {
    let keys = Keys::make()?;
    let project = keys.project("\"ipxe.efi\", \"snponly.efi\", \"ipxe-legacy.efi\"", KEY);
    project.build(&[]).success();
    let tree = project.tree();
    let plain = keys.path("plain.efi");
    keys.run(&format!(
        "osslsigncode remove-signature -in {tree}/ipxe.efi -out {plain}
         cp {plain} {tree}/ipxe.efi
         osslsigncode sign -h sha256 -certs other.pem -key other.key -in {tree}/snponly.efi -out other.efi
         osslsigncode remove-signature -in {tree}/snponly.efi -out bare.efi
         osslsigncode sign -h sha256 -certs other.pem -key other.key -in bare.efi -out other-alone.efi
         cp other-alone.efi {tree}/snponly.efi
         printf x | dd of={tree}/ipxe-legacy.efi bs=1 seek=1500 conv=notrunc"
    ));
    rewrite_manifest(&tree);
    says!(project, project.run(["verify"]), "loaders-that-are-signed-otherwise");
    // What an earlier run has made is signed again if it is not as it was.
    let made = project.build(&[]).success().stdout;
    assert!(made.contains(" 3 loaders stamped, 0 kept"), "{made}");
    project.run(["verify"]).success();
    let journal = project.path("dist/.tftp.journal");
    let (path, signed) = (tree.join("ipxe.efi"), std::fs::read(tree.join("ipxe.efi")).unwrap());
    let lines = std::fs::read_to_string(&journal).unwrap();
    std::fs::copy(&plain, &path).unwrap();
    let [was, is] = [signed, std::fs::read(&plain).unwrap()].map(|it| (Sha256Digest::of(&it), it.len()));
    let forged = lines.replace(&was.0.to_string(), &is.0.to_string());
    let forged = forged.replace(&format!("\"size\":{}", was.1), &format!("\"size\":{}", is.1));
    assert_ne!(forged, lines);
    std::fs::write(&journal, forged).unwrap();
    project.build(&["--replace"]).success();
    project.run(["verify", "--signer", keys.path("ca.pem").as_str()]).success();
    // Whatever a manifest says, a loader is demanded to be signed.
    std::fs::copy(&plain, &path).unwrap();
    std::fs::copy(keys.path("other-alone.efi"), tree.join("snponly.efi")).unwrap();
    rewrite_manifest(&tree);
    let mut forged = manifest(&project);
    forged.secure_boot = None;
    for file in &mut forged.files {
        (file.ipxe, file.authenticode_sha256) = (None, None);
        (file.kind, file.arch, file.set) = (FileKind::Data, None, Some("ipxe 2.0.0".to_owned()));
    }
    project.write("dist/tftp/manifest.json", &forged.to_json());
    project.write("dist/tftp/SHA256SUMS", &forged.sha256sums());
    let error = project.run(["verify", "--signer", keys.path("ca.pem").as_str()]).error(8);
    assert!(error.contains("`ipxe.efi` has no signature, wanted one of `CN=Loader CA`"), "{error}");
    assert!(error.contains("`snponly.efi` is signed by `CN=Other`, wanted `CN=Loader CA`"), "{error}");
    Ok(())
}

fn only_the_pinned_syslinux_may_be_without_a_signature() -> Result<(), String> {
    let keys = Keys::make()?;
    let project = keys.project("\"ipxe.efi\"", KEY);
    let sites = keys.sites("\"ipxe.efi\"", KEY);
    project.sites(&format!("{sites}[syslinux]\nmembers = [\"syslinux.efi\", \"ldlinux.e64\"]\n"));
    project.build(&[]).success();
    let verify = || project.run(["verify", "--signer", keys.path("ca.pem").as_str()]);
    verify().success();
    let (tree, plain) = (project.tree(), keys.path("plain.efi"));
    keys.run(&format!(
        "osslsigncode remove-signature -in {tree}/ipxe.efi -out {plain} && cp {plain} {tree}/syslinux.efi"
    ));
    rewrite_manifest(&tree);
    let error = verify().error(8);
    assert!(error.contains("\n  `syslinux.efi` has no signature, wanted one of `CN=Loader CA`\n"), "{error}");
    Ok(())
}
