//! Prepares this machine for boot tests without root, on request only: settings that no package makes.

use std::os::unix::fs::PermissionsExt;

use camino::{Utf8DirEntry, Utf8Path, Utf8PathBuf};

use super::install::Root;
use crate::exit::Failure;
use crate::host::Host;
use netboot_loaders::base::diagnostic::Class;

/// Runs the commands that are still needed. Their effect lasts until the machine restarts or gets another kernel.
pub(super) fn run(host: &Host<'_>) -> Result<(), Failure> {
    let commands = commands(Utf8Path::new("/"));
    let lines = || commands.iter().map(|words| words.join(" ")).collect::<Vec<_>>().join(" && ");
    let Some(root) = Root::find(host)? else {
        let text = "cannot prepare this machine without root, and found no sudo";
        return Err(Failure::new(Class::Failure, text).help(format!("as root, run `{}`", lines())));
    };
    // Root needs none of this.
    for words in commands.iter().filter(|_| !root.is_held()) {
        host.ui.print(&format!("== {}\n", words.join(" ")));
        if !root.run(words)? {
            let text = format!("`{}` failed", words.join(" "));
            return Err(Failure::new(Class::Failure, text).help(format!("as root, run `{}`", lines())));
        }
    }
    Ok(())
}

/// Returns the commands that root must run in `system`, the root folder, except those that are already done.
fn commands(system: &Utf8Path) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    let mut add = |words: [&str; 3]| commands.push(words.map(str::to_owned).to_vec());
    // The test network is in a user namespace, which Ubuntu and some kernels of Debian forbid.
    for (setting, forbids, allows) in
        [("kernel.apparmor_restrict_unprivileged_userns", "1", "0"), ("kernel.unprivileged_userns_clone", "0", "1")]
    {
        let file = system.join("proc/sys").join(setting.replace('.', "/"));
        if std::fs::read_to_string(file).is_ok_and(|value| value.trim() == forbids) {
            add(["sysctl", "-w", &format!("{setting}={allows}")]);
        }
    }
    // The machines boot the distribution's kernel, which only root can read on Ubuntu.
    for kernel in kernels(&system.join("boot")).iter().filter(|kernel| !others_may(kernel, 0o4)) {
        add(["chmod", "+r", kernel.as_str()]);
    }
    // The network cards of the machines need a tap device.
    let tun = system.join("dev/net/tun");
    if !tun.exists() {
        add(["modprobe", "-a", "tun"]);
    }
    if !others_may(&tun, 0o6) {
        add(["chmod", "0666", tun.as_str()]);
    }
    commands
}

fn kernels(folder: &Utf8Path) -> Vec<Utf8PathBuf> {
    let entries = folder.read_dir_utf8().into_iter().flatten().filter_map(Result::ok);
    let entries = entries.filter(|entry| entry.file_name().starts_with("vmlinuz-"));
    let mut kernels: Vec<Utf8PathBuf> = entries.map(Utf8DirEntry::into_path).collect();
    kernels.sort();
    kernels
}

/// Checks whether all `bits` are set for users who neither own the file nor are in its group.
fn others_may(file: &Utf8Path, bits: u32) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.permissions().mode() & bits == bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_left_to_do_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let system = Utf8Path::from_path(folder.path()).unwrap();
        let file = |path: &str, content: &str, mode: u32| {
            let path = system.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        };
        let told = || commands(system).iter().map(|words| words.join(" ")).collect::<Vec<_>>();
        let tun = system.join("dev/net/tun");
        assert_eq!(told(), ["modprobe -a tun".to_owned(), format!("chmod 0666 {tun}")]);
        file("proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n", 0o644);
        file("proc/sys/kernel/unprivileged_userns_clone", "1\n", 0o644);
        file("boot/vmlinuz-6.8.0-31-generic", "", 0o600);
        file("boot/vmlinuz-6.8.0-35-generic", "", 0o644);
        file("dev/net/tun", "", 0o600);
        assert_eq!(
            told(),
            [
                "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0".to_owned(),
                format!("chmod +r {system}/boot/vmlinuz-6.8.0-31-generic"),
                format!("chmod 0666 {tun}"),
            ]
        );
        file("proc/sys/kernel/apparmor_restrict_unprivileged_userns", "0\n", 0o644);
        file("boot/vmlinuz-6.8.0-31-generic", "", 0o644);
        file("dev/net/tun", "", 0o666);
        assert!(told().is_empty());
    }
}
