//! Strips and tiles: from what is stored to plain bytes.

use std::io::Read;

use fax::{Color, decoder};
use flate2::read::ZlibDecoder;
use weezl::{BitOrder, LzwStatus};
use zune_jpeg::{
    JpegDecoder,
    zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions},
};

use super::super::ConvertError;

/// How the bytes of a page are stored.
pub(super) struct Storage<'a> {
    pub(super) compression: Compression,
    /// The first bit of a byte is its lowest.
    pub(super) lowest_bit_first: bool,
    pub(super) jpeg_tables: Option<&'a [u8]>,
}

/// Tag 259.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Fax3,
    Fax4,
    Lzw,
    Jpeg,
    Deflate,
    PackBits,
}

impl Compression {
    pub(super) fn from_tag(number: u64, is_fax_two_dimensional: bool) -> Result<Self, ConvertError> {
        let name = match number {
            1 => return Ok(Self::None),
            3 if !is_fax_two_dimensional => return Ok(Self::Fax3),
            4 => return Ok(Self::Fax4),
            5 => return Ok(Self::Lzw),
            7 => return Ok(Self::Jpeg),
            8 | 32_946 => return Ok(Self::Deflate),
            32_773 => return Ok(Self::PackBits),
            2 => "CCITT modified Huffman",
            3 => "two-dimensional CCITT group 3 fax",
            6 => "JPEG of TIFF 6.0, which was replaced by another one",
            32_766 => "NeXT",
            32_771 => "word-aligned CCITT modified Huffman",
            32_809 => "ThunderScan",
            34_661 => "JBIG",
            34_676 | 34_677 => "SGI LogLuv",
            34_712 => "JPEG 2000",
            34_925 => "LZMA",
            50_000 => "Zstandard",
            50_001 => "WebP",
            52_546 => "JPEG XL",
            _ => return Err(ConvertError::unsupported_input(format!("a TIFF with the compression {number} is not read here"))),
        };
        Err(ConvertError::unsupported_input(format!("a TIFF compressed as {name} is not read here")))
    }
}

/// The size of a chunk.
#[derive(Clone, Copy)]
pub(super) struct Extent {
    pub(super) width: usize,
    pub(super) rows: usize,
    pub(super) row_bytes: usize,
}

