//! The book's commands, typed in order in a new clone: each page in a world of its own, with a router and a NAS that
//! speak SFTP, real servers, and local servers in place of the publishers. At the end of a tutorial, a machine boots
//! from what its servers serve.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use git2::{Oid, Repository};
use netboot_fixtures::book::{Block, blocks, missing};
use netboot_fixtures::git::backend;
use netboot_fixtures::harness::{TestCase, full, xtask};
use netboot_fixtures::mirror::{IMAGES, METADATA, content, metadata, path};
use netboot_fixtures::real::{Real, sources};
use netboot_fixtures::server::{Responder, TestServer};
use netboot_fixtures::{git, skip};
use netboot_loaders::base::fs;
use netboot_loaders::base::paths::Cache;
use netboot_loaders::base::progress::Silent;
use netboot_loaders::boot_test::network::TestNetwork;
use netboot_loaders::boot_test::tools::{GuestImages, MachineTools, TestTools};
use netboot_loaders::boot_test::userland;
use netboot_loaders::digest::{Sha256Digest, Sha512Digest};
use netboot_loaders::loader::target::Platform;

/// Argument with which this program runs a page inside of the world that it has made.
pub const PAGE: &str = "--page-of-the-book";

/// The root of the repository.
const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// What makes a world, and the programs that differ in it.
const WORLD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/world");

/// Programs that `docs --install-deps` installs, mdBook among them.
const PROGRAMS_OF_CHECK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/linters");

/// Names of the publishers that the book's commands ask.
const PUBLISHERS: [&str; 6] = [
    "files.example.net",
    "git.example.net",
    "github.com",
    "mirrors.edge.kernel.org",
    "builds.coreos.fedoraproject.org",
    "stable.release.flatcar-linux.net",
];
const FEDORA: &str = "44.20260707.3.1";
const FLATCAR: &str = "4593.2.5";

/// Page with the sites and the network of blocks that need a network.
const NETWORK: &str = "docs/src/tutorials/linux-server.md";

/// Programs that the book's commands start.
const PROGRAMS: [&str; 13] = [
    "caddy",
    "curl",
    "dhcpd",
    "dnsmasq",
    "in.tftpd",
    "ip",
    "kea-dhcp4",
    "nginx",
    "openssl",
    "setpriv",
    "sftp",
    "sshd",
    "unshare",
];

/// What a page prints before a line that it does not run.
const LEFT: &str = "left to `check --full`";

/// Time that one block may take.
const LIMIT: Duration = Duration::from_secs(900);
/// What the userland of a tutorial's machine prints.
const NONCE: &str = "the-tutorial-boots";

/// Returns a test of each page that has commands.
pub fn tests() -> Vec<TestCase> {
    let book = Utf8Path::new(REPOSITORY).join("docs/src");
    let pages = fs::walk(&book).unwrap().into_iter().map(|(page, _)| page);
    let mut pages: Vec<Utf8PathBuf> = pages.filter(|page| page.extension() == Some("md")).collect();
    pages.sort();
    pages.retain(|page| read(&book.join(page)).iter().any(is_run));
    let pages = pages.into_iter().map(|page| Utf8Path::new("docs/src").join(page));
    let pages = std::iter::once(Utf8PathBuf::from("README.md")).chain(pages);
    pages.map(test).collect()
}

/// Returns the test of a page. One that has nothing but rebuilds would run nothing, so it is left to `check --full`.
fn test(page: Utf8PathBuf) -> TestCase {
    let blocks = read(&Utf8Path::new(REPOSITORY).join(&page));
    let rebuilds = blocks.iter().filter(|block| is_run(block)).all(|block| block.text.lines().all(is_rebuild));
    let test = TestCase::with(module_path!(), &name(&page), sources, move |real| types(real, &page));
    if rebuilds { test.full() } else { test }
}

/// Checks whether a line of a block builds loaders again, which takes minutes.
fn is_rebuild(line: &str) -> bool {
    line.contains("xtask reproduce ")
}

/// Returns the name of a page in the book, such as `how-to/deploy`.
fn name(page: &Utf8Path) -> String {
    page.strip_prefix("docs/src").unwrap_or(page).with_extension("").into_string()
}

