//! Embedded scripts: rendered from templates, checked against iPXE's rules, padded to their slot.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, UndefinedBehavior};

use super::ipxe_commands::{self, Availability, HTTPS};
use super::loader::Platform;
use super::reader::{Finding, Place};
use crate::digest::Sha256Digest;

/// The bytes that every loader reserves for its embedded script. Part of a loader's identity: an
/// other slot size makes other loaders.
pub const SLOT: usize = 4096;

/// The name that the embedded script has as an image inside iPXE. Also part of its identity.
pub const IMAGE_NAME: &str = "embedded.ipxe";

/// More words on a line than this can overflow the stack of a BIOS loader.
const MAX_WORDS: usize = 200;

/// An embedded script that iPXE will accept and that fits its slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// The file that it was rendered from, as named in `sites.toml`.
    pub source: Utf8PathBuf,
    /// The web addresses among its variables that it uses: where it is meant to go.
    pub addresses: Vec<String>,
    text: String,
}

impl Script {
    /// Renders `template`, the content of the file `source`, with `vars`, and checks the result.
    /// `file` is what the file is called in findings.
    ///
    /// # Errors
    ///
    /// All that is wrong with it.
    pub fn render(
        source: &Utf8Path,
        file: &Utf8Path,
        template: &[u8],
        vars: &BTreeMap<String, String>,
    ) -> Result<Self, Vec<Finding>> {
        let at = |line| Place { file: file.to_owned(), line, key: String::new() };
        if template.starts_with(b"\xef\xbb\xbf") {
            return Err(vec![at(1).finding(
                "found a byte order mark, wanted `#!ipxe` as the first bytes",
                "save the file as UTF-8 without BOM",
            )]);
        }
        let template = std::str::from_utf8(template).map_err(|error| {
            let line = 1 + template[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
            vec![at(line).finding("is not UTF-8", "save the file as UTF-8")]
        })?;
        let text = expand(template, vars, UndefinedBehavior::Strict).map_err(|error| {
            let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
            let (site, remedy) = if error.kind() == ErrorKind::UndefinedError {
                let known = vars.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
                let site = vars.get("site").map(|site| format!(", for the site `{site}`"));
                (site.unwrap_or_default(), format!("set it under `vars` in sites.toml; known here: {known}"))
            } else {
                (
                    String::new(),
                    "mend the template: `{{ name }}` is a variable, `{% if name is defined %}` a condition".into(),
                )
            };
            let line = error.line().unwrap_or(1);
            let mut findings = vec![at(line).finding(format!("{}{detail}{site}", error.kind()), remedy)];
            // The rest of the script can be judged all the same.
            let lenient = expand(template, vars, UndefinedBehavior::Lenient).unwrap_or_default();
            findings.extend(if lenient.is_empty() { Vec::new() } else { check(&lenient, &at) });
            findings
        })?;
        let findings = check(&text, &at);
        if !findings.is_empty() {
            return Err(findings);
        }
        let is_address = |value: &&String| value.starts_with("http://") || value.starts_with("https://");
        let addresses =
            vars.values().filter(is_address).filter(|value| text.contains(value.as_str())).cloned().collect();
        Ok(Self { source: source.to_owned(), addresses, text })
    }

    /// The script as rendered.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The content of the slot, [`SLOT`] bytes: the script, a newline if it lacks one, newlines.
    #[must_use]
    pub fn padded(&self) -> Vec<u8> {
        let mut bytes = self.text.clone().into_bytes();
        bytes.resize(SLOT, b'\n');
        bytes
    }

    /// The digest of the slot's content.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        Sha256Digest::of(&self.padded())
    }

