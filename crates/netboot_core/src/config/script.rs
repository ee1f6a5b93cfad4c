//! Embedded scripts: rendered from a template, checked, and at most as large as their slot.

use std::collections::HashMap;

use camino::Utf8PathBuf;
use netboot_script::address::{self, Scheme};
use netboot_script::{Availability, Feature, Finding, Review, Rule, Severity};

use super::pins::{IpxePin, NEWEST_KNOWN};
use super::template::{self, Rendered, ScriptFlaw, Template, Vars};
use super::values::{self, Inserted, Misuse};
use crate::base::diagnostic::{Diagnostic, Location};
use crate::base::secrets::{self, Secret, SecretKind};
use crate::loader::target::Platform;
use crate::stamp::slot::{Slot, SlotSize, TooLong};

/// The name of the embedded script as an image inside iPXE. It is part of a loader's identity.
pub const IMAGE_NAME: &str = "embedded.ipxe";

/// An embedded script that iPXE accepts and that fits its slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// The file of the template, as named in `sites.toml`.
    pub source: Utf8PathBuf,
    /// The web addresses among the variables that the script uses: its intended targets.
    pub addresses: Vec<String>,
    text: String,
    size: SlotSize,
}

/// Rules for checking a script.
#[derive(Debug, Clone, Copy)]
pub struct ScriptRules {
    /// The slot that it has to fit.
    pub size: SlotSize,
    /// Whether it gets a larger slot if it is too long.
    pub grow: bool,
    /// Whether it can have commands that no known iPXE has.
    pub unknown_commands: bool,
}

/// Errors from checking a script.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flaws {
    /// Flaws of the script.
    pub flaws: Vec<ScriptFlaw>,
    /// Errors in its variables.
    pub values: Vec<BadValue>,
    /// The needed size, if no permitted slot has room for the script.
    pub too_long: Option<TooLong>,
    /// The number of its last line.
    pub last_line: usize,
}

/// An invalid variable value for the place where the template inserts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadValue {
    /// The name of the variable.
    pub variable: String,
    /// The message: what was found and what was wanted.
    pub message: String,
    /// The suggested remedy.
    pub remedy: String,
}

impl Script {
    /// Renders `template` for `site`, or for the root of the tree, and checks the result by `rules`. Also returns the
    /// script's requirements and warnings.
    ///
    /// # Errors
    ///
    /// Returns all flaws of the script.
    pub fn check(
        template: &Template,
        site: Option<&str>,
        vars: &Vars,
        rules: ScriptRules,
    ) -> Result<(Self, ScriptNotes), Flaws> {
        let ScriptRules { size, grow, unknown_commands } = rules;
        let (rendered, undefined) = match template.render(site, vars) {
            Ok(rendered) => (rendered, None),
            // The rest of the script can still be checked.
            Err((flaw, rest)) if rest.text.is_empty() => return Err(Flaws { flaws: vec![*flaw], ..Flaws::default() }),
            Err((flaw, rest)) => (rest, Some(*flaw)),
        };
        let needed = rendered.text.len() + usize::from(!rendered.text.ends_with('\n'));
        // For a script that no slot can hold, reporting its length is enough.
        let Judged { mut flaws, values, notes } = if needed <= SlotSize::MAX.bytes() {
            judge(template, vars, &rendered, unknown_commands)
        } else {
            Judged::default()
        };
        flaws.extend(undefined);
        let text = rendered.text;
        let fitting = if grow { SlotSize::for_bytes(needed).map(|fitting| fitting.max(size)) } else { Some(size) };
        let fitting = fitting.filter(|fitting| needed <= fitting.bytes());
        match fitting {
            Some(size) if flaws.is_empty() && values.is_empty() => Ok((Self::new(template, vars, text, size), notes)),
            _ => Err(Flaws {
                last_line: text.lines().count().max(1),
                too_long: fitting.is_none().then_some(TooLong { needed, slot: size }),
                flaws,
                values,
            }),
        }
    }

