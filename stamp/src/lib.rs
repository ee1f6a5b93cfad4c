//! Stamping: a loader of iPXE is built once, and any number of sites get it with a script of their own, byte
//! for byte what building it with that script would give.

#![warn(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

pub mod base;
pub mod build_id;
pub mod digest;
pub mod lzma;
pub mod slot;
pub mod stamper;
pub mod zbin;
