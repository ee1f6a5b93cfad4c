//! The packed parts of a BIOS loader. iPXE's `zbin` writes each as the length of the rest (four bytes, little-endian),
//! raw LZMA over x86 code with absolute call targets, and a CRC-32 without the final inversion.

use liblzma::stream::{Action, Filters, LzmaOptions, Status, Stream};

/// The sections that `zbin` packs, in order.
pub const SECTIONS: [&str; 4] = [".text16.early", ".text16.late", ".data16", ".textdata"];

/// Maximum number of bytes to examine when searching for parts.
const MAX_PACKED: usize = 64 << 20;

/// Maximum total unpacked size of a loader's parts in bytes, including data that turns out not to be a part. The parts
/// of the largest loaders have about 1 MB.
const MAX_UNPACKED: usize = 16 << 20;

/// Minimum size of the checksum and LZMA's own first bytes, in bytes.
const LEAST: usize = 4 + 5;

/// A packed part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedPart {
    /// The offset in the file, where the length field begins.
    pub offset: usize,
    /// The size in the file in bytes, including length and checksum.
    pub packed: usize,
    /// The unpacked content, as it runs.
    pub content: Vec<u8>,
}

/// Returns all packed parts of a BIOS loader. Checksums identify them, so any other file has none.
#[must_use]
pub fn unpack(loader: &[u8]) -> Vec<PackedPart> {
    unpack_within(loader, MAX_UNPACKED)
}

fn unpack_within(loader: &[u8], mut unpacked: usize) -> Vec<PackedPart> {
    let mut parts = Vec::new();
    let mut offset = 0;
    // A crafted file can look as if a part began at every offset.
    let mut budget = MAX_PACKED;
    while let Some(length) = number(loader, offset).filter(|_| parts.len() < SECTIONS.len()) {
        let plausible = length > LEAST && length <= loader.len() - offset;
        if plausible {
            let Some(left) = budget.checked_sub(length) else { break };
            budget = left;
        }
        match plausible.then(|| part(loader, offset, length, &mut unpacked)).flatten() {
            Some(part) => {
                offset += part.packed;
                parts.push(part);
            }
            None => offset += 1,
        }
    }
    parts
}

fn number(bytes: &[u8], offset: usize) -> Option<usize> {
    let four = bytes.get(offset..offset + 4)?.try_into().ok()?;
    usize::try_from(u32::from_le_bytes(four)).ok()
}

/// Unpacks the part at `offset`, whose packed data and checksum take `length` bytes. Subtracts the unpacked size from
/// `budget`.
fn part(loader: &[u8], offset: usize, length: usize, budget: &mut usize) -> Option<PackedPart> {
    let packed = loader.get(offset + 4..offset + length)?;
    let checksum = number(loader, offset + length)?;
    let mut crc = flate2::Crc::new();
    crc.update(packed);
    if usize::try_from(!crc.sum()) != Ok(checksum) {
        return None;
    }
    let mut content = Vec::with_capacity((packed.len() * 4).min(*budget));
    let whole = decompress(packed, &mut content, *budget);
    *budget = budget.saturating_sub(content.len());
    whole?;
    restore_calls(&mut content);
    Some(PackedPart { offset, packed: length + 4, content })
}

/// Decompresses `packed` into `content`, up to `most` bytes; `None` if that is not all, or if the data is corrupt.
fn decompress(packed: &[u8], content: &mut Vec<u8>, most: usize) -> Option<()> {
    let mut options = LzmaOptions::new_preset(6).ok()?;
    options.literal_context_bits(2).literal_position_bits(0).position_bits(0);
    let mut filters = Filters::new();
    filters.lzma1(&options);
    let mut decoder = Stream::new_raw_decoder(&filters).ok()?;
    loop {
        let read = usize::try_from(decoder.total_in()).ok()?;
        match decoder.process_vec(packed.get(read..)?, content, Action::Run).ok()? {
            Status::StreamEnd => return Some(()),
            _ if content.len() == content.capacity() && content.len() < most => {
                content.reserve_exact(content.len().min(most - content.len()));
            }
            _ => return None,
        }
    }
}

/// The opcodes of a call and a jump with a relative target of four bytes.
const CALLS: [u8; 2] = [0xe8, 0xe9];

