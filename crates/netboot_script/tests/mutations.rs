//! Mistakes put into good scripts, one at every place where it can be: the linter finds at least 95 of 100.

use std::collections::BTreeMap;

use netboot_script::syntax::Operator;
use netboot_script::{LintTarget, ParsedScript, Templates, lint};

/// A kind of mistake.
struct Mistake {
    name: &'static str,
    /// Returns all scripts with one such mistake, each with its place, as a line and a word.
    make: fn(&str) -> Vec<(usize, String)>,
}

const MISTAKES: &[Mistake] = &[
    Mistake { name: "`||` deleted", make: |text| operators(text, Operator::Or, |_| String::new()) },
    Mistake { name: "`&&` deleted", make: |text| operators(text, Operator::And, |_| String::new()) },
    Mistake { name: "`||` with one bar", make: |text| operators(text, Operator::Or, |_| "|".to_owned()) },
    Mistake { name: "`&&` with one sign", make: |text| operators(text, Operator::And, |_| "&".to_owned()) },
    Mistake { name: "operator glued to the word before it", make: |text| glue(text, true) },
    Mistake { name: "operator glued to the word after it", make: |text| glue(text, false) },
    Mistake { name: "label renamed", make: labels_renamed },
    Mistake { name: "target of `goto` renamed", make: targets_renamed },
    Mistake { name: "colon of a label deleted", make: colons_deleted },
    Mistake { name: "label there twice", make: labels_doubled },
    Mistake { name: "`#!ipxe` deleted", make: |text| vec![(1, text.replacen("#!ipxe\n", "", 1))] },
    Mistake { name: "blank line before `#!ipxe`", make: |text| vec![(1, format!("\n{text}"))] },
    Mistake { name: "byte order mark before `#!ipxe`", make: |text| vec![(1, format!("\u{feff}{text}"))] },
    Mistake { name: "letter of a command deleted", make: |text| commands(text, |name| name[1..].to_owned()) },
    Mistake { name: "letters of a command swapped", make: |text| commands(text, swapped) },
    Mistake { name: "command in capitals", make: |text| commands(text, str::to_uppercase) },
    Mistake {
        name: "letter of a setting deleted",
        make: |text| settings(text, |name| name[..name.len() - 1].to_owned()),
    },
    Mistake { name: "letters of a setting swapped", make: |text| settings(text, swapped) },
    Mistake { name: "type of a setting misspelt", make: types_misspelt },
    Mistake { name: "brace of a setting deleted", make: braces_deleted },
    Mistake { name: "option misspelt", make: options_misspelt },
    Mistake { name: "value of an option deleted", make: values_deleted },
    Mistake { name: "seconds for milliseconds", make: seconds },
    Mistake { name: "quotes around a condition", make: quotes },
    Mistake { name: "no-break space for a blank", make: no_break_spaces },
    Mistake { name: "backslash at the end", make: |text| vec![(1, format!("{}\\\n", text.trim_end()))] },
    Mistake { name: "scheme of an address misspelt", make: |text| replaced(text, "http://", "htp://") },
    Mistake { name: "slash of an address deleted", make: |text| replaced(text, "http://", "http:/") },
    Mistake { name: "blank in an address", make: |text| replaced(text, "192.0.2.1/", "192.0.2.1/\u{a0}") },
];

/// What is not found, each with a part of the line and the reason why: nobody can tell it from what is meant.
const MISSED: &[(&str, &str, &str)] = &[
    ("`&&` deleted", "prompt ", "the command becomes a word of the text that is shown"),
    ("value of an option deleted", "--timeout  ${card}", "the setting can be a time"),
];

fn swapped(name: &str) -> String {
    let mut chars: Vec<char> = name.chars().collect();
    let at = (0..chars.len().saturating_sub(1)).find(|at| chars[*at] != chars[at + 1]);
    if let Some(at) = at {
        chars.swap(at, at + 1);
    }
    chars.into_iter().collect()
}

/// Returns `text` with `new` in place of the bytes from `start` to `end`, and the line of the change.
fn with(text: &str, start: usize, end: usize, new: &str) -> (usize, String) {
    let line = text[..start].matches('\n').count() + 1;
    (line, format!("{}{new}{}", &text[..start], &text[end..]))
}

fn parsed(text: &str) -> ParsedScript<'_> {
    ParsedScript::parse(text, Templates::Opaque)
}

fn operators(text: &str, wanted: Operator, new: impl Fn(&str) -> String) -> Vec<(usize, String)> {
    let script = parsed(text);
    let all = script.lines.iter().flat_map(|line| &line.commands).filter_map(|command| command.operator);
    let spans = all.filter(|(operator, _)| *operator == wanted).map(|(_, span)| span);
    spans.map(|span| with(text, span.start, span.end, &new(&text[span.start..span.end]))).collect()
}

