//! Configurations for the servers around a tree: DHCP, TFTP and HTTP, written from `network.toml` and the choices.
//!
//! [`offer`] decides what each machine is told; it is the same for all servers. A [`Kind`] of server has a template in
//! `templates/`, in that server's own language, and [`write()`] fills it in. [`crate::quote`] knows what servers take
//! literally: a template puts in nothing else.

pub mod offer;

use std::fmt;
use std::str::FromStr;

use camino::{Utf8Path, Utf8PathBuf};
use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value};

use self::offer::Offers;
use crate::fs;
use crate::quote::{self, Console, Language};

/// A server that there is a recipe for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `MikroTik` `RouterOS` 7: DHCP and TFTP.
    Routeros,
    /// `MikroTik` `RouterOS` 6: DHCP and TFTP.
    Routeros6,
    /// dnsmasq: DHCP and TFTP.
    Dnsmasq,
    /// dnsmasq beside another DHCP server, and TFTP.
    DnsmasqProxy,
    /// ISC Kea: DHCP.
    Kea,
    /// ISC dhcpd: DHCP.
    IscDhcpd,
    /// systemd-networkd: DHCP for one kind of firmware.
    SystemdNetworkd,
    /// nginx: HTTP.
    Nginx,
    /// nginx on a Synology NAS: HTTP.
    NginxSynology,
    /// Caddy: HTTP.
    Caddy,
    /// tftpd-hpa: TFTP.
    TftpdHpa,
}

/// A file of a recipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name.
    pub name: &'static str,
    /// Its content.
    pub text: String,
}

/// What is in a template: its name as a file of a recipe, and its text.
struct Template(&'static str, &'static str);

impl Kind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Routeros,
        Self::Routeros6,
        Self::Dnsmasq,
        Self::DnsmasqProxy,
        Self::Kea,
        Self::IscDhcpd,
        Self::SystemdNetworkd,
        Self::Nginx,
        Self::NginxSynology,
        Self::Caddy,
        Self::TftpdHpa,
    ];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Routeros => "routeros",
            Self::Routeros6 => "routeros-6",
            Self::Dnsmasq => "dnsmasq",
            Self::DnsmasqProxy => "dnsmasq-proxy",
            Self::Kea => "kea",
            Self::IscDhcpd => "isc-dhcpd",
            Self::SystemdNetworkd => "systemd-networkd",
            Self::Nginx => "nginx",
            Self::NginxSynology => "nginx-synology",
            Self::Caddy => "caddy",
            Self::TftpdHpa => "tftpd-hpa",
        }
    }

    /// Whether it tells machines what to load and where to go.
    #[must_use]
    pub fn is_dhcp(self) -> bool {
        !matches!(self, Self::Nginx | Self::NginxSynology | Self::Caddy | Self::TftpdHpa)
    }

    /// What it is, in one line.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Routeros => "DHCP and TFTP by MikroTik RouterOS 7, and an undo",
            Self::Routeros6 => "the same for RouterOS 6, which cannot tell firmwares apart",
            Self::Dnsmasq => "DHCP and TFTP by dnsmasq",
            Self::DnsmasqProxy => "dnsmasq beside a DHCP server that is not to be changed",
            Self::Kea => "DHCP by Kea",
            Self::IscDhcpd => "DHCP by ISC dhcpd",
            Self::SystemdNetworkd => "DHCP by systemd-networkd, for machines with UEFI",
            Self::Nginx => "HTTP by nginx",
            Self::NginxSynology => "HTTP by the nginx of a Synology NAS",
            Self::Caddy => "HTTP by Caddy",
            Self::TftpdHpa => "TFTP by tftpd-hpa",
        }
    }

    /// The templates: that of the configuration, and those of what comes with it.
    fn templates(self) -> &'static [Template] {
        match self {
            Self::Routeros => &[
                Template("netboot-routeros.rsc", include_str!("templates/routeros.rsc")),
                Template("netboot-routeros-undo.rsc", include_str!("templates/routeros-undo.rsc")),
            ],
            Self::Routeros6 => &[
                Template("netboot-routeros-6.rsc", include_str!("templates/routeros.rsc")),
                Template("netboot-routeros-6-undo.rsc", include_str!("templates/routeros-undo.rsc")),
            ],
            Self::Dnsmasq => &[Template("netboot-dnsmasq.conf", include_str!("templates/dnsmasq.conf"))],
            Self::DnsmasqProxy => {
                &[Template("netboot-dnsmasq-proxy.conf", include_str!("templates/dnsmasq-proxy.conf"))]
            }
            Self::Kea => &[Template("kea-dhcp4.conf", include_str!("templates/kea-dhcp4.conf"))],
            Self::IscDhcpd => &[Template("dhcpd.conf", include_str!("templates/dhcpd.conf"))],
            Self::SystemdNetworkd => &[Template("80-netboot.network", include_str!("templates/netboot.network"))],
            Self::Nginx => &[Template("netboot-nginx.conf", include_str!("templates/nginx.conf"))],
            Self::NginxSynology => &[Template("www.netboot.conf", include_str!("templates/nginx-synology.conf"))],
            Self::Caddy => &[Template("Caddyfile", include_str!("templates/Caddyfile"))],
            Self::TftpdHpa => &[Template("tftpd-hpa", include_str!("templates/tftpd-hpa"))],
        }
    }
}

