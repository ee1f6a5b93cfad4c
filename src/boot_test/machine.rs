//! QEMU: its arguments, and a running machine.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use camino::Utf8Path;
use serde_json::json;

use super::boot_event::{BootEvent, EventSink};
use super::case::{BootSource, NicModel, NicSetup};
use super::console::Console;
use super::namespace::{INTERFACE, SECOND_INTERFACE};
use super::network::MAC;
use super::qmp::{self, Monitor};
use super::tools::MachineTools;
use crate::base::diagnostic::{Class, Diagnose, Diagnosis};
use crate::base::fs;
use crate::base::process::{self, Command, Running, Streams};
use crate::base::progress::Progress;
use crate::config::network::Mac;
use crate::loader::medium::Medium;
use crate::loader::target::Platform;
use crate::toolchain::cross::CrossCompiler;

/// MAC address of the card that the loader does not come from, in a machine with two cards.
const SECOND_MAC: Mac = Mac::new([0x52, 0x54, 0x00, 0x12, 0x34, 0x57]);
/// I/O port of a PC's first serial port, in the encoding of `SeaBIOS`, which also writes its console there.
const SERIAL_PORT: [u8; 2] = 0x3f8_u16.to_le_bytes();
/// File with the machine's UEFI variables, in its folder.
pub const VARIABLES: &str = "variables.fd";
/// File from which `SeaBIOS` reads [`SERIAL_PORT`], in the machine's folder.
const CONSOLE_PORT: &str = "serial-port";
/// Boot medium, in the machine's folder.
pub const MEDIUM: &str = "medium";
/// File name of the screenshot, in the machine's folder.
pub const PICTURE: &str = "screen.png";
/// File with the raw bytes of the serial console, in the machine's folder.
pub const SERIAL: &str = "serial.log";

/// How QEMU runs the processor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Accelerator {
    /// QEMU's translator: works the same everywhere.
    #[default]
    Tcg,
    /// KVM in the kernel: faster, but unreliable if this host is a virtual machine itself.
    Kvm,
}

/// Checks whether machines of `platform` have a CPU like this host's.
fn is_of_this_host(platform: Platform) -> bool {
    CrossCompiler::of(platform.arch()).is_none()
}

/// A kind of machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MachineSetup {
    /// Its firmware and CPU.
    pub platform: Platform,
    /// Its network cards.
    pub nics: NicSetup,
    /// The model of its cards.
    pub nic: NicModel,
    /// Where its firmware gets a loader from.
    pub boot_source: BootSource,
    /// Whether its firmware has Secure Boot.
    pub secure_boot: bool,
    /// The day that its clock starts with, as year, month and day; the host's time if absent.
    pub clock: Option<(i16, i8, i8)>,
}

/// Returns a day, given as year, month and day, as in `2040-01-31`.
#[must_use]
pub fn day((year, month, day): (i16, i8, i8)) -> String {
    format!("{year:04}-{month:02}-{day:02}")
}

/// Returns QEMU's arguments for a machine of the kind `setup`, in a folder that [`prepare`] has filled. The monitor uses
/// standard input, the serial console uses standard output.
#[must_use]
pub fn arguments(setup: MachineSetup, tools: &MachineTools, accelerator: Accelerator) -> Vec<String> {
    let MachineSetup { platform, boot_source, secure_boot, clock, .. } = setup;
    let accelerator = match accelerator {
        // A processor can run another CPU's code only by translation.
        Accelerator::Kvm if is_of_this_host(platform) => "kvm",
        Accelerator::Tcg | Accelerator::Kvm => "tcg",
    };
    let arm = platform == Platform::EfiArm64;
    let screen = if arm { "-device virtio-gpu-pci -cpu cortex-a72" } else { "-vga std" };
    let mut words: Vec<String> = [
        "-nodefaults -no-user-config -display none -smp 1 -m 512",
        screen,
        // Neither a power-off nor a reset ends the machine: its screen must still be captured.
        "-no-reboot -no-shutdown",
        "-device virtio-rng-pci",
        "-chardev socket,id=monitor,fd=0 -mon chardev=monitor,mode=control",
        "-chardev socket,id=serial,fd=1 -serial chardev:serial",
    ]
    .iter()
    .flat_map(|line| line.split(' '))
    .map(str::to_owned)
    .collect();
    let mut add = |option: &str, value: String| words.extend([option.to_owned(), value]);
    // OVMF with Secure Boot keeps its variables where only system management mode can write, and there is no other OVMF
    // for 32-bit x86.
    let smm = platform == Platform::EfiIa32 || (secure_boot && platform == Platform::EfiX64);
    let board = if arm { "virt" } else { "q35" };
    add("-machine", format!("{board}{},accel={accelerator}", if smm { ",smm=on" } else { "" }));
    if smm {
        add("-global", "driver=cfi.pflash01,property=secure,value=on".to_owned());
    }
    if let Some(clock) = clock {
        add("-rtc", format!("base={}", day(clock)));
    }
    words.extend(cards(setup));
    let mut add = |option: &str, value: String| words.extend([option.to_owned(), value]);
    if platform == Platform::Bios {
        add("-fw_cfg", format!("name=etc/sercon-port,file={CONSOLE_PORT}"));
    } else {
        add("-drive", format!("if=pflash,format=raw,unit=0,readonly=on,file={}", tools.firmware));
        add("-drive", format!("if=pflash,format=raw,unit=1,file={VARIABLES}"));
    }
    if let BootSource::Medium(medium) = boot_source {
        words.extend(medium_drive(medium, platform));
    }
    // The firmware tries PXE before HTTP.
    let pxe = ["IPv4PXESupport", "IPv6PXESupport"].into_iter().filter(|_| boot_source == BootSource::Http);
    words.extend(pxe.flat_map(|option| ["-fw_cfg".to_owned(), format!("name=opt/org.tianocore/{option},string=n")]));
    words
}

