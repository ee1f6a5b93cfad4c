//! `cargo xtask bench transfer`: a large file through loaders in virtual machines, over HTTP and over TFTP.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use netboot_loaders::boot_test::case::{Cards, Firmware};
use netboot_loaders::boot_test::dhcp::{Offer, SERVED, Server};
use netboot_loaders::boot_test::happening::{Asked, Happening, Note, Witness};
use netboot_loaders::boot_test::kit::Kit;
use netboot_loaders::boot_test::machine::{self, Accelerator, Machine};
use netboot_loaders::boot_test::namespace::Namespace;
use netboot_loaders::boot_test::network::Network;
use netboot_loaders::boot_test::web::own::Web;
use netboot_loaders::boot_test::web::{Bound, Pages};
use netboot_loaders::build_loaders;
use netboot_loaders::choices::loader::Loader;
use netboot_loaders::fs;
use netboot_loaders::paths::PXELINUX_DEFAULT;

use super::Setting;
use super::product::{Product, SCRIPT, choices};
use super::record::{Name, Row};
use crate::exit::{FAILURE, Failure, NOT_BOOTED};

/// How large the file is, in megabytes, as a kernel and an initramfs of an installer are.
const MEGABYTES: usize = 86;
/// What the file is called.
const BLOB: &str = "blob";
/// What the kernel is called, that lpxelinux.0 wants before it loads anything else.
const KERNEL: &str = "vmlinuz";
/// How long a machine may take.
const DEADLINE: Duration = Duration::from_secs(900);
/// What iPXE says before the file and after it.
const MARKS: [&str; 2] = ["bench: begin", "bench: end"];
/// The same of lpxelinux.0, which says of each file that it was loaded; the kernel goes first.
const PXELINUX_MARKS: [&str; 2] = ["/vmlinuz... ok", "/blob...ok"];
/// What iPXE says where it cannot load the file.
const FAILED: &str = "bench: failed";

/// How the file comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Http,
    Tftp,
}

impl Protocol {
    /// The site whose loaders load it so.
    fn site(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tftp => "tftp",
        }
    }

    /// The address of `file`.
    fn url(self, file: &str, network: &Network) -> String {
        match self {
            Self::Http => format!("http://{}/{file}", network.web),
            Self::Tftp => format!("tftp://{}/{file}", network.server),
        }
    }
}

/// Each loader, over HTTP against TFTP.
pub(super) fn run(setting: &Setting<'_>) -> Result<(), Failure> {
    let host = setting.host;
    let network = Network::default();
    let kit = Kit::find(&host.path, &network, None, &setting.cache, host.ui).map_err(build_loaders::Error::from)?;
    let product = Product::new(setting, &[("sites.toml", &sites(&network)), (SCRIPT, &script())])?;
    product.prepare()?;
    let blob = Arc::from(noise(MEGABYTES * 1_000_000));
    // From here on this process has a network of its own, and no way to another one.
    let namespace = Namespace::enter()?;
    let lane = Lane { setting, kit: &kit, network, namespace, product: &product, kernel: fs::read(&kit.kernel)?, blob };
    let mut rows = Vec::new();
    for (loader, firmware) in [("ipxe.pxe", Firmware::Bios), ("ipxe.efi", Firmware::Uefi), (PXELINUX, Firmware::Bios)] {
        let label = format!("{MEGABYTES} MB over HTTP through {loader}");
        let mut http = || lane.load(loader, firmware, Protocol::Http);
        let mut tftp = || lane.load(loader, firmware, Protocol::Tftp);
        let times = setting.compare(&label, &mut [("HTTP", &mut http), ("TFTP", &mut tftp)])?;
        rows.push(Row::timed(&label, &times[0], "over TFTP", &times[1]));
    }
    product.forget()?;
    let tools: BTreeMap<String, String> =
        kit.versions.iter().map(|part| (part.name.clone(), part.version.clone())).collect();
    setting.keep(Name::Transfer, rows, tools)
}

/// A loader of syslinux, which knows HTTP.
const PXELINUX: &str = "lpxelinux.0";

