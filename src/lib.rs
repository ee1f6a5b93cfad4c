//! Builds, checks and publishes TFTP trees of iPXE and syslinux loaders from pinned inputs.
//!
//! Data flows one way: [`choices`] are read and checked, [`source`] brings pinned inputs in,
//! [`plan`] computes all that is to be done, [`build`] builds bases, [`stamping`] makes loaders of
//! them, [`tree`] publishes these. A stage takes the value that the stage before returned.
//! [`build_loaders`] is the whole of it.
//!
//! The library never prints, exits, or looks at the clock's date or the environment.

#![warn(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

pub use netboot_stamp as stamp;
pub use netboot_stamp::{digest, printable};

pub mod der;
pub mod fs;
pub mod parallel;
pub mod paths;
pub mod plural;
pub mod process;
pub mod progress;
pub mod quote;
pub mod secrets;
pub mod tarball;
pub mod url;

pub mod choices;
pub mod source;
pub mod toolchain;

pub mod plan;

pub mod contents;

pub mod build;
pub mod stamping;
pub mod tree;

pub mod attest;
pub mod baseline;
pub mod ignition;
pub mod index;
pub mod inspect;
pub mod known_toolchains;

pub mod build_loaders;
pub mod bundle_bases;
pub mod clean;
pub mod release;

pub mod boot_test;
pub mod deploy;
pub mod oracle;
pub mod recipe;
pub mod reproduce;

pub mod update;

pub mod mirror;
