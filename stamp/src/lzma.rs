//! Raw LZMA encoding with the parameters of `zbin`, for inputs with a common prefix: the prefix is encoded once, and
//! the encoder's state after it is restored for each input.
//!
//! liblzma cannot clone an encoder, but it accepts a custom allocator. Here, all allocations go into one mapping.
//! Between two calls, the state of an encoder is only the bytes of that mapping. They are copied out after the common
//! prefix, and copied back, to the same addresses, before each remainder. Unlike forking a child for each input, this
//! works in a process with threads, and needs no second process.
#![expect(unsafe_code, reason = "the safe crate `liblzma` lets nobody choose where it allocates")]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::rc::Rc;

use liblzma_sys as sys;
use memmap2::{MmapMut, MmapRaw, UncheckedAdvice};

/// Address space of an encoder, in bytes: more than an encoder with a dictionary of 8 MiB allocates. Only the pages
/// that are written to take memory.
const SPACE: usize = 128 << 20;

/// Alignment of every allocation, in bytes.
const ALIGN: usize = 64;

/// Size of the pages in which memory is saved, in bytes.
const PAGE: usize = 4096;

/// Output space beyond the length of the input, in bytes. It should be enough for the whole output: with `LZMA_RUN`,
/// liblzma stops encoding once it has read its input and run out of output space.
const ROOM: usize = 1 << 16;

/// Errors from encoding.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The memory for an encoder cannot be mapped.
    #[error("there is no memory for an encoder: {0}")]
    Memory(#[from] std::io::Error),
    /// liblzma has made an allocation that it did not make before, so its state cannot be restored.
    #[error("liblzma allocates while it encodes, which no version did when this was written")]
    Allocated,
    /// liblzma returned an error code.
    #[error("liblzma refuses to encode, with the code {0}")]
    Refused(sys::lzma_ret),
}

/// An encoder for inputs with known prefixes, which are numbered.
pub struct Encoder {
    space: Space,
    beginnings: BTreeMap<usize, State>,
    /// Number of the next prefix.
    next: usize,
}

/// State of an encoder after a prefix.
struct State {
    stream: sys::lzma_stream,
    memory: Saved,
    /// Output so far.
    output: Vec<u8>,
}

impl Encoder {
    /// Creates an encoder without any prefix.
    ///
    /// # Errors
    ///
    /// [`Error::Memory`] if the memory cannot be mapped.
    pub fn new() -> Result<Self, Error> {
        Ok(Self { space: Space::new()?, beginnings: BTreeMap::new(), next: 0 })
    }

    /// Encodes `input`, which shares no prefix with others.
    ///
    /// # Errors
    ///
    /// [`Error`] if liblzma fails.
    pub fn encode(&mut self, input: &[u8]) -> Result<Vec<u8>, Error> {
        let (mut stream, mut output) = (self.space.start()?, Vec::new());
        self.space.encode(&mut stream, input, &mut output, sys::LZMA_FINISH)?;
        Ok(output)
    }

    /// Encodes `input`, the common prefix of several inputs, and returns its number.
    ///
    /// # Errors
    ///
    /// [`Error`] if liblzma fails.
    pub fn begin(&mut self, input: &[u8]) -> Result<usize, Error> {
        let mut stream = self.space.start()?;
        let mut output = Vec::new();
        self.space.encode(&mut stream, input, &mut output, sys::LZMA_RUN)?;
        output.shrink_to_fit();
        let number = self.next;
        self.next += 1;
        self.beginnings.insert(number, State { stream, memory: self.space.save(), output });
        Ok(number)
    }

    /// Returns the memory that prefix number `beginning` takes, in bytes.
    pub fn size(&self, beginning: usize) -> usize {
        self.beginnings.get(&beginning).map_or(0, |state| state.output.len() + state.memory.size())
    }

    /// Forgets prefix number `beginning`.
    pub fn forget(&mut self, beginning: usize) {
        self.beginnings.remove(&beginning);
    }

