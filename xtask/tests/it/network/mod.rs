//! Hostile or broken servers, proxies and certificates, tested with the program as a process.

mod git;
mod proxies;
mod secrets;
mod tls;

use netboot_fixtures::harness::TestCase;

pub fn tests() -> Vec<TestCase> {
    [git::tests(), proxies::tests(), secrets::tests(), tls::tests()].into_iter().flatten().collect()
}
