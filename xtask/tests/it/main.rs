//! Hermetic tests of the program, with stand-ins for iPXE and for every server on the network.

mod attest;
mod bench;
mod bundle;
mod clean;
mod deploy;
mod docs;
mod faults;
mod file_systems;
mod help;
mod ignition;
mod index_page;
mod inspect;
mod interrupt;
mod inventory;
mod limits;
mod lint;
mod lint_server;
mod mirror;
mod network;
mod programs;
mod publish;
mod recipe;
mod rehearse;
mod release;
mod reproduce;
mod rights;
mod secure_boot;
mod secure_boot_keys;
mod signed_set;
mod stamp;
mod syslinux;
mod tree;
mod update;

use std::process::ExitCode;

use netboot_fixtures::harness::{self, Threads, set_xtask};

fn main() -> ExitCode {
    set_xtask(env!("CARGO_BIN_EXE_xtask"));
    harness::main(
        Threads::Any,
        [
            attest::tests(),
            bench::tests(),
            bundle::tests(),
            clean::tests(),
            deploy::tests(),
            docs::tests(),
            faults::tests(),
            file_systems::tests(),
            help::tests(),
            ignition::tests(),
            index_page::tests(),
            inspect::tests(),
            interrupt::tests(),
            inventory::tests(),
            limits::tests(),
            lint::tests(),
            lint_server::tests(),
            limits::config::tests(),
            limits::programs::tests(),
            mirror::tests(),
            network::tests(),
            programs::tests(),
            publish::tests(),
            recipe::tests(),
            rehearse::tests(),
            release::tests(),
            reproduce::tests(),
            reproduce::variations::tests(),
            rights::tests(),
            secure_boot::tests(),
            secure_boot_keys::tests(),
            signed_set::tests(),
            stamp::tests(),
            syslinux::tests(),
            tree::tests(),
            update::tests(),
        ],
    )
}
