//! Inputs of the objects of a build. Their digest is the key of the build tree; which of them changed is the reason why
//! everything is compiled again.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::build::make;
use crate::config::ipxe_config::{IpxeConfig, Sbat};
use crate::config::pins::IpxePin;
use crate::digest::Sha256Digest;
use crate::fetch::ipxe::Patch;
use crate::loader::target::Platform;
use crate::printable::shortened;
use crate::toolchain::Toolchain;

/// Version of the steps that this tool itself applies to a source tree before make runs. Raise it whenever they change,
/// so that nothing made in the old way is served.
const STEPS: u32 = 2;

const PIN: &str = "pin";
const MAKE: &str = "make";

/// Maximum number of changes that are named.
const MAX_NAMED: usize = 3;

/// Everything that affects the objects of a build: for each kind of input, the inputs by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ObjectInputs(BTreeMap<String, BTreeMap<String, Value>>);

/// An input: how a message shows it, for example as a version, and the digest of what counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Value(String, Sha256Digest);

impl ObjectInputs {
    /// Lists the inputs for `platform` in the configuration `config`.
    pub(crate) fn of(
        (pin, patches, toolchain): (&IpxePin, &[Patch], &Toolchain),
        config: &IpxeConfig,
        platform: Platform,
    ) -> Self {
        let mut list = Self::default();
        list.add(PIN, "", &pin.commit.to_string(), format!("{} {}", pin.commit, pin.content).as_bytes());
        list.add("netboot-loaders", "", "", STEPS.to_string().as_bytes());
        list.add("platform", "", platform.as_str(), platform.as_str().as_bytes());
        for (name, content) in &config.headers {
            list.add("configuration", name, "", content);
        }
        for (name, content) in &config.trust {
            list.add("trust", name, "", content);
        }
        if let Some(Sbat { name, generation }) = config.sbat(platform) {
            let sbat = format!("{name} {generation}");
            list.add("secure-boot", "sbat", &sbat, sbat.as_bytes());
        }
        for patch in patches {
            list.add("patch", &patch.name, "", &patch.content);
        }
        for tool in toolchain.relevant(platform.arch(), !config.trust.is_empty()) {
            // The version of a package tells more than what a program reports.
            let package = tool.package.as_ref().and_then(|package| package.split_once(' '));
            let shown = package.map_or(&*tool.version, |(_, version)| version);
            list.add("toolchain", &tool.name, shown, tool.digest().to_string().as_bytes());
        }
        for assignment in make::variables(pin, config, platform).into_iter().chain(make::environment(pin)) {
            let (name, value) = assignment.split_once('=').unwrap_or((&assignment, ""));
            list.add(MAKE, name, value, value.as_bytes());
        }
        list
    }

    /// Adds an input of a `kind` with the `content` that counts; messages show it as `shown`.
    fn add(&mut self, kind: &str, name: &str, shown: &str, content: &[u8]) {
        let value = Value(shown.to_owned(), Sha256Digest::of(content));
        self.0.entry(kind.to_owned()).or_default().insert(name.to_owned(), value);
    }

    /// Returns the digest of what counts in all inputs.
    pub(crate) fn digest(&self) -> Sha256Digest {
        let each = |(kind, inputs): (&String, &BTreeMap<String, Value>)| {
            inputs.iter().map(|(name, Value(_, digest))| format!("{kind} {name} {digest}\n")).collect::<String>()
        };
        Sha256Digest::of(self.0.iter().map(each).collect::<String>().as_bytes())
    }

    /// Describes in one line what has changed since `before`, the first changes by name.
    #[must_use]
    pub fn changes_since(&self, before: &Self) -> String {
        let (none, mut changes) = (BTreeMap::new(), Vec::new());
        let same_pin = self.0.get(PIN) == before.0.get(PIN);
        for kind in self.0.keys().chain(before.0.keys()).collect::<BTreeSet<_>>() {
            // Variables of make follow the pin.
            if kind == MAKE && !same_pin {
                continue;
            }
            let [now, then] = [self, before].map(|inputs| inputs.0.get(kind).unwrap_or(&none));
            for name in now.keys().chain(then.keys()).collect::<BTreeSet<_>>() {
                let change = match (then.get(name), now.get(name)) {
                    (Some(then), Some(now)) if then.1 == now.1 => continue,
                    (None, _) => format!("{kind} added: {}", shortened(name)),
                    (_, None) => format!("{kind} removed: {}", shortened(name)),
                    (Some(Value(then, _)), Some(Value(now, _))) if then == now => {
                        format!("{kind} changed: {}", shortened(name))
                    }
                    (Some(Value(then, _)), Some(Value(now, _))) => {
                        let [then, now] = [then, now].map(|shown| shortened(shown));
                        format!("{kind} changed: {name} {then} -> {now}")
                    }
                };
                changes.push(change.replace(":  ", ": ").trim_end_matches([':', ' ']).to_owned());
            }
        }
        let more = changes.len().saturating_sub(MAX_NAMED);
        changes.truncate(MAX_NAMED);
        changes.extend((more > 0).then(|| format!("and {more} more")));
        changes.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(of: &[(&str, &str, &str, &str)]) -> ObjectInputs {
        let mut list = ObjectInputs::default();
        for (kind, name, shown, content) in of {
            list.add(kind, name, shown, content.as_bytes());
        }
        list
    }

    #[test]
    fn only_what_counts_decides_about_the_key() {
        let key = |shown: &str, content: &str| inputs(&[("toolchain", "perl", shown, content)]).digest();
        assert_eq!(key("1", "a"), key("2", "a"));
        assert_ne!(key("1", "a"), key("1", "b"));
        assert_ne!(key("1", "a"), inputs(&[("toolchain", "make", "1", "a")]).digest());
    }

    #[test]
    fn what_changed_is_told_in_one_line() {
        let old = [
            ("pin", "", "1", ""),
            ("configuration", "general.h", "", "a"),
            ("patch", "x.patch", "", "a"),
            ("toolchain", "perl", "5.36.0-7+deb12u2", "a"),
        ];
        let before = inputs(&old);
        let changes = |new: &[_]| inputs(&[&old, new].concat()).changes_since(&before);
        assert_eq!(changes(&[("pin", "", "2", "2"), ("make", "EPOCH", "2", "2")]), "pin changed: 1 -> 2");
        assert_eq!(changes(&[("make", "EPOCH", "2", "2")]), "make added: EPOCH");
        assert_eq!(changes(&[("configuration", "general.h", "", "b")]), "configuration changed: general.h");
        assert_eq!(changes(&[("netboot-loaders", "", "", "2")]), "netboot-loaders added");
        assert_eq!(
            changes(&[("toolchain", "perl", "5.36.0-7+deb12u4", "b")]),
            "toolchain changed: perl 5.36.0-7+deb12u2 -> 5.36.0-7+deb12u4"
        );
        // The same version, and other bytes.
        assert_eq!(changes(&[("toolchain", "perl", "5.36.0-7+deb12u2", "b")]), "toolchain changed: perl");
        assert_eq!(
            inputs(&[("toolchain", "gcc", "12", "a")]).changes_since(&before),
            "configuration removed: general.h; patch removed: x.patch; pin removed; and 2 more"
        );
        // A package of another version with the same files changes nothing.
        assert_eq!(changes(&[("toolchain", "perl", "5.36.0-7+deb12u4", "a")]), "");
        let long = "x".repeat(100_000);
        assert!(changes(&[("patch", &long, "", "b")]).len() < 1_000);
    }
}
