//! Counts in messages: `1 file`, `2 files`.

use std::fmt::Display;

/// Formats `number` with `noun`, a regular English noun in the singular.
pub fn count<N: Display + PartialEq + From<u8> + Copy>(number: N, noun: &str) -> String {
    if is_one(number) { format!("{number} {noun}") } else { format!("{number} {}", plural(noun)) }
}

/// Formats a complete count, as in `the only file` or `all 2 files`.
pub fn all<N: Display + PartialEq + From<u8> + Copy>(number: N, noun: &str) -> String {
    if is_one(number) { format!("the only {noun}") } else { format!("all {}", count(number, noun)) }
}

/// Returns `one` if the number is one, otherwise `many`: for verbs, and for nouns without a regular plural.
pub fn choose<N: PartialEq + From<u8> + Copy>(number: N, one: &'static str, many: &'static str) -> &'static str {
    if is_one(number) { one } else { many }
}

/// Formats a size for people, as in `97 B`, `384.21 KiB` or `1.11 MiB`.
#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes as f64, None);
    for next in UNITS {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, Some(next));
    }
    unit.map_or_else(|| format!("{bytes} B"), |unit| format!("{value:.2} {unit}"))
}

fn is_one<N: PartialEq + From<u8> + Copy>(number: N) -> bool {
    number == N::from(1)
}

fn plural(noun: &str) -> String {
    let consonant_y = noun.strip_suffix('y').filter(|stem| !stem.ends_with(['a', 'e', 'i', 'o', 'u']));
    match consonant_y {
        Some(stem) => format!("{stem}ies"),
        None if ["s", "x", "ch", "sh"].iter().any(|end| noun.ends_with(end)) => format!("{noun}es"),
        None => format!("{noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_one_form() {
        assert_eq!(
            [0, 1023, 1024, 393_435, 1_160_704].map(size),
            ["0 B", "1023 B", "1.00 KiB", "384.21 KiB", "1.11 MiB"]
        );
        assert_eq!(size(u64::MAX), "16777216.00 TiB");
    }

    #[test]
    fn one_is_singular_and_nothing_else_is() {
        assert_eq!([0, 1, 2, 11].map(|n: usize| count(n, "base")), ["0 bases", "1 base", "2 bases", "11 bases"]);
        let nouns = ["branch", "entry", "key", "hard link", "byte"].map(|noun| count(2_u64, noun));
        assert_eq!(nouns, ["2 branches", "2 entries", "2 keys", "2 hard links", "2 bytes"]);
        assert_eq!([all(1_u32, "file"), all(3_u32, "file")], ["the only file", "all 3 files"]);
        assert_eq!([choose(1_u8, "is", "are"), choose(0_u8, "is", "are")], ["is", "are"]);
    }
}
