//! Servers, proxies and certificates that are hostile or broken, and what the program makes of them, in a process.

mod git;
mod proxies;
mod secrets;
mod tls;

use netboot_fixtures::harness::TestCase;

pub fn tests() -> Vec<TestCase> {
    [git::tests(), proxies::tests(), secrets::tests(), tls::tests()].into_iter().flatten().collect()
}
