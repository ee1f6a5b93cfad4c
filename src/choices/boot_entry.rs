//! The tables `[boot.NAME]` of `sites.toml`: what machines can boot. Each becomes an iPXE script `NAME.ipxe` in the root of
//! the tree, and an entry of `pxelinux.cfg/default`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;

use super::network::WebAddress;
use super::reader::{At, Place, Table};
use super::roster::check_name;
use super::rules::Review;
use crate::paths;

/// What a machine can boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootEntry {
    /// Its name: that of its script without `.ipxe`.
    pub name: String,
    /// What it is.
    pub system: System,
}

/// What is booted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum System {
    /// A live system with Ignition, out of a folder that `mirror` keeps.
    Live {
        /// Which one.
        distribution: Distribution,
        /// Where the folder can be had.
        mirror: WebAddress,
        /// Where its Ignition configuration is.
        ignition: Option<WebAddress>,
        /// More arguments for the kernel.
        arguments: String,
    },
    /// A kernel with what belongs to it.
    Linux {
        /// The kernel.
        kernel: WebAddress,
        /// Its initial RAM disks.
        initrds: Vec<WebAddress>,
        /// Its arguments.
        arguments: String,
    },
    /// Whatever a Matchbox server has for the machine.
    Matchbox {
        /// The server.
        server: WebAddress,
    },
}

/// A distribution that `mirror` knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distribution {
    /// Fedora `CoreOS`.
    FedoraCoreos,
    /// Flatcar Container Linux.
    Flatcar,
}

impl Distribution {
    /// Its name, with which `mirror` is called, too.
    fn as_str(self) -> &'static str {
        match self {
            Self::FedoraCoreos => "fedora-coreos",
            Self::Flatcar => "flatcar",
        }
    }

    /// What its mirror calls kernel, initial RAM disk and, where that is a file of its own, root file system.
    fn files(self) -> (&'static str, &'static str, Option<&'static str>) {
        match self {
            Self::FedoraCoreos => ("kernel-x86_64", "initramfs.x86_64.img", Some("rootfs.x86_64.img")),
            Self::Flatcar => ("kernel-x86_64", "initramfs.x86_64.img", None),
        }
    }

    /// The arguments of its kernel, where its files are in the folder `set`.
    fn arguments(self, set: &str, ignition: Option<&WebAddress>) -> String {
        let mut arguments =
            self.files().2.map(|name| format!("coreos.live.rootfs_url={set}/{name}")).unwrap_or_default();
        let first_boot = match self {
            Self::FedoraCoreos => "ignition.firstboot ignition.platform.id=metal",
            Self::Flatcar => "flatcar.first_boot=1",
        };
        if let Some(address) = ignition {
            let _ = write!(arguments, " {first_boot} ignition.config.url={address}");
        }
        arguments.trim_start().to_owned()
    }
}

/// Reads all boot entries of `root`.
pub(super) fn read(root: &Table<'_>) -> Vec<BootEntry> {
    let mut taken = BTreeMap::new();
    root.tables("boot", |name, table| {
        let checked = check_name(&name.value, || name.place.clone()).and_then(|()| check_free(name));
        let fine = table.accept(checked);
        if let Some(other) = taken.insert(name.value.to_ascii_lowercase(), name.value.clone()) {
            let message = format!("differs from `boot.{other}` only in case, and some TFTP servers ignore case");
            table.report(name.place.finding(message, "rename one of them"));
        }
        let kind = table.require("kind", table.string("kind"), "choose fedora-coreos, flatcar, linux or matchbox")?;
        let system = match kind.value.as_str() {
            "fedora-coreos" => live(table, Distribution::FedoraCoreos),
            "flatcar" => live(table, Distribution::Flatcar),
            "linux" => linux(table),
            "matchbox" => server(table),
            other => {
                let message = format!("found the kind `{other}`, wanted fedora-coreos, flatcar, linux or matchbox");
                table.report(kind.place.finding(message, "choose one of them; `linux` is for every other system"));
                None
            }
        };
        let entry = BootEntry { name: name.value.clone(), system: system? };
        fine?;
        entry.review(&name.place, table)
    })
}

/// The script of an entry must not take the place of another file.
fn check_free(name: &At<String>) -> Result<(), super::reader::Finding> {
    let file = format!("{}.ipxe", name.value);
    if paths::RESERVED.contains(&file.as_str()) {
        let message = format!("`{file}` has a meaning of its own for iPXE");
        return Err(name.place.finding(message, "choose another name"));
    }
    Ok(())
}

