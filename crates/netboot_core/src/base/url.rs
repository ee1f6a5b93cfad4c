//! URLs that this tool requests and that may contain a password or a token.
//!
//! [`Url`] displays itself without them, so messages, records and events cannot leak them.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str};
use serde::{Serialize, Serializer};

use crate::printable::single_line;

/// Characters to percent-encode in a URL component: all except the unreserved characters of RFC 3986.
pub const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The URL of an input, or a local path in its place, exactly as given.
///
/// `Display`, `Debug` and `Serialize` omit the user, the password, the content of the query, and the fragment:
/// `https://me:secret@host/file?token=abc` is shown as `https://host/file?...`. If the spelling does not distinguish a
/// password from a path, `…@` replaces everything up to the last `@`. Only [`Url::expose`] returns the full text.
#[derive(Clone, PartialEq, Eq)]
pub struct Url(String);

impl Url {
    /// Returns the full text. Use it only for requests, never for anything that is displayed or stored.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Url {
    /// Checks whether the URL contains anything that is not shown.
    #[must_use]
    pub fn has_secret(&self) -> bool {
        self.without_secrets() != self.0
    }

    fn without_secrets(&self) -> String {
        let Parts { start, hidden, address, query, .. } = parts(&self.0);
        let mark = if hidden == Hidden::Guessed { "…@" } else { "" };
        format!("{start}{mark}{address}{}", if query.starts_with('?') { "?..." } else { "" })
    }

    /// Checks whether the URL has an `@` where a path or a query would be, so that the text before it may be a
    /// password.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        parts(&self.0).hidden == Hidden::Guessed
    }

    /// Describes what is wrong with the beginning of a URL that is meant to have the scheme `https`, `http` or `file`.
    #[must_use]
    pub fn misspelled(&self) -> Option<String> {
        let name = ["https", "http", "file"].into_iter().find(|name| self.0.to_ascii_lowercase().starts_with(name))?;
        let rest = &self.0[name.len()..];
        let signs = &rest[..rest.find(|c| !matches!(c, ':' | '/' | '\\')).unwrap_or(rest.len())];
        let is_meant = signs.starts_with(':') || signs.starts_with("//");
        let is_right = signs == "://" || name == "file" && signs == ":///";
        (is_meant && !is_right).then(|| format!("found `{name}{signs}`, wanted `{name}://`"))
    }

    /// Hides the secrets of this URL in `text`, which another program wrote about it.
    #[must_use]
    pub fn hide_in(&self, text: &str) -> String {
        let Parts { credentials, query, .. } = parts(&self.0);
        let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
        // As the header of a request encodes them.
        let both: Vec<u8> = percent_decode_str(user).chain(*b":").chain(percent_decode_str(password)).collect();
        let header = if credentials.is_empty() { String::new() } else { BASE64_STANDARD.encode(both) };
        let [decoded, decoded_password] =
            [credentials, password].map(|text| percent_decode_str(text).decode_utf8_lossy().into_owned());
        let secrets = [&*header, credentials, &decoded, password, &decoded_password].map(|secret| (secret, "…"));
        let secrets = secrets.into_iter().chain([(query, "?...")]).filter(|(secret, _)| !secret.is_empty());
        secrets.fold(text.to_owned(), |text, (secret, mark)| text.replace(secret, mark))
    }

    /// Returns this URL with `path`, which must begin with a slash, appended to its path. A query stays at the end.
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

/// Shows the URL without its secrets on one line, even if a pins file or a server supplied one with line breaks.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&single_line(&self.without_secrets()))
    }
}

/// Replaces the user and the password in the URL `text` with `…`, for messages about its spelling.
#[must_use]
pub fn without_credentials(text: &str) -> String {
    let Parts { start, hidden, address, query, .. } = parts(text);
    let mark = if hidden == Hidden::Nothing { "" } else { "…@" };
    format!("{start}{mark}{address}{query}")
}

/// Replaces the user and the password of each URL in `text` with `…`.
#[must_use]
pub fn without_credentials_in(text: &str) -> String {
    const MARK: &str = "//";
    // Most texts have no credentials, and one can be as long as a script.
    if !text.contains('@') {
        return text.to_owned();
    }
    let ends = |c: char| c.is_whitespace() || c == '`' || c == '"';
    let hide = |word: &str| {
        let is_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.:".contains(c);
        let mark = word.find(MARK).filter(|_| word.contains('@'))?;
        let begin = word[..mark].trim_end_matches(is_scheme).len();
        Some(format!("{}{}", &word[..begin], without_credentials(&word[begin..])))
    };
    text.split_inclusive(ends).map(|word| hide(word).unwrap_or_else(|| word.to_owned())).collect()
}

