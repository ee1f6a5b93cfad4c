//! CSV files as rows: each has a name, and a value for each variable in the header.

use crate::base::plural::count;
use std::sync::Arc;

use camino::Utf8Path;
use csv::{Reader, ReaderBuilder, StringRecord};

use crate::base::diagnostic::{Diagnostic, Location};
use crate::config::template;
use crate::config::toml::{line_at, utf8};
use crate::printable::listed_names;

/// Keys of a site, which a column of the same name would not set.
const KEYS: [&str; 7] = ["loaders", "media", "script", "config", "trust", "slot", "vars"];
/// The column with the site names.
const NAME: &str = "name";

/// The rows of a CSV file after the header.
pub(in crate::config) struct Rows<'t> {
    file: &'t Utf8Path,
    content: &'t [u8],
    separator: Separator,
    reader: Reader<&'t [u8]>,
    record: StringRecord,
    header: StringRecord,
    /// The names of the variables.
    pub columns: Arc<[String]>,
}

/// Maximum number of columns in a file.
const MAX_COLUMNS: usize = 1000;

/// The character between two values of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Separator {
    Comma = b',' as isize,
    Semicolon = b';' as isize,
    Tab = b'\t' as isize,
}

impl Separator {
    fn byte(self) -> u8 {
        self as u8
    }

    fn name(self) -> &'static str {
        match self {
            Self::Comma => "comma",
            Self::Semicolon => "semicolon",
            Self::Tab => "tab",
        }
    }

    /// Finds the separator that `header` contains; names of columns cannot contain one.
    ///
    /// # Errors
    ///
    /// Returns the first two separators if there are several.
    fn of(header: &[u8]) -> Result<Self, (Self, Self)> {
        let all = [Self::Comma, Self::Semicolon, Self::Tab];
        let mut found = all.into_iter().filter(|separator| header.contains(&separator.byte()));
        match (found.next(), found.next()) {
            (Some(one), Some(other)) => Err((one, other)),
            (one, _) => Ok(one.unwrap_or(Self::Comma)),
        }
    }
}

/// A row.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::config) struct InventoryRow {
    /// The line that the row begins on, counted from 1.
    pub line: usize,
    /// The site's name.
    pub name: String,
    /// The value of each variable; `None` for an empty cell.
    pub values: Arc<[Option<Box<str>>]>,
}

/// Recognises other formats that people keep inventories in. Returns a message and a remedy.
fn other_form(file: &Utf8Path, content: &[u8]) -> Option<(&'static str, &'static str)> {
    if content.starts_with(b"PK\x03\x04") {
        return Some(("is a file of a spreadsheet, wanted CSV", "save it as CSV, with UTF-8"));
    }
    let first = content.trim_ascii_start();
    let first = first.strip_prefix(b"\"").unwrap_or(first);
    if first.get(..4).is_some_and(|first| first.eq_ignore_ascii_case(b"sep=")) {
        return Some(("begins with `sep=`, wanted the header", "remove that line: the separator is found by itself"));
    }
    let toml = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
    toml.then_some(("is TOML, wanted CSV", "put it into a folder, a file for each site, and name the folder"))
}

impl<'t> Rows<'t> {
    /// Reads the header of `content`; diagnostics call the file `file`.
    ///
    /// # Errors
    ///
    /// Returns all errors in the header.
    pub(in crate::config) fn new(file: &'t Utf8Path, content: &'t [u8]) -> Result<Self, Vec<Diagnostic>> {
        // Excel writes a byte order mark.
        let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
        let at = |line| Location { file: file.to_owned(), line, key: String::new() };
        if let Some((message, remedy)) = other_form(file, content) {
            return Err(vec![at(0).finding(message, remedy)]);
        }
        utf8(file, content).map_err(|findings| findings.0)?;
        let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
        let start = content.iter().position(|byte| !is_end(byte)).unwrap_or(0);
        let header = content[start..].split(is_end).next().unwrap_or_default();
        let separator = Separator::of(header).map_err(|(one, other)| {
            let (one, other) = (one.name(), other.name());
            let message = format!("has a {one} and a {other} in its header, wanted one of them between columns");
            let remedy =
                "let header and rows have the same between columns, and nothing else of the kind in the header";
            vec![at(line_at(content, start)).finding(message, remedy)]
        })?;
        let mut reader = ReaderBuilder::new();
        let reader = reader.has_headers(false).flexible(true).delimiter(separator.byte()).from_reader(content);
        let (record, header) = (StringRecord::new(), StringRecord::new());
        let mut rows = Self { file, content, separator, reader, record, header, columns: Arc::default() };
        let line = rows.advance().map_err(|finding| vec![finding])?.ok_or_else(|| {
            let remedy = "begin with a line that names the columns: `name`, and a variable each";
            vec![at(0).finding("is empty, wanted a header with the column `name`", remedy)]
        })?;
        if rows.record.len() > MAX_COLUMNS {
            let message = format!("has {} columns, wanted {MAX_COLUMNS} at most", rows.record.len());
            return Err(vec![at(line).finding(message, "give each site a row, and each variable a column")]);
        }
        rows.header = rows.record.clone();
        let findings = judge(&rows.header, &at(line));
        rows.columns = rows.header.iter().filter(|column| *column != NAME).map(str::to_owned).collect();
        if findings.is_empty() { Ok(rows) } else { Err(findings) }
    }

