//! `recipe`.

mod judged;
mod served;
mod texts;

use netboot_fixtures::harness::Test;

pub fn tests() -> Vec<Test> {
    [judged::tests(), served::tests(), texts::tests()].into_iter().flatten().collect()
}