    /// The commands and protocols that a build for `platform` lacks unless it defines a macro: the
    /// line, the command and the macro.
    #[must_use]
    pub fn needs(&self, platform: Platform) -> Vec<(usize, String, &'static str)> {
        let mut found = Vec::new();
        for command in commands(&self.text) {
            let https = command.fetches_over_https().then_some(HTTPS);
            for feature in command.name().into_iter().chain(https) {
                let missing = ipxe_commands::availability(feature).and_then(|needs| needs.missing_on(platform));
                found.extend(missing.map(|name| (command.line, feature.to_owned(), name)));
            }
        }
        found
    }
}

fn expand(
    template: &str,
    vars: &BTreeMap<String, String>,
    undefined: UndefinedBehavior,
) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(undefined);
    environment.set_debug(true);
    // Enough for any script that fits its slot; a loop without end is not one.
    environment.set_fuel(Some(100_000));
    environment
        .set_syntax(SyntaxConfig::builder().keep_trailing_newline(true).trim_blocks(true).lstrip_blocks(true).build()?);
    environment.render_str(template, vars)
}

fn check(text: &str, at: &dyn Fn(usize) -> Place) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut found = |line, message: String, remedy: &str| findings.push(at(line).finding(message, remedy));
    match text.strip_prefix("#!ipxe") {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_whitespace()) => {}
        _ => found(
            1,
            "does not begin with `#!ipxe`, so iPXE would not take it for a script".into(),
            "make `#!ipxe` the first line",
        ),
    }
    if let Some(offset) = text.find('\0') {
        found(1 + text[..offset].matches('\n').count(), "contains a NUL byte".into(), "remove it");
    }
    let last = text.lines().count().max(1);
    if text.trim_end_matches(['\n', '\r']).ends_with('\\') {
        found(last, "ends in a backslash, which iPXE refuses".into(), "finish the command or remove the backslash");
    }
    let needed = text.len() + usize::from(!text.ends_with('\n'));
    if needed > SLOT {
        found(
            last,
            format!("is {needed} bytes, {} more than the slot of {SLOT}", needed - SLOT),
            "shorten it: put the long part on a web server and `chain` to it",
        );
    }
    for (line, words) in logical_lines(text) {
        if words.len() > MAX_WORDS {
            found(
                line,
                format!("has more than {MAX_WORDS} words, which can overflow a BIOS loader's stack"),
                "split the line",
            );
        }
    }
    let labels: Vec<&str> = text.lines().filter_map(label).collect();
    for command in commands(text) {
        if let Some(target) = command.goto_target().filter(|target| !labels.contains(target)) {
            let message = format!("goes to `{target}`, and there is no such label");
            found(command.line, message, "add the label as `:name` on a line of its own");
        }
        if let Some(name) = command.name().filter(|name| ipxe_commands::availability(name).is_none()) {
            found(
                command.line,
                format!("`{name}` is not a command of iPXE"),
                "see https://ipxe.org/cmd for the commands",
            );
        }
    }
    findings.sort();
    findings
}

/// Lines as iPXE joins them, each with the number of its first line, as words.
fn logical_lines(text: &str) -> impl Iterator<Item = (usize, Vec<String>)> {
    let mut lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).enumerate();
    std::iter::from_fn(move || {
        let (index, first) = lines.next()?;
        let mut joined = first.to_owned();
        while joined.ends_with('\\') {
            joined.pop();
            joined.push_str(lines.next().map_or("", |(_, next)| next));
        }
        Some((index + 1, joined.split_ascii_whitespace().map(str::to_owned).collect()))
    })
}

fn label(line: &str) -> Option<&str> {
    line.trim_start().strip_prefix(':')?.split_ascii_whitespace().next()
}

/// A command of a script.
struct Command {
    line: usize,
    words: Vec<String>,
}

impl Command {
    /// Its name; `None` where iPXE computes it.
    fn name(&self) -> Option<&str> {
        self.words.first().map(String::as_str).filter(|word| !word.contains("${"))
    }

    /// Where it goes to, if that is not computed.
    fn goto_target(&self) -> Option<&str> {
        let target = (self.name()? == "goto").then(|| self.words.get(1)).flatten()?;
        Some(target.as_str()).filter(|target| !target.contains("${"))
    }

