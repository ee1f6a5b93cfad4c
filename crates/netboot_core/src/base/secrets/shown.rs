//! Texts with secrets, as messages and reports show them.

use super::find::find;
use crate::base::url::{without_credentials, without_credentials_in};

/// Formats `text` for messages: invisible characters are escaped, and a user name, a password and a query with a token
/// are omitted. Quotes are not escaped, because values are shown in backticks.
#[must_use]
pub fn shown(text: &str) -> String {
    let mut text = without_credentials(text);
    if let Some(query) = text.find('?').filter(|_| !find(text.as_bytes()).is_empty()) {
        text.replace_range(query.., "?...");
    }
    let escaped = text.escape_debug().to_string();
    escaped.replace("\\'", "'").replace("\\\"", "\"")
}

/// Returns `line`, of a script or a log, without user names and passwords in URLs, and without queries that have a token;
/// if it has another secret, its first word.
#[must_use]
pub fn shown_line(line: &str) -> String {
    let without_token = |word: &str| match word.split_once('?') {
        Some((address, _)) if !find(word.as_bytes()).is_empty() => {
            let rest = &word[word.trim_end_matches(|c: char| c.is_whitespace() || c == ':').len()..];
            format!("{address}?...{rest}")
        }
        _ => word.to_owned(),
    };
    let line: String = without_credentials_in(line).split_inclusive(char::is_whitespace).map(without_token).collect();
    if find(line.as_bytes()).is_empty() {
        return line;
    }
    let start = line.len() - line.trim_start().len();
    let end = line[start..].find(char::is_whitespace).map_or(line.len(), |end| start + end);
    // Nothing but the secret may be there.
    if end == line.len() { "...".to_owned() } else { format!("{} ...", &line[..end]) }
}

/// Returns `text` with each line as [`shown_line`] returns it.
#[must_use]
pub fn shown_text(text: &str) -> String {
    // Most texts have no secret.
    if find(text.as_bytes()).is_empty() {
        return text.to_owned();
    }
    text.lines().map(|line| shown_line(line) + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(shown("http://user:p@ss@host/a@b\u{a0}"), "http://…@b\\u{a0}");
        assert_eq!(shown("http://host.example/a@b"), "http://host.example/a@b");
        assert_eq!(shown("it's \"a\\b\"\\'\n"), "it's \"a\\\\b\"\\\\'\\n");
        assert_eq!(shown("user:pw@host//x"), "…@host//x");
    }

    #[test]
    fn a_line_with_a_secret_is_cut() {
        assert_eq!(shown_line("chain http://u:pw@192.0.2.1/a?b"), "chain http://…@192.0.2.1/a?b");
        assert_eq!(shown_line("  set net0/password S3cret && x"), "  set ...");
        assert_eq!(
            shown_line("GET http://192.0.2.1/k?token=S3cret: 404, or http://h/?a=b"),
            "GET http://192.0.2.1/k?...: 404, or http://h/?a=b"
        );
        for secret in ["http:/bob:S3cret@h/", "bob:S3cret@h/", "rootpw=S3cret"] {
            assert_eq!(shown_line(&format!("chain {secret} || shell")), "chain ...", "{secret}");
            assert_eq!(shown_line(secret), "...", "{secret}");
        }
        assert_eq!(shown_line("\techo a  b "), "\techo a  b ");
    }
}
