//! iPXE for Linux as rehearsals run it: built from the pinned source, compared with the loaders that it stands for.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use camino::Utf8Path;
use netboot_fixtures::real::{Real, sources};
use netboot_loaders::base::fs;
use netboot_loaders::base::http::NetworkAccess;
use netboot_loaders::base::paths::{Cache, ProjectPaths};
use netboot_loaders::base::progress::Silent;
use netboot_loaders::build::BuildContext;
use netboot_loaders::build::make::{MakeEnvironment, Settings};
use netboot_loaders::build_loaders::Config;
use netboot_loaders::config::sites::Options;
use netboot_loaders::fetch::origins::Origins;
use netboot_loaders::loader::target::Loader;
use netboot_loaders::rehearse::program::{Programs, keys};

netboot_fixtures::tests! {
    with sources;
    commands_of_loaders,
    cached_programs,
    configured_programs,
    in_no_loader,
}

/// Name of the first field that is stamped into a program.
const MARK: &[u8] = b"rehearsal:pform";

/// Returns the programs of the loaders in the project's tree, each as it runs the `script` of its kind.
fn stamped(real: &Real, script: &str) -> BTreeMap<Loader, Vec<u8>> {
    let cache = Cache::new(&real.cache);
    let path = std::env::var("PATH").unwrap();
    let config = Config::read(&ProjectPaths::new(&real.project), &Options::default(), &Silent).unwrap();
    let plan = config.plan(&path, &cache, &Silent).unwrap();
    let origins = Origins {
        network: NetworkAccess::Offline,
        ipxe_url: None,
        syslinux_archive: None,
        signed_set: None,
        bundle: None,
    };
    let settings = Settings { path, jobs: 2, werror: true, launcher: None, environment: MakeEnvironment::default() };
    let context = BuildContext {
        plan: &plan,
        sources: &real.sources,
        origins: &origins,
        cache: &cache,
        settings: &settings,
        progress: &Silent,
    };
    let programs = Programs::build(&context, plan.loaders().map(|(_, loader)| loader)).unwrap();
    assert!(keys(&plan).iter().all(|key| cache.program(key).record().is_file()));
    let stamp = |platform, config| programs.stamp(config, platform, script.as_bytes()).unwrap();
    plan.loaders().map(|(_, it)| (it.loader, stamp(it.loader.platform(), &it.site.config))).collect()
}

/// Runs `program` without a network, and returns the lines that it prints up to the one that begins with `end`.
fn printed(program: &[u8], end: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("program");
    std::fs::write(&path, program).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new("timeout");
    command.arg("3").arg(path).stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text.lines().map(|line| line.trim_end().to_owned());
    let lines: Vec<String> = lines.filter(|line| !line.starts_with('\x1e')).collect();
    let Some(at) = lines.iter().position(|line| line.starts_with(end)) else { panic!("{text}") };
    lines[..=at].to_vec()
}

fn holds(content: &[u8], part: &[u8]) -> bool {
    content.windows(part.len()).any(|window| window == part)
}

/// Returns the commands that the `help` of a program names, without those that `rehearse.c` only reports.
fn commands(help: &[String]) -> BTreeSet<String> {
    let names = |text: &str| text.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let listed = help.iter().skip_while(|line| *line != "Available commands:").skip(1);
    let listed = listed.take_while(|line| !line.starts_with("Type ")).flat_map(|line| names(line));
    let source = include_str!("../../../vendor/rehearsal/rehearse.c");
    let reported = source.lines().filter_map(|line| line.strip_prefix("REHEARSE ( ")?.strip_suffix(" );"));
    let mut reported: BTreeSet<String> = reported.map(str::to_owned).collect();
    assert!(reported.contains("boot"));
    // Its own `shim` stands for that of UEFI.
    reported.insert("shim".into());
    // The first of two is the report.
    listed.filter(|name| !reported.remove(name)).collect()
}

/// Programs have the commands of the loaders that they stand for, and their settings.
fn commands_of_loaders(real: &Real) {
    real.sites("[default]\nloaders = [\"ipxe.pxe\", \"ipxe.efi\"]\nscript = \"root-path.ipxe\"\n");
    let programs = stamped(real, "#!ipxe\nhelp\necho SETTINGS ${platform} ${buildarch}\n");
    let settings = BTreeMap::from([(Loader::IpxePxe, "pcbios i386"), (Loader::IpxeEfi, "efi x86_64")]);
    for (loader, program) in programs {
        let lines = printed(&program, "SETTINGS");
        assert_eq!(lines.last().unwrap().trim_start_matches("SETTINGS "), settings[&loader]);
        let list = real.project.join("vendor").join(format!("linked-objects/default/{loader}.txt"));
        let list = std::fs::read_to_string(list).unwrap();
        let linked = list.lines().filter_map(|line| line.strip_prefix("command ")).map(str::to_owned);
        assert_eq!(commands(&lines), linked.collect(), "{loader}");
    }
}

