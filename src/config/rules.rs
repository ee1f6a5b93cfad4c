//! What iPXE takes as a script, and what a build needs to have all of its commands.

use std::borrow::Cow;
use std::collections::HashSet;

use camino::Utf8Path;

use super::address::{self, FetchAddress, Purpose, Scheme};
use super::ipxe_commands::{self, Availability};
use super::ipxe_config::IpxeConfig;
use super::toml::shortened;
use crate::base::secrets::{self, Secret};
use crate::loader::target::{Loader, Platform};

/// More words on a line than this can overflow the stack of a BIOS loader.
const MAX_WORDS: usize = 200;

/// Something wrong with a script.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScriptFlaw {
    /// The line, counted from 1.
    pub line: usize,
    /// What was found and what was wanted.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
    /// Whether it lies in what a site says, and not in the script.
    pub of_site: bool,
    /// The address that it is about, which may come from a variable.
    pub address: Option<String>,
}

impl ScriptFlaw {
    /// The same as it is kept for many sites: short, and without the address, which is a part of the message.
    pub(super) fn shortened(self) -> Self {
        Self { message: shortened(self.message), remedy: shortened(self.remedy), address: None, ..self }
    }
}

/// A command or protocol that not every build has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Feature {
    /// The line that uses it, counted from 1.
    pub line: usize,
    /// The command, or how an address begins.
    pub name: String,
    /// What it depends on.
    pub availability: Availability,
}

/// What there is to say of a script.
#[derive(Debug, Default)]
pub struct ScriptReview {
    /// What is wrong with it, in the order of its lines.
    pub flaws: Vec<ScriptFlaw>,
    /// What it needs of a build.
    pub features: Vec<Feature>,
    /// The addresses that commands fetch from, each with its line.
    pub addresses: Vec<(usize, String)>,
    /// Operators that are not told from the words beside them, each with its line.
    pub glued: Vec<(usize, String)>,
    /// What gets published with it and should not.
    pub secrets: Vec<Secret>,
}

impl ScriptReview {
    /// Reads `text` as iPXE would.
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
        for secret in secrets::find(text.as_bytes()) {
            if secret.kind == secrets::SecretKind::PrivateKey {
                review.flaw(secret.line, "has a private key, which anybody could read in a loader", "take it out");
            } else {
                review.secrets.push(secret);
            }
        }
        review.flaws.sort();
        review
    }

    fn flaw(&mut self, line: usize, message: impl Into<String>, remedy: &str) {
        self.flaws.push(ScriptFlaw {
            line,
            message: message.into(),
            remedy: remedy.into(),
            of_site: false,
            address: None,
        });
    }

    /// Judges how the script begins and ends.
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
        // What iPXE computes cannot be judged.
        let plain = |word: &&&str| !word.contains("${");
        let name = words.first().filter(plain);
        if let Some(name) = name {
            match ipxe_commands::availability(name) {
                None => {
                    let message = format!("`{name}` is not a command of iPXE");
                    self.flaw(line, message, "see https://ipxe.org/cmd for the commands");
                }
                Some(availability) => self.feature(line, name, availability),
            }
        }
        let target = words.get(1).filter(|_| name == Some(&"goto")).filter(plain);
        if let Some(target) = target.filter(|target| !labels.contains(*target)) {
            let message = format!("goes to `{target}`, and there is no such label");
            self.flaw(line, message, "add the label as `:name` on a line of its own");
        }
        if !name.is_some_and(|name| shows(name)) {
            for word in words.iter().filter(|word| is_glued(word)) {
                self.glued.push((line, (*word).to_owned()));
            }
            self.fetched(line, words);
        }
    }

    /// Judges the addresses of the command `words`: those that it fetches from, and others that it is given.
    fn fetched(&mut self, line: usize, words: &[&str]) {
        let name = words.first().copied().unwrap_or_default();
        let Some(purpose) = purpose(name) else {
            // There are many words, and few of them are addresses.
            let marked = |word: &&&str| memchr::memmem::find(word.as_bytes(), b"://").is_some();
            let known = |word: &&&str| address::split_scheme(word).0.and_then(Scheme::of).is_some();
            for word in words.iter().skip(1).filter(marked).filter(known) {
                self.address(line, word, None);
            }
            return;
        };
        let own: Vec<&str> = positional(words).collect();
        // What follows the first one is for what is fetched, and not for iPXE.
        let several = purpose == Purpose::Disks || name == "imgverify";
        for word in own.iter().take(if several { own.len() } else { 1 }) {
            self.addresses.push((line, (*word).to_owned()));
            self.address(line, word, Some(purpose));
        }
    }

    /// Judges the address `word`, which is to be good for `purpose`.
    fn address(&mut self, line: usize, word: &str, purpose: Option<Purpose>) {
        let mut flaw = |message: String, remedy: &str| {
            let (remedy, address) = (remedy.to_owned(), Some(word.to_owned()));
            self.flaws.push(ScriptFlaw { line, message, remedy, of_site: false, address });
        };
        let found = || address::shown(word);
        let address = match FetchAddress::parse(word) {
            Ok(address) => address,
            Err(wanted) => return flaw(format!("found `{}`, wanted {wanted}", found()), "correct the address"),
        };
        let Some(scheme) = address.scheme else {
            if address::lacks_scheme(word) {
                flaw(
                    format!("found `{}`, wanted an address that begins with {}", found(), Scheme::known()),
                    "write `http://` before it",
                );
            }
            return;
        };
        let Some(scheme) = Scheme::of(scheme) else {
            return flaw(
                format!("found `{}`, wanted an address that begins with {}", found(), Scheme::known()),
                "correct the beginning of the address",
            );
        };
        if (purpose, scheme.purpose) == (Some(Purpose::Files), Purpose::Disks) {
            return flaw(format!("found `{}`, a disk and not a file", found()), "use `sanboot` or `sanhook` for it");
        }
        self.feature(line, &scheme.prefix(), scheme.availability);
        if let Some(host) = address.ipv6() {
            self.feature(line, host, address::IPV6);
        }
    }

    fn feature(&mut self, line: usize, name: &str, availability: Availability) {
        if availability != Availability::Always {
            self.features.push(Feature { line, name: name.to_owned(), availability });
        }
    }
}

