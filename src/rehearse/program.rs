//! iPXE for Linux, in which rehearsals run: built once for each configuration, cached, and stamped for each loader.
//!
//! The program has objects of our own, `vendor/rehearsal/*.c`, which no loader has. One build serves all BIOS loaders of
//! a configuration, and one all UEFI loaders, whatever their CPU. Headers around those of the configuration,
//! `vendor/rehearsal/*/*.h`, give the program what these loaders have, and leave out what they lack.

mod stamping;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

use crate::base::diagnostic::{Class, Diagnose, Diagnosis};
use crate::base::fs::{self, Lock};
use crate::base::paths::{Cache, WorkPaths};
use crate::build::linker::{MakeUnits, run_make};
use crate::build::make::{self, Make};
use crate::build::plan::{Inputs, ObjectInputs, Plan, Stamped};
use crate::build::{self, BuildContext, build_tree};
use crate::config::ipxe_config::IpxeConfig;
use crate::config::script::IMAGE_NAME;
use crate::digest::{Content, Sha256Digest};
use crate::fetch::ipxe::Order;
use crate::fetch::origins::LazySource;
use crate::loader::target::{Arch, Platform};

/// Errors from building and stamping iPXE for Linux.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// iPXE for Linux cannot be built for this machine's CPU.
    #[error("rehearsals run on x86-64 and arm64, and this machine is {0}")]
    Host(&'static str),
    /// The build failed.
    #[error(transparent)]
    Build(#[from] build::Error),
    /// The program cannot be stamped.
    #[error(transparent)]
    Stamp(#[from] stamping::Error),
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Host(_) => Class::Failure.help("rehearse on another machine"),
            Self::Build(error) => error.diagnosis(),
            Self::Stamp(error) => error.diagnosis(),
        }
    }
}

impl From<fs::Error> for Error {
    fn from(error: fs::Error) -> Self {
        Self::Build(error.into())
    }
}

/// iPXE for Linux in the configurations of some loaders, to stamp scripts into.
#[derive(Debug)]
pub struct Programs {
    host: Platform,
    /// The programs, by family and digest of the configuration.
    programs: BTreeMap<(Family, Sha256Digest), Vec<u8>>,
}

impl Programs {
    /// Builds what rehearsals of `loaders` need, or finds it in the cache.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn build<'p>(context: &BuildContext<'_>, loaders: impl Iterator<Item = Stamped<'p>>) -> Result<Self, Error> {
        let host = host()?;
        // Thousands of sites share a configuration.
        let needed: BTreeMap<_, _> = loaders
            .map(|Stamped { loader, site, .. }| {
                let family = Family::of(loader.platform());
                ((family, Arc::as_ptr(&site.config) as usize), &*site.config)
            })
            .collect();
        let (mut source, mut programs) = (context.source(), BTreeMap::new());
        for ((family, _), config) in needed {
            let build = ProgramBuild::new(&context.plan.inputs, config, family, host);
            programs.insert((family, config.digest()), build.find_or_make(context, &mut source)?);
        }
        Ok(Self { host, programs })
    }

    /// Returns the program that runs `script` as a loader for `platform` of a site with `config` does.
    ///
    /// # Errors
    ///
    /// [`Error::Stamp`].
    ///
    /// # Panics
    ///
    /// If no loader for such a platform with this configuration was among those that programs were built for.
    pub fn stamp(&self, config: &IpxeConfig, platform: Platform, script: &[u8]) -> Result<Vec<u8>, Error> {
        let program = &self.programs[&(Family::of(platform), config.digest())];
        Ok(stamping::stamp(program, self.host, platform, script)?)
    }
}

/// Returns the keys in the cache of the programs that rehearsals of the loaders in `plan` need.
#[must_use]
pub fn keys(plan: &Plan) -> BTreeSet<Sha256Digest> {
    let Ok(host) = host() else { return BTreeSet::new() };
    let builds = plan.builds.iter();
    builds.map(|build| ProgramBuild::new(&plan.inputs, &build.config, Family::of(build.platform), host).key).collect()
}

