//! Random access to the bytes of a medium that need not be on this machine, and errors in what is read.

/// Bytes that can be read in any order.
pub trait ByteSource {
    /// Reason why bytes cannot be read.
    type Error;

    /// Returns the number of bytes.
    fn size(&self) -> u64;

    /// Fills `buffer` with the bytes from `offset` on, all of which exist.
    ///
    /// # Errors
    ///
    /// The source's own error.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), Self::Error>;
}

/// Errors from reading a file system.
#[derive(Debug, PartialEq, Eq)]
pub enum MediumError<E> {
    /// The bytes cannot be read.
    Source(E),
    /// The bytes are not a file system as expected: what was found.
    Malformed(String),
}

impl<E> MediumError<E> {
    pub(super) fn malformed(found: impl Into<String>) -> Self {
        Self::Malformed(found.into())
    }
}

/// Returns the `length` bytes from `offset` on.
pub(super) fn bytes<S: ByteSource>(
    source: &mut S,
    offset: u64,
    length: usize,
) -> Result<Vec<u8>, MediumError<S::Error>> {
    let end = offset.checked_add(length as u64);
    if end.is_none_or(|end| end > source.size()) {
        return Err(MediumError::malformed("a place behind its end"));
    }
    let mut bytes = vec![0; length];
    source.read_at(offset, &mut bytes).map_err(MediumError::Source)?;
    Ok(bytes)
}

/// Returns the number with its lowest byte first at `at` of `bytes`, which are long enough.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// As [`u16_at`].
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// A part of the bytes of a source.
pub(super) struct Window<'s, S> {
    pub(super) source: &'s mut S,
    /// Offset of the part.
    pub(super) start: u64,
    /// Size of the part, which is inside of the source.
    pub(super) size: u64,
}

impl<S: ByteSource> ByteSource for Window<'_, S> {
    type Error = S::Error;

    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), S::Error> {
        self.source.read_at(self.start + offset, buffer)
    }
}

/// Bytes in memory.
impl ByteSource for &[u8] {
    type Error = std::convert::Infallible;

    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), Self::Error> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        buffer.copy_from_slice(&self[start..start + buffer.len()]);
        Ok(())
    }
}
