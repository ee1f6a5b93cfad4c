//! What is wrong in a file, and where.

use std::fmt;

use camino::Utf8PathBuf;

use super::MAX_FINDINGS;
use crate::printable::{printable, single_line};

/// Something wrong in a file of choices or facts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
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

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = Place { file: self.file.clone(), line: self.line, key: self.key.clone() };
        write!(f, "{place}: {}\n  hint: {}", single_line(&self.message), single_line(&self.remedy))
    }
}

/// All that is wrong, in the order of files and lines.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Findings(pub Vec<Finding>);

/// How many findings are told; the others are counted. Nobody mends more at once.
const TOLD: usize = 50;

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, finding) in self.0.iter().take(TOLD).enumerate() {
            write!(f, "{}{finding}", if i > 0 { "\n" } else { "" })?;
        }
        match self.0.len().saturating_sub(TOLD) {
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
pub struct Place {
    /// The file.
    pub file: Utf8PathBuf,
    /// The line, counted from 1; 0 for the file as a whole.
    pub line: usize,
    /// The full key.
    pub key: String,
}

/// As messages begin: the file, the line where there is one, and the key where there is one.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", printable(&self.file))?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if self.key.is_empty() { Ok(()) } else { write!(f, ": `{}`", printable(&self.key)) }
    }
}

impl Place {
    /// A finding here.
    pub fn finding(&self, message: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding {
            file: self.file.clone(),
            line: self.line,
            key: self.key.clone(),
            message: message.into(),
            remedy: remedy.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_that_was_made_many_times_is_told_fifty_times() {
        let findings = |count| Findings((1..=count).map(finding).collect()).to_string();
        assert_eq!(findings(50).lines().count(), 100);
        assert!(findings(51).ends_with("\nf:50: no\n  hint: yes\nand one more finding"));
        assert!(findings(100_000).ends_with("\nf:50: no\n  hint: yes\nand many more findings"));
        assert!(findings(1_000).ends_with("\nand 950 more findings"));
        assert_eq!(finding(0).to_string(), "f: no\n  hint: yes");
    }

    fn finding(line: usize) -> Finding {
        Place { file: "f".into(), line, key: String::new() }.finding("no", "yes")
    }
}
