//! `cargo xtask help`: help about a command, or a page of the book about a topic.

use netboot_loaders::base::diagnostic::Class;
use serde_json::json;

use crate::cli;
use crate::exit::Failure;
use crate::host::Host;
use crate::program;

/// Pages of the book, by the paths of their files below `docs/src` without `.md`.
macro_rules! pages {
    ($($page:literal),* $(,)?) => {
        [$(($page, include_str!(concat!("../../../docs/src/", $page, ".md")))),*]
    };
}

/// Pages that are printed. A topic is the last part of a path.
const PAGES: [(&str, &str); 54] = pages![
    "tutorials/mikrotik-and-nas",
    "tutorials/linux-server",
    "tutorials/hundred-sites",
    "tutorials/secure-boot",
    "how-to/install",
    "how-to/own-script",
    "how-to/lint-scripts",
    "how-to/lint-in-editors",
    "how-to/rehearse",
    "how-to/many-sites",
    "how-to/https-own-ca",
    "how-to/secure-boot",
    "how-to/secure-boot-keys",
    "how-to/secure-boot-official",
    "how-to/build-configuration",
    "how-to/boot-media",
    "how-to/closed-network",
    "how-to/boot-entries",
    "how-to/web-and-tftp-servers",
    "how-to/dhcp-routeros",
    "how-to/dhcp-dnsmasq",
    "how-to/dhcp-dnsmasq-proxy",
    "how-to/dhcp-kea",
    "how-to/dhcp-isc-dhcpd",
    "how-to/dhcp-systemd-networkd",
    "how-to/deploy",
    "how-to/mirror",
    "how-to/ignition",
    "how-to/matchbox",
    "how-to/boot-test",
    "how-to/verify-and-inspect",
    "how-to/reproduce",
    "how-to/release",
    "how-to/update-pins",
    "how-to/stamp-server",
    "how-to/clean-up",
    "reference/sites-toml",
    "reference/network-toml",
    "reference/pins-toml",
    "reference/manifest",
    "reference/exit-codes",
    "reference/json-events",
    "reference/loaders",
    "reference/ipxe-features",
    "reference/lint",
    "concepts/network-boot",
    "concepts/stamping",
    "concepts/reproducibility",
    "concepts/pins-and-trust",
    "concepts/secure-boot",
    "concepts/trees",
    "troubleshooting/symptoms",
    "troubleshooting/screen-messages",
    "troubleshooting/traps",
];

/// Words that people ask for, with the path of a page and a heading in it, if the answer is one section.
const WORDS: [(&str, &str, Option<&str>); 11] = [
    ("arm", "reference/loaders", Some("Secure Boot and ARM")),
    ("autoexec", "troubleshooting/traps", Some("autoexec.ipxe")),
    ("error-codes", "troubleshooting/screen-messages", Some("iPXE error codes")),
    ("keyboard", "troubleshooting/traps", Some("USB keyboards in the iPXE menu")),
    ("next-server", "troubleshooting/traps", Some("next-server on RouterOS")),
    ("offline", "how-to/closed-network", None),
    ("option-17", "troubleshooting/traps", Some("Option 17 is missing")),
    ("option-93", "reference/loaders", Some("DHCP option 93")),
    ("san", "troubleshooting/traps", Some("Option 17 and boot ROMs that are iPXE")),
    ("slot", "concepts/stamping", None),
    ("trust", "how-to/https-own-ca", None),
];

pub(super) fn run(names: &[String], host: &Host<'_>) -> Result<(), Failure> {
    let mut command = cli::command();
    command.build();
    if names.is_empty() {
        let text = format!("{}\n{}", command.render_long_help(), listed(&command));
        host.ui.answer(&text, json!({ "help": text }));
        return Ok(());
    }
    if let Some(found) = names.iter().try_fold(&mut command, |command, name| command.find_subcommand_mut(name)) {
        let text = found.render_long_help().to_string();
        host.ui.answer(&text, json!({ "help": text }));
        return Ok(());
    }
    let topic = names.join(" ");
    let Some(text) = page(&topic) else {
        let text = format!("found no command and no topic `{topic}`");
        return Err(Failure::new(Class::Usage, text).help(format!("`{} help` lists both", program::name())));
    };
    let text = plain(&text).replace("cargo xtask", program::name());
    host.ui.answer(&text, json!({ "help": text }));
    Ok(())
}

/// Returns the last part of a page's path, which is its topic.
fn topic(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Returns the list of all topics. A page that has the name of a command goes by its path.
fn listed(command: &clap::Command) -> String {
    let pages =
        PAGES.iter().map(|(path, _)| if command.find_subcommand(topic(path)).is_some() { path } else { topic(path) });
    let mut topics: Vec<&str> = pages.chain(WORDS.iter().map(|(word, ..)| *word)).collect();
    topics.sort_unstable();
    let mut text = format!("Topics of `{} help TOPIC`, pages of the book:\n", program::name());
    fill(&format!("  {}", topics.join(" ")), &mut text);
    text
}

/// Returns the Markdown text about a topic.
fn page(wanted: &str) -> Option<String> {
    let (path, heading) =
        WORDS.iter().find(|(word, ..)| *word == wanted).map_or((wanted, &None), |(_, path, heading)| (*path, heading));
    let (_, text) = PAGES.iter().find(|(page, _)| *page == path || topic(page) == path)?;
    let Some(heading) = heading else { return Some((*text).to_owned()) };
    let start = text.find(&format!("\n## {heading}\n"))? + 1;
    let section = &text[start..];
    let end = section[3..].find("\n## ").map_or(section.len(), |end| end + 4);
    Some(section[..end].to_owned())
}

/// Returns Markdown without what only a browser shows: targets of links, comments, and what blocks need.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("](") {
        let (before, link) = rest.split_at(at);
        let Some(end) = link.find(')') else { break };
        match opening(before) {
            Some(start) => {
                let (kept, name) = (&before[..start], &before[start + 1..]);
                out += kept.strip_suffix('!').unwrap_or(kept);
                out += name;
            }
            None => out += before,
        }
        rest = &link[end + 1..];
    }
    out += rest;
    filled(&out)
}