impl Storage<'_> {
    /// As many bytes as the chunk needs, or an error; what is stored beyond is left out.
    pub(super) fn unpack(&self, stored: &[u8], extent: Extent) -> Result<Vec<u8>, ConvertError> {
        let reversed: Vec<u8>;
        let stored = if self.lowest_bit_first && self.compression != Compression::Jpeg {
            reversed = stored.iter().map(|byte| byte.reverse_bits()).collect();
            &reversed
        } else {
            stored
        };
        let size = extent.rows * extent.row_bytes;
        let mut bytes = match self.compression {
            Compression::None => stored[..stored.len().min(size)].to_vec(),
            Compression::Lzw => lzw(stored, size)?,
            Compression::Deflate => {
                let mut bytes = Vec::with_capacity(size);
                ZlibDecoder::new(stored).take(size as u64).read_to_end(&mut bytes).map_err(ConvertError::corrupt)?;
                bytes
            }
            Compression::PackBits => pack_bits(stored, size),
            Compression::Fax3 | Compression::Fax4 => self.fax(stored, extent)?,
            Compression::Jpeg => self.jpeg(stored, extent)?,
        };
        if bytes.len() < size {
            return Err(ConvertError::corrupt(format_args!("a strip or tile has {} of {size} bytes", bytes.len())));
        }
        bytes.truncate(size);
        Ok(bytes)
    }

    /// One bit a pixel, a one for black.
    fn fax(&self, stored: &[u8], extent: Extent) -> Result<Vec<u8>, ConvertError> {
        let width = u16::try_from(extent.width).map_err(ConvertError::corrupt)?;
        let mut bytes = Vec::with_capacity(extent.rows * extent.row_bytes);
        let mut add = |changes: &[u16]| {
            let start = bytes.len();
            bytes.resize(start + extent.row_bytes, 0_u8);
            for (at, colour) in decoder::pels(changes, width).enumerate().take(extent.width) {
                if colour == Color::Black {
                    bytes[start + at / 8] |= 0x80 >> (at % 8);
                }
            }
        };
        let rows = u16::try_from(extent.rows).ok();
        let read = if self.compression == Compression::Fax4 {
            decoder::decode_g4(stored.iter().copied(), width, rows, &mut add)
        } else {
            // A line is known to be whole when the mark of its end comes, which the last one may lack.
            const END_OF_LINE: [u8; 2] = [0x00, 0x01];
            let mut left = extent.rows;
            decoder::decode_g3(stored.iter().copied().chain(END_OF_LINE.repeat(2)), |changes| {
                if left > 0 {
                    left -= 1;
                    add(changes);
                }
            })
        };
        // The end marks may be missing; whether all rows came is what counts.
        let _: Option<()> = read;
        Ok(bytes)
    }

    /// Samples as they are in the JPEG, with chroma for every pixel.
    fn jpeg(&self, stored: &[u8], extent: Extent) -> Result<Vec<u8>, ConvertError> {
        const START: &[u8] = &[0xFF, 0xD8];
        const END: &[u8] = &[0xFF, 0xD9];
        let whole = match self.jpeg_tables {
            Some(tables) => {
                let tables = tables.strip_suffix(END).unwrap_or(tables);
                [tables, stored.strip_prefix(START).unwrap_or(stored)].concat()
            }
            None => stored.to_vec(),
        };
        let options = DecoderOptions::default().set_max_width(usize::MAX).set_max_height(usize::MAX).set_strict_mode(false);
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(&whole[..]), options);
        let corrupt = |error| ConvertError::corrupt(format_args!("a JPEG in it: {error:?}"));
        decoder.decode_headers().map_err(corrupt)?;
        let none = || ConvertError::corrupt("a JPEG in it has no components");
        let (named, info) = decoder.input_colorspace().zip(decoder.info()).ok_or_else(none)?;
        let (width, height, channels) = (usize::from(info.width), usize::from(info.height), usize::from(info.components));
        // What an Adobe segment calls inks is these when it decodes three components.
        let stored = match (named, channels) {
            (ColorSpace::CMYK, 3) => ColorSpace::RGB,
            (ColorSpace::YCCK, 3) => ColorSpace::YCbCr,
            _ => named,
        };
        if width > extent.width || height < extent.rows || width * channels != extent.row_bytes {
            return Err(ConvertError::corrupt("a JPEG in it has another size than its strip or tile"));
        }
        if width * height > extent.width * extent.rows * 2 + 4096 {
            return Err(ConvertError::corrupt("a JPEG in it is larger than its strip or tile"));
        }
        decoder.set_options(options.jpeg_set_out_colorspace(stored).set_strict_mode(true));
        decoder.decode().map_err(corrupt)
    }
}

fn lzw(stored: &[u8], size: usize) -> Result<Vec<u8>, ConvertError> {
    // Early writers put the lowest bit first and grew their codes later; their first code, 256 of 9 bit, tells.
    let mut decoder = if stored.len() > 1 && stored[0] == 0 && stored[1] & 1 == 1 {
        weezl::decode::Decoder::new(BitOrder::Lsb, 8)
    } else {
        weezl::decode::Decoder::with_tiff_size_switch(BitOrder::Msb, 8)
    };
    let mut bytes = vec![0; size];
    let (mut read, mut written) = (0, 0);
    while written < size {
        let result = decoder.decode_bytes(&stored[read..], &mut bytes[written..]);
        read += result.consumed_in;
        written += result.consumed_out;
        match result.status.map_err(ConvertError::corrupt)? {
            LzwStatus::Ok => {}
            LzwStatus::NoProgress | LzwStatus::Done => break,
        }
    }
    bytes.truncate(written);
    Ok(bytes)
}

/// TIFF 6.0, section 9.
fn pack_bits(stored: &[u8], size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size);
    let mut rest = stored;
    while let Some((head, after)) = rest.split_first() {
        if bytes.len() >= size {
            break;
        }
        let head = *head as i8;
        rest = after;
        if head >= 0 {
            let count = (head as usize + 1).min(rest.len());
            bytes.extend_from_slice(&rest[..count]);
            rest = &rest[count..];
        } else if head != i8::MIN
            && let Some((byte, after)) = rest.split_first()
        {
            bytes.resize(bytes.len() + usize::from(head.unsigned_abs()) + 1, *byte);
            rest = after;
        }
    }
    bytes
}
