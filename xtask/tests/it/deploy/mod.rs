//! `deploy`.

mod folders;
mod refusals;
mod sshd;

use netboot_fixtures::harness::TestCase;

pub fn tests() -> Vec<TestCase> {
    [folders::tests(), refusals::tests(), sshd::tests()].into_iter().flatten().collect()
}
