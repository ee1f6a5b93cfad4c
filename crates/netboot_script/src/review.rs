//! Checks of a script as iPXE reads it: its errors, and the features that it needs in a build.

use std::collections::HashSet;

use crate::address::{self, FetchAddress, Purpose, Scheme};
use crate::commands::{self, Availability};
use crate::parse::{commands, is_flag, label, last_line, logical_lines, shows};

/// Maximum number of words in a line; more can overflow the stack of a BIOS loader.
const MAX_WORDS: usize = 200;

/// A flaw of a script.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flaw {
    /// The line, counted from 1.
    pub line: usize,
    /// The message: what was found and what was wanted; with an `address`, the text that follows it.
    pub message: String,
    /// The suggested remedy.
    pub remedy: String,
    /// The address at fault, which was found, if `message` begins with what was wanted.
    pub address: Option<String>,
    /// The word that is not a command of iPXE 2.0.0, if that is the flaw.
    pub unknown_command: Option<String>,
}

impl Flaw {
    /// Returns the complete message. `show` formats the address, because it can contain a password.
    pub fn text(&self, show: impl FnOnce(&str) -> String) -> String {
        let Self { message, address, .. } = self;
        address.as_deref().map_or_else(|| message.clone(), |address| format!("found `{}`, {message}", show(address)))
    }
}

/// A command or protocol that not every build, or not every release of iPXE, supports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Feature {
    /// The line that uses it, counted from 1.
    pub line: usize,
    /// The command, or the prefix of an address.
    pub name: String,
    /// The builds that support it.
    pub availability: Availability,
}

/// The result of checking a script.
#[derive(Debug, Default)]
pub struct Review {
    /// Flaws in the order of their lines.
    pub flaws: Vec<Flaw>,
    /// Features that the script needs in a build.
    pub features: Vec<Feature>,
    /// The addresses that commands fetch from, each with its line.
    pub addresses: Vec<(usize, String)>,
    /// Operators that iPXE treats as part of the adjacent word, each with its line.
    pub glued: Vec<(usize, String)>,
}

