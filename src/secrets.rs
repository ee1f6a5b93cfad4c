//! Secrets in texts that are about to be published. Scripts in loaders, boot entries, configurations and source bundles
//! can be read by whoever can fetch them.
//!
//! It looks for what has one meaning only, so that what it says is worth reading: it is no scanner of repositories.

use memchr::memmem;

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

/// All secrets in `content`, in the order of their lines, each kind once a line.
#[must_use]
pub fn find(content: &[u8]) -> Vec<Secret> {
    if memchr::memchr(0, content).is_some() {
        // UTF-16, as some shells write it: its letters are those of ASCII between zeros.
        return find(&content.iter().copied().filter(|byte| *byte != 0).collect::<Vec<u8>>());
    }
    let mut found: Vec<Secret> = Vec::new();
    // Most texts have none of these, and there may be a hundred thousand texts.
    for mark in ["-----BEGIN ", PUTTY, SSH2, "://", "uthorization", "UTHORIZATION", "assw", "ASSW", "AKIA", "ASIA"] {
        for at in memmem::find_iter(content, mark) {
            let start = content[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            let end = memchr::memchr(b'\n', &content[at..]).map_or(content.len(), |length| at + length);
            // What is looked for in an address has this in it.
            if mark == "://" && memchr::memchr(b'@', &content[at..end]).is_none() {
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
    found.dedup();
    found
}

/// What the `line` has where it goes on with `after`, which begins with `mark`.
fn kind(line: &str, after: &str, mark: &str) -> Option<Kind> {
    match mark {
        PUTTY | SSH2 => Some(Kind::PrivateKey),
        "-----BEGIN " => {
            let label = after[mark.len()..].split("-----").next()?;
            (label.ends_with("PRIVATE KEY") || label.ends_with("PRIVATE KEY BLOCK")).then_some(Kind::PrivateKey)
        }
        "://" => {
            let server = after[mark.len()..].split(['/', '?', '#', '"', '\'', ' ', '\t']).next()?;
            let (user, _) = server.rsplit_once('@')?;
            user.split_once(':').filter(|(_, password)| is_literal(password)).map(|_| Kind::Address)
        }
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
    fn what_only_speaks_of_secrets_is_none() {
        for text in [
            "-----BEGIN CERTIFICATE-----\n-----BEGIN PUBLIC KEY-----",
            "-----END PRIVATE KEY-----",
            "http://192.0.2.1/a@b:c http://user@host/ http://${user}:${password}@host/ http://user:<password>@host/",
            "set password ${pw}\nset password\nisset ${password} || login\necho The password is wrong\npassword=\npassword={{ pw }}",
            "Authorization:\nAuthorization: ${token}",
            "XAKIAABCDEFGHIJ234567 AKIASHORT",
        ] {
            assert_eq!(kinds(text), [], "{text}");
        }
    }
}
