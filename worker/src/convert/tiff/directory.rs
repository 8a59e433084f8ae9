//! The first directory of a TIFF (TIFF 6.0, section 2) or BigTIFF: what its tags say.

use super::super::ConvertError;

/// The fields of a page, read where they are asked for.
pub(in super::super) struct Directory<'a> {
    input: &'a [u8],
    big_endian: bool,
    /// A BigTIFF, whose offsets have 64 bits.
    big: bool,
    entries: Vec<Entry>,
}

struct Entry {
    tag: u16,
    kind: u16,
    count: usize,
    /// Where its values begin in the file.
    at: usize,
}

/// A field as the file has it.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) tag: u16,
    /// The number of its type.
    pub(super) kind: u16,
    pub(super) count: usize,
    /// In the byte order of the file.
    pub(super) value: &'a [u8],
}

impl<'a> Directory<'a> {
    pub(in super::super) fn first(input: &'a [u8]) -> Result<Self, ConvertError> {
        Self::read(input).ok_or_else(|| ConvertError::corrupt("its directory is cut"))
    }

    fn read(input: &'a [u8]) -> Option<Self> {
        const BIG_TIFF: u64 = 43;
        let directory = Self { input, big_endian: input.starts_with(b"MM"), big: false, entries: Vec::new() };
        let big = directory.number(2, 2)? == BIG_TIFF;
        let start = directory.number(if big { 8 } else { 4 }, if big { 8 } else { 4 })?;
        Self { big, ..directory }.read_entries(usize::try_from(start).ok()?)
    }

    /// Another directory of the file, to which a field points.
    pub(super) fn directory(&self, tag: u16) -> Option<Self> {
        let start = usize::try_from(self.first_unsigned(tag)?).ok()?;
        Self { entries: Vec::new(), ..*self }.read_entries(start)
    }

    fn read_entries(self, start: usize) -> Option<Self> {
        let mut directory = self;
        let (offset_bytes, count_bytes, entry_bytes) = if directory.big { (8, 8, 20) } else { (4, 2, 12) };
        let count = directory.number(start, count_bytes)?.min(u64::from(u16::MAX)) as usize;
        for index in 0..count {
            let entry = start.checked_add(count_bytes)?.checked_add(index * entry_bytes)?;
            let (tag, kind) = (directory.number(entry, 2)? as u16, directory.number(entry + 2, 2)? as u16);
            let Ok(count) = usize::try_from(directory.number(entry + 4, offset_bytes)?) else { continue };
            let Some(size) = size_bytes(kind).and_then(|size| size.checked_mul(count)) else { continue };
            let value = entry + 4 + offset_bytes;
            let at = if size <= offset_bytes { value } else { usize::try_from(directory.number(value, offset_bytes)?).ok()? };
            // A field that lies beyond the end counts as absent: it may be one that nobody asks for.
            if at.checked_add(size).is_some_and(|end| end <= directory.input.len()) {
                directory.entries.push(Entry { tag, kind, count, at });
            }
        }
        Some(directory)
    }

    pub(in super::super) fn bytes(&self, tag: u16) -> Option<&'a [u8]> {
        let entry = self.entry(tag)?;
        self.input.get(entry.at..entry.at + entry.count * size_bytes(entry.kind)?)
    }

    /// Unsigned integers of any size.
    pub(super) fn unsigned(&self, tag: u16) -> Option<Vec<u64>> {
        const INTEGERS: [u16; 6] = [1, 3, 4, 13, 16, 18];
        let entry = self.entry(tag).filter(|entry| INTEGERS.contains(&entry.kind))?;
        let size = size_bytes(entry.kind)?;
        (0..entry.count).map(|index| self.number(entry.at + index * size, size)).collect()
    }

    pub(super) fn first_unsigned(&self, tag: u16) -> Option<u64> {
        self.unsigned(tag)?.first().copied()
    }

    /// Fractions of unsigned integers.
    pub(super) fn fractions<const N: usize>(&self, tag: u16) -> Option<[f32; N]> {
        const FRACTION: u16 = 5;
        let entry = self.entry(tag).filter(|entry| entry.kind == FRACTION && entry.count == N)?;
        let mut fractions = [0.0; N];
        for (index, fraction) in fractions.iter_mut().enumerate() {
            let [above, below] = [0, 4].map(|half| self.number(entry.at + index * 8 + half, 4));
            *fraction = above? as f32 / below?.max(1) as f32;
        }
        Some(fractions)
    }

    /// All fields, in the order of the file.
    pub(super) fn fields(&self) -> impl Iterator<Item = Field<'a>> {
        self.entries.iter().filter_map(|entry| {
            let Entry { tag, kind, count, at } = *entry;
            let value = self.input.get(at..at + count * size_bytes(kind)?)?;
            Some(Field { tag, kind, count, value })
        })
    }

    pub(super) fn is_big_endian(&self) -> bool {
        self.big_endian
    }

    fn entry(&self, tag: u16) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.tag == tag)
    }

    fn number(&self, at: usize, bytes: usize) -> Option<u64> {
        let bytes = self.input.get(at..at.checked_add(bytes)?)?;
        Some(number(bytes, self.big_endian))
    }
}

/// Up to eight bytes.
pub(super) fn number(bytes: &[u8], big_endian: bool) -> u64 {
    let append = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
    if big_endian { bytes.iter().fold(0, append) } else { bytes.iter().rev().fold(0, append) }
}

fn size_bytes(kind: u16) -> Option<usize> {
    match kind {
        1 | 2 | 6 | 7 => Some(1),
        3 | 8 => Some(2),
        4 | 9 | 11 | 13 => Some(4),
        5 | 10 | 12 | 16 | 17 | 18 => Some(8),
        _ => None,
    }
}
