//! DHCP and TFTP: dnsmasq, its configuration, and what its log says.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use camino::{Utf8Path, Utf8PathBuf};
use rustix::process::Signal;

use super::happening::{Happening, Witness};
use super::namespace::INTERFACE;
use super::network::{Dhcp, Network};
use crate::fs;
use crate::process::{self, Command, Running, Streams};

/// How many of the last lines of its log are told when it ends by itself.
const LAST_WORDS: usize = 5;

/// What machines are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Option 67, a path in the TFTP folder.
    pub loader: Utf8PathBuf,
    /// Option 17 from the beginning.
    pub root_path: Option<String>,
}

/// The folder that TFTP serves, in the folder that the server works in. All its paths are relative to that, or go
/// through the kernel's name for it: no character in a path can then have a meaning of its own in the
/// configuration or the log.
pub const SERVED: &str = "tftp";
/// The same as an absolute path, which dnsmasq wants.
const ROOT: &str = "/proc/self/cwd/tftp";
/// The configuration, in the same folder.
const CONFIGURATION: &str = "dnsmasq.conf";
/// Option 17, in the same folder.
const OPTIONS: &str = "options";
/// Any name leads to this address. It is outside of all networks, and every such address is the namespace's
/// own.
const ANYWHERE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// A DHCP and TFTP server at work; it ends when dropped.
pub struct Server {
    running: Running,
    options: Utf8PathBuf,
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does not start.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// A file cannot be written.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Server {
    /// Starts dnsmasq, the program at `program`, in the network that this thread is in. It works in `folder`,
    /// and serves what is below [`SERVED`] there. What its log says goes to `witness`.
    ///
    /// # Errors
    ///
    /// [`Error`] where it cannot be started; where it ends later, `witness` hears of it.
    pub fn start(
        program: &Utf8Path,
        network: &Network,
        offer: &Offer,
        folder: &Utf8Path,
        witness: Witness,
    ) -> Result<Self, Error> {
        let options = folder.join(OPTIONS);
        fs::write_atomic(&options, options_text(offer.root_path.as_deref()).as_bytes())?;
        fs::write_atomic(&folder.join(CONFIGURATION), configuration(network, offer).as_bytes())?;
        let mut command = Command::new("answer DHCP and TFTP", program.as_str());
        command = command.args([format!("--conf-file={CONFIGURATION}")]);
        command.dir = Some(folder.to_owned());
        let running = command.start(Streams::default())?;
        let (mut last, mut aborted): (Vec<String>, bool) = (Vec::new(), false);
        running.each_line(move |line| {
            let Some(line) = line else {
                return witness.saw(Happening::Gone { program: "dnsmasq", words: last.join("\n") }, None);
            };
            last.push(line.clone());
            last.drain(..last.len().saturating_sub(LAST_WORDS));
            // A client that only wants to know the size breaks off, and dnsmasq says "sent" all the same.
            let probe = std::mem::replace(&mut aborted, line.contains("]: error ") && line.contains(" received from "));
            match parse(&line) {
                Some(Happening::Sent(_)) if probe => witness.heard(line),
                Some(happening) => witness.saw(happening, Some(line)),
                None => witness.heard(line),
            }
        });
        Ok(Self { running, options })
    }

    /// Sends option 17 from now on.
    ///
    /// # Errors
    ///
    /// [`fs::Error`] where that cannot be written.
    pub fn offer_root_path(&self, url: &str) -> Result<(), fs::Error> {
        fs::write_atomic(&self.options, options_text(Some(url)).as_bytes())?;
        self.running.signal(Signal::HUP);
        Ok(())
    }
}

