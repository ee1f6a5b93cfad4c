//! Userland of a machine: an initramfs with a static busybox and an `init` that reports that it runs, and powers off.
//! With drivers, it first uses DHCP as an operating system does, and fetches the URLs on the kernel's command line.

use camino::Utf8Path;

use super::drivers::Drivers;
use crate::base::fs;

/// Prefix of the nonce that reports that userland was reached.
pub const REACHED: &str = "netboot-loaders: userland ";
/// Prefix of the kernel's command line.
pub const COMMAND_LINE: &str = "netboot-loaders: command line: ";
/// Prefix of the host name in DHCP option 12.
pub const HOST_NAME: &str = "netboot-loaders: host name: ";
/// Prefix of a URL on the command line and the SHA-256 of what was fetched from it.
pub const FETCHED: &str = "netboot-loaders: fetched: ";
/// Prefix of the state of Secure Boot: `on`, `off`, or `unknown`.
pub const SECURE_BOOT: &str = "netboot-loaders: Secure Boot: ";

/// Returns the initramfs as an uncompressed cpio archive in the "newc" format. It prints `nonce` on the serial console
/// and on the screen. With `drivers`, it also uses the network; with `secure_boot`, it also reports the state of that.
///
/// # Errors
///
/// [`fs::Error`] if busybox cannot be read.
pub fn initramfs(
    busybox: &Utf8Path,
    nonce: &str,
    drivers: Option<&Drivers>,
    secure_boot: bool,
) -> Result<Vec<u8>, fs::Error> {
    let mut archive = Cpio::default();
    for folder in ["bin", "dev", "etc", "modules", "proc", "sys"] {
        archive.add(folder, FOLDER | 0o755, b"");
    }
    archive.add("bin/busybox", FILE | 0o755, &fs::read(busybox)?);
    archive.add("init", FILE | 0o755, init(nonce, drivers, secure_boot).as_bytes());
    archive.add("bin/lease", FILE | 0o755, LEASE.as_bytes());
    for (name, content) in drivers.iter().flat_map(|drivers| drivers.iter()) {
        archive.add(&format!("modules/{name}"), FILE | 0o644, content);
    }
    Ok(archive.finish())
}

/// Returns an empty initramfs, which stands in for further ones.
#[must_use]
pub fn nothing() -> Vec<u8> {
    Cpio::default().finish()
}

/// Script that applies a DHCP lease, called by `udhcpc`.
const LEASE: &str = "\
#!/bin/busybox sh
busybox=/bin/busybox
case $1 in
deconfig) $busybox ip link set $interface up ;;
bound)
    $busybox ip address add $ip/$mask dev $interface
    for router in $router; do $busybox ip route add default via $router; done
    for server in $dns; do echo \"nameserver $server\" >> /etc/resolv.conf; done
    echo \"$hostname\" > /etc/hostname ;;
esac
";

/// Returns the text of `init`. It powers off without waiting: the machine is configured to stay in place after that, so
/// that its screen can be captured. It writes to the serial port whatever consoles the command line names.
fn init(nonce: &str, drivers: Option<&Drivers>, secure_boot: bool) -> String {
    let network = drivers.map(network).unwrap_or_default();
    let secure_boot = if secure_boot { state_of_secure_boot() } else { String::new() };
    format!(
        "#!/bin/busybox sh\n\
         busybox=/bin/busybox\n\
         say() {{\n\
         \x20   for console in /dev/tty0 /dev/ttyS0 /dev/ttyAMA0; do\n\
         \x20       {{ [ ! -c $console ] || echo \"$*\" > $console; }} 2> /dev/null\n\
         \x20   done\n\
         }}\n\
         $busybox mount -t proc proc /proc\n\
         $busybox mount -t devtmpfs dev /dev\n\
         # No message of the kernel shall stand in the middle of the next lines.\n\
         $busybox dmesg -n 1\n\
         read -r line < /proc/cmdline\n\
         # The picture of the screen shall show this alone.\n\
         $busybox printf '\\033[2J\\033[H' > /dev/tty0\n\
         say\n\
         say \"{REACHED}{nonce}\"\n\
         {secure_boot}\
         say \"{COMMAND_LINE}$line\"\n\
         {network}\
         $busybox poweroff -f\n"
    )
}

/// Returns the part of `init` that reports the state of Secure Boot: as the kernel's log has it, or the firmware's own
/// variable, if the kernel can read variables without a module.
fn state_of_secure_boot() -> String {
    format!(
        "variable=/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c\n\
         $busybox mount -t sysfs sys /sys\n\
         $busybox mount -t efivarfs efivarfs /sys/firmware/efi/efivars 2> /dev/null\n\
         secure=unknown\n\
         # Four bytes of attributes, and the value.\n\
         [ ! -e $variable ] || case $($busybox od -A n -t u1 -j 4 -N 1 $variable) in\n\
         *1) secure=on ;;\n\
         *0) secure=off ;;\n\
         esac\n\
         case $($busybox dmesg) in\n\
         *'ecure boot enabled'*) secure=on ;;\n\
         *'ecure boot disabled'*) secure=off ;;\n\
         esac\n\
         say \"{SECURE_BOOT}$secure\"\n"
    )
}