/// No recipe has that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no recipe `{0}`")]
pub struct UnknownKind(String);

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name).ok_or_else(|| UnknownKind(name.to_owned()))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The recipe for a server of `kind`: its configuration, and what comes with that.
///
/// # Panics
///
/// Where a template is wrong, which a test excludes.
#[must_use]
pub fn write(kind: Kind, offers: &Offers<'_>) -> Vec<File> {
    let environment = environment(kind);
    let write = |Template(name, text): &Template| {
        let text = environment.render_str(text, offers.facts(name)).expect("each template is filled in by a test");
        File { name, text }
    };
    kind.templates().iter().map(write).collect()
}

/// Writes the files of a recipe into `folder`, each as a whole.
///
/// # Errors
///
/// [`fs::Error`].
pub fn save(files: &[File], folder: &Utf8Path) -> Result<Vec<Utf8PathBuf>, fs::Error> {
    fs::served::create_served_dir_all(folder)?;
    let save = |file: &File| {
        let path = folder.join(file.name);
        fs::write_atomic(&path, file.text.as_bytes()).map(|()| path)
    };
    files.iter().map(save).collect()
}

/// Templates that know how `kind` quotes. What a template puts in without a filter has to need no quotes.
fn environment(kind: Kind) -> Environment<'static> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().keep_trailing_newline(true).trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.expect("the delimiters are the usual ones"));
    // What a filter has quoted is marked as safe, and so is what a macro gives.
    environment.set_auto_escape_callback(|_| AutoEscape::Custom("quoted".into()));
    environment.set_formatter(|out, _, value| {
        let text = value.to_string();
        let text = if value.is_safe() { text } else { quoted(Language::Bare, &text)?.to_string() };
        Ok(out.write_str(&text)?)
    });
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let version = if kind == Kind::Routeros6 { 6 } else { 7 };
    environment.add_global("version", version);
    let console = Language::Routeros(if version == 6 { Console::V6 } else { Console::V7 });
    environment.add_filter("ros", move |text: &str| quoted(console, text));
    environment.add_filter("ros_value", move |text: &str| quoted(console, &quote::option_value(text)));
    environment.add_filter("ros_request", move |path: &str| quoted(console, &quote::request(path)));
    environment.add_filter("quoted", |text: &str| quoted(Language::DoubleQuoted, text));
    environment.add_filter("dnsmasq", |text: &str| quoted(Language::Dnsmasq, text));
    environment.add_filter("listed", |items: Vec<Value>, separator: &str| {
        let items = items.iter().map(|item| quoted(Language::Bare, &item.to_string()));
        let items = items.map(|item| item.map(|item| item.to_string())).collect::<Result<Vec<_>, _>>()?;
        Ok::<_, minijinja::Error>(Value::from_safe_string(items.join(separator)))
    });
    environment.add_filter("unit", |text: &str| quoted(Language::NetworkValue, text));
    environment
}

/// `text` as a value of `language`, marked as such.
fn quoted(language: Language, text: &str) -> Result<Value, minijinja::Error> {
    let quoted =
        language.quote(text).map_err(|error| minijinja::Error::new(ErrorKind::BadEscape, error.to_string()))?;
    Ok(Value::from_safe_string(quoted))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_template_that_forgets_to_quote_puts_in_nothing_but_bare_words() {
        let environment = environment(Kind::Dnsmasq);
        let render =
            |text: &str, value: &str| environment.render_str(text, BTreeMap::from([("value", value.to_owned())])).ok();
        for bare in ["192.168.88.0/24", "host-a_b", "http://192.0.2.1:8080/a.b", "52:54:00:12:34:56"] {
            assert_eq!(render("a={{ value }}", bare), Some(format!("a={bare}")));
        }
        for code in ["x\ndhcp-script=/bin/sh", "a,b", "a b", "${a}", "a;b", "a\"", "a{b}"] {
            for text in ["{{ value }}", "{% set x %}{{ value }}{% endset %}{{ x }}", "{{ [value] | listed(\",\") }}"] {
                assert_eq!(render(text, code), None, "{text} {code}");
            }
        }
        assert_eq!(render("{{ value | dnsmasq }}", "a,b").unwrap(), "\"a,b\"");
        assert_eq!(render("{{ value | quoted }}", "a\nb"), None);
    }
}
