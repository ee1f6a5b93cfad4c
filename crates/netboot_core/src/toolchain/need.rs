//! A required program, header or file, and the test for its presence, as data.

/// A required program, header or file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// Its name.
    pub name: &'static str,
    /// The purpose, as a verb phrase.
    pub purpose: &'static str,
    /// The packages that provide it, for apt, dnf, pacman, zypper and apk.
    pub packages: [&'static str; 5],
    /// The test for its presence.
    pub test: Probe,
}

/// A test that finds and identifies a needed program or file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// GCC, found with the first of these prefixes that exists.
    Gcc {
        /// The oldest major version.
        oldest: u32,
        /// The beginning of the machine that it compiles for.
        machine: &'static str,
        /// The prefixes; an empty one for the host's own compiler.
        prefixes: &'static [&'static str],
    },
    /// A program that, run with these arguments, prints this text in its first line of output.
    Program(&'static str, &'static [&'static str], &'static str),
    /// Several programs, found with the first of these prefixes that exists; the first one reports the version.
    Programs {
        /// The prefixes; an empty one for the host's own programs.
        prefixes: &'static [&'static str],
        /// Their names without prefix.
        names: &'static [&'static str],
    },
    /// Several programs, of which the first one reports the version, and the shared libraries that do its work.
    Linked {
        /// Their names.
        names: &'static [&'static str],
        /// Beginnings of the names of the libraries.
        libraries: &'static [&'static str],
    },
    /// A C program that compiles, links with the libraries, runs, and prints a version.
    Compiles {
        /// The source code.
        code: &'static str,
        /// The linker's arguments.
        libraries: &'static [&'static str],
        /// The header whose path identifies the library.
        header: &'static str,
    },
    /// One of these files.
    File(&'static [&'static str]),
    /// A program with one of these names that needs no shared library.
    Static(&'static [&'static str]),
    /// The newest kernel: a file in one of these folders, or in folders directly below, whose name begins with this
    /// text.
    Kernel(&'static [&'static str], &'static str),
}
