//! What a loader's script means for DHCP servers: whether it goes where option 17 says, and the user class that the
//! loader's requests have.

use camino::Utf8Path;
use netboot_script::settings::is_option;
use netboot_script::shows;
use netboot_script::syntax::{ParsedScript, ScriptCommand, Templates, expansions};

use crate::base::diagnostic::{Diagnostic, Location};
use crate::base::secrets::shown;

/// User class of iPXE, unless its script sets another one. A boot ROM that is iPXE itself uses it as well.
pub(super) const IPXE: &str = "iPXE";

/// Longest user class in a recipe, in bytes. Option 77 has room for 255, and a longer one ends `dhcp` with an error.
const LONGEST_CLASS: usize = 64;

/// A script as DHCP servers see the loader that runs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoaderScript {
    /// What it does with option 17.
    pub use_of_option_17: OptionUse,
    /// User class of the loader's requests; `None` if recipes cannot match it.
    pub class: Option<String>,
    /// Requests with another user class than `class`.
    flaws: Vec<ClassFlaw>,
}

/// What a script does with option 17.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionUse {
    /// Nothing.
    None,
    /// A command uses its value.
    Value,
    /// Only `autoboot` in this line uses it, as the address of a disk.
    Disk(usize),
}

/// A command of a script that sets a user class which the recipes do not match.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ClassFlaw {
    line: usize,
    /// The command.
    command: String,
    kind: FlawKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum FlawKind {
    /// The class is not the same in each request, or not a plain word.
    Word,
    /// The setting has another spelling.
    Spelling,
    /// Another command sets the class that counts.
    Several(String),
    /// An earlier `dhcp` has the class of iPXE.
    Late(String),
}

/// A command that sets the user class.
struct ClassSetter<'t> {
    line: usize,
    command: &'t ScriptCommand<'t>,
    class: Result<String, FlawKind>,
}

impl LoaderScript {
    /// Reads the script `text`.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let script = ParsedScript::parse(text, Templates::None);
        let (mut setters, mut counted, mut early, mut asks) = (Vec::new(), 0, false, false);
        for (line, command) in script.commands() {
            if matches!(command.name(), Some("dhcp" | "ifconf" | "autoboot")) {
                (counted, asks) = (setters.len(), true);
                early |= setters.is_empty();
            } else if let Some(class) = class_of(command) {
                setters.push(ClassSetter { line: line.number, command, class });
            }
        }
        // What comes after the last request counts for nothing. Without a request, the script does not say when it asks.
        setters.truncate(if asks { counted } else { setters.len() });
        let class = setters.last().map_or_else(|| Some(IPXE.to_owned()), |last| last.class.clone().ok());
        let flaws = flaws(&setters, class.as_deref(), early);
        Self { use_of_option_17: use_of_option_17(&script), class, flaws }
    }

    /// Checks whether the script goes where option 17 says.
    #[must_use]
    pub fn follows(&self) -> bool {
        self.use_of_option_17 != OptionUse::None
    }

    /// Returns warnings about user classes that recipes do not match; diagnostics call the script `file`.
    pub(super) fn class_warnings(&self, file: &Utf8Path) -> impl Iterator<Item = Diagnostic> {
        self.flaws.iter().map(move |ClassFlaw { line, command, kind }| {
            let command = shown(command);
            let message = match kind {
                FlawKind::Word => format!(
                    "`{command}`: wanted one word of at most {LONGEST_CLASS} letters, digits, `.`, `_` and `-`: DHCP sends \
                     no option 17 to a loader with another user class"
                ),
                FlawKind::Spelling => format!(
                    "`{command}`: wanted `set user-class NAME`: DHCP sends no option 17 to a loader whose user class is \
                     set in another way"
                ),
                FlawKind::Several(class) => format!(
                    "`{command}` is not the last user class before `dhcp`: DHCP sends option 17 to `{class}` alone"
                ),
                FlawKind::Late(class) => format!(
                    "`{command}` comes after a `dhcp` as `{IPXE}`: DHCP sends option 17 to `{class}` alone"
                ),
            };
            Location::line(file, *line).finding(
                message,
                "let the script say `set user-class NAME` once, before its first `dhcp`, as robust.ipxe does",
            )
        })
    }

    /// Returns the warning that the script takes option 17 for a disk; diagnostics call it `file`.
    pub(super) fn disk_warning(&self, file: &Utf8Path) -> Option<Diagnostic> {
        let OptionUse::Disk(line) = self.use_of_option_17 else { return None };
        let message = "`autoboot` takes option 17 for a disk, and `boot` of network.toml is a script";
        Some(Location::line(file, line).finding(message, "let the script say `dhcp` and `chain ${root-path}`"))
    }
}

