//! PNG and APNG: "Portable Network Graphics (PNG) Specification (Third Edition)", sections 5 and 11.

use super::{
    HeaderError,
    parser::{Found, Parser, Step, big_endian},
};

const SIGNATURE_BYTES: u64 = 8;
/// The IHDR chunk: length, type, 13 bytes of data, checksum.
const IHDR_BYTES: usize = 25;
/// Length and type, with which a chunk begins.
const CHUNK_HEAD_BYTES: usize = 8;
const CHECKSUM_BYTES: u64 = 4;

#[derive(Debug, Default)]
pub(super) struct Png {
    header_seen: bool,
    animated: bool,
}

impl Parser for Png {
    fn first(&self) -> Step {
        Step::skip_and_read(SIGNATURE_BYTES, IHDR_BYTES)
    }

    fn next(&mut self, bytes: &[u8], found: &mut Found) -> Result<Step, HeaderError> {
        if !self.header_seen {
            self.header_seen = true;
            read_ihdr(bytes, found)?;
            return Ok(Step::read(CHUNK_HEAD_BYTES));
        }
        let (length, kind) = (big_endian(&bytes[..4]), &bytes[4..8]);
        match kind {
            b"acTL" => self.animated = true,
            // A default image that is no part of the animation has none before it, and does not count.
            b"fcTL" if self.animated => found.add_frame(),
            // An animation says so before the first pixels.
            b"IDAT" if !self.animated => return Ok(Step::Done),
            b"IEND" => return Ok(Step::Done),
            // What is no chunk cannot be walked through.
            _ if !kind.iter().all(u8::is_ascii_alphabetic) => return Ok(Step::Done),
            _ => {}
        }
        Ok(Step::skip_and_read(length + CHECKSUM_BYTES, CHUNK_HEAD_BYTES))
    }
}

fn read_ihdr(bytes: &[u8], found: &mut Found) -> Result<(), HeaderError> {
    match &bytes[..8] {
        b"\0\0\0\x0dIHDR" => {}
        [_, _, _, _, b'C', b'g', b'B', b'I'] => return Err(HeaderError::Unsupported("PNG in Apple's CgBI variant")),
        _ => return Err(found.corrupt("it does not begin with an IHDR chunk")),
    }
    if u64::from(crc32(&bytes[4..21])) != big_endian(&bytes[21..25]) {
        return Err(found.corrupt("the checksum of its IHDR chunk does not match"));
    }
    let (bit_depth, colour_type) = (bytes[16], bytes[17]);
    if !matches!((colour_type, bit_depth), (0, 1 | 2 | 4 | 8 | 16) | (2 | 4 | 6, 8 | 16) | (3, 1 | 2 | 4 | 8)) {
        return Err(found.corrupt("it has no such colour type and bit depth"));
    }
    if !matches!(bytes[18..21], [0, 0, 0 | 1]) {
        return Err(found.corrupt("its compression, filter or interlace method is unknown"));
    }
    found.set_size(big_endian(&bytes[8..12]) as u32, big_endian(&bytes[12..16]) as u32)
}

/// The checksum of Annex D, bit by bit: it is needed for 17 bytes a file.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0xedb8_8320;
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 })
    })
}
