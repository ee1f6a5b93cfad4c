//! The lower layers of `netboot_loaders`, which re-exports them: [`base`] knows no stage; [`loader`] knows what a loader is;
//! [`config`] is what people write, validated; [`toolchain`] finds programs and headers of the host.
//!
//! They are a crate of their own so that they compile beside what the stages need, and a change to a stage leaves them alone.

#![warn(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

pub use netboot_stamp as stamp;
pub use netboot_stamp::{digest, printable};

pub mod base;
pub mod loader;

pub mod config;

pub mod toolchain;
