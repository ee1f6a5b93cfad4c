//! The user's configuration and the pins, read from the project's files and validated as a whole.
//!
//! Every value that leaves this folder is valid; every reader collects all errors of its file before it fails. Nothing
//! here builds, fetches or writes a file.

pub mod boot_entry;
pub mod ipxe_config;
pub mod network;
pub mod pins;
pub mod pins_writer;
pub mod script;
pub mod secure_boot;
pub mod signed_set;
pub mod signers;
pub mod sites;
pub mod template;
pub mod toml;
pub mod trust;
pub mod values;
pub mod version;

mod assets;
mod inventory;
mod reading;
mod site;
mod site_set;
mod site_table;
mod syslinux;
mod tftp_server;
