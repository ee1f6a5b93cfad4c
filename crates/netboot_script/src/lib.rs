//! Reads iPXE scripts as iPXE does, and finds errors before a machine runs them.
//!
//! This crate knows only scripts: no file and no site. [`syntax`] parses a text, and [`lint()`] runs the
//! [rules](Rule) over it. The [`Review`] of a text contains its errors, and the features that it needs in a build.

pub mod address;
mod arguments;
mod beginning;
pub mod commands;
pub mod editor;
mod finding;
mod lint;
mod review;
mod rule;
pub mod settings;
pub mod syntax;
mod target;

pub use self::arguments::is_refused;
pub use self::beginning::{MAGICS, NoScript};
pub use self::commands::{Availability, BuildKind, CommandSpec, IpxeRelease};
pub use self::finding::Finding;
pub use self::lint::{Feature, LintReport, fetched_addresses, lint, shows};
pub use self::review::Review;
pub use self::rule::{Rule, RuleText, Severity, reference};
pub use self::syntax::{ParsedScript, Templates};
pub use self::target::{BuildContents, LintTarget, ScriptPlatform};
