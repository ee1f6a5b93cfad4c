//! The list of what is linked into a loader: drivers, protocols, commands, features, and all other
//! objects of iPXE. It stands in a tree and, as the baseline, among the facts, one line a thing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use camino::{Utf8Path, Utf8PathBuf};

use super::link_map::LinkMap;
use crate::base::closed_set::closed_set;
use crate::base::fs;
use crate::loader::target::Platform;

/// The size of the largest list that is read, in bytes; those of real loaders have about 20 kB.
const MAX_LIST: u64 = 1 << 20;

closed_set! {
    /// What a linked thing is.
    pub enum ObjectClass {
        /// A command of iPXE's shell and scripts that a linked source declares, by its name.
        Command = "command",
        /// A driver, by the path of its source.
        Driver = "driver",
        /// A feature that a linked source declares, as iPXE's banner and DHCP requests name it.
        Feature = "feature",
        /// Any other object, by the path of its source.
        Object = "object",
        /// A part of the network stack, by the path of its source.
        Protocol = "protocol",
    }
}

impl ObjectClass {
    /// What an object is whose source is at `path`, without suffix, in iPXE's `src`.
    fn of(path: &Utf8Path) -> Self {
        if path.iter().any(|folder| folder == "drivers") {
            Self::Driver
        } else if path.starts_with("net") {
            Self::Protocol
        } else {
            Self::Object
        }
    }
}

/// The sources of a platform, by the names of their objects; no two have the same.
#[derive(Debug)]
pub struct Sources {
    root: Utf8PathBuf,
    by_name: BTreeMap<String, Utf8PathBuf>,
}

impl Sources {
    /// Lists the sources for `platform` below `src`, the folder that iPXE's make runs in.
    ///
    /// # Errors
    ///
    /// [`fs::Error`] where it cannot be read.
    pub fn read(src: &Utf8Path, platform: Platform) -> Result<Self, fs::Error> {
        let is_ours = |path: &Utf8PathBuf| match (path.iter().next(), path.iter().nth(1)) {
            (Some("util"), _) => false,
            (Some("arch"), Some(arch)) => platform.arch_dirs().contains(&arch),
            _ => true,
        };
        let is_source = |path: &Utf8PathBuf| matches!(path.extension(), Some("c" | "S")) && is_ours(path);
        let paths = fs::walk(src)?.into_iter().map(|(path, _)| path).filter(is_source);
        let by_name = paths.filter_map(|path| Some((path.file_stem()?.to_owned(), path))).collect();
        Ok(Self { root: src.to_owned(), by_name })
    }
}

/// What is linked into a loader.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkedObjects(BTreeSet<(ObjectClass, String)>);

/// How what is linked differs from what was before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drift {
    /// What was there before, and is not now; by lines.
    pub lost: Vec<String>,
    /// What is there now, and was not before; by lines.
    pub gained: Vec<String>,
}

impl LinkedObjects {
    /// What `map` says was linked of `sources`.
    ///
    /// # Errors
    ///
    /// [`fs::Error`] where a source cannot be read.
    pub fn of(map: &LinkMap<'_>, sources: &Sources) -> Result<Self, fs::Error> {
        let mut things = BTreeSet::new();
        for object in map.objects() {
            let Some(path) = sources.by_name.get(object) else {
                things.insert((ObjectClass::Object, object.to_owned()));
                continue;
            };
            let stem = path.with_extension("");
            things.insert((ObjectClass::of(&stem), stem.into_string()));
            let text = fs::read(&sources.root.join(path))?;
            things.extend(String::from_utf8_lossy(&text).lines().filter_map(declared));
        }
        Ok(Self(things))
    }

    /// Reads the list in the file `path`, which has 1 MiB at most.
    ///
    /// # Errors
    ///
    /// [`fs::Error`] where it is larger or cannot be read.
    pub fn read(path: &Utf8Path) -> Result<Self, fs::Error> {
        let text = fs::read_at_most(path, MAX_LIST)?;
        Ok(Self::parse(&String::from_utf8_lossy(&text)))
    }

