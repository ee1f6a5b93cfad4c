//! `cargo xtask bench sites`: measures many sites, each with an address of its own.

use std::cell::{Cell, RefCell};
use std::time::Instant;

use camino::Utf8PathBuf;
use netboot_loaders::base::plural::choose;
use netboot_loaders::base::progress::Muted;
use netboot_loaders::base::{fs, parallel};
use netboot_loaders::build::plan::{ContentSource, Plan};
use netboot_loaders::build::{self, Built};
use netboot_loaders::build_loaders::{self, Config};
use netboot_loaders::config::sites::Options;
use netboot_loaders::digest::Content;
use netboot_loaders::loader::target::{Loader, Platform};
use netboot_loaders::printable::in_thousands;
use netboot_loaders::publish::tree_contents::{self, FileJob, TreeContents};
use netboot_loaders::stamp::stamper::Stamper;

use super::contenders::{address, embedded, inventory, script, site, sites_toml};
use super::record::{Goal, Name, Row, Unit, ratios};
use super::{BenchContext, Contender, LOADERS};
use crate::cli::BenchSites;
use crate::exit::Failure;
use crate::host::processors;

/// Alternatives for many sites: make after a change of the script, and iPXE's packer as a process for each loader.
const MAKE: &str = "incremental make";
const ZBIN: &str = "iPXE's zbin for each";

/// Number of sites that the goals refer to.
const MANY: u32 = 1000;
/// Limits for a thousand sites, in seconds: with three loaders each, and with one loader for UEFI.
const MANY_SITES: Goal = Goal::AtMost(45.0);
const MANY_SITES_EFI: Goal = Goal::AtMost(4.0);
/// Required speed-up over incremental make.
const FASTER: Goal = Goal::TimesFaster(100.0);
/// Limit for ten times as many sites, as a multiple of the time.
const LINEAR: Goal = Goal::AtMost(10.5);
/// Limit for one more site, in seconds, once a process has prepared to stamp: encoding the common part of the loaders
/// of a BIOS base takes longer than that by itself, and a process cannot pass the result on to the next.
const ONE_MORE: Goal = Goal::AtMost(0.2);
/// Limit for the memory of all processes together, in mebibytes.
const MEMORY: Goal = Goal::AtMost(150.0);

pub(super) fn run(args: &BenchSites, bench: &BenchContext<'_>) -> Result<(), Failure> {
    let loaders = &args.loaders;
    let many = Many {
        bench,
        args,
        loaders,
        stock_tree: bench.built_stock_tree()?,
        next: Cell::new(0),
        memory: RefCell::default(),
    };
    bench.reset_project(loaders, &script("{{ boot_url }}"))?;
    let mut rows = many.all()?;
    rows.extend(many.one_more()?);
    rows.extend(many.in_process()?);
    if args.linear {
        rows.extend(many.linear()?);
    }
    if loaders.len() > 1 && loaders.contains(&Loader::IpxeEfi) {
        let loaders = &[Loader::IpxeEfi];
        bench.write_project_file("sites.toml", &sites_toml(loaders))?;
        rows.extend(Many { loaders, ..many }.all()?);
    }
    bench.remove_tree()?;
    bench.save_rows(Name::Sites, rows, &[])
}

/// Measurement of many sites.
struct Many<'a> {
    bench: &'a BenchContext<'a>,
    args: &'a BenchSites,
    loaders: &'a [Loader],
    stock_tree: Utf8PathBuf,
    /// Number of the last site for which make has built loaders.
    next: Cell<u32>,
    /// Number of sites and peak memory, in mebibytes, of each publication.
    memory: RefCell<Vec<(u32, f64)>>,
}