impl Review {
    /// Checks `text` as iPXE would read it.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let mut review = Self::default();
        review.frame(text);
        let labels: HashSet<&str> = text.lines().filter_map(label).collect();
        for (line, joined) in logical_lines(text) {
            let words: Vec<&str> = joined.split_ascii_whitespace().collect();
            if words.len() > MAX_WORDS {
                let message = format!("has more than {MAX_WORDS} words, which can overflow a BIOS loader's stack");
                review.flaw(line, message, "split the line");
            }
            for command in commands(&words) {
                review.command(line, command, &labels);
            }
        }
        review.flaws.sort();
        review
    }

    fn flaw(&mut self, line: usize, message: impl Into<String>, remedy: &str) {
        let (message, remedy) = (message.into(), remedy.into());
        self.flaws.push(Flaw { line, message, remedy, address: None, unknown_command: None });
    }

    /// Checks how the script begins and ends.
    fn frame(&mut self, text: &str) {
        match text.strip_prefix("#!ipxe") {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_whitespace()) => {}
            _ => self.flaw(
                1,
                "does not begin with `#!ipxe`, so iPXE would not take it for a script",
                "make `#!ipxe` the first line",
            ),
        }
        if let Some(offset) = text.find('\0') {
            self.flaw(1 + text[..offset].matches('\n').count(), "contains a NUL byte", "remove it");
        }
        if text.trim_end_matches(['\n', '\r']).ends_with('\\') {
            let remedy = "finish the command or remove the backslash";
            self.flaw(last_line(text), "ends in a backslash, which iPXE refuses", remedy);
        }
    }

    fn command(&mut self, line: usize, words: &[&str], labels: &HashSet<&str>) {
        // Values that iPXE computes cannot be checked.
        let plain = |word: &&&str| !word.contains("${");
        let name = words.first().filter(plain);
        if let Some(name) = name {
            match commands::availability(name) {
                None => self.flaws.push(Flaw {
                    line,
                    message: format!("`{name}` is not a command of iPXE"),
                    remedy: "see https://ipxe.org/cmd for the commands".to_owned(),
                    address: None,
                    unknown_command: Some((*name).to_owned()),
                }),
                Some(availability) => self.feature(line, name, availability),
            }
        }
        let target = words.get(1).filter(|_| name == Some(&"goto")).filter(plain);
        if let Some(target) = target.filter(|target| !labels.contains(*target)) {
            let message = format!("jumps to the label `{target}`, which does not exist");
            self.flaw(line, message, "add the label as `:name` on a line of its own");
        }
        if !name.is_some_and(|name| shows(name)) {
            for word in words.iter().filter(|word| is_glued(word)) {
                self.glued.push((line, (*word).to_owned()));
            }
            self.fetched(line, words);
        }
    }

    /// Checks the addresses in the command `words`: those that it fetches from, and any others.
    fn fetched(&mut self, line: usize, words: &[&str]) {
        let name = words.first().copied().unwrap_or_default();
        let Some(purpose) = purpose(name) else {
            // A fast check first, because few of the many words are addresses.
            let marked = |word: &&&str| memchr::memmem::find(word.as_bytes(), b"://").is_some();
            let known = |word: &&&str| address::split_scheme(word).0.and_then(Scheme::of).is_some();
            for word in words.iter().skip(1).filter(marked).filter(known) {
                self.address(line, word, None);
            }
            return;
        };
        let own: Vec<&str> = positional(words).collect();
        // Further words are arguments of the fetched file, not addresses.
        let several = purpose == Purpose::Disks || name == "imgverify";
        for word in own.iter().take(if several { own.len() } else { 1 }) {
            self.addresses.push((line, (*word).to_owned()));
            self.address(line, word, Some(purpose));
        }
    }

    /// Checks the address `word`, which must be suitable for `purpose`.
    fn address(&mut self, line: usize, word: &str, purpose: Option<Purpose>) {
        let mut flaw = |message: String, remedy: &str| {
            let (remedy, address) = (remedy.to_owned(), Some(word.to_owned()));
            self.flaws.push(Flaw { line, message, remedy, address, unknown_command: None });
        };
        let address = match FetchAddress::parse(word) {
            Ok(address) => address,
            Err(wanted) => return flaw(format!("wanted {wanted}"), "correct the address"),
        };
        let Some(scheme) = address.scheme else {
            if address::lacks_scheme(word) {
                flaw(format!("wanted an address that begins with {}", Scheme::known()), "write `http://` before it");
            }
            return;
        };
        let Some(scheme) = Scheme::of(scheme) else {
            return flaw(
                format!("wanted an address that begins with {}", Scheme::known()),
                "correct the beginning of the address",
            );
        };
        if (purpose, scheme.purpose) == (Some(Purpose::Files), Purpose::Disks) {
            return flaw("a disk and not a file".to_owned(), "use `sanboot` or `sanhook` for it");
        }
        if address.leads_nowhere() {
            return flaw("wanted the address of another machine: a loader is no server".to_owned(), "name the server");
        }
        self.feature(line, &scheme.prefix(), scheme.availability);
        if let Some(host) = address.ipv6() {
            self.feature(line, host, address::IPV6);
        }
    }

    fn feature(&mut self, line: usize, name: &str, availability: Availability) {
        if availability != Availability::Always || commands::since(name).is_some() {
            self.features.push(Feature { line, name: name.to_owned(), availability });
        }
    }
}

/// Returns what the command `name` fetches from its first word that is not an option, if it fetches anything.
fn purpose(name: &str) -> Option<Purpose> {
    match name {
        "boot" | "chain" | "imgexec" | "imgextract" | "imgfetch" | "imgload" | "imgselect" | "imgverify" | "initrd"
        | "kernel" | "module" | "shim" => Some(Purpose::Files),
        "sanboot" | "sanhook" => Some(Purpose::Disks),
        _ => None,
    }
}