/// The choices: a site for each protocol.
fn sites(network: &Network) -> String {
    let mut text = choices(&[Loader::IpxePxe, Loader::IpxeEfi], SCRIPT);
    for protocol in [Protocol::Http, Protocol::Tftp] {
        let url = protocol.url(BLOB, network);
        text += &format!("\n[site.{}]\nvars = {{ boot_url = \"{url}\" }}\n", protocol.site());
    }
    text
}

/// The script of both.
fn script() -> String {
    let [begin, end] = MARKS;
    format!("#!ipxe\ndhcp\necho {begin}\nimgfetch {{{{ boot_url }}}} && echo {end} || echo {FAILED}\n")
}

/// So many bytes without a pattern, always the same.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let words = std::iter::repeat_with(|| {
        // Marsaglia's xorshift.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(bytes).collect()
}

/// Where machines load.
struct Lane<'a> {
    setting: &'a Setting<'a>,
    kit: &'a Kit,
    network: Network,
    namespace: Namespace,
    product: &'a Product<'a>,
    kernel: Vec<u8>,
    blob: Arc<[u8]>,
}

impl Lane<'_> {
    /// Boots a machine into `loader`, and returns how many seconds the file took.
    fn load(&self, loader: &str, firmware: Firmware, protocol: Protocol) -> Result<f64, Failure> {
        let folder = self.lay_out(protocol)?;
        let (path, marks) = if loader == PXELINUX {
            (loader.into(), PXELINUX_MARKS)
        } else {
            (Utf8PathBuf::from("sites").join(protocol.site()).join(loader), MARKS)
        };
        let offer = Offer { loader: path, root_path: None, second_card: None };
        // A thread of its own, since it goes into a network of its own.
        let took = std::thread::scope(|scope| {
            let boot = scope.spawn(|| self.boot(firmware, &offer, marks, &folder));
            boot.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })?;
        fs::remove_dir_all(&folder)?;
        Ok(took.as_secs_f64())
    }

    /// Makes the folder of a machine, and what TFTP serves there: the tree, and the files to load.
    fn lay_out(&self, protocol: Protocol) -> Result<Utf8PathBuf, Failure> {
        let folder = self.setting.room("machine")?;
        machine::prepare(&folder, self.kit)?;
        let served = folder.join(SERVED);
        fs::create_dir_all(&served)?;
        let tree = self.product.tree();
        for entry in tree.read_dir_utf8()? {
            let entry = entry?;
            fs::symlink(entry.path(), &served.join(entry.file_name()))?;
        }
        fs::write_anew(&served.join(BLOB), &self.blob)?;
        fs::write_anew(&served.join(KERNEL), &self.kernel)?;
        let [kernel, blob] = [KERNEL, BLOB].map(|file| protocol.url(file, &self.network));
        let text = format!("DEFAULT linux\nLABEL linux\n  KERNEL {kernel}\n  INITRD {blob}\n");
        fs::write_atomic(&served.join(PXELINUX_DEFAULT), text.as_bytes())?;
        Ok(folder)
    }

    /// Runs the machine in `folder` and its servers until the file is there.
    fn boot(
        &self,
        firmware: Firmware,
        offer: &Offer,
        marks: [&'static str; 2],
        folder: &Utf8PathBuf,
    ) -> Result<Duration, Failure> {
        let Self { kit, network, .. } = self;
        self.namespace.network(&kit.ip, network, (&[], false), self.setting.host.ui)?;
        let (sender, notes) = mpsc::channel();
        let witness = Witness::new(sender);
        let mut pages = Pages::default();
        pages.put(Asked::Other, Protocol::Http.url(BLOB, network), Arc::clone(&self.blob));
        pages.put(Asked::Other, Protocol::Http.url(KERNEL, network), Arc::from(self.kernel.as_slice()));
        let bound = Bound { name: Asked::Other, address: network.web, port: 80, tls: false };
        let _web = Web::start(bound, Arc::new(pages), witness.clone())?;
        let _dhcp = Server::start(kit, network, offer, folder, &witness)?;
        let _machine = Machine::start((firmware, Cards::One), kit, Accelerator::Tcg, folder, &witness)?;
        self.watch(&notes, Stopwatch::new(marks))
    }

    /// Waits for the marks.
    fn watch(&self, notes: &Receiver<Note>, mut stopwatch: Stopwatch) -> Result<Duration, Failure> {
        let started = Instant::now();
        loop {
            self.setting.go_on()?;
            let note = match notes.recv_timeout(Duration::from_millis(100)) {
                Ok(Note::Moment(moment)) => Some(moment),
                Ok(Note::Log(..)) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => None,
            };
            match note.as_ref().map(|moment| (moment.at, &moment.what)) {
                Some((at, Happening::Said(text))) => {
                    if let Some(took) = stopwatch.hear(at, text) {
                        return Ok(took);
                    }
                }
                Some((_, Happening::Gone { program, words })) => {
                    return Err(Failure::new(FAILURE, &format!("`{program}` ended by itself: {words}")));
                }
                Some((_, Happening::Stopped(_))) => return Err(stopwatch.given_up("the machine stopped")),
                _ => {}
            }
            if stopwatch.text.contains(FAILED) {
                return Err(stopwatch.given_up("the loader could not load the file"));
            }
            if started.elapsed() > DEADLINE {
                return Err(stopwatch.given_up(&format!("it was not loaded after {} seconds", DEADLINE.as_secs())));
            }
        }
    }
}

