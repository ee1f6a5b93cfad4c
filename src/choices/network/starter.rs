//! The table `[ignition]` of `network.toml`: what a machine is to have when it starts for the first time.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::choices::reader::{At, Table};

/// What a machine is to have when it starts for the first time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Starter {
    /// The public keys with which one can log in over SSH, as in `authorized_keys`.
    pub ssh_keys: Vec<String>,
    /// The time zone, as in `Europe/Moscow`.
    pub time_zone: Option<String>,
    /// How severe a message of the kernel has to be for the console: below this, 0 to 8.
    pub console_log_level: Option<u8>,
    /// Whether whoever sees the console is logged in.
    pub autologin: bool,
}

/// What `table` says.
pub(super) fn read(table: &Table<'_>) -> Starter {
    let mut ssh_keys = Vec::new();
    for At { value, place } in table.strings("ssh-keys").map(|at| at.value).unwrap_or_default() {
        let remedy = "copy the line of a file like id_ed25519.pub";
        ssh_keys.extend(table.accept(public_key(&value).map_err(|error| place.finding(error, remedy))));
    }
    let zone = table.parsed("time-zone", "write it as in \"Europe/Moscow\"", time_zone);
    let level = table.unsigned("console-log-level").and_then(|At { value, place }| {
        let level = u8::try_from(value).ok().filter(|level| *level <= 8);
        let found = || place.finding(format!("found {value}, wanted 0 to 8"), "4 shows warnings and what is worse");
        table.accept(level.ok_or_else(found))
    });
    let autologin = table.boolean("autologin").is_some_and(|at| at.value);
    Starter { ssh_keys, time_zone: zone.map(|at| at.value), console_log_level: level, autologin }
}

/// The types of public keys that OpenSSH has.
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
    let mut words = text.split_ascii_whitespace();
    let (kind, body) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    // The body says again of which type it is, after the length of that.
    let known = KEY_TYPES.contains(&kind) && !text.chars().any(char::is_control);
    let body = STANDARD.decode(body).unwrap_or_default();
    if known && body.get(4..).is_some_and(|rest| rest.starts_with(kind.as_bytes())) {
        return Ok(text.trim().to_owned());
    }
    let found: String = text.chars().take(24).collect();
    Err(format!("found `{}`…, wanted a public key as in `ssh-ed25519 AAAA… name`", found.escape_debug()))
}

fn time_zone(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_+-/".contains(c);
    if text.chars().all(plain) && text.split('/').all(|part| !part.is_empty()) {
        return Ok(text.to_owned());
    }
    Err(format!("found the time zone `{text}`, wanted a name as in the tz database"))
}
