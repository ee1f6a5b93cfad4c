//! Text form of a plan.

use std::collections::HashSet;
use std::fmt;

use camino::Utf8PathBuf;

use super::{DeployPlan, FileAction};
use crate::base::{paths, plural};
use crate::printable::printable;

impl fmt::Display for DeployPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for folder in &self.folders {
            let name = if folder.as_str().is_empty() { "." } else { folder.as_str() };
            writeln!(f, "{:<10} {}", "folder", printable(name))?;
        }
        let strangers: HashSet<&Utf8PathBuf> = self.strangers.iter().collect();
        for planned in &self.files {
            let stranger = strangers.contains(&planned.wanted.path);
            let verb = match planned.step {
                FileAction::Unchanged => "unchanged",
                FileAction::Send => "send",
                FileAction::Replace => "replace",
            };
            write!(f, "{verb:<10} {} ({}", printable(&planned.wanted.path), plural::size(planned.wanted.content.size))?;
            if let Some(partial) = planned.partial.filter(|_| planned.step != FileAction::Unchanged) {
                write!(f, ", {} of it there", plural::size(partial))?;
            }
            writeln!(f, "){}", if stranger { ", which somebody else put there" } else { "" })?;
        }
        for (path, _) in &self.unreadable {
            writeln!(f, "{:<10} {} (other users get to read it)", "mode", printable(path))?;
        }
        let lists = [
            ("clean up", &self.leftovers, ""),
            ("prune", &self.prune, ""),
            ("obsolete", &self.obsolete, " (stays: nobody asked to prune)"),
            ("changed", &self.changed, " (stays: it is not what was put there)"),
        ];
        for (verb, paths, note) in lists {
            for path in paths {
                writeln!(f, "{verb:<10} {}{note}", printable(path))?;
            }
        }
        let count = |step| self.count(step);
        let (send, replace, unchanged) =
            (count(FileAction::Send), count(FileAction::Replace), count(FileAction::Unchanged));
        let records = self.under_way().map(|planned| planned.wanted.path.as_str());
        let records: Vec<&str> = records.filter(|path| paths::is_tree_record((*path).into())).collect();
        let with = if records.is_empty() { String::new() } else { format!("; with {}", records.join(" and ")) };
        writeln!(
            f,
            "{send} to send, {replace} to replace, {unchanged} unchanged{with}: {}",
            plural::size(self.to_send())
        )
    }
}
