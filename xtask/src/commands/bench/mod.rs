//! `cargo xtask bench`: measures this tool against what users do without it, in the same run.
//!
//! [`contenders`] defines what is compared, [`rounds`] runs it, [`record`] stores the results, [`table`] renders them.

mod builds;
mod contenders;
mod memory;
mod record;
mod sites;
mod table;
mod transfer;

use camino::{Utf8Path, Utf8PathBuf};
use netboot_loaders::base::fs::{self, Lock};
use netboot_loaders::base::paths::{self, Cache};
use netboot_loaders::boot_test::tools::TestTool;
use netboot_loaders::build::plan::Inputs;
use netboot_loaders::build_loaders::{Config, fetch};
use netboot_loaders::config::sites::Options;
use netboot_loaders::loader::target::Loader;
use netboot_loaders::printable::printable;
use serde_json::json;

use self::record::{BenchRecord, MachineFacts, Name, Row, Section, Sections, model};
use crate::cli::{Bench, Measure};
use crate::exit::Failure;
use crate::host::{Host, absolute, processors};
use crate::program::name;
use netboot_loaders::base::diagnostic::{Class, Flag};

/// Loaders that are measured if none are named.
const LOADERS: [Loader; 3] = [Loader::IpxePxe, Loader::UndionlyKpxe, Loader::IpxeEfi];

pub(super) fn run(what: &Bench, host: &Host<'_>) -> Result<(), Failure> {
    match what {
        Bench::Cold(measure) => builds::cold(&BenchContext::new(measure, host)?),
        Bench::Warm(measure) => builds::warm(&BenchContext::new(measure, host)?),
        Bench::Sites(args) => sites::run(args, &BenchContext::new(&args.measure, host)?),
        Bench::Transfer(measure) => transfer::run(&BenchContext::new(measure, host)?),
        Bench::Table { json } => show(&file(json.as_deref(), host)?, host),
    }
}

fn file(given: Option<&Utf8Path>, host: &Host<'_>) -> Result<Utf8PathBuf, Failure> {
    given.map_or_else(|| Ok(host.project.default_bench()), absolute)
}

fn show(file: &Utf8Path, host: &Host<'_>) -> Result<(), Failure> {
    let record = BenchRecord::read(file)?;
    if record.sections.is_empty() {
        let text = format!("`{file}` has no measurements");
        return Err(Failure::new(Class::BadInput, text).help(format!("measure first, as with `{} bench warm`", name())));
    }
    host.ui.answer(&table::markdown(&record.sections), json!({ "bench": record.sections }));
    Ok(())
}

/// Folders, inputs and settings of a measurement.
struct BenchContext<'a> {
    host: &'a Host<'a>,
    /// Number of rounds that count.
    rounds: u8,
    /// File for the results.
    json: Utf8PathBuf,
    /// Folder for source trees and published trees.
    scratch: Utf8PathBuf,
    /// Cache, which contains all pinned inputs.
    cache: Cache,
    inputs: Inputs,
    /// Lock on the scratch folder: two measurements at the same time would be meaningless.
    _lock: Lock,
}

impl<'a> BenchContext<'a> {
    fn new(measure: &Measure, host: &'a Host<'a>) -> Result<Self, Failure> {
        let json = file(measure.json.as_deref(), host)?;
        // A result that cannot be stored is not worth measuring.
        BenchRecord::read(&json)?;
        let scratch = measure.scratch.as_deref().map_or_else(|| Ok(host.project.default_bench_scratch()), absolute)?;
        check_scratch(&scratch)?;
        fs::create_dir_all(&scratch)?;
        let scratch = scratch.canonicalize_utf8()?;
        let lock = Lock::acquire(&paths::bench_lock(&scratch), host.ui)?.ok_or_else(Failure::interrupted)?;
        let cache = host.cache()?;
        let config = Config::read(&host.project, &Options::default(), host.ui)?;
        fetch(&config.pins, &cache, &host.origins(&measure.origins)?, host.ui)?;
        let inputs = config.plan(&host.path, &cache, host.ui)?.inputs;
        Ok(Self { host, rounds: measure.pairs, json, scratch, cache, inputs, _lock: lock })
    }

