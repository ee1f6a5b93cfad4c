//! `mirror`.

mod faults;
mod products;
mod sets;
mod signatures;

use netboot_fixtures::harness::Test;

pub fn tests() -> Vec<Test> {
    [faults::tests(), products::tests(), sets::tests(), signatures::tests()].into_iter().flatten().collect()
}
