//! What was measured as a table in Markdown, which the README has as it is.

use super::facts::Facts;
use super::record::{Goal, Name, Row, Sections, Unit};
use super::statistics::Spread;
use netboot_loaders::plural;
use netboot_loaders::printable::in_thousands;

/// The table of `sections`, and below it what they were measured on.
pub(super) fn markdown(sections: &Sections) -> String {
    let mut text = String::from("| | measured | compared with | ratio | goal |\n| --- | --- | --- | --- | --- |\n");
    text.extend(sections.values().flat_map(|section| &section.rows).map(line));
    text += "\nMedians; in brackets the smallest and the largest of several rounds. In each round, what is compared ran once.\n";
    let mut told: Vec<(&Facts, Vec<Name>)> = Vec::new();
    for (name, section) in sections {
        match told.iter_mut().find(|(facts, _)| **facts == section.facts) {
            Some((_, names)) => names.push(*name),
            None => told.push((&section.facts, vec![*name])),
        }
    }
    for (facts, names) in &told {
        let names: Vec<String> = names.iter().map(|name| format!("`bench {}`", word(*name))).collect();
        text += &format!("{}: {facts}\n", names.join(", "));
    }
    text
}

fn word(name: Name) -> &'static str {
    match name {
        Name::Cold => "cold",
        Name::Warm => "warm",
        Name::Sites => "sites",
        Name::Transfer => "transfer",
    }
}

fn line(row: &Row) -> String {
    let Row { what, unit, measured, against, goals } = row;
    let (mut other, mut ratio) = (String::new(), String::new());
    if let Some(against) = against {
        other = format!("{}: {}", against.what, spread(&against.measured, *unit));
        if let Some(sites) = against.extrapolated_from {
            other += &format!(", extrapolated from {}", plural::count(sites, "site"));
        }
        ratio = format!("{} ×", number(against.ratio));
    }
    let goals: Vec<String> = goals.iter().map(|goal| goal_text(row, *goal)).collect();
    format!("| {what} | {} | {other} | {ratio} | {} |\n", spread(measured, *unit), goals.join("; "))
}

fn goal_text(row: &Row, goal: Goal) -> String {
    let wanted = match goal {
        Goal::AtMost(limit) => format!("at most {}", limit.to_string() + suffix(row.unit)),
        Goal::TimesFaster(times) => format!("at least {times} ×"),
    };
    let verdict = if row.meets(goal) { "met" } else { "**missed**" };
    format!("{wanted}: {verdict}")
}

fn suffix(unit: Unit) -> &'static str {
    match unit {
        Unit::Seconds => " s",
        Unit::Mebibytes => " MiB",
        Unit::Times => " ×",
    }
}

fn spread(Spread { median, min, max, runs }: &Spread, unit: Unit) -> String {
    let text = number(*median) + suffix(unit);
    if *runs == 1 { text } else { format!("{text} ({}–{})", number(*min), number(*max)) }
}

/// A number with about three digits that matter, and commas between thousands.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        small if small < 0.1 => 3,
        small if small < 10.0 => 2,
        middle if middle < 100.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.decimals$}");
    if decimals > 0 { text } else { in_thousands(&text) }
}

/// A number of things, with commas between thousands.
pub(super) fn count(value: u32) -> String {
    in_thousands(&value.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::record::Section;
    use super::*;

    #[test]
    fn numbers_are_as_long_as_they_are_worth() {
        let wanted = [
            (0.0123, "0.012"),
            (0.25, "0.25"),
            (4.5, "4.50"),
            (34.56, "34.6"),
            (345.6, "346"),
            (5012.3, "5,012"),
            (1_234_567.0, "1,234,567"),
            (-0.02, "-0.020"),
        ];
        for (value, text) in wanted {
            assert_eq!(number(value), text);
        }
        assert_eq!([50, 1000, 10_000, 123_456].map(count), ["50", "1,000", "10,000", "123,456"]);
    }

    #[test]
    fn the_table() {
        let facts = Facts { processor: "CPU".into(), processors: 2, ipxe: "2.0.0".into(), ..Facts::default() };
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
        let mut sections = Sections::new();
        let cold = Section { rows: Vec::new(), ..sites.clone() };
        sections.insert(Name::Cold, Section { facts: Facts { processors: 8, ..facts }, ..cold.clone() });
        sections.insert(Name::Warm, cold);
        sections.insert(Name::Sites, sites);
        assert_eq!(
            markdown(&sections),
            "\
| | measured | compared with | ratio | goal |
| --- | --- | --- | --- | --- |
| 1,000 sites × 3 loaders | 46.0 s (40.0–50.0) | make: 5,000 s (4,600–5,500), extrapolated from 20 sites | 110 × | at most 45 s: **missed**; at least 100 ×: met |
| the memory of it | 60.5 MiB |  |  | at most 150 MiB: met |
| the same in times | 9.90 × |  |  | at most 10.5 ×: met |

Medians; in brackets the smallest and the largest of several rounds. In each round, what is compared ran once.
`bench cold`: CPU, 8 processors. netboot-loaders  ( build), iPXE 2.0.0 ().
`bench warm`, `bench sites`: CPU, 2 processors. netboot-loaders  ( build), iPXE 2.0.0 ().
"
        );
    }
}