/// The parts of a URL, whether or not it is spelled correctly.
struct Parts<'t> {
    /// Scheme and slashes, as in `http://`.
    start: &'t str,
    /// User and password.
    credentials: &'t str,
    hidden: Hidden,
    /// Server and path.
    address: &'t str,
    /// Query and fragment, which are not shown.
    query: &'t str,
}

/// The reason for hiding the text before an `@`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hidden {
    Nothing,
    /// A user, with or without a password.
    User,
    /// Possibly a password that is not percent-encoded.
    Guessed,
}

fn parts(text: &str) -> Parts<'_> {
    let (start, rest) = text.split_at(scheme_length(text));
    let end = rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len());
    let authority = &rest[..end];
    let is_local = start.is_empty() || start.starts_with("file:");
    // `user:pass%40host`, which is encoded once too often, is not a host and a port.
    let has_colon = authority.contains(':') || has_encoded_colon(authority);
    let is_user = has_encoded_colon(authority) || !is_host(authority);
    let encoded = rest.rfind("%40").filter(|at| *at < end && has_colon && is_user);
    let at = rest.rfind('@').map(|at| (at, at + 1)).or(encoded.map(|at| (at, at + 3)));
    let (hidden, cut) = match at {
        None => (Hidden::Nothing, (0, 0)),
        // Without a scheme, a host has a colon before the first slash; in a path, an `@` is part of a name.
        Some((at, _)) if at < end && start.is_empty() && !has_colon => (Hidden::Nothing, (0, 0)),
        Some((at, next)) if at < end => (Hidden::User, (at, next)),
        Some((at, _)) if is_part_of_path(rest, at, is_local) => (Hidden::Nothing, (0, 0)),
        Some(cut) => (Hidden::Guessed, cut),
    };
    let after = &rest[cut.1..];
    let is_address = !start.is_empty() || has_colon;
    let query = match after.find(['?', '#']) {
        // A `?` in a path is part of a name too, unless a value follows it.
        Some(at) if is_address || after[at..].contains('=') => at,
        _ => after.len(),
    };
    Parts { start, credentials: &rest[..cut.0], hidden, address: &after[..query], query: &after[query..] }
}

fn has_encoded_colon(text: &str) -> bool {
    text.contains("%3A") || text.contains("%3a")
}

/// Checks whether the `@` at offset `at` in `rest`, a URL without its scheme, is part of a path and no password
/// precedes it.
fn is_part_of_path(rest: &str, at: usize, is_local: bool) -> bool {
    let end = rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len());
    let authority = &rest[..end];
    if authority.contains('@') {
        return false;
    }
    if is_local || authority.is_empty() {
        return !rest[..at].contains(':');
    }
    let (host, port) = if authority.starts_with('[') {
        authority.split_at(authority.find(']').map_or(authority.len(), |at| at + 1))
    } else {
        authority.split_at(authority.find(':').unwrap_or(authority.len()))
    };
    // These are never user names.
    let is_number = host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok() || host == "localhost";
    if is_number && is_host(authority) {
        return true;
    }
    port.is_empty() && (host.contains('.') || rest[end..at].contains('?'))
}

/// Returns how many bytes at the beginning of `text` say how to reach a server: a scheme and any number of slashes, or
/// only one of the two.
fn scheme_length(text: &str) -> usize {
    let is_slash = |c: char| matches!(c, '/' | '\\');
    let name =
        text.find(|c: char| !c.is_ascii_alphanumeric() && !"+-.".contains(c) && !c.is_whitespace() && !c.is_control());
    let (name, rest) = text.split_at(name.unwrap_or(text.len()));
    let colon = usize::from(rest.starts_with(':'));
    let slashes = rest[colon..].chars().take_while(|c| is_slash(*c)).count();
    if name.eq_ignore_ascii_case("file") && colon == 1 {
        // A third slash begins the path of the file.
        return name.len() + colon + if slashes >= 2 { 2 } else { 0 };
    }
    // `http//host` and `//host` are incomplete URLs; `/srv` and `name/file` are paths.
    let known = ["http", "https", "git", "ssh", "ftp", "sftp"].iter().any(|known| name.eq_ignore_ascii_case(known));
    // Lenient HTTP clients accept `http:host` as a URL.
    let is_web = ["http", "https"].iter().any(|web| name.trim_start().eq_ignore_ascii_case(web));
    let is_scheme =
        (colon == 1 && (slashes >= 1 || is_web)) || (colon == 0 && slashes >= 2 && (known || name.is_empty()));
    if is_scheme { name.len() + colon + slashes } else { 0 }
}

