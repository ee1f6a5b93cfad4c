//! What a measurement depends on: the machine and the programs. No name of a host or of a person is among it.

use netboot_loaders::plural::count;
use std::collections::BTreeMap;
use std::fmt;

use camino::Utf8Path;
use netboot_loaders::choices::pins::IpxePin;
use netboot_loaders::fs;
use serde::{Deserialize, Serialize};

use crate::host::processors;

/// The machine and the programs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Facts {
    /// What the processor calls itself.
    pub processor: String,
    /// How many of them this process may use.
    pub processors: usize,
    /// The version of this program.
    pub version: String,
    /// How this program was compiled.
    pub profile: String,
    /// The version of iPXE.
    pub ipxe: String,
    /// Its commit.
    pub commit: String,
    /// What each tool says of its version.
    pub tools: BTreeMap<String, String>,
}

impl Facts {
    /// Those of this machine and of iPXE at `pin`.
    pub fn new(pin: &IpxePin, tools: BTreeMap<String, String>) -> Self {
        let cpuinfo = fs::read(Utf8Path::new("/proc/cpuinfo")).unwrap_or_default();
        Self {
            processor: model(&String::from_utf8_lossy(&cpuinfo)),
            processors: processors(),
            version: env!("CARGO_PKG_VERSION").into(),
            profile: if cfg!(debug_assertions) { "development" } else { "release" }.into(),
            ipxe: pin.version.clone(),
            commit: pin.commit.to_string(),
            tools,
        }
    }
}

impl fmt::Display for Facts {
    /// A sentence or two.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, processors, version, profile, ipxe, commit, tools } = self;
        write!(f, "{processor}, {}. netboot-loaders {version} ({profile} build), ", count(*processors, "processor"))?;
        write!(f, "iPXE {ipxe} ({})", commit.get(..12).unwrap_or(commit))?;
        for name in ["gcc", "binutils", "make", "liblzma", "qemu", "dnsmasq"] {
            if let Some(says) = tools.get(name) {
                write!(f, ", {name} {}", number(says))?;
            }
        }
        f.write_str(".")
    }
}

/// The model of the first processor in `/proc/cpuinfo`.
fn model(cpuinfo: &str) -> String {
    let mut lines = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    let model = lines.find(|(key, _)| key.trim() == "model name");
    model.map_or_else(|| format!("unnamed {}", std::env::consts::ARCH), |(_, name)| name.trim().to_owned())
}

/// The number in what a tool says of its version, where there is one.
fn number(says: &str) -> &str {
    let mut words = says.split_ascii_whitespace().rev();
    let version = |word: &&str| word.contains('.') && word.chars().all(|c| c.is_ascii_digit() || c == '.');
    words.find(version).unwrap_or(says)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_named_and_where_it_has_no_name_its_kind() {
        let text = "processor\t: 0\nmodel name\t: An Example CPU @ 2.60GHz\nprocessor\t: 1\nmodel name\t: Another\n";
        assert_eq!(model(text), "An Example CPU @ 2.60GHz");
        assert!(model("").starts_with("unnamed "));
    }

    #[test]
    fn what_tools_say_is_told_by_number() {
        let tools = [
            ("gcc", "gcc (Debian 12.2.0-14+deb12u1) 12.2.0"),
            ("make", "GNU Make 4.3"),
            ("sed", "4.9"),
            ("qemu", "QEMU emulator version 7.2.17 (Debian 1:7.2+dfsg-7+deb12u14)"),
            ("dnsmasq", "unknown"),
        ];
        let facts = Facts {
            processor: "CPU".into(),
            processors: 2,
            version: "0.1.0".into(),
            profile: "release".into(),
            ipxe: "2.0.0".into(),
            commit: "12798ec29aa8a64d8675c4378b99f5fe28447afb".into(),
            tools: tools.map(|(name, says)| (name.to_owned(), says.to_owned())).into(),
        };
        assert_eq!(
            facts.to_string(),
            "CPU, 2 processors. netboot-loaders 0.1.0 (release build), iPXE 2.0.0 (12798ec29aa8), gcc 12.2.0, make 4.3, \
             qemu 7.2.17, dnsmasq unknown."
        );
    }
}