fn live(table: &Table<'_>, distribution: Distribution) -> Option<System> {
    let remedy =
        "say where the folder of `cargo xtask mirror` can be had, as in \"http://192.168.88.10/fedora-coreos\"";
    let mirror = table.require("mirror", address(table, "mirror"), remedy);
    let ignition = address(table, "ignition");
    let arguments = arguments(table);
    Some(System::Live { distribution, mirror: mirror?.value, ignition: ignition.map(|at| at.value), arguments })
}

fn linux(table: &Table<'_>) -> Option<System> {
    let kernel = table.require("kernel", address(table, "kernel"), "say where the kernel can be had");
    let mut initrds = Vec::new();
    for At { value, place } in table.strings("initrd").map(|at| at.value).unwrap_or_default() {
        let parsed: Result<WebAddress, String> = value.parse();
        initrds.extend(table.accept(parsed.map_err(|error| place.finding(error, "write a whole address"))));
    }
    let arguments = arguments(table);
    Some(System::Linux { kernel: kernel?.value, initrds, arguments })
}

fn server(table: &Table<'_>) -> Option<System> {
    let server = address(table, "server");
    let server = table.require("server", server, "say where Matchbox answers, as in \"http://192.168.88.10:8080\"")?;
    Some(System::Matchbox { server: server.value })
}

fn address(table: &Table<'_>, key: &str) -> Option<At<WebAddress>> {
    table.parsed(key, "write a whole address, as in \"http://192.168.88.10/vmlinuz\"", str::parse::<WebAddress>)
}

/// The value of `arguments`, which stands on one line of a script and of a pxelinux configuration.
fn arguments(table: &Table<'_>) -> String {
    let parse = |text: &str| {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let wrong = |word: &&&str| word.starts_with('#') || ["&&", "||", ";"].contains(*word) || !word.is_ascii();
        if let Some(word) = words.iter().find(wrong) {
            return Err(format!("found `{word}`, which iPXE would not hand to the kernel"));
        }
        if text.chars().any(char::is_control) {
            return Err("found a control character, wanted one line".to_owned());
        }
        Ok(words.join(" "))
    };
    let remedy = "write the arguments as on the kernel's command line";
    table.parsed("arguments", remedy, parse).map(|at| at.value).unwrap_or_default()
}

impl BootEntry {
    /// The name of its script in the tree.
    #[must_use]
    pub fn file(&self) -> String {
        format!("{}.ipxe", self.name)
    }

    /// The entry, where iPXE takes its script.
    fn review(self, place: &Place, table: &Table<'_>) -> Option<Self> {
        let flaws = Review::of(&self.script()).flaws;
        for flaw in &flaws {
            table.report(place.finding(flaw.message.as_str(), flaw.remedy.as_str()));
        }
        flaws.is_empty().then_some(self)
    }

    /// The iPXE script.
    #[must_use]
    pub fn script(&self) -> String {
        let name = &self.name;
        let mut text = format!("#!ipxe\n# Boots `{name}`. Made of [boot.{name}] in sites.toml.\n\n");
        // What was loaded before would become a part of the initrd.
        text += "imgfree\n";
        match &self.system {
            System::Live { distribution, mirror, ignition, arguments } => {
                let (kernel, initrd, _) = distribution.files();
                let version = format!("{}-version", distribution.as_str());
                let set = format!("${{mirror}}/${{{version}}}");
                let own = distribution.arguments("${set}", ignition.as_ref());
                let _ = write!(
                    text,
                    "set mirror {mirror}\n\
                     # Files of one version belong together, also while the mirror goes on to the next one.\n\
                     chain --autofree ${{mirror}}/current/version.ipxe\n\
                     set set {set}\n\
                     kernel ${{set}}/{kernel} {}\n\
                     initrd --name main ${{set}}/{initrd}\n\
                     boot\n",
                    words(&["initrd=main", &own, arguments])
                );
            }
            System::Linux { kernel, initrds, arguments } => {
                let names = (1..=initrds.len()).map(|number| format!("initrd=initrd{number}"));
                let names = names.collect::<Vec<_>>().join(" ");
                let _ = writeln!(text, "{}", words(&["kernel", kernel.as_str(), &names, arguments]));
                for (number, initrd) in initrds.iter().enumerate() {
                    let _ = writeln!(text, "initrd --name initrd{} {initrd}", number + 1);
                }
                text += "boot\n";
            }
            System::Matchbox { server } => {
                let _ = writeln!(text, "chain {server}/boot.ipxe");
            }
        }
        text
    }

