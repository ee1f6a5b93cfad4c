//! `bench.json`: results of measurements, and the machines they ran on. A measurement replaces only its own section.

use std::collections::BTreeMap;

use camino::Utf8Path;
use netboot_loaders::base::fs;
use serde::{Deserialize, Serialize};

use crate::exit::Failure;
use netboot_loaders::base::diagnostic::Class;

/// Version of the file format. Increase it whenever a field is removed or changes its meaning.
const SCHEMA_VERSION: u32 = 1;

/// Contents of `bench.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct BenchRecord {
    schema_version: u32,
    pub sections: Sections,
}

pub(super) type Sections = BTreeMap<Name, Section>;

/// Measurements, in the order of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Name {
    Cold,
    Warm,
    Sites,
    Transfer,
}

/// Results of one measurement, with its machine and programs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Section {
    pub facts: MachineFacts,
    pub rows: Vec<Row>,
}

/// Machine and programs that a measurement depends on. They include no name of a host or a person.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct MachineFacts {
    /// Model name of the processor.
    pub processor: String,
    /// Number of processors that this process may use.
    pub processors: usize,
    pub version: String,
    /// Build profile of this program.
    pub profile: String,
    pub ipxe: String,
    pub commit: String,
    /// Version that each tool prints.
    pub tools: BTreeMap<String, String>,
}

/// Measured value, and the alternative it is compared with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Row {
    pub what: String,
    pub unit: Unit,
    pub measured: Spread,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub against: Option<Against>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub goals: Vec<Goal>,
}

/// Unit of a value; `Times` is a ratio of durations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Unit {
    Seconds,
    Mebibytes,
    Times,
}

/// Alternative way to do the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Against {
    pub what: String,
    pub measured: Spread,
    /// Ratio of this value to the row's value: the median over the rounds.
    pub ratio: f64,
    /// Number of sites it ran for, if its value is extrapolated.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub extrapolated_from: Option<u32>,
}

/// Goal for the value of a row.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Goal {
    AtMost(f64),
    /// At most the alternative's value, divided by this.
    TimesFaster(f64),
}

/// Returns the model of the first processor in `/proc/cpuinfo`.
pub(super) fn model(cpuinfo: &str) -> String {
    let mut lines = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    let model = lines.find(|(key, _)| key.trim() == "model name");
    model.map_or_else(|| format!("unnamed {}", std::env::consts::ARCH), |(_, name)| name.trim().to_owned())
}

impl Row {
    /// Creates a row from `values`, one per round.
    pub fn new(what: impl Into<String>, unit: Unit, values: &[f64]) -> Self {
        Self { what: what.into(), unit, measured: Spread::of(values), against: None, goals: Vec::new() }
    }

    /// Creates a row of times, compared with those of `what` in the same rounds.
    pub fn timed(label: impl Into<String>, values: &[f64], what: &str, others: &[f64]) -> Self {
        let ratio = median(&ratios(others, values));
        let against = Against { what: what.to_owned(), measured: Spread::of(others), ratio, extrapolated_from: None };
        Self { against: Some(against), ..Self::new(label, Unit::Seconds, values) }
    }

    /// Marks the alternative's value as extrapolated from `sites`.
    pub fn extrapolated_from(self, sites: u32) -> Self {
        let extrapolated_from = Some(sites);
        Self { against: self.against.map(|against| Against { extrapolated_from, ..against }), ..self }
    }

    /// Sets the goals.
    pub fn goals(self, goals: impl IntoIterator<Item = Goal>) -> Self {
        Self { goals: goals.into_iter().collect(), ..self }
    }

    pub fn meets(&self, goal: Goal) -> bool {
        match goal {
            Goal::AtMost(limit) => self.measured.median <= limit,
            Goal::TimesFaster(times) => self.against.as_ref().is_some_and(|against| against.ratio >= times),
        }
    }
}

/// Summary of repeated measurements.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
    pub runs: usize,
}