/// Returns the words of a command after its options.
fn positional<'a>(command: &'a [&str]) -> impl Iterator<Item = &'a str> {
    let mut words = command.iter().skip(1).copied().peekable();
    while let Some(word) = words.next_if(|word| word.starts_with('-')) {
        if word == "--" {
            break;
        }
        if !is_flag(word) {
            words.next();
        }
    }
    words
}

/// Checks whether `word` contains an operator, which iPXE treats as part of the word.
fn is_glued(word: &str) -> bool {
    if memchr::memchr3(b'&', b'|', b';', word.as_bytes()).is_none() {
        return false;
    }
    let inside = ["&&", "||"].iter().any(|operator| word.contains(operator));
    // Addresses and kernel arguments can contain operators in the middle.
    let value = word.contains("://") || word.contains('=');
    let operators = |c: char| "&|".contains(c);
    let ends = word.ends_with("&&") || word.ends_with("||") || word.starts_with("&&") || word.starts_with("||");
    let more = !word.chars().all(operators);
    more && (ends || (inside && !value) || (word.ends_with(';') && !value))
}

impl Feature {
    /// Returns the feature that https addresses need, for `line`.
    #[must_use]
    pub fn https(line: usize) -> Self {
        let availability = commands::availability(commands::HTTPS).unwrap_or(Availability::Always);
        Self { line, name: commands::HTTPS.to_owned(), availability }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::BuildKind;

    fn flaws(text: &str) -> String {
        let flaws = Review::of(text).flaws;
        let lines = flaws.iter().map(|flaw| format!("{}: {}; {}", flaw.line, flaw.text(str::to_owned), flaw.remedy));
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_ipxe_would_not_take_is_refused() {
        let no_script =
            "1: does not begin with `#!ipxe`, so iPXE would not take it for a script; make `#!ipxe` the first line";
        let no_command = |line, name| {
            format!("{line}: `{name}` is not a command of iPXE; see https://ipxe.org/cmd for the commands")
        };
        for (text, message) in [
            ("", no_script.to_owned()),
            ("\n#!ipxe\n", no_script.to_owned()),
            ("#!ipxeshell\n", no_script.to_owned()),
            ("#!ipxe\nshell\0\n", no_command(2, "shell\0") + "\n2: contains a NUL byte; remove it"),
            (
                "#!ipxe\nshell \\\n",
                "2: ends in a backslash, which iPXE refuses; finish the command or remove the backslash".into(),
            ),
            ("#!ipxe\ndhcp || wget x\n", no_command(2, "wget")),
            (
                "#!ipxe\ndhcp || goto fial\n:fail\nshell\n",
                "2: jumps to the label `fial`, which does not exist; add the label as `:name` on a line of its own"
                    .into(),
            ),
        ] {
            assert_eq!(flaws(text), message, "{text:?}");
        }
        let long = format!("#!ipxe\necho{}\n", " x".repeat(200));
        assert!(flaws(&long).starts_with("2: has more than 200 words"), "{}", flaws(&long));
    }

    #[test]
    fn real_scripts_are_read_as_ipxe_reads_them() {
        assert_eq!(flaws("#!ipxe\r\n:retry\r\ndhcp && chain ${root-path} ||\r\ngoto retry\r\n"), "");
        assert_eq!(flaws("#!ipxe\nset x y ; ${cmd} z || \\\n  echo wget\n:label echo hi # wget\ngoto ${x}\n"), "");
        assert_eq!(flaws("#!ipxe\necho Pick where to goto next\n"), "");
        let error = flaws("#!ipxe\ngoto known || goto unknown\n:known\n");
        assert!(error.starts_with("2: jumps to the label `unknown`"), "{error}");
        assert!(flaws("#!ipxe\nset x \\\n  y ||\nwget\n").starts_with("4: `wget`"));
    }

    #[test]
    fn what_not_every_build_has_is_listed() {
        let review = Review::of(
            "#!ipxe\nconsole --picture https://192.0.2.1/x\nping host # https://x\nchain x || echo see https://x\n",
        );
        let missing = |kind| -> Vec<String> {
            let features = review.features.iter();
            let lacking = features.filter_map(|it| Some((it, it.availability.missing(kind)?)));
            lacking.map(|(it, name)| format!("{} {} {name}", it.line, it.name)).collect()
        };
        assert_eq!(
            missing(BuildKind::Bios),
            ["2 console CONSOLE_CMD", "2 https:// DOWNLOAD_PROTO_HTTPS", "3 ping PING_CMD"]
        );
        assert_eq!(missing(BuildKind::EfiX86), ["3 ping PING_CMD"]);
    }

    #[test]
    fn a_command_that_not_every_release_has_is_listed() {
        let review = Review::of("#!ipxe\niflinkwait net0 || dhcp\nusbscan x\nimgset y z\n");
        let features: Vec<_> = review.features.iter().map(|it| (it.line, it.name.as_str())).collect();
        assert_eq!(features, [(2, "iflinkwait"), (3, "usbscan")]);
        let unknown: Vec<_> = review.flaws.iter().map(|flaw| (flaw.line, flaw.unknown_command.as_deref())).collect();
        assert_eq!(unknown, [(4, Some("imgset"))]);
    }

    #[test]
    fn addresses_are_judged_where_ipxe_fetches_from_them() {
        let http = "found `htp://a/b`, wanted an address that begins with `http://`, `https://` or `tftp://`";
        let write = "correct the beginning of the address";
        assert_eq!(flaws("#!ipxe\nchain --autofree --name x htp://a/b y ||\n"), format!("2: {http}; {write}"));
        for good in [
            "kernel http://a/k nfsroot=1.2.3.4:/x ip=dhcp root=http://c/d e:f",
            "chain ${x}://a || chain menu.ipxe || boot kernel",
            "sanboot --drive 0x80 iscsi:192.0.2.1::::iqn.x http://a/disk",
            "echo htp://a/b && prompt http://a b",
            "set x y://z && imgargs k http://a/b",
        ] {
            assert_eq!(flaws(&format!("#!ipxe\n{good}\n")), "", "{good}");
        }
        for (bad, message) in [
            ("kernel http:/a/b", "found `http:/a/b`, wanted `http://` and the name of a server"),
            ("set x http://a/\u{a0}", "found `http://a/\u{a0}`, wanted an address without `\\u{a0}`, a no-break space"),
            ("chain 192.0.2.1/a", "found `192.0.2.1/a`, wanted an address that begins with"),
            ("chain iscsi:192.0.2.1::::x", "found `iscsi:192.0.2.1::::x`, a disk and not a file"),
            ("sanhook nope://x", "found `nope://x`, wanted an address that begins with"),
        ] {
            let found = Review::of(&format!("#!ipxe\n{bad}\n")).flaws;
            assert!(found[0].text(str::to_owned).starts_with(message), "{found:?}");
        }
        let review = Review::of("#!ipxe\nchain https://[2001:db8::1]/ || initrd nfs://a/b\nchain file:/a\n");
        let needs: Vec<_> = review.features.iter().map(|it| (it.line, it.name.as_str())).collect();
        assert_eq!(needs, [(2, "https://"), (2, "[2001:db8::1]"), (2, "nfs://"), (3, "file://")]);
    }

    #[test]
    fn an_operator_without_blanks_around_it_is_none() {
        let glued = |text: &str| Review::of(&format!("#!ipxe\n{text}\n")).glued;
        assert_eq!(glued("dhcp net0&& goto a || goto b"), [(2, "net0&&".into())]);
        assert_eq!(glued("dhcp || chain x ||shell"), [(2, "||shell".into())]);
        assert_eq!(glued("dhcp net0&&chain x"), [(2, "net0&&chain".into())]);
        assert_eq!(glued("ifopen net0; dhcp"), [(2, "net0;".into())]);
        assert_eq!(glued("kernel x a=b&&c ds=nocloud;s=http://d/"), []);
        assert_eq!(glued("echo a&& b\nchain http://a/?b&&c\ndhcp && shell || \\\n  exit"), []);
    }
}