    /// Reads the next record and returns the line that it begins on.
    fn advance(&mut self) -> Result<Option<usize>, Diagnostic> {
        let (start, line) = (self.offset(), self.reader.position().line());
        let read = self.reader.read_record(&mut self.record);
        let bytes = &self.content[start..self.offset()];
        // The reader counts the end of the previous row and empty lines as part of this record.
        let blank =
            bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).filter(|byte| **byte == b'\n').count();
        let line = blank + usize::try_from(line).unwrap_or(usize::MAX);
        let at = Location { file: self.file.to_owned(), line, key: String::new() };
        // An unclosed quote would swallow the rows that follow.
        if memchr::memchr_iter(b'"', bytes).count() % 2 == 1 {
            return Err(at.finding(
                "has a quote without its counterpart",
                "put the value into quotes, and write each quote in it twice",
            ));
        }
        match read {
            Ok(more) => Ok(more.then_some(line)),
            Err(error) => Err(at.finding(error.to_string(), "write it as CSV")),
        }
    }

    fn offset(&self) -> usize {
        usize::try_from(self.reader.position().byte()).unwrap_or(usize::MAX).min(self.content.len())
    }

    fn row(&self, line: usize) -> Result<InventoryRow, Diagnostic> {
        let (found, wanted) = (self.record.len(), self.header.len());
        if found != wanted {
            let columns = listed_names(&self.header.iter().collect::<Vec<_>>());
            let separator = self.separator.name();
            return Err(Location { file: self.file.to_owned(), line, key: String::new() }.finding(
                format!("found {}, wanted {wanted}: {columns}", count(found, "value")),
                format!("give the row a value for each column, if only an empty one, and put a value with a {separator} into quotes"),
            ));
        }
        let mut row = InventoryRow { line, name: String::new(), values: Arc::default() };
        let mut values = Vec::with_capacity(self.columns.len());
        for (column, value) in self.header.iter().zip(&self.record) {
            if column == NAME {
                value.clone_into(&mut row.name);
            } else {
                let at = || Location { file: self.file.to_owned(), line, key: column.to_owned() };
                template::check_value(value).map_err(|(message, remedy)| at().finding(message, remedy))?;
                values.push((!value.is_empty()).then(|| value.into()));
            }
        }
        row.values = values.into();
        Ok(row)
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<InventoryRow, Diagnostic>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.advance() {
                // Spreadsheets write such rows for unused cells.
                Ok(Some(_)) if self.record.iter().all(|value| value.trim().is_empty()) => {}
                Ok(line) => return Some(self.row(line?)),
                Err(finding) => return Some(Err(finding)),
            }
        }
    }
}

