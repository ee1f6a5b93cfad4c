//! `bench.json`: what was measured, and on what. Each measurement has a section, and replaces only that.

use std::collections::BTreeMap;

use camino::Utf8Path;
use netboot_loaders::fs;
use serde::{Deserialize, Serialize};

use super::facts::Facts;
use super::statistics::{Spread, median, ratios};
use crate::exit::{BAD_INPUT, Failure};

/// The version of the form. Raise it whenever something is left out or means something else.
const SCHEMA_VERSION: u32 = 1;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Record {
    schema_version: u32,
    /// What was measured, by the names of the measurements.
    pub sections: Sections,
}

/// Measurements by their names.
pub(super) type Sections = BTreeMap<Name, Section>;

/// The measurements, in the order of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Name {
    /// `bench cold`.
    Cold,
    /// `bench warm`.
    Warm,
    /// `bench sites`.
    Sites,
    /// `bench transfer`.
    Transfer,
}

/// What one measurement has found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Section {
    /// What it was found on and with.
    pub facts: Facts,
    /// What was found.
    pub rows: Vec<Row>,
}

/// A number, and what it is compared with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Row {
    /// What it is the number of.
    pub what: String,
    /// In which unit all its numbers are.
    pub unit: Unit,
    /// The number.
    pub measured: Spread,
    /// What it is compared with.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub against: Option<Against>,
    /// What it should be.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub goals: Vec<Goal>,
}

/// Units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Unit {
    /// Seconds.
    Seconds,
    /// 1,048,576 bytes.
    Mebibytes,
    /// A number without a unit: how many times as long.
    Times,
}

/// The other way to do the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Against {
    /// Which.
    pub what: String,
    /// Its number.
    pub measured: Spread,
    /// How many times the number of this is that of the row: the median over the rounds.
    pub ratio: f64,
    /// For how many sites it ran, where its number is extrapolated.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub extrapolated_from: Option<u32>,
}

/// What a row's number should be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Goal {
    /// At most this.
    AtMost(f64),
    /// At most the other one's, divided by this.
    TimesFaster(f64),
}

impl Row {
    /// The numbers `values`, one of each round.
    pub fn new(what: impl Into<String>, unit: Unit, values: &[f64]) -> Self {
        Self { what: what.into(), unit, measured: Spread::of(values), against: None, goals: Vec::new() }
    }

    /// The same times, compared with those of `what` in the same rounds.
    pub fn timed(label: impl Into<String>, values: &[f64], what: &str, others: &[f64]) -> Self {
        let ratio = median(&ratios(others, values));
        let against = Against { what: what.to_owned(), measured: Spread::of(others), ratio, extrapolated_from: None };
        Self { against: Some(against), ..Self::new(label, Unit::Seconds, values) }
    }

    /// The same row; what it is compared with was extrapolated from `sites`.
    pub fn extrapolated_from(mut self, sites: u32) -> Self {
        self.against = self.against.map(|against| Against { extrapolated_from: Some(sites), ..against });
        self
    }

    /// The same row with these goals.
    pub fn goals(self, goals: impl IntoIterator<Item = Goal>) -> Self {
        Self { goals: goals.into_iter().collect(), ..self }
    }

    /// Whether it meets `goal`.
    pub fn meets(&self, goal: Goal) -> bool {
        match goal {
            Goal::AtMost(limit) => self.measured.median <= limit,
            Goal::TimesFaster(times) => self.against.as_ref().is_some_and(|against| against.ratio >= times),
        }
    }
}

impl Default for Record {
    fn default() -> Self {
        Self { schema_version: SCHEMA_VERSION, sections: BTreeMap::new() }
    }
}

impl Record {
    /// The one in `file`; an empty one where there is no file.
    pub fn read(file: &Utf8Path) -> Result<Self, Failure> {
        let Some(text) = fs::read_if_exists(file)? else { return Ok(Self::default()) };
        let unreadable = |reason: String| {
            let text = format!("`{file}` has no measurements of this version: {reason}\nhint: remove it");
            Failure::new(BAD_INPUT, &text)
        };
        let record: Self = serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string()))?;
        if record.schema_version != SCHEMA_VERSION {
            let found = record.schema_version;
            return Err(unreadable(format!("found schema version {found}, wanted {SCHEMA_VERSION}")));
        }
        Ok(record)
    }

    /// Writes it to `file`.
    pub fn write(&self, file: &Utf8Path) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(self).map_err(std::io::Error::from)?;
        Ok(fs::write_atomic(file, format!("{text}\n").as_bytes())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(number: f64) -> Section {
        Section { facts: Facts::default(), rows: vec![Row::new("it", Unit::Seconds, &[number])] }
    }

    #[test]
    fn a_section_is_replaced_and_the_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        let file = Utf8Path::from_path(folder.path()).unwrap().join("dist/bench.json");
        let mut record = Record::read(&file).unwrap();
        for (name, number) in [(Name::Warm, 1.0), (Name::Cold, 2.0), (Name::Warm, 3.0)] {
            record.sections.insert(name, section(number));
            record.write(&file).unwrap();
            record = Record::read(&file).unwrap();
        }
        assert_eq!(
            record.sections.into_iter().collect::<Vec<_>>(),
            [(Name::Cold, section(2.0)), (Name::Warm, section(3.0))]
        );
    }

    #[test]
    fn a_file_of_another_form_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let file = Utf8Path::from_path(folder.path()).unwrap().join("bench.json");
        for (text, reason) in [
            ("{\"schema-version\": 2, \"sections\": {}}", "found schema version 2, wanted 1"),
            ("[]", "invalid length 0"),
        ] {
            std::fs::write(&file, text).unwrap();
            let failure = Record::read(&file).unwrap_err();
            assert!(failure.message.contains(reason), "{}", failure.message);
            assert_eq!(failure.hints, ["remove it"]);
        }
    }

    #[test]
    fn goals_are_about_medians_of_rounds() {
        let row = Row::timed("it", &[1.0, 3.0, 2.0], "make", &[100.0, 330.0, 180.0]);
        // The rounds' own ratios are 100, 110 and 90.
        assert!(row.meets(Goal::AtMost(2.0)) && !row.meets(Goal::AtMost(1.9)));
        assert!(row.meets(Goal::TimesFaster(100.0)) && !row.meets(Goal::TimesFaster(101.0)));
        assert!(!Row::new("it", Unit::Times, &[1.0]).meets(Goal::TimesFaster(1.0)));
    }

    #[test]
    fn the_form_of_a_row() {
        let row = Row::timed("it", &[1.0], "make", &[9.0]).extrapolated_from(20).goals([Goal::AtMost(45.0)]);
        let spread = |number: f64| serde_json::json!({ "median": number, "min": number, "max": number, "runs": 1 });
        let against =
            serde_json::json!({ "what": "make", "measured": spread(9.0), "ratio": 9.0, "extrapolated-from": 20 });
        let wanted = serde_json::json!({
            "what": "it", "unit": "seconds", "measured": spread(1.0), "against": against, "goals": [{ "at-most": 45.0 }],
        });
        assert_eq!(serde_json::json!(row), wanted);
    }
}
