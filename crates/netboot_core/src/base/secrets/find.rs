//! Detection of secrets in texts that are about to be published. Anyone who can fetch the scripts in loaders, boot
//! entries, configurations and source bundles can read them.
//!
//! Only unambiguous patterns are detected, so that the warnings are worth reading. This is not a repository scanner.

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use memchr::memmem;

use crate::base::der::{HEAD, is_private_key};
use crate::base::diagnostic::{Diagnostic, Location};

/// A secret in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// Line number, counted from 1.
    pub line: usize,
    /// Kind of secret.
    pub kind: SecretKind,
}

/// Kinds of secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretKind {
    /// A private key, which is never published.
    PrivateKey,
    /// An HTTP header that authorises its sender.
    Authorization,
    /// A password in a URL.
    Address,
    /// A token or a signature in the query of a URL.
    Token,
    /// A password in a setting.
    Password,
    /// An AWS access key.
    AwsKey,
    /// An access token of GitHub, GitLab or Slack.
    AccessToken,
}

impl SecretKind {
    /// Returns the name of the kind, with its article.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::PrivateKey => "a private key",
            Self::Authorization => "an `Authorization:` header",
            Self::Address => "an address with a password",
            Self::Token => "an address with a token or a signature",
            Self::Password => "a password",
            Self::AwsKey => "an access key of AWS",
            Self::AccessToken => "an access token",
        }
    }

    /// Returns the warning about a value at `location` that has such a secret and becomes a part of a script.
    #[must_use]
    pub fn warning(self, location: &Location) -> Diagnostic {
        self.published(location, "script")
    }

    fn published(self, location: &Location, what: &str) -> Diagnostic {
        location.finding(
            format!("{} gets published: anybody who can fetch the {what} can read it", self.words()),
            "remove it, and let the server tell machines apart by their addresses or certificates",
        )
    }
}

impl Secret {
    /// Returns the warning about publishing the secret in the file `name`.
    #[must_use]
    pub fn warning(&self, name: &str) -> Diagnostic {
        self.kind.published(&Location::line(name, self.line), "file")
    }
}

/// Beginning of `PuTTY` private keys.
const PUTTY: &str = "PuTTY-User-Key-File-";
/// Beginning of SSH2 private keys.
const SSH2: &str = "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY";

/// Beginning of age's private keys.
const AGE: &str = "AGE-SECRET-KEY-1";

/// Beginning of OpenSSH private keys, in base64.
const OPENSSH: &str = "b3BlbnNzaC1rZXktdjEA";

/// Beginnings of PEM that is encoded in base64 once more, at each of the three possible offsets in a group of digits.
/// Each begins a group.
const TWICE: [&str; 3] = ["LS0tLS1CRUdJTi", "LS0tQkVHSU4g", "LS0tLUJFR0lOI"];

/// Marks near secrets. Most texts contain none of them.
const MARKS: [&str; 44] = [
    "-----BEGIN ",
    PUTTY,
    SSH2,
    OPENSSH,
    TWICE[0],
    TWICE[1],
    TWICE[2],
    "://",
    "http:/",
    "https:/",
    "http//",
    "https//",
    " //",
    "uthorization",
    "UTHORIZATION",
    "assw",
    "ASSW",
    "assphrase",
    "ASSPHRASE",
    "ootpw",
    "OOTPW",
    "psk",
    "PSK",
    "/key",
    "oken=",
    "OKEN=",
    "--header",
    "AKIA",
    "ASIA",
    AGE,
    "rivateKey",
    "_access_key",
    "_ACCESS_KEY",
    "?",
    "&",
    "@",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "xox",
];
/// Query parameters that grant access to anyone who knows them, as in signed URLs of object stores.
const TOKENS: [&str; 9] = [
    "token",
    "access_token",
    "auth_token",
    "private_token",
    "api_key",
    "sig",
    "signature",
    "x-amz-signature",
    "x-goog-signature",
];

