//! The slot: the bytes of a loader that hold its embedded script.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Sha256Digest;

/// Size of a slot in bytes: a multiple of 4,096, up to 65,536. It is part of a loader's identity, because a different
/// size gives a different loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "usize", try_from = "usize")]
pub struct SlotSize(usize);

/// Error for a number that is not a valid slot size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found {0}, wanted a multiple of {step} up to {max}", step = SlotSize::STEP, max = SlotSize::MAX.0)]
pub struct BadSize(usize);

impl SlotSize {
    /// Default size.
    pub const DEFAULT: Self = Self(Self::STEP);

    /// Maximum size.
    pub const MAX: Self = Self(65_536);

    const STEP: usize = 4096;

    /// Returns the size in bytes.
    #[must_use]
    pub fn bytes(self) -> usize {
        self.0
    }

    /// Returns the smallest slot size for `needed` bytes, or `None` if none is large enough.
    #[must_use]
    pub fn for_bytes(needed: usize) -> Option<Self> {
        Self::try_from(needed.max(1).checked_next_multiple_of(Self::STEP)?).ok()
    }
}

impl TryFrom<usize> for SlotSize {
    type Error = BadSize;

    fn try_from(bytes: usize) -> Result<Self, BadSize> {
        let fits = (1..=Self::MAX.0).contains(&bytes) && bytes.is_multiple_of(Self::STEP);
        if fits { Ok(Self(bytes)) } else { Err(BadSize(bytes)) }
    }
}

impl From<SlotSize> for usize {
    fn from(size: SlotSize) -> Self {
        size.0
    }
}

impl fmt::Display for SlotSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Error for content that is too long for its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is {needed} bytes, {} more than the slot of {slot}", needed - slot.0)]
pub struct TooLong {
    /// Number of bytes needed.
    pub needed: usize,
    /// Size of the slot.
    pub slot: SlotSize,
}

/// The whole content of a slot: the script, padded with newlines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot(Vec<u8>);

impl Slot {
    /// Creates a slot of `size` with `content`, padded with newlines, so that the last line is terminated if there is
    /// room. Only the length is checked: iPXE requires a script that begins with `#!ipxe` and whose last line does not
    /// end in a backslash.
    ///
    /// # Errors
    ///
    /// [`TooLong`] if `content` is longer than `size`.
    pub fn fill(content: &[u8], size: SlotSize) -> Result<Self, TooLong> {
        if content.len() > size.0 {
            return Err(TooLong { needed: content.len(), slot: size });
        }
        let mut bytes = content.to_vec();
        bytes.resize(size.0, b'\n');
        Ok(Self(bytes))
    }

    /// Returns the placeholder in the slot of a base that is not stamped yet: a script that says so when it is booted.
    #[must_use]
    pub fn sentinel(size: SlotSize) -> Self {
        let mut bytes = SENTINEL.as_bytes().to_vec();
        bytes.resize(size.0, b'\n');
        Self(bytes)
    }

    /// Returns the bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the size.
    #[must_use]
    pub fn size(&self) -> SlotSize {
        SlotSize(self.0.len())
    }

    /// Returns the digest of the bytes.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        Sha256Digest::of(&self.0)
    }
}

const SENTINEL: &str = "\
#!ipxe
echo This loader is a base of netboot-loaders: nobody has stamped a script into it yet.
echo Stamp one with `cargo xtask build-loaders`, and serve that.
shell
";

#[cfg(test)]
mod tests {
    use netboot_fixtures::property::one_in;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_slot_is_filled_up_with_newlines() {
        let slot = Slot::fill(b"#!ipxe\nshell", SlotSize::DEFAULT).unwrap();
        assert_eq!(slot.bytes().len(), 4096);
        assert!(slot.bytes().starts_with(b"#!ipxe\nshell\n\n"));
        assert!(slot.bytes()[12..].iter().all(|byte| *byte == b'\n'));
        assert_eq!(Slot::fill(&[0xff; 4096], SlotSize::DEFAULT).unwrap().bytes(), [0xff; 4096]);
    }

    #[test]
    fn what_is_too_long_is_told_by_how_much() {
        let error = Slot::fill(&[b'x'; 4099], SlotSize::DEFAULT).unwrap_err();
        assert_eq!(error.to_string(), "it is 4099 bytes, 3 more than the slot of 4096");
    }

    #[test]
    fn a_size_is_a_multiple_of_4096() {
        assert_eq!(SlotSize::try_from(8192).unwrap().bytes(), 8192);
        for bad in [0, 4095, 6000, 65_536 + 4096] {
            let error = SlotSize::try_from(bad).unwrap_err().to_string();
            assert_eq!(error, format!("found {bad}, wanted a multiple of 4096 up to 65536"));
        }
        let fitting = |needed| SlotSize::for_bytes(needed).map(SlotSize::bytes);
        assert_eq!(
            [fitting(0), fitting(4096), fitting(4097), fitting(65_537)],
            [Some(4096), Some(4096), Some(8192), None]
        );
    }

    proptest! {
        #![proptest_config(one_in(4))]

        #[test]
        fn a_script_is_read_back_from_its_slot(content in prop::collection::vec(any::<u8>(), 0..5000)) {
            let size = SlotSize::for_bytes(content.len()).unwrap();
            prop_assert!(size.bytes() >= content.len() && size.bytes() < content.len().max(1) + SlotSize::STEP);
            let slot = Slot::fill(&content, size).unwrap();
            let (script, rest) = slot.bytes().split_at(content.len());
            prop_assert!(script == content && rest.iter().all(|byte| *byte == b'\n'));
            prop_assert_eq!((slot.size(), slot.bytes().len()), (size, size.bytes()));
            prop_assert_eq!(Slot::fill(&content, SlotSize::DEFAULT).is_ok(), content.len() <= 4096);
        }
    }
}
