//! The tree that is deployed: what is in it, how it is published, packed and verified.

pub mod checked;
pub mod enclosing;
mod filler;
pub mod header;
mod journal;
pub mod limits;
pub mod manifest;
pub mod neighbours;
pub mod publish;
mod records;
pub mod verify;
