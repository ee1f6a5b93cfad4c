//! What is known of a place: the manifest that is there, and the record of what was put there.

use crate::plural::count;
use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};

use super::place::{Error, Found, FoundKind, Place};
use super::record::{Deployed, Record};
use crate::digest::Content;
use crate::paths;
use crate::tree::manifest::{GENERATOR, Manifest};
use crate::tree::verify::is_inside;

/// The most that a manifest or a record may have, in bytes; those of 100,000 files are smaller.
const LARGEST: u64 = 64 << 20;

/// What is known of a place.
#[derive(Debug, Clone, Default)]
pub struct Past {
    /// What was put there, as far as that is written down.
    pub record: Record,
    /// The file that is being renamed, whose time is known already. Whether it got its name nobody knows, until it is
    /// looked at.
    pub in_flight: Option<(Utf8PathBuf, Deployed)>,
    /// Why the manifest that is there is none of this tool's.
    pub foreign: Option<String>,
    /// The contents that this tool may have put at each path.
    ours: BTreeMap<Utf8PathBuf, Vec<Content>>,
}

impl Past {
    /// Looks at `place`.
    ///
    /// # Errors
    ///
    /// [`Error`] of the place. A manifest or a record that cannot be understood is none.
    pub fn read(place: &mut dyn Place) -> Result<Self, Error> {
        if !place.is_there()? {
            return Ok(Self::default());
        }
        let names = [Utf8PathBuf::from(paths::MANIFEST), Utf8PathBuf::from(paths::DEPLOYED)];
        let found = place.look(&names)?;
        let mut texts = Vec::new();
        for (name, found) in names.iter().zip(found) {
            texts.push(found.map(|found| text(place, name, found)).transpose()?);
        }
        let record = texts.pop().flatten().and_then(Result::ok).unwrap_or_default();
        Ok(Self::new(texts.pop().flatten(), Record::parse(&record)))
    }

    /// What a manifest's text (or why that cannot be read) and a record come to.
    #[must_use]
    pub fn new(manifest: Option<Result<Vec<u8>, String>>, record: Record) -> Self {
        let mut past = Self { record, ..Self::default() };
        for (path, deployed) in &past.record.files {
            past.ours.entry(path.clone()).or_default().extend([Some(deployed.content), deployed.next].iter().flatten());
        }
        match manifest.map(|text| text.and_then(|text| Ok((ours(&text)?, text)))) {
            None => {}
            Some(Err(reason)) => past.foreign = Some(reason),
            Some(Ok((manifest, text))) => {
                let mut add = |path: &Utf8Path, content| past.ours.entry(path.to_owned()).or_default().push(content);
                for file in manifest.files.iter().filter(|file| is_inside(&file.path)) {
                    add(&file.path, Content { sha256: file.sha256, size: file.size });
                }
                add(paths::SHA256SUMS.into(), Content::of(manifest.sha256sums().as_bytes()));
                add(paths::MANIFEST.into(), Content::of(&text));
            }
        }
        past
    }

    /// What this tool may have put at `path`.
    #[must_use]
    pub fn ours(&self, path: &Utf8Path) -> &[Content] {
        self.ours.get(path).map_or(&[], Vec::as_slice)
    }

    /// All that this tool may have put there.
    pub fn all(&self) -> impl Iterator<Item = (&Utf8PathBuf, &Content)> {
        self.ours.iter().flat_map(|(path, contents)| contents.iter().map(move |content| (path, content)))
    }

    /// The content of `path`, if nobody has changed it since it was put there: size and time are as they were.
    #[must_use]
    pub fn vouched(&self, path: &Utf8Path, found: Found) -> Option<Content> {
        let in_flight = self.in_flight.iter().filter(|(flying, _)| flying == path).map(|(_, deployed)| deployed);
        let mut known = self.record.files.get(path).into_iter().chain(in_flight);
        let same = |known: &&Deployed| known.content.size == found.size && known.modified == found.modified;
        known.find(same).filter(|_| found.modified.is_some()).map(|known| known.content)
    }
}

/// The content of a file, or why it cannot be what is looked for.
fn text(place: &mut dyn Place, path: &Utf8Path, found: Found) -> Result<Result<Vec<u8>, String>, Error> {
    if found.kind != FoundKind::File || found.size > LARGEST {
        return Ok(Err(format!("found {}, wanted a file of at most {LARGEST}", count(found.size, "byte"))));
    }
    let mut text = Vec::new();
    place.read(path, 0..found.size, &mut |piece| text.extend_from_slice(piece))?;
    Ok(Ok(text))
}

fn ours(text: &[u8]) -> Result<Manifest, String> {
    let manifest = Manifest::parse(text)?;
    match manifest.generator.name.as_str() {
        GENERATOR => Ok(manifest),
        other => Err(format!("found the generator `{other}`, wanted `{GENERATOR}`")),
    }
}
