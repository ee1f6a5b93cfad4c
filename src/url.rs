//! Addresses that this tool requests, which may hold a password or a token.
//!
//! [`Url`] shows itself without them, so messages, records and events cannot give them away.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::printable::single_line;

/// The address of an input, or a local path in its place, as it was given.
///
/// `Display`, `Debug` and `Serialize` leave out user and password, the content of the query, and the fragment:
/// `https://me:secret@host/file?token=abc` is shown as `https://host/file?...`. Only [`Url::expose`] gives all of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Url(String);

impl Url {
    /// The whole text: for the request, and for nothing that is shown or stored.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Url {
    /// Whether there is anything in it that is not shown.
    #[must_use]
    pub fn has_secret(&self) -> bool {
        self.without_secrets() != self.0
    }

    fn without_secrets(&self) -> String {
        let Some((scheme, rest)) = parts(&self.0) else { return self.0.clone() };
        let path = rest.split(['?', '#']).next().unwrap_or_default();
        let query = if rest[path.len()..].starts_with('?') { "?..." } else { "" };
        format!("{scheme}{path}{query}")
    }

    /// The address `path`, which begins with a slash, has below this one; a query stays behind it.
    #[must_use]
    pub fn join(&self, path: &str) -> Self {
        let (base, query) = self.0.split_at(self.0.find(['?', '#']).unwrap_or(self.0.len()));
        Self(format!("{}{path}{query}", base.trim_end_matches('/')))
    }
}

impl From<String> for Url {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Url {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// On one line, also where a file of pins or a server gave an address that has several.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&single_line(&self.without_secrets()))
    }
}

/// The address `text` with `…` for user and password, for messages about its spelling.
#[must_use]
pub fn without_credentials(text: &str) -> String {
    match parts(text) {
        Some((scheme, rest)) if text[..text.len() - rest.len()].contains('@') => format!("{scheme}…@{rest}"),
        _ => text.to_owned(),
    }
}

/// How the address `text` begins, and what follows user and password; `None` for a local path.
fn parts(text: &str) -> Option<(&str, &str)> {
    match text.find("://") {
        Some(at) if text.starts_with("file:") => Some((&text[..at + 3], without_user(&text[at + 3..]))),
        // Some take any number of slashes for two.
        Some(at) => {
            let rest = text[at + 3..].trim_start_matches(['/', '\\']);
            Some((&text[..at + 3], without_user(rest)))
        }
        // An `@` or a `?` in a path is part of a name. A host has a colon before the first slash.
        None => text.split('/').next()?.contains(':').then(|| ("", without_user(text))),
    }
}

/// What follows the user and the password in `rest`, an address behind its scheme.
fn without_user(rest: &str) -> &str {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let end = match authority.rfind('@') {
        Some(at) => Some(at),
        // `user:pass/word@host`: nobody's port, so it is a password that was not percent-encoded.
        None if !is_host(authority) => rest.rfind('@'),
        None => None,
    };
    end.map_or(rest, |at| &rest[at + 1..])
}

/// Whether `authority` is a host, with or without a port.
fn is_host(authority: &str) -> bool {
    let port = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((_, "")) => return true,
        Some((_, rest)) => rest.strip_prefix(':'),
        None => Some(authority.split_once(':').map_or("", |(_, port)| port)),
    };
    port.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

impl Serialize for Url {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.without_secrets())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_goes_before_the_query() {
        let join = |url: &str| Url::from(url).join("/a/b").expose().to_owned();
        assert_eq!(join("http://me:pw@nas/mirror/"), "http://me:pw@nas/mirror/a/b");
        assert_eq!(join("http://nas/mirror?token=x"), "http://nas/mirror/a/b?token=x");
    }

    #[test]
    fn only_credentials_are_left_out_of_what_is_misspelled() {
        for (text, shown) in [
            ("http:///a", "http:///a"),
            ("http:///user:secret@host/a", "http://…@host/a"),
            ("http://user:secret@host/a b", "http://…@host/a b"),
        ] {
            assert_eq!(without_credentials(text), shown);
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        for (whole, shown) in [
            ("https://host/path/file.zip", "https://host/path/file.zip"),
            ("http://user:secret@host/f", "http://host/f"),
            ("http://user@host/f", "http://host/f"),
            ("http://secret%40x:se%3Acret@host:8080/f", "http://host:8080/f"),
            ("http://user:secret@[2001:db8::1]:8080/f", "http://[2001:db8::1]:8080/f"),
            ("http://user:secret@[2001:db8::1]/f", "http://[2001:db8::1]/f"),
            ("git://user:secret@host/ipxe.git", "git://host/ipxe.git"),
            // Passwords that nobody has percent-encoded.
            ("http://user:sec@ret@host/f", "http://host/f"),
            ("http://user:sec/ret@host/f", "http://host/f"),
            ("http://user:sec?ret@host/f", "http://host/f"),
            ("http://user:sec#ret@host/f", "http://host/f"),
            ("user:secret@proxy:3128", "proxy:3128"),
            ("git@host:ipxe.git", "host:ipxe.git"),
            // Tokens.
            ("https://host/f?token=secret&x=1", "https://host/f?..."),
            ("https://host/f?X-Amz-Signature=secret#secret", "https://host/f?..."),
            ("https://host/f#secret", "https://host/f"),
            ("https://host?token=secret", "https://host?..."),
            ("http:///user:secret@host/f", "http://host/f"),
            // No secrets.
            ("http://host/user@example.org/f", "http://host/user@example.org/f"),
            ("http://[2001:db8::1]/a@b", "http://[2001:db8::1]/a@b"),
            ("http://host:8080/a@b", "http://host:8080/a@b"),
            ("/srv/me@home/ipxe?.git", "/srv/me@home/ipxe?.git"),
            ("me@home/ipxe", "me@home/ipxe"),
            ("file:///srv/ipxe", "file:///srv/ipxe"),
            ("", ""),
        ] {
            let url = Url::from(whole);
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), format!("`{shown}`"));
            assert_eq!(serde_json::json!(url), shown);
            assert_eq!(url.expose(), whole);
            assert_eq!(url.has_secret(), whole != shown);
        }
    }
}
