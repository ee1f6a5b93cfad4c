//! A TOML reader whose diagnostics carry file, line, key and remedy, and that reports all errors of a file at once.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use camino::{Utf8Path, Utf8PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml_parser::Source;
use toml_parser::lexer::TokenKind;

use crate::base::diagnostic::{Diagnostic, Diagnostics, Location, MAX_FINDINGS, short_key};
use crate::printable::{is_harmful, printable};

/// Maximum number of `=`, `[`, `{`, `,` and `.` outside of strings, which bounds the number of values and tables in a
/// file. 10,000 sites as tables have 60,000. A value takes a few hundred bytes of memory; a table that a dot creates
/// takes three times as much.
const MAX_MARKS: usize = 400_000;

/// Maximum size in bytes of a text whose syntax errors are all collected; each takes a few hundred bytes of memory. Of
/// a larger text, only the first error is reported.
const MAX_RECOVERED: usize = 256 << 10;

/// Maximum number of items in a list of strings or tables.
const MAX_ITEMS: usize = 10_000;

/// A value with its location.
#[derive(Debug, Clone)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// The location in the file.
    pub location: Location,
}

/// Returns the line number, counted from 1, of the byte at `offset`.
#[must_use]
pub fn line_at(content: &[u8], offset: usize) -> usize {
    1 + content[..offset].iter().filter(|byte| **byte == b'\n').count()
}

/// Returns the `content` of `file` as text.
///
/// # Errors
///
/// Fails if it is not UTF-8, with the first invalid line.
pub fn utf8<'t>(file: &Utf8Path, content: &'t [u8]) -> Result<&'t str, Diagnostics> {
    std::str::from_utf8(content).map_err(|error| {
        let location = Location::line(file, line_at(content, error.valid_up_to()));
        Diagnostics(vec![location.finding("is not UTF-8", "save the file as UTF-8")])
    })
}

/// Maximum number of distinct syntax errors per line.
const MAX_MESSAGES: usize = 4;

/// A file being read, with the diagnostics so far.
pub struct TomlFile<'t> {
    file: Utf8PathBuf,
    text: &'t str,
    /// Offsets in bytes at which lines begin, except the first.
    line_starts: Vec<usize>,
    findings: RefCell<Vec<Diagnostic>>,
}

impl<'t> TomlFile<'t> {
    /// Creates a document with the content `text`; diagnostics call it `file`.
    pub fn new(file: &Utf8Path, text: &'t str) -> Self {
        let line_starts = text.match_indices('\n').map(|(offset, _)| offset + 1).collect();
        Self { file: file.to_owned(), text, line_starts, findings: RefCell::default() }
    }

