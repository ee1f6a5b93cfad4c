//! Boot entries: the tables `[boot.NAME]` of `sites.toml`, which define what machines can boot. Each becomes an iPXE
//! script `NAME.ipxe` in the root of the tree and an entry of `pxelinux.cfg/default`.

mod distribution;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::Ipv4Addr;

pub use self::distribution::Distribution;

use netboot_script::address::leads_nowhere;
use netboot_script::{Review, Rule, Severity};

use super::network::address::WebAddress;
use super::site_table::check_name_of;
use super::toml::{Located, Table};
use crate::base::diagnostic::{Diagnostic, Location, MAX_FINDINGS};
use crate::base::paths::{self, MirrorPaths};
use crate::base::secrets::{self, SecretKind};
use crate::loader::target::{Arch, Platform};

/// A boot entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootEntry {
    /// The name, which is the script's file name without `.ipxe`.
    pub name: String,
    /// The systems to boot, by the CPU that they are for. That of a PC is for BIOS as well.
    pub systems: BTreeMap<Arch, System>,
    /// The platforms of loaders in the tree that the entry has no system for.
    pub lacking: BTreeSet<Platform>,
}

/// A system to boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum System {
    /// A live system with Ignition, from a folder that `mirror` maintains.
    Live {
        /// The distribution.
        distribution: Distribution,
        /// The CPU.
        arch: Arch,
        /// The address of the mirror's folder.
        mirror: WebAddress,
        /// The address of the Ignition configuration.
        ignition: Option<WebAddress>,
        /// Additional kernel arguments.
        arguments: String,
        /// The address of the shim that knows the kernel's signer.
        shim: Option<WebAddress>,
    },
    /// A kernel with its initial RAM disks.
    Linux {
        /// The kernel.
        kernel: WebAddress,
        /// The initial RAM disks.
        initrds: Vec<WebAddress>,
        /// The kernel arguments.
        arguments: String,
        /// The address of the shim that knows the kernel's signer.
        shim: Option<WebAddress>,
    },
    /// The system that a Matchbox server assigns to the machine.
    Matchbox {
        /// The Matchbox server.
        server: WebAddress,
    },
}

/// Files that a machine fetches, as absolute addresses, and the kernel arguments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// The kernel.
    pub kernel: String,
    /// The initial RAM disks.
    pub initrds: Vec<String>,
    /// The kernel arguments, except those that name the RAM disks.
    pub arguments: String,
}

impl Files {
    /// Returns the kernel's command line as pxelinux writes it, which is longer than iPXE's.
    fn command_line(&self) -> String {
        let initrds = self.initrds.join(",");
        let initrds = if initrds.is_empty() { initrds } else { format!("initrd={initrds}") };
        words(&[&format!("BOOT_IMAGE={}", self.kernel), &initrds, &self.arguments])
    }
}

/// The boot entries of a file.
#[derive(Debug, Default)]
pub struct BootEntries {
    /// The valid entries.
    pub boot: Vec<BootEntry>,
    /// Locations of the https addresses that loaders fetch from, and the CPU of the machines that do.
    pub secure: Vec<(Location, Arch)>,
    /// Secrets in the values, by location.
    pub secrets: Vec<(Location, SecretKind)>,
    /// Warnings about the scripts of entries.
    pub warnings: Vec<Diagnostic>,
}

/// What is noted of the values of all entries.
#[derive(Default)]
struct Noted {
    secure: Vec<(Location, Arch)>,
    secrets: Vec<(Location, SecretKind)>,
    warnings: Vec<Diagnostic>,
}

impl Noted {
    /// Notes the secrets in the text of a value.
    fn text(&mut self, at: &Located<String>) {
        let found = secrets::find(at.value.as_bytes());
        self.secrets.extend(found.into_iter().map(|secret| (at.location.clone(), secret.kind)));
    }
}

/// Reads all boot entries of `root`.
pub fn read(root: &Table<'_>) -> BootEntries {
    let mut noted = Noted::default();
    let boot = entries(root, &mut noted);
    let Noted { mut secure, mut secrets, warnings } = noted;
    secure.sort_by_key(|(location, _)| location.line);
    secrets.sort_by_key(|(location, _)| location.line);
    secure.truncate(MAX_FINDINGS);
    BootEntries { boot, secure, secrets, warnings }
}