/// Returns all secrets in `content`, in the order of their lines, each kind once per line.
#[must_use]
pub fn find(content: &[u8]) -> Vec<Secret> {
    if is_private_key(content) {
        return vec![Secret { line: 1, kind: SecretKind::PrivateKey }];
    }
    if memchr::memchr(0, content).is_some() {
        // UTF-16, as some shells write it: its letters are ASCII letters between zero bytes.
        return find(&content.iter().copied().filter(|byte| *byte != 0).collect::<Vec<u8>>());
    }
    let key = |line| Secret { line, kind: SecretKind::PrivateKey };
    let bare = bare_keys(content, b'M', is_key_in_base64).into_iter().chain(bare_keys(content, b'3', is_key_in_hex));
    let mut found: Vec<Secret> = bare.map(key).collect();
    // This must be fast: there may be a hundred thousand texts.
    for mark in MARKS {
        let is_of_address = mark.ends_with('/') || mark.len() == 1;
        let (mut line, mut start, mut end, mut seen) = (0, 0, 0, 0);
        for at in memmem::find_iter(content, mark) {
            if line == 0 || at >= end {
                line += usize::from(line == 0) + memchr::memchr_iter(b'\n', &content[start..at]).count();
                start = content[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
                end = memchr::memchr(b'\n', &content[at..]).map_or(content.len(), |length| at + length);
                seen = 0;
            }
            seen += 1;
            if seen > if is_of_address { MAX_ADDRESSES } else { MAX_MARKS } {
                continue;
            }
            let before = &content[start.max(at.saturating_sub(MAX_BEFORE))..at];
            let after = &content[at..end.min(at + MAX_AFTER)];
            // A URL without an `@` has no credentials.
            if mark.ends_with('/') && memchr::memchr(b'@', after).is_none() {
                continue;
            }
            if let Some(kind) = kind(&String::from_utf8_lossy(before), &String::from_utf8_lossy(after), mark) {
                found.push(Secret { line, kind });
            }
        }
    }
    found.sort_by_key(|secret| (secret.line, secret.kind));
    // A key and its label in the line above are one secret.
    let is_key = |secret: &Secret| secret.kind == SecretKind::PrivateKey;
    found.dedup_by(|next, last| next == last || (is_key(next) && is_key(last) && next.line == last.line + 1));
    found
}

/// Number of bytes of a line that are examined before a mark; [`MAX_AFTER`] is the number after it.
const MAX_BEFORE: usize = 128;
const MAX_AFTER: usize = 512;
/// Maximum number of URLs in a line that are examined for each way to spell them.
const MAX_ADDRESSES: usize = 64;
/// Maximum number of other marks of a kind in a line that are examined. Data on one line can have half a million.
const MAX_MARKS: usize = 10_000;

/// Returns the kind of secret in a line that consists of `before` and `after`, which begins with `mark`.
fn kind(before: &str, after: &str, mark: &str) -> Option<SecretKind> {
    let rest = &after[mark.len()..];
    let is_start = before.chars().next_back().is_none_or(|c| !c.is_ascii_alphanumeric());
    let word = |is_part: fn(&u8) -> bool| rest.bytes().take_while(is_part).count();
    match mark {
        PUTTY | SSH2 | OPENSSH | AGE => Some(SecretKind::PrivateKey),
        // As in the configuration of WireGuard: 32 bytes in base64.
        "rivateKey" => {
            let value = rest.trim_start().strip_prefix(['=', ':'])?.trim_matches([' ', '\t', '"', '\'', '\r']);
            let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
            (value.len() == 44 && value.bytes().all(is_digit)).then_some(SecretKind::PrivateKey)
        }
        "-----BEGIN " => has_key_label(rest).then_some(SecretKind::PrivateKey),
        "?" | "&" => {
            let (name, value) = rest.trim_start_matches("amp;").split_once('=')?;
            let value = value.split(['&', '#', '"', '\'', ' ', '\t']).next()?;
            let known = name.len() < 20 && TOKENS.contains(&name.to_ascii_lowercase().as_str());
            (known && is_literal(value)).then_some(SecretKind::Token)
        }
        "@" => has_password_without_scheme(before, rest).then_some(SecretKind::Address),
        _ if mark.ends_with('/') => in_address(rest),
        "AKIA" | "ASIA" => {
            let length = word(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
            (length == 16 && is_start).then_some(SecretKind::AwsKey)
        }
        // It is given in the syntax of a shell, of INI or of YAML, and always has 40 digits of base64.
        "_access_key" | "_ACCESS_KEY" => {
            let value = rest.trim_start_matches(['"', ' ', '\t', '=', ':', '\'']);
            let length = value.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(byte)).count();
            (length == 40 && value.len() < rest.len()).then_some(SecretKind::AwsKey)
        }
        _ if TWICE.contains(&mark) => is_key_twice_in_base64(after).then_some(SecretKind::PrivateKey),
        "uthorization" | "UTHORIZATION" => {
            // Text that speaks of the header has it in backticks.
            let value = rest.trim_start().strip_prefix(':')?;
            (!value.starts_with('`') && is_credential(value)).then_some(SecretKind::Authorization)
        }
        "--header" => in_header(rest),
        "assw" | "ASSW" | "assphrase" | "ASSPHRASE" | "ootpw" | "OOTPW" | "psk" | "PSK" | "/key" => {
            is_password_set(before, after, mark).then_some(SecretKind::Password)
        }
        "oken=" | "OKEN=" => is_token_set(before, rest).then_some(SecretKind::AccessToken),
        // In a Slack token, a letter for its kind follows.
        "xox" => {
            let is_kind = rest.as_bytes().get(1) == Some(&b'-');
            let length = word(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
            (is_kind && length >= 12 && is_start).then_some(SecretKind::AccessToken)
        }
        _ => {
            let length = word(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(byte));
            (length >= 20 && is_start).then_some(SecretKind::AccessToken)
        }
    }
}

/// Checks whether the setting whose name contains `mark`, at the beginning of `after`, is given a password.
fn is_password_set(before: &str, after: &str, mark: &str) -> bool {
    let rest = after[mark.len()..].trim_start_matches(|c: char| c.is_ascii_alphabetic());
    let name = after[..after.len() - rest.len()].to_ascii_lowercase();
    let value = match name.as_str() {
        "assword" | "asswd" => {
            value(before, rest).or_else(|| value_of_login(before, rest)).or_else(|| value_of_option(before, rest))
        }
        "/key" => value_of_command(before, rest),
        // As in kickstart files.
        "ootpw" if before.trim() == "r" && rest.starts_with([' ', '\t']) => {
            rest.split_ascii_whitespace().find(|word| !word.starts_with("--"))
        }
        // In programs, `psk = ` has many other meanings.
        "assphrase" | "ootpw" | "psk" => rest.strip_prefix('=').or_else(|| value_of_command(before, rest)),
        _ => None,
    };
    let words = before.to_ascii_lowercase();
    let is_question = ["nop", "no-p", "no_p", "askp", "ask-p", "ask_p"]
        .iter()
        .any(|end| name.starts_with('a') && words.ends_with(end));
    value.is_some_and(|value| is_literal(plain(value)) && !is_question && !is_switch(plain(value)))
}

/// Checks whether `value` is a token in a setting, as in `k3s.token=x`; `before` contains the beginning of the name.
/// Programs assign variables in the same way, but those have no digits.
fn is_token_set(before: &str, value: &str) -> bool {
    let address = before.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || "._-".contains(c));
    let value = value.trim_start_matches(['"', '\'']);
    let rest = value.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || "._:+/=-".contains(c));
    let token = &value[..value.len() - rest.len()];
    let is_random = token.len() >= 8 && token.contains(|c: char| c.is_ascii_digit());
    let is_whole = rest.is_empty() || rest.starts_with([' ', '\t', '\r', '"', '\'']);
    is_random && is_whole && !address.ends_with(['?', '&'])
}

