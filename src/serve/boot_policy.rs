//! Boot policy: the loader that each machine fetches, and the address that the loader continues with. It is the same
//! for all server programs.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::Ipv4Addr;

use camino::{Utf8Path, Utf8PathBuf};
use minijinja::Value;
use minijinja::value::Serde;
use netboot_script::address::leads_nowhere;
use serde::Serialize;

use super::server_kind::ServerKind;
use super::site_loaders::{LoadersOfSites, SecondStage, SecondStageNotes, SiteLoaders};
use crate::base::diagnostic::{Diagnostic, first_warnings};
use crate::base::paths;
use crate::config::boot_entry::{BootEntry, System};
use crate::config::network::address::{WebAddress, has_host};
use crate::config::network::{LONGEST_FILE, Mac, NetworkConfig, NetworkHost, Range};
use crate::config::signed_set;
use crate::config::sites::{Site, Sites};
use crate::loader::target::{Loader, Platform};
use crate::printable::listed_names;

/// Longest name of a server that nginx takes without a setting, in bytes: tried with 1.22, whose hash has buckets of 64.
const LONGEST_SERVER_NAME: usize = 44;

/// Answers to the boot requests of machines.
#[derive(Debug)]
pub struct BootPolicy<'n> {
    network: &'n NetworkConfig,
    /// Unknown machines, distinguished by the architecture that they announce.
    clients: Vec<Client>,
    /// Answer to the loaders of unknown machines.
    common: Option<SecondStage>,
    hosts: Vec<Machine<'n>>,
    /// The syslinux files in the tree, and their configuration.
    companions: Vec<String>,
    /// Scripts of boot entries, which are in the root of the tree.
    scripts: Vec<String>,
    /// Addresses on the web servers that these need, each with its script.
    fetched: Vec<(String, WebAddress)>,
    /// What is wrong between `boot` and the scripts of the loaders.
    notes: SecondStageNotes,
    /// Loaders' addresses that do not fit into an answer.
    too_long: BTreeSet<String>,
    /// Known machines that the tree has no loader for.
    unserved: Vec<&'n NetworkHost>,
}

/// Machines with one value of option 93.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Client {
    code: u16,
    /// The code as two bytes, as in `00:07`.
    bytes: String,
    words: &'static str,
    /// Name for use in configurations.
    tag: String,
    /// Its firmware, as in `network.toml`.
    firmware: &'static str,
    /// Whether it is the first value of its firmware.
    first: bool,
    /// Whether it fetches its loader over HTTP.
    http: bool,
    /// Path or address of its loader; `None` if the tree has none.
    loader: Option<String>,
    /// Name in dnsmasq's configuration.
    csa: &'static str,
}

/// A known machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Machine<'n> {
    name: &'n str,
    /// Name for use beside the names of other objects, because a machine may be called `uefi` or `loader`.
    tag: String,
    mac: Mac,
    /// MAC address without colons.
    mac_hex: String,
    ip: Option<Ipv4Addr>,
    hostname: &'n str,
    firmware: &'static str,
    #[serde(skip)]
    platform: Platform,
    loader: Utf8PathBuf,
    /// Values of option 93 for its firmware, with the loader for each. A machine that starts with other firmware than
    /// described is treated like an unknown machine.
    clients: Vec<Client>,
    second: Option<SecondStage>,
    /// Whether its loader differs from that of an unknown machine.
    own_loader: bool,
    /// Whether the answer to its loader differs from that for an unknown machine.
    own_boot: bool,
}

/// A value of option 93, by which firmware says what it is.
pub struct ClientArchitecture {
    /// The value.
    pub code: u16,
    /// The firmware in words.
    pub words: &'static str,
    /// Name in dnsmasq's configuration.
    csa: &'static str,
    /// Platform of the loaders that run there.
    pub platform: Platform,
    /// Whether it fetches its loader over HTTP.
    pub http: bool,
}