    /// Returns the scratch folder `name`, emptied.
    fn empty_scratch_dir(&self, name: &str) -> Result<Utf8PathBuf, Failure> {
        let folder = self.scratch.join(name);
        fs::remove_dir_all(&folder)?;
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// Measures `contenders`; with a `warm_up`, after a round that does not count. Returns the numbers of each
    /// contender, one per round.
    fn compare(&self, what: &str, warm_up: bool, contenders: &mut [Contender<'_>]) -> Result<Vec<Vec<f64>>, Failure> {
        let names: Vec<&str> = contenders.iter().map(|(name, _)| *name).collect();
        self.print(&format!("{what}: {}", names.join(" against ")));
        rounds(self.rounds, warm_up, contenders, &mut |line| self.print(line))
    }

    /// Prints a line about the progress.
    fn print(&self, line: &str) {
        self.host.ui.print(&format!("{line}\n"));
    }

    /// Stores `rows` as the section `name` and prints them. `tools` were used in addition to those that build loaders.
    fn save_rows(&self, name: Name, rows: Vec<Row>, tools: &[TestTool]) -> Result<(), Failure> {
        let built_with = self.inputs.toolchain.tools.iter().map(|tool| (&tool.name, &tool.version));
        let tools = built_with.chain(tools.iter().map(|part| (&part.name, &part.version)));
        let cpuinfo = fs::read(Utf8Path::new("/proc/cpuinfo")).unwrap_or_default();
        let facts = MachineFacts {
            processor: model(&String::from_utf8_lossy(&cpuinfo)),
            processors: processors(),
            version: env!("CARGO_PKG_VERSION").into(),
            profile: if cfg!(debug_assertions) { "development" } else { "release" }.into(),
            ipxe: self.inputs.pins.ipxe.version.clone(),
            commit: self.inputs.pins.ipxe.commit.to_string(),
            tools: tools.map(|(name, says)| (name.clone(), says.clone())).collect(),
        };
        let section = Section { facts, rows };
        let mut record = BenchRecord::read(&self.json)?;
        record.sections.insert(name, section.clone());
        record.write(&self.json)?;
        let shown = Sections::from([(name, section)]);
        let text = format!("\n{}\nkept in {}\n", table::markdown(&shown), self.json);
        self.host.ui.result(&text, json!({ "bench": shown, "json": self.json }));
        Ok(())
    }
}

/// Ensures that `folder` is empty, absent, or the scratch folder of an earlier measurement, because its subfolders are
/// emptied.
fn check_scratch(folder: &Utf8Path) -> Result<(), Failure> {
    let is_ours = paths::bench_lock(folder).symlink_metadata().is_ok_and(|lock| lock.is_file());
    if is_ours || fs::entries(folder)?.is_empty() {
        return Ok(());
    }
    let text = format!("`{}` is not empty, and no scratch folder of `bench`", printable(folder));
    Err(Failure::new(Class::Failure, text).help("move that away").help(Flag::Scratch))
}

/// Contender of a measurement: its name, and a function that runs it once and returns the number that counts.
type Contender<'c> = (&'c str, &'c mut dyn FnMut() -> Result<f64, Failure>);

/// Runs all `contenders` once in each of `count` rounds, in reverse order in every second round, so that a machine that
/// slows down affects all of them equally. With a `warm_up`, a round that does not count comes first. `say` receives
/// the numbers of each round. Returns the numbers of each contender.
fn rounds(
    count: u8,
    warm_up: bool,
    contenders: &mut [Contender<'_>],
    say: &mut dyn FnMut(&str),
) -> Result<Vec<Vec<f64>>, Failure> {
    let mut numbers = vec![Vec::new(); contenders.len()];
    for round in u8::from(!warm_up)..=count {
        let mut order: Vec<usize> = (0..contenders.len()).collect();
        if round % 2 == 0 {
            order.reverse();
        }
        for index in order {
            numbers[index].push(contenders[index].1()?);
        }
        if round == 0 {
            numbers.iter_mut().for_each(Vec::clear);
            continue;
        }
        let found = contenders.iter().zip(&numbers).filter_map(|((name, _), numbers)| Some((name, numbers.last()?)));
        let found: Vec<String> = found.map(|(name, seconds)| format!("{name} {seconds:.3} s")).collect();
        say(&format!("  round {round}: {}", found.join(", ")));
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scratch_folder_is_known_by_its_lock() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        check_scratch(&folder.join("absent")).unwrap();
        check_scratch(folder).unwrap();
        std::fs::write(folder.join("lock"), "").unwrap();
        let failure = check_scratch(folder).unwrap_err();
        assert_eq!(failure.message, format!("`{folder}` is not empty, and no scratch folder of `bench`"));
        let lock = paths::bench_lock(folder);
        std::os::unix::fs::symlink("lock", &lock).unwrap();
        check_scratch(folder).unwrap_err();
        std::fs::remove_file(&lock).unwrap();
        std::fs::write(&lock, "").unwrap();
        check_scratch(folder).unwrap();
    }

    #[test]
    fn the_order_changes_and_the_warm_up_does_not_count() {
        let order = std::cell::RefCell::new(String::new());
        let run = |name: char| {
            order.borrow_mut().push(name);
            u8::try_from(order.borrow().len()).map(f64::from).map_err(|_| Failure::new(Class::Failure, "too many"))
        };
        let (mut a, mut b, mut c) = (|| run('a'), || run('b'), || run('c'));
        let mut contenders: [Contender<'_>; 3] = [("a", &mut a), ("b", &mut b), ("c", &mut c)];
        let mut output = String::new();
        let found = rounds(2, true, &mut contenders, &mut |line| output += &format!("{line}\n"));
        assert_eq!(order.take(), "cbaabccba");
        assert_eq!(found.unwrap(), [[4.0, 9.0], [5.0, 8.0], [6.0, 7.0]]);
        assert_eq!(output, "  round 1: a 4.000 s, b 5.000 s, c 6.000 s\n  round 2: a 9.000 s, b 8.000 s, c 7.000 s\n");
        rounds(1, false, &mut contenders[..2], &mut |_| {}).unwrap();
        assert_eq!(order.take(), "ab");
        let mut failing = || Err(Failure::new(Class::Failure, "no"));
        assert_eq!(rounds(9, false, &mut [("it", &mut failing)], &mut |_| {}).unwrap_err().message, "no");
    }
}
