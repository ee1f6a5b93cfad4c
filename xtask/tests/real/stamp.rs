//! Stamping compared with the real make: hostile scripts in each loader.

use std::process::Command;

use netboot_fixtures::harness::full;
use netboot_fixtures::project::CliOutput;
use netboot_fixtures::real::{Real, sources};
use netboot_loaders::base::http::NetworkAccess;
use netboot_loaders::base::paths::ProjectPaths;
use netboot_loaders::base::progress::Silent;
use netboot_loaders::build::linker::Linker;
use netboot_loaders::build::make::{Goals, MakeEnvironment, Settings};
use netboot_loaders::build::plan::Build;
use netboot_loaders::build::{BuildContext, recall};
use netboot_loaders::build_loaders::Config;
use netboot_loaders::config::sites::Options;
use netboot_loaders::fetch::origins::Origins;
use netboot_loaders::loader::target::{Arch, Loader, Platform};
use netboot_loaders::stamp::slot::{Slot, SlotSize};
use netboot_loaders::stamp::stamper::Stamper;
use netboot_loaders::toolchain::cross::CrossCompiler;

netboot_fixtures::tests! {
    with sources;
    hostile_scripts,
    inventory,
    hostile_scripts_for_other_cpus,
    hostile_scripts_for_secure_boot,
}

/// Returns contents of a slot that could cause trouble. The first is the shortest, and two are real scripts.
fn hostile() -> Vec<Vec<u8>> {
    let size = SlotSize::DEFAULT.bytes();
    let noise = |seed: u32, length: usize| {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        };
        std::iter::repeat_with(&mut next).take(length).collect::<Vec<u8>>()
    };
    let cycle = |bytes: &[u8]| bytes.iter().copied().cycle().take(size).collect::<Vec<u8>>();
    let mut all = vec![Vec::new(), b"x".to_vec()];
    all.extend([include_bytes!("../../../embed-scripts/robust.ipxe").to_vec()]);
    all.extend([include_bytes!("../../../embed-scripts/menu.ipxe").to_vec()]);
    all.extend([(1, size), (2, size), (3, size - 1), (4, 1000), (5, 4), (6, size - 3)].map(|(seed, n)| noise(seed, n)));
    all.extend([0, 0xff, b'\n', b' ', 0xe8, 0xe9].map(|byte| vec![byte; size]));
    // Near and far calls, forwards and backwards.
    all.push(cycle(&[0xe8, 0, 0, 0, 0]));
    all.push(cycle(&[0xe9, 0x34, 0x12, 0, 0]));
    all.push(cycle(&[0xe8, 0xf0, 0xff, 0xff, 0xff, 0x90]));
    all.push(
        noise(7, size)
            .into_iter()
            .map(|byte| if byte.is_multiple_of(4) { 0xe8 | byte >> 7 } else { byte & 15 })
            .collect(),
    );
    all.push("#!ipxe\necho 引导程序不见了，请联系管理员\n".repeat(60).into_bytes());
    all.push("界".repeat(size / 3).into_bytes());
    all.push(b"#!ipxe\r\nshell\r\n".repeat(200));
    all.push([b"#!ipxe\n# ".to_vec(), vec![b'a'; size - 10], b"\n".to_vec()].concat());
    assert_eq!(all.len(), 24);
    all
}

/// Returns the make settings of all these tests.
fn settings() -> Settings {
    let path = std::env::var("PATH").unwrap();
    Settings { path, jobs: 2, werror: true, launcher: None, environment: MakeEnvironment::default() }
}

/// One loader of each of a PC's platforms, or all of them.
fn hostile_scripts(real: &Real) {
    let of_a_pc = |loader: &Loader| matches!(loader.platform(), Platform::Bios | Platform::EfiX64);
    let all = Loader::ALL.into_iter().filter(of_a_pc);
    compared_with_make(real, &if full() { all.collect() } else { vec![Loader::IpxePxe, Loader::IpxeEfi] }, "");
}

/// A loader for ARM, or all loaders for other CPUs that there is a compiler for.
fn hostile_scripts_for_other_cpus(real: &Real) -> Result<(), String> {
    let path = std::env::var("PATH").unwrap();
    let can_be_built = |loader: &Loader| CrossCompiler::of(loader.platform().arch()).is_none_or(|it| it.is_in(&path));
    let other = |loader: &Loader| !matches!(loader.platform(), Platform::Bios | Platform::EfiX64);
    let chosen = |loader: &Loader| full() || *loader == Loader::Arm64SnponlyEfi;
    let loaders: Vec<Loader> = Loader::ALL.into_iter().filter(other).filter(chosen).filter(can_be_built).collect();
    if !loaders.contains(&Loader::Arm64SnponlyEfi) {
        return Err("there is no compiler for arm64".to_owned());
    }
    compared_with_make(real, &loaders, "");
    for loader in loaders {
        let file = Command::new("file").args(["-b", loader.as_str()]).current_dir(real.tree()).output().unwrap();
        let text = String::from_utf8_lossy(&file.stdout).into_owned();
        let arch = match loader.platform().arch() {
            Arch::I386 => "Intel 80386",
            Arch::Arm64 => "Aarch64",
            Arch::Arm32 => "ARM",
            Arch::Riscv64 => "RISC-V 64-bit",
            other => panic!("{other} has no name here"),
        };
        assert!(text.contains("(EFI application)") && text.contains(arch), "{loader}: {text}");
    }
    real.verify();
    Ok(())
}

