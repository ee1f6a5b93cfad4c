//! What iPXE takes as a script, and what a build needs to have all of its commands.

use std::borrow::Cow;

use camino::Utf8Path;

use super::ipxe_commands::{self, Availability, HTTPS};
use super::loader::Platform;

/// More words on a line than this can overflow the stack of a BIOS loader.
const MAX_WORDS: usize = 200;

/// Something wrong with a script.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flaw {
    /// The line, counted from 1.
    pub line: usize,
    /// What was found and what was wanted.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
    /// Whether it lies in what a site says, and not in the script.
    pub of_site: bool,
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
pub struct Review {
    /// What is wrong with it, in the order of its lines.
    pub flaws: Vec<Flaw>,
    /// What it needs of a build.
    pub features: Vec<Feature>,
}

impl Review {
    /// Reads `text` as iPXE would.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let mut review = Self::default();
        review.frame(text);
        let labels: Vec<&str> = text.lines().filter_map(label).collect();
        for (line, joined) in logical_lines(text) {
            let mut words: Vec<&str> = joined.split_ascii_whitespace().collect();
            if words.len() > MAX_WORDS {
                let message = format!("has more than {MAX_WORDS} words, which can overflow a BIOS loader's stack");
                review.flaw(line, message, "split the line");
            }
            if let Some(comment) = words.iter().position(|word| word.starts_with('#')) {
                words.truncate(comment);
            }
            let labelled = usize::from(words.first().is_some_and(|word| word.starts_with(':')));
            for command in words[labelled..].split(|word| matches!(*word, "||" | "&&" | ";")) {
                review.command(line, command, &labels);
            }
        }
        review.flaws.sort();
        review
    }

    fn flaw(&mut self, line: usize, message: impl Into<String>, remedy: &str) {
        self.flaws.push(Flaw { line, message: message.into(), remedy: remedy.into(), of_site: false });
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

    fn command(&mut self, line: usize, words: &[&str], labels: &[&str]) {
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
        if let Some(target) = target.filter(|target| !labels.contains(target)) {
            let message = format!("goes to `{target}`, and there is no such label");
            self.flaw(line, message, "add the label as `:name` on a line of its own");
        }
        let shows = name.is_some_and(|name| ["echo", "prompt", "item", "menu"].contains(name));
        if !shows
            && words.iter().any(|word| word.starts_with(HTTPS))
            && let Some(availability) = ipxe_commands::availability(HTTPS)
        {
            self.feature(line, HTTPS, availability);
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
fn logical_lines(text: &str) -> impl Iterator<Item = (usize, Cow<'_, str>)> {
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

fn label(line: &str) -> Option<&str> {
    line.trim_start().strip_prefix(':')?.split_ascii_whitespace().next()
}

impl Feature {
    /// Why it matters that a build for `platform` does not define `name`, as the text of a warning on the script
    /// `file`.
    #[must_use]
    pub fn lacking(&self, file: &Utf8Path, name: &str, platform: Platform) -> String {
        let why = match self.availability {
            Availability::OnRequest(_) => "which no build has on its own",
            _ => "which a BIOS build does not have on its own",
        };
        format!(
            "{file}:{}: `{}` needs `{name}`, {why}: the {platform} loaders would stop there\n\
             hint: name a configuration that has `#define {name}` with `config`, or leave those loaders out",
            self.line, self.name
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flaws(text: &str) -> String {
        let flaws = Review::of(text).flaws;
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
        let review = Review::of(
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
}