/// Checks whether `value` begins with a switch value, such as `yes` or `off`.
fn is_switch(value: &str) -> bool {
    let word = value.split([' ', '\t', '"', '\'', ';', ',', '&', '|']).next().unwrap_or_default();
    ["0", "1", "y", "n", "m", "yes", "no", "true", "false", "on", "off", "none"]
        .iter()
        .any(|switch| word.eq_ignore_ascii_case(switch))
}

/// Returns `value` without blanks and quotes around it.
fn plain(value: &str) -> &str {
    value.trim().trim_matches(['"', '\''])
}

/// Returns the kind of secret in `rest`, which follows `--header`: a name and a value, as iPXE and curl accept them.
fn in_header(rest: &str) -> Option<SecretKind> {
    let (name, value) = rest.strip_prefix([' ', '\t', '='])?.trim_start().split_once([' ', '\t'])?;
    let name = name.trim_matches(['"', '\'', ':']).to_ascii_lowercase();
    let kind = match name.as_str() {
        "authorization" | "proxy-authorization" => SecretKind::Authorization,
        _ if name.ends_with("-token") || name.ends_with("-api-key") => SecretKind::AccessToken,
        _ => return None,
    };
    is_credential(value).then_some(kind)
}

/// Checks whether the header value `value` grants access, with or without an authentication scheme.
fn is_credential(value: &str) -> bool {
    let value = plain(value);
    let (scheme, rest) = value.split_once([' ', '\t']).unwrap_or(("", value));
    let is_scheme = ["basic", "bearer", "token"].contains(&scheme.to_ascii_lowercase().as_str());
    is_literal(if is_scheme { plain(rest) } else { value })
}

/// Returns the value of a setting whose name ends between `before` and `rest`, as in `password=x`, `rootpasswd = "x"`,
/// and iPXE's `set net0/password x` and `set password:string x`, also after another command.
fn value<'t>(before: &str, rest: &'t str) -> Option<&'t str> {
    if let Some(value) = rest.trim_start().strip_prefix('=') {
        return Some(value);
    }
    value_of_command(before, rest)
}