fn entries(root: &Table<'_>, noted: &mut Noted) -> Vec<BootEntry> {
    let mut taken = BTreeMap::new();
    root.tables("boot", |name, table| {
        let checked = check_name_of("boot entry", "a file of the tree", &name.value, || name.location.clone());
        let checked = checked.and_then(|()| check_free(name));
        let fine = table.accept(checked);
        if let Some(other) = taken.insert(name.value.to_ascii_lowercase(), name.value.clone()) {
            let message = format!("differs from `boot.{other}` only in case, and some TFTP servers ignore case");
            table.report(name.location.finding(message, "rename one of them"));
        }
        let kind = table.require("kind", table.string("kind"), "choose fedora-coreos, flatcar, linux or matchbox");
        let Some(kind) = kind else { return of_no_kind(table) };
        let systems = match kind.value.as_str() {
            "fedora-coreos" => live(table, Distribution::FedoraCoreos, noted),
            "flatcar" => live(table, Distribution::Flatcar, noted),
            "linux" => linux(table, noted),
            "matchbox" => server(table, noted).map(|system| BTreeMap::from([(Arch::X86_64, system)])),
            other => {
                let message = format!("found the kind `{other}`, wanted fedora-coreos, flatcar, linux or matchbox");
                table.report(kind.location.finding(message, "choose one of them; `linux` is for every other system"));
                return of_no_kind(table);
            }
        };
        let entry = BootEntry { name: name.value.clone(), systems: systems?, lacking: BTreeSet::new() };
        fine?;
        entry.review(&name.location, table, noted)
    })
}

/// Marks all keys of an entry of unknown kind as read, because its valid keys are not known.
fn of_no_kind(table: &Table<'_>) -> Option<BootEntry> {
    for key in ["mirror", "ignition", "arguments", "kernel", "server", "shim"] {
        let _ = table.string(key);
    }
    let _ = table.strings("initrd");
    for arch in OTHERS {
        let _ = table.table(&arch.to_string(), of_no_kind);
    }
    None
}

/// Checks that the script of an entry does not replace another file.
fn check_free(name: &Located<String>) -> Result<(), Diagnostic> {
    let file = format!("{}.ipxe", name.value);
    let Some(reserved) = paths::reserved(&file) else { return Ok(()) };
    let message = if reserved == file {
        format!("`{file}` has a meaning of its own for iPXE")
    } else {
        format!(
            "differs only in case from `{reserved}`, which has a meaning of its own for iPXE, and some TFTP servers \
             ignore case"
        )
    };
    Err(name.location.finding(message, "choose another name"))
}

/// CPUs that have a table of their own, `[boot.NAME.CPU]`, in an entry.
const OTHERS: [Arch; 5] = [Arch::I386, Arch::Arm64, Arch::Arm32, Arch::Riscv64, Arch::Loong64];

