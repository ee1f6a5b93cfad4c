//! Rules about the addresses that commands fetch from, and about what a build lacks.

use super::images::base_name;
use super::{KnownCommand, Linter};
use crate::address::{self, FetchAddress, Purpose, Scheme};
use crate::arguments::Arguments;
use crate::commands::{Availability, CommandSpec, IpxeRelease};
use crate::rule::{Rule, Severity};
use crate::settings::distance;
use crate::syntax::{ScriptWord, Span, expansions};
use crate::target::ScriptPlatform;

/// Names of files that only BIOS builds start, by their ends.
const OF_BIOS: [&str; 7] = [".c32", ".0", ".kpxe", ".kkpxe", ".pxe", ".lkrn", "memdisk"];

/// What a command needs in a build.
struct Need<'n> {
    what: String,
    /// The name of the command or scheme.
    name: &'n str,
    /// The builds that have it by default.
    availability: Availability,
    /// Whether a certain build lacks it.
    lacks: bool,
}

impl<'s, 't> Linter<'s, 't> {
    /// Checks the addresses in a command: those that it fetches from, and any others.
    pub(super) fn fetched(&mut self, known: &KnownCommand<'s, 't>) {
        let name = known.name;
        if super::shows(name) {
            return;
        }
        let Some(purpose) = purpose(name) else {
            // A fast check first, because few of the many words are addresses.
            let marked = |word: &&ScriptWord<'_>| memchr::memmem::find(word.text.as_bytes(), b":/").is_some();
            for word in known.command.arguments().iter().filter(marked) {
                let (scheme, rest) = address::split_scheme(&word.text);
                let Some(scheme) = scheme else { continue };
                if Scheme::of(scheme).is_some() && rest.starts_with("//") {
                    self.address(known, word, None);
                } else if looks_like_web(scheme, rest) {
                    let wanted = format!("wanted an address that begins with {}", Scheme::known());
                    let finding =
                        self.report(Rule::BadAddress, word.span, wanted, "correct the beginning of the address");
                    finding.severity = Severity::Warning;
                    finding.word = Some(word.text.clone().into_owned());
                }
            }
            return;
        };
        let own = known.arguments.positional;
        // Further words are arguments of the fetched file, not addresses.
        for word in own.iter().take(if takes_several(name, purpose) { own.len() } else { 1 }) {
            self.out.addresses.push((self.line(known.line).number, word.text.clone().into_owned()));
            self.address(known, word, Some(purpose));
        }
        if let Some(word) = own.first().filter(|word| !word.template) {
            self.image_type(known, word);
            self.chain_of_setting(known, word);
        }
    }

    /// Checks the address `word`, which must be suitable for `purpose`.
    fn address(&mut self, known: &KnownCommand<'s, 't>, word: &ScriptWord<'t>, purpose: Option<Purpose>) {
        self.password(word);
        if word.template {
            return;
        }
        let bad = |linter: &mut Self, message: String, remedy: &str| {
            let severity = Rule::BadAddress.severity();
            let finding = linter.report(Rule::BadAddress, word.span, message, remedy);
            finding.severity = severity;
            finding.word = Some(word.text.clone().into_owned());
        };
        if word.text.starts_with("data:") {
            if self.target.ipxe < IpxeRelease::Master {
                let message = self.newer("`data:`", IpxeRelease::Master, "the command would fail");
                self.report(Rule::VersionDifference, word.span, message, "use a newer iPXE, or a server");
            }
            return;
        }
        let address = match FetchAddress::parse(&word.text) {
            Ok(address) => address,
            Err(wanted) => return bad(self, format!("wanted {wanted}"), "correct the address"),
        };
        let Some(scheme) = address.scheme else {
            if address::lacks_scheme(&word.text) {
                let message = format!("wanted an address that begins with {}", Scheme::known());
                bad(self, message, "write `http://` before it");
            }
            return;
        };
        let Some(scheme) = Scheme::of(scheme) else {
            let message = format!("wanted an address that begins with {}", Scheme::known());
            return bad(self, message, "correct the beginning of the address");
        };
        if (purpose, scheme.purpose) == (Some(Purpose::Files), Purpose::Disks) {
            return bad(self, "a disk and not a file".to_owned(), "use `sanboot` or `sanhook` for it");
        }
        if address.leads_nowhere() {
            let message = "wanted the address of another machine: a loader is no server".to_owned();
            return bad(self, message, "name the server");
        }
        let line = self.line(known.line).number;
        self.feature(line, &scheme.prefix(), scheme.availability);
        let of_build = self.target.available.as_ref();
        let lacks_scheme = of_build.is_some_and(|build| !build.schemes.contains(scheme.name));
        let lacks_ipv6 = of_build.is_some_and(|build| !build.ipv6);
        let (what, availability) = (format!("`{}`", scheme.prefix()), scheme.availability);
        let need = Need { what, name: scheme.name, availability, lacks: lacks_scheme };
        self.lacks(known, word.span, need);
        if let Some(host) = address.ipv6() {
            self.feature(line, host, address::IPV6);
            let need = Need {
                what: "an IPv6 address".to_owned(),
                name: "ipv6",
                availability: address::IPV6,
                lacks: lacks_ipv6,
            };
            self.lacks(known, word.span, need);
        }
    }