/// A damaged program in the cache is built anew; another is used.
fn cached_programs(real: &Real) {
    real.sites("[default]\nloaders = [\"undionly.kpxe\"]\nscript = \"root-path.ipxe\"\n");
    let before = stamped(real, "#!ipxe\nshell\n");
    let folder = real.cache.join("programs");
    let files: Vec<_> = fs::walk(&folder).unwrap().into_iter().map(|(path, _)| folder.join(path)).collect();
    let modified = || files.iter().map(|path| path.metadata().unwrap().modified().unwrap()).collect::<Vec<_>>();
    let programs = files.iter().filter(|path| path.file_name() == Some("program"));
    let times = modified();
    assert!(stamped(real, "#!ipxe\nshell\n") == before);
    let changed = files.iter().zip(times.iter().zip(modified())).filter(|(_, (then, now))| *then != now);
    assert!(changed.map(|(path, _)| path.file_name().unwrap()).all(|name| name == "record.json"));
    for program in programs {
        std::fs::write(program, "damaged").unwrap();
    }
    assert!(stamped(real, "#!ipxe\nshell\n") == before, "the same program again");
    let trees = std::fs::read_dir(real.cache.join("trees")).into_iter().flatten().flatten();
    let trees = trees.map(|entry| entry.file_name().into_string().unwrap());
    assert_eq!(trees.filter(|name| name.starts_with("rehearsal-")).collect::<Vec<_>>(), Vec::<String>::new());
}

/// What a configuration chooses is in the programs, and what iPXE for Linux cannot have is no obstacle.
fn configured_programs(real: &Real) {
    let folder = real.project.join("vendor/ipxe-config/rehearsed");
    let general = "#define DIGEST_CMD\n#define DOWNLOAD_PROTO_HTTPS\n#define IMAGE_COMBOOT\n#undef SANBOOT_CMD\n\
        #ifdef PLATFORM_pcbios\n#define NEIGHBOUR_CMD\n#endif\n#ifdef PLATFORM_linux\n#error\n#endif\n";
    let headers = [("general.h", general), ("console.h", "#define CONSOLE_SERIAL\n")];
    for (name, text) in headers {
        fs::write_atomic(&folder.join(name), text.as_bytes()).unwrap();
    }
    let pem = include_bytes!("../../../fixtures/ca.pem");
    let certificate = real.project.join("embed-scripts/ca.pem");
    fs::write_atomic(&certificate, pem).unwrap();
    real.sites(
        "[default]\nloaders = [\"ipxe.pxe\"]\nscript = \"root-path.ipxe\"\nconfig = \"rehearsed\"\n\
         trust = [\"ca.pem\"]\n",
    );
    let programs = stamped(real, "#!ipxe\nhelp\necho END\n");
    std::fs::remove_dir_all(folder).unwrap();
    let der = Command::new("openssl").args(["x509", "-outform", "DER", "-in", certificate.as_str()]).output().unwrap();
    assert!(!der.stdout.is_empty() && programs.values().all(|program| holds(program, &der.stdout)));
    let has = commands(&printed(&programs[&Loader::IpxePxe], "END"));
    for (name, wanted) in [("sha256sum", true), ("nstat", true), ("sanboot", false), ("params", false)] {
        assert_eq!(has.contains(name), wanted, "{name}");
    }
}

/// Nothing of the programs is in a loader, packed or not.
fn in_no_loader(real: &Real) {
    real.sites("[default]\nloaders = [\"ipxe.pxe\", \"ipxe.efi\"]\nscript = \"root-path.ipxe\"\n");
    real.build(&[]);
    assert!(stamped(real, "#!ipxe\n").values().all(|program| holds(program, MARK)));
    let folder = real.cache.join("bases");
    let images = fs::walk(&folder).unwrap().into_iter().filter(|(path, _)| path.file_name() == Some("image"));
    let images: Vec<_> = images.map(|(path, _)| folder.join(path)).collect();
    assert!(images.len() >= 2);
    for image in images {
        assert!(!holds(&fs::read(&image).unwrap(), MARK), "{image}");
    }
    let lists = Utf8Path::new(&real.project).join("vendor/linked-objects");
    for (list, _) in fs::walk(&lists).unwrap() {
        assert!(!std::fs::read_to_string(lists.join(&list)).unwrap().contains("rehearse"), "{list}");
    }
}
