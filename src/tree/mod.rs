//! Format of a tree: its manifest, its limits, and how it is opened and verified.

pub mod enclosing;
pub mod interfering_files;
pub mod limits;
pub mod manifest;
pub mod open;
mod signed;
pub mod verify;
