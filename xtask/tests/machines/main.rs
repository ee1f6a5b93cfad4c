//! Machines that boot the distribution's syslinux, also with Secure Boot. Tests whose requirements are missing report that they were
//! skipped, and why.

mod boot;
mod enrol;
mod recipes;

use std::process::ExitCode;

use netboot_fixtures::harness::{self, Threads, set_xtask};

fn main() -> ExitCode {
    set_xtask(env!("CARGO_BIN_EXE_xtask"));
    harness::main(Threads::One, [boot::tests(), enrol::tests(), recipes::tests()])
}
