//! Splits scripts into lines, commands and words as iPXE does.

use std::borrow::Cow;

/// Returns the number of the last line.
#[must_use]
pub fn last_line(text: &str) -> usize {
    text.lines().count().max(1)
}

/// Returns the lines after iPXE has joined continued ones, each with the number of its first line.
pub fn logical_lines(text: &str) -> impl Iterator<Item = (usize, Cow<'_, str>)> {
    let mut lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).enumerate();
    std::iter::from_fn(move || {
        let (index, first) = lines.next()?;
        let mut joined = Cow::Borrowed(first);
        while joined.ends_with('\\') {
            let joined = joined.to_mut();
            joined.pop();
            joined.push_str(lines.next().map_or("", |(_, next)| next));
        }
        Some((index + 1, joined))
    })
}

/// Splits the words of a line into commands, without its label and its comment.
pub fn commands<'a, 't>(words: &'a [&'t str]) -> impl Iterator<Item = &'a [&'t str]> {
    let end = words.iter().position(|word| word.starts_with('#')).unwrap_or(words.len());
    let labelled = usize::from(end > 0 && words[0].starts_with(':'));
    words[labelled..end].split(|word| matches!(*word, "||" | "&&" | ";"))
}

/// Checks whether the command `name` prints its words.
#[must_use]
pub fn shows(name: &str) -> bool {
    ["echo", "prompt", "item", "menu"].contains(&name)
}

/// Checks whether the option `word` has no value, or has it after `=`; the value of other options is the next word.
#[must_use]
pub fn is_flag(word: &str) -> bool {
    let flags = ["--autofree", "--replace", "--no-describe", "--keep", "-a", "-r", "-k"];
    flags.contains(&word) || word.contains('=')
}

/// Returns the label at the beginning of `line`.
#[must_use]
pub fn label(line: &str) -> Option<&str> {
    line.trim_start().strip_prefix(':')?.split_ascii_whitespace().next()
}
