//! The work of iPXE's `zbin` on the image of a BIOS loader, according to its source: a list of instructions (`.zinfo`)
//! defines which parts of the image are copied, which are packed, and which numbers are corrected by a length in the
//! output.

use crc::{Algorithm, CRC_32_ISO_HDLC, Crc, Table};

use crate::printable::printable;

/// An instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instruction {
    /// Copies a part of the image.
    Copy(ZbinPart),
    /// Packs a part of the image.
    Pack(ZbinPart),
    /// The payload starts here.
    Payload {
        /// Alignment of the payload in the output, a power of two.
        align: usize,
    },
    /// Adds a length to a number.
    Add(Correction),
}

/// A part of the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZbinPart {
    /// Offset in bytes.
    pub offset: usize,
    /// Length in bytes.
    pub length: usize,
    /// Alignment in the output, a power of two.
    pub align: usize,
}

/// A number in the output that a length is added to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Correction {
    /// Length to add.
    measured: Measured,
    /// Offset of the number, from the start of the output or of the payload.
    offset: usize,
    in_payload: bool,
    /// Size of the number in bytes: 1, 2 or 4.
    size: usize,
    /// Unit of the length, in bytes.
    divisor: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Measured {
    Whole,
    Header,
    Payload,
}

/// Errors from following instructions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An instruction that BIOS loaders do not use.
    #[error("there is no instruction `{}`", printable(.0))]
    Unknown(String),
    /// The list of instructions is truncated.
    #[error("the instructions have {0} bytes, wanted a multiple of 16")]
    Torn(usize),
    /// An instruction points outside the image or the output.
    #[error("an instruction leads out of the loader")]
    Outside,
    /// The instructions are unlike those of any loader.
    #[error("{0}")]
    Strange(&'static str),
    /// The output would be larger than any loader.
    #[error("the instructions make more than {MAX} bytes")]
    TooLarge,
    /// A corrected number is too large for its field.
    #[error("the loader is too large: a length does not fit its {0} bytes")]
    Overflow(usize),
}

/// Maximum number of packed parts; iPXE's loaders have four.
const MOST_PARTS: usize = 16;

/// Maximum number of instructions; iPXE's loaders have eight.
const MOST: usize = 4096;

/// Maximum output of the instructions before packing, in bytes: a loader with all drivers has one million.
const MAX: usize = 4 << 20;

/// Parses the content of a `.zinfo`.
///
/// # Errors
///
/// [`Error`] if an instruction is unknown or invalid.
pub fn parse(zinfo: &[u8]) -> Result<Vec<Instruction>, Error> {
    let (records, rest) = zinfo.as_chunks::<16>();
    if !rest.is_empty() {
        return Err(Error::Torn(zinfo.len()));
    }
    // An instruction takes several times as many bytes in memory.
    if records.len() > MOST {
        return Err(Error::Strange("there are more instructions than any loader has"));
    }
    let instructions = records.iter().map(instruction).collect::<Result<Vec<_>, _>>()?;
    let packed: Vec<ZbinPart> = instructions
        .iter()
        .filter_map(|it| if let Instruction::Pack(part) = it { Some(*part) } else { None })
        .collect();
    if packed.len() > MOST_PARTS {
        return Err(Error::Strange("there are more packed parts than any loader has"));
    }
    // `zbin` filters a part in place, so a packed part can no longer be copied or packed again.
    let again = |part: &ZbinPart| packed.iter().filter(|other| other.overlaps(*part)).count();
    let twice = instructions.iter().any(|instruction| match instruction {
        Instruction::Copy(part) => again(part) > 0,
        Instruction::Pack(part) => again(part) > 1,
        Instruction::Payload { .. } | Instruction::Add(_) => false,
    });
    if twice {
        return Err(Error::Strange("a packed part is there twice"));
    }
    let made = instructions.iter().fold(0_usize, |made, instruction| made.saturating_add(instruction.makes()));
    if made > MAX { Err(Error::TooLarge) } else { Ok(instructions) }
}

impl Instruction {
    /// Returns the maximum number of bytes that it produces before packing.
    fn makes(&self) -> usize {
        match self {
            Self::Copy(part) | Self::Pack(part) => part.align.saturating_add(part.length),
            Self::Payload { align } => *align,
            Self::Add(_) => 0,
        }
    }
}