    /// Checks whether the builds that the script is for have the command.
    pub(super) fn availability(&mut self, known: &KnownCommand<'s, 't>) {
        let lacks = self.target.available.as_ref().is_some_and(|build| !build.commands.contains(known.name));
        let availability = known.spec.availability_in(self.target.ipxe);
        let usual = availability == Availability::Always && !self.target.platform.lacks_driver_of(known.name);
        let has = if self.target.available.is_some() { !lacks } else { usual };
        if has {
            return;
        }
        let need = Need { what: format!("`{}`", known.name), name: known.name, availability, lacks };
        self.lacks(known, known.command.words[0].span, need);
    }

    /// Reports that what `known` needs in `span` is missing.
    fn lacks(&mut self, known: &KnownCommand<'s, 't>, span: Span, need: Need<'_>) {
        let Need { what, name, availability, lacks } = need;
        let then = if known.handled { "the command fails" } else { "the script ends here" };
        if let Some(build) = &self.target.available {
            if lacks {
                let message = format!("{what} is not in {}: {then}", build.name);
                let sure = !known.handled && !self.questions.platform;
                let severity = if sure { Severity::Error } else { Severity::Warning };
                self.report(Rule::MissingFeature, span, message, "use a build that has it, or do without it")
                    .severity = severity;
            }
            return;
        }
        let platform = self.target.platform;
        let availability = availability.in_release(self.target.ipxe);
        let by_macro =
            |name: &str| format!("{what} needs `{name}`: {} does not have it by default, and", platform.builds());
        let (severity, found) = match platform.build() {
            Some(_) if self.questions.platform => return,
            Some(_) if platform.lacks_driver_of(name) => {
                (Severity::Warning, format!("{what} is not in {}, and", platform.builds()))
            }
            Some(kind) => match availability.missing(kind) {
                Some(name) => (Severity::Warning, by_macro(name)),
                None => return,
            },
            None => match availability {
                Availability::OnRequest(name) => {
                    (Severity::Note, format!("{what} needs `{name}`: no build has it by default, and"))
                }
                _ => return,
            },
        };
        let message = format!("{found} {then}");
        self.report(Rule::MissingFeature, span, message, "use a build that has it, or do without it").severity =
            severity;
    }

    /// Checks the type of an image by its name.
    fn image_type(&mut self, known: &KnownCommand<'_, '_>, word: &ScriptWord<'_>) {
        let name = base_name(&word.text);
        let ends = |end: &str| {
            name.len() >= end.len()
                && name.is_char_boundary(name.len() - end.len())
                && name[name.len() - end.len()..].eq_ignore_ascii_case(end)
        };
        let of_build = self.target.available.as_ref();
        let is_bios = of_build.map_or(self.target.platform == ScriptPlatform::Bios, |build| {
            !build.images.contains("efi_image") && build.images.contains("bzimage")
        });
        let is_efi = of_build
            .map_or(matches!(self.target.platform, ScriptPlatform::Efi | ScriptPlatform::SecureBoot), |build| {
                build.images.contains("efi_image")
            });
        let is_linux = of_build.map_or(self.target.platform == ScriptPlatform::Linux, |build| {
            !build.images.contains("efi_image") && !build.images.contains("bzimage") && build.images.contains("script")
        });
        let starts = super::boots(known.name) || matches!(known.name, "kernel" | "imgload" | "imgselect");
        if !starts || self.questions.platform {
            return;
        }
        let found = if is_bios && ends(".efi") {
            "is an EFI application, which a BIOS build does not start"
        } else if is_efi && OF_BIOS.iter().any(|end| ends(end)) {
            "is a program for BIOS, which a UEFI build does not start"
        } else if is_linux && (ends(".efi") || OF_BIOS.iter().any(|end| ends(end)) || name.starts_with("vmlinuz")) {
            "is no script, and a build for Linux starts nothing else"
        } else {
            return;
        };
        self.report(
            Rule::MissingFeature,
            word.span,
            format!("`{}` {found}", word.text),
            "load a file for the platform",
        );
    }

