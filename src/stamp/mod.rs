//! One build, any number of sites: a base is a loader with a slot, and stamping puts a script into it.

pub mod slot;