fn instruction(record: &[u8; 16]) -> Result<Instruction, Error> {
    let (words, _) = record.as_chunks::<4>();
    let [offset, length, align] = [1, 2, 3].map(|index| u32::from_le_bytes(words[index]) as usize);
    // The masks of `zbin` work only with powers of two.
    let unit = |unit: usize| {
        if unit.is_power_of_two() { Ok(unit) } else { Err(Error::Strange("a unit is not a power of two")) }
    };
    let part = || Ok(ZbinPart { offset, length, align: unit(align)? });
    let size = match words[0][3] {
        b'B' => 1,
        b'W' => 2,
        _ => 4,
    };
    let add = |measured, in_payload| {
        Ok(Instruction::Add(Correction { measured, offset, in_payload, size, divisor: unit(length)? }))
    };
    match &words[0] {
        b"COPY" => Ok(Instruction::Copy(part()?)),
        b"PACK" => Ok(Instruction::Pack(part()?)),
        b"PAYL" => Ok(Instruction::Payload { align: unit(align)? }),
        b"ADDB" | b"ADDW" | b"ADDL" => add(Measured::Whole, false),
        b"ADHB" | b"ADHW" | b"ADHL" => add(Measured::Header, false),
        b"ADPB" | b"ADPW" | b"ADPL" => add(Measured::Payload, false),
        b"APPB" | b"APPW" | b"APPL" => add(Measured::Payload, true),
        unknown => Err(Error::Unknown(String::from_utf8_lossy(unknown).into_owned())),
    }
}

impl ZbinPart {
    fn overlaps(self, other: Self) -> bool {
        let end = |part: Self| part.offset.saturating_add(part.length);
        self.length > 0 && other.length > 0 && self.offset < end(other) && other.offset < end(self)
    }

    /// Returns the part's bytes in `image`.
    ///
    /// # Errors
    ///
    /// [`Error::Outside`] if the part exceeds the image.
    pub fn of(self, image: &[u8]) -> Result<&[u8], Error> {
        self.offset.checked_add(self.length).and_then(|end| image.get(self.offset..end)).ok_or(Error::Outside)
    }
}

/// Follows `instructions` on `image`; `pack` compresses the part of the instruction with the given number.
///
/// # Errors
///
/// [`Error`] if an instruction cannot be followed, or any error from `pack`.
pub fn assemble<E: From<Error>>(
    image: &[u8],
    instructions: &[Instruction],
    pack: &mut dyn FnMut(usize) -> Result<Vec<u8>, E>,
) -> Result<Vec<u8>, E> {
    let mut outcome = Vec::with_capacity(image.len());
    let mut header = 0;
    for (number, instruction) in instructions.iter().enumerate() {
        match instruction {
            Instruction::Copy(part) => {
                pad(&mut outcome, part.align);
                outcome.extend_from_slice(part.of(image)?);
            }
            Instruction::Pack(part) => {
                pad(&mut outcome, part.align);
                let packed = pack(number)?;
                let length = u32::try_from(packed.len() + 4).map_err(|_| Error::Overflow(4))?;
                outcome.extend_from_slice(&length.to_le_bytes());
                outcome.extend_from_slice(&packed);
                outcome.extend_from_slice(&checksum(&packed).to_le_bytes());
            }
            Instruction::Payload { align } => {
                pad(&mut outcome, *align);
                header = outcome.len();
            }
            Instruction::Add(correction) => correction.apply(&mut outcome, header)?,
        }
    }
    Ok(outcome)
}

fn pad(outcome: &mut Vec<u8>, align: usize) {
    outcome.resize(outcome.len().next_multiple_of(align), 0xff);
}

/// Returns the checksum of a packed part: a CRC-32 without the final inversion.
fn checksum(packed: &[u8]) -> u32 {
    const PLAIN: Algorithm<u32> = Algorithm { xorout: 0, ..CRC_32_ISO_HDLC };
    static CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&PLAIN);
    CRC.checksum(packed)
}

impl Correction {
    fn apply(self, outcome: &mut [u8], header: usize) -> Result<(), Error> {
        let measured = match self.measured {
            Measured::Whole => outcome.len(),
            Measured::Header => header,
            Measured::Payload => outcome.len() - header,
        };
        let start = self.offset.saturating_add(if self.in_payload { header } else { 0 });
        let place = start.checked_add(self.size).and_then(|end| outcome.get_mut(start..end)).ok_or(Error::Outside)?;
        // The number at this offset is signed.
        let sign = if place[self.size - 1] & 0x80 == 0 { 0 } else { 0xff };
        let mut wide = [sign; 8];
        wide[..self.size].copy_from_slice(place);
        let units = i64::try_from(measured.div_ceil(self.divisor)).map_err(|_| Error::Overflow(self.size))?;
        let sum = i64::from_le_bytes(wide) + units;
        let fits = u64::try_from(sum).is_ok_and(|sum| sum >> (8 * self.size) == 0);
        if !fits {
            return Err(Error::Overflow(self.size));
        }
        place.copy_from_slice(&sum.to_le_bytes()[..self.size]);
        Ok(())
    }
}

