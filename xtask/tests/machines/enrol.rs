//! A machine whose firmware is given our keys in Setup Mode, by a Linux that writes them to the firmware's variables. It
//! then starts what our key has signed, and nothing else.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use netboot_fixtures::project::{Project, installed};
use netboot_fixtures::skip;
use netboot_loaders::base::paths::Cache;
use netboot_loaders::base::progress::Silent;
use netboot_loaders::boot_test::drivers;
use netboot_loaders::boot_test::network::TestNetwork;
use netboot_loaders::boot_test::tools::{GuestImages, MachineTools, TestTools};
use netboot_loaders::loader::target::Platform;

netboot_fixtures::tests! {
    a_machine_in_setup_mode_takes_our_keys_and_then_starts_only_what_they_have_signed,
}

/// Firmware with Secure Boot and its empty variables, in Debian and Fedora.
const FIRMWARE: [[&str; 2]; 2] = [
    ["/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"],
    ["/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"],
];

/// Time that a machine has to print what is waited for.
const PATIENCE: Duration = Duration::from_secs(240);

/// What Linux does: it writes the files of the kit to the variables, the platform key last.
const INIT: &str = "#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc; $b mount -t sysfs sys /sys; $b mount -t devtmpfs dev /dev
$b dmesg -n 1
exec > /dev/ttyS0 2>&1
[ ! -f /efivarfs.ko ] || $b insmod /efivarfs.ko
$b mount -t efivarfs variables /sys/firmware/efi/efivars
cd /sys/firmware/efi/efivars
global=8be4df61-93ca-11d2-aa0d-00e098032b8c database=d719b2cb-3d3a-4596-a3bc-dad00e67656f
for variable in db-$database KEK-$global PK-$global; do
    { printf '\\047\\000\\000\\000'; $b cat /keys/${variable%%-*}.auth; } > /content
    $b dd if=/content of=$variable bs=64k && echo written: ${variable%%-*}
done
echo setup mode: $($b od -An -tx1 SetupMode-$global)
echo end of trial
$b poweroff -f
";

fn a_machine_in_setup_mode_takes_our_keys_and_then_starts_only_what_they_have_signed() -> Result<(), String> {
    let loader = installed()?.into_iter().find(|(name, ..)| *name == "syslinux.efi").ok_or("no syslinux.efi")?.2;
    skip::machines()?;
    ["openssl", "osslsigncode"].iter().try_for_each(|program| skip::program(program).map(drop))?;
    let project = Project::new();
    let guard = tempfile::Builder::new().prefix("netboot-enrol-").tempdir().unwrap();
    let folder = Utf8Path::from_path(guard.path()).unwrap();
    let world = World::find(folder, &Cache::new(project.path("cache")))?;
    let keys = folder.join("keys");
    project.run(["secure-boot", "keys", "--out", keys.as_str()]).success();
    let enrolled = world.enrol(&keys)?;
    for variable in ["db", "KEK", "PK"] {
        assert!(enrolled.contains(&format!("written: {variable}")), "{variable}: {enrolled}");
    }
    assert!(enrolled.contains("setup mode: 06 00 00 00 00"), "{enrolled}");
    let plain = folder.join("plain.efi");
    std::fs::write(&plain, loader).unwrap();
    let refused = world.start(&plain, "Access Denied");
    assert!(!refused.contains("ldlinux.e64"), "{refused}");
    let sign = || {
        let signed = folder.join("signed.efi");
        let _ = std::fs::remove_file(&signed);
        let mut command = Command::new("osslsigncode");
        command.args(["sign", "-h", "sha256", "-certs", keys.join("loader.pem").as_str()]);
        command.args(["-key", keys.join("loader.key").as_str(), "-in", plain.as_str(), "-out", signed.as_str()]);
        assert!(command.output().unwrap().status.success());
        signed
    };
    // It runs as far as to look for its second part.
    world.start(&sign(), "Failed to load ldlinux.e64");
    project.run(["secure-boot", "keys", "--leaf", "--out", keys.as_str()]).success();
    world.start(&sign(), "Failed to load ldlinux.e64");
    Ok(())
}

/// Machine with Secure Boot, and its variables in `folder`.
struct World<'f> {
    folder: &'f Utf8Path,
    tools: MachineTools,
    firmware: &'static str,
}

impl<'f> World<'f> {
    fn find(folder: &'f Utf8Path, cache: &Cache) -> Result<Self, String> {
        let found = FIRMWARE.iter().find(|files| files.iter().all(|file| Utf8Path::new(file).exists()));
        let [firmware, variables] = found.ok_or("found no firmware with Secure Boot and its empty variables")?;
        std::fs::copy(variables, folder.join("variables")).unwrap();
        let platforms = [Platform::EfiX64].into();
        let (path, guests) = (std::env::var("PATH").unwrap_or_default(), GuestImages::default());
        let tools = TestTools::find(&path, (&platforms, &guests), &TestNetwork::default(), cache, &Silent);
        let tools = tools.map_err(|error| error.to_string())?.machine(Platform::EfiX64)?.clone();
        Ok(Self { folder, tools, firmware })
    }

