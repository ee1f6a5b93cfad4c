//! Results as a Markdown table, which `docs/src/internals/benchmarks.md` contains.

use std::fmt::{self, Write};

use netboot_loaders::base::plural::count;
use netboot_loaders::printable::in_thousands;

use super::record::{Goal, MachineFacts, Row, Sections, Spread, Unit};

/// Returns the table of `sections`, followed by the machines and programs they were measured with.
pub(super) fn markdown(sections: &Sections) -> String {
    let mut text = String::from("| | measured | compared with | ratio | goal |\n| --- | --- | --- | --- | --- |\n");
    text.extend(sections.values().flat_map(|section| &section.rows).map(line));
    text += "\nMedians; in brackets the smallest and the largest of several rounds. In each round, what is compared ran once.\n";
    let mut told: Vec<(&MachineFacts, Vec<String>)> = Vec::new();
    for (name, section) in sections {
        let name = format!("`bench {}`", format!("{name:?}").to_lowercase());
        match told.iter_mut().find(|(facts, _)| **facts == section.facts) {
            Some((_, names)) => names.push(name),
            None => told.push((&section.facts, vec![name])),
        }
    }
    text.extend(told.iter().map(|(facts, names)| format!("{}: {facts}\n", names.join(", "))));
    text
}

impl fmt::Display for MachineFacts {
    /// Writes one or two sentences.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, processors, version, profile, ipxe, commit, tools } = self;
        write!(f, "{processor}, {}. netboot-loaders {version} ({profile} build), ", count(*processors, "processor"))?;
        write!(f, "iPXE {ipxe} ({})", commit.get(..12).unwrap_or(commit))?;
        for name in ["gcc", "binutils", "make", "liblzma", "qemu", "dnsmasq"] {
            if let Some(says) = tools.get(name) {
                write!(f, ", {name} {}", version_number(says))?;
            }
        }
        f.write_str(".")
    }
}

/// Returns the number in the version that a tool prints, or the whole text if it has none.
fn version_number(says: &str) -> &str {
    let mut words = says.split_ascii_whitespace().rev();
    let version = |word: &&str| word.contains('.') && word.chars().all(|c| c.is_ascii_digit() || c == '.');
    words.find(version).unwrap_or(says)
}

fn line(row: &Row) -> String {
    let Row { what, unit, measured, against, goals } = row;
    let suffix = match unit {
        Unit::Seconds => " s",
        Unit::Mebibytes => " MiB",
        Unit::Times => " ×",
    };
    let (mut other, mut ratio) = (String::new(), String::new());
    if let Some(against) = against {
        other = format!("{}: {}", against.what, spread(&against.measured, suffix));
        if let Some(sites) = against.extrapolated_from {
            let _ = write!(other, ", extrapolated from {}", count(sites, "site"));
        }
        ratio = format!("{} ×", number(against.ratio));
    }
    let goal = |goal: &Goal| {
        let verdict = if row.meets(*goal) { "met" } else { "**missed**" };
        match goal {
            Goal::AtMost(limit) => format!("at most {limit}{suffix}: {verdict}"),
            Goal::TimesFaster(times) => format!("at least {times} ×: {verdict}"),
        }
    };
    let goals = goals.iter().map(goal).collect::<Vec<_>>().join("; ");
    format!("| {what} | {} | {other} | {ratio} | {goals} |\n", spread(measured, suffix))
}

fn spread(Spread { median, min, max, runs }: &Spread, suffix: &str) -> String {
    let range = if *runs == 1 { String::new() } else { format!(" ({}–{})", number(*min), number(*max)) };
    number(*median) + suffix + &range
}

/// Formats a number with about three significant digits and with commas between thousands.
fn number(value: f64) -> String {
    match value.abs() {
        small if small < 0.1 => format!("{value:.3}"),
        small if small < 10.0 => format!("{value:.2}"),
        middle if middle < 100.0 => format!("{value:.1}"),
        _ => in_thousands(&format!("{value:.0}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::{Name, Section};
    use super::*;

    #[test]
    fn numbers_are_as_long_as_they_are_worth() {
        let values = [0.0123, 0.25, 4.5, 34.56, 345.6, 5012.3, 1_234_567.0, -0.02];
        let texts = ["0.012", "0.25", "4.50", "34.6", "346", "5,012", "1,234,567", "-0.020"];
        assert_eq!(values.map(number), texts);
    }

    #[test]
    fn the_table() {
        let facts =
            MachineFacts { processor: "CPU".into(), processors: 2, ipxe: "2.0.0".into(), ..MachineFacts::default() };
        let sites = Section {
            facts: facts.clone(),
            rows: vec![
                Row::timed("1,000 sites × 3 loaders", &[40.0, 46.0, 50.0], "make", &[4600.0, 5000.0, 5500.0])
                    .extrapolated_from(20)
                    .goals([Goal::AtMost(45.0), Goal::TimesFaster(100.0)]),
                Row::new("the memory of it", Unit::Mebibytes, &[60.5]).goals([Goal::AtMost(150.0)]),
                Row::new("the same in times", Unit::Times, &[9.9]).goals([Goal::AtMost(10.5)]),
            ],
        };
        let tools = [
            ("gcc", "gcc (Debian 12.2.0-14+deb12u1) 12.2.0"),
            ("make", "GNU Make 4.3"),
            ("sed", "4.9"),
            ("qemu", "QEMU emulator version 7.2.17 (Debian 1:7.2+dfsg-7+deb12u14)"),
            ("dnsmasq", "unknown"),
        ];
        let tools = tools.map(|(name, says)| (name.to_owned(), says.to_owned())).into();
        let commit = "12798ec29aa8a64d8675c4378b99f5fe28447afb".into();
        let (version, profile) = ("0.1.0".into(), "release".into());
        let other = MachineFacts { processors: 8, version, profile, commit, tools, ..facts.clone() };
        let cold = Section { facts: other, rows: Vec::new() };
        let warm = Section { facts, rows: Vec::new() };
        assert_eq!(
            markdown(&[(Name::Cold, cold), (Name::Warm, warm), (Name::Sites, sites)].into()),
            "\
| | measured | compared with | ratio | goal |
| --- | --- | --- | --- | --- |
| 1,000 sites × 3 loaders | 46.0 s (40.0–50.0) | make: 5,000 s (4,600–5,500), extrapolated from 20 sites | 110 × | at most 45 s: **missed**; at least 100 ×: met |
| the memory of it | 60.5 MiB |  |  | at most 150 MiB: met |
| the same in times | 9.90 × |  |  | at most 10.5 ×: met |

Medians; in brackets the smallest and the largest of several rounds. In each round, what is compared ran once.
`bench cold`: CPU, 8 processors. netboot-loaders 0.1.0 (release build), iPXE 2.0.0 (12798ec29aa8), gcc 12.2.0, make 4.3, qemu 7.2.17, dnsmasq unknown.
`bench warm`, `bench sites`: CPU, 2 processors. netboot-loaders  ( build), iPXE 2.0.0 ().
"
        );
    }
}