    /// Whether it has an `https` address, and does more than show it.
    fn fetches_over_https(&self) -> bool {
        let shows = self.name().is_some_and(|name| ["echo", "prompt", "item", "menu"].contains(&name));
        !shows && self.words.iter().any(|word| word.starts_with(HTTPS))
    }
}

/// The commands of a script, without labels and comments.
fn commands(text: &str) -> Vec<Command> {
    let mut found = Vec::new();
    for (line, mut words) in logical_lines(text) {
        if let Some(comment) = words.iter().position(|word| word.starts_with('#')) {
            words.truncate(comment);
        }
        let labelled = usize::from(words.first().is_some_and(|word| word.starts_with(':')));
        let commands = words[labelled..].split(|word| matches!(word.as_str(), "||" | "&&" | ";"));
        found.extend(commands.filter(|words| !words.is_empty()).map(|words| Command { line, words: words.to_vec() }));
    }
    found
}

/// Why a command's macro matters, as the text of a warning.
#[must_use]
pub fn lacking(file: &Utf8Path, line: usize, command: &str, name: &str, platform: Platform) -> String {
    let why = match ipxe_commands::availability(command) {
        Some(Availability::OnRequest(_)) => "which no build has on its own",
        _ => "which a BIOS build does not have on its own",
    };
    format!(
        "{file}:{line}: `{command}` needs `{name}`, {why}: the {platform} loaders would stop there\n\
         hint: name a configuration that has `#define {name}` with `config`, or leave those loaders out"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(text: &str) -> Result<Script, String> {
        render_with(text, &BTreeMap::new())
    }

    fn render_with(text: &str, vars: &BTreeMap<String, String>) -> Result<Script, String> {
        let file = Utf8Path::new("s.ipxe");
        Script::render(file, file, text.as_bytes(), vars)
            .map_err(|findings| findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn a_script_is_padded_with_newlines_to_the_slot() {
        let script = render("#!ipxe\nshell").unwrap();
        let padded = script.padded();
        assert_eq!(padded.len(), SLOT);
        assert!(padded.starts_with(b"#!ipxe\nshell\n\n"));
        assert!(padded[12..].iter().all(|byte| *byte == b'\n'));
    }

    #[test]
    fn ipxe_settings_pass_through_and_template_variables_are_filled_in() {
        let vars = BTreeMap::from([("boot_url".to_owned(), "http://192.0.2.1/".to_owned())]);
        let script = render_with("#!ipxe\nchain {{ boot_url }}${net0/mac:hexhyp}\n", &vars).unwrap();
        assert_eq!(script.text(), "#!ipxe\nchain http://192.0.2.1/${net0/mac:hexhyp}\n");
    }

    #[test]
    fn an_undefined_variable_is_named() {
        let vars = BTreeMap::from([("boot_url".to_owned(), String::new())]);
        assert_eq!(
            render_with("#!ipxe\nchain {{ boot_ulr }}\n", &vars).unwrap_err(),
            "s.ipxe:2: undefined value: `boot_ulr` is undefined\n  hint: set it under `vars` in sites.toml; known here: `boot_url`"
        );
    }

    #[test]
    fn a_template_that_is_none_gets_another_remedy() {
        let error = render("#!ipxe\nchain {{ boot_url }\n").unwrap_err();
        assert!(
            error.starts_with("s.ipxe:2: syntax error: ") && error.contains("\n  hint: mend the template: "),
            "{error}"
        );
    }

    #[test]
    fn what_ipxe_would_not_take_is_refused() {
        for (text, message) in [
            (
                "",
                "s.ipxe:1: does not begin with `#!ipxe`, so iPXE would not take it for a script\n  hint: make `#!ipxe` the first line",
            ),
            (
                "\n#!ipxe\n",
                "s.ipxe:1: does not begin with `#!ipxe`, so iPXE would not take it for a script\n  hint: make `#!ipxe` the first line",
            ),
            (
                "#!ipxeshell\n",
                "s.ipxe:1: does not begin with `#!ipxe`, so iPXE would not take it for a script\n  hint: make `#!ipxe` the first line",
            ),
            (
                "\u{feff}#!ipxe\n",
                "s.ipxe:1: found a byte order mark, wanted `#!ipxe` as the first bytes\n  hint: save the file as UTF-8 without BOM",
            ),
            (
                "#!ipxe\nshell\0\n",
                "s.ipxe:2: `shell\0` is not a command of iPXE\n  hint: see https://ipxe.org/cmd for the commands\ns.ipxe:2: contains a NUL byte\n  hint: remove it",
            ),
            (
                "#!ipxe\nshell \\\n",
                "s.ipxe:2: ends in a backslash, which iPXE refuses\n  hint: finish the command or remove the backslash",
            ),
            (
                "#!ipxe\ndhcp || wget x\n",
                "s.ipxe:2: `wget` is not a command of iPXE\n  hint: see https://ipxe.org/cmd for the commands",
            ),
            (
                "#!ipxe\ndhcp || goto fial\n:fail\nshell\n",
                "s.ipxe:2: goes to `fial`, and there is no such label\n  hint: add the label as `:name` on a line of its own",
            ),
        ] {
            assert_eq!(render(text).unwrap_err(), message, "{text:?}");
        }
    }

    #[test]
    fn a_script_that_is_too_long_is_told_by_how_much() {
        let exactly = format!("#!ipxe\n#{}\n", "x".repeat(SLOT - 9));
        assert_eq!(exactly.len(), SLOT);
        assert_eq!(render(&exactly).unwrap().padded(), exactly.as_bytes());
        let error = render(exactly.trim_end()).map(|script| script.padded().len());
        assert_eq!(error, Ok(SLOT));
        assert_eq!(
            render(&format!("{exactly}\n")).unwrap_err(),
            "s.ipxe:3: is 4097 bytes, 1 more than the slot of 4096\n  hint: shorten it: put the long part on a web server and `chain` to it"
        );
    }

    #[test]
    fn bytes_that_are_not_utf8_are_found_by_line() {
        let file = Utf8Path::new("s.ipxe");
        let findings = Script::render(file, file, b"#!ipxe\necho \xff\n", &BTreeMap::new()).unwrap_err();
        assert_eq!(findings[0].to_string(), "s.ipxe:2: is not UTF-8\n  hint: save the file as UTF-8");
    }

    #[test]
    fn real_scripts_are_read_as_ipxe_reads_them() {
        render("#!ipxe\r\n:retry\r\ndhcp && chain ${root-path} ||\r\ngoto retry\r\n").unwrap();
        render("#!ipxe\nset x y ; ${cmd} z || \\\n  echo wget\n:label echo hi # wget\ngoto ${x}\n").unwrap();
        let script = render(
            "#!ipxe\nconsole --picture https://192.0.2.1/x\nping host # https://x\nchain x || echo see https://x\n",
        )
        .unwrap();
        let needs = |platform| -> Vec<String> {
            let needs = script.needs(platform).into_iter();
            needs.map(|(line, command, name)| format!("{line} {command} {name}")).collect()
        };
        assert_eq!(
            needs(Platform::Bios),
            ["2 console CONSOLE_CMD", "2 https:// DOWNLOAD_PROTO_HTTPS", "3 ping PING_CMD"]
        );
        assert_eq!(needs(Platform::EfiX64), ["3 ping PING_CMD"]);
        render("#!ipxe\necho Pick where to goto next\n").unwrap();
        let error = render("#!ipxe\ngoto known || goto unknown\n:known\n").unwrap_err();
        assert!(error.starts_with("s.ipxe:2: goes to `unknown`"), "{error}");
    }
}