/// Returns the password behind its name in a line of `.netrc`, as in `machine h login u password x`.
fn value_of_login<'t>(before: &str, rest: &'t str) -> Option<&'t str> {
    let mut words = before.split_ascii_whitespace().rev();
    let is_login = words.next() == Some("p") && words.nth(1) == Some("login");
    rest.strip_prefix([' ', '\t']).filter(|_| is_login)
}

/// Returns the word behind an option of a command, as in `--password x`.
fn value_of_option<'t>(before: &str, rest: &'t str) -> Option<&'t str> {
    let is_option = before.ends_with(" --p") || before == "--p";
    rest.strip_prefix([' ', '\t']).filter(|value| is_option && !value.trim_start().starts_with('-'))
}

/// Returns the value that iPXE's `set` or `param` assigns to the name that ends between `before` and `rest`.
fn value_of_command<'t>(before: &str, rest: &'t str) -> Option<&'t str> {
    let command = before.rsplit(['&', '|']).next()?.trim_start();
    let (verb, name) = command.split_once([' ', '\t'])?;
    let name = name.trim_start();
    let name = name.strip_prefix("-- ").unwrap_or(name).trim_start();
    let is_name = verb == "set" && !name.contains([' ', '\t']);
    if !is_name && verb != "param" {
        return None;
    }
    let rest =
        rest.strip_prefix(':').map_or(rest, |typed| typed.trim_start_matches(|c: char| c.is_ascii_alphanumeric()));
    rest.starts_with([' ', '\t']).then_some(rest)
}

/// Returns the kind of secret in `rest`, the part of a URL after the slashes at its beginning.
fn in_address(rest: &str) -> Option<SecretKind> {
    let end = |signs: &[char]| rest.find(signs).unwrap_or(rest.len());
    let word = &rest[..end(&['"', '\'', ' ', '\t'])];
    let server = &word[..outside_settings(word, &['/', '?', '#']).unwrap_or(word.len())];
    if let Some((user, _)) = server.rsplit_once('@') {
        let (user, password) = outside_settings(user, &[':']).map_or((user, ""), |at| (&user[..at], &user[at + 1..]));
        let token = is_token(user).then_some(SecretKind::Token);
        return if is_literal(password) { Some(SecretKind::Address) } else { token };
    }
    // Only its author reads `user:12345/word@host` as a password: it parses as a host and a port. Folder names can
    // begin with an `@`.
    let (user, port) = server.split_once(':')?;
    let is_user = !user.is_empty() && !user.contains(['[', '$', '{', '<']);
    let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let rest = &word[server.len()..];
    let is_cut = if is_number {
        let path = rest.split(['?', '#']).next().unwrap_or_default();
        let is_name = user != "localhost" && !user.contains('.');
        is_name && path.rfind('@').is_some_and(|at| !path[..at].ends_with('/') && path[at..].contains('.'))
    } else {
        // This is not a valid port.
        is_literal(port) && !port.contains(['$', '{', '<']) && rest.contains('@')
    };
    (is_user && is_cut).then_some(SecretKind::Address)
}

/// Returns the offset of the first of `signs` in `text` that is outside any iPXE setting, as in `${setting:type}`.
fn outside_settings(text: &str, signs: &[char]) -> Option<usize> {
    let (mut depth, mut last) = (0_usize, ' ');
    text.char_indices().find_map(|(at, c)| {
        depth += usize::from(c == '{' && last == '$');
        let found = depth == 0 && signs.contains(&c);
        depth = depth.saturating_sub(usize::from(c == '}'));
        last = c;
        found.then_some(at)
    })
}

/// Checks whether `user`, which has no password, is a token.
fn is_token(user: &str) -> bool {
    let is_plain = user.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    let is_random = user.len() >= 20 && user.contains(|c: char| c.is_ascii_digit());
    is_plain
        && (is_random
            || ["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-"]
                .iter()
                .any(|shape| user.starts_with(shape)))
}

/// Checks whether `before` ends with a user and a password, as in `user:password@host/path` or in dracut's
/// `iscsi:user:password@host`; `after` follows the `@`.
fn has_password_without_scheme(before: &str, after: &str) -> bool {
    let host = after.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || ".-[]:".contains(c));
    if host.len() == after.len() || !(host.starts_with('/') || before.contains("iscsi:")) {
        return false;
    }
    let word = before.rsplit([' ', '\t', '"', '\'']).next().unwrap_or_default();
    let Some((user, password)) = word.split_once(':').filter(|_| !word.contains('/')) else { return false };
    let is_named = host.starts_with('/') || user.ends_with("iscsi");
    let is_user =
        user.contains(|c: char| c.is_ascii_alphabetic()) && !["mailto", "sip", "sips", "xmpp"].contains(&user);
    is_named && is_user && is_literal(user) && is_literal(password)
}

