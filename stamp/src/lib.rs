//! Stamping: an iPXE loader is built once, and any number of sites get a copy with a script of their own, byte for byte
//! what a build with that script would give.
//!
//! A [`Bundle`](bundle::Bundle) holds the [bases](base::Base), as `cargo xtask bundle-bases` writes them. A script goes
//! into a [`Slot`](slot::Slot). A [`Stamper`](stamper::Stamper) puts the slot into a base, without iPXE's source, make
//! or a compiler.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use netboot_stamp::bundle::Bundle;
//! use netboot_stamp::slot::Slot;
//! use netboot_stamp::stamper::Stamper;
//!
//! let bundle = Bundle::open(Path::new("netboot-loaders-0.1.0-bases.tar.gz"))?;
//! let base = bundle.base("default", "undionly.kpxe").ok_or("there is no such base")?;
//! let mut stamper = Stamper::new();
//! for site in ["rack-1", "rack-2"] {
//!     let script = format!("#!ipxe\ndhcp && chain http://192.0.2.10/{site}.ipxe\n");
//!     let slot = Slot::fill(script.as_bytes(), base.slot_size())?;
//!     std::fs::write(format!("{site}.kpxe"), stamper.stamp(base, &slot)?)?;
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! In a server, all threads share one bundle, and each thread has its own stamper, which
//! [prepares](stamper::Stamper::prepare) the BIOS bases before the first request. See `examples/stamp_server.rs` for an
//! example.

#![warn(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

pub mod base;
pub mod build_id;
pub mod bundle;
pub mod digest;
pub mod lzma;
pub mod printable;
pub mod slot;
pub mod stamper;
pub mod tarball;
pub mod zbin;