/// Returns the position of the bracket that opens the text of a link, at the end of `before`. The text can contain pairs
/// of brackets.
fn opening(before: &str) -> Option<usize> {
    let mut depth = 0;
    before.bytes().enumerate().rev().find_map(|(at, byte)| {
        match byte {
            b']' => depth += 1,
            b'[' if depth == 0 => return Some(at),
            b'[' => depth -= 1,
            _ => {}
        }
        None
    })
}

/// What stands before commands that no test runs, as `book.css` writes it.
const UNTRIED: &str = "(not run by the project's tests)";

/// Columns of printed pages.
const WIDTH: usize = 80;

/// Returns Markdown without fences and comments, its blocks indented, and its paragraphs filled.
fn filled(text: &str) -> String {
    let (mut out, mut paragraph, mut fenced, mut hidden) = (String::new(), String::new(), false, false);
    for line in text.lines().chain([""]) {
        let trimmed = line.trim_start();
        hidden |= trimmed.starts_with("<!--");
        if hidden {
            hidden = !trimmed.ends_with("-->");
            continue;
        }
        let fence = trimmed.starts_with("```");
        let verbatim = fenced || trimmed.is_empty() || trimmed.starts_with(['#', '|']) || fence;
        if verbatim || marker(trimmed) > 0 {
            fill(&paragraph, &mut out);
            paragraph.clear();
        }
        fenced ^= fence;
        if trimmed.starts_with("```") && trimmed.ends_with(",untried") {
            out += &format!("{}{UNTRIED}\n", &line[..line.len() - trimmed.len()]);
        }
        if fence || (line.is_empty() && out.ends_with("\n\n")) {
            continue;
        }
        match (verbatim, paragraph.is_empty()) {
            (true, _) => out += &format!("{}{line}\n", if fenced { "    " } else { "" }),
            (false, true) => line.clone_into(&mut paragraph),
            (false, false) => paragraph += &format!(" {trimmed}"),
        }
    }
    out.trim_end().to_owned() + "\n"
}

/// Returns the length of the mark of a list's item with its blank, such as `- ` or `1. `; 0 if `text` begins with none.
fn marker(text: &str) -> usize {
    match text.split_once(' ') {
        Some((mark, _)) if mark == "-" || mark.strip_suffix('.').is_some_and(|n| n.parse::<u8>().is_ok()) => {
            mark.len() + 1
        }
        _ => 0,
    }
}

/// Appends a paragraph or an item of a list in lines of at most [`WIDTH`] columns, if its words allow that.
fn fill(paragraph: &str, out: &mut String) {
    let text = paragraph.trim_start();
    let margin = paragraph.len() - text.len();
    let indent = margin + marker(text);
    let mut column = 0;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let width = word.chars().count();
        if column == 0 {
            *out += &" ".repeat(margin);
            column = margin;
        } else if column + 1 + width > WIDTH {
            *out += &format!("\n{}", " ".repeat(indent));
            column = indent;
        } else {
            out.push(' ');
            column += 1;
        }
        *out += word;
        column += width;
    }
    if column > 0 {
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use netboot_loaders::base::diagnostic::Page;

    use super::*;

    #[test]
    fn every_word_has_its_page_and_its_section() {
        for (word, path, heading) in WORDS {
            let text = page(word).unwrap_or_else(|| panic!("no text about {word}"));
            assert!(text.len() > 100, "{word}: {text}");
            assert!(heading.is_none_or(|heading| text.starts_with(&format!("## {heading}\n"))), "{word} in {path}");
        }
    }

    #[test]
    fn every_page_that_an_error_names_is_a_topic() {
        let command = cli::published();
        for page in Page::ALL.map(Page::as_str) {
            assert!(super::page(page).is_some(), "no page {page}");
            assert!(command.find_subcommand(page).is_none(), "{page} is a command");
        }
    }

    #[test]
    fn every_page_but_the_internals_is_a_topic() {
        let summary = include_str!("../../../docs/src/SUMMARY.md");
        let pages = summary.split("](").skip(1).filter_map(|rest| rest.split_once(".md)")).map(|(path, _)| path);
        let kept =
            |path: &&str| !path.starts_with("internals/") && !["introduction", "reference/commands"].contains(path);
        let listed: Vec<&str> = pages.filter(kept).collect();
        assert_eq!(PAGES.map(|(path, _)| path).to_vec(), listed);
    }

    #[test]
    fn links_and_fences_are_dropped() {
        let text = "a [b](c.md#d) e\n\n```sh,needs=tree\nf\n```\n\n<!-- g -->\n![h](i.svg)\n\n<!-- run\nj\n-->\nk\n\n\
                    ```sh,untried\nl\n```\n";
        assert_eq!(plain(text), format!("a b e\n\n    f\n\nh\n\nk\n\n{UNTRIED}\n    l\n"));
        assert_eq!(plain("[a] [`[[host]]`](x.md) and [`[boot.x]`](y.md)"), "[a] `[[host]]` and `[boot.x]`\n");
        let long = format!("- {}\n  end\n1. one\n   two\n| a | b |\n", "word ".repeat(20).trim_end());
        let wanted = format!("- {}\n  word word word word word end\n1. one two\n| a | b |\n", ["word"; 15].join(" "));
        assert_eq!(plain(&long), wanted);
    }
}
