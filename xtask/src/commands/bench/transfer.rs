//! `cargo xtask bench transfer`: loads a large file through loaders in virtual machines, over HTTP and over TFTP.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use camino::Utf8Path;
use netboot_loaders::base::fs;
use netboot_loaders::base::paths::{PXELINUX_DEFAULT, loader_in_tree};
use netboot_loaders::base::progress::Progress;
use netboot_loaders::boot_test::boot_event::{BootEvent, EventSink, SinkMessage, TimedEvent, WebServerRole};
use netboot_loaders::boot_test::case::{BootSource, NicModel, NicSetup};
use netboot_loaders::boot_test::dhcp::{DeadServices, DhcpServer, Offer, SERVED};
use netboot_loaders::boot_test::machine::{self, Accelerator, Machine, MachineSetup};
use netboot_loaders::boot_test::namespace::Namespace;
use netboot_loaders::boot_test::network::TestNetwork;
use netboot_loaders::boot_test::tools::{GuestImages, MachineTools, TestTools};
use netboot_loaders::boot_test::web::own::OwnWebServer;
use netboot_loaders::boot_test::web::pages::{ListenAddress, Pages};
use netboot_loaders::build_loaders;
use netboot_loaders::loader::target::Loader;
use netboot_loaders::loader::target::Platform;

use super::BenchContext;
use super::contenders::sites_toml;
use super::record::{Name, Row};
use crate::exit::Failure;
use netboot_loaders::base::diagnostic::Class;

/// Size of the file, in megabytes: that of an installer's kernel and initramfs.
const MEGABYTES: usize = 86;
const BLOB: &str = "blob";
/// Kernel, which lpxelinux.0 needs before it loads anything else.
const KERNEL: &str = "vmlinuz";
/// Loader of syslinux that supports HTTP.
const PXELINUX: &str = "lpxelinux.0";
/// Time limit of a machine.
const DEADLINE: Duration = Duration::from_secs(900);
/// Console texts of a loader before and after the file.
type Marks = [&'static str; 2];
/// Marks of iPXE.
const MARKS: Marks = ["bench: begin", "bench: end"];
/// Marks of lpxelinux.0, which reports each file that it has loaded; the kernel comes first.
const PXELINUX_MARKS: Marks = ["/vmlinuz... ok", "/blob...ok"];
/// Console text of iPXE if it cannot load the file.
const FAILED: &str = "bench: failed";
/// Protocols for the file. Each is also the name of a site whose loaders use it.
const PROTOCOLS: [&str; 2] = ["http", "tftp"];

/// Returns the address of `file`.
fn url(protocol: &str, file: &str, network: &TestNetwork) -> String {
    let server = if protocol == "http" { network.web } else { network.server };
    format!("{protocol}://{server}/{file}")
}

/// Returns the tools of machines of `platform`.
fn machine_of(tools: &TestTools, platform: Platform) -> Result<&MachineTools, Failure> {
    tools.machine(platform).map_err(|lacking| Failure::new(Class::MissingTool, lacking))
}

/// Measures each loader, over HTTP against TFTP.
pub(super) fn run(bench: &BenchContext<'_>) -> Result<(), Failure> {
    let (host, network) = (bench.host, TestNetwork::default());
    let tools =
        TestTools::find(&host.path, (&Platform::ALL.into(), &GuestImages::default()), &network, &bench.cache, host.ui)
            .map_err(build_loaders::Error::from)?;
    let machine = machine_of(&tools, Platform::Bios)?;
    bench.reset_project(&[Loader::IpxePxe, Loader::IpxeEfi], &script())?;
    bench.write_project_file("sites.toml", &sites(&network))?;
    bench.build(None)?;
    let mut pages = Pages::default();
    for (name, content) in [(KERNEL, fs::read(&machine.kernel)?), (BLOB, noise(MEGABYTES * 1_000_000))] {
        fs::write_anew(&bench.tree().join(name), &content)?;
        pages.put(WebServerRole::Other, url("http", name, &network), content.into());
    }
    // From here on, this process has a network of its own and no access to any other.
    let lane = Lane { bench, tools: &tools, network, namespace: Namespace::enter()?, pages: Arc::new(pages) };
    let mut rows = Vec::new();
    for (loader, platform) in [("ipxe.pxe", Platform::Bios), ("ipxe.efi", Platform::EfiX64), (PXELINUX, Platform::Bios)]
    {
        let label = format!("{MEGABYTES} MB over HTTP through {loader}");
        let [mut http, mut tftp] = PROTOCOLS.map(|protocol| {
            let lane = &lane;
            move || lane.load(loader, platform, protocol)
        });
        let times = bench.compare(&label, true, &mut [("HTTP", &mut http), ("TFTP", &mut tftp)])?;
        rows.push(Row::timed(&label, &times[0], "over TFTP", &times[1]));
    }
    bench.remove_tree()?;
    bench.save_rows(Name::Transfer, rows, &tools.versions)
}

/// Returns the `sites.toml`, with a site for each protocol.
fn sites(network: &TestNetwork) -> String {
    let site =
        |protocol| format!("\n[site.{protocol}]\nvars = {{ boot_url = \"{}\" }}\n", url(protocol, BLOB, network));
    sites_toml(&[Loader::IpxePxe, Loader::IpxeEfi]) + &PROTOCOLS.map(site).concat()
}

/// Returns the script of both sites.
fn script() -> String {
    let [begin, end] = MARKS;
    format!("#!ipxe\ndhcp\necho {begin}\nimgfetch {{{{ boot_url }}}} && echo {end} || echo {FAILED}\n")
}

/// Returns that many bytes, always the same, in which no word repeats.
fn noise(bytes: usize) -> Vec<u8> {
    (0_u64..).flat_map(|word| word.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).take(bytes).collect()
}

/// Environment of the machines.
struct Lane<'a> {
    bench: &'a BenchContext<'a>,
    tools: &'a TestTools,
    network: TestNetwork,
    namespace: Namespace,
    pages: Arc<Pages>,
}

