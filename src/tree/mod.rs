//! The tree that is deployed: what is in it, how it is published, packed and verified.

pub mod checked;
pub mod header;
pub mod manifest;
pub mod publish;
pub mod verify;