/// Returns the entry of an architecture.
const fn arch(code: u16, words: &'static str, csa: &'static str, platform: Platform, http: bool) -> ClientArchitecture {
    ClientArchitecture { code, words, csa, platform, http }
}

/// Values of option 93 that some loader can run on. Recipes, the index page and the book follow this table.
///
/// Source: IANA, "Processor Architecture Types", among the parameters of DHCP for IPv6.
/// For x86-64, firmware says 7, although the registry and RFC 4578 once had 9 for it.
pub static CLIENT_ARCHITECTURES: [ClientArchitecture; 14] = [
    arch(0, "BIOS", "x86PC", Platform::Bios, false),
    arch(6, "32-bit UEFI", "IA32_EFI", Platform::EfiIa32, false),
    arch(7, "64-bit UEFI", "X86-64_EFI", Platform::EfiX64, false),
    arch(9, "64-bit UEFI, as some firmware says it", "BC_EFI", Platform::EfiX64, false),
    arch(10, "ARM32 UEFI", "ARM32_EFI", Platform::EfiArm32, false),
    arch(11, "ARM64 UEFI", "ARM64_EFI", Platform::EfiArm64, false),
    arch(15, "32-bit UEFI, over HTTP", "15", Platform::EfiIa32, true),
    arch(16, "64-bit UEFI, over HTTP", "16", Platform::EfiX64, true),
    arch(18, "ARM32 UEFI, over HTTP", "18", Platform::EfiArm32, true),
    arch(19, "ARM64 UEFI, over HTTP", "19", Platform::EfiArm64, true),
    arch(27, "RISC-V UEFI", "27", Platform::EfiRiscv64, false),
    arch(28, "RISC-V UEFI, over HTTP", "28", Platform::EfiRiscv64, true),
    arch(39, "LoongArch UEFI", "39", Platform::EfiLoong64, false),
    arch(40, "LoongArch UEFI, over HTTP", "40", Platform::EfiLoong64, true),
];

