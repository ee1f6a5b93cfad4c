//! The real iPXE at its pinned commit and syslinux, if the pinned inputs are available. Otherwise, every test here
//! reports that it was skipped, and why.

mod book;
mod build;
mod cards;
mod entries;
mod http_boot;
mod lint_claims;
mod media;
mod other_cpus;
mod pins;
mod recipes;
mod rehearsals;
mod rehearse;
mod reproduce;
mod secure;
mod secure_boot;
mod stamp;

use std::process::ExitCode;

use netboot_fixtures::harness::{self, Threads, set_xtask};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().is_some_and(|argument| argument == book::PAGE) {
        return book::inside(arguments);
    }
    set_xtask(env!("CARGO_BIN_EXE_xtask"));
    harness::main(
        Threads::One,
        [
            build::tests(),
            stamp::tests(),
            other_cpus::tests(),
            rehearse::tests(),
            rehearsals::tests(),
            lint_claims::tests(),
            reproduce::tests(),
            http_boot::tests(),
            media::tests(),
            pins::tests(),
            recipes::tests(),
            entries::tests(),
            cards::tests(),
            secure::tests(),
            secure_boot::tests(),
            book::tests(),
        ],
    )
}
