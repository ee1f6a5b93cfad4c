//! `cargo xtask bench sites`: many sites, each with an address of its own.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Instant;

use camino::Utf8PathBuf;
use netboot_loaders::build::{self, Built};
use netboot_loaders::build_loaders::{self, Choices};
use netboot_loaders::choices::loader::{Loader, Platform};
use netboot_loaders::choices::sites::Options;
use netboot_loaders::digest::Content;
use netboot_loaders::fs;
use netboot_loaders::parallel;
use netboot_loaders::plan::{Origin, Plan, PlannedFile, Stamped};
use netboot_loaders::plural::choose;
use netboot_loaders::progress::Silent;
use netboot_loaders::stamp::stamper::Stamper;
use netboot_loaders::stamping::{self, Stock as Stamping};

use super::product::{Product, Run, SCRIPT, address, choices, inventory, script, site, template};
use super::record::{Goal, Name, Row, Unit};
use super::statistics::{Contender, ratios};
use super::stock::Stock;
use super::table;
use super::{LOADERS, Setting};
use crate::cli::Sites;
use crate::exit::Failure;
use crate::host::processors;

/// What many sites are compared with: make after another script, and a process for each packed loader.
const MAKE: &str = "incremental make";
const ZBIN: &str = "iPXE's zbin for each";

/// The number of sites that goals are about.
const MANY: u32 = 1000;
/// How many sites more it is for a comparison.
const TENFOLD: u32 = 10;
/// What a thousand sites may take, in seconds: with three loaders each, and with one for UEFI.
const MANY_SITES: Goal = Goal::AtMost(45.0);
const MANY_SITES_EFI: Goal = Goal::AtMost(4.0);
/// How much faster that has to be than incremental make.
const FASTER: Goal = Goal::TimesFaster(100.0);
/// What ten times as many may take, compared.
const LINEAR: Goal = Goal::AtMost(10.5);
/// What one more site may take, in seconds, once a program has prepared to stamp: encoding what the loaders of a
/// BIOS base have in common takes longer than that by itself, and no process can leave it to the next.
const ONE_MORE: Goal = Goal::AtMost(0.2);
/// What all processes may have together, in mebibytes.
const MEMORY: Goal = Goal::AtMost(150.0);

pub(super) fn run(args: &Sites, setting: &Setting<'_>) -> Result<(), Failure> {
    let project = [("sites.toml", choices(&args.loaders, SCRIPT)), (SCRIPT, template())];
    let project = project.each_ref().map(|(name, text)| (*name, text.as_str()));
    let bench = Many {
        setting,
        count: args.count,
        make_sites: args.make_sites,
        stock: Stock::built(setting)?,
        product: Product::new(setting, &project)?,
        next: Cell::new(0),
    };
    let mut rows = bench.all(&args.loaders)?;
    rows.extend(bench.one_more(&args.loaders)?);
    rows.extend(bench.in_process(&args.loaders)?);
    if args.linear {
        rows.extend(bench.linear(&args.loaders)?);
    }
    if args.loaders.len() > 1 && args.loaders.contains(&Loader::IpxeEfi) {
        let efi = [Loader::IpxeEfi];
        bench.product.choose("sites.toml", &choices(&efi, SCRIPT))?;
        rows.extend(bench.all(&efi)?);
    }
    bench.product.forget()?;
    setting.keep(Name::Sites, rows, BTreeMap::new())
}

/// What is measured, and with what.
struct Many<'a> {
    setting: &'a Setting<'a>,
    count: u32,
    make_sites: u32,
    stock: Stock<'a>,
    product: Product<'a>,
    /// The number of the last site that make has made loaders of.
    next: Cell<u32>,
}