impl<'n> BootPolicy<'n> {
    /// Determines the answers for the machines in `network`. `sites` describes the tree.
    #[must_use]
    pub fn new(network: &'n NetworkConfig, sites: &Sites) -> Self {
        let root = |platform| root_loader(sites, platform);
        let loaders = LoadersOfSites::new(network, sites);
        let common = SecondStage::of(loaders.default.as_ref(), network.boot.as_ref());
        let machine = |host: &'n NetworkHost| {
            let choice = host.site.as_deref().and_then(|name| loaders.named.get(name));
            let path = choice.map_or_else(|| root(host.platform), |it| loader(sites, Some(it.site), host.platform))?;
            let boot = host.boot.as_ref().or(network.boot.as_ref());
            let second = SecondStage::of(choice.or(loaders.default.as_ref()), boot);
            Some(Machine {
                name: &host.name,
                tag: format!("host-{}", host.name),
                mac: host.mac,
                mac_hex: host.mac.hex(),
                ip: host.ip,
                hostname: &host.hostname,
                platform: host.platform,
                firmware: host.platform.firmware(),
                clients: CLIENT_ARCHITECTURES
                    .iter()
                    .filter(|architecture| architecture.platform == host.platform)
                    .map(|architecture| Client::new(architecture, Some(&path), network))
                    .collect(),
                own_loader: root(host.platform).as_ref() != Some(&path),
                loader: path,
                own_boot: second != common,
                second,
            })
        };
        let hosts: Vec<Machine<'_>> = network.hosts.iter().filter_map(machine).collect();
        let has = |host: &&NetworkHost| hosts.iter().any(|machine| machine.mac == host.mac);
        let unserved = network.hosts.iter().filter(|host| !has(host)).collect();
        let configuration = sites.pxelinux_config.iter().map(|_| paths::PXELINUX_DEFAULT.to_owned());
        let companions = sites.members.iter().map(|member| member.name.clone()).chain(configuration).collect();
        let client = |architecture: &ClientArchitecture| {
            Client::new(architecture, root(architecture.platform).as_deref(), network)
        };
        let clients = CLIENT_ARCHITECTURES.iter().map(client).collect();
        let scripts = sites.boot.iter().map(BootEntry::file).collect();
        let servers = |entry: &BootEntry| {
            let of = |system: &System| (entry.file(), system.server().clone());
            entry.systems.values().map(of).collect::<Vec<_>>()
        };
        let fetched = sites.boot.iter().flat_map(servers).collect();
        let notes = loaders.notes(network);
        let mut policy = Self {
            network,
            clients,
            common,
            hosts,
            companions,
            scripts,
            fetched,
            notes,
            too_long: BTreeSet::new(),
            unserved,
        };
        policy.drop_too_long();
        policy
    }

    /// Takes the loaders away from the firmware for which the address of one does not fit into an answer: a machine whose
    /// own loader has such an address must not get that of all others.
    fn drop_too_long(&mut self) {
        let of_hosts = self.hosts.iter().flat_map(|host| &host.clients);
        let long = |client: &&Client| client.loader.as_ref().is_some_and(|loader| loader.len() > LONGEST_FILE);
        let found: Vec<&Client> = self.clients.iter().chain(of_hosts).filter(long).collect();
        let codes: BTreeSet<u16> = found.iter().map(|client| client.code).collect();
        self.too_long = found.into_iter().filter_map(|client| client.loader.clone()).collect();
        let of_hosts = self.hosts.iter_mut().flat_map(|host| &mut host.clients);
        for client in self.clients.iter_mut().chain(of_hosts).filter(|client| codes.contains(&client.code)) {
            client.loader = None;
        }
        for host in &mut self.hosts {
            host.clients.retain(|client| client.loader.is_some());
        }
    }

    /// Returns warnings for the administrator of a server of `kind` with this policy.
    #[must_use]
    pub fn warnings(&self, kind: ServerKind) -> Vec<Diagnostic> {
        let mut warnings = Vec::new();
        if self.clients.iter().all(|client| client.loader.is_none()) {
            warnings.push(
                Diagnostic::new("the root of the tree has no loader")
                    .help("machines that network.toml does not name get none"),
            );
        }
        if kind.is_dhcp() {
            warnings.extend(self.notes.of_boot.iter().cloned());
            warnings.extend(self.notes.of_class.iter().filter(|_| kind.matches_user_class()).cloned());
        }
        let of_hosts = self.hosts.iter().filter(|host| host.own_boot).filter_map(|host| host.second.as_ref());
        if kind.is_dhcp() && self.common.iter().chain(of_hosts).any(|second| !second.own_class) {
            warnings.push(Diagnostic::new("a boot ROM that is iPXE itself, as in QEMU and Proxmox VE, cannot be told from these loaders, and takes option 17 for a disk").help("let the script say `set user-class netboot-loaders` before `dhcp`, as robust.ipxe does"));
        }
        warnings.extend(self.all_missing_scripts());
        warnings.extend(self.of_server(kind));
        if self.clients.iter().all(|client| client.loader.is_none()) && self.too_long.is_empty() {
            let message = "the root of the tree has no loaders, so a machine that is not a host with a site gets none";
            warnings.push(
                Diagnostic::new(message).help("list them as `loaders` of [default], or name each machine as [[host]]"),
            );
        }
        warnings.extend(self.unserved.iter().map(|host| {
            let platform = host.platform;
            let message = format!(
                "the host `{}` has {}, which the tree has no loader for, so it is left out",
                host.name,
                platform.words()
            );
            let loader = Loader::ALL.into_iter().find(|loader| loader.platform() == platform);
            let loader = loader.map(|loader| format!("add one to `loaders`, such as `{loader}`"));
            Diagnostic::new(message).help(loader.unwrap_or_default()).help("correct its `firmware`")
        }));
        warnings.extend(self.too_long.iter().map(|address| {
            let message = format!(
                "`{address}` has {} bytes, and the name of a boot file at most {LONGEST_FILE}, so no machine of this kind \
                 gets a loader over HTTP",
                address.len()
            );
            Diagnostic::new(message).help("shorten `http-url`")
        }));
        warnings.extend(self.notes.lacking.iter().cloned());
        warnings.extend(self.unreachable(kind));
        first_warnings(warnings)
    }

    /// Returns warnings about what a server of `kind` cannot do.
    fn of_server(&self, kind: ServerKind) -> Vec<Diagnostic> {
        let network = self.network;
        let mut warnings = Vec::new();
        // On a router, or beside another server, addresses are the business of a server that is there already.
        let leases = matches!(kind, ServerKind::Dnsmasq | ServerKind::Kea | ServerKind::IscDhcpd);
        if network.ranges.is_empty() && kind == ServerKind::SystemdNetworkd {
            let message = "`ranges` is missing, and systemd-networkd then gives any address of the subnet to machines";
            warnings.push(Diagnostic::new(message).help("add ranges = [\"FIRST-LAST\"]"));
        }
        let without = network.hosts.iter().find(|host| host.ip.is_none());
        if let Some(host) = without.filter(|_| network.ranges.is_empty() && leases) {
            let message =
                format!("`ranges` is missing, and the host `{}` has no `ip`, so it gets no address", host.name);
            warnings.push(Diagnostic::new(message).help("add one of the two"));
        }
        let own = self.hosts.iter().find(|host| host.own_loader || host.own_boot);
        if let Some(host) = own.filter(|_| kind == ServerKind::SystemdNetworkd) {
            let message = format!(
                "systemd-networkd tells every machine the same, so `site` and `boot` of the host `{}` count for nothing",
                host.name
            );
            warnings.push(Diagnostic::new(message).help("choose another DHCP server"));
        }
        let (host, secure) = (network.http.host(), network.http.is_secure());
        if kind == ServerKind::Caddy && secure && host.parse::<Ipv4Addr>().is_ok() {
            let message = format!(
                "`http-url` is https at {host}, and Caddy signs the certificate of an address itself, which no loader trusts"
            );
            let help = "name the server in `http-url`, or give Caddy your certificate with `tls`";
            warnings.push(Diagnostic::new(message).help(help));
        }
        let of_nginx = matches!(kind, ServerKind::Nginx | ServerKind::NginxSynology);
        if of_nginx && host.len() > LONGEST_SERVER_NAME {
            let message = format!(
                "`{host}` has {} bytes, and nginx takes longer names than {LONGEST_SERVER_NAME} on request only",
                host.len()
            );
            let help = "add `server_names_hash_bucket_size 512;` to `http` in nginx.conf, or shorten the name";
            warnings.push(Diagnostic::new(message).help(help));
        }
        warnings
    }

    /// Returns warnings about addresses in network.toml, and in the boot entries that it names, that machines cannot reach
    /// with the settings from a server of `kind`.
    fn unreachable(&self, kind: ServerKind) -> Vec<Diagnostic> {
        let network = self.network;
        // Other servers fill in their own values for missing settings, or run beside a server that does.
        let only_this = matches!(kind, ServerKind::Kea | ServerKind::IscDhcpd | ServerKind::SystemdNetworkd);
        let mut warnings = Vec::new();
        let mut servers = vec![("http-url".to_owned(), &network.http)];
        servers.extend(network.boot.iter().map(|boot| ("boot".to_owned(), boot)));
        let of_host = |host: &'n NetworkHost| Some((format!("boot` of the host `{}", host.name), host.boot.as_ref()?));
        servers.extend(network.hosts.iter().filter_map(of_host));
        // What machines fetch by the scripts that they are sent to.
        let booted: BTreeSet<&str> = servers.iter().filter_map(|(_, boot)| self.below_http(boot)).collect();
        let of_entries = self.fetched.iter().filter(|(script, _)| booted.contains(script.as_str()));
        servers.extend(
            of_entries.map(|(script, address)| (format!("boot.{}", script.trim_end_matches(".ipxe")), address)),
        );
        let mut told = BTreeSet::new();
        for (key, address) in servers.into_iter().filter(|(_, address)| told.insert(address.host())) {
            let host = address.host();
            let outside = host.parse().is_ok_and(|host: Ipv4Addr| !network.subnet.contains(&host));
            let of_network = |host: Ipv4Addr| network.subnet.contains(&host) && !has_host(&network.subnet, host);
            if leads_nowhere(host) || host.parse().is_ok_and(of_network) {
                let message = format!("`{key}` names `{host}`, which machines reach no server at");
                warnings
                    .push(Diagnostic::new(message).help("write the address that other machines reach the server at"));
            } else if is_local(host) {
                warnings.push(
                    Diagnostic::new(format!(
                        "`{key}` names `{host}`, and firmware and loaders look up no names that end in .local"
                    ))
                    .help("write the server's IPv4 address, or a name that a DNS server knows"),
                );
            } else if address.is_named() && network.dns.is_empty() && only_this {
                warnings.push(
                    Diagnostic::new(format!(
                        "`{key}` names `{host}`, and network.toml has no `dns`, so machines cannot look it up"
                    ))
                    .help("add dns = [\"…\"], or write the server's IPv4 address"),
                );
            } else if outside && network.gateway.is_none() && only_this {
                warnings.push(Diagnostic::new(format!("`{key}` is at {host}, outside of {}, and network.toml has no `gateway`, so machines cannot reach it",
                    network.subnet)).help("add gateway = \"…\""));
            }
        }
        let far = network.dns.iter().find(|server| !network.subnet.contains(*server));
        if let Some(server) = far.filter(|_| network.gateway.is_none() && only_this) {
            warnings.push(
                Diagnostic::new(format!(
                    "`dns` has {server}, outside of {}, and network.toml has no `gateway`, so machines cannot reach it",
                    network.subnet
                ))
                .help("add gateway = \"…\""),
            );
        }
        warnings
    }

    /// Returns warnings about scripts that `boot` names below `http-url` and that the tree does not contain. A name
    /// with a variable counts as one of the user's own scripts.
    #[must_use]
    pub fn missing_scripts(&self) -> Vec<Diagnostic> {
        first_warnings(self.all_missing_scripts())
    }

    fn all_missing_scripts(&self) -> Vec<Diagnostic> {
        let known: HashSet<&str> = self.scripts.iter().map(String::as_str).collect();
        let of_host =
            |host: &'n NetworkHost| Some((format!("`boot` of the host `{}`", host.name), host.boot.as_ref()?));
        let all = self.network.boot.iter().map(|boot| ("`boot`".to_owned(), boot));
        let mut missing = BTreeMap::new();
        for (key, boot) in all.chain(self.network.hosts.iter().filter_map(of_host)) {
            let Some(name) = self.below_http(boot) else { continue };
            if !name.is_empty() && !name.contains('$') && !known.contains(name) {
                missing.entry(name).or_insert(key);
            }
        }
        missing.into_iter().map(|(name, key)| self.missing_script(name, &key)).collect()
    }

    /// Returns the path of `boot` below `http-url`, if it is there.
    fn below_http<'a>(&self, boot: &'a WebAddress) -> Option<&'a str> {
        let path = boot.as_str().strip_prefix(self.network.http.as_str())?.strip_prefix('/')?;
        Some(&path[..path.find(['?', '#']).unwrap_or(path.len())])
    }

    fn missing_script(&self, name: &str, key: &str) -> Diagnostic {
        if !self.scripts.is_empty() {
            let has = listed_names(&self.scripts);
            return Diagnostic::new(format!("{key} is `{name}`, and the scripts of the tree are {has}"))
                .help("name one of them, or put yours beside them");
        }
        let entry = match name.strip_suffix(".ipxe").filter(|stem| !stem.contains('/')) {
            Some(stem) => format!("describe it as `[boot.{stem}]` in sites.toml, "),
            None => String::new(),
        };
        Diagnostic::new(format!("{key} is `{name}`, and the tree has no scripts"))
            .help(format!("{entry}put yours beside the tree, or write the whole address of another server"))
    }

    /// Returns the loaders that a machine with the MAC address `mac` fetches over TFTP, by platform.
    #[must_use]
    pub fn chosen(&self, mac: Mac) -> Vec<(Platform, Utf8PathBuf)> {
        if let Some(host) = self.hosts.iter().find(|host| host.mac == mac) {
            return vec![(host.platform, host.loader.clone())];
        }
        let told = CLIENT_ARCHITECTURES.iter().zip(&self.clients).filter(|(_, client)| !client.http);
        let mut chosen: Vec<_> = told
            .filter_map(|(architecture, client)| Some((architecture.platform, client.loader.clone()?.into())))
            .collect();
        chosen.dedup();
        chosen
    }

    /// Returns the answer to the loaders of unknown machines by a server of `kind`, and the known machines. A server
    /// that recognises loaders by their user class has no answer to one whose class recipes cannot match.
    fn answered(&self, kind: ServerKind) -> (Option<&SecondStage>, Cow<'_, [Machine<'n>]>) {
        let tells = |second: &&SecondStage| second.class.is_some() || !kind.matches_user_class();
        let common = self.common.as_ref().filter(tells);
        let mut of_hosts = self.hosts.iter().filter_map(|host| host.second.as_ref());
        if common.is_some() == self.common.is_some() && of_hosts.all(|second| tells(&second)) {
            return (common, Cow::Borrowed(&self.hosts));
        }
        let answered = |host: &Machine<'n>| {
            let second = host.second.as_ref().filter(tells);
            Machine { own_boot: second != common, second: second.cloned(), ..host.clone() }
        };
        (common, self.hosts.iter().map(answered).collect())
    }

    /// Returns the values available in templates, for the file `name` of a recipe for a server of `kind`.
    pub(super) fn facts(&self, kind: ServerKind, name: &str) -> Value {
        let network = self.network;
        let (common, hosts) = self.answered(kind);
        let base = network.subnet.network();
        let Range { first, last } = network.ranges.first().copied().unwrap_or(Range { first: base, last: base });
        Value::from(Serde(Facts {
            file: name,
            subnet: network.subnet.to_string(),
            base,
            prefix: network.subnet.prefix_len(),
            mask: network.subnet.netmask(),
            broadcast: network.subnet.broadcast(),
            tftp_server: network.tftp_server,
            tftp_root: network.tftp_root().as_str(),
            router_folder: network.router_folder(),
            http: network.http.as_str(),
            secure: network.http.is_secure(),
            http_host: network.http.host(),
            http_port: network.http.port().unwrap_or(if network.http.is_secure() { 443 } else { 80 }),
            http_path: network.http.path(),
            http_root: network.http_root.as_str(),
            ranges: network.ranges.iter().map(Span::from).collect(),
            free: self.free().iter().map(Span::from).collect(),
            pool: Pool { offset: first.to_bits() - base.to_bits(), size: last.to_bits() - first.to_bits() + 1 },
            gateway: network.gateway,
            dns: &network.dns,
            interface: &network.interface,
            clients: self.clients.iter().filter(|client| client.loader.is_some()).collect(),
            architectures: self.architectures(),
            without: self.clients.iter().filter(|client| !self.is_served(client)).collect(),
            common,
            classes: classes(common, &hosts),
            hosts: &hosts,
            requests: self.requests(),
            files: self.files(),
        }))
    }

    /// Returns the values of option 93 with a loader in the root of the tree or for a known machine.
    fn architectures(&self) -> Vec<&Client> {
        self.clients.iter().filter(|client| self.is_served(client)).collect()
    }

    /// Checks whether the tree has a loader for `client`, in its root or for a known machine.
    fn is_served(&self, client: &Client) -> bool {
        let own = self.hosts.iter().filter(|host| host.own_loader).flat_map(|host| &host.clients);
        client.loader.is_some() || own.map(|own| own.code).any(|code| code == client.code)
    }

    /// Returns the ranges without the addresses of known machines, which some servers would assign to other machines.
    fn free(&self) -> Vec<Range> {
        let mut taken: Vec<Ipv4Addr> = self.hosts.iter().filter_map(|host| host.ip).collect();
        taken.sort_unstable();
        let taken_of = |range: &Range| {
            let (first, last) = (range.first, range.last);
            let begin = taken.partition_point(|address| *address < first);
            taken[begin..].iter().copied().take_while(move |address| *address <= last)
        };
        self.network.ranges.iter().flat_map(|range| range.without(taken_of(range))).collect()
    }

    /// Returns the names that machines ask a TFTP server for, each with the file that it stands for. A shim that does not
    /// learn its own folder, from the firmware or from DHCP, looks for its loader in the root: with one folder of iPXE's
    /// signed set, these names lead there, unless the tree has files of these names that machines fetch.
    fn requests(&self) -> BTreeMap<String, String> {
        let files = self.files();
        let set = |file: &String| signed_set_folder(file).map(Utf8Path::to_owned);
        let folders: BTreeSet<Utf8PathBuf> = files.iter().filter_map(set).collect();
        let only = folders.first().filter(|_| folders.len() == 1);
        let in_root = only.into_iter().flat_map(|folder| {
            let names = [paths::AUTOEXEC, "ipxe.efi", "snponly.efi"];
            names.map(|name| (name.to_owned(), folder.join(name).into_string()))
        });
        in_root.chain(files.iter().map(|file| (file.clone(), file.clone()))).collect()
    }

    /// Returns all files that are fetched over TFTP without duplicates: loaders, and the files that syslinux loaders and
    /// shims fetch.
    fn files(&self) -> Vec<String> {
        let common = self.clients.iter().filter(|client| !client.http).filter_map(|client| client.loader.clone());
        let mut files: Vec<String> = common.chain(self.hosts.iter().map(|host| host.loader.to_string())).collect();
        if files.iter().any(|file| self.companions.contains(file)) {
            files.extend(self.companions.iter().cloned());
        }
        let beside = |folder: &Utf8Path| {
            let names = signed_set::FILES.map(|(name, _)| name).into_iter().chain([paths::AUTOEXEC]);
            names.map(|name| folder.join(name).into_string()).collect::<Vec<_>>()
        };
        let of_sets: Vec<String> = files.iter().filter_map(|file| signed_set_folder(file)).flat_map(beside).collect();
        files.extend(of_sets);
        files.sort_unstable();
        files.dedup();
        files
    }
}

