//! DHCP servers other than dnsmasq: how to start them with a given configuration, and the events in their logs.

use std::net::Ipv4Addr;

use camino::Utf8Path;
use serde_json::{Value, json};

use super::dnsmasq;
use super::error::{Error, NotConfiguration};
use crate::base::fs;
use crate::base::process::Command;
use crate::boot_test::boot_event::BootEvent;
use crate::boot_test::daemon::Daemon;
use crate::boot_test::namespace::INTERFACE;

/// Configuration file, in the server's working directory.
const CONFIGURATION: &str = "dhcp.conf";

impl Daemon {
    /// Writes the configuration `text` into `folder`, and returns the command that starts `program` there with it.
    pub(super) fn prepare(self, program: &Utf8Path, text: &str, folder: &Utf8Path) -> Result<Command, Error> {
        let command = Command::new("answer DHCP", program.as_str());
        let configuration = folder.join(CONFIGURATION);
        match self {
            Self::Dnsmasq => Ok(command),
            Self::DnsmasqProxy => {
                fs::write_atomic(&configuration, dnsmasq::proxy(text).as_bytes())?;
                Ok(command.args([format!("--conf-file={CONFIGURATION}")]))
            }
            Self::Kea => {
                fs::write_atomic(&configuration, kea(text)?.to_string().as_bytes())?;
                // Keep the PID file in the case's own folder, and use no lock file: no other instance runs here.
                let command = command.env("KEA_PIDFILE_DIR", folder.as_str()).env("KEA_LOCKFILE_DIR", "none");
                Ok(command.args(["-c", CONFIGURATION]))
            }
            Self::IscDhcpd => {
                fs::write_atomic(&configuration, text.as_bytes())?;
                fs::write_atomic(&folder.join("dhcpd.leases"), b"")?;
                let arguments =
                    ["-f", "-d", "-cf", CONFIGURATION, "-lf", "dhcpd.leases", "-pf", "dhcpd.pid", INTERFACE];
                Ok(command.args(arguments))
            }
        }
    }

    /// Returns the parser for a line of the server's log.
    pub(super) fn parser(self) -> fn(&str) -> Option<BootEvent> {
        match self {
            Self::Dnsmasq | Self::DnsmasqProxy => dnsmasq::parse,
            Self::Kea => leased_by_kea,
            Self::IscDhcpd => leased_by_dhcpd,
        }
    }
}

/// Returns the Kea configuration `text` with the settings that the boot test needs: its interface, leases that are not
/// written to disk, no control socket, and a log on standard output.
fn kea(text: &str) -> Result<Value, NotConfiguration> {
    // Comments are a Kea extension of JSON; those on lines of their own can be removed without parsing the rest.
    let code = text.lines().filter(|line| !["//", "#"].iter().any(|mark| line.trim_start().starts_with(mark)));
    let mut value: Value = serde_json::from_str(&code.collect::<Vec<_>>().join("\n"))
        .map_err(|error| NotConfiguration(error.to_string()))?;
    let Some(dhcp) = value.get_mut("Dhcp4").and_then(Value::as_object_mut) else {
        return Err(NotConfiguration("there is no `Dhcp4`".into()));
    };
    // The interface has no carrier before the machine runs, and Kea does not retry to listen on it by default.
    let patient = json!({
        "interfaces": [INTERFACE],
        "service-sockets-max-retries": 3000,
        "service-sockets-retry-wait-time": 100,
    });
    dhcp.insert("interfaces-config".into(), patient);
    dhcp.insert("lease-database".into(), json!({ "type": "memfile", "persist": false }));
    dhcp.remove("control-socket");
    let output = json!([{ "output": "stdout", "flush": true }]);
    dhcp.insert("loggers".into(), json!([{ "name": "kea-dhcp4", "severity": "INFO", "output_options": output }]));
    Ok(value)
}

fn leased_by_kea(line: &str) -> Option<BootEvent> {
    let (_, rest) = line.split_once("DHCP4_LEASE_ALLOC ")?;
    let (_, rest) = rest.split_once(": lease ")?;
    leased(rest)
}

fn leased_by_dhcpd(line: &str) -> Option<BootEvent> {
    leased(line.strip_prefix("DHCPACK on ")?)
}

/// Parses the leased address at the beginning of `text`.
fn leased(text: &str) -> Option<BootEvent> {
    Some(BootEvent::Leased(text.split(' ').next()?.parse::<Ipv4Addr>().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::diagnostic::told;

    #[test]
    fn the_configuration_of_kea_keeps_what_is_tried() {
        let given = "// a recipe\n{ \"Dhcp4\": {\n  # leases\n  \"lease-database\": { \"type\": \"mysql\" },\n  \"valid-lifetime\": 7\n} }\n";
        let value = kea(given).unwrap();
        assert_eq!(value["Dhcp4"]["valid-lifetime"], 7);
        assert_eq!(value["Dhcp4"]["lease-database"], json!({ "type": "memfile", "persist": false }));
        assert_eq!(value["Dhcp4"]["interfaces-config"]["interfaces"], json!(["tap0"]));
        let error = told(&kea("{ \"Dhcp6\": {} }").unwrap_err());
        assert!(
            error.starts_with("the configuration of Kea is no JSON with `Dhcp4`: there is no `Dhcp4`\nhint: "),
            "{error}"
        );
        assert!(kea("dhcp-range=1").is_err());
    }
}
