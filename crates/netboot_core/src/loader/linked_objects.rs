//! The list of everything linked into a loader: drivers, protocols, commands, features, and all other objects of iPXE.
//! A tree contains such a list, and `vendor/` contains the lists of the baseline. Each line is one item.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use camino::{Utf8Path, Utf8PathBuf};

use super::link_map::LinkMap;
use crate::base::closed_set::closed_set;
use crate::base::fs;
use crate::loader::target::Platform;

/// Maximum size of a list to read, in bytes; those of real loaders have about 20 kB.
const MAX_LIST: u64 = 1 << 20;

closed_set! {
    /// The class of a linked item.
    pub enum ObjectClass {
        /// A command of iPXE's shell and scripts, by its name, as a linked source declares it.
        Command = "command",
        /// A driver, by the path of its source.
        Driver = "driver",
        /// A feature that a linked source declares, by its name in iPXE's banner and DHCP requests.
        Feature = "feature",
        /// Any other object, by the path of its source.
        Object = "object",
        /// A part of the network stack, by the path of its source.
        Protocol = "protocol",
    }
}

impl ObjectClass {
    /// Classifies the object with the source `path`, which is relative to iPXE's `src` and has no suffix.
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

/// The sources of a platform by object name, which is unique.
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
    /// [`fs::Error`] if the folder cannot be read.
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

/// The items linked into a loader.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkedObjects(BTreeSet<(ObjectClass, String)>);

/// The difference between two lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drift {
    /// Lines that only the earlier list has.
    pub lost: Vec<String>,
    /// Lines that only the later list has.
    pub gained: Vec<String>,
}

impl LinkedObjects {
    /// Lists the items that were linked from `sources` according to `map`.
    ///
    /// # Errors
    ///
    /// [`fs::Error`] if a source cannot be read.
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

    /// Reads the list in the file `path`, of at most 1 MiB.
    ///
    /// # Errors
    ///
    /// [`fs::Error`] if the file is larger or cannot be read.
    pub fn read(path: &Utf8Path) -> Result<Self, fs::Error> {
        let text = fs::read_at_most(path, MAX_LIST)?;
        Ok(Self::parse(&String::from_utf8_lossy(&text)))
    }

    /// Parses the output of [`LinkedObjects::to_text`]. Unknown lines are ignored.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let thing = |line: &str| {
            let (word, name) = line.split_once(' ')?;
            let class = ObjectClass::ALL.into_iter().find(|class| class.as_str() == word)?;
            Some((class, name.trim_end().to_owned()))
        };
        Self(text.lines().filter_map(thing).collect())
    }

    /// Formats the list as a text with the heading `title`.
    #[must_use]
    pub fn to_text(&self, title: &str) -> String {
        format!("# {title}\n{self}")
    }

    /// Returns the names of all items of `class`, sorted bytewise.
    pub fn names(&self, class: ObjectClass) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |thing| thing.0 == class).map(|thing| thing.1.as_str())
    }

    /// Compares this list with the earlier list `before`.
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
    /// Checks whether there is no difference.
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

/// Returns the command or feature that a line of a source declares.
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
