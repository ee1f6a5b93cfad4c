//! dnsmasq: its configuration, and the events in its log.

use std::net::Ipv4Addr;

use camino::Utf8Path;

use super::offer::Offer;
use crate::base::quote::{Language, Unquotable};
use crate::boot_test::boot_event::BootEvent;
use crate::boot_test::case::BootSource;
use crate::boot_test::daemon::Daemon;
use crate::boot_test::namespace::{INTERFACE, SECOND_INTERFACE};
use crate::boot_test::network::{DhcpSetup, TestNetwork};
use crate::boot_test::secure_boot::SHIM;

/// Absolute path of the folder [`SERVED`](super::offer::SERVED); dnsmasq requires an absolute path.
const ROOT: &str = "/proc/self/cwd/tftp";
/// Configuration file, in the server's working directory.
pub(super) const CONFIGURATION: &str = "dnsmasq.conf";
/// Configuration under test, in the same folder.
pub(super) const GIVEN: &str = "given.conf";
/// Configuration for the network of a second card, in the same folder.
pub(super) const SECOND: &str = "second.conf";
/// File with option 17, in the same folder.
pub(super) const OPTIONS: &str = "options";
/// Address that every name resolves to. It is outside of all networks, and the namespace owns every such address.
const ANYWHERE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// Returns the configuration of the dnsmasq instance that every case has. The boot test's own settings come last,
/// because dnsmasq uses the last of two values for the same option.
///
/// # Errors
///
/// [`Unquotable`] if the loader's name cannot be written into the configuration: file names in a tarball are arbitrary.
pub fn configuration(network: &TestNetwork, offer: &Offer) -> Result<String, Unquotable> {
    let loader = Language::Dnsmasq.quote(&offer.loader)?;
    // Firmware takes an offer for HTTP Boot from a server that says this in option 60.
    let http = match offer.boot_source {
        BootSource::Pxe | BootSource::Medium(_) => "",
        BootSource::Http => "dhcp-vendorclass=set:http,HTTPClient\ndhcp-option-force=tag:http,60,HTTPClient\n",
    };
    // Shim looks for its loader beside the file that the header of the answer names; it does not read option 67.
    let in_header = if Utf8Path::new(&offer.loader).file_name() == Some(SHIM) { "dhcp-no-override\n" } else { "" };
    let (first, last) = network.range;
    let addresses = format!("dhcp-authoritative\ndhcp-range={first},{last},5m\n");
    let dns = if offer.dead.dns { "port=0\n".to_owned() } else { format!("address=/#/{ANYWHERE}\n") };
    let own = format!("{}{dns}", foreground(INTERFACE, "leases"));
    let tftp = if offer.dead.tftp { "" } else { TFTP };
    Ok(match &network.dhcp {
        _ if offer.dead.dhcp => format!("{own}{tftp}"),
        DhcpSetup::Own => format!(
            "{addresses}\
             dhcp-boot={loader},,{}\n\
             {http}{in_header}\
             # Option 17. It is read again after SIGHUP.\n\
             dhcp-optsfile={OPTIONS}\n\
             {own}{tftp}",
            network.server
        ),
        DhcpSetup::Given(Daemon::Dnsmasq, _) => format!("conf-file={GIVEN}\n{own}{tftp}"),
        // The other instance serves the tree, and sends everything but addresses.
        DhcpSetup::Given(Daemon::DnsmasqProxy, _) => format!("{addresses}{own}"),
        // Only TFTP and DNS are left for dnsmasq.
        DhcpSetup::Given(Daemon::Kea | Daemon::IscDhcpd, _) => format!("{own}{tftp}"),
    })
}

/// Returns the configuration of a second dnsmasq, which runs the configuration `given` beside another server.
pub(super) fn proxy(given: &str) -> String {
    format!("{given}\n{}{TFTP}", foreground(INTERFACE, "proxy-leases"))
}

/// Returns the configuration of the dnsmasq in the network of a second card. It leases addresses, names a gateway and a
/// DNS server that does not exist, as any DHCP server in such a network does, and sends `root_path` as option 17.
pub(super) fn second(network: &TestNetwork, root_path: Option<&str>) -> String {
    let server = network.second_server();
    let host = |number: u8| {
        let [a, b, c, _] = server.octets();
        Ipv4Addr::new(a, b, c, number)
    };
    let (first, last, dns) = (host(100), host(119), host(53));
    let root_path = root_path.map(|url| format!("dhcp-option=option:root-path,{url}\n")).unwrap_or_default();
    format!(
        "dhcp-authoritative\nport=0\ndhcp-range={first},{last},5m\ndhcp-option=option:router,{server}\n\
         dhcp-option=option:dns-server,{dns}\n{root_path}{}",
        foreground(SECOND_INTERFACE, "second-leases")
    )
}

