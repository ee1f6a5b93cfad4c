//! A plan for people.

use std::fmt;

use super::{Plan, Step};
use crate::printable::printable;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for folder in &self.folders {
            let name = if folder.as_str().is_empty() { "." } else { folder.as_str() };
            writeln!(f, "{:<10} {}", "folder", printable(name))?;
        }
        for planned in &self.files {
            let stranger = self.strangers.contains(&planned.wanted.path);
            let verb = match planned.step {
                Step::Unchanged => "unchanged",
                Step::Send => "send",
                Step::Replace => "replace",
            };
            write!(f, "{verb:<10} {} ({} bytes", printable(&planned.wanted.path), planned.wanted.content.size)?;
            if let Some(partial) = planned.partial.filter(|_| planned.step != Step::Unchanged) {
                write!(f, ", {partial} of them are there")?;
            }
            writeln!(f, "){}", if stranger { ", which somebody else put there" } else { "" })?;
        }
        let lists = [
            ("clean up", &self.leftovers, ""),
            ("prune", &self.prune, ""),
            ("obsolete", &self.obsolete, " (stays without `--prune`)"),
            ("changed", &self.changed, " (stays: it is not what was put there)"),
        ];
        for (verb, paths, note) in lists {
            for path in paths {
                writeln!(f, "{verb:<10} {}{note}", printable(path))?;
            }
        }
        let count = |step| self.count(step);
        writeln!(
            f,
            "{} to send, {} to replace, {} unchanged: {} bytes",
            count(Step::Send),
            count(Step::Replace),
            count(Step::Unchanged),
            self.to_send()
        )
    }
}