/// Deletes the blanks before or after each operator, where there is a word.
fn glue(text: &str, before: bool) -> Vec<(usize, String)> {
    let script = parsed(text);
    let mut out = Vec::new();
    for line in &script.lines {
        for pair in line.commands.windows(2) {
            let Some((_, span)) = pair[0].operator else { continue };
            let neighbour = if before { pair[0].words.last() } else { pair[1].words.first() };
            match neighbour {
                Some(word) if before => out.push(with(text, word.span.end, span.start, "")),
                Some(word) => out.push(with(text, span.end, word.span.start, "")),
                None => {}
            }
        }
    }
    out
}

fn labels_renamed(text: &str) -> Vec<(usize, String)> {
    let script = parsed(text);
    script.labels().map(|(_, label)| with(text, label.span.end, label.span.end, "x")).collect()
}

fn colons_deleted(text: &str) -> Vec<(usize, String)> {
    let script = parsed(text);
    script.labels().map(|(_, label)| with(text, label.span.start, label.span.start + 1, "")).collect()
}

fn labels_doubled(text: &str) -> Vec<(usize, String)> {
    let script = parsed(text);
    let last = script.labels().last().map(|(_, label)| &*label.text).unwrap_or_default();
    let others = script.labels().filter(|(_, label)| label.text != last);
    others.map(|(_, label)| (1, text.replacen(&format!("\n:{last}\n"), &format!("\n:{}\n", label.text), 1))).collect()
}

fn targets_renamed(text: &str) -> Vec<(usize, String)> {
    let script = parsed(text);
    let gotos = script.commands().filter(|(_, command)| command.name() == Some("goto"));
    let targets = gotos.filter_map(|(_, command)| command.words.get(1)).filter(|word| word.is_plain());
    targets.map(|word| with(text, word.span.end, word.span.end, "x")).collect()
}

fn commands(text: &str, new: impl Fn(&str) -> String) -> Vec<(usize, String)> {
    let script = parsed(text);
    let names = script.commands().filter_map(|(_, command)| command.words.first()).filter(|word| word.is_plain());
    names.map(|word| with(text, word.span.start, word.span.end, &new(&word.text))).collect()
}

/// Changes the name of each setting that the script uses and that has a name long enough for a slip to be seen.
fn settings(text: &str, new: impl Fn(&str) -> String) -> Vec<(usize, String)> {
    let mut out = Vec::new();
    for (_, command) in parsed(text).commands() {
        for word in command.words.iter().filter(|word| !word.template) {
            for it in netboot_script::syntax::expansions(&word.text).0 {
                if it.name.len() < 4 || it.name.contains("${") || it.name.bytes().any(|byte| byte.is_ascii_digit()) {
                    continue;
                }
                let start = word.span.start + it.span.start + 2 + it.block.map_or(0, |block| block.len() + 1);
                out.push(with(text, start, start + it.name.len(), &new(it.name)));
            }
        }
    }
    out
}

fn types_misspelt(text: &str) -> Vec<(usize, String)> {
    let mut out = Vec::new();
    for kind in [":hexhyp}", ":int32 ", ":uristring}", ":string}"] {
        out.extend(replaced(text, kind, &format!("{}x{}", &kind[..kind.len() - 1], &kind[kind.len() - 1..])));
    }
    out
}

fn braces_deleted(text: &str) -> Vec<(usize, String)> {
    let mut out = Vec::new();
    for (_, command) in parsed(text).commands() {
        for word in command.words.iter().filter(|word| !word.template) {
            if let Some(at) = word.text.rfind('}').filter(|_| word.text.contains("${")) {
                out.push(with(text, word.span.start + at, word.span.start + at + 1, ""));
            }
        }
    }
    out
}

fn options_misspelt(text: &str) -> Vec<(usize, String)> {
    let script = parsed(text);
    let words = script.commands().flat_map(|(_, command)| command.arguments().to_vec());
    let options = words.filter(|word| word.text.starts_with("--") && word.text.len() > 3);
    options.map(|word| with(text, word.span.start + 3, word.span.start + 4, "")).collect()
}

fn values_deleted(text: &str) -> Vec<(usize, String)> {
    let mut out = Vec::new();
    for (_, command) in parsed(text).commands() {
        for pair in command.words.windows(2) {
            let takes = ["--timeout", "--name", "--key", "--default"].contains(&&*pair[0].text);
            if takes {
                out.push(with(text, pair[1].span.start, pair[1].span.end, ""));
            }
        }
    }
    out
}

fn seconds(text: &str) -> Vec<(usize, String)> {
    let mut out = Vec::new();
    for (_, command) in parsed(text).commands() {
        for pair in command.words.windows(2) {
            if pair[0].text == "--timeout" && pair[1].text.ends_with("000") {
                out.push(with(text, pair[1].span.end - 3, pair[1].span.end, ""));
            }
        }
    }
    out
}

fn quotes(text: &str) -> Vec<(usize, String)> {
    let script = parsed(text);
    let conditions = script.commands().filter(|(_, command)| matches!(command.name(), Some("isset" | "iseq")));
    let words = conditions.filter_map(|(_, command)| command.words.get(1));
    words.map(|word| with(text, word.span.start, word.span.end, &format!("\"{}\"", word.text))).collect()
}

