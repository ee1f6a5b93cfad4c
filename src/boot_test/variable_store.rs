//! The variables of a UEFI, as EDK2 keeps them in flash memory: a firmware volume that holds records, in a format that
//! also knows who may change a variable.
//!
//! Source: EDK2, `MdePkg/Include/Pi/PiFirmwareVolume.h` and `MdeModulePkg/Include/EfiGuid/VariableFormat.h`.

use crate::loader::signature_list::EfiGuid;

/// Type of a firmware volume with variables.
const VOLUME: EfiGuid = EfiGuid::new(0xfff12b8d_7696_4c8b_a985_2747075b4f50);
/// Format of records that know who may change a variable.
const AUTHENTICATED: EfiGuid = EfiGuid::new(0xaaf32c78_947b_439a_a180_2e144ec37792);
/// Length of the store's own header, which follows that of the volume.
const STORE_HEADER: usize = 28;
/// First two bytes of a record.
const RECORD: [u8; 2] = [0xaa, 0x55];
/// Length of a record's header.
const RECORD_HEADER: usize = 60;
/// State of a record that is complete and counts.
const VALID: u8 = 0x3f;
/// The same while its successor is written; it counts until that is complete.
const REPLACED: u8 = VALID & 0xfe;
/// A bit that is cleared in the state of a deleted record: flash memory can clear bits, and cannot set them.
const KEPT: u8 = 0x02;
/// Boundary in bytes that each record begins at.
const ALIGNMENT: usize = 4;
/// Time stamp of variables that only their owner may change: 2000-01-01. An update needs a later one.
const TIME: [u8; 16] = [0xd0, 0x07, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Who can read a variable, and who can change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Only the firmware and loaders, until an operating system runs.
    Boot,
    /// Everybody can read it, and only the owner of a key can change it.
    Authenticated,
}

impl Access {
    /// Returns the attributes: kept without power (1), visible to loaders (2), visible to operating systems (4),
    /// changed only with a signature and a time stamp (0x20).
    fn attributes(self) -> u32 {
        match self {
            Self::Boot => 0x3,
            Self::Authenticated => 0x27,
        }
    }
}

/// Reasons why a variable cannot be stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The file is something else.
    #[error("found no store of UEFI variables in EDK2's format")]
    NotAStore,
    /// A record contradicts the store.
    #[error("the variable at offset {0:#x} leads out of the store")]
    Broken(usize),
    /// There is no room.
    #[error("the variable `{name}` needs {needed} bytes, and {free} are free")]
    Full {
        /// The variable.
        name: String,
        /// The length of its record.
        needed: usize,
        /// What is left of the store.
        free: usize,
    },
}

/// Variables of a UEFI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariableStore {
    /// The whole content of the flash memory.
    bytes: Vec<u8>,
    /// Offset of the first record.
    start: usize,
    /// Offset of the next record.
    free: usize,
    /// End of the store.
    end: usize,
}

impl VariableStore {
    /// Opens the content of flash memory, such as the template that a distribution installs.
    ///
    /// # Errors
    ///
    /// [`Error`] if it has no such store, or a damaged one.
    pub fn open(bytes: Vec<u8>) -> Result<Self, Error> {
        let (start, end) = store(&bytes).ok_or(Error::NotAStore)?;
        let mut opened = Self { bytes, start, free: start, end };
        while let Some(record) = opened.record(opened.free)? {
            opened.free = record.next;
        }
        Ok(opened)
    }

    /// Sets a variable of `vendor`. Replaces one of the same name.
    ///
    /// # Errors
    ///
    /// [`Error::Full`] if there is no room; [`Error::Broken`] for a damaged store.
    pub fn set(&mut self, vendor: EfiGuid, name: &str, access: Access, data: &[u8]) -> Result<(), Error> {
        let wide: Vec<u8> = name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        let mut at = self.start;
        while let Some(record) = self.record(at)? {
            let (its_vendor, its_name) = (&self.bytes[at + 44..at + 60], &self.bytes[record.name..record.data]);
            let counts = [VALID, REPLACED].contains(&self.bytes[at + 2]);
            if counts && its_vendor == vendor.as_bytes() && its_name == wide {
                self.bytes[at + 2] &= !KEPT;
            }
            at = record.next;
        }
        let needed = RECORD_HEADER + wide.len() + data.len();
        let free = self.end - self.free;
        if needed > free {
            return Err(Error::Full { name: name.into(), needed, free });
        }
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes();
        let time = if access == Access::Authenticated { TIME } else { [0; 16] };
        let record = [
            &RECORD[..],
            &[VALID, 0],
            &access.attributes().to_le_bytes(),
            // A counter, which the time stamp has replaced.
            &[0; 8],
            &time,
            // The number of a key, which is no longer used either.
            &[0; 4],
            &number(wide.len()),
            &number(data.len()),
            vendor.as_bytes(),
            &wide,
            data,
        ];
        self.bytes[self.free..self.free + needed].copy_from_slice(&record.concat());
        self.free = (self.free + needed).next_multiple_of(ALIGNMENT).min(self.end);
        Ok(())
    }