impl Lane<'_> {
    /// Boots a machine into `loader` and returns how many seconds the file took.
    fn load(&self, loader: &str, platform: Platform, protocol: &str) -> Result<f64, Failure> {
        let (site, marks) = if loader == PXELINUX { (None, PXELINUX_MARKS) } else { (Some(protocol), MARKS) };
        let offer = Offer {
            loader: loader_in_tree(site, loader).into_string(),
            boot_source: BootSource::Pxe,
            root_path: None,
            second_nic_root_path: None,
            dead: DeadServices::default(),
        };
        let folder = self.bench.empty_scratch_dir("machine")?;
        machine::prepare(&folder, machine_of(self.tools, platform)?)?;
        let [kernel, blob] = [KERNEL, BLOB].map(|file| url(protocol, file, &self.network));
        let text = format!("DEFAULT linux\nLABEL linux\n  KERNEL {kernel}\n  INITRD {blob}\n");
        fs::write_atomic(&self.bench.tree().join(PXELINUX_DEFAULT), text.as_bytes())?;
        fs::symlink(&self.bench.tree(), &folder.join(SERVED))?;
        // A thread of its own, since it enters a network of its own.
        let took = std::thread::scope(|scope| {
            let boot = scope.spawn(|| self.boot(&folder, platform, &offer, marks));
            boot.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })?;
        fs::remove_dir_all(&folder)?;
        Ok(took.as_secs_f64())
    }

    /// Runs the machine and its servers until the file is loaded.
    fn boot(&self, folder: &Utf8Path, platform: Platform, offer: &Offer, marks: Marks) -> Result<Duration, Failure> {
        let Self { tools, network, .. } = self;
        self.namespace.network((&tools.servers.ip, folder), network, (&[], false), self.bench.host.ui)?;
        let (sender, notes) = mpsc::channel();
        let sink = EventSink::new(sender);
        let bound = ListenAddress { name: WebServerRole::Other, address: network.web, port: 80, tls: false };
        let _web = OwnWebServer::start(bound, Arc::clone(&self.pages), sink.clone())?;
        let _dhcp = DhcpServer::start(&tools.servers, network, offer, folder, &sink)?;
        let _machine = Machine::start(
            MachineSetup {
                platform,
                nics: NicSetup::Single,
                nic: NicModel::default(),
                boot_source: offer.boot_source,
                secure_boot: false,
                clock: None,
            },
            machine_of(tools, platform)?,
            Accelerator::Tcg,
            folder,
            &sink,
        )?;
        self.watch(&notes, Stopwatch { marks, text: String::new(), begun: None })
    }

    /// Waits for both marks and returns the time between them.
    fn watch(&self, notes: &Receiver<SinkMessage>, mut stopwatch: Stopwatch) -> Result<Duration, Failure> {
        let started = Instant::now();
        while started.elapsed() <= DEADLINE {
            if self.bench.host.ui.cancelled() {
                return Err(Failure::interrupted());
            }
            let Ok(SinkMessage::Moment(TimedEvent { at, what, .. })) = notes.recv_timeout(Duration::from_millis(100))
            else {
                continue;
            };
            match what {
                BootEvent::ConsoleOutput(text) => {
                    if let Some(took) = stopwatch.observe(at, &text) {
                        return Ok(took);
                    }
                }
                BootEvent::Gone { program, words } => {
                    return Err(Failure::new(Class::Failure, format!("`{program}` exited unexpectedly: {words}")));
                }
                BootEvent::Stopped(_) => return Err(stopwatch.given_up("the machine stopped")),
                _ => {}
            }
            if stopwatch.text.contains(FAILED) {
                return Err(stopwatch.given_up("the loader could not load the file"));
            }
        }
        Err(stopwatch.given_up(&format!("it was not loaded after {} seconds", DEADLINE.as_secs())))
    }
}

