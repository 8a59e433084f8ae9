//! What stands beside the pixels of a PNG, before or behind them: decoders tell only of what they have passed.

use flate2::Crc;
use image::metadata::Orientation;

const SIGNATURE_BYTES: usize = 8;

/// A chunk (PNG, third edition, section 5.3).
pub(in super::super) struct Chunk<'a> {
    pub(in super::super) name: [u8; 4],
    pub(in super::super) data: &'a [u8],
    checksum: u32,
}

impl Chunk<'_> {
    /// Whether the chunk is as it was written.
    pub(in super::super) fn is_whole(&self) -> bool {
        let mut checksum = Crc::new();
        checksum.update(&self.name);
        checksum.update(self.data);
        checksum.sum() == self.checksum
    }
}

/// The chunks of a file, as far as they are complete.
pub(in super::super) fn chunks(input: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    let mut rest = input.get(SIGNATURE_BYTES..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (name, after) = after.split_first_chunk::<4>()?;
        let (data, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        let (checksum, after) = after.split_first_chunk::<4>()?;
        rest = after;
        Some(Chunk { name: *name, data, checksum: u32::from_be_bytes(*checksum) })
    })
}

/// EXIF from wherever it stands; ImageMagick, for one, writes it behind the pixels.
pub(in super::super) fn exif(input: &[u8]) -> Option<&[u8]> {
    chunks(input).find(|chunk| chunk.name == *b"eXIf" && chunk.is_whole()).map(|chunk| chunk.data)
}

/// How the picture is to be turned.
pub(in super::super) fn orientation(input: &[u8]) -> Orientation {
    exif(input).and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms)
}