    /// Encodes the input that consists of prefix number `beginning` and `rest`.
    ///
    /// # Errors
    ///
    /// [`Error`] if liblzma fails.
    ///
    /// # Panics
    ///
    /// If there is no prefix with that number.
    pub fn finish(&mut self, beginning: usize, rest: &[u8]) -> Result<Vec<u8>, Error> {
        let state = &self.beginnings[&beginning];
        self.space.restore(&state.memory)?;
        let (mut stream, mut output) = (state.stream, state.output.clone());
        self.space.encode(&mut stream, rest, &mut output, sys::LZMA_FINISH)?;
        if self.space.bump.used.get() == state.memory.used { Ok(output) } else { Err(Error::Allocated) }
    }
}

/// Memory of an encoder, at a fixed address.
struct Space {
    memory: MmapRaw,
    allocator: Rc<sys::lzma_allocator>,
    bump: Rc<Bump>,
}

/// A bump allocator: it hands out memory piece by piece, and never takes any back.
struct Bump {
    base: *mut u8,
    used: Cell<usize>,
}

// SAFETY: the raw pointers of a `Space` and of the streams of a `State` point into memory that the same `Encoder` owns,
// and into liblzma, which has no thread-local state. None of this is shared or handed out: each `Rc` has this one
// owner.
unsafe impl Send for Encoder {}

impl Space {
    fn new() -> Result<Self, Error> {
        let memory = MmapRaw::from(MmapMut::map_anon(SPACE)?);
        let bump = Rc::new(Bump { base: memory.as_mut_ptr(), used: Cell::new(0) });
        let opaque = Rc::as_ptr(&bump).cast_mut().cast();
        let allocator = Rc::new(sys::lzma_allocator { alloc: Some(allocate), free: Some(keep), opaque });
        Ok(Self { memory, allocator, bump })
    }

    /// Starts a new encoder, which replaces any earlier one in this memory.
    fn start(&mut self) -> Result<sys::lzma_stream, Error> {
        self.forget(0, SPACE)?;
        self.bump.used.set(0);
        // SAFETY: both are plain C structures, which liblzma requires to be zeroed (LZMA_STREAM_INIT). The filters are
        // copied before the call returns. The allocator lives as long as the memory that it hands out, and no stream
        // outlives either: streams stay inside `Encoder`. Moving the `Encoder` does not move the target of an `Rc`, nor
        // does it assert unique access to that target, as moving a `Box` would.
        let (stream, code) = unsafe {
            let mut stream: sys::lzma_stream = std::mem::zeroed();
            stream.allocator = Rc::as_ptr(&self.allocator);
            let mut options: sys::lzma_options_lzma = std::mem::zeroed();
            sys::lzma_lzma_preset(&raw mut options, sys::LZMA_PRESET_DEFAULT | sys::LZMA_PRESET_EXTREME);
            (options.lc, options.lp, options.pb) = (2, 0, 0);
            let filters = [
                sys::lzma_filter { id: sys::LZMA_FILTER_LZMA1, options: (&raw mut options).cast() },
                sys::lzma_filter { id: sys::LZMA_VLI_UNKNOWN, options: null_mut() },
            ];
            let code = sys::lzma_raw_encoder(&raw mut stream, filters.as_ptr());
            (stream, code)
        };
        if code == sys::LZMA_OK { Ok(stream) } else { Err(Error::Refused(code)) }
    }

    /// Encodes all of `input`, and ends the stream if `action` is `LZMA_FINISH`.
    #[expect(clippy::unused_self, reason = "nobody may hold a reference into the memory meanwhile")]
    fn encode(
        &mut self,
        stream: &mut sys::lzma_stream,
        input: &[u8],
        output: &mut Vec<u8>,
        action: sys::lzma_action,
    ) -> Result<(), Error> {
        (stream.next_in, stream.avail_in) = (input.as_ptr(), input.len());
        let room = input.len() + ROOM;
        loop {
            let filled = output.len();
            output.resize(filled + room, 0);
            (stream.next_out, stream.avail_out) = (output[filled..].as_mut_ptr(), room);
            // SAFETY: `stream` comes from `start`, and this memory is as it was after the last call for that stream.
            // Its input and output are borrowed here, and have the lengths that it is given.
            let code = unsafe { sys::lzma_code(&raw mut *stream, action) };
            output.truncate(filled + room - stream.avail_out);
            let all_read = stream.avail_in == 0 && stream.avail_out > 0;
            match code {
                sys::LZMA_STREAM_END => break,
                sys::LZMA_OK if all_read && action == sys::LZMA_RUN => break,
                sys::LZMA_OK => {}
                _ => return Err(Error::Refused(code)),
            }
        }
        (stream.next_in, stream.next_out) = (null(), null_mut());
        Ok(())
    }

