//! Stamping compared with the real make: hostile scripts in each loader, and EFI loaders for other CPUs.

use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use netboot_fixtures::harness::full;
use netboot_fixtures::project::CliOutput;
use netboot_fixtures::real::{Real, sources};
use netboot_fixtures::skip;
use netboot_loaders::base::http::NetworkAccess;
use netboot_loaders::base::paths::ProjectPaths;
use netboot_loaders::base::progress::Silent;
use netboot_loaders::build::linker::Linker;
use netboot_loaders::build::make::{Goals, MakeEnvironment, Settings};
use netboot_loaders::build::plan::Build;
use netboot_loaders::build::{BuildContext, recall};
use netboot_loaders::build_loaders::Config;
use netboot_loaders::config::sites::Options;
use netboot_loaders::fetch::ipxe::Order;
use netboot_loaders::fetch::origins::Origins;
use netboot_loaders::loader::link_map::LinkMap;
use netboot_loaders::loader::target::Loader;
use netboot_loaders::stamp::base::{Addresses, Base};
use netboot_loaders::stamp::slot::{Slot, SlotSize};
use netboot_loaders::stamp::stamper::Stamper;

netboot_fixtures::tests! {
    with sources;
    hostile_scripts,
    inventory,
    ; full:
    efi_for_i386,
    efi_for_arm64,
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

/// One loader of each platform, or all of them.
fn hostile_scripts(real: &Real) {
    let loaders = if full() { &Loader::ALL[..] } else { &[Loader::IpxePxe, Loader::IpxeEfi] };
    let all = loaders.iter().map(|loader| format!("{:?}", loader.as_str())).collect::<Vec<_>>().join(", ");
    real.sites(&format!("[default]\nloaders = [{all}]\nscript = \"root-path.ipxe\"\n"));
    real.build(&[]);
    let (project, cache) = (ProjectPaths::new(&real.project), netboot_loaders::base::paths::Cache::new(&real.cache));
    let settings = settings();
    let choices = Config::read(&project, &Options::default(), &Silent).unwrap();
    let plan = choices.plan(&settings.path, &cache, &Silent).unwrap();
    let (built, missing) = recall(&plan, &cache).unwrap();
    assert!(missing.is_empty(), "the bases were built just now");
    let origins = Origins { network: NetworkAccess::Offline, ipxe_url: None, syslinux_archive: None, bundle: None };
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
                let made = std::fs::read(linker.src().join(loader.target())).unwrap();
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

fn efi_for_i386(real: &Real) {
    other_cpu(real, "i386", "");
}

fn efi_for_arm64(real: &Real) -> Result<(), String> {
    skip::program("aarch64-linux-gnu-gcc")?;
    other_cpu(real, "arm64", "aarch64-linux-gnu-");
    Ok(())
}

/// EFI loaders for a CPU that the tool has no platform for: they are stamped in the same way.
fn other_cpu(real: &Real, cpu: &str, cross: &str) {
    let folder = tempfile::tempdir().unwrap();
    let tree = Utf8Path::from_path(folder.path()).unwrap().join("checkout");
    real.source().export(&tree, (real.pin().epoch, Order::Sorted), "iPXE\'s source", &Silent).unwrap();
    let src = tree.join("src");
    for header in std::fs::read_dir(src.join("config")).unwrap() {
        let header = Utf8PathBuf::from_path_buf(header.unwrap().path()).unwrap();
        if header.extension() == Some("h") {
            let local = src.join("config/local");
            std::fs::create_dir_all(&local).unwrap();
            std::fs::write(local.join(header.file_name().unwrap()), "").unwrap();
        }
    }
    let bin = format!("bin-{cpu}-efi");
    let targets = ["ipxe.efi", "snponly.efi"];
    let make = |slot: &Slot| {
        let _ = std::fs::remove_file(src.join(&bin).join("embedded.o"));
        std::fs::write(src.join("embedded.ipxe"), slot.bytes()).unwrap();
        let mut command = Command::new("make");
        command.args([
            "-j2",
            "AUTO_DEPS=",
            "EMBED=embedded.ipxe",
            "BUILD_ID_CMD=cat $^ | tee $@.linked | cksum | cut -d ' ' -f 1",
        ]);
        command.args([format!("CROSS={cross}"), format!("GITVERSION={}", real.pin().commit)]);
        command.args(targets.map(|target| format!("{bin}/{target}")));
        command.current_dir(&src).env("LC_ALL", "C").env("SOURCE_DATE_EPOCH", real.pin().epoch.to_string());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        targets.map(|target| std::fs::read(src.join(&bin).join(target)).unwrap())
    };
    let images = make(&Slot::sentinel(SlotSize::DEFAULT));
    let base = |(target, image): (&str, Vec<u8>)| {
        let file = |ending: &str| src.join(&bin).join(format!("{target}.tmp.{ending}"));
        let map = String::from_utf8_lossy(&std::fs::read(file("map")).unwrap()).into_owned();
        let address = |symbol| LinkMap::new(&map).address(symbol).unwrap();
        let addresses = Addresses { slot: address("embedded_image_1_data"), build_id: address("build_id") };
        let mut linked = std::fs::File::open(file("linked")).unwrap();
        Base::capture_efi(target, image, SlotSize::DEFAULT, addresses, &mut linked).unwrap().unwrap()
    };
    let bases: Vec<Base> = targets.into_iter().zip(images).map(base).collect();
    let mut stamper = Stamper::new();
    for (number, content) in hostile().iter().enumerate() {
        let slot = Slot::fill(content, SlotSize::DEFAULT).unwrap();
        for (base, made) in bases.iter().zip(make(&slot)) {
            assert!(stamper.stamp(base, &slot).unwrap() == made, "script {number} for {cpu}");
        }
    }
    println!("{} of {} loaders for {cpu} are what make gives", 24 * bases.len(), 24 * bases.len());
}