impl Many<'_> {
    /// Measures a tree of all sites from scratch, against incremental make and iPXE's own packer for some of them.
    fn all(&self) -> Result<Vec<Row>, Failure> {
        let BenchSites { count, make_sites, .. } = *self.args;
        self.publish(1)?;
        self.make(1)?;
        self.memory.take();
        let scale = f64::from(count) / f64::from(make_sites);
        let mut product = || self.publish(count);
        let mut make = || Ok(self.make(make_sites)? * scale);
        let mut zbin = || Ok(self.pack()? * scale);
        let mut contenders: Vec<Contender<'_>> = vec![("build-loaders", &mut product), (MAKE, &mut make)];
        if self.loaders.iter().any(|loader| loader.platform() == Platform::Bios) {
            contenders.push((ZBIN, &mut zbin));
        }
        let label = self.label(count);
        let times = self.bench.compare(&label, false, &mut contenders)?;
        let against =
            |(name, others): (_, &Vec<f64>)| Row::timed(&label, &times[0], name, others).extrapolated_from(make_sites);
        let mut rows: Vec<Row> = [MAKE, ZBIN].into_iter().zip(&times[1..]).map(against).collect();
        rows[0].goals = self.goals();
        rows.push(self.memory_row(count));
        Ok(rows)
    }

    /// Returns the goals for a tree from scratch.
    fn goals(&self) -> Vec<Goal> {
        let seconds = match self.loaders {
            _ if self.args.count != MANY => None,
            [Loader::IpxeEfi] => Some(MANY_SITES_EFI),
            loaders => Some(MANY_SITES).filter(|_| loaders == LOADERS),
        };
        seconds.into_iter().chain(Some(FASTER).filter(|_| self.args.count >= MANY)).collect()
    }

    /// Measures one more site beside all the others, against nothing to do and against incremental make.
    fn one_more(&self) -> Result<Vec<Row>, Failure> {
        let (bench, count) = (self.bench, self.args.count);
        self.publish(count)?;
        bench.print("comparing the tree with its manifest");
        bench.check()?;
        let mut one_more = || {
            bench.write_project_file("sites.csv", &inventory(count + 1))?;
            let run = bench.build(self.loaders.len() as u64)?;
            bench.write_project_file("sites.csv", &inventory(count))?;
            bench.build(0)?;
            Ok(run.seconds)
        };
        let label = self.label(count);
        let times = bench.compare(
            &label,
            true,
            &mut [
                ("nothing to do", &mut || Ok(bench.build(0)?.seconds)),
                ("one more site", &mut one_more),
                (MAKE, &mut || self.make(1)),
            ],
        )?;
        let longer: Vec<f64> = times[1].iter().zip(&times[0]).map(|(more, nothing)| more - nothing).collect();
        let beside = format!("one more site beside {label}");
        Ok(vec![
            Row::new(format!("nothing to do, {label}"), Unit::Seconds, &times[0]),
            Row::timed(&beside, &times[1], MAKE, &times[2]),
            Row::new(format!("{beside}: longer than nothing to do"), Unit::Seconds, &longer),
        ])
    }

    /// Measures stamping the loaders of a single site: the first that a process stamps, and a further one.
    fn in_process(&self) -> Result<Vec<Row>, Failure> {
        let (plan, built) = self.plan()?;
        let contents = TreeContents::new(&plan, &built, &self.bench.cache, processors(), self.bench.host.ui);
        let stamp = |stamper: &mut Stamper| {
            let started = Instant::now();
            let stamped = self.jobs(&contents, 1).try_for_each(|job| contents.content(&job, stamper).map(drop));
            stamped.map(|()| started.elapsed().as_secs_f64()).map_err(failure)
        };
        let label = format!("stamping the loaders of one site ({})", self.loaders.len());
        let (first, further) = ("the first in a process", "a further one");
        let mut stamper = Stamper::new();
        let times = self.bench.compare(
            &label,
            true,
            &mut [(first, &mut || stamp(&mut Stamper::new())), (further, &mut || stamp(&mut stamper))],
        )?;
        Ok(vec![
            Row::new(format!("{label}, {first}"), Unit::Seconds, &times[0]),
            Row::new(format!("{label}, {further}"), Unit::Seconds, &times[1]).goals([ONE_MORE]),
        ])
    }

    /// Measures ten times as many sites, against the requested number.
    fn linear(&self) -> Result<Vec<Row>, Failure> {
        let (count, large) = (self.args.count, self.args.count * 10);
        let (few, label) = (self.label(count), self.label(large));
        let (mut as_many, mut tenfold) = (|| self.publish(count), || self.publish(large));
        let mut contenders: [Contender<'_>; 2] = [(&few, &mut as_many), (&label, &mut tenfold)];
        let times = self.bench.compare("ten times as many", false, &mut contenders)?;
        let what = format!("{label}: how many times as long as {}", in_thousands(&count.to_string()));
        let compared = Row::new(what, Unit::Times, &ratios(&times[1], &times[0]));
        Ok(vec![
            Row::new(&label, Unit::Seconds, &times[1]),
            compared.goals(Some(LINEAR).filter(|_| count >= MANY)),
            self.memory_row(large),
        ])
    }

    /// Publishes the first `count` sites from scratch; the root of the tree has its own loaders, too.
    fn publish(&self, count: u32) -> Result<f64, Failure> {
        self.bench.remove_tree()?;
        self.bench.write_project_file("sites.csv", &inventory(count))?;
        let run = self.bench.build(u64::from(count + 1) * self.loaders.len() as u64)?;
        self.memory.borrow_mut().push((count, run.mebibytes));
        Ok(run.seconds)
    }

    /// Returns a row with the memory of publishing `count` sites since the last such row.
    fn memory_row(&self, count: u32) -> Row {
        let runs = self.memory.take().into_iter().filter(|(published, _)| *published == count);
        let what = format!("{}: memory of all processes together", self.label(count));
        Row::new(what, Unit::Mebibytes, &runs.map(|(_, mebibytes)| mebibytes).collect::<Vec<_>>()).goals([MEMORY])
    }

    /// Builds the loaders of `count` sites with stock make, one after the other. Returns the seconds.
    fn make(&self, count: u32) -> Result<f64, Failure> {
        let make = |_| {
            self.next.set(self.next.get() + 1);
            let name = site(self.next.get());
            let script = embedded(&self.stock_tree, &name, &script(&address(&name)))?;
            self.bench.make(&self.stock_tree, &script, self.loaders)
        };
        (0..count).map(make).sum()
    }

    /// Stamps the loaders of some sites with iPXE's own packer, one process per loader, hashes and writes them. Returns
    /// the seconds.
    fn pack(&self) -> Result<f64, Failure> {
        let (plan, built) = self.plan()?;
        let contents = TreeContents::new(&plan, &built, &self.bench.cache, processors(), self.bench.host.ui);
        let folder = self.bench.empty_scratch_dir("zbin")?;
        let work = |stamper: &mut Stamper, job: FileJob<'_>| {
            let content = match job.file.origin {
                ContentSource::Stamped(stamped) if stamped.loader.platform() == Platform::Bios => {
                    contents.zbin(built.base(&stamped.base), &stamped.site.script().slot())
                }
                _ => contents.content(&job, stamper),
            };
            content.map(|content| (Content::of(&content), content)).map_err(failure)
        };
        let mut number = 0;
        let started = Instant::now();
        parallel::in_order(self.jobs(&contents, self.args.make_sites), processors(), work, |(_, content)| {
            number += 1;
            Ok::<_, Failure>(fs::write_anew(&folder.join(format!("{number}")), &content)?)
        })?;
        fs::sync_all_of(&folder, self.bench.host.ui)?;
        let seconds = started.elapsed().as_secs_f64();
        fs::remove_dir_all(&folder)?;
        Ok(seconds)
    }

    /// Returns the plan of as many sites as make builds, and their bases, which are in the cache by now.
    fn plan(&self) -> Result<(Plan, Built), Failure> {
        let (bench, quiet) = (self.bench, Muted(self.bench.host.ui));
        bench.write_project_file("sites.csv", &inventory(self.args.make_sites))?;
        let options = Options { inventories: vec![bench.inventory()], relink: false };
        let config = Config::read(&bench.project(), &options, &quiet)?;
        let plan = config.plan(&bench.host.path, &bench.cache, &quiet)?;
        let (built, _) = build::recall(&plan, &bench.cache)?;
        Ok((plan, built))
    }

    /// Returns the loaders of the first `count` sites of `contents`.
    fn jobs<'p>(&self, contents: &TreeContents<'p>, count: u32) -> impl Iterator<Item = FileJob<'p>> + Send + use<'p> {
        let sited =
            |job: &FileJob<'_>| matches!(job.file.origin, ContentSource::Stamped(file) if file.site.name.is_some());
        contents.jobs().filter(sited).take(count as usize * self.loaders.len())
    }

    /// Returns the label for `count` sites with these loaders.
    fn label(&self, count: u32) -> String {
        let sites = format!("{} {}", in_thousands(&count.to_string()), choose(count, "site", "sites"));
        match self.loaders {
            [loader] => format!("{sites} × {loader}"),
            loaders => format!("{sites} × {} loaders", loaders.len()),
        }
    }
}

fn failure(error: tree_contents::Error) -> Failure {
    build_loaders::Error::from(error).into()
}