/// Checks whether `authority` is a host, with or without a port.
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
    use netboot_fixtures::property::{one_in, text};
    use proptest::prelude::*;

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
            ("http:///user:secret@host/a", "http:///…@host/a"),
            ("http://user:secret@host/a b", "http://…@host/a b"),
        ] {
            assert_eq!(without_credentials(text), shown);
        }
    }

    #[test]
    fn what_others_write_about_an_address_has_no_secrets_of_it() {
        let hidden = |url: &str, text: &str| Url::from(url).hide_in(text);
        assert_eq!(hidden("file://u:pw@h/x", "no path 'u:pw@h/x'"), "no path '…@h/x'");
        assert_eq!(hidden("http://h/x?t=1", "failed: h/x?t=1"), "failed: h/x?...");
        assert_eq!(hidden("u:pw@h/x", "wanted `sftp://u/pw@h/x`"), "wanted `sftp://u/…@h/x`");
        assert_eq!(hidden("http://h/x", "failed: h/x"), "failed: h/x");
        assert_eq!(hidden("http://u:pw@h", "HTTP/1.0 407 no u:pw, Basic dTpwdw=="), "HTTP/1.0 407 no …, Basic …");
        assert_eq!(hidden("http:u:pw@h", "no pw, Basic dTpwdw=="), "no …, Basic …");
        // Secrets in their decoded form, and a user without a password.
        assert_eq!(
            hidden("http://u:p%40w@h", "no `p@w`, `u:p@w`, `u:p%40w`, Basic dTpwQHc="),
            "no `…`, `…`, `…`, Basic …"
        );
        assert_eq!(hidden("http://token@h", "no Basic dG9rZW46"), "no Basic …");
    }

    #[test]
    fn how_an_address_of_the_web_begins() {
        for (text, found) in
            [("http:/h", "http:/"), ("https//h", "https//"), ("http:h", "http:"), ("HTTP:///h", "http:///")]
        {
            let wanted = if found.starts_with("https") { "https://" } else { "http://" };
            assert_eq!(Url::from(text).misspelled(), Some(format!("found `{found}`, wanted `{wanted}`")));
        }
        assert_eq!(Url::from("file:/x").misspelled(), Some("found `file:/`, wanted `file://`".into()));
        for text in [
            "file:///x",
            "file://x",
            "files",
            "http://h",
            "HTTPS://h",
            "http",
            "https-mirror/x",
            "http/x",
            "/srv/http:/x",
            "git@http:x",
            "",
        ] {
            assert_eq!(Url::from(text).misspelled(), None, "{text}");
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
            // Passwords that are not percent-encoded.
            ("http://user:sec@ret@host/f", "http://host/f"),
            ("http://user:sec/ret@host/f", "http://…@host/f"),
            ("http://user:sec?ret@host/f", "http://…@host/f"),
            ("http://user:sec#ret@host/f", "http://…@host/f"),
            ("http://user:12345/secret@host/f", "http://…@host/f"),
            ("http://user:se@cr/et@host/f", "http://…@host/f"),
            ("http://user:12?secret@host", "http://…@host"),
            ("http://user/secret@host/f", "http://…@host/f"),
            ("http://user:secret%40host/f", "http://host/f"),
            ("user:12345/secret@host", "…@host"),
            ("https://user%3Asecret%40host/f", "https://host/f"),
            ("user%3asecret@host/f", "host/f"),
            ("https%3A%2F%2Fuser%3Asecret%40host/f", "host/f"),
            ("sftp//user:secret@host/f", "sftp//host/f"),
            // URLs with a malformed beginning.
            ("http:/user:secret@host/f", "http:/host/f"),
            ("HTTP:/user:secret@host/f", "HTTP:/host/f"),
            ("http:user:secret@host/f", "http:host/f"),
            ("http:\\\\user:secret@host/f", "http:\\\\host/f"),
            ("http//user:secret@host/f", "http//host/f"),
            ("http:/user:12/secret@host/f", "http:/…@host/f"),
            (" http://user:secret@host/f", " http://host/f"),
            ("//user:secret@host/f", "//host/f"),
            ("/user:secret@host/f", "…@host/f"),
            ("user:secret@host/", "host/"),
            ("user:secret://x@host/", "…@host/"),
            ("file://user:secret@host/f", "file://host/f"),
            ("file:///user:secret@host/f", "file://…@host/f"),
            ("file:user:secret@host/f", "file:host/f"),
            ("user:secret@proxy:3128", "proxy:3128"),
            ("git@host:ipxe.git", "host:ipxe.git"),
            // Tokens.
            ("https://host/f?token=secret&x=1", "https://host/f?..."),
            ("https://host/f?X-Amz-Signature=secret#secret", "https://host/f?..."),
            ("https://host/f#secret", "https://host/f"),
            ("https://host?token=secret", "https://host?..."),
            ("host/f?token=secret", "host/f?..."),
            ("http:/host/f?token=secret", "http:/host/f?..."),
            ("http://host/f?mail=secret@host", "http://host/f?..."),
            ("http:///user:secret@host/f", "http:///host/f"),
            // No secrets.
            ("http://host.example/user@example.org/f", "http://host.example/user@example.org/f"),
            ("http://[2001:db8::1]/a@b", "http://[2001:db8::1]/a@b"),
            ("http://[2001:db8::1]:8080/a@b", "http://[2001:db8::1]:8080/a@b"),
            ("http://192.0.2.1:8080/a@b", "http://192.0.2.1:8080/a@b"),
            ("http://localhost:8080/a@b", "http://localhost:8080/a@b"),
            ("http:///a", "http:///a"),
            ("http:/host/f", "http:/host/f"),
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

    proptest! {
        #![proptest_config(one_in(1))]

        #[test]
        fn no_part_of_user_and_password_is_shown(
            (user, password) in ("[a-z]{0,4}U[0-9]{4}", "P[0-9]{5}"),
            noise in prop::collection::vec(("[:@/?#%&=!.+ é\\\\]|%40|%3a|%2F|localhost", any::<bool>()), 0..3),
            start in prop::sample::select(vec!["http://", "HTTPS://", "git://", "file://", "sftp://", "http:/", "http//", "//", "http:\\\\", "http:", ""]),
            path in "(/[a-z]{1,3}){0,3}(\\?a=[a-z]{1,3})?",
        ) {
            let (before, after): (Vec<_>, Vec<_>) = noise.into_iter().partition(|(_, before)| *before);
            let text = |noise: Vec<(String, bool)>| noise.into_iter().map(|(text, _)| text).collect::<String>();
            // A user that contains a slash is a path.
            let (before, after) = (text(before).replace(['/', '\\', '?', '#'], ""), text(after));
            let whole = format!("{start}{user}:{before}{password}{after}@host.example{path}");
            let url = Url::from(&*whole);
            let shown = [url.to_string(), without_credentials(&whole), url.hide_in(&format!("{before}{password}{after}"))];
            for shown in shown {
                prop_assert!(!shown.contains(&password), "{} is shown as {}", whole, shown);
            }
            prop_assert!(!url.to_string().contains(&user), "{} is shown as {}", whole, url);
        }

        #[test]
        fn what_was_encoded_is_hidden_as_it_is_and_as_it_was(
            user in "[a-z]{3}",
            password in "[!-~é]{4,12}",
            upper in any::<bool>(),
            encode in prop::collection::vec(any::<bool>(), 13),
        ) {
            use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
            const SET: &AsciiSet =
                &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'/').add(b':').add(b'<').add(b'>').add(b'?').add(b'@').add(b'\\').add(b'`').add(b'[').add(b']');
            let digits = |byte: &u8| if upper { format!("%{byte:02X}") } else { format!("%{byte:02x}") };
            let encoded: String = password
                .chars()
                .zip(&encode)
                .map(|(c, all)| {
                    let least = utf8_percent_encode(c.encode_utf8(&mut [0; 4]), SET).to_string();
                    let bytes = c.to_string().into_bytes();
                    if *all || least.len() > 1 { bytes.iter().map(digits).collect() } else { least }
                })
                .collect();
            let url = Url::from(format!("http://{user}:{encoded}@host/f"));
            let header = BASE64_STANDARD.encode(format!("{user}:{password}"));
            for secret in [&encoded, &password, &header] {
                let shown = url.hide_in(&format!("<< {secret} >>"));
                prop_assert_eq!(shown, "<< … >>", "{:?}", secret);
            }
        }

        #[test]
        fn whatever_an_address_is_it_is_shown_on_one_line(text in text()) {
            let url = Url::from(&*text);
            prop_assert!(!url.to_string().contains(crate::printable::is_harmful));
            let _ = (url.misspelled(), url.is_ambiguous(), url.hide_in(&text), without_credentials_in(&text), url.join("/a"));
        }
    }
}
