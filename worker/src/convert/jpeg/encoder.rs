//! Baseline JPEG out, a band of rows at a time: 4:2:0, the standard's Huffman tables (ITU-T T.81; JFIF 1.02).
//!
//! One band and the file are all that is in memory.

use super::{
    super::ConvertError,
    blocks::{Block, Blocks, UNIT_SIDE},
    tables::{CHROMA_AC, CHROMA_DC, Codes, LUMA_AC, LUMA_DC, ZIGZAG, steps},
};

/// Rows that [`Encoder::write_band`] takes at once; only the last band may have fewer.
pub(in super::super) const BAND_ROWS: usize = UNIT_SIDE;

/// Writes one file.
pub(in super::super) struct Encoder {
    blocks: Blocks,
    bits: Bits,
    has_colour: bool,
    /// The mean of the block before, of each component.
    means: [i16; 3],
    codes: [Lookup; 4],
}

impl Encoder {
    /// Begins a file of RGB, or of grey without colour. `segments` are put behind the first one, with their markers.
    pub(in super::super) fn new(width: u32, height: u32, has_colour: bool, quality: u8, segments: &[u8]) -> Result<Self, ConvertError> {
        let [width_field, height_field] = [width, height].map(|side| u16::try_from(side).map(u16::to_be_bytes));
        let (width_field, height_field) = (width_field.map_err(ConvertError::encoding)?, height_field.map_err(ConvertError::encoding)?);
        // "JFIF", version 1.02, pixels are square, no thumbnail.
        let mut out = vec![0xFF, 0xD8];
        segment(&mut out, 0xE0, &[b"JFIF\0\x01\x02\0", &[0, 1, 0, 1, 0, 0][..]].concat());
        out.extend_from_slice(segments);
        let components: &[[u8; 3]] = if has_colour { &[[1, 0x22, 0], [2, 0x11, 1], [3, 0x11, 1]] } else { &[[1, 0x11, 0]] };
        let tables = if has_colour { 2 } else { 1 };
        for (number, steps) in steps(quality).iter().take(tables).enumerate() {
            let in_zigzag = ZIGZAG.map(|at| steps[usize::from(at)]);
            segment(&mut out, 0xDB, &[&[number as u8][..], &in_zigzag].concat());
        }
        let frame = [&[8][..], &height_field, &width_field, &[components.len() as u8], components.as_flattened()].concat();
        segment(&mut out, 0xC0, &frame);
        for (class_and_number, codes) in
            [(0x00, &LUMA_DC), (0x10, &LUMA_AC), (0x01, &CHROMA_DC), (0x11, &CHROMA_AC)].iter().take(tables * 2)
        {
            segment(&mut out, 0xC4, &[&[*class_and_number][..], &codes.counts, codes.values].concat());
        }
        let mut scan = vec![components.len() as u8];
        for (index, component) in components.iter().enumerate() {
            scan.extend_from_slice(&[component[0], if index == 0 { 0x00 } else { 0x11 }]);
        }
        scan.extend_from_slice(&[0, 63, 0]);
        segment(&mut out, 0xDA, &scan);
        Ok(Self {
            blocks: Blocks::new(width as usize, has_colour, quality),
            bits: Bits { out, buffer: 0, free: u64::BITS },
            has_colour,
            means: [0; 3],
            codes: [&LUMA_DC, &LUMA_AC, &CHROMA_DC, &CHROMA_AC].map(Lookup::new),
        })
    }

    /// The next [`BAND_ROWS`] rows, or those that are left, without gaps between them.
    pub(in super::super) fn write_band(&mut self, rows: &[u8]) {
        /// Of the blocks of a unit: which component each belongs to.
        const COMPONENTS: [usize; 6] = [0, 0, 0, 0, 1, 2];
        let [luma_dc, luma_ac, chroma_dc, chroma_ac] = &self.codes;
        for (index, block) in self.blocks.of_band(rows).iter().enumerate() {
            let component = if self.has_colour { COMPONENTS[index % 6] } else { 0 };
            let (dc, ac) = if component == 0 { (luma_dc, luma_ac) } else { (chroma_dc, chroma_ac) };
            self.bits.write_block(block, &mut self.means[component], dc, ac);
        }
    }

    /// The file, once every row was written.
    pub(in super::super) fn finish(mut self) -> Vec<u8> {
        self.bits.finish();
        self.bits.out.extend_from_slice(&[0xFF, 0xD9]);
        self.bits.out
    }
}

fn segment(out: &mut Vec<u8>, marker: u8, content: &[u8]) {
    out.extend_from_slice(&[0xFF, marker]);
    out.extend_from_slice(&(content.len() as u16 + 2).to_be_bytes());
    out.extend_from_slice(content);
}

/// Code and length of every value; [`Lookup::bits`] takes them apart.
struct Lookup([u32; 256]);

impl Lookup {
    const LENGTH_BITS: u32 = 8;

    /// T.81, annex C: codes of one length follow each other, and the next length goes on behind them.
    fn new(codes: &Codes) -> Self {
        let mut lookup = [0; 256];
        let (mut code, mut values) = (0_u32, codes.values.iter());
        for (length, count) in (1..).zip(codes.counts) {
            for value in values.by_ref().take(usize::from(count)) {
                lookup[usize::from(*value)] = code << Self::LENGTH_BITS | length;
                code += 1;
            }
            code <<= 1;
        }
        Self(lookup)
    }