    /// Returns the memory, while liblzma is not running.
    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the mapping has `SPACE` bytes, was zeroed at first, and is borrowed exclusively here: only liblzma
        // has other pointers into it, and it follows them only while `encode` or `start` calls it.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_mut_ptr(), SPACE) }
    }

    /// Copies all memory that is not zero.
    fn save(&mut self) -> Saved {
        let used = self.bump.used.get().next_multiple_of(PAGE);
        let (pages, _) = self.bytes()[..used].as_chunks::<PAGE>();
        let pages = pages.iter().enumerate().filter_map(|(index, page)| Some((index, SavedPage::of(page)?))).collect();
        Saved { used: self.bump.used.get(), pages }
    }

    /// Restores the memory to its state when `saved` was made.
    fn restore(&mut self, saved: &Saved) -> Result<(), Error> {
        self.bump.used.set(saved.used);
        let mut end = 0;
        for (index, page) in &saved.pages {
            let start = index * PAGE;
            self.forget(end, start)?;
            end = start + PAGE;
            page.write(&mut self.bytes()[start..end]);
        }
        self.forget(end, SPACE)
    }

    /// Zeroes the bytes from `start` to `end`, and releases as many of their pages as possible.
    fn forget(&mut self, start: usize, end: usize) -> Result<(), Error> {
        if start == end {
            return Ok(());
        }
        let unit = rustix::param::page_size();
        let (first, last) = (start.next_multiple_of(unit).min(end), (end / unit * unit).max(start));
        // On systems other than Linux, released memory may still read as its old content.
        if first >= last || !cfg!(target_os = "linux") {
            self.bytes()[start..end].fill(0);
            return Ok(());
        }
        self.bytes()[start..first].fill(0);
        self.bytes()[last..end].fill(0);
        // SAFETY: these are whole pages of a private anonymous mapping, which read as zeros from now on. No reference
        // into them exists: this function borrows the memory, and liblzma is not running.
        unsafe { self.memory.unchecked_advise_range(UncheckedAdvice::DontNeed, first, last - first) }?;
        Ok(())
    }
}

/// The `alloc` function of the allocator.
extern "C" fn allocate(opaque: *mut c_void, count: usize, size: usize) -> *mut c_void {
    // SAFETY: `opaque` is the pointer that `Space::new` has put into the allocator: the `Bump` of the same `Space`. It
    // outlives every call with that allocator, and is never borrowed mutably.
    let bump = unsafe { &*opaque.cast::<Bump>() };
    let start = bump.used.get().next_multiple_of(ALIGN);
    let end = count.checked_mul(size).and_then(|size| size.checked_add(start)).filter(|end| *end <= SPACE);
    let Some(end) = end else { return null_mut() };
    bump.used.set(end);
    bump.base.wrapping_add(start).cast()
}

/// The `free` function of the allocator. It does nothing, since the memory is released as a whole.
extern "C" fn keep(_: *mut c_void, _: *mut c_void) {}

/// Saved memory: the pages that are not all zeros, with their numbers.
struct Saved {
    /// Number of allocated bytes.
    used: usize,
    pages: Vec<(usize, SavedPage)>,
}

impl Saved {
    /// Returns the memory that it takes, in bytes.
    fn size(&self) -> usize {
        self.pages.iter().map(|(_, page)| size_of::<(usize, SavedPage)>() + size_of_val(&*page.words)).sum()
    }
}

/// The nonzero words of a page. Most of an encoder's memory is a hash table, and most of that is zeros.
struct SavedPage {
    /// One bit for each word, set if the word is not zero.
    present: [u64; PAGE / 512],
    words: Box<[u64]>,
}

impl SavedPage {
    fn of(page: &[u8; PAGE]) -> Option<Self> {
        let (words, _) = page.as_chunks::<8>();
        let mut present = [0; PAGE / 512];
        for (index, _) in words.iter().enumerate().filter(|(_, word)| **word != [0; 8]) {
            present[index / 64] |= 1 << (index % 64);
        }
        let words = words.iter().filter(|word| **word != [0; 8]).map(|word| u64::from_ne_bytes(*word));
        (present != [0; PAGE / 512]).then(|| Self { present, words: words.collect() })
    }

