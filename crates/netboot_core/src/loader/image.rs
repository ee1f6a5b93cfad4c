//! The sections of a loader. A BIOS loader is examined in the form that it has after unpacking itself.

use std::ops::Range;

use super::packed;

/// A contiguous part of a loader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRegion {
    /// The section's name, or `file` for a loader without sections.
    pub name: String,
    /// Whether the loader contains it in packed form.
    pub packed: bool,
    /// The content.
    pub content: Vec<u8>,
}

/// Splits a loader: EFI applications into headers and sections, BIOS loaders into prefix and unpacked parts. Any other
/// file is one region.
#[must_use]
pub fn regions(loader: &[u8]) -> Vec<ImageRegion> {
    let sections = portable_executable(loader).unwrap_or_default();
    let mut regions = Vec::new();
    if let Some(first) = sections.iter().map(|section| section.range.start).min() {
        regions.push(plain("headers", loader.get(..first)));
        regions.extend(sections.into_iter().map(|section| plain(&section.name, loader.get(section.range))));
        return regions;
    }
    let parts = packed::unpack(loader);
    let Some(first) = parts.first() else { return vec![plain("file", Some(loader))] };
    regions.push(plain(".prefix", loader.get(..first.offset)));
    for (index, part) in parts.into_iter().enumerate() {
        let name = packed::SECTIONS.get(index).copied().unwrap_or("packed");
        regions.push(ImageRegion { name: name.to_owned(), packed: true, content: part.content });
    }
    regions
}

fn plain(name: &str, content: Option<&[u8]>) -> ImageRegion {
    ImageRegion { name: name.to_owned(), packed: false, content: content.unwrap_or_default().to_vec() }
}

/// Maximum number of sections in a PE file; firmware and Windows accept no more.
const MAX_SECTIONS: usize = 96;

struct Section {
    name: String,
    range: Range<usize>,
}

/// Returns the sections of a PE file that have bytes in it; no byte is in two of them.
fn portable_executable(content: &[u8]) -> Option<Vec<Section>> {
    let number = |offset: usize, size: usize| -> Option<usize> {
        let bytes = content.get(offset..offset.checked_add(size)?)?;
        Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    };
    if !content.starts_with(b"MZ") {
        return None;
    }
    let header = number(0x3c, 4)?;
    if content.get(header..header.checked_add(4)?)? != b"PE\0\0" {
        return None;
    }
    let (count, optional) = (number(header + 6, 2)?, number(header + 20, 2)?);
    if count > MAX_SECTIONS {
        return None;
    }
    let sections = (0..count).map(|index| {
        let at = header + 24 + optional + 40 * index;
        let name = content.get(at..at + 8)?.split(|byte| *byte == 0).next()?;
        let (start, stored, used) = (number(at + 20, 4)?, number(at + 16, 4)?, number(at + 8, 4)?);
        // The stored size is rounded up; bytes beyond the section's own size are padding.
        let range = start..start.checked_add(stored.min(used))?;
        let name = String::from_utf8_lossy(name).into_owned();
        Some(Section { name, range })
    });
    let mut sections: Vec<Section> = sections.collect::<Option<_>>()?;
    sections.retain(|section| !section.range.is_empty() && section.range.end <= content.len());
    let mut ranges: Vec<_> = sections.iter().map(|section| section.range.clone()).collect();
    ranges.sort_unstable_by_key(|range| range.start);
    let apart = ranges.windows(2).all(|pair| pair[0].end <= pair[1].start);
    apart.then_some(sections)
}

#[cfg(test)]
mod tests {
    use netboot_fixtures::property::one_in;
    use proptest::prelude::*;

    use super::*;

    fn names(loader: &[u8]) -> Vec<(String, usize, bool)> {
        let short = |region: ImageRegion| (region.name, region.content.len(), region.packed);
        regions(loader).into_iter().map(short).collect()
    }

    #[test]
    fn an_efi_application_has_headers_and_sections() {
        let mut loader = vec![0; 0x400];
        loader[..2].copy_from_slice(b"MZ");
        loader[0x3c] = 0x80;
        loader[0x80..0x84].copy_from_slice(b"PE\0\0");
        loader[0x86] = 2;
        loader[0x94] = 0x10;
        let mut section = |index: usize, name: &[u8], numbers: [u32; 4]| {
            let at = 0xa8 + 40 * index;
            loader[at..at + name.len()].copy_from_slice(name);
            for (i, number) in numbers.into_iter().enumerate() {
                loader[at + 8 + 4 * i..at + 12 + 4 * i].copy_from_slice(&number.to_le_bytes());
            }
        };
        section(0, b".text", [0x1f0, 0x1000, 0x200, 0x200]);
        section(1, b".bss", [0x5000, 0x2000, 0, 0]);
        assert_eq!(names(&loader), [("headers".to_owned(), 0x200, false), (".text".to_owned(), 0x1f0, false)]);
    }