    fn bits(&self, value: usize) -> (u32, u32) {
        let packed = self.0[value & 0xFF];
        (packed >> Self::LENGTH_BITS, packed & ((1 << Self::LENGTH_BITS) - 1))
    }
}

/// The file and the bits that do not fill its next eight bytes yet.
struct Bits {
    out: Vec<u8>,
    buffer: u64,
    free: u32,
}

/// The zigzag through a [`Block`], which lies in columns.
const PATH: [u8; 64] = {
    let mut path = [0; 64];
    let mut at = 0;
    while at < 64 {
        path[at] = ZIGZAG[at] % 8 * 8 + ZIGZAG[at] / 8;
        at += 1;
    }
    path
};

impl Bits {
    #[inline]
    fn write_block(&mut self, block: &Block, mean: &mut i16, dc: &Lookup, ac: &Lookup) {
        const SIXTEEN_ZEROS: usize = 0xF0;
        const NOTHING_ELSE: usize = 0;
        let path: Block = std::array::from_fn(|at| block[usize::from(PATH[at] & 63)]);
        let difference = path[0] - *mean;
        *mean = path[0];
        self.write_value(0, difference, dc);
        let mut left = set_bits(&path) & !1;
        let mut last = 0;
        while left != 0 {
            let at = left.trailing_zeros();
            left &= left - 1;
            let mut zeros = at - last - 1;
            while zeros > 15 {
                let (code, length) = ac.bits(SIXTEEN_ZEROS);
                self.write(code, length);
                zeros -= 16;
            }
            self.write_value(zeros, path[at as usize & 63], ac);
            last = at;
        }
        if last != 63 {
            let (code, length) = ac.bits(NOTHING_ELSE);
            self.write(code, length);
        }
    }

    /// The code of a run of zeros and a size class, and behind it which value of its class it is.
    #[inline]
    fn write_value(&mut self, zeros: u32, value: i16, codes: &Lookup) {
        let value = i32::from(value);
        let size = u32::BITS - value.unsigned_abs().leading_zeros();
        // Negative values count up from the lowest of their class.
        let within = (value + (value >> 31)) as u32 & ((1 << size) - 1);
        let (code, length) = codes.bits((zeros << 4 | size) as usize);
        self.write(code << size | within, length + size);
    }

    /// At most 27 bits.
    #[inline]
    fn write(&mut self, bits: u32, length: u32) {
        let bits = u64::from(bits);
        if length < self.free {
            self.buffer = self.buffer << length | bits;
            self.free -= length;
        } else {
            let later = length - self.free;
            let full = self.buffer << self.free | bits >> later;
            self.write_word(full);
            // What is above these bits was written, and is shifted out before the word is full again.
            self.buffer = bits;
            self.free = u64::BITS - later;
        }
    }

    /// A zero follows every byte of ones, which would begin a marker.
    fn write_word(&mut self, word: u64) {
        const ONES: u64 = 0x0101_0101_0101_0101;
        const HIGHEST: u64 = 0x8080_8080_8080_8080;
        let has_full_byte = (!word).wrapping_sub(ONES) & word & HIGHEST != 0;
        if !has_full_byte {
            self.out.extend_from_slice(&word.to_be_bytes());
            return;
        }
        for byte in word.to_be_bytes() {
            self.out.push(byte);
            if byte == 0xFF {
                self.out.push(0);
            }
        }
    }

    /// Fills the last byte with ones.
    fn finish(&mut self) {
        let used = u64::BITS - self.free;
        if used == 0 {
            return;
        }
        let word = self.buffer << self.free | u64::MAX >> used;
        for byte in word.to_be_bytes().into_iter().take(used.div_ceil(8) as usize) {
            self.out.push(byte);
            if byte == 0xFF {
                self.out.push(0);
            }
        }
    }
}

/// A one for each value that is not zero, the first one lowest.
#[inline]
fn set_bits(values: &Block) -> u64 {
    /// Gathers the lowest bit of each of eight bytes.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let flags: [u8; 64] = std::array::from_fn(|at| u8::from(values[at] != 0));
    let bytes = flags.as_chunks::<8>().0;
    (0..8).map(|at| (u64::from_le_bytes(bytes[at]).wrapping_mul(GATHER) >> 56) << (at * 8)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_that_is_not_zero_is_found() {
        for at in 0..64 {
            let mut block = [0; 64];
            block[at] = -3;
            assert_eq!(set_bits(&block), 1 << at);
        }
        assert_eq!(set_bits(&[1; 64]), u64::MAX);
    }

    #[test]
    fn bits_come_out_as_they_went_in_whatever_their_lengths() {
        let mut bits = Bits { out: Vec::new(), buffer: 0, free: u64::BITS };
        let pieces: Vec<(u32, u32)> = (0..500_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 5, at % 27 + 1)).collect();
        let mut expected = Vec::new();
        for (value, length) in pieces {
            let value = value & ((1 << length) - 1);
            bits.write(value, length);
            expected.extend((0..length).rev().map(|at| value >> at & 1 == 1));
        }
        bits.finish();
        expected.resize(expected.len().next_multiple_of(8), true);
        let unstuffed: Vec<u8> = {
            let mut after_full = false;
            bits.out.iter().copied().filter(|byte| !std::mem::replace(&mut after_full, *byte == 0xFF) || *byte != 0).collect()
        };
        let got: Vec<bool> = unstuffed.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1 == 1)).collect();
        assert_eq!(got, expected);
    }
}
