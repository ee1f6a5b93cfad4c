//! `cargo xtask bench`: the product against what people do without it, in one run.
//!
//! [`statistics`] runs what is compared in rounds, [`record`] keeps what came of it, [`table`] shows that.
//! [`product`] is this program as a process of its own, [`stock`] is iPXE as people make it.

mod cold;
mod facts;
mod memory;
mod product;
mod record;
mod sites;
mod statistics;
mod stock;
mod table;
mod transfer;
mod warm;

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use netboot_loaders::build_loaders::{Choices, fetch};
use netboot_loaders::choices::loader::Loader;
use netboot_loaders::choices::sites::Options;
use netboot_loaders::fs::{self, Lock};
use netboot_loaders::paths::Cache;
use netboot_loaders::plan::Inputs;
use netboot_loaders::progress::Progress;
use serde_json::json;

use self::facts::Facts;
use self::record::{Name, Record, Row, Section, Sections};
use self::statistics::{Contender, Rounds};
use crate::cli::{Bench, Measure};
use crate::exit::{BAD_INPUT, Failure, INTERRUPTED};
use crate::host::{Host, absolute};

/// The loaders that are measured where none are named.
const LOADERS: [Loader; 3] = [Loader::IpxePxe, Loader::UndionlyKpxe, Loader::IpxeEfi];

pub(super) fn run(what: &Bench, host: &Host<'_>) -> Result<(), Failure> {
    match what {
        Bench::Cold(measure) => cold::run(&Setting::new(measure, host)?),
        Bench::Warm(measure) => warm::run(&Setting::new(measure, host)?),
        Bench::Sites(args) => sites::run(args, &Setting::new(&args.measure, host)?),
        Bench::Transfer(measure) => transfer::run(&Setting::new(measure, host)?),
        Bench::Table { json } => show(&file(json.as_deref(), host)?, host),
    }
}

fn file(given: Option<&Utf8Path>, host: &Host<'_>) -> Result<Utf8PathBuf, Failure> {
    given.map_or_else(|| Ok(host.project.default_bench()), absolute)
}

fn show(file: &Utf8Path, host: &Host<'_>) -> Result<(), Failure> {
    let record = Record::read(file)?;
    if record.sections.is_empty() {
        let text = format!("`{file}` has no measurements\nhint: measure first, as with `cargo xtask bench warm`");
        return Err(Failure::new(BAD_INPUT, &text));
    }
    host.ui.answer(&table::markdown(&record.sections), json!({ "bench": record.sections }));
    Ok(())
}

/// Where and with what is measured.
struct Setting<'a> {
    host: &'a Host<'a>,
    /// How many rounds count.
    rounds: u8,
    /// Where the numbers go.
    json: Utf8PathBuf,
    /// Where there is room.
    scratch: Utf8PathBuf,
    /// The cache, which has all that is pinned.
    cache: Cache,
    /// What loaders are made from.
    inputs: Inputs,
    /// Held while this lives: two measurements at once would say nothing.
    _lock: Lock,
}

impl<'a> Setting<'a> {
    fn new(measure: &Measure, host: &'a Host<'a>) -> Result<Self, Failure> {
        let json = file(measure.json.as_deref(), host)?;
        // What cannot be kept is not worth measuring.
        Record::read(&json)?;
        let scratch = measure.scratch.as_deref().map_or_else(|| Ok(host.project.default_bench_scratch()), absolute)?;
        fs::create_dir_all(&scratch)?;
        let scratch = scratch.canonicalize_utf8()?;
        let lock = Lock::acquire(&scratch.join("lock"), host.ui)?.ok_or_else(interrupted)?;
        let cache = host.cache()?;
        let choices = Choices::read(&host.project, &Options::default(), host.ui)?;
        fetch(&choices.pins, &cache, &host.origins(&measure.origins)?, host.ui)?;
        let inputs = choices.plan(&host.path, &cache, host.ui)?.inputs;
        Ok(Self { host, rounds: measure.pairs, json, scratch, cache, inputs, _lock: lock })
    }

    /// An empty folder with this name, where there is room.
    fn room(&self, name: &str) -> Result<Utf8PathBuf, Failure> {
        let folder = self.scratch.join(name);
        fs::remove_dir_all(&folder)?;
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// Measures `contenders` after a warm-up, and says the numbers of each round.
    fn compare(&self, what: &str, contenders: &mut [Contender<'_>]) -> Result<Vec<Vec<f64>>, Failure> {
        self.measure(what, Rounds { count: self.rounds, warm_up: true }, contenders)
    }

    /// The same without a warm-up.
    fn compare_cold(&self, what: &str, contenders: &mut [Contender<'_>]) -> Result<Vec<Vec<f64>>, Failure> {
        self.measure(what, Rounds { count: self.rounds, warm_up: false }, contenders)
    }

    fn measure(&self, what: &str, rounds: Rounds, contenders: &mut [Contender<'_>]) -> Result<Vec<Vec<f64>>, Failure> {
        let names: Vec<&str> = contenders.iter().map(|(name, _)| *name).collect();
        self.say(&format!("{what}: {}", names.join(" against ")));
        rounds.run(contenders, &mut |round, numbers| {
            let numbers = names.iter().zip(numbers).map(|(name, seconds)| format!("{name} {seconds:.3} s"));
            self.say(&format!("  round {round}: {}", numbers.collect::<Vec<_>>().join(", ")));
        })
    }

    /// Says how far it has come.
    fn say(&self, line: &str) {
        self.host.ui.say(&format!("{line}\n"));
    }

    /// Ends where the user asked for that.
    fn go_on(&self) -> Result<(), Failure> {
        if self.host.ui.cancelled() { Err(interrupted()) } else { Ok(()) }
    }

    /// Keeps `rows` as the section `name`, and shows them. `tools` were used besides those that loaders are made
    /// with.
    fn keep(&self, name: Name, rows: Vec<Row>, tools: BTreeMap<String, String>) -> Result<(), Failure> {
        let built_with = self.inputs.toolchain.tools.iter().map(|tool| (tool.name.clone(), tool.version.clone()));
        let facts = Facts::new(&self.inputs.pins.ipxe, built_with.chain(tools).collect());
        let section = Section { facts, rows };
        let mut record = Record::read(&self.json)?;
        record.sections.insert(name, section.clone());
        record.write(&self.json)?;
        let shown = Sections::from([(name, section)]);
        let text = format!("\n{}\nkept in {}\n", table::markdown(&shown), self.json);
        self.host.ui.result(&text, json!({ "bench": shown, "json": self.json }));
        Ok(())
    }
}

fn interrupted() -> Failure {
    Failure::new(INTERRUPTED, "the measurement was interrupted")
}
