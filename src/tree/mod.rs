//! The tree that is deployed: what is in it, how it is published, packed and verified.

pub mod enclosing;
pub mod limits;
pub mod manifest;
pub mod neighbours;
pub mod open;
pub mod verify;