/// Opcodes of a call and of a jump, each with a relative target of four bytes.
const CALLS: [u8; 2] = [0xe8, 0xe9];

/// The filter that a part passes through before compression: it makes the targets of calls and jumps absolute. It
/// proceeds from start to end, and can be interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallFilter {
    /// Offset of the next possible instruction.
    next: usize,
    /// Length of the whole part, in bytes.
    length: usize,
}

impl CallFilter {
    /// Creates a filter for a part of `length` bytes.
    #[must_use]
    pub fn new(length: usize) -> Self {
        Self { next: 0, length }
    }

    /// Continues over `code`: all the bytes from the current position on, or only the first of them. It stops at an
    /// instruction that may extend beyond `code`. Returns how many bytes of `code` are done.
    pub fn pass(&mut self, code: &mut [u8]) -> usize {
        let begin = self.next;
        let last = self.length.min(begin + code.len());
        while self.next + 5 <= last {
            let at = self.next - begin;
            if CALLS.contains(&code[at])
                && let Some(place) = code[at + 1..].first_chunk_mut::<4>()
            {
                *place = self.absolute(i32::from_le_bytes(*place)).to_le_bytes();
                self.next += 4;
            }
            self.next += 1;
        }
        self.next - begin
    }

    /// Returns the packed target of the call at `next`. Targets that would collide with converted ones are moved.
    fn absolute(self, target: i32) -> i32 {
        let [offset, length] = [self.next, self.length].map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
        let limit = length - 5;
        let wide = i64::from(target);
        let moved = if (-offset..limit - offset).contains(&wide) {
            wide + offset
        } else if (limit - offset..limit).contains(&wide) {
            wide - limit
        } else {
            wide
        };
        i32::try_from(moved).unwrap_or(target)
    }
}

#[cfg(test)]
mod tests {
    use netboot_fixtures::property::one_in;
    use proptest::prelude::*;

    use super::*;

    fn record(kind: [u8; 4], numbers: [u32; 3]) -> Vec<u8> {
        [kind.to_vec(), numbers.iter().flat_map(|number| number.to_le_bytes()).collect()].concat()
    }

    fn assembled(image: &[u8], zinfo: &[Vec<u8>]) -> Result<Vec<u8>, Error> {
        let instructions = parse(&zinfo.concat())?;
        assemble(image, &instructions, &mut |number| {
            let Instruction::Pack(part) = instructions[number] else { return Err(Error::Outside) };
            Ok(part.of(image)?.to_vec())
        })
    }

    #[test]
    fn instructions_are_followed() {
        let image = b"\x01\xfeheadpayload";
        let zinfo = [
            record(*b"COPY", [0, 6, 16]),
            record(*b"PAYL", [0, 0, 4]),
            record(*b"PACK", [6, 7, 4]),
            record(*b"ADDB", [0, 8, 0]),
            record(*b"ADPB", [1, 1, 0]),
            record(*b"APPW", [4, 1, 0]),
        ];
        let outcome = assembled(image, &zinfo).unwrap();
        // 23 bytes in units of 8, plus 1; a payload of 15 bytes, plus -2; "pa" as a number, plus 15.
        assert_eq!(outcome[..8], *b"\x04\x0dhead\xff\xff");
        assert_eq!(outcome[8..12], [11, 0, 0, 0]);
        assert_eq!(outcome[12..19], [b'p' + 15, b'a', b'y', b'l', b'o', b'a', b'd']);
        let mut crc = flate2::Crc::new();
        crc.update(b"payload");
        assert_eq!(outcome[19..], (!crc.sum()).to_le_bytes());
    }

