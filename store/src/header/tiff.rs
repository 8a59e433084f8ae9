//! TIFF: "TIFF Revision 6.0", section 2; `BigTIFF`: the libtiff project's "`BigTIFF` Design".
//!
//! Pages form a chain of directories (IFDs). A stream passes only once, so the chain is followed forwards: the first directory must come
//! after the file's head, as the format has it, and a link backwards ends the count of pages.

use super::{
    HeaderError,
    parser::{Found, Parser, Step, big_endian, little_endian},
};

/// Byte order, version, and the first offset, or in a `BigTIFF` the size of offsets and a zero.
const HEAD_BYTES: usize = 8;
const IMAGE_WIDTH: u64 = 256;
const IMAGE_LENGTH: u64 = 257;

#[derive(Debug, Default)]
pub(super) struct Tiff {
    state: State,
    is_big_endian: bool,
    /// Offsets and counts have 8 bytes: it is a `BigTIFF`.
    has_wide_fields: bool,
    /// Where the bytes after the current step begin.
    position: u64,
    width: Option<u32>,
    height: Option<u32>,
    entries_left: u64,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Head,
    DirectoryOffset,
    EntryCount,
    Entry,
}

impl Parser for Tiff {
    fn first(&self) -> Step {
        Step::read(HEAD_BYTES)
    }

    fn next(&mut self, bytes: &[u8], found: &mut Found) -> Result<Step, HeaderError> {
        match self.state {
            State::Head => self.head(bytes, found),
            State::DirectoryOffset => self.directory(self.number(bytes), found),
            State::EntryCount => {
                found.add_frame();
                self.entries_left = self.number(bytes);
                if found.header().is_some() {
                    return Ok(self.next_offset(self.entries_left.saturating_mul(self.entry_bytes() as u64)));
                }
                self.state = State::Entry;
                self.entry_or_offset(found)
            }
            State::Entry => {
                self.entries_left -= 1;
                self.entry(bytes);
                self.entry_or_offset(found)
            }
        }
    }
}

impl Tiff {
    fn head(&mut self, bytes: &[u8], found: &Found) -> Result<Step, HeaderError> {
        const BIG_TIFF: u64 = 43;
        self.is_big_endian = bytes[0] == b'M';
        self.has_wide_fields = self.number(&bytes[2..4]) == BIG_TIFF;
        self.position = HEAD_BYTES as u64;
        if !self.has_wide_fields {
            return self.directory(self.number(&bytes[4..8]), found);
        }
        if self.number(&bytes[4..6]) != 8 || self.number(&bytes[6..8]) != 0 {
            return Err(found.corrupt("its offsets are not 8 bytes long"));
        }
        Ok(self.next_offset(0))
    }

    fn directory(&mut self, offset: u64, found: &Found) -> Result<Step, HeaderError> {
        let Some(skip) = offset.checked_sub(self.position) else {
            // Zero, which ends the chain, is a link backwards too.
            return if found.header().is_some() { Ok(Step::Done) } else { Err(found.corrupt("it has no first directory")) };
        };
        self.state = State::EntryCount;
        Ok(self.advance(skip, if self.has_wide_fields { 8 } else { 2 }))
    }

    /// The next entry of the first directory, or what follows its last one.
    fn entry_or_offset(&mut self, found: &mut Found) -> Result<Step, HeaderError> {
        if self.entries_left > 0 {
            return Ok(self.advance(0, self.entry_bytes()));
        }
        let (Some(width), Some(height)) = (self.width, self.height) else {
            return Err(found.corrupt("its first page has no width or no height"));
        };
        found.set_size(width, height)?;
        Ok(self.next_offset(0))
    }

    /// Tag, type, number of values, and the values themselves or their offset.
    fn entry(&mut self, bytes: &[u8]) {
        let (tag, kind) = (self.number(&bytes[..2]), self.number(&bytes[2..4]));
        let (count, values) = bytes[4..].split_at(if self.has_wide_fields { 8 } else { 4 });
        let value_bytes = match kind {
            1 => 1,
            3 => 2,
            4 => 4,
            16 => 8,
            _ => return,
        };
        let Some(value) = values.get(..value_bytes).filter(|_| self.number(count) == 1) else { return };
        let value = u32::try_from(self.number(value)).unwrap_or(u32::MAX);
        // The first of each is the one that counts.
        let side = match tag {
            IMAGE_WIDTH => &mut self.width,
            IMAGE_LENGTH => &mut self.height,
            _ => return,
        };
        side.get_or_insert(value);
    }

    fn next_offset(&mut self, skip: u64) -> Step {
        self.state = State::DirectoryOffset;
        self.advance(skip, if self.has_wide_fields { 8 } else { 4 })
    }

    fn advance(&mut self, skip: u64, read: usize) -> Step {
        self.position = self.position.saturating_add(skip).saturating_add(read as u64);
        Step::skip_and_read(skip, read)
    }

    fn entry_bytes(&self) -> usize {
        if self.has_wide_fields { 20 } else { 12 }
    }

    fn number(&self, bytes: &[u8]) -> u64 {
        if self.is_big_endian { big_endian(bytes) } else { little_endian(bytes) }
    }
}