/// Returns the platform of UEFI on this machine's CPU, which iPXE for Linux takes itself for.
fn host() -> Result<Platform, Error> {
    match std::env::consts::ARCH {
        "x86_64" => Ok(Platform::efi(Arch::X86_64)),
        "aarch64" => Ok(Platform::efi(Arch::Arm64)),
        other => Err(Error::Host(other)),
    }
}

/// Loaders that share a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    Bios,
    Efi,
}

/// Headers of ours, by name.
type Headers = &'static [(&'static str, &'static str)];

/// How BIOS loaders differ from iPXE for Linux.
const OF_BIOS: Headers = &[
    ("console.h", include_str!("../../vendor/rehearsal/pcbios/console.h")),
    ("general.h", include_str!("../../vendor/rehearsal/pcbios/general.h")),
    ("settings.h", include_str!("../../vendor/rehearsal/pcbios/settings.h")),
];

/// How UEFI loaders differ from iPXE for Linux.
const OF_EFI: Headers = &[("general.h", include_str!("../../vendor/rehearsal/efi/general.h"))];

/// What iPXE for Linux cannot have.
const OF_LINUX: Headers = &[
    ("console.h", include_str!("../../vendor/rehearsal/linux/console.h")),
    ("general.h", include_str!("../../vendor/rehearsal/linux/general.h")),
    ("settings.h", include_str!("../../vendor/rehearsal/linux/settings.h")),
    ("usb.h", include_str!("../../vendor/rehearsal/linux/usb.h")),
];

/// Our objects: names in iPXE's `src/core`, without endings, and source.
const OBJECTS: [(&str, &str); 2] = [
    ("rehearse", include_str!("../../vendor/rehearsal/rehearse.c")),
    ("rehearse_loader", include_str!("../../vendor/rehearsal/loader.c")),
];

/// Version of the steps below. Raise it whenever they change, so that no program built in the old way is used.
const STEPS: u32 = 1;

/// Variables of make: nothing that differs between machines is linked, and no debug information.
const VARIABLES: [&str; 2] = ["WITH_LIBSLIRP=", "LINUX_LIBS=-s"];

impl Family {
    fn of(platform: Platform) -> Self {
        if platform == Platform::Bios { Self::Bios } else { Self::Efi }
    }

    /// Returns the name in messages.
    fn words(self) -> &'static str {
        match self {
            Self::Bios => "BIOS",
            Self::Efi => "UEFI",
        }
    }

    /// Returns the name in iPXE.
    fn platform(self) -> &'static str {
        match self {
            Self::Bios => "pcbios",
            Self::Efi => "efi",
        }
    }

    /// Returns `config` as a configuration of iPXE for Linux. Its own headers see the platform of the loaders.
    fn adapt(self, config: &IpxeConfig) -> IpxeConfig {
        let own = match self {
            Self::Bios => OF_BIOS,
            Self::Efi => OF_EFI,
        };
        let text =
            |headers: Headers, name: &str| headers.iter().find(|(of, _)| *of == name).map_or("", |(_, text)| *text);
        let platform = self.platform();
        let header = |name: &str| {
            let mut content = text(own, name).as_bytes().to_vec();
            if let Some(chosen) = config.headers.get(name) {
                content.extend(format!("#undef PLATFORM_linux\n#define PLATFORM_{platform}\n").into_bytes());
                content.extend(chosen);
                content.extend(format!("\n#undef PLATFORM_{platform}\n#define PLATFORM_linux\n").into_bytes());
            }
            content.extend(text(OF_LINUX, name).as_bytes());
            (name.to_owned(), content)
        };
        let names = config.headers.keys().map(String::as_str);
        let names = names.chain(own.iter().chain(OF_LINUX).map(|(name, _)| *name));
        // A program is not signed.
        IpxeConfig { headers: names.map(header).collect(), secure_boot: None, ..config.clone() }
    }
}

