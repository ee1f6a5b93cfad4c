//! A base: a loader that is built once, with everything needed to replace its script.

use std::io::Read;
use std::ops::Range;

use memchr::memmem;
use serde::{Deserialize, Serialize};

use crate::build_id::{self, BuildId};
use crate::digest::Content;
use crate::slot::{Slot, SlotSize};
use crate::zbin::{self, Instruction};

/// Errors from capturing or opening a base, or from filling its slot.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The position of the slot is ambiguous or unknown.
    #[error("`{loader}` cannot be stamped: {place} has its slot {found} times, wanted once")]
    SlotCount {
        /// File name of the loader.
        loader: String,
        /// Content that was searched.
        place: &'static str,
        /// Number of slots found.
        found: usize,
    },
    /// The build id differs from the one computed from the linked bytes.
    #[error("`{loader}` cannot be stamped: its build id is {found:08x}, and by what was linked it is {computed:08x}")]
    BuildId {
        /// File name of the loader.
        loader: String,
        /// Build id in the loader.
        found: u32,
        /// Computed build id.
        computed: u32,
    },
    /// The linker's addresses point outside the loader.
    #[error("`{0}` cannot be stamped: its build id lies outside of it")]
    Outside(String),
    /// The instructions of a BIOS loader cannot be followed.
    #[error("`{loader}` cannot be stamped: {error}")]
    Zbin {
        /// File name of the loader.
        loader: String,
        /// Cause.
        error: zbin::Error,
    },
    /// The base differs from what was captured.
    #[error("the base of `{loader}` differs from its record: {what} has changed")]
    Changed {
        /// File name of the loader.
        loader: String,
        /// Part that differs.
        what: &'static str,
    },
    /// The slot and the base's slot have different sizes.
    #[error("`{loader}` has a slot of {wanted} bytes, and this script one of {found}")]
    OtherSize {
        /// File name of the loader.
        loader: String,
        /// Slot size of the script.
        found: SlotSize,
        /// Slot size of the base.
        wanted: SlotSize,
    },
}

/// Description of a base, stored beside its image.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BaseRecord {
    /// File name of the loader.
    pub loader: String,
    /// Offset of the slot in the image, in bytes.
    slot_offset: usize,
    /// Size of the slot.
    slot_size: SlotSize,
    /// Digest and size of the image that scripts are written into.
    pub image: Content,
    /// Firmware, and how to turn the image into a loader.
    pub kind: BaseKind,
}

/// Steps that turn an image with a script into a loader.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum BaseKind {
    /// The image is the loader, and its build id depends on the content of the slot.
    Efi {
        /// Offset of the build id, in bytes.
        id_offset: usize,
        /// How the build id depends on the slot.
        build_id: BuildId,
    },
    /// The image must be packed.
    Bios {
        /// Digest and size of the packing instructions.
        zinfo: Content,
        /// Digest and size of the loader that the base itself gives.
        loader: Content,
    },
}

/// Link addresses of two symbols that lie in one section of an EFI loader.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// Address of the slot.
    pub slot: u64,
    /// Address of the build id.
    pub build_id: u64,
}

/// A loader that scripts can be stamped into.
#[derive(Debug, Clone)]
pub struct Base {
    record: BaseRecord,
    image: Vec<u8>,
    zinfo: Vec<u8>,
    instructions: Vec<Instruction>,
}

impl Base {
    /// Captures an EFI application for any CPU that was built with [`Slot::sentinel`] of `size`. `linked` yields the
    /// bytes that its build id is the checksum of.
    ///
    /// # Errors
    ///
    /// The outer error comes from reading `linked`. The inner [`Error`] says why the loader cannot be a base.
    pub fn capture_efi(
        loader: &str,
        image: Vec<u8>,
        size: SlotSize,
        addresses: Addresses,
        linked: &mut dyn Read,
    ) -> std::io::Result<Result<Self, Error>> {
        let sentinel = Slot::sentinel(size);
        let linked = build_id::read(linked, sentinel.bytes())?;
        Ok(Self::efi(loader, image, &sentinel, addresses, linked))
    }

