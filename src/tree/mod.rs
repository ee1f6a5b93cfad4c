//! The tree that is deployed, as a format: its manifest, its limits, and how it is opened and verified.

pub mod enclosing;
pub mod limits;
pub mod manifest;
pub mod neighbours;
pub mod open;
pub mod verify;
