//! Inputs: downloads, archives and repositories, valid and hostile.

#![allow(clippy::disallowed_methods, reason = "a test is no part of the library")]

mod addresses;
mod archives;
mod downloads;
mod git;
mod git_http;
mod interrupts;

use std::process::ExitCode;

use netboot_fixtures::harness::{self, Threads};

fn main() -> ExitCode {
    harness::main(
        Threads::Any,
        [
            addresses::tests(),
            archives::tests(),
            downloads::tests(),
            git::tests(),
            git_http::tests(),
            interrupts::tests(),
        ],
    )
}