    fn efi(
        loader: &str,
        image: Vec<u8>,
        sentinel: &Slot,
        addresses: Addresses,
        linked: build_id::LinkedImage,
    ) -> Result<Self, Error> {
        let slot_offset = only(loader, "the file", &image, sentinel)?;
        if linked.slots != 1 {
            return Err(Error::SlotCount { loader: loader.to_owned(), place: "what was linked", found: linked.slots });
        }
        let outside = || Error::Outside(loader.to_owned());
        let id_offset =
            (slot_offset as u64).checked_add(addresses.build_id).and_then(|sum| sum.checked_sub(addresses.slot));
        let id_offset = id_offset.and_then(|offset| usize::try_from(offset).ok()).ok_or_else(outside)?;
        let kind = BaseKind::Efi { id_offset, build_id: linked.law };
        let record = BaseRecord {
            loader: loader.to_owned(),
            slot_offset,
            slot_size: sentinel.size(),
            image: Content::of(&image),
            kind,
        };
        Self::open(record, image, Vec::new())
    }

    /// Captures a BIOS loader that was built with [`Slot::sentinel`] of `size`: `image` is make's `.bin` file, and
    /// `packed` the output of `zbin` for it.
    ///
    /// # Errors
    ///
    /// [`Error`] if the loader cannot be a base.
    pub fn capture_bios(
        loader: &str,
        image: Vec<u8>,
        zinfo: Vec<u8>,
        packed: &[u8],
        size: SlotSize,
    ) -> Result<Self, Error> {
        let slot_offset = only(loader, "the image", &image, &Slot::sentinel(size))?;
        let kind = BaseKind::Bios { zinfo: Content::of(&zinfo), loader: Content::of(packed) };
        let record =
            BaseRecord { loader: loader.to_owned(), slot_offset, slot_size: size, image: Content::of(&image), kind };
        Self::open(record, image, zinfo)
    }

    /// Opens the base that `record` describes; `zinfo` is empty for an EFI application.
    ///
    /// # Errors
    ///
    /// [`Error`] if `record`, `image` and `zinfo` do not belong together.
    pub fn open(record: BaseRecord, image: Vec<u8>, zinfo: Vec<u8>) -> Result<Self, Error> {
        let loader = || record.loader.clone();
        let changed = |what| Error::Changed { loader: loader(), what };
        let instructions = zbin::parse(&zinfo).map_err(|error| Error::Zbin { loader: loader(), error })?;
        if Content::of(&image) != record.image || record.slot().is_none_or(|slot| image.get(slot).is_none()) {
            return Err(changed("its image"));
        }
        if let BaseKind::Bios { zinfo: wanted, .. } = &record.kind
            && Content::of(&zinfo) != *wanted
        {
            return Err(changed("its list of instructions"));
        }
        let base = Self { record, image, zinfo, instructions };
        if let BaseKind::Efi { id_offset, build_id } = base.record.kind {
            let place = base.image.get(id_offset..).and_then(|rest| rest.first_chunk::<4>());
            let found = u32::from_le_bytes(*place.ok_or_else(|| Error::Outside(base.record.loader.clone()))?);
            let computed = build_id.of(&base.image[base.slot()]);
            if found != computed {
                return Err(Error::BuildId { loader: base.record.loader, found, computed });
            }
        }
        Ok(base)
    }

    /// Returns the base's record.
    #[must_use]
    pub fn record(&self) -> &BaseRecord {
        &self.record
    }

    /// Returns the image that scripts are written into.
    #[must_use]
    pub fn image(&self) -> &[u8] {
        &self.image
    }

    /// Returns the packing instructions of a BIOS loader, as make wrote them.
    #[must_use]
    pub fn zinfo(&self) -> &[u8] {
        &self.zinfo
    }

