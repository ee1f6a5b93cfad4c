//! Embedded scripts: rendered from a template, checked, as large as their slot at most.

use camino::Utf8PathBuf;

use super::rules::{Feature, Flaw, Review, last_line};
use super::template::{Template, Vars};
use crate::stamp::slot::{Slot, SlotSize, TooLong};

/// The name that the embedded script has as an image inside iPXE. Part of a loader's identity.
pub const IMAGE_NAME: &str = "embedded.ipxe";

/// An embedded script that iPXE will accept and that fits its slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// The file that it was rendered from, as named in `sites.toml`.
    pub source: Utf8PathBuf,
    /// The web addresses among its variables that it uses: where it is meant to go.
    pub addresses: Vec<String>,
    text: String,
    size: SlotSize,
}

/// Why there is no script.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flaws {
    /// What is wrong with it.
    pub flaws: Vec<Flaw>,
    /// How much too long it is.
    pub too_long: Option<TooLong>,
    /// The number of its last line.
    pub last_line: usize,
}

impl Script {
    /// Renders `template` for `site`, or for the root of the tree, and checks the result. A script that is too long
    /// for a slot of `size` gets a larger one if it may `grow`. Comes with what it needs of a build.
    ///
    /// # Errors
    ///
    /// All that is wrong with it.
    pub fn check(
        template: &Template,
        site: Option<&str>,
        vars: &Vars,
        size: SlotSize,
        grow: bool,
    ) -> Result<(Self, Vec<Feature>), Flaws> {
        let (text, undefined) = match template.render(site, vars) {
            Ok(text) => (text, None),
            // The rest of the script can be judged all the same.
            Err((flaw, rest)) if rest.is_empty() => return Err(Flaws { flaws: vec![flaw], ..Flaws::default() }),
            Err((flaw, rest)) => (rest, Some(flaw)),
        };
        let mut review = Review::of(&text);
        review.flaws.extend(undefined);
        let needed = text.len() + usize::from(!text.ends_with('\n'));
        let fitting = if grow { SlotSize::for_bytes(needed).map(|fitting| fitting.max(size)) } else { Some(size) };
        let fitting = fitting.filter(|fitting| needed <= fitting.bytes());
        match fitting {
            Some(size) if review.flaws.is_empty() => Ok((Self::new(template, vars, text, size), review.features)),
            _ => Err(Flaws {
                last_line: last_line(&text),
                too_long: fitting.is_none().then_some(TooLong { needed, slot: size }),
                flaws: review.flaws,
            }),
        }
    }

    /// Renders a script again that was found to be right, for a slot of `size`.
    ///
    /// # Panics
    ///
    /// Where [`Script::check`] has an error.
    #[must_use]
    pub fn render(template: &Template, site: Option<&str>, vars: &Vars, size: SlotSize) -> Self {
        let text = template.render(site, vars).expect("the same template with the same variables was rendered before");
        Self::new(template, vars, text, size)
    }

    fn new(template: &Template, vars: &Vars, text: String, size: SlotSize) -> Self {
        let is_address = |value: &&str| value.starts_with("http://") || value.starts_with("https://");
        let addresses = vars.all().into_values().filter(is_address).filter(|value| text.contains(value));
        Self { source: template.source.clone(), addresses: addresses.map(str::to_owned).collect(), text, size }
    }

    /// The script as rendered.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The slot that the script fills.
    ///
    /// # Panics
    ///
    /// Never: it was checked that the script fits.
    #[must_use]
    pub fn slot(&self) -> Slot {
        Slot::fill(self.text.as_bytes(), self.size).expect("it was checked that the script fits")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use camino::Utf8Path;
    use std::sync::Arc;

    fn check(text: &str, grow: bool) -> Result<Script, Flaws> {
        let file = Utf8Path::new("s.ipxe");
        let template = Template::new(file, file, text.as_bytes()).unwrap();
        Script::check(&template, None, &Vars::default(), SlotSize::DEFAULT, grow).map(|(script, _)| script)
    }

    #[test]
    fn a_script_that_fits_fills_its_slot() {
        let exactly = format!("#!ipxe\n#{}\n", "x".repeat(4096 - 9));
        assert_eq!(check(&exactly, false).unwrap().slot().bytes(), exactly.as_bytes());
        assert_eq!(check(exactly.trim_end(), false).unwrap().slot().bytes(), exactly.as_bytes());
        assert_eq!(check("#!ipxe\nshell", false).unwrap().slot().bytes()[..14], *b"#!ipxe\nshell\n\n");
    }

    #[test]
    fn a_script_that_does_not_fit_gets_a_larger_slot_if_it_may() {
        let long = |bytes: usize| format!("#!ipxe\n#{}\n", "x".repeat(bytes - 9));
        let error = |needed| {
            let too_long = Some(TooLong { needed, slot: SlotSize::DEFAULT });
            Err(Flaws { flaws: Vec::new(), too_long, last_line: 2 })
        };
        assert_eq!(check(&long(4097), false), error(4097));
        assert_eq!(check(&long(4097), true).unwrap().slot().size().bytes(), 8192);
        assert_eq!(check(&long(65_537), true), error(65_537));
        assert_eq!(check("#!ipxe\n", true).unwrap().slot().size(), SlotSize::DEFAULT);
    }

    #[test]
    fn all_flaws_come_at_once_and_a_script_without_any_can_be_rendered_again() {
        let found = check("#!ipxe\nwget\n{{ a }}\n", false).unwrap_err();
        assert_eq!(
            found.flaws.iter().map(|flaw| (flaw.line, flaw.of_site)).collect::<Vec<_>>(),
            [(2, false), (3, true)]
        );
        let file = Utf8Path::new("s.ipxe");
        let template = Template::new(file, file, b"#!ipxe\nchain {{ a }}\necho {{ b }}\n").unwrap();
        let vars = [("a", "http://192.0.2.1/x"), ("b", "c"), ("unused", "http://192.0.2.2/")];
        let vars = Vars::from(Arc::new(vars.map(|(a, b)| (a.to_owned(), b.to_owned())).into()));
        let (script, features) = Script::check(&template, Some("x"), &vars, SlotSize::DEFAULT, false).unwrap();
        assert_eq!(script, Script::render(&template, Some("x"), &vars, SlotSize::DEFAULT));
        assert_eq!((script.addresses, features), (vec!["http://192.0.2.1/x".to_owned()], Vec::new()));
    }
}
