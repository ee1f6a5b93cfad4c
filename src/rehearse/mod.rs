//! Runs a site's script in iPXE for Linux.

pub mod program;