    #[test]
    fn sections_that_share_bytes_or_are_far_too_many_are_none() {
        let loader = |sections: &[[u32; 2]]| {
            let mut loader = vec![0; 0x2000];
            loader[..2].copy_from_slice(b"MZ");
            loader[0x3c] = 0x80;
            loader[0x80..0x84].copy_from_slice(b"PE\0\0");
            loader[0x86] = u8::try_from(sections.len()).unwrap();
            for (index, [start, size]) in sections.iter().enumerate() {
                for (at, number) in [(8, size), (16, size), (20, start)] {
                    loader[0x98 + 40 * index + at..][..4].copy_from_slice(&number.to_le_bytes());
                }
            }
            regions(&loader).len()
        };
        assert_eq!(loader(&[[0x1100, 0x10], [0x1000, 0x100]]), 3);
        assert_eq!(loader(&[[0x1100, 0x10], [0x1000, 0x101]]), 1);
        assert_eq!((loader(&[[0x1000, 1]; 96]), loader(&[[0x1000, 0]; 97])), (1, 1));
        let apart: Vec<[u32; 2]> = (0..97).map(|index| [0x1000 + index, 1]).collect();
        assert_eq!((loader(&apart[..96]), loader(&apart)), (97, 1));
    }

    #[test]
    fn a_bios_loader_is_looked_at_unpacked() {
        let pack = netboot_fixtures::packed::pack;
        let loader = [&b"12345678"[..], &pack(&[1; 70]), &pack(&[2; 80])].concat();
        assert_eq!(
            names(&loader),
            [
                (".prefix".to_owned(), 8, false),
                (".text16.early".to_owned(), 70, true),
                (".text16.late".to_owned(), 80, true)
            ]
        );
        assert_eq!(names(b"text"), [("file".to_owned(), 4, false)]);
    }

    proptest! {
        #![proptest_config(one_in(1))]

        #[test]
        fn sections_lie_in_the_loader_and_no_byte_is_in_two(
            sections in prop::collection::vec(prop::array::uniform4(prop_oneof![30 => 0..0x400_u32, 1 => any::<u32>()]), 0..5),
            (start, count, optional) in (prop_oneof![8 => Just(0x80_u32), 1 => 0..0x200_u32, 1 => any::<u32>()], prop::option::of(any::<u16>()), 0..64_u16),
            cut in 0..0x400_usize,
        ) {
            let mut loader = vec![0; 0x400];
            loader[..2].copy_from_slice(b"MZ");
            loader[0x3c..0x40].copy_from_slice(&start.to_le_bytes());
            loader[0x80..0x84].copy_from_slice(b"PE\0\0");
            let count = count.unwrap_or(u16::try_from(sections.len()).unwrap());
            loader[0x86..0x88].copy_from_slice(&count.to_le_bytes());
            loader[0x94..0x96].copy_from_slice(&optional.to_le_bytes());
            for (index, numbers) in sections.iter().enumerate() {
                let at = 0x98 + usize::from(optional) + 40 * index;
                for (i, number) in numbers.iter().enumerate() {
                    loader[at + 8 + 4 * i..at + 12 + 4 * i].copy_from_slice(&number.to_le_bytes());
                }
            }
            loader.truncate(0x400 - cut / 2);
            let found = names(&loader);
            prop_assert!(found.iter().all(|(_, _, packed)| !packed));
            prop_assert!(found.iter().map(|(_, length, _)| length).sum::<usize>() <= loader.len(), "{:?}", found);
            let sections = portable_executable(&loader).unwrap_or_default();
            for (index, Section { range, .. }) in sections.iter().enumerate() {
                let shares = |other: &Section| other.range.start < range.end && range.start < other.range.end;
                prop_assert!(range.end <= loader.len() && !sections[index + 1..].iter().any(shares));
            }
            let _ = (crate::loader::file_kind::identify(&loader), crate::loader::file_kind::describe(&loader));
        }
    }
}