/// Times what lies between two marks on a console.
struct Stopwatch {
    marks: [&'static str; 2],
    text: String,
    /// When the first mark came, and where the text behind it begins.
    begun: Option<(Duration, usize)>,
}

impl Stopwatch {
    fn new(marks: [&'static str; 2]) -> Self {
        Self { marks, text: String::new(), begun: None }
    }

    /// Takes more of what the console says, which came `at` that time. How long it took, once both marks are there.
    fn hear(&mut self, at: Duration, text: &str) -> Option<Duration> {
        self.text += text;
        let [first, second] = self.marks;
        if self.begun.is_none() {
            self.begun = self.text.find(first).map(|place| (at, place + first.len()));
        }
        let (begun, place) = self.begun?;
        self.text[place..].contains(second).then(|| at.saturating_sub(begun))
    }

    /// Why there is no time, and the last that the console said.
    fn given_up(&self, reason: &str) -> Failure {
        let lines: Vec<&str> = self.text.lines().collect();
        let last: String = lines[lines.len().saturating_sub(10)..].iter().map(|line| format!("\n  | {line}")).collect();
        Failure::new(NOT_BOOTED, &format!("no time for `{}`: {reason}{last}", self.marks[1]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_between_the_marks_is_timed() {
        let mut stopwatch = Stopwatch::new(PXELINUX_MARKS);
        let second = Duration::from_secs;
        assert_eq!(stopwatch.hear(second(5), "Loading http://192.0.2.2/vmlinuz... "), None);
        assert_eq!(stopwatch.hear(second(7), "ok\nLoading http://192.0.2.2/blob"), None);
        assert_eq!(stopwatch.hear(second(9), "..."), None);
        assert_eq!(stopwatch.hear(second(27), "ok\n"), Some(second(20)));
        assert_eq!(
            Stopwatch { text: "one\ntwo".into(), ..stopwatch }.given_up("gone").message,
            "no time for `/blob...ok`: gone\n  | one\n  | two"
        );
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
        let network = Network::default();
        assert_eq!(
            script(),
            "#!ipxe\ndhcp\necho bench: begin\nimgfetch {{ boot_url }} && echo bench: end || echo bench: failed\n"
        );
        let sites = sites(&network);
        assert!(sites.ends_with(
            "\n[site.http]\nvars = { boot_url = \"http://192.0.2.2/blob\" }\n\n[site.tftp]\nvars = { boot_url = \"tftp://192.0.2.1/blob\" }\n"
        ));
    }
}