/// Loaders that may be signed, of iPXE's build for Secure Boot.
fn hostile_scripts_for_secure_boot(real: &Real) -> Result<(), String> {
    let secure_boot = real.secure_boot()?;
    let of_a_pc = |loader: &Loader| loader.platform() == Platform::EfiX64;
    let all = Loader::ALL.into_iter().filter(of_a_pc);
    compared_with_make(real, &if full() { all.collect() } else { vec![Loader::IpxeEfi] }, &secure_boot);
    real.verify();
    let inspected = real.command(&["inspect", real.tree().join("ipxe.efi").as_str()]).output().unwrap();
    let inspected = CliOutput::from(inspected).success().stdout;
    for line in ["signed by  CN=netboot-loaders", "sbat       ipxe.example,1,iPXE,ipxe.efi,2.0.0 (g12798),"] {
        assert!(inspected.contains(line), "{inspected}");
    }
    Ok(())
}

/// Puts each hostile script into each of `loaders`, and compares the result with what make gives; `more` is the rest of
/// the configuration.
fn compared_with_make(real: &Real, loaders: &[Loader], more: &str) {
    let all = loaders.iter().map(|loader| format!("{:?}", loader.as_str())).collect::<Vec<_>>().join(", ");
    real.sites(&format!("[default]\nloaders = [{all}]\nscript = \"root-path.ipxe\"\n{more}"));
    real.build(&[]);
    let (project, cache) = (ProjectPaths::new(&real.project), netboot_loaders::base::paths::Cache::new(&real.cache));
    let settings = settings();
    let choices = Config::read(&project, &Options::default(), &Silent).unwrap();
    let plan = choices.plan(&settings.path, &cache, &Silent).unwrap();
    let (built, missing) = recall(&plan, &cache).unwrap();
    assert!(missing.is_empty(), "the bases were built just now");
    let origins = Origins {
        network: NetworkAccess::Offline,
        ipxe_url: None,
        syslinux_archive: None,
        signed_set: None,
        bundle: None,
    };
    let context = BuildContext {
        plan: &plan,
        sources: &cache,
        origins: &origins,
        cache: &cache,
        settings: &settings,
        progress: &Silent,
    };
    // For one platform, make uses one processor.
    let compare = |build: &Build| {
        let (mut source, mut stamper) = (context.source(), Stamper::new());
        let mut compared = 0;
        let mut linker = Linker::open(build, &context, &mut source).unwrap();
        let keys = &build.bases[&SlotSize::DEFAULT];
        let loaders: Vec<Loader> = keys.keys().copied().collect();
        for (number, content) in hostile().iter().enumerate() {
            let slot = Slot::fill(content, SlotSize::DEFAULT).unwrap();
            linker.link(&slot, &loaders, Goals::Loaders, "a hostile script").unwrap();
            for (loader, key) in keys {
                let made = std::fs::read(linker.src().join(build.config.target(*loader))).unwrap();
                let stamped = stamper.stamp(&built.base(key).base, &slot).unwrap();
                assert!(stamped == made, "{loader} with script {number} differs from what make builds");
                compared += 1;
            }
        }
        compared
    };
    let compared: usize = std::thread::scope(|scope| {
        let builds: Vec<_> = plan.builds.iter().map(|build| scope.spawn(move || compare(build))).collect();
        builds.into_iter().map(|build| build.join().unwrap()).sum()
    });
    assert_eq!(compared, 24 * loaders.len());
    println!("{compared} of {compared} loaders are what make gives");
}

fn inventory(real: &Real) {
    let rows: String = (1..=60)
        .map(|i| format!("rack-{i},{0},http://192.0.2.10/boot/{1}.ipxe\n", "é".repeat(i), "%C3%A9".repeat(i)))
        .collect();
    std::fs::write(real.project.join("embed-scripts/racks.csv"), format!("name,note,boot_url\n{rows}")).unwrap();
    let script = "#!ipxe\necho {{ site }}: {{ note }}\ndhcp && chain {{ boot_url }}\n";
    std::fs::write(real.project.join("embed-scripts/racks.ipxe"), script).unwrap();
    real.sites(
        "[default]\nloaders = [\"ipxe.pxe\", \"undionly.kpxe\", \"ipxe.efi\"]\nscript = \"url.ipxe\"\n\
         vars = { boot_url = \"http://192.0.2.10/\" }\n\
         [inventory.racks]\nfrom = \"racks.csv\"\nscript = \"racks.ipxe\"\n",
    );
    real.build(&[]);
    real.verify();
    let output = real.command(&["verify", "--against-make", "--sample", "5", "--offline"]).output().unwrap();
    let ran = CliOutput::from(output).success();
    println!("{}", ran.stdout);
    assert!(ran.stdout.contains(": 15 loaders of 5 of 61 sites (seed "), "{}", ran.stdout);
}
