//! `cargo xtask bench cold` and `bench warm`: from sources to loaders, and where everything was built before.

use std::cell::Cell;

use netboot_loaders::base::fs;
use netboot_loaders::base::paths::Cache;

use super::contenders::{SCRIPT, address, embedded, script, site};
use super::record::{Goal, Name, Row};
use super::{Contender, LOADERS, Setting};
use crate::exit::Failure;

/// What having nothing to do may take, in seconds.
const NOTHING: Goal = Goal::AtMost(0.3);

/// A cold build of the default loaders, sources cached, against stock make in a fresh export.
pub(super) fn cold(setting: &Setting<'_>) -> Result<(), Failure> {
    let mut product = || cold_product(setting);
    let mut contents = || {
        // A person's clone is there already, so only make is measured.
        let script = setting.host.project.scripts().join("root-path.ipxe");
        let seconds = setting.make(&setting.export("cold-stock")?, &script, &LOADERS)?;
        setting.room("cold-stock")?;
        Ok(seconds)
    };
    let contenders: &mut [Contender<'_>] = &mut [("build-loaders", &mut product), ("stock make", &mut contents)];
    let times = setting.compare("a cold build", false, contenders)?;
    let row = Row::timed("a cold build of three loaders, sources cached", &times[0], "stock make", &times[1]);
    setting.keep(Name::Cold, vec![row], &[])
}

/// The product, with a cache that has the sources and nothing else.
fn cold_product(setting: &Setting<'_>) -> Result<f64, Failure> {
    let root = setting.room("cold-product")?;
    let cache = Cache::new(root.join("cache"));
    fs::create_dir_all(cache.root())?;
    fs::symlink(&setting.cache.ipxe_git(), &cache.ipxe_git())?;
    for member in &setting.inputs.pins.syslinux.members {
        fs::write_atomic(&cache.blob(&member.sha256), &fs::read(&setting.cache.blob(&member.sha256))?)?;
    }
    let (run, _) = setting.build_loaders(&setting.host.project, &cache, &root.join("tree"), &[])?;
    setting.room("cold-product")?;
    Ok(run.seconds)
}

/// Nothing to do, and then another script each time.
pub(super) fn warm(setting: &Setting<'_>) -> Result<(), Failure> {
    let contents = setting.contents()?;
    let first = script(&address("default"));
    setting.start(&LOADERS, &first)?;
    setting.build(None)?;
    let first = embedded(&contents, "default", &first)?;
    let nothing = setting.compare(
        "nothing to do",
        true,
        &mut [
            ("build-loaders", &mut || Ok(setting.build(0)?.seconds)),
            ("make", &mut || setting.make(&contents, &first, &LOADERS)),
        ],
    )?;
    let number = Cell::new(0);
    let next = || {
        number.set(number.get() + 1);
        script(&address(&site(number.get())))
    };
    let another = setting.compare(
        "another script",
        true,
        &mut [
            ("build-loaders", &mut || {
                setting.choose(SCRIPT, &next())?;
                Ok(setting.build(LOADERS.len() as u64)?.seconds)
            }),
            ("incremental make", &mut || {
                let text = next();
                setting.make(&contents, &embedded(&contents, &format!("another-{}", number.get()), &text)?, &LOADERS)
            }),
        ],
    )?;
    setting.forget()?;
    let nothing = Row::timed("nothing to do, three loaders", &nothing[0], "make", &nothing[1]).goals([NOTHING]);
    let another = Row::timed("another script, three loaders", &another[0], "incremental make", &another[1]);
    setting.keep(Name::Warm, vec![nothing, another], &[])
}
