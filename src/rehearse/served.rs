//! What servers provide in a rehearsal: the tree, stand-ins for what boot entries boot, and what a person gives.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::str::FromStr;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use netboot_script::{ParsedScript, Templates, shows};

use super::event::STAND_IN;
use super::fault::RehearsalFault;
use super::rehearsal::Rehearsal;
use crate::base::fs;
use crate::boot_test::boot_event::WebServerRole;
use crate::boot_test::entry::TestedEntry;
use crate::boot_test::network::TestNetwork;
use crate::boot_test::scenario::{self, located};
use crate::boot_test::web::pages::{Manner, Pages};
use crate::build::plan::{ContentSource, Other, Plan};
use crate::config::boot_entry::BootEntry;

/// What a web server answers at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerSource {
    /// The file, or the files of the folder if the address ends with a slash.
    Path(Utf8PathBuf),
    /// A short text, in place of whatever is there.
    StandIn,
    /// In this manner what it would answer anyway.
    Manner(Manner),
}

/// What a person says of an address: `URL=FILE`, `URL/=FOLDER`, or one of the words in [`AnswerSource`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenAnswer {
    /// The address.
    pub url: String,
    /// What is answered.
    pub source: AnswerSource,
}

impl GivenAnswer {
    /// Returns the file or folder that is answered with, if there is one.
    #[must_use]
    pub fn path(&self) -> Option<&Utf8Path> {
        if let AnswerSource::Path(path) = &self.source { Some(path) } else { None }
    }
}

impl FromStr for GivenAnswer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const WANTED: &str =
            "wanted an address, `=` and what is answered, as in `http://192.0.2.10/menu.ipxe=menu.ipxe`";
        // A query has signs of equality as well.
        let (url, answer) = text.rsplit_once('=').ok_or(WANTED)?;
        check_url(url)?;
        let source = match answer {
            "" => return Err("wanted a file, a folder, stand-in, 404, slow or reset after the last `=`".into()),
            "stand-in" => AnswerSource::StandIn,
            "404" => AnswerSource::Manner(Manner::NotFound),
            "slow" => AnswerSource::Manner(Manner::Slow),
            "reset" => AnswerSource::Manner(Manner::Reset),
            path => AnswerSource::Path(path.into()),
        };
        let has_path = url.split_once("://").is_some_and(|(_, rest)| rest.contains('/'));
        let url = if has_path { url.to_owned() } else { format!("{url}/") };
        Ok(Self { url, source })
    }
}

/// Checks whether a web server of a rehearsal can have `url`.
fn check_url(url: &str) -> Result<(), String> {
    let wanted = "an address as in http://192.0.2.10/menu.ipxe, before the last `=`";
    let parsed = url::Url::parse(url).ok().filter(|parsed| ["http", "https"].contains(&parsed.scheme()));
    let parsed = parsed.filter(|parsed| parsed.port() != Some(0)).ok_or_else(|| format!("wanted {wanted}"))?;
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err("found a name or a password, which no server asks for here; leave it out".into());
    }
    match parsed.host() {
        Some(url::Host::Ipv6(_)) => Err("found an IPv6 address, and rehearsals have IPv4 only".into()),
        Some(_) => Ok(()),
        None => Err(format!("wanted {wanted}")),
    }
}

/// The files of a tree, as servers have them in a rehearsal.
#[derive(Debug, Clone, Default)]
pub struct ServedTree {
    /// Path and content of each file in the root.
    files: Vec<(Utf8PathBuf, Arc<[u8]>)>,
    /// The boot entries.
    entries: Vec<BootEntry>,
}

impl ServedTree {
    /// Returns the files of the tree of `plan`. Scripts and configurations are the tree's own; a loader is a stand-in,
    /// since no rehearsal starts another loader. Of the loaders of named sites, which can be thousands, servers have those
    /// in `own`.
    #[must_use]
    pub fn new(plan: &Plan, own: &BTreeSet<&Utf8Path>, entries: Vec<BootEntry>) -> Self {
        let content = |path: &Utf8Path, source: &ContentSource<'_>| match source {
            ContentSource::Other(Other::Text(text)) => Some(text.as_slice().into()),
            ContentSource::OfSet(file) if file.script().is_some() => file.script().map(|text| text.into_bytes().into()),
            _ if source.site().is_some_and(|site| site.name.is_some()) && !own.contains(path) => None,
            _ => Some(stand_in(path.as_str())),
        };
        let files = plan.files().filter_map(|file| Some((file.path.clone(), content(&file.path, &file.origin)?)));
        Self { files: files.collect(), entries }
    }

    /// Writes the files into `folder`, for TFTP.
    ///
    /// # Errors
    ///
    /// [`fs::Error`].
    pub fn write(&self, folder: &Utf8Path) -> Result<(), fs::Error> {
        fs::create_dir_all(folder)?;
        self.files.iter().try_for_each(|(path, content)| fs::write_atomic(&folder.join(path), content))
    }
}

fn stand_in(name: &str) -> Arc<[u8]> {
    format!("{STAND_IN}{name}\n").into_bytes().into()
}

/// What the web servers of a rehearsal have.
pub struct ServedPages {
    /// The pages.
    pub pages: Pages,
    /// Role, address and port of each server.
    pub servers: Vec<(WebServerRole, Ipv4Addr, u16)>,
    /// Ports with TLS.
    pub tls_ports: Vec<u16>,
    /// Addresses in the network beside the servers' own.
    pub addresses: Vec<Ipv4Addr>,
}

