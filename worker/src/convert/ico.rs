//! ICO in: the largest of its pictures, which are PNGs, or bitmaps with a mask of what is transparent below them.

use image::{DynamicImage, RgbaImage};
use tintype_store::{ConversionLimits, Format};

use super::{
    ConvertError,
    decode::{self, Raw, check_size},
};

const DIRECTORY_BYTES: usize = 6;
const ENTRY_BYTES: usize = 16;
const BITMAP_HEADER_BYTES: usize = 40;

pub(super) fn decode(input: &[u8], limits: &ConversionLimits) -> Result<Raw, ConvertError> {
    let entry = largest(input).ok_or_else(|| ConvertError::corrupt("it has no picture that is whole"))?;
    if entry.starts_with(b"\x89PNG\r\n\x1a\n") {
        return decode::through_image(entry, Format::Png, limits);
    }
    let bitmap = Bitmap::read(entry).ok_or_else(|| ConvertError::corrupt("its bitmap has no header"))?;
    check_size(bitmap.width, bitmap.height, u64::from(bitmap.width) * u64::from(bitmap.height) * 4, limits)?;
    let mut image = if bitmap.bits == 32 {
        bitmap.with_own_alpha().ok_or_else(|| ConvertError::corrupt("its bitmap ends too soon"))?
    } else {
        decode::through_image(&bitmap.as_file(), Format::Bmp, limits)?.image.into_rgba8()
    };
    // Bitmaps of 32 bit have their own transparency, unless they never use it.
    if bitmap.bits != 32 || image.pixels().all(|pixel| pixel.0[3] == 0) {
        for (x, y, pixel) in image.enumerate_pixels_mut() {
            pixel.0[3] = if bitmap.is_masked(x, y) { 0 } else { u8::MAX };
        }
    }
    Ok(Raw::plain(DynamicImage::ImageRgba8(image)))
}

/// The picture with the most pixels, among these the one of most bits. A size of 0 stands for 256. Its announced length may be wrong: what
/// it needs is known when it is decoded.
fn largest(input: &[u8]) -> Option<&[u8]> {
    let number =
        |at: usize, bytes: usize| input.get(at..at + bytes).map(|it| it.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte)));
    let side = |size: u8| if size == 0 { 256 } else { u32::from(size) };
    let entries = (0..number(4, 2)?).filter_map(|index| {
        let at = DIRECTORY_BYTES + index * ENTRY_BYTES;
        let (width, height) = (*input.get(at)?, *input.get(at + 1)?);
        let (bits, offset) = (number(at + 6, 2)?, number(at + 12, 4)?);
        Some((side(width) * side(height), bits, input.get(offset..)?))
    });
    // Of those that are alike the first one.
    entries.rev().max_by_key(|(pixels, bits, _)| (*pixels, *bits)).map(|(_, _, picture)| picture)
}

/// A bitmap without the header of its file, and the mask that follows it.
struct Bitmap<'a> {
    entry: &'a [u8],
    width: u32,
    height: u32,
    bits: usize,
    colours: usize,
}

impl<'a> Bitmap<'a> {
    fn read(entry: &'a [u8]) -> Option<Self> {
        let number = |at: usize| Some(u32::from_le_bytes(*entry.get(at..)?.first_chunk()?));
        let bits = usize::from(u16::from_le_bytes(*entry.get(14..)?.first_chunk()?));
        let (header_bytes, width, doubled, colours) = (number(0)?, number(4)?, number(8)?, number(32)? as usize);
        let of_palette = if bits <= 8 { 1 << bits } else { 0 };
        let colours = if colours == 0 || colours > of_palette { of_palette } else { colours };
        let known = header_bytes as usize == BITMAP_HEADER_BYTES && entry.len() > BITMAP_HEADER_BYTES;
        // The height is that of picture and mask together.
        known.then_some(Self { entry, width, height: doubled / 2, bits, colours })
    }

    fn pixels_at(&self) -> usize {
        BITMAP_HEADER_BYTES + self.colours * 4
    }

    /// Rows are whole units of four bytes, the lowest first.
    fn row(&self, start: usize, bits: usize, y: u32) -> Option<&[u8]> {
        let row_bytes = (self.width as usize * bits).div_ceil(32) * 4;
        let from_below = (self.height - 1 - y) as usize;
        self.entry.get(start + from_below * row_bytes..)?.get(..row_bytes)
    }

    fn with_own_alpha(&self) -> Option<RgbaImage> {
        let mut image = RgbaImage::new(self.width, self.height);
        for y in 0..self.height {
            let row = self.row(self.pixels_at(), self.bits, y)?;
            for (x, [blue, green, red, alpha]) in (0..self.width).zip(row.as_chunks::<4>().0) {
                image.put_pixel(x, y, image::Rgba([*red, *green, *blue, *alpha]));
            }
        }
        Some(image)
    }

    /// As a file of its own, without the mask.
    fn as_file(&self) -> Vec<u8> {
        const FILE_HEADER_BYTES: usize = 14;
        let mut file = b"BM".to_vec();
        file.extend_from_slice(&((FILE_HEADER_BYTES + self.entry.len()) as u32).to_le_bytes());
        file.extend_from_slice(&[0; 4]);
        file.extend_from_slice(&((FILE_HEADER_BYTES + self.pixels_at()) as u32).to_le_bytes());
        file.extend_from_slice(self.entry);
        file[FILE_HEADER_BYTES + 8..][..4].copy_from_slice(&self.height.to_le_bytes());
        file
    }

    /// What the mask does not reach is opaque.
    fn is_masked(&self, x: u32, y: u32) -> bool {
        let row_bytes = (self.width as usize * self.bits).div_ceil(32) * 4;
        let row = self.row(self.pixels_at() + row_bytes * self.height as usize, 1, y);
        row.is_some_and(|row| row[x as usize / 8] >> (7 - x % 8) & 1 == 1)
    }
}