    /// Reads what [`LinkedObjects::to_text`] wrote. Lines that say nothing known are not taken.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let thing = |line: &str| {
            let (word, name) = line.split_once(' ')?;
            let class = ObjectClass::ALL.into_iter().find(|class| class.as_str() == word)?;
            Some((class, name.trim_end().to_owned()))
        };
        Self(text.lines().filter_map(thing).collect())
    }

    /// The list as a text, under the heading `title`.
    #[must_use]
    pub fn to_text(&self, title: &str) -> String {
        format!("# {title}\n{self}")
    }

    /// The names of everything of `class`, sorted bytewise.
    pub fn names(&self, class: ObjectClass) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |thing| thing.0 == class).map(|thing| thing.1.as_str())
    }

    /// How this differs from `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Drift {
        let lines = |things: BTreeSet<&(ObjectClass, String)>| things.into_iter().map(line).collect();
        Drift {
            lost: lines(before.0.difference(&self.0).collect()),
            gained: lines(self.0.difference(&before.0).collect()),
        }
    }
}

impl Drift {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lost.is_empty() && self.gained.is_empty()
    }
}

fn line((class, name): &(ObjectClass, String)) -> String {
    format!("{} {name}", class.as_str())
}

impl fmt::Display for LinkedObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|thing| writeln!(f, "{}", line(thing)))
    }
}

/// The command or feature that a line of a source declares.
fn declared(line: &str) -> Option<(ObjectClass, String)> {
    let arguments = |word: &str| line.strip_prefix(word)?.trim_start().strip_prefix('(');
    if let Some(rest) = arguments("COMMAND") {
        return Some((ObjectClass::Command, rest.split(',').next()?.trim().to_owned()));
    }
    let name = arguments("FEATURE")?.split(',').nth(1)?.trim();
    Some((ObjectClass::Feature, name.trim_matches('"').to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = "Archive member included\n\nbin/blib.a(http.o)\nbin/blib.a(intel.o)\nbin/blib.a(made.o)\nbin/blib.a(dhcp_cmd.o)\n";

    fn linked() -> LinkedObjects {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        for (path, text) in [
            ("net/tcp/http.c", "int x;\nFEATURE ( FEATURE_PROTOCOL, \"HTTP\", DHCP_EB_FEATURE_HTTP, 1 );\n"),
            ("drivers/net/intel.c", "/* COMMAND ( x, y ); */\n"),
            ("hci/commands/dhcp_cmd.c", "COMMAND ( dhcp, ifconf_exec );\nCOMMAND ( pxebs, pxebs_exec );\n"),
            ("net/never.c", "FEATURE ( FEATURE_PROTOCOL, \"SLAM\", 1, 1 );\n"),
            ("arch/arm64/dhcp_cmd.c", "COMMAND ( wrong, wrong );\n"),
            ("util/http.c", "FEATURE ( FEATURE_PROTOCOL, \"wrong\", 1, 1 );\n"),
        ] {
            fs::write_atomic(&root.join(path), text.as_bytes()).unwrap();
        }
        LinkedObjects::of(&LinkMap::new(MAP), &Sources::read(root, Platform::Bios).unwrap()).unwrap()
    }

    #[test]
    fn what_was_linked_is_listed_and_read_again() {
        let linked = linked();
        let text = linked.to_text("Linked into x.");
        assert_eq!(
            text,
            "# Linked into x.\ncommand dhcp\ncommand pxebs\ndriver drivers/net/intel\nfeature HTTP\n\
             object hci/commands/dhcp_cmd\nobject made\nprotocol net/tcp/http\n"
        );
        assert_eq!(LinkedObjects::parse(&text), linked);
        assert_eq!(linked.names(ObjectClass::Command).collect::<Vec<_>>(), ["dhcp", "pxebs"]);
    }

    #[test]
    fn drift_says_what_is_lost_and_what_is_new() {
        let before = LinkedObjects::parse("feature HTTP\nfeature HTTPS\n");
        let now = LinkedObjects::parse("feature HTTP\ndriver drivers/net/new\n");
        let drift = now.since(&before);
        assert_eq!((drift.lost, drift.gained), (vec!["feature HTTPS".into()], vec!["driver drivers/net/new".into()]));
        assert!(now.since(&now.clone()).is_empty());
    }
}