/// Converts the targets of calls and jumps from absolute, as packed, back to relative.
fn restore_calls(code: &mut [u8]) {
    let Some(limit) = i32::try_from(code.len()).ok().map(|length| length - 5) else { return };
    let mut offset = 0;
    while offset <= limit {
        let at = offset.cast_unsigned() as usize;
        if CALLS.contains(&code[at]) {
            let target = i32::from_le_bytes([code[at + 1], code[at + 2], code[at + 3], code[at + 4]]);
            let restored = if (0..limit).contains(&target) {
                target - offset
            } else if (-offset..0).contains(&target) {
                target + limit
            } else {
                target
            };
            code[at + 1..at + 5].copy_from_slice(&restored.to_le_bytes());
            offset += 4;
        }
        offset += 1;
    }
}

#[cfg(test)]
mod tests {
    use netboot_fixtures::packed::pack;
    use netboot_fixtures::property::one_in;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_packed_comes_out_again() {
        // Near and far calls, forwards and backwards, among other bytes.
        let mut first = vec![0x90; 600];
        for (at, target) in
            [(0, 5), (10, -10), (20, 400), (300, -250), (310, 580), (400, 599), (500, -700), (590, i32::MAX)]
        {
            first[at] = 0xe8 + u8::from(at % 20 == 0);
            first[at + 1..at + 5].copy_from_slice(&i32::to_le_bytes(target));
        }
        let second = b"#!ipxe\nshell\n".repeat(50);
        let loader = [b"prefix\0\0".to_vec(), pack(&first), vec![0xff; 7], pack(&second), b"end".to_vec()].concat();
        let parts = unpack(&loader);
        assert_eq!(parts.iter().map(|part| part.offset).collect::<Vec<_>>(), [8, 8 + parts[0].packed + 7]);
        assert!(parts[0].content == first && parts[1].content == second);
        let mut spoiled = loader;
        spoiled[20] ^= 1;
        assert_eq!(unpack(&spoiled).len(), 1);
    }

    #[test]
    fn all_parts_of_a_loader_share_one_limit() {
        let part = pack(&[7; 3000]);
        let lengths = |loader: &[u8], most| -> Vec<usize> {
            unpack_within(loader, most).iter().map(|part| part.content.len()).collect()
        };
        let loader = part.repeat(4);
        assert_eq!(lengths(&loader, 12_000), [3000; 4]);
        assert_eq!(lengths(&loader, 11_999), [3000; 3]);
        assert_eq!(lengths(&loader, 2999), [0; 0]);
        // Data that unpacks to a lot and then turns out not to be a part also counts.
        let mut cut = part[4..part.len() - 8].to_vec();
        let mut crc = flate2::Crc::new();
        crc.update(&cut);
        cut.extend((!crc.sum()).to_le_bytes());
        let cut = [&u32::try_from(cut.len()).unwrap().to_le_bytes()[..], &cut].concat();
        let loader = [cut, part].concat();
        assert_eq!((lengths(&loader, 6000).len(), lengths(&loader, 3000).len()), (1, 0));
    }

    #[test]
    fn what_is_not_packed_has_no_parts() {
        for bytes in [&b""[..], b"abc", &[0xff; 100], &[5, 0, 0, 0, 1, 2, 3, 4, 5]] {
            assert_eq!(unpack(bytes), []);
        }
    }

    proptest! {
        #![proptest_config(one_in(16))]

        #[test]
        fn whatever_was_packed_comes_out_again(
            contents in prop::collection::vec(
                prop::collection::vec(prop_oneof![Just(0xe8), Just(0), Just(0xff), any::<u8>()], 64..400), 1..3),
            at in any::<prop::sample::Index>(), bit in 0..8_u8,
        ) {
            let loader: Vec<u8> = contents.iter()
                .flat_map(|content| [b"prefix".to_vec(), pack(content)].concat())
                .collect();
            let found: Vec<Vec<u8>> = unpack(&loader).into_iter().map(|part| part.content).collect();
            prop_assert_eq!(&found, &contents);
            let mut spoiled = loader;
            let at = at.index(spoiled.len());
            spoiled[at] ^= 1 << bit;
            prop_assert!(unpack(&spoiled).into_iter().all(|part| contents.contains(&part.content)));
        }
    }
}