/// Settings that serve the tree to machines.
const TFTP: &str = "enable-tftp\ntftp-root=/proc/self/cwd/tftp\n";

/// Returns settings that keep dnsmasq in the foreground, running as the user who started it. Nobody else has an address,
/// so it need not look for three seconds.
fn foreground(interface: &str, leases: &str) -> String {
    format!(
        "no-daemon\n\
         log-facility=-\n\
         log-dhcp\n\
         no-ping\n\
         pid-file\n\
         no-hosts\n\
         no-resolv\n\
         interface={interface}\n\
         bind-dynamic\n\
         dhcp-leasefile={leases}\n"
    )
}

pub(super) fn options_text(root_path: Option<&str>) -> String {
    root_path.map(|url| format!("option:root-path,{url}\n")).unwrap_or_default()
}

/// Parses the event in a line of dnsmasq's log.
#[must_use]
pub fn parse(line: &str) -> Option<BootEvent> {
    let (head, message) = line.split_once("]: ")?;
    let relative = |path: &str| {
        let path = Utf8Path::new(path);
        path.strip_prefix(ROOT).map_or_else(|_| path.to_owned(), ToOwned::to_owned)
    };
    if head.contains("dnsmasq-tftp[") {
        if let Some((path, _)) = message.strip_prefix("sent ").and_then(|rest| rest.rsplit_once(" to ")) {
            return Some(BootEvent::Sent(relative(path)));
        }
        if message.starts_with("cannot access ") {
            return Some(BootEvent::Refused(message.to_owned()));
        }
        let (path, _) = message.strip_prefix("file ")?.rsplit_once(" not found for ")?;
        return Some(BootEvent::NotInTree(relative(path)));
    }
    let (_, ack) = head.contains("dnsmasq-dhcp[").then(|| message.split_once("DHCPACK("))??;
    let address = ack.split_ascii_whitespace().nth(1)?;
    Some(BootEvent::Leased(address.parse::<Ipv4Addr>().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot_test::dhcp::{DeadServices, SERVED};

    fn offering(loader: &str) -> Offer {
        let boot_source = BootSource::Pxe;
        Offer {
            loader: loader.into(),
            boot_source,
            root_path: None,
            second_nic_root_path: None,
            dead: DeadServices::default(),
        }
    }

    #[test]
    fn the_folder_that_is_served_has_one_name() {
        assert_eq!(ROOT, format!("/proc/self/cwd/{SERVED}"));
        assert!(TFTP.ends_with(&format!("tftp-root={ROOT}\n")));
    }

    #[test]
    fn the_configuration_names_the_loader_and_its_server() {
        let offer = offering("sites/rack-1/ipxe.pxe");
        let text = configuration(&TestNetwork::default(), &offer).unwrap();
        for line in [
            "interface=tap0",
            "tftp-root=/proc/self/cwd/tftp",
            "dhcp-range=192.0.2.100,192.0.2.119,5m",
            "dhcp-boot=sites/rack-1/ipxe.pxe,,192.0.2.1",
            "dhcp-optsfile=options",
            "address=/#/198.51.100.1",
        ] {
            assert!(text.lines().any(|found| found == line), "`{line}` is not in:\n{text}");
        }
        let hostile = offering("x\ndhcp-script=/bin/sh");
        assert!(configuration(&TestNetwork::default(), &hostile).is_err());
        let quoted = offering("a,b c");
        assert!(configuration(&TestNetwork::default(), &quoted).unwrap().contains("dhcp-boot=\"a,b c\",,192.0.2.1\n"));
    }

    #[test]
    fn a_given_configuration_decides_about_dhcp() {
        let network =
            TestNetwork { dhcp: DhcpSetup::Given(Daemon::Dnsmasq, "dhcp-boot=mine".into()), ..TestNetwork::default() };
        let text = configuration(&network, &offering("x")).unwrap();
        assert!(text.starts_with("conf-file=given.conf\n"), "{text}");
        assert!(!text.contains("dhcp-boot"), "{text}");
        assert!(text.ends_with("tftp-root=/proc/self/cwd/tftp\n"), "the boot test's own folder comes last:\n{text}");
        for daemon in [Daemon::Kea, Daemon::IscDhcpd] {
            let network = TestNetwork { dhcp: DhcpSetup::Given(daemon, String::new()), ..TestNetwork::default() };
            let text = configuration(&network, &offering("x")).unwrap();
            assert!(!text.contains("\ndhcp-range") && text.contains("\nenable-tftp\n"), "{text}");
        }
    }

    #[test]
    fn beside_a_given_one_it_gives_addresses_and_nothing_else() {
        let given = "interface=eth0\nport=0\ntftp-root=/srv/tftp\n";
        let network =
            TestNetwork { dhcp: DhcpSetup::Given(Daemon::DnsmasqProxy, given.into()), ..TestNetwork::default() };
        let text = configuration(&network, &offering("x")).unwrap();
        assert!(text.contains("\ndhcp-range=192.0.2.100,") && !text.contains("dhcp-boot"), "{text}");
        assert!(!text.contains("tftp"), "both would listen on one port:\n{text}");
        let text = proxy(given);
        assert!(text.starts_with(given) && text.ends_with("\nenable-tftp\ntftp-root=/proc/self/cwd/tftp\n"), "{text}");
    }

    #[test]
    fn a_dead_service_is_not_configured() {
        let dead = DeadServices { dhcp: true, dns: true, tftp: true };
        let text = configuration(&TestNetwork::default(), &Offer { dead, ..offering("x") }).unwrap();
        assert!(["dhcp-range", "enable-tftp", "address="].iter().all(|word| !text.contains(word)), "{text}");
        assert!(text.lines().any(|line| line == "port=0"), "{text}");
    }

    #[test]
    fn in_the_network_of_a_second_card_no_loader_is_named() {
        let text = second(&TestNetwork::default(), None);
        for line in ["interface=tap1", "dhcp-range=203.0.113.100,203.0.113.119,5m", "port=0"] {
            assert!(text.lines().any(|found| found == line), "`{line}` is not in:\n{text}");
        }
        assert!(!["dhcp-boot", "root-path", "tftp"].iter().any(|word| text.contains(word)), "{text}");
        assert!(
            second(&TestNetwork::default(), Some("http://a/b")).contains("\ndhcp-option=option:root-path,http://a/b\n")
        );
    }

    #[test]
    fn option_17_is_absent_or_a_line() {
        assert_eq!(options_text(None), "");
        assert_eq!(options_text(Some("http://192.0.2.1/a")), "option:root-path,http://192.0.2.1/a\n");
    }

    #[test]
    fn the_log_of_dnsmasq_2_90_is_read_right() {
        let see = parse;
        let day = "Nov 22 13:24:12";
        assert_eq!(
            see(&format!("{day} dnsmasq-dhcp[7]: 3338105418 DHCPACK(tap0) 192.0.2.108 52:54:00:12:34:56 ")),
            Some(BootEvent::Leased([192, 0, 2, 108].into()))
        );
        assert_eq!(
            see(&format!("{day} dnsmasq-tftp[7]: sent /proc/self/cwd/tftp/ldlinux.c32 to 192.0.2.108")),
            Some(BootEvent::Sent("ldlinux.c32".into()))
        );
        assert_eq!(
            see(&format!("{day} dnsmasq-tftp[7]: file /proc/self/cwd/tftp/pxelinux.cfg/C0 not found for 192.0.2.108")),
            Some(BootEvent::NotInTree("pxelinux.cfg/C0".into()))
        );
        assert!(matches!(
            see(&format!("{day} dnsmasq-tftp[7]: cannot access /proc/self/cwd/tftp/ipxe.efi: Permission denied")),
            Some(BootEvent::Refused(_))
        ));
        for line in [
            "dnsmasq-dhcp[7]: 3338105418 sent size:  9 option: 67 bootfile-name  ipxe.pxe",
            "dnsmasq-tftp[7]: error 8 User aborted the transfer received from 192.0.2.108",
            "dnsmasq-dhcp[7]: 1 DHCPOFFER(tap0) 192.0.2.108 52:54:00:12:34:56 ",
            "dnsmasq[7]: exiting on receipt of SIGTERM",
        ] {
            assert_eq!(see(&format!("{day} {line}")), None, "{line}");
        }
    }
}
