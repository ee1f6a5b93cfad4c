//! Rewrites the text of `vendor/pins.toml`: replaces changed values and leaves every other byte as it is. Only `update`
//! uses it.

use std::ops::Range;

use camino::{Utf8Path, Utf8PathBuf};
use toml::de::{DeTable, DeValue};

use super::pins::{ArchivePin, IpxePin, MemberPin, Pins, SyslinuxPin};
use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Diagnostics};

/// Errors from writing pins.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The existing pins are invalid.
    #[error(transparent)]
    Findings(#[from] Diagnostics),
    /// The layout of the text does not allow replacing single values.
    #[error("cannot put the new pins into `{0}`: its tables are not as this tool writes them")]
    Layout(Utf8PathBuf),
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Findings(findings) => findings.diagnosis(),
            Self::Layout(file) => {
                Class::BadInput.about(file).help("write each archive and member as a table of its own, one key a line")
            }
        }
    }
}

/// Returns `text`, called `file` in diagnostics, with the values of `pins`, which must have as many archives and
/// members as the text.
///
/// # Errors
///
/// [`Error`] if the text is invalid, or if the result would not parse as exactly `pins`.
pub fn rewrite(file: &Utf8Path, text: &str, pins: &Pins) -> Result<String, Error> {
    Pins::parse(file, text)?;
    let layout = || Error::Layout(file.into());
    let root = DeTable::parse(text).map_err(|_| layout())?;
    let mut edits = Edits { text, edits: Vec::new() };
    edits.pins(root.get_ref(), pins).ok_or_else(layout)?;
    let written = edits.apply();
    if Pins::parse(file, &written).is_ok_and(|read| read == *pins) { Ok(written) } else { Err(layout()) }
}

struct Edits<'t> {
    text: &'t str,
    edits: Vec<(Range<usize>, String)>,
}

