//! The only module that starts programs.
//!
//! Every command runs with exactly the environment that it specifies, in its own process group (except one that must
//! prompt on the terminal), and with a deadline. It ends when this process ends, and its output can be kept in a log
//! file.

mod command;
mod environment;
mod running;
mod shell_word;

pub use self::command::{Command, Error, find_program};
pub use self::environment::ProgramEnvironment;
pub use self::running::{FirstLines, Running, Streams};
pub use self::shell_word::quoted;