impl Client {
    /// Creates the entry for an architecture, with the loader at `path` in the tree of `network`.
    fn new(architecture: &ClientArchitecture, path: Option<&Utf8Path>, network: &NetworkConfig) -> Self {
        let ClientArchitecture { code, words, csa, platform, http } = *architecture;
        let loader = path.map(|path| if http { format!("{}/{path}", network.http) } else { path.to_string() });
        let [high, low] = code.to_be_bytes();
        let (bytes, tag) = (format!("{high:02x}:{low:02x}"), format!("arch-{code}"));
        let first = CLIENT_ARCHITECTURES.iter().find(|other| other.platform == platform);
        let first = first.is_some_and(|first| first.code == code);
        Self { code, bytes, words, tag, firmware: platform.firmware(), first, http, loader, csa }
    }
}

/// Returns the user classes of the loaders of unknown machines and of `hosts` without duplicates.
fn classes<'a>(common: Option<&'a SecondStage>, hosts: &'a [Machine<'_>]) -> Vec<&'a str> {
    let seconds = common.into_iter().chain(hosts.iter().filter_map(|host| host.second.as_ref()));
    let mut classes: Vec<&str> = seconds.filter_map(|second| second.class.as_deref()).collect();
    classes.sort_unstable();
    classes.dedup();
    classes
}

