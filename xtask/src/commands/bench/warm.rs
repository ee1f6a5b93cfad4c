//! `cargo xtask bench warm`: where everything was built before.

use std::cell::Cell;
use std::collections::BTreeMap;

use super::product::{Product, SCRIPT, address, choices, script, site};
use super::record::{Goal, Name, Row};
use super::stock::Stock;
use super::{LOADERS, Setting};
use crate::exit::Failure;

/// What having nothing to do may take, in seconds.
const NOTHING: Goal = Goal::AtMost(0.3);

/// Nothing to do, and then another script each time.
pub(super) fn run(setting: &Setting<'_>) -> Result<(), Failure> {
    let stock = Stock::built(setting)?;
    let first = script(&address("default"));
    let product = Product::new(setting, &[("sites.toml", &choices(&LOADERS, SCRIPT)), (SCRIPT, &first)])?;
    product.prepare()?;
    let embedded = stock.script("default", &first)?;
    let nothing = setting.compare(
        "nothing to do",
        &mut [
            ("build-loaders", &mut || Ok(product.run(0)?.seconds)),
            ("make", &mut || stock.make(&embedded, &LOADERS)),
        ],
    )?;
    let number = Cell::new(0);
    let next = || {
        number.set(number.get() + 1);
        script(&address(&site(number.get())))
    };
    let another = setting.compare(
        "another script",
        &mut [
            ("build-loaders", &mut || {
                product.choose(SCRIPT, &next())?;
                Ok(product.run(LOADERS.len() as u64)?.seconds)
            }),
            ("incremental make", &mut || {
                let text = next();
                stock.make(&stock.script(&format!("another-{}", number.get()), &text)?, &LOADERS)
            }),
        ],
    )?;
    product.forget()?;
    let rows = vec![
        Row::timed("nothing to do, three loaders", &nothing[0], "make", &nothing[1]).goals([NOTHING]),
        Row::timed("another script, three loaders", &another[0], "incremental make", &another[1]),
    ];
    setting.keep(Name::Warm, rows, BTreeMap::new())
}
