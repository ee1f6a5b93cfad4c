//! Whatever a script contains, it is read, and every place that is named is in it.

use netboot_script::commands::COMMANDS;
use netboot_script::syntax::keep_line_ends;
use netboot_script::{IpxeRelease, LintTarget, ParsedScript, ScriptPlatform, Templates, lint};
use proptest::prelude::*;
use proptest::test_runner::Config;

/// Parts of scripts, and what could break a parser.
fn part() -> impl Strategy<Value = String> {
    const PARTS: &[&str] = &[
        "\n",
        " ",
        "\r\n",
        "\\\n",
        "\\",
        "\t",
        "\0",
        "\u{feff}",
        "\u{a0}",
        "ä",
        "||",
        "&&",
        ";",
        "#",
        "# lint: allow ",
        "#!ipxe\n",
        ":a",
        "\n:a\n",
        "goto a",
        "goto ${x}",
        "${",
        "}",
        "${${a}/ip:hexhyp}",
        "{{",
        "}}",
        "{%",
        "%}",
        "{{-",
        "-}}",
        "{#",
        "#}",
        "<%",
        "%>",
        "{% raw %}",
        "endraw",
        "{{ template \"a\" }}",
        "--timeout",
        "--timeout=5",
        "--",
        "-",
        "=",
        "\"",
        "'",
        "http://",
        "http:/",
        "://",
        "@",
        "[::1]",
        "initrd=a",
        "a.efi",
        "|",
        "&",
        "5",
        "0x",
        "item",
        "echo",
        "isset",
        "set",
        "chain",
        "kernel",
        "initrd",
        "boot",
    ];
    let names = COMMANDS.iter().map(|command| format!("{} ", command.name)).collect::<Vec<_>>();
    prop_oneof![
        6 => prop::sample::select(PARTS).prop_map(str::to_owned),
        2 => prop::sample::select(names),
        1 => ".{0,4}",
    ]
}

fn script() -> impl Strategy<Value = String> {
    prop::collection::vec(part(), 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(Config { failure_persistence: None, ..Config::default() })]

    #[test]
    fn every_place_that_is_named_is_in_the_script(text in script()) {
        for templates in [Templates::None, Templates::Opaque] {
            let parsed = ParsedScript::parse(&text, templates);
            let inside = |span: netboot_script::syntax::Span| text.get(span.start..span.end).is_some();
            for (line, command) in parsed.commands() {
                prop_assert!(inside(line.span) && command.words.iter().all(|word| inside(word.span)));
                if !parsed.is_template() {
                    prop_assert!(command.words.iter().all(|word| !word.text.contains([' ', '\n'])));
                }
            }
            for platform in [ScriptPlatform::Any, ScriptPlatform::Bios, ScriptPlatform::SecureBoot] {
                for ipxe in IpxeRelease::ALL {
                    let report = lint(&parsed, &LintTarget { platform, ipxe, available: None });
                    for finding in &report.findings {
                        prop_assert!(inside(finding.span), "{finding:?}");
                        prop_assert_eq!((finding.line, finding.column), parsed.position(finding.span.start));
                        prop_assert!(!finding.message.is_empty() && !finding.remedy.is_empty());
                    }
                }
            }
        }
    }

    #[test]
    fn the_words_of_a_line_are_those_that_ipxe_has(words in prop::collection::vec("[a-z$/:=.-]{1,6}", 1..8)) {
        let text = words.join(" \t ");
        let parsed = ParsedScript::parse(&text, Templates::None);
        let label = usize::from(words[0].starts_with(':'));
        let found: Vec<String> =
            parsed.commands().flat_map(|(_, command)| &command.words).map(|word| word.text.to_string()).collect();
        prop_assert_eq!(found, &words[label..]);
        prop_assert_eq!(parsed.labels().count(), label);
    }

    #[test]
    fn the_lines_of_a_template_end_where_they_did(text in script()) {
        if let Ok(kept) = keep_line_ends(&text) {
            prop_assert_eq!(kept.replace('+', ""), text.replace('+', ""));
            prop_assert_eq!(kept.lines().count(), text.lines().count());
        }
    }

    #[test]
    fn a_script_is_judged_the_same_each_time(text in script()) {
        let parsed = ParsedScript::parse(&text, Templates::None);
        let report = lint(&parsed, &LintTarget::default());
        let again = lint(&parsed, &LintTarget::default());
        prop_assert_eq!(report.findings, again.findings);
    }
}
