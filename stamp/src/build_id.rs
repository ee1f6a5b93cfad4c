//! The build id of an EFI loader: the POSIX `cksum` of all linked bytes, in make's order. The build id of a stamped
//! loader follows from that of its base, because a CRC is linear: the effect of another slot depends only on the two
//! slots and the number of bytes after them.

use std::io::{self, Read};

use crc::{Algorithm, CRC_32_CKSUM, Crc, Digest, Table};
use serde::{Deserialize, Serialize};

/// The polynomial of `cksum`, without its highest bit.
const POLYNOMIAL: u32 = 0x04c1_1db7;

/// The polynomial division alone, without the final inversion of `cksum`.
const REMAINDER: Algorithm<u32> = Algorithm { xorout: 0, ..CRC_32_CKSUM };

static CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&REMAINDER);

/// Dependence of the build id on the slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BuildId {
    /// Build id for a slot filled with zero bytes.
    zero: u32,
    /// Factor for the remainder of a slot: x to the power of the number of bits that follow the slot.
    factor: u32,
}

impl BuildId {
    /// Derives the dependence from a stream of `length` bytes with the build id `id`, of which `tail` follow `slot`.
    fn new(id: u32, slot: &[u8], tail: u64, length: u64) -> Self {
        // `cksum` appends the length, without leading zeros.
        let length_bytes = u64::from((u64::BITS - length.leading_zeros()).div_ceil(8));
        let factor = power_of_x(8 * (tail + length_bytes));
        Self { zero: id ^ multiply(remainder(slot), factor), factor }
    }

    /// Returns the build id of a loader with `slot`.
    #[must_use]
    pub fn of(self, slot: &[u8]) -> u32 {
        self.zero ^ multiply(remainder(slot), self.factor)
    }
}

/// Properties of a stream of linked bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkedImage {
    /// The stream's `cksum`.
    pub id: u32,
    /// Number of occurrences of the slot.
    pub slots: usize,
    /// Dependence of the build id on the slot, valid if the slot occurs once.
    pub law: BuildId,
}

/// Reads `linked`, the bytes that a build id is the checksum of, and searches them for `slot`.
///
/// # Errors
///
/// Any error from reading `linked`.
pub fn read(linked: &mut dyn Read, slot: &[u8]) -> io::Result<LinkedImage> {
    let mut digest = CRC.digest();
    let (mut length, mut slots, mut end_of_slot) = (0, 0, 0);
    // Keeps enough of the earlier pieces to find a slot that spans two pieces.
    let mut window = Vec::with_capacity(slot.len() + PIECE);
    let mut piece = vec![0; PIECE];
    loop {
        let read = match linked.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        digest.update(&piece[..read]);
        window.extend_from_slice(&piece[..read]);
        length += read as u64;
        for found in memchr::memmem::find_iter(&window, slot) {
            slots += 1;
            end_of_slot = length - (window.len() - found - slot.len()) as u64;
        }
        window.drain(..window.len().saturating_sub(slot.len() - 1));
    }
    let id = finish(digest, length);
    Ok(LinkedImage { id, slots, law: BuildId::new(id, slot, length - end_of_slot, length) })
}

/// Size of a read, in bytes.
const PIECE: usize = 1 << 18;

fn finish(mut digest: Digest<'_, u32, Table<16>>, length: u64) -> u32 {
    let bytes = length.to_le_bytes();
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    digest.update(&bytes[..used]);
    !digest.finalize()
}

/// Returns the remainder of `bytes` as a polynomial.
fn remainder(bytes: &[u8]) -> u32 {
    CRC.checksum(bytes)
}

/// Returns the product of two polynomials, modulo [`POLYNOMIAL`].
fn multiply(a: u32, b: u32) -> u32 {
    (0..u32::BITS).rev().fold(0, |sum, bit| {
        let doubled = (sum << 1) ^ if sum >> 31 == 1 { POLYNOMIAL } else { 0 };
        if b >> bit & 1 == 1 { doubled ^ a } else { doubled }
    })
}

/// Returns x to the power of `exponent`, modulo [`POLYNOMIAL`].
fn power_of_x(mut exponent: u64) -> u32 {
    let (mut power, mut square) = (1, 2);
    while exponent > 0 {
        if exponent & 1 == 1 {
            power = multiply(power, square);
        }
        square = multiply(square, square);
        exponent >>= 1;
    }
    power
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "test data")]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_what_cksum_says() {
        // `printf 123456789 | cksum`, and `cksum` of an empty input.
        assert_eq!(read(&mut &b"123456789"[..], b"no").unwrap().id, 930_766_865);
        assert_eq!(read(&mut &b""[..], b"no").unwrap().id, 4_294_967_295);
        let long: Vec<u8> = (0..700_000_u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
        let simple = Crc::<u32, crc::NoTable>::new(&CRC_32_CKSUM);
        let with_length = [&long[..], &[0x60, 0xae, 0x0a]].concat();
        assert_eq!(read(&mut &long[..], b"no").unwrap().id, simple.checksum(&with_length));
    }

    #[test]
    fn the_id_of_another_slot_follows_from_the_first() {
        for (before, after) in [(0, 0), (3, 1), (PIECE - 50, 70_000), (PIECE, 255), (10, 1 << 16)] {
            let stream = |slot: &[u8]| {
                let noise = |n: usize| (0..n).map(|i| (i * 31 % 251) as u8).collect::<Vec<_>>();
                [noise(before), slot.to_vec(), noise(after)].concat()
            };
            let first = [b'A'; 100];
            let linked = read(&mut &stream(&first)[..], &first).unwrap();
            assert_eq!(linked.slots, 1);
            assert_eq!(linked.law.of(&first), linked.id);
            for other in [[0; 100], [0xff; 100], std::array::from_fn(|i| i as u8)] {
                assert_eq!(
                    linked.law.of(&other),
                    read(&mut &stream(&other)[..], &other).unwrap().id,
                    "{before} {after}"
                );
            }
        }
    }

    #[test]
    fn a_slot_that_is_there_twice_is_counted() {
        let slot = [7; 100];
        let stream = [&slot[..], b"between", &slot].concat();
        assert_eq!(read(&mut &stream[..], &slot).unwrap().slots, 2);
        assert_eq!(read(&mut &b"nothing"[..], &slot).unwrap().slots, 0);
    }
}