/// The number of the last line.
#[must_use]
pub fn last_line(text: &str) -> usize {
    text.lines().count().max(1)
}

/// Lines as iPXE joins them, each with the number of its first line.
pub(super) fn logical_lines(text: &str) -> impl Iterator<Item = (usize, Cow<'_, str>)> {
    let mut lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).enumerate();
    std::iter::from_fn(move || {
        let (index, first) = lines.next()?;
        let mut joined = Cow::Borrowed(first);
        while joined.ends_with('\\') {
            let joined = joined.to_mut();
            joined.pop();
            joined.push_str(lines.next().map_or("", |(_, next)| next));
        }
        Some((index + 1, joined))
    })
}

/// The commands that the words of a line are, without its label and its comment.
pub(super) fn commands<'a, 't>(words: &'a [&'t str]) -> impl Iterator<Item = &'a [&'t str]> {
    let end = words.iter().position(|word| word.starts_with('#')).unwrap_or(words.len());
    let labelled = usize::from(end > 0 && words[0].starts_with(':'));
    words[labelled..end].split(|word| matches!(*word, "||" | "&&" | ";"))
}

/// Whether the command `name` shows its words to a person.
pub(super) fn shows(name: &str) -> bool {
    ["echo", "prompt", "item", "menu"].contains(&name)
}

/// What the command `name` fetches its first word for, that is no option, where it does.
fn purpose(name: &str) -> Option<Purpose> {
    match name {
        "boot" | "chain" | "imgexec" | "imgextract" | "imgfetch" | "imgload" | "imgselect" | "imgverify" | "initrd"
        | "kernel" | "module" | "shim" => Some(Purpose::Files),
        "sanboot" | "sanhook" => Some(Purpose::Disks),
        _ => None,
    }
}

/// The words of a command that are no options of it.
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

/// Whether the option `word` has no value, or has it after `=`; that of others is the next word.
pub(super) fn is_flag(word: &str) -> bool {
    let flags = ["--autofree", "--replace", "--no-describe", "--keep", "-a", "-r", "-k"];
    flags.contains(&word) || word.contains('=')
}

/// Whether `word` has an operator in it, which iPXE takes for a part of the word.
fn is_glued(word: &str) -> bool {
    if memchr::memchr3(b'&', b'|', b';', word.as_bytes()).is_none() {
        return false;
    }
    let inside = ["&&", "||"].iter().any(|operator| word.contains(operator));
    // Addresses and arguments of kernels may have them in the middle.
    let value = word.contains("://") || word.contains('=');
    let operators = |c: char| "&|".contains(c);
    let ends = word.ends_with("&&") || word.ends_with("||") || word.starts_with("&&") || word.starts_with("||");
    let more = !word.chars().all(operators);
    more && (ends || (inside && !value) || (word.ends_with(';') && !value))
}

fn label(line: &str) -> Option<&str> {
    line.trim_start().strip_prefix(':')?.split_ascii_whitespace().next()
}

