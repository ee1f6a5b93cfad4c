//! Modules that do not depend on any stage: files, paths, programs, HTTP, progress, text.

pub mod closed_set;
mod connector;
pub mod der;
pub mod diagnostic;
pub mod fs;
pub mod http;
pub mod parallel;
pub mod paths;
pub mod plural;
pub mod process;
pub mod progress;
mod proxy;
pub mod quote;
pub mod secrets;
pub mod tarball;
mod tls;
pub mod url;
