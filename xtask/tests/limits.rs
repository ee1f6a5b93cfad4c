//! Hostile input takes neither memory nor time without end.

mod support;

use std::process::Command;

use support::limits::{self, MEMORY};

#[test]
fn the_peak_is_that_of_the_run_and_of_its_children() {
    let peak = |script: &str| limits::measure(Command::new("sh").args(["-c", script])).peak;
    let large = peak("dd if=/dev/zero of=/dev/null bs=300M count=1; true");
    assert!(large > MEMORY && large < 2 * MEMORY, "{large}");
    // The larger one before it does not count.
    let small = peak("true");
    assert!(small < MEMORY / 4, "{small}");
}

#[test]
#[should_panic(expected = "peak memory 30")]
fn too_much_memory_fails_a_test() {
    let mut command = Command::new("dd");
    limits::measure(command.args(["if=/dev/zero", "of=/dev/null", "bs=300M", "count=1"])).bounded();
}

#[test]
fn an_interrupted_run_ends_with_130() {
    let folder = tempfile::tempdir().unwrap();
    let begun = folder.path().join("begun");
    let script = format!("trap 'exit 130' INT; touch '{}'; while :; do sleep 0.1; done", begun.display());
    limits::interrupt(Command::new("sh").args(["-c", &script]), || begun.exists());
}
