//! Servers, proxies and certificates that are hostile or broken, and what the program makes of them, in a process.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../mirror_support/mod.rs"]
mod mirror_support;
#[path = "../support/mod.rs"]
mod support;

use mirror_support::server;

mod git;
mod proxies;
mod secrets;
mod tls;
