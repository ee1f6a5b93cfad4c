//! A script as a build judges it: its errors and warnings, and the features that it needs.

use crate::commands::{self, Availability};
use crate::finding::Finding;
use crate::lint::{Feature, LintReport, lint};
use crate::rule::{Rule, Severity};
use crate::syntax::{ParsedScript, Templates};
use crate::target::LintTarget;

/// The result of checking a script that iPXE reads as it is.
#[derive(Debug, Default)]
pub struct Review {
    /// The errors and warnings in the order of their lines.
    pub findings: Vec<Finding>,
    /// Features that the script needs in a build.
    pub features: Vec<Feature>,
    /// The addresses that commands fetch from, each with its line.
    pub addresses: Vec<(usize, String)>,
}

impl Review {
    /// Checks `text` as iPXE 2.0.0 would read it. What a build lacks is up to the features, and secrets are up to the
    /// caller.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let script = ParsedScript::parse(text, Templates::None);
        let LintReport { mut findings, mut features, addresses, .. } = lint(&script, &LintTarget::default());
        let of_caller = |rule| matches!(rule, Rule::MissingFeature | Rule::SecretInScript);
        findings.retain(|finding| finding.severity < Severity::Note && !of_caller(finding.rule));
        for finding in findings.iter_mut().filter(|finding| finding.rule == Rule::VersionDifference) {
            // A command of a later version is one that this version does not have.
            if let Some(command) = &finding.word {
                finding.message = format!("`{command}` is not a command of iPXE");
                "see https://ipxe.org/cmd for the commands".clone_into(&mut finding.remedy);
                (finding.rule, finding.severity) = (Rule::UnknownCommand, Severity::Error);
            }
        }
        features.sort_by_key(|feature| feature.line);
        Self { findings, features, addresses }
    }

    /// Returns the errors.
    pub fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.severity == Severity::Error)
    }
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
        let review = Review::of(text);
        let lines = review.errors().map(|flaw| format!("{}: {}; {}", flaw.line, flaw.text(str::to_owned), flaw.remedy));
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
            (
                "\n#!ipxe\n",
                no_script.replace("does not begin with `#!ipxe`", "begins with a blank or an empty line before `#!ipxe`"),
            ),
            (
                "#!ipxeshell\n",
                "1: has no line break after `#!ipxe`, so iPXE would not take it for a script; write a line break after it"
                    .into(),
            ),
            (
                "#!ipxe\nshell\0\n",
                no_command(2, "shell\0").replace("see", "write `shell`, or see") + "\n2: contains a NUL byte; remove it",
            ),
            ("#!ipxe\ndhcp || wget x\n", no_command(2, "wget")),
            (
                "#!ipxe\ndhcp || goto fial\n:fail\nshell\n",
                "2: jumps to the label `fial`, which does not exist; write `goto fail`, or add the label as `:name` on a line of its own"
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
        // The slot of a loader has line breaks behind the script.
        assert_eq!(flaws("#!ipxe\nshell \\\n"), "");
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
        let unknown: Vec<_> = review.errors().map(|flaw| (flaw.line, flaw.unknown_command())).collect();
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
            let review = Review::of(&format!("#!ipxe\n{bad}\n"));
            let found = review.errors().next().unwrap();
            assert!(found.text(str::to_owned).starts_with(message), "{found:?}");
        }
        let review = Review::of("#!ipxe\nchain https://[2001:db8::1]/ || initrd nfs://a/b\nchain file:/a\n");
        let needs: Vec<_> = review.features.iter().map(|it| (it.line, it.name.as_str())).collect();
        assert_eq!(needs, [(2, "https://"), (2, "[2001:db8::1]"), (2, "nfs://"), (3, "file://")]);
    }

    #[test]
    fn an_operator_without_blanks_around_it_is_none() {
        let glued = |text: &str| -> Vec<(usize, String)> {
            let review = Review::of(&format!("#!ipxe\n{text}\n"));
            let glued = review.findings.into_iter().filter(|finding| finding.rule == Rule::GluedOperator);
            glued.map(|finding| (finding.line, finding.word.unwrap())).collect()
        };
        assert_eq!(glued("dhcp net0&& goto a || goto b"), [(2, "net0&&".into())]);
        assert_eq!(glued("dhcp || chain x ||shell"), [(2, "||shell".into())]);
        assert_eq!(glued("dhcp net0&&chain x"), [(2, "net0&&chain".into())]);
        assert_eq!(glued("ifopen net0; dhcp"), [(2, "net0;".into())]);
        assert_eq!(glued("kernel x a=b&&c ds=nocloud;s=http://d/"), []);
        assert_eq!(glued("echo a&& b\nchain http://a/?b&&c\ndhcp && shell || \\\n  exit"), []);
    }
}
