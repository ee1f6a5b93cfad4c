//! Builds, checks and publishes TFTP trees of iPXE and syslinux loaders from pinned inputs.
//!
//! The folders are layers: each one uses only those that precede it in the list below, and no imports form a cycle.
//! Data flows one way: [`config`] is read and checked, [`fetch`] brings pinned inputs into the cache, [`build::plan`]
//! computes everything there is to do, [`build`] builds bases, [`publish`] stamps loaders and publishes a [`tree`].
//! Each stage takes the value that the previous stage returned. [`build_loaders`] runs all of them.
//!
//! The library never prints, exits, or reads the current date or the environment.

#![warn(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

pub use netboot_core::{base, config, loader, toolchain};
pub use netboot_stamp as stamp;
pub use netboot_stamp::{digest, printable};

pub mod fetch;

pub mod tree;

pub mod build;

pub mod publish;

pub mod reproduce;

pub mod inspect;

pub mod lint;

pub mod release;

pub mod html_page;

pub mod serve;

pub mod boot_test;

pub mod rehearse;

pub mod deploy;

pub mod mirror;

pub mod secure_boot;

pub mod update;

pub mod clean;

pub mod build_loaders;

pub mod bundle_bases;