impl Many<'_> {
    /// A tree of all sites from nothing, against incremental make and iPXE's own packer for some of them.
    fn all(&self, loaders: &[Loader]) -> Result<Vec<Row>, Failure> {
        self.publish(1, loaders)?;
        self.make(1, loaders)?;
        let memory = RefCell::new(Vec::new());
        let scale = f64::from(self.count) / f64::from(self.make_sites);
        let mut product = || {
            let run = self.publish(self.count, loaders)?;
            memory.borrow_mut().push(run.mebibytes);
            Ok(run.seconds)
        };
        let mut make = || Ok(self.make(self.make_sites, loaders)? * scale);
        let mut zbin = || Ok(self.pack(loaders)? * scale);
        let label = label(self.count, loaders);
        let packed = loaders.iter().any(|loader| loader.platform() == Platform::Bios);
        let mut contenders: Vec<Contender<'_>> = vec![("build-loaders", &mut product), (MAKE, &mut make)];
        if packed {
            contenders.push((ZBIN, &mut zbin));
        }
        let times = self.setting.compare_cold(&label, &mut contenders)?;
        let against =
            |name, others: &[f64]| Row::timed(&label, &times[0], name, others).extrapolated_from(self.make_sites);
        let mut rows = vec![against(MAKE, &times[1]).goals(self.goals(loaders))];
        if packed {
            rows.push(against(ZBIN, &times[2]));
        }
        rows.push(memory_row(self.count, loaders, &memory.take()));
        Ok(rows)
    }

    /// What is wanted of a tree from nothing.
    fn goals(&self, loaders: &[Loader]) -> Vec<Goal> {
        let seconds = match loaders {
            [Loader::IpxeEfi] => Some(MANY_SITES_EFI),
            loaders if loaders == LOADERS => Some(MANY_SITES),
            _ => None,
        };
        let compared = Some(FASTER).filter(|_| self.count >= MANY);
        seconds.filter(|_| self.count == MANY).into_iter().chain(compared).collect()
    }

    /// One more site beside all the others, against nothing to do and against incremental make.
    fn one_more(&self, loaders: &[Loader]) -> Result<Vec<Row>, Failure> {
        let each = loaders.len() as u64;
        self.publish(self.count, loaders)?;
        self.setting.say("comparing the tree with its manifest");
        self.product.check()?;
        let times = self.setting.compare(
            &label(self.count, loaders),
            &mut [
                ("nothing to do", &mut || Ok(self.product.run(0)?.seconds)),
                ("one more site", &mut || {
                    self.product.choose("sites.csv", &inventory(self.count + 1))?;
                    let run = self.product.run(each)?;
                    self.product.choose("sites.csv", &inventory(self.count))?;
                    self.product.run(0)?;
                    Ok(run.seconds)
                }),
                (MAKE, &mut || self.make(1, loaders)),
            ],
        )?;
        let longer: Vec<f64> = times[1].iter().zip(&times[0]).map(|(more, nothing)| more - nothing).collect();
        let beside = format!("beside {}", label(self.count, loaders));
        Ok(vec![
            Row::new(format!("nothing to do, {}", label(self.count, loaders)), Unit::Seconds, &times[0]),
            Row::timed(format!("one more site {beside}"), &times[1], MAKE, &times[2]),
            Row::new(format!("one more site {beside}: longer than nothing to do"), Unit::Seconds, &longer),
        ])
    }

    /// Stamping the loaders of one site alone: the first that a process stamps, and a further one.
    fn in_process(&self, loaders: &[Loader]) -> Result<Vec<Row>, Failure> {
        let (plan, built) = self.plan()?;
        let stamping = self.stamping(&plan, &built);
        let stamp = |stamper: &mut Stamper| -> Result<f64, Failure> {
            let started = Instant::now();
            for (path, stamped) in some(&plan, 1, loaders) {
                let file = PlannedFile { path, origin: Origin::Stamped(stamped) };
                stamping.content(&file, stamper).map_err(failure)?;
            }
            Ok(started.elapsed().as_secs_f64())
        };
        let mut stamper = Stamper::new();
        let label = format!("stamping the loaders of one site ({})", loaders.len());
        let mut cold = || stamp(&mut Stamper::new());
        let mut warm = || stamp(&mut stamper);
        let times =
            self.setting.compare(&label, &mut [("the first in a process", &mut cold), ("a further one", &mut warm)])?;
        Ok(vec![
            Row::new(format!("{label}, the first in a process"), Unit::Seconds, &times[0]),
            Row::new(format!("{label}, a further one"), Unit::Seconds, &times[1]).goals([ONE_MORE]),
        ])
    }

    /// Ten times as many sites, against as many.
    fn linear(&self, loaders: &[Loader]) -> Result<Vec<Row>, Failure> {
        let large = self.count * TENFOLD;
        let memory = RefCell::new(Vec::new());
        let (label, few) = (label(large, loaders), label(self.count, loaders));
        let mut as_many = || Ok(self.publish(self.count, loaders)?.seconds);
        let mut tenfold = || {
            let run = self.publish(large, loaders)?;
            memory.borrow_mut().push(run.mebibytes);
            Ok(run.seconds)
        };
        let times =
            self.setting.compare_cold("ten times as many", &mut [(&few, &mut as_many), (&label, &mut tenfold)])?;
        let times_as_long = ratios(&times[1], &times[0]);
        let what = format!("{label}: how many times as long as {}", table::count(self.count));
        Ok(vec![
            Row::new(&label, Unit::Seconds, &times[1]),
            Row::new(what, Unit::Times, &times_as_long).goals(Some(LINEAR).filter(|_| self.count >= MANY)),
            memory_row(large, loaders, &memory.take()),
        ])
    }

    /// Publishes the first `count` sites where nothing is yet; the root of the tree has its loaders, too.
    fn publish(&self, count: u32, loaders: &[Loader]) -> Result<Run, Failure> {
        self.product.forget()?;
        self.product.choose("sites.csv", &inventory(count))?;
        self.product.run(u64::from(count + 1) * loaders.len() as u64)
    }

    /// Makes the loaders of `count` sites with stock make, one after the other.
    fn make(&self, count: u32, loaders: &[Loader]) -> Result<f64, Failure> {
        let mut seconds = 0.0;
        for _ in 0..count {
            self.setting.go_on()?;
            self.next.set(self.next.get() + 1);
            let name = site(self.next.get());
            let script = self.stock.script(&name, &script(&address(&name)))?;
            seconds += self.stock.make(&script, loaders)?;
        }
        Ok(seconds)
    }

    /// Stamps some sites with iPXE's own packer as a process for each loader, hashes and writes them.
    fn pack(&self, loaders: &[Loader]) -> Result<f64, Failure> {
        let (plan, built) = self.plan()?;
        let stamping = self.stamping(&plan, &built);
        let folder = self.setting.room("zbin")?;
        let work = |stamper: &mut Stamper, (path, stamped): (_, Stamped<'_>)| {
            let content = if stamped.loader.platform() == Platform::Bios {
                stamping.zbin(built.base(&stamped.base), &stamped.site.script().slot())
            } else {
                stamping.content(&PlannedFile { path, origin: Origin::Stamped(stamped) }, stamper)
            };
            content.map(|content| (Content::of(&content), content)).map_err(failure)
        };
        let mut number = 0;
        let started = Instant::now();
        parallel::in_order(some(&plan, self.make_sites, loaders), processors(), work, |(_, content)| {
            number += 1;
            Ok::<_, Failure>(fs::write_anew(&folder.join(format!("{number}")), &content)?)
        })?;
        fs::sync_all_of(&folder, self.setting.host.ui)?;
        let seconds = started.elapsed().as_secs_f64();
        fs::remove_dir_all(&folder)?;
        Ok(seconds)
    }

    fn stamping<'p>(&'p self, plan: &'p Plan, built: &'p Built) -> Stamping<'p> {
        Stamping::new(plan, built, &self.setting.cache, processors(), self.setting.host.ui)
    }

    /// The plan of as many sites as are compared, and their bases, which are in the cache by now.
    fn plan(&self) -> Result<(Plan, Built), Failure> {
        self.product.choose("sites.csv", &inventory(self.make_sites))?;
        let options = Options { inventories: vec![self.product.inventory()], relink: false };
        let choices = Choices::read(self.product.project(), &options, &Silent)?;
        let plan = choices.plan(&self.setting.host.path, &self.setting.cache, &Silent)?;
        let (built, _) = build::recall(&plan, &self.setting.cache)?;
        Ok((plan, built))
    }
}

/// The loaders of the first `count` sites of `plan`, which have `loaders`.
fn some<'p>(
    plan: &'p Plan,
    count: u32,
    loaders: &[Loader],
) -> impl Iterator<Item = (Utf8PathBuf, Stamped<'p>)> + Send + use<'p> {
    let sited = plan.loaders().filter(|(_, stamped)| stamped.site.name.is_some());
    sited.take(count as usize * loaders.len())
}

fn memory_row(count: u32, loaders: &[Loader], mebibytes: &[f64]) -> Row {
    let what = format!("{}: memory of all processes together", label(count, loaders));
    Row::new(what, Unit::Mebibytes, mebibytes).goals([MEMORY])
}

fn failure(error: stamping::Error) -> Failure {
    build_loaders::Error::from(error).into()
}

/// So many sites with these loaders.
fn label(count: u32, loaders: &[Loader]) -> String {
    let (sites, count) = (choose(count, "site", "sites"), table::count(count));
    match loaders {
        [loader] => format!("{count} {sites} × {loader}"),
        _ => format!("{count} {sites} × {} loaders", loaders.len()),
    }
}
