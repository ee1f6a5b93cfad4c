//! `mirror --verify-signatures`: only images signed with a pinned key come into use. GnuPG makes the keys and
//! signatures; if it is not installed, every test here reports that it was skipped.

use std::process::Command;

use camino::Utf8PathBuf;
use netboot_fixtures::mirror::{self, IMAGES, MirrorProject, content, path};
use netboot_fixtures::project::CliOutput;
use netboot_fixtures::skip::program;
use netboot_fixtures::{says, shows};
use serde_json::{Value, json};

netboot_fixtures::tests! {
    signed,
    refused,
    later,
    unpinned,
    missing,
    without_gpgv,
    downloaded,
}

/// Checks that the programs that make and verify keys and signatures are installed.
pub(super) fn gnupg() -> Result<(), String> {
    program("gpg")?;
    program("gpgv")?;
    Ok(())
}

/// A signer with keys in a separate folder.
pub(super) struct Signer {
    home: Utf8PathBuf,
}

impl Signer {
    /// Creates a primary key that certifies, and a subkey that signs.
    fn new(mirror: &MirrorProject, name: &str) -> Self {
        let signer = Self { home: mirror.root.join(name) };
        std::fs::create_dir(&signer.home).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&signer.home, mode).unwrap();
        let user = format!("{name} <{name}@example.org>");
        signer.gpg(&["--quick-generate-key", &user, "ed25519", "cert", "never"]);
        let fingerprint = signer.fingerprint();
        signer.gpg(&["--quick-add-key", &fingerprint, "ed25519", "sign", "never"]);
        signer
    }

    fn gpg(&self, arguments: &[&str]) -> Vec<u8> {
        let mut command = Command::new("gpg");
        command.args(["--homedir", self.home.as_str(), "--batch", "--quiet", "--yes", "--passphrase", ""]);
        let output = command.args(["--pinentry-mode", "loopback"]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Returns the fingerprint of the primary key.
    pub(super) fn fingerprint(&self) -> String {
        let listing = String::from_utf8(self.gpg(&["--with-colons", "--list-keys"])).unwrap();
        let line = listing.lines().find_map(|line| line.strip_prefix("fpr:")).unwrap();
        line.trim_matches(':').to_owned()
    }

    fn keys(&self, armored: bool) -> Vec<u8> {
        if armored { self.gpg(&["--armor", "--export"]) } else { self.gpg(&["--export"]) }
    }

    /// Returns a detached signature of `content`.
    pub(super) fn sign(&self, content: &[u8]) -> Vec<u8> {
        let (file, signature) = (self.home.join("file"), self.home.join("file.sig"));
        std::fs::write(&file, content).unwrap();
        self.gpg(&["--output", signature.as_str(), "--detach-sign", file.as_str()]);
        std::fs::read(signature).unwrap()
    }

    /// Publishes signatures of all images of `version`.
    pub(super) fn release(&self, mirror: &MirrorProject, version: &str) {
        mirror.publisher.release(version);
        for (name, _, size) in IMAGES {
            let signature = self.sign(&content(version, name, size));
            mirror.publisher.offer(&format!("{}.sig", path(version, name)), signature);
        }
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        // The agent ends by itself when its folder is removed; this is faster.
        let _ = Command::new("gpgconf").args(["--homedir", self.home.as_str(), "--kill", "gpg-agent"]).output();
    }
}

/// Pins the keys of `signer`, which are published at `keys`.
fn pin(mirror: &MirrorProject, signer: &Signer, keys: &str) {
    let own = include_str!("../../../../vendor/pins.toml");
    let (rest, _) = own.split_once("[signers.fedora-coreos]").unwrap();
    let fingerprint = signer.fingerprint();
    std::fs::create_dir_all(mirror.root.join("vendor")).unwrap();
    let text = format!("{rest}[signers.fedora-coreos]\nkeys = \"{keys}\"\nfingerprints = [\"{fingerprint}\"]\n");
    std::fs::write(mirror.root.join("vendor/pins.toml"), text).unwrap();
}

/// Returns a mirror whose publisher signs its files, the signer, and the file with the keys.
pub(super) fn with_keys(armored: bool) -> (MirrorProject, Signer, Utf8PathBuf) {
    let mirror = MirrorProject::new();
    let signer = Signer::new(&mirror, "publisher");
    pin(&mirror, &signer, "https://unreachable.invalid/keys");
    let keys = mirror.root.join("keys");
    std::fs::write(&keys, signer.keys(armored)).unwrap();
    (mirror, signer, keys)
}

fn record(mirror: &MirrorProject) -> Value {
    serde_json::from_slice(&std::fs::read(mirror.path("current/mirror.json")).unwrap()).unwrap()
}

fn signed() -> Result<(), String> {
    gnupg()?;
    for armored in [true, false] {
        let (mirror, signer, keys) = with_keys(armored);
        signer.release(&mirror, "44.1");
        let more = ["--verify-signatures", "--keys", keys.as_str()];
        assert_eq!(mirror.update(&more)["changed"], true);
        mirror.assert_served("44.1");
        assert_eq!(record(&mirror)["signed-by"], json!([signer.fingerprint()]));
        let signature = std::fs::read(mirror.path("current/kernel-x86_64.sig")).unwrap();
        assert_eq!(signature, mirror.publisher.file(&format!("{}.sig", path("44.1", "kernel.x86_64"))));
        assert_eq!(mirror.update(&more)["changed"], false);
        assert_eq!(mirror.own(), ["history", "lock"]);
    }
    Ok(())
}

fn refused() -> Result<(), String> {
    gnupg()?;
    let (mirror, signer, keys) = with_keys(true);
    let stranger = Signer::new(&mirror, "stranger");
    signer.release(&mirror, "44.1");
    let more = ["--verify-signatures", "--keys", keys.as_str()];
    mirror.update(&more);
    signer.release(&mirror, "44.2");
    let rootfs = format!("{}.sig", path("44.2", "rootfs.x86_64.img"));
    let by_stranger = stranger.sign(&content("44.2", "rootfs.x86_64.img", 150_000));
    let check = |signature: &[u8], reason: &str| {
        mirror.publisher.offer(&rootfs, signature);
        assert_eq!(
            mirror.run(&more).error(6),
            format!(
                "the signature of `rootfs.x86_64.img` is not accepted: {reason}\n\
                 hint: do not use these images; vendor/README.md says how the pinned keys were found\n"
            )
        );
        mirror.assert_served("44.1");
    };
    let of_another = signer.sign(&content("44.1", "rootfs.x86_64.img", 150_000));
    check(&of_another, "the file is not the one that was signed");
    let refused = |found: &str| format!("found {found}, wanted 1 to 16 binary OpenPGP signatures");
    check(b"<html>404</html>", &refused("something else than an OpenPGP packet with its length"));
    check(b"", &refused("an empty file"));
    // Compressed packets could unpack to any size, even beside a good signature.
    let good = signer.sign(&content("44.2", "rootfs.x86_64.img", 150_000));
    let stored = [&[0xa3, 0, 1], &u16::try_from(good.len()).unwrap().to_le_bytes()[..]].concat();
    check(&[&good[..], &stored].concat(), &refused("something else than an OpenPGP packet with its length"));
    check(&[&[0xc8, 2, 1, 0][..], &good].concat(), &refused("an OpenPGP packet of type 8"));
    check(b"\x88\x01\x04", "it is not a signature of a file");
    let listing = String::from_utf8(stranger.gpg(&["--with-colons", "--list-keys"])).unwrap();
    let subkey = listing.lines().find(|line| line.starts_with("sub:")).unwrap().split(':').nth(4).unwrap().to_owned();
    check(&by_stranger, &format!("it was made with the key {subkey}, which is not among the keys"));
    // The same, with the stranger's key added to the key file.
    std::fs::write(&keys, [signer.keys(true), stranger.keys(true)].concat()).unwrap();
    check(&by_stranger, &format!("it was made with the key {}, which is not pinned", stranger.fingerprint()));
    signer.release(&mirror, "44.2");
    mirror.update(&more);
    mirror.assert_served("44.2");
    Ok(())
}

fn later() -> Result<(), String> {
    gnupg()?;
    let (mirror, signer, keys) = with_keys(true);
    signer.release(&mirror, "44.1");
    mirror.update(&[]);
    let asked = mirror.publisher.server.paths().len();
    let more = ["--verify-signatures", "--keys", keys.as_str()];
    assert_eq!(mirror.update(&more)["changed"], true);
    mirror.assert_served("44.1");
    assert_eq!(record(&mirror)["signed-by"], json!([signer.fingerprint()]));
    let mut paths = mirror.publisher.server.paths()[asked..].to_vec();
    paths.retain(|path| path.contains("-live-"));
    assert_eq!(paths, IMAGES.map(|(name, ..)| format!("{}.sig", path("44.1", name))));
    // Without `--verify-signatures`, the set is accepted as it is.
    assert_eq!(mirror.update(&[])["changed"], false);
    Ok(())
}

fn unpinned() -> Result<(), String> {
    gnupg()?;
    let (mirror, signer, keys) = with_keys(true);
    signer.release(&mirror, "44.1");
    let more = ["--verify-signatures", "--keys", keys.as_str()];
    mirror.update(&more);
    let stranger = Signer::new(&mirror, "stranger");
    pin(&mirror, &stranger, "https://unreachable.invalid/keys");
    assert_eq!(
        mirror.run(&more).error(6),
        format!(
            "the signature of `kernel-x86_64` is not accepted: it was made with the key {}, which is not pinned\n\
             hint: do not use these images; vendor/README.md says how the pinned keys were found\n",
            signer.fingerprint()
        )
    );
    mirror.assert_served("44.1");
    Ok(())
}

fn missing() -> Result<(), String> {
    gnupg()?;
    let (mirror, signer, keys) = with_keys(true);
    signer.release(&mirror, "44.1");
    let more = ["--quiet", "--verify-signatures", "--keys", keys.as_str()];
    let asked = mirror.publisher.server.paths().len();
    std::fs::remove_file(&keys).unwrap();
    shows!(mirror, &more, @r"
    exit code 1, stderr:
    error: cannot read `PROJECT/keys`
      caused by: No such file or directory (os error 2)
    hint: give the file that the publisher offers with `--keys`
    ");
    std::fs::write(&keys, "<html></html>").unwrap();
    shows!(mirror, &more, @r"
    exit code 3, stderr:
    error: `PROJECT/keys` has no OpenPGP keys
    hint: give the file that the publisher offers with `--keys`
    ");
    assert_eq!(mirror.publisher.server.paths().len(), asked, "keys are read before anything is downloaded");
    std::fs::write(&keys, signer.keys(true)).unwrap();
    let mut metadata = mirror::metadata("44.1");
    let kernel = "/architectures/x86_64/artifacts/metal/formats/pxe/kernel";
    metadata.pointer_mut(kernel).unwrap().as_object_mut().unwrap().remove("signature");
    mirror.publisher.offer(mirror::METADATA, metadata.to_string());
    shows!(mirror, &more, @"
    exit code 5, stderr:
    error: there is no signature of `http://127.0.0.1:PORT/prod/streams/stable/builds/44.1/x86_64/fedora-coreos-44.1-live-kernel.x86_64`
    hint: leave `--verify-signatures` out
    ");
    let pins = mirror.root.join("vendor/pins.toml");
    let text = std::fs::read_to_string(&pins).unwrap();
    std::fs::write(&pins, text.split_once("[signers").unwrap().0).unwrap();
    shows!(mirror, &more, @r"
    exit code 3, stderr:
    error: `vendor/pins.toml` does not say whose signatures count for `fedora-coreos`
    hint: add the table [signers.fedora-coreos]
    ");
    assert!(!mirror.path("current").exists());
    Ok(())
}

fn without_gpgv() -> Result<(), String> {
    gnupg()?;
    let (mirror, _, keys) = with_keys(true);
    let tools = mirror.root.join("tools");
    std::fs::create_dir(&tools).unwrap();
    std::os::unix::fs::symlink("/bin/true", tools.join("apt-get")).unwrap();
    let mut command = mirror.command(&["--verify-signatures", "--keys", keys.as_str()]);
    let ran = CliOutput::from(command.env("PATH", tools.as_str()).output().unwrap());
    says!(mirror, ran, @r"
    exit code 4, stderr:
    error: found no `gpgv`, which checks signatures
    hint: install it with `sudo apt-get update && sudo apt-get install -y --no-install-recommends gpgv`
    hint: or leave `--verify-signatures` out
    ");
    Ok(())
}

fn downloaded() -> Result<(), String> {
    gnupg()?;
    let (mirror, signer, _) = with_keys(true);
    pin(&mirror, &signer, &mirror.publisher.server.url("/fedora.gpg"));
    mirror.publisher.offer("/fedora.gpg", signer.keys(false));
    signer.release(&mirror, "44.1");
    mirror.update(&["--verify-signatures"]);
    mirror.assert_served("44.1");
    let asked = mirror.publisher.server.paths().iter().filter(|path| *path == "/fedora.gpg").count();
    assert_eq!(asked, 1);
    Ok(())
}
