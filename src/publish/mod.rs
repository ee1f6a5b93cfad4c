//! Publishes bases as a tree: stamps each site's script into its loaders, and replaces the old tree in one step.

pub mod description;
pub mod exchange;
mod manifest_writer;
mod medium;
mod outcome;
pub mod signer;
mod staging;
mod stamp_journal;
pub mod tree_contents;
