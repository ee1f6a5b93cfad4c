//! What is wrong in a file, and where.

use std::fmt;

use camino::Utf8PathBuf;

use crate::base::url::without_credentials_in;
use crate::printable::{printable, single_line};

/// The most findings that are kept; no more than some of them are shown.
pub(crate) const MAX_FINDINGS: usize = 1000;

/// The most bytes of a key that are kept. Keys can be as long as their file, and each value has its own.
const MAX_KEY: usize = 255;

/// The bytes of a message that are kept at its beginning, which says what was found, and at its end, which says what
/// was wanted.
const KEPT: (usize, usize) = (1_500, 500);

/// Something wrong in a file of choices or facts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    /// The file, as a person would name it.
    pub file: Utf8PathBuf,
    /// The line, counted from 1; 0 where the file as a whole is meant.
    pub line: usize,
    /// The full key, as in `site.rack-1.loaders`; empty where no key is meant.
    pub key: String,
    /// What was found and what was wanted.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let location = Location { file: self.file.clone(), line: self.line, key: self.key.clone() };
        write!(f, "{location}: {}\n  hint: {}", single_line(&self.message), single_line(&self.remedy))
    }
}

/// All that is wrong, in the order of files and lines.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Diagnostics(pub Vec<Diagnostic>);

/// How many findings are told; the others are counted. Nobody mends more at once.
const MAX_SHOWN: usize = 50;

/// As many of `warnings` as are told, and then how many there are besides.
#[must_use]
pub fn first_warnings(mut warnings: Vec<String>) -> Vec<String> {
    let more = warnings.len().saturating_sub(MAX_SHOWN);
    warnings.truncate(MAX_SHOWN);
    warnings.extend(match more {
        0 => None,
        1 => Some("there is one more warning".to_owned()),
        more if more >= MAX_FINDINGS - MAX_SHOWN => Some("there are many more warnings".to_owned()),
        more => Some(format!("there are {more} more warnings")),
    });
    warnings
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, finding) in self.0.iter().take(MAX_SHOWN).enumerate() {
            write!(f, "{}{finding}", if i > 0 { "\n" } else { "" })?;
        }
        match self.0.len().saturating_sub(MAX_SHOWN) {
            0 => Ok(()),
            1 => f.write_str("\nand one more finding"),
            // Where so many are kept, others may have been dropped.
            _ if self.0.len() > MAX_FINDINGS => f.write_str("\nand many more findings"),
            more => write!(f, "\nand {more} more findings"),
        }
    }
}

/// Where a value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The file.
    pub file: Utf8PathBuf,
    /// The line, counted from 1; 0 for the file as a whole.
    pub line: usize,
    /// The full key.
    pub key: String,
}

/// As messages begin: the file, the line where there is one, and the key where there is one.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", printable(&self.file))?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if self.key.is_empty() { Ok(()) } else { write!(f, ": `{}`", printable(&self.key)) }
    }
}

impl Location {
    /// A finding here.
    pub fn finding(&self, message: impl Into<String>, remedy: impl Into<String>) -> Diagnostic {
        Diagnostic {
            file: self.file.clone(),
            line: self.line,
            key: short_key(&without_credentials_in(&self.key)),
            message: shortened(without_credentials_in(&message.into())),
            remedy: shortened(remedy.into()),
        }
    }
}

/// The beginning of a key that is too long to be kept for each value.
pub(super) fn short_key(key: &str) -> String {
    if key.len() <= MAX_KEY { key.to_owned() } else { format!("{}…", &key[..boundary(key, MAX_KEY)]) }
}

/// `text` as it is, or where a name or value makes it too long to be kept a thousand times, without its middle.
pub(in crate::config) fn shortened(text: String) -> String {
    let (begin, end) = KEPT;
    if text.len() <= begin + end {
        return text;
    }
    let (head, tail) = (&text[..boundary(&text, begin)], &text[boundary(&text, text.len() - end)..]);
    format!("{head}… ({} bytes) …{tail}", text.len())
}

/// The last place from which `text` can be cut that is not after `at`.
fn boundary(text: &str, at: usize) -> usize {
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_that_was_made_many_times_is_told_fifty_times() {
        let findings = |count| Diagnostics((1..=count).map(finding).collect()).to_string();
        assert_eq!(findings(50).lines().count(), 100);
        assert!(findings(51).ends_with("\nf:50: no\n  hint: yes\nand one more finding"));
        assert!(findings(100_000).ends_with("\nf:50: no\n  hint: yes\nand many more findings"));
        assert!(findings(1_000).ends_with("\nand 950 more findings"));
        assert_eq!(finding(0).to_string(), "f: no\n  hint: yes");
    }

    #[test]
    fn of_many_warnings_fifty_are_told() {
        let last = |count| first_warnings(vec!["w".to_owned(); count]).pop().unwrap();
        assert_eq!(first_warnings(vec!["w".to_owned(); 1_000]).len(), 51);
        assert_eq!(last(50), "w");
        assert_eq!(last(51), "there is one more warning");
        assert_eq!(last(999), "there are 949 more warnings");
        assert_eq!(last(1_001), "there are many more warnings");
    }

    #[test]
    fn an_address_where_none_is_wanted_is_told_without_its_password() {
        let location = Location { file: "f".into(), line: 1, key: "site.http://u:s3cret@h".into() };
        let shown = |message: &str| location.finding(message, "no").to_string();
        assert_eq!(
            shown("found `http://u:s3cret@h/a` and `x=ftp://u:s3cret@h/b c`, wanted a name"),
            "f:1: `site.http://…@h`: found `http://…@h/a` and `x=ftp://…@h/b c`, wanted a name\n  hint: no"
        );
        assert!(!shown("there is no script `u//v:s3cret@h`").contains("s3cret"));
        for plain in ["found `me@h`, wanted `//`", "found `http://…@h/a`", "found `a//b`"] {
            assert!(shown(plain).contains(plain));
        }
    }

    #[test]
    fn names_and_values_of_any_length_are_kept_in_part() {
        let location = Location { file: "f".into(), line: 1, key: "ä".repeat(1_000_000) };
        let finding = location.finding(format!("found `{}`, wanted a name", "€".repeat(1_000_000)), "x".repeat(2_000));
        assert_eq!(finding.key, format!("{}…", "ä".repeat(127)));
        assert!(finding.message.starts_with("found `€€") && finding.message.ends_with("€€`, wanted a name"));
        assert!(finding.message.contains("€… (3000023 bytes) …€"), "{}", finding.message);
        assert!(finding.message.len() < 2_100);
        assert_eq!(finding.remedy, "x".repeat(2_000));
    }

    fn finding(line: usize) -> Diagnostic {
        Location { file: "f".into(), line, key: String::new() }.finding("no", "yes")
    }
}