    /// Returns the parsed instructions of [`Self::zinfo`].
    #[must_use]
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }

    /// Returns the size of the slot.
    #[must_use]
    pub fn slot_size(&self) -> SlotSize {
        self.record.slot_size
    }

    /// Returns the byte range of the slot in the image.
    #[must_use]
    pub fn slot(&self) -> Range<usize> {
        self.record.slot().unwrap_or_default()
    }

    /// Checks that `slot` has the size of this base's slot.
    pub(crate) fn check(&self, slot: &Slot) -> Result<(), Error> {
        let (found, wanted) = (slot.size(), self.slot_size());
        if found == wanted {
            Ok(())
        } else {
            Err(Error::OtherSize { loader: self.record.loader.clone(), found, wanted })
        }
    }

    /// Returns the image with `slot` in it. For an EFI application, this is the loader.
    ///
    /// # Errors
    ///
    /// [`Error::OtherSize`] if `slot` has a different size.
    pub fn image_with(&self, slot: &Slot) -> Result<Vec<u8>, Error> {
        self.check(slot)?;
        let mut image = self.image.clone();
        image[self.slot()].copy_from_slice(slot.bytes());
        if let BaseKind::Efi { id_offset, build_id } = self.record.kind {
            image[id_offset..id_offset + 4].copy_from_slice(&build_id.of(slot.bytes()).to_le_bytes());
        }
        Ok(image)
    }
}

impl BaseRecord {
    /// Returns the size of the slot.
    #[must_use]
    pub fn slot_size(&self) -> SlotSize {
        self.slot_size
    }

    fn slot(&self) -> Option<Range<usize>> {
        Some(self.slot_offset..self.slot_offset.checked_add(self.slot_size.bytes())?)
    }
}

/// Returns the offset of `sentinel` in `bytes`, if it occurs exactly once.
fn only(loader: &str, place: &'static str, bytes: &[u8], sentinel: &Slot) -> Result<usize, Error> {
    let found: Vec<usize> = memmem::find_iter(bytes, sentinel.bytes()).collect();
    match found[..] {
        [offset] => Ok(offset),
        _ => Err(Error::SlotCount { loader: loader.to_owned(), place, found: found.len() }),
    }
}

#[cfg(test)]
mod tests {
    use netboot_fixtures::property::one_in;
    use proptest::prelude::*;

    use super::*;

    const SIZE: SlotSize = SlotSize::DEFAULT;

    /// Returns the linked bytes around a slot, and the loader built from them: the build id is 10 bytes after the slot.
    fn linked(slot: &Slot) -> (Vec<u8>, Vec<u8>) {
        let stream = [b"objects before", slot.bytes(), b"objects behind".as_slice()].concat();
        let id = build_id::read(&mut &stream[..], slot.bytes()).unwrap().id;
        let loader = [b"MZ and code ", slot.bytes(), b"0123456789", &id.to_le_bytes(), b"\0\0\0\0rest"].concat();
        (stream, loader)
    }

    const ADDRESSES: Addresses = Addresses { slot: 0x1000, build_id: 0x1000 + 4096 + 10 };

    fn capture(loader: Vec<u8>, stream: &[u8], addresses: Addresses) -> Result<Base, Error> {
        Base::capture_efi("x.efi", loader, SIZE, addresses, &mut &stream[..]).unwrap()
    }

    #[test]
    fn a_stamped_efi_loader_is_what_linking_gives() {
        let (stream, loader) = linked(&Slot::sentinel(SIZE));
        let base = capture(loader, &stream, ADDRESSES).unwrap();
        for content in [&b"#!ipxe\nshell\n"[..], b"", &[0xff; 4096]] {
            let slot = Slot::fill(content, SIZE).unwrap();
            assert!(base.image_with(&slot).unwrap() == linked(&slot).1);
        }
        let again = Base::open(base.record().clone(), base.image().to_vec(), Vec::new()).unwrap();
        assert_eq!(again.record(), base.record());
    }