    /// The entry of a pxelinux configuration, where pxelinux can boot it.
    fn pxelinux(&self) -> Option<String> {
        let (kernel, initrds, arguments) = match &self.system {
            System::Live { distribution, mirror, ignition, arguments } => {
                let (kernel, initrd, _) = distribution.files();
                let set = format!("{mirror}/current");
                let own = distribution.arguments(&set, ignition.as_ref());
                (format!("{set}/{kernel}"), format!("{set}/{initrd}"), words(&[&own, arguments]))
            }
            System::Linux { kernel, initrds, arguments } => {
                let initrds: Vec<&str> = initrds.iter().map(WebAddress::as_str).collect();
                (kernel.to_string(), initrds.join(","), arguments.clone())
            }
            System::Matchbox { .. } => return None,
        };
        let mut text = format!("LABEL {}\n  KERNEL {kernel}\n", self.name);
        for (key, value) in [("INITRD", initrds), ("APPEND", arguments)] {
            if !value.is_empty() {
                let _ = writeln!(text, "  {key} {value}");
            }
        }
        Some(text)
    }

    /// The web server that it needs.
    fn server(&self) -> &WebAddress {
        match &self.system {
            System::Live { mirror, .. } => mirror,
            System::Linux { kernel, .. } => kernel,
            System::Matchbox { server } => server,
        }
    }
}

/// The pxelinux configuration with all of `entries` that pxelinux can boot; the first one is booted.
#[must_use]
pub fn pxelinux_configuration(entries: &[BootEntry]) -> Option<String> {
    let labels: Vec<(&str, String)> =
        entries.iter().filter_map(|entry| Some((entry.name.as_str(), entry.pxelinux()?))).collect();
    let (first, _) = labels.first()?;
    let mut text = format!("# Made of the tables [boot.NAME] in sites.toml.\nDEFAULT {first}\n");
    for (_, label) in &labels {
        let _ = write!(text, "\n{label}");
    }
    Some(text)
}

/// What a person should know who has `syslinux.efi` boot one of `entries` from the TFTP server `server`, where its
/// address is known, in the form of an error message.
#[must_use]
pub fn warning(entries: &[BootEntry], server: Option<Ipv4Addr>) -> Option<String> {
    let near = |entry: &&BootEntry| server.is_some_and(|server| entry.server().host() == server.to_string());
    let entry = entries.iter().find(|entry| entry.pxelinux().is_some() && !near(entry))?;
    Some(format!(
        "`syslinux.efi` asks the TFTP server's address for whatever is on a web server (Debian #907805), and `{}` is at {}: that works only where both are one machine\n\
         hint: have machines with UEFI load ipxe.efi, and `{}` as their script",
        entry.name,
        entry.server().authority(),
        entry.file(),
    ))
}

