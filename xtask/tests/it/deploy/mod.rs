//! `deploy`.

mod folders;
mod refusals;
mod sshd;

use netboot_fixtures::harness::Test;

pub fn tests() -> Vec<Test> {
    [folders::tests(), refusals::tests(), sshd::tests()].into_iter().flatten().collect()
}
