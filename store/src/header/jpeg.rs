//! JPEG: Recommendation ITU-T T.81, Annex B: marker segments up to the frame header.

use super::{
    HeaderError,
    parser::{Found, Parser, Step, big_endian},
};

/// The start-of-image marker.
const SIGNATURE_BYTES: u64 = 2;
/// A segment's length counts itself.
const LENGTH_BYTES: usize = 2;
/// Length, sample precision, height, width, number of components; a description of each component follows.
const FRAME_HEADER_BYTES: usize = 8;
const COMPONENT_BYTES: u64 = 3;
/// Fill bytes and strays between segments. Decoders pass over them, and a few files need it.
const MAX_STRAY_BYTES: u32 = 64 << 10;

#[derive(Debug, Default)]
pub(super) struct Jpeg {
    state: State,
    stray_bytes: u32,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Marker,
    /// After the 0xFF.
    MarkerCode,
    SegmentLength,
    FrameHeader,
}

impl Parser for Jpeg {
    fn first(&self) -> Step {
        Step::skip_and_read(SIGNATURE_BYTES, 1)
    }

    fn next(&mut self, bytes: &[u8], found: &mut Found) -> Result<Step, HeaderError> {
        match self.state {
            State::Marker if bytes[0] == 0xff => {
                self.state = State::MarkerCode;
                Ok(Step::read(1))
            }
            State::Marker => self.stray(found),
            State::MarkerCode => self.marker(bytes[0], found),
            State::SegmentLength => {
                let length = big_endian(bytes).checked_sub(LENGTH_BYTES as u64);
                self.state = State::Marker;
                Ok(Step::skip_and_read(length.ok_or_else(|| found.corrupt("a segment is shorter than its length"))?, 1))
            }
            State::FrameHeader => frame_header(bytes, found),
        }
    }
}

impl Jpeg {
    fn stray(&mut self, found: &Found) -> Result<Step, HeaderError> {
        self.stray_bytes += 1;
        if self.stray_bytes > MAX_STRAY_BYTES {
            return Err(found.corrupt("there is no frame header among its first segments"));
        }
        Ok(Step::read(1))
    }

    fn marker(&mut self, code: u8, found: &Found) -> Result<Step, HeaderError> {
        match code {
            // Any number of 0xFF may come before a marker's code.
            0xff => self.stray(found),
            0x00 => {
                self.state = State::Marker;
                self.stray(found)
            }
            // Markers that stand alone: TEM, RSTn, SOI.
            0x01 | 0xd0..=0xd8 => {
                self.state = State::Marker;
                self.stray(found)
            }
            0xc0..=0xc2 => {
                self.state = State::FrameHeader;
                Ok(Step::read(FRAME_HEADER_BYTES))
            }
            0xc3 => Err(HeaderError::Unsupported("lossless JPEG")),
            0xc5..=0xc7 | 0xcd..=0xcf | 0xde => Err(HeaderError::Unsupported("hierarchical JPEG")),
            0xc9..=0xcb => Err(HeaderError::Unsupported("JPEG with arithmetic coding")),
            0xf7 => Err(HeaderError::Unsupported("JPEG-LS")),
            0xd9 | 0xda => Err(found.corrupt("it has no frame header")),
            _ => {
                self.state = State::SegmentLength;
                Ok(Step::read(LENGTH_BYTES))
            }
        }
    }
}

fn frame_header(bytes: &[u8], found: &mut Found) -> Result<Step, HeaderError> {
    let (length, precision, component_count) = (big_endian(&bytes[..2]), bytes[2], bytes[7]);
    let (height, width) = (big_endian(&bytes[3..5]) as u32, big_endian(&bytes[5..7]) as u32);
    if component_count == 0 || length != FRAME_HEADER_BYTES as u64 + COMPONENT_BYTES * u64::from(component_count) {
        return Err(found.corrupt("its frame header has a wrong length"));
    }
    match precision {
        8 => {}
        12 => return Err(HeaderError::Unsupported("JPEG with 12 bits a sample")),
        _ => return Err(found.corrupt("its samples have neither 8 nor 12 bits")),
    }
    if !matches!(component_count, 1 | 3 | 4) {
        return Err(HeaderError::Unsupported("JPEG with neither 1, 3 nor 4 components"));
    }
    if height == 0 && width != 0 {
        return Err(HeaderError::Unsupported("JPEG that tells its height only after its first scan (DNL)"));
    }
    found.set_size(width, height)?;
    Ok(Step::Done)
}
