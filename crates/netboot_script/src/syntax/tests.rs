//! Tests of the parser.

use super::*;

/// Describes a script: labels, commands with operators, comments.
fn described(text: &str, templates: Templates) -> Vec<String> {
    let script = ParsedScript::parse(text, templates);
    let lines = script.lines.iter().map(|line| {
        let mut out = format!("{}:", line.number);
        if let Some(label) = &line.label {
            out += &format!(" :{}", label.text);
        }
        for command in &line.commands {
            let words: Vec<&str> = command.words.iter().map(|word| &*word.text).collect();
            out += &format!(" [{}]", words.join("|"));
            if let Some((operator, _)) = command.operator {
                out += &format!(" {operator:?}");
            }
        }
        if let Some(span) = line.comment {
            out += &format!(" {}", &text[span.start..span.end]);
        }
        out
    });
    lines.filter(|line| line.contains(' ')).collect()
}

#[test]
fn lines_are_split_as_ipxe_splits_them() {
    let of = |text| described(text, Templates::None);
    assert_eq!(
        of("#!ipxe\r\n:a\r\ndhcp && chain ${x} ||\r\n"),
        ["1: #!ipxe", "2: :a", "3: [dhcp] And [chain|${x}] Or []"]
    );
    assert_eq!(of("set x \\\n  y\nshell"), ["1: [set|x|y]", "3: [shell]"]);
    assert_eq!(of("set x\\\r\ny z # a || b"), ["1: [set|xy|z] # a || b"]);
    assert_eq!(of("set x \\\\\n\ny\nz"), ["1: [set|x|y]", "4: [z]"]);
    assert_eq!(of(" :l dhcp ; # x"), ["1: :l [dhcp] Then [] # x"]);
    assert_eq!(of("|| a\u{b}b"), ["1: [] Or [a|b]"]);
    assert_eq!(of(":\n: x"), ["1: :", "2: : [x]"]);
    assert_eq!(of("a\u{a0}b {{ c }}"), ["1: [a\u{a0}b|{{|c|}}]"]);
}

#[test]
fn parts_of_a_template_are_opaque() {
    let of = |text| described(text, Templates::Opaque);
    assert_eq!(
        of("{% if a || b %}\nkernel {{ c d }}/e {# f\ng #} h\n{% endif %}\nboot"),
        ["2: [kernel|{{ c d }}/e|h]", "5: [boot]"]
    );
    assert_eq!(of("kernel x{{- if .A }} y{{ end }} ||{{/* z */}}"), ["1: [kernel|x|y] Or []"]);
    assert_eq!(of("kernel x\n{{- range .A }} y {{ . }}{{ end }}\nboot"), ["1: [kernel|x|y|{{ . }}]", "3: [boot]"]);
    assert_eq!(of("a ||\n{%- if b %}\nc\n{%- endif %}"), ["1: [a] Or []", "3: [c]"]);
    assert_eq!(of("<% if a -%>\nb <%= c %>\n<% end -%>\nd"), ["1: [b|<%= c %>]", "3: [d]"]);
    let script = ParsedScript::parse("#!ipxe\necho {{ a", Templates::Opaque);
    assert_eq!(script.unclosed.map(|at| script.position(at)), Some((2, 6)));
}

#[test]
fn every_word_has_its_bytes() {
    let text = "#!ipxe\r\n:l dhcp\\\r\n0 ä || goto l\n";
    let script = ParsedScript::parse(text, Templates::None);
    let words: Vec<_> = script.commands().flat_map(|(_, command)| &command.words).collect();
    let of = |index: usize| &text[words[index].span.start..words[index].span.end];
    assert_eq!((&*words[0].text, of(0)), ("dhcp0", "dhcp\\\r\n0"));
    assert_eq!((of(1), of(2), of(3)), ("ä", "goto", "l"));
    assert_eq!(script.position(words[0].span.start), (2, 4));
    assert_eq!(script.position(words[2].span.start), (3, 8));
    assert_eq!((script.line_text(1), script.line_text(3), script.line_text(9)), ("#!ipxe", "0 ä || goto l", ""));
    assert_eq!(script.labels().map(|(line, label)| (line.number, &*label.text)).collect::<Vec<_>>(), [(2, "l")]);
}

#[test]
fn expansions_are_split_and_nested() {
    let of = |word| {
        let (found, open) = expansions(word);
        (found.iter().map(|it| (it.block, it.name, it.kind, it.nested)).collect::<Vec<_>>(), open)
    };
    assert_eq!(of("a${net0/mac:hexhyp}b"), (vec![(Some("net0"), "mac", Some("hexhyp"), false)], None));
    assert_eq!(
        of("${net${i}/ip}${x}"),
        (vec![(None, "i", None, false), (Some("net${i}"), "ip", None, true), (None, "x", None, false)], None)
    );
    assert_eq!(of("${${card}/ip}").0[1], (Some("${card}"), "ip", None, true));
    assert_eq!(of("a}${b"), (vec![], Some(2)));
    assert_eq!(of("${"), (vec![], Some(0)));
}

#[test]
fn a_backslash_at_the_end_is_found() {
    for text in ["a \\", "a \\\n", "a \\\r\n"] {
        assert!(ParsedScript::parse(text, Templates::None).dangling.is_some(), "{text:?}");
    }
    for text in ["a \\\nb\n", "a \\\n\n"] {
        assert!(ParsedScript::parse(text, Templates::None).dangling.is_none(), "{text:?}");
    }
}
