//! The only module that starts programs.
//!
//! Every command runs with exactly the environment that it names, in a process group of its own (but for
//! one that has to ask on the terminal), with a deadline; it ends when this process ends, and its output can be
//! kept in a log file.

mod command;
mod running;

pub use self::command::{Command, Error, find_program, quoted};
pub use self::running::{Running, Streams};
