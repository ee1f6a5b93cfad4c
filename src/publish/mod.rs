//! From bases to a tree: each site's script is stamped into its loaders, and the tree takes the place of the old one in one
//! step.

pub mod description;
pub mod exchange;
mod manifest_writer;
mod outcome;
mod staging;
mod stamp_journal;
pub mod tree_contents;
