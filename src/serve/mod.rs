//! Services around a tree: boot policy and boot order, server configurations, a starter configuration for Ignition, and an
//! index page.

pub mod boot_order;
pub mod boot_policy;
pub mod ignition;
pub mod index_page;
pub mod loader_script;
pub mod server_config;
pub mod server_kind;
mod site_loaders;