/// Returns the arguments for the network cards of a machine.
fn cards(setup: MachineSetup) -> Vec<String> {
    let MachineSetup { platform, nics, nic, boot_source, .. } = setup;
    let mut words = Vec::new();
    let mut add = |option: &str, value: String| words.extend([option.to_owned(), value]);
    add("-netdev", format!("tap,id=net,ifname={INTERFACE},script=no,downscript=no"));
    // The card's own boot ROM loads; without a ROM, the firmware's own PXE client does. UEFI has a driver for virtio, and
    // for other cards that of their ROM.
    let rom = if platform == Platform::Bios || nic != NicModel::Virtio { "" } else { ",romfile=" };
    let model = nic.device();
    let card = match boot_source {
        BootSource::Medium(_) => format!("{model},netdev=net,romfile="),
        _ => format!("{model},netdev=net,bootindex=1{rom}"),
    };
    if nics == NicSetup::Single {
        add("-device", card);
    } else {
        add("-netdev", format!("tap,id=second,ifname={SECOND_INTERFACE},script=no,downscript=no"));
        let mut both = [format!("{card},mac={MAC}"), format!("{model},netdev=second,romfile=,mac={SECOND_MAC}")];
        // Loaders number cards in the order of their slots on the bus.
        if nics == NicSetup::RootPathOnSecond {
            both.reverse();
        }
        for card in both {
            add("-device", card);
        }
    }
    words
}

/// Returns the arguments for a drive with the boot medium.
fn medium_drive(medium: Medium, platform: Platform) -> Vec<String> {
    let (controller, device) = match (medium, platform) {
        (Medium::Iso, Platform::EfiArm64) => (Some("virtio-scsi-pci"), "scsi-cd"),
        (Medium::Iso, _) => (None, "ide-cd"),
        _ => (Some("qemu-xhci"), "usb-storage"),
    };
    let mut words = vec!["-drive".to_owned(), format!("if=none,id=medium,format=raw,readonly=on,file={MEDIUM}")];
    words.extend(controller.into_iter().flat_map(|name| ["-device".to_owned(), name.to_owned()]));
    words.extend(["-device".to_owned(), format!("{device},drive=medium,bootindex=1")]);
    words
}

/// Checks whether QEMU has cards of the model `nic`.
///
/// # Errors
///
/// [`process::Error`] if QEMU does not say which devices it has.
pub fn has_card(tools: &MachineTools, nic: NicModel, progress: &dyn Progress) -> Result<bool, process::Error> {
    let command = Command::new("ask QEMU for its devices", tools.qemu.as_str()).args(["-device", "help"]);
    let named = format!("name \"{}\"", nic.device());
    Ok(command.output(progress)?.iter().any(|line| line.starts_with(&named)))
}

/// Writes the files that the machine needs into `folder`.
///
/// # Errors
///
/// [`fs::Error`] if a file cannot be read or written.
pub fn prepare(folder: &Utf8Path, tools: &MachineTools) -> Result<(), fs::Error> {
    fs::write_atomic(&folder.join(VARIABLES), &fs::read(&tools.variables)?)?;
    fs::write_atomic(&folder.join(CONSOLE_PORT), &SERIAL_PORT)
}

