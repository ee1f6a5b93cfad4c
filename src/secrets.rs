//! Secrets in texts that are about to be published. Scripts in loaders, boot entries, configurations and source bundles
//! can be read by whoever can fetch them.
//!
//! It looks for what has one meaning only, so that what it says is worth reading: it is no scanner of repositories.

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use memchr::memmem;

use crate::der::{HEAD, is_private_key};

/// Something in a text that is nobody else's business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// The line, counted from 1.
    pub line: usize,
    /// What it is.
    pub kind: Kind,
}

/// What a secret is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A private key, which is never published.
    PrivateKey,
    /// A header of HTTP that authorises whoever sends it.
    Authorization,
    /// A password in an address.
    Address,
    /// A token or a signature in the query of an address.
    Token,
    /// A password that is set.
    Password,
    /// An access key of AWS.
    AwsKey,
}

impl Kind {
    /// With its article.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::PrivateKey => "a private key",
            Self::Authorization => "an `Authorization:` header",
            Self::Address => "an address with a password",
            Self::Token => "an address with a token or a signature",
            Self::Password => "a password",
            Self::AwsKey => "an access key of AWS",
        }
    }
}

impl Secret {
    /// What a person should know who publishes it: the text of a warning on the file `name`.
    #[must_use]
    pub fn warning(&self, name: &str) -> String {
        let Self { line, kind } = self;
        format!(
            "{name}:{line}: {} gets published: whoever can fetch the file can read it\n\
             hint: take it out, and let the server tell machines apart by their addresses or certificates",
            kind.words()
        )
    }
}

/// How private keys of `PuTTY` begin.
const PUTTY: &str = "PuTTY-User-Key-File-";
/// How those of SSH2 begin.
const SSH2: &str = "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY";

/// How those of OpenSSH begin, in base64.
const OPENSSH: &str = "b3BlbnNzaC1rZXktdjEA";

/// What most texts have none of.
const MARKS: [&str; 18] = [
    "-----BEGIN ",
    PUTTY,
    SSH2,
    OPENSSH,
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
    "AKIA",
    "ASIA",
    "?",
    "&",
];
/// Parameters of a query that let in whoever knows them, as in signed addresses of object stores.
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

