//! BMP: Microsoft's "Bitmap Storage" and its structures `BITMAPFILEHEADER`, `BITMAPCOREHEADER`, `BITMAPINFOHEADER` to `BITMAPV5HEADER`.

use super::{
    HeaderError,
    parser::{Found, Parser, Step, little_endian},
};

/// The file header, and the size of the header that follows.
const FILE_HEAD_BYTES: usize = 18;
/// Width, height, planes and depth, of 16 bits each.
const CORE_BYTES: usize = 8;
/// Width and height of 32 bits, planes, depth, compression.
const INFO_BYTES: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Bmp {
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    FileHead,
    Core,
    Info,
}

impl Parser for Bmp {
    fn first(&self) -> Step {
        Step::read(FILE_HEAD_BYTES)
    }

    fn next(&mut self, bytes: &[u8], found: &mut Found) -> Result<Step, HeaderError> {
        match self.state {
            State::FileHead => {
                let (state, read) = match little_endian(&bytes[14..18]) {
                    12 => (State::Core, CORE_BYTES),
                    40 | 52 | 56 | 108 | 124 => (State::Info, INFO_BYTES),
                    16 | 64 => return Err(HeaderError::Unsupported("BMP of OS/2 2.0")),
                    // Two letters alone are too little to call something a broken BMP.
                    _ => return Err(HeaderError::NotAnImage("it begins like a BMP but has none of its headers")),
                };
                self.state = state;
                return Ok(Step::read(read));
            }
            State::Core => found.set_size(little_endian(&bytes[..2]) as u32, little_endian(&bytes[2..4]) as u32)?,
            State::Info => {
                match little_endian(&bytes[12..16]) {
                    // None, RLE8, RLE4, masks, masks with alpha.
                    0..=3 | 6 => {}
                    4 | 5 => return Err(HeaderError::Unsupported("BMP that holds a JPEG or PNG")),
                    11..=13 => return Err(HeaderError::Unsupported("BMP in CMYK")),
                    _ => return Err(found.corrupt("its compression is unknown")),
                }
                // Rows go from top to bottom when the height is negative.
                let (width, height) = (little_endian(&bytes[..4]) as u32 as i32, little_endian(&bytes[4..8]) as u32 as i32);
                let width = u32::try_from(width).map_err(|_| found.corrupt("its width is negative"))?;
                found.set_size(width, height.unsigned_abs())?;
            }
        }
        Ok(Step::Done)
    }
}