fn no_break_spaces(text: &str) -> Vec<(usize, String)> {
    let mut out = Vec::new();
    for (_, command) in parsed(text).commands() {
        for pair in command.words.windows(2) {
            if &text[pair[0].span.end..pair[1].span.start] == " " {
                out.push(with(text, pair[0].span.end, pair[1].span.start, "\u{a0}"));
            }
        }
    }
    out
}

fn replaced(text: &str, old: &str, new: &str) -> Vec<(usize, String)> {
    let script = parsed(text);
    // What is in a comment, or is shown, is no mistake.
    let counts = |at: usize| {
        let line = script.lines.iter().find(|line| (line.span.start..line.span.end).contains(&at));
        let shown = line.and_then(|line| line.commands.iter().find_map(|command| command.name()));
        line.is_some_and(|line| !line.commands.is_empty()) && !shown.is_some_and(netboot_script::shows)
    };
    let places = text.match_indices(old).filter(|(at, _)| counts(*at));
    places.map(|(at, _)| with(text, at, at + old.len(), new)).collect()
}

/// Returns the findings, without their places.
fn found(text: &str) -> BTreeMap<(String, String), usize> {
    let script = parsed(text);
    let mut all = BTreeMap::new();
    for finding in lint(&script, &LintTarget::default()).findings {
        *all.entry((finding.rule.id().to_owned(), finding.text(str::to_owned))).or_default() += 1;
    }
    all
}

/// Numbers that look random and are the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % most
    }
}

/// Makes a script of parts that real scripts have.
fn generated(seed: u64) -> String {
    let mut numbers = Numbers(seed);
    let mut text = String::from("#!ipxe\n");
    let settings = ["hostname", "next-server", "manufacturer", "product", "platform"];
    for part in 0..6 {
        let other = settings[numbers.below(settings.len())];
        text += &match numbers.below(7) {
            0 => format!(
                ":retry{part}\ninc tries{part}\niseq ${{tries{part}}} 5 && goto failed ||\ndhcp net{part} || goto retry{part}\n"
            ),
            1 => format!(
                "isset ${{{other}}} && set where{part} ${{{other}}} || set where{part} nowhere\necho ${{where{part}}}\n"
            ),
            2 => format!(
                "prompt --key 0x02 --timeout 3000 Press Ctrl-B for the shell && shell ||\niseq ${{{other}}} x && goto failed ||\n"
            ),
            3 => format!(
                "chain --autofree --timeout 10000 http://192.0.2.1/${{net0/mac:hexhyp}}-{part}.ipxe || echo none for ${{{other}}}\n"
            ),
            4 => format!(
                "set address{part}:string http://192.0.2.1/{part}\niseq ${{address{part}}} ${{{other}}} || imgfetch --name a{part} ${{address{part}}} || goto failed\n"
            ),
            5 => format!(
                "menu Part {part}\nitem one{part} First\nitem --key 2 two{part} Second\nchoose --default one{part} --timeout 5000 choice{part} || goto failed\niseq ${{choice{part}}} two{part} && goto failed ||\n"
            ),
            _ => format!(
                "ifopen net{part} && iflinkwait --timeout 2000 net{part} || echo no link on net{part} of ${{{other}}}\n"
            ),
        };
    }
    text + "imgfree\nkernel http://192.0.2.1/vmlinuz initrd=initrd.img ip=dhcp || goto failed\n\
            initrd http://192.0.2.1/initrd.img || goto failed\nboot || goto failed\nexit\n\
            :failed\necho Cannot boot ${hostname}\nprompt --timeout 10000 Press a key for the shell && shell ||\nreboot\n"
}

#[test]
fn mistakes_are_found_wherever_they_are() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../embed-scripts");
    let mut scripts: Vec<String> = (1..25).map(generated).collect();
    for name in ["menu.ipxe", "robust.ipxe", "root-path.ipxe", "url.ipxe"] {
        scripts.push(std::fs::read_to_string(format!("{folder}/{name}")).unwrap());
    }
    let mut all = (0, 0);
    let mut report = String::new();
    for Mistake { name, make } in MISTAKES {
        let (mut made, mut missed) = (0, Vec::new());
        for text in &scripts {
            let before = found(text);
            for (line, mutant) in make(text) {
                made += 1;
                let after = found(&mutant);
                if after.iter().all(|(finding, count)| before.get(finding).is_some_and(|before| before >= count)) {
                    missed.push(mutant.lines().nth(line - 1).unwrap_or_default().to_owned());
                }
            }
        }
        let kept = made - missed.len();
        all = (all.0 + made, all.1 + kept);
        report += &format!("{name}: {kept} of {made}\n");
        missed.sort();
        missed.dedup();
        for line in missed {
            let known = MISSED.iter().any(|(mistake, part, _)| mistake == name && line.contains(part));
            report += &format!("    {}{line}\n", if known { "" } else { "NEW " });
        }
    }
    assert!(all.1 * 100 >= all.0 * 95 && !report.contains("NEW "), "{report}{} of {}", all.1, all.0);
}
