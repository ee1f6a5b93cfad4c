//! Environment of a program: variables that this program sets, and variables that it passes on and never shows.

use std::fmt;

use super::shell_word::quoted;

/// Complete environment of a program.
///
/// An inherited variable can contain a token or a password, whatever its name is. Its value can be passed to a program,
/// and is otherwise inaccessible: no message can show it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ProgramEnvironment(Vec<Variable>);

#[derive(Clone, PartialEq, Eq)]
struct Variable {
    name: String,
    value: String,
    inherited: bool,
}

impl ProgramEnvironment {
    /// Creates an environment of inherited variables.
    #[must_use]
    pub fn inherited(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(variables.into_iter().map(|(name, value)| Variable { name, value, inherited: true }).collect())
    }

    /// Sets a variable to a value that may be shown. It replaces an inherited variable of the same name.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.add(Variable { name: name.to_owned(), value: value.into(), inherited: false });
    }

    /// Adds the variables of `other`, which replace those of the same name.
    pub fn extend(&mut self, other: Self) {
        other.0.into_iter().for_each(|variable| self.add(variable));
    }

    fn add(&mut self, variable: Variable) {
        self.0.retain(|other| other.name != variable.name);
        self.0.push(variable);
    }

    /// Returns the names of all variables.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|variable| &*variable.name)
    }

    /// Returns the names and values, for the start of a program.
    pub(super) fn for_program(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|variable| (&*variable.name, &*variable.value))
    }
}

impl FromIterator<(String, String)> for ProgramEnvironment {
    /// Collects variables whose values may be shown.
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        let mut environment = Self::default();
        variables.into_iter().for_each(|(name, value)| environment.set(&name, value));
        environment
    }
}

impl fmt::Display for ProgramEnvironment {
    /// Formats assignments for a shell, each after a blank. An inherited variable is assigned its value in that shell,
    /// unless a shell cannot refer to its name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Variable { name, value, inherited } in &self.0 {
            if !inherited {
                write!(f, " {name}={}", quoted(value))?;
            } else if is_shell_name(name) {
                write!(f, " {name}=\"${name}\"")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for ProgramEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProgramEnvironment(`{self}`)")
    }
}

/// Checks whether a shell can refer to a variable called `name`.
fn is_shell_name(name: &str) -> bool {
    name.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic())
        && name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::super::Command;
    use super::*;
    use crate::base::progress::Silent;

    fn of(variables: &[(&str, &str)]) -> ProgramEnvironment {
        ProgramEnvironment::inherited(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn no_message_shows_the_value_of_an_inherited_variable() {
        let inherited = of(&[("TOKEN", "S3CRET"), ("PATH", "/S3CRET"), ("BASH_FUNC_f%%", "() { S3CRET\n}")]);
        let script = "test $TOKEN = S3CRET && exit 3";
        let command = Command { env: inherited, ..Command::new("try", "sh") }.env("PATH", "/usr/bin:/bin");
        let command = command.env("LC_ALL", "C").args(["-c", script]);
        let error = command.output(&Silent).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot try: `sh` ended with exit code 3\n  command: env -i TOKEN=\"$TOKEN\" PATH=/usr/bin:/bin LC_ALL=C sh -c \
             'test $TOKEN = S3CRET && exit 3'"
        );
        for debug in [format!("{:?}", command.env), format!("{:#?}", command.env)] {
            assert!(!debug.contains("S3CRET") && debug.contains("TOKEN"), "{debug}");
        }
    }

    #[test]
    fn a_variable_is_set_once() {
        let mut environment = of(&[("A", "1"), ("B", "1")]);
        environment.set("A", "2");
        environment.extend(of(&[("B", "2")]));
        environment.extend([("B".to_owned(), "3".to_owned())].into_iter().collect());
        assert_eq!(environment.for_program().collect::<Vec<_>>(), [("A", "2"), ("B", "3")]);
        assert_eq!(environment.to_string(), " A=2 B=3");
    }
}