/// Returns the part of `init` that requests a DHCP lease, and fetches the URLs on the command line.
fn network(drivers: &Drivers) -> String {
    let modules: Vec<&str> = drivers.iter().map(|(name, _)| name.as_str()).collect();
    format!(
        "for module in {}; do $busybox insmod /modules/$module; done\n\
         $busybox udhcpc -i eth0 -f -n -q -t 10 -T 2 -s /bin/lease > /dev/null\n\
         read -r name < /etc/hostname || name=\n\
         say \"{HOST_NAME}$name\"\n\
         for word in $line; do\n\
         \x20   url=${{word#*=}}\n\
         \x20   case $url in\n\
         \x20   $word) ;;\n\
         \x20   http://*)\n\
         \x20       sum=nothing\n\
         \x20       if $busybox wget -q -O /got \"$url\"; then sum=$($busybox sha256sum < /got); fi\n\
         \x20       say \"{FETCHED}$url ${{sum%% *}}\" ;;\n\
         \x20   esac\n\
         done\n",
        modules.join(" ")
    )
}

/// Type bits of a folder.
const FOLDER: u32 = 0o040_000;
/// Type bits of a regular file.
const FILE: u32 = 0o100_000;

/// A cpio archive in the "newc" format, as the kernel reads it.
#[derive(Default)]
struct Cpio {
    bytes: Vec<u8>,
    entries: u32,
}

impl Cpio {
    fn add(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let links = if mode & FOLDER == 0 { 1 } else { 2 };
        let size = u32::try_from(content.len()).unwrap_or(u32::MAX);
        let name_size = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
        // Inode, mode, owner, group, links, time, size, four device numbers, length of the name, checksum.
        let fields = [self.entries, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(name.bytes().chain([0]));
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, b"");
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the name, mode and size of each entry, stepping through the archive as the kernel does.
    fn entries(mut archive: &[u8]) -> Vec<(String, u32, usize)> {
        let mut entries = Vec::new();
        while !archive.is_empty() {
            let (magic, rest) = archive.split_at(6);
            assert_eq!(magic, b"070701");
            let field =
                |n: usize| u32::from_str_radix(std::str::from_utf8(&rest[n * 8..n * 8 + 8]).unwrap(), 16).unwrap();
            let (mode, size, name_size) = (field(1), field(6) as usize, field(11) as usize);
            let name = String::from_utf8(archive[110..110 + name_size - 1].to_vec()).unwrap();
            let content = (110 + name_size).next_multiple_of(4);
            entries.push((name, mode, size));
            archive = &archive[(content + size).next_multiple_of(4)..];
        }
        entries
    }

    #[test]
    fn the_archive_is_as_the_kernel_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let busybox = Utf8Path::from_path(folder.path()).unwrap().join("busybox");
        fs::write_new(&busybox, b"odd length", 0o755).unwrap();
        let entries = entries(&initramfs(&busybox, "abc", None, false).unwrap());
        let names: Vec<&str> = entries.iter().map(|(name, _, _)| name.as_str()).collect();
        assert_eq!(
            names,
            ["bin", "dev", "etc", "modules", "proc", "sys", "bin/busybox", "init", "bin/lease", "TRAILER!!!"]
        );
        assert_eq!((entries[0].1, entries[6].1, entries[6].2), (0o040_755, 0o100_755, 10));
    }

    #[test]
    fn init_says_the_nonce_and_ends() {
        let init = init("0123", None, false);
        assert!(init.starts_with("#!/bin/busybox sh\n"));
        assert!(init.contains("say \"netboot-loaders: userland 0123\"\n"));
        assert!(init.ends_with("$line\"\n$busybox poweroff -f\n"), "{init}");
    }

    #[test]
    fn the_state_of_secure_boot_comes_before_the_command_line() {
        let init = init("0123", None, true);
        let (state, line) = (init.find("Secure Boot: $secure\"\n").unwrap(), init.find("command line: ").unwrap());
        assert!(state < line, "{init}");
    }

    #[test]
    fn with_drivers_it_goes_on_the_network() {
        let drivers: Drivers = [("a.ko".to_owned(), vec![1]), ("b.ko".to_owned(), vec![2])].into();
        let init = init("0123", Some(&drivers), false);
        assert!(init.contains("\nfor module in a.ko b.ko; do $busybox insmod /modules/$module; done\n"), "{init}");
        assert!(init.contains("$busybox udhcpc "), "{init}");
    }
}