/// A running machine; it ends when dropped.
pub struct Machine {
    running: Running,
    monitor: Monitor,
    serial: UnixStream,
}

/// Errors from running a machine.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// QEMU does not start.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// QEMU does not execute a command.
    #[error(transparent)]
    Monitor(#[from] qmp::Error),
    /// The operating system refuses a connection to QEMU.
    #[error("cannot connect with QEMU: {0}")]
    Io(#[from] std::io::Error),
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Process(error) => error.diagnosis(),
            Self::Monitor(_) | Self::Io(_) => Class::Failure.into(),
        }
    }
}

impl Machine {
    /// Starts a machine in `folder`, which [`prepare`] has filled. Its events and its output go to `sink`.
    ///
    /// # Errors
    ///
    /// [`Error`] if the machine cannot be started. If it ends later, `sink` receives an event.
    pub fn start(
        setup: MachineSetup,
        tools: &MachineTools,
        accelerator: Accelerator,
        folder: &Utf8Path,
        sink: &EventSink,
    ) -> Result<Self, Error> {
        let (monitor, its_input) = UnixStream::pair()?;
        let (serial, its_output) = UnixStream::pair()?;
        let mut command =
            Command::new("run the machine", tools.qemu.as_str()).args(arguments(setup, tools, accelerator));
        command.dir = Some(folder.to_owned());
        let streams = Streams { input: Some(OwnedFd::from(its_input)), output: Some(OwnedFd::from(its_output)) };
        let running = command.start(streams)?;
        let (teller, mut words) = (sink.clone(), String::new());
        running.each_line(move |line| match line {
            Some(line) => {
                words.clone_from(&line);
                teller.log(format!("qemu: {line}"))
            }
            None => teller.record(BootEvent::Gone { program: "QEMU", words: words.clone() }, None),
        });
        let teller = sink.clone();
        let mut monitor = Monitor::new(monitor, move |stop| {
            teller.record(BootEvent::Stopped(stop), None);
        })?;
        listen(serial.try_clone()?, folder, sink.clone())?;
        // If QEMU has already ended, the last line of its output says why, and goes to `sink`.
        if let Err(error) = monitor.handshake() {
            sink.log(error.to_string());
        }
        Ok(Self { running, monitor, serial })
    }

    /// Types a key on the serial console.
    ///
    /// # Errors
    ///
    /// The error from the operating system if the console cannot be written.
    pub fn press(&mut self, key: u8) -> std::io::Result<()> {
        std::io::Write::write_all(&mut self.serial, &[key])
    }

    /// Saves a screenshot as [`PICTURE`] in the machine's folder.
    ///
    /// # Errors
    ///
    /// [`qmp::Error`] if QEMU cannot do that, as before version 7.1.
    pub fn picture(&mut self) -> Result<(), qmp::Error> {
        self.monitor.execute("screendump", &json!({ "filename": PICTURE, "format": "png" })).map(drop)
    }

    /// Returns the processor time that the machine has used.
    #[must_use]
    pub fn processor_time(&self) -> Duration {
        self.running.processor_time().unwrap_or_default()
    }
}