impl ServedPages {
    /// Returns what servers have in `rehearsal`.
    #[must_use]
    pub fn new(
        rehearsal: &Rehearsal<'_>,
        tree: &ServedTree,
        given: &[GivenAnswer],
        fault: Option<RehearsalFault>,
    ) -> Self {
        let network = &rehearsal.network;
        let mut filler = Filler { network, pages: Pages::default(), urls: Vec::new() };
        filler.add_stand_ins();
        for entry in tree.entries.iter().filter(|entry| entry.system(rehearsal.loader.platform()).is_some()) {
            filler.add_entry(&TestedEntry::new(entry, rehearsal.loader.platform(), Arc::from(&b""[..])));
        }
        for (path, content) in &tree.files {
            filler.put(&format!("{}/{path}", network.tree), Arc::clone(content));
        }
        for answer in given {
            filler.add_given(answer);
        }
        // Whatever the script asks for, a server is there to say that it does not have it.
        let spelt_out = addresses_in(&String::from_utf8_lossy(&rehearsal.script));
        filler.urls.extend(spelt_out.iter().map(|url| located(url, network).1));
        let Filler { mut pages, urls, .. } = filler;
        if let Some(manner) = fault.and_then(RehearsalFault::manner) {
            pages.set_manner(None, manner);
        }
        let urls = || urls.iter().map(String::as_str);
        let servers =
            if fault == Some(RehearsalFault::WebDown) { Vec::new() } else { scenario::servers(network, urls()) };
        let (tls_ports, addresses) = (scenario::tls_ports(urls()), scenario::addresses(network, urls()));
        Self { pages, servers, tls_ports, addresses }
    }
}

/// Returns the addresses of web servers that `script` spells out, but for those that it only shows.
fn addresses_in(script: &str) -> Vec<String> {
    let script = ParsedScript::parse(script, Templates::None);
    let commands = script.commands().filter(|(_, command)| !command.name().is_some_and(shows));
    let words = commands.flat_map(|(_, command)| &command.words);
    let pieces = words.flat_map(|word| word.text.split(['"', '\'']));
    let addresses = pieces.filter_map(|piece| {
        let start = ["http://", "https://"].into_iter().filter_map(|scheme| piece.find(scheme)).min()?;
        Some(piece[start..].split("${").next().unwrap_or_default().to_owned())
    });
    addresses.collect()
}

/// Fills the pages of the web servers.
struct Filler<'n> {
    network: &'n TestNetwork,
    pages: Pages,
    urls: Vec<String>,
}

impl Filler<'_> {
    fn put(&mut self, url: &str, content: Arc<[u8]>) {
        let (server, url) = located(url, self.network);
        self.urls.push(url.clone());
        self.pages.put(server, url, content);
    }

    fn put_stand_in(&mut self, url: &str) {
        self.put(url, stand_in(url));
    }

    /// Adds a script at the address of option 17, in case the tree has none there, and what it boots.
    fn add_stand_ins(&mut self) {
        let boot = self.network.boot.clone();
        let folder = boot.rsplit_once('/').map_or(boot.as_str(), |(folder, _)| folder);
        let [kernel, initrd] = ["vmlinuz", "initrd.img"].map(|name| format!("{folder}/{name}"));
        let script = format!("#!ipxe\nkernel {kernel} initrd=initrd.img\ninitrd {initrd}\nboot\n");
        self.put(&boot, script.into_bytes().into());
        self.put_stand_in(&kernel);
        self.put_stand_in(&initrd);
    }

    fn add_entry(&mut self, entry: &TestedEntry) {
        // No server knows beforehand what only a machine can complete.
        let files = entry.fetched.iter().flat_map(|files| files.initrds.iter().chain([&files.kernel]));
        files.filter(|url| !url.contains("${")).for_each(|url| self.put_stand_in(url));
        if let Some((url, script)) = &entry.version {
            self.put(url, script.clone().into_bytes().into());
        }
    }

    fn add_given(&mut self, GivenAnswer { url, source }: &GivenAnswer) {
        match source {
            AnswerSource::Path(path) => {
                let (_, url) = located(url, self.network);
                self.urls.push(url.clone());
                self.pages.put_path(url, path.clone());
            }
            AnswerSource::StandIn => self.put_stand_in(url),
            AnswerSource::Manner(manner) => {
                let (_, url) = located(url, self.network);
                self.urls.push(url.clone());
                self.pages.set_manner(Some(&url), *manner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_spells_out_addresses() {
        let script = "#!ipxe\n# https://a/\nset url http://192.0.2.10/a\nchain --autofree https://b:8443/${x}?c || goto http\n\
            echo see https://ipxe.org/err # http://c/\n";
        assert_eq!(addresses_in(script), ["http://192.0.2.10/a", "https://b:8443/"]);
    }

    #[test]
    fn answers_are_given_as_an_address_and_what_is_there() {
        let given = |text: &str| text.parse::<GivenAnswer>().map(|given| (given.url, given.source));
        let url = || "http://a/b?c=d".to_owned();
        assert_eq!(given("http://a/b?c=d=x.ipxe").unwrap(), (url(), AnswerSource::Path("x.ipxe".into())));
        assert_eq!(given("http://a/b?c=d=404").unwrap(), (url(), AnswerSource::Manner(Manner::NotFound)));
        assert_eq!(given("http://a=www").unwrap(), ("http://a/".into(), AnswerSource::Path("www".into())));
        assert_eq!(given("https://a/=stand-in").unwrap(), ("https://a/".into(), AnswerSource::StandIn));
        for wrong in
            ["http://a/b", "http://a/b=", "ftp://a/b=x", "http://=x", "http://a:99999/=x", "http://a:b/=x", "=x", ""]
        {
            assert!(given(wrong).unwrap_err().starts_with("wanted "), "{wrong}");
        }
        for found in ["http://u:p@a/b=x", "http://[::1]/b=x"] {
            assert!(given(found).unwrap_err().starts_with("found "), "{found}");
        }
    }
}
