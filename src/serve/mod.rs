//! What stands around a tree: what machines are told, configurations of servers, a starter for Ignition, a page.

pub mod boot_policy;
pub mod ignition;
pub mod index_page;
pub mod server_config;
pub mod server_kind;