/// Returns the flaws of `setters`, whose last one counts and sets `class`. `early` says that a request comes before them.
fn flaws(setters: &[ClassSetter<'_>], class: Option<&str>, early: bool) -> Vec<ClassFlaw> {
    let flaw = |setter: &ClassSetter<'_>, kind| {
        let command: Vec<&str> = setter.command.words.iter().map(|word| &*word.text).collect();
        ClassFlaw { line: setter.line, command: command.join(" "), kind }
    };
    let of_setter = |setter: &ClassSetter<'_>| match (&setter.class, class) {
        (Err(kind), _) => Some(flaw(setter, kind.clone())),
        (Ok(own), Some(class)) if own != class => Some(flaw(setter, FlawKind::Several(class.to_owned()))),
        _ => None,
    };
    let mut flaws: Vec<ClassFlaw> = setters.iter().filter_map(of_setter).collect();
    if let (Some(class), Some(first), true) = (class.filter(|class| *class != IPXE), setters.first(), early)
        && flaws.is_empty()
    {
        flaws.push(flaw(first, FlawKind::Late(class.to_owned())));
    }
    flaws
}

/// Returns the user class that `command` sets, if it sets one. `set` takes all words after the name, and none for the
/// class of iPXE.
fn class_of(command: &ScriptCommand<'_>) -> Option<Result<String, FlawKind>> {
    let name = command.name().filter(|name| matches!(*name, "set" | "clear" | "read" | "inc"))?;
    let (setting, value) = command.arguments().split_first()?;
    if !is_setting(&setting.text, 77, "user-class") {
        return None;
    }
    Some(match (name, value) {
        _ if setting.text != "user-class" => Err(FlawKind::Spelling),
        ("clear", _) | ("set", []) => Ok(IPXE.to_owned()),
        ("set", [word]) if is_plain(&word.text) => Ok(word.text.clone().into_owned()),
        ("set", _) => Err(FlawKind::Word),
        _ => Err(FlawKind::Spelling),
    })
}