fn read(page: &Utf8Path) -> Vec<Block> {
    blocks(&std::fs::read_to_string(page).unwrap())
}

fn is_run(block: &Block) -> bool {
    block.has("sh") && !block.has("untried")
}

/// Runs the page in a world of its own.
fn types(real: &Real, page: &Utf8Path) -> Result<(), String> {
    PROGRAMS.iter().try_for_each(|program| skip::program(program).map(drop))?;
    git::http_backend()?;
    skip::machines()?;
    let namespaces = namespaces()?;
    let releases = |block: &Block| is_run(block) && block.text.contains("release");
    if read(&Utf8Path::new(REPOSITORY).join(page)).iter().any(releases) && !Utf8Path::new(PROGRAMS_OF_CHECK).exists() {
        return Err("mdBook is not installed: run `cargo xtask docs --install-deps`".to_owned());
    }
    let world = prepare(real);
    // The world ends with this process; its first process is a shell, which reaps the servers that end.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", "unshare"]).args(namespaces).args(["--kill-child", "--", "bash", "-c"]);
    command.args([r#""$@"; exit $?"#, "bash"]).arg(std::env::current_exe().unwrap());
    let output = command.args([PAGE, world.as_str(), page.as_str(), xtask()]).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    for left in text.lines().filter(|line| line.starts_with(LEFT)) {
        println!("{page}: {left}");
    }
    Ok(())
}

/// Returns the options of `unshare` that make a world. Its servers change to users of their own.
fn namespaces() -> Result<&'static [&'static str], String> {
    const ROOT: &[&str] = &["--mount", "--net", "--pid", "--fork", "--mount-proc"];
    const USER: &[&str] = &["--map-root-user", "--map-auto", "--mount", "--net", "--pid", "--fork", "--mount-proc"];
    let possible = |options: &[&str]| {
        let output = Command::new("unshare").args(options).arg("true").output();
        output.is_ok_and(|output| output.status.success())
    };
    let found = [ROOT, USER].into_iter().find(|options| possible(options));
    found.ok_or_else(|| "users may not make networks with several users here".to_owned())
}

/// Fills the folder that all worlds share: a clone to start from, what the publishers serve, and the tool's cache.
fn prepare(real: &Real) -> Utf8PathBuf {
    let world = real.project.with_file_name("world");
    if world.exists() {
        return world;
    }
    let listed = Command::new("git").args(["-C", REPOSITORY, "ls-files", "-z"]).output().unwrap();
    for file in String::from_utf8(listed.stdout).unwrap().split_terminator('\0') {
        let (from, to) = (Utf8Path::new(REPOSITORY).join(file), world.join("clone").join(file));
        if from.exists() {
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy(from, to).unwrap();
        }
    }
    let clone = world.join("clone");
    for words in [
        &["init", "--quiet"][..],
        &["add", "--all"],
        &["-c", "user.name=You", "-c", "user.email=you@example.net", "commit", "--quiet", "--message", "Clone"],
    ] {
        assert!(Command::new("git").args(["-C", clone.as_str()]).args(words).status().unwrap().success());
    }
    upstream(real, &world.join("git/ipxe/ipxe.git"));
    std::os::unix::fs::symlink("ipxe", world.join("git/mirrors")).unwrap();
    std::fs::copy(real.archive(), world.join("syslinux.zip")).unwrap();
    world
}

/// Makes a repository of iPXE at `path`, with the pinned release, and without its history, as in the cache.
fn upstream(real: &Real, path: &Utf8Path) {
    let repository = Repository::init_bare(path).unwrap();
    let objects = path.join("objects/info");
    std::fs::create_dir_all(&objects).unwrap();
    let cached = real.sources.ipxe_git();
    std::fs::write(objects.join("alternates"), format!("{}\n", cached.join("objects"))).unwrap();
    drop(repository);
    let repository = Repository::open_bare(path).unwrap();
    let pinned = Oid::from_str(&real.pin().commit.to_string()).unwrap();
    repository.reference(&real.pin().git_ref, pinned, true, "released").unwrap();
    repository.reference("refs/heads/master", pinned, true, "newest").unwrap();
    repository.set_head("refs/heads/master").unwrap();
}

/// Runs a page inside of its world; `arguments` are the world's folder, the page, and the program under test.
pub fn inside(mut arguments: impl Iterator<Item = String>) -> ExitCode {
    let [world, page, program] = [(); 3].map(|()| arguments.next().unwrap());
    let page = Utf8Path::new(&page);
    let world = World::new(world.into(), program);
    let blocks = read(&Utf8Path::new(REPOSITORY).join(page));
    let mut said: Option<(usize, BlockOutput)> = None;
    for (at, block) in blocks.iter().enumerate() {
        let place = format!("{page}:{}", block.line);
        world.network(block);
        world.write(block);
        if is_run(block) {
            let text = match world.run(block, is_whole(page, block, blocks.get(at + 1))) {
                Ok(text) => text,
                Err(text) => {
                    println!("{place}: {}\n{}", block.text, text.both());
                    return ExitCode::FAILURE;
                }
            };
            said = Some((at, text));
        } else if block.marks == ["text", "output"] {
            let text = said.as_ref().filter(|(before, _)| before + 1 == at).map(|(_, text)| text);
            let Some(text) = text else {
                println!("{place}: no command before it has this output");
                return ExitCode::FAILURE;
            };
            if let Some(line) = missing(&block.text, &text.stdout).and(missing(&block.text, &text.both())) {
                println!("{place}: the output has no line like this one here:\n{line}\nThe output:\n{}", text.both());
                return ExitCode::FAILURE;
            }
        }
    }
    let booted = match name(page).as_str() {
        "tutorials/linux-server" => world.boot(),
        "tutorials/mikrotik-and-nas" => {
            world.router();
            world.boot()
        }
        _ => Ok(()),
    };
    if let Err(console) = booted {
        println!("{page}: the machine does not boot; its console:\n{console}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Checks whether all machines of a boot test boot, and whether loaders are built again: for the tutorials, and where the
/// book shows the result.
fn is_whole(page: &Utf8Path, block: &Block, next: Option<&Block>) -> bool {
    let shown = next.is_some_and(|next| next.text.contains("boot-test: "));
    full() || shown || name(page).starts_with("tutorials/") || block.text.contains("reproduce --offline")
}

/// Returns the TOML file `before` with the keys and tables of `part` in place of its own ones of the same name.
fn with_part(before: &str, part: &str) -> String {
    let tables = |text: &str| {
        let mut tables = vec![String::new()];
        for line in text.lines() {
            if line.starts_with('[') {
                tables.push(String::new());
            }
            *tables.last_mut().unwrap() += &format!("{line}\n");
        }
        tables
    };
    let name = |text: &str| text.lines().next().unwrap_or_default().to_owned();
    let (part, before) = (tables(part), tables(before));
    let key = |line: &str| line.split_once(" = ").map(|(key, _)| key.to_owned());
    let keys: Vec<_> = part[0].lines().filter_map(key).collect();
    let kept = before[0].lines().filter(|line| key(line).is_none_or(|key| !keys.contains(&key)));
    let top: String = kept.chain(part[0].lines()).map(|line| format!("{line}\n")).collect();
    let same = |table: &&String| part[1..].iter().all(|new| name(new) != name(table));
    std::iter::once(&top).chain(before[1..].iter().filter(same)).chain(&part[1..]).map(String::as_str).collect()
}

/// What a block prints. The book shows the results alone, or all of it.
struct BlockOutput {
    stdout: String,
    stderr: String,
}

impl BlockOutput {
    fn both(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

struct World {
    folder: Utf8PathBuf,
    clone: Utf8PathBuf,
    program: String,
    tools: TestTools,
    publishers: TestServer,
}

impl World {
    fn new(folder: Utf8PathBuf, program: String) -> Self {
        let cache = Cache::new(folder.join("cache"));
        let network = TestNetwork::default();
        let tools = TestTools::find(
            &std::env::var("PATH").unwrap(),
            (&[Platform::EfiX64].into(), &GuestImages::default()),
            &network,
            &cache,
            &Silent,
        )
        .unwrap();
        let publishers = publish(&folder, tools.machine(Platform::EfiX64).unwrap());
        let world = Self { clone: folder.join("project"), folder, program, tools, publishers };
        for folder in [&world.clone, &world.home()] {
            if folder.exists() {
                std::fs::remove_dir_all(folder).unwrap();
            }
        }
        let copied =
            Command::new("cp").args(["-a", world.folder.join("clone").as_str(), world.clone.as_str()]).status();
        assert!(copied.unwrap().success());
        std::fs::create_dir_all(world.home()).unwrap();
        std::fs::create_dir_all(world.clone.join("target")).unwrap();
        std::os::unix::fs::symlink(PROGRAMS_OF_CHECK, world.clone.join("target/linters")).unwrap();
        let port = world.publishers.url("").rsplit_once(':').unwrap().1.to_owned();
        let mut setup = world.command("bash");
        let output = setup.arg(format!("{WORLD}/setup")).args([world.folder.as_str(), &port]).args(PUBLISHERS).output();
        let output = output.unwrap();
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
        world
    }

    /// Returns the home folder of whoever types the page: empty at its start, as the next page expects.
    fn home(&self) -> Utf8PathBuf {
        self.folder.join("home")
    }

    /// Returns the command `program` with the environment of this world.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var("PATH").unwrap();
        let (home, cargo) = (std::env::var("HOME").unwrap_or_default(), "CARGO_HOME");
        if std::env::var_os(cargo).is_none() {
            command.env(cargo, format!("{home}/.cargo"));
        }
        if std::env::var_os("RUSTUP_HOME").is_none() {
            command.env("RUSTUP_HOME", format!("{home}/.rustup"));
        }
        command
            .env("PATH", format!("{WORLD}/bin:{path}:/usr/local/sbin:/usr/sbin:/sbin"))
            .env("HOME", self.home())
            .env("NETBOOT_LOADERS_CACHE_DIR", self.folder.join("cache"))
            .env("CCACHE_DIR", self.folder.with_file_name("cache").join("ccache"))
            .env("WORLD_XTASK", &self.program)
            .env("WORLD_REPOSITORY", REPOSITORY)
            .env("WORLD_CARGO", skip::program("cargo").unwrap())
            .env("WORLD_LAUNCHER", Real::compiled_once().last().copied().unwrap_or_default())
            .env_remove("CARGO_MANIFEST_DIR")
            .env_remove("SSH_AUTH_SOCK");
        for proxy in ["http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env_remove(proxy);
        }
        command
    }

    /// Writes the file, or the part of one, that a block shows, with a real key in place of the shortened one.
    fn write(&self, block: &Block) {
        let (file, part) = match (block.mark("file="), block.mark("part=")) {
            (Some(file), _) => (file, false),
            (None, Some(file)) => (file, true),
            (None, None) => return,
        };
        let key = std::fs::read_to_string(self.folder.join("ssh/user.pub")).unwrap();
        let mut text = block.text.replace("AAAA...", key.split(' ').nth(1).unwrap());
        let path = self.clone.join(file);
        if part {
            text = with_part(&std::fs::read_to_string(&path).unwrap(), &text);
        }
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Makes the network of a block that needs one, unless the page has written it.
    fn network(&self, block: &Block) {
        if block.has("needs=network") {
            let tutorial = read(&Utf8Path::new(REPOSITORY).join(NETWORK));
            let shipped = |block: &&Block| block.mark("file=").is_some_and(|file| !self.wrote(file));
            tutorial.iter().filter(shipped).for_each(|block| self.write(block));
        }
    }

    /// Runs a block, after what it needs is there, and returns its output. Only a `whole` run has all that takes minutes.
    fn run(&self, block: &Block, whole: bool) -> Result<BlockOutput, BlockOutput> {
        let needs_tree = ["needs=tree", "needs=server", "needs=root"].iter().any(|needs| block.has(needs));
        if needs_tree && (!self.clone.join("dist/tftp").exists() || block.has("needs=network")) {
            self.shell("cargo xtask build-loaders", false)?;
        }
        if block.has("needs=server") && !Utf8Path::new("/srv/tftp").exists() {
            self.shell("cp -a dist/tftp /srv/tftp", false)?;
            if block.has("needs=network") {
                self.shell("cargo xtask recipe nginx --out /etc/nginx/conf.d && nginx -s reload", false)?;
            }
        }
        if block.text.contains("dist/release") && !self.clone.join("dist/release").exists() {
            self.shell("cargo xtask release --dry-run", false)?;
        }
        if block.has("background") {
            return self.background(&block.text);
        }
        if whole {
            return self.shell(&block.text, true);
        }
        let (left, run): (Vec<_>, Vec<_>) = block.text.split_inclusive('\n').partition(|line| is_rebuild(line));
        for line in &left {
            print!("{LEFT}: {line}");
        }
        self.shell(&run.concat(), false)
    }

    /// Starts a server that stays, and returns what it says first.
    fn background(&self, text: &str) -> Result<BlockOutput, BlockOutput> {
        let output = self.folder.join("output-of-server");
        let mut command = self.command("bash");
        command.args(["-euc", &format!("exec 2>&1\n{text}")]).current_dir(&self.clone).stdin(Stdio::null());
        let mut server = command.stdout(std::fs::File::create(&output).unwrap()).spawn().unwrap();
        loop {
            let ended = server.try_wait().unwrap().is_some();
            let said = BlockOutput { stdout: std::fs::read_to_string(&output).unwrap(), stderr: String::new() };
            if ended {
                return Err(said);
            }
            if said.stdout.contains('\n') {
                return Ok(said);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Checks whether the page has changed a file of the clone.
    fn wrote(&self, file: &str) -> bool {
        std::fs::read(self.clone.join(file)).ok() != std::fs::read(self.folder.join("clone").join(file)).ok()
    }

    fn shell(&self, text: &str, whole: bool) -> Result<BlockOutput, BlockOutput> {
        let mut command = self.command("timeout");
        command.args(["--kill-after", "5", &LIMIT.as_secs().to_string(), "bash", "-euo", "pipefail", "-c", text]);
        // The servers that a command starts keep its output open, so a pipe would not end with it.
        let [stdout, stderr] = ["stdout", "stderr"].map(|name| self.folder.join(name));
        command.current_dir(&self.clone).env("WORLD_WHOLE", if whole { "1" } else { "" }).stdin(Stdio::null());
        command.stdout(std::fs::File::create(&stdout).unwrap()).stderr(std::fs::File::create(&stderr).unwrap());
        let status = command.status().unwrap();
        let [stdout, stderr] = [stdout, stderr].map(|file| std::fs::read(file).unwrap());
        let [stdout, stderr] = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let output = BlockOutput { stdout, stderr };
        if status.success() { Ok(output) } else { Err(output) }
    }

    /// Does what the router of a tutorial does: DHCP, and TFTP from the folder that was deployed to it.
    fn router(&self) {
        let arguments = "--port=0 --interface=eth0 --bind-dynamic --listen-address=192.168.88.1 --enable-tftp \
                         --tftp-root=/run/router/tftp --dhcp-range=192.168.88.100,192.168.88.199 \
                         --dhcp-boot=ipxe.efi,,192.168.88.1 \
                         --dhcp-option-force=17,http://192.168.88.10/tftp/fedora-coreos.ipxe";
        let status = self.command("dnsmasq").arg("--conf-file=/dev/null").args(arguments.split(' ')).status();
        assert!(status.unwrap().success());
    }

    /// Boots the machine of a tutorial with UEFI, or returns its console.
    fn boot(&self) -> Result<(), String> {
        let variables = self.folder.join("variables.fd");
        let tools = self.tools.machine(Platform::EfiX64).unwrap();
        std::fs::copy(&tools.variables, &variables).unwrap();
        for words in ["tuntap add tap0 mode tap", "link set tap0 master eth0", "link set tap0 up"] {
            assert!(Command::new(&self.tools.servers.ip).args(words.split(' ')).status().unwrap().success());
        }
        let machine = "-nodefaults -no-user-config -display none -vga std -m 1024 -no-reboot -machine q35,accel=tcg \
                       -device virtio-rng-pci -serial stdio -netdev tap,id=net,ifname=tap0,script=no,downscript=no \
                       -device virtio-net-pci,netdev=net,mac=00:50:56:00:01:01,romfile=";
        let mut machine = Command::new(&tools.qemu)
            .args(machine.split(' '))
            .args(["-drive", &format!("if=pflash,format=raw,unit=0,readonly=on,file={}", tools.firmware)])
            .args(["-drive", &format!("if=pflash,format=raw,unit=1,file={variables}")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let started = Instant::now();
        let (sender, lines) = std::sync::mpsc::channel();
        let output = BufReader::new(machine.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in output.split(b'\n') {
                if sender.send(String::from_utf8_lossy(&line.unwrap()).into_owned()).is_err() {
                    return;
                }
            }
        });
        let (mut console, mut booted) = (String::new(), false);
        while let Some(left) = Duration::from_secs(180).checked_sub(started.elapsed()) {
            let Ok(line) = lines.recv_timeout(left) else { break };
            writeln!(console, "{line}").unwrap();
            if line.contains(&format!("{}{NONCE}", userland::REACHED)) {
                booted = true;
                break;
            }
        }
        machine.kill().unwrap();
        machine.wait().unwrap();
        if booted { Ok(()) } else { Err(console) }
    }
}

/// Starts a server in place of all publishers, whose images of an operating system boot.
fn publish(world: &Utf8Path, tools: &MachineTools) -> TestServer {
    let kernel = std::fs::read(&tools.kernel).unwrap();
    let initramfs = userland::initramfs(&tools.busybox, NONCE, None, false).unwrap();
    let image = move |name: &str, size: usize| match name {
        "kernel.x86_64" => kernel.clone(),
        "initramfs.x86_64.img" => initramfs.clone(),
        _ => content(FEDORA, name, size),
    };
    let mut stream = metadata(FEDORA).to_string();
    let mut files = Vec::new();
    for (name, _, size) in IMAGES {
        let image = image(name, size);
        let announced = Sha256Digest::of(&content(FEDORA, name, size)).to_string();
        stream = stream.replace(&announced, &Sha256Digest::of(&image).to_string());
        files.push((path(FEDORA, name), image));
    }
    // Images for 64-bit ARM, which no machine boots here.
    let of_arm = |text: &str| text.replace("x86_64", "aarch64");
    let mut stream: serde_json::Value = serde_json::from_str(&stream).unwrap();
    let arm = of_arm(&metadata(FEDORA)["architectures"]["x86_64"].to_string());
    stream["architectures"]["aarch64"] = serde_json::from_str(&arm).unwrap();
    files.extend(IMAGES.map(|(name, _, size)| (of_arm(&path(FEDORA, name)), content(FEDORA, name, size))));
    files.push((METADATA.to_owned(), stream.to_string().into_bytes()));
    for (name, size) in [("flatcar_production_pxe.vmlinuz", 30_000), ("flatcar_production_pxe_image.cpio.gz", 90_000)] {
        let image = content(FLATCAR, name, size);
        let (sha512, _) = Sha512Digest::of_reader(&mut &image[..]).unwrap();
        let digests = format!("# SHA512 HASH\n{sha512}  {name}\n");
        files.push((format!("/amd64-usr/{FLATCAR}/{name}"), image));
        files.push((format!("/amd64-usr/{FLATCAR}/{name}.DIGESTS"), digests.into_bytes()));
    }
    files.push(("/amd64-usr/current/version.txt".to_owned(), format!("FLATCAR_VERSION={FLATCAR}\n").into_bytes()));
    let archive = std::fs::read(world.join("syslinux.zip")).unwrap();
    files.push(("/pub/linux/utils/boot/syslinux/syslinux-6.03.zip".to_owned(), archive.clone()));
    files.push(("/syslinux-6.03.zip".to_owned(), archive));
    let repositories = world.join("git");
    TestServer::start(move |request, answer: &mut Responder| {
        if request.path.contains("/ipxe.git/") {
            return git::pass_on(&backend(&repositories, request), answer);
        }
        match files.iter().find(|(path, _)| *path == request.path) {
            Some((_, content)) => answer.whole("200 OK", &[], content),
            None => answer.whole("404 Not Found", &[], b"no such file\n"),
        }
    })
}