    /// Parses the text, passes its root table to `read`, and returns the result.
    ///
    /// # Errors
    ///
    /// [`Diagnostics`] if there is any diagnostic, even if `read` returned a value.
    pub fn read<T>(self, read: impl FnOnce(&Table<'_>) -> Option<T>) -> Result<T, Diagnostics> {
        if is_too_much(self.text) {
            let location = Location { file: self.file, line: 0, key: String::new() };
            let message = format!("has more than {MAX_MARKS} keys and values");
            return Err(Diagnostics(vec![location.finding(message, "describe many sites in a CSV file instead")]));
        }
        let value = match DeTable::parse(self.text) {
            Ok(root) => {
                let table = Table::new(&self, String::new(), 1, root.get_ref());
                let value = read(&table);
                table.finish();
                value
            }
            Err(first) => {
                let all = if self.text.len() <= MAX_RECOVERED {
                    DeTable::parse_recoverable(self.text).1
                } else {
                    vec![first]
                };
                self.report_syntax(&all);
                None
            }
        };
        let mut findings = self.findings.into_inner();
        findings.sort();
        findings.dedup();
        match value {
            Some(value) if findings.is_empty() => Ok(value),
            _ => Err(Diagnostics(findings)),
        }
    }

    fn report(&self, finding: Diagnostic) {
        let mut findings = self.findings.borrow_mut();
        // One more than the maximum shows that there are more.
        if findings.len() <= MAX_FINDINGS {
            findings.push(finding);
        }
    }

    /// Reports `errors`, merged by line, because one mistake causes several.
    fn report_syntax(&self, errors: &[toml::de::Error]) {
        let mut lines: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
        let mut errors: Vec<_> =
            errors.iter().map(|error| (error.span().unwrap_or_default(), error.message())).collect();
        errors.sort_by_key(|(span, _)| span.start);
        let mut twice = BTreeSet::new();
        for (span, message) in errors {
            let line = self.line(span.start);
            if message == "duplicate key"
                && let Some(name) = self.text.get(span)
            {
                twice.insert((line, name));
                continue;
            }
            let messages = lines.entry(line).or_default();
            if messages.len() < MAX_MESSAGES && !messages.contains(&message) {
                messages.push(message);
            }
        }
        let location = |line| Location { file: self.file.clone(), line, key: String::new() };
        for (line, name) in twice {
            let message = format!("`{}` is there a second time", short_key(name));
            self.report(location(line).finding(message, "remove one of the two, or change its name"));
        }
        for (line, messages) in lines {
            let remedy = "write it as TOML 1.0: put text into double quotes, and names with spaces, too";
            self.report(location(line).finding(messages.join("; ").replace('\n', ", "), remedy));
        }
    }

    fn line(&self, offset: usize) -> usize {
        1 + self.line_starts.partition_point(|start| *start <= offset)
    }
}

/// Checks whether `text` has so many values that they would take too much memory.
fn is_too_much(text: &str) -> bool {
    let marks = |kind| match kind {
        TokenKind::Equals | TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket | TokenKind::Comma => 1,
        TokenKind::Dot => 3,
        _ => 0,
    };
    Source::new(text).lex().map(|token| marks(token.kind())).sum::<usize>() > MAX_MARKS
}

/// Returns the string `key` of the table in `text`, if it is one, whatever else the text contains.
pub(super) fn string_of(text: &str, key: &str) -> Option<String> {
    let table = (!is_too_much(text)).then(|| DeTable::parse(text).ok())??;
    Some(table.get_ref().get(key)?.get_ref().as_str()?.to_owned())
}

/// A table of a [`TomlFile`]. Unknown keys, which no reader asked for, are reported once it has been read.
pub struct Table<'a> {
    document: &'a TomlFile<'a>,
    path: String,
    line: usize,
    table: &'a DeTable<'a>,
    asked: RefCell<BTreeSet<String>>,
}

impl<'a> Table<'a> {
    fn new(document: &'a TomlFile<'a>, path: String, line: usize, table: &'a DeTable<'a>) -> Self {
        Self { document, path, line, table, asked: RefCell::default() }
    }

