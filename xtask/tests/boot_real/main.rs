//! Real machines in front of real servers that are configured by their recipes. What is not to be had here is skipped, and
//! says why.

mod cards;
mod entries;
#[path = "../real_support/mod.rs"]
mod real_support;
mod recipes;
mod secure;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // A boot test uses all processors by itself.
    arguments.test_threads = Some(1);
    let trials = recipes::trials().chain(entries::trials()).chain(cards::trials()).chain(secure::trials()).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    real_support::clean_up();
    conclusion.exit_code()
}

/// A trial of `test`, which says what is not to be had here.
fn trial(name: String, test: impl FnOnce() -> Result<(), String> + Send + 'static) -> Trial {
    Trial::ignorable_test(name, move || -> Result<Completion, Failed> {
        match support::machines().and_then(|()| test()) {
            Ok(()) => Ok(Completion::Completed),
            Err(reason) => Ok(Completion::ignored_with(reason)),
        }
    })
}