    /// Renders a script that has already been checked, for a slot of `size`.
    ///
    /// # Panics
    ///
    /// Panics if [`Script::check`] would fail.
    #[must_use]
    pub fn render(template: &Template, site: Option<&str>, vars: &Vars, size: SlotSize) -> Self {
        let rendered =
            template.render(site, vars).expect("the same template with the same variables was rendered before");
        Self::new(template, vars, rendered.text, size)
    }

    fn new(template: &Template, vars: &Vars, text: String, size: SlotSize) -> Self {
        let is_address = |value: &&str| value.starts_with("http://") || value.starts_with("https://");
        let addresses = vars.all().into_values().filter(is_address).filter(|value| text.contains(value));
        Self { source: template.source.clone(), addresses: addresses.map(str::to_owned).collect(), text, size }
    }

    /// Returns the rendered script.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the slot that the script fills.
    ///
    /// # Panics
    ///
    /// Never panics, because the script has been checked to fit.
    #[must_use]
    pub fn slot(&self) -> Slot {
        Slot::fill(self.text.as_bytes(), self.size).expect("it was checked that the script fits")
    }
}

/// Requirements and warnings of a script.
#[derive(Debug, Default)]
pub struct ScriptNotes {
    /// Features that the script needs in a build.
    pub features: Vec<Feature>,
    /// Commands that no known iPXE has, each with its line.
    pub unknown: Vec<(usize, String)>,
    /// What probably does not do what its author wants.
    pub warnings: Vec<Finding>,
    /// Secrets that would be published with the script, each with the variable that contains it, if any does.
    pub secrets: Vec<(Secret, Option<String>)>,
}

/// The complete result of checking a script.
#[derive(Default)]
struct Judged {
    flaws: Vec<ScriptFlaw>,
    values: Vec<BadValue>,
    notes: ScriptNotes,
}

/// Checks a script that was `rendered` from `template` with `vars`, and attributes each flaw to the script or to a
/// variable. Unknown commands become notes if the script may have them.
fn judge(template: &Template, vars: &Vars, rendered: &Rendered, unknown_commands: bool) -> Judged {
    let Review { mut findings, features, addresses } = Review::of(&rendered.text);
    let (keys, secrets): (Vec<_>, Vec<_>) =
        secrets::find(rendered.text.as_bytes()).into_iter().partition(|secret| secret.kind == SecretKind::PrivateKey);
    if !keys.is_empty() {
        // They would show the key, line by line.
        findings.clear();
    }
    let (flaws, warnings): (Vec<_>, Vec<_>) =
        findings.into_iter().partition(|finding| finding.severity == Severity::Error);
    let misuses = values::misuses(&rendered.text, &rendered.marked, &rendered.inserted);
    let mut names = HashMap::new();
    vars.all().into_iter().for_each(|(name, value)| {
        names.entry(value).or_insert(name);
    });
    let origin = Origin { template, names, inserted: &rendered.inserted };
    let attributed = |secret: Secret| {
        let variable = origin.of_secret(&secret, &rendered.text);
        (secret, variable)
    };
    let secrets = secrets.into_iter().map(attributed).collect();
    let (unknown, flaws): (Vec<_>, Vec<_>) =
        flaws.into_iter().partition(|flaw| unknown_commands && flaw.unknown_command().is_some());
    let unknown = unknown.iter().filter_map(|flaw| Some((flaw.line, flaw.unknown_command()?.to_owned()))).collect();
    // A later version can have what 2.0.0 lacks.
    let new = |warning: &Finding| unknown_commands && warning.rule == Rule::VersionDifference;
    let warnings = warnings.into_iter().filter(|warning| !new(warning)).collect();
    let mut judged = Judged { notes: ScriptNotes { features, unknown, warnings, secrets }, ..Judged::default() };
    for flaw in flaws {
        let message = flaw.text(secrets::shown);
        let variable = flaw.address().and_then(|address| origin.of_address(address));
        let (line, remedy) = (flaw.line, flaw.remedy);
        match variable {
            Some(variable) => judged.values.push(BadValue { variable, message, remedy }),
            None => judged.flaws.push(ScriptFlaw { line, message, remedy, of_site: false }),
        }
    }
    judged.flaws.extend(keys.iter().map(|key| ScriptFlaw {
        line: key.line,
        message: "has a private key, which anybody could read in a loader".to_owned(),
        remedy: "remove it".to_owned(),
        of_site: false,
    }));
    judged.flaws.sort();
    if !misuses.is_empty() {
        // With misused values, the text is not a script whose other flaws matter.
        judged.flaws.clear();
    }
    judged.values.extend(addresses.iter().filter_map(|(_, address)| origin.lacks_scheme(address)));
    for Misuse { text, message, remedy } in misuses {
        if let Some(variable) = origin.of_text(&text) {
            // A misused value is worse than a flawed address.
            judged.values.retain(|bad| bad.variable != variable);
            let remedy = remedy.replace("{{ name |", &format!("{{{{ {variable} |"));
            judged.values.push(BadValue { variable, message, remedy });
        } else {
            let line = rendered.text.lines().position(|line| line.contains(&text)).unwrap_or(0) + 1;
            judged.flaws.push(ScriptFlaw { line, message, remedy, of_site: true });
        }
    }
    judged
}

