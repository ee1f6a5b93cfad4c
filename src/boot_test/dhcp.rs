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

/// Where the server finds and keeps things.
#[derive(Debug, Clone)]
pub struct Files {
    /// What TFTP serves.
    pub served: Utf8PathBuf,
    /// Where its own files go.
    pub folder: Utf8PathBuf,
}

impl Files {
    fn options(&self) -> Utf8PathBuf {
        self.folder.join("options")
    }

    fn configuration(&self) -> Utf8PathBuf {
        self.folder.join("dnsmasq.conf")
    }
}

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
    /// Starts dnsmasq, the program at `program`, in the network that this thread is in. What its log
    /// says goes to `witness`.
    ///
    /// # Errors
    ///
    /// [`Error`] where it cannot be started; where it ends later, `witness` hears of it.
    pub fn start(
        program: &Utf8Path,
        network: &Network,
        offer: &Offer,
        files: &Files,
        witness: Witness,
    ) -> Result<Self, Error> {
        let options = files.options();
        fs::write_atomic(&options, options_text(offer.root_path.as_deref()).as_bytes())?;
        let file = files.configuration();
        fs::write_atomic(&file, configuration(network, offer, files).as_bytes())?;
        let command = Command::new("answer DHCP and TFTP", program.as_str()).args([format!("--conf-file={file}")]);
        let running = command.start(Streams::default())?;
        let tftp = files.served.clone();
        let mut last: Vec<String> = Vec::new();
        running.each_line(move |line| {
            let Some(line) = line else {
                return witness.saw(Happening::Gone { program: "dnsmasq", words: last.join("\n") }, None);
            };
            last.push(line.clone());
            last.drain(..last.len().saturating_sub(LAST_WORDS));
            match parse(&line, &tftp) {
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

/// The configuration. All of it can be tried by hand with `dnsmasq --conf-file=FILE`.
#[must_use]
pub fn configuration(network: &Network, offer: &Offer, files: &Files) -> String {
    let mut text = format!(
        "# In the foreground, and as the user that it is started by.\n\
         no-daemon\n\
         log-facility=-\n\
         log-dhcp\n\
         pid-file\n\
         no-hosts\n\
         no-resolv\n\
         interface={INTERFACE}\n\
         bind-dynamic\n\
         dhcp-leasefile={}\n\
         enable-tftp\n\
         tftp-root={}\n",
        files.folder.join("leases"),
        files.served
    );
    match &network.dhcp {
        Dhcp::Own => {
            let (first, last) = network.range;
            let _ = write!(
                text,
                "# Whatever the name, it is the other web server's.\n\
                 address=/#/{}\n\
                 dhcp-authoritative\n\
                 no-ping\n\
                 dhcp-range={first},{last},5m\n\
                 dhcp-boot={},,{}\n\
                 # Option 17. It is read again after SIGHUP.\n\
                 dhcp-optsfile={}\n",
                network.web,
                offer.loader,
                network.server,
                files.options()
            );
        }
        Dhcp::Dnsmasq(file) => {
            let _ = writeln!(text, "conf-file={file}");
        }
    }
    text
}

fn options_text(root_path: Option<&str>) -> String {
    root_path.map(|url| format!("option:root-path,{url}\n")).unwrap_or_default()
}

/// What a line of dnsmasq's log tells; `tftp` is the folder that it serves.
#[must_use]
pub fn parse(line: &str, tftp: &Utf8Path) -> Option<Happening> {
    let (head, message) = line.split_once("]: ")?;
    let relative = |path: &str| Utf8Path::new(path).strip_prefix(tftp).map_or_else(|_| path.into(), ToOwned::to_owned);
    if head.contains("dnsmasq-tftp[") {
        if let Some((path, _)) = message.strip_prefix("sent ").and_then(|rest| rest.rsplit_once(" to ")) {
            return Some(Happening::Sent(relative(path)));
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

    fn files() -> Files {
        Files { served: "/run/tftp".into(), folder: "/run/dhcp".into() }
    }

    #[test]
    fn the_configuration_names_the_loader_and_its_server() {
        let offer = Offer { loader: "sites/rack-1/ipxe.pxe".into(), root_path: None };
        let text = configuration(&Network::default(), &offer, &files());
        for line in [
            "interface=tap0",
            "tftp-root=/run/tftp",
            "dhcp-range=192.0.2.100,192.0.2.119,5m",
            "dhcp-boot=sites/rack-1/ipxe.pxe,,192.0.2.1",
            "dhcp-optsfile=/run/dhcp/options",
            "address=/#/192.0.2.2",
        ] {
            assert!(text.lines().any(|found| found == line), "`{line}` is not in:\n{text}");
        }
    }

    #[test]
    fn a_given_configuration_decides_about_dhcp() {
        let network = Network { dhcp: Dhcp::Dnsmasq("/etc/mine.conf".into()), ..Network::default() };
        let text = configuration(&network, &Offer { loader: "x".into(), root_path: None }, &files());
        assert!(text.ends_with("conf-file=/etc/mine.conf\n"), "{text}");
        assert!(!text.contains("dhcp-boot"), "{text}");
        assert!(text.contains("tftp-root=/run/tftp\n"), "{text}");
    }

    #[test]
    fn option_17_is_absent_or_a_line() {
        assert_eq!(options_text(None), "");
        assert_eq!(options_text(Some("http://192.0.2.1/a")), "option:root-path,http://192.0.2.1/a\n");
    }

    #[test]
    fn the_log_of_dnsmasq_2_90_is_read_right() {
        let see = |line: &str| parse(line, Utf8Path::new("/run/tftp"));
        let day = "Nov 22 13:24:12";
        assert_eq!(
            see(&format!("{day} dnsmasq-dhcp[7]: 3338105418 DHCPACK(tap0) 192.0.2.108 52:54:00:12:34:56 ")),
            Some(Happening::Leased([192, 0, 2, 108].into()))
        );
        assert_eq!(
            see(&format!("{day} dnsmasq-tftp[7]: sent /run/tftp/ldlinux.c32 to 192.0.2.108")),
            Some(Happening::Sent("ldlinux.c32".into()))
        );
        assert_eq!(
            see(&format!("{day} dnsmasq-tftp[7]: file /run/tftp/pxelinux.cfg/C0 not found for 192.0.2.108")),
            Some(Happening::NotInTree("pxelinux.cfg/C0".into()))
        );
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