/// What a person should know of `word` in `line` of the script `file`, which has an operator in it: the text of a warning.
#[must_use]
pub fn glued(file: &Utf8Path, line: usize, word: &str) -> String {
    let operator = ["&&", "||"].into_iter().find(|operator| word.contains(operator)).unwrap_or(";");
    format!(
        "{file}:{line}: `{word}` is one word to iPXE, which takes `{operator}` for an operator only between blanks\n\
         hint: write blanks around `{operator}`"
    )
}

impl Feature {
    /// Why it matters that a build for `platform` does not define `name`: the text of a warning on what stands at `place`.
    #[must_use]
    pub fn lacking(&self, place: &str, name: &str, platform: Platform) -> String {
        let why = match self.availability {
            Availability::OnRequest(_) => "which no build has on its own",
            _ => "which a BIOS build does not have on its own",
        };
        format!(
            "{place}: `{}` needs `{name}`, {why}: the {platform} loaders would stop there\n\
             hint: name a configuration that has `#define {name}` with `config`, or leave those loaders out",
            self.name
        )
    }

    /// The one that addresses of https need, in `line`.
    #[must_use]
    pub fn https(line: usize) -> Self {
        let name = ipxe_commands::HTTPS;
        let availability = ipxe_commands::availability(name).unwrap_or(Availability::Always);
        Self { line, name: name.to_owned(), availability }
    }

    /// For which platforms `loaders` that are built as `config` says lack it, with the macro that a configuration would have to define.
    pub fn lacks(&self, loaders: &[Loader], config: &IpxeConfig) -> impl Iterator<Item = (Platform, &'static str)> {
        Platform::ALL.into_iter().filter_map(|platform| {
            let name = self.availability.missing_on(platform)?;
            let built = loaders.iter().any(|loader| loader.platform() == platform);
            (built && !config.defines(name)).then_some((platform, name))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flaws(text: &str) -> String {
        let flaws = ScriptReview::of(text).flaws;
        let lines = flaws.iter().map(|flaw| format!("{}: {}; {}", flaw.line, flaw.message, flaw.remedy));
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
                "2: goes to `fial`, and there is no such label; add the label as `:name` on a line of its own".into(),
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
        assert!(error.starts_with("2: goes to `unknown`"), "{error}");
        assert!(flaws("#!ipxe\nset x \\\n  y ||\nwget\n").starts_with("4: `wget`"));
    }

    #[test]
    fn what_not_every_build_has_is_listed() {
        let review = ScriptReview::of(
            "#!ipxe\nconsole --picture https://192.0.2.1/x\nping host # https://x\nchain x || echo see https://x\n",
        );
        let missing = |platform| -> Vec<String> {
            let features = review.features.iter();
            let lacking = features.filter_map(|it| Some((it, it.availability.missing_on(platform)?)));
            lacking.map(|(it, name)| format!("{} {} {name}", it.line, it.name)).collect()
        };
        assert_eq!(
            missing(Platform::Bios),
            ["2 console CONSOLE_CMD", "2 https:// DOWNLOAD_PROTO_HTTPS", "3 ping PING_CMD"]
        );
        assert_eq!(missing(Platform::EfiX64), ["3 ping PING_CMD"]);
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
            let found = ScriptReview::of(&format!("#!ipxe\n{bad}\n")).flaws;
            assert!(found[0].message.starts_with(&message.replace('\u{a0}', "\\u{a0}")), "{found:?}");
        }
        let review = ScriptReview::of("#!ipxe\nchain https://[2001:db8::1]/ || initrd nfs://a/b\nchain file:/a\n");
        let needs: Vec<_> = review.features.iter().map(|it| (it.line, it.name.as_str())).collect();
        assert_eq!(needs, [(2, "https://"), (2, "[2001:db8::1]"), (2, "nfs://"), (3, "file://")]);
    }

    #[test]
    fn an_operator_without_blanks_around_it_is_none() {
        let glued = |text: &str| ScriptReview::of(&format!("#!ipxe\n{text}\n")).glued;
        assert_eq!(glued("dhcp net0&& goto a || goto b"), [(2, "net0&&".into())]);
        assert_eq!(glued("dhcp || chain x ||shell"), [(2, "||shell".into())]);
        assert_eq!(glued("dhcp net0&&chain x"), [(2, "net0&&chain".into())]);
        assert_eq!(glued("ifopen net0; dhcp"), [(2, "net0;".into())]);
        assert_eq!(glued("kernel x a=b&&c ds=nocloud;s=http://d/"), []);
        assert_eq!(glued("echo a&& b\nchain http://a/?b&&c\ndhcp && shell || \\\n  exit"), []);
    }
}