/// Returns the warning that a build for `platform` lacks the macro `name`, which `feature` at `location` needs.
#[must_use]
pub fn lacking(feature: &Feature, location: &Location, name: &str, platform: Platform) -> Diagnostic {
    let why = match feature.availability {
        Availability::OnRequest(_) => "which no build has on its own",
        Availability::X86Only(_) => "which is for x86 alone",
        Availability::OtherThanX86(_) => "which builds for x86 do not have on their own",
        Availability::Arm64Only(_) => "which only builds for 64-bit ARM have on their own",
        _ => "which a BIOS build does not have on its own",
    };
    let message = format!("`{}` needs `{name}`, {why}: the {platform} loaders would stop there", feature.name);
    let help = match feature.availability {
        Availability::X86Only(_) => "give those loaders a script of their own, or leave them out".to_owned(),
        _ => format!("name a configuration that has `#define {name}` with `config`, or leave those loaders out"),
    };
    location.finding(message, help)
}

/// Returns the warning that the loaders of iPXE's signed set lack the macro `name`, which `feature` at `location` needs.
pub(super) fn not_in_signed_set(feature: &Feature, location: &Location, name: &str) -> Diagnostic {
    let message = format!(
        "`{}` needs `{name}`, which iPXE's signed loaders do not have: those of `set` would stop there",
        feature.name
    );
    location.finding(message, "leave it out, or build loaders with it, and sign them with a key of your own")
}

/// Returns the warning that the loaders of iPXE's signed set do not trust the site's own certificates for the https
/// address at `location`.
pub(super) fn untrusted_by_signed_set(location: &Location) -> Diagnostic {
    location.finding(
        "iPXE's signed loaders trust public authorities only, and never those in `trust`: those of `set` stop here if the \
         server's certificate is from one of them",
        "use http there, a certificate of a public authority, or loaders that are signed with a key of your own",
    )
}

/// Returns the warning that the pinned iPXE lacks `command` at `location`, which the release `since` introduced.
pub(super) fn too_new(command: &str, since: &str, pin: &IpxePin, location: &Location) -> Diagnostic {
    location.finding(
        format!("`{command}` is new in iPXE {since}, and the pin is {}: the command would fail", pin.version),
        format!("pin iPXE {since} or a later version, or name a script without `{command}`"),
    )
}

/// Returns the warning that `command` at `location` is not known, while the pinned iPXE is newer than the known ones.
pub(super) fn unknown(command: &str, pin: &IpxePin, location: &Location) -> Diagnostic {
    location.finding(
        format!(
            "`{command}` is not a command of iPXE {NEWEST_KNOWN}, and this tool does not know whether {} has it",
            pin.version
        ),
        "see https://ipxe.org/cmd for the commands",
    )
}

/// The origins of a script's parts.
struct Origin<'a> {
    template: &'a Template,
    /// Variable names by value; the first one wins.
    names: HashMap<&'a str, &'a str>,
    inserted: &'a [Inserted],
}