    /// Boots Linux, which enrols the keys, and returns what it printed.
    fn enrol(&self, keys: &Utf8Path) -> Result<String, String> {
        let mut archive = Archive::default();
        for name in ["bin", "dev", "proc", "sys", "keys"] {
            archive.add(name, 0o040_755, b"");
        }
        let busybox = std::fs::read(&self.tools.busybox).unwrap();
        archive.add("bin/busybox", 0o100_755, &busybox);
        archive.add("init", 0o100_755, INIT.as_bytes());
        for name in ["db.auth", "KEK.auth", "PK.auth"] {
            archive.add(&format!("keys/{name}"), 0o100_644, &std::fs::read(keys.join(name)).unwrap());
        }
        let kernel = std::fs::read(&self.tools.kernel).unwrap();
        if let Some(module) = module(&drivers::installed(&kernel).map_err(|error| error.to_string())?)? {
            archive.add("efivarfs.ko", 0o100_644, &module);
        }
        archive.add("TRAILER!!!", 0, b"");
        let initrd = self.folder.join("initrd");
        std::fs::write(&initrd, archive.0).unwrap();
        let append = "console=ttyS0 quiet";
        let words = ["-kernel", self.tools.kernel.as_str(), "-initrd", initrd.as_str(), "-append", append];
        Ok(self.run(&words, "end of trial"))
    }

    /// Starts the application `file` from a disk, and returns what is on the console once that has `wanted`.
    fn start(&self, file: &Utf8Path, wanted: &str) -> String {
        let disk = self.folder.join("disk");
        std::fs::create_dir_all(disk.join("EFI/BOOT")).unwrap();
        std::fs::copy(file, disk.join("EFI/BOOT/BOOTX64.EFI")).unwrap();
        self.run(&["-drive", &format!("file=fat:{disk},format=raw,if=virtio,readonly=on")], wanted)
    }

    /// Runs the machine until its console has `wanted`, and returns the text on it.
    fn run(&self, words: &[&str], wanted: &str) -> String {
        let console = self.folder.join("console");
        let _ = std::fs::remove_file(&console);
        let mut command = Command::new(&self.tools.qemu);
        command.args(["-machine", "q35,smm=on,accel=tcg", "-m", "512", "-display", "none", "-net", "none"]);
        command.args(["-global", "driver=cfi.pflash01,property=secure,value=on", "-no-reboot"]);
        let code = format!("if=pflash,format=raw,unit=0,readonly=on,file={}", self.firmware);
        let variables = format!("if=pflash,format=raw,unit=1,file={}", self.folder.join("variables"));
        command.args(["-drive", &code, "-drive", &variables, "-serial", &format!("file:{console}")]).args(words);
        let mut machine = command.stdin(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap();
        let start = Instant::now();
        loop {
            let text = std::fs::read(&console).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).into_owned();
            let ended = machine.try_wait().unwrap().is_some();
            if text.contains(wanted) || ended || start.elapsed() > PATIENCE {
                let _ = machine.kill();
                let _ = machine.wait();
                assert!(text.contains(wanted), "`{wanted}` is not on the console:\n{text}");
                return text;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Returns the module for the firmware's variables in `modules`, the modules of one kernel; `None` if the kernel needs none.
fn module(modules: &Utf8Path) -> Result<Option<Vec<u8>>, String> {
    let builtin = std::fs::read_to_string(modules.join("modules.builtin")).unwrap_or_default();
    if builtin.contains("/efivarfs.ko") {
        return Ok(None);
    }
    let path = |ending: &str| -> Utf8PathBuf { modules.join(format!("kernel/fs/efivarfs/efivarfs.ko{ending}")) };
    let packers = [("", "cat"), (".xz", "xzcat"), (".zst", "zstdcat"), (".gz", "zcat")];
    let found = packers.into_iter().find(|(ending, _)| path(ending).exists());
    let (ending, program) = found.ok_or_else(|| format!("`{modules}` has no module `efivarfs`"))?;
    let output = Command::new(skip::program(program)?).arg(path(ending)).output().unwrap();
    Ok(Some(output.stdout))
}

/// A cpio archive in the "newc" format, as the kernel reads it.
#[derive(Default)]
struct Archive(Vec<u8>);

impl Archive {
    fn add(&mut self, name: &str, mode: u32, content: &[u8]) {
        // Inode, mode, owner, group, links, time, size, four device numbers, length of the name, checksum.
        let (size, length) = (content.len(), name.len() + 1);
        let inode = self.0.len();
        self.0.extend(format!("070701{inode:08x}{mode:08x}{:016x}{:08x}{:08x}{size:08x}", 0, 1, 0).bytes());
        self.0.extend(format!("{:032x}{length:08x}{:08x}{name}\0", 0, 0).bytes());
        self.pad();
        self.0.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }
}
