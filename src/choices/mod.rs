//! What a person chose and what was pinned, read from the project's files and checked as a whole.
//!
//! Every value that leaves this folder is valid; every reader collects all that is wrong with its
//! file before it gives up. Nothing here builds, fetches or writes.

pub mod ipxe_commands;
pub mod ipxe_config;
pub mod loader;
pub mod pins;
pub mod reader;
pub mod script;
pub mod sites;