    fn key(&self, key: &str) -> String {
        short_key(&if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) })
    }

    /// Returns the location of the table itself.
    #[must_use]
    pub fn location(&self) -> Location {
        Location { file: self.document.file.clone(), line: self.line, key: self.path.clone() }
    }

    /// Reports a diagnostic.
    pub fn report(&self, finding: Diagnostic) {
        self.document.report(finding);
    }

    /// Returns the value of a result, or reports its diagnostic.
    pub fn accept<T>(&self, result: Result<T, Diagnostic>) -> Option<T> {
        result.map_err(|finding| self.report(finding)).ok()
    }

    fn get(&self, key: &str) -> Option<(Location, &'a Spanned<DeValue<'a>>)> {
        self.asked.borrow_mut().insert(key.to_owned());
        let (name, value) = self.table.get_key_value(key)?;
        let line = self.document.line(name.span().start);
        Some((Location { file: self.document.file.clone(), line, key: self.key(key) }, value))
    }

    /// Checks whether the table has `key`, without reading it.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    fn typed<T>(
        &self,
        key: &str,
        wanted: &str,
        convert: impl FnOnce(&'a DeValue<'a>) -> Option<T>,
    ) -> Option<Located<T>> {
        let (location, value) = self.get(key)?;
        match convert(value.get_ref()) {
            Some(value) => Some(Located { value, location }),
            None => {
                self.report(location.finding(
                    format!("found {}, wanted {wanted}", value.get_ref().type_str()),
                    format!("write {wanted}"),
                ));
                None
            }
        }
    }

    /// Returns `value`, and reports a missing `key` with `remedy`.
    pub fn require<T>(&self, key: &str, value: Option<Located<T>>, remedy: &str) -> Option<Located<T>> {
        if value.is_none() && !self.table.contains_key(key) {
            let mut location = self.location();
            location.key = self.key(key);
            self.report(location.finding("is missing", remedy));
        }
        value
    }

    /// Reports all keys and strings in the table and below it that are not one line of visible text.
    pub fn require_plain_text(&self) {
        for (name, value) in self.table {
            let location = Location {
                line: self.document.line(name.span().start),
                key: self.key(name.get_ref()),
                ..self.location()
            };
            self.require_plain(&location, name.get_ref());
            self.require_plain_value(&location, value);
        }
    }

    fn require_plain_value(&self, location: &Location, value: &Spanned<DeValue<'a>>) {
        let location = Location { line: self.document.line(value.span().start), ..location.clone() };
        match value.get_ref() {
            DeValue::String(text) => self.require_plain(&location, text),
            DeValue::Array(items) => items.iter().for_each(|item| self.require_plain_value(&location, item)),
            DeValue::Table(table) => Table::new(self.document, location.key, location.line, table).require_plain_text(),
            _ => {}
        }
    }

    fn require_plain(&self, location: &Location, text: &str) {
        if let Some(character) = text.chars().find(|character| is_harmful(*character)) {
            let character = printable(character.encode_utf8(&mut [0; 4])).to_string();
            let message = format!(
                "has `{character}`, wanted one line without control characters and without characters that are not \
                 seen or change the direction of text"
            );
            self.report(location.finding(message, "type it again, without invisible characters"));
        }
    }

    /// Reads a string.
    #[must_use]
    pub fn string(&self, key: &str) -> Option<Located<String>> {
        self.typed(key, "a string", |value| value.as_str().map(str::to_owned))
    }

    /// Reads a string with `parse`, whose error becomes the diagnostic.
    pub fn parsed<T, E: fmt::Display>(
        &self,
        key: &str,
        remedy: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<Located<T>> {
        let Located { value, location } = self.string(key)?;
        let result = parse(&value).map_err(|error| location.finding(error.to_string(), remedy));
        self.accept(result).map(|value| Located { value, location })
    }

    /// Reads a whole number from zero.
    #[must_use]
    pub fn unsigned(&self, key: &str) -> Option<Located<u64>> {
        self.typed(key, "a whole number from 0", |value| {
            let number = value.as_integer()?;
            u64::from_str_radix(&number.as_str().replace('_', ""), number.radix()).ok()
        })
    }

    /// Reads a boolean.
    #[must_use]
    pub fn boolean(&self, key: &str) -> Option<Located<bool>> {
        self.typed(key, "true or false", DeValue::as_bool)
    }

    /// Reads a list of strings, each with its own line.
    #[must_use]
    pub fn strings(&self, key: &str) -> Option<Located<Vec<Located<String>>>> {
        let (location, value) = self.get(key)?;
        let length = value.get_ref().as_array().map_or(0, |array| array.len());
        if length > MAX_ITEMS {
            self.report(location.finding(format!("has {length} items, wanted {MAX_ITEMS} at most"), "list fewer"));
            return None;
        }
        let items = value.get_ref().as_array().and_then(|array| {
            let item = |item: &'a Spanned<DeValue<'a>>| {
                let line = self.document.line(item.span().start);
                let value = item.get_ref().as_str()?.to_owned();
                Some(Located { value, location: Location { line, ..location.clone() } })
            };
            array.iter().map(item).collect::<Option<Vec<_>>>()
        });
        if items.is_none() {
            self.report(location.finding("wanted a list of strings", r#"write a list, as in ["a", "b"]"#));
        }
        items.map(|value| Located { value, location })
    }

    /// Reads a table with `read`, then reports keys that `read` did not ask for.
    pub fn table<T>(&self, key: &str, read: impl FnOnce(&Table<'_>) -> Option<T>) -> Option<Located<T>> {
        let Located { value, location } = self.typed(key, "a table", DeValue::as_table)?;
        let table = Table::new(self.document, self.key(key), location.line, value);
        let value = read(&table);
        table.finish();
        value.map(|value| Located { value, location })
    }

    /// Reads each table in the table `key` with `read`, which also gets its name, in the order of the file.
    pub fn tables<T>(&self, key: &str, mut read: impl FnMut(&Located<String>, &Table<'_>) -> Option<T>) -> Vec<T> {
        let Some(Located { value: outer, .. }) = self.typed(key, "a table", DeValue::as_table) else {
            return Vec::new();
        };
        let outer = Table::new(self.document, self.key(key), 0, outer);
        let mut entries: Vec<_> = outer.table.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        let mut found = Vec::new();
        for (name, value) in entries {
            let location = Location {
                file: outer.document.file.clone(),
                line: outer.document.line(name.span().start),
                key: outer.key(name.get_ref()),
            };
            let Some(inner) = value.get_ref().as_table() else {
                self.report(
                    location.finding(format!("found {}, wanted a table", value.get_ref().type_str()), "write a table"),
                );
                continue;
            };
            let table = Table::new(outer.document, location.key.clone(), location.line, inner);
            found.extend(read(&Located { value: name.get_ref().to_string(), location }, &table));
            table.finish();
        }
        found
    }

    /// Reads each table of the array of tables `key` with `read`.
    pub fn list<T>(&self, key: &str, mut read: impl FnMut(&Table<'_>) -> Option<T>) -> Vec<T> {
        let Some((location, value)) = self.get(key) else { return Vec::new() };
        let Some(array) = value.get_ref().as_array() else {
            self.report(location.finding("wanted an array of tables", format!("write [[{}]]", location.key)));
            return Vec::new();
        };
        if array.len() > MAX_ITEMS {
            let found = format!("has {} items, wanted {MAX_ITEMS} at most", array.len());
            self.report(location.finding(found, "list fewer"));
            return Vec::new();
        }
        let mut found = Vec::new();
        for item in array {
            let line = self.document.line(item.span().start);
            if let Some(table) = item.get_ref().as_table() {
                let table = Table::new(self.document, self.key(key), line, table);
                found.extend(read(&table));
                table.finish();
            } else {
                self.report(
                    Location { line, ..location.clone() }
                        .finding("wanted a table", format!("write [[{}]]", location.key)),
                );
            }
        }
        found
    }

    /// Returns all keys whose values are strings, with their values: at most `most`, called `what` in a diagnostic.
    #[must_use]
    pub fn all_strings(&self, most: usize, what: &str) -> Vec<(String, Located<String>)> {
        let keys = || self.table.keys().map(|name| name.get_ref().to_string());
        let count = self.table.len();
        if count > most {
            self.asked.borrow_mut().extend(keys());
            self.report(self.location().finding(format!("has {count} {what}, wanted {most} at most"), "take some out"));
            return Vec::new();
        }
        keys().filter_map(|key| self.string(&key).map(|value| (key, value))).collect()
    }

    fn finish(&self) {
        let asked = self.asked.borrow();
        for name in self.table.keys() {
            let key = name.get_ref();
            if asked.contains(key.as_ref()) {
                continue;
            }
            let location = Location {
                file: self.document.file.clone(),
                line: self.document.line(name.span().start),
                key: self.key(key),
            };
            let known = asked.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            self.report(location.finding("is not a key that is known here", format!("known here: {known}")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::diagnostic::told;

    fn findings(text: &str, read: impl FnOnce(&Table<'_>) -> Option<()>) -> String {
        told(&TomlFile::new("f.toml".into(), text).read(read).unwrap_err())
    }

    #[test]
    fn every_finding_comes_at_once_with_its_line_and_key() {
        let text = "a = 1\n\n[t]\nx = \"ok\"\nlist = [\n  \"p\",\n  2,\n]\nspare = true\n";
        let all = findings(text, |table| {
            let _ = table.require("b", table.string("b"), "set it");
            let _ = table.string("a");
            table.table("t", |inner| {
                assert_eq!(inner.string("x").unwrap().location.line, 4);
                let _ = inner.strings("list");
                Some(())
            });
            Some(())
        });
        assert_eq!(
            all,
            "f.toml:1: `a`: found integer, wanted a string\n  hint: write a string\n\
             f.toml:1: `b`: is missing\n  hint: set it\n\
             f.toml:5: `t.list`: wanted a list of strings\n  hint: write a list, as in [\"a\", \"b\"]\n\
             f.toml:9: `t.spare`: is not a key that is known here\n  hint: known here: `list`, `x`"
        );
    }

    #[test]
    fn what_is_set_twice_is_named() {
        let all = findings("[t.b]\nx = 1\n\"y z\" = 1\n\"y z\" = 2\n[t.b]\n", |_| Some(()));
        assert_eq!(
            all,
            "f.toml:4: `\"y z\"` is there a second time\n  hint: remove one of the two, or change its name\n\
             f.toml:5: `b` is there a second time\n  hint: remove one of the two, or change its name"
        );
    }

    #[test]
    fn what_is_not_toml_is_told_by_line() {
        let all = findings("ok = 1\nnot ok\n", |_| Some(()));
        assert!(all.starts_with("f.toml:2: "), "{all}");
    }
}
