//! `mirror`.

mod faults;
mod products;
mod sets;
mod shim;
mod signatures;

use netboot_fixtures::harness::TestCase;

pub fn tests() -> Vec<TestCase> {
    [faults::tests(), products::tests(), sets::tests(), shim::tests(), signatures::tests()]
        .into_iter()
        .flatten()
        .collect()
}
