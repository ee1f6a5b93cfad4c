//! Boot media: the same bytes as from iPXE's make, and machines that start from them.

use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use netboot_fixtures::harness::xtask;
use netboot_fixtures::project::CliOutput;
use netboot_fixtures::real::{Real, scripted, sources};
use netboot_fixtures::skip;
use netboot_loaders::base::fs;
use netboot_loaders::build::make;
use netboot_loaders::config::ipxe_config::IpxeConfig;
use netboot_loaders::digest::Sha256Digest;
use netboot_loaders::fetch::syslinux;
use netboot_loaders::loader::medium::Medium;
use netboot_loaders::loader::target::Platform;

netboot_fixtures::tests! {
    with sources;
    images_are_make_s,
    settings_of_the_host_do_not_count,
    a_full_disk_makes_no_medium,
    a_cd_in_a_bios_and_a_stick_in_uefi,
    ; full:
    each_medium_in_each_machine,
}

/// A script that goes where DHCP option 17 says.
const SCRIPT: &str = "#!ipxe\ndhcp && chain ${root-path} || shell\n";

/// Builds media for `loaders`.
fn build(real: &Real, loaders: &[&str]) -> Result<(), String> {
    for program in ["xorrisofs", "mtools", "syslinux"] {
        skip::program(program)?;
    }
    std::fs::write(real.project.join("embed-scripts/media.ipxe"), SCRIPT).unwrap();
    real.sites(&format!(
        "[default]\nloaders = {loaders:?}\nscript = \"media.ipxe\"\nmedia = [\"iso\", \"usb\", \"esp\"]\n\
         [site.bios]\nloaders = [\"undionly.kpxe\"]\nmedia = [\"iso\"]\n"
    ));
    real.build(&[]);
    real.verify();
    Ok(())
}

/// In a mount namespace, iPXE's make and its script find the pinned files of syslinux where the host has its own, and
/// `xorrisofs` alone.
fn images_are_make_s(real: &Real) -> Result<(), String> {
    skip::mount_namespaces()?;
    build(real, &["ipxe.pxe", "ipxe.efi"])?;
    let folder = tempfile::tempdir().unwrap();
    let root = Utf8Path::from_path(folder.path()).unwrap();
    let host = Utf8Path::new("/usr/lib/syslinux/modules/bios");
    if !host.is_dir() {
        return Err(format!("there is no {host}"));
    }
    for member in [Medium::Iso, Medium::Usb].iter().flat_map(|medium| medium.members()) {
        let pin = real.pins().syslinux.members.iter().find(|pin| pin.name == *member).unwrap();
        let content = syslinux::cached(&real.sources, pin).unwrap().unwrap();
        std::fs::create_dir_all(root.join("syslinux")).unwrap();
        std::fs::write(root.join("syslinux").join(member), content).unwrap();
    }
    for name in ["genisoimage", "mkisofs"] {
        // What is in front of the host's own is no such program.
        std::fs::create_dir_all(root.join("bin")).unwrap();
        std::os::unix::fs::symlink("/bin/false", root.join("bin").join(name)).unwrap();
    }
    let tree = root.join("tree");
    let built = real.cache.join("trees/bios-default/tree");
    assert!(Command::new("cp").args(["-a", built.as_str(), tree.as_str()]).status().unwrap().success());
    let src = tree.join("src");
    std::fs::write(src.join("embedded.ipxe"), scripted(SCRIPT)).unwrap();
    std::fs::copy(real.tree().join("ipxe.efi"), src.join("ipxe.efi")).unwrap();
    let config = IpxeConfig::read(&real.project.join("vendor/ipxe-config"), "default").unwrap();
    let variables: Vec<String> = make::variables(real.pin(), &config, Platform::Bios)
        .into_iter()
        .map(|variable| format!("'{}'", variable.replace(make::TREE, tree.as_str())))
        .collect();
    let script = format!(
        "umask 022 && mount --bind {root}/syslinux {host} && cd {src} && make -j2 {} bin/ipxe.iso && \
         sh util/genfsimg -o both.iso bin/ipxe.lkrn ipxe.efi && sh util/genfsimg -o both.usb bin/ipxe.lkrn ipxe.efi",
        variables.join(" ")
    );
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", &script]);
    command.env_clear().env("PATH", format!("{root}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"));
    command.envs(make::environment(real.pin()).iter().filter_map(|variable| variable.split_once('=')));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (ours, theirs) in [("sites/bios/ipxe.iso", "bin/ipxe.iso"), ("ipxe.iso", "both.iso"), ("ipxe.usb", "both.usb")]
    {
        let made = std::fs::read(src.join(theirs)).unwrap();
        assert!(real.read(ours) == made, "{ours}: {} bytes, by make {}", real.read(ours).len(), made.len());
    }
    let (zip, loader) = (real.read("ipxe-esp.zip"), real.read("ipxe.efi"));
    assert!(zip.windows(loader.len()).any(|part| part == loader));
    Ok(())
}