impl Origin<'_> {
    /// Returns the variable with the value `text`.
    fn of_text(&self, text: &str) -> Option<String> {
        self.names.get(text).map(|name| (*name).to_owned())
    }

    /// Returns the variable that `address` comes from, at least in part, unless the template itself contains it.
    fn of_address(&self, address: &str) -> Option<String> {
        let parts = self.inserted.iter().filter(|part| address.contains(&part.text) && !self.template.has(address));
        parts.max_by_key(|part| part.text.len()).and_then(|part| self.of_text(&part.text))
    }

    /// Returns the variable that makes `secret` in the script `text`: its value is one, or without it, the line has none.
    fn of_secret(&self, secret: &Secret, text: &str) -> Option<String> {
        let line = text.lines().nth(secret.line.checked_sub(1)?)?;
        let has = |text: &str| secrets::find(text.as_bytes()).iter().any(|found| found.kind == secret.kind);
        let makes = |part: &&Inserted| {
            let count = if part.text.is_empty() { 0 } else { line.matches(&*part.text).count() };
            count > 0 && has(&part.text) || count == 1 && has(line) && !has(&line.replace(&part.text, ""))
        };
        self.inserted.iter().filter(makes).max_by_key(|part| part.text.len()).and_then(|part| self.of_text(&part.text))
    }

    /// Returns the error of an `address` without a scheme that begins with a variable which is an address according to
    /// its name.
    fn lacks_scheme(&self, address: &str) -> Option<BadValue> {
        if address::split_scheme(address).0.is_some() || address.starts_with("${") {
            return None;
        }
        let begins = self.inserted.iter().find(|part| address.starts_with(&part.text))?;
        let variable = self.of_text(&begins.text).filter(|name| template::is_address(name))?;
        let found = secrets::shown(address);
        (!address::lacks_scheme(address)).then(|| BadValue {
            variable,
            message: format!("found `{found}`, wanted an address that begins with {}", Scheme::known()),
            remedy: "write the whole address; a path on the TFTP server is below `tftp://${next-server}/`".into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use camino::Utf8Path;

    const STRICT: ScriptRules = ScriptRules { size: SlotSize::DEFAULT, grow: false, unknown_commands: false };

    fn check(text: &str, grow: bool) -> Result<Script, Flaws> {
        let file = Utf8Path::new("s.ipxe");
        let template = Template::new(file, file, text.as_bytes()).unwrap();
        Script::check(&template, None, &Vars::default(), ScriptRules { grow, ..STRICT }).map(|(script, _)| script)
    }

    #[test]
    fn a_script_that_fits_fills_its_slot() {
        let exactly = format!("#!ipxe\n#{}\n", "x".repeat(4096 - 9));
        assert_eq!(check(&exactly, false).unwrap().slot().bytes(), exactly.as_bytes());
        assert_eq!(check(exactly.trim_end(), false).unwrap().slot().bytes(), exactly.as_bytes());
        assert_eq!(check("#!ipxe\nshell", false).unwrap().slot().bytes()[..14], *b"#!ipxe\nshell\n\n");
    }

    #[test]
    fn a_script_that_does_not_fit_gets_a_larger_slot_if_it_may() {
        let long = |bytes: usize| format!("#!ipxe\n#{}\n", "x".repeat(bytes - 9));
        let error = |needed| {
            let too_long = Some(TooLong { needed, slot: SlotSize::DEFAULT });
            Err(Flaws { too_long, last_line: 2, ..Flaws::default() })
        };
        assert_eq!(check(&long(4097), false), error(4097));
        assert_eq!(check(&long(4097), true).unwrap().slot().size().bytes(), 8192);
        assert_eq!(check(&long(65_537), true), error(65_537));
        assert_eq!(check("#!ipxe\n", true).unwrap().slot().size(), SlotSize::DEFAULT);
    }

    #[test]
    fn all_flaws_come_at_once_and_a_script_without_any_can_be_rendered_again() {
        let found = check("#!ipxe\nwget\n{{ a }}\n", false).unwrap_err();
        assert_eq!(
            found.flaws.iter().map(|flaw| (flaw.line, flaw.of_site)).collect::<Vec<_>>(),
            [(2, false), (3, true)]
        );
        let file = Utf8Path::new("s.ipxe");
        let template = Template::new(file, file, b"#!ipxe\nchain {{ a }}\necho {{ b }}\n").unwrap();
        let vars = [("a", "http://192.0.2.1/x"), ("b", "c"), ("unused", "http://192.0.2.2/")];
        let vars = vars.iter().collect();
        let (script, notes) = Script::check(&template, Some("x"), &vars, STRICT).unwrap();
        assert_eq!(script, Script::render(&template, Some("x"), &vars, SlotSize::DEFAULT));
        assert_eq!((script.addresses, notes.features), (vec!["http://192.0.2.1/x".to_owned()], Vec::new()));
    }

    #[test]
    fn a_command_that_only_a_newer_ipxe_can_have_is_no_flaw_there() {
        let file = Utf8Path::new("s.ipxe");
        let check = |text: &[u8], unknown_commands| {
            let template = Template::new(file, file, text).unwrap();
            Script::check(&template, None, &Vars::default(), ScriptRules { unknown_commands, ..STRICT })
                .map(|(_, notes)| notes.unknown)
                .map_err(|flaws| flaws.flaws.iter().map(|flaw| flaw.line).collect::<Vec<_>>())
        };
        let (fine, flawed): (&[u8], &[u8]) = (b"#!ipxe\nimgset a b\n", b"#!ipxe\nimgset a b\ngoto nowhere\n");
        assert_eq!((check(fine, false), check(fine, true)), (Err(vec![2]), Ok(vec![(2, "imgset".to_owned())])));
        assert_eq!((check(flawed, false), check(flawed, true)), (Err(vec![2, 3]), Err(vec![3])));
    }

    /// Describes the errors of a script `text` whose variable `boot_url` is `value`.
    fn told(text: &str, value: &str) -> String {
        let file = Utf8Path::new("s.ipxe");
        let template = Template::new(file, file, format!("#!ipxe\n{text}\n").as_bytes()).unwrap();
        let vars = Vars::from_iter(&[("boot_url", value), ("other", "x")]);
        match Script::check(&template, None, &vars, STRICT) {
            Ok(_) => String::new(),
            Err(Flaws { flaws, values, .. }) => {
                let flaws = flaws.iter().map(|flaw| format!("{}: {}", flaw.line, flaw.message));
                let values = values.iter().map(|value| format!("{}: {}", value.variable, value.message));
                flaws.chain(values).collect::<Vec<_>>().join("\n")
            }
        }
    }

    #[test]
    fn what_is_wrong_with_a_variable_is_said_of_it_and_not_of_the_template() {
        let chain = "echo {{ boot_url }}\nchain --autofree {{ boot_url }}/a && exit ||";
        for good in ["http://192.0.2.1/${mac}", "${base}/x", "tftp://${next-server}", "https://[2001:db8::1]:8443"] {
            assert_eq!(told(chain, good), "", "{good}");
        }
        for (value, message) in [
            ("htp://192.0.2.1", "found `htp://192.0.2.1/a`, wanted an address that begins with"),
            ("192.0.2.1", "found `192.0.2.1/a`, wanted an address that begins with"),
            ("boot", "found `boot/a`, wanted an address that begins with `http://`"),
            ("http://192.0.2.1 ", "found `http://192.0.2.1 `, wanted one word"),
            ("http://192.0.2.1/\u{a0}", "found `http://192.0.2.1/\\u{a0}/a`, wanted an address without `\\u{a0}`"),
            ("--replace", "found `--replace`, which iPXE would take for an option"),
            ("x || shell", "found `x || shell`, where iPXE would end a command at `||`"),
        ] {
            let found = told(chain, value);
            assert!(found.starts_with(&format!("boot_url: {message}")) && found.lines().count() == 1, "{found}");
        }
        // Addresses that the template contains or computes are attributed to the template.
        assert!(told("chain htp://x", "x").starts_with("2: found `htp://x`"));
        assert!(told("echo\nchain {{ boot_url | upper }}", "a b").starts_with("3: found `A B`, wanted one word"));
        // A variable that is not an address according to its name can be a path.
        assert_eq!(told("chain {{ other }}", ""), "");
    }
}