/// `parts` with a space between them, without those that are empty.
fn words(parts: &[&str]) -> String {
    parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choices::reader::Document;

    fn entries(text: &str) -> Result<Vec<BootEntry>, String> {
        Document::new("sites.toml".into(), text).read(|root| Some(read(root))).map_err(|findings| findings.to_string())
    }

    #[test]
    fn a_live_system_is_loaded_from_one_set_of_files() {
        let text = "[boot.fedora-coreos]\nkind = \"fedora-coreos\"\nmirror = \"http://192.168.88.10/tftp/fedora-coreos\"\n\
                    ignition = \"http://192.168.88.10/tftp/config.ign\"\narguments = \"console=tty1\"\n";
        let entries = entries(text).unwrap();
        assert_eq!(
            entries[0].script(),
            "#!ipxe\n\
             # Boots `fedora-coreos`. Made of [boot.fedora-coreos] in sites.toml.\n\n\
             imgfree\n\
             set mirror http://192.168.88.10/tftp/fedora-coreos\n\
             # Files of one version belong together, also while the mirror goes on to the next one.\n\
             chain --autofree ${mirror}/current/version.ipxe\n\
             set set ${mirror}/${fedora-coreos-version}\n\
             kernel ${set}/kernel-x86_64 initrd=main coreos.live.rootfs_url=${set}/rootfs.x86_64.img \
             ignition.firstboot ignition.platform.id=metal ignition.config.url=http://192.168.88.10/tftp/config.ign \
             console=tty1\n\
             initrd --name main ${set}/initramfs.x86_64.img\n\
             boot\n"
        );
        assert_eq!(
            pxelinux_configuration(&entries).unwrap(),
            "# Made of the tables [boot.NAME] in sites.toml.\n\
             DEFAULT fedora-coreos\n\n\
             LABEL fedora-coreos\n  \
             KERNEL http://192.168.88.10/tftp/fedora-coreos/current/kernel-x86_64\n  \
             INITRD http://192.168.88.10/tftp/fedora-coreos/current/initramfs.x86_64.img\n  \
             APPEND coreos.live.rootfs_url=http://192.168.88.10/tftp/fedora-coreos/current/rootfs.x86_64.img \
             ignition.firstboot ignition.platform.id=metal \
             ignition.config.url=http://192.168.88.10/tftp/config.ign console=tty1\n"
        );
        let warned = |server: Option<[u8; 4]>| warning(&entries, server.map(Ipv4Addr::from));
        assert!(warned(None).unwrap().contains("`fedora-coreos` is at 192.168.88.10: that works only"));
        assert!(warned(Some([192, 168, 88, 1])).is_some() && warned(Some([192, 168, 88, 10])).is_none());
    }

    #[test]
    fn other_systems_are_what_they_say() {
        let text = "[boot.rescue]\nkind = \"linux\"\nkernel = \"http://a/vmlinuz\"\ninitrd = [\"http://a/1.img\", \"http://a/2.img\"]\n\
                    [boot.memtest]\nkind = \"linux\"\nkernel = \"http://a/memtest\"\n\
                    [boot.flatcar]\nkind = \"flatcar\"\nmirror = \"http://a/flatcar\"\nignition = \"http://a/c.ign\"\n\
                    [boot.cluster]\nkind = \"matchbox\"\nserver = \"http://matchbox.example.net:8080\"\n";
        let entries = entries(text).unwrap();
        let ends = |index: usize, end: &str| {
            let script: &str = &entries[index].script();
            assert!(script.ends_with(end), "{script}");
        };
        ends(
            0,
            "\nimgfree\nkernel http://a/vmlinuz initrd=initrd1 initrd=initrd2\ninitrd --name initrd1 http://a/1.img\ninitrd --name initrd2 http://a/2.img\nboot\n",
        );
        ends(1, "\nimgfree\nkernel http://a/memtest\nboot\n");
        ends(
            2,
            "\nkernel ${set}/kernel-x86_64 initrd=main flatcar.first_boot=1 ignition.config.url=http://a/c.ign\ninitrd --name main ${set}/initramfs.x86_64.img\nboot\n",
        );
        ends(3, "\nimgfree\nchain http://matchbox.example.net:8080/boot.ipxe\n");
        let configuration = pxelinux_configuration(&entries).unwrap();
        assert!(
            configuration
                .contains("\nLABEL rescue\n  KERNEL http://a/vmlinuz\n  INITRD http://a/1.img,http://a/2.img\n\n"),
            "{configuration}"
        );
        assert!(!configuration.contains("cluster"), "pxelinux cannot run a script of iPXE");
        assert_eq!((pxelinux_configuration(&entries[3..]), warning(&entries[3..], None)), (None, None));
    }

    #[test]
    fn what_is_wrong_with_entries_is_said_at_once() {
        let text = "[boot.C]\nkind = \"matchbox\"\nserver = \"http://a\"\n[boot.autoexec]\nkind = \"linux\"\nkernel = \"vmlinuz\"\n\
                    [boot.a]\nkind = \"windows\"\n\
                    [boot.b]\nkind = \"fedora-coreos\"\narguments = \"quiet && reboot\"\n\
                    [boot.c]\nmirror = \"http://a/b\"\n";
        let error = entries(text).unwrap_err();
        for part in [
            "sites.toml:4: `boot.autoexec`: `autoexec.ipxe` has a meaning of its own for iPXE\n",
            "sites.toml:6: `boot.autoexec.kernel`: found `vmlinuz`, wanted an address that begins with http:// or https://\n",
            "sites.toml:8: `boot.a.kind`: found the kind `windows`, wanted fedora-coreos, flatcar, linux or matchbox\n",
            "sites.toml:9: `boot.b.mirror`: is missing\n",
            "sites.toml:11: `boot.b.arguments`: found `&&`, which iPXE would not hand to the kernel\n",
            "sites.toml:12: `boot.c.kind`: is missing\n",
            "sites.toml:12: `boot.c`: differs from `boot.C` only in case, and some TFTP servers ignore case\n",
        ] {
            assert!(error.contains(part), "{part} is not in:\n{error}");
        }
    }
}