/// Timer for the interval between two marks on a console.
struct Stopwatch {
    marks: Marks,
    text: String,
    /// Time of the first mark, and the offset of the text after it.
    begun: Option<(Duration, usize)>,
}

impl Stopwatch {
    /// Takes console text that arrived `at` that time. Returns the interval once both marks are there.
    fn observe(&mut self, at: Duration, text: &str) -> Option<Duration> {
        self.text += text;
        let [first, second] = self.marks;
        self.begun = self.begun.or_else(|| self.text.find(first).map(|offset| (at, offset + first.len())));
        let (begun, offset) = self.begun?;
        self.text[offset..].contains(second).then(|| at.saturating_sub(begun))
    }

    /// Returns the failure for a missing time, with the last lines of the console.
    fn given_up(&self, reason: &str) -> Failure {
        let lines: Vec<&str> = self.text.lines().collect();
        let last: String = lines[lines.len().saturating_sub(10)..].iter().map(|line| format!("\n  | {line}")).collect();
        Failure::new(Class::NotBooted, format!("no time for `{}`: {reason}{last}", self.marks[1]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_between_the_marks_is_timed() {
        let mut stopwatch = Stopwatch { marks: PXELINUX_MARKS, text: String::new(), begun: None };
        let second = Duration::from_secs;
        assert_eq!(stopwatch.observe(second(5), "Loading http://192.0.2.2/vmlinuz... "), None);
        assert_eq!(stopwatch.observe(second(7), "ok\nLoading http://192.0.2.2/blob"), None);
        assert_eq!(stopwatch.observe(second(9), "..."), None);
        assert_eq!(stopwatch.observe(second(27), "ok\n"), Some(second(20)));
        let failure = Stopwatch { text: "one\ntwo".into(), ..stopwatch }.given_up("gone");
        assert_eq!(failure.message, "no time for `/blob...ok`: gone\n  | one\n  | two");
    }

    #[test]
    fn the_file_is_always_the_same_and_no_part_of_it_repeats() {
        let bytes = noise(4099);
        assert_eq!((bytes.len(), &bytes[..4096]), (4099, &noise(4096)[..]));
        let mut words: Vec<&[u8]> = bytes.chunks(8).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), 513);
    }

    #[test]
    fn scripts_and_choices_name_the_servers() {
        let fetch = "imgfetch {{ boot_url }} && echo bench: end || echo bench: failed";
        assert_eq!(script(), format!("#!ipxe\ndhcp\necho bench: begin\n{fetch}\n"));
        let http = "\n[site.http]\nvars = { boot_url = \"http://192.0.2.2/blob\" }\n";
        let tftp = "\n[site.tftp]\nvars = { boot_url = \"tftp://192.0.2.1/blob\" }\n";
        assert!(sites(&TestNetwork::default()).ends_with(&format!("{http}{tftp}")));
    }
}
