//! `mirror`.

mod faults;
mod products;
mod sets;
mod signatures;

use netboot_fixtures::harness::TestCase;

pub fn tests() -> Vec<TestCase> {
    [faults::tests(), products::tests(), sets::tests(), signatures::tests()].into_iter().flatten().collect()
}
