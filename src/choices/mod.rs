//! What a person chose and what was pinned, read from the project's files and checked as a whole.
//!
//! Every value that leaves this folder is valid; every reader collects all that is wrong with its
//! file before it gives up. Nothing here builds or fetches, or writes a file.

pub mod address;
pub mod boot_entry;
pub mod ipxe_commands;
pub mod ipxe_config;
pub mod loader;
pub mod network;
pub mod pins;
pub mod pins_writer;
pub mod reader;
pub mod rules;
pub mod script;
pub mod signers;
pub mod sites;
pub mod template;
pub mod trust;
pub mod values;

mod inventory;
mod material;
mod roster;
mod said;
mod syslinux;