impl Edits<'_> {
    fn pins(&mut self, root: &DeTable<'_>, pins: &Pins) -> Option<()> {
        self.ipxe(root.get("ipxe")?.get_ref().as_table()?, &pins.ipxe);
        self.syslinux(root.get("syslinux")?.get_ref().as_table()?, &pins.syslinux)
    }

    fn ipxe(&mut self, table: &DeTable<'_>, pin: &IpxePin) {
        self.string(table, "version", &pin.version);
        self.string(table, "ref", &pin.git_ref);
        self.string(table, "commit", &pin.commit.to_string());
        self.string(table, "tree", &pin.tree.to_string());
        self.string(table, "content-sha256", &pin.content.to_string());
        self.number(table, "epoch", pin.epoch);
    }

    fn syslinux(&mut self, table: &DeTable<'_>, pin: &SyslinuxPin) -> Option<()> {
        self.string(table, "version", &pin.version);
        let tables =
            |key: &str| Some(table.get(key)?.get_ref().as_array()?.iter().map(|item| item.get_ref().as_table()));
        for (table, ArchivePin { url, sha256 }) in tables("archive")?.zip(&pin.archives) {
            let table = table?;
            self.string(table, "url", url.expose());
            match sha256 {
                Some(sha256) if table.contains_key("sha256") => self.string(table, "sha256", &sha256.to_string()),
                Some(sha256) => {
                    let url = table.get("url")?.span().end;
                    let rest = self.text[url..].split('\n').next().unwrap_or_default();
                    let end = url + rest.trim_end_matches('\r').len();
                    let line_break = if rest.ends_with('\r') { "\r\n" } else { "\n" };
                    self.edits.push((end..end, format!("{line_break}sha256 = \"{sha256}\"")));
                }
                None => self.remove(table, "sha256"),
            }
        }
        // A text without members has no such table.
        for (table, MemberPin { sha256, size, .. }) in tables("member").into_iter().flatten().zip(&pin.members) {
            let table = table?;
            self.string(table, "sha256", &sha256.to_string());
            self.number(table, "size", *size);
        }
        Some(())
    }

    fn string(&mut self, table: &DeTable<'_>, key: &str, value: &str) {
        let Some(found) = table.get(key).filter(|found| found.get_ref().as_str() != Some(value)) else { return };
        let value = value.replace('\\', "\\\\").replace('"', "\\\"");
        self.edits.push((found.span(), format!("\"{value}\"")));
    }

    fn number(&mut self, table: &DeTable<'_>, key: &str, value: u64) {
        let is = |found: &DeValue<'_>| {
            found
                .as_integer()
                .and_then(|number| u64::from_str_radix(&number.as_str().replace('_', ""), number.radix()).ok())
        };
        if let Some(found) = table.get(key).filter(|found| is(found.get_ref()) != Some(value)) {
            self.edits.push((found.span(), value.to_string()));
        }
    }

    /// Removes the line with `key`.
    fn remove(&mut self, table: &DeTable<'_>, key: &str) {
        if let Some(found) = table.get(key) {
            let start = self.text[..found.span().start].rfind('\n').map_or(0, |end| end + 1);
            let end =
                self.text[found.span().end..].find('\n').map_or(self.text.len(), |end| found.span().end + end + 1);
            self.edits.push((start..end, String::new()));
        }
    }

    fn apply(mut self) -> String {
        self.edits.sort_by_key(|(range, _)| range.start);
        let mut text = self.text.to_owned();
        for (range, value) in self.edits.into_iter().rev() {
            text.replace_range(range, &value);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use crate::base::diagnostic::told;
    use netboot_fixtures::property::one_in;
    use proptest::prelude::*;

    use super::*;
    use crate::config::pins::MAX_SIZE;
    use crate::digest::Sha256Digest;

    const SHIPPED: &str = include_str!("../../../../vendor/pins.toml");

    fn parsed(text: &str) -> Pins {
        Pins::parse("p.toml".into(), text).unwrap()
    }

    fn rewritten(text: &str, pins: &Pins) -> String {
        rewrite("p.toml".into(), text, pins).unwrap()
    }

    /// Returns the lines that differ between two texts with the same number of lines.
    fn changed<'t>(old: &'t str, new: &'t str) -> Vec<&'t str> {
        assert_eq!(old.lines().count(), new.lines().count());
        old.lines().zip(new.lines()).filter(|(old, new)| old != new).map(|(_, new)| new).collect()
    }

    #[test]
    fn what_has_not_changed_stays_byte_for_byte() {
        let version = parsed(SHIPPED).ipxe.version;
        let (plain, noted) = (format!("\"{version}\""), format!("'{version}'  # released"));
        let text = SHIPPED.replace('\n', "\r\n").replacen(&plain, &noted, 1);
        let text = format!("\u{feff}{}", text.replacen("epoch = 1", "epoch = 1_", 1));
        assert_eq!(rewritten(&text, &parsed(&text)), text);
        let mut pins = parsed(&text);
        (pins.ipxe.version, pins.ipxe.epoch) = ("99.0".into(), 1_800_000_000);
        pins.ipxe.git_ref = "refs/tags/a\"b".into();
        assert_eq!(
            changed(&text, &rewritten(&text, &pins)),
            ["version = \"99.0\"  # released", "ref = \"refs/tags/a\\\"b\"", "epoch = 1800000000"]
        );
        pins = parsed(&text);
        pins.syslinux.members[2].size = 7;
        assert_eq!(changed(&text, &rewritten(&text, &pins)), ["size = 7"]);
    }

    #[test]
    fn the_digest_of_an_archive_comes_and_goes() {
        let mut pins = parsed(SHIPPED);
        let digest = pins.syslinux.archives[0].sha256.take();
        pins.syslinux.archives[1].sha256 = digest;
        let text = rewritten(SHIPPED, &pins);
        let line = format!("sha256 = \"{}\"\n", digest.unwrap());
        assert!(text.contains(&format!("syslinux-6.03.zip\"\n{line}\n# ")), "{text}");
        assert_eq!(text.replacen(&line, "", 1), SHIPPED.replacen(&line, "", 1));
        assert_eq!(rewritten(&text, &parsed(SHIPPED)), SHIPPED);
        let crlf = |text: &str| text.replace('\n', "\r\n");
        assert_eq!(rewritten(&crlf(SHIPPED), &pins), crlf(&text));
    }

    #[test]
    fn what_does_not_read_as_meant_is_not_written() {
        let mut pins = parsed(SHIPPED);
        let table = SHIPPED.find("[[syslinux.archive]]").unwrap();
        let (head, rest) = (&SHIPPED[..table], &SHIPPED[SHIPPED.find("[[syslinux.member]]").unwrap()..]);
        let text = format!("{head}archive = [{{ url = \"https://x/1.zip\" }}]\n{rest}");
        pins.syslinux.archives = vec![ArchivePin { url: "https://x/2.zip".into(), sha256: None }];
        assert_eq!(parsed(&rewritten(&text, &pins)), pins);
        pins.syslinux.archives[0].sha256 = Some(pins.ipxe.content);
        rewrite("p.toml".into(), &text, &pins).unwrap_err();
        pins = parsed(SHIPPED);
        pins.ipxe.urls.clear();
        assert_eq!(
            told(&rewrite("p.toml".into(), SHIPPED, &pins).unwrap_err()),
            "cannot put the new pins into `p.toml`: its tables are not as this tool writes them\n\
             hint: write each archive and member as a table of its own, one key a line"
        );
        assert!(matches!(rewrite("p.toml".into(), "", &pins), Err(Error::Findings(_))));
    }

    proptest! {
        #![proptest_config(one_in(4))]

        #[test]
        fn what_is_changed_and_changed_back_is_byte_for_byte_as_before(
            version in "[ -~é]{1,12}",
            git_ref in prop::option::of(r#"refs/[a-z"\\'#]{1,8}"#),
            url in prop::option::of("https://[a-z]{1,8}/[a-z%20?=&#]{0,8}"),
            (epoch, size) in (any::<Option<u32>>(), prop::option::of(0..=MAX_SIZE)),
            digest in any::<Option<[u8; 4]>>().prop_map(|seed| seed.map(|seed| Sha256Digest::of(&seed))),
            archive in any::<prop::sample::Index>(),
            (comment, crlf, mark) in ("[ -~]{0,8}", any::<bool>(), any::<bool>()),
        ) {
            let mut text = SHIPPED.replacen("\nepoch", &format!(" # {comment}\nepoch"), 1);
            if crlf {
                text = text.replace('\n', "\r\n");
            }
            if mark {
                text.insert(0, '\u{feff}');
            }
            let before = parsed(&text);
            let mut pins = before.clone();
            pins.ipxe.version = version;
            pins.ipxe.git_ref = git_ref.unwrap_or(pins.ipxe.git_ref);
            pins.ipxe.epoch = epoch.map_or(pins.ipxe.epoch, u64::from);
            let archive = archive.index(pins.syslinux.archives.len());
            let pin = &mut pins.syslinux.archives[archive];
            (pin.url, pin.sha256) = (url.map_or(pin.url.clone(), |url| url.as_str().into()), digest);
            let member = pins.syslinux.members.last_mut().unwrap();
            (member.size, member.sha256) = (size.unwrap_or(member.size), digest.unwrap_or(member.sha256));
            let written = rewritten(&text, &pins);
            prop_assert_eq!(&parsed(&written), &pins);
            prop_assert_eq!(rewritten(&written, &before), text);
        }
    }
}