impl Spread {
    /// Summarises `values`.
    pub fn of(values: &[f64]) -> Self {
        let min = values.iter().copied().fold(f64::INFINITY, f64::min);
        let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Self { median: median(values), min, max, runs: values.len() }
    }
}

/// Returns the ratio of `larger` to `smaller` for each round.
pub(super) fn ratios(larger: &[f64], smaller: &[f64]) -> Vec<f64> {
    larger.iter().zip(smaller).map(|(larger, smaller)| larger / smaller).collect()
}

/// Returns the median; for an even number of values, the mean of the middle two.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2])
}

impl BenchRecord {
    /// Reads the record in `file`; returns an empty one if there is no file.
    pub fn read(file: &Utf8Path) -> Result<Self, Failure> {
        let Some(text) = fs::read_if_exists(file)? else {
            return Ok(Self { schema_version: SCHEMA_VERSION, sections: Sections::new() });
        };
        let reason = match serde_json::from_slice::<Self>(&text) {
            Ok(record) if record.schema_version == SCHEMA_VERSION => return Ok(record),
            Ok(record) => format!("found schema version {}, wanted {SCHEMA_VERSION}", record.schema_version),
            Err(error) => error.to_string(),
        };
        let text = format!("`{file}` has no measurements of this version: {reason}");
        Err(Failure::new(Class::BadInput, text)
            .help("name the file of an earlier `bench`, or one that does not exist yet"))
    }

    pub fn write(&self, file: &Utf8Path) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(self).map_err(std::io::Error::from)?;
        Ok(fs::write_atomic(file, format!("{text}\n").as_bytes())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_named_and_where_it_has_no_name_its_kind() {
        let text = "processor\t: 0\nmodel name\t: An Example CPU @ 2.60GHz\nprocessor\t: 1\nmodel name\t: Another\n";
        assert_eq!(model(text), "An Example CPU @ 2.60GHz");
        assert!(model("").starts_with("unnamed "));
    }

    #[test]
    fn a_section_is_replaced_and_a_file_of_another_form_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = Utf8Path::from_path(folder.path()).unwrap().join("dist/bench.json");
        let section = |n| Section { facts: MachineFacts::default(), rows: vec![Row::new("it", Unit::Seconds, &[n])] };
        let mut record = BenchRecord::read(&file).unwrap();
        for (name, number) in [(Name::Warm, 1.0), (Name::Cold, 2.0), (Name::Warm, 3.0)] {
            record.sections.insert(name, section(number));
            record.write(&file).unwrap();
            record = BenchRecord::read(&file).unwrap();
        }
        assert_eq!(record.sections, [(Name::Cold, section(2.0)), (Name::Warm, section(3.0))].into());
        let other = "{\"schema-version\": 2, \"sections\": {}}";
        for (text, reason) in [(other, "found schema version 2, wanted 1"), ("[]", "invalid length 0")] {
            std::fs::write(&file, text).unwrap();
            let failure = BenchRecord::read(&file).unwrap_err();
            assert!(failure.message.contains(reason), "{}", failure.message);
            assert_eq!(
                failure.diagnosis.help,
                ["name the file of an earlier `bench`, or one that does not exist yet".into()]
            );
        }
    }

    #[test]
    fn numbers_and_goals_are_about_medians_of_rounds() {
        assert_eq!(Spread::of(&[3.0, 1.0, 10.0]), Spread { median: 3.0, min: 1.0, max: 10.0, runs: 3 });
        assert_eq!(Spread::of(&[4.0, 1.0]), Spread { median: 2.5, min: 1.0, max: 4.0, runs: 2 });
        // Values of the same round are compared.
        assert_eq!(ratios(&[10.0, 40.0, 9.0], &[1.0, 2.0, 3.0]), [10.0, 20.0, 3.0]);
        let row = Row::timed("it", &[1.0, 3.0, 2.0], "make", &[100.0, 330.0, 180.0]);
        // The ratios of the rounds are 100, 110 and 90.
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