    fn write(&self, page: &mut [u8]) {
        let mut words = self.words.iter();
        let (groups, _) = page.as_chunks_mut::<512>();
        for (group, present) in groups.iter_mut().zip(self.present) {
            let (places, _) = group.as_chunks_mut::<8>();
            for (index, place) in places.iter_mut().enumerate() {
                let word = if present >> index & 1 == 1 { words.next().copied().unwrap_or_default() } else { 0 };
                *place = word.to_ne_bytes();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use netboot_fixtures::property::one_in;
    use proptest::prelude::*;

    use super::*;

    /// Returns text that compresses moderately.
    fn text(seed: u32, length: usize) -> Vec<u8> {
        let mut state = seed;
        let mut word = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ["boot ", "net0/", "chain\n", "\u{e8}\0"][(state >> 24) as usize % 4]
        };
        std::iter::repeat_with(&mut word).flat_map(str::bytes).take(length).collect()
    }

    /// Decodes with the safe crate `liblzma`.
    fn decoded(encoded: &[u8]) -> Vec<u8> {
        use liblzma::stream::{Action, Filters, LzmaOptions, Stream};
        let mut options = LzmaOptions::new_preset(6).unwrap();
        options.literal_context_bits(2).literal_position_bits(0).position_bits(0);
        let mut decoder = Stream::new_raw_decoder(Filters::new().lzma1(&options)).unwrap();
        let mut content = Vec::with_capacity(1 << 20);
        decoder.process_vec(encoded, &mut content, Action::Run).unwrap();
        content
    }

    #[test]
    fn what_comes_out_is_what_encoding_the_whole_gives() {
        let (mut encoder, mut other) = (Encoder::new().unwrap(), Encoder::new().unwrap());
        let starts = [text(1, 300_000), text(2, 5000), text(3, 20), Vec::new()];
        let numbers: Vec<usize> = starts.iter().map(|start| encoder.begin(start).unwrap()).collect();
        // Prefixes can be used in any order and repeatedly.
        for round in 0..2 {
            for (start, number) in starts.iter().zip(&numbers).rev() {
                for rest in [text(9 + round, 40_000), vec![0xff; 5000], vec![0; 4096], Vec::new()] {
                    let encoded = encoder.finish(*number, &rest).unwrap();
                    let input = [&start[..], &rest].concat();
                    assert!(encoded == other.encode(&input).unwrap(), "{} {}", start.len(), rest.len());
                    assert!(decoded(&encoded) == input);
                }
            }
        }
    }

    #[test]
    fn memory_is_brought_back_as_it_was() {
        let mut space = Space::new().unwrap();
        let mut stream = space.start().unwrap();
        space.encode(&mut stream, &text(4, 100_000), &mut Vec::new(), sys::LZMA_RUN).unwrap();
        let saved = space.save();
        let used = space.bump.used.get();
        let before = space.bytes()[..used].to_vec();
        let mut after = stream;
        space.encode(&mut after, &text(5, 100_000), &mut Vec::new(), sys::LZMA_FINISH).unwrap();
        assert!(space.bytes()[..used] != before);
        assert_eq!(space.bump.used.get(), used, "nothing is allocated while an encoder works");
        space.restore(&saved).unwrap();
        assert!(space.bytes()[..used] == before);
    }

    proptest! {
        #![proptest_config(one_in(64))]

        #[test]
        fn what_is_encoded_in_two_parts_is_what_the_whole_is_and_comes_out_again(
            parts in prop::collection::vec((any::<u32>(), 0..3000_usize), 1..3),
            rests in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 1..3),
        ) {
            let (mut encoder, mut other) = (Encoder::new().unwrap(), Encoder::new().unwrap());
            let starts: Vec<Vec<u8>> = parts.into_iter().map(|(seed, length)| text(seed, length)).collect();
            let numbers: Vec<usize> = starts.iter().map(|start| encoder.begin(start).unwrap()).collect();
            for rest in rests.iter().chain(&rests[..1]) {
                for (start, number) in starts.iter().zip(&numbers) {
                    let (encoded, input) = (encoder.finish(*number, rest).unwrap(), [&start[..], rest].concat());
                    prop_assert!(encoded == other.encode(&input).unwrap());
                    prop_assert!(decoded(&encoded) == input);
                }
            }
        }
    }
}