/// Returns the lines where private keys in base64 or hexadecimal digits begin, regardless of the text around them: also
/// in a PEM block with another label. All begin with a DER sequence, whose first digit is `first`.
fn bare_keys(content: &[u8], first: u8, is_key: fn(&[u8]) -> bool) -> Vec<usize> {
    let (mut found, mut line, mut counted) = (Vec::new(), 1, 0);
    for at in memchr::memchr_iter(first, content) {
        let before = at.checked_sub(1).map(|before| content[before]);
        if before.is_some_and(|before| before.is_ascii_alphanumeric()) || !is_key(&content[at..]) {
            continue;
        }
        line += memchr::memchr_iter(b'\n', &content[counted..at]).count();
        counted = at;
        found.push(line);
    }
    found
}

/// Checks whether `text` begins with a private key in hexadecimal digits, as in iPXE's `hex` and `hexraw` and
/// elsewhere: with or without a `:`, a `-` or space between bytes, on one line or several.
fn is_key_in_hex(text: &[u8]) -> bool {
    if !text.starts_with(b"30") {
        return false;
    }
    let (mut der, mut high) = (Vec::with_capacity(HEAD), None);
    for &byte in &text[..text.len().min(4 * HEAD)] {
        let Some(digit) = char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()) else {
            if byte.is_ascii_whitespace() || b":-\\".contains(&byte) {
                continue;
            }
            break;
        };
        match high.take() {
            None => high = Some(digit << 4),
            Some(high) => der.push(high | digit),
        }
        // Every key begins with a version or an algorithm. Most digits belong to something else.
        if der.len() == 13 && high.is_none() && !der.iter().any(|byte| matches!(byte, 2 | 6)) {
            return false;
        }
        if der.len() == HEAD {
            break;
        }
    }
    is_private_key(&der)
}

/// Checks whether `text`, which begins with one of [`TWICE`], is a PEM private key in base64.
fn is_key_twice_in_base64(text: &str) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/".contains(byte);
    let length = text.bytes().take_while(is_digit).count() / 4 * 4;
    let Ok(pem) = BASE64_STANDARD_NO_PAD.decode(&text[..length]) else { return false };
    let announced = String::from_utf8_lossy(&pem).split_once("BEGIN ").is_some_and(|(_, rest)| has_key_label(rest));
    announced || !bare_keys(&pem, b'M', is_key_in_base64).is_empty()
}

/// Checks whether `rest`, which follows `-----BEGIN `, announces a private key.
fn has_key_label(rest: &str) -> bool {
    let label = rest.split("-----").next().unwrap_or_default();
    label.ends_with("PRIVATE KEY") || label.ends_with("PRIVATE KEY BLOCK")
}

/// Checks whether `text` begins with a private key in base64. It may be broken into lines, indented, quoted and
/// escaped.
fn is_key_in_base64(text: &[u8]) -> bool {
    // `30 00` to `30 84`: the first two bytes of every sequence.
    if !matches!(text, [b'M', b'A'..=b'H', ..] | [b'M', b'I', b'A'..=b'T', ..]) {
        return false;
    }
    let mut digits = Vec::with_capacity(HEAD / 3 * 4);
    let mut escaped = false;
    for &byte in text.iter().take(2 * HEAD) {
        match byte {
            b'n' | b'r' if escaped => {}
            b'+' | b'/' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => digits.push(byte),
            b'\\' | b'"' | b'\'' | b'#' => {}
            _ if byte.is_ascii_whitespace() => {}
            _ => break,
        }
        escaped = byte == b'\\';
        if digits.len() == HEAD / 3 * 4 {
            break;
        }
    }
    // An incomplete group of digits is not decoded.
    digits.truncate(digits.len() / 4 * 4);
    BASE64_STANDARD_NO_PAD.decode(digits).is_ok_and(|der| is_private_key(&der))
}

