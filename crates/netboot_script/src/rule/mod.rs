//! The rules of the linter, with the texts that explain them.

mod texts;

use std::fmt;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The line does not do what it says.
    Error,
    /// The line probably does not do what its author wants, or fails on some machines.
    Warning,
    /// Something to know.
    Note,
}

impl Severity {
    /// All severities, the worst one first.
    pub const ALL: [Self; 3] = [Self::Error, Self::Warning, Self::Note];

    /// Returns the severity as a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The texts of a rule.
#[derive(Debug, Clone, Copy)]
pub struct RuleText {
    /// Its name, in kebab case.
    pub id: &'static str,
    /// The severity of most of its findings.
    pub severity: Severity,
    /// What it finds, as a heading.
    pub title: &'static str,
    /// What iPXE does with such a script.
    pub why: &'static str,
    /// What to do.
    pub remedy: &'static str,
    /// A script without a finding of the rule.
    pub passing: &'static str,
    /// A script with one.
    pub failing: &'static str,
}

/// Declares the closed set of rules.
macro_rules! rules {
    ($($rule:ident,)*) => {
        /// A rule of the linter.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule {
            $(#[doc = concat!("See [`Rule::text`] of `", stringify!($rule), "`.")] $rule,)*
        }

        impl Rule {
            /// All rules, in the order of the reference.
            pub const ALL: &[Self] = &[$(Self::$rule),*];
        }
    };
}

rules! {
    NotAScript,
    NulByte,
    TrailingBackslash,
    TooManyWords,
    UnclosedTemplate,
    UnknownCommand,
    UnknownOption,
    OptionWithoutValue,
    WrongArguments,
    MissingLabel,
    BadAddress,
    MissingFeature,
    VersionDifference,
    TimeUnit,
    LateOption,
    GluedOperator,
    CommandAsArgument,
    Quotes,
    CommentInsideLine,
    InvisibleCharacter,
    UnclosedSetting,
    SettingType,
    MisspeltSetting,
    UnsetSetting,
    ChainOfSetting,
    DuplicateLabel,
    UnusedLabel,
    ItemWithoutLabel,
    UnreachableCode,
    FallThrough,
    EndlessLoop,
    ConditionEndsScript,
    UnhandledFailure,
    RunsEitherWay,
    InitrdArgument,
    ImagesLeft,
    SecretInScript,
    LintComment,
}

impl Rule {
    /// Finds the rule with the name `id`.
    #[must_use]
    pub fn of(id: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|rule| rule.id() == id)
    }

    /// Returns the name.
    #[must_use]
    pub fn id(self) -> &'static str {
        self.text().id
    }

    /// Returns the severity of most findings.
    #[must_use]
    pub fn severity(self) -> Severity {
        self.text().severity
    }

    /// Returns the texts.
    #[must_use]
    pub fn text(self) -> &'static RuleText {
        &texts::TEXTS[self as usize]
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// Writes the reference of all rules as Markdown: a section a rule, from the rules' own texts.
#[must_use]
pub fn reference() -> String {
    let mut out = String::new();
    for severity in Severity::ALL {
        let rules: Vec<&Rule> = Rule::ALL.iter().filter(|rule| rule.severity() == severity).collect();
        let names = rules.iter().map(|rule| format!("[`{rule}`](#{rule})"));
        out += &format!("- {severity}: {}\n", names.collect::<Vec<_>>().join(", "));
    }
    for rule in Rule::ALL {
        let RuleText { id, severity, title, why, remedy, passing, failing } = rule.text();
        let script = |text: &str| format!("```ipxe\n{}```\n", visible(text));
        out += &format!("\n## {id}\n\n{title} ({severity}).\n\n{why}\n\n{remedy}\n\n");
        out += &format!("Finds:\n\n{}\nAccepts:\n\n{}", script(failing), script(passing));
    }
    out
}

/// Returns an example with its invisible characters as words, and with a line feed at its end.
fn visible(text: &str) -> String {
    let mut out: String = text
        .chars()
        .map(|c| match c {
            '\0' => "<NUL>".to_owned(),
            '\u{feff}' => "<BOM>".to_owned(),
            '\u{a0}' => "<NBSP>".to_owned(),
            c => c.to_string(),
        })
        .collect();
    if !out.ends_with('\n') {
        out.push('\n');
    }
    // Two hundred words say no more than three.
    if let Some((before, _)) = out.split_once(" x x x x") {
        out = format!("{before} ... (201 words)\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_texts_in_its_place() {
        assert_eq!(texts::TEXTS.len(), Rule::ALL.len());
        for rule in Rule::ALL {
            let id = rule.id();
            let name: String = format!("{rule:?}")
                .chars()
                .enumerate()
                .map(|(at, c)| {
                    if at > 0 && c.is_ascii_uppercase() {
                        format!("-{}", c.to_ascii_lowercase())
                    } else {
                        c.to_ascii_lowercase().to_string()
                    }
                })
                .collect();
            assert_eq!(id, name);
            assert_eq!(Rule::of(id), Some(*rule));
            let text = rule.text();
            assert!(text.why.ends_with('.') && text.remedy.ends_with('.') && !text.title.ends_with('.'), "{id}");
        }
        assert_eq!(Rule::of("nothing"), None);
    }
}
