//! `cargo xtask completions`: a script that completes the command line in a shell.

use clap_complete::Shell;
use netboot_loaders::base::diagnostic::Class;

use crate::cli;
use crate::exit::Failure;
use crate::program;
use crate::ui::out;

pub(super) fn run(shell: Shell) -> Result<(), Failure> {
    let name = if program::is_alias() { "xtask" } else { program::name() };
    // Shells, and the scripts for them, take other characters for the end of the name, or for commands.
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        let text = format!("shells complete no program of the name {name}");
        return Err(Failure::new(Class::BadInput, text).help("rename it: to letters, digits, `-`, `_` and `.`"));
    }
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut cli::command(), name, &mut script);
    out(&consistent(&String::from_utf8_lossy(&script), name));
    Ok(())
}

/// Returns a script for `name` that spells the name in one way only. `clap_complete` 4 spells a dash in two ways
/// for bash, which then completes nothing after the first word.
fn consistent(script: &str, name: &str) -> String {
    let spelt = |dash: &str| format!("{}__subcmd__", name.replace('-', dash));
    script.replace(&spelt("__subcmd__"), &spelt("__"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dash_in_the_name_is_spelt_in_one_way() {
        let script = "a__b,docs) cmd=\"a__b__subcmd__docs\"\na__subcmd__b__subcmd__docs)\na__subcmd__c)";
        let wanted = "a__b,docs) cmd=\"a__b__subcmd__docs\"\na__b__subcmd__docs)\na__subcmd__c)";
        assert_eq!(consistent(script, "a-b"), wanted);
        assert_eq!(consistent(script, "a"), script);
    }
}