/// Reads the systems of an entry with `read`: that for a PC from the entry's own table, and those for other CPUs from
/// theirs. `key` must be in each of these tables, except in the entry's own if there are others.
fn of_each_cpu(
    table: &Table<'_>,
    (key, remedy): (&str, &str),
    mut read: impl FnMut(&Table<'_>, Arch) -> Option<System>,
) -> Option<BTreeMap<Arch, System>> {
    let mut systems = BTreeMap::new();
    let mut is_alone = true;
    for arch in OTHERS {
        let other = table.table(&arch.to_string(), |table| {
            is_alone = false;
            let system = read(table, arch);
            table.require(key, None::<Located<()>>, remedy);
            system
        });
        systems.extend(other.map(|other| (arch, other.value)));
    }
    let own = read(table, Arch::X86_64);
    if is_alone {
        table.require(key, None::<Located<()>>, remedy);
    }
    systems.extend(own.map(|system| (Arch::X86_64, system)));
    (!systems.is_empty()).then_some(systems)
}

fn live(table: &Table<'_>, distribution: Distribution, noted: &mut Noted) -> Option<BTreeMap<Arch, System>> {
    // The others are found where the script fetches from them; this one is fetched by the system.
    let ignition = address(table, "ignition", noted).and_then(|at| {
        if !leads_nowhere(at.value.host()) {
            return Some(at.value);
        }
        let found = secrets::shown(at.value.as_str());
        let message = format!("found `{found}`, wanted the address of another machine: that one has no server yet");
        table.report(at.location.finding(message, "write the address that other machines reach the server at"));
        None
    });
    let written = distribution.arguments("", Arch::X86_64, ignition.as_ref());
    let common = arguments(table, &written, noted);
    let remedy = "write the address of a mirror's folder, as in \"http://192.168.88.10/fedora-coreos\"";
    of_each_cpu(table, ("mirror", remedy), |table, arch| {
        if distribution.cpu(arch).is_none() {
            let message = format!("found {arch}, and {distribution} has nothing for it");
            table.report(table.location().finding(message, "leave this table out"));
        }
        let mirror = folder(table, "mirror", arch, noted).map(|at| at.value);
        let own = (arch != Arch::X86_64).then(|| arguments(table, &written, noted)).flatten();
        let arguments = own.or_else(|| common.clone()).unwrap_or_default();
        let shim = fetched(table, "shim", arch, noted).map(|at| at.value);
        Some(System::Live { distribution, arch, mirror: mirror?, ignition: ignition.clone(), arguments, shim })
    })
}

fn linux(table: &Table<'_>, noted: &mut Noted) -> Option<BTreeMap<Arch, System>> {
    let common = arguments(table, "", noted);
    of_each_cpu(table, ("kernel", "say where the kernel can be had"), |table, arch| {
        let kernel = fetched(table, "kernel", arch, noted).map(|at| at.value);
        let mut initrds = Vec::new();
        for Located { value, location } in table.strings("initrd").map(|at| at.value).unwrap_or_default() {
            noted.text(&Located { value: value.clone(), location: location.clone() });
            let parsed: Result<WebAddress, String> = value.parse();
            let parsed = table.accept(parsed.map_err(|error| location.finding(error, "write a whole address")));
            noted.secure.extend(parsed.iter().filter(|address| address.is_secure()).map(|_| (location.clone(), arch)));
            initrds.extend(parsed);
        }
        if !initrds.is_empty() {
            table.require("kernel", None::<Located<()>>, "say where the kernel can be had");
        }
        let own = (arch != Arch::X86_64).then(|| arguments(table, "", noted)).flatten();
        let arguments = own.or_else(|| common.clone()).unwrap_or_default();
        let shim = fetched(table, "shim", arch, noted).map(|at| at.value);
        Some(System::Linux { kernel: kernel?, initrds, arguments, shim })
    })
}

fn server(table: &Table<'_>, noted: &mut Noted) -> Option<System> {
    let server = folder(table, "server", Arch::X86_64, noted);
    let server = table.require("server", server, "say where Matchbox answers, as in \"http://192.168.88.10:8080\"")?;
    Some(System::Matchbox { server: server.value })
}

fn address(table: &Table<'_>, key: &str, noted: &mut Noted) -> Option<Located<WebAddress>> {
    let parse = |text: &str| text.parse::<WebAddress>().map(|address| (text.to_owned(), address));
    let at = table.parsed(key, "write a whole address, as in \"http://192.168.88.10/vmlinuz\"", parse)?;
    let Located { value: (text, value), location } = at;
    noted.text(&Located { value: text, location: location.clone() });
    Some(Located { value, location })
}

/// Reads the address `key`, which loaders on `arch` fetch from. Notes the location of an https address.
fn fetched(table: &Table<'_>, key: &str, arch: Arch, noted: &mut Noted) -> Option<Located<WebAddress>> {
    let at = address(table, key, noted)?;
    noted.secure.extend(at.value.is_secure().then(|| (at.location.clone(), arch)));
    Some(at)
}

/// Reads the address `key` of a folder, which loaders fetch files below. See [`fetched`].
fn folder(table: &Table<'_>, key: &str, arch: Arch, noted: &mut Noted) -> Option<Located<WebAddress>> {
    let at = fetched(table, key, arch, noted)?;
    if at.value.as_str().contains('?') {
        let message = format!("found `{}`, wanted the address of a folder", secrets::shown(at.value.as_str()));
        table.report(at.location.finding(message, "leave out what begins with `?`: paths are put behind the address"));
    }
    Some(at)
}

/// Maximum size of a kernel's command line in bytes: `COMMAND_LINE_SIZE` of Linux for x86 and ARM, which counts a zero byte.
/// pxelinux refuses a longer one, and iPXE cuts it.
const MAX_ARGUMENTS: usize = 2_047;

/// Reads `arguments`: one line that goes into a script, where a trailing `\` would join the next line, and into a
/// pxelinux configuration. The arguments `own` and those that name RAM disks are generated and must not be repeated.
fn arguments(table: &Table<'_>, own: &str, noted: &mut Noted) -> Option<String> {
    let name = |word: &str| word.split('=').next().unwrap_or_default().to_owned();
    let taken: Vec<String> = own.split_ascii_whitespace().chain(["initrd="]).map(name).collect();
    let parse = |text: &str| {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let strange = |word: &str| word.starts_with('#') || word.ends_with('\\') || !word.is_ascii();
        let wrong = |word: &&&str| strange(word) || ["&&", "||", ";"].contains(*word);
        if let Some(word) = words.iter().find(wrong) {
            return Err(format!("found `{word}`, which iPXE would not hand to the kernel"));
        }
        if text.chars().any(char::is_control) {
            return Err("found a control character, wanted one line".to_owned());
        }
        if let Some(word) = words.iter().find(|word| taken.contains(&name(word))) {
            return Err(format!("found `{word}`, and `{}` is written from the other keys: leave it out", name(word)));
        }
        if text.len() > MAX_ARGUMENTS {
            return Err(format!("found {} bytes, wanted at most {MAX_ARGUMENTS}, which a kernel reads", text.len()));
        }
        Ok(words.join(" "))
    };
    let remedy = "write the arguments as on the kernel's command line";
    let at = table.parsed("arguments", remedy, parse);
    if let Some(at) = &at {
        noted.text(at);
    }
    at.map(|at| at.value)
}

impl System {
    /// Checks whether machines with any CPU can boot it: another server decides, or iPXE puts the CPU into the address of
    /// the kernel. The images of a mirror have the CPU in their names.
    fn is_for_all(&self) -> bool {
        match self {
            Self::Matchbox { .. } => true,
            Self::Linux { kernel, .. } => {
                ["${buildarch}", "${buildarch:"].iter().any(|it| kernel.as_str().contains(it))
            }
            Self::Live { .. } => false,
        }
    }

    /// Returns the address on the web server that it needs.
    #[must_use]
    pub fn server(&self) -> &WebAddress {
        match self {
            Self::Live { mirror, .. } => mirror,
            Self::Linux { kernel, .. } => kernel,
            Self::Matchbox { server } => server,
        }
    }

    /// Renders the lines of an iPXE script that boot it.
    fn script(&self) -> String {
        match self {
            Self::Live { distribution, arch, mirror, ignition, arguments, shim } => {
                let images = distribution.images(*arch);
                let set = format!("${{mirror}}/${{{}}}", distribution.version_variable());
                let own = distribution.arguments("${set}", *arch, ignition.as_ref());
                format!(
                    "set mirror {mirror}\n\
                     # Files of one version belong together, also while the mirror goes on to the next one.\n\
                     chain --autofree ${{mirror}}/{}/{}\n\
                     set set {set}\n\
                     kernel ${{set}}/{} {}\n\
                     initrd --name main ${{set}}/{}\n\
                     {}boot\n",
                    MirrorPaths::CURRENT,
                    MirrorPaths::SCRIPT,
                    images.kernel,
                    words(&["initrd=main", &own, arguments]),
                    images.initramfs,
                    shim_line(
                        shim.as_ref().map(|address| of_set(address.as_str(), mirror.as_str(), &images.shim)).as_deref()
                    )
                )
            }
            Self::Linux { kernel, initrds, arguments, shim } => {
                let names = (1..=initrds.len()).map(|number| format!("initrd=initrd{number}"));
                let names = names.collect::<Vec<_>>().join(" ");
                let mut text = format!("{}\n", words(&["kernel", kernel.as_str(), &names, arguments]));
                for (number, initrd) in initrds.iter().enumerate() {
                    let _ = writeln!(text, "initrd --name initrd{} {initrd}", number + 1);
                }
                text + &shim_line(shim.as_ref().map(WebAddress::as_str)) + "boot\n"
            }
            Self::Matchbox { server } => format!("chain {server}/boot.ipxe\n"),
        }
    }
}

impl BootEntry {
    /// Returns the file name of the script in the tree.
    #[must_use]
    pub fn file(&self) -> String {
        format!("{}.ipxe", self.name)
    }

    /// Returns the entry if iPXE accepts its script, and reports the script's flaws otherwise.
    fn review(self, location: &Location, table: &Table<'_>, noted: &mut Noted) -> Option<Self> {
        let review = Review::of(&self.script());
        for flaw in &review.findings {
            let (remedy, is_error) = (flaw.remedy.as_str(), flaw.severity == Severity::Error);
            // The line is written here, of what is in the entry.
            let remedy = if flaw.rule == Rule::TooManyWords { "leave out some of its `arguments`" } else { remedy };
            let finding = location.finding(flaw.text(secrets::shown), remedy);
            if is_error { table.report(finding) } else { noted.warnings.push(finding) }
        }
        let longest = Platform::ALL.into_iter().filter_map(|platform| self.files(platform, MirrorPaths::CURRENT));
        let longest = longest.map(|files| files.command_line().len()).max().unwrap_or_default();
        if longest > MAX_ARGUMENTS {
            let message =
                format!("has a command line of {longest} bytes, wanted at most {MAX_ARGUMENTS}, which a kernel reads");
            table.report(location.finding(message, "shorten addresses and arguments, or take fewer RAM disks"));
        }
        review.errors().next().is_none().then_some(self)
    }

    /// Returns what machines of `platform` boot, if there is anything for them.
    #[must_use]
    pub fn system(&self, platform: Platform) -> Option<&System> {
        let arch = platform.kernel_arch();
        let for_all = || self.systems.get(&Arch::X86_64).filter(|system| system.is_for_all());
        self.systems.get(&arch).or_else(for_all)
    }

    /// Renders the iPXE script.
    #[must_use]
    pub fn script(&self) -> String {
        let name = &self.name;
        let mut text = format!("#!ipxe\n# Boots `{name}`. Made of [boot.{name}] in sites.toml.\n\n");
        // Images loaded earlier would become part of the initrd.
        text += "imgfree\n";
        let pc = self.systems.get(&Arch::X86_64);
        if let (1, true, Some(system)) = (self.systems.len(), self.lacking.is_empty(), pc) {
            return text + &system.script();
        }
        text += match pc {
            Some(_) => {
                "# Loaders for BIOS call themselves i386, and start what is for 64-bit machines.\n\
                 iseq ${platform} pcbios && goto x86_64 ||\n\
                 goto ${buildarch} ||\n"
            }
            None => {
                "# Loaders for BIOS call themselves i386.\n\
                 iseq ${platform} pcbios || goto ${buildarch} ||\n"
            }
        };
        match pc.filter(|system| system.is_for_all()) {
            Some(_) => text += "goto x86_64\n",
            None => {
                let _ = write!(text, "echo {name} has nothing for ${{buildarch}} and ${{platform}}\nexit 1\n");
            }
        }
        for (arch, system) in &self.systems {
            let _ = write!(text, "\n:{}\n{}", arch.buildarch(), system.script());
        }
        text
    }

    /// Returns the files that a machine of `platform` needs to boot the entry; those of a live system are in the folder
    /// `set` of the mirror. `None` if another server decides, or if the entry has nothing for such machines.
    #[must_use]
    pub fn files(&self, platform: Platform, set: &str) -> Option<Files> {
        match self.system(platform)? {
            System::Live { distribution, arch, mirror, ignition, arguments, .. } => {
                let (images, set) = (distribution.images(*arch), format!("{mirror}/{set}"));
                Some(Files {
                    kernel: format!("{set}/{}", images.kernel),
                    initrds: vec![format!("{set}/{}", images.initramfs)],
                    arguments: words(&[&distribution.arguments(&set, *arch, ignition.as_ref()), arguments]),
                })
            }
            System::Linux { kernel, initrds, arguments, .. } => Some(Files {
                kernel: kernel.to_string(),
                initrds: initrds.iter().map(ToString::to_string).collect(),
                arguments: arguments.clone(),
            }),
            System::Matchbox { .. } => None,
        }
    }

    /// Returns the distribution of a live system for machines of `platform`, and the address of the script that names the
    /// mirror's current set.
    #[must_use]
    pub fn version_script(&self, platform: Platform) -> Option<(Distribution, String)> {
        let System::Live { distribution, mirror, .. } = self.system(platform)? else { return None };
        Some((*distribution, format!("{mirror}/{}/{}", MirrorPaths::CURRENT, MirrorPaths::SCRIPT)))
    }

    /// Notes the `platforms` of the tree's loaders, and returns a warning if the entry has nothing for some of them.
    #[must_use]
    pub(super) fn meet(&mut self, platforms: &BTreeSet<Platform>) -> Option<Diagnostic> {
        self.lacking = platforms.iter().copied().filter(|platform| self.system(*platform).is_none()).collect();
        let names: Vec<&str> = self.lacking.iter().map(|platform| platform.words()).collect();
        let lacking = self.lacking.first()?;
        let name = if self.name.contains('.') { format!("{:?}", self.name) } else { self.name.clone() };
        let table = match lacking {
            Platform::Bios | Platform::EfiX64 => format!("[boot.{name}]"),
            platform => format!("[boot.{name}.{}]", platform.arch()),
        };
        let distribution = self.systems.values().find_map(|system| match system {
            System::Live { distribution, .. } => Some(*distribution),
            _ => None,
        });
        let message = format!(
            "`boot.{}` has nothing for machines with {}, whose loaders are in the tree",
            self.name,
            names.join(", ")
        );
        let help = if distribution.is_some_and(|distribution| distribution.cpu(lacking.arch()).is_none()) {
            "have them boot another script".to_owned()
        } else {
            format!("say in {table} what they boot, or have them boot another script")
        };
        Some(Diagnostic::new(message).help(help))
    }

    /// Renders the entry for a pxelinux configuration, if pxelinux can boot it.
    fn pxelinux(&self) -> Option<String> {
        let Files { kernel, initrds, arguments } = self.files(Platform::Bios, MirrorPaths::CURRENT)?;
        let mut text = format!("LABEL {}\n  LINUX {kernel}\n", self.name);
        for (key, value) in [("INITRD", initrds.join(",")), ("APPEND", arguments)] {
            if !value.is_empty() {
                let _ = writeln!(text, "  {key} {value}");
            }
        }
        Some(text)
    }
}

/// Renders the pxelinux configuration with all of `entries` that pxelinux can boot; the first one is the default.
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

/// Returns the warning that `syslinux.efi` cannot boot one of `entries`, unless its web server is the TFTP server
/// `server` (`None` if its address is unknown).
#[must_use]
pub fn warning(entries: &[BootEntry], server: Option<Ipv4Addr>) -> Option<Diagnostic> {
    let near = |web: &WebAddress| server.is_some_and(|server| web.host() == server.to_string());
    let pxelinux = entries.iter().filter(|entry| entry.pxelinux().is_some());
    let mut servers = pxelinux.filter_map(|entry| Some((entry, entry.system(Platform::EfiX64)?.server())));
    let (entry, web) = servers.find(|(_, web)| !near(web))?;
    let message = format!(
        "`syslinux.efi` asks the TFTP server's address for whatever is on a web server (Debian #907805), and `{}` is at {}: that works only where both are one machine",
        entry.name,
        web.authority(),
    );
    let help = format!("have machines with UEFI load ipxe.efi, and `{}` as their script", entry.file());
    Some(Diagnostic::new(message).help(help))
}

/// Returns warnings about `entries` that pxelinux would boot with an unexpanded iPXE variable in an address.
pub(super) fn with_variables(entries: &[BootEntry]) -> impl Iterator<Item = Diagnostic> {
    let has = |entry: &&BootEntry| entry.pxelinux().is_some_and(|text| text.contains("${"));
    entries.iter().filter(has).map(|entry| {
        Diagnostic::new(format!(
            "`boot.{}`: pxelinux takes `${{` as it stands, so it cannot boot this entry",
            entry.name
        ))
        .help("have machines load iPXE for it, or write the address out")
    })
}

/// Returns the warning about the https address at `location`, if syslinux would fetch from it.
pub(super) fn without_https((location, arch): &(Location, Arch)) -> Option<Diagnostic> {
    // Only iPXE uses Matchbox, and syslinux is for a PC.
    (*arch == Arch::X86_64 && !location.key.ends_with(".server")).then(|| {
        location.finding(
            "syslinux does not speak https, so it cannot boot this entry",
            "have machines load iPXE for it, or use http",
        )
    })
}

/// Returns `address`, or where the set of the kernel has the shim `name` if that is the one of the set in use at `mirror`:
/// shims and kernels of two versions need not fit.
fn of_set(address: &str, mirror: &str, name: &str) -> String {
    let path = address.strip_prefix(mirror).map(|path| path.trim_start_matches('/'));
    let path = path
        .map(|path| path.strip_prefix(MirrorPaths::CURRENT).and_then(|path| path.strip_prefix('/')).unwrap_or(path));
    if path == Some(name) { format!("${{set}}/{name}") } else { address.to_owned() }
}

/// Returns the line of a script that fetches a shim, which iPXE does only where firmware would refuse the kernel.
fn shim_line(shim: Option<&str>) -> String {
    shim.map(|address| format!("shim {address}\n")).unwrap_or_default()
}

/// Joins the non-empty `parts` with spaces.
fn words(parts: &[&str]) -> String {
    parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
