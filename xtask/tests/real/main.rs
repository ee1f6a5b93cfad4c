//! The real iPXE at its pinned commit and syslinux, if the pinned inputs are available. Otherwise, every test here
//! reports that it was skipped, and why.

mod build;
mod cards;
mod entries;
mod recipes;
mod reproduce;
mod secure;
mod stamp;

use std::process::ExitCode;

use netboot_fixtures::harness::{self, Threads, set_xtask};

fn main() -> ExitCode {
    set_xtask(env!("CARGO_BIN_EXE_xtask"));
    harness::main(
        Threads::One,
        [
            build::tests(),
            stamp::tests(),
            reproduce::tests(),
            recipes::tests(),
            entries::tests(),
            cards::tests(),
            secure::tests(),
        ],
    )
}