/// Checks whether `value` is an actual value and not a placeholder.
fn is_literal(value: &str) -> bool {
    !value.is_empty() && !value.starts_with(['$', '{', '<', '*', '%', '&', '|', '#', '…']) && value != "..."
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<(usize, SecretKind)> {
        find(text.as_bytes()).into_iter().map(|secret| (secret.line, secret.kind)).collect()
    }

    #[test]
    fn a_file_s_name_forges_no_warning() {
        let warning = Secret { line: 3, kind: SecretKind::Authorization }.warning("x\nhint: run curl\u{202e}.ipxe");
        let shown = warning.to_string();
        assert!(shown.starts_with("x\\nhint: run curl\\u{202e}.ipxe:3: "), "{shown}");
        assert_eq!(shown.lines().count(), 1);
    }

    #[test]
    fn secrets_are_found_by_line() {
        for label in ["", "RSA ", "EC ", "ENCRYPTED ", "OPENSSH ", "DSA "] {
            assert_eq!(kinds(&format!("x\n-----BEGIN {label}PRIVATE KEY-----\nMC4")), [(2, SecretKind::PrivateKey)]);
        }
        assert_eq!(kinds("  # -----BEGIN PGP PRIVATE KEY BLOCK-----"), [(1, SecretKind::PrivateKey)]);
        assert_eq!(
            kinds(
                "chain http://boot:s3cret@192.0.2.1/a\nparam --header Authorization: Bearer x\nset net0/password hunter2\n"
            ),
            [(1, SecretKind::Address), (2, SecretKind::Authorization), (3, SecretKind::Password)]
        );
        assert_eq!(
            kinds("root-passwd = \"x\"\n\nAPPEND ks.PASSWORD=x quiet\n"),
            [(1, SecretKind::Password), (3, SecretKind::Password)]
        );
        assert_eq!(kinds("PuTTY-User-Key-File-3: ssh-ed25519\n"), [(1, SecretKind::PrivateKey)]);
        assert_eq!(kinds("\n---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\n"), [(2, SecretKind::PrivateKey)]);
        let wide: Vec<u8> = "x\n-----BEGIN PRIVATE KEY-----\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let found = find(&wide);
        assert_eq!(found, [Secret { line: 2, kind: SecretKind::PrivateKey }]);
        let key = ["AKIA", "ABCDEFGHIJ234567"].concat();
        assert_eq!(kinds(&format!("a={key}")), [(1, SecretKind::AwsKey)]);
        let key = ["aGVsbG8gd29ybGQgaGVsbG8gd29ybG", "QgaGVsbG8gd28="].concat();
        assert_eq!(kinds(&format!("[Interface]\nPrivateKey = {key}\n")), [(2, SecretKind::PrivateKey)]);
        assert_eq!(kinds("\nAGE-SECRET-KEY-1QQPQ\n"), [(2, SecretKind::PrivateKey)]);
        for line in ["machine h login u password S3cret", "rootpw --plaintext S3cret", "rootpw S3cret"] {
            assert_eq!(kinds(&format!("\n{line}\n")), [(2, SecretKind::Password)], "{line}");
        }
        assert_eq!(kinds("rootpw --lock\nlet privateKey = read();\nlogin with a password of yours\n"), []);
        let key = ["0123456789/bcdefghij", "0123456789+bcdefghij"].concat();
        for line in ["AWS_SECRET_ACCESS_KEY=", "aws_secret_access_key = ", "export AWS_SECRET_ACCESS_KEY='"] {
            assert_eq!(kinds(&format!("x\n{line}{key}\n")), [(2, SecretKind::AwsKey)], "{line}");
            assert_eq!(kinds(&format!("x\n{line}$OTHER\n")), [], "{line}");
        }
        for token in ["ghp_", "ghs_", "github_pat_", "glpat-", "xoxb-"] {
            let token = [token, "0123456789", "abcdefghij"].concat();
            assert_eq!(kinds(&format!("\n# {token}")), [(2, SecretKind::AccessToken)], "{token}");
        }
        for command in [
            "dhcp && set reverse-password x",
            "dhcp ||set net0/password x",
            "\tset password:string x",
            "param password x",
            "set -- password x",
            "set -- net0/password:string x",
            "set net0/key x",
            "set net0/key:hex 0102",
            "set passphrase x",
            "APPEND rootpw=x quiet",
            "ks.passphrase=x",
            "  psk=\"x\"",
            "wifi.psk=x",
        ] {
            assert_eq!(kinds(&format!("#!ipxe\n{command}\n")), [(2, SecretKind::Password)], "{command}");
        }
    }

    #[test]
    fn headers_and_tokens_are_found_as_ipxe_and_others_set_them() {
        for header in [
            "param --header Authorization Basic Ym9vdDp4",
            "param --header Authorization Bearer x",
            "param --params p --header Proxy-Authorization x",
            "param --header Authorization: Basic Ym9vdDp4",
            "curl --header \"Authorization: Bearer x\" h",
        ] {
            assert_eq!(kinds(&format!("\n{header}\n")), [(2, SecretKind::Authorization)], "{header}");
        }
        for token in [
            "param --header X-Auth-Token x",
            "param --header X-Api-Key x",
            "curl --header 'PRIVATE-TOKEN: x' h",
            "k3s.token=K10abcdef::server:0a quiet",
            "JOIN_TOKEN=\"0123abcd\"",
        ] {
            assert_eq!(kinds(&format!("\n{token}\n")), [(2, SecretKind::AccessToken)], "{token}");
        }
    }

    #[test]
    fn passwords_and_tokens_are_found_in_addresses_of_every_spelling() {
        for address in [
            "http:/me:s3cret@h/f",
            "http//me:s3cret@h/f",
            "initrd=x //me:s3cret@h/f",
            "http://me:12345/s3cret@h.example/f",
            "https://me:s3/cret@h https://me:s3cret@h",
            "https://me:s3/cret@h/f",
            "https://first.last:s3?cret@h/f",
            "https://me:12#3cret/x@h/f https://ghp_x:s3cret@h",
            "chain me:s3cret@h/f",
            "ks=me:s3cret@192.0.2.1:8080/f",
            "netroot=iscsi:me:s3cret@192.0.2.1::::iqn.2026-11.example:x",
        ] {
            assert_eq!(kinds(address), [(1, SecretKind::Address)], "{address}");
        }
        for address in [
            "http://h/f?token=abc",
            "https://ghp_x@h/f",
            "https://glpat-x:@h/f",
            "http://0123456789abcdef0123@h/f",
            "http://h/f?a=b&access_token=abc",
            "http://h/f?a=b&amp;sig=abc",
            "http://h/f?X-Amz-Date=1&X-Amz-Signature=abc",
        ] {
            assert_eq!(kinds(&format!("\nchain {address}\n")), [(2, SecretKind::Token)], "{address}");
        }
    }

    #[test]
    fn a_text_with_nothing_but_marks_is_looked_through() {
        for text in [
            "&sig=".repeat(400_000),
            "?sig=x\n".repeat(300_000),
            "@:".repeat(1 << 20),
            "http:/a@".repeat(1 << 17),
            "@a/".repeat(1 << 19),
            "30:".repeat(1 << 18),
            TWICE[0].repeat(1 << 16),
            "a/key=token=1 ".repeat(1 << 16),
            "http://${a:".repeat(1 << 16),
        ] {
            assert!(find(text.as_bytes()).len() <= 300_000);
        }
    }

    /// Encodes a DER element.
    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82], &length[..], content].concat()
    }

    fn hex(bytes: &[u8], between: &str) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(between)
    }

    #[test]
    fn keys_are_found_in_binary_and_without_a_head() {
        let (zero, one) = (&[2, 1, 0][..], &[2, 1, 1][..]);
        let algorithm = der(0x30, &[6, 3, 0x2b, 0x65, 0x70]);
        let encrypted = der(0x30, b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d\x30\x00");
        let schemes = der(0x30, b"\x06\x0a\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01\x03\x30\x00");
        let data = der(0x30, b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01\xa0\x82\x01\x00");
        let keys = [
            [&schemes[..], &der(4, &[7; 64])].concat(),
            [&[2, 1, 3][..], &data, &[7; 256]].concat(),
            [zero, &der(2, &[7; 256]), &der(2, &[1, 0, 1])].concat(),
            [zero, &algorithm, &der(4, &[7; 34])].concat(),
            [one, &der(4, &[7; 32])].concat(),
            [&encrypted[..], &der(4, &[7; 64])].concat(),
        ];
        for key in keys {
            let key = der(0x30, &key);
            assert_eq!(find(&key), [Secret { line: 1, kind: SecretKind::PrivateKey }]);
            let text = BASE64_STANDARD_NO_PAD.encode(&key);
            let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
            assert_eq!(
                kinds(&format!("--BEGIN KEY--\r\n{}==\r\n-- END\r\n", lines.join("\r\n"))),
                [(2, SecretKind::PrivateKey)]
            );
            for text in [
                format!("#!ipxe\n{text}\necho x\nboot\n"),
                format!("#!ipxe\nset key {text} && boot\n"),
                format!("\nkey=\"{}\"\n", lines.join("\\n")),
                format!("key: |\n  {}\nother: x\n", lines.join("\n  ")),
                format!("x\n# {}\n#\n", lines.join("\n# ")),
                format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n")),
                format!("#!ipxe\nset privkey {}\nboot\n", hex(&key, ":")),
                format!("#!ipxe\nset privkey:hex {}\n", hex(&key, ":").to_uppercase()),
                format!("#!ipxe\nset privkey:hexhyp {}\nboot\n", hex(&key, "-")),
                format!("#!ipxe\nset privkey:hexraw {}\nboot\n", hex(&key, "")),
                format!("key:\n  {}\n", hex(&key, ":\n  ")),
            ] {
                assert_eq!(kinds(&text), [(2, SecretKind::PrivateKey)], "{text}");
            }
            let announced = format!("\n-----BEGIN RSA PRIVATE KEY-----\n{text}\n");
            assert_eq!(kinds(&announced), [(2, SecretKind::PrivateKey)]);
            for before in ["", "\n", "#\n"] {
                for label in ["PRIVATE KEY", "RSA PRIVATE KEY", "CERTIFICATE"] {
                    let pem = format!("{before}-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"));
                    let twice = BASE64_STANDARD_NO_PAD.encode(pem);
                    for text in [format!("a:\n  tls.key: {twice}\n"), format!("\nimg data:text/plain;base64,{twice}")] {
                        assert_eq!(kinds(&text), [(2, SecretKind::PrivateKey)], "{text}");
                    }
                }
            }
        }
        let indefinite = [b"\x30\x80\x02\x01\x03\x30\x80", &data[4..], &[7; 256]].concat();
        assert_eq!(find(&indefinite), [Secret { line: 1, kind: SecretKind::PrivateKey }]);
        assert_eq!(kinds("\nset key b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAE\n"), [(2, SecretKind::PrivateKey)]);
        // A certificate, a public key, a time-stamp request, and incomplete keys.
        for other in [
            der(0x30, &der(0x30, &[&der(0xa0, &[2, 1, 2])[..], &der(2, &[7; 20])].concat())),
            der(0x30, &[der(2, &[7; 256]), der(2, &[1, 0, 1])].concat()),
            der(0x30, &[one, &der(0x30, &[algorithm, der(4, &[7; 32])].concat())].concat()),
            der(0x30, zero),
            b"\x30\x82\xff\xff\x02\x01\x00\x02\x20".to_vec(),
        ] {
            assert_eq!(find(&other), []);
            assert_eq!(kinds(&BASE64_STANDARD_NO_PAD.encode(&other)), []);
            assert_eq!(kinds(&hex(&other, ":")), []);
        }
        assert_eq!(kinds(&BASE64_STANDARD_NO_PAD.encode(include_str!("../../../../../fixtures/ca.pem"))), []);
        assert_eq!(kinds(include_str!("../../../../../fixtures/ca.pem")), []);
    }

    #[test]
    fn what_only_speaks_of_secrets_is_none() {
        for text in [
            "-----BEGIN CERTIFICATE-----\n-----BEGIN PUBLIC KEY-----",
            "-----END PRIVATE KEY-----",
            "http://192.0.2.1/a@b:c http://user@host/ http://${user}:${password}@host/ http://user:<password>@host/",
            "set password ${pw}\nset password\nisset ${password} || login\necho The password is wrong\npassword=\npassword={{ pw }}",
            "Authorization:\nAuthorization: ${token}\n`Authorization:` headers are searched for",
            "wget --password\nlogin --password ${pw}\nlogin --password --user me",
            "http://nas:8080/@eaDir/x.img http://mirror.example:8080/a@1.2 http://192.0.2.1:80/a@b.c // me:x@h",
            "http://h/f?token=${net0/mac}&mac=x http://h/f?tokens=3 a && sig=x",
            "XAKIAABCDEFGHIJ234567 AKIASHORT",
            "ghp_short glpat-short xoxoxoxoxoxoxoxoxo https://boot@h/f https://a-name-of-some-length@h/f",
            "image:tag@sha256:0123 mailto:me@h.example/ root@h:/x 12:30@h/ git@h:x/y http://${host}:${port}/a@b",
            "dhcp && set password ${pw}\necho set password x\nset x password is\nprompt password x",
            "chain https://${username:uristring}:${password:uristring}@192.0.2.1/boot.php",
            "chain https://${net0/user:uristring}:${net0/pw:${type}}@h/ https://me:${pw:uristring}@h/ https://${user:uristring}@h/",
            "passwordless=1 askpassword=no NOPASSWORD=1 nopasswd=x ask-password=/bin/x password=on require_password=yes password=None",
            "param --header Authorization Bearer ${token}\nparam --header X-Auth-Token ${token:uristring}\nparam --header Accept x",
            "Authorization: Basic ${login:base64}\nparam --header Authorization\nparam key x\nset path /etc/key x",
            "set net0/key ${key}\nset net0/key\nset net0/keymap de\nrootpw=${pw}\npsk = f(x);\nCONFIG_PSK=y\nWPA-PSK=1",
            "rd.luks.key=/keyfile:UUID=0123abcd token=token token=next() k3s.token=${token} http://h/f?mytoken=0123abcd",
            "set mac 30:01:02:03:04:05\n3031323334353637383930313233343536373839303132333435363738393031323334",
        ] {
            assert_eq!(kinds(text), [], "{text}");
        }
    }
}
