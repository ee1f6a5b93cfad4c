//! Starter configuration for Ignition, which sets up Fedora `CoreOS` and Flatcar on their first boot.

use percent_encoding::utf8_percent_encode;
use serde_json::{Value, json};

use crate::base::url::RESERVED;
use crate::config::network::IgnitionSettings;

/// Version of the specification: an old one, which all current systems accept.
const SPECIFICATION: &str = "3.3.0";

/// User who can log in.
const USER: &str = "core";

/// Mode of a world-readable file. JSON contains it as a decimal number.
const READABLE: u32 = 0o644;

/// Returns the configuration of a machine with the name `hostname`, as JSON.
#[must_use]
pub fn configuration(starter: &IgnitionSettings, hostname: Option<&str>) -> String {
    let mut config = json!({
        "ignition": { "version": SPECIFICATION },
        "passwd": { "users": [{ "name": USER, "groups": ["sudo", "docker"], "sshAuthorizedKeys": starter.ssh_keys }] },
    });
    let mut files = Vec::new();
    files.extend(hostname.map(|name| file("/etc/hostname", &format!("{name}\n"))));
    files.extend(starter.console_log_level.map(|level| {
        let text = format!(
            "# The kernel shows messages on the console that are more severe than this.\nkernel.printk={level}\n"
        );
        file("/etc/sysctl.d/20-console-log-level.conf", &text)
    }));
    if !files.is_empty() {
        config["storage"]["files"] = Value::Array(files);
    }
    if let Some(zone) = &starter.time_zone {
        let target = format!("../usr/share/zoneinfo/{zone}");
        config["storage"]["links"] = json!([{ "path": "/etc/localtime", "target": target, "overwrite": true }]);
    }
    if starter.autologin {
        config["systemd"] =
            json!({ "units": [autologin("getty@tty1.service"), autologin("serial-getty@ttyS0.service")] });
    }
    format!("{config:#}\n")
}

/// Returns a file with the content `text`.
fn file(path: &str, text: &str) -> Value {
    json!({ "path": path, "mode": READABLE, "overwrite": true, "contents": { "source": data_url(text) } })
}

/// Returns a drop-in for the getty `unit` that disables its login prompt.
fn autologin(unit: &str) -> Value {
    let text = format!(
        "[Service]\n\
         # An empty one first: it drops what the unit itself says.\n\
         ExecStart=\n\
         ExecStart=-/usr/sbin/agetty --autologin {USER} --noclear %I $TERM\n"
    );
    json!({ "name": unit, "dropins": [{ "name": "autologin.conf", "contents": text }] })
}

/// Returns a data URL with the content `text`.
fn data_url(text: &str) -> String {
    format!("data:,{}", utf8_percent_encode(text, const { &RESERVED.remove(b'/') }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_starter_says_nothing_that_was_not_asked_for() {
        let config: Value = serde_json::from_str(&configuration(&IgnitionSettings::default(), None)).unwrap();
        assert_eq!(config["ignition"], json!({ "version": "3.3.0" }));
        assert!(config.get("storage").is_none() && config.get("systemd").is_none(), "{config}");
    }

    #[test]
    fn texts_become_addresses_that_hold_them() {
        assert_eq!(data_url("a=4 #%\n"), "data:,a%3D4%20%23%25%0A");
        let starter = IgnitionSettings {
            console_log_level: Some(4),
            time_zone: Some("Europe/Moscow".into()),
            ..IgnitionSettings::default()
        };
        let config: Value = serde_json::from_str(&configuration(&starter, Some("a.example.net"))).unwrap();
        assert_eq!(config["storage"]["files"][0]["contents"]["source"], "data:,a.example.net%0A");
        assert_eq!(config["storage"]["files"][1]["mode"], 420);
        assert_eq!(config["storage"]["links"][0]["target"], "../usr/share/zoneinfo/Europe/Moscow");
    }
}
