//! Stamps scripts into bases.

use std::collections::HashMap;
use std::ops::Range;

use crate::base::{self, Base, BaseKind, BaseRecord};
use crate::digest::Content;
use crate::lzma::{self, Encoder};
use crate::slot::Slot;
use crate::zbin::{self, CallFilter, Instruction, ZbinPart};

/// Errors from stamping a loader.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The slot does not fit the base.
    #[error(transparent)]
    Base(#[from] base::Error),
    /// This program's liblzma gives other bytes than the liblzma that the base was built with.
    #[error("`{0}` cannot be packed here: another version of liblzma made its base, and the outcome would differ")]
    ForeignPacker(String),
    /// The encoder failed.
    #[error(transparent)]
    Lzma(#[from] lzma::Error),
    /// The instructions of a BIOS loader cannot be followed.
    #[error(transparent)]
    Zbin(#[from] zbin::Error),
}

/// Maximum memory of what a stamper keeps, in bytes.
const MAX_KEPT: usize = 64 << 20;

/// Stamps scripts into bases. For BIOS loaders, it keeps an encoder and the parts that all loaders of a base have in
/// common: of the bases that were used last, up to 64 MiB. To stamp many loaders, keep one stamper in each thread. EFI
/// applications need no such state.
#[derive(Default)]
pub struct Stamper {
    encoder: Option<Encoder>,
    /// Packers by the records of their bases.
    packers: HashMap<BaseRecord, KeptPacker>,
    /// Memory of all packers, in bytes.
    kept: usize,
    /// Number of uses so far.
    uses: u64,
}

/// A packer that is kept for the next loader of its base.
struct KeptPacker {
    /// `None` if this program's output differs from the reference loader.
    packer: Option<Packer>,
    /// Memory that it takes, in bytes.
    size: usize,
    /// Number of the last use.
    used: u64,
}

impl Stamper {
    /// Creates a stamper without any prepared bases.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Does the slow work in advance, so that no call of [`Self::stamp`] for `base` has to: encodes the common parts of
    /// the loaders of a BIOS base, packs the base itself, and compares the result with its record. Does nothing for an
    /// EFI application.
    ///
    /// # Errors
    ///
    /// [`Error`] if the base cannot be packed, or packing it gives other bytes.
    pub fn prepare(&mut self, base: &Base) -> Result<(), Error> {
        match base.record().kind {
            BaseKind::Efi { .. } => Ok(()),
            BaseKind::Bios { loader, .. } => self.packer(base, loader).map(drop),
        }
    }

    /// Returns the loader of `base` with `slot`, identical to a build with that slot.
    ///
    /// # Errors
    ///
    /// [`Error`] if the slot has another size than the base's, or the base cannot be packed.
    pub fn stamp(&mut self, base: &Base, slot: &Slot) -> Result<Vec<u8>, Error> {
        let BaseKind::Bios { loader, .. } = base.record().kind else { return Ok(base.image_with(slot)?) };
        base.check(slot)?;
        let (packer, encoder) = self.packer(base, loader)?;
        packer.pack(base, slot.bytes(), encoder)
    }

    /// Returns the packer for `base`, whose unstamped loader is `loader`.
    fn packer(&mut self, base: &Base, loader: Content) -> Result<(&Packer, &mut Encoder), Error> {
        let encoder = match &mut self.encoder {
            Some(encoder) => encoder,
            empty => empty.insert(Encoder::new()?),
        };
        self.uses += 1;
        if !self.packers.contains_key(base.record()) {
            let packer = Packer::new(base, encoder)?;
            let own = packer.pack(base, &base.image()[base.slot()], encoder)?;
            let packer = if Content::of(&own) == loader {
                Some(packer)
            } else {
                packer.forget(encoder);
                None
            };
            let size = packer.as_ref().map_or(0, |packer| packer.size(encoder));
            while self.kept + size > MAX_KEPT && make_room(&mut self.packers, &mut self.kept, encoder) {}
            self.kept += size;
            self.packers.insert(base.record().clone(), KeptPacker { packer, size, used: self.uses });
        }
        let foreign = || Error::ForeignPacker(base.record().loader.clone());
        let kept = self.packers.get_mut(base.record()).ok_or_else(foreign)?;
        kept.used = self.uses;
        Ok((kept.packer.as_ref().ok_or_else(foreign)?, encoder))
    }
}

/// Forgets the packer of the base that was used longest ago. Returns whether there was any.
fn make_room(packers: &mut HashMap<BaseRecord, KeptPacker>, kept: &mut usize, encoder: &mut Encoder) -> bool {
    let mut last: Vec<_> = packers.iter().filter(|(_, kept)| kept.size > 0).collect();
    last.sort_unstable_by_key(|(_, kept)| kept.used);
    let Some(base) = last.first().map(|(base, _)| (*base).clone()) else { return false };
    if let Some(KeptPacker { packer: Some(packer), size, .. }) = packers.remove(&base) {
        packer.forget(encoder);
        *kept -= size;
    }
    true
}

impl Base {
    /// Stamps a single loader with `slot`. For a BIOS base, each call repeats the work that [`Stamper::prepare`] does
    /// once.
    ///
    /// # Errors
    ///
    /// [`Error`] if the slot has another size than the base's, or the base cannot be packed.
    pub fn stamp(&self, slot: &Slot) -> Result<Vec<u8>, Error> {
        Stamper::new().stamp(self, slot)
    }
}

/// The parts that all loaders of a BIOS base have in common.
struct Packer {
    /// Packed parts, by the numbers of their instructions.
    parts: HashMap<usize, Packed>,
}

/// A packed part of a loader.
enum Packed {
    /// Identical in all loaders.
    Same(Vec<u8>),
    /// Identical only up to the slot.
    Begun {
        /// Number of the common prefix in the encoder.
        beginning: usize,
        /// State of the filter at the end of the common prefix.
        filter: CallFilter,
        /// Range of the remainder in the image, in bytes.
        rest: Range<usize>,
    },
}

impl Packer {
    fn new(base: &Base, encoder: &mut Encoder) -> Result<Self, Error> {
        let mut parts = HashMap::new();
        for (number, instruction) in base.instructions().iter().enumerate() {
            if let Instruction::Pack(part) = instruction {
                parts.insert(number, Packed::new(base, *part, encoder)?);
            }
        }
        Ok(Self { parts })
    }

    /// Returns the memory that it takes, in bytes, with that of `encoder`.
    fn size(&self, encoder: &Encoder) -> usize {
        let sizes = self.parts.values().map(|part| match part {
            Packed::Same(packed) => packed.len(),
            Packed::Begun { beginning, .. } => encoder.size(*beginning),
        });
        sizes.sum()
    }

    /// Takes what is kept for it out of `encoder`.
    fn forget(&self, encoder: &mut Encoder) {
        for part in self.parts.values() {
            if let Packed::Begun { beginning, .. } = part {
                encoder.forget(*beginning);
            }
        }
    }

    /// Returns the loader of `base` with `slot`.
    fn pack(&self, base: &Base, slot: &[u8], encoder: &mut Encoder) -> Result<Vec<u8>, Error> {
        let mut image = base.image().to_vec();
        image[base.slot()].copy_from_slice(slot);
        zbin::assemble(&image, base.instructions(), &mut |number| match &self.parts[&number] {
            Packed::Same(packed) => Ok(packed.clone()),
            Packed::Begun { beginning, filter, rest } => {
                let mut code = image[rest.clone()].to_vec();
                filter.clone().pass(&mut code);
                Ok(encoder.finish(*beginning, &code)?)
            }
        })
    }
}

impl Packed {
    fn new(base: &Base, part: ZbinPart, encoder: &mut Encoder) -> Result<Self, Error> {
        let mut code = part.of(base.image())?.to_vec();
        let mut filter = CallFilter::new(code.len());
        let slot = base.slot();
        let end = part.offset + part.length;
        if slot.end <= part.offset || slot.start >= end {
            filter.pass(&mut code);
            return Ok(Self::Same(encoder.encode(&code)?));
        }
        // A call right before the slot may extend into it, so the filter stops before the first such call.
        let done = filter.pass(&mut code[..slot.start.saturating_sub(part.offset)]);
        let beginning = encoder.begin(&code[..done])?;
        Ok(Self::Begun { beginning, filter, rest: part.offset + done..end })
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss, reason = "test data")]
mod tests {
    use liblzma::stream::{Action, Filters, LzmaOptions, Status, Stream};

    use super::*;
    use crate::slot::SlotSize;
    use netboot_fixtures::property::one_in;
    use proptest::prelude::*;

    const SIZE: SlotSize = SlotSize::DEFAULT;

    /// Does the work of `zbin` step by step without using this crate: its own filter, the encoder of the safe crate,
    /// and the checksum of another crate.
    fn zbin(image: &[u8], zinfo: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for record in zinfo.chunks(16) {
            let number = |at: usize| u32::from_le_bytes(record[at..at + 4].try_into().unwrap()) as usize;
            let mut part = image[number(4)..number(4) + number(8)].to_vec();
            out.resize(out.len().next_multiple_of(number(12)), 0xff);
            if &record[..4] == b"COPY" {
                out.extend(part);
                continue;
            }
            absolute_calls(&mut part);
            let packed = encode(&part);
            let mut crc = flate2::Crc::new();
            crc.update(&packed);
            out.extend(u32::try_from(packed.len() + 4).unwrap().to_le_bytes());
            out.extend(packed);
            out.extend((!crc.sum()).to_le_bytes());
        }
        out
    }

    fn absolute_calls(code: &mut [u8]) {
        let limit = code.len() as i32 - 5;
        let mut offset = 0;
        while offset <= limit {
            let at = offset as usize;
            if code[at] == 0xe8 || code[at] == 0xe9 {
                let mut target = i32::from_le_bytes(code[at + 1..at + 5].try_into().unwrap());
                if target >= -offset && target < limit - offset {
                    target += offset;
                } else if target >= limit - offset && target < limit {
                    target -= limit;
                }
                code[at + 1..at + 5].copy_from_slice(&target.to_le_bytes());
                offset += 4;
            }
            offset += 1;
        }
    }

    fn encode(part: &[u8]) -> Vec<u8> {
        let mut options = LzmaOptions::new_preset(6 | 1 << 31).unwrap();
        options.literal_context_bits(2).literal_position_bits(0).position_bits(0);
        let mut encoder = Stream::new_raw_encoder(Filters::new().lzma1(&options)).unwrap();
        let mut packed = Vec::with_capacity(part.len() * 2 + 1000);
        let status = encoder.process_vec(part, &mut packed, Action::Finish).unwrap();
        assert_eq!(status, Status::StreamEnd);
        packed
    }

    fn record(kind: [u8; 4], numbers: [usize; 3]) -> Vec<u8> {
        [kind.to_vec(), numbers.iter().flat_map(|number| (*number as u32).to_le_bytes()).collect()].concat()
    }

    fn noise(seed: u32, length: usize) -> Vec<u8> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        std::iter::repeat_with(&mut next).take(length).collect()
    }

    /// Returns slot contents that are likely to expose bugs.
    fn hostile() -> Vec<Vec<u8>> {
        let size = SIZE.bytes();
        let calls = |opcodes: &[u8]| opcodes.iter().cycle().take(size).copied().collect::<Vec<u8>>();
        vec![
            Vec::new(),
            b"#!ipxe\nshell\n".to_vec(),
            vec![0; size],
            vec![0xff; size],
            vec![b'\n'; size],
            calls(&[0xe8]),
            calls(&[0xe9, 0, 1, 0, 0]),
            calls(&[0xe8, 0xf0, 0xff, 0xff, 0xff]),
            "引导程序不见了".repeat(190).into_bytes(),
            noise(5, size),
            noise(6, size - 1),
        ]
    }

    /// Returns an image with `before` and `after` around its slot in a packed part, and its packing instructions.
    fn bios(before: &[u8], after: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let head = b"prefix with \xe8 code".repeat(3);
        let sentinel = Slot::sentinel(SIZE);
        let image = [&head[..], before, sentinel.bytes(), after].concat();
        let packed = image.len() - head.len();
        let zinfo = [
            record(*b"COPY", [0, 20, 16]),
            record(*b"PACK", [20, head.len() - 20, 16]),
            record(*b"PACK", [head.len(), packed, 16]),
        ];
        (image, zinfo.concat())
    }

    #[test]
    fn a_stamped_bios_loader_is_what_zbin_makes_of_the_same_image() {
        let code = |seed, length: usize| {
            let calls =
                noise(seed, length).into_iter().map(|byte| if byte < 60 { 0xe8 + byte % 2 } else { byte & 0xf });
            calls.collect::<Vec<u8>>()
        };
        let mut stamper = Stamper::new();
        for (before, after) in [
            (code(1, 50_000), code(2, 9000)),
            (code(3, 7), code(4, 3)),
            (b"x\xe8".to_vec(), Vec::new()),
            (b"\xe9abc".to_vec(), b"\xe8".to_vec()),
            (Vec::new(), code(7, 5000)),
        ] {
            let (image, zinfo) = bios(&before, &after);
            let base = Base::capture_bios("x.pxe", image, zinfo.clone(), &zbin(&bios(&before, &after).0, &zinfo), SIZE);
            let base = base.unwrap();
            stamper.prepare(&base).unwrap();
            for content in hostile() {
                let slot = Slot::fill(&content, SIZE).unwrap();
                let stamped = stamper.stamp(&base, &slot).unwrap();
                assert!(stamped == zbin(&base.image_with(&slot).unwrap(), &zinfo), "{} {content:?}", before.len());
            }
        }
    }

    #[test]
    fn of_many_bases_those_that_were_used_last_are_kept() {
        let mut stamper = Stamper::new();
        let slot = Slot::sentinel(SIZE);
        let bases: Vec<Base> = (0..6)
            .map(|seed| {
                let (image, zinfo) = bios(&noise(seed, 1_500_000), b"after");
                Base::capture_bios("x.pxe", image.clone(), zinfo.clone(), &zbin(&image, &zinfo), SIZE).unwrap()
            })
            .collect();
        for base in bases.iter().chain(&bases[..1]) {
            let stamped = stamper.stamp(base, &slot).unwrap();
            assert!(matches!(base.record().kind, BaseKind::Bios { loader, .. } if Content::of(&stamped) == loader));
            let sizes: usize = stamper.packers.values().map(|kept| kept.size).sum();
            assert!(stamper.kept == sizes && sizes <= MAX_KEPT, "{sizes} {}", stamper.kept);
            assert!(stamper.packers.contains_key(base.record()));
        }
        let kept = stamper.packers.len();
        assert!((2..bases.len()).contains(&kept), "{kept} of {}", stamper.kept);
        assert!(!stamper.packers.contains_key(bases[1].record()));
    }

    #[test]
    fn what_another_liblzma_packed_is_refused_each_time() {
        let (image, zinfo) = bios(b"before", b"after");
        let mut packed = zbin(&image, &zinfo);
        *packed.last_mut().unwrap() ^= 1;
        let base = Base::capture_bios("x.pxe", image, zinfo, &packed, SIZE).unwrap();
        let mut stamper = Stamper::new();
        assert!(matches!(stamper.prepare(&base), Err(Error::ForeignPacker(_))));
        for _ in 0..2 {
            let error = stamper.stamp(&base, &Slot::sentinel(SIZE)).unwrap_err();
            assert!(matches!(error, Error::ForeignPacker(_)), "{error}");
        }
    }

    proptest! {
        #![proptest_config(one_in(64))]

        #[test]
        fn what_was_stamped_before_leaves_no_trace(
            parts in prop::array::uniform2(prop::collection::vec(prop_oneof![Just(0xe8), Just(0), any::<u8>()], 0..300)),
            contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..4096), 1..3),
        ) {
            let (image, zinfo) = bios(&parts[0], &parts[1]);
            let base = Base::capture_bios("x.pxe", image.clone(), zinfo.clone(), &zbin(&image, &zinfo), SIZE).unwrap();
            let mut stamper = Stamper::new();
            stamper.prepare(&base).unwrap();
            for content in contents.iter().chain(&contents[..1]) {
                let slot = Slot::fill(content, SIZE).unwrap();
                let wanted = zbin(&base.image_with(&slot).unwrap(), &zinfo);
                prop_assert!(stamper.stamp(&base, &slot).unwrap() == wanted);
            }
        }
    }
}