/// Everything that a program is built from.
struct ProgramBuild {
    family: Family,
    host: Platform,
    /// The configuration, as adapted to iPXE for Linux.
    config: IpxeConfig,
    /// Digest of all inputs.
    key: Sha256Digest,
}

impl ProgramBuild {
    fn new(inputs: &Inputs, config: &IpxeConfig, family: Family, host: Platform) -> Self {
        let config = family.adapt(config);
        let Inputs { pins, patches, toolchain } = inputs;
        let objects = ObjectInputs::of((&pins.ipxe, patches, toolchain), &config, host).digest();
        let mut text = format!("rehearsal {STEPS}\n{objects}\n{}\n", VARIABLES.join(" "));
        for (name, source) in OBJECTS {
            text += &format!("{name} {}\n", Sha256Digest::of(source.as_bytes()));
        }
        text += &format!("slot {}\n", stamping::empty_slot().digest());
        Self { family, host, config, key: Sha256Digest::of(text.as_bytes()) }
    }

    /// Returns the program in the cache, or builds it. Uses `source` only for that.
    fn find_or_make(&self, context: &BuildContext<'_>, source: &mut LazySource<'_>) -> Result<Vec<u8>, Error> {
        if let Some(program) = self.find(context.cache)? {
            return Ok(program);
        }
        build::check_cache(context.cache)?;
        let name = format!("rehearsal-{}-{}", self.family.platform(), self.config.unique_name(self.host));
        let lock = Lock::acquire(&context.cache.lock(&name), context.progress)?;
        let _lock = lock.ok_or(build::Error::Cancelled)?;
        // Another process may have built it meanwhile.
        if let Some(program) = self.find(context.cache)? {
            return Ok(program);
        }
        let work = context.cache.work(&name);
        fs::remove_dir_all_with(work.root(), context.progress).ok_or(build::Error::Cancelled)??;
        let made = self.make(&work, context, source);
        // The log of a failed make is kept. After an interrupt, the next run removes the rest.
        for folder in [work.tree(), work.temporary()] {
            fs::remove_dir_all_with(&folder, context.progress).ok_or(build::Error::Cancelled)??;
        }
        let program = made?;
        fs::remove_dir_all(work.root())?;
        self.store(&program, context.cache)?;
        Ok(program)
    }

    /// Returns the program in the cache, if it matches its record.
    fn find(&self, cache: &Cache) -> Result<Option<Vec<u8>>, Error> {
        let paths = cache.program(&self.key);
        let Some(record) = fs::read_if_exists(&paths.record())? else { return Ok(None) };
        let Ok(wanted) = serde_json::from_slice::<Content>(&record) else { return Ok(None) };
        let found = fs::read_if_exists(&paths.program())?.filter(|program| Content::of(program) == wanted);
        if found.is_some() {
            fs::touch(&paths.record());
        }
        Ok(found)
    }

    fn store(&self, program: &[u8], cache: &Cache) -> Result<(), fs::Error> {
        let paths = cache.program(&self.key);
        fs::write_atomic(&paths.program(), program)?;
        fs::write_atomic(&paths.record(), serde_json::json!(Content::of(program)).to_string().as_bytes())
    }

    /// Builds the program in `work`.
    fn make(
        &self,
        work: &WorkPaths,
        context: &BuildContext<'_>,
        source: &mut LazySource<'_>,
    ) -> Result<Vec<u8>, build::Error> {
        let BuildContext { settings, progress, .. } = *context;
        let label = format!("iPXE for rehearsals, {}", self.family.words());
        let (pin, order) = (context.pin(), Order::Sorted);
        source.open()?.export(&work.tree(), (pin.epoch, order), &format!("source of {label}"), progress)?;
        build_tree::configure(&self.config, self.host, work)?;
        for (name, text) in OBJECTS {
            fs::write_new(&work.src().join(format!("core/{name}.c")), text.as_bytes(), 0o644)?;
        }
        fs::write_new(&work.src().join(IMAGE_NAME), stamping::empty_slot().bytes(), 0o644)?;
        let temporary = work.temporary();
        fs::create_dir_all(settings.environment.temporary.as_ref().unwrap_or(&temporary))?;
        let bin_dir = format!("bin-{}-linux", self.host.arch().buildarch());
        let target = format!("{bin_dir}/tap--{}.linux", OBJECTS.map(|(name, _)| name).join("--"));
        let make = Make { pin, config: &self.config, settings };
        let folders = source_folders(&work.src(), self.host)?.join(" ");
        let command = make.without_targets(work, self.host, format!("make {target}"));
        let command = command.args(VARIABLES).args([format!("SRCDIRS={folders}"), target.clone()]);
        run_make(&command, work, (&label, &MakeUnits::Objects(make::object_list_in(&bin_dir))), progress)?;
        Ok(fs::read(&work.src().join(target))?)
    }
}