    /// Returns the content of the flash memory.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Returns the record at the offset `at`, if there is one.
    fn record(&self, at: usize) -> Result<Option<Record>, Error> {
        let header = &self.bytes[at..self.end];
        if !header.starts_with(&RECORD) {
            return Ok(None);
        }
        let number = |offset: usize| usize::try_from(u32::from_le_bytes(*header.get(offset..)?.first_chunk()?)).ok();
        let found = || {
            let name = at + RECORD_HEADER;
            let data = name.checked_add(number(36)?)?;
            let end = data.checked_add(number(40)?).filter(|end| *end <= self.end)?;
            Some(Record { name, data, next: end.next_multiple_of(ALIGNMENT).min(self.end) })
        };
        found().map(Some).ok_or(Error::Broken(at))
    }
}

/// Where the parts of a record are.
struct Record {
    /// Offset of the name.
    name: usize,
    /// Offset of the data.
    data: usize,
    /// Offset of the next record.
    next: usize,
}

/// Returns where records begin, and where the store ends.
fn store(bytes: &[u8]) -> Option<(usize, usize)> {
    let volume = bytes.get(16..32)? == VOLUME.as_bytes() && bytes.get(40..44)? == b"_FVH";
    let header = usize::from(u16::from_le_bytes(*bytes.get(48..)?.first_chunk()?));
    let store = bytes.get(header..)?;
    // Formatted (0x5a), and healthy (0xfe).
    let usable = store.get(..16)? == AUTHENTICATED.as_bytes() && store.get(20..22)? == [0x5a, 0xfe];
    let size = usize::try_from(u32::from_le_bytes(*store.get(16..)?.first_chunk()?)).ok()?;
    let fits = (STORE_HEADER..=store.len()).contains(&size);
    (volume && usable && fits).then_some((header + STORE_HEADER, header + size))
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Returns a template with room for `size` bytes of records.
    pub fn template(size: usize) -> Vec<u8> {
        let mut bytes = vec![0; 16];
        bytes.extend(VOLUME.as_bytes());
        bytes.extend(0x100_u64.to_le_bytes());
        bytes.extend(b"_FVH");
        // Attributes, the length of this header, a checksum, two reserved bytes, a revision, and two maps of blocks.
        bytes.extend([0xff, 0xfe, 4, 0, 0x48, 0, 0, 0, 0, 0, 0, 2]);
        bytes.resize(0x48, 0);
        bytes.extend(AUTHENTICATED.as_bytes());
        bytes.extend(u32::try_from(STORE_HEADER + size).unwrap().to_le_bytes());
        bytes.extend([0x5a, 0xfe, 0, 0, 0, 0, 0, 0]);
        bytes.resize(bytes.len() + size, 0xff);
        // What follows the store in flash memory is not the store's.
        bytes.resize(bytes.len() + 16, 0xee);
        bytes
    }

    #[test]
    fn a_record_has_each_field_where_edk2_reads_it() {
        let mut store = VariableStore::open(template(256)).unwrap();
        store.set(EfiGuid::DATABASE, "db", Access::Authenticated, b"abcde").unwrap();
        store.set(EfiGuid::SHIM, "MokList", Access::Boot, b"x").unwrap();
        let bytes = store.into_bytes();
        let record = &bytes[0x64..];
        assert_eq!(record[..8], [0xaa, 0x55, 0x3f, 0, 0x27, 0, 0, 0]);
        assert_eq!(record[8..16], [0; 8]);
        assert_eq!(record[16..20], [0xd0, 7, 1, 1], "2000-01-01");
        assert_eq!(record[32..44], [0, 0, 0, 0, 6, 0, 0, 0, 5, 0, 0, 0]);
        assert_eq!(&record[44..60], EfiGuid::DATABASE.as_bytes());
        assert_eq!(&record[60..71], b"d\0b\0\0\0abcde");
        assert_eq!(record[71], 0xff, "it begins at a multiple of four");
        let next = &record[72..];
        assert_eq!(next[..8], [0xaa, 0x55, 0x3f, 0, 3, 0, 0, 0]);
        assert_eq!((&next[16..32], &next[44..60]), (&[0; 16][..], &EfiGuid::SHIM.as_bytes()[..]));
        assert_eq!(&next[60..77], b"M\0o\0k\0L\0i\0s\0t\0\0\0x");
        assert!(next[77..].starts_with(&[0xff; 8]) && bytes.ends_with(&[0xee; 16]));
        assert_eq!(bytes.len(), template(256).len());
    }

    #[test]
    fn a_variable_replaces_the_one_of_its_name_and_vendor() {
        let mut store = VariableStore::open(template(512)).unwrap();
        for (vendor, data) in [(EfiGuid::GLOBAL, b"a"), (EfiGuid::SHIM, b"b"), (EfiGuid::GLOBAL, b"c")] {
            // Each is opened again, and goes behind what is there.
            store = VariableStore::open(store.into_bytes()).unwrap();
            store.set(vendor, "PK", Access::Boot, data).unwrap();
        }
        let bytes = store.into_bytes();
        let states: Vec<u8> = (0..3).map(|number| bytes[0x64 + 68 * number + 2]).collect();
        assert_eq!(states, [0x3d, VALID, VALID]);
    }

    #[test]
    fn a_full_store_takes_no_more_and_stays_as_it_is() {
        let mut store = VariableStore::open(template(2 * 68)).unwrap();
        store.set(EfiGuid::GLOBAL, "PK", Access::Boot, b"a").unwrap();
        let before = store.clone();
        let full = Error::Full { name: "db".into(), needed: 71, free: 68 };
        assert_eq!(store.set(EfiGuid::DATABASE, "db", Access::Boot, b"12345"), Err(full));
        assert_eq!(store, before);
        store.set(EfiGuid::DATABASE, "db", Access::Boot, b"12").unwrap();
        let error = store.set(EfiGuid::GLOBAL, "KEK", Access::Boot, b"").unwrap_err();
        assert_eq!(error.to_string(), "the variable `KEK` needs 68 bytes, and 0 are free");
        assert!(VariableStore::open(store.into_bytes()).is_ok());
    }

    proptest! {
        #[test]
        fn damage_is_found_or_does_no_harm(at in 0_usize..0x64 + 256, bytes in vec(any::<u8>(), 1..8)) {
            let mut store = VariableStore::open(template(256)).unwrap();
            store.set(EfiGuid::GLOBAL, "PK", Access::Boot, b"a").unwrap();
            let mut damaged = store.into_bytes();
            let end = damaged.len().min(at + bytes.len());
            damaged[at..end].copy_from_slice(&bytes[..end - at]);
            let length = damaged.len();
            if let Ok(mut store) = VariableStore::open(damaged) {
                let done = store.set(EfiGuid::GLOBAL, "PK", Access::Authenticated, b"other");
                prop_assert!(!matches!(done, Err(Error::NotAStore)));
                prop_assert_eq!(store.into_bytes().len(), length);
            }
        }
    }

    #[test]
    fn what_is_no_store_is_refused() {
        let not = |change: fn(&mut Vec<u8>)| {
            let mut bytes = template(256);
            change(&mut bytes);
            VariableStore::open(bytes).unwrap_err()
        };
        assert_eq!(VariableStore::open(Vec::new()), Err(Error::NotAStore));
        assert_eq!(not(|bytes| bytes.truncate(0x50)), Error::NotAStore);
        assert_eq!(not(|bytes| bytes[16] = 0), Error::NotAStore);
        // Another format of records.
        assert_eq!(not(|bytes| bytes[0x48] = 0x16), Error::NotAStore);
        assert_eq!(not(|bytes| bytes[0x48 + 18] = 0xff), Error::NotAStore);
        // A name, or data, of four gigabytes.
        for length in [36, 40] {
            let mut store = VariableStore::open(template(256)).unwrap();
            store.set(EfiGuid::GLOBAL, "PK", Access::Boot, b"a").unwrap();
            let mut bytes = store.into_bytes();
            bytes[0x64 + length..0x64 + length + 4].fill(0xff);
            assert_eq!(VariableStore::open(bytes), Err(Error::Broken(0x64)));
        }
    }
}