/// Checks whether every recipe can match the user class `word` as it stands.
fn is_plain(word: &str) -> bool {
    word.len() <= LONGEST_CLASS && word.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

/// Checks whether the word `text` names the DHCP option `code`, whose own name is `option`.
fn is_setting(text: &str, code: u32, option: &str) -> bool {
    let expansion = format!("${{{text}}}");
    let (found, _) = expansions(&expansion);
    found.last().is_some_and(|setting| is_option(setting.block, setting.name, code, option))
}

fn use_of_option_17(script: &ParsedScript<'_>) -> OptionUse {
    let is_option_17 = |block, name| is_option(block, name, 17, "root-path");
    // A name that comes from another setting can be any that the script mentions.
    let (mut indirect, mut mentioned, mut autoboot) = (false, false, None);
    for (line, command) in script.commands() {
        if command.name() == Some("autoboot") {
            autoboot = autoboot.or(Some(line.number));
        }
        // What is only shown leads nowhere.
        for word in command.words.iter().filter(|_| !command.name().is_some_and(shows)) {
            let (found, _) = expansions(&word.text);
            if found.iter().any(|setting| is_option_17(setting.block, setting.name)) {
                return OptionUse::Value;
            }
            indirect |= found.iter().any(|setting| setting.name.contains("${"));
            mentioned |= is_setting(&word.text, 17, "root-path");
        }
    }
    match autoboot {
        _ if indirect && mentioned => OptionUse::Value,
        Some(line) => OptionUse::Disk(line),
        None => OptionUse::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the user class of a loader whose script has these lines, and its warnings.
    fn class(lines: &str) -> (Option<String>, Vec<String>) {
        let script = LoaderScript::read(&format!("#!ipxe\n{lines}\n"));
        let warnings = script.class_warnings(Utf8Path::new("a.ipxe")).map(|warning| warning.to_string());
        (script.class.clone(), warnings.collect())
    }

    #[test]
    fn a_script_can_choose_its_user_class() {
        for (lines, wanted) in [
            ("dhcp && chain ${root-path}", "iPXE"),
            ("  set user-class netboot-loaders\ndhcp", "netboot-loaders"),
            ("set user-class netboot-loaders\nchain ${root-path}", "netboot-loaders"),
            ("set user user-class x\n# set user-class y\ndhcp", "iPXE"),
            ("set user-class a\n:again\ndhcp || goto again\nset user-class a\nifconf", "a"),
            ("set user-class\ndhcp", "iPXE"),
            ("clear user-class\nautoboot", "iPXE"),
            ("set \\\nuser-class a.b_c-1\ndhcp", "a.b_c-1"),
            // The first request is the last one.
            ("dhcp\nset user-class a", "iPXE"),
            ("set user-class a\ndhcp\nclear user-class", "a"),
            ("set smbios/77 a\ndhcp", "iPXE"),
        ] {
            assert_eq!(class(lines), (Some(wanted.to_owned()), vec![]), "{lines}");
        }
    }

    #[test]
    fn the_last_user_class_before_a_request_counts_and_others_are_warned_of() {
        for (lines, wanted, line, text) in [
            ("set user-class a\nset user-class b\ndhcp", "b", 2, "DHCP sends option 17 to `b` alone"),
            ("set user-class a\nclear user-class\ndhcp", "iPXE", 2, "DHCP sends option 17 to `iPXE` alone"),
            ("dhcp || shell\nset user-class a\ndhcp", "a", 3, "comes after a `dhcp` as `iPXE`"),
            ("iseq a b && set user-class a || set user-class b\ndhcp", "b", 2, "option 17 to `b` alone"),
        ] {
            let (class, warnings) = class(lines);
            assert_eq!(class.as_deref(), Some(wanted), "{lines}");
            let [warning] = &warnings[..] else { panic!("{lines}: {warnings:?}") };
            assert!(warning.starts_with(&format!("a.ipxe:{line}: `set user-class a` ")), "{warning}");
            assert!(warning.contains(text), "{warning}");
        }
    }

    #[test]
    fn a_user_class_that_no_recipe_can_match_is_warned_of() {
        let long = "x".repeat(65);
        for set in [
            "set user-class my class",
            "set user-class x,y",
            "set user-class a\"b",
            "set user-class a'b",
            "set user-class a;b",
            "set user-class a#b",
            "set user-class ä",
            "set user-class ${hostname}",
            "set user-class:string foo",
            "set user-class:hex 61:62",
            "set net0/user-class foo",
            "set ${card}/user-class foo",
            "set 77 foo",
            "set 0x4d foo",
            "read user-class",
            "inc user-class",
            &format!("set user-class {long}"),
        ] {
            let (class, warnings) = class(&format!("{set}\ndhcp"));
            assert_eq!(class, None, "{set}");
            let [warning] = &warnings[..] else { panic!("{set}: {warnings:?}") };
            assert!(warning.starts_with(&format!("a.ipxe:2: `{set}`: wanted ")), "{warning}");
        }
    }

    #[test]
    fn option_17_has_many_spellings() {
        let used = |lines: &str| LoaderScript::read(&format!("#!ipxe\n{lines}\n")).use_of_option_17;
        for lines in [
            "chain ${root-path}",
            "chain ${net0/root-path}",
            "chain ${netX/root-path:uristring}",
            "chain ${root-path:string}",
            "chain ${17:string}",
            "sanboot ${net0.dhcp/root-path}",
            "isset ${net${idx}/root-path} && goto chain ||",
            "chain ${${card}/root-path}",
            "set p root-path\nchain ${${p}}",
            "set p 17\nchain ${net0/${p}}",
            "autoboot || chain --autofree \\\n  ${root-path}",
        ] {
            assert_eq!(used(lines), OptionUse::Value, "{lines}");
        }
        for lines in [
            "# not ${root-path}\necho here # nor ${root-path}",
            "chain ${filename}",
            "echo root-path ${rootpath} ${smbios/17}",
            "chain ${${p}}",
            "set root-path a",
            "dhcp\necho option 17: ${root-path}\nchain http://192.0.2.1/x",
        ] {
            assert_eq!(used(lines), OptionUse::None, "{lines}");
        }
        assert_eq!(used("set user-class a\nautoboot"), OptionUse::Disk(3));
    }
}