/// Builds to a new tree in a mount namespace, after `commands`. Returns the run, and the digests of the media.
fn build_after(real: &Real, commands: &str, jobs: &str) -> (CliOutput, Vec<Option<Sha256Digest>>) {
    let out = real.project.join("dist/again");
    let _ = std::fs::remove_dir_all(&out);
    let script = format!("{commands} && exec \"$@\"");
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", &script, "sh", xtask()]);
    let places = ["--project", real.project.as_str(), "--cache-dir", real.cache.as_str()];
    command.args(places).args(["build-loaders", "--offline", "--jobs", jobs, "--out", out.as_str()]);
    let ran = CliOutput::from(command.output().unwrap());
    let media = Medium::ALL.map(|medium| out.join(medium.file_name()));
    (ran, media.iter().map(|path| Some(fs::sha256(path).ok()?.0)).collect())
}

fn media_of(real: &Real) -> Vec<Option<Sha256Digest>> {
    Medium::ALL.map(|medium| Some(Sha256Digest::of(&real.read(medium.file_name())))).into()
}

fn settings_of_the_host_do_not_count(real: &Real) -> Result<(), String> {
    skip::mount_namespaces()?;
    build(real, &["ipxe.pxe", "ipxe.efi"])?;
    let host = Utf8Path::new("/etc/mtools.conf");
    if !host.is_file() {
        return Err(format!("there is no {host}"));
    }
    let other = real.project.join("mtools.conf");
    std::fs::write(&other, "MTOOLS_NAME_NUMERIC_TAIL=0\nMTOOLS_LOWER_CASE=1\n").unwrap();
    let commands = format!("mount --bind {other} {host} && umask 077 && export TZ=Asia/Tokyo MTOOLSRC={other}");
    let (ran, media) = build_after(real, &commands, "2");
    // Another test can have left a tarball.
    ran.warned();
    assert_eq!(media, media_of(real));
    Ok(())
}

/// mtools end with success on a full file system.
fn a_full_disk_makes_no_medium(real: &Real) -> Result<(), String> {
    skip::mount_namespaces()?;
    build(real, &["ipxe.pxe", "ipxe.efi"])?;
    let wanted = media_of(real);
    let mut failed = 0;
    for size in (2_000..8_000).step_by(400) {
        let stamping = real.cache.join("stamping");
        let (ran, media) = build_after(real, &format!("mount -t tmpfs -o size={size}k none {stamping}"), "1");
        if ran.code == 0 {
            assert_eq!(media, wanted, "{size}");
        } else {
            failed += 1;
            assert_eq!(media, [None; 3], "{size}");
            assert!(ran.stderr.contains("hint: free some space\n"), "{size}: {}", ran.stderr);
        }
    }
    assert!((1..15).contains(&failed), "{failed} failed");
    Ok(())
}

fn a_cd_in_a_bios_and_a_stick_in_uefi(real: &Real) -> Result<(), String> {
    skip::machines()?;
    build(real, &["ipxe.pxe", "ipxe.efi"])?;
    boots(real, &["--case", "ipxe.iso:bios", "--case", "ipxe.usb:uefi"], "2 passed, 0 failed, 0 skipped");
    Ok(())
}

fn each_medium_in_each_machine(real: &Real) -> Result<(), String> {
    skip::machines()?;
    for name in ["qemu-system-aarch64", "aarch64-linux-gnu-gcc", "apt-get"] {
        skip::program(name)?;
    }
    if !Utf8PathBuf::from("/usr/share/OVMF/OVMF32_CODE_4M.secboot.fd").is_file() {
        return Err("there is no firmware for i386".to_owned());
    }
    build(real, &["ipxe.pxe", "ipxe.efi", "i386/ipxe.efi", "arm64/ipxe.efi"])?;
    let media = ["--loader", "ipxe.iso", "--loader", "ipxe.usb", "--install-deps"];
    boots(real, &media, "9 passed, 0 failed, 0 skipped");
    Ok(())
}

fn boots(real: &Real, media: &[&str], wanted: &str) {
    let ran = CliOutput::from(real.command(&[&["boot-test"], media].concat()).output().unwrap()).warned();
    assert!(ran.stdout.contains(&format!("boot-test: {wanted}")), "{}", ran.stdout);
}