/// Checks whether `host` is a multicast DNS name.
fn is_local(host: &str) -> bool {
    host.trim_end_matches('.').rsplit_once('.').is_some_and(|(_, last)| last.eq_ignore_ascii_case("local"))
}

/// Returns the path of the loader in the root of the tree that unknown machines of `platform` fetch.
pub(super) fn root_loader(sites: &Sites, platform: Platform) -> Option<Utf8PathBuf> {
    loader(sites, sites.default.as_ref(), platform).or_else(|| syslinux(sites, platform))
}

/// Checks whether the script in the root of the tree follows option 17.
pub(super) fn root_script_asks(sites: &Sites) -> bool {
    sites.default.as_ref().is_some_and(|site| SiteLoaders::new(site).script.follows())
}

/// Returns the path of the first loader of `site` for `platform`; without one, that of the shim of iPXE's signed set, if
/// the tree has the set and its files are for this platform.
fn loader(sites: &Sites, site: Option<&Site>, platform: Platform) -> Option<Utf8PathBuf> {
    let site = site?;
    let own = site.loaders.iter().find(|loader| loader.platform() == platform).map(|loader| loader.as_str().into());
    let of_set = || Some(sites.signed_set.filter(|_| platform == Platform::EfiX64)?.path(signed_set::FIRST));
    Some(paths::loader_in_tree(site.name.as_deref(), own.or_else(of_set)?.as_str()))
}

