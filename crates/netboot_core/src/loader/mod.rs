//! The content of loaders: which objects are linked into them, and which section a byte belongs to.
//!
//! [`link_map`] reads the linker's output. [`linked_objects`] is the list of linked objects in a tree and in the
//! baseline. [`packed`] unpacks BIOS loaders, [`image`] finds sections, and [`facts`] reads the properties that the
//! bytes of a loader reveal without linker output. [`medium`] lists what loaders are put on. [`signature`] reads who has
//! signed one, and [`vendor_certificate`] whom a shim trusts; [`signature_list`] and [`signed_variable`] write what firmware
//! stores about that.

pub mod facts;
pub mod file_kind;
pub mod image;
pub mod link_map;
pub mod linked_objects;
pub mod medium;
pub mod packed;
pub mod signature;
pub mod signature_list;
pub mod signed_variable;
pub mod smallest_application;
pub mod target;
pub mod vendor_certificate;