    #[test]
    fn what_cannot_be_stamped_is_no_base() {
        let sentinel = Slot::sentinel(SIZE);
        let (stream, loader) = linked(&sentinel);
        let refused = |loader: &[u8], stream: &[u8], addresses| {
            capture(loader.to_vec(), stream, addresses).unwrap_err().to_string()
        };
        let count =
            |place, found| format!("`x.efi` cannot be stamped: {place} has its slot {found} times, wanted once");
        assert_eq!(refused(b"no slot", &stream, ADDRESSES), count("the file", 0));
        assert_eq!(refused(&loader.repeat(2), &stream, ADDRESSES), count("the file", 2));
        assert_eq!(refused(&loader, b"no slot", ADDRESSES), count("what was linked", 0));
        assert_eq!(refused(&loader, &stream.repeat(3), ADDRESSES), count("what was linked", 3));
        let error = refused(&loader, &[&stream[..], b"more"].concat(), ADDRESSES);
        assert!(error.starts_with("`x.efi` cannot be stamped: its build id is "), "{error}");
        let outside = "`x.efi` cannot be stamped: its build id lies outside of it";
        for build_id in [u64::MAX, 0, 0x10_0000] {
            assert_eq!(refused(&loader, &stream, Addresses { build_id, ..ADDRESSES }), outside);
        }
        let error = Base::capture_bios("x.pxe", sentinel.bytes().to_vec(), b"ZREL............".to_vec(), b"", SIZE);
        assert_eq!(error.unwrap_err().to_string(), "`x.pxe` cannot be stamped: there is no instruction `ZREL`");
    }

    #[test]
    fn a_base_that_was_tampered_with_is_refused() {
        let (stream, loader) = linked(&Slot::sentinel(SIZE));
        let base = capture(loader.clone(), &stream, ADDRESSES).unwrap();
        let mut changed = loader.clone();
        changed[3] ^= 1;
        let error = Base::open(base.record().clone(), changed.clone(), Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "the base of `x.efi` differs from its record: its image has changed");
        // Changing the record as well does not help.
        let mut text = serde_json::to_value(base.record()).unwrap();
        text["image"] = serde_json::to_value(Content::of(&loader)).unwrap();
        text["kind"]["efi"]["build-id"]["zero"] = 7.into();
        let record: BaseRecord = serde_json::from_value(text.clone()).unwrap();
        assert!(matches!(Base::open(record, loader.clone(), Vec::new()), Err(Error::BuildId { .. })));
        text["slot-offset"] = usize::MAX.into();
        let record: BaseRecord = serde_json::from_value(text).unwrap();
        assert!(matches!(Base::open(record, loader, Vec::new()), Err(Error::Changed { .. })));
    }

    #[test]
    fn a_slot_of_another_size_is_refused() {
        let (stream, loader) = linked(&Slot::sentinel(SIZE));
        let base = capture(loader, &stream, ADDRESSES).unwrap();
        let error = base.image_with(&Slot::sentinel(SlotSize::MAX)).unwrap_err();
        assert_eq!(error.to_string(), "`x.efi` has a slot of 4096 bytes, and this script one of 65536");
    }

    proptest! {
        #![proptest_config(one_in(8))]

        #[test]
        fn whatever_is_stamped_is_what_linking_gives(content in prop::collection::vec(any::<u8>(), 0..=4096)) {
            let (stream, loader) = linked(&Slot::sentinel(SIZE));
            let base = capture(loader.clone(), &stream, ADDRESSES).unwrap();
            let slot = Slot::fill(&content, SIZE).unwrap();
            prop_assert!(base.image_with(&slot).unwrap() == linked(&slot).1);
            prop_assert!(base.image_with(&Slot::sentinel(SIZE)).unwrap() == loader);
        }
    }
}
