use super::{HeaderError, big_endian};
use crate::Format;

pub(super) const TOO_SHORT: &str = "a box is shorter than what it holds";

pub(super) fn corrupt(what: &'static str) -> HeaderError {
    HeaderError::Corrupt { format: Format::Avif, what }
}

/// The content of a box, read front to back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], HeaderError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(|| corrupt(TOO_SHORT))?;
        self.0 = rest;
        Ok(taken)
    }

    /// A number of up to 8 bytes; of none it is 0.
    pub(super) fn number(&mut self, bytes: usize) -> Result<u64, HeaderError> {
        if bytes > 8 {
            return Err(corrupt("a number has more than 8 bytes"));
        }
        Ok(big_endian(self.take(bytes)?))
    }

    /// Of an item or a property, which has two bytes or, in later versions of a box, four.
    pub(super) fn id(&mut self, is_long: bool) -> Result<u32, HeaderError> {
        Ok(self.number(if is_long { 4 } else { 2 })? as u32)
    }

    /// With which a full box begins: its version and its flags.
    pub(super) fn version_and_flags(&mut self) -> Result<(u8, u32), HeaderError> {
        let both = self.number(4)? as u32;
        Ok(((both >> 24) as u8, both & 0x00ff_ffff))
    }

    /// Type and content of the next box, `None` at the end.
    pub(super) fn next_box(&mut self) -> Result<Option<([u8; 4], Self)>, HeaderError> {
        if self.is_empty() {
            return Ok(None);
        }
        let whole = self.0;
        let size = self.number(4)?;
        let kind = *self.take(4)?.first_chunk().expect("these are four bytes");
        let size = match size {
            0 => whole.len() as u64,
            1 => self.number(8)?,
            size => size,
        };
        let head_bytes = whole.len() - self.0.len();
        let content = usize::try_from(size).ok().and_then(|size| size.checked_sub(head_bytes)).ok_or_else(|| corrupt(TOO_SHORT))?;
        Ok(Some((kind, Self(self.take(content)?))))
    }
}