/// Finds errors in the names of the columns.
fn judge(header: &StringRecord, at: &Location) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    for (index, column) in header.iter().enumerate() {
        if column.is_empty() {
            let message = format!("has no name for column {} of its header", index + 1);
            findings.push(at.finding(message, "name it, or take away the separator that makes it, in all rows"));
        } else if header.iter().take(index).any(|other| other == column) {
            findings.push(at.finding(format!("has the column `{column}` twice"), "remove or rename one of them"));
        } else if KEYS.contains(&column) {
            let message = format!("has the column `{column}`, and columns are variables of scripts");
            let remedy = "rename it, or describe such sites in a folder of TOML files";
            findings.push(Location { key: column.into(), ..at.clone() }.finding(message, remedy));
        } else if let (true, Err((message, remedy))) = (column != NAME, template::check_name(column)) {
            findings.push(Location { key: column.into(), ..at.clone() }.finding(message, remedy));
        }
    }
    if !header.iter().any(|column| column == NAME) {
        let found = listed_names(&header.iter().collect::<Vec<_>>());
        findings.push(at.finding(
            format!("found the columns {found}, wanted a column `{NAME}`"),
            "add the column with the sites' names; a comma, a semicolon or a tab is between columns",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use crate::base::diagnostic::{Diagnostics, told};
    use netboot_fixtures::property::one_in;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_separator_at_the_end_of_the_header_makes_a_column_without_a_name() {
        assert_eq!(
            read(b"name,mac,\na,b,\n"),
            "f.csv:1: has no name for column 3 of its header\n  hint: name it, or take away the separator that makes it, in all rows"
        );
    }

    /// Formats each row as a line, or its error.
    fn read(content: &[u8]) -> String {
        let told = |findings: Vec<Diagnostic>| told(&Diagnostics(findings));
        match Rows::new("f.csv".into(), content) {
            Err(findings) => told(findings),
            Ok(rows) => {
                let lines = rows.map(|row| match row {
                    Ok(InventoryRow { line, name, values }) => {
                        let values: Vec<_> = values.iter().map(|value| value.as_deref().unwrap_or("-")).collect();
                        format!("{line} {name} {}", values.join(" "))
                    }
                    Err(finding) => told(vec![finding]),
                });
                lines.collect::<Vec<_>>().join("\n")
            }
        }
    }

    #[test]
    fn rows_are_read_as_spreadsheets_write_them() {
        for text in
            ["name,a,b\nx,1,2\ny,,\"3,4\"\n", "name,a,b\r\nx,1,2\r\ny,,\"3,4\"\r\n", "name,a,b\nx,1,2\ny,,\"3,4\""]
        {
            assert_eq!(read(text.as_bytes()), "2 x 1 2\n3 y - 3,4");
            assert_eq!(read(format!("\u{feff}{text}").as_bytes()), "2 x 1 2\n3 y - 3,4");
        }
        assert_eq!(read(b"a,name\n1,x\n"), "2 x 1");
        assert_eq!(read(b"name\nx\n"), "2 x ");
        assert_eq!(read(b"name,a\nx,\"he said \"\"hi\"\"\"\n"), "2 x he said \"hi\"");
        assert_eq!(read(b"name,a\n"), "");
    }

    #[test]
    fn semicolons_and_tabs_are_understood_by_the_header() {
        for separator in [';', '\t'] {
            let text = "\u{feff}\r\nname|a|b\r\nx|1,2|\"3|4\"\r\n".replace('|', &separator.to_string());
            assert_eq!(read(text.as_bytes()), format!("3 x 1,2 3{separator}4"));
        }
        // The header alone decides the separator, whatever the values contain.
        assert_eq!(read(b"name,a\nx,1;2\n"), "2 x 1;2");
        assert_eq!(
            read(b"\nname,a;b\n"),
            "f.csv:2: has a comma and a semicolon in its header, wanted one of them between columns\n  \
             hint: let header and rows have the same between columns, and nothing else of the kind in the header"
        );
    }

    #[test]
    fn rows_in_which_nothing_was_written_are_passed_over() {
        assert_eq!(read(b"name,a\n,\nx,1\n , \n,,,,\n\"\",\"\"\ny,2\n;\n").lines().count(), 4);
        assert_eq!(read("name;a\n;\nx;1\n\u{a0};\n;;;;\n".as_bytes()), "3 x 1");
        assert_eq!(read(b"name;a\n;1\n"), "2  1");
    }

    #[test]
    fn lines_are_counted_over_quoted_newlines_and_empty_lines() {
        assert_eq!(read(b"\nname,a\n\n\nx,\"1\n2\"\ny,3\n\nz,4\n"), "5 x 1\n2\n7 y 3\n9 z 4");
        assert_eq!(read(b"name,a\r\nx,\"1\r\n2\"\r\n\r\ny,3\r\n"), "2 x 1\r\n2\n5 y 3");
    }

    #[test]
    fn a_row_that_is_none_is_told_by_line_and_the_others_are_read() {
        let values = |line, found, separator: &str| {
            format!(
                "f.csv:{line}: found {found}, wanted 2: `name`, `a`\n  hint: give the row a value for each column, if only an empty one, and put a value with a {separator} into quotes"
            )
        };
        let text = "name,a\nx;1\ny,1\nz,1,2\n";
        let told =
            |separator| format!("{}\n3 y 1\n{}", values(2, "1 value", separator), values(4, "3 values", separator));
        assert_eq!(read(text.as_bytes()), told("comma"));
        let swapped: String = text.chars().map(|c| if c == ',' { '\t' } else { c }).collect();
        assert_eq!(read(swapped.as_bytes()), told("tab"));
        assert_eq!(
            read(b"name,a\nx,\"1\ny,2\nz,3\n"),
            "f.csv:2: has a quote without its counterpart\n  hint: put the value into quotes, and write each quote in it twice"
        );
    }

    #[test]
    fn a_header_is_told_all_that_is_wrong_with_it() {
        assert_eq!(
            read(b"name,loaders\n"),
            "f.csv:1: `loaders`: has the column `loaders`, and columns are variables of scripts\n  hint: rename it, or describe such sites in a folder of TOML files"
        );
        assert_eq!(
            read(b"a,a,boot-url,site\n"),
            "f.csv:1: has the column `a` twice\n  hint: remove or rename one of them\n\
             f.csv:1: `boot-url`: found the variable name `boot-url`, wanted letters, digits and `_`, not a digit first and not a word of templates\n  hint: choose another name for the variable\n\
             f.csv:1: `site`: is the site's name and cannot be set\n  hint: choose another name for the variable\n\
             f.csv:1: found the columns `a`, `a`, `boot-url`, `site`, wanted a column `name`\n  hint: add the column with the sites' names; a comma, a semicolon or a tab is between columns"
        );
        assert_eq!(
            read(b""),
            "f.csv: is empty, wanted a header with the column `name`\n  hint: begin with a line that names the columns: `name`, and a variable each"
        );
        assert_eq!(
            read(b"PK\x03\x04\xff"),
            "f.csv: is a file of a spreadsheet, wanted CSV\n  hint: save it as CSV, with UTF-8"
        );
        for sep in [&b"\xef\xbb\xbfsep=;\nname;a\n"[..], b"\r\n\"SEP=;\"\nname;a\n"] {
            assert_eq!(
                read(sep),
                "f.csv: begins with `sep=`, wanted the header\n  hint: remove that line: the separator is found by itself"
            );
        }
        let findings = Rows::new("Racks.TOML".into(), b"[site.a]\n").err().unwrap();
        assert_eq!(
            told(&Diagnostics(findings)),
            "Racks.TOML: is TOML, wanted CSV\n  hint: put it into a folder, a file for each site, and name the folder"
        );
        assert_eq!(read(b"name\n\xff\n"), "f.csv:2: is not UTF-8\n  hint: save the file as UTF-8");
    }

    proptest! {
        #![proptest_config(one_in(1))]

        #[test]
        fn what_the_csv_crate_writes_is_read_back(
            rows in prop::collection::vec(("[a-z]{1,4}", r#"[a-z,;"\t \r\n|é\x00]{0,6}"#, r#"[0-9"';]{0,3}"#), 0..6),
            separator in prop::sample::select(vec![Separator::Comma, Separator::Semicolon, Separator::Tab]),
            (mark, crlf) in any::<(bool, bool)>(),
        ) {
            let end = if crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') };
            let mut writer = csv::WriterBuilder::new();
            let mut writer = writer.delimiter(separator.byte()).terminator(end).from_writer(Vec::new());
            writer.write_record(["mac_1", "name", "b"]).unwrap();
            for (name, first, second) in &rows {
                writer.write_record([first, name, second]).unwrap();
            }
            let content = [if mark { &b"\xef\xbb\xbf"[..] } else { b"" }, &writer.into_inner().unwrap()].concat();
            let mut line = 2;
            let cell = |value: &String| (!value.is_empty()).then(|| value.as_str().into());
            for (row, (name, first, second)) in Rows::new("f.csv".into(), &content).unwrap().zip(&rows) {
                let row = row.unwrap();
                let wanted = InventoryRow { line, name: name.clone(), values: [cell(first), cell(second)].into() };
                prop_assert_eq!(row, wanted);
                line += 1 + first.matches('\n').count();
            }
            prop_assert_eq!(Rows::new("f.csv".into(), &content).unwrap().count(), rows.len());
        }

        #[test]
        fn whatever_bytes_there_are_end_in_rows_or_findings(
            parts in prop::collection::vec(prop_oneof![
                Just(b"name,a\n".to_vec()), Just(b"\xef\xbb\xbf".to_vec()), Just(b"x,1\r\n".to_vec()),
                "[\",;\t\r\n\\x00 a]{0,4}".prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..4),
            ], 0..12),
        ) {
            let content = parts.concat();
            if let Ok(rows) = Rows::new("f.csv".into(), &content) {
                let last = content.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() + 1;
                for row in rows.flatten() {
                    prop_assert!(row.line <= last && row.values.len() <= content.len());
                }
            }
        }
    }
}
