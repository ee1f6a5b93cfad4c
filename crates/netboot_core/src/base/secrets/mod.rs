//! Secrets in texts: how they are found before something is published, and how texts that have them are shown.

mod find;
mod shown;

pub use self::find::{Secret, SecretKind, find};
pub use self::shown::{shown, shown_line, shown_text};