/// All secrets in `content`, in the order of their lines, each kind once a line.
#[must_use]
pub fn find(content: &[u8]) -> Vec<Secret> {
    if is_private_key(content) {
        return vec![Secret { line: 1, kind: Kind::PrivateKey }];
    }
    if memchr::memchr(0, content).is_some() {
        // UTF-16, as some shells write it: its letters are those of ASCII between zeros.
        return find(&content.iter().copied().filter(|byte| *byte != 0).collect::<Vec<u8>>());
    }
    let key = |line| Secret { line, kind: Kind::PrivateKey };
    let mut found: Vec<Secret> = bare_keys(content).into_iter().map(key).collect();
    // There may be a hundred thousand texts.
    for mark in MARKS {
        for at in memmem::find_iter(content, mark) {
            let start = content[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            let end = memchr::memchr(b'\n', &content[at..]).map_or(content.len(), |length| at + length);
            // What is looked for in an address has this in it.
            if mark.contains('/') && memchr::memchr(b'@', &content[at..end]).is_none() {
                continue;
            }
            let text = String::from_utf8_lossy(&content[start..end]);
            let after = String::from_utf8_lossy(&content[at..end]);
            if let Some(kind) = kind(&text, &after, mark) {
                let line = 1 + memchr::memchr_iter(b'\n', &content[..at]).count();
                found.push(Secret { line, kind });
            }
        }
    }
    found.sort_by_key(|secret| (secret.line, secret.kind));
    // A key has a label in the line above.
    let is_key = |secret: &Secret| secret.kind == Kind::PrivateKey;
    found.dedup_by(|next, last| next == last || (is_key(next) && is_key(last) && next.line == last.line + 1));
    found
}

/// What the `line` has where it goes on with `after`, which begins with `mark`.
fn kind(line: &str, after: &str, mark: &str) -> Option<Kind> {
    match mark {
        PUTTY | SSH2 | OPENSSH => Some(Kind::PrivateKey),
        "-----BEGIN " => {
            let label = after[mark.len()..].split("-----").next()?;
            (label.ends_with("PRIVATE KEY") || label.ends_with("PRIVATE KEY BLOCK")).then_some(Kind::PrivateKey)
        }
        "?" | "&" => {
            let (name, value) = after[mark.len()..].trim_start_matches("amp;").split_once('=')?;
            let value = value.split(['&', '#', '"', '\'', ' ', '\t']).next()?;
            let known = name.len() < 20 && TOKENS.contains(&name.to_ascii_lowercase().as_str());
            (known && is_literal(value)).then_some(Kind::Token)
        }
        _ if mark.contains('/') => has_password(&after[mark.len()..]).then_some(Kind::Address),
        "AKIA" | "ASIA" => {
            let rest = &after[mark.len()..];
            let length = rest.bytes().take_while(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()).count();
            let alone = line.strip_suffix(after)?.chars().next_back().is_none_or(|c| !c.is_ascii_alphanumeric());
            (length == 16 && alone).then_some(Kind::AwsKey)
        }
        "uthorization" | "UTHORIZATION" => {
            let value = after[mark.len()..].trim_start().strip_prefix(':')?;
            is_literal(value.trim()).then_some(Kind::Authorization)
        }
        _ => {
            // As in `password=x`, `rootpasswd = "x"` and iPXE's `set net0/password x`.
            let rest = after[mark.len()..].trim_start_matches(|c: char| c.is_ascii_alphabetic());
            let name = after[..after.len() - rest.len()].to_ascii_lowercase();
            let value = match rest.trim_start().strip_prefix('=') {
                Some(value) => value,
                None if line.trim_start().starts_with("set ") && rest.starts_with(' ') => rest,
                None => return None,
            };
            let known = ["assword", "asswd"].contains(&name.as_str());
            (known && is_literal(value.trim().trim_matches(['"', '\'']))).then_some(Kind::Password)
        }
    }
}

/// Whether `rest`, an address behind the slashes that it begins with, has a password.
fn has_password(rest: &str) -> bool {
    let end = |signs: &[char]| rest.find(signs).unwrap_or(rest.len());
    let word = &rest[..end(&['"', '\'', ' ', '\t'])];
    let server = &word[..end(&['/', '?', '#']).min(word.len())];
    if let Some((user, _)) = server.rsplit_once('@') {
        return user.split_once(':').is_some_and(|(_, password)| is_literal(password));
    }
    // `user:12345/word@host` is a host and a port to everybody but who wrote it. Folders begin with an `@`.
    let Some((user, port)) = server.split_once(':') else { return false };
    let is_user = !user.is_empty() && user != "localhost" && !user.contains(['.', '[', '$', '{', '<']);
    let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let path = word[server.len()..].split(['?', '#']).next().unwrap_or_default();
    let is_cut = path.rfind('@').is_some_and(|at| !path[..at].ends_with('/') && path[at..].contains('.'));
    is_user && is_number && is_cut
}

/// The lines where private keys begin that are written in base64, whatever stands before and behind them: also in a PEM
/// block with another label.
fn bare_keys(content: &[u8]) -> Vec<usize> {
    let (mut found, mut line, mut counted) = (Vec::new(), 1, 0);
    // All keys begin with a sequence, which is an `M`.
    for at in memchr::memchr_iter(b'M', content) {
        let before = at.checked_sub(1).map(|before| content[before]);
        if before.is_some_and(|before| before.is_ascii_alphanumeric()) || !is_key_in_base64(&content[at..]) {
            continue;
        }
        line += memchr::memchr_iter(b'\n', &content[counted..at]).count();
        counted = at;
        found.push(line);
    }
    found
}

/// Whether `text` begins with a private key in base64. It may be broken into lines, indented, quoted and escaped.
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
    // A digit alone has no byte.
    digits.truncate(digits.len() / 4 * 4);
    BASE64_STANDARD_NO_PAD.decode(digits).is_ok_and(|der| is_private_key(&der))
}