    #[test]
    fn what_cannot_be_followed_is_refused() {
        for (zinfo, error) in [
            (record(*b"ZREL", [0; 3]), "there is no instruction `ZREL`"),
            (b"COPY".to_vec(), "the instructions have 4 bytes, wanted a multiple of 16"),
            (record(*b"COPY", [2, 9, 1]), "an instruction leads out of the loader"),
            (record(*b"PACK", [u32::MAX, 9, 1]), "an instruction leads out of the loader"),
            (record(*b"PACK", [0, u32::MAX, 1]), "the instructions make more than 4194304 bytes"),
            (record(*b"PAYL", [0, 0, 1 << 31]), "the instructions make more than 4194304 bytes"),
            (record(*b"PAYL", [0, 0, 12]), "a unit is not a power of two"),
            (record(*b"ADDW", [0, 0, 0]), "a unit is not a power of two"),
            (record(*b"PACK", [0, 1, 1]).repeat(17), "there are more packed parts than any loader has"),
            (record(*b"ADDL", [0, 1, 1]).repeat(4097), "there are more instructions than any loader has"),
            ([record(*b"PACK", [0, 4, 1]), record(*b"COPY", [3, 4, 1])].concat(), "a packed part is there twice"),
            ([record(*b"PACK", [0, 4, 1]), record(*b"PACK", [3, 4, 1])].concat(), "a packed part is there twice"),
            (record(*b"ADDL", [0, 1, 0]), "an instruction leads out of the loader"),
            (
                [record(*b"COPY", [0, 200, 1]), record(*b"ADDB", [0, 1, 0])].concat(),
                "the loader is too large: a length does not fit its 1 bytes",
            ),
        ] {
            let image = if zinfo.len() > 16 { &[0x7f; 200][..] } else { &[0x7f; 10] };
            assert_eq!(assembled(image, &[zinfo]).unwrap_err().to_string(), error);
        }
    }

    #[test]
    fn a_pass_in_pieces_is_the_pass_over_the_whole() {
        // Calls to near and far targets, some of which overlap.
        let calls = (0..600_u16).flat_map(|i| {
            let target = i32::from(i.wrapping_mul(2029) % 7000) - 3500;
            [&[0xe8 + (i % 3) as u8][..], &target.to_le_bytes()].concat()
        });
        let code: Vec<u8> = calls.collect();
        let mut whole = code.clone();
        CallFilter::new(code.len()).pass(&mut whole);
        assert!(whole != code);
        for cut in [0, 4, 5, 999, 1000, 1001, 1002, 2996, 3000] {
            let mut pieces = code.clone();
            let mut filter = CallFilter::new(code.len());
            let done = filter.pass(&mut pieces[..cut]);
            assert!(done <= cut && done + 5 > cut, "{cut} {done}");
            filter.pass(&mut pieces[done..]);
            assert!(pieces == whole, "{cut}");
        }
    }

    proptest! {
        #![proptest_config(one_in(2))]

        #[test]
        fn a_pass_stops_and_goes_on_anywhere(
            code in prop::collection::vec(prop_oneof![
                (prop::sample::select(CALLS.to_vec()), -200..200_i32)
                    .prop_map(|(opcode, target)| [&[opcode][..], &target.to_le_bytes()].concat()),
                any::<u8>().prop_map(|byte| vec![byte]),
            ], 0..60).prop_map(|parts| parts.concat()),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        ) {
            let mut whole = code.clone();
            CallFilter::new(code.len()).pass(&mut whole);
            let (mut pieces, mut filter, mut done) = (code.clone(), CallFilter::new(code.len()), 0);
            for cut in cuts {
                let end = done + cut.index(code.len() - done + 1);
                done += filter.pass(&mut pieces[done..end]);
            }
            filter.pass(&mut pieces[done..]);
            prop_assert_eq!(pieces, whole);
        }

        #[test]
        fn whatever_the_list_the_outcome_is_bounded(
            list in prop::collection::vec((
                prop::sample::select(vec![*b"COPY", *b"COPY", *b"PACK", *b"PAYL", *b"ADDB", *b"ADHW", *b"ADPL", *b"APPW"]),
                (0..12_u32, prop_oneof![4 => 0..8_u32, 1 => any::<u32>()], prop_oneof![9 => prop_oneof![0..4_u32, 18..26_u32].prop_map(|bit| 1 << bit), 1 => any::<u32>()]),
            ), 0..4),
            image in prop::collection::vec(any::<u8>(), 12..20),
        ) {
            let list: Vec<Vec<u8>> = list.into_iter().map(|(kind, numbers)| record(kind, numbers.into())).collect();
            if let Ok(outcome) = assembled(&image, &list) {
                prop_assert!(outcome.len() <= MAX + 16 * 8);
            }
        }
    }
}