    fn chain_of_setting(&mut self, known: &KnownCommand<'_, '_>, word: &ScriptWord<'_>) {
        if !matches!(known.name, "chain" | "boot" | "imgexec") {
            return;
        }
        let (found, _) = expansions(&word.text);
        let of = |name: &str| found.iter().find(|it| it.name == name);
        let whole = |name: &str| of(name).is_some_and(|it| it.span.end - it.span.start == word.text.len());
        if of("filename").is_some() && !self.questions.filename {
            let message =
                "`${filename}` is usually the loader that runs already, which would load itself again for ever";
            self.report(
                Rule::ChainOfSetting,
                word.span,
                message,
                "check it with `isset` and `iseq`, or write the address",
            );
        } else if whole("root-path") && !self.questions.root_path {
            let message = "without an answer that has a root path, this loads the script's own address again";
            let remedy = "check it with `isset ${root-path}` before";
            self.report(Rule::ChainOfSetting, word.span, message, remedy).severity = Severity::Note;
        }
    }

    fn password(&mut self, word: &ScriptWord<'_>) {
        let Some((_, rest)) = word.text.split_once("://") else { return };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let Some((user, _)) = authority.rsplit_once('@') else { return };
        let Some((_, password)) = user.split_once(':') else { return };
        if !password.is_empty() && !password.contains(['$', '{', '<']) && !word.template {
            let message = "has a password, which everybody who gets the script can read";
            self.report(Rule::SecretInScript, word.span, message, "ask for it with `login`, or set it elsewhere");
        }
    }
}

/// Checks whether an address with this scheme, and the `rest` after its colon, is one of the web with a letter too few
/// or too many.
fn looks_like_web(scheme: &str, rest: &str) -> bool {
    let web = ["http", "https", "tftp"];
    let single = rest.strip_prefix('/').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_alphanumeric()));
    scheme.len() <= "https".len() + 1
        && (web.contains(&scheme) && single
            || rest.starts_with("//") && web.iter().any(|web| distance(scheme, web) == 1))
}

/// Returns the addresses that the command in `line`, which settings have been expanded in, fetches from.
#[must_use]
pub fn fetched_addresses(line: &str) -> Vec<&str> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let Some((name, words)) = words.split_first() else { return Vec::new() };
    let (Some(purpose), Some(spec)) = (purpose(name), CommandSpec::of(name)) else { return Vec::new() };
    let plain: Vec<ScriptWord<'_>> = words.iter().map(|word| ScriptWord::plain(word)).collect();
    let options = words.len() - Arguments::read(spec, &plain).positional.len();
    let count = if takes_several(name, purpose) { words.len() } else { 1 };
    words[options..].iter().take(count).copied().collect()
}

/// Checks whether all words of the command `name` are addresses, and none is an argument of what is fetched.
fn takes_several(name: &str, purpose: Purpose) -> bool {
    purpose == Purpose::Disks || name == "imgverify"
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_some_words_of_a_command_are_fetched() {
        for (line, wanted) in [
            ("chain --timeout 5 --name a http://a b=https://c", &["http://a"][..]),
            ("kernel vmlinuz, 38 bytes: a=https://b", &["vmlinuz,"]),
            ("sanboot --drive 0x80 iscsi:a iscsi:b", &["iscsi:a", "iscsi:b"]),
            ("echo see https://ipxe.org/err", &[]),
            ("failed: Not found (https://ipxe.org/2d0c)", &[]),
            ("boot", &[]),
            ("", &[]),
        ] {
            assert_eq!(fetched_addresses(line), wanted, "{line}");
        }
    }
}
