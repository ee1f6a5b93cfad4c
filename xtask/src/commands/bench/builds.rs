//! `cargo xtask bench cold` and `bench warm`: builds from sources alone, and builds after everything was built before.

use std::cell::Cell;

use netboot_loaders::base::fs;
use netboot_loaders::base::paths::Cache;

use super::contenders::{SCRIPT, address, embedded, script, site};
use super::record::{Goal, Name, Row};
use super::{BenchContext, Contender, LOADERS};
use crate::exit::Failure;

/// Limit for a build that has nothing to do, in seconds.
const NOTHING: Goal = Goal::AtMost(0.3);

/// Measures a cold build of the default loaders with cached sources, against stock make in a fresh export.
pub(super) fn cold(bench: &BenchContext<'_>) -> Result<(), Failure> {
    let mut product = || cold_product(bench);
    let mut stock_make = || {
        // Users already have a clone, so only make is measured.
        let script = bench.host.project.scripts().join("root-path.ipxe");
        let seconds = bench.make(&bench.export("cold-stock")?, &script, &LOADERS)?;
        bench.empty_scratch_dir("cold-stock")?;
        Ok(seconds)
    };
    let contenders: &mut [Contender<'_>] = &mut [("build-loaders", &mut product), ("stock make", &mut stock_make)];
    let times = bench.compare("a cold build", false, contenders)?;
    let row = Row::timed("a cold build of three loaders, sources cached", &times[0], "stock make", &times[1]);
    bench.save_rows(Name::Cold, vec![row], &[])
}

/// Runs this tool with a cache that contains the sources and nothing else. Returns the seconds.
fn cold_product(bench: &BenchContext<'_>) -> Result<f64, Failure> {
    let root = bench.empty_scratch_dir("cold-product")?;
    let cache = Cache::new(root.join("cache"));
    fs::create_dir_all(cache.root())?;
    fs::symlink(&bench.cache.ipxe_git(), &cache.ipxe_git())?;
    for member in &bench.inputs.pins.syslinux.members {
        fs::write_atomic(&cache.blob(&member.sha256), &fs::read(&bench.cache.blob(&member.sha256))?)?;
    }
    let (run, _) = bench.build_loaders(&bench.host.project, &cache, &root.join("tree"), &[])?;
    bench.empty_scratch_dir("cold-product")?;
    Ok(run.seconds)
}

/// Measures a build that has nothing to do, then builds with another script each time.
pub(super) fn warm(bench: &BenchContext<'_>) -> Result<(), Failure> {
    let stock_tree = bench.built_stock_tree()?;
    let first = script(&address("default"));
    bench.reset_project(&LOADERS, &first)?;
    bench.build(None)?;
    let first = embedded(&stock_tree, "default", &first)?;
    let nothing = bench.compare(
        "nothing to do",
        true,
        &mut [
            ("build-loaders", &mut || Ok(bench.build(0)?.seconds)),
            ("make", &mut || bench.make(&stock_tree, &first, &LOADERS)),
        ],
    )?;
    let number = Cell::new(0);
    let next = || {
        number.set(number.get() + 1);
        script(&address(&site(number.get())))
    };
    let another = bench.compare(
        "another script",
        true,
        &mut [
            ("build-loaders", &mut || {
                bench.write_project_file(SCRIPT, &next())?;
                Ok(bench.build(LOADERS.len() as u64)?.seconds)
            }),
            ("incremental make", &mut || {
                let text = next();
                bench.make(&stock_tree, &embedded(&stock_tree, &format!("another-{}", number.get()), &text)?, &LOADERS)
            }),
        ],
    )?;
    bench.remove_tree()?;
    let nothing = Row::timed("nothing to do, three loaders", &nothing[0], "make", &nothing[1]).goals([NOTHING]);
    let another = Row::timed("another script, three loaders", &another[0], "incremental make", &another[1]);
    bench.save_rows(Name::Warm, vec![nothing, another], &[])
}
