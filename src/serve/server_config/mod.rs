//! Configurations for DHCP, TFTP and HTTP servers, generated from `network.toml` and the site configuration.
//!
//! [`boot_policy`](super::boot_policy) decides which answers each machine gets, which are the same for all server
//! programs. Each [`ServerKind`] has templates in `templates/`, in that server's own language, and [`write()`] renders
//! them. Templates insert values only as text that the server takes literally, according to [`crate::base::quote`].

use camino::{Utf8Path, Utf8PathBuf};
use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value};

use crate::base::diagnostic::{Subcommand, Wording};
use crate::base::fs;
use crate::base::quote::{self, Language, RouterosVersion};
use crate::serve::boot_policy::BootPolicy;
pub use crate::serve::server_kind::ServerKind;

/// A file of a recipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFile {
    /// File name.
    pub name: &'static str,
    /// Content of the file.
    pub text: String,
}

/// A template: the name of its file in a recipe, and its text.
struct Template(&'static str, &'static str);

impl ServerKind {
    /// Returns the templates of the configuration and of its accompanying files.
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

/// Renders the recipe for a server of `kind`: its configuration and accompanying files. `wording` supplies the commands
/// that they mention.
///
/// # Panics
///
/// If a template is invalid, which a test rules out.
#[must_use]
pub fn write(kind: ServerKind, policy: &BootPolicy<'_>, wording: &dyn Wording) -> Vec<ConfigFile> {
    let mut environment = environment(kind);
    environment.add_global("deploy", Value::from_safe_string(wording.command(&Subcommand::Deploy)));
    let write = |Template(name, text): &Template| {
        let text =
            environment.render_str(text, policy.facts(kind, name)).expect("each template is filled in by a test");
        ConfigFile { name, text }
    };
    kind.templates().iter().map(write).collect()
}

/// Writes the files of a recipe into `folder`, each atomically. Returns their paths.
///
/// # Errors
///
/// [`fs::Error`] if a file cannot be written.
pub fn save(files: &[ConfigFile], folder: &Utf8Path) -> Result<Vec<Utf8PathBuf>, fs::Error> {
    fs::world_readable::create_world_readable_dir_all(folder)?;
    let save = |file: &ConfigFile| {
        let path = folder.join(file.name);
        fs::write_atomic(&path, file.text.as_bytes()).map(|()| path)
    };
    files.iter().map(save).collect()
}

/// Creates the template environment with the quoting rules of `kind`. A value inserted without a filter must not need
/// quotes.
fn environment(kind: ServerKind) -> Environment<'static> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().keep_trailing_newline(true).trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.expect("the delimiters are the usual ones"));
    // The results of quoting filters and of macros are marked as safe.
    environment.set_auto_escape_callback(|_| AutoEscape::Custom("quoted".into()));
    environment.set_formatter(|out, _, value| {
        let text = value.to_string();
        let text = if value.is_safe() { text } else { quoted(Language::Bare, &text)?.to_string() };
        Ok(out.write_str(&text)?)
    });
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let version = if kind == ServerKind::Routeros6 { 6 } else { 7 };
    environment.add_global("version", version);
    let console = Language::Routeros(if version == 6 { RouterosVersion::V6 } else { RouterosVersion::V7 });
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

/// Quotes `text` as a value of `language`, and marks it as safe.
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
        let environment = environment(ServerKind::Dnsmasq);
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