/// Copies the output of the serial console to a file, and sends it to `sink` as text.
fn listen(mut serial: UnixStream, folder: &Utf8Path, sink: EventSink) -> std::io::Result<()> {
    let mut file = std::fs::File::create(folder.join(SERIAL))?;
    std::thread::spawn(move || {
        let (mut console, mut bytes) = (Console::default(), vec![0; 1 << 14]);
        while let Ok(count @ 1..) = serial.read(&mut bytes) {
            // The verdict does not depend on this file.
            let _ = std::io::Write::write_all(&mut file, &bytes[..count]);
            let text = console.take(&bytes[..count]);
            if !text.is_empty() && !sink.record(BootEvent::ConsoleOutput(text), None) {
                break;
            }
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tools() -> MachineTools {
        MachineTools {
            qemu: "qemu".into(),
            firmware: "/ovmf/CODE.fd".into(),
            variables: "/ovmf/VARS.fd".into(),
            kernel: "vmlinuz".into(),
            modules: None,
            busybox: "busybox".into(),
        }
    }

    fn setup(platform: Platform, nics: NicSetup, boot_source: BootSource) -> MachineSetup {
        MachineSetup { platform, nics, nic: NicModel::Virtio, boot_source, secure_boot: false, clock: None }
    }

    fn words(platform: Platform, nics: NicSetup) -> String {
        arguments(setup(platform, nics, BootSource::Pxe), &tools(), Accelerator::default()).join(" ")
    }

    #[test]
    fn uefi_loads_with_its_own_pxe_and_a_bios_with_the_cards() {
        let (bios, uefi) = (words(Platform::Bios, NicSetup::Single), words(Platform::EfiX64, NicSetup::Single));
        assert!(uefi.contains("-device virtio-net-pci,netdev=net,bootindex=1,romfile= -drive if=pflash"), "{uefi}");
        assert!(
            uefi.ends_with(
                "unit=0,readonly=on,file=/ovmf/CODE.fd -drive if=pflash,format=raw,unit=1,file=variables.fd"
            )
        );
        assert!(bios.contains("-device virtio-net-pci,netdev=net,bootindex=1 -fw_cfg name=etc/sercon-port"), "{bios}");
        for words in [&bios, &uefi] {
            assert!(words.contains("-no-reboot -no-shutdown -device virtio-rng-pci"), "{words}");
            assert!(words.contains("-machine q35,accel=tcg"), "{words}");
            assert!(words.contains("-netdev tap,id=net,ifname=tap0,script=no,downscript=no"), "{words}");
        }
    }

    #[test]
    fn a_medium_is_what_a_machine_boots_and_its_card_only_carries_the_rest() {
        let words = |platform, medium| {
            let boot_source = BootSource::Medium(medium);
            arguments(setup(platform, NicSetup::Single, boot_source), &tools(), Accelerator::default()).join(" ")
        };
        let cd = words(Platform::Bios, Medium::Iso);
        assert!(cd.contains("-device virtio-net-pci,netdev=net,romfile= "), "{cd}");
        let drive = "-drive if=none,id=medium,format=raw,readonly=on,file=medium";
        assert!(cd.ends_with(&format!("{drive} -device ide-cd,drive=medium,bootindex=1")), "{cd}");
        let arm = words(Platform::EfiArm64, Medium::Iso);
        assert!(arm.ends_with("-device virtio-scsi-pci -device scsi-cd,drive=medium,bootindex=1"), "{arm}");
        let stick = words(Platform::EfiX64, Medium::Usb);
        assert!(stick.ends_with("-device qemu-xhci -device usb-storage,drive=medium,bootindex=1"), "{stick}");
    }

    #[test]
    fn machines_with_other_cpus_have_a_board_and_a_uefi_of_their_own() {
        let arm = words(Platform::EfiArm64, NicSetup::Single);
        assert!(
            arm.contains("-device virtio-gpu-pci -cpu cortex-a72 ") && arm.contains("-machine virt,accel=tcg"),
            "{arm}"
        );
        let ia32 = words(Platform::EfiIa32, NicSetup::Single);
        let board = "-machine q35,smm=on,accel=tcg -global driver=cfi.pflash01,property=secure,value=on";
        assert!(ia32.contains(board) && ia32.contains("-vga std"), "{ia32}");
        for words in [&arm, &ia32] {
            assert!(words.contains("bootindex=1,romfile= -drive if=pflash"), "{words}");
        }
    }

    #[test]
    fn secure_boot_keeps_its_keys_from_all_but_the_firmware() {
        let words = |platform| {
            let setup = MachineSetup { secure_boot: true, ..setup(platform, NicSetup::Single, BootSource::Pxe) };
            arguments(setup, &tools(), Accelerator::default()).join(" ")
        };
        let board = "-machine q35,smm=on,accel=tcg -global driver=cfi.pflash01,property=secure,value=on";
        assert!(words(Platform::EfiX64).contains(board));
        let arm = words(Platform::EfiArm64);
        assert!(arm.contains("-machine virt,accel=tcg ") && !arm.contains("smm"), "{arm}");
    }

    #[test]
    fn the_card_of_the_loader_is_the_first_or_the_second() {
        let useful = "virtio-net-pci,netdev=net,bootindex=1,mac=52:54:00:12:34:56";
        let other = "virtio-net-pci,netdev=second,romfile=,mac=52:54:00:12:34:57";
        for (nics, wanted) in [
            (NicSetup::RootPathOnFirst, format!("-device {useful} -device {other} ")),
            (NicSetup::RootPathOnSecond, format!("-device {other} -device {useful} ")),
            (NicSetup::RootPathOnOther, format!("-device {useful} -device {other} ")),
        ] {
            let words = words(Platform::Bios, nics);
            assert!(words.contains(&wanted), "{words}");
            assert!(words.contains("-netdev tap,id=second,ifname=tap1,script=no,downscript=no "), "{words}");
        }
    }
}
