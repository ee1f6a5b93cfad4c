//! Reads iPXE scripts as iPXE does, and finds errors before a machine runs them.
//!
//! This crate knows only scripts: no file, no template, no site. The [`Review`] of a text contains its errors, and the
//! features that it needs in a build.

pub mod address;
pub mod commands;
pub mod parse;
mod review;

pub use self::commands::{Availability, BuildKind};
pub use self::review::{Feature, Flaw, Review};