/// Whether `value` is one, and no place for one.
fn is_literal(value: &str) -> bool {
    !value.is_empty() && !value.starts_with(['$', '{', '<', '*', '%', '&', '|', '#', '…']) && value != "..."
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<(usize, Kind)> {
        find(text.as_bytes()).into_iter().map(|secret| (secret.line, secret.kind)).collect()
    }

    #[test]
    fn secrets_are_found_by_line() {
        for label in ["", "RSA ", "EC ", "ENCRYPTED ", "OPENSSH ", "DSA "] {
            assert_eq!(kinds(&format!("x\n-----BEGIN {label}PRIVATE KEY-----\nMC4")), [(2, Kind::PrivateKey)]);
        }
        assert_eq!(kinds("  # -----BEGIN PGP PRIVATE KEY BLOCK-----"), [(1, Kind::PrivateKey)]);
        assert_eq!(
            kinds(
                "chain http://boot:s3cret@192.0.2.1/a\nparam --header Authorization: Bearer x\nset net0/password hunter2\n"
            ),
            [(1, Kind::Address), (2, Kind::Authorization), (3, Kind::Password)]
        );
        assert_eq!(
            kinds("root-passwd = \"x\"\n\nAPPEND ks.PASSWORD=x quiet\n"),
            [(1, Kind::Password), (3, Kind::Password)]
        );
        assert_eq!(kinds("PuTTY-User-Key-File-3: ssh-ed25519\n"), [(1, Kind::PrivateKey)]);
        assert_eq!(kinds("\n---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\n"), [(2, Kind::PrivateKey)]);
        let wide: Vec<u8> = "x\n-----BEGIN PRIVATE KEY-----\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let found = find(&wide);
        assert_eq!(found, [Secret { line: 2, kind: Kind::PrivateKey }]);
        let key = ["AKIA", "ABCDEFGHIJ234567"].concat();
        assert_eq!(kinds(&format!("a={key}")), [(1, Kind::AwsKey)]);
    }

    #[test]
    fn passwords_and_tokens_are_found_in_addresses_of_every_spelling() {
        for address in [
            "http:/me:s3cret@h/f",
            "http//me:s3cret@h/f",
            "initrd=x //me:s3cret@h/f",
            "http://me:12345/s3cret@h.example/f",
            "https://me:s3/cret@h https://me:s3cret@h",
        ] {
            assert_eq!(kinds(address), [(1, Kind::Address)], "{address}");
        }
        for address in [
            "http://h/f?token=abc",
            "http://h/f?a=b&access_token=abc",
            "http://h/f?a=b&amp;sig=abc",
            "http://h/f?X-Amz-Date=1&X-Amz-Signature=abc",
        ] {
            assert_eq!(kinds(&format!("\nchain {address}\n")), [(2, Kind::Token)], "{address}");
        }
    }

    /// An element of DER.
    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82], &length[..], content].concat()
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
            assert_eq!(find(&key), [Secret { line: 1, kind: Kind::PrivateKey }]);
            let text = BASE64_STANDARD_NO_PAD.encode(&key);
            let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
            assert_eq!(
                kinds(&format!("--BEGIN KEY--\r\n{}==\r\n-- END\r\n", lines.join("\r\n"))),
                [(2, Kind::PrivateKey)]
            );
            for text in [
                format!("#!ipxe\n{text}\necho x\nboot\n"),
                format!("#!ipxe\nset key {text} && boot\n"),
                format!("\nkey=\"{}\"\n", lines.join("\\n")),
                format!("key: |\n  {}\nother: x\n", lines.join("\n  ")),
                format!("x\n# {}\n#\n", lines.join("\n# ")),
                format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n")),
            ] {
                assert_eq!(kinds(&text), [(2, Kind::PrivateKey)], "{text}");
            }
            let announced = format!("\n-----BEGIN RSA PRIVATE KEY-----\n{text}\n");
            assert_eq!(kinds(&announced), [(2, Kind::PrivateKey)]);
        }
        let indefinite = [b"\x30\x80\x02\x01\x03\x30\x80", &data[4..], &[7; 256]].concat();
        assert_eq!(find(&indefinite), [Secret { line: 1, kind: Kind::PrivateKey }]);
        assert_eq!(kinds("\nset key b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAE\n"), [(2, Kind::PrivateKey)]);
        // A certificate, a public key, a request for a time stamp, and half a key.
        for other in [
            der(0x30, &der(0x30, &[&der(0xa0, &[2, 1, 2])[..], &der(2, &[7; 20])].concat())),
            der(0x30, &[der(2, &[7; 256]), der(2, &[1, 0, 1])].concat()),
            der(0x30, &[one, &der(0x30, &[algorithm, der(4, &[7; 32])].concat())].concat()),
            der(0x30, zero),
            b"\x30\x82\xff\xff\x02\x01\x00\x02\x20".to_vec(),
        ] {
            assert_eq!(find(&other), []);
            assert_eq!(kinds(&BASE64_STANDARD_NO_PAD.encode(&other)), []);
        }
        assert_eq!(kinds(include_str!("../tests/fixtures/ca.pem")), []);
    }

    #[test]
    fn what_only_speaks_of_secrets_is_none() {
        for text in [
            "-----BEGIN CERTIFICATE-----\n-----BEGIN PUBLIC KEY-----",
            "-----END PRIVATE KEY-----",
            "http://192.0.2.1/a@b:c http://user@host/ http://${user}:${password}@host/ http://user:<password>@host/",
            "set password ${pw}\nset password\nisset ${password} || login\necho The password is wrong\npassword=\npassword={{ pw }}",
            "Authorization:\nAuthorization: ${token}",
            "http://nas:8080/@eaDir/x.img http://mirror.example:8080/a@1.2 http://192.0.2.1:80/a@b.c // me:x@h",
            "http://h/f?token=${net0/mac}&mac=x http://h/f?tokens=3 a && sig=x",
            "XAKIAABCDEFGHIJ234567 AKIASHORT",
        ] {
            assert_eq!(kinds(text), [], "{text}");
        }
    }
}
