//! Reads iPXE scripts as iPXE does, and finds what would stop one before a machine runs it.
//!
//! It knows scripts alone: no file, no template, no site. A [`Review`] of a text has what is wrong with it, and what it needs
//! of a build.

pub mod address;
pub mod commands;
pub mod parse;
mod review;

pub use self::commands::Availability;
pub use self::review::{Feature, Flaw, Review};
