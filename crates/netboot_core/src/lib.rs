//! The lower layers of `netboot_loaders`, which re-exports them: [`base`] has utilities independent of any stage;
//! [`loader`] describes loaders; [`config`] is the validated configuration; [`toolchain`] finds programs and headers on
//! the host.
//!
//! They are a separate crate so that they compile in parallel with the dependencies of the stages, and so that a change
//! to a stage does not recompile them.

#![warn(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

pub use netboot_stamp as stamp;
pub use netboot_stamp::{digest, printable};

pub mod base;
pub mod loader;

pub mod config;

pub mod toolchain;