/// The configuration. What the boot test needs comes last: of two values for one thing, dnsmasq takes the
/// later one.
#[must_use]
pub fn configuration(network: &Network, offer: &Offer) -> String {
    let mut text = String::new();
    match &network.dhcp {
        Dhcp::Own => {
            let (first, last) = network.range;
            let _ = write!(
                text,
                "dhcp-authoritative\n\
                 no-ping\n\
                 dhcp-range={first},{last},5m\n\
                 dhcp-boot={},,{}\n\
                 # Option 17. It is read again after SIGHUP.\n\
                 dhcp-optsfile={OPTIONS}\n",
                offer.loader, network.server,
            );
        }
        Dhcp::Dnsmasq(file) => {
            let _ = writeln!(text, "conf-file={file}");
        }
    }
    let _ = write!(
        text,
        "# In the foreground, and as the user that it is started by.\n\
         no-daemon\n\
         log-facility=-\n\
         log-dhcp\n\
         pid-file\n\
         no-hosts\n\
         no-resolv\n\
         address=/#/{ANYWHERE}\n\
         interface={INTERFACE}\n\
         bind-dynamic\n\
         dhcp-leasefile=leases\n\
         enable-tftp\n\
         tftp-root={ROOT}\n"
    );
    text
}

fn options_text(root_path: Option<&str>) -> String {
    root_path.map(|url| format!("option:root-path,{url}\n")).unwrap_or_default()
}

/// What a line of dnsmasq's log tells.
#[must_use]
pub fn parse(line: &str) -> Option<Happening> {
    let (head, message) = line.split_once("]: ")?;
    let relative = |path: &str| {
        let path = Utf8Path::new(path);
        path.strip_prefix(ROOT).map_or_else(|_| path.to_owned(), ToOwned::to_owned)
    };
    if head.contains("dnsmasq-tftp[") {
        if let Some((path, _)) = message.strip_prefix("sent ").and_then(|rest| rest.rsplit_once(" to ")) {
            return Some(Happening::Sent(relative(path)));
        }
        if message.starts_with("cannot access ") {
            return Some(Happening::Refused(message.to_owned()));
        }
        let (path, _) = message.strip_prefix("file ")?.rsplit_once(" not found for ")?;
        return Some(Happening::NotInTree(relative(path)));
    }
    let (_, ack) = head.contains("dnsmasq-dhcp[").then(|| message.split_once("DHCPACK("))??;
    let address = ack.split_ascii_whitespace().nth(1)?;
    Some(Happening::Leased(address.parse::<Ipv4Addr>().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_names_the_loader_and_its_server() {
        let offer = Offer { loader: "sites/rack-1/ipxe.pxe".into(), root_path: None };
        let text = configuration(&Network::default(), &offer);
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
    }

    #[test]
    fn a_given_configuration_decides_about_dhcp() {
        let network = Network { dhcp: Dhcp::Dnsmasq("/etc/mine.conf".into()), ..Network::default() };
        let text = configuration(&network, &Offer { loader: "x".into(), root_path: None });
        assert!(text.starts_with("conf-file=/etc/mine.conf\n"), "{text}");
        assert!(!text.contains("dhcp-boot"), "{text}");
        assert!(text.ends_with("tftp-root=/proc/self/cwd/tftp\n"), "the boot test's own folder comes last:\n{text}");
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
            Some(Happening::Leased([192, 0, 2, 108].into()))
        );
        assert_eq!(
            see(&format!("{day} dnsmasq-tftp[7]: sent /proc/self/cwd/tftp/ldlinux.c32 to 192.0.2.108")),
            Some(Happening::Sent("ldlinux.c32".into()))
        );
        assert_eq!(
            see(&format!("{day} dnsmasq-tftp[7]: file /proc/self/cwd/tftp/pxelinux.cfg/C0 not found for 192.0.2.108")),
            Some(Happening::NotInTree("pxelinux.cfg/C0".into()))
        );
        assert!(matches!(
            see(&format!("{day} dnsmasq-tftp[7]: cannot access /proc/self/cwd/tftp/ipxe.efi: Permission denied")),
            Some(Happening::Refused(_))
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
