//! What is in a loader: what was linked into it, and where in it a byte lies.
//!
//! [`link_map`] reads what the linker said. [`linked_objects`] is the list of what was linked, as a tree and the
//! baseline have it. [`packed`] unpacks BIOS loaders, [`image`] knows sections, and [`facts`] is what the
//! bytes of a loader tell without any of that.

pub mod facts;
pub mod file_kind;
pub mod image;
pub mod link_map;
pub mod linked_objects;
pub mod packed;
pub mod target;