/// Returns the folder of iPXE's signed set whose shim is `file`.
fn signed_set_folder(file: &str) -> Option<&Utf8Path> {
    let path = Utf8Path::new(file);
    path.parent().filter(|_| path.file_name() == Some(signed_set::FIRST))
}

/// Returns the path of the syslinux loader in the root of the tree for `platform`.
fn syslinux(sites: &Sites, platform: Platform) -> Option<Utf8PathBuf> {
    let names: &[&str] = match platform {
        Platform::Bios => &["lpxelinux.0", "pxelinux.0"],
        Platform::EfiX64 => &["syslinux.efi"],
        _ => &[],
    };
    names.iter().find(|name| sites.members.iter().any(|member| member.name == **name)).map(Utf8PathBuf::from)
}

/// Values available in templates.
#[derive(Serialize)]
struct Facts<'a> {
    file: &'a str,
    subnet: String,
    base: Ipv4Addr,
    prefix: u8,
    mask: Ipv4Addr,
    broadcast: Ipv4Addr,
    tftp_server: Ipv4Addr,
    tftp_root: &'a str,
    router_folder: &'a str,
    http: &'a str,
    secure: bool,
    http_host: &'a str,
    http_port: u16,
    http_path: &'a str,
    http_root: &'a str,
    ranges: Vec<Span>,
    free: Vec<Span>,
    pool: Pool,
    gateway: Option<Ipv4Addr>,
    dns: &'a [Ipv4Addr],
    interface: &'a str,
    clients: Vec<&'a Client>,
    architectures: Vec<&'a Client>,
    without: Vec<&'a Client>,
    common: Option<&'a SecondStage>,
    hosts: &'a [Machine<'a>],
    classes: Vec<&'a str>,
    requests: BTreeMap<String, String>,
    files: Vec<String>,
}

/// An address range for templates.
#[derive(Serialize)]
struct Span {
    first: Ipv4Addr,
    last: Ipv4Addr,
}

impl From<&Range> for Span {
    fn from(range: &Range) -> Self {
        Self { first: range.first, last: range.last }
    }
}

/// The first range in the notation of systemd: offset and size.
#[derive(Serialize)]
struct Pool {
    offset: u32,
    size: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_multicast_dns_are_known() {
        assert!(is_local("nas.local") && is_local("a.b.LOCAL."));
        assert!(!is_local("local") && !is_local("local.example.net") && !is_local("192.0.2.1"));
    }
}