/// Returns the folders below `src`, iPXE's source, that iPXE for Linux on `host` is compiled from, as its makefiles list
/// them. All that belongs to other platforms is left out, above all the drivers for network cards: they take most of the
/// time, and nothing links them.
fn source_folders(src: &Utf8Path, host: Platform) -> Result<Vec<String>, fs::Error> {
    let mut files: Vec<Utf8PathBuf> = vec!["Makefile".into(), "Makefile.linux".into()];
    for arch in host.arch_dirs() {
        files.extend(["Makefile", "Makefile.linux"].map(|name| Utf8PathBuf::from(format!("arch/{arch}/{name}"))));
    }
    let mut folders = Vec::new();
    for file in files {
        let text = fs::read_if_exists(&src.join(file))?.unwrap_or_default();
        folders.extend(listed(&String::from_utf8_lossy(&text)));
    }
    Ok(folders)
}

/// Returns the folders that a makefile lists, except those that are left out.
fn listed(makefile: &str) -> Vec<String> {
    const OTHERS: [&str; 7] = [
        "drivers/net",
        "drivers/infiniband",
        "drivers/usb",
        "interface/efi",
        "interface/hyperv",
        "interface/xen",
        "tests",
    ];
    const OTHERS_OF_ARCH: [&str; 5] = ["drivers", "interface", "prefix", "tests", "transitions"];
    let is_used = |folder: &&str| {
        let below = |prefix: &&str| Utf8Path::new(folder).starts_with(prefix);
        let of_arch = folder.strip_prefix("arch/").and_then(|rest| rest.split('/').nth(1));
        folder.ends_with("/linux")
            || !OTHERS.iter().any(below) && !of_arch.is_some_and(|it| OTHERS_OF_ARCH.contains(&it))
    };
    let lines = makefile.lines().filter_map(|line| {
        let (name, folders) = line.split_once("+=")?;
        (name.trim() == "SRCDIRS").then_some(folders)
    });
    lines.flat_map(str::split_ascii_whitespace).filter(is_used).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::paths::ProjectPaths;
    use crate::base::progress::Silent;
    use crate::build_loaders::Config;
    use crate::config::ipxe_config::{Sbat, SecureBuild};
    use crate::config::sites::Options;
    use crate::fetch::ipxe::Patch;
    use crate::toolchain::Toolchain;

    const HOST: Platform = Platform::EfiX64;

    fn inputs() -> Inputs {
        let project = ProjectPaths::new(env!("CARGO_MANIFEST_DIR"));
        let config = Config::read(&project, &Options::default(), &Silent).unwrap();
        Inputs { pins: config.pins, patches: config.patches, toolchain: Toolchain::default() }
    }

    fn config(headers: &[(&str, &str)]) -> IpxeConfig {
        let headers = headers.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect();
        IpxeConfig { name: "mine".into(), headers, trust: BTreeMap::new(), secure_boot: None }
    }

    #[test]
    fn whatever_goes_in_decides_about_the_key() {
        let key =
            |inputs: &Inputs, config: &IpxeConfig, family, host| ProgramBuild::new(inputs, config, family, host).key;
        let (inputs, plain) = (inputs(), config(&[]));
        let mut keys = vec![
            key(&inputs, &plain, Family::Bios, HOST),
            key(&inputs, &plain, Family::Efi, HOST),
            key(&inputs, &plain, Family::Efi, Platform::EfiArm64),
            key(&inputs, &config(&[("general.h", "#define PING_CMD\n")]), Family::Efi, HOST),
        ];
        let mut trusting = plain.clone();
        trusting.trust.insert("ca.pem".into(), b"certificate".to_vec());
        keys.push(key(&inputs, &trusting, Family::Efi, HOST));
        let mut patched = inputs.clone();
        patched.patches.push(Patch { name: "x".into(), content: Vec::new() });
        keys.push(key(&patched, &plain, Family::Efi, HOST));
        let mut newer = inputs.clone();
        newer.pins.ipxe.epoch += 1;
        keys.push(key(&newer, &plain, Family::Efi, HOST));
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len());
        // These decide about loaders only.
        let mut signed = IpxeConfig { name: "other".into(), ..plain };
        let sbat = Sbat { name: "x".into(), generation: 1 };
        signed.secure_boot = Some(SecureBuild { sbat, arm64: true });
        assert_eq!(key(&inputs, &signed, Family::Efi, HOST), keys[1]);
    }

    #[test]
    fn headers_of_a_configuration_see_the_platform_of_the_loaders() {
        let adapted = Family::Bios.adapt(&config(&[("general.h", "#define PCI_CMD"), ("dhcp.h", "#define X\n")]));
        let text = |name: &str| String::from_utf8(adapted.headers[name].clone()).unwrap();
        let general = text("general.h");
        let places = ["#undef PCI_CMD", "#define PLATFORM_pcbios", "#define PCI_CMD", "#undef IMAGE_BZIMAGE"]
            .map(|line| general.find(&format!("{line}\n")).unwrap());
        assert!(places.is_sorted(), "{general}");
        assert_eq!(
            text("dhcp.h"),
            "#undef PLATFORM_linux\n#define PLATFORM_pcbios\n#define X\n\n#undef PLATFORM_pcbios\n#define PLATFORM_linux\n"
        );
        assert!(text("console.h").contains("#undef CONSOLE_SYSLOG\n") && !text("usb.h").contains("PLATFORM"));
        let efi = Family::Efi.adapt(&config(&[])).headers;
        assert!(!String::from_utf8_lossy(&efi["console.h"]).contains("CONSOLE_SYSLOG"));
    }

    #[test]
    fn folders_of_other_platforms_are_not_compiled() {
        let makefile = "# SRCDIRS lists\nSRCDIRS\t\t:=\nSRCDIRS\t\t+= net net/tcp drivers/net/tg3\nSRCDIRS += drivers/net\n\
            SRCDIRS += drivers/net/linux interface/efi tests\nDRIVERS += x\nSRCDIRS += arch/x86/core arch/x86/prefix\n\
            SRCDIRS += drivers/nvs arch/x86/interface/linux arch/x86/interface/pcbios arch/x86/hci/commands\n";
        assert_eq!(
            listed(makefile).join(" "),
            "net net/tcp drivers/net/linux arch/x86/core drivers/nvs arch/x86/interface/linux arch/x86/hci/commands"
        );
    }

    #[test]
    fn a_program_that_does_not_match_its_record_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(Utf8Path::from_path(folder.path()).unwrap());
        let build = ProgramBuild::new(&inputs(), &config(&[]), Family::Bios, HOST);
        assert!(build.find(&cache).unwrap().is_none());
        let paths = cache.program(&build.key);
        for part in [paths.program(), paths.record()] {
            build.store(b"program", &cache).unwrap();
            assert_eq!(build.find(&cache).unwrap().unwrap(), b"program");
            std::fs::write(&part, "changed").unwrap();
            assert!(build.find(&cache).unwrap().is_none(), "{part}");
            std::fs::remove_file(&part).unwrap();
            assert!(build.find(&cache).unwrap().is_none(), "{part}");
        }
    }
}
