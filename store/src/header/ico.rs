//! ICO: Microsoft's "Icons" (`ICONDIR`, `ICONDIRENTRY`). The size of a file is that of its best entry: the largest, then the deepest.

use super::{
    HeaderError,
    parser::{Found, Parser, Step, little_endian},
};

/// Reserved bytes and the kind: icon.
const SIGNATURE_BYTES: u64 = 4;
const COUNT_BYTES: usize = 2;
const ENTRY_BYTES: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Ico {
    count_seen: bool,
    entries_left: u64,
    best: Entry,
}

/// Fields in the order of what makes an entry better.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    pixels: u32,
    bits_per_pixel: u64,
    width: u32,
    height: u32,
}

impl Parser for Ico {
    fn first(&self) -> Step {
        Step::skip_and_read(SIGNATURE_BYTES, COUNT_BYTES)
    }

    fn next(&mut self, bytes: &[u8], found: &mut Found) -> Result<Step, HeaderError> {
        if self.count_seen {
            self.entries_left -= 1;
            self.best = self.best.max(Entry::read(bytes));
            found.add_frame();
        } else {
            self.count_seen = true;
            self.entries_left = little_endian(bytes);
        }
        if self.entries_left > 0 {
            return Ok(Step::read(ENTRY_BYTES));
        }
        if self.best == Entry::default() {
            return Err(found.corrupt("it has no entries"));
        }
        found.set_size(self.best.width, self.best.height)?;
        Ok(Step::Done)
    }
}

impl Entry {
    fn read(bytes: &[u8]) -> Self {
        // A side of 256 does not fit into its byte and is written as 0.
        let side = |byte: u8| if byte == 0 { 256 } else { u32::from(byte) };
        let (width, height) = (side(bytes[0]), side(bytes[1]));
        Self { pixels: width * height, bits_per_pixel: little_endian(&bytes[6..8]), width, height }
    }
}
