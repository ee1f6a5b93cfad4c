//! `recipe`.

mod judged;
mod served;
mod texts;

use netboot_fixtures::harness::TestCase;

pub fn tests() -> Vec<TestCase> {
    [judged::tests(), served::tests(), texts::tests()].into_iter().flatten().collect()
}
